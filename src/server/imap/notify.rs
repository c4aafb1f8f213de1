//! What a session hears unasked, once it said NOTIFY (RFC 5465): of the selected mailbox at any time, of other mailboxes
//! by STATUS, of the tree by LIST and METADATA.
//!
//! Knows what was told last of each watched mailbox. STATUS is told of what this session did itself as well: it may
//! have been joined by others.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::command::list;
use super::command::metadata;
use super::command::status;
use super::errors;
use super::session::Session;
use super::wire::End;
use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;
use crate::mail::limits::IMAP_NOTIFY_MAILBOXES;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::fetch::FetchItem;
use crate::protocol::imap::syntax::filter::Filter;
use crate::protocol::imap::syntax::mailbox::StatusItem;
use crate::protocol::imap::syntax::notify::EventGroup;
use crate::protocol::imap::syntax::notify::Events;
use crate::store::AccountEvent;
use crate::store::AccountNews;
use crate::store::AccountStore;
use crate::store::Mailbox;
use crate::store::Missed;
use crate::store::Snapshot;
use crate::store::StoreError;

/// What is told of the selected mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SelectedEvents {
    /// Expunges wait for a command that may tell them.
    pub(super) delayed: bool,
    /// Changes of flags too.
    pub(super) flags: bool,
    /// What is told of each new message.
    pub(super) items: Vec<FetchItem>,
}

/// What a session wants to hear of, and what it was told.
#[derive(Debug)]
pub(super) struct Notify {
    pub(super) selected: Option<SelectedEvents>,
    /// Of other mailboxes.
    groups: Vec<EventGroup>,
    news: AccountNews,
    watched: BTreeMap<MailboxName, Watched>,
    /// What this session did to the tree since the last look, which it is not told.
    own: Vec<AccountEvent>,
}

#[derive(Debug)]
struct Watched {
    mailbox: Arc<Mailbox>,
    /// While this is held, deliveries are shown by themselves.
    _shown: watch::Receiver<u64>,
    flags: bool,
    told: Told,
}

impl Watched {
    fn new(mailbox: Arc<Mailbox>, flags: bool) -> Self {
        // First the receiver: what is delivered from now on is shown.
        let shown = mailbox.changes();
        Self { told: Told::of(&mailbox.snapshot()), mailbox, _shown: shown, flags }
    }
}

/// What STATUS says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    /// Of the state that this is of.
    version: u64,
    validity: UidValidity,
    next: Uid,
    messages: usize,
    unseen: usize,
    modseq: u64,
}

impl Told {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            version: snapshot.version,
            validity: snapshot.validity,
            next: snapshot.next,
            messages: snapshot.messages.len(),
            unseen: snapshot.unseen(),
            modseq: snapshot.highest_modseq,
        }
    }
}

/// Why nothing is told from now on.
pub(super) enum Refused {
    /// So many mailboxes are too many.
    Overflow,
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Refused {
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Overflow => Status::no(Code::NotificationOverflow, "Too many mailboxes"),
            Self::Store(error) => errors::of_store(error),
        }
    }
}

impl Notify {
    /// From now on these events are told.
    pub(super) async fn begin(account: &Arc<AccountStore>, groups: Vec<EventGroup>) -> Result<Self, Refused> {
        let (selected, groups): (Vec<_>, Vec<_>) = groups.into_iter().partition(|group| group.filter.is_selected());
        let selected = selected.into_iter().find(|group| group.events.messages).map(|group| SelectedEvents {
            delayed: group.filter == Filter::SelectedDelayed,
            flags: group.events.flags,
            items: group.events.items,
        });
        // Before anything is looked at, so that nothing is missed.
        let news = account.news();
        let mut notify = Self { selected, groups, news, watched: BTreeMap::new(), own: Vec::new() };
        notify.watch(account).await?;
        Ok(notify)
    }

    /// Wakes when there may be something to tell.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.news.changes()
    }

    /// This session did something to the tree.
    pub(super) fn did(&mut self, event: AccountEvent) {
        self.own.push(event);
    }

    /// The mailboxes whose messages are heard of, and of what a STATUS of them tells.
    pub(super) fn watched(&self) -> Vec<(MailboxName, Arc<Mailbox>, Vec<StatusItem>)> {
        let all = self.watched.iter().map(|(name, watched)| {
            // RFC 5465 §3.1.
            let mut items = vec![StatusItem::Messages, StatusItem::UidNext, StatusItem::UidValidity];
            if watched.flags {
                items.extend([StatusItem::Unseen, StatusItem::HighestModSeq]);
            }
            (name.clone(), Arc::clone(&watched.mailbox), items)
        });
        all.collect()
    }

    /// Brings the watched mailboxes up to date with the tree.
    async fn watch(&mut self, account: &Arc<AccountStore>) -> Result<(), Refused> {
        if !self.groups.iter().any(|group| group.events.messages) {
            return Ok(());
        }
        let mut before = std::mem::take(&mut self.watched);
        for listed in account.list().await?.into_iter().filter(|listed| listed.selectable) {
            let groups = self
                .groups
                .iter()
                .filter(|group| group.events.messages && group.filter.covers(&listed.name, listed.subscribed));
            let Some(flags) = groups.map(|group| group.events.flags).reduce(|a, b| a || b) else { continue };
            if self.watched.len() >= IMAP_NOTIFY_MAILBOXES {
                return Err(Refused::Overflow);
            }
            // What is watched already and still has this name stays as it was told.
            let known = before.remove(&listed.name);
            let known = known.filter(|known| !known.mailbox.is_gone() && known.mailbox.name() == listed.name);
            let watched = match known {
                Some(known) => known,
                None => match account.mailbox(&listed.name).await {
                    Ok(mailbox) => Watched::new(mailbox, flags),
                    // It was there a moment ago.
                    Err(StoreError::NoSuchMailbox) => continue,
                    Err(error) => return Err(error.into()),
                },
            };
            self.watched.insert(listed.name, watched);
        }
        Ok(())
    }

    /// Whether somebody wants to hear such an event of this mailbox.
    fn wants(&self, name: &MailboxName, subscribed: bool, event: impl Fn(&Events) -> bool) -> bool {
        self.groups.iter().any(|group| event(&group.events) && group.filter.covers(name, subscribed))
    }
}

