//! Who really sent a message: SPF, DKIM, DMARC and ARC on reception, and what follows from them.
//!
//! [`SenderAuth::judge`] does all of it at the end of data; [`SenderAuth::spf`] is for those who want to know earlier.
//! DNS is asked by `dns`, and by it alone; the arithmetic of keys is the library's, behind `key.rs`.
//!
//! What a stranger can make it cost: [`AUTH_TIME`] of time; the header of a message in memory, twice
//! ([`HEADER_OCTETS`], and [`AUTH_HEADERS_OCTETS`] for all messages); pieces of its body, which is read once whatever
//! its size ([`AUTH_BODIES`] at one time); and questions to DNS:
//! SPF at most 10 terms for each of two names, each of which asks for 11 at most; DKIM 5; DMARC 8 for the author and 8
//! for each proved name below its organisation; ARC 2 for each of 50 sets.
//!
//! # Why the evaluation is our own
//!
//! mail-auth 0.13.3 has verifiers for all of this. Measured over the same cases and the same name server
//! (`tests/sender_auth.rs` does it again; `tests/sender_auth.allow` has every name):
//!
//! - SPF: another result or explanation in 63 of the 203 cases of the RFC 7208 suite. It passes records that are in
//!   error (`badip4`, `cidr4-33`, `cidr4-032`, `control-char-policy`, `a-dual-cidr-ip4-err`), and clients of IPv4 by
//!   prefixes of IPv6 (`cidr6-ip4`, `a-cidr6-0-ip4mapped` and two more); takes one of two records (`multitxt1`,
//!   `multitxt2`); refuses what a colon in a name or a redirect in front makes legal (`a-colon-domain`,
//!   `redirect-after-mechanisms2` …); answers with a temporary error where it will never get better (13 cases, from
//!   `a-null` to `macro-mania-in-domain`); and knows neither `%{p}` in explanations nor the client's name by `ptr`.
//! - ARC: in 15 of 175 cases. Nine chains pass that must not: by SHA-1 (`ams_fields_a_sha1`, `as_fields_a_sha1`), without
//!   an algorithm, with double or malformed tags in a seal (`as_format_tags_dup` and three more), over a seal
//!   (`ams_fields_h_includes_as`). One of the 15 is ours, too (`ams_fields_c_na`).
//! - DKIM: blanks below a message break a relaxed signature (4 of 28 cases; RFC 6376 §3.4.4).
//! - Memory: it wants the message in one piece and with CRLF. One of 50 MiB with two signatures takes 52 MiB more than
//!   before, and here 2.2 MiB.
//!
//! Records of SPF are fetched within it, also those of `include` and `redirect`, so that nothing of this can be seen
//! to beforehand.
//!
//! One address holds some twelfth of the room for headers at most, and one network two fifths, by the connections that
//! it may have (`limits.smtp_connections_per_address` and `…_per_network`). Who takes it all by several networks gets
//! everybody else's mail put off for as long, and none of his own in.
//!
//! Knows nothing of sockets, of replies or of folders.

pub mod arc;
pub mod canon;
pub mod dkim;
pub mod dmarc;
pub mod key;
pub mod policy;
pub mod results;
pub mod spf;
pub mod tags;

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::config::Config;
use crate::config::DmarcPolicy;
use crate::config::SpfPolicy;
use crate::dns::Dns;
use crate::dns::client_name::ClientName;
use crate::fsio::Content;
use crate::mail::address::Domain;
use crate::mail::address::ReversePath;
use crate::mail::limits::AUTH_BODIES;
use crate::mail::limits::AUTH_BODY_PIECE;
use crate::mail::limits::AUTH_HEADERS_OCTETS;
use crate::mail::limits::AUTH_PROOF_TIME;
use crate::mail::limits::AUTH_TIME;
use crate::mail::limits::HEADER_OCTETS;
use crate::message::header;
use arc::ArcResult;
use arc::ArcVerdict;
use arc::Chain;
use canon::BodyHashes;
use dkim::DkimResult;
use dkim::DkimVerdict;
use dkim::Signatures;
use dkim::Signed;
use dmarc::Author;
use dmarc::DmarcResult;
use dmarc::DmarcVerdict;
use dmarc::Policy;
use dmarc::Proved;
use policy::Action;
use policy::Rules;
use results::Results;
use spf::SpfResult;
use spf::SpfVerdict;

