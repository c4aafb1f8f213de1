//! The side of a mailbox command that a person sees: it finds who does the work, and follows it to its end.
//!
//! Where a server runs, the server does it, on its own live mailboxes. Where none runs, a thread of this process does
//! it with the server's lock in hand, so that none can start meanwhile. Started by root, that thread becomes the owner
//! of the files first: what it makes must be the server's. The rest of the process stays who it was, and can read and
//! write the files of the person who called it.

use std::io;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use rustix::fs::Gid;
use rustix::fs::Uid;
use tokio::sync::watch;

use super::job;
use super::job::Event;
use super::job::Job;
use crate::admin::commands::EX_IOERR;
use crate::admin::commands::EX_NOPERM;
use crate::admin::commands::EX_TEMPFAIL;
use crate::admin::commands::EX_UNAVAILABLE;
use crate::admin::commands::complain;
use crate::admin::control;
use crate::admin::control::Link;
use crate::admin::control::Reply;
use crate::admin::control::Request;
use crate::clock::Clock;
use crate::config::Storage;
use crate::fsio;
use crate::store::Store;

/// Why a command ends early: the exit code, and what is said.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) code: u8,
    pub(super) text: String,
}

impl Failed {
    pub(super) fn new(code: u8, text: impl std::fmt::Display) -> Self {
        Self { code, text: text.to_string() }
    }
}

/// A job under way.
pub(super) struct Session {
    pub(super) link: Link,
    worker: Option<JoinHandle<()>>,
    /// Told true, the worker ends at its next step.
    stop: Option<watch::Sender<bool>>,
    pub(super) bar: Bar,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(stop) = &self.stop {
            stop.send_replace(true);
        }
        if let Some(worker) = self.worker.take() {
            // It ends at its next step; what it does durably is done by then.
            worker.join().ok();
        }
    }
}

impl Session {
    /// Gives the job to who owns the store, and waits until it begins.
    pub(super) fn open(storage: &Storage, job: Job, json: bool) -> Result<Self, Failed> {
        let folder = storage.folder.as_path();
        let unreachable = |error: io::Error| {
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let code = if denied { EX_NOPERM } else { EX_UNAVAILABLE };
            Failed::new(code, format_args!("{}: {error}", control::socket(folder).display()))
        };
        let bar = Bar::new(json);
        let mut session = match control::connect(folder).map_err(unreachable)? {
            Some(stream) => {
                let mut link = Link::new(stream, None).map_err(unreachable)?;
                link.put(&Request::Mailbox { job }).and_then(|()| link.flush()).map_err(unreachable)?;
                Self { link, worker: None, stop: None, bar }
            }
            None => {
                let (link, worker, stop) = do_it_here(storage, job)?;
                Self { link, worker: Some(worker), stop: Some(stop), bar }
            }
        };
        match session.event()? {
            Event::Ready => Ok(session),
            Event::End { code, text } => Err(Failed { code, text }),
            other => Err(Failed::new(EX_UNAVAILABLE, format_args!("an unexpected answer: {other:?}"))),
        }
    }

    /// The next thing that is said.
    pub(super) fn event(&mut self) -> Result<Event, Failed> {
        next_event(&mut self.link)
    }

    /// Follows the work to its end: warnings are printed, the bar moves, `on` gets the rest. Returns what `End` says
    /// where its code is 0, or one that `on` expects.
    pub(super) fn follow(
        &mut self,
        mut on: impl FnMut(Event, &mut Link) -> Result<(), Failed>,
    ) -> Result<(u8, String), Failed> {
        loop {
            match self.event()? {
                Event::Progress { what, done, of } => self.bar.at(&what, done, of),
                Event::Warning { text } => self.bar.aside(|| complain(&text)),
                Event::End { code, text } => {
                    self.bar.end();
                    return Ok((code, text));
                }
                event => on(event, &mut self.link).inspect_err(|_| self.bar.end())?,
            }
        }
    }
}

