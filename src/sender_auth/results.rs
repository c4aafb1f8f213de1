//! `Authentication-Results` (RFC 8601): writing ours, and reading who wrote another one. `Received-SPF` (RFC 7208 §9.1).
//!
//! Everything that a stranger said is cleaned before it gets into a field: no line end, no quote that ends early, and
//! never more than [`RESULT_TEXT_CHARS`]. Lines are ended by LF.

use std::fmt::Write;
use std::net::IpAddr;

use super::arc::ArcResult;
use super::arc::ArcVerdict;
use super::dkim::DkimVerdict;
use super::dmarc::DmarcVerdict;
use super::spf::Identity;
use super::spf::SpfResult;
use super::spf::SpfVerdict;
use crate::dns::client_name::ClientName;
use crate::mail::address::Domain;
use crate::mail::limits::DKIM_RESULTS;
use crate::mail::limits::RESULT_TEXT_CHARS;

/// Collects `Authentication-Results`.
#[derive(Debug)]
pub struct Results(String);

impl Results {
    /// A field that says nothing yet.
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        Self(format!("Authentication-Results: {hostname}"))
    }

    /// The name of the client (RFC 8601 §2.7.3).
    pub fn client_name(&mut self, name: &ClientName, ip: IpAddr) {
        let (result, name) = match name {
            ClientName::Confirmed(name) => ("pass", Some(name)),
            ClientName::Unconfirmed(name) => ("fail", Some(name)),
            ClientName::None => ("permerror", None),
            ClientName::Unknown => ("temperror", None),
        };
        let name = name.map_or_else(String::new, |name| format!(" ({})", comment(name)));
        self.add(&format!("iprev={result}{name} policy.iprev={}", value(&ip.to_canonical().to_string())));
    }

    /// SPF of one name (RFC 8601 §2.7.2).
    pub fn spf(&mut self, spf: &SpfVerdict) {
        let property = match spf.identity {
            Identity::MailFrom => "smtp.mailfrom",
            Identity::Helo => "smtp.helo",
        };
        let mut text = format!("spf={}", spf.result.as_str());
        reason(&mut text, spf.problem.as_deref());
        self.add(&format!("{text} {property}={}", value(&spf.domain)));
    }

    /// DKIM, a line for each of the first signatures (RFC 8601 §2.7.1).
    pub fn dkim(&mut self, all: &[DkimVerdict]) {
        if all.is_empty() {
            self.add("dkim=none");
        }
        for one in all.iter().take(DKIM_RESULTS) {
            let mut text = format!("dkim={}", one.result.as_str());
            if one.testing {
                text.push_str(" (the domain is testing, it does not count)");
            }
            reason(&mut text, one.reason.as_deref());
            if let Some(domain) = &one.domain {
                let (s, b) = (value(&one.selector), value(&one.signature));
                text.push_str(&format!(" header.d={domain} header.s={s} header.b={b}"));
            }
            self.add(&text);
        }
    }

    /// DMARC, with what the domain asks for (RFC 9989 §8.2).
    pub fn dmarc(&mut self, dmarc: &DmarcVerdict) {
        let mut text = format!("dmarc={}", dmarc.result.as_str());
        text.push_str(&format!(" (p={})", dmarc.policy.as_str()));
        reason(&mut text, dmarc.reason.as_deref());
        if let Some(domain) = &dmarc.domain {
            text.push_str(&format!(" header.from={}", value(domain.as_str())));
        }
        self.add(&text);
    }

    /// ARC (RFC 8617 §10.1), if there is a chain, and who of it was believed.
    pub fn arc(&mut self, arc: &ArcVerdict, vouched_by: Option<&Domain>) {
        if arc.result != ArcResult::None {
            let mut text = format!("arc={}", arc.result.as_str());
            if let Some(domain) = vouched_by {
                text.push_str(&format!(" (passed DMARC at {domain})"));
            }
            reason(&mut text, arc.reason.as_deref());
            self.add(&text);
        }
    }

    fn add(&mut self, text: &str) {
        self.0.push_str(";\n\t");
        self.0.push_str(text);
    }

    /// The field.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // RFC 8601 §2.2: somebody who did nothing says so.
        if !self.0.contains(';') {
            self.0.push_str("; none");
        }
        self.0.push('\n');
        self.0.into_bytes()
    }
}

