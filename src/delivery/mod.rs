//! From a message that is ready to its durable places.

pub mod commit;
pub mod outbound;
mod pace;
pub mod quota_warning;
mod remote;
pub mod room;
mod route;
