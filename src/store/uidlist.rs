//! `dovecot-uidlist`: which message has which UID. Dovecot's format, version 3 read and written, version 1 read.
//!
//! ```text
//! 3 V<validity> N<next uid> G<guid> [other fields]
//! <uid> [fields, each a letter and a value] :<base of the file name>
//! ```
//!
//! Lines are appended as messages come. Lines of expunged messages stay until the list is written anew: they do no
//! harm, since nothing is shown for a line without a file, and they keep their UID from being used again.
//! Whatever is in the file, [`parse`] makes the best of it: a torn last line is dropped (it was never synced, so no
//! client saw its UID), lines out of order are sorted, a UID or a name that comes twice is given to one.

use std::collections::HashMap;
use std::io::Write;

use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;

/// Name of the file in the folder of the mailbox.
pub(super) const FILE: &str = "dovecot-uidlist";

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The validity of all UIDs.
    pub(super) validity: UidValidity,
    /// Above every UID that was ever given out.
    pub(super) next: Uid,
    /// `G`, and fields that we do not know, as they are written.
    pub(super) fields: Vec<u8>,
}

impl Header {
    /// The random id of the mailbox, which stays when it is renamed (`G`).
    pub(super) fn guid(&self) -> Option<&str> {
        let is_guid = |guid: &&str| !guid.is_empty() && guid.bytes().all(|b| b.is_ascii_hexdigit());
        text_field(&self.fields, b'G').filter(is_guid)
    }
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Its UID.
    pub(super) uid: Uid,
    /// Fields such as `P<POP3 UIDL>` and `W<wire size>`, with spaces between them.
    pub(super) fields: &'a [u8],
    /// The file name up to its `:`.
    pub(super) base: &'a [u8],
}

/// What was in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    /// The first line, its next UID above all lines.
    pub(super) header: Header,
    /// The lines by ascending UID, no UID twice; for names see [`drop_repeated_names`].
    pub(super) lines: Vec<Line<'a>>,
    /// Whether something had to be mended, so that the file should be written anew.
    pub(super) mended: bool,
}

/// Reads a list; `None` where there is no valid first line, so that no UID of it can be trusted.
pub(super) fn parse(bytes: &[u8]) -> Option<Parsed<'_>> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (version, mut header) = parse_header(&bytes[..end])?;
    let mut mended = version != 3;
    let mut rest = &bytes[end + 1..];
    // A line has some 60 octets.
    let mut lines: Vec<Line<'_>> = Vec::with_capacity(rest.len() / 48);
    while let Some(end) = memchr::memchr(b'\n', rest) {
        match parse_line(&rest[..end], version) {
            Some(line) => {
                mended |= lines.last().is_some_and(|last| last.uid >= line.uid);
                lines.push(line);
            }
            None => mended = true,
        }
        rest = &rest[end + 1..];
    }
    mended |= !rest.is_empty();
    if mended {
        lines.sort_by_key(|line| line.uid);
        lines.dedup_by_key(|line| line.uid);
    }
    if let Some(last) = lines.last()
        && last.uid >= header.next
    {
        // Not worth a rewrite: appended lines are always above the N of the first line.
        header.next = last.uid.next().unwrap_or(last.uid);
    }
    Some(Parsed { header, lines, mended })
}

fn parse_header(line: &[u8]) -> Option<(u8, Header)> {
    let mut words = line.split(|b| *b == b' ');
    let version = words.next()?;
    if version == b"1" {
        let validity = UidValidity::new(number(words.next()?)?)?;
        let next = Uid::new(number(words.next()?)?)?;
        return Some((1, Header { validity, next, fields: Vec::new() }));
    }
    if version != b"3" {
        return None;
    }
    let (mut validity, mut next, mut fields) = (None, None, Vec::new());
    for word in words.filter(|w| !w.is_empty()) {
        match word[0] {
            b'V' => validity = UidValidity::new(number(&word[1..])?),
            b'N' => next = Uid::new(number(&word[1..])?),
            _ => {
                if !fields.is_empty() {
                    fields.push(b' ');
                }
                fields.extend_from_slice(word);
            }
        }
    }
    Some((3, Header { validity: validity?, next: next?, fields }))
}

fn parse_line(line: &[u8], version: u8) -> Option<Line<'_>> {
    let space = memchr::memchr(b' ', line)?;
    let uid = Uid::new(number(&line[..space])?)?;
    let rest = &line[space + 1..];
    let (fields, name) = match rest {
        [b':', name @ ..] => (&rest[..0], name),
        name if version == 1 => (&rest[..0], name),
        _ => {
            let at = memchr::memmem::find(rest, b" :")?;
            (&rest[..at], &rest[at + 2..])
        }
    };
    // Version 1 may have the whole file name.
    let base = super::file_name::base(name);
    (super::file_name::is_message(base) && !fields.contains(&0)).then_some(Line { uid, fields, base })
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Of lines with the same name the last stays: its UID is the one that was given when the file was last found.
pub(super) fn drop_repeated_names(lines: &mut Vec<Line<'_>>) {
    let last: HashMap<&[u8], Uid> = lines.iter().map(|line| (line.base, line.uid)).collect();
    lines.retain(|line| last.get(line.base) == Some(&line.uid));
}

