//! `facteur try`: the configuration of a server to play with, its settings for people, its env file for programs.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use crate::admin::cli::TryArgs;
use crate::directory::hash_password;
use crate::fsio;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::secret::Secret;

/// The services of a try-out, with their usual ports.
const PORTS: [(&str, u16); 7] = [
    ("smtp", 25),
    ("submissions", 465),
    ("submission", 587),
    ("imap", 143),
    ("imaps", 993),
    ("pop3", 110),
    ("pop3s", 995),
];

/// Where outside mail goes, above the base port.
const SINK: u16 = 925;

/// The most accounts that a range may stand for.
const ACCOUNTS: usize = 100_000;

/// Accounts up to which each gets a welcome message; more are for load tests, where it would be in the way.
const WELCOMED: usize = 10;

/// A folder with a configuration, ready to be served.
#[derive(Debug)]
pub struct TryOut {
    args: TryArgs,
    folder: PathBuf,
    temporary: bool,
    fresh: bool,
    names: Vec<String>,
    sink: u16,
}

impl TryOut {
    /// Makes the folder and writes the configuration. The password is hashed once for all accounts.
    ///
    /// # Errors
    /// Words for the user: a bad list of accounts, a bad relay, or what the disk says.
    pub fn prepare(args: TryArgs) -> Result<Self, String> {
        let names = account_names(&args.accounts)?;
        for name in &names {
            let address = Address::parse(&format!("{name}@{}", args.domain));
            address.map_err(|error| format!("--accounts: {name:?}: {error}"))?;
        }
        if let Some(env) = &args.env {
            fsio::remove_if_there(env).map_err(|error| format!("--env {}: {error}", env.display()))?;
        }
        // Before there is a folder: a wrong option leaves nothing behind.
        let hash =
            hash_password(&Secret::new(args.password.clone())).map_err(|error| format!("--password: {error}"))?;
        let (relay, sink) = relay_of(&args)?;
        let temporary = args.dir.is_none();
        let folder = args.dir.clone().unwrap_or_else(|| {
            std::env::temp_dir().join(format!("facteur-try-{}-{}", args.base_port, std::process::id()))
        });
        let error = |error: io::Error| format!("{}: {error}", folder.display());
        fsio::create_dir_durably(&folder).map_err(error)?;
        let folder = folder.canonicalize().map_err(error)?;
        let config = folder.join("facteur.toml");
        let fresh = !config.exists();
        let text = configuration(&args, &folder, &names, &hash, &relay);
        fsio::replace(&config, text.as_bytes()).map_err(|error| format!("{}: {error}", config.display()))?;
        Ok(Self { args, folder, temporary, fresh, names, sink })
    }

