//! `facteur-metadata`: what clients note about a mailbox, or about the account (RFC 5464), and what a mailbox is for
//! where a client has said so (RFC 6154 §3).
//!
//! One file in the folder of the mailbox, so that it is renamed and deleted with it; the account's own notes have
//! another beside the inbox. A line an entry: its name, a tab, its value in base64.
//!
//! | after a crash | what is there |
//! | --- | --- |
//! | while the new file is written | the old notes, and a temporary file that the next writing removes |
//! | after the rename, before the folder is synced | the old notes or the new ones, whole |
//! | after the answer | the new ones |
//!
//! A line that cannot be read is passed over. Knows nothing of who may read what.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::BASE64;

use crate::fsio;
use crate::mail::limits::METADATA_ENTRIES;
use crate::mail::limits::METADATA_OCTETS;
use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;

use super::account::AccountStore;
use super::context::blocking;
use super::error::Result;
use super::error::StoreError;
use super::events::AccountEvent;
use super::load::read_small;

const FILE: &str = "facteur-metadata";

/// The notes about the account.
const ACCOUNT_FILE: &str = "facteur-account-metadata";

/// The entry that says what a mailbox is for (RFC 6154 §4).
pub const SPECIAL_USE_ENTRY: &str = "/private/specialuse";

/// Notes by the names of their entries, which are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Annotations(BTreeMap<String, Vec<u8>>);

/// Changes of notes, in order; `None` takes an entry away.
pub type AnnotationChanges = Vec<(String, Option<Vec<u8>>)>;

impl Annotations {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let entry = |line: &str| {
            let (name, value) = line.split_once('\t')?;
            Some((name.to_owned(), BASE64.decode(value.as_bytes()).ok()?))
        };
        Self(text.lines().filter_map(entry).take(METADATA_ENTRIES).collect())
    }

    fn format(&self) -> Vec<u8> {
        let mut out = String::new();
        for (name, value) in &self.0 {
            // Writing to memory cannot fail.
            writeln!(out, "{name}\t{}", BASE64.encode(value)).ok();
        }
        out.into_bytes()
    }

    /// The value of an entry.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// All entries with their values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// What the mailbox is for, as far as somebody said so.
    pub(super) fn special_use(&self) -> Option<SpecialUse> {
        let said = std::str::from_utf8(self.get(SPECIAL_USE_ENTRY)?).ok()?;
        SpecialUse::ALL.into_iter().find(|role| said.split(' ').any(|s| s.eq_ignore_ascii_case(role.attribute())))
    }

    fn change(&mut self, changes: &AnnotationChanges) -> Result<()> {
        for (name, value) in changes {
            match value {
                Some(value) => drop(self.0.insert(name.clone(), value.clone())),
                None => drop(self.0.remove(name)),
            }
        }
        let octets: usize = self.0.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.0.len() > METADATA_ENTRIES || octets > METADATA_OCTETS {
            return Err(StoreError::TooManyAnnotations);
        }
        Ok(())
    }
}

impl AccountStore {
    /// The notes about a mailbox, or without one about the account.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`]; what the file system says.
    pub async fn annotations(self: &Arc<Self>, mailbox: Option<&MailboxName>) -> Result<Annotations> {
        let (this, mailbox) = (Arc::clone(self), mailbox.cloned());
        blocking(move || this.annotations_blocking(mailbox.as_ref())).await
    }

    /// Changes notes, durably, all of them or none.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`]; [`StoreError::TooManyAnnotations`]; [`StoreError::UseTaken`]; what the file system
    /// says.
    pub async fn annotate(self: &Arc<Self>, mailbox: Option<&MailboxName>, changes: AnnotationChanges) -> Result<()> {
        let (this, mailbox) = (Arc::clone(self), mailbox.cloned());
        blocking(move || {
            let _tree = this.lock_tree();
            let mut said = Annotations::default();
            said.change(&changes)?;
            if let (Some(role), Some(name)) = (said.special_use(), &mailbox) {
                this.check_use_free(role, name)?;
            }
            this.annotate_locked(mailbox.as_ref(), &changes)?;
            let names = changes.into_iter().map(|(name, _)| name).collect();
            this.tell(AccountEvent::Annotated(mailbox, names));
            Ok(())
        })
        .await
    }

