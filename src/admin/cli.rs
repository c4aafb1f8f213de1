//! The command line: what can be typed, and its help.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::Parser;
use clap::Subcommand;

use crate::mail::address::Domain;

/// An all-in-one mail server: SMTP, IMAP and POP3 over plain Maildir.
#[derive(Debug, Parser)]
#[command(name = "facteur", version, max_term_width = 100, after_help = "Example: facteur try")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", env = "FACTEUR_CONFIG", default_value = "/etc/facteur/facteur.toml")]
    pub config: PathBuf,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the mail server in the foreground.
    ///
    /// SIGHUP reads the configuration and the certificate again; SIGTERM ends running transactions, then the server.
    #[command(after_help = "Example: facteur serve --config /etc/facteur/facteur.toml")]
    Serve(ConfigFile),
    /// Run a complete mail server on high ports of this machine, to try it or to test against it.
    ///
    /// Each port is the base port plus the usual number: 10025 is SMTP, 10143 IMAP, and so on. Mail between the
    /// accounts works at once; nothing leaves this machine.
    #[command(after_help = "Example: facteur try --base-port 20000 --accounts alice,bob")]
    Try(TryArgs),
    /// Say what is wrong with a configuration, all at once.
    ///
    /// Flaws of the alias files that it names are warnings: the server starts, and leaves out what it cannot understand.
    #[command(after_help = "Example: facteur check --config facteur.toml")]
    Check {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// Fail for flaws of alias files, too.
        #[arg(long)]
        strict: bool,
    },
    /// Read a password and print its Argon2id hash for the configuration.
    #[command(after_help = "Example: facteur password\n         echo -n secret | facteur password")]
    Password,
    /// Look at the mail that waits for another server, or send it now.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Look at aliases.
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Keep networks from logging in, or let them again.
    #[command(subcommand)]
    Ban(BanCommand),
    /// Say why the server does what it does.
    #[command(subcommand)]
    Explain(ExplainCommand),
    /// Show configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Work on mailboxes.
    #[command(subcommand)]
    Mailbox(MailboxCommand),
}

/// The commands below `queue`.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List the mail that waits.
    #[command(after_help = "Example: facteur queue list --json")]
    List {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// One JSON object per message, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Try all waiting mail again now.
    #[command(after_help = "Example: facteur queue flush")]
    Flush(ConfigFile),
}

