//! Changes that other programs make to the names in `new/` and `cur/` of open mailboxes, told by the kernel at once
//! (inotify(7), Linux alone), with our own operations matched off. Knows folders and names, nothing of messages.
//!
//! # How our own operations are told from foreign ones
//!
//! The kernel queues an event before the system call that caused it returns, and the events of one folder in the order
//! in which its names changed. Who is about to change a name says so first, and afterwards how it
//! went, both by [`Watched::ours`]. An event that somebody expects is
//! consumed; every other is foreign. Events of one name and kind are alike, so they are counted, and it does not matter
//! which of two is ours.
//!
//! | what happens | what becomes of the expectation |
//! | --- | --- |
//! | the operation fails, no event came | it is taken back |
//! | the operation fails, an event of that name came | that event was foreign: it is reported now |
//! | the operation is over, and no event came although the queue was read to its end | it is forgotten: the kernel joins an event with an equal one before it, and renaming a file onto its own hard link is no event at all |
//! | the kernel's queue overflows | all are forgotten, all folders must be scanned |
//! | more than [`EXPECTED_NAMES_KEPT`] in one folder | those of the folder are forgotten, and it must be scanned |
//!
//! What is forgotten too early makes an event of ours a foreign one, which costs a look at one name. An operation that
//! has no event hides a foreign change only of the same name and kind, and only until the queue is read next, which
//! [`Watcher::run`] does within [`WATCH_PAUSE`]: whoever knows that a rename does nothing does not announce it.
//!
//! # What a change says, and what it does not
//!
//! A [`ForeignChange`] names a file to look at; the disk has the last word. Our own later operations on the same name
//! are not in the list, and of an exchange of two names (RENAME_EXCHANGE) the last event is not what is left.
//! What happened before [`Watcher::watch`] returned is not told: watch first, read the folders afterwards. A watch
//! stays with the folder whatever its parents are called, so a Maildir replaced as a whole has no event: the identity
//! of the folders (device and inode) must still be compared at each look.
//!
//! # Lock
//!
//! One, `state`, held for moments: reading one buffer of events and distributing them happens under it, so that readers
//! do not overtake each other. Nothing that others gave us is called or dropped under it. It comes after all locks of
//! mailboxes, and none is taken inside.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::mail::limits::EXPECTED_NAMES_KEPT;
use crate::mail::limits::FOREIGN_NAMES_KEPT;
use crate::mail::limits::OWN_EVENTS_UNREAD;
use crate::mail::limits::WATCH_EVENT_OCTETS;
use crate::mail::limits::WATCH_PAUSE;
use crate::mail::limits::WATCH_READ_OCTETS;

use super::context::lock;

/// One of the two folders of a mailbox in which messages lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Sub {
    /// `new/`.
    New,
    /// `cur/`.
    Cur,
}

impl Sub {
    /// `new/` for messages that no session has claimed.
    pub(super) fn of(recent: bool) -> Self {
        if recent { Self::New } else { Self::Cur }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Cur => "cur",
        }
    }

    /// A file in it.
    pub(super) fn file(self, folder: &Path, name: &[u8]) -> PathBuf {
        folder.join(self.name()).join(OsStr::from_bytes(name))
    }
}

/// What happens to a name in a folder. A rename is both, under the old name and the new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Created, linked, or renamed to it, over another file or not.
    Appears,
    /// Removed, or renamed to another name.
    Vanishes,
}

/// A part of an operation of ours: the folder, what happens there, the name.
pub(super) type Step<'a> = (Sub, Kind, &'a [u8]);

/// What another program did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ForeignChange {
    /// Where.
    pub(super) sub: Sub,
    /// What happened; what is there now, the disk says.
    pub(super) kind: Kind,
    /// The name of the file.
    pub(super) name: Box<[u8]>,
}

/// What was seen in a mailbox since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// What others did, in the order in which it happened in each folder; empty where `must_scan`.
    pub(super) names: Vec<ForeignChange>,
    /// Changes were lost, or are too many to name: only reading the folders tells.
    pub(super) must_scan: bool,
    /// `new/` or `cur/` itself was removed, renamed or unmounted. Nothing more will be seen of it, so this stays true:
    /// let go of the [`Watched`], then watch and read the folders anew.
    pub(super) replaced: bool,
    /// Whether there was any event, ours or foreign. A folder whose time stamp changed without one lies on a file
    /// system whose changes the kernel does not see, such as one that another machine writes to.
    pub(super) any: bool,
}

