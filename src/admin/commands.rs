//! The commands that do their work here and now, without a server of their own.

use std::io;
use std::io::IsTerminal;
use std::io::Read;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use jiff::tz::TimeZone;
use serde::Serialize;

use crate::admin::alias;
use crate::admin::control;
use crate::admin::control::Request;
use crate::config;
use crate::config::Config;
use crate::directory::hash_password;
use crate::mail::limits::PASSWORD_OCTETS;
use crate::mail::secret::Secret;
use crate::message::date;
use crate::queue::RecipientState;
use crate::queue::Spool;
use crate::queue::Waiting;

/// `EX_CONFIG` of sysexits: the configuration is wrong.
pub const EX_CONFIG: u8 = 78;

/// `EX_UNAVAILABLE` of sysexits: a service that is needed is not there.
pub const EX_UNAVAILABLE: u8 = 69;

/// `EX_DATAERR` of sysexits: what was typed in is wrong.
pub const EX_DATAERR: u8 = 65;

/// `EX_USAGE` of sysexits: the command cannot be meant so.
pub const EX_USAGE: u8 = 64;

/// `EX_NOINPUT` of sysexits: what was to be read is not there.
pub const EX_NOINPUT: u8 = 66;

/// `EX_NOUSER` of sysexits: there is no such account.
pub const EX_NOUSER: u8 = 67;

/// `EX_CANTCREAT` of sysexits: what was to be written cannot be made.
pub const EX_CANTCREAT: u8 = 73;

/// `EX_IOERR` of sysexits: reading or writing failed.
pub const EX_IOERR: u8 = 74;

/// `EX_TEMPFAIL` of sysexits: the same may succeed later.
pub const EX_TEMPFAIL: u8 = 75;

/// `EX_NOPERM` of sysexits: this user may not do that.
pub const EX_NOPERM: u8 = 77;

/// Says what went wrong, on standard error.
pub fn complain(text: impl std::fmt::Display) {
    let mut stderr = io::stderr().lock();
    // Nobody is left to be told when standard error is closed.
    writeln!(stderr, "{text}").ok();
}

/// Prints a line; a closed pipe is no error of ours.
pub fn say(text: impl std::fmt::Display) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).ok();
}

/// The configuration, or the exit code after all its errors were printed.
///
/// # Errors
/// [`EX_CONFIG`].
pub fn load(file: &Path) -> Result<Config, ExitCode> {
    config::load(file).map_err(|problems| {
        complain(problems);
        ExitCode::from(EX_CONFIG)
    })
}

/// `facteur check`. Flaws of alias files are told of, and keep no server from its start: it leaves out what nobody
/// understands. With `strict` they are errors.
#[must_use]
pub fn check(file: &Path, strict: bool) -> ExitCode {
    match load(file) {
        Ok(config) => {
            let (directory, complaints) = alias::look(&config);
            let found: Vec<String> =
                complaints.iter().map(ToString::to_string).chain(directory.complaints().iter().cloned()).collect();
            let kind = if strict { "error" } else { "warning" };
            found.iter().for_each(|what| complain(format_args!("{kind}: {what}")));
            if strict && !found.is_empty() {
                return ExitCode::from(EX_CONFIG);
            }
            let accounts = config.accounts.len();
            let domains = config.domains.len();
            say(format_args!("{}: good; {domains} domains, {accounts} accounts", file.display()));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// `facteur password`.
#[must_use]
pub fn password() -> ExitCode {
    let read = if io::stdin().is_terminal() { read_twice() } else { read_pipe() };
    match read.and_then(|password| hash_password(&password)) {
        Ok(hash) => {
            say(hash);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(error);
            ExitCode::from(EX_DATAERR)
        }
    }
}

fn read_pipe() -> Result<Secret<String>, String> {
    let mut text = String::new();
    let most = PASSWORD_OCTETS as u64 + 2;
    io::stdin().take(most).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
}

/// Asks twice, without showing what is typed.
fn read_twice() -> Result<Secret<String>, String> {
    let first = read_hidden("Password: ")?;
    let second = read_hidden("Again: ")?;
    if first == second { Ok(first) } else { Err("the two passwords differ".to_owned()) }
}

fn read_hidden(prompt: &str) -> Result<Secret<String>, String> {
    use rustix::termios::LocalModes;
    use rustix::termios::OptionalActions;
    use rustix::termios::tcgetattr;
    use rustix::termios::tcsetattr;
    let error = |e: io::Error| e.to_string();
    let mut stderr = io::stderr().lock();
    write!(stderr, "{prompt}").and_then(|()| stderr.flush()).map_err(error)?;
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).map_err(|e| error(e.into()))?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &hidden).map_err(|e| error(e.into()))?;
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &before).map_err(|e| error(e.into()))?;
    writeln!(stderr).map_err(error)?;
    read.map_err(error)?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// One line of `facteur queue list --json`.
#[derive(Debug, Serialize)]
struct QueueLine<'a> {
    id: &'a str,
    queue: &'a str,
    /// Seconds since 1970.
    arrival_time: u64,
    message_size: u64,
    sender: String,
    attempts: u32,
    recipients: Vec<QueueRecipient<'a>>,
}

