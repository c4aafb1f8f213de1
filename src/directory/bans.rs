//! Networks that may not log in: which, until when, and why; and the file that keeps them over a restart.
//!
//! `auth/bans` in the storage folder is one JSON document, replaced as a whole. A ban that is over stays in it for a week,
//! so that the next one of the same network lasts longer: ten minutes, an hour, a day. A ban by hand lasts as long as was
//! said, is never pushed out by others, and holds for everybody there.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::chown;
use std::os::unix::fs::fchown;
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use serde::Serialize;

use crate::fsio;
use crate::mail::limits::BAN_MEMORY;
use crate::mail::limits::BAN_STEPS;
use crate::mail::limits::BANS;
use crate::mail::limits::BANS_FILE_OCTETS;

/// The form of the file.
const VERSION: u32 = 1;

/// One ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// The network, as an address and a prefix.
    #[serde(with = "as_text")]
    pub network: IpNet,
    /// When it began, in seconds since 1970.
    pub since: u64,
    /// When it ends, likewise.
    pub until: u64,
    /// Why.
    pub reason: String,
    /// Whether an operator said so.
    pub by_hand: bool,
    /// Which one it is of this network, from 1 on.
    pub times: u32,
}

impl Ban {
    /// Whether it is in force.
    #[must_use]
    pub fn holds(&self, now: u64) -> bool {
        now < self.until
    }
}

/// A user was let in from this network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    #[serde(with = "as_text")]
    pub(super) network: IpNet,
    pub(super) account: String,
    pub(super) at: u64,
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    version: u32,
    bans: Vec<Ban>,
    known: Vec<Known>,
}

/// Networks are written as people write them.
mod as_text {
    use ipnet::IpNet;
    use serde::Deserialize;
    use serde::Deserializer;
    use serde::Serializer;

    pub(super) fn serialize<S: Serializer>(network: &IpNet, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(network)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<IpNet, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// All bans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bans(HashMap<IpNet, Ban>);

impl Bans {
    /// Those of a file, with what else it holds; none where there is no file.
    ///
    /// # Errors
    /// What the kernel says; [`io::ErrorKind::InvalidData`] for what is no such file.
    pub(super) fn load(file: &Path) -> io::Result<(Self, Vec<Known>)> {
        use io::Read;
        let mut bytes = Vec::new();
        match fsio::open_regular(file) {
            Ok(found) => found.take(BANS_FILE_OCTETS + 1).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Default::default()),
            Err(error) => return Err(error),
        };
        let bad = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let saved: Saved = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if saved.version != VERSION {
            return Err(bad(format!("version {}, where {VERSION} was expected", saved.version)));
        }
        let bans = saved.bans.into_iter().take(BANS).map(|ban| (ban.network.trunc(), ban)).collect();
        Ok((Self(bans), saved.known))
    }

    /// Writes the file anew, as a whole, durably. It belongs to whom it belonged, or to the owner of the storage folder: the
    /// server must be able to read what root has written.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn save(&self, known: Vec<Known>, file: &Path) -> io::Result<()> {
        let mut bans: Vec<Ban> = self.0.values().cloned().collect();
        bans.sort_by_key(|ban| (ban.since, ban.network));
        let text = serde_json::to_vec(&Saved { version: VERSION, bans, known })?;
        let owner = owner(file);
        if let Some(folder) = file.parent() {
            let is_new = !folder.exists();
            fsio::create_dir_durably(folder)?;
            if is_new {
                give(std::fs::metadata(folder)?.uid(), owner, |user, group| chown(folder, user, group))?;
            }
        }
        fsio::replace_with(file, |out| {
            give(out.metadata()?.uid(), owner, |user, group| fchown(&*out, user, group))?;
            out.write_all(&text)
        })
    }

    /// Those in force, the newest last.
    pub(super) fn in_force(&self, now: u64) -> Vec<Ban> {
        let mut bans: Vec<Ban> = self.0.values().filter(|ban| ban.holds(now)).cloned().collect();
        bans.sort_by_key(|ban| (ban.since, ban.network));
        bans
    }

    /// The ban in force that an address falls under; one by hand before others.
    pub(super) fn of(&self, ip: IpAddr, now: u64) -> Option<&Ban> {
        if self.0.is_empty() {
            return None;
        }
        let ip = ip.to_canonical();
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let networks = (0..=most).rev().filter_map(|length| IpNet::new(ip, length).ok());
        let mut found: Option<&Ban> = None;
        for ban in networks.filter_map(|network| self.0.get(&network.trunc())).filter(|ban| ban.holds(now)) {
            if ban.by_hand {
                return Some(ban);
            }
            found = found.or(Some(ban));
        }
        found
    }

