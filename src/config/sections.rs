//! Every section of the file: its keys, their defaults as they would be written, and their sentence for the example.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeTable;
use toml::de::DeValue;

use super::Config;
use super::alias::read_aliases;
use super::alias::read_pattern;
use super::problem::Problems;
use super::read::Table;
use super::value::Banner;
use super::value::BareNewline;
use super::value::ByteSize;
use super::value::CheckAction;
use super::value::DmarcPolicy;
use super::value::HookFailure;
use super::value::HookOn;
use super::value::HookRefusal;
use super::value::Layout;
use super::value::Level;
use super::value::ListenAddress;
use super::value::MilterAddress;
use super::value::OutboundTls;
use super::value::RelayHost;
use super::value::Resolver;
use super::value::Span;
use super::value::SpfPolicy;
use super::value::Value;
use super::value::read;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::local_key;
use crate::mail::capability::ImapCapability;
use crate::mail::mailbox::Separator;
use crate::mail::quota::QuotaLimits;
use crate::mail::secret::Secret;

/// A key as the example shows it.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// As it would be written in the file.
    pub(super) default: &'static str,
    pub(super) sentence: &'static [&'static str],
}

/// A default that is written in this file: the tests read them all.
#[expect(clippy::expect_used, reason = "a constant of this file; `example` reads every one of them in a test")]
fn default<T: Value>(text: &str) -> T {
    read(DeValue::parse(text).expect("a default is valid TOML").get_ref()).expect("a default is a valid value")
}

#[expect(clippy::expect_used, reason = "a constant of this file; `example` reads every one of them in a test")]
fn default_list<T: Value>(text: &str) -> Vec<T> {
    let parsed = DeValue::parse(text).expect("a default is valid TOML");
    let items = parsed.get_ref().as_array().expect("a default of a list is a list");
    items.iter().map(|item| read(item.get_ref()).expect("a default is a valid value")).collect()
}

