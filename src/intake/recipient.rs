//! The decision at RCPT: may this recipient have a message from this client and this sender?
//!
//! One function for the session and for `facteur explain smtp`, so that what is explained is what happens. What costs
//! nothing is asked first: who the client is to us, whether the recipient is ours; then the checks. Knows neither the
//! room in mailboxes nor how often somebody may guess.

use std::time::SystemTime;

use crate::config::Config;
use crate::directory::Destination;
use crate::directory::Directory;
use crate::directory::Resolution;
use crate::intake::checks;
use crate::intake::checks::Finding;
use crate::intake::checks::Gate;
use crate::intake::checks::Greylist;
use crate::intake::checks::Outcome;
use crate::intake::checks::Rule;
use crate::intake::checks::Visit;
use crate::intake::permit;
use crate::intake::permit::Admitted;
use crate::intake::permit::RelayPermit;
use crate::mail::address::Address;
use crate::protocol::smtp::reply::Reply;
use crate::sender_auth::Facts;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// Who he is and for whom he sends.
    pub facts: Facts<'a>,
    /// Whether he hands over by LMTP: somebody of ours has judged the mail before.
    pub handed_over: bool,
    /// His right to relay, where he has one.
    pub permit: Option<&'a RelayPermit>,
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thoroughness {
    /// Up to the first refusal; greylisting notes that he was here.
    Decide,
    /// Everything, for a reader; nothing is noted.
    Explain,
}

/// What a decision is made with.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    /// The rules.
    pub config: &'a Config,
    /// Who is here.
    pub directory: &'a Directory,
    /// Who finds the facts.
    pub gate: &'a Gate,
    /// Who is new.
    pub greylist: &'a Greylist,
    /// The time.
    pub now: SystemTime,
    /// How far to look.
    pub thoroughness: Thoroughness,
}

/// A decision with all that led to it.
#[derive(Debug)]
pub struct Decision {
    /// In the order they were asked.
    pub findings: Vec<Finding>,
    /// The recipient, or what is said instead.
    pub answer: Result<Admitted, Reply>,
    /// Nobody here has that address: whoever asks for many is guessing.
    pub unknown: bool,
}

impl Desk<'_> {
    /// Decides. `visit` keeps what was found for the next recipient.
    pub async fn decide(&self, visit: &mut Visit, asker: &Asker<'_>, to: Address) -> Decision {
        let mut findings = vec![standing(asker)];
        let resolution = self.directory.resolve(&to);
        let unknown = matches!(resolution, Resolution::Unknown);
        let mut answer = permit::admit(to.clone(), resolution, asker.permit);
        if unknown && self.config.submission.accept_unlisted {
            answer = permit::admit_unlisted(to.clone(), asker.permit).map_or(answer, Ok);
        }
        findings.push(found(&to, &answer));
        if answer.is_ok() || self.thoroughness == Thoroughness::Explain {
            let checked = self.check(visit, asker, &to).await;
            let refusal = checked.iter().find_map(Finding::refusal).cloned();
            findings.extend(checked);
            if let (Ok(_), Some(refusal)) = (&answer, refusal) {
                answer = Err(refusal);
            }
        }
        Decision { findings, answer, unknown }
    }

    async fn check(&self, visit: &mut Visit, asker: &Asker<'_>, to: &Address) -> Vec<Finding> {
        match asker.permit {
            // Whoever may relay is not asked who he is. Our users learn of a slip at once.
            Some(permit) if permit.is_of_user() && !self.directory.is_local(to.domain()) => {
                self.gate.recipient_elsewhere(self.config, to).await
            }
            Some(_) => Vec::new(),
            None if asker.handed_over => Vec::new(),
            None => self.check_stranger(visit, asker, to).await,
        }
    }

    async fn check_stranger(&self, visit: &mut Visit, asker: &Asker<'_>, to: &Address) -> Vec<Finding> {
        let (client, findings) = visit.findings(self.gate, self.config, &asker.facts).await;
        let mut findings = findings.to_vec();
        if !self.config.greylist.enabled {
            return findings;
        }
        let explain = self.thoroughness == Thoroughness::Explain;
        if !explain && findings.iter().any(|finding| finding.refusal().is_some()) {
            return findings;
        }
        let greylisting = checks::is_greylisting(self.config, client);
        if !greylisting {
            findings.push(Finding::new(Rule::Greylist, Outcome::Passed, "a list speaks for the client"));
            return findings;
        }
        let origin = visit.origin(self.gate, self.config, &asker.facts).await;
        let greylist = &self.config.greylist;
        let greeting = if explain {
            self.greylist.look(&origin, asker.facts.mail_from, to, greylist, self.now)
        } else {
            self.greylist.meet(&origin, asker.facts.mail_from, to, greylist, self.now)
        };
        findings.push(checks::greylisted(greeting, &origin));
        findings
    }
}

/// What the client is to us.
fn standing(asker: &Asker<'_>) -> Finding {
    match asker.permit {
        Some(permit) => {
            Finding::new(Rule::Permit, Outcome::Passed, format!("{permit}: may relay, and is not asked further"))
        }
        None if asker.handed_over => Finding::new(Rule::Permit, Outcome::Passed, "handed over by LMTP"),
        None => Finding::new(Rule::Permit, Outcome::Skipped, format!("{} is a stranger", asker.facts.ip)),
    }
}

/// What the recipient is to us.
fn found(to: &Address, answer: &Result<Admitted, Reply>) -> Finding {
    let admitted = match answer {
        Ok(admitted) => admitted,
        Err(reply) => return Finding::new(Rule::Recipient, Outcome::Refused(reply.clone()), to.to_string()),
    };
    let places = admitted.destinations().iter().map(|destination| match destination {
        Destination::Account(account) => format!("the inbox of {}", account.address()),
        Destination::Remote(address) => format!("elsewhere, {address}"),
        Destination::Forward(address) => format!("by an alias elsewhere, {address}"),
    });
    let places: Vec<String> = places.collect();
    Finding::new(Rule::Recipient, Outcome::Passed, format!("{to} leads to {}", places.join(", ")))
}
