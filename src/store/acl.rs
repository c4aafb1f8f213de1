//! Who else may use a mailbox: the file `facteur-acl` in its folder (RFC 4314). Nobody may where there is none, or where
//! it cannot be read.
//!
//! | after a crash | what happens |
//! | --- | --- |
//! | `facteur-shares` in the Maildir, no mailbox has rights | all mailboxes are looked at in vain |
//! | rights without `facteur-shares` | cannot be: it is made durable first. Removed by hand, nobody else sees a mailbox |
//!
//! A mailbox that is renamed takes its rights along, one that is deleted takes them away, one that is made has those of
//! its parent.

use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::fsio;
use crate::mail::limits::ACL_ENTRIES;
use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Rights;

use super::Store;
use super::account::AccountStore;
use super::context::blocking;
use super::context::lock;
use super::error::Result;
use super::error::StoreError;
use super::load::read_small;

/// In the folder of a mailbox.
const FILE: &str = "facteur-acl";

/// In the Maildir of an account that shares something.
const MARK: &str = "facteur-shares";

/// Everybody who has logged in.
pub const ANYONE: &str = "anyone";

/// The rights of others in a mailbox, by name of account or [`ANYONE`]. With `-` before the name they are taken away
/// again (RFC 4314 §2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acl {
    entries: Vec<(String, Rights)>,
}

/// What is done with rights that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclChange {
    /// They are replaced.
    Replace,
    /// These are added.
    Add,
    /// These are removed.
    Remove,
}

impl Acl {
    /// All that was said, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Rights)> {
        self.entries.iter().map(|(identifier, rights)| (identifier.as_str(), *rights))
    }

    /// What an account may do that is not the owner's.
    #[must_use]
    pub fn rights_of(&self, account: &str) -> Rights {
        let said = |identifier: &str| {
            self.entries.iter().find(|(i, _)| i == identifier).map_or(Rights::NONE, |(_, rights)| *rights)
        };
        let given = said(account).and(said(ANYONE));
        given.without(said(&format!("-{account}"))).without(said(&format!("-{ANYONE}")))
    }

    fn change(&mut self, identifier: &str, change: AclChange, rights: Rights) -> Result<()> {
        let at = self.entries.iter().position(|(i, _)| i == identifier);
        let before = at.map_or(Rights::NONE, |at| self.entries[at].1);
        let after = match change {
            AclChange::Replace => rights,
            AclChange::Add => before.and(rights),
            AclChange::Remove => before.without(rights),
        };
        match at {
            Some(at) if after.is_none() => drop(self.entries.remove(at)),
            Some(at) => self.entries[at].1 = after,
            None if after.is_none() => {}
            None if self.entries.len() >= ACL_ENTRIES => return Err(StoreError::Cannot("too many rights")),
            None => self.entries.push((identifier.to_owned(), after)),
        }
        Ok(())
    }

    fn format(&self) -> String {
        self.entries.iter().map(|(identifier, rights)| format!("{rights} {identifier}\n")).collect()
    }

    /// A line that cannot be read gives no rights; one that takes them away and cannot be read takes all.
    fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let (letters, identifier) = line.split_once(' ')?;
            let rights = match Rights::parse(letters) {
                Some(rights) => rights,
                None if identifier.starts_with('-') => Rights::OWNER,
                None => return None,
            };
            Some((identifier.to_owned(), rights))
        };
        Self { entries: text.lines().filter_map(line).take(ACL_ENTRIES).collect() }
    }
}

/// Whether an account may share anything, without a look at its mailboxes.
#[must_use]
pub fn shares(maildir: &Path) -> bool {
    maildir.join(MARK).exists()
}

/// Which accounts share something, so that a LIST need not ask the disk about each of a thousand.
#[derive(Debug, Default)]
pub(super) struct Sharers {
    /// Of which accounts this was found out, and after how many began to share.
    of: Option<(u64, u64)>,
    maildirs: Arc<[PathBuf]>,
}

impl Store {
    /// Which of these Maildirs are of accounts that may share something. Who asks for the same ones again says the same
    /// number.
    pub fn sharers(&self, number: u64, maildirs: impl FnOnce() -> BTreeSet<PathBuf>) -> Arc<[PathBuf]> {
        let now = (number, self.context.sharers.load(Ordering::Acquire));
        let mut sharers = lock(&self.sharers);
        if sharers.of != Some(now) {
            *sharers =
                Sharers { of: Some(now), maildirs: maildirs().into_iter().filter(|maildir| shares(maildir)).collect() };
        }
        Arc::clone(&sharers.maildirs)
    }
}

impl AccountStore {
    /// What others may do with a mailbox.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`]; what the file system says.
    pub async fn acl(self: &Arc<Self>, name: &MailboxName) -> Result<Acl> {
        let (this, name) = (Arc::clone(self), name.clone());
        blocking(move || this.acl_blocking(&name)).await
    }

