//! What every request passes on its way in, and every answer on its way out.

pub(crate) mod cors;
pub(crate) mod limit;
pub(crate) mod observe;
pub(crate) mod route;
pub(crate) mod trace;
