//! `facteur alias …`: which aliases there are, and where an address leads.
//!
//! Reads the configuration and the alias files as they are now, so it also shows what a running server will see next.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use crate::admin::cli::AliasCommand;
use crate::admin::commands;
use crate::admin::commands::EX_DATAERR;
use crate::admin::commands::EX_NOUSER;
use crate::admin::commands::EX_TEMPFAIL;
use crate::admin::commands::complain;
use crate::admin::commands::say;
use crate::clock::Clock;
use crate::config::Config;
use crate::directory::AliasFiles;
use crate::directory::Complaint;
use crate::directory::Destination;
use crate::directory::Directory;
use crate::directory::Resolution;
use crate::directory::Srs;
use crate::directory::Step;
use crate::fsio;
use crate::mail::address::Address;

/// Does what was typed.
#[must_use]
pub fn run(command: &AliasCommand) -> ExitCode {
    let done = match command {
        AliasCommand::List { config, json } => open(&config.config).map(|(_, directory)| list(&directory, *json)),
        AliasCommand::Show { config, address, json } => {
            open(&config.config).map(|(config, directory)| show(&config, &directory, address, *json))
        }
    };
    done.unwrap_or_else(|code| code)
}

/// The directory of a configuration as it is on the disk, and what is wrong with its alias files.
pub(super) fn look(config: &Config) -> (Directory, Vec<Complaint>) {
    let files = AliasFiles::load(config, None, SystemTime::UNIX_EPOCH);
    // Looking makes no key; where there is none, or it is not for this user, nothing was signed as far as we can tell.
    let key = config.storage.folder.join("keys").join("srs.key");
    let srs = fsio::is_regular(&key).then(|| Srs::open(&key, Clock::system())).and_then(Result::ok);
    (Directory::with(config, &files, srs.map(Arc::new)), files.complaints())
}

fn open(file: &Path) -> Result<(Config, Directory), ExitCode> {
    let config = commands::load(file)?;
    let (directory, complaints) = look(&config);
    complaints.iter().for_each(complain);
    Ok((config, directory))
}

fn list(directory: &Directory, json: bool) -> ExitCode {
    let all = directory.aliases();
    if json {
        all.iter().for_each(|alias| say(serde_json::json!(alias)));
        return ExitCode::SUCCESS;
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["alias", "kind", "leads to", "in force", "comment"]);
    for alias in &all {
        let enabled = if alias.enabled { "yes" } else { "no" };
        table.add_row([&alias.name, alias.kind, &alias.to.join("\n"), enabled, &alias.comment]);
    }
    say(format_args!("{table}\n{} aliases", all.len()));
    ExitCode::SUCCESS
}

fn show(config: &Config, directory: &Directory, typed: &str, json: bool) -> ExitCode {
    // A name without a domain is one of the first domain, as in the aliases file.
    let own = config.domains.first().map_or(&config.hostname, |domain| &domain.name.value);
    let address = Address::parse(typed).or_else(|_| Address::parse(&format!("{typed}@{own}")));
    let Ok(address) = address else {
        complain(format_args!("{typed:?} is not an address"));
        return ExitCode::from(EX_DATAERR);
    };
    let way = directory.way(&address);
    let (code, verdict) = verdict(directory, &address);
    if json {
        say(serde_json::json!(way));
    } else {
        say(format_args!("{}{verdict}", tree(&way)));
    }
    code
}

