//! `subscriptions`: the mailboxes that a client shows. Dovecot's format, version 2 written, the old plain list read.
//!
//! Version 2 is the line `V<TAB>2`, an empty line, then one mailbox a line, as its folder is named on disk with tabs
//! between its components. The old format has the name with dots, or slashes where mailboxes lie in one another, and no
//! heading. A name may outlive its mailbox (RFC 3501
//! §6.3.6). Lines that are no mailbox name of ours are kept.

use crate::config::Layout;
use crate::mail::mailbox::MailboxName;

use super::layout;

/// Name of the file in the Maildir.
pub(super) const FILE: &str = "subscriptions";

/// What is subscribed, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Subscriptions {
    layout: Layout,
    names: Vec<MailboxName>,
    foreign: Vec<String>,
}

impl Subscriptions {
    /// Reads either format.
    pub(super) fn parse(layout: Layout, bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (lines, tabs) = match text.strip_prefix("V\t2\n") {
            Some(rest) => (rest, true),
            None => (&*text, false),
        };
        let mut subscriptions = Self { layout, names: Vec::new(), foreign: Vec::new() };
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let tabbed = if tabs { line.to_owned() } else { line.replace(layout::old_separator(layout), "\t") };
            match layout::subscribed(layout, &tabbed) {
                Some(name) => {
                    subscriptions.add(&name);
                }
                None => subscriptions.foreign.push(tabbed),
            }
        }
        subscriptions
    }

    /// Version 2.
    pub(super) fn format(&self) -> Vec<u8> {
        let mut out = String::from("V\t2\n\n");
        for name in &self.names {
            out.push_str(&layout::subscription(self.layout, name));
            out.push('\n');
        }
        for line in &self.foreign {
            out.push_str(line);
            out.push('\n');
        }
        out.into_bytes()
    }

    /// The names.
    pub(super) fn names(&self) -> &[MailboxName] {
        &self.names
    }

    /// Whether it was new.
    pub(super) fn add(&mut self, name: &MailboxName) -> bool {
        let new = !self.names.contains(name);
        if new {
            self.names.push(name.clone());
        }
        new
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, name: &MailboxName) -> bool {
        let before = self.names.len();
        self.names.retain(|n| n != name);
        self.names.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats() {
        let new = b"V\t2\n\nINBOX\nA\\2eb\tC\nEntw&APw-rfe\n&bad\n";
        let old = b"INBOX\nA\\2eb.C\nEntw&APw-rfe\n&bad\nINBOX\n";
        let parse = |bytes| Subscriptions::parse(Layout::MaildirPlusPlus, bytes);
        let subscriptions = parse(new);
        let names: Vec<&str> = subscriptions.names().iter().map(MailboxName::as_str).collect();
        assert_eq!(names, ["INBOX", "A.b/C", "Entwürfe"]);
        assert_eq!(subscriptions.format(), new);
        assert_eq!(parse(old), subscriptions);
        assert_eq!(parse(b"").format(), b"V\t2\n\n");
    }

    #[test]
    fn nested_mailboxes() {
        let new = b"V\t2\n\nINBOX\na.b\tC\n&bad\n";
        let subscriptions = Subscriptions::parse(Layout::Fs, new);
        let names: Vec<&str> = subscriptions.names().iter().map(MailboxName::as_str).collect();
        assert_eq!(names, ["INBOX", "a.b/C"]);
        assert_eq!(subscriptions.format(), new);
        assert_eq!(Subscriptions::parse(Layout::Fs, b"INBOX\na.b/C\n&bad\n"), subscriptions);
    }

    #[test]
    fn added_once_and_removed() {
        let mut subscriptions = Subscriptions::default();
        let name = MailboxName::parse("a/b").expect("valid");
        assert!(subscriptions.add(&name) && !subscriptions.add(&name));
        assert!(subscriptions.remove(&name) && !subscriptions.remove(&name));
    }
}
