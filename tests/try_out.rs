//! `facteur try` as scripts and load generators use it: its options, its env file, its signals, its folder.
//!
//! Runs the built binary; knows nothing of its inside.

mod common;

use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

use common::client::Line;
use common::dns::NameServer;
use common::dns::Record;
use common::imap::Imap;
use common::server::PASSWORD;
use common::server::PORTS;
use common::server::Server;
use common::server::facteur;
use common::server::free_base;
use common::server::write_private;
use common::sink::Script;
use common::sink::Sink;
use common::smtp::Smtp;
use common::wait_for;
use rustix::process::Signal;

const NAMES: [&str; 20] = [
    "VARIANT", "HOST", "DOMAIN", "USERS", "PASSWORD", "SMTP", "SMTPS", "SUBM", "IMAP", "IMAPS", "POP3", "POP3S",
    "SINK", "PIDS", "VHOSTS", "CA", "CONFIG", "QUEUE", "STATE", "COLD",
];

/// What a shell prints after it has read the env file.
fn shell(server: &Server, script: &str, args: &[&str]) -> std::process::Output {
    let script = format!(". '{}' && {script}", server.env_file().display());
    Command::new("/bin/sh").arg("-euc").arg(script).arg("sh").args(args).output().expect("there is a shell")
}

#[test]
fn env_file_is_read_by_a_shell_and_names_everything() {
    let server =
        Server::try_out(&["--domain", "odd.example", "--accounts", "alice,user8..user10", "--password", "it's $1"]);
    for name in NAMES {
        let printed = shell(&server, &format!("printf %s \"${name}\""), &[]);
        assert!(printed.status.success(), "{name}: {printed:?}");
        assert_eq!(String::from_utf8_lossy(&printed.stdout), server.value(name), "{name}");
    }
    let fixed = ["VARIANT", "HOST", "DOMAIN", "USERS", "PASSWORD"].map(|name| server.value(name));
    assert_eq!(fixed, ["facteur", "127.0.0.1", "odd.example", "4", "it's $1"]);
    for (name, _, usual) in PORTS {
        assert_eq!(server.port(name), server.base() + usual, "{name}");
        TcpStream::connect(("127.0.0.1", server.port(name))).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert_eq!(server.port("SINK"), server.base() + 925);
    assert_eq!(server.value("PIDS"), server.pid().to_string());
    for name in ["VHOSTS", "CA", "CONFIG", "QUEUE", "STATE"] {
        assert!(Path::new(server.value(name)).is_absolute(), "{name}");
    }
    for name in ["CA", "CONFIG", "QUEUE", "STATE"] {
        assert!(Path::new(server.value(name)).exists(), "{name}");
    }
    let mut imap = Imap::connect_tls(server.port("IMAPS"), server.ca());
    imap.ok("LOGIN user9@odd.example \"it's $1\"");
}

#[test]
fn env_file_of_an_earlier_run_is_gone_before_the_ports_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let env = folder.path().join("env");
    std::fs::write(&env, "SMTP=1\n").expect("written");
    // One port is taken, so this start must fail, and a script that waits for the file must not find the old one.
    let base = free_base();
    let taken = TcpListener::bind(("127.0.0.1", base + 143)).expect("free a moment ago");
    let output = facteur()
        .args(["try", "--base-port", &base.to_string(), "--env"])
        .arg(&env)
        .arg("--dir")
        .arg(folder.path().join("d"))
        .output()
        .expect("the binary runs");
    drop(taken);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains(&format!("127.0.0.1:{}", base + 143)) && complaint.contains("imap"), "{complaint}");
    assert!(!env.exists());
}

#[test]
fn a_thousand_accounts_are_ready() {
    let began = Instant::now();
    let server = Server::try_out(&["--accounts", "user1..user1000"]);
    common::say(&format!("a thousand accounts were ready after {:?}", began.elapsed()));
    assert_eq!(server.value("USERS"), "1000");
    server.deliver("user1000@example.test", "Subject: last\n\nx\n");
    assert_eq!(server.messages("user1000", "INBOX").len(), 1, "no welcome message in a load test");
    server.imap("user1").ok("SELECT INBOX");
}

