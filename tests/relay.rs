//! The row "open relay, all forms" of the reliability tables: ports 25, 587 and 465 and the socket for LMTP, by strangers
//! and by users who have logged in, in every form that has ever named somebody elsewhere.
//!
//! What counts in the end is not a reply: nothing waits in the queue, and the one server to which all mail for elsewhere
//! would go was never called.

mod common;

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::server::Server;
use common::sink::Script;
use common::sink::Sink;
use common::smtp::Smtp;
use common::wait_for;
use rustix::process::Signal;

/// Somebody else's name, which all forms try to reach.
const FAR: &str = "far.example";

/// What RCPT says; each is to be refused where the client has no right to relay.
fn forms() -> Vec<String> {
    let mut forms: Vec<String> = [
        // Plainly elsewhere.
        "<mark@FAR>",
        "mark@FAR",
        "<mark@FAR",
        "mark@FAR>",
        "<mark+alice@FAR>",
        "<MARK@FAR>",
        "<postmaster@FAR>",
        "<mark@FAR.>",
        "<mark@FAR..>",
        "<mark@.FAR>",
        "<mark@OURS.FAR>",
        "<mark@not-OURS>",
        "<mark@deeper.OURS>",
        "<mark@FAR:25>",
        "<smtp:mark@FAR>",
        "<mailto:mark@FAR>",
        // A relay by its percent sign or exclamation mark.
        "<mark%FAR@OURS>",
        "<mark%FAR@mail.OURS>",
        "<mark%FAR%OURS@OURS>",
        "<mark%FAR>",
        "<alice@OURS%FAR>",
        "<FAR!mark>",
        "<FAR!mark@OURS>",
        "<OURS!FAR!mark>",
        "<OURS!mark@FAR>",
        // Source routes (RFC 5321 appendix C).
        "<@OURS:mark@FAR>",
        "<@mail.OURS,@OURS:mark@FAR>",
        "<@OURS:mark%FAR@OURS>",
        "<@OURS:FAR!mark>",
        "<@OURS:@FAR:mark@FAR>",
        "<@OURS,mark@FAR>",
        // Quoted and escaped.
        "<\"mark@FAR\">",
        "\"mark@FAR\"",
        "<\"mark@FAR\"@OURS>",
        "<\"mark%FAR\"@OURS>",
        "<\"FAR!mark\"@OURS>",
        "<\"@OURS:mark@FAR\"@OURS>",
        "<\"mark\\@FAR\"@OURS>",
        "<\"mark\"@FAR>",
        "<mark\\@FAR@OURS>",
        // More than one domain.
        "<mark@FAR@OURS>",
        "<mark@OURS@FAR>",
        "<alice+mark@FAR@OURS>",
        "<mark@FAR <alice@OURS>>",
        "<mark@FAR>,<alice@OURS>",
        "<mark@FAR,alice@OURS>",
        "<mark@FAR;alice@OURS>",
        "<mark@FAR> <alice@OURS>",
        // Numbers for names.
        "<mark@[127.0.0.1]>",
        "<mark@[127.0.0.2]>",
        "<mark%FAR@[127.0.0.1]>",
        "<mark@[IPv6:::1]>",
        "<mark@[IPv6:::ffff:127.0.0.1]>",
        "<mark@[::1]>",
        "<mark@[127.0.0.1].FAR>",
        "<mark@127.0.0.1>",
        "<mark@#2130706433>",
        // Octets that some reader takes for an end.
        "<mark@FAR\0@OURS>",
        "<mark\0@FAR>",
        "<mark@FAR\t@OURS>",
        "<mark@FAR @OURS>",
        "<mark@FAR\r@OURS>",
        // What looks alike: another script's a, a full stop of another script, a wide @, a wide letter, as a U-label and as
        // an A-label.
        "<mark@ex\u{430}mple.test>",
        "<mark@xn--exmple-4nf.test>",
        "<mark@\u{ff46}ar.example>",
        "<mark@far\u{3002}example>",
        "<mark%FAR\u{ff20}OURS>",
        "<mark\u{ff20}FAR@OURS>",
        "<mark@b\u{fc}cher.example>",
        // Parameters that name others.
        "<mark@FAR> ORCPT=rfc822;alice@OURS",
        "<mark@FAR> NOTIFY=NEVER ORCPT=rfc822;alice@OURS",
        "<mark@FAR> AUTH=<alice@OURS>",
        // The way back of mail that went on, without our signature.
        "<SRS0=AAAA=BB=FAR=mark@OURS>",
        "<SRS1=AAAA=FAR==BBBB=CC=far.example=mark@OURS>",
    ]
    .map(|form| form.replace("FAR", FAR).replace("OURS", "example.test"))
    .to_vec();
    forms.sort();
    forms.dedup();
    assert!(forms.len() >= 70, "{}", forms.len());
    forms
}

