//! What is announced, and when (RFC 3501 §6.1.1, §7.2.1). Only what works is announced; every name has its dialog in
//! `tests/dialogs/imap/`.

/// After login, in the order in which it is announced.
pub(super) const USER: &[&str] = &[
    "IMAP4rev1",
    "SASL-IR",
    "LITERAL+",
    "ID",
    "ENABLE",
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
    "ESEARCH",
    "SEARCHRES",
    "WITHIN",
    "PARTIAL",
    "I18NLEVEL=1",
    "INPROGRESS",
    "SORT",
    "SORT=DISPLAY",
    "ESORT",
    "THREAD=ORDEREDSUBJECT",
    "THREAD=REFERENCES",
    "THREAD=REFS",
    "MULTISEARCH",
    "CONTEXT=SEARCH",
];

/// The line of a user.
pub(super) fn user() -> String {
    USER.join(" ")
}

/// Before login. `LITERAL-` bounds what a stranger sends unasked (RFC 7888 §5).
pub(super) fn stranger(can_start_tls: bool, may_log_in: bool) -> String {
    let tls = if can_start_tls { " STARTTLS" } else { "" };
    // RFC 3501 §6.2.3: without LOGIN a server says so.
    let login = if may_log_in { " AUTH=PLAIN AUTH=LOGIN" } else { " LOGINDISABLED" };
    format!("IMAP4rev1 SASL-IR LITERAL- ID ENABLE{tls}{login}")
}