/// Writes the first line.
pub(super) fn write_header(out: &mut Vec<u8>, header: &Header) {
    // Writing to memory cannot fail.
    write!(out, "3 V{} N{}", header.validity, header.next).ok();
    if !header.fields.is_empty() {
        out.push(b' ');
        out.extend_from_slice(&header.fields);
    }
    out.push(b'\n');
}

/// Writes the line of a message.
pub(super) fn write_line(out: &mut Vec<u8>, uid: Uid, fields: &[u8], base: &[u8]) {
    write!(out, "{uid} ").ok();
    if !fields.is_empty() {
        out.extend_from_slice(fields);
        out.push(b' ');
    }
    out.push(b':');
    out.extend_from_slice(base);
    out.push(b'\n');
}

/// The value of a field of a line, such as `W`.
pub(super) fn field(fields: &[u8], key: u8) -> Option<u64> {
    text_field(fields, key)?.parse().ok()
}

/// The value of a field of a line, such as `P`, where it is a word of visible ASCII.
pub(super) fn text_field(fields: &[u8], key: u8) -> Option<&str> {
    let word = fields.split(|b| *b == b' ').find(|word| word.first() == Some(&key))?;
    let value = std::str::from_utf8(&word[1..]).ok()?;
    (!value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic())).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = b"3 V1700000000 N9 G0123456789abcdef0123456789abcdef\n\
        1 :1.a,S=1,W=1\n3 W12 Pold uidl :2.b\n7 :3.c d\n8 :4.\xe9\n";

    #[test]
    fn reads_what_it_writes() {
        let parsed = parse(SAMPLE).expect("valid");
        assert!(!parsed.mended);
        assert_eq!((parsed.header.validity.get(), parsed.header.next.get()), (1_700_000_000, 9));
        assert_eq!(parsed.lines[1].fields, b"W12 Pold uidl");
        assert_eq!(field(parsed.lines[1].fields, b'W'), Some(12));
        assert_eq!(text_field(parsed.lines[1].fields, b'P'), Some("old"));
        let mut out = Vec::new();
        write_header(&mut out, &parsed.header);
        for line in &parsed.lines {
            write_line(&mut out, line.uid, line.fields, line.base);
        }
        assert_eq!(out, SAMPLE);
    }

    #[test]
    fn cut_at_any_byte_it_loses_only_the_torn_line() {
        let whole = parse(SAMPLE).expect("valid");
        let header_end = SAMPLE.iter().position(|b| *b == b'\n').expect("there") + 1;
        for cut in 0..SAMPLE.len() {
            let Some(parsed) = parse(&SAMPLE[..cut]) else {
                assert!(cut < header_end, "cut at {cut}");
                continue;
            };
            let kept = SAMPLE[header_end..cut].iter().filter(|b| **b == b'\n').count();
            assert_eq!(parsed.lines, whole.lines[..kept], "cut at {cut}");
            assert_eq!(parsed.mended, SAMPLE[cut - 1] != b'\n');
        }
    }

    #[test]
    fn mends() {
        let head = b"3 V1 N2\n".to_vec();
        let uids = |body: &[u8]| {
            let list = [&head[..], body].concat();
            let mut parsed = parse(&list).expect("header");
            drop_repeated_names(&mut parsed.lines);
            let uids: Vec<u32> = parsed.lines.iter().map(|l| l.uid.get()).collect();
            (uids, parsed.header.next.get(), parsed.mended)
        };
        assert_eq!(uids(b"1 :a\n2 :b\n"), (vec![1, 2], 3, false));
        assert_eq!(uids(b"5 :a\n2 :b\n"), (vec![2, 5], 6, true));
        assert_eq!(uids(b"5 :a\n5 :b\n"), (vec![5], 6, true));
        assert_eq!(uids(b"5 :a\n6 :a\n"), (vec![6], 7, false));
        assert_eq!(uids(b"5 :a\n\0\0\0\0\n6 :b\n"), (vec![5, 6], 7, true));
        assert_eq!(uids(b"5 :a\n\0\0\0\0"), (vec![5], 6, true));
        assert_eq!(uids(b"0 :a\n4294967296 :b\n-1 :c\nx\n\n"), (vec![], 2, true));
    }

    #[test]
    fn version_1_is_read_and_others_are_not() {
        let parsed = parse(b"1 17 4\n1 1.a:2,S\n3 2.b\n").expect("version 1");
        assert_eq!((parsed.header.validity.get(), parsed.header.next.get(), parsed.mended), (17, 4, true));
        assert_eq!(parsed.lines[0].base, b"1.a");
        for bad in
            [&b""[..], b"3 V1 N2", b"2 V1 N2\n", b"3 V0 N1\n", b"3 N1\n", b"3 V1\n", b"x\n", b"3 V1 N99999999999\n"]
        {
            assert_eq!(parse(bad), None);
        }
    }

    #[test]
    fn text_fields_are_words_of_visible_ascii() {
        for (fields, wanted) in [
            (&b"W12 Pabc"[..], Some("abc")),
            (b"Pabc W12", Some("abc")),
            (b"P", None),
            (b"W12", None),
            (b"Pa\x07b", None),
            (b"P\xc3\xa4", None),
        ] {
            assert_eq!(text_field(fields, b'P'), wanted, "{fields:?}");
        }
    }
}
