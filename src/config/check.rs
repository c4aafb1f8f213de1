//! What must hold between the sections of a file, and between the file and this machine.

use std::collections::HashMap;
use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Config;
use super::alias::AliasEntry;
use super::alias::AliasName;
use super::alias::AliasRegex;
use super::alias::AliasTarget;
use super::problem::Problems;
use super::value::DmarcPolicy;
use super::value::Resolver;
use super::value::Span;
use super::value::SpfPolicy;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::local_key;
use crate::mail::limits::ALIAS_DEPTH;
use crate::mail::limits::ALIAS_PATTERNS;
use crate::mail::limits::DNSBLS;
use crate::mail::limits::DOMAIN_OCTETS;

/// Notes everything that cannot work.
pub(super) fn check(config: &Config, problems: &mut Problems) {
    domains(config, problems);
    let owners = addresses(config, problems);
    aliases(config, &owners, problems);
    patterns(config, &owners, problems);
    if let Some(file) = config.directory.aliases_file.as_ref().filter(|file| file.is_relative()) {
        let what =
            format!("{} does not name a file from the root on; write for example \"/etc/aliases\"", file.display());
        problems.add_to("directory.aliases_file", what);
    }
    relay(config, problems);
    lists(config, problems);
    listeners(config, problems);
    storage(config, problems);
    quota(config, problems);
    sender_auth(config, problems);
    without_dns(config, problems);
    tls(config, problems);
    who_may_read(config, problems);
}

fn domains(config: &Config, problems: &mut Problems) {
    let mut seen = HashSet::new();
    for domain in &config.domains {
        let name = &domain.name;
        if !seen.insert(&name.value) {
            problems.add(name.at.start, "domain.name", format!("{} is there twice", name.value));
        }
        if name.value.is_literal() {
            problems.add(name.at.start, "domain.name", "an address literal cannot be a mail domain");
        }
    }
    for domain in &config.domains {
        let Some(of) = &domain.alias_of else { continue };
        match config.domains.iter().find(|d| d.name.value == of.value) {
            None => {
                let what = format!("{0} is none of the domains; add [[domain]] name = \"{0}\"", of.value);
                problems.add(of.at.start, "domain.alias_of", what);
            }
            Some(other) if other.alias_of.is_some() => {
                let what = format!("{} is an alias itself; name the domain that has the addresses", of.value);
                problems.add(of.at.start, "domain.alias_of", what);
            }
            Some(_) => {}
        }
    }
    if config.hostname.is_literal() {
        problems.add_to("hostname", "give a name, not an address");
    }
}

/// All addresses that are accounts or aliases of accounts; notes those that are there twice, or in a domain that is
/// not ours.
fn addresses(config: &Config, problems: &mut Problems) -> HashSet<String> {
    let mut owners = HashSet::new();
    let mut take = |key: &str, address: &Span<Address>, problems: &mut Problems| {
        in_our_domain(config, key, address, problems);
        if !owners.insert(address.value.key()) {
            problems.add(address.at.start, key, format!("{} is there twice", address.value));
        }
    };
    for account in &config.accounts {
        take("account.address", &account.address, problems);
        for alias in &account.aliases {
            take("account.aliases", alias, problems);
        }
        let local = account.address.value.local();
        if local.starts_with('.') || local.contains('/') {
            let what = "the local part names a folder, so it may neither contain a slash nor begin with a dot";
            problems.add(account.address.at.start, "account.address", what);
        }
    }
    let mut catch_alls = HashSet::new();
    for alias in &config.aliases {
        let key = format!("aliases.{}", alias.name.value);
        match &alias.name.value {
            AliasName::Address(address) => {
                take(&key, &Span { value: address.clone(), at: alias.name.at.clone() }, problems)
            }
            AliasName::CatchAll(domain) => {
                if !is_ours(config, domain) {
                    not_ours(&key, domain, alias.name.at.start, problems);
                }
                if !catch_alls.insert(domain) {
                    problems.add(alias.name.at.start, &key, format!("@{domain} is there twice"));
                }
            }
        }
    }
    owners
}

fn is_ours(config: &Config, domain: &Domain) -> bool {
    *domain == config.hostname || config.domains.iter().any(|d| d.name.value == *domain)
}