/// What is known of a message before it is read.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Where the client connected from.
    pub ip: IpAddr,
    /// What it called itself, as it came.
    pub helo: &'a str,
    /// The envelope's sender.
    pub mail_from: &'a ReversePath,
    /// The client's name, where it was looked for.
    pub client_name: Option<&'a ClientName>,
}

/// Everything that was found out, and what follows.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// `Authentication-Results`, for the top of the message; lines ended by LF.
    pub results_field: Vec<u8>,
    /// `Received-SPF`, likewise; empty where SPF is off.
    pub received_spf: Vec<u8>,
    /// What to do.
    pub action: Action,
    /// SPF of the envelope's sender, or of the client's name for the null path; `None` where SPF is off.
    pub spf: Option<SpfVerdict>,
    /// SPF of the client's name, where that is not [`Self::spf`].
    pub spf_helo: Option<SpfVerdict>,
    /// DKIM, one for each signature; empty where DKIM is off.
    pub dkim: Vec<DkimVerdict>,
    /// DMARC; `None` where it is off.
    pub dmarc: Option<DmarcVerdict>,
    /// ARC; `None` where it is off.
    pub arc: Option<ArcVerdict>,
    /// The trusted sealer that saw the message pass DMARC.
    pub vouched_by: Option<Domain>,
}

/// Checks who sent messages. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SenderAuth {
    dns: Dns,
    clock: Clock,
    /// A permit is a KiB.
    headers: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

impl SenderAuth {
    /// With these questions and this time.
    #[must_use]
    pub fn new(dns: Dns, clock: Clock) -> Self {
        let headers = Arc::new(Semaphore::new(AUTH_HEADERS_OCTETS / 1024));
        Self { dns, clock, headers, bodies: Arc::new(Semaphore::new(AUTH_BODIES)) }
    }

    /// SPF of the envelope's sender, or of the client's name for the null path. Needs no message.
    pub async fn spf(&self, config: &Config, facts: &Facts<'_>) -> SpfVerdict {
        spf::check(&self.dns, self.client(config, facts), &sender_text(facts.mail_from)).await
    }

    /// Judges a message as it came, before anything was put on top of it or cut out of it. Takes [`AUTH_TIME`] at
    /// most; what was not found out by then is a temporary error.
    ///
    /// # Errors
    /// What the kernel says of the spill file.
    pub async fn judge(&self, config: &Config, facts: &Facts<'_>, content: &Content) -> io::Result<Verdict> {
        let (proofs_by, all_by) = (deadline(AUTH_PROOF_TIME), deadline(AUTH_TIME));
        let rules = &config.sender_auth;
        let sender = sender_text(facts.mail_from);
        let client = self.client(config, facts);
        let spf = async {
            if rules.spf == SpfPolicy::Off {
                return (None, None);
            }
            let (own, helo) = tokio::join!(spf::check(&self.dns, client, &sender), async {
                if sender.is_empty() { None } else { Some(spf::check_helo(&self.dns, client).await) }
            });
            // A client without a domain name has nothing to tell.
            (Some(own), helo.filter(|helo| helo.result != SpfResult::None))
        };
        let ((spf, spf_helo), proofs) = tokio::join!(Box::pin(spf), Box::pin(self.proofs(config, content, proofs_by)));
        let proofs = proofs?;
        let found = Found { spf, spf_helo, proofs };
        let (dmarc, vouched_by) = Box::pin(self.conclude(config, &found, all_by)).await;
        Ok(verdict(config, facts, &sender, found, dmarc, vouched_by))
    }

