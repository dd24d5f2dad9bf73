//! An SMTP server that keeps what it gets, and can be told to misbehave.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::Sender as Acknowledge;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use mail_parser::decoders::base64::base64_decode;
use mail_parser::{Message, MessageParser};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::{free_port, listen};

/// How long mails are waited for: longer than whatever sends them waits before it tries again.
const PATIENCE: Duration = Duration::from_mins(1);

/// How the server's connections are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpEncryption {
    /// Not at all.
    None,
    /// From STARTTLS on, without which it takes no mail.
    StartTls,
    /// From the beginning.
    Tls,
}

/// What goes wrong. A connection that exists already is also met by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SmtpFault {
    /// Nothing.
    None,
    /// 421 instead of a greeting, or of any other answer.
    RefuseConnections,
    /// Connections are accepted, and nothing is said.
    Hang,
    /// The greeting comes late.
    GreetSlowly(Duration),
    /// The connection is closed after the final dot, without an answer; the mail is not kept.
    DropAfterData,
    /// 550 to this recipient.
    RejectRecipient(String),
    /// 451 to every recipient.
    TemporarilyReject,
}

/// A mail that the server has taken responsibility for.
#[derive(Clone, Debug)]
pub struct ReceivedMail {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// The message as it was before it was made fit for transport.
    pub data: Vec<u8>,
}

impl ReceivedMail {
    /// The text part, decoded.
    pub fn text(&self) -> String {
        self.message().body_text(0).unwrap().into_owned()
    }

    /// The HTML part, decoded.
    pub fn html(&self) -> String {
        self.message().body_html(0).unwrap().into_owned()
    }

    /// The first link in the text part.
    pub fn link(&self) -> String {
        let text = self.text();
        let mut words = text.split_whitespace();
        let link = words.find(|w| w.starts_with("http://") || w.starts_with("https://"));
        link.unwrap().to_owned()
    }

    /// The subject, decoded.
    pub fn subject(&self) -> String {
        self.message().subject().unwrap().to_owned()
    }

    /// Name and address of every recipient that the message names, decoded.
    pub fn recipients(&self) -> Vec<(Option<String>, String)> {
        let message = self.message();
        let recipients = message.to().unwrap().iter();
        recipients
            .map(|to| {
                let name = to.name().map(str::to_owned);
                (name, to.address().unwrap().to_owned())
            })
            .collect()
    }

    /// A field of the header as it was sent, if there is one.
    pub fn header(&self, name: &str) -> Option<String> {
        let message = self.message();
        message.header_raw(name).map(|raw| raw.trim().to_owned())
    }

    /// The names of all fields of the header.
    pub fn header_names(&self) -> Vec<String> {
        let message = self.message();
        let headers = message.headers().iter();
        headers.map(|header| header.name().to_owned()).collect()
    }

    fn message(&self) -> Message<'_> {
        MessageParser::default().parse(&self.data).unwrap()
    }
}

/// An SMTP server on 127.0.0.1, on a thread of its own. It ends when it is dropped.
pub struct SmtpServer {
    shared: Arc<Shared>,
    port: u16,
    commands: mpsc::UnboundedSender<(Command, Acknowledge<()>)>,
    authority: NamedTempFile,
}

/// What the server is told to do.
enum Command {
    Listen,
    Stop,
}

struct Shared {
    encryption: SmtpEncryption,
    acceptor: TlsAcceptor,
    /// User and password, without which no mail is taken.
    credentials: Option<(String, String)>,
    state: Mutex<State>,
    arrived: Condvar,
}

struct State {
    fault: SmtpFault,
    mails: Vec<ReceivedMail>,
    connections: usize,
    verbs: Vec<String>,
}

impl SmtpServer {
    /// A server that takes everybody's mail in the clear.
    pub fn start() -> Self {
        Self::start_with(SmtpEncryption::None, None)
    }

