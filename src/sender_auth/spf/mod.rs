//! SPF (RFC 7208): may this client send for this domain?
//!
//! [`check`] asks DNS what the record of the domain wants to know and gives one of the seven results of §2.6. Own code
//! and not the library's, which keeps neither the limit of void look-ups nor the rule of one record.

#[cfg(fuzzing)]
#[path = "../../../tests/fuzz/inside/spf_zone.rs"]
pub mod fuzz;
pub mod macros;
pub mod record;
mod zone;

use std::net::IpAddr;
use std::pin::Pin;

use crate::dns::Dns;
use crate::dns::LookupError;
use crate::mail::address::Domain;
use crate::mail::limits::DNS_SET_TIME;
use crate::mail::limits::SPF_EXPLANATION_CHARS;
use crate::mail::limits::SPF_LOOKUPS;
use crate::mail::limits::SPF_MX_HOSTS;
use crate::mail::limits::SPF_VOID_LOOKUPS;
use macros::MacroString;
use macros::Values;
use record::Mechanism;
use record::Prefix;
use record::Qualifier;
use record::Record;
use zone::Zone;

/// What SPF says (RFC 7208 §2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpfResult {
    /// There is no record, or no domain to look for one.
    None,
    /// The domain says nothing of this client.
    Neutral,
    /// The client may.
    Pass,
    /// The client may not.
    Fail,
    /// The client probably may not.
    SoftFail,
    /// It could not be found out now.
    TempError,
    /// The record cannot be understood.
    PermError,
}

impl SpfResult {
    /// As `Authentication-Results` has it (RFC 8601 §2.7.2).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Whose name was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// The envelope's sender.
    MailFrom,
    /// What the client called itself (RFC 7208 §2.3).
    Helo,
}

/// The result for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfVerdict {
    /// What SPF says.
    pub result: SpfResult,
    /// Whose name was checked.
    pub identity: Identity,
    /// The name, as it came: it may be anything, so print it with care.
    pub domain: String,
    /// What the domain says of a fail (RFC 7208 §6.2): printable ASCII, [`SPF_EXPLANATION_CHARS`] at most. A
    /// stranger's words.
    pub explanation: Option<String>,
    /// What is wrong, of an error, in our words.
    pub problem: Option<String>,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The address.
    pub ip: IpAddr,
    /// What it called itself.
    pub helo: &'a str,
    /// Our name, for explanations.
    pub receiver: &'a str,
    /// The time in seconds since 1970, for explanations.
    pub now: u64,
}

/// Checks the envelope's sender, without brackets; for the null path the name of the client is checked in its stead,
/// as `postmaster@` (RFC 7208 §2.4). Takes [`DNS_SET_TIME`] at most.
pub async fn check(dns: &Dns, client: Client<'_>, sender: &str) -> SpfVerdict {
    if sender.is_empty() {
        return check_helo(dns, client).await;
    }
    let (local, domain) = sender.rsplit_once('@').unwrap_or(("", sender));
    checked(dns, client, Identity::MailFrom, local, domain).await
}

/// Checks what the client called itself (RFC 7208 §2.3). Takes [`DNS_SET_TIME`] at most.
pub async fn check_helo(dns: &Dns, client: Client<'_>) -> SpfVerdict {
    checked(dns, client, Identity::Helo, "", client.helo).await
}

async fn checked<Z: Zone>(dns: &Z, client: Client<'_>, identity: Identity, local: &str, domain: &str) -> SpfVerdict {
    // RFC 7208 §4.3: without a local part, it is postmaster.
    let local = if local.is_empty() { "postmaster" } else { local };
    let mut check = Check {
        dns,
        // RFC 7208 §5: an IPv4 address in IPv6 clothes is one.
        ip: client.ip.to_canonical(),
        client,
        sender: format!("{local}@{domain}"),
        local,
        sender_domain: domain,
        lookups: 0,
        voids: 0,
        names: None,
    };
    let found = tokio::time::timeout(DNS_SET_TIME, check.run(domain)).await;
    let (result, explanation, problem) = match found {
        Ok(Ok((result, explanation))) => (result, explanation, None),
        Ok(Err(Stop::Temporary(why))) => (SpfResult::TempError, None, Some(why)),
        Ok(Err(Stop::Permanent(why))) => (SpfResult::PermError, None, Some(why)),
        Err(_) => (SpfResult::TempError, None, Some("no answer in time".to_owned())),
    };
    SpfVerdict { result, identity, domain: domain.to_owned(), explanation, problem }
}

/// Why a check ends before its end.
enum Stop {
    Temporary(String),
    Permanent(String),
}

impl Stop {
    fn permanent(why: &str) -> Self {
        Self::Permanent(why.to_owned())
    }
}

/// One check with what it has used up.
struct Check<'a, Z> {
    dns: &'a Z,
    ip: IpAddr,
    client: Client<'a>,
    sender: String,
    local: &'a str,
    sender_domain: &'a str,
    lookups: usize,
    voids: usize,
    /// The names of the client that are true, once they are known.
    names: Option<Vec<Domain>>,
}

