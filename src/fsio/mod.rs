//! The only code that creates, renames, links, syncs or removes files, and what each operation promises.
//!
//! | operation | after a power cut, once it has returned |
//! | --- | --- |
//! | [`write_new`] | the bytes are on disk; the name may be missing |
//! | [`rename`], [`rename_new`], [`link`], [`remove`] | nothing is promised until [`sync_dir`] of the folder |
//! | [`sync_dir`] | all names of the folder are as they were when it was called |
//! | [`replace`] | either the old file or the new one, whole |
//! | [`append`] | nothing is promised until [`sync_data`] |
//!
//! After a failed sync the file is given up and a new one is written: the kernel may have dropped the pages and would
//! report success the second time.

mod content;

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub use content::Content;
pub use content::ContentReader;
pub use content::ContentWriter;

/// Mode of the files we make: mail is private.
const FILE_MODE: u32 = 0o600;

/// What one call to the kernel may list: some 400 names.
#[cfg(target_os = "linux")]
const LIST_OCTETS: usize = 65_536;

/// Mode of the folders we make.
const FOLDER_MODE: u32 = 0o700;

/// Creates `path`, which must not exist, writes what `fill` writes, and syncs the data. On any error nothing is left.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::AlreadyExists`] where the name is taken.
pub fn write_new(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = create_new(path)?;
    let done = fill(&mut file).and_then(|()| file.sync_data());
    if done.is_err() {
        drop(file);
        std::fs::remove_file(path).ok();
    }
    done
}

/// Creates `path` for writing; it must not exist, and no link is followed.
///
/// # Errors
/// What the kernel says.
pub fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// Opens `path` for appending, made when missing.
///
/// # Errors
/// What the kernel says.
pub fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}

/// Opens `path`, which must exist, for reading and writing in place.
///
/// # Errors
/// What the kernel says.
pub fn open_for_update(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Replaces `path` as a whole: a temporary file beside it, synced, renamed over it, the folder synced.
///
/// # Errors
/// What the kernel says; the old file is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(bytes))
}

/// As [`replace`], with what `fill` writes.
///
/// # Errors
/// What the kernel says; the old file is then still there.
pub fn replace_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = folder.join(temporary);
    remove_if_there(&temporary)?;
    write_new(&temporary, fill)?;
    if let Err(error) = std::fs::rename(&temporary, path) {
        std::fs::remove_file(&temporary).ok();
        return Err(error);
    }
    sync_dir(folder)
}

/// Syncs the data of an open file.
///
/// # Errors
/// What the kernel says; the file must then be given up.
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Cuts a file that is open for writing to this length.
///
/// # Errors
/// What the kernel says.
pub fn cut(file: &File, octets: u64) -> io::Result<()> {
    file.set_len(octets)
}

/// Syncs the names of a folder.
///
/// # Errors
/// What the kernel says.
pub fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Renames within one file system.
///
/// # Errors
/// What the kernel says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)
}

/// Renames within one file system, never over a file that is there.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::AlreadyExists`] where the new name is taken.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::CWD;
    use rustix::fs::RenameFlags;
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without the flag: a link refuses a taken name as well.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

/// Opens a regular file for reading. A symbolic link is not followed, and a FIFO or device is an error instead of a
/// wait: a mail folder may hold what somebody else put there.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::InvalidInput`] for what is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    open_regular_sized(path).map(|(file, _)| file)
}

/// As [`open_regular`]; tells the octets of the file too.
///
/// # Errors
/// As there.
pub fn open_regular_sized(path: &Path) -> io::Result<(File, u64)> {
    use rustix::fs::Mode;
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    // When mail was read last is nobody's business, and noting it would write to the disk for every message.
    #[cfg(target_os = "linux")]
    let opened = match rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty()) {
        // Another user's file.
        Err(rustix::io::Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
        opened => opened,
    };
    #[cfg(not(target_os = "linux"))]
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let file = File::from(opened?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((file, metadata.len()))
}

/// Whether there is a regular file of this name; a symbolic link is none.
#[must_use]
pub fn is_regular(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// All bytes of a regular file, opened as [`open_regular`] does.
///
/// # Errors
/// What the kernel says.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Calls `each` with every name in a folder, `.` and `..` aside, and whether it is a regular file (a symbolic link is
/// none). Makes no copy of a name.
///
/// # Errors
/// What the kernel says.
#[cfg(target_os = "linux")]
pub fn list(folder: &Path, mut each: impl FnMut(&[u8], bool)) -> io::Result<()> {
    use rustix::fs::FileType;
    use rustix::fs::RawDir;
    let file = File::open(folder)?;
    let mut buffer = Vec::with_capacity(LIST_OCTETS);
    let mut entries = RawDir::new(&file, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let regular = match entry.file_type() {
            FileType::RegularFile => true,
            // Old file systems do not tell the type with the name.
            FileType::Unknown => {
                let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                let stat = rustix::fs::statat(&file, entry.file_name(), flags)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            }
            _ => false,
        };
        each(name, regular);
    }
    Ok(())
}

/// As on Linux.
///
/// # Errors
/// What the kernel says.
#[cfg(not(target_os = "linux"))]
pub fn list(folder: &Path, mut each: impl FnMut(&[u8], bool)) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        each(entry.file_name().as_bytes(), entry.file_type().is_ok_and(|t| t.is_file()));
    }
    Ok(())
}

