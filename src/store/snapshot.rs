//! What a mailbox held at one moment: immutable, shared by all who look.
//!
//! Knows no file.

use std::sync::Arc;

use crate::mail::flags::Flags;
use crate::mail::flags::SystemFlag;
use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;

/// One message. Small, because a mailbox may have 100,000 and every change copies the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its UID.
    pub uid: Uid,
    /// Whether its file is still in `new/`: no session has claimed it as `\Recent`.
    pub recent: bool,
    /// Its flags and keywords.
    pub flags: Flags,
    /// When it last changed, above every earlier change of this mailbox.
    pub modseq: u64,
    /// Octets with CRLF line ends (`RFC822.SIZE`), where known without reading the file.
    pub wire_size: Option<u64>,
    /// INTERNALDATE, seconds since 1970, where known without a look at the file.
    pub date: Option<i64>,
}

/// The state of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Grows with every change.
    pub version: u64,
    /// UIDVALIDITY. Another one than before: all that was known of the mailbox is void.
    pub validity: UidValidity,
    /// UIDNEXT.
    pub next: Uid,
    /// By ascending UID.
    pub messages: Arc<[Message]>,
    /// Names of the keywords by slot; empty for a slot whose name is lost.
    pub keywords: Arc<[String]>,
    /// Above or equal to that of every message, and of every change so far.
    pub highest_modseq: u64,
}

impl Snapshot {
    /// Place of a message in [`Snapshot::messages`].
    #[must_use]
    pub fn position(&self, uid: Uid) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |m| m.uid).ok()
    }

    /// A message.
    #[must_use]
    pub fn find(&self, uid: Uid) -> Option<&Message> {
        self.position(uid).map(|at| &self.messages[at])
    }

    /// How many messages nobody has claimed as `\Recent`.
    #[must_use]
    pub fn recent(&self) -> usize {
        self.messages.iter().filter(|m| m.recent).count()
    }

    /// How many messages are not `\Seen`.
    #[must_use]
    pub fn unseen(&self) -> usize {
        self.messages.iter().filter(|m| !m.flags.has(SystemFlag::Seen)).count()
    }
}

/// How STORE combines flags with those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagOp {
    /// `+FLAGS`.
    Add,
    /// `-FLAGS`.
    Remove,
    /// `FLAGS`.
    Replace,
}

/// One STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagChange {
    /// How.
    pub op: FlagOp,
    /// System flags.
    pub system: Flags,
    /// Keywords by name.
    pub keywords: Vec<String>,
}

impl FlagOp {
    /// The flags after the change.
    pub(super) fn apply(self, old: Flags, given: Flags) -> Flags {
        match self {
            Self::Add => old.union(given),
            Self::Remove => old.without(given),
            Self::Replace => given,
        }
    }
}

/// What COPY, MOVE and APPEND tell (RFC 4315 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// UIDVALIDITY of the destination.
    pub validity: UidValidity,
    /// Old and new UID of each message, ascending.
    pub pairs: Vec<(Uid, Uid)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_small() {
        assert!(size_of::<Message>() <= 64);
    }
}
