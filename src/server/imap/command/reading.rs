//! Messages as searches see them: what the table knows, and behind it the file, opened only when something in it is
//! asked for. Headers come from the cache where it has them, and go there, so that the next such command opens no file.
//!
//! Knows nothing of what is looked for.

use std::io;
use std::io::Read;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;

use super::progress::Progress;
use crate::clock::Clock;
use crate::mail::flags::Flags;
use crate::mail::ids::Uid;
use crate::mail::limits::CACHE_RECORD_OCTETS;
use crate::mail::limits::IMAP_BATCH_OCTETS;
use crate::mail::limits::SEARCH_WHOLE_OCTETS;
use crate::message::casemap::Needle;
use crate::message::fields::header_len;
use crate::message::sieve;
use crate::protocol::imap::matching::Candidate;
use crate::protocol::imap::matching::Listed;
use crate::protocol::imap::matching::Scratch;
use crate::protocol::imap::view::Entry;
use crate::server::imap::selected::Selected;
use crate::server::imap::selected::keyword_slot;
use crate::store::CacheEntry;
use crate::store::CacheKind;
use crate::store::CacheReader;
use crate::store::Look;
use crate::store::Mailbox;
use crate::store::Message;
use crate::store::MessageFile;
use crate::store::Snapshot;
use crate::store::StoreError;
use crate::store::scan;

/// First read of a file; most messages are not much longer.
const HEAD_OCTETS: usize = 16_384;

/// Held while a message beyond [`SEARCH_WHOLE_OCTETS`] is in memory.
static LARGE: Mutex<()> = Mutex::new(());

/// A mailbox as it was when a command began.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) snapshot: Arc<Snapshot>,
    /// The messages that the client sees, by their numbers.
    pub(super) entries: Vec<Entry>,
    /// How far the command is.
    pub(super) progress: Arc<Progress>,
}

impl Ground {
    /// The selected mailbox.
    ///
    /// # Errors
    /// It is another one than that which was selected: its UIDs mean other messages.
    pub(super) fn selected(selected: &Selected) -> Result<Arc<Self>, StoreError> {
        let snapshot = selected.mailbox.snapshot();
        if snapshot.validity != selected.snapshot.validity {
            return Err(StoreError::MessageGone);
        }
        let (mailbox, entries) = (Arc::clone(&selected.mailbox), selected.view.entries().to_vec());
        Ok(Arc::new(Self { mailbox, snapshot, entries, progress: Arc::default() }))
    }

    /// A mailbox that need not be selected, with all its messages.
    pub(super) fn unselected(mailbox: Arc<Mailbox>, progress: Arc<Progress>) -> Arc<Self> {
        let snapshot = mailbox.snapshot();
        let entry = |m: &Message| Entry { uid: m.uid, flags: m.flags, recent: m.is_recent() };
        let entries = snapshot.messages.iter().map(entry).collect();
        Arc::new(Self { mailbox, snapshot, entries, progress })
    }

    /// The message at a place, the first of which is 0; `None` where it is gone.
    pub(super) fn listed(&self, at: usize) -> Option<InTable<'_>> {
        let entry = self.entries.get(at)?;
        let message = self.snapshot.find(entry.uid)?;
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        Some(InTable { snapshot: &self.snapshot, message, number, recent: entry.recent })
    }
}

/// What is done with each message.
pub(super) trait Task: Send + Sync + 'static {
    /// What comes of it.
    type Found: Send + 'static;

    /// Looks at one; nobody waits for what it finds once `given_up` is set.
    ///
    /// # Errors
    /// What reading says.
    fn on(
        &self,
        message: &mut InFile<'_>,
        scratch: &mut Scratch,
        given_up: &AtomicBool,
    ) -> Result<Option<Self::Found>, StoreError>;
}

/// Does `task` with the messages at `places`, on all cores, given up when the future is dropped. Messages that are gone
/// are passed over.
///
/// # Errors
/// The first that reading has.
pub(super) async fn each<T: Task>(
    ground: &Arc<Ground>,
    places: Vec<usize>,
    task: T,
    clock: Clock,
) -> Result<Vec<T::Found>, StoreError> {
    let count = places.len();
    scan(Files { ground: Arc::clone(ground), places, task }, count, clock).await
}

/// The messages that are looked at.
struct Files<T> {
    ground: Arc<Ground>,
    places: Vec<usize>,
    task: T,
}

impl<T: Task> Look for Files<T> {
    type Worker = Worker;
    type Found = T::Found;

