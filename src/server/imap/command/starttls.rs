//! STARTTLS (RFC 3501 §6.2.1).

use crate::protocol::imap::fragment::Fragments;
use crate::protocol::imap::fragment::Limits;
use crate::protocol::imap::response::Status;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(in crate::server::imap) async fn run(session: &mut Session, tag: &str) -> Result<(), End> {
    if !session.wire.connection.can_start_tls() {
        session.wire.out.tagged(tag, &Status::bad("TLS is not offered"));
        return Ok(());
    }
    if session.wire.fragments.has_input() {
        // CVE-2011-0411 and its kin: what came in clear must never be taken for something said under TLS.
        return Err(End::Bye("Nothing may follow STARTTLS"));
    }
    session.wire.out.tagged(tag, &Status::ok("Begin TLS now"));
    session.wire.flush().await?;
    session.wire.connection.start_tls().await?;
    // All knowledge of the client from before is discarded.
    session.wire.fragments = Fragments::new(Limits::BEFORE_LOGIN);
    Ok(())
}
