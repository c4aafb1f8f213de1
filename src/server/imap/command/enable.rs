//! ENABLE (RFC 5161). Nothing can be enabled yet; what is unknown is passed over (§3.1).

use crate::protocol::imap::response::Status;
use crate::server::imap::session::Session;

pub(super) fn run(session: &mut Session, _names: &[String]) -> Status {
    session.wire.out.untagged("ENABLED");
    Status::ok("Done")
}
