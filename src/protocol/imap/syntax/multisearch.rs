//! The arguments of ESEARCH (RFC 7377 §4).

use crate::mail::limits::IMAP_SEARCH_SOURCES;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::esearch::Returns;
use crate::protocol::imap::syntax::filter::Filter;
use crate::protocol::imap::syntax::search::Key;
use crate::protocol::imap::syntax::search::refusable;
use crate::protocol::imap::syntax::search::search_keys;

/// The arguments of ESEARCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EsearchArguments {
    /// Where; `selected` where nothing is said (RFC 7377 §2.2).
    pub sources: Vec<Filter>,
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
        let mut sources = vec![Filter::Selected];
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

fn source(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    match Filter::parse(cursor)? {
        // RFC 7377 §2.2.
        Filter::SelectedDelayed => Err(SyntaxError::Bad("selected-delayed is no source of a search")),
        source => Ok(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mailbox::MailboxName;

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
            ("ALL", vec![Filter::Selected]),
            ("IN (selected) RETURN (COUNT) ALL", vec![Filter::Selected]),
            ("in (Personal Subscribed inboxes) ALL", vec![Filter::Personal, Filter::Subscribed, Filter::Inboxes]),
            (
                "IN (mailboxes \"folder1\" subtree-one \"folder2\") ALL",
                vec![Filter::Mailboxes(vec![name("folder1")]), Filter::SubtreeOne(vec![name("folder2")])],
            ),
            ("IN (subtree (a {1}\r\nb)) ALL", vec![Filter::Subtree(vec![name("a"), name("b")])]),
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
