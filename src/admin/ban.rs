//! `facteur ban …`: networks that may not log in.
//!
//! The running server is asked; where none runs, the file is changed under the server's lock. A look at it takes no lock
//! and changes nothing.

use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use crate::admin::cli::BanCommand;
use crate::admin::commands;
use crate::admin::commands::EX_DATAERR;
use crate::admin::commands::EX_IOERR;
use crate::admin::commands::EX_UNAVAILABLE;
use crate::admin::commands::complain;
use crate::admin::commands::say;
use crate::admin::control;
use crate::admin::control::Reply;
use crate::admin::control::Request;
use crate::clock::Clock;
use crate::config;
use crate::directory::Ban;
use crate::directory::Guard;
use crate::fsio;
use crate::mail::limits::BAN_REASON_OCTETS;
use crate::message::date;

/// Does what was typed.
#[must_use]
pub fn run(command: &BanCommand) -> ExitCode {
    let done = match command {
        BanCommand::List { config, json } => ask(&config.config, &Request::BanList).map(|text| list(&text, *json)),
        BanCommand::Add { config, network, lasts, reason } => {
            add(network, lasts, reason).and_then(|request| tell(&config.config, &request))
        }
        BanCommand::Remove { config, network } => {
            network_of(network).and_then(|network| tell(&config.config, &Request::BanRemove { network }))
        }
    };
    done.unwrap_or_else(|code| code)
}

/// Checks what was typed before anybody is asked to do it.
fn add(network: &str, lasts: &str, reason: &str) -> Result<Request, ExitCode> {
    let lasts = config::parse_time(lasts).map_err(bad)?;
    if reason.len() > BAN_REASON_OCTETS || reason.chars().any(char::is_control) {
        return Err(bad(format!("the reason must be one line of at most {BAN_REASON_OCTETS} octets")));
    }
    if lasts.is_zero() {
        return Err(bad("a ban for no time is none; write for example --for 1h"));
    }
    Ok(Request::BanAdd { network: network_of(network)?, seconds: lasts.as_secs(), reason: reason.to_owned() })
}

fn bad(what: impl std::fmt::Display) -> ExitCode {
    complain(what);
    ExitCode::from(EX_DATAERR)
}

/// A network, or one address; the whole world is none.
fn network_of(typed: &str) -> Result<String, ExitCode> {
    match config::parse_network(typed).map_err(bad)? {
        network if network.prefix_len() == 0 => Err(bad(format!("{network} is the whole world"))),
        network => Ok(network.trunc().to_string()),
    }
}

fn tell(file: &Path, request: &Request) -> Result<ExitCode, ExitCode> {
    say(ask(file, request)?);
    Ok(ExitCode::SUCCESS)
}

/// The running server's answer, or our own where none runs.
fn ask(file: &Path, request: &Request) -> Result<String, ExitCode> {
    let folder = commands::load(file)?.storage.folder;
    let failed = |code: u8, text: String| {
        complain(text);
        ExitCode::from(code)
    };
    let reply = match control::ask(&folder, request) {
        Ok(Some(reply)) => reply,
        Ok(None) => alone(&folder, request).map_err(|text| failed(EX_IOERR, text))?,
        Err(error) => {
            return Err(failed(EX_UNAVAILABLE, format!("{}: {error}", control::socket(&folder).display())));
        }
    };
    if reply.done { Ok(reply.text) } else { Err(failed(1, reply.text)) }
}

/// Without a server: its lock keeps one from starting meanwhile.
fn alone(folder: &Path, request: &Request) -> Result<Reply, String> {
    let file = folder.join("auth").join("bans");
    if !folder.is_dir() {
        return Err(format!("{}: there is no such folder; has the server ever run?", folder.display()));
    }
    // The file is only ever replaced as a whole, so a look at it needs no lock.
    let _lock = match request {
        Request::BanList => None,
        _ => Some(lock(folder)?),
    };
    let guard = Guard::read(&file, Clock::system()).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(answer(&guard, request).unwrap_or_else(|| Reply { done: false, text: "not a request about bans".to_owned() }))
}

/// The server's lock. Its file, where it is made here, belongs to the folder's owner: else the server could not open it.
fn lock(folder: &Path) -> Result<fsio::Lock, String> {
    let named = |error: std::io::Error| format!("{}: {error}", folder.display());
    let path = folder.join("lock");
    let is_new = !path.exists();
    let lock = match fsio::lock(&path).map_err(named)? {
        Ok(lock) => lock,
        Err(owner) => return Err(format!("{} is in use by process {owner}, which does not answer", folder.display())),
    };
    let (owner, has) = (std::fs::metadata(folder).map_err(named)?, std::fs::metadata(&path).map_err(named)?);
    if is_new && owner.uid() != has.uid() {
        chown(&path, Some(owner.uid()), Some(owner.gid())).map_err(named)?;
    }
    Ok(lock)
}

