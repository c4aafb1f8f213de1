//! Delivery: one message into any number of inboxes, each durable before it is acknowledged.
//!
//! The bytes are written and synced once, in `tmp/` of the first Maildir; the others get hard links where the file
//! system allows, copies where not. Then each file is renamed into `new/` and that folder is synced, together with
//! everybody else who delivers there at the time. Nothing here depends on how many messages a mailbox has.

use std::io;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::fsio;
use crate::fsio::Content;
use crate::mail::ids::QueueId;
use crate::mail::quota::Usage;
use crate::message::wire::wire_len;

use super::account::AccountStore;
use super::commit::Coming;
use super::context::Context;
use super::context::lock;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::folder::Arrival;
use super::mailbox::Mailbox;
use super::quota::Charge;
use super::quota::Reservation;
use super::transfer::seconds;
use super::watch::Kind;
use super::watch::Sub;

/// A message for local inboxes.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id; the name of the file is a function of it.
    pub id: QueueId,
    /// What goes before the message: `Return-Path` and trace fields, lines ended by LF.
    pub prefix: Vec<u8>,
    /// The message.
    pub content: Content,
    /// The Maildirs of the recipients.
    pub maildirs: Vec<PathBuf>,
    /// When it came: INTERNALDATE.
    pub received: SystemTime,
    /// Whether an earlier try may have succeeded without anybody noticing, as after a crash. Only then are the
    /// folders searched for a first copy that a client has moved to `cur/`; in `new/` it is always found.
    pub again: bool,
}

/// One delivery under way.
pub(super) struct Deliverer<'a> {
    pub(super) context: &'a Context,
    pub(super) accounts: &'a dyn Fn(&Path) -> Result<Arc<AccountStore>>,
    pub(super) delivery: &'a Delivery,
    pub(super) charge: Charge,
    /// Room that was taken before.
    pub(super) reserved: &'a [Arc<Reservation>],
}

/// A Maildir with room for the message.
struct Target<'a> {
    maildir: &'a Path,
    room: Arc<Reservation>,
    size: u64,
}

/// What was done for one Maildir.
enum Placed {
    /// It has a name in `new/`.
    New,
    /// An earlier try did it.
    Before,
}

