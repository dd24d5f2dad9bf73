//! Finds the programs that tests need of a machine, and installs them where that is allowed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is installed at once.
struct Installation {
    /// Each is a program and the Debian package that has it.
    packages: [&'static str; 2],
    /// What somebody can do instead.
    instead: &'static str,
}

const SERVERS: Installation = Installation {
    packages: ["postgres:postgresql", "redis-server:redis-server"],
    instead: " or start Docker, or set TEST_DATABASE_URL and TEST_REDIS_URL",
};

const BROWSER: Installation = Installation {
    packages: ["chromium:chromium", "chromedriver:chromium-driver"],
    instead: "",
};

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

/// The folder that holds these programs of one server or browser, installed first if need be.
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
    let Installation { packages, instead } = match programs {
        ["chromium", _] => BROWSER,
        _ => SERVERS,
    };
    if is_root() && Path::new("/usr/bin/apt-get").exists() {
        install(packages);
    }
    found().ok_or_else(|| {
        let names = packages.map(|pair| pair.rsplit(':').next().unwrap_or(pair));
        format!(
            "this test needs {}: run `apt-get install {}`{instead}",
            programs[0],
            names.join(" ")
        )
    })
}

/// Installs packages; a failure shows as a program that is still missing.
fn install(packages: [&str; 2]) {
    let _ = Command::new("sh")
        .args(["-c", include_str!("install.sh"), "install.sh"])
        .args(packages)
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
