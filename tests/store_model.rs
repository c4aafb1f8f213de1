//! The store against a plain model: random operations of clients, deliveries and other programs, reopening in between.
//!
//! The model is a list of messages per mailbox. After every operation the store must show the same messages in the
//! same order, with the same flags and bytes, and no UID may ever come twice or go down.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use facteur::clock::Clock;
use facteur::config::Layout;
use facteur::fsio::Content;
use facteur::mail::flags::Flags;
use facteur::mail::flags::SystemFlag;
use facteur::mail::ids::QueueId;
use facteur::mail::ids::SessionId;
use facteur::mail::ids::Uid;
use facteur::mail::mailbox::MailboxName;
use facteur::store::AccountStore;
use facteur::store::Delivery;
use facteur::store::FlagChange;
use facteur::store::FlagOp;
use facteur::store::KeptFlags;
use facteur::store::Mailbox;
use facteur::store::Snapshot;
use facteur::store::Store;
use facteur::store::StoreError;
use facteur::store::Vanished;
use proptest::prelude::*;

/// What a client or another program does. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Operation {
    Deliver,
    DeliverAgain,
    Append(usize, u8),
    Store(usize, u8, u8, bool),
    StoreKeyword(usize, u8),
    Copy(usize, usize, Vec<u8>),
    Move(usize, usize, Vec<u8>),
    Expunge(usize, Vec<u8>),
    Claim(usize),
    Rename,
    ForeignAdd(usize),
    ForeignRemove(usize, u8),
    ForeignFlag(usize, u8),
    Reopen(End, u16),
}

/// How the store ends before it is opened again, and what befalls the derived files. Numbers choose a file and a place
/// in it.
#[derive(Debug, Clone, Copy)]
enum End {
    Killed,
    Closed,
    StateRemoved,
    BitFlipped,
    Truncated,
    IndexesSwapped,
}

/// What a client that keeps mod-sequences knows of a mailbox (RFC 7162 §3.2.5): it asks for what changed since.
#[derive(Debug, Default)]
struct Client {
    highest: u64,
    flags: BTreeMap<u32, Flags>,
    modseqs: BTreeMap<u32, u64>,
}

/// A message of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expected {
    text: String,
    flags: BTreeSet<String>,
}

const MAILBOXES: usize = 3;

/// Lies in the Maildir, where no mailbox can have this name.
const STATE: &str = "state";
const FLAGS: [SystemFlag; 5] = SystemFlag::ALL;

struct World {
    runtime: tokio::runtime::Runtime,
    root: tempfile::TempDir,
    store: Arc<Store>,
    account: Arc<AccountStore>,
    names: Vec<MailboxName>,
    model: Vec<Vec<Expected>>,
    /// Every UID that was ever shown, per mailbox and validity, with its text.
    shown: Vec<BTreeMap<(u32, u32), String>>,
    clients: Vec<Client>,
    number: u32,
    last_id: Option<QueueId>,
}