fn not_ours(key: &str, domain: &Domain, at: usize, problems: &mut Problems) {
    problems.add(at, key, format!("{domain} is none of the domains; add [[domain]] name = \"{domain}\""));
}

fn in_our_domain(config: &Config, key: &str, address: &Span<Address>, problems: &mut Problems) {
    let domain = address.value.domain();
    if !is_ours(config, domain) {
        not_ours(key, domain, address.at.start, problems);
    }
}

/// The name of an alias among all, and the domain that its targets have where they name none.
fn node(name: &AliasName) -> (String, &Domain) {
    match name {
        AliasName::Address(address) => (address.key(), address.domain()),
        AliasName::CatchAll(domain) => (format!("@{domain}"), domain),
    }
}

/// Notes targets that do not exist and aliases that lead back to themselves.
fn aliases(config: &Config, owners: &HashSet<String>, problems: &mut Problems) {
    let mut leads: HashMap<String, Vec<String>> = HashMap::new();
    for alias in &config.aliases {
        let key = format!("aliases.{}", alias.name.value);
        if alias.targets.is_empty() {
            problems.add(alias.name.at.start, &key, "stands for nobody; give at least one address");
        }
        let (own, domain) = node(&alias.name.value);
        except(alias, domain, &key, problems);
        for target in &alias.targets {
            let Some(address) = target.value.address_in(domain) else { continue };
            match known(config, owners, &address) {
                Known::As(next) => leads.entry(own.clone()).or_default().push(next),
                // What the file has is seen when it is read, and again whenever it changes.
                Known::Open => {}
                Known::Nowhere if config.directory.aliases_file.is_some() => {}
                Known::Nowhere => {
                    let what = format!("{address} is neither an account nor an alias");
                    problems.add(target.at.start, &key, what);
                }
            }
        }
    }
    for alias in &config.aliases {
        let name = &alias.name.value;
        if leads_back(&node(name).0, &leads) {
            problems.add(alias.name.at.start, &format!("aliases.{name}"), format!("{name} leads back to itself"));
        } else if is_deep(&node(name).0, &leads) {
            let what = format!("{name} leads through more than {ALIAS_DEPTH} aliases, one behind the other");
            problems.add(alias.name.at.start, &format!("aliases.{name}"), what);
        }
    }
}

fn except(alias: &AliasEntry, domain: &Domain, key: &str, problems: &mut Problems) {
    for address in &alias.except {
        if matches!(alias.name.value, AliasName::Address(_)) {
            problems.add(address.at.start, key, "except is only for a whole domain, such as \"@example.com\"");
        } else if address.value.domain() != domain {
            problems.add(address.at.start, key, format!("{} is not in {domain}", address.value));
        }
    }
}

/// What the file itself says of an address.
enum Known {
    /// There is an entry of this name.
    As(String),
    /// Elsewhere, or something that is decided when mail comes.
    Open,
    Nowhere,
}

/// Looks an address up in the order of `directory`.
fn known(config: &Config, owners: &HashSet<String>, address: &Address) -> Known {
    if !is_ours(config, address.domain()) {
        return Known::Open;
    }
    let entry = config.domains.iter().find(|d| d.name.value == *address.domain());
    let mut domains = vec![address.domain()];
    domains.extend(entry.and_then(|d| d.alias_of.as_ref()).map(|of| &of.value));
    if *address.domain() == config.hostname {
        domains.extend(config.domains.first().map(|d| &d.name.value));
    }
    let tag = config.smtp.delimiter.chars().next().and_then(|delimiter| address.local().split_once(delimiter));
    let locals: Vec<String> =
        [Some(address.local()), tag.map(|(user, _)| user)].into_iter().flatten().map(local_key).collect();
    for local in &locals {
        let keys = domains.iter().map(|domain| format!("{local}@{domain}"));
        if let Some(key) = keys.into_iter().find(|key| owners.contains(key)) {
            return Known::As(key);
        }
    }
    // What is switched off takes nothing.
    let mut patterns = config.alias_patterns.iter().filter(|pattern| pattern.enabled);
    if patterns.any(|pattern| pattern.pattern.value.fits(&address.to_string())) {
        return Known::Open;
    }
    match domains.iter().find(|domain| has_catch_all(config, domain, &locals)) {
        Some(domain) => Known::As(format!("@{domain}")),
        None if address.local().eq_ignore_ascii_case("postmaster") => Known::Open,
        None => Known::Nowhere,
    }
}

