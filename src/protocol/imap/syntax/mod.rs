//! The grammar of IMAP commands (RFC 3501 §9), one family per file, written by hand over a cursor.
//!
//! Knows whole commands only; how they are cut from the stream is [`crate::protocol::imap::fragment`]'s business.

pub mod acl;
pub mod append;
pub mod command;
pub mod cursor;
pub mod date;
pub mod esearch;
pub mod fetch;
pub mod filter;
pub mod list;
pub mod mailbox;
pub mod metadata;
pub mod multisearch;
pub mod notify;
pub mod search;
pub mod select;
pub mod set;
pub mod sort;
pub mod spelling;
pub mod store;
pub mod url;
