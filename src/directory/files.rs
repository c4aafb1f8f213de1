//! The alias files of a configuration as they are on the disk: read, and read again when they change.
//!
//! New content of which nobody can tell what was meant leaves the old in force. All of this may wait for a disk, so it
//! runs on threads that may.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::aliases_file;
use super::aliases_file::Entry;
use super::aliases_file::Parsed;
use super::aliases_file::Written;
use crate::config::AliasTarget;
use crate::config::Config;
use crate::fsio;
use crate::mail::limits::ALIAS_FILE_OCTETS;
use crate::mail::limits::ALIAS_FILE_YOUNG;
use crate::mail::limits::ALIAS_INCLUDE_FILES;
use crate::mail::limits::ALIAS_INCLUDE_OCTETS;
use crate::mail::limits::ALIAS_INCLUDES;

/// Something wrong with an alias file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    text: String,
    broken: bool,
}

impl Complaint {
    /// Whether nobody can tell what was meant, so that the file as it is cannot come into force.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken
    }
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What all alias files of a configuration hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliasFiles {
    /// With its path: what another file held is not what this one held before.
    aliases: Option<(PathBuf, OnDisk<Entry>)>,
    includes: HashMap<PathBuf, OnDisk<Written>>,
    too_many: bool,
}

/// One file.
#[derive(Debug, Clone)]
struct OnDisk<T> {
    stamp: Option<Stamp>,
    /// The last content that could be understood; at first the part of it that could.
    content: Option<Arc<Vec<T>>>,
    /// Whether that is all of the file.
    whole: bool,
    complaints: Vec<Complaint>,
}

/// When it was changed is of no interest where it holds the same.
impl<T: PartialEq> PartialEq for OnDisk<T> {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content && self.whole == other.whole && self.complaints == other.complaints
    }
}

impl<T: Eq> Eq for OnDisk<T> {}

/// By what a change is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    octets: u64,
    file: (u64, u64),
    /// It may have changed since within the same tick.
    young: bool,
}

impl AliasFiles {
    /// Reads what the configuration names, and what those files name. What has not changed since `before` is not read
    /// again; `now` is the wall clock. Waits for the disk.
    #[must_use]
    pub fn load(config: &Config, before: Option<&Self>, now: SystemTime) -> Self {
        let mut files = Self::default();
        let mut open: Vec<PathBuf> =
            config.aliases.iter().flat_map(|a| &a.targets).filter_map(|t| path_of(&t.value)).collect();
        if let Some(path) = &config.directory.aliases_file {
            let old = before.and_then(|b| b.aliases.as_ref()).filter(|(old, _)| old == path).map(|(_, file)| file);
            let read = OnDisk::read(path, ALIAS_FILE_OCTETS, aliases_file::aliases, old, now);
            open.extend(read.content.iter().flat_map(|c| c.iter()).flat_map(|e| &e.targets).filter_map(included));
            files.aliases = Some((path.clone(), read));
        }
        for _ in 0..ALIAS_INCLUDES {
            for path in std::mem::take(&mut open) {
                if files.includes.contains_key(&path) {
                    continue;
                }
                if files.includes.len() >= ALIAS_INCLUDE_FILES {
                    files.too_many = true;
                    return files;
                }
                let old = before.and_then(|b| b.includes.get(&path));
                let read = OnDisk::read(&path, ALIAS_INCLUDE_OCTETS, aliases_file::list, old, now);
                open.extend(read.content.iter().flat_map(|c| c.iter()).filter_map(included));
                files.includes.insert(path, read);
            }
        }
        files
    }

    /// Whether a configuration names any; the others are named by these.
    #[must_use]
    pub fn are_named_by(config: &Config) -> bool {
        let targets = config.aliases.iter().flat_map(|alias| &alias.targets);
        config.directory.aliases_file.is_some() || targets.into_iter().any(|target| path_of(&target.value).is_some())
    }

    /// All that is wrong with them.
    #[must_use]
    pub fn complaints(&self) -> Vec<Complaint> {
        let aliases = self.aliases.iter().flat_map(|(_, file)| &file.complaints);
        let mut all: Vec<Complaint> =
            aliases.chain(self.includes.values().flat_map(|f| &f.complaints)).cloned().collect();
        if self.too_many {
            let text = format!("more than {ALIAS_INCLUDE_FILES} files are named by :include:; the others are not read");
            all.push(Complaint { text, broken: true });
        }
        all.sort_by(|a, b| a.text.cmp(&b.text));
        all
    }

