//! The OpenAPI document says what the service does, and says it whole.
//!
//! That every answer of every test is one that the document tells is checked in `support`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tasks_domain::account::{ClientInfo, Email, FullName, Password};
use tasks_domain::category::{CategoryName, Color};
use tasks_domain::page::PageRequest;
use tasks_domain::task::{Priority, SortBy, SortOrder, TaskDescription, TaskStatus, TaskTitle};

use crate::support::document::{DOCUMENT, conforms, matches, operations, resolve};
use crate::support::{CODES, Scene, World};

fn schemas() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let schemas = DOCUMENT["components"]["schemas"].as_object().unwrap();
    schemas.iter().map(|(name, schema)| (name.as_str(), schema))
}

fn properties(schema: &str) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let schema = &DOCUMENT["components"]["schemas"][schema];
    let properties = schema["properties"].as_object().unwrap();
    properties
        .iter()
        .map(|(name, property)| (name.as_str(), property))
}

fn property(schema: &str, name: &str) -> &'static Value {
    properties(schema)
        .find(|(known, _)| *known == name)
        .unwrap()
        .1
}

/// Every response of every operation, with a name for messages.
fn responses() -> impl Iterator<Item = (String, u16, &'static Value)> {
    operations().flat_map(|(path, method, operation)| {
        let responses = operation["responses"].as_object().unwrap().iter();
        responses.map(move |(status, response)| {
            (
                format!("{method} {path} {status}"),
                status.parse().unwrap(),
                resolve(response),
            )
        })
    })
}

#[track_caller]
fn assert_told(value: &Value, at: &str) {
    assert!(
        !value.as_str().unwrap_or_default().trim().is_empty(),
        "{at}"
    );
}

/// The examples of a schema or a media type object.
fn examples(of: &'static Value) -> Vec<&'static Value> {
    let one = of.get("example");
    let named = of["examples"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, it)| &resolve(it)["value"]);
    let listed = of["examples"].as_array().into_iter().flatten();
    one.into_iter().chain(named).chain(listed).collect()
}

#[actix_web::test]
async fn the_service_serves_its_document_as_it_is_printed() {
    let answer = World::new().await.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.text, tasks_http::openapi_json());
    assert!(answer.text.ends_with("}\n"));
}

