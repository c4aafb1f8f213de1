//! How many connections a peer may have, at once and a minute.
//!
//! Every limit is a key of `[limits]`, named in the refusal, so that an operator who reads a log line knows what to
//! change; 0 lifts it. Counters vanish with their last connection, so their number is bounded by the connections.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::Limits;
use crate::mail::limits::LEAVING_CONNECTIONS;
use crate::mail::peer::PeerKey;

/// Whose limits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Port 25.
    Reception,
    /// Ports 587 and 465.
    Submission,
    /// IMAP and POP3.
    Mailbox,
}

/// A connection that is one too many. Prints the key that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    key: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "too many connections (limits.{})", self.key)
    }
}

impl std::error::Error for Refusal {}

/// Counts connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: ArcSwap<Limits>,
    clock: Clock,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: u32,
    open: HashMap<Counted, u32>,
    /// New connections to port 25 since the start of a minute.
    minute: HashMap<PeerKey, u32>,
    minute_start: Option<Instant>,
    /// Strangers on port 25 who have not begun a message, in the order they came.
    strangers: BTreeMap<u64, Arc<Notify>>,
    /// The number of the next one.
    next_stranger: u64,
    /// Strangers who were told to go and are still there.
    leaving: u32,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    Peer(Class, PeerKey),
    Wide(PeerKey),
    Waiting(PeerKey),
    User(PeerKey, String),
}

/// A place under the limits, given back when dropped.
#[derive(Debug)]
pub struct Slot {
    limiter: Limiter,
    peer: PeerKey,
    held: Vec<Counted>,
    /// While it may be displaced: its number, and what tells of it.
    stranger: Option<(u64, Arc<Notify>)>,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Limiter {
    /// A limiter without connections.
    #[must_use]
    pub fn new(limits: Limits, clock: Clock) -> Self {
        Self(Arc::new(Inner { limits: ArcSwap::from_pointee(limits), clock, counts: Mutex::default() }))
    }

    /// New limits; they count for the next connections.
    pub fn set(&self, limits: Limits) {
        self.0.limits.store(Arc::new(limits));
    }

    /// Connections now.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.counts().all
    }

