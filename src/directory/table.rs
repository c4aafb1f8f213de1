//! What stands for what: accounts and aliases by name, and the order in which an address is looked up.
//!
//! | what is asked | where |
//! | --- | --- |
//! | the address as it is | `[aliases]`, then the aliases file, then the accounts |
//! | without its tag | the same |
//! | patterns | `[[alias_pattern]]`, in the order of the file |
//! | the catch-all of its domain | `"@example.com"` of `[aliases]` |
//! | postmaster | the first account (RFC 5321 §4.5.1) |
//!
//! Each of them is asked for the domain itself, then for the one it is an alias of; the host name's addresses are those
//! of the first domain. All but the patterns are look-ups in hash tables. The aliases file comes before the accounts, as
//! with Postfix: `alice: \alice, bob` gives bob a copy. An alias that is switched off is nobody, and no catch-all gets
//! its mail.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use super::Account;
use super::aliases_file::Written;
use super::files::AliasFiles;
use crate::config::AliasName;
use crate::config::AliasPattern;
use crate::config::AliasTarget;
use crate::config::Config;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::local_key;
use crate::mail::limits::ALIAS_INCLUDES;
use crate::mail::limits::ALIAS_RESULTS;

/// Where an alias leads next.
#[derive(Debug, Clone)]
pub(super) enum Goal {
    /// To whatever this address is.
    Address(Address),
    /// To the mailbox of this address, past all aliases.
    Mailbox(Address),
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => f.write_str(&address.to_unicode()),
            Self::Mailbox(address) => write!(f, "\\{}", address.to_unicode()),
        }
    }
}

/// An address, or all of a domain, that stands for others.
#[derive(Debug)]
pub(super) struct Alias {
    /// As it was written.
    pub(super) name: String,
    /// Where: `alias`, `file`, `catch-all`.
    pub(super) source: &'static str,
    pub(super) goals: Vec<Goal>,
    pub(super) enabled: bool,
    pub(super) comment: String,
    /// A list that cannot be read, or is too long: nobody knows for whom it stands.
    pub(super) missing: Option<String>,
    except: HashSet<String>,
}

#[derive(Debug)]
pub(super) enum Entry {
    Account(Arc<Account>),
    Alias(Alias),
}

