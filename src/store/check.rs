//! Finding what is wrong with mailboxes on disk, and repairing what can be repaired without losing anything.
//!
//! Looking changes nothing and loads no mailbox; where one is live, its lock is held for the moment in which the list
//! and the names are read, so that a change under way is no finding. Repairing never removes a message and never
//! changes a UID that the list gives: lists are mended by loading them as every opening does, and a file whose name
//! tells a wrong size gets its new name before the list does, and loses the old one after it.

use std::collections::HashMap;
use std::collections::HashSet;
use std::io;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Layout;
use crate::fsio;
use crate::mail::flags::KeywordSlot;
use crate::mail::limits::CHECK_FINDINGS;
use crate::mail::limits::DEAD_UID_LINES;
use crate::mail::limits::TMP_LEFTOVER;
use crate::mail::line_feeds;
use crate::mail::mailbox::MailboxName;

use super::Store;
use super::compressed::MessageFile;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::folder_name;
use super::keywords;
use super::keywords::Keywords;
use super::layout;
use super::load::read_small;
use super::mailbox::Mailbox;
use super::subscriptions;
use super::subscriptions::Subscriptions;
use super::uidlist;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Normal, and good to know.
    Note,
    /// Nothing is lost by it, but somebody should look.
    Warning,
    /// Clients see something wrong, or do not see something.
    Error,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A word for the kind, for programs.
    pub kind: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// In words.
    pub text: String,
}

/// What was found in a mailbox or beside them.
#[derive(Debug, Default)]
pub struct Findings {
    /// In the order in which they were found, [`CHECK_FINDINGS`] at most.
    pub all: Vec<Finding>,
    /// Messages of which the name or the list tells wrong sizes, by the base of the name, with the right base.
    resized: Vec<(Vec<u8>, Vec<u8>)>,
    /// Files that their owner may not read.
    unreadable: Vec<PathBuf>,
    more: usize,
}

impl Findings {
    fn add(&mut self, severity: Severity, kind: &'static str, path: &Path, text: impl Into<String>) {
        if self.all.len() < CHECK_FINDINGS {
            self.all.push(Finding { severity, kind, path: path.to_owned(), text: text.into() });
        } else {
            self.more += 1;
        }
    }

    fn error(&mut self, kind: &'static str, path: &Path, text: impl Into<String>) {
        self.add(Severity::Error, kind, path, text);
    }

    fn warning(&mut self, kind: &'static str, path: &Path, text: impl Into<String>) {
        self.add(Severity::Warning, kind, path, text);
    }

    fn note(&mut self, kind: &'static str, path: &Path, text: impl Into<String>) {
        self.add(Severity::Note, kind, path, text);
    }

    fn close(mut self, path: &Path) -> Self {
        if self.more > 0 {
            let text = format!("{} more findings", self.more);
            self.all.push(Finding { severity: Severity::Error, kind: "more", path: path.to_owned(), text });
        }
        self
    }
}

/// A file of a mailbox.
struct Entry {
    sub: &'static str,
    name: Vec<u8>,
    /// Octets on the wire by the UID list, where the name does not tell.
    listed: Option<u64>,
}

/// A file in `new/` or `cur/`.
fn file_in(folder: &Path, sub: &str, name: &[u8]) -> PathBuf {
    folder.join(sub).join(std::ffi::OsStr::from_bytes(name))
}

/// The list and the names, as they were at one moment.
struct Still {
    list: Option<Vec<u8>>,
    entries: Vec<Entry>,
}

