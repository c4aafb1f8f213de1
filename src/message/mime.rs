//! The structure of a message: its parts, where they lie, how large they are on the wire (RFC 2045, RFC 2046).
//!
//! One pass over the lines, no recursion, linear in the message whatever it holds. Knows nothing of decoding, nor of
//! how IMAP writes a structure. Beyond [`MIME_DEPTH`] and [`MIME_PARTS`] what looks like parts is text.

use std::collections::HashMap;

use memchr::memchr;

use crate::mail::limits::MIME_DEPTH;
use crate::mail::limits::MIME_PARTS;
use crate::message::fields::Field;
use crate::message::fields::fields;
use crate::message::parameters::Parameterised;
use crate::message::parameters::parameterised;
use crate::message::parameters::token;
use crate::message::parameters::tokens;

/// A place in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Octets before it, as the message is held.
    pub at: usize,
    /// Octets before it on the wire.
    pub wire: u64,
    /// Lines before it.
    pub lines: u64,
}

/// From one place to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Where it starts.
    pub start: Place,
    /// Where it ends.
    pub end: Place,
}

impl Span {
    /// The bytes of this span.
    #[must_use]
    pub fn of<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        message.get(self.start.at..self.end.at).unwrap_or_default()
    }

    /// Octets on the wire.
    #[must_use]
    pub fn wire_len(&self) -> u64 {
        self.end.wire.saturating_sub(self.start.wire)
    }

    /// Line ends in it.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.end.lines.saturating_sub(self.start.lines)
    }
}

/// What a part's header says about its body; `None` where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MimeFields {
    /// `Content-Type`, whose value is `type/subtype`.
    pub content_type: Option<Parameterised>,
    /// `Content-Transfer-Encoding`.
    pub encoding: Option<Vec<u8>>,
    /// `Content-ID`.
    pub id: Option<Vec<u8>>,
    /// `Content-Description`.
    pub description: Option<Vec<u8>>,
    /// `Content-MD5` (RFC 1864).
    pub md5: Option<Vec<u8>>,
    /// `Content-Disposition` (RFC 2183).
    pub disposition: Option<Parameterised>,
    /// `Content-Language` (RFC 3282).
    pub language: Vec<Vec<u8>>,
    /// `Content-Location` (RFC 2557).
    pub location: Option<Vec<u8>>,
}

/// What a part is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes.
    Leaf,
    /// Parts, one at least.
    Multipart,
    /// Another message: the only child.
    Message,
}

/// One part; the first is the message itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its header with the empty line at the end.
    pub header: Span,
    /// Its body, without the line end that belongs to the boundary after it (RFC 2046 §5.1.1).
    pub body: Span,
    /// What the header says.
    pub fields: MimeFields,
    /// What the body is made of.
    pub kind: Kind,
    /// `type` and `subtype` as they are to be understood, defaults applied.
    pub media: (Vec<u8>, Vec<u8>),
    /// Numbers of the parts within, into [`Structure::parts`].
    pub children: Vec<usize>,
}

impl Part {
    /// Whether the type is this one, compared without case.
    #[must_use]
    pub fn is_type(&self, name: &str) -> bool {
        self.media.0.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// All parts of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    parts: Vec<Part>,
}

impl Structure {
    /// Finds the parts of `message`.
    #[must_use]
    pub fn scan(message: &[u8]) -> Self {
        Scanner::new(message).run()
    }

    /// All of them; every child comes after its parent.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The message itself.
    #[must_use]
    pub fn root(&self) -> &Part {
        // `scan` always makes part 0.
        &self.parts[0]
    }
}

/// What the innermost open part is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Header,
    Body,
}

struct Open {
    part: usize,
    /// The delimiter of a multipart, while it is looked for.
    boundary: Option<Vec<u8>>,
    /// Whether parts of it are `message/rfc822` unless they say otherwise (RFC 2046 §5.1.5).
    digest: bool,
}

struct Scanner<'a> {
    message: &'a [u8],
    parts: Vec<Part>,
    open: Vec<Open>,
    mode: Mode,
    /// Per boundary, which of `open` wait for it; the innermost last.
    boundaries: HashMap<Vec<u8>, Vec<usize>>,
    now: Place,
    /// Before the line end of the last line.
    before_line_end: Place,
}

