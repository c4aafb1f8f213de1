//! Addresses of RFC 5321 §4.1.2: domain, mailbox, reverse path.
//!
//! Holds what an envelope may contain, parsed once. Knows nothing of the header syntax of RFC 5322 (display names,
//! comments, groups), nor which domains are ours, nor whether a command was allowed to go beyond ASCII: SMTPUTF8 is
//! asked for by MAIL, so the machine that reads the command looks at [`Address::is_international`].

use std::borrow::Cow;
use std::fmt;

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::AsciiDenyList;
use idna::uts46::DnsLength;
use idna::uts46::Hyphens;
use idna::uts46::Uts46;

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
///
/// It is ASCII always: a name in another script is kept by its A-labels (RFC 5890 §2.3.2.1), as the DNS has it, so that
/// both spellings are one domain and every server can be told of it. [`Domain::to_unicode`] is for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

impl Domain {
    /// Parses a domain of RFC 5321 §4.1.2 (labels of letters, digits and hyphens; underscores are met in the wild and
    /// accepted) or an address literal. U-labels (RFC 6531 §3.3) are turned into A-labels as UTS 46 says; A-labels stay
    /// as they are. One trailing dot is refused: an envelope never has it.
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
        let ascii = if text.is_ascii() { Cow::Borrowed(text) } else { a_labels(text)? };
        // What the mapping has made is judged as if it had been written so: a full-width `@` became an `@`, for instance.
        let label = |l: &str| {
            !l.is_empty()
                && l.len() <= 63
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if ascii.len() <= DOMAIN_OCTETS && ascii.split('.').all(label) {
            Ok(Self(ascii.to_ascii_lowercase()))
        } else {
            Err(AddressError::BadDomain)
        }
    }

    /// The name with its U-labels (RFC 5890 §2.3.2.1), for people and for headers that may hold them (RFC 6532 §3.2).
    /// A label that stands for nothing, or for what could deceive, stays as it is.
    #[must_use]
    pub fn to_unicode(&self) -> Cow<'_, str> {
        if !self.0.contains("xn--") {
            return Cow::Borrowed(&self.0);
        }
        let (unicode, valid) =
            Uts46::new().to_unicode(self.0.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast);
        let honest = valid.is_ok()
            && unicode.chars().all(|c| c.is_ascii() || is_visible(c))
            && Self::parse(&unicode).as_ref() == Ok(self);
        if honest { unicode } else { Cow::Borrowed(&self.0) }
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

/// `local@domain`, without angle brackets. The local part is kept unquoted, in the case and the normal form it came in:
/// only its own host may change it (RFC 5321 §2.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: String,
    domain: Domain,
}

impl Address {
    /// Parses `local@domain`, the local part as dot-string or quoted string (RFC 5321 §4.1.2), in ASCII or in UTF-8
    /// (RFC 6531 §3.3). See `is_visible` for what a local part may have beyond ASCII.
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
    /// [`AddressError::BadLocalPart`] where it is empty, too long or has control characters or others that are not seen.
    pub fn from_parts(local: &str, domain: Domain) -> Result<Self, AddressError> {
        if local.is_empty() || local.len() > LOCAL_PART_OCTETS || !local.chars().all(is_quotable) {
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

    /// Whether only servers with SMTPUTF8 can be told of it (RFC 6531 §3.2). The local part decides: the domain has
    /// its A-labels.
    #[must_use]
    pub fn is_international(&self) -> bool {
        !self.local.is_ascii()
    }

    /// The form used to compare addresses of our own domains: the local part as [`local_key`] has it. RFC 5321 §2.4
    /// leaves the case of a local part to its host, and we are that host.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}@{}", local_key(&self.local), self.domain)
    }

    /// As [`fmt::Display`], with the domain in its own script: for people and for headers that may hold it.
    #[must_use]
    pub fn to_unicode(&self) -> String {
        format!("{}@{}", Quoted(&self.local), self.domain.to_unicode())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", Quoted(&self.local), self.domain)
    }
}

/// A local part that prints as dot-string where it can, otherwise as quoted string.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(self.0) {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if c == '"' || c == '\\' {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
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
                // RFC 6531 §3.3 extends qtextSMTP alone: what is quoted by a backslash is ASCII.
                Some((_, e)) if (' '..='~').contains(&e) => local.push(e),
                _ => return Err(AddressError::BadLocalPart),
            },
            _ if is_quotable(c) => local.push(c),
            _ => return Err(AddressError::BadLocalPart),
        }
    }
    Err(AddressError::BadLocalPart)
}

