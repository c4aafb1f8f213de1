//! Identifiers: UIDs of IMAP, sessions, and the one id that follows a message.
//!
//! Knows how they are written; who hands them out is the business of the store and of the servers.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The unique identifier of a message in its mailbox (RFC 3501 §2.3.1.1): 1 to 2^32 - 1, never used twice under one
/// [`UidValidity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(NonZeroU32);

impl Uid {
    /// The first UID there can be.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// `None` for 0.
    #[must_use]
    pub fn new(n: u32) -> Option<Self> {
        NonZeroU32::new(n).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// The one after; `None` when all are used.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The validity value of a mailbox's UIDs (RFC 3501 §2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UidValidity(NonZeroU32);

impl UidValidity {
    /// `None` for 0.
    #[must_use]
    pub fn new(n: u32) -> Option<Self> {
        NonZeroU32::new(n).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl From<NonZeroU32> for UidValidity {
    fn from(n: NonZeroU32) -> Self {
        Self(n)
    }
}

impl fmt::Display for UidValidity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of one connection, unique on this machine for ever: the microsecond of its start in base 32, and never the
/// same twice in one process. Sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

static LAST_SESSION: AtomicU64 = AtomicU64::new(0);

impl SessionId {
    /// A new id. `since_epoch` is the wall clock; where it stands still or goes back, the id still grows.
    pub fn new(since_epoch: Duration) -> Self {
        let micros = u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX >> 1);
        let last = LAST_SESSION
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(micros.max(last.saturating_add(1))))
            .unwrap_or(micros);
        Self(micros.max(last.saturating_add(1)))
    }

    /// The id of the `n`th message of this connection.
    #[must_use]
    pub fn message(self, n: u32) -> QueueId {
        QueueId(format!("{self}-{n}"))
    }
}

/// Base 32 without the letters that are read as digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 11 digits of 5 bits hold microseconds until the year 3110, so ids have one length and sort as text.
        for shift in (0..11).rev() {
            let digit = usize::try_from((self.0 >> (shift * 5)) & 31).unwrap_or(0);
            write!(f, "{}", char::from(ALPHABET[digit]))?;
        }
        Ok(())
    }
}

/// The one id that follows a message from the connection it came by to its last delivery: in the log, in `Received`,
/// in the reply to the sender, in the queue. Letters, digits and hyphens only, so that it can be a file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(String);

impl QueueId {
    /// The longest text that [`QueueId::parse`] takes.
    pub const MAX_OCTETS: usize = 40;

    /// Reads an id, as from a file name or the command line; `None` where it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty()
            && text.len() <= Self::MAX_OCTETS
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| Self(text.to_owned()))
    }

    /// The id of a part of this message that travels by itself; `None` where the text would be too long.
    #[must_use]
    pub fn part(&self, suffix: &str) -> Option<Self> {
        Self::parse(&format!("{self}-{suffix}"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_grow_even_when_the_clock_does_not() {
        let now = Duration::from_secs(1_800_000_000);
        let a = SessionId::new(now);
        let b = SessionId::new(now);
        let c = SessionId::new(Duration::ZERO);
        assert!(a < b && b < c);
        assert!(a.to_string() < b.to_string());
        assert_eq!(a.to_string().len(), 11);
    }

    #[test]
    fn queue_ids_are_file_names() {
        let id = SessionId::new(Duration::from_secs(1_800_000_000)).message(2);
        assert_eq!(QueueId::parse(id.as_str()), Some(id.clone()));
        assert!(id.part("f").is_some_and(|part| part.as_str().ends_with("-2-f")));
        for bad in ["", "../x", "a/b", "A", "a b", &"a".repeat(41)] {
            assert_eq!(QueueId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn uids_end() {
        assert_eq!(Uid::new(0), None);
        assert_eq!(Uid::new(u32::MAX).and_then(Uid::next), None);
        assert_eq!(Uid::FIRST.next().map(Uid::get), Some(2));
    }
}