/// Senders that would open a careless server: nobody, a stranger, one of ours, one of ours by number.
const SENDERS: [&str; 4] = ["<>", "<s@load.example>", "<alice@example.test>", "<alice@[127.0.0.1]>"];

/// Senders that are not alice's.
const OTHERS: [&str; 4] = ["<bob@example.test>", "<s@load.example>", "<alice@[127.0.0.1]>", "<alice@far.example>"];

/// A server without checks of names, all of whose mail for elsewhere would go to the sink.
fn world() -> (Server, Sink) {
    let sink = Sink::start("127.0.0.2", 0, Script::default());
    let socket = std::env::temp_dir().join(format!("facteur-relay-{}-{}", std::process::id(), sink.port()));
    let server = Server::serve(&format!(
        "[checks]\nhelo_fqdn = \"off\"\nclient_fcrdns = \"off\"\nsender_domain = \"off\"\nsender_fqdn = \"off\"\n\
         recipient_domain = \"off\"\nrecipient_fqdn = \"off\"\n[dns]\nresolver = \"off\"\n\
         [outbound]\nrelay = \"[127.0.0.2]:{}\"\n[lmtp]\nsocket = \"{}\"\n\
         [limits]\nsmtp_connections_per_minute = 0\nfailed_logins = 0\n",
        sink.port(),
        socket.display()
    ));
    (server, sink)
}

fn nothing_left(server: &Server, sink: &Sink) {
    let waiting = server.command(&["queue", "list", "--json"]);
    assert!(waiting.status.success(), "{waiting:?}");
    assert_eq!(String::from_utf8_lossy(&waiting.stdout), "", "nothing may wait");
    assert_eq!(sink.connections(), 0, "nothing may leave");
}

/// MAIL with the sender; SMTPUTF8 where one of the two needs it, so that it is judged and not refused for its letters.
fn mail(sender: &str, form: &str) -> String {
    let utf8 = if sender.is_ascii() && form.is_ascii() { "" } else { " SMTPUTF8" };
    format!("MAIL FROM:{sender}{utf8}")
}

/// All codes, for everything said at once.
fn codes(mut stream: impl Read + Write, said: &str) -> Vec<u16> {
    stream.write_all(said.as_bytes()).ok();
    let mut heard = Vec::new();
    // Who is cut off hears what was said before.
    stream.read_to_end(&mut heard).ok();
    let text = String::from_utf8_lossy(&heard);
    let last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
    text.lines().filter(last).filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

/// Connects and waits for the greeting, since whoever speaks before it is not listened to.
fn greeted(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let mut first = [0; 4];
    stream.read_exact(&mut first).expect("a greeting");
    assert_eq!(&first, b"220 ");
    stream
}

/// Of what followed the greeting, all behind it is refused.
fn all_refused(codes: &[u16], name: &str) {
    let [greeting, behind @ ..] = codes else { panic!("{name}: no answer") };
    // MAIL may be taken: who sends is not yet to whom.
    let behind = behind.strip_prefix(&[250]).unwrap_or(behind);
    assert_eq!(*greeting, 250, "{name}: {codes:?}");
    assert!(!behind.is_empty() && behind.iter().all(|code| (500..600).contains(code)), "{name}: {codes:?}");
}

#[test]
fn open_relay_no_form_opens_port_25() {
    let (server, sink) = world();
    for form in forms() {
        for sender in SENDERS.into_iter().chain(["<alice@example.test> AUTH=<alice@example.test>"]) {
            let said = format!("EHLO c\r\n{}\r\nRCPT TO:{form}\r\nDATA\r\n", mail(sender, &form));
            // The rest of the greeting's line has no code in front.
            let mut stream = greeted(server.port("SMTP"));
            stream.write_all(said.as_bytes()).expect("taken");
            stream.shutdown(std::net::Shutdown::Write).ok();
            all_refused(&codes(stream, ""), &format!("{sender} to {form:?}"));
        }
    }
    nothing_left(&server, &sink);
}

#[test]
fn open_relay_no_form_opens_the_socket_for_lmtp() {
    let (server, sink) = world();
    let text = std::fs::read_to_string(server.config()).expect("it is there");
    let socket = text.lines().find_map(|l| l.strip_prefix("socket = \"")?.strip_suffix('"')).expect("configured");
    for form in forms() {
        for sender in SENDERS {
            let stream = UnixStream::connect(socket).expect("it listens");
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
            let said = format!("LHLO c\r\n{}\r\nRCPT TO:{form}\r\nDATA\r\nQUIT\r\n", mail(sender, &form));
            let codes = codes(stream, &said);
            let behind = codes.strip_suffix(&[221]).unwrap_or(&codes);
            all_refused(&behind[1..], &format!("LMTP, {sender} to {form:?}"));
        }
    }
    nothing_left(&server, &sink);
    std::fs::remove_file(socket).ok();
}

/// Sessions that are opened when they are needed, since each ends after some refusals.
struct Sessions<'a> {
    server: &'a Server,
    port: &'a str,
    login: bool,
    open: Option<(Smtp, usize)>,
}

