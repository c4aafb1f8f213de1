//! DELETE (RFC 3501 §6.3.4).

use super::user;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::response::Status;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, name: &MailboxName) -> Result<Status, End> {
    let user = user!(session);
    let deleted = user.account.delete(name).await;
    if deleted.is_ok() && user.selected.as_ref().is_some_and(|s| s.mailbox.name() == *name) {
        // Who deletes what he has selected goes on without a selected mailbox; others are told BYE.
        user.selected = None;
    }
    Ok(match deleted {
        Ok(()) => Status::ok("Deleted"),
        Err(error) => errors::of_store(&error),
    })
}
