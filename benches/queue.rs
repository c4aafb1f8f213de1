//! The queue on disk, in a temporary folder: set TMPDIR to measure a disk instead of what is there.

use std::path::Path;
use std::time::SystemTime;

use divan::Bencher;
use facteur::clock::Clock;
use facteur::config;
use facteur::fsio::Content;
use facteur::mail::address::Address;
use facteur::mail::address::ReversePath;
use facteur::mail::envelope::BodyKind;
use facteur::mail::envelope::Demands;
use facteur::mail::ids::SessionId;
use facteur::queue::NewEntry;
use facteur::queue::Queue;

fn main() {
    divan::main();
}

/// Messages of 4 KiB for one recipient.
struct World {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    config: config::Config,
    session: SessionId,
    number: u32,
}

impl World {
    fn new() -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
            folder: tempfile::tempdir().expect("temporary folder"),
            config: config::parse(Path::new("b.toml"), "hostname = \"mail.example.test\"\n").expect("valid"),
            session: SessionId::new(Clock::system().since_epoch()),
            number: 0,
        }
    }

    fn open(&self) -> Queue {
        Queue::open(self.folder.path(), &self.config, Clock::system()).expect("opened")
    }

    fn submit(&mut self, queue: &Queue, content: &Content) {
        self.number += 1;
        let entry = NewEntry {
            id: self.session.message(self.number),
            sender: ReversePath::Address(Address::parse("a@example.test").expect("valid")),
            recipients: vec![Address::parse("b@remote.example").expect("valid")],
            body: BodyKind::SevenBit,
            delivered: Vec::new(),
            demands: Demands::default(),
            junk: None,
            prefix: b"Received: by bench\n".to_vec(),
            content: content.clone(),
            arrived: SystemTime::now(),
            quiet: false,
        };
        self.runtime.block_on(queue.submit(entry)).expect("queued");
    }
}

fn content() -> Content {
    Content::from_bytes(b"A line of text, as people write\n".repeat(128))
}

#[divan::bench]
fn submit_4_kib(bencher: Bencher<'_, '_>) {
    let mut world = World::new();
    let (queue, content) = (world.open(), content());
    bencher.bench_local(|| world.submit(&queue, &content));
}

/// A start with a thousand messages that wait.
#[divan::bench(sample_count = 20)]
fn open_1000_messages(bencher: Bencher<'_, '_>) {
    let mut world = World::new();
    let (queue, content) = (world.open(), content());
    for _ in 0..1000 {
        world.submit(&queue, &content);
    }
    bencher.bench_local(|| assert_eq!(world.open().len(), 1000));
}
