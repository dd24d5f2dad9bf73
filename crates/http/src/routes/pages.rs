//! The pages for people: the documentation, from the binary itself.

use std::sync::{Arc, LazyLock};

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
static UI: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::from(OPENAPI).persist_authorization(false)));

/// Registers the pages, which the OpenAPI document does not name.
pub(crate) fn pages(config: &mut ServiceConfig) {
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
    Ok(HttpResponse::Ok().content_type(content_type).body(html))
}

async fn asset(name: web::Path<String>) -> Answer {
    let (bytes, content_type) = file(&name)?;
    Ok(HttpResponse::Ok().content_type(content_type).body(bytes))
}

fn file(name: &str) -> Result<(Vec<u8>, String), Problem> {
    let file = utoipa_swagger_ui::serve(name, UI.clone())
        .map_err(|error| Problem::internal(error.to_string()))?
        .ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok((file.bytes.into_owned(), file.content_type))
}
