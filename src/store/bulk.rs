//! Many messages at once, for imports and MULTIAPPEND: as APPEND, with the waiting shared.
//!
//! The files are written and synced by several threads, since a file system syncs several files for little more than
//! one; then all get their names, their folders are synced once, and their lines in the UID list are one write.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::fsio;
use crate::fsio::Content;
use crate::mail::flags::Flags;
use crate::mail::ids::Uid;
use crate::mail::limits::IMPORT_WRITERS;
use crate::mail::limits::RENAMES_AT_ONCE;
use crate::mail::quota::Usage;

use super::context::blocking;
use super::context::lock;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::folder::Arrival;
use super::mailbox::Mailbox;
use super::quota::Changing;
use super::quota::Charge;
use super::transfer::seconds;
use super::watch::Kind;
use super::watch::Sub;

/// A message that is to be added.
#[derive(Debug, Clone)]
pub struct Addition {
    /// Its bytes.
    pub content: Content,
    /// System flags.
    pub flags: Flags,
    /// Keywords by name.
    pub keywords: Vec<String>,
    /// INTERNALDATE; now where there is none.
    pub date: Option<SystemTime>,
}

/// A file in `tmp/`, written and synced.
struct Written {
    temporary: PathBuf,
    base: String,
    date: SystemTime,
}

impl Mailbox {
    /// Adds messages in this order: all or none, whatever the quota, for it is an operator who asks. Durable. For
    /// callers on a blocking thread.
    ///
    /// # Errors
    /// What the file system says; [`StoreError::KeywordLimit`].
    pub fn append_all_blocking(&self, additions: &[Addition]) -> Result<()> {
        self.append_all_charged(additions, Charge::Exempt).map(drop)
    }

    /// As [`Mailbox::append_all_blocking`], within the quota; gives the UIDs.
    ///
    /// # Errors
    /// As there; [`StoreError::OverQuota`].
    pub async fn append_all(self: &Arc<Self>, additions: Vec<Addition>) -> Result<Vec<Uid>> {
        let this = Arc::clone(self);
        blocking(move || this.append_all_charged(&additions, Charge::Checked)).await
    }

    fn append_all_charged(&self, additions: &[Addition], charge: Charge) -> Result<Vec<Uid>> {
        let folder = self.folder()?;
        let sizes = additions.iter().map(|addition| Usage::of_message(addition.content.len()));
        let size = sizes.fold(Usage::default(), Usage::plus);
        let room = self.quota.reserve(size, charge)?;
        // Named in order, whoever writes them.
        let files: Vec<Written> = additions.iter().map(|addition| self.name_for(&folder, addition)).collect();
        let added = write_all(&files, additions).and_then(|()| self.append_all_written(&folder, &files, additions));
        let added = added.map(|(uids, changing)| {
            room.commit(&changing, size);
            uids
        });
        if added.is_err() {
            for file in &files {
                // One that stays goes when it is 36 hours old.
                fsio::remove_if_there(&file.temporary).ok();
            }
        }
        added
    }

    fn name_for(&self, folder: &Path, addition: &Addition) -> Written {
        let sizes = file_name::sizes(addition.content.len(), addition.content.wire_len());
        let base = format!("{}{sizes}", self.context.unique());
        let date = addition.date.unwrap_or_else(|| self.context.clock.wall());
        Written { temporary: folder.join("tmp").join(&base), base, date }
    }

