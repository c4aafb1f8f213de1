//! Mailboxes on disk: plain Maildir++ with Dovecot's own files, and nothing else. How a tree comes from Dovecot and goes
//! back to it, [`crate::manual::adoption`] tells.
//!
//! # What is promised
//!
//! A delivery, APPEND, COPY, MOVE, EXPUNGE, and a change of the tree are durable when they return; STORE is within a
//! second. A UID that was shown never names another message, whatever the crash. Every file that another program put
//! there is left as it is.
//!
//! # Every state of a file after a crash, and who repairs it
//!
//! | on disk | how it came | what happens |
//! | --- | --- | --- |
//! | a file in `tmp/` | cut before the rename; nobody was told yes | removed at loading when 36 hours old; a second try of the same delivery replaces it |
//! | a file in `new/`, no line in `dovecot-uidlist` | delivered, not yet shown to any client | gets the next UID at loading, by the time in its name |
//! | a file in `cur/`, no line | APPEND or COPY cut before the OK, or another program | the same |
//! | a line, no file | expunged, or the file's name was not synced before the cut | nothing is shown; the UID stays used; the line goes when a quarter is dead |
//! | half a line at the end, or zeros | cut while appending; its UID was never shown | dropped at loading, the list written anew |
//! | no `dovecot-uidlist`, or no valid first line | lost | all messages get new UIDs under a larger UIDVALIDITY |
//! | `.dovecot-uidlist.<pid>.tmp` and the like | cut while replacing | the old file counts; the next replacement removes the leftover of the same process number |
//! | a letter without a name in `dovecot-keywords` | that file was lost | the letter stays in the file name and is not given to another keyword |
//! | a message in both mailboxes | MOVE cut between its halves | stays in both |
//! | `..facteur-removed-*` | cut while deleting a mailbox | removed when the account is opened |
//! | `..facteur-unfinished` | cut while making a new account | the usual mailboxes are completed when the account is opened |
//! | a folder without `cur`, `new` or `tmp` | cut while creating a mailbox | completed when it is opened |
//! | a mailbox with others in it (layout fs) without `cur`, its lists still there | cut while deleting it | no mailbox; made again, it goes on with its UIDs |
//! | one file under two names, one of them without a line | cut while a check gave it a name with its right size | the line keeps its UID; the other name becomes a copy with a UID of its own |
//! | some mailboxes under an old parent's name | cut while renaming a family | listed there; the rename can be repeated |
//!
//! Beside the Maildir, in the state folder, lies what is derived from it: an index, its journal, a cache. The table of
//! their states is in `derived.rs`; all of it may be removed at any time.
//!
//! # From the disk to a session
//!
//! `mailbox.rs` is one mailbox in memory, shared by all who have it open; `table.rs` holds its messages. `load.rs` reads
//! it: the index (`derived.rs`, `index.rs`, `journal.rs`) where that holds, or else the UID list and the folders, which
//! `rebuild.rs` joins with what was known. `watch.rs` tells what other programs do, `touched.rs` looks after the names
//! it gives, `folder.rs` decides when that is not enough. `deliver.rs`, `transfer.rs` and `bulk.rs` bring messages in,
//! `change.rs` changes and removes them, `commit.rs` syncs folders for many at once, `cache.rs` keeps what was dear to
//! make.
//!
//! # Locks, in the order in which they are taken
//!
//! The tree of an account (`AccountStore::tree`), then `work` of one mailbox, then `files` of the account's quota (see
//! `quota.rs`), then `folders`, `cache` and `shown` of the mailbox (see `mailbox.rs`).
//! Nobody holds the `work` of two mailboxes, but for a rename of nested ones, which holds the tree as well: COPY reads
//! names from the source and locks the destination alone. The maps of live mailboxes and of folder syncs are locked for
//! moments, with nothing taken inside; so is the table of watches (`watch.rs`), after all of these.

mod account;
mod acl;
mod annotations;
mod bulk;
mod cache;
mod change;
mod check;
mod commit;
mod compressed;
mod context;
mod deliver;
mod derived;
mod error;
mod events;
mod expunged;
mod file_name;
mod folder;
mod folder_name;
mod foreign;
mod index;
mod journal;
mod keywords;
mod layout;
mod load;
mod mailbox;
mod quota;
mod read;
mod rebuild;
mod scan;
mod section;
mod snapshot;
mod special_use;
mod subscriptions;
mod table;
mod touched;
mod transfer;
mod uidlist;
mod watch;

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;

