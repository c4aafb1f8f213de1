//! COPY (RFC 3501 §6.4.7) and MOVE (RFC 6851), with the codes of UIDPLUS (RFC 4315).

use super::selected;
use crate::mail::ids::Uid;
use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Right;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::set::SequenceSet;
use crate::server::imap::access;
use crate::server::imap::errors;
use crate::server::imap::selected::changeable;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::KeptFlags;

/// What stays in the selected mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// COPY.
    Original,
    /// MOVE.
    Nothing,
}

pub(super) async fn run(
    session: &mut Session,
    numbers: Numbers,
    set: &SequenceSet,
    to: &MailboxName,
    keep: Keep,
) -> Result<Status, End> {
    if selected!(session).exceeds(numbers, set) {
        return Ok(errors::no_such_number());
    }
    let (target, rights) = match access::open(session, to, Right::Insert).await {
        Ok(opened) => opened,
        Err(refusal) => return Ok(refusal.of_destination()),
    };
    let selected = selected!(session);
    if keep == Keep::Nothing && selected.read_only {
        return Ok(Status::no(Code::ReadOnly, "The mailbox was examined"));
    }
    if keep == Keep::Nothing && !(selected.rights.has(Right::DeleteMessages) && selected.rights.has(Right::Expunge)) {
        return Ok(Status::no(Code::NoPerm, "You have no right to take messages away"));
    }
    let uids = selected.uids(numbers, set);
    // RFC 4314 §4: flags that the user may not set there are not set.
    let all = KeptFlags::all();
    let kept = KeptFlags { system: changeable(rights, all.system, &[]).0, keywords: rights.has(Right::Write) };
    let done = match keep {
        Keep::Original => selected.mailbox.copy(selected.snapshot.validity, &uids, &target, kept).await,
        Keep::Nothing => selected.mailbox.move_to(selected.snapshot.validity, &uids, &target, kept).await,
    };
    let copied = match done {
        Ok(copied) => copied,
        Err(error) => return Ok(errors::of_destination(&error)),
    };
    let words = if keep == Keep::Original { "Copied" } else { "Moved" };
    if copied.pairs.is_empty() {
        // iOS Mail names messages that are gone, and gives up on anything but OK.
        return Ok(Status::ok(words));
    }
    let new: Vec<Uid> = copied.pairs.iter().map(|(_, new)| *new).collect();
    selected.added(&target, &new);
    let code = Code::CopyUid(copied.validity, copied.pairs);
    if keep == Keep::Original {
        return Ok(Status::ok(words).with(code));
    }
    // RFC 6851 §4.3: the code comes before the EXPUNGEs.
    let highest = selected.mailbox.snapshot().highest_modseq;
    session.wire.out.untagged_status(&Status::ok(words).with(code));
    // RFC 6851 §4.4.
    let moved = Status::ok(words);
    Ok(if session.enabled.qresync { moved.with(Code::HighestModSeq(highest)) } else { moved })
}