/// The next thing that is said through a link.
pub(super) fn next_event(link: &mut Link) -> Result<Event, Failed> {
    let broken = |error: io::Error| Failed::new(EX_UNAVAILABLE, format_args!("the server's answer: {error}"));
    let Some(value) = link.take::<serde_json::Value>().map_err(broken)? else {
        return Err(Failed::new(EX_UNAVAILABLE, "the server ended before the work was done"));
    };
    // A request that is not taken at all is answered as the short ones are.
    if let Ok(reply) = serde_json::from_value::<Reply>(value.clone()) {
        return Ok(Event::End { code: EX_TEMPFAIL, text: reply.text });
    }
    serde_json::from_value(value).map_err(|error| broken(error.into()))
}

/// Does the job in a thread of this process.
fn do_it_here(storage: &Storage, job: Job) -> Result<(Link, JoinHandle<()>, watch::Sender<bool>), Failed> {
    let folder = storage.folder.as_path();
    let failed = |error: io::Error| Failed::new(EX_UNAVAILABLE, format_args!("{}: {error}", folder.display()));
    let owner = owner_to_become(folder).map_err(failed)?;
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let (stop, stopped) = watch::channel(false);
    let link = Link::new(theirs, Some(stopped)).map_err(failed)?;
    let (tell, told) = mpsc::sync_channel(1);
    let (folder, layout) = (folder.to_owned(), storage.layout);
    let worker = std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
        let begun = owner.map_or(Ok(()), become_owner).map_err(|error| {
            Failed::new(EX_NOPERM, format_args!("cannot work as the owner of {}: {error}", folder.display()))
        });
        let locked = begun.and_then(|()| take_lock(&folder)).and_then(|lock| Ok((lock, runtime()?)));
        match locked {
            Err(error) => {
                tell.send(Err(error)).ok();
            }
            Ok((lock, runtime)) => {
                tell.send(Ok(())).ok();
                let store = Store::open_with(Clock::system(), layout, Some(&folder.join("state")));
                let work = move || {
                    job::work(&store, &job, link);
                    store.close();
                };
                runtime.block_on(async { tokio::task::spawn_blocking(work).await.ok() });
                drop(runtime);
                drop(lock);
            }
        }
    });
    let worker = worker.map_err(|error| Failed::new(EX_UNAVAILABLE, error))?;
    told.recv().unwrap_or_else(|_| Err(Failed::new(EX_IOERR, "the work did not begin")))?;
    Ok((Link::new(ours, None).map_err(|error| Failed::new(EX_IOERR, error))?, worker, stop))
}

/// Its threads are begun by this one, and are whose this one is.
fn runtime() -> Result<tokio::runtime::Runtime, Failed> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failed::new(EX_UNAVAILABLE, error))
}

/// The lock of the server.
fn take_lock(folder: &Path) -> Result<fsio::Lock, Failed> {
    let path = folder.join("lock");
    let failed = |error: io::Error| {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { EX_NOPERM } else { EX_UNAVAILABLE };
        Failed::new(code, format_args!("{}: {error}", path.display()))
    };
    fsio::lock(&path).map_err(failed)?.map_err(|owner| {
        let text = format!("{}: process {owner} works here; try again in a moment", folder.display());
        Failed::new(EX_TEMPFAIL, text)
    })
}

/// Who owns the files, where root calls and they are not root's.
fn owner_to_become(folder: &Path) -> io::Result<Option<(Uid, Gid)>> {
    let found = std::fs::metadata(folder)?;
    let (uid, gid) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
    Ok((rustix::process::geteuid().is_root() && !uid.is_root()).then_some((uid, gid)))
}

/// Makes this thread, and no other, one of the owner's.
fn become_owner((uid, gid): (Uid, Gid)) -> io::Result<()> {
    rustix::thread::set_thread_groups(&[gid])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// The progress bar: on standard error, for people only, and without colours.
#[derive(Debug, Clone)]
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(json: bool) -> Self {
        Self((!json && io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len}");
            let bar = ProgressBar::no_length();
            if let Ok(style) = style { bar.with_style(style.progress_chars("=> ")) } else { bar }
        }))
    }

    /// How far it is; `of` is 0 where nobody knows how much there is.
    pub(super) fn at(&self, what: &str, done: u64, of: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(if of == 0 { done } else { of });
            bar.set_position(done);
            bar.set_message(what.to_owned());
        }
    }

    /// Prints while the bar is out of the way.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes it away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
