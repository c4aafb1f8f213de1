//! How mailbox names are spelled between a client and us: what stands between their parts, and in which characters.
//!
//! Clients of IMAP4rev1 speak modified UTF-7 (RFC 3501 §5.1.3) until they enable `UTF8=ACCEPT` (RFC 6855 §3) or
//! IMAP4rev2 (RFC 9051 §5.1), which speak UTF-8.

use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::Separator;
use crate::mail::utf7;

/// One way to spell names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spelling {
    /// What stands between the parts of a name.
    pub separator: Separator,
    /// UTF-8 in place of modified UTF-7; strings in quotes may hold it too.
    pub utf8: bool,
}

impl From<Separator> for Spelling {
    fn from(separator: Separator) -> Self {
        Self { separator, utf8: false }
    }
}

impl Spelling {
    /// The characters of what a client sent; `None` where they are spelled in no way that we know.
    #[must_use]
    pub fn decode(self, octets: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(octets).ok()?;
        // RFC 6855 §3: names in UTF-8 are taken from anybody. Modified UTF-7 is ASCII.
        if self.utf8 || !text.is_ascii() { Some(text.to_owned()) } else { utf7::decode(text) }
    }

    /// The name as it goes to the client.
    #[must_use]
    pub fn encode(self, name: &MailboxName) -> String {
        let text = self.separator.text(name);
        if self.utf8 { text.into() } else { utf7::encode(&text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let seven = Spelling::from(Separator::Slash);
        let eight = Spelling { utf8: true, ..seven };
        let name = MailboxName::parse("Entwürfe & Co").expect("valid");
        for (spelling, wire) in [(seven, "Entw&APw-rfe &- Co"), (eight, "Entwürfe & Co")] {
            assert_eq!(spelling.encode(&name), wire);
            assert_eq!(spelling.decode(wire.as_bytes()).as_deref(), Some(name.as_str()));
        }
        assert_eq!(seven.decode("Entwürfe".as_bytes()).as_deref(), Some("Entwürfe"));
        assert_eq!(seven.decode(b"&bad"), None);
        assert_eq!(eight.decode(b"&bad").as_deref(), Some("&bad"));
        assert_eq!(eight.decode(b"\xff"), None);
    }
}
