//! Facteur among other mail servers: a Postfix from Debian where there is one, scripted servers and a name server of
//! the test's own everywhere. What is refused comes back as a report, what cannot go now waits.

mod common;

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use common::available;
use common::dns::NameServer;
use common::dns::Record;
use common::installed;
use common::is_root;
use common::server::Server;
use common::server::free_port;
use common::sink::Script;
use common::sink::Sink;
use common::sink::Tls;
use common::smtp::Reply;
use common::smtp::Smtp;
use common::wait_for;

const ALICE: &str = "alice@example.test";

/// A server that delivers by MX on this port, asks this name server, and has these further sections.
fn by_mx(dns: &NameServer, port: u16, sections: &str) -> Server {
    by_mx_within(dns, "5s", port, sections)
}

/// As [`by_mx`], where a question to the name server may take so long.
fn by_mx_within(dns: &NameServer, patience: &str, port: u16, sections: &str) -> Server {
    Server::serve(&format!(
        "[outbound]\nport = {port}\nconnect_timeout = \"5s\"\n[dns]\nresolver = \"{}\"\ntimeout = \"{patience}\"\n\
         [limits]\nfailed_logins = 0\n{sections}",
        dns.address()
    ))
}

/// Sends a message as alice.
fn submit(server: &Server, to: &[&str], message: &str) -> Reply {
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    let reply = smtp.send_message(ALICE, to, message);
    assert_eq!(reply.code, 250, "{reply:?}");
    reply
}

/// The waiting mail, as JSON.
fn waiting(server: &Server) -> Vec<serde_json::Value> {
    let output = server.command(&["queue", "list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

/// Waits until exactly one message with one recipient waits, for a reason that contains these words.
fn waits_for(server: &Server, recipient: &str, reason: &str) {
    let last = std::cell::RefCell::new(Vec::new());
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for(&format!("{recipient} waiting because of {reason:?}"), || {
            let waiting = waiting(server);
            let to = waiting.first().map(|w| w["recipients"][0].clone()).unwrap_or_default();
            let found = waiting.len() == 1
                && to["address"] == recipient
                && to["delay_reason"].as_str().is_some_and(|why| why.contains(reason));
            last.replace(waiting);
            found.then_some(())
        });
    }));
    assert!(found.is_ok(), "{recipient}, {reason:?}: {:?}", last.borrow());
}

fn flush(server: &Server) {
    let output = server.command(&["queue", "flush"]);
    assert!(output.status.success(), "{output:?}");
}

fn is_empty(server: &Server) {
    wait_for("an empty queue", || waiting(server).is_empty().then_some(()));
}

