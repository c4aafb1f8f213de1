//! Who has a mailbox here: accounts, aliases, and the check of passwords.
//!
//! A [`Directory`] is made from one configuration and never changes; at reload a new one takes its place. Only
//! [`Authenticator::login`] makes an [`Authenticated`]. Knows nothing of mail stores beyond the path of a Maildir.

mod guard;
mod login;
mod password;

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

pub use login::Authenticated;
pub use login::Authenticator;
pub use login::LoginError;
pub use password::hash_password;

use crate::config::Config;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::local_key;
use crate::mail::capability::ImapCapability;
use crate::mail::limits::ALIAS_DEPTH;
use crate::mail::limits::ALIAS_RESULTS;
use crate::mail::quota::QuotaLimits;
use crate::mail::secret::Secret;

/// Somebody with a mailbox.
#[derive(Debug)]
pub struct Account {
    address: Address,
    maildir: PathBuf,
    password: Option<Secret<String>>,
    send_as: HashSet<String>,
    quota: QuotaLimits,
    imap_disable: Vec<ImapCapability>,
}

impl Account {
    /// Extensions of IMAP that are not announced to it.
    #[must_use]
    pub fn imap_disable(&self) -> &[ImapCapability] {
        &self.imap_disable
    }

    /// The main address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where the mail lies.
    #[must_use]
    pub fn maildir(&self) -> &Path {
        &self.maildir
    }

    /// How much it may hold.
    #[must_use]
    pub fn quota(&self) -> &QuotaLimits {
        &self.quota
    }
}

/// Where mail for an address goes in the end.
#[derive(Debug, Clone)]
pub enum Destination {
    /// An inbox here.
    Account(Arc<Account>),
    /// Another server's business.
    Remote(Address),
}

/// What an address is to us.
#[derive(Debug)]
pub enum Resolution {
    /// Ours, aliases expanded; never empty, and no destination twice.
    Local(Vec<Destination>),
    /// In a domain of ours, and nobody there.
    Unknown,
    /// In a domain that is not ours.
    Elsewhere,
}

/// All accounts and aliases of one configuration.
#[derive(Debug)]
pub struct Directory {
    hostname: Domain,
    domains: HashSet<Domain>,
    first_domain: Option<Domain>,
    names: HashMap<String, Entry>,
    /// Accounts by local part, for logins without a domain; `None` where two domains have the name.
    bare_names: HashMap<String, Option<Arc<Account>>>,
    first_account: Option<Arc<Account>>,
    delimiter: Option<char>,
    failed_logins: u32,
    number: u64,
}

#[derive(Debug)]
enum Entry {
    Account(Arc<Account>),
    Alias(Vec<Address>),
}

impl Directory {
    /// The directory of a configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut names = HashMap::new();
        let mut bare_names: HashMap<String, Option<Arc<Account>>> = HashMap::new();
        let mut first_account = None;
        for entry in &config.accounts {
            let address = entry.address.value.clone();
            let account = Arc::new(Account {
                maildir: config.storage.maildir_of(&address),
                password: entry.password.as_ref().map(|p| p.value.clone()),
                send_as: entry.send_as.iter().map(|a| a.value.key()).collect(),
                quota: config.quota.limits_of(entry),
                imap_disable: entry.imap_disable.iter().map(|name| name.value).collect(),
                address,
            });
            first_account.get_or_insert_with(|| Arc::clone(&account));
            bare_names
                .entry(local_key(account.address.local()))
                .and_modify(|name| *name = None)
                .or_insert_with(|| Some(Arc::clone(&account)));
            for alias in &entry.aliases {
                names.insert(alias.value.key(), Entry::Account(Arc::clone(&account)));
            }
            names.insert(account.address.key(), Entry::Account(account));
        }
        for alias in &config.aliases {
            let targets = alias.targets.iter().map(|t| t.value.clone()).collect();
            names.insert(alias.address.value.key(), Entry::Alias(targets));
        }
        Self {
            hostname: config.hostname.clone(),
            domains: config.domains.iter().map(|d| d.name.value.clone()).collect(),
            first_domain: config.domains.first().map(|d| d.name.value.clone()),
            names,
            bare_names,
            first_account,
            delimiter: config.smtp.delimiter.chars().next(),
            failed_logins: config.limits.failed_logins,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Whether mail for this domain ends here.
    #[must_use]
    pub fn is_local(&self, domain: &Domain) -> bool {
        *domain == self.hostname || self.domains.contains(domain)
    }

    /// What an address is to us, aliases expanded and tags taken off.
    #[must_use]
    pub fn resolve(&self, address: &Address) -> Resolution {
        if !self.is_local(address.domain()) {
            return Resolution::Elsewhere;
        }
        let mut found = Expansion::default();
        self.expand(address, 0, &mut found);
        if found.destinations.is_empty() { Resolution::Unknown } else { Resolution::Local(found.destinations) }
    }

    /// Which one this is: no two of a daemon have the same number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where the mail of all accounts lies.
    #[must_use]
    pub fn maildirs(&self) -> BTreeSet<PathBuf> {
        self.accounts().map(|account| account.maildir.clone()).collect()
    }

    /// The limits of all accounts that have any, by Maildir.
    #[must_use]
    pub fn quotas(&self) -> HashMap<PathBuf, QuotaLimits> {
        let limited = self.accounts().filter(|account| account.quota.is_limited());
        limited.map(|account| (account.maildir.clone(), account.quota.clone())).collect()
    }

    /// The account whose mail lies there. Looks through all of them.
    #[must_use]
    pub fn account_in(&self, maildir: &Path) -> Option<&Arc<Account>> {
        self.accounts().find(|account| account.maildir == maildir)
    }

    /// All accounts, those with aliases several times.
    fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.names.values().filter_map(|entry| match entry {
            Entry::Account(account) => Some(account),
            Entry::Alias(_) => None,
        })
    }