/// Does what is asked about bans; `None` for other requests. Waits for the disk.
#[must_use]
pub fn answer(guard: &Guard, request: &Request) -> Option<Reply> {
    let network = config::parse_network;
    let done = match request {
        Request::BanList => serde_json::to_string(&guard.bans()).map_err(|error| error.to_string()),
        Request::BanAdd { network: text, seconds, reason } => network(text).and_then(|network| {
            guard.ban(network, Duration::from_secs(*seconds), reason.clone())?;
            Ok(format!(
                "{network} may not log in until {}",
                date_of(guard.bans().iter().find(|b| b.network == network))
            ))
        }),
        Request::BanRemove { network: text } => network(text).and_then(|network| match guard.unban(network)? {
            true => Ok(format!("{network} may log in again")),
            false => Err(format!("{network} is not banned; `facteur ban list` shows what is")),
        }),
        Request::QueueFlush | Request::Forget { .. } | Request::Mailbox { .. } => return None,
    };
    Some(match done {
        Ok(text) => Reply { done: true, text },
        Err(text) => Reply { done: false, text },
    })
}

fn date_of(ban: Option<&Ban>) -> String {
    ban.map_or_else(String::new, |ban| when(ban.until))
}

fn when(seconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    date::format(time.unwrap_or(SystemTime::UNIX_EPOCH), &TimeZone::system())
}

fn list(text: &str, json: bool) -> ExitCode {
    let bans: Vec<Ban> = match serde_json::from_str(text) {
        Ok(bans) => bans,
        Err(error) => {
            complain(format_args!("the server's answer is no list of bans: {error}"));
            return ExitCode::from(EX_UNAVAILABLE);
        }
    };
    if json {
        bans.iter().for_each(|ban| say(serde_json::json!(ban)));
        return ExitCode::SUCCESS;
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["network", "since", "until", "by", "time", "reason"]);
    for ban in &bans {
        let by = if ban.by_hand { "hand" } else { "itself" };
        let (since, until) = (when(ban.since), when(ban.until));
        table.add_row([&ban.network.to_string(), &since, &until, by, &ban.times.to_string(), &ban.reason]);
    }
    say(format_args!("{table}\n{} bans", bans.len()));
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_checked_first() {
        assert_eq!(network_of("192.0.2.7/24").ok().as_deref(), Some("192.0.2.0/24"));
        assert_eq!(network_of("2001:db8::1").ok().as_deref(), Some("2001:db8::1/128"));
        assert_eq!(network_of("::ffff:192.0.2.1").ok().as_deref(), Some("192.0.2.1/32"));
        assert!(network_of("::ffff:0:0/96").is_err());
        assert!(network_of("0.0.0.0/0").is_err() && network_of("example.com").is_err());
        assert!(add("192.0.2.1", "1h", "spam").is_ok());
        assert!(add("192.0.2.1", "soon", "x").is_err() && add("192.0.2.1", "0s", "x").is_err());
        assert!(add("192.0.2.1", "1h", "a\nb").is_err() && add("192.0.2.1", "1h", &"x".repeat(1000)).is_err());
    }

    #[test]
    fn requests_are_answered_and_kept() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let ask = |request: Request| alone(dir.path(), &request).expect("the folder is ours");
        assert!(ask(Request::BanList).done);
        assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 0, "a look leaves nothing behind");
        let add = Request::BanAdd { network: "192.0.2.0/24".to_owned(), seconds: 3600, reason: "spam".to_owned() };
        assert!(ask(add).text.starts_with("192.0.2.0/24 may not log in until "));
        let listed: Vec<Ban> = serde_json::from_str(&ask(Request::BanList).text).expect("a list");
        assert_eq!((listed.len(), listed[0].reason.as_str(), listed[0].by_hand), (1, "spam", true));
        let remove = Request::BanRemove { network: "192.0.2.0/24".to_owned() };
        assert!(ask(remove.clone()).done && !ask(remove).done);
        let file = dir.path().join("auth/bans");
        std::fs::write(&file, "nonsense").expect("written");
        assert!(alone(dir.path(), &Request::BanList).is_err());
        assert_eq!(std::fs::read(&file).expect("still there"), b"nonsense");
    }
}