    /// Changes what somebody may do with a mailbox, durably.
    ///
    /// # Errors
    /// As [`AccountStore::acl`]; [`StoreError::Cannot`] for more than anybody needs.
    pub async fn change_acl(
        self: &Arc<Self>,
        name: &MailboxName,
        identifier: &str,
        change: AclChange,
        rights: Rights,
    ) -> Result<()> {
        let (this, name, identifier) = (Arc::clone(self), name.clone(), identifier.to_owned());
        blocking(move || {
            let _tree = this.lock_tree();
            let mut acl = this.acl_blocking(&name)?;
            acl.change(&identifier, change, rights)?;
            this.write_acl(&name, &acl)
        })
        .await
    }

    /// The mailboxes that others may use in some way. Kept until something of ours changes the tree.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn shared(self: &Arc<Self>) -> Result<Arc<[(MailboxName, Acl)]>> {
        let this = Arc::clone(self);
        blocking(move || {
            if !shares(&this.folder(&MailboxName::inbox())?) {
                return Ok(Arc::default());
            }
            let _tree = this.lock_tree();
            if let Some(known) = this.known_shared() {
                return Ok(known);
            }
            let all = this.list_blocking()?.into_iter().filter(|listed| listed.selectable);
            let with_acl = all.filter_map(|listed| {
                let acl = this.acl_blocking(&listed.name).ok()?;
                (acl != Acl::default()).then_some((listed.name, acl))
            });
            let shared: Arc<[(MailboxName, Acl)]> = with_acl.collect();
            this.remember_shared(Some(Arc::clone(&shared)));
            Ok(shared)
        })
        .await
    }

    fn acl_blocking(&self, name: &MailboxName) -> Result<Acl> {
        if !self.exists(name) {
            return Err(StoreError::NoSuchMailbox);
        }
        let bytes = read_small(&self.folder(name)?.join(FILE))?;
        Ok(bytes.map(|bytes| Acl::parse(&String::from_utf8_lossy(&bytes))).unwrap_or_default())
    }

    /// For who holds the lock of the tree.
    fn write_acl(&self, name: &MailboxName, acl: &Acl) -> Result<()> {
        let writing = StoreError::io("writing rights");
        let mark = self.folder(&MailboxName::inbox())?.join(MARK);
        if !mark.exists() {
            fsio::replace(&mark, b"").map_err(StoreError::io("writing rights"))?;
            self.begins_to_share();
        }
        self.remember_shared(None);
        fsio::replace(&self.folder(name)?.join(FILE), acl.format().as_bytes()).map_err(writing)
    }

    /// A mailbox was made: what others may do with its parent they may do with it (RFC 4314 §4). For who holds the lock
    /// of the tree.
    pub(super) fn inherit_acl(&self, name: &MailboxName) -> Result<()> {
        if !shares(&self.folder(&MailboxName::inbox())?) {
            return Ok(());
        }
        let Some(parent) = name.parent() else { return Ok(()) };
        match self.acl_blocking(&parent) {
            Ok(acl) if acl != Acl::default() => self.write_acl(name, &acl),
            Ok(_) | Err(StoreError::NoSuchMailbox) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_given_and_taken() {
        let rights = |letters: &str| Rights::parse(letters).expect("letters");
        let mut acl = Acl::default();
        acl.change("bob@x", AclChange::Replace, rights("lrs")).expect("room");
        acl.change("bob@x", AclChange::Add, rights("i")).expect("room");
        acl.change("bob@x", AclChange::Remove, rights("s")).expect("room");
        acl.change(ANYONE, AclChange::Replace, rights("l")).expect("room");
        acl.change("-carol@x", AclChange::Replace, rights("lr")).expect("room");
        assert_eq!(acl.rights_of("bob@x"), rights("lri"));
        assert_eq!(acl.rights_of("dave@x"), rights("l"));
        assert_eq!(acl.rights_of("carol@x"), Rights::NONE);
        assert_eq!(Acl::parse(&acl.format()), acl);
        acl.change("bob@x", AclChange::Replace, Rights::NONE).expect("room");
        assert_eq!(acl.iter().count(), 2);
        for n in 0..ACL_ENTRIES {
            acl.change(&n.to_string(), AclChange::Replace, rights("l")).ok();
        }
        assert_eq!(acl.iter().count(), ACL_ENTRIES);
        assert!(acl.change("one more", AclChange::Replace, rights("l")).is_err());
        let broken = Acl::parse("lr\nzz bob@x\nzz -carol@x\nlr anyone\n");
        assert_eq!((broken.rights_of("bob@x"), broken.rights_of("carol@x")), (rights("lr"), Rights::NONE));
    }
}
