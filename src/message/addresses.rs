//! Address lists of header fields (RFC 5322 §3.4 and §4.4): mailboxes, groups, comments, routes.
//!
//! Raw octets as they came, quotes removed: encoded words stay encoded. Tolerant: what cannot be read is passed over
//! and nothing else is lost. Knows nothing of envelope addresses, which are strict ([`crate::mail::address`]).

use super::quoted::quoted_string;

/// One item of a list, in the order and shape of an IMAP ENVELOPE (RFC 3501 §7.4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// One address.
    Mailbox {
        /// Display name, or the comment that stands for it.
        name: Option<Vec<u8>>,
        /// Source route of RFC 5322 §4.4, without the colon.
        route: Option<Vec<u8>>,
        /// Local part, unquoted.
        local: Vec<u8>,
        /// Domain; empty where there is none.
        domain: Vec<u8>,
    },
    /// A group begins.
    GroupStart(Vec<u8>),
    /// It ends.
    GroupEnd,
}

/// Most items of one field that are kept.
const MOST: usize = 20_000;

/// Reads an address list, folded or not.
#[must_use]
pub fn addresses(text: &[u8]) -> Vec<Item> {
    let mut reader = Reader { text, at: 0, out: Vec::new(), in_group: false };
    reader.run();
    reader.out
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<Item>,
    in_group: bool,
}

/// The words of one address while it is read.
#[derive(Default)]
struct Words {
    /// Joined as a display name: one blank between words.
    phrase: Vec<u8>,
    /// Joined as an address: no blanks.
    joined: Vec<u8>,
    /// Where the last `@` outside of quotes is in `joined`.
    at_sign: Option<usize>,
    comment: Option<Vec<u8>>,
    angle: Option<Item>,
    blank_before: bool,
}

