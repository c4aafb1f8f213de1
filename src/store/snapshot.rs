//! What a mailbox held at one moment: immutable, shared by all who look.
//!
//! Knows no file.

use std::sync::Arc;

use crate::mail::flags::Flags;
use crate::mail::flags::SystemFlag;
use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;

use super::table::Messages;

/// One message. Small, because a mailbox may have 100,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Its UID.
    pub uid: Uid,
    /// [`RECENT`], and the octets on the wire or [`UNKNOWN_SIZE`].
    size: u32,
    /// Its flags and keywords.
    pub flags: Flags,
    /// When it last changed, above every earlier change of this mailbox.
    pub modseq: u64,
    /// [`UNKNOWN_DATE`], or seconds.
    date: i64,
}

const RECENT: u32 = 1 << 31;

/// A message of 2 GiB or more is shown as one octet less: IMAP's numbers end at twice that (RFC 3501 §9 `number`), and
/// nobody sends one.
const UNKNOWN_SIZE: u32 = RECENT - 1;

const UNKNOWN_DATE: i64 = i64::MIN;

impl Message {
    /// Octets in a file of ours.
    pub(super) const OCTETS: usize = 32;

    /// A message in `cur/` of unknown size and date.
    pub(super) fn new(uid: Uid, flags: Flags, modseq: u64) -> Self {
        Self { uid, size: UNKNOWN_SIZE, flags, modseq, date: UNKNOWN_DATE }
    }

    /// Whether its file is still in `new/`: no session has claimed it as `\Recent`.
    #[must_use]
    pub fn is_recent(&self) -> bool {
        self.size & RECENT != 0
    }

    /// Octets with CRLF line ends (`RFC822.SIZE`), where known without reading the file.
    #[must_use]
    pub fn wire_size(&self) -> Option<u64> {
        let size = self.size & UNKNOWN_SIZE;
        (size != UNKNOWN_SIZE).then_some(u64::from(size))
    }

    /// INTERNALDATE, seconds since 1970, where known without a look at the file.
    #[must_use]
    pub fn date(&self) -> Option<i64> {
        (self.date != UNKNOWN_DATE).then_some(self.date)
    }

    /// For a file of ours.
    pub(super) fn to_bytes(self) -> [u8; Self::OCTETS] {
        let mut bytes = [0; Self::OCTETS];
        bytes[..4].copy_from_slice(&self.uid.get().to_le_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.flags.to_bits().to_le_bytes());
        bytes[16..24].copy_from_slice(&self.modseq.to_le_bytes());
        bytes[24..].copy_from_slice(&self.date.to_le_bytes());
        bytes
    }

    /// What [`Message::to_bytes`] gave; `None` for what it never gives.
    pub(super) fn from_bytes(bytes: &[u8; Self::OCTETS]) -> Option<Self> {
        let (uid, rest) = bytes.split_first_chunk()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (flags, rest) = rest.split_first_chunk()?;
        let (modseq, rest) = rest.split_first_chunk()?;
        Some(Self {
            uid: Uid::new(u32::from_le_bytes(*uid))?,
            size: u32::from_le_bytes(*size),
            flags: Flags::from_bits(u64::from_le_bytes(*flags))?,
            modseq: u64::from_le_bytes(*modseq),
            date: i64::from_le_bytes(*rest.first_chunk()?),
        })
    }

    pub(super) fn set_recent(&mut self, recent: bool) {
        self.size = self.size & UNKNOWN_SIZE | if recent { RECENT } else { 0 };
    }

    pub(super) fn set_wire_size(&mut self, size: Option<u64>) {
        let kept = |size| u32::try_from(size).unwrap_or(u32::MAX).min(UNKNOWN_SIZE - 1);
        let size = size.map_or(UNKNOWN_SIZE, kept);
        self.size = self.size & RECENT | size;
    }

    pub(super) fn set_date(&mut self, date: Option<i64>) {
        self.date = date.unwrap_or(UNKNOWN_DATE);
    }
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
    pub messages: Messages,
    /// Names of the keywords by slot; empty for a slot whose name is lost.
    pub keywords: Arc<[String]>,
    /// Above or equal to that of every message, and of every change so far.
    pub highest_modseq: u64,
}

impl Snapshot {
    /// Place of a message in [`Snapshot::messages`].
    #[must_use]
    pub fn position(&self, uid: Uid) -> Option<usize> {
        self.messages.position(uid)
    }

    /// A message.
    #[must_use]
    pub fn find(&self, uid: Uid) -> Option<&Message> {
        self.position(uid).map(|at| &self.messages[at])
    }

    /// How many messages nobody has claimed as `\Recent`.
    #[must_use]
    pub fn recent(&self) -> usize {
        self.messages.iter().filter(|m| m.is_recent()).count()
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

/// The condition of a STORE (RFC 7162 §3.1.3).
#[derive(Debug, Clone)]
pub struct Unchanged {
    /// What has a mod-sequence above this one has changed.
    pub since: u64,
    /// The state that the client was told.
    pub told: Arc<Snapshot>,
}

impl Unchanged {
    /// RFC 7162 §3.1.12: flags that were added or removed elsewhere do not stand in the way of others, where the client
    /// asks about the state that it was told.
    pub(super) fn holds(&self, message: &Message, op: FlagOp, given: Flags) -> bool {
        if message.modseq <= self.since {
            return true;
        }
        let told = self.told.find(message.uid).filter(|told| told.modseq <= self.since && op != FlagOp::Replace);
        told.is_some_and(|told| given.without(told.flags) == given.without(message.flags))
    }
}

/// Which flags go along with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptFlags {
    /// Of those with a backslash.
    pub system: Flags,
    /// Whether keywords do.
    pub keywords: bool,
}

impl KeptFlags {
    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Self { system: SystemFlag::ALL.into_iter().fold(Flags::NONE, Flags::with), keywords: true }
    }

    /// What of these flags goes along.
    #[must_use]
    pub fn of(self, flags: Flags) -> Flags {
        let system = flags.system().filter(|flag| self.system.has(*flag)).fold(Flags::NONE, Flags::with);
        if self.keywords { flags.keywords().fold(system, Flags::with_keyword) } else { system }
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
    fn size_date_and_place_share_little_room() {
        let mut message = Message::new(Uid::FIRST, Flags::NONE, 1);
        assert_eq!((message.is_recent(), message.wire_size(), message.date()), (false, None, None));
        for (size, kept) in
            [(0, 0), (5, 5), (0x7fff_fffe, 0x7fff_fffe), (0x7fff_ffff, 0x7fff_fffe), (u64::MAX, 0x7fff_fffe)]
        {
            for recent in [true, false] {
                message.set_recent(recent);
                message.set_wire_size(Some(size));
                message.set_date(Some(-1));
                assert_eq!((message.is_recent(), message.wire_size(), message.date()), (recent, Some(kept), Some(-1)));
            }
        }
    }

    #[test]
    fn a_message_is_small() {
        assert_eq!(size_of::<Message>(), 32);
    }
}
