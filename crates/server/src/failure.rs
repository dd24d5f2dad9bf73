//! Why the process ends before its time: one line for a person, one status for a program.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;

/// `EX_CONFIG` of `sysexits.h`.
const CONFIG_STATUS: u8 = 78;

/// Why the process ends before its time.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong, one line for each variable.
    Config(ConfigError),
    /// Anything else, in one line.
    Other(String),
}

impl Failure {
    /// What went wrong, and why.
    pub(crate) fn new(what: &str, error: &dyn Error) -> Self {
        Self::Other(format!("{what}: {}", Self::causes(error)))
    }

    /// An error and what it stems from.
    pub(crate) fn causes(error: &dyn Error) -> String {
        match error.source() {
            Some(source) => format!("{error}: {}", Self::causes(source)),
            None => error.to_string(),
        }
    }

    /// The status of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(CONFIG_STATUS),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Other(line) => f.write_str(&line.replace(char::is_control, " ")),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_failure_is_one_line_with_all_causes() {
        let error = Outer(std::io::Error::other("first\nsecond"));
        let failure = Failure::new("cannot start", &error);
        assert_eq!(failure.to_string(), "cannot start: outer: first second");
    }
}