impl<'a> Scanner<'a> {
    fn new(message: &'a [u8]) -> Self {
        let start = Place::default();
        Self {
            message,
            parts: Vec::new(),
            open: Vec::new(),
            mode: Mode::Header,
            boundaries: HashMap::new(),
            now: start,
            before_line_end: start,
        }
    }

    fn run(mut self) -> Structure {
        self.begin_part(false);
        while self.now.at < self.message.len() {
            let line = self.line();
            if line.starts_with(b"--") && self.delimiter(line) {
                continue;
            }
            let content = line.strip_suffix(b"\n").map_or(line, |l| l.strip_suffix(b"\r").unwrap_or(l));
            self.pass(line, content.len());
            if self.mode == Mode::Header && content.is_empty() {
                self.end_header(self.now);
            }
        }
        let end = self.now;
        self.close_down_to(0, end);
        self.close_innermost(end);
        Structure { parts: self.parts }
    }

    fn line(&self) -> &'a [u8] {
        let rest = &self.message[self.now.at..];
        memchr(b'\n', rest).map_or(rest, |end| &rest[..=end])
    }

    /// Goes past a line whose text without line end has `content` octets.
    fn pass(&mut self, line: &[u8], content: usize) {
        self.before_line_end =
            Place { at: self.now.at + content, wire: self.now.wire + content as u64, lines: self.now.lines };
        let ended = line.ends_with(b"\n");
        self.now = Place {
            at: self.now.at + line.len(),
            wire: self.before_line_end.wire + if ended { 2 } else { 0 },
            lines: self.now.lines + u64::from(ended),
        };
    }

    /// Handles a line that may be a delimiter; `false` where it is none of ours.
    fn delimiter(&mut self, line: &[u8]) -> bool {
        let text = line[2..].trim_ascii_end();
        let waiting = |text: &[u8]| self.boundaries.get(text).and_then(|open| open.last().copied());
        let (depth, closing) = match (waiting(text), text.strip_suffix(b"--").and_then(waiting)) {
            (Some(depth), _) => (depth, false),
            (None, Some(depth)) => (depth, true),
            (None, None) => return false,
        };
        if !closing && self.parts.len() >= MIME_PARTS {
            return false;
        }
        let end = self.before_line_end;
        self.close_down_to(depth, end);
        self.mode = Mode::Body;
        let content = line.len() - line.iter().rev().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        self.pass(line, content);
        if closing {
            self.forget_boundary(depth);
        } else {
            let digest = self.open.get(depth).is_some_and(|o| o.digest);
            self.begin_part(digest);
        }
        true
    }

    fn begin_part(&mut self, digest: bool) {
        let span = Span { start: self.now, end: self.now };
        let number = self.parts.len();
        let default = if digest { ("message", "rfc822") } else { ("text", "plain") };
        self.parts.push(Part {
            header: span,
            body: span,
            fields: MimeFields::default(),
            kind: Kind::Leaf,
            media: (default.0.into(), default.1.into()),
            children: Vec::new(),
        });
        if let Some(parent) = self.open.last() {
            self.parts[parent.part].children.push(number);
        }
        self.open.push(Open { part: number, boundary: None, digest: false });
        self.mode = Mode::Header;
    }

    /// The header of the innermost part is complete: what kind of part is it?
    fn end_header(&mut self, end: Place) {
        let depth = self.open.len();
        let Some(open) = self.open.last_mut() else { return };
        let part = &mut self.parts[open.part];
        part.header.end = end;
        part.body = Span { start: end, end };
        read_mime_fields(part, self.message);
        self.mode = Mode::Body;
        if depth >= MIME_DEPTH {
            if part.is_type("multipart") || is_message(part) {
                part.media = ("application".into(), "octet-stream".into());
            }
            return;
        }
        if part.is_type("multipart") {
            let boundary = part.fields.content_type.as_ref().and_then(|c| c.get("boundary"));
            match boundary.map(<[u8]>::trim_ascii_end).filter(|b| !b.is_empty()) {
                Some(boundary) => {
                    let boundary = boundary.to_vec();
                    part.kind = Kind::Multipart;
                    open.digest = part.media.1.eq_ignore_ascii_case(b"digest");
                    open.boundary = Some(boundary.clone());
                    self.boundaries.entry(boundary).or_default().push(depth - 1);
                }
                // No delimiter, no parts: shown as text, so that a person can read it.
                None => part.media = ("text".into(), "plain".into()),
            }
        } else if is_message(part) && self.parts.len() < MIME_PARTS {
            self.parts[self.open[depth - 1].part].kind = Kind::Message;
            self.begin_part(false);
        }
    }

    fn forget_boundary(&mut self, depth: usize) {
        let Some(boundary) = self.open.get_mut(depth).and_then(|o| o.boundary.take()) else { return };
        if let Some(waiting) = self.boundaries.get_mut(&boundary) {
            waiting.retain(|d| *d != depth);
            if waiting.is_empty() {
                self.boundaries.remove(&boundary);
            }
        }
    }

    /// Closes what is open inside of `depth`.
    fn close_down_to(&mut self, depth: usize, end: Place) {
        while self.open.len() > depth + 1 {
            self.close_innermost(end);
        }
    }

    fn close_innermost(&mut self, end: Place) {
        // A part that ends within its header has no body, but may just have said that it is a multipart.
        if self.mode == Mode::Header {
            let start = self.open.last().map_or(end, |o| self.parts[o.part].header.start);
            let before = self.open.len();
            self.end_header(later(start, end));
            if self.open.len() > before {
                self.mode = Mode::Body;
                self.open.pop();
            }
        }
        let depth = self.open.len().saturating_sub(1);
        self.forget_boundary(depth);
        let Some(open) = self.open.pop() else { return };
        let part = &mut self.parts[open.part];
        part.body.end = later(part.body.start, end);
        if part.kind == Kind::Multipart && part.children.is_empty() {
            self.add_empty_child(open.part);
        }
    }

    /// RFC 3501 §9 `body-type-mpart` has one part at least.
    fn add_empty_child(&mut self, parent: usize) {
        let at = self.parts[parent].body.end;
        let span = Span { start: at, end: at };
        let number = self.parts.len();
        self.parts.push(Part {
            header: span,
            body: span,
            fields: MimeFields::default(),
            kind: Kind::Leaf,
            media: ("text".into(), "plain".into()),
            children: Vec::new(),
        });
        self.parts[parent].children.push(number);
    }
}

