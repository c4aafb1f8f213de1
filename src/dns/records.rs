//! Single questions: texts, addresses, exchangers and names, as they are, within bounds.
//!
//! A name that exists without such a record has an empty list; one that does not exist is
//! [`LookupError::NoSuchName`]. Knows nothing of what the answers are for.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use hickory_resolver::net::DnsError;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::RecordType;

use crate::dns::Dns;
use crate::dns::LookupError;
use crate::mail::address::Domain;
use crate::mail::limits::DNS_ADDRESSES;
use crate::mail::limits::DNS_MX_RECORDS;
use crate::mail::limits::DNS_PTR_NAMES;
use crate::mail::limits::DNS_TXT_OCTETS;

impl Dns {
    /// The text records of a name, the strings of each joined without a space between them (RFC 7208 §3.3,
    /// RFC 6376 §3.6.2.2), [`DNS_TXT_OCTETS`] at most.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
        let mut texts = Vec::new();
        let mut octets = 0;
        for data in self.ask(name, RecordType::TXT).await? {
            let RData::TXT(text) = data else { continue };
            let joined: Vec<u8> = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
            octets += joined.len();
            if octets > DNS_TXT_OCTETS {
                return Err(LookupError::Temporary("more text than an answer can hold".to_owned()));
            }
            texts.push(joined);
        }
        Ok(texts)
    }

    /// The IPv4 addresses of a name, [`DNS_ADDRESSES`] at most.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, LookupError> {
        let answer = self.ask(name, RecordType::A).await?.into_iter();
        let addresses = answer.filter_map(|data| if let RData::A(a) = data { Some(a.0) } else { None });
        Ok(addresses.take(DNS_ADDRESSES).collect())
    }

    /// The IPv6 addresses of a name, [`DNS_ADDRESSES`] at most.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn ipv6(&self, name: &str) -> Result<Vec<Ipv6Addr>, LookupError> {
        let answer = self.ask(name, RecordType::AAAA).await?.into_iter();
        let addresses = answer.filter_map(|data| if let RData::AAAA(a) = data { Some(a.0) } else { None });
        Ok(addresses.take(DNS_ADDRESSES).collect())
    }

    /// The addresses of a name of the same kind as `like`.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn addresses_like(&self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, LookupError> {
        match like {
            IpAddr::V4(_) => Ok(self.ipv4(name).await?.into_iter().map(IpAddr::V4).collect()),
            IpAddr::V6(_) => Ok(self.ipv6(name).await?.into_iter().map(IpAddr::V6).collect()),
        }
    }

    /// The MX records of a name, the best first, [`DNS_MX_RECORDS`] at most; a null MX (RFC 7505) is an empty name.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn mx(&self, name: &str) -> Result<Vec<(u16, String)>, LookupError> {
        let answer = self.ask(name, RecordType::MX).await?.into_iter();
        let named = answer.filter_map(|data| if let RData::MX(mx) = data { Some(mx) } else { None });
        let mut found: Vec<(u16, String)> =
            named.take(DNS_MX_RECORDS).map(|mx| (mx.preference, text_of(&mx.exchange))).collect();
        found.sort_by_key(|(preference, _)| *preference);
        Ok(found)
    }

    /// The names that an address says it has, [`DNS_PTR_NAMES`] at most, and only those that are host names.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn names(&self, ip: IpAddr) -> Result<Vec<Domain>, LookupError> {
        let answer = self.asked(Name::from(ip), RecordType::PTR).await?.into_iter();
        let named = answer.filter_map(|data| if let RData::PTR(name) = data { Some(name.0) } else { None });
        Ok(named.take(DNS_PTR_NAMES).filter_map(|name| Domain::parse(&text_of(&name)).ok()).collect())
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, LookupError> {
        // A name that DNS cannot hold does not exist.
        let name = name_of(name).ok_or(LookupError::NoSuchName)?;
        self.asked(name, kind).await
    }

    async fn asked(&self, name: Name, kind: RecordType) -> Result<Vec<RData>, LookupError> {
        match self.resolver()?.lookup(name, kind).await {
            Ok(answer) => Ok(answer.answers().iter().map(|record| record.data.clone()).collect()),
            Err(error) => none_or_doubt(&error),
        }
    }
}

/// Only a name server that says yes or "no such name" said something; any other code (RFC 1035 §4.1.1) may change.
fn none_or_doubt(error: &NetError) -> Result<Vec<RData>, LookupError> {
    if let NetError::Dns(DnsError::NoRecordsFound(none)) = error {
        if none.response_code == ResponseCode::NXDomain {
            return Err(LookupError::NoSuchName);
        }
        if none.response_code == ResponseCode::NoError {
            return Ok(Vec::new());
        }
    }
    Err(LookupError::Temporary(error.to_string()))
}

/// The labels as they are: a backslash is no escape here, and a label may have any octet (RFC 2181 §11).
fn name_of(text: &str) -> Option<Name> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let fits = !text.is_empty() && text.len() <= 253 && text.split('.').all(|l| (1..=63).contains(&l.len()));
    let mut name = fits.then(|| Name::from_labels(text.split('.').map(str::as_bytes)).ok()).flatten()?;
    // No search list of this machine is tried.
    name.set_fqdn(true);
    Some(name)
}

/// Without the dot at its end, in lower case. The octets of labels are taken as they are, as [`name_of`] does.
fn text_of(name: &Name) -> String {
    let plain = |label: &[u8]| label.iter().all(|b| b.is_ascii_graphic() && *b != b'.');
    if name.iter().all(plain) {
        let labels: Vec<String> = name.iter().map(|l| String::from_utf8_lossy(l).to_ascii_lowercase()).collect();
        return labels.join(".");
    }
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_dns_cannot_hold_are_none() {
        let long = "a".repeat(64);
        let deep = "a.".repeat(127) + "a";
        for bad in ["", ".", "a..b", ".a", &long, &deep] {
            assert!(name_of(bad).is_none(), "{bad}");
        }
        for (good, labels) in [("a.b.", 2), ("a\\.b", 2), ("é.fr", 2), ("%{x}.fr", 2)] {
            let name = name_of(good).expect(good);
            assert_eq!(usize::from(name.num_labels()), labels, "{good}");
            assert!(name.is_fqdn());
        }
    }
}
