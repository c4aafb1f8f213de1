//! Changes of messages that are there: flags, `\Recent`, expunge.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::fsio;
use crate::mail::flags::Flags;
use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;
use crate::mail::limits::FLAG_SYNC;
use crate::mail::limits::RENAMES_AT_ONCE;
use crate::mail::quota::Usage;

use super::context::lock;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::file_name::FileName;
use super::folder::Ours;
use super::folder::Stamp;
use super::journal::Records;
use super::keywords;
use super::mailbox::Mailbox;
use super::mailbox::Work;
use super::quota;
use super::snapshot::FlagChange;
use super::snapshot::FlagOp;
use super::snapshot::Message;
use super::snapshot::Snapshot;
use super::snapshot::Unchanged;
use super::watch::Kind;
use super::watch::Sub;

/// What became of a file.
pub(super) enum Done {
    /// It has this name now, in `new/` if `recent`.
    Renamed { name: FileName, recent: bool },
    /// It is gone.
    Removed,
    /// There was nothing to do.
    Nothing,
}

/// Another program may rename a file between our look and our change; so often we look again.
const TRIES: u32 = 3;

impl Mailbox {
    /// See [`Mailbox::claim_recent`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn claim_recent_blocking(&self) -> Result<Vec<Uid>> {
        let mut work = self.work();
        self.look(&mut work)?;
        let recent: Vec<Uid> = self.snapshot().messages.iter().filter(|m| m.is_recent()).map(|m| m.uid).collect();
        if recent.is_empty() {
            return Ok(recent);
        }
        let _changing = self.quota.changing();
        let (claimed, error) = self.change_files(&mut work, &recent, |ours, folder, message, name| {
            rename(ours, folder, message, name, file_name::with_flags(name, message.flags))
        })?;
        // The next delivery syncs `new/`, where these are missing now: `cur/`, where they are, comes first.
        self.context.sync(&self.folder()?.join("cur"))?;
        if let Some(error) = error {
            // A mailbox that cannot be written can still be read.
            tracing::warn!(mailbox = %self.name(), %error, "new messages stay where they are");
        }
        Ok(claimed)
    }

    /// See [`Mailbox::store`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn store_blocking(
        self: &Arc<Self>,
        validity: UidValidity,
        uids: &[Uid],
        change: &FlagChange,
    ) -> Result<Arc<Snapshot>> {
        self.store_if_blocking(validity, uids, change, None).map(|(snapshot, _)| snapshot)
    }

    /// See [`Mailbox::store_if`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn store_if_blocking(
        self: &Arc<Self>,
        validity: UidValidity,
        uids: &[Uid],
        change: &FlagChange,
        unchanged: Option<&Unchanged>,
    ) -> Result<(Arc<Snapshot>, Vec<Uid>)> {
        let mut work = self.work();
        self.look_if_new(&mut work)?;
        self.check_validity(validity)?;
        let given = change.system.union(match change.op {
            FlagOp::Remove => work.keywords.known(&change.keywords),
            FlagOp::Add | FlagOp::Replace => self.keyword_flags(&mut work, &change.keywords)?,
        });
        let (changing, mut from_new, mut modified) = (self.quota.changing(), false, Vec::new());
        let (changed, error) = self.change_files(&mut work, uids, |ours, folder, message, name| {
            // The lock of `work` is held: nobody changes the message between this look and the change.
            if unchanged.is_some_and(|unchanged| !unchanged.holds(message, change.op, given)) {
                modified.push(message.uid);
                return Ok(Done::Nothing);
            }
            let flags = change.op.apply(message.flags, given);
            if flags == message.flags {
                return Ok(Done::Nothing);
            }
            from_new |= message.is_recent();
            rename(ours, folder, message, name, file_name::with_flags(name, flags))
        })?;
        drop(changing);
        drop(work);
        if from_new {
            // As in `claim_recent`.
            self.context.sync(&self.folder()?.join("cur"))?;
        }
        if !changed.is_empty() {
            self.sync_flags_soon();
        }
        match error {
            Some(error) => Err(StoreError::io("changing flags")(error)),
            None => Ok((self.snapshot(), modified)),
        }
    }

    /// See [`Mailbox::expunge`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn expunge_blocking(&self, validity: UidValidity, uids: &[Uid]) -> Result<Vec<Uid>> {
        let mut work = self.work();
        self.look_if_new(&mut work)?;
        self.check_validity(validity)?;
        let mut touched = [false; 2];
        let (changing, mut freed) = (self.quota.changing(), Usage::default());
        let done = self.change_files(&mut work, uids, |ours, folder, message, name| {
            let sub = Sub::of(message.is_recent());
            let size = quota::of_file(name, || sub.file(folder, name));
            ours.run(&[(sub, Kind::Vanishes, name)], || fsio::remove(&sub.file(folder, name)))?;
            freed = freed.plus(size);
            touched[usize::from(message.is_recent())] = true;
            Ok(Done::Removed)
        });
        changing.freed(freed);
        drop(changing);
        let (expunged, error) = done?;
        let folder = self.folder()?;
        for (sub, touched) in ["cur", "new"].into_iter().zip(touched) {
            if touched {
                self.context.sync(&folder.join(sub))?;
            }
        }
        for uid in &expunged {
            work.fields.remove(uid);
        }
        self.drop_dead_lines(&mut work, expunged.len());
        match error {
            Some(error) => Err(StoreError::io("expunging")(error)),
            None => Ok(expunged),
        }
    }

    /// Reads the mailbox if that was not done yet.
    pub(super) fn look_if_new(&self, work: &mut Work) -> Result<()> {
        self.folder()?;
        if work.list.is_some() { Ok(()) } else { self.load(work) }
    }

    /// The flags of keywords; new ones are written down durably before a file name uses their letter.
    pub(super) fn keyword_flags(&self, work: &mut Work, names: &[String]) -> Result<Flags> {
        if names.is_empty() {
            return Ok(Flags::NONE);
        }
        let mut keywords = work.keywords.clone();
        let flags = keywords.slots(names, || self.shown().table.used_flags())?;
        if keywords != work.keywords {
            let path = self.folder()?.join(keywords::FILE);
            fsio::replace(&path, &keywords.format()).map_err(StoreError::io("writing the keywords"))?;
            work.keywords_stamp = Stamp::of_file(&path).ok();
            work.keywords = keywords;
            self.show_keywords(work);
        }
        Ok(flags)
    }

    /// Does something to the file of each of the messages that are there, and shows it. Returns what has changed, and
    /// the error that ended it early.
    fn change_files(
        &self,
        work: &mut Work,
        uids: &[Uid],
        mut act: impl FnMut(Ours<'_>, &Path, &Message, &[u8]) -> io::Result<Done>,
    ) -> Result<(Vec<Uid>, Option<io::Error>)> {
        let folder = self.folder()?;
        let now = self.context.clock.instant();
        let mut pending = uids.to_vec();
        pending.sort_unstable();
        pending.dedup();
        let mut changed = Vec::new();
        for tries in 0..TRIES {
            let (mut outcomes, mut moved_away, mut error) = (Vec::new(), Vec::new(), None);
            let files = self.files(&pending);
            'all: for some in files.chunks(RENAMES_AT_ONCE) {
                let mut folders = lock(&self.folders);
                let end = folders.change(&folder, now, |ours| {
                    for (message, name) in some {
                        match act(ours, &folder, message, name) {
                            Ok(done) => outcomes.push((message.uid, done)),
                            Err(e) if e.kind() == io::ErrorKind::NotFound => moved_away.push(message.uid),
                            Err(e) => return Some(e),
                        }
                    }
                    None
                });
                if end.is_some() {
                    error = end;
                    break 'all;
                }
            }
            changed.extend(self.show_done(work, outcomes));
            if moved_away.is_empty() || error.is_some() {
                return Ok((changed, error));
            }
            self.look_again(work, tries)?;
            pending = moved_away;
        }
        lock(&self.folders).forget();
        Ok((changed, None))
    }

    /// As [`Mailbox::files`], if UIDs of this validity name messages of this mailbox.
    pub(super) fn files_under(&self, validity: UidValidity, uids: &[Uid]) -> Result<Vec<(Message, FileName)>> {
        let shown = self.shown();
        if shown.validity != Some(validity) {
            return Err(StoreError::MessageGone);
        }
        let entries = uids.iter().filter_map(|uid| shown.table.find(*uid)).map(|place| shown.table.get(place));
        Ok(entries.map(|entry| (*entry.message, entry.name.into())).collect())
    }

    /// The messages that are there, with their files.
    pub(super) fn files(&self, uids: &[Uid]) -> Vec<(Message, FileName)> {
        let shown = self.shown();
        let entries = uids.iter().filter_map(|uid| shown.table.find(*uid)).map(|place| shown.table.get(place));
        entries.map(|entry| (*entry.message, entry.name.into())).collect()
    }

    /// Writes down and shows what was done; returns the UIDs of what has changed.
    pub(super) fn show_done(&self, work: &mut Work, outcomes: Vec<(Uid, Done)>) -> Vec<Uid> {
        let (mut records, mut flags_changed) = (Records::default(), false);
        let shown = self.shown();
        let modseq = self.next_modseq(&shown);
        for (uid, done) in &outcomes {
            let Some(place) = shown.table.find(*uid) else { continue };
            match done {
                Done::Renamed { name, .. } => {
                    let flags = file_name::flags(name);
                    if flags != shown.table.get(place).message.flags {
                        records.changed(*uid, flags, modseq);
                        flags_changed = true;
                    }
                }
                Done::Removed => records.gone(*uid, modseq),
                Done::Nothing => {}
            }
        }
        drop(shown);
        self.note(work, records, flags_changed);
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        let mut shown = self.shown_mut();
        for (uid, done) in outcomes {
            let Some(place) = shown.table.find(uid) else { continue };
            match done {
                Done::Renamed { name, recent } => {
                    let flags = file_name::flags(&name);
                    shown.table.change(place, |message| {
                        if flags != message.flags {
                            message.modseq = modseq;
                        }
                        message.flags = flags;
                        message.set_recent(recent);
                    });
                    shown.table.rename(place, &name);
                    changed.push(uid);
                }
                Done::Removed => {
                    removed.push(uid);
                    changed.push(uid);
                }
                Done::Nothing => {}
            }
        }
        removed.sort_unstable();
        shown.table.remove(&removed);
        shown.remember_gone(modseq, &removed);
        if !changed.is_empty() {
            self.changed(shown, modseq);
        }
        changed
    }

    /// Syncs `cur/` a little later, once for all STOREs until then.
    fn sync_flags_soon(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.flags_unsynced.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        runtime.spawn(async move {
            tokio::time::sleep(FLAG_SYNC).await;
            let synced = super::context::blocking(move || {
                this.flags_unsynced.store(false, Ordering::Release);
                this.context.sync(&this.folder()?.join("cur"))
            });
            match synced.await {
                Ok(()) | Err(StoreError::NoSuchMailbox) => {}
                Err(error) => tracing::warn!(?error, "changed flags are not synced"),
            }
        });
    }
}

/// Gives a message another name in `cur/`.
fn rename(ours: Ours<'_>, folder: &Path, message: &Message, name: &[u8], renamed: FileName) -> io::Result<Done> {
    let (from, to) = (Sub::of(message.is_recent()), Sub::Cur);
    ours.rename((from, name), (to, &renamed), || fsio::rename(&from.file(folder, name), &to.file(folder, &renamed)))?;
    Ok(Done::Renamed { name: renamed, recent: false })
}

/// Where the file of a message is.
pub(super) fn file(folder: &Path, message: &Message, name: &[u8]) -> std::path::PathBuf {
    Sub::of(message.is_recent()).file(folder, name)
}