    fn look(&self, worker: &mut Worker, at: usize, given_up: &AtomicBool) -> Result<Option<T::Found>, StoreError> {
        self.ground.progress.advance(1);
        let Some(listed) = self.places.get(at).and_then(|at| self.ground.listed(*at)) else { return Ok(None) };
        let mut scratch = std::mem::take(&mut worker.scratch);
        let mut read = InFile {
            mailbox: &self.ground.mailbox,
            listed,
            worker,
            file: None,
            filled: 0,
            held: Held::Nothing,
            large: None,
            has_sieve: None,
        };
        let found = self.task.on(&mut read, &mut scratch, given_up);
        let large = read.large.take();
        drop(read);
        worker.scratch = scratch;
        worker.room.truncate(SEARCH_WHOLE_OCTETS);
        worker.room.shrink_to(SEARCH_WHOLE_OCTETS);
        drop(large);
        if worker.kept_octets > IMAP_BATCH_OCTETS {
            self.remember(worker);
        }
        match found {
            Err(StoreError::MessageGone) => Ok(None),
            found => found,
        }
    }

    fn pause(&self, worker: &mut Worker) {
        self.remember(worker);
        // Another batch may write the cache file anew meanwhile.
        worker.reader = None;
    }
}

impl<T> Files<T> {
    fn remember(&self, worker: &mut Worker) {
        worker.kept_octets = 0;
        self.ground.mailbox.remember(self.ground.snapshot.validity, std::mem::take(&mut worker.kept));
    }
}

/// A message as the table has it.
#[derive(Clone, Copy)]
pub(super) struct InTable<'a> {
    snapshot: &'a Snapshot,
    pub(super) message: &'a Message,
    number: u32,
    recent: bool,
}

impl Listed for InTable<'_> {
    fn number(&self) -> u32 {
        self.number
    }

    fn uid(&self) -> u32 {
        self.message.uid.get()
    }

    fn flags(&self) -> Flags {
        self.message.flags
    }

    fn has_keyword(&self, name: &str) -> bool {
        keyword_slot(self.snapshot, name).is_some_and(|slot| self.message.flags.has_keyword(slot))
    }

    fn is_recent(&self) -> bool {
        self.recent
    }

    fn known_date(&self) -> Option<i64> {
        self.message.date()
    }

    fn known_size(&self) -> Option<u64> {
        self.message.wire_size()
    }

    fn mod_sequence(&self) -> u64 {
        self.message.modseq
    }
}

/// What a searching thread keeps from message to message.
#[derive(Default)]
pub(super) struct Worker {
    scratch: Scratch,
    /// Room for a message, or for its header from the cache.
    room: Vec<u8>,
    reader: Option<CacheReader>,
    /// Headers and sieves for the cache, and their octets.
    kept: Vec<CacheEntry>,
    kept_octets: usize,
}

impl Worker {
    fn keep(&mut self, uid: Uid, kind: CacheKind, octets: Vec<u8>) {
        self.kept_octets += octets.len();
        match self.kept.last_mut() {
            // One record a message.
            Some((last, strings)) if *last == uid => strings.push((kind, octets)),
            _ => self.kept.push((uid, vec![(kind, octets)])),
        }
    }
}

/// What the room of a worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// A header of so many octets; behind it may be more of the file.
    Header(usize),
    Whole,
}

/// A message with its file, which is opened when something in it is asked for.
pub(super) struct InFile<'a> {
    mailbox: &'a Arc<Mailbox>,
    pub(super) listed: InTable<'a>,
    worker: &'a mut Worker,
    file: Option<MessageFile>,
    /// Octets of the file in the worker's room.
    filled: usize,
    held: Held,
    large: Option<MutexGuard<'static, ()>>,
    /// Whether the cache has a sieve; none before it was looked for.
    has_sieve: Option<bool>,
}

