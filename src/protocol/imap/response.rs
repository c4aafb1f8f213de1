//! Responses and how they are written (RFC 3501 §7, §9 `response`; codes of RFC 5530, RFC 4315).
//!
//! Nothing that comes from mail or from a client can end a line or a string here: strings are quoted where that is
//! safe and literals where not, and words for people are stripped of controls.

use std::fmt;

use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;
use crate::message::wire::push_wire_range;
use crate::message::wire::wire_len;
use crate::protocol::imap::syntax::notify::EVENT_NAMES;
use crate::protocol::imap::syntax::set::Ranges;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Done.
    Ok,
    /// Not done, and the client may know why.
    No,
    /// Not understood.
    Bad,
}

/// A response code (RFC 3501 §7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Code {
    /// No code.
    None,
    /// `ALREADYEXISTS`.
    AlreadyExists,
    /// `APPENDUID` (RFC 4315 §3), with a set for several messages (RFC 3502).
    AppendUid(UidValidity, Ranges),
    /// `AUTHENTICATIONFAILED`.
    AuthenticationFailed,
    /// `BADEVENT`, with the names of all that are known (RFC 5465 §3.1).
    BadEvent,
    /// `BADURL` with this one (RFC 4469 §4.1).
    BadUrl(String),
    /// `BADCHARSET`.
    BadCharset,
    /// `CANNOT`.
    Cannot,
    /// `CAPABILITY` with these.
    Capability(String),
    /// `COPYUID` (RFC 4315 §3): source and target UIDs, in pairs.
    CopyUid(UidValidity, Vec<(Uid, Uid)>),
    /// `CLOSED` (RFC 7162 §3.2.11).
    Closed,
    /// `EXPUNGEISSUED`.
    ExpungeIssued,
    /// `HIGHESTMODSEQ` (RFC 7162 §3.1.2.1).
    HighestModSeq(u64),
    /// `LIMIT`.
    Limit,
    /// `MAILBOXID` with this one (RFC 8474 §4).
    MailboxId(String),
    /// `METADATA LONGENTRIES`: octets of the longest value that was not told (RFC 5464 §4.2.1).
    MetadataLongEntries(u64),
    /// `METADATA MAXSIZE`: the most octets that a value may have (RFC 5464 §4.3).
    MetadataMaxSize(u64),
    /// `METADATA TOOMANY` (RFC 5464 §4.3).
    MetadataTooMany,
    /// `MODIFIED`: the messages that a conditional STORE left as they were (RFC 7162 §3.1.3).
    Modified(Ranges),
    /// `NONEXISTENT`.
    NonExistent,
    /// `NOPERM`.
    NoPerm,
    /// `NOTIFICATIONOVERFLOW` (RFC 5465 §5.8).
    NotificationOverflow,
    /// `OVERQUOTA`.
    OverQuota,
    /// `PRIVACYREQUIRED`.
    PrivacyRequired,
    /// `READ-ONLY`.
    ReadOnly,
    /// `READ-WRITE`.
    ReadWrite,
    /// `TOOBIG` (RFC 7888 §5).
    TooBig,
    /// `TRYCREATE`.
    TryCreate,
    /// `UIDNEXT`.
    UidNext(Uid),
    /// `UIDVALIDITY`.
    UidValidity(UidValidity),
    /// `UNKNOWN-CTE` (RFC 3516 §4.3).
    UnknownCte,
    /// `USEATTR` (RFC 6154 §6).
    UseAttr,
    /// `UNAVAILABLE`.
    Unavailable,
    /// `UNSEEN`, a sequence number.
    Unseen(u32),
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => return Ok(()),
            Self::AppendUid(validity, uids) => return write!(f, "[APPENDUID {validity} {}] ", uids.to_text()),
            Self::BadEvent => return write!(f, "[BADEVENT ({EVENT_NAMES})] "),
            Self::BadUrl(url) => {
                // Nothing in it may end the code or the line.
                let safe = |b: char| if (' '..='~').contains(&b) && b != ']' && b != '\\' { b } else { '?' };
                return write!(f, "[BADURL {}] ", url.chars().map(safe).collect::<String>());
            }
            Self::Capability(names) => return write!(f, "[CAPABILITY {names}] "),
            Self::CopyUid(validity, pairs) => {
                let (from, to) = pair_sets(pairs);
                return write!(f, "[COPYUID {validity} {from} {to}] ");
            }
            Self::MailboxId(id) => return write!(f, "[MAILBOXID ({id})] "),
            Self::MetadataLongEntries(octets) => return write!(f, "[METADATA LONGENTRIES {octets}] "),
            Self::MetadataMaxSize(octets) => return write!(f, "[METADATA MAXSIZE {octets}] "),
            Self::MetadataTooMany => "[METADATA TOOMANY] ",
            Self::NoPerm => "[NOPERM] ",
            Self::UnknownCte => "[UNKNOWN-CTE] ",
            Self::UseAttr => "[USEATTR] ",
            Self::Closed => "[CLOSED] ",
            Self::HighestModSeq(modseq) => return write!(f, "[HIGHESTMODSEQ {modseq}] "),
            Self::Modified(numbers) => return write!(f, "[MODIFIED {}] ", numbers.to_text()),
            Self::UidNext(uid) => return write!(f, "[UIDNEXT {uid}] "),
            Self::UidValidity(validity) => return write!(f, "[UIDVALIDITY {validity}] "),
            Self::Unseen(number) => return write!(f, "[UNSEEN {number}] "),
            Self::AlreadyExists => "[ALREADYEXISTS] ",
            Self::AuthenticationFailed => "[AUTHENTICATIONFAILED] ",
            Self::BadCharset => "[BADCHARSET (UTF-8 US-ASCII)] ",
            Self::Cannot => "[CANNOT] ",
            Self::ExpungeIssued => "[EXPUNGEISSUED] ",
            Self::Limit => "[LIMIT] ",
            Self::NonExistent => "[NONEXISTENT] ",
            Self::NotificationOverflow => "[NOTIFICATIONOVERFLOW] ",
            Self::OverQuota => "[OVERQUOTA] ",
            Self::PrivacyRequired => "[PRIVACYREQUIRED] ",
            Self::ReadOnly => "[READ-ONLY] ",
            Self::ReadWrite => "[READ-WRITE] ",
            Self::TooBig => "[TOOBIG] ",
            Self::TryCreate => "[TRYCREATE] ",
            Self::Unavailable => "[UNAVAILABLE] ",
        })
    }
}