use crate::clock::Clock;
use crate::config::Layout;
use crate::mail::limits::INDEX_LOOK;
use crate::mail::limits::MAILBOX_DEPTH;
use crate::mail::mailbox::MailboxName;
use crate::mail::quota::QuotaLimits;
use crate::mail::quota::Usage;

use context::Context;
use context::lock;
use deliver::Deliverer;
use quota::Charge;

pub use account::AccountStore;
pub use account::Listed;
pub use acl::ANYONE;
pub use acl::Acl;
pub use acl::AclChange;
pub use acl::shares;
pub use annotations::AnnotationChanges;
pub use annotations::Annotations;
pub use annotations::SPECIAL_USE_ENTRY;
pub use bulk::Addition;
pub use cache::CacheEntry;
pub use cache::CacheKind;
pub use cache::CacheReader;
pub use cache::Cached;
pub use check::Finding;
pub use check::Findings;
pub use check::Severity;
pub use compressed::MessageFile;
pub use compressed::PlainFile;
pub use deliver::Delivery;
pub use error::Result;
pub use error::StoreError;
pub use events::AccountEvent;
pub use events::AccountNews;
pub use events::Missed;
pub use expunged::Vanished;
pub use foreign::ForeignMailbox;
pub use foreign::ForeignMessage;
pub use foreign::foreign_mailboxes;
pub use foreign::foreign_messages;
pub use mailbox::Mailbox;
pub use quota::QuotaWarning;
pub use quota::Reservation;
pub use scan::Look;
pub use scan::scan;
pub use snapshot::Copied;
pub use snapshot::FlagChange;
pub use snapshot::FlagOp;
pub use snapshot::KeptFlags;
pub use snapshot::Message;
pub use snapshot::Snapshot;
pub use snapshot::Unchanged;
pub use table::Messages;

/// All mailboxes of a daemon.
#[derive(Debug)]
pub struct Store {
    context: Arc<Context>,
    layout: Layout,
    accounts: Mutex<HashMap<PathBuf, Arc<AccountStore>>>,
    sharers: Mutex<acl::Sharers>,
}

impl Store {
    /// A store with nothing live yet. One per daemon: two would not see each other's changes at once.
    #[must_use]
    pub fn open(clock: Clock) -> Arc<Self> {
        Self::open_with(clock, Layout::default(), None)
    }

    /// As [`Store::open`], where the mailboxes of all accounts lie as `layout` says, with a folder for what is derived
    /// from them, so that the next start need not read them all again. It may be removed at any time.
    #[must_use]
    pub fn open_with(clock: Clock, layout: Layout, state: Option<&Path>) -> Arc<Self> {
        let context = Arc::new(Context::new(clock, state.map(Path::to_owned)));
        Arc::new(Self { context, layout, accounts: Mutex::default(), sharers: Mutex::default() })
    }

