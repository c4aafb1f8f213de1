//! `facteur mailbox …`, driven as an operator drives it: with a running server and without one.

mod common;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;
use std::time::SystemTime;

use common::available;
use common::is_root;
use common::server::Server;
use common::server::facteur;
use common::wait_for;
use serde_json::Value;

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// Runs a command that must end with this exit code.
fn run(server: &Server, args: &[&str], code: i32) -> Output {
    let output = server.command(&[&["mailbox"], args].concat());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    output
}

/// The objects that a command prints with `--json`.
fn json(server: &Server, args: &[&str], code: i32) -> Vec<Value> {
    let output = run(server, &[args, &["--json"]].concat(), code);
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

fn words(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// A command whose standard input is a pipe of ours.
fn piped(server: &Server, args: &[&str]) -> Child {
    let mut command = facteur();
    command.arg("mailbox").args(args).arg("--config").arg(server.config());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

fn messages(server: &Server, account: &str, mailbox: &str) -> u64 {
    let status = json(server, &["status", account, "--mailbox", mailbox], 0);
    status[0]["messages"].as_u64().expect("a number")
}

/// All that a client sees of a mailbox: flags without `\Recent`, date and bytes of each message, in order.
fn seen(server: &Server, user: &str, mailbox: &str) -> Vec<(BTreeSet<String>, String, Vec<u8>)> {
    let mut imap = server.imap(user);
    imap.ok(&format!("EXAMINE {mailbox}"));
    let bodies = imap.fetch_all("BODY.PEEK[]");
    let between = |line: &str, from: &str, to: char| {
        let rest = &line[line.find(from).expect("there") + from.len()..];
        rest[..rest.find(to).expect("ended")].to_owned()
    };
    let data = imap.ok("UID FETCH 1:* (FLAGS INTERNALDATE)").texts();
    let data = data.iter().filter(|line| line.contains("INTERNALDATE")).map(|line| {
        let flags = between(line, "FLAGS (", ')');
        let flags = flags.split(' ').filter(|f| !f.is_empty() && *f != "\\Recent").map(str::to_owned).collect();
        (flags, between(line, "INTERNALDATE \"", '"'))
    });
    let all: Vec<_> = data.zip(bodies).map(|((flags, date), (_, body))| (flags, date, body)).collect();
    assert!(!all.is_empty(), "{mailbox} of {user} is empty");
    all
}

/// Every file below a folder with its bytes.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let kind = entry.file_type().expect("known");
            if kind.is_dir() {
                open.push(entry.path());
            }
            all.insert(entry.path(), kind.is_file().then(|| std::fs::read(entry.path()).expect("readable")));
        }
    }
    all
}

/// Some mail for alice.
fn fill(server: &Server) {
    let mut imap = server.imap("alice");
    let message = |n: u32, body: &str| format!("From: x@example.net\r\nSubject: {n}\r\n\r\n{body}\r\n").into_bytes();
    imap.ok("CREATE Work/2024");
    for (mailbox, options, message) in [
        ("INBOX", "", message(1, "plain")),
        ("INBOX", "(\\Seen $Label1) \"13-Feb-2020 15:31:30 +0000\" ", message(2, "From here\r\n>From there")),
        ("INBOX", "(\\Flagged \\Draft \\Answered \\Deleted) \"01-Jan-1999 00:00:00 +0000\" ", message(3, "")),
        ("Sent", "(\\Seen) \"02-Jan-2021 03:04:05 +0000\" ", message(4, "From a@b Thu Feb 13 15:31:30 2020")),
        (
            "Work/2024",
            "(work $Label1 \\Flagged) ",
            [&b"Status: RO\r\nX-Keywords: mine\r\n"[..], &message(5, "x")].concat(),
        ),
    ] {
        let answer = imap.append(mailbox, options, &message);
        assert!(answer.tagged.starts_with("OK"), "{answer:?}");
    }
}