/// So many envelopes are tried in one session: less than what makes it end for its errors.
const ENVELOPES: usize = 5;

impl<'a> Sessions<'a> {
    fn new(server: &'a Server, port: &'a str, login: bool) -> Self {
        Self { server, port, login, open: None }
    }

    fn get(&mut self) -> &mut Smtp {
        if self.open.as_ref().is_some_and(|(_, used)| *used >= ENVELOPES) {
            self.open = None;
        }
        let (smtp, used) = self.open.get_or_insert_with(|| {
            let tls = self.port == "SMTPS";
            let mut smtp = if tls { self.server.submissions() } else { Smtp::connect(self.server.port("SUBM")) };
            smtp.ehlo();
            if self.port == "STARTTLS" {
                smtp.start_tls(self.server.ca());
                smtp.ehlo();
            }
            if self.login {
                smtp.login("alice");
            }
            (smtp, 0)
        });
        *used += 1;
        smtp
    }
}

#[test]
fn open_relay_no_form_opens_submission_without_a_login() {
    let (server, sink) = world();
    for port in ["SUBM", "STARTTLS", "SMTPS"] {
        let mut sessions = Sessions::new(&server, port, false);
        for form in forms() {
            for sender in SENDERS {
                let smtp = sessions.get();
                for line in [mail(sender, &form), format!("RCPT TO:{form}"), "DATA".to_owned()] {
                    let code = smtp.code(line.as_bytes());
                    assert!((500..600).contains(&code), "{port}, {line:?}: {code}");
                }
            }
        }
    }
    nothing_left(&server, &sink);
}

#[test]
fn open_relay_a_login_is_no_right_to_others_names() {
    let (server, sink) = world();
    for port in ["STARTTLS", "SMTPS"] {
        let mut sessions = Sessions::new(&server, port, true);
        for form in forms() {
            for sender in OTHERS {
                let smtp = sessions.get();
                let reply = smtp.command(&mail(sender, &form));
                assert!(reply.text().starts_with("553 5.7.1 "), "{port}, {sender}: {reply:?}");
                for line in [format!("RCPT TO:{form}"), "DATA".to_owned()] {
                    let code = smtp.code(line.as_bytes());
                    assert!((500..600).contains(&code), "{port}, {line:?}: {code}");
                }
            }
        }
        // Names that are nearly hers.
        for sender in [
            "<\u{430}lice@example.test> SMTPUTF8",
            "<alice@ex\u{430}mple.test> SMTPUTF8",
            "<alice@xn--exmple-4nf.test>",
            "<al\u{131}ce@example.test> SMTPUTF8",
            "<bob+alice@example.test>",
            "<alice%example.test@load.example>",
            "<\"alice@example.test\"@load.example>",
            "<\"alice@example.test\"@example.test>",
            "<alice@sub.example.test>",
            "<alice.@example.test>",
            "<alice@example.test@load.example>",
            "<@example.test:bob@example.test>",
            "<bob@example.test> AUTH=<alice@example.test>",
            "<bob@example.test> AUTH=<>",
            "<nobody@example.test>",
            "<SRS0=AAAA=BB=load.example=s@example.test>",
        ] {
            let smtp = sessions.get();
            let reply = smtp.command(&format!("MAIL FROM:{sender}"));
            assert!((500..600).contains(&reply.code), "{port}, {sender}: {reply:?}");
            assert_eq!(smtp.code(b"RCPT TO:<mark@far.example>"), 503, "{port}, {sender}");
        }
        // And hers: what she may do, nobody else did above for some other reason.
        for sender in [
            "<alice@example.test>",
            "<ALICE@Example.Test>",
            "<alice+tag@example.test>",
            "<\"alice\"@example.test>",
            "<alice@example.test> SMTPUTF8",
            "<alice@example.test> BODY=8BITMIME",
        ] {
            let smtp = sessions.get();
            assert_eq!(smtp.code(format!("MAIL FROM:{sender}").as_bytes()), 250, "{port}, {sender}");
            assert_eq!(smtp.code(b"RCPT TO:<mark@far.example>"), 250, "{port}, {sender}");
            assert_eq!(smtp.code(b"RSET"), 250);
        }
    }
    nothing_left(&server, &sink);
}

