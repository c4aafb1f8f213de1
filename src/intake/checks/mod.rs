//! What a stranger on port 25 has to fulfil: the restrictions that people know from Postfix, lists asked by DNS,
//! greylisting.
//!
//! The order is fixed: whoever comes from a trusted network or has logged in is not asked; then the client's name, the
//! name in HELO, the sender, the recipient, the lists, and last greylisting. All of it is answered at RCPT, so that the
//! log knows who wrote to whom. [`Gate`] finds the facts, each check is a [`Finding`], and `facteur explain smtp` prints
//! the very same findings. Knows nothing of sessions.

mod greylist;
mod lists;
mod names;
mod visit;

use std::fmt;
use std::net::IpAddr;

pub use greylist::Greeting;
pub use greylist::Greylist;
pub use greylist::Origin;
pub use lists::Listings;
use names::Helo;
pub use visit::Visit;

use crate::config::CheckAction;
use crate::config::Config;
use crate::config::SpfPolicy;
use crate::dns::Dns;
use crate::dns::client_name::ClientName;
use crate::dns::mail_domain::MailDomain;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::ReversePath;
use crate::protocol::smtp::reply::Reply;
use crate::sender_auth::Facts;
use crate::sender_auth::SenderAuth;
use crate::sender_auth::spf::SpfResult;

/// A check, named by its key in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Who may relay: a login, or `relay.trusted_networks`.
    Permit,
    /// Whether the recipient is ours.
    Recipient,
    /// `checks.client_fcrdns`.
    ClientFcrdns,
    /// `checks.helo_syntax`.
    HeloSyntax,
    /// `checks.helo_fqdn`.
    HeloFqdn,
    /// `checks.sender_fqdn`.
    SenderFqdn,
    /// `checks.sender_domain`.
    SenderDomain,
    /// `checks.recipient_fqdn`.
    RecipientFqdn,
    /// `checks.recipient_domain`.
    RecipientDomain,
    /// `[[dnsbl]]`, with its two sums in `[checks]`.
    Dnsbl,
    /// `[greylist]`.
    Greylist,
}

impl Rule {
    /// The key.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Permit => "relay",
            Self::Recipient => "recipient",
            Self::ClientFcrdns => "checks.client_fcrdns",
            Self::HeloSyntax => "checks.helo_syntax",
            Self::HeloFqdn => "checks.helo_fqdn",
            Self::SenderFqdn => "checks.sender_fqdn",
            Self::SenderDomain => "checks.sender_domain",
            Self::RecipientFqdn => "checks.recipient_fqdn",
            Self::RecipientDomain => "checks.recipient_domain",
            Self::Dnsbl => "dnsbl",
            Self::Greylist => "greylist",
        }
    }

    /// What a refusal says.
    fn reply(self, action: CheckAction) -> Reply {
        let temporary = action == CheckAction::TempFail;
        match self {
            Self::ClientFcrdns => Reply::unknown_client(temporary),
            Self::HeloSyntax => Reply::invalid_helo(temporary),
            Self::HeloFqdn => Reply::helo_not_qualified(temporary),
            Self::SenderFqdn => Reply::sender_not_qualified(temporary),
            Self::SenderDomain => Reply::unknown_sender_domain(temporary),
            Self::RecipientFqdn => Reply::recipient_not_qualified(temporary),
            Self::RecipientDomain => Reply::unknown_recipient_domain(temporary),
            Self::Dnsbl => Reply::listed_client(),
            Self::Greylist => Reply::greylisted(),
            // These two come with their reply.
            Self::Permit | Self::Recipient => Reply::relay_denied(),
        }
    }

    fn action(self, config: &Config) -> CheckAction {
        match self {
            Self::ClientFcrdns => config.checks.client_fcrdns,
            Self::HeloSyntax => config.checks.helo_syntax,
            Self::HeloFqdn => config.checks.helo_fqdn,
            Self::SenderFqdn => config.checks.sender_fqdn,
            Self::SenderDomain => config.checks.sender_domain,
            Self::RecipientFqdn => config.checks.recipient_fqdn,
            Self::RecipientDomain => config.checks.recipient_domain,
            Self::Dnsbl if config.dnsbl.is_empty() => CheckAction::Off,
            Self::Dnsbl => CheckAction::Reject,
            Self::Greylist if config.greylist.enabled => CheckAction::TempFail,
            Self::Greylist => CheckAction::Off,
            Self::Permit | Self::Recipient => CheckAction::Reject,
        }
    }
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Fulfilled.
    Passed,
    /// Not looked at: switched off, or of no meaning here.
    Skipped,
    /// Not fulfilled, and only noted.
    Marked,
    /// Not fulfilled: to Junk with it.
    Junk,
    /// Not fulfilled: refused.
    Refused(Reply),
}

/// A check, what it came to, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// What it came to.
    pub outcome: Outcome,
    /// What was found, for the log and the operator.
    pub found: String,
}