/// The report of a failure in alice's inbox (RFC 3464), which must name the recipient and these words.
fn bounced(server: &Server, recipient: &str, words: &[&str]) -> String {
    let mut imap = server.imap("alice");
    let text = wait_for("a report", || {
        imap.ok("EXAMINE INBOX");
        let mut texts =
            imap.fetch_all("BODY.PEEK[]").into_iter().map(|(_, text)| String::from_utf8_lossy(&text).into_owned());
        texts.find(|text| text.contains(&format!("Final-Recipient: rfc822; {recipient}")))
    });
    for word in ["Return-Path: <>", "multipart/report; report-type=delivery-status", "Action: failed"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    is_empty(server);
    text
}

/// One sink behind the MX of far.test.
fn far(script: Script) -> (Sink, NameServer) {
    let sink = Sink::start("127.0.0.2", 0, script);
    let dns = NameServer::start(&[
        ("far.test", Record::Mx(10, "mx.far.test")),
        ("mx.far.test", Record::A([127, 0, 0, 2].into())),
    ]);
    (sink, dns)
}

#[test]
fn by_mx_with_an_eight_bit_body() {
    let (sink, dns) = far(Script::default());
    let server = by_mx(&dns, sink.port(), "");
    let text = "From: alice@example.test\nSubject: out\nDate: Sun, 22 Nov 2026 01:00:00 +0000\n\
                Message-ID: <out@example.test>\n\nGr\u{fc}\u{df}e\n.\n..two\n";
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    assert_eq!(smtp.command("MAIL FROM:<alice@example.test> BODY=8BITMIME").code, 250);
    assert_eq!(smtp.command("RCPT TO:<x@far.test>").code, 250);
    assert_eq!(smtp.command("DATA").code, 354);
    smtp.0.send(&common::smtp::wire(text));
    assert_eq!(smtp.reply().code, 250);
    let taken = wait_for("the message", || sink.taken().pop());
    assert_eq!((taken.from.as_str(), &taken.to), (ALICE, &vec!["x@far.test".to_owned()]));
    assert!(taken.text().ends_with("\r\n\r\nGr\u{fc}\u{df}e\r\n.\r\n..two\r\n"), "{}", taken.text());
    assert!(taken.commands.iter().any(|c| c.contains("BODY=8BITMIME")), "{:?}", taken.commands);
    assert!(taken.text().starts_with("Received: "), "{}", taken.text());
    is_empty(&server);
}

#[test]
fn broken_tls_of_the_other_side_falls_back_to_clear() {
    let (sink, dns) = far(Script { tls: Tls::Broken, ..Script::default() });
    let server = by_mx(&dns, sink.port(), "");
    submit(&server, &["x@far.test"], "Subject: out\n\nx\n");
    let taken = wait_for("the message", || sink.taken().pop());
    assert!(!taken.commands.iter().any(|c| c == "STARTTLS"), "{:?}", taken.commands);
    assert_eq!(sink.connections(), 2, "once with STARTTLS, once without");
    is_empty(&server);
}

#[test]
fn octets_injected_before_the_handshake_are_no_reply() {
    let (sink, dns) = far(Script { tls: Tls::Injected, ..Script::default() });
    let server = by_mx(&dns, sink.port(), "");
    submit(&server, &["x@far.test"], "Subject: out\n\nx\n");
    waits_for(&server, "x@far.test", "STARTTLS");
    assert!(sink.taken().is_empty());
}

#[test]
fn two_recipients_of_whom_one_is_refused() {
    let refused = ("nobody@", "550 5.1.1 no such user here");
    let (sink, dns) = far(Script { recipients: vec![refused], ..Script::default() });
    let server = by_mx(&dns, sink.port(), "");
    submit(&server, &["x@far.test", "nobody@far.test"], "Subject: half\n\nx\n");
    let text = bounced(&server, "nobody@far.test", &["Status: 5.1.1", "550 5.1.1 no such user here", "Subject: half"]);
    assert!(!text.contains("x@far.test\r\nAction"), "{text}");
    let taken = sink.taken();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].to, ["x@far.test"]);
}

#[test]
fn a_refusal_at_the_end_of_data_comes_back() {
    let (sink, dns) = far(Script { data: Some("554 5.7.1 we do not like it"), ..Script::default() });
    let server = by_mx(&dns, sink.port(), "");
    submit(&server, &["x@far.test"], "Subject: disliked\n\nx\n");
    bounced(&server, "x@far.test", &["Status: 5.7.1", "we do not like it"]);
    assert!(sink.taken().is_empty());
}

#[test]
fn a_temporary_refusal_waits_and_goes_out_at_flush() {
    let busy = Script { recipients: vec![("x@", "451 4.7.1 greylisted, come again")], ..Script::default() };
    let (sink, dns) = far(busy);
    let mut server = by_mx(&dns, sink.port(), "");
    submit(&server, &["x@far.test"], "Subject: later\n\nx\n");
    waits_for(&server, "x@far.test", "greylisted");
    // Neither a crash nor a restart loses it.
    server.kill_9();
    let server = server.restart();
    waits_for(&server, "x@far.test", "greylisted");
    sink.set(Script::default());
    flush(&server);
    wait_for("the message", || sink.taken().pop());
    is_empty(&server);
    assert_eq!(sink.taken().len(), 1);
    assert_eq!(server.messages("alice", "INBOX").len(), 0, "no report");
}

