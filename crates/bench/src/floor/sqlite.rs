//! The statements of the SQLite adapter, prepared once, in this process and on this thread.

use std::time::Duration;

use rusqlite::{Connection, Params};

use crate::failure::Failure;
use crate::seed;
use crate::store::Store;
use crate::workload::{BEFORE_DEEP_PAGE, Workload};

use super::{Floor, repeat};

const FIND: &str = "SELECT tasks.id, tasks.user_id, title, description, status, priority, due_date, version, tasks.created_at, updated_at, \
                    categories.id, categories.user_id, name, color, categories.created_at \
                    FROM tasks LEFT JOIN task_categories ON task_categories.task_id = tasks.id \
                    LEFT JOIN categories ON task_categories.category_id = categories.id \
                    WHERE tasks.id = ?1 AND deleted_at IS NULL";
/// How many tasks there are, which tells whether a filtered page is read in place, and a deep one is full.
const TOTAL: &str =
    "SELECT coalesce(sum(task_counts.total), 0) FROM task_counts WHERE user_id = ?1";
const PAGE: &str = "SELECT (SELECT coalesce(sum(task_counts.total), 0) FROM task_counts WHERE user_id = ?1), \
                    tasks.id, tasks.user_id, title, description, status, priority, due_date, version, tasks.created_at, updated_at, \
                    categories.id, categories.user_id, name, color, categories.created_at \
                    FROM (SELECT tasks.rowid AS row, tasks.created_at AS value, tasks.id AS tie \
                    FROM tasks WHERE deleted_at IS NULL AND user_id = ?1 \
                    ORDER BY value DESC, tie DESC LIMIT +?2 OFFSET +?3) \
                    CROSS JOIN tasks ON tasks.rowid = row \
                    LEFT JOIN task_categories ON task_categories.task_id = tasks.id \
                    LEFT JOIN categories ON categories.id = task_categories.category_id ORDER BY value DESC, tie DESC";
const PAGE_DEEP: &str = "SELECT (SELECT coalesce(sum(task_counts.total), 0) FROM task_counts WHERE user_id = ?1), \
                         tasks.id, tasks.user_id, title, description, status, priority, due_date, version, tasks.created_at, updated_at, \
                         categories.id, categories.user_id, name, color, categories.created_at \
                         FROM (SELECT tasks.rowid AS row, tasks.created_at AS value, tasks.id AS tie, tasks.user_id AS owner \
                         FROM tasks WHERE deleted_at IS NULL AND user_id <= ?1 \
                         ORDER BY owner DESC, value DESC, tie DESC LIMIT +?2 OFFSET +?3) \
                         CROSS JOIN tasks ON tasks.rowid = row AND tasks.user_id = ?1 \
                         LEFT JOIN task_categories ON task_categories.task_id = tasks.id \
                         LEFT JOIN categories ON categories.id = task_categories.category_id \
                         ORDER BY owner DESC, value DESC, tie DESC";
const PAGE_FILTERED: &str = "SELECT (SELECT coalesce(sum(task_counts.total), 0) FROM task_counts \
                             WHERE user_id = ?1 AND status = ?2 AND priority = ?3), \
                             tasks.id, tasks.user_id, title, description, status, priority, due_date, version, tasks.created_at, updated_at, \
                             categories.id, categories.user_id, name, color, categories.created_at \
                             FROM (SELECT tasks.rowid AS row, tasks.due_date AS value, tasks.id AS tie \
                             FROM tasks WHERE deleted_at IS NULL AND user_id = ?1 AND status = ?2 AND priority = ?3 \
                             ORDER BY value ASC NULLS LAST, tie ASC LIMIT +?4 OFFSET +?5) \
                             CROSS JOIN tasks ON tasks.rowid = row \
                             LEFT JOIN task_categories ON task_categories.task_id = tasks.id \
                             LEFT JOIN categories ON categories.id = task_categories.category_id \
                             ORDER BY value ASC NULLS LAST, tie ASC";
const CATEGORIES: &str = "SELECT categories.id, user_id, name, color, created_at \
                          FROM task_categories INNER JOIN categories ON category_id = categories.id \
                          WHERE task_id = ?1 ORDER BY name";
const INSERT: &str = "INSERT INTO tasks (id, user_id, title, description, status, priority, due_date, version, created_at, updated_at) \
                      VALUES (?1, ?2, 'Water the plants', 'The ones on the balcony first', 'pending', 3, NULL, 1, ?3, ?3)";
