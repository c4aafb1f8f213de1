//! What FETCH asks for: items, macros, sections, partial ranges (RFC 3501 §6.4.5, §9 `fetch-att`).

use crate::mail::limits::IMAP_FETCH_ITEMS;
use crate::mail::limits::MIME_DEPTH;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::esearch::Partial;

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
        partial: Option<(u64, u64)>,
    },
    /// `BINARY[…]` or `BINARY.PEEK[…]` (RFC 3516 §4.2).
    Binary {
        /// Part numbers, outermost first.
        numbers: Vec<u32>,
        /// Leave `\Seen` alone.
        peek: bool,
        /// First octet and number of octets, of what is decoded.
        partial: Option<(u64, u64)>,
    },
    /// `BINARY.SIZE[…]` (RFC 3516 §4.2).
    BinarySize(Vec<u32>),
}

impl FetchItem {
    /// The same, of a message that nobody reads now.
    #[must_use]
    pub fn without_seen(self) -> Self {
        match self {
            Self::Section { section, partial, .. } => Self::Section { section, peek: true, partial },
            Self::Binary { numbers, partial, .. } => Self::Binary { numbers, peek: true, partial },
            // The old names have no such form.
            Self::Rfc822(text) => {
                Self::Section { section: Section { numbers: Vec::new(), text }, peek: true, partial: None }
            }
            other => other,
        }
    }

    /// Whether it sets `\Seen` (RFC 3501 §6.4.5).
    #[must_use]
    pub fn sets_seen(&self) -> bool {
        match self {
            Self::Section { peek, .. } | Self::Binary { peek, .. } => !peek,
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

/// What stands behind the items of a FETCH (RFC 4466 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FetchModifiers {
    /// `CHANGEDSINCE`: messages whose mod-sequence is higher alone (RFC 7162 §3.1.4.1).
    pub changed_since: Option<u64>,
    /// `VANISHED`: what is gone since is told as well (RFC 7162 §3.2.6).
    pub vanished: bool,
    /// `PARTIAL`: of the messages that the set names, these alone (RFC 9394 §3.3).
    pub partial: Option<Partial>,
}

/// Reads what stands behind the items; nothing is as good as no modifier.
///
/// # Errors
/// There is one that nobody knows, or one twice, or `VANISHED` or `PARTIAL` where it may not be.
pub fn fetch_modifiers(cursor: &mut Cursor<'_>, numbers: Numbers) -> Parsed<FetchModifiers> {
    let mut modifiers = FetchModifiers::default();
    let mut ahead = cursor.clone();
    if !ahead.take(b' ') || ahead.peek() != Some(b'(') {
        return Ok(modifiers);
    }
    *cursor = ahead;
    let read = cursor.list(IMAP_FETCH_ITEMS, |cursor| {
        let twice = Err(SyntaxError::Bad("FETCH modifier given twice"));
        match cursor.atom()?.to_ascii_uppercase().as_str() {
            "CHANGEDSINCE" if modifiers.changed_since.is_some() => return twice,
            "CHANGEDSINCE" => {
                cursor.space()?;
                modifiers.changed_since = Some(mod_sequence(cursor)?);
            }
            "VANISHED" if modifiers.vanished => return twice,
            "VANISHED" => modifiers.vanished = true,
            "PARTIAL" if modifiers.partial.is_some() => return twice,
            "PARTIAL" => {
                cursor.space()?;
                modifiers.partial = Some(Partial::parse(cursor)?);
            }
            _ => return Err(SyntaxError::Bad("unknown FETCH modifier")),
        }
        Ok(())
    })?;
    if read.is_empty() {
        return Err(SyntaxError::Bad("FETCH modifier missing"));
    }
    // RFC 7162 §3.2.6: VANISHED belongs to UID FETCH, and to CHANGEDSINCE.
    if modifiers.vanished && (numbers != Numbers::Uid || modifiers.changed_since.is_none()) {
        return Err(SyntaxError::Bad("VANISHED goes with UID FETCH and CHANGEDSINCE"));
    }
    // RFC 9394 §3.3: it extends UID FETCH.
    if modifiers.partial.is_some() && numbers != Numbers::Uid {
        return Err(SyntaxError::Bad("PARTIAL goes with UID FETCH"));
    }
    Ok(modifiers)
}

/// `mod-sequence-value`: not 0.
///
/// # Errors
/// It is none.
pub fn mod_sequence(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    let value = cursor.number64()?;
    if value == 0 { Err(SyntaxError::Bad("mod-sequence must not be 0")) } else { Ok(value) }
}

/// One item.
///
/// # Errors
/// It is none.
pub fn fetch_item(cursor: &mut Cursor<'_>) -> Parsed<FetchItem> {
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
        b"BINARY" | b"BINARY.PEEK" => {
            let numbers = binary_section(cursor)?;
            FetchItem::Binary { numbers, peek: name.len() > 6, partial: partial(cursor)? }
        }
        b"BINARY.SIZE" => FetchItem::BinarySize(binary_section(cursor)?),
        _ => return Err(SyntaxError::Bad("unknown FETCH item")),
    })
}

