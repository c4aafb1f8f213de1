//! `facteur mailbox …`: look at mailboxes, check and repair them, bring mail in and out.
//!
//! Each command is a file: what the person sees, and next to it the work, which is done by the running server or, where
//! none runs, by the command itself (`session.rs` decides). [`job`] has what the two say to each other.

mod export;
mod fsck;
mod import;
pub mod job;
mod list;
mod reindex;
mod session;
mod status;

use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::de::DeserializeOwned;

use self::job::Event;
use self::job::Job;
use self::job::Task;
use self::session::Failed;
use self::session::Session;
use crate::admin::cli::AccountChoice;
use crate::admin::cli::ExportCommand;
use crate::admin::cli::ImportCommand;
use crate::admin::cli::MailboxCommand;
use crate::admin::commands;
use crate::admin::commands::EX_DATAERR;
use crate::admin::commands::EX_NOUSER;
use crate::admin::commands::complain;
use crate::admin::commands::say;
use crate::admin::control::Request;
use crate::config::Config;
use crate::mail::address::Address;
use crate::mail::quota::QuotaLimits;

/// The accounts that a command is for.
struct Accounts {
    config: Config,
    chosen: Vec<Address>,
}

/// Does what was typed.
#[must_use]
pub fn run(command: &MailboxCommand) -> ExitCode {
    let done = match command {
        MailboxCommand::Forget { config, maildir } => {
            // The server may have been started elsewhere.
            let maildir = std::path::absolute(maildir).unwrap_or_else(|_| maildir.clone());
            return commands::request(&config.config, &Request::Forget { maildir });
        }
        MailboxCommand::List { accounts, json } => some(accounts).map(|accounts| list::run(&accounts, *json)),
        MailboxCommand::Status { config, account, mailbox, json } => {
            one(&config.config, account).map(|accounts| status::run(&accounts, mailbox, *json))
        }
        MailboxCommand::Fsck { accounts, mailbox, repair, json } => {
            some(accounts).map(|accounts| fsck::run(&accounts, mailbox.as_deref(), *repair, *json))
        }
        MailboxCommand::Reindex { accounts, mailbox, json } => {
            some(accounts).map(|accounts| reindex::run(&accounts, mailbox.as_deref(), *json))
        }
        MailboxCommand::Import(ImportCommand::Maildir { into, folder }) => one(&into.config.config, &into.account)
            .map(|accounts| import::maildir(&accounts, folder, into.mailbox.as_deref(), into.json)),
        MailboxCommand::Import(ImportCommand::Mbox { into, file }) => one(&into.config.config, &into.account)
            .map(|accounts| import::mbox(&accounts, file, into.mailbox.as_deref(), into.json)),
        MailboxCommand::Export(ExportCommand::Mbox { config, account, to, mailbox, force, json }) => {
            let wanted = export::Wanted { mailbox: mailbox.as_deref(), to, force: *force, json: *json };
            one(&config.config, account).map(|accounts| export::mbox(&accounts, &wanted))
        }
    };
    done.unwrap_or_else(|code| code)
}

/// The accounts of a command that may be for all.
fn some(choice: &AccountChoice) -> Result<Accounts, ExitCode> {
    match &choice.account {
        Some(account) => one(&choice.config.config, account),
        None => {
            let config = commands::load(&choice.config.config)?;
            let chosen = config.accounts.iter().map(|entry| entry.address.value.clone()).collect();
            Ok(Accounts { config, chosen })
        }
    }
}

/// The account of this address; of this user, where only one domain has it.
fn one(file: &Path, typed: &str) -> Result<Accounts, ExitCode> {
    let config = commands::load(file)?;
    let addresses = config.accounts.iter().map(|entry| &entry.address.value);
    let key = Address::parse(typed).map(|address| address.key());
    let fits = |address: &&Address| match &key {
        Ok(key) => address.key() == *key,
        Err(_) => address.local().eq_ignore_ascii_case(typed),
    };
    let mut chosen: Vec<Address> = addresses.filter(fits).cloned().collect();
    let code = match chosen.len() {
        1 => return Ok(Accounts { config, chosen: chosen.split_off(0) }),
        0 => {
            complain(format_args!("{typed}: {} has no such account", file.display()));
            EX_NOUSER
        }
        _ => {
            let all: Vec<String> = chosen.iter().map(Address::to_string).collect();
            complain(format_args!("{typed}: which one of {}?", all.join(", ")));
            EX_DATAERR
        }
    };
    Err(ExitCode::from(code))
}

impl Accounts {
    /// Begins a job on an account.
    fn open(&self, account: &Address, task: &Task, json: bool) -> Result<Session, Failed> {
        let job = Job {
            account: account.to_string(),
            maildir: PathBuf::new(),
            limits: QuotaLimits::default(),
            task: task.clone(),
        };
        let job = job.at_home(&self.config).ok_or_else(|| Failed::new(EX_NOUSER, "no such account"))?;
        Session::open(&self.config.storage, job, json)
    }
}

/// Does a job for each account in turn, collects what comes, and has it shown as a table; with `json` each object is
/// printed as it comes. The exit code is the first that is not 0; a failure ends nothing but its own account.
fn for_each_account<Row: DeserializeOwned>(
    accounts: &Accounts,
    json: bool,
    task: &Task,
    show: impl FnOnce(Vec<Row>) -> String,
) -> ExitCode {
    let mut rows = Vec::new();
    let mut exit = 0;
    let mut words = Vec::new();
    for account in &accounts.chosen {
        let followed = accounts.open(account, task, json).and_then(|mut session| {
            session.follow(|event, _| {
                if let Event::Row { row } = event {
                    if json {
                        say(row);
                    } else {
                        let error = |error| Failed::new(commands::EX_UNAVAILABLE, error);
                        rows.push(serde_json::from_value(row).map_err(error)?);
                    }
                }
                Ok(())
            })
        });
        let (code, text) = match followed {
            Ok((code, text)) => (code, text),
            Err(failed) => (failed.code, failed.text),
        };
        if exit == 0 {
            exit = code;
        }
        if code > 1 {
            complain(format_args!("{account}: {text}"));
        } else if !text.is_empty() && !json {
            words.push(if accounts.chosen.len() > 1 { format!("{account}: {text}") } else { text });
        }
    }
    if !json {
        if !rows.is_empty() {
            say(show(rows));
        }
        words.iter().for_each(say);
    }
    ExitCode::from(exit)
}

/// A table for people.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    table.to_string()
}
