//! The edges: what the protocols ask is answered here, from the services.

pub mod imap;
//! The edges: what answers the machines' questions, out of the services.

pub mod smtp;
