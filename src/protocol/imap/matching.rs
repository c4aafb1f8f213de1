//! Whether a message matches a search key (RFC 3501 §6.4.4): exact substrings, without case, over decoded text.
//!
//! Knows a message through [`Candidate`], which reads its file only when a key needs it. Text parts are searched in
//! their decoded form; attachments that are no text are not.

use crate::mail::flags::Flags;
use crate::message::decode;
use crate::message::fields::fields;
use crate::message::fields::header_len;
use crate::message::mime::Kind;
use crate::message::mime::Structure;
use crate::message::sent::sent_day;
use crate::protocol::imap::syntax::search::Key;
use crate::protocol::imap::syntax::set::Ranges;
use crate::protocol::imap::syntax::set::SequenceSet;

/// A message that may match.
pub trait Candidate {
    /// Why it cannot be read.
    type Error;
    /// Its sequence number.
    fn number(&self) -> u32;
    /// Its UID.
    fn uid(&self) -> u32;
    /// Its flags.
    fn flags(&self) -> Flags;
    /// Whether the keyword of this name is set.
    fn has_keyword(&self, name: &str) -> bool;
    /// `\Recent`.
    fn is_recent(&self) -> bool;
    /// INTERNALDATE, seconds since 1970.
    ///
    /// # Errors
    /// It cannot be found out.
    fn date(&mut self) -> Result<i64, Self::Error>;
    /// Octets on the wire.
    ///
    /// # Errors
    /// It cannot be found out.
    fn size(&mut self) -> Result<u64, Self::Error>;
    /// Its text.
    ///
    /// # Errors
    /// The file cannot be read.
    fn text(&mut self) -> Result<&mut SearchText, Self::Error>;
}

/// A search with its sets resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search(Node);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    And(Vec<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Sequence(Ranges),
    Uid(Ranges),
    Key(Key),
}

impl Search {
    /// Ready for a mailbox whose largest number and UID are these.
    #[must_use]
    pub fn new(key: Key, largest_number: Option<u32>, largest_uid: Option<u32>) -> Self {
        Self(resolve(key, largest_number, largest_uid))
    }

    /// Whether any key needs the file of a message that the cheaper keys let pass.
    #[must_use]
    pub fn reads_files(&self) -> bool {
        cost(&self.0) > 0
    }

    /// Whether the message matches.
    ///
    /// # Errors
    /// What the candidate says.
    pub fn matches<C: Candidate>(&self, candidate: &mut C) -> Result<bool, C::Error> {
        matches(&self.0, candidate)
    }
}

fn resolve(key: Key, number: Option<u32>, uid: Option<u32>) -> Node {
    let set = |set: &SequenceSet, largest| set.resolve(largest);
    match key {
        Key::And(keys) => {
            let mut nodes: Vec<Node> = keys.into_iter().map(|k| resolve(k, number, uid)).collect();
            // Cheap keys first, so that files are read only for what they let pass.
            nodes.sort_by_key(cost);
            Node::And(nodes)
        }
        Key::Or(a, b) => {
            let (a, b) = (resolve(*a, number, uid), resolve(*b, number, uid));
            let (a, b) = if cost(&b) < cost(&a) { (b, a) } else { (a, b) };
            Node::Or(Box::new(a), Box::new(b))
        }
        Key::Not(key) => Node::Not(Box::new(resolve(*key, number, uid))),
        Key::Sequence(s) => Node::Sequence(set(&s, number)),
        Key::Uid(s) => Node::Uid(set(&s, uid)),
        key => Node::Key(key),
    }
}

fn cost(node: &Node) -> u32 {
    match node {
        Node::And(nodes) => nodes.iter().map(cost).max().unwrap_or(0),
        Node::Or(a, b) => cost(a).max(cost(b)),
        Node::Not(node) => cost(node),
        Node::Sequence(_) | Node::Uid(_) => 0,
        Node::Key(key) => match key {
            Key::Header(..) | Key::SentBefore(_) | Key::SentOn(_) | Key::SentSince(_) => 2,
            Key::Body(_) | Key::Text(_) => 3,
            Key::Before(_) | Key::On(_) | Key::Since(_) | Key::Larger(_) | Key::Smaller(_) => 1,
            _ => 0,
        },
    }
}

