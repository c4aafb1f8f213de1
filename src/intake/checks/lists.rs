//! The lists that are asked about a client, all at once, and the sum of what they say.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use tokio::task::JoinSet;

use crate::config::DnsblEntry;
use crate::dns::Dns;

/// What the lists say of one client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listings {
    /// The lists it is on, with what that counts.
    pub on: Vec<(String, i32)>,
    /// The lists that did not answer, or answered that they do not want to.
    pub silent: Vec<String>,
}

impl Listings {
    /// What it comes to.
    #[must_use]
    pub fn sum(&self) -> i64 {
        self.on.iter().map(|(_, weight)| i64::from(*weight)).sum()
    }
}

impl std::fmt::Display for Listings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let on = self.on.iter().map(|(zone, weight)| format!("{zone} ({weight:+})"));
        let silent = self.silent.iter().map(|zone| format!("{zone} (no answer)"));
        let all: Vec<String> = on.chain(silent).collect();
        if all.is_empty() { f.write_str("on no list") } else { f.write_str(&all.join(", ")) }
    }
}

/// Asks all lists.
pub(super) async fn ask(dns: &Dns, lists: &[DnsblEntry], ip: IpAddr) -> Listings {
    let mut asked = JoinSet::new();
    for (at, list) in lists.iter().enumerate() {
        let (dns, zone) = (dns.clone(), list.zone.value.clone());
        asked.spawn(async move { (at, dns.listed(ip, &zone).await) });
    }
    let mut answers = Vec::with_capacity(lists.len());
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer.ok());
    }
    answers.sort_by_key(|(at, _)| *at);
    let mut listings = Listings::default();
    for (at, answer) in answers {
        let (list, zone) = (&lists[at], lists[at].zone.value.to_string());
        match answer {
            Ok(answers) if answers.iter().any(|a| counts(list, *a)) => listings.on.push((zone, list.weight)),
            Ok(answers) if answers.iter().any(|a| is_refusal(*a)) => {
                tracing::warn!(zone, "this list refuses to answer our resolver, so it counts nothing");
                listings.silent.push(zone);
            }
            Ok(_) => {}
            Err(_) => listings.silent.push(zone),
        }
    }
    listings
}

fn counts(list: &DnsblEntry, answer: Ipv4Addr) -> bool {
    !is_refusal(answer) && list.answers.iter().any(|net| net.contains(&IpAddr::V4(answer)))
}

/// By such an answer a list says that it does not want to be asked so, or by that resolver. To take it for a yes would
/// refuse everybody.
fn is_refusal(answer: Ipv4Addr) -> bool {
    answer.octets()[..3] == [127, 255, 255]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_where_it_was_named_and_is_no_refusal() {
        let text = "hostname = \"mx.example.com\"\n[checks]\ndnsbl_junk = 1\n[[dnsbl]]\nzone = \"all.example\"\n\
             [[dnsbl]]\nzone = \"some.example\"\nanswers = [\"127.0.0.2\", \"127.0.0.8/29\"]\n";
        let config = crate::config::parse(std::path::Path::new("t.toml"), text).expect("valid");
        let counts = |list: usize, answer: [u8; 4]| counts(&config.dnsbl[list], answer.into());
        assert!(counts(0, [127, 0, 0, 4]) && !counts(0, [127, 255, 255, 254]) && !counts(0, [192, 0, 2, 1]));
        assert!(counts(1, [127, 0, 0, 2]) && counts(1, [127, 0, 0, 11]) && !counts(1, [127, 0, 0, 4]));
        let listings = Listings { on: vec![("a".to_owned(), 3), ("b".to_owned(), -2)], silent: vec!["c".to_owned()] };
        assert_eq!((listings.sum(), listings.to_string().as_str()), (1, "a (+3), b (-2), c (no answer)"));
    }
}