impl Reader<'_> {
    fn run(&mut self) {
        while self.at < self.text.len() && self.out.len() < MOST {
            self.item();
        }
        if self.in_group {
            self.out.push(Item::GroupEnd);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// One address or the head or end of a group, with the separator after it.
    fn item(&mut self) {
        let mut words = Words::default();
        while let Some(b) = self.peek() {
            match b {
                b',' => {
                    self.at += 1;
                    break;
                }
                b';' => {
                    self.at += 1;
                    self.finish(words);
                    if std::mem::take(&mut self.in_group) {
                        self.out.push(Item::GroupEnd);
                    }
                    return;
                }
                b':' if !self.in_group && words.angle.is_none() && words.at_sign.is_none() => {
                    self.at += 1;
                    self.in_group = true;
                    self.out.push(Item::GroupStart(words.phrase));
                    return;
                }
                b'<' => words.angle = Some(self.angle(&words)),
                b'(' => {
                    let comment = self.comment();
                    words.comment.get_or_insert(comment);
                    words.blank_before = true;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {
                    self.at += 1;
                    words.blank_before = true;
                }
                b'"' => {
                    let quoted = self.quoted();
                    words.push(&quoted);
                }
                _ => {
                    let word = self.atom();
                    if word == b"@" {
                        words.at_sign = Some(words.joined.len());
                    }
                    words.push(word);
                }
            }
        }
        self.finish(words);
    }

    fn finish(&mut self, words: Words) {
        if let Some(mut item) = words.angle {
            if let Item::Mailbox { name, .. } = &mut item {
                *name = Some(words.phrase).filter(|p| !p.is_empty()).or(words.comment);
            }
            self.out.push(item);
        } else if words.at_sign.is_none() && words.phrase.len() > words.joined.len() {
            // Several words and no address: a name, as people write it.
            self.out.push(Item::Mailbox {
                name: Some(words.phrase),
                route: None,
                local: Vec::new(),
                domain: Vec::new(),
            });
        } else if !words.joined.is_empty() {
            let (local, domain) = match words.at_sign {
                Some(at) => (words.joined[..at].to_vec(), words.joined[at + 1..].to_vec()),
                None => (words.joined, Vec::new()),
            };
            self.out.push(Item::Mailbox { name: words.comment, route: None, local, domain });
        }
    }

    /// `<route:local@domain>`; stands behind the bracket afterwards.
    fn angle(&mut self, outer: &Words) -> Item {
        self.at += 1;
        let mut words = Words { blank_before: outer.blank_before, ..Words::default() };
        let mut route = None;
        while let Some(b) = self.peek() {
            match b {
                b'>' => {
                    self.at += 1;
                    break;
                }
                b'(' => drop(self.comment()),
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'"' => {
                    let quoted = self.quoted();
                    words.joined.extend_from_slice(&quoted);
                }
                b':' if words.joined.starts_with(b"@") && route.is_none() => {
                    self.at += 1;
                    route = Some(std::mem::take(&mut words.joined));
                    words.at_sign = None;
                }
                b',' | b';' | b':' | b'<' => {
                    self.at += 1;
                    words.joined.push(b);
                }
                _ => {
                    let word = self.atom();
                    if word == b"@" {
                        words.at_sign = Some(words.joined.len());
                    }
                    words.joined.extend_from_slice(word);
                }
            }
        }
        let (local, domain) = match words.at_sign {
            Some(at) => (words.joined[..at].to_vec(), words.joined[at + 1..].to_vec()),
            None => (words.joined, Vec::new()),
        };
        Item::Mailbox { name: None, route, local, domain }
    }

    /// A run of octets that mean nothing special, or one that does; never empty.
    fn atom(&mut self) -> &[u8] {
        let start = self.at;
        if self.peek() == Some(b'[') {
            // A domain literal may have colons (RFC 5322 §3.4.1).
            while self.peek().is_some_and(|b| !matches!(b, b']' | b'\r' | b'\n' | b'>' | b',')) {
                self.at += 1;
            }
        }
        self.at = (self.at + 1).min(self.text.len());
        if self.text[start] != b'@' {
            while self.peek().is_some_and(|b| !b" \t\r\n,;:<>()\"@[".contains(&b)) {
                self.at += 1;
            }
        }
        &self.text[start..self.at]
    }

    fn quoted(&mut self) -> Vec<u8> {
        quoted_string(self.text, &mut self.at)
    }

    /// What stands in a comment, comments within it kept with their parentheses.
    fn comment(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut depth = 0_usize;
        while let Some(b) = self.peek() {
            self.at += 1;
            match b {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            match b {
                b')' if depth == 0 => break,
                b'(' if depth == 1 => {}
                b'\r' | b'\n' => {}
                b'\\' => {
                    out.extend(self.peek());
                    self.at = (self.at + 1).min(self.text.len());
                }
                _ => out.push(b),
            }
        }
        out.trim_ascii().to_vec()
    }
}

impl Words {
    fn push(&mut self, word: &[u8]) {
        if self.blank_before && !self.phrase.is_empty() {
            self.phrase.push(b' ');
        }
        self.blank_before = false;
        self.phrase.extend_from_slice(word);
        self.joined.extend_from_slice(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str) -> String {
        let show = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        addresses(text.as_bytes())
            .iter()
            .map(|item| match item {
                Item::Mailbox { name, route, local, domain } => {
                    let name = name.as_ref().map(|n| format!("{}|", show(n))).unwrap_or_default();
                    let route = route.as_ref().map(|r| format!("{}:", show(r))).unwrap_or_default();
                    format!("{name}{route}{}@{}", show(local), show(domain))
                }
                Item::GroupStart(name) => format!("{}{{", show(name)),
                Item::GroupEnd => "}".to_owned(),
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn lists() {
        for (text, expected) in [
            ("a@b", "a@b"),
            ("A B <a@b>", "A B|a@b"),
            ("\"Last, First\" <a@b>, c@d", "Last, First|a@b c@d"),
            ("a@b (Comment (nested))", "Comment (nested)|a@b"),
            ("\"a b\"@c", "a b@c"),
            ("\"x\\\"y\" <a@b>", "x\"y|a@b"),
            ("A\r\n B <a@b>", "A B|a@b"),
            ("John Q. Public <a@b>", "John Q. Public|a@b"),
            ("<@x,@y:a@b>", "@x,@y:a@b"),
            ("<a@b>", "a@b"),
            ("<>", "@"),
            ("Undisclosed recipients:;", "Undisclosed recipients{ }"),
            ("G: a@b, C <c@d>;, e@f", "G{ a@b C|c@d } e@f"),
            ("G: a@b", "G{ a@b }"),
            ("a@[IPv6:::1]", "a@[IPv6:::1]"),
            ("root", "root@"),
            ("a b c", "a b c|@"),
            (",,a@b,", "a@b"),
            ("=?utf-8?q?J=C3=BC?= <j@x>", "=?utf-8?q?J=C3=BC?=|j@x"),
            ("a@b@c", "a@b@c"),
            ("A <a@b", "A|a@b"),
            ("\"unended", "unended@"),
            ("(unended", ""),
            ("", ""),
            ("me <x@y> (c)", "me|x@y"),
            ("G: a@b; c@d", "G{ a@b } c@d"),
        ] {
            assert_eq!(drawn(text), expected, "{text}");
        }
    }

    #[test]
    fn every_octet_anywhere_ends() {
        let text = b"A \"b\\c\" <@x:\"l\"@[d]>(e\\(f)), G:;";
        for at in 0..text.len() {
            assert!(addresses(&text[..at]).len() <= at);
            for b in 0..=255 {
                let mut changed = text.to_vec();
                changed[at] = b;
                assert!(addresses(&changed).len() <= changed.len());
            }
        }
    }
}
