//! The stores: servers or a file of this run's own, and how the benchmark speaks to them past the service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use tasks_testkit::servers::{Database, PostgresServer, RedisServer};
use tempfile::TempDir;

use crate::cpu;
use crate::failure::Failure;

/// So long a statement waits for the service, which writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Which store the service runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Embedded, with limits and cache inside the process.
    Sqlite,
    /// With Redis for limits and cache.
    Postgres,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// A store that runs. Dropped, it stops and is removed.
pub(crate) struct Store {
    folder: TempDir,
    servers: Option<Servers>,
}

/// The parts are dropped in this order: a database is dropped while its server runs.
struct Servers {
    database: Database,
    postgres: PostgresServer,
    redis: RedisServer,
}

/// CPU time of a store's processes so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) database: Duration,
    pub(crate) redis: Duration,
}

impl Store {
    /// Starts it. Its files are in a folder of this one, so that they are on the disk of the checkout: a
    /// temporary folder in memory would make every commit look free.
    pub(crate) fn start(kind: Kind, parent: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(parent)?;
        let folder = TempDir::with_prefix_in("run-", parent)?;
        let servers = match kind {
            Kind::Sqlite => None,
            Kind::Postgres => Some(tokio::runtime::Runtime::new()?.block_on(async {
                let postgres = PostgresServer::start().await;
                Servers {
                    database: postgres.database(None).await,
                    postgres,
                    redis: RedisServer::start().await,
                }
            })),
        };
        let store = Self { folder, servers };
        if kind == Kind::Postgres {
            // It would come and go between runs that are compared. The tables are vacuumed by hand instead.
            store.psql(&["-c", "ALTER SYSTEM SET autovacuum = off"])?;
            store.psql(&["-c", "SELECT pg_reload_conf()"])?;
        }
        Ok(store)
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self.servers {
            None => Kind::Sqlite,
            Some(_) => Kind::Postgres,
        }
    }

    /// A folder that goes with it.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the service is told of it.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        match &self.servers {
            None => vec![(
                "DATABASE_URL",
                format!("sqlite://{}", self.file().display()),
            )],
            Some(servers) => vec![
                ("DATABASE_URL", servers.database.url.clone()),
                ("REDIS_URL", servers.redis.url()),
            ],
        }
    }

    /// What it has cost so far. SQLite's part cannot be told from the service's.
    pub(crate) fn usage(&self) -> Result<Usage, Failure> {
        let Some(servers) = &self.servers else {
            return Ok(Usage::default());
        };
        let pid_file = fs::read_to_string(servers.postgres.folder().join("data/postmaster.pid"))?;
        let postmaster = pid_file.lines().next().unwrap_or_default().parse()?;
        let info = servers.redis.command("INFO server");
        let redis = info
            .lines()
            .find_map(|line| line.strip_prefix("process_id:"));
        Ok(Usage {
            database: cpu::of_family(postmaster)?,
            redis: cpu::of_process(redis.unwrap_or_default().trim().parse()?)?,
        })
    }

    /// Brings it into the same state before every run: nothing that the last one left is still to be written,
    /// and Redis is empty.
    pub(crate) fn tidy(&self) -> Result<(), Failure> {
        let Some(servers) = &self.servers else {
            return Ok(self
                .sqlite()?
                .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?);
        };
        self.psql(&["-c", "VACUUM (ANALYZE)", "-c", "CHECKPOINT"])?;
        servers.redis.command("FLUSHALL");
        Ok(())
    }

    /// Runs psql, and returns what it prints.
    pub(crate) fn psql(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = Command::new("psql");
        command
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"])
            .args(["--set", "ON_ERROR_STOP=1"])
            .args(["--dbname", self.url()?])
            .args(arguments);
        output(&mut command)
    }

    /// The URL of the database.
    pub(crate) fn url(&self) -> Result<&str, Failure> {
        let servers = self.servers.as_ref().ok_or("SQLite has no server")?;
        Ok(&servers.database.url)
    }

    /// A connection of the benchmark's own, set up as those of the service are.
    pub(crate) fn sqlite(&self) -> Result<Connection, Failure> {
        let connection = Connection::open(self.file())?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
             PRAGMA temp_store = MEMORY",
        )?;
        Ok(connection)
    }

    fn file(&self) -> PathBuf {
        self.folder().join("tasks.db")
    }
}

/// Runs a program to its end, and returns what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let program = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} failed: {complaint}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