fn reason(text: &mut String, why: Option<&str>) {
    if let Some(why) = why {
        text.push_str(&format!(" reason={}", quoted(why)));
    }
}

/// A `pvalue`: as it is where it is a token (RFC 2045 §5.1), else quoted.
fn value(text: &str) -> String {
    let is_token = |b: u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&b);
    if !text.is_empty() && text.len() <= 255 && text.bytes().all(is_token) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in clean(text) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

fn comment(text: &str) -> String {
    clean(text).map(|c| if matches!(c, '(' | ')' | '\\') { '?' } else { c }).collect()
}

fn clean(text: &str) -> impl Iterator<Item = char> {
    text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).take(RESULT_TEXT_CHARS)
}

/// `Received-SPF` (RFC 7208 §9.1).
#[must_use]
pub fn received_spf(hostname: &str, spf: &SpfVerdict, ip: IpAddr, helo: &str, sender: &str) -> Vec<u8> {
    let name = comment(&spf.domain);
    let says = match spf.result {
        SpfResult::Pass => format!("domain of {name} designates {ip} as permitted sender"),
        SpfResult::Fail => format!("domain of {name} does not designate {ip} as permitted sender"),
        SpfResult::SoftFail => format!("domain of {name} probably does not designate {ip} as permitted sender"),
        SpfResult::Neutral => format!("{ip} is neither permitted nor denied by domain of {name}"),
        SpfResult::None => format!("{name} has no SPF record"),
        SpfResult::TempError => format!("temporary error for {name}"),
        SpfResult::PermError => format!("the SPF record of {name} cannot be understood"),
    };
    let identity = match spf.identity {
        Identity::MailFrom => "mailfrom",
        Identity::Helo => "helo",
    };
    let mut field = String::new();
    let written = write!(
        field,
        "Received-SPF: {} ({hostname}: {says})\n\treceiver={hostname}; identity={identity};\n\tclient-ip={ip}; helo={};\n\tenvelope-from={}\n",
        spf.result.as_str(),
        word(helo),
        quoted(sender),
    );
    debug_assert!(written.is_ok(), "a string takes everything");
    field.into_bytes()
}

/// A dot-atom or a quoted string (RFC 7208 §9.1, `value`).
fn word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let atom = !text.is_empty() && text.len() <= 255 && text.bytes().all(plain);
    if atom && !text.starts_with('.') && !text.ends_with('.') && !text.contains("..") {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Whether an `Authentication-Results` field says that `hostname` wrote it (RFC 8601 §5): the authserv-id is ours, or
/// it cannot be read and our name is somewhere in the field.
#[must_use]
pub fn claims_to_be(field_value: &[u8], hostname: &str) -> bool {
    let mut tokens = Tokens { text: field_value, at: 0 };
    let ours = |id: &[u8]| {
        let id = id.strip_suffix(b".").unwrap_or(id);
        id.eq_ignore_ascii_case(hostname.as_bytes())
    };
    match (tokens.next(), tokens.next()) {
        (Some(Token::Word(id)), None | Some(Token::Semicolon)) => ours(&id),
        // RFC 8601 §2.2: a version is digits.
        (Some(Token::Word(id)), Some(Token::Word(version))) if version.iter().all(u8::is_ascii_digit) => ours(&id),
        _ => {
            let name = hostname.to_ascii_lowercase();
            let is_in = |text: &[u8]| {
                let squeezed = text.iter().filter(|b| !b.is_ascii_whitespace()).map(u8::to_ascii_lowercase);
                memchr::memmem::find(&squeezed.collect::<Vec<u8>>(), name.as_bytes()).is_some()
            };
            let words = Tokens { text: field_value, at: 0 }.filter_map(|token| match token {
                Token::Word(word) => Some(word),
                Token::Semicolon | Token::Other(_) => None,
            });
            is_in(field_value) || is_in(&words.flatten().collect::<Vec<u8>>())
        }
    }
}

/// One result of somebody else's field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// `spf`, `dkim`, `dmarc` … in lower case.
    pub method: String,
    /// `pass` and the like, in lower case.
    pub result: String,
    /// Properties such as `header.d`, in lower case, with their values.
    pub properties: Vec<(String, String)>,
}