impl Store {
    /// Looks at what lies beside the messages of a Maildir: folders, links, subscriptions. Returns the mailboxes that
    /// have a folder, INBOX first. Reads only.
    ///
    /// # Errors
    /// What the file system says.
    pub fn check_tree_blocking(&self, maildir: &Path) -> Result<(Vec<MailboxName>, Findings)> {
        let mut findings = Findings::default();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(maildir).map_err(StoreError::io("listing mailboxes"))? {
            let entry = entry.map_err(StoreError::io("listing mailboxes"))?;
            let (name, path) = (entry.file_name(), entry.path());
            let kind = entry.file_type().map_err(StoreError::io("listing mailboxes"))?;
            if name.as_bytes().starts_with(b"..facteur-") {
                findings.note("unfinished", &path, "left by a crash; goes when the account is opened");
            } else if kind.is_symlink() {
                findings.warning("symlink", &path, "a symbolic link, which is not followed");
            } else if kind.is_dir() && is_maildir_plus_plus(&name) && self.layout == Layout::MaildirPlusPlus {
                match name.to_str().and_then(folder_name::decode) {
                    Some(name) => names.push(name),
                    None => findings.warning("folder-name", &path, "no mailbox can have this name: it is not shown"),
                }
            }
        }
        if self.layout == Layout::Fs {
            let odd;
            (names, odd) = layout::mailboxes_and_odd(self.layout, maildir)?;
            for path in odd {
                findings.warning("folder-name", &path, "no mailbox can have this name: it is not shown");
            }
        }
        names.sort();
        names.insert(0, MailboxName::inbox());
        let path = maildir.join(subscriptions::FILE);
        match read_small(&path) {
            Err(error) => findings.error("unreadable", &path, words(&error)),
            Ok(bytes) => {
                for name in Subscriptions::parse(self.layout, &bytes.unwrap_or_default()).names() {
                    if !names.contains(name) {
                        findings.note("subscription", &path, format!("{name} is subscribed and not there"));
                    }
                }
            }
        }
        Ok((names, findings.close(maildir)))
    }

    /// Looks at one mailbox, every message included; `step` is told how many of how many are done, and ends it by an
    /// error. Reads only.
    ///
    /// # Errors
    /// What the file system says of the folder as a whole; what `step` says.
    pub fn check_mailbox_blocking<E: From<StoreError>>(
        &self,
        maildir: &Path,
        name: &MailboxName,
        mut step: impl FnMut(u64, u64) -> std::result::Result<(), E>,
    ) -> std::result::Result<Findings, E> {
        let folder = layout::folder(self.layout, maildir, name)?;
        if !folder.is_dir() {
            return Err(StoreError::NoSuchMailbox.into());
        }
        let mut findings = Findings::default();
        for sub in ["cur", "new", "tmp"] {
            match std::fs::symlink_metadata(folder.join(sub)) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => findings.error("not-a-folder", &folder.join(sub), "not a folder"),
                Err(_) => findings.error("missing-folder", &folder.join(sub), "missing"),
            }
        }
        let mut still = self.look_at_names(&folder, &mut findings)?;
        check_list(&folder, &still, &mut findings);
        still.add_listed_sizes();
        check_keywords(&folder, &still.entries, &mut findings);
        self.check_leftovers(&folder, &mut findings);
        let owner = std::fs::metadata(&folder).map(|found| found.uid()).ok();
        let of = still.entries.len() as u64;
        for (done, entry) in (0..).zip(&still.entries) {
            step(done, of)?;
            check_file(&folder, entry, owner, &mut findings);
        }
        Ok(findings.close(&folder))
    }

    /// The list and the names, at a moment in which nobody changes them.
    fn look_at_names(&self, folder: &Path, findings: &mut Findings) -> Result<Still> {
        let mailbox = self.context.live(folder);
        let _quiet = mailbox.as_ref().map(|mailbox| mailbox.work());
        let path = folder.join(uidlist::FILE);
        let list = match read_small(&path) {
            Ok(list) => list,
            Err(error) => {
                findings.error("unreadable", &path, words(&error));
                None
            }
        };
        let mut entries = Vec::new();
        for sub in ["new", "cur"] {
            let listed = match std::fs::read_dir(folder.join(sub)) {
                Ok(listed) => listed,
                // Said already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    findings.error("unreadable", &folder.join(sub), error.to_string());
                    continue;
                }
            };
            for entry in listed {
                let entry = entry.map_err(StoreError::io("reading the folders of a mailbox"))?;
                let (name, path) = (entry.file_name().as_bytes().to_vec(), entry.path());
                let kind = entry.file_type().map_err(StoreError::io("reading the folders of a mailbox"))?;
                if name.first() == Some(&b'.') {
                    continue;
                } else if kind.is_symlink() {
                    findings.warning("symlink", &path, "a symbolic link is no message");
                } else if !kind.is_file() {
                    findings.warning("not-a-file", &path, "no regular file, so no message");
                } else if file_name::is_message(&name) {
                    entries.push(Entry { sub, name, listed: None });
                } else {
                    findings.error("name", &path, "a message cannot have this name: it is not shown");
                }
            }
        }
        Ok(Still { list, entries })
    }

    fn check_leftovers(&self, folder: &Path, findings: &mut Findings) {
        let now = self.context.clock.since_epoch();
        let Ok(entries) = std::fs::read_dir(folder.join("tmp")) else { return };
        for entry in entries.flatten() {
            let Ok(found) = entry.metadata() else { continue };
            let changed = Duration::from_secs(u64::try_from(found.ctime().max(found.mtime())).unwrap_or(0));
            if changed + TMP_LEFTOVER < now {
                findings.warning("leftover", &entry.path(), "left by a delivery that never ended");
            }
        }
    }
}

