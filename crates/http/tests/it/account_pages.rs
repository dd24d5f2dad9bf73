//! The pages that links in mails lead to.
//!
//! What their script does is its own to show, in a browser; here is what they may do.

use actix_web::http::Method;
use tasks_domain::mail::MailKind;
use tasks_http::RateLimits;

use crate::support::{NEW_PASSWORD, World, per_minute};

const ADA: &str = "ada@example.com";
const PAGES: [&str; 2] = ["/verify-email", "/reset-password"];
const ASSETS: [(&str, &str); 2] = [
    ("/pages/account.js", "text/javascript; charset=utf-8"),
    ("/pages/account.css", "text/css; charset=utf-8"),
];

/// The values of an attribute.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    html.match_indices(&begin)
        .map(|(at, _)| html[at + begin.len()..].split('"').next().unwrap())
        .collect()
}

#[actix_web::test]
async fn opening_a_page_uses_nothing_up() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    let verification = world.token_mailed(MailKind::VerifyEmail, ADA).await;
    world.forgot_password(ADA).await.expect(202);
    let reset = world.token_mailed(MailKind::ResetPassword, ADA).await;
    for (page, token) in PAGES.into_iter().zip([&verification, &reset]) {
        for method in [Method::GET, Method::HEAD] {
            let answer = world.call(method, &format!("{page}?token={token}")).await;
            assert_eq!(answer.status, 200);
            assert!(!answer.text.contains(token.as_str()));
        }
    }
    assert_eq!(ada.me().await.expect(200)["is_active"], false);
    world.verify_email(&verification).await.expect(200);
    world.reset_password(&reset, NEW_PASSWORD).await.expect(204);
}

#[actix_web::test]
async fn a_page_may_do_nothing_but_what_it_has_to() {
    for production in [false, true] {
        let world = World::with(|setup| setup.settings.production = production).await;
        for path in PAGES.into_iter().chain(ASSETS.map(|(path, _)| path)) {
            for method in [Method::GET, Method::HEAD] {
                let answer = world.call(method, path).await;
                assert_eq!(answer.status, 200);
                let policy = answer.header("content-security-policy").unwrap();
                let mut rules: Vec<_> = policy.split("; ").collect();
                rules.sort_unstable();
                assert_eq!(
                    rules,
                    [
                        "base-uri 'none'",
                        "connect-src 'self'",
                        "default-src 'none'",
                        "form-action 'none'",
                        "frame-ancestors 'none'",
                        "script-src 'self'",
                        "style-src 'self'",
                    ]
                );
                for (name, value) in [
                    ("cache-control", "no-store"),
                    ("x-content-type-options", "nosniff"),
                ] {
                    assert_eq!(answer.header(name), Some(value), "{path}");
                }
                // Of the referrer the page itself says more.
                let only_in_production = [
                    "strict-transport-security",
                    "x-frame-options",
                    "referrer-policy",
                ];
                for name in only_in_production {
                    assert_eq!(answer.header(name).is_some(), production, "{path} {name}");
                }
            }
        }
    }
}

#[actix_web::test]
async fn a_page_needs_nothing_but_the_service_wherever_it_is() {
    let world = World::new().await;
    for page in PAGES {
        let html = world.get(page).await;
        assert_eq!(
            html.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        let html = html.text;
        let mut assets = values(&html, "src");
        assets.extend(values(&html, "href"));
        assert_eq!(assets.len(), ASSETS.len());
        for (path, media_type) in ASSETS {
            // Relative, so that it is found below a prefix too.
            assert!(assets.contains(&&path[1..]), "{assets:?}");
            let asset = world.get(path).await;
            assert_eq!(asset.header("content-type"), Some(media_type));
            assert!(!asset.text.is_empty());
            assert!(!asset.text.contains("://"), "{path}");
        }
        let actions = values(&html, "action");
        assert_eq!(actions.len(), 2);
        for action in actions {
            assert!(!action.starts_with('/'), "{action}");
            let answer = world.call(Method::POST, &format!("/{action}")).await;
            // It is there, and wants JSON.
            answer.assert_problem(415, "unsupported_media_type");
        }
        assert!(!html.contains("://"));
    }
}

#[actix_web::test]
async fn a_page_tells_nobody_its_address_from_the_first_line_on() {
    let world = World::new().await;
    for page in PAGES {
        let html = world.get(page).await.text;
        let (_, head) = html.split_once("<head>").unwrap();
        let first = head.trim_start();
        assert!(first.starts_with(r#"<meta name="referrer" content="no-referrer">"#));
    }
}

#[actix_web::test]
async fn nothing_of_a_page_is_inline() {
    let world = World::new().await;
    for page in PAGES {
        let html = world.get(page).await.text;
        assert!(!html.contains("<style"));
        assert_eq!(html.matches("<script").count(), 1);
        assert!(html.contains("defer></script>"));
        assert!(!html.contains(" style="));
        for (at, _) in html.match_indices(" on") {
            let word = html[at + 1..].trim_start_matches(char::is_alphanumeric);
            assert!(!word.starts_with('='), "an inline handler");
        }
        assert!(!html.contains("javascript:"));
    }
}

#[actix_web::test]
async fn a_page_can_be_used_without_a_mouse_or_eyes() {
    let world = World::new().await;
    for page in PAGES {
        let html = world.get(page).await.text;
        assert!(html.contains("<html lang=\"en\">"));
        assert_eq!(html.matches("<h1>").count(), 1);
        assert!(html.contains("<noscript>"));
        assert!(html.contains("role=\"status\" aria-live=\"polite\" tabindex=\"-1\""));
        // Every form is one, and does nothing before its script does it.
        assert_eq!(html.matches("<form").count(), 2);
        assert_eq!(html.matches("<button type=\"submit\" disabled>").count(), 2);
        assert_eq!(values(&html, "method"), ["post", "post"]);
        // Every field has its label, and the place where it says what is wrong.
        let ids = values(&html, "id");
        let labels = values(&html, "for");
        let names = values(&html, "name");
        for field in names.into_iter().filter(|name| ids.contains(name)) {
            assert!(labels.contains(&field), "{page} {field}");
            let error = format!("{field}-error");
            assert!(ids.contains(&error.as_str()), "{page} {field}");
            let described = values(&html, "aria-describedby");
            assert!(described.iter().any(|it| it.ends_with(&error)));
        }
    }
    let html = world.get("/reset-password").await.text;
    assert!(html.contains("autocomplete=\"new-password\""));
}

#[actix_web::test]
async fn the_pages_are_not_limited_and_what_they_post_is() {
    let world = World::with(|setup| {
        setup.settings.rate_limits = Some(RateLimits {
            user: per_minute(1),
            anonymous: per_minute(1),
        });
    })
    .await;
    for path in PAGES.into_iter().chain(ASSETS.map(|(path, _)| path)) {
        for _ in 0..3 {
            let answer = world.get(path).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("ratelimit"), None);
        }
    }
    world
        .verify_email("x")
        .await
        .assert_problem(400, "invalid_token");
    let again = world.verify_email("x").await;
    again.assert_problem(429, "rate_limited");
    assert!(again.header("retry-after").is_some());
}