#[test]
fn it_is_openapi_3_1_of_this_version() {
    assert!(DOCUMENT["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(DOCUMENT["info"]["version"], env!("CARGO_PKG_VERSION"));
    for member in ["title", "description"] {
        assert_told(&DOCUMENT["info"][member], member);
    }
    assert_eq!(
        DOCUMENT["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
}

#[test]
fn every_operation_has_its_words_and_a_name_of_its_own() {
    let tags: BTreeSet<_> = DOCUMENT["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["name"])
        .map(Value::as_str)
        .collect();
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        for member in ["summary", "description", "operationId"] {
            assert_told(&operation[member], &format!("{method} {path}: {member}"));
        }
        assert!(
            ids.insert(operation["operationId"].as_str()),
            "{method} {path}"
        );
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1);
        assert!(
            tags.contains(&operation["tags"][0].as_str()),
            "{method} {path}"
        );
    }
}

#[test]
fn every_parameter_is_described_and_typed() {
    for (path, method, operation) in operations() {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let mut in_path = Vec::new();
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap();
            let at = format!("{method} {path}: {name}");
            assert_told(&parameter["description"], &at);
            assert!(parameter["schema"]["type"].is_string(), "{at}");
            if parameter["in"] == "path" {
                assert_eq!(parameter["required"], true, "{at}");
                assert_eq!(parameter["schema"]["format"], "uuid", "{at}");
                in_path.push(name);
            }
        }
        let named = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        assert_eq!(in_path, named.collect::<Vec<_>>(), "{method} {path}");
    }
}

#[test]
fn every_schema_and_property_is_described() {
    // Of what is answered, these mean what they do where they are asked for.
    let known = [
        "id",
        "items",
        "email",
        "full_name",
        "title",
        "description",
        "name",
        "color",
    ];
    for (name, schema) in schemas() {
        assert_told(&schema["description"], name);
        let is_answered = ["Read", "Page", "List"]
            .iter()
            .any(|kind| name.ends_with(kind));
        for (property, schema) in properties(name) {
            if !(is_answered && known.contains(&property)) {
                let at = format!("{name}.{property}");
                assert_told(&resolve(schema)["description"], &at);
            }
        }
    }
}

#[test]
fn every_response_and_header_is_described() {
    for (at, _, response) in responses() {
        assert_told(&response["description"], &at);
        let headers = response["headers"].as_object().unwrap();
        for (name, header) in headers {
            let header = resolve(header);
            assert_told(&header["description"], &format!("{at}: {name}"));
            assert!(header["schema"]["type"].is_string(), "{at}: {name}");
        }
        assert!(headers.contains_key("X-Request-ID"), "{at}");
    }
}

#[test]
fn every_component_schema_has_examples_that_conform() {
    for (name, schema) in schemas() {
        let whole = examples(schema);
        for example in &whole {
            conforms(schema, example, name);
        }
        // Without one of its own, an example is put together of the properties'.
        if whole.is_empty() {
            for (property, schema) in properties(name) {
                let at = format!("{name}.{property}");
                assert_example(schema, &at);
            }
        }
    }
}

/// The schema has an example, or is made of others.
fn assert_example(schema: &'static Value, at: &str) {
    if schema.get("$ref").is_some() || schema["items"].get("$ref").is_some() {
        return;
    }
    let examples = examples(schema);
    assert!(
        !examples.is_empty() || schema["enum"].is_array(),
        "{at} has no example"
    );
    for example in examples {
        conforms(schema, example, at);
    }
}

#[test]
fn every_request_body_has_an_example_that_conforms() {
    for (path, method, operation) in operations() {
        let Some(body) = operation.get("requestBody") else {
            continue;
        };
        let at = format!("{method} {path}");
        assert_eq!(body["required"], true, "{at}");
        for (media_type, content) in body["content"].as_object().unwrap() {
            let schema = resolve(&content["schema"]);
            let all: Vec<_> = examples(content)
                .into_iter()
                .chain(examples(schema))
                .collect();
            assert!(!all.is_empty(), "{at} {media_type}");
            for example in all {
                conforms(schema, example, &at);
            }
        }
    }
}

#[test]
fn every_refusal_has_examples_that_match() {
    for (at, status, response) in responses() {
        if status < 300 {
            continue;
        }
        let content = response["content"].as_object().unwrap();
        assert_eq!(content.len(), 1, "{at}");
        let (media_type, content) = content.iter().next().unwrap();
        let all = examples(content);
        assert!(!all.is_empty(), "{at}");
        for example in &all {
            conforms(&content["schema"], example, &at);
        }
        if media_type == "application/json" {
            assert!(at.contains("/health") && status == 503, "{at}");
            continue;
        }
        assert_eq!(media_type, "application/problem+json", "{at}");
        for (name, example) in content["examples"].as_object().unwrap() {
            let example = resolve(example);
            let value = &example["value"];
            assert_told(&example["summary"], &format!("{at}: {name}"));
            assert_eq!(value["code"], name.as_str(), "{at}");
            assert_eq!(value["status"], status, "{at}");
            assert!(CODES.contains(&(status, name)), "{at}: {name}");
        }
    }
}

#[test]
fn the_codes_of_problems_are_listed() {
    let listed = property("Problem", "code")["enum"].as_array().unwrap();
    let listed: BTreeSet<_> = listed.iter().filter_map(Value::as_str).collect();
    assert_eq!(listed, CODES.map(|(_, code)| code).into());
}

/// Every example of a refusal, with the path and the operation that it is of.
fn refusals() -> impl Iterator<Item = (&'static str, &'static Value, &'static Value)> {
    operations().flat_map(|(path, _, operation)| {
        let responses = operation["responses"].as_object().unwrap().values();
        responses.flat_map(move |response| {
            let content = &resolve(response)["content"]["application/problem+json"];
            let examples = examples(content).into_iter();
            examples.map(move |example| (path, operation, example))
        })
    })
}

#[test]
fn every_example_of_a_refusal_is_of_its_own_operation() {
    for (path, operation, example) in refusals() {
        let id = operation["operationId"].as_str().unwrap();
        let instance = example["instance"].as_str().unwrap();
        assert!(matches(path, instance), "{id}: {instance}");
        assert!(!instance.contains('{'), "{id}: {instance}");
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let mut names: BTreeSet<_> = parameters.filter_map(|it| it["name"].as_str()).collect();
        let contents = operation["requestBody"]["content"].as_object();
        for content in contents.into_iter().flat_map(|it| it.values()) {
            let body = resolve(&content["schema"])["properties"].as_object();
            names.extend(body.unwrap().keys().map(String::as_str));
        }
        let errors = example["errors"].as_array().into_iter().flatten();
        let fields: Vec<_> = errors.filter_map(|it| it["field"].as_str()).collect();
        assert_eq!(fields.is_empty(), example["code"] != "validation_failed");
        for field in fields {
            assert!(names.contains(field), "{id}: {field} is none of {names:?}");
        }
    }
}

#[actix_web::test]
async fn what_is_not_valid_is_answered_as_in_the_example() {
    let scene = Scene::new().await;
    let mut seen = 0;
    for (_, operation, example) in refusals() {
        if example["code"] != "validation_failed" {
            continue;
        }
        // The errors tell what was sent, and the path what else was.
        let mut operation = scene.operation(operation["operationId"].as_str().unwrap());
        example["instance"]
            .as_str()
            .unwrap()
            .clone_into(&mut operation.path);
        operation.body = operation.body.map(|_| json!({}));
        let mut query = Vec::new();
        for error in example["errors"].as_array().unwrap() {
            let field = error["field"].as_str().unwrap();
            match error["code"].as_str().unwrap() {
                "required" | "format" => {}
                "null" => operation.body = Some(json!({ field: null })),
                "repeated" => query.extend([format!("{field}=1"), format!("{field}=1")]),
                other => panic!("say here what is {other}"),
            }
        }
        operation.path = format!("{}?{}", operation.path, query.join("&"));
        let mut answer = operation.by(&scene.ada).await.expect(400);
        answer["request_id"] = example["request_id"].clone();
        assert_eq!(&answer, example);
        seen += 1;
    }
    assert!(seen > 20);
}

#[test]
fn an_application_can_be_written_from_it_alone() {
    let info = DOCUMENT["info"]["description"].as_str().unwrap();
    let tag = |name: &str| {
        let mut tags = DOCUMENT["tags"].as_array().unwrap().iter();
        let tag = tags.find(|tag| tag["name"] == name).unwrap();
        tag["description"].as_str().unwrap()
    };
    let operation = |id: &str| {
        let (_, _, operation) = operations()
            .find(|(_, _, it)| it["operationId"] == id)
            .unwrap();
        operation["description"].as_str().unwrap()
    };
    let tells = |text: &str, words: &[&str]| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(text.contains(word), "{word} is not told: {text}");
        }
    };
    let links = [
        "`<PUBLIC_URL>/verify-email?token=…`",
        "`<PUBLIC_URL>/reset-password?token=…`",
    ];
    tells(info, &links);
    tells(info, &["front end", "page of its own"]);
    tells(operation("verify_email"), &links[..1]);
    tells(operation("reset_password"), &links[1..]);
    for text in [info, tag("tasks"), tag("categories")] {
        tells(
            text,
            &["`REQUIRE_VERIFIED_EMAIL=true`", "`email_not_verified`"],
        );
    }
    for text in [
        info,
        operation("login"),
        operation("change_password"),
        operation("delete_me"),
    ] {
        tells(
            text,
            &[
                "fifth",
                "15 minutes",
                "403 `account_locked`",
                "right password",
            ],
        );
    }
    for text in [info, operation("refresh")] {
        tells(text, &["good once", "10 s", "`refresh_token_invalid`"]);
    }
}

