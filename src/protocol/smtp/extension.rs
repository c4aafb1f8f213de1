//! The extensions that EHLO announces: which, and when (RFC 5321 §4.1.1.1).
//!
//! Announces only what works in the state the session is in. Knows nothing of how the commands are carried out.

use crate::protocol::sasl::Mechanism;

/// What the announcement depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    /// The largest message, for SIZE (RFC 1870 §4).
    pub(super) max_size: u64,
    /// STARTTLS is possible and TLS is not active (RFC 3207 §4.2: never announced again).
    pub(super) start_tls: bool,
    /// A login is possible now (RFC 4954 §4).
    pub(super) login: bool,
    /// Recipients that one message may have (RFC 9422 §4).
    pub(super) recipients: usize,
    /// TLS is active (RFC 8689 §2: not offered without).
    pub(super) require_tls: bool,
    /// LMTP: a connection within one machine or network, from a server that we trust.
    pub(super) local: bool,
    /// The line with `=` as well, which clients from before RFC 2554 look for.
    pub(super) legacy_auth_line: bool,
}

/// The lines after our name.
pub(super) fn lines(offer: Offer) -> Vec<String> {
    let mut lines = vec!["PIPELINING".to_owned(), format!("SIZE {}", offer.max_size)];
    if offer.start_tls && !offer.local {
        lines.push("STARTTLS".to_owned());
    }
    if offer.login {
        let mechanisms = Mechanism::ALL.map(Mechanism::name).join(" ");
        lines.push(format!("AUTH {mechanisms}"));
        if offer.legacy_auth_line {
            lines.push(format!("AUTH={mechanisms}"));
        }
    }
    lines.push("ENHANCEDSTATUSCODES".to_owned());
    // No BINARYMIME: messages are kept as lines (RFC 3030 §3).
    for name in ["8BITMIME", "SMTPUTF8", "CHUNKING", "DSN"] {
        lines.push(name.to_owned());
    }
    if !offer.local {
        // RFC 9422 §4.
        lines.push(format!("LIMITS RCPTMAX={}", offer.recipients));
    }
    if offer.require_tls {
        lines.push("REQUIRETLS".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_is_what_works_now() {
        let bare = Offer {
            max_size: 1000,
            start_tls: false,
            login: false,
            recipients: 100,
            require_tls: false,
            local: false,
            legacy_auth_line: true,
        };
        let always = "PIPELINING,SIZE 1000,ENHANCEDSTATUSCODES,8BITMIME,SMTPUTF8,CHUNKING,DSN,LIMITS RCPTMAX=100";
        assert_eq!(lines(bare).join(","), always);
        assert_eq!(lines(Offer { require_tls: true, ..bare }).join(","), format!("{always},REQUIRETLS"));
        let tls = Offer { start_tls: true, ..bare };
        assert!(lines(tls).contains(&"STARTTLS".to_owned()));
        let login = Offer { login: true, ..bare };
        assert!(lines(login).contains(&"AUTH PLAIN LOGIN".to_owned()));
        assert!(lines(login).contains(&"AUTH=PLAIN LOGIN".to_owned()));
        let modern = Offer { legacy_auth_line: false, ..login };
        assert!(!lines(modern).contains(&"AUTH=PLAIN LOGIN".to_owned()));
    }
}
