//! The OpenAPI document, generated from the routes.

use std::collections::BTreeMap;

use actix_web::App;
use tasks_domain::account::{Locked, PasswordError};
use tasks_domain::clock::Timestamp;
use tasks_domain::task::Version;
use utoipa::OpenApi;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{Object, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, PathItem, Ref, RefOr, Response, ResponseBuilder, Responses,
};
use utoipa_actix_web::AppExt;

use crate::input::invalid;
use crate::problem::{Code, FieldError, MEDIA_TYPE, Problem};
use crate::routes::{self, API_PREFIX};

/// The name of the security scheme: an access token.
const BEARER: &str = "bearer";

/// 2030-01-31T12:15:00Z, in examples.
const EXAMPLE_TIME: Timestamp = match Timestamp::from_unix_micros(1_896_092_100_000_000) {
    Some(at) => at,
    None => Timestamp::MAX,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Task API",
        description = include_str!("openapi.md"),
        contact(name = "The Task API developers", url = "https://example.com/task-api"),
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "auth", description = "Coming in, staying and leaving"),
        (name = "users", description = "The signed-in user"),
        (name = "tasks", description = "What a user has to do. Under `REQUIRE_VERIFIED_EMAIL=true` \
            a user without a verified address gets 403 `email_not_verified` from every call."),
        (name = "categories", description = "Names under which a user files tasks. Under \
            `REQUIRE_VERIFIED_EMAIL=true` a user without a verified address gets 403 \
            `email_not_verified` from every call."),
        (name = "health", description = "Whether the service is well"),
    ),
    components(schemas(ProblemSchema, FieldError)),
)]
struct Document;

/// The document as it is published.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    let (_, mut document) = App::new()
        .into_utoipa_app()
        .openapi(Document::openapi())
        .configure(routes::api)
        .split_for_parts();
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(
        BEARER,
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .bearer_format("JWT")
                .description(Some("The `access_token` of register, login or refresh."))
                .build(),
        ),
    );
    components.headers.extend(headers());
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            complete(path, operation);
            let fields = invalid_fields(operation, &components.schemas);
            show_refusals(path, operation, &fields);
        }
    }
    document
}

/// The document as text, the way it is committed and served.
pub fn openapi_json() -> String {
    let mut text = document().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ]
    .into_iter()
    .filter_map(Option::as_mut)
}

/// Adds what is true of every operation of a kind, so that no handler has to repeat it.
fn complete(path: &str, operation: &mut Operation) {
    let mut codes = Vec::new();
    if operation.request_body.is_some() {
        codes.extend([
            Code::ValidationFailed,
            Code::MalformedJson,
            Code::PayloadTooLarge,
            Code::UnsupportedMediaType,
        ]);
    }
    if operation
        .parameters
        .as_ref()
        .is_some_and(|parameters| !parameters.is_empty())
    {
        codes.push(Code::ValidationFailed);
    }
    if operation.security.is_some() {
        codes.extend([Code::TokenMissing, Code::TokenInvalid, Code::TokenExpired]);
    }
    let is_limited = path.starts_with(API_PREFIX);
    if is_limited {
        codes.extend([Code::RateLimited, Code::InternalError, Code::Unavailable]);
    }
    for code in codes {
        add_refusal(&mut operation.responses, code);
    }
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            add_header(response, "X-Request-ID");
            if is_limited {
                add_header(response, "RateLimit-Policy");
                add_header(response, "RateLimit");
            }
        }
    }
}

/// The headers that answers carry, each with what it holds. Answers refer to them by name.
const HEADERS: [(&str, Type, &str); 5] = [
    (
        "X-Request-ID",
        Type::String,
        "The caller's own id of the request (1 to 128 characters out of `A-Z a-z 0-9 . _ -`), or \
         the one that it was given.",
    ),
    (
        "RateLimit-Policy",
        Type::String,
        "How many requests pass (`q`) in how many seconds (`w`), e.g. `\"user\";q=100;w=60`.",
    ),
    (
        "RateLimit",
        Type::String,
        "How many more pass (`r`), and in how many seconds one more than that (`t`), e.g. \
         `\"user\";r=99;t=60`.",
    ),
    (
        "Retry-After",
        Type::Integer,
        "How many seconds to wait, at least.",
    ),
    (
        "WWW-Authenticate",
        Type::String,
        "`Bearer`, with what RFC 6750 says of the token.",
    ),
];

