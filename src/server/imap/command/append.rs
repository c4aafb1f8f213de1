//! APPEND (RFC 3501 §6.3.11), its message streamed past the session and never held by it.

use std::io;
use std::time::Duration;
use std::time::SystemTime;

use crate::fsio::Content;
use crate::fsio::ContentWriter;
use crate::mail::quota::Usage;
use crate::protocol::imap::fragment::Fragment;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::append::AppendArguments;
use crate::protocol::imap::view::Expunges;
use crate::server::imap::errors;
use crate::server::imap::selected::Look;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::Reservation;
use crate::store::StoreError;

/// What stands behind the message on its line.
enum Tail {
    Nothing,
    SomethingElse,
}

pub(in crate::server::imap) async fn run(
    session: &mut Session,
    tag: &str,
    arguments: AppendArguments,
    size: u64,
    synchronising: bool,
) -> Result<(), End> {
    let room = match check(session, &arguments, size).await {
        Ok(room) => room,
        Err(refusal) => {
            session.refuse(refusal);
            return Ok(());
        }
    };
    session.wire.fragments.stream();
    if synchronising {
        session.wire.out.go_ahead("Ready for the message");
    }
    let content = receive(session).await?;
    // The store takes what is needed: on disk it is a little less.
    drop(room);
    let status = match tail(session).await? {
        Tail::SomethingElse => Status::bad("One message at a time"),
        Tail::Nothing => match content {
            Ok(content) => add(session, arguments, content).await,
            Err(error) => errors::of_store(&StoreError::Full(error)),
        },
    };
    session.announce(Expunges::Told, Look::InMemory).await?;
    session.wire.out.tagged(tag, &status);
    Ok(())
}

/// All that can be known before the message is sent. The room is for the time until it is there.
async fn check(session: &mut Session, arguments: &AppendArguments, size: u64) -> Result<Reservation, Status> {
    if size > session.services.max_message_size {
        return Err(Status::no(Code::TooBig, "Message too large"));
    }
    if size == 0 {
        return Err(Status::no(Code::Cannot, "A message cannot be empty"));
    }
    let Some(user) = &session.user else { return Err(Status::bad("Log in first")) };
    user.account.mailbox(&arguments.mailbox).await.map_err(|error| errors::of_destination(&error))?;
    user.account.reserve(Usage::of_message(size)).await.map_err(|error| errors::of_store(&error))
}

/// Reads the literal to its end, also when it cannot be kept.
async fn receive(session: &mut Session) -> Result<io::Result<Content>, End> {
    let mut writer = Ok(ContentWriter::new(session.services.spill_folder.clone()));
    let mut lines = LineEnds::default();
    loop {
        match session.wire.fragments.next_fragment() {
            Fragment::Piece(piece) => {
                if let Ok(open) = &mut writer
                    && let Err(error) = open.push(&lines.turn(&piece))
                {
                    writer = Err(error);
                }
            }
            Fragment::StreamEnd => break,
            Fragment::More => session.read_more().await?,
            _ => return Err(End::Bye("Confused by an APPEND")),
        }
    }
    Ok(writer.and_then(|mut writer| {
        writer.push(lines.rest())?;
        writer.finish()
    }))
}

async fn tail(session: &mut Session) -> Result<Tail, End> {
    loop {
        match session.wire.fragments.next_fragment() {
            Fragment::More => session.read_more().await?,
            Fragment::Command(rest) if rest.trim_ascii().is_empty() => return Ok(Tail::Nothing),
            Fragment::Literal { .. } => session.wire.fragments.refuse(),
            Fragment::Command(_) | Fragment::Dropped { .. } => return Ok(Tail::SomethingElse),
            _ => return Err(End::Bye("Too much at once")),
        }
    }
}

async fn add(session: &mut Session, arguments: AppendArguments, content: Content) -> Status {
    let Some(user) = &session.user else { return Status::bad("Log in first") };
    let mailbox = match user.account.mailbox(&arguments.mailbox).await {
        Ok(mailbox) => mailbox,
        Err(error) => return errors::of_destination(&error),
    };
    let date = arguments.date.and_then(system_time);
    match mailbox.append(content, arguments.flags.system, &arguments.flags.keywords, date).await {
        Ok(uid) => Status::ok("Appended").with(Code::AppendUid(mailbox.snapshot().validity, uid)),
        Err(error) => errors::of_destination(&error),
    }
}

fn system_time(seconds: i64) -> Option<SystemTime> {
    let since = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(since) } else { SystemTime::UNIX_EPOCH.checked_add(since) }
}

/// CRLF becomes LF, piece by piece.
#[derive(Debug, Default)]
struct LineEnds {
    /// The last piece ended with a CR that is not written yet.
    held: bool,
}

impl LineEnds {
    fn turn(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + 1);
        for octet in piece {
            if self.held && *octet != b'\n' {
                out.push(b'\r');
            }
            self.held = *octet == b'\r';
            if !self.held {
                out.push(*octet);
            }
        }
        out
    }

    fn rest(&self) -> &'static [u8] {
        if self.held { b"\r" } else { b"" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_wherever_the_pieces_are_cut() {
        let wire = b"a\r\nb\rc\r\r\n\n\r";
        for cut in 0..=wire.len() {
            let mut lines = LineEnds::default();
            let mut disk = lines.turn(&wire[..cut]);
            disk.extend(lines.turn(&wire[cut..]));
            disk.extend(lines.rest());
            assert_eq!(disk, b"a\nb\rc\r\n\n\r", "{cut}");
        }
    }
}
