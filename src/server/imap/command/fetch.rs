//! FETCH and UID FETCH (RFC 3501 §6.4.5).
//!
//! Answers are made on blocking threads, a batch at a time, while the batch before is on its way to the client. Each
//! file is read once per command, and only its head where the header is enough; what the store knows, or has kept from
//! an earlier answer, costs no file. Large texts are not in the answers: they follow from their files, see `streaming`.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use super::selected;
use super::streaming;
use super::streaming::Large;
use super::streaming::Mark;
use super::streaming::Room;
use super::streaming::Text;
use crate::mail::flags::Flags;
use crate::mail::flags::SystemFlag;
use crate::mail::ids::Uid;
use crate::mail::limits::IMAP_ANSWER_OCTETS;
use crate::mail::limits::IMAP_BATCH_OCTETS;
use crate::mail::rights::Right;
use crate::message::envelope::HeaderEnvelope;
use crate::message::fields::header_len;
use crate::message::mime::Structure;
use crate::message::object_id::email_id;
use crate::message::object_id::thread_id;
use crate::message::preview::preview;
use crate::protocol::imap::binary::decoded;
use crate::protocol::imap::binary::is_decodable;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::section::header_text;
use crate::protocol::imap::section::needs_header_only;
use crate::protocol::imap::section::section_name;
use crate::protocol::imap::section::section_text;
use crate::protocol::imap::structure::Characters;
use crate::protocol::imap::structure::Extensions;
use crate::protocol::imap::structure::depends_on_characters;
use crate::protocol::imap::structure::push_body;
use crate::protocol::imap::structure::push_envelope;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::date::internal_date;
use crate::protocol::imap::syntax::fetch::FetchItem;
use crate::protocol::imap::syntax::fetch::FetchModifiers;
use crate::protocol::imap::syntax::fetch::Section;
use crate::protocol::imap::syntax::fetch::SectionText;
use crate::protocol::imap::syntax::set::SequenceSet;
use crate::protocol::imap::view::Entry;
use crate::protocol::imap::view::View;
use crate::server::imap::errors;
use crate::server::imap::selected::push_flags;
use crate::server::imap::selected::push_modseq;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::CacheEntry;
use crate::store::CacheKind;
use crate::store::Cached;
use crate::store::FlagChange;
use crate::store::FlagOp;
use crate::store::Mailbox;
use crate::store::Message;
use crate::store::Snapshot;
use crate::store::StoreError;

/// Messages that become `\Seen` at once, before their text is sent: few, so that a broken connection marks few.
const SEEN_AT_ONCE: usize = 50;

/// A batch beyond this is sent before the next is made, so that large messages are not held twice.
const LARGE_BATCH: usize = 4 * IMAP_BATCH_OCTETS;

/// First read of a file of which only the header is wanted.
const HEAD_OCTETS: usize = 16_384;

/// How much of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Nothing,
    Header,
    Whole,
}

/// What batches need; shared with the threads they run on.
#[derive(Debug)]
struct Job {
    items: Vec<FetchItem>,
    numbers: Numbers,
    wanted: Wanted,
    /// The strings that answer all items which need a file; empty where those are not enough.
    kept: Vec<CacheKind>,
    mailbox: Arc<Mailbox>,
    snapshot: Arc<Snapshot>,
    targets: Vec<(u32, Entry)>,
    /// Per target: this command made it `\Seen`, which is told unasked.
    newly_seen: Vec<bool>,
    characters: Characters,
    /// Flags that are told unasked have the mod-sequence with them (RFC 7162 §3.2).
    with_modseq: bool,
    /// Where counting came to in the message that was fetched last.
    mark: Option<Mark>,
    /// Nobody waits for it any more.
    abandoned: AtomicBool,
}

/// What came of a batch.
struct Batch {
    bytes: Vec<u8>,
    /// Literals whose octets are not in `bytes`.
    streamed: Vec<streaming::Literal>,
    mark: Option<Mark>,
    next: usize,
    told: Vec<(Uid, Flags)>,
    left_out: LeftOut,
    /// The next message is large, and another one is in memory.
    needs_room: bool,
}