    pub(super) fn annotations_blocking(&self, mailbox: Option<&MailboxName>) -> Result<Annotations> {
        let bytes = read_small(&self.annotations_file(mailbox)?)?;
        Ok(bytes.map(|bytes| Annotations::parse(&bytes)).unwrap_or_default())
    }

    /// What a mailbox is for, as far as a client said so. What cannot be read says nothing.
    pub(super) fn said_use(&self, name: &MailboxName) -> Option<SpecialUse> {
        let bytes = read_small(&self.folder(name).ok()?.join(FILE)).ok()??;
        Annotations::parse(&bytes).special_use()
    }

    /// Whether a mailbox may be said to be for something: no other one was.
    pub(super) fn check_use_free(&self, role: SpecialUse, name: &MailboxName) -> Result<()> {
        let taken = |other: &MailboxName| other != name && self.said_use(other) == Some(role);
        if self.folders()?.iter().any(taken) { Err(StoreError::UseTaken) } else { Ok(()) }
    }

    /// For who holds the lock of the tree.
    pub(super) fn say_use_locked(&self, name: &MailboxName, role: SpecialUse) -> Result<()> {
        let said = (SPECIAL_USE_ENTRY.to_owned(), Some(role.attribute().as_bytes().to_vec()));
        self.annotate_locked(Some(name), &vec![said])
    }

    /// For who holds the lock of the tree: no mailbox is renamed meanwhile.
    fn annotate_locked(&self, mailbox: Option<&MailboxName>, changes: &AnnotationChanges) -> Result<()> {
        let mut annotations = self.annotations_blocking(mailbox)?;
        annotations.change(changes)?;
        let path = self.annotations_file(mailbox)?;
        fsio::replace(&path, &annotations.format()).map_err(StoreError::io("writing annotations"))
    }

    fn annotations_file(&self, mailbox: Option<&MailboxName>) -> Result<PathBuf> {
        Ok(match mailbox {
            Some(name) if !self.exists(name) => return Err(StoreError::NoSuchMailbox),
            Some(name) => self.folder(name)?.join(FILE),
            None => self.folder(&MailboxName::inbox())?.join(ACCOUNT_FILE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_broken_is_passed_over() {
        let mut notes = Annotations::default();
        let set = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
        notes.change(&vec![set("/private/comment", b"a\tb\nc\0"), set("/shared/x", b"")]).expect("few");
        assert_eq!(Annotations::parse(&notes.format()), notes);
        notes.change(&vec![("/private/comment".to_owned(), None)]).expect("fewer");
        assert_eq!((notes.get("/private/comment"), notes.get("/shared/x")), (None, Some(&b""[..])));
        let broken = Annotations::parse(b"/a\tQQ==\nno tab\n/b\t!!\n\xff\tQQ==\n/c");
        assert_eq!(broken.get("/a"), Some(&b"A"[..]));
        assert_eq!(broken.get("/b"), None);
    }

    #[test]
    fn notes_are_bounded() {
        let many = (0..=METADATA_ENTRIES).map(|n| (format!("/private/{n}"), Some(Vec::new()))).collect();
        assert!(matches!(Annotations::default().change(&many), Err(StoreError::TooManyAnnotations)));
        let large = vec![("/private/x".to_owned(), Some(vec![0; METADATA_OCTETS]))];
        assert!(matches!(Annotations::default().change(&large), Err(StoreError::TooManyAnnotations)));
    }

    #[test]
    fn special_uses() {
        for (said, role) in [("\\Sent", Some(SpecialUse::Sent)), ("\\x \\junk", Some(SpecialUse::Junk)), ("Sent", None)]
        {
            let mut notes = Annotations::default();
            notes.change(&vec![(SPECIAL_USE_ENTRY.to_owned(), Some(said.into()))]).expect("few");
            assert_eq!(notes.special_use(), role, "{said}");
        }
    }
}