    /// A server with encryption, and with a user and a password that it asks for. Its certificate is
    /// made out to `localhost` and 127.0.0.1.
    pub fn start_with(encryption: SmtpEncryption, credentials: Option<(&str, &str)>) -> Self {
        let (acceptor, authority) = tls();
        let shared = Arc::new(Shared {
            encryption,
            acceptor,
            credentials: credentials.map(|(user, password)| (user.into(), password.into())),
            state: Mutex::new(State {
                fault: SmtpFault::None,
                mails: Vec::new(),
                connections: 0,
                verbs: Vec::new(),
            }),
            arrived: Condvar::new(),
        });
        let port = free_port();
        let (commands, received) = mpsc::unbounded_channel();
        let serving = serve(port, Arc::clone(&shared), received);
        std::thread::spawn(move || super::block_on(serving));
        let server = Self {
            shared,
            port,
            commands,
            authority,
        };
        server.tell(Command::Listen);
        server
    }

    /// Its port, the same over [`Self::stop`] and [`Self::restart`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that vouches for the server, as a PEM file.
    pub fn authority(&self) -> &Path {
        self.authority.path()
    }

    /// Has something go wrong from now on, or nothing any more.
    pub fn set_fault(&self, fault: SmtpFault) {
        self.shared.state.lock().unwrap().fault = fault;
    }

    /// Closes all connections and refuses new ones. What was received is kept.
    pub fn stop(&self) {
        self.tell(Command::Stop);
    }

    /// Listens again.
    pub fn restart(&self) {
        self.tell(Command::Listen);
    }

    /// All mails so far, the oldest first.
    pub fn mails(&self) -> Vec<ReceivedMail> {
        self.shared.state.lock().unwrap().mails.clone()
    }

    /// Blocks until so many mails have arrived; returns all that have. Gives up with a panic.
    pub fn wait_for_mails(&self, count: usize) -> Vec<ReceivedMail> {
        let state = self.shared.state.lock().unwrap();
        let (state, wait) = self
            .shared
            .arrived
            .wait_timeout_while(state, PATIENCE, |state| state.mails.len() < count)
            .unwrap();
        let arrived = state.mails.len();
        assert!(!wait.timed_out(), "{arrived} of {count} mails arrived");
        state.mails.clone()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// How many mails were begun.
    pub fn attempts(&self) -> usize {
        let verbs = self.verbs();
        verbs.iter().filter(|verb| *verb == "MAIL").count()
    }

    /// The first word of every command, in the order in which they came.
    pub fn verbs(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().verbs.clone()
    }

    /// Returns when it is done.
    fn tell(&self, command: Command) {
        let (done, wait) = std::sync::mpsc::channel();
        self.commands.send((command, done)).unwrap();
        wait.recv().unwrap();
    }
}

/// A certificate for this machine, and the PEM file of an authority that nobody else trusts.
fn tls() -> (TlsAcceptor, NamedTempFile) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let parameters = CertificateParams::new(names).unwrap();
    let certificate = parameters.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), file)
}

async fn serve(
    port: u16,
    shared: Arc<Shared>,
    mut commands: mpsc::UnboundedReceiver<(Command, Acknowledge<()>)>,
) {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let mut listener = None;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some((command, done)) = command else { return };
                match command {
                    Command::Listen => listener = Some(listen(address).await),
                    Command::Stop => {
                        listener = None;
                        connections.shutdown().await;
                    }
                }
                let _ = done.send(());
            }
            client = accept(listener.as_ref()) => {
                let Ok((client, _)) = client else { continue };
                let _ = client.set_nodelay(true);
                shared.state.lock().unwrap().connections += 1;
                // A client may hang up whenever it likes.
                connections.spawn(converse(client, Arc::clone(&shared)));
            }
        }
    }
}

/// The next connection; none comes where nobody listens.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One client's line.
struct Line {
    stream: BufReader<Box<dyn Stream>>,
    shared: Arc<Shared>,
}

