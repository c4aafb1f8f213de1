//! Going through many messages on all cores, and stopping at once when nobody waits for the outcome.
//!
//! Threads of the blocking pool take chunks from what is left. All scans of the server together have as many threads as
//! there are cores, but each has one at least. A thread works for one batch, then goes to the end of the pool's queue,
//! so that deliveries and other clients' reads come in between, and places are shared out anew. Knows nothing of what is
//! looked for.

use std::ops::Range;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::mail::limits::SCAN_CHUNK;

use super::error::Result;
use super::error::StoreError;

/// How long a thread works before others get their turn.
const BATCH: Duration = Duration::from_millis(50);

/// Chunks per thread of a scan that is too small for full ones, so that none waits long for the others at the end.
const CHUNKS_PER_THREAD: usize = 8;

static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// Threads that scan now.
static SCANNING: AtomicUsize = AtomicUsize::new(0);

/// What is done with each message.
pub trait Look: Send + Sync + 'static {
    /// What a thread keeps from message to message.
    type Worker: Default + Send + 'static;
    /// What comes of a message.
    type Found: Send + 'static;

    /// Looks at message `at`, on a blocking thread. Once `given_up` is set nobody waits for what it finds.
    ///
    /// # Errors
    /// What shall end the whole scan.
    fn look(&self, worker: &mut Self::Worker, at: usize, given_up: &AtomicBool) -> Result<Option<Self::Found>>;

    /// The thread's batch is at its end: what it keeps may wait for a while.
    fn pause(&self, worker: &mut Self::Worker);
}

/// Looks at the messages from 0 to `count`; gives what was found, in their order. When the future is dropped, each
/// thread stops with the message at which it is.
///
/// # Errors
/// The first that a look had.
pub async fn scan<L: Look>(look: L, count: usize, clock: Clock) -> Result<Vec<L::Found>> {
    let threads = (*CORES).clamp(1, count.max(1));
    let chunk = (count / (threads * CHUNKS_PER_THREAD)).clamp(1, SCAN_CHUNK);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let shared = Arc::new(Shared { look, count, chunk, clock, next, stop });
    let stopper = StopOnDrop(Arc::clone(&shared));
    let mut idle: Vec<Worker<L>> = Vec::new();
    let mut running = JoinSet::new();
    let mut all: Vec<(usize, L::Found)> = Vec::new();
    loop {
        while running.len() < threads
            && let Some(worker) = shared.next_worker(&mut idle)
        {
            let Some(place) = Place::take(running.is_empty()) else {
                idle.push(worker);
                break;
            };
            let shared = Arc::clone(&shared);
            running.spawn_blocking(move || shared.batch(worker, place));
        }
        let Some(done) = running.join_next().await else { break };
        let (worker, found) =
            done.map_err(|_| StoreError::io("searching")(std::io::Error::other("a bug ended the search")))??;
        idle.push(worker);
        all.extend(found);
    }
    drop(stopper);
    all.sort_unstable_by_key(|(at, _)| *at);
    Ok(all.into_iter().map(|(_, found)| found).collect())
}

/// What the threads of a scan share.
struct Shared<L> {
    look: L,
    count: usize,
    chunk: usize,
    clock: Clock,
    /// The first message that nobody has taken.
    next: AtomicUsize,
    stop: AtomicBool,
}

/// What goes from batch to batch.
struct Worker<L: Look> {
    kept: L::Worker,
    /// What is left of its chunk.
    left: Range<usize>,
}

type Batch<L> = Result<(Worker<L>, Vec<(usize, <L as Look>::Found)>)>;

impl<L: Look> Shared<L> {
    /// Who goes on, if there is anything left to do: first those who have begun a chunk.
    fn next_worker(&self, idle: &mut Vec<Worker<L>>) -> Option<Worker<L>> {
        if let Some(at) = idle.iter().position(|worker| !worker.left.is_empty()) {
            return Some(idle.swap_remove(at));
        }
        (self.next.load(Ordering::Relaxed) < self.count)
            .then(|| idle.pop().unwrap_or_else(|| Worker { kept: L::Worker::default(), left: 0..0 }))
    }