impl Still {
    /// Finds the sizes that only the list tells.
    fn add_listed_sizes(&mut self) {
        let list = self.list.take();
        let Some(parsed) = list.as_deref().and_then(uidlist::parse) else { return };
        let tells = |line: &uidlist::Line<'_>| Some((line.base.into(), uidlist::field(line.fields, b'W')?));
        let sizes: HashMap<Box<[u8]>, u64> = parsed.lines.iter().filter_map(tells).collect();
        for entry in self.entries.iter_mut().filter(|entry| size_field(&entry.name, b'W').is_none()) {
            entry.listed = sizes.get(file_name::base(&entry.name)).copied();
        }
    }
}

/// Whether the folder of a mailbox can have this name.
fn is_maildir_plus_plus(name: &std::ffi::OsStr) -> bool {
    name.as_bytes().starts_with(b".") && !name.as_bytes().starts_with(b"..")
}

/// An error with its cause.
fn words(error: &StoreError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// The UID list against its own rules, and against the files.
fn check_list(folder: &Path, still: &Still, findings: &mut Findings) {
    let path = folder.join(uidlist::FILE);
    let mut bases: HashMap<&[u8], &Entry> = HashMap::with_capacity(still.entries.len());
    for entry in &still.entries {
        if let Some(other) = bases.insert(file_name::base(&entry.name), entry) {
            let second = file_in(folder, other.sub, &other.name);
            findings.error(
                "two-files",
                &file_in(folder, entry.sub, &entry.name),
                second.display().to_string() + " too",
            );
        }
    }
    let Some(bytes) = &still.list else {
        if !bases.is_empty() && !findings.all.iter().any(|finding| finding.path == path) {
            findings.warning("no-list", &path, "missing: the messages get new UIDs when it is opened");
        }
        return;
    };
    let Some(parsed) = uidlist::parse(bytes) else {
        findings.error("list-header", &path, "no valid first line: the messages get new UIDs when it is opened");
        return;
    };
    let before = findings.all.len();
    check_lines(&path, bytes, findings);
    if parsed.mended && findings.all.len() == before && bytes.starts_with(b"3 ") {
        findings.error("list-line", &path, "something in it is not as it should be");
    }
    let mut dead = 0;
    for line in &parsed.lines {
        if bases.remove(line.base).is_none() {
            dead += 1;
        }
    }
    if dead > 0 {
        let text = format!("{dead} lines of messages that are gone, of {}; normal up to a quarter", parsed.lines.len());
        let few = dead <= DEAD_UID_LINES.max(parsed.lines.len() / 4);
        findings.add(if few { Severity::Note } else { Severity::Warning }, "dead-lines", &path, text);
    }
    if !bases.is_empty() {
        findings.note("no-uid", &path, format!("{} messages have no UID yet; normal after a delivery", bases.len()));
    }
}

/// What [`uidlist::parse`] mends without a word.
fn check_lines(path: &Path, bytes: &[u8], findings: &mut Findings) {
    let (mut last, mut names, mut uids) = (0, HashSet::new(), HashSet::new());
    let (mut unordered, mut bad) = (0, 0);
    for (n, line) in bytes.split_inclusive(|octet| *octet == b'\n').enumerate().skip(1) {
        let Some(line) = line.strip_suffix(b"\n") else {
            findings.error("list-torn", path, format!("line {} is cut in the middle", n + 1));
            continue;
        };
        let uid = line.split(|octet| *octet == b' ').next().and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(uid) = uid.and_then(|digits| digits.parse::<u32>().ok()).filter(|uid| *uid > 0) else {
            bad += 1;
            continue;
        };
        let name = memchr::memmem::find(line, b" :").map(|at| file_name::base(&line[at + 2..])).unwrap_or_default();
        if !uids.insert(uid) {
            findings.error("uid-twice", path, format!("line {}: UID {uid} comes twice", n + 1));
        } else if uid <= last {
            unordered += 1;
        }
        if !name.is_empty() && !names.insert(name) {
            let name = name.escape_ascii();
            findings.error("name-twice", path, format!("line {}: {name} comes twice; its last UID counts", n + 1));
        }
        last = last.max(uid);
    }
    if unordered > 0 {
        findings.error("list-order", path, format!("{unordered} lines are not in the order of their UIDs"));
    }
    if bad > 0 {
        findings.error("list-line", path, format!("{bad} lines are none"));
    }
}

/// Letters of keywords without a name.
fn check_keywords(folder: &Path, entries: &[Entry], findings: &mut Findings) {
    let path = folder.join(keywords::FILE);
    let names = match read_small(&path) {
        Ok(bytes) => Keywords::parse(&bytes.unwrap_or_default()).names(),
        Err(error) => return findings.error("unreadable", &path, words(&error)),
    };
    let mut nameless: HashMap<KeywordSlot, usize> = HashMap::new();
    for entry in entries {
        for slot in file_name::flags(&entry.name).keywords() {
            if names.get(slot.index()).is_none_or(String::is_empty) {
                *nameless.entry(slot).or_default() += 1;
            }
        }
    }
    let mut nameless: Vec<(KeywordSlot, usize)> = nameless.into_iter().collect();
    nameless.sort();
    for (slot, messages) in nameless {
        let text = format!("{messages} messages have the keyword {}, whose name is lost", slot.letter());
        findings.warning("keyword", &path, text);
    }
}

/// The file of a message: can it be read, and is it as large as its name says.
fn check_file(folder: &Path, entry: &Entry, owner: Option<u32>, findings: &mut Findings) {
    let path = file_in(folder, entry.sub, &entry.name);
    let file = match fsio::open_regular(&path) {
        Ok(file) => file,
        // Renamed or removed since.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            findings.error("unreadable", &path, error.to_string());
            findings.unreadable.push(path);
            return;
        }
    };
    let Ok(found) = file.metadata() else { return };
    if found.mode() & 0o400 == 0 {
        findings.error("unreadable", &path, "its owner may not read it");
        findings.unreadable.push(path.clone());
    } else if owner.is_some_and(|owner| owner != found.uid()) {
        findings.warning("owner", &path, format!("belongs to user {}, unlike its mailbox", found.uid()));
    }
    let (disk, wire) = (size_field(&entry.name, b'S'), size_field(&entry.name, b'W'));
    let mut file = match MessageFile::new((file, found.len()), &entry.name) {
        Ok(file) => file,
        Err(error) => return findings.error("unreadable", &path, error.to_string()),
    };
    if !file.is_compressed() && disk.is_none() && wire.is_none() && entry.listed.is_none() {
        return;
    }
    let measured = match measure(&mut file) {
        Ok(_) if file.is_compressed() => {
            return findings.note("compressed", &path, "compressed, and can be read: its sizes are not looked at");
        }
        Ok(measured) => measured,
        Err(error) => return findings.error("unreadable", &path, error.to_string()),
    };
    let wrong = |told: Option<u64>, is: u64| told.filter(|told| *told != is);
    if let Some(told) = wrong(disk, measured.0) {
        findings.error("size", &path, format!("S={told} in its name, and it has {} octets", measured.0));
    }
    if let Some(told) = wrong(wire, measured.1) {
        findings.error("wire-size", &path, format!("W={told} in its name, and it is {} on the wire", measured.1));
    }
    if let Some(told) = wrong(entry.listed, measured.1) {
        findings.error("wire-size", &path, format!("W{told} in the UID list, and it is {} on the wire", measured.1));
    }
    if wrong(disk, measured.0).or(wrong(wire, measured.1)).or(wrong(entry.listed, measured.1)).is_some() {
        let base = file_name::base(&entry.name);
        findings.resized.push((base.to_vec(), with_sizes(base, measured)));
    }
}

