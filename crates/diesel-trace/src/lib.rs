//! A trace span for every statement that Diesel runs: what both stores have in common.
//!
//! A span names a statement's operation and its table, `SELECT tasks`, and never a value. Where nobody
//! traces, not even the statement's text is made.

mod statement;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diesel::connection::{DebugQuery, Instrumentation, InstrumentationEvent};
use diesel::result::{DatabaseErrorKind, Error};
use tracing::field::Empty;
use tracing::{Level, Span, span};

use statement::Statement;

/// What traces call an error of which Diesel does not say more.
const DATABASE_ERROR: &str = "database_error";

/// Set on a connection, it makes a span of each statement: a child of the span that is entered when
/// the statement begins, which tells callers apart that share a connection. Clones know the same spans.
#[derive(Clone)]
pub struct StatementSpans {
    system: &'static str,
    open: Open,
}

/// The open spans of a connection, by caller.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<Caller, Spans>>>);

/// The span that is entered: the use case's.
type Caller = Option<span::Id>;

#[derive(Default)]
struct Spans {
    /// Of statements that have not ended, in the order in which they began.
    under_way: VecDeque<(Statement, Span)>,
    /// Of the statement that ended last. It stays open until something else begins, since Diesel says
    /// that a query has ended before it reads the rows, in whose place an error may come.
    last: Option<Span>,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<Caller, Spans>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_last(&self, caller: &Caller) -> Option<Span> {
        self.lock().get_mut(caller)?.last.take()
    }
}

fn caller() -> Caller {
    Span::current().id()
}

fn is_traced() -> bool {
    tracing::level_enabled!(Level::DEBUG)
}

impl StatementSpans {
    /// Spans of a system: `postgresql`, `sqlite`.
    pub fn new(system: &'static str) -> Self {
        Self {
            system,
            open: Open::default(),
        }
    }

    fn begin(&self, query: &dyn DebugQuery) {
        let caller = caller();
        drop(self.open.take_last(&caller));
        if let Some(begun) = open(self.system, query) {
            let mut open = self.open.lock();
            open.entry(caller).or_default().under_way.push_back(begun);
        }
    }

    /// Answers come in order, but a statement that has to be prepared first may be overtaken.
    fn finish(&self, query: &dyn DebugQuery, error: Option<&Error>) {
        let mut open = self.open.lock();
        let Some(open) = open.get_mut(&caller()) else {
            return;
        };
        let first = match open.under_way.len() {
            0 => return,
            1 => 0,
            _ => {
                let ended = Statement::of(query);
                let mut statements = open.under_way.iter().map(|(statement, _)| statement);
                statements.position(|begun| *begun == ended).unwrap_or(0)
            }
        };
        let ended = open.under_way.remove(first).map(|(_, span)| span);
        if let (Some(span), Some(error)) = (&ended, error) {
            fail(span, error);
        }
        open.last = ended.filter(|_| error.is_none());
    }
}

impl Instrumentation for StatementSpans {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        // Where nobody traces, a comparison is all that a statement pays.
        if !is_traced() {
            return;
        }
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            self.begin(query);
        } else if let InstrumentationEvent::FinishQuery { query, error, .. } = event {
            self.finish(query, error);
        }
    }
}

/// What one caller does with a connection. When it ends, so do the spans of statements that were
/// given up: the next caller's trace does not inherit them.
pub struct UnitOfWork(Option<(Open, Caller)>);

impl UnitOfWork {
    /// Begins on a connection, if that has [`StatementSpans`] and anybody traces.
    pub fn on(instrumentation: &dyn Instrumentation) -> Self {
        if !is_traced() {
            return Self(None);
        }
        let spans = instrumentation.downcast_ref::<StatementSpans>();
        Self(spans.map(|spans| (spans.open.clone(), caller())))
    }

    /// The database refused: unless that is said of a statement already, it befell the last one.
    pub fn fail(&self) {
        let Some((open, caller)) = &self.0 else {
            return;
        };
        if let Some(span) = open.take_last(caller) {
            mark(&span, DATABASE_ERROR);
        }
    }
}

impl Drop for UnitOfWork {
    fn drop(&mut self) {
        let Some((open, caller)) = &self.0 else {
            return;
        };
        let ended = open.lock().remove(caller);
        let Some(Spans { under_way, last }) = ended else {
            return;
        };
        drop(last);
        for (_, span) in under_way {
            mark(&span, "cancelled");
        }
    }
}

/// A span of a commit that Diesel does for several callers at once, in the one that is entered.
pub fn commit_span(system: &'static str) -> Option<Span> {
    open(system, "COMMIT").map(|(_, span)| span)
}

/// Marks the span of a statement that failed.
pub fn fail(span: &Span, error: &Error) {
    if let Some(kind) = error_type(error) {
        mark(span, kind);
    }
}

/// Marks the caller's span, which is the use case's: what it asked of the store failed as a whole.
pub fn fail_use_case() {
    Span::current().record("otel.status_code", "ERROR");
}

/// Begins a span, if anybody wants it.
fn open(system: &'static str, query: &(impl Display + ?Sized)) -> Option<(Statement, Span)> {
    let span = tracing::debug_span!(
        "statement",
        otel.kind = "client",
        otel.name = Empty,
        otel.status_code = Empty,
        error.type = Empty,
        db.system.name = system,
        db.operation.name = Empty,
        db.collection.name = Empty,
    );
    (!span.is_disabled()).then(|| {
        let statement = Statement::of(query);
        statement.describe(&span);
        (statement, span)
    })
}

fn mark(span: &Span, kind: &'static str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", kind);
}

/// What traces call an error; `None` if it is an answer.
fn error_type(error: &Error) -> Option<&'static str> {
    let Error::DatabaseError(kind, _) = error else {
        return (*error != Error::NotFound).then_some("_OTHER");
    };
    Some(match kind {
        DatabaseErrorKind::UniqueViolation => "unique_violation",
        DatabaseErrorKind::ForeignKeyViolation => "foreign_key_violation",
        DatabaseErrorKind::NotNullViolation => "not_null_violation",
        DatabaseErrorKind::CheckViolation => "check_violation",
        DatabaseErrorKind::RestrictViolation => "restrict_violation",
        DatabaseErrorKind::ExclusionViolation => "exclusion_violation",
        DatabaseErrorKind::SerializationFailure => "serialization_failure",
        DatabaseErrorKind::ReadOnlyTransaction => "read_only_transaction",
        DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
            "connection_lost"
        }
        _ => DATABASE_ERROR,
    })
}
