//! The cache file of a mailbox: strings about its messages that are dear to make, as they are sent.
//!
//! ```text
//! "facteur cache 1\n"
//! section: a random number of this file
//! sections: one record each: UID, checksum of the file's name, then kind, length, octets of each string
//! ```
//!
//! Appended, never synced. Where a record lies is in memory and in the index; what was appended since the index was
//! written is found by reading on from there. A record is believed only if its checksum is right and it is of this very
//! message, so a file that is damaged, torn or another mailbox's costs no more than making the strings again.

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::fsio;
use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;
use crate::mail::limits::CACHE_RECORD_OCTETS;
use crate::mail::limits::CACHE_SPARE_RECORDS;
use crate::mail::limits::CACHE_WHOLE_OCTETS;
use crate::mail::limits::CACHE_WINDOW_OCTETS;

use super::context::lock;
use super::derived;
use super::file_name;
use super::mailbox::Mailbox;
use super::section;
use super::section::Numbers;
use super::table::Table;

const MAGIC: &[u8; 16] = b"facteur cache 1\n";

/// Octets before the first record.
const HEAD: u64 = HEAD_OCTETS as u64;

const HEAD_OCTETS: usize = 16 + section::HEAD + 8;

const FILE: &str = "cache";

/// A string about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CacheKind {
    /// Its header up to and with the empty line, as on disk.
    Header = 1,
    /// ENVELOPE as IMAP sends it.
    Envelope = 2,
    /// BODYSTRUCTURE as IMAP sends it.
    BodyStructure = 3,
    /// BODY as IMAP sends it.
    Body = 4,
    /// EMAILID (RFC 8474 §5.1).
    EmailId = 5,
    /// PREVIEW, in UTF-8 (RFC 8970).
    Preview = 6,
    /// What `message::sieve` makes of it.
    Sieve = 7,
}

/// Strings of one message, to be kept.
pub type CacheEntry = (Uid, Vec<(CacheKind, Vec<u8>)>);

/// The cache file, open.
#[derive(Debug)]
pub(super) struct Cache {
    file: Arc<File>,
    path: PathBuf,
    id: u64,
    /// Where the next record goes.
    end: u64,
    /// Records in the file, of messages that are gone and outdated ones among them.
    records: usize,
}

/// What an index says of the cache file: which one, how long it was, how many records it had.
pub(super) type CacheMark = (u64, u64, u64);

/// The strings of one message.
#[derive(Debug, Clone, Copy)]
pub struct Cached<'a>(&'a [u8]);

impl<'a> Cached<'a> {
    /// One of them.
    #[must_use]
    pub fn get(&self, wanted: CacheKind) -> Option<&'a [u8]> {
        strings(self.0).find(|(kind, _)| *kind == wanted as u8).map(|(_, octets)| octets)
    }
}

fn strings(record: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut numbers = Numbers(record);
    std::iter::from_fn(move || {
        let [kind] = *numbers.array::<1>()?;
        let len = usize::try_from(numbers.u32()?).ok()?;
        Some((kind, numbers.octets(len)?))
    })
}

/// Jumps after which a reader takes a small file as a whole: as many small reads cost about as much.
const JUMPS: u32 = 32;

/// Octets of a record before its strings.
const RECORD_HEAD: usize = 8;

/// What a record says of whom it is: UID, and checksum of the name of the file, without its flags.
fn owner(uid: Uid, name: &[u8]) -> [u8; RECORD_HEAD] {
    let mut owner = [0; RECORD_HEAD];
    owner[..4].copy_from_slice(&uid.get().to_le_bytes());
    owner[4..].copy_from_slice(&section::checksum(file_name::base(name)).to_le_bytes());
    owner
}

/// Looks strings up, best by ascending UID: it reads ahead.
#[derive(Debug)]
pub struct CacheReader {
    mailbox: Arc<Mailbox>,
    file: Option<Arc<File>>,
    window: Vec<u8>,
    start: u64,
    /// Reads that began elsewhere than the one before had ended.
    jumps: u32,
}

impl CacheReader {
    /// The strings of a message, as far as there are any.
    pub fn get(&mut self, uid: Uid) -> Option<Cached<'_>> {
        let file = Arc::clone(self.file.as_ref()?);
        let (offset, owner) = {
            let shown = self.mailbox.shown();
            let entry = shown.table.get(shown.table.find(uid)?);
            // No file is so long, whatever an index says.
            (entry.cached.filter(|offset| i64::try_from(*offset).is_ok())?, owner(uid, entry.name))
        };
        let len = self.section_len(&file, offset)?;
        let record = self.octets(&file, offset, section::HEAD + len)?;
        let (record, _) = section::split(record)?;
        let (of, strings) = record.split_first_chunk::<RECORD_HEAD>()?;
        (*of == owner).then_some(Cached(strings))
    }

    fn section_len(&mut self, file: &File, offset: u64) -> Option<usize> {
        let head = self.octets(file, offset, section::HEAD)?;
        section::parse_head(head.first_chunk()?).map(|(len, _)| len).filter(|len| *len <= CACHE_RECORD_OCTETS)
    }

    /// So many octets of the file, read ahead if they follow those that were read.
    fn octets(&mut self, file: &File, offset: u64, len: usize) -> Option<&[u8]> {
        let end = self.start + self.window.len() as u64;
        if offset < self.start || offset + len as u64 > end {
            let follows = offset >= self.start && offset <= end;
            self.jumps += u32::from(!follows);
            let (start, most) = self.window_for(file, offset, follows);
            self.window.resize(usize::try_from(offset - start).ok()?.checked_add(len)?.max(most), 0);
            self.start = start;
            let offset = start;
            let read = read_at(file, &mut self.window, offset).unwrap_or(0);
            self.window.truncate(read);
        }
        let at = usize::try_from(offset - self.start).ok()?;
        self.window.get(at..at + len)
    }
}

