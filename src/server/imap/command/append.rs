//! APPEND (RFC 3501 §6.3.11) of one message or several (RFC 3502), streamed past the session and never held by it.
//! Several are added all or not at all. REPLACE (RFC 8508) is one that takes the place of another.

use std::io;
use std::time::Duration;
use std::time::SystemTime;

use crate::fsio::Content;
use crate::fsio::ContentWriter;
use crate::mail::ids::Uid;
use crate::mail::limits::IMAP_APPEND_MESSAGES;
use crate::mail::limits::IMAP_APPEND_OCTETS;
use crate::mail::mailbox::MailboxName;
use crate::mail::quota::Usage;
use crate::protocol::imap::fragment::Fragment;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Condition;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::append::AppendArguments;
use crate::protocol::imap::syntax::append::next_message;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::set::Ranges;
use crate::protocol::imap::view::Expunges;
use crate::server::imap::errors;
use crate::server::imap::selected::Look;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::Addition;
use crate::store::Reservation;
use crate::store::StoreError;

/// What stands behind a message on its line.
enum Tail {
    Nothing,
    /// Another message is announced, which this is said of.
    Another {
        arguments: Parsed<AppendArguments>,
        size: u64,
        synchronising: bool,
    },
    SomethingElse,
}

/// The messages of one APPEND, while they come in.
struct Received {
    additions: Vec<Addition>,
    octets: u64,
    /// Room for the time until all are there.
    room: Vec<Reservation>,
}

pub(in crate::server::imap) async fn run(
    session: &mut Session,
    tag: &str,
    arguments: AppendArguments,
    size: u64,
    synchronising: bool,
) -> Result<(), End> {
    let mut received = Received { additions: Vec::new(), octets: 0, room: Vec::new() };
    let replaced = match replaced(session, &arguments) {
        Ok(replaced) => replaced,
        Err(refusal) => {
            session.refuse(refusal);
            return Ok(());
        }
    };
    match check(session, &arguments, &received, size).await {
        Ok(room) => received.room.push(room),
        Err(refusal) => {
            session.refuse(refusal);
            return Ok(());
        }
    }
    let mailbox = arguments.mailbox.clone();
    let status = match all(session, &mut received, arguments, size, synchronising).await? {
        Ok(()) if replaced.is_some() && received.additions.len() > 1 => {
            Status::bad("One message takes the place of one")
        }
        Ok(()) => add(session, &mailbox, received).await,
        Err(refusal) => refusal,
    };
    let status = match replaced {
        Some(old) if status.condition == Condition::Ok => remove(session, old, status).await,
        _ => status,
    };
    session.announce(Expunges::Told, Look::InMemory).await?;
    session.wire.out.tagged(tag, &status);
    Ok(())
}

/// The message that REPLACE removes in the end, if it is one.
fn replaced(session: &Session, arguments: &AppendArguments) -> Result<Option<Uid>, Status> {
    let Some((numbers, set)) = &arguments.replaces else { return Ok(None) };
    let selected = session.user.as_ref().and_then(|user| user.selected.as_ref());
    let Some(selected) = selected else { return Err(Status::bad("No mailbox is selected")) };
    if selected.read_only {
        return Err(Status::no(Code::ReadOnly, "The mailbox was examined"));
    }
    match selected.uids(*numbers, set).as_slice() {
        [one] => Ok(Some(*one)),
        [] if *numbers == Numbers::Uid => Err(Status::no(Code::NonExistent, "No such message")),
        _ => Err(Status::bad("REPLACE needs one message that is there")),
    }
}

/// Removes what was replaced, now that the new message is durable (RFC 8508 §3.4). Where that fails both stay.
async fn remove(session: &mut Session, old: Uid, appended: Status) -> Status {
    // RFC 8508 §3.2: the code comes before the EXPUNGE.
    session.wire.out.untagged_status(&appended);
    let selected = session.user.as_ref().and_then(|user| user.selected.as_ref());
    let Some(selected) = selected else { return Status::bad("No mailbox is selected") };
    match selected.mailbox.expunge(selected.snapshot.validity, &[old]).await {
        Ok(_) if session.enabled.condstore => {
            let highest = selected.mailbox.snapshot().highest_modseq;
            Status::ok("Replaced").with(Code::HighestModSeq(highest))
        }
        Ok(_) => Status::ok("Replaced"),
        Err(error) => errors::of_store(&error),
    }
}

