//! The watcher against a real kernel: folders in a temporary place, our own operations announced, foreign ones not.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const CUR: Sub = Sub::Cur;
const NEW: Sub = Sub::New;
const APPEARS: Kind = Kind::Appears;
const VANISHES: Kind = Kind::Vanishes;

/// A mailbox that is watched.
struct Mail {
    /// Dropped first.
    watched: Watched,
    folder: PathBuf,
    wakes: Arc<AtomicUsize>,
}

fn maildir(folder: &Path) {
    for sub in ["tmp", "new", "cur"] {
        fs::create_dir_all(folder.join(sub)).expect("made");
    }
}

fn watch(watcher: &Arc<Watcher>, folder: &Path) -> Option<Mail> {
    let wakes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&wakes);
    let wake = Box::new(move || {
        count.fetch_add(1, Ordering::SeqCst);
    });
    Some(Mail { watched: watcher.watch(folder, wake)?, folder: folder.to_owned(), wakes })
}

fn mailbox(watcher: &Arc<Watcher>, folder: &Path) -> Mail {
    maildir(folder);
    watch(watcher, folder).expect("watched")
}

fn one() -> (tempfile::TempDir, Arc<Watcher>, Mail) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let watcher = Watcher::new().expect("inotify");
    let mailbox = mailbox(&watcher, &dir.path().join("box"));
    (dir, watcher, mailbox)
}

impl Mail {
    fn path(&self, sub: Sub, name: &str) -> PathBuf {
        self.folder.join(if sub == NEW { "new" } else { "cur" }).join(name)
    }

    fn tmp(&self, name: &str) -> PathBuf {
        let path = self.folder.join("tmp").join(name);
        fs::write(&path, b"x").expect("written");
        path
    }

    fn write(&self, sub: Sub, name: &str) {
        fs::write(self.path(sub, name), b"x").expect("written");
    }

    fn rename(&self, (sub, name): (Sub, &str), (to_sub, to): (Sub, &str)) -> io::Result<()> {
        fs::rename(self.path(sub, name), self.path(to_sub, to))
    }

    fn own_rename(&self, (sub, name): (Sub, &str), (to_sub, to): (Sub, &str)) -> io::Result<()> {
        let steps = [(sub, VANISHES, name.as_bytes()), (to_sub, APPEARS, to.as_bytes())];
        self.watched.ours(&steps, || self.rename((sub, name), (to_sub, to)))
    }

    fn own_delivery(&self, sub: Sub, name: &str) {
        let tmp = self.tmp(name);
        let steps = [(sub, APPEARS, name.as_bytes())];
        self.watched.ours(&steps, || fs::rename(tmp, self.path(sub, name))).expect("delivered");
    }

    fn own_removal(&self, sub: Sub, name: &str) -> io::Result<()> {
        let steps = [(sub, VANISHES, name.as_bytes())];
        self.watched.ours(&steps, || fs::remove_file(self.path(sub, name)))
    }

    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }

    fn expectations(&self) -> usize {
        lock(&self.watched.watcher.state).table.folders[&self.watched.id].expectations
    }
}

fn change(sub: Sub, kind: Kind, name: &str) -> ForeignChange {
    ForeignChange { sub, kind, name: name.as_bytes().into() }
}

fn only(names: Vec<ForeignChange>) -> Seen {
    Seen { names, any: true, ..Seen::default() }
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within ten seconds: {what}");
}

