//! Messages that another server compressed: their files are read as what was compressed.
//!
//! Dovecot's zlib plugin writes message files in gzip or zstd and says so nowhere but in their first octets; scripts
//! that compress old mail also put the letter `Z` among the flags. As Dovecot does, the first octets decide. Unlike
//! Dovecot, a message that merely begins with such octets is served as it is where its name tells: `S=` is the size of
//! the message, so a file of exactly that size is a compressed one only if that size comes out of it. All that this
//! server writes has `S=`, so nothing that a client stores here is ever taken for compressed by mistake.
//!
//! What comes out is read as a stream, and its end is an error after [`DECOMPRESSED_OCTETS`]. A small file that stands
//! for a huge one costs time, and no memory where the reader goes piece by piece, as POP3 does. Who reads whole
//! messages (FETCH, CATENATE and export) holds up to that many octets for the one message, as he
//! would for a large one, whatever its name says of its size. A file that cannot be decompressed is a message that is not there: the others
//! are served. This server compresses nothing itself.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

use crate::mail::limits::DECOMPRESSED_OCTETS;
use crate::mail::limits::ZSTD_WINDOW_OCTETS;

use super::file_name;

/// The file of a message, open for reading: what it gives is the message itself, decompressed where it must be.
#[derive(Debug)]
pub struct MessageFile(Source);

#[derive(Debug)]
enum Source {
    Plain(Plain),
    /// With the time of the file's last change.
    Compressed(Bounded<Decoder>, i64),
}

/// The file of a message that is not compressed, to be read at any place of it.
#[derive(Debug)]
pub struct PlainFile {
    file: File,
    length: u64,
}

