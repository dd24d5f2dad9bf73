//! The store for several instances: diesel-async over PostgreSQL.