fn name(text: &str) -> MailboxName {
    MailboxName::parse(text).expect("valid name")
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let root = tempfile::tempdir().expect("temporary folder");
        let store = Store::open_with(Clock::system(), Layout::default(), Some(&root.path().join(STATE)));
        let names = vec![MailboxName::inbox(), name("Work/Été.1"), name("Trash")];
        let account = runtime.block_on(async {
            let account = store.account(root.path()).await.expect("opened");
            account.create(&names[1]).await.expect("made");
            account
        });
        let clients = (0..MAILBOXES).map(|_| Client::default()).collect();
        let model = vec![Vec::new(); MAILBOXES];
        let shown = vec![BTreeMap::new(); MAILBOXES];
        Self { runtime, root, store, account, names, model, shown, clients, number: 0, last_id: None }
    }

    fn mailbox(&self, at: usize) -> Arc<Mailbox> {
        self.runtime.block_on(self.account.mailbox(&self.names[at])).expect("there")
    }

    fn folder(&self, at: usize) -> PathBuf {
        match at {
            0 => self.root.path().to_owned(),
            1 => self.root.path().join(if self.names[1] == name("Work/Été.1") {
                ".Work.&AMk-t&AOk-\\2e1"
            } else {
                ".Else"
            }),
            _ => self.root.path().join(".Trash"),
        }
    }

    fn text(&mut self) -> String {
        self.number += 1;
        format!("Subject: {}\n\nbody\n", self.number)
    }

    fn deliver(&self, id: QueueId, text: &str, again: bool) {
        let delivery = Delivery {
            id,
            prefix: b"Return-Path: <>\n".to_vec(),
            content: Content::from_bytes(text.as_bytes().to_vec()),
            maildirs: vec![self.root.path().to_owned()],
            received: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            again,
            special_use: None,
        };
        for outcome in self.runtime.block_on(self.store.deliver(delivery)) {
            outcome.expect("delivered");
        }
    }

    /// UIDs of the chosen messages, and their places.
    fn choose(&self, at: usize, chosen: &[u8]) -> (Vec<usize>, Vec<Uid>) {
        let snapshot = self.mailbox(at).snapshot();
        let places: BTreeSet<usize> =
            chosen.iter().map(|c| usize::from(*c)).filter(|c| *c < snapshot.messages.len()).collect();
        (places.iter().copied().collect(), places.iter().map(|p| snapshot.messages[*p].uid).collect())
    }

    /// The files of a mailbox by their text.
    fn files(&self, at: usize) -> Vec<(String, PathBuf)> {
        let mut files = Vec::new();
        for sub in ["new", "cur"] {
            for entry in std::fs::read_dir(self.folder(at).join(sub)).expect("listed") {
                let path = entry.expect("entry").path();
                files.push((std::fs::read_to_string(&path).expect("text"), path));
            }
        }
        files
    }

    fn foreign_file(&self, at: usize, place: usize) -> Option<(usize, PathBuf)> {
        let texts = &self.model[at];
        if texts.is_empty() {
            return None;
        }
        let place = place % texts.len();
        let text = &texts[place].text;
        // Copies have the same text: only what is there once is chosen.
        if texts.iter().filter(|e| e.text == *text).count() > 1 {
            return None;
        }
        self.files(at).into_iter().find(|(t, _)| t == text).map(|(_, path)| (place, path))
    }

    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Deliver => {
                let text = self.text();
                let id = SessionId::new(Duration::from_micros(1_700_000_000_000_000)).message(1);
                self.deliver(id.clone(), &text, false);
                self.last_id = Some(id);
                self.model[0].push(expected(format!("Return-Path: <>\n{text}")));
            }
            Operation::DeliverAgain => {
                // The last delivery comes again, as after a crash: nothing happens if its message is still there.
                let Some(id) = self.last_id.clone() else { return };
                let stem = format!("Q{id}.");
                if self.files(0).iter().any(|(_, path)| path.to_string_lossy().contains(&stem)) {
                    self.deliver(id, "Subject: again\n\n", true);
                }
            }
            Operation::Append(at, flag) => {
                let text = self.text();
                let flag = FLAGS[usize::from(*flag) % FLAGS.len()];
                let content = Content::from_bytes(text.clone().into_bytes());
                let mailbox = self.mailbox(*at);
                let keywords = ["$Label1".to_owned()];
                self.runtime
                    .block_on(mailbox.append(content, Flags::NONE.with(flag), &keywords, None))
                    .expect("appended");
                let flags = [flag.name().to_owned(), keywords[0].clone()].into();
                self.model[*at].push(Expected { text, flags });
            }
            Operation::Store(at, message, flag, add) => {
                let (places, uids) = self.choose(*at, &[*message]);
                let flag = FLAGS[usize::from(*flag) % FLAGS.len()];
                let op = if *add { FlagOp::Add } else { FlagOp::Remove };
                self.change(*at, &uids, op, Flags::NONE.with(flag), &[]);
                for place in places {
                    let flags = &mut self.model[*at][place].flags;
                    if *add {
                        flags.insert(flag.name().to_owned());
                    } else {
                        flags.remove(flag.name());
                    }
                }
            }
            Operation::StoreKeyword(at, message) => {
                let (places, uids) = self.choose(*at, &[*message]);
                let keyword = format!("k{}", message % 3);
                self.change(*at, &uids, FlagOp::Replace, Flags::NONE, std::slice::from_ref(&keyword));
                for place in places {
                    self.model[*at][place].flags = [keyword.clone()].into();
                }
            }
            Operation::Copy(from, to, chosen) => self.copy(*from, *to, chosen, false),
            Operation::Move(from, to, chosen) => self.copy(*from, *to, chosen, true),
            Operation::Expunge(at, chosen) => {
                let (places, uids) = self.choose(*at, chosen);
                let mailbox = self.mailbox(*at);
                assert_eq!(
                    self.runtime.block_on(mailbox.expunge(mailbox.snapshot().validity, &uids)).expect("expunged"),
                    uids
                );
                remove(&mut self.model[*at], &places);
            }
            Operation::Claim(at) => {
                let mailbox = self.mailbox(*at);
                let recent = mailbox.snapshot().recent();
                assert_eq!(self.runtime.block_on(mailbox.claim_recent()).expect("claimed").len(), recent);
                assert_eq!(mailbox.snapshot().recent(), 0);
            }
            Operation::Rename => {
                let to = if self.names[1] == name("Else") { name("Work/Été.1") } else { name("Else") };
                self.runtime.block_on(self.account.rename(&self.names[1], &to)).expect("renamed");
                self.names[1] = to;
            }
            Operation::ForeignAdd(_) | Operation::ForeignRemove(..) | Operation::ForeignFlag(..) => {
                self.apply_foreign(operation);
            }
            Operation::Reopen(end, number) => self.reopen(*end, usize::from(*number)),
        }
    }

    fn reopen(&mut self, end: End, number: usize) {
        if !matches!(end, End::Killed | End::Truncated) {
            self.store.close();
        }
        let state = self.root.path().join(STATE);
        let mut files: Vec<PathBuf> = std::fs::read_dir(state.join("mailboxes"))
            .into_iter()
            .flatten()
            .flat_map(|folder| std::fs::read_dir(folder.expect("entry").path()).expect("listed"))
            .map(|file| file.expect("entry").path())
            .collect();
        files.sort();
        let file = files.get(number % files.len().max(1));
        match end {
            End::Killed | End::Closed => {}
            End::StateRemoved => std::fs::remove_dir_all(&state).unwrap_or_default(),
            End::BitFlipped | End::Truncated => {
                if let Some(file) = file {
                    let mut octets = std::fs::read(file).expect("read");
                    let at = number.wrapping_mul(7919) % octets.len().max(1);
                    if matches!(end, End::Truncated) {
                        octets.truncate(at);
                    } else if let Some(octet) = octets.get_mut(at) {
                        *octet ^= 1 << (number % 8);
                    }
                    std::fs::write(file, octets).expect("written");
                }
            }
            End::IndexesSwapped => {
                let indexes: Vec<_> = files.iter().filter(|file| file.ends_with("index")).collect();
                if let [a, b, ..] = indexes[..] {
                    let spare = state.join("spare");
                    for (from, to) in [(a, &spare), (b, a), (&spare, b)] {
                        std::fs::rename(from, to).expect("renamed");
                    }
                }
            }
        }
        self.store = Store::open_with(Clock::system(), Layout::default(), Some(&state));
        self.account = self.runtime.block_on(self.store.account(self.root.path())).expect("opened");
    }

    /// A client that was away asks what changed since it last looked, and must then know all.
    fn resync(client: &mut Client, mailbox: &Mailbox, snapshot: &Snapshot) {
        assert!(snapshot.highest_modseq >= client.highest, "the highest mod-sequence went down");
        match mailbox.vanished_since(client.highest) {
            Vanished::Unknown => client.flags.retain(|uid, _| snapshot.find(uid_of(*uid)).is_some()),
            Vanished::These(runs) => client.flags.retain(|uid, _| {
                let gone = runs.iter().any(|(first, last)| (first.get()..=last.get()).contains(uid));
                !gone
            }),
        }
        for message in snapshot.messages.iter() {
            assert!(message.modseq <= snapshot.highest_modseq);
            let before = client.modseqs.insert(message.uid.get(), message.modseq);
            assert!(before.is_none_or(|before| before <= message.modseq), "a mod-sequence went down");
            if message.modseq > client.highest {
                client.flags.insert(message.uid.get(), message.flags);
            }
        }
        let actual: BTreeMap<u32, Flags> = snapshot.messages.iter().map(|m| (m.uid.get(), m.flags)).collect();
        assert_eq!(client.flags, actual, "what the client knows after asking since {}", client.highest);
        client.highest = snapshot.highest_modseq;
    }

    fn apply_foreign(&mut self, operation: &Operation) {
        match operation {
            Operation::ForeignAdd(at) => {
                let text = self.text();
                // In the order of time, as another program would.
                let file = self.folder(*at).join("new").join(format!("{}.P1.other", 1_800_000_000 + self.number));
                // A delivery that has no UID yet would come before or after by its name: look first.
                drop(self.mailbox(*at));
                std::fs::write(file, &text).expect("written");
                self.model[*at].push(expected(text));
            }
            Operation::ForeignRemove(at, place) => {
                if let Some((place, path)) = self.foreign_file(*at, usize::from(*place)) {
                    drop(self.mailbox(*at));
                    std::fs::remove_file(path).expect("removed");
                    self.model[*at].remove(place);
                }
            }
            Operation::ForeignFlag(at, place) => {
                if let Some((place, path)) = self.foreign_file(*at, usize::from(*place)) {
                    let file = path.file_name().expect("a name").to_string_lossy().into_owned();
                    let base = file.split(':').next().expect("a base");
                    let to = self.folder(*at).join("cur").join(format!("{base}:2,PS"));
                    std::fs::rename(path, to).expect("renamed");
                    self.model[*at][place].flags = ["\\Seen".to_owned()].into();
                }
            }
            other => panic!("not a foreign operation: {other:?}"),
        }
    }

    fn change(&self, at: usize, uids: &[Uid], op: FlagOp, system: Flags, keywords: &[String]) {
        let change = FlagChange { op, system, keywords: keywords.to_vec() };
        let mailbox = self.mailbox(at);
        self.runtime.block_on(mailbox.store(mailbox.snapshot().validity, uids, change)).expect("stored");
    }

    fn copy(&mut self, from: usize, to: usize, chosen: &[u8], and_remove: bool) {
        let (source, target) = (self.mailbox(from), self.mailbox(to));
        let (places, uids) = self.choose(from, chosen);
        let copies: Vec<Expected> = places.iter().map(|p| self.model[from][*p].clone()).collect();
        let copied = if and_remove {
            self.runtime.block_on(source.move_to(source.snapshot().validity, &uids, &target, KeptFlags::all()))
        } else {
            self.runtime.block_on(source.copy(source.snapshot().validity, &uids, &target, KeptFlags::all()))
        };
        let copied = copied.expect("copied");
        assert_eq!(copied.pairs.iter().map(|p| p.0).collect::<Vec<_>>(), uids);
        assert_eq!(copied.validity, target.snapshot().validity);
        self.model[to].extend(copies);
        if and_remove {
            remove(&mut self.model[from], &places);
        }
    }

    fn check(&mut self) {
        for at in 0..MAILBOXES {
            let mailbox = self.mailbox(at);
            let snapshot = mailbox.snapshot();
            let actual: Vec<Expected> = snapshot.messages.iter().map(|m| actual(&mailbox, &snapshot, m.uid)).collect();
            assert_eq!(actual, self.model[at], "mailbox {at}");
            assert!(snapshot.messages.iter().is_sorted_by(|a, b| a.uid < b.uid));
            // Not at each look, so that several changes lie between two questions.
            if self.number.is_multiple_of(2) {
                Self::resync(&mut self.clients[at], &mailbox, &snapshot);
            }
            let uids: Vec<Uid> = snapshot.messages.iter().map(|m| m.uid).collect();
            let sizes = self.runtime.block_on(mailbox.sizes(&uids)).expect("sizes");
            for ((uid, size), message) in sizes.into_iter().zip(&actual) {
                let lines = message.text.matches('\n').count();
                assert_eq!(size, (message.text.len() + lines) as u64, "size of {uid}");
                let before = self.shown[at].insert((snapshot.validity.get(), uid.get()), message.text.clone());
                assert!(before.is_none_or(|text| text == message.text), "{uid} names another message");
                assert!(uid < snapshot.next);
            }
            if let Some(((_, last), _)) = self.shown[at].last_key_value() {
                assert!(snapshot.next.get() > *last, "UIDNEXT went down");
            }
            assert!(self.shown[at].keys().all(|(v, _)| *v == snapshot.validity.get()), "UIDVALIDITY changed");
        }
    }
}