#[test]
fn retries_come_by_themselves_until_the_lifetime_is_over() {
    let busy = Script { recipients: vec![("late@", "451 4.7.1 not yet")], ..Script::default() };
    let (sink, dns) = far(busy);
    let queue = "[queue]\nretry_min = \"1s\"\nretry_max = \"1s\"\nlifetime = \"3s\"\n";
    let server = by_mx(&dns, sink.port(), queue);
    submit(&server, &["late@far.test"], "Subject: late\n\nx\n");
    bounced(&server, "late@far.test", &["not yet"]);
    assert!(sink.connections() >= 2, "{}", sink.connections());
}

#[test]
fn the_next_exchanger_is_tried_and_a_domain_without_any_has_its_address() {
    let sink = Sink::start("127.0.0.2", 0, Script::default());
    let dns = NameServer::start(&[
        ("two.test", Record::Mx(10, "down.two.test")),
        ("two.test", Record::Mx(20, "up.two.test")),
        ("down.two.test", Record::A([127, 0, 0, 3].into())),
        ("up.two.test", Record::A([127, 0, 0, 2].into())),
        ("bare.test", Record::A([127, 0, 0, 2].into())),
    ]);
    let server = by_mx(&dns, sink.port(), "");
    submit(&server, &["x@two.test"], "Subject: second\n\nx\n");
    wait_for("the message by the second exchanger", || (sink.taken().len() == 1).then_some(()));
    submit(&server, &["x@bare.test"], "Subject: bare\n\nx\n");
    wait_for("the message by the address", || (sink.taken().len() == 2).then_some(()));
    is_empty(&server);
}

#[test]
fn null_mx_and_a_domain_that_does_not_exist_bounce_at_once() {
    let dns = NameServer::start(&[("null.test", Record::NullMx)]);
    let server = by_mx(&dns, free_port("127.0.0.2"), "[checks]\nrecipient_domain = \"off\"\n");
    submit(&server, &["x@null.test"], "Subject: null\n\nx\n");
    bounced(&server, "x@null.test", &["Status: 5.1.10"]);
    submit(&server, &["x@nowhere.test"], "Subject: nowhere\n\nx\n");
    bounced(&server, "x@nowhere.test", &["Status: 5.1.2"]);
}

#[test]
fn a_name_server_that_fails_or_is_silent_keeps_mail_waiting() {
    for doubt in [Record::Broken, Record::Silent] {
        let sink = Sink::start("127.0.0.2", 0, Script::default());
        let dns = NameServer::start(&[("doubt.test", doubt)]);
        let server = by_mx_within(&dns, "1s", sink.port(), "");
        submit(&server, &["x@doubt.test"], "Subject: doubt\n\nx\n");
        // Some reason is named: the attempt was made and gave no certain answer.
        waits_for(&server, "x@doubt.test", " ");
        assert!(dns.asked() > 0);
        assert_eq!(server.messages("alice", "INBOX").len(), 0, "no report for a doubt");
        dns.clear("doubt.test");
        dns.add("doubt.test", Record::Mx(5, "mx.doubt.test"));
        dns.add("mx.doubt.test", Record::A([127, 0, 0, 2].into()));
        flush(&server);
        wait_for("the message", || sink.taken().pop());
        is_empty(&server);
    }
}

#[test]
fn a_host_that_is_down_keeps_mail_waiting() {
    let port = free_port("127.0.0.2");
    let dns = NameServer::start(&[("down.test", Record::A([127, 0, 0, 2].into()))]);
    let server = by_mx(&dns, port, "");
    submit(&server, &["x@down.test"], "Subject: down\n\nx\n");
    waits_for(&server, "x@down.test", "onnect");
    let sink = Sink::start("127.0.0.2", port, Script::default());
    flush(&server);
    wait_for("the message", || sink.taken().pop());
    is_empty(&server);
}

