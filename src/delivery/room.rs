//! Room for one message in the inboxes of its recipients, taken at RCPT and used or given back at its end.

use std::sync::Arc;

use crate::directory::Destination;
use crate::intake::permit::Admitted;
use crate::protocol::smtp::reply::Reply;
use crate::store::Reservation;
use crate::store::Store;
use crate::store::StoreError;

/// What one transaction has taken. Dropped with all its copies, it gives back what was not used.
#[derive(Debug, Clone, Default)]
pub struct Room(Vec<Arc<Reservation>>);

impl Room {
    /// Takes room for one more recipient; `octets` is the declared size, 0 for none. An address that leads to several
    /// places is taken where one of them has room: the others get the message from the queue, when they have.
    ///
    /// # Errors
    /// The reply that says why not.
    pub async fn take(&mut self, store: &Store, recipient: &Admitted, octets: u64) -> Result<(), Reply> {
        let mut refused = None;
        let mut taken = false;
        for destination in recipient.destinations() {
            let Destination::Account(account) = destination else {
                taken = true;
                continue;
            };
            if self.0.iter().any(|room| room.is_in(account.maildir())) {
                taken = true;
                continue;
            }
            match store.reserve(account.maildir(), octets).await {
                Ok(room) => {
                    self.0.push(Arc::new(room));
                    taken = true;
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
            Some(reply) if !taken => Err(reply),
            Some(_) | None => Ok(()),
        }
    }

    /// For the store.
    pub(super) fn reservations(&self) -> Vec<Arc<Reservation>> {
        self.0.clone()
    }
}