/// What the server would do with mail for an address: the exit code, and words. It is asked, not guessed from the way,
/// which shows also what is in force only in part.
fn verdict(directory: &Directory, address: &Address) -> (ExitCode, String) {
    let no = |what: &str| (ExitCode::from(EX_NOUSER), format!("mail is refused: {what}"));
    match directory.resolve(address) {
        Resolution::Local(to) => {
            let here = to.iter().filter(|to| matches!(to, Destination::Account(_))).count();
            let there = to.len() - here;
            (ExitCode::SUCCESS, format!("mail is taken: mailboxes here: {here}, addresses elsewhere: {there}"))
        }
        Resolution::Elsewhere => (ExitCode::SUCCESS, "not ours: mail goes there for those who may send it".to_owned()),
        Resolution::Unknown => no("nobody has this address"),
        Resolution::Expired => no("a sender that was rewritten too long ago"),
        Resolution::Trouble => {
            let why = directory.trouble(address).unwrap_or_default();
            (ExitCode::from(EX_TEMPFAIL), format!("mail is refused for now: {why}"))
        }
    }
}

/// The way as a tree, one address a line.
fn tree(way: &Step) -> String {
    let mut text = String::new();
    branch(way, "", "", &mut text);
    text
}

fn branch(step: &Step, first: &str, others: &str, text: &mut String) {
    let off = if step.enabled { "" } else { ", switched off" };
    let comment = if step.comment.is_empty() { String::new() } else { format!(" # {}", step.comment) };
    text.push_str(&format!("{first}{} ({}{off}){comment}\n", step.address, step.kind));
    for (n, next) in step.to.iter().enumerate() {
        let last = n + 1 == step.to.len();
        let (fork, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(next, &format!("{others}{fork}"), &format!("{others}{below}"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_a_tree() {
        let text = "hostname = \"mail.example.com\"\n[[domain]]\nname = \"example.com\"\n[[account]]\naddress = \"alice@example.com\"\n\
            [aliases]\n\"all@example.com\" = { to = [\"team\", \"x@far.example\"], comment = \"everybody\" }\n\"team@example.com\" = \"alice+t\"\n\
            \"off@example.com\" = { to = \"alice\", enabled = false }\n";
        let config = crate::config::parse(Path::new("t.toml"), text).expect("valid");
        let (directory, complaints) = look(&config);
        assert!(complaints.is_empty());
        let way = |text: &str| directory.way(&Address::parse(text).expect("valid"));
        assert_eq!(
            tree(&way("all@example.com")),
            "all@example.com (alias) # everybody\n├─ team@example.com (alias)\n│  └─ alice+t@example.com (alias)\n\
             │     └─ alice@example.com (account)\n└─ x@far.example (elsewhere)\n"
        );
        assert_eq!(tree(&way("off@example.com")).lines().next(), Some("off@example.com (alias, switched off)"));
    }

    #[test]
    fn the_last_line_is_what_the_server_does() {
        let many: Vec<String> = (0..1001).map(|n| format!("\"m{n}@elsewhere.example\"")).collect();
        let text = format!(
            "hostname = \"mail.example.com\"\n[[domain]]\nname = \"example.com\"\n[[account]]\naddress = \"alice@example.com\"\n\
            [aliases]\n\"two@example.com\" = [\"alice\", \"x@far.example\"]\n\"off@example.com\" = {{ to = \"alice\", enabled = false }}\n\
            \"part@example.com\" = [\"alice\", \":include:/nonexistent/list\"]\n\"many@example.com\" = [{}]\n",
            many.join(",")
        );
        let config = crate::config::parse(Path::new("t.toml"), &text).expect("valid");
        let (directory, _) = look(&config);
        for (address, code, words) in [
            ("two@example.com", 0, "mail is taken: mailboxes here: 1, addresses elsewhere: 1"),
            ("off@example.com", EX_NOUSER, "nobody has this address"),
            ("nobody@example.com", EX_NOUSER, "nobody has this address"),
            ("part@example.com", EX_TEMPFAIL, "/nonexistent/list has not been read"),
            ("many@example.com", EX_TEMPFAIL, "more than 1000 addresses"),
            ("x@far.example", 0, "not ours"),
        ] {
            let (found, text) = verdict(&directory, &Address::parse(address).expect("valid"));
            assert!(found == ExitCode::from(code) && text.contains(words), "{address}: {found:?} {text}");
        }
    }
}