fn headers() -> impl Iterator<Item = (String, RefOr<Header>)> {
    HEADERS.into_iter().map(|(name, of, description)| {
        let header = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(of)))
            .description(Some(description))
            .build();
        (name.to_owned(), header.into())
    })
}

fn add_header(response: &mut Response, name: &str) {
    let reference = Ref::new(format!("#/components/headers/{name}"));
    response
        .headers
        .insert(name.to_owned(), RefOr::Ref(reference));
}

/// Adds a refusal to an operation's answers, beside others of the same status.
fn add_refusal(responses: &mut Responses, code: Code) {
    let status = code.status().as_u16().to_string();
    let response = responses
        .responses
        .entry(status)
        .or_insert_with(|| RefOr::T(ResponseBuilder::new().build()));
    let RefOr::T(response) = response else { return };
    if response.description.is_empty() {
        code.title().clone_into(&mut response.description);
    } else if !response.description.contains(code.title()) {
        response.description = format!("{}; {}", response.description, code.title());
    }
    let content = response
        .content
        .entry(MEDIA_TYPE.to_owned())
        .or_insert_with(|| {
            ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build()
                .into()
        });
    let RefOr::T(content) = content else { return };
    // Its value follows, once it is known of which operation.
    let example = ExampleBuilder::new().summary(code.title()).build();
    content
        .examples
        .insert(code.as_str().to_owned(), example.into());
    if matches!(
        code,
        Code::RateLimited | Code::Unavailable | Code::AccountLocked
    ) {
        add_header(response, "Retry-After");
    }
    if code.challenge().is_some() {
        add_header(response, "WWW-Authenticate");
    }
}

/// What is wrong with an empty body, or with parameters that nobody means.
fn invalid_fields(
    operation: &Operation,
    schemas: &BTreeMap<String, RefOr<Schema>>,
) -> Vec<FieldError> {
    if let Some(RefOr::T(body)) = &operation.request_body
        && let Some(RefOr::T(content)) = body.content.values().next()
        && let Some(RefOr::Ref(reference)) = &content.schema
        && let Some((_, name)) = reference.ref_location.rsplit_once('/')
        && let Some(RefOr::T(Schema::Object(body))) = schemas.get(name)
    {
        let missing = body.required.iter().map(|name| (name, invalid::missing()));
        // A body that may be empty has no member that may be `null`.
        let null = body.properties.keys().map(|name| (name, invalid::null()));
        let mut wrong: Vec<_> = missing
            .chain(null)
            .take(body.required.len().max(1))
            .map(|(name, invalid)| FieldError::new(name.clone(), invalid))
            .collect();
        // As the service names them.
        wrong.sort_by(|one, other| one.field.cmp(&other.field));
        return wrong;
    }
    let parameters = operation.parameters.iter().flatten();
    let wrong = parameters.filter_map(|parameter| {
        let RefOr::T(parameter) = parameter else {
            return None;
        };
        let invalid = if parameter.parameter_in == ParameterIn::Path {
            invalid::not_a_uuid()
        } else {
            invalid::repeated()
        };
        Some(FieldError::new(parameter.name.clone(), invalid))
    });
    // As many as there are in a path; more would show nothing more.
    wrong.take(2).collect()
}

