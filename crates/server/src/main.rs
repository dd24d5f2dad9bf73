//! `task-api`: the task service as one program.
//!
//! This crate is the only one that knows all others. It reads the [`config`]uration, sets up the
//! [`logs`], and then does what its sub-command says.

mod config;
mod failure;
mod healthcheck;
mod housekeeping;
mod logs;
mod mails;
mod metrics;
mod migrate;
mod secret_key;
mod security_log;
mod serve;
mod shutdown;
mod store;
mod telemetry;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use config::Config;
use failure::Failure;
use migrate::Direction;

/// Task management over HTTP. Configured by environment variables: see `task-api config`.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// Serve the API, until SIGTERM or SIGINT (the default)
    Serve,
    /// Bring the database's schema up to date, or one step back, or tell how it stands
    Migrate {
        #[arg(value_enum, default_value_t)]
        direction: Direction,
    },
    /// Remove what is over: expired sessions and tokens, dead mails, long deleted tasks; `serve` does
    /// so by itself
    Cleanup,
    /// Print the OpenAPI document
    Openapi,
    /// Ask the service that runs here whether it is ready; for containers
    Healthcheck,
    /// Print the effective configuration, without secrets
    Config {
        /// Print `.env.example` instead: every variable with its rule and its default
        #[arg(long)]
        example: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command.unwrap_or(Command::Serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where standard error is closed, the exit status still tells.
            writeln!(io::stderr(), "{failure}").ok();
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    let config = || Config::load(io::stdout().is_terminal());
    match command {
        Command::Serve => serve::serve(&config()?),
        Command::Migrate { direction } => print(&migrate::migrate(&config()?, direction)?),
        Command::Cleanup => print(&housekeeping::cleanup(&config()?)?),
        Command::Openapi => print(&tasks_http::openapi_json()),
        Command::Healthcheck => print(&healthcheck::healthcheck(&config()?)?),
        Command::Config { example: true } => print(&config::example()),
        Command::Config { example: false } => print(&config()?.listing()),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // Who closes the pipe has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output", &error))
        }
        Err(_) | Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn migrate_goes_up_unless_told_otherwise() {
        for (arguments, expected) in [
            (&["task-api", "migrate"][..], Direction::Up),
            (&["task-api", "migrate", "up"], Direction::Up),
            (&["task-api", "migrate", "down"], Direction::Down),
            (&["task-api", "migrate", "status"], Direction::Status),
        ] {
            let command = Cli::try_parse_from(arguments).unwrap().command;
            assert!(
                matches!(command, Some(Command::Migrate { direction }) if direction == expected)
            );
        }
    }
}
