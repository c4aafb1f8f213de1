//! What SELECT and EXAMINE may bring besides a name (RFC 4466 §2.1): CONDSTORE and QRESYNC (RFC 7162 §3.1.8, §3.2.5).

use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::fetch::mod_sequence;
use crate::protocol::imap::syntax::set::SequenceSet;

/// The parameters of SELECT.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SelectParameters {
    /// `CONDSTORE`.
    pub condstore: bool,
    /// `QRESYNC`.
    pub qresync: Option<Known>,
}

/// What a client knows of a mailbox from before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its UIDVALIDITY then.
    pub validity: UidValidity,
    /// The highest mod-sequence that it was told.
    pub modseq: u64,
    /// The UIDs it knows; all where it does not say.
    pub uids: Option<SequenceSet>,
}

impl SelectParameters {
    /// Reads them, if there are any.
    ///
    /// # Errors
    /// They are none that we know.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut out = Self::default();
        if !cursor.take_word(" (") {
            return Ok(out);
        }
        loop {
            if cursor.take_word("CONDSTORE") {
                out.condstore = true;
            } else if cursor.take_word("QRESYNC (") {
                out.qresync = Some(Known::parse(cursor)?);
            } else {
                return Err(SyntaxError::Bad("unknown SELECT parameter"));
            }
            if cursor.take(b')') {
                return Ok(out);
            }
            cursor.space()?;
        }
    }
}

impl Known {
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let validity = UidValidity::new(cursor.nz_number()?).ok_or(SyntaxError::Bad("bad UIDVALIDITY"))?;
        cursor.space()?;
        let mut out = Self { validity, modseq: mod_sequence(cursor)?, uids: None };
        if cursor.take(b' ') && cursor.peek() != Some(b'(') {
            out.uids = Some(known_set(cursor)?);
            if !cursor.take(b' ') {
                return cursor.expect(b')').map(|()| out);
            }
        }
        if cursor.take(b'(') {
            // RFC 7162 §3.2.5.2: numbers and UIDs that belong together help servers that remember little. We remember
            // what vanished, and where we do not, telling all UIDs that are not there is right as well.
            known_set(cursor)?;
            cursor.space()?;
            known_set(cursor)?;
            cursor.expect(b')')?;
        }
        cursor.expect(b')')?;
        Ok(out)
    }
}

/// RFC 7162 §7 `known-uids`: without `*`.
fn known_set(cursor: &mut Cursor<'_>) -> Parsed<SequenceSet> {
    const BAD: SyntaxError = SyntaxError::Bad("numbers expected");
    let set = SequenceSet::parse(cursor)?;
    let none = Uid::FIRST.get();
    // A set that means something else in a larger mailbox has a star in it.
    let has_star = set.is_saved() || set.resolve(Some(none)) != set.resolve(Some(u32::MAX));
    if has_star { Err(BAD) } else { Ok(set) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<SelectParameters> {
        let mut cursor = Cursor::new(text.as_bytes(), 10);
        SelectParameters::parse(&mut cursor).ok().filter(|_| cursor.is_end())
    }

    #[test]
    fn parameters() {
        assert_eq!(read(""), Some(SelectParameters::default()));
        assert!(read(" (CONDSTORE)").is_some_and(|p| p.condstore && p.qresync.is_none()));
        for (text, uids) in [
            (" (QRESYNC (67890007 20050715194045000))", None),
            (" (QRESYNC (67890007 20050715194045000 41,43:211,214:541))", Some("41,43:211,214:541")),
            (" (QRESYNC (67890007 90060115194045000 41:211,214:541 (1:4 41:44)))", Some("41:211,214:541")),
            (" (QRESYNC (67890007 90060115194045000 (1:4 41:44)) CONDSTORE)", None),
        ] {
            let known = read(text).and_then(|p| p.qresync).expect(text);
            assert_eq!(known.validity.get(), 67_890_007, "{text}");
            assert_eq!(known.uids.map(|set| set.resolve(Some(1)).to_text()).as_deref(), uids, "{text}");
        }
        for bad in [
            " ()",
            " (X)",
            " (QRESYNC)",
            " (QRESYNC (1))",
            " (QRESYNC (0 1))",
            " (QRESYNC (1 0))",
            " (QRESYNC (1 1 1:*))",
            " (QRESYNC (1 1 $))",
            " (QRESYNC (1 1 1 (1)))",
            " (CONDSTORE",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
