//! SUBSCRIBE and UNSUBSCRIBE (RFC 3501 §6.3.6, §6.3.7).

use super::user;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::response::Status;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, name: &MailboxName, subscribe: bool) -> Result<Status, End> {
    let user = user!(session);
    let done = if subscribe { user.account.subscribe(name).await } else { user.account.unsubscribe(name).await };
    Ok(match done {
        Ok(()) => Status::ok(if subscribe { "Subscribed" } else { "Unsubscribed" }),
        Err(error) => errors::of_store(&error),
    })
}
