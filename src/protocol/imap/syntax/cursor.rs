//! A place in a command, and the small words of the grammar: atoms, strings, numbers (RFC 3501 §9).
//!
//! Never looks back, never copies but strings, never recurses.

use std::fmt;

use crate::protocol::imap::syntax::spelling::Spelling;

/// Why a command cannot be read. The words are for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxError {
    /// Not IMAP: `BAD`.
    Bad(&'static str),
    /// A mailbox name that cannot be: `NO [CANNOT]`.
    Name(&'static str),
    /// An event that NOTIFY does not know: `NO [BADEVENT]`.
    Event,
    /// A charset that SEARCH does not know: `NO [BADCHARSET]`.
    Charset,
    /// More than we take: `NO [LIMIT]`.
    Limit(&'static str),
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bad(words) | Self::Name(words) | Self::Limit(words) => words,
            Self::Charset => "unknown charset",
            Self::Event => "unknown event",
        })
    }
}

impl std::error::Error for SyntaxError {}

/// What parsing gives.
pub type Parsed<T> = Result<T, SyntaxError>;

/// A place in a command.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    nesting: usize,
    spelling: Spelling,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`; `nesting` parentheses may stand within each other.
    #[must_use]
    pub fn new(bytes: &'a [u8], nesting: usize) -> Self {
        Self { bytes, at: 0, nesting, spelling: Spelling::default() }
    }

    /// The same where names of mailboxes are spelled like this.
    #[must_use]
    pub fn with_spelling(self, spelling: impl Into<Spelling>) -> Self {
        Self { spelling: spelling.into(), ..self }
    }

    /// How names of mailboxes are spelled.
    #[must_use]
    pub fn spelling(&self) -> Spelling {
        self.spelling
    }

    /// How deep parentheses may go.
    #[must_use]
    pub fn nesting(&self) -> usize {
        self.nesting
    }

    /// The next octet.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Nothing may be left; blanks at the end are forgiven, as some clients leave one.
    ///
    /// # Errors
    /// Something is left.
    pub fn end(&mut self) -> Parsed<()> {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        if self.is_end() { Ok(()) } else { Err(SyntaxError::Bad("text after the command")) }
    }

    /// Takes `octet` if it is next.
    pub fn take(&mut self, octet: u8) -> bool {
        let there = self.peek() == Some(octet);
        self.at += usize::from(there);
        there
    }

    /// Takes `octet`.
    ///
    /// # Errors
    /// Another one is next.
    pub fn expect(&mut self, octet: u8) -> Parsed<()> {
        if self.take(octet) { Ok(()) } else { Err(SyntaxError::Bad("unexpected text in the command")) }
    }

    /// One blank.
    ///
    /// # Errors
    /// None is there.
    pub fn space(&mut self) -> Parsed<()> {
        if self.take(b' ') { Ok(()) } else { Err(SyntaxError::Bad("argument missing")) }
    }

    /// Takes `word` if it is next, compared without case.
    pub fn take_word(&mut self, word: &str) -> bool {
        let there =
            self.bytes.get(self.at..self.at + word.len()).is_some_and(|b| b.eq_ignore_ascii_case(word.as_bytes()));
        self.at += if there { word.len() } else { 0 };
        there
    }

    /// The octets that satisfy `keep`.
    pub fn run(&mut self, keep: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let len = rest.iter().take_while(|b| keep(**b)).count();
        self.at += len;
        &rest[..len]
    }

    /// `1*ATOM-CHAR`.
    ///
    /// # Errors
    /// Something else is next.
    pub fn atom(&mut self) -> Parsed<&'a str> {
        let run = self.run(is_atom_char);
        if run.is_empty() {
            return Err(SyntaxError::Bad("atom expected"));
        }
        // ATOM-CHAR is ASCII.
        std::str::from_utf8(run).map_err(|_| SyntaxError::Bad("atom expected"))
    }

    /// `astring`: an atom that may hold `]`, or a string.
    ///
    /// # Errors
    /// Something else is next.
    pub fn astring(&mut self) -> Parsed<Vec<u8>> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string();
        }
        // Real clients send 8-bit mailbox names as atoms; who reads the string decides what it is.
        let run = self.run(|b| is_atom_char(b) || b == b']' || b >= 0x80);
        if run.is_empty() { Err(SyntaxError::Bad("string expected")) } else { Ok(run.to_vec()) }
    }

    /// `string`: quoted or literal.
    ///
    /// # Errors
    /// Something else is next, or its end is missing.
    pub fn string(&mut self) -> Parsed<Vec<u8>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal(),
            _ => Err(SyntaxError::Bad("string expected")),
        }
    }

    /// `nstring`.
    ///
    /// # Errors
    /// As [`Cursor::string`].
    pub fn nstring(&mut self) -> Parsed<Option<Vec<u8>>> {
        if self.take_word("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    fn quoted(&mut self) -> Parsed<Vec<u8>> {
        self.at += 1;
        let mut out = Vec::new();
        while let Some(octet) = self.peek() {
            self.at += 1;
            match octet {
                // RFC 6855 §3: what is not ASCII has to be UTF-8.
                b'"' if self.spelling.utf8 && std::str::from_utf8(&out).is_err() => {
                    return Err(SyntaxError::Bad("quoted string is not UTF-8"));
                }
                b'"' => return Ok(out),
                b'\\' => {
                    let escaped = self.peek().filter(|b| matches!(b, b'"' | b'\\'));
                    out.push(escaped.ok_or(SyntaxError::Bad("bad escape in a quoted string"))?);
                    self.at += 1;
                }
                0 | b'\r' | b'\n' => break,
                _ => out.push(octet),
            }
        }
        Err(SyntaxError::Bad("quoted string without an end"))
    }

    fn literal(&mut self) -> Parsed<Vec<u8>> {
        const BAD: SyntaxError = SyntaxError::Bad("bad literal");
        self.at += 1;
        let size = usize::try_from(self.number64()?).map_err(|_| BAD)?;
        if !self.take_word("}\r\n") {
            return Err(BAD);
        }
        let end = self.at.checked_add(size).ok_or(BAD)?;
        let content = self.bytes.get(self.at..end).ok_or(BAD)?;
        // RFC 3501 §9: a literal holds CHAR8, which is not NUL.
        if content.contains(&0) {
            return Err(SyntaxError::Bad("NUL in a literal"));
        }
        self.at = end;
        Ok(content.to_vec())
    }

    /// `number` of 32 bits.
    ///
    /// # Errors
    /// No digit is next, or the number is too large.
    pub fn number(&mut self) -> Parsed<u32> {
        u32::try_from(self.number64()?).map_err(|_| SyntaxError::Bad("number too large"))
    }

    /// `number64`.
    ///
    /// # Errors
    /// No digit is next, or the number is too large.
    pub fn number64(&mut self) -> Parsed<u64> {
        let digits = self.run(|b| b.is_ascii_digit());
        if digits.is_empty() {
            return Err(SyntaxError::Bad("number expected"));
        }
        std::str::from_utf8(digits)
            .ok()
            .and_then(|d| d.parse().ok())
            .filter(|n| i64::try_from(*n).is_ok())
            .ok_or(SyntaxError::Bad("number too large"))
    }

    /// `nz-number`.
    ///
    /// # Errors
    /// As [`Cursor::number`], and for 0.
    pub fn nz_number(&mut self) -> Parsed<u32> {
        let number = self.number()?;
        if number == 0 { Err(SyntaxError::Bad("number must not be 0")) } else { Ok(number) }
    }

    /// A list in parentheses, one blank between items, read by `item`; at most `most` of them.
    ///
    /// # Errors
    /// What `item` says, or the parentheses are wrong, or there are too many.
    pub fn list<T>(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.expect(b'(')?;
        let mut out = Vec::new();
        if self.take(b')') {
            return Ok(out);
        }
        loop {
            if out.len() >= most {
                return Err(SyntaxError::Limit("too many items in a list"));
            }
            out.push(item(self)?);
            if self.take(b')') {
                return Ok(out);
            }
            self.space()?;
        }
    }
}

/// `ATOM-CHAR`: any CHAR but `atom-specials`.
#[must_use]
pub fn is_atom_char(b: u8) -> bool {
    (0x21..0x7f).contains(&b) && !b"(){%*\"\\]".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atom_characters() {
        for b in 0..=255_u8 {
            let expected = b.is_ascii_graphic() && !"(){%*\"\\]".contains(char::from(b));
            assert_eq!(is_atom_char(b), expected, "{b}");
        }
    }

    #[test]
    fn strings() {
        for (text, expected) in [
            ("abc d", Some("abc")),
            ("a]b", Some("a]b")),
            ("\"a \\\"b\\\\\"", Some("a \"b\\")),
            ("\"\"", Some("")),
            ("{3}\r\na\r\nrest", Some("a\r\n")),
            ("{0}\r\n", Some("")),
            ("\"a", None),
            ("\"a\\b\"", None),
            ("\"a\r\n\"", None),
            ("{4}\r\nabc", None),
            ("{3}abc", None),
            ("{}\r\n", None),
            ("{99999999999999999999}\r\n", None),
            ("{18446744073709551615}\r\na", None),
            ("{1}\r\n\0", None),
            ("", None),
            ("(", None),
        ] {
            let read = Cursor::new(text.as_bytes(), 1).astring().ok();
            assert_eq!(read.as_deref(), expected.map(str::as_bytes), "{text:?}");
        }
    }

    #[test]
    fn numbers() {
        for (text, expected) in [("0", Some(0)), ("4294967295", Some(u32::MAX)), ("4294967296", None), ("x", None)] {
            assert_eq!(Cursor::new(text.as_bytes(), 1).number().ok(), expected);
        }
        assert!(Cursor::new(b"0", 1).nz_number().is_err());
    }

    #[test]
    fn lists() {
        let read = |t: &str| Cursor::new(t.as_bytes(), 1).list(3, |c| c.number()).ok();
        assert_eq!(read("()"), Some(vec![]));
        assert_eq!(read("(1 2 3)"), Some(vec![1, 2, 3]));
        for bad in ["", "(", "(1", "(1 ", "(1  2)", "(1 )", "1", "(1 2 3 4)"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
