//! Whose mailbox a name means, and what the session's user may do with it.
//!
//! Names are of the user's own mailboxes; below `Shared/<account>/` are those of others which they share (RFC 4314). A
//! mailbox of his own of such a name comes first. What a user may not know of is not there: [`Place`] is made here
//! alone, after the rights were looked at, and gives out a mailbox only to who says what for.

use std::sync::Arc;

use super::errors;
use super::session::Session;
use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Right;
use crate::mail::rights::Rights;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::store::AccountStore;
use crate::store::Mailbox;
use crate::store::StoreError;
use crate::store::shares;

/// What names of other people's mailboxes begin with.
pub(super) const SHARED: &str = "Shared";

/// A mailbox, or where one could be made, and what the user may do there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    account: Arc<AccountStore>,
    name: MailboxName,
    rights: Rights,
    is_own: bool,
}

impl Place {
    /// What the user may do here.
    pub(super) fn rights(&self) -> Rights {
        self.rights
    }

    /// Whether it is the user's own.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// The account whose mailbox it is, and its name there, for something that needs this right.
    pub(super) fn for_right(&self, right: Right) -> Result<(&Arc<AccountStore>, &MailboxName), Status> {
        if self.rights.has(right) {
            return Ok((&self.account, &self.name));
        }
        // RFC 4314 §6: who may not see it does not learn that it is there.
        Err(if self.rights.has(Right::Lookup) {
            Status::no(Code::NoPerm, "You have no right to do this")
        } else {
            errors::of_store(&StoreError::NoSuchMailbox)
        })
    }

    /// The mailbox, for something that needs this right.
    pub(super) async fn mailbox(&self, right: Right) -> Result<Arc<Mailbox>, Refusal> {
        let (account, name) = self.for_right(right).map_err(Refusal::Status)?;
        account.mailbox(name).await.map_err(Refusal::Store)
    }
}

/// Why a mailbox is not given out.
#[derive(Debug)]
pub(super) enum Refusal {
    Status(Status),
    Store(StoreError),
}

impl Refusal {
    /// The answer, where the mailbox is what the command is about.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Status(status) => status,
            Self::Store(error) => errors::of_store(&error),
        }
    }

    /// The answer, where messages were to go there.
    pub(super) fn of_destination(self) -> Status {
        match self {
            Self::Status(status) => status,
            Self::Store(error) => errors::of_destination(&error),
        }
    }
}

/// What a name means. A mailbox of somebody else that the user may not know of is [`StoreError::NoSuchMailbox`].
pub(super) async fn place(session: &Session, name: &MailboxName) -> Result<Place, StoreError> {
    let Some(user) = &session.user else { return Err(StoreError::NoSuchMailbox) };
    let own = || Place { account: Arc::clone(&user.account), name: name.clone(), rights: Rights::OWNER, is_own: true };
    let Some((account, inner)) = of_another(session, name).await? else { return Ok(own()) };
    let rights = account.acl(&inner).await?.rights_of(&user.name);
    if !rights.show_mailbox() {
        return Err(StoreError::NoSuchMailbox);
    }
    Ok(Place { account, name: inner, rights, is_own: false })
}

/// As [`place`], for a mailbox that is not there yet: what the user may do with the nearest one above it.
pub(super) async fn place_to_be(session: &Session, name: &MailboxName) -> Result<Place, StoreError> {
    let Some((account, inner)) = of_another(session, name).await? else { return place(session, name).await };
    let Some(user) = &session.user else { return Err(StoreError::NoSuchMailbox) };
    let mut above = inner.parent();
    while let Some(parent) = above {
        match account.acl(&parent).await {
            Ok(acl) => {
                let rights = acl.rights_of(&user.name);
                return Ok(Place { account, name: inner, rights, is_own: false });
            }
            Err(StoreError::NoSuchMailbox) => above = parent.parent(),
            Err(error) => return Err(error),
        }
    }
    Ok(Place { account, name: inner, rights: Rights::NONE, is_own: false })
}

/// A mailbox, for something that needs this right.
pub(super) async fn open(
    session: &Session,
    name: &MailboxName,
    right: Right,
) -> Result<(Arc<Mailbox>, Rights), Refusal> {
    let place = place(session, name).await.map_err(Refusal::Store)?;
    Ok((place.mailbox(right).await?, place.rights()))
}

/// The account of another that a name means, and the name there.
async fn of_another(
    session: &Session,
    name: &MailboxName,
) -> Result<Option<(Arc<AccountStore>, MailboxName)>, StoreError> {
    let Some(user) = &session.user else { return Ok(None) };
    let mut parts = name.as_str().splitn(3, '/');
    let (Some(SHARED), Some(owner), Some(inner)) = (parts.next(), parts.next(), parts.next()) else { return Ok(None) };
    let Some(account) = session.services.authenticator.account(owner) else { return Ok(None) };
    if account.address().key() != owner || owner == user.name || user.account.has(name).await? {
        return Ok(None);
    }
    // Nothing is made for an account that only was named.
    let Ok(inner) = MailboxName::parse(inner) else { return Ok(None) };
    if !shares(account.maildir()) {
        return Err(StoreError::NoSuchMailbox);
    }
    Ok(Some((session.services.store.account(account.maildir()).await?, inner)))
}

/// The mailboxes of others that the user may see, by the names that he sees, and what he may do with them.
pub(super) async fn shared_with(session: &Session) -> Result<Vec<(MailboxName, Rights)>, StoreError> {
    let Some(user) = &session.user else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    let directory = session.services.authenticator.directory();
    let sharers = session.services.store.sharers(directory.number(), || directory.maildirs());
    for maildir in sharers.iter() {
        let owner = directory.account_in(maildir).map(|account| account.address().key());
        let Some(owner) = owner.filter(|owner| *owner != user.name) else { continue };
        // RFC 4314 §4: what cannot be listed must not keep anybody from listing.
        let shared = match session.services.store.account(maildir).await {
            Ok(store) => store.shared().await,
            Err(error) => Err(error),
        };
        let shared = match shared {
            Ok(shared) => shared,
            Err(error) => {
                tracing::warn!(%owner, %error, "shared mailboxes cannot be listed");
                continue;
            }
        };
        for (name, acl) in shared.iter() {
            let rights = acl.rights_of(&user.name);
            if let (true, Ok(name)) =
                (rights.has(Right::Lookup), MailboxName::parse(&format!("{SHARED}/{owner}/{}", name.as_str())))
            {
                all.push((name, rights));
            }
        }
    }
    Ok(all)
}
