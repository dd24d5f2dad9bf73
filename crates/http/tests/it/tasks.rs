//! Contract §3: one task.

use std::time::Duration;

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::support::{NOBODYS, Scene, User, World, column, path_of};

async fn ada() -> User {
    World::new().await.register("ada@example.com").await
}

fn create(ada: &User, body: &Value) -> crate::support::Call {
    ada.post("/api/v1/tasks", body)
}

// --- create and read

#[actix_web::test]
async fn a_new_task_is_pending_and_where_its_location_says() {
    let ada = ada().await;
    let answer = create(&ada, &json!({ "title": "Buy milk" })).await;
    let location = answer.header("location").unwrap().to_owned();
    let task = answer.expect(201);
    let id = task["id"].as_str().unwrap();
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
    assert_eq!(
        task,
        json!({
            "id": id,
            "user_id": ada.id,
            "title": "Buy milk",
            "description": null,
            "status": "pending",
            "priority": "medium",
            "due_date": null,
            "version": 1,
            "categories": [],
            "created_at": "2030-06-15T12:00:00.000000Z",
            "updated_at": "2030-06-15T12:00:00.000000Z",
        })
    );
    assert_eq!(location, format!("/api/v1/tasks/{id}"));
    assert_eq!(ada.get(&location).await.expect(200), task);
}

#[actix_web::test]
async fn everything_that_is_said_of_a_new_task_is_kept() {
    let ada = ada().await;
    for priority in ["low", "medium", "high"] {
        let task = ada
            .task(&json!({
                "title": "  Buy milk \u{2003}",
                "description": "\n Two litres\nof it \t",
                "due_date": "2030-06-15T12:00:00.000001Z",
                "priority": priority,
            }))
            .await;
        assert_eq!(task["title"], "Buy milk");
        assert_eq!(task["description"], "Two litres\nof it");
        assert_eq!(task["due_date"], "2030-06-15T12:00:00.000001Z");
        assert_eq!(task["priority"], priority);
    }
}

#[actix_web::test]
async fn a_title_has_3_to_200_characters_after_trimming() {
    let ada = ada().await;
    for good in [
        "äöü",
        &"🥛".repeat(200),
        &format!("  {}\n", "é".repeat(200)),
    ] {
        assert_eq!(
            ada.task(&json!({ "title": good })).await["title"],
            good.trim()
        );
    }
    for bad in [
        "",
        "ab",
        "äö",
        "🥛🥛",
        "   ab   ",
        &"🥛".repeat(201),
        &"é".repeat(201),
    ] {
        let answer = create(&ada, &json!({ "title": bad })).await;
        answer.assert_invalid(&[("title", "length")]);
    }
}

#[actix_web::test]
async fn a_description_has_at_most_2000_characters() {
    let ada = ada().await;
    for good in ["", &"🥛".repeat(2000), &format!("  {}  ", "é".repeat(2000))] {
        let task = ada
            .task(&json!({ "title": "Buy milk", "description": good }))
            .await;
        assert_eq!(task["description"], good.trim());
    }
    let body = json!({ "title": "Buy milk", "description": "é".repeat(2001) });
    create(&ada, &body)
        .await
        .assert_invalid(&[("description", "length")]);
}

#[actix_web::test]
async fn a_priority_is_one_of_three() {
    let ada = ada().await;
    for bad in ["", "HIGH", "High", " high", "urgent", "2"] {
        let answer = create(&ada, &json!({ "title": "Buy milk", "priority": bad })).await;
        answer.assert_invalid(&[("priority", "one_of")]);
    }
}

#[actix_web::test]
async fn every_bad_field_is_named_at_once() {
    let ada = ada().await;
    let body = json!({
        "title": "x", "description": "é".repeat(2001), "due_date": "tomorrow", "priority": 1,
    });
    create(&ada, &body).await.assert_invalid(&[
        ("title", "length"),
        ("description", "length"),
        ("due_date", "format"),
        ("priority", "type"),
    ]);
}

// --- due dates

async fn due(ada: &User, due_date: &str) -> crate::support::Answer {
    create(ada, &json!({ "title": "Buy milk", "due_date": due_date })).await
}

