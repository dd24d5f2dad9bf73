//! Mail that goes out by SMTP.

use std::error::Error as _;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use lettre::address::AddressError;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, Tls, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Severity;
use lettre::{Address, Message};
use secrecy::{ExposeSecret, SecretString};
use tasks_domain::BoxError;
use tasks_domain::mail::{DeliveryService, Mail, MailError, Mailer};
use tokio::time::timeout;
use url::Url;

use crate::connections::Connections;
use crate::letter::{Content, Letter, greeted, hours};
use crate::links::Links;

/// How long connecting to one address of the mail server may take: short, so that a host whose first
/// address is out of reach is reached by its second within [`STEP`].
const CONNECT: Duration = Duration::from_secs(4);

/// How long a step of the dialogue may take. Servers that make strangers wait on purpose take some
/// seconds; more is not worth waiting for, since the mail is tried again.
const STEP: Duration = Duration::from_secs(10);

/// How to reach a mail server, and in whose name.
#[derive(Clone, Debug)]
pub struct SmtpOptions {
    /// Its name or address, which its certificate must be made out to.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: SmtpTls,
    /// User and password, where it wants any.
    pub credentials: Option<(String, SecretString)>,
    /// Whose mails they are.
    pub from: Sender,
}

/// How a connection to a mail server is encrypted. What is configured is required: there is no
/// falling back to a connection in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpTls {
    /// Not at all: for a server on the same machine.
    None,
    /// From the command STARTTLS on, as on port 587.
    StartTls,
    /// From the beginning, as on port 465.
    Tls,
}

/// Whose mails they are: `tasks@example.com` or `Tasks <tasks@example.com>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(Mailbox);

impl FromStr for Sender {
    type Err = SmtpError;

    fn from_str(raw: &str) -> Result<Self, SmtpError> {
        let mailbox: Mailbox = raw.parse().map_err(SmtpError::Sender)?;
        // Not every mail server takes others, and none of them need to be used.
        let ascii = AsRef::<str>::as_ref(&mailbox.email).is_ascii();
        ascii
            .then_some(Self(mailbox))
            .ok_or(SmtpError::Sender(AddressError::InvalidInput))
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why there is no mailer.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// The sender is none.
    #[error("not an e-mail address like `tasks@example.com` or `Tasks <tasks@example.com>`")]
    Sender(#[source] AddressError),
    /// The system has no root certificates to judge the server's by.
    #[error("TLS cannot be used")]
    Tls(#[source] smtp::Error),
}

/// Sends mails by way of a mail server.
pub struct SmtpMailer {
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    /// What it calls itself towards the server.
    name: ClientId,
    from: Mailbox,
    links: Links,
    /// What the service calls itself towards people.
    service: String,
    connections: Connections,
}

impl SmtpMailer {
    /// Sends by this server mails whose links lie below `public_url`. Nothing is connected yet.
    pub fn new(options: SmtpOptions, public_url: &Url) -> Result<Self, SmtpError> {
        Self::trusting(options, public_url, None)
    }

    /// Trusts another root certificate besides those of the system.
    fn trusting(
        options: SmtpOptions,
        public_url: &Url,
        root: Option<Certificate>,
    ) -> Result<Self, SmtpError> {
        let parameters = |host: &str| -> Result<TlsParameters, SmtpError> {
            let mut builder = TlsParametersBuilder::new(host.to_owned());
            if let Some(root) = root {
                builder = builder.add_root_certificate(root);
            }
            builder.build().map_err(SmtpError::Tls)
        };
        let tls = match options.tls {
            SmtpTls::None => Tls::None,
            SmtpTls::StartTls => Tls::Required(parameters(&options.host)?),
            SmtpTls::Tls => Tls::Wrapper(parameters(&options.host)?),
        };
        let credentials = options
            .credentials
            .map(|(user, password)| Credentials::new(user, password.expose_secret().to_owned()));
        let host = public_url.host_str().unwrap_or_default();
        Ok(Self {
            host: options.host,
            port: options.port,
            tls,
            credentials,
            name: ClientId::default(),
            from: options.from.0,
            links: Links::new(public_url),
            service: public_url
                .port()
                .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            connections: Connections::default(),
        })
    }

    /// The mail's bytes.
    fn compose(&self, mail: &Mail, to: Address) -> Result<Vec<u8>, BoxError> {
        let name = greeted(&mail.name);
        let content = Content {
            name,
            service: &self.service,
            link: &self.links.of(mail),
            lifetime: &hours(mail.kind.token_ttl()),
        };
        let letter = Letter::new(mail.kind, content)?;
        // The same at every attempt, so that a mail that arrives twice can be seen to be one.
        let id = format!("<{}@{}>", mail.id.uuid(), self.from.email.domain());
        // So that nobody's absence note is sent in reply (RFC 3834).
        let automatic = HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        );
        let message = Message::builder()
            .message_id(Some(id))
            .date_now()
            .from(self.from.clone())
            .to(Mailbox::new(name.map(str::to_owned), to))
            .subject(letter.subject)
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))?;
        Ok(message.formatted())
    }

