//! What a request brings: path, query and body, read so that every bad field is named at once.

mod body;
mod field;
pub(crate) mod invalid;
mod path;
mod query;

use std::future::Future;

use actix_web::HttpRequest;
use actix_web::dev::Payload;

pub(crate) use body::{Body, BodyModel, MERGE_PATCH};
pub(crate) use field::{Field, LinkToken, in_future, not_null, nullable, required, schema};
pub(crate) use path::{Path, Path2};
pub(crate) use query::{Query, QueryModel, QueryReader};

use crate::app::Api;
use crate::problem::{Code, FieldError, Problem};

/// Why an input was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It was read, and these fields break a rule.
    Fields(Vec<FieldError>),
    /// It could not be read at all.
    Problem(Problem),
}

impl Refusal {
    /// Of two refusals the one that comes first in the order of the contract: 415, 413, 400. The
    /// fields of both are named together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Fields(mut errors), Self::Fields(more)) => {
                errors.extend(more);
                Self::Fields(errors)
            }
            (Self::Problem(problem), Self::Fields(_))
            | (Self::Fields(_), Self::Problem(problem)) => Self::Problem(problem),
            (Self::Problem(one), Self::Problem(two)) => {
                Self::Problem(if one.code() == Code::MalformedJson {
                    two
                } else {
                    one
                })
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Fields(errors) => Self::validation(errors),
            Refusal::Problem(problem) => problem,
        }
    }
}

/// A part of a request that a handler names in order to get it.
pub(crate) trait Input: Sized {
    /// Reads it.
    fn read(
        request: &HttpRequest,
        payload: &mut Payload,
        api: &Api,
    ) -> impl Future<Output = Result<Self, Refusal>>;
}

impl Input for () {
    async fn read(_: &HttpRequest, _: &mut Payload, _: &Api) -> Result<Self, Refusal> {
        Ok(())
    }
}

impl<A: Input, B: Input> Input for (A, B) {
    async fn read(
        request: &HttpRequest,
        payload: &mut Payload,
        api: &Api,
    ) -> Result<Self, Refusal> {
        let one = A::read(request, payload, api).await;
        let two = B::read(request, payload, api).await;
        match (one, two) {
            (Ok(one), Ok(two)) => Ok((one, two)),
            (Err(refusal), Ok(_)) | (Ok(_), Err(refusal)) => Err(refusal),
            (Err(one), Err(two)) => Err(one.and(two)),
        }
    }
}
