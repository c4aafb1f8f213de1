//! The mailboxes of one account: a Maildir++ tree. List, create, delete, rename, subscribe.
//!
//! One lock (`tree`) lets one change of the tree happen at a time; it is taken before any lock of a mailbox.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use crate::fsio;
use crate::mail::ids::Uid;
use crate::mail::limits::MAILBOXES;
use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;
use crate::mail::quota::QuotaLimits;
use crate::mail::quota::Usage;

use super::context::Context;
use super::context::Validities;
use super::context::blocking;
use super::context::lock;
use super::derived;
use super::error::Result;
use super::error::StoreError;
use super::folder_name;
use super::load;
use super::load::read_small;
use super::mailbox::Mailbox;
use super::quota::Charge;
use super::quota::Quota;
use super::quota::Reservation;
use super::snapshot::Snapshot;
use super::special_use;
use super::subscriptions;
use super::subscriptions::Subscriptions;
use super::uidlist;

/// Lies in a Maildir while its usual mailboxes are made.
const UNFINISHED: &str = "..facteur-unfinished";

/// Folders to be removed are first given a name that begins so. Dovecot passes over names with two dots, too.
const TRASH: &str = "..facteur-removed-";

/// The mailboxes of one account.
#[derive(Debug)]
pub struct AccountStore {
    context: Arc<Context>,
    root: PathBuf,
    tree: Mutex<()>,
    /// Whether [`AccountStore::prepare`] has done its work.
    prepared: AtomicBool,
    validities: Arc<Validities>,
    quota: Arc<Quota>,
}

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
    pub(super) fn new(context: Arc<Context>, root: &Path) -> Self {
        Self {
            quota: context.quotas.of(root),
            context,
            root: root.to_owned(),
            tree: Mutex::default(),
            prepared: AtomicBool::new(false),
            validities: Arc::default(),
        }
    }

    /// Prepares it if nobody has: who comes meanwhile waits, or two would make the same mailboxes.
    pub(super) fn ready(&self) -> Result<()> {
        if self.prepared.load(Ordering::Acquire) { Ok(()) } else { self.prepare() }
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

    /// All mailboxes, INBOX first, the others by name; a missing parent is there as not selectable.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn list(self: &Arc<Self>) -> Result<Vec<Listed>> {
        let this = Arc::clone(self);
        blocking(move || this.list_blocking()).await
    }

    fn list_blocking(&self) -> Result<Vec<Listed>> {
        let names = self.folders()?;
        let subscribed: BTreeSet<MailboxName> = self.read_subscriptions()?.names().iter().cloned().collect();
        let roles = special_use::roles(names.iter());
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
        blocking(move || this.change_subscriptions(|s| s.names().len() < MAILBOXES && s.add(&name))).await
    }

    /// Ends a subscription; none there is no error.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn unsubscribe(self: &Arc<Self>, name: &MailboxName) -> Result<()> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || this.change_subscriptions(|s| s.remove(&name))).await
    }

    /// Makes a mailbox, durably. Its parents need not exist.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`]; what the file system says.
    pub async fn create(self: &Arc<Self>, name: &MailboxName) -> Result<()> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || {
            let _tree = lock(&this.tree);
            if this.exists(&name) {
                return Err(StoreError::AlreadyExists);
            }
            if this.folders()?.len() >= MAILBOXES {
                return Err(StoreError::Cannot("too many mailboxes"));
            }
            this.make_folder(&name)
        })
        .await
    }

    /// Deletes a mailbox with its messages. Those below it stay (RFC 3501 §6.3.4).
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`]; [`StoreError::Cannot`] for INBOX; what the file system says.
    pub async fn delete(self: &Arc<Self>, name: &MailboxName) -> Result<()> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || this.delete_blocking(&name)).await
    }

    /// Renames a mailbox and those below it. INBOX instead gives its messages to a new mailbox (RFC 3501 §6.3.5).
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`]; [`StoreError::AlreadyExists`]; what the file system says. A crash or an error
    /// in between may leave some of those below under the old name.
    pub async fn rename(self: &Arc<Self>, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let (this, from, to) = (Arc::clone(self), from.clone(), to.clone());
        blocking(move || this.rename_blocking(&from, &to)).await
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

    /// What all mailboxes together hold, and what they may hold. Counted from disk where nobody asked for long.
    ///
    /// # Errors
    /// None but a bug's: what cannot be read counts nothing.
    pub async fn usage(self: &Arc<Self>) -> Result<(Usage, QuotaLimits)> {
        let quota = Arc::clone(&self.quota);
        blocking(move || Ok(quota.usage())).await
    }

    fn mailbox_blocking(&self, name: &MailboxName) -> Result<Arc<Mailbox>> {
        let folder = self.folder(name);
        if name.is_inbox() {
            if !is_maildir(&folder) {
                make_maildir(&folder)?;
            }
        } else {
            if !self.exists(name) {
                return Err(StoreError::NoSuchMailbox);
            }
            // Another program may have made only a part.
            make_subfolders(&folder)?;
        }
        let make = || {
            let (context, validities) = (Arc::clone(&self.context), Arc::clone(&self.validities));
            Mailbox::new(context, validities, Arc::clone(&self.quota), name.clone(), folder.clone())
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
        let folder = self.folder(name);
        let list = read_small(&folder.join(uidlist::FILE))?;
        if let Some(parsed) = list.as_deref().and_then(uidlist::parse) {
            self.validities.removed(parsed.header.validity);
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let micros = self.context.clock.since_epoch().as_micros();
        let trash = self.root.join(format!("{TRASH}{micros}-{}-{number}", std::process::id()));
        let removing = self.quota.removing();
        fsio::rename(&folder, &trash).map_err(StoreError::io("deleting a mailbox"))?;
        removing.folder(&trash);
        drop(removing);
        if let Some(mailbox) = self.context.forget(&folder) {
            lock(&mailbox.place).gone = true;
            mailbox.wake();
        }
        derived::removed(&self.context, &folder);
        self.context.sync(&self.root)?;
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
        for (old, new) in &renames {
            self.rename_folder(old, new)?;
        }
        self.context.sync(&self.root)
    }

    /// RFC 3501 §6.3.5: the messages move, the inbox stays, and so do the mailboxes below it.
    fn rename_inbox(&self, to: &MailboxName) -> Result<()> {
        {
            let _tree = lock(&self.tree);
            self.make_folder(to)?;
        }
        let (inbox, target) = (self.mailbox_blocking(&MailboxName::inbox())?, self.mailbox_blocking(to)?);
        let uids: Vec<Uid> = inbox.snapshot().messages.iter().map(|m| m.uid).collect();
        inbox.move_blocking(&uids, &target).map(drop)
    }

    fn rename_folder(&self, old: &MailboxName, new: &MailboxName) -> Result<()> {
        let (from, to) = (self.folder(old), self.folder(new));
        let mailbox = self.context.live(&from);
        // Nothing is changed in the folder while its name changes.
        let work = mailbox.as_ref().map(|m| m.work());
        let changing = self.quota.changing();
        fsio::rename_new(&from, &to).map_err(StoreError::io("renaming a mailbox"))?;
        drop(changing);
        derived::moved(&self.context, &from, &to);
        if let Some(mailbox) = &mailbox {
            let mut place = lock(&mailbox.place);
            (place.name, place.folder) = (new.clone(), to.clone());
            drop(place);
            self.context.forget(&from);
            self.context.moved(&to, mailbox);
        }
        drop(work);
        Ok(())
    }

    /// The folder of a mailbox.
    fn folder(&self, name: &MailboxName) -> PathBuf {
        folder_name::encode(name).map_or_else(|| self.root.clone(), |folder| self.root.join(folder))
    }

    fn exists(&self, name: &MailboxName) -> bool {
        name.is_inbox() || std::fs::symlink_metadata(self.folder(name)).is_ok_and(|m| m.is_dir())
    }

    /// The mailboxes that have a folder; the inbox is not among them.
    fn folders(&self) -> Result<Vec<MailboxName>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).map_err(StoreError::io("listing mailboxes"))? {
            let entry = entry.map_err(StoreError::io("listing mailboxes"))?;
            let folder = entry.file_name();
            let Some(text) = folder.to_str() else {
                tracing::warn!(folder = %folder.display(), "not a mailbox: its name is not text");
                continue;
            };
            // A symbolic link is no folder.
            if !text.starts_with('.') || text.starts_with("..") || !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            match folder_name::decode(text) {
                Some(name) => names.push(name),
                None => tracing::warn!(folder = text, "not a mailbox: its name does not decode"),
            }
        }
        names.sort();
        Ok(names)
    }

    /// Makes the folder of a mailbox, durably.
    fn make_folder(&self, name: &MailboxName) -> Result<()> {
        let folder = self.folder(name);
        fsio::create_one_dir(&folder).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => StoreError::AlreadyExists,
            _ => StoreError::io("making a mailbox")(e),
        })?;
        make_subfolders(&folder)?;
        fsio::replace(&folder.join("maildirfolder"), b"").map_err(StoreError::io("making a mailbox"))?;
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
        Ok(Subscriptions::parse(&bytes.unwrap_or_default()))
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
}
