//! What an operator types: the command line, and the socket by which it talks to a running server.
//!
//! The only place that prints. Knows the protocols of mail only by the names of their ports.

pub mod alias;
pub mod ban;
pub mod cli;
pub mod commands;
pub mod control;
pub mod explain;
pub mod mailbox;
pub mod try_out;
