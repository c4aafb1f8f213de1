//! The queue against a plain model: random submissions, rounds of attempts, restarts, crashes and torn files.
//!
//! The model knows for each recipient whether he is waited for, failed or delivered with a sender still to be told, or
//! done. After every step the queue has the same on disk. At the end every accepted recipient was delivered or told of,
//! exactly once, and what the sender wished to hear (RFC 3461) he has heard, and nothing else; a torn file may repeat
//! what its last record said, and a crash an attempt, once for each of them.

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
use facteur::mail::envelope::Notify;
use facteur::mail::envelope::RecipientReport;
use facteur::mail::envelope::Report;
use facteur::mail::ids::QueueId;
use facteur::mail::limits::DELAY_NOTICE;
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

const SENDER: &str = "alice@example.com";

/// After this a message is given up: the default of the configuration.
const LIFETIME: Duration = Duration::from_secs(5 * 86_400);

#[derive(Debug, Clone)]
enum Operation {
    Submit(Submission),
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

/// A new message.
#[derive(Debug, Clone)]
struct Submission {
    /// How many recipients wait.
    count: u8,
    /// How many have it already; only those count of whom the sender wishes to hear.
    here: u8,
    has_sender: bool,
    /// The sender may be forged: nobody is told.
    quiet: bool,
    /// Nobody vouches for the sender: he is told of failures alone.
    failures_only: bool,
    /// What the sender wishes to hear, recipient by recipient.
    wishes: Vec<Notify>,
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
    /// Whether an attempt has said why not yet, and whether the sender was told that it is late.
    Waiting {
        tried: bool,
        told: bool,
    },
    Failed,
    Delivered(Handover),
    Done,
}

impl State {
    const FRESH: Self = Self::Waiting { tried: false, told: false };

    fn is_waiting(self) -> bool {
        matches!(self, Self::Waiting { .. })
    }

