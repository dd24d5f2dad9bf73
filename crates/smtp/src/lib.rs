//! Mailers: the console mailer of development.
