//! Aliases as senders and operators meet them: groups, patterns, catch-alls, files that change, and mail that goes on to
//! another server under a sender of ours.

mod common;

use std::path::Path;

use common::server::PASSWORD;
use common::server::Server;
use common::server::facteur;
use common::server::password_hash;
use common::server::write_private;
use common::sink::Script;
use common::sink::Sink;
use common::smtp::wire;
use common::wait_for;

const STRANGER: &str = "joe@far.example";

/// The answer to a recipient.
fn rcpt(server: &Server, to: &str) -> String {
    let mut smtp = server.smtp();
    smtp.ehlo();
    assert_eq!(smtp.command(&format!("MAIL FROM:<{STRANGER}>")).code, 250);
    smtp.command(&format!("RCPT TO:<{to}>")).text().to_owned()
}

fn subjects(server: &Server, user: &str) -> Vec<String> {
    let subject = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().find_map(|l| l.strip_prefix("Subject: ").map(str::to_owned)).unwrap_or_default()
    };
    server.messages(user, "INBOX").into_iter().map(|(_, bytes)| subject(bytes)).collect()
}

/// Nothing is asked of DNS, and the test may come as often as it likes.
const MANY: &str = "[dns]\nresolver = \"off\"\n[limits]\nsmtp_connections_per_minute = 0\n";

#[test]
fn one_message_goes_where_its_alias_leads() {
    let server = Server::serve(&format!(
        "{MANY}[aliases]\n\"all@example.test\" = [\"staff\", \"alice\"]\n\"staff@example.test\" = [\"alice\", \"bob+staff\"]\n\
         \"old@example.test\" = {{ to = \"alice\", enabled = false, comment = \"left in May\" }}\n\
         \"@example.test\" = {{ to = \"bob\", except = [\"spam@example.test\"] }}\n\
         [[domain]]\nname = \"example.org\"\nalias_of = \"example.test\"\n\
         [[alias_pattern]]\npattern = '^sales-(.*)@example\\.test$'\nto = [\"$1@example.test\"]\n"
    ));
    for to in ["all@example.test", "sales-alice@example.test", "alice@example.org", "whoever@example.test"] {
        server.deliver(to, &format!("Subject: to {to}\n\nx\n"));
    }
    assert_eq!(
        subjects(&server, "alice"),
        ["to all@example.test", "to sales-alice@example.test", "to alice@example.org"]
    );
    assert_eq!(subjects(&server, "bob"), ["to all@example.test", "to whoever@example.test"]);
    for to in ["old@example.test", "spam@example.test", "spam@example.org"] {
        assert_eq!(rcpt(&server, to), "550 5.1.1 no such recipient", "{to}");
    }

    let shown = server.command(&["alias", "show", "sales-all@example.test"]);
    let text = String::from_utf8(shown.stdout).expect("UTF-8");
    assert!(shown.status.success() && text.starts_with("sales-all@example.test (pattern) # ^sales-"), "{text}");
    assert!(text.contains("└─ bob+staff@example.test (alias)"), "{text}");
    let shown = server.command(&["alias", "show", "old", "--json"]);
    assert_eq!(shown.status.code(), Some(67));
    let json: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!((&json["enabled"], &json["comment"]), (&false.into(), &"left in May".into()));
    let listed = server.command(&["alias", "list", "--json"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 6);
    assert!(String::from_utf8_lossy(&server.command(&["alias", "list"]).stdout).contains("6 aliases"));
}

#[test]
fn files_are_followed_and_broken_ones_change_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, list) = (folder.path().join("aliases"), folder.path().join("list"));
    let write = |path: &Path, text: &str| std::fs::write(path, text).expect("written");
    write(&file, &format!("root: alice\nteam: :include:{}\nprog: \"|/bin/false\"\n", list.display()));
    write(&list, "alice\n");
    let server = Server::serve(&format!("{MANY}[directory]\naliases_file = \"{}\"\n", file.display()));
    assert!(server.log().contains("aliases:3: "), "{}", server.log());
    for (to, answer) in [
        ("root@mail.example.test", "250"),
        ("team@example.test", "250"),
        ("prog@example.test", "550 5.1.1"),
        ("new@example.test", "550 5.1.1"),
    ] {
        assert!(rcpt(&server, to).starts_with(answer), "{to}");
    }
    let check = server.command(&["check"]);
    assert!(check.status.success() && String::from_utf8_lossy(&check.stderr).contains(":3: "), "{check:?}");

    // A line is added: without a signal it is in force soon.
    write(&file, &format!("root: alice\nteam: :include:{}\nnew: bob\n", list.display()));
    wait_for("the new name", || rcpt(&server, "new@example.test").starts_with("250").then_some(()));
    write(&list, "alice, bob\n");
    wait_for("the list to be read", || (server.log().matches("alias files read again").count() > 1).then_some(()));
    server.deliver("team@example.test", "Subject: team\n\nx\n");
    assert_eq!(subjects(&server, "bob"), ["team"]);

    // What nobody can read changes nothing, and says where; a start leaves it out.
    write(&file, "root alice\n");
    wait_for("the complaint", || server.log().contains("aliases:1: ").then_some(()));
    assert!(rcpt(&server, "new@example.test").starts_with("250"));
    let check = server.command(&["check"]);
    assert!(check.status.success() && String::from_utf8_lossy(&check.stderr).contains("aliases:1: "), "{check:?}");
    assert_eq!(server.command(&["check", "--strict"]).status.code(), Some(78));
    std::fs::remove_file(&list).expect("it is there");
    write(&file, &format!("root: alice\nteam: :include:{}\n", list.display()));
    wait_for("the old name to go", || rcpt(&server, "new@example.test").starts_with("550").then_some(()));
    assert!(rcpt(&server, "team@example.test").starts_with("250"), "a list that is gone stays as it was");
}

