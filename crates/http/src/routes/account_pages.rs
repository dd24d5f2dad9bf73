//! The pages that links in mails lead to, for whoever has no front end of their own.
//!
//! Opening one uses nothing up, since mail scanners open links too: its button posts to the API.

use std::future::ready;

use actix_web::http::header;
use actix_web::web::ServiceConfig;
use actix_web::{HttpResponse, web};

/// A file of the pages, and where it is.
struct File {
    path: &'static str,
    media_type: &'static str,
    text: &'static str,
}

static FILES: [File; 4] = [
    File {
        path: "/verify-email",
        media_type: "text/html; charset=utf-8",
        text: include_str!("../../pages/verify-email.html"),
    },
    File {
        path: "/reset-password",
        media_type: "text/html; charset=utf-8",
        text: include_str!("../../pages/reset-password.html"),
    },
    File {
        path: "/pages/account.js",
        media_type: "text/javascript; charset=utf-8",
        text: include_str!("../../pages/account.js"),
    },
    File {
        path: "/pages/account.css",
        media_type: "text/css; charset=utf-8",
        text: include_str!("../../pages/account.css"),
    },
];

/// All that a page may do is load its script and its style from here, and call here. Its forms are
/// sent by its script alone.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Registers the pages.
pub(super) fn pages(config: &mut ServiceConfig) {
    for file in &FILES {
        config.route(file.path, web::get().to(move || ready(answer(file))));
    }
}

fn answer(file: &'static File) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(file.media_type)
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(file.text)
}
