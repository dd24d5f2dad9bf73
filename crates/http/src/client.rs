//! Where a request comes from.

use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpRequest};
use ipnet::IpNet;
use tasks_domain::account::ClientInfo;

use crate::app::Api;
use crate::problem::Problem;

/// The header in which most proxies say whom they speak for.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The header in which most proxies say how they were spoken to.
const X_FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Who calls, as far as it can be told without a token. A handler names it to get it.
#[derive(Debug)]
pub(crate) struct Client(pub(crate) ClientInfo);

impl FromRequest for Client {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let api = Api::of(request);
        ready(api.map(|api| Self(client(request, &api.settings.trusted_proxies))))
    }
}

fn client(request: &HttpRequest, trusted: &[IpNet]) -> ClientInfo {
    let user_agent = request
        .headers()
        .get(header::USER_AGENT)
        .map(header::HeaderValue::as_bytes);
    let user_agent = user_agent.map(String::from_utf8_lossy);
    ClientInfo::new(user_agent.as_deref(), address(request, trusted))
}

/// The address that a request comes from: the peer's, or, where the peer is a trusted proxy, the
/// last one in its list that is not a trusted proxy itself.
pub(crate) fn address(request: &HttpRequest, trusted: &[IpNet]) -> IpAddr {
    let peer = request
        .peer_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    address_of(peer.to_canonical(), request.headers(), trusted)
}

/// How the caller's request travelled: over TLS only where a trusted proxy says so, since it ends there.
pub(crate) fn scheme(request: &HttpRequest, trusted: &[IpNet]) -> &'static str {
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let is_trusted = peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(&peer)));
    let said = request.headers().get(X_FORWARDED_PROTO);
    if is_trusted && said.is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(b"https")) {
        "https"
    } else {
        "http"
    }
}

fn address_of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return peer;
    }
    let mut client = peer;
    // From the right: each hop was written by the one before it, which is trusted; a hop that is
    // no address ends what can be known.
    for hop in forwarded_hops(headers).iter().rev() {
        match parse_hop(hop) {
            Some(address) => client = address,
            None => break,
        }
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

/// The hops of all header lines, in order: of `X-Forwarded-For`, or else of `Forwarded` (RFC 7239).
fn forwarded_hops(headers: &HeaderMap) -> Vec<&str> {
    let lines = |name: &str| -> Vec<&str> {
        headers
            .get_all(name)
            .flat_map(|line| line.to_str().unwrap_or_default().split(','))
            .collect()
    };
    let listed = lines(X_FORWARDED_FOR);
    if !listed.is_empty() {
        return listed;
    }
    lines(header::FORWARDED.as_str())
        .into_iter()
        .map(|element| {
            let mut pairs = element
                .split(';')
                .filter_map(|pair| pair.trim().split_once('='));
            pairs
                .find(|(name, _)| name.eq_ignore_ascii_case("for"))
                .map_or("", |(_, value)| value)
        })
        .collect()
}

/// An address as proxies write it: bare, with a port, in brackets, in quotes.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim().trim_matches('"');
    let bare = match hop.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next()?,
        None if hop.matches(':').count() == 1 => hop.split(':').next()?,
        None => hop,
    };
    bare.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// The address under which a caller is counted: of IPv6 the /64 network, which is one customer's.
pub(crate) fn counted_address(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn address(peer: &str, lines: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        address_of(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
        assert_eq!(
            address("203.0.113.9", &[("x-forwarded-for", "1.2.3.4")]),
            "203.0.113.9"
        );
        assert_eq!(
            address("203.0.113.9", &[("forwarded", "for=1.2.3.4")]),
            "203.0.113.9"
        );
    }

    #[test]
    fn a_trusted_proxy_is_believed_up_to_the_last_hop_that_is_not_trusted() {
        assert_eq!(
            address("10.0.0.1", &[("x-forwarded-for", "1.2.3.4")]),
            "1.2.3.4"
        );
        assert_eq!(
            address(
                "10.0.0.1",
                &[("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.7")]
            ),
            "1.2.3.4"
        );
        assert_eq!(
            address(
                "10.0.0.1",
                &[
                    ("x-forwarded-for", "6.6.6.6"),
                    ("x-forwarded-for", "1.2.3.4")
                ]
            ),
            "1.2.3.4"
        );
        assert_eq!(address("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(
            address("10.0.0.1", &[("x-forwarded-for", "1.2.3.4, unknown")]),
            "10.0.0.1"
        );
    }

    #[test]
    fn hops_are_read_in_every_form_that_proxies_write() {
        assert_eq!(
            address("10.0.0.1", &[("x-forwarded-for", "1.2.3.4:5678")]),
            "1.2.3.4"
        );
        assert_eq!(
            address("10.0.0.1", &[("x-forwarded-for", "[2001:db8::1]:443")]),
            "2001:db8::1"
        );
        assert_eq!(
            address("10.0.0.1", &[("x-forwarded-for", "2001:db8::1")]),
            "2001:db8::1"
        );
        assert_eq!(
            address("10.0.0.1", &[("x-forwarded-for", "::ffff:1.2.3.4")]),
            "1.2.3.4"
        );
        assert_eq!(
            address(
                "fd00::1",
                &[(
                    "forwarded",
                    "proto=https;For=\"[2001:db8::1]:443\", for=10.0.0.2"
                )]
            ),
            "2001:db8::1"
        );
    }

    #[test]
    fn ipv6_is_counted_by_network() {
        let counted = |raw: &str| counted_address(raw.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("192.0.2.1"), "192.0.2.1");
    }
}