const UPDATE: &str = "UPDATE tasks SET title = 'Changed', description = 'The ones on the balcony first', status = ?3, \
                      priority = ?4, due_date = NULL, version = ?2 + 1, updated_at = ?2 \
                      WHERE id = ?1 AND deleted_at IS NULL AND version = ?2 \
                      RETURNING id, user_id, title, description, status, priority, due_date, version, created_at, updated_at";
const FIND_TOKEN: &str = "SELECT refresh_tokens.id, refresh_tokens.expires_at, revoked_at, sessions.id, ended_at, \
                          users.id, email, full_name, is_active, users.created_at, users.updated_at \
                          FROM refresh_tokens INNER JOIN (sessions INNER JOIN users ON sessions.user_id = users.id) \
                          ON refresh_tokens.session_id = sessions.id WHERE token_hash = ?1";
const USE_TOKEN: &str = "UPDATE refresh_tokens SET revoked_at = ?2 WHERE id = ?1";
const INSERT_TOKEN: &str = "INSERT INTO refresh_tokens (id, user_id, session_id, token_hash, expires_at, created_at) \
                            VALUES (?1, ?2, ?3, ?4, 4102444800000000, ?5)";
const PROLONG: &str = "UPDATE sessions SET last_used_at = ?2, expires_at = 4102444800000000, user_agent = NULL, \
                       ip_address = '127.0.0.1' WHERE id = ?1";
const INSERT_SESSION: &str = "INSERT INTO sessions (id, user_id, created_at, last_used_at, expires_at, ip_address) \
                              VALUES (?1, ?2, 0, 0, 4102444800000000, '127.0.0.1')";

/// How many tasks a page has.
const LIMIT: u32 = 20;

type Id = [u8; 16];

pub(super) fn measure(
    workload: Workload,
    store: &Store,
    duration: Duration,
    first_step: u32,
) -> Result<Floor, Failure> {
    let database = &InProcess(store.sqlite()?);
    let owner = |user| id_of(&seed::user_id(user));
    match workload {
        Workload::Get => {
            let tasks = ids(seed::READER, seed::TASKS)?;
            repeat(duration, |step| database.get(pick(&tasks, step)?))
        }
        Workload::Page => {
            let owner = owner(seed::READER)?;
            repeat(duration, |_| database.page(owner))
        }
        Workload::FilteredPage => {
            let owner = owner(seed::READER)?;
            repeat(duration, |_| database.filtered_page(owner))
        }
        Workload::Create => {
            let owners: Vec<_> = seed::MEMBERS.map(owner).collect::<Result<_, _>>()?;
            repeat(duration, |step| {
                database.create(pick(&owners, step)?, first_step + step)
            })
        }
        Workload::Update => {
            let tasks = ids(seed::EDITOR, seed::TASKS)?;
            repeat(duration, |step| database.update(pick(&tasks, step)?))
        }
        Workload::Mix => mix(database, duration, first_step),
        Workload::FirstOfMany => {
            let owner = owner(seed::HOARDER)?;
            repeat(duration, |_| database.page(owner))
        }
        Workload::DeepOfMany => {
            let owner = owner(seed::HOARDER)?;
            repeat(duration, |_| database.deep_page(owner))
        }
        Workload::Refresh => {
            database.open_session(owner(*seed::MEMBERS.start())?, first_step)?;
            repeat(duration, |step| database.refresh(first_step + step))
        }
        Workload::Alive | Workload::Login => Err("this is not the database's work".into()),
    }
}

/// The shares of the mix, in an order that spreads them.
fn mix(database: &InProcess, duration: Duration, first_step: u32) -> Result<Floor, Failure> {
    let mut owners = Vec::new();
    let mut tasks = Vec::new();
    for user in seed::MEMBERS {
        owners.push(id_of(&seed::user_id(user))?);
        tasks.extend(ids(user, seed::TASKS_IN_MIX)?);
    }
    repeat(duration, |step| {
        // A walk over all of them in strides without a common divisor with their number.
        let far = step.wrapping_mul(7919);
        match far % 20 {
            0 => database.create(pick(&owners, step)?, first_step + step),
            1 => database.update(pick(&tasks, far / 20)?),
            2..=5 => database.get(pick(&tasks, far / 20)?),
            _ => database.page(pick(&owners, far / 20)?),
        }
    })
}

/// A database in this process.
struct InProcess(Connection);

impl InProcess {
    fn get(&self, task: Id) -> Result<(), Failure> {
        self.rows(FIND, [task])
    }