    async fn attempt(&self, to: Address, message: &[u8]) -> Result<(), MailError> {
        let mut connection = self.begin().await?;
        step("RCPT", connection.command(Rcpt::new(to, Vec::new())))
            .await
            .map_err(StepError::about_recipient)?;
        step("DATA", connection.command(Data)).await?;
        // The answer may take what is left of the attempt: who has sent all and hangs up before it
        // may have the mail sent twice.
        let answer = connection.message(message).await;
        let answer = answer.map_err(|error| StepError::Failed("message", error).about_message())?;
        // lettre also takes 354 for consent, which is the answer to DATA.
        if answer.code().severity != Severity::PositiveCompletion {
            return Err(StepError::OutOfStep.into());
        }
        self.connections.keep(connection);
        Ok(())
    }

    /// A connection on which a mail has begun: one that was kept, if its server still wants it. To
    /// begin a mail is to ask that.
    async fn begin(&self) -> Result<AsyncSmtpConnection, StepError> {
        let begin = || MailFrom::new(Some(self.from.email.clone()), Vec::new());
        while let Some(mut kept) = self.connections.take() {
            if step("MAIL", kept.command(begin())).await.is_ok() {
                return Ok(kept);
            }
        }
        let mut connection = self.connect().await?;
        step("MAIL", connection.command(begin())).await?;
        Ok(connection)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, StepError> {
        let wrapper = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters.clone()),
            Tls::None | Tls::Opportunistic(_) | Tls::Required(_) => None,
        };
        let connecting = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            Some(CONNECT),
            &self.name,
            wrapper,
            None,
        );
        let mut connection = step("connect", connecting).await?;
        if let Tls::Required(parameters) = &self.tls {
            let upgrading = connection.starttls(parameters.clone(), &self.name);
            step("STARTTLS", upgrading).await?;
        }
        if let Some(credentials) = &self.credentials {
            step("AUTH", connection.auth(DEFAULT_MECHANISMS, credentials)).await?;
        }
        Ok(connection)
    }
}

impl fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpMailer")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        // What no server could be told.
        let to: Address = mail
            .to
            .as_str()
            .parse()
            .map_err(|error: AddressError| MailError::Refused(error.into()))?;
        let message = self
            .compose(mail, to.clone())
            .map_err(MailError::Unavailable)?;
        timeout(DeliveryService::ATTEMPT, self.attempt(to, &message))
            .await
            .unwrap_or_else(|elapsed| Err(MailError::Unavailable(elapsed.into())))
    }
}

/// Waits for a step of the dialogue.
async fn step<T>(
    name: &'static str,
    answer: impl Future<Output = Result<T, smtp::Error>>,
) -> Result<T, StepError> {
    match timeout(STEP, answer).await {
        Ok(answer) => answer.map_err(|error| StepError::Failed(name, error)),
        Err(_) => Err(StepError::Silence(name)),
    }
}

/// Why a step of the dialogue failed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    /// lettre's text says the cause too.
    #[error("{0}: {1}")]
    Failed(&'static str, smtp::Error),
    #[error("{0}: no answer within {seconds} s", seconds = STEP.as_secs())]
    Silence(&'static str),
    #[error("message: an answer to something else")]
    OutOfStep,
}

impl StepError {
    /// Judges the answer to the recipient's address.
    fn about_recipient(self) -> MailError {
        self.judged(&[550, 551, 553, 556])
    }

    /// Judges the answer to the message itself. Its bare codes speak of anything.
    fn about_message(self) -> MailError {
        self.judged(&[])
    }

    /// Whether it is about the recipient, and for good. An enhanced status code (RFC 3463) says more
    /// than the bare one, for which servers also use 550 to say that they do not serve us. Where in
    /// doubt it is not: an operator's mistake must not cost mails.
    fn judged(self, bare_codes: &[u16]) -> MailError {
        let refused = match &self {
            Self::Failed(_, error) if error.is_permanent() => match enhanced_code(error) {
                // The sender's address (5.1.7, 5.1.8) is ours to put right.
                Some([5, 1, detail]) => !matches!(detail, 7 | 8),
                Some(enhanced) => enhanced == [5, 2, 1],
                None => error
                    .status()
                    .is_some_and(|code| bare_codes.contains(&code.into())),
            },
            Self::Failed(..) | Self::Silence(_) | Self::OutOfStep => false,
        };
        if refused {
            MailError::Refused(self.into())
        } else {
            self.into()
        }
    }
}

/// Where nothing else is said, trying again may help: the operator may put it right meanwhile.
impl From<StepError> for MailError {
    fn from(error: StepError) -> Self {
        Self::Unavailable(error.into())
    }
}

/// The enhanced status code that an answer's text begins with.
fn enhanced_code(error: &smtp::Error) -> Option<[u16; 3]> {
    let text = error.source()?.to_string();
    let numbers = text.split_whitespace().next()?.split('.');
    let numbers: Result<Vec<u16>, _> = numbers.map(str::parse).collect();
    numbers.ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
