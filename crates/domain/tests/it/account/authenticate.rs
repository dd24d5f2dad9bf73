//! Recognising a signed-in user by an access token.

use std::time::Duration;

use secrecy::ExposeSecret;
use tasks_domain::account::{
    AccessClaims, AccessTokenError, AuthenticateError, CacheLookup, Lease, SessionRef, TokenIssuer,
    User,
};
use tasks_domain::rate_limit::{Decision, Quota};
use tasks_testkit::build;
use tasks_testkit::clock::noon;
use tasks_testkit::fakes::FakeIssuer;

use super::Ports;
use crate::unavailable;

fn claims(user: &User) -> AccessClaims {
    AccessClaims {
        user: user.id,
        session: build::id(),
        email: user.email.clone(),
        issued_at: noon(),
        expires_at: noon().plus(Duration::from_mins(15)),
        token_id: build::id::<User>().uuid(),
    }
}

fn session(claims: &AccessClaims) -> SessionRef {
    SessionRef {
        user: claims.user,
        session: claims.session,
    }
}

/// A cache that is asked for a session that it does not know.
fn missing(mut ports: Ports, session: SessionRef) -> Ports {
    ports
        .cache
        .expect_get()
        .once()
        .withf(move |asked| *asked == session)
        .return_const(CacheLookup::Miss(Lease(7)));
    ports
}

#[tokio::test]
async fn a_remembered_user_is_recognised_without_asking_the_store() {
    let user = build::user().build();
    let mut ports = Ports::new();
    ports
        .cache
        .expect_get()
        .once()
        .return_const(CacheLookup::Hit(user.clone()));
    let recognised = ports.service().authenticate(&claims(&user)).await;
    assert_eq!(recognised.unwrap(), user);
}

#[tokio::test]
async fn an_unknown_session_is_looked_up_and_remembered_with_the_lease() {
    let user = build::user().build();
    let claims = claims(&user);
    let session = session(&claims);
    let mut ports = missing(Ports::new(), session);
    let (found, expected) = (user.clone(), user.clone());
    ports
        .sessions
        .expect_find_signed_in()
        .once()
        .withf(move |asked| *asked == session)
        .return_once(move |_| Ok(Some(found)));
    ports
        .cache
        .expect_put()
        .once()
        .withf(move |put, user, lease| (*put, user, *lease) == (session, &expected, Lease(7)))
        .return_const(());
    let recognised = ports.service().authenticate(&claims).await;
    assert_eq!(recognised.unwrap(), user);
}

#[tokio::test]
async fn a_session_that_ended_is_refused_and_not_remembered() {
    let claims = claims(&build::user().build());
    let mut ports = missing(Ports::new(), session(&claims));
    ports
        .sessions
        .expect_find_signed_in()
        .returning(|_| Ok(None));
    let refused = ports.service().authenticate(&claims).await;
    assert!(matches!(refused, Err(AuthenticateError::SessionEnded)));
}

#[tokio::test]
async fn nobody_is_anonymous_because_the_store_fails() {
    let claims = claims(&build::user().build());
    let mut ports = missing(Ports::new(), session(&claims));
    ports
        .sessions
        .expect_find_signed_in()
        .returning(|_| Err(unavailable()));
    let failed = ports.service().authenticate(&claims).await;
    assert!(matches!(failed, Err(AuthenticateError::Store(_))));
}

const QUOTA: Quota = Quota {
    limit: 7,
    window: Duration::from_mins(1),
};

#[tokio::test]
async fn a_remembered_user_is_counted_where_they_were_looked_up() {
    let user = build::user().build();
    let claims = claims(&user);
    let session = session(&claims);
    for allowed in [true, false] {
        let decision = Decision {
            allowed,
            remaining: 3,
            reset: Duration::from_secs(20),
        };
        let mut ports = Ports::new();
        ports
            .cache
            .expect_get_and_count()
            .once()
            .withf(move |asked, quota| (*asked, *quota) == (session, QUOTA))
            .return_const((CacheLookup::Hit(user.clone()), Some(decision)));
        let service = ports.service();
        let (recognised, counted) = service.authenticate_and_count(&claims, QUOTA).await;
        assert_eq!(recognised.unwrap(), user);
        assert_eq!(counted, Some(decision));
    }
}

/// The cache may be no limiter.
#[tokio::test]
async fn a_remembered_user_need_not_be_counted() {
    let user = build::user().build();
    let mut ports = Ports::new();
    ports
        .cache
        .expect_get_and_count()
        .once()
        .return_const((CacheLookup::Hit(user.clone()), None));
    let service = ports.service();
    let (recognised, counted) = service.authenticate_and_count(&claims(&user), QUOTA).await;
    assert_eq!((recognised.unwrap(), counted), (user, None));
}

/// A cache that is asked to count, for a session that it does not know.
fn missing_and_not_counting(session: SessionRef) -> Ports {
    let mut ports = Ports::new();
    ports
        .cache
        .expect_get_and_count()
        .once()
        .withf(move |asked, quota| (*asked, *quota) == (session, QUOTA))
        .return_const((CacheLookup::Miss(Lease(7)), None));
    ports
}

#[tokio::test]
async fn an_unknown_session_is_looked_up_and_not_counted_yet() {
    let user = build::user().build();
    let claims = claims(&user);
    let session = session(&claims);
    let mut ports = missing_and_not_counting(session);
    let (found, expected) = (user.clone(), user.clone());
    ports
        .sessions
        .expect_find_signed_in()
        .once()
        .withf(move |asked| *asked == session)
        .return_once(move |_| Ok(Some(found)));
    ports
        .cache
        .expect_put()
        .once()
        .withf(move |put, user, lease| (*put, user, *lease) == (session, &expected, Lease(7)))
        .return_const(());
    let service = ports.service();
    let (recognised, counted) = service.authenticate_and_count(&claims, QUOTA).await;
    assert_eq!((recognised.unwrap(), counted), (user, None));
}

/// Nor remembered.
#[tokio::test]
async fn nobody_is_counted_whom_the_store_does_not_confirm() {
    let claims = claims(&build::user().build());
    for store_fails in [false, true] {
        let mut ports = missing_and_not_counting(session(&claims));
        ports
            .sessions
            .expect_find_signed_in()
            .once()
            .return_once(move |_| {
                if store_fails {
                    Err(unavailable())
                } else {
                    Ok(None)
                }
            });
        let service = ports.service();
        let (refused, counted) = service.authenticate_and_count(&claims, QUOTA).await;
        match refused.unwrap_err() {
            AuthenticateError::Store(_) => assert!(store_fails),
            AuthenticateError::SessionEnded => assert!(!store_fails),
        }
        assert_eq!(counted, None);
    }
}

#[tokio::test]
async fn a_token_is_judged_by_the_clock_without_asking_any_store() {
    let claims = claims(&build::user().build());
    let token = FakeIssuer.issue(&claims).unwrap();
    let ports = Ports::new();
    let clock = ports.clock.clone();
    let service = ports.service();
    assert_eq!(
        service.verify_access_token(token.expose_secret()),
        Ok(claims)
    );
    assert_eq!(
        service.verify_access_token("token"),
        Err(AccessTokenError::Invalid)
    );
    clock.advance(Duration::from_hours(1));
    let expired = service.verify_access_token(token.expose_secret());
    assert_eq!(expired, Err(AccessTokenError::Expired));
}
