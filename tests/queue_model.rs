//! The queue against a plain model: random submissions, rounds of attempts, restarts, crashes and torn files.
//!
//! The model knows for each recipient whether he is waited for, failed with a sender still to be told, or done. After
//! every step the queue has the same on disk. At the end every accepted recipient was delivered or told of, exactly
//! once; a torn file may repeat what its last record said, and a crash an attempt, once for each of them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::SystemTime;

use facteur::clock::Clock;
use facteur::config;
use facteur::fsio::Content;
use facteur::mail::address::Address;
use facteur::mail::address::ReversePath;
use facteur::mail::envelope::BodyKind;
use facteur::mail::envelope::Demands;
use facteur::mail::ids::QueueId;
use facteur::queue::Handover;
use facteur::queue::Job;
use facteur::queue::NewEntry;
use facteur::queue::Notice;
use facteur::queue::Outcome;
use facteur::queue::Pending;
use facteur::queue::Queue;
use facteur::queue::RecipientState;
use facteur::queue::Spool;
use facteur::queue::Transport;
use proptest::prelude::*;
use tokio::sync::watch;

/// Room for all attempts at once: those of a crash wait for each other otherwise.
const CONFIG: &str =
    "hostname = \"mail.example.com\"\n[outbound]\nconcurrency = 1000\nconcurrency_per_destination = 1000\n";

/// After this a message is given up: the default of the configuration.
const LIFETIME: Duration = Duration::from_secs(5 * 86_400);

#[derive(Debug, Clone)]
enum Operation {
    /// So many recipients; whether somebody can be told of a failure.
    Submit(u8, bool),
    /// Every waiting message is tried; the octets choose the outcomes, and whether a notice can be delivered.
    Round(Vec<u8>, bool),
    /// Hours go by.
    Advance(u8),
    Reopen,
    /// The machine stops while every message is being tried; the octets choose who has got it by then.
    Crash(Vec<u8>),
    /// The tail of a spool file was not synced when the machine stopped: what, from where, and what is there instead.
    Tear(u8, u8, Tail),
}

/// What a torn tail looks like.
#[derive(Debug, Clone, Copy)]
enum Tail {
    Missing,
    Zeros,
    Garbage,
}

/// One recipient in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Failed,
    Done,
}

#[derive(Debug)]
struct Message {
    has_sender: bool,
    arrived: SystemTime,
    recipients: BTreeMap<String, State>,
    /// Length of its file before the last round.
    safe: u64,
    /// Tears and crashes.
    tears: u32,
}

/// What the outside world saw.
#[derive(Debug, Default)]
struct Seen {
    delivered: HashMap<String, u32>,
    told: HashMap<String, u32>,
    delayed: HashMap<String, u32>,
    given: HashMap<String, State>,
    choices: Vec<u8>,
    can_tell: bool,
    /// Attempts do not come to an end; how many have begun.
    hanging: Option<usize>,
    texts: HashMap<String, String>,
}

#[derive(Debug, Default)]
struct World(Mutex<Seen>);

impl World {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("no panic while it is locked")
    }
}