fn uid_of(n: u32) -> Uid {
    Uid::new(n).expect("not zero")
}

fn expected(text: String) -> Expected {
    Expected { text, flags: BTreeSet::new() }
}

fn remove(list: &mut Vec<Expected>, places: &[usize]) {
    for place in places.iter().rev() {
        list.remove(*place);
    }
}

fn actual(mailbox: &Arc<Mailbox>, snapshot: &Snapshot, uid: Uid) -> Expected {
    let text = String::from_utf8(mailbox.read_blocking(uid).expect("read")).expect("text");
    let flags = snapshot.find(uid).expect("there").flags;
    let keywords = flags.keywords().map(|k| snapshot.keywords[k.index()].clone());
    Expected { text, flags: flags.system().map(|f| f.name().to_owned()).chain(keywords).collect() }
}

fn operation() -> impl Strategy<Value = Operation> {
    let at = 0..MAILBOXES;
    let some = proptest::collection::vec(0u8..8, 0..4);
    prop_oneof![
        4 => Just(Operation::Deliver),
        1 => Just(Operation::DeliverAgain),
        2 => (at.clone(), any::<u8>()).prop_map(|(a, f)| Operation::Append(a, f)),
        3 => (at.clone(), 0u8..8, any::<u8>(), any::<bool>()).prop_map(|(a, m, f, s)| Operation::Store(a, m, f, s)),
        1 => (at.clone(), 0u8..8).prop_map(|(a, m)| Operation::StoreKeyword(a, m)),
        2 => (at.clone(), at.clone(), some.clone()).prop_map(|(f, t, s)| Operation::Copy(f, t, s)),
        2 => (at.clone(), at.clone(), some.clone()).prop_map(|(f, t, s)| Operation::Move(f, t, s)),
        2 => (at.clone(), some).prop_map(|(a, s)| Operation::Expunge(a, s)),
        1 => at.clone().prop_map(Operation::Claim),
        1 => Just(Operation::Rename),
        2 => at.clone().prop_map(Operation::ForeignAdd),
        1 => (at.clone(), any::<u8>()).prop_map(|(a, p)| Operation::ForeignRemove(a, p)),
        1 => (at, any::<u8>()).prop_map(|(a, p)| Operation::ForeignFlag(a, p)),
        2 => (end(), any::<u16>()).prop_map(|(e, n)| Operation::Reopen(e, n)),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::Killed),
        3 => Just(End::Closed),
        1 => Just(End::StateRemoved),
        1 => Just(End::BitFlipped),
        1 => Just(End::Truncated),
        1 => Just(End::IndexesSwapped),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(operations in proptest::collection::vec(operation(), 1..30)) {
        let mut world = World::new();
        for operation in &operations {
            world.apply(operation);
            world.check();
        }
        for end in [End::Killed, End::Closed, End::StateRemoved] {
            world.number += world.number % 2;
            world.reopen(end, 0);
            world.check();
        }
    }
}