#[test]
fn restart_on_the_same_folder_keeps_mail_and_uids() {
    let mut server = Server::try_out(&[]);
    server.deliver("alice@example.test", "Subject: kept\n\nbody\n");
    let mut imap = server.imap("alice");
    let selected = imap.ok("SELECT INBOX").texts();
    let validity = |lines: &[String]| lines.iter().find(|l| l.contains("UIDVALIDITY")).cloned();
    imap.ok("STORE 1:* +FLAGS (\\Flagged)");
    imap.ok("LOGOUT");
    let before = server.messages("alice", "INBOX");
    assert_eq!(before.len(), 2, "the welcome message and the one sent");
    let ended = server.terminate();
    assert_eq!(ended.code(), Some(0), "SIGTERM is no failure");
    let server = server.restart();
    assert_eq!(server.messages("alice", "INBOX"), before);
    let mut imap = server.imap("alice");
    assert_eq!(validity(&imap.ok("SELECT INBOX").texts()), validity(&selected));
    assert_eq!(imap.ok("SEARCH FLAGGED").texts(), ["* SEARCH 1 2"]);
}

#[test]
fn sigterm_lets_a_running_transaction_end() {
    let mut server = Server::try_out(&[]);
    let mut smtp = server.smtp();
    smtp.ehlo();
    let mut idle = server.imap("bob");
    assert_eq!(smtp.command("MAIL FROM:<s@load.example>").code, 250);
    assert_eq!(smtp.command("RCPT TO:<alice@example.test>").code, 250);
    assert_eq!(smtp.command("DATA").code, 354);
    smtp.0.send(b"Subject: last\r\n\r\n");
    server.signal(Signal::TERM);
    // The idle session is told first, so the server is stopping when the rest of the message comes.
    assert!(idle.line.rest().iter().any(|line| line.starts_with("* BYE")));
    smtp.0.send(b"x\r\n.\r\n");
    assert_eq!(smtp.reply().code, 250);
    assert!(smtp.next_reply().is_none_or(|reply| reply.code == 421));
    assert_eq!(server.wait().code(), Some(0));
    let server = server.restart();
    let last = server.messages("alice", "INBOX").pop().expect("mail");
    assert!(String::from_utf8_lossy(&last.1).contains("Subject: last\r\n"));
}

#[test]
fn the_temporary_folder_goes_with_the_server() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::try_out(&["--no-dir"]);
        let folder = server.config().parent().expect("a folder").to_owned();
        assert!(folder.join("facteur.toml").exists());
        server.deliver("bob@example.test", "Subject: x\n\nx\n");
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        assert!(!folder.exists(), "{}", folder.display());
    }
}

