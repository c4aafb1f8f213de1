//! DMARC (RFC 9989): does what SPF and DKIM have proved belong to the domain in `From`, and what does that domain ask
//! for otherwise?
//!
//! Policies and organisational domains are found by walking up the tree of DNS. Own code and not the library's, which
//! exempts messages with several `From` from the check and takes the first of several records.

use std::collections::HashMap;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dkim::is_below;
use crate::dns::Dns;
use crate::dns::LookupError;
use crate::mail::address::Domain;
use crate::mail::limits::DMARC_AUTHORS;
use crate::mail::limits::DMARC_WALK;
use crate::message::addresses;
use crate::message::addresses::Item;
use crate::message::addresses::List;
use crate::message::header::Header;

/// What a domain asks for, milder first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// Nothing.
    None,
    /// To be suspicious.
    Quarantine,
    /// To refuse.
    Reject,
}

impl Policy {
    /// As records have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let known = [Self::None, Self::Quarantine, Self::Reject];
        known.into_iter().find(|policy| text.eq_ignore_ascii_case(policy.as_str()))
    }

    /// What remains in test mode (RFC 9989 §4.7, `t=y`): one step less.
    fn tested(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

/// What DMARC says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcResult {
    /// The domain has no policy.
    None,
    /// SPF or DKIM speak for the domain in `From`.
    Pass,
    /// Neither does.
    Fail,
    /// It could not be found out now.
    TempError,
    /// The header cannot be read.
    PermError,
}

impl DmarcResult {
    /// As `Authentication-Results` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// The result for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcVerdict {
    /// What DMARC says.
    pub result: DmarcResult,
    /// What the domain asks for if it is a fail.
    pub policy: Policy,
    /// The domain in `From`; of several the one whose policy it is.
    pub domain: Option<Domain>,
    /// Why it is no pass, in our words.
    pub reason: Option<String>,
}

/// A name that SPF or DKIM has proved, or might yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// The name.
    pub domain: Domain,
    /// By SPF or by DKIM: they have an alignment of their own.
    pub by_spf: bool,
    /// Not proved: it could not be found out now.
    pub doubtful: bool,
}

/// Who wrote the message, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// One `From` with one address.
    One(Domain),
    /// Anything else: a mail program may show any of them.
    Unclear {
        /// The domains that are named in it, [`DMARC_AUTHORS`] at most.
        domains: Vec<Domain>,
        /// Others may be named as well: there were too many, or it can be read in several ways.
        others: bool,
    },
}

impl Author {
    /// Reads `From` (RFC 5322 §3.6.2). Addresses in several fields, several addresses, groups, domains that cannot be
    /// read and what others may read in another way are all [`Author::Unclear`].
    #[must_use]
    pub fn of(header: &Header<'_>) -> Self {
        let fields: Vec<_> = header.all("From").collect();
        let mut named = Named::default();
        let mut clear = fields.len() == 1;
        let mut count = 0;
        for field in fields {
            let List { items, ambiguous } = addresses::list(field.value);
            if ambiguous {
                clear = false;
                named.others = true;
                named.add_all(field.value);
            }
            for item in items {
                count += 1;
                match item {
                    Item::Mailbox { domain, .. } => clear &= named.add(&domain),
                    Item::GroupStart(_) | Item::GroupEnd => clear = false,
                }
            }
        }
        match named.domains.as_slice() {
            [one] if clear && count == 1 => Self::One(one.clone()),
            _ => Self::Unclear { domains: named.domains, others: named.others },
        }
    }

    /// The one domain.
    #[must_use]
    pub fn one(&self) -> Option<&Domain> {
        if let Self::One(domain) = self { Some(domain) } else { None }
    }
}

/// The domains of authors while they are collected.
#[derive(Default)]
struct Named {
    domains: Vec<Domain>,
    others: bool,
}

