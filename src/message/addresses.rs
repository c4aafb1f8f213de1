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

/// A list with what is to be thought of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// What [`addresses`] gives.
    pub items: Vec<Item>,
    /// Some of it is against RFC 5322 §3.4 and §4.4 in such a way that others may find other addresses in it: a second
    /// `@` or a separator within an address, words side by side, something behind or without its bracket.
    pub ambiguous: bool,
}

/// Reads an address list, folded or not.
#[must_use]
pub fn addresses(text: &[u8]) -> Vec<Item> {
    list(text).items
}

/// As [`addresses`], for those who must not take one address for another.
#[must_use]
pub fn list(text: &[u8]) -> List {
    let mut reader = Reader { text, at: 0, out: Vec::new(), in_group: false, ambiguous: false };
    reader.run();
    List { items: reader.out, ambiguous: reader.ambiguous }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<Item>,
    in_group: bool,
    ambiguous: bool,
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
    /// How much of `phrase` was there before the bracket.
    name_octets: usize,
    blank_before: bool,
    /// `joined` ends with an atom that lets another word follow.
    open: bool,
    /// As [`List::ambiguous`], if this is an address and not a name.
    ambiguous: bool,
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
                b'<' => {
                    if words.angle.is_some() {
                        // Two addresses without a comma between them.
                        self.ambiguous = true;
                        let name = words.phrase.split_off(words.name_octets);
                        self.finish(std::mem::take(&mut words));
                        if self.out.len() >= MOST {
                            return;
                        }
                        words.phrase = name.trim_ascii_start().to_vec();
                    }
                    words.angle = Some(self.angle());
                    words.name_octets = words.phrase.len();
                }
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
                    words.name(&quoted);
                    words.join_quoted(&quoted);
                }
                _ => {
                    let word = self.atom();
                    words.name(word);
                    words.join(word);
                }
            }
        }
        self.finish(words);
    }

    fn finish(&mut self, words: Words) {
        if let Some(mut item) = words.angle {
            self.ambiguous |= words.phrase.len() > words.name_octets;
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
            self.ambiguous |= words.ambiguous;
            let (local, domain) = match words.at_sign {
                Some(at) => (words.joined[..at].to_vec(), words.joined[at + 1..].to_vec()),
                None => (words.joined, Vec::new()),
            };
            self.out.push(Item::Mailbox { name: words.comment, route: None, local, domain });
        }
    }

    /// `<route:local@domain>`; stands behind the bracket afterwards.
    fn angle(&mut self) -> Item {
        self.at += 1;
        let mut words = Words::default();
        let mut route = None;
        let mut closed = false;
        while let Some(b) = self.peek() {
            match b {
                b'>' => {
                    self.at += 1;
                    closed = true;
                    break;
                }
                b'(' => drop(self.comment()),
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'"' => {
                    let quoted = self.quoted();
                    words.join_quoted(&quoted);
                }
                b':' if words.joined.starts_with(b"@") && route.is_none() => {
                    self.at += 1;
                    let before = std::mem::take(&mut words).joined;
                    words.ambiguous = !is_route(&before);
                    route = Some(before);
                }
                b',' | b';' | b':' | b'<' => {
                    self.at += 1;
                    words.ambiguous = true;
                    words.joined.push(b);
                }
                _ => words.join(self.atom()),
            }
        }
        self.ambiguous |= words.ambiguous || !closed;
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
        let start = self.at;
        let quoted = quoted_string(self.text, &mut self.at);
        let escapes = |rest: &[u8]| rest.iter().rev().take_while(|b| **b == b'\\').count();
        let inner = self.text[start + 1..self.at].strip_suffix(b"\"");
        self.ambiguous |= inner.is_none_or(|inner| escapes(inner) % 2 == 1);
        quoted
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
                b')' if depth == 0 => return out.trim_ascii().to_vec(),
                b'(' if depth == 1 => {}
                b'\r' | b'\n' => {}
                b'\\' => {
                    out.extend(self.peek());
                    self.at = (self.at + 1).min(self.text.len());
                }
                _ => out.push(b),
            }
        }
        self.ambiguous = true;
        out.trim_ascii().to_vec()
    }
}