/// A path of a pattern, its ids those of the examples, or all the same.
fn instance(pattern: &str, id: Option<&'static str>) -> String {
    let mut collection = "";
    let parts = pattern.split('/').map(|part| {
        let named = std::mem::replace(&mut collection, part);
        if part.starts_with('{') {
            id.unwrap_or(match named {
                "tasks" => "0198c7a4-6c2e-7f91-a1b3-7e4d2c9f8a50",
                "categories" => "0198c7a3-0b1d-7e52-8c6f-5d2e9a4b1f30",
                _ => "0198c7a4-7d20-7b6a-8e31-6f1c0d9b2a54",
            })
        } else {
            part
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Shows every refusal of an operation as it looks there.
fn show_refusals(path: &str, operation: &mut Operation, fields: &[FieldError]) {
    let has_body = operation.request_body.is_some();
    let is_signed_in = operation.security.is_some();
    for response in operation.responses.responses.values_mut() {
        let RefOr::T(response) = response else {
            continue;
        };
        let Some(RefOr::T(content)) = response.content.get_mut(MEDIA_TYPE) else {
            continue;
        };
        for code in Code::ALL {
            let Some(RefOr::T(shown)) = content.examples.get_mut(code.as_str()) else {
                continue;
            };
            let is_bad_path = *code == Code::ValidationFailed && !has_body;
            let instance = instance(path, is_bad_path.then_some("42"));
            let problem = refusal(*code, is_signed_in, fields);
            let document = problem.document("0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10", &instance);
            shown.value = serde_json::to_value(document).ok();
        }
    }
}

/// A refusal as it may look.
fn refusal(code: Code, is_signed_in: bool, fields: &[FieldError]) -> Problem {
    if code == Code::ValidationFailed {
        Problem::validation(fields.to_vec())
    } else if code == Code::InvalidCredentials && is_signed_in {
        Problem::reauthentication(PasswordError::Wrong)
    } else if code == Code::AccountLocked {
        Problem::account_locked(Locked {
            until: EXAMPLE_TIME,
        })
    } else if code == Code::VersionConflict {
        Problem::version_conflict(Version::FIRST.next())
    } else {
        Problem::new(code)
    }
}

/// Declares the refusals that are an operation's own, for its `responses(…)`.
macro_rules! refusals {
    ($name:ident: $($code:ident),+) => {
        struct $name;
        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $crate::openapi::refusals_of(&[$($crate::problem::Code::$code),+])
            }
        }
    };
}
pub(crate) use refusals;

/// The answers for these refusals.
pub(crate) fn refusals_of(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut responses = Responses::new();
    for code in codes {
        add_refusal(&mut responses, *code);
    }
    responses.responses.into_iter().collect()
}

/// The schema of a problem's code.
fn codes() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(
            "The kind, for programs: stable over versions. A later version may know more; take one \
             that you do not know by its `status`.",
        ))
        .enum_values(Some(Code::ALL.iter().map(|code| code.as_str())))
        .examples([Code::ValidationFailed.as_str()])
        .build()
}

/// A refusal, per RFC 9457.
#[derive(utoipa::ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "/problems/validation-failed", "title": "Validation failed", "status": 400,
    "detail": "1 field is not valid", "code": "validation_failed",
    "instance": "/api/v1/tasks", "request_id": "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10",
    "errors": [
        { "field": "title", "code": "length", "message": "must be 3 to 200 characters" },
    ],
}))]
#[expect(dead_code, reason = "describes the JSON that another type writes")]
struct ProblemSchema {
    /// What kind of problem it is, as a relative reference.
    #[schema(format = "uri-reference", example = "/problems/validation-failed")]
    r#type: String,
    /// The kind, for people.
    #[schema(example = "Validation failed")]
    title: String,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599, example = 400)]
    status: u16,
    /// What is wrong this time, for people.
    #[schema(example = "1 field is not valid")]
    detail: String,
    #[schema(schema_with = codes)]
    code: String,
    /// The path of the request.
    #[schema(example = "/api/v1/tasks")]
    instance: String,
    /// The id of the request, as in `X-Request-ID`.
    #[schema(example = "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10")]
    request_id: String,
    /// Every field that breaks a rule; only where `code` is `validation_failed`.
    #[schema(nullable = false)]
    errors: Option<Vec<FieldError>>,
    /// When the lock ends; only where `code` is `account_locked`.
    #[schema(nullable = false, format = DateTime, example = "2030-01-31T12:15:00.000000Z")]
    locked_until: Option<String>,
    /// What the task is at; only where `code` is `version_conflict`.
    #[schema(nullable = false, minimum = 1, example = 4)]
    current_version: Option<i64>,
}