impl Named {
    /// Whether this is a domain that is kept.
    fn add(&mut self, domain: &[u8]) -> bool {
        match ascii(domain) {
            Some(domain) if self.domains.contains(&domain) => true,
            Some(domain) if self.domains.len() < DMARC_AUTHORS => {
                self.domains.push(domain);
                true
            }
            Some(_) => {
                self.others = true;
                false
            }
            None => false,
        }
    }

    /// Whatever looks like a domain behind an `@`, wherever it stands.
    fn add_all(&mut self, text: &[u8]) {
        for piece in text.split(|b| *b == b'@').skip(1) {
            let end =
                piece.iter().position(|b| b.is_ascii() && !b.is_ascii_alphanumeric() && !matches!(b, b'.' | b'-'));
            self.add(&piece[..end.unwrap_or(piece.len())]);
        }
    }
}

/// A domain as DNS has it; headers may have a dot at its end.
fn ascii(domain: &[u8]) -> Option<Domain> {
    let text = std::str::from_utf8(domain).ok()?;
    Domain::parse(text.strip_suffix('.').unwrap_or(text)).ok()
}

/// A policy record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `p=`; `None` where it is missing or wrong and nobody asks for reports either.
    pub policy: Option<Policy>,
    /// `sp=`
    pub subdomains: Option<Policy>,
    /// `np=`
    pub missing: Option<Policy>,
    /// `adkim=s`
    pub strict_dkim: bool,
    /// `aspf=s`
    pub strict_spf: bool,
    /// `t=y`
    pub testing: bool,
    /// `psd=`: `Some(true)` for y, `Some(false)` for n.
    pub psd: Option<bool>,
}

impl Record {
    /// Reads a record; `None` where the text is none (RFC 9989 §4.8). Tags that are wrong or unknown are passed over,
    /// and `pct` is one of them now.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let mut tags: HashMap<String, &str> = HashMap::new();
        for (n, item) in text.split(';').enumerate() {
            let Some((name, value)) = item.split_once('=') else {
                if n == 0 {
                    return None;
                }
                continue;
            };
            let (name, value) = (name.trim_ascii(), value.trim_ascii());
            if n == 0 && (name != "v" || value != "DMARC1") {
                return None;
            }
            tags.entry(name.to_ascii_lowercase()).or_insert(value);
        }
        let policy = |tag| tags.get(tag).and_then(|value| Policy::parse(value));
        let is = |tag, word: &str| tags.get(tag).is_some_and(|value| value.eq_ignore_ascii_case(word));
        let reports = tags.get("rua").is_some_and(|uris| uris.split(',').any(|uri| uri.trim_ascii().contains(':')));
        Some(Self {
            // RFC 9989 §4.7: without a policy, but with somebody who wants reports, it is none.
            policy: policy("p").or(reports.then_some(Policy::None)),
            subdomains: policy("sp"),
            missing: policy("np"),
            strict_dkim: is("adkim", "s"),
            strict_spf: is("aspf", "s"),
            testing: is("t", "y"),
            psd: if is("psd", "y") { Some(true) } else { is("psd", "n").then_some(false) },
        })
    }
}

/// The records that were found on the way up, the longest name first.
type Walk = Vec<(Domain, Record)>;

/// Walks up the tree (RFC 9989 §4.10): [`DMARC_WALK`] questions at most.
async fn walk(dns: &Dns, start: &Domain) -> Result<Walk, LookupError> {
    let mut found = Walk::new();
    for name in steps(start) {
        let texts = match dns.texts(&format!("_dmarc.{name}")).await {
            Ok(texts) => texts,
            Err(LookupError::NoSuchName) => continue,
            Err(temporary) => return Err(temporary),
        };
        let mut records = texts.iter().filter_map(|text| Record::parse(text));
        // Several records are none.
        if let (Some(record), None) = (records.next(), records.next()) {
            let ends = record.psd.is_some();
            found.push((name, record));
            if ends {
                break;
            }
        }
    }
    Ok(found)
}