fn later(a: Place, b: Place) -> Place {
    if b.at > a.at { b } else { a }
}

/// A nested message that can be looked into: RFC 2046 §5.2.1 forbids to encode it, and what is encoded stays closed.
fn is_message(part: &Part) -> bool {
    let plain = part
        .fields
        .encoding
        .as_ref()
        .is_none_or(|e| [&b"7bit"[..], b"8bit", b"binary"].iter().any(|known| e.eq_ignore_ascii_case(known)));
    // RFC 6532 §3.7.
    let subtype = &part.media.1;
    let known = subtype.eq_ignore_ascii_case(b"rfc822") || subtype.eq_ignore_ascii_case(b"global");
    part.is_type("message") && known && plain
}

fn read_mime_fields(part: &mut Part, message: &[u8]) {
    let header = part.header.of(message);
    let mut found = MimeFields::default();
    for field in fields(header) {
        if field.name.len() > 8 && field.name[..8].eq_ignore_ascii_case(b"content-") {
            read_content_field(&mut found, &field);
        }
    }
    if let Some(content_type) = &found.content_type {
        let mut halves = content_type.value.splitn(2, |b| *b == b'/');
        let kind = halves.next().unwrap_or_default();
        let subtype = halves.next().unwrap_or_default();
        if !kind.is_empty() && !subtype.is_empty() {
            part.media = (kind.to_vec(), subtype.to_vec());
        } else if kind.eq_ignore_ascii_case(b"text") {
            // RFC 2045 §5.2: what cannot be read is text/plain; its parameters may still help.
            part.media = ("text".into(), "plain".into());
        } else {
            part.media = ("text".into(), "plain".into());
            found.content_type = None;
        }
    }
    part.fields = found;
}

