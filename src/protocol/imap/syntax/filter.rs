//! Sets of mailboxes by a word or by their names: `filter-mailboxes` of NOTIFY (RFC 5465 §6) and ESEARCH (RFC 7377 §2.2).

use crate::mail::limits::IMAP_SEARCH_MAILBOXES;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::mailbox::mailbox;

/// Which mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// The selected one, at any time.
    Selected,
    /// The selected one, expunges only while commands run that may tell them.
    SelectedDelayed,
    /// Where mail may be delivered to.
    Inboxes,
    /// All of the user's own.
    Personal,
    /// The subscribed ones.
    Subscribed,
    /// These and all below them.
    Subtree(Vec<MailboxName>),
    /// These and what is right below them.
    SubtreeOne(Vec<MailboxName>),
    /// These.
    Mailboxes(Vec<MailboxName>),
}

impl Filter {
    /// Reads one.
    ///
    /// # Errors
    /// There is none, or it names too many mailboxes.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let name = cursor.run(|b| b.is_ascii_alphabetic() || b == b'-').to_ascii_lowercase();
        Ok(match name.as_slice() {
            b"selected" => Self::Selected,
            b"selected-delayed" => Self::SelectedDelayed,
            b"inboxes" => Self::Inboxes,
            b"personal" => Self::Personal,
            b"subscribed" => Self::Subscribed,
            b"subtree" => Self::Subtree(names(cursor)?),
            b"subtree-one" => Self::SubtreeOne(names(cursor)?),
            b"mailboxes" => Self::Mailboxes(names(cursor)?),
            _ => return Err(SyntaxError::Bad("unknown kind of mailboxes")),
        })
    }

    /// Whether it is of the selected mailbox.
    #[must_use]
    pub fn is_selected(&self) -> bool {
        matches!(self, Self::Selected | Self::SelectedDelayed)
    }

    /// Whether a mailbox of the user is one of these, selected or not.
    #[must_use]
    pub fn covers(&self, name: &MailboxName, subscribed: bool) -> bool {
        match self {
            Self::Selected | Self::SelectedDelayed => false,
            // Deliveries go nowhere else by themselves.
            Self::Inboxes => name.is_inbox(),
            Self::Personal => true,
            Self::Subscribed => subscribed,
            Self::Subtree(tops) => tops.iter().any(|top| name == top || name.is_below(top)),
            Self::SubtreeOne(tops) => tops.iter().any(|top| name == top || name.parent().as_ref() == Some(top)),
            Self::Mailboxes(names) => names.contains(name),
        }
    }
}

/// `one-or-more-mailbox` (RFC 5465 §8), after a blank.
fn names(cursor: &mut Cursor<'_>) -> Parsed<Vec<MailboxName>> {
    cursor.space()?;
    if cursor.peek() != Some(b'(') {
        return Ok(vec![mailbox(cursor)?]);
    }
    let names = cursor.list(IMAP_SEARCH_MAILBOXES, mailbox)?;
    if names.is_empty() { Err(SyntaxError::Bad("mailbox missing")) } else { Ok(names) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_covered() {
        let covered = |text: &str| {
            let filter = Filter::parse(&mut Cursor::new(text.as_bytes(), 5)).expect("valid");
            let all = [("INBOX", false), ("a", true), ("a/b", false), ("a/b/c", false)];
            let names = all.map(|(name, subscribed)| (MailboxName::parse(name).expect("valid"), subscribed));
            let covered = names.iter().filter(|(name, subscribed)| filter.covers(name, *subscribed));
            covered.map(|(name, _)| name.as_str().to_owned()).collect::<Vec<_>>().join(" ")
        };
        for (filter, expected) in [
            ("selected", ""),
            ("SELECTED-DELAYED", ""),
            ("inboxes", "INBOX"),
            ("personal", "INBOX a a/b a/b/c"),
            ("subscribed", "a"),
            ("subtree a", "a a/b a/b/c"),
            ("subtree-one (a nowhere)", "a a/b"),
            ("mailboxes (inbox a/b)", "INBOX a/b"),
        ] {
            assert_eq!(covered(filter), expected, "{filter}");
        }
        for bad in ["", "somebody", "subtree", "mailboxes ()"] {
            assert!(Filter::parse(&mut Cursor::new(bad.as_bytes(), 5)).is_err(), "{bad}");
        }
    }
}
