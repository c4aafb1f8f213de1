//! The one TOML file as plain data: sections, defaults, and all errors of a file at once, each with line and key.
//!
//! [`load`] is the only way to a [`Config`]. What a section holds, with its defaults and its sentence for
//! `config/example.toml`, is declared in `sections.rs`; what must hold between sections is checked in `check.rs`.
//! Knows nothing of what others do with the values.

mod alias;
mod check;
mod example;
mod problem;
mod read;
mod sections;
mod value;

use std::path::Path;
use std::path::PathBuf;

pub use alias::AliasEntry;
pub use alias::AliasName;
pub use alias::AliasPattern;
pub use alias::AliasRegex;
pub use alias::AliasTarget;
pub use example::example;
pub use problem::Problem;
pub use problem::Problems;
pub use sections::AccountEntry;
pub use sections::Auth;
pub use sections::BanKeys;
pub use sections::Checks;
pub use sections::DirectoryKeys;
pub use sections::Dns;
pub use sections::DnsblEntry;
pub use sections::DomainEntry;
pub use sections::Greylist;
pub use sections::Imap;
pub use sections::Junk;
pub use sections::Limits;
pub use sections::Listen;
pub use sections::Lmtp;
pub use sections::Log;
pub use sections::MilterEntry;
pub use sections::Outbound;
pub use sections::Proxy;
pub use sections::Queue;
pub use sections::Quota;
pub use sections::Relay;
pub use sections::SenderAuth;
pub use sections::SenderPolicyEntry;
pub use sections::Smtp;
pub use sections::Storage;
pub use sections::Submission;
pub use sections::Tls;
pub use value::Banner;
pub use value::BareNewline;
pub use value::ByteSize;
pub use value::CheckAction;
pub use value::DmarcPolicy;
pub use value::HookFailure;
pub use value::HookOn;
pub use value::HookRefusal;
pub use value::Layout;
pub use value::Level;
pub use value::ListenAddress;
pub use value::MilterAddress;
pub use value::OutboundTls;
pub use value::RelayHost;
pub use value::Resolver;
pub use value::Span;
pub use value::SpfPolicy;
pub use value::parse_network;
pub use value::parse_time;

use crate::mail::address::Domain;

/// A configuration without errors.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// The name of this server: in the banner, in EHLO, in `Received`. Local for mail.
    pub hostname: Domain,
    /// `[[domain]]`.
    pub domains: Vec<DomainEntry>,
    /// `[[account]]`.
    pub accounts: Vec<AccountEntry>,
    /// `[aliases]`.
    pub aliases: Vec<AliasEntry>,
    /// `[[alias_pattern]]`.
    pub alias_patterns: Vec<AliasPattern>,
    /// `[bans]`.
    pub bans: BanKeys,
    /// `[directory]`.
    pub directory: DirectoryKeys,
    /// `[listen]`.
    pub listen: Listen,
    /// `[storage]`.
    pub storage: Storage,
    /// `[tls]`.
    pub tls: Tls,
    /// `[lmtp]`.
    pub lmtp: Lmtp,
    /// `[proxy]`.
    pub proxy: Proxy,
    /// `[smtp]`.
    pub smtp: Smtp,
    /// `[checks]`.
    pub checks: Checks,
    /// `[[dnsbl]]`.
    pub dnsbl: Vec<DnsblEntry>,
    /// `[greylist]`.
    pub greylist: Greylist,
    /// `[[milter]]`, in the order they are asked.
    pub milters: Vec<MilterEntry>,
    /// `[junk]`.
    pub junk: Junk,
    /// `[submission]`.
    pub submission: Submission,
    /// `[imap]`.
    pub imap: Imap,
    /// `[relay]`.
    pub relay: Relay,
    /// `[outbound]`.
    pub outbound: Outbound,
    /// `[queue]`.
    pub queue: Queue,
    /// `[quota]`.
    pub quota: Quota,
    /// `[dns]`.
    pub dns: Dns,
    /// `[sender_auth]`.
    pub sender_auth: SenderAuth,
    /// `[[sender_policy]]`.
    pub sender_policies: Vec<SenderPolicyEntry>,
    /// `[auth]`.
    pub auth: Auth,
    /// `[limits]`.
    pub limits: Limits,
    /// `[log]`.
    pub log: Log,
}

/// Reads and checks a file.
///
/// # Errors
/// All that is wrong with it, in the order of its lines.
pub fn load(file: &Path) -> Result<Config, Box<Problems>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return Err(Box::new(Problems::unreadable(file, &error))),
    };
    let mut config = parse(file, &text)?;
    config.file = file.to_owned();
    Ok(config)
}

