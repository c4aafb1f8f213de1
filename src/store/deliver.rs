//! Delivery: one message into the inbox, or the mailbox for another use, of any number of accounts, each durable before
//! it is acknowledged.
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
use crate::mail::mailbox::SpecialUse;
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
    /// Where in each of them: the mailbox for this use, which is made where there is none, or `None` for the inbox.
    pub special_use: Option<SpecialUse>,
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

/// A mailbox with room for the message.
struct Target<'a> {
    place: &'a Place<'a>,
    room: Arc<Reservation>,
    size: u64,
}

/// Where the message goes in one Maildir.
struct Place<'a> {
    maildir: &'a Path,
    /// The folder of the mailbox: the Maildir itself for the inbox.
    folder: PathBuf,
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
        let places: Vec<Place<'_>> = delivery.maildirs.iter().map(|maildir| self.find_place(maildir)).collect();
        let folders: Vec<PathBuf> = places.iter().map(|place| place.folder.join("new")).collect();
        let coming: Vec<Coming<'_>> = folders.iter().map(|new| self.context.syncs.announce(new)).collect();
        let share = u32::try_from(folders.len()).unwrap_or(u32::MAX);
        let placed = self.place_all(&places, &stem, &name, size);
        let outcomes = placed.into_iter().zip(coming).zip(&places).map(|((placed, coming), place)| {
            let placed = placed?;
            let synced = coming.sync(share).map_err(StoreError::io("syncing a folder"));
            if synced.is_err() && matches!(placed, Placed::New) {
                // Not acknowledged, so it will come again; if it cannot be removed either, it is found then.
                self.take_back(place, &name, size);
            }
            synced
        });
        let outcomes: Vec<Result<()>> = outcomes.collect();
        for (place, outcome) in places.iter().zip(&outcomes) {
            if outcome.is_ok()
                && let Some(mailbox) = self.context.live(&place.folder)
            {
                mailbox.publish_soon();
            }
        }
        outcomes
    }

    /// Where the message goes. A mailbox that cannot be had must not cost the message: then it is the inbox.
    fn find_place<'m>(&self, maildir: &'m Path) -> Place<'m> {
        let folder = self.delivery.special_use.and_then(|role| {
            let found = (self.accounts)(maildir).and_then(|account| account.folder_for(role));
            let failed = |error: &StoreError| {
                tracing::warn!(maildir = %maildir.display(), ?role, %error, "no such mailbox, the inbox takes its mail");
            };
            found.inspect_err(failed).ok()
        });
        Place { maildir, folder: folder.unwrap_or_else(|| maildir.to_owned()) }
    }

    /// Makes what is missing of a Maildir or of the mailbox in it.
    fn prepare(&self, place: &Place<'_>) -> Result<()> {
        let account = (self.accounts)(place.maildir)?;
        account.prepare()?;
        if place.folder == place.maildir { Ok(()) } else { account.make_whole(&place.folder) }
    }

    fn take_back(&self, place: &Place<'_>, name: &str, size: u64) {
        let quota = self.context.quotas.of(place.maildir);
        let changing = quota.changing();
        if fsio::remove_if_there(&place.folder.join("new").join(name)).is_ok() {
            changing.freed(Usage::of_message(size));
        }
    }

    /// Gives the message its name in every `new/`.
    fn place_all(&self, places: &[Place<'_>], stem: &str, name: &str, size: u64) -> Vec<Result<Placed>> {
        // Written, synced, and not yet renamed: the first copy, from which the others are linked.
        let mut first: Option<(usize, PathBuf, Target<'_>)> = None;
        let mut placed: Vec<Option<Result<Placed>>> = Vec::new();
        for (at, place) in places.iter().enumerate() {
            let result = match self.target(place, stem, size) {
                Err(error) => Some(Err(error)),
                Ok(None) => Some(Ok(Placed::Before)),
                Ok(Some(target)) => match &first {
                    Some((_, temporary, _)) => Some(self.place_next(&target, name, temporary)),
                    None => match self.write(place, name) {
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
    fn target<'t>(&self, place: &'t Place<'t>, stem: &str, size: u64) -> Result<Option<Target<'t>>> {
        let maildir = place.maildir;
        if self.find_earlier(&place.folder, stem)? || (place.folder != maildir && self.find_earlier(maildir, stem)?) {
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
        Ok(Some(Target { place, room, size }))
    }

    /// A copy for one more Maildir: by a link, or written again.
    fn place_next(&self, target: &Target<'_>, name: &str, first: &Path) -> Result<Placed> {
        let link = || self.place(target, name, |new| fsio::link(first, new));
        let linked = match link() {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.prepare(target.place)?;
                link()
            }
            other => other,
        };
        match linked {
            Ok(placed) => Ok(placed),
            Err(error) if error.is_full() => Err(error),
            // Another file system, another owner, too many links.
            Err(_) => {
                let temporary = self.write(target.place, name)?;
                self.place(target, name, |new| rename_or_drop(&temporary, new))
            }
        }
    }

    /// Writes the message into `tmp/` and syncs it; makes the Maildir when it is missing.
    fn write(&self, place: &Place<'_>, name: &str) -> Result<PathBuf> {
        let temporary = place.folder.join("tmp").join(name);
        let fill = |file: &mut std::fs::File| -> io::Result<()> {
            self.delivery.content.write_to(&self.delivery.prefix, file)?;
            file.flush()?;
            fsio::set_modified(file, self.delivery.received)
        };
        let written = match fsio::write_new(&temporary, fill) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.prepare(place)?;
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
        let Place { maildir, folder } = target.place;
        let new = folder.join("new").join(name);
        let quota = self.context.quotas.of(maildir);
        let live = self.context.live(folder);
        let changing = quota.changing();
        let result = match &live {
            Some(mailbox) => mailbox.arrive(folder, name, self.delivery.received, || put(&new)),
            None => put(&new),
        };
        match result {
            Ok(()) => {
                target.room.commit(&changing, Usage::of_message(target.size));
                if live.is_none()
                    && let Some(mailbox) = self.context.live(folder)
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

    /// Whether an earlier try is in the mailbox; a client may have moved it to `cur/` and flagged it.
    fn find_earlier(&self, mailbox: &Path, stem: &str) -> Result<bool> {
        if !self.delivery.again {
            return Ok(false);
        }
        for sub in ["new", "cur"] {
            let folder = mailbox.join(sub);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::mail::ids::SessionId;
    use crate::mail::mailbox::MailboxName;
    use crate::store::Store;

    async fn deliver(store: &Arc<Store>, maildir: &Path, id: &QueueId, again: bool) {
        let message = Delivery {
            id: id.clone(),
            prefix: Vec::new(),
            content: Content::from_bytes(b"Subject: x\n\nx\n".to_vec()),
            maildirs: vec![maildir.to_owned()],
            special_use: Some(SpecialUse::Junk),
            received: SystemTime::UNIX_EPOCH,
            again,
        };
        for outcome in store.deliver(message).await {
            outcome.expect("delivered");
        }
    }

    async fn count(store: &Arc<Store>, maildir: &Path, name: &str) -> Option<usize> {
        let name = if name.is_empty() { MailboxName::inbox() } else { MailboxName::parse(name).expect("valid") };
        let account = store.account(maildir).await.expect("opened");
        let mailbox = account.mailbox(&name).await.ok()?;
        Some(mailbox.refresh().await.expect("read").messages.iter().count())
    }

    #[tokio::test]
    async fn junk_goes_where_the_account_has_its_junk() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(Clock::system());
        let ids = SessionId::new(std::time::Duration::from_secs(1));
        // A new account, one with a mailbox of another name, one whose mailbox was removed, one that cannot have one.
        let maildir = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(maildir("french").join(".Pourriel/cur")).expect("made");
        std::fs::create_dir_all(maildir("without").join(".Other/cur")).expect("made");
        std::fs::create_dir_all(maildir("taken").join(".Other/cur")).expect("made");
        std::fs::write(maildir("taken").join(".Junk"), b"in the way").expect("written");
        for (at, (name, mailbox, in_junk)) in
            [("new", "Junk", 1), ("french", "Pourriel", 1), ("without", "Junk", 1), ("taken", "", 1)].iter().enumerate()
        {
            let id = ids.message(u32::try_from(at).expect("small") + 1);
            deliver(&store, &maildir(name), &id, false).await;
            deliver(&store, &maildir(name), &id, true).await;
            assert_eq!(count(&store, &maildir(name), mailbox).await, Some(*in_junk), "{name}");
            let inbox = count(&store, &maildir(name), "").await;
            assert_eq!(inbox, Some(usize::from(mailbox.is_empty())), "{name}");
        }
        let account = store.account(&maildir("without")).await.expect("opened");
        let listed = account.list().await.expect("listed");
        let junk = listed.iter().find(|m| m.special_use == Some(SpecialUse::Junk)).expect("made");
        assert!(junk.subscribed && junk.name.as_str() == "Junk");
    }

    #[tokio::test]
    async fn what_an_earlier_try_left_in_the_inbox_is_found() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = Store::open(Clock::system());
        let id = SessionId::new(std::time::Duration::from_secs(1)).message(1);
        deliver(&store, dir.path(), &id, false).await;
        let new = dir.path().join(".Junk/new");
        let file = std::fs::read_dir(&new).expect("there").flatten().next().expect("one").path();
        std::fs::rename(&file, dir.path().join("cur").join(file.file_name().expect("named"))).expect("moved");
        deliver(&store, dir.path(), &id, true).await;
        assert_eq!(count(&store, dir.path(), "Junk").await, Some(0));
        assert_eq!(count(&store, dir.path(), "").await, Some(1));
    }
}