/// RFC 5321 §4.1.2 `Dot-string`, with what RFC 6531 §3.3 adds to atext, and nothing else.
fn is_dot_string(text: &str) -> bool {
    let ascii = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let atext = |c: char| if c.is_ascii() { ascii(c) } else { is_visible(c) };
    !text.is_empty() && text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atext))
}

/// What a quoted local part may have.
fn is_quotable(c: char) -> bool {
    if c.is_ascii() { (' '..='~').contains(&c) } else { is_visible(c) }
}

/// Whether a character beyond ASCII may stand in a local part.
///
/// RFC 6531 §3.3 takes every one, and we do not: an address is written into log lines, replies, notices and headers, and
/// there it must be seen as what it is. So neither controls (C1 among them, with the second escape character of
/// terminals), nor what turns the direction of the text around it, nor what is not seen at all or looks like the space
/// between two fields, nor what no Unicode will ever assign. The joiners U+200C and U+200D and the variation selectors
/// stay: Persian, many scripts of India, and emoji are not written without them.
fn is_visible(c: char) -> bool {
    let hidden = matches!(c,
        // Soft hyphen; the fillers of Hangul; the vowel separator of Mongolian.
        '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{ffa0}'
        // Direction: the marks, the embeddings and overrides, the isolates.
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Zero width, invisible operators, what is deprecated; the byte order mark; annotations.
        | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        // Tags, which spell a second, unseen text.
        | '\u{e0000}'..='\u{e007f}');
    let never_assigned = (u32::from(c) & 0xfffe) == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c);
    !c.is_ascii() && !c.is_control() && !c.is_whitespace() && !hidden && !never_assigned
}

/// A name in A-labels, as UTS 46 maps it (non-transitional, as IDNA 2008 has it). Underscores pass, as in names that
/// are ASCII from the start; so does an A-label beside U-labels, whatever it stands for.
fn a_labels(text: &str) -> Result<Cow<'_, str>, AddressError> {
    let ascii =
        Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::CheckFirstLast, DnsLength::Ignore);
    ascii.map_err(|_| AddressError::BadDomain)
}