#[test]
fn list_and_status_say_the_same_with_and_without_a_server() {
    let mut server = Server::serve("");
    fill(&server);
    let mut before = None;
    for running in [true, false] {
        if !running {
            server.terminate();
        }
        let list = json(&server, &["list", "alice"], 0);
        let row = |name: &str| list.iter().find(|row| row["mailbox"] == name).expect("listed").clone();
        assert_eq!((&row("INBOX")["messages"], &row("INBOX")["unseen"]), (&3.into(), &2.into()));
        assert_eq!((&row("Sent")["special_use"], &row("Sent")["subscribed"]), (&"\\Sent".into(), &true.into()));
        assert_eq!((&row("Work")["selectable"], &row("Work/2024")["messages"]), (&false.into(), &1.into()));
        assert!(row("Sent")["size"].as_u64() > Some(60), "{list:?}");
        let mut status = json(&server, &["status", ALICE], 0).remove(0);
        assert_eq!((&status["uid_next"], &status["unseen"]), (&4.into(), &2.into()));
        assert_eq!(status["keywords"], serde_json::json!(["$Label1"]));
        assert_eq!(status["folder"], *server.maildir("alice").display().to_string());
        status["highest_modseq"] = Value::Null;
        assert_eq!(before.get_or_insert((list.clone(), status.clone())), &(list, status));
        let table = words(&run(&server, &["list", ALICE], 0).stdout);
        assert!(table.contains("Work/2024") && table.contains("special use"), "{table}");
        // bob never logged in: looking at him makes nothing.
        assert!(words(&run(&server, &["list", "--all"], 0).stdout).contains("bob@example.test: "), "{table}");
        assert!(!server.maildir("bob").exists());
        run(&server, &["list", "carol@example.test"], 67);
        run(&server, &["status", ALICE, "--mailbox", "Nowhere"], 66);
        run(&server, &["export", "mbox", ALICE, "-"], 64);
    }
}

/// Plants one fault of every kind that a test can plant; returns their kinds, those that stay after a repair apart.
fn plant(maildir: &Path) -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    use std::os::unix::fs::PermissionsExt;
    let append = |path: &Path, bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("there");
        file.write_all(bytes).expect("written");
    };
    let some_file = |folder: &str| {
        let mut files: Vec<_> = std::fs::read_dir(maildir.join(folder)).expect("there").flatten().collect();
        files.sort_by_key(|entry| entry.file_name());
        files.first().expect("a message").path()
    };
    // Sizes: more octets than the name tells.
    append(&some_file("cur"), b"more\n");
    let unreadable = some_file(".Sent/cur");
    std::fs::set_permissions(&unreadable, std::fs::Permissions::from_mode(0o000)).expect("ours");
    // A list with everything that can be wrong.
    let drafts = maildir.join(".Drafts");
    for file in ["cur/1.a", "cur/2.b:2,z", "new/3.c", "cur/bad\nname"] {
        std::fs::write(drafts.join(file), b"x\n").expect("written");
    }
    let list = b"3 V77 N9\n5 W9 Pold :1.a\n4 :2.b\n6 :9.gone\n6 :8.gone\n7 :7.gone\n8 :7.gone\nnonsense\n9 :torn";
    std::fs::write(drafts.join("dovecot-uidlist"), list).expect("written");
    std::os::unix::fs::symlink("/etc/hostname", drafts.join("cur/4.d")).expect("linked");
    std::fs::create_dir(drafts.join("cur/5.e")).expect("made");
    // Folders.
    std::fs::remove_dir(maildir.join(".Junk/tmp")).expect("empty");
    std::fs::create_dir_all(maildir.join(".&bad/cur")).expect("made");
    append(&maildir.join("subscriptions"), b"Gone\n");
    std::fs::write(maildir.join(".Trash/dovecot-uidlist"), b"rubbish\n").expect("written");
    let repaired = [
        "size",
        "wire-size",
        "unreadable",
        "list-order",
        "uid-twice",
        "name-twice",
        "list-line",
        "list-torn",
        "missing-folder",
        "list-header",
        "no-uid",
        "dead-lines",
    ];
    let stay = ["name", "keyword", "symlink", "not-a-file", "folder-name", "subscription"];
    (repaired.into(), stay.into())
}

fn kinds(rows: &[Value], repaired: bool) -> BTreeSet<&str> {
    let chosen = rows.iter().filter(|row| row["repaired"] == repaired);
    chosen.map(|row| row["kind"].as_str().expect("a word")).collect()
}

