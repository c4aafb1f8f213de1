//! What a milter wants changed, made fit for a message, and the changing itself.
//!
//! A field from a milter is trusted in what it says, not in its form: it can hold no second field and no end of the
//! header.

#[cfg(fuzzing)]
#[path = "../../tests/fuzz/inside/milter_packets.rs"]
pub mod fuzz;

use std::io;
use std::path::Path;

use crate::fsio::Content;
use crate::fsio::ContentWriter;
use crate::mail::limits::HEADER_OCTETS;
use crate::mail::limits::MILTER_FIELD_OCTETS;
use crate::message::header;

/// One change of the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// A field behind the others.
    Add(Field),
    /// A field at a place: 0 and 1 are the first.
    Insert(u32, Field),
    /// The nth field of this name (1 is the first) gets another value; `None` takes it away. Where there is none, it
    /// is added.
    Change {
        /// Which of that name.
        nth: u32,
        /// The name.
        name: String,
        /// What stands there afterwards.
        field: Option<Field>,
    },
}

/// A field that can stand in a header: its line ended by LF, folds with white space behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    name: String,
    line: Vec<u8>,
}

impl Field {
    /// A field from what a milter said; `None` where the name is none. Control characters in the value become question
    /// marks, a line that does not begin with white space gets some. `spaced`: the value has its own space in front.
    pub(super) fn new(name: &[u8], value: &[u8], spaced: bool) -> Option<Self> {
        // RFC 5322 §3.6.8: ftext.
        let fine = !name.is_empty() && name.iter().all(|b| (b'!'..=b'~').contains(b) && *b != b':');
        let name = String::from_utf8(name.to_vec()).ok().filter(|_| fine)?;
        if name.len() + value.len() > MILTER_FIELD_OCTETS {
            return None;
        }
        let mut line = name.clone().into_bytes();
        line.extend_from_slice(if spaced { b":" } else { b": " });
        let lines = value.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        for (at, text) in lines.filter(|l| !l.trim_ascii().is_empty()).enumerate() {
            if at > 0 {
                line.push(b'\n');
                if !text.starts_with(b" ") && !text.starts_with(b"\t") {
                    line.push(b'\t');
                }
            }
            line.extend(text.iter().map(|b| if b.is_ascii_control() && *b != b'\t' { b'?' } else { *b }));
        }
        line.push(b'\n');
        Some(Self { name, line })
    }

    /// Whether it is this mark, `Name: value`: the value must begin so; case does not count.
    #[must_use]
    pub fn is(&self, mark: &str) -> bool {
        let Some((name, wanted)) = mark.split_once(':') else { return false };
        let value = self.line.get(self.name.len() + 1..).unwrap_or_default().trim_ascii();
        let wanted = wanted.trim().as_bytes();
        self.name.eq_ignore_ascii_case(name.trim())
            && value.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
    }
}

impl HeaderChange {
    /// The field that stands in the message because of it.
    #[must_use]
    pub fn field(&self) -> Option<&Field> {
        match self {
            Self::Add(field) | Self::Insert(_, field) => Some(field),
            Self::Change { field, .. } => field.as_ref(),
        }
    }
}

/// What a milter wants of a message that may pass.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// In the order it said so.
    pub header: Vec<HeaderChange>,
    /// Another body, its lines ended by LF.
    pub body: Option<Content>,
    /// Why it wants the message kept away from the recipient's inbox.
    pub quarantine: Option<String>,
}

impl Changes {
    /// The message as the milter wants it. May read and write a spill file in `spool`.
    ///
    /// # Errors
    /// What the kernel says of spill files; a header past the limits, which was refused before.
    pub fn apply(&self, content: &Content, spool: &Path) -> io::Result<Content> {
        if self.header.is_empty() && self.body.is_none() {
            return Ok(content.clone());
        }
        let head = content.head(HEADER_OCTETS + 1)?;
        let read = header::read(&head).map_err(io::Error::other)?;
        let start = read.fields.first().map_or(read.end, |field| field.range.start);
        let mut fields: Vec<(String, Vec<u8>)> = read
            .fields
            .iter()
            .map(|field| (field.name.to_owned(), with_line_end(&head[field.range.clone()])))
            .collect();
        for change in &self.header {
            change_header(&mut fields, change);
        }
        let mut writer = ContentWriter::new(spool.to_owned());
        if start > 0 {
            // Of mbox; it would swallow the first field.
            writer.push(&with_line_end(&head[..start]))?;
        }
        for (_, line) in &fields {
            writer.push(line)?;
        }
        match &self.body {
            Some(body) => {
                writer.push(b"\n")?;
                writer.push_all(&mut body.reader())?;
            }
            None => {
                // Fields before a body that had no empty line need one.
                if read.end == read.body && read.end < head.len() {
                    writer.push(b"\n")?;
                }
                let mut reader = content.reader();
                reader.skip(read.end as u64);
                writer.push_all(&mut reader)?;
            }
        }
        writer.finish()
    }
}

