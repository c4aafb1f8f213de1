//! The arguments of NOTIFY (RFC 5465 §8): which events of which mailboxes.

use crate::mail::limits::IMAP_FETCH_ITEMS;
use crate::mail::limits::IMAP_NOTIFY_GROUPS;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::fetch::FetchItem;
use crate::protocol::imap::syntax::fetch::fetch_item;
use crate::protocol::imap::syntax::filter::Filter;

/// What a client wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotifyArguments {
    /// `NONE`.
    Nothing,
    /// `SET`.
    Set {
        /// Say first how things are.
        status: bool,
        /// What of what.
        groups: Vec<EventGroup>,
    },
}

/// Events of some mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventGroup {
    /// Which mailboxes.
    pub filter: Filter,
    /// Which events; none for `NONE`.
    pub events: Events,
}

/// Which events (RFC 5465 §5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Events {
    /// `MessageNew` and `MessageExpunge`.
    pub messages: bool,
    /// What is told of each new message.
    pub items: Vec<FetchItem>,
    /// `FlagChange`.
    pub flags: bool,
    /// `MailboxName`.
    pub names: bool,
    /// `SubscriptionChange`.
    pub subscriptions: bool,
    /// `MailboxMetadataChange`.
    pub metadata: bool,
    /// `ServerMetadataChange`.
    pub server_metadata: bool,
}

/// The names of all events, for who asks for another one.
pub const EVENT_NAMES: &str = "MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange \
                               MailboxMetadataChange ServerMetadataChange";

impl NotifyArguments {
    /// Reads them.
    ///
    /// # Errors
    /// They are not what NOTIFY takes; [`SyntaxError::Event`] for an event that nobody here knows.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        if cursor.take_word("NONE") {
            return Ok(Self::Nothing);
        }
        if !cursor.take_word("SET") {
            return Err(SyntaxError::Bad("NOTIFY takes SET or NONE"));
        }
        let status = cursor.take_word(" STATUS");
        let mut groups: Vec<EventGroup> = Vec::new();
        while cursor.take(b' ') && !cursor.is_end() {
            if groups.len() >= IMAP_NOTIFY_GROUPS {
                return Err(SyntaxError::Limit("too many event groups"));
            }
            groups.push(EventGroup::parse(cursor)?);
        }
        if groups.is_empty() {
            return Err(SyntaxError::Bad("event group missing"));
        }
        if groups.iter().filter(|group| group.filter.is_selected()).count() > 1 {
            return Err(SyntaxError::Bad("the selected mailbox is named twice"));
        }
        Ok(Self::Set { status, groups })
    }
}

impl EventGroup {
    fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        cursor.expect(b'(')?;
        let filter = Filter::parse(cursor)?;
        cursor.space()?;
        let mut read = Reading::default();
        if !cursor.take_word("NONE") {
            // The examples of RFC 5465 leave these parentheses out.
            let in_parentheses = cursor.take(b'(');
            loop {
                read.event(cursor)?;
                if !cursor.take(b' ') {
                    break;
                }
            }
            if in_parentheses {
                cursor.expect(b')')?;
            }
        }
        cursor.expect(b')')?;
        let (new, expunge, events) = (read.new, read.expunge, read.events);
        // RFC 5465 §5.
        if new != expunge || (events.flags && !new) {
            return Err(SyntaxError::Bad("MessageNew and MessageExpunge go together, and with FlagChange"));
        }
        let others = events.names || events.subscriptions || events.metadata || events.server_metadata;
        if filter.is_selected() && others {
            return Err(SyntaxError::Bad("only messages of the selected mailbox have events"));
        }
        if !filter.is_selected() && !events.items.is_empty() {
            return Err(SyntaxError::Bad("only messages of the selected mailbox are told of"));
        }
        Ok(Self { filter, events: Events { messages: new, ..events } })
    }
}

#[derive(Default)]
struct Reading {
    new: bool,
    expunge: bool,
    events: Events,
}

