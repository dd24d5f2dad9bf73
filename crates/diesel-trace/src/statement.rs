//! What a span says of a statement.

use std::fmt::{self, Display, Write};

use tracing::Span;

/// A statement without its values.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Its first word, or that of what follows its `WITH`.
    operation: String,
    /// The table that it is about.
    collection: Option<String>,
}

impl Statement {
    pub(crate) fn of(query: &(impl Display + ?Sized)) -> Self {
        let mut statement = Self::default();
        // An error every time, as `write_str` says.
        let _ = write!(statement, "{query}");
        statement
    }

    fn parse(sql: &str) -> Self {
        let operation = operation(sql).map(str::to_ascii_uppercase);
        // One that only asks whether something is there has its tables in parentheses.
        let collection = (0..=2).find_map(|depth| table(sql, depth));
        Self {
            operation: operation.unwrap_or_default(),
            collection: collection.map(str::to_owned),
        }
    }

    /// Tells a span of it.
    pub(crate) fn describe(&self, span: &Span) {
        let operation = self.operation.as_str();
        span.record("db.operation.name", operation);
        if let Some(collection) = &self.collection {
            span.record("db.collection.name", collection);
            span.record("otel.name", format!("{operation} {collection}"));
        } else {
            span.record("otel.name", operation);
        }
    }
}

impl Write for Statement {
    /// Diesel writes the SQL first, in one piece. The error keeps it from formatting the values, which
    /// come after it.
    fn write_str(&mut self, sql: &str) -> fmt::Result {
        *self = Self::parse(sql);
        Err(fmt::Error)
    }
}

/// What a statement does.
fn operation(sql: &str) -> Option<&str> {
    let is = |word: &str, keyword: &&str| word.eq_ignore_ascii_case(keyword);
    let (_, first) = words(sql).next()?;
    if !is(first, &"WITH") {
        return Some(first);
    }
    let mut words = words(sql).filter(|(depth, _)| *depth == 0);
    let named = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    words.find_map(|(_, word)| named.iter().any(|name| is(word, name)).then_some(word))
}

/// The table after the first `FROM`, `INTO` or `UPDATE` in so many parentheses; where a query stands
/// there in its place, that query's.
fn table(sql: &str, mut depth: usize) -> Option<&str> {
    let is = |word: &str, keyword| word.eq_ignore_ascii_case(keyword);
    let mut words = words(sql).peekable();
    while let Some((at, word)) = words.next() {
        if at == depth && ["FROM", "INTO", "UPDATE"].iter().any(|key| is(word, key)) {
            let (_, next) = words.peek()?;
            if !is(next, "SELECT") {
                return Some(next.trim_matches(['"', '`']));
            }
            depth = depth.saturating_add(1);
        }
    }
    None
}

/// The words of a statement, each with the number of parentheses that it stands in.
fn words(sql: &str) -> impl Iterator<Item = (usize, &str)> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | ';');
    let mut depth = 0_usize;
    let pieces = sql.split_inclusive(ends).map(move |piece| {
        let at = depth;
        match piece.as_bytes().last() {
            Some(b'(') => depth = depth.saturating_add(1),
            Some(b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        (at, piece.trim_end_matches(ends))
    });
    pieces.filter(|(_, word)| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_called_by_its_operation_and_its_table() {
        for (sql, operation, collection) in [
            (
                r#"SELECT "tasks"."id", "tasks"."from" FROM "tasks" WHERE "id" = $1"#,
                "SELECT",
                Some("tasks"),
            ),
            (
                "SELECT `tasks`.`id` FROM `tasks` LIMIT ?",
                "SELECT",
                Some("tasks"),
            ),
            (
                r#"SELECT count(*) FROM ("sessions" INNER JOIN "users" ON TRUE)"#,
                "SELECT",
                Some("sessions"),
            ),
            (
                "SELECT id, ARRAY(SELECT name FROM categories) FROM tasks FOR UPDATE",
                "SELECT",
                Some("tasks"),
            ),
            (
                "SELECT a.n, ARRAY(SELECT x FROM y) FROM (SELECT (SELECT 1 FROM z) FROM tasks) AS a",
                "SELECT",
                Some("tasks"),
            ),
            (
                "SELECT EXISTS (SELECT 1 FROM users)",
                "SELECT",
                Some("users"),
            ),
            (
                r#"INSERT INTO "tasks"("id") VALUES ($1) ON CONFLICT DO UPDATE SET x = 1"#,
                "INSERT",
                Some("tasks"),
            ),
            (
                r#"UPDATE "users" SET "full_name" = $1"#,
                "UPDATE",
                Some("users"),
            ),
            (
                r#"DELETE  FROM "outbox" WHERE id = ANY (ARRAY (SELECT id FROM x))"#,
                "DELETE",
                Some("outbox"),
            ),
            (
                "WITH a AS (UPDATE x SET y = 1), b AS (SELECT 1 FROM z) update w SET v = 1 FROM b",
                "UPDATE",
                Some("w"),
            ),
            ("select 1", "SELECT", None),
            ("SELECT pg_try_advisory_xact_lock($1)", "SELECT", None),
            (
                "SELECT (EXISTS (SELECT 1 FROM users) AND $1)",
                "SELECT",
                Some("users"),
            ),
            ("BEGIN", "BEGIN", None),
            ("COMMIT", "COMMIT", None),
            (
                "SET lock_timeout = '2s'; SET statement_timeout = '2s'",
                "SET",
                None,
            ),
            ("DELETE FROM", "DELETE", None),
            ("", "", None),
        ] {
            let expected = Statement {
                operation: operation.to_owned(),
                collection: collection.map(str::to_owned),
            };
            assert_eq!(Statement::of(sql), expected, "{sql}");
        }
    }
}