/// Declares a section: the struct, how it is read, and its keys for the example. `list` marks a key that takes
/// several values.
macro_rules! section {
    ($(#[doc = $about:literal])* $name:ident { $( $(#[doc = $sentence:literal])* $key:ident : $kind:tt $type:ty = $default:literal, )* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone)]
        pub struct $name { $( $(#[doc = $sentence])* pub $key: section!(@type $kind $type), )* }

        impl $name {
            pub(super) const ABOUT: &'static [&'static str] = &[$($about),*];
            pub(super) const KEYS: &'static [Key] = &[
                $( Key { name: stringify!($key), default: $default, sentence: &[$($sentence),*] } ),*
            ];

            fn read(mut table: Table<'_, '_>) -> Self {
                $( let $key = section!(@read $kind $type, table, stringify!($key), $default); )*
                table.finish();
                Self { $( $key ),* }
            }
        }
    };
    (@type one $type:ty) => { $type };
    (@type list $type:ty) => { Vec<$type> };
    (@read one $type:ty, $table:ident, $key:expr, $default:literal) => {
        $table.value::<$type>($key).map_or_else(|| default($default), |span| span.value)
    };
    (@read list $type:ty, $table:ident, $key:expr, $default:literal) => {
        $table.list::<$type>($key).map_or_else(|| default_list($default), |list| list.into_iter().map(|s| s.value).collect())
    };
}

section! {
    /// Where the server listens; an empty list switches a port off.
    Listen {
        /// Mail from other servers.
        smtp: list ListenAddress = "[\"[::]:25\"]",
        /// Mail from your own clients, with STARTTLS.
        submission: list ListenAddress = "[\"[::]:587\"]",
        /// Mail from your own clients, TLS from the first byte.
        submissions: list ListenAddress = "[\"[::]:465\"]",
        /// Mailboxes by IMAP, with STARTTLS.
        imap: list ListenAddress = "[\"[::]:143\"]",
        /// Mailboxes by IMAP, TLS from the first byte.
        imaps: list ListenAddress = "[\"[::]:993\"]",
        /// The inbox by POP3, with STLS.
        pop3: list ListenAddress = "[\"[::]:110\"]",
        /// The inbox by POP3, TLS from the first byte.
        pop3s: list ListenAddress = "[\"[::]:995\"]",
    }
}

section! {
    /// Where mail lies.
    Storage {
        /// The folder for everything that the server keeps: queue/, keys/, state/ and, unless said otherwise, the mail.
        folder: one PathBuf = "\"/var/lib/facteur\"",
        /// The Maildir of an account; {domain} and {user} are filled in, and what is not absolute lies in the folder above.
        maildir: one String = "\"mail/{domain}/{user}\"",
        /// How mailboxes lie in it: maildir++, or fs for trees of a Dovecot with LAYOUT=fs; takes a restart.
        layout: one Layout = "\"maildir++\"",
    }
}

section! {
    /// The server's certificate; without one, a self-signed one is made and kept in keys/.
    Tls {
        /// A PEM file with the certificate and its chain; it is read again when it changes.
        cert: one Option<PathBuf> = "\"\"",
        /// A PEM file with its private key.
        key: one Option<PathBuf> = "\"\"",
    }
}

section! {
    /// Mail for your mailboxes from another mail server of yours, by LMTP.
    Lmtp {
        /// Where to listen for it over TCP; only networks that relay.trusted_networks names may connect.
        listen: list ListenAddress = "[]",
        /// The path of a Unix socket for it; empty for none.
        socket: one Option<PathBuf> = "\"\"",
        /// The permissions of the socket, in octal.
        mode: one String = "\"0600\"",
        /// Who owns the socket: user or user:group; empty for the user that the server runs as.
        owner: one String = "\"\"",
    }
}

section! {
    /// Proxies that say by the PROXY protocol who is behind them.
    Proxy {
        /// Their networks; a connection from there must begin with a header of the protocol, version 1 or 2.
        networks: list IpNet = "[]",
    }
}

section! {
    /// Mail from other servers.
    Smtp {
        /// The largest message, also for submission and for IMAP APPEND.
        max_message_size: one ByteSize = "\"50MiB\"",
        /// What the greeting says after the host name; the less it tells, the better.
        banner: one Banner = "\"ESMTP\"",
        /// How long a peer may be silent.
        timeout: one Duration = "\"5m\"",
        /// What to do with a bare CR or LF in a message of a stranger: reject or normalise.
        bare_newline: one BareNewline = "\"reject\"",
        /// Refuse mail for now when less than this, or twice the size of the message, is free on the disk.
        min_free: one ByteSize = "\"8MiB\"",
        /// Separates a tag from the user: mail to user+tag@ goes to user@.
        delimiter: one String = "\"+\"",
    }
}

section! {
    /// What strangers have to fulfil on port 25; trusted networks and users who have logged in are exempt. Each is
    /// reject, tempfail (refused for now), junk (filed in Junk), mark (only logged) or off. `facteur explain smtp` shows
    /// what a client, its HELO and its addresses come to.
    Checks {
        /// The client's address has a name, and the name has the address.
        client_fcrdns: one CheckAction = "\"tempfail\"",
        /// HELO names a host, or an address in brackets.
        helo_syntax: one CheckAction = "\"reject\"",
        /// That host is named with its domain.
        helo_fqdn: one CheckAction = "\"reject\"",
        /// The sender's domain is a whole one.
        sender_fqdn: one CheckAction = "\"reject\"",
        /// The sender's domain exists and takes mail, so that it can be answered.
        sender_domain: one CheckAction = "\"tempfail\"",
        /// The recipient's domain is a whole one; for users too.
        recipient_fqdn: one CheckAction = "\"reject\"",
        /// A recipient's domain elsewhere exists and takes mail: for users alone, who learn of a slip at once.
        recipient_domain: one CheckAction = "\"tempfail\"",
        /// The sum of the weights of all lists that he is on (dnsbl, below) that refuses a stranger; 0 for never.
        dnsbl_reject: one u32 = "0",
        /// The sum that files his mail in Junk; 0 for never.
        dnsbl_junk: one u32 = "0",
    }
}

section! {
    /// Greylisting: who is new is asked to come again, which most junk never does.
    Greylist {
        /// Whether it is done. A client whose mail passes SPF is known by the sender's domain, any other by its IPv4 /24
        /// or IPv6 /64.
        enabled: one bool = "false",
        /// How soon the second try may come.
        delay: one Duration = "\"5m\"",
        /// How late.
        window: one Duration = "\"2d\"",
        /// For how long whoever came again is known after his last mail.
        known: one Duration = "\"35d\"",
    }
}

section! {
    /// Mail from your own clients.
    Submission {
        /// Take mail of users also for recipients here that nobody is, and tell them by a notice instead of at once.
        accept_unlisted: one bool = "false",
        /// Show AUTH also as AUTH=, for clients from the last century.
        legacy_auth_line: one bool = "false",
    }
}

section! {
    /// Mailboxes by IMAP.
    Imap {
        /// What clients see between the parts of a mailbox name: / or .; keep what the server before this one had.
        separator: one Separator = "\"/\"",
        /// Extensions that are not announced to clients, by their names, for example "QRESYNC".
        disable: list ImapCapability = "[]",
    }
}

section! {
    /// Who else may send to the world through this server.
    Relay {
        /// Networks that may send without logging in.
        trusted_networks: list IpNet = "[\"127.0.0.0/8\", \"::1/128\"]",
    }
}

section! {
    /// Mail to other servers.
    Outbound {
        /// A server that takes all outside mail, as `[host]:port`, or host:port to use its MX records; empty to deliver by MX.
        relay: one Option<RelayHost> = "\"\"",
        /// TLS towards other servers: opportunistic or off.
        tls: one OutboundTls = "\"opportunistic\"",
        /// The port of other servers.
        port: one u16 = "25",
        /// Messages under way at once.
        concurrency: one u32 = "100",
        /// Messages under way at once to one destination.
        concurrency_per_destination: one u32 = "20",
        /// How long a connection may take to come up.
        connect_timeout: one Duration = "\"30s\"",
    }
}

section! {
    /// Mail that waits.
    Queue {
        /// The first wait after a failed attempt; it doubles from attempt to attempt.
        retry_min: one Duration = "\"300s\"",
        /// The longest wait.
        retry_max: one Duration = "\"4000s\"",
        /// After this time the sender is told that it failed.
        lifetime: one Duration = "\"5d\"",
    }
}

section! {
    /// How much an account may hold in all its mailboxes, unless the account says otherwise; 0 for no limit.
    Quota {
        /// Octets, at least smtp.max_message_size.
        storage: one ByteSize = "\"0\"",
        /// Messages.
        messages: one u32 = "0",
        /// At how many percent of either the owner is told by mail; an empty list for never.
        warn: list u32 = "[80, 95]",
    }
}

section! {
    /// Name look-ups.
    Dns {
        /// Who answers them: system, off, or an address such as 127.0.0.1:53.
        resolver: one Resolver = "\"system\"",
        /// How long one question may take.
        timeout: one Duration = "\"5s\"",
    }
}

section! {
    /// Who really sent a message that comes from elsewhere: SPF, DKIM, DMARC and ARC.
    SenderAuth {
        /// What SPF does where DMARC does not pass: off, mark (say so in the header) or reject (refuse what the domain disowns).
        spf: one SpfPolicy = "\"mark\"",
        /// Whether DKIM signatures are verified.
        dkim: one bool = "true",
        /// What a failure of DMARC does: off, mark, quarantine (to Junk what the domain wants refused or suspected) or reject.
        /// With the last two, mail whose pass only DNS keeps in doubt is refused for now.
        dmarc: one DmarcPolicy = "\"quarantine\"",
        /// Whether the seals of mailing lists and forwarders (ARC) are verified.
        arc: one bool = "true",
        /// Sealers that are believed when they say that a message passed on its way to them, for example "lists.example.org".
        arc_trusted: list Domain = "[]",
    }
}

section! {
    /// Logins.
    Auth {
        /// Allow logins without TLS, from this machine only; for tests.
        plaintext_login: one bool = "false",
    }
}

section! {
    /// Networks that may not log in. Too many failed logins ban an address for ten minutes, then an hour, then a day.
    BanKeys {
        /// Networks that are never banned, beside relay.trusted_networks and proxy.networks: your office, a webmail server.
        allow: list IpNet = "[]",
    }
}

section! {
    /// Where addresses lead, beside what the section of aliases says.
    DirectoryKeys {
        /// A file as Postfix and sendmail have it, usually /etc/aliases, for the names of this host and of the first domain; empty for none.
        aliases_file: one Option<PathBuf> = "\"\"",
        /// Give mail that an alias sends elsewhere a sender of our first domain (SRS), so that SPF does not stop it there.
        srs: one bool = "true",
    }
}

section! {
    /// Limits on connections and logins; 0 lifts one. Trusted networks are exempt from the first three.
    Limits {
        /// Connections at once to port 25 from one IPv4 address or IPv6 /64.
        smtp_connections_per_address: one u32 = "20",
        /// Connections at once to port 25 from one IPv6 /48.
        smtp_connections_per_network: one u32 = "100",
        /// New connections to port 25 a minute from one IPv4 address or IPv6 /64.
        smtp_connections_per_minute: one u32 = "60",
        /// Connections at once to the submission ports from one address.
        submission_connections_per_address: one u32 = "50",
        /// IMAP and POP3 connections from one address that have not logged in.
        waiting_connections_per_address: one u32 = "50",
        /// IMAP and POP3 connections of one user from one address.
        mailbox_connections_per_user: one u32 = "30",
        /// IMAP and POP3 connections from one address.
        mailbox_connections_per_address: one u32 = "1000",
        /// Connections at once in all.
        connections: one u32 = "20000",
        /// Failed logins from one IPv4 address or IPv6 /64 within ten minutes before it is banned; three times as many accounts tried from a /24 or /48 ban that, ten times as many failures of one account close it where its owner is not known.
        failed_logins: one u32 = "10",
    }
}

section! {
    /// The log goes to standard output, where journald takes it.
    Log {
        /// error, warn, info or debug.
        level: one Level = "\"info\"",
    }
}

/// A domain whose mail is ours.
#[derive(Debug, Clone)]
pub struct DomainEntry {
    /// Its name.
    pub name: Span<Domain>,
    /// The domain whose addresses it has, too.
    pub alias_of: Option<Span<Domain>>,
}

/// Somebody with a mailbox.
#[derive(Debug, Clone)]
pub struct AccountEntry {
    /// The main address, which is also the name at login.
    pub address: Span<Address>,
    /// The hash of the password, as `facteur password` prints it; without one nobody can log in.
    pub password: Option<Span<Secret<String>>>,
    /// More addresses that are delivered here.
    pub aliases: Vec<Span<Address>>,
    /// More addresses that this account may send as.
    pub send_as: Vec<Span<Address>>,
    /// Extensions of IMAP that are not announced to this account, beside those of `[imap]`.
    pub imap_disable: Vec<Span<ImapCapability>>,
    /// How many octets it may hold, 0 for no limit; where missing, what `[quota]` says.
    pub quota_storage: Option<Span<ByteSize>>,
    /// How many messages, in the same way.
    pub quota_messages: Option<Span<u32>>,
}

/// A list of addresses that is asked by DNS.
#[derive(Debug, Clone)]
pub struct DnsblEntry {
    /// Its domain.
    pub zone: Span<Domain>,
    /// What being on it counts; less than nothing for a list of the good.
    pub weight: i32,
    /// The answers that mean yes.
    pub answers: Vec<IpNet>,
}

/// A content hook.
#[derive(Debug, Clone)]
pub struct MilterEntry {
    /// Where it listens.
    pub address: Span<MilterAddress>,
    /// Which mail it sees.
    pub on: Vec<HookOn>,
    /// How long it may think about one message.
    pub timeout: Duration,
    /// What becomes of a message where it gives no judgement.
    pub default_action: HookFailure,
    /// What becomes of a message that it refuses.
    pub refused: HookRefusal,
}

section! {
    /// Mail that belongs into Junk.
    Junk {
        /// Fields by which a milter says so, as it adds them; those that come with a message count nothing.
        marks: list String = "[\"X-Spam: Yes\", \"X-Spam-Flag: Yes\", \"X-Spam-Status: Yes\"]",
    }
}

/// Other rules than those of `[sender_auth]` for the authors of one domain and of those below it.
#[derive(Debug, Clone)]
pub struct SenderPolicyEntry {
    /// The domain in `From`.
    pub domain: Span<Domain>,
    /// What SPF does.
    pub spf: Option<Span<SpfPolicy>>,
    /// What a failure of DMARC does.
    pub dmarc: Option<Span<DmarcPolicy>>,
}

impl Value for Secret<String> {
    const EXPECTED: &'static str = "a password hash was expected; `facteur password` makes one";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        value.as_str().map(|text| {
            if text.starts_with("$argon2id$") && argon2::password_hash::phc::PasswordHash::new(text).is_ok() {
                Ok(Self::new(text.to_owned()))
            } else {
                Err("this is not an Argon2id hash; `facteur password` makes one".to_owned())
            }
        })
    }
}

