//! The edges: what the protocols ask is answered here, from the services.

pub mod imap;
pub mod smtp;
