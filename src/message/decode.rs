//! From encoded octets to text: encoded words (RFC 2047), transfer encodings (RFC 2045 §6), charsets; and the way
//! back for header text that must be 7-bit.
//!
//! Never fails: what cannot be decoded stays as it is. The tables of charsets are `mail-parser`'s.

use data_encoding::BASE64;
use mail_parser::decoders::charsets::map::charset_decoder;

/// Longest encoded word (RFC 2047 §2).
const ENCODED_WORD_OCTETS: usize = 75;

/// Text in a charset; without one, UTF-8 where it is that and Windows-1252 where not.
#[must_use]
pub fn text(bytes: &[u8], charset: Option<&[u8]>) -> String {
    let named = charset.map(|name| name.trim_ascii()).filter(|name| !name.is_empty() && name.len() <= 45);
    match named.filter(|name| !is_unicode(name) && !name.eq_ignore_ascii_case(b"us-ascii")).and_then(charset_decoder) {
        Some(decode) => decode(bytes),
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) if named.is_some_and(is_unicode) => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) => charset_decoder(b"windows-1252")
                .map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), |decode| decode(bytes)),
        },
    }
}

fn is_unicode(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"utf-8") || name.eq_ignore_ascii_case(b"utf8")
}

/// Whether text in this charset can be decoded.
#[must_use]
pub fn knows_charset(name: &[u8]) -> bool {
    is_unicode(name)
        || name.eq_ignore_ascii_case(b"us-ascii")
        || (!name.is_empty() && name.len() <= 45 && charset_decoder(name).is_some())
}

/// Takes a transfer encoding off.
#[must_use]
pub fn transfer(bytes: &[u8], encoding: Option<&[u8]>) -> Vec<u8> {
    match encoding {
        Some(name) if name.eq_ignore_ascii_case(b"base64") => base64(bytes),
        Some(name) if name.eq_ignore_ascii_case(b"quoted-printable") => quoted_printable(bytes),
        _ => bytes.to_vec(),
    }
}

/// Base64 of mail: what is not of the alphabet is passed over (RFC 2045 §6.8), and a missing end is forgiven.
#[must_use]
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for b in bytes {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                // The end of one piece; another may follow.
                (bits, held) = (0, 0);
                continue;
            }
            _ => continue,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(low_octet(bits >> held));
        }
    }
    out
}

fn low_octet(bits: u32) -> u8 {
    bits.to_le_bytes()[0]
}

/// Quoted-printable (RFC 2045 §6.7); what is no valid escape stays.
#[must_use]
pub fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let blank = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        if let Some(byte) = hex_pair(rest) {
            out.push(byte);
            rest = &rest[2..];
        } else if rest[blank..].starts_with(b"\n") {
            rest = &rest[blank + 1..];
        } else if rest[blank..].starts_with(b"\r\n") {
            rest = &rest[blank + 2..];
        } else {
            out.push(b'=');
        }
    }
    out.extend_from_slice(rest);
    out
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(bytes.first()?)? << 4 | digit(bytes.get(1)?)?)
}

/// The text of an unfolded header value: encoded words decoded, blanks between two of them dropped (RFC 2047 §6.2).
#[must_use]
pub fn header_text(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    let mut plain_from = 0;
    let mut at = 0;
    let mut after_word = false;
    while let Some(found) = memchr::memmem::find(&rest[at..], b"=?") {
        let start = at + found;
        let Some((decoded, len)) = encoded_word(&rest[start..]) else {
            at = start + 2;
            continue;
        };
        let between = &rest[plain_from..start];
        if !(after_word && between.iter().all(u8::is_ascii_whitespace)) {
            out.push_str(&text(between, None));
        }
        out.push_str(&decoded);
        rest = &rest[start + len..];
        (plain_from, at, after_word) = (0, 0, true);
    }
    out.push_str(&text(rest, None));
    out
}

/// `=?charset?encoding?text?=` at the front; its text and length.
fn encoded_word(bytes: &[u8]) -> Option<(String, usize)> {
    // Longer than RFC 2047 allows, because some programs write such; still bounded, so that this stays linear.
    let window = &bytes[..bytes.len().min(2000)];
    let mut at = 2;
    let mut next = |stop: u8| -> Option<&[u8]> {
        let end = memchr::memchr(stop, window.get(at..)?)?;
        let piece = &window[at..at + end];
        at += end + 1;
        Some(piece)
    };
    let charset = next(b'?')?;
    let encoding = next(b'?')?;
    let content = next(b'?')?;
    let blank = |piece: &[u8]| piece.iter().any(u8::is_ascii_whitespace);
    if window.get(at) != Some(&b'=') || charset.is_empty() || blank(charset) {
        return None;
    }
    let octets = match encoding {
        b"B" | b"b" => base64(content),
        b"Q" | b"q" => {
            let spaced: Vec<u8> = content.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
            quoted_printable(&spaced)
        }
        _ => return None,
    };
    // RFC 2231 §5: a language may follow the charset.
    let charset = charset.split(|b| *b == b'*').next().unwrap_or_default();
    Some((text(&octets, Some(charset)), at + 1))
}