    fn batch(&self, mut worker: Worker<L>, _place: Place) -> Batch<L> {
        let until = self.clock.instant() + BATCH;
        let mut found = Vec::new();
        let outcome = loop {
            if worker.left.is_empty() {
                let start = self.next.fetch_add(self.chunk, Ordering::Relaxed).min(self.count);
                worker.left = start..(start + self.chunk).min(self.count);
            }
            let Some(at) = worker.left.next() else { break Ok(()) };
            match self.look.look(&mut worker.kept, at, &self.stop) {
                Ok(one) => found.extend(one.map(|one| (at, one))),
                Err(error) => break Err(error),
            }
            if self.stop.load(Ordering::Relaxed) || self.clock.instant() >= until {
                break Ok(());
            }
        };
        self.look.pause(&mut worker.kept);
        outcome.map(|()| (worker, found))
    }
}

struct StopOnDrop<L>(Arc<Shared<L>>);

impl<L> Drop for StopOnDrop<L> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// The right to one thread; given back when dropped.
struct Place;

impl Place {
    /// A place where there is one, and `anyway` where there is none.
    fn take(anyway: bool) -> Option<Self> {
        let more = |n: usize| (anyway || n < *CORES).then_some(n + 1);
        SCANNING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok().then(|| Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        SCANNING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counts {
        looked: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
        pauses: AtomicUsize,
    }

    /// Finds every third message; takes a while.
    struct Thirds(Arc<Counts>, Duration, Option<usize>);

    impl Look for Thirds {
        type Worker = ();
        type Found = usize;

        fn look(&self, (): &mut (), at: usize, _: &AtomicBool) -> Result<Option<usize>> {
            if self.2 == Some(at) {
                return Err(StoreError::MessageGone);
            }
            let now = self.0.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.most.fetch_max(now, Ordering::SeqCst);
            std::thread::sleep(self.1);
            self.0.now.fetch_sub(1, Ordering::SeqCst);
            self.0.looked.fetch_add(1, Ordering::SeqCst);
            Ok(at.is_multiple_of(3).then_some(at))
        }

        fn pause(&self, (): &mut ()) {
            self.0.pauses.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn thirds(wait: Duration, fails_at: Option<usize>) -> (Arc<Counts>, Thirds) {
        let counts = Arc::new(Counts::default());
        (Arc::clone(&counts), Thirds(counts, wait, fails_at))
    }

    #[tokio::test]
    async fn each_message_is_looked_at_once_and_what_is_found_is_in_order() {
        for count in [0, 1, 2, 3, 15, 16, 17, 1000, 100_000] {
            let (counts, look) = thirds(Duration::ZERO, None);
            let found = scan(look, count, Clock::system()).await.expect("no error");
            assert_eq!(found, (0..count).step_by(3).collect::<Vec<_>>());
            assert_eq!(counts.looked.load(Ordering::SeqCst), count);
            assert_eq!(counts.pauses.load(Ordering::SeqCst) == 0, count == 0);
        }
    }

    #[tokio::test]
    async fn many_scans_share_the_cores() {
        let (counts, _) = thirds(Duration::ZERO, None);
        let mut scans = JoinSet::new();
        for _ in 0..6 {
            let look = Thirds(Arc::clone(&counts), Duration::from_millis(1), None);
            scans.spawn(scan(look, 200, Clock::system()));
        }
        while let Some(done) = scans.join_next().await {
            assert_eq!(done.expect("no panic").expect("no error").len(), 67);
        }
        assert_eq!(counts.looked.load(Ordering::SeqCst), 6 * 200);
        // One each, and who comes first has the other cores' places.
        assert!(counts.most.load(Ordering::SeqCst) <= *CORES + 5);
    }

    #[tokio::test]
    async fn an_error_ends_the_scan() {
        let (counts, look) = thirds(Duration::from_millis(1), Some(40));
        assert!(matches!(scan(look, 1_000_000, Clock::system()).await, Err(StoreError::MessageGone)));
        assert!(counts.looked.load(Ordering::SeqCst) < 10_000);
    }

    #[tokio::test]
    async fn a_scan_that_nobody_waits_for_stops() {
        let (counts, look) = thirds(Duration::from_millis(1), None);
        let scan = tokio::time::timeout(Duration::from_millis(120), scan(look, 1_000_000, Clock::system()));
        scan.await.expect_err("it is long");
        // Every thread may finish the message at which it is. The flag is set: nothing begins any more after that.
        let mut waits = 0;
        while counts.now.load(Ordering::SeqCst) > 0 && waits < 1000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            waits += 1;
        }
        let looked = counts.looked.load(Ordering::SeqCst);
        assert!(looked > 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let more = counts.looked.load(Ordering::SeqCst) - looked;
        assert!(more <= *CORES, "{more} messages after the end");
    }
}
