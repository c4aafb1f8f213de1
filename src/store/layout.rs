//! Where the folder of a mailbox lies within the Maildir of its account, and which mailboxes a Maildir has.
//!
//! Two layouts, of which an operator chooses one for all accounts:
//!
//! - **Maildir++**: every mailbox is a folder `.A.B` of the Maildir; see `folder_name.rs`.
//! - **fs**, Dovecot's `LAYOUT=fs`: the mailbox `A/B` is the folder `A/B`, each component in modified UTF-7 and otherwise
//!   as it is. A folder is a mailbox if it has a `cur`; others only have mailboxes in them. What lies in the folder of a
//!   mailbox beside those below it, such as `cur` or `dovecot-uidlist`, cannot be a component.
//!
//! In both the inbox is the Maildir itself, and folders whose names begin with [`OURS`] are our own.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::config::Layout;
use crate::mail::limits::MAILBOX_DEPTH;
use crate::mail::mailbox::MailboxName;
use crate::mail::utf7;

use super::error::Result;
use super::error::StoreError;
use super::folder_name;
use super::keywords;
use super::subscriptions;
use super::uidlist;

/// How the names begin of what is no mailbox but a trace of our work.
pub(super) const OURS: &str = "..facteur-";

/// The parts of a Maildir.
const SUBFOLDERS: [&str; 3] = ["cur", "new", "tmp"];

/// How the names begin of the files that Dovecot or we write beside the messages, locks and temporary ones included. A
/// mailbox of such a name would stand in their way; one named `dovecot-users` does not.
const FILES: [&str; 10] = [
    "facteur-",
    uidlist::FILE,
    keywords::FILE,
    "dovecot-uidvalidity",
    "dovecot-acl",
    "dovecot-shared",
    "dovecot.index",
    "dovecot.list.index",
    "dovecot.mailbox.log",
    ".dovecot-",
];

/// Lies in the folders of Maildir++, by which other programs know them.
pub(super) const FOLDER_MARK: &str = "maildirfolder";

/// The folder of a mailbox. [`StoreError::Cannot`] where the layout has none for this name.
pub(super) fn folder(layout: Layout, root: &Path, name: &MailboxName) -> Result<PathBuf> {
    match layout {
        Layout::MaildirPlusPlus => {
            Ok(folder_name::encode(name).map_or_else(|| root.to_owned(), |folder| root.join(folder)))
        }
        Layout::Fs if name.is_inbox() => Ok(root.to_owned()),
        Layout::Fs => {
            let mut folder = root.to_owned();
            for (depth, component) in name.components().enumerate() {
                // Only the Maildir itself has subscriptions.
                let is_file = FILES.iter().any(|file| component.starts_with(file)) || component == FOLDER_MARK;
                let taken = is_file || (depth == 0 && component == subscriptions::FILE);
                if taken || SUBFOLDERS.contains(&component) || component.starts_with(OURS) {
                    return Err(StoreError::Cannot("a part of this name is that of a file of the Maildir"));
                }
                folder.push(utf7::encode(component));
            }
            Ok(folder)
        }
    }
}

/// Whether the mailbox has a folder.
pub(super) fn exists(layout: Layout, root: &Path, name: &MailboxName) -> bool {
    let Ok(folder) = folder(layout, root, name) else { return false };
    let is_folder = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
    match layout {
        Layout::MaildirPlusPlus => is_folder(&folder),
        // Nor may a link lead out on the way.
        Layout::Fs => {
            let way = folder.ancestors().take_while(|path| *path != root);
            is_folder(&folder.join("cur")) && way.into_iter().all(is_folder)
        }
    }
}

/// Checks the way to a folder that is to be made: what of it is there already must be folders, or a symbolic link would
/// lead out of the Maildir. [`StoreError::Cannot`] where it is not so.
pub(super) fn check_way(root: &Path, folder: &Path) -> Result<()> {
    let way = folder.ancestors().take_while(|path| *path != root).map(Path::to_owned);
    for path in way.chain(SUBFOLDERS.map(|sub| folder.join(sub))) {
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(StoreError::Cannot("something other than a folder is in the way of this name")),
            // Below a file: the next look above finds it.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err(StoreError::io("looking at the folder of a mailbox")(error)),
        }
    }
    Ok(())
}

/// The mailboxes that have a folder, in order; the inbox is not among them. A symbolic link is no folder.
pub(super) fn mailboxes(layout: Layout, root: &Path) -> Result<Vec<MailboxName>> {
    let (names, odd) = mailboxes_and_odd(layout, root)?;
    for folder in odd {
        tracing::warn!(folder = %folder.display(), "not a mailbox: no mailbox can have this name");
    }
    Ok(names)
}

