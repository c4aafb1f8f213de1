//! What SEARCH looks for (RFC 3501 §6.4.4), as a tree whose size and depth are bounded.

use crate::mail::flags::SystemFlag;
use crate::mail::limits::IMAP_SEARCH_DEPTH;
use crate::mail::limits::IMAP_SEARCH_KEYS;
use crate::message::decode;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::date::date;
use crate::protocol::imap::syntax::esearch::Returns;
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
    /// INTERNALDATE at least so many seconds ago (RFC 5032).
    Older(u32),
    /// INTERNALDATE at most so many seconds ago.
    Younger(u32),
    /// Saved in this mailbox before this day (RFC 8514).
    SavedBefore(i64),
    /// Saved on this day.
    SavedOn(i64),
    /// Saved on this day or later.
    SavedSince(i64),
    /// The message with this id (RFC 8474 §6).
    EmailId(String),
    /// The messages of the thread with this id.
    ThreadId(String),
    /// Changed at this mod-sequence or later (RFC 7162 §3.1.5).
    ModSeq(u64),
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

/// What stands before the name of a charset.
const CHARSET: &str = "CHARSET ";

/// The arguments of SEARCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchArguments {
    /// What is asked to be returned, in an ESEARCH response (RFC 4731).
    pub returns: Option<Returns>,
    /// Whether the charset of the strings is named, which `UTF8=ACCEPT` forbids (RFC 6855 §3).
    pub names_charset: bool,
    /// What is looked for. An error here means `NO`, and a SEARCH that was to save what it finds has then saved nothing
    /// (RFC 5182 §2.1).
    pub key: Parsed<Key>,
}

impl SearchArguments {
    /// Reads them.
    ///
    /// # Errors
    /// They are not what SEARCH takes.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let returns = Returns::parse(cursor)?;
        let names_charset = cursor.clone().take_word(CHARSET);
        Ok(Self { returns, names_charset, key: refusable(cursor, search_keys)? })
    }
}

/// What `read` gives; an error inside where the command can be understood but not obeyed, which is then passed over.
///
/// # Errors
/// It cannot be understood.
pub fn refusable<T>(cursor: &mut Cursor<'_>, read: impl FnOnce(&mut Cursor<'_>) -> Parsed<T>) -> Parsed<Parsed<T>> {
    match read(cursor) {
        Err(SyntaxError::Bad(words)) => Err(SyntaxError::Bad(words)),
        Err(refused) => {
            cursor.run(|_| true);
            Ok(Err(refused))
        }
        Ok(read) => Ok(Ok(read)),
    }
}

/// Reads `[CHARSET name] key …`.
///
/// # Errors
/// There are no keys, or too many, or too deep, or in a charset that we do not know.
pub fn search_keys(cursor: &mut Cursor<'_>) -> Parsed<Key> {
    let charset = if cursor.take_word(CHARSET) { Some(charset(cursor)?) } else { None };
    keys(cursor, charset)
}

/// Reads `charset key …`, as SORT and THREAD have it (RFC 5256 §5 `search-criteria`).
///
/// # Errors
/// As [`search_keys`].
pub fn search_criteria(cursor: &mut Cursor<'_>) -> Parsed<Key> {
    let charset = charset(cursor)?;
    keys(cursor, Some(charset))
}

fn charset(cursor: &mut Cursor<'_>) -> Parsed<Vec<u8>> {
    let name = cursor.astring()?;
    if !decode::knows_charset(&name) {
        return Err(SyntaxError::Charset);
    }
    cursor.space()?;
    Ok(name)
}

fn keys(cursor: &mut Cursor<'_>, charset: Option<Vec<u8>>) -> Parsed<Key> {
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
            Some(b'*' | b'$' | b'0'..=b'9') => return SequenceSet::parse(cursor).map(Key::Sequence),
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
                | b"OLDER"
                | b"YOUNGER"
                | b"SAVEDBEFORE"
                | b"SAVEDON"
                | b"SAVEDSINCE"
                | b"MODSEQ"
                | b"EMAILID"
                | b"THREADID"
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
            b"OLDER" => Key::Older(cursor.nz_number()?),
            b"YOUNGER" => Key::Younger(cursor.nz_number()?),
            b"SAVEDBEFORE" => Key::SavedBefore(date(cursor)?),
            b"SAVEDON" => Key::SavedOn(date(cursor)?),
            b"SAVEDSINCE" => Key::SavedSince(date(cursor)?),
            b"EMAILID" => Key::EmailId(object_id(cursor)?),
            b"THREADID" => Key::ThreadId(object_id(cursor)?),
            b"MODSEQ" => Key::ModSeq(mod_sequence(cursor)?),
            field => Key::Header(String::from_utf8_lossy(field).to_ascii_lowercase(), self.text(cursor)?),
        })
    }

    fn text(&self, cursor: &mut Cursor<'_>) -> Parsed<String> {
        let octets = cursor.astring()?;
        Ok(decode::text(&octets, self.charset.as_deref()))
    }
}