/// What an address was found to be.
#[derive(Debug)]
pub(super) enum Found<'a> {
    Account(&'a Arc<Account>),
    Alias(&'a Alias),
    /// By a pattern: what it leads to.
    Pattern(&'a AliasPattern, Vec<Address>),
    Nobody,
}

/// All names of one configuration.
#[derive(Debug)]
pub(super) struct Table {
    hostname: Domain,
    first_domain: Option<Domain>,
    /// Every domain, with the one it is an alias of.
    domains: HashMap<Domain, Option<Domain>>,
    entries: HashMap<String, Entry>,
    /// Of the aliases file, in the first domain.
    file: HashMap<String, Alias>,
    catch_alls: HashMap<Domain, Alias>,
    patterns: Vec<AliasPattern>,
    first_account: Option<Arc<Account>>,
    delimiter: Option<char>,
    lacks_names: bool,
}

impl Table {
    /// The table of a configuration and its alias files, without its accounts; what is wrong goes to `complaints`.
    pub(super) fn new(config: &Config, files: &AliasFiles, complaints: &mut Vec<String>) -> Self {
        let first_domain = config.domains.first().map(|d| d.name.value.clone());
        let mut table = Self {
            hostname: config.hostname.clone(),
            domains: config
                .domains
                .iter()
                .map(|d| (d.name.value.clone(), d.alias_of.as_ref().map(|of| of.value.clone())))
                .collect(),
            entries: HashMap::new(),
            file: HashMap::new(),
            catch_alls: HashMap::new(),
            patterns: config.alias_patterns.clone(),
            first_account: None,
            delimiter: config.smtp.delimiter.chars().next(),
            lacks_names: files.lacks_names(),
            first_domain,
        };
        for entry in &config.aliases {
            let (domain, source) = match &entry.name.value {
                AliasName::Address(address) => (address.domain(), "alias"),
                AliasName::CatchAll(domain) => (domain, "catch-all"),
            };
            let written: Vec<Written> = entry.targets.iter().map(|t| Written::To(t.value.clone())).collect();
            let mut alias = flatten(&written, domain, files);
            alias.name = entry.name.value.to_string();
            (alias.source, alias.enabled, alias.comment) = (source, entry.enabled, entry.comment.clone());
            alias.except = entry.except.iter().map(|address| address.value.key()).collect();
            match &entry.name.value {
                AliasName::Address(address) => drop(table.entries.insert(address.key(), Entry::Alias(alias))),
                AliasName::CatchAll(domain) => drop(table.catch_alls.insert(domain.clone(), alias)),
            }
        }
        let domain = table.first_domain.clone().unwrap_or_else(|| config.hostname.clone());
        for entry in files.entries() {
            let mut alias = flatten(&entry.targets, &domain, files);
            alias.name.clone_from(&entry.name);
            table.file.insert(format!("{}@{domain}", entry.name), alias);
        }
        // Of the others this is told when they are followed.
        let missing =
            table.catch_alls.values().filter_map(|a| a.missing.as_ref().map(|why| format!("{}: {why}", a.name)));
        complaints.extend(missing);
        table
    }

    /// Adds an account under one of its addresses.
    pub(super) fn add(&mut self, address: &Address, account: &Arc<Account>) {
        self.first_account.get_or_insert_with(|| Arc::clone(account));
        self.entries.insert(address.key(), Entry::Account(Arc::clone(account)));
    }

    /// Once all accounts are there: `alice: alice, bob` means the mailbox of alice, and what leads nowhere is told.
    pub(super) fn settle(&mut self, complaints: &mut Vec<String>) {
        for (key, alias) in &mut self.file {
            for goal in &mut alias.goals {
                if let Goal::Address(address) = goal
                    && address.key() == *key
                {
                    *goal = Goal::Mailbox(address.clone());
                }
            }
        }
        for alias in self.aliases().filter(|alias| alias.enabled) {
            for goal in &alias.goals {
                let lost = match goal {
                    Goal::Address(address) => {
                        self.is_local(address.domain()) && matches!(self.find(address), Found::Nobody)
                    }
                    Goal::Mailbox(address) => self.mailbox(address).is_none(),
                };
                if let (true, Goal::Address(to) | Goal::Mailbox(to)) = (lost, goal) {
                    complaints.push(format!("{}: {to} is neither an account nor an alias", alias.name));
                }
            }
        }
        complaints.sort();
    }

    /// Whether mail for this domain ends here.
    pub(super) fn is_local(&self, domain: &Domain) -> bool {
        *domain == self.hostname || self.domains.contains_key(domain)
    }

    /// The domain in which we name addresses of our own making.
    pub(super) fn own_domain(&self) -> &Domain {
        self.first_domain.as_ref().unwrap_or(&self.hostname)
    }

    /// All accounts, those with aliases several times.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::Account(account) => Some(account),
            Entry::Alias(_) => None,
        })
    }

    /// All aliases but patterns, in no order.
    pub(super) fn aliases(&self) -> impl Iterator<Item = &Alias> {
        let named = self.entries.values().filter_map(|entry| match entry {
            Entry::Account(_) => None,
            Entry::Alias(alias) => Some(alias),
        });
        named.chain(self.file.values()).chain(self.catch_alls.values())
    }

    /// The addresses that are aliases by themselves, in the order of their names.
    pub(super) fn named_aliases(&self) -> Vec<Address> {
        let named = self.entries.iter().filter(|(_, entry)| matches!(entry, Entry::Alias(_))).map(|(key, _)| key);
        let mut keys: Vec<&String> = named.chain(self.file.keys()).collect();
        keys.sort();
        keys.into_iter().filter_map(|key| Address::parse(key).ok()).collect()
    }

    /// All patterns.
    pub(super) fn patterns(&self) -> &[AliasPattern] {
        &self.patterns
    }

    /// All domains that are aliases, each with what it stands for, by name.
    pub(super) fn domain_aliases(&self) -> Vec<(&Domain, &Domain)> {
        let mut all: Vec<_> = self.domains.iter().filter_map(|(domain, of)| Some((domain, of.as_ref()?))).collect();
        all.sort();
        all
    }

    /// Whether there may be somebody of this name, in a file that could not be read.
    pub(super) fn may_lack(&self, address: &Address) -> bool {
        self.lacks_names && self.domains_of(address.domain()).any(|domain| domain == self.own_domain())
    }

    /// The account that has exactly this address.
    pub(super) fn mailbox(&self, address: &Address) -> Option<&Arc<Account>> {
        let local = local_key(address.local());
        self.domains_of(address.domain()).find_map(|domain| match self.entries.get(&format!("{local}@{domain}"))? {
            Entry::Account(account) => Some(account),
            Entry::Alias(_) => None,
        })
    }

    /// Looks up a local address.
    pub(super) fn find(&self, address: &Address) -> Found<'_> {
        let tag = self.delimiter.and_then(|delimiter| address.local().split_once(delimiter)).map(|(user, _)| user);
        let exact = self.named(address.local(), address.domain());
        if let Some(found) = exact.or_else(|| self.named(tag?, address.domain())) {
            return found;
        }
        if let Some(found) = self.by_pattern(address) {
            return found;
        }
        let keys =
            |domain: &Domain| [Some(address.local()), tag].map(|l| l.map(|l| format!("{}@{domain}", local_key(l))));
        let catch_all = self.domains_of(address.domain()).find_map(|domain| {
            let alias = self.catch_alls.get(domain).filter(|alias| alias.enabled)?;
            Some(alias).filter(|_| !keys(domain).iter().flatten().any(|key| alias.except.contains(key)))
        });
        match (catch_all, &self.first_account) {
            (Some(alias), _) => Found::Alias(alias),
            // RFC 5321 §4.5.1: postmaster is always somebody.
            (None, Some(first)) if address.local().eq_ignore_ascii_case("postmaster") => Found::Account(first),
            (None, _) => Found::Nobody,
        }
    }

    /// The domains whose names an address may have.
    fn domains_of<'a>(&'a self, domain: &'a Domain) -> impl Iterator<Item = &'a Domain> {
        let of = self.domains.get(domain).and_then(Option::as_ref);
        let first = self.first_domain.as_ref().filter(|_| *domain == self.hostname);
        std::iter::once(domain).chain(of).chain(first)
    }

    /// The domain that has the accounts of this one.
    pub(super) fn real_domain<'a>(&'a self, domain: &'a Domain) -> &'a Domain {
        self.domains_of(domain).last().unwrap_or(domain)
    }

    fn named(&self, local: &str, domain: &Domain) -> Option<Found<'_>> {
        let local = local_key(local);
        self.domains_of(domain).find_map(|domain| {
            let key = format!("{local}@{domain}");
            match self.entries.get(&key) {
                Some(Entry::Alias(alias)) => Some(Found::Alias(alias)),
                entry => match (self.file.get(&key), entry) {
                    (Some(alias), _) => Some(Found::Alias(alias)),
                    (None, Some(Entry::Account(account))) => Some(Found::Account(account)),
                    (None, _) => None,
                },
            }
        })
    }

    fn by_pattern(&self, address: &Address) -> Option<Found<'_>> {
        if self.patterns.is_empty() {
            return None;
        }
        let spellings: Vec<String> = self
            .domains_of(address.domain())
            .filter_map(|domain| Address::from_parts(address.local(), domain.clone()).ok())
            .map(|address| address.to_string())
            .collect();
        self.patterns.iter().filter(|pattern| pattern.enabled).find_map(|pattern| {
            let addresses = spellings.iter().find_map(|spelling| self.expanded(pattern, spelling, address.domain()))?;
            Some(Found::Pattern(pattern, addresses))
        })
    }

    /// What a pattern makes of an address; `None` where it does not fit, or makes what is no address. What a stranger
    /// writes in an address never names a domain elsewhere: only the operator does.
    fn expanded(&self, pattern: &AliasPattern, address: &str, domain: &Domain) -> Option<Vec<Address>> {
        let made = pattern.pattern.value.expand(address, pattern.to.iter().map(|t| t.value.as_str()))?;
        let mut addresses = Vec::with_capacity(made.len());
        for (text, template) in made.iter().zip(&pattern.to) {
            let fixed = template.value.rsplit_once('@').is_some_and(|(_, domain)| !domain.contains('$'));
            let target = match AliasTarget::parse(text) {
                Ok(target @ (AliasTarget::Address(_) | AliasTarget::Name(_))) => target.address_in(domain),
                Ok(AliasTarget::Include(_)) | Err(_) => None,
            };
            match target.filter(|to| fixed || self.is_local(to.domain())) {
                Some(to) => addresses.push(to),
                None => {
                    let pattern = pattern.pattern.value.as_str();
                    tracing::info!(pattern, ?address, made = ?text, "alias pattern: not an address that it may lead to");
                    return None;
                }
            }
        }
        Some(addresses)
    }
}

