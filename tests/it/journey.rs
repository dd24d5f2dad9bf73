//! The journey of requirement R103: from registration to an empty list.

use serde_json::{Value, json};

use crate::support::{NEW_PASSWORD, PASSWORD, Setup, Signal, WRONG_PASSWORD};

const PUBLIC_URL: &str = "https://tasks.example.com";

#[test]
fn from_registration_to_an_empty_list() {
    journey(Setup::new());
}

/// The journey, the same on every store.
pub(crate) fn journey(setup: Setup) {
    let service = setup.with("PUBLIC_URL", PUBLIC_URL).start();

    let (client, registered) = service.register("Ada@Example.com");
    let user = &registered["user"];
    assert_eq!(user["email"], "ada@example.com");
    assert_eq!(user["full_name"], "Ada Lovelace");
    assert_eq!(user["is_active"], false);
    assert_eq!(registered["token_type"], "bearer");
    assert_eq!(registered["expires_in"], 15 * 60);

    let logged_in = client.log_in("ada@example.com", PASSWORD);
    assert_eq!(logged_in.status, 200, "{logged_in:?}");
    assert_eq!(logged_in.body["user"], *user);
    let client = client.with_token(logged_in.body["access_token"].as_str().unwrap());
    assert_eq!(client.get("/api/v1/users/me").body, *user);

    let (task_path, task) = client.create_task("Write the report");
    assert_eq!(task["user_id"], user["id"]);
    assert_eq!(task["title"], "Write the report");
    assert_eq!(task["status"], "pending");
    assert_eq!(task["priority"], "medium");
    assert_eq!(task["version"], 1);
    assert_eq!(task["categories"], json!([]));

    let created = client.post("/api/v1/categories", &json!({ "name": "Work" }));
    assert_eq!(created.status, 201, "{created:?}");
    let category = created.body.clone();
    let category_path = created.header("location");
    assert_eq!(category["color"], "#6366F1");

    let assignment = format!(
        "{task_path}/categories/{}",
        category["id"].as_str().unwrap()
    );
    let assigned = client.send("POST", &assignment, None).unwrap();
    assert_eq!(assigned.status, 200, "{assigned:?}");
    assert_eq!(assigned.body["categories"], json!([category]));
    assert_eq!(assigned.body["version"], 1);

    let listed = client.get("/api/v1/tasks");
    assert_eq!(listed.status, 200);
    assert_eq!(
        listed.body,
        json!({ "items": [assigned.body], "total": 1, "page": 1, "limit": 20, "pages": 1 })
    );

    let change = json!({ "version": 1, "status": "completed", "priority": "high" });
    let updated = client.patch(&task_path, &change);
    assert_eq!(updated.status, 200, "{updated:?}");
    assert_eq!(updated.body["status"], "completed");
    assert_eq!(updated.body["priority"], "high");
    assert_eq!(updated.body["version"], 2);

    let read = client.get(&task_path);
    assert_eq!((read.status, read.body), (200, updated.body));

    let deleted = client.delete(&task_path);
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    assert!(client.get(&task_path).is_refusal(404, "not_found"));
    let listed = client.get("/api/v1/tasks");
    assert_eq!(
        listed.body,
        json!({ "items": [], "total": 0, "page": 1, "limit": 20, "pages": 0 })
    );

    let deleted = client.delete(category_path);
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    let listed = client.get("/api/v1/categories");
    assert_eq!(listed.body, json!({ "items": [], "total": 0 }));

    let output = service.stop(Signal::Terminate);
    the_log_tells_what_it_should(&output.log(), &[registered, logged_in.body]);
}

fn is_mail(line: &Value) -> bool {
    line.get("mail_kind").is_some()
}

/// That a log tells no password, no hash and none of these tokens, but for the links of mails.
pub(crate) fn tells_none_of(log: &[Value], tokens: &[&str]) {
    let passwords = [PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, "$2b$"];
    for line in log.iter().filter(|line| !is_mail(line)) {
        let text = line.to_string();
        let mut secrets = passwords.iter().chain(tokens);
        let told = secrets.find(|secret| text.contains(**secret));
        assert_eq!(told, None, "{text}");
    }
}

/// One mail with its link, a line for every request, and no secret anywhere else.
fn the_log_tells_what_it_should(log: &[Value], grants: &[Value]) {
    let mails: Vec<&Value> = log.iter().filter(|line| is_mail(line)).collect();
    assert_eq!(mails.len(), 1, "{mails:?}");
    assert_eq!(mails[0]["level"], "INFO");
    assert_eq!(mails[0]["mail_kind"], "verify_email");
    assert_eq!(mails[0]["mail_to"], "ada@example.com");
    let link = mails[0]["mail_url"].as_str().unwrap();
    assert!(link.starts_with(&format!("{PUBLIC_URL}/")), "{link}");
    let token = link.split_once("?token=").unwrap().1;
    // 32 bytes in unpadded base64.
    assert_eq!(token.len(), 43, "{link}");

    let tokens = grants
        .iter()
        .flat_map(|grant| [&grant["access_token"], &grant["refresh_token"]]);
    let tokens = tokens.map(|token| token.as_str().unwrap());
    tells_none_of(log, &tokens.chain([token]).collect::<Vec<_>>());

    let completed = |route: &str, method: &str| {
        let fits = |line: &&Value| {
            line["message"] == "request completed"
                && line["route"] == route
                && line["method"] == method
        };
        log.iter().filter(fits).count()
    };
    assert_eq!(completed("/api/v1/auth/register", "POST"), 1);
    assert_eq!(completed("/api/v1/tasks", "GET"), 2);
    assert_eq!(completed("/api/v1/tasks/{id}", "GET"), 2);
    for line in log
        .iter()
        .filter(|line| line["message"] == "request completed")
    {
        assert!(line["request_id"].is_string(), "{line}");
        assert!(line["duration_ms"].is_number(), "{line}");
    }
}