/// The names that are asked: the start, and then up label by label, of a long name the last seven labels at most.
fn steps(start: &Domain) -> impl Iterator<Item = Domain> {
    let labels: Vec<&str> = start.as_str().split('.').collect();
    let above = labels.len().saturating_sub(1).min(DMARC_WALK - 1);
    let mut names = vec![start.clone()];
    for count in (1..=above).rev() {
        names.extend(Domain::parse(&labels[labels.len() - count..].join(".")));
    }
    names.into_iter()
}

/// The organisational domain that a walk shows (RFC 9989 §4.10.2).
fn top(start: &Domain, walk: &Walk) -> Domain {
    for (name, record) in walk {
        match record.psd {
            Some(false) => return name.clone(),
            Some(true) if name != start => return one_below(start, name),
            _ => {}
        }
    }
    walk.last().map_or_else(|| start.clone(), |(name, _)| name.clone())
}

/// On the way from `start` up to `above`, the name just below it.
fn one_below(start: &Domain, above: &Domain) -> Domain {
    let labels: Vec<&str> = start.as_str().split('.').collect();
    let count = above.as_str().split('.').count() + 1;
    let name = labels[labels.len().saturating_sub(count)..].join(".");
    Domain::parse(&name).unwrap_or_else(|_| start.clone())
}

/// The organisational domain of a domain: the same for all that belong together.
///
/// # Errors
/// [`LookupError::Temporary`].
pub async fn organisational_domain(dns: &Dns, domain: &Domain) -> Result<Domain, LookupError> {
    Ok(top(domain, &walk(dns, domain).await?))
}

/// Whether two domains belong together: the same, or, unless `strict`, with one organisational domain, of which
/// `organisation` is that of `author` (RFC 9989 §4.4).
///
/// # Errors
/// [`LookupError::Temporary`].
pub async fn aligned(
    dns: &Dns,
    domain: &Domain,
    author: &Domain,
    organisation: &Domain,
    strict: bool,
) -> Result<bool, LookupError> {
    if domain == author {
        return Ok(true);
    }
    if strict || !is_below(domain, organisation) {
        return Ok(false);
    }
    Ok(organisational_domain(dns, domain).await? == *organisation)
}

/// What applies to a domain.
#[derive(Debug, Clone)]
struct Applied {
    policy: Policy,
    strict_dkim: bool,
    strict_spf: bool,
    organisation: Domain,
}

/// Finds what applies to a domain (RFC 9989 §4.10.1).
async fn discover(dns: &Dns, author: &Domain) -> Result<Option<Applied>, LookupError> {
    let walk = walk(dns, author).await?;
    let organisation = top(author, &walk);
    let of = |name: &Domain| walk.iter().find(|(found, _)| found == name);
    let Some((name, record)) = of(author).or_else(|| of(&organisation)).or(walk.last()) else { return Ok(None) };
    let Some(own) = record.policy else { return Ok(None) };
    let policy = if name == author {
        own
    } else {
        let existing = record.subdomains.unwrap_or(own);
        match record.missing {
            // RFC 9989 §4.7, `np`: for names that do not exist (RFC 8020).
            Some(missing) if missing != existing && !exists(dns, author).await? => missing,
            _ => existing,
        }
    };
    Ok(Some(Applied {
        policy: if record.testing { policy.tested() } else { policy },
        strict_dkim: record.strict_dkim,
        strict_spf: record.strict_spf,
        organisation,
    }))
}

async fn exists(dns: &Dns, domain: &Domain) -> Result<bool, LookupError> {
    match dns.ipv4(domain.as_str()).await {
        Ok(_) => Ok(true),
        Err(LookupError::NoSuchName) => Ok(false),
        Err(temporary) => Err(temporary),
    }
}

/// Judges a message by its author and what was proved, until `deadline` at the latest.
pub async fn judge(dns: &Dns, author: &Author, proved: &[Proved], deadline: Instant) -> DmarcVerdict {
    match author {
        Author::One(domain) => judge_one(dns, domain, proved, deadline).await,
        Author::Unclear { domains, others } => judge_unclear(dns, domains, *others, deadline).await,
    }
}

