//! The edges: what answers the questions of the machines and runs the commands of IMAP, out of the services.

pub mod imap;
pub mod pop3;
pub mod smtp;
