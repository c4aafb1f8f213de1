//! Whether a mailbox name matches a LIST pattern (RFC 3501 §6.3.8): `*` is anything, `%` anything but the separator.
//!
//! Time is at most the product of both lengths, whatever the wildcards.

use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::Separator;

/// A pattern, ready to be compared with many names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
    separator: Separator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Char(char),
    Any,
    AnyInLevel,
}

impl Pattern {
    /// From decoded text, for names with this separator.
    #[must_use]
    pub fn new(text: &str, separator: Separator) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        for c in text.chars() {
            let piece = match c {
                '*' => Piece::Any,
                '%' => Piece::AnyInLevel,
                c => Piece::Char(c),
            };
            // Two wildcards side by side mean the wider of them.
            match (pieces.last_mut(), piece) {
                (Some(last @ (Piece::Any | Piece::AnyInLevel)), Piece::Any) => *last = Piece::Any,
                (Some(Piece::Any | Piece::AnyInLevel), Piece::AnyInLevel) => {}
                _ => pieces.push(piece),
            }
        }
        Self { pieces, separator }
    }

    /// Whether `name` matches; `INBOX` in any case (RFC 3501 §5.1).
    #[must_use]
    pub fn matches(&self, name: &MailboxName) -> bool {
        let inbox = if name.components().next() == Some("INBOX") { 5 } else { 0 };
        let text: Vec<char> = self.separator.text(name).chars().collect();
        let needed = self.pieces.iter().filter(|p| matches!(p, Piece::Char(_))).count();
        if needed > text.len() {
            return false;
        }
        // can[i]: the pieces so far match the first i characters.
        let mut can = vec![false; text.len() + 1];
        can[0] = true;
        for piece in &self.pieces {
            match piece {
                Piece::Char(c) => {
                    for i in (0..text.len()).rev() {
                        let equal = text[i] == *c || (i < inbox && text[i].eq_ignore_ascii_case(c));
                        can[i + 1] = can[i] && equal;
                    }
                    can[0] = false;
                }
                Piece::Any | Piece::AnyInLevel => {
                    for i in 0..text.len() {
                        let passes = *piece == Piece::Any || text[i] != self.separator.char();
                        can[i + 1] |= can[i] && passes;
                    }
                }
            }
        }
        can[text.len()]
    }

    /// Whether it ends in `%`, so that parents of what is deeper are of interest.
    #[must_use]
    pub fn ends_in_level(&self) -> bool {
        self.pieces.last() == Some(&Piece::AnyInLevel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "a/b", true),
            ("%", "a/b", false),
            ("%", "a", true),
            ("a/%", "a/b", true),
            ("a/%", "a/b/c", false),
            ("a/*", "a/b/c", true),
            ("a*c", "a/b/c", true),
            ("a%c", "abc", true),
            ("a%c", "a/c", false),
            ("inbox", "INBOX", true),
            ("in%", "INBOX", true),
            ("inbox/x", "INBOX/x", true),
            ("inbox/X", "INBOX/x", false),
            ("A", "a", false),
            ("%*%", "a/b", true),
            ("%%%", "a/b", false),
            ("ü%", "über", true),
            ("", "a", false),
            ("%/%", "a/b", true),
        ] {
            let name = MailboxName::parse(name).expect("valid");
            assert_eq!(Pattern::new(pattern, Separator::Slash).matches(&name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_with_dots() {
        for (pattern, name, expected) in [
            ("%", "a/b", false),
            ("a.%", "a/b", true),
            ("a/%", "a/b", false),
            ("%.%", "a/b", true),
            ("%", "a.b", true),
            ("inbox.x", "INBOX/x", true),
            ("*", "a/b.c/d", true),
        ] {
            let name = MailboxName::parse(name).expect("valid");
            assert_eq!(Pattern::new(pattern, Separator::Dot).matches(&name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn wildcards_cost_no_exponential_time() {
        let name = MailboxName::parse(&"a".repeat(190)).expect("valid");
        assert!(!Pattern::new(&format!("{}b", "*a%a".repeat(240)), Separator::Slash).matches(&name));
    }
}
