//! Sections of a message: `BODY[1.2.HEADER]` and its kin (RFC 3501 §6.4.5).
//!
//! Knows where their bytes are; the numbers are those of BODYSTRUCTURE.

use std::borrow::Cow;

use crate::message::fields::fields;
use crate::message::fields::header_len;
use crate::message::mime::Kind;
use crate::message::mime::Part;
use crate::message::mime::Structure;
use crate::protocol::imap::syntax::fetch::Section;
use crate::protocol::imap::syntax::fetch::SectionText;

/// The name of a section as it is repeated in the answer, without a partial range.
#[must_use]
pub fn section_name(section: &Section) -> Vec<u8> {
    let mut out: Vec<u8> = section.numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".").into_bytes();
    let word: &[u8] = match &section.text {
        SectionText::All => return out,
        SectionText::Header => b"HEADER",
        SectionText::Text => b"TEXT",
        SectionText::Mime => b"MIME",
        SectionText::Fields { not: false, .. } => b"HEADER.FIELDS",
        SectionText::Fields { not: true, .. } => b"HEADER.FIELDS.NOT",
    };
    if !out.is_empty() {
        out.push(b'.');
    }
    out.extend_from_slice(word);
    if let SectionText::Fields { names, .. } = &section.text {
        out.extend_from_slice(b" (");
        for (n, name) in names.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b"" } else { b" " });
            push_astring(&mut out, name);
        }
        out.push(b')');
    }
    out
}

/// A name that a client sent goes back as an atom or a quoted string; what is neither becomes question marks.
fn push_astring(out: &mut Vec<u8>, octets: &[u8]) {
    let atom = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !octets.is_empty() && octets.iter().all(atom) {
        return out.extend_from_slice(octets);
    }
    out.push(b'"');
    for b in octets {
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *b]),
            0x20..0x7f => out.push(*b),
            _ => out.push(b'?'),
        }
    }
    out.push(b'"');
}

/// Whether the header alone is enough for it.
#[must_use]
pub fn needs_header_only(section: &Section) -> bool {
    section.numbers.is_empty() && matches!(section.text, SectionText::Header | SectionText::Fields { .. })
}

/// The bytes of a section that needs no more than the message's header; `None` for another one.
#[must_use]
pub fn header_text<'a>(message: &'a [u8], section: &Section) -> Option<Cow<'a, [u8]>> {
    if !needs_header_only(section) {
        return None;
    }
    let header = &message[..header_len(message)];
    Some(match &section.text {
        SectionText::Fields { not, names } => Cow::Owned(pick_fields(header, *not, names)),
        _ => Cow::Borrowed(header),
    })
}

/// The bytes of a section as they are held, or `None` where there is no such part.
#[must_use]
pub fn section_text<'a>(structure: &Structure, message: &'a [u8], section: &Section) -> Option<Cow<'a, [u8]>> {
    let Some(part) = part_of(structure, &section.numbers)? else {
        let root = structure.root();
        return Some(match &section.text {
            SectionText::All | SectionText::Mime => Cow::Borrowed(message),
            SectionText::Header => Cow::Borrowed(root.header.of(message)),
            SectionText::Text => Cow::Borrowed(root.body.of(message)),
            SectionText::Fields { not, names } => Cow::Owned(pick_fields(root.header.of(message), *not, names)),
        });
    };
    match &section.text {
        SectionText::All => Some(Cow::Borrowed(part.body.of(message))),
        SectionText::Mime => Some(Cow::Borrowed(part.header.of(message))),
        text => {
            // RFC 3501 §6.4.5: HEADER and TEXT of a part are those of the message within it.
            let inner = inner_message(structure, part)?;
            Some(match text {
                SectionText::Text => Cow::Borrowed(inner.body.of(message)),
                SectionText::Fields { not, names } => Cow::Owned(pick_fields(inner.header.of(message), *not, names)),
                _ => Cow::Borrowed(inner.header.of(message)),
            })
        }
    }
}

fn inner_message<'s>(structure: &'s Structure, part: &Part) -> Option<&'s Part> {
    if part.kind != Kind::Message {
        return None;
    }
    part.children.first().map(|child| &structure.parts()[*child])
}

/// The part of these numbers: `Some(None)` where there are no numbers, `None` where there is no such part.
#[must_use]
pub fn part_of<'s>(structure: &'s Structure, numbers: &[u32]) -> Option<Option<&'s Part>> {
    // What the next number counts in: the content of a message, or of a multipart.
    let mut within = Some(structure.root());
    let mut is_message = true;
    let mut found = None;
    for number in numbers {
        let container = within?;
        let part = if container.kind == Kind::Multipart {
            let at = usize::try_from(*number).ok()?.checked_sub(1)?;
            &structure.parts()[*container.children.get(at)?]
        } else if is_message && *number == 1 {
            // RFC 3501 §6.4.5: every message has at least one part number.
            container
        } else {
            return None;
        };
        found = Some(part);
        let inner = inner_message(structure, part);
        is_message = inner.is_some();
        within = inner.or(Some(part).filter(|p| p.kind == Kind::Multipart));
    }
    Some(found)
}