async fn converse(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let fault = shared.state.lock().unwrap().fault.clone();
    let acceptor = shared.acceptor.clone();
    let encrypted = shared.encryption == SmtpEncryption::Tls;
    let stream: Box<dyn Stream> = if encrypted && fault != SmtpFault::Hang {
        Box::new(acceptor.accept(client).await?)
    } else {
        Box::new(client)
    };
    let mut line = Line {
        stream: BufReader::new(stream),
        shared,
    };
    if let SmtpFault::GreetSlowly(pause) = fault {
        tokio::time::sleep(pause).await;
    }
    if !line.is_well().await? {
        return Ok(());
    }
    line.say("220 localhost ESMTP").await?;
    if line.session(encrypted).await? {
        let mut stream = line.stream.into_inner();
        stream.flush().await?;
        line.stream = BufReader::new(Box::new(acceptor.accept(stream).await?));
        line.session(true).await?;
    }
    Ok(())
}

impl Line {
    /// Answers commands until the client is to leave, or wants to go on encrypted.
    async fn session(&mut self, encrypted: bool) -> io::Result<bool> {
        let credentials = self.shared.credentials.clone();
        let clear_is_fine = self.shared.encryption == SmtpEncryption::None;
        let mut signed_in = credentials.is_none();
        let mut from = None;
        let mut to = Vec::new();
        while let Some(command) = self.read().await? {
            let (verb, rest) = command.split_once(' ').unwrap_or((&command, ""));
            let verb = verb.to_ascii_uppercase();
            self.shared.state.lock().unwrap().verbs.push(verb.clone());
            if !self.is_well().await? {
                break;
            }
            let answer = match verb.as_str() {
                "EHLO" => {
                    self.say("250-localhost").await?;
                    if encrypted || clear_is_fine {
                        if credentials.is_some() {
                            self.say("250-AUTH PLAIN LOGIN").await?;
                        }
                    } else {
                        self.say("250-STARTTLS").await?;
                    }
                    "250 ENHANCEDSTATUSCODES"
                }
                "STARTTLS" if !encrypted && !clear_is_fine => {
                    self.say("220 2.0.0 go ahead").await?;
                    return Ok(true);
                }
                "AUTH" => {
                    let given = self.authenticate(rest).await?;
                    signed_in = given.is_some() && given == credentials;
                    if signed_in {
                        "235 2.7.0 welcome"
                    } else {
                        "535 5.7.8 wrong user or password"
                    }
                }
                "MAIL" if !encrypted && !clear_is_fine => "530 5.7.0 STARTTLS first",
                "MAIL" if !signed_in => "530 5.7.0 authentication required",
                "MAIL" => {
                    from = Some(address(rest));
                    to.clear();
                    "250 2.1.0 ok"
                }
                "RCPT" if from.is_none() => "503 5.5.1 MAIL first",
                "RCPT" if self.fault() == SmtpFault::TemporarilyReject => {
                    "451 4.7.1 try again later"
                }
                "RCPT" if self.fault() == SmtpFault::RejectRecipient(address(rest)) => {
                    "550 5.1.1 nobody of that name"
                }
                "RCPT" => {
                    to.push(address(rest));
                    "250 2.1.5 ok"
                }
                "DATA" if to.is_empty() => "503 5.5.1 RCPT first",
                "DATA" => {
                    self.say("354 end with a dot").await?;
                    let Some(data) = self.read_data().await? else {
                        break;
                    };
                    if self.fault() == SmtpFault::DropAfterData || !self.is_well().await? {
                        break;
                    }
                    self.keep(ReceivedMail {
                        from: from.take().unwrap(),
                        to: std::mem::take(&mut to),
                        data,
                    });
                    "250 2.0.0 taken"
                }
                "RSET" => {
                    from = None;
                    to.clear();
                    "250 2.0.0 ok"
                }
                "NOOP" => "250 2.0.0 ok",
                "QUIT" => {
                    self.say("221 2.0.0 bye").await?;
                    break;
                }
                _ => "502 5.5.1 unknown command",
            };
            self.say(answer).await?;
        }
        Ok(false)
    }

