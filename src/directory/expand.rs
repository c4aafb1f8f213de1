//! Follows an address to its ends, within bounds; once for mail, once for whoever wants to see the way.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::Destination;
use super::table::Alias;
use super::table::Found;
use super::table::Goal;
use super::table::Table;
use crate::mail::address::Address;
use crate::mail::limits::ALIAS_DEPTH;
use crate::mail::limits::ALIAS_RESULTS;

/// What was found so far.
#[derive(Default)]
pub(super) struct Expansion {
    seen: HashSet<String>,
    pub(super) destinations: Vec<Destination>,
    /// Why nobody can say where all of the mail should go.
    pub(super) trouble: Option<String>,
    again: bool,
}

impl Expansion {
    /// All that a local address leads to.
    pub(super) fn of(table: &Table, address: &Address) -> Self {
        let mut this = Self::default();
        this.follow(table, address, 0);
        if this.destinations.is_empty() && this.again && this.trouble.is_none() {
            this.trouble = Some("leads back to itself".to_owned());
        }
        if this.destinations.is_empty() && this.trouble.is_none() && table.may_lack(address) {
            this.trouble = Some("the aliases file has not been read as a whole".to_owned());
        }
        this
    }

    fn follow(&mut self, table: &Table, address: &Address, depth: usize) {
        if self.trouble.is_some() {
            return;
        }
        if depth > ALIAS_DEPTH {
            self.trouble = Some(format!("more than {ALIAS_DEPTH} aliases one behind the other"));
            return;
        }
        // Addresses that lead nowhere are no results, and cost as much.
        if self.destinations.len() >= ALIAS_RESULTS || self.seen.len() >= 4 * ALIAS_RESULTS {
            self.trouble = Some(format!("more than {ALIAS_RESULTS} addresses"));
            return;
        }
        if !self.seen.insert(address.key()) {
            self.again = true;
            return;
        }
        if !table.is_local(address.domain()) {
            self.destinations.push(Destination::Forward(address.clone()));
            return;
        }
        match table.find(address) {
            Found::Account(account) => self.reach(account),
            Found::Alias(alias) => self.alias(table, alias, depth),
            Found::Pattern(_, addresses) => {
                for address in &addresses {
                    self.follow(table, address, depth + 1);
                }
            }
            Found::Nobody => {}
        }
    }

    fn alias(&mut self, table: &Table, alias: &Alias, depth: usize) {
        if !alias.enabled {
            return;
        }
        if let Some(why) = &alias.missing {
            self.trouble = Some(why.clone());
            return;
        }
        for goal in &alias.goals {
            match goal {
                Goal::Address(address) => self.follow(table, address, depth + 1),
                Goal::Mailbox(address) => {
                    if let Some(account) = table.mailbox(address) {
                        self.reach(account);
                    }
                }
            }
        }
    }

    fn reach(&mut self, account: &Arc<super::Account>) {
        if self.seen.insert(format!("account {}", account.address().key())) {
            self.destinations.push(Destination::Account(Arc::clone(account)));
        }
    }
}

/// One address on the way, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The address.
    pub address: String,
    /// What it is here: `account`, `mailbox` (past all aliases), `alias`, `file`, `catch-all`, `pattern`, `elsewhere`,
    /// `return` (a sender that we rewrote), `expired` (one too old), `unknown`, `again` (it stands further up), or
    /// `trouble`.
    pub kind: &'static str,
    /// Whether it is in force.
    pub enabled: bool,
    /// What the operator wrote beside it, or what the trouble is.
    pub comment: String,
    /// Where it leads.
    pub to: Vec<Self>,
}

impl Step {
    pub(super) fn new(address: &Address, kind: &'static str) -> Self {
        Self { address: address.to_unicode(), kind, enabled: true, comment: String::new(), to: Vec::new() }
    }
}

/// The way of an address.
pub(super) fn way(table: &Table, address: &Address) -> Step {
    let mut seen = HashSet::new();
    step(table, address, 0, &mut seen)
}

fn step(table: &Table, address: &Address, depth: usize, seen: &mut HashSet<String>) -> Step {
    if !table.is_local(address.domain()) {
        return Step::new(address, "elsewhere");
    }
    if depth > ALIAS_DEPTH || seen.len() >= 4 * ALIAS_RESULTS {
        return Step { comment: "too deep or too many".to_owned(), ..Step::new(address, "trouble") };
    }
    if !seen.insert(address.key()) {
        return Step::new(address, "again");
    }
    match table.find(address) {
        Found::Account(account) if account.address().key() == address.key() => Step::new(address, "account"),
        Found::Account(account) => {
            Step { to: vec![Step::new(account.address(), "account")], ..Step::new(address, "alias") }
        }
        Found::Alias(alias) => {
            let to = alias.goals.iter().map(|goal| match goal {
                Goal::Address(address) => step(table, address, depth + 1, seen),
                Goal::Mailbox(address) => {
                    Step::new(address, if table.mailbox(address).is_some() { "mailbox" } else { "unknown" })
                }
            });
            let to = to.collect();
            let comment = alias.missing.clone().unwrap_or_else(|| alias.comment.clone());
            let kind = if alias.missing.is_some() { "trouble" } else { alias.source };
            Step { enabled: alias.enabled, comment, to, ..Step::new(address, kind) }
        }
        Found::Pattern(pattern, addresses) => Step {
            comment: format!("{} {}", pattern.pattern.value.as_str(), pattern.comment).trim_end().to_owned(),
            to: addresses.iter().map(|address| step(table, address, depth + 1, seen)).collect(),
            ..Step::new(address, "pattern")
        },
        Found::Nobody => Step::new(address, "unknown"),
    }
}