impl Transport for World {
    fn attempt(&self, job: Job) -> Pending<'_, Vec<(Address, Outcome)>> {
        let mut seen = self.seen();
        let mut text = String::new();
        job.content.reader().read_to_string(&mut text).expect("readable");
        assert_eq!(seen.texts.get(job.id.as_str()), Some(&text), "the message is what was submitted");
        let mut outcomes = Vec::new();
        for to in job.recipients {
            let choice = seen.choices.pop().unwrap_or_default();
            let (status, why) = ("4.4.1".to_owned(), "no".to_owned());
            let (outcome, state) = match choice % 4 {
                0 => (Outcome::Delivered { by: "world".to_owned(), how: Handover::Mailbox }, State::Done),
                1 => (Outcome::Failed { status: "5.1.1".to_owned(), why }, State::Failed),
                _ => (Outcome::Deferred { status, why }, State::Waiting),
            };
            if state == State::Done {
                *seen.delivered.entry(to.to_string()).or_default() += 1;
            }
            seen.given.insert(to.to_string(), state);
            // Whom nothing is said of is tried again.
            if choice % 8 != 7 {
                outcomes.push((to, outcome));
            }
        }
        if let Some(begun) = &mut seen.hanging {
            *begun += 1;
            return Box::pin(std::future::pending());
        }
        Box::pin(std::future::ready(outcomes))
    }

    fn tell(&self, notice: Notice) -> Pending<'_, Result<(), String>> {
        let mut seen = self.seen();
        if !seen.can_tell {
            return Box::pin(std::future::ready(Err("nobody is there".to_owned())));
        }
        let text = String::from_utf8(notice.bytes).expect("ASCII");
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2) {
            let Some(name) = pair[0].strip_prefix("Final-Recipient: rfc822; ") else { continue };
            let told = match pair[1] {
                "Action: failed" => &mut seen.told,
                "Action: delayed" => &mut seen.delayed,
                other => panic!("nobody asked for {other}"),
            };
            *told.entry(name.to_owned()).or_default() += 1;
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Run {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    clock: Clock,
    config: config::Config,
    queue: Queue,
    world: Arc<World>,
    /// What is not done, by id.
    messages: BTreeMap<String, Message>,
    /// Every accepted recipient: whether somebody could be told, and how often his file was torn.
    accepted: BTreeMap<String, (bool, u32)>,
    number: u32,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime")
}

impl Run {
    fn new() -> Self {
        let runtime = runtime();
        let folder = tempfile::tempdir().expect("temporary folder");
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let config = config::parse(Path::new("t.toml"), CONFIG).expect("valid");
        let queue = Queue::open(folder.path(), &config, clock.clone()).expect("opened");
        let (messages, accepted) = (BTreeMap::new(), BTreeMap::new());
        Self { runtime, folder, clock, config, queue, world: Arc::default(), messages, accepted, number: 0 }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Submit(count, has_sender) => self.submit(count, has_sender),
            Operation::Round(choices, can_tell) => self.round(choices, can_tell),
            Operation::Advance(hours) => self.clock.advance(Duration::from_secs(3600 * u64::from(hours))),
            Operation::Reopen => self.reopen(),
            Operation::Crash(choices) => self.crash(choices),
            Operation::Tear(which, at, tail) => self.tear(which, at, tail),
        }
        self.compare();
    }

    fn submit(&mut self, count: u8, has_sender: bool) {
        self.number += 1;
        let id = format!("m-{}", self.number);
        let address = |text: &str| Address::parse(text).expect("an address");
        let names = (0..=count % 4).map(|n| format!("r{n}.{id}@d{}.example", n % 3));
        let recipients: BTreeMap<String, State> = names.map(|name| (name, State::Waiting)).collect();
        let body = format!("Subject: {id}\n\nhello\n");
        let entry = NewEntry {
            id: QueueId::parse(&id).expect("an id"),
            sender: if has_sender { ReversePath::Address(address("alice@example.com")) } else { ReversePath::Null },
            recipients: recipients.keys().map(|name| address(name)).collect(),
            body: BodyKind::SevenBit,
            delivered: Vec::new(),
            demands: Demands::default(),
            junk: None,
            prefix: b"Received: by test\n".to_vec(),
            content: Content::from_bytes(body.clone().into_bytes()),
            arrived: self.clock.wall(),
            quiet: false,
        };
        self.runtime.block_on(self.queue.submit(entry)).expect("queued");
        self.world.seen().texts.insert(id.clone(), format!("Received: by test\n{body}"));
        self.accepted.extend(recipients.keys().map(|name| (name.clone(), (has_sender, 0))));
        let safe = self.file(&id).metadata().expect("it is durable").len();
        let arrived = self.clock.wall();
        self.messages.insert(id, Message { has_sender, arrived, recipients, safe, tears: 0 });
    }

    /// The file of a message, in whatever folder.
    fn file(&self, id: &str) -> PathBuf {
        let folders = ["incoming", "active", "deferred"].map(|folder| self.folder.path().join(folder).join(id));
        folders.into_iter().find(|path| path.exists()).expect("a message that is not done has a file")
    }

    /// One attempt for every message, and what the model makes of it.
    fn round(&mut self, choices: Vec<u8>, can_tell: bool) {
        let lengths: Vec<u64> =
            self.messages.keys().map(|id| self.file(id).metadata().expect("it is there").len()).collect();
        for (message, length) in self.messages.values_mut().zip(lengths) {
            message.safe = length;
        }
        {
            let mut seen = self.world.seen();
            (seen.choices, seen.can_tell) = (choices, can_tell);
            seen.given.clear();
        }
        self.queue.flush();
        let (stop, stopped) = watch::channel(false);
        let transport: Arc<dyn Transport> = Arc::clone(&self.world) as _;
        self.runtime.block_on(async {
            // The queue starts all that is due before it first waits, and ends what it has started.
            tokio::join!(self.queue.run(transport, stopped), async {
                stop.send_replace(true);
            });
        });
        let given = std::mem::take(&mut self.world.seen().given);
        let now = self.clock.wall();
        for message in self.messages.values_mut() {
            let over = now.duration_since(message.arrived).unwrap_or_default() >= LIFETIME;
            for (name, state) in &mut message.recipients {
                if *state == State::Waiting {
                    *state = given.get(name).copied().unwrap_or(State::Waiting);
                }
                // A bit more than the transport knows: whom nothing was said of waits.
                if *state == State::Waiting && over {
                    *state = State::Failed;
                }
                if *state == State::Failed && (can_tell || !message.has_sender) {
                    *state = State::Done;
                }
            }
        }
        self.messages.retain(|_, message| message.recipients.values().any(|state| *state != State::Done));
    }

    fn reopen(&mut self) {
        self.queue = Queue::open(self.folder.path(), &self.config, self.clock.clone()).expect("opened");
    }

    /// Attempts begin, and none of them is heard of again.
    fn crash(&mut self, choices: Vec<u8>) {
        {
            let mut seen = self.world.seen();
            (seen.choices, seen.can_tell, seen.hanging) = (choices, false, Some(0));
        }
        // One attempt for each domain of a message.
        let domains = |message: &Message| {
            let waiting = message.recipients.iter().filter(|(_, state)| **state == State::Waiting);
            waiting
                .filter_map(|(name, _)| name.split_once('@'))
                .map(|(_, domain)| domain)
                .collect::<BTreeSet<_>>()
                .len()
        };
        let wanted: usize = self.messages.values().map(domains).sum();
        self.queue.flush();
        let (_stop, stopped) = watch::channel(false);
        let world = Arc::clone(&self.world);
        let (queue, transport): (Queue, Arc<dyn Transport>) = (self.queue.clone(), Arc::clone(&self.world) as _);
        self.runtime.block_on(async {
            let run = queue.run(transport, stopped);
            let all_begun = async {
                while world.seen().hanging != Some(wanted) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::select! {
                () = run => panic!("nobody stopped it"),
                begun = tokio::time::timeout(Duration::from_secs(20), all_begun) => begun.expect("all are tried"),
            }
        });
        // What is at work for it ends before anything else is done with the files.
        drop(std::mem::replace(&mut self.runtime, runtime()));
        self.world.seen().hanging = None;
        for message in self.messages.values_mut() {
            message.tears += 1;
            for name in message.recipients.keys() {
                if let Some((_, tears)) = self.accepted.get_mut(name) {
                    *tears = message.tears;
                }
            }
        }
        self.reopen();
    }

    /// Damages the part of a file that the last round wrote, or what lies behind it, and starts again.
    fn tear(&mut self, which: u8, at: u8, tail: Tail) {
        let Some(id) = self.messages.keys().nth(usize::from(which) % self.messages.len().max(1)).cloned() else {
            return;
        };
        let path = self.file(&id);
        let mut bytes = std::fs::read(&path).expect("readable");
        let safe = usize::try_from(self.messages[&id].safe).expect("small");
        let cut = safe + (bytes.len() - safe) * usize::from(at) / 256;
        let rest = bytes.split_off(cut).len().max(20);
        match tail {
            Tail::Missing => {}
            Tail::Zeros => bytes.resize(cut + rest, 0),
            Tail::Garbage => bytes.extend((0..rest).map(|n| at.wrapping_mul(31).wrapping_add(n.to_le_bytes()[0]) | 1)),
        }
        std::fs::write(&path, bytes).expect("written");
        self.reopen();
        self.adopt(&id);
    }

    /// Takes over what is left of a torn message: for each recipient what was true before the last round, or after.
    fn adopt(&mut self, id: &str) {
        let listed = Spool::list(self.folder.path()).expect("listed");
        let (waiting, _) =
            listed.iter().find(|(waiting, _)| waiting.id.as_str() == id).expect("a tear loses no message");
        let Some(message) = self.messages.get_mut(id) else { return };
        message.tears += 1;
        for (address, state) in &waiting.recipients {
            let known = message.recipients.get_mut(&address.to_string()).expect("a recipient of it");
            let found = plain(state);
            assert!(found == *known || *known != State::Waiting, "{address}: {found:?} was never true after {known:?}");
            *known = found;
            if let Some((_, tears)) = self.accepted.get_mut(&address.to_string()) {
                *tears = message.tears;
            }
        }
    }

    /// What is on disk and in memory is what the model says.
    fn compare(&self) {
        assert_eq!(self.queue.len(), self.messages.len());
        let listed = Spool::list(self.folder.path()).expect("listed");
        let found: BTreeMap<String, BTreeMap<String, State>> = listed
            .iter()
            .map(|(waiting, _)| {
                let states = waiting.recipients.iter().map(|(address, state)| (address.to_string(), plain(state)));
                (waiting.id.to_string(), states.collect())
            })
            .collect();
        let wanted: BTreeMap<_, _> = self.messages.iter().map(|(id, m)| (id.clone(), m.recipients.clone())).collect();
        assert_eq!(found, wanted);
        assert_eq!(std::fs::read_dir(self.folder.path().join("corrupt")).expect("a folder").count(), 0);
    }

    /// Everything is delivered, and every recipient has had what he was to have.
    fn finish(&mut self) {
        for _ in 0..3 {
            self.apply(Operation::Reopen);
            self.apply(Operation::Round(Vec::new(), true));
        }
        assert!(self.messages.is_empty() && self.queue.is_empty());
        let seen = self.world.seen();
        for (name, (has_sender, tears)) in &self.accepted {
            let count = |of: &HashMap<String, u32>| of.get(name).copied().unwrap_or_default();
            let (delivered, told) = (count(&seen.delivered), count(&seen.told));
            assert!(delivered + told <= 1 + tears, "{name}: {delivered} delivered, {told} told, {tears} tears");
            assert!(delivered + told >= 1 || !has_sender, "{name} is lost");
            let delayed = count(&seen.delayed);
            assert!(delayed <= 1 + tears && (*has_sender || delayed == 0), "{name}: {delayed} told of a delay");
        }
    }
}

fn plain(state: &RecipientState) -> State {
    match state {
        RecipientState::Waiting { .. } => State::Waiting,
        RecipientState::Failed { .. } => State::Failed,
        RecipientState::Delivered { .. } | RecipientState::Done => State::Done,
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let choices = proptest::collection::vec(any::<u8>(), 0..12);
    let tail = prop_oneof![Just(Tail::Missing), Just(Tail::Zeros), Just(Tail::Garbage)];
    prop_oneof![
        4 => (any::<u8>(), proptest::bool::weighted(0.8)).prop_map(|(n, sender)| Operation::Submit(n, sender)),
        6 => (choices.clone(), proptest::bool::weighted(0.8)).prop_map(|(choices, tell)| Operation::Round(choices, tell)),
        1 => (0..60_u8).prop_map(Operation::Advance),
        2 => Just(Operation::Reopen),
        1 => choices.prop_map(Operation::Crash),
        3 => (any::<u8>(), any::<u8>(), tail).prop_map(|(which, at, tail)| Operation::Tear(which, at, tail)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_recipient_is_delivered_or_told_of(operations in proptest::collection::vec(operation(), 1..25)) {
        let mut run = Run::new();
        for operation in operations {
            run.apply(operation);
        }
        run.finish();
    }
}