/// The watches of all open mailboxes of a store.
pub(super) struct Watcher {
    /// Shared with [`Watcher::run`], which does not hold the watcher while it waits.
    queue: Arc<OwnedFd>,
    state: Mutex<State>,
    /// Tells [`Watcher::run`] that another reader found something for a mailbox, or that the watcher is gone.
    told: Arc<Notify>,
    limit_logged: AtomicBool,
    failure_logged: AtomicBool,
}

struct State {
    buffer: Box<[u8]>,
    table: Table,
}

/// What a reading of the kernel's queue came to.
enum Read {
    /// Everything queued before is distributed.
    Empty,
    /// So many octets, and there may be more.
    Some(usize),
    Failed(Errno),
}

impl Watcher {
    /// A watcher of nothing yet. `None`, with a warning in the log, where the kernel has none to give.
    pub(super) fn new() -> Option<Arc<Self>> {
        let queue = match kernel::open() {
            Ok(queue) => Arc::new(queue),
            Err(error) => {
                tracing::warn!(%error, "no inotify: what other programs do to mailboxes is found by time stamps alone");
                return None;
            }
        };
        let state = State { buffer: vec![0; WATCH_READ_OCTETS].into(), table: Table::default() };
        Some(Arc::new(Self {
            queue,
            state: Mutex::new(state),
            told: Arc::default(),
            limit_logged: AtomicBool::new(false),
            failure_logged: AtomicBool::new(false),
        }))
    }

    /// Watches `new/` and `cur/` in `folder`, until the result is dropped. Changes after the return are seen; the
    /// caller reads the folders after it.
    ///
    /// [`Watcher::run`] calls `wake` on a blocking thread when something foreign is there for [`Watched::take`], with
    /// no lock held, and maybe once more just after the result was dropped. It should be brief, since others wait for
    /// their turn, and must not hold the mailbox alive.
    ///
    /// `None` where the folders cannot be watched: the kernel's limit of watches is reached (logged once), one of the
    /// folders is missing, or it is watched already, as that of a mailbox that another name leads to.
    pub(super) fn watch(self: &Arc<Self>, folder: &Path, wake: Box<dyn Fn() + Send + Sync>) -> Option<Watched> {
        let paths = [folder.join("new"), folder.join("cur")];
        let new = self.add(&paths[0])?;
        let Some(cur) = self.add(&paths[1]) else {
            kernel::remove(&self.queue, new);
            return None;
        };
        let (watches, wake) = ([new, cur], Arc::from(wake));
        let Some(id) = lock(&self.state).table.insert(watches, &wake) else {
            // Kernels before 4.18 hand out the watch that is there, which stays its owner's.
            tracing::debug!(folder = %folder.display(), "watched already under another name");
            return None;
        };
        let watched = Watched { watcher: Arc::clone(self), id, watches };
        // An event that came before the table knew the watch was dropped: was it that the folder was replaced?
        for (path, watch) in paths.iter().zip(watches) {
            match kernel::add(&self.queue, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Ok(other) if other == watch => continue,
                Ok(other) => kernel::remove(&self.queue, other),
                Err(_) => {}
            }
            self.with_table(|table| table.replaced(id));
        }
        Some(watched)
    }