/// Why messages that were asked for are not in the answer.
#[derive(Debug, Clone, Copy, Default)]
struct LeftOut {
    gone: bool,
    unknown_encoding: bool,
    /// More of one message was asked for than is held for anybody.
    too_much: bool,
}

impl LeftOut {
    fn and(self, other: Self) -> Self {
        Self {
            gone: self.gone || other.gone,
            unknown_encoding: self.unknown_encoding || other.unknown_encoding,
            too_much: self.too_much || other.too_much,
        }
    }
}

pub(super) async fn run(
    session: &mut Session,
    numbers: Numbers,
    set: &SequenceSet,
    mut items: Vec<FetchItem>,
    modifiers: FetchModifiers,
) -> Result<Status, End> {
    if modifiers.vanished && !session.enabled.qresync {
        // RFC 7162 §3.2.6.
        return Ok(Status::bad("VANISHED needs QRESYNC"));
    }
    // RFC 7162 §3.1: both enable CONDSTORE.
    if modifiers.changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
        items.push(FetchItem::ModSeq);
    }
    if items.contains(&FetchItem::ModSeq) {
        session.enable_condstore();
    }
    let selected = selected!(session);
    if selected.exceeds(numbers, set) {
        return Ok(errors::no_such_number());
    }
    let mut targets = selected.resolve(numbers, set);
    if let Some(range) = modifiers.partial {
        // RFC 9394 §3.3: places in the list of what the set names, by ascending UID; §3.4: before CHANGEDSINCE.
        let range = range.of(targets.len());
        targets.truncate(range.end);
        targets.drain(..range.start);
    }
    if let Some(since) = modifiers.changed_since {
        if modifiers.vanished {
            let last = selected.snapshot.next.get().saturating_sub(1);
            let gone = selected.vanished(since, &set.resolve(Some(last).filter(|n| *n > 0)));
            if !gone.is_empty() {
                session.wire.out.untagged(&format!("VANISHED (EARLIER) {}", gone.to_text()));
            }
        }
        let now = selected.mailbox.snapshot();
        let mut messages = now.messages.lookup();
        targets.retain(|(_, entry)| messages.find(entry.uid).is_none_or(|message| message.modseq > since));
    }
    // RFC 4314 §4: nobody fails for want of the right to mark.
    let may_mark = !selected.read_only && selected.rights.has(Right::Seen);
    let sets_seen = may_mark && items.iter().any(FetchItem::sets_seen);
    let at_once = if sets_seen { SEEN_AT_ONCE } else { targets.len().max(1) };
    let mut left_out = LeftOut::default();
    for targets in targets.chunks(at_once) {
        let job = match prepare(session, numbers, &items, targets, sets_seen).await? {
            Ok(job) => job,
            Err(status) => return Ok(status),
        };
        if sets_seen || items.contains(&FetchItem::Flags) {
            // A new keyword is told before a message that has it.
            selected!(session).take_keywords(&mut session.wire.out, &job.snapshot);
        }
        match send(session, Arc::new(job)).await? {
            Ok(more) => left_out = left_out.and(more),
            Err(error) => return Ok(errors::of_store(&error)),
        }
    }
    if left_out.too_much {
        return Ok(Status::no(Code::Limit, "Too much of one message at once"));
    }
    if left_out.unknown_encoding {
        return Ok(Status::no(Code::UnknownCte, "Some parts are in an unknown encoding"));
    }
    if left_out.gone && numbers == Numbers::Sequence {
        return Ok(errors::of_store(&StoreError::MessageGone));
    }
    Ok(Status::ok("Fetched"))
}

