//! Milters that people run: rspamd judges, OpenDKIM verifies.

use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;

use super::ALICE;
use super::common::installed;
use super::common::is_root;
use super::common::server::Server;
use super::common::server::free_port;
use super::common::smtp::Smtp;
use super::common::wait_for;

/// A program in the background, ended by its pid: asked first, so that it ends what it has started.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            kill_process(pid, Signal::TERM).ok();
        }
        for _ in 0..100 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The pattern that every filter takes for junk, put together here so that no filter takes this file for it.
fn gtube(first: char) -> String {
    format!("{first}JS*C4JDBQADN1.NSBN3*2IDNEN*{}*C.34X", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL")
}

fn rspamd(folder: &Path) -> (Background, u16) {
    let port = free_port("127.0.0.1");
    let home = folder.display();
    let config = format!(
        "options {{ filters = \"\"; enable_test_patterns = true; tempdir = \"{home}\"; pidfile = \"{home}/pid\"; \
         dns {{ nameserver = [\"127.0.0.1:{}\"]; timeout = 1s; retransmits = 1; }} }}\n\
         logging {{ type = \"file\"; filename = \"{home}/log\"; level = \"info\"; }}\n\
         metric \"default\" {{ actions {{ reject = 15; add_header = 6; }} }}\n\
         worker \"rspamd_proxy\" {{ bind_socket = \"127.0.0.1:{port}\"; milter = yes; count = 1; timeout = 20s; \
         upstream \"local\" {{ default = yes; self_scan = yes; }} }}\n",
        free_port("127.0.0.1"),
    );
    let file = folder.join("rspamd.conf");
    std::fs::write(&file, config).expect("written");
    let mut command = Command::new("rspamd");
    command.arg("-f").arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if is_root() {
        command.arg("-i");
    }
    let child = Background(command.spawn().expect("it is installed"));
    wait_for("rspamd", || TcpStream::connect(("127.0.0.1", port)).ok());
    (child, port)
}

fn send(server: &Server, text: &str) -> String {
    let mut smtp = Smtp::connect(server.port("SMTP"));
    smtp.ehlo();
    let message = format!("From: <s@there.example>\nTo: <{ALICE}>\nSubject: for a filter\n\n{text}\n");
    smtp.send_message("s@there.example", &[ALICE], &message).text().to_owned()
}

#[test]
fn rspamd_judges() {
    if !installed("rspamd") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_rspamd, port) = rspamd(folder.path());
    let section = format!("[dns]\nresolver = \"off\"\n[[milter]]\naddress = \"inet:127.0.0.1:{port}\"\n");
    let refusing = Server::serve(&section);
    let reply = send(&refusing, &gtube('X'));
    assert!(reply.starts_with("554 5.7.1 Gtube pattern"), "{reply}");
    assert!(refusing.messages("alice", "INBOX").is_empty());
    assert!(send(&refusing, "nothing but a text").starts_with("250"));
    assert_eq!(refusing.messages("alice", "INBOX").len(), 1);
    // The pattern that only asks for a mark.
    assert!(send(&refusing, &gtube('Y')).starts_with("250"));
    let junk = refusing.messages("alice", "Junk");
    let text = String::from_utf8_lossy(&junk[0].1);
    assert!(text.contains("\r\nX-Spam: Yes\r\n") && text.contains("X-Junk-Reason: milter inet:"), "{text}");

    let filing = Server::serve(&format!("{section}refused = \"junk\"\n"));
    assert!(send(&filing, &gtube('X')).starts_with("250"));
    assert!(filing.messages("alice", "INBOX").is_empty());
    let junk = filing.messages("alice", "Junk");
    assert!(String::from_utf8_lossy(&junk[0].1).contains("554 5.7.1 Gtube pattern"), "{junk:?}");
}

#[test]
fn opendkim_looks_at_mail_of_both_ways() {
    if !installed("opendkim") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_port("127.0.0.1");
    let file = folder.path().join("opendkim.conf");
    let config = format!(
        "Socket inet:{port}@127.0.0.1\nMode v\nAlwaysAddARHeader yes\nSyslog no\nBackground no\nInternalHosts {}\n\
         Nameservers 127.0.0.1\nDNSTimeout 1\n",
        folder.path().join("nobody").display()
    );
    std::fs::write(folder.path().join("nobody"), "192.0.2.1\n").expect("written");
    std::fs::write(&file, config).expect("written");
    let mut command = Command::new("opendkim");
    command.arg("-f").arg("-x").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
    let _opendkim = Background(command.spawn().expect("it is installed"));
    wait_for("opendkim", || TcpStream::connect(("127.0.0.1", port)).ok());
    let server = Server::serve(&format!("[dns]\nresolver = \"off\"\n[[milter]]\naddress = \"127.0.0.1:{port}\"\n"));
    assert!(send(&server, "no signature").starts_with("250"));
    let inbox = server.messages("alice", "INBOX");
    let text = String::from_utf8_lossy(&inbox[0].1);
    assert!(text.contains("dkim=none"), "the field of the milter: {text}");
}

#[test]
fn a_milter_that_is_not_there() {
    let port = free_port("127.0.0.1");
    let section = format!("[dns]\nresolver = \"off\"\n[[milter]]\naddress = \"inet:127.0.0.1:{port}\"\n");
    for (action, wanted, mailbox) in [
        ("tempfail", "451 4.7.1 Service unavailable", None),
        ("accept", "250", Some("INBOX")),
        ("junk", "250", Some("Junk")),
    ] {
        let server = Server::serve(&format!("{section}default_action = \"{action}\"\n"));
        let reply = send(&server, "x");
        assert!(reply.starts_with(wanted), "{action}: {reply}");
        for name in ["INBOX", "Junk"] {
            assert_eq!(server.messages("alice", name).len(), usize::from(mailbox == Some(name)), "{action}: {name}");
        }
    }
}
