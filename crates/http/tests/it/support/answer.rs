//! An answer, and what is true of every one.

use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use serde_json::Value;

use super::{DRIVER_MESSAGE, MAIL_TOKEN, NEW_PASSWORD, PASSWORD, document};

/// Every refusal of the contract.
pub(crate) const CODES: [(u16, &str); 22] = [
    (400, "validation_failed"),
    (400, "malformed_json"),
    (400, "invalid_token"),
    (401, "invalid_credentials"),
    (401, "token_missing"),
    (401, "token_invalid"),
    (401, "token_expired"),
    (401, "refresh_token_invalid"),
    (403, "account_locked"),
    (403, "forbidden"),
    (403, "email_not_verified"),
    (404, "not_found"),
    (405, "method_not_allowed"),
    (409, "email_taken"),
    (409, "category_name_taken"),
    (409, "category_already_assigned"),
    (409, "version_conflict"),
    (413, "payload_too_large"),
    (415, "unsupported_media_type"),
    (429, "rate_limited"),
    (500, "internal_error"),
    (503, "unavailable"),
];

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// The body; `null` where it is no JSON.
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn new(status: u16, headers: HeaderMap, body: &[u8]) -> Self {
        Self {
            status,
            headers,
            text: String::from_utf8_lossy(body).into_owned(),
            json: serde_json::from_slice(body).unwrap_or_default(),
        }
    }

    /// A header that stands there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.get_all(name);
        let value = lines.next()?.to_str().unwrap();
        assert!(lines.next().is_none(), "{name} stands twice: {self:?}");
        Some(value)
    }

    /// The body of an answer of that status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json
    }

    /// It is that refusal. That the document is complete, every test checks.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(
            (self.status, self.json["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
        self
    }

    /// It names exactly these fields, each with the rule that it breaks.
    #[track_caller]
    pub(crate) fn assert_invalid(&self, fields: &[(&str, &str)]) -> &Self {
        self.assert_problem(400, "validation_failed");
        let errors = self.json["errors"].as_array().unwrap().iter();
        let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
        let mut named: Vec<_> = errors
            .map(|error| (text(error, "field"), text(error, "code")))
            .collect();
        named.sort();
        let mut expected: Vec<_> = fields
            .iter()
            .map(|(field, code)| ((*field).to_owned(), (*code).to_owned()))
            .collect();
        expected.sort();
        assert_eq!(named, expected, "{}", self.text);
        self
    }

    /// What is true of every answer.
    #[track_caller]
    pub(crate) fn check(&self, method: &Method, path: &str) {
        let request_id = self.header("x-request-id").expect("X-Request-ID");
        assert!(is_request_id(request_id), "{request_id}");
        if path.starts_with("/api/") {
            assert_eq!(self.header("cache-control"), Some("no-store"), "{path}");
            self.check_secrets();
        }
        let is_health = path.starts_with("/health") && self.json.get("code").is_none();
        if self.status >= 400 && !is_health {
            self.check_problem(path, request_id);
        }
        if self.status == 204 {
            assert_eq!(self.text, "");
            assert_eq!(self.header("content-type"), None);
        }
        document::check(method, path, self);
    }

    fn check_secrets(&self) {
        for secret in [PASSWORD, NEW_PASSWORD, MAIL_TOKEN, "hash:", DRIVER_MESSAGE] {
            assert!(!self.text.contains(secret), "{secret} in {}", self.text);
        }
        if !self.json.is_null() {
            for_each_key(&self.json, &|key| {
                let is_secret = ["password", "hash", "digest"]
                    .iter()
                    .any(|word| key.contains(word));
                assert!(!is_secret, "{key} in {}", self.text);
            });
        }
    }

    fn check_problem(&self, path: &str, request_id: &str) {
        let problem = self.json.as_object().expect("a problem document");
        let text = |name: &str| {
            let value = problem.get(name).and_then(Value::as_str);
            value.unwrap_or_else(|| panic!("no {name}: {}", self.text))
        };
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let code = text("code");
        assert!(CODES.contains(&(self.status, code)), "{}", self.text);
        assert_eq!(
            text("type"),
            format!("/problems/{}", code.replace('_', "-"))
        );
        assert!(!text("title").is_empty());
        assert!(!text("detail").is_empty());
        assert_eq!(problem.get("status"), Some(&self.status.into()));
        assert_eq!(text("instance"), path);
        assert_eq!(text("request_id"), request_id);

        let only_with = |name: &str, is_there: bool, codes: &[&str]| {
            assert_eq!(is_there, codes.contains(&code), "{name}: {self:?}");
        };
        for (member, with) in [
            ("errors", "validation_failed"),
            ("locked_until", "account_locked"),
            ("current_version", "version_conflict"),
        ] {
            only_with(member, problem.contains_key(member), &[with]);
        }
        let waits = &["account_locked", "rate_limited", "unavailable"];
        let wait = self.header("retry-after");
        only_with("Retry-After", wait.is_some(), waits);
        if let Some(wait) = wait {
            assert!(wait.parse::<u64>().unwrap() >= 1);
        }
        only_with(
            "Allow",
            self.header("allow").is_some(),
            &["method_not_allowed"],
        );
        let challenge = self.header("www-authenticate");
        assert_eq!(challenge.is_some(), self.status == 401, "{self:?}");
        let said = challenge.unwrap_or_default();
        match code {
            "token_invalid" | "token_expired" => {
                assert!(said.starts_with("Bearer error=\"invalid_token\""), "{said}");
            }
            // RFC 6750: no error where there was no token.
            _ => assert!(["", "Bearer"].contains(&said), "{said}"),
        }
        if let Some(errors) = problem.get("errors") {
            let errors = errors.as_array().unwrap();
            assert!(!errors.is_empty());
            for error in errors {
                for member in ["field", "code", "message"] {
                    assert!(!error[member].as_str().unwrap().is_empty(), "{}", self.text);
                }
            }
        }
    }
}

pub(crate) fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len())
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

fn for_each_key(value: &Value, see: &impl Fn(&str)) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                see(key);
                for_each_key(member, see);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| for_each_key(item, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