/// An alias with all files in place of their names. More than one address may lead to is not copied: a list may be long,
/// and the aliases that name it many.
fn flatten(written: &[Written], domain: &Domain, files: &AliasFiles) -> Alias {
    let mut alias = Alias {
        name: String::new(),
        source: "file",
        goals: Vec::new(),
        enabled: true,
        comment: String::new(),
        missing: None,
        except: HashSet::new(),
    };
    let mut seen = HashSet::new();
    let mut once = HashSet::new();
    let mut open: Vec<(usize, &Written)> = written.iter().rev().map(|w| (0, w)).collect();
    while let Some((depth, next)) = open.pop() {
        let goal = match next {
            Written::Mailbox(local) => Address::from_parts(local, domain.clone()).ok().map(Goal::Mailbox),
            Written::To(AliasTarget::Include(path)) => {
                if !seen.insert(path) {
                    continue;
                }
                match files.list(path) {
                    Some(list) if depth < ALIAS_INCLUDES => open.extend(list.iter().rev().map(|w| (depth + 1, w))),
                    Some(_) => alias.missing = Some(format!("{} is named too deep within files", path.display())),
                    None => alias.missing = Some(format!("{} has not been read", path.display())),
                }
                None
            }
            Written::To(target) => target.address_in(domain).map(Goal::Address),
        };
        let Some(goal) = goal.filter(|goal| once.insert(goal.to_string())) else { continue };
        if alias.goals.len() >= ALIAS_RESULTS {
            alias.missing = Some(format!("more than {ALIAS_RESULTS} addresses"));
            break;
        }
        alias.goals.push(goal);
    }
    alias
}