#[test]
fn every_code_appears_and_none_that_the_contract_does_not_know() {
    let told: BTreeSet<_> = responses()
        .filter(|(_, status, _)| *status >= 400)
        .flat_map(|(_, _, response)| {
            let content = &response["content"]["application/problem+json"];
            let examples = content["examples"].as_object().into_iter().flatten();
            examples.map(|(name, _)| name.as_str())
        })
        .collect();
    let known: BTreeSet<_> = CODES
        .into_iter()
        .map(|(_, code)| code)
        // No operation has a wrong method.
        .filter(|code| *code != "method_not_allowed")
        .collect();
    assert_eq!(told, known);
}

#[test]
fn what_every_operation_of_a_kind_refuses_is_told() {
    for (path, method, operation) in operations() {
        let tells = |status: &str, code: &str| {
            let response = &operation["responses"][status];
            let examples = &response["content"]["application/problem+json"]["examples"];
            assert!(
                examples.get(code).is_some(),
                "{method} {path} {status} {code}"
            );
        };
        if path.starts_with("/api/") {
            tells("429", "rate_limited");
            tells("500", "internal_error");
            tells("503", "unavailable");
        }
        if operation.get("security").is_some() {
            for code in ["token_missing", "token_invalid", "token_expired"] {
                tells("401", code);
            }
        }
        if operation.get("requestBody").is_some() {
            tells("400", "validation_failed");
            tells("400", "malformed_json");
            tells("413", "payload_too_large");
            tells("415", "unsupported_media_type");
        }
        if path.contains('{') {
            tells("400", "validation_failed");
            tells("403", "forbidden");
            tells("404", "not_found");
        }
    }
}

