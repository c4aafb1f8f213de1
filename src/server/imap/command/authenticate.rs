//! AUTHENTICATE (RFC 3501 §6.2.2), with the initial response of RFC 4959.

use super::login;
use crate::mail::limits::SMTP_AUTH_OCTETS;
use crate::mail::secret::Secret;
use crate::protocol::imap::fragment::Line;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::sasl::Exchange;
use crate::protocol::sasl::Mechanism;
use crate::protocol::sasl::Progress;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(
    session: &mut Session,
    mechanism: &str,
    initial: Option<&Secret<String>>,
) -> Result<Status, End> {
    let Some(mechanism) = Mechanism::parse(mechanism) else {
        return Ok(Status::no(Code::Cannot, "Unknown mechanism"));
    };
    if !session.may_log_in() {
        return Ok(login::privacy_required());
    }
    let (mut exchange, mut progress) = Exchange::start(mechanism, initial.map(|i| i.reveal().as_str()));
    loop {
        match progress {
            Progress::Credentials(credentials) => return login::check(session, &credentials).await,
            Progress::Failed(failure) if failure.is_syntax() => return Ok(Status::bad(failure.to_string())),
            Progress::Failed(_) => return Ok(login::refused()),
            Progress::Challenge(challenge) => {
                session.wire.out.go_ahead(challenge);
                let line = line(session).await?;
                progress = exchange.receive(&line);
            }
        }
    }
}

async fn line(session: &mut Session) -> Result<Vec<u8>, End> {
    loop {
        match session.wire.fragments.line(SMTP_AUTH_OCTETS) {
            Line::Line(line) => return Ok(line),
            Line::TooLong => return Err(End::Bye("Line too long")),
            Line::More => session.read_more().await?,
        }
    }
}
