//! Addresses of RFC 5321 §4.1.2: domain, mailbox, reverse path.
//!
//! Holds what an envelope may contain, parsed once. Knows nothing of the header syntax of RFC 5322 (display names,
//! comments, groups), nor which domains are ours. Addresses are ASCII; SMTPUTF8 (RFC 6531) has its place here.

use std::fmt;

use crate::mail::limits::DOMAIN_OCTETS;
use crate::mail::limits::LOCAL_PART_OCTETS;

/// Why a text is not an address. The words are fit for a peer and for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// Nothing there, or no `@`.
    NoDomain,
    /// The local part is empty, too long or has a character that it cannot have.
    BadLocalPart,
    /// The domain is empty, too long or not made of labels.
    BadDomain,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoDomain => "address without a domain",
            Self::BadLocalPart => "bad local part",
            Self::BadDomain => "bad domain",
        })
    }
}

impl std::error::Error for AddressError {}

/// A domain name in lower case, or an address literal in brackets (`[192.0.2.1]`, `[IPv6:::1]`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

impl Domain {
    /// Parses a domain of RFC 5321 §4.1.2 (labels of letters, digits and hyphens; underscores are met in the wild and
    /// accepted) or an address literal. One trailing dot is refused: an envelope never has it.
    ///
    /// # Errors
    /// [`AddressError::BadDomain`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let ip = inner.strip_prefix("IPv6:").or_else(|| inner.strip_prefix("ipv6:")).map_or_else(
                || inner.parse::<std::net::Ipv4Addr>().is_ok(),
                |v6| v6.parse::<std::net::Ipv6Addr>().is_ok(),
            );
            return if ip { Ok(Self(text.to_ascii_lowercase())) } else { Err(AddressError::BadDomain) };
        }
        if text.is_empty() || text.len() > DOMAIN_OCTETS {
            return Err(AddressError::BadDomain);
        }
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if text.split('.').all(label) { Ok(Self(text.to_ascii_lowercase())) } else { Err(AddressError::BadDomain) }
    }

    /// The name in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is an address literal such as `[192.0.2.1]`.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.0.starts_with('[')
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `local@domain`, without angle brackets. The local part is kept unquoted, in the case it came in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: Domain,
}

impl Address {
    /// Parses `local@domain`, the local part as dot-string or quoted string (RFC 5321 §4.1.2).
    ///
    /// # Errors
    /// Says which half is wrong; see [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, rest) = take_local_part(text)?;
        let domain = rest.strip_prefix('@').ok_or(AddressError::NoDomain)?;
        Ok(Self { local, domain: Domain::parse(domain)? })
    }

    /// An address from its halves; the local part is taken as it is, unquoted.
    ///
    /// # Errors
    /// [`AddressError::BadLocalPart`] where it is empty, too long or has control or non-ASCII characters.
    pub fn from_parts(local: &str, domain: Domain) -> Result<Self, AddressError> {
        if local.is_empty() || local.len() > LOCAL_PART_OCTETS || local.bytes().any(|b| !(0x20..0x7f).contains(&b)) {
            return Err(AddressError::BadLocalPart);
        }
        Ok(Self { local: local.to_owned(), domain })
    }

    /// The local part, unquoted.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The form used to compare addresses of our own domains: local part in lower case. RFC 5321 §2.4 leaves the
    /// case of a local part to its host, and we are that host.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        f.write_str("\"")?;
        for c in self.local.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "\"@{}", self.domain)
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// The sender of an envelope: an address, or the null path `<>` of notices (RFC 5321 §4.5.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: nobody may be told about this message.
    Null,
    /// Somebody who can be told.
    Address(Address),
}

impl ReversePath {
    /// The address, where there is one.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

impl fmt::Display for ReversePath {
    /// Without angle brackets; the null path is the empty string.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Cuts the local part off the front of `text` and returns it unquoted, with what follows it.
///
/// # Errors
/// [`AddressError::BadLocalPart`].
fn take_local_part(text: &str) -> Result<(String, &str), AddressError> {
    let (local, rest) = if let Some(quoted) = text.strip_prefix('"') {
        take_quoted(quoted)?
    } else {
        let end = text.find('@').ok_or(AddressError::NoDomain)?;
        if !is_dot_string(&text[..end]) {
            return Err(AddressError::BadLocalPart);
        }
        (text[..end].to_owned(), &text[end..])
    };
    if local.is_empty() || local.len() > LOCAL_PART_OCTETS {
        return Err(AddressError::BadLocalPart);
    }
    Ok((local, rest))
}

fn take_quoted(text: &str) -> Result<(String, &str), AddressError> {
    let mut local = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((local, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, e)) if (' '..='~').contains(&e) => local.push(e),
                _ => return Err(AddressError::BadLocalPart),
            },
            ' '..='~' => local.push(c),
            _ => return Err(AddressError::BadLocalPart),
        }
    }
    Err(AddressError::BadLocalPart)
}

/// RFC 5321 §4.1.2 `Dot-string`, and nothing else.
fn is_dot_string(text: &str) -> bool {
    let atext = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b);
    !text.is_empty() && text.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(atext))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print() {
        for (input, printed) in [
            ("alice@example.com", "alice@example.com"),
            ("Alice+tag@EXAMPLE.com", "Alice+tag@example.com"),
            ("\"a b\"@example.com", "\"a b\"@example.com"),
            ("\"alice\"@example.com", "alice@example.com"),
            ("\"a\\\"b\"@example.com", "\"a\\\"b\"@example.com"),
            ("x@[192.0.2.1]", "x@[192.0.2.1]"),
            ("x@[IPv6:2001:db8::1]", "x@[ipv6:2001:db8::1]"),
            ("user%other.example@example.com", "user%other.example@example.com"),
        ] {
            assert_eq!(Address::parse(input).map(|a| a.to_string()), Ok(printed.to_owned()), "{input}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for input in [
            "",
            "alice",
            "@example.com",
            "alice@",
            "a b@example.com",
            ".a@example.com",
            "a..b@example.com",
            "a@b@example.com",
            "a@-x.example",
            "a@x..y",
            "a@example.com.",
            "a@[300.1.1.1]",
            "a@[::1]",
            "\"a@example.com",
            "a@exa mple.com",
            "a@example.com>",
            "a\u{e9}@example.com",
            "a@ex\u{e9}mple.com",
            "\"a\u{1}\"@example.com",
        ] {
            assert!(Address::parse(input).is_err(), "{input}");
        }
        assert!(Address::parse(&format!("{}@example.com", "a".repeat(65))).is_err());
        assert!(Address::parse(&format!("a@{}", ["a"; 200].join("."))).is_err());
    }

    #[test]
    fn a_quoted_at_sign_stays_in_the_local_part() {
        let address = Address::parse("\"bob@evil.example\"@example.com").expect("valid");
        assert_eq!((address.local(), address.domain().as_str()), ("bob@evil.example", "example.com"));
        assert_eq!(address.to_string(), "\"bob@evil.example\"@example.com");
    }

    #[test]
    fn keys_compare_without_case() {
        let key = |t: &str| Address::parse(t).expect("valid").key();
        assert_eq!(key("Alice@Example.COM"), key("alice@example.com"));
    }
}
