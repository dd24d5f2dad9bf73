//! A request in the making.

use std::future::IntoFuture;
use std::net::{IpAddr, SocketAddr};

use actix_web::body::to_bytes;
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::test::TestRequest;
use futures_util::future::LocalBoxFuture;
use serde_json::Value;

use super::{Answer, World};

/// A request; awaiting it sends it.
pub(crate) struct Call {
    world: World,
    method: Method,
    uri: String,
    request: TestRequest,
    payload: Option<Payload>,
}

impl Call {
    pub(crate) fn new(world: World, method: Method, uri: &str) -> Self {
        Self {
            world,
            request: TestRequest::default().method(method.clone()).uri(uri),
            method,
            uri: uri.to_owned(),
            payload: None,
        }
    }

    /// One more header.
    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
        self.request = self.request.append_header((name, value));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub(crate) fn from(mut self, peer: impl Into<IpAddr>) -> Self {
        self.request = self.request.peer_addr(SocketAddr::new(peer.into(), 4711));
        self
    }

    /// A body of that media type, its length not announced.
    pub(crate) fn body(mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.request = self
            .request
            .insert_header((header::CONTENT_TYPE, media_type))
            .set_payload(bytes.into());
        self
    }

    /// A body of bytes that say they are JSON.
    pub(crate) fn raw(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body("application/json", bytes)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.raw(body.to_string())
    }

    /// A body that arrives as it likes.
    pub(crate) fn stream(mut self, payload: Payload) -> Self {
        self.payload = Some(payload);
        self.header("content-type", "application/json")
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = LocalBoxFuture<'static, Answer>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            world,
            method,
            uri,
            request,
            payload,
        } = self;
        Box::pin(async move {
            let answered = (world.serve)(request, payload).await;
            let (head, body) = answered.into_parts();
            let body = to_bytes(body).await.unwrap();
            let path = uri.split('?').next().unwrap().to_owned();
            let answer = Answer::new(head.status().as_u16(), head.headers().clone(), &body);
            answer.check(&method, &path);
            answer
        })
    }
}
