//! `facteur mailbox reindex`.

use std::process::ExitCode;

use serde::Deserialize;
use serde::Serialize;

use super::Accounts;
use super::for_each_account;
use super::job::Done;
use super::job::Task;
use super::job::Worker;
use super::job::wait;
use super::table;

/// One mailbox that was read anew.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    account: String,
    mailbox: String,
    messages: u64,
}

/// Has it done and prints what was.
pub(super) fn run(accounts: &Accounts, mailbox: Option<&str>, json: bool) -> ExitCode {
    for_each_account(accounts, json, &Task::Reindex { mailbox: mailbox.map(str::to_owned) }, |rows: Vec<Row>| {
        let cells = rows.into_iter().map(|row| [row.account, row.mailbox, row.messages.to_string()]);
        table(["account", "mailbox", "messages"], cells)
    })
}

/// Forgets all that is known of the account, or of one mailbox, and reads that from disk.
pub(super) fn work(worker: &mut Worker<'_>, mailbox: Option<&str>) -> Done {
    let names = worker.names(mailbox)?;
    match (mailbox, &names[..]) {
        (Some(_), [name]) => worker.store.forget_mailbox(&worker.job.maildir, name)?,
        _ => worker.store.forget(&worker.job.maildir),
    }
    let account = worker.account()?;
    let of = names.len() as u64;
    for (done, name) in (0..).zip(&names) {
        worker.progress(name.as_str(), done, of)?;
        let mailbox = wait(account.mailbox(name))?;
        let messages = mailbox.snapshot().messages.len() as u64;
        worker.row(&Row { account: worker.job.account.clone(), mailbox: name.to_string(), messages })?;
    }
    Ok((0, format!("{of} mailboxes were read again")))
}
