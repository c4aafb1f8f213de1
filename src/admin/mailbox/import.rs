//! `facteur mailbox import`: from a Maildir or an mbox into an account.
//!
//! The person's side reads the files, one message at a time, and sends them; the other side makes durable what has come
//! whenever no more waits or a batch is full. What is past the size limit, or no message, is passed over with a warning.

use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use super::Accounts;
use super::job::Carried;
use super::job::Coming;
use super::job::Done;
use super::job::Event;
use super::job::Failure;
use super::job::Task;
use super::job::Worker;
use super::job::name_of;
use super::job::wait;
use super::job::with_causes;
use super::session::Bar;
use super::session::Failed;
use super::session::Session;
use super::session::next_event;
use crate::admin::commands::EX_DATAERR;
use crate::admin::commands::EX_IOERR;
use crate::admin::commands::EX_NOINPUT;
use crate::admin::commands::EX_UNAVAILABLE;
use crate::admin::commands::complain;
use crate::admin::commands::say;
use crate::admin::control::Link;
use crate::fsio::Content;
use crate::fsio::ContentWriter;
use crate::mail::flags::Flags;
use crate::mail::limits::IMPORT_BATCH_MESSAGES;
use crate::mail::limits::IMPORT_BATCH_OCTETS;
use crate::mail::mailbox::MailboxName;
use crate::message::mbox;
use crate::message::mbox::Item;
use crate::store::AccountStore;
use crate::store::Addition;
use crate::store::ForeignMessage;
use crate::store::Mailbox;
use crate::store::StoreError;
use crate::store::foreign_mailboxes;
use crate::store::foreign_messages;

/// What came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Summary {
    account: String,
    /// Messages that are durable.
    imported: u64,
    /// Messages that were passed over, each with a warning.
    skipped: u64,
    /// Why it ended early.
    error: Option<String>,
}

/// Brings in a Maildir with its subfolders.
pub(super) fn maildir(accounts: &Accounts, folder: &Path, mailbox: Option<&str>, json: bool) -> ExitCode {
    import(accounts, json, |sending| {
        let failed = |error: io::Error| Failed::new(EX_NOINPUT, format_args!("{}: {error}", folder.display()));
        let (found, odd) = foreign_mailboxes(folder).map_err(failed)?;
        for path in odd {
            sending.pass_over(format_args!("{}: its name is not one of a mailbox", path.display()));
        }
        for foreign in found {
            sending.mailbox(&name_below(mailbox, &foreign.name)?)?;
            let error = |error| Failed::new(EX_IOERR, format_args!("{}: {error}", foreign.folder.display()));
            for message in foreign_messages(&foreign.folder).map_err(|e| error(with_causes(&e)))? {
                send_file(sending, &message)?;
            }
        }
        Ok(())
    })
}

/// The mailbox for one of a tree that goes below another.
fn name_below(top: Option<&str>, name: &MailboxName) -> Result<String, Failed> {
    let Some(top) = top else { return Ok(name.to_string()) };
    let joined = if name.is_inbox() { top.to_owned() } else { format!("{top}/{name}") };
    let error = |error| Failed::new(EX_DATAERR, format_args!("{joined}: {error}"));
    MailboxName::parse(&joined).map_err(error).map(|name| name.to_string())
}