/// The fields of these names, or all others, with an empty line at the end where the header has one (RFC 3501 §6.4.5).
#[must_use]
pub fn pick_fields(header: &[u8], not: bool, names: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields(header) {
        if names.iter().any(|name| field.name.eq_ignore_ascii_case(name)) != not {
            out.extend_from_slice(field.raw);
        }
    }
    if header.ends_with(b"\n\n") || header.ends_with(b"\n\r\n") || matches!(header, b"\n" | b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::syntax::cursor::Cursor;
    use crate::protocol::imap::syntax::fetch::FetchItem;
    use crate::protocol::imap::syntax::fetch::fetch_items;

    fn section(text: &str) -> Section {
        let items = fetch_items(&mut Cursor::new(format!("BODY[{text}]").as_bytes(), 50)).expect("valid");
        match items.into_iter().next() {
            Some(FetchItem::Section { section, .. }) => section,
            other => panic!("{other:?}"),
        }
    }

    fn get(message: &str, name: &str) -> Option<String> {
        let structure = Structure::scan(message.as_bytes());
        let found = section_text(&structure, message.as_bytes(), &section(name));
        if let Some(header) = header_text(message.as_bytes(), &section(name)) {
            assert_eq!(found.as_ref(), Some(&header), "{name}");
        }
        found.map(|b| String::from_utf8_lossy(&b).into_owned())
    }

    const MIXED: &str = "Subject: top\nContent-Type: multipart/mixed; boundary=a\n\n--a\nX: 1\n\none\n--a\n\
        Content-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\n2.1\n--b\n\
        Y: 2\n\n2.2\n--b--\n--a\nContent-Type: message/rfc822\n\nSubject: flat\n\nbody3\n--a--\n";

    #[test]
    fn parts() {
        for (name, expected) in [
            ("1", Some("one")),
            ("1.MIME", Some("X: 1\n\n")),
            ("1.HEADER", None),
            ("1.1", None),
            ("2.HEADER", Some("Subject: in\nContent-Type: multipart/alternative; boundary=b\n\n")),
            ("2.1", Some("2.1")),
            ("2.2", Some("2.2")),
            ("2.2.MIME", Some("Y: 2\n\n")),
            ("2.3", None),
            ("2.TEXT", Some("--b\n\n2.1\n--b\nY: 2\n\n2.2\n--b--")),
            ("2.HEADER.FIELDS (SUBJECT)", Some("Subject: in\n\r\n")),
            ("3.1", Some("body3")),
            ("3.1.1", None),
            ("3.TEXT", Some("body3")),
            ("3", Some("Subject: flat\n\nbody3")),
            ("4", None),
            ("HEADER.FIELDS.NOT (content-type)", Some("Subject: top\n\r\n")),
            ("", Some(MIXED)),
        ] {
            assert_eq!(get(MIXED, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_message_without_parts_has_part_one() {
        let simple = "A: b\n\nhello\n";
        for (name, expected) in [
            ("1", Some("hello\n")),
            ("TEXT", Some("hello\n")),
            ("HEADER", Some("A: b\n\n")),
            ("1.MIME", Some("A: b\n\n")),
            ("2", None),
            ("1.1", None),
            ("1.TEXT", None),
        ] {
            assert_eq!(get(simple, name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn without_an_empty_line_there_is_none() {
        for (message, expected) in [("A: b", "A: b"), ("A: b\n", "A: b\n"), ("", ""), ("\nbody", "\r\n")] {
            assert_eq!(get(message, "HEADER.FIELDS (A)").as_deref(), Some(expected), "{message:?}");
        }
    }

    #[test]
    fn names_go_back_safely() {
        assert_eq!(
            section_name(&section("1.2.HEADER.FIELDS (From \"a\\\"b c\")")),
            b"1.2.HEADER.FIELDS (From \"a\\\"b c\")"
        );
        assert_eq!(section_name(&section("TEXT")), b"TEXT");
        assert_eq!(section_name(&section("")), b"");
        let evil =
            Section { numbers: vec![], text: SectionText::Fields { not: false, names: vec![b"a\r\n".to_vec()] } };
        assert_eq!(section_name(&evil), b"HEADER.FIELDS (\"a??\")");
    }
}
