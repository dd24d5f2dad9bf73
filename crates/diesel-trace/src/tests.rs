mod collector;

use std::cell::Cell;
use std::fmt::{self, Debug, Display};

use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Text;

use super::*;
use collector::{UseCase, outcomes};

/// Whoever formats it fails the test.
#[derive(AsExpression)]
#[diesel(sql_type = Text)]
struct Secret;

impl Debug for Secret {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("a value is formatted")
    }
}

impl ToSql<Text, Pg> for Secret {
    fn to_sql<'b>(&'b self, _: &mut Output<'b, '_, Pg>) -> serialize::Result {
        panic!("a value is serialised")
    }
}

/// A statement whose text is counted when it is made.
#[derive(Debug)]
struct Counted(Cell<usize>);

impl Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.set(self.0.get() + 1);
        f.write_str("SELECT 1 FROM counted")
    }
}

impl DebugQuery for Counted {}

/// A statement as it stands.
#[derive(Debug)]
struct Plain(&'static str);

impl Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl DebugQuery for Plain {}

fn start(spans: &mut StatementSpans, query: &dyn DebugQuery) {
    spans.on_connection_event(InstrumentationEvent::start_query(query));
}

fn finish(spans: &mut StatementSpans, query: &dyn DebugQuery, error: Option<&Error>) {
    spans.on_connection_event(InstrumentationEvent::finish_query(query, error));
}

/// A whole statement without an error.
fn ask(spans: &mut StatementSpans, query: &dyn DebugQuery) {
    start(spans, query);
    finish(spans, query, None);
}

fn database_error(kind: DatabaseErrorKind) -> Error {
    Error::DatabaseError(kind, Box::new("a message".to_owned()))
}

#[test]
fn a_span_has_a_statements_name_and_none_of_its_values() {
    let use_case = UseCase::begin();
    let mut spans = StatementSpans::new("postgresql");
    use_case.span.in_scope(|| {
        let query = diesel::select(Secret.into_sql::<Text>());
        start(&mut spans, &diesel::debug_query::<Pg, _>(&query));
        finish(&mut spans, &diesel::debug_query::<Pg, _>(&query), None);
        ask(&mut spans, &Plain("SELECT id FROM tasks"));
    });
    drop(spans);
    let recorded = use_case.statements();
    assert_eq!(
        outcomes(&recorded),
        [("SELECT", None), ("SELECT tasks", None)]
    );
    let fields: Vec<_> = recorded[1]
        .fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    assert_eq!(
        fields,
        [
            ("db.collection.name", "tasks"),
            ("db.operation.name", "SELECT"),
            ("db.system.name", "postgresql"),
            ("otel.kind", "client"),
            ("otel.name", "SELECT tasks"),
        ]
    );
}

#[test]
fn where_nobody_traces_no_text_is_made() {
    let use_case = UseCase::begin();
    let mut spans = StatementSpans::new("sqlite");
    let counted = Counted(Cell::default());
    start(&mut spans, &counted);
    finish(&mut spans, &counted, None);
    assert_eq!(counted.0.get(), 0);
    use_case.span.in_scope(|| ask(&mut spans, &counted));
    assert_eq!(counted.0.get(), 1);
    drop(spans);
    assert_eq!(outcomes(&use_case.statements()), [("SELECT counted", None)]);
}

#[test]
fn errors_have_names_and_nothing_found_is_none() {
    let use_case = UseCase::begin();
    let mut spans = StatementSpans::new("sqlite");
    let expected = [
        (Error::NotFound, None),
        (
            database_error(DatabaseErrorKind::UniqueViolation),
            Some("unique_violation"),
        ),
        (
            database_error(DatabaseErrorKind::UnableToSendCommand),
            Some("connection_lost"),
        ),
        (
            database_error(DatabaseErrorKind::Unknown),
            Some("database_error"),
        ),
        (Error::RollbackTransaction, Some("_OTHER")),
    ];
    for (error, _) in &expected {
        use_case.span.in_scope(|| {
            start(&mut spans, &Plain("COMMIT"));
            finish(&mut spans, &Plain("COMMIT"), Some(error));
        });
    }
    let recorded = use_case.statements();
    let names = expected.map(|(_, name)| ("COMMIT", name));
    assert_eq!(outcomes(&recorded), names);
}

#[test]
fn of_several_statements_under_way_the_one_that_ended_is_ended() {
    let use_case = UseCase::begin();
    let mut spans = StatementSpans::new("postgresql");
    let [first, second] = [Plain("DELETE FROM outbox"), Plain("UPDATE users SET x = 1")];
    use_case.span.in_scope(|| {
        for query in [&first, &second, &second] {
            start(&mut spans, query);
        }
    });
    let failure = database_error(DatabaseErrorKind::CheckViolation);
    let closed = || {
        use_case
            .statements()
            .iter()
            .map(|span| span.is_closed)
            .collect::<Vec<_>>()
    };
    let mut end = |query: &Plain, error| {
        use_case.span.in_scope(|| finish(&mut spans, query, error));
    };
    end(&second, Some(&failure));
    assert_eq!(closed(), [false, true, false]);
    end(&first, None);
    end(&second, None);
    assert_eq!(closed(), [true, true, false]);
    end(&second, None);
    drop(spans);
    assert_eq!(
        outcomes(&use_case.statements()),
        [
            ("DELETE outbox", None),
            ("UPDATE users", Some("check_violation")),
            ("UPDATE users", None)
        ]
    );
}

#[test]
fn what_was_given_up_ends_with_its_unit_of_work() {
    let use_case = UseCase::begin();
    let mut spans = StatementSpans::new("postgresql");
    let query = Plain("SELECT id FROM tasks");
    use_case.span.in_scope(|| {
        let _work = UnitOfWork::on(&spans);
        start(&mut spans, &query);
    });
    let next = UseCase::begin();
    next.span.in_scope(|| {
        let _work = UnitOfWork::on(&spans);
        ask(&mut spans, &query);
    });
    assert_eq!(
        outcomes(&use_case.statements()),
        [("SELECT tasks", Some("cancelled"))]
    );
    assert_eq!(outcomes(&next.statements()), [("SELECT tasks", None)]);
}

/// Diesel tells of errors that come in place of rows to nobody but the caller.
#[test]
fn an_error_that_diesel_does_not_tell_of_is_one_of_the_last_statement() {
    let use_case = UseCase::begin();
    let mut spans = StatementSpans::new("postgresql");
    let entered = use_case.span.enter();
    let work = UnitOfWork::on(&spans);
    let violation = database_error(DatabaseErrorKind::UniqueViolation);
    for (query, error) in [
        (Plain("SELECT id FROM users"), None),
        (Plain("SELECT id FROM tasks"), None),
        (Plain("INSERT INTO tasks"), Some(&violation)),
    ] {
        start(&mut spans, &query);
        finish(&mut spans, &query, error);
        if query.0.ends_with("tasks") {
            work.fail();
        }
    }
    drop((work, entered));
    assert_eq!(
        outcomes(&use_case.statements()),
        [
            ("SELECT users", None),
            ("SELECT tasks", Some("database_error")),
            ("INSERT tasks", Some("unique_violation"))
        ]
    );
}

#[test]
fn callers_that_share_a_connection_have_their_own_spans() {
    let [ada, bob] = [(); 2].map(|()| UseCase::begin());
    let mut spans = StatementSpans::new("postgresql");
    let query = Plain("SELECT id FROM tasks");
    let begin = |use_case: &UseCase, spans: &mut StatementSpans| {
        use_case.span.in_scope(|| {
            start(spans, &query);
            UnitOfWork::on(spans)
        })
    };
    let works = [&ada, &bob].map(|use_case| begin(use_case, &mut spans));
    // Bob's answer is looked at first, and Ada's request is given up.
    bob.span.in_scope(|| finish(&mut spans, &query, None));
    let [of_ada, of_bob] = works;
    drop(of_ada);
    of_bob.fail();
    drop(of_bob);
    assert_eq!(
        outcomes(&ada.statements()),
        [("SELECT tasks", Some("cancelled"))]
    );
    assert_eq!(
        outcomes(&bob.statements()),
        [("SELECT tasks", Some("database_error"))]
    );
}

#[test]
fn a_use_case_can_fail() {
    let use_case = UseCase::begin();
    use_case.span.in_scope(fail_use_case);
    assert_eq!(use_case.recorded().field("otel.status_code"), Some("ERROR"));
}
