//! The README's first session does what it says.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Deserializer, Value};

use crate::support::Setup;

/// Where the README's service listens.
const README_URL: &str = "http://127.0.0.1:8000";
/// What separates the output of one block from that of the next.
const SEPARATOR: char = '\u{1e}';

/// A block of the session: what is typed, and what is shown.
#[derive(Debug)]
struct Step {
    script: String,
    shown: Vec<Shown>,
}

/// What a block is said to print.
#[derive(Debug)]
enum Shown {
    Json(String),
    Text(String),
}

/// The steps between `<!-- session -->` and `<!-- /session -->`.
fn session() -> Vec<Step> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, session) = readme.split_once("<!-- session -->").unwrap();
    let (session, _) = session.split_once("<!-- /session -->").unwrap();
    let mut steps: Vec<Step> = Vec::new();
    // Every other part is the inside of a fence.
    for block in session.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        let text = text.to_owned();
        match language {
            "sh" => steps.push(Step {
                script: text,
                shown: Vec::new(),
            }),
            "json" => steps.last_mut().unwrap().shown.push(Shown::Json(text)),
            "text" => steps.last_mut().unwrap().shown.push(Shown::Text(text)),
            other => panic!("nobody knows what to do with a block of {other:?}"),
        }
    }
    steps
}

/// A value with all that differs from run to run made equal: ids, instants, tokens.
fn general(value: &Value) -> Value {
    match value {
        Value::String(text) => general_text(text).into(),
        Value::Array(items) => items.iter().map(general).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match name.as_str() {
                "created_at" | "updated_at" => (name.clone(), "<instant>".into()),
                _ => (name.clone(), general(value)),
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn general_text(text: &str) -> &str {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    let is_id = text.len() == 36 && parts.len() == 5 && parts.iter().all(|part| is_hex(part));
    if is_id {
        "<id>"
    } else if text.starts_with("eyJ") || (text.len() == 64 && is_hex(text)) {
        "<token>"
    } else {
        text
    }
}

fn documents(text: &str) -> Vec<Value> {
    Deserializer::from_str(text)
        .into_iter::<Value>()
        .map(|value| general(&value.expect(text)))
        .collect()
}

#[test]
fn the_first_session_runs_as_printed() {
    let steps = session();
    let service = Setup::new().start();
    let separate = format!("printf '{SEPARATOR}'\n");
    let script: String = steps
        .iter()
        .flat_map(|step| [step.script.as_str(), &separate])
        .collect();
    assert!(script.contains(README_URL), "it names the service");
    let script = script.replace(README_URL, &format!("http://{}", service.address()));

    let has_curl = Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    assert!(
        has_curl.is_ok(),
        "install curl: the README's session needs it"
    );
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "");

    let stdout = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<&str> = stdout.split_terminator(SEPARATOR).collect();
    assert_eq!(printed.len(), steps.len(), "{stdout}");
    assert!(steps.iter().any(|step| !step.shown.is_empty()));
    for (step, printed) in steps.iter().zip(printed) {
        match &step.shown[..] {
            [] => {}
            [Shown::Text(text)] => assert_eq!(printed.trim_end(), text.trim_end(), "{step:?}"),
            [Shown::Json(json)] => assert_eq!(documents(printed), documents(json), "{step:?}"),
            [..] => panic!("a block is followed by one that shows its output: {step:?}"),
        }
    }
}
