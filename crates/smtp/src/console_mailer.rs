//! Mail that goes to the log.

use async_trait::async_trait;
use tasks_domain::mail::{Mail, MailError, Mailer};
use url::Url;

use crate::links::Links;

/// Writes each mail to the log, as one line at INFO with `mail_kind`, `mail_to` and `mail_url`.
///
/// The link holds a token that lets its reader in: this is for development, and the only place
/// where a token gets into the log.
#[derive(Debug)]
pub struct ConsoleMailer {
    links: Links,
}

impl ConsoleMailer {
    /// The links in its mails lie below `public_url`.
    pub fn new(public_url: &Url) -> Self {
        Self {
            links: Links::new(public_url),
        }
    }
}

#[async_trait]
impl Mailer for ConsoleMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        tracing::info!(
            mail_kind = mail.kind.as_str(),
            mail_to = mail.to.as_str(),
            mail_url = self.links.of(mail),
            "mail"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tasks_domain::account::{Email, FullName};
    use tasks_domain::mail::MailKind;
    use tasks_testkit::build::id;

    use super::*;

    const TOKEN: &str = "tHe-t0ken_of_43_url_safe_characters_________";

    fn mail(kind: MailKind) -> Mail {
        Mail {
            id: id(),
            kind,
            to: Email::parse("ada@example.com").unwrap(),
            name: FullName::parse("Ada Lovelace").unwrap(),
            token: TOKEN.into(),
            cause: None,
        }
    }

    fn mailer(public_url: &str) -> ConsoleMailer {
        ConsoleMailer::new(&Url::parse(public_url).unwrap())
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that are logged meanwhile, at any level.
    async fn logged(during: impl Future<Output = ()>) -> Vec<Value> {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        during.await;
        drop(guard);
        let bytes = written.0.lock().unwrap();
        let lines = str::from_utf8(&bytes).unwrap().lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn a_mail_is_one_line_with_the_link() {
        for (kind, page) in [
            (MailKind::VerifyEmail, "verify-email"),
            (MailKind::ResetPassword, "reset-password"),
        ] {
            let mailer = mailer("https://tasks.example.com");
            let lines = logged(async { mailer.send(&mail(kind)).await.unwrap() }).await;
            let [line] = &lines[..] else {
                panic!("{lines:?}");
            };
            assert_eq!(line["level"], "INFO");
            assert_eq!(
                line["fields"],
                json!({
                    "message": "mail",
                    "mail_kind": kind.as_str(),
                    "mail_to": "ada@example.com",
                    "mail_url": format!("https://tasks.example.com/{page}?token={TOKEN}"),
                })
            );
        }
    }

    #[test]
    fn neither_a_mail_nor_the_mailer_prints_a_token() {
        let mailer = mailer("https://tasks.example.com");
        let mail = mail(MailKind::VerifyEmail);
        assert!(!format!("{mail:?} {mailer:?}").contains(TOKEN));
    }
}