/// The form by which local parts of our own domains, and names at login, are compared: lower case, composed (NFC). Two
/// keyboards write one `é` in two ways, and RFC 6532 §3.1 asks for NFC; case beyond ASCII is ours to ignore as within.
#[must_use]
pub fn local_key(local: &str) -> String {
    if local.is_ascii() {
        return local.to_ascii_lowercase();
    }
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    // Character by character, so that a sigma is the same at the end of a word as within.
    let lower: String = nfc.normalize(local).chars().flat_map(char::to_lowercase).collect();
    nfc.normalize(&lower.replace('\u{3c2}', "\u{3c3}")).into_owned()
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
            "\"a\u{1}\"@example.com",
            "\"\\\u{e9}\"@example.com",
            // What is written in a log line must be seen there: C1, direction, no width, another space, no character.
            "a\u{85}@example.com",
            "\"a\u{9b}31m\"@example.com",
            "a\u{202e}moc@example.com",
            "\"a\u{2066}\"@example.com",
            "a\u{200b}@example.com",
            "a\u{feff}@example.com",
            "a\u{a0}@example.com",
            "a\u{3000}b@example.com",
            "a\u{2028}b@example.com",
            "a\u{ffff}@example.com",
            "a\u{e0041}@example.com",
            "\u{e9}..x@example.com",
            // Mapped to `a@b@example.com`, `a@-b.example` and two dots in a row.
            "a@b\u{ff20}example.com",
            "a@\u{ff0d}b\u{e9}.example",
            "a@b\u{e9}\u{3002}\u{3002}example",
            "a@b\u{e9}\u{202e}.example",
            "a@[192.0.2.\u{ff11}]",
        ] {
            assert!(Address::parse(input).is_err(), "{input}");
        }
        assert!(Address::parse(&format!("{}@example.com", "a".repeat(65))).is_err());
        assert!(Address::parse(&format!("a@{}", ["a"; 200].join("."))).is_err());
        // Octets count, not characters (RFC 5321 §4.5.3.1.1).
        assert!(Address::parse(&format!("{}@example.com", "\u{e9}".repeat(32))).is_ok());
        assert!(Address::parse(&format!("{}a@example.com", "\u{e9}".repeat(32))).is_err());
        assert!(Address::parse(&format!("a@{}.example", "\u{e9}".repeat(100))).is_err());
    }

    #[test]
    fn addresses_beyond_ascii() {
        for (input, ascii_domain, unicode) in [
            ("a\u{e9}@example.com", "a\u{e9}@example.com", "a\u{e9}@example.com"),
            ("\"a \u{e9}\"@example.com", "\"a \u{e9}\"@example.com", "\"a \u{e9}\"@example.com"),
            ("\"a\u{e9}\"@example.com", "a\u{e9}@example.com", "a\u{e9}@example.com"),
            ("a@b\u{fc}cher.example", "a@xn--bcher-kva.example", "a@b\u{fc}cher.example"),
            ("a@B\u{dc}CHER.Example", "a@xn--bcher-kva.example", "a@b\u{fc}cher.example"),
            ("a@bu\u{308}cher.example", "a@xn--bcher-kva.example", "a@b\u{fc}cher.example"),
            ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example", "a@b\u{fc}cher.example"),
            ("a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example", "a@b\u{fc}cher.example"),
            ("a@my_pc.b\u{fc}cher.example", "a@my_pc.xn--bcher-kva.example", "a@my_pc.b\u{fc}cher.example"),
            (
                "a@xn--bcher-kva\u{3002}b\u{fc}.example",
                "a@xn--bcher-kva.xn--b-eha.example",
                "a@b\u{fc}cher.b\u{fc}.example",
            ),
            // No A-label, though it looks like one: kept, and never shown as anything else.
            ("a@xn--a.example", "a@xn--a.example", "a@xn--a.example"),
            (
                "\u{4f8b}\u{3048}@\u{4f8b}\u{3048}.example",
                "\u{4f8b}\u{3048}@xn--r8jz45g.example",
                "\u{4f8b}\u{3048}@\u{4f8b}\u{3048}.example",
            ),
            (
                "\u{645}\u{6cc}\u{200c}\u{62e}@example.com",
                "\u{645}\u{6cc}\u{200c}\u{62e}@example.com",
                "\u{645}\u{6cc}\u{200c}\u{62e}@example.com",
            ),
        ] {
            let address = Address::parse(input).unwrap_or_else(|error| panic!("{input}: {error}"));
            assert_eq!(
                (address.to_string().as_str(), address.to_unicode().as_str()),
                (ascii_domain, unicode),
                "{input}"
            );
            assert_eq!(Address::parse(&address.to_unicode()).as_ref(), Ok(&address), "{input}");
            assert_eq!(address.is_international(), !address.local().is_ascii(), "{input}");
        }
        assert!(!Address::parse("a@b\u{fc}cher.example").expect("valid").is_international(), "the local part decides");
        assert!(Address::from_parts("\u{e9}", Domain::parse("x.example").expect("valid")).is_ok());
        assert!(Address::from_parts("\u{202e}", Domain::parse("x.example").expect("valid")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_is_read_as_the_same(text in "[a-zA-Z.\"\\\\ @é\u{308}\u{200d}例ßΣς=_-]{0,12}@([a-zéßxn例.-]|xn--){1,12}") {
            if let Ok(address) = Address::parse(&text) {
                proptest::prop_assert_eq!(Address::parse(&address.to_string()), Ok(address.clone()));
                proptest::prop_assert_eq!(Address::parse(&address.to_unicode()), Ok(address.clone()));
                proptest::prop_assert!(address.domain().as_str().is_ascii());
                proptest::prop_assert_eq!(local_key(&local_key(address.local())), local_key(address.local()));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", more in proptest::prelude::any::<String>()) {
            for text in [&text, &more, &format!("{text}@{more}"), &format!("\"{more}\"@x.example")] {
                if let Ok(address) = Address::parse(text) {
                    proptest::prop_assert!(!address.to_string().chars().any(char::is_control));
                }
            }
        }
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
        assert_eq!(key("\u{c9}ric@example.com"), key("e\u{301}ric@example.com"), "case and normal form");
        assert_eq!(
            key("\u{3a3}\u{391}\u{3a3}@example.com"),
            key("\u{3c3}\u{3b1}\u{3c2}@example.com"),
            "two small sigmas"
        );
        assert_ne!(key("eric@example.com"), key("\u{e9}ric@example.com"));
        assert_eq!(key("a@B\u{dc}CHER.example"), key("A@xn--bcher-kva.example"));
    }
}
