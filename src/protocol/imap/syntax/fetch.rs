//! What FETCH asks for: items, macros, sections, partial ranges (RFC 3501 §6.4.5, §9 `fetch-att`).

use crate::mail::limits::IMAP_FETCH_ITEMS;
use crate::mail::limits::MIME_DEPTH;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;

/// One data item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// `ENVELOPE`.
    Envelope,
    /// `FLAGS`.
    Flags,
    /// `INTERNALDATE`.
    InternalDate,
    /// `RFC822.SIZE`.
    Size,
    /// `UID`.
    Uid,
    /// `EMAILID` (RFC 8474 §5.1).
    EmailId,
    /// `THREADID` (RFC 8474 §5.2).
    ThreadId,
    /// `SAVEDATE` (RFC 8514 §4.2).
    SaveDate,
    /// `PREVIEW`, or `PREVIEW (LAZY)` (RFC 8970 §3.1).
    Preview {
        /// What is not at hand may be left out.
        lazy: bool,
    },
    /// `MODSEQ` (RFC 7162 §3.1.4.1).
    ModSeq,
    /// `BODY`, the structure without extension data.
    Body,
    /// `BODYSTRUCTURE`.
    BodyStructure,
    /// `RFC822`, `RFC822.HEADER` or `RFC822.TEXT`: the same bytes as a section, under the old name.
    Rfc822(SectionText),
    /// `BODY[…]` or `BODY.PEEK[…]`.
    Section {
        /// Of what.
        section: Section,
        /// Leave `\Seen` alone.
        peek: bool,
        /// First octet and number of octets.
        partial: Option<(u32, u32)>,
    },
}

impl FetchItem {
    /// Whether it sets `\Seen` (RFC 3501 §6.4.5).
    #[must_use]
    pub fn sets_seen(&self) -> bool {
        match self {
            Self::Section { peek, .. } => !peek,
            Self::Rfc822(text) => *text != SectionText::Header,
            _ => false,
        }
    }
}

/// A part of a message, or of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Part numbers, outermost first.
    pub numbers: Vec<u32>,
    /// What of that part.
    pub text: SectionText,
}

/// What of a part is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SectionText {
    /// Everything.
    All,
    /// The header of a message.
    Header,
    /// Some fields of it.
    Fields {
        /// All but these.
        not: bool,
        /// Names of fields.
        names: Vec<Vec<u8>>,
    },
    /// The body of a message.
    Text,
    /// The MIME header of a part.
    Mime,
}

/// Reads the argument of FETCH after its set.
///
/// # Errors
/// It is none, or too much.
pub fn fetch_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    use FetchItem::Body;
    use FetchItem::Envelope;
    use FetchItem::Flags;
    use FetchItem::InternalDate;
    use FetchItem::Size;
    if cursor.peek() == Some(b'(') {
        let items = cursor.list(IMAP_FETCH_ITEMS, fetch_item)?;
        return if items.is_empty() { Err(SyntaxError::Bad("FETCH item missing")) } else { Ok(items) };
    }
    // Macros stand alone (RFC 3501 §6.4.5).
    let mut ahead = cursor.clone();
    let word = ahead.run(|b| b.is_ascii_alphanumeric()).to_ascii_uppercase();
    let items = match word.as_slice() {
        b"ALL" => vec![Flags, InternalDate, Size, Envelope],
        b"FAST" => vec![Flags, InternalDate, Size],
        b"FULL" => vec![Flags, InternalDate, Size, Envelope, Body],
        _ => return Ok(vec![fetch_item(cursor)?]),
    };
    *cursor = ahead;
    Ok(items)
}

/// What stands behind the items (RFC 4466 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FetchModifiers {
    /// `CHANGEDSINCE`: only messages with a greater mod-sequence (RFC 7162 §3.1.4.1).
    pub changed_since: Option<u64>,
    /// `VANISHED`: also tell which are gone since then (RFC 7162 §3.2.6).
    pub vanished: bool,
}

/// Reads the modifiers of FETCH, if there are any.
///
/// # Errors
/// They are none that we know.
pub fn fetch_modifiers(cursor: &mut Cursor<'_>) -> Parsed<FetchModifiers> {
    let mut out = FetchModifiers::default();
    if !cursor.take_word(" (") {
        return Ok(out);
    }
    loop {
        if cursor.take_word("CHANGEDSINCE ") {
            out.changed_since = Some(mod_sequence(cursor)?);
        } else if cursor.take_word("VANISHED") {
            out.vanished = true;
        } else {
            return Err(SyntaxError::Bad("unknown FETCH modifier"));
        }
        if cursor.take(b')') {
            break;
        }
        cursor.space()?;
    }
    // RFC 7162 §3.2.6.
    if out.vanished && out.changed_since.is_none() {
        return Err(SyntaxError::Bad("VANISHED needs CHANGEDSINCE"));
    }
    Ok(out)
}

/// `mod-sequence-value`: not 0.
///
/// # Errors
/// It is none.
pub fn mod_sequence(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    let value = cursor.number64()?;
    if value == 0 { Err(SyntaxError::Bad("mod-sequence must not be 0")) } else { Ok(value) }
}

