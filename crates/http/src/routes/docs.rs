//! The documentation, from the binary itself.

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use actix_web::web::{Bytes, ServiceConfig};
use actix_web::{HttpResponse, web};
use utoipa_swagger_ui::Config;

use super::Answer;
use crate::openapi::openapi_json;
use crate::problem::{Code, Problem};

/// Where the documentation is.
const DOCS: &str = "/docs";
/// Where the OpenAPI document is.
const OPENAPI: &str = "/openapi.json";

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| openapi_json().into());
static UI: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    let config = Config::from(OPENAPI).persist_authorization(false);
    // Without the bar, whose logo has an inline style, and the badge, which asks a validator of its
    // makers for the document.
    Arc::new(config.use_base_layout())
});

/// All that the page may do is load what it consists of from here (its pictures stand in its style),
/// and call here.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Registers the documentation.
pub(super) fn pages(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(root))
        .route(OPENAPI, web::get().to(openapi))
        .route(DOCS, web::get().to(docs))
        .route("/docs/{asset}", web::get().to(asset));
}

async fn root() -> HttpResponse {
    HttpResponse::TemporaryRedirect()
        .insert_header((header::LOCATION, DOCS))
        .finish()
}

async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(DOCUMENT.clone())
}

/// Swagger UI's page. Its assets are named relative to a folder, and this page is none.
async fn docs() -> Answer {
    let (html, content_type) = file("index.html")?;
    let html = String::from_utf8_lossy(&html)
        .replace("\"./", "\"docs/")
        .replace("\"index.css", "\"docs/index.css");
    Ok(answer(&content_type, html))
}

async fn asset(name: web::Path<String>) -> Answer {
    let (bytes, content_type) = file(&name)?;
    Ok(answer(&content_type, InPieces(bytes)))
}

/// The page, or a part of it.
fn answer(content_type: &str, body: impl MessageBody + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(content_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(body)
}

fn file(name: &str) -> Result<(Bytes, String), Problem> {
    let file = utoipa_swagger_ui::serve(name, UI.clone())
        .map_err(|error| Problem::internal(error.to_string()))?
        .ok_or_else(|| Problem::new(Code::NotFound))?;
    let bytes = match file.bytes {
        Cow::Borrowed(embedded) => Bytes::from_static(embedded),
        Cow::Owned(made) => made.into(),
    };
    Ok((bytes, file.content_type))
}

/// A large file that lies in memory once: a connection copies a piece of it when the one before
/// is on its way, so that clients who do not read cost no more than a piece each.
struct InPieces(Bytes);

impl InPieces {
    /// As much as a connection buffers before it waits, in bytes.
    const PIECE: usize = 32 * 1024;
}

impl MessageBody for InPieces {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        let length = self.0.len().min(Self::PIECE);
        Poll::Ready((length > 0).then(|| Ok(self.0.split_to(length))))
    }
}
