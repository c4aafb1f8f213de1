//! The task that picks what is due, hands it to the [`Transport`], and writes down how it ended.
//!
//! Times are kept on the monotonic clock; the wall clock only stands in the files. Knows nothing of DNS, SMTP or
//! mailboxes: the transport does.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bounce::Facts;
use super::bounce::Notice;
use super::bounce::notice;
use super::entry::News;
use super::entry::Outcome;
use super::entry::Waiting;
use super::schedule::Policy;
use super::spool::Folder;
use super::spool::NewEntry;
use super::spool::QueueError;
use super::spool::Spool;
use crate::clock::Clock;
use crate::config;
use crate::fsio::Content;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::ReversePath;
use crate::mail::envelope::BodyKind;
use crate::mail::envelope::Demands;
use crate::mail::ids::QueueId;
use crate::mail::limits::QUEUE_IN_FLIGHT;
use crate::mail::limits::QUEUE_MESSAGES;

/// One attempt: a message, and those of its recipients that have one domain.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which message.
    pub id: QueueId,
    /// `MAIL FROM`.
    pub sender: ReversePath,
    /// `RCPT TO`; not empty, all of one domain.
    pub recipients: Vec<Address>,
    /// `BODY` of `MAIL FROM`.
    pub body: BodyKind,
    /// What the sender demands.
    pub demands: Demands,
    /// Why it belongs into the folder for junk, where it does.
    pub junk: Option<String>,
    /// The message, lines ended by LF.
    pub content: Content,
}

/// What comes later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who carries mail out of the queue. Implemented by `delivery`, plugged in by the daemon.
pub trait Transport: Send + Sync + 'static {
    /// Tries a job and says for each recipient how it ended; one that is not mentioned is tried again.
    fn attempt(&self, job: Job) -> Pending<'_, Vec<(Address, Outcome)>>;

    /// Delivers a notice, with the null sender. Yes means that it is durable.
    fn tell(&self, notice: Notice) -> Pending<'_, Result<(), String>>;
}

/// The queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spool: Spool,
    clock: Clock,
    hostname: String,
    policy: ArcSwap<Policy>,
    waiting: Mutex<Table>,
    wake: Notify,
    at_once: Semaphore,
    per_destination: usize,
    destinations: Mutex<HashMap<Domain, Arc<Semaphore>>>,
}

#[derive(Debug, Default)]
struct Table {
    messages: HashMap<QueueId, Waiting>,
    /// Those that no attempt is under way for, by the time they are due.
    due: BTreeSet<(Instant, QueueId)>,
    /// Places held for what is being written.
    prepared: usize,
}

impl Table {
    /// Holds places for so many; `false` where there are not so many.
    fn hold(&mut self, count: usize) -> bool {
        let there_is_room = count <= QUEUE_MESSAGES.saturating_sub(self.messages.len() + self.prepared);
        if there_is_room {
            self.prepared += count;
        }
        there_is_room
    }
}

/// Messages that are written and synced, and not the queue's yet. Dropped, they are gone.
#[derive(Debug)]
#[must_use]
pub struct Prepared {
    queue: Queue,
    /// Places held in the table.
    held: usize,
    written: Vec<Waiting>,
}

impl Prepared {
    /// Makes the queue responsible for all of them: durable when this returns, and tried at once.
    ///
    /// # Errors
    /// What the kernel says of names, which take no room; then none of them is the queue's.
    pub async fn publish(mut self) -> Result<(), QueueError> {
        let named = tokio::task::spawn_blocking(move || {
            self.queue.0.spool.name(self.written.iter().map(|waiting| &waiting.id))?;
            let queue = self.queue.clone();
            let mut table = queue.table();
            for waiting in std::mem::take(&mut self.written) {
                table.due.insert((queue.0.clock.instant(), waiting.id.clone()));
                table.messages.insert(waiting.id.clone(), waiting);
            }
            drop(table);
            queue.0.wake.notify_one();
            Ok(())
        });
        named.await.map_err(std::io::Error::other).and_then(|r| r).map_err(QueueError::io("queueing a message"))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        for waiting in &self.written {
            self.queue.0.spool.discard(&waiting.id);
        }
        let mut table = self.queue.table();
        table.prepared = table.prepared.saturating_sub(self.held);
    }
}