impl Finding {
    pub(super) fn new(rule: Rule, outcome: Outcome, found: impl Into<String>) -> Self {
        Self { rule, outcome, found: found.into() }
    }

    /// A check that is not fulfilled, under the action that the configuration names.
    fn failed(rule: Rule, action: CheckAction, found: impl Into<String>) -> Self {
        let outcome = match action {
            CheckAction::Reject | CheckAction::TempFail => Outcome::Refused(rule.reply(action)),
            CheckAction::Junk => Outcome::Junk,
            CheckAction::Mark => Outcome::Marked,
            CheckAction::Off => Outcome::Skipped,
        };
        Self::new(rule, outcome, found)
    }

    /// The reply, where it is a refusal.
    #[must_use]
    pub fn refusal(&self) -> Option<&Reply> {
        match &self.outcome {
            Outcome::Refused(reply) => Some(reply),
            Outcome::Passed | Outcome::Skipped | Outcome::Marked | Outcome::Junk => None,
        }
    }
}

impl fmt::Display for Finding {
    /// `checks.helo_fqdn: localhost`, as the log and the header of a message show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.key(), self.found)
    }
}

/// What was found out about a client once, for all its transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// Its name; `None` where nobody looked.
    pub name: Option<ClientName>,
    /// What lists say of it; `None` where there are none.
    pub listings: Option<Listings>,
}

/// Finds the facts.
#[derive(Debug, Clone)]
pub struct Gate {
    dns: Dns,
    sender_auth: SenderAuth,
}

impl Gate {
    /// One that asks this resolver.
    #[must_use]
    pub fn new(dns: Dns, sender_auth: SenderAuth) -> Self {
        Self { dns, sender_auth }
    }

    /// Looks a client up, its name and the lists at once. Ends within the limits of look-ups.
    pub async fn client(&self, config: &Config, ip: IpAddr) -> Client {
        let ip = ip.to_canonical();
        let name = async {
            let wanted = config.checks.client_fcrdns != CheckAction::Off && !self.dns.is_off();
            if wanted { Some(self.dns.client_name(ip).await) } else { None }
        };
        let listings = async {
            let wanted = !config.dnsbl.is_empty() && !self.dns.is_off();
            if wanted { Some(lists::ask(&self.dns, &config.dnsbl, ip).await) } else { None }
        };
        let (name, listings) = tokio::join!(name, listings);
        Client { ip, name, listings }
    }

    /// What is to be said of a client, its HELO and its sender.
    pub async fn stranger(&self, config: &Config, client: &Client, facts: &Facts<'_>) -> Vec<Finding> {
        let (helo, sender) = (facts.helo, facts.mail_from);
        let sender_domain = match sender.address() {
            Some(address) if config.checks.sender_domain != CheckAction::Off && !self.dns.is_off() => {
                Some(self.dns.mail_domain(address.domain()).await)
            }
            _ => None,
        };
        vec![
            fcrdns(config, client),
            helo_syntax(config, helo),
            helo_fqdn(config, helo),
            sender_fqdn(config, sender),
            judge_domain(Rule::SenderDomain, config, sender.address(), sender_domain, Reply::sender_has_null_mx()),
            dnsbl(config, client),
        ]
    }

    /// By what a client is known when he comes again.
    pub async fn origin(&self, config: &Config, facts: &Facts<'_>) -> Origin {
        if self.dns.is_off() || config.sender_auth.spf == SpfPolicy::Off {
            return Origin::Network(facts.ip);
        }
        let spf = self.sender_auth.spf(config, facts).await;
        let domain = Domain::parse(&spf.domain).ok().filter(|_| spf.result == SpfResult::Pass);
        domain.map_or(Origin::Network(facts.ip), Origin::Domain)
    }

    /// What is to be said of the recipient of somebody who may relay, where it is not one of ours.
    pub async fn recipient_elsewhere(&self, config: &Config, address: &Address) -> Vec<Finding> {
        // A server that takes all our mail may know domains that we cannot see.
        let asked = config.checks.recipient_domain != CheckAction::Off
            && !self.dns.is_off()
            && config.outbound.relay.is_none()
            && names::is_whole(address.domain());
        let domain = if asked { Some(self.dns.mail_domain(address.domain()).await) } else { None };
        // Mail of a user waits in our queue while DNS is in doubt.
        let domain = domain.filter(|domain| !matches!(domain, MailDomain::Unknown(_)));
        vec![
            recipient_fqdn(config, address),
            judge_domain(Rule::RecipientDomain, config, Some(address), domain, Reply::recipient_has_null_mx()),
        ]
    }
}

/// What is to be said of a recipient that is not ours, by its look alone.
#[must_use]
pub fn recipient_fqdn(config: &Config, address: &Address) -> Finding {
    let rule = Rule::RecipientFqdn;
    let domain = address.domain();
    if names::is_whole(domain) {
        return Finding::new(rule, Outcome::Passed, domain.to_string());
    }
    Finding::failed(rule, rule.action(config), format!("{domain} has no dot"))
}

