//! Syncs of one folder shared by all who need one at the time.
//!
//! Whoever comes while no sync runs leads one at once, alone if need be; whoever comes while one runs waits for the
//! next, which one of them leads for all. So nobody ever waits for company, and under load one sync serves many.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;

use crate::fsio;

/// The folders that somebody is syncing now.
#[derive(Debug, Default)]
pub(super) struct FolderSyncs {
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
    /// Those who wait for a sync that has not begun.
    next: Arc<Outcome>,
}

/// What the kernel said to the leader, for all; an error as its number, since errors cannot be shared.
#[derive(Debug, Default)]
struct Outcome(OnceLock<Result<(), (Option<i32>, io::ErrorKind)>>);

impl FolderSyncs {
    /// Returns when a sync of the folder that began after this call has ended. Blocks.
    pub(super) fn sync(&self, folder: &Path) -> io::Result<()> {
        self.sync_by(folder, fsio::sync_dir)
    }

    fn sync_by(&self, folder: &Path, sync: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let group = {
            let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(folders.entry(folder.to_owned()).or_default())
        };
        let outcome = group.join(folder, sync);
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        // The map and we: nobody else is about to wait, since joining takes the map's lock first.
        if Arc::strong_count(&group) == 2 {
            folders.remove(folder);
        }
        drop(folders);
        match outcome.0.get() {
            Some(Ok(())) => Ok(()),
            Some(Err((Some(number), _))) => Err(io::Error::from_raw_os_error(*number)),
            Some(Err((None, kind))) => Err((*kind).into()),
            None => Err(io::Error::other("the sync was given up")),
        }
    }
}

impl Group {
    fn join(&self, folder: &Path, sync: impl FnOnce(&Path) -> io::Result<()>) -> Arc<Outcome> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
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
        state.next = Arc::default();
        drop(state);
        let result = sync(folder).map_err(|e| (e.raw_os_error(), e.kind()));
        // Only the leader of an outcome sets it, and once.
        ours.0.get_or_init(|| result);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running = false;
        drop(state);
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
        let syncs = FolderSyncs::default();
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
    fn a_failure_is_everybodys() {
        let syncs = FolderSyncs::default();
        let error = syncs.sync(Path::new("/nowhere/at/all")).expect_err("no such folder");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