#[actix_web::test]
async fn a_due_date_lies_in_the_future() {
    let ada = ada().await;
    for past in [
        "2030-06-15T12:00:00Z",
        "2030-06-15T11:59:59.999999Z",
        "2030-06-15T14:00:00+02:00",
        "0001-01-01T00:00:00Z",
        // Later by less than a store keeps: cut, it is now.
        "2030-06-15T12:00:00.000000999Z",
    ] {
        due(&ada, past)
            .await
            .assert_invalid(&[("due_date", "past")]);
    }
    due(&ada, "2030-06-15T12:00:00.000001Z").await.expect(201);
}

#[actix_web::test]
async fn a_time_is_answered_in_utc_to_the_microsecond() {
    let ada = ada().await;
    for (given, answered) in [
        ("2031-01-01T00:00:00Z", "2031-01-01T00:00:00.000000Z"),
        ("2031-01-01T00:00:00z", "2031-01-01T00:00:00.000000Z"),
        ("2031-01-01T00:00:00.5Z", "2031-01-01T00:00:00.500000Z"),
        (
            "2031-01-01T00:00:00.123456789Z",
            "2031-01-01T00:00:00.123456Z",
        ),
        (
            "2031-01-01T00:00:00.999999999Z",
            "2031-01-01T00:00:00.999999Z",
        ),
        ("2031-01-01T01:30:00+02:00", "2030-12-31T23:30:00.000000Z"),
        ("2030-12-31T18:30:00-05:30", "2031-01-01T00:00:00.000000Z"),
        ("2031-01-01T00:00:00-00:00", "2031-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ] {
        let task = due(&ada, given).await.expect(201);
        assert_eq!(task["due_date"], answered, "{given}");
        let read = ada.get(&path_of("tasks", &task)).await.expect(200);
        assert_eq!(read["due_date"], answered, "{given}");
    }
}

#[actix_web::test]
async fn a_time_without_an_offset_or_out_of_range_is_refused() {
    let ada = ada().await;
    for bad in [
        "",
        "2031-01-01",
        "2031-01-01T00:00:00",
        "2031-01-01T00:00Z",
        "2031-1-1T00:00:00Z",
        "2031-02-29T00:00:00Z",
        "2031-13-01T00:00:00Z",
        "2031-01-01T24:00:00Z",
        "2031-01-01T00:60:00Z",
        "2031-01-01T00:00:00+24:00",
        "2031-01-01T00:00:00 Europe/Berlin",
        "9999-12-31T23:59:59-23:59",
        "10000-01-01T00:00:00Z",
        "+12031-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "1924992000",
        "tomorrow",
    ] {
        due(&ada, bad)
            .await
            .assert_invalid(&[("due_date", "format")]);
    }
}

// --- patch

/// A task with everything, at version 1, and its path.
async fn full_task(ada: &User) -> (String, Value) {
    let body = json!({
        "title": "Buy milk", "description": "Two litres", "priority": "low",
        "due_date": "2030-06-15T13:00:00Z",
    });
    let task = ada.task(&body).await;
    (path_of("tasks", &task), task)
}

#[actix_web::test]
async fn an_absent_member_stays_as_it_is() {
    let ada = ada().await;
    for (member, value) in [
        ("title", json!("Buy bread")),
        ("description", json!("One loaf")),
        ("due_date", json!("2031-01-01T00:00:00.000000Z")),
        ("priority", json!("high")),
        ("status", json!("completed")),
        ("description", Value::Null),
        ("due_date", Value::Null),
    ] {
        let (path, mut expected) = full_task(&ada).await;
        ada.world.clock.advance(Duration::from_secs(1));
        let mut body = json!({ "version": 1 });
        body[member] = value.clone();
        let task = ada.patch(&path, &body).await.expect(200);
        expected[member] = value;
        expected["version"] = 2.into();
        expected["updated_at"] = task["updated_at"].clone();
        assert_eq!(task, expected);
        assert!(task["updated_at"].as_str() > task["created_at"].as_str());
        assert_eq!(ada.get(&path).await.expect(200), expected);
    }
}

#[actix_web::test]
async fn each_status_may_follow_each() {
    let ada = ada().await;
    let path = ada.task_path().await;
    let statuses = [
        "in_progress",
        "pending",
        "completed",
        "in_progress",
        "completed",
        "pending",
    ];
    for (version, status) in (1..).zip(statuses) {
        let body = json!({ "version": version, "status": status });
        let task = ada.patch(&path, &body).await.expect(200);
        assert_eq!(task["status"], status);
        assert_eq!(task["version"], version + 1);
    }
}

#[actix_web::test]
async fn a_patch_that_changes_nothing_answers_with_the_task_as_it_is() {
    let ada = ada().await;
    let (path, task) = full_task(&ada).await;
    ada.world.clock.advance(Duration::from_secs(1));
    for body in [
        json!({ "version": 1 }),
        json!({ "version": 1, "title": " Buy milk " }),
        json!({ "version": 1, "due_date": "2030-06-15T15:00:00+02:00" }),
        task.clone(),
    ] {
        assert_eq!(ada.patch(&path, &body).await.expect(200), task);
    }
}

#[actix_web::test]
async fn a_patch_keeps_the_rules_of_a_new_task_and_names_every_bad_field() {
    let ada = ada().await;
    let path = ada.task_path().await;
    let body = json!({
        "version": 1, "title": "äö", "description": "é".repeat(2001), "priority": "urgent",
        "status": "done", "due_date": "2031-01-01T00:00:00",
    });
    ada.patch(&path, &body).await.assert_invalid(&[
        ("title", "length"),
        ("description", "length"),
        ("priority", "one_of"),
        ("status", "one_of"),
        ("due_date", "format"),
    ]);
    let past = json!({ "version": 1, "due_date": "2030-06-15T12:00:00Z" });
    ada.patch(&path, &past)
        .await
        .assert_invalid(&[("due_date", "past")]);
    assert_eq!(ada.get(&path).await.expect(200)["version"], 1);
}

#[actix_web::test]
async fn an_overdue_task_can_be_sent_back_whole_and_completed() {
    let ada = ada().await;
    let (path, mut task) = full_task(&ada).await;
    ada.world.clock.advance(Duration::from_hours(2));
    // Any access token is expired by now.
    let grant = ada.world.refresh(&ada.refresh_token).await.expect(200);
    let ada = User::of(&ada.world, &grant);
    task["status"] = "completed".into();
    let done = ada.patch(&path, &task).await.expect(200);
    assert_eq!(done["status"], "completed");
    assert_eq!(done["due_date"], task["due_date"]);
    // Another date in the past is a change, and is judged.
    let body = json!({ "version": 2, "due_date": "2030-06-15T13:00:00.000001Z" });
    ada.patch(&path, &body)
        .await
        .assert_invalid(&[("due_date", "past")]);
}

#[actix_web::test]
async fn a_version_that_is_not_the_tasks_is_a_conflict() {
    let ada = ada().await;
    let path = ada.task_path().await;
    let first = json!({ "version": 1, "title": "Another title" });
    ada.patch(&path, &first).await.expect(200);
    for version in [1, 3, i64::MAX] {
        // Also where nothing would change.
        for body in [
            json!({ "version": version, "title": "A third title" }),
            json!({ "version": version }),
        ] {
            let answer = ada.patch(&path, &body).await;
            answer.assert_problem(409, "version_conflict");
            assert_eq!(answer.json["current_version"], 2);
        }
    }
    assert_eq!(ada.get(&path).await.expect(200)["title"], "Another title");
}

#[actix_web::test]
async fn of_concurrent_patches_with_one_version_one_succeeds() {
    let ada = ada().await;
    let path = ada.task_path().await;
    let patches = (0..20).map(|n| {
        let body = json!({ "version": 1, "title": format!("Title {n}") });
        ada.patch(&path, &body).into_future()
    });
    let answers = futures_util::future::join_all(patches).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    let lost = answers.iter().filter(|answer| answer.status == 409).count();
    assert_eq!((won, lost), (1, 19));
}

// --- delete

#[actix_web::test]
async fn a_deleted_task_is_shown_nowhere() {
    let scene = Scene::new().await;
    let ada = &scene.ada;
    let path = format!("/api/v1/tasks/{}", scene.task);
    let id = tasks_domain::id::Id::new(scene.task.parse().unwrap());
    // It has a category.
    let category = scene.operation("get_category").path;
    ada.delete(&path).await.expect(204);
    assert!(
        scene.world.store.store.deleted_at(id).is_some(),
        "the row stays"
    );

    ada.get(&path).await.assert_problem(404, "not_found");
    ada.delete(&path).await.assert_problem(404, "not_found");
    let body = json!({ "version": 1, "title": "Another title" });
    ada.patch(&path, &body)
        .await
        .assert_problem(404, "not_found");
    let filed = scene.operation("unassign_category").path;
    ada.delete(&filed).await.assert_problem(404, "not_found");
    ada.call(Method::POST, &filed)
        .await
        .assert_problem(404, "not_found");
    let category_id = category.rsplit('/').next().unwrap();
    for query in [String::new(), format!("?category_id={category_id}")] {
        let page = ada.get(&format!("/api/v1/tasks{query}")).await.expect(200);
        assert_eq!(page["total"], 0);
    }
    ada.get(&category).await.expect(200);
}

// --- whose it is

#[actix_web::test]
async fn what_is_not_there_is_404() {
    let scene = Scene::new().await;
    for operation in scene.operations() {
        if operation.template.contains('{') {
            let mut nowhere = operation;
            let path = nowhere.template.replace("{id}", NOBODYS);
            nowhere.path = path.replace("{category_id}", NOBODYS);
            nowhere
                .by(&scene.ada)
                .await
                .assert_problem(404, "not_found");
        }
    }
}

// --- categories of a task

#[actix_web::test]
async fn a_task_is_filed_under_categories_by_name() {
    let ada = ada().await;
    let task = ada.task(&json!({ "title": "Buy milk" })).await;
    let path = path_of("tasks", &task);
    ada.world.clock.advance(Duration::from_secs(1));
    for name in ["work", "Work", "Ärger", "home"] {
        let category = ada.category(name).await;
        let assign = format!("{path}/categories/{}", category["id"].as_str().unwrap());
        let filed = ada.call(Method::POST, &assign).await.expect(200);
        let filed_under = filed["categories"].as_array().unwrap();
        assert!(filed_under.contains(&category));
        assert_eq!(filed["version"], 1);
        assert_eq!(filed["updated_at"], task["updated_at"]);
        assert_eq!(ada.get(&path).await.expect(200), filed);
    }
    let read = ada.get(&path).await.expect(200);
    assert_eq!(
        column(&read["categories"], "name"),
        ["Work", "home", "work", "Ärger"]
    );
    let page = ada.get("/api/v1/tasks").await.expect(200);
    assert_eq!(page["items"][0], read);
    let body = json!({ "version": 1, "title": "Buy bread" });
    let patched = ada.patch(&path, &body).await.expect(200);
    assert_eq!(patched["categories"], read["categories"]);
}

#[actix_web::test]
async fn a_task_is_filed_under_a_category_once() {
    let scene = Scene::new().await;
    let filed = scene.operation("unassign_category").path;
    let again = scene.ada.call(Method::POST, &filed).await;
    again.assert_problem(409, "category_already_assigned");
}

#[actix_web::test]
async fn a_task_is_taken_out_of_a_category_once() {
    let scene = Scene::new().await;
    let task_path = format!("/api/v1/tasks/{}", scene.task);
    let before = scene.ada.get(&task_path).await.expect(200);
    scene.world.clock.advance(Duration::from_secs(1));
    let filed = scene.operation("unassign_category").path;
    scene.ada.delete(&filed).await.expect(204);
    scene
        .ada
        .delete(&filed)
        .await
        .assert_problem(404, "not_found");
    let mut expected = before;
    expected["categories"] = json!([]);
    assert_eq!(scene.ada.get(&task_path).await.expect(200), expected);
    scene.ada.call(Method::POST, &filed).await.expect(200);
}

#[actix_web::test]
async fn task_and_category_both_have_to_be_the_callers() {
    let scene = Scene::new().await;
    let id = |thing: &Value| thing["id"].as_str().unwrap().to_owned();
    let bobs_task = id(&scene.bob.task(&json!({ "title": "Mine" })).await);
    let bobs_category = id(&scene.bob.category("Mine").await);
    let adas_category = scene.operation("get_category").path;
    let adas_category = adas_category.rsplit('/').next().unwrap();
    for (task, category, status, code) in [
        (
            scene.task.as_str(),
            bobs_category.as_str(),
            403,
            "forbidden",
        ),
        (&bobs_task, adas_category, 403, "forbidden"),
        (&bobs_task, &bobs_category, 403, "forbidden"),
        (&scene.task, NOBODYS, 404, "not_found"),
        (NOBODYS, adas_category, 404, "not_found"),
        (NOBODYS, &bobs_category, 404, "not_found"),
    ] {
        let path = format!("/api/v1/tasks/{task}/categories/{category}");
        for method in [Method::POST, Method::DELETE] {
            scene
                .ada
                .call(method, &path)
                .await
                .assert_problem(status, code);
        }
    }
}
