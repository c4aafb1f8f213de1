//! The text of a message on the wire: dots and line ends (RFC 5321 §4.5.2), in both directions.
//!
//! [`Incoming`] takes what a client sends after 354, or in chunks, and gives lines ended by LF; [`Outgoing`] does the
//! reverse of the former. In every
//! mode only CRLF.CRLF ends the data: whatever else looks like an end is text (or, by default, a reason to refuse the
//! message), so that no two servers can disagree on where a message stops (SMTP smuggling, CVE-2023-51764). Knows
//! nothing of headers, and keeps nothing.
//!
//! ```text
//! Start --'.'--> Dot --CR--> DotCr --LF--> the end
//!   ^ \            |            |
//!   |  other       other        other (a CR alone)
//!   |   v          v            v
//!   |  Text <------+------------+
//!   |   |  ^
//!   |   CR  other (a CR alone)      a LF alone in Text stays in Text
//!   |   v  |
//!   +- Cr -+
//!   LF
//! ```

use memchr::memchr2;

/// What to do with a CR or LF that stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewline {
    /// Read on to the true end, then refuse the message.
    Reject,
    /// Take it for the end of a line, but never for a part of the end of data.
    Normalise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// After CRLF, or at the very start.
    Start,
    /// After CRLF and a dot.
    Dot,
    /// After CRLF, a dot and CR.
    DotCr,
    /// Within a line.
    Text,
    /// Within a line, after CR.
    Cr,
}

/// Reads the data of one message.
#[derive(Debug)]
pub struct Incoming {
    place: Place,
    bare: BareNewline,
    bare_seen: bool,
    most: u64,
    octets: u64,
    line: u64,
    longest: u64,
}

/// How far a piece of input went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Fed {
    /// Octets of the input that belong to the message; what follows is the next command.
    pub used: usize,
    /// Whether the end of data was among them.
    pub ended: bool,
}

impl Incoming {
    /// At the start of data. A message of more than `most` octets is read on but no longer given out.
    #[must_use]
    pub fn new(bare: BareNewline, most: u64) -> Self {
        Self { place: Place::Start, bare, bare_seen: false, most, octets: 0, line: 0, longest: 0 }
    }

    /// Octets that came, as they were on the wire.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether more came than may come.
    #[must_use]
    pub fn is_too_big(&self) -> bool {
        self.octets > self.most
    }

    /// Whether the message is refused for a CR or LF that stands alone.
    #[must_use]
    pub fn has_refused_newline(&self) -> bool {
        self.bare_seen && self.bare == BareNewline::Reject
    }

    /// Octets of the longest line, without its end.
    #[must_use]
    pub fn longest_line(&self) -> u64 {
        self.longest.max(self.line)
    }

    /// Takes a piece and appends to `out` what is text. A message that is refused already gives nothing more.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Fed {
        let mut at = 0;
        let mut ended = false;
        while at < input.len() && !ended {
            let (place, used) = match self.place {
                Place::Start if input[at] == b'.' => (Place::Dot, 1),
                Place::Start => (Place::Text, 0),
                Place::Dot if input[at] == b'\r' => (Place::DotCr, 1),
                // RFC 5321 §4.5.2: the dot at the start of a line that goes on is dropped.
                Place::Dot => (Place::Text, 0),
                Place::DotCr if input[at] == b'\n' => {
                    ended = true;
                    (Place::Start, 1)
                }
                Place::Cr if input[at] == b'\n' => {
                    self.end_line(out);
                    (Place::Start, 1)
                }
                Place::DotCr | Place::Cr => {
                    self.bare(out);
                    (Place::Text, 0)
                }
                Place::Text => self.text(&input[at..], out),
            };
            self.place = place;
            at += used;
        }
        self.octets = self.octets.saturating_add(at as u64);
        Fed { used: at, ended }
    }

    /// Takes a piece of a chunk (RFC 3030 §2): its end is told by counting, so that no dot has a meaning. A CRLF may
    /// be split between two chunks.
    pub fn feed_chunk(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        while at < input.len() {
            let (place, used) = match self.place {
                Place::Cr if input[at] == b'\n' => {
                    self.end_line(out);
                    (Place::Start, 1)
                }
                Place::Cr => {
                    self.bare(out);
                    (Place::Text, 0)
                }
                Place::Start | Place::Dot | Place::DotCr | Place::Text => self.text(&input[at..], out),
            };
            self.place = place;
            at += used;
        }
        self.octets = self.octets.saturating_add(input.len() as u64);
    }

    /// The last chunk is there. A last line without an end gets one.
    pub fn finish_chunks(&mut self, out: &mut Vec<u8>) {
        if self.place == Place::Cr {
            self.bare(out);
        } else if self.line > 0 {
            self.end_line(out);
        }
        self.place = Place::Start;
    }

    /// Text up to and with the next CR or LF.
    fn text(&mut self, input: &[u8], out: &mut Vec<u8>) -> (Place, usize) {
        let found = memchr2(b'\r', b'\n', input);
        let text = &input[..found.unwrap_or(input.len())];
        self.line += text.len() as u64;
        if self.wanted() {
            out.extend_from_slice(text);
        }
        match found {
            Some(end) if input[end] == b'\r' => (Place::Cr, end + 1),
            Some(end) => {
                self.bare(out);
                (Place::Text, end + 1)
            }
            None => (Place::Text, input.len()),
        }
    }

    /// A CR or LF that stands alone.
    fn bare(&mut self, out: &mut Vec<u8>) {
        self.bare_seen = true;
        self.end_line(out);
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.longest = self.longest.max(self.line);
        self.line = 0;
        if self.wanted() {
            out.push(b'\n');
        }
    }

    fn wanted(&self) -> bool {
        !self.is_too_big() && !self.has_refused_newline()
    }
}