/// Sends the file of a message.
fn send_file(sending: &mut Sending<'_>, message: &ForeignMessage) -> Result<(), Failed> {
    let path = message.path.display();
    let read = message.open().and_then(|file| {
        let date = file.modified()?;
        let mut bytes = Vec::new();
        file.take(sending.max.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok((bytes, date))
    });
    let (bytes, date) = match read {
        Ok(read) => read,
        Err(error) => {
            sending.pass_over(format_args!("{path}: {error}"));
            return Ok(());
        }
    };
    let envelope = mbox::Envelope {
        date: Some(date),
        flags: message.flags,
        keywords: message.keywords.clone(),
        recent: message.flags.is_empty(),
    };
    sending.message(path.to_string(), envelope, &bytes)
}

/// Brings in an mbox.
pub(super) fn mbox(accounts: &Accounts, file: &Path, mailbox: Option<&str>, json: bool) -> ExitCode {
    import(accounts, json, |sending| {
        let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
        let input: Box<dyn Read> = if file == Path::new("-") {
            Box::new(io::stdin())
        } else {
            let failed = |error| Failed::new(EX_NOINPUT, format_args!("{name}: {error}"));
            Box::new(File::open(file).map_err(failed)?)
        };
        let mut reader = mbox::Reader::new(input, sending.max);
        sending.mailbox(&name_below(mailbox, &MailboxName::inbox())?)?;
        let mut number = 0u64;
        loop {
            number += 1;
            let from = format!("{name}: message {number}");
            let failed = |error: io::Error| {
                let code = if error.kind() == io::ErrorKind::InvalidData { EX_DATAERR } else { EX_IOERR };
                Failed::new(code, format_args!("{from}: {error}"))
            };
            match reader.next_item().map_err(failed)? {
                None => return Ok(()),
                Some(Item::Message(envelope, bytes)) => sending.message(from, envelope, &bytes)?,
                Some(Item::TooLarge { octets }) => sending.too_large(&from, octets),
            }
        }
    })
}

/// The person's side of an import under way.
struct Sending<'a> {
    link: &'a mut Link,
    bar: Bar,
    max: u64,
    skipped: u64,
}

impl Sending<'_> {
    fn pass_over(&mut self, what: impl std::fmt::Display) {
        self.skipped += 1;
        self.bar.aside(|| complain(format_args!("passed over: {what}")));
    }

    fn too_large(&mut self, from: &str, octets: u64) {
        let max = self.max;
        self.pass_over(format_args!("{from}: {octets} octets or more; smtp.max_message_size is {max}"));
    }

    fn mailbox(&mut self, name: &str) -> Result<(), Failed> {
        self.link.put(&Coming::Mailbox { name: name.to_owned() }).map_err(gone)
    }

    fn message(&mut self, from: String, envelope: mbox::Envelope, bytes: &[u8]) -> Result<(), Failed> {
        if bytes.len() as u64 > self.max {
            self.too_large(&from, bytes.len() as u64);
            return Ok(());
        }
        if bytes.is_empty() {
            self.pass_over(format_args!("{from}: empty"));
            return Ok(());
        }
        let (keywords, odd): (Vec<String>, Vec<String>) = envelope.keywords.into_iter().partition(|k| is_keyword(k));
        for keyword in odd {
            self.bar.aside(|| complain(format_args!("{from}: {keyword} cannot be a keyword in IMAP: left out")));
        }
        let carried = Carried {
            flags: envelope.flags.letters(""),
            keywords,
            date: envelope.date,
            octets: bytes.len() as u64,
            from,
        };
        let sent = self.link.put(&Coming::Message(carried)).and_then(|()| self.link.put_octets(bytes));
        // At once: a pipe may be slow, and what has come shall be durable.
        sent.and_then(|()| self.link.flush()).map_err(gone)
    }
}

/// The other side has ended; what it said last tells why.
fn gone(error: io::Error) -> Failed {
    Failed::new(EX_UNAVAILABLE, format_args!("the server no longer takes messages: {error}"))
}

/// An atom of IMAP (RFC 3501 §9 `flag-keyword`).
fn is_keyword(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic() && !b"(){%*\"\\]".contains(&b))
}

