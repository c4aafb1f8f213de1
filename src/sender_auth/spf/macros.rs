//! Macros of SPF (RFC 7208 §7): how they are written, and what they become.

use std::net::IpAddr;

use crate::mail::limits::SPF_EXPANDED_OCTETS;

/// A text with macros in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacroString(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Macro(Macro),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Macro {
    /// In lower case.
    letter: u8,
    /// Written in upper case: escaped as in a URL.
    escape: bool,
    /// Parts from the right; 0 for all.
    parts: usize,
    reverse: bool,
    /// Bit for bit the characters of [`DELIMITERS`].
    delimiters: u8,
}

const DELIMITERS: &[u8] = b".-+,/_=";

/// What macros stand for.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    /// `%{s}`
    pub sender: &'a str,
    /// `%{l}`
    pub local: &'a str,
    /// `%{o}`
    pub sender_domain: &'a str,
    /// `%{d}`
    pub domain: &'a str,
    /// `%{i}`, `%{v}`, `%{c}`
    pub ip: IpAddr,
    /// `%{p}`
    pub client_name: &'a str,
    /// `%{h}`
    pub helo: &'a str,
    /// `%{r}`
    pub receiver: &'a str,
    /// `%{t}`, in seconds since 1970
    pub now: u64,
}

impl MacroString {
    /// A text with macros; `explaining` allows those that only explanations may have (RFC 7208 §7.2).
    #[must_use]
    pub fn parse(text: &str, explaining: bool) -> Option<Self> {
        Self::read(text, explaining).map(|(parsed, _)| parsed)
    }

    /// A `domain-spec`: it ends with a macro or with a dot and a top label (RFC 7208 §7.1).
    #[must_use]
    pub fn domain_spec(text: &str) -> Option<Self> {
        let (parsed, tail) = Self::read(text, false)?;
        let tail = tail.strip_suffix('.').unwrap_or(tail);
        let fits = match tail.rsplit_once('.') {
            Some((_, last)) => is_top_label(last),
            None => tail.is_empty() && text.ends_with(['}', '%', '_', '-']),
        };
        fits.then_some(parsed)
    }

    /// The pieces, and the text behind the last `%` expression.
    fn read(text: &str, explaining: bool) -> Option<(Self, &str)> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            rest = after.get(1..)?;
            match after.as_bytes().first()? {
                b'%' => literal.push('%'),
                b'_' => literal.push(' '),
                b'-' => literal.push_str("%20"),
                b'{' => {
                    let (inner, behind) = rest.split_once('}')?;
                    let one = Macro::parse(inner, explaining)?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Macro(one));
                    rest = behind;
                }
                _ => return None,
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Some((Self(pieces), rest))
    }

    /// Whether the name of the client is needed, which costs questions.
    #[must_use]
    pub fn needs_client_name(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Macro(Macro { letter: b'p', .. })))
    }

    /// The text that it stands for, at most [`SPF_EXPANDED_OCTETS`] long and cut there.
    #[must_use]
    pub fn expand(&self, values: &Values<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Macro(one) => one.expand(values, &mut out),
            }
            if out.len() > SPF_EXPANDED_OCTETS {
                out.truncate(out.floor_char_boundary(SPF_EXPANDED_OCTETS));
                break;
            }
        }
        out
    }

    /// The name that it stands for: of a longer one, labels are cut from the left (RFC 7208 §7.3).
    #[must_use]
    pub fn expand_name(&self, values: &Values<'_>) -> String {
        let whole = self.expand(values);
        let mut name = whole.strip_suffix('.').unwrap_or(&whole);
        while name.len() > 253 {
            name = name.split_once('.').map_or("", |(_, rest)| rest);
        }
        name.to_owned()
    }
}

/// RFC 7208 §7.1: letters, digits and inner hyphens, not digits alone.
fn is_top_label(label: &str) -> bool {
    let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let ends = !label.starts_with('-') && !label.ends_with('-');
    inner && ends && label.bytes().any(|b| !b.is_ascii_digit())
}

