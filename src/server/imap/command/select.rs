//! SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2), and the ways out: CLOSE (§6.4.2) and UNSELECT (RFC 3691).

use super::expunge;
use super::selected;
use super::user;
use crate::mail::flags::SystemFlag;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::server::imap::errors;
use crate::server::imap::selected::Selected;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, name: &MailboxName, read_only: bool) -> Result<Status, End> {
    let user = user!(session);
    // RFC 3501 §6.3.1: whatever comes of it, the mailbox before is no longer selected.
    user.selected = None;
    let opened = match user.account.mailbox(name).await {
        Ok(mailbox) => Selected::open(mailbox, read_only).await,
        Err(error) => Err(error),
    };
    let selected = match opened {
        Ok(selected) => selected,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let id = match selected.mailbox.object_id().await {
        Ok(id) => id,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    describe(&mut session.wire.out, &selected, id);
    user.selected = Some(selected);
    Ok(if read_only {
        Status::ok("Examined").with(Code::ReadOnly)
    } else {
        Status::ok("Selected").with(Code::ReadWrite)
    })
}

fn describe(out: &mut Output, selected: &Selected, id: String) {
    selected.write_flags(out);
    out.untagged(&format!("{} EXISTS", selected.view.exists()));
    out.untagged(&format!("{} RECENT", selected.view.recent()));
    let unseen = selected.view.entries().iter().position(|e| !e.flags.has(SystemFlag::Seen));
    if let Some(number) = unseen.and_then(|at| u32::try_from(at + 1).ok()) {
        out.untagged_status(&Status::ok("First unseen").with(Code::Unseen(number)));
    }
    out.untagged_status(&Status::ok("UIDs are valid").with(Code::UidValidity(selected.snapshot.validity)));
    out.untagged_status(&Status::ok("Next UID").with(Code::UidNext(selected.snapshot.next)));
    // RFC 8474 §4.2.
    out.untagged_status(&Status::ok("Mailbox id").with(Code::MailboxId(id)));
}

pub(super) async fn close(session: &mut Session) -> Result<Status, End> {
    let selected = selected!(session);
    // RFC 3501 §6.4.2: expunges, and says nothing of it; nothing where the mailbox was examined.
    let mut failed = None;
    if !selected.read_only {
        let uids = expunge::deleted(selected, None);
        failed = selected.mailbox.expunge(selected.snapshot.validity, &uids).await.err();
    }
    let closed = Status { text: "Closed".to_owned(), ..unselect(session) };
    Ok(failed.map_or(closed, |error| errors::of_store(&error)))
}

pub(super) fn unselect(session: &mut Session) -> Status {
    if let Some(user) = &mut session.user {
        user.selected = None;
    }
    Status::ok("Unselected")
}
