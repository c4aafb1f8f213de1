//! What is said on the wire: one machine per protocol, without sockets, files, clocks or async.

pub mod imap;
pub mod line;
pub mod pop3;
pub mod sasl;
pub mod session;
pub mod smtp;
