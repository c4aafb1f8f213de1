//! SPF over names that the input holds: it ends, within the look-ups that it may do, and says what can be printed.
//!
//! The input: a line `address sender helo`, then one line for each record: `T name text`, `A name address`,
//! `M name preference host`, `P name` (a name of the client), `X name` (no answer for it). The name `*` is every name
//! that has no record of the kind.
//!
//! Compiled into `sender_auth::spf` by the fuzz build alone, for there is no other zone than the DNS.

use std::collections::HashSet;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use super::Client;
use super::Identity;
use super::SpfResult;
use super::checked;
use super::zone::Zone;
use crate::dns::LookupError;
use crate::mail::address::Domain;
use crate::mail::limits::DNS_ADDRESSES;
use crate::mail::limits::DNS_MX_RECORDS;
use crate::mail::limits::DNS_PTR_NAMES;
use crate::mail::limits::SPF_EXPLANATION_CHARS;
use crate::mail::limits::SPF_LOOKUPS;
use crate::mail::limits::SPF_MX_HOSTS;
use crate::mail::limits::SPF_VOID_LOOKUPS;

/// The record, each term with what it may ask, the names of the client, and the words for a fail.
const MOST: usize = 1 + SPF_LOOKUPS * (1 + SPF_MX_HOSTS) + 1 + DNS_PTR_NAMES + 1;

#[derive(Default)]
struct Asked {
    questions: usize,
    texts: usize,
    /// Answers with nothing in them, to questions that a term itself asks.
    voids: usize,
    /// Hosts and names that answers told of.
    told: HashSet<String>,
}

struct Played<'a> {
    records: Vec<(&'a str, &'a str, &'a str)>,
    asked: Mutex<Asked>,
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl<'a> Played<'a> {
    fn of(lines: impl Iterator<Item = &'a str>) -> Self {
        let records = lines.take(64).filter_map(|line| {
            let (kind, rest) = line.split_once(' ')?;
            let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
            Some((kind, name, value))
        });
        Self { records: records.collect(), asked: Mutex::default() }
    }

    fn ask(&self, kind: &str, name: &str) -> Result<Vec<&'a str>, LookupError> {
        let mut asked = self.asked.lock().expect("one thread");
        asked.questions += 1;
        assert!(asked.questions <= MOST, "more questions than the terms may ask");
        if kind == "T" {
            asked.texts += 1;
            assert!(asked.texts <= SPF_LOOKUPS + 2, "more records than the terms may ask for");
        }
        let name = plain(name);
        let of = |kind: &str, name: &str| -> Vec<&'a str> {
            self.records.iter().filter(|r| r.0 == kind && plain(r.1) == name).map(|r| r.2).collect()
        };
        if !of("X", &name).is_empty() {
            return Err(LookupError::Temporary("played".to_owned()));
        }
        let mut found = of(kind, &name);
        if found.is_empty() {
            found = of(kind, "*");
        }
        if found.is_empty() && matches!(kind, "A" | "M") && !asked.told.contains(&name) {
            asked.voids += 1;
            assert!(asked.voids <= SPF_VOID_LOOKUPS + 1, "more questions without an answer than there may be");
        }
        if found.is_empty() && !self.records.iter().any(|r| plain(r.1) == name) {
            return Err(LookupError::NoSuchName);
        }
        Ok(found)
    }

    fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        Ok(self.ask("A", name)?.iter().filter_map(|text| text.parse().ok()).take(DNS_ADDRESSES).collect())
    }

    fn tell(&self, name: &str) {
        self.asked.lock().expect("one thread").told.insert(plain(name));
    }
}

impl Zone for Played<'_> {
    async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
        Ok(self.ask("T", name)?.iter().map(|text| text.as_bytes().to_vec()).collect())
    }

    async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, LookupError> {
        let v4 = |ip| if let IpAddr::V4(v4) = ip { Some(v4) } else { None };
        Ok(self.addresses(name)?.into_iter().filter_map(v4).collect())
    }

    async fn addresses_like(&self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, LookupError> {
        Ok(self.addresses(name)?.into_iter().filter(|ip| ip.is_ipv4() == like.is_ipv4()).collect())
    }

    async fn mx(&self, name: &str) -> Result<Vec<(u16, String)>, LookupError> {
        let found = self.ask("M", name)?.into_iter().take(DNS_MX_RECORDS).filter_map(|text| {
            let (preference, host) = text.split_once(' ')?;
            self.tell(host);
            Some((preference.parse().ok()?, host.to_owned()))
        });
        let mut found: Vec<(u16, String)> = found.collect();
        found.sort_by_key(|(preference, _)| *preference);
        Ok(found)
    }

    async fn names(&self, _: IpAddr) -> Result<Vec<Domain>, LookupError> {
        self.ask("-", "the client").ok();
        let names = self.records.iter().filter(|r| r.0 == "P").filter_map(|r| Domain::parse(r.1).ok());
        let names: Vec<Domain> = names.take(DNS_PTR_NAMES).collect();
        names.iter().for_each(|name| self.tell(name.as_str()));
        Ok(names)
    }
}

/// Checks one client.
pub fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let mut lines = text.lines();
    let Some(first) = lines.next() else { return };
    let mut words = first.splitn(3, ' ');
    let (Some(ip), Some(sender), helo) = (words.next(), words.next(), words.next().unwrap_or_default()) else { return };
    let Ok(ip) = ip.parse::<IpAddr>() else { return };
    let mut zone = Played::of(lines);
    let (local, domain) = sender.rsplit_once('@').unwrap_or(("", sender));
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let mut judge = |ip| {
        *zone.asked.get_mut().expect("one thread") = Asked::default();
        let client = Client { ip, helo, receiver: "mx.example", now: 1 };
        RUNTIME.with(|runtime| runtime.block_on(checked(&zone, client, Identity::MailFrom, local, domain)))
    };
    let verdict = judge(ip);
    let is_error = matches!(verdict.result, SpfResult::TempError | SpfResult::PermError);
    assert_eq!(verdict.problem.is_some(), is_error, "{verdict:?}");
    if let Some(words) = &verdict.explanation {
        assert_eq!(verdict.result, SpfResult::Fail);
        assert!(words.chars().count() <= SPF_EXPLANATION_CHARS && words.bytes().all(|b| (b' '..=b'~').contains(&b)));
    }
    // RFC 7208 §5: an IPv4 address in the clothes of IPv6 is one.
    if let IpAddr::V4(v4) = ip {
        assert_eq!(judge(IpAddr::V6(v4.to_ipv6_mapped())), verdict);
    }
    let asked = zone.asked.get_mut().expect("one thread");
    if asked.texts == 0 || (asked.questions == 1 && !zone.records.iter().any(|r| matches!(r.0, "T" | "X"))) {
        assert_eq!(verdict.result, SpfResult::None);
    }
}