    fn add(&self, path: &Path) -> Option<i32> {
        match kernel::add(&self.queue, path) {
            Ok(watch) => Some(watch),
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::OutOfMemory) => {
                if !self.limit_logged.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "no more inotify watches (sysctl fs.inotify.max_user_watches): what other programs do to \
                         further mailboxes is found by time stamps alone"
                    );
                }
                None
            }
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "not watched");
                None
            }
        }
    }

    /// Reads what the kernel tells and wakes the mailboxes that have news, until the watcher is dropped; it does not
    /// keep it alive. One task per watcher. After each reading it pauses for [`WATCH_PAUSE`], so that a storm of
    /// changes, ours or foreign, costs a bounded number of readings; a change in quiet times is seen at once.
    pub(super) async fn run(self: Arc<Self>) {
        let (this, told, queue) = (Arc::downgrade(&self), Arc::clone(&self.told), Arc::clone(&self.queue));
        drop(self);
        loop {
            // Registered only while we wait: or each event during the pause would wake a thread of the runtime.
            #[expect(deprecated, reason = "its successor is unsafe; it wants an open descriptor, as an OwnedFd is")]
            let waiting = match AsyncFd::with_interest(Arc::clone(&queue), Interest::READABLE) {
                Ok(waiting) => waiting,
                Err(error) => {
                    tracing::warn!(%error, "what other programs do to mailboxes is found only when one is looked at");
                    return;
                }
            };
            tokio::select! {
                ready = waiting.readable() => if ready.is_err() {
                    // The runtime ends.
                    return;
                },
                () = told.notified() => {}
            }
            drop(waiting);
            let Some(watcher) = this.upgrade() else { return };
            watcher.drain();
            let wakes = lock(&watcher.state).table.take_wakes();
            drop(watcher);
            for wake in wakes {
                if tokio::task::spawn_blocking(move || wake()).await.is_err() {
                    tracing::error!("a bug kept a mailbox from hearing of changes by other programs");
                }
            }
            tokio::time::sleep(WATCH_PAUSE).await;
        }
    }

    /// Distributes every event that was queued before the call. It ends however fast other programs make more.
    fn drain(&self) {
        let (mut read, mut goal) = (0_u64, None);
        loop {
            match self.read_once() {
                Read::Empty => return,
                Read::Failed(error) => {
                    if !self.failure_logged.swap(true, Ordering::Relaxed) {
                        tracing::error!(%error, "inotify cannot be read: mailboxes are scanned instead");
                    }
                    return;
                }
                Read::Some(octets) => read += octets as u64,
            }
            match goal {
                // The queue is first in, first out: what it holds now is read when that many octets more are.
                None => goal = Some(read + rustix::io::ioctl_fionread(&*self.queue).unwrap_or(0)),
                Some(goal) if read >= goal => return,
                Some(_) => {}
            }
        }
    }

    /// Reads and distributes one buffer of events.
    fn read_once(&self) -> Read {
        let mut state = lock(&self.state);
        let State { buffer, table } = &mut *state;
        let octets = loop {
            match rustix::io::read(&*self.queue, &mut **buffer) {
                Ok(octets) => break octets,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break 0,
                Err(error) => {
                    table.all_must_be_scanned();
                    return Read::Failed(error);
                }
            }
        };
        let mut bytes = buffer.get(..octets).unwrap_or_default();
        while let Some((event, rest)) = kernel::event(bytes) {
            table.distribute(event);
            bytes = rest;
        }
        // The kernel fills the buffer while the next event fits.
        if buffer.len() - octets < WATCH_EVENT_OCTETS {
            return Read::Some(octets);
        }
        table.queue_was_empty();
        Read::Empty
    }

    /// Does something with the table, and tells [`Watcher::run`] where there are mailboxes to wake.
    fn with_table<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        let mut state = lock(&self.state);
        let result = act(&mut state.table);
        let due = !state.table.due.is_empty();
        drop(state);
        if due {
            self.told.notify_one();
        }
        result
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.told.notify_one();
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

/// A mailbox whose folders are watched; dropped, they are no longer.
pub(super) struct Watched {
    watcher: Arc<Watcher>,
    id: u64,
    watches: [i32; 2],
}

