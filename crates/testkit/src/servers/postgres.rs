//! PostgreSQL.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::private::{Private, Signals};
use super::{
    ANSWER, Host, START, block_on, blocking, docker, free_port, install, random, until_ready,
};

/// The administrator of a server that we started, as the image calls it.
const USER: &str = "postgres";
/// The administrator's password: not a secret, but a word that no log may contain.
const PASSWORD: &str = "swordfish";

/// How long dropping a database may take: it is a courtesy, and its server may be frozen.
const DROP: Duration = Duration::from_secs(2);

/// A PostgreSQL server. It holds no connection, so that many runtimes can share it.
pub struct PostgresServer {
    host: Host,
    url: String,
    words: Vec<String>,
    /// A template cannot be copied by two at once.
    copying: Arc<Mutex<()>>,
}

impl PostgresServer {
    /// The test process's one server, started at its first use.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<PostgresServer, String>> = OnceLock::new();
        let server = blocking(|| SHARED.get_or_init(Self::find)).await;
        server
            .as_ref()
            .unwrap_or_else(|error| panic!("no PostgreSQL: {error}"))
    }

    /// A private server of one's own, to be stopped or frozen.
    pub async fn start() -> Self {
        blocking(Self::private)
            .await
            .unwrap_or_else(|error| panic!("no PostgreSQL: {error}"))
    }

    /// The URL of a database of this server.
    pub fn url(&self, database: &str) -> String {
        let (address, query) = match self.url.split_once('?') {
            Some((address, query)) => (address, format!("?{query}")),
            None => (self.url.as_str(), String::new()),
        };
        let authority = address.find("://").map_or(0, |colon| colon + 3);
        let end = address[authority..]
            .find('/')
            .map_or(address.len(), |slash| authority + slash);
        format!("{}/{database}{query}", &address[..end])
    }

    /// A new database, empty or a copy of another one that nobody is connected to.
    pub async fn database(&self, template: Option<&str>) -> Database {
        let name = format!("test_{:016x}", random());
        let template = template.unwrap_or("template1");
        let create = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\"");
        let (server, copying) = (self.url.clone(), self.copying.clone());
        let created = blocking(move || {
            let _one = copying.lock().unwrap_or_else(PoisonError::into_inner);
            block_on(async {
                let deadline = tokio::time::Instant::now() + START;
                loop {
                    match execute(&server, &create).await {
                        // A connection to the template that was just closed, or another test process.
                        Err(error)
                            if error.code() == Some(&SqlState::OBJECT_IN_USE)
                                && tokio::time::Instant::now() < deadline =>
                        {
                            tokio::time::sleep(super::POLL).await;
                        }
                        done => return done.map_err(|error| describe(&error)),
                    }
                }
            })
        });
        created
            .await
            .unwrap_or_else(|error| panic!("{name} of {template}: {error}"));
        Database {
            url: self.url(&name),
            name,
            server: self.url.clone(),
        }
    }

    /// Stops all its processes where they are: connections stay open, nothing answers.
    pub fn freeze(&self) {
        self.host.private().freeze();
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.host.private().thaw();
    }

    /// Stops it in good order, closing its connections; returns when it is gone.
    pub fn stop(&self) {
        self.host.private().stop();
    }

    /// Kills all its processes.
    pub fn kill(&self) {
        self.host.private().kill();
    }

    /// Starts it again at the same port with the same data, stopping it first if it runs; returns when
    /// it accepts connections.
    pub fn restart(&self) {
        let private = self.host.private();
        private.stop();
        launch(private, &self.words, &self.url).unwrap();
    }

    /// The folder of a private server.
    pub fn folder(&self) -> &std::path::Path {
        self.host.private().folder()
    }

    fn find() -> Result<Self, String> {
        let at = |host, url| Self {
            host,
            url,
            words: Vec::new(),
            copying: Arc::default(),
        };
        if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
            return Ok(at(Host::Given, url));
        }
        if !docker::answers() {
            return Self::private();
        }
        block_on(async {
            let environment = [("POSTGRES_USER", USER), ("POSTGRES_PASSWORD", PASSWORD)];
            let (host, port, watch) = docker::start(
                ("postgres", "15-alpine"),
                5432,
                &environment,
                &[
                    "postgres",
                    "-c",
                    "fsync=off",
                    "-c",
                    "max_connections=200",
                    "-c",
                    "timezone=UTC",
                ],
            )
            .await?;
            let url = format!("postgres://{USER}:{PASSWORD}@{host}:{port}/postgres");
            until_ready(|| answers(&url)).await?;
            Ok(at(Host::Container { _watch: watch }, url))
        })
    }

    fn private() -> Result<Self, String> {
        let programs = install::folder_of(["postgres", "initdb"])?;
        // INT is PostgreSQL's fast shutdown, QUIT its immediate one.
        let private = Private::new(
            &programs,
            &Signals {
                fast: "INT",
                last: "QUIT",
            },
        );
        // Passwords are asked for, as in production, but in the clear: SCRAM costs every connection of
        // an unoptimised build some 10 ms of hashing.
        let initialised = private.run(&format!(
            "echo {PASSWORD} >\"$DIR/password\" && \"$BIN/initdb\" --pgdata=\"$DIR/data\" --username={USER} \
             --pwfile=\"$DIR/password\" --auth=password --encoding=UTF8 --locale=C.UTF-8 --no-sync \
             </dev/null >>\"$DIR/log\" 2>&1"
        ));
        if !initialised {
            return Err(format!("initdb failed:\n{}", private.log()));
        }
        let folder = private.folder().display().to_string();
        let mut error = String::new();
        for _ in 0..3 {
            let port = free_port();
            let mut words = vec![programs.join("postgres").display().to_string()];
            words.extend(["-D".to_owned(), format!("{folder}/data")]);
            for setting in [
                &format!("port={port}"),
                "listen_addresses=127.0.0.1",
                &format!("unix_socket_directories={folder}"),
                "max_connections=200", // tests run side by side, each with a pool
                "timezone=UTC",
                // The data lives as long as the test process: only a crash of the machine could lose it.
                "fsync=off",
                "synchronous_commit=on",
                "full_page_writes=off",
                // In the folder, so that it goes with it even after a kill.
                "dynamic_shared_memory_type=mmap",
            ] {
                words.extend(["-c".to_owned(), setting.to_owned()]);
            }
            let url = format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres");
            match launch(&private, &words, &url) {
                Ok(()) => {
                    let host = Host::Private(private);
                    return Ok(Self {
                        host,
                        url,
                        words,
                        copying: Arc::default(),
                    });
                }
                Err(failure) => error = failure, // the port was taken meanwhile
            }
        }
        Err(error)
    }
}

