//! One member of a body: read whatever it is, so that a wrong one does not hide the others.

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tasks_domain::account::{Email, FullName, Password, PasswordAttempt};
use tasks_domain::category::{CategoryName, Color};
use tasks_domain::clock::Timestamp;
use tasks_domain::task::{Priority, TaskDescription, TaskStatus, TaskTitle, Version};
use tasks_domain::text::Invalid;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use super::invalid;
use crate::time;

/// A member of a body.
#[derive(Clone, Debug, Default)]
pub(crate) enum Field<T> {
    /// It is not there.
    #[default]
    Absent,
    /// It is `null`.
    Null,
    /// It is there and keeps the rules.
    Value(T),
    /// It is there and breaks one.
    Invalid(Invalid),
}

impl<T> Field<T> {
    /// The value, if there is one.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null | Self::Invalid(_) => None,
        }
    }

    /// What a merge patch (RFC 7396) does with it.
    pub(crate) fn patch(self) -> tasks_domain::patch::Patch<T> {
        use tasks_domain::patch::Patch;
        match self {
            Self::Value(value) => Patch::Set(value),
            Self::Null => Patch::Clear,
            Self::Absent | Self::Invalid(_) => Patch::Keep,
        }
    }
}

impl<'de, T: FieldType> Deserialize<'de> for Field<T> {
    /// Takes the member's raw text, which is JSON but may be anything, and only then looks at it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if raw == "null" {
            return Ok(Self::Null);
        }
        Ok(T::from_json(raw).map_or_else(Self::Invalid, Self::Value))
    }
}

/// A value that a member of a body can hold. The rules are the domain's; this says how they are
/// read from JSON, and how they are told in the OpenAPI document.
pub(crate) trait FieldType: Sized {
    /// Reads the value from JSON text that is not `null`.
    fn from_json(raw: &str) -> Result<Self, Invalid>;

    /// How the OpenAPI document tells the rule.
    fn schema() -> ObjectBuilder;
}

fn json_string(raw: &str) -> Result<String, Invalid> {
    if !raw.starts_with('"') {
        return Err(Invalid::new("type", "must be a string"));
    }
    // Fails for escapes that stand for no character, such as half of a surrogate pair.
    serde_json::from_str(raw)
        .map_err(|_malformed| Invalid::new("format", "must be a string of Unicode characters"))
}

macro_rules! string_field {
    ($type:ty, $parse:expr, $description:literal, $example:expr, |$schema:ident| $rules:expr) => {
        impl FieldType for $type {
            fn from_json(raw: &str) -> Result<Self, Invalid> {
                json_string(raw).and_then(|text| $parse(&text))
            }
            fn schema() -> ObjectBuilder {
                let $schema = ObjectBuilder::new()
                    .schema_type(Type::String)
                    .description(Some($description))
                    .examples([$example]);
                $rules
            }
        }
    };
}

macro_rules! bounded_text_field {
    ($type:ty, $description:literal, $example:literal) => {
        string_field!($type, <$type>::parse, $description, $example, |schema| {
            schema
                .min_length(Some(*<$type>::LENGTH.start()))
                .max_length(Some(*<$type>::LENGTH.end()))
        });
    };
}

macro_rules! one_of_field {
    ($type:ty, $description:literal, $example:literal) => {
        string_field!($type, <$type>::parse, $description, $example, |schema| {
            schema.enum_values(Some(<$type>::ALL.map(<$type>::as_str)))
        });
    };
}

bounded_text_field!(
    FullName,
    "How to address the user; counted after trimming.",
    "Ada Lovelace"
);
bounded_text_field!(
    TaskTitle,
    "What is to do, in a line; counted after trimming.",
    "Write the report"
);
bounded_text_field!(
    TaskDescription,
    "What is to do, at length; counted after trimming.",
    "Two pages, with the figures of last month."
);
bounded_text_field!(
    CategoryName,
    "Unique among the user's categories, with regard to case; counted after trimming.",
    "Work"
);
one_of_field!(
    Priority,
    "How much it matters; `medium` if nothing is said.",
    "high"
);
one_of_field!(TaskStatus, "How far it is.", "in_progress");

string_field!(
    Email,
    Email::parse,
    "An address as HTML's `input type=email` takes it, without two dots in a row; kept in lower case.",
    "ada@example.com",
    |schema| schema
        .format(Some(SchemaFormat::Custom("email".to_owned())))
        .max_length(Some(Email::MAX_LENGTH))
);
string_field!(
    Password,
    Password::parse,
    "At most 72 bytes, with an upper-case letter, a digit and one of `!@#$%^&*`; taken as it is.",
    "Correct-Horse-7!",
    |schema| schema
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
        .min_length(Some(Password::MIN_CHARACTERS))
        .max_length(Some(Password::MAX_BYTES))
);
string_field!(
    PasswordAttempt,
    |text: &str| Ok(PasswordAttempt::new(text)),
    "The account's password.",
    "Correct-Horse-7!",
    |schema| schema.format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
);
string_field!(
    SecretString,
    |text: &str| Ok(SecretString::from(text)),
    "The `refresh_token` of register, login or the last refresh.",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    |schema| schema
);
/// The token of a link in a mail, as it comes back.
#[derive(Clone, Debug)]
pub(crate) struct LinkToken(pub(crate) SecretString);

