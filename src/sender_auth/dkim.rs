//! DKIM signatures (RFC 6376, with RFC 8301 and RFC 8463): what they say, and whether they are true.
//!
//! Of many signatures [`DKIM_SIGNATURES`] are verified; the rest are neutral. A signature over a part of the body
//! (`l=`) never counts: whoever has one can put his own text below. Knows nothing of what a pass is good for.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::canon::BodyHashes;
use super::canon::Canon;
use super::canon::without_line_end;
use super::canon::without_signature;
use super::key::Key;
use super::key::KeyError;
use super::key::Method;
use super::tags::Tags;
use super::tags::base64;
use super::tags::number;
use super::tags::trim;
use crate::dns::Dns;
use crate::mail::address::Domain;
use crate::mail::limits::DKIM_SIGNATURES;
use crate::message::header::Field;
use crate::message::header::Header;

/// What a signature is worth (RFC 8601 §2.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DkimResult {
    /// The domain signed this message.
    Pass,
    /// It is not true, or not any more.
    Fail,
    /// It was not looked at.
    Neutral,
    /// It may be true, and is of a kind that does not count here.
    Policy,
    /// It could not be found out now.
    TempError,
    /// It cannot be understood, or has no key.
    PermError,
}

impl DkimResult {
    /// As `Authentication-Results` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Neutral => "neutral",
            Self::Policy => "policy",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// The result of one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimVerdict {
    /// What it is worth.
    pub result: DkimResult,
    /// Who says to have signed; `None` where that cannot be read.
    pub domain: Option<Domain>,
    /// The name of the key.
    pub selector: String,
    /// The first characters of the signature, to tell one from another (RFC 8601 §2.7.1).
    pub signature: String,
    /// Why it is no pass, in our words.
    pub reason: Option<String>,
    /// The domain is trying out: the message counts as one that nobody signed, whatever the result (RFC 6376 §3.6.1).
    pub testing: bool,
}

/// What a signature must be, beside a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub DkimResult, pub &'static str);

/// What a field of DKIM or ARC says about how it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The algorithm.
    pub method: Method,
    /// The form of the header and of the body.
    pub canon: (Canon, Canon),
    /// `d=`
    pub domain: Domain,
    /// `s=`
    pub selector: Domain,
    /// `h=`, in lower case.
    pub names: Vec<String>,
    /// `bh=`
    pub body_hash: Vec<u8>,
    /// `b=`
    pub signature: Vec<u8>,
}

impl Signature {
    /// Reads what DKIM and ARC have in common.
    ///
    /// # Errors
    /// What is wrong.
    pub fn of(tags: &Tags<'_>, now: u64) -> Result<Self, Problem> {
        let bad = |what| Problem(DkimResult::PermError, what);
        let method = method(tags)?;
        let canon = match tags.get("c") {
            None => (Canon::Simple, Canon::Simple),
            Some(text) => Canon::pair(text).ok_or_else(|| bad("unknown canonicalization"))?,
        };
        let (domain, selector) = signer(tags)?;
        let names = tags.get("h").ok_or_else(|| bad("no h="))?;
        let signature = Self {
            method,
            canon,
            domain,
            selector,
            names: names.split(':').map(|name| trim(name).to_ascii_lowercase()).filter(|n| !n.is_empty()).collect(),
            body_hash: tags.get("bh").and_then(base64).ok_or_else(|| bad("no bh="))?,
            signature: tags.get("b").and_then(base64).ok_or_else(|| bad("no b="))?,
        };
        let time = |tag| match tags.get(tag) {
            None => Ok(None),
            Some(text) => number(text).map(Some).ok_or_else(|| bad("bad time")),
        };
        let (made, ends) = (time("t")?, time("x")?);
        if ends.is_some_and(|ends| made.is_some_and(|made| ends <= made)) {
            return Err(bad("it ends before it begins"));
        }
        if ends.is_some_and(|ends| ends < now) {
            return Err(Problem(DkimResult::Fail, "expired"));
        }
        // RFC 6376 §8.2.
        if tags.get("l").is_some() {
            return Err(Problem(DkimResult::Policy, "signs a part of the body only"));
        }
        Ok(signature)
    }

