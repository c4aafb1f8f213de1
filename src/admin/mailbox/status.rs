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
            ]
        });
        table(["what", "value"], cells)
    })
}

/// Looks.
pub(super) fn work(worker: &mut Worker<'_>, mailbox: &str) -> Done {
    let name = name_of(mailbox)?;
    let mailbox = wait(worker.account()?.mailbox(&name))?;
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
    };
    worker.row(&row)?;
    Ok((0, String::new()))
}