/// Tells of new messages without being asked (RFC 5465 §5.2).
pub(in crate::server::imap) async fn unasked(
    session: &mut Session,
    uids: &[Uid],
    items: &[FetchItem],
) -> Result<(), End> {
    let selected = session.user.as_ref().and_then(|user| user.selected.as_ref());
    let entry = |view: &View, uid: Uid| view.number(uid).and_then(|n| view.get(n).map(|entry| (n, entry)));
    let targets: Vec<(u32, Entry)> =
        selected.iter().flat_map(|s| uids.iter().filter_map(|uid| entry(&s.view, *uid))).collect();
    let Ok(job) = prepare(session, Numbers::Uid, items, &targets, false).await? else { return Ok(()) };
    if let Err(error) = send(session, Arc::new(job)).await? {
        tracing::debug!(%error, "imap: new messages are not told of");
    }
    Ok(())
}

/// Sets `\Seen` where it is due, and learns what the store does not know yet of sizes and dates.
async fn prepare(
    session: &mut Session,
    numbers: Numbers,
    items: &[FetchItem],
    targets: &[(u32, Entry)],
    sets_seen: bool,
) -> Result<Result<Job, Status>, End> {
    let (with_modseq, characters) = (session.enabled.condstore, session.enabled.characters());
    let Some(selected) = session.user.as_ref().and_then(|u| u.selected.as_ref()) else {
        return Ok(Err(Status::bad("No mailbox is selected")));
    };
    let (mailbox, validity) = (Arc::clone(&selected.mailbox), selected.snapshot.validity);
    let mark = selected.mark;
    let work = async {
        let before = mailbox.snapshot();
        if before.validity != validity {
            return Err(StoreError::MessageGone);
        }
        let unseen = |uid: Uid| before.find(uid).is_some_and(|m| !m.flags.has(SystemFlag::Seen));
        let mut newly_seen: Vec<bool> = targets.iter().map(|(_, e)| sets_seen && unseen(e.uid)).collect();
        let marked: Vec<Uid> =
            targets.iter().zip(&newly_seen).filter(|(_, new)| **new).map(|((_, e), _)| e.uid).collect();
        if !marked.is_empty() {
            let system = Flags::NONE.with(SystemFlag::Seen);
            let change = FlagChange { op: FlagOp::Add, system, keywords: Vec::new() };
            if let Err(error) = mailbox.store(validity, &marked, change).await {
                // A disk that takes no change must not keep anybody from reading.
                tracing::warn!(mailbox = %mailbox.name(), ?error, "what is read cannot be marked so");
                newly_seen.fill(false);
            }
        }
        let lacking = |known: fn(&Message) -> bool| -> Vec<Uid> {
            targets.iter().map(|(_, e)| e.uid).filter(|u| before.find(*u).is_some_and(|m| !known(m))).collect()
        };
        if items.contains(&FetchItem::Size) {
            let uids = lacking(|m| m.wire_size().is_some());
            if !uids.is_empty() {
                mailbox.sizes(&uids).await?;
            }
        }
        // RFC 8474 §5.1: an id is of all that never changes, so of the date too.
        if items.iter().any(|item| matches!(item, FetchItem::InternalDate | FetchItem::EmailId)) {
            let uids = lacking(|m| m.date().is_some());
            if !uids.is_empty() {
                mailbox.dates(&uids).await?;
            }
        }
        Ok(newly_seen)
    };
    let newly_seen = match session.wire.attend(work).await? {
        Ok(newly_seen) => newly_seen,
        Err(error) => return Ok(Err(errors::of_store(&error))),
    };
    let wanted = items.iter().map(wanted).max().unwrap_or(Wanted::Nothing);
    let snapshot = mailbox.snapshot();
    let (items, targets, kept) = (items.to_vec(), targets.to_vec(), kept(items));
    let abandoned = AtomicBool::new(false);
    Ok(Ok(Job {
        items,
        numbers,
        wanted,
        kept,
        mailbox,
        snapshot,
        targets,
        newly_seen,
        characters,
        with_modseq,
        mark,
        abandoned,
    }))
}

/// Tells a job that nobody waits for it any more.
struct Abandon<'a>(&'a Job);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
    }
}