/// Writes a message, kept with LF, as data: CRLF, dots doubled, and the end.
#[derive(Debug)]
pub struct Outgoing {
    /// The last octet was the end of a line, or there was none.
    line_start: bool,
    /// The last octet was a CR, which may be half a line end in a message kept with CRLF.
    after_cr: bool,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::new()
    }
}

impl Outgoing {
    /// At the start of a message.
    #[must_use]
    pub fn new() -> Self {
        Self { line_start: true, after_cr: false }
    }

    /// Appends a piece of the message to `out`. A CR that stands alone comes out as a line end, since nobody takes it
    /// as it is.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some(&first) = rest.first() {
            if self.after_cr {
                self.after_cr = false;
                out.extend_from_slice(b"\r\n");
                self.line_start = true;
                if first == b'\n' {
                    rest = &rest[1..];
                }
                continue;
            }
            if self.line_start && first == b'.' {
                out.push(b'.');
            }
            let found = memchr2(b'\r', b'\n', rest);
            let end = found.unwrap_or(rest.len());
            out.extend_from_slice(&rest[..end]);
            self.line_start = false;
            if found.is_some_and(|at| rest[at] == b'\n') {
                out.extend_from_slice(b"\r\n");
                self.line_start = true;
            } else {
                self.after_cr = found.is_some();
            }
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }

    /// Appends the end of data, after ending a line that is open.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.after_cr || !self.line_start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, whether it ended, whether it was refused, and what was left over.
    fn read(bare: BareNewline, pieces: &[&[u8]]) -> (Vec<u8>, bool, bool, usize) {
        let mut incoming = Incoming::new(bare, 1 << 20);
        let mut out = Vec::new();
        let mut ended = false;
        let mut left = 0;
        for piece in pieces {
            if ended {
                left += piece.len();
                continue;
            }
            let fed = incoming.feed(piece, &mut out);
            ended = fed.ended;
            left += piece.len() - fed.used;
        }
        (out, ended, incoming.has_refused_newline(), left)
    }

    #[test]
    fn dots_and_line_ends() {
        for (input, wanted) in [
            (&b".\r\n"[..], &b""[..]),
            (b"\r\n.\r\n", b"\n"),
            (b"a\r\nb\r\n.\r\n", b"a\nb\n"),
            (b"..\r\n.\r\n", b".\n"),
            (b"..a\r\n...\r\n.b\r\n.\r\n", b".a\n..\nb\n"),
            (b"a.\r\n.\r\n", b"a.\n"),
            (b"\0\xff\r\n.\r\n", b"\0\xff\n"),
        ] {
            for cut in 0..=input.len() {
                let (out, ended, refused, left) = read(BareNewline::Reject, &[&input[..cut], &input[cut..]]);
                assert_eq!(
                    (out.as_slice(), ended, refused, left),
                    (wanted, true, false, 0),
                    "{}",
                    input.escape_ascii()
                );
            }
        }
    }

    /// Everything that some server somewhere takes for the end of data, and whether a CR or LF stands alone in it.
    const FALSE_ENDS: [(&[u8], bool); 13] = [
        (b"\n.\n", true),
        (b"\n.\r\n", true),
        (b"\r.\r", true),
        (b"\r\n.\r", true),
        (b"\r\n.\n", true),
        (b"\r.\n", true),
        (b"\n.\r", true),
        (b"\r.\r\n", true),
        (b"\r\n\0.\r\n", false),
        (b"\r\n.\0\r\n", false),
        (b"\r\n..\r\n", false),
        (b"\r\n .\r\n", false),
        (b"\r\n.\x0b\r\n", false),
    ];

    #[test]
    fn smuggling_false_ends_do_not_end_data() {
        for (end, alone) in FALSE_ENDS {
            let input = [b"outer", end, b"MAIL FROM:<evil@x>\r\n", b".\r\nQUIT\r\n"].concat();
            for cut in 0..=input.len() {
                for bare in [BareNewline::Reject, BareNewline::Normalise] {
                    let (out, ended, refused, left) = read(bare, &[&input[..cut], &input[cut..]]);
                    let name = end.escape_ascii();
                    assert!(ended && left == 6, "{name} cut at {cut}: only QUIT is left");
                    assert_eq!(refused, alone && bare == BareNewline::Reject, "{name}");
                    if !refused {
                        assert!(out.ends_with(b"MAIL FROM:<evil@x>\n"), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn smuggling_normalised_text_has_no_end_of_data_when_sent_on() {
        for (end, _) in FALSE_ENDS {
            let input = [b"outer", end, b"inner\r\n.\r\n"].concat();
            let (kept, ..) = read(BareNewline::Normalise, &[&input]);
            let mut sent = Vec::new();
            let mut outgoing = Outgoing::new();
            outgoing.feed(&kept, &mut sent);
            outgoing.finish(&mut sent);
            let first = memchr::memmem::find(&sent, b"\r\n.\r\n").expect("the end");
            assert_eq!(first + 5, sent.len(), "{}", end.escape_ascii());
            assert!(!memchr::memchr_iter(b'\n', &sent).any(|at| at == 0 || sent[at - 1] != b'\r'));
        }
    }

    #[test]
    fn bare_newlines_end_lines_where_they_are_normalised() {
        let (out, ended, ..) = read(BareNewline::Normalise, &[b"a\nb\rc\r\r\n.d\n.\ne\r\n.\r\n"]);
        assert_eq!((out.as_slice(), ended), (&b"a\nb\nc\n\nd\n.\ne\n"[..], true));
    }

    #[test]
    fn unbounded_input_is_counted_and_not_given_out() {
        let mut incoming = Incoming::new(BareNewline::Reject, 10);
        let mut out = Vec::new();
        let fed = incoming.feed(b"12345678\r\n", &mut out);
        assert_eq!((fed.used, incoming.is_too_big()), (10, false));
        let fed = incoming.feed(b"9", &mut out);
        assert_eq!((fed.used, incoming.is_too_big()), (1, true));
        let before = out.len();
        let fed = incoming.feed(b"more\r\n.\r\nQUIT", &mut out);
        assert!(fed.ended && fed.used == 9 && out.len() == before);
        assert_eq!(incoming.longest_line(), 8);
    }

    #[test]
    fn chunks_have_no_dots_and_lines_may_be_split_between_them() {
        for (input, wanted, refused) in [
            (&b""[..], &b""[..], false),
            (b"a\r\n.\r\n..b\r\n", b"a\n.\n..b\n", false),
            (b"no end", b"no end\n", false),
            (b"a\r\n\r\n", b"a\n\n", false),
            (b"a\nb\r\n", b"a\nb\n", true),
            (b"a\rb\r\n", b"a\nb\n", true),
            (b"a\r\nb\r", b"a\nb\n", true),
            (b"\r\n\0.\r\n", b"\n\0.\n", false),
        ] {
            for cut in 0..=input.len() {
                let mut incoming = Incoming::new(BareNewline::Normalise, 1 << 20);
                let mut out = Vec::new();
                incoming.feed_chunk(&input[..cut], &mut out);
                incoming.feed_chunk(&input[cut..], &mut out);
                incoming.finish_chunks(&mut out);
                assert_eq!(
                    (out.as_slice(), incoming.octets()),
                    (wanted, input.len() as u64),
                    "{}",
                    input.escape_ascii()
                );
                let mut strict = Incoming::new(BareNewline::Reject, 1 << 20);
                strict.feed_chunk(input, &mut Vec::new());
                strict.finish_chunks(&mut Vec::new());
                assert_eq!(strict.has_refused_newline(), refused, "{}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_sent_is_what_was_kept() {
        for kept in [&b""[..], b"a\n", b".\n", b"..\n.a\n\n", b"no end", b"a\r\nb\r\n", b"a\rb\n", b"x\r", b"\0\n"] {
            let mut whole = Vec::new();
            let mut outgoing = Outgoing::new();
            outgoing.feed(kept, &mut whole);
            outgoing.finish(&mut whole);
            for cut in 0..=kept.len() {
                let mut sent = Vec::new();
                let mut outgoing = Outgoing::new();
                outgoing.feed(&kept[..cut], &mut sent);
                outgoing.feed(&kept[cut..], &mut sent);
                outgoing.finish(&mut sent);
                assert_eq!(sent, whole, "{} cut at {cut}", kept.escape_ascii());
            }
            let (back, ended, refused, left) = read(BareNewline::Reject, &[&whole]);
            assert!(ended && !refused && left == 0);
            let mut wanted = String::from_utf8_lossy(kept).replace("\r\n", "\n").replace('\r', "\n").into_bytes();
            if !wanted.is_empty() && !wanted.ends_with(b"\n") {
                wanted.push(b'\n');
            }
            assert_eq!(back, wanted, "{}", kept.escape_ascii());
        }
    }
}
