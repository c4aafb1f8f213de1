//! What SEARCH looks for (RFC 3501 §6.4.4), as a tree whose size and depth are bounded.

use crate::mail::flags::SystemFlag;
use crate::mail::limits::IMAP_SEARCH_DEPTH;
use crate::mail::limits::IMAP_SEARCH_KEYS;
use crate::message::decode;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::date::date;
use crate::protocol::imap::syntax::set::SequenceSet;

/// A search key; texts are as the client sent them, names of fields in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// `ALL`.
    All,
    /// All of these.
    And(Vec<Self>),
    /// One of these two.
    Or(Box<Self>, Box<Self>),
    /// Not this one.
    Not(Box<Self>),
    /// A system flag is set.
    Flag(SystemFlag),
    /// A keyword is set.
    Keyword(String),
    /// `\Recent` is set.
    Recent,
    /// Sequence numbers.
    Sequence(SequenceSet),
    /// UIDs.
    Uid(SequenceSet),
    /// INTERNALDATE before the start of this day.
    Before(i64),
    /// On this day.
    On(i64),
    /// On this day or later.
    Since(i64),
    /// The `Date` field before this day.
    SentBefore(i64),
    /// On this day.
    SentOn(i64),
    /// On this day or later.
    SentSince(i64),
    /// More octets than this.
    Larger(u64),
    /// Fewer octets than this.
    Smaller(u64),
    /// A header field of this name has the text; an empty text asks for the field.
    Header(String, String),
    /// The body has the text.
    Body(String),
    /// Header or body has the text.
    Text(String),
}

/// Reads the arguments of SEARCH.
///
/// # Errors
/// They are none, or too many, or too deep, or in a charset that we do not know.
pub fn search_keys(cursor: &mut Cursor<'_>) -> Parsed<Key> {
    let mut charset = None;
    if cursor.take_word("CHARSET ") {
        let name = cursor.astring()?;
        if !decode::knows_charset(&name) {
            return Err(SyntaxError::Charset);
        }
        charset = Some(name);
        cursor.space()?;
    }
    let mut reader = Reader { charset, keys: 0 };
    let mut keys = vec![reader.key(cursor, 0, 0)?];
    while cursor.take(b' ') && !cursor.is_end() {
        keys.push(reader.key(cursor, 0, 0)?);
    }
    Ok(if keys.len() == 1 { keys.swap_remove(0) } else { Key::And(keys) })
}

struct Reader {
    charset: Option<Vec<u8>>,
    keys: usize,
}

impl Reader {
    fn key(&mut self, cursor: &mut Cursor<'_>, depth: usize, parentheses: usize) -> Parsed<Key> {
        self.keys += 1;
        if self.keys > IMAP_SEARCH_KEYS || depth > IMAP_SEARCH_DEPTH || parentheses > cursor.nesting() {
            return Err(SyntaxError::Limit("search too large"));
        }
        match cursor.peek() {
            Some(b'(') => {
                let keys = cursor.list(IMAP_SEARCH_KEYS, |c| self.key(c, depth + 1, parentheses + 1))?;
                return if keys.is_empty() { Err(SyntaxError::Bad("search key missing")) } else { Ok(Key::And(keys)) };
            }
            Some(b'*' | b'0'..=b'9') => return SequenceSet::parse(cursor).map(Key::Sequence),
            _ => {}
        }
        let name = cursor.run(|b| b.is_ascii_alphabetic()).to_ascii_uppercase();
        if let Some(key) = flag_key(&name) {
            return Ok(key);
        }
        match name.as_slice() {
            b"NOT" => {
                cursor.space()?;
                Ok(Key::Not(Box::new(self.key(cursor, depth + 1, parentheses)?)))
            }
            b"OR" => {
                cursor.space()?;
                let one = self.key(cursor, depth + 1, parentheses)?;
                cursor.space()?;
                Ok(Key::Or(Box::new(one), Box::new(self.key(cursor, depth + 1, parentheses)?)))
            }
            name => self.key_with_argument(name, cursor),
        }
    }

