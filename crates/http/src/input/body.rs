//! JSON bodies.

use std::future::Future;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use futures_util::StreamExt;
use garde::Validate;
use serde::de::DeserializeOwned;
use tasks_domain::clock::Timestamp;

use super::{Input, Refusal};
use crate::app::Api;
use crate::bounds::Bounds;
use crate::problem::{Code, FieldError, Problem};

/// The media type of merge patches (RFC 7396), which a `PATCH` takes besides JSON.
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";

/// A body as it arrives: its members as they are named on the wire, with garde's rules.
pub(crate) trait BodyModel: DeserializeOwned + Validate<Context = Timestamp> {
    /// What the domain makes of it.
    type Command;
    /// The media types that the endpoint takes.
    const MEDIA_TYPES: &[&str] = &["application/json"];

    /// The command of a body that keeps every rule; `None` would be a bug.
    fn into_command(self) -> Option<Self::Command>;
}

/// The command of a body.
#[derive(Debug)]
pub(crate) struct Body<M: BodyModel>(pub(crate) M::Command);

impl<M: BodyModel> Input for Body<M> {
    async fn read(
        request: &HttpRequest,
        payload: &mut Payload,
        api: &Api,
    ) -> Result<Self, Refusal> {
        check_media_type(request.headers(), M::MEDIA_TYPES).map_err(Refusal::Problem)?;
        let bytes = collect(request, payload, &api.settings.bounds)
            .await
            .map_err(Refusal::Problem)?;
        let model: M = decode(&bytes).map_err(Refusal::Problem)?;
        model
            .validate_with(&api.clock.now())
            .map_err(|report| fields(&report))?;
        model
            .into_command()
            .map(Self)
            .ok_or_else(|| Refusal::Problem(Problem::internal("a valid body has no command")))
    }
}

fn check_media_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<mime::Mime>().ok());
    let is_utf8 = |given: &mime::Mime| {
        given
            .get_param(mime::CHARSET)
            .is_none_or(|charset| charset == mime::UTF_8)
    };
    let is_accepted =
        given.is_some_and(|given| accepted.contains(&given.essence_str()) && is_utf8(&given));
    // A compressed body is not taken: its size says nothing about what it holds.
    let is_plain = headers
        .get_all(header::CONTENT_ENCODING)
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if is_accepted && is_plain {
        return Ok(());
    }
    Err(
        Problem::new(Code::UnsupportedMediaType).with_detail(format!(
            "send the body as {}, in UTF-8 and not compressed",
            accepted.join(" or ")
        )),
    )
}

async fn collect(
    request: &HttpRequest,
    payload: &mut Payload,
    bounds: &Bounds,
) -> Result<Bytes, Problem> {
    let max = bounds.max_body_bytes;
    let too_large = || {
        Problem::new(Code::PayloadTooLarge)
            .with_detail(format!("a body may have at most {max} bytes"))
    };
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > max)) {
        return Err(too_large());
    }
    bounded(bounds.body_timeout, async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                Problem::new(Code::MalformedJson)
                    .with_detail("the body did not arrive whole")
                    .caused_by(error.to_string())
            })?;
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    })
    .await
}

async fn bounded(
    timeout: Duration,
    collecting: impl Future<Output = Result<Bytes, Problem>>,
) -> Result<Bytes, Problem> {
    tokio::time::timeout(timeout, collecting)
        .await
        .unwrap_or_else(|_elapsed| {
            Err(Problem::new(Code::MalformedJson).with_detail("the body did not arrive in time"))
        })
}

fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M, Problem> {
    let malformed = |detail: String| Problem::new(Code::MalformedJson).with_detail(detail);
    let text = std::str::from_utf8(bytes)
        .map_err(|_error| malformed("the body is not UTF-8".to_owned()))?;
    // Serde would take an array of the members' values for the object.
    if !text
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with('{')
    {
        return Err(malformed("the body is not a JSON object".to_owned()));
    }
    serde_json::from_str(text).map_err(|error| {
        // Our own members take any value, so what fails is JSON's grammar or a repeated member.
        malformed(if error.is_data() {
            format!(
                "a member stands twice, at line {} column {}",
                error.line(),
                error.column()
            )
        } else {
            format!(
                "the body is not JSON, at line {} column {}",
                error.line(),
                error.column()
            )
        })
    })
}

fn fields(report: &garde::Report) -> Refusal {
    let errors = report.iter().map(|(path, error)| {
        let (code, message) = error
            .message()
            .split_once(": ")
            .unwrap_or(("invalid", error.message()));
        FieldError {
            field: path.to_string().into(),
            code: code.to_owned().into(),
            message: message.to_owned().into(),
        }
    });
    Refusal::Fields(errors.collect())
}
