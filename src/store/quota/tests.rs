//! Books against the disk: what is counted step by step is what a count of the folders gives, whoever does what.

use std::time::SystemTime;

use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::fsio::Content;
use crate::mail::flags::Flags;
use crate::mail::flags::SystemFlag;
use crate::mail::ids::SessionId;
use crate::mail::ids::Uid;
use crate::mail::mailbox::MailboxName;
use crate::store::AccountStore;
use crate::store::Delivery;
use crate::store::FlagChange;
use crate::store::FlagOp;
use crate::store::KeptFlags;
use crate::store::Mailbox;
use crate::store::Store;

struct World {
    runtime: Runtime,
    clock: Clock,
    store: Arc<Store>,
    account: Arc<AccountStore>,
    quota: Arc<Quota>,
    dir: tempfile::TempDir,
}

fn limits(octets: u64, messages: u64) -> QuotaLimits {
    QuotaLimits { octets, messages, warn: [80, 95].into() }
}

fn world_by(clock: Clock, limit: QuotaLimits) -> World {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("runtime");
    let dir = tempfile::tempdir().expect("temporary folder");
    let store = Store::open(clock.clone());
    if limit.is_limited() {
        store.set_quotas(HashMap::from([(dir.path().to_owned(), limit)]));
    }
    let account = runtime.block_on(store.account(dir.path())).expect("opened");
    let quota = store.context.quotas.of(dir.path());
    World { runtime, clock, store, account, quota, dir }
}

fn world(octets: u64, messages: u64) -> World {
    world_by(Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)), limits(octets, messages))
}

impl World {
    fn delivery(&self, size: usize) -> Delivery {
        Delivery {
            id: SessionId::new(self.clock.since_epoch()).message(1),
            prefix: b"A: b\n".to_vec(),
            content: Content::from_bytes(vec![b'x'; size]),
            maildirs: vec![self.dir.path().to_owned()],
            received: SystemTime::UNIX_EPOCH,
            special_use: None,
            again: false,
        }
    }

    fn deliver(&self, size: usize) -> Result<()> {
        self.runtime.block_on(self.store.deliver(self.delivery(size))).pop().expect("one outcome")
    }

    fn mailbox(&self, name: &str) -> Result<Arc<Mailbox>> {
        let name = MailboxName::parse(name).expect("a name");
        self.runtime.block_on(self.account.mailbox(&name))
    }

    fn append(&self, name: &str, size: usize) -> Result<Uid> {
        let mailbox = self.mailbox(name)?;
        let content = Content::from_bytes(vec![b'y'; size]);
        self.runtime.block_on(mailbox.append(content, Flags::NONE, &[], None))
    }

    fn uids(&self, name: &str) -> Vec<Uid> {
        let mailbox = self.mailbox(name);
        mailbox.map_or_else(|_| Vec::new(), |m| m.snapshot().messages.iter().map(|m| m.uid).collect())
    }

    fn books(&self) -> Option<Usage> {
        lock(&self.quota.books).usage
    }

    fn reserved(&self) -> Usage {
        lock(&self.quota.books).reserved
    }

    fn reserve(&self, octets: u64) -> Result<Reservation> {
        self.runtime.block_on(self.store.reserve(self.dir.path(), octets))
    }
}

fn is_over<T>(outcome: Result<T>) -> bool {
    matches!(outcome, Err(StoreError::OverQuota))
}

#[test]
fn what_is_promised_counts_until_it_is_given_back() {
    let world = world(100, 3);
    let first = world.reserve(60).expect("room");
    assert!(is_over(world.reserve(60)));
    assert!(matches!(world.reserve(101), Err(StoreError::LargerThanQuota)));
    let second = world.reserve(0).expect("a size is not known yet");
    assert!(is_over(second.resize(Usage::of_message(41))));
    second.resize(Usage::of_message(40)).expect("room");
    assert!(is_over(world.reserve(1)));
    // Another size is known: the one shrinks, so the other may grow.
    first.resize(Usage::of_message(10)).expect("less");
    let third = world.reserve(50).expect("room");
    assert!(is_over(world.reserve(0)), "three messages are all");
    drop((first, second, third));
    assert_eq!(world.reserved(), Usage::default());
    let refused = world.deliver(96);
    assert!(matches!(refused, Err(StoreError::LargerThanQuota)), "the prefix counts: {refused:?}");
    world.deliver(95).expect("it fits to the octet");
    assert_eq!(world.books(), Some(Usage { octets: 100, messages: 1 }));
    assert!(is_over(world.deliver(0)));
}