#[derive(Debug, Serialize)]
struct QueueRecipient<'a> {
    address: String,
    delay_reason: &'a str,
}

/// `facteur queue list`: reads the files, so it works with and without a running server.
#[must_use]
pub fn queue_list(file: &Path, json: bool) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let folder = config.storage.folder.join("queue");
    let waiting = match Spool::list(&folder) {
        Ok(waiting) => waiting,
        Err(error) => {
            complain(format_args!("{}: {error}", folder.display()));
            return ExitCode::from(EX_UNAVAILABLE);
        }
    };
    if json {
        for line in waiting.iter().map(queue_line) {
            // Texts and numbers always have a JSON form.
            say(serde_json::to_string(&line).unwrap_or_default());
        }
    } else if waiting.is_empty() {
        say("The queue is empty.");
    } else {
        say(queue_table(&waiting));
    }
    ExitCode::SUCCESS
}

fn queue_line<'a>((waiting, folder): &'a (Waiting, &'static str)) -> QueueLine<'a> {
    let recipients = waiting.recipients.iter().filter_map(|(address, state)| {
        let delay_reason = open_reason(state)?;
        Some(QueueRecipient { address: address.to_string(), delay_reason })
    });
    QueueLine {
        id: waiting.id.as_str(),
        queue: folder,
        arrival_time: waiting.arrived.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
        message_size: waiting.octets,
        sender: waiting.sender.to_string(),
        attempts: waiting.attempts,
        recipients: recipients.collect(),
    }
}

/// What the last attempt said of a recipient that still waits; `None` for one that does not.
fn open_reason(state: &RecipientState) -> Option<&str> {
    match state {
        RecipientState::Waiting { last, .. } => Some(last.as_ref().map_or("", |(_, why)| why.as_str())),
        RecipientState::Failed { why, .. } => Some(why),
        RecipientState::Delivered { .. } | RecipientState::Done => None,
    }
}

fn queue_table(waiting: &[(Waiting, &'static str)]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["id", "queue", "arrived", "size", "from", "to", "last answer"]);
    for (entry, folder) in waiting {
        let date = date::format(entry.arrived, &TimeZone::system());
        let sender = if entry.sender.address().is_none() { "<>".to_owned() } else { entry.sender.to_string() };
        for (address, state) in &entry.recipients {
            if let Some(reason) = open_reason(state) {
                let size = entry.octets.to_string();
                let row = [entry.id.as_str(), folder, &date, &size, &sender, &address.to_string(), reason];
                table.add_row(row);
            }
        }
    }
    format!("{table}\n{} messages", waiting.len())
}

/// `facteur config defaults`.
#[must_use]
pub fn config_defaults() -> ExitCode {
    say(config::example().trim_end());
    ExitCode::SUCCESS
}

/// A request to the running server; says what it answers.
#[must_use]
pub fn request(file: &Path, request: &Request) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match control::ask(&config.storage.folder, request) {
        Ok(Some(reply)) if reply.done => {
            say(reply.text);
            ExitCode::SUCCESS
        }
        Ok(Some(reply)) => {
            complain(reply.text);
            ExitCode::FAILURE
        }
        Ok(None) => {
            complain(format_args!("no server is running on {}", config.storage.folder.display()));
            ExitCode::from(EX_UNAVAILABLE)
        }
        Err(error) => {
            complain(format_args!("{}: {error}", control::socket(&config.storage.folder).display()));
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}