    /// The entries of the aliases file.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.aliases.iter().filter_map(|(_, file)| file.content.as_ref()).flat_map(|content| content.iter())
    }

    /// Whether there may be names that could not be read: of whom nobody else knows, nobody can say that he is unknown.
    pub(super) fn lacks_names(&self) -> bool {
        self.aliases.as_ref().is_some_and(|(_, file)| !file.whole)
    }

    /// What a file lists; `None` where it has never been read.
    pub(super) fn list(&self, path: &Path) -> Option<&[Written]> {
        self.includes.get(path)?.content.as_deref().map(Vec::as_slice)
    }
}

fn path_of(target: &AliasTarget) -> Option<PathBuf> {
    match target {
        AliasTarget::Include(path) => Some(path.clone()),
        AliasTarget::Address(_) | AliasTarget::Name(_) => None,
    }
}

fn included(written: &Written) -> Option<PathBuf> {
    match written {
        Written::To(target) => path_of(target),
        Written::Mailbox(_) => None,
    }
}

impl<T> OnDisk<T> {
    fn read(path: &Path, most: u64, parse: fn(&str) -> Parsed<T>, before: Option<&Self>, now: SystemTime) -> Self {
        let seen = open(path, now);
        if let (Ok((_, stamp)), Some(before)) = (&seen, before)
            && before.stamp == Some(*stamp)
            && !stamp.young
        {
            return Self { content: before.content.clone(), complaints: before.complaints.clone(), ..*before };
        }
        let stamp = seen.as_ref().ok().map(|(_, stamp)| *stamp);
        let parsed = seen.and_then(|(file, stamp)| text(file, stamp, most)).map(|text| parse(&text));
        let kept = before.and_then(|b| b.content.clone());
        match parsed {
            Err(error) => {
                let stays = if kept.is_some() { "; what it held before stays in force" } else { "" };
                let complaint = Complaint { text: format!("{}: {error}{stays}", path.display()), broken: true };
                let whole = before.is_some_and(|b| b.whole && kept.is_some());
                Self { stamp, content: kept, whole, complaints: vec![complaint] }
            }
            Ok(parsed) => {
                let broken = parsed.is_broken();
                let keeps = broken && kept.is_some();
                let complaint = |flaw: &aliases_file::Flaw| Complaint {
                    text: format!("{}:{}: {}{}", path.display(), flaw.line, flaw.what, consequence(flaw.broken, keeps)),
                    broken: flaw.broken,
                };
                let complaints = parsed.flaws.iter().map(complaint).collect();
                let whole = if keeps { before.is_some_and(|b| b.whole) } else { !broken };
                let content = if keeps { kept } else { Some(Arc::new(parsed.items)) };
                Self { stamp, content, whole, complaints }
            }
        }
    }
}

fn consequence(broken: bool, keeps: bool) -> &'static str {
    match (broken, keeps) {
        (true, true) => "; what the file held before stays in force",
        (true, false) => "; the line is left out",
        (false, _) => "; the entry is left out",
    }
}

fn open(path: &Path, now: SystemTime) -> std::io::Result<(std::fs::File, Stamp)> {
    // /etc/aliases may be a symbolic link; what it leads to must be a file.
    let file = fsio::open_regular(&std::fs::canonicalize(path)?)?;
    let found = file.metadata()?;
    let age = found.modified().ok().and_then(|modified| now.duration_since(modified).ok());
    let stamp = Stamp {
        modified: (found.mtime(), found.mtime_nsec()),
        octets: found.len(),
        file: (found.dev(), found.ino()),
        young: age.is_none_or(|age| age < ALIAS_FILE_YOUNG),
    };
    Ok((file, stamp))
}