fn fsck_finds_and_repairs(running: bool) {
    let mut server = Server::serve("");
    fill(&server);
    let maildir = server.maildir("alice");
    assert!(!json(&server, &["fsck", ALICE], 0).iter().any(|row| row["severity"] != "note"));
    let sent = seen(&server, "alice", "Sent");
    let before = json(&server, &["status", ALICE], 0).remove(0);
    server.terminate();
    let (repaired, stay) = plant(&maildir);
    if running {
        server = server.restart();
    }
    let there = tree(&maildir);
    let found = json(&server, &["fsck", ALICE], 1);
    assert!(kinds(&found, true).is_empty());
    assert_eq!(kinds(&found, false), &repaired | &stay, "{found:#?}");
    assert!(tree(&maildir) == there, "looking has changed something");
    let table = words(&run(&server, &["fsck", ALICE], 1).stdout);
    assert!(table.contains("error") && table.contains("list-torn"), "{table}");
    let mended = json(&server, &["fsck", ALICE, "--repair"], 1);
    assert_eq!(kinds(&mended, true), repaired, "{mended:#?}");
    assert_eq!(kinds(&mended, false), stay, "{mended:#?}");
    assert_eq!(kinds(&json(&server, &["fsck", ALICE], 1), false), stay);
    // The one error that nobody repairs for the operator.
    std::fs::remove_file(maildir.join(".Drafts/cur/bad\nname")).expect("there");
    assert!(json(&server, &["fsck", ALICE], 0).iter().all(|row| row["severity"] != "error"));
    if !running {
        server = server.restart();
    }
    let list = std::fs::read_to_string(maildir.join(".Drafts/dovecot-uidlist")).expect("there");
    assert!(list.contains("\n4 :2.b\n5 Pold :1.a\n"), "{list}");
    // No message is lost, and no UID is another one.
    let after = json(&server, &["status", ALICE], 0).remove(0);
    for field in ["uid_validity", "uid_next", "messages"] {
        assert_eq!(before[field], after[field]);
    }
    assert_eq!(seen(&server, "alice", "Sent"), sent);
    let mut imap = server.imap("alice");
    imap.ok("EXAMINE Drafts");
    let uids: Vec<u32> = imap.fetch_all("BODY.PEEK[]").into_iter().map(|(uid, _)| uid).collect();
    assert_eq!(uids[..2], [4, 5]);
    assert_eq!(uids.len(), 3);
    let sizes = imap.ok("UID FETCH 1:* (RFC822.SIZE)");
    assert!(sizes.has("UID 5 RFC822.SIZE 3)"), "{sizes:?}");
    imap.ok("EXAMINE INBOX");
    let sizes = imap.ok("UID FETCH 1:* (RFC822.SIZE)");
    let bodies = imap.fetch_all("BODY.PEEK[]");
    assert_eq!(bodies.len(), 3);
    for (uid, body) in bodies {
        assert!(sizes.has(&format!("UID {uid} RFC822.SIZE {})", body.len())), "{uid} {sizes:?}");
    }
}

#[test]
fn fsck_finds_and_repairs_what_is_planted_while_the_server_runs() {
    fsck_finds_and_repairs(true);
}

#[test]
fn fsck_finds_and_repairs_what_is_planted_without_a_server() {
    fsck_finds_and_repairs(false);
}

#[test]
fn a_session_keeps_its_mailbox_over_a_repair_and_a_reindex() {
    let server = Server::serve("");
    fill(&server);
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    let maildir = server.maildir("alice");
    let file = std::fs::read_dir(maildir.join("cur")).expect("there").flatten().next().expect("a message").path();
    let mut open = std::fs::OpenOptions::new().append(true).open(&file).expect("there");
    open.write_all(b"more\n").expect("written");
    assert_eq!(kinds(&json(&server, &["fsck", ALICE, "--repair"], 0), true), BTreeSet::from(["size", "wire-size"]));
    assert!(!file.exists());
    let read = json(&server, &["reindex", "--all"], 0);
    assert!(read.iter().any(|row| row["mailbox"] == "INBOX" && row["messages"] == 3), "{read:?}");
    let noop = imap.ok("NOOP");
    assert!(!noop.has("EXPUNGE") && !noop.has("VANISHED"), "{noop:?}");
    assert_eq!(imap.fetch_all("BODY.PEEK[]").into_iter().map(|(uid, _)| uid).collect::<Vec<_>>(), [1, 2, 3]);
    imap.ok("STORE 1:3 +FLAGS (\\Seen)");
    assert_eq!(json(&server, &["status", ALICE], 0)[0]["unseen"], 0);
}

