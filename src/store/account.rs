//! The mailboxes of one account: a tree of Maildirs. List, create, delete, rename, subscribe.
//!
//! Where a mailbox lies `layout.rs` knows.
//!
//! One lock (`tree`) lets one change of the tree happen at a time; it is taken before any lock of a mailbox.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::config::Layout;
use crate::fsio;
use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;
use crate::mail::limits::MAILBOXES;
use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;
use crate::mail::quota::OwnLimits;
use crate::mail::quota::QuotaLimits;
use crate::mail::quota::Usage;

use super::acl::Acl;
use super::context::Context;
use super::context::Validities;
use super::context::blocking;
use super::context::lock;
use super::derived;
use super::error::Result;
use super::error::StoreError;
use super::events::AccountEvent;
use super::events::AccountNews;
use super::events::Events;
use super::layout;
use super::load;
use super::load::read_small;
use super::mailbox::Mailbox;
use super::quota::Charge;
use super::quota::Quota;
use super::quota::Reservation;
use super::snapshot::KeptFlags;
use super::snapshot::Snapshot;
use super::special_use;
use super::subscriptions;
use super::subscriptions::Subscriptions;
use super::uidlist;

/// Lies in a Maildir while its usual mailboxes are made.
const UNFINISHED: &str = "..facteur-unfinished";

/// Where Dovecot keeps the last UIDVALIDITY of an account, in eight hexadecimal digits.
const DOVECOT_VALIDITY: &str = "dovecot-uidvalidity";

/// Folders to be removed are first given a name that begins so. Dovecot passes over names with two dots, too.
const TRASH: &str = "..facteur-removed-";

/// The mailboxes of one account.
#[derive(Debug)]
pub struct AccountStore {
    context: Arc<Context>,
    root: PathBuf,
    layout: Layout,
    tree: Mutex<()>,
    /// Whether [`AccountStore::prepare`] has done its work.
    prepared: AtomicBool,
    validities: Arc<Validities>,
    quota: Arc<Quota>,
    events: Arc<Events>,
    /// What others may use, while that is known. Taken after `tree`.
    shared: Mutex<Option<Shared>>,
}

/// Mailboxes that others may use.
type Shared = Arc<[(MailboxName, Acl)]>;

/// A mailbox in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: MailboxName,
    /// `false` for a name that is only the parent of mailboxes.
    pub selectable: bool,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// Whether clients show it.
    pub subscribed: bool,
}

impl AccountStore {
    /// The account whose Maildir is `root`; not there before [`AccountStore::ready`].
    pub(super) fn new(context: Arc<Context>, root: &Path, layout: Layout) -> Self {
        Self {
            quota: context.quotas.of(root),
            context,
            root: root.to_owned(),
            layout,
            tree: Mutex::default(),
            prepared: AtomicBool::new(false),
            validities: Arc::default(),
            events: Arc::default(),
            shared: Mutex::default(),
        }
    }

    /// Prepares it if nobody has: who comes meanwhile waits, or two would make the same mailboxes.
    pub(super) fn ready(&self) -> Result<()> {
        if self.prepared.load(Ordering::Acquire) { Ok(()) } else { self.prepare() }
    }

    /// Has the next who comes prepare it.
    pub(super) fn prepare_again(&self) {
        self.prepared.store(false, Ordering::Release);
    }

    /// Makes what is missing of the Maildir, and the usual mailboxes if there is none beside the inbox; removes what
    /// a crash left of deleted mailboxes.
    pub(super) fn prepare(&self) -> Result<()> {
        let _tree = lock(&self.tree);
        self.prepare_locked()?;
        self.prepared.store(true, Ordering::Release);
        Ok(())
    }