/// Begins an import, has `send` send everything, and tells what came of it.
fn import(accounts: &Accounts, json: bool, send: impl FnOnce(&mut Sending<'_>) -> Result<(), Failed>) -> ExitCode {
    let Some(account) = accounts.chosen.first() else { return ExitCode::from(EX_DATAERR) };
    let mut summary = Summary { account: account.to_string(), ..Summary::default() };
    let max = accounts.config.smtp.max_message_size.octets();
    let ended = accounts.open(account, &Task::Import, json).and_then(|mut session| {
        let answers = listen(&session)?;
        let mut sending = Sending { bar: session.bar.clone(), link: &mut session.link, max, skipped: 0 };
        let sent = send(&mut sending);
        summary.skipped = sending.skipped;
        // What came before a mistake of the input is kept, so the other side is told the end in any case.
        sending.link.put(&Coming::End).and_then(|()| sending.link.flush()).ok();
        let heard = answers.join().unwrap_or_else(|_| Err(Failed::new(EX_IOERR, "a bug ended the import")));
        session.bar.end();
        let (imported, code, text) = heard?;
        summary.imported = imported;
        if code != 0 { Err(Failed { code, text }) } else { sent }
    });
    if let Err(failed) = &ended {
        summary.error = Some(failed.text.clone());
    }
    if json {
        // Texts and numbers always have a JSON form.
        say(serde_json::to_string(&summary).unwrap_or_default());
    } else {
        say(format_args!("{}: {} messages imported, {} passed over", account, summary.imported, summary.skipped));
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            complain(format_args!("{account}: {}", failed.text));
            ExitCode::from(failed.code)
        }
    }
}

/// What the other side said last: messages imported, exit code, words.
type Heard = Result<(u64, u8, String), Failed>;

/// Hears what the other side says while messages are sent.
fn listen(session: &Session) -> Result<JoinHandle<Heard>, Failed> {
    let failed = |error| Failed::new(EX_IOERR, error);
    let mut link = session.link.second().map_err(failed)?;
    let bar = session.bar.clone();
    let hear = move || {
        let mut imported = 0;
        loop {
            match next_event(&mut link)? {
                Event::Progress { what, done, of } => bar.at(&what, done, of),
                Event::Warning { text } => bar.aside(|| complain(&text)),
                Event::Row { row } => imported = row["imported"].as_u64().unwrap_or(imported),
                Event::End { code, text } => return Ok((imported, code, text)),
                _ => {}
            }
        }
    };
    std::thread::Builder::new().name("answers".to_owned()).spawn(hear).map_err(failed)
}

/// Takes messages until the end is told.
pub(super) fn work(worker: &mut Worker<'_>) -> Done {
    let mut batch = Batch::default();
    let ended = match receive_all(worker, &mut batch) {
        Err(Failure::Gone(error)) => Err(Failure::Gone(error)),
        other => batch.add(worker).and(other),
    };
    let imported = batch.imported;
    if let Err(Failure::Gone(error)) = ended {
        // What has come whole is kept, though nobody hears of it.
        let kept = batch.add_silently();
        let account = &worker.job.account;
        tracing::warn!(%account, imported = imported + kept, "an import was given up");
        return Err(Failure::Gone(error));
    }
    worker.row(&Summary { account: worker.job.account.clone(), imported, ..Summary::default() })?;
    ended?;
    Ok((0, String::new()))
}

/// Messages that came while others were made durable, and now are made so together.
#[derive(Default)]
struct Batch {
    target: Option<Arc<Mailbox>>,
    waiting: Vec<(Addition, String)>,
    octets: u64,
    imported: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.waiting.len() >= IMPORT_BATCH_MESSAGES || self.octets >= IMPORT_BATCH_OCTETS
    }

    /// Adds what waits: together, and where that fails one by one up to the one that is at fault.
    fn add(&mut self, worker: &mut Worker<'_>) -> Result<(), Failure> {
        self.octets = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let Some(mailbox) = self.target.clone().filter(|_| !waiting.is_empty()) else { return Ok(()) };
        let (additions, from): (Vec<Addition>, Vec<String>) = waiting.into_iter().unzip();
        if mailbox.append_all_blocking(&additions).is_ok() {
            self.imported += additions.len() as u64;
        } else {
            for (addition, from) in additions.into_iter().zip(from) {
                if let Some(text) = add_one(&mailbox, addition, &from)? {
                    worker.tell(&Event::Warning { text })?;
                }
                self.imported += 1;
            }
        }
        worker.progress(mailbox.name().as_str(), self.imported, 0)?;
        Ok(())
    }

    /// As [`Batch::add`] where nobody listens; returns how many were added.
    fn add_silently(&mut self) -> u64 {
        let additions: Vec<Addition> = std::mem::take(&mut self.waiting).into_iter().map(|(a, _)| a).collect();
        let added = self.target.as_ref().is_some_and(|mailbox| mailbox.append_all_blocking(&additions).is_ok());
        if added { additions.len() as u64 } else { 0 }
    }
}

