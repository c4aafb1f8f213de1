//! The arguments of SORT and THREAD (RFC 5256 §5, RFC 5957 §5, RFC 5267 §3).

use crate::mail::limits::IMAP_SORT_CRITERIA;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::esearch::Returns;
use crate::protocol::imap::syntax::search::Key;
use crate::protocol::imap::syntax::search::refusable;
use crate::protocol::imap::syntax::search::search_criteria;

/// What messages are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortKey {
    /// INTERNALDATE.
    Arrival,
    /// Mailbox of the first address in `Cc`.
    Cc,
    /// Sent date.
    Date,
    /// What is shown of the first address in `From` (RFC 5957).
    DisplayFrom,
    /// What is shown of the first address in `To`.
    DisplayTo,
    /// Mailbox of the first address in `From`.
    From,
    /// Octets.
    Size,
    /// Base subject.
    Subject,
    /// Mailbox of the first address in `To`.
    To,
}

/// One criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortCriterion {
    /// By what.
    pub key: SortKey,
    /// From the largest to the smallest.
    pub reverse: bool,
}

/// The arguments of SORT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortArguments {
    /// What shall be returned in an ESEARCH response (RFC 5267 §3).
    pub returns: Option<Returns>,
    /// The first counts most. No key is twice in it.
    pub criteria: Vec<SortCriterion>,
    /// Which messages; an error means `NO`.
    pub key: Parsed<Key>,
}

impl SortArguments {
    /// Reads them.
    ///
    /// # Errors
    /// They are not what SORT takes.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let returns = Returns::parse(cursor)?;
        let written = cursor.list(IMAP_SORT_CRITERIA, criterion)?;
        if written.is_empty() {
            return Err(SyntaxError::Bad("sort criterion missing"));
        }
        let mut criteria: Vec<SortCriterion> = Vec::new();
        for criterion in written {
            // A key that comes again decides nothing.
            if criteria.iter().all(|c| c.key != criterion.key) {
                criteria.push(criterion);
            }
        }
        cursor.space()?;
        Ok(Self { returns, criteria, key: refusable(cursor, search_criteria)? })
    }
}

fn criterion(cursor: &mut Cursor<'_>) -> Parsed<SortCriterion> {
    let reverse = cursor.take_word("REVERSE ");
    let key = match cursor.atom()?.to_ascii_uppercase().as_str() {
        "ARRIVAL" => SortKey::Arrival,
        "CC" => SortKey::Cc,
        "DATE" => SortKey::Date,
        "DISPLAYFROM" => SortKey::DisplayFrom,
        "DISPLAYTO" => SortKey::DisplayTo,
        "FROM" => SortKey::From,
        "SIZE" => SortKey::Size,
        "SUBJECT" => SortKey::Subject,
        "TO" => SortKey::To,
        _ => return Err(SyntaxError::Bad("unknown sort criterion")),
    };
    Ok(SortCriterion { key, reverse })
}

/// How messages are gathered into threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadAlgorithm {
    /// By base subject.
    OrderedSubject,
    /// By references, then by base subject.
    References,
    /// By references alone; the thread that had the last message comes last.
    Refs,
}

/// The arguments of THREAD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadArguments {
    /// How.
    pub algorithm: ThreadAlgorithm,
    /// Which messages; an error means `NO`.
    pub key: Parsed<Key>,
}

impl ThreadArguments {
    /// Reads them.
    ///
    /// # Errors
    /// They are not what THREAD takes.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let algorithm = match cursor.atom()?.to_ascii_uppercase().as_str() {
            "ORDEREDSUBJECT" => ThreadAlgorithm::OrderedSubject,
            "REFERENCES" => ThreadAlgorithm::References,
            "REFS" => ThreadAlgorithm::Refs,
            _ => return Err(SyntaxError::Bad("unknown threading algorithm")),
        };
        cursor.space()?;
        Ok(Self { algorithm, key: refusable(cursor, search_criteria)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::syntax::search::Key;

    fn sort(text: &str) -> Parsed<SortArguments> {
        let mut cursor = Cursor::new(text.as_bytes(), 5);
        let arguments = SortArguments::parse(&mut cursor)?;
        cursor.end()?;
        Ok(arguments)
    }

    #[test]
    fn sorts() {
        let by = |key, reverse| SortCriterion { key, reverse };
        for (text, criteria, key) in [
            ("(SUBJECT) UTF-8 ALL", vec![by(SortKey::Subject, false)], Ok(Key::All)),
            (
                "(subject reverse date) \"us-ascii\" ALL",
                vec![by(SortKey::Subject, false), by(SortKey::Date, true)],
                Ok(Key::All),
            ),
            (
                "RETURN () (DISPLAYFROM TO DISPLAYFROM) UTF-8 ALL",
                vec![by(SortKey::DisplayFrom, false), by(SortKey::To, false)],
                Ok(Key::All),
            ),
            ("(SIZE) x-none TEXT \"x\"", vec![by(SortKey::Size, false)], Err(SyntaxError::Charset)),
        ] {
            let read = sort(text).expect(text);
            assert_eq!((read.criteria, read.key), (criteria, key), "{text}");
        }
        for bad in ["() UTF-8 ALL", "(SUBJECT)", "(NAME) UTF-8 ALL", "(REVERSE) UTF-8 ALL", "SUBJECT UTF-8 ALL"] {
            assert!(matches!(sort(bad), Err(SyntaxError::Bad(_))), "{bad}");
        }
        // RFC 5256 §3: the charset is not optional; this one would be called ALL, and no key follows.
        assert_eq!(sort("(SUBJECT) ALL").map(|s| s.key), Ok(Err(SyntaxError::Charset)));
    }

    #[test]
    fn threads() {
        let read = |text: &str| ThreadArguments::parse(&mut Cursor::new(text.as_bytes(), 5));
        for (text, algorithm) in [
            ("ORDEREDSUBJECT UTF-8 ALL", ThreadAlgorithm::OrderedSubject),
            ("references us-ascii ALL", ThreadAlgorithm::References),
            ("REFS UTF-8 ALL", ThreadAlgorithm::Refs),
        ] {
            assert_eq!(read(text), Ok(ThreadArguments { algorithm, key: Ok(Key::All) }));
        }
        assert!(read("FAMILY UTF-8 ALL").is_err());
    }
}
