//! The OpenAPI document, as what every answer is held against.

use std::sync::LazyLock;

use actix_web::http::Method;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::Answer;

pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(&tasks_http::openapi_json()).unwrap());

/// Every operation: its path, its method, itself.
pub(crate) fn operations() -> impl Iterator<Item = (&'static str, Method, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(move |(method, operation)| {
            let method = method.to_uppercase().parse().unwrap();
            (path.as_str(), method, operation)
        })
    })
}

/// What stands where a `$ref` points.
pub(crate) fn resolve(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => resolve(
            DOCUMENT
                .pointer(reference.trim_start_matches('#'))
                .unwrap_or_else(|| panic!("{reference} points nowhere")),
        ),
        None => value,
    }
}

/// A path is one of a template's.
pub(crate) fn matches(template: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = template.split('/').all(|part| {
        segments
            .next()
            .is_some_and(|it| part.starts_with('{') || part == it)
    });
    fits && segments.next().is_none()
}

/// An answer of a documented operation is one that the document tells.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, answer: &Answer) {
    let asked = if method == Method::HEAD {
        &Method::GET
    } else {
        method
    };
    let Some((_, _, operation)) = operations()
        .filter(|(template, known, _)| known == asked && matches(template, path))
        // `/users/me` before `/users/{id}`.
        .min_by_key(|(template, _, _)| template.matches('{').count())
    else {
        return;
    };
    let detail = answer.json["detail"].as_str().unwrap_or_default();
    if answer.status == 403 && detail.starts_with("CORS") {
        return;
    }
    let told = &operation["responses"][answer.status.to_string()];
    assert!(
        told.is_object(),
        "{method} {path} {} is not documented",
        answer.status
    );
    for name in [
        "retry-after",
        "www-authenticate",
        "location",
        "ratelimit",
        "ratelimit-policy",
    ] {
        let headers = told["headers"].as_object();
        let is_told =
            headers.is_some_and(|told| told.keys().any(|key| key.eq_ignore_ascii_case(name)));
        assert!(
            answer.header(name).is_none() || is_told,
            "{method} {path}: {name}"
        );
    }
    let Some(content) = told.get("content") else {
        assert_eq!(answer.text, "", "{method} {path}: a body is not documented");
        return;
    };
    let media_type = answer.header("content-type").unwrap();
    let schema = content
        .get(media_type)
        .unwrap_or_else(|| panic!("{method} {path}: {media_type} is not documented"));
    conforms(&schema["schema"], &answer.json, &format!("{method} {path}"));
    if let Some(code) = answer.json.get("code").and_then(Value::as_str) {
        assert!(
            content[media_type]["examples"].get(code).is_some(),
            "{method} {path} {code} has no example"
        );
    }
}

/// A value is what a schema says, as far as our schemas say anything.
#[track_caller]
pub(crate) fn conforms(schema: &'static Value, value: &Value, at: &str) {
    let schema = resolve(schema);
    let types: Vec<&str> = match schema["type"].as_array() {
        Some(several) => several.iter().filter_map(Value::as_str).collect(),
        None => vec![
            schema["type"]
                .as_str()
                .unwrap_or_else(|| panic!("{at}: {schema}")),
        ],
    };
    let of_type = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&of_type), "{at}: {value} is no {types:?}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(
            allowed.contains(value),
            "{at}: {value} is none of {allowed:?}"
        );
    }
    match value {
        Value::Object(members) => {
            for required in schema["required"].as_array().into_iter().flatten() {
                let name = required.as_str().unwrap();
                assert!(members.contains_key(name), "{at}: {name} is missing");
            }
            for (name, member) in members {
                let known = schema["properties"].get(name);
                let known = known.unwrap_or_else(|| panic!("{at}: {name} is not documented"));
                conforms(known, member, &format!("{at}.{name}"));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                conforms(&schema["items"], item, &format!("{at}[{index}]"));
            }
        }
        Value::String(text) => {
            let length = text.chars().count() as u64;
            assert!(
                schema["minLength"].as_u64().is_none_or(|min| min <= length),
                "{at}: {text}"
            );
            assert!(
                schema["maxLength"].as_u64().is_none_or(|max| length <= max),
                "{at}: {text}"
            );
            match schema["format"].as_str() {
                Some("uuid") => assert!(Uuid::try_parse(text).is_ok(), "{at}: {text}"),
                Some("date-time") => {
                    assert!(
                        OffsetDateTime::parse(text, &Rfc3339).is_ok(),
                        "{at}: {text}"
                    );
                }
                _ => {}
            }
        }
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            assert!(
                schema["minimum"].as_i64().is_none_or(|min| min <= number),
                "{at}: {number}"
            );
            assert!(
                schema["maximum"].as_i64().is_none_or(|max| number <= max),
                "{at}: {number}"
            );
        }
        Value::Null | Value::Bool(_) => {}
    }
}
