//! Reads the fields of a message's header (RFC 5322 §2.2) from bytes, lines ended by LF or CRLF.
//!
//! Gives names, raw values and where they stand; decodes nothing. One pass, no recursion, and limits, since the bytes
//! are a stranger's.

use std::fmt;
use std::ops::Range;

use memchr::memchr;

use crate::mail::limits::HEADER_FIELDS;
use crate::mail::limits::HEADER_OCTETS;

/// One field, folded or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, as it is written.
    pub name: &'a str,
    /// What follows the colon, up to the end of its last line, which is left out; folds are as they were.
    pub value: &'a [u8],
    /// Where the field stands in the message, its line end included.
    pub range: Range<usize>,
}

impl Field<'_> {
    /// Whether it has this name; case does not count (RFC 5322 §1.2.2).
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

/// A header that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// The fields, in order.
    pub fields: Vec<Field<'a>>,
    /// Where the header ends: the empty line, or the first line that is no field, or the end.
    pub end: usize,
    /// Where the body begins: after the empty line, or at [`Self::end`] where there is none.
    pub body: usize,
}

impl<'a> Header<'a> {
    /// The fields of this name.
    pub fn all(&self, name: &'static str) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(move |field| field.is(name))
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn has(&self, name: &'static str) -> bool {
        self.all(name).next().is_some()
    }
}

/// A header past the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("message header too large")
    }
}

impl std::error::Error for TooLarge {}

/// Reads the header at the front of `message`, of which [`HEADER_OCTETS`] + 1 octets suffice.
///
/// A line that is no field ends the header, as it does for everybody else. A first line `From ` (mbox) is passed over;
/// `From :` is the field in its obsolete form.
///
/// # Errors
/// [`TooLarge`] where it has more than [`HEADER_FIELDS`] fields or [`HEADER_OCTETS`] octets.
pub fn read(message: &[u8]) -> Result<Header<'_>, TooLarge> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    let mut at = if is_mbox_line(message) { line_end(message, 0) } else { 0 };
    loop {
        if at > HEADER_OCTETS {
            return Err(TooLarge);
        }
        let rest = &message[at..];
        if rest.is_empty() {
            return Ok(Header { fields, end: at, body: at });
        }
        if let Some(n) = empty_line(rest) {
            return Ok(Header { fields, end: at, body: at + n });
        }
        let Some((name, colon)) = field_name(rest) else { return Ok(Header { fields, end: at, body: at }) };
        if fields.len() >= HEADER_FIELDS {
            return Err(TooLarge);
        }
        let end = field_end(message, at);
        fields.push(Field { name, value: without_line_end(&message[at + colon + 1..end]), range: at..end });
        at = end;
    }
}

/// RFC 5322 §4.5.8: a field may have white space before its colon, and mbox has no colon there.
fn is_mbox_line(message: &[u8]) -> bool {
    message.starts_with(b"From ") && field_name(message).is_none()
}

/// The end of the field that begins at `at`: of its last line, the folded ones included (RFC 5322 §2.2.3).
fn field_end(message: &[u8], at: usize) -> usize {
    let mut end = line_end(message, at);
    while matches!(message.get(end), Some(b' ' | b'\t')) && end - at <= HEADER_OCTETS {
        end = line_end(message, end);
    }
    end
}

fn line_end(message: &[u8], at: usize) -> usize {
    memchr(b'\n', &message[at..]).map_or(message.len(), |found| at + found + 1)
}

/// The octets of an empty line at the front.
fn empty_line(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"\n") { Some(1) } else { rest.starts_with(b"\r\n").then_some(2) }
}

/// The name at the front of a field, and where the colon is. White space before the colon is obsolete and tolerated
/// (RFC 5322 §4.5.8).
fn field_name(rest: &[u8]) -> Option<(&str, usize)> {
    let length = rest.iter().position(|b| !(b'!'..=b'~').contains(b) || *b == b':')?;
    let blanks = rest[length..].iter().position(|b| !matches!(b, b' ' | b'\t'))?;
    let name = std::str::from_utf8(&rest[..length]).ok().filter(|name| !name.is_empty())?;
    (rest[length + blanks] == b':').then_some((name, length + blanks))
}

fn without_line_end(value: &[u8]) -> &[u8] {
    let value = value.strip_suffix(b"\n").unwrap_or(value);
    value.strip_suffix(b"\r").unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(message: &[u8]) -> (Vec<(String, String)>, usize, usize) {
        let header = read(message).expect("within limits");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (header.fields.iter().map(|f| (f.name.to_owned(), text(f.value))).collect(), header.end, header.body)
    }

    #[test]
    fn headers() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (message, fields, end, body) in [
            (&b""[..], vec![], 0, 0),
            (b"\nbody", vec![], 0, 1),
            (b"\r\nbody", vec![], 0, 2),
            (b"A: b\n\nbody", vec![field("A", " b")], 5, 6),
            (b"A: b\r\nC:\r\n\r\nbody", vec![field("A", " b"), field("C", "")], 10, 12),
            (b"A: b\n folded\n\tagain\nB:c", vec![field("A", " b\n folded\n\tagain"), field("B", "c")], 23, 23),
            (b"A : b\n\n", vec![field("A", " b")], 6, 7),
            (b"From a@b Thu\nA: b\n\n", vec![field("A", " b")], 18, 19),
            (b"From : a@b\nA: b\n\n", vec![field("From", " a@b"), field("A", " b")], 16, 17),
            (b"From \t: a@b\n\n", vec![field("From", " a@b")], 12, 13),
            (b"From a: b\nA: b\n\n", vec![field("A", " b")], 15, 16),
            (b"no field\nA: b\n\n", vec![], 0, 0),
            (b"A: b\nno field\n\n", vec![field("A", " b")], 5, 5),
            (b" : x\n", vec![], 0, 0),
            (b": x\n", vec![], 0, 0),
            (b"A: \xff\0\n\n", vec![field("A", " \u{fffd}\0")], 6, 7),
        ] {
            assert_eq!(names(message), (fields, end, body), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn ranges_cover_the_header() {
        let message = b"A: b\n c\nD: e\n\nbody";
        let header = read(message).expect("small");
        let joined: Vec<u8> = header.fields.iter().flat_map(|f| message[f.range.clone()].to_vec()).collect();
        assert_eq!(joined, message[..header.end]);
        assert!(header.has("d") && !header.has("body"));
    }

    #[test]
    fn unbounded_input_is_refused() {
        assert_eq!(read("A: b\n".repeat(HEADER_FIELDS + 1).as_bytes()), Err(TooLarge));
        assert!(read("A: b\n".repeat(HEADER_FIELDS).as_bytes()).is_ok());
        assert_eq!(read(&[b"A:", vec![b'x'; HEADER_OCTETS].as_slice()].concat()), Err(TooLarge));
        let folded = [b"A:\n".as_slice(), " x\n".repeat(HEADER_OCTETS / 2).as_bytes()].concat();
        assert_eq!(read(&folded), Err(TooLarge));
    }
}