/// What logs one client in logs in nobody else, and goes with its session; nor does a client say who it is.
#[test]
fn open_relay_rights_do_not_outlive_what_gave_them() {
    let (server, sink) = world();
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    assert_eq!(smtp.code(b"MAIL FROM:<alice@example.test>"), 250);
    assert_eq!(smtp.code(b"RCPT TO:<mark@far.example>"), 250);
    // EHLO ends the transaction, not the login (RFC 4954 §4).
    smtp.ehlo();
    assert_eq!(smtp.code(b"DATA"), 503);
    assert_eq!(smtp.code(b"RCPT TO:<mark@far.example>"), 503);
    let mut other = server.submissions();
    other.ehlo();
    assert_eq!(other.code(b"MAIL FROM:<alice@example.test>"), 530);

    let mut smtp = server.smtp();
    for line in [
        "XCLIENT ADDR=127.0.0.1 NAME=localhost LOGIN=alice",
        "XFORWARD NAME=localhost ADDR=127.0.0.1",
        "AUTH PLAIN AGFsaWNlQGV4YW1wbGUudGVzdABzZWNyZXQ=",
        "AUTH LOGIN",
        "PROXY TCP4 127.0.0.1 127.0.0.1 1 25",
        "TURN",
        "ATRN",
        "ETRN far.example",
        "XTRN far.example",
        "SEND FROM:<alice@example.test>",
        "SOML FROM:<alice@example.test>",
        "SAML FROM:<alice@example.test>",
        "LHLO c",
    ] {
        let code = smtp.code(line.as_bytes());
        assert!((500..600).contains(&code), "{line}: {code}");
        if line == "ATRN" {
            smtp = server.smtp();
        }
    }
    smtp.ehlo();
    assert_eq!(smtp.code(b"MAIL FROM:<alice@example.test>"), 250);
    assert!(smtp.command("RCPT TO:<mark@far.example>").text().starts_with("554 5.7.1 "));
    nothing_left(&server, &sink);
}

/// An IPv4 address mapped into IPv6 is what it stands for, and nothing else looks like one that is trusted.
#[test]
fn open_relay_mapped_peers() {
    let (server, sink) = world();
    let text = std::fs::read_to_string(server.config()).expect("it is there");
    let text = text.replace("trusted_networks = []", "trusted_networks = [\"10.0.0.0/8\", \"2001:db8:1::/48\"]");
    let text = text + "[proxy]\nnetworks = [\"127.0.0.1/32\"]\n";
    common::server::write_private(server.config(), &text);
    server.signal(Signal::HUP);
    wait_for("the new configuration", || server.log().contains("configuration reloaded").then_some(()));
    for (peer, wanted) in [
        ("TCP6 ::ffff:10.1.2.3", 250),
        ("TCP4 10.1.2.3", 250),
        ("TCP6 2001:db8:1::9", 250),
        ("TCP6 ::ffff:11.1.2.3", 554),
        ("TCP6 ::10.1.2.3", 554),
        ("TCP6 64:ff9b::10.1.2.3", 554),
        ("TCP6 2002:0a01:0203::1", 554),
        ("TCP6 ::ffff:0:10.1.2.3", 554),
        ("TCP6 2001:db8:2::9", 554),
        ("TCP6 ::1", 554),
        ("TCP6 ::ffff:127.0.0.1", 554),
    ] {
        let there = if peer.starts_with("TCP4") { "127.0.0.1" } else { "::1" };
        let mut stream = TcpStream::connect(("127.0.0.1", server.port("SMTP"))).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        stream.write_all(format!("PROXY {peer} {there} 1025 25\r\n").as_bytes()).expect("taken");
        let mut first = [0; 4];
        stream.read_exact(&mut first).expect("a greeting");
        let said = "EHLO c\r\nMAIL FROM:<s@load.example>\r\nRCPT TO:<mark@far.example>\r\nQUIT\r\n";
        assert_eq!(codes(stream, said), [250, 250, wanted, 221], "{peer}");
    }
    nothing_left(&server, &sink);
}