    fn page(&self, owner: Id) -> Result<(), Failure> {
        self.rows(PAGE, (owner, LIMIT, 0))
    }

    fn deep_page(&self, owner: Id) -> Result<(), Failure> {
        self.transaction("BEGIN", || {
            self.rows(TOTAL, [owner])?;
            self.rows(PAGE_DEEP, (owner, LIMIT, BEFORE_DEEP_PAGE))
        })
    }

    fn filtered_page(&self, owner: Id) -> Result<(), Failure> {
        self.rows(TOTAL, [owner])?;
        self.rows(PAGE_FILTERED, (owner, "pending", 3, LIMIT, 0))
    }

    fn create(&self, owner: Id, step: u32) -> Result<(), Failure> {
        self.write(|| {
            let mut insert = self.0.prepare_cached(INSERT)?;
            insert.execute((new_id(step), owner, step))?;
            Ok(())
        })
    }

    /// Looks at a task, as the service does to judge a change, and changes its title. All columns are written, as
    /// the service does it, and no counter changes.
    fn update(&self, task: Id) -> Result<(), Failure> {
        let mut find = self.0.prepare_cached(FIND)?;
        let found = |row: &rusqlite::Row<'_>| Ok((row.get(7)?, row.get(4)?, row.get(5)?));
        let (version, status, priority): (i64, String, i64) = find.query_row([task], found)?;
        self.write(|| {
            self.rows(UPDATE, (task, version, status, priority))?;
            self.rows(CATEGORIES, [task])
        })
    }

    fn open_session(&self, user: Id, step: u32) -> Result<(), Failure> {
        let session = new_id(step);
        self.0.execute(INSERT_SESSION, (session, user))?;
        let token = (session, user, session, digest(step), step);
        self.0.execute(INSERT_TOKEN, token)?;
        Ok(())
    }

    fn refresh(&self, step: u32) -> Result<(), Failure> {
        self.write(|| {
            let mut find = self.0.prepare_cached(FIND_TOKEN)?;
            let found = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(3)?, row.get(5)?));
            let (token, session, user): (Id, Id, Id) = find.query_row([digest(step)], found)?;
            self.0.prepare_cached(USE_TOKEN)?.execute((token, step))?;
            let next = (new_id(step + 1), user, session, digest(step + 1), step);
            self.0.prepare_cached(INSERT_TOKEN)?.execute(next)?;
            self.0.prepare_cached(PROLONG)?.execute((session, step))?;
            Ok(())
        })
    }

    /// Reads every column of every row.
    fn rows(&self, sql: &str, parameters: impl Params) -> Result<(), Failure> {
        let mut statement = self.0.prepare_cached(sql)?;
        let columns = statement.column_count();
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            for column in 0..columns {
                std::hint::black_box(row.get_ref(column)?);
            }
        }
        Ok(())
    }

    fn write(&self, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        self.transaction("BEGIN IMMEDIATE", work)
    }

    fn transaction(
        &self,
        begin: &str,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.0.prepare_cached(begin)?.execute([])?;
        work()?;
        self.0.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

fn ids(user: u32, tasks: u32) -> Result<Vec<Id>, Failure> {
    (1..=tasks)
        .map(|number| id_of(&seed::task_id(user, number)))
        .collect()
}

/// The bytes of an id.
fn id_of(text: &str) -> Result<Id, Failure> {
    Ok(u128::from_str_radix(&text.replace('-', ""), 16)?.to_be_bytes())
}

/// An id that no other step has, sorted by age as those of the service are.
fn new_id(step: u32) -> Id {
    (0x7000_b000_0000_0000_0000 | u128::from(step)).to_be_bytes()
}

/// As long as the digest of a token.
fn digest(step: u32) -> String {
    format!("{step:064x}")
}

/// One of them, another one for every step.
fn pick(ids: &[Id], step: u32) -> Result<Id, Failure> {
    let position = usize::try_from(step)? % ids.len().max(1);
    Ok(*ids.get(position).ok_or("there is nothing to choose from")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bytes() {
        let id = id_of("00000000-0000-7000-8001-00000000000a").unwrap();
        assert_eq!(id, [0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 1, 0, 0, 0, 0, 0, 10]);
        assert!(id_of("not an id").is_err());
    }

    #[test]
    fn one_is_picked_at_every_step() {
        let ids = [[1; 16], [2; 16]];
        assert_eq!(pick(&ids, 3).unwrap(), [2; 16]);
        assert!(pick(&[], 0).is_err());
    }
}
