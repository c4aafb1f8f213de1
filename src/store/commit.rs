//! Syncs of one folder shared by all who need one at the time.
//!
//! Whoever comes while no sync runs leads one at once, alone if need be; whoever comes while one runs waits for the
//! next, which one of them leads for all. A leader waits for others only if they have announced themselves, that is
//! while they are writing their file for the same folder, and not longer than its own file took, for theirs take about
//! as long (between [`SYNC_PATIENCE`] and [`SYNC_PATIENCE_MOST`]): under load one sync then serves many, and who is alone
//! never waits. While many deliveries are under way at once, or were a moment ago ([`SYNC_BUSY`]), it waits three times
//! as long for whoever comes, since the next one into this folder is likely among them; [`SYNC_GATHER`] at least.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::clock::Clock;
use crate::fsio;
use crate::mail::limits::SYNC_BUSY;
use crate::mail::limits::SYNC_BUSY_FOR;
use crate::mail::limits::SYNC_GATHER;
use crate::mail::limits::SYNC_PATIENCE;
use crate::mail::limits::SYNC_PATIENCE_MOST;

/// The folders that somebody is syncing now.
#[derive(Debug)]
pub(super) struct FolderSyncs {
    clock: Clock,
    /// Deliveries that have begun and not ended.
    deliveries: AtomicUsize,
    /// Until when there were many of them at once a moment ago.
    busy_until: Mutex<Option<Instant>>,
    folders: Mutex<HashMap<PathBuf, Arc<Group>>>,
}

#[derive(Debug, Default)]
struct Group {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Those who have announced themselves and are not there yet.
    coming: u64,
    /// Those who had, and came or gave up.
    came: u64,
    /// Those who wait for a sync that has not begun.
    next: Arc<Outcome>,
}

/// What the kernel said to the leader, for all; an error as its number, since errors cannot be shared.
#[derive(Debug, Default)]
struct Outcome(OnceLock<Result<(), (Option<i32>, io::ErrorKind)>>);

impl FolderSyncs {
    /// None under way.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, deliveries: AtomicUsize::new(0), busy_until: Mutex::default(), folders: Mutex::default() }
    }

    /// Returns when a sync of the folder that began after this call has ended. Blocks.
    pub(super) fn sync(&self, folder: &Path) -> io::Result<()> {
        self.sync_by(folder, fsio::sync_dir)
    }

    /// Counts a delivery until the guard is dropped.
    pub(super) fn begin(&self) -> UnderWay<'_> {
        if self.deliveries.fetch_add(1, Ordering::Relaxed) + 1 >= SYNC_BUSY {
            let until = self.clock.instant().checked_add(SYNC_BUSY_FOR);
            *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
        }
        UnderWay(self)
    }

    fn is_busy(&self) -> bool {
        let until = *self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| self.clock.instant() < until)
    }

    /// Says that a sync of this folder will be asked for as soon as a file is written.
    pub(super) fn announce(&self, folder: &Path) -> Coming<'_> {
        let group = self.group(folder);
        group.state().coming += 1;
        Coming { syncs: self, folder: folder.to_owned(), group, announced: self.clock.instant(), arrived: false }
    }

    fn group(&self, folder: &Path) -> Arc<Group> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(folders.entry(folder.to_owned()).or_default())
    }

    fn leave(&self, folder: &Path, group: &Arc<Group>) {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        // The map and we: nobody else is about to wait, since joining takes the map's lock first.
        if Arc::strong_count(group) == 2 {
            folders.remove(folder);
        }
    }

    fn sync_by(&self, folder: &Path, sync: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let group = self.group(folder);
        let outcome = group.join(folder, Patience::default(), sync);
        self.leave(folder, &group);
        outcome.result()
    }
}

/// A delivery under way.
#[derive(Debug)]
pub(super) struct UnderWay<'a>(&'a FolderSyncs);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.deliveries.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a leader waits.
#[derive(Debug, Clone, Copy, Default)]
struct Patience {
    /// For those who have announced themselves.
    announced: Duration,
    /// For whoever comes.
    anybody: Duration,
}

/// An announced sync. Dropped without [`Coming::sync`], it was given up.
#[derive(Debug)]
pub(super) struct Coming<'a> {
    syncs: &'a FolderSyncs,
    folder: PathBuf,
    group: Arc<Group>,
    announced: Instant,
    arrived: bool,
}

