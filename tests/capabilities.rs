//! What is announced after a login, compared with what the project set out to announce, and with the dialogs that show
//! each of it.

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;

use common::server::Server;
use common::wait_for;
use rustix::process::Signal;

/// What is not announced yet, or never will be, and why.
const MISSING: &[(&str, &str)] = &[];

/// The line of Part 2 of the mission for a user of IMAP.
fn wanted() -> Option<BTreeSet<String>> {
    let shared = std::env::var_os("FACTEUR_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let text = std::fs::read_to_string(shared.join("mission.md")).ok()?;
    let line = text.lines().find(|line| line.starts_with("- IMAP, after login: `"))?;
    let names = line.split('`').nth(1)?;
    Some(names.split(' ').map(str::to_owned).collect())
}

fn announced() -> BTreeSet<String> {
    let server = Server::try_out(&[]);
    let mut imap = server.imap("alice");
    let lines = imap.ok("CAPABILITY").texts();
    let line = lines.iter().find_map(|line| line.strip_prefix("* CAPABILITY ")).expect("capabilities");
    let number = |name: &str| name.strip_prefix("APPENDLIMIT=").is_some_and(|n| n.parse::<u64>().is_ok());
    line.split_ascii_whitespace().map(|name| if number(name) { "APPENDLIMIT=n" } else { name }.to_owned()).collect()
}

#[test]
fn what_the_operator_disables_is_neither_announced_nor_enabled() {
    let server = Server::serve("[imap]\ndisable = [\"QRESYNC\", \"move\", \"APPENDLIMIT\"]\n");
    let mut imap = server.imap("alice");
    let lines = imap.ok("CAPABILITY").texts();
    let names: Vec<&str> = lines[0].split_ascii_whitespace().collect();
    assert!(names.contains(&"CONDSTORE"), "{names:?}");
    assert!(!names.iter().any(|n| matches!(*n, "QRESYNC" | "MOVE") || n.starts_with("APPENDLIMIT")), "{names:?}");
    assert_eq!(imap.ok("ENABLE QRESYNC").texts(), ["* ENABLED"]);
    let text = std::fs::read_to_string(server.config()).expect("there");
    let for_bob = text.replacen("address = \"bob@", "imap_disable = [\"IDLE\"]\naddress = \"bob@", 1);
    assert_ne!(text, for_bob);
    std::fs::write(server.config(), for_bob).expect("written");
    server.signal(Signal::HUP);
    let announces = |user: &str, name: &str| {
        let line = server.imap(user).ok("CAPABILITY").texts().concat();
        line.split_ascii_whitespace().any(|announced| announced == name)
    };
    wait_for("the new configuration", || (!announces("bob", "IDLE")).then_some(()));
    assert!(announces("alice", "IDLE") && !announces("bob", "MOVE") && announces("bob", "CONDSTORE"));
    let wrong = std::fs::read_to_string(server.config()).expect("there").replace("\"QRESYNC\"", "\"UIDONLY\"");
    std::fs::write(server.config(), wrong).expect("written");
    let check = server.command(&["check"]);
    let said = [check.stdout, check.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!check.status.success() && said.contains("\"UIDONLY\" is no extension"), "{said}");
}

#[test]
fn the_announced_line_is_that_of_the_mission() {
    let Some(wanted) = wanted() else {
        eprintln!("SKIPPED: no mission.md beside the repository (FACTEUR_SHARED names another folder)");
        return;
    };
    let announced = announced();
    let missing: BTreeSet<String> = MISSING.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert!(MISSING.iter().all(|(_, why)| !why.is_empty()));
    let known: BTreeSet<String> = announced.union(&missing).cloned().collect();
    assert_eq!(wanted.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "neither announced nor explained");
    assert_eq!(known.difference(&wanted).collect::<Vec<_>>(), Vec::<&String>::new(), "nobody asked for these");
    assert_eq!(announced.intersection(&missing).collect::<Vec<_>>(), Vec::<&String>::new(), "there by now");
}
