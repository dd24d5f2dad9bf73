//! Contract §1: what a request body must be.

use std::future::ready;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::Method;
use actix_web::web::Bytes;
use futures_util::stream::{self, StreamExt};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{Operation, Scene, User, World};

const MAX_BODY: usize = 64 * 1024;

async fn ada() -> User {
    World::new().await.register("ada@example.com").await
}

/// Every operation that takes a body.
fn with_body(scene: &Scene) -> impl Iterator<Item = Operation> {
    let operations = scene.operations().into_iter();
    operations.filter(|operation| operation.body.is_some())
}

/// A JSON object of exactly so many bytes, good for making a task.
fn task_of_size(size: usize) -> String {
    let empty = r#"{"title":"Buy milk","x":""}"#;
    empty.replace(
        r#""x":"""#,
        &format!(r#""x":"{}""#, "x".repeat(size - empty.len())),
    )
}

#[actix_web::test]
async fn the_media_type_must_be_json() {
    let scene = Scene::new().await;
    for operation in with_body(&scene) {
        let body = operation.body.as_ref().unwrap().to_string();
        for media_type in [
            "",
            "json",
            "text/plain",
            "text/json",
            "application/jsonp",
            "application/x-www-form-urlencoded",
            "application/problem+json",
            "application/json; charset=iso-8859-1",
            "application/json; charset=utf-16",
            "application/json, application/json",
        ] {
            let call = operation.by(&scene.ada).body(media_type, body.clone());
            call.await.assert_problem(415, "unsupported_media_type");
        }
    }
}

#[actix_web::test]
async fn a_missing_media_type_is_415_also_without_a_body() {
    let scene = Scene::new().await;
    for operation in with_body(&scene) {
        let mut bare = operation;
        bare.body = None;
        let answer = bare.by(&scene.ada).await;
        answer.assert_problem(415, "unsupported_media_type");
    }
}

#[actix_web::test]
async fn the_media_type_may_have_any_case_and_say_utf8() {
    let ada = ada().await;
    for media_type in [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=\"UTF-8\"",
    ] {
        let call = ada.call(Method::POST, "/api/v1/tasks");
        let answer = call.body(media_type, r#"{"title":"Buy milk"}"#).await;
        assert_eq!(answer.status, 201, "{media_type}: {}", answer.text);
    }
}

#[actix_web::test]
async fn only_the_patch_of_a_task_takes_a_merge_patch() {
    let scene = Scene::new().await;
    for operation in with_body(&scene) {
        let is_taken = operation.id == "update_task";
        let body = operation.body.as_ref().unwrap().to_string();
        let call = operation.by(&scene.ada);
        let answer = call.body("application/merge-patch+json", body).await;
        assert_eq!(
            answer.status,
            if is_taken { 200 } else { 415 },
            "{}",
            operation.id
        );
    }
}

#[actix_web::test]
async fn a_body_has_at_most_64_kib() {
    let scene = Scene::new().await;
    let create = scene.operation("create_task");
    let fits = task_of_size(MAX_BODY);
    create.by(&scene.ada).raw(fits.clone()).await.expect(201);
    let announced = create.by(&scene.ada).raw(fits);
    let announced = announced.header("content-length", MAX_BODY.to_string());
    announced.await.expect(201);

    for operation in with_body(&scene) {
        let too_large = task_of_size(MAX_BODY + 1);
        let answer = operation.by(&scene.ada).raw(too_large).await;
        answer.assert_problem(413, "payload_too_large");
    }
}

#[actix_web::test]
async fn a_body_that_is_announced_too_large_is_not_awaited() {
    let ada = ada().await;
    let call = ada.call(Method::POST, "/api/v1/tasks");
    let never = Payload::Stream {
        payload: stream::pending().boxed_local(),
    };
    let call = call
        .stream(never)
        .header("content-length", (MAX_BODY + 1).to_string());
    call.await.assert_problem(413, "payload_too_large");
}

#[actix_web::test]
async fn a_body_that_comes_in_pieces_is_put_together_and_counted() {
    let ada = ada().await;
    for (size, status) in [(MAX_BODY, 201), (MAX_BODY + 1, 413)] {
        let text = task_of_size(size);
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(1000)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let payload = Payload::Stream {
            payload: stream::iter(pieces).boxed_local(),
        };
        let call = ada.call(Method::POST, "/api/v1/tasks");
        assert_eq!(call.stream(payload).await.status, status);
    }
}

#[actix_web::test]
async fn a_body_that_breaks_off_is_malformed() {
    let ada = ada().await;
    let broken = stream::iter([
        Ok(Bytes::from_static(br#"{"title":"Buy"#)),
        Err(PayloadError::Incomplete(None)),
    ]);
    let payload = Payload::Stream {
        payload: broken.boxed_local(),
    };
    let call = ada.call(Method::POST, "/api/v1/tasks");
    call.stream(payload)
        .await
        .assert_problem(400, "malformed_json");
}

#[actix_web::test]
async fn a_body_that_does_not_come_is_answered_within_5_s() {
    let ada = ada().await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let slow = stream::once(ready(Ok(Bytes::from_static(b"{")))).chain(stream::pending());
    let payload = Payload::Stream {
        payload: slow.boxed_local(),
    };
    let call = ada.call(Method::POST, "/api/v1/tasks");
    call.stream(payload)
        .await
        .assert_problem(400, "malformed_json");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[actix_web::test]
async fn a_body_that_dribbles_in_is_not_awaited_for_longer() {
    let timeout = Duration::from_secs(2);
    let world = World::with(|setup| setup.settings.bounds.body_timeout = timeout).await;
    let ada = world.register("ada@example.com").await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    // Never silent for long.
    let dribble = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok(Bytes::from_static(b" ")), ()))
    });
    let payload = Payload::Stream {
        payload: dribble.boxed_local(),
    };
    let answer = ada.call(Method::POST, "/api/v1/tasks").stream(payload);
    answer.await.assert_problem(400, "malformed_json");
    assert_eq!(begun.elapsed().as_secs(), timeout.as_secs());
}

#[actix_web::test]
async fn how_large_a_body_may_be_is_a_setting() {
    let world = World::with(|setup| setup.settings.bounds.max_body_bytes = 2_000).await;
    let ada = world.register("ada@example.com").await;
    let create = |size| {
        ada.call(Method::POST, "/api/v1/tasks")
            .raw(task_of_size(size))
    };
    create(2_000).await.expect(201);
    for call in [
        create(2_001),
        create(2_001).header("content-length", "2001"),
    ] {
        let answer = call.await;
        answer.assert_problem(413, "payload_too_large");
        assert_eq!(answer.json["detail"], "a body may have at most 2000 bytes");
    }
}

#[actix_web::test]
async fn a_body_must_be_one_json_object() {
    let scene = Scene::new().await;
    let deep = "[".repeat(30_000);
    let cases: &[&[u8]] = &[
        b"",
        b" ",
        b"null",
        b"true",
        b"1",
        b"\"title\"",
        b"[]",
        b"[\"Buy milk\"]",
        b"[{\"title\":\"Buy milk\"}]",
        b"{",
        b"}",
        b"{\"title\"}",
        b"{\"title\":}",
        b"{\"title\":\"Buy milk\",}",
        b"{'title':'Buy milk'}",
        b"{title:\"Buy milk\"}",
        b"{\"title\":\"Buy milk\"} x",
        b"{\"title\":\"Buy milk\"}{}",
        b"{\"title\":\"Buy milk\"}\0",
        b"{\"title\":\"Buy\nmilk\"}",
        b"{\"title\":NaN}",
        b"{\"title\":\"Buy milk\"/**/}",
        b"\xEF\xBB\xBF{\"title\":\"Buy milk\"}",
        b"{\"title\":\"Buy \xFF milk\"}",
        b"{\"x\":\"\xED\xA0\x80\",\"title\":\"Buy milk\"}",
        deep.as_bytes(),
    ];
    for operation in with_body(&scene) {
        for body in cases {
            let answer = operation.by(&scene.ada).raw(*body).await;
            answer.assert_problem(400, "malformed_json");
        }
    }
}

#[actix_web::test]
async fn white_space_around_the_object_is_json() {
    let ada = ada().await;
    let call = ada.call(Method::POST, "/api/v1/tasks");
    call.raw(" \t\r\n{ \"title\" : \"Buy milk\" } \n")
        .await
        .expect(201);
}

#[actix_web::test]
async fn unknown_members_have_no_effect() {
    let ada = ada().await;
    let body = json!({
        "title": "Buy milk", "id": "x", "user_id": 7, "created_at": [], "status": "completed",
        "version": 9, "deleted_at": "x", "": null,
    });
    let task = ada.task(&body).await;
    assert_eq!(task["status"], "pending");
    assert_eq!(task["version"], 1);
    assert_eq!(task["user_id"], ada.id.as_str());
    assert_ne!(task["id"], "x");

    let body = json!({ "name": "Work", "id": 1, "created_at": 1, "user_id": 1 });
    ada.post("/api/v1/categories", &body).await.expect(201);
    let body = json!({ "full_name": "Ada King", "is_active": true, "email": "x@example.com" });
    let user = ada.patch("/api/v1/users/me", &body).await.expect(200);
    assert_eq!(user["is_active"], false);
    assert_eq!(user["email"], "ada@example.com");
}

#[actix_web::test]
async fn anything_goes_in_an_unknown_member() {
    let ada = ada().await;
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    let deep_object = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    for value in [
        deep.as_str(),
        deep_object.as_str(),
        "1e400",
        "-1e-400",
        "99999999999999999999999",
        "\"\\u0000\"",
        "\"\\ud800\"",
    ] {
        let body = format!(r#"{{"title":"Buy milk","x":{value}}}"#);
        let call = ada.call(Method::POST, "/api/v1/tasks");
        let answer = call.raw(body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
}

#[actix_web::test]
async fn a_known_member_that_stands_twice_makes_the_body_malformed() {
    let ada = ada().await;
    for body in [
        r#"{"title":"Buy milk","title":"Buy milk"}"#,
        r#"{"title":"Buy milk","ti\u0074le":"Buy milk"}"#,
        r#"{"title":null,"title":"Buy milk"}"#,
        r#"{"title":"Buy milk","priority":"low","priority":"low"}"#,
    ] {
        let call = ada.call(Method::POST, "/api/v1/tasks");
        call.raw(body).await.assert_problem(400, "malformed_json");
    }
    let call = ada.call(Method::POST, "/api/v1/tasks");
    call.raw(r#"{"x":1,"title":"Buy milk","x":2}"#)
        .await
        .expect(201);
}

#[actix_web::test]
async fn a_member_of_a_wrong_type_is_named_with_all_others() {
    let scene = Scene::new().await;
    let deep = "[".repeat(4_000) + &"]".repeat(4_000);
    for operation in with_body(&scene) {
        let members = known_members(operation.id);
        let expected: Vec<_> = members.iter().map(|name| (*name, "type")).collect();
        for wrong in ["true", "[]", "{}", "[\"x\"]", deep.as_str(), "7", "-1e400"] {
            let is_number = wrong.ends_with(|c: char| c.is_ascii_digit());
            let body: Vec<_> = members
                .iter()
                // Only a version is a number, and never a string.
                .map(|name| match *name {
                    "version" if is_number => "\"version\":\"1\"".to_owned(),
                    name => format!("\"{name}\":{wrong}"),
                })
                .collect();
            let call = operation
                .by(&scene.ada)
                .raw(format!("{{{}}}", body.join(",")));
            call.await.assert_invalid(&expected);
        }
    }
}

fn known_members(operation: &str) -> &'static [&'static str] {
    match operation {
        "register" => &["email", "password", "full_name"],
        "login" => &["email", "password"],
        "refresh" | "logout" => &["refresh_token"],
        "verify_email" => &["token"],
        "resend_verification" | "forgot_password" => &["email"],
        "reset_password" => &["token", "new_password"],
        "change_password" => &["current_password", "new_password"],
        "delete_me" => &["password"],
        "update_me" => &["full_name"],
        "create_task" => &["title", "description", "due_date", "priority"],
        "update_task" => &[
            "version",
            "title",
            "description",
            "due_date",
            "priority",
            "status",
        ],
        "create_category" | "update_category" => &["name", "color"],
        other => panic!("say here which members `{other}` knows"),
    }
}

#[actix_web::test]
async fn every_required_member_is_named_if_it_is_absent_or_null() {
    let scene = Scene::new().await;
    for operation in with_body(&scene) {
        let required: &[&str] = match operation.id {
            "update_me" | "update_category" => continue,
            "create_task" => &["title"],
            "update_task" => &["version"],
            "create_category" => &["name"],
            all => known_members(all),
        };
        let expected: Vec<_> = required.iter().map(|name| (*name, "required")).collect();
        let absent = operation.by(&scene.ada).raw("{}").await;
        absent.assert_invalid(&expected);
        let null: Value = required
            .iter()
            .map(|name| ((*name).to_owned(), Value::Null))
            .collect();
        let null = operation.by(&scene.ada).json(&null).await;
        null.assert_invalid(&expected);
    }
}

#[actix_web::test]
async fn null_is_the_same_as_absence_in_a_post() {
    let ada = ada().await;
    let body =
        json!({ "title": "Buy milk", "description": null, "due_date": null, "priority": null });
    let task = ada.task(&body).await;
    assert_eq!(task["description"], Value::Null);
    assert_eq!(task["due_date"], Value::Null);
    assert_eq!(task["priority"], "medium");
    let body = json!({ "name": "Work", "color": null });
    let category = ada.post("/api/v1/categories", &body).await.expect(201);
    assert_eq!(category["color"], "#6366F1");
}

#[actix_web::test]
async fn null_is_refused_in_a_patch_where_nothing_can_be_cleared() {
    let scene = Scene::new().await;
    let body = json!({ "version": 1, "title": null, "status": null, "priority": null });
    let answer = scene
        .operation("update_task")
        .by(&scene.ada)
        .json(&body)
        .await;
    answer.assert_invalid(&[("title", "null"), ("status", "null"), ("priority", "null")]);
    let body = json!({ "name": null, "color": null });
    let answer = scene
        .operation("update_category")
        .by(&scene.ada)
        .json(&body)
        .await;
    answer.assert_invalid(&[("name", "null"), ("color", "null")]);
    let body = json!({ "full_name": null });
    let answer = scene
        .operation("update_me")
        .by(&scene.ada)
        .json(&body)
        .await;
    answer.assert_invalid(&[("full_name", "null")]);
}

#[actix_web::test]
async fn nul_is_refused_in_every_text() {
    let scene = Scene::new().await;
    for (operation, member, code) in [
        ("register", "email", "nul"),
        ("register", "password", "nul"),
        ("register", "full_name", "nul"),
        ("login", "email", "nul"),
        ("resend_verification", "email", "nul"),
        ("forgot_password", "email", "nul"),
        ("reset_password", "new_password", "nul"),
        ("change_password", "new_password", "nul"),
        ("update_me", "full_name", "nul"),
        ("create_task", "title", "nul"),
        ("create_task", "description", "nul"),
        ("create_task", "priority", "one_of"),
        ("create_task", "due_date", "format"),
        ("update_task", "title", "nul"),
        ("update_task", "description", "nul"),
        ("update_task", "status", "one_of"),
        ("create_category", "name", "nul"),
        ("create_category", "color", "format"),
        ("update_category", "name", "nul"),
        ("update_category", "color", "format"),
    ] {
        let operation = scene.operation(operation);
        let mut body = operation.body.clone().unwrap();
        for text in ["\0", "Correct\0Horse-7!", "Correct-Horse-7!\0"] {
            body[member] = text.into();
            let answer = operation.by(&scene.ada).json(&body).await;
            answer.assert_invalid(&[(member, code)]);
        }
    }
}

#[actix_web::test]
async fn half_of_a_surrogate_pair_is_no_text() {
    let scene = Scene::new().await;
    for operation in with_body(&scene) {
        for name in known_members(operation.id) {
            if *name == "version" {
                continue;
            }
            for half in ["\\ud800", "\\udc00", "Buy \\ud83d milk"] {
                let mut body = operation.body.clone().unwrap();
                body.as_object_mut().unwrap().remove(*name);
                let rest = body.to_string();
                let rest = rest.trim_start_matches('{');
                let comma = if rest == "}" { "" } else { "," };
                let text = format!("{{\"{name}\":\"{half}\"{comma}{rest}");
                let answer = operation.by(&scene.ada).raw(text).await;
                answer.assert_invalid(&[(name, "format")]);
            }
        }
    }
    let call = scene.ada.call(Method::POST, "/api/v1/tasks");
    let task = call
        .raw(r#"{"title":"Buy \ud83e\udd5b"}"#)
        .await
        .expect(201);
    assert_eq!(task["title"], "Buy 🥛");
}

#[actix_web::test]
async fn a_version_is_a_whole_number_from_1() {
    let scene = Scene::new().await;
    let update = scene.operation("update_task");
    for wrong in [
        "0",
        "-0",
        "-1",
        "1.5",
        "1e400",
        "-1e400",
        "1e-400",
        "99999999999999999999",
        "9223372036854775808",
        "9007199254740993.0",
    ] {
        let call = update
            .by(&scene.ada)
            .raw(format!("{{\"version\":{wrong}}}"));
        call.await.assert_invalid(&[("version", "range")]);
    }
    // JSON knows one kind of number.
    for right in ["1", "1.0", "1e0", "10e-1", "0.1e1"] {
        update
            .by(&scene.ada)
            .raw(format!("{{\"version\":{right}}}"))
            .await
            .expect(200);
    }
    for other in ["9223372036854775807", "2.0", "9007199254740991.0"] {
        let answer = update
            .by(&scene.ada)
            .raw(format!("{{\"version\":{other}}}"))
            .await;
        answer.assert_problem(409, "version_conflict");
    }
}

#[actix_web::test]
async fn no_body_is_the_services_fault() {
    let scene = Scene::new().await;
    let operations: Vec<_> = with_body(&scene).collect();
    let value = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|it| it.to_string()),
        any::<f64>().prop_map(|it| json!(it).to_string()),
        "-?[0-9]{1,30}(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
        any::<String>().prop_map(|it| json!(it).to_string()),
        "\"(\\\\u[0-9a-f]{4}|[a-z#@.:+-]|[0-9]){0,40}\"",
    ];
    let member = (0..20_usize, value);
    let object = prop::collection::vec(member, 0..6).prop_map(|members| {
        const NAMES: [&str; 10] = [
            "title",
            "description",
            "due_date",
            "priority",
            "status",
            "version",
            "name",
            "color",
            "email",
            "full_name",
        ];
        let members: Vec<_> = members
            .into_iter()
            .map(|(name, value)| format!("\"{}\":{value}", NAMES.get(name).unwrap_or(&"x")))
            .collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    });
    let bytes = prop::collection::vec(any::<u8>(), 0..64);
    let strategy = (0..operations.len(), prop_oneof![4 => object, 1 => bytes]);
    let mut runner = TestRunner::deterministic();
    for _ in 0..1_000 {
        let (operation, body) = strategy.new_tree(&mut runner).unwrap().current();
        let answer = operations[operation].by(&scene.ada).raw(body.clone()).await;
        let body = String::from_utf8_lossy(&body);
        assert!(answer.status < 500, "{}: {body}", operations[operation].id);
    }
}

#[actix_web::test]
async fn a_compressed_body_is_415() {
    let world = World::new().await;
    let body = json!({ "email": "ada@example.com", "password": "Correct-Horse-7!" });
    for (coding, status) in [("gzip", 415), ("identity", 401)] {
        let call = world.post("/api/v1/auth/login", &body);
        let answer = call.header("content-encoding", coding).await;
        assert_eq!(answer.status, status, "{coding}");
    }
}
