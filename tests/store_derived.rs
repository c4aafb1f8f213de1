//! What is derived from a Maildir and lies in the state folder: believed where it holds, made anew where it does not,
//! and never in anybody's way. And what other programs do to a mailbox while it is open.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use facteur::clock::Clock;
use facteur::config::Layout;
use facteur::mail::flags::Flags;
use facteur::mail::flags::SystemFlag;
use facteur::mail::ids::Uid;
use facteur::mail::mailbox::MailboxName;
use facteur::store::CacheKind;
use facteur::store::CacheReader;
use facteur::store::FlagChange;
use facteur::store::FlagOp;
use facteur::store::KeptFlags;
use facteur::store::Mailbox;
use facteur::store::Snapshot;
use facteur::store::Store;
use facteur::store::Vanished;

struct World {
    runtime: tokio::runtime::Runtime,
    root: tempfile::TempDir,
    clock: Clock,
    store: Arc<Store>,
}

impl World {
    /// A Maildir with so many messages, of a time long ago.
    fn new(messages: u32) -> Self {
        let root = tempfile::tempdir().expect("temporary folder");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let clock = Clock::by_hand(SystemTime::now());
        let store = Store::open_with(clock.clone(), Layout::default(), Some(&root.path().join("state")));
        let world = Self { runtime, root, clock, store };
        drop(world.inbox());
        for n in 0..messages {
            let flags = ["", "S", "FS", "RS", "ST"][n as usize % 5];
            std::fs::write(world.cur().join(format!("18000{n:05}.M1P1.host,S=19,W=22:2,{flags}")), TEXT)
                .expect("written");
        }
        world.settle();
        world
    }

    fn maildir(&self) -> PathBuf {
        self.root.path().join("alice")
    }

    fn cur(&self) -> PathBuf {
        self.maildir().join("cur")
    }

    fn inbox(&self) -> Arc<Mailbox> {
        self.runtime.block_on(async {
            let account = self.store.account(&self.maildir()).await.expect("made");
            account.mailbox(&MailboxName::inbox()).await.expect("there")
        })
    }

    /// The folders were not touched for a while, as far as anybody can tell.
    fn settle(&self) {
        self.clock.advance(Duration::from_secs(3600));
    }

    /// The server ends, properly or not, and starts again.
    fn restart(&mut self, properly: bool) {
        if properly {
            self.store.close();
        }
        self.store = Store::open_with(self.clock.clone(), Layout::default(), Some(&self.root.path().join("state")));
    }

    /// Where the derived files of the inbox lie.
    fn index_folder(&self) -> PathBuf {
        let folders = std::fs::read_dir(self.root.path().join("state/mailboxes")).expect("listed");
        let mut folders = folders.map(|folder| folder.expect("entry").path());
        folders.next().expect("one mailbox was opened")
    }

    fn index(&self) -> PathBuf {
        let index = self.index_folder().join("index");
        assert!(index.exists());
        index
    }

    fn flag(&self, inbox: &Arc<Mailbox>, uid: u32, op: FlagOp, flag: SystemFlag) -> Arc<Snapshot> {
        let change = FlagChange { op, system: Flags::NONE.with(flag), keywords: Vec::new() };
        self.runtime.block_on(inbox.store(inbox.snapshot().validity, &[self::uid(uid)], change)).expect("stored")
    }
}

const TEXT: &str = "Subject: few\n\ntext\n";

fn uid(n: u32) -> Uid {
    Uid::new(n).expect("not zero")
}

/// UID, flags, mod-sequence.
fn shown(snapshot: &Snapshot) -> Vec<(u32, Flags, u64)> {
    snapshot.messages.iter().map(|m| (m.uid.get(), m.flags, m.modseq)).collect()
}

/// UID and flags.
fn uids(snapshot: &Snapshot) -> Vec<(u32, Flags)> {
    snapshot.messages.iter().map(|m| (m.uid.get(), m.flags)).collect()
}

