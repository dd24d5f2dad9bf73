//! Who may do what: every operation of the OpenAPI document without a token, by somebody else
//! and by the owner of what it is about.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Scene, document};

/// The expected statuses: no token, another user, the owner.
const MATRIX: [(&str, [u16; 3]); 30] = [
    ("register", [201, 201, 201]),
    ("login", [200, 200, 200]),
    ("refresh", [200, 200, 200]),
    ("logout", [204, 204, 204]),
    ("verify_email", [200, 200, 200]),
    ("resend_verification", [202, 202, 202]),
    ("forgot_password", [202, 202, 202]),
    ("reset_password", [204, 204, 204]),
    ("get_me", [401, 200, 200]),
    ("update_me", [401, 200, 200]),
    ("delete_me", [401, 204, 204]),
    ("change_password", [401, 204, 204]),
    ("list_sessions", [401, 200, 200]),
    ("end_session", [401, 403, 204]),
    ("end_all_sessions", [401, 204, 204]),
    ("create_task", [401, 201, 201]),
    ("list_tasks", [401, 200, 200]),
    ("get_task", [401, 403, 200]),
    ("update_task", [401, 403, 200]),
    ("delete_task", [401, 403, 204]),
    ("assign_category", [401, 403, 200]),
    ("unassign_category", [401, 403, 204]),
    ("create_category", [401, 201, 201]),
    ("list_categories", [401, 200, 200]),
    ("get_category", [401, 403, 200]),
    ("update_category", [401, 403, 200]),
    ("delete_category", [401, 403, 204]),
    ("health", [200, 200, 200]),
    ("live", [200, 200, 200]),
    ("ready", [200, 200, 200]),
];

#[actix_web::test]
async fn everybody_gets_what_the_matrix_says() {
    for (id, [anonymous, other, owner]) in MATRIX {
        // Each in a world of its own: what one changes does not meet the next.
        let scene = Scene::new().await;
        let answer = scene.operation(id).anonymous(&scene.world).await;
        assert_eq!(
            answer.status, anonymous,
            "{id} without a token: {}",
            answer.text
        );
        let scene = Scene::new().await;
        let answer = scene.operation(id).by(&scene.bob).await;
        assert_eq!(
            answer.status, other,
            "{id} by another user: {}",
            answer.text
        );
        let scene = Scene::new().await;
        let answer = scene.operation(id).by(&scene.ada).await;
        assert_eq!(answer.status, owner, "{id} by the owner: {}", answer.text);
    }
}

#[actix_web::test]
async fn a_refused_operation_has_changed_nothing() {
    let scene = Scene::new().await;
    let before = what_ada_has(&scene).await;
    for (id, [anonymous, other, _]) in MATRIX {
        if anonymous == 401 {
            scene.operation(id).anonymous(&scene.world).await;
        }
        if other == 403 {
            scene.operation(id).by(&scene.bob).await;
        }
    }
    assert_eq!(what_ada_has(&scene).await, before);
}

async fn what_ada_has(scene: &Scene) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/api/v1/users/me",
        "/api/v1/users/me/sessions",
        "/api/v1/tasks",
        "/api/v1/categories",
    ] {
        all.push(scene.ada.get(path).await.expect(200));
    }
    all
}

#[test]
fn the_matrix_has_a_row_for_every_operation() {
    let documented: BTreeSet<_> = document::operations()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    let rows: BTreeSet<_> = MATRIX.iter().map(|(id, _)| *id).collect();
    assert_eq!(rows, documented);
}
