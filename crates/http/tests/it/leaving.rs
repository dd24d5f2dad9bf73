//! Contract §2: deleting one's account.

use serde_json::json;
use tasks_testkit::contract::Stores;

use crate::support::{NEW_PASSWORD, PASSWORD, Scene, WRONG, World};

const ADA: &str = "ada@example.com";

#[actix_web::test]
async fn an_account_is_erased_with_everything_it_owns() {
    let scene = Scene::new().await;
    let (world, ada) = (&scene.world, &scene.ada);
    let other = ada.log_in_again(ADA).await;
    let reset = scene.operation("reset_password");
    let task = format!("/api/v1/tasks/{}", scene.task);
    world.forgot_password(ADA).await.expect(202);
    ada.delete_account(PASSWORD).await.expect(204);

    ada.assert_out().await;
    other.assert_out().await;
    let login = world.log_in(ADA, PASSWORD).await;
    login.assert_problem(401, "invalid_credentials");
    let reset = reset.anonymous(world).await;
    reset.assert_problem(400, "invalid_token");
    assert_eq!(world.deliver().await.len(), 0);
    scene.bob.get(&task).await.assert_problem(404, "not_found");
    scene.bob.me().await.expect(200);

    // The address is free again, and whoever has it next finds nothing.
    let next = world.register(ADA).await;
    assert_ne!(next.id, ada.id);
    assert_eq!(next.get("/api/v1/tasks").await.expect(200)["total"], 0);
    assert_eq!(next.get("/api/v1/categories").await.expect(200)["total"], 0);
    assert_eq!(next.sessions().await.len(), 1);
    next.get(&task).await.assert_problem(404, "not_found");
    ada.assert_out().await;
}

#[actix_web::test]
async fn it_takes_the_password() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    for wrong in [WRONG, "", NEW_PASSWORD] {
        let answer = ada.delete_account(wrong).await;
        answer.assert_problem(401, "invalid_credentials");
        assert_eq!(answer.json["detail"], "wrong password");
    }
    let none = ada.delete("/api/v1/users/me").await;
    none.assert_problem(415, "unsupported_media_type");
    let none = ada.delete("/api/v1/users/me").json(&json!({})).await;
    none.assert_invalid(&[("password", "required")]);
    ada.me().await.expect(200);
    ada.delete_account(PASSWORD).await.expect(204);
}

#[actix_web::test]
async fn a_second_deletion_is_by_nobody() {
    let world = World::new().await;
    let ada = world.register(ADA).await;
    ada.delete_account(PASSWORD).await.expect(204);
    let again = ada.delete_account(PASSWORD).await;
    again.assert_problem(401, "token_invalid");
}

/// The account may end elsewhere while a call is under way.
#[actix_web::test]
async fn whoever_is_remembered_but_gone_makes_nothing() {
    let scene = Scene::new().await;
    let (world, ada) = (&scene.world, &scene.ada);
    // Remembered.
    ada.me().await.expect(200);
    let task = format!("/api/v1/tasks/{}", scene.task);
    let store = &world.store.store;
    store.erase(ada.domain_id());
    for (path, body) in [
        ("/api/v1/tasks", json!({ "title": "Too late" })),
        ("/api/v1/categories", json!({ "name": "Too late" })),
    ] {
        let answer = ada.post(path, &body).await;
        answer.assert_problem(401, "token_invalid");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("invalid_token"), "{challenge}");
    }
    let body = json!({ "version": 1, "title": "Too late" });
    let answer = ada.patch(&task, &body).await;
    answer.assert_problem(404, "not_found");
    let list = store.categories().list(ada.domain_id()).await;
    assert_eq!(list.unwrap(), []);
}
