//! The envelope of a message: who sends, who receives, how it came in.
//!
//! Knows nothing of the message's header; the two need not agree (RFC 5321 §2.3.1).

use crate::mail::address::Address;
use crate::mail::address::ReversePath;

/// What SMTP says about a message beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `MAIL FROM`.
    pub sender: ReversePath,
    /// `RCPT TO`, in the order they were accepted; never empty once the data is accepted.
    pub recipients: Vec<Address>,
    /// Whether the sender said `BODY=8BITMIME` (RFC 6152).
    pub body: BodyKind,
}

/// The `BODY` parameter of `MAIL FROM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// `BODY=7BIT`, or nothing said.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME` (RFC 6152).
    EightBitMime,
}