/// RFC 4315 §3: the sets correspond number by number, so the order of the pairs is kept and only runs that grow
/// together are drawn together.
fn pair_sets(pairs: &[(Uid, Uid)]) -> (String, String) {
    let mut sorted: Vec<(u32, u32)> = pairs.iter().map(|(a, b)| (a.get(), b.get())).collect();
    sorted.sort_unstable();
    let from = Ranges::from_ascending(sorted.iter().map(|p| p.0)).to_text();
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (_, to) in sorted {
        match runs.last_mut() {
            Some(last) if last.1.checked_add(1) == Some(to) => last.1 = to,
            _ => runs.push((to, to)),
        }
    }
    let to: Vec<String> = runs.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}:{b}") }).collect();
    (from, to.join(","))
}

/// What ends a command, or tells of something by the way.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Status {
    /// How it ended.
    pub condition: Condition,
    /// For programs.
    pub code: Code,
    /// For people.
    pub text: String,
}

impl Status {
    /// `OK`.
    pub fn ok(text: impl Into<String>) -> Self {
        Self { condition: Condition::Ok, code: Code::None, text: text.into() }
    }

    /// `NO`.
    pub fn no(code: Code, text: impl Into<String>) -> Self {
        Self { condition: Condition::No, code, text: text.into() }
    }