    /// The mailboxes in a Maildir, which is made when missing, with the usual mailboxes if it has none.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn account(self: &Arc<Self>, maildir: &Path) -> Result<Arc<AccountStore>> {
        let (this, maildir) = (Arc::clone(self), maildir.to_owned());
        context::blocking(move || {
            let account = this.account_blocking(&maildir)?;
            // The whole Maildir may have been removed since the last time.
            if !maildir.join("cur").is_dir() {
                account.prepare()?;
            }
            Ok(account)
        })
        .await
    }

    /// Forgets what is known of the mailboxes of a Maildir; each is read from disk at its next use. Sessions that have
    /// one open keep it, and what they were shown.
    pub fn forget(&self, maildir: &Path) {
        // The account itself stays: sessions have it, and a second one would not know the lock of the first.
        let account = lock(&self.accounts).get(maildir).cloned();
        if let Some(account) = account {
            account.prepare_again();
        }
        for mailbox in self.context.let_go_below(maildir) {
            mailbox.unload();
        }
        self.context.quotas.of(maildir).forget();
        self.forget_derived(maildir, 0);
    }

    /// As [`Store::forget`], for one mailbox alone.
    ///
    /// # Errors
    /// [`StoreError::Cannot`] for a name that has no folder.
    pub fn forget_mailbox(&self, maildir: &Path, name: &MailboxName) -> Result<()> {
        let folder = layout::folder(self.layout, maildir, name)?;
        if let Some(mailbox) = self.context.live(&folder) {
            mailbox.unload();
        }
        derived::removed(&self.context, &folder);
        self.context.quotas.of(maildir).forget();
        Ok(())
    }

    /// Removes the derived files of the mailboxes at and below a folder.
    fn forget_derived(&self, folder: &Path, depth: usize) {
        derived::removed(&self.context, folder);
        // Who cannot list the folders cannot read the mailboxes either.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let is_part = ["cur", "new", "tmp"].iter().any(|part| entry.file_name() == *part);
            if depth <= MAILBOX_DEPTH && !is_part && entry.file_type().is_ok_and(|t| t.is_dir()) {
                self.forget_derived(&entry.path(), depth + 1);
            }
        }
    }

    /// Shows what other programs do to mailboxes that somebody waits at, and writes indexes when they are due, until
    /// the store is dropped.
    pub async fn tend(self: Arc<Self>) {
        if let Some(watcher) = &self.context.watcher {
            tokio::spawn(Arc::clone(watcher).run());
        }
        let store = Arc::downgrade(&self);
        drop(self);
        loop {
            tokio::time::sleep(INDEX_LOOK).await;
            let Some(store) = store.upgrade() else { return };
            let tended = tokio::task::spawn_blocking(move || {
                for mailbox in store.context.all() {
                    mailbox.tend();
                }
            });
            if tended.await.is_err() {
                tracing::error!("a bug ended the writing of indexes");
            }
        }
    }

    /// Writes the indexes of all mailboxes in memory, so that the next start finds them. For the end of the server.
    pub fn close(&self) {
        for mailbox in self.context.all() {
            mailbox.close();
        }
    }

    /// Puts the limits of these Maildirs into force at once; all others have none.
    pub fn set_quotas(&self, limits: HashMap<PathBuf, QuotaLimits>) {
        self.context.quotas.set(limits);
    }

    /// The warnings of accounts that fill up, as they come; `None` for whoever asks second.
    pub fn quota_warnings(&self) -> Option<tokio::sync::mpsc::Receiver<QuotaWarning>> {
        self.context.quotas.take_warnings()
    }

    /// Takes room for one message in a Maildir, which need not be there yet. `octets` may be 0 for a size that is not
    /// known yet. To be handed to [`Store::deliver_reserved`], or dropped.
    ///
    /// # Errors
    /// [`StoreError::OverQuota`], [`StoreError::LargerThanQuota`].
    pub async fn reserve(&self, maildir: &Path, octets: u64) -> Result<Reservation> {
        let (quota, wanted) = (self.context.quotas.of(maildir), Usage::of_message(octets));
        match quota.reserve_at_once(wanted) {
            Some(reservation) => Ok(reservation),
            None => context::blocking(move || quota.reserve(wanted, Charge::Checked)).await,
        }
    }

    /// Whether a Maildir, which need not be there yet, has room for one message of so many octets now. Nothing is
    /// taken: the next who comes finds the same room.
    ///
    /// # Errors
    /// [`StoreError::OverQuota`], [`StoreError::LargerThanQuota`].
    pub async fn check_room(&self, maildir: &Path, octets: u64) -> Result<()> {
        let (quota, wanted) = (self.context.quotas.of(maildir), Usage::of_message(octets));
        if quota.check_at_once(wanted) {
            return Ok(());
        }
        context::blocking(move || quota.check(wanted)).await
    }

    /// Delivers a message into inboxes. One outcome per Maildir, in order; each `Ok` is durable.
    pub async fn deliver(self: &Arc<Self>, message: Delivery) -> Vec<Result<()>> {
        self.deliver_reserved(message, Vec::new()).await
    }

    /// As [`Store::deliver`], where room was reserved before. For Maildirs without such a reservation, and where the
    /// message has become larger, room is looked for now.
    pub async fn deliver_reserved(
        self: &Arc<Self>,
        message: Delivery,
        reserved: Vec<Arc<Reservation>>,
    ) -> Vec<Result<()>> {
        self.deliver_by(message, Charge::Checked, reserved).await
    }

    /// As [`Store::deliver`], for what must arrive also in a full mailbox. It is counted.
    pub async fn deliver_exempt(self: &Arc<Self>, message: Delivery) -> Vec<Result<()>> {
        self.deliver_by(message, Charge::Exempt, Vec::new()).await
    }

    async fn deliver_by(
        self: &Arc<Self>,
        message: Delivery,
        charge: Charge,
        reserved: Vec<Arc<Reservation>>,
    ) -> Vec<Result<()>> {
        let _under_way = self.context.syncs.begin();
        let this = Arc::clone(self);
        let count = message.maildirs.len();
        let work = move || this.deliver_blocking_by(&message, charge, &reserved);
        match tokio::task::spawn_blocking(work).await {
            Ok(outcomes) => outcomes,
            Err(_) => (0..count)
                .map(|_| {
                    let source = std::io::Error::other("a bug ended the delivery");
                    Err(StoreError::Io { doing: "delivering a message", source })
                })
                .collect(),
        }
    }

    /// See [`Store::deliver`]; for callers on a blocking thread.
    #[must_use]
    pub fn deliver_blocking(&self, message: &Delivery) -> Vec<Result<()>> {
        self.deliver_blocking_by(message, Charge::Checked, &[])
    }

    fn deliver_blocking_by(
        &self,
        message: &Delivery,
        charge: Charge,
        reserved: &[Arc<Reservation>],
    ) -> Vec<Result<()>> {
        let accounts = |maildir: &Path| self.account_blocking(maildir);
        // An alias may lead to the same inbox twice: one message, one outcome.
        let mut once: Vec<PathBuf> = Vec::new();
        let mut places = Vec::new();
        for maildir in &message.maildirs {
            places.push(once.iter().position(|m| m == maildir).unwrap_or_else(|| {
                once.push(maildir.clone());
                once.len() - 1
            }));
        }
        let repeats = once.len() < places.len();
        let delivery = Delivery { maildirs: once, ..message.clone() };
        let deliverer =
            Deliverer { context: &self.context, accounts: &accounts, delivery: &delivery, charge, reserved };
        let outcomes = deliverer.deliver();
        if !repeats {
            return outcomes;
        }
        let again = |outcome: &Result<()>| match outcome {
            Ok(()) => Ok(()),
            Err(StoreError::Full(e)) => Err(StoreError::Full(e.kind().into())),
            Err(StoreError::OverQuota) => Err(StoreError::OverQuota),
            Err(StoreError::LargerThanQuota) => Err(StoreError::LargerThanQuota),
            Err(e) => Err(StoreError::io("delivering a message")(std::io::Error::other(e.to_string()))),
        };
        places.into_iter().map(|at| again(&outcomes[at])).collect()
    }

    fn account_blocking(&self, maildir: &Path) -> Result<Arc<AccountStore>> {
        let account = {
            let mut accounts = lock(&self.accounts);
            let made = || Arc::new(AccountStore::new(Arc::clone(&self.context), maildir, self.layout));
            Arc::clone(accounts.entry(maildir.to_owned()).or_insert_with(made))
        };
        account.ready()?;
        Ok(account)
    }
}

