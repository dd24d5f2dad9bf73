//! What no process may tell: whatever is secret of all that tests configure, send and are answered.
//!
//! The support notes it here by itself, and looks for it in every answer, and in all that a process has
//! written when it ends, so that no test has to think of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{NEW_PASSWORD, PASSWORD, SERVER_PASSWORD, WRONG_PASSWORD};

/// What is shorter is no secret: it is found in words of every day.
const SHORTEST: usize = 8;
/// The first part of a JWT is no shorter, whatever its algorithm.
const JWT_HEADER_LENGTH: usize = 20;
/// A mail's token: 32 bytes in unpadded base64.
const MAIL_TOKEN_LENGTH: usize = 43;
/// A digest, or a refresh token: 32 bytes in hexadecimal digits.
const HEX_LENGTH: usize = 64;
/// How bcrypt's hashes begin; and how one does as a list of bytes.
const HASHES: [&str; 4] = ["$2a$", "$2b$", "$2y$", "[36, 50, 98, 36, "];
/// What browsers leave alone in a part of a URL.
const COMPONENT: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');
/// The calls whose answers hold tokens.
const GRANTING: [&str; 3] = [
    "/api/v1/auth/register",
    "/api/v1/auth/login",
    "/api/v1/auth/refresh",
];

/// The secrets of each service by its address, so that a bare socket knows them too.
static SERVICES: Mutex<BTreeMap<String, Weak<Secrets>>> = Mutex::new(BTreeMap::new());

/// What is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    Password,
    /// Of a password, whoever made it.
    Hash,
    /// Of the configuration.
    Key,
    AccessToken,
    RefreshToken,
    MailToken,
    /// Of a URL. An answer may repeat it.
    Query,
}

impl Secret {
    const fn name(self) -> &'static str {
        match self {
            Self::Password => "a password",
            Self::Hash => "a hash of a password",
            Self::Key => "a secret of the configuration",
            Self::AccessToken => "an access token",
            Self::RefreshToken => "a refresh token",
            Self::MailToken => "the token of a mail",
            Self::Query => "a query string",
        }
    }

    /// Whether the service may keep a digest of it, which is as secret.
    const fn is_token(self) -> bool {
        matches!(
            self,
            Self::AccessToken | Self::RefreshToken | Self::MailToken
        )
    }
}

/// What is to be found, by its first four bytes: a text is gone through once, however much is secret.
struct Forms {
    /// Whether there may be one that begins like this.
    begins: Vec<bool>,
    known: HashMap<u32, Vec<(String, Secret)>>,
}

impl Forms {
    /// A few bits of the first bytes.
    const fn bits(beginning: u32) -> usize {
        // Knuth's, which spreads what differs little.
        (beginning.wrapping_mul(0x9E37_79B1) >> 16) as usize
    }

    fn insert(&mut self, form: String, of: Secret) {
        let beginning = form.bytes().take(4);
        let beginning = beginning.fold(0, |window, byte| window << 8 | u32::from(byte));
        let alike = self.known.entry(beginning).or_default();
        if !alike.iter().any(|(known, _)| *known == form) {
            alike.push((form, of));
            self.begins[Self::bits(beginning)] = true;
        }
    }

    /// What a text begins with, if it is a secret that is meant.
    fn at_begin(
        &self,
        beginning: u32,
        text: &[u8],
        is_meant: fn(Secret) -> bool,
    ) -> Option<Secret> {
        let mut alike = self.known.get(&beginning)?.iter();
        let found = alike.find(|(form, of)| is_meant(*of) && text.starts_with(form.as_bytes()))?;
        Some(found.1)
    }
}

/// What a process says that only looks like a secret, or is one in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Says {
    /// Links in the lines of mails.
    pub(super) links: bool,
    /// The examples of a document.
    pub(super) examples: bool,
}

/// A text that tells a secret.
#[derive(Debug)]
struct Leak {
    what: &'static str,
    /// All before this place is harmless.
    at: usize,
}

/// The secrets of all processes that are started from one setup.
pub(crate) struct Secrets {
    forms: Mutex<Forms>,
}

