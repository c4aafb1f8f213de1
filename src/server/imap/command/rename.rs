//! RENAME (RFC 3501 §6.3.5).

use std::sync::Arc;

use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Right;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::server::imap::access;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, from: &MailboxName, to: &MailboxName) -> Result<Status, End> {
    let (from, to) = match (access::place(session, from).await, access::place_to_be(session, to).await) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(error), _) | (_, Err(error)) => return Ok(errors::of_store(&error)),
    };
    // RFC 4314 §4.
    let ((account, from), (other, to)) = match (from.for_right(Right::DeleteMailbox), to.for_right(Right::Create)) {
        (Ok(from), Ok(to)) => (from, to),
        (Err(refusal), _) | (_, Err(refusal)) => return Ok(refusal),
    };
    if !Arc::ptr_eq(account, other) {
        return Ok(Status::no(Code::Cannot, "A mailbox stays in its account"));
    }
    Ok(match account.rename(from, to).await {
        Ok(()) => Status::ok("Renamed"),
        Err(error) => errors::of_store(&error),
    })
}
