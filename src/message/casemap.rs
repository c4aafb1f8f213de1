//! Comparing texts without case: the collation i;unicode-casemap (RFC 5051), which IMAP servers are to use (RFC 5255
//! §4.2).
//!
//! A text is brought into a form in which equal characters are equal octets: each character in title case, then
//! decomposed (NFKD). So `Ü` is `ü`, whether written as one character or as two; `ς` is `σ`; a wide letter is the
//! letter. `ß` has no title case of its own and is not `ss`. Knows no language: `i` and `ı` are both `I`, for a Turk as
//! well.
//!
//! Beyond the RFC, CR is left out, so that lines may end either way in what is looked for and in where it is looked for.

use std::sync::LazyLock;

use icu_normalizer::DecomposingNormalizerBorrowed;
use memchr::memmem::Finder;

/// A text to look for, prepared once.
#[derive(Debug, Clone)]
pub struct Needle(Finder<'static>);

impl Needle {
    /// Prepares a text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut prepared = Vec::with_capacity(text.len());
        push_prepared(text, &mut prepared);
        Self(Finder::new(&prepared).into_owned())
    }

    /// Whether it is in a text that [`push_prepared`] made. An empty one is in every text.
    #[must_use]
    pub fn is_in(&self, prepared: &[u8]) -> bool {
        self.0.find(prepared).is_some()
    }

    /// The prepared form.
    #[must_use]
    pub fn prepared(&self) -> &[u8] {
        self.0.needle()
    }

    /// Octets in the prepared form.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.needle().len()
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Appends a text in the form in which texts are compared. Who does it piece by piece must not part a character from
/// the marks that follow it.
pub fn push_prepared(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = ascii_len(rest.as_bytes());
        push_ascii(&rest.as_bytes()[..ascii], out);
        rest = &rest[ascii..];
        // ASCII characters are decomposed and no marks, so that what stands between them can be prepared by itself.
        let other = rest.bytes().position(|b| b.is_ascii()).unwrap_or(rest.len());
        push_other(&rest[..other], out);
        rest = &rest[other..];
    }
}

/// ASCII octets at the front.
fn ascii_len(bytes: &[u8]) -> usize {
    const STEP: usize = 64;
    let whole = bytes.chunks_exact(STEP).take_while(|chunk| chunk.is_ascii()).count() * STEP;
    whole + bytes[whole..].iter().position(|b| !b.is_ascii()).unwrap_or(bytes.len() - whole)
}

fn push_ascii(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut from = 0;
    for at in memchr::memchr_iter(b'\r', bytes) {
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out[start..].make_ascii_uppercase();
}

/// For each character of the basic plane its title case, where that is all there is to do: it is not decomposed, and no
/// mark, whose place could change. Zero for the others.
static SIMPLE: LazyLock<Box<[u16]>> = LazyLock::new(|| {
    let simple = |code: u32| {
        let title = char::from_u32(code).filter(|c| *c != HIGHEST_MARK).map(title)?;
        // Behind the mark that goes behind all others only marks change their place.
        let behind = [HIGHEST_MARK, title];
        let stays = DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(behind.into_iter()).eq(behind);
        u16::try_from(u32::from(title)).ok().filter(|_| stays)
    };
    (0..=0xffff).map(|code| simple(code).unwrap_or(0)).collect()
});

/// The mark of the highest combining class, 240 (COMBINING GREEK YPOGEGRAMMENI).
const HIGHEST_MARK: char = '\u{345}';

fn push_other(text: &str, out: &mut Vec<u8>) {
    if text.is_empty() {
        return;
    }
    let simple = &**SIMPLE;
    let title_of = |c: char| simple.get(c as usize).copied().filter(|t| *t != 0);
    let mut octets = [0; 4];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(title) = title_of(c).and_then(|t| char::from_u32(t.into())) {
            out.extend_from_slice(title.encode_utf8(&mut octets).as_bytes());
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let end = rest.find(|c| title_of(c).is_some()).unwrap_or(rest.len());
        push_decomposed(&rest[..end], out);
        rest = &rest[end..];
    }
}

fn push_decomposed(text: &str, out: &mut Vec<u8>) {
    let mut octets = [0; 4];
    for c in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(text.chars().map(title)) {
        out.extend_from_slice(c.encode_utf8(&mut octets).as_bytes());
    }
}

/// The title case that the Unicode data has for a single character: its upper case, but for these.
fn title(c: char) -> char {
    match c {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Georgian has capitals for whole words only.
        '\u{10d0}'..='\u{10ff}' => c,
        // Greek letters with iota, whose upper case is two letters.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => later(c, 8),
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => later(c, 9),
        _ => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(single), None) => single,
                _ => c,
            }
        }
    }
}

