//! How many notices go to other servers in an hour: whoever is named as the sender of mail that he never sent must not be
//! buried by us under what became of it.
//!
//! A notice that is one too many is not lost: the queue tells the sender later. Notices to inboxes here do not count.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::mail::address::Address;
use crate::mail::limits::NOTICES_PER_ADDRESS;
use crate::mail::limits::NOTICES_PER_HOUR;

const HOUR: Duration = Duration::from_secs(3600);

/// Counts notices. What it holds is bounded by the notices of an hour.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    since: Option<Instant>,
    all: u32,
    of: HashMap<String, u32>,
}

impl Pace {
    /// Whether one more may go to this address now. If so it counts.
    pub(super) fn allows(&self, to: &Address, now: Instant) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.since.is_none_or(|since| now.duration_since(since) >= HOUR) {
            *counts = Counts { since: Some(now), ..Counts::default() };
        }
        let key = to.key();
        let own = counts.of.get(&key).copied().unwrap_or(0);
        if counts.all >= NOTICES_PER_HOUR || own >= NOTICES_PER_ADDRESS {
            return false;
        }
        counts.all += 1;
        counts.of.insert(key, own + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backscatter_has_a_pace() {
        let pace = Pace::default();
        let address = |n: u32| Address::parse(&format!("a{n}@x.example")).expect("valid");
        let start = Instant::now();
        let allowed = |n, now| (0..NOTICES_PER_ADDRESS + 5).filter(|_| pace.allows(&address(n), now)).count();
        assert_eq!(allowed(0, start), NOTICES_PER_ADDRESS as usize);
        let others: usize = (1..1000).map(|n| allowed(n, start)).sum();
        assert_eq!(others, (NOTICES_PER_HOUR - NOTICES_PER_ADDRESS) as usize);
        assert_eq!(allowed(0, start + HOUR - Duration::from_secs(1)), 0);
        assert_eq!(allowed(0, start + HOUR), NOTICES_PER_ADDRESS as usize, "an hour later");
    }
}
