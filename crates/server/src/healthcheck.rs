//! `task-api healthcheck`: asks the service that runs here whether it is ready.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use crate::config::Config;
use crate::failure::Failure;

/// Longer than the service takes to find out about its own parts (2 s), shorter than what
/// containers are given to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A line if the service is ready, a failure if it is not or does not answer.
pub(crate) fn healthcheck(config: &Config) -> Result<String, Failure> {
    if config.port == 0 {
        return Err(Failure::Other(
            "PORT is 0: which port the service listens on is only in its log".to_owned(),
        ));
    }
    let address = SocketAddr::new(reachable(config.host.address), config.port);
    let url = format!("http://{address}/health/ready");
    let agent = Agent::from(
        Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // The service is on this machine, whatever proxy the environment names.
            .proxy(None)
            .build(),
    );
    let failed = |error: ureq::Error| Failure::new(&url, &error);
    let mut response = agent.get(&url).call().map_err(failed)?;
    let status = response.status();
    if status.is_success() {
        return Ok("ready\n".to_owned());
    }
    let body = response.body_mut().read_to_string().unwrap_or_default();
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let reason = body.get("reason").and_then(Value::as_str);
    let reason = reason.unwrap_or("no reason given");
    Err(Failure::Other(format!("{url}: {status}: {reason}")))
}

/// The address to ask at where the service listens on every one.
fn reachable(listening: IpAddr) -> IpAddr {
    match listening {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) | IpAddr::V6(_) => listening,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use crate::config::Source;

    use super::*;

    fn config(host: &str, port: u16) -> Config {
        let pairs = [("HOST", host.to_owned()), ("PORT", port.to_string())];
        let pairs = pairs.map(|(name, value)| (name.into(), value.into()));
        Config::read(&Source::new(pairs), false).unwrap()
    }

    /// Asks a service that listens on every address and answers so; returns the path too.
    fn ask(answer: &'static str) -> (Result<String, Failure>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while !lines.next().unwrap().unwrap().is_empty() {}
            stream.write_all(answer.as_bytes()).unwrap();
            first
        });
        let outcome = healthcheck(&config("0.0.0.0", port));
        (outcome, service.join().unwrap())
    }

    #[test]
    fn a_ready_service_is_well() {
        let (outcome, request) = ask("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!(outcome.unwrap(), "ready\n");
        assert_eq!(request, "GET /health/ready HTTP/1.1");
    }

    #[test]
    fn a_service_that_is_not_ready_says_why() {
        let (outcome, _) = ask(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 45\r\n\r\n{\"status\":\"not_ready\",\"reason\":\"the reason\"} ",
        );
        let line = outcome.unwrap_err().to_string();
        assert!(
            line.contains("503") && line.ends_with("the reason"),
            "{line}"
        );
    }

    #[test]
    fn no_service_is_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let line = healthcheck(&config("127.0.0.1", port))
            .unwrap_err()
            .to_string();
        assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
    }

    #[test]
    fn a_port_that_is_not_known_is_a_failure() {
        assert!(healthcheck(&config("127.0.0.1", 0)).is_err());
    }

    #[test]
    fn every_address_is_reached_at_the_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0"), "127.0.0.1");
        assert_eq!(reached("::"), "::1");
        assert_eq!(reached("192.0.2.1"), "192.0.2.1");
    }
}