#[test]
fn foreign_changes_are_known_at_once_whatever_the_call() {
    let (_dir, _watcher, mailbox) = one();
    assert_eq!(mailbox.watched.take(), Seen::default());
    mailbox.write(CUR, "created");
    fs::rename(mailbox.tmp("moved"), mailbox.path(NEW, "moved")).expect("renamed");
    fs::hard_link(mailbox.path(CUR, "created"), mailbox.path(NEW, "linked")).expect("linked");
    mailbox.rename((NEW, "moved"), (CUR, "moved:2,S")).expect("renamed");
    fs::remove_file(mailbox.path(CUR, "created")).expect("removed");
    let expected = vec![
        change(CUR, APPEARS, "created"),
        change(NEW, APPEARS, "moved"),
        change(NEW, APPEARS, "linked"),
        change(NEW, VANISHES, "moved"),
        change(CUR, APPEARS, "moved:2,S"),
        change(CUR, VANISHES, "created"),
    ];
    assert_eq!(mailbox.watched.take(), only(expected));
    assert_eq!(mailbox.watched.take(), Seen::default());
    // Neither what is written in place nor a folder is an operation on messages.
    fs::write(mailbox.path(CUR, "moved:2,S"), b"y").expect("written");
    assert_eq!(mailbox.watched.take(), Seen::default());
    fs::create_dir(mailbox.path(CUR, "folder")).expect("made");
    assert_eq!(mailbox.watched.take(), only(Vec::new()));
    // The longest name there is.
    let long = "n".repeat(255);
    mailbox.write(CUR, &long);
    assert_eq!(mailbox.watched.take(), only(vec![change(CUR, APPEARS, &long)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_of_our_own_wake_nobody_and_are_not_foreign() {
    let (dir, watcher, mailbox) = one();
    let other = self::mailbox(&watcher, &dir.path().join("other"));
    let task = tokio::spawn(Arc::clone(&watcher).run());
    for n in 0..2000 {
        let (name, flagged) = (format!("{n}"), format!("{n}:2,S"));
        mailbox.own_delivery(NEW, &name);
        mailbox.own_rename((NEW, &name), (CUR, &flagged)).expect("renamed");
        mailbox.own_removal(CUR, &flagged).expect("removed");
    }
    // What wakes the other mailbox shows that the task has read all that came before.
    other.write(CUR, "x");
    until("woken", || other.wakes() == 1).await;
    assert_eq!(mailbox.wakes(), 0);
    assert_eq!(mailbox.watched.take(), only(Vec::new()));
    assert_eq!(mailbox.expectations(), 0);
    assert!(!task.is_finished());
    drop((mailbox, other, watcher));
    task.await.expect("it ends with the watcher");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_wakes_who_has_news_whoever_read_them() {
    let (dir, watcher, mailbox) = one();
    let other = self::mailbox(&watcher, &dir.path().join("other"));
    let task = tokio::spawn(Arc::clone(&watcher).run());
    for round in 1..=20 {
        mailbox.write(NEW, &format!("{round}"));
        // This reads the other's event too.
        assert_eq!(other.watched.take(), Seen::default());
        until("woken", || mailbox.wakes() >= round).await;
        assert_eq!(mailbox.watched.take(), only(vec![change(NEW, APPEARS, &format!("{round}"))]));
    }
    assert_eq!((mailbox.wakes(), other.wakes()), (20, 0));
    // One that panics keeps nobody else from hearing.
    let third = dir.path().join("third");
    maildir(&third);
    let _bad = watcher.watch(&third, Box::new(|| panic!("a wake that panics"))).expect("watched");
    fs::write(third.join("cur/x"), b"x").expect("written");
    other.write(CUR, "x");
    until("woken", || other.wakes() == 1).await;
    task.abort();
    assert!(task.await.expect_err("ended").is_cancelled());
}

#[test]
fn a_wake_may_take() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let watcher = Watcher::new().expect("inotify");
    let folder = dir.path().join("box");
    maildir(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let slot: Arc<Mutex<Option<Watched>>> = Arc::default();
        let taken: Arc<Mutex<Vec<ForeignChange>>> = Arc::default();
        let (from, into) = (Arc::downgrade(&slot), Arc::clone(&taken));
        let wake = Box::new(move || {
            let Some(slot) = from.upgrade() else { return };
            let seen = lock(&slot).as_ref().map(Watched::take);
            lock(&into).extend(seen.into_iter().flat_map(|s| s.names));
        });
        *lock(&slot) = watcher.watch(&folder, wake);
        tokio::spawn(Arc::clone(&watcher).run());
        fs::write(folder.join("cur/a"), b"").expect("written");
        until("taken", || lock(&taken).len() == 1).await;
        fs::write(folder.join("cur/b"), b"").expect("written");
        until("taken", || lock(&taken).len() == 2).await;
    });
}

#[test]
fn of_many_changes_at_once_every_foreign_one_is_seen_and_none_of_ours() {
    const EACH: usize = 10_000;
    let (_dir, watcher, mailbox) = one();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let task = runtime.spawn(Arc::clone(&watcher).run());
    mailbox.write(CUR, "theirs-0");
    mailbox.own_delivery(CUR, "ours-0");
    mailbox.watched.take();
    let (mailbox, ended) = (&mailbox, AtomicBool::new(false));
    // However rarely the taker runs, fewer names wait for it than are kept.
    let (done, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let seen = std::thread::scope(|scope| {
        let ours = scope.spawn(move || {
            for n in 0..EACH {
                mailbox.own_rename((CUR, &format!("ours-{n}")), (CUR, &format!("ours-{}", n + 1))).expect("renamed");
            }
        });
        let (ended, done, taken) = (&ended, &done, &taken);
        let theirs = scope.spawn(move || {
            for n in 0..EACH {
                let mut waits = 0;
                while done.load(Ordering::SeqCst) > taken.load(Ordering::SeqCst) + FOREIGN_NAMES_KEPT / 2 {
                    waits += 1;
                    assert!(waits < 10_000, "hundreds were not told within ten seconds");
                    std::thread::sleep(Duration::from_millis(1));
                }
                done.fetch_add(2 + usize::from(n % 10 == 0), Ordering::SeqCst);
                mailbox.rename((CUR, &format!("theirs-{n}")), (CUR, &format!("theirs-{}", n + 1))).expect("renamed");
                if n % 10 == 0 {
                    mailbox.write(NEW, &format!("created-{n}"));
                }
            }
        });
        let taker = scope.spawn(move || {
            let mut seen = Vec::new();
            while !ended.load(Ordering::SeqCst) {
                let found = mailbox.watched.take();
                assert!(!found.must_scan && !found.replaced, "taken often enough");
                taken.fetch_add(found.names.len(), Ordering::SeqCst);
                seen.extend(found.names);
            }
            seen.extend(mailbox.watched.take().names);
            seen
        });
        let all = [ours.join(), theirs.join()];
        ended.store(true, Ordering::SeqCst);
        assert!(all.iter().all(Result::is_ok), "no panic");
        taker.join().expect("no panic")
    });
    let mut expected = Vec::new();
    for n in 0..EACH {
        expected.push(change(CUR, VANISHES, &format!("theirs-{n}")));
        expected.push(change(CUR, APPEARS, &format!("theirs-{}", n + 1)));
    }
    // In the order in which they happened.
    let in_cur: Vec<ForeignChange> = seen.iter().filter(|c| c.sub == CUR).cloned().collect();
    assert!(in_cur == expected, "{} instead of {}", in_cur.len(), expected.len());
    let in_new = (0..EACH).step_by(10).map(|n| change(NEW, APPEARS, &format!("created-{n}")));
    assert!(seen.into_iter().filter(|c| c.sub == NEW).eq(in_new));
    assert_eq!(mailbox.expectations(), 0);
    task.abort();
}

/// What the kernel queues at most, or nothing where that is too much for a test.
fn queue_limit() -> Option<usize> {
    let text = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").ok()?;
    let limit = text.trim().parse().ok().filter(|limit| *limit <= 500_000);
    if limit.is_none() {
        eprintln!("SKIPPED: fs.inotify.max_queued_events is too large");
    }
    limit
}

#[test]
fn when_the_kernel_lost_events_all_are_scanned_and_then_it_goes_on() {
    let Some(limit) = queue_limit() else { return };
    let (dir, watcher, mailbox) = one();
    let other = self::mailbox(&watcher, &dir.path().join("other"));
    mailbox.write(CUR, "a");
    other.watched.expect(CUR, APPEARS, b"never");
    for n in 0..=limit / 2 {
        let (from, to) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
        mailbox.rename((CUR, from), (CUR, to)).expect("renamed");
    }
    let all = Seen { must_scan: true, any: true, ..Seen::default() };
    assert_eq!(mailbox.watched.take(), all);
    assert_eq!(other.watched.take(), all);
    assert_eq!(other.expectations(), 0);
    // That one was under way all the time; its event is foreign now.
    other.write(CUR, "never");
    other.watched.done(CUR, APPEARS, b"never");
    mailbox.own_delivery(NEW, "ours");
    mailbox.write(NEW, "theirs");
    assert_eq!(mailbox.watched.take(), only(vec![change(NEW, APPEARS, "theirs")]));
    assert_eq!(other.watched.take(), only(vec![change(CUR, APPEARS, "never")]));
}

#[test]
fn changes_of_our_own_never_overflow_the_kernels_queue() {
    let Some(limit) = queue_limit() else { return };
    let (_dir, _watcher, mailbox) = one();
    mailbox.own_delivery(CUR, "a");
    for n in 0..=limit {
        let (from, to) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
        mailbox.own_rename((CUR, from), (CUR, to)).expect("renamed");
    }
    assert_eq!(mailbox.watched.take(), only(Vec::new()));
}

#[test]
fn too_many_names_become_a_scan_and_take_no_memory() {
    let (_dir, watcher, mailbox) = one();
    for n in 0..=FOREIGN_NAMES_KEPT * 4 {
        mailbox.write(CUR, &format!("{n}"));
        if n % 100 == 0 {
            watcher.drain();
            assert!(lock(&watcher.state).table.folders[&mailbox.watched.id].seen.names.len() <= FOREIGN_NAMES_KEPT);
        }
    }
    watcher.drain();
    assert_eq!(lock(&watcher.state).table.folders[&mailbox.watched.id].seen.names.capacity(), 0);
    assert_eq!(mailbox.watched.take(), Seen { must_scan: true, any: true, ..Seen::default() });
    mailbox.write(CUR, "last");
    assert_eq!(mailbox.watched.take(), only(vec![change(CUR, APPEARS, "last")]));
}

#[test]
fn an_operation_that_failed_hides_nothing() {
    let (_dir, watcher, mailbox) = one();
    mailbox.write(CUR, "a");
    mailbox.watched.take();
    // Another program was faster, and its event is not read yet.
    let late = mailbox.watched.ours(&[(CUR, VANISHES, b"a"), (CUR, APPEARS, b"b")], || {
        mailbox.rename((CUR, "a"), (CUR, "b"))?;
        mailbox.rename((CUR, "a"), (CUR, "b"))
    });
    assert_eq!(late.expect_err("gone").kind(), io::ErrorKind::NotFound);
    assert_eq!(mailbox.watched.take(), only(vec![change(CUR, VANISHES, "a"), change(CUR, APPEARS, "b")]));
    // The same, and its event was read in between and taken for ours.
    let late = mailbox.watched.ours(&[(CUR, VANISHES, b"b"), (CUR, APPEARS, b"c")], || {
        mailbox.rename((CUR, "b"), (CUR, "d"))?;
        watcher.drain();
        mailbox.rename((CUR, "b"), (CUR, "c"))
    });
    assert_eq!(late.expect_err("gone").kind(), io::ErrorKind::NotFound);
    assert_eq!(mailbox.watched.take(), only(vec![change(CUR, APPEARS, "d"), change(CUR, VANISHES, "b")]));
    // What failed is expected no longer.
    mailbox.watched.expect(CUR, APPEARS, b"e");
    mailbox.watched.unexpect(CUR, APPEARS, b"e");
    assert_eq!(mailbox.expectations(), 0);
    mailbox.write(CUR, "e");
    assert_eq!(mailbox.watched.take(), only(vec![change(CUR, APPEARS, "e")]));
}

#[test]
fn of_equal_changes_as_many_are_ours_as_we_did() {
    let (_dir, _watcher, mailbox) = one();
    // Two of ours under way at once, one fails, and another program does the same.
    mailbox.write(CUR, "a");
    mailbox.watched.take();
    mailbox.watched.expect(CUR, VANISHES, b"a");
    mailbox.watched.expect(CUR, VANISHES, b"a");
    fs::remove_file(mailbox.path(CUR, "a")).expect("removed");
    mailbox.watched.done(CUR, VANISHES, b"a");
    mailbox.watched.unexpect(CUR, VANISHES, b"a");
    mailbox.write(CUR, "a");
    fs::remove_file(mailbox.path(CUR, "a")).expect("removed");
    assert_eq!(mailbox.watched.take(), only(vec![change(CUR, APPEARS, "a"), change(CUR, VANISHES, "a")]));
    // The kernel joins two equal events; the second expectation is no licence for others.
    for name in ["tmp-1", "tmp-2"] {
        let tmp = mailbox.tmp(name);
        mailbox.watched.ours(&[(NEW, APPEARS, b"same")], || fs::rename(tmp, mailbox.path(NEW, "same"))).expect("ours");
    }
    assert_eq!(mailbox.watched.take(), only(Vec::new()));
    assert_eq!(mailbox.expectations(), 0);
    fs::rename(mailbox.tmp("tmp-3"), mailbox.path(NEW, "same")).expect("renamed");
    assert_eq!(mailbox.watched.take(), only(vec![change(NEW, APPEARS, "same")]));
    // Renaming a file onto its own hard link does nothing.
    fs::hard_link(mailbox.path(NEW, "same"), mailbox.path(CUR, "link")).expect("linked");
    mailbox.watched.take();
    mailbox.own_rename((NEW, "same"), (CUR, "link")).expect("nothing done");
    assert_eq!(mailbox.watched.take(), Seen::default());
    assert_eq!(mailbox.expectations(), 0);
}

#[test]
fn expectations_that_are_never_met_do_not_pile_up() {
    let (_dir, watcher, mailbox) = one();
    for n in 0..EXPECTED_NAMES_KEPT * 3 {
        mailbox.watched.expect(CUR, APPEARS, format!("{n}").as_bytes());
        assert!(mailbox.expectations() <= EXPECTED_NAMES_KEPT);
    }
    let seen = mailbox.watched.take();
    assert!(seen.must_scan && !seen.any);
    for n in 0..EXPECTED_NAMES_KEPT * 3 {
        mailbox.watched.done(CUR, APPEARS, format!("{n}").as_bytes());
    }
    watcher.drain();
    assert_eq!(mailbox.expectations(), 0);
    assert_eq!(mailbox.watched.take(), Seen::default());
    let capacity: usize =
        lock(&watcher.state).table.folders[&mailbox.watched.id].expected.iter().map(HashMap::capacity).sum();
    assert!(capacity <= OWN_EVENTS_UNREAD, "{capacity}");
}

#[test]
fn a_folder_that_is_replaced_says_so_until_it_is_watched_anew() {
    let (dir, watcher, mailbox) = one();
    let replaced = Seen { replaced: true, any: true, ..Seen::default() };
    fs::rename(mailbox.folder.join("cur"), dir.path().join("away")).expect("renamed");
    fs::create_dir(mailbox.folder.join("cur")).expect("made");
    assert_eq!(mailbox.watched.take(), replaced);
    assert_eq!(mailbox.watched.take(), Seen { any: false, ..replaced });
    let folder = mailbox.folder.clone();
    drop(mailbox);
    let mailbox = watch(&watcher, &folder).expect("watched anew");
    assert_eq!(mailbox.watched.take(), Seen::default());
    mailbox.write(CUR, "a");
    assert_eq!(mailbox.watched.take(), only(vec![change(CUR, APPEARS, "a")]));
    fs::remove_dir_all(&folder).expect("removed");
    let seen = mailbox.watched.take();
    assert!(seen.replaced && seen.names == [change(CUR, VANISHES, "a")], "{seen:?}");
    // Removing what the kernel has removed already is no error.
    drop(mailbox);
    assert!(watch(&watcher, &folder).is_none(), "it is not there");
    maildir(&folder);
    assert!(watch(&watcher, &folder).is_some());
}

#[test]
fn dropping_ends_the_watches_and_only_those() {
    let (dir, watcher, mailbox) = one();
    let other = self::mailbox(&watcher, &dir.path().join("other"));
    assert!(watch(&watcher, &mailbox.folder).is_none(), "watched already");
    std::os::unix::fs::symlink(&mailbox.folder, dir.path().join("alias")).expect("linked");
    assert!(watch(&watcher, &dir.path().join("alias")).is_none(), "the same folders under another name");
    mailbox.write(CUR, "a");
    assert_eq!(mailbox.watched.take(), only(vec![change(CUR, APPEARS, "a")]), "the first watch is untouched");
    mailbox.write(CUR, "b");
    let folder = mailbox.folder.clone();
    drop(mailbox);
    for round in 0..100 {
        let mailbox = watch(&watcher, &folder).expect("watched again");
        let name = format!("c{round}");
        mailbox.write(CUR, &name);
        assert_eq!(mailbox.watched.take(), only(vec![change(CUR, APPEARS, &name)]), "nothing from before");
    }
    fs::write(folder.join("cur/d"), b"").expect("written");
    assert_eq!(other.watched.take(), Seen::default());
    let state = lock(&watcher.state);
    assert_eq!((state.table.folders.len(), state.table.watches.len()), (1, 2));
    assert!(state.table.due.is_empty() && state.table.unmet.is_empty());
}

#[test]
fn a_mailbox_without_one_of_its_folders_leaves_no_watch() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let watcher = Watcher::new().expect("inotify");
    let folder = dir.path().join("half");
    fs::create_dir_all(folder.join("new")).expect("made");
    assert!(watch(&watcher, &folder).is_none());
    fs::write(folder.join("cur"), b"").expect("written");
    assert!(watch(&watcher, &folder).is_none(), "a file is no folder");
    fs::remove_file(folder.join("cur")).expect("removed");
    fs::create_dir(folder.join("cur")).expect("made");
    assert!(watch(&watcher, &folder).is_some(), "and the watch of new/ was not left behind");
}

#[test]
fn a_mailbox_that_is_renamed_stays_watched() {
    let (dir, _watcher, mut mailbox) = one();
    let to = dir.path().join("renamed");
    fs::rename(&mailbox.folder, &to).expect("renamed");
    mailbox.folder = to;
    assert_eq!(mailbox.watched.take(), Seen::default());
    mailbox.own_delivery(NEW, "ours");
    mailbox.write(CUR, "theirs");
    assert_eq!(mailbox.watched.take(), only(vec![change(CUR, APPEARS, "theirs")]));
}

#[test]
fn events_that_are_cut_or_unknown_are_passed_over() {
    for length in 0..16 {
        assert!(kernel::event(&vec![0xff; length]).is_none());
    }
    // A length beyond the end.
    assert!(kernel::event(&[0xff; 64]).is_none());
    let mut table = Table::default();
    let (event, rest) = kernel::event(&[0; 20]).expect("an event");
    assert_eq!(rest.len(), 4);
    table.distribute(event);
    table.distribute(Event { watch: 7, what: What::Replaced });
    assert!(table.due.is_empty());
}

/// What a property test does.
#[derive(Debug, Clone, Copy)]
enum Act {
    Create(usize, Sub, u8),
    Remove(usize, Sub, u8),
    Rename(usize, (Sub, u8), (Sub, u8)),
    Drain,
    Take(usize),
}

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    We,
    Others,
    /// We announce it, another program does it, and the kernel tells us so before we fail.
    OthersFirst(bool),
}

fn act() -> impl Strategy<Value = (Who, Act)> {
    let sub = || prop_oneof![Just(NEW), Just(CUR)];
    let place = move || (sub(), 0_u8..4);
    let act = prop_oneof![
        3 => (0_usize..2, sub(), 0_u8..4).prop_map(|(at, sub, name)| Act::Create(at, sub, name)),
        2 => (0_usize..2, sub(), 0_u8..4).prop_map(|(at, sub, name)| Act::Remove(at, sub, name)),
        4 => (0_usize..2, place(), place()).prop_map(|(at, from, to)| Act::Rename(at, from, to)),
        1 => Just(Act::Drain),
        1 => (0_usize..2).prop_map(Act::Take),
    ];
    let who = prop_oneof![
        3 => Just(Who::We),
        3 => Just(Who::Others),
        1 => any::<bool>().prop_map(Who::OthersFirst),
    ];
    (who, act)
}

/// Two mailboxes, and what others did to them since the last look.
struct World {
    watcher: Arc<Watcher>,
    boxes: Vec<Mail>,
    foreign: [Vec<ForeignChange>; 2],
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let watcher = Watcher::new().expect("inotify");
        let boxes = ["one", "two"].map(|name| mailbox(&watcher, &dir.path().join(name))).into();
        Self { watcher, boxes, foreign: [Vec::new(), Vec::new()], _dir: dir }
    }

    fn apply(&mut self, who: Who, act: Act) {
        let mailbox = |at: usize| &self.boxes[at];
        let path = |at: usize, sub: Sub, name: u8| mailbox(at).path(sub, &name.to_string());
        match act {
            Act::Drain => self.watcher.drain(),
            Act::Take(at) => self.take(at),
            // A name that is there is not made again: the kernel joins equal events, and the model does not.
            Act::Create(at, sub, name) if path(at, sub, name).exists() => {}
            Act::Create(at, sub, name) => {
                let (tmp, to) = (mailbox(at).tmp("x"), path(at, sub, name));
                self.change(who, at, &[(sub, APPEARS, name)], || fs::rename(&tmp, &to));
            }
            Act::Remove(at, sub, name) => {
                let file = path(at, sub, name);
                self.change(who, at, &[(sub, VANISHES, name)], || fs::remove_file(&file));
            }
            Act::Rename(_, from, to) if from == to => {}
            Act::Rename(at, from, to) => {
                let (old, new) = (path(at, from.0, from.1), path(at, to.0, to.1));
                let steps = [(from.0, VANISHES, from.1), (to.0, APPEARS, to.1)];
                self.change(who, at, &steps, || fs::rename(&old, &new));
            }
        }
    }

    fn change(&mut self, who: Who, at: usize, steps: &[(Sub, Kind, u8)], act: impl Fn() -> io::Result<()>) {
        let names: Vec<String> = steps.iter().map(|(_, _, name)| name.to_string()).collect();
        let steps: Vec<Step<'_>> =
            steps.iter().zip(&names).map(|((sub, kind, _), name)| (*sub, *kind, name.as_bytes())).collect();
        let watched = &self.boxes[at].watched;
        let mut by_others = false;
        match who {
            // Where it fails it changes nothing.
            Who::We => drop(watched.ours(&steps, &act)),
            Who::Others => by_others = act().is_ok(),
            Who::OthersFirst(drain) => {
                let failed = watched.ours(&steps, || {
                    by_others = act().is_ok();
                    if drain {
                        self.watcher.drain();
                    }
                    Err::<(), _>(io::Error::from(io::ErrorKind::NotFound))
                });
                failed.expect_err("it fails");
            }
        }
        if by_others {
            let changes =
                steps.iter().map(|(sub, kind, name)| ForeignChange { sub: *sub, kind: *kind, name: (*name).into() });
            self.foreign[at].extend(changes);
        }
    }

    /// Of equal changes, ours and foreign, either may be the one that is told: so the order is not compared.
    fn take(&mut self, at: usize) {
        let mut seen = self.boxes[at].watched.take();
        assert!(!seen.must_scan && !seen.replaced);
        let mut expected = std::mem::take(&mut self.foreign[at]);
        seen.names.sort();
        expected.sort();
        assert_eq!(seen.names, expected);
        assert_eq!(self.boxes[at].expectations(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_is_what_others_did(acts in proptest::collection::vec(act(), 1..80)) {
        let mut world = World::new();
        for (who, act) in acts {
            world.apply(who, act);
        }
        for at in 0..2 {
            world.take(at);
        }
    }
}
