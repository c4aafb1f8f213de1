//! What a mailbox command asks of whoever owns the store, and how that is done and told: by the running server, or by
//! the command itself with the server's lock in hand. Both call [`work`], and both are spoken to through a [`Link`].
//!
//! The side that works says [`Event::Ready`], then what it finds, and [`Event::End`] last. Only an import is said
//! something in between: [`Coming`].

use std::error::Error;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde::Serialize;

use super::export;
use super::fsck;
use super::import;
use super::list;
use super::reindex;
use super::status;
use crate::admin::commands::EX_IOERR;
use crate::admin::commands::EX_NOINPUT;
use crate::admin::commands::EX_TEMPFAIL;
use crate::admin::control::Link;
use crate::clock::Clock;
use crate::config::Config;
use crate::mail::limits::CONTROL_PROGRESS;
use crate::mail::mailbox::MailboxName;
use crate::mail::quota::QuotaLimits;
use crate::store::AccountStore;
use crate::store::Store;
use crate::store::StoreError;

/// Work on the mailboxes of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its address, for what is said.
    pub account: String,
    /// Its Maildir. Whoever does the work finds it in the configuration: a path that two write differently would be
    /// two Maildirs to the store.
    #[serde(skip)]
    pub maildir: PathBuf,
    /// What the account may hold, from the same place.
    #[serde(skip)]
    pub limits: QuotaLimits,
    /// What to do.
    pub task: Task,
}

/// What can be done. Where a mailbox may be left out, all are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// What mailboxes there are.
    List,
    /// All about one mailbox.
    Status {
        /// Its name.
        mailbox: String,
    },
    /// Look for what is wrong.
    Fsck {
        /// Its name.
        mailbox: Option<String>,
        /// Whether to repair what can be.
        repair: bool,
    },
    /// Make anew what was derived.
    Reindex {
        /// Its name.
        mailbox: Option<String>,
    },
    /// Take messages.
    Import,
    /// Give messages.
    Export {
        /// Its name.
        mailbox: Option<String>,
    },
}

impl Job {
    /// The job with the Maildir that its account has by this configuration; `None` where there is no such account.
    #[must_use]
    pub fn at_home(mut self, config: &Config) -> Option<Self> {
        let entry = config.accounts.iter().find(|entry| entry.address.value.to_string() == self.account)?;
        self.maildir = config.storage.maildir_of(&entry.address.value);
        self.limits = config.quota.limits_of(entry);
        Some(self)
    }
}

impl Task {
    /// Its name on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Status { .. } => "status",
            Self::Fsck { .. } => "fsck",
            Self::Reindex { .. } => "reindex",
            Self::Import => "import",
            Self::Export { .. } => "export",
        }
    }
}

/// What the side that works says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Event {
    /// The account is there; the work begins.
    Ready,
    /// How far it is.
    Progress {
        /// With which mailbox.
        what: String,
        /// Steps done.
        done: u64,
        /// Steps in all.
        of: u64,
    },
    /// One result, as `--json` prints it.
    Row {
        /// The object.
        row: serde_json::Value,
    },
    /// The messages that follow are of this mailbox.
    Mailbox {
        /// Its name.
        name: String,
        /// How many.
        messages: u64,
    },
    /// A message, its octets behind the line.
    Message {
        /// What is told of it.
        #[serde(flatten)]
        carried: Carried,
        /// Whether no session was told of it.
        recent: bool,
    },
    /// Something that a person should know; the work goes on.
    Warning {
        /// What.
        text: String,
    },
    /// The end.
    End {
        /// The exit code.
        code: u8,
        /// In words.
        text: String,
    },
}

/// What an import is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Coming {
    /// The messages that follow are for this mailbox, which is made when missing.
    Mailbox {
        /// Its name.
        name: String,
    },
    /// A message, its octets behind the line.
    Message(Carried),
    /// That was all.
    End,
}

/// A message that travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// System flags as the letters of a Maildir.
    pub flags: String,
    /// Names of keywords.
    pub keywords: Vec<String>,
    /// INTERNALDATE in seconds since 1970.
    pub date: Option<i64>,
    /// How many octets follow.
    pub octets: u64,
    /// Where it comes from, in words.
    pub from: String,
}