/// Header text for a reader that takes 7 bits only: words with 8-bit octets become encoded words (RFC 2047). NUL and
/// line ends, which no header value has, become blanks.
#[must_use]
pub fn seven_bit(value: &[u8]) -> Vec<u8> {
    let clean: Vec<u8> = value.iter().map(|b| if matches!(b, 0 | b'\r' | b'\n') { b' ' } else { *b }).collect();
    if clean.is_ascii() {
        return clean;
    }
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut run: Vec<&[u8]> = Vec::new();
    for word in clean.split(|b| *b == b' ') {
        if word.is_ascii() {
            flush(&mut run, &mut out);
            out.push(word.to_vec());
        } else {
            run.push(word);
        }
    }
    flush(&mut run, &mut out);
    out.join(&b' ')
}

fn flush(run: &mut Vec<&[u8]>, out: &mut Vec<Vec<u8>>) {
    if !run.is_empty() {
        out.push(encode_words(&run.join(&b' ')));
        run.clear();
    }
}

fn encode_words(octets: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(octets).ok();
    let charset = if text.is_some() { "utf-8" } else { "unknown-8bit" };
    // Base64 of 45 octets has 60; with the frame it stays below the limit.
    let room = (ENCODED_WORD_OCTETS - charset.len() - 7) / 4 * 3;
    let mut words = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let mut take = rest.len().min(room);
        // RFC 2047 §5: no character is cut in two.
        while text.is_some() && take < rest.len() && rest[take] & 0xc0 == 0x80 {
            take -= 1;
        }
        words.push(format!("=?{charset}?B?{}?=", BASE64.encode(&rest[..take])));
        rest = &rest[take..];
    }
    words.join(" ").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_texts() {
        for (value, expected) in [
            ("plain", "plain"),
            ("=?utf-8?q?J=C3=BCrgen?=", "Jürgen"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?iso-8859-1?q?a_b?= c", "a b c"),
            ("x =?utf-8?B?w7w=?= y", "x ü y"),
            ("=?utf-8*en?b?w7w=?=", "ü"),
            ("=?koi8-r?B?8NLJ18XU?=", "Привет"),
            ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
            ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
            ("=?utf-8?q?open", "=?utf-8?q?open"),
            ("=?=?utf-8?q?a?=", "=?a"),
            ("a=?utf-8?q?b?=c", "abc"),
            ("grün", "grün"),
        ] {
            assert_eq!(header_text(value.as_bytes()), expected, "{value}");
        }
        assert_eq!(header_text(b"gr\xfcn"), "grün");
        assert_eq!(header_text("=?".repeat(100_000).as_bytes()).len(), 200_000);
    }

    #[test]
    fn transfer_encodings() {
        assert_eq!(base64(b"aGVs\r\nbG8="), b"hello");
        assert_eq!(base64(b"aGVsbG8"), b"hello");
        assert_eq!(base64(b"YQ==Yg=="), b"ab");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(base64(BASE64.encode(&all).as_bytes()), all);
        assert_eq!(quoted_printable(b"a=20b=\nc=\r\nd= \ne=zz="), b"a bcde=zz=");
        assert_eq!(transfer(b"=41", Some(b"7bit")), b"=41");
    }

    #[test]
    fn charsets() {
        assert_eq!(text(b"\xe9", Some(b"ISO-8859-1")), "é");
        assert_eq!(text(b"\xe9", None), "é");
        assert_eq!(text(b"\xc3\xa9", Some(b"no-such")), "é");
        assert_eq!(text(b"\xc3\xa9\xff", Some(b"utf-8")), "é\u{fffd}");
        assert!(knows_charset(b"UTF-8") && knows_charset(b"shift_jis") && !knows_charset(b"x-none"));
    }

    #[test]
    fn seven_bits_come_out_and_decode_again() {
        for value in ["Grüße aus Köln", "a ü b", "日本語の非常に長い題名で、一つの符号化語には収まらないもの", "plain"]
        {
            let encoded = seven_bit(value.as_bytes());
            assert!(encoded.is_ascii());
            assert_eq!(header_text(&encoded), value);
            assert!(encoded.split(|b| *b == b' ').all(|w| w.len() <= ENCODED_WORD_OCTETS));
        }
        assert!(seven_bit(b"\xff\xfe\0\r\n").is_ascii());
    }
}
