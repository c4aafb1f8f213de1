//! RFC 5322 and MIME as values: fields, dates, addresses, encoded words, structure.
//!
//! Works on bytes as they are. Structure is decided by our own scanner ([`mime`]); `mail-parser` lends its tables of
//! charsets and nothing else.

pub mod addresses;
pub mod base_subject;
pub mod casemap;
pub mod date;
pub mod decode;
pub mod envelope;
pub mod extended;
pub mod fields;
pub mod header;
pub mod mbox;
pub mod message_id;
pub mod mime;
pub mod object_id;
pub mod parameters;
pub mod preview;
mod quoted;
pub mod sent;
pub mod text;
pub mod wire;
