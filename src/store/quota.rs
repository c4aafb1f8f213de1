//! How much an account holds, and whether more may come: reserve first, then commit. Who only asks takes nothing.
//!
//! One [`Quota`] per Maildir, shared by all who change it. Usage is counted from the names in the folders when somebody
//! first asks, and kept in memory from then on; an account without limits is never counted unless asked for.
//!
//! Two locks. `files` is held shared by whoever gives a message file a name, renames or removes one, from before the
//! change until it is in the books, and alone by whoever counts: a count sees every change of ours as a whole or not
//! at all. It is taken after the lock of the tree and `work` of a mailbox, and before `folders`; nobody takes it twice.
//! `books` is held for moments, with nothing taken inside.
//!
//! Other programs keep no books. What they did is found by counting again: every [`QUOTA_RECOUNT`], and after
//! [`QUOTA_RECOUNT_PAUSE`] where a mailbox saw them at work, or before anything is refused.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::fsio;
use crate::mail::limits::MAILBOX_DEPTH;
use crate::mail::limits::QUOTA_RECOUNT;
use crate::mail::limits::QUOTA_RECOUNT_PAUSE;
use crate::mail::limits::QUOTA_WARNINGS_WAITING;
use crate::mail::quota::OwnLimits;
use crate::mail::quota::QuotaLimits;
use crate::mail::quota::Usage;

use super::context::lock;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::layout::OURS;
use super::load::read_small;

/// An account has reached a percentage of which its owner is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaWarning {
    /// The Maildir of the account.
    pub maildir: PathBuf,
    /// What it holds.
    pub usage: Usage,
    /// What it may hold.
    pub limits: QuotaLimits,
}

/// Lies in the Maildir of an account whose owner set limits himself.
const OWN_FILE: &str = "facteur-quota";

/// What cannot be read limits nothing: nobody is locked out of his account.
fn read_own(maildir: &Path) -> OwnLimits {
    let text = read_small(&maildir.join(OWN_FILE)).ok().flatten().unwrap_or_default();
    OwnLimits::parse(&String::from_utf8_lossy(&text))
}

/// The quotas of all accounts of a store.
#[derive(Debug)]
pub(super) struct Quotas {
    clock: Clock,
    accounts: Mutex<Accounts>,
    warnings: mpsc::Sender<QuotaWarning>,
    /// Until somebody takes it.
    warned: Mutex<Option<mpsc::Receiver<QuotaWarning>>>,
}

#[derive(Debug, Default)]
struct Accounts {
    limits: HashMap<PathBuf, QuotaLimits>,
    quotas: HashMap<PathBuf, Arc<Quota>>,
}

impl Quotas {
    /// No limits for anybody.
    pub(super) fn new(clock: Clock) -> Self {
        let (warnings, warned) = mpsc::channel(QUOTA_WARNINGS_WAITING);
        Self { clock, accounts: Mutex::default(), warnings, warned: Mutex::new(Some(warned)) }
    }

    /// That of a Maildir.
    pub(super) fn of(&self, maildir: &Path) -> Arc<Quota> {
        let mut accounts = lock(&self.accounts);
        if let Some(quota) = accounts.quotas.get(maildir) {
            return Arc::clone(quota);
        }
        let given = accounts.limits.get(maildir).cloned().unwrap_or_default();
        let own = read_own(maildir);
        let quota = Arc::new(Quota {
            maildir: maildir.to_owned(),
            clock: self.clock.clone(),
            warnings: self.warnings.clone(),
            files: RwLock::default(),
            books: Mutex::new(Books { limits: given.narrowed(&own), given, own, ..Books::default() }),
        });
        accounts.quotas.insert(maildir.to_owned(), Arc::clone(&quota));
        quota
    }

    /// Puts limits into force at once, for those who are named; all others have none.
    pub(super) fn set(&self, limits: HashMap<PathBuf, QuotaLimits>) {
        let mut accounts = lock(&self.accounts);
        accounts.limits = limits;
        let Accounts { limits, quotas } = &mut *accounts;
        quotas.retain(|maildir, quota| {
            quota.set(limits.get(maildir).cloned().unwrap_or_default());
            limits.contains_key(maildir) || Arc::strong_count(quota) > 1
        });
    }

