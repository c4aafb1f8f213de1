//! ID (RFC 2971). A stranger is told nothing.

use crate::protocol::imap::response::Status;
use crate::server::imap::session::Session;

pub(super) fn run(session: &mut Session) -> Status {
    let answer = if session.user.is_some() { "ID (\"name\" \"Facteur\")" } else { "ID NIL" };
    session.wire.out.untagged(answer);
    Status::ok("Done")
}