    /// The configuration that was written.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("facteur.toml")
    }

    /// The accounts that get a welcome message: those of a small try-out that starts for the first time.
    #[must_use]
    pub fn welcome(&self) -> &[String] {
        if self.fresh && self.names.len() <= WELCOMED { &self.names } else { &[] }
    }

    /// The address of an account.
    ///
    /// # Errors
    /// Never for one of [`TryOut::welcome`].
    pub fn address(&self, name: &str) -> Result<Address, String> {
        let text = account_address(name, &self.args.domain);
        Address::parse(&text).map_err(|error| format!("{text}: {error}"))
    }

    /// The welcome message for an account, lines ended by LF.
    #[must_use]
    pub fn welcome_message(&self, name: &str, date: &str) -> String {
        let TryArgs { domain, base_port, .. } = &self.args;
        let other = self.names.iter().find(|n| *n != name).map_or(name, String::as_str);
        format!(
            "From: Facteur <postmaster@{domain}>\nTo: {name}@{domain}\nSubject: Welcome to Facteur\nDate: {date}\n\
             Message-ID: <welcome.{name}@{domain}>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n\
             This is a complete mail server on your own machine.\n\n\
             Point a mail program at 127.0.0.1: IMAP on port {imap} (TLS), sending on port {submission} (STARTTLS),\n\
             user {name}@{domain}. Then write to {other}@{domain}: the letter arrives at once.\n\n\
             Mail to the outside goes to port {sink} of this machine and never to the world.\n",
            imap = base_port + 993,
            submission = base_port + 587,
            sink = self.sink,
        )
    }

    /// What a person needs to set up a mail program.
    #[must_use]
    pub fn settings(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        let base = self.args.base_port;
        let port = |usual: u16| (base + usual).to_string();
        table.set_header(["", "port", "security"]);
        table.add_row(["IMAP", &port(993), "TLS"]);
        table.add_row(["IMAP", &port(143), self.clear("STARTTLS")]);
        table.add_row(["POP3", &port(995), "TLS"]);
        table.add_row(["POP3", &port(110), self.clear("STARTTLS")]);
        table.add_row(["sending", &port(465), "TLS"]);
        table.add_row(["sending", &port(587), self.clear("STARTTLS")]);
        table.add_row(["from other servers", &port(25), "none or STARTTLS"]);
        let users: Vec<String> = self.names.iter().take(3).map(|n| format!("{n}@{}", self.args.domain)).collect();
        let more = if self.names.len() > 3 { format!(" and {} more", self.names.len() - 3) } else { String::new() };
        format!(
            "Facteur is running. Server 127.0.0.1:\n{table}\nUsers: {}{more}; password: {}\nFolder: {}{}\n\
             Mail to the outside goes to {}. End with Ctrl-C.",
            users.join(", "),
            self.args.password,
            self.folder.display(),
            if self.temporary { " (removed at the end)" } else { "" },
            self.args.relay.clone().unwrap_or_else(|| format!("127.0.0.1:{}", self.sink)),
        )
    }

    fn clear(&self, security: &'static str) -> &'static str {
        if self.args.plaintext_login { "none or STARTTLS" } else { security }
    }

    /// Writes the env file, if one was asked for. `authority` is what the certificate verifies against.
    ///
    /// # Errors
    /// What the disk says.
    pub fn write_env(&self, authority: &Path, program: &Path) -> io::Result<()> {
        let Some(file) = &self.args.env else { return Ok(()) };
        let base = self.args.base_port;
        let port = |name: &str| PORTS.iter().find(|(n, _)| *n == name).map_or(0, |(_, p)| base + p).to_string();
        let path = |p: &Path| p.display().to_string();
        let config = path(&self.config());
        let program = quote(&path(program));
        let cold = format!("{program} mailbox forget --config {} \"$1\"", quote(&config));
        let lines = [
            ("VARIANT", "facteur".to_owned()),
            ("HOST", "127.0.0.1".to_owned()),
            ("DOMAIN", self.args.domain.to_string()),
            ("USERS", self.names.len().to_string()),
            ("PASSWORD", self.args.password.clone()),
            ("SMTP", port("smtp")),
            ("SMTPS", port("submissions")),
            ("SUBM", port("submission")),
            ("IMAP", port("imap")),
            ("IMAPS", port("imaps")),
            ("POP3", port("pop3")),
            ("POP3S", port("pop3s")),
            ("SINK", self.sink.to_string()),
            ("PIDS", std::process::id().to_string()),
            ("VHOSTS", path(&self.folder.join("mail").join(self.args.domain.as_str()))),
            ("CA", path(&authority.canonicalize()?)),
            ("CONFIG", config),
            ("QUEUE", path(&self.folder.join("queue"))),
            ("STATE", path(&self.folder.join("state"))),
            ("COLD", cold),
        ];
        let mut text = String::new();
        for (name, value) in lines {
            text.push_str(&format!("{name}={}\n", quote(&value)));
        }
        fsio::replace(file, text.as_bytes())
    }
}

impl Drop for TryOut {
    fn drop(&mut self) {
        let removed = if self.temporary { fsio::remove_dir_all(&self.folder) } else { Ok(()) };
        if let Err(error) = removed {
            tracing::warn!(folder = %self.folder.display(), %error, "the temporary folder stays");
        }
    }
}

/// A word for a POSIX shell.
fn quote(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:@%+,".contains(&b);
    if !value.is_empty() && value.bytes().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "'\\''"))
    }
}

/// `alice,user1..user3` as names.
fn account_names(list: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once("..") {
            None => names.push(item.to_owned()),
            Some((from, to)) => names.extend(
                range(from, to)
                    .ok_or_else(|| format!("--accounts: {item:?} is not a range; write for example user1..user100"))?,
            ),
        }
        if names.len() > ACCOUNTS {
            return Err(format!("--accounts: more than {ACCOUNTS} accounts"));
        }
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.to_lowercase()));
    if names.is_empty() { Err("--accounts: give at least one name".to_owned()) } else { Ok(names) }
}

fn range(from: &str, to: &str) -> Option<Vec<String>> {
    let split = |text: &str| {
        let word = text.trim_end_matches(|c: char| c.is_ascii_digit());
        Some((word.to_owned(), text[word.len()..].parse::<usize>().ok()?))
    };
    let ((word, first), (end_word, last)) = (split(from)?, split(to)?);
    let fits = (word == end_word || end_word.is_empty()) && first <= last && last - first < ACCOUNTS;
    fits.then(|| (first..=last).map(|n| format!("{word}{n}")).collect())
}