fn later(c: char, by: u32) -> char {
    char::from_u32(u32::from(c) + by).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, needle: &str) -> bool {
        let mut prepared = Vec::new();
        push_prepared(text, &mut prepared);
        Needle::new(needle).is_in(&prepared)
    }

    #[test]
    fn what_is_equal() {
        for (text, needle, expected) in [
            ("Zanzibar", "anziba", true),
            ("zanzibar", "ANZIBA", true),
            ("zanzibar", "anzibb", false),
            ("anything", "", true),
            ("", "", true),
            ("", "x", false),
            ("GRÜSSE", "grüsse", true),
            ("Grüße", "GRÜßE", true),
            ("Grüße", "grüsse", false),
            ("GROẞ", "groẞ", true),
            ("u\u{308}ber", "Über", true),
            ("ÜBER", "u\u{308}ber", true),
            ("über", "uber", false),
            // Marks in either order.
            ("a\u{323}\u{302}", "\u{1ead}", true),
            ("a\u{302}\u{323}", "\u{1ead}", true),
            // Turkish.
            ("İSTANBUL", "İstanbul", true),
            ("ISPARTA", "ısparta", true),
            ("isparta", "ısparta", true),
            ("istanbul", "İstanbul", false),
            // Greek.
            ("ΟΔΟΣ", "οδος", true),
            ("ΟΔΟΣ", "οδοσ", true),
            ("οδός", "ΟΔΌΣ", true),
            ("ᾳ", "ᾼ", true),
            ("ᾀ", "ᾈ", true),
            // Cyrillic, Georgian, digraphs, compatibility, Hangul, width.
            ("ПРИВЕТ", "привет", true),
            ("საქართველო", "საქართველო", true),
            ("Ა", "Ა", true),
            ("Ǆ", "ǆ", true),
            ("Ǆ", "ǅ", true),
            ("ﬁ", "ﬁ", true),
            ("ＡＢＣ", "abc", true),
            ("ｶﾞ", "ガ", true),
            ("한글", "한", true),
            ("日本語", "本", true),
            ("a\u{a0}b", "a b", true),
            ("one\r\ntwo", "one\ntwo", true),
            ("one\ntwo", "one\r\ntwo", true),
            ("\u{212a}elvin", "kelvin", true),
        ] {
            assert_eq!(has(text, needle), expected, "{needle:?} in {text:?}");
            let long = format!("{}{text}{}", "0".repeat(150), "ä 0 ".repeat(50));
            assert_eq!(has(&long, needle), expected, "{needle:?} in {long:?}");
        }
    }

    #[test]
    fn each_case_of_a_character_finds_itself() {
        for c in '\0'..=char::MAX {
            if c == '\r' {
                continue;
            }
            assert!(has(&c.to_string(), &c.to_string()), "{c:?}");
            let mut lower = c.to_lowercase();
            // The title case of a letter is that of its only lower case, but where the Unicode data go one way.
            if let (Some(l), None) = (lower.next(), lower.next())
                && l != c
                && title(l) == c
            {
                assert!(has(&l.to_string(), &c.to_string()), "{c:?}");
            }
        }
    }

    #[test]
    fn what_is_simple_is_as_if_it_were_not() {
        for c in ('\u{80}'..=char::MAX).filter(|c| u32::from(*c) < 0x10000 || u32::from(*c) % 17 == 0) {
            let text: String = ['\u{323}', c, '\u{302}', '\u{323}', c, c, '\u{345}', '\u{fc}', c].iter().collect();
            let (mut short, mut long) = (Vec::new(), Vec::new());
            push_other(&text, &mut short);
            push_decomposed(&text, &mut long);
            assert!(short == long, "{c:?}");
        }
    }

    #[test]
    fn the_long_way_and_the_short_way_agree() {
        let text = "Aé\u{301}z\u{323}\u{302}Ω\r\nσς";
        for split in text.char_indices().map(|(at, _)| at).filter(|at| text[..*at].ends_with(|c: char| c.is_ascii())) {
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            push_prepared(text, &mut whole);
            // A mark after an ASCII letter follows it in any case.
            push_prepared(&text[..split], &mut parts);
            push_prepared(&text[split..], &mut parts);
            assert_eq!(whole, parts);
        }
    }
}