#[test]
fn who_only_asks_takes_nothing() {
    let world = world(100, 3);
    let ask = |octets| world.runtime.block_on(world.store.check_room(world.dir.path(), octets));
    for _ in 0..9 {
        ask(100).expect("room");
    }
    assert_eq!(world.reserved(), Usage::default());
    assert!(matches!(ask(101), Err(StoreError::LargerThanQuota)));
    let promised = world.reserve(60).expect("room");
    assert!(is_over(ask(41)), "what others were promised counts");
    ask(40).expect("room");
    drop(promised);
    world.deliver(75).expect("delivered");
    assert!(is_over(ask(30)));
}

#[test]
fn a_delivery_uses_what_was_promised_to_it() {
    let world = world(100, 0);
    let room = Arc::new(world.reserve(80).expect("room"));
    assert!(is_over(world.deliver(30)), "others find the rest alone");
    let reserved = vec![Arc::clone(&room)];
    let delivered = world.runtime.block_on(world.store.deliver_reserved(world.delivery(85), reserved));
    assert!(delivered.iter().all(Result::is_ok), "{delivered:?}");
    assert_eq!((world.books(), world.reserved()), (Some(Usage::of_message(90)), Usage::default()));
    drop(room);
    assert_eq!((world.books(), world.reserved()), (Some(Usage::of_message(90)), Usage::default()));
}

#[test]
fn an_account_without_limits_is_not_counted_unless_asked_for() {
    let world = world(0, 0);
    world.deliver(50).expect("delivered");
    drop(world.reserve(u64::MAX).expect("no limit"));
    world.append("INBOX", 50).expect("appended");
    assert_eq!((world.books(), world.reserved()), (None, Usage::default()));
    let (usage, limits) = world.runtime.block_on(world.account.usage()).expect("counted");
    assert_eq!((usage, limits), (Usage { octets: 105, messages: 2 }, QuotaLimits::default()));
    world.deliver(50).expect("delivered");
    assert_eq!(world.books(), Some(Usage { octets: 160, messages: 3 }));
}

#[test]
fn limits_change_under_way() {
    let world = world(0, 0);
    let set = |limits| world.store.set_quotas(HashMap::from([(world.dir.path().to_owned(), limits)]));
    world.deliver(95).expect("delivered");
    set(limits(150, 0));
    assert!(is_over(world.deliver(95)));
    set(limits(200, 0));
    world.deliver(95).expect("there is room");
    set(limits(10, 0));
    assert!(is_over(world.append("INBOX", 1)));
    // What is there already may move and go.
    let target = world.mailbox("Trash").expect("there");
    let inbox = world.mailbox("INBOX").expect("there");
    let uids = world.uids("INBOX");
    assert!(matches!(
        world.runtime.block_on(inbox.copy(inbox.snapshot().validity, &uids, &target, KeptFlags::all())),
        Err(StoreError::LargerThanQuota)
    ));
    world.runtime.block_on(inbox.move_to(inbox.snapshot().validity, &uids, &target, KeptFlags::all())).expect("moved");
    assert_eq!(world.books(), Some(Usage { octets: 200, messages: 2 }));
    world.store.set_quotas(HashMap::new());
    world.deliver(1000).expect("no limit");
}

#[test]
fn what_other_programs_do_is_found_by_counting_again() {
    let world = world(100, 0);
    world.deliver(75).expect("delivered");
    let new = world.dir.path().join("new");
    let file = std::fs::read_dir(&new).expect("a folder").next().expect("the message").expect("read").path();
    std::fs::remove_file(&file).expect("removed");
    // A name without a size: the file tells.
    std::fs::write(new.join("1.other"), [b'z'; 90]).expect("written");
    assert_eq!(world.books(), Some(Usage::of_message(80)));
    world.clock.advance(QUOTA_RECOUNT + Duration::from_secs(1));
    assert!(is_over(world.reserve(20)));
    assert_eq!(world.books(), Some(Usage::of_message(90)));
    // Before it refuses it looks again, though not at every message.
    std::fs::remove_file(new.join("1.other")).expect("removed");
    assert!(is_over(world.reserve(20)));
    world.clock.advance(QUOTA_RECOUNT_PAUSE + Duration::from_secs(1));
    world.reserve(20).expect("there is room");
    assert_eq!(world.books(), Some(Usage::default()));
    // A mailbox that is read sees it, too.
    let inbox = world.mailbox("INBOX").expect("there");
    std::fs::write(world.dir.path().join("cur/2.other:2,S"), [b'z'; 90]).expect("written");
    world.runtime.block_on(inbox.refresh()).expect("read");
    world.clock.advance(QUOTA_RECOUNT_PAUSE + Duration::from_secs(1));
    assert!(is_over(world.reserve(20)));
    world.runtime.block_on(inbox.expunge(inbox.snapshot().validity, &world.uids("INBOX"))).expect("expunged");
    assert_eq!(world.books(), Some(Usage::default()));
}

