//! RFC 5322 and MIME as values: fields, addresses, encoded words, structure. No sockets, files, clocks or async.
//!
//! Structure is decided by our own scanner ([`mime`]); `mail-parser` lends its tables of charsets and nothing else.

pub mod addresses;
pub mod decode;
pub mod envelope;
pub mod fields;
pub mod mime;
pub mod parameters;
pub mod sent;
pub mod wire;
