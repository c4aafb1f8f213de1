//! ENABLE (RFC 5161). What is unknown is passed over (§3.1).

use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::server::imap::session::Session;

pub(super) fn run(session: &mut Session, names: &[String]) -> Status {
    let knew = session.enabled.condstore;
    let disabled = session.user.as_ref().map_or(&[][..], |user| &user.disabled);
    let new = session.enabled.enable(names, disabled);
    let told: String = new.iter().map(|name| format!(" {name}")).collect();
    session.wire.out.untagged(&format!("ENABLED{told}"));
    if session.enabled.rev2
        && let Some(selected) = session.user.as_mut().and_then(|user| user.selected.as_mut())
    {
        // RFC 9051 knows no \Recent.
        selected.forget_recent();
    }
    let selected = session.user.as_ref().and_then(|user| user.selected.as_ref());
    if let Some(selected) = selected.filter(|_| !knew && session.enabled.condstore) {
        // RFC 7162 §3.1.2.1: as with any other command that enables CONDSTORE.
        let highest = Code::HighestModSeq(selected.snapshot.highest_modseq);
        session.wire.out.untagged_status(&Status::ok("Mod-sequences are told").with(highest));
    }
    Status::ok("Done")
}