    /// A ban that follows from what happened; longer than the last one of this network. `None` where another holds: who is
    /// let in during a ban is an owner, and his old password must not make it longer for the others.
    pub(super) fn punish(&mut self, network: IpNet, reason: String, now: u64) -> Option<&Ban> {
        let before = self.0.get(&network).filter(|ban| now < ban.until.saturating_add(BAN_MEMORY.as_secs()));
        let times = before.filter(|ban| !ban.by_hand).map_or(0, |ban| ban.times);
        let last = BAN_STEPS.len() - 1;
        let step = usize::try_from(times).map_or(last, |times| times.min(last));
        let until = now.saturating_add(BAN_STEPS[step].as_secs());
        // One by hand that ends before this one would is no way around it.
        if before.is_some_and(|ban| ban.holds(now) && (!ban.by_hand || ban.until >= until)) {
            return None;
        }
        self.make_room(now);
        let ban = Ban { network, since: now, until, reason, by_hand: false, times: times.saturating_add(1) };
        Some(self.0.entry(network).insert_entry(ban).into_mut())
    }

    /// A ban by hand, in place of any other of the same network.
    ///
    /// # Errors
    /// There are as many by hand as there may be.
    pub(super) fn add(&mut self, network: IpNet, lasts: Duration, reason: String, now: u64) -> Result<(), String> {
        let network = network.trunc();
        if network.prefix_len() == 0 {
            return Err(format!("{network} is the whole world"));
        }
        if !self.0.contains_key(&network) && self.0.values().filter(|b| b.by_hand && b.holds(now)).count() >= BANS {
            return Err(format!("there are {BANS} bans by hand already; remove one first"));
        }
        self.make_room(now);
        let until = now.saturating_add(lasts.as_secs());
        self.0.insert(network, Ban { network, since: now, until, reason, by_hand: true, times: 1 });
        Ok(())
    }

    /// Takes one back; with it goes its history. `false` where there was none in force.
    pub(super) fn remove(&mut self, network: IpNet, now: u64) -> bool {
        self.0.remove(&network.trunc()).is_some_and(|ban| ban.holds(now))
    }

    /// First goes what is forgotten, then what is over, then the automatic ones that end first.
    fn make_room(&mut self, now: u64) {
        if self.0.len() < BANS {
            return;
        }
        self.0.retain(|_, ban| now < ban.until.saturating_add(BAN_MEMORY.as_secs()));
        if self.0.len() >= BANS {
            self.0.retain(|_, ban| ban.holds(now));
        }
        if self.0.len() >= BANS {
            // A tenth at once, so that this is not done for each.
            drop_first(&mut self.0, BANS / 10, |ban| (!ban.by_hand).then_some(ban.until));
        }
    }
}

/// User and group of the file as it is; where there is none or it is root's, of the storage folder around its folder.
fn owner(file: &Path) -> Option<(u32, u32)> {
    let before = std::fs::metadata(file).ok().filter(|found| found.uid() != 0);
    let around = || file.parent().and_then(Path::parent).and_then(|folder| std::fs::metadata(folder).ok());
    before.or_else(around).map(|found| (found.uid(), found.gid()))
}

