//! The arguments of APPEND (RFC 3501 §6.3.11) and REPLACE (RFC 8508): of one message or several (RFC 3502), each a
//! literal or put together from literals and parts of other messages (CATENATE, RFC 4469).
//!
//! The literals never come here: they are read past the grammar, which sees the text between them, one piece at a time.

use crate::mail::limits::IMAP_APPEND_MESSAGES;
use crate::mail::limits::IMAP_CATENATE_PARTS;
use crate::mail::limits::IMAP_NESTING;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::date::date_time;
use crate::protocol::imap::syntax::mailbox::mailbox;
use crate::protocol::imap::syntax::set::SequenceSet;
use crate::protocol::imap::syntax::spelling::Spelling;
use crate::protocol::imap::syntax::store::NamedFlags;

/// An APPEND up to its first literal, or up to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Where the messages go.
    pub mailbox: MailboxName,
    /// The message of the selected mailbox that goes when the new one is there: REPLACE.
    pub replaces: Option<(Numbers, SequenceSet)>,
    /// What the text says.
    pub script: Script,
}

/// What a piece of text between literals says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// What is to be done, in this order.
    pub steps: Vec<Step>,
    /// Where the literal stands that comes then.
    pub at: LiteralPlace,
}

/// One thing to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A message begins, with these flags and this INTERNALDATE in seconds since 1970.
    Begin(NamedFlags, Option<i64>),
    /// The text that a URL names is added to it.
    Url(Vec<u8>),
    /// The literal that is announced is added to it.
    Literal,
    /// The message is complete.
    End,
}

/// Where a literal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LiteralPlace {
    in_catenate: bool,
    /// In `UTF8 (…)` (RFC 6855 §4).
    in_utf8: bool,
}

impl LiteralPlace {
    /// Whether it is a part of a message, not a whole one.
    #[must_use]
    pub fn in_catenate(self) -> bool {
        self.in_catenate
    }
}

/// What ends a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The announcement of a literal.
    InLiteral,
    /// The end of the command.
    InNothing,
}

/// Looks at a command up to the announcement of a literal: is it an APPEND, and is the literal a message or a part of
/// one? `None` where it is another command, or the literal is the name of the mailbox or a URL. Otherwise the tag, and
/// the arguments or what is wrong with them. Mailbox names are spelled like this.
#[must_use]
pub fn append_head(so_far: &[u8], spelling: Spelling) -> Option<(String, Parsed<Append>)> {
    let mut cursor = Cursor::new(so_far, IMAP_NESTING).with_spelling(spelling);
    let tag = super::command::parse_tag(&mut cursor).ok()?;
    if !cursor.take(b' ') {
        return None;
    }
    let replaces = if cursor.take_word("APPEND ") {
        None
    } else if cursor.take_word("REPLACE ") {
        Some(Numbers::Sequence)
    } else if cursor.take_word("UID REPLACE ") {
        Some(Numbers::Uid)
    } else {
        return None;
    };
    match arguments(&mut cursor, replaces, Ends::InLiteral) {
        Ok(append) => append.map(|append| (tag, Ok(append))),
        Err(error) => Some((tag, Err(error))),
    }
}

/// Reads the arguments of an APPEND, or of a REPLACE of a message with such a number; `None` where a literal that is
/// no message comes next.
///
/// # Errors
/// They are something else.
pub fn arguments(cursor: &mut Cursor<'_>, replaces: Option<Numbers>, ends: Ends) -> Parsed<Option<Append>> {
    let replaces = match replaces {
        Some(numbers) => {
            let set = SequenceSet::parse(cursor)?;
            cursor.space()?;
            Some((numbers, set))
        }
        None => None,
    };
    if cursor.is_end() && ends == Ends::InLiteral {
        return Ok(None);
    }
    let name = mailbox(cursor);
    // A name that cannot be must not hide a worse mistake behind it.
    let name = match name {
        Err(SyntaxError::Bad(words)) => return Err(SyntaxError::Bad(words)),
        name => name,
    };
    cursor.space()?;
    // What is wrong with a name is told last.
    let Some(script) = Reader { cursor, ends, steps: Vec::new() }.message()? else { return Ok(None) };
    Ok(Some(Append { mailbox: name?, replaces, script }))
}