    /// A place for a new connection. `trusted` peers are counted, but only the total can refuse them. Where the total is
    /// reached, the stranger on port 25 who has been there longest without a message makes room: mail that waits comes
    /// again, and a crowd that only holds connections must not shut out the users. Time counts from the beginning and
    /// not from the last octet, which a slow peer sends whenever it likes.
    ///
    /// # Errors
    /// The peer has too many; or everybody has, and nobody can be sent away.
    pub fn enter(&self, class: Class, ip: IpAddr, trusted: bool) -> Result<Slot, Refusal> {
        let limits = self.0.limits.load();
        let peer = PeerKey::of(ip);
        let mut counts = self.counts();
        let mut wanted = vec![(Counted::Peer(class, peer), peer_limit(class, &limits))];
        match class {
            Class::Reception => {
                let wide = PeerKey::wide(ip).map(Counted::Wide);
                wanted.extend(wide.map(|w| (w, (limits.smtp_connections_per_network, "smtp_connections_per_network"))));
                let this_minute = counts.in_this_minute(peer, self.0.clock.instant());
                if !trusted {
                    over(limits.smtp_connections_per_minute, this_minute, "smtp_connections_per_minute")?;
                }
            }
            Class::Mailbox => {
                let limit = (limits.waiting_connections_per_address, "waiting_connections_per_address");
                wanted.push((Counted::Waiting(peer), limit));
            }
            Class::Submission => {}
        }
        for (counted, (limit, key)) in &wanted {
            if !trusted {
                over(*limit, counts.open.get(counted).copied().unwrap_or(0), key)?;
            }
        }
        // Who is leaving has given up the place already.
        if let Err(full) = over(limits.connections, counts.all.saturating_sub(counts.leaving), "connections")
            && !counts.displace_one()
        {
            return Err(full);
        }
        let held: Vec<Counted> = wanted.into_iter().map(|(counted, _)| counted).collect();
        for counted in &held {
            *counts.open.entry(counted.clone()).or_default() += 1;
        }
        counts.all += 1;
        if class == Class::Reception {
            *counts.minute.entry(peer).or_default() += 1;
        }
        let stranger = (class == Class::Reception && !trusted).then(|| counts.add_stranger());
        Ok(Slot { limiter: self.clone(), peer, held, stranger })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn peer_limit(class: Class, limits: &Limits) -> (u32, &'static str) {
    match class {
        Class::Reception => (limits.smtp_connections_per_address, "smtp_connections_per_address"),
        Class::Submission => (limits.submission_connections_per_address, "submission_connections_per_address"),
        Class::Mailbox => (limits.mailbox_connections_per_address, "mailbox_connections_per_address"),
    }
}

fn over(limit: u32, now: u32, key: &'static str) -> Result<(), Refusal> {
    if limit > 0 && now >= limit { Err(Refusal { key }) } else { Ok(()) }
}

impl Counts {
    /// New connections of a peer in the running minute. Starts a new minute when the old one is over, which also
    /// forgets every peer of the old one.
    fn in_this_minute(&mut self, peer: PeerKey, now: Instant) -> u32 {
        if self.minute_start.is_none_or(|start| now.duration_since(start) >= MINUTE) {
            self.minute.clear();
            self.minute_start = Some(now);
        }
        self.minute.get(&peer).copied().unwrap_or(0)
    }

    fn add_stranger(&mut self) -> (u64, Arc<Notify>) {
        let (number, told) = (self.next_stranger, Arc::new(Notify::new()));
        self.next_stranger = number.saturating_add(1);
        self.strangers.insert(number, Arc::clone(&told));
        (number, told)
    }

    /// Sends the stranger away who has been here longest. Until it has taken its leave there is one connection more than
    /// may be, and [`LEAVING_CONNECTIONS`] more at most: a flood that comes faster than they go is refused.
    /// `false`: nobody can be sent.
    fn displace_one(&mut self) -> bool {
        if self.leaving >= LEAVING_CONNECTIONS {
            return false;
        }
        let Some((_, told)) = self.strangers.pop_first() else { return false };
        told.notify_one();
        self.leaving += 1;
        true
    }

    /// A stranger is none any more; whether it had been told to go.
    fn remove_stranger(&mut self, number: u64) -> bool {
        self.strangers.remove(&number).is_none()
    }

    fn give_back(&mut self, counted: &Counted) {
        if let Some(count) = self.open.get_mut(counted) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.open.remove(counted);
            }
        }
    }
}

impl Slot {
    /// What tells that this connection has to go, for others to come; `None` where that cannot be.
    #[must_use]
    pub fn displaced(&self) -> Option<Arc<Notify>> {
        self.stranger.as_ref().map(|(_, told)| Arc::clone(told))
    }

    /// The connection has work to do: it stays. Whoever was told to go before goes all the same.
    pub fn settle(&mut self) {
        if let Some((number, told)) = self.stranger.take()
            && self.limiter.counts().remove_stranger(number)
        {
            self.stranger = Some((number, told));
        }
    }

    /// The connection belongs to a user now: it no longer waits for a login, and counts for him.
    ///
    /// # Errors
    /// He has too many from this address.
    pub fn logged_in(&mut self, user: &str) -> Result<(), Refusal> {
        let limits = self.limiter.0.limits.load();
        let counted = Counted::User(self.peer, user.to_owned());
        let waiting = Counted::Waiting(self.peer);
        let mut counts = self.limiter.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = counts.open.get(&counted).copied().unwrap_or(0);
        over(limits.mailbox_connections_per_user, now, "mailbox_connections_per_user")?;
        if let Some(at) = self.held.iter().position(|h| *h == waiting) {
            counts.give_back(&waiting);
            self.held.swap_remove(at);
        }
        *counts.open.entry(counted.clone()).or_default() += 1;
        self.held.push(counted);
        Ok(())
    }

