//! Who has a mailbox here: accounts, aliases, and the check of passwords.
//!
//! A [`Directory`] is made from one configuration and never changes; at reload a new one takes its place. Only
//! [`Authenticator::login`] makes an [`Authenticated`]. Knows nothing of mail stores beyond the path of a Maildir.
//! The order in which an address is looked up stands in `table.rs`.

mod aliases_file;
mod bans;
mod expand;
mod files;
#[cfg(fuzzing)]
#[path = "../../tests/fuzz/inside/alias_file.rs"]
pub mod fuzz;
mod guard;
mod login;
mod password;
mod srs;
mod table;

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

pub use bans::Ban;
pub use expand::Step;
pub use files::AliasFiles;
pub use files::Complaint;
pub use guard::Guard;
pub use login::Authenticated;
pub use login::Authenticator;
pub use login::LoginError;
pub use password::hash_password;
pub use srs::Srs;

use self::expand::Expansion;
use self::guard::Rules;
use self::srs::Return;
use self::table::Table;
use crate::config::Config;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::ReversePath;
use crate::mail::address::local_key;
use crate::mail::capability::ImapCapability;
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
    /// Another server's business; whoever sends it there has the right to.
    Remote(Address),
    /// Another server's business, because an address of ours leads there: the operator's will, not the sender's. Its
    /// sender is [`Directory::forward_sender`].
    Forward(Address),
}

impl Destination {
    /// Whether it is an inbox here.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self, Self::Account(_))
    }
}

/// What an address is to us.
#[derive(Debug)]
pub enum Resolution {
    /// Ours, aliases expanded; never empty, and no destination twice.
    Local(Vec<Destination>),
    /// In a domain of ours, and nobody there.
    Unknown,
    /// A sender that we rewrote, too long ago.
    Expired,
    /// Ours, and nobody can say for now where all of its mail goes: a list that cannot be read, too many aliases.
    Trouble,
    /// In a domain that is not ours.
    Elsewhere,
}

/// An alias, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ListedAlias {
    /// The address, the name in the aliases file, `@domain` or the pattern.
    pub name: String,
    /// `alias`, `file`, `catch-all`, `pattern` or `domain`.
    pub kind: &'static str,
    /// Whether it is in force.
    pub enabled: bool,
    /// What the operator wrote beside it.
    pub comment: String,
    /// What it leads to, lists in files in place of their names.
    pub to: Vec<String>,
}

/// All accounts and aliases of one configuration.
#[derive(Debug)]
pub struct Directory {
    table: Table,
    /// Accounts by local part, for logins without a domain; `None` where two domains have the name.
    bare_names: HashMap<String, Option<Arc<Account>>>,
    srs: Option<Arc<Srs>>,
    complaints: Vec<String>,
    rules: Rules,
    number: u64,
}