impl Queue {
    /// Opens the queue in `folder`. Blocks; reads the head of every waiting message.
    ///
    /// # Errors
    /// What the kernel says of the folders.
    pub fn open(folder: &Path, config: &config::Config, clock: Clock) -> std::io::Result<Self> {
        let (spool, found) = Spool::open(folder)?;
        let policy = Policy::new(&config.queue);
        let mut table = Table::default();
        let (now, wall) = (clock.instant(), clock.wall());
        for mut waiting in found {
            waiting.clamp(&policy, wall);
            let wait = waiting.next.duration_since(wall).unwrap_or_default();
            table.due.insert((now + wait, waiting.id.clone()));
            table.messages.insert(waiting.id.clone(), waiting);
        }
        let permits = |n: u32| usize::try_from(n.max(1)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Ok(Self(Arc::new(Inner {
            spool,
            clock,
            hostname: config.hostname.to_string(),
            policy: ArcSwap::from_pointee(policy),
            waiting: Mutex::new(table),
            wake: Notify::new(),
            at_once: Semaphore::new(permits(config.outbound.concurrency)),
            per_destination: permits(config.outbound.concurrency_per_destination),
            destinations: Mutex::default(),
        })))
    }

    /// New times for waiting mail; they count from the next attempt on.
    pub fn set_policy(&self, policy: Policy) {
        self.0.policy.store(Arc::new(policy));
    }

    /// Takes responsibility for a message: durable when this returns, and tried at once.
    ///
    /// # Errors
    /// A full disk, for instance; the message is then not ours.
    pub async fn submit(&self, entry: NewEntry) -> Result<(), QueueError> {
        self.submit_all(vec![entry]).await
    }

    /// Takes responsibility for several: all of them are durable when this returns, or none is ours.
    ///
    /// # Errors
    /// As with [`Queue::submit`]. Only a machine that stops in between may have taken a part.
    pub async fn submit_all(&self, entries: Vec<NewEntry>) -> Result<(), QueueError> {
        self.prepare(entries).await?.publish().await
    }

    /// Finds room for several messages and writes them, all or none: what can go wrong for want of room or of a disk
    /// has gone wrong when this returns. They are nothing to anybody until they are published.
    ///
    /// # Errors
    /// As with [`Queue::submit`].
    pub async fn prepare(&self, entries: Vec<NewEntry>) -> Result<Prepared, QueueError> {
        let count = entries.len();
        if !self.table().hold(count) {
            return Err(QueueError::TooMany);
        }
        // From here on whatever ends this gives back what was taken.
        let mut prepared = Prepared { queue: self.clone(), held: count, written: Vec::with_capacity(count) };
        let written = tokio::task::spawn_blocking(move || {
            for entry in &entries {
                let waiting = prepared.queue.0.spool.write(entry)?;
                prepared.written.push(waiting);
            }
            Ok(prepared)
        });
        written.await.map_err(std::io::Error::other).and_then(|r| r).map_err(QueueError::io("queueing a message"))
    }

    /// Makes all waiting mail due now, and says how much that is.
    pub fn flush(&self) -> usize {
        let now = self.0.clock.instant();
        let mut table = self.table();
        let all: Vec<QueueId> = table.due.iter().map(|(_, id)| id.clone()).collect();
        table.due = all.into_iter().map(|id| (now, id)).collect();
        let count = table.due.len();
        drop(table);
        self.0.wake.notify_one();
        count
    }

    /// Messages that wait or are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table().messages.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers what is due until `shutdown` becomes true, then waits for what is under way.
    pub async fn run(&self, transport: Arc<dyn Transport>, mut shutdown: watch::Receiver<bool>) {
        let mut running = JoinSet::new();
        while !*shutdown.borrow() {
            while let Some(done) = running.try_join_next() {
                log_panic(done);
            }
            let next = self.start_due(&transport, &mut running);
            let wait =
                next.map_or(Duration::from_secs(3600), |at| at.saturating_duration_since(self.0.clock.instant()));
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(done) = running.join_next(), if running.len() >= QUEUE_IN_FLIGHT => log_panic(done),
                changed = shutdown.changed() => if changed.is_err() { break },
            }
        }
        while let Some(done) = running.join_next().await {
            log_panic(done);
        }
    }

    /// Starts everything that is due, and says when the next one is.
    fn start_due(&self, transport: &Arc<dyn Transport>, running: &mut JoinSet<()>) -> Option<Instant> {
        let now = self.0.clock.instant();
        let mut table = self.table();
        while running.len() < QUEUE_IN_FLIGHT {
            let (at, _) = table.due.first()?;
            if *at > now {
                return Some(*at);
            }
            let (_, id) = table.due.pop_first()?;
            let Some(waiting) = table.messages.get(&id).cloned() else { continue };
            let (queue, transport) = (self.clone(), Arc::clone(transport));
            running.spawn(async move { queue.process(waiting, transport).await });
        }
        None
    }

