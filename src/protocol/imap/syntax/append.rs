//! The arguments of APPEND before its message (RFC 3501 §6.3.11).

use crate::mail::limits::IMAP_NESTING;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::command::parse_tag;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::date::date_time;
use crate::protocol::imap::syntax::mailbox::mailbox;
use crate::protocol::imap::syntax::set::SequenceSet;
use crate::protocol::imap::syntax::spelling::Spelling;
use crate::protocol::imap::syntax::store::NamedFlags;

/// Where a message goes and what it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendArguments {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// Flags to be set.
    pub flags: NamedFlags,
    /// INTERNALDATE in seconds since 1970.
    pub date: Option<i64>,
    /// The literal stands in `UTF8 (…)` (RFC 6855 §4).
    pub in_utf8: bool,
    /// The message of the selected mailbox that goes when this one is there: REPLACE (RFC 8508).
    pub replaces: Option<(Numbers, SequenceSet)>,
}

/// An APPEND whose message is announced next: its tag, and its arguments or what is wrong with them.
pub type AppendHead = (String, Parsed<AppendArguments>);

/// Looks at a command up to the announcement of a literal: is it an APPEND, and is the literal its message? `None`
/// where it is another command, or the literal is the mailbox name. Mailbox names are spelled like this.
#[must_use]
pub fn append_head(so_far: &[u8], spelling: Spelling) -> Option<AppendHead> {
    let mut cursor = Cursor::new(so_far, IMAP_NESTING).with_spelling(spelling);
    let tag = parse_tag(&mut cursor).ok()?;
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
    let replaces = match replaces.map(|numbers| replaced(&mut cursor).map(|set| (numbers, set))).transpose() {
        Ok(replaces) => replaces,
        Err(error) => return Some((tag, Err(error))),
    };
    if cursor.is_end() {
        return None;
    }
    Some((tag, arguments(&mut cursor).map(|arguments| AppendArguments { replaces, ..arguments })))
}

fn replaced(cursor: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    let set = SequenceSet::parse(cursor)?;
    cursor.space()?;
    Ok(set)
}

/// What stands between two messages of one APPEND (RFC 3502 §6.3.11): flags and a date of the next.
///
/// # Errors
/// It is something else.
pub fn next_message(between: &[u8], mailbox: MailboxName) -> Parsed<AppendArguments> {
    let mut cursor = Cursor::new(between, IMAP_NESTING);
    cursor.space()?;
    message(&mut cursor, mailbox)
}

fn arguments(cursor: &mut Cursor<'_>) -> Parsed<AppendArguments> {
    let name = mailbox(cursor);
    // A name that cannot be must not hide a worse mistake behind it.
    let name = match name {
        Err(SyntaxError::Bad(words)) => return Err(SyntaxError::Bad(words)),
        name => name,
    };
    cursor.space()?;
    // What is wrong with a name is told last.
    let message = message(cursor, MailboxName::inbox())?;
    Ok(AppendArguments { mailbox: name?, ..message })
}

fn message(cursor: &mut Cursor<'_>, mailbox: MailboxName) -> Parsed<AppendArguments> {
    let mut flags = NamedFlags::default();
    if cursor.peek() == Some(b'(') {
        flags = NamedFlags::parse(cursor)?;
        cursor.space()?;
    }
    let mut date = None;
    if cursor.peek() == Some(b'"') {
        date = Some(date_time(cursor)?);
        cursor.space()?;
    }
    let in_utf8 = cursor.take_word("UTF8 (");
    // RFC 3516 §4.4: a literal8 may hold anything.
    let is_literal8 = cursor.take(b'~');
    if !cursor.is_end() || (in_utf8 && !is_literal8) {
        return Err(SyntaxError::Bad("APPEND takes flags, a date and a literal"));
    }
    Ok(AppendArguments { mailbox, flags, date, in_utf8, replaces: None })
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
        ] {
            let read = append_head(text.as_bytes(), Spelling::default());
            match (read, expected) {
                (None, None) => {}
                (Some((tag, Ok(_))), Some(Ok(()))) => assert_eq!(tag, "a"),
                (Some((_, Err(error))), Some(Err(name))) => assert_eq!(matches!(error, SyntaxError::Name(_)), name),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
        let text = b"a APPEND x (\\Seen kw) \" 1-Jan-1970 00:00:01 +0000\" ";
        let (_, arguments) = append_head(text, Spelling::default()).expect("APPEND");
        let arguments = arguments.expect("valid");
        assert_eq!((arguments.date, arguments.flags.keywords), (Some(1), vec!["kw".to_owned()]));
    }
}
