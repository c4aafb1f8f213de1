//! One live mailbox, shared by all sessions of the user and by deliveries.
//!
//! Its locks, always taken in this order, none ever held across an `await`:
//!
//! 1. `work`: one change at a time; held during file work, on blocking threads only;
//! 2. `folders`: the folders' time stamps and the deliveries without a UID; held for a few renames;
//! 3. `cache`, then `cache_mark`: the cache file; held while strings are appended;
//! 4. `shown`: what is in memory; held for moments, or shared for one walk over it.
//!
//! Only who holds `work` changes which messages are shown, their flags and the names of their files; what is learnt of
//! them (sizes, dates, places in the cache) comes without it. A message is shown when its line in the UID list is on
//! disk, so that its UID will never name another. After a panic while `work` is held the mailbox is read from disk
//! again.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;
use std::sync::Weak;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tokio::sync::watch;

use crate::fsio::Content;
use crate::mail::flags::Flags;
use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;
use crate::mail::mailbox::MailboxName;

use super::cache::Cache;
use super::cache::CacheMark;
use super::compressed::MessageFile;
use super::context::Context;
use super::context::Validities;
use super::context::blocking;
use super::context::lock;
use super::derived::Derived;
use super::error::Result;
use super::error::StoreError;
use super::events::Events;
use super::expunged::Expunged;
use super::expunged::Vanished;
use super::folder::Folders;
use super::folder::Stamp;
use super::keywords::Keywords;
use super::quota::Quota;
use super::snapshot::Copied;
use super::snapshot::FlagChange;
use super::snapshot::KeptFlags;
use super::snapshot::Snapshot;
use super::snapshot::Unchanged;
use super::table::Table;
use super::uidlist::Header;

/// A mailbox in memory. All methods that are not `async` and not `_blocking` return at once.
#[derive(Debug)]
pub struct Mailbox {
    /// Itself, for who wakes it.
    pub(super) me: Weak<Self>,
    pub(super) context: Arc<Context>,
    pub(super) validities: Arc<Validities>,
    pub(super) quota: Arc<Quota>,
    /// Where it says that something changed.
    events: Arc<Events>,
    pub(super) place: Mutex<Place>,
    work: Mutex<Work>,
    pub(super) folders: Mutex<Folders>,
    shown: RwLock<Shown>,
    version: watch::Sender<u64>,
    pub(super) publishing: AtomicBool,
    /// Another program did something since the last look.
    pub(super) touched: AtomicBool,
    pub(super) scans: AtomicU64,
    /// The cache file, once it is used; locked after `work` and before `shown`.
    pub(super) cache: Mutex<Option<Cache>>,
    /// What the index said of the cache file.
    pub(super) cache_mark: Mutex<CacheMark>,
    pub(super) flags_unsynced: AtomicBool,
}

/// Where it lies.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: MailboxName,
    pub(super) folder: PathBuf,
    pub(super) gone: bool,
}

/// What is known of the files beside the messages.
#[derive(Debug)]
pub(super) struct Work {
    /// `None` before the mailbox was read.
    pub(super) list: Option<ListState>,
    pub(super) keywords: Keywords,
    pub(super) keywords_stamp: Option<Stamp>,
    /// Fields of the UID list's lines, where there are any.
    pub(super) fields: HashMap<Uid, Box<[u8]>>,
    /// What is known of the derived files.
    pub(super) derived: Derived,
}

/// The UID list on disk.
#[derive(Debug)]
pub(super) struct ListState {
    pub(super) header: Header,
    pub(super) stamp: Option<Stamp>,
    /// Lines of messages that are gone.
    pub(super) dead: usize,
    /// Whether it must be written anew before anything is appended.
    pub(super) rewrite: bool,
}

/// What sessions see.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// The messages and their files.
    pub(super) table: Table,
    /// Those that went away.
    pub(super) expunged: Expunged,
    pub(super) validity: Option<UidValidity>,
    pub(super) next: Option<Uid>,
    pub(super) keywords: Arc<[String]>,
    pub(super) version: u64,
    pub(super) highest_modseq: u64,
    /// Made when asked for, once per change.
    snapshot: Option<Arc<Snapshot>>,
}