impl Claim {
    /// Whether this property is there.
    #[must_use]
    pub fn has(&self, property: &str) -> bool {
        self.properties.iter().any(|(name, _)| name == property)
    }

    /// The domain in the first of these properties that is there.
    #[must_use]
    pub fn domain(&self, properties: &[&str]) -> Option<Domain> {
        let value = properties.iter().find_map(|p| self.properties.iter().find(|(name, _)| name == p))?;
        let text = value.1.rsplit_once('@').map_or(value.1.as_str(), |(_, domain)| domain);
        Domain::parse(text).ok()
    }
}

/// The results in a field's text that begins with its authserv-id; what cannot be read is passed over.
#[must_use]
pub fn claims(text: &[u8]) -> Vec<Claim> {
    let mut all = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut first = true;
    for token in (Tokens { text, at: 0 }).map(Some).chain([None]) {
        match token {
            Some(Token::Word(word)) => words.push(String::from_utf8_lossy(&word).into_owned()),
            Some(Token::Other(b)) => words.push(char::from(b).to_string()),
            Some(Token::Semicolon) | None => {
                let words = std::mem::take(&mut words);
                if !std::mem::take(&mut first) && all.len() < RESULTS_READ {
                    all.extend(claim(&words));
                }
            }
        }
    }
    all
}

/// Results of one field that are read; no honest field has more.
const RESULTS_READ: usize = 100;

/// `method=result` and `ptype.property=value` out of words, with `=` a word of its own.
fn claim(words: &[String]) -> Option<Claim> {
    let mut pairs = words.windows(3).filter(|w| w[1] == "=").map(|w| (w[0].to_ascii_lowercase(), w[2].clone()));
    let (method, result) = pairs.next()?;
    Some(Claim { method, result: result.to_ascii_lowercase(), properties: pairs.collect() })
}

/// A piece of a structured field.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// An atom or a quoted string.
    Word(Vec<u8>),
    Semicolon,
    /// A lone special, or a comment or quotation that does not end.
    Other(u8),
}