#[test]
fn cold_makes_the_server_read_a_maildir_again() {
    let server = Server::try_out(&[]);
    server.deliver("alice@example.test", "Subject: x\n\nx\n");
    let before = server.messages("alice", "INBOX");
    let maildir = server.maildir("alice").display().to_string();
    let done = shell(&server, "sh -c \"$COLD\" sh \"$1\"", &[&maildir]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(server.messages("alice", "INBOX"), before);
}

#[test]
fn config_is_accepted_by_serve() {
    let mut server = Server::try_out(&[]);
    server.deliver("alice@example.test", "Subject: x\n\nx\n");
    let checked = server.command(&["check"]);
    assert!(checked.status.success(), "{checked:?}");
    let count = server.messages("alice", "INBOX").len();
    assert!(server.terminate().success());
    let mut serve = facteur()
        .arg("serve")
        .arg("--config")
        .arg(server.config())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let stream = wait_for("the IMAP port of serve", || {
        assert!(serve.try_wait().expect("our child").is_none(), "serve ended");
        TcpStream::connect(("127.0.0.1", server.port("IMAPS"))).ok()
    });
    drop(stream);
    let found = server.messages("alice", "INBOX").len();
    serve.kill().expect("it is running");
    serve.wait().expect("it has ended");
    assert_eq!(found, count);
}

#[test]
fn sighup_brings_new_accounts_and_a_broken_file_changes_nothing() {
    let server = Server::try_out(&[]);
    let known = |address: &str| {
        let mut smtp = server.smtp();
        smtp.ehlo();
        smtp.command("MAIL FROM:<s@load.example>");
        smtp.command(&format!("RCPT TO:<{address}>")).code
    };
    assert_eq!(known("carol@example.test"), 550);
    let text = std::fs::read_to_string(server.config()).expect("readable");
    let hash = text.lines().find_map(|l| l.strip_prefix("password = ")).expect("accounts have hashes").to_owned();
    let more = format!("{text}\n[[account]]\naddress = \"carol@example.test\"\npassword = {hash}\n");
    write_private(server.config(), &more);
    server.signal(Signal::HUP);
    wait_for("the new account", || (known("carol@example.test") == 250).then_some(()));
    server.imap("carol").ok("SELECT INBOX");
    write_private(server.config(), &format!("{more}\nthis is [ no toml\n"));
    server.signal(Signal::HUP);
    wait_for("a complaint", || server.log().contains("not reloaded").then_some(()));
    assert_eq!(known("carol@example.test"), 250);
    server.imap("carol").ok("SELECT INBOX");
}

/// A certificate that is its own authority, and its key.
fn certificate(folder: &Path) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(folder.join("cert.pem"), &cert).expect("written");
    std::fs::write(folder.join("key.pem"), &key).expect("written");
    (cert, key)
}

#[test]
fn certificate_files_replaced_while_running_come_into_force() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    certificate(folder.path());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server = Server::try_out(&["--cert", &path("cert.pem"), "--key", &path("key.pem")]);
    assert_eq!(server.ca(), folder.path().join("cert.pem").canonicalize().expect("it is there"));
    let mut old = Line::connect_tls(server.port("IMAPS"), server.ca());
    let shown = old.certificate();
    certificate(folder.path());
    wait_for("the new certificate", || Line::connect(server.port("IMAPS")).try_tls(server.ca()).ok());
    assert_ne!(Line::connect_tls(server.port("IMAPS"), server.ca()).certificate(), shown);
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp.start_tls(server.ca());
    smtp.ehlo();
    // A connection of before goes on.
    assert!(old.text().starts_with("* OK"));
    old.send(b"a NOOP\r\n");
    assert!(old.text().starts_with("a OK"));
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

#[test]
fn a_maildir_replaced_as_a_whole_is_seen_at_the_next_select() {
    let server = Server::try_out(&["--accounts", "alice,bob,user1..user20"]);
    for n in 0..3 {
        server.deliver("alice@example.test", &format!("Subject: old {n}\n\nx\n"));
    }
    let mut imap = server.imap("alice");
    assert!(imap.ok("SELECT INBOX").has("* 3 EXISTS"));
    let maildir = server.maildir("alice");
    let backup = server.home().join("backup");
    copy_tree(&maildir, &backup);
    std::fs::remove_file(first_message(&backup)).expect("one message fewer in the backup");
    std::fs::write(backup.join("cur/1700000000.M1P1.other,S=20:2,S"), "Subject: restored\n\nx").expect("written");
    std::fs::write(backup.join("cur/1700000001.M1P1.other:2,"), "Subject: second\n\nx\n").expect("written");
    std::fs::rename(&maildir, server.home().join("aside")).expect("moved");
    std::fs::rename(&backup, &maildir).expect("moved");
    assert!(imap.ok("SELECT INBOX").has("* 4 EXISTS"));
    let subjects: Vec<_> = imap.fetch_all("BODY.PEEK[HEADER.FIELDS (SUBJECT)]").into_iter().map(|(_, s)| s).collect();
    assert!(subjects.iter().any(|s| s.starts_with(b"Subject: restored")), "{subjects:?}");
    // And a message delivered now goes into the new one.
    server.deliver("alice@example.test", "Subject: after\n\nx\n");
    assert!(imap.ok("NOOP").has("5 EXISTS") || imap.ok("SELECT INBOX").has("* 5 EXISTS"));
}