#[test]
fn one_mailbox_that_cannot_be_read_hides_no_other() {
    let server = Server::serve("");
    fill(&server);
    let list = server.maildir("alice").join(".Sent/dovecot-uidlist");
    std::fs::remove_file(&list).expect("there");
    std::fs::create_dir(&list).expect("made");
    let output = run(&server, &["list", ALICE], 74);
    assert!(words(&output.stdout).contains("Work/2024"), "{output:?}");
    assert!(words(&output.stderr).contains("Sent: failed reading a list of the Maildir"), "{output:?}");
    let found = json(&server, &["fsck", ALICE, "--repair"], 1);
    let left = found.iter().filter(|row| row["severity"] == "error");
    assert_eq!(left.map(|row| row["mailbox"].as_str()).collect::<Vec<_>>(), [Some("Sent")]);
    assert!(list.is_dir());
}

#[test]
fn what_is_exported_comes_back_as_it_was() {
    let mut server = Server::serve("");
    fill(&server);
    let wanted = ["INBOX", "Sent", "Work/2024"].map(|mailbox| (mailbox, seen(&server, "alice", mailbox)));
    for running in [true, false] {
        if !running {
            server.terminate();
        }
        let folder = server.home().join(format!("out {running}"));
        let to = folder.to_str().expect("text");
        let files = json(&server, &["export", "mbox", ALICE, to], 0);
        let row = files.iter().find(|row| row["mailbox"] == "Work/2024").expect("exported");
        assert_eq!((&row["file"], &row["messages"]), (&format!("{to}/Work.2024.mbox").into(), &1.into()));
        let text = words(&run(&server, &["export", "mbox", ALICE, "--mailbox", "Sent", "-"], 0).stdout);
        assert!(text.contains("\n>From a@b Thu Feb 13"), "{text}");
        assert_eq!(text, std::fs::read_to_string(folder.join("Sent.mbox")).expect("written"));
        // Nothing is written over, and nothing half is left.
        let count = || std::fs::read_dir(&folder).expect("there").count();
        let before = count();
        run(&server, &["export", "mbox", ALICE, to], 73);
        run(&server, &["export", "mbox", ALICE, to, "--force"], 0);
        run(&server, &["export", "mbox", ALICE, "--mailbox", "Nowhere", &format!("{to}/x")], 66);
        assert_eq!(count(), before);
        for (mailbox, _) in &wanted {
            let file = folder.join(format!("{}.mbox", mailbox.replace('/', ".")));
            let target = format!("{running}/{mailbox}");
            let from = file.to_str().expect("text");
            let summary = json(&server, &["import", "mbox", BOB, from, "--mailbox", &target], 0).remove(0);
            assert_eq!((&summary["skipped"], &summary["error"]), (&0.into(), &Value::Null));
        }
    }
    let server = server.restart();
    for (mailbox, wanted) in &wanted {
        for running in [true, false] {
            assert_eq!(&seen(&server, "bob", &format!("{running}/{mailbox}")), wanted, "{running} {mailbox}");
        }
    }
}

#[test]
fn an_export_without_every_message_says_so_and_keeps_the_rest() {
    let server = Server::serve("");
    fill(&server);
    std::fs::write(server.maildir("alice").join("cur/1.broken:2,S"), b"\x1f\x8b broken").expect("written");
    let to = server.home().join("out");
    let output = run(&server, &["export", "mbox", ALICE, "--mailbox", "INBOX", to.to_str().expect("text")], 65);
    let said = words(&output.stderr);
    assert!(said.contains("INBOX: message 4 cannot be read") && !said.contains("expunged"), "{said}");
    let written = std::fs::read(&to).expect("written");
    assert_eq!(words(&written).matches("From ").count() - words(&written).matches(">From ").count(), 3);
}

