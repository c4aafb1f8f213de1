//! What a client has enabled in this session (RFC 5161), and what that implies.

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