    /// The connection is nobody's again, and waits for a login as a new one does.
    pub fn logged_out(&mut self) {
        let mut counts = self.limiter.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let is_user = |held: &Counted| matches!(held, Counted::User(..));
        if let Some(at) = self.held.iter().position(is_user) {
            let user = self.held.swap_remove(at);
            counts.give_back(&user);
            let waiting = Counted::Waiting(self.peer);
            *counts.open.entry(waiting.clone()).or_default() += 1;
            self.held.push(waiting);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.limiter.counts();
        counts.all = counts.all.saturating_sub(1);
        if let Some((number, _)) = &self.stranger
            && counts.remove_stranger(*number)
        {
            counts.leaving = counts.leaving.saturating_sub(1);
        }
        for counted in &self.held {
            counts.give_back(counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(clock: &Clock) -> Limiter {
        let text = "hostname = \"mail.example.com\"\n[limits]\nsmtp_connections_per_address = 2\nsmtp_connections_per_minute = 4\n\
                    smtp_connections_per_network = 3\nmailbox_connections_per_user = 1\nwaiting_connections_per_address = 2\n";
        let config = crate::config::parse(std::path::Path::new("t.toml"), text).expect("valid");
        Limiter::new(config.limits, clock.clone())
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn who_logs_out_waits_again_and_counts_no_longer_as_the_user() {
        let limiter = limiter(&Clock::system());
        let enter = || limiter.enter(Class::Mailbox, ip("192.0.2.1"), false);
        let mut one = enter().expect("first");
        one.logged_in("alice").expect("one of hers");
        let mut two = enter().expect("one waits");
        assert!(two.logged_in("alice").is_err());
        one.logged_out();
        two.logged_in("alice").expect("she has none now");
        let _three = enter().expect("one waits again");
        assert!(enter().is_err(), "two wait");
        drop(one);
        enter().expect("one waits");
    }

    #[test]
    fn places_are_limited_and_given_back() {
        let limiter = limiter(&Clock::system());
        let enter = |t: &str| limiter.enter(Class::Reception, ip(t), false);
        let one = enter("192.0.2.1").expect("first");
        let _two = enter("192.0.2.1").expect("second");
        let refusal = enter("192.0.2.1").expect_err("third");
        assert_eq!(refusal.to_string(), "too many connections (limits.smtp_connections_per_address)");
        assert!(limiter.enter(Class::Reception, ip("192.0.2.1"), true).is_ok(), "trusted");
        let _other = enter("192.0.2.2").expect("another peer");
        drop(one);
        assert!(enter("192.0.2.1").is_ok());
        assert_eq!(limiter.open(), 2);
    }

    #[tokio::test]
    async fn under_pressure_idle_strangers_go_first() {
        let text = "hostname = \"mail.example.com\"\n[limits]\nconnections = 4\n";
        let config = crate::config::parse(std::path::Path::new("t.toml"), text).expect("valid");
        let limiter = Limiter::new(config.limits, Clock::system());
        let enter = |class, trusted| limiter.enter(class, ip("192.0.2.1"), trusted);
        let mut busy = enter(Class::Reception, false).expect("first");
        let trusted = enter(Class::Reception, true).expect("second");
        let first = enter(Class::Reception, false).expect("third");
        let second = enter(Class::Reception, false).expect("fourth");
        busy.settle();
        assert!(busy.displaced().is_none() && trusted.displaced().is_none());
        let user = enter(Class::Mailbox, false).expect("in the place of the first idle stranger");
        first.displaced().expect("a stranger").notified().await;
        drop(first);
        // Who comes by the same right as the next to go is let in, too.
        let third = enter(Class::Reception, false).expect("in the place of the second");
        second.displaced().expect("a stranger").notified().await;
        drop((second, third));
        let _more = enter(Class::Submission, false).expect("a place was free");
        assert_eq!(limiter.open(), 4);
        let refusal = enter(Class::Mailbox, false).expect_err("nobody is idle");
        assert_eq!(refusal.to_string(), "too many connections (limits.connections)");
        drop((busy, trusted, user));
        assert!(limiter.counts().strangers.is_empty());
    }

    #[test]
    fn a_flood_does_not_go_above_the_limit_by_more_than_a_few() {
        let text = "hostname = \"mail.example.com\"\n[limits]\nconnections = 100\nsmtp_connections_per_address = 0\n\
                    smtp_connections_per_network = 0\nsmtp_connections_per_minute = 0\n";
        let config = crate::config::parse(std::path::Path::new("t.toml"), text).expect("valid");
        let limiter = Limiter::new(config.limits, Clock::system());
        let enter = || limiter.enter(Class::Reception, ip("192.0.2.1"), false);
        let most = 100 + LEAVING_CONNECTIONS;
        let mut slots: std::collections::VecDeque<Slot> =
            std::iter::repeat_with(enter).map_while(Result::ok).take(1000).collect();
        assert_eq!((slots.len(), limiter.open()), (most as usize, most));
        // The first to come were told to go. One that begins a message at that moment goes all the same.
        slots[0].settle();
        assert!(slots[0].displaced().is_some());
        drop(slots.pop_front());
        slots.push_back(enter().expect("in the place of one that is gone"));
        assert!(enter().is_err());
        // When they are gone there is nobody above the limit, and nothing is left of them.
        drop(slots.drain(..LEAVING_CONNECTIONS as usize));
        assert_eq!((limiter.open(), limiter.counts().leaving), (100, 0));
        drop(slots);
        let counts = limiter.counts();
        assert_eq!((counts.all, counts.leaving, counts.strangers.len()), (0, 0, 0));
    }

    #[test]
    fn a_minute_has_its_limit() {
        let clock = Clock::by_hand(std::time::SystemTime::UNIX_EPOCH);
        let limiter = limiter(&clock);
        for _ in 0..4 {
            assert!(limiter.enter(Class::Reception, ip("192.0.2.1"), false).is_ok());
        }
        assert!(limiter.enter(Class::Reception, ip("192.0.2.1"), false).is_err());
        clock.advance(MINUTE);
        assert!(limiter.enter(Class::Reception, ip("192.0.2.1"), false).is_ok());
    }

    #[test]
    fn networks_and_users_are_counted() {
        let limiter = limiter(&Clock::system());
        let slots: Vec<_> = (1..=3)
            .map(|n| limiter.enter(Class::Reception, ip(&format!("2001:db8:1:{n}::1")), false).expect("a place"))
            .collect();
        assert!(limiter.enter(Class::Reception, ip("2001:db8:1:9::1"), false).is_err());
        drop(slots);
        let mut one = limiter.enter(Class::Mailbox, ip("192.0.2.1"), false).expect("a place");
        let mut two = limiter.enter(Class::Mailbox, ip("192.0.2.1"), false).expect("a place");
        assert!(limiter.enter(Class::Mailbox, ip("192.0.2.1"), false).is_err(), "two wait for a login");
        assert!(one.logged_in("alice").is_ok());
        assert!(limiter.enter(Class::Mailbox, ip("192.0.2.1"), false).is_ok(), "one waits");
        assert_eq!(two.logged_in("alice").map_err(|r| r.key), Err("mailbox_connections_per_user"));
        assert!(two.logged_in("bob").is_ok());
        drop(one);
        let mut again = limiter.enter(Class::Mailbox, ip("192.0.2.1"), false).expect("a place");
        assert!(again.logged_in("alice").is_ok());
    }
}
