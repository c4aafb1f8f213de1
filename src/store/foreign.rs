//! Reading a tree of Maildirs that is not ours, to import from it: which mailboxes, which messages, in which order.
//!
//! Folders that begin with a dot are taken as Maildir++, all others as Dovecot's `LAYOUT=fs`: whoever made the tree,
//! nothing in it is left out for lying otherwise than the rest.
//! Changes nothing there, takes no lock, and needs no UID list.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use crate::config::Layout;
use crate::fsio;
use crate::mail::flags::Flags;
use crate::mail::ids::Uid;
use crate::mail::mailbox::MailboxName;

use super::compressed::MessageFile;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::folder;
use super::folder::Found;
use super::folder_name;
use super::keywords;
use super::keywords::Keywords;
use super::layout;
use super::load::read_small;
use super::uidlist;
use super::watch::Sub;

/// A mailbox of such a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignMailbox {
    /// Its name.
    pub name: MailboxName,
    /// Its folder.
    pub folder: PathBuf,
}

/// A message of such a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignMessage {
    /// Its file, which may be compressed.
    pub path: PathBuf,
    /// System flags.
    pub flags: Flags,
    /// Keywords by name; a letter without a name is left out.
    pub keywords: Vec<String>,
}

impl ForeignMessage {
    /// Its octets, decompressed where it must be.
    ///
    /// # Errors
    /// What the kernel says; that it is compressed in a way that we cannot undo, also while it is read.
    pub fn open(&self) -> io::Result<MessageFile> {
        let name = self.path.file_name().unwrap_or_default().as_bytes();
        fsio::open_regular_sized(&self.path).and_then(|file| MessageFile::new(file, name))
    }
}

/// The mailboxes of the Maildir `root`, INBOX first, and the folders whose names are no names of mailboxes.
///
/// # Errors
/// What the kernel says; [`io::ErrorKind::InvalidData`] where `root` is no Maildir.
pub fn foreign_mailboxes(root: &Path) -> io::Result<(Vec<ForeignMailbox>, Vec<PathBuf>)> {
    let is_maildir = |folder: &Path| folder.join("cur").is_dir() || folder.join("new").is_dir();
    let (mut found, mut odd) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let hidden = name.to_string_lossy().starts_with('.') && !name.to_string_lossy().starts_with("..");
        if !hidden || !entry.file_type()?.is_dir() || !is_maildir(&path) {
            continue;
        }
        match name.to_str().and_then(folder_name::decode) {
            Some(name) => found.push(ForeignMailbox { name, folder: path }),
            None => odd.push(path),
        }
    }
    let (nested, nested_odd) = nested(root)?;
    found.extend(nested);
    odd.extend(nested_odd.into_iter().filter(|folder| is_maildir(folder)));
    // By name, since some may be there in both layouts: they become one mailbox.
    found.sort_by(|a, b| a.name.cmp(&b.name));
    // Where the inbox is no folder of its own, it is the tree itself.
    let inbox = root.join("INBOX");
    if is_maildir(&inbox) && std::fs::symlink_metadata(&inbox)?.is_dir() {
        odd.retain(|folder| *folder != inbox);
        found.insert(0, ForeignMailbox { name: MailboxName::inbox(), folder: inbox });
    }
    if is_maildir(root) {
        found.insert(0, ForeignMailbox { name: MailboxName::inbox(), folder: root.to_owned() });
    } else if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a Maildir: it has no folders cur and new"));
    }
    Ok((found, odd))
}

/// The mailboxes of `LAYOUT=fs`, and folders that cannot be any.
fn nested(root: &Path) -> io::Result<(Vec<ForeignMailbox>, Vec<PathBuf>)> {
    let error = |error| match error {
        StoreError::Io { source, .. } | StoreError::Full(source) => source,
        other => io::Error::other(other.to_string()),
    };
    let (names, mut odd) = layout::mailboxes_and_odd(Layout::Fs, root).map_err(error)?;
    let mut found = Vec::new();
    // A folder with a dot is Maildir++; below one there is nothing but in the other layout.
    for name in names.into_iter().filter(|name| !name.as_str().starts_with('.') || name.as_str().contains('/')) {
        let folder = layout::folder(Layout::Fs, root, &name).map_err(error)?;
        found.push(ForeignMailbox { name, folder });
    }
    let hidden = |folder: &PathBuf| folder.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
    odd.retain(|folder| !(hidden(folder) && folder.parent() == Some(root)));
    Ok((found, odd))
}