/// Reads on behind a literal that stood at `place`; `None` where a literal that is no message comes next.
///
/// # Errors
/// There is something else.
pub fn behind_literal(text: &[u8], place: LiteralPlace, ends: Ends) -> Parsed<Option<Script>> {
    let mut cursor = Cursor::new(text, IMAP_NESTING);
    if place.in_utf8 {
        cursor.expect(b')')?;
    }
    let mut reader = Reader { cursor: &mut cursor, ends, steps: Vec::new() };
    if place.in_catenate {
        return reader.parts(false);
    }
    reader.steps.push(Step::End);
    reader.behind_message()
}

struct Reader<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    ends: Ends,
    steps: Vec<Step>,
}

impl Reader<'_, '_> {
    /// At the beginning of a message: flags, a date, and what it is made of.
    fn message(mut self) -> Parsed<Option<Script>> {
        if self.steps.len() > IMAP_APPEND_MESSAGES * 2 {
            return Err(SyntaxError::Limit("too many messages"));
        }
        let mut flags = NamedFlags::default();
        if self.cursor.peek() == Some(b'(') {
            flags = NamedFlags::parse(self.cursor)?;
            self.cursor.space()?;
        }
        let mut date = None;
        if self.cursor.peek() == Some(b'"') {
            date = Some(date_time(self.cursor)?);
            self.cursor.space()?;
        }
        self.steps.push(Step::Begin(flags, date));
        if self.cursor.take_word("CATENATE (") {
            return self.parts(true);
        }
        self.literal(false)
    }

    /// In the list of CATENATE, before its first part or behind another.
    fn parts(mut self, mut first: bool) -> Parsed<Option<Script>> {
        let mut urls = 0;
        loop {
            if !first && self.cursor.take(b')') {
                self.steps.push(Step::End);
                return self.behind_message();
            }
            if !std::mem::take(&mut first) {
                self.cursor.space()?;
            }
            if !self.cursor.take_word("URL ") {
                // RFC 6855 §4: UTF8 (…) may stand in place of TEXT.
                let is_text = self.cursor.take_word("TEXT ");
                return self.literal_of_part(is_text);
            }
            if self.cursor.is_end() && self.ends == Ends::InLiteral {
                return Ok(None);
            }
            urls += 1;
            if urls > IMAP_CATENATE_PARTS {
                return Err(SyntaxError::Limit("too many parts in one message"));
            }
            self.steps.push(Step::Url(self.cursor.astring()?));
        }
    }

    fn literal_of_part(self, is_text: bool) -> Parsed<Option<Script>> {
        if !is_text && !self.cursor.clone().take_word("UTF8 (") {
            return Err(SyntaxError::Bad("CATENATE takes TEXT and URL"));
        }
        self.literal(true)
    }

    /// The text ends before the literal of a message, or of a part.
    fn literal(mut self, in_catenate: bool) -> Parsed<Option<Script>> {
        let in_utf8 = self.cursor.take_word("UTF8 (");
        // RFC 3516 §4.4: a literal8 may hold anything.
        let is_literal8 = self.cursor.take(b'~');
        if !self.cursor.is_end() || self.ends == Ends::InNothing || (in_utf8 && !is_literal8) {
            return Err(SyntaxError::Bad("APPEND takes flags, a date and a literal"));
        }
        self.steps.push(Step::Literal);
        Ok(Some(Script { steps: self.steps, at: LiteralPlace { in_catenate, in_utf8 } }))
    }