    /// How far it is on its way.
    fn rank(self) -> (u8, bool, bool) {
        match self {
            Self::Waiting { tried, told } => (0, tried, told),
            Self::Failed | Self::Delivered(_) => (1, false, false),
            Self::Done => (2, false, false),
        }
    }
}

#[derive(Debug)]
struct Message {
    /// Whether there is somebody who may be told.
    may_tell: bool,
    report: Report,
    arrived: SystemTime,
    recipients: BTreeMap<String, State>,
    /// Length of its file before the last round.
    safe: u64,
    /// Tears and crashes.
    tears: u32,
}

impl Message {
    /// What the attempts of a round, at `now`, and a notice that can or cannot be delivered make of it.
    fn go_on(&mut self, given: &HashMap<String, Given>, now: SystemTime, can_tell: bool) {
        let age = now.duration_since(self.arrived).unwrap_or_default();
        let mut wanted = false;
        for (name, state) in &mut self.recipients {
            let notify = self.report.notify(&address(name));
            if let State::Waiting { told, .. } = *state {
                *state = match given.get(name) {
                    Some(Given::Delivered(how)) if self.may_tell && notify.success() && *how != Handover::Reported => {
                        State::Delivered(*how)
                    }
                    Some(Given::Delivered(_)) => State::Done,
                    Some(Given::Failed) => State::Failed,
                    Some(Given::Deferred) => State::Waiting { tried: true, told },
                    // Whom nothing was said of waits.
                    None => *state,
                };
            }
            if state.is_waiting() && age >= LIFETIME {
                *state = State::Failed;
            }
            wanted |= match *state {
                State::Waiting { tried, told } => tried && !told && age >= DELAY_NOTICE && notify.delay(),
                State::Failed => notify.failure(),
                State::Delivered(_) => notify.success(),
                State::Done => false,
            };
        }
        if wanted && self.may_tell && !can_tell {
            return;
        }
        for (name, state) in &mut self.recipients {
            let delay = self.may_tell && self.report.notify(&address(name)).delay() && age >= DELAY_NOTICE;
            *state = match *state {
                State::Waiting { tried: true, told } => State::Waiting { tried: true, told: told || delay },
                State::Failed | State::Delivered(_) => State::Done,
                other => other,
            };
        }
    }
}

/// A recipient whom the queue took over.
#[derive(Debug)]
struct Promise {
    may_tell: bool,
    /// Had it before the queue had the message.
    here: bool,
    notify: Notify,
    tears: u32,
}

/// What an attempt said.
#[derive(Debug, Clone, Copy)]
enum Given {
    Delivered(Handover),
    Failed,
    Deferred,
}

/// What the outside world saw.
#[derive(Debug, Default)]
struct Seen {
    delivered: HashMap<String, u32>,
    /// Those among them of whom nobody else tells the sender.
    untold: HashMap<String, u32>,
    /// By what the notice said of them.
    told: HashMap<(String, String), u32>,
    given: HashMap<String, Given>,
    choices: Vec<u8>,
    can_tell: bool,
    /// Attempts do not come to an end; how many have begun.
    hanging: Option<usize>,
    texts: HashMap<String, String>,
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
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
            let (status, why) = ("4.4.1".to_owned(), "no".to_owned());
            let by = "world".to_owned();
            let (outcome, given) = match seen.choices.pop().unwrap_or_default() % 8 {
                0 => (Outcome::Delivered { by, how: Handover::Mailbox }, Given::Delivered(Handover::Mailbox)),
                1 => (Outcome::Delivered { by, how: Handover::Relayed }, Given::Delivered(Handover::Relayed)),
                2 => (Outcome::Delivered { by, how: Handover::Reported }, Given::Delivered(Handover::Reported)),
                3 => (Outcome::Failed { status: "5.1.1".to_owned(), why }, Given::Failed),
                4..=6 => (Outcome::Deferred { status, why }, Given::Deferred),
                // Whom nothing is said of is tried again.
                _ => continue,
            };
            if let Given::Delivered(how) = given {
                *seen.delivered.entry(to.to_string()).or_default() += 1;
                *seen.untold.entry(to.to_string()).or_default() += u32::from(how != Handover::Reported);
            }
            seen.given.insert(to.to_string(), given);
            outcomes.push((to, outcome));
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
        assert_eq!(notice.to.to_string(), SENDER);
        let text = String::from_utf8(notice.bytes).expect("ASCII");
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2) {
            let Some(name) = pair[0].strip_prefix("Final-Recipient: rfc822; ") else { continue };
            let action = pair[1].strip_prefix("Action: ").expect("what became of him").to_owned();
            *seen.told.entry((name.to_owned(), action)).or_default() += 1;
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
    /// Every accepted recipient.
    accepted: BTreeMap<String, Promise>,
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
            Operation::Submit(submission) => self.submit(&submission),
            Operation::Round(choices, can_tell) => self.round(choices, can_tell),
            Operation::Advance(hours) => self.clock.advance(Duration::from_secs(3600 * u64::from(hours))),
            Operation::Reopen => self.reopen(),
            Operation::Crash(choices) => self.crash(choices),
            Operation::Tear(which, at, tail) => self.tear(which, at, tail),
        }
        self.compare();
    }

    fn submit(&mut self, new: &Submission) {
        self.number += 1;
        let id = format!("m-{}", self.number);
        let may_tell = new.has_sender && !new.quiet;
        let waiting = (0..new.count % 5).map(|n| (format!("r{n}.{id}@d{}.example", n % 3), false));
        let here = (0..new.here % 3).map(|n| (format!("h{n}.{id}@d0.example"), true));
        let mut report = Report::default();
        let mut recipients = Vec::new();
        for ((name, here), notify) in waiting.chain(here).zip(new.wishes.iter().cycle()) {
            report.set(&address(&name), RecipientReport { notify: *notify, original: None });
            recipients.push((name, here));
        }
        if new.failures_only {
            report.keep_failures_only();
        }
        // Whoever has it is mentioned where the sender is to be told.
        recipients.retain(|(name, here)| !here || new.has_sender && report.notify(&address(name)).success());
        // Nor is a message quiet that nobody waits for.
        if recipients.iter().all(|(_, here)| *here && !may_tell) {
            recipients = vec![(format!("r0.{id}@d0.example"), false)];
        }
        let named = |wanted: bool| {
            recipients.iter().filter(|(_, here)| *here == wanted).map(|(name, _)| address(name)).collect::<Vec<_>>()
        };
        let body = format!("Subject: {id}\n\nhello\n");
        let entry = NewEntry {
            id: QueueId::parse(&id).expect("an id"),
            sender: if new.has_sender { ReversePath::Address(address(SENDER)) } else { ReversePath::Null },
            recipients: named(false),
            body: BodyKind::SevenBit,
            delivered: named(true),
            demands: Demands { report: report.clone(), ..Demands::default() },
            junk: None,
            prefix: b"Received: by test\n".to_vec(),
            content: Content::from_bytes(body.clone().into_bytes()),
            arrived: self.clock.wall(),
            quiet: new.quiet,
        };
        self.runtime.block_on(self.queue.submit(entry)).expect("queued");
        self.world.seen().texts.insert(id.clone(), format!("Received: by test\n{body}"));
        let mut states = BTreeMap::new();
        for (name, here) in recipients {
            let notify = report.notify(&address(&name));
            self.accepted.insert(name.clone(), Promise { may_tell, here, notify, tears: 0 });
            states.insert(name, if here { State::Delivered(Handover::Mailbox) } else { State::FRESH });
        }
        let safe = self.file(&id).metadata().expect("it is durable").len();
        let arrived = self.clock.wall();
        self.messages.insert(id, Message { may_tell, report, arrived, recipients: states, safe, tears: 0 });
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
            message.go_on(&given, now, can_tell);
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
            let waiting = message.recipients.iter().filter(|(_, state)| state.is_waiting());
            waiting
                .filter_map(|(name, _)| name.split_once('@'))
                .map(|(_, domain)| domain)
                .collect::<BTreeSet<_>>()
                .len()
        };
        // Of those that only wait for their sender to be told none ends here: he cannot be.
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
                if let Some(promise) = self.accepted.get_mut(name) {
                    promise.tears = message.tears;
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
            let was_so = found == *known || found.rank() < known.rank();
            assert!(was_so, "{address}: {found:?} was never true after {known:?}");
            *known = found;
            if let Some(promise) = self.accepted.get_mut(&address.to_string()) {
                promise.tears = message.tears;
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
        for (name, promise) in &self.accepted {
            let Promise { may_tell, here, notify, tears } = promise;
            let count = |of: &HashMap<String, u32>| of.get(name).copied().unwrap_or_default();
            let said = |action: &str| seen.told.get(&(name.clone(), action.to_owned())).copied().unwrap_or_default();
            let (delivered, failed, delayed) =
                (count(&seen.delivered) + u32::from(*here), said("failed"), said("delayed"));
            let success = said("delivered") + said("relayed");
            let about =
                format!("{name}: {promise:?}, {delivered} delivered, {failed} failed, {delayed} delayed, {success}");
            assert!(delivered + failed <= 1 + tears, "more than once: {about}");
            assert!(delivered + failed >= 1 || !(*may_tell && notify.failure()), "lost: {about}");
            assert!(delayed <= 1 + tears && success <= 1 + tears, "told too often: {about}");
            assert!(failed == 0 || (*may_tell && notify.failure()), "unwanted: {about}");
            assert!(delayed == 0 || (*may_tell && notify.delay()), "unwanted: {about}");
            assert!(success == 0 || (*may_tell && notify.success()), "unwanted: {about}");
            let worth = count(&seen.untold) + u32::from(*here);
            if *tears == 0 && *may_tell && notify.success() {
                assert_eq!(success, worth, "what was wished for: {about}");
            }
        }
    }
}