impl PlainFile {
    /// Octets when it was opened.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it had none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Fills `buffer` from octet `at` on, as far as there is something. Nothing is given that came after it was opened.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX).min(buffer.len());
        let mut filled = 0;
        while filled < most {
            match self.file.read_at(&mut buffer[filled..most], at + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// A file whose first octets were read to see what it is. Its end is where it was when it was opened: a message never
/// grows, and asking the kernel for more would cost a call each time.
#[derive(Debug)]
struct Plain {
    file: File,
    head: Vec<u8>,
    /// Octets of the file when it was opened.
    length: u64,
    /// Octets of the head that were given.
    given: usize,
    /// Octets behind the head that were not.
    left: u64,
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = &self.head[self.given..];
        if !ready.is_empty() {
            let n = ready.len().min(buffer.len());
            buffer[..n].copy_from_slice(&ready[..n]);
            self.given += n;
            return Ok(n);
        }
        let n = (&self.file).take(self.left).read(buffer)?;
        self.left = self.left.saturating_sub(n as u64);
        Ok(n)
    }

    fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let ready = &self.head[self.given..];
        let before = out.len();
        out.reserve(ready.len().saturating_add(usize::try_from(self.left).unwrap_or(0)));
        out.extend_from_slice(ready);
        self.given = self.head.len();
        let n = (&self.file).take(self.left).read_to_end(out)?;
        self.left = self.left.saturating_sub(n as u64);
        Ok(out.len() - before)
    }
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Gzip,
    Zstd,
    /// One that Dovecot reads and we do not.
    Other(&'static str),
}

enum Decoder {
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
    Zstd(Frames<BufReader<File>>),
}

/// First octets, as Dovecot tells its methods apart.
const MAGIC: [(&[u8], Method); 5] = [
    (b"\x1f\x8b", Method::Gzip),
    (b"\x28\xb5\x2f\xfd", Method::Zstd),
    (b"BZh", Method::Other("bzip2")),
    (b"Dovecot-LZ4\x0d\x2a\x9b\xc5", Method::Other("lz4")),
    (b"\xfd7zXZ\0", Method::Other("xz")),
];

/// Octets of the first read: enough for the magic, for nearly every header, and for most messages.
const HEAD_OCTETS: usize = 8192;

impl MessageFile {
    /// The message in an open file of this name. Errors are those of the file system, and
    /// [`io::ErrorKind::Unsupported`] for a method that we cannot read.
    pub(super) fn new((file, length): (File, u64), name: &[u8]) -> io::Result<Self> {
        let mut head = vec![0; usize::try_from(length).unwrap_or(HEAD_OCTETS).min(HEAD_OCTETS)];
        let n = read_head(&file, &mut head)?;
        head.truncate(n);
        let plain = |file, head| Self(Source::Plain(Plain { file, head, length, given: 0, left: length - n as u64 }));
        let Some(method) = method(&head) else { return Ok(plain(file, head)) };
        let metadata = file.metadata()?;
        let size = file_name::disk_size(name);
        rewind(&file)?;
        if size == Some(length) && !gives(&file, method, length) {
            io::Seek::seek(&mut &file, io::SeekFrom::Start(n as u64))?;
            return Ok(plain(file, head));
        }
        let left = DECOMPRESSED_OCTETS;
        Ok(Self(Source::Compressed(Bounded { source: Decoder::new(file, method)?, left }, metadata.mtime())))
    }

    /// When the file's bytes last changed, seconds since 1970: the date of arrival in a Maildir.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn modified(&self) -> io::Result<i64> {
        match &self.0 {
            Source::Plain(plain) => Ok(plain.file.metadata()?.mtime()),
            Source::Compressed(_, modified) => Ok(*modified),
        }
    }

    /// Whether an error of reading says that this file is no message to us, now and later, rather than that the disk
    /// fails.
    pub(super) fn is_unreadable(error: &io::Error) -> bool {
        use io::ErrorKind::FileTooLarge;
        use io::ErrorKind::InvalidData;
        use io::ErrorKind::Unsupported;
        matches!(error.kind(), InvalidData | Unsupported | FileTooLarge) && error.raw_os_error().is_none()
    }

    /// Octets of the file, where they are those of the message.
    #[must_use]
    pub fn plain_len(&self) -> Option<u64> {
        match &self.0 {
            Source::Plain(plain) => Some(plain.length),
            Source::Compressed(..) => None,
        }
    }

    /// The file itself, where its octets are those of the message.
    #[must_use]
    pub fn into_plain(self) -> Option<PlainFile> {
        match self.0 {
            Source::Plain(plain) => Some(PlainFile { file: plain.file, length: plain.length }),
            Source::Compressed(..) => None,
        }
    }

    /// Whether its octets are not those of the file.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.0, Source::Compressed(..))
    }
}

impl Read for MessageFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Plain(plain) => plain.read(buffer),
            Source::Compressed(bounded, _) => bounded.read(buffer),
        }
    }

    fn read_to_end(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        match &mut self.0 {
            Source::Plain(plain) => plain.read_to_end(out),
            Source::Compressed(bounded, _) => bounded.read_to_end(out),
        }
    }
}

fn rewind(file: &File) -> io::Result<()> {
    io::Seek::seek(&mut &*file, io::SeekFrom::Start(0)).map(drop)
}

