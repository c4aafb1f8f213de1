//! The edges: what answers the machines' questions, out of the services.

pub mod pop3;
pub mod smtp;