    /// User and password, where they can be read.
    async fn authenticate(&mut self, parameters: &str) -> io::Result<Option<(String, String)>> {
        let mut parameters = parameters.split(' ');
        let mechanism = parameters.next().unwrap_or_default();
        let initial = parameters.next().map(str::to_owned);
        if mechanism.eq_ignore_ascii_case("LOGIN") {
            let user = match initial {
                Some(user) => user,
                None => self.ask("334 VXNlcm5hbWU6").await?,
            };
            let password = self.ask("334 UGFzc3dvcmQ6").await?;
            return Ok(decoded(&user).zip(decoded(&password)));
        }
        let response = match initial {
            Some(response) => response,
            None => self.ask("334 ").await?,
        };
        // RFC 4616: whom to act for, NUL, user, NUL, password.
        let plain = decoded(&response);
        let mut parts = plain.iter().flat_map(|plain| plain.split('\0')).skip(1);
        Ok(parts
            .next()
            .map(str::to_owned)
            .zip(parts.next().map(str::to_owned)))
    }

    async fn ask(&mut self, question: &str) -> io::Result<String> {
        self.say(question).await?;
        Ok(self.read().await?.unwrap_or_default())
    }

    /// The lines up to the final dot, without the dots that were added for transport.
    async fn read_data(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut data = Vec::new();
        loop {
            let start = data.len();
            if self.stream.read_until(b'\n', &mut data).await? == 0 {
                return Ok(None);
            }
            if data.get(start) == Some(&b'.') {
                data.remove(start);
                if data.get(start..) == Some(b"\r\n") {
                    data.truncate(start);
                    return Ok(Some(data));
                }
            }
        }
    }

    /// A line without its end, or none where the client is gone.
    async fn read(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await?;
        Ok((read > 0).then(|| line.trim_end().to_owned()))
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\r\n");
        self.stream.write_all(line.as_bytes()).await?;
        self.stream.flush().await
    }

    /// Before the answer, so that a client that has it finds the mail here.
    fn keep(&self, mail: ReceivedMail) {
        self.shared.state.lock().unwrap().mails.push(mail);
        self.shared.arrived.notify_all();
    }

    fn fault(&self) -> SmtpFault {
        self.shared.state.lock().unwrap().fault.clone()
    }

    /// Whether the server answers at all.
    async fn is_well(&mut self) -> io::Result<bool> {
        match self.fault() {
            SmtpFault::RefuseConnections => {
                self.say("421 4.3.2 try again later").await?;
                Ok(false)
            }
            SmtpFault::Hang => {
                let mut ignored = [0; 1024];
                while self.stream.read(&mut ignored).await? > 0 {}
                Ok(false)
            }
            SmtpFault::None
            | SmtpFault::GreetSlowly(_)
            | SmtpFault::DropAfterData
            | SmtpFault::RejectRecipient(_)
            | SmtpFault::TemporarilyReject => Ok(true),
        }
    }
}

/// The address between the angle brackets.
fn address(parameters: &str) -> String {
    let start = parameters.find('<').map_or(0, |at| at + 1);
    let end = parameters.rfind('>').unwrap_or(parameters.len());
    parameters.get(start..end).unwrap_or_default().to_owned()
}