type Evaluated<'b> = Pin<Box<dyn Future<Output = Result<Found, Stop>> + Send + 'b>>;

/// The result of a record, and the words for it with the domain that has them.
struct Found {
    result: SpfResult,
    exp: Option<(MacroString, String)>,
}

impl<Z: Zone> Check<'_, Z> {
    async fn run(&mut self, domain: &str) -> Result<(SpfResult, Option<String>), Stop> {
        // RFC 7208 §4.3: a domain that cannot have a record has none.
        if !is_domain(domain) {
            return Ok((SpfResult::None, None));
        }
        let found = self.evaluate(domain.to_owned()).await?;
        let explanation = match found.exp {
            Some((exp, domain)) if found.result == SpfResult::Fail => self.explanation(&exp, &domain).await,
            _ => None,
        };
        Ok((found.result, explanation))
    }

    /// `check_host()` without its start (RFC 7208 §4.4 to §4.7).
    fn evaluate(&mut self, domain: String) -> Evaluated<'_> {
        Box::pin(async move {
            let Some(record) = self.record(&domain).await? else {
                return Ok(Found { result: SpfResult::None, exp: None });
            };
            for (qualifier, mechanism) in &record.directives {
                if self.matches(mechanism, &domain).await? {
                    let result = match qualifier {
                        Qualifier::Pass => SpfResult::Pass,
                        Qualifier::Fail => SpfResult::Fail,
                        Qualifier::SoftFail => SpfResult::SoftFail,
                        Qualifier::Neutral => SpfResult::Neutral,
                    };
                    return Ok(Found { result, exp: record.exp.map(|exp| (exp, domain)) });
                }
            }
            let Some(redirect) = &record.redirect else {
                return Ok(Found { result: SpfResult::Neutral, exp: None });
            };
            self.count_lookup()?;
            let target = self.name(Some(redirect), &domain).await;
            // RFC 7208 §6.1: a redirect to nothing is an error.
            let found = self.evaluate(target).await?;
            match found.result {
                SpfResult::None => Err(Stop::permanent("redirect to a domain without a record")),
                _ => Ok(found),
            }
        })
    }

    /// The one record of a domain (RFC 7208 §4.4 and §4.5).
    async fn record(&self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.dns.texts(domain).await {
            Ok(texts) => texts,
            Err(LookupError::NoSuchName) => return Ok(None),
            Err(LookupError::Temporary(why)) => return Err(Stop::Temporary(why)),
        };
        let mut records = record::candidates(&texts);
        let Some(text) = records.next() else { return Ok(None) };
        if records.next().is_some() {
            return Err(Stop::permanent("more than one record"));
        }
        record::parse(text).map(Some).map_err(|term| Stop::Permanent(format!("bad term: {term}")))
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, bits) => {
                Ok(same_network(self.ip, IpAddr::V4(*network), Prefix { ip4: *bits, ip6: 128 }))
            }
            Mechanism::Ip6(network, bits) => {
                Ok(same_network(self.ip, IpAddr::V6(*network), Prefix { ip4: 32, ip6: *bits }))
            }
            Mechanism::Include(target) => {
                self.count_lookup()?;
                let target = self.name(Some(target), domain).await;
                // RFC 7208 §5.2, the table.
                match self.evaluate(target).await?.result {
                    SpfResult::Pass => Ok(true),
                    SpfResult::Fail | SpfResult::SoftFail | SpfResult::Neutral => Ok(false),
                    SpfResult::TempError => Err(Stop::Temporary("include".to_owned())),
                    SpfResult::PermError | SpfResult::None => {
                        Err(Stop::permanent("include of a domain without a record"))
                    }
                }
            }
            Mechanism::A(target, prefix) => {
                self.count_lookup()?;
                let target = self.name(target.as_ref(), domain).await;
                let addresses = self.dns.addresses_like(&target, self.ip).await;
                Ok(self.counted(addresses)?.into_iter().any(|a| same_network(self.ip, a, *prefix)))
            }
            Mechanism::Mx(target, prefix) => {
                self.count_lookup()?;
                let target = self.name(target.as_ref(), domain).await;
                self.mx_matches(&target, *prefix).await
            }
            Mechanism::Ptr(target) => {
                self.count_lookup()?;
                let target = self.name(target.as_ref(), domain).await;
                let names = self.client_names().await;
                Ok(names.iter().any(|name| is_below(name.as_str(), &target.to_ascii_lowercase())))
            }
            Mechanism::Exists(target) => {
                self.count_lookup()?;
                let target = self.name(Some(target), domain).await;
                // RFC 7208 §5.7: an A record, whatever the client's address is.
                let addresses = self.dns.ipv4(&target).await;
                Ok(!self.counted(addresses)?.is_empty())
            }
        }
    }

    async fn mx_matches(&mut self, target: &str, prefix: Prefix) -> Result<bool, Stop> {
        let exchangers = self.dns.mx(target).await;
        let exchangers = self.counted(exchangers)?;
        // RFC 7208 §4.6.4: more than ten names is an error.
        if exchangers.len() > SPF_MX_HOSTS {
            return Err(Stop::permanent("more than 10 MX records"));
        }
        for (_, host) in exchangers.iter().filter(|(_, host)| !host.is_empty()) {
            match self.dns.addresses_like(host, self.ip).await {
                Ok(addresses) if addresses.iter().any(|a| same_network(self.ip, *a, prefix)) => return Ok(true),
                Ok(_) | Err(LookupError::NoSuchName) => {}
                Err(LookupError::Temporary(why)) => return Err(Stop::Temporary(why)),
            }
        }
        Ok(false)
    }

    /// RFC 7208 §4.6.4: ten terms that ask DNS.
    fn count_lookup(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > SPF_LOOKUPS {
            return Err(Stop::permanent("more than 10 look-ups"));
        }
        Ok(())
    }

    /// RFC 7208 §4.6.4: two answers with nothing in them.
    fn counted<T>(&mut self, answer: Result<Vec<T>, LookupError>) -> Result<Vec<T>, Stop> {
        let found = match answer {
            Ok(found) => found,
            Err(LookupError::NoSuchName) => Vec::new(),
            Err(LookupError::Temporary(why)) => return Err(Stop::Temporary(why)),
        };
        if found.is_empty() {
            self.voids += 1;
            if self.voids > SPF_VOID_LOOKUPS {
                return Err(Stop::permanent("more than 2 look-ups without an answer"));
            }
        }
        Ok(found)
    }

    /// The names of the client that lead back to its address (RFC 7208 §5.5). Trouble with DNS means that there are
    /// none.
    async fn client_names(&mut self) -> Vec<Domain> {
        if let Some(names) = &self.names {
            return names.clone();
        }
        let mut names = Vec::new();
        for name in self.dns.names(self.ip).await.unwrap_or_default() {
            let addresses = self.dns.addresses_like(name.as_str(), self.ip).await;
            if addresses.is_ok_and(|addresses| addresses.contains(&self.ip)) {
                names.push(name);
            }
        }
        self.names = Some(names.clone());
        names
    }

    async fn name(&mut self, target: Option<&MacroString>, domain: &str) -> String {
        match target {
            None => domain.to_owned(),
            Some(target) => {
                let client_name = self.client_name(target, domain).await;
                target.expand_name(&self.values(domain, &client_name))
            }
        }
    }

    /// `%{p}` (RFC 7208 §7.3): the domain itself if it is a name of the client, else one below it, else any.
    async fn client_name(&mut self, target: &MacroString, domain: &str) -> String {
        if !target.needs_client_name() {
            return String::new();
        }
        let domain = domain.to_ascii_lowercase();
        let names = self.client_names().await;
        let best = names.iter().min_by_key(|n| (n.as_str() != domain, !is_below(n.as_str(), &domain)));
        best.map_or_else(|| "unknown".to_owned(), |name| name.as_str().to_owned())
    }

    fn values<'v>(&'v self, domain: &'v str, client_name: &'v str) -> Values<'v> {
        Values {
            sender: &self.sender,
            local: self.local,
            sender_domain: self.sender_domain,
            domain,
            ip: self.ip,
            client_name,
            helo: self.client.helo,
            receiver: self.client.receiver,
            now: self.client.now,
        }
    }

    /// The words for a fail (RFC 7208 §6.2); without them where anything is wrong with them.
    async fn explanation(&mut self, exp: &MacroString, domain: &str) -> Option<String> {
        let target = self.name(Some(exp), domain).await;
        let texts = self.dns.texts(&target).await.ok()?;
        let [text] = texts.as_slice() else { return None };
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
        let text = MacroString::parse(text, true)?;
        let client_name = self.client_name(&text, domain).await;
        let words = text.expand(&self.values(domain, &client_name));
        let clean = words.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' });
        Some(clean.take(SPF_EXPLANATION_CHARS).collect())
    }
}

