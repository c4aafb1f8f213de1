//! Greylisting: whoever is new is asked to come again (RFC 6647).
//!
//! What is known lies in memory and now and then in `state/greylist`: derived, so that whoever deletes it makes some
//! mail come a few minutes later. Entries are named by a hash, so that the file tells nobody who writes to whom.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::SystemTime;

use aws_lc_rs::digest;

use crate::config;
use crate::fsio;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::ReversePath;
use crate::mail::limits::GREYLIST_ENTRIES;

const HEAD: &str = "facteur greylist 1\n";

/// By what a sender is known when he comes again. Large providers try again from another address, so one address is
/// too little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// SPF passed: by this domain.
    Domain(Domain),
    /// By the IPv4 /24 or the IPv6 /64.
    Network(IpAddr),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Domain(domain) => write!(f, "domain {domain}"),
            Self::Network(ip) => match ip.to_canonical() {
                IpAddr::V4(v4) => {
                    let [a, b, c, _] = v4.octets();
                    write!(f, "network {a}.{b}.{c}.0/24")
                }
                IpAddr::V6(v6) => {
                    let network = std::net::Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64));
                    write!(f, "network {network}/64")
                }
            },
        }
    }
}

/// What is said to him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Greeting {
    /// He came again in time, now or before.
    Known,
    /// Come again after this wait.
    Wait(Duration),
}

/// A hash of what is remembered.
type Key = [u8; 16];

/// When somebody came, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// The first time, or the last of whoever is known.
    since: u64,
    /// He came again in time.
    known: bool,
}

/// Everybody who was seen.
#[derive(Debug, Default)]
pub struct Greylist {
    seen: Mutex<HashMap<Key, Seen>>,
}

impl Greylist {
    /// Where it lies below the storage folder.
    #[must_use]
    pub fn file(folder: &Path) -> PathBuf {
        folder.join("state/greylist")
    }

    /// What a file holds; a missing or damaged one is an empty one. Blocks.
    #[must_use]
    pub fn load(file: &Path) -> Self {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file = %file.display(), %error, "greylisting begins anew");
                }
                String::new()
            }
        };
        let lines = text.strip_prefix(HEAD).unwrap_or_default().lines();
        let seen = lines.filter_map(parse).take(GREYLIST_ENTRIES).collect();
        Self { seen: Mutex::new(seen) }
    }

    /// Writes it down. Blocks.
    ///
    /// # Errors
    /// What the kernel says; the old file stays.
    pub fn save(&self, file: &Path, config: &config::Greylist, now: SystemTime) -> io::Result<()> {
        // Sessions wait for the lock, so nothing is formatted under it.
        let all: Vec<(Key, Seen)> = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.retain(|_, entry| is_fresh(entry, config, seconds(now)));
            seen.iter().map(|(key, entry)| (*key, *entry)).collect()
        };
        let mut text = HEAD.to_owned();
        for (key, entry) in all {
            let key = data_encoding::HEXLOWER.encode(&key);
            text.push_str(&format!("{key} {} {}\n", entry.since, u8::from(entry.known)));
        }
        fsio::replace(file, text.as_bytes())
    }

    /// Somebody brings mail. Notes it.
    pub fn meet(
        &self,
        origin: &Origin,
        sender: &ReversePath,
        recipient: &Address,
        config: &config::Greylist,
        now: SystemTime,
    ) -> Greeting {
        let (keys, now) = (Keys::of(origin, sender, recipient), seconds(now));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut seen, config, now);
        let greeting = judge(&seen, &keys, config, now);
        match greeting {
            Greeting::Known => {
                seen.remove(&keys.mail);
                seen.insert(keys.origin, Seen { since: now, known: true });
            }
            Greeting::Wait(_) if seen.get(&keys.mail).is_some_and(|entry| is_fresh(entry, config, now)) => {}
            Greeting::Wait(_) => {
                seen.insert(keys.mail, Seen { since: now, known: false });
            }
        }
        greeting
    }

    /// What [`Greylist::meet`] would say; nothing is noted.
    #[must_use]
    pub fn look(
        &self,
        origin: &Origin,
        sender: &ReversePath,
        recipient: &Address,
        config: &config::Greylist,
        now: SystemTime,
    ) -> Greeting {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        judge(&seen, &Keys::of(origin, sender, recipient), config, seconds(now))
    }
}

/// Under what a mail is remembered.
struct Keys {
    /// Whoever came again once is a mail server: his other mail need not wait.
    origin: Key,
    mail: Key,
}

impl Keys {
    fn of(origin: &Origin, sender: &ReversePath, recipient: &Address) -> Self {
        let sender = sender.address().map_or_else(String::new, Address::key);
        let mail = key(&format!("{origin}\n{sender}\n{}", recipient.key()));
        Self { origin: key(&origin.to_string()), mail }
    }
}

fn judge(seen: &HashMap<Key, Seen>, keys: &Keys, config: &config::Greylist, now: u64) -> Greeting {
    let fresh = |key: &Key| seen.get(key).filter(|entry| is_fresh(entry, config, now));
    if fresh(&keys.origin).is_some() {
        return Greeting::Known;
    }
    let since = fresh(&keys.mail).map_or(now, |entry| entry.since);
    let waited = Duration::from_secs(now.saturating_sub(since));
    // Nobody is known at his first mail, however short the wait.
    match fresh(&keys.mail) {
        Some(_) if waited >= config.delay => Greeting::Known,
        _ => Greeting::Wait(config.delay.saturating_sub(waited)),
    }
}

/// Whether an entry still counts. One from the future, after a clock that went back, does.
fn is_fresh(entry: &Seen, config: &config::Greylist, now: u64) -> bool {
    let lifetime = if entry.known { config.known } else { config.window };
    now.saturating_sub(entry.since) <= lifetime.as_secs()
}

