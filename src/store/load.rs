//! Reading a mailbox from disk, finding what other programs did to it, and giving UIDs to new messages.

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
use crate::mail::limits::LIST_READ_BESIDE;
use crate::mail::limits::MAILDIR_LIST_OCTETS;
use crate::mail::limits::TMP_LEFTOVER;

use super::context::lock;
use super::derived::Known;
use super::error::Result;
use super::error::StoreError;
use super::expunged::Expunged;
use super::expunged::Run;
use super::file_name;
use super::folder;
use super::folder::Arrival;
use super::folder::Found;
use super::folder::Look;
use super::folder::Stamp;
use super::index::Index;
use super::journal::Records;
use super::keywords;
use super::keywords::Keywords;
use super::mailbox::ListState;
use super::mailbox::Mailbox;
use super::mailbox::Work;
use super::rebuild;
use super::rebuild::Before;
use super::rebuild::Rebuilt;
use super::snapshot::Message;
use super::snapshot::Snapshot;
use super::table::Table;
use super::uidlist;
use super::uidlist::Header;
use super::uidlist::Parsed;

/// A folder that changes while it is read is read again so often before what was missed counts as gone.
const SCANS: u32 = 3;

/// The longest tick of the clock by which Linux stamps files.
const TICK_MICROS: u64 = 10_000;

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

    /// Reads everything from disk at the next look, and believes nothing that was derived from it before.
    pub(super) fn unload(&self) {
        self.forget_derived(&mut self.work());
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
        if self.context.watcher.is_some() && !lock(&self.folders).is_watched() {
            // There was no room for a watch, or an older one of these folders was still there.
            self.watch(&folder);
            if lock(&self.folders).is_watched() {
                lock(&self.folders).forget();
            }
        }
        let look = lock(&self.folders).look(&folder, self.context.clock.instant());
        // What was seen and could not be taken over is found by reading the folders.
        let forget = |_: &StoreError| lock(&self.folders).forget();
        match look.map_err(missing_is_no_mailbox)? {
            Look::Same => self.publish(work),
            Look::Touched(changes) => self.look_after(work, &folder, changes).inspect_err(forget),
            Look::Changed => self.rescan(work).inspect_err(forget),
            Look::Replaced => {
                tracing::info!(folder = %folder.display(), "the Maildir was replaced: read again");
                self.load(work)
            }
        }
    }

    /// Asks the kernel to tell of changes.
    fn watch(&self, folder: &Path) {
        let Some(watcher) = &self.context.watcher else { return };
        let me = self.me.clone();
        let wake = move || {
            if let Some(mailbox) = me.upgrade() {
                mailbox.touched.store(true, Ordering::Release);
                mailbox.publish_soon();
            }
        };
        let watched = watcher.watch(folder, Box::new(wake));
        lock(&self.folders).watch(watched);
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
            let touched = self.touched.swap(false, Ordering::AcqRel);
            let known = !touched && !lock(&self.folders).is_stale() && self.list_is_ours(&work);
            let shown = if known { self.publish(&mut work) } else { self.look(&mut work) };
            if let Err(error) = shown {
                tracing::warn!(mailbox = %self.name(), ?error, "new messages cannot be shown yet");
            }
        });
    }

    /// Gives UIDs to the deliveries since the last look, and shows them. Where the disk is full they wait, and what
    /// is there already is served.
    pub(super) fn publish(&self, work: &mut Work) -> Result<()> {
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
        let modseq = self.next_modseq(&self.shown());
        let mut messages = Vec::with_capacity(arrivals.len());
        let mut records = Records::default();
        for arrival in arrivals {
            uidlist::write_line(&mut lines, next, &[], file_name::base(&arrival.name));
            let mut message = Message::new(next, file_name::flags(&arrival.name), modseq);
            message.set_recent(arrival.recent);
            message.set_wire_size(file_name::wire_size(&arrival.name));
            message.set_date(arrival.date);
            records.added(&message, &arrival.name);
            messages.push(message);
            next = next.next().ok_or(StoreError::Cannot("the mailbox has used all its UIDs"))?;
        }
        self.write_list(&folder, work, &lines, next)?;
        self.note(work, records, false);
        let mut shown = self.shown_mut();
        for (arrival, message) in arrivals.iter().zip(&messages) {
            shown.table.push(*message, &arrival.name, None);
        }
        shown.next = Some(next);
        self.changed(shown, modseq);
        Ok(messages.into_iter().map(|message| message.uid).collect())
    }

    /// Whether the UID list was read and nobody else has written to it since.
    fn list_is_ours(&self, work: &Work) -> bool {
        let (Some(list), Ok(folder)) = (&work.list, self.folder()) else { return false };
        Stamp::of_file(&folder.join(uidlist::FILE)).ok() == list.stamp
    }

    /// The id, where it is known without a wait.
    pub(super) fn known_object_id(&self) -> Option<String> {
        let work = self.try_work()?;
        work.list.as_ref()?.header.guid().map(|guid| format!("F{guid}"))
    }

    /// See [`Mailbox::object_id`]; for callers on a blocking thread. A list that has no id gets one, which is on disk
    /// before anybody hears of it.
    pub(super) fn object_id_blocking(&self) -> Result<String> {
        let mut work = self.work();
        if work.list.is_none() {
            self.load(&mut work)?;
        }
        let list = work.list.as_mut().ok_or(StoreError::NoSuchMailbox)?;
        if list.header.guid().is_none() {
            let mut fields = new_guid()?.into_bytes();
            let others = list.header.fields.split(|b| *b == b' ').filter(|f| !f.is_empty() && f[0] != b'G');
            others.for_each(|field| fields.extend_from_slice(&[b" ", field].concat()));
            list.header.fields = fields;
            list.rewrite = true;
            let next = list.header.next;
            self.write_list(&self.folder()?, &mut work, &[], next)?;
        }
        let guid = work.list.as_ref().and_then(|list| list.header.guid()).ok_or(StoreError::NoSuchMailbox)?;
        Ok(format!("F{guid}"))
    }

    /// Appends lines to the UID list, or writes it anew with them, and syncs.
    fn write_list(&self, folder: &Path, work: &mut Work, lines: &[u8], next: Uid) -> Result<()> {
        let path = folder.join(uidlist::FILE);
        let Some(list) = &mut work.list else { return Err(StoreError::NoSuchMailbox) };
        if list.stamp.is_some() && Stamp::of_file(&path).ok() != list.stamp {
            let source = io::Error::other("changed by another program");
            return Err(StoreError::Io { doing: "writing to the UID list", source });
        }
        if list.rewrite {
            let mut bytes = Vec::new();
            uidlist::write_header(&mut bytes, &Header { next, ..list.header.clone() });
            for entry in self.shown().table.iter() {
                let fields = work.fields.get(&entry.message.uid).map(|f| &**f).unwrap_or_default();
                uidlist::write_line(&mut bytes, entry.message.uid, fields, file_name::base(entry.name));
            }
            bytes.extend_from_slice(lines);
            fsio::replace(&path, &bytes).map_err(StoreError::io("writing the UID list"))?;
            list.dead = 0;
            list.rewrite = false;
        } else {
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

    /// Reads everything anew: at the first look, and when files were replaced. Reads the index and, where that does
    /// not hold, the UID list and the names in the folders; opens no message.
    pub(super) fn load(&self, work: &mut Work) -> Result<()> {
        let folder = self.folder()?;
        // What was read before counts as what an index says.
        let before = work.list.take().map(|list| list.header.validity);
        if before.is_some() {
            self.quota.doubt();
        }
        lock(&self.folders).reset();
        self.watch(&folder);
        remove_leftovers(&folder, self.context.clock.since_epoch());
        self.read_keywords(&folder, work)?;
        let mut known = if before.is_some() { None } else { self.read_derived(&folder, work) };
        if let Some(index) = known.take_if(|known| self.holds(&folder, known)) {
            return self.take_over(work, index.index);
        }
        let path = folder.join(uidlist::FILE);
        let stamp = Stamp::of_file(&path).ok();
        let (list, found) = self.read_both(&folder, &path)?;
        let parsed = list.as_deref().and_then(uidlist::parse);
        if list.is_some() && parsed.is_none() {
            tracing::warn!(path = %path.display(), "no UID list: all messages get new UIDs");
        }
        let lost = parsed.is_none();
        let mut parsed = match parsed {
            Some(parsed) => parsed,
            None => Parsed {
                header: new_header(self.validities.new_one(&self.context.clock, before))?,
                lines: Vec::new(),
                mended: true,
            },
        };
        let in_memory = before == Some(parsed.header.validity);
        let known = known.filter(|known| known.index.general.list.validity == parsed.header.validity);
        let mut mended = parsed.mended;
        let known_next = match &known {
            Some(known) => known.next_uid(),
            None => self.shown().next.filter(|_| in_memory),
        };
        if let Some(next) = known_next.filter(|next| *next > parsed.header.next) {
            tracing::warn!(path = %path.display(), "the UID list is an older one: UIDs go on from where they were");
            parsed.header.next = next;
            mended = true;
        }
        let header = parsed.header.clone();
        if !in_memory && known.is_none() {
            work.derived.dirty = true;
        }
        let rebuilt = self.show_loaded(work, parsed, &mut mended, in_memory, known, &found)?;
        let living = self.len();
        // Of a list that is lost nothing may be shown before the new one is on disk.
        let list_stamp = if lost { None } else { stamp };
        let rewrite = mended || too_many(rebuilt.dead, living);
        work.list = Some(ListState { header, stamp: list_stamp, dead: rebuilt.dead, rewrite });
        let published = self.publish_these(work, rebuilt.arrivals);
        if published.is_err() {
            work.list = None;
        }
        published
    }

    /// Whether an index says all: it is complete, and no file was touched since.
    fn holds(&self, folder: &Path, known: &Known) -> bool {
        let general = &known.index.general;
        let list = Stamp::of_file(&folder.join(uidlist::FILE)).ok();
        known.complete
            && general.settled
            && list == Some(general.stamps.list)
            && lock(&self.folders).trust(folder, general.stamps.new, general.stamps.cur)
    }

    /// Shows what an index says.
    fn take_over(&self, work: &mut Work, index: Index) -> Result<()> {
        let Index { general, expunged, table, fields } = index;
        work.fields = fields;
        let rewrite = too_many(general.dead, table.len());
        let (validity, next) = (general.list.validity, general.list.next);
        let list = ListState { header: general.list, stamp: Some(general.stamps.list), dead: general.dead, rewrite };
        work.list = Some(list);
        let mut shown = self.shown_mut();
        shown.table = table;
        shown.expunged = expunged;
        (shown.validity, shown.next) = (Some(validity), Some(next));
        shown.keywords = work.keywords.names();
        self.changed(shown, general.highest_modseq);
        self.publish(work)
    }

    /// The UID list and the names in the folders; a long list is read while the folders are.
    fn read_both(&self, folder: &Path, list: &Path) -> Result<(Option<Vec<u8>>, Found)> {
        let scan = || self.scan(folder).map_err(missing_is_no_mailbox);
        if std::fs::symlink_metadata(list).is_ok_and(|m| m.len() > LIST_READ_BESIDE) {
            return std::thread::scope(|scope| {
                let reading = scope.spawn(|| read_small(list));
                let found = scan()?;
                let list = reading.join().map_err(|_| StoreError::Cannot("reading the UID list ended early"))?;
                Ok((list?, found))
            });
        }
        Ok((read_small(list)?, scan()?))
    }

    /// Shows the messages that have a line.
    fn show_loaded(
        &self,
        work: &mut Work,
        mut parsed: Parsed<'_>,
        mended: &mut bool,
        in_memory: bool,
        known: Option<Known>,
        found: &Found,
    ) -> Result<Rebuilt> {
        let nothing = Table::default();
        let floor = self.modseq_floor().max(known.as_ref().map_or(0, |known| known.index.general.highest_modseq));
        let shown = self.shown();
        let highest = shown.highest_modseq.max(if in_memory { 0 } else { floor });
        let modseq = self.next_modseq_after(highest);
        let before = match &known {
            Some(known) => Before { table: &known.index.table, believed: known.believed },
            None => Before { table: if in_memory { &shown.table } else { &nothing }, believed: true },
        };
        let mut rebuilt = match rebuild::by_list(before, &parsed.lines, found, modseq) {
            Some(rebuilt) => rebuilt,
            None => {
                *mended = true;
                uidlist::drop_repeated_names(&mut parsed.lines);
                let again = rebuild::by_list(before, &parsed.lines, found, modseq);
                again.ok_or(StoreError::Cannot("the UID list names a message twice"))?
            }
        };
        let expunged = match &known {
            Some(known) if known.believed => known.index.expunged.clone(),
            None if in_memory => shown.expunged.clone(),
            Some(_) | None => Expunged::after(modseq),
        };
        drop(shown);
        work.fields = std::mem::take(&mut rebuilt.fields);
        if known.is_some() || in_memory {
            self.note(work, records_of(&rebuilt, modseq), false);
        }
        let came_and_went = known.as_ref().map_or(Vec::new(), |known| known.missing(&rebuilt.table, &parsed.header));
        let mut shown = self.shown_mut();
        shown.table = std::mem::take(&mut rebuilt.table);
        shown.expunged = expunged;
        for (first, last) in came_and_went {
            shown.expunged.push(Run { modseq, first, last });
        }
        shown.remember_gone(modseq, &rebuilt.gone);
        (shown.validity, shown.next) = (Some(parsed.header.validity), Some(parsed.header.next));
        shown.keywords = work.keywords.names();
        self.changed(shown, modseq);
        Ok(rebuilt)
    }

    /// Where nothing was remembered, the clock is above all that was shown, unless it went back since: the files were
    /// then touched in the future.
    fn modseq_floor(&self) -> u64 {
        let Ok(folder) = self.folder() else { return 0 };
        let of = |name: &str| Stamp::of_file(&folder.join(name)).map_or(0, |stamp| stamp.micros());
        // Each change touches one of these right after its mod-sequence was chosen; the stamps lag by a tick.
        let touched = ["cur", "new", uidlist::FILE].map(of).into_iter().max().unwrap_or(0);
        if touched > self.next_modseq_after(0) { touched.saturating_add(TICK_MICROS) } else { 0 }
    }

    /// A file is not where it should be: somebody moved it. Looks where, and reads the folders if that did not help.
    pub(super) fn look_again(&self, work: &mut Work, tries_before: u32) -> Result<()> {
        if tries_before == 0 { self.look(work) } else { self.rescan(work) }
    }

    /// Compares the folders with what is shown.
    pub(super) fn rescan(&self, work: &mut Work) -> Result<()> {
        let folder = self.folder()?;
        let mut scans = 1;
        let (known, waiting) = (self.len(), lock(&self.folders).arrivals.len());
        loop {
            let found = self.scan(&folder).map_err(missing_is_no_mailbox)?;
            let complete = lock(&self.folders).cur_is_unchanged(&folder);
            match self.merge(work, found, complete, scans >= SCANS)? {
                Merged::Loaded => return Ok(()),
                Merged::Done(new) => {
                    if self.len() < known || new.len() > waiting {
                        self.quota.doubt();
                    }
                    return self.publish_these(work, new);
                }
                Merged::Unsure => scans += 1,
            }
        }
    }

    /// Takes over what a scan found.
    fn merge(&self, work: &mut Work, mut found: Found, complete: bool, last: bool) -> Result<Merged> {
        let shown = self.shown();
        let modseq = self.next_modseq(&shown);
        let Some(mut rebuilt) = rebuild::by_table(&shown.table, &found, modseq) else {
            // Two messages have one file: the list is mended by reading it.
            drop(shown);
            self.load(work)?;
            return Ok(Merged::Loaded);
        };
        if !rebuilt.gone.is_empty() {
            if !complete && !last {
                return Ok(Merged::Unsure);
            }
            // Who was renamed while the folders were read may be missing in what was found, and is told of.
            let appeared = lock(&self.folders).appeared();
            let names = rebuilt.gone.iter().filter_map(|uid| shown.table.find(*uid)).map(|at| shown.table.get(at));
            let unsure: Vec<_> = names.filter(|entry| appeared.contains(file_name::base(entry.name))).collect();
            if !unsure.is_empty() {
                if !last {
                    return Ok(Merged::Unsure);
                }
                // They stay as they are; the next look goes by what was told.
                for entry in unsure {
                    found.push(entry.name, entry.message.is_recent());
                }
                rebuilt = rebuild::by_table(&shown.table, &found, modseq).unwrap_or_default();
            }
        }
        drop(shown);
        for uid in &rebuilt.gone {
            work.fields.remove(uid);
        }
        if let Some(list) = &mut work.list {
            list.dead += rebuilt.gone.len();
        }
        if rebuilt.changed {
            self.note(work, records_of(&rebuilt, modseq), true);
        }
        let mut shown = self.shown_mut();
        shown.table = std::mem::take(&mut rebuilt.table);
        if rebuilt.changed {
            shown.remember_gone(modseq, &rebuilt.gone);
            self.changed(shown, modseq);
        }
        Ok(Merged::Done(rebuilt.arrivals))
    }

    /// The files of both folders. Deliveries that were waiting for a UID are among them.
    fn scan(&self, folder: &Path) -> io::Result<Found> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        let clock = &self.context.clock;
        let mut folders = lock(&self.folders);
        folders.scan_begins(folder, clock.instant(), clock.since_epoch())?;
        folders.arrivals.clear();
        drop(folders);
        let mut found = folder::scan(folder).inspect_err(|_| lock(&self.folders).reset())?;
        let mut folders = lock(&self.folders);
        folders.scan_ends(folder, &mut found);
        // Who came since is kept for the next look, unless the scan saw it.
        if !folders.arrivals.is_empty() {
            let bases = found.bases();
            folders.arrivals.retain(|arrival| !bases.contains(file_name::base(&arrival.name)));
        }
        Ok(found)
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
        let mut shown = self.shown_mut();
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

/// What became of a scan.
enum Merged {
    /// It is shown; these files have no UID.
    Done(Vec<Arrival>),
    /// All was read anew.
    Loaded,
    /// Messages are missing that may be there: the folders changed while they were read.
    Unsure,
}

/// What a journal says of messages that changed at this mod-sequence.
fn records_of(rebuilt: &Rebuilt, modseq: u64) -> Records {
    let mut records = Records::default();
    for message in rebuilt.table.iter().map(|entry| entry.message).filter(|m| m.modseq == modseq) {
        records.changed(message.uid, message.flags, modseq);
    }
    for uid in &rebuilt.gone {
        records.gone(*uid, modseq);
    }
    records
}

fn too_many(dead: usize, living: usize) -> bool {
    dead > DEAD_UID_LINES.max(living / 4)
}

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

/// A new list, with the random id that Dovecot wants.
fn new_header(validity: UidValidity) -> Result<Header> {
    Ok(Header { validity, next: Uid::FIRST, fields: new_guid()?.into_bytes() })
}

fn new_guid() -> Result<String> {
    let mut random = [0; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| StoreError::Cannot("no random numbers"))?;
    Ok(format!("G{}", data_encoding::HEXLOWER.encode(&random)))
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