fn delivery(id: u64, maildir: &Path) -> Delivery {
    Delivery {
        id: SessionId::new(Duration::from_micros(id)).message(1),
        prefix: Vec::new(),
        content: Content::from_bytes(format!("Subject: {id}\n\n").into_bytes()),
        maildirs: vec![maildir.to_owned()],
        received: SystemTime::UNIX_EPOCH,
        special_use: None,
        again: false,
    }
}

#[test]
fn deliveries_expunges_and_readers_at_once() {
    let root = tempfile::tempdir().expect("temporary folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let store = Store::open(Clock::system());
    let maildir = root.path().to_owned();
    runtime.block_on(async {
        let account = store.account(&maildir).await.expect("opened");
        let mailbox = account.mailbox(&MailboxName::inbox()).await.expect("inbox");
        let mut changes = mailbox.changes();
        let senders: Vec<_> = (0..4u64)
            .map(|sender| {
                let (store, maildir) = (Arc::clone(&store), maildir.clone());
                tokio::spawn(async move {
                    for n in 0..25 {
                        for outcome in store.deliver(delivery(1_000_000 * sender + n, &maildir)).await {
                            outcome.expect("delivered");
                        }
                    }
                })
            })
            .collect();
        let expunger = {
            let mailbox = Arc::clone(&mailbox);
            tokio::spawn(async move {
                let mut texts = BTreeSet::new();
                while texts.len() < 100 {
                    let uids: Vec<Uid> = mailbox.snapshot().messages.iter().map(|m| m.uid).collect();
                    for uid in &uids {
                        assert!(texts.insert(mailbox.read(*uid).await.expect("read")), "a message came twice");
                    }
                    if uids.is_empty() {
                        // Deliveries are shown by themselves to who waits.
                        changes.changed().await.expect("alive");
                        continue;
                    }
                    let seen = FlagChange {
                        op: FlagOp::Add,
                        system: Flags::NONE.with(SystemFlag::Seen),
                        keywords: Vec::new(),
                    };
                    mailbox.store(mailbox.snapshot().validity, &uids, seen).await.expect("stored");
                    assert_eq!(mailbox.expunge(mailbox.snapshot().validity, &uids).await.expect("expunged"), uids);
                }
            })
        };
        for sender in senders {
            sender.await.expect("no panic");
        }
        tokio::time::timeout(Duration::from_secs(20), expunger).await.expect("in time").expect("no panic");
        let snapshot = mailbox.refresh().await.expect("refreshed");
        assert!(snapshot.messages.is_empty());
        assert_eq!(snapshot.next.get(), 101);
    });
}

#[test]
fn one_message_for_several_inboxes_is_written_once() {
    use std::os::unix::fs::MetadataExt;
    let root = tempfile::tempdir().expect("temporary folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let store = Store::open(Clock::system());
    let maildirs: Vec<PathBuf> = ["a", "b", "a", "c"].iter().map(|n| root.path().join(n)).collect();
    std::fs::write(root.path().join("file"), b"").expect("written");
    let mut message = delivery(5, &maildirs[0]);
    message.maildirs.clone_from(&maildirs);
    message.maildirs.push(root.path().join("file/impossible"));
    let outcomes = runtime.block_on(store.deliver(message));
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, true, true, false]);
    for maildir in &maildirs {
        let files: Vec<_> = std::fs::read_dir(maildir.join("new")).expect("listed").collect();
        assert_eq!(files.len(), 1);
        assert_eq!(std::fs::read_dir(maildir.join("tmp")).expect("listed").count(), 0);
        assert_eq!(files[0].as_ref().expect("entry").metadata().expect("metadata").nlink(), 3);
    }
    let account = runtime.block_on(store.account(&maildirs[0])).expect("opened");
    let listed = runtime.block_on(account.list()).expect("listed");
    let names: Vec<&str> = listed.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]);
    assert!(listed[1..].iter().all(|l| l.subscribed && l.special_use.is_some() && l.selectable));
}