/// `objectid = 1*255(ALPHA / DIGIT / "_" / "-")` (RFC 8474 §7).
fn object_id(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let id = cursor.run(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if id.is_empty() || id.len() > 255 {
        return Err(SyntaxError::Bad("id expected"));
    }
    Ok(String::from_utf8_lossy(id).into_owned())
}

/// `[entry-name entry-type-req] mod-sequence-valzer`. We keep one mod-sequence a message and not one a flag, so the entry
/// is passed over (RFC 7162 §3.1.5).
fn mod_sequence(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    if cursor.peek() == Some(b'"') {
        cursor.string()?;
        cursor.space()?;
        let kind = cursor.atom()?;
        if !["priv", "shared", "all"].iter().any(|k| kind.eq_ignore_ascii_case(k)) {
            return Err(SyntaxError::Bad("unknown kind of mod-sequence"));
        }
        cursor.space()?;
    }
    cursor.number64()
}

impl Key {
    /// Whether this or a key within is one that `is` names. Keys are not deeper than a list of them is long, so this
    /// keeps its own list of what is left.
    #[must_use]
    pub fn any(&self, is: impl Fn(&Self) -> bool) -> bool {
        let mut left = vec![self];
        while let Some(key) = left.pop() {
            match key {
                Self::And(keys) => left.extend(keys),
                Self::Or(a, b) => left.extend([&**a, &**b]),
                Self::Not(key) => left.push(key),
                key if is(key) => return true,
                _ => {}
            }
        }
        false
    }

    /// Whether it asks for mod-sequences, so that they belong into the answer (RFC 7162 §3.1.6).
    #[must_use]
    pub fn asks_mod_sequence(&self) -> bool {
        self.any(|key| matches!(key, Self::ModSeq(_)))
    }
}

fn flag_key(name: &[u8]) -> Option<Key> {
    let set = |flag| Some(Key::Flag(flag));
    let unset = |flag| Some(Key::Not(Box::new(Key::Flag(flag))));
    match name {
        b"ALL" => Some(Key::All),
        // RFC 8514 §4.3: all messages, where save dates are kept.
        b"SAVEDATESUPPORTED" => Some(Key::All),
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
            ("OLDER 5 YOUNGER 6", Key::And(vec![Key::Older(5), Key::Younger(6)])),
            ("SAVEDBEFORE 2-Jan-1970", Key::SavedBefore(1)),
            ("SAVEDATESUPPORTED", Key::All),
            ("EMAILID M1-_x", Key::EmailId("M1-_x".into())),
            ("THREADID T2", Key::ThreadId("T2".into())),
            ("MODSEQ 0", Key::ModSeq(0)),
            ("MODSEQ \"/flags/\\\\draft\" all 620162338", Key::ModSeq(620_162_338)),
            ("UNKEYWORD $F", Key::Not(Box::new(Key::Keyword("$F".into())))),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        assert!(matches!(read("1:2,4"), Ok(Key::Sequence(_))));
        assert!(matches!(read("UID 1:*"), Ok(Key::Uid(_))));
        for saved in ["$", "UID $"] {
            assert!(matches!(read(saved), Ok(Key::Sequence(s) | Key::Uid(s)) if s.is_saved()), "{saved}");
        }
        for bad in ["", "NONSENSE", "OR SEEN", "NOT", "()", "(SEEN", "FROM", "SINCE x", "LARGER -1", "SEENALL", "SEEN)"]
        {
            assert!(matches!(read(bad), Err(SyntaxError::Bad(_))), "{bad}");
        }
        for bad in ["EMAILID", "EMAILID \"x\"", "THREADID a.b", "OLDER 0", "YOUNGER", "MODSEQ", "MODSEQ \"x\" some 1"] {
            assert!(matches!(read(bad), Err(SyntaxError::Bad(_))), "{bad}");
        }
        assert_eq!(read("CHARSET x-none ALL"), Err(SyntaxError::Charset));
    }

    #[test]
    fn what_cannot_be_obeyed_is_kept_apart_from_what_cannot_be_read() {
        let read = |text: &str| {
            let mut cursor = Cursor::new(text.as_bytes(), 50);
            let arguments = SearchArguments::parse(&mut cursor)?;
            cursor.end()?;
            Ok(arguments)
        };
        let refused = read("RETURN (SAVE) CHARSET x-none TEXT {1}\r\na").expect("understood");
        assert_eq!(refused.key, Err(SyntaxError::Charset));
        assert!(refused.returns.is_some());
        assert!(matches!(read("RETURN (SAVE) NONSENSE"), Err(SyntaxError::Bad(_))));
        assert!(read("SEEN").expect("valid").returns.is_none());
    }

    #[test]
    fn keys_within_keys_are_found() {
        for (text, asks) in [("OR NOT MODSEQ 7 LARGER 5", true), ("(ALL (MODSEQ 7))", true), ("OR SEEN ALL", false)] {
            assert_eq!(read(text).expect("valid").asks_mod_sequence(), asks, "{text}");
        }
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
