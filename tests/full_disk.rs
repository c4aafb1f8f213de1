//! A full disk: what was promised stays, what cannot be kept is refused, and all goes on when there is room again.
//!
//! The disk is a small tmpfs in a mount namespace of its own, in which this program starts itself again. Where that is
//! not allowed the test says that it was skipped.

mod common;

use std::io::ErrorKind;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use facteur::clock::Clock;
use facteur::config;
use facteur::fsio::Content;
use facteur::mail::address::Address;
use facteur::mail::address::ReversePath;
use facteur::mail::envelope::BodyKind;
use facteur::mail::envelope::Demands;
use facteur::mail::flags::Flags;
use facteur::mail::ids::QueueId;
use facteur::mail::mailbox::MailboxName;
use facteur::queue::NewEntry;
use facteur::queue::Queue;
use facteur::queue::QueueError;
use facteur::queue::Spool;
use facteur::store::Delivery;
use facteur::store::Store;
use facteur::store::StoreError;

/// Tells the program that it is the one in the namespace, and where the disk is.
const DISK: &str = "FACTEUR_TEST_SMALL_DISK";

const FEW: &[u8] = b"Subject: few\n\ntext\n";

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    if let Some(disk) = std::env::var_os(DISK) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let disk = Path::new(&disk);
        return runtime.block_on(async {
            inbox(disk).await;
            queue(disk).await;
        });
    }
    if !common::available(common::is_root(), "a small disk can be mounted by root only")
        || !common::installed("unshare")
        || !common::installed("mount")
    {
        return;
    }
    let disk = tempfile::tempdir().expect("temporary folder");
    let mount = "mount -t tmpfs -o size=1m none \"$1\" || exit 77; exec \"$2\" --exact \"$3\" --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", mount, "sh"])
        .arg(disk.path())
        .arg(std::env::current_exe().expect("this program"))
        .arg("a_full_disk_loses_nothing_and_passes")
        .env(DISK, disk.path())
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let refused = output.status.code() == Some(77) || said.contains("unshare failed") || said.contains("not permitted");
    if common::available(!refused, "this machine does not let us mount") {
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}

/// Takes all room there is; the file gives it back.
fn fill(disk: &Path) {
    let mut file = std::fs::File::create(disk.join("filler")).expect("created");
    for size in [4096, 1] {
        let error = loop {
            if let Err(error) = file.write_all(&vec![b'x'; size]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

fn free(disk: &Path) {
    std::fs::remove_file(disk.join("filler")).expect("removed");
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

async fn inbox(disk: &Path) {
    let maildir = disk.join("alice");
    let store = Store::open(Clock::system());
    let inbox = store.account(&maildir).await.expect("made").mailbox(&MailboxName::inbox()).await.expect("there");
    let deliver = async |id: &str, bytes: &[u8]| -> Result<(), StoreError> {
        let delivery = Delivery {
            id: QueueId::parse(id).expect("an id"),
            prefix: b"Return-Path: <>\n".to_vec(),
            content: Content::from_bytes(bytes.to_vec()),
            maildirs: vec![maildir.clone()],
            received: SystemTime::now(),
            special_use: None,
            again: false,
        };
        store.deliver(delivery).await.pop().expect("one Maildir, one outcome")
    };
    deliver("a-1", FEW).await.expect("there is room");
    let first = inbox.refresh().await.expect("read").messages[0].uid;
    fill(disk);
    for (id, size) in [("a-2", 10), ("a-3", 300_000)] {
        let error = deliver(id, &vec![b'y'; size]).await.expect_err("there is no room");
        assert!(error.is_full(), "{error:?}");
    }
    let content = Content::from_bytes(vec![b'z'; 10_000]);
    let error = inbox.append(content, Flags::NONE, &[], None).await.expect_err("there is no room");
    assert!(error.is_full(), "{error:?}");
    assert_eq!((count(&maildir.join("tmp")), count(&maildir.join("new")), count(&maildir.join("cur"))), (0, 1, 0));
    // What is there is served, by this process and by one that starts now.
    for store in [Arc::clone(&store), Store::open(Clock::system())] {
        let account = store.account(&maildir).await.expect("opened");
        let inbox = account.mailbox(&MailboxName::inbox()).await.expect("there");
        assert_eq!(inbox.refresh().await.expect("read").messages.len(), 1);
        assert!(inbox.read(first).await.expect("read").ends_with(FEW));
    }
    free(disk);
    deliver("a-2", FEW).await.expect("there is room again");
    let snapshot = inbox.refresh().await.expect("read");
    assert_eq!(snapshot.messages.len(), 2);
    assert!(snapshot.messages[1].uid > first);
}

async fn queue(disk: &Path) {
    let folder = disk.join("queue");
    let config = config::parse(Path::new("t.toml"), "hostname = \"mail.example.com\"\n").expect("valid");
    let queue = Queue::open(&folder, &config, Clock::system()).expect("opened");
    let entry = |id: &str, bytes: &[u8]| NewEntry {
        id: QueueId::parse(id).expect("an id"),
        sender: ReversePath::Null,
        recipients: vec![Address::parse("bob@remote.example").expect("an address")],
        body: BodyKind::SevenBit,
        delivered: Vec::new(),
        demands: Demands::default(),
        junk: None,
        prefix: Vec::new(),
        content: Content::from_bytes(bytes.to_vec()),
        arrived: SystemTime::now(),
        quiet: false,
    };
    queue.submit(entry("b-1", FEW)).await.expect("there is room");
    fill(disk);
    let error = queue.submit(entry("b-2", &[b'y'; 10_000])).await.expect_err("there is no room");
    assert!(matches!(&error, QueueError::Io { source, .. } if source.kind() == ErrorKind::StorageFull), "{error:?}");
    assert_eq!((queue.len(), count(&folder.join("incoming"))), (1, 1));
    assert_eq!(Spool::list(&folder).expect("listed").len(), 1);
    free(disk);
    queue.submit(entry("b-2", FEW)).await.expect("there is room again");
    assert_eq!(Queue::open(&folder, &config, Clock::system()).expect("opened").len(), 2);
}
