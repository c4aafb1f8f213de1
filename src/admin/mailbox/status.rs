//! `facteur mailbox status`.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Deserialize;
use serde::Serialize;

use super::Accounts;
use super::for_each_account;
use super::job::Done;
use super::job::Task;
use super::job::Worker;
use super::job::name_of;
use super::job::wait;
use super::table;
use crate::mail::ids::Uid;

/// All about one mailbox.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    account: String,
    mailbox: String,
    uid_validity: u32,
    uid_next: u32,
    messages: u64,
    unseen: u64,
    recent: u64,
    /// Octets on the wire.
    size: u64,
    highest_modseq: u64,
    /// By slot; empty where a name is lost.
    keywords: Vec<String>,
    folder: PathBuf,
    /// Of the account as a whole, as its quota counts.
    quota_used_octets: u64,
    quota_used_messages: u64,
    /// 0 for no limit.
    quota_limit_octets: u64,
    quota_limit_messages: u64,
}

/// Prints what there is.
pub(super) fn run(accounts: &Accounts, mailbox: &str, json: bool) -> ExitCode {
    for_each_account(accounts, json, &Task::Status { mailbox: mailbox.to_owned() }, |rows: Vec<Row>| {
        let cells = rows.into_iter().flat_map(|row| {
            let keywords: Vec<String> = row.keywords.into_iter().filter(|name| !name.is_empty()).collect();
            [
                ["account".to_owned(), row.account],
                ["mailbox".to_owned(), row.mailbox],
                ["UIDVALIDITY".to_owned(), row.uid_validity.to_string()],
                ["UIDNEXT".to_owned(), row.uid_next.to_string()],
                ["messages".to_owned(), row.messages.to_string()],
                ["unseen".to_owned(), row.unseen.to_string()],
                ["recent".to_owned(), row.recent.to_string()],
                ["size".to_owned(), row.size.to_string()],
                ["highest modseq".to_owned(), row.highest_modseq.to_string()],
                ["keywords".to_owned(), keywords.join(" ")],
                ["folder".to_owned(), row.folder.display().to_string()],
                ["quota, octets".to_owned(), of(row.quota_used_octets, row.quota_limit_octets)],
                ["quota, messages".to_owned(), of(row.quota_used_messages, row.quota_limit_messages)],
            ]
        });
        table(["what", "value"], cells)
    })
}

/// How much of a limit is used.
fn of(used: u64, limit: u64) -> String {
    if limit == 0 { format!("{used}, no limit") } else { format!("{used} of {limit}") }
}

/// Looks.
pub(super) fn work(worker: &mut Worker<'_>, mailbox: &str) -> Done {
    let name = name_of(mailbox)?;
    let account = worker.account()?;
    let mailbox = wait(account.mailbox(&name))?;
    let (used, _) = wait(account.usage())?;
    // Not those of the store: where no server runs it knows none.
    let limits = &worker.job.limits;
    let snapshot = mailbox.snapshot();
    let uids: Vec<Uid> = snapshot.messages.iter().map(|message| message.uid).collect();
    let row = Row {
        account: worker.job.account.clone(),
        mailbox: name.to_string(),
        uid_validity: snapshot.validity.get(),
        uid_next: snapshot.next.get(),
        messages: uids.len() as u64,
        unseen: snapshot.unseen() as u64,
        recent: snapshot.recent() as u64,
        size: mailbox.sizes_blocking(&uids)?.iter().map(|(_, size)| size).sum(),
        highest_modseq: snapshot.highest_modseq,
        keywords: snapshot.keywords.to_vec(),
        folder: mailbox.folder_on_disk()?,
        quota_used_octets: used.octets,
        quota_used_messages: used.messages,
        quota_limit_octets: limits.octets,
        quota_limit_messages: limits.messages,
    };
    worker.row(&row)?;
    Ok((0, String::new()))
}