    /// Whether the signature is that of a key, over the fields of this message and the hash of the body.
    #[must_use]
    pub fn verifies(&self, key: &Key, message: &Signed<'_>, own: &Field<'_>) -> bool {
        let text = message.text(&self.names, own, self.canon.0);
        key.verifies(&text, &self.signature)
    }
}

/// The algorithm of a field of DKIM or ARC.
///
/// # Errors
/// What is wrong.
pub fn method(tags: &Tags<'_>) -> Result<Method, Problem> {
    match tags.get("a") {
        Some("rsa-sha256") => Ok(Method::Rsa),
        Some("ed25519-sha256") => Ok(Method::Ed25519),
        // RFC 8301 §3.1.
        Some("rsa-sha1") => Err(Problem(DkimResult::Fail, "SHA-1 is not secure")),
        Some(_) => Err(Problem(DkimResult::PermError, "unknown algorithm")),
        None => Err(Problem(DkimResult::PermError, "no a=")),
    }
}

/// Domain and selector of a field of DKIM or ARC.
///
/// # Errors
/// What is wrong.
pub fn signer(tags: &Tags<'_>) -> Result<(Domain, Domain), Problem> {
    let name = |tag| {
        let domain = tags.get(tag).and_then(|text| Domain::parse(text).ok());
        domain.filter(|domain| !domain.is_literal()).ok_or(Problem(DkimResult::PermError, "bad d= or s="))
    };
    Ok((name("d")?, name("s")?))
}

/// A header with its fields by name, for collecting what was signed.
#[derive(Debug)]
pub struct Signed<'a> {
    head: &'a [u8],
    header: &'a Header<'a>,
    /// Made when somebody has signed something.
    by_name: OnceLock<HashMap<String, Vec<usize>>>,
}

impl<'a> Signed<'a> {
    /// The header at the front of `head`.
    #[must_use]
    pub fn new(head: &'a [u8], header: &'a Header<'a>) -> Self {
        Self { head, header, by_name: OnceLock::new() }
    }

    fn by_name(&self) -> &HashMap<String, Vec<usize>> {
        self.by_name.get_or_init(|| {
            let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
            for (n, field) in self.header.fields.iter().enumerate() {
                by_name.entry(field.name.to_ascii_lowercase()).or_default().push(n);
            }
            by_name
        })
    }

    /// A field as it stands in the message.
    #[must_use]
    pub fn raw(&self, field: &Field<'_>) -> &'a [u8] {
        &self.head[field.range.clone()]
    }

    /// The header itself.
    #[must_use]
    pub fn header(&self) -> &'a Header<'a> {
        self.header
    }

    /// The fields of these names, of several the last first (RFC 6376 §5.4.2), then the signature's own without its
    /// signature and its line end (§3.7). A name without a field adds nothing, so that none can be added later.
    fn text(&self, names: &[String], own: &Field<'_>, canon: Canon) -> Vec<u8> {
        let mut out = Vec::new();
        let mut used: HashMap<&str, usize> = HashMap::new();
        for name in names {
            let all = self.by_name().get(name.as_str()).map_or(&[][..], Vec::as_slice);
            let count = used.entry(name.as_str()).or_default();
            if let Some(n) = all.len().checked_sub(*count + 1).and_then(|at| all.get(at)) {
                *count += 1;
                canon.field(self.raw(&self.header.fields[*n]), &mut out);
            }
        }
        let mut last = Vec::new();
        canon.field(&without_signature(self.raw(own)), &mut last);
        out.extend_from_slice(without_line_end(&last));
        out
    }
}

/// The signatures of a message that will be verified, read but not yet verified.
#[derive(Debug)]
pub struct Signatures<'a> {
    all: Vec<(&'a Field<'a>, Result<Parsed, Problem>, Labels)>,
}

#[derive(Debug)]
struct Parsed {
    signature: Signature,
    /// `i=` names a domain below `d=`.
    below: bool,
}

/// What is told of a signature whether it can be read or not.
#[derive(Debug, Clone)]
struct Labels {
    domain: Option<Domain>,
    selector: String,
    signature: String,
}

impl Labels {
    fn verdict(self, outcome: Result<(), (DkimResult, String)>) -> DkimVerdict {
        let (result, reason) = outcome.map_or_else(|(result, why)| (result, Some(why)), |()| (DkimResult::Pass, None));
        let Self { domain, selector, signature } = self;
        DkimVerdict { result, domain, selector, signature, reason, testing: false }
    }
}

