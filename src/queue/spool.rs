//! The folder of the queue: files in, outcomes appended, files out. All of it blocks.

use std::fmt;
use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use super::entry::Outcome;
use super::entry::Waiting;
use super::v1;
use crate::fsio;
use crate::fsio::Content;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::envelope::BodyKind;
use crate::mail::envelope::Demands;
use crate::mail::ids::QueueId;

/// Where a file lies. The names are those that Postfix gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folder {
    Incoming,
    Active,
    Deferred,
    Hold,
    Corrupt,
}

impl Folder {
    /// Those whose messages are to be delivered.
    const LIVE: [Self; 3] = [Self::Incoming, Self::Active, Self::Deferred];
    const ALL: [Self; 5] = [Self::Incoming, Self::Active, Self::Deferred, Self::Hold, Self::Corrupt];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Incoming => "incoming",
            Self::Active => "active",
            Self::Deferred => "deferred",
            Self::Hold => "hold",
            Self::Corrupt => "corrupt",
        }
    }
}

/// A message for the queue.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Its id.
    pub id: QueueId,
    /// Who is told when it fails.
    pub sender: ReversePath,
    /// To whom.
    pub recipients: Vec<Address>,
    /// Who has it already, and of whom the sender is to be told.
    pub delivered: Vec<Address>,
    /// `BODY` of `MAIL FROM`.
    pub body: BodyKind,
    /// What the sender demands.
    pub demands: Demands,
    /// Why it belongs into the folder for junk of those who are here, where it does.
    pub junk: Option<String>,
    /// What goes before the content: our trace header.
    pub prefix: Vec<u8>,
    /// The message, lines ended by LF.
    pub content: Content,
    /// When it came.
    pub arrived: SystemTime,
    /// Whether nobody is told when it fails: the sender may be forged.
    pub quiet: bool,
}

/// What the queue could not do.
#[derive(Debug)]
pub enum QueueError {
    /// More messages wait than may.
    TooMany,
    /// The disk says no.
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl QueueError {
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("too many messages in the queue"),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for QueueError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooMany => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

/// The folder of the queue.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    /// Opens the folder, made when missing, removes what was never acknowledged, and returns what waits. A file that
    /// does not read goes to `corrupt/`.
    ///
    /// # Errors
    /// What the kernel says of the folders; a single bad file is no error.
    pub fn open(folder: &Path) -> io::Result<(Self, Vec<Waiting>)> {
        let spool = Self { folder: folder.to_owned() };
        for part in Folder::ALL {
            fsio::create_dir_durably(&folder.join(part.name()))?;
        }
        let mut waiting = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for part in Folder::LIVE {
            for found in std::fs::read_dir(folder.join(part.name()))? {
                let name = found?.file_name();
                let path = spool.folder.join(part.name()).join(&name);
                match name.to_str().and_then(QueueId::parse) {
                    Some(id) if seen.insert(id.clone()) => waiting.extend(spool.read_at_start(&id, &path)),
                    Some(_) => fsio::remove_if_there(&path)?,
                    None if name.to_string_lossy().ends_with(".tmp") => fsio::remove_if_there(&path)?,
                    None => tracing::warn!(file = %path.display(), "not a message, left alone"),
                }
            }
        }
        Ok((spool, waiting))
    }

    /// What waits in the folder, held messages included, without touching anything: for the command line.
    ///
    /// # Errors
    /// What the kernel says of the folders.
    pub fn list(folder: &Path) -> io::Result<Vec<(Waiting, &'static str)>> {
        let mut all = Vec::new();
        for part in [Folder::Incoming, Folder::Active, Folder::Deferred, Folder::Hold] {
            let entries = match std::fs::read_dir(folder.join(part.name())) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for found in entries {
                let path = found?.path();
                let is_message = path.file_name().and_then(|n| n.to_str()).and_then(QueueId::parse).is_some();
                let read = if is_message {
                    File::open(&path).and_then(|f| v1::read(&mut BufReader::new(f)))
                } else {
                    Ok(None)
                };
                // Files come and go while we look.
                all.extend(read.ok().flatten().map(|entry| (entry.waiting, part.name())));
            }
        }
        all.sort_by_key(|(waiting, _)| waiting.arrived);
        all.dedup_by(|(a, _), (b, _)| a.id == b.id);
        Ok(all)
    }

    fn read_at_start(&self, id: &QueueId, path: &Path) -> Option<Waiting> {
        match File::open(path).and_then(|file| v1::read(&mut BufReader::new(file))) {
            Ok(Some(entry)) if entry.waiting.id == *id => Some(entry.waiting),
            Ok(_) => {
                tracing::error!(%id, "the queue file is damaged; moved to corrupt/");
                let moved = fsio::rename(path, &self.path(Folder::Corrupt, id));
                if let Err(error) = moved {
                    tracing::error!(%id, %error, "cannot be moved to corrupt/");
                }
                None
            }
            Err(error) => {
                tracing::error!(%id, %error, "the queue file cannot be read; left where it is");
                None
            }
        }
    }

    fn path(&self, part: Folder, id: &QueueId) -> PathBuf {
        self.folder.join(part.name()).join(id.as_str())
    }

    /// Makes a message durable: its file is synced, then renamed, then the folder is synced.
    ///
    /// # Errors
    /// What the kernel says; nothing is left then.
    pub fn add(&self, entry: &NewEntry) -> io::Result<Waiting> {
        let waiting = self.write(entry)?;
        if let Err(error) = self.name([&entry.id]) {
            self.discard(&entry.id);
            return Err(error);
        }
        Ok(waiting)
    }

    /// Gives what was written its name, and with it what is ours: all of it, or nothing.
    ///
    /// # Errors
    /// What the kernel says; nothing has its name then, and [`Self::discard`] removes what was written.
    pub(super) fn name<'a>(&self, ids: impl IntoIterator<Item = &'a QueueId>) -> io::Result<()> {
        let mut named = Vec::new();
        let name = || {
            for id in ids {
                let path = self.path(Folder::Incoming, id);
                fsio::rename(&self.temporary(id), &path)?;
                named.push(path);
            }
            fsio::sync_dir(&self.folder.join(Folder::Incoming.name()))
        };
        let done = name();
        if done.is_err() {
            for path in named {
                fsio::remove_if_there(&path).ok();
            }
        }
        done
    }