fn receive_all(worker: &mut Worker<'_>, batch: &mut Batch) -> Result<(), Failure> {
    let account = worker.account()?;
    loop {
        if batch.is_full() || !worker.link.has_more() {
            batch.add(worker)?;
        }
        match worker.link.take::<Coming>()? {
            None => return Err(Failure::Gone(io::ErrorKind::UnexpectedEof.into())),
            Some(Coming::End) => return Ok(()),
            Some(Coming::Mailbox { name }) => {
                batch.add(worker)?;
                batch.target = Some(open_or_make(&account, &name_of(&name)?)?);
            }
            Some(Coming::Message(carried)) => {
                if batch.target.is_none() {
                    return Err(Failure::Told { code: EX_DATAERR, text: "a message for no mailbox".to_owned() });
                }
                let content = receive(worker, carried.octets)?;
                let (flags, _) = Flags::from_letters(&carried.flags);
                let date = carried.date.and_then(system_time);
                batch.octets += carried.octets;
                batch.waiting.push((Addition { content, flags, keywords: carried.keywords, date }, carried.from));
            }
        }
    }
}

fn open_or_make(account: &Arc<AccountStore>, name: &MailboxName) -> Result<Arc<Mailbox>, Failure> {
    match wait(account.mailbox(name)) {
        Err(StoreError::NoSuchMailbox) => {
            wait(account.create(name))?;
            // Clients show what is subscribed.
            wait(account.subscribe(name))?;
            Ok(wait(account.mailbox(name))?)
        }
        other => Ok(other?),
    }
}

/// The octets of a message.
fn receive(worker: &mut Worker<'_>, octets: u64) -> Result<Content, Failure> {
    let full = |error| Failure::from(StoreError::io("keeping a message")(error));
    let mut writer = ContentWriter::new(worker.job.maildir.join("tmp"));
    let mut input = worker.link.octets(octets);
    let mut buffer = vec![0; 65_536];
    while writer.len() < octets {
        match input.read(&mut buffer)? {
            0 => return Err(Failure::Gone(io::ErrorKind::UnexpectedEof.into())),
            n => writer.push(&buffer[..n]).map_err(full)?,
        }
    }
    writer.finish().map_err(full)
}

/// Adds a message, durably and whatever the quota, as a batch is added. Keywords that the mailbox has no room for are
/// left out; the warning says so.
fn add_one(mailbox: &Arc<Mailbox>, mut addition: Addition, from: &str) -> Result<Option<String>, Failure> {
    let wanted = addition.keywords.clone();
    loop {
        match mailbox.append_all_blocking(std::slice::from_ref(&addition)) {
            Ok(()) => break,
            Err(StoreError::KeywordLimit) if !addition.keywords.is_empty() => {
                addition.keywords.pop();
            }
            Err(error) => {
                return Err(match Failure::from(error) {
                    Failure::Told { code, text } => Failure::Told { code, text: format!("{from}: {text}") },
                    gone @ Failure::Gone(_) => gone,
                });
            }
        }
    }
    let left_out = &wanted[addition.keywords.len()..];
    let text = || format!("{from}: no room for the keywords {}: left out", left_out.join(" "));
    Ok((!left_out.is_empty()).then(text))
}

fn system_time(seconds: i64) -> Option<SystemTime> {
    let since = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(since) } else { SystemTime::UNIX_EPOCH.checked_add(since) }
}
