//! Room for one message in the inboxes of its recipients: asked for at RCPT, used or given back at the message's end.
//!
//! Who may relay may also hold room by a declared size, so that an upload is not in vain. A stranger is only told
//! whether there is room: what a word of his could hold, he could keep from everybody else without sending an octet.
//! His message gets its room when it is there, in all inboxes before the first is written to.

use std::sync::Arc;

use crate::directory::Destination;
use crate::intake::permit::Admitted;
use crate::intake::permit::RelayPermit;
use crate::protocol::smtp::reply::Reply;
use crate::store::Delivery;
use crate::store::Reservation;
use crate::store::Store;
use crate::store::StoreError;

/// What one transaction has taken. Dropped with all its copies, it gives back what was not used. That of a stranger
/// unless made otherwise.
#[derive(Debug, Clone, Default)]
pub struct Room {
    taken: Vec<Arc<Reservation>>,
    standing: Standing,
}

/// Whom the room is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    /// Holds nothing before the message is there, and is told nothing later: he may not be who he says.
    #[default]
    Stranger,
    Permitted,
    /// A notice of our own.
    PastQuota,
}

impl Room {
    /// For whoever has this permit to relay, and for a stranger without one.
    #[must_use]
    pub fn of(permit: Option<&RelayPermit>) -> Self {
        let standing = if permit.is_some() { Standing::Permitted } else { Standing::Stranger };
        Self { taken: Vec::new(), standing }
    }

    /// For a notice of our own. It is small, there is one for a message that its owner sent, and without it he would
    /// not learn that his mail was lost; and the queue would keep it, and try, for as long as his mailbox is full.
    #[must_use]
    pub(super) fn past_quota() -> Self {
        Self { taken: Vec::new(), standing: Standing::PastQuota }
    }

    /// Whether the sender may be somebody else than he says: nobody may be told of what happens later.
    pub(super) fn is_of_stranger(&self) -> bool {
        self.standing == Standing::Stranger
    }

    /// Takes room for one more recipient, for a stranger only looks for it; `octets` is the declared size, 0 for none.
    /// An address that leads to several places is taken where one of them has room: the others get the message from
    /// the queue, when they have.
    ///
    /// # Errors
    /// The reply that says why not.
    pub async fn take(&mut self, store: &Store, recipient: &Admitted, octets: u64) -> Result<(), Reply> {
        let holds = !self.is_of_stranger();
        self.find(store, recipient, octets, holds).await.map_err(|error| match error {
            StoreError::LargerThanQuota => Reply::larger_than_mailbox(),
            StoreError::OverQuota => Reply::mailbox_full(),
            error => {
                tracing::error!(to = %recipient.address(), %error, "no room could be taken");
                Reply::local_trouble()
            }
        })
    }

    /// Takes room of the real size for all recipients of a stranger's message, before anybody has it. For others there
    /// is nothing to do: who is refused now gets it from the queue, and if he never does the sender is told.
    ///
    /// # Errors
    /// A recipient has none: [`StoreError::LargerThanQuota`] where nobody could ever have it, so that sending it again
    /// is in vain, and else [`StoreError::OverQuota`].
    pub(super) async fn settle(
        &mut self,
        store: &Store,
        recipients: &[Admitted],
        octets: u64,
    ) -> Result<(), StoreError> {
        if !self.is_of_stranger() {
            return Ok(());
        }
        let (mut refused, mut never) = (0, 0);
        for recipient in recipients {
            match self.find(store, recipient, octets, true).await {
                Ok(()) => {}
                Err(error) => {
                    refused += 1;
                    never += usize::from(matches!(error, StoreError::LargerThanQuota));
                }
            }
        }
        match refused {
            0 => Ok(()),
            _ if never == recipients.len() => Err(StoreError::LargerThanQuota),
            _ => Err(StoreError::OverQuota),
        }
    }

    /// Looks for room in the places that an address leads to, and takes it where it `holds`.
    async fn find(&mut self, store: &Store, to: &Admitted, octets: u64, holds: bool) -> Result<(), StoreError> {
        let mut refused = None;
        let mut fits = false;
        for destination in to.destinations() {
            let Destination::Account(account) = destination else {
                fits = true;
                continue;
            };
            if self.taken.iter().any(|room| room.is_in(account.maildir())) {
                fits = true;
                continue;
            }
            let found = if holds {
                store.reserve(account.maildir(), octets).await.map(|room| self.taken.push(Arc::new(room)))
            } else {
                store.check_room(account.maildir(), octets).await
            };
            match found {
                Ok(()) => fits = true,
                // Where one of them may pass, so may the answer for all.
                Err(StoreError::LargerThanQuota) if refused.is_some() => {}
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if !fits => Err(error),
            Some(_) | None => Ok(()),
        }
    }

    /// Delivers into it. One outcome per Maildir, in order.
    pub(super) async fn deliver(&self, store: &Arc<Store>, delivery: Delivery) -> Vec<Result<(), StoreError>> {
        if self.standing == Standing::PastQuota {
            store.deliver_exempt(delivery).await
        } else {
            store.deliver_reserved(delivery, self.taken.clone()).await
        }
    }
}
