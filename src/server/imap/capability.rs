//! What is announced, and when (RFC 3501 §6.1.1, §7.2.1).

use crate::mail::capability::APPEND_LIMIT;
use crate::mail::capability::IMAP_CAPABILITIES;
use crate::mail::capability::ImapCapability;

/// The line of a user, who may append messages up to this size (RFC 7889 §2), without what his operator disabled.
pub(super) fn user(max_message_size: u64, disabled: &[ImapCapability]) -> String {
    let is_disabled = |name: &str| disabled.iter().any(|d| d.name() == name);
    let mut line: Vec<&str> = IMAP_CAPABILITIES.iter().copied().filter(|name| !is_disabled(name)).collect();
    let limit = format!("{APPEND_LIMIT}={max_message_size}");
    if !is_disabled(APPEND_LIMIT) {
        line.push(&limit);
    }
    line.join(" ")
}

/// Before login. `LITERAL-` bounds what a stranger sends unasked (RFC 7888 §5).
pub(super) fn stranger(can_start_tls: bool, may_log_in: bool, disabled: &[ImapCapability]) -> String {
    let rev2 = if disabled.iter().any(|d| d.name() == "IMAP4rev2") { "" } else { " IMAP4rev2" };
    let tls = if can_start_tls { " STARTTLS" } else { "" };
    // RFC 3501 §6.2.3: without LOGIN a server says so.
    let login = if may_log_in { " AUTH=PLAIN AUTH=LOGIN" } else { " LOGINDISABLED" };
    format!("IMAP4rev1{rev2} SASL-IR LITERAL- ID ENABLE{tls}{login}")
}