/// Reads a whole file. `None` where what is missing leaves nothing to check further.
pub(super) fn read_file(file: &Path, text: &str, problems: &mut Problems) -> Option<Config> {
    let (parsed, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.add(error.span().map_or(0, |span| span.start), "", error.message().replace('\n', ", "));
    }
    if !errors.is_empty() {
        return None;
    }
    let mut top = Table::top(parsed.get_ref(), problems);
    let hint = "give the name of this server, for example hostname = \"mail.example.com\"";
    let hostname = top.required::<Domain>("hostname", hint);
    let config = Config {
        file: file.to_owned(),
        hostname: hostname.as_ref().map_or_else(|| default("\"localhost\""), |h| h.value.clone()),
        domains: top.sections("domain", read_domain),
        accounts: top.sections("account", read_account),
        aliases: top.section("aliases", read_aliases),
        alias_patterns: top.sections("alias_pattern", read_pattern),
        directory: top.section("directory", DirectoryKeys::read),
        bans: top.section("bans", BanKeys::read),
        listen: top.section("listen", Listen::read),
        storage: top.section("storage", Storage::read),
        tls: top.section("tls", Tls::read),
        lmtp: top.section("lmtp", Lmtp::read),
        proxy: top.section("proxy", Proxy::read),
        smtp: top.section("smtp", Smtp::read),
        checks: top.section("checks", Checks::read),
        dnsbl: top.sections("dnsbl", read_dnsbl),
        greylist: top.section("greylist", Greylist::read),
        milters: top.sections("milter", read_milter),
        junk: top.section("junk", Junk::read),
        submission: top.section("submission", Submission::read),
        imap: top.section("imap", Imap::read),
        relay: top.section("relay", Relay::read),
        outbound: top.section("outbound", Outbound::read),
        queue: top.section("queue", Queue::read),
        quota: top.section("quota", Quota::read),
        dns: top.section("dns", Dns::read),
        sender_auth: top.section("sender_auth", SenderAuth::read),
        sender_policies: top.sections("sender_policy", read_sender_policy),
        auth: top.section("auth", Auth::read),
        limits: top.section("limits", Limits::read),
        log: top.section("log", Log::read),
    };
    top.finish();
    Some(config)
}