    /// Removes what was written and has no name yet. What cannot be removed is when the folder is opened.
    pub(super) fn discard(&self, id: &QueueId) {
        if let Err(error) = fsio::remove_if_there(&self.temporary(id)) {
            tracing::warn!(%id, %error, "what is not needed stays in the queue's folder until the next start");
        }
    }

    fn temporary(&self, id: &QueueId) -> PathBuf {
        self.folder.join(Folder::Incoming.name()).join(format!(".{id}.tmp"))
    }

    /// Writes the file of a message and syncs it; until it has its name it is nothing that a restart would find.
    ///
    /// # Errors
    /// What the kernel says; nothing is left then.
    pub(super) fn write(&self, entry: &NewEntry) -> io::Result<Waiting> {
        let octets = entry.content.len() + entry.prefix.len() as u64;
        let envelope = v1::Envelope {
            id: entry.id.to_string(),
            sender: entry.sender.to_string(),
            recipients: entry.recipients.iter().map(ToString::to_string).collect(),
            eight_bit: entry.body == BodyKind::EightBitMime,
            arrived: v1::micros(entry.arrived),
            octets,
            quiet: entry.quiet,
            demands: entry.demands.clone(),
            junk: entry.junk.clone(),
            delivered: entry.delivered.iter().map(ToString::to_string).collect(),
        };
        let mut head = v1::head(&envelope)?;
        head.extend_from_slice(&entry.prefix);
        fsio::write_new(&self.temporary(&entry.id), |file| entry.content.write_to(&head, file))?;
        let recipients = entry
            .recipients
            .iter()
            .map(|a| (a.clone(), super::entry::RecipientState::Waiting { last: None, told: false }))
            .collect();
        let mut waiting = Waiting {
            id: entry.id.clone(),
            sender: entry.sender.clone(),
            recipients,
            arrived: entry.arrived,
            octets,
            attempts: 0,
            next: entry.arrived,
            quiet: entry.quiet,
            demands: entry.demands.clone(),
            junk: entry.junk.clone(),
        };
        waiting.add_delivered(entry.delivered.clone());
        Ok(waiting)
    }

    /// The file of a message, wherever it lies.
    fn find(&self, id: &QueueId) -> io::Result<(PathBuf, Folder)> {
        Folder::LIVE
            .into_iter()
            .map(|part| (self.path(part, id), part))
            .find(|(path, _)| path.exists())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Appends what an attempt did, and syncs it.
    ///
    /// # Errors
    /// What the kernel says; the attempt may then be made again after a crash.
    pub(super) fn record(&self, waiting: &Waiting, outcomes: &[(Address, Outcome)]) -> io::Result<()> {
        let (path, _) = self.find(&waiting.id)?;
        let record = v1::Record {
            outcomes: outcomes.iter().map(|(a, o)| (a.to_string(), o.clone())).collect(),
            attempts: waiting.attempts,
            next: v1::micros(waiting.next),
        };
        let bytes = v1::record(&waiting.id, &record)?;
        let end = v1::read(&mut BufReader::new(File::open(&path)?))?.map(|entry| entry.end);
        let mut file = fsio::open_for_update(&path)?;
        file.seek(SeekFrom::Start(end.ok_or(io::ErrorKind::InvalidData)?))?;
        file.write_all(&bytes)?;
        fsio::sync_data(&file)
    }

    /// Moves the file for people who look at the folders. Not synced: where it lies says nothing to us.
    pub(super) fn show_in(&self, id: &QueueId, part: Folder) {
        let moved = self
            .find(id)
            .and_then(|(path, now)| if now == part { Ok(()) } else { fsio::rename(&path, &self.path(part, id)) });
        if let Err(error) = moved {
            tracing::debug!(%id, %error, "the queue file stays where it is");
        }
    }

    /// Removes a message that is done. Not synced: after a crash it is done once more, by its records.
    pub(super) fn remove(&self, id: &QueueId) -> io::Result<()> {
        let (path, _) = self.find(id)?;
        fsio::remove(&path)
    }

    /// The bytes of a message, trace header included, and how it was announced.
    pub(super) fn content(&self, id: &QueueId) -> io::Result<(Content, BodyKind)> {
        let (path, _) = self.find(id)?;
        let mut file = File::open(&path)?;
        let Some(entry) = v1::read(&mut BufReader::new(&mut file))? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        file.seek(SeekFrom::Start(entry.content_at))?;
        let mut writer = fsio::ContentWriter::new(self.folder.clone());
        let mut rest = file.take(entry.waiting.octets);
        let mut buffer = vec![0; 65_536];
        loop {
            let n = rest.read(&mut buffer)?;
            if n == 0 {
                return Ok((writer.finish()?, entry.body));
            }
            writer.push(&buffer[..n])?;
        }
    }
}
