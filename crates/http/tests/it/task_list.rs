//! Contract §3: the list of tasks.

use std::time::Duration;

use actix_web::http::Method;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{NOBODYS, User, World, column, path_of};

async fn list(user: &User, query: &str) -> Value {
    user.get(&format!("/api/v1/tasks?{query}"))
        .await
        .expect(200)
}

async fn titles(user: &User, query: &str) -> Vec<String> {
    let page = list(user, query).await;
    assert_eq!(page["total"], page["items"].as_array().unwrap().len());
    column(&page["items"], "title")
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// Ada's tasks, made a second apart: title, priority, due in so many hours, status.
async fn tasks() -> User {
    let ada = World::new().await.register("ada@example.com").await;
    for (title, priority, due, status) in [
        ("beta", "low", Some("2030-06-16T00:00:00Z"), "pending"),
        ("Alpha", "high", None, "completed"),
        (
            "alpha",
            "medium",
            Some("2030-06-15T22:00:00Z"),
            "in_progress",
        ),
        ("Ärger", "medium", None, "pending"),
        ("delta", "high", Some("2030-06-17T00:00:00Z"), "pending"),
    ] {
        let body = json!({ "title": title, "priority": priority, "due_date": due });
        let task = ada.task(&body).await;
        let status = json!({ "version": 1, "status": status });
        ada.patch(&path_of("tasks", &task), &status)
            .await
            .expect(200);
        ada.world.clock.advance(Duration::from_secs(1));
    }
    ada
}

#[actix_web::test]
async fn a_list_without_parameters_is_the_first_20_the_newest_first() {
    let ada = World::new().await.register("ada@example.com").await;
    for n in 0..21 {
        ada.task(&json!({ "title": format!("Task {n}") })).await;
        ada.world.clock.advance(Duration::from_secs(1));
    }
    let page = ada.get("/api/v1/tasks").await.expect(200);
    let expected: Vec<_> = (1..21).rev().map(|n| format!("Task {n}")).collect();
    assert_eq!(column(&page["items"], "title"), expected);
    let mut numbers = page;
    numbers.as_object_mut().unwrap().remove("items");
    assert_eq!(
        numbers,
        json!({ "total": 21, "page": 1, "limit": 20, "pages": 2 })
    );
}

#[actix_web::test]
async fn an_empty_list_has_no_pages() {
    let ada = World::new().await.register("ada@example.com").await;
    let page = ada.get("/api/v1/tasks").await.expect(200);
    assert_eq!(
        page,
        json!({ "items": [], "total": 0, "page": 1, "limit": 20, "pages": 0 })
    );
}

#[actix_web::test]
async fn pages_neither_overlap_nor_skip() {
    // All made in one instant: only the id tells them apart.
    let ada = World::new().await.register("ada@example.com").await;
    for n in 0..7 {
        ada.task(&json!({ "title": format!("Task {n}") })).await;
    }
    for (order, expected) in [
        (
            "asc",
            [
                "Task 0", "Task 1", "Task 2", "Task 3", "Task 4", "Task 5", "Task 6",
            ],
        ),
        (
            "desc",
            [
                "Task 6", "Task 5", "Task 4", "Task 3", "Task 2", "Task 1", "Task 0",
            ],
        ),
    ] {
        for sort_by in ["created_at", "updated_at", "due_date", "priority"] {
            let mut seen = Vec::new();
            for n in 1..=4 {
                let query = format!("limit=2&page={n}&sort_by={sort_by}&sort_order={order}");
                let page = list(&ada, &query).await;
                assert_eq!((&page["pages"], &page["total"]), (&json!(4), &json!(7)));
                assert_eq!((&page["page"], &page["limit"]), (&json!(n), &json!(2)));
                seen.extend(
                    column(&page["items"], "title")
                        .iter()
                        .map(ToString::to_string),
                );
            }
            assert_eq!(seen, expected, "{sort_by} {order}");
        }
    }
    let beyond = list(&ada, "limit=2&page=5").await;
    assert_eq!(beyond["items"], json!([]));
    assert_eq!(beyond["total"], 7);
}

#[actix_web::test]
async fn limits_and_pages_have_bounds() {
    let ada = tasks().await;
    for good in [
        "limit=1",
        "limit=100",
        "page=1",
        "limit=0100",
        "page=92233720368547758&limit=100",
    ] {
        list(&ada, good).await;
    }
    for (query, expected) in [
        ("limit=0", &[("limit", "range")][..]),
        ("limit=101", &[("limit", "range")]),
        ("limit=99999999999999999999", &[("limit", "range")]),
        ("page=0", &[("page", "range")]),
        // The offset must fit into 63 bits.
        ("page=92233720368547760&limit=100", &[("page", "range")]),
        ("page=9223372036854775808", &[("page", "range")]),
        ("page=18446744073709551615", &[("page", "range")]),
        ("page=18446744073709551616", &[("page", "range")]),
        ("page=0&limit=0", &[("page", "range"), ("limit", "range")]),
    ] {
        let answer = ada.get(&format!("/api/v1/tasks?{query}")).await;
        answer.assert_invalid(expected);
    }
    for name in ["page", "limit"] {
        for bad in [
            "", "x", "-1", "%2B1", "+1", "1.0", "1e1", "0x1", " 1", "%D9%A1", "null",
        ] {
            let answer = ada
                .get(&format!("/api/v1/tasks?{name}={}", bad.replace(' ', "%20")))
                .await;
            answer.assert_invalid(&[(name, "type")]);
        }
    }
}

#[actix_web::test]
async fn filters_choose_and_combine_with_and() {
    let ada = tasks().await;
    for (query, expected) in [
        ("status=pending", &["delta", "Ärger", "beta"][..]),
        ("status=in_progress", &["alpha"]),
        ("status=completed", &["Alpha"]),
        ("priority=low", &["beta"]),
        ("priority=medium", &["Ärger", "alpha"]),
        ("priority=high", &["delta", "Alpha"]),
        ("status=pending&priority=high", &["delta"]),
        ("status=in_progress&priority=high", &[]),
        // Inclusive, and each may stand alone.
        ("due_date_from=2030-06-16T00:00:00Z", &["delta", "beta"]),
        ("due_date_from=2030-06-16T00:00:00.000001Z", &["delta"]),
        ("due_date_to=2030-06-16T00:00:00Z", &["alpha", "beta"]),
        ("due_date_to=2030-06-15T23:59:59.999999Z", &["alpha"]),
        (
            "due_date_from=2030-06-16T00:00:00Z&due_date_to=2030-06-16T00:00:00Z",
            &["beta"],
        ),
        (
            "due_date_from=2030-06-16T02:00:00%2B02:00&due_date_to=2030-06-16T02:00:00%2b02:00",
            &["beta"],
        ),
        // A range that ends before it begins.
        (
            "due_date_from=2030-06-17T00:00:00Z&due_date_to=2030-06-15T00:00:00Z",
            &[],
        ),
        (
            "due_date_from=2000-01-01T00:00:00Z&status=pending&priority=low",
            &["beta"],
        ),
    ] {
        assert_eq!(titles(&ada, query).await, expected, "{query}");
    }
}

#[actix_web::test]
async fn a_category_filters_only_if_it_is_the_callers() {
    let ada = tasks().await;
    let bob = ada.world.register("bob@example.com").await;
    let id = |thing: &Value| thing["id"].as_str().unwrap().to_owned();
    let work = id(&ada.category("Work").await);
    let empty = id(&ada.category("Empty").await);
    let bobs = id(&bob.category("Work").await);
    let bobs_task = bob.task(&json!({ "title": "Bob's" })).await;
    let path = format!("{}/categories/{bobs}", path_of("tasks", &bobs_task));
    bob.call(Method::POST, &path).await.expect(200);
    let page = list(&ada, "").await;
    for item in page["items"].as_array().unwrap().iter().take(2) {
        let path = format!("{}/categories/{work}", path_of("tasks", item));
        ada.call(Method::POST, &path).await.expect(200);
    }
    let filter = |id: &str| format!("category_id={id}");
    assert_eq!(titles(&ada, &filter(&work)).await, ["delta", "Ärger"]);
    assert_eq!(
        titles(&ada, &filter(&work.to_uppercase())).await,
        ["delta", "Ärger"]
    );
    assert_eq!(
        titles(&ada, &format!("{}&priority=high", filter(&work))).await,
        ["delta"]
    );
    for none in [empty.as_str(), &bobs, NOBODYS] {
        assert!(titles(&ada, &filter(none)).await.is_empty());
    }
}

#[actix_web::test]
async fn only_the_callers_tasks_are_listed() {
    let ada = tasks().await;
    let bob = ada.world.register("bob@example.com").await;
    bob.task(&json!({ "title": "Bob's" })).await;
    assert_eq!(titles(&bob, "").await, ["Bob's"]);
    assert_eq!(titles(&ada, "").await.len(), 5);
}

#[actix_web::test]
async fn tasks_sort_in_every_order() {
    let ada = tasks().await;
    // The oldest is changed last.
    let oldest = list(&ada, "sort_order=asc&limit=1").await;
    let path = path_of("tasks", &oldest["items"][0]);
    ada.patch(&path, &json!({ "version": 1, "description": "x" }))
        .await
        .expect(200);
    for (query, expected) in [
        (
            "sort_by=created_at",
            ["delta", "Ärger", "alpha", "Alpha", "beta"],
        ),
        (
            "sort_by=created_at&sort_order=asc",
            ["beta", "Alpha", "alpha", "Ärger", "delta"],
        ),
        (
            "sort_order=asc",
            ["beta", "Alpha", "alpha", "Ärger", "delta"],
        ),
        (
            "sort_by=updated_at",
            ["beta", "delta", "Ärger", "alpha", "Alpha"],
        ),
        (
            "sort_by=updated_at&sort_order=asc",
            ["Alpha", "alpha", "Ärger", "delta", "beta"],
        ),
        // By rank; ties by id, in the same direction.
        (
            "sort_by=priority",
            ["delta", "Alpha", "Ärger", "alpha", "beta"],
        ),
        (
            "sort_by=priority&sort_order=asc",
            ["beta", "alpha", "Ärger", "Alpha", "delta"],
        ),
        // By code point.
        (
            "sort_by=title&sort_order=asc",
            ["Alpha", "alpha", "beta", "delta", "Ärger"],
        ),
        (
            "sort_by=title&sort_order=desc",
            ["Ärger", "delta", "beta", "alpha", "Alpha"],
        ),
        // Without a due date last, in either order.
        (
            "sort_by=due_date&sort_order=asc",
            ["alpha", "beta", "delta", "Alpha", "Ärger"],
        ),
        (
            "sort_by=due_date&sort_order=desc",
            ["delta", "beta", "alpha", "Ärger", "Alpha"],
        ),
    ] {
        assert_eq!(titles(&ada, query).await, expected, "{query}");
    }
}

#[actix_web::test]
async fn unknown_values_are_refused() {
    let ada = tasks().await;
    for (name, code, values) in [
        (
            "status",
            "one_of",
            &["", "done", "PENDING", "pending%20", "pending,completed"][..],
        ),
        ("priority", "one_of", &["", "urgent", "High", "3"]),
        (
            "sort_by",
            "one_of",
            &["", "id", "Title", "title,priority", "-title", "user_id"],
        ),
        ("sort_order", "one_of", &["", "ASC", "up", "descending"]),
        (
            "category_id",
            "format",
            &["", "x", "null", "0198c7a2000070008000000000000000"],
        ),
        (
            "due_date_from",
            "format",
            &[
                "",
                "2030-06-16",
                "2030-06-16T00:00:00",
                "2030-06-16T00:00:00+02:00",
                "now",
            ],
        ),
        (
            "due_date_to",
            "format",
            &[
                "",
                "9999-12-31T23:59:59-23:59",
                "0000-01-01T00:00:00Z",
                "2030-06-31T00:00:00Z",
            ],
        ),
    ] {
        for value in values {
            let answer = ada.get(&format!("/api/v1/tasks?{name}={value}")).await;
            answer.assert_invalid(&[(name, code)]);
        }
        // A name without a value, bytes that are no text, and NUL.
        let answer = ada.get(&format!("/api/v1/tasks?{name}")).await;
        answer.assert_invalid(&[(name, code)]);
        for bytes in ["%ff", "%C3%28", "%00", "pending%00"] {
            let answer = ada.get(&format!("/api/v1/tasks?{name}={bytes}")).await;
            answer.assert_invalid(&[(name, code)]);
        }
    }
}

#[actix_web::test]
async fn a_known_parameter_stands_once() {
    let ada = tasks().await;
    for (name, value) in [
        ("page", "1"),
        ("limit", "1"),
        ("status", "pending"),
        ("priority", "low"),
        ("category_id", NOBODYS),
        ("due_date_from", "2030-06-16T00:00:00Z"),
        ("due_date_to", "2030-06-16T00:00:00Z"),
        ("sort_by", "title"),
        ("sort_order", "asc"),
    ] {
        list(&ada, &format!("{name}={value}")).await;
        let answer = ada
            .get(&format!("/api/v1/tasks?{name}={value}&x=1&{name}={value}"))
            .await;
        answer.assert_invalid(&[(name, "repeated")]);
    }
}

#[actix_web::test]
async fn every_bad_parameter_is_named_at_once() {
    let ada = tasks().await;
    let query = "page=x&limit=0&status=x&priority=x&category_id=x&due_date_from=x&due_date_to=x\
                 &sort_by=x&sort_order=x";
    let answer = ada.get(&format!("/api/v1/tasks?{query}")).await;
    answer.assert_invalid(&[
        ("page", "type"),
        ("limit", "range"),
        ("status", "one_of"),
        ("priority", "one_of"),
        ("category_id", "format"),
        ("due_date_from", "format"),
        ("due_date_to", "format"),
        ("sort_by", "one_of"),
        ("sort_order", "one_of"),
    ]);
}

#[actix_web::test]
async fn unknown_parameters_are_ignored() {
    let ada = tasks().await;
    for query in [
        "x=1",
        "x=1&x=2",
        "Page=0",
        "user_id=x",
        "%ff=%ff",
        "&&",
        "=",
        "page[]=x",
        "x=%00",
    ] {
        assert_eq!(titles(&ada, query).await.len(), 5, "{query}");
    }
}

#[actix_web::test]
async fn parameters_may_be_percent_encoded() {
    let ada = tasks().await;
    assert_eq!(
        titles(&ada, "st%61tus=p%65nding&priority=%6Cow").await,
        ["beta"]
    );
    assert_eq!(
        titles(&ada, "due_date_from=2030-06-17T00%3A00%3A00Z").await,
        ["delta"]
    );
}

#[actix_web::test]
async fn no_query_is_the_services_fault() {
    let ada = tasks().await;
    let name = prop::sample::select(vec![
        "page",
        "limit",
        "status",
        "priority",
        "category_id",
        "due_date_from",
        "due_date_to",
        "sort_by",
        "sort_order",
        "x",
    ]);
    let value = prop_oneof![
        "[0-9]{0,25}",
        "-?[0-9]{1,5}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|%2B[0-9]{2}:[0-9]{2})",
        "(%[0-9a-f]{2}|[a-z_]){0,20}",
        prop::sample::select(vec!["pending", "high", "title", "asc", "due_date", NOBODYS])
            .prop_map(str::to_owned),
    ];
    let pair = (name, value).prop_map(|(name, value)| format!("{name}={value}"));
    let query = prop::collection::vec(pair, 0..5).prop_map(|pairs| pairs.join("&"));
    let mut runner = TestRunner::deterministic();
    for _ in 0..1_000 {
        let query = query.new_tree(&mut runner).unwrap().current();
        let answer = ada.get(&format!("/api/v1/tasks?{query}")).await;
        assert!(
            [200, 400].contains(&answer.status),
            "{query}: {}",
            answer.text
        );
    }
}
