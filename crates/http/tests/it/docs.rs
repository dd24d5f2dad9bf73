//! Contract §6: the documentation, from the service itself.

use std::collections::BTreeSet;

use actix_web::http::Method;

use crate::support::World;

/// What `src`, `href` and `url` name in a page or a script.
fn references(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for attribute in [
        "src=\"",
        "href=\"",
        "url: \"",
        "url(\"",
        "\"url\": \"",
        "\"url\":\"",
    ] {
        for (start, _) in text.match_indices(attribute) {
            let rest = &text[start + attribute.len()..];
            found.insert(rest.split('"').next().unwrap().to_owned());
        }
    }
    found
}

#[actix_web::test]
async fn the_root_leads_to_the_documentation() {
    let world = World::new().await;
    let answer = world.get("/").await;
    assert_eq!(answer.status, 307);
    assert_eq!(answer.header("location"), Some("/docs"));
    assert_eq!(world.get("/docs").await.status, 200);
}

#[actix_web::test]
async fn the_page_and_all_its_assets_come_from_the_service() {
    let world = World::new().await;
    let page = world.get("/docs").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    let assets = references(&page.text);
    assert!(assets.len() >= 5, "{assets:?}");
    let mut scripts = 0;
    for asset in assets {
        assert!(
            !asset.contains("//") && !asset.contains(':'),
            "{asset} is another host's"
        );
        // A browser resolves it against `/docs`.
        let path = format!("/{}", asset.trim_start_matches('/'));
        let answer = world.get(&path).await;
        assert_eq!(answer.status, 200, "{asset}");
        assert!(!answer.text.is_empty(), "{asset}");
        let content_type = answer.header("content-type").unwrap();
        let expected = match path.rsplit('.').next().unwrap() {
            "js" => "javascript",
            "css" => "text/css",
            "png" => "image/png",
            other => panic!("{other}"),
        };
        assert!(content_type.contains(expected), "{asset}: {content_type}");
        scripts += usize::from(expected == "javascript");
    }
    assert!(scripts >= 2);
    assert!(
        !page.text.contains("http://") && !page.text.contains("https://"),
        "{}",
        page.text
    );
}

#[actix_web::test]
async fn the_page_shows_this_services_document() {
    let world = World::new().await;
    let script = world.get("/docs/swagger-initializer.js").await;
    assert_eq!(script.status, 200);
    assert!(script.text.contains("/openapi.json"), "{}", script.text);
    // No outside validator is asked, and no example document is shown.
    assert!(
        !script.text.contains("http://") && !script.text.contains("https://"),
        "{}",
        script.text
    );
}

#[actix_web::test]
async fn the_page_may_do_nothing_but_what_it_has_to() {
    for production in [false, true] {
        let world = World::with(|setup| setup.settings.production = production).await;
        for path in [
            "/docs",
            "/docs/swagger-ui.css",
            "/docs/swagger-ui-bundle.js",
        ] {
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
                        "img-src 'self' data:",
                        "script-src 'self'",
                        "style-src 'self'",
                    ]
                );
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
                let framing = answer.header("x-frame-options");
                assert_eq!(framing.is_some(), production, "{path}");
            }
        }
    }
}

#[actix_web::test]
async fn nothing_else_is_served_from_there() {
    let world = World::new().await;
    for path in [
        "/docs/nothing.js",
        "/docs/%2e%2e",
        "/docs/..%2fCargo.toml",
        "/docs/%ff",
        "/docs/%00",
        "/docs/a/b",
    ] {
        let answer = world.get(path).await;
        answer.assert_problem(404, "not_found");
        // The framework's own words are not repeated.
        assert_eq!(
            answer.json["detail"],
            "there is nothing here, or it is deleted"
        );
    }
}
