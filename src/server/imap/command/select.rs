//! SELECT and EXAMINE (RFC 3501 §6.3.1, §6.3.2), and the ways out: CLOSE (§6.4.2) and UNSELECT (RFC 3691).

use super::expunge;
use super::list;
use super::selected;
use super::user;
use crate::mail::flags::SystemFlag;
use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Right;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::select::Known;
use crate::protocol::imap::syntax::select::SelectParameters;
use crate::protocol::imap::syntax::set::Ranges;
use crate::server::imap::access;
use crate::server::imap::enabled::Enabled;
use crate::server::imap::errors;
use crate::server::imap::selected::Selected;
use crate::server::imap::selected::push_flags;
use crate::server::imap::selected::push_modseq;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::server::imap::wire::Wire;

pub(super) async fn run(
    session: &mut Session,
    name: &MailboxName,
    read_only: bool,
    parameters: SelectParameters,
) -> Result<Status, End> {
    if parameters.qresync.is_some() && !session.enabled.qresync {
        // RFC 7162 §3.2.5.
        return Ok(Status::bad("QRESYNC is not enabled"));
    }
    let user = user!(session);
    // RFC 3501 §6.3.1: whatever comes of it, the mailbox before is no longer selected.
    if user.selected.take().is_some() {
        // RFC 7162 §3.2.11: whether or not the client enabled anything; RFC 9051 §6.3.2.
        session.wire.out.untagged_status(&Status::ok("The mailbox before is closed").with(Code::Closed));
    }
    session.enabled.condstore |= parameters.condstore;
    let place = match access::place(session, name).await {
        Ok(place) => place,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let mailbox = match place.mailbox(Right::Read).await {
        Ok(mailbox) => mailbox,
        Err(refusal) => return Ok(refusal.status()),
    };
    // RFC 4314 §5.2: who may change nothing has it read-only.
    let read_only = read_only || !place.rights().change_messages();
    let mut selected = match Selected::open(mailbox, read_only, place.rights(), session.enabled).await {
        Ok(selected) => selected,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    selected.shared_as = (!place.is_own()).then(|| name.clone());
    let id = match selected.mailbox.object_id().await {
        Ok(id) => id,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    describe(&mut session.wire.out, &selected, id, session.enabled);
    if session.enabled.rev2
        && let Err(error) = list::write_one(session, name).await
    {
        return Ok(errors::of_store(&error));
    }
    if let Some(known) = parameters.qresync.filter(|known| known.validity == selected.snapshot.validity) {
        resynchronise(&mut session.wire, &selected, &known).await?;
    }
    let user = user!(session);
    user.selected = Some(selected);
    Ok(if read_only {
        Status::ok("Examined").with(Code::ReadOnly)
    } else {
        Status::ok("Selected").with(Code::ReadWrite)
    })
}

/// Tells what went away and what changed while the client was not there (RFC 7162 §3.2.5.1).
async fn resynchronise(wire: &mut Wire, selected: &Selected, known: &Known) -> Result<(), End> {
    let all = Ranges::from_runs([(1, u32::MAX)]);
    let set = known.uids.as_ref().map_or(all, |uids| uids.resolve(Some(u32::MAX)));
    let gone = selected.vanished(known.modseq, &set);
    if !gone.is_empty() {
        wire.out.untagged(&format!("VANISHED (EARLIER) {}", gone.to_text()));
    }
    if selected.snapshot.highest_modseq <= known.modseq {
        return Ok(());
    }
    let mut messages = selected.snapshot.messages.lookup();
    for (number, entry) in (1_u32..).zip(selected.view.entries()) {
        let Some(message) = messages.find(entry.uid).filter(|m| m.modseq > known.modseq) else { continue };
        if !set.contains(entry.uid.get()) {
            continue;
        }
        wire.out.raw(&format!("* {number} FETCH (UID {} ", entry.uid));
        push_flags(&mut wire.out, &selected.snapshot, entry.flags, entry.recent);
        wire.out.raw(" ");
        push_modseq(&mut wire.out, message);
        wire.out.raw(")\r\n");
        wire.flush_if_full().await?;
    }
    Ok(())
}

fn describe(out: &mut Output, selected: &Selected, id: String, enabled: Enabled) {
    selected.write_flags(out);
    out.untagged(&format!("{} EXISTS", selected.view.exists()));
    // RFC 9051 appendix E, 11 and 12: IMAP4rev2 has neither.
    if !enabled.rev2 {
        out.untagged(&format!("{} RECENT", selected.view.recent()));
    }
    let mut entries = selected.view.entries().iter();
    let unseen = (!enabled.rev2).then(|| entries.position(|e| !e.flags.has(SystemFlag::Seen))).flatten();
    if let Some(number) = unseen.and_then(|at| u32::try_from(at + 1).ok()) {
        out.untagged_status(&Status::ok("First unseen").with(Code::Unseen(number)));
    }
    out.untagged_status(&Status::ok("UIDs are valid").with(Code::UidValidity(selected.snapshot.validity)));
    out.untagged_status(&Status::ok("Next UID").with(Code::UidNext(selected.snapshot.next)));
    // RFC 7162 §3.1.2.1: whether or not the client enabled CONDSTORE.
    let highest = Code::HighestModSeq(selected.snapshot.highest_modseq);
    out.untagged_status(&Status::ok("Highest mod-sequence").with(highest));
    // RFC 8474 §4.2.
    out.untagged_status(&Status::ok("Mailbox id").with(Code::MailboxId(id)));
}

pub(super) async fn close(session: &mut Session) -> Result<Status, End> {
    let selected = selected!(session);
    // RFC 3501 §6.4.2: expunges, and says nothing of it; nothing where the mailbox was examined.
    let mut failed = None;
    // RFC 4314 §4: nor where the user may not.
    if !selected.read_only && selected.rights.has(Right::Expunge) {
        let uids = expunge::deleted(selected, None);
        failed = selected.mailbox.expunge(selected.snapshot.validity, &uids).await.err();
    }
    // RFC 7162 §3.2.8: without HIGHESTMODSEQ, which RFC 5162 wanted here.
    let closed = Status { text: "Closed".to_owned(), ..unselect(session) };
    Ok(failed.map_or(closed, |error| errors::of_store(&error)))
}

pub(super) fn unselect(session: &mut Session) -> Status {
    if let Some(user) = &mut session.user {
        user.selected = None;
    }
    Status::ok("Unselected")
}