/// Tells what happened outside of the selected mailbox.
pub(super) async fn tell(session: &mut Session) -> Result<(), End> {
    let Some(mut notify) = session.user.as_mut().and_then(|user| user.notify.take()) else { return Ok(()) };
    let told = tell_all(session, &mut notify).await?;
    if let Err(refused) = told {
        if let Refused::Store(error) = &refused {
            tracing::warn!(?error, "imap: notifications end");
        }
        // RFC 5465 §5.8: as after NOTIFY NONE.
        let status = Status::ok("No further notifications").with(Code::NotificationOverflow);
        session.wire.out.untagged_status(&status);
        notify.selected = None;
        notify.groups.clear();
        notify.watched.clear();
    }
    if let Some(user) = &mut session.user {
        user.notify = Some(notify);
    }
    Ok(())
}

async fn tell_all(session: &mut Session, notify: &mut Notify) -> Result<Result<(), Refused>, End> {
    let Some(account) = session.user.as_ref().map(|user| Arc::clone(&user.account)) else { return Ok(Ok(())) };
    let mut own = std::mem::take(&mut notify.own);
    let mut events = match notify.news.take() {
        Ok(events) => events,
        Err(Missed) => return Ok(Err(Refused::Overflow)),
    };
    if !events.is_empty() {
        if let Err(refused) = notify.watch(&account).await {
            return Ok(Err(refused));
        }
        events.retain(|event| match own.iter().position(|mine| mine == event) {
            Some(at) => {
                own.swap_remove(at);
                false
            }
            None => true,
        });
    }
    if !events.is_empty()
        && let Err(error) = tell_tree(session, notify, events).await
    {
        return Ok(Err(error.into()));
    }
    tell_messages(session, notify).await
}

/// What happened to names, subscriptions and annotations.
async fn tell_tree(session: &mut Session, notify: &Notify, events: Vec<AccountEvent>) -> Result<(), StoreError> {
    let spelling = session.spelling();
    let known = list::all(session).await?;
    let out = &mut session.wire.out;
    let wants = |name: &MailboxName, event: fn(&Events) -> bool| {
        notify.wants(name, known.get(name).is_some_and(|known| known.subscribed), event)
    };
    for event in events {
        match event {
            AccountEvent::Created(name) | AccountEvent::Deleted(name) => {
                // RFC 5465 §5.4: the mailbox and its direct parent.
                for affected in [Some(name.clone()), name.parent()].into_iter().flatten() {
                    if wants(&affected, |events| events.names) {
                        list::write_news(out, &known, &affected, None, spelling);
                    }
                }
            }
            AccountEvent::Renamed(from, to) => {
                if wants(&from, |events| events.names) || wants(&to, |events| events.names) {
                    list::write_news(out, &known, &to, Some(&from), spelling);
                }
            }
            AccountEvent::Subscribed(name) => {
                if wants(&name, |events| events.subscriptions) {
                    list::write_news(out, &known, &name, None, spelling);
                }
            }
            AccountEvent::Annotated(Some(name), entries) => {
                if wants(&name, |events| events.metadata) {
                    metadata::write_names(out, Some(&name), spelling, &entries);
                }
            }
            AccountEvent::Annotated(None, entries) => {
                if notify.groups.iter().any(|group| group.events.server_metadata) {
                    metadata::write_names(out, None, spelling, &entries);
                }
            }
        }
    }
    Ok(())
}

/// What happened to messages of other mailboxes than the selected one.
async fn tell_messages(session: &mut Session, notify: &mut Notify) -> Result<Result<(), Refused>, End> {
    let (services, spelling) = (Arc::clone(&session.services), session.spelling());
    let condstore = session.enabled.condstore;
    for (name, watched) in &mut notify.watched {
        let snapshot = watched.mailbox.snapshot();
        // A change anywhere in the account comes here: what did not change is not counted.
        if snapshot.version == watched.told.version {
            continue;
        }
        let now = Told::of(&snapshot);
        let before = std::mem::replace(&mut watched.told, now);
        let Some(user) = &session.user else { return Ok(Ok(())) };
        let is_selected = user.selected.as_ref().is_some_and(|s| Arc::ptr_eq(&s.mailbox, &watched.mailbox));
        if is_selected {
            continue;
        }
        let mut items = Vec::new();
        if now.messages != before.messages || now.next != before.next {
            items.extend([StatusItem::UidNext, StatusItem::Messages]);
        }
        let modseq = condstore && now.modseq != before.modseq;
        if watched.flags && (now.validity != before.validity || modseq) {
            items.push(StatusItem::UidValidity);
        }
        if watched.flags && now.unseen != before.unseen {
            items.push(StatusItem::Unseen);
        }
        if items.is_empty() {
            continue;
        }
        if modseq {
            items.push(StatusItem::HighestModSeq);
        }
        match status::write(&mut session.wire.out, user, &watched.mailbox, name, &items, &services, spelling).await {
            // It was deleted meanwhile, which is told next.
            Ok(()) | Err(StoreError::NoSuchMailbox) => {}
            Err(error) => return Ok(Err(error.into())),
        }
        session.wire.flush_if_full().await?;
    }
    Ok(Ok(()))
}
