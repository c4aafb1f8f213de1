//! Messages that come into a mailbox by a client: APPEND, COPY, and the first half of MOVE.
//!
//! The files get their names and are synced, then their lines in the UID list are, then they are shown. A crash in
//! between leaves files without a line, which get UIDs at the next look: more than the client was told, never less.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::fsio;
use crate::fsio::Content;
use crate::mail::flags::Flags;
use crate::mail::flags::KeywordSlot;
use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;
use crate::mail::limits::RENAMES_AT_ONCE;
use crate::mail::quota::Usage;

use super::change::file;
use super::context::lock;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::file_name::FileName;
use super::folder::Arrival;
use super::mailbox::Mailbox;
use super::mailbox::Work;
use super::quota;
use super::quota::Changing;
use super::quota::Charge;
use super::snapshot::Copied;
use super::snapshot::KeptFlags;
use super::snapshot::Message;
use super::watch::Kind;

/// Another program may rename a file between our look and our copy; so often we look again.
const TRIES: u32 = 3;

impl Mailbox {
    /// See [`Mailbox::append`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn append_blocking(
        &self,
        content: &Content,
        flags: Flags,
        keywords: &[String],
        date: Option<SystemTime>,
    ) -> Result<Uid> {
        let folder = self.folder()?;
        let size = Usage::of_message(content.len());
        let room = self.quota.reserve(size, Charge::Checked)?;
        let base = format!("{}{}", self.context.unique(), file_name::sizes(content.len(), content.wire_len()));
        let temporary = folder.join("tmp").join(&base);
        let date = date.unwrap_or_else(|| self.context.clock.wall());
        // The bytes are written before the lock is taken: this is what takes time.
        fsio::write_new(&temporary, |file| {
            content.write_to(b"", file)?;
            fsio::set_modified(file, date)
        })
        .map_err(StoreError::io("writing a message"))?;
        let commit = |changing: &Changing<'_>| room.commit(changing, size);
        let added = self.append_written(&temporary, base.as_bytes(), flags, keywords, date, commit);
        if added.is_err() {
            fsio::remove_if_there(&temporary).map_err(StoreError::io("removing an unfinished message"))?;
        }
        added
    }

    fn append_written(
        &self,
        temporary: &Path,
        base: &[u8],
        flags: Flags,
        keywords: &[String],
        date: SystemTime,
        count: impl FnOnce(&Changing<'_>),
    ) -> Result<Uid> {
        let mut work = self.work();
        self.look(&mut work)?;
        let flags = flags.union(self.keyword_flags(&mut work, keywords)?);
        let name = if flags.is_empty() { base.into() } else { file_name::with_flags(base, flags) };
        let arrival = Arrival { name, recent: flags.is_empty(), date: Some(seconds(date)) };
        let rename = |to: &Path| fsio::rename_new(temporary, to);
        let changing = self.quota.changing();
        self.place(std::slice::from_ref(&arrival), |_, to| rename(to))?;
        let uids = self.commit(&mut work, &[arrival])?;
        count(&changing);
        uids.first().copied().ok_or(StoreError::MessageGone)
    }

    /// See [`Mailbox::copy`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn copy_blocking(&self, validity: UidValidity, uids: &[Uid], to: &Self, kept: KeptFlags) -> Result<Copied> {
        self.copy_by(validity, uids, to, kept, Charge::Checked)
    }

    /// See [`Mailbox::move_to`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn move_blocking(
        self: &std::sync::Arc<Self>,
        validity: UidValidity,
        uids: &[Uid],
        to: &Self,
        kept: KeptFlags,
    ) -> Result<Copied> {
        // Within an account nothing is more in the end than it was before.
        let same = std::sync::Arc::ptr_eq(&self.quota, &to.quota);
        let charge = if same { Charge::Exempt } else { Charge::Checked };
        let copied = self.copy_by(validity, uids, to, kept, charge)?;
        let moved: Vec<Uid> = copied.pairs.iter().map(|(old, _)| *old).collect();
        self.expunge_blocking(validity, &moved)?;
        Ok(copied)
    }

    fn copy_by(
        &self,
        validity: UidValidity,
        uids: &[Uid],
        to: &Self,
        kept: KeptFlags,
        charge: Charge,
    ) -> Result<Copied> {
        let mut uids = uids.to_vec();
        uids.sort_unstable();
        uids.dedup();
        for tries in 0..TRIES {
            let mut files = self.files_under(validity, &uids)?;
            files.iter_mut().for_each(|(message, _)| message.flags = kept.of(message.flags));
            let keywords = std::sync::Arc::clone(&self.shown().keywords);
            match to.receive(&self.folder()?, &files, &keywords, charge) {
                // Whoever keeps the source changed it: the names are looked up again.
                Err(StoreError::MessageGone) => self.look_again(&mut self.work(), tries)?,
                Err(error) => return Err(error),
                Ok((new, validity)) => {
                    let pairs = files.iter().map(|(message, _)| message.uid).zip(new).collect();
                    return Ok(Copied { validity, pairs });
                }
            }
        }
        Err(StoreError::MessageGone)
    }

    /// Takes copies of the files of another mailbox, or of this one.
    fn receive(
        &self,
        from: &Path,
        files: &[(Message, FileName)],
        keywords: &[String],
        charge: Charge,
    ) -> Result<(Vec<Uid>, UidValidity)> {
        let of_file = |(message, name): &(Message, FileName)| quota::of_file(name, || file(from, message, name));
        let size = files.iter().map(of_file).fold(Usage::default(), Usage::plus);
        let room = self.quota.reserve(size, charge)?;
        let mut work = self.work();
        self.look(&mut work)?;
        let slots = self.translate(&mut work, files, keywords)?;
        let arrivals: Vec<Arrival> = files
            .iter()
            .map(|(message, name)| {
                let kept = message.flags.system().fold(Flags::NONE, Flags::with);
                let flags = message.flags.keywords().filter_map(|k| slots.get(&k)).fold(kept, |all, f| all.union(*f));
                let mut copy = self.context.unique().into_bytes();
                copy.extend_from_slice(file_name::fields(name));
                let flagged = file_name::with_flags(name, flags);
                let info = &flagged[file_name::base(&flagged).len()..];
                // Letters of other programs, such as `Z`, go with the message; names in `new/` have none.
                let recent = flags.is_empty() && info == b":2,";
                if !recent {
                    copy.extend_from_slice(info);
                }
                Arrival { name: copy.into(), recent, date: message.date() }
            })
            .collect();
        let folder = self.folder()?;
        let changing = self.quota.changing();
        self.place(&arrivals, |at, to| {
            let (message, name) = &files[at];
            let from = file(from, message, name);
            match fsio::link(&from, to) {
                Err(e) if e.kind() == io::ErrorKind::NotFound || e.kind() == io::ErrorKind::AlreadyExists => Err(e),
                // Another file system, too many names, not our file: the bytes are copied.
                Err(_) => copy_file(&from, &folder, to),
                Ok(()) => Ok(()),
            }
        })?;
        let uids = self.commit(&mut work, &arrivals)?;
        room.commit(&changing, size);
        let validity = self.shown().validity.ok_or(StoreError::NoSuchMailbox)?;
        Ok((uids, validity))
    }

    /// The flags here of the keywords there.
    fn translate(
        &self,
        work: &mut Work,
        files: &[(Message, FileName)],
        keywords: &[String],
    ) -> Result<HashMap<KeywordSlot, Flags>> {
        let used = files.iter().fold(Flags::NONE, |all, (message, _)| all.union(message.flags));
        let mut slots = HashMap::new();
        for slot in used.keywords() {
            if let Some(name) = keywords.get(slot.index()).filter(|name| !name.is_empty()) {
                slots.insert(slot, self.keyword_flags(work, std::slice::from_ref(name))?);
            }
        }
        Ok(slots)
    }

    /// Gives new files their names with `put`, all or none. [`StoreError::MessageGone`] where a source was not found.
    fn place(&self, arrivals: &[Arrival], mut put: impl FnMut(usize, &Path) -> io::Result<()>) -> Result<()> {
        let folder = self.folder()?;
        let now = self.context.clock.instant();
        let mut placed = 0;
        let mut failed = None;
        while failed.is_none() && placed < arrivals.len() {
            let end = arrivals.len().min(placed + RENAMES_AT_ONCE);
            failed = lock(&self.folders).change(&folder, now, |ours| {
                while placed < end {
                    let arrival = &arrivals[placed];
                    let step = (arrival.sub(), Kind::Appears, &*arrival.name);
                    if let Err(error) = ours.run(&[step], || put(placed, &path(&folder, arrival))) {
                        return Some(error);
                    }
                    placed += 1;
                }
                None
            });
        }
        let Some(error) = failed else { return Ok(()) };
        self.take_back(&folder, &arrivals[..placed]);
        if error.kind() == io::ErrorKind::NotFound {
            return Err(StoreError::MessageGone);
        }
        Err(StoreError::io("storing a message")(error))
    }

    /// Syncs the names of new files, gives them UIDs, and shows them; on an error they are taken back.
    fn commit(&self, work: &mut Work, arrivals: &[Arrival]) -> Result<Vec<Uid>> {
        let folder = self.folder()?;
        let synced = [("cur", false), ("new", true)].into_iter().try_for_each(|(sub, recent)| {
            if arrivals.iter().any(|a| a.recent == recent) { self.context.sync(&folder.join(sub)) } else { Ok(()) }
        });
        let added = synced.and_then(|()| self.add(work, arrivals));
        if added.is_err() {
            self.take_back(&folder, arrivals);
        }
        added
    }

    fn take_back(&self, folder: &Path, arrivals: &[Arrival]) {
        let now = self.context.clock.instant();
        lock(&self.folders).change(folder, now, |ours| {
            for arrival in arrivals {
                let step = (arrival.sub(), Kind::Vanishes, &*arrival.name);
                if let Err(error) = ours.run(&[step], || fsio::remove_if_there(&path(folder, arrival))) {
                    tracing::warn!(folder = %folder.display(), %error, "a copy that was given up stays");
                }
            }
        });
    }
}

fn path(folder: &Path, arrival: &Arrival) -> PathBuf {
    arrival.sub().file(folder, &arrival.name)
}

/// Copies the bytes and the date of a message by way of `tmp/`.
fn copy_file(from: &Path, folder: &Path, to: &Path) -> io::Result<()> {
    let mut source = fsio::open_regular(from)?;
    let date = source.metadata()?.modified()?;
    let temporary = folder.join("tmp").join(to.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    fsio::write_new(&temporary, |file| {
        io::copy(&mut source, file)?;
        fsio::set_modified(file, date)
    })?;
    fsio::rename_new(&temporary, to).inspect_err(|_| {
        fsio::remove_if_there(&temporary).ok();
    })
}

/// Seconds since 1970, before it as well.
pub(super) fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_secs()).unwrap_or(i64::MAX),
    }
}
