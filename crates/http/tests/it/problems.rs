//! Contract §1: the refusals that the framework itself makes are problem documents too.
//!
//! That a document is complete is checked of every answer, in `support`.

use actix_web::http::Method;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::support::{NOBODYS, Scene, World, document};

#[actix_web::test]
async fn an_unknown_path_is_404() {
    let world = World::new().await;
    for path in [
        "/nothing",
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/tasks",
        "/API/v1/tasks",
        "/api/v1//tasks",
        "/api/v1/tasks/1/2",
        "/docs/nothing.js",
    ] {
        world.get(path).await.assert_problem(404, "not_found");
    }
}

#[actix_web::test]
async fn a_trailing_slash_makes_another_path() {
    let scene = Scene::new().await;
    for mut operation in scene.operations() {
        operation.path.push('/');
        let answer = operation.by(&scene.ada).await;
        answer.assert_problem(404, "not_found");
    }
    for page in ["/docs/", "/openapi.json/"] {
        scene.world.get(page).await.assert_problem(404, "not_found");
    }
}

#[actix_web::test]
async fn a_wrong_method_is_405_and_says_which_are_right() {
    let world = World::new().await;
    let path = format!("/api/v1/tasks/{NOBODYS}");
    for (method, path, allowed) in [
        (Method::PUT, "/api/v1/tasks", "GET, HEAD, POST"),
        (Method::POST, path.as_str(), "GET, HEAD, PATCH, DELETE"),
        (Method::GET, "/api/v1/auth/login", "POST"),
        (Method::HEAD, "/api/v1/auth/login", "POST"),
        (Method::PUT, "/api/v1/users/me", "GET, HEAD, PATCH, DELETE"),
        (
            Method::POST,
            "/api/v1/users/me/sessions",
            "GET, HEAD, DELETE",
        ),
        (Method::GET, "/api/v1/auth/verify-email", "POST"),
        (Method::POST, "/verify-email", "GET, HEAD"),
        (Method::POST, "/pages/account.js", "GET, HEAD"),
        (Method::POST, "/health", "GET, HEAD"),
        (Method::POST, "/docs", "GET, HEAD"),
        (Method::DELETE, "/openapi.json", "GET, HEAD"),
        (Method::OPTIONS, "/api/v1/tasks", "GET, HEAD, POST"),
        (Method::TRACE, "/api/v1/tasks", "GET, HEAD, POST"),
        (Method::CONNECT, "/api/v1/tasks", "GET, HEAD, POST"),
        (
            Method::from_bytes(b"BREW").unwrap(),
            "/api/v1/tasks",
            "GET, HEAD, POST",
        ),
    ] {
        let answer = world.call(method, path).await;
        answer.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allowed), "{path}");
    }
}

#[actix_web::test]
async fn every_path_refuses_every_method_that_is_not_documented() {
    let scene = Scene::new().await;
    for operation in scene.operations() {
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let is_known = document::operations()
                .any(|(path, known, _)| path == operation.template && known == method);
            if !is_known {
                let answer = scene.ada.call(method, &operation.path).await;
                answer.assert_problem(405, "method_not_allowed");
            }
        }
    }
}

#[actix_web::test]
async fn a_path_id_that_is_no_uuid_is_400_and_named() {
    let scene = Scene::new().await;
    for operation in scene.operations() {
        let names: Vec<&str> = ["id", "category_id"]
            .into_iter()
            .filter(|name| operation.template.contains(&format!("{{{name}}}")))
            .collect();
        if names.is_empty() {
            continue;
        }
        let expected: Vec<_> = names.iter().map(|name| (*name, "format")).collect();
        for bad in [
            "1",
            "not-a-uuid",
            "0198c7a200007000800000000000000",
            "0198c7a2000070008000000000000000",
            "%7B0198c7a2-0000-7000-8000-000000000000%7D",
            "0198c7a2-0000-7000-8000-00000000000g",
            "%00",
            "%ff",
            "..",
        ] {
            let mut broken = operation.clone();
            broken.path = names
                .iter()
                .fold(operation.template.to_owned(), |path, name| {
                    path.replace(&format!("{{{name}}}"), bad)
                });
            let answer = broken.by(&scene.ada).await;
            answer.assert_invalid(&expected);
        }
    }
}

