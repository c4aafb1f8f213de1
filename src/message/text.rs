//! What a message says: its header fields and its text parts, decoded, as SEARCH looks at them (RFC 9051 §6.4.4).
//!
//! Text parts are all `text/*` and what is in `message/*`; HTML is its source, as in Dovecot, so that nothing that is
//! there is missed. Attachments that are no text are not decoded. Goes through a message part by part and through a
//! large part piece by piece: the decoded message is never held. Parts are those of [`crate::message::mime`], with
//! its bounds.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use memchr::memmem;

use super::casemap::Needle;
use super::casemap::push_prepared;
use super::decode;
use super::decode::Base64;
use super::decode::TextDecoder;
use super::extended;
use super::fields::Field;
use super::fields::fields;
use super::fields::header_len;
use super::mime::Kind;
use super::mime::Part;
use super::mime::Structure;
use super::parameters::parameterised;
use super::sieve::SieveMaker;
use crate::mail::limits::HEADER_OCTETS;
use crate::mail::limits::TEXT_PIECE_OCTETS;

/// Octets of a text that wait for the next piece, so that no mark is parted from its character; no honest word of them
/// is longer.
const WAITING_OCTETS: usize = 256;

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A field of the message's header.
    Header,
    /// A field of the header of one of its parts.
    PartHeader,
    /// A field of the header of a message within: part of the body of the one around it.
    Enclosed,
    /// A text part.
    Body,
}

/// A text, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Where it stands.
    pub place: Place,
    /// Whether it goes on where the piece before ended.
    pub continues: bool,
    /// Decoded.
    pub text: &'a str,
}

/// Who reads texts.
pub trait Reader {
    /// Whether texts of this place are wanted; others are not decoded.
    fn wants(&self, place: Place) -> bool;
    /// The next text; `Break` ends the reading.
    fn read(&mut self, piece: Piece<'_>) -> ControlFlow<()>;
}

/// Goes through the texts of a message, whose lines end with LF or CRLF. Fields are given as `Name: value`.
pub fn read(message: &[u8], reader: &mut impl Reader) -> ControlFlow<()> {
    if ![Place::PartHeader, Place::Enclosed, Place::Body].into_iter().any(|place| reader.wants(place)) {
        return read_header(&message[..header_len(message)], Place::Header, reader);
    }
    let structure = Structure::scan(message);
    let mut enclosed = vec![false; structure.parts().len()];
    for (n, part) in structure.parts().iter().enumerate() {
        if part.kind == Kind::Message {
            part.children.iter().for_each(|child| enclosed[*child] = true);
        }
        let place = match (n, enclosed[n]) {
            (0, _) => Place::Header,
            (_, true) => Place::Enclosed,
            _ => Place::PartHeader,
        };
        read_header(part.header.of(message), place, reader)?;
        if part.kind == Kind::Leaf && (part.is_type("text") || part.is_type("message")) && reader.wants(Place::Body) {
            read_body(part, part.body.of(message), reader)?;
        }
    }
    ControlFlow::Continue(())
}

fn read_header(header: &[u8], place: Place, reader: &mut impl Reader) -> ControlFlow<()> {
    if !reader.wants(place) {
        return ControlFlow::Continue(());
    }
    let mut line = String::new();
    for field in fields(header) {
        line.clear();
        // The names of fields are ASCII.
        line.push_str(std::str::from_utf8(field.name).unwrap_or_default());
        line.push_str(": ");
        let value = unfolded(&field);
        line.push_str(&value_text(&value));
        push_extended(&value, &mut line);
        reader.read(Piece { place, continues: false, text: &line })?;
    }
    ControlFlow::Continue(())
}

/// The value without line ends. A fold is one blank where it was a tab, as it was when the line was folded.
fn unfolded<'a>(field: &Field<'a>) -> Cow<'a, [u8]> {
    let value = field.value.trim_ascii();
    let value = &value[..value.len().min(HEADER_OCTETS)];
    if !value.contains(&b'\n') {
        return Cow::Borrowed(value);
    }
    let mut previous = 0;
    let mut kept = Vec::with_capacity(value.len());
    for &b in value {
        match b {
            b'\r' | b'\n' => {}
            b'\t' if previous == b'\n' => kept.push(b' '),
            b => kept.push(b),
        }
        previous = b;
    }
    Cow::Owned(kept)
}

fn value_text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) if memmem::find(value, b"=?").is_none() => Cow::Borrowed(text),
        _ => Cow::Owned(decode::header_text(value)),
    }
}