fn decoded(base64: &str) -> Option<String> {
    String::from_utf8(base64_decode(base64.as_bytes())?).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpStream;

    use super::*;

    /// A client that says lines and gets an answer to each.
    struct Client(BufReader<TcpStream>);

    impl Client {
        fn connect(server: &SmtpServer) -> Self {
            let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
            let mut client = Self(BufReader::new(stream));
            assert_eq!(client.answer(), "220 localhost ESMTP");
            client
        }

        fn say(&mut self, line: &str) -> String {
            let line = format!("{line}\r\n");
            self.0.get_mut().write_all(line.as_bytes()).unwrap();
            self.answer()
        }

        /// The last line of an answer; empty where the server hangs up.
        fn answer(&mut self) -> String {
            let mut line = String::new();
            while self.0.read_line(&mut line).unwrap() > 0 && line.get(3..4) == Some("-") {
                line.clear();
            }
            line.trim_end().to_owned()
        }

        fn code(&mut self, line: &str) -> String {
            self.say(line).chars().take(3).collect()
        }
    }

    #[test]
    fn a_mail_is_kept_as_it_was_before_transport() {
        let server = SmtpServer::start();
        let mut client = Client::connect(&server);
        for (line, code) in [
            ("EHLO test", "250"),
            ("RCPT TO:<ada@example.com>", "503"),
            ("MAIL FROM:<lost@example.com>", "250"),
            ("DATA", "503"),
            ("RCPT TO:<lost@example.com>", "250"),
            ("RSET", "250"),
            ("DATA", "503"),
            ("NOOP", "250"),
            ("STARTTLS", "502"),
            ("mail from:<tasks@example.com>", "250"),
            ("RCPT TO:<ada@example.com>", "250"),
            ("RCPT TO:<bob@example.com>", "250"),
            ("DATA", "354"),
            (
                "Subject: dots\r\n\r\n..\r\n...https\r\nsee https://example.com/?a=b here\r\n.",
                "250",
            ),
            ("QUIT", "221"),
        ] {
            assert_eq!(client.code(line), code, "{line}");
        }
        assert_eq!(client.answer(), "");
        let mails = server.wait_for_mails(1);
        let [mail] = &mails[..] else {
            panic!("{mails:?}");
        };
        assert_eq!(mail.from, "tasks@example.com");
        assert_eq!(mail.to, ["ada@example.com", "bob@example.com"]);
        assert_eq!(
            mail.data,
            b"Subject: dots\r\n\r\n.\r\n..https\r\nsee https://example.com/?a=b here\r\n"
        );
        assert_eq!(mail.subject(), "dots");
        assert_eq!(mail.link(), "https://example.com/?a=b");
        assert_eq!((server.connections(), server.attempts()), (1, 2));
    }

    #[test]
    fn both_ways_to_sign_in_want_the_right_password() {
        // ada, right; ada, wrong; and both as PLAIN.
        let (ada, right, wrong) = ("YWRh", "cmlnaHQ=", "d3Jvbmc=");
        let (plain, plain_wrong) = ("AGFkYQByaWdodA==", "AGFkYQB3cm9uZw==");
        for (lines, code) in [
            (vec![format!("AUTH PLAIN {plain}")], "235"),
            (vec!["AUTH PLAIN".into(), plain.into()], "235"),
            (vec!["AUTH LOGIN".into(), ada.into(), right.into()], "235"),
            (vec![format!("AUTH LOGIN {ada}"), right.into()], "235"),
            (vec![format!("AUTH PLAIN {plain_wrong}")], "535"),
            (vec!["AUTH LOGIN".into(), ada.into(), wrong.into()], "535"),
            (vec!["AUTH PLAIN nonsense".into()], "535"),
        ] {
            let server = SmtpServer::start_with(SmtpEncryption::None, Some(("ada", "right")));
            let mut client = Client::connect(&server);
            client.say("EHLO test");
            assert_eq!(client.code("MAIL FROM:<tasks@example.com>"), "530");
            let codes: Vec<_> = lines.iter().map(|line| client.code(line)).collect();
            assert_eq!(codes.last().unwrap(), code, "{lines:?}");
            let taken = if code == "235" { "250" } else { "530" };
            assert_eq!(client.code("MAIL FROM:<tasks@example.com>"), taken);
        }
    }

    #[test]
    fn mail_in_the_clear_is_not_taken_where_it_should_be_encrypted() {
        let server = SmtpServer::start_with(SmtpEncryption::StartTls, None);
        let mut client = Client::connect(&server);
        client.say("EHLO test");
        assert_eq!(client.code("MAIL FROM:<tasks@example.com>"), "530");
    }

    #[test]
    fn a_stopped_server_hangs_up_and_comes_back_on_its_port() {
        let server = SmtpServer::start();
        let mut client = Client::connect(&server);
        server.stop();
        assert_eq!(client.answer(), "");
        TcpStream::connect(("127.0.0.1", server.port())).unwrap_err();
        server.restart();
        Client::connect(&server);
    }
}