async fn judge_one(dns: &Dns, author: &Domain, proved: &[Proved], deadline: Instant) -> DmarcVerdict {
    let verdict = |result, policy, reason: Option<&str>| DmarcVerdict {
        result,
        policy,
        domain: Some(author.clone()),
        reason: reason.map(str::to_owned),
    };
    if author.is_literal() {
        return verdict(DmarcResult::None, Policy::None, None);
    }
    let applied = match tokio::time::timeout_at(deadline, discover(dns, author)).await {
        Ok(Ok(Some(applied))) => applied,
        Ok(Ok(None)) => return verdict(DmarcResult::None, Policy::None, None),
        Ok(Err(error)) => return verdict(DmarcResult::TempError, Policy::None, Some(&error.to_string())),
        Err(_) => return verdict(DmarcResult::TempError, Policy::None, Some("no answer in time")),
    };
    let mut doubt = false;
    // What was proved first, so that what could not be takes no time from it.
    let (doubtful, sure): (Vec<&Proved>, Vec<&Proved>) = proved.iter().partition(|name| name.doubtful);
    for name in sure.into_iter().chain(doubtful) {
        let strict = if name.by_spf { applied.strict_spf } else { applied.strict_dkim };
        let aligned = aligned(dns, &name.domain, author, &applied.organisation, strict);
        match tokio::time::timeout_at(deadline, aligned).await {
            Ok(Ok(true)) if !name.doubtful => return verdict(DmarcResult::Pass, applied.policy, None),
            Ok(Ok(aligned)) => doubt |= aligned,
            Ok(Err(_)) | Err(_) => doubt = true,
        }
    }
    if doubt {
        return verdict(DmarcResult::TempError, applied.policy, Some("what would pass could not be checked"));
    }
    verdict(DmarcResult::Fail, applied.policy, Some("neither SPF nor DKIM speaks for the domain in From"))
}