/// Greylisting as a finding.
#[must_use]
pub fn greylisted(greeting: Greeting, origin: &Origin) -> Finding {
    match greeting {
        Greeting::Known => Finding::new(Rule::Greylist, Outcome::Passed, format!("{origin} is known")),
        Greeting::Wait(wait) => {
            let found = format!("{origin} is new, {} seconds to wait", wait.as_secs());
            Finding::failed(Rule::Greylist, CheckAction::TempFail, found)
        }
    }
}

/// Whether greylisting asks a client: lists that speak for it spare it the wait.
#[must_use]
pub fn is_greylisting(config: &Config, client: &Client) -> bool {
    config.greylist.enabled && client.listings.as_ref().is_none_or(|listings| listings.sum() >= 0)
}

fn fcrdns(config: &Config, client: &Client) -> Finding {
    let rule = Rule::ClientFcrdns;
    match &client.name {
        None => Finding::new(rule, Outcome::Skipped, "not looked up"),
        Some(ClientName::Confirmed(name)) => Finding::new(rule, Outcome::Passed, name.clone()),
        // Nobody is refused because a name server of his, or ours, is slow.
        Some(ClientName::Unknown) => Finding::new(rule, Outcome::Passed, "could not be found out now"),
        Some(ClientName::None) => Finding::failed(rule, rule.action(config), format!("{} has no name", client.ip)),
        Some(ClientName::Unconfirmed(name)) => {
            let found = format!("{} calls itself {name}, which has another address", client.ip);
            Finding::failed(rule, rule.action(config), found)
        }
    }
}

fn helo_syntax(config: &Config, helo: &str) -> Finding {
    let rule = Rule::HeloSyntax;
    match names::helo(helo) {
        Helo::Invalid => Finding::failed(rule, rule.action(config), format!("{helo:?} is no host name")),
        Helo::Whole | Helo::Literal | Helo::Short => Finding::new(rule, Outcome::Passed, helo),
    }
}

fn helo_fqdn(config: &Config, helo: &str) -> Finding {
    let rule = Rule::HeloFqdn;
    match names::helo(helo) {
        Helo::Short => Finding::failed(rule, rule.action(config), format!("{helo} has no dot")),
        Helo::Invalid => Finding::new(rule, Outcome::Skipped, "no host name"),
        Helo::Whole | Helo::Literal => Finding::new(rule, Outcome::Passed, helo),
    }
}

fn sender_fqdn(config: &Config, sender: &ReversePath) -> Finding {
    let rule = Rule::SenderFqdn;
    match sender.address().map(Address::domain) {
        None => Finding::new(rule, Outcome::Passed, "<>"),
        Some(domain) if names::is_whole(domain) => Finding::new(rule, Outcome::Passed, domain.to_string()),
        Some(domain) => Finding::failed(rule, rule.action(config), format!("{domain} has no dot")),
    }
}

fn judge_domain(
    rule: Rule,
    config: &Config,
    address: Option<&Address>,
    domain: Option<MailDomain>,
    null_mx: Reply,
) -> Finding {
    let (Some(address), Some(domain)) = (address, domain) else {
        let found = if address.is_none() { "<>" } else { "not looked up" };
        return Finding::new(rule, Outcome::Skipped, found);
    };
    let (name, action) = (address.domain(), rule.action(config));
    match domain {
        MailDomain::Takes => Finding::new(rule, Outcome::Passed, name.to_string()),
        // The domain says it of itself, so there is nothing to wait for.
        MailDomain::NullMx => {
            let failed = Finding::failed(rule, action, format!("{name} has a null MX"));
            let refused = matches!(failed.outcome, Outcome::Refused(_));
            if refused { Finding { outcome: Outcome::Refused(null_mx), ..failed } } else { failed }
        }
        MailDomain::NoSuchName => Finding::failed(rule, action, format!("{name} does not exist")),
        MailDomain::Nothing => Finding::failed(rule, action, format!("{name} has neither MX nor address")),
        // Doubt is for now, however strict the check.
        MailDomain::Unknown(why) => {
            let action = match action {
                CheckAction::Reject => CheckAction::TempFail,
                CheckAction::Junk => CheckAction::Mark,
                action => action,
            };
            Finding::failed(rule, action, format!("{name} cannot be looked up now: {why}"))
        }
    }
}

fn dnsbl(config: &Config, client: &Client) -> Finding {
    let rule = Rule::Dnsbl;
    let Some(listings) = &client.listings else { return Finding::new(rule, Outcome::Skipped, "no list is asked") };
    let reached = |sum: u32| sum > 0 && listings.sum() >= i64::from(sum);
    let action = if reached(config.checks.dnsbl_reject) {
        CheckAction::Reject
    } else if reached(config.checks.dnsbl_junk) {
        CheckAction::Junk
    } else {
        return Finding::new(rule, Outcome::Passed, listings.to_string());
    };
    Finding::failed(rule, action, listings.to_string())
}

#[cfg(test)]
mod tests;
