//! `facteur mailbox export`: from an account to mbox files.
//!
//! A file gets its name when it is complete and on disk, so a half one is never taken for a whole.

use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::Accounts;
use super::job::Carried;
use super::job::Done;
use super::job::Event;
use super::job::Task;
use super::job::Worker;
use super::job::wait;
use super::session::Failed;
use crate::admin::commands::EX_CANTCREAT;
use crate::admin::commands::EX_DATAERR;
use crate::admin::commands::EX_IOERR;
use crate::admin::commands::EX_UNAVAILABLE;
use crate::admin::commands::EX_USAGE;
use crate::admin::commands::complain;
use crate::admin::commands::say;
use crate::admin::control::Link;
use crate::fsio;
use crate::mail::flags::Flags;
use crate::message::mbox;
use crate::message::mbox::Envelope;
use crate::store::StoreError;

/// What is to be written.
pub(super) struct Wanted<'a> {
    pub(super) mailbox: Option<&'a str>,
    pub(super) to: &'a Path,
    pub(super) force: bool,
    pub(super) json: bool,
}

impl Wanted<'_> {
    fn to_standard_output(&self) -> bool {
        self.to == Path::new("-")
    }

    /// The file for a mailbox.
    fn file(&self, mailbox: &str) -> PathBuf {
        if self.mailbox.is_some() { self.to.to_owned() } else { self.to.join(file_name(mailbox)) }
    }

    /// That a file may be written.
    fn check(&self, file: &Path) -> Result<(), Failed> {
        if !self.force && std::fs::symlink_metadata(file).is_ok() {
            let text = format!("{}: is there already; --force replaces it", file.display());
            return Err(Failed { code: EX_CANTCREAT, text });
        }
        Ok(())
    }
}

/// The file of a mailbox in a folder: `Work/2024` is `Work.2024.mbox`. Different names have different files.
fn file_name(mailbox: &str) -> String {
    mailbox.replace('%', "%25").replace('.', "%2E").replace('/', ".") + ".mbox"
}

/// One file that was written.
#[derive(Debug, Serialize)]
struct Row {
    account: String,
    mailbox: String,
    file: String,
    messages: u64,
}

/// Writes them.
pub(super) fn mbox(accounts: &Accounts, wanted: &Wanted<'_>) -> ExitCode {
    let Some(account) = accounts.chosen.first() else { return ExitCode::from(EX_DATAERR) };
    let mut rows: Vec<Row> = Vec::new();
    let done = write_all(accounts, wanted, &mut rows);
    for row in &mut rows {
        row.account = account.to_string();
        let text = if wanted.json {
            // Texts and numbers always have a JSON form.
            serde_json::to_string(row).unwrap_or_default()
        } else {
            format!("{}: {} messages to {}", row.mailbox, row.messages, row.file)
        };
        if wanted.to_standard_output() { complain(text) } else { say(text) }
    }
    match done {
        Ok(warning) => {
            if !warning.is_empty() {
                complain(format_args!("{account}: {warning}"));
            }
            ExitCode::SUCCESS
        }
        Err(failed) => {
            complain(format_args!("{account}: {}", failed.text));
            ExitCode::from(failed.code)
        }
    }
}

