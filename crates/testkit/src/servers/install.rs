//! Finds the servers' programs, and installs them where that is allowed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of a program: in `PATH`, or where Debian keeps PostgreSQL's.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // 15 is what production runs; another version is better than none.
    folders.push("/usr/lib/postgresql/15/bin".into());
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.into_iter().find_map(|folder| {
        // A link out of `PATH` may lead to a folder that has the program's companions as well.
        let program = folder.join(program).canonicalize().ok()?;
        Some(program.parent()?.to_owned())
    })
}

/// The folder that holds these programs of one server, installed first if need be.
pub(super) fn folder_of(programs: [&str; 2]) -> Result<PathBuf, String> {
    let complete = |folder: &PathBuf| programs.iter().all(|program| folder.join(program).exists());
    let found = || {
        programs
            .iter()
            .filter_map(|program| find(program))
            .find(complete)
    };
    if let Some(folder) = found() {
        return Ok(folder);
    }
    if is_root() && Path::new("/usr/bin/apt-get").exists() {
        install();
    }
    found().ok_or_else(|| {
        format!(
            "this test needs {}: run `apt-get install postgresql redis-server` or start Docker, \
             or set TEST_DATABASE_URL and TEST_REDIS_URL",
            programs[0]
        )
    })
}

/// Installs both servers; a failure shows as a program that is still missing.
fn install() {
    let _ = Command::new("sh")
        .args(["-c", include_str!("install.sh")])
        .stdin(Stdio::null())
        .status();
}

/// Whether this process runs as root, as whom PostgreSQL refuses to run.
pub(super) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    tempfile::tempfile()
        .and_then(|file| file.metadata())
        .is_ok_and(|own| own.uid() == 0)
}