/// The messages in a folder with `cur/` and `new/`: those that have a UID by it, then the others by their time.
///
/// # Errors
/// What the file system says.
pub fn foreign_messages(folder: &Path) -> Result<Vec<ForeignMessage>> {
    let list = read_small(&folder.join(uidlist::FILE))?;
    let list = list.as_deref().and_then(uidlist::parse);
    let lines = list.map(|list| list.lines).unwrap_or_default();
    let uids: HashMap<&[u8], Uid> = lines.iter().map(|line| (line.base, line.uid)).collect();
    let names = Keywords::parse(&read_small(&folder.join(keywords::FILE))?.unwrap_or_default()).names();
    let found = match folder::scan(folder) {
        // One of the two may be missing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::default(),
        other => other.map_err(StoreError::io("reading the folders of a mailbox"))?,
    };
    let mut files: Vec<(&[u8], bool)> = (0..found.len()).map(|at| found.get(at)).collect();
    files.sort_by_cached_key(|(name, _)| {
        let uid = uids.get(file_name::base(name)).copied();
        (uid.is_none(), uid, file_name::order(name), *name)
    });
    let messages = files.into_iter().map(|(name, recent)| {
        let flags = file_name::flags(name);
        let keywords = flags.keywords().filter_map(|slot| names.get(slot.index()));
        ForeignMessage {
            path: Sub::of(recent).file(folder, name),
            flags: flags.system().fold(Flags::NONE, Flags::with),
            keywords: keywords.filter(|name| !name.is_empty()).cloned().collect(),
        }
    });
    Ok(messages.collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_tree_is_read_in_order_and_with_its_keywords() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let root = dir.path();
        assert_eq!(foreign_mailboxes(root).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidData));
        for folder in ["cur", "new", ".Entw&APw-rfe/cur", ".Entw&APw-rfe/new", ".&bad/cur", "..x/cur", ".only"] {
            std::fs::create_dir_all(root.join(folder)).expect("made");
        }
        for file in ["cur/3.c:2,Sab", "cur/1.a:2,F", "new/2.b"] {
            std::fs::write(root.join(file), b"x").expect("written");
        }
        std::fs::write(root.join("dovecot-uidlist"), b"3 V1 N9\n1 :3.c\n").expect("written");
        std::fs::write(root.join("dovecot-keywords"), b"1 work\n").expect("written");
        let (mailboxes, odd) = foreign_mailboxes(root).expect("read");
        let names: Vec<&str> = mailboxes.iter().map(|mailbox| mailbox.name.as_str()).collect();
        assert_eq!(names, ["INBOX", "Entwürfe"]);
        assert_eq!(odd, [root.join(".&bad")]);
        let messages = foreign_messages(root).expect("read");
        let files: Vec<_> = messages.iter().map(|message| message.path.strip_prefix(root).expect("below")).collect();
        assert_eq!(files, [Path::new("cur/3.c:2,Sab"), Path::new("cur/1.a:2,F"), Path::new("new/2.b")]);
        assert_eq!((messages[0].flags.letters(""), &*messages[0].keywords), ("S".to_owned(), &["work".to_owned()][..]));
        assert_eq!(messages[2].flags, Flags::NONE);
    }

    #[test]
    fn a_tree_of_the_nested_layout_is_read_whole() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let root = dir.path();
        for folder in ["cur", "new", "Sent/cur", "a/b.c/cur", "INBOX/cur", "INBOX/x/cur", ".Old/cur", "R&D/cur", "etc"]
        {
            std::fs::create_dir_all(root.join(folder)).expect("made");
        }
        let (mailboxes, odd) = foreign_mailboxes(root).expect("read");
        let found: Vec<_> = mailboxes
            .iter()
            .map(|mailbox| (mailbox.name.as_str(), mailbox.folder.strip_prefix(root).expect("below")))
            .collect();
        let wanted = [
            ("INBOX", ""),
            ("INBOX", "INBOX"),
            ("INBOX/x", "INBOX/x"),
            ("Old", ".Old"),
            ("Sent", "Sent"),
            ("a/b.c", "a/b.c"),
        ];
        assert_eq!(found, wanted.map(|(name, folder)| (name, Path::new(folder))));
        assert_eq!(odd, [root.join("R&D")]);
    }

    #[test]
    fn compressed_messages_come_decompressed() {
        let dir = tempfile::tempdir().expect("temporary folder");
        for sub in ["cur", "new"] {
            std::fs::create_dir(dir.path().join(sub)).expect("made");
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"Subject: x\n\n").expect("compressed");
        std::fs::write(dir.path().join("new/1.a"), gzip.finish().expect("compressed")).expect("written");
        std::fs::write(dir.path().join("new/2.b"), b"\x1f\x8b broken").expect("written");
        let messages = foreign_messages(dir.path()).expect("read");
        let read = |message: &ForeignMessage| message.open().and_then(io::read_to_string);
        assert_eq!(read(&messages[0]).expect("read"), "Subject: x\n\n");
        assert_eq!(read(&messages[1]).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidData));
    }
}
