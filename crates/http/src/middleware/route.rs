//! Which paths and methods there are: 404 and 405 come before everything else.

use std::collections::HashMap;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, web};
use utoipa::openapi::{OpenApi, PathItem};

use crate::app::Api;
use crate::middleware::observe::Notes;
use crate::problem::{Code, Problem};

/// The methods of every documented path pattern, from the document that routes are
/// registered with, so that the two cannot differ.
pub(crate) struct KnownRoutes(HashMap<String, Vec<Method>>);

impl KnownRoutes {
    /// The routes of a document.
    pub(crate) fn of(document: &OpenApi) -> Self {
        let routes = document.paths.paths.iter();
        Self(
            routes
                .map(|(path, item)| (path.clone(), methods(item)))
                .collect(),
        )
    }

    /// What a path takes; pages, which are not documented, are only read.
    fn methods_of(&self, pattern: &str) -> &[Method] {
        const PAGE: &[Method] = &[Method::GET, Method::HEAD];
        self.0.get(pattern).map_or(PAGE, Vec::as_slice)
    }
}

fn methods(item: &PathItem) -> Vec<Method> {
    [
        (item.get.is_some(), Method::GET),
        // HEAD is served where GET is.
        (item.get.is_some(), Method::HEAD),
        (item.post.is_some(), Method::POST),
        (item.put.is_some(), Method::PUT),
        (item.patch.is_some(), Method::PATCH),
        (item.delete.is_some(), Method::DELETE),
    ]
    .into_iter()
    .filter_map(|(is_taken, method)| is_taken.then_some(method))
    .collect()
}

/// Refuses unknown paths and methods; a `HEAD` goes on as the `GET` that answers it (the
/// connection leaves the body out).
pub(crate) async fn route(
    api: web::Data<Api>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let notes = Notes::of(request.request());
    let Some(pattern) = notes.route() else {
        return Ok(request
            .error_response(Problem::new(Code::NotFound))
            .map_into_boxed_body());
    };
    let methods = api.known_routes.methods_of(pattern);
    if !methods.contains(request.method()) {
        let allow = methods
            .iter()
            .map(Method::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let problem = Problem::method_not_allowed(allow);
        return Ok(request.error_response(problem).map_into_boxed_body());
    }
    if request.method() == Method::HEAD {
        request.head_mut().method = Method::GET;
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}
