//! Room for one message in the inboxes of its recipients, taken at RCPT and used or given back at its end.

use std::sync::Arc;

use crate::directory::Destination;
use crate::intake::permit::Admitted;
use crate::protocol::smtp::reply::Reply;
use crate::store::Delivery;
use crate::store::Reservation;
use crate::store::Store;
use crate::store::StoreError;

/// What one transaction has taken. Dropped with all its copies, it gives back what was not used.
#[derive(Debug, Clone, Default)]
pub struct Room {
    taken: Vec<Arc<Reservation>>,
    past_quota: bool,
}

impl Room {
    /// For a notice of our own. It is small, there is one for a message that its owner sent, and without it he would
    /// not learn that his mail was lost; and the queue would keep it, and try, for as long as his mailbox is full.
    #[must_use]
    pub(super) fn past_quota() -> Self {
        Self { taken: Vec::new(), past_quota: true }
    }

    /// Takes room for one more recipient; `octets` is the declared size, 0 for none. An address that leads to several
    /// places is taken where one of them has room: the others get the message from the queue, when they have.
    ///
    /// # Errors
    /// The reply that says why not.
    pub async fn take(&mut self, store: &Store, recipient: &Admitted, octets: u64) -> Result<(), Reply> {
        let mut refused = None;
        let mut fits = false;
        for destination in recipient.destinations() {
            let Destination::Account(account) = destination else {
                fits = true;
                continue;
            };
            if self.taken.iter().any(|room| room.is_in(account.maildir())) {
                fits = true;
                continue;
            }
            match store.reserve(account.maildir(), octets).await {
                Ok(room) => {
                    self.taken.push(Arc::new(room));
                    fits = true;
                }
                Err(StoreError::LargerThanQuota) => {
                    refused.get_or_insert_with(Reply::larger_than_mailbox);
                }
                Err(StoreError::OverQuota) => refused = Some(Reply::mailbox_full()),
                Err(error) => {
                    tracing::error!(to = %account.address(), %error, "no room could be taken");
                    refused = Some(Reply::local_trouble());
                }
            }
        }
        match refused {
            Some(reply) if !fits => Err(reply),
            Some(_) | None => Ok(()),
        }
    }

    /// Delivers into it. One outcome per Maildir, in order.
    pub(super) async fn deliver(&self, store: &Arc<Store>, delivery: Delivery) -> Vec<Result<(), StoreError>> {
        if self.past_quota {
            store.deliver_exempt(delivery).await
        } else {
            store.deliver_reserved(delivery, self.taken.clone()).await
        }
    }
}