/// A database of its own. Dropping it drops the database, connections or not.
pub struct Database {
    /// Its URL.
    pub url: String,
    /// Its name, for [`PostgresServer::database`]'s template.
    pub name: String,
    server: String,
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name);
        // Inside, since a timer is made for the runtime that it is made in.
        let _ = block_on(async { tokio::time::timeout(DROP, execute(&self.server, &drop)).await });
    }
}

/// Starts a private server and waits until it accepts connections.
fn launch(private: &Private, words: &[String], url: &str) -> Result<(), String> {
    // The processes of a killed server may take a moment to go, and until then it refuses to start.
    for _ in 0..10 {
        private.start(words);
        let ready = block_on(async {
            until_ready(|| async {
                // What answers is this server only if it lives: another one may have taken the port.
                match answers(url).await {
                    _ if !private.is_running() => Ok(()),
                    answer => answer,
                }
            })
            .await
        });
        if private.is_running() {
            return ready;
        }
    }
    Err(format!("postgres does not start:\n{}", private.log()))
}

/// Whether a connection is accepted.
async fn answers(url: &str) -> Result<(), String> {
    execute(url, "SELECT 1")
        .await
        .map_err(|error| describe(&error))
}

/// Runs one statement on a connection of its own.
async fn execute(url: &str, statement: &str) -> Result<(), tokio_postgres::Error> {
    let mut config: tokio_postgres::Config = url.parse()?;
    config.connect_timeout(ANSWER);
    let (client, connection) = config.connect(NoTls).await?;
    // Both at once: the connection is what moves the statement. It ends when its client is dropped.
    let statement = async move { client.batch_execute(statement).await };
    let (done, _closed) = tokio::join!(statement, connection);
    done
}

/// What the server said, where it said something: the error itself says only "db error".
fn describe(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