/// As [`mailboxes`], with the folders that seem to be mailboxes and cannot be, for their names.
pub(super) fn mailboxes_and_odd(layout: Layout, root: &Path) -> Result<(Vec<MailboxName>, Vec<PathBuf>)> {
    let (mut names, mut odd) = (Vec::new(), Vec::new());
    match layout {
        Layout::MaildirPlusPlus => {
            for sub in folders_in(root)? {
                let text = sub.to_string_lossy();
                // Names with two dots are not Maildir++, ours among them.
                if !text.starts_with('.') || text.starts_with("..") {
                    continue;
                }
                match sub.to_str().and_then(folder_name::decode) {
                    Some(name) => names.push(name),
                    None => odd.push(root.join(&sub)),
                }
            }
        }
        Layout::Fs => {
            find_nested(root, "", MAILBOX_DEPTH, &mut names, &mut odd)?;
            names.retain(|name| match folder(layout, root, name) {
                Ok(_) => true,
                Err(_) => {
                    odd.push(root.join(utf7::encode(name.as_str())));
                    false
                }
            });
        }
    }
    names.sort();
    odd.sort();
    Ok((names, odd))
}

/// Finds the mailboxes below a folder; `prefix` is the name of what the folder is, with a slash.
fn find_nested(
    folder: &Path,
    prefix: &str,
    depth: usize,
    names: &mut Vec<MailboxName>,
    odd: &mut Vec<PathBuf>,
) -> Result<()> {
    for sub in folders_in(folder)? {
        let path = folder.join(&sub);
        if SUBFOLDERS.iter().any(|part| sub == *part) || sub.as_encoded_bytes().starts_with(OURS.as_bytes()) {
            continue;
        }
        let component = sub.to_str().and_then(utf7::decode).filter(|c| depth > 0 && !c.contains('/'));
        let text = format!("{prefix}{}", component.as_deref().unwrap_or_default());
        // Other spellings of INBOX have no name.
        let name = component.and_then(|_| MailboxName::parse(&text).ok()).filter(|name| name.as_str() == text);
        let is_mailbox = path.join("cur").is_dir();
        match name {
            // The inbox is elsewhere; this is only the parent of those below it.
            Some(name) if name.is_inbox() && is_mailbox => odd.push(path.clone()),
            Some(name) if is_mailbox => names.push(name),
            Some(_) => {}
            None => {
                odd.push(path);
                continue;
            }
        }
        find_nested(&path, &format!("{text}/"), depth.saturating_sub(1), names, odd)?;
    }
    Ok(())
}

/// The names of the folders in a folder.
fn folders_in(folder: &Path) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(StoreError::io("listing mailboxes"))? {
        let entry = entry.map_err(StoreError::io("listing mailboxes"))?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}

/// Whether a Maildir seems to be of the other layout: then no mailboxes shall be made in it.
pub(super) fn seems_other(layout: Layout, root: &Path) -> Result<bool> {
    let is_other = |folder: &OsString| {
        let hidden = folder.as_encoded_bytes().starts_with(b".");
        match layout {
            // Within a Maildir++ nothing else looks like a Maildir.
            Layout::MaildirPlusPlus => !hidden && root.join(folder).join("cur").is_dir(),
            // Dovecot makes this file in Maildir++ alone.
            Layout::Fs => hidden && root.join(folder).join(FOLDER_MARK).exists(),
        }
    };
    Ok(folders_in(root)?.iter().filter(|folder| !SUBFOLDERS.iter().any(|part| *folder == part)).any(is_other))
}

/// Whether folders lie in that of a mailbox beside its own three: other mailboxes, or what nobody can see.
pub(super) fn has_below(folder: &Path) -> Result<bool> {
    Ok(folders_in(folder)?.iter().any(|sub| !SUBFOLDERS.iter().any(|part| sub == part)))
}

/// What lies in the folder of a mailbox and is not of the mailboxes below it: the names, `cur` first, so that the
/// mailbox is none as soon as that is gone.
pub(super) fn contents(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut rest = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_sub = SUBFOLDERS.iter().any(|sub| *sub == name);
        if is_sub || !entry.file_type().is_ok_and(|t| t.is_dir()) {
            rest.push(PathBuf::from(name));
        }
    }
    rest.sort_by_key(|name| (name != Path::new("cur"), name.clone()));
    Ok(rest)
}

/// A mailbox as a line of `subscriptions`, tabs between its components.
pub(super) fn subscription(layout: Layout, name: &MailboxName) -> String {
    match layout {
        Layout::MaildirPlusPlus => match folder_name::encode(name) {
            Some(folder) => folder[1..].replace('.', "\t"),
            None => "INBOX".to_owned(),
        },
        Layout::Fs => utf7::encode(name.as_str()).replace('/', "\t"),
    }
}

/// The mailbox of a line of `subscriptions` whose components have tabs between them.
pub(super) fn subscribed(layout: Layout, line: &str) -> Option<MailboxName> {
    if line.eq_ignore_ascii_case("INBOX") {
        return Some(MailboxName::inbox());
    }
    match layout {
        Layout::MaildirPlusPlus if line.contains('.') => None,
        Layout::MaildirPlusPlus => folder_name::decode(&format!(".{}", line.replace('\t', "."))),
        Layout::Fs if line.contains('/') => None,
        Layout::Fs => {
            let components: Option<Vec<String>> = line.split('\t').map(utf7::decode).collect();
            let components = components.filter(|all| !all.iter().any(|c| c.contains('/')))?;
            let text = components.join("/");
            MailboxName::parse(&text).ok().filter(|name| name.as_str() == text)
        }
    }
}