#[test]
fn what_an_operation_refuses_of_its_own_is_told() {
    for (id, refusals) in [
        ("register", &[("409", "email_taken")][..]),
        (
            "login",
            &[("401", "invalid_credentials"), ("403", "account_locked")],
        ),
        ("refresh", &[("401", "refresh_token_invalid")]),
        ("verify_email", &[("400", "invalid_token")]),
        ("reset_password", &[("400", "invalid_token")]),
        (
            "change_password",
            &[("401", "invalid_credentials"), ("403", "account_locked")],
        ),
        (
            "delete_me",
            &[("401", "invalid_credentials"), ("403", "account_locked")],
        ),
    ] {
        let (_, _, operation) = operations()
            .find(|(_, _, it)| it["operationId"] == id)
            .unwrap();
        for (status, code) in refusals {
            let response = &operation["responses"][status];
            let examples = &response["content"]["application/problem+json"]["examples"];
            assert!(examples.get(code).is_some(), "{id} {status} {code}");
            let waits = response["headers"].get("Retry-After").is_some();
            assert_eq!(waits, *code == "account_locked", "{id} {status}");
        }
    }
}

#[test]
fn every_example_of_a_success_conforms() {
    for (at, status, response) in responses() {
        for (_, content) in response["content"].as_object().into_iter().flatten() {
            if status < 300 {
                for example in examples(content) {
                    conforms(&content["schema"], example, &at);
                }
            }
        }
    }
}