    /// Where warnings come out; once.
    pub(super) fn take_warnings(&self) -> Option<mpsc::Receiver<QuotaWarning>> {
        lock(&self.warned).take()
    }
}

/// The quota of one account.
#[derive(Debug)]
pub(super) struct Quota {
    maildir: PathBuf,
    clock: Clock,
    warnings: mpsc::Sender<QuotaWarning>,
    files: RwLock<()>,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// The operator's.
    given: QuotaLimits,
    own: OwnLimits,
    /// Both together.
    limits: QuotaLimits,
    /// What is there; `None` before it was counted.
    usage: Option<Usage>,
    counted: Option<Instant>,
    /// What others were promised and is not there yet.
    reserved: Usage,
    /// Another program was seen at work since the count.
    doubted: bool,
    /// The percentage of which the owner was told last, unless usage fell below it since. In memory only: a start takes
    /// what is reached then as told.
    warned: u8,
}

impl Books {
    /// Whether a count is due at which nothing is refused.
    fn is_due(&self, now: Instant) -> bool {
        self.usage.is_none() || self.is_older(now, if self.doubted { QUOTA_RECOUNT_PAUSE } else { QUOTA_RECOUNT })
    }

    fn is_older(&self, now: Instant, than: Duration) -> bool {
        self.counted.is_none_or(|counted| now.saturating_duration_since(counted) > than)
    }

    /// Whether there is room for so much beside what is there and promised.
    fn has_room(&self, wanted: Usage) -> bool {
        // Who asks for nothing more keeps what was promised, also under limits that were lowered since.
        wanted == Usage::default() || self.limits.hold(self.usage.unwrap_or_default().plus(self.reserved).plus(wanted))
    }

    /// What fell below a percentage may be told of again.
    fn settle_warned(&mut self) {
        self.warned = self.warned.min(self.limits.reached(self.usage.unwrap_or_default()));
    }
}

/// Whether a lack of room counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// More than the limits is refused.
    Checked,
    /// Nothing is refused and nobody is warned: a notice of our own, or a message that only moves.
    Exempt,
}

/// Room for something that is on its way. It is given back when this is dropped, as far as it was not used.
#[derive(Debug)]
pub struct Reservation {
    quota: Arc<Quota>,
    charge: Charge,
    held: Mutex<Usage>,
}

impl Quota {
    fn set(&self, limits: QuotaLimits) {
        let mut books = lock(&self.books);
        books.limits = limits.narrowed(&books.own);
        books.given = limits;
        books.settle_warned();
    }

    /// The owner's own limits from now on, durably. Wider ones than the operator's are none.
    ///
    /// # Errors
    /// [`StoreError::Cannot`] for those; what the file system says.
    pub(super) fn set_own(&self, own: OwnLimits) -> Result<()> {
        let given = lock(&self.books).given.clone();
        let wider = |given: u64, own: Option<NonZeroU64>| given > 0 && own.is_some_and(|own| own.get() > given);
        if wider(given.octets, own.octets) || wider(given.messages, own.messages) {
            return Err(StoreError::Cannot("the operator's limit is lower"));
        }
        fsio::replace(&self.maildir.join(OWN_FILE), own.format().as_bytes())
            .map_err(StoreError::io("writing limits"))?;
        let mut books = lock(&self.books);
        books.own = own;
        books.limits = books.given.narrowed(&own);
        books.settle_warned();
        Ok(())
    }

    /// Takes room. May read the folders; see [`Quota::reserve_at_once`].
    ///
    /// # Errors
    /// [`StoreError::OverQuota`], [`StoreError::LargerThanQuota`].
    pub(super) fn reserve(self: &Arc<Self>, wanted: Usage, charge: Charge) -> Result<Reservation> {
        let reservation = Reservation { quota: Arc::clone(self), charge, held: Mutex::default() };
        reservation.resize(wanted)?;
        Ok(reservation)
    }

    /// Takes room where that needs no look at the disk; `None` where it does.
    pub(super) fn reserve_at_once(self: &Arc<Self>, wanted: Usage) -> Option<Reservation> {
        let mut books = self.at_once(wanted)?;
        books.reserved = books.reserved.plus(wanted);
        drop(books);
        Some(Reservation { quota: Arc::clone(self), charge: Charge::Checked, held: Mutex::new(wanted) })
    }

