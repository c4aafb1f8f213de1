//! The arguments of LIST and LSUB (RFC 3501 §6.3.8), with what of LIST-EXTENDED is announced through LIST-STATUS
//! (RFC 5258, RFC 5819) and SPECIAL-USE (RFC 6154).

use crate::mail::limits::IMAP_PATTERN_OCTETS;
use crate::mail::limits::IMAP_PATTERNS;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::cursor::is_atom_char;
use crate::protocol::imap::syntax::mailbox::StatusItem;
use crate::protocol::imap::syntax::mailbox::status_items;
use crate::protocol::imap::syntax::metadata::EntryName;
use crate::protocol::imap::syntax::spelling::Spelling;

/// What LIST is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListArguments {
    /// Selection option `SUBSCRIBED`.
    pub subscribed: bool,
    /// Selection option `SPECIAL-USE`.
    pub special_use: bool,
    /// Selection option `RECURSIVEMATCH`.
    pub recursive_match: bool,
    /// Before every pattern, decoded.
    pub reference: String,
    /// Patterns, decoded; `None` for one that no name can match.
    pub patterns: Vec<Option<String>>,
    /// Whether the extended syntax was used; the hierarchy question (`LIST "" ""`) is only asked in the old one.
    pub extended: bool,
    /// Return option `SUBSCRIBED`.
    pub return_subscribed: bool,
    /// Return option `STATUS`.
    pub status: Vec<StatusItem>,
    /// Return option `MYRIGHTS` (RFC 8440).
    pub my_rights: bool,
    /// Return option `METADATA` (RFC 9590).
    pub metadata: Vec<EntryName>,
}

impl ListArguments {
    /// Reads the arguments of LIST.
    ///
    /// # Errors
    /// They are none, or have options that we do not know.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut out = Self::default();
        if cursor.peek() == Some(b'(') {
            out.extended = true;
            cursor.list(20, |c| out.selection_option(c))?;
            cursor.space()?;
        }
        // RFC 5258 §3: RECURSIVEMATCH says nothing alone.
        if out.recursive_match && !out.subscribed {
            return Err(SyntaxError::Bad("RECURSIVEMATCH needs SUBSCRIBED"));
        }
        out.reference = decoded(&cursor.astring()?, cursor.spelling()).unwrap_or_default();
        cursor.space()?;
        if cursor.peek() == Some(b'(') {
            out.extended = true;
            out.patterns = cursor.list(IMAP_PATTERNS, pattern)?;
        } else {
            out.patterns = vec![pattern(cursor)?];
        }
        if cursor.take_word(" RETURN ") {
            out.extended = true;
            cursor.list(20, |c| out.return_option(c))?;
        }
        Ok(out)
    }

    /// Reads the arguments of LSUB.
    ///
    /// # Errors
    /// They are none.
    pub fn parse_lsub(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let reference = decoded(&cursor.astring()?, cursor.spelling()).unwrap_or_default();
        cursor.space()?;
        Ok(Self { reference, patterns: vec![pattern(cursor)?], subscribed: true, ..Self::default() })
    }

    fn selection_option(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let name = cursor.atom()?.to_ascii_uppercase();
        match name.as_str() {
            "SUBSCRIBED" => self.subscribed = true,
            "SPECIAL-USE" => self.special_use = true,
            "RECURSIVEMATCH" => self.recursive_match = true,
            // There are no remote mailboxes to be added.
            "REMOTE" => {}
            _ => return Err(SyntaxError::Bad("unknown LIST selection option")),
        }
        Ok(())
    }

    fn return_option(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        let name = cursor.atom()?.to_ascii_uppercase();
        match name.as_str() {
            "SUBSCRIBED" => self.return_subscribed = true,
            // Both are always told.
            "CHILDREN" | "SPECIAL-USE" => {}
            "MYRIGHTS" => self.my_rights = true,
            "STATUS" => {
                cursor.space()?;
                self.status = status_items(cursor)?;
            }
            "METADATA" => {
                cursor.space()?;
                self.metadata = EntryName::parse_list(cursor)?;
            }
            _ => return Err(SyntaxError::Bad("unknown LIST return option")),
        }
        Ok(())
    }
}

fn decoded(octets: &[u8], spelling: Spelling) -> Option<String> {
    if octets.len() > IMAP_PATTERN_OCTETS { None } else { spelling.decode(octets) }
}

/// `list-mailbox`: an atom that may hold wildcards, or a string.
fn pattern(cursor: &mut Cursor<'_>) -> Parsed<Option<String>> {
    let octets = if matches!(cursor.peek(), Some(b'"' | b'{')) {
        cursor.string()?
    } else {
        let run = cursor.run(|b| is_atom_char(b) || matches!(b, b'%' | b'*' | b']') || b >= 0x80);
        if run.is_empty() {
            return Err(SyntaxError::Bad("mailbox pattern expected"));
        }
        run.to_vec()
    };
    Ok(decoded(&octets, cursor.spelling()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<ListArguments> {
        let mut cursor = Cursor::new(text.as_bytes(), 50);
        let arguments = ListArguments::parse(&mut cursor).ok()?;
        cursor.is_end().then_some(arguments)
    }

    #[test]
    fn lists() {
        let plain = read("\"\" *").expect("valid");
        assert_eq!((plain.patterns, plain.extended), (vec![Some("*".to_owned())], false));
        let all = read("(SUBSCRIBED RECURSIVEMATCH) a/ (% \"&APw-\") RETURN (CHILDREN STATUS (MESSAGES) SUBSCRIBED)")
            .expect("valid");
        assert!(all.subscribed && all.recursive_match && all.return_subscribed && all.extended);
        assert_eq!((all.reference.as_str(), all.status), ("a/", vec![StatusItem::Messages]));
        assert_eq!(all.patterns, [Some("%".to_owned()), Some("ü".to_owned())]);
        assert!(read("() \"\" % RETURN ()").is_some_and(|l| l.extended && !l.special_use));
        assert!(read("(SPECIAL-USE) \"\" %").is_some_and(|l| l.special_use));
        assert_eq!(read("\"\" &bad").map(|l| l.patterns), Some(vec![None]));
        for bad in ["", "\"\"", "\"\" (", "(X) \"\" *", "\"\" * RETURN", "\"\" * RETURN (X)", "(RECURSIVEMATCH) \"\" *"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
