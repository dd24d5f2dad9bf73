//! An owner, somebody else, and every operation of the OpenAPI document on what the owner has.

use actix_web::http::Method;
use serde_json::{Value, json};
use tasks_domain::mail::MailKind;

use super::{Call, NEW_PASSWORD, PASSWORD, User, World, document};

/// Ada has a task, filed under one of her two categories, and asked for another password; Bob is
/// there too, and Dan, who has not verified his address.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) ada: User,
    pub(crate) bob: User,
    pub(crate) task: String,
    assigned: String,
    free: String,
    session: String,
    verification_token: String,
    reset_token: String,
}

/// An operation, with a request that succeeds for Ada.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: &'static str,
    pub(crate) method: Method,
    pub(crate) template: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    pub(crate) needs_token: bool,
}

impl Operation {
    /// Whether it is about tasks or categories.
    pub(crate) fn is_for_members(&self) -> bool {
        self.template.contains("/tasks") || self.template.contains("/categories")
    }

    /// Whether it is part of the API proper.
    pub(crate) fn is_api(&self) -> bool {
        self.template.starts_with("/api/")
    }

    /// As its request in `world`, without a token.
    pub(crate) fn anonymous(&self, world: &World) -> Call {
        let call = world.call(self.method.clone(), &self.path);
        match &self.body {
            Some(body) => call.json(body),
            None => call,
        }
    }

    /// As its request of a user's, with a token where it takes one.
    pub(crate) fn by(&self, user: &User) -> Call {
        let call = self.anonymous(&user.world);
        if self.needs_token {
            call.bearer(&user.access_token)
        } else {
            call
        }
    }
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::of(World::new().await).await
    }

    pub(crate) async fn of(world: World) -> Self {
        let ada = world.register("ada@example.com").await;
        let bob = world.register("bob@example.com").await;
        for user in [&ada, &bob] {
            world.store.store.activate(user.domain_id());
        }
        let id = |thing: &Value| thing["id"].as_str().unwrap().to_owned();
        let task = id(&ada.task(&json!({ "title": "Water the plants" })).await);
        let assigned = id(&ada.category("Home").await);
        let free = id(&ada.category("Work").await);
        let path = format!("/api/v1/tasks/{task}/categories/{assigned}");
        ada.call(Method::POST, &path).await.expect(200);
        world.register("dan@example.com").await;
        let verification_token = world
            .token_mailed(MailKind::VerifyEmail, "dan@example.com")
            .await;
        world.forgot_password("ada@example.com").await.expect(202);
        let reset_token = world
            .token_mailed(MailKind::ResetPassword, "ada@example.com")
            .await;
        Self {
            session: ada.session_path().await,
            world,
            ada,
            bob,
            task,
            assigned,
            free,
            verification_token,
            reset_token,
        }
    }

    /// Every operation of the document.
    pub(crate) fn operations(&self) -> Vec<Operation> {
        document::operations()
            .map(|(template, method, operation)| {
                let id = operation["operationId"].as_str().unwrap();
                Operation {
                    id,
                    method,
                    template,
                    path: self.path(template, id),
                    body: operation.get("requestBody").map(|_| self.body(id)),
                    needs_token: operation.get("security").is_some(),
                }
            })
            .collect()
    }

    pub(crate) fn operation(&self, id: &str) -> Operation {
        let mut all = self.operations().into_iter();
        all.find(|operation| operation.id == id).unwrap()
    }

    fn path(&self, template: &str, operation: &str) -> String {
        if template.contains("/sessions/") {
            return self.session.clone();
        }
        let category = if operation == "assign_category" {
            &self.free
        } else {
            &self.assigned
        };
        let id = if template.contains("/tasks/") {
            &self.task
        } else {
            category
        };
        template
            .replace("{id}", id)
            .replace("{category_id}", category)
    }

    fn body(&self, operation: &str) -> Value {
        match operation {
            "register" => json!({
                "email": "cy@example.com", "password": PASSWORD, "full_name": "Cy Twombly",
            }),
            "login" => json!({ "email": "ada@example.com", "password": PASSWORD }),
            "refresh" | "logout" => json!({ "refresh_token": self.ada.refresh_token }),
            "verify_email" => json!({ "token": self.verification_token }),
            "resend_verification" | "forgot_password" => json!({ "email": "ada@example.com" }),
            "reset_password" => json!({
                "token": self.reset_token, "new_password": NEW_PASSWORD,
            }),
            "change_password" => json!({
                "current_password": PASSWORD, "new_password": NEW_PASSWORD,
            }),
            "delete_me" => json!({ "password": PASSWORD }),
            "update_me" => json!({ "full_name": "Ada King" }),
            "create_task" => json!({ "title": "Buy milk" }),
            "update_task" => json!({ "version": 1, "title": "Water all plants" }),
            "create_category" => json!({ "name": "Garden" }),
            "update_category" => json!({ "name": "House" }),
            other => panic!("say here what a good body of `{other}` is"),
        }
    }
}
