//! How much an account may hold, and how much it holds: octets and messages, as numbers.
//!
//! Knows no mailbox; `store/quota.rs` counts and enforces.

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

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(octets: u64, messages: u64) -> QuotaLimits {
        QuotaLimits { octets, messages, warn: [95, 80].into() }
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