/// Reads the first octets.
fn read_head(mut file: &File, head: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < head.len() {
        match file.read(&mut head[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

fn method(head: &[u8]) -> Option<Method> {
    let (_, method) = MAGIC.iter().find(|(magic, _)| head.starts_with(magic))?;
    // Letters that a message may begin with: bzip2's are followed by its level and a number of six octets.
    let is_bzip2 = head.len() >= 10 && head[3].is_ascii_digit() && head[4..10] == *b"\x31\x41\x59\x26\x53\x59";
    if *method == Method::Other("bzip2") && !is_bzip2 { None } else { Some(*method) }
}

/// Whether exactly so many octets come out of a file that has this length itself: then it is a small message that
/// compression did not make smaller, and otherwise a message that begins with odd octets.
fn gives(file: &File, method: Method, length: u64) -> bool {
    let decoder = file.try_clone().and_then(|again| Decoder::new(again, method));
    let Ok(decoder) = decoder else { return false };
    let counted = io::copy(&mut decoder.take(length.saturating_add(1)), &mut io::sink());
    // Both handles share one place in the file.
    rewind(file).is_ok() && counted.is_ok_and(|n| n == length)
}

impl Decoder {
    fn new(file: File, method: Method) -> io::Result<Self> {
        let source = BufReader::new(file);
        match method {
            Method::Gzip => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(source)))),
            Method::Zstd => Ok(Self::Zstd(Frames::new(source))),
            Method::Other(name) => {
                let words = format!("the message is compressed with {name}, which this server does not read");
                Err(io::Error::new(io::ErrorKind::Unsupported, words))
            }
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl Read for Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(frames) => frames.read(buffer),
        };
        // What is no word of the kernel is one about the octets.
        read.map_err(|error| if error.raw_os_error().is_some() { error } else { broken(error) })
    }
}

/// The frames of zstd, one after the other, as the programs that write it may leave them.
enum Frames<R: Read> {
    /// Before a frame.
    Between(R),
    Within(Box<StreamingDecoder<R, ruzstd::decoding::FrameDecoder>>),
    /// While one becomes the other, and after an error.
    Broken,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Self {
        Self::Between(source)
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(self, Self::Broken) {
                Self::Between(mut source) => {
                    if source.fill_buf()?.is_empty() {
                        *self = Self::Between(source);
                        return Ok(0);
                    }
                    let decoder = StreamingDecoder::new_with_max_window_size(source, ZSTD_WINDOW_OCTETS);
                    *self = Self::Within(Box::new(decoder.map_err(io::Error::other)?));
                }
                Self::Within(mut decoder) => match decoder.read(buffer)? {
                    0 => *self = Self::Between(decoder.into_inner()),
                    n => {
                        *self = Self::Within(decoder);
                        return Ok(n);
                    }
                },
                Self::Broken => return Err(io::Error::other("it was so before")),
            }
        }
    }
}

fn broken(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the compressed message is broken: {error}"))
}