impl<'a> Signatures<'a> {
    /// Reads them all. Those whose domain has to do with `author` come first, since only they can count.
    #[must_use]
    pub fn of(header: &'a Header<'a>, author: Option<&Domain>, now: u64) -> Self {
        let mut all: Vec<_> = header.all("DKIM-Signature").map(|field| read(field, now)).collect();
        let related = |domain: &Domain| author.is_some_and(|a| is_below(a, domain) || is_below(domain, a));
        all.sort_by_key(|(_, _, labels)| !labels.domain.as_ref().is_some_and(related));
        for (_, parsed, _) in all.iter_mut().filter(|(_, parsed, _)| parsed.is_ok()).skip(DKIM_SIGNATURES) {
            *parsed = Err(Problem(DkimResult::Neutral, "too many signatures"));
        }
        Self { all }
    }

    /// The forms of the body that are needed.
    #[must_use]
    pub fn forms(&self) -> Vec<Canon> {
        self.all.iter().filter_map(|(_, parsed, _)| parsed.as_ref().ok()).map(|p| p.signature.canon.1).collect()
    }

    /// What is left to say of them when there is no time.
    #[must_use]
    pub fn too_late(self) -> Vec<DkimVerdict> {
        let late = |parsed: Result<Parsed, Problem>| match parsed {
            Ok(_) => (DkimResult::TempError, "too busy".to_owned()),
            Err(Problem(result, why)) => (result, why.to_owned()),
        };
        self.all.into_iter().map(|(_, parsed, labels)| labels.verdict(Err(late(parsed)))).collect()
    }

    /// Verifies them, each until `deadline` at the latest.
    pub async fn verify(
        self,
        dns: &Dns,
        message: &Signed<'_>,
        bodies: &BodyHashes,
        deadline: tokio::time::Instant,
    ) -> Vec<DkimVerdict> {
        let mut verdicts = Vec::new();
        for (field, parsed, labels) in self.all {
            let mut testing = false;
            let outcome = match parsed {
                Ok(parsed) => verify(dns, message, bodies, field, &parsed, deadline, &mut testing).await,
                Err(Problem(result, why)) => Err((result, why.to_owned())),
            };
            verdicts.push(DkimVerdict { testing, ..labels.verdict(outcome) });
        }
        verdicts
    }
}

async fn verify(
    dns: &Dns,
    message: &Signed<'_>,
    bodies: &BodyHashes,
    field: &Field<'_>,
    parsed: &Parsed,
    deadline: tokio::time::Instant,
    testing: &mut bool,
) -> Result<(), (DkimResult, String)> {
    let signature = &parsed.signature;
    let fail = |why: &str| Err((DkimResult::Fail, why.to_owned()));
    if !bodies.is(signature.canon.1, &signature.body_hash) {
        return fail("the body has changed");
    }
    let find = Key::find(dns, signature.selector.as_str(), signature.domain.as_str(), signature.method);
    let key = match tokio::time::timeout_at(deadline, find).await {
        Ok(Ok(key)) => key,
        Ok(Err(KeyError::Permanent(why))) => return Err((DkimResult::PermError, why.to_owned())),
        Ok(Err(KeyError::Temporary(why))) => return Err((DkimResult::TempError, why)),
        Err(_) => return Err((DkimResult::TempError, "no answer in time".to_owned())),
    };
    *testing = key.testing;
    if key.exact_domain && parsed.below {
        return Err((DkimResult::PermError, "i= is not the domain itself".to_owned()));
    }
    if !signature.verifies(&key, message, field) {
        return fail("the header has changed");
    }
    Ok(())
}

fn read<'a>(field: &'a Field<'a>, now: u64) -> (&'a Field<'a>, Result<Parsed, Problem>, Labels) {
    let mut labels = Labels { domain: None, selector: String::new(), signature: String::new() };
    let Some(tags) = Tags::strict(field.value) else {
        return (field, Err(Problem(DkimResult::PermError, "signature that cannot be read")), labels);
    };
    if let Ok((domain, selector)) = signer(&tags) {
        labels.domain = Some(domain);
        labels.selector = selector.as_str().to_owned();
    }
    let plain = tags.get("b").unwrap_or_default().chars().filter(char::is_ascii_graphic);
    labels.signature = plain.take(12).collect();
    (field, parse(&tags, now), labels)
}

