//! Redis.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::private::{Private, Signals};
use super::{ANSWER, Host, block_on, blocking, docker, free_port, install, until_ready};

/// A Redis server. It holds no connection, so that many runtimes can share it; tests that share it
/// use keys of their own.
pub struct RedisServer {
    host: Host,
    url: String,
    address: String,
    words: Mutex<Vec<String>>,
}

impl RedisServer {
    /// The test process's one server, started at its first use.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<RedisServer, String>> = OnceLock::new();
        let server = blocking(|| SHARED.get_or_init(Self::find)).await;
        server
            .as_ref()
            .unwrap_or_else(|error| panic!("no Redis: {error}"))
    }

    /// A private server of one's own, to be stopped or frozen.
    pub async fn start() -> Self {
        blocking(Self::private)
            .await
            .unwrap_or_else(|error| panic!("no Redis: {error}"))
    }

    /// Its URL, without a password.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Stops it where it is: connections stay open, nothing answers.
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

    /// Kills it.
    pub fn kill(&self) {
        self.host.private().kill();
    }

    /// Starts it again at the same port, stopping it first if it runs; returns when it answers. What it
    /// knew is kept after a stop and lost after a kill.
    pub fn restart(&self) {
        let private = self.host.private();
        private.stop();
        launch(private, &self.words(&[]), &self.address).unwrap();
    }

    /// Restarts it with further arguments, as `["--requirepass", "secret"]`, until the next restart.
    pub fn config(&self, args: &[&str]) {
        let private = self.host.private();
        private.stop();
        launch(private, &self.words(args), &self.address).unwrap();
    }

    /// Sends one command, as `CONFIG SET maxmemory 1`, and returns the first line of the answer.
    pub fn command(&self, line: &str) -> String {
        block_on(async { tokio::time::timeout(ANSWER, ask(&self.address, line)).await })
            .unwrap_or_else(|_| panic!("no answer to {line}"))
            .unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// The folder of a private server.
    pub fn folder(&self) -> &std::path::Path {
        self.host.private().folder()
    }

    fn words(&self, more: &[&str]) -> Vec<String> {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words
            .iter()
            .cloned()
            .chain(more.iter().map(ToString::to_string))
            .collect()
    }

    fn find() -> Result<Self, String> {
        let at = |host, url: String| {
            let address = url.rsplit(['/', '@']).find(|part| part.contains(':'));
            let address = address.unwrap_or("127.0.0.1:6379").to_owned();
            Self {
                host,
                url,
                address,
                words: Mutex::default(),
            }
        };
        if let Ok(url) = std::env::var("TEST_REDIS_URL") {
            return Ok(at(Host::Given, url));
        }
        if !docker::answers() {
            return Self::private();
        }
        block_on(async {
            let (host, port, watch) = docker::start(
                ("redis", "7-alpine"),
                6379,
                &[],
                &["redis-server", "--save", ""],
            )
            .await?;
            let server = at(
                Host::Container { _watch: watch },
                format!("redis://{host}:{port}"),
            );
            until_ready(|| answers(&server.address)).await?;
            Ok(server)
        })
    }

    fn private() -> Result<Self, String> {
        let programs = install::folder_of(["redis-server", "redis-server"])?;
        let private = Private::new(
            &programs,
            &Signals {
                fast: "TERM",
                last: "KILL",
            },
        );
        let folder = private.folder().display().to_string();
        let mut error = String::new();
        for _ in 0..3 {
            let port = free_port().to_string();
            let program = programs.join("redis-server").display().to_string();
            // A stop writes the data, as `save` has a rule that never applies while it runs.
            let words = [
                &program,
                "--port",
                &port,
                "--bind",
                "127.0.0.1",
                "--dir",
                &folder,
                "--save",
                "86400 1000000000",
            ];
            let words: Vec<String> = words.map(str::to_owned).into();
            let address = format!("127.0.0.1:{port}");
            match launch(&private, &words, &address) {
                Ok(()) => {
                    let (host, words) = (Host::Private(private), Mutex::new(words));
                    return Ok(Self {
                        host,
                        url: format!("redis://{address}"),
                        address,
                        words,
                    });
                }
                Err(failure) => error = failure, // the port was taken meanwhile
            }
        }
        Err(error)
    }
}

/// Starts a private server and waits until it answers.
fn launch(private: &Private, words: &[String], address: &str) -> Result<(), String> {
    private.start(words);
    let ready = block_on(async {
        until_ready(|| async {
            // What answers is this server only if it lives: another one may have taken the port.
            match answers(address).await {
                _ if !private.is_running() => Ok(()),
                answer => answer,
            }
        })
        .await
    });
    if private.is_running() {
        ready
    } else {
        Err(format!("redis-server does not start:\n{}", private.log()))
    }
}

/// Whether it takes commands, if only with a password.
async fn answers(address: &str) -> Result<(), String> {
    let answer = ask(address, "PING")
        .await
        .map_err(|error| error.to_string())?;
    if answer == "+PONG" || answer.starts_with("-NOAUTH") {
        Ok(())
    } else {
        Err(answer)
    }
}

/// Sends an inline command on a connection of its own; returns the first line of the answer, or the
/// string that it announces.
async fn ask(address: &str, line: &str) -> std::io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    if let Some(length) = answer
        .trim_end()
        .strip_prefix('$')
        .and_then(|n| n.parse().ok())
    {
        let mut string = vec![0; length];
        stream.read_exact(&mut string).await?;
        answer = String::from_utf8_lossy(&string).into_owned();
    }
    Ok(answer.trim_end().to_owned())
}
