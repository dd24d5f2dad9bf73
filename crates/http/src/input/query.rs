//! Query parameters.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use tasks_domain::id::Id;
use tasks_domain::text::Invalid;

use super::path::parse_uuid;
use super::{Input, Refusal, invalid};
use crate::app::Api;
use crate::problem::FieldError;

/// What a query asks for.
pub(crate) trait QueryModel: Sized {
    /// Takes the known parameters out of the query. What it returns counts only if the reader
    /// has met no error.
    fn read(query: &mut QueryReader<'_>) -> Self;
}

/// A query.
#[derive(Debug)]
pub(crate) struct Query<M>(pub(crate) M);

impl<M: QueryModel> Input for Query<M> {
    async fn read(request: &HttpRequest, _: &mut Payload, _: &Api) -> Result<Self, Refusal> {
        let mut query = QueryReader::new(request.query_string());
        let model = M::read(&mut query);
        if query.errors.is_empty() {
            Ok(Self(model))
        } else {
            Err(Refusal::Fields(query.errors))
        }
    }
}

/// Reads parameters one by one and remembers what is wrong with them. Unknown ones are ignored.
pub(crate) struct QueryReader<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    errors: Vec<FieldError>,
}

impl<'a> QueryReader<'a> {
    /// The parameters of a query string.
    pub(crate) fn new(query_string: &'a str) -> Self {
        let pairs = form_urlencoded::parse(query_string.as_bytes()).collect();
        Self {
            pairs,
            errors: Vec::new(),
        }
    }

    /// Remembers that a parameter breaks a rule.
    pub(crate) fn refuse(&mut self, name: &'static str, invalid: Invalid) {
        self.errors.push(FieldError::new(name, invalid));
    }

    /// A parameter, parsed; `None` if it is absent or refused.
    pub(crate) fn get<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        let mut values = self
            .pairs
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value);
        let first = values.next()?;
        let parsed = if values.next().is_some() {
            Err(invalid::repeated())
        } else {
            parse(first)
        };
        parsed.map_err(|invalid| self.refuse(name, invalid)).ok()
    }

    /// A parameter that is an id.
    pub(crate) fn id<T>(&mut self, name: &'static str) -> Option<Id<T>> {
        self.get(name, |raw| {
            parse_uuid(raw).map(Id::new).ok_or_else(invalid::not_a_uuid)
        })
    }

    /// A parameter that is a whole number from 0.
    pub(crate) fn number(&mut self, name: &'static str) -> Option<u64> {
        self.get(name, |raw| {
            let is_number = !raw.is_empty() && raw.bytes().all(|byte| byte.is_ascii_digit());
            if !is_number {
                return Err(Invalid::new("type", "must be a whole number, at least 1"));
            }
            raw.parse()
                .map_err(|_overflow| Invalid::new("range", "is too large"))
        })
    }
}
