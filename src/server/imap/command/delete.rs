//! DELETE (RFC 3501 §6.3.4).

use super::user;
use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Right;
use crate::protocol::imap::response::Status;
use crate::server::imap::access;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, name: &MailboxName) -> Result<Status, End> {
    let place = match access::place(session, name).await {
        Ok(place) => place,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let (account, inner) = match place.for_right(Right::DeleteMailbox) {
        Ok(there) => there,
        Err(refusal) => return Ok(refusal),
    };
    let user = user!(session);
    let selected = user.selected.as_ref();
    let is_selected = selected.is_some_and(|s| match &s.shared_as {
        Some(shown) => shown == name,
        None => place.is_own() && s.mailbox.name() == *inner,
    });
    let deleted = account.delete(inner).await;
    if deleted.is_ok() && is_selected {
        // Who deletes what he has selected goes on without a selected mailbox; others are told BYE.
        user.selected = None;
    }
    Ok(match deleted {
        Ok(()) => Status::ok("Deleted"),
        Err(error) => errors::of_store(&error),
    })
}
