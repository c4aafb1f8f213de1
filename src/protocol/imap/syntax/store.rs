//! Flags, and the arguments of STORE (RFC 3501 §6.4.6, §9 `flag`).

use crate::mail::flags::Flags;
use crate::mail::flags::SystemFlag;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;

/// Flags as a client names them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamedFlags {
    /// Those with a backslash that can be set.
    pub system: Flags,
    /// The others, each once, in the case they came in.
    pub keywords: Vec<String>,
}

/// What STORE does with flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreMode {
    /// `FLAGS`.
    Replace,
    /// `+FLAGS`.
    Add,
    /// `-FLAGS`.
    Remove,
}

/// The arguments of STORE after its set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreArguments {
    /// What is done.
    pub mode: StoreMode,
    /// `.SILENT`: do not tell what came of it.
    pub silent: bool,
    /// With which flags.
    pub flags: NamedFlags,
    /// `UNCHANGEDSINCE`: only messages with no greater mod-sequence (RFC 7162 §3.1.3).
    pub unchanged_since: Option<u64>,
}

/// Longest keyword that is taken; file systems and other programs must bear it.
const KEYWORD_OCTETS: usize = 100;

impl NamedFlags {
    /// A list in parentheses.
    ///
    /// # Errors
    /// It is none, or names `\Recent` or a flag that nobody knows.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut out = Self::default();
        cursor.list(1000, |cursor| out.take(cursor))?;
        Ok(out)
    }

    fn take(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        if cursor.take(b'\\') {
            let name = cursor.atom()?;
            // RFC 3501 §2.3.2: \Recent cannot be altered by a client; it is passed over, as other servers do.
            if name.eq_ignore_ascii_case("Recent") {
                return Ok(());
            }
            let flag = SystemFlag::from_name(&format!("\\{name}")).ok_or(SyntaxError::Bad("unknown system flag"))?;
            self.system = self.system.with(flag);
            return Ok(());
        }
        let keyword = cursor.atom()?;
        if keyword.len() > KEYWORD_OCTETS {
            return Err(SyntaxError::Limit("keyword too long"));
        }
        if !self.keywords.iter().any(|k| k.eq_ignore_ascii_case(keyword)) {
            self.keywords.push(keyword.to_owned());
        }
        Ok(())
    }
}

impl StoreArguments {
    /// Reads `store-att-flags`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut unchanged_since = None;
        if cursor.take_word("(UNCHANGEDSINCE ") {
            unchanged_since = Some(cursor.number64()?);
            cursor.expect(b')')?;
            cursor.space()?;
        }
        let mode = match cursor.peek() {
            Some(b'+') => StoreMode::Add,
            Some(b'-') => StoreMode::Remove,
            _ => StoreMode::Replace,
        };
        if mode != StoreMode::Replace {
            cursor.run(|b| matches!(b, b'+' | b'-')).len().eq(&1).then_some(()).ok_or(SyntaxError::Bad("bad STORE"))?;
        }
        if !cursor.take_word("FLAGS") {
            return Err(SyntaxError::Bad("FLAGS expected"));
        }
        let silent = cursor.take_word(".SILENT");
        cursor.space()?;
        let flags = if cursor.peek() == Some(b'(') {
            NamedFlags::parse(cursor)?
        } else {
            let mut flags = NamedFlags::default();
            flags.take(cursor)?;
            while cursor.take(b' ') {
                flags.take(cursor)?;
            }
            flags
        };
        Ok(Self { mode, silent, flags, unchanged_since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores() {
        for (text, mode, silent, flags) in [
            ("FLAGS (\\Seen)", StoreMode::Replace, false, "\\Seen"),
            ("+flags.silent (\\deleted $Forwarded $forwarded)", StoreMode::Add, true, "\\Deleted $Forwarded"),
            ("-FLAGS \\Seen \\Flagged", StoreMode::Remove, false, "\\Flagged \\Seen"),
            ("FLAGS ()", StoreMode::Replace, false, ""),
            ("+FLAGS (\\Recent)", StoreMode::Add, false, ""),
        ] {
            let mut cursor = Cursor::new(text.as_bytes(), 1);
            let read = StoreArguments::parse(&mut cursor).expect(text);
            assert!(cursor.is_end(), "{text}");
            let names: Vec<String> = read
                .flags
                .system
                .system()
                .map(|f| f.name().to_owned())
                .chain(read.flags.keywords.iter().cloned())
                .collect();
            assert_eq!((read.mode, read.silent, names.join(" ").as_str()), (mode, silent, flags), "{text}");
        }
        for bad in [
            "",
            "FLAG (x)",
            "++FLAGS (x)",
            "FLAGS",
            "FLAGS (\\Nope)",
            "FLAGS (\\*)",
            "FLAGS (a  b)",
            "FLAGS.SILENTX (a)",
        ] {
            assert!(StoreArguments::parse(&mut Cursor::new(bad.as_bytes(), 1)).is_err(), "{bad}");
        }
    }
}