#[test]
fn a_warning_comes_once_until_usage_falls_below() {
    let world = world(1000, 0);
    let mut warnings = world.store.quota_warnings().expect("nobody has them");
    assert!(world.store.quota_warnings().is_none());
    let mut percents = || {
        let mut found = Vec::new();
        while let Ok(warning) = warnings.try_recv() {
            assert_eq!(warning.maildir, world.dir.path());
            found.push(warning.limits.percent(warning.usage));
        }
        found
    };
    let clear = || {
        let inbox = world.mailbox("INBOX").expect("there");
        world.runtime.block_on(inbox.expunge(inbox.snapshot().validity, &world.uids("INBOX"))).expect("expunged");
    };
    world.append("INBOX", 700).expect("room");
    assert!(percents().is_empty());
    world.append("INBOX", 100).expect("room");
    world.append("INBOX", 100).expect("room");
    assert_eq!(percents(), [80]);
    world.append("INBOX", 60).expect("room");
    world.append("INBOX", 40).expect("room");
    assert!(is_over(world.append("INBOX", 1)));
    assert_eq!(percents(), [96]);
    clear();
    // Both at once are one.
    world.append("INBOX", 960).expect("room");
    assert_eq!(percents(), [96]);
    clear();
    // The warning itself, which may pass the limit, warns of nothing.
    world.append("INBOX", 790).expect("room");
    let exempt = world.runtime.block_on(world.store.deliver_exempt(world.delivery(900)));
    assert!(exempt.iter().all(Result::is_ok), "{exempt:?}");
    assert_eq!((percents(), world.books()), (Vec::new(), Some(Usage { octets: 1695, messages: 2 })));
    // Nor does what was there at the start.
    let again = Store::open(world.clock.clone());
    again.set_quotas(HashMap::from([(world.dir.path().to_owned(), limits(2000, 0))]));
    let mut warnings = again.quota_warnings().expect("nobody has them");
    let delivered = world.runtime.block_on(again.deliver(world.delivery(5)));
    assert!(delivered.iter().all(Result::is_ok), "{delivered:?}");
    assert!(warnings.try_recv().is_err());
}

const NAMES: [&str; 4] = ["INBOX", "Trash", "Work", "Play"];

#[derive(Debug, Clone)]
enum Act {
    Deliver(usize),
    Append(usize, usize),
    Copy(usize, usize),
    Move(usize, usize),
    Expunge(usize, usize),
    Flag(usize),
    Claim(usize),
    Create(usize),
    Delete(usize),
    Rename(usize, usize),
    Reopen,
}

fn act() -> impl Strategy<Value = Act> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => (0_usize..120).prop_map(Act::Deliver),
        4 => (name.clone(), 0_usize..120).prop_map(|(n, s)| Act::Append(n, s + 1)),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Act::Copy(a, b)),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Act::Move(a, b)),
        2 => (name.clone(), 1_usize..4).prop_map(|(n, every)| Act::Expunge(n, every)),
        1 => name.clone().prop_map(Act::Flag),
        1 => name.clone().prop_map(Act::Claim),
        2 => name.clone().prop_map(Act::Create),
        1 => name.clone().prop_map(Act::Delete),
        1 => (name.clone(), name).prop_map(|(a, b)| Act::Rename(a, b)),
        1 => Just(Act::Reopen),
    ]
}

