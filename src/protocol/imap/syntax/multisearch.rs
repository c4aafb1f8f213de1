//! The arguments of ESEARCH (RFC 7377 §4), and the names of sets of mailboxes (RFC 5465 §6).

use crate::mail::limits::IMAP_SEARCH_SOURCES;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::esearch::Returns;
use crate::protocol::imap::syntax::mailbox::one_or_more_mailboxes;
use crate::protocol::imap::syntax::search::Key;
use crate::protocol::imap::syntax::search::refusable;
use crate::protocol::imap::syntax::search::search_keys;

/// Where to search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The selected mailbox.
    Selected,
    /// Where mail may be delivered to.
    Inboxes,
    /// All of the user's own.
    Personal,
    /// The subscribed ones.
    Subscribed,
    /// These and all below them.
    Subtree(Vec<MailboxName>),
    /// These and what is right below them.
    SubtreeOne(Vec<MailboxName>),
    /// These.
    Mailboxes(Vec<MailboxName>),
}

/// The arguments of ESEARCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EsearchArguments {
    /// Where; `selected` where nothing is said (RFC 7377 §2.2).
    pub sources: Vec<Source>,
    /// What shall be returned.
    pub returns: Returns,
    /// What is looked for; an error means `NO`.
    pub key: Parsed<Key>,
}

impl EsearchArguments {
    /// Reads them.
    ///
    /// # Errors
    /// They are not what ESEARCH takes.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut sources = vec![Source::Selected];
        if cursor.take_word("IN ") {
            // No scope options are defined, so a parenthesis in the list is an error.
            sources = cursor.list(IMAP_SEARCH_SOURCES, source)?;
            if sources.is_empty() {
                return Err(SyntaxError::Bad("source of the search missing"));
            }
            cursor.space()?;
        }
        let returns = Returns::parse(cursor)?.unwrap_or_else(Returns::all);
        Ok(Self { sources, returns, key: refusable(cursor, search_keys)? })
    }
}

fn source(cursor: &mut Cursor<'_>) -> Parsed<Source> {
    let name = cursor.run(|b| b.is_ascii_alphabetic() || b == b'-').to_ascii_lowercase();
    Ok(match name.as_slice() {
        b"selected" => Source::Selected,
        b"inboxes" => Source::Inboxes,
        b"personal" => Source::Personal,
        b"subscribed" => Source::Subscribed,
        b"subtree" => Source::Subtree(one_or_more_mailboxes(cursor)?),
        b"subtree-one" => Source::SubtreeOne(one_or_more_mailboxes(cursor)?),
        b"mailboxes" => Source::Mailboxes(one_or_more_mailboxes(cursor)?),
        // RFC 7377 §2.2: selected-delayed is not valid here.
        _ => return Err(SyntaxError::Bad("unknown source of a search")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_searches() {
        let name = |t: &str| MailboxName::parse(t).expect("valid");
        let read = |text: &str| {
            let mut cursor = Cursor::new(text.as_bytes(), 5);
            let arguments = EsearchArguments::parse(&mut cursor)?;
            cursor.end()?;
            Ok::<_, SyntaxError>(arguments)
        };
        for (text, sources) in [
            ("ALL", vec![Source::Selected]),
            ("IN (selected) RETURN (COUNT) ALL", vec![Source::Selected]),
            ("in (Personal Subscribed inboxes) ALL", vec![Source::Personal, Source::Subscribed, Source::Inboxes]),
            (
                "IN (mailboxes \"folder1\" subtree-one \"folder2\") ALL",
                vec![Source::Mailboxes(vec![name("folder1")]), Source::SubtreeOne(vec![name("folder2")])],
            ),
            ("IN (subtree (a {1}\r\nb)) ALL", vec![Source::Subtree(vec![name("a"), name("b")])]),
        ] {
            assert_eq!(read(text).map(|a| (a.sources, a.key)), Ok((sources, Ok(Key::All))), "{text}");
        }
        for bad in [
            "",
            "IN () ALL",
            "IN (selected-delayed) ALL",
            "IN (mailboxes) ALL",
            "IN (mailboxes ()) ALL",
            "IN selected ALL",
            "IN (selected (x)) ALL",
            "IN (selected)",
        ] {
            assert!(matches!(read(bad), Err(SyntaxError::Bad(_))), "{bad}");
        }
        assert!(matches!(read("IN (mailboxes ../x) ALL"), Err(SyntaxError::Name(_))));
    }
}
