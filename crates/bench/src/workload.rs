//! What the service is asked, how hard, and what it may cost.

use std::fmt::Write;

use serde::{Serialize, Serializer};

use crate::failure::Failure;
use crate::seed::{self, AccessTokens};
use crate::store::{Kind, Store};

/// So many connections most workloads have: enough that the service never waits for the load generator, and few
/// enough that latency is not only the length of the queue.
const CONNECTIONS: u32 = 16;
/// What the mix is defined by.
const MIX_CONNECTIONS: u32 = 64;
/// Few, since a password takes a tenth of a second and those that wait are answered 503 at some point.
const LOGIN_CONNECTIONS: u32 = 4;
/// One of many pages, deep inside.
const DEEP_PAGE: u32 = 500;
/// How many tasks come before it, at the default of 20 a page.
pub(crate) const BEFORE_DEEP_PAGE: u32 = (DEEP_PAGE - 1) * 20;

/// The workloads, w1 to w10; w9 is two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    Alive,
    Get,
    Page,
    FilteredPage,
    Create,
    Update,
    Mix,
    Login,
    FirstOfMany,
    DeepOfMany,
    Refresh,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// CPU seconds per 1,000 requests, of everything together.
    Cost(f64),
    /// The same as a multiple of the database's alone.
    OfFloor(f64),
    /// The same as a multiple of another workload's.
    Of(Workload, f64),
}

impl Serialize for Workload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Workload {
    pub(crate) const ALL: [Self; 11] = [
        Self::Alive,
        Self::Get,
        Self::Page,
        Self::FilteredPage,
        Self::Create,
        Self::Update,
        Self::Mix,
        Self::Login,
        Self::FirstOfMany,
        Self::DeepOfMany,
        Self::Refresh,
    ];

    /// The one that the command line calls so.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|workload| workload.name() == name);
        found.ok_or_else(|| format!("there are {}", Self::ALL.map(Self::name).join(", ")))
    }

    /// What the command line calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Alive => "w1",
            Self::Get => "w2",
            Self::Page => "w3",
            Self::FilteredPage => "w4",
            Self::Create => "w5",
            Self::Update => "w6",
            Self::Mix => "w7",
            Self::Login => "w8",
            Self::FirstOfMany => "w9a",
            Self::DeepOfMany => "w9b",
            Self::Refresh => "w10",
        }
    }

    /// What it is, for the table.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Alive => "no database",
            Self::Get => "get a task",
            Self::Page => "first page",
            Self::FilteredPage => "filtered page",
            Self::Create => "create",
            Self::Update => "update",
            Self::Mix => "mix of 50 users",
            Self::Login => "login",
            Self::FirstOfMany => "page 1 of 100,000 tasks",
            Self::DeepOfMany => "page 500 of 100,000 tasks",
            Self::Refresh => "refresh",
        }
    }

    pub(crate) const fn connections(self) -> u32 {
        match self {
            Self::Mix => MIX_CONNECTIONS,
            Self::Login => LOGIN_CONNECTIONS,
            Self::Alive
            | Self::Get
            | Self::Page
            | Self::FilteredPage
            | Self::Create
            | Self::Update
            | Self::FirstOfMany
            | Self::DeepOfMany
            | Self::Refresh => CONNECTIONS,
        }
    }

    /// The script of `wrk/` that plays it.
    pub(crate) const fn script(self) -> &'static str {
        match self {
            Self::Update => "update.lua",
            Self::Mix => "mix.lua",
            Self::Refresh => "refresh.lua",
            Self::Alive
            | Self::Get
            | Self::Page
            | Self::FilteredPage
            | Self::Create
            | Self::Login
            | Self::FirstOfMany
            | Self::DeepOfMany => "requests.lua",
        }
    }

    /// What may be asked of it at most.
    pub(crate) const fn target(self, kind: Kind) -> Target {
        let (on_sqlite, on_postgres) = match self {
            Self::Alive => return Target::Cost(0.03),
            Self::FirstOfMany => return Target::Of(Self::Page, 1.5),
            Self::DeepOfMany => return Target::Of(Self::FirstOfMany, 3.0),
            Self::Get => (5.0, 4.0),
            Self::Page => (2.0, 2.0),
            Self::FilteredPage => (2.2, 2.0),
            Self::Create | Self::Update | Self::Refresh => (4.0, 3.0),
            Self::Mix => (2.5, 2.2),
            Self::Login => (1.05, 1.05),
        };
        match kind {
            Kind::Sqlite => Target::OfFloor(on_sqlite),
            Kind::Postgres => Target::OfFloor(on_postgres),
        }
    }

    /// What its script reads. Some of it is good for one run, and each has a number.
    pub(crate) fn input(
        self,
        store: &Store,
        tokens: &AccessTokens,
        run: u32,
    ) -> Result<String, Failure> {
        let get = |user, path: &str| Ok(format!("GET\t{path}\t{}\t\n", tokens.of(user)?));
        match self {
            Self::Alive => Ok("GET\t/health/live\t\t\n".to_owned()),
            Self::Get => {
                let path =
                    |number| format!("/api/v1/tasks/{}", seed::task_id(seed::READER, number));
                (1..=seed::TASKS)
                    .map(|number| get(seed::READER, &path(number)))
                    .collect()
            }
            Self::Page => get(seed::READER, "/api/v1/tasks"),
            Self::FilteredPage => get(
                seed::READER,
                "/api/v1/tasks?status=pending&priority=high&sort_by=due_date&sort_order=asc",
            ),
            Self::Create => {
                let post = |user| {
                    Ok(format!(
                        "POST\t/api/v1/tasks\t{}\t{{\"title\":\"Water the plants\",\
                         \"description\":\"The ones on the balcony first\",\"priority\":\"high\"}}\n",
                        tokens.of(user)?
                    ))
                };
                seed::MEMBERS.map(post).collect()
            }
            Self::Update => seed::versions(store, tokens, seed::EDITOR..=seed::EDITOR, seed::TASKS),
            Self::Mix => seed::versions(store, tokens, seed::MEMBERS, seed::TASKS_IN_MIX),
            Self::Login => {
                let mut lines = String::new();
                for user in seed::MEMBERS {
                    let credentials = seed::credentials(user);
                    writeln!(lines, "POST\t/api/v1/auth/login\t\t{credentials}")?;
                }
                Ok(lines)
            }
            Self::FirstOfMany => get(seed::HOARDER, "/api/v1/tasks"),
            Self::DeepOfMany => get(seed::HOARDER, &format!("/api/v1/tasks?page={DEEP_PAGE}")),
            Self::Refresh => seed::refresh_tokens(store, run),
        }
    }
}
