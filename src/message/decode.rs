//! From encoded octets to text: encoded words (RFC 2047), transfer encodings (RFC 2045 §6), charsets; and the way
//! back for header text that must be 7-bit.
//!
//! Never fails: what cannot be decoded stays as it is. Charsets are those of `encoding_rs`, which decodes in pieces; the
//! few that it has not (UTF-7, UTF-16, code page 850, names of the others that only mail uses) are `mail-parser`'s.

use data_encoding::BASE64;
use encoding_rs::Encoding;
use encoding_rs::ISO_2022_JP;
use encoding_rs::REPLACEMENT;
use encoding_rs::UTF_8;
use encoding_rs::WINDOWS_1252;
use mail_parser::decoders::charsets::map::charset_decoder;

use crate::mail::limits::TEXT_HELD_OCTETS;

/// Longest encoded word (RFC 2047 §2).
const ENCODED_WORD_OCTETS: usize = 75;

/// Longest name of a charset that is looked up; `mail-parser`'s names have at most 45 octets.
const CHARSET_OCTETS: usize = 45;

/// Who decodes a charset.
#[derive(Clone, Copy)]
enum Charset {
    /// Named, and decoded in pieces.
    Pieces(&'static Encoding),
    /// Named, and decoded as a whole.
    Whole(fn(&[u8]) -> String),
    /// Not named, not known, or ASCII, which is said of text in any charset.
    Guess,
}

impl Charset {
    fn named(name: Option<&[u8]>) -> Self {
        let name = name.map(<[u8]>::trim_ascii).filter(|n| !n.is_empty() && n.len() <= CHARSET_OCTETS);
        let Some(name) = name.filter(|n| !n.eq_ignore_ascii_case(b"us-ascii")) else { return Self::Guess };
        if name.eq_ignore_ascii_case(b"utf8") {
            return Self::Pieces(UTF_8);
        }
        match Encoding::for_label(name) {
            Some(encoding) if encoding == REPLACEMENT => Self::Guess,
            Some(encoding) if encoding.is_ascii_compatible() || encoding == ISO_2022_JP => Self::Pieces(encoding),
            // UTF-16 without a mark is big-endian in mail (RFC 2781 §4.3), but not in web pages.
            _ => charset_decoder(name).map_or(Self::Guess, Self::Whole),
        }
    }
}

/// UTF-8 where it is that, and Windows-1252 where not.
fn guess(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// Text in a charset; without one, UTF-8 where it is that and Windows-1252 where not.
#[must_use]
pub fn text(bytes: &[u8], charset: Option<&[u8]>) -> String {
    match Charset::named(charset) {
        Charset::Pieces(encoding) => encoding.decode_with_bom_removal(bytes).0.into_owned(),
        Charset::Whole(decode) => decode(bytes),
        Charset::Guess => guess(bytes),
    }
}

/// Whether text in this charset can be decoded.
#[must_use]
pub fn knows_charset(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"us-ascii") || !matches!(Charset::named(Some(name)), Charset::Guess)
}

/// Decodes a text that comes in pieces, which may part characters.
pub struct TextDecoder {
    charset: Charset,
    pieces: Option<encoding_rs::Decoder>,
    /// Octets that wait for those that follow.
    held: Vec<u8>,
}

impl TextDecoder {
    /// For a text in this charset; without one as [`text`] does, piece by piece.
    #[must_use]
    pub fn new(charset: Option<&[u8]>) -> Self {
        Self { charset: Charset::named(charset), pieces: None, held: Vec::new() }
    }

