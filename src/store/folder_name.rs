//! Names of mailboxes as folders of Maildir++: `.A.B`, in modified UTF-7 (RFC 3501 §5.1.3).
//!
//! A `.` or `\` within a component is written `\2e` and `\5c`, as Dovecot's listescape plugin does. Both ways are
//! injective: a folder whose name is not what [`encode`] makes of its decoded name is no mailbox of ours.

use crate::mail::mailbox::MailboxName;
use crate::mail::utf7;

/// The folder of a mailbox within the Maildir; `None` for the inbox, which is the Maildir itself.
pub(super) fn encode(name: &MailboxName) -> Option<String> {
    if name.is_inbox() {
        return None;
    }
    let mut folder = String::new();
    for component in name.components() {
        folder.push('.');
        folder.push_str(&escape(component));
    }
    Some(folder)
}

/// The mailbox of a folder; `None` where no mailbox has that folder.
pub(super) fn decode(folder: &str) -> Option<MailboxName> {
    let components: Option<Vec<String>> = folder.strip_prefix('.')?.split('.').map(unescape).collect();
    let components = components?;
    if components.iter().any(|c| c.contains('/')) {
        return None;
    }
    let name = MailboxName::parse(&components.join("/")).ok()?;
    (encode(&name).as_deref() == Some(folder)).then_some(name)
}

/// One component on disk.
fn escape(component: &str) -> String {
    utf7::encode(component).replace('\\', "\\5c").replace('.', "\\2e")
}

fn unescape(component: &str) -> Option<String> {
    let mut plain = String::with_capacity(component.len());
    let mut rest = component;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (c, after) = match rest.strip_prefix("2e") {
            Some(after) => ('.', after),
            None => ('\\', rest.strip_prefix("5c")?),
        };
        plain.push(c);
        rest = after;
    }
    plain.push_str(rest);
    utf7::decode(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_folders() {
        for (name, folder) in [
            ("Sent", ".Sent"),
            ("A/B", ".A.B"),
            ("a.b/c\\d", ".a\\2eb.c\\5cd"),
            ("a\\2eb", ".a\\5c2eb"),
            ("Entwürfe", ".Entw&APw-rfe"),
            ("INBOX/Sub", ".INBOX.Sub"),
            ("R&D", ".R&-D"),
            ("cur", ".cur"),
        ] {
            let name = MailboxName::parse(name).expect("valid");
            assert_eq!(encode(&name).as_deref(), Some(folder));
            assert_eq!(decode(folder), Some(name));
        }
        assert_eq!(encode(&MailboxName::inbox()), None);
    }

    #[test]
    fn folders_that_are_no_mailbox() {
        for folder in [
            "Sent", ".", "..", "..x", ".a..b", ".a.", ".INBOX", ".inbox.x", ".&AC8-", ".a&AC8-b", ".\\2E", ".a\\b",
            ".é",
        ] {
            assert_eq!(decode(folder), None, "{folder}");
        }
    }
}