fn read_content_field(found: &mut MimeFields, field: &Field<'_>) {
    let text = || Some(field.unfolded()).filter(|t| !t.is_empty());
    if field.is("Content-Type") {
        found.content_type.get_or_insert_with(|| parameterised(field.value));
    } else if field.is("Content-Transfer-Encoding") && found.encoding.is_none() {
        found.encoding = Some(token(field.value)).filter(|t| !t.is_empty());
    } else if field.is("Content-ID") && found.id.is_none() {
        found.id = text();
    } else if field.is("Content-Description") && found.description.is_none() {
        found.description = text();
    } else if field.is("Content-MD5") && found.md5.is_none() {
        found.md5 = text();
    } else if field.is("Content-Disposition") && found.disposition.is_none() {
        found.disposition = Some(parameterised(field.value)).filter(|p| !p.value.is_empty());
    } else if field.is("Content-Language") && found.language.is_empty() {
        found.language = tokens(field.value);
    } else if field.is("Content-Location") && found.location.is_none() {
        found.location = text();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::wire::push_wire_range;
    use crate::message::wire::wire_len;

    /// Type, depth-first, with body text: what a person would draw.
    fn drawn(message: &[u8]) -> String {
        fn draw(s: &Structure, message: &[u8], n: usize, out: &mut String) {
            let part = &s.parts()[n];
            out.push_str(&String::from_utf8_lossy(&part.media.1));
            match part.kind {
                Kind::Leaf => out.push_str(&format!("{:?}", String::from_utf8_lossy(part.body.of(message)))),
                Kind::Multipart | Kind::Message => {
                    out.push('(');
                    for child in &part.children {
                        draw(s, message, *child, out);
                        out.push(' ');
                    }
                    out.pop();
                    out.push(')');
                }
            }
        }
        let structure = Structure::scan(message);
        let mut out = String::new();
        draw(&structure, message, 0, &mut out);
        out
    }

    const NESTED: &str = "Content-Type: multipart/mixed; boundary=\"out\"\n\npreamble\n--out\nContent-Type: \
        multipart/alternative; boundary=outer\n\n--outer\n\na\n--outer  \nContent-Type: text/html\n\n<a>\n--outer--\n\
        --out\nContent-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/mixed; boundary=out2\n\n--out2\n\n\
        deep\n--out2--\n--out--\nepilogue\n--out\nno\n";

    #[test]
    fn structures() {
        for (message, expected) in [
            ("a: b\n\nhello\n", "plain\"hello\\n\""),
            ("a: b\n", "plain\"\""),
            ("", "plain\"\""),
            (NESTED, "mixed(alternative(plain\"a\" html\"<a>\") rfc822(mixed(plain\"deep\")))"),
            // No final boundary: the last part goes to the end.
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n",
                "mixed(plain\"one\" plain\"two\\n\")",
            ),
            // A boundary in the middle of a line, one that is longer, one that is shorter.
            (
                "Content-Type: multipart/mixed; boundary=xyz\n\n--xyz\n\nsee --xyz in\n--xyzz\n--xy\n--xyz--\n",
                "mixed(plain\"see --xyz in\\n--xyzz\\n--xy\")",
            ),
            // Empty parts, with and without the empty line.
            ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b\n--b--\n", "mixed(plain\"\" plain\"\")"),
            ("Content-Type: multipart/mixed; boundary=b\n\nno parts\n", "mixed(plain\"\")"),
            ("Content-Type: multipart/mixed; boundary=b\n", "mixed(plain\"\")"),
            ("Content-Type: multipart/mixed\n\ntext\n", "plain\"text\\n\""),
            ("Content-Type: multipart/digest; boundary=b\n\n--b\n\nA: b\n\nx\n--b--\n", "digest(rfc822(plain\"x\"))"),
            ("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==\n", "rfc822\"QQ==\\n\""),
            ("Content-Type: message/rfc822\n\n", "rfc822(plain\"\")"),
            ("Content-Type: message/rfc822", "rfc822(plain\"\")"),
            ("Content-Type: nonsense\n\nx", "plain\"x\""),
            // The inner one is never closed: the outer's delimiter ends it.
            (
                "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n\
                 --o\n\ny\n--o--\n",
                "mixed(mixed(plain\"x\") plain\"y\")",
            ),
            // One boundary used twice: the inner one has it until it is closed.
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n\
                 --b--\n--b\n\ny\n--b--\n",
                "mixed(mixed(plain\"x\") plain\"y\")",
            ),
            ("Content-Type: multipart/mixed; boundary=\"b--\"\n\n--b--\n\nx\n--b----\nz", "mixed(plain\"x\")"),
        ] {
            assert_eq!(drawn(message.as_bytes()), expected, "{message}");
            let crlf = message.replace('\n', "\r\n");
            assert_eq!(drawn(crlf.as_bytes()).replace("\\r\\n", "\\n"), expected, "CRLF {message}");
        }
    }

    #[test]
    fn both_line_ends_give_equal_wire_sizes() {
        for message in [NESTED, "a: b\n\nhello\nworld", "", "\n\n\n", "Content-Type: multipart/x; boundary=b\n\n--b"] {
            let lf = Structure::scan(message.as_bytes());
            let mut crlf = Vec::new();
            push_wire_range(&mut crlf, message.as_bytes(), 0, u64::MAX);
            let other = Structure::scan(&crlf);
            let sizes = |s: &Structure| -> Vec<(u64, u64, u64, u64)> {
                s.parts()
                    .iter()
                    .map(|p| (p.header.wire_len(), p.header.lines(), p.body.wire_len(), p.body.lines()))
                    .collect()
            };
            assert_eq!(sizes(&lf), sizes(&other), "{message}");
            for part in lf.parts() {
                assert_eq!(part.body.wire_len(), wire_len(part.body.of(message.as_bytes())));
                assert_eq!(part.header.wire_len(), wire_len(part.header.of(message.as_bytes())));
            }
        }
    }

    #[test]
    fn cut_anywhere_it_holds_together() {
        for end in 0..NESTED.len() {
            let message = &NESTED.as_bytes()[..end];
            let structure = Structure::scan(message);
            for (n, part) in structure.parts().iter().enumerate() {
                assert!(part.header.start.at <= part.header.end.at && part.header.end.at <= part.body.start.at);
                assert!(part.body.start.at <= part.body.end.at && part.body.end.at <= end);
                assert!(part.children.iter().all(|c| *c > n));
                assert_eq!(part.kind == Kind::Leaf, part.children.is_empty());
                assert_eq!(part.body.wire_len(), wire_len(part.body.of(message)));
            }
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let mut deep = String::new();
        for n in 0..1000 {
            deep.push_str(&format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"));
        }
        assert_eq!(Structure::scan(deep.as_bytes()).parts().len(), MIME_DEPTH);
        let nested = "Content-Type: message/rfc822\n\n".repeat(1000);
        assert_eq!(Structure::scan(nested.as_bytes()).parts().len(), MIME_DEPTH);
        let wide = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\n".repeat(20_000));
        assert_eq!(Structure::scan(wide.as_bytes()).parts().len(), MIME_PARTS);
    }

    #[test]
    fn what_the_header_says() {
        let message =
            b"Content-Type: Text/HTML; charset=\"utf-8\"\nContent-Transfer-Encoding: BASE64\nContent-ID: <a@b>\n\
            Content-Description: d\n e\nContent-MD5: x\nContent-Disposition: attachment; filename=f\n\
            Content-Language: en, de\nContent-Location: http://x\nContent-Type: text/second\n\nx";
        let structure = Structure::scan(message);
        let root = structure.root();
        assert_eq!(root.media, (b"Text".to_vec(), b"HTML".to_vec()));
        assert_eq!(root.fields.encoding.as_deref(), Some(&b"BASE64"[..]));
        assert_eq!(root.fields.id.as_deref(), Some(&b"<a@b>"[..]));
        assert_eq!(root.fields.description.as_deref(), Some(&b"d e"[..]));
        assert_eq!(root.fields.disposition.as_ref().and_then(|d| d.get("FILENAME")), Some(&b"f"[..]));
        assert_eq!(root.fields.language, [b"en".to_vec(), b"de".to_vec()]);
        assert_eq!(root.fields.location.as_deref(), Some(&b"http://x"[..]));
    }
}