impl World {
    /// Does it; a refusal is as good.
    fn act(&self, act: &Act) -> Result<()> {
        let name = |at: usize| MailboxName::parse(NAMES[at]).expect("a name");
        let both = |a: usize, b: usize| -> Result<_> {
            Ok((self.mailbox(NAMES[a])?, self.mailbox(NAMES[b])?, self.uids(NAMES[a])))
        };
        let run = &self.runtime;
        match *act {
            Act::Deliver(size) => self.deliver(size),
            Act::Append(at, size) => self.append(NAMES[at], size).map(drop),
            Act::Copy(from, to) => {
                let (from, to, uids) = both(from, to)?;
                run.block_on(from.copy(from.snapshot().validity, &uids, &to, KeptFlags::all())).map(drop)
            }
            Act::Move(from, to) if from == to => Ok(()),
            Act::Move(from, to) => {
                let (from, to, uids) = both(from, to)?;
                let moved = run.block_on(from.move_to(from.snapshot().validity, &uids, &to, KeptFlags::all()));
                assert!(!moved.as_ref().is_err_and(StoreError::is_quota), "{moved:?}");
                moved.map(drop)
            }
            Act::Expunge(at, every) => {
                let (mailbox, _, uids) = both(at, at)?;
                let some: Vec<Uid> = uids.into_iter().step_by(every).collect();
                run.block_on(mailbox.expunge(mailbox.snapshot().validity, &some)).map(drop)
            }
            Act::Flag(at) => {
                let (mailbox, _, uids) = both(at, at)?;
                let system = Flags::NONE.with(SystemFlag::Seen);
                let change = FlagChange { op: FlagOp::Add, system, keywords: Vec::new() };
                run.block_on(mailbox.store(mailbox.snapshot().validity, &uids, change)).map(drop)
            }
            Act::Claim(at) => run.block_on(self.mailbox(NAMES[at])?.claim_recent()).map(drop),
            Act::Create(at) => run.block_on(self.account.create(&name(at))),
            Act::Delete(at) => run.block_on(self.account.delete(&name(at))),
            Act::Rename(from, to) => run.block_on(self.account.rename(&name(from), &name(to))),
            Act::Reopen => {
                self.store.forget(self.dir.path());
                Ok(())
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_books_are_what_a_count_gives(acts in proptest::collection::vec(act(), 1..60)) {
        let world = world(1500, 20);
        for act in acts {
            // Refusals are part of it.
            world.act(&act).ok();
            let there = of_account(world.dir.path());
            prop_assert!(world.books().is_none_or(|books| books == there), "{act:?}: {:?} {there:?}", world.books());
            prop_assert!(limits(1500, 20).hold(there), "{act:?}: {there:?}");
            prop_assert_eq!(world.reserved(), Usage::default());
        }
    }
}

/// Several at once; nothing that moves, since that is there twice for a moment.
#[test]
fn those_who_come_at_once_never_pass_the_limit() {
    let world = world_by(Clock::system(), limits(4000, 40));
    world.quota.count();
    let seen = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for thread in 0..4_usize {
            let world = &world;
            threads.push(scope.spawn(move || {
                for round in 0..120_usize {
                    let n = thread * 31 + round;
                    let act = match n % 11 {
                        0..4 => Act::Deliver(n * 7 % 300),
                        4..7 => Act::Append(n % NAMES.len(), n * 13 % 300 + 1),
                        7 => Act::Copy(n % NAMES.len(), n % 3),
                        8 => Act::Flag(n % NAMES.len()),
                        9 if n % 5 == 0 => Act::Delete(n % NAMES.len()),
                        9 => Act::Create(n % NAMES.len()),
                        _ => Act::Expunge(n % NAMES.len(), n % 3 + 1),
                    };
                    world.act(&act).ok();
                }
            }));
        }
        let mut seen = Vec::new();
        while threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::yield_now();
            // Nobody is in the middle of a change now.
            let _files = world.quota.files.write().expect("not poisoned");
            seen.push((world.books(), of_account(world.dir.path())));
        }
        seen
    });
    for (books, there) in &seen {
        assert_eq!(*books, Some(*there));
        assert!(limits(4000, 40).hold(*there), "{there:?}");
    }
    assert!(seen.iter().any(|(_, there)| there.messages > 5), "nothing happened");
    assert_eq!((world.books(), world.reserved()), (Some(of_account(world.dir.path())), Usage::default()));
}

/// All want the last place.
#[test]
fn one_of_many_gets_the_last_place() {
    let world = world(0, 5);
    let done: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12).map(|_| scope.spawn(|| world.deliver(10).is_ok())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(done.iter().filter(|done| **done).count(), 5);
    assert_eq!(of_account(world.dir.path()).messages, 5);
}

#[test]
fn a_mailbox_whose_name_begins_with_two_dots_counts_and_a_removed_one_does_not() {
    let dir = tempfile::tempdir().expect("temporary folder");
    for folder in ["..x/cur", "..facteur-removed-1/cur"] {
        std::fs::create_dir_all(dir.path().join(folder)).expect("made");
        std::fs::write(dir.path().join(folder).join("1.a,S=7"), b"message").expect("written");
    }
    assert_eq!(of_account(dir.path()), Usage::of_message(7));
}
