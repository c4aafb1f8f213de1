//! `facteur mailbox fsck`.

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;

use serde::Deserialize;
use serde::Serialize;

use super::Accounts;
use super::for_each_account;
use super::job::Done;
use super::job::Event;
use super::job::Failure;
use super::job::Task;
use super::job::Worker;
use super::job::name_of;
use super::job::wait;
use super::job::with_causes;
use super::table;
use crate::mail::mailbox::MailboxName;
use crate::store::Finding;
use crate::store::Findings;
use crate::store::Severity;

/// The exit code where errors are left.
const ERRORS_LEFT: u8 = 1;

/// One finding.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    account: String,
    /// Empty for what lies beside the mailboxes.
    mailbox: String,
    severity: String,
    kind: String,
    path: String,
    text: String,
    /// Whether it was there and no longer is.
    repaired: bool,
}

/// Has it done and prints what was found.
pub(super) fn run(accounts: &Accounts, mailbox: Option<&str>, repair: bool, json: bool) -> ExitCode {
    let task = Task::Fsck { mailbox: mailbox.map(str::to_owned), repair };
    for_each_account(accounts, json, &task, |mut rows: Vec<Row>| {
        let rank = |row: &Row| ["error", "warning", "note"].iter().position(|severity| row.severity == *severity);
        rows.sort_by_key(|row| (row.repaired, rank(row)));
        let cells = rows.into_iter().map(|row| {
            let severity = if row.repaired { format!("repaired {}", row.severity) } else { row.severity };
            [severity, row.account, row.mailbox, row.kind, row.text, row.path]
        });
        table(["", "account", "mailbox", "kind", "what", "where"], cells)
    })
}

/// What is left and what was repaired.
#[derive(Default)]
struct Tally {
    errors: usize,
    warnings: usize,
    notes: usize,
    repaired: usize,
}

/// Looks, and repairs where that is wanted; then looks again: what is no longer found was repaired.
pub(super) fn work(worker: &mut Worker<'_>, mailbox: Option<&str>, repair: bool) -> Done {
    let maildir = worker.job.maildir.clone();
    let only = mailbox.map(name_of).transpose()?;
    let mut tally = Tally::default();
    if repair && only.is_none() {
        // Opening an account completes what a crash left of it.
        let before = worker.store.check_tree_blocking(&maildir)?.1;
        worker.account()?;
        let after = worker.store.check_tree_blocking(&maildir)?.1;
        report(worker, "", &before, Some(&after), &mut tally)?;
    } else if only.is_none() {
        let found = worker.store.check_tree_blocking(&maildir)?.1;
        report(worker, "", &found, None, &mut tally)?;
    }
    let names = match only {
        Some(name) => vec![name],
        None => worker.store.check_tree_blocking(&maildir)?.0,
    };
    for name in &names {
        let found = look(worker, &maildir, name)?;
        let again = if repair && !found.all.is_empty() {
            if let Err(failure) = mend(worker, name, &found) {
                match failure {
                    Failure::Told { text, .. } => {
                        worker
                            .tell(&Event::Warning { text: format!("{name}: not everything was repaired: {text}") })?;
                    }
                    gone @ Failure::Gone(_) => return Err(gone),
                }
            }
            Some(look(worker, &maildir, name)?)
        } else {
            None
        };
        report(worker, name.as_str(), &found, again.as_ref(), &mut tally)?;
    }
    let Tally { errors, warnings, notes, repaired } = tally;
    let done = if repair { format!(", {repaired} repaired") } else { String::new() };
    let text = format!("{} mailboxes: {errors} errors, {warnings} warnings, {notes} notes{done}", names.len());
    Ok((if errors > 0 { ERRORS_LEFT } else { 0 }, text))
}

fn look(worker: &mut Worker<'_>, maildir: &Path, name: &MailboxName) -> Result<Findings, Failure> {
    let store = worker.store;
    store.check_mailbox_blocking(maildir, name, |done, of| Ok(worker.progress(name.as_str(), done, of)?))
}

fn mend(worker: &Worker<'_>, name: &MailboxName, found: &Findings) -> Result<(), Failure> {
    found.make_readable();
    let mailbox = wait(worker.account()?.mailbox(name))?;
    mailbox.repair_blocking(found).map_err(|error| Failure::Told { code: ERRORS_LEFT, text: with_causes(&error) })
}

/// Tells of all that was found; where it was looked at again, what is gone was repaired, and what came is new.
fn report(
    worker: &mut Worker<'_>,
    mailbox: &str,
    found: &Findings,
    again: Option<&Findings>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let left = again.unwrap_or(found);
    let places: HashSet<(&str, &Path)> = left.all.iter().map(|finding| (finding.kind, &*finding.path)).collect();
    let is_left = |finding: &Finding| places.contains(&(finding.kind, &*finding.path));
    let gone: Vec<&Finding> =
        if again.is_some() { found.all.iter().filter(|finding| !is_left(finding)).collect() } else { Vec::new() };
    let rows = gone.into_iter().map(|finding| (finding, true)).chain(left.all.iter().map(|finding| (finding, false)));
    for (finding, repaired) in rows {
        let severity = match finding.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        match (repaired, finding.severity) {
            (true, _) => tally.repaired += 1,
            (false, Severity::Note) => tally.notes += 1,
            (false, Severity::Warning) => tally.warnings += 1,
            (false, Severity::Error) => tally.errors += 1,
        }
        worker.row(&Row {
            account: worker.job.account.clone(),
            mailbox: mailbox.to_owned(),
            severity: severity.to_owned(),
            kind: finding.kind.to_owned(),
            path: finding.path.display().to_string(),
            text: finding.text.clone(),
            repaired,
        })?;
    }
    Ok(())
}
