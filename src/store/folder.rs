//! Looking at the folders of one mailbox: who is there, and did anybody change them behind our back.
//!
//! A folder's time stamp tells of every change of its names, foreign or ours. Ours must not cost a scan each, so after
//! a change of our own the new stamp is taken as seen, provided that the stamp before it was the one we knew. Two
//! windows remain, and both are closed by looking again later:
//!
//! - A foreign change in the same tick of the kernel's clock as a look: a folder younger than
//!   [`FOLDER_YOUNG`] when it was read is read again at the next look.
//! - A foreign change between our own and the look at the stamp after it: after changes of our own the folder is
//!   audited, that is read once more when it has been quiet for [`FOLDER_YOUNG`], though at most every
//!   [`FOLDER_AUDIT`].

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use crate::mail::limits::FOLDER_AUDIT;
use crate::mail::limits::FOLDER_YOUNG;

use super::file_name;
use super::file_name::FileName;

/// What tells whether a folder or file is the one we saw, unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
    size: u64,
}

impl Stamp {
    /// Of a file.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        let m = std::fs::symlink_metadata(path)?;
        Ok(Self { device: m.dev(), inode: m.ino(), seconds: m.mtime(), nanoseconds: m.mtime_nsec(), size: m.size() })
    }

    /// Of a folder, whose size says nothing.
    pub(super) fn of_folder(path: &Path) -> io::Result<Self> {
        Ok(Self { size: 0, ..Self::of_file(path)? })
    }

    fn same_folder(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    fn is_young(&self, since_epoch: Duration) -> bool {
        let changed = Duration::from_secs(u64::try_from(self.seconds).unwrap_or(0));
        changed + FOLDER_YOUNG + Duration::from_secs(1) > since_epoch
    }
}

/// A message that a delivery put into `new/` and that has no UID yet.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    /// Its file.
    pub(super) name: FileName,
    /// Whether it lies in `new/`.
    pub(super) recent: bool,
    /// Its INTERNALDATE, where known.
    pub(super) date: Option<i64>,
}

/// What we know of `new/` and `cur/`.
#[derive(Debug, Default)]
pub(super) struct Folders {
    new: Option<Stamp>,
    cur: Option<Stamp>,
    young: bool,
    must_scan: bool,
    scanned: Option<Instant>,
    changed_by_us: Option<Instant>,
    /// Deliveries since the last look, in order.
    pub(super) arrivals: Vec<Arrival>,
}

/// What a look at the folders says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// All as we know it.
    Same,
    /// Read them.
    Changed,
    /// These are other folders than those we knew.
    Replaced,
}

impl Folders {
    /// Compares with what is there.
    pub(super) fn look(&self, folder: &Path, now: Instant) -> io::Result<Look> {
        let (new, cur) = (Stamp::of_folder(&folder.join("new"))?, Stamp::of_folder(&folder.join("cur"))?);
        let (Some(known_new), Some(known_cur)) = (self.new, self.cur) else { return Ok(Look::Changed) };
        if !known_new.same_folder(&new) || !known_cur.same_folder(&cur) {
            return Ok(Look::Replaced);
        }
        let audit = self.changed_by_us.is_some_and(|changed| {
            now.saturating_duration_since(changed) > FOLDER_YOUNG
                && self.scanned.is_none_or(|scanned| now.saturating_duration_since(scanned) > FOLDER_AUDIT)
        });
        let same = known_new == new && known_cur == cur && !self.young && !self.must_scan && !audit;
        Ok(if same { Look::Same } else { Look::Changed })
    }

    /// Notes the stamps before a scan.
    pub(super) fn scan_begins(&mut self, folder: &Path, now: Instant, since_epoch: Duration) -> io::Result<()> {
        let (new, cur) = (Stamp::of_folder(&folder.join("new"))?, Stamp::of_folder(&folder.join("cur"))?);
        let young = new.is_young(since_epoch) || cur.is_young(since_epoch);
        // Young because of us: the audit looks after it, or a busy mailbox would be read at every look.
        let ours = self.changed_by_us.is_some() && self.new == Some(new) && self.cur == Some(cur);
        self.young = young && !ours;
        if !(young && ours) {
            self.changed_by_us = None;
        }
        self.scanned = Some(now);
        self.must_scan = false;
        (self.new, self.cur) = (Some(new), Some(cur));
        Ok(())
    }

    /// Whether `cur/` is as it was when the scan began. Only what runs beside a scan may make it otherwise, and we
    /// do nothing in `cur/` then.
    pub(super) fn cur_is_unchanged(&self, folder: &Path) -> bool {
        Stamp::of_folder(&folder.join("cur")).is_ok_and(|cur| self.cur == Some(cur))
    }

    /// The next look shall be a scan.
    pub(super) fn forget(&mut self) {
        self.must_scan = true;
    }

    /// Whether somebody knows that the folders are not what we know.
    pub(super) fn is_stale(&self) -> bool {
        self.must_scan
    }

    /// The folders are no longer known at all.
    pub(super) fn reset(&mut self) {
        *self = Self { arrivals: std::mem::take(&mut self.arrivals), ..Self::default() };
    }

    /// Does a change of our own.
    pub(super) fn change<T>(&mut self, folder: &Path, now: Instant, change: impl FnOnce() -> T) -> T {
        let (new_path, cur_path) = (folder.join("new"), folder.join("cur"));
        let before = (Stamp::of_folder(&new_path).ok(), Stamp::of_folder(&cur_path).ok());
        let result = change();
        if self.new.is_some() && self.new == before.0 {
            self.new = Stamp::of_folder(&new_path).ok();
        }
        if self.cur.is_some() && self.cur == before.1 {
            self.cur = Stamp::of_folder(&cur_path).ok();
        }
        self.changed_by_us = Some(now);
        result
    }
}

/// A file that was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name.
    pub(super) name: FileName,
    /// Whether it lies in `new/`.
    pub(super) recent: bool,
}

/// Reads both folders. `new/` comes first: a message that another program moves to `cur/` meanwhile is then seen
/// twice, which the caller sorts out, and never missed.
pub(super) fn scan(folder: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for (sub, recent) in [("new", true), ("cur", false)] {
        for entry in std::fs::read_dir(folder.join(sub))? {
            let entry = entry?;
            let name = entry.file_name().into_vec();
            if name.first() == Some(&b'.') {
                continue;
            }
            // The kernel tells the type with the name; no file is looked at.
            if !entry.file_type().is_ok_and(|t| t.is_file()) || !file_name::is_message(&name) {
                tracing::warn!(folder = %folder.display(), name = %name.escape_ascii(), "not a message: passed over");
                continue;
            }
            found.push(Found { name: name.into(), recent });
        }
    }
    Ok(found)
}