/// `S=` or `W=` among the fields of a name.
fn size_field(name: &[u8], key: u8) -> Option<u64> {
    let mut fields = file_name::fields(name).split(|octet| *octet == b',');
    fields.find_map(|field| std::str::from_utf8(field.strip_prefix(&[key, b'='])?).ok()?.parse().ok())
}

/// The base of a name with other sizes in their places.
fn with_sizes(base: &[u8], (disk, wire): (u64, u64)) -> Vec<u8> {
    let fields = file_name::fields(base);
    let mut out = base[..base.len() - fields.len()].to_vec();
    for field in fields.split(|octet| *octet == b',').skip(1) {
        out.push(b',');
        match field {
            [b'S', b'=', ..] => out.extend_from_slice(format!("S={disk}").as_bytes()),
            [b'W', b'=', ..] => out.extend_from_slice(format!("W={wire}").as_bytes()),
            other => out.extend_from_slice(other),
        }
    }
    out
}

/// Octets of the message as it is, and on the wire.
fn measure(file: &mut MessageFile) -> io::Result<(u64, u64)> {
    let mut buffer = vec![0; 65_536];
    let (mut disk, mut wire, mut previous) = (0, 0, 0);
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok((disk, wire)),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        disk += n as u64;
        wire += n as u64 + line_feeds::alone(&buffer[..n], &mut previous);
    }
}