/// Checks the text of a file; `file` is for the messages, for relative paths, and for a look at who may read it.
///
/// # Errors
/// All that is wrong with it, in the order of its lines.
pub fn parse(file: &Path, text: &str) -> Result<Config, Box<Problems>> {
    let mut problems = Problems::new(file, text);
    let config = sections::read_file(file, text, &mut problems);
    if let Some(config) = &config {
        check::check(config, &mut problems);
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(Box::new(problems.sorted())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> Vec<String> {
        match parse(Path::new("mail.toml"), text) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.lines().collect(),
        }
    }

    const SMALL: &str = "hostname = \"mail.example.com\"\n[[domain]]\nname = \"example.com\"\n";

    #[test]
    fn six_lines_suffice() {
        let config = parse(Path::new("mail.toml"), SMALL).expect("valid");
        assert_eq!(config.hostname.as_str(), "mail.example.com");
        assert_eq!(config.listen.smtp.len(), 1);
        assert_eq!(config.smtp.max_message_size.octets(), 50 << 20);
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        let text = "hostnam = \"mail.example.com\"\n[smtp]\nmax_message_size = \"a lot\"\ntimout = \"5m\"\n[[domain]]\nname = 7\n";
        let found = complaints(text);
        assert_eq!(
            found,
            [
                "mail.toml:1:1: hostname: missing; give the name of this server, for example hostname = \"mail.example.com\"",
                "mail.toml:1:1: hostnam: unknown key, probably `hostname` was meant",
                "mail.toml:3:20: smtp.max_message_size: \"a lot\" is not a size; write a number with KiB, MiB or GiB, for example \"50MiB\"",
                "mail.toml:4:1: smtp.timout: unknown key, probably `timeout` was meant",
                "mail.toml:6:8: domain.name: an integer, where a domain name was expected, for example \"example.com\"",
            ]
        );
    }

    #[test]
    fn duplicates_and_loops_are_found() {
        let account = |a: &str| format!("[[account]]\naddress = \"{a}\"\n");
        let found = complaints(&format!("{SMALL}{}{}", account("alice@example.com"), account("Alice@Example.com")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("mail.toml:7:11: account.address: Alice@example.com is there twice"), "{found:?}");
        let found = complaints(&format!("{SMALL}{}", account("bob@other.example")));
        assert!(found[0].contains("other.example is none of the domains"), "{found:?}");
        let found = complaints(&format!(
            "{SMALL}[aliases]\n\"a@example.com\" = \"b@example.com\"\n\"b@example.com\" = [\"a@example.com\"]\n"
        ));
        assert!(found.iter().any(|l| l.contains("leads back to itself")), "{found:?}");
        let found = complaints(&format!("{SMALL}[aliases]\n\"a@example.com\" = \"nobody@example.com\"\n"));
        assert!(found[0].contains("nobody@example.com is neither an account nor an alias"), "{found:?}");
    }

    #[test]
    fn aliases_of_all_kinds_are_checked() {
        let base = format!("{SMALL}alias_of = \"\"\n").replace("alias_of = \"\"\n", "[[domain]]\nname = \"example.org\"\nalias_of = \"example.com\"\n[[account]]\naddress = \"alice@example.com\"\n");
        let good = format!(
            "{base}[aliases]\n\"a@example.com\" = {{ to = [\"alice\", \":include:/etc/x\"], enabled = false, comment = \"old\" }}\n\
             \"b@example.org\" = \"alice+b@example.org\"\n\"@example.com\" = {{ to = \"alice\", except = [\"spam@example.com\"] }}\n\
             [[alias_pattern]]\npattern = '^x-(?P<n>.*)@example\\.com$'\nto = [\"$n@example.com\", \"alice@example.com\"]\n"
        );
        let config = parse(Path::new("mail.toml"), &good).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!((config.aliases.len(), config.alias_patterns.len()), (3, 1));
        let chain = |length: usize| {
            let link = |n| format!("\"n{n}@example.com\" = \"n{}\"\n", n + 1);
            let links: String = (1..length).map(link).collect();
            format!("{base}[aliases]\n{links}\"n{length}@example.com\" = \"alice\"\n")
        };
        assert_eq!(complaints(&chain(10)), [""; 0]);
        let deep = complaints(&chain(11));
        assert!(deep.len() == 1 && deep[0].contains("n1@example.com leads through more than 10 aliases"), "{deep:?}");
        for (wrong, words) in [
            (
                "[aliases]\n\"a@example.com\" = \"|/bin/sh\"\n",
                "10:19: aliases.a@example.com: \"|/bin/sh\" is a command",
            ),
            ("[aliases]\n\"a@example.com\" = { enabled = true }\n", "aliases.a@example.com.to: missing"),
            ("[aliases]\n\"a@example.com\" = { to = \"alice\", coment = \"x\" }\n", "probably `comment` was meant"),
            (
                "[aliases]\n\"a@example.com\" = { to = \"alice\", except = [\"b@example.com\"] }\n",
                "only for a whole domain",
            ),
            (
                "[aliases]\n\"@example.com\" = { to = \"alice\", except = [\"b@example.org\"] }\n",
                "is not in example.com",
            ),
            ("[aliases]\n\"@example.com\" = \"nobody\"\n", "leads back to itself"),
            ("[aliases]\n\"a@example.com\" = \"bob\"\n", "bob@example.com is neither an account nor an alias"),
            ("[aliases]\n\"@other.example\" = \"alice@example.com\"\n", "other.example is none of the domains"),
            ("[[alias_pattern]]\npattern = '('\nto = [\"alice@example.com\"]\n", "is not a pattern"),
            ("[[alias_pattern]]\npattern = '^x@example.com$'\nto = [\"$1@example.com\"]\n", "has no group \"1\""),
            ("[[alias_pattern]]\npattern = '^x@example.com$'\n", "stands for nobody"),
            (
                "[[alias_pattern]]\npattern = '^x@.*$'\nto = [\"|/bin/sh\"]\n",
                "11:7: alias_pattern.to: \"|/bin/sh\" is a command",
            ),
            (
                "[[alias_pattern]]\npattern = '^x-(.*)@.*$'\nto = [\"a $1\"]\n",
                "11:7: alias_pattern.to: \"a x\" is neither",
            ),
            ("[[alias_pattern]]\npattern = '^x@.*$'\nto = [\":include:/etc/x\"]\n", "cannot stand here"),
            ("[[alias_pattern]]\npattern = '^x@.*$'\nto = [\"nobody\"]\n", "nobody is neither an account nor an alias"),
            (
                "[[alias_pattern]]\npattern = '^x@.*$'\nto = [\"nobody@example.com\"]\n",
                "nobody@example.com is neither an account nor an alias",
            ),
            (
                "[aliases]\n\"a@example.com\" = \"nobody\"\n\"@example.com\" = { to = \"alice\", enabled = false }\n",
                "10:19: aliases.a@example.com: nobody@example.com is neither",
            ),
            (
                "[aliases]\n\"a@example.com\" = \"spam\"\n\"@example.com\" = { to = \"alice\", except = [\"spam@example.com\"] }\n",
                "10:19: aliases.a@example.com: spam@example.com is neither",
            ),
            (
                "[aliases]\n\"a@example.com\" = \"n-1\"\n[[alias_pattern]]\npattern = '^n-.*$'\nto = [\"alice@example.com\"]\nenabled = false\n",
                "10:19: aliases.a@example.com: n-1@example.com is neither",
            ),
            (
                "[[domain]]\nname = \"example.net\"\nalias_of = \"nowhere.example\"\n",
                "nowhere.example is none of the domains",
            ),
            ("[[domain]]\nname = \"example.net\"\nalias_of = \"example.org\"\n", "is an alias itself"),
            ("[directory]\naliases_file = \"aliases\"\n", "from the root on"),
        ] {
            let found = complaints(&format!("{base}{wrong}"));
            assert!(found.len() <= 2 && found.iter().any(|line| line.contains(words)), "{words}: {found:?}");
        }
    }

    #[test]
    fn a_relay_for_everybody_is_refused() {
        for network in ["0.0.0.0/0", "::/0"] {
            let found = complaints(&format!("{SMALL}[relay]\ntrusted_networks = [\"{network}\"]\n"));
            assert!(found[0].starts_with("mail.toml:5:20: relay.trusted_networks: "), "{found:?}");
            assert!(found[0].contains("open relay"), "{found:?}");
        }
    }

    #[test]
    fn a_quota_holds_any_message_that_may_come() {
        let found = complaints(&format!(
            "{SMALL}[[account]]\naddress = \"a@example.com\"\nquota_storage = \"1MiB\"\n\
             [quota]\nstorage = \"2MiB\"\nwarn = [80, 0]\n[smtp]\nmax_message_size = \"3MiB\"\n"
        ));
        let starts = [
            "mail.toml:6:17: account.quota_storage: ",
            "mail.toml:8:11: quota.storage: ",
            "mail.toml:9:8: quota.warn: ",
        ];
        assert_eq!(found.len(), starts.len(), "{found:?}");
        for (line, start) in found.iter().zip(starts) {
            assert!(line.starts_with(start), "{found:?}");
        }
        let own = "[[account]]\naddress = \"a@example.com\"\nquota_storage = 0\nquota_messages = 7\n";
        let text = format!("{SMALL}{own}[quota]\nstorage = \"50MiB\"\n");
        let config = parse(Path::new("mail.toml"), &text).expect("valid");
        let limits = config.quota.limits_of(&config.accounts[0]);
        assert_eq!((limits.octets, limits.messages, &*limits.warn), (0, 7, &[80, 95][..]));
    }

    #[test]
    fn rules_about_senders_that_cannot_work_are_found() {
        let found = |more: &str| complaints(&format!("{SMALL}{more}"));
        let own = "[[sender_policy]]\ndomain = \"a.example\"\n";
        assert_eq!(found(&format!("{own}dmarc = \"reject\"\n")), [""; 0]);
        for (more, place, what) in [
            (
                "[sender_auth]\nspf = \"off\"\ndkim = false\n".to_owned(),
                "sender_auth.dmarc",
                "every message would fail",
            ),
            (own.to_owned(), "sender_policy.domain", "says nothing"),
            (format!("{own}spf = \"mark\"\n").repeat(2), "sender_policy.domain", "is there twice"),
            (
                format!("{own}dmarc = \"mark\"\n[sender_auth]\ndmarc = \"off\"\n"),
                "sender_policy.dmarc",
                "nothing is checked",
            ),
            (format!("{own}spf = \"mark\"\n[sender_auth]\nspf = \"off\"\n"), "sender_policy.spf", "nothing is checked"),
            ("[sender_auth]\ndmarc = \"quarantene\"\n".to_owned(), "sender_auth.dmarc", "probably \"quarantine\""),
        ] {
            let found = found(&more);
            assert!(found.len() == 1 && found[0].contains(place) && found[0].contains(what), "{more} {found:?}");
        }
    }

    #[test]
    fn what_does_nothing_is_found() {
        let found = |more: &str| complaints(&format!("{SMALL}{more}"));
        let lines = found("[sender_auth]\narc = false\narc_trusted = [\"lists.example\"]\n");
        assert!(lines.len() == 1 && lines[0].starts_with("mail.toml:6:15: sender_auth.arc_trusted: "), "{lines:?}");
        let off = "[dns]\nresolver = \"off\"\n";
        assert_eq!(
            complaints(&example().replace("resolver = \"system\"", "resolver = \"off\"")),
            [""; 0],
            "defaults may stand"
        );
        let lines = found(&format!(
            "{off}[sender_auth]\nspf = \"reject\"\narc_trusted = [\"lists.example\"]\n[checks]\ndnsbl_junk = 1\n[[dnsbl]]\nzone = \"bad.example\"\n\
             [[sender_policy]]\ndomain = \"a.example\"\ndmarc = \"reject\"\n"
        ));
        let starts = [
            "mail.toml:7:7: sender_auth.spf: dns.resolver is \"off\"",
            "mail.toml:8:15: sender_auth.arc_trusted: ",
            "mail.toml:12:8: dnsbl.zone: ",
            "mail.toml:15:9: sender_policy.dmarc: ",
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:?}");
        for (line, start) in lines.iter().zip(starts) {
            assert!(line.starts_with(start), "{lines:?}");
        }
    }

    #[test]
    fn broken_syntax_is_reported_with_its_place() {
        let found = complaints("hostname = \"mail.example.com\n[[domain]]\nname = \"example.com\"\n");
        assert!(found[0].starts_with("mail.toml:1:"), "{found:?}");
    }

    #[test]
    fn the_example_in_the_repository_is_the_one_that_the_code_declares() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/example.toml");
        let there = std::fs::read_to_string(&file).expect("config/example.toml");
        assert!(there == example(), "config/example.toml differs; `facteur config defaults` prints the one expected");
    }

    #[test]
    fn the_example_is_valid_and_holds_the_defaults() {
        let config = parse(Path::new("example.toml"), &example()).expect("valid");
        let small = parse(Path::new("example.toml"), SMALL).expect("valid");
        assert_eq!(format!("{:?}", config.smtp), format!("{:?}", small.smtp));
        assert_eq!(format!("{:?}", config.limits), format!("{:?}", small.limits));
        assert_eq!(format!("{:?}", config.listen), format!("{:?}", small.listen));
    }
}
