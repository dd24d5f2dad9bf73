//! Contract §4: categories.

use std::time::Duration;

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, User, World, column, path_of};

async fn ada() -> User {
    World::new().await.register("ada@example.com").await
}

async fn create(user: &User, body: &Value) -> Answer {
    user.post("/api/v1/categories", body).await
}

#[actix_web::test]
async fn a_new_category_is_where_its_location_says() {
    let ada = ada().await;
    let answer = create(&ada, &json!({ "name": " Work\n" })).await;
    let location = answer.header("location").unwrap().to_owned();
    let category = answer.expect(201);
    let id = category["id"].as_str().unwrap();
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
    assert_eq!(
        category,
        json!({
            "id": id, "name": "Work", "color": "#6366F1",
            "created_at": "2030-06-15T12:00:00.000000Z",
        })
    );
    assert_eq!(location, format!("/api/v1/categories/{id}"));
    assert_eq!(ada.get(&location).await.expect(200), category);
}

#[actix_web::test]
async fn a_name_has_3_to_50_characters_after_trimming() {
    let ada = ada().await;
    let path = path_of("categories", &ada.category("Work").await);
    for good in ["äöü", &"🥛".repeat(50), &format!(" {} ", "é".repeat(50))] {
        let category = create(&ada, &json!({ "name": good })).await.expect(201);
        assert_eq!(category["name"], good.trim());
    }
    for bad in ["", "äö", " ab ", "🥛🥛", &"é".repeat(51)] {
        let body = json!({ "name": bad });
        create(&ada, &body)
            .await
            .assert_invalid(&[("name", "length")]);
        ada.patch(&path, &body)
            .await
            .assert_invalid(&[("name", "length")]);
    }
}

#[actix_web::test]
async fn a_color_is_six_hex_digits_and_kept_as_given() {
    let ada = ada().await;
    let path = path_of("categories", &ada.category("Work").await);
    for (n, good) in ["#000000", "#ABCDEF", "#abcdef", "#aBcD09"]
        .iter()
        .enumerate()
    {
        let body = json!({ "name": format!("Name {n}"), "color": good });
        assert_eq!(create(&ada, &body).await.expect(201)["color"], *good);
        let patched = ada
            .patch(&path, &json!({ "color": good }))
            .await
            .expect(200);
        assert_eq!(patched["color"], *good);
    }
    for bad in [
        "",
        "#",
        "000000",
        "#00000",
        "#0000000",
        "#00000g",
        "##00000",
        "#٠٠٠٠٠٠",
        "red",
        "#fff",
    ] {
        let body = json!({ "name": "Name", "color": bad });
        create(&ada, &body)
            .await
            .assert_invalid(&[("color", "format")]);
        ada.patch(&path, &body)
            .await
            .assert_invalid(&[("color", "format")]);
    }
}

#[actix_web::test]
async fn every_bad_field_is_named_at_once() {
    let ada = ada().await;
    let path = path_of("categories", &ada.category("Work").await);
    let body = json!({ "name": "x", "color": "x" });
    let expected = [("name", "length"), ("color", "format")];
    create(&ada, &body).await.assert_invalid(&expected);
    ada.patch(&path, &body).await.assert_invalid(&expected);
}

#[actix_web::test]
async fn a_name_is_unique_for_a_user_with_regard_to_case() {
    let ada = ada().await;
    let bob = ada.world.register("bob@example.com").await;
    ada.category("Work").await;
    for taken in ["Work", "  Work "] {
        let answer = create(&ada, &json!({ "name": taken, "color": "#000000" })).await;
        answer.assert_problem(409, "category_name_taken");
    }
    let lower = ada.category("work").await;
    bob.category("Work").await;
    let path = path_of("categories", &lower);
    let answer = ada
        .patch(&path, &json!({ "name": "Work", "color": "#000000" }))
        .await;
    answer.assert_problem(409, "category_name_taken");
    assert_eq!(ada.get(&path).await.expect(200), lower);
    // Its own name is no other category's.
    ada.patch(&path, &json!({ "name": "work" }))
        .await
        .expect(200);
    // A name is free again once its category is gone.
    ada.delete(&path).await.expect(204);
    ada.category("work").await;
}

#[actix_web::test]
async fn of_concurrent_categories_of_one_name_one_is_made() {
    let ada = ada().await;
    let body = json!({ "name": "Work" });
    let answers = futures_util::future::join_all((0..10).map(|_| create(&ada, &body))).await;
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((made, refused), (1, 9));
}

#[actix_web::test]
async fn all_of_the_callers_are_listed_by_code_point() {
    let ada = ada().await;
    let bob = ada.world.register("bob@example.com").await;
    let none = ada.get("/api/v1/categories").await.expect(200);
    assert_eq!(none, json!({ "items": [], "total": 0 }));
    bob.category("Bob's").await;
    for name in ["work", "Ärger", "Work", "alpha", "10th", "9th"] {
        ada.category(name).await;
    }
    let list = ada.get("/api/v1/categories").await.expect(200);
    assert_eq!(
        column(&list["items"], "name"),
        ["10th", "9th", "Work", "alpha", "work", "Ärger"]
    );
    assert_eq!(list["total"], 6);
    // Known parameters of other lists are unknown here.
    ada.get("/api/v1/categories?page=x").await.expect(200);
}

#[actix_web::test]
async fn a_patch_changes_what_is_given() {
    let ada = ada().await;
    let mut expected = ada.category("Work").await;
    let path = path_of("categories", &expected);
    ada.world.clock.advance(Duration::from_secs(1));
    for (member, value) in [("name", "Home"), ("color", "#22C55E")] {
        expected[member] = value.into();
        let answer = ada.patch(&path, &json!({ (member): value })).await;
        assert_eq!(answer.expect(200), expected);
        assert_eq!(ada.get(&path).await.expect(200), expected);
    }
    assert_eq!(ada.patch(&path, &json!({})).await.expect(200), expected);
}

#[actix_web::test]
async fn a_new_name_is_seen_in_tasks() {
    let ada = ada().await;
    let task = ada.task_path().await;
    let category = ada.category("Work").await;
    let assign = format!("{task}/categories/{}", category["id"].as_str().unwrap());
    ada.call(Method::POST, &assign).await.expect(200);
    let path = path_of("categories", &category);
    ada.patch(&path, &json!({ "name": "Home" }))
        .await
        .expect(200);
    let read = ada.get(&task).await.expect(200);
    assert_eq!(column(&read["categories"], "name"), ["Home"]);
}

#[actix_web::test]
async fn a_deleted_category_goes_with_its_assignments_and_its_tasks_stay() {
    let ada = ada().await;
    let task = ada.task_path().await;
    let work = ada.category("Work").await;
    let home = ada.category("Home").await;
    for category in [&work, &home] {
        let assign = format!("{task}/categories/{}", category["id"].as_str().unwrap());
        ada.call(Method::POST, &assign).await.expect(200);
    }
    let path = path_of("categories", &work);
    ada.delete(&path).await.expect(204);
    let read = ada.get(&task).await.expect(200);
    assert_eq!(column(&read["categories"], "name"), ["Home"]);
    assert_eq!(read["version"], 1);
    let query = format!("/api/v1/tasks?category_id={}", work["id"].as_str().unwrap());
    assert_eq!(ada.get(&query).await.expect(200)["total"], 0);
    ada.get(&path).await.assert_problem(404, "not_found");
    ada.delete(&path).await.assert_problem(404, "not_found");
    let answer = ada.patch(&path, &json!({ "name": "Other" })).await;
    answer.assert_problem(404, "not_found");
}