    /// One round for one message: every destination is tried, what came of it is written down, the sender is told.
    async fn process(&self, mut waiting: Waiting, transport: Arc<dyn Transport>) {
        let id = waiting.id.clone();
        let read = self.blocking(move |spool| {
            spool.show_in(&id, Folder::Active);
            spool.content(&id)
        });
        let content = match read.await {
            Ok(content) => content,
            Err(error) => {
                tracing::error!(id = %waiting.id, %error, "the queue file cannot be read; tried again later");
                return self.put_back(waiting).await;
            }
        };
        let outcomes = self.attempt(&waiting, content.clone(), &transport).await;
        for (to, outcome) in &outcomes {
            log_outcome(&waiting, to, outcome);
        }
        let mut changes = outcomes;
        waiting.apply(&changes);
        let expired = waiting.reschedule(&self.0.policy.load(), self.0.clock.wall());
        changes.extend(expired);
        if waiting.is_done() {
            return self.finish(waiting).await;
        }
        if let Err(error) = self.record(&waiting, changes).await {
            tracing::error!(id = %waiting.id, %error, "what an attempt did could not be written down");
        }
        match self.tell_sender(&mut waiting, &content.0, &*transport).await {
            Ok(()) if waiting.is_done() => self.finish(waiting).await,
            Ok(()) => self.put_back(waiting).await,
            Err(error) => {
                tracing::error!(id = %waiting.id, %error, "the sender could not be told; tried again later");
                self.put_back(waiting).await;
            }
        }
    }

    /// All destinations at once, each within its own limit, so that a slow one keeps none of the others waiting. A
    /// recipient whose attempt ended in a panic is not mentioned, and so is tried again.
    async fn attempt(
        &self,
        waiting: &Waiting,
        (content, body): (Content, BodyKind),
        transport: &Arc<dyn Transport>,
    ) -> Vec<(Address, Outcome)> {
        let mut groups: HashMap<Domain, Vec<Address>> = HashMap::new();
        for address in waiting.open() {
            groups.entry(address.domain().clone()).or_default().push(address.clone());
        }
        let mut attempts = JoinSet::new();
        for (domain, recipients) in groups {
            let (queue, transport) = (self.clone(), Arc::clone(transport));
            let (id, sender, content) = (waiting.id.clone(), waiting.sender.clone(), content.clone());
            let (demands, junk) = (waiting.demands.clone(), waiting.junk.clone());
            attempts.spawn(async move {
                let destination = queue.destination(&domain);
                // Closed is what these semaphores never are.
                let (Ok(_here), Ok(_all)) = (destination.acquire().await, queue.0.at_once.acquire().await) else {
                    return Vec::new();
                };
                transport.attempt(Job { id, sender, recipients, body, demands, junk, content }).await
            });
        }
        let mut outcomes = Vec::new();
        while let Some(ended) = attempts.join_next().await {
            match ended {
                Ok(more) => outcomes.extend(more),
                Err(error) => tracing::error!(id = %waiting.id, %error, "BUG: an attempt ended in a panic"),
            }
        }
        outcomes
    }