#[test]
fn an_index_that_holds_is_all_that_is_read() {
    let mut world = World::new(600);
    let before = world.inbox().snapshot();
    world.settle();
    world.restart(true);
    let inbox = world.inbox();
    assert_eq!((shown(&inbox.snapshot()), inbox.scans()), (shown(&before), 0));
    assert_eq!((inbox.snapshot().next, inbox.snapshot().validity), (before.next, before.validity));
    // What came since is found, and nothing else changes.
    drop(inbox);
    world.restart(true);
    std::fs::write(world.maildir().join("new/1900000000.P1.other"), TEXT).expect("written");
    let inbox = world.inbox();
    assert_eq!(shown(&inbox.snapshot())[..600], shown(&before)[..]);
    assert_eq!((inbox.snapshot().messages.len(), inbox.scans()), (601, 1));
}

#[test]
fn flags_and_expunges_after_the_index_survive_a_kill() {
    let mut world = World::new(300);
    let inbox = world.inbox();
    let first = inbox.snapshot().highest_modseq;
    world.store.close();
    world.flag(&inbox, 7, FlagOp::Add, SystemFlag::Answered);
    // There and back: the file has its old name again, and only the journal knows.
    world.flag(&inbox, 8, FlagOp::Add, SystemFlag::Flagged);
    let second = world.flag(&inbox, 8, FlagOp::Remove, SystemFlag::Flagged);
    world.runtime.block_on(inbox.expunge(inbox.snapshot().validity, &[uid(9), uid(10), uid(12)])).expect("expunged");
    let before = inbox.snapshot();
    drop(inbox);
    world.restart(false);
    let inbox = world.inbox();
    assert_eq!(shown(&inbox.snapshot()), shown(&before));
    assert_eq!(inbox.snapshot().find(uid(8)).map(|m| m.modseq), second.find(uid(8)).map(|m| m.modseq));
    let gone = |runs: &[(u32, u32)]| Vanished::These(runs.iter().map(|(a, b)| (uid(*a), uid(*b))).collect());
    assert_eq!(inbox.vanished_since(first), gone(&[(9, 10), (12, 12)]));
    assert_eq!(inbox.vanished_since(before.highest_modseq), gone(&[]));
}

#[test]
fn after_a_power_cut_all_that_may_have_been_shown_is_old() {
    let mut world = World::new(20);
    let inbox = world.inbox();
    world.store.close();
    let shown_once = world.flag(&inbox, 7, FlagOp::Add, SystemFlag::Answered).highest_modseq;
    let names = std::fs::read_dir(world.cur()).expect("listed").map(|e| e.expect("entry").path());
    let renamed =
        names.into_iter().find(|p| p.to_string_lossy().ends_with(":2,RS") && p.to_string_lossy().contains("00006"));
    // The rename was not synced: the old name is back. The journal was, and begun before the machine started.
    let renamed = renamed.expect("the file of message 7");
    let old = PathBuf::from(renamed.to_string_lossy().replace(":2,RS", ":2,S"));
    drop(inbox);
    std::fs::rename(&renamed, &old).expect("renamed");
    let journal = world.index().with_file_name("journal");
    let mut octets = std::fs::read(&journal).expect("a journal");
    let another_start = &mut octets[16..48];
    another_start[16] ^= 1;
    let checksum = !crc32fast::hash(&another_start[8..]);
    another_start[4..8].copy_from_slice(&checksum.to_le_bytes());
    world.clock.advance(Duration::from_millis(1));
    for left in [octets.as_slice(), b""] {
        std::fs::write(&journal, left).expect("written");
        world.restart(false);
        let inbox = world.inbox();
        assert!(inbox.snapshot().messages.iter().all(|m| m.modseq > shown_once));
        assert_eq!(inbox.vanished_since(shown_once), Vanished::Unknown);
        assert!(inbox.snapshot().find(uid(7)).is_some_and(|m| m.flags == Flags::of_letters(b"S")));
    }
}