    fn client<'a>(&self, config: &'a Config, facts: &Facts<'a>) -> spf::Client<'a> {
        spf::Client { ip: facts.ip, helo: facts.helo, receiver: config.hostname.as_str(), now: self.now() }
    }

    fn now(&self) -> u64 {
        self.clock.wall().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    /// DKIM and ARC, and who the author is.
    async fn proofs(&self, config: &Config, content: &Content, deadline: tokio::time::Instant) -> io::Result<Proofs> {
        let rules = &config.sender_auth;
        let most = usize::try_from(content.len()).unwrap_or(usize::MAX).min(HEADER_OCTETS + 1);
        let room = tokio::time::timeout_at(deadline, self.headers.acquire_many(room_of(most))).await;
        let Ok(Ok(mut permit)) = room else { return Ok(Proofs { too_busy: true, ..Proofs::default() }) };
        let head = match content.in_memory() {
            Some(octets) => Cow::Borrowed(octets.get(..most).unwrap_or(octets)),
            None => match read_head(content.clone()).await? {
                Some(head) => Cow::Owned(head),
                None => return Ok(Proofs::default()),
            },
        };
        let Ok(header) = header::read(&head) else { return Ok(Proofs::default()) };
        // What was read of the body is not needed, and its room is somebody else's.
        let body = header.body;
        drop(permit.split((room_of(most) - room_of(body)) as usize));
        let author = Author::of(&header);
        let now = self.now();
        let signatures = rules.dkim.then(|| Signatures::of(&header, author.one(), now));
        let chain = rules.arc.then(|| Chain::of(&header, now));
        let mut forms = signatures.as_ref().map_or_else(Vec::new, Signatures::forms);
        forms.extend(chain.as_ref().and_then(Chain::form));
        let Some(bodies) = self.hashes(content, body, forms, deadline).await? else {
            let (dkim, arc) = (signatures.map(Signatures::too_late), chain.map(Chain::too_late));
            return Ok(Proofs { author: Some(author), dkim, arc, too_busy: true });
        };
        let signed = Signed::new(&head, &header);
        let dkim = async {
            match signatures {
                Some(signatures) => Some(signatures.verify(&self.dns, &signed, &bodies, deadline).await),
                None => None,
            }
        };
        let arc = async {
            match chain {
                Some(chain) => Some(chain.verify(&self.dns, &signed, &bodies, deadline).await),
                None => None,
            }
        };
        let (dkim, arc) = tokio::join!(Box::pin(dkim), Box::pin(arc));
        Ok(Proofs { author: Some(author), dkim, arc, too_busy: false })
    }

    /// The hashes of the body; `None` where there was no place for it in time.
    async fn hashes(
        &self,
        content: &Content,
        body: usize,
        forms: Vec<canon::Canon>,
        deadline: tokio::time::Instant,
    ) -> io::Result<Option<BodyHashes>> {
        if forms.is_empty() {
            return Ok(Some(BodyHashes::none()));
        }
        let place = tokio::time::timeout_at(deadline, Arc::clone(&self.bodies).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Ok(None) };
        if content.in_memory().is_some_and(|octets| octets.len() <= AUTH_BODY_PIECE) {
            // Done sooner than handed to another thread.
            return BodyHashes::of(content, body, &forms).map(Some);
        }
        let content = content.clone();
        let read = move || {
            // Kept to the end even if nobody waits for it any more.
            let _place = place;
            BodyHashes::of(&content, body, &forms)
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?.map(Some)
    }

    /// DMARC, and whether somebody vouches for what fails it; until `deadline` at the latest.
    async fn conclude(
        &self,
        config: &Config,
        found: &Found,
        deadline: tokio::time::Instant,
    ) -> (Option<DmarcVerdict>, Option<Domain>) {
        let rules = &config.sender_auth;
        if rules.dmarc == DmarcPolicy::Off {
            return (None, None);
        }
        let Some(author) = &found.proofs.author else {
            let (result, why) = if found.proofs.too_busy {
                (DmarcResult::TempError, "too busy")
            } else {
                (DmarcResult::PermError, "the header is too large")
            };
            return (Some(unknown(result, why)), None);
        };
        let mut verdict = dmarc::judge(&self.dns, author, &proved(found), deadline).await;
        let mut vouched_by = None;
        let doubt = verdict.result == DmarcResult::TempError && verdict.policy != Policy::None;
        if (doubt || verdict.result == DmarcResult::Fail)
            && let (Some(author), Some(arc)) = (author.one(), &found.proofs.arc)
        {
            match tokio::time::timeout_at(deadline, self.vouched(&rules.arc_trusted, author, arc)).await {
                Ok(by) => vouched_by = by,
                // Somebody might vouch for it, so it is not refused for good.
                Err(_) => {
                    verdict.result = DmarcResult::TempError;
                    verdict.reason = Some("no answer in time".to_owned());
                }
            }
        }
        (Some(verdict), vouched_by)
    }

    /// The newest sealer that saw the message pass, if it and all after it are trusted.
    async fn vouched(&self, trusted: &[Domain], author: &Domain, arc: &ArcVerdict) -> Option<Domain> {
        if arc.result != ArcResult::Pass {
            return None;
        }
        for set in arc.sets.iter().rev() {
            if !trusted.iter().any(|domain| dkim::is_below(&set.domain, domain)) {
                return None;
            }
            for claim in results::claims(&set.results).iter().filter(|claim| claim.result == "pass") {
                let proved = match claim.method.as_str() {
                    // Where it is not told whose pass it was, it was the author's.
                    "dmarc" if !claim.has("header.from") => Some(author.clone()),
                    "dmarc" => claim.domain(&["header.from"]),
                    "dkim" => claim.domain(&["header.d", "header.i"]),
                    "spf" => claim.domain(&["smtp.mailfrom", "smtp.mfrom"]),
                    _ => None,
                };
                if let Some(proved) = proved
                    && self.belongs(&proved, author).await
                {
                    return Some(set.domain.clone());
                }
            }
        }
        None
    }

    async fn belongs(&self, proved: &Domain, author: &Domain) -> bool {
        if proved == author {
            return true;
        }
        match dmarc::organisational_domain(&self.dns, author).await {
            Ok(organisation) => dmarc::aligned(&self.dns, proved, author, &organisation, false).await.unwrap_or(false),
            Err(_) => false,
        }
    }
}

/// So much from now on, in the time of the runtime, which is that of its timers.
fn deadline(after: Duration) -> tokio::time::Instant {
    tokio::time::sleep(after).deadline()
}

/// What is known before DMARC.
struct Found {
    spf: Option<SpfVerdict>,
    spf_helo: Option<SpfVerdict>,
    proofs: Proofs,
}

/// What the message itself proves; empty where its header cannot be read.
#[derive(Default)]
struct Proofs {
    author: Option<Author>,
    dkim: Option<Vec<DkimVerdict>>,
    arc: Option<ArcVerdict>,
    too_busy: bool,
}

/// As SPF wants it: without brackets, empty for the null path.
fn sender_text(sender: &ReversePath) -> String {
    sender.address().map_or_else(String::new, |address| format!("{}@{}", address.local(), address.domain()))
}

/// The names that SPF and DKIM have proved or might have.
fn proved(found: &Found) -> Vec<Proved> {
    let spf = found.spf.iter().filter_map(|spf| {
        let doubtful = match spf.result {
            SpfResult::Pass => false,
            SpfResult::TempError => true,
            _ => return None,
        };
        Some(Proved { domain: Domain::parse(&spf.domain).ok()?, by_spf: true, doubtful })
    });
    let dkim = found.proofs.dkim.iter().flatten().filter(|dkim| !dkim.testing).filter_map(|dkim| {
        let doubtful = match dkim.result {
            DkimResult::Pass => false,
            DkimResult::TempError => true,
            _ => return None,
        };
        Some(Proved { domain: dkim.domain.clone()?, by_spf: false, doubtful })
    });
    spf.chain(dkim).collect()
}

fn unknown(result: DmarcResult, why: &str) -> DmarcVerdict {
    DmarcVerdict { result, policy: Policy::None, domain: None, reason: Some(why.to_owned()) }
}

fn verdict(
    config: &Config,
    facts: &Facts<'_>,
    sender: &str,
    found: Found,
    dmarc: Option<DmarcVerdict>,
    vouched_by: Option<Domain>,
) -> Verdict {
    let hostname = config.hostname.as_str();
    let Found { spf, spf_helo, proofs } = found;
    let mut field = Results::new(hostname);
    if let Some(name) = facts.client_name {
        field.client_name(name, facts.ip);
    }
    spf.iter().chain(&spf_helo).for_each(|spf| field.spf(spf));
    if let Some(dkim) = &proofs.dkim {
        field.dkim(dkim);
    }
    if let Some(dmarc) = &dmarc {
        field.dmarc(dmarc);
    }
    if let Some(arc) = &proofs.arc {
        field.arc(arc, vouched_by.as_ref());
    }
    let ip = facts.ip.to_canonical();
    let received_spf =
        spf.as_ref().map_or_else(Vec::new, |spf| results::received_spf(hostname, spf, ip, facts.helo, sender));
    let author = proofs.author.as_ref().and_then(Author::one);
    let rules = Rules::of(config, author.or_else(|| dmarc.as_ref()?.domain.as_ref()));
    let action = if proofs.author.is_none() && proofs.too_busy {
        rules.without_room(spf.as_ref())
    } else {
        rules.decide(spf.as_ref(), dmarc.as_ref(), vouched_by.is_some())
    };
    Verdict {
        results_field: field.finish(),
        received_spf,
        action,
        spf,
        spf_helo,
        dkim: proofs.dkim.unwrap_or_default(),
        dmarc,
        arc: proofs.arc,
        vouched_by,
    }
}

/// The header of a message in a file, and nothing of its body; `None` where it is too large.
async fn read_head(content: Content) -> io::Result<Option<Vec<u8>>> {
    let read = move || {
        let mut head = content.head(HEADER_OCTETS + 1)?;
        let Ok(end) = header::read(&head).map(|header| header.body) else { return Ok(None) };
        head.truncate(end);
        head.shrink_to_fit();
        Ok(Some(head))
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

/// Permits for a header of so many octets: it is held once as it came and once as it is hashed.
fn room_of(octets: usize) -> u32 {
    u32::try_from(octets * 2 / 1024 + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use arc::Sealed;

    #[tokio::test]
    async fn sealers_are_believed_as_far_as_all_after_them_are() {
        let config = config::Dns { resolver: config::Resolver::Off, timeout: Duration::from_secs(1) };
        let auth = SenderAuth::new(Dns::new(&config).expect("nothing to set up"), Clock::system());
        let domain = |text: &str| Domain::parse(text).expect("valid");
        let trusted = [domain("a.example"), domain("b.example")];
        let author = domain("author.example");
        let pass = "x; dmarc=pass";
        for (sets, wanted) in [
            (&[("a.example", pass)][..], Some("a.example")),
            (&[("lists.a.example", pass)], Some("lists.a.example")),
            (&[("c.example", pass)], None),
            (&[("a.example", pass), ("b.example", "x; dmarc=fail; arc=pass")], Some("a.example")),
            (&[("a.example", pass), ("c.example", "x; arc=pass")], None),
            (&[("c.example", pass), ("a.example", "x; dmarc=fail; arc=pass")], None),
            (&[("a.example", "x; dmarc=pass header.from=author.example")], Some("a.example")),
            (&[("a.example", "x; dmarc=pass header.from=else.example")], None),
            (&[("a.example", "x; dmarc=pass header.from=;")], Some("a.example")),
            (&[("a.example", "x; dmarc=pass header.from=\"?\"")], None),
            (&[("a.example", "x; (dmarc=pass) dmarc=fail")], None),
            (&[("a.example", "x; dkim=pass header.d=author.example")], Some("a.example")),
            (&[("a.example", "x; dkim=pass header.d=else.example")], None),
            (&[("a.example", "x; dkim=fail header.d=author.example")], None),
            (&[("a.example", "x; spf=pass smtp.mailfrom=u@author.example")], Some("a.example")),
            (&[], None),
        ] {
            let sealed =
                |(name, results): &(&str, &str)| Sealed { domain: domain(name), results: results.as_bytes().to_vec() };
            for (result, wanted) in [(ArcResult::Pass, wanted), (ArcResult::Fail, None), (ArcResult::TempError, None)] {
                let arc = ArcVerdict { result, sets: sets.iter().map(sealed).collect(), reason: None };
                let found = auth.vouched(&trusted, &author, &arc).await;
                assert_eq!(found.as_ref().map(Domain::as_str), wanted, "{sets:?} {result:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_in_time_nothing_is_known_and_nothing_refused_for_good() {
        let parse = |text: &str| config::parse(std::path::Path::new("x"), text).expect("valid");
        let config = |dmarc: &str| {
            let text = format!(
                "hostname = \"mx.example\"\n[[domain]]\nname = \"example\"\n[sender_auth]\ndmarc = \"{dmarc}\"\n\
                 spf = \"reject\"\n"
            );
            parse(&text)
        };
        let [mark, quarantine, config] = ["mark", "quarantine", "reject"].map(config);
        let off = parse("hostname = \"mx.example\"\n[dns]\nresolver = \"off\"\n");
        let auth = SenderAuth::new(Dns::new(&off.dns).expect("nothing to set up"), Clock::system());
        let message =
            "From: u@a.example\nDKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=AAAA; b=AAAA\n\nx\n";
        let content = Content::from_bytes(message.as_bytes().to_vec());
        let ip = "192.0.2.1".parse().expect("an address");
        let facts = Facts { ip, helo: "c.example", mail_from: &ReversePath::Null, client_name: None };
        let known = async || {
            let verdict = auth.judge(&config, &facts, &content).await.expect("in memory");
            // Where the author is read, DNS, which is off, does not tell what he wants.
            let read = !verdict.dkim.is_empty();
            assert_eq!(verdict.action == Action::Accept, read, "{:?}", verdict.action);
            let dkim: Vec<DkimResult> = verdict.dkim.iter().map(|dkim| dkim.result).collect();
            (dkim, verdict.dmarc.map(|dmarc| dmarc.result))
        };
        // With room the body is read, and it is not the one that was signed.
        assert_eq!(known().await, (vec![DkimResult::Fail], Some(DmarcResult::TempError)));
        let all = u32::try_from(AUTH_HEADERS_OCTETS / 1024).expect("it fits");
        let held = auth.headers.acquire_many(all).await.expect("it is open");
        assert_eq!(known().await, (vec![], Some(DmarcResult::TempError)));
        for (config, later) in [(&mark, false), (&quarantine, true)] {
            let action = auth.judge(config, &facts, &content).await.expect("in memory").action;
            assert_eq!(matches!(action, Action::Later { .. }), later, "{action:?}");
        }
        drop(held);
        let held = auth.bodies.acquire_many(u32::try_from(AUTH_BODIES).expect("it fits")).await.expect("it is open");
        assert_eq!(known().await, (vec![DkimResult::TempError], Some(DmarcResult::TempError)));
        drop(held);
        assert_eq!(known().await.0, [DkimResult::Fail]);
        assert_eq!(auth.headers.available_permits(), AUTH_HEADERS_OCTETS / 1024);
    }

    #[test]
    fn room_is_counted_up() {
        assert_eq!((room_of(0), room_of(512), room_of(HEADER_OCTETS)), (1, 2, 513));
        assert!(room_of(HEADER_OCTETS + 1) as usize <= AUTH_HEADERS_OCTETS / 1024);
    }
}
