//! Clients: one for everyday requests, and bare sockets for odd ones.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

use super::secrets::Secrets;

/// The contract promises an answer within 5 s; a test on a busy machine gives the service more.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Somebody who calls the service, with a token or without.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    address: String,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
    /// Those of the service, if it is one of ours.
    secrets: Option<Arc<Secrets>>,
}

/// What the service says.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Null where there is no body.
    pub(crate) body: Value,
}

impl Answer {
    /// A header's value, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default()
    }

    /// Whether it is a refusal with that status and code.
    pub(crate) fn is_refusal(&self, status: u16, code: &str) -> bool {
        self.status == status
            && self.body["status"] == status
            && self.body["code"] == code
            && self.header("content-type") == "application/problem+json"
    }

    /// Whether it is a 503 that says when to try again.
    pub(crate) fn is_unavailable(&self) -> bool {
        let retry_after = self.header("retry-after").parse::<u32>();
        self.is_refusal(503, "unavailable") && retry_after.is_ok_and(|seconds| seconds > 0)
    }
}

impl Client {
    pub(super) fn new(address: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(TIMEOUT));
        Self {
            agent: config.build().into(),
            address: address.to_owned(),
            token: None,
            headers: Vec::new(),
            secrets: Secrets::at(address),
        }
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The same, with a header on every request.
    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body)).unwrap()
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, Some(body)).unwrap()
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None).unwrap()
    }

    pub(crate) fn log_in(&self, email: &str, password: &str) -> Answer {
        self.auth("login", &json!({ "email": email, "password": password }))
    }

    /// A call of `/api/v1/auth`.
    pub(crate) fn auth(&self, call: &str, body: &Value) -> Answer {
        self.post(&format!("/api/v1/auth/{call}"), body)
    }

    /// Exchanges the refresh token of a grant.
    pub(crate) fn refresh(&self, grant: &Value) -> Answer {
        self.auth(
            "refresh",
            &json!({ "refresh_token": grant["refresh_token"] }),
        )
    }

    /// The user whose token it is.
    pub(crate) fn me(&self) -> Answer {
        self.get("/api/v1/users/me")
    }

    pub(crate) fn change_password(&self, current: &str, new: &str) -> Answer {
        let body = json!({ "current_password": current, "new_password": new });
        self.post("/api/v1/users/me/change-password", &body)
    }

    pub(crate) fn delete_account(&self, password: &str) -> Answer {
        let body = json!({ "password": password });
        self.send("DELETE", "/api/v1/users/me", Some(&body))
            .unwrap()
    }

    /// Creates a task; returns its path and what the service says of it.
    pub(crate) fn create_task(&self, title: &str) -> (String, Value) {
        let answer = self.post("/api/v1/tasks", &serde_json::json!({ "title": title }));
        assert_eq!(answer.status, 201, "{answer:?}");
        let path = format!("/api/v1/tasks/{}", answer.body["id"].as_str().unwrap());
        (path, answer.body)
    }

    /// The answer, or that there is none.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ureq::Error> {
        if let Some(secrets) = &self.secrets {
            secrets.keep_request(path, self.token.as_deref(), body);
        }
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body.to_string()).unwrap())?
            }
            None => self.agent.run(request.body(()).unwrap())?,
        };
        let text = response.body_mut().read_to_string()?;
        if let Some(secrets) = &self.secrets {
            let head = format!("{:?}", response.headers());
            secrets.look_at_answer(Some(path), &head, &text);
        }
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).expect(&text)
        };
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
        })
    }
}

/// An answer, as it comes over the wire.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A connection that is not waited for forever.
pub(crate) fn raw_connection(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream
}

/// Sends these bytes, and reads until the service closes the connection.
pub(crate) fn send_raw(address: &str, bytes: &[u8]) -> RawAnswer {
    if let Some(secrets) = Secrets::at(address) {
        secrets.keep_raw_request(bytes);
    }
    let mut stream = raw_connection(address);
    // The service may have answered before it got everything.
    stream.write_all(bytes).ok();
    read_answer(stream)
}

/// Reads until the service closes the connection. Interim answers (1xx) are left out.
pub(crate) fn read_answer(mut stream: TcpStream) -> RawAnswer {
    let address = stream.peer_addr();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // What came before the connection was reset is an answer too.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("no answer: {error}"),
    }
    let text = String::from_utf8(bytes).unwrap();
    let mut rest = text.as_str();
    loop {
        let (head, body) = rest.split_once("\r\n\r\n").expect("a whole head");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status: u16 = status.expect("a status");
        if status >= 200 {
            if let Some(secrets) = address.ok().and_then(|at| Secrets::at(&at.to_string())) {
                secrets.look_at_answer(None, head, body);
            }
            return RawAnswer {
                status,
                head: head.to_ascii_lowercase(),
                body: body.to_owned(),
            };
        }
        rest = body;
    }
}
