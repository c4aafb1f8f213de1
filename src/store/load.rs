//! Reading a mailbox from disk, finding what other programs did to it, and giving UIDs to new messages.

use std::collections::HashMap;
use std::collections::HashSet;
use std::io;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::fsio;
use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;
use crate::mail::limits::DEAD_UID_LINES;
use crate::mail::limits::MAILDIR_LIST_OCTETS;
use crate::mail::limits::TMP_LEFTOVER;

use super::context::lock;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::folder;
use super::folder::Arrival;
use super::folder::Found;
use super::folder::Look;
use super::folder::Stamp;
use super::keywords;
use super::keywords::Keywords;
use super::mailbox::ListState;
use super::mailbox::Mailbox;
use super::mailbox::Work;
use super::snapshot::Message;
use super::snapshot::Snapshot;
use super::uidlist;
use super::uidlist::Header;

/// A folder that changes while it is read is read again so often before what was missed counts as gone.
const SCANS: u32 = 3;

impl Mailbox {
    /// See [`Mailbox::refresh`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn refresh_blocking(&self) -> Result<Arc<Snapshot>> {
        let mut work = self.work();
        self.look(&mut work)?;
        drop(work);
        Ok(self.snapshot())
    }

    /// Reads everything from disk at the next look.
    pub(super) fn unload(&self) {
        self.work().list = None;
    }

    /// Brings what is shown up to date with the disk.
    pub(super) fn look(&self, work: &mut Work) -> Result<()> {
        let folder = self.folder()?;
        let Some(list) = &work.list else { return self.load(work) };
        let stamp = Stamp::of_file(&folder.join(uidlist::FILE)).ok();
        if stamp != list.stamp {
            tracing::info!(folder = %folder.display(), "the UID list was changed by another program: read again");
            return self.load(work);
        }
        let keywords_stamp = Stamp::of_file(&folder.join(keywords::FILE)).ok();
        if keywords_stamp != work.keywords_stamp {
            self.read_keywords(&folder, work)?;
        }
        let look = lock(&self.folders).look(&folder, self.context.clock.instant());
        match look.map_err(missing_is_no_mailbox)? {
            Look::Same => self.publish(work),
            Look::Changed => self.rescan(work),
            Look::Replaced => {
                tracing::info!(folder = %folder.display(), "the Maildir was replaced: read again");
                self.load(work)
            }
        }
    }

    /// Shows deliveries on a blocking thread of its own, one at a time for all deliveries that wait.
    pub(super) fn publish_soon(self: Arc<Self>) {
        if !self.is_watched() || self.publishing.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.publishing.store(false, Ordering::Release);
            return;
        };
        runtime.spawn_blocking(move || {
            // Before the arrivals are taken: who comes later starts another.
            self.publishing.store(false, Ordering::Release);
            let mut work = self.work();
            let known = work.list.is_some() && !lock(&self.folders).is_stale();
            let shown = if known { self.publish(&mut work) } else { self.look(&mut work) };
            if let Err(error) = shown {
                tracing::warn!(mailbox = %self.name(), ?error, "new messages cannot be shown yet");
            }
        });
    }

    /// Gives UIDs to the deliveries since the last look, and shows them. Where the disk is full they wait, and what
    /// is there already is served.
    fn publish(&self, work: &mut Work) -> Result<()> {
        let arrivals = std::mem::take(&mut lock(&self.folders).arrivals);
        self.publish_these(work, arrivals)
    }

    fn publish_these(&self, work: &mut Work, arrivals: Vec<Arrival>) -> Result<()> {
        let must_write = work.list.as_ref().is_some_and(|list| list.rewrite);
        if arrivals.is_empty() && !must_write {
            return Ok(());
        }
        match self.add(work, &arrivals) {
            Ok(_) => Ok(()),
            Err(error) if work.list.as_ref().is_some_and(|list| list.stamp.is_some()) => {
                tracing::warn!(mailbox = %self.name(), ?error, "new messages get no UID yet");
                let mut folders = lock(&self.folders);
                let later = std::mem::replace(&mut folders.arrivals, arrivals);
                folders.arrivals.extend(later);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Gives UIDs to new files, writes their lines durably, and shows them.
    pub(super) fn add(&self, work: &mut Work, arrivals: &[Arrival]) -> Result<Vec<Uid>> {
        let folder = self.folder()?;
        let list = work.list.as_ref().ok_or(StoreError::NoSuchMailbox)?;
        let mut next = list.header.next;
        let mut lines = Vec::new();
        let mut uids = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            uidlist::write_line(&mut lines, next, &[], file_name::base(&arrival.name));
            uids.push(next);
            next = next.next().ok_or(StoreError::Cannot("the mailbox has used all its UIDs"))?;
        }
        self.write_list(&folder, work, &lines, next)?;
        let mut shown = lock(&self.shown);
        let modseq = self.next_modseq(&shown);
        for (arrival, uid) in arrivals.iter().zip(&uids) {
            shown.messages.push(Message {
                uid: *uid,
                recent: arrival.recent,
                flags: file_name::flags(&arrival.name),
                modseq,
                wire_size: file_name::wire_size(&arrival.name),
                date: arrival.date,
            });
            shown.names.push(arrival.name.clone());
        }
        shown.next = Some(next);
        self.changed(shown, modseq);
        Ok(uids)
    }

    /// Appends lines to the UID list, or writes it anew with them, and syncs.
    fn write_list(&self, folder: &Path, work: &mut Work, lines: &[u8], next: Uid) -> Result<()> {
        let path = folder.join(uidlist::FILE);
        let Some(list) = &mut work.list else { return Err(StoreError::NoSuchMailbox) };
        if list.rewrite {
            let mut bytes = Vec::new();
            uidlist::write_header(&mut bytes, &Header { next, ..list.header.clone() });
            let shown = lock(&self.shown);
            for (message, name) in shown.messages.iter().zip(&shown.names) {
                let fields = work.fields.get(&message.uid).map(|f| &**f).unwrap_or_default();
                uidlist::write_line(&mut bytes, message.uid, fields, file_name::base(name));
            }
            drop(shown);
            bytes.extend_from_slice(lines);
            fsio::replace(&path, &bytes).map_err(StoreError::io("writing the UID list"))?;
            list.dead = 0;
            list.rewrite = false;
        } else {
            if Stamp::of_file(&path).ok() != list.stamp {
                let source = io::Error::other("changed by another program");
                return Err(StoreError::Io { doing: "appending to the UID list", source });
            }
            let appended = fsio::append(&path).and_then(|mut file| {
                file.write_all(lines)?;
                fsio::sync_data(&file)
            });
            if let Err(error) = appended {
                // Half a line may be there, and what failed to sync may be lost: no appending to that.
                list.rewrite = true;
                list.stamp = Stamp::of_file(&path).ok();
                return Err(StoreError::io("appending to the UID list")(error));
            }
        }
        list.header.next = next;
        list.stamp = Stamp::of_file(&path).ok();
        Ok(())
    }

    /// Reads everything from disk: at the first look, and when files were replaced. Reads the UID list and the names
    /// in the folders, and opens no message.
    pub(super) fn load(&self, work: &mut Work) -> Result<()> {
        let folder = self.folder()?;
        let before = work.list.take().map(|list| list.header.validity);
        lock(&self.folders).reset();
        let path = folder.join(uidlist::FILE);
        let stamp = Stamp::of_file(&path).ok();
        let parsed = read_small(&path)?.and_then(|bytes| {
            let parsed = uidlist::parse(&bytes);
            if parsed.is_none() {
                tracing::warn!(path = %path.display(), "no UID list: all messages get new UIDs");
            }
            parsed
        });
        remove_leftovers(&folder, self.context.clock.since_epoch());
        let found = self.scan(&folder).map_err(missing_is_no_mailbox)?;
        self.read_keywords(&folder, work)?;
        let lost = parsed.is_none();
        let (header, lines, mended) = match parsed {
            Some(parsed) => (parsed.header, parsed.lines, parsed.mended),
            None => (new_header(self.validities.new_one(&self.context.clock, before))?, Vec::new(), true),
        };
        let new = self.show_loaded(work, &header, lines, found);
        let dead = new.dead;
        let living = self.len();
        // Of a list that is lost nothing may be shown before the new one is on disk.
        let list_stamp = if lost { None } else { stamp };
        work.list = Some(ListState { header, stamp: list_stamp, dead, rewrite: mended || too_many(dead, living) });
        let published = self.publish_these(work, new.arrivals);
        if published.is_err() {
            work.list = None;
        }
        published
    }

    /// Shows the messages that have a line; returns those that have none.
    fn show_loaded(&self, work: &mut Work, header: &Header, lines: Vec<uidlist::Line>, found: Vec<Found>) -> New {
        let mut files: HashMap<&[u8], (usize, bool)> = HashMap::with_capacity(found.len());
        for (at, file) in found.iter().enumerate() {
            files.insert(file_name::base(&file.name), (at, false));
        }
        let mut shown = lock(&self.shown);
        let modseq = self.next_modseq(&shown);
        shown.messages.clear();
        shown.names.clear();
        work.fields.clear();
        let mut dead = 0;
        for line in lines {
            let Some((at, taken)) = files.get_mut(&*line.base) else {
                dead += 1;
                continue;
            };
            *taken = true;
            let file = &found[*at];
            let wire_size = file_name::wire_size(&file.name).or_else(|| uidlist::field(&line.fields, b'W'));
            shown.messages.push(Message {
                uid: line.uid,
                recent: file.recent,
                flags: file_name::flags(&file.name),
                modseq,
                wire_size,
                date: None,
            });
            shown.names.push(file.name.clone());
            if !line.fields.is_empty() {
                work.fields.insert(line.uid, line.fields);
            }
        }
        let without: HashSet<usize> = files.values().filter(|(_, taken)| !taken).map(|(at, _)| *at).collect();
        drop(files);
        shown.validity = Some(header.validity);
        shown.next = Some(header.next);
        shown.keywords = work.keywords.names();
        self.changed(shown, modseq);
        New { arrivals: arrivals(found, |at| without.contains(&at)), dead }
    }

    /// Compares the folders with what is shown.
    pub(super) fn rescan(&self, work: &mut Work) -> Result<()> {
        let folder = self.folder()?;
        let mut scans = 1;
        loop {
            let found = self.scan(&folder).map_err(missing_is_no_mailbox)?;
            let complete = lock(&self.folders).cur_is_unchanged(&folder);
            match self.merge(work, found, complete || scans >= SCANS) {
                Some(new) => return self.publish_these(work, new),
                None => scans += 1,
            }
        }
    }

    /// Takes over what a scan found; returns the files without a UID. `None` where messages are missing and the scan
    /// may not have been complete.
    fn merge(&self, work: &mut Work, found: Vec<Found>, complete: bool) -> Option<Vec<Arrival>> {
        let mut files: HashMap<&[u8], usize> = HashMap::with_capacity(found.len());
        for (at, file) in found.iter().enumerate() {
            files.insert(file_name::base(&file.name), at);
        }
        let mut shown = lock(&self.shown);
        let places: Vec<Option<usize>> = shown.names.iter().map(|name| files.remove(file_name::base(name))).collect();
        let gone = places.iter().filter(|place| place.is_none()).count();
        if gone > 0 && !complete {
            return None;
        }
        let modseq = self.next_modseq(&shown);
        let mut changed = gone > 0;
        let (messages, names) = (std::mem::take(&mut shown.messages), std::mem::take(&mut shown.names));
        for ((mut message, mut name), place) in messages.into_iter().zip(names).zip(places) {
            let Some(file) = place.map(|at| &found[at]) else {
                work.fields.remove(&message.uid);
                continue;
            };
            if file.name != name || file.recent != message.recent {
                changed = true;
                let flags = file_name::flags(&file.name);
                if flags != message.flags {
                    message.modseq = modseq;
                }
                (message.flags, message.recent) = (flags, file.recent);
                name.clone_from(&file.name);
            }
            shown.messages.push(message);
            shown.names.push(name);
        }
        let without: HashSet<usize> = files.into_values().collect();
        if changed {
            self.changed(shown, modseq);
        } else {
            drop(shown);
        }
        if let Some(list) = &mut work.list {
            list.dead += gone;
        }
        Some(arrivals(found, |at| without.contains(&at)))
    }

    /// The files of both folders, each message once. Deliveries that were waiting for a UID are among them.
    fn scan(&self, folder: &Path) -> io::Result<Vec<Found>> {
        let clock = &self.context.clock;
        let mut folders = lock(&self.folders);
        folders.scan_begins(folder, clock.instant(), clock.since_epoch())?;
        folders.arrivals.clear();
        drop(folders);
        let found = folder::scan(folder).inspect_err(|_| lock(&self.folders).reset())?;
        let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(found.len());
        for (at, file) in found.iter().enumerate() {
            // The later one lies in `cur/`.
            if let Some(other) = places.insert(file_name::base(&file.name), at)
                && !found[other].recent
            {
                tracing::warn!(folder = %folder.display(), name = %file.name.escape_ascii(), "a message has two files");
            }
        }
        // Who came since is kept for the next look, unless the scan saw it.
        lock(&self.folders).arrivals.retain(|a| !places.contains_key(file_name::base(&a.name)));
        if places.len() == found.len() {
            return Ok(found);
        }
        let keep: HashSet<usize> = places.into_values().collect();
        Ok(found.into_iter().enumerate().filter(|(at, _)| keep.contains(at)).map(|(_, file)| file).collect())
    }

    fn read_keywords(&self, folder: &Path, work: &mut Work) -> Result<()> {
        let path = folder.join(keywords::FILE);
        work.keywords_stamp = Stamp::of_file(&path).ok();
        let keywords = Keywords::parse(&read_small(&path)?.unwrap_or_default());
        if keywords != work.keywords {
            work.keywords = keywords;
            self.show_keywords(work);
        }
        Ok(())
    }

    /// Shows the names of the keywords.
    pub(super) fn show_keywords(&self, work: &Work) {
        let mut shown = lock(&self.shown);
        shown.keywords = work.keywords.names();
        let modseq = shown.highest_modseq;
        self.changed(shown, modseq);
    }

    /// After messages are gone: where dead lines prevail, the list is written anew without them. Dovecot does it at
    /// the same share; before that a dead line costs a few octets, and writing 100,000 lines for each expunge would
    /// cost much more.
    pub(super) fn drop_dead_lines(&self, work: &mut Work, gone: usize) {
        let living = self.len();
        let Some(list) = &mut work.list else { return };
        list.dead += gone;
        if !too_many(list.dead, living) {
            return;
        }
        list.rewrite = true;
        let next = list.header.next;
        let written = self.folder().and_then(|folder| self.write_list(&folder, work, &[], next));
        if let Err(error) = written {
            // The list that is there is as good.
            tracing::warn!(mailbox = %self.name(), ?error, "the UID list is not tidied");
        }
    }
}

/// What reading a mailbox leaves to do.
struct New {
    arrivals: Vec<Arrival>,
    dead: usize,
}

/// The chosen files in the order in which they came.
fn arrivals(found: Vec<Found>, chosen: impl Fn(usize) -> bool) -> Vec<Arrival> {
    let mut arrivals: Vec<Arrival> = found
        .into_iter()
        .enumerate()
        .filter(|(at, _)| chosen(*at))
        .map(|(_, file)| Arrival { name: file.name, recent: file.recent, date: None })
        .collect();
    arrivals.sort_by(|a, b| (file_name::order(&a.name), &a.name).cmp(&(file_name::order(&b.name), &b.name)));
    arrivals
}

fn too_many(dead: usize, living: usize) -> bool {
    dead > DEAD_UID_LINES.max(living / 4)
}

/// A new list, with the random id that Dovecot wants.
/// Begins the UID list of a new mailbox; one that is there stays.
pub(super) fn begin_list(folder: &Path, validity: UidValidity) -> Result<()> {
    let path = folder.join(uidlist::FILE);
    if path.exists() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    uidlist::write_header(&mut bytes, &new_header(validity)?);
    fsio::replace(&path, &bytes).map_err(StoreError::io("beginning the UID list"))
}

fn new_header(validity: UidValidity) -> Result<Header> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StoreError::Cannot("no random numbers"))?;
    let fields = format!("G{}", data_encoding::HEXLOWER.encode(&random)).into_bytes();
    Ok(Header { validity, next: Uid::FIRST, fields })
}

