//! ARC (RFC 8617): what the servers before us saw, each under its seal.
//!
//! A chain is true or it is not; whether its sealers are believed is the operator's word ([`ArcVerdict::sets`] tells
//! who they are and what they saw).

use super::canon::BodyHashes;
use super::canon::Canon;
use super::canon::without_line_end;
use super::canon::without_signature;
use super::dkim::Signature;
use super::dkim::Signed;
use super::dkim::method;
use super::dkim::signer;
use super::key::Key;
use super::key::KeyError;
use super::key::Method;
use super::tags::Tags;
use super::tags::base64;
use super::tags::number;
use super::tags::trim;
use crate::dns::Dns;
use crate::mail::address::Domain;
use crate::mail::limits::ARC_SETS;
use crate::message::header::Field;
use crate::message::header::Header;

/// What the chain is worth (RFC 8617 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArcResult {
    /// There is none.
    None,
    /// It is whole.
    Pass,
    /// It is not.
    Fail,
    /// It could not be found out now.
    TempError,
}

impl ArcResult {
    /// As `Authentication-Results` has it (RFC 8617 §10.1: none, pass or fail).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail | Self::TempError => "fail",
        }
    }
}

/// One sealer and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Who sealed.
    pub domain: Domain,
    /// What it says it saw: the text of its `ARC-Authentication-Results` behind `i=…;`.
    pub results: Vec<u8>,
}

/// The result of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcVerdict {
    /// What it is worth.
    pub result: ArcResult,
    /// Its sets, the first first. To be believed only after a pass.
    pub sets: Vec<Sealed>,
    /// What is wrong, in our words.
    pub reason: Option<String>,
}

/// The chain of a message as it stands there, read but not yet verified.
#[derive(Debug)]
pub struct Chain<'a>(Result<Vec<Set<'a>>, &'static str>);

#[derive(Debug)]
struct Set<'a> {
    results: &'a Field<'a>,
    seen: Vec<u8>,
    message: &'a Field<'a>,
    signature: Result<Signature, &'static str>,
    seal: &'a Field<'a>,
    sealed: Seal,
}

#[derive(Debug)]
struct Seal {
    method: Method,
    domain: Domain,
    selector: Domain,
    signature: Vec<u8>,
    cv: String,
}

impl<'a> Chain<'a> {
    /// Collects the sets (RFC 8617 §5.2, steps 1 to 3).
    #[must_use]
    pub fn of(header: &'a Header<'a>, now: u64) -> Self {
        Self(collect(header, now))
    }

    /// The form of the body that is needed.
    #[must_use]
    pub fn form(&self) -> Option<Canon> {
        let last = self.0.as_ref().ok()?.last()?;
        last.signature.as_ref().ok().map(|signature| signature.canon.1)
    }

    /// What is left to say of it when there is no time.
    #[must_use]
    pub fn too_late(self) -> ArcVerdict {
        let (result, reason) = match self.0 {
            Ok(sets) if sets.is_empty() => (ArcResult::None, None),
            Ok(_) => (ArcResult::TempError, Some("too busy".to_owned())),
            Err(why) => (ArcResult::Fail, Some(why.to_owned())),
        };
        ArcVerdict { result, sets: Vec::new(), reason }
    }

    /// Verifies the newest message signature and all seals (RFC 8617 §5.2, steps 4 to 6).
    pub async fn verify(
        self,
        dns: &Dns,
        message: &Signed<'_>,
        bodies: &BodyHashes,
        deadline: tokio::time::Instant,
    ) -> ArcVerdict {
        let verdict = |result, reason: Option<String>, sets| ArcVerdict { result, sets, reason };
        let sets = match self.0 {
            Ok(sets) if sets.is_empty() => return verdict(ArcResult::None, None, Vec::new()),
            Ok(sets) => sets,
            Err(why) => return verdict(ArcResult::Fail, Some(why.to_owned()), Vec::new()),
        };
        let told =
            sets.iter().map(|set| Sealed { domain: set.sealed.domain.clone(), results: set.seen.clone() }).collect();
        match tokio::time::timeout_at(deadline, verify(dns, message, bodies, &sets)).await {
            Ok(Ok(())) => verdict(ArcResult::Pass, None, told),
            Ok(Err(KeyError::Permanent(why))) => verdict(ArcResult::Fail, Some(why.to_owned()), told),
            Ok(Err(KeyError::Temporary(why))) => verdict(ArcResult::TempError, Some(why), told),
            Err(_) => verdict(ArcResult::TempError, Some("no answer in time".to_owned()), told),
        }
    }
}