    /// Whether a user may send under this address: it is delivered to him, or he may send as it.
    #[must_use]
    pub fn may_send_as(&self, user: &Authenticated, sender: &Address) -> bool {
        if user.account().send_as.contains(&sender.key()) {
            return true;
        }
        let Resolution::Local(destinations) = self.resolve(sender) else { return false };
        destinations.iter().any(|d| match d {
            Destination::Account(account) => account.address == user.account().address,
            Destination::Remote(_) => false,
        })
    }

    /// The account that logs in under this name: its address, or its local part where only one domain has it.
    fn account_of_login(&self, name: &str) -> Option<Arc<Account>> {
        if let Ok(address) = Address::parse(name) {
            return match self.names.get(&address.key())? {
                Entry::Account(account) => Some(Arc::clone(account)),
                Entry::Alias(_) => None,
            };
        }
        self.bare_names.get(&local_key(name)).cloned().flatten()
    }

    fn expand(&self, address: &Address, depth: usize, found: &mut Expansion) {
        if depth > ALIAS_DEPTH || found.destinations.len() >= ALIAS_RESULTS || !found.seen.insert(address.key()) {
            return;
        }
        if !self.is_local(address.domain()) {
            found.destinations.push(Destination::Remote(address.clone()));
            return;
        }
        match self.entry(address) {
            Some(Entry::Account(account)) => {
                let new = found.seen.insert(format!("account {}", account.address.key()));
                found.destinations.extend(new.then(|| Destination::Account(Arc::clone(account))));
            }
            Some(Entry::Alias(targets)) => {
                for target in targets {
                    self.expand(target, depth + 1, found);
                }
            }
            // RFC 5321 §4.5.1: postmaster is always somebody.
            None if address.local().eq_ignore_ascii_case("postmaster") => {
                found.destinations.extend(self.first_account.clone().map(Destination::Account));
            }
            None => {}
        }
    }

    /// The entry of a local address, with or without its tag. The host name's own addresses are those of the first
    /// domain.
    fn entry(&self, address: &Address) -> Option<&Entry> {
        let of = |local: &str| {
            let key = |domain: &Domain| format!("{}@{domain}", local_key(local));
            let exact = self.names.get(&key(address.domain()));
            let fallback = self.first_domain.as_ref().filter(|_| *address.domain() == self.hostname);
            exact.or_else(|| self.names.get(&key(fallback?)))
        };
        of(address.local()).or_else(|| {
            let (user, _) = address.local().split_once(self.delimiter?)?;
            of(user)
        })
    }
}

#[derive(Default)]
struct Expansion {
    seen: HashSet<String>,
    destinations: Vec<Destination>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const TEXT: &str = r#"
hostname = "mail.example.com"
[[domain]]
name = "example.com"
[[domain]]
name = "example.net"
[[account]]
address = "alice@example.com"
aliases = ["sales@example.com"]
send_as = ["ceo@elsewhere.example"]
[[account]]
address = "bob@example.com"
[[account]]
address = "bob@example.net"
[aliases]
"team@example.com" = ["alice@example.com", "Bob@example.com", "more@example.com"]
"more@example.com" = ["alice@example.com", "carol@elsewhere.example"]
"#;

    pub(crate) fn directory() -> Directory {
        Directory::new(&crate::config::parse(Path::new("t.toml"), TEXT).expect("valid"))
    }

    fn resolved(address: &str) -> String {
        match directory().resolve(&Address::parse(address).expect("an address")) {
            Resolution::Local(to) => to
                .iter()
                .map(|d| match d {
                    Destination::Account(account) => account.address().to_string(),
                    Destination::Remote(address) => format!("remote {address}"),
                })
                .collect::<Vec<_>>()
                .join(", "),
            Resolution::Unknown => "unknown".to_owned(),
            Resolution::Elsewhere => "elsewhere".to_owned(),
        }
    }

    #[test]
    fn addresses_resolve() {
        for (address, to) in [
            ("alice@example.com", "alice@example.com"),
            ("ALICE@Example.COM", "alice@example.com"),
            ("alice+lists@example.com", "alice@example.com"),
            ("sales@example.com", "alice@example.com"),
            ("bob@example.net", "bob@example.net"),
            ("team@example.com", "alice@example.com, bob@example.com, remote carol@elsewhere.example"),
            ("team+x@example.com", "alice@example.com, bob@example.com, remote carol@elsewhere.example"),
            ("alice@mail.example.com", "alice@example.com"),
            ("postmaster@example.net", "alice@example.com"),
            ("Postmaster@mail.example.com", "alice@example.com"),
            ("nobody@example.com", "unknown"),
            ("nobody+x@example.com", "unknown"),
            ("+x@example.com", "unknown"),
            ("alice%elsewhere.example@example.com", "unknown"),
            ("alice@elsewhere.example", "elsewhere"),
            ("alice@[127.0.0.1]", "elsewhere"),
        ] {
            assert_eq!(resolved(address), to, "{address}");
        }
    }

    #[test]
    fn login_names() {
        let directory = directory();
        let login = |name: &str| directory.account_of_login(name).map(|a| a.address().to_string());
        assert_eq!(login("alice").as_deref(), Some("alice@example.com"));
        assert_eq!(login("Alice@Example.com").as_deref(), Some("alice@example.com"));
        assert_eq!(login("bob"), None, "two domains have a bob");
        assert_eq!(login("bob@example.net").as_deref(), Some("bob@example.net"));
        assert_eq!(login("team@example.com"), None);
        assert_eq!(login("alice+x@example.com"), None);
    }
}
