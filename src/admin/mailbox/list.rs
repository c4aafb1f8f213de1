//! `facteur mailbox list`.

use std::process::ExitCode;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;

use super::Accounts;
use super::for_each_account;
use super::job::Done;
use super::job::Event;
use super::job::Task;
use super::job::Worker;
use super::job::wait;
use super::job::with_causes;
use super::table;
use crate::admin::commands::EX_IOERR;
use crate::mail::ids::Uid;
use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;
use crate::store::AccountStore;
use crate::store::StoreError;

/// One mailbox.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    account: String,
    mailbox: String,
    /// `false` for a name that is only the parent of mailboxes.
    selectable: bool,
    messages: u64,
    unseen: u64,
    /// Octets on the wire.
    size: u64,
    special_use: Option<String>,
    subscribed: bool,
}

/// Prints what there is.
pub(super) fn run(accounts: &Accounts, json: bool) -> ExitCode {
    for_each_account(accounts, json, &Task::List, |rows: Vec<Row>| {
        let head = ["account", "mailbox", "messages", "unseen", "size", "special use", "subscribed"];
        let cells = rows.into_iter().map(|row| {
            let number = |n: u64| if row.selectable { n.to_string() } else { "-".to_owned() };
            let (messages, unseen, size) = (number(row.messages), number(row.unseen), number(row.size));
            let subscribed = if row.subscribed { "yes" } else { "" };
            [row.account, row.mailbox, messages, unseen, size, row.special_use.unwrap_or_default(), subscribed.into()]
        });
        table(head, cells)
    })
}

/// Looks.
pub(super) fn work(worker: &mut Worker<'_>) -> Done {
    let account = worker.account()?;
    let all = wait(account.list())?;
    let of = all.len() as u64;
    let mut code = 0;
    for (done, listed) in (0..).zip(&all) {
        worker.progress(listed.name.as_str(), done, of)?;
        let mut row = Row {
            account: worker.job.account.clone(),
            mailbox: listed.name.to_string(),
            selectable: listed.selectable,
            messages: 0,
            unseen: 0,
            size: 0,
            special_use: listed.special_use.map(SpecialUse::attribute).map(str::to_owned),
            subscribed: listed.subscribed,
        };
        if listed.selectable
            && let Err(error) = count(&account, &listed.name, &mut row)
        {
            // The others are none the worse for it.
            (code, row.selectable) = (EX_IOERR, false);
            worker.tell(&Event::Warning { text: format!("{}: {}", listed.name, with_causes(&error)) })?;
        }
        worker.row(&row)?;
    }
    let text = if code == 0 { format!("{of} mailboxes") } else { "not all mailboxes could be read".to_owned() };
    Ok((code, text))
}

/// Reads a mailbox.
fn count(account: &Arc<AccountStore>, name: &MailboxName, row: &mut Row) -> Result<(), StoreError> {
    let mailbox = wait(account.mailbox(name))?;
    let snapshot = mailbox.snapshot();
    let uids: Vec<Uid> = snapshot.messages.iter().map(|message| message.uid).collect();
    row.messages = uids.len() as u64;
    row.unseen = snapshot.unseen() as u64;
    row.size = mailbox.sizes_blocking(&uids)?.iter().map(|(_, size)| size).sum();
    Ok(())
}
