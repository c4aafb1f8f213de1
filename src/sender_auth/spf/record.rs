//! SPF records as text: which of the texts of a name is one, and what it says (RFC 7208 §4.5, §4.6 and §12).
//!
//! The whole record is read before anything is looked up, since an error anywhere counts (§4.6). Asks nobody.

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use super::macros::MacroString;
use crate::mail::limits::SPF_TERMS;

/// What a directive that matches says of the client (RFC 7208 §4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`, and where nothing is written.
    Pass,
    /// `-`
    Fail,
    /// `~`
    SoftFail,
    /// `?`
    Neutral,
}

/// How much of an address must be the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Bits of an IPv4 address, 32 at most.
    pub ip4: u8,
    /// Bits of an IPv6 address, 128 at most.
    pub ip6: u8,
}

/// A condition (RFC 7208 §5). Without a domain, the one that is being checked is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    /// Always.
    All,
    /// What another record says is a pass.
    Include(MacroString),
    /// The client has an address of this name.
    A(Option<MacroString>, Prefix),
    /// The client has an address of an exchanger of this domain.
    Mx(Option<MacroString>, Prefix),
    /// The name of the client is in this domain.
    Ptr(Option<MacroString>),
    /// The client is in this network.
    Ip4(Ipv4Addr, u8),
    /// The client is in this network.
    Ip6(Ipv6Addr, u8),
    /// This name has an IPv4 address.
    Exists(MacroString),
}

/// A record that follows the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Conditions, in their order.
    pub directives: Vec<(Qualifier, Mechanism)>,
    /// Where to go on when none of them holds.
    pub redirect: Option<MacroString>,
    /// Where the words for a fail are.
    pub exp: Option<MacroString>,
}

/// The texts that are SPF records of version 1 (RFC 7208 §4.5).
pub fn candidates(texts: &[Vec<u8>]) -> impl Iterator<Item = &Vec<u8>> {
    texts.iter().filter(|text| {
        text.get(..6).is_some_and(|v| v.eq_ignore_ascii_case(b"v=spf1")) && matches!(text.get(6), None | Some(b' '))
    })
}

/// Reads a record.
///
/// # Errors
/// The term that is against the grammar.
pub fn parse(text: &[u8]) -> Result<Record, String> {
    // RFC 7208 §3.1: US-ASCII. Terms are separated by spaces alone, so a control character is an error as well.
    if !text.iter().all(|b| (b' '..=b'~').contains(b)) {
        return Err("an octet that is no printable ASCII".to_owned());
    }
    let text = String::from_utf8_lossy(text);
    let mut record = Record { directives: Vec::new(), redirect: None, exp: None };
    for (number, term) in text.split(' ').skip(1).filter(|term| !term.is_empty()).enumerate() {
        if number >= SPF_TERMS {
            return Err("too many terms".to_owned());
        }
        take_term(&mut record, term).ok_or_else(|| term.chars().take(60).collect::<String>())?;
    }
    Ok(record)
}

fn take_term(record: &mut Record, term: &str) -> Option<()> {
    let special = term.find([':', '=', '/']).unwrap_or(term.len());
    if term[special..].starts_with('=') {
        return modifier(record, &term[..special], &term[special + 1..]);
    }
    let (qualifier, rest) = match term.as_bytes().first()? {
        b'+' => (Qualifier::Pass, &term[1..]),
        b'-' => (Qualifier::Fail, &term[1..]),
        b'~' => (Qualifier::SoftFail, &term[1..]),
        b'?' => (Qualifier::Neutral, &term[1..]),
        _ => (Qualifier::Pass, term),
    };
    record.directives.push((qualifier, mechanism(rest)?));
    Some(())
}

/// `name=value` (RFC 7208 §6). An unknown one is passed over, if it follows the grammar.
fn modifier(record: &mut Record, name: &str, value: &str) -> Option<()> {
    let first = name.as_bytes().first()?;
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !first.is_ascii_alphabetic() || !rest {
        return None;
    }
    let slot = match name.to_ascii_lowercase().as_str() {
        "redirect" => &mut record.redirect,
        "exp" => &mut record.exp,
        _ => return MacroString::parse(value, true).map(drop),
    };
    // RFC 7208 §6: neither may be there twice.
    let fresh = slot.is_none();
    *slot = Some(MacroString::domain_spec(value)?);
    fresh.then_some(())
}

