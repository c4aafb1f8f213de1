//! APPEND (RFC 3501 §6.3.11) of one message or several (RFC 3502), streamed past the session and never held by it, or
//! put together from parts of others (RFC 4469). Several are added all or not at all. REPLACE (RFC 8508) is one that
//! takes the place of another.

use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use tokio::sync::Semaphore;

use crate::fsio::ContentWriter;
use crate::mail::ids::Uid;
use crate::mail::limits::IMAP_APPEND_MESSAGES;
use crate::mail::limits::IMAP_APPEND_OCTETS;
use crate::mail::limits::IMAP_CATENATE_PARTS;
use crate::mail::limits::IMAP_CATENATE_READERS;
use crate::mail::limits::IMAP_COMMAND_OCTETS;
use crate::mail::quota::Usage;
use crate::mail::rights::Right;
use crate::message::mime::Structure;
use crate::message::wire::push_wire_range;
use crate::protocol::imap::fragment::Fragment;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Condition;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::section::section_text;
use crate::protocol::imap::syntax::append::Append;
use crate::protocol::imap::syntax::append::Ends;
use crate::protocol::imap::syntax::append::LiteralPlace;
use crate::protocol::imap::syntax::append::Script;
use crate::protocol::imap::syntax::append::Step;
use crate::protocol::imap::syntax::append::behind_literal;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::set::Ranges;
use crate::protocol::imap::syntax::store::NamedFlags;
use crate::protocol::imap::syntax::url::MessageUrl;
use crate::server::imap::access;
use crate::server::imap::access::Place;
use crate::server::imap::access::Refusal;
use crate::server::imap::errors;
use crate::server::imap::selected::changeable;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::Addition;
use crate::store::Mailbox;
use crate::store::Reservation;
use crate::store::StoreError;

/// A literal that is announced.
#[derive(Debug, Clone, Copy)]
pub(in crate::server::imap) struct Announced {
    /// Octets of it.
    pub(in crate::server::imap) size: u64,
    /// The client waits for a go-ahead.
    pub(in crate::server::imap) synchronising: bool,
}

/// What of the command the client has still to send.
#[derive(Debug, Clone, Copy)]
enum Rest {
    /// A literal is announced.
    Literal(Announced),
    /// What stands behind a literal.
    Text,
    /// Nothing.
    Nothing,
}

/// The messages of one APPEND, while they come in.
struct Received {
    /// Where they go.
    place: Place,
    additions: Vec<Addition>,
    /// The one that is not complete.
    open: Option<Open>,
    /// Of all of them, as announced.
    octets: u64,
    /// Room for the time until all are there.
    room: Vec<Reservation>,
}

/// A message that is coming in.
struct Open {
    flags: NamedFlags,
    date: Option<i64>,
    writer: ContentWriter,
    lines: LineEnds,
    octets: u64,
    parts: usize,
}

/// Runs the command whose text up to its first literal, or to its end, this is.
pub(in crate::server::imap) async fn run(
    session: &mut Session,
    append: Append,
    announced: Option<Announced>,
) -> Result<Status, End> {
    let mut rest = announced.map_or(Rest::Nothing, Rest::Literal);
    let (replaced, place) = match begin(session, &append).await {
        Ok(begun) => begun,
        Err(refusal) => return pass(session, rest).await.map(|()| refusal),
    };
    let mut received = Received { place, additions: Vec::new(), open: None, octets: 0, room: Vec::new() };
    if let Err(refusal) = all(session, &mut received, append.script, &mut rest).await? {
        return pass(session, rest).await.map(|()| refusal);
    }
    if replaced.is_some() && received.additions.len() > 1 {
        return Ok(Status::bad("One message takes the place of one"));
    }
    // The rights may be others by now: who sends slowly gets in no longer than who is quick.
    let status = match access::place(session, &append.mailbox).await {
        Ok(place) => add(session, &place, received).await,
        Err(error) => errors::of_destination(&error),
    };
    Ok(match replaced {
        Some(old) if status.condition == Condition::Ok => remove(session, old, status).await,
        _ => status,
    })
}