/// The commands below `alias`.
#[derive(Debug, Subcommand)]
pub enum AliasCommand {
    /// List all aliases: of the configuration, of the aliases file, patterns, whole domains.
    #[command(after_help = "Example: facteur alias list")]
    List {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// One JSON object per alias, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Show where mail for an address goes, step by step.
    ///
    /// The last line says what the server does with it. The exit code is 0 where mail is taken, 67 where it is refused, 75
    /// where it is refused for now: a list cannot be read, or there are too many addresses.
    #[command(after_help = "Example: facteur alias show team@example.com")]
    Show {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// The address; a name without a domain is one of the first domain.
        address: String,
        /// A JSON object with all steps, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// The commands below `ban`.
#[derive(Debug, Subcommand)]
pub enum BanCommand {
    /// List the networks that may not log in, with the reason and the end.
    #[command(after_help = "Example: facteur ban list")]
    List {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// One JSON object per ban, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Keep a network from logging in by IMAP, POP3 and submission; mail from it is still taken on port 25.
    ///
    /// In force at once, for everybody there; only networks of bans.allow and relay.trusted_networks stay open.
    #[command(after_help = "Example: facteur ban add 192.0.2.0/24 --for 1h --reason \"guesses passwords\"")]
    Add {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// An address, or a network such as 192.0.2.0/24.
        network: String,
        /// For how long: a number with s, m, h or d.
        #[arg(long = "for", value_name = "TIME", default_value = "1d")]
        lasts: String,
        /// Why, for whoever reads the list.
        #[arg(long, value_name = "TEXT", default_value = "by hand")]
        reason: String,
    },
    /// Let a network log in again, and forget what was counted there.
    #[command(after_help = "Example: facteur ban remove 192.0.2.0/24")]
    Remove {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// The address or network, as the list shows it.
        network: String,
    },
}

/// The commands below `explain`.
#[derive(Debug, Subcommand)]
pub enum ExplainCommand {
    /// Show what a client on port 25 would be told, rule by rule.
    ///
    /// DNS is asked now, nothing is changed. The exit code is 0 where the recipient is taken, 75 where he is refused for
    /// now, 77 where he, or the message, is refused for good.
    #[command(
        after_help = "Example: facteur explain smtp --ip 192.0.2.7 --helo mx.example.org --from bob@example.org --to alice@example.com --message saved.eml"
    )]
    Smtp(ExplainSmtp),
}

/// A client, as it would come to port 25.
#[derive(Debug, Args)]
pub struct ExplainSmtp {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Its address.
    #[arg(long, value_name = "ADDRESS")]
    pub ip: IpAddr,
    /// What it calls itself.
    #[arg(long, value_name = "NAME")]
    pub helo: String,
    /// The sender; empty for a notice.
    #[arg(long, value_name = "ADDRESS")]
    pub from: String,
    /// The recipient.
    #[arg(long, value_name = "ADDRESS")]
    pub to: String,
    /// A message as it was received, to show what DKIM, DMARC and ARC say of it, and what follows.
    #[arg(long, value_name = "FILE")]
    pub message: Option<PathBuf>,
    /// One JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// The commands below `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every key with its default and one sentence.
    #[command(after_help = "Example: facteur config defaults > facteur.toml")]
    Defaults,
}

/// The commands below `mailbox`.
#[derive(Debug, Subcommand)]
pub enum MailboxCommand {
    /// List the mailboxes of an account.
    #[command(after_help = "Example: facteur mailbox list alice@example.com")]
    List {
        /// Whose.
        #[command(flatten)]
        accounts: AccountChoice,
        /// One JSON object per mailbox, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Show all about one mailbox.
    #[command(after_help = "Example: facteur mailbox status alice@example.com --mailbox Sent")]
    Status {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// The address of the account, or its user part where only one domain has it.
        account: String,
        /// The mailbox.
        #[arg(long, value_name = "NAME", default_value = "INBOX")]
        mailbox: String,
        /// A JSON object, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Look for what is wrong with mailboxes; with --repair, repair what can be repaired safely.
    ///
    /// Looking changes nothing. Repairing never deletes a message and never changes a UID that is known. The exit code
    /// is 0 where no errors are left, 1 where there are.
    #[command(
        after_help = "Example: facteur mailbox fsck --all\n         facteur mailbox fsck alice@example.com --repair"
    )]
    Fsck {
        /// Whose.
        #[command(flatten)]
        accounts: AccountChoice,
        /// Only this mailbox.
        #[arg(long, value_name = "NAME")]
        mailbox: Option<String>,
        /// Repair what can be repaired safely.
        #[arg(long)]
        repair: bool,
        /// One JSON object per finding, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Drop all that was derived from mailboxes, and make it anew.
    #[command(after_help = "Example: facteur mailbox reindex alice@example.com")]
    Reindex {
        /// Whose.
        #[command(flatten)]
        accounts: AccountChoice,
        /// Only this mailbox.
        #[arg(long, value_name = "NAME")]
        mailbox: Option<String>,
        /// One JSON object per mailbox, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Bring mail in.
    #[command(subcommand)]
    Import(ImportCommand),
    /// Bring mail out.
    #[command(subcommand)]
    Export(ExportCommand),
    /// Make the running server forget what it has derived from a Maildir, and read it again at next use.
    #[command(after_help = "Example: facteur mailbox forget /var/lib/facteur/mail/example.com/alice")]
    Forget {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// The Maildir of an account.
        maildir: PathBuf,
    },
}

/// The commands below `mailbox import`.
#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// Bring in a Maildir with its subfolders: messages, flags, keywords and dates.
    ///
    /// Maildir++ or Dovecot's LAYOUT=fs, compressed or not. Nothing is changed there. What is in the account stays; a
    /// second import brings a second copy.
    #[command(after_help = "Example: facteur mailbox import maildir alice@example.com /home/alice/Maildir")]
    Maildir {
        /// Whereto.
        #[command(flatten)]
        into: ImportInto,
        /// The Maildir.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Bring in an mbox file; - is standard input.
    #[command(
        after_help = "Example: facteur mailbox import mbox alice@example.com old.mbox --mailbox Archive\n         \
        zcat old.mbox.gz | facteur mailbox import mbox alice@example.com -"
    )]
    Mbox {
        /// Whereto.
        #[command(flatten)]
        into: ImportInto,
        /// The file.
        file: PathBuf,
    },
}

/// Where imported mail goes.
#[derive(Debug, Args)]
pub struct ImportInto {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The address of the account, or its user part where only one domain has it.
    pub account: String,
    /// The mailbox, which is made when missing; INBOX by default. Subfolders go below it.
    #[arg(long, value_name = "NAME")]
    pub mailbox: Option<String>,
    /// The summary as a JSON object, for programs.
    #[arg(long)]
    pub json: bool,
}

/// The commands below `mailbox export`.
#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Write a mailbox to an mbox file, or each mailbox to a file in a folder.
    ///
    /// The form is mboxrd, with flags and keywords in Status, X-Status and X-Keywords.
    #[command(after_help = "Example: facteur mailbox export mbox alice@example.com /backup/alice\n         \
        facteur mailbox export mbox alice@example.com --mailbox Sent - | gzip > sent.mbox.gz")]
    Mbox {
        /// Where the configuration is.
        #[command(flatten)]
        config: ConfigFile,
        /// The address of the account, or its user part where only one domain has it.
        account: String,
        /// Where to write: with --mailbox a file or - for standard output, without it a folder.
        to: PathBuf,
        /// Only this mailbox.
        #[arg(long, value_name = "NAME")]
        mailbox: Option<String>,
        /// Replace files that are there.
        #[arg(long)]
        force: bool,
        /// The summary as a JSON object, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// One account, or all.
#[derive(Debug, Args)]
pub struct AccountChoice {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The address of the account, or its user part where only one domain has it.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub account: Option<String>,
    /// All accounts of the configuration.
    #[arg(long)]
    pub all: bool,
}

/// How to try it out.
#[derive(Debug, Clone, Args)]
pub struct TryArgs {
    /// Keep everything in this folder, and go on with what is there; without it a temporary one is used and removed.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Each port is this plus the usual number.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(1..=64_540))]
    pub base_port: u16,
    /// The mail domain of the accounts.
    #[arg(long, value_name = "NAME", default_value = "example.test", value_parser = domain)]
    pub domain: Domain,
    /// The accounts, separated by commas; user1..user1000 stands for a thousand.
    #[arg(long, value_name = "LIST", default_value = "alice,bob")]
    pub accounts: String,
    /// The password of all accounts.
    #[arg(long, value_name = "TEXT", default_value = "secret")]
    pub password: String,
    /// Where all outside mail goes; the default is 127.0.0.1 and the base port plus 925, so that nothing is written to
    /// the world. "mx" delivers by the MX records that --dns answers.
    #[arg(long, value_name = "HOST:PORT")]
    pub relay: Option<String>,
    /// Who answers name look-ups; without it nothing is looked up.
    #[arg(long, value_name = "HOST:PORT")]
    pub dns: Option<SocketAddr>,
    /// Lift the limits per client address and per user on connections, rates and failed logins, for load tests.
    #[arg(long)]
    pub unlimited: bool,
    /// Allow logins without TLS.
    #[arg(long)]
    pub plaintext_login: bool,
    /// A certificate to use in place of the one that is made.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Write ports, folders and the like to this file when all ports answer, as NAME=value for a shell.
    #[arg(long, value_name = "FILE")]
    pub env: Option<PathBuf>,
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_every_command_gives_an_example() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        let mut open = vec![&cli];
        while let Some(command) = open.pop() {
            let leaf = command.get_subcommands().next().is_none();
            assert!(
                !leaf || command.get_name() == "help" || command.get_after_help().is_some(),
                "{}",
                command.get_name()
            );
            open.extend(command.get_subcommands().filter(|c| c.get_name() != "help"));
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        assert!(Cli::try_parse_from(["facteur", "try", "--cert", "x"]).is_err());
        assert!(Cli::try_parse_from(["facteur", "try", "--base-port", "65000"]).is_err());
    }
}
