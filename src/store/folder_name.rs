//! Names of mailboxes as folders of Maildir++: `.A.B`, in modified UTF-7 (RFC 3501 §5.1.3).
//!
//! A `.` within a component is written `\2e`, see [`escape_dots`]; a Dovecot without its listescape plugin shows such a
//! mailbox with these letters in its name, and all others as we do. Both ways are injective: a folder whose name is not
//! what [`encode`] makes of its decoded name is no mailbox of ours.
//!
//! Two kinds of folders that Dovecot lists are none here, and it cannot open them either: names that are no modified
//! UTF-7 in its one form, and names with an empty component. Neither are symbolic links, which Dovecot follows.

use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::escape_dots;
use crate::mail::mailbox::unescape_dots;
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
    escape_dots(&utf7::encode(component))
}

fn unescape(component: &str) -> Option<String> {
    utf7::decode(&unescape_dots(component))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_folders() {
        for (name, folder) in [
            ("Sent", ".Sent"),
            ("A/B", ".A.B"),
            ("a.b/c\\d", ".a\\2eb.c\\d"),
            ("a\\2eb", ".a\\5c2eb"),
            ("a\\2Eb", ".a\\2Eb"),
            ("~x", ".~x"),
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
            "Sent", ".", "..", "..x", ".a..b", ".a.", ".INBOX", ".inbox.x", ".&AC8-", ".a&AC8-b", ".R&D", ".&AGE-",
            ".é",
        ] {
            assert_eq!(decode(folder), None, "{folder}");
        }
    }
}
