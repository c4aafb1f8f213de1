//! Mail programs that we did not write, against the built binary; each is skipped with a line where it is missing, and
//! required where `FACTEUR_REQUIRE_INTEROP=1`. Certificates are verified wherever the program can.

mod common;
#[path = "interop/conversation.rs"]
mod conversation;
#[path = "interop/maildirs.rs"]
mod maildirs;
#[path = "interop/milters.rs"]
mod milters;
#[path = "interop/neomutt.rs"]
mod neomutt;

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use common::imap::Imap;
use common::installed;
use common::server::PASSWORD;
use common::server::PORTS;
use common::server::Server;

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";

/// Runs a program to its end, which must be a success.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it is installed");
    said(command, &output, true)
}

/// What a program said, with what it should have come to.
fn said(command: &Command, output: &Output, success: bool) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), success, "{command:?}: {}\n{out}\n{err}", output.status);
    out
}

/// Runs a program that must fail.
fn fails(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it is installed");
    said(command, &output, false);
}

fn count(messages: &[(u32, Vec<u8>)], what: &str) -> usize {
    messages.iter().filter(|(_, text)| memchr::memmem::find(text, what.as_bytes()).is_some()).count()
}

/// What a search in the selected mailbox finds.
fn search(imap: &mut Imap, what: &str) -> String {
    imap.ok(&format!("SEARCH {what}")).texts().join("")
}

fn python(server: &Server, script: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script);
    let mut command = Command::new("python3");
    command.arg("-B").arg(file).env("PASSWORD", PASSWORD).env("DOMAIN", "example.test").env("CA", server.ca());
    for (name, _, _) in PORTS {
        command.env(name, server.value(name));
    }
    run(&mut command);
}

#[test]
fn smtplib() {
    if !installed("python3") {
        return;
    }
    let server = Server::try_out(&["--unlimited"]);
    python(&server, "smtp.py");
    let inbox = server.messages("bob", "INBOX");
    for subject in ["25", "25 TLS", "null sender", "half", "587", "465 PLAIN", "many 9", "large"] {
        assert_eq!(count(&inbox, &format!("Subject: smtplib {subject}\r\n")), 1, "{subject}");
    }
    let text = "Gr\u{fc}\u{df}e\r\n.\r\n..dots\r\nthe end\r\n";
    assert!(count(&inbox, text) >= 13, "the text is as it was sent");
    assert_eq!(count(&inbox, "with ESMTPSA"), 1 + 2 + 11);
}

#[test]
fn imaplib() {
    if installed("python3") {
        python(&Server::try_out(&["--unlimited"]), "imap.py");
    }
}

#[test]
fn poplib() {
    if installed("python3") {
        python(&Server::try_out(&["--unlimited"]), "pop3.py");
    }
}

/// curl with what all calls have in common: the authority, a time limit, silence but for errors.
fn curl(server: &Server, url: &str) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--cacert"]).arg(server.ca());
    command.args(["--url", url]);
    command
}

/// A message in a file, CRLF at the ends of its lines.
fn letter(folder: &Path, name: &str, body: &str) -> PathBuf {
    let file = folder.join(format!("{}.eml", name.replace([' ', '/'], "-")));
    let text = format!("From: <{ALICE}>\r\nTo: <{BOB}>\r\nSubject: {name}\r\n\r\n{body}\r\n");
    std::fs::write(&file, text).expect("written");
    file
}

#[test]
fn curl_sends() {
    if !installed("curl") {
        return;
    }
    let server = Server::try_out(&[]);
    let user = format!("{ALICE}:{PASSWORD}");
    for (scheme, port, options) in [
        ("smtp", "SMTP", &[][..]),
        ("smtp", "SMTP", &["--ssl-reqd"]),
        ("smtp", "SUBM", &["--ssl-reqd", "--user", &user]),
        ("smtps", "SMTPS", &["--user", &user]),
        ("smtps", "SMTPS", &["--user", &user, "--login-options", "AUTH=PLAIN"]),
    ] {
        let name = format!("curl {port} {}", options.len());
        let file = letter(server.home(), &name, ".one dot\r\n..two");
        let url = format!("{scheme}://localhost:{}/client.example", server.port(port));
        run(curl(&server, &url)
            .args(["--mail-from", ALICE, "--mail-rcpt", BOB])
            .args(options)
            .arg("--upload-file")
            .arg(file));
        let inbox = server.messages("bob", "INBOX");
        assert_eq!(count(&inbox, &format!("Subject: {name}\r\n\r\n.one dot\r\n..two\r\n")), 1, "{name}");
    }
    let url = format!("smtp://localhost:{}/client.example", server.port("SMTP"));
    let file = letter(server.home(), "refused", "x");
    fails(
        curl(&server, &url)
            .args(["--mail-from", ALICE, "--mail-rcpt", "v@elsewhere.example", "--upload-file"])
            .arg(file),
    );
}

