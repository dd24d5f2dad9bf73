//! The embedded store: Diesel over bundled `SQLite`, on threads of its own.
//!
//! A port method is one job: it travels over a bounded queue to the one thread that writes or to
//! one of those that read, and its outcome comes back over a channel. So nothing here blocks a
//! runtime, and a future that is dropped in the middle leaves no transaction behind. Only rows by
//! their keys and short pages are read in place, which takes less than the way to a thread and back.
//!
//! * `connection`: the lock on the file, what every connection is set to;
//! * `job`, `writer`, `reader`: the threads; `in_place`: what is read without them;
//! * `error`: what `SQLite`'s errors mean;
//! * `users`, `sessions`, `outbox`, `tasks`, `categories`, `housekeeping`, `health`: the ports, one
//!   to a module.

mod categories;
mod connection;
mod error;
mod health;
mod housekeeping;
mod in_place;
mod job;
mod migrations;
mod outbox;
#[cfg(test)]
mod plans;
mod reader;
mod schema;
mod sessions;
mod tasks;
#[cfg(test)]
mod tests;
mod users;
mod values;
mod writer;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use diesel::SqliteConnection;
use tasks_domain::store::StoreError;

pub use connection::OpenError;
pub use migrations::{MigrationError, MigrationState};

use connection::{DatabaseFile, Role, Slot};
use error::Failure;
use in_place::InPlace;
use job::{Busy, Message};

/// How a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How many connections read: half of them in place, if there are several, and each of the others on
    /// a thread of its own.
    pub readers: NonZeroUsize,
}

impl SqliteOptions {
    /// Reads are bound by the processor, so a few threads are enough; each may keep 2 MB of pages.
    pub const DEFAULT_READERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            readers: Self::DEFAULT_READERS,
        }
    }
}

/// The embedded store: a handle, cheap to clone. When the last one is gone, its threads end.
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

struct Shared {
    file: Arc<DatabaseFile>,
    writes: Sender<Message>,
    reads: Sender<Message>,
    in_place: InPlace,
    connections: usize,
    busy: Busy,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    writer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens a database; missing folders and a missing file are made. Does not migrate.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, OpenError> {
        let file = Arc::new(DatabaseFile::open(path)?);
        let spawn = |name: String, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name)
                .spawn(run)
                .map_err(|reason| OpenError::NoThread {
                    path: file.path().to_owned(),
                    reason,
                })
        };
        let slot = |role| {
            let connection = file.connect_first(role)?;
            Ok(Slot::new(Arc::clone(&file), role, connection))
        };

        let (writes, write_jobs) = bounded(writer::QUEUE);
        let (reads, read_jobs) = bounded(reader::QUEUE);
        let (writing, busy) = (slot(Role::Writer)?, Busy::default());
        let counter = busy.clone();
        let mut threads = Threads {
            writer: Some(spawn(
                "sqlite-writer".to_owned(),
                Box::new(move || writer::run(writing, &write_jobs, &counter)),
            )?),
            readers: Vec::new(),
        };
        let in_place: Vec<Slot> = (0..options.readers.get() / 2)
            .map(|_| slot(Role::InPlace))
            .collect::<Result<_, OpenError>>()?;
        for number in in_place.len()..options.readers.get() {
            let reading = slot(Role::Reader)?;
            let (jobs, counter) = (read_jobs.clone(), busy.clone());
            threads.readers.push(spawn(
                format!("sqlite-reader-{number}"),
                Box::new(move || reader::run(reading, &jobs, &counter)),
            )?);
        }
        Ok(Self(Arc::new(Shared {
            file,
            writes,
            reads,
            in_place: InPlace::new(in_place),
            connections: options.readers.get().saturating_add(1),
            busy,
            threads: Mutex::new(threads),
        })))
    }

    /// Applies every pending migration, and names them. Blocks: for the time before serving.
    pub fn migrate_up(&self) -> Result<Vec<String>, MigrationError> {
        migrations::up(&mut self.connect()?)
    }

    /// Reverts the last migration, and names it. Blocks: for the time before serving.
    pub fn migrate_down(&self) -> Result<Option<String>, MigrationError> {
        migrations::down(&mut self.connect()?)
    }

    /// Every migration that the program or a database has, oldest first. Only reads, whoever has
    /// the database open; a missing one has none. Blocks: not for the time of serving.
    pub fn migration_status(path: &Path) -> Result<Vec<MigrationState>, MigrationError> {
        migrations::status(&mut connection::inspect(path)?)
    }

    /// Waits until every queued write is committed, then closes the database, which moves the
    /// log into the file. Blocks. What is asked of another handle afterwards is refused.
    pub fn close(self) {
        let mut threads = self
            .0
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Threads { writer, readers } = std::mem::take(&mut *threads);
        // The writer's connection is closed last, since the last one moves the log into the file.
        self.0.in_place.close();
        for _ in &readers {
            drop(self.0.reads.send(Message::Stop));
        }
        join(readers);
        drop(self.0.writes.send(Message::Stop));
        join(writer);
    }

    /// A connection of the caller's own. Migrations get one, since they manage their own
    /// transactions, and some of `SQLite`'s settings only change outside of any.
    fn connect(&self) -> Result<SqliteConnection, Failure> {
        self.0.file.connect(Role::Writer)
    }

    /// Has a reader do some work.
    async fn read<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        traced(job::submit(&self.0.reads, work).await)
    }

    /// Reads something of bounded cost in place, or else has a reader do it.
    async fn look_up<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Fn(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        self.look_up_if(|_| Ok(true), work).await
    }

    /// Reads something in place, if a look at the database shows that it is of bounded cost, or else has a
    /// reader do it.
    async fn look_up_if<T, C, W>(&self, is_quick: C, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        C: FnOnce(&mut SqliteConnection) -> Result<bool, Failure>,
        W: Fn(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        let found = {
            let _at_work = self.0.busy.work();
            self.0.in_place.try_read(|connection| {
                let quick = is_quick(connection)?;
                quick.then(|| work(connection)).transpose()
            })
        };
        match found.flatten() {
            Some(found) => Ok(found),
            None => self.read(work).await,
        }
    }

    /// Has the writer do some work, in a transaction that it commits before it answers. An error
    /// takes back what the work did, so an expected refusal has to be a value.
    async fn write<T, W>(&self, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    {
        traced(job::submit(&self.0.writes, work).await)
    }
}

/// What a port method comes to: its failure is one of the use case that called it.
fn traced<T>(outcome: Result<T, StoreError>) -> Result<T, StoreError> {
    outcome.inspect_err(|_| tasks_diesel_trace::fail_use_case())
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the store panicked");
        }
    }
}