/// What stands between components in the old format of `subscriptions`.
pub(super) fn old_separator(layout: Layout) -> char {
    match layout {
        Layout::MaildirPlusPlus => '.',
        Layout::Fs => '/',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MailboxName {
        MailboxName::parse(text).expect("valid")
    }

    #[test]
    fn folders_of_both_layouts() {
        let root = Path::new("/m");
        for (text, plus, nested) in [
            ("INBOX", "/m", "/m"),
            ("INBOX/Sub", "/m/.INBOX.Sub", "/m/INBOX/Sub"),
            ("a.b/ü", "/m/.a\\2eb.&APw-", "/m/a.b/&APw-"),
        ] {
            assert_eq!(folder(Layout::MaildirPlusPlus, root, &name(text)).expect("has one"), Path::new(plus));
            assert_eq!(folder(Layout::Fs, root, &name(text)).expect("has one"), Path::new(nested));
        }
        for text in ["a/subscriptions", "dovecot", "lists/dovecot-users", "..x"] {
            assert!(folder(Layout::Fs, root, &name(text)).is_ok(), "{text}");
        }
        for text in [
            "cur",
            "a/new",
            "tmp/x",
            "..facteur-x",
            "subscriptions/x",
            "a/dovecot-uidlist",
            "dovecot-keywords",
            "dovecot-uidvalidity",
            "a/dovecot-uidlist.lock/b",
            "dovecot.index.log",
            "a/maildirfolder",
            ".dovecot-uidlist.7.tmp",
        ] {
            assert!(folder(Layout::MaildirPlusPlus, root, &name(text)).is_ok());
            assert!(folder(Layout::Fs, root, &name(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn nested_mailboxes_are_found() {
        let root = tempfile::tempdir().expect("temporary folder");
        let make = |path: &str| std::fs::create_dir_all(root.path().join(path)).expect("made");
        for path in [
            "cur",
            "new",
            "tmp",
            "a/cur",
            "a/b/c/cur",
            "a.b/cur",
            ".x/cur",
            "INBOX/cur",
            "INBOX/Sub/cur",
            "inbox/y/cur",
            "&bad/cur",
            "empty",
            "subscriptions/cur",
            "..facteur-removed-1/cur",
            "R&-D/cur",
            "cur/x/cur",
        ] {
            make(path);
        }
        std::os::unix::fs::symlink("a", root.path().join("link")).expect("made");
        let (found, odd) = mailboxes_and_odd(Layout::Fs, root.path()).expect("read");
        let hidden = ["&bad", "INBOX", "inbox", "subscriptions"].map(|path| root.path().join(path));
        assert_eq!(odd, hidden);
        let texts: Vec<&str> = found.iter().map(MailboxName::as_str).collect();
        assert_eq!(texts, [".x", "INBOX/Sub", "R&D", "a", "a.b", "a/b/c"]);
        for (text, there) in [("a", true), ("a/b", false), ("a/b/c", true), ("link", false), ("link/b/c", false)] {
            assert_eq!(exists(Layout::Fs, root.path(), &name(text)), there, "{text}");
        }
        assert_eq!(contents(&root.path().join("a")).expect("read"), [Path::new("cur")]);
    }

    #[test]
    fn the_other_layout_is_noticed() {
        for (path, other) in [
            ("a/cur", Some(Layout::MaildirPlusPlus)),
            (".a/maildirfolder", Some(Layout::Fs)),
            (".a/cur", None),
            ("cur/cur", None),
            ("a/b", None),
        ] {
            let root = tempfile::tempdir().expect("temporary folder");
            std::fs::create_dir_all(root.path().join(path)).expect("made");
            for layout in [Layout::MaildirPlusPlus, Layout::Fs] {
                assert_eq!(seems_other(layout, root.path()).expect("read"), other == Some(layout), "{path}");
            }
        }
    }

    #[test]
    fn lines_of_subscriptions() {
        for (text, plus, nested) in
            [("INBOX", "INBOX", "INBOX"), ("a.b/ü", "a\\2eb\t&APw-", "a.b\t&APw-"), ("INBOX/x", "INBOX\tx", "INBOX\tx")]
        {
            for (layout, line) in [(Layout::MaildirPlusPlus, plus), (Layout::Fs, nested)] {
                assert_eq!(subscription(layout, &name(text)), line);
                assert_eq!(subscribed(layout, line), Some(name(text)));
            }
        }
        assert_eq!(subscribed(Layout::MaildirPlusPlus, "a.b"), None);
        assert_eq!(subscribed(Layout::Fs, "a/b"), None);
        assert_eq!(subscribed(Layout::Fs, "..\tb"), None);
    }
}
