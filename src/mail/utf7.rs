//! Modified UTF-7 of mailbox names (RFC 3501 §5.1.3), both ways.
//!
//! IMAP speaks it on the wire and Maildir++ folders are named in it on disk. Decoding takes the canonical form only:
//! two spellings of one name would be two doors to one mailbox, one of them unguarded.

use std::sync::LazyLock;

use data_encoding::Encoding;
use data_encoding::Specification;

#[expect(clippy::expect_used, reason = "a constant specification, tested below")]
static BASE64: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,");
    specification.encoding().expect("64 distinct symbols")
});

/// Encodes a name for the wire or for a folder on disk.
#[must_use]
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shifted: Vec<u8> = Vec::new();
    for c in name.chars() {
        if (' '..='~').contains(&c) {
            flush(&mut shifted, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shifted.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    flush(&mut shifted, &mut out);
    out
}

fn flush(shifted: &mut Vec<u8>, out: &mut String) {
    if !shifted.is_empty() {
        out.push('&');
        out.push_str(&BASE64.encode(shifted));
        out.push('-');
        shifted.clear();
    }
}

/// Decodes a name; `None` where it is not modified UTF-7 in its one canonical form.
#[must_use]
pub fn decode(encoded: &str) -> Option<String> {
    let mut out = String::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find('-')? + at;
        let shifted = &rest[at + 1..end];
        if shifted.is_empty() {
            out.push('&');
        } else {
            let bytes = BASE64.decode(shifted.as_bytes()).ok()?;
            if bytes.len() % 2 != 0 {
                return None;
            }
            let units: Vec<u16> = bytes.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]])).collect();
            out.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    (encode(&out) == encoded).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (name, encoded) in [
            ("INBOX", "INBOX"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("R&D", "R&-D"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("😀", "&2D3eAA-"),
        ] {
            assert_eq!(encode(name), encoded);
            assert_eq!(decode(encoded).as_deref(), Some(name));
        }
    }

    #[test]
    fn only_the_canonical_form_is_taken() {
        // An encoded slash, two shifts in a row, no end, odd octets, half a surrogate, raw 8-bit.
        for bad in ["&AC8-", "&AGE-", "&ZeU-&Zy0-", "&ZeU", "&AA-", "&2D0-", "é", "&!-", "a\u{1}b"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
