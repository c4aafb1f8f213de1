//! Looking at the folders of one mailbox: who is there, and did anybody change them behind our back.
//!
//! While a mailbox is in memory the kernel tells of every change of names (`watch.rs`), and ours are matched off. Where
//! it does not (another system, too many watches, a network file system), time stamps do: a folder's stamp tells of
//! every change of its names, foreign or ours. Ours must not cost a scan each, so after a change of our own the new
//! stamp is taken as seen, provided that the stamp before it was the one we knew. Two windows remain then, and both are
//! closed by looking again later:
//!
//! - A foreign change in the same tick of the kernel's clock as a look: a folder younger than
//!   [`FOLDER_YOUNG`] when it was read is read again at the next look.
//! - A foreign change between our own and the look at the stamp after it: after changes of our own the folder is
//!   audited, that is read once more when it has been quiet for [`FOLDER_YOUNG`], though at most every
//!   [`FOLDER_AUDIT`].

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use crate::fsio;
use crate::mail::limits::FOLDER_AUDIT;
use crate::mail::limits::FOLDER_YOUNG;

use super::file_name;
use super::file_name::FileName;
use super::watch::ForeignChange;
use super::watch::Kind;
use super::watch::Step;
use super::watch::Sub;
use super::watch::Watched;

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
    /// Octets in a file of ours.
    pub(super) const OCTETS: usize = 40;

    /// For a file of ours.
    pub(super) fn to_bytes(self) -> [u8; Self::OCTETS] {
        let mut bytes = [0; Self::OCTETS];
        bytes[..8].copy_from_slice(&self.device.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.inode.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.seconds.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.nanoseconds.to_le_bytes());
        bytes[32..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }

    /// What [`Stamp::to_bytes`] gave.
    pub(super) fn from_bytes(bytes: &[u8; Self::OCTETS]) -> Self {
        let mut numbers = bytes.as_chunks::<8>().0.iter().copied();
        let mut next = || numbers.next().unwrap_or_default();
        Self {
            device: u64::from_le_bytes(next()),
            inode: u64::from_le_bytes(next()),
            seconds: i64::from_le_bytes(next()),
            nanoseconds: i64::from_le_bytes(next()),
            size: u64::from_le_bytes(next()),
        }
    }

    /// Microseconds since 1970.
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.seconds)
            .unwrap_or(0)
            .saturating_mul(1_000_000)
            .saturating_add(u64::try_from(self.nanoseconds).unwrap_or(0) / 1000)
    }

    /// Of a file.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        let m = std::fs::symlink_metadata(path)?;
        Ok(Self { device: m.dev(), inode: m.ino(), seconds: m.mtime(), nanoseconds: m.mtime_nsec(), size: m.size() })
    }

    /// Of a folder, whose size says nothing.
    pub(super) fn of_folder(path: &Path) -> io::Result<Self> {
        Ok(Self { size: 0, ..Self::of_file(path)? })
    }

    /// Whether it is the same folder, changed or not.
    pub(super) fn same_folder(&self, other: &Self) -> bool {
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

impl Arrival {
    /// The folder in which it lies.
    pub(super) fn sub(&self) -> Sub {
        Sub::of(self.recent)
    }
}

/// What we know of `new/` and `cur/`.
#[derive(Debug, Default)]
pub(super) struct Folders {
    watched: Option<Watched>,
    /// Foreign changes that were seen and not yet looked after.
    foreign: Vec<ForeignChange>,
    /// Events were taken since the last look.
    any: bool,
    new: Option<Stamp>,
    cur: Option<Stamp>,
    young: bool,
    must_scan: bool,
    scanned: Option<Instant>,
    changed_by_us: Option<Instant>,
    /// Deliveries since the last look, in order.
    pub(super) arrivals: Vec<Arrival>,
}

/// Does operations of our own, so that their events are known as ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours<'a>(Option<&'a Watched>);

impl Ours<'_> {
    /// An operation that makes or removes these names, all or none.
    pub(super) fn run<T>(self, steps: &[Step<'_>], operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.0 {
            Some(watched) => watched.ours(steps, operation),
            None => operation(),
        }
    }

    /// A rename from one name to another one.
    pub(super) fn rename<T>(
        self,
        from: (Sub, &[u8]),
        to: (Sub, &[u8]),
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if from == to {
            return operation();
        }
        self.run(&[(from.0, Kind::Vanishes, from.1), (to.0, Kind::Appears, to.1)], operation)
    }
}