/// Whether all addresses of a domain are taken, and none of these names is an exception.
fn has_catch_all(config: &Config, domain: &Domain, locals: &[String]) -> bool {
    let is_except = |alias: &AliasEntry| {
        alias.except.iter().any(|own| locals.iter().any(|local| own.value.key() == format!("{local}@{domain}")))
    };
    config.aliases.iter().any(|alias| {
        let is_it = matches!(&alias.name.value, AliasName::CatchAll(of) if of == domain);
        is_it && alias.enabled && !is_except(alias)
    })
}

fn leads_back(start: &str, targets: &HashMap<String, Vec<String>>) -> bool {
    let mut seen = HashSet::new();
    let mut open: Vec<&str> = vec![start];
    while let Some(address) = open.pop() {
        for next in targets.get(address).into_iter().flatten() {
            if next == start {
                return true;
            }
            if seen.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    false
}

/// Whether there is something behind [`ALIAS_DEPTH`] steps.
fn is_deep(start: &str, targets: &HashMap<String, Vec<String>>) -> bool {
    let mut here: HashSet<&str> = HashSet::from([start]);
    for _ in 0..=ALIAS_DEPTH {
        here = here
            .into_iter()
            .flat_map(|address| targets.get(address).into_iter().flatten())
            .map(String::as_str)
            .collect();
    }
    !here.is_empty()
}

fn patterns(config: &Config, owners: &HashSet<String>, problems: &mut Problems) {
    if config.alias_patterns.len() > ALIAS_PATTERNS {
        problems.add_to("alias_pattern", format!("more than {ALIAS_PATTERNS}: each is tried on every unknown address"));
    }
    for entry in &config.alias_patterns {
        if entry.to.is_empty() {
            let what = "stands for nobody; write for example to = [\"$1@example.com\"]";
            problems.add(entry.pattern.at.start, "alias_pattern.to", what);
        }
        for template in &entry.to {
            let wrong = match entry.pattern.value.lacks(&template.value) {
                Some(name) => Some(format!(
                    "the pattern has no group {name:?}; write ${{1}} where letters follow, $$ for a dollar"
                )),
                None => template_fault(config, owners, &template.value, entry.enabled),
            };
            if let Some(what) = wrong {
                problems.add(template.at.start, "alias_pattern.to", what);
            }
        }
    }
}

/// Why no mail can ever follow a template.
fn template_fault(config: &Config, owners: &HashSet<String>, template: &str, enabled: bool) -> Option<String> {
    let target = match AliasTarget::parse(&AliasRegex::sample(template)) {
        Ok(AliasTarget::Include(_)) => {
            return Some("a list in a file cannot stand here; name it in [aliases], and that alias here".to_owned());
        }
        Ok(target) => target,
        Err(what) => return Some(what),
    };
    // The name may be whatever the pattern finds, or stand in a file that is read later; and who is gone may stay in what
    // is switched off.
    if !enabled || template.contains('$') || config.directory.aliases_file.is_some() {
        return None;
    }
    let is_nobody = |address: Address| matches!(known(config, owners, &address), Known::Nowhere);
    let lost = match &target {
        AliasTarget::Name(_) => {
            let mut domains = config.domains.iter().filter_map(|domain| target.address_in(&domain.name.value));
            domains.all(is_nobody)
        }
        AliasTarget::Address(address) => is_nobody(address.clone()),
        AliasTarget::Include(_) => false,
    };
    lost.then(|| format!("{target} is neither an account nor an alias"))
}

fn relay(config: &Config, problems: &mut Problems) {
    for network in &config.relay.trusted_networks {
        if network.prefix_len() == 0 {
            let what = format!("{network} is the whole world: this would be an open relay");
            problems.add_to("relay.trusted_networks", what);
        }
    }
}

/// Lists without a sum that they lead to, and the other way round, do nothing.
fn lists(config: &Config, problems: &mut Problems) {
    let (reject, junk) = (config.checks.dnsbl_reject, config.checks.dnsbl_junk);
    let most: i64 = config.dnsbl.iter().map(|list| i64::from(list.weight).max(0)).sum();
    for (name, sum) in [("checks.dnsbl_reject", reject), ("checks.dnsbl_junk", junk)] {
        if i64::from(sum) > most {
            problems
                .add_to(name, format!("the weights of all [[dnsbl]] together are {most}, so {sum} is never reached"));
        }
    }
    if let Some(list) = config.dnsbl.iter().find(|list| list.weight > 0)
        && reject == 0
        && junk == 0
    {
        let what = "no sum of weights leads to anything; set checks.dnsbl_junk or checks.dnsbl_reject";
        problems.add(list.zone.at.start, "dnsbl.zone", what);
    }
    if config.dnsbl.len() > DNSBLS {
        problems.add(config.dnsbl[DNSBLS].zone.at.start, "dnsbl.zone", format!("more than {DNSBLS} lists"));
    }
    for list in &config.dnsbl {
        // The longest question is an IPv6 address in digits with dots between them.
        if list.zone.value.is_literal() || list.zone.value.as_str().len() + 64 > DOMAIN_OCTETS {
            problems.add(list.zone.at.start, "dnsbl.zone", "this cannot be the domain of a list");
        }
    }
    if config.greylist.window <= config.greylist.delay {
        problems.add_near("greylist.delay", "greylist.window", "must be longer than delay, or nobody could come again");
    }
}

fn listeners(config: &Config, problems: &mut Problems) {
    if !u32::from_str_radix(&config.lmtp.mode, 8).is_ok_and(|mode| mode <= 0o777) {
        problems.add_to("lmtp.mode", "permissions in octal were expected, for example \"0600\"");
    }
    let mut seen: HashMap<std::net::SocketAddr, &str> = HashMap::new();
    for (name, address) in config.listen.all() {
        if address.port() == 0 {
            problems.add_to(&format!("listen.{name}"), "port 0 is none; an empty list switches the listener off");
        }
        if let Some(other) = seen.insert(address, name) {
            problems.add_to(&format!("listen.{name}"), format!("{address} is taken by listen.{other} already"));
        }
    }
}

fn storage(config: &Config, problems: &mut Problems) {
    let maildir = &config.storage.maildir;
    let several = config.accounts.len() > 1;
    if several && !maildir.contains("{user}") {
        problems.add_to("storage.maildir", "without {user} all accounts would share one Maildir");
    }
    let domains: HashSet<_> = config.accounts.iter().map(|a| a.address.value.domain()).collect();
    if domains.len() > 1 && !maildir.contains("{domain}") {
        problems.add_to("storage.maildir", "without {domain} accounts of two domains would share one Maildir");
    }
    if Path::new(maildir).components().any(|c| c == std::path::Component::ParentDir) {
        problems.add_to("storage.maildir", "may not contain ..");
    }
    if !config.smtp.delimiter.is_empty() && config.smtp.delimiter.chars().count() != 1 {
        problems.add_to("smtp.delimiter", "one character was expected, or nothing");
    }
    if config.queue.retry_min.is_zero() {
        problems.add_to("queue.retry_min", "no wait at all would try without end; write for example \"300s\"");
    }
    if config.queue.retry_max < config.queue.retry_min {
        problems.add_near("queue.retry_min", "queue.retry_max", "must be at least as long as retry_min");
    }
}

/// A message that may come must fit into an empty mailbox.
fn quota(config: &Config, problems: &mut Problems) {
    let largest = config.smtp.max_message_size.octets();
    let too_small = |quota: u64| quota != 0 && quota < largest;
    let what = format!("must be 0 for no limit, or at least smtp.max_message_size, which is {largest} octets");
    if too_small(config.quota.storage.octets()) {
        problems.add_to("quota.storage", what.as_str());
    }
    for own in config.accounts.iter().filter_map(|account| account.quota_storage.as_ref()) {
        if too_small(own.value.octets()) {
            problems.add(own.at.start, "account.quota_storage", what.as_str());
        }
    }
    if config.quota.warn.iter().any(|percent| !(1..=100).contains(percent)) {
        problems.add_to("quota.warn", "write percentages from 1 to 100, for example [80, 95]");
    }
}

/// DMARC stands on SPF and DKIM; a rule of a domain says something, and once.
fn sender_auth(config: &Config, problems: &mut Problems) {
    let rules = &config.sender_auth;
    let wants_proof = |dmarc| matches!(dmarc, DmarcPolicy::Quarantine | DmarcPolicy::Reject);
    if !rules.dkim && rules.spf == SpfPolicy::Off && wants_proof(rules.dmarc) {
        let what = "with neither SPF nor DKIM every message would fail; set it to \"off\", or check one of the two";
        problems.add_near("sender_auth.dkim", "sender_auth.dmarc", what);
    }
    if !rules.arc && !rules.arc_trusted.is_empty() {
        let what = "sender_auth.arc is false, so no seal is looked at; set that to true, or trust nobody";
        problems.add_to("sender_auth.arc_trusted", what);
    }
    let mut seen = HashSet::new();
    for own in &config.sender_policies {
        let domain = &own.domain;
        if !seen.insert(&domain.value) {
            problems.add(domain.at.start, "sender_policy.domain", format!("{} is there twice", domain.value));
        }
        if own.spf.is_none() && own.dmarc.is_none() {
            let what = "says nothing; give spf or dmarc, for example dmarc = \"reject\"";
            problems.add(domain.at.start, "sender_policy.domain", what);
        }
        // What is off for all is not known for one.
        let off = |key: &str, at: usize, problems: &mut Problems| {
            let what = format!("sender_auth.{key} is \"off\", so nothing is checked; set that to \"mark\" at least");
            problems.add(at, &format!("sender_policy.{key}"), what);
        };
        if let Some(spf) = own.spf.as_ref().filter(|spf| spf.value != SpfPolicy::Off && rules.spf == SpfPolicy::Off) {
            off("spf", spf.at.start, problems);
        }
        let dmarc = own.dmarc.as_ref().filter(|own| own.value != DmarcPolicy::Off && rules.dmarc == DmarcPolicy::Off);
        if let Some(dmarc) = dmarc {
            off("dmarc", dmarc.at.start, problems);
        }
    }
}

/// What asks name servers does nothing where none is asked. The defaults may stand, since `config/example.toml` writes
/// them out; what goes beyond them was meant.
fn without_dns(config: &Config, problems: &mut Problems) {
    if config.dns.resolver != Resolver::Off {
        return;
    }
    let what = "dns.resolver is \"off\", so this does nothing; write for example resolver = \"system\"";
    for list in &config.dnsbl {
        problems.add(list.zone.at.start, "dnsbl.zone", what);
    }
    let rules = &config.sender_auth;
    for (key, on) in [
        ("sender_auth.spf", rules.spf == SpfPolicy::Reject),
        ("sender_auth.dmarc", rules.dmarc == DmarcPolicy::Reject),
        ("sender_auth.arc_trusted", !rules.arc_trusted.is_empty()),
    ] {
        if on {
            problems.add_to(key, what);
        }
    }
    for own in &config.sender_policies {
        if let Some(spf) = own.spf.as_ref().filter(|spf| spf.value != SpfPolicy::Off) {
            problems.add(spf.at.start, "sender_policy.spf", what);
        }
        if let Some(dmarc) = own.dmarc.as_ref().filter(|dmarc| dmarc.value != DmarcPolicy::Off) {
            problems.add(dmarc.at.start, "sender_policy.dmarc", what);
        }
    }
}

fn tls(config: &Config, problems: &mut Problems) {
    match (&config.tls.cert, &config.tls.key) {
        (Some(_), None) => {
            problems.add_near("tls.cert", "tls.key", "missing; tls.cert is named, so its private key must be too")
        }
        (None, Some(_)) => {
            problems.add_near("tls.key", "tls.cert", "missing; tls.key is named, so its certificate must be too")
        }
        (Some(cert), Some(key)) => {
            for (name, path) in [("tls.cert", cert), ("tls.key", key)] {
                if let Err(error) = std::fs::File::open(path) {
                    problems.add_to(name, format!("{} cannot be read: {error}", path.display()));
                }
            }
        }
        (None, None) => {}
    }
}

/// Password hashes in a file that everybody may read are an invitation.
fn who_may_read(config: &Config, problems: &mut Problems) {
    let Some(password) = config.accounts.iter().find_map(|a| a.password.as_ref()) else { return };
    let mode = std::fs::metadata(&config.file).map_or(0, |m| m.permissions().mode());
    if mode & 0o004 != 0 {
        let what = format!("everybody on this machine may read this file; run chmod 640 {}", config.file.display());
        problems.add(password.at.start, "account.password", what);
    }
}