#[test]
fn only_what_is_meant_is_forgotten() {
    let mut server = Server::serve("");
    fill(&server);
    // The end of the server writes all indexes.
    server.terminate();
    let derived = || {
        let folders = std::fs::read_dir(server.home().join("data/state/mailboxes")).expect("there").flatten();
        folders.map(|entry| words(entry.file_name().as_encoded_bytes())).collect::<BTreeSet<_>>()
    };
    let before = derived();
    let rest: BTreeSet<_> = before.iter().filter(|name| !name.contains("Sent")).cloned().collect();
    assert!(rest.len() < before.len() && !rest.is_empty(), "{before:?}");
    let inodes = || {
        let inode = |name: &String| {
            let path = server.home().join("data/state/mailboxes").join(name);
            std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).expect("there"))
        };
        rest.iter().map(inode).collect::<Vec<_>>()
    };
    let kept = inodes();
    json(&server, &["reindex", ALICE, "--mailbox", "Sent"], 0);
    assert_eq!(inodes(), kept);
    let server = server.restart();
    let maildir = server.maildir("alice");
    let output = run(&server, &["forget", server.home().to_str().expect("text")], 1);
    assert!(words(&output.stderr).contains("is not the Maildir of an account"), "{output:?}");
    // By another path, too.
    let link = server.home().join("link");
    std::os::unix::fs::symlink(&maildir, &link).expect("made");
    for path in [&maildir, &link] {
        run(&server, &["forget", path.to_str().expect("text")], 0);
    }
}

#[test]
fn an_import_beyond_keywords_and_quota_is_whole() {
    let server = Server::serve("[quota]\nmessages = 1\n");
    let keywords: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
    let from = "From a@b Thu Feb 13 15:31:30 2020\n";
    let message = format!("{from}X-Keywords: {}\nSubject: one\n\nx\n\n", keywords.join(" "));
    let file = server.home().join("in.mbox");
    std::fs::write(&file, message.repeat(3)).expect("written");
    let output = run(&server, &["import", "mbox", BOB, file.to_str().expect("text")], 0);
    assert!(words(&output.stderr).contains("no room for the keywords"), "{output:?}");
    assert_eq!(messages(&server, BOB, "INBOX"), 3);
    let status = json(&server, &["status", BOB], 0).remove(0);
    assert_eq!((&status["quota_used_messages"], &status["quota_limit_messages"]), (&3.into(), &1.into()));
}

#[test]
fn an_mbox_comes_from_a_pipe_and_what_does_not_fit_is_told() {
    let server = Server::serve("[smtp]\nmax_message_size = \"64KiB\"\n");
    let mut child = piped(&server, &["import", "mbox", BOB, "-"]);
    let from = "From a@b Thu Feb 13 15:31:30 2020\r\n";
    let large = format!("Subject: large\r\n\r\n{}\r\n", "x".repeat(70_000));
    let text = format!(
        "{from}Subject: one\r\nStatus: RO\r\nX-Keywords: work bad(one\r\n\r\nx\r\n\r\n{from}{large}\r\n{from}Subject: two\r\n\r\ny"
    );
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(words(&output.stdout).contains("2 messages imported, 1 passed over"), "{output:?}");
    let told = words(&output.stderr);
    assert!(told.contains("message 2: 7") && told.contains("smtp.max_message_size"), "{told}");
    assert!(told.contains("message 1: bad(one cannot be a keyword"), "{told}");
    let all = seen(&server, "bob", "INBOX");
    assert_eq!(all[0].0, BTreeSet::from(["\\Seen".to_owned(), "work".to_owned()]));
    assert_eq!(all[0].1, "13-Feb-2020 15:31:30 +0000");
    assert_eq!((&*all[0].2, &*all[1].2), (&b"Subject: one\r\n\r\nx\r\n"[..], &b"Subject: two\r\n\r\ny"[..]));
    let file = server.home().join("none.mbox");
    let name = file.to_str().expect("text");
    run(&server, &["import", "mbox", BOB, name], 66);
    // More keywords than a mailbox can have: the message comes all the same.
    let keywords: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
    let text = format!("{from}X-Keywords: {}\nSubject: k\n\nx\n\n{from}Subject: l\n\nx\n", keywords.join(" "));
    std::fs::write(&file, text).expect("written");
    let output = run(&server, &["import", "mbox", BOB, name, "--mailbox", "Many"], 0);
    assert!(words(&output.stdout).contains("2 messages imported, 0 passed over"), "{output:?}");
    assert!(words(&output.stderr).contains("message 1: no room for the keywords k26 k27 k28 k29"), "{output:?}");
    assert_eq!(json(&server, &["status", BOB, "--mailbox", "Many"], 0)[0]["keywords"][25], "k25");
    std::fs::write(&file, b"Subject: no mbox\n").expect("written");
    let output = run(&server, &["import", "mbox", BOB, name], 65);
    assert!(words(&output.stderr).contains("message 1: not an mbox"), "{output:?}");
    assert_eq!(messages(&server, BOB, "INBOX"), 2);
}