/// What a look at the folders says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// All as we know it.
    Same,
    /// Other programs touched these names, and no others.
    Touched(Vec<ForeignChange>),
    /// Read them.
    Changed,
    /// These are other folders than those we knew.
    Replaced,
}

impl Folders {
    /// From now on the kernel tells of changes.
    pub(super) fn watch(&mut self, watched: Option<Watched>) {
        self.watched = watched;
    }

    /// Compares with what is there.
    pub(super) fn look(&mut self, folder: &Path, now: Instant) -> io::Result<Look> {
        let (new, cur) = (Stamp::of_folder(&folder.join("new"))?, Stamp::of_folder(&folder.join("cur"))?);
        let (Some(known_new), Some(known_cur)) = (self.new, self.cur) else { return Ok(Look::Changed) };
        if !known_new.same_folder(&new) || !known_cur.same_folder(&cur) {
            return Ok(Look::Replaced);
        }
        let same = (known_new, known_cur) == (new, cur);
        let Some(watched) = &self.watched else {
            let audit = self.changed_by_us.is_some_and(|changed| {
                now.saturating_duration_since(changed) > FOLDER_YOUNG
                    && self.scanned.is_none_or(|scanned| now.saturating_duration_since(scanned) > FOLDER_AUDIT)
            });
            return Ok(if same && !self.young && !self.must_scan && !audit { Look::Same } else { Look::Changed });
        };
        let seen = watched.take();
        if seen.replaced {
            return Ok(Look::Replaced);
        }
        self.foreign.extend(seen.names);
        let any = std::mem::take(&mut self.any) || seen.any;
        // A stamp that changed without an event: somebody whom this kernel does not see.
        if self.must_scan || seen.must_scan || (!same && !any && self.foreign.is_empty()) {
            return Ok(Look::Changed);
        }
        (self.new, self.cur) = (Some(new), Some(cur));
        Ok(if self.foreign.is_empty() { Look::Same } else { Look::Touched(std::mem::take(&mut self.foreign)) })
    }

