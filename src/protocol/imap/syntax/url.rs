//! URLs of messages and their parts, relative to this server (RFC 5092 §7, §11 `imessagepart`), as CATENATE has them.
//!
//! `/Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=1.MIME/;PARTIAL=0.1024`, and from `;UID=` on within the selected
//! mailbox. A URL of another server or another user is none of ours.

use crate::mail::mailbox::MailboxName;
use crate::message::decode::percent;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::fetch::Section;
use crate::protocol::imap::syntax::fetch::SectionText;
use crate::protocol::imap::syntax::fetch::bare_section;
use crate::protocol::imap::syntax::spelling::Spelling;

/// A message, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageUrl {
    /// The mailbox; `None` for the selected one.
    pub mailbox: Option<MailboxName>,
    /// The UIDVALIDITY that it must have.
    pub validity: Option<u32>,
    /// The UID of the message.
    pub uid: u32,
    /// What of the message.
    pub section: Section,
    /// First octet and most octets of that (`URL-PARTIAL`, RFC 5550 §4.10).
    pub partial: Option<(u64, u64)>,
}

impl MessageUrl {
    /// Reads one; `None` where it is something else.
    #[must_use]
    pub fn parse(url: &[u8], spelling: Spelling) -> Option<Self> {
        let text = std::str::from_utf8(url).ok()?;
        let (mailbox, rest) = match (text.strip_prefix('/'), named(text, ";UID=")) {
            (_, Some(_)) => (None, text),
            // RFC 5092 §7.2: an absolute path; `//` would name another server.
            (Some(path), _) if !path.starts_with('/') => {
                let (mailbox, rest) = path.rsplit_once_folded("/;uid=")?;
                (Some(mailbox), rest)
            }
            _ => return None,
        };
        let (name, validity) = match mailbox.map(|mailbox| mailbox.rsplit_once_folded(";uidvalidity=")) {
            Some(Some((name, validity))) => (Some(name), Some(validity.parse().ok().filter(|n| *n > 0)?)),
            Some(None) => (mailbox, None),
            None => (None, None),
        };
        let mut parts = rest.split('/');
        let uid = parts.next().map(|uid| named(uid, ";UID=").unwrap_or(uid))?.parse().ok().filter(|n| *n > 0)?;
        let mut out = Self {
            mailbox: name.map(|name| mailbox_of(name, spelling)).transpose().ok()?,
            validity,
            uid,
            section: Section { numbers: Vec::new(), text: SectionText::All },
            partial: None,
        };
        // An encoded slash is part of a name; a plain one stands between the parts.
        let mut next = parts.next();
        if let Some(section) = next.and_then(|part| named(part, ";SECTION=")) {
            let section = decoded(section);
            let mut cursor = Cursor::new(&section, 1);
            out.section = bare_section(&mut cursor).ok().filter(|_| cursor.is_end())?;
            next = parts.next();
        }
        if let Some(range) = next.and_then(|part| named(part, ";PARTIAL=")) {
            let (from, len) = range.split_once('.').map_or((range, None), |(from, len)| (from, Some(len)));
            let len = len.map_or(Some(u64::MAX), |len| len.parse().ok()).filter(|n| *n > 0)?;
            out.partial = Some((from.parse().ok()?, len));
            next = parts.next();
        }
        if next.is_none() { Some(out) } else { None }
    }
}

fn mailbox_of(name: &str, spelling: Spelling) -> Result<MailboxName, ()> {
    // RFC 5092 §3: UTF-8, whatever the session speaks otherwise.
    let name = String::from_utf8(decoded(name)).map_err(|_| ())?;
    spelling.separator.parse(&name).map_err(|_| ())
}

fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    percent(text.as_bytes(), &mut out);
    out
}

/// What stands behind a name, compared without case.
fn named<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(name.len())?;
    head.eq_ignore_ascii_case(name).then_some(rest)
}

trait Folded {
    /// Splits at the last place that is `mark` (in lower case), compared without case.
    fn rsplit_once_folded(&self, mark: &str) -> Option<(&str, &str)>;
}

impl Folded for str {
    fn rsplit_once_folded(&self, mark: &str) -> Option<(&str, &str)> {
        let at = self.to_ascii_lowercase().rfind(mark)?;
        Some((&self[..at], &self[at + mark.len()..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let read = |url: &str| MessageUrl::parse(url.as_bytes(), Spelling::default());
        let name = |text: &str| Some(MailboxName::parse(text).expect("valid"));
        let plain = MessageUrl {
            mailbox: name("Drafts"),
            validity: Some(385_759_045),
            uid: 20,
            section: Section { numbers: vec![], text: SectionText::All },
            partial: None,
        };
        let header = Section { numbers: vec![], text: SectionText::Header };
        let mime = Section { numbers: vec![1, 2], text: SectionText::Mime };
        for (url, expected) in [
            ("/Drafts;UIDVALIDITY=385759045/;UID=20", plain.clone()),
            ("/Drafts;uidvalidity=385759045/;uid=20/;section=HEADER", MessageUrl { section: header, ..plain.clone() }),
            (
                "/Drafts;UIDVALIDITY=385759045/;UID=20/;SECTION=1.2.MIME/;PARTIAL=5.10",
                MessageUrl { section: mime, partial: Some((5, 10)), ..plain.clone() },
            ),
            (
                "/a/b%20%C3%BC/;UID=20/;PARTIAL=7",
                MessageUrl { mailbox: name("a/b ü"), validity: None, partial: Some((7, u64::MAX)), ..plain.clone() },
            ),
            (";UID=20", MessageUrl { mailbox: None, validity: None, ..plain.clone() }),
        ] {
            assert_eq!(read(url), Some(expected), "{url}");
        }
        for bad in [
            "",
            "/Drafts",
            "/Drafts/;UID=0",
            "/Drafts/;UID=x",
            "/Drafts;UIDVALIDITY=0/;UID=1",
            "//host/Drafts/;UID=1",
            "imap://host/Drafts/;UID=1",
            "imap://;UID=1",
            "/../x/;UID=1",
            "/%ff/;UID=1",
            "/Drafts/;UID=1/;SECTION=NONE",
            "/Drafts/;UID=1/;SECTION=1]",
            "/Drafts/;UID=1/;PARTIAL=1.0",
            "/Drafts/;UID=1/;PARTIAL=",
            "/Drafts/;UID=1/x",
            "/Drafts/;UID=1;URLAUTH=anonymous",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
