//! Failed logins of all protocols together: counted, answered later and later, and punished by a ban.
//!
//! | what is counted within ten minutes | at the limit |
//! | --- | --- |
//! | failures of an IPv4 address or IPv6 /64 | it is banned |
//! | different pairs of address and account in an IPv4 /24 or IPv6 /48: one try on each of many accounts counts here, one client with an old password does not | the whole network is banned |
//! | failures of an account, from everywhere | logins of this account are refused where it is not known |
//!
//! The first limit is `limits.failed_logins`; the others are multiples of it, and 0 lifts them all. Where a user has
//! logged in within the last month he is let in whatever others do there: nobody can lock an owner out. Only a ban by hand
//! is for everybody. Networks of `bans.allow`, `relay.trusted_networks` and
//! `proxy.networks` are never banned, and do not count; but behind an address of `proxy.networks` are many whom the proxy
//! did not name, so that failures from there count for the account. A webmail server on the machine of a proxy belongs
//! into `bans.allow`, which says otherwise.

use std::collections::HashMap;
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::hash::Hash;
use std::hash::RandomState;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use ipnet::IpNet;

use super::bans::Ban;
use super::bans::Bans;
use super::bans::Known;
use super::bans::drop_first;
use crate::clock::Clock;
use crate::fsio;
use crate::mail::limits::FAILED_LOGIN_ADDRESSES;
use crate::mail::limits::FAILED_LOGIN_DELAY;
use crate::mail::limits::FAILED_LOGIN_DELAY_MOST;
use crate::mail::limits::FAILED_LOGIN_NETWORKS;
use crate::mail::limits::FAILED_LOGIN_WINDOW;
use crate::mail::limits::FAILED_LOGINS_PER_ACCOUNT;
use crate::mail::limits::FAILED_LOGINS_PER_NETWORK;
use crate::mail::limits::FAILED_LOGINS_PER_SECOND_MORE;
use crate::mail::limits::KNOWN_ADDRESS;
use crate::mail::limits::KNOWN_ADDRESS_FRESH;
use crate::mail::limits::KNOWN_ADDRESSES_SAVED;

/// What the configuration says.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// `limits.failed_logins`; 0 for no limit.
    pub(super) limit: u32,
    /// Networks that are never banned.
    pub(super) allow: Vec<IpNet>,
    /// Those of proxies: an address there is that of nobody whom a proxy named.
    pub(super) proxies: Vec<IpNet>,
    /// Those of `allow` that are so even for a proxy.
    pub(super) explicit: Vec<IpNet>,
}

impl Rules {
    fn allows(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allow.iter().any(|network| network.contains(&ip))
    }

    /// Whether anybody may be behind this address, so that only the account counts.
    pub(super) fn hides(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let named = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&ip));
        named(&self.proxies) && !named(&self.explicit)
    }
}

/// What follows from a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Consequence {
    /// Failures of this address now; of this account where the address is a proxy's.
    pub(super) failures: u32,
    /// How long the answer waits.
    pub(super) delay: Duration,
    /// The bans that began.
    pub(super) bans: Vec<Ban>,
}

impl Consequence {
    fn of(failures: u32) -> Self {
        let more = u64::from(failures / FAILED_LOGINS_PER_SECOND_MORE);
        let delay = (FAILED_LOGIN_DELAY + Duration::from_secs(more)).min(FAILED_LOGIN_DELAY_MOST);
        Self { failures, delay, bans: Vec::new() }
    }
}

