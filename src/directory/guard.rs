//! Counts failed logins per address or /64, and remembers which addresses are known to be an owner's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::mail::limits::FAILED_LOGIN_ADDRESSES;
use crate::mail::limits::FAILED_LOGIN_WINDOW;
use crate::mail::peer::PeerKey;

/// An address is an owner's for so long after a login from it.
const KNOWN_ADDRESS: Duration = Duration::from_secs(30 * 86_400);

/// The counters. One for all protocols: who guesses by POP3 is not welcome at IMAP.
#[derive(Debug, Default)]
pub(super) struct Guard {
    failures: Mutex<HashMap<PeerKey, Failures>>,
    known: Mutex<HashMap<(PeerKey, String), Instant>>,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

impl Guard {
    /// Whether a login from here must be refused unseen. `limit` 0 is none; an address from which this account has
    /// logged in before stays open, so that nobody can lock an owner out.
    pub(super) fn refuses(&self, ip: IpAddr, account: &str, limit: u32, now: Instant) -> bool {
        let key = PeerKey::of(ip);
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let too_many = limit > 0
            && failures
                .get(&key)
                .is_some_and(|f| f.count >= limit && now.duration_since(f.since) < FAILED_LOGIN_WINDOW);
        drop(failures);
        too_many && !self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&(key, account.to_owned()))
    }

    /// Notes a failure and returns how many there are now.
    pub(super) fn failed(&self, ip: IpAddr, now: Instant) -> u32 {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut failures, |f| now.duration_since(f.since) < FAILED_LOGIN_WINDOW);
        let entry = failures.entry(PeerKey::of(ip)).or_insert(Failures { count: 0, since: now });
        if now.duration_since(entry.since) >= FAILED_LOGIN_WINDOW {
            *entry = Failures { count: 0, since: now };
        }
        entry.count = entry.count.saturating_add(1);
        entry.count
    }

    /// Notes a success.
    pub(super) fn succeeded(&self, ip: IpAddr, account: &str, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut known, |at| now.duration_since(*at) < KNOWN_ADDRESS);
        known.insert((PeerKey::of(ip), account.to_owned()), now);
    }
}

/// Keeps a map under its bound: first goes what `fresh` does not want, then everything.
fn make_room<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, fresh: impl Fn(&V) -> bool) {
    if map.len() >= FAILED_LOGIN_ADDRESSES {
        map.retain(|_, value| fresh(value));
    }
    if map.len() >= FAILED_LOGIN_ADDRESSES {
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_per_network_and_expire() {
        let guard = Guard::default();
        let now = Instant::now();
        let ip: IpAddr = "192.0.2.1".parse().expect("an address");
        for _ in 0..3 {
            guard.failed(ip, now);
        }
        assert!(guard.refuses(ip, "a@example.com", 3, now));
        assert!(!guard.refuses(ip, "a@example.com", 4, now));
        assert!(!guard.refuses(ip, "a@example.com", 0, now), "0 lifts the limit");
        assert!(!guard.refuses("192.0.2.2".parse().expect("an address"), "a@example.com", 3, now));
        assert!(!guard.refuses(ip, "a@example.com", 3, now + FAILED_LOGIN_WINDOW));
        assert_eq!(guard.failed(ip, now + FAILED_LOGIN_WINDOW + Duration::from_secs(1)), 1);
    }

    #[test]
    fn an_owner_is_not_locked_out_where_he_is_known() {
        let guard = Guard::default();
        let now = Instant::now();
        let ip: IpAddr = "192.0.2.1".parse().expect("an address");
        guard.succeeded(ip, "a@example.com", now);
        for _ in 0..100 {
            guard.failed(ip, now);
        }
        assert!(!guard.refuses(ip, "a@example.com", 3, now));
        assert!(guard.refuses(ip, "b@example.com", 3, now));
    }
}