#[test]
fn damage_to_the_index_costs_nothing_but_time() {
    let mut world = World::new(100);
    let before = uids(&world.inbox().snapshot());
    world.settle();
    world.restart(true);
    let path = world.index();
    let whole = std::fs::read(&path).expect("read");
    let cuts = (0..whole.len()).step_by(64).map(|cut| whole[..cut].to_vec());
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let flips = (0..flips()).map(|_| {
        // xorshift: the same flips each time.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut damaged = whole.clone();
        let bit = usize::try_from(state).expect("64 bits") % (damaged.len() * 8);
        damaged[bit / 8] ^= 1 << (bit % 8);
        damaged
    });
    for damaged in cuts.chain(flips.collect::<Vec<_>>()) {
        std::fs::write(&path, damaged).expect("written");
        world.restart(false);
        assert_eq!(uids(&world.inbox().snapshot()), before);
    }
    std::fs::remove_file(&path).expect("removed");
    world.restart(false);
    assert_eq!(uids(&world.inbox().snapshot()), before);
}

/// Random bits to flip: 10,000 of them by hand, with FACTEUR_FLIPS.
fn flips() -> usize {
    std::env::var("FACTEUR_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(500)
}

#[test]
fn the_index_of_another_mailbox_is_not_believed() {
    let (mut one, two) = (World::new(50), World::new(70));
    let before = uids(&one.inbox().snapshot());
    drop(two.inbox());
    one.settle();
    one.restart(true);
    two.store.close();
    std::fs::copy(two.index(), one.index()).expect("copied");
    one.restart(false);
    assert_eq!(uids(&one.inbox().snapshot()), before);
    // The mailbox goes on with a new one.
    one.settle();
    one.restart(true);
    one.restart(false);
    let inbox = one.inbox();
    assert_eq!((uids(&inbox.snapshot()), inbox.scans()), (before, 0));
}

#[test]
fn without_room_for_derived_files_mail_is_served() {
    let mut world = World::new(50);
    let before = uids(&world.inbox().snapshot());
    world.restart(true);
    let state = world.root.path().join("state");
    std::fs::remove_dir_all(&state).expect("removed");
    std::fs::write(&state, b"not a folder").expect("written");
    world.restart(true);
    let inbox = world.inbox();
    assert_eq!(uids(&inbox.snapshot()), before);
    let after = world.flag(&inbox, 3, FlagOp::Add, SystemFlag::Draft);
    assert!(after.find(uid(3)).is_some_and(|m| m.flags.has(SystemFlag::Draft)));
    world.restart(true);
    assert_eq!(uids(&world.inbox().snapshot()), uids(&after));
}

/// A string that belongs to one message alone.
fn string_of(n: u32) -> Vec<u8> {
    format!("Subject: {n}\n\n").repeat(20).into_bytes()
}

fn remember(inbox: &Arc<Mailbox>, uids: std::ops::RangeInclusive<u32>, kind: CacheKind) {
    let strings = uids.map(|n| (uid(n), vec![(kind, string_of(n))])).collect();
    inbox.remember(inbox.snapshot().validity, strings);
}

/// How many of the messages have the string; none may have another one.
fn remembered(inbox: &Arc<Mailbox>, kind: CacheKind) -> usize {
    let mut reader = inbox.cache_reader();
    let has = |n: u32, reader: &mut CacheReader| {
        let found = reader.get(uid(n)).and_then(|cached| cached.get(kind).map(<[u8]>::to_vec));
        found.inspect(|found| assert_eq!(*found, string_of(n), "message {n}")).is_some()
    };
    let uids: Vec<u32> = inbox.snapshot().messages.iter().map(|m| m.uid.get()).collect();
    uids.into_iter().filter(|n| has(*n, &mut reader)).count()
}

#[test]
fn what_was_dear_to_make_is_kept() {
    let mut world = World::new(500);
    let inbox = world.inbox();
    remember(&inbox, 1..=300, CacheKind::Header);
    remember(&inbox, 101..=200, CacheKind::Envelope);
    assert_eq!((remembered(&inbox, CacheKind::Header), remembered(&inbox, CacheKind::Envelope)), (300, 100));
    drop(inbox);
    // By the index, by what was appended after it, and by the cache alone.
    world.settle();
    world.restart(true);
    let inbox = world.inbox();
    assert_eq!((inbox.scans(), remembered(&inbox, CacheKind::Header)), (0, 300));
    remember(&inbox, 301..=400, CacheKind::Header);
    drop(inbox);
    world.restart(false);
    assert_eq!(remembered(&world.inbox(), CacheKind::Header), 400);
    world.restart(true);
    std::fs::remove_file(world.index()).expect("removed");
    world.restart(false);
    let inbox = world.inbox();
    assert_eq!((remembered(&inbox, CacheKind::Header), remembered(&inbox, CacheKind::Envelope)), (400, 100));
    // Of what is gone nothing is told, and another name of the mailbox changes nothing.
    world.runtime.block_on(inbox.expunge(inbox.snapshot().validity, &[uid(5)])).expect("expunged");
    assert_eq!(remembered(&inbox, CacheKind::Header), 399);
}

#[test]
fn a_damaged_cache_never_tells_what_is_not() {
    let mut world = World::new(60);
    let inbox = world.inbox();
    remember(&inbox, 1..=60, CacheKind::Header);
    drop(inbox);
    world.settle();
    world.restart(true);
    let path = world.index().with_file_name("cache");
    let whole = std::fs::read(&path).expect("a cache");
    for (at, step) in (0..whole.len()).step_by(97).zip(0_u32..) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (step % 8);
        if step % 5 == 0 {
            damaged.truncate(at);
        }
        std::fs::write(&path, damaged).expect("written");
        world.restart(false);
        let inbox = world.inbox();
        assert!(remembered(&inbox, CacheKind::Header) <= 60);
        // And it goes on.
        remember(&inbox, 1..=60, CacheKind::Header);
        assert_eq!(remembered(&inbox, CacheKind::Header), 60);
    }
    // That of another mailbox has strings of its messages alone.
    let mut other = World::new(60);
    drop(other.inbox());
    other.restart(true);
    let files = std::fs::read_dir(other.cur()).expect("listed").map(|e| e.expect("entry").path());
    for file in files.collect::<Vec<_>>() {
        std::fs::rename(&file, file.to_string_lossy().replace("host", "elsewhere")).expect("renamed");
    }
    std::fs::copy(&path, other.index().with_file_name("cache")).expect("copied");
    other.restart(false);
    assert_eq!(remembered(&other.inbox(), CacheKind::Header), 0);
}

