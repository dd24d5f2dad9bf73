//! How times and enums are stored, and how stored values are read.

use std::io::Write;

use diesel::data_types::PgTimestamp;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::SqlType;
use tasks_domain::clock::Timestamp;
use tasks_domain::mail::MailKind;
use tasks_domain::store::StoreError;
use tasks_domain::task::{Priority, TaskStatus};
use tasks_domain::text::Invalid;

/// Postgres counts from 2000, we count from 1970.
const MICROS_FROM_1970_TO_2000: i64 = 946_684_800_000_000;

/// A time, for the store.
pub(crate) fn stored(at: Timestamp) -> PgTimestamp {
    PgTimestamp(at.unix_micros().saturating_sub(MICROS_FROM_1970_TO_2000))
}

/// A stored time.
pub(crate) fn time(column: &str, stored: PgTimestamp) -> Result<Timestamp, StoreError> {
    // `infinity` is the greatest number, so it is out of range like any other.
    Timestamp::from_unix_micros(stored.0.saturating_add(MICROS_FROM_1970_TO_2000))
        .ok_or_else(|| StoreError::corrupt(column))
}

/// A stored time that may be absent.
pub(crate) fn optional_time(
    column: &str,
    stored: Option<PgTimestamp>,
) -> Result<Option<Timestamp>, StoreError> {
    stored.map(|at| time(column, at)).transpose()
}

/// A stored value that has to keep its rule. Of a broken one only the column is told.
pub(crate) fn parsed<T>(column: &str, value: Result<T, Invalid>) -> Result<T, StoreError> {
    value.map_err(|Invalid { .. }| StoreError::corrupt(column))
}

/// Declares how one of the domain's enums is stored as one of the database's.
macro_rules! stored_enum {
    ($sql:ident, $name:literal, $stored:ident, $of:ident) => {
        #[derive(SqlType, QueryId)]
        #[diesel(postgres_type(name = $name))]
        pub struct $sql;

        #[derive(Clone, Copy, Debug, AsExpression, FromSqlRow)]
        #[diesel(sql_type = $sql)]
        pub(crate) struct $stored(pub(crate) $of);

        impl ToSql<$sql, Pg> for $stored {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(self.0.as_str().as_bytes())?;
                Ok(IsNull::No)
            }
        }

        impl FromSql<$sql, Pg> for $stored {
            fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                let known = $of::ALL
                    .into_iter()
                    .find(|known| known.as_str().as_bytes() == value.as_bytes());
                Ok(Self(known.ok_or(concat!("not a ", $name))?))
            }
        }
    };
}

stored_enum!(TaskStatusSql, "task_status", StoredStatus, TaskStatus);
stored_enum!(PrioritySql, "task_priority", StoredPriority, Priority);
stored_enum!(MailKindSql, "mail_kind", StoredMailKind, MailKind);