fn text(file: std::fs::File, stamp: Stamp, most: u64) -> std::io::Result<String> {
    let too_large = || std::io::Error::other(format!("the file is larger than {most} octets"));
    if stamp.octets > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    // Old files are in the character set of their time. What is not UTF-8 is a flaw of the line where it matters.
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(String::from_utf8_lossy(&bytes).into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::time::Duration;

    #[test]
    fn changes_are_seen_and_broken_ones_change_nothing() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let (file, list) = (dir.path().join("aliases"), dir.path().join("list"));
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("written");
        write(&file, &format!("team: :include:{}\n", list.display()));
        let text = format!("hostname = \"mail.example.com\"\n[directory]\naliases_file = \"{}\"\n", file.display());
        let config = config::parse(Path::new("t.toml"), &text).expect("valid");
        // Far in the future nothing is young; the files differ in size.
        let now = SystemTime::now() + Duration::from_secs(86_400);
        let first = AliasFiles::load(&config, None, now);
        assert_eq!(first.complaints().len(), 1, "the list is not there: {first:?}");
        assert!(first.list(&list).is_none() && !first.lacks_names());
        write(&list, "alice\n");
        let second = AliasFiles::load(&config, Some(&first), now);
        assert_ne!(first, second);
        assert_eq!(second.list(&list).map(<[_]>::len), Some(1));
        assert_eq!(second, AliasFiles::load(&config, Some(&second), now));
        write(&list, "alice\nwhat is this\n");
        write(&file, "team alice bob carol dave\n");
        let third = AliasFiles::load(&config, Some(&second), now);
        let complaints: Vec<String> = third.complaints().iter().map(ToString::to_string).collect();
        assert!(
            complaints.len() == 2 && complaints.iter().all(|c| c.contains("before stays in force")),
            "{complaints:?}"
        );
        assert!(complaints[0].contains("aliases:1: ") && complaints[1].contains("list:2: "), "{complaints:?}");
        assert_eq!((third.entries().count(), third.list(&list).map(<[_]>::len)), (1, Some(1)));
        let anew = AliasFiles::load(&config, None, now);
        assert!(anew.lacks_names() && anew.entries().count() == 0);
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(
            AliasFiles::load(&config, Some(&third), now).entries().count(),
            1,
            "a file that is gone changes nothing"
        );
    }

    #[test]
    fn another_character_set_costs_no_more_than_its_line() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let file = dir.path().join("aliases");
        std::fs::write(&file, b"# Andr\xe9\nteam: Andr\xe9 <andre@example.com>\nandr\xe9: bob\nbob: alice\n")
            .expect("written");
        let text = format!("hostname = \"mail.example.com\"\n[directory]\naliases_file = \"{}\"\n", file.display());
        let files =
            AliasFiles::load(&config::parse(Path::new("t.toml"), &text).expect("valid"), None, SystemTime::now());
        let names: Vec<&str> = files.entries().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["team", "bob"]);
        let complaints = files.complaints();
        assert!(complaints.len() == 1 && complaints[0].to_string().contains("aliases:3: "), "{complaints:?}");
    }

    #[test]
    fn another_file_is_not_the_one_before() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let config = |name: &str| {
            let file = dir.path().join(name);
            let text = format!("hostname = \"mail.example.com\"\n[directory]\naliases_file = \"{}\"\n", file.display());
            config::parse(Path::new("t.toml"), &text).expect("valid")
        };
        std::fs::write(dir.path().join("a"), "team: alice\n").expect("written");
        std::fs::write(dir.path().join("broken"), "what is this\n").expect("written");
        let now = SystemTime::now();
        let first = AliasFiles::load(&config("a"), None, now);
        assert_eq!(first.entries().count(), 1);
        for other in ["missing", "broken"] {
            let second = AliasFiles::load(&config(other), Some(&first), now);
            assert!(second.entries().count() == 0 && second.lacks_names(), "{other}: {second:?}");
            assert!(!second.complaints()[0].to_string().contains("stays in force"), "{other}: {second:?}");
        }
    }

    #[test]
    fn files_within_files_end() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let path = |n: usize| dir.path().join(format!("{n}"));
        for n in 0..6 {
            std::fs::write(
                path(n),
                format!("u{n}\n:include:{}\n:include:{}\n", path(n + 1).display(), path(0).display()),
            )
            .expect("written");
        }
        let text = format!(
            "hostname = \"mail.example.com\"\n[[domain]]\nname = \"example.com\"\n[aliases]\n\"a@example.com\" = \":include:{}\"\n",
            path(0).display()
        );
        let config = config::parse(Path::new("t.toml"), &text).expect("valid");
        let files = AliasFiles::load(&config, None, SystemTime::now());
        assert_eq!(
            (files.includes.len(), files.list(&path(2)).is_some(), files.list(&path(3)).is_some()),
            (3, true, false)
        );
    }
}
