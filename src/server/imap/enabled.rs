//! What a client has enabled in this session (RFC 5161), and what that implies.

use crate::mail::capability::ImapCapability;

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
        for name in names.iter().filter(|name| disabled.iter().all(|d| d.name() != name.as_str())) {
            match name.as_str() {
                "CONDSTORE" => self.condstore = true,
                // RFC 7162 §3.2.3.
                "QRESYNC" => (self.qresync, self.condstore) = (true, true),
                _ => {}
            }
        }
        let mut new = Vec::new();
        if self.qresync && !before.qresync {
            new.push("QRESYNC");
        }
        if self.condstore && !before.condstore {
            new.push("CONDSTORE");
        }
        new
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
        assert!(enabled.condstore && enabled.qresync && !enabled.rev2);
    }
}
