//! `config/example.toml`, made from the declarations of the sections, so that it cannot be out of date.

use std::fmt::Write;

use super::sections::Auth;
use super::sections::BanKeys;
use super::sections::Checks;
use super::sections::DirectoryKeys;
use super::sections::Dns;
use super::sections::Greylist;
use super::sections::Imap;
use super::sections::Junk;
use super::sections::Key;
use super::sections::Limits;
use super::sections::Listen;
use super::sections::Lmtp;
use super::sections::Log;
use super::sections::Outbound;
use super::sections::Proxy;
use super::sections::Queue;
use super::sections::Quota;
use super::sections::Relay;
use super::sections::SenderAuth;
use super::sections::Smtp;
use super::sections::Storage;
use super::sections::Submission;
use super::sections::Tls;

const HEAD: &str = r#"# Every key of Facteur with its default and one sentence. Only `hostname`, a domain and an account are needed;
# `facteur check --config FILE` says what is wrong with a file, all at once.

# The name of this server, as in its PTR record: in the banner, in EHLO, in Received.
hostname = "mail.example.com"

# A domain whose mail is yours; one section for each.
[[domain]]
name = "example.com"
# The domain whose addresses this one has, too.
#alias_of = "example.org"

# Somebody with a mailbox; one section for each.
[[account]]
# The main address, which is also the name at login.
address = "alice@example.com"
# The hash of the password, as `facteur password` prints it; without one nobody can log in.
#password = "$argon2id$v=19$m=19456,t=2,p=1$..."
# More addresses that are delivered here.
aliases = []
# More addresses that this account may send as.
send_as = []
# Extensions of IMAP that are not announced to this account, for a mail program that stumbles over one.
imap_disable = []
# How much it may hold, where that is not what [quota] says.
#quota_storage = "1GiB"
#quota_messages = 0

# Addresses that stand for others, here or elsewhere; a name without a domain is one of the alias's own domain, and
# :include:/path is a file that lists addresses. An address is looked up here and among the accounts as it is, then
# without its +tag, then by the patterns below, then by the catch-all of its domain.
[aliases]
"postmaster@example.com" = ["alice@example.com"]
"info@example.com" = { to = ["alice"], enabled = true, comment = "on the web site" }
#"@example.com" = { to = ["alice"], except = ["spam@example.com"] }

# Addresses that follow a pattern, which fits whole addresses of your domains; one section for each.
#[[alias_pattern]]
#pattern = '^sales-(.*)@example\.com$'
#to = ["$1@example.com"]
"#;

const SENDER_POLICY: &str = r#"
# Other rules for mail whose From is of one domain or of those below it; one section for each.
#[[sender_policy]]
#domain = "example.net"
#spf = "reject"
#dmarc = "reject"
"#;

const DNSBL: &str = r#"
# A list that is asked by DNS whether it knows the address of a stranger; one section for each. What counts is the sum.
#[[dnsbl]]
# The list's domain. Many lists want to know who asks, and answer no public resolver.
#zone = "dnsbl.example.org"
# What being on it counts; less than nothing for a list of the good.
#weight = 1
# The answers that mean yes.
#answers = ["127.0.0.0/8"]
"#;

const MILTER: &str = r#"
# A content hook that speaks the milter protocol, as rspamd, ClamAV and OpenDKIM do; one section for each, asked in this
# order.
#[[milter]]
# Where it listens: unix:/path or inet:host:port.
#address = "unix:/run/rspamd/milter.sock"
# Which mail it sees: smtp for that of other servers, submission for that of your users.
#on = ["smtp", "submission"]
# How long it may think about one message.
#timeout = "60s"
# What becomes of a message where it gives no judgement: tempfail (the sender tries again), accept or junk.
#default_action = "tempfail"
# What becomes of a message that it refuses: refuse, or junk to file it in Junk.
#refused = "refuse"
"#;

/// The text of the example file: valid as it stands.
#[must_use]
pub fn example() -> String {
    let mut text = HEAD.to_owned();
    section(&mut text, "listen", Listen::ABOUT, Listen::KEYS);
    section(&mut text, "storage", Storage::ABOUT, Storage::KEYS);
    section(&mut text, "tls", Tls::ABOUT, Tls::KEYS);
    section(&mut text, "lmtp", Lmtp::ABOUT, Lmtp::KEYS);
    section(&mut text, "proxy", Proxy::ABOUT, Proxy::KEYS);
    section(&mut text, "smtp", Smtp::ABOUT, Smtp::KEYS);
    section(&mut text, "checks", Checks::ABOUT, Checks::KEYS);
    text.push_str(DNSBL);
    section(&mut text, "greylist", Greylist::ABOUT, Greylist::KEYS);
    text.push_str(MILTER);
    section(&mut text, "junk", Junk::ABOUT, Junk::KEYS);
    section(&mut text, "submission", Submission::ABOUT, Submission::KEYS);
    section(&mut text, "imap", Imap::ABOUT, Imap::KEYS);
    section(&mut text, "relay", Relay::ABOUT, Relay::KEYS);
    section(&mut text, "outbound", Outbound::ABOUT, Outbound::KEYS);
    section(&mut text, "queue", Queue::ABOUT, Queue::KEYS);
    section(&mut text, "quota", Quota::ABOUT, Quota::KEYS);
    section(&mut text, "dns", Dns::ABOUT, Dns::KEYS);
    section(&mut text, "sender_auth", SenderAuth::ABOUT, SenderAuth::KEYS);
    text.push_str(SENDER_POLICY);
    section(&mut text, "auth", Auth::ABOUT, Auth::KEYS);
    section(&mut text, "directory", DirectoryKeys::ABOUT, DirectoryKeys::KEYS);
    section(&mut text, "bans", BanKeys::ABOUT, BanKeys::KEYS);
    section(&mut text, "limits", Limits::ABOUT, Limits::KEYS);
    section(&mut text, "log", Log::ABOUT, Log::KEYS);
    text
}

fn section(text: &mut String, name: &str, about: &[&str], keys: &[Key]) {
    let mut line = |l: std::fmt::Arguments<'_>| writeln!(text, "{l}").is_ok();
    line(format_args!(""));
    for sentence in about {
        line(format_args!("#{sentence}"));
    }
    line(format_args!("[{name}]"));
    for key in keys {
        for sentence in key.sentence {
            line(format_args!("#{sentence}"));
        }
        line(format_args!("{} = {}", key.name, key.default));
    }
}