    fn prepare_locked(&self) -> Result<()> {
        make_maildir(&self.root)?;
        self.remove_trash();
        self.go_on_with_validities();
        if layout::seems_other(self.layout, &self.root)? {
            tracing::warn!(maildir = %self.root.display(), "its mailboxes seem to lie otherwise than storage.layout says");
            return Ok(());
        }
        let unfinished = self.root.join(UNFINISHED);
        if !self.folders()?.is_empty() && !unfinished.exists() {
            return Ok(());
        }
        // Its name becomes durable with the first folder that is made after it.
        fsio::append(&unfinished).map_err(StoreError::io("beginning an account"))?;
        // Now, while there is room: the first look at the inbox may be on a full disk, and must not need a new file.
        load::begin_list(&self.root, self.validities.new_one(&self.context.clock, None))?;
        let mut subscriptions = self.read_subscriptions()?;
        for role in SpecialUse::ALL {
            let name = MailboxName::parse(role.default_name())?;
            match self.make_folder(&name) {
                Err(StoreError::AlreadyExists) | Ok(()) => subscriptions.add(&name),
                Err(error) => return Err(error),
            };
        }
        self.write_subscriptions(&subscriptions)?;
        fsio::remove_if_there(&unfinished).map_err(StoreError::io("ending the start of an account"))
    }

    /// Dovecot keeps the last UIDVALIDITY that it gave out, which is ahead of the clock after it made many mailboxes at
    /// once. One of the same name that is made now must have a larger one than that which is gone.
    fn go_on_with_validities(&self) {
        let path = self.root.join(DOVECOT_VALIDITY);
        let bytes = read_small(&path).unwrap_or_else(|error| {
            // It matters where a mailbox is made anew, and must lock nobody out.
            tracing::warn!(path = %path.display(), %error, "the last UIDVALIDITY is not known");
            None
        });
        let bytes = bytes.unwrap_or_default();
        let last = std::str::from_utf8(&bytes).ok().and_then(|text| u32::from_str_radix(text.trim(), 16).ok());
        if let Some(validity) = last.and_then(UidValidity::new) {
            self.validities.removed(validity);
        }
    }