fn matches<C: Candidate>(node: &Node, c: &mut C) -> Result<bool, C::Error> {
    Ok(match node {
        Node::And(nodes) => {
            for node in nodes {
                if !matches(node, c)? {
                    return Ok(false);
                }
            }
            true
        }
        Node::Or(a, b) => matches(a, c)? || matches(b, c)?,
        Node::Not(node) => !matches(node, c)?,
        Node::Sequence(ranges) => ranges.contains(c.number()),
        Node::Uid(ranges) => ranges.contains(c.uid()),
        Node::Key(key) => matches_key(key, c)?,
    })
}

fn matches_key<C: Candidate>(key: &Key, c: &mut C) -> Result<bool, C::Error> {
    // RFC 3501 §6.4.4: dates disregard time and zone.
    let day = |seconds: i64| seconds.div_euclid(86_400);
    Ok(match key {
        Key::All => true,
        Key::Flag(flag) => c.flags().has(*flag),
        Key::Keyword(name) => c.has_keyword(name),
        Key::Recent => c.is_recent(),
        Key::Before(d) => day(c.date()?) < *d,
        Key::On(d) => day(c.date()?) == *d,
        Key::Since(d) => day(c.date()?) >= *d,
        Key::SentBefore(d) => c.text()?.sent_day().is_some_and(|day| day < *d),
        Key::SentOn(d) => c.text()?.sent_day().is_some_and(|day| day == *d),
        Key::SentSince(d) => c.text()?.sent_day().is_some_and(|day| day >= *d),
        Key::Larger(n) => c.size()? > *n,
        Key::Smaller(n) => c.size()? < *n,
        Key::Header(name, text) => c.text()?.header_has(name, text),
        Key::Body(text) => c.text()?.body().contains_text(text),
        Key::Text(text) => {
            let message = c.text()?;
            message.header().contains_text(text) || message.body().contains_text(text)
        }
        // Resolved before.
        Key::And(_) | Key::Or(..) | Key::Not(_) | Key::Sequence(_) | Key::Uid(_) => false,
    })
}

trait ContainsText {
    fn contains_text(&self, text: &str) -> bool;
}

impl ContainsText for str {
    fn contains_text(&self, text: &str) -> bool {
        memchr::memmem::find(self.as_bytes(), text.as_bytes()).is_some()
    }
}

/// A message, decoded as far as it was asked for.
#[derive(Debug)]
pub struct SearchText {
    message: Vec<u8>,
    header: Option<String>,
    body: Option<String>,
}

impl SearchText {
    /// From the file's bytes.
    #[must_use]
    pub fn new(message: Vec<u8>) -> Self {
        Self { message, header: None, body: None }
    }

    fn header_block(&self) -> &[u8] {
        &self.message[..header_len(&self.message)]
    }

    fn sent_day(&self) -> Option<i64> {
        fields(self.header_block()).find(|f| f.is("Date")).and_then(|f| sent_day(f.value))
    }

    fn header_has(&self, name: &str, text: &str) -> bool {
        fields(self.header_block())
            .filter(|f| f.is(name))
            // RFC 3501 §6.4.4: an empty text matches every message that has the field.
            .any(|f| text.is_empty() || decode::header_text(&f.unfolded()).to_lowercase().contains_text(text))
    }

    /// The whole header, decoded, in lower case.
    fn header(&mut self) -> &str {
        if self.header.is_none() {
            let mut out = String::new();
            push_header(&mut out, self.header_block());
            self.header = Some(out);
        }
        self.header.as_deref().unwrap_or_default()
    }

    /// All text parts and the headers of parts, decoded, in lower case.
    fn body(&mut self) -> &str {
        if self.body.is_none() {
            self.body = Some(self.decode_body());
        }
        self.body.as_deref().unwrap_or_default()
    }

    fn decode_body(&self) -> String {
        let structure = Structure::scan(&self.message);
        let mut out = String::new();
        for (n, part) in structure.parts().iter().enumerate() {
            if n > 0 {
                push_header(&mut out, part.header.of(&self.message));
            }
            if part.kind == Kind::Leaf && (part.is_type("text") || part.is_type("message")) {
                let octets = decode::transfer(part.body.of(&self.message), part.fields.encoding.as_deref());
                let charset = part.fields.content_type.as_ref().and_then(|c| c.get("charset"));
                out.push_str(&decode::text(&octets, charset).to_lowercase());
                out.push('\n');
            }
        }
        out
    }
}