/// Appends the parameters that are written as RFC 2231 has them, once more and readable.
fn push_extended(value: &[u8], out: &mut String) {
    if memmem::find(value, b"*=").is_none() {
        return;
    }
    for (name, text) in extended::parameters(&parameterised(value)) {
        out.push_str("; ");
        out.push_str(&name);
        out.push('=');
        out.push_str(&text);
    }
}

/// How a body is encoded.
enum Transfer {
    Plain,
    Base64(Base64),
    QuotedPrintable,
}

impl Transfer {
    fn named(name: Option<&[u8]>) -> Self {
        match name {
            Some(name) if name.eq_ignore_ascii_case(b"base64") => Self::Base64(Base64::default()),
            Some(name) if name.eq_ignore_ascii_case(b"quoted-printable") => Self::QuotedPrintable,
            _ => Self::Plain,
        }
    }

    /// How much of `rest` to take at once.
    fn take(&self, rest: &[u8]) -> usize {
        let most = rest.len().min(TEXT_PIECE_OCTETS);
        if most == rest.len() || !matches!(self, Self::QuotedPrintable) {
            return most;
        }
        // Nothing that begins with `=` goes past a line end, nor past two octets within a line.
        let line = memchr::memrchr(b'\n', &rest[..most]).map(|end| end + 1);
        line.unwrap_or_else(|| memchr::memrchr(b'=', &rest[most - 2..most]).map_or(most, |at| most - 2 + at))
    }

    fn decode<'a>(&mut self, octets: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Self::Plain => Cow::Borrowed(octets),
            Self::Base64(state) => {
                let mut out = Vec::with_capacity(octets.len() / 4 * 3 + 3);
                state.decode(octets, &mut out);
                Cow::Owned(out)
            }
            Self::QuotedPrintable => Cow::Owned(decode::quoted_printable(octets)),
        }
    }
}

fn read_body(part: &Part, body: &[u8], reader: &mut impl Reader) -> ControlFlow<()> {
    let charset = part.fields.content_type.as_ref().and_then(|c| c.get("charset"));
    let mut transfer = Transfer::named(part.fields.encoding.as_deref());
    let mut decoder = TextDecoder::new(charset);
    let mut rest = body;
    let mut text = String::new();
    let mut continues = false;
    loop {
        let (now, after) = rest.split_at(transfer.take(rest));
        rest = after;
        let octets = transfer.decode(now);
        let last = rest.is_empty();
        if last
            && !continues
            && let Some(text) = decoder.as_it_is(&octets)
        {
            return reader.read(Piece { place: Place::Body, continues, text });
        }
        decoder.decode(&octets, last, &mut text);
        if last {
            return reader.read(Piece { place: Place::Body, continues, text: &text });
        }
        let ready = text.bytes().rposition(|b| b.is_ascii()).map_or(0, |at| at + 1);
        let ready = if text.len() - ready > WAITING_OCTETS { text.len() } else { ready };
        reader.read(Piece { place: Place::Body, continues, text: &text[..ready] })?;
        text.drain(..ready);
        continues = true;
    }
}

/// Whether a header has a field of this name with the text in it, after the colon. An empty text asks for the field
/// alone (RFC 9051 §6.4.4). `room` is overwritten; who looks at many headers brings the same one again.
pub fn field_has(header: &[u8], name: &str, needle: &Needle, room: &mut Vec<u8>) -> bool {
    fields(header).filter(|field| field.is(name)).any(|field| {
        let value = unfolded(&field);
        room.clear();
        push_prepared(&value_text(&value), room);
        if needle.is_in(room) {
            return true;
        }
        let mut extended = String::new();
        push_extended(&value, &mut extended);
        room.clear();
        push_prepared(&extended, room);
        needle.is_in(room)
    })
}

/// A text that is looked for in messages.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What.
    pub needle: Needle,
    /// In all header fields as well (`TEXT`), not in the body alone (`BODY`).
    pub in_header: bool,
}

/// Looks for several texts in one go; kept from message to message for its memory.
#[derive(Debug, Default)]
pub struct Finder {
    prepared: Vec<u8>,
    found: Vec<bool>,
    maker: SieveMaker,
}

impl Finder {
    /// Looks for all the texts in a message; says whether it has every one. Looks no further, and nothing of this may be
    /// believed, once `given_up` is set.
    pub fn find(&mut self, message: &[u8], wanted: &[Wanted], given_up: &AtomicBool) -> bool {
        self.found.clear();
        self.found.extend(wanted.iter().map(|w| w.needle.is_empty()));
        let longest = wanted.iter().map(|w| w.needle.len()).max().unwrap_or(0);
        let in_header = wanted.iter().any(|w| w.in_header);
        let mut looking = Looking { finder: self, wanted, longest, in_header, sieve: false, given_up };
        looking.is_done() || (read(message, &mut looking).is_break() && looking.is_done())
    }