impl Coming<'_> {
    /// As [`FolderSyncs::sync`], but waits a little for others who have announced themselves: a share of the
    /// patience, for callers that sync several folders.
    pub(super) fn sync(mut self, share: u32) -> io::Result<()> {
        self.arrive();
        let patience = self
            .syncs
            .clock
            .instant()
            .saturating_duration_since(self.announced)
            .clamp(SYNC_PATIENCE, SYNC_PATIENCE_MOST);
        let announced = patience.checked_div(share).unwrap_or_default();
        let busy = self.syncs.is_busy();
        let gather = (3 * patience).clamp(SYNC_GATHER, SYNC_PATIENCE_MOST).checked_div(share).unwrap_or_default();
        let anybody = if busy { gather } else { Duration::ZERO };
        let patience = Patience { announced, anybody };
        self.group.join(&self.folder, patience, fsio::sync_dir).result()
    }

    fn arrive(&mut self) {
        if std::mem::replace(&mut self.arrived, true) {
            return;
        }
        let mut state = self.group.state();
        state.coming -= 1;
        state.came += 1;
        drop(state);
        self.group.done.notify_all();
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.arrive();
        self.syncs.leave(&self.folder, &self.group);
    }
}

impl Outcome {
    fn result(&self) -> io::Result<()> {
        match self.0.get() {
            Some(Ok(())) => Ok(()),
            Some(Err((Some(number), _))) => Err(io::Error::from_raw_os_error(*number)),
            Some(Err((None, kind))) => Err((*kind).into()),
            None => Err(io::Error::other("the sync was given up")),
        }
    }
}

impl Group {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, folder: &Path, patience: Patience, sync: impl FnOnce(&Path) -> io::Result<()>) -> Arc<Outcome> {
        let mut state = self.state();
        let ours = Arc::clone(&state.next);
        loop {
            if ours.0.get().is_some() {
                return ours;
            }
            if !state.running {
                break;
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running = true;
        if !patience.anybody.is_zero() {
            let waited = self.done.wait_timeout_while(state, patience.anybody, |_| true);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.coming > 0 && !patience.announced.is_zero() {
            // Those who announce themselves from now on are not waited for.
            let all = state.came + state.coming;
            let waited = self.done.wait_timeout_while(state, patience.announced, |state| state.came < all);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.next = Arc::default();
        drop(state);
        let result = sync(folder).map_err(|e| (e.raw_os_error(), e.kind()));
        // Only the leader of an outcome sets it, and once.
        ours.0.get_or_init(|| result);
        self.state().running = false;
        self.done.notify_all();
        ours
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn those_who_come_during_a_sync_share_the_next() {
        let syncs = FolderSyncs::new(Clock::system());
        let count = AtomicUsize::new(0);
        let (started, has_started) = mpsc::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| {
                syncs.sync_by(Path::new("f"), move |_| {
                    started.send(()).map_err(io::Error::other)?;
                    may_finish.recv().map_err(io::Error::other)
                })
            });
            has_started.recv().expect("started");
            let others: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        syncs.sync_by(Path::new("f"), |_| {
                            count.fetch_add(1, Ordering::SeqCst);
                            Ok(())
                        })
                    })
                })
                .collect();
            // All eight hold the group, beside the leader and the map.
            let waiting = || {
                let folders = syncs.folders.lock().expect("not poisoned");
                folders.get(Path::new("f")).map(|g| Arc::strong_count(&g.state.lock().expect("not poisoned").next))
            };
            while waiting() != Some(9) {
                std::thread::yield_now();
            }
            finish.send(()).expect("listening");
            assert!(leader.join().expect("no panic").is_ok());
            assert!(others.into_iter().all(|o| o.join().expect("no panic").is_ok()));
        });
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(syncs.folders.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn a_leader_waits_for_the_announced() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let syncs = FolderSyncs::new(Clock::system());
        let two = syncs.announce(dir.path());
        let group = syncs.group(dir.path());
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| {
                let patience = Patience { announced: Duration::from_secs(60), anybody: Duration::ZERO };
                group.join(dir.path(), patience, |_| {
                    // The other is here before the sync begins.
                    assert_eq!(group.state().came, 1);
                    Ok(())
                })
            });
            while !group.state().running {
                std::thread::yield_now();
            }
            two.sync(1).expect("synced");
            assert!(leader.join().expect("no panic").result().is_ok());
        });
        drop(group);
        // The last who leaves takes the group with it.
        syncs.sync(dir.path()).expect("synced");
        assert!(syncs.folders.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn a_failure_is_everybodys() {
        let syncs = FolderSyncs::new(Clock::system());
        let error = syncs.sync(Path::new("/nowhere/at/all")).expect_err("no such folder");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
