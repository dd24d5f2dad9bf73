//! The service, from its configuration to its end.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use tasks_testkit::servers::Collector;
use tempfile::TempDir;

use super::binary::binary;
use super::process::{Output, Process, Signal, Watch};
use super::secrets::{Says, Secret, Secrets};
use super::{Client, PASSWORD, eventually, send_raw};

/// What a process keeps of the environment of the tests: how to find programs, and where to write
/// what coverage is measured from.
const KEPT: [&str; 3] = ["PATH", "HOME", "LLVM_PROFILE_FILE"];

/// Where spans go.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// How a process is started: its environment and its folder.
#[derive(Clone)]
pub(crate) struct Setup {
    variables: BTreeMap<String, String>,
    folder: Arc<TempDir>,
    /// Shell commands that run first, in the same process.
    before: String,
    /// Of every process that is started like this or almost like this.
    secrets: Arc<Secrets>,
    /// Where the spans go of all that are started from here.
    collector: Option<Arc<Collector>>,
    /// Whether these arrive, or the test says what becomes of them.
    delivers: bool,
}

impl Setup {
    /// A service for tests, with a database of its own.
    pub(crate) fn new() -> Self {
        let mut setup = Self::empty().traced_by(&Arc::new(Collector::start_http()));
        setup.delivers = true;
        let database = format!("sqlite://{}", setup.database().display());
        setup
            .with("HOST", "127.0.0.1")
            .with("PORT", "0")
            .with("APP_ENV", "test")
            .with("LOG_FORMAT", "json")
            .with("BCRYPT_COST", "4")
            .with("ENABLE_RATE_LIMITING", "false")
            .with("DATABASE_URL", &database)
    }

    /// Nothing is set but a folder to work in.
    pub(crate) fn empty() -> Self {
        let kept = KEPT.map(|name| Some((name.to_owned(), env::var(name).ok()?)));
        Self {
            variables: kept.into_iter().flatten().collect(),
            folder: Arc::new(TempDir::new().unwrap()),
            before: String::new(),
            secrets: Secrets::new(),
            collector: None,
            delivers: false,
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same with a database on a server, which the service migrates.
    pub(crate) fn on_postgres(self, url: &str) -> Self {
        self.with("DATABASE_URL", url)
            .with("RUN_MIGRATIONS", "true")
    }

    /// The same with a mail server where nobody listens, so that mails wait.
    pub(crate) fn without_mail_server(self) -> Self {
        self.with("EMAIL_BACKEND", "smtp")
            .with("SMTP_HOST", "127.0.0.1")
            .with("SMTP_PORT", "1")
            .with("SMTP_TLS", "none")
            .with("SMTP_FROM", "tasks@example.com")
    }

    /// The same, sending its spans there, and soon. They are searched for secrets when it ends.
    pub(crate) fn traced_by(mut self, collector: &Arc<Collector>) -> Self {
        self.collector = Some(Arc::clone(collector));
        self.delivers = false;
        self.with(ENDPOINT, &collector.endpoint())
            .with("OTEL_BSP_SCHEDULE_DELAY", "50")
    }

    /// The same without the collector that every service for tests sends its spans to, for one that has a
    /// great deal to do, or whose own needs are measured.
    pub(crate) fn untraced(mut self) -> Self {
        self.variables.remove(ENDPOINT);
        self.collector = None;
        self
    }

    /// Shell commands that run first, in the same process.
    pub(crate) fn before(mut self, script: &str) -> Self {
        script.clone_into(&mut self.before);
        self
    }

    /// The working folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where `new` puts the database.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder().join("data/tasks.db")
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.process(arguments).wait()
    }

    /// Starts the service and waits until it is ready.
    pub(crate) fn start(&self) -> Service {
        let service = self.start_listening();
        let client = service.client();
        eventually("the service is ready", || {
            (client.get("/health/ready").status == 200).then_some(())
        });
        service
    }

    /// Starts the service and waits until it listens.
    pub(crate) fn start_listening(&self) -> Service {
        let mut process = self.process(&[]);
        let address = eventually("the service listens", || {
            if let Some(output) = process.ended() {
                panic!("the service ended: {output:?}");
            }
            let lines = process.stdout();
            let line = lines.iter().find(|line| line.contains("listening"))?;
            // In the format for people it is `address=http://127.0.0.1:1234`.
            let from = line.split("http://").nth(1)?;
            let length = from.find(|c: char| !c.is_ascii_digit() && !".:".contains(c));
            Some(from[..length.unwrap_or(from.len())].to_owned())
        });
        self.secrets.listen(&address);
        // A key that the service made itself is as secret as one that it is given.
        if let Ok(key) = fs::read_to_string(self.database().with_file_name("jwt_secret_key")) {
            self.secrets.keep(Secret::Key, key.trim_end());
        }
        Service {
            process,
            address,
            secrets: Arc::clone(&self.secrets),
            _folder: Arc::clone(&self.folder),
        }
    }

    fn process(&self, arguments: &[&str]) -> Process {
        let script = format!("{}\nexec \"$0\" \"$@\"", self.before);
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(binary()).args(arguments);
        command.current_dir(self.folder());
        command.env_clear().envs(&self.variables);
        self.secrets.keep_variables(&self.variables);
        let backend = self.variables.get("EMAIL_BACKEND").map(String::as_str);
        let watch = Watch {
            secrets: Arc::clone(&self.secrets),
            says: Says {
                links: backend.is_none_or(|backend| backend == "console"),
                examples: arguments.contains(&"openapi"),
            },
            collector: self.collector.clone(),
            delivers: self.delivers,
        };
        Process::start(&mut command, watch)
    }
}

/// A running service. Dropped, it is asked to end.
pub(crate) struct Service {
    process: Process,
    /// `127.0.0.1:1234`.
    address: String,
    secrets: Arc<Secrets>,
    _folder: Arc<TempDir>,
}

impl Service {
    pub(crate) fn start() -> Self {
        Setup::new().start()
    }