fn fetch_item(cursor: &mut Cursor<'_>) -> Parsed<FetchItem> {
    let name = cursor.run(|b| b.is_ascii_alphanumeric() || b == b'.').to_ascii_uppercase();
    Ok(match name.as_slice() {
        b"ENVELOPE" => FetchItem::Envelope,
        b"FLAGS" => FetchItem::Flags,
        b"INTERNALDATE" => FetchItem::InternalDate,
        b"RFC822.SIZE" => FetchItem::Size,
        b"UID" => FetchItem::Uid,
        b"MODSEQ" => FetchItem::ModSeq,
        b"EMAILID" => FetchItem::EmailId,
        b"THREADID" => FetchItem::ThreadId,
        b"SAVEDATE" => FetchItem::SaveDate,
        b"PREVIEW" => FetchItem::Preview { lazy: cursor.take_word(" (LAZY)") },
        b"BODYSTRUCTURE" => FetchItem::BodyStructure,
        b"RFC822" => FetchItem::Rfc822(SectionText::All),
        b"RFC822.HEADER" => FetchItem::Rfc822(SectionText::Header),
        b"RFC822.TEXT" => FetchItem::Rfc822(SectionText::Text),
        b"BODY" if cursor.peek() != Some(b'[') => FetchItem::Body,
        b"BODY" | b"BODY.PEEK" => {
            let section = section(cursor)?;
            let partial = partial(cursor)?;
            FetchItem::Section { section, peek: name.len() > 4, partial }
        }
        _ => return Err(SyntaxError::Bad("unknown FETCH item")),
    })
}

fn section(cursor: &mut Cursor<'_>) -> Parsed<Section> {
    cursor.expect(b'[')?;
    let mut numbers = Vec::new();
    let mut text = SectionText::All;
    while cursor.peek() != Some(b']') {
        if cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
            numbers.push(cursor.nz_number()?);
            if numbers.len() > MIME_DEPTH {
                return Err(SyntaxError::Limit("section too deep"));
            }
            if cursor.take(b'.') && cursor.peek() != Some(b']') {
                continue;
            }
        } else {
            text = section_text(cursor)?;
        }
        break;
    }
    cursor.expect(b']')?;
    if text == SectionText::Mime && numbers.is_empty() {
        return Err(SyntaxError::Bad("MIME needs a part number"));
    }
    Ok(Section { numbers, text })
}

fn section_text(cursor: &mut Cursor<'_>) -> Parsed<SectionText> {
    let name = cursor.run(|b| b.is_ascii_alphanumeric() || b == b'.').to_ascii_uppercase();
    let not = match name.as_slice() {
        b"HEADER" => return Ok(SectionText::Header),
        b"TEXT" => return Ok(SectionText::Text),
        b"MIME" => return Ok(SectionText::Mime),
        b"HEADER.FIELDS" => false,
        b"HEADER.FIELDS.NOT" => true,
        _ => return Err(SyntaxError::Bad("unknown section")),
    };
    cursor.space()?;
    let names = cursor.list(IMAP_FETCH_ITEMS, Cursor::astring)?;
    if names.is_empty() { Err(SyntaxError::Bad("header name missing")) } else { Ok(SectionText::Fields { not, names }) }
}

fn partial(cursor: &mut Cursor<'_>) -> Parsed<Option<(u32, u32)>> {
    if !cursor.take(b'<') {
        return Ok(None);
    }
    let from = cursor.number()?;
    cursor.expect(b'.')?;
    let len = cursor.nz_number()?;
    cursor.expect(b'>')?;
    Ok(Some((from, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<FetchItem>> {
        let mut cursor = Cursor::new(text.as_bytes(), 50);
        let items = fetch_items(&mut cursor).ok()?;
        cursor.is_end().then_some(items)
    }

    fn one(numbers: &[u32], text: SectionText, peek: bool, partial: Option<(u32, u32)>) -> Option<Vec<FetchItem>> {
        Some(vec![FetchItem::Section { section: Section { numbers: numbers.to_vec(), text }, peek, partial }])
    }

    #[test]
    fn items() {
        use SectionText::All;
        use SectionText::Header;
        use SectionText::Mime;
        use SectionText::Text;
        for (text, expected) in [
            ("body[]", one(&[], All, false, None)),
            ("BODY.PEEK[1.2.HEADER]<0.10>", one(&[1, 2], Header, true, Some((0, 10)))),
            ("BODY[TEXT]", one(&[], Text, false, None)),
            ("BODY[3.MIME]", one(&[3], Mime, false, None)),
            ("BODY[3]", one(&[3], All, false, None)),
            ("(UID BODYSTRUCTURE)", Some(vec![FetchItem::Uid, FetchItem::BodyStructure])),
            ("BODY", Some(vec![FetchItem::Body])),
            ("rfc822.header", Some(vec![FetchItem::Rfc822(Header)])),
            (
                "BODY[HEADER.FIELDS.NOT (From \"To\")]",
                one(&[], SectionText::Fields { not: true, names: vec![b"From".to_vec(), b"To".to_vec()] }, false, None),
            ),
            ("", None),
            ("()", None),
            ("BODY[MIME]", None),
            ("BODY[0]", None),
            ("BODY[1", None),
            ("BODY[X]", None),
            ("BODY[]<0.0>", None),
            ("BODY[]<1>", None),
            ("BODY[HEADER.FIELDS ()]", None),
            ("(ALL)", None),
            ("UNKNOWN", None),
            ("(UID  FLAGS)", None),
            ("BODY[]<4294967296.1>", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read("FULL").map(|i| i.len()), Some(5));
        assert_eq!(read("fast").map(|i| i.len()), Some(3));
        assert_eq!(read(&format!("BODY[{}1]", "1.".repeat(1000))), None);
    }

    #[test]
    fn what_sets_seen() {
        for (text, seen) in
            [("BODY[]", true), ("BODY.PEEK[]", false), ("RFC822", true), ("RFC822.HEADER", false), ("BODY", false)]
        {
            assert_eq!(read(text).is_some_and(|i| i[0].sets_seen()), seen, "{text}");
        }
    }
}