/// Makes batches and sends them, one on its way while the next is made. Says why messages were left out.
async fn send(session: &mut Session, job: Arc<Job>) -> Result<Result<LeftOut, StoreError>, End> {
    let start = |at: usize, room: Option<Room>| {
        let job = Arc::clone(&job);
        tokio::task::spawn_blocking(move || job.run(at, room))
    };
    // A job for nobody must not keep others from their turn.
    let _abandon = Abandon(&job);
    let mut left_out = LeftOut::default();
    let mut running = Some(start(0, None));
    while let Some(work) = running.take() {
        let batch = match session.wire.attend(work).await? {
            Ok(Ok(batch)) => batch,
            Ok(Err(error)) => return Ok(Err(error)),
            Err(_) => return Err(End::Bye("A fetch failed")),
        };
        left_out = left_out.and(batch.left_out);
        let more = batch.next < job.targets.len();
        let large = batch.bytes.len() > LARGE_BATCH || !batch.streamed.is_empty() || batch.needs_room;
        if more && !large {
            running = Some(start(batch.next, None));
        }
        if let Some(selected) = session.user.as_mut().and_then(|u| u.selected.as_mut()) {
            for (uid, flags) in batch.told {
                selected.view.told(uid, flags);
            }
            selected.mark = batch.mark;
        }
        streaming::send(&mut session.wire, batch.bytes, batch.streamed).await?;
        if more && large {
            let room = if batch.needs_room { session.wire.attend(streaming::room()).await? } else { None };
            running = Some(start(batch.next, room));
        }
    }
    Ok(Ok(left_out))
}

fn wanted(item: &FetchItem) -> Wanted {
    match item {
        FetchItem::Flags
        | FetchItem::Uid
        | FetchItem::InternalDate
        | FetchItem::Size
        | FetchItem::SaveDate
        | FetchItem::Preview { lazy: true }
        | FetchItem::ModSeq => Wanted::Nothing,
        FetchItem::Envelope | FetchItem::ThreadId | FetchItem::Rfc822(SectionText::Header) => Wanted::Header,
        FetchItem::Section { section, .. } if needs_header_only(section) => Wanted::Header,
        FetchItem::Body
        | FetchItem::BodyStructure
        | FetchItem::EmailId
        | FetchItem::Preview { lazy: false }
        | FetchItem::Rfc822(_)
        | FetchItem::Binary { .. }
        | FetchItem::BinarySize(_)
        | FetchItem::Section { .. } => Wanted::Whole,
    }
}