/// Keeps the map under its bound: first goes what is over, then who has not come again, then the rest.
fn make_room(seen: &mut HashMap<Key, Seen>, config: &config::Greylist, now: u64) {
    if seen.len() < GREYLIST_ENTRIES {
        return;
    }
    seen.retain(|_, entry| is_fresh(entry, config, now));
    if seen.len() >= GREYLIST_ENTRIES / 2 {
        seen.retain(|_, entry| entry.known);
    }
    if seen.len() >= GREYLIST_ENTRIES {
        seen.clear();
    }
}

fn key(text: &str) -> Key {
    let mut key = Key::default();
    let whole = digest::digest(&digest::SHA256, text.as_bytes());
    key.copy_from_slice(&whole.as_ref()[..16]);
    key
}

fn parse(line: &str) -> Option<(Key, Seen)> {
    let mut words = line.split(' ');
    let key = data_encoding::HEXLOWER.decode(words.next()?.as_bytes()).ok()?.try_into().ok()?;
    let since = words.next()?.parse().ok()?;
    let known = words.next()? == "1";
    Some((key, Seen { since, known }))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> config::Greylist {
        let text = "hostname = \"mx.example.com\"\n[greylist]\nenabled = true\n";
        config::parse(Path::new("t.toml"), text).expect("valid").greylist
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn address(text: &str) -> Address {
        Address::parse(text).expect("valid")
    }

    fn network(ip: &str) -> Origin {
        Origin::Network(ip.parse().expect("an address"))
    }

    #[test]
    fn who_comes_again_in_time_is_known() {
        let (list, config) = (Greylist::default(), config());
        let sender = ReversePath::Address(address("s@there.example"));
        let meet = |ip: &str, to: &str, when: u64| list.meet(&network(ip), &sender, &address(to), &config, at(when));
        let wait = |seconds| Greeting::Wait(Duration::from_secs(seconds));
        assert_eq!(meet("192.0.2.1", "a@example.com", 0), wait(300));
        assert_eq!(meet("192.0.2.1", "a@example.com", 100), wait(200));
        assert_eq!(meet("192.0.3.1", "a@example.com", 300), wait(300), "another network");
        let look = list.look(&network("192.0.2.200"), &sender, &address("A@example.com"), &config, at(300));
        assert_eq!(look, Greeting::Known);
        assert_eq!(meet("192.0.2.200", "A@example.com", 300), Greeting::Known, "the same /24");
        assert_eq!(meet("192.0.2.7", "b@example.com", 301), Greeting::Known, "whoever comes again is a mail server");
        let day = 86_400;
        assert_eq!(meet("192.0.2.7", "b@example.com", 30 * day), Greeting::Known);
        assert_eq!(meet("192.0.2.7", "b@example.com", 60 * day), Greeting::Known, "each mail prolongs it");
        assert_eq!(meet("192.0.2.7", "b@example.com", 96 * day), wait(300));
        assert_eq!(meet("192.0.2.7", "b@example.com", 99 * day), wait(300), "too late");
    }

    #[test]
    fn a_domain_that_passes_spf_is_known_wherever_it_comes_from() {
        let (list, config) = (Greylist::default(), config());
        let sender = ReversePath::Address(address("s@there.example"));
        let origin = Origin::Domain(Domain::parse("there.example").expect("valid"));
        let meet = |when| list.meet(&origin, &sender, &address("a@example.com"), &config, at(when));
        assert!(matches!(meet(0), Greeting::Wait(_)));
        assert_eq!(meet(400), Greeting::Known);
        assert_eq!(network("2001:db8:1:2:3::4").to_string(), "network 2001:db8:1:2::/64");
    }

    #[test]
    fn it_survives_a_restart_and_a_damaged_file_is_none() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let file = dir.path().join("greylist");
        let (list, config) = (Greylist::load(&file), config());
        let to = address("a@example.com");
        list.meet(&network("192.0.2.1"), &ReversePath::Null, &to, &config, at(0));
        list.meet(&network("198.51.100.1"), &ReversePath::Null, &to, &config, at(0));
        list.meet(&network("198.51.100.1"), &ReversePath::Null, &to, &config, at(300));
        list.save(&file, &config, at(300)).expect("saved");
        let again = Greylist::load(&file);
        assert_eq!(*again.seen.lock().expect("not poisoned"), *list.seen.lock().expect("not poisoned"));
        assert_eq!(again.seen.lock().expect("not poisoned").len(), 2);
        std::fs::write(&file, "facteur greylist 1\nzz 1 2\n00 1\n\u{0}").expect("written");
        assert!(Greylist::load(&file).seen.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn a_flood_of_new_senders_forgets_nobody_who_is_known() {
        let (list, config) = (Greylist::default(), config());
        let to = address("a@example.com");
        list.meet(&network("192.0.2.1"), &ReversePath::Null, &to, &config, at(0));
        list.meet(&network("192.0.2.1"), &ReversePath::Null, &to, &config, at(300));
        {
            let mut seen = list.seen.lock().expect("not poisoned");
            for n in 0..GREYLIST_ENTRIES as u64 {
                let mut key = Key::default();
                key[..8].copy_from_slice(&n.to_be_bytes());
                seen.insert(key, Seen { since: seconds(at(300)), known: false });
            }
        }
        list.meet(&network("198.51.100.1"), &ReversePath::Null, &to, &config, at(301));
        assert!(list.seen.lock().expect("not poisoned").len() < 10);
        assert_eq!(list.meet(&network("192.0.2.9"), &ReversePath::Null, &to, &config, at(302)), Greeting::Known);
    }
}