#[test]
fn the_tree() {
    let root = tempfile::tempdir().expect("temporary folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let store = Store::open(Clock::system());
    runtime.block_on(async {
        let account = store.account(root.path()).await.expect("opened");
        account.create(&name("a/b")).await.expect("made");
        assert!(matches!(account.create(&name("a/b")).await, Err(StoreError::AlreadyExists)));
        assert!(matches!(account.create(&name("inbox")).await, Err(StoreError::AlreadyExists)));
        assert!(matches!(account.mailbox(&name("a")).await, Err(StoreError::NoSuchMailbox)));
        let listed = account.list().await.expect("listed");
        assert!(listed.iter().any(|l| l.name == name("a") && !l.selectable));

        let live = account.mailbox(&name("a/b")).await.expect("live");
        let first = live.snapshot().validity;
        live.append(Content::from_bytes(b"x\n".to_vec()), Flags::NONE, &[], None).await.expect("appended");
        account.rename(&name("a"), &name("c")).await.expect("renamed");
        assert_eq!(live.name(), name("c/b"));
        assert_eq!(live.refresh().await.expect("there").messages.len(), 1);
        assert!(Arc::ptr_eq(&live, &account.mailbox(&name("c/b")).await.expect("live")));
        assert!(matches!(account.rename(&name("c"), &name("c/d")).await, Err(StoreError::Cannot(_))));

        account.delete(&name("c/b")).await.expect("deleted");
        assert!(matches!(live.refresh().await, Err(StoreError::NoSuchMailbox)));
        assert!(matches!(live.read(Uid::FIRST).await, Err(StoreError::MessageGone)));
        account.create(&name("a/b")).await.expect("made again");
        let again = account.status(&name("a/b")).await.expect("there");
        assert!(again.validity > first && again.messages.is_empty());

        for outcome in store.deliver(delivery(7, root.path())).await {
            outcome.expect("delivered");
        }
        account.rename(&MailboxName::inbox(), &name("old")).await.expect("renamed");
        assert_eq!(account.status(&name("old")).await.expect("there").messages.len(), 1);
        assert!(account.status(&MailboxName::inbox()).await.expect("there").messages.is_empty());

        account.subscribe(&name("gone")).await.expect("subscribed");
        assert!(account.subscriptions().await.expect("read").contains(&name("gone")));
        account.unsubscribe(&name("gone")).await.expect("unsubscribed");
        assert!(!account.subscriptions().await.expect("read").contains(&name("gone")));
    });
}

#[test]
fn a_maildir_replaced_as_a_whole_is_read_again() {
    let root = tempfile::tempdir().expect("temporary folder");
    let maildir = root.path().join("Maildir");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let store = Store::open(Clock::system());
    runtime.block_on(async {
        let account = store.account(&maildir).await.expect("opened");
        for n in 0..3 {
            for outcome in store.deliver(delivery(n, &maildir)).await {
                outcome.expect("delivered");
            }
        }
        let mailbox = account.mailbox(&MailboxName::inbox()).await.expect("inbox");
        let before = mailbox.snapshot();
        assert_eq!(before.messages.len(), 3);

        std::fs::remove_dir_all(&maildir).expect("removed");
        for sub in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(maildir.join(sub)).expect("made");
        }
        std::fs::write(maildir.join("cur/1.a:2,S"), b"restored\n").expect("written");
        let after = mailbox.refresh().await.expect("read again");
        assert_eq!(after.messages.len(), 1);
        assert!(after.validity > before.validity);
        assert_eq!(mailbox.read(after.messages[0].uid).await.expect("read"), b"restored\n");

        std::fs::remove_dir_all(&maildir).expect("removed");
        for sub in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(maildir.join(sub)).expect("made");
        }
        std::fs::write(maildir.join("cur/1.b:2,"), b"other\n").expect("written");
        std::fs::write(maildir.join("dovecot-uidlist"), b"3 V77 N9 Gx\n5 :1.b\n").expect("written");
        let last = account.status(&MailboxName::inbox()).await.expect("read again");
        assert_eq!((last.validity.get(), last.next.get(), last.messages[0].uid.get()), (77, 9, 5));
    });
}