    /// All mailboxes, INBOX first, the others by name; a missing parent is there as not selectable.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn list(self: &Arc<Self>) -> Result<Vec<Listed>> {
        let this = Arc::clone(self);
        blocking(move || this.list_blocking()).await
    }

    /// The first mailbox of this account is shared.
    pub(super) fn begins_to_share(&self) {
        self.context.sharers.fetch_add(1, Ordering::AcqRel);
    }

    /// What happens from now on.
    #[must_use]
    pub fn news(&self) -> AccountNews {
        self.events.listen()
    }

    /// Tells who listens.
    pub(super) fn tell(&self, event: AccountEvent) {
        self.remember_shared(None);
        self.events.tell(event);
    }

    /// What others may use, where that is known.
    pub(super) fn known_shared(&self) -> Option<Shared> {
        lock(&self.shared).clone()
    }

    /// What others may use, or that it is to be found out again.
    pub(super) fn remember_shared(&self, shared: Option<Shared>) {
        *lock(&self.shared) = shared;
    }

    /// Has the tree stay as it is.
    pub(super) fn lock_tree(&self) -> MutexGuard<'_, ()> {
        lock(&self.tree)
    }

    pub(super) fn list_blocking(&self) -> Result<Vec<Listed>> {
        let names = self.folders()?;
        let subscribed: BTreeSet<MailboxName> = self.read_subscriptions()?.names().iter().cloned().collect();
        let roles = special_use::roles(names.iter(), |name| self.said_use(name));
        let mut all: BTreeMap<MailboxName, bool> = BTreeMap::new();
        for name in names {
            let mut parent = name.parent();
            while let Some(above) = parent {
                parent = above.parent();
                all.entry(above).or_insert(false);
            }
            all.insert(name, true);
        }
        all.remove(&MailboxName::inbox());
        let inbox = (MailboxName::inbox(), true);
        let listed = std::iter::once(inbox).chain(all).map(|(name, selectable)| Listed {
            selectable,
            special_use: roles.get(&name).copied(),
            subscribed: subscribed.contains(&name),
            name,
        });
        Ok(listed.collect())
    }

    /// What is subscribed, also where the mailbox is gone (RFC 3501 §6.3.6).
    ///
    /// # Errors
    /// What the file system says.
    pub async fn subscriptions(self: &Arc<Self>) -> Result<Vec<MailboxName>> {
        let this = Arc::clone(self);
        blocking(move || Ok(this.read_subscriptions()?.names().to_vec())).await
    }

    /// Subscribes to a name, whether or not there is such a mailbox.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn subscribe(self: &Arc<Self>, name: &MailboxName) -> Result<()> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            this.change_subscriptions(|s| s.names().len() < MAILBOXES && s.add(&name))?;
            this.tell(AccountEvent::Subscribed(name));
            Ok(())
        })
        .await
    }

    /// Ends a subscription; none there is no error.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn unsubscribe(self: &Arc<Self>, name: &MailboxName) -> Result<()> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            this.change_subscriptions(|s| s.remove(&name))?;
            this.tell(AccountEvent::Subscribed(name));
            Ok(())
        })
        .await
    }

    /// The folder of the mailbox for this use; made, and subscribed to, where there is none. Blocks.
    pub(super) fn folder_for(&self, role: SpecialUse) -> Result<PathBuf> {
        if let Some(name) = self.mailbox_for(role)? {
            return self.folder(&name);
        }
        let name = MailboxName::parse(role.default_name()).map_err(|_| StoreError::Cannot("no such name"))?;
        let made = {
            let _tree = lock(&self.tree);
            // Another delivery may have been first.
            match self.mailbox_for(role)? {
                Some(other) => return self.folder(&other),
                None => self.create_locked(&name, Some(role)),
            }
        };
        made?;
        self.change_subscriptions(|s| s.names().len() < MAILBOXES && s.add(&name))?;
        self.tell(AccountEvent::Created(name.clone()));
        self.folder(&name)
    }

    fn mailbox_for(&self, role: SpecialUse) -> Result<Option<MailboxName>> {
        let names = self.folders()?;
        let roles = special_use::roles(names.iter(), |name| self.said_use(name));
        Ok(roles.into_iter().find(|(_, said)| *said == role).map(|(name, _)| name))
    }

    /// Makes what another program left out of, or took from, the folder of a mailbox.
    pub(super) fn make_whole(&self, folder: &Path) -> Result<()> {
        if !folder.is_dir() {
            return Err(StoreError::NoSuchMailbox);
        }
        make_subfolders(folder)
    }

    /// Makes a mailbox, durably. Its parents need not exist.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`]; what the file system says.
    pub async fn create(self: &Arc<Self>, name: &MailboxName) -> Result<()> {
        self.create_for(name, None).await
    }

    /// As [`AccountStore::create`], for this use if there is one (RFC 6154 §3).
    ///
    /// # Errors
    /// As there; [`StoreError::UseTaken`].
    pub async fn create_for(self: &Arc<Self>, name: &MailboxName, special_use: Option<SpecialUse>) -> Result<()> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            let _tree = lock(&this.tree);
            let said = this.create_locked(&name, special_use);
            if !matches!(said, Err(StoreError::AlreadyExists)) && this.exists(&name) {
                this.tell(AccountEvent::Created(name));
            }
            said
        })
        .await
    }

    /// For who holds the lock of the tree. An error may come after the mailbox was made: it has no use then.
    fn create_locked(&self, name: &MailboxName, special_use: Option<SpecialUse>) -> Result<()> {
        if self.exists(name) {
            return Err(StoreError::AlreadyExists);
        }
        if self.folders()?.len() >= MAILBOXES {
            return Err(StoreError::Cannot("too many mailboxes"));
        }
        if let Some(role) = special_use {
            self.check_use_free(role, name)?;
        }
        self.make_folder(name)?;
        self.inherit_acl(name)?;
        special_use.map_or(Ok(()), |role| self.say_use_locked(name, role))
    }

    /// Deletes a mailbox with its messages. Those below it stay (RFC 3501 §6.3.4).
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`]; [`StoreError::Cannot`] for INBOX; what the file system says.
    pub async fn delete(self: &Arc<Self>, name: &MailboxName) -> Result<()> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            this.delete_blocking(&name)?;
            this.tell(AccountEvent::Deleted(name));
            Ok(())
        })
        .await
    }

    /// Renames a mailbox and those below it. INBOX instead gives its messages to a new mailbox (RFC 3501 §6.3.5).
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`]; [`StoreError::AlreadyExists`]; what the file system says. A crash or an error
    /// in between may leave some of those below under the old name.
    pub async fn rename(self: &Arc<Self>, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let (this, from, to) = (Arc::clone(self), from.clone(), to.clone());
        blocking(move || {
            this.rename_blocking(&from, &to)?;
            // RFC 5465 §5.4: INBOX stays where it is.
            let renamed = !from.is_inbox();
            this.tell(if renamed { AccountEvent::Renamed(from, to) } else { AccountEvent::Created(to) });
            Ok(())
        })
        .await
    }

    /// Whether there is a mailbox of this name.
    ///
    /// # Errors
    /// None but a bug's.
    pub async fn has(self: &Arc<Self>, name: &MailboxName) -> Result<bool> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || Ok(this.exists(&name))).await
    }

    /// The live mailbox of this name, shared with all who have it, as it is on disk now.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`]; what the file system says.
    pub async fn mailbox(self: &Arc<Self>, name: &MailboxName) -> Result<Arc<Mailbox>> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || this.mailbox_blocking(&name)).await
    }

    /// What STATUS tells of a mailbox.
    ///
    /// # Errors
    /// As [`AccountStore::mailbox`].
    pub async fn status(self: &Arc<Self>, name: &MailboxName) -> Result<Arc<Snapshot>> {
        Ok(self.mailbox(name).await?.snapshot())
    }

    /// Takes room for this much. It is given back when the reservation is dropped.
    ///
    /// # Errors
    /// [`StoreError::OverQuota`], [`StoreError::LargerThanQuota`].
    pub async fn reserve(self: &Arc<Self>, wanted: Usage) -> Result<Reservation> {
        match self.quota.reserve_at_once(wanted) {
            Some(reservation) => Ok(reservation),
            None => {
                let quota = Arc::clone(&self.quota);
                blocking(move || quota.reserve(wanted, Charge::Checked)).await
            }
        }
    }

    /// Sets how much the owner wants to have at most, whatever the operator would let him have.
    ///
    /// # Errors
    /// [`StoreError::Cannot`] where that is more than the operator lets him have; what the file system says.
    pub async fn limit(self: &Arc<Self>, own: OwnLimits) -> Result<()> {
        let quota = Arc::clone(&self.quota);
        blocking(move || quota.set_own(own)).await
    }

    /// What all mailboxes together hold, and what they may hold. Counted from disk where nobody asked for long.
    ///
    /// # Errors
    /// None but a bug's: what cannot be read counts nothing.
    pub async fn usage(self: &Arc<Self>) -> Result<(Usage, QuotaLimits)> {
        let quota = Arc::clone(&self.quota);
        blocking(move || Ok(quota.usage())).await
    }

    fn mailbox_blocking(&self, name: &MailboxName) -> Result<Arc<Mailbox>> {
        if !self.exists(name) {
            return Err(StoreError::NoSuchMailbox);
        }
        let folder = self.folder(name)?;
        if name.is_inbox() {
            if !is_maildir(&folder) {
                make_maildir(&folder)?;
            }
        } else {
            // Another program may have made only a part.
            make_subfolders(&folder)?;
        }
        let make = |me| {
            let (context, validities) = (Arc::clone(&self.context), Arc::clone(&self.validities));
            let (quota, events) = (Arc::clone(&self.quota), Arc::clone(&self.events));
            Mailbox::new(me, context, validities, quota, events, name.clone(), folder.clone())
        };
        let mailbox = self.context.live_or(&folder, make);
        mailbox.refresh_blocking()?;
        self.context.keep(&mailbox);
        Ok(mailbox)
    }

    fn delete_blocking(&self, name: &MailboxName) -> Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        if name.is_inbox() {
            return Err(StoreError::Cannot("INBOX cannot be deleted"));
        }
        let _tree = lock(&self.tree);
        if !self.exists(name) {
            return Err(StoreError::NoSuchMailbox);
        }
        let folder = self.folder(name)?;
        let list = read_small(&folder.join(uidlist::FILE))?;
        if let Some(parsed) = list.as_deref().and_then(uidlist::parse) {
            self.validities.removed(parsed.header.validity);
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let micros = self.context.clock.since_epoch().as_micros();
        let trash = self.root.join(format!("{TRASH}{micros}-{}-{number}", std::process::id()));
        // Also what no client can see stays.
        let has_below = self.layout == Layout::Fs && layout::has_below(&folder)?;
        let removing = self.quota.removing();
        let emptied = if has_below { empty(&folder, &trash) } else { fsio::rename(&folder, &trash) };
        emptied.map_err(StoreError::io("deleting a mailbox"))?;
        removing.folder(&trash);
        drop(removing);
        if let Some(mailbox) = self.context.forget(&folder) {
            lock(&mailbox.place).gone = true;
            mailbox.wake();
        }
        derived::removed(&self.context, &folder);
        self.sync_around(&folder)?;
        if self.layout == Layout::Fs && !has_below {
            self.prune(&folder);
        }
        // The mailbox is gone; what is left of it goes now or at the next start.
        if let Err(error) = fsio::remove_dir_all(&trash) {
            tracing::warn!(folder = %trash.display(), %error, "a deleted mailbox stays for now");
        }
        Ok(())
    }

    fn rename_blocking(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        if to.is_inbox() || self.exists(to) {
            return Err(StoreError::AlreadyExists);
        }
        if from.is_inbox() {
            return self.rename_inbox(to);
        }
        if to.is_below(from) {
            return Err(StoreError::Cannot("a mailbox cannot go below itself"));
        }
        let _tree = lock(&self.tree);
        let mut renames: Vec<(MailboxName, MailboxName)> = Vec::new();
        for name in self.folders()? {
            if name == *from {
                renames.push((name, to.clone()));
            } else if let Some(new) = name.moved(from, to) {
                renames.push((name, new?));
            }
        }
        if renames.is_empty() {
            return Err(StoreError::NoSuchMailbox);
        }
        if renames.iter().any(|(_, new)| self.exists(new)) {
            return Err(StoreError::AlreadyExists);
        }
        if self.layout == Layout::Fs {
            return self.rename_family(from, to, &renames);
        }
        for (old, new) in &renames {
            self.rename_folder(old, new)?;
        }
        self.context.sync(&self.root)
    }

    /// Where mailboxes lie in one another one rename moves them all. Who changes one of them meanwhile has its `work`
    /// alone and never waits for a second, so holding many is safe.
    fn rename_family(&self, from: &MailboxName, to: &MailboxName, all: &[(MailboxName, MailboxName)]) -> Result<()> {
        let (old_folder, new_folder) = (self.folder(from)?, self.folder(to)?);
        layout::check_way(&self.root, &new_folder)?;
        let mut live = Vec::new();
        for (old, new) in all {
            let (old, folder) = (self.folder(old)?, self.folder(new)?);
            live.extend(self.context.live(&old).map(|mailbox| (mailbox, old, new, folder)));
        }
        let work: Vec<_> = live.iter().map(|(mailbox, ..)| mailbox.work()).collect();
        if let Some(parent) = new_folder.parent() {
            fsio::create_dir_durably(parent).map_err(StoreError::io("renaming a mailbox"))?;
        }
        let changing = self.quota.changing();
        // An empty folder gives way to another, any other does not.
        fsio::rename(&old_folder, &new_folder).map_err(|e| match e.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => StoreError::AlreadyExists,
            _ => StoreError::io("renaming a mailbox")(e),
        })?;
        drop(changing);
        for (old, new) in all {
            derived::moved(&self.context, &self.folder(old)?, &self.folder(new)?);
        }
        for (mailbox, old, new, folder) in &live {
            self.follow(mailbox, old, new, folder);
        }
        drop(work);
        self.sync_around(&new_folder)?;
        self.sync_around(&old_folder)?;
        self.prune(&old_folder);
        Ok(())
    }

    /// RFC 3501 §6.3.5: the messages move, the inbox stays, and so do the mailboxes below it.
    fn rename_inbox(&self, to: &MailboxName) -> Result<()> {
        {
            let _tree = lock(&self.tree);
            self.make_folder(to)?;
        }
        let (inbox, target) = (self.mailbox_blocking(&MailboxName::inbox())?, self.mailbox_blocking(to)?);
        let snapshot = inbox.snapshot();
        let uids: Vec<Uid> = snapshot.messages.iter().map(|m| m.uid).collect();
        inbox.move_blocking(snapshot.validity, &uids, &target, KeptFlags::all()).map(drop)
    }

    fn rename_folder(&self, old: &MailboxName, new: &MailboxName) -> Result<()> {
        let (from, to) = (self.folder(old)?, self.folder(new)?);
        let mailbox = self.context.live(&from);
        // Nothing is changed in the folder while its name changes.
        let work = mailbox.as_ref().map(|m| m.work());
        let changing = self.quota.changing();
        fsio::rename_new(&from, &to).map_err(StoreError::io("renaming a mailbox"))?;
        drop(changing);
        derived::moved(&self.context, &from, &to);
        if let Some(mailbox) = &mailbox {
            self.follow(mailbox, &from, new, &to);
        }
        drop(work);
        Ok(())
    }

    /// A mailbox that is in memory has moved.
    fn follow(&self, mailbox: &Arc<Mailbox>, from: &Path, name: &MailboxName, to: &Path) {
        let mut place = lock(&mailbox.place);
        (place.name, place.folder) = (name.clone(), to.to_owned());
        drop(place);
        mailbox.close_cache();
        self.context.forget(from);
        self.context.moved(to, mailbox);
    }

    /// The folder of a mailbox; [`StoreError::Cannot`] where it can have none.
    pub(super) fn folder(&self, name: &MailboxName) -> Result<PathBuf> {
        layout::folder(self.layout, &self.root, name)
    }

    pub(super) fn exists(&self, name: &MailboxName) -> bool {
        name.is_inbox() || layout::exists(self.layout, &self.root, name)
    }

    /// The mailboxes that have a folder; the inbox is not among them.
    pub(super) fn folders(&self) -> Result<Vec<MailboxName>> {
        layout::mailboxes(self.layout, &self.root)
    }

    /// Makes the name of a folder durable, or its absence.
    fn sync_around(&self, folder: &Path) -> Result<()> {
        self.context.sync(folder.parent().unwrap_or(&self.root))
    }

    /// Removes the folders on the way to one that is gone, as far as nothing is in them: Dovecot would list them.
    fn prune(&self, folder: &Path) {
        for above in folder.ancestors().skip(1).take_while(|above| *above != self.root) {
            if fsio::remove_empty_dir(above).is_err() {
                return;
            }
        }
    }

    /// Makes the folder of a mailbox, durably.
    fn make_folder(&self, name: &MailboxName) -> Result<()> {
        let folder = self.folder(name)?;
        if self.layout == Layout::Fs {
            // Folders on the way, and this one, may be there for what is below.
            layout::check_way(&self.root, &folder)?;
            return make_maildir(&folder);
        }
        fsio::create_one_dir(&folder).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => StoreError::AlreadyExists,
            _ => StoreError::io("making a mailbox")(e),
        })?;
        make_subfolders(&folder)?;
        fsio::replace(&folder.join(layout::FOLDER_MARK), b"").map_err(StoreError::io("making a mailbox"))?;
        self.context.sync(&self.root)
    }

    fn remove_trash(&self) {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let is_trash = entry.file_name().to_str().is_some_and(|name| name.starts_with(TRASH));
            if is_trash && let Err(error) = fsio::remove_dir_all(&entry.path()) {
                tracing::warn!(folder = %entry.path().display(), %error, "a deleted mailbox stays for now");
            }
        }
    }

    fn read_subscriptions(&self) -> Result<Subscriptions> {
        let bytes = read_small(&self.root.join(subscriptions::FILE))?;
        Ok(Subscriptions::parse(self.layout, &bytes.unwrap_or_default()))
    }

    fn write_subscriptions(&self, subscriptions: &Subscriptions) -> Result<()> {
        let path = self.root.join(subscriptions::FILE);
        fsio::replace(&path, &subscriptions.format()).map_err(StoreError::io("writing the subscriptions"))
    }

    fn change_subscriptions(&self, change: impl FnOnce(&mut Subscriptions) -> bool) -> Result<()> {
        let _tree = lock(&self.tree);
        let mut subscriptions = self.read_subscriptions()?;
        if change(&mut subscriptions) { self.write_subscriptions(&subscriptions) } else { Ok(()) }
    }
}