/// Gives away what is another's. Who is not root cannot, and keeps it.
fn give(
    has: u32,
    owner: Option<(u32, u32)>,
    to: impl FnOnce(Option<u32>, Option<u32>) -> io::Result<()>,
) -> io::Result<()> {
    match owner.filter(|(user, _)| *user != has).map(|(user, group)| to(Some(user), Some(group))) {
        Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

/// Drops so many of a map, the smallest first, those without a number never; of equals no more than need be.
pub(super) fn drop_first<K: Hash + Eq, V>(map: &mut HashMap<K, V>, count: usize, number: impl Fn(&V) -> Option<u64>) {
    let mut numbers: Vec<u64> = map.values().filter_map(&number).collect();
    numbers.sort_unstable();
    numbers.truncate(count);
    let Some(last) = numbers.last().copied() else { return };
    let mut equals = numbers.len() - numbers.partition_point(|n| *n < last);
    map.retain(|_, value| match number(value) {
        Some(n) if n == last && equals > 0 => {
            equals -= 1;
            false
        }
        Some(n) => n >= last,
        None => true,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_ban_of_a_network_is_longer_until_it_is_forgotten() {
        let mut bans = Bans::default();
        let network = net("192.0.2.1/32");
        let mut now = 1_800_000_000;
        for (times, lasts) in [(1, 600), (2, 3600), (3, 86_400), (4, 86_400)] {
            let ban = bans.punish(network, "x".to_owned(), now).expect("none holds").clone();
            assert_eq!(bans.punish(network, "x".to_owned(), ban.until - 1), None, "it holds");
            assert_eq!((ban.times, ban.until - now), (times, lasts));
            assert!(bans.of(ip("192.0.2.1"), ban.until - 1).is_some() && bans.of(ip("192.0.2.1"), ban.until).is_none());
            assert!(bans.of(ip("::ffff:192.0.2.1"), now).is_some() && bans.of(ip("192.0.2.2"), now).is_none());
            now = ban.until;
        }
        now += BAN_MEMORY.as_secs();
        assert_eq!(bans.punish(network, "x".to_owned(), now).map(|ban| ban.times), Some(1));
    }

    #[test]
    fn bans_by_hand_cover_networks_and_stay() {
        let mut bans = Bans::default();
        bans.add(net("2001:db8:1:2::9/48"), Duration::from_secs(60), "spam".to_owned(), 1000).expect("room");
        assert!(bans.of(ip("2001:db8:1:ffff::1"), 1059).is_some_and(|b| b.by_hand));
        assert!(bans.of(ip("2001:db8:2::1"), 1000).is_none() && bans.of(ip("2001:db8:1::1"), 1060).is_none());
        bans.add(net("192.0.2.0/24"), Duration::from_secs(3600), "spam".to_owned(), 1000).expect("room");
        bans.punish(net("192.0.2.0/24"), "guessing".to_owned(), 1001);
        assert!(bans.of(ip("192.0.2.7"), 1002).is_some_and(|b| b.by_hand), "not shortened, not replaced");
        bans.add(net("198.51.100.1/32"), Duration::from_secs(9), "spam".to_owned(), 1000).expect("room");
        bans.punish(net("198.51.100.1/32"), "guessing".to_owned(), 1001);
        assert!(bans.of(ip("198.51.100.1"), 1600).is_some_and(|b| !b.by_hand), "a shorter one does not protect");
        assert!(bans.remove(net("192.0.2.77/24"), 1002) && !bans.remove(net("192.0.2.0/24"), 1002));
    }

    #[test]
    fn their_number_is_bounded_and_the_operators_stay() {
        let mut bans = Bans::default();
        bans.add(net("203.0.113.0/24"), Duration::from_secs(999), "x".to_owned(), 0).expect("room");
        for n in 0..u32::try_from(BANS).expect("small") + 500 {
            bans.punish(IpNet::from(IpAddr::from(n.to_be_bytes())), "x".to_owned(), 7);
            let there = bans.0.len();
            assert!(there <= BANS && (there > BANS * 9 / 10 - 2 || there > n as usize), "{n}: {there}");
        }
        assert!(bans.of(ip("203.0.113.1"), 8).is_some());
        let last = u32::try_from(BANS).expect("small") + 499;
        assert!(bans.of(IpAddr::from(last.to_be_bytes()), 11).is_some(), "the newest is there");
    }

    #[test]
    fn what_root_writes_is_the_servers() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let file = dir.path().join("auth/bans");
        if chown(dir.path(), Some(12_345), Some(12_346)).is_err() {
            eprintln!("SKIPPED: only root can give files away");
            return;
        }
        Bans::default().save(Vec::new(), &file).expect("saved");
        for path in [&file, &dir.path().join("auth")] {
            let found = std::fs::metadata(path).expect("made");
            assert_eq!((found.uid(), found.gid()), (12_345, 12_346), "{}", path.display());
        }
    }

    #[test]
    fn the_file_keeps_them() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let file = dir.path().join("auth/bans");
        assert_eq!(Bans::load(&file).expect("none"), (Bans::default(), Vec::new()));
        let mut bans = Bans::default();
        bans.punish(net("192.0.2.1/32"), "guessing".to_owned(), 1000);
        bans.add(net("2001:db8::/32"), Duration::from_secs(60), "spam".to_owned(), 1000).expect("room");
        let known = vec![Known { network: net("192.0.2.9/32"), account: "a@example.com".to_owned(), at: 7 }];
        bans.save(known.clone(), &file).expect("saved");
        assert_eq!(Bans::load(&file).expect("there"), (bans, known));
        for broken in [
            "",
            "{}",
            "{\"version\":2,\"bans\":[],\"known\":[]}",
            "{\"version\":1,\"bans\":[{\"network\":\"x\"}],\"known\":[]}",
        ] {
            std::fs::write(&file, broken).expect("written");
            assert!(Bans::load(&file).is_err(), "{broken}");
        }
    }
}
