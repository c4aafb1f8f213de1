//! CREATE (RFC 3501 §6.3.3).

use super::user;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::response::Status;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, name: &MailboxName) -> Result<Status, End> {
    let user = user!(session);
    Ok(match user.account.create(name).await {
        Ok(()) => Status::ok("Created"),
        Err(error) => errors::of_store(&error),
    })
}
