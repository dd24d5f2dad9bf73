//! Mailers: SMTP, and the console mailer of development.

mod connections;
mod console_mailer;
mod letter;
mod links;
mod smtp_mailer;

pub use console_mailer::ConsoleMailer;
pub use smtp_mailer::{Sender, SmtpError, SmtpMailer, SmtpOptions, SmtpTls};