    /// `BAD`.
    pub fn bad(text: impl Into<String>) -> Self {
        Self { condition: Condition::Bad, code: Code::None, text: text.into() }
    }

    /// With a code.
    pub fn with(self, code: Code) -> Self {
        Self { code, ..self }
    }
}

/// Bytes for the client.
#[derive(Debug, Default)]
pub struct Output {
    bytes: Vec<u8>,
}

/// Longest quoted string; longer ones are literals, for clients that read lines of fixed length.
const QUOTED_OCTETS: usize = 1000;

impl Output {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Octets that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All that waits; nothing does afterwards.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Forgets what was written after these octets.
    pub fn truncate(&mut self, octets: usize) {
        self.bytes.truncate(octets);
    }

    /// Bytes that another one collected.
    pub fn append(&mut self, mut other: Vec<u8>) {
        if self.bytes.is_empty() {
            self.bytes = other;
        } else {
            self.bytes.append(&mut other);
        }
    }

    /// Text of our own, which has nothing of anybody else in it.
    pub fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// A number, in digits.
    pub fn number(&mut self, number: impl Into<u64>) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number.into();
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.bytes.extend_from_slice(&digits[at..]);
    }

    /// A whole line `* text`, of our own words.
    pub fn untagged(&mut self, text: &str) {
        self.raw("* ");
        self.raw(text);
        self.raw("\r\n");
    }

    /// The end of the command with this tag.
    pub fn tagged(&mut self, tag: &str, status: &Status) {
        self.raw(tag);
        self.raw(" ");
        self.status(status);
    }

    /// `* OK …` and the like.
    pub fn untagged_status(&mut self, status: &Status) {
        self.raw("* ");
        self.status(status);
    }

    fn status(&mut self, status: &Status) {
        let condition = match status.condition {
            Condition::Ok => "OK ",
            Condition::No => "NO ",
            Condition::Bad => "BAD ",
        };
        self.raw(condition);
        self.raw(&status.code.to_string());
        let safe = status.text.bytes().map(|b| if (0x20..0x7f).contains(&b) { b } else { b'?' });
        self.bytes.extend(safe);
        self.raw("\r\n");
    }

    /// `+ text`.
    pub fn go_ahead(&mut self, text: &str) {
        self.raw("+ ");
        self.raw(text);
        self.raw("\r\n");
    }

    /// `string`: quoted where that is safe, else a literal.
    pub fn string(&mut self, octets: &[u8]) {
        let safe = octets.len() <= QUOTED_OCTETS && octets.iter().all(|b| (0x20..0x7f).contains(b));
        if safe { self.quoted(octets) } else { self.literal(octets) }
    }

    /// As [`Output::string`] for a client that takes UTF-8 in quotes (RFC 6855 §3, RFC 9051 §4.3).
    pub fn utf8_string(&mut self, octets: &[u8]) {
        let controls = octets.iter().any(|b| *b < 0x20 || *b == 0x7f);
        let safe = octets.len() <= QUOTED_OCTETS && !controls && std::str::from_utf8(octets).is_ok();
        if safe { self.quoted(octets) } else { self.literal(octets) }
    }

    fn quoted(&mut self, octets: &[u8]) {
        self.raw("\"");
        for b in octets {
            if matches!(b, b'"' | b'\\') {
                self.raw("\\");
            }
            self.bytes.push(*b);
        }
        self.raw("\"");
    }

    /// `nstring`.
    pub fn nstring(&mut self, octets: Option<&[u8]>) {
        match octets {
            Some(octets) => self.string(octets),
            None => self.raw("NIL"),
        }
    }

    /// `literal` of octets that are sent as they are.
    pub fn literal(&mut self, octets: &[u8]) {
        self.raw(&format!("{{{}}}\r\n", octets.len()));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(octets);
        mask_nul(&mut self.bytes[start..]);
    }

    /// A literal, and a `literal8` (RFC 3516 §4.3) where it holds NUL.
    pub fn literal8(&mut self, mut octets: Vec<u8>) {
        let tilde = if octets.contains(&0) { "~" } else { "" };
        self.raw(&format!("{tilde}{{{}}}\r\n", octets.len()));
        self.bytes.append(&mut octets);
    }

    /// A literal of text from the disk, lines ended by CRLF; of it `len` octets at most, from octet `from` on.
    pub fn text_literal(&mut self, text: &[u8], from: u64, len: u64) {
        let there = wire_len(text).saturating_sub(from).min(len);
        self.raw(&format!("{{{there}}}\r\n"));
        let start = self.bytes.len();
        push_wire_range(&mut self.bytes, text, from, len);
        mask_nul(&mut self.bytes[start..]);
    }
}

