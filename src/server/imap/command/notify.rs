//! NOTIFY (RFC 5465).

use std::sync::Arc;

use super::status;
use super::user;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::notify::NotifyArguments;
use crate::protocol::imap::view::Expunges;
use crate::server::imap::errors;
use crate::server::imap::notify::Notify;
use crate::server::imap::selected::Look;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, arguments: NotifyArguments) -> Result<Status, End> {
    let account = Arc::clone(&user!(session).account);
    let (is_set, with_status, groups) = match arguments {
        NotifyArguments::Nothing => (false, false, Vec::new()),
        NotifyArguments::Set { status, groups } => (true, status, groups),
    };
    let notify = match Notify::begin(&account, groups).await {
        Ok(notify) => notify,
        Err(refused) => return Ok(refused.status()),
    };
    if is_set {
        // RFC 5465 §3.1: what has gathered is told first, as by NOOP, whatever was asked for before.
        user!(session).notify = None;
        session.announce(Expunges::Told, Look::OnDisk).await?;
    }
    if with_status {
        let (services, spelling) = (Arc::clone(&session.services), session.spelling());
        for (name, mailbox, items) in notify.watched() {
            let user = user!(session);
            if user.selected.as_ref().is_some_and(|selected| Arc::ptr_eq(&selected.mailbox, &mailbox)) {
                continue;
            }
            let written =
                status::write(&mut session.wire.out, user, &mailbox, &name, &items, &services, spelling).await;
            if let Err(error) = written {
                return Ok(errors::of_store(&error));
            }
            session.wire.flush_if_full().await?;
        }
    }
    user!(session).notify = Some(notify);
    Ok(Status::ok("Notifications are set"))
}