fn read_domain(mut table: Table<'_, '_>) -> Option<DomainEntry> {
    let name = table.required("name", "give the name, for example name = \"example.com\"");
    let alias_of = table.value("alias_of");
    table.finish();
    name.map(|name| DomainEntry { name, alias_of })
}

fn read_sender_policy(mut table: Table<'_, '_>) -> Option<SenderPolicyEntry> {
    let domain = table.required("domain", "give the domain in From, for example domain = \"example.com\"");
    let spf = table.value("spf");
    let dmarc = table.value("dmarc");
    table.finish();
    domain.map(|domain| SenderPolicyEntry { domain, spf, dmarc })
}

fn read_dnsbl(mut table: Table<'_, '_>) -> Option<DnsblEntry> {
    let zone = table.required("zone", "give the list's domain, for example zone = \"dnsbl.example.org\"");
    let weight = table.value("weight").map_or(1, |weight| weight.value);
    let answers = table.list("answers").map(|list| list.into_iter().map(|net| net.value).collect());
    table.finish();
    zone.map(|zone| DnsblEntry { zone, weight, answers: answers.unwrap_or_else(|| default_list("[\"127.0.0.0/8\"]")) })
}

fn read_milter(mut table: Table<'_, '_>) -> Option<MilterEntry> {
    let hint = "say where it listens, for example address = \"unix:/run/rspamd/milter.sock\"";
    let address = table.required("address", hint);
    let on: Option<Vec<Span<HookOn>>> = table.list("on");
    let timeout = table.value("timeout").map_or_else(|| default("\"60s\""), |timeout| timeout.value);
    let default_action = table.value("default_action").map_or(HookFailure::TempFail, |action| action.value);
    let refused = table.value("refused").map_or(HookRefusal::Refuse, |refused| refused.value);
    table.finish();
    let on = on.map_or_else(|| vec![HookOn::Smtp, HookOn::Submission], |on| on.into_iter().map(|o| o.value).collect());
    address.map(|address| MilterEntry { address, on, timeout, default_action, refused })
}

