//! The bytes of one message on their way from the wire to the disk.
//!
//! Held as they will be on disk: lines ended by LF. Small messages stay in memory, under one budget for all; larger
//! ones go to an unnamed file, which vanishes with its last handle. Knows nothing of what the bytes mean.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::mail::limits::CONTENT_IN_MEMORY;
use crate::mail::limits::CONTENT_IN_MEMORY_WHEN_TIGHT;
use crate::mail::limits::CONTENT_MEMORY_TOTAL;
use crate::mail::line_feeds;

static IN_MEMORY: AtomicUsize = AtomicUsize::new(0);

/// A message's bytes, complete. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Content {
    kept: Arc<Kept>,
    len: u64,
    line_feeds_alone: u64,
}

#[derive(Debug)]
enum Kept {
    Memory(Vec<u8>, #[expect(dead_code, reason = "held for its Drop")] Charge),
    File(File),
}

/// Memory that is counted; given back when dropped.
#[derive(Debug)]
struct Charge(usize);

impl Charge {
    fn grow(&mut self, by: usize) -> usize {
        self.0 += by;
        IN_MEMORY.fetch_add(by, Ordering::Relaxed) + by
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        IN_MEMORY.fetch_sub(self.0, Ordering::Relaxed);
    }
}

impl Content {
    /// Bytes that are in memory already.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let mut charge = Charge(0);
        charge.grow(bytes.len());
        let mut previous = 0;
        let line_feeds_alone = line_feeds::alone(&bytes, &mut previous);
        Self { len: bytes.len() as u64, line_feeds_alone, kept: Arc::new(Kept::Memory(bytes, charge)) }
    }

    /// Octets as kept, lines ended by LF: the size on disk.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Octets on the wire, every line ended by CRLF: `RFC822.SIZE`.
    #[must_use]
    pub fn wire_len(&self) -> u64 {
        self.len + self.line_feeds_alone
    }

    /// All bytes, where they are in memory.
    #[must_use]
    pub fn in_memory(&self) -> Option<&[u8]> {
        match &*self.kept {
            Kept::Memory(bytes, _) => Some(bytes),
            Kept::File(_) => None,
        }
    }

    /// A reader from the start; several may read at once.
    #[must_use]
    pub fn reader(&self) -> ContentReader {
        ContentReader { content: self.clone(), at: 0 }
    }

    /// The first `most` octets at most, for instance to look at the header.
    ///
    /// # Errors
    /// What the kernel says of the spill file.
    pub fn head(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        self.reader().take(most as u64).read_to_end(&mut head)?;
        Ok(head)
    }

    /// Writes everything to `out`, after `before`.
    ///
    /// # Errors
    /// What reading or writing says.
    pub fn write_to(&self, before: &[u8], out: &mut impl Write) -> io::Result<()> {
        match &*self.kept {
            Kept::Memory(bytes, _) => {
                let mut slices = [io::IoSlice::new(before), io::IoSlice::new(bytes)];
                let mut rest = &mut slices[..];
                while !rest.iter().all(|s| s.is_empty()) {
                    match out.write_vectored(rest) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(n) => io::IoSlice::advance_slices(&mut rest, n),
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
                Ok(())
            }
            Kept::File(_) => {
                out.write_all(before)?;
                io::copy(&mut self.reader(), out).map(drop)
            }
        }
    }
}

/// Reads a [`Content`] from its start.
#[derive(Debug)]
pub struct ContentReader {
    content: Content,
    at: u64,
}

impl ContentReader {
    /// Goes on so many octets further.
    pub fn skip(&mut self, octets: u64) {
        self.at = self.at.saturating_add(octets);
    }
}

impl Read for ContentReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = match &*self.content.kept {
            Kept::Memory(bytes, _) => {
                let from = usize::try_from(self.at).unwrap_or(usize::MAX).min(bytes.len());
                let n = into.len().min(bytes.len() - from);
                into[..n].copy_from_slice(&bytes[from..from + n]);
                n
            }
            Kept::File(file) => file.read_at(into, self.at)?,
        };
        self.at += n as u64;
        Ok(n)
    }
}

