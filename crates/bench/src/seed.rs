//! The data of a run, the same in every run, and its users' access tokens.
//!
//! Ids are made of numbers, here and in the scripts: pgbench knows numbers only, and is to choose users and
//! tasks by chance as wrk does.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::service::Service;
use crate::store::{Kind, Store};

/// What production asks for at least, and what w8 is defined by.
pub(crate) const BCRYPT_COST: u32 = 10;

/// Whose tasks are read alone.
pub(crate) const READER: u32 = 1;
/// Whose tasks are changed.
pub(crate) const EDITOR: u32 = 2;
/// Who never deletes anything.
pub(crate) const HOARDER: u32 = 3;
/// The users of everyday traffic, who also log in and create: by one alone, creations would wait for each other at
/// the counter of that user's tasks.
pub(crate) const MEMBERS: RangeInclusive<u32> = 4..=53;

/// How many tasks an ordinary user has.
pub(crate) const TASKS: u32 = 1_000;
/// How many tasks the hoarder has.
const MANY_TASKS: u32 = 100_000;
/// So many tasks of each member are read and changed in the mix.
pub(crate) const TASKS_IN_MIX: u32 = 100;
/// So many refresh tokens there are to begin with: more than connections.
const REFRESH_TOKENS: u32 = 200;

/// Everybody's password.
const PASSWORD: &str = "Benchmark-1!";

/// How many counters are not what counting says.
const WRONG_COUNTERS: &str = "WITH counted AS (SELECT user_id, status, priority, count(*) AS total FROM tasks \
                              WHERE deleted_at IS NULL GROUP BY user_id, status, priority), \
                              kept AS (SELECT user_id, status, priority, total FROM task_counts WHERE total <> 0) \
                              SELECT (SELECT count(*) FROM (SELECT * FROM counted EXCEPT SELECT * FROM kept) AS missing) \
                              + (SELECT count(*) FROM (SELECT * FROM kept EXCEPT SELECT * FROM counted) AS wrong)";

/// So long a request of the benchmark's own may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The address that a user logs in with.
fn email(user: u32) -> String {
    format!("user{user}@example.com")
}

/// The id of a user.
pub(crate) fn user_id(user: u32) -> String {
    format!("00000000-0000-7000-8000-{user:012x}")
}

/// The id of one of the tasks that a user has from the beginning.
pub(crate) fn task_id(user: u32, number: u32) -> String {
    format!("00000000-0000-7000-8{user:03x}-{number:012x}")
}