    fn destination(&self, domain: &Domain) -> Arc<Semaphore> {
        let mut destinations = self.0.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        if destinations.len() >= QUEUE_IN_FLIGHT {
            destinations.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        let fresh = || Arc::new(Semaphore::new(self.0.per_destination));
        Arc::clone(destinations.entry(domain.clone()).or_insert_with(fresh))
    }

    /// Tells the sender of those who failed, durably, and writes down that he was told. Where nobody may be told, that
    /// is done too.
    async fn tell_sender(
        &self,
        waiting: &mut Waiting,
        content: &Content,
        transport: &dyn Transport,
    ) -> Result<(), String> {
        let now = self.0.clock.wall();
        let news = waiting.news(now);
        if news.is_empty() {
            return Ok(());
        }
        let facts = Facts { hostname: &self.0.hostname, now, lifetime: self.0.policy.load().lifetime };
        let made = notice(waiting, &news, content, facts).map_err(|error| error.to_string())?;
        match made {
            Some(made) => {
                tracing::info!(id = %waiting.id, notice = %made.id, to = %made.to, "sender told");
                transport.tell(made).await?;
            }
            None if waiting.failed().next().is_some() => {
                tracing::warn!(id = %waiting.id, "failed, and there is no sender who may and wants to be told");
            }
            // Somebody has it, and nobody asked.
            None => {}
        }
        let told: Vec<_> = news.iter().map(News::told).collect();
        waiting.apply(&told);
        if waiting.is_done() { Ok(()) } else { self.record(waiting, told).await.map_err(|error| error.to_string()) }
    }

    async fn record(&self, waiting: &Waiting, changes: Vec<(Address, Outcome)>) -> std::io::Result<()> {
        let waiting = waiting.clone();
        self.blocking(move |spool| spool.record(&waiting, &changes)).await
    }

    /// The message is nobody's business any more.
    async fn finish(&self, waiting: Waiting) {
        let id = waiting.id.clone();
        if let Err(error) = self.blocking(move |spool| spool.remove(&id)).await {
            tracing::error!(id = %waiting.id, %error, "a message that is done could not be removed");
        }
        self.table().messages.remove(&waiting.id);
        tracing::info!(id = %waiting.id, "removed from the queue");
    }

    async fn put_back(&self, waiting: Waiting) {
        let wait = waiting.next.duration_since(self.0.clock.wall()).unwrap_or_default();
        // Never at once: an error that stays would spin.
        let at = self.0.clock.instant() + wait.max(Duration::from_secs(1));
        let id = waiting.id.clone();
        let shown = self.blocking(move |spool| {
            spool.show_in(&id, Folder::Deferred);
            Ok(())
        });
        // Where the file lies is a hint for people.
        shown.await.ok();
        let mut table = self.table();
        table.due.insert((at, waiting.id.clone()));
        table.messages.insert(waiting.id.clone(), waiting);
        drop(table);
        self.0.wake.notify_one();
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Spool) -> std::io::Result<R> + Send + 'static,
    ) -> std::io::Result<R> {
        let queue = self.clone();
        tokio::task::spawn_blocking(move || work(&queue.0.spool)).await.map_err(std::io::Error::other)?
    }
}

fn log_panic(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done {
        tracing::error!(%error, "BUG: a delivery ended in a panic; its message is tried again after a restart");
    }
}