    fn key_with_argument(&self, name: &[u8], cursor: &mut Cursor<'_>) -> Parsed<Key> {
        const UNKNOWN: SyntaxError = SyntaxError::Bad("unknown search key");
        if !name.iter().all(u8::is_ascii_uppercase) || name.is_empty() {
            return Err(UNKNOWN);
        }
        let known = matches!(
            name,
            b"BCC"
                | b"CC"
                | b"FROM"
                | b"SUBJECT"
                | b"TO"
                | b"BODY"
                | b"TEXT"
                | b"HEADER"
                | b"KEYWORD"
                | b"UNKEYWORD"
                | b"LARGER"
                | b"SMALLER"
                | b"BEFORE"
                | b"ON"
                | b"SINCE"
                | b"SENTBEFORE"
                | b"SENTON"
                | b"SENTSINCE"
                | b"UID"
        );
        if !known {
            return Err(UNKNOWN);
        }
        cursor.space()?;
        Ok(match name {
            b"BODY" => Key::Body(self.text(cursor)?),
            b"TEXT" => Key::Text(self.text(cursor)?),
            b"HEADER" => {
                let field = cursor.astring()?;
                cursor.space()?;
                Key::Header(String::from_utf8_lossy(&field).to_ascii_lowercase(), self.text(cursor)?)
            }
            b"KEYWORD" => Key::Keyword(cursor.atom()?.to_owned()),
            b"UNKEYWORD" => Key::Not(Box::new(Key::Keyword(cursor.atom()?.to_owned()))),
            b"LARGER" => Key::Larger(cursor.number64()?),
            b"SMALLER" => Key::Smaller(cursor.number64()?),
            b"BEFORE" => Key::Before(date(cursor)?),
            b"ON" => Key::On(date(cursor)?),
            b"SINCE" => Key::Since(date(cursor)?),
            b"SENTBEFORE" => Key::SentBefore(date(cursor)?),
            b"SENTON" => Key::SentOn(date(cursor)?),
            b"SENTSINCE" => Key::SentSince(date(cursor)?),
            b"UID" => Key::Uid(SequenceSet::parse(cursor)?),
            field => Key::Header(String::from_utf8_lossy(field).to_ascii_lowercase(), self.text(cursor)?),
        })
    }

    fn text(&self, cursor: &mut Cursor<'_>) -> Parsed<String> {
        let octets = cursor.astring()?;
        Ok(decode::text(&octets, self.charset.as_deref()))
    }
}

fn flag_key(name: &[u8]) -> Option<Key> {
    let set = |flag| Some(Key::Flag(flag));
    let unset = |flag| Some(Key::Not(Box::new(Key::Flag(flag))));
    match name {
        b"ALL" => Some(Key::All),
        b"ANSWERED" => set(SystemFlag::Answered),
        b"DELETED" => set(SystemFlag::Deleted),
        b"DRAFT" => set(SystemFlag::Draft),
        b"FLAGGED" => set(SystemFlag::Flagged),
        b"SEEN" => set(SystemFlag::Seen),
        b"UNANSWERED" => unset(SystemFlag::Answered),
        b"UNDELETED" => unset(SystemFlag::Deleted),
        b"UNDRAFT" => unset(SystemFlag::Draft),
        b"UNFLAGGED" => unset(SystemFlag::Flagged),
        b"UNSEEN" => unset(SystemFlag::Seen),
        b"RECENT" => Some(Key::Recent),
        b"OLD" => Some(Key::Not(Box::new(Key::Recent))),
        // RFC 3501 §6.4.4: equal to (RECENT UNSEEN).
        b"NEW" => Some(Key::And(vec![Key::Recent, Key::Not(Box::new(Key::Flag(SystemFlag::Seen)))])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed<Key> {
        let mut cursor = Cursor::new(text.as_bytes(), 50);
        let key = search_keys(&mut cursor)?;
        cursor.end()?;
        Ok(key)
    }

    #[test]
    fn keys() {
        let seen = || Key::Flag(SystemFlag::Seen);
        for (text, expected) in [
            ("ALL", Key::All),
            ("seen all", Key::And(vec![seen(), Key::All])),
            ("NOT SEEN", Key::Not(Box::new(seen()))),
            ("UNSEEN", Key::Not(Box::new(seen()))),
            ("OR SEEN (ALL)", Key::Or(Box::new(seen()), Box::new(Key::And(vec![Key::All])))),
            ("FROM \"Ä\"", Key::Header("from".into(), "Ä".into())),
            ("CHARSET utf-8 SUBJECT {2}\r\nü", Key::Header("subject".into(), "ü".into())),
            ("CHARSET ISO-8859-1 TEXT abc", Key::Text("abc".into())),
            ("HEADER X-Y \"\"", Key::Header("x-y".into(), String::new())),
            ("SINCE 1-Jan-1970", Key::Since(0)),
            ("LARGER 5", Key::Larger(5)),
            ("UNKEYWORD $F", Key::Not(Box::new(Key::Keyword("$F".into())))),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        assert!(matches!(read("1:2,4"), Ok(Key::Sequence(_))));
        assert!(matches!(read("UID 1:*"), Ok(Key::Uid(_))));
        for bad in ["", "NONSENSE", "OR SEEN", "NOT", "()", "(SEEN", "FROM", "SINCE x", "LARGER -1", "SEENALL", "SEEN)"]
        {
            assert!(matches!(read(bad), Err(SyntaxError::Bad(_))), "{bad}");
        }
        assert_eq!(read("CHARSET x-none ALL"), Err(SyntaxError::Charset));
    }

    #[test]
    fn bombs_are_refused() {
        for bomb in [
            format!("{}ALL{}", "(".repeat(51), ")".repeat(51)),
            format!("{}ALL", "NOT ".repeat(100_000)),
            format!("{}ALL", "OR ALL ".repeat(100_000)),
            vec!["ALL"; IMAP_SEARCH_KEYS + 1].join(" "),
        ] {
            assert!(matches!(read(&bomb), Err(SyntaxError::Limit(_))));
        }
        assert!(read(&format!("{}ALL", "OR FROM a ".repeat(200))).is_ok());
    }
}
