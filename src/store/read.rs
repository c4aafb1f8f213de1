//! Reading messages: bytes, sizes, dates.

use std::collections::HashMap;
use std::io;
use std::io::Read;

use crate::fsio;
use crate::mail::ids::Uid;
use crate::mail::line_feeds;

use super::change::file;
use super::compressed::MessageFile;
use super::context::lock;
use super::error::Result;
use super::error::StoreError;
use super::file_name;
use super::mailbox::Mailbox;
use super::snapshot::Message;
use super::uidlist;

/// Another program may rename a file between our look and our opening; so often we look again.
const TRIES: u32 = 3;

impl Mailbox {
    /// See [`Mailbox::read`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn read_blocking(&self, uid: Uid) -> Result<Vec<u8>> {
        let mut file = self.open_message_blocking(uid)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| self.unread(uid, error))?;
        Ok(bytes)
    }

    /// What it means that a message could not be read: one that is compressed in a way that we cannot undo is
    /// [`StoreError::MessageGone`], so that it keeps nobody from the others, and the operator is told.
    #[must_use]
    pub fn unread(&self, uid: Uid, error: io::Error) -> StoreError {
        if !MessageFile::is_unreadable(&error) {
            return StoreError::io("reading a message")(error);
        }
        let folder = lock(&self.place).folder.clone();
        tracing::error!(folder = %folder.display(), %uid, %error, "a message cannot be read and is left out");
        StoreError::MessageGone
    }

    /// See [`Mailbox::open_message`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn open_message_blocking(&self, uid: Uid) -> Result<MessageFile> {
        for tries in 0..TRIES {
            let (message, name) = self.files(&[uid]).pop().ok_or(StoreError::MessageGone)?;
            let folder = self.folder().map_err(|_| StoreError::MessageGone)?;
            match fsio::open_regular_sized(&file(&folder, &message, &name)) {
                Ok(file) => return MessageFile::new(file, &name).map_err(|error| self.unread(uid, error)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("opening a message")(error)),
            }
            // One of us is just renaming it: the lock waits for that. Otherwise somebody else did.
            let mut work = self.work();
            let same = self.files(&[uid]).pop().is_some_and(|(_, now)| now == name);
            if same {
                self.look_again(&mut work, tries).map_err(|_| StoreError::MessageGone)?;
            }
        }
        Err(StoreError::MessageGone)
    }

    /// See [`Mailbox::sizes`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn sizes_blocking(&self, uids: &[Uid]) -> Result<Vec<(Uid, u64)>> {
        self.learn(uids, Message::wire_size, |message, size| message.set_wire_size(Some(size)), count_wire_octets)
    }

    /// See [`Mailbox::dates`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn dates_blocking(&self, uids: &[Uid]) -> Result<Vec<(Uid, i64)>> {
        self.learn(uids, Message::date, |message, date| message.set_date(Some(date)), |file| file.modified())
    }

    /// When messages were saved in this mailbox (RFC 8514 §2), seconds since 1970, of those that are there, in the order
    /// of `uids`; `None` for one that nothing tells it of. Opens no file and looks at no disk.
    #[must_use]
    pub fn saved(&self, uids: &[Uid]) -> Vec<(Uid, Option<i64>)> {
        let shown = self.shown();
        let places = uids.iter().filter_map(|uid| shown.table.find(*uid));
        let entries = places.map(|place| shown.table.get(place));
        entries.map(|entry| (entry.message.uid, file_name::named_at(entry.name))).collect()
    }

    /// See [`Mailbox::saved_uidls`]; for callers on a blocking thread.
    ///
    /// # Errors
    /// As there.
    pub fn saved_uidls_blocking(&self) -> Result<HashMap<Uid, Box<str>>> {
        let mut work = self.work();
        self.look_if_new(&mut work)?;
        let saved = work.fields.iter().filter_map(|(uid, fields)| {
            if let Some(text) = uidlist::text_field(fields, b'P') {
                return Some((*uid, text.into()));
            }
            // Dovecot leaves out a UIDL that is the base of the file's name.
            fields.split(|b| *b == b' ').find(|word| *word == b"P")?;
            let (_, name) = self.files(&[*uid]).pop()?;
            let base = std::str::from_utf8(file_name::base(&name)).ok()?;
            base.bytes().all(|b| b.is_ascii_graphic()).then(|| (*uid, base.into()))
        });
        Ok(saved.collect())
    }

    /// Something about messages that is in memory for most of them, and otherwise found in their files.
    fn learn<T: Copy>(
        &self,
        uids: &[Uid],
        known: impl Fn(&Message) -> Option<T>,
        set: impl Fn(&mut Message, T),
        find: impl Fn(&mut MessageFile) -> io::Result<T>,
    ) -> Result<Vec<(Uid, T)>> {
        let mut all = Vec::with_capacity(uids.len());
        let mut missing = Vec::new();
        let shown = self.shown();
        for place in uids.iter().filter_map(|uid| shown.table.find(*uid)) {
            let message = shown.table.get(place).message;
            match known(message) {
                Some(value) => all.push((message.uid, value)),
                None => missing.push(message.uid),
            }
        }
        drop(shown);
        if missing.is_empty() {
            return Ok(all);
        }
        let mut learnt = Vec::with_capacity(missing.len());
        for uid in missing {
            let found = self.open_message_blocking(uid);
            match found.and_then(|mut file| find(&mut file).map_err(|error| self.unread(uid, error))) {
                Ok(value) => learnt.push((uid, value)),
                Err(StoreError::MessageGone) => {}
                Err(error) => return Err(error),
            }
        }
        let mut shown = self.shown_mut();
        for (uid, value) in &learnt {
            if let Some(place) = shown.table.find(*uid) {
                shown.table.change(place, |message| set(message, *value));
            }
        }
        shown.learnt();
        drop(shown);
        all.extend(learnt);
        all.sort_by_key(|(uid, _)| *uid);
        Ok(all)
    }
}