async fn verify(dns: &Dns, message: &Signed<'_>, bodies: &BodyHashes, sets: &[Set<'_>]) -> Result<(), KeyError> {
    let Some(newest) = sets.last() else { return Ok(()) };
    let signature = newest.signature.as_ref().map_err(|why| KeyError::Permanent(why))?;
    if !bodies.is(signature.canon.1, &signature.body_hash) {
        return Err(KeyError::Permanent("the body has changed"));
    }
    let key = Key::find(dns, signature.selector.as_str(), signature.domain.as_str(), signature.method).await?;
    if !signature.verifies(&key, message, newest.message) {
        return Err(KeyError::Permanent("the header has changed"));
    }
    // A key with `t=y` counts here: a chain is good for nothing unless the operator trusts the sealer by name.
    // RFC 8617 §5.1.1: each seal is over all sets up to its own, in relaxed form, its own signature left out.
    let mut sealed = Vec::new();
    for set in sets {
        Canon::Relaxed.field(message.raw(set.results), &mut sealed);
        Canon::Relaxed.field(message.raw(set.message), &mut sealed);
        let before = sealed.len();
        Canon::Relaxed.field(&without_signature(message.raw(set.seal)), &mut sealed);
        let seal = &set.sealed;
        let key = Key::find(dns, seal.selector.as_str(), seal.domain.as_str(), seal.method).await?;
        if !key.verifies(without_line_end(&sealed), &seal.signature) {
            return Err(KeyError::Permanent("a seal is broken"));
        }
        sealed.truncate(before);
        Canon::Relaxed.field(message.raw(set.seal), &mut sealed);
    }
    Ok(())
}

fn collect<'a>(header: &'a Header<'a>, now: u64) -> Result<Vec<Set<'a>>, &'static str> {
    let results: Vec<_> = header.all("ARC-Authentication-Results").collect();
    let messages: Vec<_> = header.all("ARC-Message-Signature").collect();
    let seals: Vec<_> = header.all("ARC-Seal").collect();
    if results.len().max(messages.len()).max(seals.len()) > ARC_SETS {
        return Err("too many sets");
    }
    if results.len() != seals.len() || messages.len() != seals.len() {
        return Err("a set is not complete");
    }
    let mut seen = ordered(results, |field| instance_of_results(field.value))?;
    let mut signatures = ordered(messages, |field| {
        let tags = Tags::strict(field.value)?;
        Some((instance(&tags)?, message_signature(&tags, now)))
    })?;
    let mut sealed = ordered(seals, |field| {
        let tags = Tags::strict(field.value)?;
        Some((instance(&tags)?, seal(&tags)?))
    })?;
    let mut sets = Vec::new();
    while let (Some((results, seen)), Some((message, signature)), Some((seal, sealed))) =
        (seen.pop(), signatures.pop(), sealed.pop())
    {
        sets.push(Set { results, seen, message, signature, seal, sealed });
    }
    sets.reverse();
    for (n, set) in sets.iter().enumerate() {
        // RFC 8617 §5.2, step 3: the first says none, all others pass; fail ends every chain.
        if set.sealed.cv != if n == 0 { "none" } else { "pass" } {
            return Err("a sealer found the chain broken");
        }
    }
    // RFC 8617 §5.2, steps 4 and 5: the newest message signature alone decides. Older ones are broken by every list that
    // changes the message; one that has expired or is of a kind that does not count is no worse.
    if let Some(newest) = sets.last() {
        newest.signature.as_ref().map_err(|why| *why)?;
    }
    Ok(sets)
}

