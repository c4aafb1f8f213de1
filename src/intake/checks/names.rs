//! What a name in HELO may look like, and when a domain is a whole one. Pure.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use crate::mail::address::Domain;

/// What HELO named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helo {
    /// A host with its domain.
    Whole,
    /// An address in brackets (RFC 5321 §4.1.3).
    Literal,
    /// A host without its domain.
    Short,
    /// Nothing that a host could be called.
    Invalid,
}

/// Judges the name. Underscores are met in the wild and let pass, as is a dot at the end.
pub(super) fn helo(name: &str) -> Helo {
    if let Some(inner) = name.strip_prefix('[') {
        let Some(inner) = inner.strip_suffix(']') else { return Helo::Invalid };
        let v6 = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).map(|_| &inner[5..]);
        let valid = v6.map_or_else(|| inner.parse::<Ipv4Addr>().is_ok(), |v6| v6.parse::<Ipv6Addr>().is_ok());
        return if valid { Helo::Literal } else { Helo::Invalid };
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    // An address without brackets is not a name, and no top-level domain is a number.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    match Domain::parse(name) {
        Ok(_) if numeric || name.parse::<IpAddr>().is_ok() => Helo::Invalid,
        Ok(domain) if is_whole(&domain) => Helo::Whole,
        Ok(_) => Helo::Short,
        Err(_) => Helo::Invalid,
    }
}

/// Whether a domain has more than one label, or is an address literal.
pub(super) fn is_whole(domain: &Domain) -> bool {
    domain.is_literal() || domain.as_str().contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_helo() {
        for (name, wanted) in [
            ("mx.example.com", Helo::Whole),
            ("MX_1.example.com.", Helo::Whole),
            ("[192.0.2.1]", Helo::Literal),
            ("[IPv6:2001:db8::1]", Helo::Literal),
            ("[ipv6:::1]", Helo::Literal),
            ("localhost", Helo::Short),
            ("[192.0.2]", Helo::Invalid),
            ("[192.0.2.1", Helo::Invalid),
            ("[]", Helo::Invalid),
            ("192.0.2.1", Helo::Invalid),
            ("2001:db8::1", Helo::Invalid),
            ("a..b", Helo::Invalid),
            ("-a.example", Helo::Invalid),
            ("a b", Helo::Invalid),
            ("<script>", Helo::Invalid),
            ("", Helo::Invalid),
            (".", Helo::Invalid),
            ("[\u{e9}]", Helo::Invalid),
        ] {
            assert_eq!(helo(name), wanted, "{name}");
        }
    }
}
