//! The embedded store: Diesel over bundled SQLite, on threads of its own.