/// The relay as the configuration wants it, and its port.
fn relay_of(args: &TryArgs) -> Result<(String, u16), String> {
    let default = args.base_port + SINK;
    match args.relay.as_deref() {
        None => Ok((format!("[127.0.0.1]:{default}"), default)),
        Some("mx") => Ok((String::new(), default)),
        Some(text) => {
            let wrong = || format!("--relay: {text:?} is not HOST:PORT");
            let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
            let port: u16 = port.parse().map_err(|_| wrong())?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            Ok((format!("[{host}]:{port}"), port))
        }
    }
}

/// A text as a TOML string.
fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn configuration(args: &TryArgs, folder: &Path, names: &[String], hash: &str, relay: &str) -> String {
    let mut text = String::from("# Written by `facteur try` at every start.\n");
    let mut line = |l: String| text.push_str(&(l + "\n"));
    line(format!("hostname = \"mail.{}\"", args.domain));
    line(format!("\n[[domain]]\nname = \"{}\"", args.domain));
    line("\n[listen]".to_owned());
    for (name, port) in PORTS {
        line(format!("{name} = [\"127.0.0.1:{}\"]", args.base_port + port));
    }
    line(format!("\n[storage]\nfolder = {}", toml_text(&folder.display().to_string())));
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        let absolute =
            |p: &Path| toml_text(&std::path::absolute(p).unwrap_or_else(|_| p.to_owned()).display().to_string());
        line(format!("\n[tls]\ncert = {}\nkey = {}", absolute(cert), absolute(key)));
    }
    // On a try-out this machine is the world: nobody on it may relay.
    line("\n[relay]\ntrusted_networks = []".to_owned());
    // Whoever plays here greets in a few letters, and no name server knows his address.
    line("\n[checks]\nclient_fcrdns = \"off\"\nhelo_fqdn = \"off\"\nsender_domain = \"off\"".to_owned());
    line(format!("\n[outbound]\nrelay = {}", toml_text(relay)));
    line(format!("\n[dns]\nresolver = \"{}\"", args.dns.map_or("off".to_owned(), |dns: SocketAddr| dns.to_string())));
    line(format!("\n[auth]\nplaintext_login = {}", args.plaintext_login));
    if args.unlimited {
        line("\n[limits]".to_owned());
        for key in UNLIMITED {
            line(format!("{key} = 0"));
        }
    }
    for name in names {
        line(format!(
            "\n[[account]]\naddress = {}\npassword = \"{hash}\"",
            toml_text(&account_address(name, &args.domain))
        ));
    }
    text
}

fn account_address(name: &str, domain: &Domain) -> String {
    format!("{name}@{domain}")
}

/// The limits that `--unlimited` lifts: all of them that count a client or a user.
const UNLIMITED: [&str; 9] = [
    "smtp_connections_per_address",
    "smtp_connections_per_network",
    "smtp_connections_per_minute",
    "submission_connections_per_address",
    "waiting_connections_per_address",
    "mailbox_connections_per_user",
    "mailbox_connections_per_address",
    "connections",
    "failed_logins",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_accounts() {
        assert_eq!(account_names("alice, user9..user11,alice").expect("valid"), ["alice", "user9", "user10", "user11"]);
        assert_eq!(account_names("user1..user1000").expect("valid").len(), 1000);
        for bad in ["", ",", "user3..user1", "a..b", "user1..other3", "user0..user99999999"] {
            assert!(account_names(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_for_the_shell() {
        assert_eq!(quote("/var/lib/x-1"), "/var/lib/x-1");
        assert_eq!(quote("it's \"$1\""), "'it'\\''s \"$1\"'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn what_try_writes_is_a_valid_configuration() {
        use clap::Parser;
        let words = "facteur try --base-port 20000 --accounts alice,user1..user20 --unlimited --plaintext-login";
        let dir = tempfile::tempdir().expect("temporary folder");
        let cli = crate::admin::cli::Cli::try_parse_from(words.split(' ')).expect("valid");
        let crate::admin::cli::Command::Try(mut args) = cli.command else { panic!("try was typed") };
        args.dir = Some(dir.path().join("it's a folder"));
        let tried = TryOut::prepare(args).expect("prepared");
        let config = crate::config::load(&tried.config()).expect("valid");
        assert_eq!((config.accounts.len(), config.limits.failed_logins, config.limits.connections), (21, 0, 0));
        assert!(config.relay.trusted_networks.is_empty() && config.auth.plaintext_login);
        assert!(tried.welcome().is_empty(), "twenty-one accounts are a load test");
    }
}