impl Macro {
    fn parse(inner: &str, explaining: bool) -> Option<Self> {
        let (first, rest) = inner.as_bytes().split_first()?;
        let letter = first.to_ascii_lowercase();
        let known = b"slodiphv".contains(&letter) || (explaining && b"crt".contains(&letter));
        if !known {
            return None;
        }
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = rest.split_at(digits);
        let parts = number.iter().fold(0_usize, |n, b| n.saturating_mul(10).saturating_add(usize::from(b - b'0')));
        if digits > 0 && parts == 0 {
            return None;
        }
        let (reverse, rest) = match rest.first() {
            Some(b'r' | b'R') => (true, &rest[1..]),
            _ => (false, rest),
        };
        let mut delimiters = 0;
        for b in rest {
            delimiters |= 1 << DELIMITERS.iter().position(|d| d == b)?;
        }
        let delimiters = if delimiters == 0 { 1 } else { delimiters };
        Some(Self { letter, escape: first.is_ascii_uppercase(), parts, reverse, delimiters })
    }

    fn expand(&self, values: &Values<'_>, out: &mut String) {
        let value = match self.letter {
            b's' => values.sender.to_owned(),
            b'l' => values.local.to_owned(),
            b'o' => values.sender_domain.to_owned(),
            b'd' => values.domain.to_owned(),
            b'i' => dotted(values.ip),
            b'p' => values.client_name.to_owned(),
            b'v' => if values.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            b'h' => values.helo.to_owned(),
            b'c' => values.ip.to_string(),
            b'r' => values.receiver.to_owned(),
            _ => values.now.to_string(),
        };
        let is_delimiter = |c: char| {
            DELIMITERS.iter().position(|d| char::from(*d) == c).is_some_and(|n| self.delimiters & (1 << n) != 0)
        };
        let mut parts: Vec<&str> = value.split(is_delimiter).collect();
        if self.reverse {
            parts.reverse();
        }
        let from = if self.parts == 0 { 0 } else { parts.len().saturating_sub(self.parts) };
        let text = parts[from..].join(".");
        if self.escape { escape(&text, out) } else { out.push_str(&text) }
    }
}

/// RFC 7208 §7.3: what RFC 3986 does not call unreserved.
fn escape(text: &str, out: &mut String) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
}

/// Decimal parts of IPv4, nibbles of IPv6 (RFC 7208 §7.3).
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().flat_map(|b| [b >> 4, b & 15]);
            nibbles.map(|n| format!("{n:x}")).collect::<Vec<_>>().join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7208 §7.4.
        let values = |ip: &str| Values {
            sender: "strong-bad@email.example.com",
            local: "strong-bad",
            sender_domain: "email.example.com",
            domain: "email.example.com",
            ip: ip.parse().expect("an address"),
            client_name: "mx.example.org",
            helo: "h.example",
            receiver: "r.example",
            now: 7,
        };
        for (text, ip, wanted) in [
            ("%{s}", "192.0.2.3", "strong-bad@email.example.com"),
            ("%{d4}", "192.0.2.3", "email.example.com"),
            ("%{d2}", "192.0.2.3", "example.com"),
            ("%{dr}", "192.0.2.3", "com.example.email"),
            ("%{d2r}", "192.0.2.3", "example.email"),
            ("%{l-}", "192.0.2.3", "strong.bad"),
            ("%{lr-}", "192.0.2.3", "bad.strong"),
            ("%{l1r-}", "192.0.2.3", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "192.0.2.3", "3.2.0.192.in-addr._spf.example.com"),
            (
                "%{ir}.%{v}._spf.%{d2}",
                "2001:db8::cb01",
                "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com",
            ),
            ("%{S}%%%_%-", "192.0.2.3", "strong-bad%40email.example.com% %20"),
        ] {
            let parsed = MacroString::parse(text, false).expect(text);
            assert_eq!(parsed.expand(&values(ip)), wanted, "{text}");
        }
        let long = MacroString::parse(&"%{S}.".repeat(100_000), false).expect("valid");
        assert!(long.expand(&values("::1")).len() <= SPF_EXPANDED_OCTETS);
        assert!(long.expand_name(&values("::1")).len() <= 253);
    }

    #[test]
    fn domains_end_in_a_label_or_a_macro() {
        for (text, good) in [
            ("a.b", true),
            ("a.b.", true),
            ("%{d}", true),
            ("x%{d}", true),
            ("x%%", true),
            ("x%_", true),
            ("%{d}x", false),
            ("x%", false),
            ("}", false),
            ("", false),
            ("a.1", false),
            ("a.1-", false),
            ("a.b..", false),
        ] {
            assert_eq!(MacroString::domain_spec(text).is_some(), good, "{text}");
        }
    }
}