/// The counters and the bans. One for all protocols: who guesses by POP3 is not welcome at IMAP.
pub struct Guard {
    clock: Clock,
    file: Option<PathBuf>,
    state: Mutex<State>,
    /// One writes at a time: an older state must not follow a newer one.
    saving: Mutex<()>,
    /// For the marks of pairs; of this process alone.
    marks: RandomState,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    peers: HashMap<IpNet, Failures>,
    accounts: HashMap<String, Failures>,
    /// Names that nobody has: as many as strangers like, so that they must not push out those of accounts.
    nobodies: HashMap<String, Failures>,
    networks: HashMap<IpNet, Spread>,
    /// When a user was let in last from a network, narrow or wide.
    known: HashMap<(IpNet, String), u64>,
    /// When anybody was, from a narrow one.
    known_peers: HashMap<IpNet, u64>,
    bans: Bans,
    /// There is something that the file does not have.
    changed: bool,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    since: u64,
}

/// Marks of the pairs of address and account that failed in a network.
#[derive(Debug)]
struct Spread {
    pairs: HashSet<u64>,
    since: u64,
}

impl Guard {
    /// One that forgets everything at its end.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, file: None, state: Mutex::default(), saving: Mutex::default(), marks: RandomState::new() }
    }

    /// One with the bans of a file, for the server. What cannot be read is put aside and told of: neither a broken file nor
    /// one of another user may keep the owner's mail from him.
    #[must_use]
    pub fn open(file: &Path, clock: Clock) -> Self {
        Self::read(file, clock.clone()).unwrap_or_else(|error| {
            let aside = file.with_extension("broken");
            tracing::error!(file = %file.display(), %error, aside = %aside.display(), "bans cannot be read: put aside");
            if let Err(error) = fsio::rename(file, &aside) {
                tracing::error!(file = %file.display(), %error, "bans not put aside: they are overwritten at the next change");
            }
            Self { file: Some(file.to_owned()), ..Self::new(clock) }
        })
    }

    /// One with the bans of a file, which stays as it is until there is something to save.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::InvalidData`] for what is no such file.
    pub fn read(file: &Path, clock: Clock) -> io::Result<Self> {
        let (bans, known) = Bans::load(file)?;
        let mut state = State { bans, ..State::default() };
        for known in known {
            state.knows(known.network, known.account, known.at);
        }
        state.changed = false;
        Ok(Self { file: Some(file.to_owned()), state: Mutex::new(state), ..Self::new(clock) })
    }

    fn now(&self) -> u64 {
        self.clock.since_epoch().as_secs()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody at all may log in from here, so that a connection is of no use.
    pub(super) fn closes_the_door(&self, ip: IpAddr, rules: &Rules) -> bool {
        let now = self.now();
        let state = self.state();
        let Some(ban) = state.bans.of(ip, now).filter(|_| !rules.allows(ip) && !rules.hides(ip)) else { return false };
        ban.by_hand || !state.known_peers.get(&narrow(ip)).is_some_and(|at| is_known(*at, now))
    }

    /// Whether a login must be refused unseen.
    pub(super) fn refuses(&self, ip: IpAddr, account: &str, rules: &Rules) -> bool {
        let hidden = rules.hides(ip);
        if !hidden && rules.allows(ip) {
            return false;
        }
        let now = self.now();
        let state = self.state();
        if let Some(ban) = state.bans.of(ip, now).filter(|_| !hidden) {
            return ban.by_hand || !state.is_known(narrow(ip), account, now);
        }
        let most = rules.limit.saturating_mul(FAILED_LOGINS_PER_ACCOUNT);
        let failures = state.accounts.get(account).or_else(|| state.nobodies.get(account));
        let attacked = failures.is_some_and(|f| f.count >= most && f.is_fresh(now));
        most > 0 && attacked && (hidden || !state.is_known(wide(ip), account, now))
    }

    /// Notes a failure; `exists` says whether there is such an account.
    pub(super) fn failed(&self, ip: IpAddr, account: &str, exists: bool, rules: &Rules) -> Consequence {
        let now = self.now();
        let (narrow, wide) = (narrow(ip), wide(ip));
        let mut state = self.state();
        let State { peers, accounts, nobodies, networks, bans, changed, .. } = &mut *state;
        let accounts = if exists { accounts } else { nobodies };
        let mut of_account = || {
            make_room(accounts, FAILED_LOGIN_ADDRESSES, now, |f| f.since);
            Failures::count(accounts.entry(account.to_owned()).or_insert(Failures { count: 0, since: now }), now)
        };
        if rules.hides(ip) {
            return Consequence::of(of_account());
        }
        make_room(peers, FAILED_LOGIN_ADDRESSES, now, |f| f.since);
        let failures = Failures::count(peers.entry(narrow).or_insert(Failures { count: 0, since: now }), now);
        let mut consequence = Consequence::of(failures);
        if rules.allows(ip) {
            return consequence;
        }
        of_account();
        make_room(networks, FAILED_LOGIN_NETWORKS, now, |s| s.since);
        let spread = networks.entry(wide).or_insert(Spread { pairs: HashSet::new(), since: now });
        if now.saturating_sub(spread.since) >= FAILED_LOGIN_WINDOW.as_secs() {
            *spread = Spread { pairs: HashSet::new(), since: now };
        }
        let most_pairs = rules.limit.saturating_mul(FAILED_LOGINS_PER_NETWORK);
        let pairs = if most_pairs > 0 {
            spread.pairs.insert(self.marks.hash_one((narrow, account)));
            u32::try_from(spread.pairs.len()).unwrap_or(u32::MAX)
        } else {
            0
        };
        if rules.limit > 0 && failures >= rules.limit {
            // It begins anew: the next ban takes as many.
            peers.remove(&narrow);
            consequence.bans.extend(bans.punish(narrow, format!("{failures} failed logins"), now).cloned());
        }
        if most_pairs > 0 && pairs >= most_pairs {
            networks.remove(&wide);
            let reason = format!("failed logins of {pairs} pairs of address and account");
            consequence.bans.extend(bans.punish(wide, reason, now).cloned());
        }
        *changed |= !consequence.bans.is_empty();
        consequence
    }

    /// Notes a success.
    pub(super) fn succeeded(&self, ip: IpAddr, account: &str, rules: &Rules) {
        // What is everybody's is no owner's.
        if rules.hides(ip) {
            return;
        }
        let now = self.now();
        self.state().knows(narrow(ip), account.to_owned(), now);
    }

    /// The bans in force.
    #[must_use]
    pub fn bans(&self) -> Vec<Ban> {
        self.state().bans.in_force(self.now())
    }

    /// Bans by hand, at once durable.
    ///
    /// # Errors
    /// Words for the operator.
    pub fn ban(&self, network: IpNet, lasts: Duration, reason: String) -> Result<(), String> {
        let mut state = self.state();
        state.bans.add(network, lasts, reason, self.now())?;
        state.changed = true;
        drop(state);
        self.save().map_err(|error| format!("the ban is in force, but could not be saved: {error}"))
    }

    /// Takes a ban back, and what was counted there; `false` where there was none.
    ///
    /// # Errors
    /// Words for the operator.
    pub fn unban(&self, network: IpNet) -> Result<bool, String> {
        let mut state = self.state();
        let was = state.bans.remove(network, self.now());
        state.peers.retain(|peer, _| !network.contains(peer));
        state.networks.retain(|wide, _| !network.contains(wide));
        state.changed = true;
        drop(state);
        self.save().map_err(|error| format!("the ban is off, but that could not be saved: {error}"))?;
        Ok(was)
    }

    /// Writes the file where something has changed. Waits for the disk.
    ///
    /// # Errors
    /// What the kernel says; then it is tried again at the next call.
    pub fn save(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let _alone = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        if !std::mem::take(&mut state.changed) {
            return Ok(());
        }
        let bans = state.bans.clone();
        let known = state.known.iter().filter(|((network, _), _)| is_narrow(network));
        let mut known: Vec<Known> = known
            .map(|((network, account), at)| Known { network: *network, account: account.clone(), at: *at })
            .collect();
        drop(state);
        // The latest first; all of them in an order, so that the file can be compared.
        known.sort_by(|a, b| (b.at, a.network, &a.account).cmp(&(a.at, b.network, &b.account)));
        known.truncate(KNOWN_ADDRESSES_SAVED);
        bans.save(known, file).inspect_err(|_| self.state().changed = true)
    }
}

