//! The check of an access token's signature and claims.

use std::time::Duration;

use divan::{Bencher, black_box};
use secrecy::{ExposeSecret, SecretString};
use tasks_domain::account::{AccessClaims, AccessTokenError, TokenIssuer};
use tasks_security::{JwtAlgorithm, JwtIssuer};
use tasks_testkit::build;
use tasks_testkit::clock::noon;

/// How long the tokens work.
const TTL: Duration = Duration::from_mins(15);

fn issuer(key: &str) -> JwtIssuer {
    JwtIssuer::new(JwtAlgorithm::Hs256, &key.to_owned().into(), None)
}

fn ours() -> JwtIssuer {
    issuer("the service's key of at least 32 characters")
}

fn theirs() -> JwtIssuer {
    issuer("a stranger's key of at least 32 characters")
}

/// A token that is made at noon.
fn token(issuer: &JwtIssuer) -> SecretString {
    let claims = AccessClaims {
        user: build::id(),
        session: build::id(),
        email: build::email("ada@example.com"),
        issued_at: noon(),
        expires_at: noon().plus(TTL),
        token_id: build::id::<()>().uuid(),
    };
    issuer.issue(&claims).unwrap()
}

/// Checks a token so long after noon.
fn check(
    bencher: Bencher<'_, '_>,
    token: &SecretString,
    after: Duration,
    expected: Result<(), AccessTokenError>,
) {
    let (issuer, now) = (ours(), noon().plus(after));
    let verify = || issuer.verify(black_box(token.expose_secret()), now);
    assert_eq!(verify().map(drop), expected);
    bencher.bench(verify);
}

/// Its signature is remembered.
#[divan::bench]
fn seen_before(bencher: Bencher<'_, '_>) {
    check(bencher, &token(&ours()), Duration::ZERO, Ok(()));
}

#[divan::bench]
fn seen_first(bencher: Bencher<'_, '_>) {
    let issuer = ours();
    bencher
        .with_inputs(|| token(&issuer))
        .bench_refs(|token| issuer.verify(black_box(token.expose_secret()), noon()));
}

#[divan::bench]
fn expired(bencher: Bencher<'_, '_>) {
    check(
        bencher,
        &token(&ours()),
        2 * TTL,
        Err(AccessTokenError::Expired),
    );
}

#[divan::bench]
fn forged(bencher: Bencher<'_, '_>) {
    check(
        bencher,
        &token(&theirs()),
        Duration::ZERO,
        Err(AccessTokenError::Invalid),
    );
}