    /// The text of octets that are all there are, where it is these octets themselves.
    #[must_use]
    pub fn as_it_is<'a>(&self, octets: &'a [u8]) -> Option<&'a str> {
        let is_text = match self.charset {
            Charset::Pieces(encoding) if encoding == UTF_8 => !octets.starts_with(b"\xef\xbb\xbf"),
            Charset::Pieces(encoding) => encoding.is_ascii_compatible() && octets.is_ascii(),
            Charset::Whole(_) => false,
            Charset::Guess => true,
        };
        if is_text { std::str::from_utf8(octets).ok() } else { None }
    }

    /// Appends the text of the next octets; `last` says that no more come.
    pub fn decode(&mut self, octets: &[u8], last: bool, out: &mut String) {
        if let Charset::Pieces(encoding) = self.charset {
            let decoder = self.pieces.get_or_insert_with(|| encoding.new_decoder_with_bom_removal());
            let mut rest = octets;
            loop {
                out.reserve(decoder.max_utf8_buffer_length(rest.len()).unwrap_or(rest.len()));
                let (result, read, _) = decoder.decode_to_string(rest, out, last);
                rest = &rest[read..];
                if result == encoding_rs::CoderResult::InputEmpty {
                    return;
                }
            }
        }
        self.held.extend_from_slice(octets);
        let ready = match (last, self.charset) {
            (true, _) => self.held.len(),
            (false, Charset::Whole(_)) if self.held.len() < TEXT_HELD_OCTETS => 0,
            // Two octets make a character of UTF-16.
            (false, Charset::Whole(_)) => TEXT_HELD_OCTETS,
            (false, _) => match std::str::from_utf8(&self.held) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                _ => self.held.len(),
            },
        };
        out.push_str(&match self.charset {
            Charset::Whole(decode) => decode(&self.held[..ready]),
            _ => guess(&self.held[..ready]),
        });
        self.held.drain(..ready);
    }
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
    Base64::default().decode(bytes, &mut out);
    out
}

/// Base64 that comes in pieces, parted anywhere.
#[derive(Debug, Default, Clone, Copy)]
pub struct Base64 {
    bits: u32,
    held: u32,
}

/// Per octet its value in base64; [`NO_DIGIT`] for what is none.
const DIGITS: [u8; 256] = digits();
const NO_DIGIT: u8 = 0xff;

const fn digits() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [NO_DIGIT; 256];
    let mut value: u8 = 0;
    while value < 64 {
        table[alphabet[value as usize] as usize] = value;
        value += 1;
    }
    table
}

impl Base64 {
    /// Appends the octets of the next piece.
    pub fn decode(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while let Some((&b, after)) = rest.split_first() {
            if self.held == 0
                && let Some((four, after)) = rest.split_first_chunk::<4>()
            {
                let [a, b, c, d] = four.map(|b| DIGITS[usize::from(b)]);
                if (a | b | c | d) != NO_DIGIT {
                    let bits = u32::from(a) << 18 | u32::from(b) << 12 | u32::from(c) << 6 | u32::from(d);
                    let [_, octets @ ..] = bits.to_be_bytes();
                    out.extend_from_slice(&octets);
                    rest = after;
                    continue;
                }
            }
            rest = after;
            let value = DIGITS[usize::from(b)];
            if value != NO_DIGIT {
                self.bits = (self.bits << 6 | u32::from(value)) & 0xff_ffff;
                self.held += 6;
                if self.held >= 8 {
                    self.held -= 8;
                    out.push(low_octet(self.bits >> self.held));
                }
            } else if b == b'=' {
                // The end of one piece; another may follow.
                *self = Self::default();
            }
        }
    }
}

fn low_octet(bits: u32) -> u8 {
    bits.to_le_bytes()[0]
}