impl Failures {
    fn is_fresh(&self, now: u64) -> bool {
        now.saturating_sub(self.since) < FAILED_LOGIN_WINDOW.as_secs()
    }

    /// One more; how many there are now.
    fn count(entry: &mut Self, now: u64) -> u32 {
        if !entry.is_fresh(now) {
            *entry = Self { count: 0, since: now };
        }
        entry.count = entry.count.saturating_add(1);
        entry.count
    }
}

impl State {
    fn is_known(&self, network: IpNet, account: &str, now: u64) -> bool {
        self.known.get(&(network, account.to_owned())).is_some_and(|at| is_known(*at, now))
    }

    fn knows(&mut self, narrow: IpNet, account: String, at: u64) {
        make_room(&mut self.known, 2 * FAILED_LOGIN_ADDRESSES, at, |at| at.saturating_add(KNOWN_ADDRESS.as_secs()));
        make_room(&mut self.known_peers, FAILED_LOGIN_ADDRESSES, at, |at| at.saturating_add(KNOWN_ADDRESS.as_secs()));
        let wide = wide(narrow.addr());
        // A phone logs in all day; that it did is noted and written once a day.
        let before = self.known.get(&(narrow, account.clone()));
        if before.is_none_or(|before| at.saturating_sub(*before) >= KNOWN_ADDRESS_FRESH.as_secs()) {
            self.known.insert((narrow, account.clone()), at);
            self.changed = true;
        }
        // The file begins with the latest: what comes after must not make it older.
        let later = |before: &mut u64| *before = at.max(*before);
        self.known.entry((wide, account)).and_modify(later).or_insert(at);
        self.known_peers.entry(narrow).and_modify(later).or_insert(at);
    }
}