/// RFC 3501 §9: no literal holds NUL. The octet that stands for it keeps all sizes as they are.
pub fn mask_nul(octets: &mut [u8]) {
    let mut rest = octets;
    while let Some(found) = memchr::memchr(0, rest) {
        rest[found] = 0x80;
        rest = &mut rest[found + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Output)) -> String {
        let mut out = Output::new();
        write(&mut out);
        String::from_utf8_lossy(&out.take()).into_owned()
    }

    #[test]
    fn strings_cannot_break_out() {
        for (octets, expected) in [
            (&b"plain"[..], "\"plain\""),
            (b"", "\"\""),
            (b"a\"b\\c", "\"a\\\"b\\\\c\""),
            (b"a\r\nb", "{4}\r\na\r\nb"),
            (b"a\nb", "{3}\r\na\nb"),
        ] {
            assert_eq!(written(|o| o.string(octets)), expected);
        }
        let mut out = Output::new();
        out.string(b"a\0\xffb");
        assert_eq!(out.take(), b"{4}\r\na\x80\xffb");
        assert!(written(|o| o.string(&vec![b'x'; 2000])).starts_with("{2000}\r\n"));
        assert_eq!(written(|o| o.nstring(None)), "NIL");
        assert_eq!(written(|o| o.utf8_string("ü\"".as_bytes())), "\"ü\\\"\"");
        assert_eq!(written(|o| o.utf8_string("ü\n".as_bytes())), "{3}\r\nü\n");
        let mut out = Output::new();
        out.utf8_string(b"\xff");
        assert_eq!(out.take(), b"{1}\r\n\xff");
    }

    #[test]
    fn numbers() {
        for number in [0, 7, 10, 4_294_967_295, u64::MAX] {
            assert_eq!(written(|o| o.number(number)), number.to_string());
        }
    }

    #[test]
    fn statuses() {
        let evil = Status::no(Code::Cannot, "a\r\n* BYE\u{e9}");
        assert_eq!(written(|o| o.tagged("a1", &evil)), "a1 NO [CANNOT] a??* BYE??\r\n");
        assert_eq!(written(|o| o.untagged_status(&Status::ok("x"))), "* OK x\r\n");
        let uid = |n| Uid::new(n).expect("not 0");
        let validity = UidValidity::new(7).expect("not 0");
        let pairs = vec![(uid(5), uid(12)), (uid(1), uid(10)), (uid(2), uid(11))];
        assert_eq!(Code::CopyUid(validity, pairs).to_string(), "[COPYUID 7 1:2,5 10:12] ");
    }

    #[test]
    fn texts_have_their_wire_size() {
        assert_eq!(written(|o| o.text_literal(b"a\nb\n", 0, u64::MAX)), "{6}\r\na\r\nb\r\n");
        assert_eq!(written(|o| o.text_literal(b"a\nb\n", 1, 3)), "{3}\r\n\r\nb");
        assert_eq!(written(|o| o.text_literal(b"a\n", 9, 3)), "{0}\r\n");
    }
}
