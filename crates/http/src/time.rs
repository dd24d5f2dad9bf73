//! Times on the wire: RFC 3339.

use serde::{Serialize, Serializer};
use tasks_domain::clock::Timestamp;
use tasks_domain::text::Invalid;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A time in an answer: UTC with `Z`, to the microsecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339())
    }
}

impl PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        RefOr::T(
            schema("An RFC 3339 time in UTC, to the microsecond.")
                .build()
                .into(),
        )
    }
}

impl ToSchema for Time {}

/// The schema of a time.
pub(crate) fn schema(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some(description))
        .examples(["2030-01-31T12:00:00.000000Z"])
}

/// Reads a time with any offset; one without is refused, never guessed.
pub(crate) fn parse(raw: &str) -> Result<Timestamp, Invalid> {
    OffsetDateTime::parse(raw.trim(), &Rfc3339)
        .ok()
        .and_then(Timestamp::new)
        .ok_or_else(|| {
            Invalid::new(
                "format",
                "must be an RFC 3339 time with an offset, like 2030-01-31T12:00:00Z",
            )
        })
}