fn read_account(mut table: Table<'_, '_>) -> Option<AccountEntry> {
    let address = table.required("address", "give the address, for example address = \"alice@example.com\"");
    let password = table.value("password");
    let aliases = table.list("aliases").unwrap_or_default();
    let send_as = table.list("send_as").unwrap_or_default();
    let imap_disable = table.list("imap_disable").unwrap_or_default();
    let quota_storage = table.value("quota_storage");
    let quota_messages = table.value("quota_messages");
    table.finish();
    address.map(|address| AccountEntry {
        address,
        password,
        aliases,
        send_as,
        imap_disable,
        quota_storage,
        quota_messages,
    })
}

impl Listen {
    /// Every listener with the name of its key.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let of = |name: &'static str, list: &[ListenAddress]| {
            list.iter().map(|address| (name, address.0)).collect::<Vec<_>>()
        };
        [
            of("smtp", &self.smtp),
            of("submission", &self.submission),
            of("submissions", &self.submissions),
            of("imap", &self.imap),
            of("imaps", &self.imaps),
            of("pop3", &self.pop3),
            of("pop3s", &self.pop3s),
        ]
        .into_iter()
        .flatten()
    }
}

impl Quota {
    /// What an account may hold.
    #[must_use]
    pub fn limits_of(&self, account: &AccountEntry) -> QuotaLimits {
        let warn = self.warn.iter().filter_map(|percent| u8::try_from(*percent).ok());
        QuotaLimits {
            octets: account.quota_storage.as_ref().map_or(self.storage, |own| own.value).octets(),
            messages: account.quota_messages.as_ref().map_or(self.messages, |own| own.value).into(),
            warn: warn.collect(),
        }
    }
}

impl Storage {
    /// The Maildir of an account. Only names that cannot leave the folder get here: see `check.rs`.
    #[must_use]
    pub fn maildir_of(&self, account: &Address) -> PathBuf {
        let user = local_key(account.local());
        let path = self.maildir.replace("{domain}", account.domain().as_str()).replace("{user}", &user);
        self.folder.join(path)
    }
}