    /// Another message, or the end.
    fn behind_message(self) -> Parsed<Option<Script>> {
        if self.ends == Ends::InNothing && self.cursor.clone().end().is_ok() {
            self.cursor.end()?;
            return Ok(Some(Script { steps: self.steps, at: LiteralPlace::default() }));
        }
        self.cursor.space()?;
        self.message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        for (text, expected) in [
            ("a APPEND INBOX ", Some(Ok(()))),
            ("a append {5}\r\nINBOX (\\Seen kw) \" 1-Jan-1970 00:00:00 +0000\" ", Some(Ok(()))),
            ("a APPEND \"x y\" (\\Draft) ", Some(Ok(()))),
            ("a APPEND ", None),
            ("a REPLACE 4 ", None),
            ("a REPLACE 4 Drafts (\\Seen) ", Some(Ok(()))),
            ("a UID REPLACE 2000 Drafts ~", Some(Ok(()))),
            ("a REPLACE x Drafts ", Some(Err(false))),
            ("a REPLACE 4", Some(Err(false))),
            ("a LOGIN ", None),
            ("APPEND", None),
            ("a APPEND INBOX", Some(Err(false))),
            ("a APPEND INBOX ~", Some(Ok(()))),
            ("a APPEND INBOX ~~", Some(Err(false))),
            ("a APPEND INBOX (\\Seen) UTF8 (~", Some(Ok(()))),
            ("a APPEND INBOX UTF8 (", Some(Err(false))),
            ("a APPEND INBOX UTF8 ~", Some(Err(false))),
            ("a APPEND INBOX \"nonsense\" ", Some(Err(false))),
            ("a APPEND ../x ", Some(Err(true))),
            ("a APPEND x CATENATE (URL ", None),
            ("a APPEND x CATENATE (TEXT ", Some(Ok(()))),
            ("a APPEND x CATENATE (UTF8 (~", Some(Ok(()))),
            ("a APPEND x CATENATE (URL \"u\" URL {1}\r\nv TEXT ", Some(Ok(()))),
            ("a APPEND x CATENATE (URL u) ~", Some(Ok(()))),
            ("a APPEND x CATENATE (", Some(Err(false))),
            ("a APPEND x CATENATE (LINE ", Some(Err(false))),
        ] {
            let read = append_head(text.as_bytes(), Spelling::default());
            match (read, expected) {
                (None, None) => {}
                (Some((tag, Ok(_))), Some(Ok(()))) => assert_eq!(tag, "a", "{text}"),
                (Some((_, Err(error))), Some(Err(name))) => assert_eq!(matches!(error, SyntaxError::Name(_)), name),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
        let text = b"a APPEND x (\\Seen kw) \" 1-Jan-1970 00:00:01 +0000\" ";
        let (_, append) = append_head(text, Spelling::default()).expect("APPEND");
        let steps = append.expect("valid").script.steps;
        let [Step::Begin(flags, date), Step::Literal] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!((*date, flags.keywords.as_slice()), (Some(1), &["kw".to_owned()][..]));
    }

    #[test]
    fn scripts() {
        let begin = || Step::Begin(NamedFlags::default(), None);
        let url = |text: &str| Step::Url(text.as_bytes().to_vec());
        let whole = |text: &str| {
            let mut cursor = Cursor::new(text.as_bytes(), 10);
            arguments(&mut cursor, None, Ends::InNothing).map(|append| append.map(|append| append.script.steps))
        };
        assert_eq!(
            whole("x CATENATE (URL u URL v) CATENATE (URL w) "),
            Ok(Some(vec![begin(), url("u"), url("v"), Step::End, begin(), url("w"), Step::End]))
        );
        for bad in ["x", "x CATENATE ()", "x CATENATE (URL u", "x CATENATE (URL u)x", "x CATENATE (TEXT {1}\r\na)"] {
            assert!(matches!(whole(bad), Err(SyntaxError::Bad(_))), "{bad}");
        }
        let plain = LiteralPlace::default();
        let part = LiteralPlace { in_catenate: true, in_utf8: false };
        let utf8 = LiteralPlace { in_utf8: true, ..plain };
        for (text, place, ends, expected) in [
            ("", plain, Ends::InNothing, Ok(Some((vec![Step::End], plain)))),
            (" ", plain, Ends::InNothing, Ok(Some((vec![Step::End], plain)))),
            (")", utf8, Ends::InNothing, Ok(Some((vec![Step::End], plain)))),
            ("", utf8, Ends::InNothing, Err(())),
            (" (\\Seen", plain, Ends::InNothing, Err(())),
            (" ", plain, Ends::InLiteral, Ok(Some((vec![Step::End, begin(), Step::Literal], plain)))),
            (")", part, Ends::InNothing, Ok(Some((vec![Step::End], plain)))),
            (" URL u TEXT ", part, Ends::InLiteral, Ok(Some((vec![url("u"), Step::Literal], part)))),
            (" URL ", part, Ends::InLiteral, Ok(None)),
            (") ", part, Ends::InLiteral, Ok(Some((vec![Step::End, begin(), Step::Literal], plain)))),
            ("", part, Ends::InNothing, Err(())),
        ] {
            let read = behind_literal(text.as_bytes(), place, ends);
            let read = read.map(|script| script.map(|script| (script.steps, script.at))).map_err(|_| ());
            assert_eq!(read, expected, "{text}");
        }
    }
}