impl Drop for Store {
    /// The mailboxes that are kept in memory hold what keeps them.
    fn drop(&mut self) {
        self.context.keep_none();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fsio::Content;
    use crate::mail::ids::SessionId;

    #[test]
    fn a_new_account_is_made_once_by_all_who_need_it_at_once() {
        let dir = tempfile::tempdir().expect("temporary folder");
        for round in 0..5 {
            let (store, maildir) = (Store::open(Clock::system()), dir.path().join(round.to_string()));
            let delivered = std::thread::scope(|scope| {
                let deliver = |n| {
                    let message = Delivery {
                        id: SessionId::new(std::time::Duration::from_secs(round)).message(n),
                        prefix: Vec::new(),
                        content: Content::from_bytes(b"Subject: x\n\nx\n".to_vec()),
                        maildirs: vec![maildir.clone()],
                        received: std::time::SystemTime::UNIX_EPOCH,
                        special_use: None,
                        again: false,
                    };
                    let account = store.account_blocking(&maildir).map(|_| ());
                    store.deliver_blocking(&message).into_iter().chain([account]).collect::<Result<Vec<()>>>()
                };
                let threads: Vec<_> = (1..=8).map(|n| scope.spawn(move || deliver(n))).collect();
                threads.into_iter().map(|t| t.join().expect("no panic")).collect::<Vec<_>>()
            });
            assert!(delivered.iter().all(Result::is_ok), "{delivered:?}");
        }
    }

    #[tokio::test]
    async fn an_account_that_is_forgotten_has_one_lock_and_is_prepared_again() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(Clock::system());
        let before = store.account(dir.path()).await.expect("made");
        let left = dir.path().join("..facteur-removed-1");
        std::fs::create_dir(&left).expect("made");
        store.forget(dir.path());
        let after = store.account(dir.path()).await.expect("there");
        assert!(Arc::ptr_eq(&before, &after) && !left.exists());
    }
}