impl Mailbox {
    /// A mailbox that was not read yet.
    pub(super) fn new(
        me: Weak<Self>,
        context: Arc<Context>,
        validities: Arc<Validities>,
        quota: Arc<Quota>,
        events: Arc<Events>,
        name: MailboxName,
        folder: PathBuf,
    ) -> Self {
        Self {
            me,
            context,
            validities,
            quota,
            events,
            place: Mutex::new(Place { name, folder, gone: false }),
            work: Mutex::new(Work {
                list: None,
                keywords: Keywords::none(),
                keywords_stamp: None,
                fields: HashMap::new(),
                derived: Derived::default(),
            }),
            folders: Mutex::default(),
            shown: RwLock::default(),
            version: watch::Sender::new(0),
            publishing: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            scans: AtomicU64::new(0),
            cache: Mutex::default(),
            cache_mark: Mutex::default(),
            flags_unsynced: AtomicBool::new(false),
        }
    }

    /// Its name now: it may be renamed while it is selected.
    #[must_use]
    pub fn name(&self) -> MailboxName {
        lock(&self.place).name.clone()
    }

    /// What is known now, without a look at the disk.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        if let Some(snapshot) = &self.shown().snapshot {
            return Arc::clone(snapshot);
        }
        let mut shown = self.shown_mut();
        if let Some(snapshot) = &shown.snapshot {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(Snapshot {
            version: shown.version,
            // Nobody gets a mailbox before it was read; see `AccountStore::mailbox`.
            validity: shown.validity.unwrap_or_else(|| std::num::NonZeroU32::MIN.into()),
            next: shown.next.unwrap_or(Uid::FIRST),
            messages: shown.table.messages(),
            keywords: Arc::clone(&shown.keywords),
            highest_modseq: shown.highest_modseq,
        });
        shown.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// [`Snapshot::version`] as it grows. While somebody has such a receiver, deliveries are shown by themselves.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Whether it was deleted here.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        lock(&self.place).gone
    }

    /// Whether the kernel tells of what other programs do to its messages, so that nobody need look.
    #[must_use]
    pub fn is_told_of_changes(&self) -> bool {
        lock(&self.folders).is_watched()
    }

    /// What identifies it for as long as it lives, whatever its name (RFC 8474 §4): the id that Dovecot keeps too.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn object_id(self: &Arc<Self>) -> Result<String> {
        if let Some(id) = self.known_object_id() {
            return Ok(id);
        }
        let this = Arc::clone(self);
        blocking(move || this.object_id_blocking()).await
    }

    /// Looks for changes by other programs, and shows new messages. For NOOP, CHECK, SELECT and the timer of IDLE.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`] where it was deleted; what the file system says.
    pub async fn refresh(self: &Arc<Self>) -> Result<Arc<Snapshot>> {
        let this = Arc::clone(self);
        blocking(move || this.refresh_blocking()).await
    }

    /// Which UIDs went away after a mod-sequence; for VANISHED (EARLIER) (RFC 7162 §3.2.10.1). Take it after the
    /// snapshot in whose light it is told.
    #[must_use]
    pub fn vanished_since(&self, modseq: u64) -> Vanished {
        self.shown().expunged.since(modseq)
    }

    /// How often its folders were read as a whole since it is in memory: seldom, or something is wrong.
    #[must_use]
    pub fn scans(&self) -> u64 {
        self.scans.load(Ordering::Relaxed)
    }

    /// The messages that no session was told of, which are `\Recent` for the caller and nobody else after this. They
    /// move to `cur/`.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn claim_recent(self: &Arc<Self>) -> Result<Vec<Uid>> {
        let this = Arc::clone(self);
        blocking(move || this.claim_recent_blocking()).await
    }

    /// Changes flags. UIDs that are not there are passed over. Durable within a second.
    ///
    /// `validity`, here and in the next three: what the caller's UIDs are of. Under another one they name other
    /// messages, and nothing is done.
    ///
    /// # Errors
    /// [`StoreError::MessageGone`] under another validity;     /// [`StoreError::KeywordLimit`]; what the file system says, in which case some may have changed.
    pub async fn store(
        self: &Arc<Self>,
        validity: UidValidity,
        uids: &[Uid],
        change: FlagChange,
    ) -> Result<Arc<Snapshot>> {
        let (this, uids) = (Arc::clone(self), uids.to_vec());
        blocking(move || this.store_blocking(validity, &uids, &change)).await
    }

    /// As [`Mailbox::store`], but leaves messages alone that have changed (RFC 7162 §3.1.3), and tells which those are.
    /// Nothing comes between the look at it and the change.
    ///
    /// # Errors
    /// As there.
    pub async fn store_if(
        self: &Arc<Self>,
        validity: UidValidity,
        uids: &[Uid],
        change: FlagChange,
        unchanged: Option<Unchanged>,
    ) -> Result<(Arc<Snapshot>, Vec<Uid>)> {
        let (this, uids) = (Arc::clone(self), uids.to_vec());
        blocking(move || this.store_if_blocking(validity, &uids, &change, unchanged.as_ref())).await
    }

    /// Removes messages for good and returns the UIDs of those that were there. Durable.
    ///
    /// # Errors
    /// What the file system says, in which case some may be gone.
    pub async fn expunge(self: &Arc<Self>, validity: UidValidity, uids: &[Uid]) -> Result<Vec<Uid>> {
        let (this, uids) = (Arc::clone(self), uids.to_vec());
        blocking(move || this.expunge_blocking(validity, &uids)).await
    }

    /// Copies messages with their dates and these of their flags: all or none. UIDs that are not there are passed over.
    /// Durable.
    ///
    /// # Errors
    /// What the file system says; [`StoreError::KeywordLimit`] of the destination; [`StoreError::OverQuota`].
    pub async fn copy(
        self: &Arc<Self>,
        validity: UidValidity,
        uids: &[Uid],
        to: &Arc<Self>,
        kept: KeptFlags,
    ) -> Result<Copied> {
        let (this, uids, to) = (Arc::clone(self), uids.to_vec(), Arc::clone(to));
        blocking(move || this.copy_blocking(validity, &uids, &to, kept)).await
    }

    /// Copies, then removes what was copied. Durable. Within one account never stopped by its quota.
    ///
    /// # Errors
    /// As [`Mailbox::copy`]; if only the removal fails, messages are in both mailboxes.
    pub async fn move_to(
        self: &Arc<Self>,
        validity: UidValidity,
        uids: &[Uid],
        to: &Arc<Self>,
        kept: KeptFlags,
    ) -> Result<Copied> {
        let (this, uids, to) = (Arc::clone(self), uids.to_vec(), Arc::clone(to));
        blocking(move || this.move_blocking(validity, &uids, &to, kept)).await
    }

    /// Adds a message; `date` is its INTERNALDATE, now by default. Durable.
    ///
    /// # Errors
    /// What the file system says; [`StoreError::KeywordLimit`]; [`StoreError::OverQuota`].
    pub async fn append(
        self: &Arc<Self>,
        content: Content,
        flags: Flags,
        keywords: &[String],
        date: Option<SystemTime>,
    ) -> Result<Uid> {
        let (this, keywords) = (Arc::clone(self), keywords.to_vec());
        blocking(move || this.append_blocking(&content, flags, &keywords, date)).await
    }

    /// The bytes of a message as on disk, decompressed where another server compressed them: LF, or CRLF where the
    /// file has it.
    ///
    /// # Errors
    /// [`StoreError::MessageGone`]; what the file system says.
    pub async fn read(self: &Arc<Self>, uid: Uid) -> Result<Vec<u8>> {
        let this = Arc::clone(self);
        blocking(move || this.read_blocking(uid)).await
    }

    /// The file of a message, read as the message where another server compressed it.
    ///
    /// # Errors
    /// As [`Mailbox::read`].
    pub async fn open_message(self: &Arc<Self>, uid: Uid) -> Result<MessageFile> {
        let this = Arc::clone(self);
        blocking(move || this.open_message_blocking(uid)).await
    }

    /// Octets on the wire of those of the messages that are there; later snapshots have them too. Reads the files
    /// whose names do not tell.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn sizes(self: &Arc<Self>, uids: &[Uid]) -> Result<Vec<(Uid, u64)>> {
        let (this, uids) = (Arc::clone(self), uids.to_vec());
        blocking(move || this.sizes_blocking(&uids)).await
    }

    /// INTERNALDATE, seconds since 1970, of those of the messages that are there; later snapshots have them too.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn dates(self: &Arc<Self>, uids: &[Uid]) -> Result<Vec<(Uid, i64)>> {
        let (this, uids) = (Arc::clone(self), uids.to_vec());
        blocking(move || this.dates_blocking(&uids)).await
    }

    /// The POP3 UIDLs that were saved for messages, in the `P` fields of `dovecot-uidlist`, by a server from which the
    /// mailbox came. Most mailboxes have none.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn saved_uidls(self: &Arc<Self>) -> Result<HashMap<Uid, Box<str>>> {
        let this = Arc::clone(self);
        blocking(move || this.saved_uidls_blocking()).await
    }

    /// How many messages are in memory.
    pub(super) fn len(&self) -> usize {
        self.shown().table.len()
    }

    /// The folder, unless the mailbox was deleted.
    pub(super) fn folder(&self) -> Result<PathBuf> {
        let place = lock(&self.place);
        if place.gone { Err(StoreError::NoSuchMailbox) } else { Ok(place.folder.clone()) }
    }

    /// The right to change. After a panic of another who had it, nothing in memory is believed.
    pub(super) fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(|poisoned| {
            self.work.clear_poison();
            let mut work = poisoned.into_inner();
            work.list = None;
            lock(&self.folders).reset();
            work
        })
    }

    /// Whether UIDs of this validity name messages of this mailbox now. For who holds `work`.
    pub(super) fn check_validity(&self, validity: UidValidity) -> Result<()> {
        if self.shown().validity == Some(validity) { Ok(()) } else { Err(StoreError::MessageGone) }
    }

    /// The right to change, if nobody has it.
    pub(super) fn try_work(&self) -> Option<MutexGuard<'_, Work>> {
        self.work.try_lock().ok()
    }

    /// What is shown, to look at.
    pub(super) fn shown(&self) -> RwLockReadGuard<'_, Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is shown, to change.
    pub(super) fn shown_mut(&self) -> RwLockWriteGuard<'_, Shown> {
        self.shown.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next mod-sequence.
    pub(super) fn next_modseq(&self, shown: &Shown) -> u64 {
        self.next_modseq_after(shown.highest_modseq)
    }

    /// A mod-sequence above all before, and near the clock, so that it grows over a restart (RFC 7162 §3.1).
    pub(super) fn next_modseq_after(&self, highest: u64) -> u64 {
        let micros = u64::try_from(self.context.clock.since_epoch().as_micros()).unwrap_or(u64::MAX >> 2);
        micros.max(highest.saturating_add(1))
    }

    /// Whether anybody waits for changes.
    pub(super) fn is_watched(&self) -> bool {
        self.version.receiver_count() > 0
    }

    /// Wakes who waits: the mailbox is gone.
    pub(super) fn wake(&self) {
        self.version.send_modify(|_| ());
        self.events.touched();
    }

    /// Ends a change of what is shown: the next snapshot is a new one, and who waits is woken.
    pub(super) fn changed(&self, mut shown: RwLockWriteGuard<'_, Shown>, modseq: u64) {
        shown.highest_modseq = shown.highest_modseq.max(modseq);
        shown.version += 1;
        shown.snapshot = None;
        let version = shown.version;
        drop(shown);
        self.version.send_replace(version);
        self.events.touched();
    }
}

impl Shown {
    /// Something was learnt about a message that has not changed.
    pub(super) fn learnt(&mut self) {
        self.snapshot = None;
    }

    /// Remembers expunges of messages that are no longer in the table, by ascending UID.
    pub(super) fn remember_gone(&mut self, modseq: u64, gone: &[Uid]) {
        let table = &self.table;
        self.expunged.add(modseq, gone, |a, b| !table.has_between(a, b));
    }
}