/// Collects a message piece by piece.
#[derive(Debug)]
pub struct ContentWriter {
    folder: PathBuf,
    memory: Vec<u8>,
    charge: Charge,
    file: Option<File>,
    len: u64,
    line_feeds_alone: u64,
    previous: u8,
}

impl ContentWriter {
    /// A writer whose spill file, should it need one, lies unnamed in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, memory: Vec::new(), charge: Charge(0), file: None, len: 0, line_feeds_alone: 0, previous: 0 }
    }

    /// Adds all that a reader has, piece by piece; see [`ContentWriter::push`].
    ///
    /// # Errors
    /// What the reader says, and as there.
    pub fn push_all(&mut self, from: &mut impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 65_536];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                n => self.push(&buffer[..n])?,
            }
        }
    }

    /// Octets so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing came yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a piece. This may write to a file and so may block for the time of a `write` into the page cache.
    ///
    /// # Errors
    /// What the kernel says of the spill file, a full disk for instance. The writer is then useless.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line_feeds_alone += line_feeds::alone(bytes, &mut self.previous);
        self.len += bytes.len() as u64;
        if let Some(file) = &mut self.file {
            return file.write_all(bytes);
        }
        let total = self.charge.grow(bytes.len());
        self.memory.extend_from_slice(bytes);
        let most = if total > CONTENT_MEMORY_TOTAL { CONTENT_IN_MEMORY_WHEN_TIGHT } else { CONTENT_IN_MEMORY };
        if self.memory.len() > most {
            let mut file = unnamed_file(&self.folder)?;
            file.write_all(&self.memory)?;
            self.memory = Vec::new();
            self.charge = Charge(0);
            self.file = Some(file);
        }
        Ok(())
    }

    /// Everything has come.
    ///
    /// # Errors
    /// What the kernel says of the spill file.
    pub fn finish(mut self) -> io::Result<Content> {
        let kept = match self.file.take() {
            Some(mut file) => {
                file.flush()?;
                file.rewind()?;
                Kept::File(file)
            }
            None => Kept::Memory(self.memory, self.charge),
        };
        Ok(Content { kept: Arc::new(kept), len: self.len, line_feeds_alone: self.line_feeds_alone })
    }
}

/// A file without a name. Where the file system cannot make one (`O_TMPFILE`), it gets a name that is removed at once.
fn unnamed_file(folder: &std::path::Path) -> io::Result<File> {
    use rustix::fs::Mode;
    use rustix::fs::OFlags;
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE;
    if let Ok(file) = rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        return Ok(File::from(file));
    }
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!(".spill-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let path = folder.join(name);
    super::remove_if_there(&path)?;
    let file = std::fs::OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
    super::remove(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&[u8]]) -> Content {
        let dir = tempfile::tempdir().expect("temporary folder");
        let mut writer = ContentWriter::new(dir.path().to_owned());
        for piece in pieces {
            writer.push(piece).expect("kept");
        }
        writer.finish().expect("complete")
    }

    #[test]
    fn sizes_on_disk_and_on_the_wire() {
        let content = written(&[b"a\nb\r", b"\nc\n"]);
        assert_eq!((content.len(), content.wire_len()), (7, 9));
        assert_eq!(content.head(100).expect("read"), b"a\nb\r\nc\n");
        assert_eq!(Content::from_bytes(b"a\nb\r\nc\n".to_vec()).wire_len(), 9);
    }

    #[test]
    fn a_large_message_goes_to_a_file_and_comes_back() {
        let piece = vec![b'x'; 100_000];
        let pieces: Vec<&[u8]> = std::iter::repeat_n(piece.as_slice(), 30).collect();
        let content = written(&pieces);
        assert!(content.in_memory().is_none());
        let mut out = Vec::new();
        content.write_to(b"before", &mut out).expect("written");
        assert_eq!(out.len(), 6 + 3_000_000);
        assert!(out.starts_with(b"beforexxx"));
    }
}
