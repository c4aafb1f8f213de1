//! IDLE (RFC 2177).

use tokio::sync::watch;

use super::user;
use crate::mail::limits::IMAP_IDLE;
use crate::protocol::imap::fragment::Line;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::view::Expunges;
use crate::server::imap::notify::Notify;
use crate::server::imap::selected::Look;
use crate::server::imap::selected::Selected;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

/// Longest line in place of `DONE` that is read.
const LINE_OCTETS: usize = 1000;

pub(super) async fn run(session: &mut Session) -> Result<Status, End> {
    let user = user!(session);
    let mut changes = user.selected.as_ref().map(|selected| selected.changes.clone());
    // RFC 5465 §4: who said NOTIFY hears the same here as elsewhere.
    let mut notified = user.notify.as_ref().map(Notify::changes);
    session.wire.out.go_ahead("idling");
    session.announce(Expunges::Told, Look::OnDisk).await?;
    let started = session.services.clock.instant();
    loop {
        // iOS and macOS send DONE and the next commands in one go.
        match session.wire.fragments.line(LINE_OCTETS) {
            Line::Line(line) if line.eq_ignore_ascii_case(b"DONE") => return Ok(Status::ok("Idle ended")),
            Line::Line(_) => return Ok(Status::bad("DONE expected")),
            Line::TooLong => return Err(End::Bye("DONE expected")),
            Line::More => {}
        }
        let left = IMAP_IDLE.saturating_sub(session.services.clock.instant().saturating_duration_since(started));
        session.wire.flush().await?;
        let selected = session.user.as_ref().and_then(|user| user.selected.as_ref());
        let refresh = selected.map_or(IMAP_IDLE, Selected::refresh);
        let look = tokio::select! {
            filled = session.wire.fill(left, "Idle for too long") => {
                filled?;
                continue;
            }
            () = changed(changes.as_mut()) => Look::InMemory,
            () = changed(notified.as_mut()) => Look::InMemory,
            // Where the kernel does not tell what other programs do to the Maildir, nobody is woken.
            () = tokio::time::sleep(refresh) => Look::OnDisk,
        };
        session.announce(Expunges::Told, look).await?;
    }
}

/// Waits for the next change; for ever where there is nothing to change.
pub(in crate::server::imap) async fn changed(changes: Option<&mut watch::Receiver<u64>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