    /// As [`Finder::find`], but goes through the whole message and gives the [`super::sieve`] of its texts; `None` where
    /// there is too much for one, or it was given up.
    pub fn find_all(&mut self, message: &[u8], wanted: &[Wanted], given_up: &AtomicBool) -> Option<Vec<u8>> {
        self.found.clear();
        self.found.extend(wanted.iter().map(|w| w.needle.is_empty()));
        self.maker.clear();
        let longest = wanted.iter().map(|w| w.needle.len()).max().unwrap_or(0).max(SIEVE_OVERLAP + 1);
        let mut looking = Looking { finder: self, wanted, longest, in_header: true, sieve: true, given_up };
        let whole = read(message, &mut looking).is_continue();
        whole.then(|| self.maker.make()).flatten()
    }

    /// Whether the message that was looked at last has the text of this place.
    #[must_use]
    pub fn has(&self, n: usize) -> bool {
        self.found.get(n).copied().unwrap_or(false)
    }
}

/// Octets of a piece that the next one repeats for [`SieveMaker::add`].
const SIEVE_OVERLAP: usize = 2;

struct Looking<'a> {
    finder: &'a mut Finder,
    wanted: &'a [Wanted],
    longest: usize,
    in_header: bool,
    /// Whether a sieve is made, and the message read to its end.
    sieve: bool,
    given_up: &'a AtomicBool,
}

impl Looking<'_> {
    fn is_done(&self) -> bool {
        self.finder.found.iter().all(|found| *found)
    }
}

