//! From an accepted message to inboxes and queue: the one place where responsibility is taken.
//!
//! Inboxes first, in one write. What is for elsewhere, and what an inbox could not take for the moment, is queued.
//! Only then is the answer yes. A crash in between can leave a copy that the sender sends again, never a loss.

use std::collections::HashSet;
use std::sync::Arc;

use super::commit::Accepted;
use super::commit::Commit;
use super::commit::CommitError;
use super::commit::Pending;
use crate::directory::Account;
use crate::directory::Destination;
use crate::mail::address::Address;
use crate::queue::NewEntry;
use crate::queue::Queue;
use crate::queue::QueueError;
use crate::store::Delivery;
use crate::store::Store;
use crate::store::StoreError;

/// Makes messages durable in the store and the queue.
#[derive(Debug, Clone)]
pub struct Committer {
    store: Arc<Store>,
    queue: Queue,
}

impl Committer {
    /// With these.
    #[must_use]
    pub fn new(store: Arc<Store>, queue: Queue) -> Self {
        Self { store, queue }
    }

    async fn take(&self, message: Accepted) -> Result<(), CommitError> {
        let (accounts, mut onward) = sort(&message);
        let late = self.deliver(&message, &accounts).await?;
        onward.extend(late);
        if onward.is_empty() {
            return Ok(());
        }
        tracing::info!(id = %message.id, recipients = onward.len(), "queued");
        let entry = NewEntry {
            id: message.id,
            sender: message.sender,
            recipients: onward,
            body: message.body,
            prefix: message.trace,
            content: message.content,
            arrived: message.received,
        };
        self.queue.submit(entry).await.map_err(|error| match error {
            QueueError::TooMany => CommitError::Trouble(error.to_string()),
            QueueError::Io { source, .. } => CommitError::from_io(source),
        })
    }

    /// Delivers to the inboxes; those that could not take the message for the moment are returned, to be queued. A
    /// full disk is an error: the queue lies on a disk too.
    async fn deliver(&self, message: &Accepted, accounts: &[Arc<Account>]) -> Result<Vec<Address>, CommitError> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let delivery = Delivery {
            id: message.id.clone(),
            prefix: [message.return_path.as_slice(), message.trace.as_slice()].concat(),
            content: message.content.clone(),
            maildirs: accounts.iter().map(|a| a.maildir().to_owned()).collect(),
            received: message.received,
            again: false,
        };
        let mut late = Vec::new();
        for (account, done) in accounts.iter().zip(self.store.deliver(delivery).await) {
            let (id, to) = (&message.id, account.address());
            match done {
                Ok(()) => {
                    tracing::info!(%id, from = %message.sender, %to, size = message.content.len(), status = "delivered", "delivery")
                }
                Err(error) => {
                    tracing::error!(%id, %to, %error, "the inbox cannot take the message now");
                    if error.is_full() {
                        return Err(full(error));
                    }
                    late.push(to.clone());
                }
            }
        }
        Ok(late)
    }
}

fn full(error: StoreError) -> CommitError {
    CommitError::Full(std::io::Error::other(error.to_string()))
}

/// The inboxes and the addresses elsewhere, each once.
fn sort(message: &Accepted) -> (Vec<Arc<Account>>, Vec<Address>) {
    let mut accounts: Vec<Arc<Account>> = Vec::new();
    let mut elsewhere = Vec::new();
    let mut seen = HashSet::new();
    for destination in message.recipients.iter().flat_map(|r| r.destinations()) {
        match destination {
            Destination::Account(account) if seen.insert(account.address().key()) => accounts.push(Arc::clone(account)),
            // The local part of a foreign address may mean something by its case (RFC 5321 §2.4).
            Destination::Remote(address) if seen.insert(address.to_string()) => elsewhere.push(address.clone()),
            Destination::Account(_) | Destination::Remote(_) => {}
        }
    }
    (accounts, elsewhere)
}

impl Commit for Committer {
    fn commit(&self, message: Accepted) -> Pending<'_, Result<(), CommitError>> {
        Box::pin(self.take(message))
    }
}