fn mechanism(text: &str) -> Option<Mechanism> {
    let end = text.find([':', '/']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let argument = rest.strip_prefix(':');
    match name.to_ascii_lowercase().as_str() {
        "all" => rest.is_empty().then_some(Mechanism::All),
        "include" => Some(Mechanism::Include(MacroString::domain_spec(argument?)?)),
        "exists" => Some(Mechanism::Exists(MacroString::domain_spec(argument?)?)),
        "a" => with_prefix(rest).map(|(domain, prefix)| Mechanism::A(domain, prefix)),
        "mx" => with_prefix(rest).map(|(domain, prefix)| Mechanism::Mx(domain, prefix)),
        "ptr" if rest.is_empty() => Some(Mechanism::Ptr(None)),
        "ptr" => Some(Mechanism::Ptr(Some(MacroString::domain_spec(argument?)?))),
        "ip4" => {
            let (address, bits) = network(argument?, 32)?;
            Some(Mechanism::Ip4(address.parse().ok()?, bits))
        }
        "ip6" => {
            let (address, bits) = network(argument?, 128)?;
            Some(Mechanism::Ip6(address.parse().ok()?, bits))
        }
        _ => None,
    }
}

/// `[":" domain-spec] [dual-cidr-length]` (RFC 7208 §5.3). A domain may hold slashes, so lengths are cut from the end.
fn with_prefix(rest: &str) -> Option<(Option<MacroString>, Prefix)> {
    let mut prefix = Prefix { ip4: 32, ip6: 128 };
    let mut domain = rest;
    if let Some((before, bits)) = domain.rsplit_once("//").filter(|(_, bits)| is_number(bits)) {
        prefix.ip6 = length(bits, 128)?;
        domain = before;
    }
    if let Some((before, bits)) = domain.rsplit_once('/').filter(|(_, bits)| is_number(bits)) {
        prefix.ip4 = length(bits, 32)?;
        domain = before;
    }
    match domain.strip_prefix(':') {
        Some(domain) => Some((Some(MacroString::domain_spec(domain)?), prefix)),
        None => domain.is_empty().then_some((None, prefix)),
    }
}

fn network(text: &str, most: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((address, bits)) => Some((address, length(bits, most)?)),
        None => Some((text, most)),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// RFC 7208 §12: no zero before another digit.
fn length(text: &str, most: u8) -> Option<u8> {
    let plain = is_number(text) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten().filter(|bits| *bits <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_grammar_and_others() {
        for good in [
            "v=spf1",
            "v=spf1 ",
            "v=spf1 a  -all",
            "V=SPF1 +A:x.example/24//64 ?mX//0 ~ptr -ALL",
            "v=spf1 a:foo:bar/baz.example.com ip4:1.2.3.4/0 ip6:::1.1.1.1/0",
            "v=spf1 moo.cow-far_out=man:dog/cat default=+ redirect=%{d}.x.example. exp=a.b",
            "v=spf1 exists:%{l1r+-}.%{o}",
        ] {
            assert!(parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            "v=spf1 -all.",
            "v=spf1 all:x",
            "v=spf1 a:museum",
            "v=spf1 a:museum.",
            "v=spf1 a:111.222.33.44",
            "v=spf1 a:example.-com",
            "v=spf1 a/33",
            "v=spf1 a/024",
            "v=spf1 a/24/64",
            "v=spf1 a//129",
            "v=spf1 a:x.y/300",
            "v=spf1 ip4:1.2.3",
            "v=spf1 ip4:1.2.3.4//32",
            "v=spf1 ip4:1.2.3.4/",
            "v=spf1 ip6::CAFE::BABE",
            "v=spf1 include +all",
            "v=spf1 ptr/0",
            "v=spf1 1up=foo",
            "v=spf1 =all",
            "v=spf1 foo=%abc",
            "v=spf1 exp=a.b exp=a.b",
            "v=spf1 redirect=",
            "v=spf1 a\tall",
            "v=spf1 exists:%{c}.x.y",
            "v=spf1 exists:%{d0}.x.y",
            "v=spf1 exists:%{d",
            "v=spf1 +",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn monstrous_records_end_soon() {
        for text in [
            format!("v=spf1 {}", "a ".repeat(32_000)),
            format!("v=spf1 a:{}x", "%{s}".repeat(16_000)),
            format!("v=spf1 exists:{}", "%{d1r.+-,/_=}".repeat(5000)),
            format!("v=spf1 a{}", "/".repeat(65_000)),
            format!("v=spf1 {}", "=".repeat(65_000)),
            format!("v=spf1 a:{}", "%".repeat(65_000)),
        ] {
            drop(parse(text.as_bytes()));
        }
    }
}