#[test]
fn a_cache_drops_what_is_outdated() {
    let mut world = World::new(100);
    let inbox = world.inbox();
    for _ in 0..15 {
        remember(&inbox, 1..=100, CacheKind::Header);
    }
    let path = world.index_folder().join("cache");
    let before = std::fs::metadata(&path).expect("a cache").len();
    drop(inbox);
    world.restart(true);
    let after = std::fs::metadata(&path).expect("a cache").len();
    assert!(after * 10 < before, "{before} to {after}");
    let inbox = world.inbox();
    assert_eq!(remembered(&inbox, CacheKind::Header), 100);
    remember(&inbox, 1..=100, CacheKind::Body);
    assert_eq!((remembered(&inbox, CacheKind::Header), remembered(&inbox, CacheKind::Body)), (100, 100));
}

#[test]
fn store_and_renames_of_others_interleaved() {
    let world = World::new(200);
    let inbox = world.inbox();
    let (scans, mut model) = (inbox.scans(), BTreeMap::new());
    for message in inbox.snapshot().messages.iter() {
        model.insert(message.uid.get(), message.flags);
    }
    let name_of = |n: u32| format!("18000{:05}.M1P1.host,S=19,W=22", n - 1);
    let rounds = 10_000_u32;
    for round in 0..rounds {
        // Ours and theirs, on neighbours and now and then on the same message.
        let (ours, theirs) = (1 + round * 7 % 200, 1 + (round * 7 + round % 3) % 200);
        let op = if round % 2 == 0 { FlagOp::Add } else { FlagOp::Remove };
        let flag = SystemFlag::ALL[round as usize % 5];
        let flags = &mut model.get_mut(&ours).expect("there");
        **flags = if op == FlagOp::Add { flags.with(flag) } else { flags.without(Flags::NONE.with(flag)) };
        world.flag(&inbox, ours, op, flag);
        let old = model[&theirs];
        let new = Flags::of_letters([&b"F"[..], b"S", b"RS", b""][round as usize / 3 % 4]);
        let path = |flags: Flags| world.cur().join(format!("{}:2,{}", name_of(theirs), flags.letters("")));
        std::fs::rename(path(old), path(new)).expect("where we left it");
        model.insert(theirs, new);
        if round % 10 == 0 {
            let snapshot = world.runtime.block_on(inbox.refresh()).expect("read");
            assert_eq!(uids(&snapshot), model.iter().map(|(n, f)| (*n, *f)).collect::<Vec<_>>(), "round {round}");
        }
    }
    let snapshot = world.runtime.block_on(inbox.refresh()).expect("read");
    assert_eq!(uids(&snapshot), model.into_iter().collect::<Vec<_>>());
    assert_eq!(inbox.scans() - scans, 0, "folders read in {rounds} STOREs");
}

