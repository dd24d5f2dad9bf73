//! A browser, driven by the keyboard alone: Chromium by `chromedriver` (W3C `WebDriver`).

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Client, eventually};

// The test kit keeps it to itself, and the rule of what is installed stands in one place.
#[path = "../../../crates/testkit/src/servers/install.rs"]
mod install;

/// Keys, as `WebDriver` names them.
const TAB: char = '\u{E004}';
pub(crate) const ENTER: char = '\u{E007}';
pub(crate) const SPACE: char = ' ';
const CONTROL: char = '\u{E009}';

/// More than there is on a page to go through.
const STOPS: usize = 10;

/// Starts the driver, and ends it with its browser when the input ends, as it does with the test
/// process, even if that is killed.
const SHELL: &str = r#""$0" --port=0 >log 2>&1 &
read -r _
kill -KILL 0"#;

/// The driver and the browser, a process group of their own. Dropped, they are killed.
struct Driver {
    shell: Child,
    folder: Option<TempDir>,
}

impl Driver {
    fn start(program: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let shell = Command::new("sh")
            .args(["-c", SHELL])
            .arg(program)
            .current_dir(folder.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            // Where both of them leave their files.
            .envs(["HOME", "TMPDIR"].map(|name| (name, folder.path())))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            shell,
            folder: Some(folder),
        }
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder().join("log")).unwrap_or_default()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- chromedriver said:\n{}---", self.log());
        }
        drop(self.shell.stdin.take());
        self.shell.wait().ok();
        // A browser that is not quite dead yet may still write into it.
        let folder = self.folder.take().unwrap().keep();
        eventually("the browser leaves its folder", || {
            fs::remove_dir_all(&folder).ok()
        });
    }
}

/// A browser with one window. It reaches one service, and nothing else.
pub(crate) struct Browser {
    driver: Driver,
    client: Client,
    session: String,
}

impl Browser {
    /// A browser for which a host is that service, at whatever address this listens.
    pub(crate) fn start(host: &str, address: &str) -> Self {
        let programs = install::folder_of(["chromium", "chromedriver"])
            .unwrap_or_else(|error| panic!("no browser: {error}"));
        let driver = Driver::start(&programs.join("chromedriver"));
        let port = eventually("chromedriver listens", || {
            let log = driver.log();
            let (_, rest) = log.split_once("started successfully on port ")?;
            Some(rest.split_once('.')?.0.to_owned())
        });
        let client = Client::new(&format!("127.0.0.1:{port}"));
        let arguments = [
            "--headless=new",
            // It is not to be had as root, and only pages of ours are opened.
            "--no-sandbox",
            // In a container it is small.
            "--disable-dev-shm-usage",
            // The service speaks no TLS.
            "--disable-features=HttpsUpgrades",
            &format!(
                "--user-data-dir={}",
                driver.folder().join("profile").display()
            ),
            &format!("--host-resolver-rules=MAP {host} {address},MAP * ~NOTFOUND"),
        ];
        let options = json!({ "binary": programs.join("chromium"), "args": arguments });
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            // All but advice.
            "goog:loggingPrefs": { "browser": "INFO" },
        });
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = client.post("/session", &body);
        let session = answer.body["value"]["sessionId"].as_str();
        Self {
            session: session.unwrap_or_else(|| panic!("{answer:?}")).to_owned(),
            driver,
            client,
        }
    }

    /// What the driver makes of a command.
    fn command(&self, command: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        let answer = self.client.post(&path, body);
        assert_eq!(answer.status, 200, "{command}: {answer:?}");
        answer.body["value"].clone()
    }

    /// What the driver knows.
    fn ask(&self, question: &str) -> Value {
        let path = format!("/session/{}/{question}", self.session);
        let answer = self.client.get(&path);
        assert_eq!(answer.status, 200, "{question}: {answer:?}");
        answer.body["value"].clone()
    }

    /// Opens a page, and returns when it has loaded.
    pub(crate) fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// Loads the page again, and returns when it has loaded.
    pub(crate) fn reload(&self) {
        self.command("refresh", &json!({}));
    }

    /// What the address bar shows.
    pub(crate) fn address(&self) -> String {
        self.ask("url").as_str().unwrap().to_owned()
    }

    /// What a script returns that looks at the page.
    pub(crate) fn look(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Presses keys one after the other.
    pub(crate) fn press(&self, keys: &str) {
        self.keyboard(keys.chars().flat_map(|key| [(key, true), (key, false)]));
    }

    /// Selects all of the field where the focus is.
    pub(crate) fn select_all(&self) {
        let keys = [(CONTROL, true), ('a', true), ('a', false), (CONTROL, false)];
        self.keyboard(keys.into_iter());
    }

    fn keyboard(&self, keys: impl Iterator<Item = (char, bool)>) {
        let actions = keys.map(|(key, down)| {
            let kind = if down { "keyDown" } else { "keyUp" };
            json!({ "type": kind, "value": key })
        });
        let actions: Vec<Value> = actions.collect();
        let source = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.command("actions", &json!({ "actions": [source] }));
    }

    /// The role and the name of what has the focus, as a screen reader is told them.
    pub(crate) fn focus(&self) -> (String, String) {
        let element = self.ask("element/active");
        // The one member's name is the same long constant everywhere.
        let id = element.as_object().unwrap().values().next().unwrap();
        let id = id.as_str().unwrap();
        let computed = |what| {
            let computed = self.ask(&format!("element/{id}/computed{what}"));
            computed.as_str().unwrap().to_owned()
        };
        (computed("role"), computed("label"))
    }

    /// Goes on from one stop to the next until it is there.
    pub(crate) fn tab_to(&self, role: &str, name: &str) {
        let mut stops = Vec::new();
        for _ in 0..STOPS {
            self.press(&TAB.to_string());
            let focus = self.focus();
            if focus == (role.to_owned(), name.to_owned()) {
                return;
            }
            stops.push(focus);
        }
        panic!("no way to {role} {name}: {stops:?}");
    }

    /// What the page announces, with the focus there.
    pub(crate) fn announcement(&self) -> String {
        eventually("the page announces something", || {
            if self.focus().0 != "status" {
                return None;
            }
            let text = self.look("return document.activeElement.textContent");
            let text = text.as_str().unwrap_or_default();
            (!text.is_empty()).then(|| text.to_owned())
        })
    }

    /// What was written to the console since the last time.
    pub(crate) fn console(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().unwrap().iter();
        entries
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Its private folder.
    pub(crate) fn folder(&self) -> &Path {
        self.driver.folder()
    }
}
