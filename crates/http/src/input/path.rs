//! Ids in paths.

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use tasks_domain::category::Category;
use tasks_domain::id::Id;
use tasks_domain::task::Task;
use uuid::Uuid;

use super::{Input, Refusal, invalid};
use crate::app::Api;
use crate::problem::FieldError;

/// Something whose id stands in paths.
pub(crate) trait PathId {
    /// What the parameter is called beside another.
    const PARAMETER: &'static str;
}

impl PathId for Task {
    const PARAMETER: &'static str = "id";
}
impl PathId for Category {
    const PARAMETER: &'static str = "category_id";
}

/// The one id of a path, its parameter `id`.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) Id<T>);

impl<T> Input for Path<T> {
    async fn read(request: &HttpRequest, _: &mut Payload, _: &Api) -> Result<Self, Refusal> {
        parameter(request, "id")
            .map(Self)
            .map_err(|error| Refusal::Fields(vec![error]))
    }
}

/// The two ids of a path.
#[derive(Debug)]
pub(crate) struct Path2<A, B>(pub(crate) Id<A>, pub(crate) Id<B>);

impl<A: PathId, B: PathId> Input for Path2<A, B> {
    async fn read(request: &HttpRequest, _: &mut Payload, _: &Api) -> Result<Self, Refusal> {
        match (
            parameter(request, A::PARAMETER),
            parameter(request, B::PARAMETER),
        ) {
            (Ok(one), Ok(two)) => Ok(Self(one, two)),
            (one, two) => Err(Refusal::Fields(
                one.err().into_iter().chain(two.err()).collect(),
            )),
        }
    }
}

fn parameter<T>(request: &HttpRequest, name: &'static str) -> Result<Id<T>, FieldError> {
    request
        .match_info()
        .get(name)
        .and_then(parse_uuid)
        .map(Id::new)
        .ok_or_else(|| FieldError::new(name, invalid::not_a_uuid()))
}

/// A UUID in its usual form; the library's braces, URNs and bare digits are not taken.
pub(super) fn parse_uuid(raw: &str) -> Option<Uuid> {
    const HYPHENATED: usize = 36;
    (raw.len() == HYPHENATED)
        .then(|| Uuid::try_parse(raw).ok())
        .flatten()
}
