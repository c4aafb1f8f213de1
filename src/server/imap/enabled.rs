//! What a client has enabled in this session (RFC 5161), and what that implies.

use crate::mail::capability::ImapCapability;
use crate::protocol::imap::structure::Characters;

/// Extensions that change what the server may send unasked. All off until the client says otherwise; never off again
/// but by UNAUTHENTICATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Enabled {
    /// `CONDSTORE`, by ENABLE or by any command that implies it (RFC 7162 §3.1).
    pub(super) condstore: bool,
    /// `QRESYNC`, which implies `CONDSTORE` (RFC 7162 §3.2.3).
    pub(super) qresync: bool,
    /// `IMAP4rev2` (RFC 9051 §6.3.1).
    pub(super) rev2: bool,
    /// `UTF8=ACCEPT` (RFC 6855 §3).
    pub(super) utf8: bool,
}

impl Enabled {
    /// Enables what is named and known; gives the names of what was not enabled before.
    pub(super) fn enable(&mut self, names: &[String], disabled: &[ImapCapability]) -> Vec<&'static str> {
        let before = *self;
        let is_disabled = |name: &str| disabled.iter().any(|d| d.name().eq_ignore_ascii_case(name));
        for name in names.iter().filter(|name| !is_disabled(name)) {
            match name.as_str() {
                "IMAP4REV2" => self.rev2 = true,
                "UTF8=ACCEPT" => self.utf8 = true,
                "CONDSTORE" => self.condstore = true,
                // RFC 7162 §3.2.3.
                "QRESYNC" => (self.qresync, self.condstore) = (true, true),
                _ => {}
            }
        }
        let mut new = Vec::new();
        if self.rev2 && !before.rev2 {
            new.push("IMAP4rev2");
        }
        if self.utf8 && !before.utf8 {
            new.push("UTF8=ACCEPT");
        }
        if self.qresync && !before.qresync {
            new.push("QRESYNC");
        }
        if self.condstore && !before.condstore {
            new.push("CONDSTORE");
        }
        new
    }

    /// Whether strings may be UTF-8, and names of mailboxes are (RFC 6855 §3, RFC 9051 §5.1).
    pub(super) fn speaks_utf8(self) -> bool {
        self.rev2 || self.utf8
    }

    /// In which characters the strings of an envelope or a structure are written.
    pub(super) fn characters(self) -> Characters {
        match self {
            Self { rev2: true, .. } => Characters::Rev2,
            Self { utf8: true, .. } => Characters::Utf8,
            _ => Characters::SevenBit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told_and_qresync_implies_condstore() {
        let mut enabled = Enabled::default();
        let mut enable = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            enabled.enable(&names, &[ImapCapability::named("condstore").expect("known")])
        };
        assert_eq!(enable(&["X-UNKNOWN", "UIDONLY"]), [""; 0]);
        assert_eq!(enable(&["CONDSTORE"]), [""; 0], "disabled");
        assert_eq!(enable(&["QRESYNC"]), ["QRESYNC", "CONDSTORE"]);
        assert_eq!(enable(&["CONDSTORE", "QRESYNC"]), [""; 0]);
        assert_eq!(enable(&["IMAP4REV2", "UTF8=ACCEPT"]), ["IMAP4rev2", "UTF8=ACCEPT"]);
        assert!(enabled.condstore && enabled.qresync && enabled.rev2 && enabled.utf8);
    }
}