fn plain(state: &RecipientState) -> State {
    match state {
        RecipientState::Waiting { last, told } => State::Waiting { tried: last.is_some(), told: *told },
        RecipientState::Failed { .. } => State::Failed,
        RecipientState::Delivered { how, .. } => State::Delivered(*how),
        RecipientState::Done => State::Done,
    }
}

fn submission() -> impl Strategy<Value = Submission> {
    let on = |success, failure, delay| Just(Notify::On { success, failure, delay });
    let wish = prop_oneof![
        3 => Just(Notify::Unsaid),
        1 => Just(Notify::Never),
        2 => on(true, false, false),
        2 => on(true, true, true),
        1 => on(false, true, false),
        1 => on(false, false, true),
    ];
    let rarely = || proptest::bool::weighted(0.15);
    (any::<u8>(), any::<u8>(), rarely(), rarely(), rarely(), proptest::collection::vec(wish, 1..6)).prop_map(
        |(count, here, bounce, quiet, failures_only, wishes)| Submission {
            count,
            here,
            has_sender: !bounce,
            quiet,
            failures_only,
            wishes,
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    let choices = proptest::collection::vec(any::<u8>(), 0..12);
    let tail = prop_oneof![Just(Tail::Missing), Just(Tail::Zeros), Just(Tail::Garbage)];
    prop_oneof![
        4 => submission().prop_map(Operation::Submit),
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