/// Fields in the order of their instances, which go from one without a gap (RFC 8617 §5.2, step 3).
fn ordered<'a, T>(
    fields: Vec<&'a Field<'a>>,
    read: impl Fn(&Field<'_>) -> Option<(u64, T)>,
) -> Result<Vec<(&'a Field<'a>, T)>, &'static str> {
    let mut all = Vec::new();
    for field in fields {
        let (instance, value) = read(field).ok_or("a field cannot be read")?;
        all.push((instance, field, value));
    }
    all.sort_by_key(|(instance, ..)| *instance);
    if !all.iter().map(|(instance, ..)| *instance).eq(1..=all.len() as u64) {
        return Err("instances that are double or missing");
    }
    Ok(all.into_iter().map(|(_, field, value)| (field, value)).collect())
}

fn instance(tags: &Tags<'_>) -> Option<u64> {
    tags.get("i").and_then(number)
}

/// `i=1; …` at the front (RFC 8617 §4.1.1), and the text behind it.
fn instance_of_results(value: &[u8]) -> Option<(u64, Vec<u8>)> {
    let semicolon = value.iter().position(|b| *b == b';')?;
    let (tag, number_text) = std::str::from_utf8(&value[..semicolon]).ok()?.split_once('=')?;
    let instance = number(trim(number_text)).filter(|_| trim(tag) == "i")?;
    Some((instance, value[semicolon + 1..].to_vec()))
}

fn message_signature(tags: &Tags<'_>, now: u64) -> Result<Signature, &'static str> {
    let signature = Signature::of(tags, now).map_err(|problem| problem.1)?;
    // RFC 8617 §4.1.2.
    if signature.names.iter().any(|name| name == "arc-seal") {
        return Err("a message signature over a seal");
    }
    Ok(signature)
}

fn seal(tags: &Tags<'_>) -> Option<Seal> {
    // RFC 8617 §4.1.3: what is signed is fixed, so `h` makes the seal invalid.
    if tags.get("h").is_some() || tags.get("t").is_some_and(|t| number(t).is_none()) {
        return None;
    }
    let (domain, selector) = signer(tags).ok()?;
    Some(Seal {
        method: method(tags).ok()?,
        domain,
        selector,
        signature: tags.get("b").and_then(base64)?,
        cv: tags.get("cv")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header;

    #[test]
    fn sets_are_collected_or_refused() {
        let set = |i: usize, cv: &str| {
            format!(
                "ARC-Seal: i={i}; a=rsa-sha256; d=a.example; s=s; cv={cv}; b=AAAA\n\
                 ARC-Message-Signature: i={i}; a=rsa-sha256; d=a.example; s=s; h=from; bh=AAAA; b=AAAA\n\
                 ARC-Authentication-Results: i={i}; mx.example; dmarc=pass\n"
            )
        };
        let count = |text: &str| collect(&header::read(text.as_bytes()).expect("small"), 2).map(|sets| sets.len());
        assert_eq!(count("A: b\n"), Ok(0));
        assert_eq!(count(&(set(2, "pass") + &set(1, "none"))), Ok(2));
        let whole: String = (1..=50).map(|i| set(i, if i == 1 { "none" } else { "pass" })).collect();
        assert_eq!(count(&whole), Ok(50));
        // Of message signatures only the newest must be one that counts.
        for (of, by) in [
            ("rsa-sha256; d=a.example; s=s; h=", "rsa-sha1; d=a.example; s=s; h="),
            ("h=from;", "h=from; x=1;"),
            ("h=from;", "h=from; l=5;"),
            ("h=from;", "h=from:arc-seal;"),
        ] {
            let odd = |i: usize, cv: &str| set(i, cv).replacen(of, by, 1);
            assert_eq!(count(&(set(2, "pass") + &odd(1, "none"))), Ok(2), "{by}");
            assert!(count(&(odd(2, "pass") + &set(1, "none"))).is_err(), "{by}");
        }
        for bad in [
            set(1, "pass"),
            set(2, "none"),
            set(1, "none").repeat(2),
            set(1, "none") + &set(2, "fail"),
            set(1, "none") + &set(3, "pass"),
            whole + &set(51, "pass"),
            "ARC-Seal: x\n".to_owned(),
        ] {
            assert!(count(&bad).is_err(), "{bad}");
        }
    }
}