#[test]
fn what_is_no_message_is_passed_over_and_nothing_outside_is_read() {
    let world = World::new(3);
    drop(world.inbox());
    let (cur, new) = (world.cur(), world.maildir().join("new"));
    let secret = world.root.path().join("secret");
    std::fs::write(&secret, b"Subject: secret\n\n").expect("written");
    std::os::unix::fs::symlink(&secret, cur.join("1900000001.P1.link:2,")).expect("linked");
    std::os::unix::fs::symlink("/dev/zero", new.join("1900000002.P1.link")).expect("linked");
    std::fs::create_dir(cur.join("1900000003.P1.folder:2,")).expect("made");
    let fifo = new.join("1900000004.P1.fifo");
    make_fifo(&fifo);
    assert!(std::fs::symlink_metadata(&fifo).expect("there").file_type().is_fifo());
    std::fs::write(cur.join("1900000005.P1.empty:2,S"), b"").expect("written");
    std::fs::write(cur.join("1900000006.P1.closed:2,"), TEXT).expect("written");
    close(&cur.join("1900000006.P1.closed:2,"));
    std::fs::write(new.join(OsStr::from_bytes(b"1900000007.P1.\xff\xfe")), TEXT).expect("written");
    std::fs::write(cur.join("1900000008.P1.line\nbreak:2,"), TEXT).expect("written");
    std::fs::write(cur.join(".1900000009.P1.hidden"), TEXT).expect("written");
    let sparse = std::fs::File::create(cur.join("1900000010.P1.large:2,")).expect("made");
    sparse.set_len(2 << 30).expect("a sparse file");

    // While it is open and when it is opened anew.
    for again in [false, true] {
        if again {
            world.store.forget(&world.maildir());
        }
        let inbox = world.inbox();
        let snapshot = inbox.snapshot();
        // Three, the empty one, the closed one, the one with an odd name, the large one.
        assert_eq!(snapshot.messages.len(), 7);
        for message in snapshot.messages.iter().take(6) {
            match inbox.read_blocking(message.uid) {
                Ok(octets) => assert!(octets.is_empty() || octets == TEXT.as_bytes()),
                // Only root reads what nobody may read.
                Err(error) => assert!(format!("{error:?}").contains("Permission"), "{error:?}"),
            }
        }
        assert_eq!(world.runtime.block_on(inbox.sizes(&[snapshot.messages[6].uid])).expect("read").len(), 1);
    }
}