/// Sets the time of the last change of a file's bytes, which Maildir uses as the date of arrival. Made durable by the
/// sync that follows.
///
/// # Errors
/// What the kernel says.
pub fn set_modified(file: &File, time: std::time::SystemTime) -> io::Result<()> {
    file.set_modified(time)
}

/// Makes one folder, private to us, in a folder that is there.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::AlreadyExists`] where the name is taken.
pub fn create_one_dir(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(FOLDER_MODE).create(folder)
}

/// Gives a file a second name, which must not exist.
///
/// # Errors
/// What the kernel says.
pub fn link(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::hard_link(from, to)
}

/// Removes a file.
///
/// # Errors
/// What the kernel says.
pub fn remove(path: &Path) -> io::Result<()> {
    std::fs::remove_file(path)
}

/// Removes a file that may be missing.
///
/// # Errors
/// What the kernel says, a missing file aside.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a folder and its parents, private to us. Durable only after the parents are synced: see
/// [`create_dir_durably`].
///
/// # Errors
/// What the kernel says; a folder that is there is no error.
pub fn create_dir(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)
}

/// Makes a folder and its parents and syncs every folder that got a new name.
///
/// # Errors
/// What the kernel says.
pub fn create_dir_durably(folder: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut at = folder;
    while !at.exists() {
        missing.push(at);
        match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => at = parent,
            _ => break,
        }
    }
    create_dir(folder)?;
    for made in missing.iter().rev() {
        sync_dir(made.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new(".")))?;
    }
    Ok(())
}

/// Removes a folder in which nothing is.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::DirectoryNotEmpty`].
pub fn remove_empty_dir(folder: &Path) -> io::Result<()> {
    std::fs::remove_dir(folder)
}

/// Removes a folder and all in it.
///
/// # Errors
/// What the kernel says.
pub fn remove_dir_all(folder: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(folder)
}

/// Octets free to us on the file system of `path`.
///
/// # Errors
/// What the kernel says.
pub fn free_octets(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A lock that ends with the process: one daemon, one store.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock, which ends when it is closed")] File);

/// Takes the lock file at `path` and writes the process id into it. `Ok(Err(text))` where somebody holds it: the text
/// is what they wrote.
///
/// # Errors
/// What the kernel says.
pub fn lock(path: &Path) -> io::Result<Result<Lock, String>> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            file.set_len(0)?;
            file.write_all(std::process::id().to_string().as_bytes())?;
            Ok(Ok(Lock(file)))
        }
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Err(std::fs::read_to_string(path).unwrap_or_default())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_leaves_one_whole_file() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("f");
        replace(&path, b"one").expect("first");
        replace(&path, b"two").expect("second");
        assert_eq!(std::fs::read(&path).expect("there"), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 1);
    }

    #[test]
    fn write_new_leaves_nothing_when_it_fails() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("f");
        assert!(write_new(&path, |_| Err(io::ErrorKind::StorageFull.into())).is_err());
        assert!(!path.exists());
        write_new(&path, |f| f.write_all(b"x")).expect("written");
        assert_eq!(write_new(&path, |_| Ok(())).map_err(|e| e.kind()), Err(io::ErrorKind::AlreadyExists));
    }

    #[test]
    fn rename_new_does_not_replace() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        write_new(&a, |f| f.write_all(b"a")).expect("written");
        write_new(&b, |f| f.write_all(b"b")).expect("written");
        assert_eq!(rename_new(&a, &b).map_err(|e| e.kind()), Err(io::ErrorKind::AlreadyExists));
        rename_new(&a, &dir.path().join("c")).expect("free");
        assert!(!a.exists());
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let file = dir.path().join("file");
        write_new(&file, |f| f.write_all(b"x")).expect("written");
        let symbolic = dir.path().join("symbolic");
        std::os::unix::fs::symlink(&file, &symbolic).expect("linked");
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .expect("made");
        assert_eq!(read_regular(&file).expect("read"), b"x");
        for odd in [symbolic, fifo, dir.path().to_owned()] {
            assert!(open_regular(&odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn a_lock_is_held_once() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = dir.path().join("lock");
        let held = lock(&path).expect("kernel").expect("free");
        assert_eq!(lock(&path).expect("kernel").err(), Some(std::process::id().to_string()));
        drop(held);
        assert!(lock(&path).expect("kernel").is_ok());
    }
}