impl Findings {
    /// Makes files readable that are ours and that we may not read, before the mailbox is opened. Another owner's stay.
    pub fn make_readable(&self) {
        for path in &self.unreadable {
            let Ok(found) = std::fs::symlink_metadata(path) else { continue };
            let ours = found.uid() == rustix::process::geteuid().as_raw();
            if ours && found.is_file() {
                let mode = found.mode() & 0o777 | 0o600;
                if let Err(error) = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)) {
                    tracing::warn!(path = %path.display(), %error, "the file stays unreadable");
                }
            }
        }
    }
}

impl Mailbox {
    /// Where it lies.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMailbox`] where it was deleted.
    pub fn folder_on_disk(&self) -> Result<PathBuf> {
        self.folder()
    }

    /// Repairs what was found in this mailbox and can be repaired: names with wrong sizes, the UID list, leftovers.
    /// Sessions that have it open keep what they were shown. Durable.
    ///
    /// # Errors
    /// What the file system says. What was repaired until then stays repaired.
    pub fn repair_blocking(&self, findings: &Findings) -> Result<()> {
        let mut work = self.work();
        let folder = self.folder()?;
        // First as every opening does: the list is valid after it, and leftovers are gone.
        self.load(&mut work)?;
        if !findings.resized.is_empty() {
            let changing = self.quota.changing();
            // Not before: a count in between would settle it.
            self.quota.doubt();
            let renamed = rename_resized(&folder, &findings.resized);
            drop(changing);
            // What was remembered of sizes is what was wrong.
            self.forget_derived(&mut work);
            self.load(&mut work)?;
            renamed?;
        }
        if let Some(list) = &mut work.list {
            // Loading mends what it stumbles over; written anew, the list has nothing but what is there.
            list.rewrite = true;
        }
        self.publish(&mut work)
    }
}