#[test]
fn accounts_may_have_names_in_any_script() {
    let hash = password_hash();
    let server = Server::serve(&format!(
        "{MANY}[[domain]]\nname = \"b\u{fc}cher.example\"\n[[account]]\naddress = \"J\u{f6}rg@b\u{fc}cher.example\"\npassword = \"{hash}\"\n\
         [aliases]\n\"\u{4f8b}@example.test\" = \"J\u{f6}rg@b\u{fc}cher.example\"\n"
    ));
    let mut smtp = server.smtp();
    smtp.ehlo();
    for (sender, to) in [
        ("FROM:<x@load.example> SMTPUTF8", "JO\u{308}RG@xn--bcher-kva.example"),
        ("FROM:<x@load.example> SMTPUTF8", "\u{4f8b}@example.test"),
        ("FROM:<\u{4f8b}@load.example> SMTPUTF8", "j\u{f6}rg@B\u{dc}CHER.example"),
    ] {
        assert_eq!(smtp.command(&format!("MAIL {sender}")).code, 250);
        let reply = smtp.command(&format!("RCPT TO:<{to}>"));
        assert_eq!(reply.code, 250, "{to}: {reply:?}");
        assert_eq!(smtp.command("DATA").code, 354);
        smtp.0.send(&wire("Subject: x\n\nx\n"));
        assert_eq!(smtp.reply().code, 250);
    }
    assert_eq!(smtp.command("MAIL FROM:<x@load.example>").code, 250);
    assert!(smtp.command("RCPT TO:<j\u{f6}rg@xn--bcher-kva.example>").code >= 500, "without SMTPUTF8 it is ASCII");
    let maildir = server.home().join("data/mail/xn--bcher-kva.example/j\u{f6}rg/new");
    assert_eq!(std::fs::read_dir(maildir).expect("his Maildir").count(), 3);
    let mut smtp = server.submissions();
    smtp.ehlo();
    let response = data_encoding::BASE64.encode(format!("\0jo\u{308}rg\0{PASSWORD}").as_bytes());
    assert_eq!(smtp.command(&format!("AUTH PLAIN {response}")).code, 235);
}

#[test]
fn a_list_that_was_never_read_refuses_for_now() {
    let server = Server::serve(&format!(
        "{MANY}[aliases]\n\"team@example.test\" = [\"alice\", \":include:/nonexistent/list\"]\n"
    ));
    assert!(rcpt(&server, "team@example.test").starts_with("451 4.3.0"));
    let file = server.home().join("loop.toml");
    let text = "hostname = \"mail.example.test\"\n[[domain]]\nname = \"example.test\"\n[aliases]\n\
        \"a@example.test\" = \"b\"\n\"b@example.test\" = \"a+x\"\n";
    write_private(&file, text);
    let output = facteur().args(["check", "--config"]).arg(&file).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(78));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains(":5:1: aliases.a@example.test: a@example.test leads back to itself"),
        "{output:?}"
    );
}

#[test]
fn what_goes_on_has_a_sender_of_ours_and_comes_back() {
    let sink = Sink::start("127.0.0.2", 0, Script::default());
    let server = Server::serve(&format!(
        "{MANY}[outbound]\nrelay = \"[127.0.0.2]:{}\"\n[aliases]\n\"away@example.test\" = [\"alice\", \"me@far.example\"]\n",
        sink.port()
    ));
    server.deliver("away@example.test", "Subject: on\n\nx\n");
    let taken = wait_for("the message elsewhere", || sink.taken().pop());
    assert_eq!(taken.to, ["me@far.example"]);
    let from = taken.from.clone();
    assert!(from.starts_with("SRS0=") && from.ends_with("=load.example=stranger@example.test"), "{from}");
    assert_eq!(taken.text().matches("\r\nReceived: ").count() + usize::from(taken.text().starts_with("Received: ")), 1);
    assert_eq!(subjects(&server, "alice"), ["on"]);
    use std::os::unix::fs::PermissionsExt;
    let key = std::fs::metadata(server.home().join("data/keys/srs.key")).expect("a key was made");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);

    // The notice of the other server comes back with the null sender, and goes on to who wrote it.
    let mut smtp = server.smtp();
    smtp.ehlo();
    assert_eq!(smtp.send_message("", &[&from], "Subject: not delivered\n\nx\n").code, 250);
    let back = wait_for("the notice", || sink.taken().into_iter().find(|t| t.text().contains("not delivered")));
    assert_eq!((back.from.as_str(), back.to.as_slice()), ("", &["stranger@load.example".to_owned()][..]));
    let shown = server.command(&["alias", "show", &from]);
    assert!(
        String::from_utf8_lossy(&shown.stdout).contains("└─ stranger@load.example (elsewhere)\nmail is taken"),
        "{shown:?}"
    );
    // Nobody else's address can be written in there: this is no relay.
    for to in [from.replace("stranger", "victim"), from.replace("load.example", "victim.example")] {
        assert_eq!(rcpt(&server, &to), "550 5.1.1 no such recipient", "{to}");
    }
}