fn write_all(accounts: &Accounts, wanted: &Wanted<'_>, rows: &mut Vec<Row>) -> Result<String, Failed> {
    let Some(account) = accounts.chosen.first() else { return Ok(String::new()) };
    match wanted.mailbox {
        None if wanted.to_standard_output() => {
            return Err(Failed::new(EX_USAGE, "standard output takes one mailbox: give --mailbox"));
        }
        None => fsio::create_dir_durably(wanted.to)
            .map_err(|error| Failed::new(EX_CANTCREAT, format_args!("{}: {error}", wanted.to.display())))?,
        Some(_) if wanted.to_standard_output() => {}
        Some(mailbox) => wanted.check(&wanted.file(mailbox))?,
    }
    let mut session =
        accounts.open(account, &Task::Export { mailbox: wanted.mailbox.map(str::to_owned) }, wanted.json)?;
    let mut target: Option<Target> = None;
    let (code, text) = session.follow(|event, link| {
        match event {
            Event::Mailbox { name, .. } => {
                if let Some(target) = target.take() {
                    target.finish(wanted.force)?;
                }
                let file = if wanted.to_standard_output() { PathBuf::from("-") } else { wanted.file(&name) };
                rows.push(Row { account: String::new(), mailbox: name, file: file.display().to_string(), messages: 0 });
                target = Some(if wanted.to_standard_output() {
                    Target::standard_output()
                } else {
                    wanted.check(&file)?;
                    Target::create(file)?
                });
            }
            Event::Message { carried, recent } => {
                if let (Some(target), Some(row)) = (&mut target, rows.last_mut()) {
                    target.write(&carried, recent, link)?;
                    row.messages += 1;
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    // Where single messages could not be read, the file is as whole as it can be.
    if let Some(target) = target.take().filter(|_| code == 0 || code == EX_DATAERR) {
        target.finish(wanted.force)?;
    }
    if code == 0 { Ok(text) } else { Err(Failed { code, text }) }
}

/// A file that is being written.
struct Target {
    writer: Option<mbox::Writer<BufWriter<Box<dyn Write>>>>,
    /// Where it is, where it will be, and a handle on it; standard output has none.
    file: Option<(PathBuf, PathBuf, File)>,
}

impl Drop for Target {
    /// One that was not finished leaves nothing.
    fn drop(&mut self) {
        if let Some((temporary, ..)) = &self.file {
            fsio::remove_if_there(temporary).ok();
        }
    }
}

impl Target {
    fn standard_output() -> Self {
        let out: Box<dyn Write> = Box::new(io::stdout());
        Self { writer: Some(mbox::Writer::new(BufWriter::new(out))), file: None }
    }

    fn create(path: PathBuf) -> Result<Self, Failed> {
        let failed = |error: io::Error| Failed::new(EX_CANTCREAT, format_args!("{}: {error}", path.display()));
        let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(temporary);
        let file = fsio::create_new(&temporary).map_err(failed)?;
        let out: Box<dyn Write> = Box::new(file.try_clone().map_err(failed)?);
        let writer = Some(mbox::Writer::new(BufWriter::with_capacity(1 << 16, out)));
        Ok(Self { writer, file: Some((temporary, path, file)) })
    }

    fn failed(&self, error: &io::Error) -> Failed {
        let name =
            self.file.as_ref().map_or_else(|| "standard output".into(), |(_, path, _)| path.display().to_string());
        Failed::new(EX_IOERR, format_args!("{name}: {error}"))
    }

    /// A message, whose octets come through the link.
    fn write(&mut self, carried: &Carried, recent: bool, link: &mut Link) -> Result<(), Failed> {
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        let (flags, _) = Flags::from_letters(&carried.flags);
        let envelope = Envelope { date: carried.date, flags, keywords: carried.keywords.clone(), recent };
        let mut octets = link.octets(carried.octets);
        let mut buffer = vec![0; 1 << 16];
        let mut left = carried.octets;
        let mut begun = false;
        while left > 0 || !begun {
            let n = match octets.read(&mut buffer) {
                Ok(0) if left > 0 => return Err(Failed::new(EX_UNAVAILABLE, "the server ended within a message")),
                Ok(n) => n,
                Err(error) => return Err(Failed::new(EX_UNAVAILABLE, error)),
            };
            left -= n as u64;
            let began = if begun { Ok(()) } else { writer.begin(&mbox::sender(&buffer[..n]), &envelope) };
            begun = true;
            began.and_then(|()| writer.push(&buffer[..n])).map_err(|error| self.failed(&error))?;
        }
        writer.end().map_err(|error| self.failed(&error))?;
        self.writer = Some(writer);
        Ok(())
    }

    /// Gives the file its name, durably.
    fn finish(mut self, force: bool) -> Result<(), Failed> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let flushed = writer.into_inner().into_inner().map_err(io::IntoInnerError::into_error);
        flushed.and_then(|mut out| out.flush()).map_err(|error| self.failed(&error))?;
        let Some((temporary, path, file)) = &self.file else { return Ok(()) };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let named = fsio::sync_data(file)
            .and_then(|()| if force { fsio::rename(temporary, path) } else { fsio::rename_new(temporary, path) })
            .and_then(|()| fsio::sync_dir(folder));
        named.map_err(|error| self.failed(&error))?;
        self.file = None;
        Ok(())
    }
}

/// Gives all messages, mailbox by mailbox, as they are when it is opened. One that is there and cannot be read is told,
/// and in the exit code.
pub(super) fn work(worker: &mut Worker<'_>, mailbox: Option<&str>) -> Done {
    let account = worker.account()?;
    let (mut gone, mut unreadable) = (0u64, 0u64);
    for name in worker.names(mailbox)? {
        let mailbox = wait(account.mailbox(&name))?;
        let snapshot = mailbox.snapshot();
        let of = snapshot.messages.len() as u64;
        worker.tell(&Event::Mailbox { name: name.to_string(), messages: of })?;
        for (done, message) in (0..).zip(snapshot.messages.iter()) {
            worker.progress(name.as_str(), done, of)?;
            let date = mailbox.dates_blocking(&[message.uid])?.first().map(|(_, date)| *date);
            let bytes = match mailbox.read_blocking(message.uid) {
                Ok(bytes) => bytes,
                Err(StoreError::MessageGone) => {
                    if mailbox.refresh_blocking()?.find(message.uid).is_some() {
                        unreadable += 1;
                        let text = format!("{name}: message {} cannot be read: left out", message.uid);
                        worker.tell(&Event::Warning { text })?;
                    } else {
                        gone += 1;
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let names = message.flags.keywords().filter_map(|slot| snapshot.keywords.get(slot.index()));
            let carried = Carried {
                flags: message.flags.system().fold(Flags::NONE, Flags::with).letters(""),
                keywords: names.filter(|name| !name.is_empty()).cloned().collect(),
                date,
                octets: bytes.len() as u64,
                from: message.uid.to_string(),
            };
            worker.link.put(&Event::Message { carried, recent: message.is_recent() })?;
            worker.link.put_octets(&bytes)?;
        }
    }
    let mut texts = Vec::new();
    if unreadable > 0 {
        texts.push(format!("{unreadable} messages cannot be read and are not in the export"));
    }
    if gone > 0 {
        texts.push(format!("{gone} messages were expunged meanwhile"));
    }
    Ok((if unreadable > 0 { EX_DATAERR } else { 0 }, texts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_mailboxes_have_different_files() {
        for (mailbox, file) in [
            ("INBOX", "INBOX.mbox"),
            ("Work/2024", "Work.2024.mbox"),
            ("Work.2024", "Work%2E2024.mbox"),
            ("100%", "100%25.mbox"),
            ("Entwürfe", "Entwürfe.mbox"),
        ] {
            assert_eq!(file_name(mailbox), file);
        }
    }
}
