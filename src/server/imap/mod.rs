//! IMAP sessions: commands over the services. The pure part of the protocol is [`crate::protocol::imap`].
//!
//! [`serve`] drives one connection; `session` holds its state and says what is legal when; `command` has one file per
//! command; `wire` reads and writes; `selected` keeps what the client sees in step with the store.

mod access;
mod capability;
mod command;
mod enabled;
mod errors;
mod live;
mod notify;
mod selected;
mod session;
#[cfg(test)]
mod tests;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::directory::Authenticator;
use crate::mail::capability::ImapCapability;
use crate::mail::ids::SessionId;
use crate::mail::mailbox::Separator;
use crate::net::Connection;
use crate::store::Store;

/// What sessions need.
#[derive(Debug, Clone)]
pub struct Services {
    /// Checks passwords.
    pub authenticator: Arc<Authenticator>,
    /// The mailboxes.
    pub store: Arc<Store>,
    /// The time.
    pub clock: Clock,
    /// Whether peers on this machine may log in without TLS.
    pub plaintext_login: bool,
    /// What clients see between the parts of a mailbox name.
    pub separator: Separator,
    /// Largest message that APPEND takes, in octets.
    pub max_message_size: u64,
    /// Capabilities that are not announced.
    pub disabled: Vec<ImapCapability>,
    /// Where large messages wait, unnamed, while they come in.
    pub spill_folder: PathBuf,
}

/// Serves one connection until it ends. TLS on connect is done already.
pub async fn serve(connection: Connection, services: Arc<Services>, id: SessionId, shutdown: watch::Receiver<bool>) {
    let peer = connection.peer();
    tracing::debug!(session = %id, rip = %peer.ip(), tls = connection.tls().is_some(), "imap connected");
    let end = Box::pin(session::Session::new(connection, services, id, shutdown).run()).await;
    tracing::debug!(session = %id, rip = %peer.ip(), %end, "imap disconnected");
}
