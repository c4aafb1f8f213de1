//! What stands in an untagged answer of IMAP, as a tree (RFC 3501 §4): atoms, strings, lists.
//!
//! Knows no meaning of any of it. A section in brackets belongs to its atom.

use std::fmt;

/// A value. `NIL` is an atom.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Atom(String),
    /// A quoted string or a literal, which mean the same.
    Text(Vec<u8>),
    List(Vec<Value>),
}

/// Reads the values of an answer, separated by blanks.
///
/// # Panics
/// Where the answer breaks the grammar: no client could read it then.
pub(crate) fn values(answer: &[u8]) -> Vec<Value> {
    let mut reader = Reader { answer, at: 0 };
    let all = reader.list();
    assert!(reader.at == answer.len(), "read up to octet {} only of {}", reader.at, answer.escape_ascii());
    all
}

struct Reader<'a> {
    answer: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.answer.get(self.at).copied()
    }

    /// Values up to the end or a closing parenthesis.
    fn list(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(b) = self.peek() {
            match b {
                b' ' => self.at += 1,
                b')' => break,
                _ => all.push(self.value(b)),
            }
        }
        all
    }

    fn value(&mut self, first: u8) -> Value {
        match first {
            b'(' => {
                self.at += 1;
                let inner = self.list();
                assert_eq!(self.peek(), Some(b')'), "an open list in {}", self.answer.escape_ascii());
                self.at += 1;
                Value::List(inner)
            }
            b'"' => self.quoted(),
            b'{' | b'~' => self.literal(),
            _ => self.atom(),
        }
    }

    fn quoted(&mut self) -> Value {
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let b = self.peek().unwrap_or_else(|| panic!("an open string in {}", self.answer.escape_ascii()));
            self.at += 1;
            match b {
                b'"' => return Value::Text(text),
                b'\\' => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                b'\r' | b'\n' | 0 => panic!("octet {b} in a quoted string of {}", self.answer.escape_ascii()),
                _ => text.push(b),
            }
        }
    }

    fn literal(&mut self) -> Value {
        let rest = &self.answer[self.at..];
        let end = memchr::memchr(b'\n', rest).expect("the line of a literal ends");
        let count = String::from_utf8_lossy(&rest[..end]);
        let count = count.trim_matches(['~', '{', '}', '\r']).parse::<usize>().expect("the length of a literal");
        let text = rest.get(end + 1..end + 1 + count).expect("all of the literal is there").to_vec();
        self.at += end + 1 + count;
        Value::Text(text)
    }

    fn atom(&mut self) -> Value {
        let start = self.at;
        let mut brackets = 0_usize;
        while let Some(b) = self.peek() {
            match b {
                b'[' => brackets += 1,
                b']' => brackets = brackets.saturating_sub(1),
                b' ' | b'(' | b')' if brackets == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        Value::Atom(String::from_utf8_lossy(&self.answer[start..self.at]).into_owned())
    }
}

impl Value {
    /// The values of a list; none of another.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::Atom(_) | Self::Text(_) => &[],
        }
    }

    /// Whether it is this atom, compared without case.
    pub(crate) fn is(&self, atom: &str) -> bool {
        matches!(self, Self::Atom(text) if text.eq_ignore_ascii_case(atom))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(text) => f.write_str(text),
            Self::Text(text) => write!(f, "\"{}\"", text.escape_ascii()),
            Self::List(items) => {
                f.write_str("(")?;
                for (n, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if n == 0 { "" } else { " " })?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