string_field!(
    LinkToken,
    |text: &str| Ok(LinkToken(SecretString::from(text))),
    "The `token` parameter of the link in the mail.",
    "Zk3q1v9XyT7mB2sQ0hR5dW8uE4nL6pC-aGjK_iQoVxY",
    |schema| schema
);
string_field!(
    Color,
    Color::parse,
    "How to show it; `#6366F1` if nothing is said.",
    Color::DEFAULT,
    |schema| schema.pattern(Some(Color::PATTERN))
);
string_field!(
    Timestamp,
    time::parse,
    "When it has to be done: an RFC 3339 time with an offset, in the future when it is set.",
    "2030-01-31T12:00:00Z",
    |schema| schema.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
);

impl FieldType for Version {
    fn from_json(raw: &str) -> Result<Self, Invalid> {
        if !raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Err(Invalid::new("type", "must be a whole number"));
        }
        let number = raw.parse().or_else(|_| whole_float(raw)).map_err(|()| {
            Invalid::new(
                "range",
                format!("must be a whole number from 1 to {}", i64::MAX),
            )
        })?;
        Self::parse(number)
    }

    fn schema() -> ObjectBuilder {
        ObjectBuilder::new()
            .schema_type(Type::Integer)
            .description(Some(
                "How often the content was written: what the caller has read.",
            ))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .minimum(Some(Self::FIRST.get()))
            .examples([1])
    }
}

/// JSON knows one kind of number: `2.0` and `2e0` are 2.
fn whole_float(raw: &str) -> Result<i64, ()> {
    /// Below it every whole number has a float of its own; it is the next one's, too.
    const FIRST_INEXACT: f64 = 9_007_199_254_740_992.0;
    let number: f64 = raw.parse().map_err(drop)?;
    if number.fract() != 0.0 || number.abs() >= FIRST_INEXACT {
        return Err(());
    }
    format!("{number:.0}").parse().map_err(drop)
}

// The rules of a member's presence, for garde.
//
// A garde error is a text; ours is the code and the sentence, which `body` takes apart again.

fn refuse(invalid: &Invalid) -> garde::Error {
    garde::Error::new(format!("{}: {}", invalid.code, invalid.message))
}

/// The member has to be there.
pub(crate) fn required<T, C>(field: &Field<T>, _: &C) -> garde::Result {
    match field {
        Field::Absent | Field::Null => Err(refuse(&invalid::missing())),
        Field::Invalid(invalid) => Err(refuse(invalid)),
        Field::Value(_) => Ok(()),
    }
}

/// The member may be absent or `null`, which is the same.
pub(crate) fn nullable<T, C>(field: &Field<T>, _: &C) -> garde::Result {
    match field {
        Field::Invalid(invalid) => Err(refuse(invalid)),
        Field::Absent | Field::Null | Field::Value(_) => Ok(()),
    }
}

/// The member may be absent, but not `null`.
pub(crate) fn not_null<T, C>(field: &Field<T>, _: &C) -> garde::Result {
    match field {
        Field::Null => Err(refuse(&invalid::null())),
        Field::Invalid(invalid) => Err(refuse(invalid)),
        Field::Absent | Field::Value(_) => Ok(()),
    }
}

/// The member's time, if there is one, has to lie after the instant of the context.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "garde passes its context by reference"
)]
pub(crate) fn in_future(field: &Field<Timestamp>, now: &Timestamp) -> garde::Result {
    match field {
        Field::Value(at) => {
            tasks_domain::task::due_in_future(*at, *now).map_err(|invalid| refuse(&invalid))
        }
        Field::Absent | Field::Null | Field::Invalid(_) => Ok(()),
    }
}

/// The schemas of members, for `#[schema(schema_with = …)]`.
pub(crate) mod schema {
    use super::{FieldType, RefOr, Schema, SchemaType, Type};

    /// Of a member that is never `null`.
    pub(crate) fn plain<T: FieldType>() -> RefOr<Schema> {
        RefOr::T(T::schema().build().into())
    }

    /// Of a member that may be `null`.
    pub(crate) fn nullable<T: FieldType>() -> RefOr<Schema> {
        let mut object = T::schema().build();
        if let SchemaType::Type(only) = object.schema_type.clone() {
            object.schema_type = SchemaType::from_iter([only, Type::Null]);
        }
        if let Some(values) = &mut object.enum_values {
            values.push(serde_json::Value::Null);
        }
        RefOr::T(object.into())
    }
}