/// Cuts a field into pieces; comments and white space are left out.
struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl Tokens<'_> {
    /// Behind a comment; `None` where it does not end.
    fn behind_comment(&self) -> Option<usize> {
        let mut depth = 0_usize;
        let mut at = self.at;
        while let Some(b) = self.text.get(at) {
            at += 1;
            match b {
                b'\\' => at += 1,
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(at);
            }
        }
        None
    }

    fn quotation(&self) -> Option<(Vec<u8>, usize)> {
        let mut word = Vec::new();
        let mut at = self.at + 1;
        loop {
            match self.text.get(at)? {
                b'"' => return Some((word, at + 1)),
                b'\\' => {
                    word.push(*self.text.get(at + 1)?);
                    at += 2;
                }
                b'\r' | b'\n' => at += 1,
                b => {
                    word.push(*b);
                    at += 1;
                }
            }
        }
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let b = *self.text.get(self.at)?;
            match b {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'(' => match self.behind_comment() {
                    Some(end) => self.at = end,
                    None => {
                        self.at = self.text.len();
                        return Some(Token::Other(b));
                    }
                },
                b'"' => {
                    let found = self.quotation();
                    self.at = found.as_ref().map_or(self.text.len(), |(_, end)| *end);
                    return Some(found.map_or(Token::Other(b), |(word, _)| Token::Word(word)));
                }
                b';' => {
                    self.at += 1;
                    return Some(Token::Semicolon);
                }
                b'=' | b')' => {
                    self.at += 1;
                    return Some(Token::Other(b));
                }
                _ => {
                    // One octet at least, whatever it is: the end must come nearer.
                    let ends = |b: &u8| b" \t\r\n();=\"".contains(b);
                    let rest = &self.text[self.at + 1..];
                    let length = 1 + rest.iter().position(ends).unwrap_or(rest.len());
                    let word = self.text[self.at..self.at + length].to_vec();
                    self.at += length;
                    return Some(Token::Word(word));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender_auth::dkim::DkimResult;

    #[test]
    fn fields_in_our_name_are_found_however_they_are_written() {
        for (value, ours) in [
            (&b" mx.example; spf=pass"[..], true),
            (b" MX.Example;", true),
            (b" (a (nested\\) ) comment;) \r\n\t mx.example (c) 1 ; none", true),
            (b"\"mx.example\"; none", true),
            (b"\"m\\x.example\"; none", true),
            (b"mx.example.", true),
            (b"mx.example", true),
            (b"mx.example/1; none", false),
            (b"other.example; x=mx.example", false),
            (b"mx.example.other; none", false),
            (b"(mx.example) other; none", false),
            (b"; mx.example", true),
            (b"=mx.example", true),
            (b"mx.example=1", true),
            (b"(mx.example; spf=pass", true),
            (b"(", false),
            (b"", false),
            (b"mx.\r\n example; none", true),
            (b"mx.(x)example; none", true),
            (b"mx.example 1; none", true),
            (b"other.example 1; x=mx.example", false),
        ] {
            assert_eq!(claims_to_be(value, "mx.example"), ours, "{}", value.escape_ascii());
        }
        for bomb in [&b"("[..], b"\"", b"(\\", b"=", b";", b"a=b;", b"\x0c", b"\x0b", b")"] {
            let text = bomb.repeat(100_000);
            assert!(!claims_to_be(&text, "mx.example"));
            assert!(claims(&text).len() <= RESULTS_READ);
        }
    }

    #[test]
    fn what_others_say_is_read() {
        let text = b" lists.example; spf=pass smtp.mfrom=jqd@d1.example;\n dkim=pass (1024-bit; key)\n  header.i=@d1.example; dmarc = Pass";
        let found = claims(text);
        assert_eq!(found.len(), 3);
        assert_eq!(
            found[0].domain(&["smtp.mailfrom", "smtp.mfrom"]).map(|d| d.to_string()),
            Some("d1.example".to_owned())
        );
        assert_eq!(found[1].domain(&["header.d", "header.i"]).map(|d| d.to_string()), Some("d1.example".to_owned()));
        assert_eq!((found[2].method.as_str(), found[2].result.as_str()), ("dmarc", "pass"));
    }

    #[test]
    fn nothing_that_a_stranger_says_gets_out_of_its_place() {
        let evil = "x\"; dmarc=pass\r\nSubject: \u{e9}(\\";
        let mut results = Results::new("mx.example");
        let spf = SpfVerdict {
            result: SpfResult::Fail,
            identity: Identity::Helo,
            domain: evil.repeat(50),
            explanation: None,
            problem: Some(evil.to_owned()),
        };
        results.spf(&spf);
        results.dkim(&vec![
            DkimVerdict {
                result: DkimResult::Fail,
                domain: Domain::parse("a.example").ok(),
                selector: "s".to_owned(),
                signature: "a+/=".to_owned(),
                reason: Some("why".to_owned()),
                testing: false,
            };
            1000
        ]);
        let field = String::from_utf8(results.finish()).expect("ASCII");
        assert!(field.len() < 3000, "{field}");
        assert!(field.lines().skip(1).all(|line| line.starts_with('\t')), "{field}");
        let methods: Vec<String> =
            claims(&field.as_bytes()["Authentication-Results:".len()..]).into_iter().map(|c| c.method).collect();
        assert_eq!(methods[0], "spf");
        assert!(methods[1..].iter().all(|m| m == "dkim") && methods.len() == 1 + DKIM_RESULTS, "{methods:?}");
        assert!(field.contains("dkim=fail reason=\"why\" header.d=a.example header.s=s header.b=\"a+/=\""), "{field}");
        let ip = "2001:db8::1".parse().expect("an address");
        let received = String::from_utf8(received_spf("mx.example", &spf, ip, evil, evil)).expect("ASCII");
        assert!(received.lines().skip(1).all(|line| line.starts_with('\t')), "{received}");
        assert_eq!(received.lines().count(), 4);
        assert_eq!(Results::new("mx.example").finish(), b"Authentication-Results: mx.example; none\n");
    }
}