    /// Notes the stamps before a scan.
    pub(super) fn scan_begins(&mut self, folder: &Path, now: Instant, since_epoch: Duration) -> io::Result<()> {
        let (new, cur) = (Stamp::of_folder(&folder.join("new"))?, Stamp::of_folder(&folder.join("cur"))?);
        // The scan sees what happened until now. What happens to the folders themselves, the next look does.
        let replaced = self.watched.as_ref().is_some_and(|watched| watched.take().replaced);
        if replaced {
            self.watched = None;
        }
        self.foreign.clear();
        self.any = false;
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

    /// Takes stamps of an earlier time as known, if they still are those of the folders and nothing waits for a UID.
    pub(super) fn trust(&mut self, folder: &Path, new: Stamp, cur: Stamp) -> bool {
        let now = |sub| Stamp::of_folder(&folder.join(sub)).ok();
        let same = self.arrivals.is_empty() && now("new") == Some(new) && now("cur") == Some(cur);
        if same {
            let watched = self.watched.take();
            *self = Self { new: Some(new), cur: Some(cur), watched, ..Self::default() };
        }
        same
    }

    /// The stamps of the folders, and whether folders that have them are for sure as we know them.
    pub(super) fn settled(&mut self, folder: &Path, since_epoch: Duration) -> (Option<(Stamp, Stamp)>, bool) {
        let now = |sub| Stamp::of_folder(&folder.join(sub)).ok();
        let (Some(new), Some(cur)) = (now("new"), now("cur")) else { return (None, false) };
        let known = match &self.watched {
            // Whatever happened before the stamps were looked at is among what is seen now.
            Some(watched) => {
                let seen = watched.take();
                self.foreign.extend(seen.names);
                self.must_scan |= seen.must_scan || seen.replaced;
                self.any |= seen.any;
                let same = (self.new, self.cur) == (Some(new), Some(cur)) || self.any;
                same && self.foreign.is_empty()
            }
            None => {
                let audited = self.changed_by_us.is_none();
                self.new == Some(new) && self.cur == Some(cur) && !self.young && audited
            }
        };
        let old = !new.is_young(since_epoch) && !cur.is_young(since_epoch);
        (Some((new, cur)), known && old && !self.must_scan && self.arrivals.is_empty())
    }

    /// Whether `cur/` is as it was when the scan began. Only what runs beside a scan may make it otherwise, and we
    /// do nothing in `cur/` then.
    pub(super) fn cur_is_unchanged(&self, folder: &Path) -> bool {
        Stamp::of_folder(&folder.join("cur")).is_ok_and(|cur| self.cur == Some(cur))
    }

    /// After a scan: adds to what it found the files that other programs gave other names meanwhile, which it may have
    /// missed. The next look looks after all of them.
    pub(super) fn scan_ends(&mut self, folder: &Path, found: &mut Found) {
        let Some(watched) = &self.watched else { return };
        let seen = watched.take();
        self.must_scan |= seen.must_scan || seen.replaced;
        self.any |= seen.any;
        for change in seen.names.iter().filter(|change| change.kind == Kind::Appears) {
            if fsio::is_regular(&change.sub.file(folder, &change.name)) && file_name::is_message(&change.name) {
                found.push(&change.name, change.sub == Sub::New);
            }
        }
        self.foreign.extend(seen.names);
    }

    /// What other programs did since it was last asked: the names that appeared, by their base. The next look looks
    /// after all of it.
    pub(super) fn appeared(&mut self) -> HashSet<Box<[u8]>> {
        if let Some(watched) = &self.watched {
            let seen = watched.take();
            self.must_scan |= seen.must_scan || seen.replaced;
            self.any |= seen.any;
            self.foreign.extend(seen.names);
        }
        let appeared = self.foreign.iter().filter(|change| change.kind == Kind::Appears);
        appeared.map(|change| file_name::base(&change.name).into()).collect()
    }

    /// The foreign changes that nobody has looked after.
    pub(super) fn take_foreign(&mut self) -> Vec<ForeignChange> {
        std::mem::take(&mut self.foreign)
    }

    /// Whether the kernel tells of changes.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.is_some()
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
    pub(super) fn change<T>(&mut self, folder: &Path, now: Instant, change: impl FnOnce(Ours<'_>) -> T) -> T {
        if self.watched.is_some() {
            return change(Ours(self.watched.as_ref()));
        }
        let (new_path, cur_path) = (folder.join("new"), folder.join("cur"));
        let before = (Stamp::of_folder(&new_path).ok(), Stamp::of_folder(&cur_path).ok());
        let result = change(Ours(None));
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

/// The files that a scan found: names one after the other, for a mailbox may have 100,000.
#[derive(Debug, Default)]
pub(super) struct Found {
    names: Vec<u8>,
    /// Where each name ends, and whether it lies in `new/`.
    files: Vec<(usize, bool)>,
}

impl Found {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// The name of one, and whether it lies in `new/`.
    pub(super) fn get(&self, at: usize) -> (&[u8], bool) {
        let start = at.checked_sub(1).map_or(0, |before| self.files[before].0);
        let (end, recent) = self.files[at];
        (&self.names[start..end], recent)
    }

    /// What names the messages, without their flags.
    pub(super) fn bases(&self) -> HashSet<&[u8]> {
        (0..self.len()).map(|at| file_name::base(self.get(at).0)).collect()
    }

    /// Adds one.
    pub(super) fn push(&mut self, name: &[u8], recent: bool) {
        self.names.extend_from_slice(name);
        self.files.push((self.names.len(), recent));
    }
}

/// Reads both folders. `new/` comes first: a message that another program moves to `cur/` meanwhile is then seen
/// twice, which the caller sorts out, and never missed.
pub(super) fn scan(folder: &Path) -> io::Result<Found> {
    let mut found = Found::default();
    let mut odd = 0_u32;
    for (sub, recent) in [("new", true), ("cur", false)] {
        fsio::list(&folder.join(sub), |name, regular| {
            if name.first() == Some(&b'.') {
                return;
            }
            if regular && file_name::is_message(name) {
                found.push(name, recent);
                return;
            }
            odd += 1;
            if odd == 1 {
                tracing::warn!(folder = %folder.display(), name = %name.escape_ascii(), "not a message: passed over");
            }
        })?;
    }
    if odd > 1 {
        tracing::warn!(folder = %folder.display(), count = odd, "these are no messages: passed over");
    }
    Ok(found)
}
