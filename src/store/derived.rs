//! The derived files of a mailbox in the state folder: written beside what the Maildir says, and believed only as far
//! as the Maildir agrees.
//!
//! | on disk | how it came | what is believed |
//! | --- | --- | --- |
//! | an index alone, the folders and the UID list with the stamps in it | closed properly, untouched since | all; nothing else is read |
//! | an index alone, other stamps | changed by others since, or in the moment of writing | mod-sequences of messages whose flags are as they were; expunges |
//! | an index and its journal, begun since the machine started | the server was killed | the same, with what the journal says |
//! | an index and its journal, begun before | the power was cut | that messages were there, their sizes and dates; all get new mod-sequences, above those that can have been shown |
//! | a journal of another index | cut between a new index and the end of the old journal | the index; where the journal does not belong to the one before it, as above; it is begun anew before anything is appended |
//! | a torn journal | cut while appending | what came before; the rest is cut off before anything is appended |
//! | anything else, or nothing | damage, another version, another mailbox's file, removed by hand | nothing: all messages get new mod-sequences |
//!
//! An index is synced before its name is, and the journal before it goes. A journal is synced once, before the first
//! change of flags that is shown after an index: from its being there a start after a power cut knows that some were.

use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use crate::fsio;
use crate::mail::ids::Uid;
use crate::mail::limits::INDEX_QUIET;
use crate::mail::limits::JOURNAL_OCTETS;

use super::context::Context;
use super::folder::Stamp;
use super::index;
use super::index::General;
use super::index::Index;
use super::index::Stamps;
use super::journal;
use super::journal::Journal;
use super::journal::Records;
use super::load::read_small;
use super::mailbox::Mailbox;
use super::mailbox::Work;
use super::table::Table;
use super::uidlist;
use super::uidlist::Header;

const INDEX: &str = "index";
const JOURNAL: &str = "journal";

/// Name, in the state folder, of the folder of all mailboxes' folders.
const MAILBOXES: &str = "mailboxes";

/// What is known of the derived files of a mailbox.
#[derive(Debug, Default)]
pub(super) struct Derived {
    /// Of the index on disk, where there is one that what is in memory goes on from.
    generation: Option<u64>,
    journal: Option<Open>,
    /// So much of the journal on disk is whole and goes with the index; what comes after is cut off before it goes on.
    whole: u64,
    /// Whether memory knows more than index and journal.
    pub(super) dirty: bool,
    /// When anything changed last.
    touched: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    file: File,
    octets: u64,
    synced: bool,
}

/// What the derived files say.
#[derive(Debug)]
pub(super) struct Known {
    /// Index and journal together.
    pub(super) index: Index,
    /// Whether the index holds without a look at anything else, if the stamps are those in it.
    pub(super) complete: bool,
    /// Whether clients can have been shown no other mod-sequences.
    pub(super) believed: bool,
}

impl Known {
    /// Above every UID that was given out by then.
    pub(super) fn next_uid(&self) -> Option<Uid> {
        let last = self.index.table.last_uid().and_then(Uid::next);
        last.max(Some(self.index.general.list.next))
    }

    /// The UIDs that were given out after this was written and are not in the table: first and last of each gap.
    pub(super) fn missing(&self, table: &Table, header: &Header) -> Vec<(Uid, Uid)> {
        let (mut gaps, mut at) = (Vec::new(), self.index.general.list.next);
        let before = |uid: Uid| Uid::new(uid.get() - 1);
        for entry in table.iter().filter(|entry| entry.message.uid >= self.index.general.list.next) {
            let uid = entry.message.uid;
            if uid > at
                && let Some(last) = before(uid)
            {
                gaps.push((at, last));
            }
            at = uid.next().unwrap_or(uid);
        }
        if header.next > at
            && let Some(last) = before(header.next)
        {
            gaps.push((at, last));
        }
        gaps
    }
}

/// The folder of the derived files of the mailbox in `folder`: readable for people, unique by the hash of the path.
pub(super) fn place(context: &Context, folder: &Path) -> Option<PathBuf> {
    let state = context.state.as_ref()?;
    let path = folder.as_os_str().as_bytes();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, path);
    let readable: String = String::from_utf8_lossy(path)
        .rsplit('/')
        .take(2)
        .map(|part| part.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(24).collect())
        .fold(String::new(), |all, part: String| if all.is_empty() { part } else { format!("{part}.{all}") });
    let hash = data_encoding::HEXLOWER.encode(&hash.as_ref()[..12]);
    Some(state.join(MAILBOXES).join(format!("{readable}-{hash}")))
}