/// Receives the message that is announced, and those that follow it (RFC 3502). What is refused is read to the end of
/// its command all the same.
async fn all(
    session: &mut Session,
    received: &mut Received,
    mut arguments: AppendArguments,
    mut size: u64,
    mut synchronising: bool,
) -> Result<Result<(), Status>, End> {
    let mailbox = arguments.mailbox.clone();
    loop {
        session.wire.fragments.stream();
        if synchronising {
            session.wire.out.go_ahead("Ready for the message");
        }
        let content = receive(session).await?;
        let next = tail(session, &mailbox, arguments.in_utf8).await?;
        match content {
            Ok(content) => received.take(arguments, content, size),
            Err(error) => {
                let refusal = errors::of_store(&StoreError::Full(error));
                return drop_rest(session, next, refusal).await.map(Err);
            }
        }
        let (next, next_size, waits) = match next {
            Tail::Nothing => return Ok(Ok(())),
            Tail::SomethingElse => return Ok(Err(Status::bad("Messages and nothing else"))),
            Tail::Another { arguments, size, synchronising } => (arguments, size, synchronising),
        };
        let checked = match next {
            Ok(next) => check(session, &next, received, next_size).await.map(|room| (next, room)),
            Err(error) => Err(errors::of_syntax(&error)),
        };
        match checked {
            Ok((next, room)) => {
                received.room.push(room);
                (arguments, size, synchronising) = (next, next_size, waits);
            }
            Err(refusal) => return pass(session).await.map(|()| Err(refusal)),
        }
    }
}

/// Refuses what comes next, if a message does.
async fn drop_rest(session: &mut Session, next: Tail, refusal: Status) -> Result<Status, End> {
    if let Tail::Another { .. } = next {
        pass(session).await?;
    }
    Ok(refusal)
}

/// Lets the rest of the command pass, whose next literal is announced.
async fn pass(session: &mut Session) -> Result<(), End> {
    session.wire.fragments.refuse();
    loop {
        match session.wire.fragments.next_fragment() {
            Fragment::More => session.read_more().await?,
            Fragment::Dropped { .. } => return Ok(()),
            Fragment::Literal { .. } => session.wire.fragments.refuse(),
            _ => return Err(End::Bye("Too much at once")),
        }
    }
}

impl Received {
    fn take(&mut self, arguments: AppendArguments, content: Content, size: u64) {
        self.octets = self.octets.saturating_add(size);
        self.additions.push(Addition {
            content,
            flags: arguments.flags.system,
            keywords: arguments.flags.keywords,
            date: arguments.date.and_then(system_time),
        });
    }
}

/// All that can be known before the message is sent. The room is for the time until it is there.
async fn check(
    session: &mut Session,
    arguments: &AppendArguments,
    received: &Received,
    size: u64,
) -> Result<Reservation, Status> {
    if size > session.services.max_message_size {
        return Err(Status::no(Code::TooBig, "Message too large"));
    }
    if size == 0 {
        return Err(Status::no(Code::Cannot, "A message cannot be empty"));
    }
    let octets = received.octets.saturating_add(size);
    let is_first = received.additions.is_empty();
    if received.additions.len() >= IMAP_APPEND_MESSAGES || (!is_first && octets > IMAP_APPEND_OCTETS) {
        return Err(Status::no(Code::Limit, "Too much in one APPEND"));
    }
    let Some(user) = &session.user else { return Err(Status::bad("Log in first")) };
    if is_first {
        user.account.mailbox(&arguments.mailbox).await.map_err(|error| errors::of_destination(&error))?;
    }
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

async fn tail(session: &mut Session, mailbox: &MailboxName, in_utf8: bool) -> Result<Tail, End> {
    // RFC 6855 §4: what was opened before the literal is closed behind it.
    let closed = |rest: &[u8]| if in_utf8 { rest.strip_prefix(b")").map(<[u8]>::to_vec) } else { Some(rest.to_vec()) };
    loop {
        match session.wire.fragments.next_fragment() {
            Fragment::More => session.read_more().await?,
            Fragment::Command(rest) => {
                let done = closed(&rest).is_some_and(|rest| rest.trim_ascii().is_empty());
                return Ok(if done { Tail::Nothing } else { Tail::SomethingElse });
            }
            Fragment::Literal { size, synchronising } => {
                let arguments = match closed(session.wire.fragments.so_far()) {
                    Some(between) => next_message(&between, mailbox.clone()),
                    None => Err(SyntaxError::Bad("parenthesis missing behind a message")),
                };
                return Ok(Tail::Another { arguments, size, synchronising });
            }
            Fragment::Dropped { .. } => return Ok(Tail::SomethingElse),
            _ => return Err(End::Bye("Too much at once")),
        }
    }
}

async fn add(session: &mut Session, mailbox: &MailboxName, received: Received) -> Status {
    let Some(user) = &session.user else { return Status::bad("Log in first") };
    let mailbox = match user.account.mailbox(mailbox).await {
        Ok(mailbox) => mailbox,
        Err(error) => return errors::of_destination(&error),
    };
    // The store takes what is needed: on disk it is a little less.
    drop(received.room);
    let mut additions = received.additions;
    let added = match (additions.len(), additions.pop()) {
        (1, Some(one)) => mailbox.append(one.content, one.flags, &one.keywords, one.date).await.map(|uid| vec![uid]),
        (_, last) => {
            additions.extend(last);
            mailbox.append_all(additions).await
        }
    };
    match added {
        Ok(uids) => {
            let uids = Ranges::from_ascending(uids.into_iter().map(Uid::get));
            Status::ok("Appended").with(Code::AppendUid(mailbox.snapshot().validity, uids))
        }
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