impl Secrets {
    pub(super) fn new() -> Arc<Self> {
        let mut forms = Forms {
            begins: vec![false; 1 << 16],
            known: HashMap::new(),
        };
        for hash in HASHES {
            forms.insert(hash.to_owned(), Secret::Hash);
        }
        let forms = Mutex::new(forms);
        let secrets = Self { forms };
        // Also where the support does not see them, as in a browser.
        for password in [PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, SERVER_PASSWORD] {
            secrets.keep(Secret::Password, password);
        }
        Arc::new(secrets)
    }

    /// The secrets of the service that listens there.
    pub(super) fn at(address: &str) -> Option<Arc<Self>> {
        SERVICES.lock().unwrap().get(address)?.upgrade()
    }

    /// From now on they are those of the service that listens there.
    pub(super) fn listen(self: &Arc<Self>, address: &str) {
        let secrets = Arc::downgrade(self);
        SERVICES.lock().unwrap().insert(address.to_owned(), secrets);
    }

    /// Notes a secret.
    pub(crate) fn keep(&self, of: Secret, secret: &str) {
        if secret.len() >= SHORTEST {
            self.keep_any(of, secret);
        }
    }

    fn keep_any(&self, of: Secret, secret: &str) {
        let json = |text: &str| within(&Value::from(text).to_string());
        let bytes = |bytes: &[u8]| within(&format!("{bytes:?}"));
        let mut forms = vec![
            secret.to_owned(),
            json(secret),
            // JSON in JSON.
            json(&json(secret)),
            within(&format!("{secret:?}")),
            bytes(secret.as_bytes()),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            utf8_percent_encode(secret, &COMPONENT).to_string(),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        if of.is_token() {
            // Its hexadecimal digits are known by their looks.
            forms.push(bytes(&Sha256::digest(secret)));
        }
        let mut known = self.forms.lock().unwrap();
        for form in forms {
            known.insert(form, of);
        }
    }

    /// Notes what is secret in the environment of a process.
    pub(super) fn keep_variables(&self, variables: &BTreeMap<String, String>) {
        for (name, value) in variables {
            if name.starts_with("JWT_SECRET_KEY") || name.ends_with("PASSWORD") {
                self.keep(Secret::Key, value);
            }
            if name.starts_with("OTEL_") && name.ends_with("_HEADERS") {
                for (_, value) in value.split(',').filter_map(|pair| pair.split_once('=')) {
                    self.keep(Secret::Key, value);
                    self.keep(Secret::Key, &percent_decode_str(value).decode_utf8_lossy());
                }
            }
            if let Some((user, password)) = credentials(value) {
                // One that is somebody's name too is known by what stands beside it alone.
                let is_name = password == user || password.len() < SHORTEST;
                self.keep(Secret::Key, &format!("://{user}:{password}@"));
                if !is_name {
                    self.keep(Secret::Key, password);
                    self.keep(
                        Secret::Key,
                        &percent_decode_str(password).decode_utf8_lossy(),
                    );
                }
            }
        }
        let smtp = ["SMTP_USERNAME", "SMTP_PASSWORD"].map(|name| variables.get(name));
        if let [Some(user), Some(password)] = smtp {
            // As SMTP says them.
            self.keep(Secret::Key, &format!("\0{user}\0{password}"));
        }
    }

    /// Notes what is secret in a request: its query, its bearer token, and members of its body.
    pub(super) fn keep_request(&self, target: &str, bearer: Option<&str>, body: Option<&Value>) {
        if let Some((_, query)) = target
            .split_once('?')
            .filter(|(_, query)| !query.is_empty())
        {
            self.keep(Secret::Query, query);
            self.keep_any(Secret::Query, &format!("?{query}"));
        }
        if let Some(token) = bearer {
            self.keep(Secret::AccessToken, token);
        }
        let Some(members) = body.and_then(Value::as_object) else {
            return;
        };
        for (name, value) in members {
            let of = match name.as_str() {
                "password" | "new_password" | "current_password" => Secret::Password,
                "refresh_token" => Secret::RefreshToken,
                "token" => Secret::MailToken,
                _ => continue,
            };
            if let Some(value) = value.as_str() {
                self.keep(of, value);
            }
        }
    }

    /// Notes what is secret in a request as it goes over the wire.
    pub(super) fn keep_raw_request(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let target = head.split(' ').nth(1).unwrap_or_default();
        let bearer = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_meant = name.eq_ignore_ascii_case("authorization");
            is_meant.then(|| value.trim().rsplit(' ').next())?
        });
        self.keep_request(target, bearer, serde_json::from_str(body).ok().as_ref());
    }

    /// Notes the token of a link, if this is the line of a mail.
    pub(super) fn keep_link(&self, line: &str) {
        let token = link_of(line).and_then(|link| line[link].split_once("?token="));
        if let Some((_, token)) = token {
            self.keep(Secret::MailToken, token);
        }
    }

    /// Checks an answer: its head and its body. Tokens may be in the body of some alone, and are noted
    /// there. Of a bare socket it is not known what was asked for.
    pub(super) fn look_at_answer(&self, target: Option<&str>, head: &str, body: &str) {
        let path = target.map(|target| target.split('?').next().unwrap_or_default());
        let mut text = format!("{head}\n{body}");
        if let Some(path) = path {
            // A problem repeats the path of the request, for the caller alone.
            let told = format!("\"instance\":{}", Value::from(path));
            text = text.replacen(&told, "", 1);
        }
        if path.is_none_or(|path| GRANTING.contains(&path))
            && let Ok(Value::Object(mut members)) = serde_json::from_str(body)
        {
            for (name, of) in [
                ("access_token", Secret::AccessToken),
                ("refresh_token", Secret::RefreshToken),
            ] {
                if let Some(Value::String(token)) = members.remove(name) {
                    self.keep(of, &token);
                }
            }
            text = format!("{head}\n{}", Value::Object(members));
        }
        // Elsewhere there are examples.
        let is_api = path.is_some_and(|path| path.starts_with("/api/"));
        if let Some(Leak { what, at }) = self.find(&text, |of| of != Secret::Query, is_api) {
            let mut path = path.unwrap_or("a request");
            if let Some(leak) = self.find(path, |_| true, true) {
                path = &path[..leak.at];
            }
            panic!("the answer to {path} tells {what} after: {}", &text[..at]);
        }
    }

    /// Checks all that a process has written to some place.
    pub(super) fn look_at_lines(&self, place: &str, lines: &[String], says: Says) {
        for (number, line) in (1..).zip(lines) {
            let mut line = line.clone();
            if says.links
                && let Some(link) = link_of(&line)
            {
                line.replace_range(link, "");
            }
            if let Some(Leak { what, at }) = self.find(&line, |_| true, !says.examples) {
                panic!(
                    "line {number} of {place} tells {what} after: {}",
                    &line[..at]
                );
            }
        }
    }

    /// Checks all spans or figures that a process has sent.
    pub(super) fn look_at_told(&self, name: &str, told: &[impl Debug]) {
        for one in told {
            let text = format!("{one:?}");
            if let Some(Leak { what, at }) = self.find(&text, |_| true, true) {
                panic!("{name} tells {what} after: {}", &text[..at]);
            }
        }
    }

    /// The first secret in a text. Tests are not optimised, and logs are long: this is a plain loop.
    fn find(&self, text: &str, is_meant: fn(Secret) -> bool, by_looks: bool) -> Option<Leak> {
        let forms = self.forms.lock().unwrap();
        let bytes = text.as_bytes();
        let (mut window, mut word) = (0, 0);
        for (end, &byte) in bytes.iter().enumerate() {
            window = window << 8 | u32::from(byte);
            if forms.begins[Forms::bits(window)] && end >= 3 {
                let at = end - 3;
                if let Some(of) = forms.at_begin(window, &bytes[at..], is_meant) {
                    // A word that it is in the middle of may be secret too.
                    let at = text.floor_char_boundary(at.min(word));
                    return Some(Leak {
                        what: of.name(),
                        at,
                    });
                }
            }
            if !(byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
                if by_looks && let Some(what) = looks_like(&bytes[word..end]) {
                    return Some(Leak { what, at: word });
                }
                word = end + 1;
            }
        }
        let what = looks_like(&bytes[word..]).filter(|_| by_looks)?;
        Some(Leak { what, at: word })
    }
}