#[test]
fn a_maildir_comes_with_folders_flags_keywords_and_dates() {
    let mut server = Server::serve("[smtp]\nmax_message_size = \"64KiB\"\n");
    let root = server.home().join("Maildir");
    for folder in ["cur", "new", "tmp", ".Entw&APw-rfe.Alt/cur", ".Entw&APw-rfe.Alt/new", ".&bad/cur"] {
        std::fs::create_dir_all(root.join(folder)).expect("made");
    }
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_581_607_890);
    let large = vec![b'x'; 70_000];
    for (name, bytes) in [
        ("cur/2.b:2,FSa", &b"Subject: b\n\nb\n"[..]),
        ("cur/1.a:2,S", b"Subject: a\n\na\n"),
        ("new/3.c", b"Subject: c\n\nc\n"),
        ("cur/4.d:2,", &large),
        (".Entw&APw-rfe.Alt/cur/5.e:2,D", b"Subject: e\n\nFrom e\n"),
    ] {
        std::fs::write(root.join(name), bytes).expect("written");
        std::fs::File::open(root.join(name)).and_then(|file| file.set_modified(date)).expect("ours");
    }
    std::fs::write(root.join("dovecot-keywords"), b"0 work\n").expect("written");
    std::fs::write(root.join("dovecot-uidlist"), b"3 V5 N9\n1 :2.b\n2 :1.a\n").expect("written");
    let there = tree(&root);
    for (running, target) in [(true, "Old"), (false, "Older")] {
        if !running {
            server.terminate();
        }
        let from = root.to_str().expect("text");
        let output = run(&server, &["import", "maildir", BOB, from, "--mailbox", target, "--json"], 0);
        let summary: Value = serde_json::from_slice(&output.stdout).expect("an object");
        assert_eq!((&summary["imported"], &summary["skipped"]), (&4.into(), &2.into()));
        assert!(words(&output.stderr).contains("4.d:2,: 65537 octets or more"), "{output:?}");
        run(&server, &["import", "maildir", BOB, server.home().join("keys").to_str().expect("text")], 66);
    }
    assert!(tree(&root) == there, "an import has changed its source");
    let server = server.restart();
    for target in ["Old", "Older"] {
        let all = seen(&server, "bob", target);
        let subjects: Vec<String> = all.iter().map(|(.., body)| words(&body[9..10])).collect();
        assert_eq!(subjects, ["b", "a", "c"]);
        let flags = ["\\Flagged", "\\Seen", "work"].map(str::to_owned);
        assert_eq!((&all[0].0, &*all[0].1), (&BTreeSet::from(flags), "13-Feb-2020 15:31:30 +0000"));
        assert_eq!(all[2].0, BTreeSet::new());
        let below = seen(&server, "bob", &format!("\"{target}/Entw&APw-rfe/Alt\""));
        assert_eq!(below[0].2, b"Subject: e\r\n\r\nFrom e\r\n");
    }
    let list = json(&server, &["list", BOB], 0);
    assert!(list.iter().any(|row| row["mailbox"] == "Old/Entwürfe/Alt" && row["subscribed"] == true), "{list:?}");
}

/// Starts an import that waits for its input, and waits until its first message is there.
fn begin_import(server: &Server, maildir: &Path) -> Child {
    let count = || ["cur", "new"].iter().flat_map(|sub| std::fs::read_dir(maildir.join(sub))).flatten().count();
    let before = count();
    let mut child = piped(server, &["import", "mbox", BOB, "-"]);
    let from = "From a@b Thu Feb 13 15:31:30 2020\n";
    let text = format!("{from}Subject: one\n\nx\n\n{from}Subject: two\n");
    let pipe = child.stdin.as_mut().expect("a pipe");
    pipe.write_all(text.as_bytes()).and_then(|()| pipe.flush()).expect("written");
    wait_for("the first message", || (count() > before).then_some(()));
    child
}

#[test]
fn work_ends_when_the_command_is_killed_or_the_server_stops() {
    let mut server = Server::serve("");
    let maildir = server.maildir("bob");
    // More than may be at work at once: each must give its place back.
    for killed in 1..=6 {
        let mut child = begin_import(&server, &maildir);
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        wait_for("the end of the work", || {
            (server.log().matches("an import was given up").count() == killed).then_some(())
        });
    }
    assert_eq!(messages(&server, BOB, "INBOX"), 6);
    let mut waiting = begin_import(&server, &maildir);
    assert!(server.terminate().success());
    assert_eq!(messages(&server, BOB, "INBOX"), 7);
    // It hears of it when it has something to say.
    waiting.stdin.take();
    let output = waiting.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(69), "{output:?}");
}