impl InFile<'_> {
    fn uid(&self) -> Uid {
        self.listed.message.uid
    }

    /// Reads on until `most` octets are there; `true` at the end of the file.
    fn fill(&mut self, most: usize) -> Result<bool, StoreError> {
        let uid = self.uid();
        if self.file.is_none() {
            self.file = Some(self.mailbox.open_message_blocking(uid)?);
            self.filled = 0;
        }
        let (Some(file), room) = (self.file.as_mut(), &mut self.worker.room) else {
            return Err(StoreError::MessageGone);
        };
        while self.filled < most {
            if self.filled == room.len() {
                room.resize((room.len() * 2).max(HEAD_OCTETS), 0);
            }
            let end = room.len().min(most);
            match file.read(&mut room[self.filled..end]) {
                Ok(0) => return Ok(true),
                Ok(n) => self.filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.mailbox.unread(uid, error)),
            }
        }
        Ok(false)
    }

    /// Waits until no other large message is in memory. The guard is kept for as long as this message is, and taken
    /// once: the lock would wait for itself.
    fn be_the_large_one(&mut self) {
        if self.large.is_none() {
            self.large = Some(LARGE.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The header from the cache, if it is there.
    fn cached_header(&mut self) -> Option<usize> {
        let uid = self.uid();
        let reader = self.worker.reader.get_or_insert_with(|| self.mailbox.cache_reader());
        let header = reader.get(uid)?.get(CacheKind::Header)?;
        let room = &mut self.worker.room;
        if room.len() < header.len() {
            room.resize(header.len(), 0);
        }
        room[..header.len()].copy_from_slice(header);
        Some(header.len())
    }

    /// Reads the file up to the end of the header, and keeps that for the cache.
    fn read_header(&mut self) -> Result<usize, StoreError> {
        let mut most = HEAD_OCTETS;
        loop {
            let at_end = self.fill(most)?;
            let len = header_len(&self.worker.room[..self.filled]);
            if at_end || len < self.filled {
                if len <= CACHE_RECORD_OCTETS / 2 {
                    let header = self.worker.room[..len].to_vec();
                    self.worker.keep(self.uid(), CacheKind::Header, header);
                }
                return Ok(len);
            }
            most = most.saturating_mul(2);
            if most > SEARCH_WHOLE_OCTETS {
                // A message without an empty line is all header.
                self.be_the_large_one();
            }
        }
    }
}

impl Listed for InFile<'_> {
    fn number(&self) -> u32 {
        self.listed.number()
    }

    fn uid(&self) -> u32 {
        self.listed.uid()
    }

    fn flags(&self) -> Flags {
        self.listed.flags()
    }

    fn has_keyword(&self, name: &str) -> bool {
        self.listed.has_keyword(name)
    }

    fn is_recent(&self) -> bool {
        self.listed.is_recent()
    }

    fn known_date(&self) -> Option<i64> {
        self.listed.known_date()
    }

    fn known_size(&self) -> Option<u64> {
        self.listed.known_size()
    }

    fn mod_sequence(&self) -> u64 {
        self.listed.mod_sequence()
    }
}

impl Candidate for InFile<'_> {
    type Error = StoreError;

    fn date(&mut self) -> Result<i64, StoreError> {
        one(self.mailbox.dates_blocking(&[self.uid()])?)
    }

    fn saved(&mut self) -> Result<Option<i64>, StoreError> {
        one(self.mailbox.saved(&[self.uid()]))
    }

    fn size(&mut self) -> Result<u64, StoreError> {
        one(self.mailbox.sizes_blocking(&[self.uid()])?)
    }

    fn header(&mut self) -> Result<&[u8], StoreError> {
        if self.held == Held::Whole {
            let message = &self.worker.room[..self.filled];
            return Ok(&message[..header_len(message)]);
        }
        let len = match self.held {
            Held::Header(len) => len,
            Held::Nothing | Held::Whole => match self.cached_header() {
                Some(len) => len,
                None => self.read_header()?,
            },
        };
        self.held = Held::Header(len);
        Ok(&self.worker.room[..len])
    }

    fn may_have(&mut self, needle: &Needle) -> bool {
        let uid = self.uid();
        let reader = self.worker.reader.get_or_insert_with(|| self.mailbox.cache_reader());
        let cached = reader.get(uid);
        let sieve = cached.and_then(|cached| cached.get(CacheKind::Sieve));
        self.has_sieve = Some(sieve.is_some());
        sieve.is_none_or(|sieve| sieve::may_have(sieve, needle))
    }

    fn wants_sieve(&mut self) -> bool {
        self.has_sieve == Some(false) && self.listed.known_size().is_none_or(|size| size <= SEARCH_WHOLE_OCTETS as u64)
    }

    fn keep_sieve(&mut self, sieve: Vec<u8>) {
        let uid = self.uid();
        self.worker.keep(uid, CacheKind::Sieve, sieve);
    }

    fn message(&mut self) -> Result<&[u8], StoreError> {
        if self.held != Held::Whole {
            let is_whole = self.fill(SEARCH_WHOLE_OCTETS)?;
            if !is_whole {
                self.be_the_large_one();
                self.fill(usize::MAX)?;
            }
            self.held = Held::Whole;
        }
        Ok(&self.worker.room[..self.filled])
    }
}

fn one<T>(found: Vec<(Uid, T)>) -> Result<T, StoreError> {
    found.into_iter().next().map(|(_, value)| value).ok_or(StoreError::MessageGone)
}