    /// Whether there is room, without taking it. May read the folders; see [`Quota::check_at_once`].
    ///
    /// # Errors
    /// [`StoreError::OverQuota`], [`StoreError::LargerThanQuota`].
    pub(super) fn check(&self, wanted: Usage) -> Result<()> {
        self.with_room(wanted, Usage::default()).map(drop)
    }

    /// Whether it is known without a look at the disk that there is room.
    pub(super) fn check_at_once(&self, wanted: Usage) -> bool {
        self.at_once(wanted).is_some()
    }

    /// What the account holds, counted if need be, and what it may hold.
    pub(super) fn usage(&self) -> (Usage, QuotaLimits) {
        if lock(&self.books).is_due(self.clock.instant()) {
            self.count();
        }
        let books = lock(&self.books);
        (books.usage.unwrap_or_default(), books.limits.clone())
    }

    /// The books, where they say without a look at the disk that there is room.
    fn at_once(&self, wanted: Usage) -> Option<MutexGuard<'_, Books>> {
        let now = self.clock.instant();
        let books = lock(&self.books);
        let unknown = books.limits.is_limited() && (books.is_due(now) || !books.has_room(wanted));
        (!unknown).then_some(books)
    }

    /// Takes `more` beside `held` where there is room.
    fn take(&self, more: Usage, held: Usage) -> Result<()> {
        let mut books = self.with_room(more, held)?;
        books.reserved = books.reserved.plus(more);
        Ok(())
    }

    /// The books, where there is room for `more` beside `held`.
    fn with_room(&self, more: Usage, held: Usage) -> Result<MutexGuard<'_, Books>> {
        let now = self.clock.instant();
        let mut books = lock(&self.books);
        if books.limits.is_limited() && books.is_due(now) {
            drop(books);
            self.count();
            books = lock(&self.books);
        }
        if !books.has_room(more) && books.is_older(now, QUOTA_RECOUNT_PAUSE) {
            // Somebody may have made room behind our back.
            drop(books);
            self.count();
            books = lock(&self.books);
        }
        if books.has_room(more) {
            return Ok(books);
        }
        let alone = held.plus(more);
        Err(if books.limits.hold(alone) { StoreError::OverQuota } else { StoreError::LargerThanQuota })
    }

    /// Says that files of messages are about to be given names, renamed or removed. Nothing is counted meanwhile.
    pub(super) fn changing(&self) -> Changing<'_> {
        Changing { quota: self, _files: self.files.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Says that a whole folder is about to be removed: nobody else changes anything meanwhile.
    pub(super) fn removing(&self) -> Removing<'_> {
        Removing { quota: self, _files: self.files.write().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Another program was seen at work in a mailbox.
    pub(super) fn doubt(&self) {
        lock(&self.books).doubted = true;
    }

    /// Nothing that was counted is believed any longer.
    pub(super) fn forget(&self) {
        lock(&self.books).usage = None;
    }

    /// Counts all mailboxes. Who comes while somebody counts takes over what that one found.
    fn count(&self) {
        let came = self.clock.instant();
        let _files = self.files.write().unwrap_or_else(PoisonError::into_inner);
        {
            let books = lock(&self.books);
            if books.usage.is_some() && books.counted.is_some_and(|counted| counted >= came) && !books.doubted {
                return;
            }
        }
        let now = self.clock.instant();
        lock(&self.books).doubted = false;
        let usage = of_account(&self.maildir);
        let mut books = lock(&self.books);
        let first = books.usage.is_none() && books.counted.is_none();
        (books.usage, books.counted) = (Some(usage), Some(now));
        if first {
            books.warned = books.limits.reached(usage);
        } else {
            books.settle_warned();
        }
    }

    fn release(&self, held: Usage) {
        let mut books = lock(&self.books);
        books.reserved = books.reserved.minus(held);
    }

    /// Turns what was held into usage.
    fn used(&self, held: Usage, used: Usage, charge: Charge) {
        let mut books = lock(&self.books);
        books.reserved = books.reserved.minus(held);
        let Some(before) = books.usage else { return };
        let usage = before.plus(used);
        books.usage = Some(usage);
        let reached = books.limits.reached(usage);
        if charge == Charge::Exempt || reached <= books.warned {
            return;
        }
        books.warned = reached;
        let warning = QuotaWarning { maildir: self.maildir.clone(), usage, limits: books.limits.clone() };
        drop(books);
        if let Err(error) = self.warnings.try_send(warning) {
            tracing::warn!(maildir = %self.maildir.display(), %error, "nobody was warned of a full mailbox");
        }
    }

    fn freed(&self, freed: Usage) {
        let mut books = lock(&self.books);
        if let Some(usage) = books.usage {
            books.usage = Some(usage.minus(freed));
            books.settle_warned();
        }
    }
}

impl Reservation {
    /// Whether it is room in this Maildir.
    #[must_use]
    pub fn is_in(&self, maildir: &Path) -> bool {
        self.quota.maildir == maildir
    }

    /// Holds so much from now on, if there is room for what that is more. May read the folders. Where there is none,
    /// it holds what it held.
    pub(super) fn resize(&self, wanted: Usage) -> Result<()> {
        let mut held = lock(&self.held);
        let more = wanted.minus(*held);
        match self.charge {
            Charge::Checked => self.quota.take(more, *held)?,
            Charge::Exempt => {
                let mut books = lock(&self.quota.books);
                books.reserved = books.reserved.plus(more);
            }
        }
        // What is held of one kind may shrink while the other grows.
        self.quota.release(held.minus(wanted));
        *held = wanted;
        Ok(())
    }

    /// What it was for is there now, by a change that this guard covers.
    pub(super) fn commit(&self, _changing: &Changing<'_>, used: Usage) {
        let held = std::mem::take(&mut *lock(&self.held));
        self.quota.used(held, used, self.charge);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let held = std::mem::take(&mut *lock(&self.held));
        self.quota.release(held);
    }
}

/// Changes of files are under way.
#[derive(Debug)]
pub(super) struct Changing<'a> {
    quota: &'a Quota,
    _files: RwLockReadGuard<'a, ()>,
}

