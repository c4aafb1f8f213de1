//! The names of what IMAP servers announce to a user (RFC 3501 §7.2.1), for who announces them and for the operator who
//! would rather not.

/// What this server announces after a login, in this order. Only what works; every name has its dialog in
/// `tests/dialogs/imap/`.
pub const IMAP_CAPABILITIES: &[&str] = &[
    "IMAP4rev1",
    "IMAP4rev2",
    "SASL-IR",
    "LITERAL+",
    "ID",
    "ENABLE",
    "UTF8=ACCEPT",
    "IDLE",
    "NAMESPACE",
    "CHILDREN",
    "SPECIAL-USE",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "LIST-METADATA",
    "STATUS=SIZE",
    "CREATE-SPECIAL-USE",
    "METADATA",
    "QUOTA",
    "QUOTASET",
    "QUOTA=RES-STORAGE",
    "QUOTA=RES-MESSAGE",
    "CONDSTORE",
    "QRESYNC",
    "UNSELECT",
    "UIDPLUS",
    "OBJECTID",
    "PREVIEW",
    "SAVEDATE",
    "MOVE",
    "MULTIAPPEND",
    "BINARY",
    "CATENATE",
    "URL-PARTIAL",
    "REPLACE",
    "UNAUTHENTICATE",
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "PARTIAL",
    "I18NLEVEL=1",
    "INPROGRESS",
    "NOTIFY",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "THREAD=REFS",
    "MULTISEARCH",
    "CONTEXT=SEARCH",
];

/// The one that is announced with a number: the largest message that APPEND takes (RFC 7889).
pub const APPEND_LIMIT: &str = "APPENDLIMIT";

/// One that an operator may disable: any but the protocol itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImapCapability(&'static str);

impl ImapCapability {
    /// The one of this name, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = IMAP_CAPABILITIES.iter().copied().chain([APPEND_LIMIT]).filter(|known| *known != "IMAP4rev1");
        all.into_iter().find(|known| known.eq_ignore_ascii_case(name)).map(Self)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(ImapCapability::named("qresync").map(ImapCapability::name), Some("QRESYNC"));
        assert_eq!(ImapCapability::named("AppendLimit").map(ImapCapability::name), Some(APPEND_LIMIT));
        for none in ["IMAP4rev1", "UIDONLY", ""] {
            assert_eq!(ImapCapability::named(none), None, "{none}");
        }
    }
}