/// The mailbox has another folder now.
pub(super) fn moved(context: &Context, from: &Path, to: &Path) {
    let (Some(old), Some(new)) = (place(context, from), place(context, to)) else { return };
    // What another mailbox of that name left is not this one's.
    let moved = remove_folder(&new).and_then(|()| fsio::rename(&old, &new));
    if let Err(error) = moved
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(from = %old.display(), %error, "derived files stay behind");
    }
}

/// The mailbox is gone, or its derived files shall be.
pub(super) fn removed(context: &Context, folder: &Path) {
    let Some(place) = place(context, folder) else { return };
    if let Err(error) = remove_folder(&place) {
        tracing::warn!(folder = %place.display(), %error, "derived files stay behind");
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fsio::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Mailbox {
    /// Reads the derived files.
    pub(super) fn read_derived(&self, folder: &Path, work: &mut Work) -> Option<Known> {
        work.derived = Derived { dirty: true, touched: Some(self.context.clock.instant()), ..Derived::default() };
        let place = place(&self.context, folder)?;
        let file = fsio::open_regular(&place.join(INDEX)).ok()?;
        let Some(mut index) = index::read(&mut BufReader::with_capacity(65_536, file)) else {
            tracing::info!(place = %place.display(), "the index is damaged or of another version: made anew");
            return None;
        };
        let cur = Stamp::of_folder(&folder.join("cur")).ok()?;
        if !cur.same_folder(&index.general.stamps.cur) {
            tracing::info!(place = %place.display(), "the index is of another Maildir: made anew");
            return None;
        }
        work.derived.generation = Some(index.general.generation);
        *super::context::lock(&self.cache_mark) = index.general.cache;
        let journal = match read_small(&place.join(JOURNAL)) {
            Ok(None) => {
                work.derived.dirty = false;
                return Some(Known { index, complete: true, believed: true });
            }
            Ok(Some(octets)) => octets,
            // Whatever it says, it says that something changed.
            Err(_) => Vec::new(),
        };
        let believed = match Journal::parse(&journal) {
            Some(journal) if journal.generation == index.general.generation => {
                let (highest, whole) = journal.apply(&mut index.table, &mut index.expunged);
                index.general.highest_modseq = index.general.highest_modseq.max(highest);
                work.derived.whole = whole as u64;
                self.context.boot.is_some_and(|boot| boot == journal.boot)
            }
            Some(journal) => journal.generation == index.general.previous,
            None => false,
        };
        Some(Known { index, complete: false, believed })
    }

    /// Writes down what is about to be shown. `flags`: whether flags have changed, which the disk does not yet have
    /// for sure.
    pub(super) fn note(&self, work: &mut Work, records: Records, flags: bool) {
        if records.is_empty() {
            return;
        }
        work.derived.touched = Some(self.context.clock.instant());
        let noted = self.append_journal(work, records, flags);
        if let Err(error) = noted {
            tracing::warn!(mailbox = %self.name(), %error, "no journal: the index is made anew");
            self.give_up_index(work);
        }
    }

    fn append_journal(&self, work: &mut Work, records: Records, flags: bool) -> io::Result<()> {
        let Some(generation) = work.derived.generation else {
            work.derived.dirty = true;
            return Ok(());
        };
        let folder = self.folder().map_err(io::Error::other)?;
        let Some(place) = place(&self.context, &folder) else { return Ok(()) };
        let path = place.join(JOURNAL);
        let mut open = match work.derived.journal.take() {
            Some(open) => open,
            None => {
                let mut file = fsio::append(&path)?;
                let mut octets = work.derived.whole;
                fsio::cut(&file, octets)?;
                if octets == 0 {
                    let head = journal::head(generation, &self.context.boot.unwrap_or_default());
                    file.write_all(&head)?;
                    octets = head.len() as u64;
                }
                Open { file, octets, synced: false }
            }
        };
        let octets = records.into_octets();
        open.file.write_all(&octets)?;
        open.octets += octets.len() as u64;
        if flags && !open.synced {
            fsio::sync_data(&open.file)?;
            fsio::sync_dir(&place)?;
            open.synced = true;
        }
        work.derived.journal = Some(open);
        Ok(())
    }

    /// What is on disk no longer goes with what is in memory.
    fn give_up_index(&self, work: &mut Work) {
        work.derived = Derived { dirty: true, ..Derived::default() };
        let Ok(folder) = self.folder() else { return };
        let Some(place) = place(&self.context, &folder) else { return };
        // The index first: a journal without one says nothing.
        for file in [INDEX, JOURNAL] {
            if let Err(error) = fsio::remove_if_there(&place.join(file)) {
                tracing::warn!(place = %place.display(), %error, "a derived file stays");
            }
        }
    }

    /// The next load believes nothing but the Maildir.
    pub(super) fn forget_derived(&self, work: &mut Work) {
        work.list = None;
        self.close_cache();
        *super::context::lock(&self.cache_mark) = Default::default();
        work.derived = Derived::default();
        if let Ok(folder) = self.folder() {
            removed(&self.context, &folder);
        }
    }

    /// Writes the index if it is time to: there is none, the journal is long, or all has been quiet.
    pub(super) fn tend(&self) {
        // Whoever works now changes something: later.
        let Some(mut work) = self.try_work() else { return };
        let now = self.context.clock.instant();
        let quiet = |touched: Instant| now.saturating_duration_since(touched) >= INDEX_QUIET;
        let long = JOURNAL_OCTETS.max(self.len() as u64 * 16);
        let due = work.derived.generation.is_none()
            || work.derived.journal.as_ref().is_some_and(|open| open.octets > long)
            || work.derived.touched.is_some_and(quiet);
        if due {
            self.write_index(&mut work);
        }
    }

    /// Writes the index before the mailbox leaves memory.
    pub(super) fn close(&self) {
        let mut work = self.work();
        self.write_index(&mut work);
    }

    /// Writes the index, if memory knows more than the one on disk.
    fn write_index(&self, work: &mut Work) {
        let known = !work.derived.dirty && work.derived.journal.is_none() && !self.cache_has_grown();
        if work.list.is_none() || known {
            return;
        }
        if let Err(error) = self.replace_index(work) {
            tracing::warn!(mailbox = %self.name(), %error, "the index is not written");
            self.give_up_index(work);
        }
    }

    fn replace_index(&self, work: &mut Work) -> io::Result<()> {
        let folder = self.folder().map_err(io::Error::other)?;
        let Some(place) = place(&self.context, &folder) else { return Ok(()) };
        let Some(list) = &work.list else { return Ok(()) };
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
        let (known, settled) = super::context::lock(&self.folders).settled(&folder, self.context.clock.since_epoch());
        let stamps = match (known, list.stamp) {
            (Some((new, cur)), Some(list)) => Stamps { new, cur, list },
            (Some((new, cur)), None) => Stamps { new, cur, list: new },
            (None, _) => return Ok(()),
        };
        let listed = list.stamp.is_some() && Stamp::of_file(&folder.join(uidlist::FILE)).ok() == list.stamp;
        // One after the other: marking the cache locks what is shown by itself.
        let highest_modseq = self.shown().highest_modseq;
        let cache = self.mark_cache();
        let general = General {
            generation: u64::from_le_bytes(random),
            previous: work.derived.generation.unwrap_or_default(),
            list: list.header.clone(),
            dead: list.dead,
            stamps,
            settled: settled && listed && !list.rewrite,
            highest_modseq,
            cache,
        };
        fsio::create_dir(&place)?;
        fsio::replace_with(&place.join(INDEX), |file| {
            let (head, pieces) = {
                let shown = self.shown();
                (index::head(&general, &shown.expunged, shown.table.len())?, shown.table.pieces())
            };
            file.write_all(&head)?;
            // Only who holds `work` changes the pieces; nobody waits for the disk.
            for at in 0..pieces {
                let piece = index::piece(&self.shown().table, at, &work.fields)?;
                file.write_all(&piece)?;
            }
            Ok(())
        })?;
        fsio::remove_if_there(&place.join(JOURNAL))?;
        work.derived = Derived { generation: Some(general.generation), ..Derived::default() };
        Ok(())
    }
}