    fn append_all_written(
        &self,
        folder: &Path,
        files: &[Written],
        additions: &[Addition],
    ) -> Result<(Vec<Uid>, Changing<'_>)> {
        let mut work = self.work();
        self.look(&mut work)?;
        let mut arrivals = Vec::with_capacity(files.len());
        for (file, addition) in files.iter().zip(additions) {
            let flags = addition.flags.union(self.keyword_flags(&mut work, &addition.keywords)?);
            let base = file.base.as_bytes();
            let name = if flags.is_empty() { base.into() } else { file_name::with_flags(base, flags) };
            arrivals.push(Arrival { name, recent: flags.is_empty(), date: Some(seconds(file.date)) });
        }
        let path = |arrival: &Arrival| arrival.sub().file(folder, &arrival.name);
        let changing = self.quota.changing();
        let now = self.context.clock.instant();
        let mut named = Ok(());
        for (files, arrivals) in files.chunks(RENAMES_AT_ONCE).zip(arrivals.chunks(RENAMES_AT_ONCE)) {
            named = named.and_then(|()| {
                let mut pairs = files.iter().zip(arrivals);
                lock(&self.folders).change(folder, now, |ours| {
                    pairs.try_for_each(|(file, arrival)| {
                        let step = (arrival.sub(), Kind::Appears, &*arrival.name);
                        ours.run(&[step], || fsio::rename_new(&file.temporary, &path(arrival)))
                    })
                })
            });
        }
        let synced = named.map_err(StoreError::io("storing a message")).and_then(|()| {
            let touched =
                [Sub::Cur, Sub::New].into_iter().filter(|s| arrivals.iter().any(|arrival| arrival.sub() == *s));
            touched.into_iter().try_for_each(|sub| self.context.sync(&folder.join(sub.name())))
        });
        let added = synced.and_then(|()| self.add(&mut work, &arrivals));
        if added.is_err() {
            lock(&self.folders).change(folder, now, |ours| {
                for arrival in &arrivals {
                    let step = (arrival.sub(), Kind::Vanishes, &*arrival.name);
                    if let Err(error) = ours.run(&[step], || fsio::remove_if_there(&path(arrival))) {
                        tracing::warn!(folder = %folder.display(), %error, "a message that was given up stays");
                    }
                }
            });
        }
        added.map(|uids| (uids, changing))
    }
}

/// Writes the files, several at a time.
fn write_all(files: &[Written], additions: &[Addition]) -> Result<()> {
    let write = |(file, addition): (&Written, &Addition)| {
        fsio::write_new(&file.temporary, |out| {
            addition.content.write_to(b"", out)?;
            fsio::set_modified(out, file.date)
        })
    };
    let share = files.len().div_ceil(IMPORT_WRITERS).max(1);
    let written = std::thread::scope(|scope| {
        let shares = files.chunks(share).zip(additions.chunks(share));
        let threads: Vec<_> = shares
            .map(|(files, additions)| scope.spawn(move || files.iter().zip(additions).try_for_each(write)))
            .collect();
        let bug = |_| Err(std::io::Error::other("a bug ended the writing"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(bug)).collect::<Vec<_>>()
    });
    written.into_iter().collect::<std::io::Result<()>>().map_err(StoreError::io("writing a message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::mail::flags::SystemFlag;
    use crate::mail::mailbox::MailboxName;
    use crate::store::Store;

    #[tokio::test]
    async fn many_come_in_order_or_not_at_all() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let maildir = dir.path().join("alice");
        let account = Store::open(Clock::system()).account(&maildir).await.expect("made");
        let mailbox = account.mailbox(&MailboxName::inbox()).await.expect("there");
        let addition = |n: u32| Addition {
            content: Content::from_bytes(format!("Subject: {n}\n\nx\n").into_bytes()),
            flags: if n.is_multiple_of(3) { Flags::NONE } else { Flags::NONE.with(SystemFlag::Seen) },
            keywords: if n == 7 { vec!["work".to_owned()] } else { Vec::new() },
            date: Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n.into())),
        };
        let all: Vec<Addition> = (1..=300).map(addition).collect();
        mailbox.append_all_blocking(&all).expect("added");
        mailbox.append_all_blocking(&[]).expect("nothing to do");
        let shown = mailbox.snapshot();
        let again = Store::open(Clock::system()).account(&maildir).await.expect("there");
        let read = again.mailbox(&MailboxName::inbox()).await.expect("read").snapshot();
        for (n, (one, other)) in (1u32..).zip(shown.messages.iter().zip(read.messages.iter())) {
            assert_eq!((one.uid.get(), one.flags, one.is_recent()), (n, other.flags, n.is_multiple_of(3)));
            assert_eq!((one.uid, one.wire_size()), (other.uid, other.wire_size()));
            assert_eq!(one.date(), Some(n.into()));
            let bytes = mailbox.read_blocking(one.uid).expect("there");
            assert_eq!(bytes, format!("Subject: {n}\n\nx\n").as_bytes());
        }
        assert_eq!((shown.messages.len(), &shown.keywords), (300, &read.keywords));
        let mut bad = all;
        bad[200].keywords = (0..30).map(|n| format!("k{n}")).collect();
        assert!(matches!(mailbox.append_all_blocking(&bad), Err(StoreError::KeywordLimit)));
        assert_eq!(mailbox.refresh_blocking().expect("read").messages.len(), 300);
        assert_eq!(std::fs::read_dir(maildir.join("tmp")).expect("there").count(), 0);
    }
}
