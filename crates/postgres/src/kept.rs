//! Updates that stay prepared.

use diesel::pg::Pg;
use diesel::prelude::QueryResult;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};

/// An `UPDATE` whose columns are always the same. Diesel cannot know that they are, so it has every update
/// prepared anew each time: two more messages, and the work of parsing and planning it.
pub(crate) struct Kept<U>(U);

/// Has a connection prepare an update once. Values may differ from time to time, the text may not.
pub(crate) const fn kept<U>(update: U) -> Kept<U> {
    Kept(update)
}

impl<U: QueryFragment<Pg>> QueryFragment<Pg> for Kept<U> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _backend: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

/// It is found again by its text.
impl<U> QueryId for Kept<U> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<U: Query> Query for Kept<U> {
    type SqlType = U::SqlType;
}