fn push_header(out: &mut String, header: &[u8]) {
    for field in fields(header) {
        out.push_str(&String::from_utf8_lossy(field.name).to_lowercase());
        out.push_str(": ");
        out.push_str(&decode::header_text(&field.unfolded()).to_lowercase());
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::flags::SystemFlag;
    use crate::protocol::imap::syntax::cursor::Cursor;
    use crate::protocol::imap::syntax::search::search_keys;

    struct One {
        text: SearchText,
        reads: u32,
    }

    impl Candidate for One {
        type Error = std::convert::Infallible;
        fn number(&self) -> u32 {
            3
        }
        fn uid(&self) -> u32 {
            30
        }
        fn flags(&self) -> Flags {
            Flags::NONE.with(SystemFlag::Seen)
        }
        fn has_keyword(&self, name: &str) -> bool {
            name.eq_ignore_ascii_case("$Forwarded")
        }
        fn is_recent(&self) -> bool {
            false
        }
        fn date(&mut self) -> Result<i64, Self::Error> {
            Ok(20_778 * 86_400 + 5)
        }
        fn size(&mut self) -> Result<u64, Self::Error> {
            Ok(100)
        }
        fn text(&mut self) -> Result<&mut SearchText, Self::Error> {
            self.reads += 1;
            Ok(&mut self.text)
        }
    }

    const MESSAGE: &str = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an\n alle\nDate: Fri, 20 Nov 2026 23:00:00 -0800\n\
        From: A <a@example.com>\nX-Empty:\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; \
        charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nK=F6ln am Rh=\nein\n--b\nContent-Type: \
        application/octet-stream; name=paper.pdf\n\nneedle\n--b--\n";

    #[test]
    fn searches() {
        for (keys, expected) in [
            ("ALL", true),
            ("SEEN", true),
            ("UNSEEN", false),
            ("NEW", false),
            ("OLD", true),
            ("KEYWORD $forwarded", true),
            ("UNKEYWORD x", true),
            ("3", true),
            ("4:*", true),
            ("1:2", false),
            ("UID 30", true),
            ("UID 31:*", true),
            ("ON 21-Nov-2026", true),
            ("BEFORE 21-Nov-2026", false),
            ("SINCE 21-Nov-2026", true),
            ("SENTON 20-Nov-2026", true),
            ("SENTSINCE 21-Nov-2026", false),
            ("LARGER 99 SMALLER 101", true),
            ("LARGER 100", false),
            ("SUBJECT \"grüsse\"", false),
            ("SUBJECT \"GRÜßE AN alle\"", true),
            ("FROM EXAMPLE", true),
            ("TO a", false),
            ("HEADER X-Empty \"\"", true),
            ("HEADER X-None \"\"", false),
            ("BODY \"köln am rhein\"", true),
            ("BODY paper.pdf", true),
            ("BODY needle", false),
            ("BODY alle", false),
            ("TEXT alle", true),
            ("TEXT \"\"", true),
            ("OR TO a FROM a", true),
            ("NOT OR TO a FROM a", false),
            ("(SEEN FROM a) NOT TO a", true),
        ] {
            let key = search_keys(&mut Cursor::new(keys.as_bytes(), 50)).expect(keys);
            let search = Search::new(key, Some(3), Some(30));
            let mut one = One { text: SearchText::new(MESSAGE.as_bytes().to_vec()), reads: 0 };
            assert_eq!(search.matches(&mut one), Ok(expected), "{keys}");
        }
    }

    #[test]
    fn files_are_read_only_where_needed() {
        let key = search_keys(&mut Cursor::new(b"BODY x UNSEEN", 50)).expect("valid");
        let search = Search::new(key, Some(3), Some(30));
        let mut one = One { text: SearchText::new(MESSAGE.as_bytes().to_vec()), reads: 0 };
        assert_eq!(search.matches(&mut one), Ok(false));
        assert_eq!(one.reads, 0);
        assert!(search.reads_files());
    }
}
