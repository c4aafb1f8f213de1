//! The arguments of GETMETADATA and SETMETADATA (RFC 5464 §4), and the entries that LIST returns (RFC 9590).

use crate::mail::limits::METADATA_ENTRIES;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::mailbox::mailbox;

/// Longest name of an entry; those of RFC 5464 and of clients have some dozens of octets.
const ENTRY_OCTETS: usize = 200;

/// Name of an entry: `/private/…` or `/shared/…`, in lower case (RFC 5464 §3.1: they are compared without case).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryName(String);

impl EntryName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one that everybody sees.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.0.starts_with("/shared")
    }

    /// Reads one.
    ///
    /// # Errors
    /// RFC 5464 §3.1: not with `*`, `%` or two slashes in a row, nor with one at the end.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        const BAD: SyntaxError = SyntaxError::Bad("bad name of a metadata entry");
        let name = String::from_utf8(cursor.astring()?).map_err(|_| BAD)?.to_ascii_lowercase();
        let scoped = ["/private", "/shared"]
            .iter()
            .any(|scope| name.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        let visible = name.bytes().all(|b| (0x20..0x7f).contains(&b) && !matches!(b, b'*' | b'%'));
        if !scoped || !visible || name.contains("//") || name.ends_with('/') || name.len() > ENTRY_OCTETS {
            return Err(BAD);
        }
        Ok(Self(name))
    }

    /// One, or several in parentheses.
    ///
    /// # Errors
    /// As [`EntryName::parse`]; there is none.
    pub fn parse_list(cursor: &mut Cursor<'_>) -> Parsed<Vec<Self>> {
        if cursor.peek() != Some(b'(') {
            return Ok(vec![Self::parse(cursor)?]);
        }
        let names = cursor.list(METADATA_ENTRIES, Self::parse)?;
        if names.is_empty() { Err(SyntaxError::Bad("metadata entry missing")) } else { Ok(names) }
    }
}

/// How far below an entry GETMETADATA goes (RFC 5464 §4.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// `0`.
    #[default]
    Entry,
    /// `1`.
    Children,
    /// `infinity`.
    All,
}

/// What GETMETADATA asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetMetadata {
    /// Of this mailbox; of the account where there is none.
    pub mailbox: Option<MailboxName>,
    /// Longer values are not told.
    pub max_size: Option<u64>,
    /// What is asked for besides the entries themselves.
    pub depth: Depth,
    /// Which.
    pub entries: Vec<EntryName>,
}

impl GetMetadata {
    /// Reads the arguments. The options stand before the mailbox in the grammar and behind it in the examples of
    /// RFC 5464: both are taken.
    ///
    /// # Errors
    /// They are none.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut out = Self { mailbox: None, max_size: None, depth: Depth::Entry, entries: Vec::new() };
        if cursor.peek() == Some(b'(') {
            out.options(cursor)?;
            cursor.space()?;
        }
        out.mailbox = optional_mailbox(cursor)?;
        cursor.space()?;
        if is_options(cursor) {
            out.options(cursor)?;
            cursor.space()?;
        }
        out.entries = EntryName::parse_list(cursor)?;
        Ok(out)
    }

    fn options(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        cursor.expect(b'(')?;
        loop {
            if cursor.take_word("MAXSIZE ") {
                self.max_size = Some(cursor.number64()?);
            } else if cursor.take_word("DEPTH ") {
                let depth = cursor.atom()?.to_ascii_lowercase();
                self.depth = match depth.as_str() {
                    "0" => Depth::Entry,
                    "1" => Depth::Children,
                    "infinity" => Depth::All,
                    _ => return Err(SyntaxError::Bad("DEPTH is 0, 1 or infinity")),
                };
            } else {
                return Err(SyntaxError::Bad("unknown GETMETADATA option"));
            }
            if cursor.take(b')') {
                return Ok(());
            }
            cursor.space()?;
        }
    }
}

/// Whether what comes is a list of options and not of entries, which begin with a slash.
fn is_options(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.take(b'(') && ["MAXSIZE ", "DEPTH "].iter().any(|word| ahead.take_word(word))
}

/// What SETMETADATA changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetMetadata {
    /// Of this mailbox; of the account where there is none.
    pub mailbox: Option<MailboxName>,
    /// Which entries; those without a value go away.
    pub changes: Vec<(EntryName, Option<Vec<u8>>)>,
}

impl SetMetadata {
    /// Reads the arguments.
    ///
    /// # Errors
    /// They are none.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mailbox = optional_mailbox(cursor)?;
        cursor.space()?;
        let changes = cursor.list(METADATA_ENTRIES, |cursor| {
            let name = EntryName::parse(cursor)?;
            cursor.space()?;
            Ok((name, cursor.nstring()?))
        })?;
        if changes.is_empty() {
            return Err(SyntaxError::Bad("metadata entry missing"));
        }
        Ok(Self { mailbox, changes })
    }
}

/// RFC 5464 §4.2: the empty name stands for the server.
fn optional_mailbox(cursor: &mut Cursor<'_>) -> Parsed<Option<MailboxName>> {
    if cursor.take_word("\"\"") { Ok(None) } else { mailbox(cursor).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(text: &str) -> Option<GetMetadata> {
        let mut cursor = Cursor::new(text.as_bytes(), 10);
        GetMetadata::parse(&mut cursor).ok().filter(|_| cursor.is_end())
    }

    #[test]
    fn gets() {
        let one = get("\"\" /Shared/Comment").expect("valid");
        assert_eq!((one.mailbox, one.entries[0].as_str(), one.entries[0].is_shared()), (None, "/shared/comment", true));
        for text in [
            "INBOX (MAXSIZE 1024 DEPTH 1) (/private/a /private/b)",
            "(DEPTH 1 MAXSIZE 1024) INBOX (/private/a /private/b)",
        ] {
            let found = get(text).expect("valid");
            assert_eq!((found.max_size, found.depth, found.entries.len()), (Some(1024), Depth::Children, 2), "{text}");
        }
        assert_eq!(get("INBOX (DEPTH infinity) /private").map(|g| g.depth), Some(Depth::All));
        for bad in [
            "",
            "INBOX",
            "INBOX ()",
            "INBOX /other/x",
            "INBOX /private//a",
            "INBOX /private/",
            "INBOX /private/*",
            "INBOX /sharedx",
            "INBOX (DEPTH 2) /private/a",
            "INBOX (X 1) /private/a",
        ] {
            assert_eq!(get(bad), None, "{bad}");
        }
    }

    #[test]
    fn sets() {
        let set = |text: &str| SetMetadata::parse(&mut Cursor::new(text.as_bytes(), 10)).ok();
        let found = set("x (/private/a \"1\" /shared/b NIL /private/c {2}\r\nxy)").expect("valid");
        let values: Vec<_> = found.changes.iter().map(|(_, value)| value.as_deref()).collect();
        assert_eq!(values, [Some(&b"1"[..]), None, Some(b"xy")]);
        for bad in ["x", "x ()", "x (/private/a)", "x (/a \"1\")", "x /private/a \"1\""] {
            assert_eq!(set(bad), None, "{bad}");
        }
    }
}