#[test]
fn curl_reads() {
    if !installed("curl") {
        return;
    }
    let server = Server::try_out(&[]);
    server.deliver(ALICE, "Subject: for curl\n\nthe text\n");
    let user = format!("{ALICE}:{PASSWORD}");
    for (scheme, port) in [("imap", "IMAP"), ("imaps", "IMAPS")] {
        let url = |path: &str| format!("{scheme}://localhost:{}/{path}", server.port(port));
        let get = |path: &str, options: &[&str]| {
            run(curl(&server, &url(path)).args(["--ssl-reqd", "--user", &user]).args(options))
        };
        assert!(get("", &[]).contains("INBOX"), "{scheme}: the list of mailboxes");
        assert!(get("INBOX;MAILINDEX=2", &[]).contains("Subject: for curl\r\n\r\nthe text\r\n"));
        assert!(get("INBOX;MAILINDEX=2;SECTION=TEXT", &[]).ends_with("the text\r\n"));
        assert!(get("INBOX?SUBJECT%20curl", &[]).contains("* SEARCH 2"));
        assert!(get("INBOX", &["--request", "STORE 2 +FLAGS \\Flagged"]).contains("\\Flagged"));
        assert!(get("INBOX", &["--request", "FETCH 2 (FLAGS)"]).contains("\\Flagged"));
        assert!(get("", &["--request", &format!("CREATE by-{scheme}")]).is_empty());
        let file = letter(server.home(), &format!("appended by {scheme}"), "x");
        run(curl(&server, &url("Sent")).args(["--ssl-reqd", "--user", &user, "--upload-file"]).arg(file));
        assert_eq!(count(&server.messages("alice", "Sent"), &format!("Subject: appended by {scheme}\r\n")), 1);
    }
    for (scheme, port) in [("pop3", "POP3"), ("pop3s", "POP3S")] {
        let get = |path: &str, options: &[&str]| {
            let url = format!("{scheme}://localhost:{}/{path}", server.port(port));
            run(curl(&server, &url).args(["--ssl-reqd", "--user", &user]).args(options))
        };
        assert_eq!(get("", &[]).lines().count(), 2, "{scheme}: LIST");
        assert!(get("2", &[]).contains("Subject: for curl\r\n\r\nthe text\r\n"));
        assert_eq!(get("", &["--request", "UIDL"]).lines().count(), 2);
        assert!(get("", &["--request", "TOP 2 0"]).contains("Subject: for curl"));
    }
    let url = format!("pop3s://localhost:{}/1", server.port("POP3S"));
    run(curl(&server, &url).args(["--user", &user, "--request", "DELE", "--list-only"]));
    assert_eq!(server.messages("alice", "INBOX").len(), 1);
    // Without the authority the certificate is not believed: it was verified above.
    let url = format!("imaps://localhost:{}/", server.port("IMAPS"));
    fails(Command::new("curl").args(["--silent", "--max-time", "30", "--user", &user, "--url", &url]));
}

#[test]
fn swaks() {
    if !installed("swaks") {
        return;
    }
    let server = Server::try_out(&["--unlimited"]);
    let swaks = |port: &str, subject: &str, options: &[&str]| {
        let mut command = Command::new("swaks");
        command.args(["--server", "localhost", "--port", server.value(port), "--from", ALICE, "--to", BOB]);
        command.args(["--header", &format!("Subject: swaks {subject}"), "--timeout", "20", "--body", "hello\n.\n"]);
        command.args(options);
        command
    };
    let tls = ["--tls-verify", "--tls-ca-path", server.value("CA")];
    let login = |mechanism| ["--auth", mechanism, "--auth-user", ALICE, "--auth-password", PASSWORD];
    run(&mut swaks("SMTP", "25", &[]));
    run(swaks("SMTP", "25 TLS", &["--tls"]).args(tls));
    run(swaks("SMTP", "pipelined", &["--pipeline"]).args(tls));
    run(swaks("SUBM", "587", &["--tls"]).args(tls).args(login("PLAIN")));
    run(swaks("SMTPS", "465", &["--tls-on-connect"]).args(tls).args(login("PLAIN")));
    run(swaks("SMTPS", "465 LOGIN", &["--tls-on-connect"]).args(tls).args(login("LOGIN")));
    let inbox = server.messages("bob", "INBOX");
    for subject in ["25", "25 TLS", "pipelined", "587", "465", "465 LOGIN"] {
        assert_eq!(count(&inbox, &format!("Subject: swaks {subject}\r\n")), 1, "{subject}");
    }
    // Refusals, by their exit codes: 24 for RCPT, 28 for the login, 23 for MAIL.
    let code = |command: &mut Command| command.stdin(Stdio::null()).output().expect("installed").status.code();
    assert_eq!(code(swaks("SMTP", "x", &[]).args(["--to", "v@elsewhere.example"])), Some(24));
    assert_eq!(code(&mut swaks("SUBM", "x", &[])), Some(23), "no login, no mail");
    let wrong = ["--auth", "PLAIN", "--auth-user", ALICE, "--auth-password", "wrong"];
    assert_eq!(code(swaks("SMTPS", "x", &["--tls-on-connect"]).args(wrong)), Some(28));
    let foreign = swaks("SMTPS", "x", &["--tls-on-connect"]).args(login("PLAIN")).args(["--from", BOB]).output();
    assert_eq!(foreign.expect("installed").status.code(), Some(23), "in the name of another");
}

/// The one file of a Maildir whose text contains this.
fn file_with(maildir: &Path, what: &str) -> PathBuf {
    let found: Vec<PathBuf> = ["new", "cur"]
        .iter()
        .flat_map(|part| std::fs::read_dir(maildir.join(part)).expect("a Maildir"))
        .map(|entry| entry.expect("readable").path())
        .filter(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains(what)))
        .collect();
    assert_eq!(found.len(), 1, "{what} in {}", maildir.display());
    found[0].clone()
}
