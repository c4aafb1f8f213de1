//! Mailbox names on the wire (RFC 3501 §5.1, §9 `mailbox`), and the data items of STATUS (§6.3.10).

use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;

/// Reads a mailbox name.
///
/// # Errors
/// [`SyntaxError::Name`] where it is a string but no name of a mailbox that could be.
pub fn mailbox(cursor: &mut Cursor<'_>) -> Parsed<MailboxName> {
    let octets = cursor.astring()?;
    let spelling = cursor.spelling();
    let not_spelled = if spelling.utf8 { "mailbox name is not UTF-8" } else { "mailbox name is not modified UTF-7" };
    let name = spelling.decode(&octets).ok_or(SyntaxError::Name(not_spelled))?;
    spelling.separator.parse(&name).map_err(|error| {
        use crate::mail::mailbox::MailboxNameError;
        SyntaxError::Name(match error {
            MailboxNameError::Empty => "empty mailbox name",
            MailboxNameError::Forbidden => "mailbox name with a forbidden component",
            MailboxNameError::TooLong => "mailbox name too long or too deep",
        })
    })
}

/// What STATUS tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusItem {
    /// `MESSAGES`.
    Messages,
    /// `RECENT`.
    Recent,
    /// `UIDNEXT`.
    UidNext,
    /// `UIDVALIDITY`.
    UidValidity,
    /// `UNSEEN`.
    Unseen,
    /// `SIZE` (RFC 8438).
    Size,
    /// `DELETED` (RFC 9208 §4.1.4, RFC 9051 §6.3.11).
    Deleted,
    /// `DELETED-STORAGE` (RFC 9208 §4.1.4).
    DeletedStorage,
    /// `HIGHESTMODSEQ` (RFC 7162 §3.1.2.2).
    HighestModSeq,
    /// `APPENDLIMIT` (RFC 7889 §3.1).
    AppendLimit,
    /// `MAILBOXID` (RFC 8474 §4.3).
    MailboxId,
}

impl StatusItem {
    const ALL: [Self; 11] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Size,
        Self::Deleted,
        Self::DeletedStorage,
        Self::HighestModSeq,
        Self::AppendLimit,
        Self::MailboxId,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Size => "SIZE",
            Self::Deleted => "DELETED",
            Self::DeletedStorage => "DELETED-STORAGE",
            Self::HighestModSeq => "HIGHESTMODSEQ",
            Self::AppendLimit => "APPENDLIMIT",
            Self::MailboxId => "MAILBOXID",
        }
    }
}

/// The list of STATUS items.
///
/// # Errors
/// It is none, or has an item that we do not know.
pub fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    let items = cursor.list(50, |cursor| {
        let name = cursor.atom()?;
        StatusItem::ALL
            .into_iter()
            .find(|item| item.name().eq_ignore_ascii_case(name))
            .ok_or(SyntaxError::Bad("unknown STATUS item"))
    })?;
    if items.is_empty() { Err(SyntaxError::Bad("STATUS item missing")) } else { Ok(items) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mailbox::Separator;
    use crate::protocol::imap::syntax::spelling::Spelling;

    #[test]
    fn names() {
        for (text, expected) in [
            ("inbox", Ok("INBOX")),
            ("\"Entw&APw-rfe/a b\"", Ok("Entwürfe/a b")),
            ("{3}\r\na/b", Ok("a/b")),
            ("a&AC8-b", Err(true)),
            ("../x", Err(true)),
            ("\"\"", Err(true)),
            ("Entw\u{fc}rfe", Ok("Entwürfe")),
            ("(", Err(false)),
        ] {
            let read = mailbox(&mut Cursor::new(text.as_bytes(), 1));
            match (read, expected) {
                (Ok(name), Ok(expected)) => {
                    assert_eq!(name.as_str(), expected);
                    let wire = format!("\"{}\"", Spelling::default().encode(&name));
                    assert_eq!(mailbox(&mut Cursor::new(wire.as_bytes(), 1)), Ok(name));
                }
                (Err(error), Err(is_name)) => assert_eq!(matches!(error, SyntaxError::Name(_)), is_name, "{text}"),
                (read, _) => panic!("{text}: {read:?}"),
            }
        }
    }

    #[test]
    fn names_with_dots() {
        let read = |text: &str| mailbox(&mut Cursor::new(text.as_bytes(), 1).with_spelling(Separator::Dot));
        for (text, expected) in
            [("inbox.Sub", "INBOX/Sub"), ("\"Entw&APw-rfe.a b\"", "Entwürfe/a b"), ("a\\2eb.c", "a.b/c")]
        {
            let quoted = if text.contains('\\') { format!("{{{}}}\r\n{text}", text.len()) } else { text.to_owned() };
            let name = read(&quoted).expect("valid");
            assert_eq!(name.as_str(), expected);
            let wire = Spelling::from(Separator::Dot).encode(&name);
            assert_eq!(read(&format!("{{{}}}\r\n{wire}", wire.len())), Ok(name));
        }
        assert!(matches!(read("a/b"), Err(SyntaxError::Name(_))));
    }

    #[test]
    fn status() {
        let read = |t: &str| status_items(&mut Cursor::new(t.as_bytes(), 1));
        assert_eq!(read("(unseen MESSAGES)"), Ok(vec![StatusItem::Unseen, StatusItem::Messages]));
        for bad in ["()", "(X)", "MESSAGES", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
