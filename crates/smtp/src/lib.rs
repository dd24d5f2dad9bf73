//! Mailers: the console mailer of development.

mod console_mailer;
mod links;

pub use console_mailer::ConsoleMailer;