impl Reading {
    fn event(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        match cursor.atom()?.to_ascii_lowercase().as_str() {
            "messagenew" => {
                self.new = true;
                if cursor.take_word(" (") {
                    self.events.items = items(cursor)?;
                }
            }
            "messageexpunge" => self.expunge = true,
            "flagchange" => self.events.flags = true,
            "mailboxname" => self.events.names = true,
            "subscriptionchange" => self.events.subscriptions = true,
            "mailboxmetadatachange" => self.events.metadata = true,
            "servermetadatachange" => self.events.server_metadata = true,
            _ => return Err(SyntaxError::Event),
        }
        Ok(())
    }
}

/// Items of FETCH behind a parenthesis. Whoever is told of a message has not read it: `\Seen` stays as it is.
fn items(cursor: &mut Cursor<'_>) -> Parsed<Vec<FetchItem>> {
    let mut items = Vec::new();
    loop {
        if items.len() >= IMAP_FETCH_ITEMS {
            return Err(SyntaxError::Limit("too many items in a list"));
        }
        items.push(fetch_item(cursor)?.without_seen());
        if cursor.take(b')') {
            return Ok(items);
        }
        cursor.space()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mailbox::MailboxName;

    fn read(text: &str) -> Parsed<NotifyArguments> {
        let mut cursor = Cursor::new(text.as_bytes(), 5);
        let arguments = NotifyArguments::parse(&mut cursor)?;
        cursor.end()?;
        Ok(arguments)
    }

    #[test]
    fn events_of_mailboxes() {
        assert_eq!(read("NONE"), Ok(NotifyArguments::Nothing));
        let name = |text: &str| MailboxName::parse(text).expect("valid");
        let messages = Events { messages: true, ..Events::default() };
        let group = |filter, events| EventGroup { filter, events };
        // RFC 5465 §3.1 and §6.
        assert_eq!(
            read(
                "set status (selected MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge) \
                 (subtree Lists (MessageNew MessageExpunge))"
            )
            .map(|read| match read {
                NotifyArguments::Set { status, groups } => (status, groups.len(), groups[0].events.items.len()),
                NotifyArguments::Nothing => (false, 0, 0),
            }),
            Ok((true, 2, 2))
        );
        assert_eq!(
            read("SET (mailboxes (INBOX a) (Messagenew messageExpunge FlagChange)) (personal (SubscriptionChange))"),
            Ok(NotifyArguments::Set {
                status: false,
                groups: vec![
                    group(
                        Filter::Mailboxes(vec![MailboxName::inbox(), name("a")]),
                        Events { flags: true, ..messages.clone() }
                    ),
                    group(Filter::Personal, Events { subscriptions: true, ..Events::default() }),
                ],
            })
        );
        let seen = read("SET (selected-delayed (MessageNew (BODY[] RFC822) MessageExpunge))");
        let Ok(NotifyArguments::Set { groups, .. }) = seen else { panic!("{seen:?}") };
        assert!(groups[0].events.items.iter().all(|item| !item.sets_seen()));
        assert_eq!(
            read("SET (inboxes NONE) "),
            Ok(NotifyArguments::Set { status: false, groups: vec![group(Filter::Inboxes, Events::default())] })
        );
        for bad in [
            "",
            "SET",
            "SET STATUS",
            "SET (selected)",
            "SET (selected ())",
            "SET (selected (MessageNew))",
            "SET (selected (MessageExpunge))",
            "SET (personal (FlagChange))",
            "SET (selected (MailboxName))",
            "SET (selected NONE) (selected-delayed NONE)",
            "SET (personal (MessageNew (uid) MessageExpunge))",
            "SET (subtree (MailboxName))",
            "SET (somebody (MailboxName))",
            "SET (personal (MailboxName)",
        ] {
            assert!(matches!(read(bad), Err(SyntaxError::Bad(_))), "{bad}");
        }
        for unknown in ["AnnotationChange", "MessageRead"] {
            let text = format!("SET (selected (MessageNew MessageExpunge {unknown}))");
            assert_eq!(read(&text), Err(SyntaxError::Event));
        }
    }
}