/// Without the first and the last character.
fn within(quoted: &str) -> String {
    quoted[1..quoted.len() - 1].to_owned()
}

/// User and password of a URL.
fn credentials(url: &str) -> Option<(&str, &str)> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (user, _) = authority.rsplit_once('@')?;
    user.split_once(':')
}

/// Where the link stands in the line of a mail, as JSON or for people.
fn link_of(line: &str) -> Option<Range<usize>> {
    let mut names = ["\"mail_url\":\"", " mail_url="].iter();
    let begin = names.find_map(|name| Some(line.find(name)? + name.len()))?;
    let length = line[begin..].find(['"', ' ']);
    Some(begin..length.map_or(line.len(), |length| begin + length))
}

/// What a word is by its looks alone, whoever made it, if it is secret.
fn looks_like(word: &[u8]) -> Option<&'static str> {
    if word.len() < JWT_HEADER_LENGTH {
        return None;
    }
    if word.starts_with(b"eyJ") {
        return Some("a JWT");
    }
    // Random ones have some of each.
    let has = |part: &[u8], is_one: fn(&u8) -> bool| part.iter().any(is_one);
    if word.len() == MAIL_TOKEN_LENGTH
        && has(word, u8::is_ascii_digit)
        && has(word, u8::is_ascii_lowercase)
        && has(word, u8::is_ascii_uppercase)
    {
        return Some("what looks like the token of a mail");
    }
    let mut runs = word.split(|byte| !byte.is_ascii_hexdigit());
    let is_digest = |run: &[u8]| {
        run.len() >= HEX_LENGTH && has(run, u8::is_ascii_digit) && has(run, u8::is_ascii_alphabetic)
    };
    runs.any(is_digest)
        .then_some("what looks like a refresh token or a digest")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread;

    use serde_json::json;
    use tasks_testkit::servers::Collector;

    use super::super::{Client, Service, Setup, send_raw};
    use super::*;

    const SECRET: &str = "Never \"mind\" 9% of Zoë's \\ rest!";
    const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIwMTk4YzdhMiJ9.c2lnbmF0dXJl";
    const REFRESH_TOKEN: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const MAIL_TOKEN: &str = "tHe-t0ken_of_43_url_safe_characters________";
    const LINK: &str = "http://localhost/verify-email?token=";

    /// What a check says that fails, if it does.
    fn failure(check: impl FnOnce()) -> Option<String> {
        let panic = catch_unwind(AssertUnwindSafe(check)).err()?;
        Some(*panic.downcast::<String>().unwrap())
    }

    /// What the check of a log says that has this line among others.
    fn told(secrets: &Secrets, line: &str) -> Option<String> {
        let lines = ["first", line, "last"].map(str::to_owned);
        let says = Says {
            links: true,
            examples: false,
        };
        failure(|| secrets.look_at_lines("the log", &lines, says))
    }

    #[test]
    fn a_secret_is_found_however_it_is_written_and_not_repeated() {
        let secrets = Secrets::new();
        secrets.keep(Secret::Password, SECRET);
        let json = json!({ "message": format!("no {SECRET}") }).to_string();
        let bytes = SECRET.as_bytes();
        for line in [
            format!("that is {SECRET}"),
            json.clone(),
            json!({ "body": json }).to_string(),
            format!("{SECRET:?}"),
            format!("parameters: {bytes:?}"),
            utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string(),
            utf8_percent_encode(SECRET, &COMPONENT).to_string(),
            base64::engine::general_purpose::STANDARD.encode(SECRET),
        ] {
            let said = told(&secrets, &line).expect(&line);
            assert!(said.starts_with("line 2 of the log tells a password after: "));
            assert!(!said.contains("mind"), "{said}");
        }
        assert_eq!(told(&secrets, "never mind 9% of the rest!"), None);
        assert!(told(&secrets, PASSWORD).is_some(), "everybody's");
        let said = failure(|| secrets.look_at_told("a span", &[(1, "fine"), (2, SECRET)]));
        assert_eq!(said.unwrap(), "a span tells a password after: (2, \"");
    }

    #[test]
    fn what_is_secret_by_its_looks_needs_no_note() {
        let secrets = Secrets::new();
        let hash = "$2b$04$abcdefghijklmnopqrstuuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01";
        for (text, what) in [
            (hash, "a hash of a password"),
            (&format!("{:?}", hash.as_bytes()), "a hash of a password"),
            (JWT, "a JWT"),
            (MAIL_TOKEN, "what looks like the token of a mail"),
            (REFRESH_TOKEN, "what looks like a refresh token or a digest"),
        ] {
            let said = told(&secrets, &format!("x={text}, and so on")).expect(text);
            assert!(said.contains(what), "{said}");
            assert!(said.ends_with("after: x="), "{said}");
        }
        for harmless in [
            "0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10",
            "trace_id=0af7651916cd43dd8448eb211c80319c",
            "path=/api/v1/tasks/0198c7a2-5f0e-7c3b-9d41-3a5b8e2f7c10/categories",
            "eyJ",
        ] {
            assert_eq!(told(&secrets, harmless), None);
        }
    }

    #[test]
    fn a_link_may_stand_in_its_field_alone() {
        let secrets = Secrets::new();
        let mail = json!({ "mail_url": format!("{LINK}{MAIL_TOKEN}"), "message": "mail" });
        let pretty = format!("12:00:00 INFO mail mail_url={LINK}{MAIL_TOKEN} a=b");
        for line in [mail.to_string(), pretty] {
            secrets.keep_link(&line);
            assert_eq!(told(&secrets, &line), None);
            let twice = line.replace("mail", MAIL_TOKEN);
            assert!(told(&secrets, &twice).is_some());
            let lines = [line];
            let says = Says {
                links: false,
                examples: false,
            };
            let by_smtp = || secrets.look_at_lines("the log", &lines, says);
            assert!(failure(by_smtp).is_some(), "no other backend has links");
        }
        // Its token is known from now on.
        let said = told(&secrets, &format!("x{MAIL_TOKEN}x")).unwrap();
        assert!(
            said.ends_with("tells the token of a mail after: "),
            "{said}"
        );
    }

    #[test]
    fn what_is_configured_and_sent_is_noted() {
        let secrets = Secrets::new();
        let variables = [
            ("JWT_SECRET_KEY_PREV", "previous-key"),
            ("DATABASE_URL", "postgres://ada:open%20sesame@db/tasks"),
            ("REDIS_URL", "redis://:short@cache"),
            ("SMTP_USERNAME", "tasks"),
            ("SMTP_PASSWORD", "mail-password"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "a=b,authorization=Basic%20eDp5",
            ),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        secrets.keep_variables(&variables.into());
        let body = json!({ "refresh_token": "of the body", "title": "harmless" });
        secrets.keep_request("/x?page=12345", Some("bearer-token"), Some(&body));
        let raw = "POST /y?q=1 HTTP/1.1\r\nAuthorization: Bearer raw-token\r\n\r\n\
                   {\"new_password\":\"raw-password\"}";
        secrets.keep_raw_request(raw.as_bytes());
        for secret in [
            "previous-key",
            "open sesame",
            "open%20sesame",
            "redis://:short@",
            "mail-password",
            // NUL, tasks, NUL, mail-password.
            "AHRhc2tzAG1haWwtcGFzc3dvcmQ",
            "Basic eDp5",
            "of the body",
            "/x?page=12345",
            "page=12345",
            "/y?q=1",
            "bearer-token",
            "raw-token",
            "raw-password",
        ] {
            assert!(told(&secrets, secret).is_some(), "{secret}");
        }
        for harmless in ["harmless", "/x", "short", "ada"] {
            assert_eq!(told(&secrets, harmless), None);
        }
    }

    #[test]
    fn tokens_are_answered_to_who_gets_them_alone() {
        let secrets = Secrets::new();
        let grant = json!({ "access_token": JWT, "refresh_token": REFRESH_TOKEN }).to_string();
        let look = |path, head, body: &str| failure(|| secrets.look_at_answer(path, head, body));
        for path in GRANTING.map(Some).into_iter().chain([None]) {
            assert_eq!(look(path, "", &grant), None);
        }
        assert!(look(Some("/api/v1/users/me"), "", &grant).is_some());
        assert!(look(GRANTING.first().copied(), JWT, &grant).is_some());
        let path = format!("/x/{JWT}");
        let said = failure(|| secrets.look_at_answer(Some(&path), JWT, "")).unwrap();
        assert_eq!(said, "the answer to /x/ tells an access token after: ");
        // They are known from now on.
        assert!(look(Some("/elsewhere"), "", JWT).is_some());
        assert!(told(&secrets, JWT).unwrap().contains("an access token"));
        let digest = format!("{:?}", Sha256::digest(REFRESH_TOKEN).as_slice());
        assert!(told(&secrets, &digest).unwrap().contains("a refresh token"));

        let (query, password) = ("/api/v1/tasks?page=12345", json!({ "password": SECRET }));
        secrets.keep_request(query, None, Some(&password));
        let repeated = json!({ "instance": query }).to_string();
        assert_eq!(look(Some(query), "", &repeated), None);
        let said = look(Some(query), "", &password.to_string()).unwrap();
        assert!(
            said.starts_with("the answer to /api/v1/tasks tells a password after: "),
            "{said}"
        );
    }

    /// A service that gives every request this answer.
    fn fake(answer: String) -> (String, Arc<Secrets>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All that is asked.
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let length = answer.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all((head + &answer).as_bytes()).unwrap();
        });
        let secrets = Secrets::new();
        secrets.listen(&address);
        (address, secrets)
    }

    #[test]
    #[should_panic(expected = "the answer to /api/v1/auth/login tells a password")]
    fn a_client_notices_its_password_in_an_answer() {
        let (address, _secrets) = fake(json!({ "detail": format!("not {SECRET}") }).to_string());
        Client::new(&address).log_in("ada@example.com", SECRET);
    }

    #[test]
    #[should_panic(expected = "the answer to a request tells a password")]
    fn a_bare_socket_notices_its_password_in_an_answer() {
        let (address, _secrets) = fake(SECRET.to_owned());
        let body = json!({ "password": SECRET });
        let request = format!("POST / HTTP/1.1\r\nhost: test\r\n\r\n{body}");
        send_raw(&address, request.as_bytes());
    }

    #[test]
    #[should_panic(expected = "line 1 of standard output tells a password after: I know ")]
    fn a_run_whose_log_tells_a_secret_fails() {
        let leak = format!("echo 'I know {PASSWORD}'");
        Setup::new().before(&leak).start();
    }

    /// A span of this service's tells a password. It is sent before the end.
    fn tell_a_span(service: &Service) {
        let request = format!(
            "GET /api/v1/tasks HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
             user-agent: {PASSWORD}\r\n\r\n"
        );
        assert_eq!(send_raw(service.address(), request.as_bytes()).status, 401);
    }

    #[test]
    #[should_panic(expected = "a span tells a password")]
    fn a_run_whose_spans_tell_a_secret_fails() {
        let service = Setup::new()
            .with("OTEL_BSP_SCHEDULE_DELAY", "60000")
            .start();
        tell_a_span(&service);
    }

    #[test]
    #[should_panic(expected = "a span tells a password")]
    fn a_run_whose_spans_tell_the_collector_of_a_test_a_secret_fails() {
        let collector = Arc::new(Collector::start_grpc());
        let setup = Setup::new().with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        tell_a_span(&setup.traced_by(&collector).start());
    }

    #[test]
    #[should_panic(expected = "no span was delivered of 1 requests")]
    fn a_run_that_should_have_sent_spans_and_has_not_fails() {
        let service = Setup::new().with("OTEL_TRACES_EXPORTER", "none").start();
        service.client().get("/api/v1/tasks");
    }
}