/// A file of bounded size; `None` where there is none.
pub(super) fn read_small(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(found) if found.len() > MAILDIR_LIST_OCTETS => return Err(StoreError::Cannot("a file is too large")),
        Err(_) | Ok(_) => {}
    }
    fsio::read_regular(path).map(Some).map_err(StoreError::io("reading a list of the Maildir"))
}

/// Removes what was left in `tmp/` by deliveries that never ended.
fn remove_leftovers(folder: &Path, now: Duration) {
    let Ok(entries) = std::fs::read_dir(folder.join("tmp")) else { return };
    for entry in entries.flatten() {
        // Not the time of the bytes, which an APPEND sets to any date.
        let Ok(changed) = entry.metadata().map(|m| m.ctime().max(m.mtime())) else { continue };
        let changed = Duration::from_secs(u64::try_from(changed).unwrap_or(0));
        if entry.file_type().is_ok_and(|t| t.is_file())
            && changed + TMP_LEFTOVER < now
            && let Err(error) = fsio::remove_if_there(&entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "a leftover stays");
        }
    }
}

fn missing_is_no_mailbox(error: io::Error) -> StoreError {
    if error.kind() == io::ErrorKind::NotFound {
        return StoreError::NoSuchMailbox;
    }
    StoreError::io("reading the folders of a mailbox")(error)
}