/// Looks at what can be known before anything comes; gives the message that REPLACE removes in the end.
async fn begin(session: &mut Session, append: &Append) -> Result<(Option<Uid>, Place), Status> {
    let replaced = replaced(session, append)?;
    let place = access::place(session, &append.mailbox).await.map_err(|error| errors::of_destination(&error))?;
    place.mailbox(Right::Insert).await.map_err(Refusal::of_destination)?;
    Ok((replaced, place))
}

/// The message that REPLACE removes in the end, if it is one.
fn replaced(session: &Session, append: &Append) -> Result<Option<Uid>, Status> {
    let Some((numbers, set)) = &append.replaces else { return Ok(None) };
    let selected = session.user.as_ref().and_then(|user| user.selected.as_ref());
    let Some(selected) = selected else { return Err(Status::bad("No mailbox is selected")) };
    if selected.read_only {
        return Err(Status::no(Code::ReadOnly, "The mailbox was examined"));
    }
    if !(selected.rights.has(Right::DeleteMessages) && selected.rights.has(Right::Expunge)) {
        return Err(Status::no(Code::NoPerm, "You have no right to take messages away"));
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

/// Does what the script says, and what the text behind each literal says then.
async fn all(
    session: &mut Session,
    received: &mut Received,
    mut script: Script,
    rest: &mut Rest,
) -> Result<Result<(), Status>, End> {
    loop {
        for step in script.steps {
            let done = match step {
                Step::Begin(flags, date) => received.begin(session, flags, date),
                Step::Url(url) => add_url(session, received, &url).await?,
                Step::Literal => add_literal(session, received, rest, script.at).await?,
                Step::End => received.end(),
            };
            if let Err(refusal) = done {
                return Ok(Err(refusal));
            }
        }
        if let Rest::Nothing = rest {
            return Ok(Ok(()));
        }
        script = match next(session, rest, |text, ends| behind_literal(text, script.at, ends)).await? {
            Ok(script) => script,
            Err(refusal) => return Ok(Err(refusal)),
        };
    }
}

/// Reads the text behind a literal. Literals within it that are no messages become part of it.
async fn next(
    session: &mut Session,
    rest: &mut Rest,
    read: impl Fn(&[u8], Ends) -> Parsed<Option<Script>>,
) -> Result<Result<Script, Status>, End> {
    loop {
        let script = match session.wire.fragments.next_fragment() {
            Fragment::More => {
                session.read_more().await?;
                continue;
            }
            Fragment::Command(text) => {
                *rest = Rest::Nothing;
                read(&text, Ends::InNothing)
            }
            Fragment::Literal { size, synchronising } => {
                *rest = Rest::Literal(Announced { size, synchronising });
                read(session.wire.fragments.so_far(), Ends::InLiteral)
            }
            Fragment::Dropped { .. } => {
                *rest = Rest::Nothing;
                return Ok(Err(Status::bad("Command too long")));
            }
            _ => return Err(End::Bye("Too much at once")),
        };
        match (script, *rest) {
            (Ok(Some(script)), _) => return Ok(Ok(script)),
            (Ok(None), Rest::Literal(url)) if url.size <= IMAP_COMMAND_OCTETS as u64 => {
                if session.wire.fragments.accept() && url.synchronising {
                    session.wire.out.go_ahead("Ready for more");
                }
            }
            (Ok(None), _) => return Ok(Err(Status::no(Code::TooBig, "Literal too large"))),
            (Err(error), _) => return Ok(Err(errors::of_syntax(&error))),
        }
    }
}

/// Lets the rest of a command pass that was refused.
async fn pass(session: &mut Session, rest: Rest) -> Result<(), End> {
    match rest {
        Rest::Nothing => return Ok(()),
        Rest::Literal(_) => session.wire.fragments.refuse(),
        Rest::Text => {}
    }
    loop {
        match session.wire.fragments.next_fragment() {
            Fragment::More => session.read_more().await?,
            Fragment::Command(_) | Fragment::Dropped { .. } => return Ok(()),
            Fragment::Literal { .. } => session.wire.fragments.refuse(),
            _ => return Err(End::Bye("Too much at once")),
        }
    }
}

impl Received {
    fn begin(&mut self, session: &Session, flags: NamedFlags, date: Option<i64>) -> Result<(), Status> {
        if self.additions.len() >= IMAP_APPEND_MESSAGES {
            return Err(Status::no(Code::Limit, "Too many messages in one APPEND"));
        }
        let writer = ContentWriter::new(session.services.spill_folder.clone());
        self.open = Some(Open { flags, date, writer, lines: LineEnds::default(), octets: 0, parts: 0 });
        Ok(())
    }

    /// All that can be known before so many octets more are added. The room is for the time until they are there.
    async fn make_room(&mut self, session: &Session, octets: u64) -> Result<(), Status> {
        let Some(open) = &mut self.open else { return Err(Status::bad("Nothing to add to")) };
        let is_new = open.parts == 0;
        open.parts += 1;
        if open.parts > IMAP_CATENATE_PARTS {
            return Err(Status::no(Code::Limit, "Too many parts in one message"));
        }
        open.octets = open.octets.saturating_add(octets);
        self.octets = self.octets.saturating_add(octets);
        if open.octets > session.services.max_message_size {
            return Err(Status::no(Code::TooBig, "Message too large"));
        }
        if !self.additions.is_empty() && self.octets > IMAP_APPEND_OCTETS {
            return Err(Status::no(Code::Limit, "Too much in one APPEND"));
        }
        let (account, _) = self.place.for_right(Right::Insert)?;
        let wanted = Usage { octets, messages: u64::from(is_new) };
        self.room.push(account.reserve(wanted).await.map_err(|error| errors::of_store(&error))?);
        Ok(())
    }

    fn push(&mut self, wire: &[u8]) -> Result<(), Status> {
        let Some(open) = &mut self.open else { return Err(Status::bad("Nothing to add to")) };
        let disk = open.lines.turn(wire);
        open.writer.push(&disk).map_err(|error| errors::of_store(&StoreError::Full(error)))
    }

    fn end(&mut self) -> Result<(), Status> {
        let Some(mut open) = self.open.take() else { return Err(Status::bad("Nothing to add to")) };
        if open.octets == 0 {
            return Err(Status::no(Code::Cannot, "A message cannot be empty"));
        }
        let finished = open.writer.push(open.lines.rest()).and_then(|()| open.writer.finish());
        self.additions.push(Addition {
            content: finished.map_err(|error| errors::of_store(&StoreError::Full(error)))?,
            flags: open.flags.system,
            keywords: open.flags.keywords,
            date: open.date.and_then(system_time),
        });
        Ok(())
    }
}

/// Reads the literal that is announced to its end, also when it cannot be kept.
async fn add_literal(
    session: &mut Session,
    received: &mut Received,
    rest: &mut Rest,
    at: LiteralPlace,
) -> Result<Result<(), Status>, End> {
    let Rest::Literal(Announced { size, synchronising }) = *rest else {
        return Ok(Err(Status::bad("Literal missing")));
    };
    if let Err(refusal) = received.make_room(session, size).await {
        return Ok(Err(refusal));
    }
    // A message of nothing is refused before the literal is asked for.
    if size == 0 && !at.in_catenate() {
        return Ok(Err(Status::no(Code::Cannot, "A message cannot be empty")));
    }
    session.wire.fragments.stream();
    *rest = Rest::Text;
    if synchronising {
        session.wire.out.go_ahead("Ready for the message");
    }
    let mut pushed = Ok(());
    loop {
        match session.wire.fragments.next_fragment() {
            Fragment::Piece(piece) if pushed.is_ok() => pushed = received.push(&piece),
            Fragment::Piece(_) => {}
            Fragment::StreamEnd => return Ok(pushed),
            Fragment::More => session.read_more().await?,
            _ => return Err(End::Bye("Confused by an APPEND")),
        }
    }
}

/// Adds the text that a URL names (RFC 4469 §3).
async fn add_url(session: &mut Session, received: &mut Received, url: &[u8]) -> Result<Result<(), Status>, End> {
    let bad = || Err(Status::no(Code::BadUrl(String::from_utf8_lossy(url).into_owned()), "Nothing is there"));
    let Some(parsed) = MessageUrl::parse(url, session.spelling()) else { return Ok(bad()) };
    let Some(user) = &session.user else { return Ok(Err(Status::bad("Log in first"))) };
    let mailbox = match (&parsed.mailbox, &user.selected) {
        (Some(name), _) => access::open(session, name, Right::Read).await.ok().map(|(mailbox, _)| mailbox),
        (None, selected) => selected.as_ref().map(|selected| Arc::clone(&selected.mailbox)),
    };
    let Some(mailbox) = mailbox else { return Ok(bad()) };
    // Each holds a message and what is taken of it: few at a time in the whole server.
    static READING: Semaphore = Semaphore::const_new(IMAP_CATENATE_READERS);
    let work = async {
        let turn = READING.acquire().await;
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            text_of(&mailbox, &parsed)
        })
        .await
    };
    let text = match session.wire.attend(work).await? {
        Ok(Ok(Some(text))) => text,
        Ok(Ok(None) | Err(StoreError::MessageGone | StoreError::NoSuchMailbox)) => return Ok(bad()),
        Ok(Err(error)) => return Ok(Err(errors::of_store(&error))),
        Err(_) => return Err(End::Bye("An APPEND failed")),
    };
    if let Err(refusal) = received.make_room(session, text.len() as u64).await {
        return Ok(Err(refusal));
    }
    Ok(received.push(&text))
}

