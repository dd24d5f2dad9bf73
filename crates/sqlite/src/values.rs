//! How ids, times and texts are stored.

use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Binary;
use diesel::sqlite::Sqlite;
use tasks_domain::clock::Timestamp;
use tasks_domain::id::Id;
use tasks_domain::store::StoreError;
use tasks_domain::text::Invalid;
use uuid::Uuid;

/// An id as 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Binary)]
pub(crate) struct StoredId(Uuid);

impl StoredId {
    pub(crate) fn get<T>(self) -> Id<T> {
        Id::new(self.0)
    }
}

impl<T> From<Id<T>> for StoredId {
    fn from(id: Id<T>) -> Self {
        Self(id.uuid())
    }
}

impl ToSql<Binary, Sqlite> for StoredId {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        <[u8] as ToSql<Binary, Sqlite>>::to_sql(self.0.as_bytes(), out)
    }
}

impl FromSql<Binary, Sqlite> for StoredId {
    fn from_sql(mut value: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(Uuid::from_slice(value.read_blob())?))
    }
}

/// A stored time.
pub(crate) fn time(column: &str, unix_micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_unix_micros(unix_micros).ok_or_else(|| StoreError::corrupt(column))
}

/// A stored time that may be absent.
pub(crate) fn optional_time(
    column: &str,
    unix_micros: Option<i64>,
) -> Result<Option<Timestamp>, StoreError> {
    unix_micros.map(|at| time(column, at)).transpose()
}

/// A stored value that has to keep its rule. Of a broken one only the column is told.
pub(crate) fn parsed<T>(column: &str, value: Result<T, Invalid>) -> Result<T, StoreError> {
    value.map_err(|Invalid { .. }| StoreError::corrupt(column))
}