/// Gives files names with the right sizes. Each has both names while the list is written, so that a crash leaves the
/// message under its UID at any moment; at worst it is there a second time.
fn rename_resized(folder: &Path, resized: &[(Vec<u8>, Vec<u8>)]) -> Result<()> {
    let io = || StoreError::io("renaming a message");
    let new_bases: HashMap<&[u8], &[u8]> = resized.iter().map(|(old, new)| (&**old, &**new)).collect();
    let mut olds = Vec::new();
    let mut linked: HashSet<&[u8]> = HashSet::new();
    for sub in ["cur", "new"] {
        for entry in std::fs::read_dir(folder.join(sub)).map_err(io())? {
            let path = entry.map_err(io())?.path();
            let name = path.file_name().unwrap_or_default().as_bytes();
            let base = file_name::base(name);
            let Some((old, new)) = new_bases.get_key_value(base).filter(|(old, new)| old != new) else { continue };
            let to = file_in(folder, sub, &[new, &name[base.len()..]].concat());
            match fsio::link(&path, &to) {
                Ok(()) => {}
                // Of an earlier try, or another message: only in the first case are both the same file.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && same_file(&path, &to) => {}
                Err(error) => return Err(io()(error)),
            }
            linked.insert(old);
            olds.push(path);
        }
        fsio::sync_dir(&folder.join(sub)).map_err(io())?;
    }
    let path = folder.join(uidlist::FILE);
    let list = read_small(&path)?;
    let Some(parsed) = list.as_deref().and_then(uidlist::parse) else {
        return Err(StoreError::Cannot("the UID list is not valid"));
    };
    let mut bytes = Vec::new();
    uidlist::write_header(&mut bytes, &parsed.header);
    for line in &parsed.lines {
        match new_bases.get(line.base).filter(|new| linked.contains(line.base) || **new == line.base) {
            Some(new) => uidlist::write_line(&mut bytes, line.uid, &without_sizes(line.fields), new),
            None => uidlist::write_line(&mut bytes, line.uid, line.fields, line.base),
        }
    }
    fsio::replace(&path, &bytes).map_err(StoreError::io("writing the UID list"))?;
    for old in olds {
        fsio::remove_if_there(&old).map_err(io())?;
    }
    ["cur", "new"].into_iter().try_for_each(|sub| fsio::sync_dir(&folder.join(sub)).map_err(io()))
}

/// The fields of a line without the sizes that Dovecot keeps there, which are then found anew.
fn without_sizes(fields: &[u8]) -> Vec<u8> {
    let kept = fields.split(|octet| *octet == b' ').filter(|field| !matches!(field.first(), Some(b'S' | b'W') | None));
    kept.collect::<Vec<_>>().join(&b' ')
}