/// Appends octets written as `%41` (RFC 2231 §7); what is no valid escape stays.
pub fn percent(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        match hex_pair(after).filter(|_| first == b'%') {
            Some(octet) => {
                out.push(octet);
                rest = &after[2..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
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
///
/// A character whose octets are in two words, which RFC 2047 §5 forbids and many programs write, is put together.
#[must_use]
pub fn header_text(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    let mut at = 0;
    let mut words = Words::default();
    while let Some(found) = memchr::memmem::find(&rest[at..], b"=?") {
        let start = at + found;
        let Some(word) = encoded_word(&rest[start..]) else {
            at = start + 2;
            continue;
        };
        let between = &rest[..start];
        if !(words.any && between.iter().all(u8::is_ascii_whitespace)) {
            words.flush(&mut out);
            out.push_str(&guess(between));
        }
        words.push(word.charset, &word.octets, &mut out);
        rest = &rest[start + word.len..];
        at = 0;
    }
    words.flush(&mut out);
    out.push_str(&guess(rest));
    out
}

/// Encoded words that follow each other in one charset.
#[derive(Default)]
struct Words {
    /// Whether the last thing was an encoded word.
    any: bool,
    charset: Vec<u8>,
    octets: Vec<u8>,
}

impl Words {
    fn push(&mut self, charset: &[u8], octets: &[u8], out: &mut String) {
        // Words of ISO-2022-JP each start and end in ASCII, and must not be joined: the escapes would meet.
        let joins = matches!(Charset::named(Some(charset)), Charset::Pieces(encoding) if encoding != ISO_2022_JP);
        if !joins || !self.charset.eq_ignore_ascii_case(charset) {
            self.flush(out);
        }
        self.charset = charset.to_vec();
        self.octets.extend_from_slice(octets);
        self.any = true;
        if !joins {
            self.flush(out);
            self.any = true;
        }
    }

    fn flush(&mut self, out: &mut String) {
        if !self.octets.is_empty() {
            out.push_str(&text(&self.octets, Some(&self.charset)));
        }
        self.octets.clear();
        self.any = false;
    }
}

struct Word<'a> {
    charset: &'a [u8],
    octets: Vec<u8>,
    len: usize,
}

/// `=?charset?encoding?text?=` at the front.
fn encoded_word(bytes: &[u8]) -> Option<Word<'_>> {
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
    Some(Word { charset, octets, len: at + 1 })
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
            // Characters in two words, and words that only look so.
            ("=?utf-8?B?w7w=?= =?utf-8?Q?a=C3?=\t=?UTF-8?Q?=BC?= b", "üaü b"),
            ("=?gb18030?B?1g==?= =?gb18030?B?0A==?=", "中"),
            ("=?utf-8?q?=C3?= =?iso-8859-1?q?=FC?=", "\u{fffd}ü"),
            ("=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
            ("=?utf-8?q??= =?utf-8?q?b?=", "b"),
            ("=?iso-2022-jp?B?GyRCRnwbKEI=?= =?iso-2022-jp?B?GyRCS1wbKEI=?=", "日本"),
            ("=?utf-7?Q?+AGUA6Q-?=", "eé"),
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
        let encoded = BASE64.encode(&all);
        assert_eq!(base64(encoded.as_bytes()), all);
        for cut in 0..encoded.len() {
            let (mut state, mut out) = (Base64::default(), Vec::new());
            state.decode(&encoded.as_bytes()[..cut], &mut out);
            state.decode(b"\r\n", &mut out);
            state.decode(&encoded.as_bytes()[cut..], &mut out);
            assert_eq!(out, all);
        }
        assert_eq!(quoted_printable(b"a=20b=\nc=\r\nd= \ne=zz="), b"a bcde=zz=");
        assert_eq!(transfer(b"=41", Some(b"7bit")), b"=41");
    }

    #[test]
    fn charsets() {
        assert_eq!(text(b"\xe9", Some(b"ISO-8859-1")), "é");
        assert_eq!(text(b"\xe9", None), "é");
        assert_eq!(text(b"\xc3\xa9", Some(b"no-such")), "é");
        assert_eq!(text(b"\xc3\xa9\xff", Some(b"utf-8")), "é\u{fffd}");
        for (bytes, charset, expected) in [
            (&b"\xf0\xd2\xc9"[..], "koi8-r", "При"),
            (b"\xd6\xd0\x81\x30\x81\x30", "gb18030", "中\u{80}"),
            (b"\xd6\xd0", "gb2312", "中"),
            (b"\x1b$BF|K\\\x1b(B", "iso-2022-jp", "日本"),
            (b"\x93\xfa", "shift_jis", "日"),
            (b"\x93\xfa", "windows-31j", "日"),
            (b"\xa4\xa4", "big5", "中"),
            (b"\xc7\xd1", "ks_c_5601-1987", "한"),
            (b"Hi +ZeVnLIqe-!", "utf-7", "Hi 日本語!"),
            (b"\xfe\xff\x65\xe5", "utf-16", "日"),
            (b"\xe5\x65", "utf-16le", "日"),
            (b"\x81", "cp850", "ü"),
            (b"\x80", "macintosh", "Ä"),
            (b"\xef\xbb\xbfx", "utf-8", "x"),
            (b"a\xffb", "x-unheard-of", "aÿb"),
            (b"a\xffb", "iso-2022-kr", "aÿb"),
        ] {
            assert_eq!(text(bytes, Some(charset.as_bytes())), expected, "{charset}");
            for cut in 0..=bytes.len() {
                let (mut decoder, mut out) = (TextDecoder::new(Some(charset.as_bytes())), String::new());
                decoder.decode(&bytes[..cut], false, &mut out);
                decoder.decode(&bytes[cut..], true, &mut out);
                assert_eq!(out, expected, "{charset} cut at {cut}");
            }
        }
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