/// A message whose author is unclear passes for nobody; the strictest of the domains that it names is heard. Where
/// there may be `others`, or some do not answer in time, those may ask to be suspicious.
async fn judge_unclear(dns: &Dns, domains: &[Domain], others: bool, deadline: Instant) -> DmarcVerdict {
    let reason = "From is missing, or has not exactly one address";
    let mut verdict = DmarcVerdict {
        result: DmarcResult::Fail,
        policy: Policy::None,
        domain: domains.first().cloned(),
        reason: Some(reason.to_owned()),
    };
    // All at once, so that the silent ones in front take no time from the others.
    let mut asked = JoinSet::new();
    for domain in domains.iter().filter(|domain| !domain.is_literal()) {
        let (dns, domain) = (dns.clone(), domain.clone());
        asked.spawn(async move {
            let found = tokio::time::timeout_at(deadline, discover(&dns, &domain)).await;
            (domain, found)
        });
    }
    let mut unheard = others;
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok((domain, Ok(Ok(Some(applied))))) if applied.policy > verdict.policy => {
                (verdict.policy, verdict.domain) = (applied.policy, Some(domain));
            }
            Ok((_, Ok(Ok(_)))) => {}
            Ok((_, Ok(Err(_)) | Err(_))) | Err(_) => unheard = true,
        }
    }
    if unheard && verdict.policy < Policy::Quarantine {
        (verdict.policy, verdict.domain) = (Policy::Quarantine, None);
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).expect("valid")
    }

    #[test]
    fn authors() {
        let author = |text: &str| Author::of(&header::read(text.as_bytes()).expect("small"));
        let one = |text: &str| Author::One(domain(text));
        let unclear =
            |list: &[&str], others| Author::Unclear { domains: list.iter().map(|d| domain(d)).collect(), others };
        let many = |list: &[&str]| unclear(list, false);
        for (text, wanted) in [
            ("From: a@B.example\n", one("b.example")),
            ("From: \"x@y.example\" <a@b.example.> (c@d.example)\n", one("b.example")),
            ("From: =?utf-8?q?a?= <a@b\u{fc}cher.example>\n", one("xn--bcher-kva.example")),
            ("From: <@r.example:a@b.example>\n", one("b.example")),
            ("", many(&[])),
            ("From:\n", many(&[])),
            ("From: a\n", many(&[])),
            ("From: a@b.example, c@b.example\n", many(&["b.example"])),
            ("From: a@b.example\nfrom: a@c.example\n", many(&["b.example", "c.example"])),
            ("From: g: a@b.example;\n", many(&["b.example"])),
            ("From: g:;\n", many(&[])),
            ("From: a@-b.example\n", many(&[])),
        ] {
            assert_eq!(author(text), wanted, "{text}");
        }
        // One address to us and another to somebody else.
        for (text, named) in [
            ("<ceo@bank.example> <x@attacker.example>", &["bank.example", "attacker.example"][..]),
            ("ceo@bank.example x@attacker.example", &["bank.example", "attacker.example"]),
            ("ceo@bank.example@attacker.example", &["bank.example", "attacker.example"]),
            ("<ceo@bank.example,x@attacker.example>", &["bank.example", "attacker.example"]),
            ("<ceo@bank.example;x@attacker.example>", &["bank.example", "attacker.example"]),
            ("<x@attacker.example> ceo@bank.example", &["attacker.example", "bank.example"]),
            ("ceo@(x)bank.example x@attacker.example", &["attacker.example"]),
        ] {
            assert_eq!(author(&format!("From: {text}\n")), unclear(named, true), "{text}");
        }
        let names: Vec<String> = (0..=DMARC_AUTHORS).map(|n| format!("d{n}.example")).collect();
        let kept: Vec<&str> = names.iter().map(String::as_str).take(DMARC_AUTHORS).collect();
        let crowd = |names: &[String]| format!("From: u@{}\n", names.join(", u@"));
        assert_eq!(author(&crowd(&names[..DMARC_AUTHORS])), unclear(&kept, false));
        assert_eq!(author(&crowd(&names)), unclear(&kept, true));
        let flood = format!("From: {}\n", "a@b.example, ".repeat(15_000));
        assert_eq!(author(&flood), many(&["b.example"]));
    }

    #[test]
    fn records() {
        let record = |text: &str| Record::parse(text.as_bytes());
        for none in ["", "v=DMARC2; p=none", "v=dmarc1; p=none", "p=none; v=DMARC1", "v=spf1 -all", "DMARC1"] {
            assert_eq!(record(none), None, "{none}");
        }
        let full = record("v = DMARC1; P=Reject; sp=quarantine;np=none;adkim=s; aspf=S; t=y; psd=n; pct=0; x; =")
            .expect("one");
        assert_eq!(
            (full.policy, full.subdomains, full.missing),
            (Some(Policy::Reject), Some(Policy::Quarantine), Some(Policy::None))
        );
        assert!(full.strict_dkim && full.strict_spf && full.testing);
        assert_eq!(full.psd, Some(false));
        assert_eq!(record("v=DMARC1; p=odd").and_then(|r| r.policy), None);
        assert_eq!(record("v=DMARC1; p=odd; rua=mailto:a@b").and_then(|r| r.policy), Some(Policy::None));
        assert!(record(&format!("v=DMARC1;{}", "a=b;".repeat(16_000))).is_some());
    }

    #[test]
    fn steps_up_the_tree() {
        let names = |text: &str| steps(&domain(text)).map(|d| d.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(names("a.b.example"), ["a.b.example", "b.example", "example"]);
        assert_eq!(names("example"), ["example"]);
        // RFC 9989 §4.10: eight questions for a name of any length.
        let long = names("a.b.c.d.e.f.g.h.i.j.mail.example.com");
        assert_eq!(long.len(), DMARC_WALK);
        assert_eq!(long[1], "g.h.i.j.mail.example.com");
        assert_eq!(names("b.c.d.e.f.g.example.com")[1], "c.d.e.f.g.example.com");
    }
}