    /// What `/metrics` says, line by line.
    pub(crate) fn metrics(&self) -> Vec<String> {
        let request = b"GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        let answer = send_raw(self.address(), request);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body.lines().map(str::to_owned).collect()
    }

    /// `127.0.0.1:1234`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Notes a secret that it gets in a way that the support does not see. Nothing may tell it.
    pub(crate) fn keeps(&self, of: Secret, secret: &str) {
        self.secrets.keep(of, secret);
    }

    /// Somebody without a token.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// Somebody with an account of that address, and what they got at registration.
    pub(crate) fn register(&self, email: &str) -> (Client, Value) {
        let body = json!({ "email": email, "password": PASSWORD, "full_name": "Ada Lovelace" });
        let answer = self.client().post("/api/v1/auth/register", &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        let token = answer.body["access_token"].as_str().unwrap();
        (self.client().with_token(token), answer.body)
    }

    /// Whoever got this.
    pub(crate) fn signed_in(&self, grant: &Value) -> Client {
        let token = grant["access_token"].as_str().unwrap();
        self.client().with_token(token)
    }

    /// That the access tokens of these are good, so that the service remembers their sessions.
    pub(crate) fn are_open(&self, grants: &[&Value]) {
        for grant in grants {
            let answer = self.signed_in(grant).me();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }

    /// That neither token of these is good any more.
    pub(crate) fn are_over(&self, grants: &[&Value]) {
        for grant in grants {
            let answer = self.signed_in(grant).me();
            assert!(answer.is_refusal(401, "token_invalid"), "{answer:?}");
        }
        // Afterwards: being refused here makes the service look again whether a session is over.
        for grant in grants {
            let answer = self.client().refresh(grant);
            assert!(
                answer.is_refusal(401, "refresh_token_invalid"),
                "{answer:?}"
            );
        }
    }

    /// Every line of the log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        let lines = self.process.stdout();
        lines
            .iter()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }

    /// The tokens of the links that the log tells of, of mails of a kind to an address, in order.
    pub(crate) fn mail_tokens(&self, kind: &str, to: &str) -> Vec<String> {
        // At most of the lines it is enough to glance.
        let mut log = self.process.stdout();
        log.retain(|line| line.contains("\"mail_kind\""));
        let log: Vec<Value> = log
            .iter()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        let mails = log
            .iter()
            .filter(|line| line["mail_kind"] == kind && line["mail_to"] == to);
        mails
            .map(|line| {
                let link = line["mail_url"].as_str().unwrap();
                link.split_once("?token=").expect(link).1.to_owned()
            })
            .collect()
    }

    /// The token of the nth of these mails, from 1, when it is there.
    pub(crate) fn mail_token(&self, kind: &str, to: &str, nth: usize) -> String {
        eventually("the log tells of the mail", || {
            self.mail_tokens(kind, to).into_iter().nth(nth - 1)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.signals(&[signal]);
    }

    /// Sends these with nothing in between.
    pub(crate) fn signals(&self, signals: &[Signal]) {
        self.process.signal(signals);
    }

    /// How the process ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<Output> {
        self.process.ended()
    }

    /// Waits until the process ends.
    pub(crate) fn wait(mut self) -> Output {
        self.process.wait()
    }

    /// Asks the process to end, and waits until it does.
    pub(crate) fn stop(self, signal: Signal) -> Output {
        self.signal(signal);
        self.wait()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }
}