fn log_outcome(waiting: &Waiting, to: &Address, outcome: &Outcome) {
    let (id, from) = (&waiting.id, &waiting.sender);
    match outcome {
        Outcome::Delivered { by, .. } => tracing::info!(%id, %from, %to, status = "sent", by = ?by, "delivery"),
        Outcome::Deferred { status, why } => {
            tracing::warn!(%id, %from, %to, status = "deferred", dsn = status, why = ?why, "delivery")
        }
        Outcome::Failed { status, why } => {
            tracing::warn!(%id, %from, %to, status = "bounced", dsn = status, why = ?why, "delivery")
        }
        Outcome::Told | Outcome::ToldOfDelay => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::envelope::Notify;
    use crate::mail::envelope::RecipientReport;
    use crate::queue::entry::Handover;
    use std::collections::VecDeque;
    use std::time::SystemTime;

    /// Answers attempts from a script and keeps the notices.
    #[derive(Debug, Default)]
    struct Script {
        answers: Mutex<HashMap<String, VecDeque<Outcome>>>,
        tried: Mutex<Vec<(Duration, String)>>,
        notices: Mutex<Vec<Notice>>,
        start: Mutex<Option<tokio::time::Instant>>,
    }

    impl Transport for Script {
        fn attempt(&self, job: Job) -> Pending<'_, Vec<(Address, Outcome)>> {
            Box::pin(async move {
                let start = *self.start.lock().expect("no panic").get_or_insert_with(tokio::time::Instant::now);
                let mut answers = self.answers.lock().expect("no panic");
                let mut outcomes = Vec::new();
                for recipient in job.recipients {
                    self.tried.lock().expect("no panic").push((start.elapsed(), recipient.to_string()));
                    let answer = answers.get_mut(&recipient.to_string()).and_then(VecDeque::pop_front);
                    outcomes.push((
                        recipient,
                        answer.unwrap_or(Outcome::Delivered { by: "script".to_owned(), how: Handover::Relayed }),
                    ));
                }
                outcomes
            })
        }

        fn tell(&self, notice: Notice) -> Pending<'_, Result<(), String>> {
            Box::pin(async move {
                self.notices.lock().expect("no panic").push(notice);
                Ok(())
            })
        }
    }

    fn entry(id: &str, to: &[&str]) -> NewEntry {
        let address = |t: &str| Address::parse(t).expect("an address");
        NewEntry {
            id: QueueId::parse(id).expect("an id"),
            sender: ReversePath::Address(address("alice@example.com")),
            recipients: to.iter().map(|t| address(t)).collect(),
            delivered: Vec::new(),
            body: BodyKind::SevenBit,
            demands: Demands::default(),
            junk: None,
            prefix: b"Received: by test\n".to_vec(),
            content: Content::from_bytes(b"Subject: x\n\nhello\n".to_vec()),
            arrived: SystemTime::now(),
            quiet: false,
        }
    }

    fn config() -> config::Config {
        config::parse(Path::new("t.toml"), "hostname = \"mail.example.com\"\n").expect("valid")
    }

    fn deferred() -> Outcome {
        Outcome::Deferred { status: "4.4.1".to_owned(), why: "nobody answers".to_owned() }
    }

    /// Waits for a condition; the paused clock runs as fast as the tasks let it.
    async fn until(what: impl Fn() -> bool) {
        for _ in 0..100_000 {
            if what() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("it did not come about");
    }

    #[tokio::test(start_paused = true)]
    async fn mail_is_tried_again_after_growing_waits_and_then_gone() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let clock = Clock::by_hand(SystemTime::now());
        let queue = Queue::open(dir.path(), &config(), clock.clone()).expect("opened");
        let script = Arc::new(Script::default());
        script.answers.lock().expect("no panic").insert("bob@remote.example".to_owned(), vec![deferred(); 2].into());
        let (stop, stopped) = watch::channel(false);
        let runner = tokio::spawn({
            let (queue, script) = (queue.clone(), Arc::clone(&script));
            async move { queue.run(script, stopped).await }
        });
        queue.submit(entry("a-1", &["bob@remote.example"])).await.expect("queued");
        for (attempts, wait) in [(1, 300), (2, 600)] {
            until(|| queue.table().messages.values().all(|w| w.attempts == attempts) && !queue.table().due.is_empty())
                .await;
            assert!(dir.path().join("deferred/a-1").exists());
            clock.advance(Duration::from_secs(wait - 1));
            queue.0.wake.notify_one();
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert_eq!(script.tried.lock().expect("no panic").len(), attempts as usize);
            clock.advance(Duration::from_secs(2));
            queue.0.wake.notify_one();
        }
        until(|| queue.is_empty()).await;
        assert_eq!(script.tried.lock().expect("no panic").len(), 3);
        assert!(!dir.path().join("deferred/a-1").exists());
        stop.send(true).expect("running");
        runner.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_tells_the_sender_once_and_the_others_go_on() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let clock = Clock::by_hand(SystemTime::now());
        let queue = Queue::open(dir.path(), &config(), clock.clone()).expect("opened");
        let script = Arc::new(Script::default());
        let failed = Outcome::Failed { status: "5.1.1".to_owned(), why: "no such user".to_owned() };
        script.answers.lock().expect("no panic").insert("bob@remote.example".to_owned(), vec![failed].into());
        script.answers.lock().expect("no panic").insert("eve@other.example".to_owned(), vec![deferred()].into());
        let (stop, stopped) = watch::channel(false);
        let runner = tokio::spawn({
            let (queue, script) = (queue.clone(), Arc::clone(&script));
            async move { queue.run(script, stopped).await }
        });
        queue.submit(entry("a-1", &["bob@remote.example", "eve@other.example"])).await.expect("queued");
        until(|| dir.path().join("deferred/a-1").exists()).await;
        assert_eq!(script.notices.lock().expect("no panic").len(), 1);
        stop.send(true).expect("running");
        runner.await.expect("no panic");
        // After a restart only the second recipient is tried, and nobody is told again.
        drop(queue);
        let queue = Queue::open(dir.path(), &config(), clock.clone()).expect("opened");
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.flush(), 1);
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn({
            let (queue, script) = (queue.clone(), Arc::clone(&script));
            async move { queue.run(script, stopped).await }
        });
        until(|| queue.is_empty()).await;
        let tried: Vec<String> = script.tried.lock().expect("no panic").iter().map(|(_, to)| to.clone()).collect();
        assert_eq!(tried.iter().filter(|t| *t == "bob@remote.example").count(), 1);
        assert_eq!(tried.iter().filter(|t| *t == "eve@other.example").count(), 2);
        assert_eq!(script.notices.lock().expect("no panic").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_and_a_delay_are_told_once_even_after_a_restart() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let clock = Clock::by_hand(SystemTime::now());
        let script = Arc::new(Script::default());
        script.answers.lock().expect("no panic").insert("eve@other.example".to_owned(), vec![deferred(); 3].into());
        let mut new = entry("a-1", &["eve@other.example"]);
        let carol = Address::parse("carol@example.com").expect("an address");
        let notify = Notify::On { success: true, failure: true, delay: false };
        new.demands.report.set(&carol, RecipientReport { notify, original: None });
        new.delivered = vec![carol];
        for restart in 0..4_usize {
            let queue = Queue::open(dir.path(), &config(), clock.clone()).expect("opened");
            let (stop, stopped) = watch::channel(false);
            let runner = tokio::spawn({
                let (queue, script) = (queue.clone(), Arc::clone(&script));
                async move { queue.run(script, stopped).await }
            });
            if restart == 0 {
                queue.submit(new.clone()).await.expect("queued");
            } else {
                clock.advance(Duration::from_secs(3 * 3600));
                queue.flush();
            }
            until(|| script.tried.lock().expect("no panic").len() == restart + 1).await;
            let rests = |table: &Table| table.due.len() == table.messages.len();
            until(|| rests(&queue.table())).await;
            stop.send(true).expect("running");
            runner.await.expect("no panic");
        }
        let notices = script.notices.lock().expect("no panic");
        let said =
            |word: &str| notices.iter().filter(|n| memchr::memmem::find(&n.bytes, word.as_bytes()).is_some()).count();
        assert_eq!((said("Action: delivered"), said("Action: delayed"), notices.len()), (1, 1, 2));
    }

    #[tokio::test]
    async fn several_are_queued_or_none() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let queue = Queue::open(dir.path(), &config(), Clock::system()).expect("opened");
        let three = || ["a-1", "a-2", "a-3"].map(|id| entry(id, &["bob@remote.example"])).to_vec();
        let files = || std::fs::read_dir(dir.path().join("incoming")).expect("a folder").count();
        // Something is in the way of the last file, and then of its name.
        std::fs::create_dir(dir.path().join("incoming/.a-3.tmp")).expect("made");
        assert!(matches!(queue.submit_all(three()).await, Err(QueueError::Io { .. })));
        assert_eq!((queue.len(), files()), (0, 1));
        std::fs::rename(dir.path().join("incoming/.a-3.tmp"), dir.path().join("incoming/a-3")).expect("moved");
        assert!(matches!(queue.submit_all(three()).await, Err(QueueError::Io { .. })));
        assert_eq!((queue.len(), files()), (0, 1));
        std::fs::remove_dir(dir.path().join("incoming/a-3")).expect("removed");
        // What is only prepared is found by nobody, and holds its places.
        let prepared = queue.prepare(three()).await.expect("written");
        assert_eq!((queue.len(), files(), queue.table().prepared), (0, 3, 3));
        assert_eq!(Spool::list(dir.path()).expect("listed").len(), 0);
        drop(prepared);
        assert_eq!((queue.len(), files(), queue.table().prepared), (0, 0, 0));
        queue.submit_all(three()).await.expect("queued");
        assert_eq!((queue.len(), files(), queue.table().prepared), (3, 3, 0));
        queue.table().prepared = QUEUE_MESSAGES - 5;
        assert!(matches!(queue.submit_all(three()).await, Err(QueueError::TooMany)));
        assert_eq!(files(), 3);
    }

    #[tokio::test]
    async fn a_damaged_file_is_set_aside_and_the_rest_goes_on() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let queue = Queue::open(dir.path(), &config(), Clock::system()).expect("opened");
        queue.submit(entry("a-1", &["bob@remote.example"])).await.expect("queued");
        queue.submit(entry("a-2", &["bob@remote.example"])).await.expect("queued");
        drop(queue);
        std::fs::write(dir.path().join("incoming/a-1"), b"garbage").expect("written");
        std::fs::write(dir.path().join("incoming/.a-3.tmp"), b"half").expect("written");
        let queue = Queue::open(dir.path(), &config(), Clock::system()).expect("opened");
        assert_eq!(queue.len(), 1);
        assert!(dir.path().join("corrupt/a-1").exists() && !dir.path().join("incoming/.a-3.tmp").exists());
        let (content, _) = queue.0.spool.content(&QueueId::parse("a-2").expect("an id")).expect("read");
        assert_eq!(content.in_memory(), Some(&b"Received: by test\nSubject: x\n\nhello\n"[..]));
        assert_eq!(Spool::list(dir.path()).expect("listed").len(), 1);
    }
}
