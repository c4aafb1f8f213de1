//! How much an account may hold, and how much it holds: octets and messages, as numbers.
//!
//! Knows no mailbox; `store/quota.rs` counts and enforces.

use std::num::NonZeroU64;
use std::sync::Arc;

/// What is in all mailboxes of an account together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Octets, of files as they lie on disk.
    pub octets: u64,
    /// Messages.
    pub messages: u64,
}

impl Usage {
    /// One message of this size.
    #[must_use]
    pub fn of_message(octets: u64) -> Self {
        Self { octets, messages: 1 }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            octets: self.octets.saturating_add(other.octets),
            messages: self.messages.saturating_add(other.messages),
        }
    }

    /// What is left without the other; never below nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            octets: self.octets.saturating_sub(other.octets),
            messages: self.messages.saturating_sub(other.messages),
        }
    }
}

/// How much an account may hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuotaLimits {
    /// Octets; 0 for no limit.
    pub octets: u64,
    /// Messages; 0 for no limit.
    pub messages: u64,
    /// Of how many percent the owner is told, each from 1 to 100.
    pub warn: Arc<[u8]>,
}

impl QuotaLimits {
    /// Whether anything is limited.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.octets > 0 || self.messages > 0
    }

    /// The narrower of two: of the operator, and of the owner himself (RFC 9208 §4.1.3).
    #[must_use]
    pub fn narrowed(&self, own: &OwnLimits) -> Self {
        let narrower = |given: u64, own: Option<u64>| match (given, own) {
            (given, None) => given,
            (0, Some(own)) => own,
            (given, Some(own)) => given.min(own),
        };
        let octets = narrower(self.octets, own.octets.map(NonZeroU64::get));
        let messages = narrower(self.messages, own.messages.map(NonZeroU64::get));
        Self { octets, messages, warn: Arc::clone(&self.warn) }
    }

    /// Whether so much may be there.
    #[must_use]
    pub fn hold(&self, usage: Usage) -> bool {
        (self.octets == 0 || usage.octets <= self.octets) && (self.messages == 0 || usage.messages <= self.messages)
    }

    /// How full this is, in whole percent of the limit that is nearer; 0 without limits.
    #[must_use]
    pub fn percent(&self, usage: Usage) -> u64 {
        let of = |used: u64, most: u64| match most {
            0 => 0,
            most => u64::try_from(u128::from(used) * 100 / u128::from(most)).unwrap_or(u64::MAX),
        };
        of(usage.octets, self.octets).max(of(usage.messages, self.messages))
    }

    /// The highest percentage reached of those of which the owner is told; 0 for none.
    #[must_use]
    pub fn reached(&self, usage: Usage) -> u8 {
        let percent = self.percent(usage);
        self.warn.iter().copied().filter(|warn| u64::from(*warn) <= percent).max().unwrap_or(0)
    }
}

/// How much the owner of an account wants to have in it at most; nothing where he did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnLimits {
    /// Octets.
    pub octets: Option<NonZeroU64>,
    /// Messages.
    pub messages: Option<NonZeroU64>,
}

impl OwnLimits {
    /// One line each, as they lie on disk.
    #[must_use]
    pub fn format(&self) -> String {
        let line = |name: &str, n: Option<NonZeroU64>| n.map(|n| format!("{name} {n}\n")).unwrap_or_default();
        line("octets", self.octets) + &line("messages", self.messages)
    }

    /// Reads what [`OwnLimits::format`] wrote. What cannot be read limits nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let read = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.and_then(|value| value.trim().parse().ok())
        };
        Self { octets: read("octets"), messages: read("messages") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(octets: u64, messages: u64) -> QuotaLimits {
        QuotaLimits { octets, messages, warn: [95, 80].into() }
    }

    #[test]
    fn an_owner_can_only_narrow() {
        let own = |octets, messages| OwnLimits { octets: NonZeroU64::new(octets), messages: NonZeroU64::new(messages) };
        for (given, said, expected) in [
            ((100, 0), (0, 0), (100, 0)),
            ((100, 0), (50, 7), (50, 7)),
            ((100, 5), (200, 7), (100, 5)),
            ((0, 0), (200, 0), (200, 0)),
        ] {
            let said = own(said.0, said.1);
            let found = limits(given.0, given.1).narrowed(&said);
            assert_eq!((found.octets, found.messages), expected, "{given:?} {said:?}");
            assert_eq!(OwnLimits::parse(&said.format()), said);
        }
        assert_eq!(OwnLimits::parse("octets x\nmessages 0\nrest"), OwnLimits::default());
    }

    #[test]
    fn the_nearer_limit_counts_and_nothing_limits_nothing() {
        for (octets, messages, used, hold, percent, reached) in [
            (0, 0, (u64::MAX, u64::MAX), true, 0, 0),
            (100, 0, (100, 7), true, 100, 95),
            (100, 0, (101, 0), false, 101, 95),
            (100, 10, (10, 8), true, 80, 80),
            (100, 10, (94, 11), false, 110, 95),
            (100, 10, (79, 7), true, 79, 0),
            (u64::MAX, 0, (u64::MAX, 0), true, 100, 95),
        ] {
            let (limits, usage) = (limits(octets, messages), Usage { octets: used.0, messages: used.1 });
            let found = (limits.hold(usage), limits.percent(usage), limits.reached(usage));
            assert_eq!(found, (hold, percent, reached), "{limits:?} {usage:?}");
        }
    }
}