fn is_known(at: u64, now: u64) -> bool {
    now.saturating_sub(at) < KNOWN_ADDRESS.as_secs()
}

/// An IPv4 address, an IPv6 /64: one customer.
fn narrow(ip: IpAddr) -> IpNet {
    prefix(ip, 32, 64)
}

/// What one provider gives to several customers, or to one with many addresses.
fn wide(ip: IpAddr) -> IpNet {
    prefix(ip, 24, 48)
}

fn is_narrow(network: &IpNet) -> bool {
    matches!((network, network.prefix_len()), (IpNet::V4(_), 32) | (IpNet::V6(_), 64))
}

fn prefix(ip: IpAddr, v4: u8, v6: u8) -> IpNet {
    let ip = ip.to_canonical();
    let length = if ip.is_ipv4() { v4 } else { v6 };
    IpNet::new(ip, length).map_or_else(|_| IpNet::from(ip), |network| network.trunc())
}

/// Keeps a map under its bound: first goes what is too old to count, then the oldest tenth.
fn make_room<K: Hash + Eq, V>(map: &mut HashMap<K, V>, most: usize, now: u64, since: impl Fn(&V) -> u64) {
    if map.len() < most {
        return;
    }
    map.retain(|_, value| now.saturating_sub(since(value)) < FAILED_LOGIN_WINDOW.as_secs());
    if map.len() >= most {
        drop_first(map, most / 10, |value| Some(since(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn rules(limit: u32) -> Rules {
        Rules { limit, allow: vec!["10.0.0.0/8".parse().expect("a network")], ..Rules::default() }
    }

    fn clock() -> Clock {
        Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
    }

    const A: &str = "a@example.com";

    #[test]
    fn failures_make_a_ban_that_ends_and_grows() {
        let clock = clock();
        let guard = Guard::new(clock.clone());
        let peer = ip("192.0.2.1");
        for (lasts, n) in [(600, 1), (3600, 2), (86_400, 3)] {
            for _ in 0..2 {
                assert!(guard.failed(peer, "nobody", true, &rules(3)).bans.is_empty());
            }
            let bans = guard.failed(peer, "nobody", true, &rules(3)).bans;
            assert_eq!((bans.len(), bans[0].times, bans[0].until - bans[0].since), (1, n, lasts));
            assert!(guard.refuses(peer, A, &rules(3)) && guard.closes_the_door(peer, &rules(3)));
            assert!(!guard.refuses(ip("192.0.2.2"), A, &rules(3)));
            clock.advance(Duration::from_secs(lasts - 1));
            assert!(guard.refuses(peer, A, &rules(3)));
            clock.advance(Duration::from_secs(1));
            assert!(!guard.refuses(peer, A, &rules(3)) && !guard.closes_the_door(peer, &rules(3)));
        }
    }

    #[test]
    fn old_failures_do_not_count_and_zero_lifts_the_limit() {
        let clock = clock();
        let guard = Guard::new(clock.clone());
        for _ in 0..2 {
            guard.failed(ip("192.0.2.1"), A, true, &rules(3));
        }
        clock.advance(FAILED_LOGIN_WINDOW);
        assert_eq!(guard.failed(ip("192.0.2.1"), A, true, &rules(3)).failures, 1);
        for _ in 0..1000 {
            guard.failed(ip("192.0.2.1"), A, true, &rules(0));
        }
        assert!(guard.bans().is_empty() && !guard.refuses(ip("192.0.2.1"), A, &rules(0)));
    }

    #[test]
    fn answers_come_later_and_later_but_not_for_ever() {
        let guard = Guard::new(clock());
        let delays: Vec<u64> =
            (0..30).map(|_| guard.failed(ip("10.0.0.1"), A, true, &rules(10)).delay.as_secs()).collect();
        assert_eq!((delays[0], delays[2], delays[3], delays[29]), (1, 1, 2, FAILED_LOGIN_DELAY_MOST.as_secs()));
        assert!(delays.is_sorted());
    }

    #[test]
    fn an_owner_is_not_locked_out_where_he_is_known() {
        let guard = Guard::new(clock());
        let (home, peer) = (ip("192.0.2.1"), rules(3));
        guard.succeeded(home, A, &peer);
        for _ in 0..100 {
            guard.failed(home, A, true, &peer);
        }
        assert!(!guard.refuses(home, A, &peer) && !guard.closes_the_door(home, &peer));
        assert!(guard.refuses(home, "b@example.com", &peer));
        // Only the operator can.
        guard
            .ban("192.0.2.0/24".parse().expect("a network"), Duration::from_secs(60), "enough".to_owned())
            .expect("room");
        assert!(guard.refuses(home, A, &peer) && guard.closes_the_door(home, &peer));
    }

    #[test]
    fn an_owners_old_password_makes_no_ban_longer() {
        let clock = clock();
        let guard = Guard::new(clock.clone());
        let home = ip("192.0.2.1");
        guard.succeeded(home, A, &rules(3));
        let bans: Vec<_> = (0..100).flat_map(|_| guard.failed(home, A, true, &rules(3)).bans).collect();
        assert_eq!((bans.len(), bans[0].times), (1, 1), "those of the ban's time do not count");
        clock.advance(Duration::from_secs(600));
        assert!(!guard.refuses(home, "b@example.com", &rules(3)));
    }

    #[test]
    fn an_account_under_attack_is_open_to_its_owner_alone() {
        let clock = clock();
        let guard = Guard::new(clock.clone());
        guard.succeeded(ip("203.0.113.5"), A, &rules(3));
        for n in 0..30_u8 {
            guard.failed(IpAddr::from([198, 18, n, 1]), A, true, &rules(3));
        }
        assert!(guard.refuses(ip("192.0.2.1"), A, &rules(3)));
        assert!(!guard.closes_the_door(ip("192.0.2.1"), &rules(3)));
        assert!(!guard.refuses(ip("203.0.113.9"), A, &rules(3)), "his provider gives him another address");
        assert!(!guard.refuses(ip("192.0.2.1"), "b@example.com", &rules(3)));
        clock.advance(FAILED_LOGIN_WINDOW);
        assert!(!guard.refuses(ip("192.0.2.1"), A, &rules(3)));
    }

    #[test]
    fn spraying_bans_the_network_and_one_old_password_does_not() {
        let guard = Guard::new(clock());
        let sprayed = |from: fn(u8) -> IpAddr| {
            (0..9)
                .flat_map(|n| guard.failed(from(n), &format!("user{n}"), true, &rules(3)).bans)
                .map(|b| b.network.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(sprayed(|n| IpAddr::from([192, 0, 2, n])), ["192.0.2.0/24"]);
        assert_eq!(sprayed(|n| IpAddr::from([0x2001, 0xdb8, 1, u16::from(n), 0, 0, 0, 1])), ["2001:db8:1::/48"]);
        assert!(
            guard.refuses(ip("192.0.2.200"), A, &rules(3)) && guard.refuses(ip("2001:db8:1:ffff::1"), A, &rules(3))
        );
        let bans: Vec<_> = (0..40).flat_map(|_| guard.failed(ip("198.51.100.1"), A, true, &rules(30)).bans).collect();
        assert_eq!(bans.len(), 1);
        assert_eq!(bans[0].network.to_string(), "198.51.100.1/32");
        // A /64 is one customer.
        for n in 0..3_u16 {
            guard.failed(IpAddr::from([0x2001, 0xdb8, 7, 7, 0, 0, 0, n]), A, true, &rules(3));
        }
        assert!(
            guard.refuses(ip("2001:db8:7:7:ffff::1"), "z", &rules(3))
                && !guard.refuses(ip("2001:db8:7:8::1"), "z", &rules(3))
        );
    }

    #[test]
    fn trusted_networks_are_never_banned() {
        let guard = Guard::new(clock());
        for n in 0..200_u8 {
            assert!(guard.failed(ip("10.1.2.3"), &format!("u{n}"), true, &rules(3)).bans.is_empty());
        }
        guard.ban("10.0.0.0/8".parse().expect("a network"), Duration::from_secs(60), "x".to_owned()).expect("room");
        assert!(
            !guard.refuses(ip("10.1.2.3"), A, &rules(3)) && !guard.closes_the_door(ip("::ffff:10.1.2.3"), &rules(3))
        );
    }

    #[test]
    fn bans_and_known_addresses_survive() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (file, clock) = (dir.path().join("auth/bans"), clock());
        let guard = Guard::open(&file, clock.clone());
        guard.succeeded(ip("192.0.2.1"), A, &rules(3));
        for _ in 0..3 {
            guard.failed(ip("192.0.2.1"), A, true, &rules(3));
        }
        guard.save().expect("saved");
        let guard = Guard::open(&file, clock.clone());
        assert!(
            guard.refuses(ip("192.0.2.1"), "b@example.com", &rules(3)) && !guard.refuses(ip("192.0.2.1"), A, &rules(3))
        );
        assert_eq!(guard.unban("192.0.2.1/32".parse().expect("a network")), Ok(true));
        std::fs::write(&file, "nonsense").expect("written");
        let guard = Guard::open(&file, clock);
        assert!(guard.bans().is_empty() && dir.path().join("auth/bans.broken").exists());
        // Nor does what is no file at all keep the server from its start.
        std::fs::remove_file(dir.path().join("auth/bans.broken")).expect("there");
        std::fs::create_dir(&file).expect("a folder");
        assert!(Guard::read(&file, self::clock()).is_err());
        let guard = Guard::open(&file, self::clock());
        guard.ban("192.0.2.0/24".parse().expect("a network"), Duration::from_secs(60), "x".to_owned()).expect("saved");
        assert!(file.is_file());
    }

    #[test]
    fn the_latest_login_of_an_address_counts_after_a_restart() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (file, clock) = (dir.path().join("auth/bans"), clock());
        let guard = Guard::open(&file, clock.clone());
        guard.succeeded(ip("192.0.2.1"), "b@example.com", &rules(3));
        guard.succeeded(ip("192.0.2.2"), A, &rules(3));
        clock.advance(KNOWN_ADDRESS - Duration::from_secs(60));
        guard.succeeded(ip("192.0.2.1"), A, &rules(3));
        guard.save().expect("saved");
        let guard = Guard::open(&file, clock.clone());
        clock.advance(Duration::from_secs(3600));
        for _ in 0..3 {
            guard.failed(ip("192.0.2.1"), "x", true, &rules(3));
        }
        assert!(!guard.closes_the_door(ip("192.0.2.1"), &rules(3)), "somebody was let in an hour ago");
        for n in 0..30_u8 {
            guard.failed(IpAddr::from([198, 18, n, 1]), A, true, &rules(3));
        }
        assert!(!guard.refuses(ip("192.0.2.9"), A, &rules(3)), "his provider gives him another address");
    }

    #[test]
    fn counters_are_bounded() {
        let guard = Guard::new(clock());
        let most = u32::try_from(FAILED_LOGIN_ADDRESSES).expect("small");
        for n in 0..most + 5000 {
            guard.failed(IpAddr::from(n.to_be_bytes()), &format!("u{n}"), true, &rules(0));
        }
        let state = guard.state();
        for size in [state.peers.len(), state.accounts.len()] {
            assert!((FAILED_LOGIN_ADDRESSES * 9 / 10..=FAILED_LOGIN_ADDRESSES).contains(&size), "{size}");
        }
        assert!(state.networks.len() <= FAILED_LOGIN_NETWORKS);
    }

    #[test]
    fn names_that_nobody_has_push_out_no_account() {
        let guard = Guard::new(clock());
        let rules = rules(100_000);
        for n in 0..10_u8 {
            guard.failed(IpAddr::from([198, 18, n, 1]), A, true, &rules);
        }
        for n in 0..u32::try_from(FAILED_LOGIN_ADDRESSES).expect("small") + 5000 {
            guard.failed(IpAddr::from((n % 7).to_be_bytes()), &format!("u{n}"), false, &rules);
        }
        let state = guard.state();
        assert_eq!(state.accounts.get(A).map(|f| f.count), Some(10));
        assert!(state.nobodies.len() <= FAILED_LOGIN_ADDRESSES);
    }

    #[test]
    fn behind_a_proxy_that_names_nobody_the_account_counts() {
        let guard = Guard::new(clock());
        let net = |text: &str| vec![text.parse().expect("a network")];
        let mut rules = Rules { proxies: net("10.0.0.0/24"), ..rules(3) };
        let proxy = ip("10.0.0.1");
        guard.succeeded(proxy, A, &rules);
        for _ in 0..30 {
            assert!(!guard.refuses(proxy, A, &rules));
            assert!(guard.failed(proxy, A, true, &rules).bans.is_empty());
        }
        assert!(guard.refuses(proxy, A, &rules), "no success of somebody there makes it an owner's");
        assert!(!guard.refuses(proxy, "b@example.com", &rules) && !guard.closes_the_door(proxy, &rules));
        assert_eq!(guard.failed(proxy, "b@example.com", true, &rules).failures, 1, "nobody else waits longer");
        rules.explicit = net("10.0.0.1/32");
        assert!(!guard.refuses(proxy, A, &rules), "the operator says who that is");
    }
}
