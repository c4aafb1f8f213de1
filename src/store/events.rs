//! What happens in an account, for sessions that want to hear of more than the mailbox they have selected.
//!
//! Changes of the tree are told one by one; of messages it is only said that there is something new somewhere. What
//! other programs do to the tree is not told.

use std::sync::OnceLock;

use tokio::sync::broadcast;
use tokio::sync::watch;

use crate::mail::limits::ACCOUNT_EVENTS_KEPT;
use crate::mail::mailbox::MailboxName;

/// Something that happened to the mailboxes of an account, not to messages in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEvent {
    /// There is a new mailbox.
    Created(MailboxName),
    /// A mailbox is gone.
    Deleted(MailboxName),
    /// A mailbox has another name, and so have those below it.
    Renamed(MailboxName, MailboxName),
    /// A name is subscribed, or no longer.
    Subscribed(MailboxName),
    /// Annotations of these names were set or removed; those of the server where there is no mailbox.
    Annotated(Option<MailboxName>, Vec<String>),
}

/// Who tells it.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Counts everything that happens.
    changes: watch::Sender<u64>,
    /// Made when the first listens: most accounts never have one, and it holds room for what is kept.
    events: OnceLock<broadcast::Sender<AccountEvent>>,
}

impl Events {
    /// Something changed in some mailbox.
    pub(super) fn touched(&self) {
        if self.changes.receiver_count() > 0 {
            self.changes.send_modify(|n| *n = n.wrapping_add(1));
        }
    }

    /// Something happened to the tree. Nobody who listens is no error.
    pub(super) fn tell(&self, event: AccountEvent) {
        if let Some(events) = self.events.get() {
            events.send(event).ok();
        }
        self.touched();
    }

    /// From now on.
    pub(super) fn listen(&self) -> AccountNews {
        let events = self.events.get_or_init(|| broadcast::Sender::new(ACCOUNT_EVENTS_KEPT));
        AccountNews { changes: self.changes.subscribe(), events: events.subscribe() }
    }
}

/// What a session hears.
#[derive(Debug)]
pub struct AccountNews {
    changes: watch::Receiver<u64>,
    events: broadcast::Receiver<AccountEvent>,
}

/// More happened than is kept for those who do not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed;

impl AccountNews {
    /// Wakes at the next change of anything.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Marks what happened so far as seen, and gives what happened to the tree since the last time.
    ///
    /// # Errors
    /// [`Missed`].
    pub fn take(&mut self) -> Result<Vec<AccountEvent>, Missed> {
        self.changes.mark_unchanged();
        let mut events = Vec::new();
        loop {
            match self.events.try_recv() {
                Ok(event) => events.push(event),
                Err(broadcast::error::TryRecvError::Lagged(_)) => return Err(Missed),
                Err(_) => return Ok(events),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_listen_misses() {
        let events = Events::default();
        let created = || AccountEvent::Created(MailboxName::inbox());
        events.tell(created());
        let mut news = events.listen();
        assert_eq!(news.take(), Ok(vec![]));
        events.tell(created());
        assert!(news.changes().has_changed().expect("the sender lives"));
        assert_eq!(news.take(), Ok(vec![created()]));
        assert!(!news.changes().has_changed().expect("the sender lives"));
        (0..=ACCOUNT_EVENTS_KEPT).for_each(|_| events.tell(created()));
        assert_eq!(news.take(), Err(Missed));
    }
}