/// `@a,@b` (RFC 5322 §4.4), of which elements may be empty.
fn is_route(text: &[u8]) -> bool {
    let is_domain = |part: &[u8]| part.strip_prefix(b"@").is_some_and(|name| !name.contains(&b'@'));
    text.split(|b| *b == b',').all(|part| part.is_empty() || is_domain(part))
}

impl Words {
    /// One more word of a display name.
    fn name(&mut self, word: &[u8]) {
        if self.blank_before && !self.phrase.is_empty() {
            self.phrase.push(b' ');
        }
        self.blank_before = false;
        self.phrase.extend_from_slice(word);
    }

    /// One more atom or special of an address. Words have a dot or the one `@` between them (RFC 5322 §3.4.1, §4.4).
    fn join(&mut self, word: &[u8]) {
        let first = word.first().copied().unwrap_or_default();
        let fits = self.joined.is_empty() || self.open || matches!(first, b'.' | b'@');
        self.ambiguous |= !fits || matches!(first, b')' | b'>' | b']');
        if word == b"@" {
            self.ambiguous |= self.at_sign.is_some();
            self.at_sign = Some(self.joined.len());
        }
        self.joined.extend_from_slice(word);
        self.open = word.ends_with(b".") || word == b"@";
    }

    /// One more quoted string of an address, which has them before its `@` only.
    fn join_quoted(&mut self, word: &[u8]) {
        self.ambiguous |= !(self.joined.is_empty() || self.open) || self.at_sign.is_some();
        self.joined.extend_from_slice(word);
        self.open = false;
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
            // Without a comma they are two all the same.
            ("<a@b> <c@d>", "a@b c@d"),
            ("A <a@b> C <c@d>", "A|a@b C|c@d"),
            ("<a@b><c@d> E", "a@b E|c@d"),
            ("<a@b> E", "E|a@b"),
        ] {
            assert_eq!(drawn(text), expected, "{text}");
        }
    }

    #[test]
    fn ambiguous_lists() {
        for clear in [
            "a@b",
            "a . b @ c . d",
            "\"a@x\".b@c",
            "\"x@y, z\" <a@b> (c@d)",
            "John Q. Public <a@b>, (x) c@d, ,",
            "x@y <a@b>",
            "<@x,,@y:a@b>",
            "< a (x) @ (y) b >",
            "G: a@b, C <c@d>;",
            "a@[IPv6:::1], =?utf-8?q?x?= <a@b>",
            "\"x\\\\\" <a@b>",
            "no address",
            "",
        ] {
            assert!(!list(clear.as_bytes()).ambiguous, "{clear}");
        }
        for ambiguous in [
            "<a@b> <c@d>",
            "a@b c@d",
            "a@b@c",
            "<a@b@c>",
            "<a@b,c@d>",
            "<a@b;c@d>",
            "<a@b:c@d>",
            "<a@b<c@d>",
            "<@x,a@b:c@d>",
            "<a@b> c@d",
            "a@b c",
            "a b@c",
            "<a b@c>",
            "<a@b c>",
            "\"a@b\"c@d",
            "a\"b\"@c",
            "a@\"b\".c",
            ">a@b",
            "a@b)c",
            "a@b: c",
            "<a@b",
            "a@b (c",
            "a@b, \"c",
            "a@b, \"c\\\"",
        ] {
            assert!(list(ambiguous.as_bytes()).ambiguous, "{ambiguous}");
        }
        let flood = list("<a@b>".repeat(MOST + 5).as_bytes());
        assert!(flood.ambiguous && flood.items.len() == MOST);
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
