//! From a message that is ready to its durable places.

pub mod commit;
pub mod outbound;
mod remote;
mod route;