/// The body of a request to log in.
pub(crate) fn credentials(user: u32) -> String {
    let email = email(user);
    format!(r#"{{"email":"{email}","password":"{PASSWORD}"}}"#)
}

/// A hash of everybody's password, as the service stores it.
pub(crate) fn password_hash() -> Result<String, Failure> {
    Ok(bcrypt::hash(PASSWORD, BCRYPT_COST)?)
}

/// Compares everybody's password with a hash: what logging in cannot do without.
pub(crate) fn matches_password(hash: &str) -> Result<bool, Failure> {
    Ok(bcrypt::verify(PASSWORD, hash)?)
}

/// Fills a store that the service has migrated.
pub(crate) fn fill(store: &Store) -> Result<(), Failure> {
    let hash = password_hash()?;
    let tasks_of = |user| if user == HOARDER { MANY_TASKS } else { TASKS };
    let users = READER..=*MEMBERS.end();
    let wrong: u32 = match store.kind() {
        Kind::Sqlite => {
            let connection = store.sqlite()?;
            let script = include_str!("../seed/sqlite.sql");
            for user in users {
                connection.execute_batch(
                    "BEGIN; CREATE TEMP TABLE seed (number INTEGER, tasks INTEGER, password_hash TEXT)",
                )?;
                let seed = (user, tasks_of(user), &hash);
                connection.execute("INSERT INTO seed VALUES (?, ?, ?)", seed)?;
                connection.execute_batch(&format!("{script}; DROP TABLE seed; COMMIT"))?;
            }
            connection.query_row(WRONG_COUNTERS, [], |row| row.get(0))?
        }
        Kind::Postgres => {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/seed/postgres.sql");
            let mut arguments = vec![format!("--set=password_hash={hash}")];
            for user in users {
                arguments.push(format!("--command=\\set number {user}"));
                arguments.push(format!("--command=\\set tasks {}", tasks_of(user)));
                arguments.push(format!("--file={script}"));
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            store.psql(&arguments)?;
            store.psql(&["-c", WRONG_COUNTERS])?.trim().parse()?
        }
    };
    if wrong > 0 {
        return Err(format!("{wrong} counters of tasks are wrong").into());
    }
    Ok(())
}

/// An access token of every user.
pub(crate) struct AccessTokens(Vec<String>);

impl AccessTokens {
    /// Logs everybody in, through the service.
    pub(crate) fn obtain(service: &Service) -> Result<Self, Failure> {
        let config = ureq::Agent::config_builder()
            .proxy(None)
            .timeout_global(Some(TIMEOUT));
        let agent = ureq::Agent::from(config.build());
        let url = format!("{}/api/v1/auth/login", service.url());
        let log_in = |user| {
            let answer = agent
                .post(&url)
                .header("content-type", "application/json")
                .send(credentials(user))?
                .body_mut()
                .read_to_string()?;
            let answer: serde_json::Value = serde_json::from_str(&answer)?;
            let token = answer.get("access_token").and_then(|token| token.as_str());
            Ok(token.ok_or("no access token")?.to_owned())
        };
        let tokens: Result<_, Failure> = (READER..=*MEMBERS.end()).map(log_in).collect();
        tokens.map(Self)
    }

    /// A user's.
    pub(crate) fn of(&self, user: u32) -> Result<&str, Failure> {
        let position = usize::try_from(user - READER)?;
        let token = self.0.get(position);
        Ok(token.ok_or("there is no such user")?)
    }
}

/// Tasks to change at the versions that they have now, each as a line: token, id, version.
pub(crate) fn versions(
    store: &Store,
    tokens: &AccessTokens,
    users: RangeInclusive<u32>,
    tasks: u32,
) -> Result<String, Failure> {
    // One statement: what asks often asks for long.
    let ranges = users.clone().map(|user| {
        let [first, last] = [1, tasks].map(|number| literal(store.kind(), &task_id(user, number)));
        format!("id BETWEEN {first} AND {last}")
    });
    let ranges: Vec<String> = ranges.collect();
    let query = format!(
        "SELECT version FROM tasks WHERE {} ORDER BY id",
        ranges.join(" OR ")
    );
    let versions: Vec<i64> = match store.kind() {
        Kind::Sqlite => {
            let connection = store.sqlite()?;
            let mut statement = connection.prepare(&query)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect::<Result<_, _>>()?
        }
        Kind::Postgres => {
            let rows = store.psql(&["-c", &query])?;
            rows.lines().map(str::parse).collect::<Result<_, _>>()?
        }
    };
    let mut of_users: Vec<_> = versions
        .chunks(usize::try_from(tasks)?)
        .map(<[_]>::iter)
        .collect();
    let mut lines = String::new();
    // A task of each user, then the next one of each: so changes of one user's tasks are far from each other.
    for number in 1..=tasks {
        for (user, versions) in users.clone().zip(&mut of_users) {
            let version = versions.next().ok_or("a task is missing")?;
            let (token, id) = (tokens.of(user)?, task_id(user, number));
            writeln!(lines, "{token}\t{id}\t{version}")?;
        }
    }
    Ok(lines)
}

/// Refresh tokens that are good, each as a line, in the place of those of the last round. Every one has a session
/// of its own, and every member some of them.
pub(crate) fn refresh_tokens(store: &Store, round: u32) -> Result<String, Failure> {
    let kind = store.kind();
    let (now, end) = match kind {
        Kind::Sqlite => ("0", "4102444800000000"),
        Kind::Postgres => ("'1970-01-01Z'", "'2100-01-01Z'"),
    };
    let token = |number: u32| format!("{round:032x}{number:032x}");
    let id = |number: u32| literal(kind, &format!("00000000-0000-7000-a000-{number:012x}"));
    let last = id(REFRESH_TOKENS);
    let mut sql = format!(
        "BEGIN; DELETE FROM sessions WHERE id BETWEEN {} AND {last}; ",
        id(0)
    );
    for (number, user) in (0..REFRESH_TOKENS).zip(MEMBERS.cycle()) {
        let (id, user) = (id(number), literal(kind, &user_id(user)));
        let digest = hex(&Sha256::digest(token(number)));
        write!(
            sql,
            "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip_address) \
             VALUES ({id}, {user}, {now}, {now}, {end}, '127.0.0.1'); \
             INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, created_at) \
             VALUES ({id}, {user}, {id}, '{digest}', {end}, {now}); "
        )?;
    }
    sql.push_str("COMMIT");
    match kind {
        Kind::Sqlite => store.sqlite()?.execute_batch(&sql)?,
        Kind::Postgres => drop(store.psql(&["-c", &sql])?),
    }
    Ok((0..REFRESH_TOKENS)
        .map(|number| token(number) + "\n")
        .collect())
}

/// An id as it stands in a statement.
fn literal(kind: Kind, id: &str) -> String {
    match kind {
        Kind::Sqlite => format!("unhex('{id}', '-')"),
        Kind::Postgres => format!("'{id}'"),
    }
}

/// The bytes in lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