fn change_header(fields: &mut Vec<(String, Vec<u8>)>, change: &HeaderChange) {
    let entry = |field: &Field| (field.name.clone(), field.line.clone());
    match change {
        HeaderChange::Add(field) => fields.push(entry(field)),
        HeaderChange::Insert(at, field) => {
            let at = usize::try_from(at.saturating_sub(1)).unwrap_or(usize::MAX).min(fields.len());
            fields.insert(at, entry(field));
        }
        HeaderChange::Change { nth, name, field } => {
            let nth = usize::try_from(nth.saturating_sub(1)).unwrap_or(usize::MAX);
            let places = fields.iter().enumerate().filter(|(_, (other, _))| other.eq_ignore_ascii_case(name));
            let place = places.map(|(at, _)| at).nth(nth);
            match (place, field) {
                (Some(at), Some(field)) => fields[at] = entry(field),
                (Some(at), None) => drop(fields.remove(at)),
                (None, Some(field)) => fields.push(entry(field)),
                (None, None) => {}
            }
        }
    }
}

fn with_line_end(field: &[u8]) -> Vec<u8> {
    let mut line = field.to_vec();
    if !line.ends_with(b"\n") {
        line.push(b'\n');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, value: &str) -> Field {
        Field::new(name.as_bytes(), value.as_bytes(), false).expect("a field")
    }

    fn changed(message: &str, header: Vec<HeaderChange>, body: Option<&str>) -> String {
        let body = body.map(|text| Content::from_bytes(text.as_bytes().to_vec()));
        let changes = Changes { header, body, quarantine: None };
        let content = Content::from_bytes(message.as_bytes().to_vec());
        let changed = changes.apply(&content, Path::new("/nowhere")).expect("in memory");
        String::from_utf8(changed.head(10_000).expect("in memory")).expect("text")
    }

    #[test]
    fn headers_and_bodies_are_changed() {
        let change = |nth, name: &str, field| HeaderChange::Change { nth, name: name.to_owned(), field };
        let message = "A: 1\nB: 2\n folded\na: 3\n\nbody\n";
        for (changes, wanted) in [
            (vec![], message),
            (vec![HeaderChange::Add(field("X", "y"))], "A: 1\nB: 2\n folded\na: 3\nX: y\n\nbody\n"),
            (vec![HeaderChange::Insert(0, field("X", "y"))], "X: y\nA: 1\nB: 2\n folded\na: 3\n\nbody\n"),
            (vec![HeaderChange::Insert(2, field("X", "y"))], "A: 1\nX: y\nB: 2\n folded\na: 3\n\nbody\n"),
            (vec![HeaderChange::Insert(99, field("X", "y"))], "A: 1\nB: 2\n folded\na: 3\nX: y\n\nbody\n"),
            (vec![change(2, "A", Some(field("A", "4")))], "A: 1\nB: 2\n folded\nA: 4\n\nbody\n"),
            (vec![change(1, "b", None), change(3, "a", None)], "A: 1\na: 3\n\nbody\n"),
            (vec![change(1, "C", Some(field("C", "5")))], "A: 1\nB: 2\n folded\na: 3\nC: 5\n\nbody\n"),
        ] {
            assert_eq!(changed(message, changes.clone(), None), wanted, "{changes:?}");
        }
        let add = || vec![HeaderChange::Add(field("X", "y"))];
        assert_eq!(changed(message, add(), Some("new")), "A: 1\nB: 2\n folded\na: 3\nX: y\n\nnew");
        assert_eq!(changed("body alone\n", add(), None), "X: y\n\nbody alone\n");
        assert_eq!(changed("\nbody\n", add(), None), "X: y\n\nbody\n");
        assert_eq!(changed("A: 1", add(), None), "A: 1\nX: y\n");
        assert_eq!(changed("", add(), None), "X: y\n");
        assert_eq!(changed("From a", add(), None), "From a\nX: y\n");
    }

    #[test]
    fn a_field_can_hold_no_other() {
        let line = |value: &str| String::from_utf8(field("X", value).line).expect("text");
        assert_eq!(line("a\r\nBcc: b\n\n\nbody"), "X: a\n\tBcc: b\n\tbody\n");
        assert_eq!(line("a\n b\u{1}c\r"), "X: a\n b?c\n");
        for name in ["", "a b", "a:", "a\n", "\u{e9}"] {
            assert!(Field::new(name.as_bytes(), b"x", false).is_none(), "{name:?}");
        }
        assert!(Field::new(b"X", &vec![b'a'; MILTER_FIELD_OCTETS], false).is_none());
        assert!(
            field("X-Spam", "yes").is("x-spam: Yes") && field("X-Spam-Status", "Yes, score=9").is("X-Spam-Status: yes")
        );
        assert!(!field("X-Spam", "no").is("X-Spam: Yes") && !field("X-Spam", "").is("X-Spam: Yes"));
    }
}