impl Deliverer<'_> {
    /// One outcome per Maildir, in order.
    pub(super) fn deliver(&self) -> Vec<Result<()>> {
        let delivery = self.delivery;
        let stem = file_name::of_delivery(&delivery.id, &self.context.host);
        let size = delivery.prefix.len() as u64 + delivery.content.len();
        let wire = wire_len(&delivery.prefix) + delivery.content.wire_len();
        let name = format!("{stem}{}", file_name::sizes(size, wire));
        let folders: Vec<PathBuf> = delivery.maildirs.iter().map(|maildir| maildir.join("new")).collect();
        let coming: Vec<Coming<'_>> = folders.iter().map(|new| self.context.syncs.announce(new)).collect();
        let share = u32::try_from(folders.len()).unwrap_or(u32::MAX);
        let placed = self.place_all(&stem, &name, size);
        let outcomes = placed.into_iter().zip(coming).zip(&delivery.maildirs).map(|((placed, coming), maildir)| {
            let placed = placed?;
            let synced = coming.sync(share).map_err(StoreError::io("syncing a folder"));
            if synced.is_err() && matches!(placed, Placed::New) {
                // Not acknowledged, so it will come again; if it cannot be removed either, it is found then.
                self.take_back(maildir, &name, size);
            }
            synced
        });
        let outcomes: Vec<Result<()>> = outcomes.collect();
        for (maildir, outcome) in delivery.maildirs.iter().zip(&outcomes) {
            if outcome.is_ok()
                && let Some(mailbox) = self.context.live(maildir)
            {
                mailbox.publish_soon();
            }
        }
        outcomes
    }

    fn take_back(&self, maildir: &Path, name: &str, size: u64) {
        let quota = self.context.quotas.of(maildir);
        let changing = quota.changing();
        if fsio::remove_if_there(&maildir.join("new").join(name)).is_ok() {
            changing.freed(Usage::of_message(size));
        }
    }

    /// Gives the message its name in every `new/`.
    fn place_all(&self, stem: &str, name: &str, size: u64) -> Vec<Result<Placed>> {
        // Written, synced, and not yet renamed: the first copy, from which the others are linked.
        let mut first: Option<(usize, PathBuf, Target<'_>)> = None;
        let mut placed: Vec<Option<Result<Placed>>> = Vec::new();
        for (at, maildir) in self.delivery.maildirs.iter().enumerate() {
            let result = match self.target(maildir, stem, size) {
                Err(error) => Some(Err(error)),
                Ok(None) => Some(Ok(Placed::Before)),
                Ok(Some(target)) => match &first {
                    Some((_, temporary, _)) => Some(self.place_next(&target, name, temporary)),
                    None => match self.write(maildir, name) {
                        Err(error) => Some(Err(error)),
                        Ok(temporary) => {
                            first = Some((at, temporary, target));
                            None
                        }
                    },
                },
            };
            placed.push(result);
        }
        if let Some((at, temporary, target)) = first {
            placed[at] = Some(self.place(&target, name, |new| rename_or_drop(&temporary, new)));
        }
        // Every place was filled: the only one left open is the first copy's.
        placed.into_iter().map(|p| p.unwrap_or(Err(StoreError::MessageGone))).collect()
    }

    /// The Maildir with room for the message; `None` where an earlier try is there.
    fn target<'t>(&self, maildir: &'t Path, stem: &str, size: u64) -> Result<Option<Target<'t>>> {
        if self.find_earlier(maildir, stem)? {
            return Ok(None);
        }
        let wanted = Usage::of_message(size);
        let room = match self.reserved.iter().find(|room| room.is_in(maildir)) {
            Some(room) => {
                room.resize(wanted)?;
                Arc::clone(room)
            }
            None => Arc::new(self.context.quotas.of(maildir).reserve(wanted, self.charge)?),
        };
        Ok(Some(Target { maildir, room, size }))
    }

    /// A copy for one more Maildir: by a link, or written again.
    fn place_next(&self, target: &Target<'_>, name: &str, first: &Path) -> Result<Placed> {
        let maildir = target.maildir;
        let link = || self.place(target, name, |new| fsio::link(first, new));
        let linked = match link() {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                (self.accounts)(maildir)?.prepare()?;
                link()
            }
            other => other,
        };
        match linked {
            Ok(placed) => Ok(placed),
            Err(error) if error.is_full() => Err(error),
            // Another file system, another owner, too many links.
            Err(_) => {
                let temporary = self.write(maildir, name)?;
                self.place(target, name, |new| rename_or_drop(&temporary, new))
            }
        }
    }

    /// Writes the message into `tmp/` and syncs it; makes the Maildir when it is missing.
    fn write(&self, maildir: &Path, name: &str) -> Result<PathBuf> {
        let temporary = maildir.join("tmp").join(name);
        let fill = |file: &mut std::fs::File| -> io::Result<()> {
            self.delivery.content.write_to(&self.delivery.prefix, file)?;
            file.flush()?;
            fsio::set_modified(file, self.delivery.received)
        };
        let written = match fsio::write_new(&temporary, fill) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (self.accounts)(maildir)?.prepare()?;
                fsio::write_new(&temporary, fill)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Left by a try that was killed: nobody else has this id.
                fsio::remove_if_there(&temporary).map_err(StoreError::io("removing an unfinished delivery"))?;
                fsio::write_new(&temporary, fill)
            }
            other => other,
        };
        written.map(|()| temporary).map_err(StoreError::io("writing a message"))
    }

    /// Gives the file its name in `new/` with `put`. A live mailbox learns of it in the same moment.
    fn place(&self, target: &Target<'_>, name: &str, put: impl FnOnce(&Path) -> io::Result<()>) -> Result<Placed> {
        let maildir = target.maildir;
        let new = maildir.join("new").join(name);
        let quota = self.context.quotas.of(maildir);
        let live = self.context.live(maildir);
        let changing = quota.changing();
        let result = match &live {
            Some(mailbox) => mailbox.arrive(maildir, name, self.delivery.received, || put(&new)),
            None => put(&new),
        };
        match result {
            Ok(()) => {
                target.room.commit(&changing, Usage::of_message(target.size));
                if live.is_none()
                    && let Some(mailbox) = self.context.live(maildir)
                {
                    // It became live meanwhile and may have read `new/` before.
                    lock(&mailbox.folders).forget();
                }
                Ok(Placed::New)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Placed::Before),
            Err(error) => Err(StoreError::io("delivering a message")(error)),
        }
    }

    /// Whether an earlier try is in the Maildir; a client may have moved it to `cur/` and flagged it.
    fn find_earlier(&self, maildir: &Path, stem: &str) -> Result<bool> {
        if !self.delivery.again {
            return Ok(false);
        }
        for sub in ["new", "cur"] {
            let folder = maildir.join(sub);
            let entries = match std::fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(StoreError::io("looking for an earlier delivery"))?,
            };
            let is_it = |name: &[u8]| {
                name.strip_prefix(stem.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|b| b",:".contains(b)))
            };
            if entries.flatten().any(|entry| is_it(entry.file_name().as_bytes())) {
                // It may be there without having been synced.
                self.context.sync(&folder)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Mailbox {
    /// A delivery puts a file into `new/` of this mailbox.
    fn arrive(
        &self,
        folder: &Path,
        name: &str,
        received: SystemTime,
        put: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut folders = lock(&self.folders);
        let step = (Sub::New, Kind::Appears, name.as_bytes());
        folders.change(folder, self.context.clock.instant(), |ours| ours.run(&[step], put))?;
        folders.arrivals.push(Arrival { name: name.as_bytes().into(), recent: true, date: Some(seconds(received)) });
        Ok(())
    }
}

/// Renames into `new/`; on any error the temporary file goes.
fn rename_or_drop(temporary: &Path, new: &Path) -> io::Result<()> {
    fsio::rename_new(temporary, new).inspect_err(|_| {
        // If it stays, it goes when it is 36 hours old.
        fsio::remove_if_there(temporary).ok();
    })
}