/// Says the same over and over to everybody who connects, until he hangs up.
struct Babbler {
    address: std::net::SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Babbler {
    fn start(address: &str, port: u16, first: &'static [u8], again: &'static [u8]) -> Self {
        let listener = TcpListener::bind((address, port)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                // Whoever does not listen makes writing fail, which is the end.
                let mut more = stream.write_all(first).is_ok() && !again.is_empty();
                while more && !stopped.load(Ordering::Relaxed) {
                    more = stream.write_all(again).is_ok();
                }
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for Babbler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[test]
fn hostile_exchangers_hold_up_nobody() {
    let (sink, dns) = far(Script::default());
    let line = b"220-x\r\n220-x\r\n220-x\r\n220-x\r\n220-x\r\n220-x\r\n220-x\r\n220-x\r\n";
    let cases: [(&'static [u8], &'static [u8]); 6] = [
        (b"220 ", &[b'x'; 4096]),
        (b"", line),
        (b"999 nonsense\r\n", b""),
        (b"\0\0\0\r\n", b""),
        (b"", b""),
        (b"220 ok\r\n354 go on\r\n250 taken\r\n250 taken\r\n250 taken\r\n250 taken\r\n221 bye\r\n", b""),
    ];
    let mut hostile = Vec::new();
    for (n, (first, again)) in (10_u8..).zip(cases) {
        let ip = [127, 0, 0, n];
        hostile.push(Babbler::start(&std::net::Ipv4Addr::from(ip).to_string(), sink.port(), first, again));
        dns.add(&format!("hostile{n}.test"), Record::A(ip.into()));
    }
    let server = by_mx(&dns, sink.port(), "");
    let before = server.memory();
    let count = hostile.len();
    for n in 10..10 + count {
        submit(&server, &[&format!("x@hostile{n}.test")], "Subject: out\n\nx\n");
    }
    submit(&server, &["x@far.test"], "Subject: good\n\nx\n");
    wait_for("the message that is not hostile", || sink.taken().pop());
    wait_for("every attempt", || {
        let waiting = waiting(&server);
        let tried = |w: &serde_json::Value| w["recipients"][0]["delay_reason"].as_str().is_some_and(|r| !r.is_empty());
        (waiting.len() == count && waiting.iter().all(tried)).then_some(())
    });
    assert!(server.memory() < before + 32 * 1024, "from {before} to {} KiB", server.memory());
}

/// A Postfix that lives wholly in a temporary folder: the host of neighbour.test, with one mailbox, carol's.
struct Postfix {
    folder: tempfile::TempDir,
    port: u16,
}

/// Whom mail for carol belongs to.
const NOBODY: u32 = 65_534;

impl Postfix {
    /// Starts it; mail for example.test goes to the port given.
    fn start(port: u16, facteur: u16) -> Self {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::fs::chown;
        let folder = tempfile::Builder::new().prefix("facteur-postfix-").tempdir().expect("a temporary folder");
        let path = folder.path().to_owned();
        // Its processes give up root, and must find their way in.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
        for part in ["conf", "queue", "data", "mail", "log"] {
            std::fs::create_dir(path.join(part)).expect("made");
        }
        let passwd = std::fs::read_to_string("/etc/passwd").expect("readable by all");
        let user = passwd.lines().find(|line| line.starts_with("postfix:")).expect("Debian makes this user");
        let owner = user.split(':').nth(2).and_then(|uid| uid.parse().ok()).expect("a number");
        chown(path.join("data"), Some(owner), None).expect("root may");
        chown(path.join("mail"), Some(NOBODY), Some(NOBODY)).expect("root may");
        let made = rcgen::generate_simple_self_signed(["mx.neighbour.test".to_owned()]).expect("a certificate");
        let pem = made.signing_key.serialize_pem() + &made.cert.pem();
        common::server::write_private(&path.join("conf/tls.pem"), &pem);
        std::fs::write(path.join("conf/main.cf"), main_cf(&path, facteur)).expect("written");
        std::fs::write(path.join("conf/master.cf"), master_cf(port)).expect("written");
        let postfix = Self { folder, port };
        postfix.run("start");
        postfix
    }

    fn run(&self, command: &str) {
        let output = Command::new("postfix")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .arg("-c")
            .arg(self.folder.path().join("conf"))
            .arg(command)
            .stdin(Stdio::null())
            .output()
            .expect("it is installed");
        assert!(output.status.success(), "postfix {command}: {output:?}\n{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log/mail.log")).unwrap_or_default()
    }

    /// Carol's messages.
    fn inbox(&self) -> Vec<String> {
        let folder = self.folder.path().join("mail/carol/new");
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|e| std::fs::read_to_string(e.expect("readable").path()).expect("readable")).collect()
    }

    /// Waits for a message of carol's that contains this.
    fn has(&self, what: &str) -> String {
        wait_for(&format!("{what} at Postfix"), || self.inbox().into_iter().find(|text| text.contains(what)))
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            common::say(&format!("--- log of Postfix\n{}---", self.log()));
        }
        if self.folder.path().join("queue/pid/master.pid").exists() {
            // By its own command, which knows its process. When it does not run, that says so and no more.
            let mut stop = Command::new("postfix");
            stop.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .arg("-c")
                .arg(self.folder.path().join("conf"))
                .arg("stop");
            stop.stdin(Stdio::null()).output().ok();
        }
    }
}

fn main_cf(path: &Path, facteur: u16) -> String {
    let path = path.display();
    format!(
        "compatibility_level = 3.6\nconfig_directory = {path}/conf\nqueue_directory = {path}/queue\n\
         data_directory = {path}/data\nmaillog_file = {path}/log/mail.log\nmaillog_file_prefixes = {path}\n\
         daemon_directory = /usr/lib/postfix/sbin\ncommand_directory = /usr/sbin\nmail_owner = postfix\n\
         setgid_group = postdrop\nmyhostname = mx.neighbour.test\nmydomain = neighbour.test\nmydestination =\n\
         local_recipient_maps =\nalias_maps =\nalias_database =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         mynetworks = 127.0.0.0/8\nbiff = no\nappend_dot_mydomain = no\nsmtpd_peername_lookup = no\n\
         virtual_mailbox_domains = neighbour.test\nvirtual_mailbox_maps = inline:{{carol@neighbour.test=carol/}}\n\
         virtual_mailbox_base = {path}/mail\nvirtual_minimum_uid = 100\nvirtual_uid_maps = static:{NOBODY}\n\
         virtual_gid_maps = static:{NOBODY}\ntransport_maps = inline:{{example.test=smtp:[127.0.0.1]:{facteur}}}\n\
         smtp_dns_support_level = disabled\nsmtp_tls_security_level = may\nsmtp_tls_loglevel = 1\n\
         smtpd_tls_security_level = may\nsmtpd_tls_chain_files = {path}/conf/tls.pem\nsmtpd_tls_received_header = yes\n\
         in_flow_delay = 0\n"
    )
}

fn master_cf(port: u16) -> String {
    let services = [
        "pickup    unix n - n 60 1 pickup",
        "cleanup   unix n - n - 0 cleanup",
        "qmgr      unix n - n 300 1 qmgr",
        "tlsmgr    unix - - n 1000? 1 tlsmgr",
        "rewrite   unix - - n - - trivial-rewrite",
        "bounce    unix - - n - 0 bounce",
        "defer     unix - - n - 0 bounce",
        "trace     unix - - n - 0 bounce",
        "proxymap  unix - - n - - proxymap",
        "smtp      unix - - n - - smtp",
        "error     unix - - n - - error",
        "retry     unix - - n - - error",
        "virtual   unix - n n - - virtual",
        "anvil     unix - - n - 1 anvil",
        "scache    unix - - n - 1 scache",
        "postlog   unix-dgram n - n - 1 postlogd",
    ];
    format!("127.0.0.1:{port} inet n - n - - smtpd\n{}\n", services.join("\n"))
}

#[test]
fn postfix_as_a_neighbour() {
    if !installed("postfix") || !available(is_root(), "starting a Postfix needs root") {
        return;
    }
    let dns = NameServer::start(&[
        ("neighbour.test", Record::Mx(10, "mx.neighbour.test")),
        ("mx.neighbour.test", Record::A([127, 0, 0, 1].into())),
    ]);
    let port = free_port("127.0.0.1");
    let server = by_mx(&dns, port, "");
    let postfix = Postfix::start(port, server.port("SMTP"));
    postfix_to_us(&postfix, &server);
    us_to_postfix(&postfix, &server);
    // It refuses what it does not know, and the sender is told.
    submit(&server, &["nobody@neighbour.test", "carol@neighbour.test"], "Subject: half\n\nx\n");
    bounced(&server, "nobody@neighbour.test", &["Status: 5.1.1", "550 5.1.1"]);
    postfix.has("Subject: half");
    // It is down: mail waits, and goes out when it is back.
    postfix.run("stop");
    submit(&server, &["carol@neighbour.test"], "Subject: patience\n\nx\n");
    waits_for(&server, "carol@neighbour.test", "onnect");
    flush(&server);
    waits_for(&server, "carol@neighbour.test", "onnect");
    postfix.run("start");
    flush(&server);
    postfix.has("Subject: patience");
    is_empty(&server);
    assert_eq!(postfix.inbox().iter().filter(|text| text.contains("Subject: patience")).count(), 1);
}

fn postfix_to_us(postfix: &Postfix, server: &Server) {
    let mut smtp = Smtp::connect(postfix.port);
    smtp.ehlo();
    let text = "Subject: from postfix\n\n.dot\nGr\u{fc}\u{df}e\n";
    let reply = smtp.send_message("carol@neighbour.test", &[ALICE, "bob@example.test"], text);
    assert_eq!(reply.code, 250, "{reply:?}");
    for user in ["alice", "bob"] {
        let texts = wait_for("mail from Postfix", || Some(server.messages(user, "INBOX")).filter(|m| !m.is_empty()));
        let text = String::from_utf8_lossy(&texts[0].1).into_owned();
        assert!(
            text.contains("Subject: from postfix\r\n") && text.ends_with("\r\n.dot\r\nGr\u{fc}\u{df}e\r\n"),
            "{text}"
        );
        assert!(text.contains("from mx.neighbour.test") && text.contains("with ESMTPS"), "{text}");
    }
    // Whom we do not know Postfix reports to its own user.
    let reply = smtp.send_message("carol@neighbour.test", &["nobody@example.test"], "Subject: lost\n\nx\n");
    assert_eq!(reply.code, 250, "{reply:?}");
    let report = postfix.has("Subject: Undelivered Mail Returned to Sender");
    assert!(report.contains("nobody@example.test") && report.contains("550 5.1.1"), "{report}");
}

fn us_to_postfix(postfix: &Postfix, server: &Server) {
    submit(server, &["carol@neighbour.test"], "From: alice@example.test\nSubject: by MX\n\n.dot\nx\n");
    let text = postfix.has("Subject: by MX");
    assert!(text.contains("Return-Path: <alice@example.test>") && text.contains("\n\n.dot\nx\n"), "{text}");
    assert!(text.contains("using TLSv1.3"), "opportunistic TLS: {text}");
    is_empty(server);
}

/// RFC 3461 §4.1, §5.2.2: a delivery here is told, and so is the end of our knowledge.
#[test]
fn senders_hear_of_deliveries_if_they_ask() {
    let (sink, dns) = far(Script::default());
    let server = by_mx(&dns, sink.port(), "");
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    for (line, code) in [
        ("MAIL FROM:<alice@example.test> RET=HDRS ENVID=QQ+2B1", 250),
        ("RCPT TO:<bob@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;robert@example.test", 250),
        ("RCPT TO:<x@far.test> NOTIFY=SUCCESS", 250),
        ("RCPT TO:<y@far.test> NOTIFY=NEVER", 250),
        ("BDAT 0", 250),
        ("BDAT 0 LAST", 250),
    ] {
        assert_eq!(smtp.command(line).code, code, "{line}");
    }
    is_empty(&server);
    let reports: Vec<String> = server
        .messages("alice", "INBOX")
        .into_iter()
        .map(|(_, text)| String::from_utf8_lossy(&text).replace("\r\n", "\n"))
        .collect();
    let text = reports.concat();
    for words in [
        "Return-Path: <>\n",
        "Original-Envelope-Id: QQ+1\n",
        "Original-Recipient: rfc822; robert@example.test\nFinal-Recipient: rfc822; bob@example.test\nAction: delivered\n",
        "Final-Recipient: rfc822; x@far.test\nAction: relayed\nStatus: 2.0.0\nRemote-MTA: dns; mx.far.test\n",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("y@far.test") && !text.contains("Action: failed"), "{text}");
    assert_eq!(text.matches("Final-Recipient:").count(), 2, "{text}");
}

/// RFC 8689 §4.2.1: mail that requires TLS goes to nobody whose certificate does not verify, and never in clear.
#[test]
fn mail_that_requires_tls_is_not_sent_without() {
    let (sink, dns) = far(Script::default());
    let server = by_mx(&dns, sink.port(), "");
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    for line in ["MAIL FROM:<alice@example.test> REQUIRETLS", "RCPT TO:<x@far.test>", "BDAT 0 LAST"] {
        assert_eq!(smtp.command(line).code, 250, "{line}");
    }
    bounced(&server, "x@far.test", &["Status: 5.7.10"]);
    assert!(sink.taken().is_empty());
}

/// Whoever is refused behind a proxy hears why, as everybody does.
#[test]
fn refusals_behind_a_proxy_name_their_reason() {
    let server = Server::serve(
        "[proxy]\nnetworks = [\"127.0.0.1/32\"]\n[limits]\nsmtp_connections_per_address = 1\n\
         waiting_connections_per_address = 1\n",
    );
    for (n, port, wanted) in [
        (1, "SMTP", "421 4.7.0 too many connections (limits.smtp_connections_per_address)\r\n"),
        (2, "IMAP", "* BYE too many connections (limits.waiting_connections_per_address)\r\n"),
        (3, "POP3", "-ERR [SYS/TEMP] too many connections (limits.waiting_connections_per_address)\r\n"),
        (4, "IMAPS", ""),
    ] {
        let open = || {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port(port))).expect("it listens");
            stream.write_all(format!("PROXY TCP4 192.0.2.{n} 127.0.0.1 12345 25\r\n").as_bytes()).expect("taken");
            BufReader::new(stream)
        };
        let mut first = open();
        if port == "IMAPS" {
            // Where TLS comes first nothing can be said: a silent end.
            let ports = || server.log().matches("192.0.2.4: too many connections").count();
            let mut second = open();
            wait_for("one of the two is refused", || (ports() == 1).then_some(()));
            let refused = [&mut first, &mut second].into_iter().filter_map(|stream| {
                stream.get_ref().set_nonblocking(true).expect("a socket");
                stream.read(&mut [0; 1]).ok()
            });
            assert_eq!(refused.collect::<Vec<_>>(), [0]);
            continue;
        }
        let mut greeting = String::new();
        first.read_line(&mut greeting).expect("a greeting");
        assert!(!greeting.contains("too many"), "{greeting}");
        let mut said = String::new();
        open().read_to_string(&mut said).expect("an end");
        assert_eq!(said, wanted);
    }
}