/// Moves all that belongs to a mailbox out of its folder, in which others lie.
fn empty(folder: &Path, trash: &Path) -> io::Result<()> {
    fsio::create_one_dir(trash)?;
    for name in layout::contents(folder)? {
        fsio::rename(&folder.join(&name), &trash.join(&name))?;
    }
    fsio::sync_dir(folder)
}

fn is_maildir(folder: &Path) -> bool {
    ["tmp", "new", "cur"].iter().all(|sub| folder.join(sub).is_dir())
}

/// Makes a Maildir with its parents, durably.
fn make_maildir(folder: &Path) -> Result<()> {
    fsio::create_dir_durably(folder).map_err(StoreError::io("making a Maildir"))?;
    make_subfolders(folder)
}

fn make_subfolders(folder: &Path) -> Result<()> {
    let mut made = false;
    for sub in ["tmp", "new", "cur"] {
        match fsio::create_one_dir(&folder.join(sub)) {
            Ok(()) => made = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("making a Maildir")(error)),
        }
    }
    if made { fsio::sync_dir(folder).map_err(StoreError::io("making a Maildir")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::Store;

    #[tokio::test]
    async fn an_account_that_a_crash_left_half_made_is_finished() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let maildir = dir.path().join("alice");
        std::fs::create_dir_all(maildir.join(".Drafts")).expect("made");
        std::fs::write(maildir.join(UNFINISHED), b"").expect("written");
        let account = Store::open(Clock::system()).account(&maildir).await.expect("opened");
        let listed = account.list().await.expect("listed");
        let usual = listed.iter().filter(|m| m.special_use.is_some() && m.subscribed).count();
        assert_eq!(usual, SpecialUse::ALL.len());
        assert!(!maildir.join(UNFINISHED).exists());
        // What a user deletes afterwards stays deleted.
        std::fs::remove_dir_all(maildir.join(".Junk")).expect("removed");
        let account = Store::open(Clock::system()).account(&maildir).await.expect("opened");
        assert_eq!(account.list().await.expect("listed").len(), SpecialUse::ALL.len());
    }

    #[tokio::test]
    async fn validities_go_on_from_those_of_dovecot() {
        let dir = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir_all(dir.path().join(".Other/cur")).expect("made");
        for (text, least) in [("ee6b2800", 0xee6b_2801), ("nonsense", 1), ("00000000", 1)] {
            std::fs::write(dir.path().join(DOVECOT_VALIDITY), text).expect("written");
            let account = Store::open(Clock::system()).account(dir.path()).await.expect("opened");
            let name = MailboxName::parse(text).expect("valid");
            account.create(&name).await.expect("made");
            let validity = account.status(&name).await.expect("told").validity.get();
            assert!(validity >= least && (least == 1) == (validity < 0xee6b_2800), "{text}: {validity}");
        }
    }

    #[tokio::test]
    async fn an_account_of_the_other_layout_is_left_as_it_is() {
        let dir = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir_all(dir.path().join("Sent/cur")).expect("made");
        let account = Store::open(Clock::system()).account(dir.path()).await.expect("opened");
        assert_eq!(account.list().await.expect("listed").len(), 1);
        assert!(!dir.path().join(".Drafts").exists());
    }

    #[tokio::test]
    async fn nested_mailboxes_are_made_renamed_and_deleted() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let maildir = dir.path().join("alice");
        let store = Store::open_with(Clock::system(), Layout::Fs, None);
        let account = store.account(&maildir).await.expect("opened");
        let name = |text: &str| MailboxName::parse(text).expect("valid");
        for text in ["a/b/c", "a", "a.b", "x"] {
            account.create(&name(text)).await.expect("made");
        }
        assert!(matches!(account.create(&name("a/b/c")).await, Err(StoreError::AlreadyExists)));
        assert!(matches!(account.create(&name("a/cur")).await, Err(StoreError::Cannot(_))));
        assert!(matches!(account.mailbox(&name("a/b")).await, Err(StoreError::NoSuchMailbox)));
        assert!(maildir.join("a/b/c/cur").is_dir() && !maildir.join("a/maildirfolder").exists());
        // Who has a mailbox open goes with it.
        let open = account.mailbox(&name("a/b/c")).await.expect("there");
        let text = fsio::Content::from_bytes(b"Subject: x\n\n".to_vec());
        open.append(text.clone(), crate::mail::flags::Flags::NONE, &[], None).await.expect("appended");
        account.rename(&name("a"), &name("new/home")).await.expect_err("a part is reserved");
        account.rename(&name("a"), &name("old/home")).await.expect("renamed");
        assert_eq!(open.name(), name("old/home/b/c"));
        open.append(text, crate::mail::flags::Flags::NONE, &[], None).await.expect("appended");
        assert!(Arc::ptr_eq(&open, &account.mailbox(&name("old/home/b/c")).await.expect("there")));
        assert_eq!(open.refresh().await.expect("read").messages.len(), 2);
        assert!(matches!(account.rename(&name("x"), &name("old")).await, Err(StoreError::AlreadyExists)));
        // What lies below stays, and goes last of all with its folders.
        account.delete(&name("old/home")).await.expect("deleted");
        assert!(matches!(account.delete(&name("old/home")).await, Err(StoreError::NoSuchMailbox)));
        assert_eq!(open.refresh().await.expect("read").messages.len(), 2);
        account.delete(&name("old/home/b/c")).await.expect("deleted");
        assert!(!maildir.join("old").exists());
        let listed = account.list().await.expect("listed");
        let others: Vec<&str> = listed.iter().filter(|m| m.special_use.is_none()).map(|m| m.name.as_str()).collect();
        assert_eq!(others, ["INBOX", "a.b", "x"]);
        assert!(listed.iter().filter(|m| m.special_use.is_some()).all(|m| m.subscribed));
    }

    #[tokio::test]
    async fn what_no_client_can_see_outlives_the_mailbox_around_it() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let maildir = dir.path().join("alice");
        let store = Store::open_with(Clock::system(), Layout::Fs, None);
        let account = store.account(&maildir).await.expect("opened");
        let name = MailboxName::parse("a").expect("valid");
        for hidden in ["a/R&D/cur", "a/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/cur"] {
            account.create(&name).await.expect("made");
            let hidden = maildir.join(hidden);
            std::fs::create_dir_all(&hidden).expect("made");
            std::fs::write(hidden.join("1.a"), b"Subject: x\n\n").expect("written");
            let (_, findings) = store.check_tree_blocking(&maildir).expect("looked");
            assert!(findings.all.iter().any(|finding| finding.kind == "folder-name"), "{findings:?}");
            account.delete(&name).await.expect("deleted");
            assert!(hidden.join("1.a").exists() && !maildir.join("a/cur").exists());
            std::fs::remove_dir_all(maildir.join("a")).expect("removed");
        }
    }

    #[tokio::test]
    async fn no_mailbox_is_made_through_a_symbolic_link() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (maildir, elsewhere) = (dir.path().join("alice"), dir.path().join("elsewhere"));
        std::fs::create_dir(&elsewhere).expect("made");
        let account = Store::open_with(Clock::system(), Layout::Fs, None).account(&maildir).await.expect("opened");
        let name = |text: &str| MailboxName::parse(text).expect("valid");
        account.create(&name("a")).await.expect("made");
        std::os::unix::fs::symlink(&elsewhere, maildir.join("link")).expect("made");
        std::os::unix::fs::symlink("nowhere", maildir.join("dangling")).expect("made");
        std::fs::write(maildir.join("file"), b"").expect("written");
        for text in ["link", "link/x", "dangling/x", "file/x", "file"] {
            let refused = |done| matches!(done, Err(StoreError::Cannot(_)));
            assert!(refused(account.create(&name(text)).await), "{text}");
            assert!(refused(account.rename(&name("a"), &name(text)).await), "{text}");
            assert!(refused(account.rename(&MailboxName::inbox(), &name(text)).await), "{text}");
        }
        assert_eq!(std::fs::read_dir(&elsewhere).expect("read").count(), 0);
        account.mailbox(&name("a")).await.expect("stays");
    }

    #[tokio::test]
    async fn a_folder_in_the_place_of_dovecots_file_locks_nobody_out() {
        let dir = tempfile::tempdir().expect("temporary folder");
        std::fs::create_dir_all(dir.path().join(DOVECOT_VALIDITY).join("cur")).expect("made");
        let store = Store::open_with(Clock::system(), Layout::Fs, None);
        store.account(dir.path()).await.expect("opened").mailbox(&MailboxName::inbox()).await.expect("there");
    }
}