/// Why work ended early.
#[derive(Debug)]
pub enum Failure {
    /// Nobody is left to be told, or the server stops.
    Gone(io::Error),
    /// This is told.
    Told {
        /// The exit code.
        code: u8,
        /// In words.
        text: String,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoSuchMailbox => EX_NOINPUT,
            StoreError::Full(_) => EX_TEMPFAIL,
            _ => EX_IOERR,
        };
        Self::Told { code, text: with_causes(&error) }
    }
}

/// An error with what caused it.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// What ended well, in words, with the exit code.
pub(super) type Done = Result<(u8, String), Failure>;

/// One job under way.
pub(super) struct Worker<'a> {
    pub(super) store: &'a Arc<Store>,
    pub(super) job: &'a Job,
    pub(super) link: Link,
    clock: Clock,
    told: Option<Instant>,
}

/// Does a job on the files of its account and tells of it through `link`. Runs on a blocking thread of a runtime. Where
/// nobody listens any more it ends at the next step.
pub fn work(store: &Arc<Store>, job: &Job, link: Link) {
    let (account, task) = (&job.account, job.task.name());
    tracing::info!(%account, task, "mailbox command");
    let mut worker = Worker { store, job, link, clock: Clock::system(), told: None };
    let ended = match worker.run() {
        Ok((code, text)) | Err(Failure::Told { code, text }) => worker.tell(&Event::End { code, text }),
        Err(Failure::Gone(error)) => Err(error),
    };
    match ended {
        Ok(()) => tracing::info!(%account, task, "mailbox command ended"),
        Err(error) => tracing::warn!(%account, task, %error, "mailbox command stopped: nobody listens"),
    }
}

impl Worker<'_> {
    fn run(&mut self) -> Done {
        if !self.job.maildir.is_dir() && self.job.task != Task::Import {
            // Looking must not make anything.
            self.tell(&Event::Ready)?;
            return match &self.job.task {
                Task::Status { .. } => Err(StoreError::NoSuchMailbox.into()),
                _ => Ok((0, format!("{} has no mailbox yet", self.job.account))),
            };
        }
        self.tell(&Event::Ready)?;
        match &self.job.task {
            Task::List => list::work(self),
            Task::Status { mailbox } => status::work(self, mailbox),
            Task::Fsck { mailbox, repair } => fsck::work(self, mailbox.as_deref(), *repair),
            Task::Reindex { mailbox } => reindex::work(self, mailbox.as_deref()),
            Task::Import => import::work(self),
            Task::Export { mailbox } => export::work(self, mailbox.as_deref()),
        }
    }

    /// Says something now.
    pub(super) fn tell(&mut self, event: &Event) -> io::Result<()> {
        self.link.put(event)?;
        self.link.flush()
    }

    /// A result.
    pub(super) fn row(&mut self, row: &impl Serialize) -> io::Result<()> {
        let row = serde_json::to_value(row)?;
        self.tell(&Event::Row { row })
    }

    /// How far it is, now and then. An error where the server stops: this is the step at which work ends.
    pub(super) fn progress(&mut self, what: &str, done: u64, of: u64) -> io::Result<()> {
        self.link.check_stop()?;
        let now = self.clock.instant();
        let due = self.told.is_none_or(|told| now.saturating_duration_since(told) >= CONTROL_PROGRESS);
        if !due {
            return Ok(());
        }
        self.told = Some(now);
        self.tell(&Event::Progress { what: what.to_owned(), done, of })
    }

    /// The account, made when missing.
    pub(super) fn account(&self) -> Result<Arc<AccountStore>, Failure> {
        Ok(wait(self.store.account(&self.job.maildir))?)
    }

    /// The names of the mailboxes that can be opened, or the one that is meant.
    pub(super) fn names(&self, one: Option<&str>) -> Result<Vec<MailboxName>, Failure> {
        if let Some(name) = one {
            return Ok(vec![name_of(name)?]);
        }
        let all = wait(self.account()?.list())?;
        Ok(all.into_iter().filter(|listed| listed.selectable).map(|listed| listed.name).collect())
    }
}

/// A name that was typed.
pub(super) fn name_of(name: &str) -> Result<MailboxName, Failure> {
    let error = |error| Failure::Told { code: EX_NOINPUT, text: format!("{name}: {error}") };
    MailboxName::parse(name).map_err(error)
}

/// Waits, on a blocking thread, for what is asynchronous.
pub(super) fn wait<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(what)
}
