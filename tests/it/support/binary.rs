//! Where the binary is.

use std::env;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use cargo_metadata::Message;

/// Names a binary that is built already, by a path from the root of the workspace.
const BINARY_VARIABLE: &str = "TASK_API_BIN";

/// The binary: the one that is named, or the one that cargo builds, once for each test process.
/// Processes that build at the same time wait for each other at cargo's own lock.
pub(super) fn binary() -> &'static Path {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        env::var_os(BINARY_VARIABLE).map_or_else(build, |path| root.join(path))
    });
    &BINARY
}

/// Builds with the profile and into the folder that the tests themselves were built with.
fn build() -> PathBuf {
    let executable = env::current_exe().unwrap();
    // target/debug/deps/it-0123456789abcdef
    let profile_folder = executable.parent().unwrap().parent().unwrap();
    let profile = match profile_folder.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        name => name,
    };
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--package", "task-api", "--profile", profile])
        .arg("--message-format=json-render-diagnostics")
        .arg("--target-dir")
        .arg(profile_folder.parent().unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "task-api cannot be built");
    let built = Message::parse_stream(BufReader::new(&*output.stdout)).find_map(|message| {
        if let Message::CompilerArtifact(artifact) = message.unwrap() {
            artifact.executable.map(PathBuf::from)
        } else {
            None
        }
    });
    built.expect("cargo names the binary it built")
}
