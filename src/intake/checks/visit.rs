//! One client's visit: what was found about him once, and about the sender of the transaction that is open.

use super::Client;
use super::Finding;
use super::Gate;
use super::Origin;
use super::Outcome;
use crate::config::Config;
use crate::dns::client_name::ClientName;
use crate::sender_auth::Facts;

/// What is known of a client so far. Nothing is looked up before the first recipient that we would take.
#[derive(Debug, Clone, Default)]
pub struct Visit {
    client: Option<Client>,
    /// Of this transaction.
    findings: Option<Vec<Finding>>,
    origin: Option<Origin>,
}

impl Visit {
    /// Another transaction begins.
    pub fn next_transaction(&mut self) {
        (self.findings, self.origin) = (None, None);
    }

    /// What is to be said of the client, its HELO and its sender: found at the first recipient, and true for all.
    pub async fn findings(&mut self, gate: &Gate, config: &Config, facts: &Facts<'_>) -> (&Client, &[Finding]) {
        if self.client.is_none() {
            self.client = Some(gate.client(config, facts.ip).await);
        }
        let client = self.client.get_or_insert(Client { ip: facts.ip, name: None, listings: None });
        if self.findings.is_none() {
            self.findings = Some(gate.stranger(config, client, facts).await);
        }
        (client, self.findings.as_deref().unwrap_or_default())
    }

    /// By what the sender is known when he comes again: found once, and true for all recipients.
    pub async fn origin(&mut self, gate: &Gate, config: &Config, facts: &Facts<'_>) -> Origin {
        if let Some(origin) = &self.origin {
            return origin.clone();
        }
        let origin = gate.origin(config, facts).await;
        self.origin = Some(origin.clone());
        origin
    }

    /// Why the mail of this transaction belongs into Junk, as far as the checks go.
    #[must_use]
    pub fn junk(&self) -> Vec<String> {
        let junk = |finding: &&Finding| finding.outcome == Outcome::Junk;
        self.findings.iter().flatten().filter(junk).map(ToString::to_string).collect()
    }

    /// The client's name, where it was looked up.
    #[must_use]
    pub fn name(&self) -> Option<&ClientName> {
        self.client.as_ref()?.name.as_ref()
    }

    /// The client's confirmed name, where it was looked up.
    #[must_use]
    pub fn client_name(&self) -> Option<&str> {
        self.client.as_ref()?.name.as_ref()?.confirmed()
    }
}