fn make_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo is part of coreutils");
    assert!(made.success());
}

fn close(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o000)).expect("ours");
}

/// What is made of an index must not wait for who looks at the mailbox meanwhile.
#[test]
fn an_index_is_written_while_others_look() {
    let world = World::new(200);
    let inbox = world.inbox();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(inbox.snapshot().messages.len(), 200);
            }
        });
        for n in 0..100 {
            remember(&inbox, 1..=20, CacheKind::Header);
            world.flag(&inbox, 1 + n, if n % 2 == 0 { FlagOp::Add } else { FlagOp::Remove }, SystemFlag::Draft);
            world.store.close();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn an_older_list_gives_no_uid_a_second_time() {
    for memory in [true, false] {
        let mut world = World::new(5);
        let inbox = world.inbox();
        let list = world.maildir().join("dovecot-uidlist");
        let old = std::fs::read(&list).expect("read");
        let file = |n: u32| world.cur().join(format!("190000000{n}.M1P1.host,S=19,W=22:2,"));
        std::fs::write(file(1), TEXT).expect("written");
        let before = inbox.refresh_blocking().expect("read");
        assert_eq!(before.messages.len(), 6);
        std::fs::remove_file(file(1)).expect("removed");
        std::fs::write(file(2), TEXT).expect("written");
        drop(inbox);
        let second = file(2);
        if !memory {
            world.restart(true);
        }
        std::fs::write(&list, &old).expect("a restored backup");
        let after = world.inbox().refresh_blocking().expect("read");
        assert_eq!(after.validity, before.validity);
        let last = after.messages[after.messages.len() - 1].uid;
        assert!(second.exists() && last.get() > 6, "{last} names another message (in memory: {memory})");
    }
}

#[test]
fn two_files_of_one_message_lose_nobody() {
    let world = World::new(5);
    let inbox = world.inbox();
    let first = world.cur().join("1800000001.M1P1.host,S=19,W=22:2,S");
    let other = PathBuf::from(first.to_string_lossy().replace(":2,S", ":2,FS"));
    assert!(first.exists());
    std::fs::copy(&first, &other).expect("copied");
    assert_eq!(inbox.refresh_blocking().expect("read").messages.len(), 5);
    std::fs::remove_file(&first).expect("removed");
    let shown = inbox.refresh_blocking().expect("read");
    assert_eq!(shown.messages.iter().map(|m| m.uid.get()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(shown.find(uid(2)).is_some_and(|m| m.flags == Flags::of_letters(b"FS")));
}

#[test]
fn what_came_and_went_after_the_index_is_told_of() {
    let mut world = World::new(5);
    drop(world.inbox());
    world.restart(true);
    let inbox = world.inbox();
    std::fs::write(world.cur().join("1900000001.M1P1.host,S=19,W=22:2,"), TEXT).expect("written");
    let seen = inbox.refresh_blocking().expect("read").highest_modseq;
    inbox.expunge_blocking(inbox.snapshot().validity, &[uid(6)]).expect("expunged");
    drop(inbox);
    // The journal was not synced.
    std::fs::remove_file(world.index_folder().join("journal")).expect("a journal");
    world.clock.advance(Duration::from_millis(1));
    world.restart(false);
    assert_eq!(world.inbox().vanished_since(seen), Vanished::These(vec![(uid(6), uid(6))]));
}

#[test]
fn a_journal_that_outlived_its_index_is_begun_anew() {
    let mut world = World::new(5);
    drop(world.inbox());
    world.restart(true);
    let inbox = world.inbox();
    world.flag(&inbox, 2, FlagOp::Add, SystemFlag::Flagged);
    drop(inbox);
    let journal = world.index_folder().join("journal");
    let old = std::fs::read(&journal).expect("a journal");
    world.restart(true);
    assert!(!journal.exists());
    for left in [&old[..], &old[..old.len() - 3]] {
        std::fs::write(&journal, left).expect("its removal was not synced");
        world.restart(false);
        let inbox = world.inbox();
        let seen = world.flag(&inbox, 1, FlagOp::Add, SystemFlag::Flagged).highest_modseq;
        world.flag(&inbox, 1, FlagOp::Remove, SystemFlag::Flagged);
        drop(inbox);
        world.restart(false);
        let message = *world.inbox().snapshot().find(uid(1)).expect("there");
        assert!(message.modseq > seen, "a change is not told of");
    }
}

#[test]
fn a_torn_journal_goes_on_where_it_was_whole() {
    let mut world = World::new(5);
    drop(world.inbox());
    world.restart(true);
    let inbox = world.inbox();
    world.flag(&inbox, 2, FlagOp::Add, SystemFlag::Flagged);
    world.flag(&inbox, 3, FlagOp::Add, SystemFlag::Flagged);
    drop(inbox);
    let journal = world.index_folder().join("journal");
    let old = std::fs::read(&journal).expect("a journal");
    std::fs::write(&journal, &old[..old.len() - 5]).expect("written");
    world.restart(false);
    let inbox = world.inbox();
    let seen = world.flag(&inbox, 1, FlagOp::Add, SystemFlag::Flagged).highest_modseq;
    let now = world.flag(&inbox, 1, FlagOp::Remove, SystemFlag::Flagged).find(uid(1)).expect("there").modseq;
    drop(inbox);
    world.restart(false);
    let message = *world.inbox().snapshot().find(uid(1)).expect("there");
    assert!(message.modseq == now && now > seen);
}

#[test]
fn a_message_that_is_renamed_over_and_over_stays() {
    let world = World::new(3000);
    let inbox = world.inbox();
    let before = inbox.snapshot();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let names = ["", "S", "FS", "F"].map(|flags| format!("1800000000.M1P1.host,S=19,W=22:2,{flags}"));
            for at in (0..names.len()).cycle() {
                if at == 0 && stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                let to = (at + 1) % names.len();
                std::fs::rename(world.cur().join(&names[at]), world.cur().join(&names[to])).expect("renamed");
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        for round in 0..500 {
            let shown = inbox.refresh_blocking().expect("read");
            assert_eq!((shown.messages.len(), shown.next), (3000, before.next), "round {round}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let gone = inbox.vanished_since(before.highest_modseq);
    assert_eq!(gone, Vanished::These(Vec::new()));
}

#[test]
fn an_index_that_was_written_costs_no_reading_of_folders() {
    let world = World::new(5);
    let inbox = world.inbox();
    inbox.refresh_blocking().expect("read");
    let scans = inbox.scans();
    world.flag(&inbox, 1, FlagOp::Add, SystemFlag::Flagged);
    world.store.close();
    inbox.refresh_blocking().expect("read");
    world.flag(&inbox, 1, FlagOp::Remove, SystemFlag::Flagged);
    inbox.refresh_blocking().expect("read");
    assert_eq!(inbox.scans(), scans);
}

#[test]
fn uids_of_a_list_that_was_lost_name_nobody() {
    let world = World::new(5);
    let inbox = world.inbox();
    let before = inbox.snapshot();
    world.runtime.block_on(inbox.expunge(before.validity, &[uid(1), uid(2)])).expect("expunged");
    std::fs::remove_file(world.maildir().join("dovecot-uidlist")).expect("lost");
    let after = inbox.refresh_blocking().expect("read");
    assert_ne!(after.validity, before.validity);
    // The session that asked for the old 3 would get the former 5.
    for refused in [
        inbox.expunge_blocking(before.validity, &[uid(3)]).map(drop),
        inbox.copy_blocking(before.validity, &[uid(3)], &inbox, KeptFlags::all()).map(drop),
    ] {
        assert!(matches!(refused, Err(facteur::store::StoreError::MessageGone)), "{refused:?}");
    }
    assert_eq!(inbox.refresh_blocking().expect("read").messages.len(), 3);
}