impl Directory {
    /// The directory of a configuration, its alias files read now; senders are not rewritten.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self::with(config, &AliasFiles::load(config, None, SystemTime::UNIX_EPOCH), None)
    }

    /// The directory of a configuration with the content of its alias files; `srs` rewrites the senders of what aliases
    /// send elsewhere.
    #[must_use]
    pub fn with(config: &Config, files: &AliasFiles, srs: Option<Arc<Srs>>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut complaints = Vec::new();
        let mut table = Table::new(config, files, &mut complaints);
        let mut bare_names: HashMap<String, Option<Arc<Account>>> = HashMap::new();
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
            bare_names
                .entry(local_key(account.address.local()))
                .and_modify(|name| *name = None)
                .or_insert_with(|| Some(Arc::clone(&account)));
            table.add(&account.address, &account);
            for alias in &entry.aliases {
                table.add(&alias.value, &account);
            }
        }
        table.settle(&mut complaints);
        // What mail would run into is told before it comes.
        for address in table.named_aliases() {
            complaints.extend(Expansion::of(&table, &address).trouble.map(|why| format!("{address}: {why}")));
        }
        Self {
            table,
            bare_names,
            srs: srs.filter(|_| config.directory.srs),
            complaints,
            rules: Rules {
                limit: config.limits.failed_logins,
                allow: [&config.bans.allow, &config.relay.trusted_networks, &config.proxy.networks]
                    .into_iter()
                    .flatten()
                    .copied()
                    .collect(),
                // Those whom a proxy does not name share its address.
                proxies: config.proxy.networks.clone(),
                explicit: config.bans.allow.clone(),
            },
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// What is wrong with the aliases beyond what the configuration's own check finds: lists that are not there, names in
    /// files that nobody has, loops by files, aliases that lead to too many.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Whether mail for this domain ends here.
    #[must_use]
    pub fn is_local(&self, domain: &Domain) -> bool {
        self.table.is_local(domain)
    }

    /// What an address is to us, aliases expanded and tags taken off.
    #[must_use]
    pub fn resolve(&self, address: &Address) -> Resolution {
        if !self.is_local(address.domain()) {
            return Resolution::Elsewhere;
        }
        match self.srs.as_ref().and_then(|srs| srs.back(address)) {
            // The way back of what we sent on is open to everybody, because we signed it; so is no other.
            Some(Return::To(sender)) if !self.is_local(sender.domain()) => {
                return Resolution::Local(vec![Destination::Forward(sender)]);
            }
            Some(Return::To(sender)) => return self.expand(&sender),
            Some(Return::Expired) => return Resolution::Expired,
            Some(Return::Forged) | None => {}
        }
        self.expand(address)
    }

    fn expand(&self, address: &Address) -> Resolution {
        let found = Expansion::of(&self.table, address);
        if let Some(why) = found.trouble {
            tracing::error!(?address, %why, "an alias leads nowhere for now");
            return Resolution::Trouble;
        }
        if found.destinations.is_empty() { Resolution::Unknown } else { Resolution::Local(found.destinations) }
    }

    /// What keeps mail for an address away for now, in words; `None` where nothing does.
    #[must_use]
    pub fn trouble(&self, address: &Address) -> Option<String> {
        if !self.is_local(address.domain()) {
            return None;
        }
        match self.srs.as_ref().and_then(|srs| srs.back(address)) {
            Some(Return::To(sender)) if !self.is_local(sender.domain()) => None,
            Some(Return::To(sender)) => Expansion::of(&self.table, &sender).trouble,
            Some(Return::Expired) => None,
            Some(Return::Forged) | None => Expansion::of(&self.table, address).trouble,
        }
    }

    /// The sender under which mail from `sender` goes on where an alias of ours sends it elsewhere. The null sender and
    /// senders of our own domains stay what they are; so do those that would become too long.
    #[must_use]
    pub fn forward_sender(&self, sender: &ReversePath) -> ReversePath {
        let foreign = sender.address().filter(|address| !self.is_local(address.domain()));
        let Some((srs, address)) = self.srs.as_ref().zip(foreign) else { return sender.clone() };
        match srs.forward(address, self.table.own_domain()) {
            Some(own) => ReversePath::Address(own),
            None => {
                tracing::info!(sender = ?address, "sender too long for SRS: it stays as it is");
                sender.clone()
            }
        }
    }

    /// The account with exactly this address, whatever aliases there are beside it.
    #[must_use]
    pub fn account(&self, address: &Address) -> Option<&Arc<Account>> {
        self.table.mailbox(address)
    }

    /// Where an address leads, step by step, for people.
    #[must_use]
    pub fn way(&self, address: &Address) -> Step {
        let local = self.is_local(address.domain());
        match self.srs.as_ref().filter(|_| local).and_then(|srs| srs.back(address)) {
            Some(Return::To(sender)) => {
                Step { to: vec![expand::way(&self.table, &sender)], ..Step::new(address, "return") }
            }
            Some(Return::Expired) => Step::new(address, "expired"),
            Some(Return::Forged) | None => expand::way(&self.table, address),
        }
    }

    /// All aliases, for people: by name, then the patterns in their order.
    #[must_use]
    pub fn aliases(&self) -> Vec<ListedAlias> {
        let mut all: Vec<ListedAlias> = self
            .table
            .aliases()
            .map(|alias| ListedAlias {
                name: alias.name.clone(),
                kind: alias.source,
                enabled: alias.enabled,
                comment: alias.missing.clone().unwrap_or_else(|| alias.comment.clone()),
                to: alias.goals.iter().map(ToString::to_string).collect(),
            })
            .collect();
        all.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        all.extend(self.table.patterns().iter().map(|pattern| ListedAlias {
            name: pattern.pattern.value.as_str().to_owned(),
            kind: "pattern",
            enabled: pattern.enabled,
            comment: pattern.comment.clone(),
            to: pattern.to.iter().map(|to| to.value.clone()).collect(),
        }));
        let domains = self.table.domain_aliases().into_iter().map(|(domain, of)| ListedAlias {
            name: format!("@{domain}"),
            kind: "domain",
            enabled: true,
            comment: String::new(),
            to: vec![format!("@{of}")],
        });
        all.extend(domains);
        all
    }

    /// Which one this is: no two of a daemon have the same number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Where the mail of all accounts lies.
    #[must_use]
    pub fn maildirs(&self) -> BTreeSet<PathBuf> {
        self.table.accounts().map(|account| account.maildir.clone()).collect()
    }

    /// The limits of all accounts that have any, by Maildir.
    #[must_use]
    pub fn quotas(&self) -> HashMap<PathBuf, QuotaLimits> {
        let limited = self.table.accounts().filter(|account| account.quota.is_limited());
        limited.map(|account| (account.maildir.clone(), account.quota.clone())).collect()
    }

    /// The account whose mail lies there. Looks through all of them.
    #[must_use]
    pub fn account_in(&self, maildir: &Path) -> Option<&Arc<Account>> {
        self.table.accounts().find(|account| account.maildir == maildir)
    }

    /// Whether a user may send under this address: it is delivered to him, or he may send as it.
    #[must_use]
    pub fn may_send_as(&self, user: &Authenticated, sender: &Address) -> bool {
        let is_user = |account: &Arc<Account>| account.address == user.account().address;
        if user.account().send_as.contains(&sender.key()) {
            return true;
        }
        if !self.is_local(sender.domain()) {
            return false;
        }
        // His own address stays his where the aliases file sends its mail to others.
        if self.table.mailbox(sender).is_some_and(is_user) {
            return true;
        }
        let Resolution::Local(destinations) = self.expand(sender) else { return false };
        destinations.iter().any(|d| match d {
            Destination::Account(account) => is_user(account),
            Destination::Remote(_) | Destination::Forward(_) => false,
        })
    }

    /// The account that logs in under this name: its address, or its local part where only one domain has it.
    fn account_of_login(&self, name: &str) -> Option<Arc<Account>> {
        if let Ok(address) = Address::parse(name) {
            return self.table.mailbox(&address).cloned();
        }
        self.bare_names.get(&local_key(name)).cloned().flatten()
    }

    /// Under which name the failures of somebody are counted who has no account: all spellings of an address that would be
    /// one account are one name, or the counters would tell who has an account.
    fn key_of_nobody(&self, name: &str) -> String {
        match Address::parse(name) {
            Ok(address) => format!("{}@{}", local_key(address.local()), self.table.real_domain(address.domain())),
            Err(_) => format!("{}@{}", local_key(name), self.table.own_domain()),
        }
    }
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
        resolved_by(&directory(), address)
    }

    fn resolved_by(directory: &Directory, address: &str) -> String {
        match directory.resolve(&Address::parse(address).expect("an address")) {
            Resolution::Local(to) => to
                .iter()
                .map(|d| match d {
                    Destination::Account(account) => account.address().to_string(),
                    Destination::Remote(address) | Destination::Forward(address) => format!("remote {address}"),
                })
                .collect::<Vec<_>>()
                .join(", "),
            Resolution::Unknown => "unknown".to_owned(),
            Resolution::Expired => "expired".to_owned(),
            Resolution::Trouble => "trouble".to_owned(),
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
        for spelling in ["x", "X", "x@example.com", "X@Mail.Example.com"] {
            assert_eq!(directory.key_of_nobody(spelling), "x@example.com");
        }
        assert_eq!(of("").key_of_nobody("x@example.org"), "x@example.com");
        assert_eq!(directory.key_of_nobody("x@example.net"), "x@example.net");
    }

    fn of(text: &str) -> Directory {
        let base = "hostname = \"mail.example.com\"\n[[domain]]\nname = \"example.com\"\n\
            [[domain]]\nname = \"example.org\"\nalias_of = \"example.com\"\n\
            [[account]]\naddress = \"alice@example.com\"\n[[account]]\naddress = \"bob@example.com\"\n\
            [[account]]\naddress = \"J\u{f6}rg@b\u{fc}cher.example\"\n[[domain]]\nname = \"b\u{fc}cher.example\"\n";
        let config = crate::config::parse(Path::new("t.toml"), &format!("{base}{text}"));
        Directory::new(&config.unwrap_or_else(|problems| panic!("{problems}")))
    }

    #[test]
    fn the_order_of_lookup() {
        let directory = of("[aliases]\n\"a@example.com\" = [\"bob\", \"far@elsewhere.example\"]\n\
            \"off@example.com\" = { to = \"bob\", enabled = false }\n\
            \"x-1@example.com\" = \"alice\"\n\
            \"own@example.org\" = \"bob@example.com\"\n\
            \"@example.com\" = { to = [\"alice@example.com\"], except = [\"spam@example.com\"] }\n\
            [[alias_pattern]]\npattern = '^x-(.*)@example\\.com$'\nto = [\"$1@example.com\"]\n\
            [[alias_pattern]]\npattern = '^out-(.*)=(.*)@example\\.com$'\nto = [\"$1@$2\"]\n\
            [[alias_pattern]]\npattern = '^via-(.*)@example\\.com$'\nto = [\"$1@elsewhere.example\"]\n");
        for (address, to) in [
            ("a@example.com", "bob@example.com, remote far@elsewhere.example"),
            ("a@example.org", "bob@example.com, remote far@elsewhere.example"),
            ("a+tag@mail.example.com", "bob@example.com, remote far@elsewhere.example"),
            ("own@example.org", "bob@example.com"),
            ("own@example.com", "alice@example.com"),
            ("alice@example.org", "alice@example.com"),
            ("off@example.com", "unknown"),
            ("off+x@example.com", "unknown"),
            ("x-1@example.com", "alice@example.com"),
            ("X-Bob@Example.com", "bob@example.com"),
            ("x-bob@example.org", "bob@example.com"),
            // What the stranger wrote may not choose the domain; so it is no match, and the catch-all has it.
            ("out-v=evil.example@example.com", "alice@example.com"),
            ("out-bob=example.com@example.com", "bob@example.com"),
            ("via-v@example.com", "remote v@elsewhere.example"),
            ("nobody@example.com", "alice@example.com"),
            ("nobody@example.org", "alice@example.com"),
            ("spam@example.com", "unknown"),
            ("spam+x@example.com", "unknown"),
            ("nobody@b\u{fc}cher.example", "unknown"),
            ("postmaster@b\u{fc}cher.example", "alice@example.com"),
            ("JO\u{308}RG@xn--bcher-kva.example", "J\u{f6}rg@xn--bcher-kva.example"),
        ] {
            assert_eq!(resolved_by(&directory, address), to, "{address}");
        }
        let way = directory.way(&Address::parse("x-a@example.com").expect("valid"));
        assert_eq!((way.kind, way.to[0].kind, way.to[0].to.len()), ("pattern", "alias", 2));
        assert_eq!(way.to[0].to[1].kind, "elsewhere");
        assert_eq!(directory.aliases().len(), 5 + 3 + 1);
        let directory = of("[aliases]\n\"@example.com\" = { to = \"alice\", enabled = false }\n\
            [[alias_pattern]]\npattern = 'x.*'\nto = [\"alice@example.com\"]\nenabled = false\n");
        assert_eq!(resolved_by(&directory, "x@example.com"), "unknown");
        assert_eq!(directory.aliases().iter().filter(|alias| !alias.enabled).count(), 2);
    }

    #[test]
    fn what_is_too_much_is_trouble_and_not_a_part() {
        let mut chain = String::from("[aliases]\n");
        for n in 2..12 {
            chain += &format!(
                "\"n{n}@example.com\" = \"{}\"\n",
                if n == 11 { "bob".to_owned() } else { format!("n{}", n + 1) }
            );
        }
        let list: Vec<String> = (0..1001).map(|n| format!("\"m{n}@elsewhere.example\"")).collect();
        let directory = of(&format!(
            "{chain}\"all@example.com\" = [{}]\n\"gone@example.com\" = [\"bob\", \":include:/nonexistent/list\"]\n\
            [[alias_pattern]]\npattern = '^ping(.*)@.*$'\nto = [\"pong$1\"]\n[[alias_pattern]]\npattern = '^pong(.*)@.*$'\nto = [\"ping$1\"]\n\
            [[alias_pattern]]\npattern = '^grow(.*)@.*$'\nto = [\"growx$1\"]\n",
            list.join(",")
        ));
        for (address, to) in [
            ("n2@example.com", "bob@example.com"),
            ("all@example.com", "trouble"),
            ("gone@example.com", "trouble"),
            ("ping1@example.com", "trouble"),
            ("grow@example.com", "trouble"),
        ] {
            assert_eq!(resolved_by(&directory, address), to, "{address}");
        }
        assert!(
            directory.complaints().iter().any(|c| c.contains("/nonexistent/list has not been read")),
            "{:?}",
            directory.complaints()
        );
    }

    #[test]
    fn an_aliases_file_of_postfix_is_for_the_first_domain_and_the_host() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let file = dir.path().join("aliases");
        let list = dir.path().join("list");
        std::fs::write(&list, "alice, far@elsewhere.example\nteam # again\n").expect("written");
        let text = format!(
            "root: alice\nalice: \\alice, bob\nbob: bob, carol@elsewhere.example\nteam: :include:{}\nlost: nobody\nprog: |x\n",
            list.display()
        );
        std::fs::write(&file, text).expect("written");
        let directory = of(&format!("[directory]\naliases_file = \"{}\"\n", file.display()));
        for (address, to) in [
            ("root@mail.example.com", "alice@example.com, bob@example.com, remote carol@elsewhere.example"),
            ("Root@example.com", "alice@example.com, bob@example.com, remote carol@elsewhere.example"),
            ("bob@example.com", "bob@example.com, remote carol@elsewhere.example"),
            (
                "team+x@example.com",
                "alice@example.com, bob@example.com, remote carol@elsewhere.example, remote far@elsewhere.example",
            ),
            ("lost@example.com", "unknown"),
            ("prog@example.com", "unknown"),
            ("root@b\u{fc}cher.example", "unknown"),
        ] {
            assert_eq!(resolved_by(&directory, address), to, "{address}");
        }
        let nobody = |alias: &str, to: &str| format!("{alias}: {to}@example.com is neither an account nor an alias");
        assert_eq!(directory.complaints(), [nobody("lost", "nobody"), nobody("team", "team")]);
        assert!(directory.account_of_login("alice").is_some() && directory.account_of_login("root").is_none());
    }

    #[test]
    fn a_list_is_not_copied_without_end() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let list = dir.path().join("list");
        let text: String = (0..5000).map(|n| format!("u{}@elsewhere.example\n", n / 2)).collect();
        std::fs::write(&list, text).expect("written");
        let long = of(&format!("[aliases]\n\"all@example.com\" = \":include:{}\"\n", list.display()));
        assert_eq!(resolved_by(&long, "all@example.com"), "trouble");
        assert!(long.complaints().iter().any(|c| c.contains("more than 1000 addresses")), "{:?}", long.complaints());
        assert_eq!(long.aliases()[0].to.len(), 1000);
        let text: String = (0..2000).map(|n| format!("u{}@elsewhere.example\n", n / 2)).collect();
        std::fs::write(&list, text).expect("written");
        let full = of(&format!("[aliases]\n\"all@example.com\" = \":include:{}\"\n", list.display()));
        assert_eq!(resolved_by(&full, "all@example.com").matches("remote").count(), 1000, "the same twice is once");
    }

    #[test]
    fn senders_of_what_goes_on_are_rewritten_and_come_back() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let clock =
            crate::clock::Clock::by_hand(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000));
        let srs = Arc::new(Srs::open(&dir.path().join("srs.key"), clock.clone()).expect("a key"));
        let config = crate::config::parse(Path::new("t.toml"), TEXT).expect("valid");
        let directory = Directory::with(&config, &AliasFiles::default(), Some(srs));
        let path = |text: &str| ReversePath::Address(Address::parse(text).expect("valid"));
        let there = directory.forward_sender(&path("joe@far.example"));
        assert!(
            there.to_string().starts_with("SRS0=") && there.to_string().ends_with("=far.example=joe@example.com"),
            "{there}"
        );
        assert_eq!(directory.forward_sender(&ReversePath::Null), ReversePath::Null);
        assert_eq!(directory.forward_sender(&path("alice@example.net")), path("alice@example.net"));
        let back = there.to_string();
        assert_eq!(resolved_by(&directory, &back), "remote joe@far.example");
        let way = directory.way(&Address::parse(&back).expect("valid"));
        assert_eq!((way.kind, way.to[0].address.as_str()), ("return", "joe@far.example"));
        assert_eq!(resolved_by(&directory, &back.replace("joe", "jim")), "unknown");
        clock.advance(std::time::Duration::from_secs(22 * 86_400));
        assert_eq!(resolved_by(&directory, &back), "expired");
    }
}
