//! Lists of `tag=value;` (RFC 6376 §3.2), of which DKIM, ARC and DMARC are made.
//!
//! Values are trimmed and otherwise as they came, folds included. Knows no tag.

use crate::mail::limits::AUTH_TAGS;

/// A list without double tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    /// A list of a header field, held to the grammar: nothing empty but behind the last semicolon.
    #[must_use]
    pub fn strict(text: &'a [u8]) -> Option<Self> {
        Self::read(text, true)
    }

    /// A list of a DNS record, where semicolons too many are met and do no harm.
    #[must_use]
    pub fn lenient(text: &'a [u8]) -> Option<Self> {
        Self::read(text, false)
    }

    fn read(text: &'a [u8], strict: bool) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let text = trim(text);
        let text = text.strip_suffix(';').unwrap_or(text);
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for item in text.split(';') {
            let item = trim(item);
            if item.is_empty() && !strict {
                continue;
            }
            let (name, value) = item.split_once('=')?;
            let name = trim(name);
            let first = name.as_bytes().first()?.is_ascii_alphabetic();
            if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || tags.len() >= AUTH_TAGS {
                return None;
            }
            // RFC 6376 §3.2: a tag that is there twice makes the whole list invalid.
            if tags.iter().any(|(other, _)| *other == name) {
                return None;
            }
            tags.push((name, trim(value)));
        }
        Some(Self(tags))
    }

    /// The value of a tag; names have one case only.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(tag, _)| *tag == name).map(|(_, value)| *value)
    }

    /// The first tag.
    #[must_use]
    pub fn first(&self) -> Option<(&'a str, &'a str)> {
        self.0.first().copied()
    }
}

/// Without folding white space at either end (RFC 6376 §2.8).
#[must_use]
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// Base64 with white space anywhere in it (RFC 6376 §2.10); `None` where it is none or empty.
#[must_use]
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let plain: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    data_encoding::BASE64.decode(&plain).ok().filter(|bytes| !bytes.is_empty())
}

/// A decimal number without sign.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    // RFC 6376 §3.5: 12 digits hold all times; a longer number is no time at all.
    let plain = !text.is_empty() && text.len() <= 12 && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let tags = Tags::strict(b" a = b ; c=d=e\r\n f;g= ;").expect("valid");
        assert_eq!((tags.get("a"), tags.get("c"), tags.get("g")), (Some("b"), Some("d=e\r\n f"), Some("")));
        assert_eq!((tags.get("A"), tags.first()), (None, Some(("a", "b"))));
        for bad in [&b"a=b;;c=d"[..], b"a=b;a=c", b"a", b";", b"1a=b", b"a b=c", b"a=\xff", b"=x"] {
            assert_eq!(Tags::strict(bad), None, "{}", bad.escape_ascii());
        }
        assert!(Tags::lenient(b"a=b;;c=d; ;").is_some());
        assert_eq!(Tags::lenient("a=b;".repeat(100_000).as_bytes()), None);
        let many: String = (0..100_000).map(|n| format!("t{n}=x;")).collect();
        assert_eq!(Tags::strict(many.as_bytes()), None);
    }

    #[test]
    fn numbers_and_base64() {
        assert_eq!((number("12"), number(""), number("-1"), number("9999999999999")), (Some(12), None, None, None));
        assert_eq!(base64("YW\r\n Jj"), Some(b"abc".to_vec()));
        assert_eq!((base64(""), base64("a"), base64("a b$")), (None, None, None));
    }
}
