//! EXPUNGE (RFC 3501 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1).

use super::selected;
use crate::mail::flags::SystemFlag;
use crate::mail::ids::Uid;
use crate::mail::rights::Right;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::set::SequenceSet;
use crate::server::imap::errors;
use crate::server::imap::selected::Selected;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, set: Option<&SequenceSet>) -> Result<Status, End> {
    let selected = selected!(session);
    if selected.read_only {
        return Ok(Status::no(Code::ReadOnly, "The mailbox was examined"));
    }
    if !selected.rights.has(Right::Expunge) {
        return Ok(Status::no(Code::NoPerm, "You have no right to expunge"));
    }
    let uids = deleted(selected, set);
    // The session tells which are gone, as it tells of all that is.
    let mailbox = std::sync::Arc::clone(&selected.mailbox);
    Ok(match mailbox.expunge(selected.snapshot.validity, &uids).await {
        // RFC 7162 §3.2.7.
        Ok(gone) if session.enabled.condstore && !gone.is_empty() => {
            Status::ok("Expunged").with(Code::HighestModSeq(mailbox.snapshot().highest_modseq))
        }
        Ok(_) => Status::ok("Expunged"),
        Err(error) => errors::of_store(&error),
    })
}

/// The messages that this client can see and that are `\Deleted` now, of the set if there is one.
pub(super) fn deleted(selected: &Selected, set: Option<&SequenceSet>) -> Vec<Uid> {
    let now = selected.mailbox.snapshot();
    let seen = match set {
        Some(set) => selected.uids(Numbers::Uid, set),
        None => selected.view.entries().iter().map(|e| e.uid).collect(),
    };
    let is_deleted = |uid: &Uid| now.find(*uid).is_some_and(|m| m.flags.has(SystemFlag::Deleted));
    seen.into_iter().filter(is_deleted).collect()
}
