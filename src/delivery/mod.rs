//! From a message that is ready to its durable places.

pub mod commit;
