//! What all accounts of a store share: the clock, this machine's name, the folder syncs, the live mailboxes.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU32;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::clock::Clock;
use crate::mail::ids::UidValidity;
use crate::mail::limits::MAILBOXES_KEPT;
use crate::mail::limits::MESSAGES_KEPT;

use super::commit::FolderSyncs;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::journal::Boot;
use super::mailbox::Mailbox;
use super::quota::Quotas;
use super::watch::Watcher;

/// Shared by all of one store.
#[derive(Debug)]
pub(super) struct Context {
    /// The time.
    pub(super) clock: Clock,
    /// Part of file names.
    pub(super) host: String,
    /// Where derived files lie; nothing is kept where there is no such folder.
    pub(super) state: Option<PathBuf>,
    /// Which start of the machine this is, where that can be told.
    pub(super) boot: Option<Boot>,
    /// Tells of what other programs do.
    pub(super) watcher: Option<Arc<Watcher>>,
    /// Folder syncs under way.
    pub(super) syncs: FolderSyncs,
    /// How much each account holds and may hold.
    pub(super) quotas: Quotas,
    /// Grows when an account begins to share mailboxes.
    pub(super) sharers: AtomicU64,
    /// The mailboxes that are in memory, by their folder.
    live: Mutex<HashMap<PathBuf, Weak<Mailbox>>>,
    /// Those that stay although nobody holds them, the last used at the back.
    kept: Mutex<VecDeque<Arc<Mailbox>>>,
}

impl Context {
    /// Nothing live yet.
    pub(super) fn new(clock: Clock, state: Option<PathBuf>) -> Self {
        Self {
            quotas: Quotas::new(clock.clone()),
            state,
            boot: boot(),
            watcher: Watcher::new(),
            host: file_name::host(),
            syncs: FolderSyncs::new(clock.clone()),
            sharers: AtomicU64::new(0),
            live: Mutex::default(),
            kept: Mutex::default(),
            clock,
        }
    }

    /// The mailbox of this folder, if it is in memory.
    pub(super) fn live(&self, folder: &Path) -> Option<Arc<Mailbox>> {
        lock(&self.live).get(folder).and_then(Weak::upgrade)
    }

    /// The mailbox of this folder: the one in memory, or what `make` makes, which then is in memory.
    pub(super) fn live_or(&self, folder: &Path, make: impl FnOnce(Weak<Mailbox>) -> Mailbox) -> Arc<Mailbox> {
        let mut live = lock(&self.live);
        if let Some(mailbox) = live.get(folder).and_then(Weak::upgrade) {
            return mailbox;
        }
        if live.len() >= 2 * MAILBOXES_KEPT {
            live.retain(|_, mailbox| mailbox.strong_count() > 0);
        }
        let mailbox = Arc::new_cyclic(|me| make(me.clone()));
        live.insert(folder.to_owned(), Arc::downgrade(&mailbox));
        mailbox
    }

    /// The folder was renamed or is gone: returns the mailbox that was live there.
    pub(super) fn forget(&self, folder: &Path) -> Option<Arc<Mailbox>> {
        let mailbox = lock(&self.live).remove(folder).and_then(|m| m.upgrade());
        if let Some(mailbox) = &mailbox {
            lock(&self.kept).retain(|kept| !Arc::ptr_eq(kept, mailbox));
        }
        mailbox
    }

    /// The folder was renamed to this.
    pub(super) fn moved(&self, folder: &Path, mailbox: &Arc<Mailbox>) {
        lock(&self.live).insert(folder.to_owned(), Arc::downgrade(mailbox));
    }

    /// Keeps a mailbox that was just used, and lets go of those that were not for long.
    pub(super) fn keep(&self, mailbox: &Arc<Mailbox>) {
        let mut gone = Vec::new();
        let mut kept = lock(&self.kept);
        kept.retain(|k| !Arc::ptr_eq(k, mailbox));
        kept.push_back(Arc::clone(mailbox));
        let mut messages: usize = kept.iter().map(|k| k.len()).sum();
        while kept.len() > 1 && (kept.len() > MAILBOXES_KEPT || messages > MESSAGES_KEPT) {
            let Some(oldest) = kept.pop_front() else { break };
            messages = messages.saturating_sub(oldest.len());
            gone.push(oldest);
        }
        drop(kept);
        for mailbox in gone {
            mailbox.close();
        }
    }

    /// The mailboxes in memory whose folder is `maildir` or lies in it; none of them is kept any longer.
    pub(super) fn let_go_below(&self, maildir: &Path) -> Vec<Arc<Mailbox>> {
        let below: Vec<Arc<Mailbox>> = {
            let live = lock(&self.live);
            live.iter().filter(|(folder, _)| folder.starts_with(maildir)).filter_map(|(_, m)| m.upgrade()).collect()
        };
        lock(&self.kept).retain(|kept| !below.iter().any(|m| Arc::ptr_eq(kept, m)));
        below
    }

    /// The mailboxes in memory.
    pub(super) fn all(&self) -> Vec<Arc<Mailbox>> {
        lock(&self.live).values().filter_map(Weak::upgrade).collect()
    }

    /// Lets go of all mailboxes that nobody holds.
    pub(super) fn keep_none(&self) {
        let all = std::mem::take(&mut *lock(&self.kept));
        drop(all);
    }

    /// A file name that no other message ever had, up to its size fields.
    pub(super) fn unique(&self) -> String {
        file_name::unique(self.clock.since_epoch(), &self.host)
    }

    /// Syncs a folder, together with others who do.
    pub(super) fn sync(&self, folder: &Path) -> Result<()> {
        self.syncs.sync(folder).map_err(StoreError::io("syncing a folder"))
    }
}

/// Linux makes a random number at each start.
fn boot() -> Option<Boot> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    data_encoding::HEXLOWER.decode(digits.as_bytes()).ok()?.try_into().ok()
}

/// The last UIDVALIDITY that an account gave out, so that a mailbox made again in the same second gets another.
#[derive(Debug, Default)]
pub(super) struct Validities(AtomicU32);

impl Validities {
    /// The time, though above every one before and above `floor`.
    pub(super) fn new_one(&self, clock: &Clock, floor: Option<UidValidity>) -> UidValidity {
        let now = u32::try_from(clock.since_epoch().as_secs()).unwrap_or(u32::MAX);
        let above = |last: u32| now.max(last.saturating_add(1)).max(floor.map_or(1, |f| f.get().saturating_add(1)));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(above(last)));
        let (Ok(last) | Err(last)) = last;
        UidValidity::from(NonZeroU32::new(above(last)).unwrap_or(NonZeroU32::MIN))
    }

    /// A mailbox of this validity was removed: the next of its name must have a larger one.
    pub(super) fn removed(&self, validity: UidValidity) {
        self.0.fetch_max(validity.get(), Ordering::Relaxed);
    }
}

/// Locks what has no invariant that a panic could break: every change of it is one assignment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does file work on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Io { doing: "what a bug ended early", source: io::Error::other(error) }),
    }
}