impl Reader for Looking<'_> {
    fn wants(&self, place: Place) -> bool {
        self.in_header || matches!(place, Place::Body | Place::Enclosed)
    }

    fn read(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
        let prepared = &mut self.finder.prepared;
        if piece.continues {
            // What was found there was found; what began there may end here.
            let keep = prepared.len().min(self.longest.saturating_sub(1));
            prepared.drain(..prepared.len() - keep);
        } else {
            prepared.clear();
        }
        push_prepared(piece.text, prepared);
        if self.sieve {
            self.finder.maker.add(prepared);
        }
        let is_header = matches!(piece.place, Place::Header | Place::PartHeader);
        for (found, wanted) in self.finder.found.iter_mut().zip(self.wanted) {
            if !*found && (wanted.in_header || !is_header) {
                *found = wanted.needle.is_in(prepared);
            }
        }
        let ends = (!self.sieve && self.is_done()) || self.given_up.load(Ordering::Relaxed);
        if ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::sieve::may_have;

    fn finds(message: &[u8], text: &str, in_header: bool) -> bool {
        let mut finder = Finder::default();
        let found = finder.find(message, &[Wanted { needle: Needle::new(text), in_header }], &AtomicBool::new(false));
        assert_eq!(found, finder.has(0));
        let wanted = [Wanted { needle: Needle::new(text), in_header }];
        let sieve = finder.find_all(message, &wanted, &AtomicBool::new(false));
        assert_eq!(found, finder.has(0), "{text:?} by going through all");
        assert!(!found || sieve.is_none_or(|sieve| may_have(&sieve, &wanted[0].needle)), "{text:?} kept out");
        found
    }

    /// Whether `BODY text` finds the message, whose lines may end either way.
    fn in_body(message: &[u8], text: &str) -> bool {
        let crlf = String::from_utf8_lossy(message).replace("\r\n", "\n").replace('\n', "\r\n");
        let found = finds(message, text, false);
        if message.is_ascii() {
            assert_eq!(found, finds(crlf.as_bytes(), text, false), "{text:?} with CRLF");
        }
        found
    }

    fn part(fields: &str, body: &[u8]) -> Vec<u8> {
        [b"Subject: x\n", fields.as_bytes(), b"\n\n", body].concat()
    }

    #[test]
    fn bodies_in_all_charsets_and_encodings() {
        let text = |charset: &str| format!("Content-Type: text/plain; charset=\"{charset}\"");
        let encoded = |charset: &str, how: &str| format!("{}\nContent-Transfer-Encoding: {how}", text(charset));
        for (fields, body, needle) in [
            ("X: y".to_owned(), &b"in Zanzibar"[..], "anziba"),
            (text("iso-8859-1"), b"in K\xf6ln", "KÖLN"),
            (text("utf-8"), "I\u{307}stanbul".as_bytes(), "İSTANBUL"),
            (text("utf-8"), "Straße".as_bytes(), "straße"),
            (text("utf-8"), "ο Οδυσσεύς".as_bytes(), "ΟΔΥΣΣΕΎΣ"),
            (text("utf-8"), "cafe\u{301} noir".as_bytes(), "CAFÉ N"),
            (text("ISO-2022-JP"), b"\x1b$BF|K\\8l\x1b(B ok", "日本語 OK"),
            (text("koi8-r"), b"\xf0\xd2\xc9\xd7\xc5\xd4", "привет"),
            (text("gb18030"), b"\xd6\xd0\xce\xc4", "中文"),
            (text("utf-7"), b"Hi +ZeVnLIqe-!", "日本語!"),
            (text("windows-1251"), b"\xcf\xf0\xe8", "при"),
            (text("no-such"), b"a\xfcb", "aüb"),
            (text("us-ascii"), "Ü".as_bytes(), "ü"),
            ("X: y".to_owned(), b"\xdcber", "über"),
            (encoded("utf-8", "base64"), b"R3LD\nvMOf\nZSBh\nbiBh\nbGxl\n", "GRÜßE AN ALLE"),
            (encoded("utf-8", "base64"), b"R3LDvMOfZSBhbiBhbGxl", "üßE an"),
            (encoded("utf-8", "BASE64 (usual)"), b"R3LDvMOfZSBhbiBhbGxl", "grü"),
            (encoded("utf-8", "quoted-printable"), b"Gr=C3=\n=BC=C3=9F=\ne an a=\nlle", "grüße an alle"),
            (encoded("iso-8859-1", "quoted-printable"), b"K=F6ln am Rh= \nein", "köln am rhein"),
            (encoded("utf-16le", "base64"), b"R/xyAA==", "\u{fc47}r"),
            ("Content-Type: text/html".to_owned(), b"<p class=note>x&amp;y</p>", "P CLASS"),
            ("Content-Type: text/x-unheard".to_owned(), b"needle", "needle"),
            ("Content-Type: multipart/mixed".to_owned(), b"no boundary: needle", "needle"),
            ("Content-Type: text/plain; format=flowed".to_owned(), b"soft \nend", "soft \nend"),
            ("Content-Type: text/plain; format=flowed".to_owned(), b"soft \nend", "soft \r\nend"),
            ("Content-Type: text/plain".to_owned(), b"", ""),
        ] {
            assert!(in_body(&part(&fields, body), needle), "{needle:?} in {fields:?}");
            assert!(!in_body(&part(&fields, body), &format!("{needle}#")), "{needle:?}# in {fields:?}");
        }
        for fields in ["Content-Type: application/pdf", "Content-Type: image/png\nContent-Transfer-Encoding: base64"] {
            assert!(!in_body(&part(fields, b"needle"), "needle"), "{fields}");
        }
        assert!(!in_body(&part("X: y", b"text"), "subject"));
    }

    /// A text part of several pieces finds what stands across their borders.
    #[test]
    fn pieces_hide_nothing() {
        let words = "\u{e4}lteste Stra\u{df}e, \u{65e5}\u{672c}\u{8a9e} a\u{323}\u{302} ".repeat(6000);
        let mut quoted = String::new();
        for (n, b) in words.bytes().enumerate() {
            quoted.push_str(&format!("={b:02X}"));
            if n % 20 == 19 {
                quoted.push_str("=\n");
            }
        }
        let base64 = data_encoding::BASE64.encode(words.as_bytes());
        let one_line = quoted.replace("=\n", "");
        for (how, body) in [
            ("8bit", words.as_str()),
            ("quoted-printable", &quoted),
            ("quoted-printable", &one_line),
            ("base64", &base64),
        ] {
            assert!(body.len() > 3 * TEXT_PIECE_OCTETS);
            for charset in ["utf-8", "us-ascii"] {
                let fields = format!("Content-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {how}");
                let message = part(&fields, body.as_bytes());
                let everything = Collected::of(&message);
                assert!(everything.pieces > 2);
                assert!(everything.body == words, "{how} {charset}");
                for needle in ["ÄLTESTE STRAßE", "日本語 \u{1ead} ä"] {
                    assert!(finds(&message, needle, false));
                }
                let long = &words[words.len() / 6000 * 4000..];
                assert!(finds(&message, long, false), "a needle longer than most pieces");
                assert!(!finds(&message, &format!("x{long}"), false));
            }
        }
    }

    #[derive(Default)]
    struct Collected {
        body: String,
        pieces: usize,
    }

    impl Collected {
        fn of(message: &[u8]) -> Self {
            let mut collected = Self::default();
            assert!(read(message, &mut collected).is_continue());
            collected
        }
    }

    impl Reader for Collected {
        fn wants(&self, place: Place) -> bool {
            place == Place::Body
        }

        fn read(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
            assert_eq!(piece.continues, self.pieces > 0);
            assert!(piece.text.len() <= 4 * TEXT_PIECE_OCTETS);
            self.body.push_str(piece.text);
            self.pieces += 1;
            ControlFlow::Continue(())
        }
    }

    #[test]
    fn header_fields() {
        let header = "Subject: =?utf-8?B?w7w=?= =?utf-8?Q?a=C3?=\n =?utf-8?Q?=BC?= b\nUser-Agent: Some-Mailer/1.0\n\
            X-Long: one\n\ttwo\n three\nX-Empty:\nX-Raw: Gr\u{fc}\u{df}e\nContent-Disposition: attachment;\n \
            filename*0*=utf-8''Gr%C3;\n filename*1*=%BC%C3%9Fe.pdf\nSubject: second\n\n";
        for (name, text, expected) in [
            ("subject", "ÜAÜ B", true),
            ("SUBJECT", "second", true),
            ("subject", "subject", false),
            ("subject", "üaü b\nuser", false),
            ("user-agent", "mailer", true),
            ("user-agent", "", true),
            ("x-none", "", false),
            ("x-empty", "", true),
            ("x-empty", "x", false),
            ("x-long", "one two three", true),
            ("x-raw", "GRÜßE", true),
            ("content-disposition", "GRÜße.PDF", true),
            ("content-disposition", "filename*1*", true),
        ] {
            let mut room = Vec::new();
            for header in [header.to_owned(), header.replace('\n', "\r\n")] {
                assert_eq!(
                    field_has(header.as_bytes(), name, &Needle::new(text), &mut room),
                    expected,
                    "{name} {text}"
                );
            }
        }
        let mut room = Vec::new();
        assert!(field_has(b"X: K\xf6ln", "x", &Needle::new("köln"), &mut room));
        let long = format!("X: {}Needle\n", "y\n ".repeat(1000));
        assert!(field_has(long.as_bytes(), "x", &Needle::new("y needle"), &mut room));
    }

    #[test]
    fn parts_and_messages_within() {
        let message = b"Subject: outer\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n--b\n\
            Content-Type: text/plain; name=paper.txt\n\ntext\n--b\nContent-Type: message/rfc822\n\n\
            Subject: =?utf-8?q?inn=C3=A9r?=\nContent-Type: text/plain; charset=iso-8859-1\n\nw\xf6rd\n--b\n\
            Content-Type: message/delivery-status\n\nStatus: 5.1.1\n--b\nContent-Type: application/zip\n\
            Content-Disposition: attachment; filename*=utf-8''%C3%BC.zip\n\nattached\n--b--\nepilogue\n";
        for (text, in_body, in_text) in [
            ("outer", false, true),
            ("paper.txt", false, true),
            ("ü.zip", false, true),
            ("text", true, true),
            ("INNÉR", true, true),
            ("wörd", true, true),
            ("5.1.1", true, true),
            ("attached", false, false),
            ("preamble", false, false),
            ("epilogue", false, false),
            ("text\nsubject", false, false),
        ] {
            assert_eq!(finds(message, text, false), in_body, "BODY {text}");
            assert_eq!(finds(message, text, true), in_text, "TEXT {text}");
        }
    }

    #[test]
    fn several_texts_in_one_go() {
        let wanted: Vec<Wanted> = [("text", false), ("none", true), ("", false), ("x: y", true), ("x: y", false)]
            .map(|(text, in_header)| Wanted { needle: Needle::new(text), in_header })
            .into();
        let mut finder = Finder::default();
        finder.find(b"X: y\n\ntext", &wanted, &AtomicBool::new(false));
        assert_eq!((0..6).map(|n| finder.has(n)).collect::<Vec<_>>(), [true, false, true, true, false, false]);
        finder.find(b"X: y\n\nnone", &wanted, &AtomicBool::new(false));
        assert_eq!((0..5).map(|n| finder.has(n)).collect::<Vec<_>>(), [false, true, true, true, false]);
    }
    #[test]
    fn who_gives_up_does_not_wait_for_the_end() {
        let text = "first\n".to_owned() + &"x\n".repeat(TEXT_PIECE_OCTETS) + "needle";
        let wanted = ["first", "needle"].map(|text| Wanted { needle: Needle::new(text), in_header: false });
        let mut finder = Finder::default();
        let message = part("X: y", text.as_bytes());
        assert!(finder.find(&message, &wanted, &AtomicBool::new(false)));
        assert!(!finder.find(&message, &wanted, &AtomicBool::new(true)));
        assert!(finder.has(0) && !finder.has(1));
    }
}
