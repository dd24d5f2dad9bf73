//! Contract §6: the one line that a request leaves in the log.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use actix_web::http::Method;
use opentelemetry::global;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use serde_json::{Value, json};
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

use crate::support::{
    DRIVER_MESSAGE, Fault, MAIL_TOKEN, NEW_PASSWORD, PASSWORD, Scene, WRONG, World,
};

/// Another subscriber, which nobody uses. As long as there is only one in the process, a thread
/// without it can make tracing believe that nobody wants a line.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE);
    Dispatch::new(subscriber.with_writer(io::sink).finish())
});

/// What is logged on this thread, as long as it lives.
struct Log {
    text: Sink,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn new() -> Self {
        LazyLock::force(&ANOTHER);
        let text = Sink::default();
        let sink = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || sink.clone())
            .finish();
        Self {
            text,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.text.0.lock().unwrap().clone()).unwrap()
    }

    /// The service's own lines since the last time.
    fn take(&self) -> Vec<Value> {
        let text = self.text();
        self.text.0.lock().unwrap().clear();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line["target"].as_str().unwrap().starts_with("tasks_http"))
            .collect()
    }
}

#[actix_web::test]
async fn every_request_leaves_one_line_whatever_its_fate() {
    let scene = Scene::new().await;
    let task = format!("/api/v1/tasks/{}", scene.task);
    let log = Log::new();
    for (method, path, call, route, status, caller) in [
        (
            "GET",
            "/api/v1/tasks",
            scene.ada.get("/api/v1/tasks?status=pending"),
            "/api/v1/tasks",
            200,
            Some(&scene.ada),
        ),
        (
            "GET",
            &task,
            scene.ada.get(&task),
            "/api/v1/tasks/{id}",
            200,
            Some(&scene.ada),
        ),
        (
            "GET",
            &task,
            scene.bob.get(&task),
            "/api/v1/tasks/{id}",
            403,
            Some(&scene.bob),
        ),
        (
            "GET",
            &task,
            scene.world.get(&task),
            "/api/v1/tasks/{id}",
            401,
            None,
        ),
        (
            "HEAD",
            "/health/live",
            scene.world.call(Method::HEAD, "/health/live"),
            "/health/live",
            200,
            None,
        ),
        (
            "PUT",
            "/docs",
            scene.world.call(Method::PUT, "/docs"),
            "/docs",
            405,
            None,
        ),
        (
            "GET",
            "/x/y",
            scene.world.get("/x/y?token=secret"),
            "unmatched",
            404,
            None,
        ),
    ] {
        let answer = call.header("x-request-id", "my-id").await;
        assert_eq!(answer.status, status);
        let lines = log.take();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        let fields = &line["fields"];
        assert_eq!(line["level"], "INFO");
        assert_eq!(fields["message"], "request completed");
        assert_eq!(fields["method"], method);
        assert_eq!(fields["path"], path);
        assert_eq!(fields["route"], route);
        assert_eq!(fields["status"], status);
        assert!(fields["duration_ms"].as_f64().unwrap() >= 0.0);
        let expected = caller.map_or(Value::Null, |user| user.id.clone().into());
        assert_eq!(fields["user_id"], expected, "{path}");
        assert_eq!(line["span"]["request_id"], "my-id");
    }
}

/// Also where traces are not sent, as here.
#[actix_web::test]
async fn every_line_has_its_place_in_a_trace() {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let world = World::new().await;
    let log = Log::new();
    let ids = |name: &str| {
        let lines = log.take();
        let ids: HashSet<_> = lines
            .iter()
            .map(|line| line["span"][name].clone())
            .collect();
        assert_eq!(ids.len(), 1, "{lines:?}");
        ids.into_iter().next().unwrap().as_str().unwrap().to_owned()
    };
    let is_hex = |id: &str| id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-00");
    world.get("/x").header("traceparent", parent).await;
    assert_eq!(ids("trace_id"), trace);

    let mut seen = HashSet::new();
    for bad in ["", "nonsense"] {
        for (name, digits) in [("trace_id", 32), ("span_id", 16)] {
            world.get("/x").header("traceparent", bad).await;
            let id = ids(name);
            assert!(id.len() == digits && is_hex(&id), "{id}");
            assert!(!id.trim_start_matches('0').is_empty(), "{id}");
            let is_new = seen.insert(id);
            // Of the ids that tests make, the second half is always the same.
            assert!(is_new || name == "span_id", "another each time");
        }
    }
}

#[actix_web::test]
async fn what_went_wrong_is_told_once_beside_the_line() {
    let scene = Scene::new().await;
    let log = Log::new();
    for (fault, level, status) in [
        (Fault::Corrupt, "ERROR", 500),
        (Fault::Other, "ERROR", 500),
        (Fault::Panic, "ERROR", 500),
        (Fault::Unavailable, "WARN", 503),
    ] {
        scene.world.store.fail(fault);
        let answer = scene.ada.get("/api/v1/tasks").await;
        assert_eq!(answer.status, status);
        let lines = log.take();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(lines[0]["level"], level);
        assert!(
            lines[0]["fields"]["error"]
                .as_str()
                .unwrap()
                .contains(DRIVER_MESSAGE)
        );
        assert_eq!(lines[0]["span"], lines[1]["span"]);
        assert_eq!(lines[1]["fields"]["message"], "request completed");
        assert_eq!(lines[1]["fields"]["status"], status);
    }
}

#[actix_web::test]
async fn no_line_holds_a_secret() {
    let log = Log::new();
    let world = World::new().await;
    let ada = world.register("ada@example.com").await;
    world.log_in("ada@example.com", WRONG).await;
    world.log_in("ada@example.com", PASSWORD).await.expect(200);
    ada.get("/api/v1/users/me").await.expect(200);
    ada.get(&format!("/api/v1/tasks?access_token={}", ada.access_token))
        .await
        .expect(200);
    world.get("/api/v1/tasks").bearer("Forged-Token").await;
    for fault in [
        None,
        Some(Fault::Corrupt),
        Some(Fault::Panic),
        Some(Fault::Unavailable),
    ] {
        world.store.fail(fault);
        world.refresh(&ada.refresh_token).await;
        world.log_in("ada@example.com", PASSWORD).await;
        world.log_out(&ada.refresh_token).await;
        let body = json!({ "email": "b@example.com", "password": PASSWORD, "full_name": "Bob" });
        world.post("/api/v1/auth/register", &body).await;
        world.resend_verification("ada@example.com").await;
        world.forgot_password("ada@example.com").await;
        let made_up = format!("{MAIL_TOKEN}x");
        world.verify_email(&made_up).await;
        world.reset_password(&made_up, NEW_PASSWORD).await;
        ada.change_password(WRONG, NEW_PASSWORD).await;
        ada.delete_account(WRONG).await;
    }
    world.store.fail(None);
    let scene = Scene::new().await;
    for operation in scene.operations() {
        operation.by(&scene.ada).await;
    }
    for page in ["/verify-email", "/reset-password"] {
        let uri = format!("{page}?token={MAIL_TOKEN}x");
        assert_eq!(scene.world.get(&uri).await.status, 200);
    }
    let text = log.text();
    assert!(text.contains("request completed"));
    for secret in [
        PASSWORD,
        NEW_PASSWORD,
        WRONG,
        MAIL_TOKEN,
        "Forged-Token",
        "hash:",
        &ada.access_token,
        &ada.refresh_token,
    ] {
        assert!(!text.contains(secret), "{secret} in the log");
    }
}