impl Changing<'_> {
    /// Messages are gone.
    pub(super) fn freed(&self, freed: Usage) {
        self.quota.freed(freed);
    }
}

/// A mailbox is removed.
#[derive(Debug)]
pub(super) struct Removing<'a> {
    quota: &'a Quota,
    _files: RwLockWriteGuard<'a, ()>,
}

impl Removing<'_> {
    /// This folder is out of the tree and still there.
    pub(super) fn folder(&self, folder: &Path) {
        if lock(&self.quota.books).usage.is_some() {
            self.quota.freed(of_folder(folder));
        }
    }
}

/// What one file counts: the size in its name, as Dovecot has it, or else that of the file.
pub(super) fn of_file(name: &[u8], path: impl FnOnce() -> PathBuf) -> Usage {
    let octets = file_name::disk_size(name)
        .unwrap_or_else(|| std::fs::symlink_metadata(path()).map_or(0, |metadata| metadata.len()));
    Usage::of_message(octets)
}

/// All mailboxes of a Maildir. What cannot be read counts nothing: a folder with wrong rights must not stop all mail.
fn of_account(maildir: &Path) -> Usage {
    of_tree(maildir, 0)
}

/// The messages of a mailbox and of those whose folders lie in its own, in either layout.
fn of_tree(folder: &Path, depth: usize) -> Usage {
    let mut usage = of_folder(folder);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_bytes();
        // In one of the two layouts two dots may begin a mailbox.
        let part = [b"cur", b"new", b"tmp"].iter().any(|part| name == *part) || name.starts_with(OURS.as_bytes());
        if depth <= MAILBOX_DEPTH && !part && entry.file_type().is_ok_and(|t| t.is_dir()) {
            usage = usage.plus(of_tree(&entry.path(), depth + 1));
        }
    }
    usage
}

/// The messages of one mailbox.
fn of_folder(folder: &Path) -> Usage {
    let mut usage = Usage::default();
    for sub in ["new", "cur"] {
        let sub = folder.join(sub);
        let listed = fsio::list(&sub, |name, regular| {
            if regular && file_name::is_message(name) {
                let path = || sub.join(std::ffi::OsStr::from_bytes(name));
                usage = usage.plus(of_file(name, path));
            }
        });
        match listed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %sub.display(), %error, "not counted for the quota");
            }
            Ok(()) | Err(_) => {}
        }
    }
    usage
}

#[cfg(test)]
mod tests;
