//! A service that gives its mails to an SMTP server, and the links that come by them.

use tasks_testkit::servers::{ReceivedMail, SmtpServer};

use super::{Service, Setup};

impl Setup {
    /// Mails go to this server, in the clear. Every start has the same key, on every store.
    pub(crate) fn mailing_to(self, server: &SmtpServer) -> Self {
        self.with("JWT_SECRET_KEY", &"k".repeat(32))
            .with("EMAIL_BACKEND", "smtp")
            .with("SMTP_HOST", "127.0.0.1")
            .with("SMTP_PORT", &server.port().to_string())
            .with("SMTP_TLS", "none")
            .with("SMTP_FROM", "Tasks <tasks@example.com>")
    }
}

impl Service {
    /// How many mails `/metrics` has counted with this outcome.
    pub(crate) fn mails(&self, outcome: &str) -> usize {
        let label = format!("outcome=\"{outcome}\"");
        let metrics = self.metrics();
        let counted = metrics
            .iter()
            .filter(|line| line.starts_with("emails_total{") && line.contains(&label))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
        counted.sum()
    }

    /// Why mails could not be sent, by the log: of those that wait, or of those that are given up.
    pub(crate) fn mail_troubles(&self, given_up: bool) -> Vec<String> {
        let (level, what) = if given_up {
            ("ERROR", "a mail could not be sent, and is given up")
        } else {
            ("WARN", "a mail could not be sent, and will be tried again")
        };
        let log = self.log();
        let lines = log
            .iter()
            .filter(|line| line["level"] == level && line["message"] == what);
        lines
            .map(|line| line["error"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// The token of a mail's link.
pub(crate) fn token(mail: &ReceivedMail) -> String {
    let link = mail.link();
    link.split_once("?token=").expect(&link).1.to_owned()
}
