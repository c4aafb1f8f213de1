//! CREATE (RFC 3501 §6.3.3), for a use (RFC 6154 §3), answered with the id of what was made (RFC 8474 §4.1).

use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;
use crate::mail::rights::Right;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::server::imap::access;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, name: &MailboxName, uses: &[String]) -> Result<Status, End> {
    let special_use = match uses {
        [] => None,
        [one] => match SpecialUse::ALL.into_iter().find(|role| role.attribute().eq_ignore_ascii_case(one)) {
            Some(role) => Some(role),
            None => return Ok(Status::no(Code::UseAttr, "Mailboxes are made for no such use")),
        },
        _ => return Ok(Status::no(Code::UseAttr, "A mailbox has one use")),
    };
    // RFC 4314 §4: who may make mailboxes below one of somebody else.
    let place = match access::place_to_be(session, name).await {
        Ok(place) => place,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let (account, name) = match place.for_right(Right::Create) {
        Ok(there) => there,
        Err(refusal) => return Ok(refusal),
    };
    if special_use.is_some() && !place.is_own() {
        // What an owner's mail programs keep where is for him to say.
        return Ok(Status::no(Code::UseAttr, "The owner says what his mailboxes are for"));
    }
    if let Err(error) = account.create_for(name, special_use).await {
        return Ok(errors::of_store(&error));
    }
    let made = Status::ok("Created");
    let id = match account.mailbox(name).await {
        Ok(mailbox) => mailbox.object_id().await,
        Err(error) => Err(error),
    };
    Ok(match id {
        Ok(id) => made.with(Code::MailboxId(id)),
        // It is made all the same.
        Err(error) => {
            tracing::warn!(mailbox = %name, %error, "a new mailbox has no id yet");
            made
        }
    })
}
