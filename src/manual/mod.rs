//! Prose: how Facteur is built and why. No code; it lies here so that its links are checked with the code.

pub mod adoption;
pub mod aliases;
pub mod durability;
pub mod quirks;
pub mod reception;
pub mod rfc;
pub mod threats;