#[actix_web::test]
async fn a_path_id_may_be_in_upper_case() {
    let scene = Scene::new().await;
    let path = format!("/api/v1/tasks/{}", scene.task.to_uppercase());
    scene.ada.get(&path).await.expect(200);
}

#[actix_web::test]
async fn one_bad_path_id_of_two_is_named_alone() {
    let scene = Scene::new().await;
    let path = format!("/api/v1/tasks/{}/categories/x", scene.task);
    let answer = scene.ada.call(Method::POST, &path).await;
    answer.assert_invalid(&[("category_id", "format")]);
}

#[actix_web::test]
async fn path_and_body_are_judged_together() {
    let scene = Scene::new().await;
    let body = json!({ "title": "x" });
    let answer = scene.ada.patch("/api/v1/tasks/x", &body).await;
    answer.assert_invalid(&[
        ("id", "format"),
        ("version", "required"),
        ("title", "length"),
    ]);
}

#[actix_web::test]
async fn the_detail_counts_the_fields() {
    let ada = World::new().await.register("ada@example.com").await;
    let one = ada.post("/api/v1/tasks", &json!({})).await;
    assert_eq!(one.json["detail"], "1 field is not valid");
    let two = ada
        .post("/api/v1/tasks", &json!({ "title": "x", "priority": "x" }))
        .await;
    assert_eq!(two.json["detail"], "2 fields are not valid");
}

#[actix_web::test]
async fn the_document_is_the_one_of_the_contract() {
    let world = World::new().await;
    let ada = world.register("ada@example.com").await;
    let body = json!({ "title": "x", "due_date": "2000-01-01T00:00:00Z" });
    let answer = ada
        .post("/api/v1/tasks?page=1", &body)
        .header("x-request-id", "my-id")
        .await;
    answer.assert_invalid(&[("title", "length"), ("due_date", "past")]);
    let mut problem = answer.json;
    let errors = problem.as_object_mut().unwrap().remove("errors").unwrap();
    let title = json!({
        "field": "title", "code": "length", "message": "must be 3 to 200 characters",
    });
    assert!(errors.as_array().unwrap().contains(&title));
    assert_eq!(
        problem,
        json!({
            "type": "/problems/validation-failed",
            "title": "Validation failed",
            "status": 400,
            "detail": "2 fields are not valid",
            "code": "validation_failed",
            "instance": "/api/v1/tasks",
            "request_id": "my-id",
        })
    );
}

#[actix_web::test]
async fn no_path_is_the_services_fault() {
    let scene = Scene::new().await;
    let segment = prop_oneof![
        prop::sample::select(vec![
            "api",
            "v1",
            "tasks",
            "categories",
            "users",
            "me",
            "auth",
            "login",
            "docs",
            "health",
            NOBODYS,
            "",
            ".",
            "..",
            "%2f",
            "%00",
            "%ff",
            "{id}",
            "*",
            "~",
            "a;b",
            "%7Bid%7D",
        ])
        .prop_map(str::to_owned),
        "(%[0-9a-fA-F]{2}|[A-Za-z0-9._~-]){1,12}",
    ];
    let methods = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X",
    ];
    let path = prop::collection::vec(segment, 0..6).prop_map(|parts| parts.join("/"));
    let strategy = (prop::sample::select(methods.to_vec()), path, any::<bool>());
    let mut runner = TestRunner::deterministic();
    for _ in 0..1_000 {
        let (method, path, is_api) = strategy.new_tree(&mut runner).unwrap().current();
        let path = format!("/{}{path}", if is_api { "api/v1/" } else { "" });
        let answer = scene.ada.call(method.parse().unwrap(), &path).await;
        assert!(answer.status < 500, "{method} {path}: {}", answer.text);
    }
}