fn parse(tags: &Tags<'_>, now: u64) -> Result<Parsed, Problem> {
    let bad = |what| Problem(DkimResult::PermError, what);
    // RFC 6376 §6.1.1.
    if tags.get("v") != Some("1") {
        return Err(bad("unknown version"));
    }
    let signature = Signature::of(tags, now)?;
    if !signature.names.iter().any(|name| name == "from") {
        return Err(bad("From is not signed"));
    }
    if tags.get("q").is_some_and(|q| !q.split(':').any(|way| trim(way).eq_ignore_ascii_case("dns/txt"))) {
        return Err(bad("its key is not in DNS"));
    }
    let below = match tags.get("i") {
        None => false,
        Some(identity) => {
            let domain = identity.rsplit_once('@').and_then(|(_, domain)| Domain::parse(domain).ok());
            let domain = domain.ok_or_else(|| bad("bad i="))?;
            if !is_below(&domain, &signature.domain) {
                return Err(bad("i= is not of its domain"));
            }
            domain != signature.domain
        }
    };
    Ok(Parsed { signature, below })
}

/// Whether a domain is another or lies below it.
#[must_use]
pub fn is_below(domain: &Domain, above: &Domain) -> bool {
    domain.as_str().strip_suffix(above.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header;

    const GOOD: &str =
        "v=1; a=rsa-sha256; d=a.example; s=s; h=from:to; bh=AAAA; b=AAAA; t=5; x=100; i=u@b.a.example; q=dns/txt";

    #[test]
    fn signatures_that_do_not_count_say_why() {
        let read = |text: &str| parse(&Tags::strict(text.as_bytes()).expect("a list"), 50).map(|p| p.below);
        assert_eq!(read(GOOD), Ok(true));
        for (from, to, result) in [
            ("v=1", "v=2", DkimResult::PermError),
            ("v=1; ", "", DkimResult::PermError),
            ("rsa-sha256", "rsa-sha1", DkimResult::Fail),
            ("rsa-sha256", "rsa-md5", DkimResult::PermError),
            ("from:to", "to", DkimResult::PermError),
            ("x=100", "x=40", DkimResult::Fail),
            ("x=100", "x=4", DkimResult::PermError),
            ("x=100", "x=99999999999999999999", DkimResult::PermError),
            ("t=5", "t=", DkimResult::PermError),
            ("b.a.example", "b.example", DkimResult::PermError),
            ("b.a.example", "xa.example", DkimResult::PermError),
            ("q=dns/txt", "q=http", DkimResult::PermError),
            ("q=dns/txt", "l=0", DkimResult::Policy),
            ("q=dns/txt", "c=odd", DkimResult::PermError),
            ("bh=AAAA", "bh=", DkimResult::PermError),
            ("d=a.example", "d=a..example", DkimResult::PermError),
        ] {
            assert!(GOOD.contains(from), "{from}");
            assert_eq!(read(&GOOD.replacen(from, to, 1)).map_err(|p| p.0), Err(result), "{from} {to}");
        }
    }

    #[test]
    fn of_many_signatures_those_of_the_author_are_looked_at() {
        let one = |domain: &str| format!("DKIM-Signature: {}\n", GOOD.replace("a.example", domain));
        let text = format!("{}{}From: x@a.example\n\n", one("z.example").repeat(500), one("a.example"));
        let header = header::read(text.as_bytes()).expect("small");
        let author = Domain::parse("a.example").expect("valid");
        let all = Signatures::of(&header, Some(&author), 50).all;
        assert_eq!(all.len(), 501);
        assert_eq!(all[0].2.domain.as_ref(), Some(&author));
        assert_eq!(all.iter().filter(|(_, parsed, _)| parsed.is_ok()).count(), DKIM_SIGNATURES);
        let junk = "DKIM-Signature: \u{e9};=;;b=\n".repeat(900);
        let header = header::read(junk.as_bytes()).expect("small");
        assert!(Signatures::of(&header, None, 0).all.iter().all(|(_, parsed, _)| parsed.is_err()));
    }
}
