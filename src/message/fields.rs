//! The fields of a header block, as they lie in the bytes (RFC 5322 §2.2), lines ended by LF or CRLF.
//!
//! Tolerant: what is no field is passed over. Knows no field's grammar.

use memchr::memchr;

/// One field, with its line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, without the colon and blanks before it (RFC 5322 §4.5 allows them).
    pub name: &'a [u8],
    /// What stands after the colon, folded as it is, line end included.
    pub value: &'a [u8],
    /// The whole field, from its name to its last line end.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name, compared without case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value unfolded (RFC 5322 §2.2.3) and without blanks around it.
    #[must_use]
    pub fn unfolded(&self) -> Vec<u8> {
        let kept: Vec<u8> = self.value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
        kept.trim_ascii().to_vec()
    }
}

/// Goes through the fields of a header block.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

/// The fields of `header`, which may or may not have the empty line at its end.
#[must_use]
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields(header)
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        while !self.0.is_empty() {
            let raw = take_folded(self.0);
            self.0 = &self.0[raw.len()..];
            let Some(colon) = memchr(b':', raw) else { continue };
            let name = raw[..colon].trim_ascii_end();
            if !name.is_empty() && name.iter().all(|b| (0x21..0x7f).contains(b)) {
                return Some(Field { name, value: &raw[colon + 1..], raw });
            }
        }
        None
    }
}

/// The first line and all that continue it.
fn take_folded(bytes: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some(at) = memchr(b'\n', &bytes[end..]) {
        end += at + 1;
        if !matches!(bytes.get(end), Some(b' ' | b'\t')) {
            return &bytes[..end];
        }
    }
    bytes
}

/// Where the header ends and the body starts: after the first empty line, or at the end where there is none.
#[must_use]
pub fn header_len(message: &[u8]) -> usize {
    let mut at = 0;
    while at < message.len() {
        let rest = &message[at..];
        if rest.starts_with(b"\n") {
            return at + 1;
        }
        if rest.starts_with(b"\r\n") {
            return at + 2;
        }
        match memchr(b'\n', rest) {
            Some(end) => at += end + 1,
            None => break,
        }
    }
    message.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_either_line_end() {
        let lf = b"From x\nSubject: a\n b\nTo : c\nFr om: evil\nX:\n\n".to_vec();
        let crlf: Vec<u8> = String::from_utf8(lf.clone()).expect("text").replace('\n', "\r\n").into_bytes();
        for header in [lf, crlf] {
            let found: Vec<(Vec<u8>, Vec<u8>)> = fields(&header).map(|f| (f.name.to_vec(), f.unfolded())).collect();
            let expected: Vec<(Vec<u8>, Vec<u8>)> = [("Subject", "a b"), ("To", "c"), ("X", "")]
                .iter()
                .map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()))
                .collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_header_ends_at_the_first_empty_line() {
        for (message, len) in [
            (&b"a: b\n\nbody"[..], 6),
            (b"a: b\r\n\r\nbody", 8),
            (b"\nbody", 1),
            (b"a: b\n", 5),
            (b"a: b", 4),
            (b"", 0),
        ] {
            assert_eq!(header_len(message), len);
        }
    }
}
