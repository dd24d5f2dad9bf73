//! SQL that Diesel cannot say.

use std::marker::PhantomData;

use diesel::expression::{
    AppearsOnTable, Expression, SelectableExpression, TypedExpressionType, ValidGrouping,
    is_aggregate,
};
use diesel::pg::Pg;
use diesel::prelude::QueryResult;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};

/// An expression that is always the same. Diesel's own `sql` has every statement that it stands in prepared
/// anew each time, which is a round trip.
pub(super) struct Fixed<ST> {
    sql: &'static str,
    sql_type: PhantomData<ST>,
}

/// An expression of this type.
pub(super) const fn fixed<ST>(sql: &'static str) -> Fixed<ST> {
    Fixed {
        sql,
        sql_type: PhantomData,
    }
}

impl<ST> QueryFragment<Pg> for Fixed<ST> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(self.sql);
        Ok(())
    }
}

impl<ST> QueryId for Fixed<ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST: TypedExpressionType> Expression for Fixed<ST> {
    type SqlType = ST;
}

impl<ST> ValidGrouping<()> for Fixed<ST> {
    type IsAggregate = is_aggregate::Never;
}

impl<ST, Source> SelectableExpression<Source> for Fixed<ST> where Self: AppearsOnTable<Source> {}
impl<ST, Source> AppearsOnTable<Source> for Fixed<ST> where Self: Expression {}
