//! What traces say of a command: never its keys and values.

use std::fmt;

use deadpool_redis::redis::{ConnectionAddr, ConnectionInfo};
use tracing::Span;
use tracing::field::Empty;

use crate::store::Failure;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    name: &'static str,
    /// What the script is called here, if one is run. Where Redis does not know the script, sending
    /// it belongs to the command.
    script: Option<&'static str>,
}

impl Command {
    pub(crate) const UNLINK: Self = Self {
        name: "UNLINK",
        script: None,
    };

    pub(crate) const fn script(name: &'static str) -> Self {
        Self {
            name: "EVALSHA",
            script: Some(name),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.script.map_or(Ok(()), |script| write!(f, " {script}"))
    }
}

/// Where it is sent.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    port: Option<u16>,
    database: String,
}

impl Server {
    pub(crate) fn of(target: &ConnectionInfo) -> Self {
        let (address, port) = match target.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (host.clone(), Some(*port))
            }
            path @ (ConnectionAddr::Unix(_) | _) => (path.to_string(), None),
        };
        Self {
            address,
            port,
            database: target.redis_settings().db().to_string(),
        }
    }

    /// The span of a command that is sent there.
    pub(crate) fn span(&self, command: Command) -> Span {
        tracing::debug_span!(
            "redis command",
            otel.kind = "client",
            otel.name = %command,
            otel.status_code = Empty,
            error.type = Empty,
            db.system.name = "redis",
            db.operation.name = command.name,
            db.stored_procedure.name = command.script,
            db.namespace = self.database,
            db.response.status_code = Empty,
            server.address = self.address,
            server.port = self.port,
        )
    }
}

/// Marks the span of a command that failed. The caller's is not: requests go on without Redis.
pub(crate) fn mark(span: &Span, failure: &Failure) {
    let (kind, code) = match failure {
        Failure::Late(_) => ("timeout", None),
        Failure::Redis(error) => match error.code() {
            Some(code) => (code, Some(code)),
            None if error.is_timeout() => ("timeout", None),
            None if error.is_io_error() => ("connection", None),
            None => ("response", None),
        },
        Failure::Open | Failure::Closed => ("closed", None),
    };
    span.record("otel.status_code", "ERROR");
    span.record("error.type", kind);
    span.record("db.response.status_code", code);
}