/// `section-binary`: numbers alone.
fn binary_section(cursor: &mut Cursor<'_>) -> Parsed<Vec<u32>> {
    let section = section(cursor)?;
    if section.text == SectionText::All { Ok(section.numbers) } else { Err(SyntaxError::Bad("BINARY is of parts")) }
}

fn section(cursor: &mut Cursor<'_>) -> Parsed<Section> {
    cursor.expect(b'[')?;
    let section = bare_section(cursor)?;
    cursor.expect(b']')?;
    Ok(section)
}

/// A section without its brackets, up to the closing one or the end.
///
/// # Errors
/// It is none.
pub fn bare_section(cursor: &mut Cursor<'_>) -> Parsed<Section> {
    let mut numbers = Vec::new();
    let mut text = SectionText::All;
    while !cursor.is_end() && cursor.peek() != Some(b']') {
        if cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
            numbers.push(cursor.nz_number()?);
            if numbers.len() > MIME_DEPTH {
                return Err(SyntaxError::Limit("section too deep"));
            }
            if cursor.take(b'.') && !cursor.is_end() && cursor.peek() != Some(b']') {
                continue;
            }
        } else {
            text = section_text(cursor)?;
        }
        break;
    }
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

/// RFC 9051 §9 `partial`: numbers of 64 bits.
fn partial(cursor: &mut Cursor<'_>) -> Parsed<Option<(u64, u64)>> {
    if !cursor.take(b'<') {
        return Ok(None);
    }
    let from = cursor.number64()?;
    cursor.expect(b'.')?;
    let len = cursor.number64()?;
    if len == 0 {
        return Err(SyntaxError::Bad("number must not be 0"));
    }
    cursor.expect(b'>')?;
    Ok(Some((from, len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers() {
        let read = |text: &str, numbers| {
            let mut cursor = Cursor::new(text.as_bytes(), 50);
            let modifiers = fetch_modifiers(&mut cursor, numbers).ok()?;
            cursor.end().ok().map(|()| modifiers)
        };
        let none = FetchModifiers::default();
        let since = FetchModifiers { changed_since: Some(12), ..none };
        let partial = |text: &str| {
            let range = Partial::parse(&mut Cursor::new(text.as_bytes(), 1)).expect("valid");
            Some(FetchModifiers { partial: Some(range), ..none })
        };
        for (text, expected) in [
            ("", Some(none)),
            (" ", Some(none)),
            (" (changedsince 12)", Some(since)),
            (" (CHANGEDSINCE 12 VANISHED)", Some(FetchModifiers { vanished: true, ..since })),
            (" (VANISHED CHANGEDSINCE 12)", Some(FetchModifiers { vanished: true, ..since })),
            (" (PARTIAL 3:1)", partial("3:1")),
            (" (PARTIAL -1:-30)", partial("-1:-30")),
            (" (VANISHED)", None),
            (" ()", None),
            (" (X)", None),
            (" (CHANGEDSINCE)", None),
            (" (CHANGEDSINCE 1 CHANGEDSINCE 1)", None),
            (" (CHANGEDSINCE 9223372036854775808)", None),
            (" (PARTIAL 1:-3)", None),
            (" (PARTIAL -1:3)", None),
            (" (PARTIAL 0:3)", None),
            (" (PARTIAL 1)", None),
        ] {
            assert_eq!(read(text, Numbers::Uid), expected, "{text}");
        }
        assert_eq!(read(" (CHANGEDSINCE 12)", Numbers::Sequence), Some(since));
        assert_eq!(read(" (CHANGEDSINCE 12 VANISHED)", Numbers::Sequence), None);
        assert_eq!(read(" (PARTIAL 1:3)", Numbers::Sequence), None);
    }

    fn read(text: &str) -> Option<Vec<FetchItem>> {
        let mut cursor = Cursor::new(text.as_bytes(), 50);
        let items = fetch_items(&mut cursor).ok()?;
        cursor.is_end().then_some(items)
    }

    fn one(numbers: &[u32], text: SectionText, peek: bool, partial: Option<(u64, u64)>) -> Option<Vec<FetchItem>> {
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
            ("BODY[]<4294967296.1>", one(&[], All, false, Some((1 << 32, 1)))),
            ("BODY[]<1.9223372036854775808>", None),
            ("BINARY[1]", Some(vec![FetchItem::Binary { numbers: vec![1], peek: false, partial: None }])),
            (
                "binary.peek[1.2]<3.4>",
                Some(vec![FetchItem::Binary { numbers: vec![1, 2], peek: true, partial: Some((3, 4)) }]),
            ),
            ("BINARY.SIZE[]", Some(vec![FetchItem::BinarySize(vec![])])),
            ("BINARY[TEXT]", None),
            ("BINARY.SIZE[1]<0.1>", None),
            ("BINARY", None),
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