/// What a URL names, as it would go over the wire; `None` where there is no such part.
fn text_of(mailbox: &Mailbox, url: &MessageUrl) -> Result<Option<Vec<u8>>, StoreError> {
    let validity = mailbox.snapshot().validity;
    let Some(uid) = Uid::new(url.uid) else { return Ok(None) };
    if url.validity.is_some_and(|wanted| wanted != validity.get()) {
        return Ok(None);
    }
    let message = mailbox.read_blocking(uid)?;
    if mailbox.snapshot().validity != validity {
        return Ok(None);
    }
    let Some(section) = section_text(&Structure::scan(&message), &message, &url.section) else { return Ok(None) };
    let (from, len) = url.partial.unwrap_or((0, u64::MAX));
    let mut out = Vec::new();
    push_wire_range(&mut out, &section, from, len);
    Ok(Some(out))
}

async fn add(session: &mut Session, place: &Place, received: Received) -> Status {
    let mailbox = match place.mailbox(Right::Insert).await {
        Ok(mailbox) => mailbox,
        Err(refusal) => return refusal.of_destination(),
    };
    // The store takes what is needed: on disk it is a little less.
    drop(received.room);
    let mut additions = received.additions;
    for addition in &mut additions {
        // RFC 4314 §4: flags that the user may not set there are not set.
        (addition.flags, addition.keywords) = changeable(place.rights(), addition.flags, &addition.keywords);
    }
    let added = match (additions.len(), additions.pop()) {
        (1, Some(one)) => mailbox.append(one.content, one.flags, &one.keywords, one.date).await.map(|uid| vec![uid]),
        (_, last) => {
            additions.extend(last);
            mailbox.append_all(additions).await
        }
    };
    match added {
        Ok(uids) => {
            if let Some(selected) = session.user.as_mut().and_then(|user| user.selected.as_mut()) {
                selected.added(&mailbox, &uids);
            }
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
