//! Mailboxes on disk, in a temporary folder: set TMPDIR to measure a disk instead of what is there.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use divan::Bencher;
use facteur::clock::Clock;
use facteur::config::Layout;
use facteur::fsio::Content;
use facteur::mail::flags::Flags;
use facteur::mail::flags::SystemFlag;
use facteur::mail::ids::SessionId;
use facteur::mail::ids::Uid;
use facteur::mail::mailbox::MailboxName;
use facteur::store::CacheKind;
use facteur::store::Delivery;
use facteur::store::FlagChange;
use facteur::store::FlagOp;
use facteur::store::Mailbox;
use facteur::store::Store;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

const MESSAGES: u32 = 10_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn inbox(runtime: &Runtime, store: &Arc<Store>, maildir: &Path) -> Arc<Mailbox> {
    runtime.block_on(async {
        let account = store.account(maildir).await.expect("made");
        account.mailbox(&MailboxName::inbox()).await.expect("there")
    })
}

/// A Maildir with many messages, and the UID list that goes with them.
fn large(maildir: &Path) {
    let runtime = runtime();
    drop(inbox(&runtime, &Store::open(Clock::system()), maildir));
    for n in 0..MESSAGES {
        let path = maildir.join(format!("cur/18000{n:05}.M1P1.host,S=19,W=22:2,S"));
        std::fs::write(path, "Subject: few\n\ntext\n").expect("written");
    }
    // Folders that changed in the last seconds are read again at every look.
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    for sub in ["new", "cur"] {
        std::fs::File::open(maildir.join(sub)).and_then(|f| f.set_modified(long_ago)).expect("a folder of ours");
    }
    let messages = inbox(&runtime, &Store::open(Clock::system()), maildir).snapshot().messages.len();
    assert_eq!(messages, usize::try_from(MESSAGES).expect("fits"));
}

#[divan::bench]
fn deliver_4_kib(bencher: Bencher<'_, '_>) {
    let (runtime, folder) = (runtime(), tempfile::tempdir().expect("temporary folder"));
    let store = Store::open(Clock::system());
    let maildir = folder.path().join("alice");
    let content = Content::from_bytes(b"A line of text, as people write\n".repeat(128));
    let session = SessionId::new(Clock::system().since_epoch());
    let mut number = 0;
    bencher.bench_local(|| {
        number += 1;
        let delivery = Delivery {
            id: session.message(number),
            prefix: b"Return-Path: <a@example.com>\n".to_vec(),
            content: content.clone(),
            maildirs: vec![maildir.clone()],
            received: SystemTime::now(),
            special_use: None,
            again: false,
        };
        runtime.block_on(store.deliver(delivery)).pop().expect("one outcome").expect("delivered");
    });
}

/// What SELECT costs when nothing of the mailbox is in memory.
#[divan::bench(sample_count = 20)]
fn open_10_000_messages(bencher: Bencher<'_, '_>) {
    let (runtime, folder) = (runtime(), tempfile::tempdir().expect("temporary folder"));
    large(folder.path());
    bencher.bench_local(|| inbox(&runtime, &Store::open(Clock::system()), folder.path()).snapshot());
}

/// The same where an index lies in the state folder, as after a restart of the server.
#[divan::bench(sample_count = 20)]
fn open_10_000_messages_by_index(bencher: Bencher<'_, '_>) {
    let (runtime, folder) = (runtime(), tempfile::tempdir().expect("temporary folder"));
    let (maildir, state) = (folder.path().join("alice"), folder.path().join("state"));
    large(&maildir);
    // What was touched within two seconds is never taken from an index alone.
    let clock = Clock::by_hand(SystemTime::now() + Duration::from_secs(3600));
    let open = || Store::open_with(clock.clone(), Layout::default(), Some(&state));
    let store = open();
    drop(inbox(&runtime, &store, &maildir));
    store.close();
    bencher.bench_local(|| {
        let inbox = inbox(&runtime, &open(), &maildir);
        assert_eq!(inbox.scans(), 0);
        inbox.snapshot()
    });
}

/// Strings from the cache, as FETCH takes them.
#[divan::bench]
fn look_up_10_000_cached_headers(bencher: Bencher<'_, '_>) {
    let (runtime, folder) = (runtime(), tempfile::tempdir().expect("temporary folder"));
    let (maildir, state) = (folder.path().join("alice"), folder.path().join("state"));
    large(&maildir);
    let inbox = inbox(&runtime, &Store::open_with(Clock::system(), Layout::default(), Some(&state)), &maildir);
    let uids: Vec<Uid> = inbox.snapshot().messages.iter().map(|message| message.uid).collect();
    let header = |uid: &Uid| (*uid, vec![(CacheKind::Header, b"Subject: few\n\n".repeat(30))]);
    inbox.remember(inbox.snapshot().validity, uids.iter().map(header).collect());
    bencher.bench_local(|| {
        let mut reader = inbox.cache_reader();
        let found = uids.iter().filter(|uid| reader.get(**uid).and_then(|c| c.get(CacheKind::Header)).is_some());
        assert_eq!(found.count(), uids.len());
    });
}

/// What NOOP costs when nothing has happened.
#[divan::bench]
fn refresh_10_000_messages(bencher: Bencher<'_, '_>) {
    let (runtime, folder) = (runtime(), tempfile::tempdir().expect("temporary folder"));
    large(folder.path());
    let inbox = inbox(&runtime, &Store::open(Clock::system()), folder.path());
    bencher.bench_local(|| runtime.block_on(inbox.refresh()).expect("read"));
}

/// One flag of one message among many.
#[divan::bench]
fn store_flag_of_one_in_10_000(bencher: Bencher<'_, '_>) {
    let (runtime, folder) = (runtime(), tempfile::tempdir().expect("temporary folder"));
    large(folder.path());
    let inbox = inbox(&runtime, &Store::open(Clock::system()), folder.path());
    let uid = Uid::new(MESSAGES / 2).expect("not zero");
    let mut op = FlagOp::Add;
    bencher.bench_local(|| {
        let change = FlagChange { op, system: Flags::NONE.with(SystemFlag::Flagged), keywords: Vec::new() };
        op = if op == FlagOp::Add { FlagOp::Remove } else { FlagOp::Add };
        runtime.block_on(inbox.store(inbox.snapshot().validity, &[uid], change)).expect("stored")
    });
}