impl CacheReader {
    /// Where to read from and how much, for octets at `offset`. Who jumps about in a small file has it whole soon: its
    /// records lie in the order in which they were asked for first.
    fn window_for(&self, file: &File, offset: u64, follows: bool) -> (u64, usize) {
        if self.jumps >= JUMPS
            && let Some(whole) = file.metadata().ok().and_then(|m| usize::try_from(m.len()).ok())
            && whole <= CACHE_WHOLE_OCTETS
            && offset < whole as u64
        {
            return (0, whole);
        }
        (offset, if follows { CACHE_WINDOW_OCTETS } else { CACHE_WINDOW_OCTETS / 16 })
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

impl Mailbox {
    /// To look strings up. For callers on a blocking thread.
    #[must_use]
    pub fn cache_reader(self: &Arc<Self>) -> CacheReader {
        let file = self.with_cache(|cache| Ok(Arc::clone(&cache.file)));
        CacheReader { mailbox: Arc::clone(self), file, window: Vec::new(), start: 0, jumps: 0 }
    }

    /// Keeps strings for later, beside those that are kept of the same messages. Where that fails they are made again
    /// next time. For callers on a blocking thread.
    ///
    /// `validity`: of the UIDs. Under another one they are other messages, and nothing is kept.
    pub fn remember(self: &Arc<Self>, validity: UidValidity, entries: Vec<CacheEntry>) {
        if entries.is_empty() || self.shown().validity != Some(validity) {
            return;
        }
        let mut reader = self.cache_reader();
        self.with_cache(|cache| {
            let (mut octets, mut offsets) = (Vec::new(), Vec::new());
            for (uid, strings) in entries {
                let Some(record) = self.record(&mut reader, uid, &strings) else { continue };
                offsets.push((uid, cache.end + octets.len() as u64));
                section::write(&mut octets, &record)?;
            }
            if offsets.is_empty() {
                return Ok(());
            }
            cache.file.write_all_at(&octets, cache.end)?;
            cache.end += octets.len() as u64;
            cache.records += offsets.len();
            let mut shown = self.shown_mut();
            for (uid, offset) in offsets {
                if let Some(place) = shown.table.find(uid) {
                    shown.table.set_cached(place, offset);
                }
            }
            Ok(())
        });
    }

    fn record(&self, reader: &mut CacheReader, uid: Uid, strings: &[(CacheKind, Vec<u8>)]) -> Option<Vec<u8>> {
        let mut record = {
            let shown = self.shown();
            owner(uid, shown.table.get(shown.table.find(uid)?).name).to_vec()
        };
        let mut push = |kind: u8, octets: &[u8]| -> Option<()> {
            record.push(kind);
            record.extend_from_slice(&u32::try_from(octets.len()).ok()?.to_le_bytes());
            record.extend_from_slice(octets);
            Some(())
        };
        for (kind, octets) in strings {
            push(*kind as u8, octets)?;
        }
        if let Some(kept) = reader.get(uid) {
            for (kind, octets) in self::strings(kept.0).filter(|(k, _)| strings.iter().all(|(new, _)| *new as u8 != *k))
            {
                push(kind, octets)?;
            }
        }
        (record.len() <= CACHE_RECORD_OCTETS).then_some(record)
    }

    /// Does something with the cache file; on an error there is none any more.
    fn with_cache<T>(&self, act: impl FnOnce(&mut Cache) -> io::Result<T>) -> Option<T> {
        let mut cache = lock(&self.cache);
        if cache.is_none() {
            *cache = self.open_cache();
        }
        match act(cache.as_mut()?) {
            Ok(done) => Some(done),
            Err(error) => {
                tracing::debug!(mailbox = %self.name(), %error, "no cache");
                *cache = None;
                None
            }
        }
    }

    fn open_cache(&self) -> Option<Cache> {
        let folder = self.folder().ok()?;
        let place = derived::place(&self.context, &folder)?;
        let path = place.join(FILE);
        let mark = *lock(&self.cache_mark);
        if let Some(cache) = self.read_on(&path, mark) {
            return Some(cache);
        }
        self.shown_mut().table.forget_cached();
        fsio::create_dir(&place).ok()?;
        let (file, id) = begin(&path).ok()?;
        Some(Cache { file: Arc::new(file), path, id, end: HEAD, records: 0 })
    }

    /// The cache file that is there, and where its records lie.
    fn read_on(&self, path: &Path, mark: CacheMark) -> Option<Cache> {
        let file = fsio::open_for_update(path).ok()?;
        let mut head = [0; HEAD_OCTETS];
        file.read_exact_at(&mut head, 0).ok()?;
        let (id, _) = section::split(head.strip_prefix(MAGIC)?)?;
        let id = u64::from_le_bytes(*id.first_chunk()?);
        let length = file.metadata().ok()?.len();
        let (mut end, mut records) = (HEAD, 0);
        if (id, mark.1 <= length) == (mark.0, true) {
            (end, records) = (mark.1, usize::try_from(mark.2).ok()?);
        } else {
            self.shown_mut().table.forget_cached();
        }
        let mut buffer = Vec::new();
        let mut found: Vec<(Uid, u64)> = Vec::new();
        let mut rest = io::BufReader::with_capacity(CACHE_WINDOW_OCTETS, At { file: &file, offset: end });
        while section::read(&mut rest, &mut buffer) {
            if let Some(uid) = Numbers(&buffer).u32().and_then(Uid::new) {
                found.push((uid, end));
            }
            end += (section::HEAD + buffer.len()) as u64;
            records += 1;
        }
        let mut shown = self.shown_mut();
        for (uid, offset) in found {
            if let Some(place) = shown.table.find(uid) {
                shown.table.set_cached(place, offset);
            }
        }
        Some(Cache { file: Arc::new(file), path: path.to_owned(), id, end, records })
    }

    /// The file has another name now.
    pub(super) fn close_cache(&self) {
        *lock(&self.cache) = None;
    }

    /// Whether records were added since the last index.
    pub(super) fn cache_has_grown(&self) -> bool {
        let cache = lock(&self.cache);
        let mark = *lock(&self.cache_mark);
        cache.as_ref().is_some_and(|open| (open.id, open.end) != (mark.0, mark.1))
    }

    /// What the next index shall say of the cache file; drops records that are of no use, where they prevail.
    pub(super) fn mark_cache(&self) -> CacheMark {
        let mut cache = lock(&self.cache);
        let Some(open) = cache.as_mut() else { return *lock(&self.cache_mark) };
        let used = self.shown().table.iter().filter(|entry| entry.cached.is_some()).count();
        if open.records > 2 * used + CACHE_SPARE_RECORDS
            && let Err(error) = self.compact(open)
        {
            tracing::debug!(mailbox = %self.name(), %error, "the cache is not tidied: begun anew");
            self.shown_mut().table.forget_cached();
            *cache = None;
            *lock(&self.cache_mark) = CacheMark::default();
            return CacheMark::default();
        }
        let mark = (open.id, open.end, open.records as u64);
        *lock(&self.cache_mark) = mark;
        mark
    }

    /// Writes the records that are of use into a new file.
    fn compact(&self, cache: &mut Cache) -> io::Result<()> {
        let (file, id) = begin(&cache.path)?;
        let mut out = io::BufWriter::with_capacity(CACHE_WINDOW_OCTETS, &file);
        let mut input = io::BufReader::with_capacity(CACHE_WINDOW_OCTETS, At { file: &cache.file, offset: HEAD });
        let (mut from, mut end, mut buffer, mut moved) = (HEAD, HEAD, Vec::new(), Vec::new());
        io::Seek::seek(&mut out, io::SeekFrom::Start(HEAD))?;
        while from < cache.end && section::read(&mut input, &mut buffer) {
            let uid = Numbers(&buffer).u32().and_then(Uid::new);
            let here = |table: &Table, uid: Uid| table.find(uid).is_some_and(|p| table.get(p).cached == Some(from));
            let len = (section::HEAD + buffer.len()) as u64;
            if let Some(uid) = uid.filter(|uid| here(&self.shown().table, *uid)) {
                section::write(&mut out, &buffer)?;
                moved.push((uid, end));
                end += len;
            }
            from += len;
        }
        out.flush()?;
        drop(out);
        let mut shown = self.shown_mut();
        shown.table.forget_cached();
        let records = moved.len();
        for (uid, offset) in moved {
            if let Some(place) = shown.table.find(uid) {
                shown.table.set_cached(place, offset);
            }
        }
        *cache = Cache { file: Arc::new(file), path: cache.path.clone(), id, end, records };
        Ok(())
    }
}

/// A new cache file. Who reads the old one may go on.
fn begin(path: &Path) -> io::Result<(File, u64)> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(io::Error::other)?;
    let mut head = MAGIC.to_vec();
    section::write(&mut head, &random)?;
    fsio::remove_if_there(path)?;
    fsio::create_new(path)?.write_all(&head)?;
    Ok((fsio::open_for_update(path)?, u64::from_le_bytes(random)))
}

/// Reads a file from a place on, without moving anybody else's.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