fn first_message(maildir: &Path) -> std::path::PathBuf {
    let mut all: Vec<_> = ["new", "cur"]
        .iter()
        .flat_map(|f| std::fs::read_dir(maildir.join(f)).expect("a Maildir"))
        .map(|e| e.expect("readable").path())
        .collect();
    all.sort();
    all.remove(0)
}

#[test]
fn outside_mail_goes_to_the_sink_and_a_relay_can_be_named() {
    let server = Server::try_out(&[]);
    let sink = Sink::start("127.0.0.1", server.port("SINK"), Script::default());
    let submit = |server: &Server| {
        let mut smtp = server.submissions();
        smtp.ehlo();
        smtp.login("alice");
        let reply = smtp.send_message("alice@example.test", &["far@elsewhere.example"], "Subject: out\n\nx\n");
        assert_eq!(reply.code, 250, "{reply:?}");
    };
    submit(&server);
    let taken = wait_for("the message at the sink", || sink.taken().pop());
    assert_eq!(
        (taken.from.as_str(), taken.to.as_slice()),
        ("alice@example.test", &["far@elsewhere.example".to_owned()][..])
    );
    let other = Sink::start("127.0.0.1", 0, Script::default());
    let server = Server::try_out(&["--relay", &format!("127.0.0.1:{}", other.port())]);
    assert_eq!(server.port("SINK"), other.port());
    submit(&server);
    wait_for("the message at the relay", || other.taken().pop());
}

#[test]
fn mail_by_mx_with_a_name_server_of_the_callers() {
    let dns = NameServer::start(&[("null.test", Record::NullMx)]);
    let server = Server::try_out(&["--relay", "mx", "--dns", &dns.address().to_string()]);
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    // The user learns of it at once; that it is refused shows that the answer came from there.
    let reply = smtp.send_message("alice@example.test", &["x@null.test"], "Subject: out\n\nx\n");
    assert_eq!(reply.code, 556, "{reply:?}");
    assert!(dns.asked() > 0);
}

#[test]
fn logins_without_tls_only_where_they_are_allowed() {
    for (args, allowed) in [(&["--plaintext-login"][..], true), (&[][..], false)] {
        let server = Server::try_out(args);
        let mut imap = Imap::connect(server.port("IMAP"));
        let answer = imap.command(&format!("LOGIN alice@example.test {PASSWORD}"));
        assert_eq!(answer.tagged.starts_with("OK"), allowed, "{answer:?}");
        let mut smtp = Smtp::connect(server.port("SUBM"));
        assert_eq!(smtp.ehlo().iter().any(|l| l.contains("AUTH")), allowed);
        let mut pop3 = common::pop3::Pop3::connect(server.port("POP3"));
        assert_eq!(pop3.command("USER alice@example.test").starts_with("+OK"), allowed);
    }
}

#[test]
fn unlimited_lifts_the_limits_on_connections() {
    let server = Server::try_out(&[]);
    let crowd: Vec<_> = (0..20).map(|_| server.smtp()).collect();
    assert!(Line::connect(server.port("SMTP")).text().starts_with("421 4.7.0"));
    drop(crowd);
    let server = Server::try_out(&["--unlimited"]);
    let crowd: Vec<_> = (0..80).map(|_| server.smtp()).collect();
    assert_eq!(crowd.len(), 80);
}

#[test]
fn bad_options_are_told_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (args, word) in [
        (&["--base-port", "65000"][..], "65000"),
        (&["--accounts", "user9..user1"], "range"),
        (&["--accounts", "a b"], "accounts"),
        (&["--cert", "/nowhere/cert.pem"], "--key"),
        (&["--relay", "nowhere"], "HOST:PORT"),
        (&["--domain", "not a domain"], "domain"),
    ] {
        let output = facteur().arg("try").args(args).env("TMPDIR", folder.path()).output().expect("the binary runs");
        assert!(!output.status.success(), "{args:?}");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.contains(word), "{args:?}: {complaint}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "{args:?}");
    }
}