#[test]
fn lengths_and_values_are_the_domains() {
    let lengths = |schema: &str, name: &str| {
        let property = property(schema, name);
        let number = |member: &str| {
            property[member]
                .as_u64()
                .map(|it| usize::try_from(it).unwrap())
        };
        (number("minLength"), number("maxLength"))
    };
    let both = |range: std::ops::RangeInclusive<usize>| (Some(*range.start()), Some(*range.end()));
    for schema in ["TaskCreate", "TaskUpdate"] {
        assert_eq!(lengths(schema, "title"), both(TaskTitle::LENGTH));
        assert_eq!(
            lengths(schema, "description"),
            both(TaskDescription::LENGTH)
        );
    }
    for schema in ["CategoryCreate", "CategoryUpdate"] {
        assert_eq!(lengths(schema, "name"), both(CategoryName::LENGTH));
        assert_eq!(property(schema, "color")["pattern"], Color::PATTERN);
    }
    assert_eq!(lengths("RegisterBody", "full_name"), both(FullName::LENGTH));
    assert_eq!(lengths("UserUpdate", "full_name"), both(FullName::LENGTH));
    assert_eq!(lengths("RegisterBody", "email").1, Some(Email::MAX_LENGTH));
    let password = (Some(Password::MIN_CHARACTERS), Some(Password::MAX_BYTES));
    assert_eq!(lengths("RegisterBody", "password"), password);
    for schema in ["ResetPasswordBody", "ChangePasswordBody"] {
        assert_eq!(lengths(schema, "new_password"), password);
    }
    assert_eq!(lengths("EmailBody", "email").1, Some(Email::MAX_LENGTH));
    let user_agent = lengths("SessionRead", "user_agent").1;
    assert_eq!(user_agent, Some(ClientInfo::MAX_USER_AGENT));

    let names = |value: &'static Value| -> Vec<&str> {
        let names = value["enum"].as_array().unwrap().iter();
        names.filter_map(Value::as_str).collect()
    };
    let priorities = Priority::ALL.map(Priority::as_str);
    let statuses = TaskStatus::ALL.map(TaskStatus::as_str);
    for schema in ["TaskRead", "TaskCreate", "TaskUpdate"] {
        assert_eq!(names(property(schema, "priority")), priorities);
    }
    for schema in ["TaskRead", "TaskUpdate"] {
        assert_eq!(names(property(schema, "status")), statuses);
    }
    let parameter = |name: &str| {
        let parameters = DOCUMENT["paths"]["/api/v1/tasks"]["get"]["parameters"]
            .as_array()
            .unwrap();
        let mut parameters = parameters.iter();
        &parameters
            .find(|parameter| parameter["name"] == name)
            .unwrap()["schema"]
    };
    assert_eq!(names(parameter("priority")), priorities);
    assert_eq!(names(parameter("status")), statuses);
    assert_eq!(names(parameter("sort_by")), SortBy::ALL.map(SortBy::as_str));
    assert_eq!(
        names(parameter("sort_order")),
        SortOrder::ALL.map(SortOrder::as_str)
    );
    assert_eq!(parameter("sort_by")["default"], SortBy::default().as_str());
    assert_eq!(
        parameter("sort_order")["default"],
        SortOrder::default().as_str()
    );
    assert_eq!(parameter("page")["minimum"], 1);
    assert_eq!(parameter("page")["default"], 1);
    assert_eq!(parameter("limit")["minimum"], *PageRequest::LIMIT.start());
    assert_eq!(parameter("limit")["maximum"], *PageRequest::LIMIT.end());
    assert_eq!(parameter("limit")["default"], PageRequest::DEFAULT_LIMIT);
}

#[test]
fn what_is_required_and_what_may_be_null_is_told() {
    let required = |schema: &str| -> BTreeSet<&str> {
        let schema = &DOCUMENT["components"]["schemas"][schema];
        let names = schema["required"].as_array().into_iter().flatten();
        names.map(|name| name.as_str().unwrap()).collect()
    };
    let nullable = |schema: &str| -> BTreeSet<&str> {
        let is_nullable = |schema: &Value| {
            let types = schema["type"].as_array().into_iter().flatten();
            types.into_iter().any(|it| it == "null")
        };
        properties(schema)
            .filter(|(_, it)| is_nullable(it))
            .map(|(name, _)| name)
            .collect()
    };
    let set = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    for (schema, must, may_be_null) in [
        (
            "RegisterBody",
            &["email", "password", "full_name"][..],
            &[][..],
        ),
        ("LoginBody", &["email", "password"], &[]),
        ("RefreshTokenBody", &["refresh_token"], &[]),
        ("VerifyEmailBody", &["token"], &[]),
        ("EmailBody", &["email"], &[]),
        ("ResetPasswordBody", &["token", "new_password"], &[]),
        (
            "ChangePasswordBody",
            &["current_password", "new_password"],
            &[],
        ),
        ("DeleteMeBody", &["password"], &[]),
        ("UserUpdate", &[], &[]),
        (
            "TaskCreate",
            &["title"],
            &["description", "due_date", "priority"],
        ),
        ("TaskUpdate", &["version"], &["description", "due_date"]),
        ("CategoryCreate", &["name"], &["color"]),
        ("CategoryUpdate", &[], &[]),
    ] {
        assert_eq!(required(schema), set(must), "{schema}");
        assert_eq!(nullable(schema), set(may_be_null), "{schema}");
    }
    // Of what is answered, everything is there.
    for schema in [
        "TokenResponse",
        "UserRead",
        "SessionRead",
        "SessionList",
        "TaskRead",
        "TaskPage",
        "CategoryRead",
        "CategoryList",
        "HealthRead",
        "FieldError",
    ] {
        let all: BTreeSet<_> = properties(schema).map(|(name, _)| name).collect();
        assert_eq!(required(schema), all, "{schema}");
    }
    assert_eq!(nullable("TaskRead"), set(&["description", "due_date"]));
    assert_eq!(nullable("SessionRead"), set(&["user_agent"]));
}
