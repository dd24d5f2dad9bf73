//! The REST API over actix-web: extractors, routes, DTOs, problem documents, OpenAPI.