/// Ends with an error where more comes than a message may have.
#[derive(Debug)]
struct Bounded<R> {
    source: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| {
            let words = format!("the compressed message is larger than {DECOMPRESSED_OCTETS} octets");
            io::Error::new(io::ErrorKind::FileTooLarge, words)
        })?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;
    use std::time::SystemTime;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::fsio;

    const MESSAGE: &[u8] = b"Subject: x\n\na body that is long enough, long enough, long enough, long enough\n";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    /// zstd with its bytes as they are, in blocks of this size: ruzstd reads all of it, and writes none.
    fn zstd(bytes: &[u8], block: usize) -> Vec<u8> {
        // A frame header with a window of 128 KiB and no content size.
        let mut out = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
        let last = bytes.chunks(block).count() - 1;
        for (n, chunk) in bytes.chunks(block).enumerate() {
            let header = u32::try_from(chunk.len() << 3).expect("small") | u32::from(n == last);
            out.extend_from_slice(&header.to_le_bytes()[..3]);
            out.extend_from_slice(chunk);
        }
        out
    }

    /// A frame in which one octet stands for many: blocks of repetition.
    fn zstd_of_zeros(blocks: u32) -> Vec<u8> {
        let mut out = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
        for n in 1..=blocks {
            let header = (128 << 10 << 3) | (1 << 1) | u32::from(n == blocks);
            out.extend_from_slice(&header.to_le_bytes()[..3]);
            out.push(0);
        }
        out
    }

    struct Opened {
        file: io::Result<MessageFile>,
        _folder: tempfile::TempDir,
    }

    fn open(bytes: &[u8], name: &str) -> Opened {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("message");
        std::fs::write(&path, bytes).expect("written");
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&path).expect("there").set_modified(date).expect("ours");
        let opened = fsio::open_regular_sized(&path).expect("there");
        Opened { file: MessageFile::new(opened, name.as_bytes()), _folder: folder }
    }

    fn read(bytes: &[u8], name: &str) -> io::Result<Vec<u8>> {
        let mut file = open(bytes, name).file?;
        let mut out = Vec::new();
        file.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn both_methods_in_one_piece_and_in_several() {
        let whole = [MESSAGE, MESSAGE].concat();
        for (bytes, wanted) in [
            (gzip(MESSAGE), MESSAGE),
            ([gzip(MESSAGE), gzip(MESSAGE)].concat(), &whole),
            (zstd(MESSAGE, 1000), MESSAGE),
            (zstd(MESSAGE, 7), MESSAGE),
            ([zstd(MESSAGE, 1000), zstd(MESSAGE, 9)].concat(), &whole),
            (MESSAGE.to_vec(), MESSAGE),
            (Vec::new(), b""),
        ] {
            for name in ["1.a", "1.a,S=10:2,ZS", &format!("1.a,S={}:2,", wanted.len())] {
                assert_eq!(read(&bytes, name).expect("readable"), wanted, "{name}");
            }
            assert_eq!(open(&bytes, "1.a").file.expect("opened").modified().expect("told"), 1_000_000_000);
        }
    }

    #[test]
    fn what_only_begins_so_is_left_as_it_is() {
        for bytes in [&b"\x1f\x8b raw"[..], b"\x28\xb5\x2f\xfd raw", b"Dovecot-LZ4\x0d\x2a\x9b\xc5", b"\x1f\x8b"] {
            let name = format!("1.a,S={},W={}:2,S", bytes.len(), bytes.len());
            assert_eq!(read(bytes, &name).expect("readable"), bytes);
            // Without a size the first octets decide.
            let error = read(bytes, "1.a:2,S").expect_err("not readable");
            assert!(MessageFile::is_unreadable(&error), "{bytes:?}: {error:?}");
        }
        assert_eq!(read(b"BZhello there", "1.a").expect("readable"), b"BZhello there");
        let words = read(b"BZh91AY&SYxyz", "1.a,S=100").expect_err("not readable").to_string();
        assert!(words.contains("bzip2"), "{words}");
        // Whoever stores a compressed file through us gets it back as it was.
        let stored = gzip(MESSAGE);
        assert_eq!(read(&stored, &format!("1.a,S={}", stored.len())).expect("readable"), stored);
    }

    #[test]
    fn a_message_that_compression_left_as_long_as_it_was() {
        // A text made longer until its compressed form has exactly its size.
        let same = (1..200).map(|n| [b"Subject: ", &*b"a".repeat(n), b"\n"].concat()).find_map(|text| {
            let compressed = gzip(&text);
            (compressed.len() == text.len()).then_some((text, compressed))
        });
        let (text, compressed) = same.expect("the sizes cross");
        assert_eq!(read(&compressed, &format!("1.a,S={}", text.len())).expect("readable"), text);
    }

    #[test]
    fn cut_files_are_errors_and_no_shorter_messages() {
        for whole in [gzip(MESSAGE), zstd(MESSAGE, 20)] {
            for cut in 4..whole.len() {
                let error = read(&whole[..cut], "1.a").expect_err("cut");
                assert!(MessageFile::is_unreadable(&error), "cut at {cut}: {error:?}");
            }
        }
    }

    #[test]
    fn a_bomb_ends_in_an_error_and_costs_no_memory() {
        let blocks = u32::try_from(DECOMPRESSED_OCTETS / (128 << 10)).expect("small") + 1;
        let mut file = open(&zstd_of_zeros(blocks), "1.a").file.expect("opened");
        assert!(file.is_compressed());
        let mut buffer = vec![0; 65_536];
        let mut octets = 0;
        let error = loop {
            match file.read(&mut buffer) {
                Ok(0) => panic!("an end after {octets} octets"),
                Ok(n) => octets += n as u64,
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), octets), (io::ErrorKind::FileTooLarge, DECOMPRESSED_OCTETS));
        // A window that would need more memory than we give.
        let huge = b"\x28\xb5\x2f\xfd\x00\xf8\x01\x00\x00";
        assert!(read(huge, "1.a").is_err());
    }
}