#[test]
fn only_one_works_on_the_files_and_no_server_starts_meanwhile() {
    let mut server = Server::serve("");
    server.terminate();
    let mut child = begin_import(&server, &server.maildir("bob"));
    let output = run(&server, &["list", ALICE], 75);
    assert!(words(&output.stderr).contains(&format!("process {} works here", child.id())), "{output:?}");
    let served = server.command(&["serve"]);
    assert!(words(&served.stderr).contains("is in use by another facteur"), "{served:?}");
    // With the end of its input it is done, and the place is free.
    drop(child.stdin.take());
    assert!(child.wait().expect("ended").success());
    assert_eq!(messages(&server, BOB, "INBOX"), 2);
}

#[test]
fn root_makes_the_owners_files() {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::fs::PermissionsExt;
    if !available(is_root(), "this needs root") {
        return;
    }
    let mut server = Server::serve("");
    fill(&server);
    server.terminate();
    let data = server.home().join("data");
    for path in tree(&data).into_keys().chain([data.clone()]) {
        std::os::unix::fs::lchown(&path, Some(65_534), Some(65_534)).expect("root may");
    }
    std::fs::set_permissions(server.home(), std::fs::Permissions::from_mode(0o755)).expect("ours");
    // Only root can read the file that is imported.
    let file = server.home().join("roots.mbox");
    let text = "From a@b Thu Feb 13 15:31:30 2020\nSubject: one\n\nx\n";
    common::server::write_private(&file, text);
    let name = file.to_str().expect("text");
    run(&server, &["import", "mbox", BOB, name], 0);
    run(&server, &["fsck", "--all", "--repair"], 0);
    for path in tree(&data).into_keys() {
        let owner = std::fs::symlink_metadata(&path).expect("there").uid();
        assert_eq!(owner, 65_534, "{}", path.display());
    }
    assert_eq!(messages(&server, BOB, "INBOX"), 1);
}

/// A connection to the control socket on which an export of all of bob's mail has begun, of which nothing more is read.
fn begun_export(server: &Server) -> (std::os::unix::net::UnixStream, String) {
    use std::io::BufRead;
    use std::os::unix::net::UnixStream;
    let mut stream = UnixStream::connect(server.home().join("data/state/control.sock")).expect("it listens");
    let request = serde_json::json!({"do": "mailbox", "job": {"account": BOB, "task": {"export": {"mailbox": null}}}});
    writeln!(stream, "{request}").expect("sent");
    let mut line = Vec::new();
    // Octet by octet: what follows stays in the socket.
    std::io::BufReader::with_capacity(1, &stream).read_until(b'\n', &mut line).expect("answered");
    (stream, words(&line))
}

#[test]
fn who_does_not_listen_holds_up_nothing() {
    let mut server = Server::serve("");
    let message = format!("From a@b Thu Feb 13 15:31:30 2020\nSubject: x\n\n{}\n\n", "x\n".repeat(30_000));
    let file = server.home().join("large.mbox");
    std::fs::write(&file, message.repeat(40)).expect("written");
    run(&server, &["import", "mbox", BOB, file.to_str().expect("text")], 0);
    // As many as may be at work; each sticks as soon as the socket is full.
    let stuck: Vec<_> = (0..4).map(|_| begun_export(&server)).collect();
    for (_, answer) in &stuck {
        assert_eq!(answer, "{\"is\":\"ready\"}\n");
    }
    assert!(begun_export(&server).1.contains("too many commands"));
    run(&server, &["list", ALICE], 75);
    drop(stuck);
    wait_for("the end of all four", || (server.log().matches("nobody listens").count() == 4).then_some(()));
    assert_eq!(messages(&server, BOB, "INBOX"), 40);
    let mut stuck = begun_export(&server).0;
    let mut rest = vec![0; 30_001];
    std::io::Read::read_exact(&mut stuck, &mut rest).expect("some of it comes");
    // The server stops although one sticks.
    assert!(server.terminate().success());
    std::io::Read::read_to_end(&mut stuck, &mut rest).expect("closed");
    assert!(rest.len() > 30_000 && rest.len() < 40 * 60_000, "{}", rest.len());
}