/// At least two labels that DNS can hold, and no address literal (RFC 7208 §4.3).
fn is_domain(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    !name.starts_with('[')
        && name.len() <= 253
        && name.contains('.')
        && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Whether a name is a domain or lies below it.
fn is_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether two addresses of one kind begin with the same bits.
fn same_network(ip: IpAddr, other: IpAddr, prefix: Prefix) -> bool {
    match (ip, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(32 - u32::from(prefix.ip4)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(128 - u32::from(prefix.ip6)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        for (a, b, ip4, ip6, same) in [
            ("192.0.2.1", "192.0.2.1", 32, 128, true),
            ("192.0.2.1", "192.0.2.2", 32, 128, false),
            ("192.0.2.1", "192.0.2.2", 30, 128, true),
            ("192.0.2.1", "10.0.0.1", 0, 128, true),
            ("2001:db8::1", "2001:db8::2", 32, 128, false),
            ("2001:db8::1", "2001:db8::2", 32, 64, true),
            ("2001:db8::1", "1::", 32, 0, true),
            ("192.0.2.1", "::1", 0, 0, false),
        ] {
            let (a, b) = (a.parse().expect("an address"), b.parse().expect("an address"));
            assert_eq!(same_network(a, b, Prefix { ip4, ip6 }), same, "{a} {b}");
        }
    }
}