#[test]
fn what_is_no_message_is_passed_over() {
    let root = tempfile::tempdir().expect("temporary folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let store = Store::open(Clock::system());
    runtime.block_on(async {
        let account = store.account(root.path()).await.expect("opened");
        let cur = root.path().join("cur");
        std::os::unix::fs::symlink("/etc/passwd", cur.join("1.link:2,")).expect("linked");
        std::fs::create_dir(cur.join("2.folder")).expect("made");
        std::fs::write(cur.join("3.bad\nname"), b"x").expect("written");
        std::fs::write(cur.join("4.empty:2,"), b"").expect("written");
        std::fs::create_dir(root.path().join(".&bad")).expect("made");
        std::os::unix::fs::symlink("/etc", root.path().join(".link")).expect("linked");
        let mailbox = account.mailbox(&MailboxName::inbox()).await.expect("inbox");
        let snapshot = mailbox.snapshot();
        assert_eq!(snapshot.messages.len(), 1);
        assert!(mailbox.read(snapshot.messages[0].uid).await.expect("read").is_empty());
        assert_eq!(account.list().await.expect("listed").len(), 6);
        // Planted after it was read: still not followed.
        std::fs::remove_file(cur.join("4.empty:2,")).expect("removed");
        std::os::unix::fs::symlink("/etc/passwd", cur.join("4.empty:2,")).expect("linked");
        assert!(mailbox.read(snapshot.messages[0].uid).await.is_err());
    });
}
