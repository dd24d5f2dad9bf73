//! Which crate may know which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Every crate of the workspace, and those of the workspace that it may know.
///
/// The adapters never see one another; only the binary sees all. Test code is not restricted.
const ARROWS: [(&str, &[&str]); 13] = [
    // Looks at the binary from outside, and past it at the stores.
    ("bench", &["tasks-testkit"]),
    // What both stores say of Diesel's statements to a trace: a technology's, so no adapter's and not the
    // domain's.
    ("tasks-diesel-trace", &[]),
    ("tasks-domain", &[]),
    ("tasks-http", &["tasks-domain"]),
    ("tasks-memory", &["tasks-domain"]),
    ("tasks-postgres", &["tasks-diesel-trace", "tasks-domain"]),
    ("tasks-redis", &["tasks-domain"]),
    ("tasks-security", &["tasks-domain"]),
    ("tasks-smtp", &["tasks-domain"]),
    ("tasks-sqlite", &["tasks-diesel-trace", "tasks-domain"]),
    ("tasks-testkit", &["tasks-domain"]),
    (
        "task-api",
        &[
            "tasks-domain",
            "tasks-http",
            "tasks-memory",
            "tasks-postgres",
            "tasks-redis",
            "tasks-security",
            "tasks-smtp",
            "tasks-sqlite",
        ],
    ),
    ("system-tests", &[]),
];

/// All that the domain may know: no runtime, no I/O, no serde, no driver.
const KNOWN_TO_THE_DOMAIN: [&str; 7] = [
    "async-trait",
    "mockall",
    "secrecy",
    "thiserror",
    "time",
    // Spans: says what happens, to nobody in particular.
    "tracing",
    "uuid",
];

/// What belongs to one side of the hexagon: beginnings of crates' names, and who may know them.
const GUARDED: [(&[&str], &[&str]); 18] = [
    (
        &["diesel"],
        &["tasks-diesel-trace", "tasks-postgres", "tasks-sqlite"],
    ),
    (
        &["diesel-async", "tokio-postgres-rustls"],
        &["tasks-postgres"],
    ),
    // The servers for tests are asked with it too.
    (&["tokio-postgres"], &["tasks-postgres", "tasks-testkit"]),
    // The benchmark compares the adapter with SQLite itself.
    (&["libsqlite3-sys", "sqlx"], &["tasks-sqlite"]),
    (&["rusqlite"], &["bench"]),
    (&["actix-", "utoipa", "garde"], &["tasks-http", "task-api"]),
    (&["redis", "deadpool-redis"], &["tasks-redis"]),
    (&["deadpool"], &["tasks-postgres", "tasks-redis"]),
    (&["lettre", "askama"], &["tasks-smtp"]),
    (&["moka"], &["tasks-memory", "tasks-security"]),
    (&["jsonwebtoken", "hmac"], &["tasks-security"]),
    (&["bcrypt"], &["bench", "tasks-security"]),
    (&["clap"], &["bench", "task-api"]),
    (&["dotenvy"], &["task-api"]),
    // Tests look at what is traced.
    (&["tracing-subscriber"], &["task-api", "tasks-testkit"]),
    // Instruments are made where something is counted, and a trace is taken up where it comes in; what keeps
    // and tells all that is the binary's. A collector for tests reads it.
    (
        &["opentelemetry"],
        &["tasks-http", "task-api", "tasks-testkit"],
    ),
    (&["tracing-opentelemetry"], &["tasks-http", "task-api"]),
    (
        &[
            "opentelemetry-otlp",
            "opentelemetry_sdk",
            "opentelemetry-prometheus",
            "prometheus",
        ],
        &["task-api"],
    ),
];

fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap()
}

/// What a crate is built with. Build scripts count: what they know gets into the crate too.
fn known_to(package: &Package) -> BTreeSet<&str> {
    let dependencies = package.dependencies.iter();
    dependencies
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
        .collect()
}

#[test]
fn a_crate_knows_only_those_it_may() {
    let workspace = workspace();
    let members: BTreeMap<&str, &Package> = workspace
        .packages
        .iter()
        .map(|package| (package.name.as_str(), package))
        .collect();
    let arrows = BTreeMap::from(ARROWS);
    assert!(
        members.keys().eq(arrows.keys()),
        "every crate has its row in the table: {:?}",
        members.keys()
    );
    for (name, package) in &members {
        for known in known_to(package) {
            assert!(
                !members.contains_key(known) || arrows[name].contains(&known),
                "{name} must not know {known}"
            );
        }
    }
}

#[test]
fn the_domain_is_pure() {
    let workspace = workspace();
    let mut packages = workspace.packages.iter();
    let domain = packages.find(|package| package.name == "tasks-domain");
    let known = known_to(domain.unwrap());
    let allowed = BTreeSet::from(KNOWN_TO_THE_DOMAIN);
    assert!(
        known.is_subset(&allowed),
        "{:?}",
        known.difference(&allowed)
    );
}

#[test]
fn every_technology_has_its_side() {
    for package in &workspace().packages {
        for known in known_to(package) {
            for (guarded, may_know) in GUARDED {
                assert!(
                    !guarded.iter().any(|start| known.starts_with(start))
                        || may_know.contains(&package.name.as_str()),
                    "{} must not know {known}",
                    package.name
                );
            }
        }
    }
}

#[test]
fn every_crate_takes_lints_and_versions_from_the_workspace() {
    for package in &workspace().packages {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        let mut section = "";
        let mut inherits_lints = false;
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']);
                // `[dependencies.serde]` would hide its version from this test.
                assert!(
                    !section.contains("dependencies."),
                    "{}: {line}",
                    package.name
                );
            } else if section == "lints" {
                inherits_lints |= line == "workspace = true";
            } else if section.ends_with("dependencies")
                && !line.is_empty()
                && !line.starts_with('#')
            {
                assert!(
                    line.contains("workspace = true") && !line.contains("version"),
                    "{} declares a dependency of its own: {line}",
                    package.name
                );
            }
        }
        assert!(
            inherits_lints,
            "{} has no `lints.workspace = true`",
            package.name
        );
    }
}

/// As the README has it.
#[test]
fn cargo_run_starts_the_service() {
    let workspace = workspace();
    let packages = workspace.workspace_default_packages();
    let targets = packages.iter().flat_map(|package| &package.targets);
    let binaries: Vec<_> = targets
        .filter(|target| target.is_bin())
        .map(|target| target.name.as_str())
        .collect();
    assert_eq!(binaries, ["task-api"]);
}

#[test]
fn whoever_names_no_package_gets_all_but_the_benchmark() {
    let workspace = workspace();
    let all: BTreeSet<_> = workspace.workspace_members.iter().collect();
    let default: BTreeSet<_> = workspace.workspace_default_members.iter().collect();
    let left_out: Vec<_> = all
        .difference(&default)
        .map(|id| workspace[id].name.as_str())
        .collect();
    assert_eq!(left_out, ["bench"]);
}