/// Octets with every line ended by CRLF.
fn count_wire_octets(file: &mut MessageFile) -> io::Result<u64> {
    let mut buffer = vec![0; 65_536];
    let (mut octets, mut previous) = (0, 0);
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => return Ok(octets),
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        octets += n as u64 + line_feeds::alone(&buffer[..n], &mut previous);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::mail::mailbox::MailboxName;
    use crate::store::KeptFlags;
    use crate::store::Store;

    #[tokio::test]
    async fn what_cannot_be_decompressed_keeps_nobody_from_the_rest() {
        let maildir = tempfile::tempdir().expect("temporary folder");
        for sub in ["cur", "new", "tmp"] {
            std::fs::create_dir(maildir.path().join(sub)).expect("made");
        }
        for (name, bytes) in
            [("1.a:2,S", &b"\x1f\x8b broken"[..]), ("2.b:2,S", b"BZh91AY&SY..."), ("3.c:2,S", b"x: y\n\n")]
        {
            std::fs::write(maildir.path().join("cur").join(name), bytes).expect("written");
        }
        let account = Store::open(Clock::system()).account(maildir.path()).await.expect("opened");
        let inbox = account.mailbox(&MailboxName::inbox()).await.expect("there");
        let uids: Vec<Uid> = inbox.snapshot().messages.iter().map(|m| m.uid).collect();
        assert_eq!(inbox.sizes(&uids).await.expect("read"), [(uids[2], 8)]);
        for uid in &uids[..2] {
            assert!(matches!(inbox.read(*uid).await, Err(StoreError::MessageGone)));
        }
        assert_eq!(inbox.read(uids[2]).await.expect("read"), b"x: y\n\n");
    }

    #[tokio::test]
    async fn a_copy_is_saved_when_it_is_made_and_flags_change_nothing() {
        let maildir = tempfile::tempdir().expect("temporary folder");
        for sub in ["cur", "new", "tmp"] {
            std::fs::create_dir(maildir.path().join(sub)).expect("made");
        }
        for name in ["1000000000.a:2,S", "other.b:2,S"] {
            std::fs::write(maildir.path().join("cur").join(name), b"x: y\n\n").expect("written");
        }
        let account = Store::open(Clock::system()).account(maildir.path()).await.expect("opened");
        let inbox = account.mailbox(&MailboxName::inbox()).await.expect("there");
        let snapshot = inbox.snapshot();
        let uids: Vec<Uid> = snapshot.messages.iter().map(|m| m.uid).collect();
        let mut saved: Vec<Option<i64>> = inbox.saved(&uids).into_iter().map(|(_, saved)| saved).collect();
        saved.sort_unstable();
        assert_eq!(saved, [None, Some(1_000_000_000)]);
        let copied = inbox.copy(snapshot.validity, &uids, &inbox, KeptFlags::all()).await.expect("copied");
        let copies: Vec<Uid> = copied.pairs.iter().map(|(_, copy)| *copy).collect();
        for (_, saved) in inbox.saved(&copies) {
            assert!(saved.is_some_and(|time| time > 1_700_000_000));
        }
    }

    #[tokio::test]
    async fn uidls_that_another_server_saved() {
        let maildir = tempfile::tempdir().expect("temporary folder");
        for sub in ["cur", "new", "tmp"] {
            std::fs::create_dir(maildir.path().join(sub)).expect("made");
        }
        for name in ["1.a,S=2:2,S", "2.b:2,S", "3.c:2,", "4.\u{e4}:2,", "5.e:2,"] {
            std::fs::write(maildir.path().join("cur").join(name), "\nx").expect("written");
        }
        let list = "3 V1 N9\n1 P :1.a,S=2\n2 W3 Pown G7 :2.b\n3 W3 :3.c\n4 P :4.\u{e4}\n5 P G7 :5.e\n";
        std::fs::write(maildir.path().join(uidlist::FILE), list).expect("written");
        let account = Store::open(Clock::system()).account(maildir.path()).await.expect("opened");
        let inbox = account.mailbox(&MailboxName::inbox()).await.expect("there");
        let saved = inbox.saved_uidls().await.expect("read");
        let mut saved: Vec<(u32, &str)> = saved.iter().map(|(uid, text)| (uid.get(), &**text)).collect();
        saved.sort_unstable();
        assert_eq!(saved, [(1, "1.a,S=2"), (2, "own"), (5, "5.e")]);
    }
}