/// The strings that are kept for these items; empty where one needs more than strings.
fn kept(items: &[FetchItem]) -> Vec<CacheKind> {
    let mut kinds = Vec::new();
    for item in items {
        let kind = match item {
            FetchItem::EmailId => CacheKind::EmailId,
            FetchItem::Preview { .. } => CacheKind::Preview,
            known if wanted(known) == Wanted::Nothing => continue,
            FetchItem::Envelope => CacheKind::Envelope,
            FetchItem::BodyStructure => CacheKind::BodyStructure,
            FetchItem::Body => CacheKind::Body,
            header if wanted(header) == Wanted::Header => CacheKind::Header,
            _ => return Vec::new(),
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}

/// What is known of a message that is answered for.
struct Material<'a> {
    /// Its text, or its header where that is enough.
    text: &'a [u8],
    /// Strings that need no making.
    strings: &'a dyn Fn(CacheKind) -> Option<&'a [u8]>,
    /// Made when the first item needs it.
    structure: Option<Structure>,
    /// For the texts of a large message that are sent from its file; where that is all that is asked for, `text` is
    /// the header alone.
    large: Option<Large>,
}

impl Job {
    /// Answers from target `at` on until the batch is full.
    fn run(&self, at: usize, mut room: Option<Room>) -> Result<Batch, StoreError> {
        let mut out = Output::new();
        let mut batch = Batch {
            bytes: Vec::new(),
            streamed: Vec::new(),
            mark: self.mark,
            next: at,
            told: Vec::new(),
            left_out: LeftOut::default(),
            needs_room: false,
        };
        let mut reader = (!self.kept.is_empty()).then(|| self.mailbox.cache_reader());
        let mut fresh: Vec<CacheEntry> = Vec::new();
        let mut lookup = self.snapshot.messages.lookup();
        while batch.next < self.targets.len() && out.len() < IMAP_BATCH_OCTETS && batch.streamed.is_empty() {
            if self.abandoned.load(Ordering::Relaxed) {
                break;
            }
            let (number, entry) = self.targets[batch.next];
            let newly_seen = self.newly_seen[batch.next];
            batch.next += 1;
            let Some(message) = lookup.find(entry.uid).copied() else {
                batch.left_out.gone = true;
                continue;
            };
            let cached = reader.as_mut().and_then(|reader| reader.get(message.uid));
            // What may be left out is not waited for.
            let lazy = |kind: CacheKind| kind == CacheKind::Preview && self.wanted == Wanted::Nothing;
            let fits = |kind: CacheKind, string: &[u8]| self.fits(kind, string);
            let has = |cached: &Cached<'_>, kind| cached.get(kind).is_some_and(|string| fits(kind, string));
            let complete = |cached: &Cached<'_>| self.kept.iter().all(|k| lazy(*k) || has(cached, *k));
            if let Some(cached) = cached.as_ref().filter(|cached| complete(cached)) {
                let text = cached.get(CacheKind::Header).unwrap_or_default();
                let strings = |kind| cached.get(kind);
                let mut material = Material { text, strings: &strings, structure: None, large: None };
                self.answer(&mut out, number, entry, &message, newly_seen, &mut material, &mut batch);
                continue;
            }
            // What is kept and does not fit this client stays as it is.
            let is_kept = cached.is_some_and(|c| self.kept.iter().all(|kind| c.get(*kind).is_some()));
            let (text, large) = match self.read(message.uid, &mut batch.mark, &mut room) {
                Ok(Some(read)) => read,
                Ok(None) => {
                    batch.next -= 1;
                    batch.needs_room = true;
                    break;
                }
                Err(StoreError::MessageGone) => {
                    batch.left_out.gone = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let made = if self.wanted == Wanted::Nothing { Vec::new() } else { self.make_strings(&text, &message) };
            let strings = |wanted| {
                let string = made.iter().find(|(kind, _)| *kind == wanted).map(|(_, octets)| octets.as_slice());
                string.filter(|string| fits(wanted, string))
            };
            let mut material = Material { text: &text, strings: &strings, structure: None, large };
            if asks_for_unknown_encoding(&self.items, &mut material) {
                batch.left_out.unknown_encoding = true;
                continue;
            }
            self.answer(&mut out, number, entry, &message, newly_seen, &mut material, &mut batch);
            batch.streamed = material.large.map(Large::announced).unwrap_or_default();
            if reader.is_some() && !made.is_empty() && !is_kept {
                fresh.push((message.uid, made));
            }
        }
        self.mailbox.remember(self.snapshot.validity, fresh);
        // Read under another validity, it would be of other messages.
        if self.mailbox.snapshot().validity != self.snapshot.validity {
            return Err(StoreError::MessageGone);
        }
        batch.bytes = out.take();
        Ok(batch)
    }

    /// Whether a string that is kept, in seven bits, is what this client gets.
    fn fits(&self, kind: CacheKind, string: &[u8]) -> bool {
        let written = matches!(kind, CacheKind::Envelope | CacheKind::BodyStructure | CacheKind::Body);
        !written || self.characters == Characters::SevenBit || !depends_on_characters(string)
    }

    /// As much of a message as is wanted; of a large one that can be sent from its file, the header. `None` where there
    /// is no room for it now.
    fn read(
        &self,
        uid: Uid,
        mark: &mut Option<Mark>,
        room: &mut Option<Room>,
    ) -> Result<Option<(Text, Option<Large>)>, StoreError> {
        if self.wanted == Wanted::Nothing {
            return Ok(Some((Text::default(), None)));
        }
        let mut file = self.mailbox.open_message_blocking(uid)?;
        let streams = |item: &FetchItem| wanted(item) != Wanted::Whole || streaming::is_streamed(item);
        let is_large = self.wanted == Wanted::Whole && streaming::is_large(&file);
        let read = if self.wanted == Wanted::Header {
            read_header(&mut file).map(|header| Some((Text::Own(header), None)))
        } else if is_large && self.items.iter().all(streams) {
            read_header(&mut file).and_then(|header| {
                let large = Large::count(file, uid, header.len(), &self.items, mark)?;
                Ok(Some((Text::Own(header), large)))
            })
        } else {
            let text = Text::read(&mut file, room);
            let large = if is_large { Large::in_memory(file, uid) } else { None };
            text.map(|text| text.map(|text| (text, large)))
        };
        read.map_err(|error| self.mailbox.unread(uid, error))
    }

    /// The strings that answer this job, from the text of a message.
    fn make_strings(&self, text: &[u8], message: &Message) -> Vec<(CacheKind, Vec<u8>)> {
        let mut structure = None;
        let make = |kind: &CacheKind| {
            let mut out = Output::new();
            match kind {
                CacheKind::Header => out.append(text[..header_len(text)].to_vec()),
                CacheKind::Envelope => {
                    let envelope = HeaderEnvelope::read(&text[..header_len(text)]);
                    push_envelope(&mut out, &envelope, Characters::SevenBit);
                }
                CacheKind::EmailId => out.raw(&email_id_of(text, message)),
                CacheKind::Preview => out.raw(&preview(text)),
                // Made by searches.
                CacheKind::Sieve => {}
                CacheKind::BodyStructure | CacheKind::Body => {
                    let structure = structure.get_or_insert_with(|| Structure::scan(text));
                    let with = *kind == CacheKind::BodyStructure;
                    let extensions = if with { Extensions::With } else { Extensions::Without };
                    push_body(&mut out, structure, text, extensions, Characters::SevenBit);
                }
            }
            (*kind, out.take())
        };
        self.kept.iter().map(make).collect()
    }

    #[expect(clippy::too_many_arguments, reason = "one answer, written in one place")]
    fn answer(
        &self,
        out: &mut Output,
        number: u32,
        entry: Entry,
        message: &Message,
        newly_seen: bool,
        material: &mut Material<'_>,
        batch: &mut Batch,
    ) {
        let start = out.len();
        out.raw("* ");
        out.number(number);
        out.raw(" FETCH (");
        let mut first = true;
        let mut separate = |out: &mut Output| {
            if !std::mem::take(&mut first) {
                out.raw(" ");
            }
        };
        // RFC 3501 §6.4.8: the answer to UID FETCH always has the UID; RFC 7162 §3.2.4: so has what sets \Seen unasked.
        let has_uid = self.numbers == Numbers::Uid || (newly_seen && self.with_modseq);
        if has_uid && !self.items.contains(&FetchItem::Uid) {
            separate(out);
            out.raw("UID ");
            out.number(message.uid.get());
        }
        for item in &self.items {
            if self.abandoned.load(Ordering::Relaxed) {
                break;
            }
            let is_text = matches!(item, FetchItem::Section { .. } | FetchItem::Rfc822(_) | FetchItem::Binary { .. });
            if is_text && out.len() - start > IMAP_ANSWER_OCTETS {
                out.truncate(start);
                material.large = None;
                batch.left_out.too_much = true;
                return;
            }
            separate(out);
            self.push_item(out, item, entry, message, material);
        }
        let asked = self.items.contains(&FetchItem::Flags);
        if newly_seen && !asked {
            separate(out);
            push_flags(out, &self.snapshot, message.flags, entry.recent);
        }
        if newly_seen && self.with_modseq && !self.items.contains(&FetchItem::ModSeq) {
            separate(out);
            push_modseq(out, message);
        }
        if newly_seen || asked {
            batch.told.push((message.uid, message.flags));
        }
        out.raw(")\r\n");
    }

    /// Items that are made of what a message says, or of the name of its file.
    fn push_derived<'a>(
        &self,
        out: &mut Output,
        item: &FetchItem,
        message: &Message,
        text: &[u8],
        strings: &dyn Fn(CacheKind) -> Option<&'a [u8]>,
    ) {
        match item {
            FetchItem::EmailId => {
                out.raw("EMAILID (");
                match strings(CacheKind::EmailId) {
                    Some(id) => out.append(id.to_vec()),
                    None => out.raw(&email_id_of(text, message)),
                }
                out.raw(")");
            }
            FetchItem::ThreadId => match thread_id(&text[..header_len(text)]) {
                Some(id) => out.raw(&format!("THREADID ({id})")),
                None => out.raw("THREADID NIL"),
            },
            FetchItem::SaveDate => {
                let saved = self.mailbox.saved(&[message.uid]).first().and_then(|(_, saved)| *saved);
                match saved {
                    Some(saved) => out.raw(&format!("SAVEDATE \"{}\"", internal_date(saved))),
                    None => out.raw("SAVEDATE NIL"),
                }
            }
            FetchItem::Preview { lazy } => {
                out.raw("PREVIEW ");
                match strings(CacheKind::Preview) {
                    Some(string) => out.string(string),
                    // RFC 8970 §3.1: NIL says that it is not at hand, and may be asked for later.
                    None if *lazy => out.raw("NIL"),
                    None => out.string(preview(text).as_bytes()),
                }
            }
            _ => {}
        }
    }

    fn push_item(
        &self,
        out: &mut Output,
        item: &FetchItem,
        entry: Entry,
        message: &Message,
        material: &mut Material<'_>,
    ) {
        let Material { text, strings, structure, large } = material;
        let text = *text;
        match item {
            FetchItem::Uid => {
                out.raw("UID ");
                out.number(message.uid.get());
            }
            FetchItem::ModSeq => push_modseq(out, message),
            FetchItem::EmailId | FetchItem::ThreadId | FetchItem::SaveDate | FetchItem::Preview { .. } => {
                self.push_derived(out, item, message, text, strings);
            }
            FetchItem::Flags => {
                push_flags(out, &self.snapshot, message.flags, entry.recent);
            }
            FetchItem::InternalDate => {
                out.raw(&format!("INTERNALDATE \"{}\"", internal_date(message.date().unwrap_or(0))));
            }
            FetchItem::Size => {
                out.raw("RFC822.SIZE ");
                out.number(message.wire_size().unwrap_or(0));
            }
            FetchItem::Envelope => {
                out.raw("ENVELOPE ");
                match strings(CacheKind::Envelope) {
                    Some(string) => out.append(string.to_vec()),
                    None => {
                        push_envelope(out, &HeaderEnvelope::read(&text[..header_len(text)]), self.characters);
                    }
                }
            }
            FetchItem::Body | FetchItem::BodyStructure => {
                let with = *item == FetchItem::BodyStructure;
                out.raw(if with { "BODYSTRUCTURE " } else { "BODY " });
                if let Some(string) = strings(if with { CacheKind::BodyStructure } else { CacheKind::Body }) {
                    return out.append(string.to_vec());
                }
                let structure = structure.get_or_insert_with(|| Structure::scan(text));
                let extensions = if with { Extensions::With } else { Extensions::Without };
                push_body(out, structure, text, extensions, self.characters);
            }
            FetchItem::Rfc822(what) => {
                out.raw(match what {
                    SectionText::Header => "RFC822.HEADER ",
                    SectionText::Text => "RFC822.TEXT ",
                    _ => "RFC822 ",
                });
                if large.as_mut().is_some_and(|large| large.announce(out, item)) {
                    return;
                }
                let section = Section { numbers: Vec::new(), text: what.clone() };
                push_section(out, text, &section, None, structure, large);
            }
            FetchItem::Section { section, partial, .. } => {
                out.raw("BODY[");
                out.append(section_name(section));
                out.raw("]");
                if let Some((from, _)) = partial {
                    out.raw(&format!("<{from}>"));
                }
                out.raw(" ");
                if large.as_mut().is_some_and(|large| large.announce(out, item)) {
                    return;
                }
                push_section(out, text, section, *partial, structure, large);
            }
            FetchItem::Binary { numbers, partial, .. } => {
                let structure = structure.get_or_insert_with(|| Structure::scan(text));
                push_binary_name(out, "BINARY", numbers, *partial);
                let (from, len) = partial.unwrap_or((0, u64::MAX));
                match decoded(structure, text, numbers) {
                    Ok(decoded) => decoded.write(out, from, len),
                    Err(_) => out.raw("NIL"),
                }
            }
            FetchItem::BinarySize(numbers) => {
                let structure = structure.get_or_insert_with(|| Structure::scan(text));
                push_binary_name(out, "BINARY.SIZE", numbers, None);
                out.number(decoded(structure, text, numbers).map_or(0, |decoded| decoded.size()));
            }
        }
    }
}

/// EMAILID of a message whose date is known. Reading from memory cannot fail.
fn email_id_of(text: &[u8], message: &Message) -> String {
    email_id(text, message.date().unwrap_or(0)).unwrap_or_default()
}

fn push_binary_name(out: &mut Output, name: &str, numbers: &[u32], partial: Option<(u64, u64)>) {
    out.raw(name);
    out.raw("[");
    out.append(section_name(&Section { numbers: numbers.to_vec(), text: SectionText::All }));
    out.raw("]");
    if let Some((from, _)) = partial {
        out.raw(&format!("<{from}>"));
    }
    out.raw(" ");
}

/// Whether a part is asked for without its encoding, and that is none we know (RFC 3516 §4.3).
fn asks_for_unknown_encoding(items: &[FetchItem], material: &mut Material<'_>) -> bool {
    items.iter().any(|item| {
        let (FetchItem::Binary { numbers, .. } | FetchItem::BinarySize(numbers)) = item else { return false };
        let structure = material.structure.get_or_insert_with(|| Structure::scan(material.text));
        !is_decodable(structure, numbers)
    })
}

fn push_section(
    out: &mut Output,
    text: &[u8],
    section: &Section,
    partial: Option<(u64, u64)>,
    structure: &mut Option<Structure>,
    large: &mut Option<Large>,
) {
    let (from, len) = partial.unwrap_or((0, u64::MAX));
    let found = if section.numbers.is_empty() && section.text == SectionText::All {
        // The whole message needs no structure.
        Some(Cow::Borrowed(text))
    } else {
        header_text(text, section).or_else(|| {
            let structure = structure.get_or_insert_with(|| Structure::scan(text));
            section_text(structure, text, section)
        })
    };
    match found {
        Some(found) if large.as_mut().is_some_and(|large| large.announce_part(out, text, &found, from, len)) => {}
        Some(found) => out.text_literal(&found, from, len),
        None => out.raw("NIL"),
    }
}

/// Reads a file up to the end of its header, and not much more.
fn read_header(mut file: impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut most = HEAD_OCTETS as u64;
    loop {
        let read = file.by_ref().take(most).read_to_end(&mut head)?;
        let end = header_len(&head);
        if end < head.len() || read == 0 {
            head.truncate(end);
            return Ok(head);
        }
        most = head.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_header_is_read() {
        for header in ["a: b\n\n", "a: b\r\n\r\n", "\n", ""] {
            let message = format!("{header}{}", "x\n".repeat(50_000));
            let read = read_header(message.as_bytes()).expect("memory");
            assert!(read.starts_with(header.as_bytes()));
            if !header.is_empty() {
                assert_eq!(read, header.as_bytes());
            }
        }
        let long = format!("{}\nbody", "a: b\n".repeat(20_000));
        assert_eq!(read_header(long.as_bytes()).expect("memory").len(), 100_001);
    }
}
