//! The format of a message (RFC 5322): its header and its dates.
//!
//! Works on bytes as they are; decoding of words and structure of bodies have their place here and are not needed by
//! the transport of mail.

pub mod date;
pub mod header;