fn same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino())).ok();
    id(one).is_some() && id(one) == id(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use proptest::prelude::*;
    use std::io::Write;
    use std::time::SystemTime;

    fn kinds(findings: &Findings) -> Vec<&'static str> {
        let mut kinds: Vec<_> = findings.all.iter().map(|finding| finding.kind).collect();
        kinds.sort_unstable();
        kinds
    }

    #[tokio::test]
    async fn leftovers_are_found_when_they_are_old_and_go_with_a_repair() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (maildir, clock) = (dir.path().join("alice"), Clock::by_hand(SystemTime::now()));
        let store = Store::open(clock.clone());
        let mailbox = store.account(&maildir).await.expect("made").mailbox(&MailboxName::inbox()).await.expect("there");
        std::fs::write(maildir.join("tmp/1.left"), b"half").expect("written");
        let look = || {
            let step = |_, _| Ok::<(), StoreError>(());
            store.check_mailbox_blocking(&maildir, &MailboxName::inbox(), step).expect("looked")
        };
        assert_eq!(kinds(&look()), [""; 0]);
        clock.advance(TMP_LEFTOVER + Duration::from_secs(60));
        let found = look();
        assert_eq!(kinds(&found), ["leftover"]);
        mailbox.repair_blocking(&found).expect("repaired");
        assert_eq!(kinds(&look()), [""; 0]);
        assert!(!maildir.join("tmp/1.left").exists());
    }

    #[tokio::test]
    async fn compressed_messages_that_cannot_be_read_are_errors() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(Clock::system());
        store.account(dir.path()).await.expect("made");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"Subject: x\n\nx\n").expect("compressed");
        let whole = gzip.finish().expect("compressed");
        for (name, bytes) in [("1.a,S=15", &whole[..]), ("2.b", &whole[..whole.len() - 9]), ("3.c", b"BZh91AY&SY..")] {
            std::fs::write(dir.path().join("new").join(name), bytes).expect("written");
        }
        let step = |_, _| Ok::<(), StoreError>(());
        let found = store.check_mailbox_blocking(dir.path(), &MailboxName::inbox(), step).expect("looked");
        assert_eq!(kinds(&found), ["compressed", "no-uid", "unreadable", "unreadable"], "{found:?}");
        let errors = found.all.iter().filter(|finding| finding.severity == Severity::Error).count();
        assert_eq!(errors, 2, "{found:?}");
    }

    #[test]
    fn sizes_in_names() {
        assert_eq!(with_sizes(b"1.a,S=1,x=y,W=2", (10, 20)), b"1.a,S=10,x=y,W=20");
        assert_eq!(with_sizes(b"1.a,W=2", (10, 20)), b"1.a,W=20");
        assert_eq!(size_field(b"1.a,S=7,W=8:2,S", b'S'), Some(7));
        assert_eq!(size_field(b"1.a:2,S=7", b'S'), None);
    }

    #[test]
    fn a_crash_while_names_are_repaired_leaves_every_uid_where_it_was() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let folder = dir.path();
        for sub in ["cur", "new"] {
            std::fs::create_dir(folder.join(sub)).expect("made");
        }
        std::fs::write(folder.join("cur/1.a,S=9:2,S"), b"abc").expect("written");
        std::fs::write(folder.join("dovecot-uidlist"), b"3 V7 N6\n3 W9 Pab :1.a,S=9\n4 W9 :2.gone\n5 W7 S3 :3.c\n")
            .expect("written");
        let resized = [(b"1.a,S=9".to_vec(), b"1.a,S=3".to_vec()), (b"3.c".to_vec(), b"3.c".to_vec())];
        // As an earlier try left it.
        fsio::link(&folder.join("cur/1.a,S=9:2,S"), &folder.join("cur/1.a,S=3:2,S")).expect("linked");
        rename_resized(folder, &resized).expect("renamed");
        let list = std::fs::read(folder.join("dovecot-uidlist")).expect("read");
        assert_eq!(list, b"3 V7 N6\n3 Pab :1.a,S=3\n4 W9 :2.gone\n5 :3.c\n");
        let names: Vec<_> =
            std::fs::read_dir(folder.join("cur")).expect("read").flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["1.a,S=3:2,S"]);
        // A name that another message has is not taken.
        std::fs::write(folder.join("cur/1.b,S=9"), b"abcd").expect("written");
        std::fs::write(folder.join("cur/1.b,S=4"), b"efgh").expect("written");
        assert!(rename_resized(folder, &[(b"1.b,S=9".to_vec(), b"1.b,S=4".to_vec())]).is_err());
        assert_eq!(std::fs::read(folder.join("cur/1.b,S=9")).expect("there"), b"abcd");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// An error that loading does not mend would come back after every repair; one that it mends unseen would be
        /// told by nobody.
        #[test]
        fn what_is_told_of_a_list_is_what_loading_mends(
            lines in prop::collection::vec(
                prop::sample::select(vec![
                    "1 :a", "2 :b", "3 W3 :c", "4 :a", "2 :d", "0 :e", "x", "", "5 W1", "6 :.x", "7 :a:2,S", "8 x :g :h",
                    "9 :\0", " :i", "4294967295 :j", "4294967296 :k", "10 :l\r",
                ]),
                0..6,
            ),
            torn in any::<bool>(),
        ) {
            let mut text = format!("3 V7 N1\n{}", lines.join("\n"));
            if !torn {
                text.push('\n');
            }
            let mut parsed = uidlist::parse(text.as_bytes()).expect("a header");
            let lines = parsed.lines.len();
            uidlist::drop_repeated_names(&mut parsed.lines);
            let mended = parsed.mended || parsed.lines.len() < lines;
            let still = Still { list: Some(text.clone().into_bytes()), entries: Vec::new() };
            let mut findings = Findings::default();
            check_list(Path::new("x"), &still, &mut findings);
            let told = findings.all.iter().any(|finding| finding.severity == Severity::Error);
            prop_assert_eq!(told, mended, "{:?}: {:?}", text, findings);
        }
    }
}