impl Watched {
    /// Does an operation of ours, whose changes to the names of this mailbox are `steps`; an `Err` of it means that
    /// nothing was changed.
    ///
    /// # Errors
    /// Those of the operation.
    pub(super) fn ours<T>(&self, steps: &[Step<'_>], operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.expect_all(steps);
        let result = operation();
        self.watcher.with_table(|table| match &result {
            Ok(_) => steps.iter().for_each(|step| table.done(self.id, *step)),
            Err(_) => steps.iter().for_each(|step| table.unexpect(self.id, *step)),
        });
        result
    }

    /// Says that an operation of ours is about to do this. Exactly one of [`Watched::done`] and [`Watched::unexpect`]
    /// follows, with the same arguments.
    #[cfg(test)]
    fn expect(&self, sub: Sub, kind: Kind, name: &[u8]) {
        self.expect_all(&[(sub, kind, name)]);
    }

    /// The operation was done: if its event is not there by the next reading, it never comes.
    #[cfg(test)]
    fn done(&self, sub: Sub, kind: Kind, name: &[u8]) {
        self.watcher.with_table(|table| table.done(self.id, (sub, kind, name)));
    }

    /// The operation failed and changed nothing: if its event was seen already, it was another program's.
    #[cfg(test)]
    fn unexpect(&self, sub: Sub, kind: Kind, name: &[u8]) {
        self.watcher.with_table(|table| table.unexpect(self.id, (sub, kind, name)));
    }

    /// What was seen since the last call: every change that was complete before this call, and maybe later ones.
    pub(super) fn take(&self) -> Seen {
        self.watcher.drain();
        self.watcher.with_table(|table| table.take(self.id))
    }

    fn expect_all(&self, steps: &[Step<'_>]) {
        let many = self.watcher.with_table(|table| {
            steps.iter().for_each(|step| table.expect(self.id, *step));
            table.unread >= OWN_EVENTS_UNREAD
        });
        // A change of 100,000 flags must not overflow the kernel's queue.
        if many {
            self.watcher.drain();
            self.watcher.with_table(|_| ());
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // First the kernel's side, so that nobody who watches the folder anew is told that it is watched.
        for watch in self.watches {
            kernel::remove(&self.watcher.queue, watch);
        }
        let folder = self.watcher.with_table(|table| table.remove(self.id));
        // Only here, after the lock: with it goes what the mailbox gave us.
        drop(folder);
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Who watches what, what is expected, what was seen. Pure bookkeeping.
#[derive(Default)]
struct Table {
    watches: HashMap<i32, (u64, Sub)>,
    folders: HashMap<u64, Folder>,
    /// Never used twice.
    last_id: u64,
    /// Mailboxes that may have to be woken, each once.
    due: Vec<u64>,
    /// Expectations since the queue was last seen empty: about as many events are in it.
    unread: usize,
    /// Mailboxes where an operation may be over and its event not met, each once.
    unmet: Vec<u64>,
}

/// One mailbox.
struct Folder {
    wake: Arc<dyn Fn() + Send + Sync>,
    watches: [i32; 2],
    expected: [HashMap<Box<[u8]>, Expected>; 4],
    /// The sum of what is in `expected`.
    expectations: usize,
    seen: Seen,
    /// Something foreign was seen and nobody was told of it.
    fresh: bool,
    /// Whether it is among the table's.
    unmet: bool,
}

/// How often one change is expected.
#[derive(Default)]
struct Expected {
    /// By operations under way.
    open: usize,
    /// By operations that are over: the event is in the queue or never comes.
    over: usize,
}

impl Table {
    fn insert(&mut self, watches: [i32; 2], wake: &Arc<dyn Fn() + Send + Sync>) -> Option<u64> {
        if watches[0] == watches[1] || watches.iter().any(|watch| self.watches.contains_key(watch)) {
            return None;
        }
        self.last_id += 1;
        let id = self.last_id;
        for (watch, sub) in watches.into_iter().zip([Sub::New, Sub::Cur]) {
            self.watches.insert(watch, (id, sub));
        }
        let folder = Folder {
            wake: Arc::clone(wake),
            watches,
            expected: Default::default(),
            expectations: 0,
            seen: Seen::default(),
            fresh: false,
            unmet: false,
        };
        self.folders.insert(id, folder);
        Some(id)
    }

    fn remove(&mut self, id: u64) -> Option<Folder> {
        let folder = self.folders.remove(&id)?;
        for watch in folder.watches {
            self.watches.remove(&watch);
        }
        self.due.retain(|due| *due != id);
        self.unmet.retain(|unmet| *unmet != id);
        Some(folder)
    }

    fn expect(&mut self, id: u64, (sub, kind, name): Step<'_>) {
        let Some(folder) = self.folders.get_mut(&id) else { return };
        if folder.expectations >= EXPECTED_NAMES_KEPT {
            folder.forget_expected();
            folder.must_scan();
            note_due(&mut self.due, id, folder);
        }
        let names = &mut folder.expected[place(sub, kind)];
        match names.get_mut(name) {
            Some(expected) => expected.open += 1,
            None => {
                names.insert(name.into(), Expected { open: 1, over: 0 });
            }
        }
        folder.expectations += 1;
        self.unread += 1;
    }

    fn done(&mut self, id: u64, (sub, kind, name): Step<'_>) {
        let Some(folder) = self.folders.get_mut(&id) else { return };
        if let Some(expected) = folder.expected[place(sub, kind)].get_mut(name)
            && expected.open > 0
        {
            expected.open -= 1;
            expected.over += 1;
            if !std::mem::replace(&mut folder.unmet, true) {
                self.unmet.push(id);
            }
        }
    }

    fn unexpect(&mut self, id: u64, (sub, kind, name): Step<'_>) {
        let Some(folder) = self.folders.get_mut(&id) else { return };
        if !folder.strike_off(sub, kind, name, Expected::take_back) {
            folder.foreign(sub, kind, name);
            note_due(&mut self.due, id, folder);
        }
    }

    fn take(&mut self, id: u64) -> Seen {
        self.due.retain(|due| *due != id);
        let Some(folder) = self.folders.get_mut(&id) else { return Seen::default() };
        folder.fresh = false;
        for names in &mut folder.expected {
            // A large change leaves a large table.
            if names.is_empty() && names.capacity() > OWN_EVENTS_UNREAD / 4 {
                *names = HashMap::new();
            }
        }
        let seen = std::mem::take(&mut folder.seen);
        folder.seen.replaced = seen.replaced;
        seen
    }

    fn take_wakes(&mut self) -> Vec<Arc<dyn Fn() + Send + Sync>> {
        let mut wakes = Vec::new();
        for id in self.due.drain(..) {
            if let Some(folder) = self.folders.get_mut(&id)
                && std::mem::take(&mut folder.fresh)
            {
                wakes.push(Arc::clone(&folder.wake));
            }
        }
        wakes
    }

    fn distribute(&mut self, event: Event<'_>) {
        if let What::Overflow = event.what {
            return self.all_must_be_scanned();
        }
        // A watch that was removed may have left events.
        let Some((id, sub)) = self.watches.get(&event.watch).copied() else { return };
        let Some(folder) = self.folders.get_mut(&id) else { return };
        folder.seen.any = true;
        match event.what {
            What::Name(kind, name) => {
                if folder.strike_off(sub, kind, name, Expected::meet) {
                    return;
                }
                folder.foreign(sub, kind, name);
            }
            What::Replaced => folder.replaced(),
            What::Nothing | What::Overflow => {}
        }
        note_due(&mut self.due, id, folder);
    }

    fn replaced(&mut self, id: u64) {
        let Some(folder) = self.folders.get_mut(&id) else { return };
        folder.replaced();
        note_due(&mut self.due, id, folder);
    }

    fn all_must_be_scanned(&mut self) {
        for (id, folder) in &mut self.folders {
            // It was for too many events, not for none, that we know of none.
            folder.seen.any = true;
            folder.forget_expected();
            folder.must_scan();
            note_due(&mut self.due, *id, folder);
        }
    }

    /// What is over and has met no event by now never will.
    fn queue_was_empty(&mut self) {
        self.unread = 0;
        for id in self.unmet.drain(..) {
            if let Some(folder) = self.folders.get_mut(&id) {
                folder.forget_over();
            }
        }
    }
}

impl Folder {
    /// Finds an expectation and lowers its count; `false` where there is none.
    fn strike_off(&mut self, sub: Sub, kind: Kind, name: &[u8], lower: fn(&mut Expected)) -> bool {
        let names = &mut self.expected[place(sub, kind)];
        let Some(expected) = names.get_mut(name) else { return false };
        lower(expected);
        if expected.open + expected.over == 0 {
            names.remove(name);
        }
        self.expectations = self.expectations.saturating_sub(1);
        true
    }

    fn foreign(&mut self, sub: Sub, kind: Kind, name: &[u8]) {
        if self.seen.must_scan {
            return;
        }
        if self.seen.names.len() >= FOREIGN_NAMES_KEPT {
            return self.must_scan();
        }
        self.seen.names.push(ForeignChange { sub, kind, name: name.into() });
        self.fresh = true;
    }

    fn must_scan(&mut self) {
        self.fresh |= !self.seen.must_scan;
        self.seen.must_scan = true;
        self.seen.names = Vec::new();
    }

    fn replaced(&mut self) {
        self.fresh |= !self.seen.replaced;
        self.seen.replaced = true;
    }

    fn forget_expected(&mut self) {
        self.expected = Default::default();
        self.expectations = 0;
    }

    fn forget_over(&mut self) {
        self.unmet = false;
        if self.expectations == 0 {
            return;
        }
        for names in &mut self.expected {
            names.retain(|_, expected| {
                self.expectations = self.expectations.saturating_sub(expected.over);
                expected.over = 0;
                expected.open > 0
            });
        }
    }
}

impl Expected {
    /// An event came. Those of operations that are over came first.
    fn meet(&mut self) {
        let count = if self.over > 0 { &mut self.over } else { &mut self.open };
        *count = count.saturating_sub(1);
    }

    /// An operation under way failed.
    fn take_back(&mut self) {
        let count = if self.open > 0 { &mut self.open } else { &mut self.over };
        *count = count.saturating_sub(1);
    }
}

fn place(sub: Sub, kind: Kind) -> usize {
    match (sub, kind) {
        (Sub::New, Kind::Appears) => 0,
        (Sub::New, Kind::Vanishes) => 1,
        (Sub::Cur, Kind::Appears) => 2,
        (Sub::Cur, Kind::Vanishes) => 3,
    }
}

fn note_due(due: &mut Vec<u64>, id: u64, folder: &Folder) {
    if folder.fresh && !due.contains(&id) {
        due.push(id);
    }
}

/// What the kernel tells.
struct Event<'a> {
    watch: i32,
    what: What<'a>,
}

#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "no events there"))]
enum What<'a> {
    Name(Kind, &'a [u8]),
    /// The folder itself was removed, renamed or unmounted.
    Replaced,
    /// Events were lost.
    Overflow,
    /// A folder among the messages is none.
    Nothing,
}

/// The kernel's side.
#[cfg(target_os = "linux")]
mod kernel {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::fs::inotify;
    use rustix::fs::inotify::CreateFlags;
    use rustix::fs::inotify::ReadFlags;
    use rustix::fs::inotify::WatchFlags;

    use super::Event;
    use super::Kind;
    use super::What;

    /// Octets of an event before its name: watch, mask, cookie and length of the name, four of each.
    const HEAD: usize = 16;

    /// A queue without watches.
    pub(super) fn open() -> io::Result<OwnedFd> {
        Ok(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)
    }

    /// Watches the names in a folder. A file written in place is no operation of Maildir, so that is not asked for.
    pub(super) fn add(queue: &OwnedFd, folder: &Path) -> io::Result<i32> {
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM;
        let itself = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
        // Refused where the folder is watched: one watch cannot have two owners.
        let how = WatchFlags::ONLYDIR | WatchFlags::MASK_CREATE;
        Ok(inotify::add_watch(queue, folder, names | itself | how)?)
    }

    /// Ends a watch. One that ended with its folder is no error.
    pub(super) fn remove(queue: &OwnedFd, watch: i32) {
        inotify::remove_watch(queue, watch).ok();
    }

    /// The first event of those that were read, and the rest.
    pub(super) fn event(bytes: &[u8]) -> Option<(Event<'_>, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let field = |at: usize| head.get(at..at + 4).and_then(|f| f.try_into().ok()).map(u32::from_ne_bytes);
        let (watch, mask, length) = (field(0)?, ReadFlags::from_bits_retain(field(4)?), field(12)?);
        let (padded, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let name = padded.split(|octet| *octet == 0).next().unwrap_or_default();
        let itself = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT | ReadFlags::IGNORED;
        let what = if mask.contains(ReadFlags::QUEUE_OVERFLOW) {
            What::Overflow
        } else if mask.intersects(itself) {
            What::Replaced
        } else if mask.contains(ReadFlags::ISDIR) {
            What::Nothing
        } else if mask.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            What::Name(Kind::Appears, name)
        } else if mask.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            What::Name(Kind::Vanishes, name)
        } else {
            What::Nothing
        };
        Some((Event { watch: watch.cast_signed(), what }, rest))
    }
}

/// Where there is no inotify, there is nothing to watch with.
#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use super::Event;

    /// There is none here.
    pub(super) fn open() -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There is none here.
    pub(super) fn add(_: &OwnedFd, _: &Path) -> io::Result<i32> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// There is none here.
    pub(super) fn remove(_: &OwnedFd, _: i32) {}

    /// There is none here.
    pub(super) fn event(_: &[u8]) -> Option<(Event<'_>, &[u8])> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
