//! The nouns of mail as values that cannot be wrong.
//!
//! Addresses, envelopes, flags, identifiers, status codes, secrets, quotas and the limits of the server. Nothing here
//! knows a socket, a file or a clock, and nothing here imports another module of ours.

pub mod address;
pub mod capability;
pub mod envelope;
pub mod flags;
pub mod ids;
pub mod limits;
pub mod line_feeds;
pub mod mailbox;
pub mod peer;
pub mod quota;
pub mod rights;
pub mod secret;
pub mod status;
pub mod utf7;
