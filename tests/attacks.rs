//! The attacks of the reliability tables, over real sockets, on the built binary; each test is named after its row.
//!
//! Replies are counted until the server closes or answers a last command, so nothing waits for a silence.
//!
//! Where the rows of reception are tested, over sockets where no module is named:
//!
//! | row | tests |
//! | --- | --- |
//! | open relay, all forms | `relay.rs`; here `open_relay*` |
//! | guessing of passwords | `bans.rs` |
//! | smuggling | `smuggling.rs`; here `smuggling`; `attacks_smtp.rs::chunks_do_not_smuggle`; `protocol/smtp/data.rs` |
//! | STARTTLS injection | here `starttls_*` |
//! | state that stays after an error | here `state_not_reset_after_an_error`; `smtp_model.rs` |
//! | unbounded input | here `unbounded_input_smtp`; `attacks_smtp.rs::unbounded_*` |
//! | NUL, controls, 8-bit, xtext | here `early_talkers_and_http`; `attacks_smtp.rs::parameters_*` |
//! | pipelining desync | `attacks_smtp.rs::pipelining_desync`, `chunks_do_not_smuggle`, `early_talkers_*` |
//! | backscatter | `attacks_smtp.rs::backscatter_*`; `delivery/pace.rs` |
//! | mail loops | `attacks_smtp.rs::mail_loop_*`; `intake/verdict.rs`; static ones in `directory` |
//! | enumeration of users | `attacks_smtp.rs::user_enumeration_*` |
//! | slowloris, crowds | here `slow_and_silent_*`, `too_many_connections_*`; `attacks_smtp.rs::slowloris_*`; `net/limits.rs` |
//! | forged fields of ours | `attacks_smtp.rs::forged_fields_*` |
//! | header injection | `attacks_smtp.rs::header_injection` |
//! | odd and endless headers | `attacks_smtp.rs::header_floods` |

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;

use common::client::Line;
use common::imap::Imap;
use common::pop3::Pop3;
use common::server::PASSWORD;
use common::server::Server;
use common::sink::Script;
use common::sink::Sink;
use common::smtp::Smtp;
use common::smtp::TERMINATORS;

const DOMAIN: &str = "example.test";

/// Every way of naming somebody elsewhere that a relay has ever fallen for.
fn relay_forms() -> Vec<String> {
    let (user, far, ours) = ("victim", "elsewhere.example", DOMAIN);
    vec![
        format!("<{user}@{far}>"),
        format!("<{user}%{far}@{ours}>"),
        format!("<{far}!{user}>"),
        format!("<{far}!{user}@{ours}>"),
        format!("<@{ours}:{user}@{far}>"),
        format!("<@{ours},@{far}:{user}@{far}>"),
        format!("<\"{user}@{far}\"@{ours}>"),
        format!("<\"{user}@{far}\">"),
        format!("<{user}@{far}@{ours}>"),
        format!("<{user}%{far}>"),
        format!("\"{user}@{far}\""),
        format!("{user}@{far}"),
        format!("<{user}@{far}.>"),
        format!("<{user}@[127.0.0.9]>"),
        format!("<{user}@[IPv6:::1]>"),
        format!("<{user}@[IPv6:::ffff:127.0.0.9]>"),
        format!("<{user}%{far}@[127.0.0.1]>"),
        format!("<{user}@{far}:{ours}>"),
        format!("<{user}@{far}\0@{ours}>"),
        format!("<{ours}!{user}@{far}>"),
        format!("<{user}@{far} @{ours}>"),
        format!("<{user}@{far}> <alice@{ours}>"),
        format!("<{user}\\@{far}@{ours}>"),
        format!("<{user}@{far}\r@{ours}>"),
        format!("<{user}@{ours}.{far}>"),
        format!("<{user}@sub.{ours}>"),
        format!("<alice@{ours}%{far}>"),
        format!("<+{user}@{far}>"),
        format!("<{user}@{far}> ORCPT=rfc822;alice@{ours}"),
    ]
}

/// What was said to an envelope: the code of the first refusal, or of RCPT.
fn judged(smtp: &mut Smtp, from: &str, to: &str) -> u16 {
    let mail = smtp.code(format!("MAIL FROM:{from}").as_bytes());
    if mail == 250 { smtp.code(format!("RCPT TO:{to}").as_bytes()) } else { mail }
}

#[test]
fn open_relay() {
    let server = Server::try_out(&["--unlimited"]);
    let sink = Sink::start("127.0.0.1", server.port("SINK"), Script::default());
    let senders =
        ["<s@load.example>", "<>", "<alice@example.test>", "<alice@[127.0.0.1]>", "<victim@elsewhere.example>"];
    for form in relay_forms() {
        for sender in senders {
            let mut smtp = server.smtp();
            smtp.ehlo();
            let code = judged(&mut smtp, sender, &form);
            assert!((500..600).contains(&code), "port 25, {sender} to {form:?}: {code}");
            assert!(smtp.code(b"DATA") >= 500, "port 25, {sender} to {form:?}: DATA");
        }
        for port in ["SUBM", "SMTPS", "STARTTLS"] {
            let mut smtp = stranger_at_submission(&server, port);
            let code = judged(&mut smtp, "<alice@example.test>", &form);
            assert!((500..600).contains(&code), "{port} without a login, to {form:?}: {code}");
            for rude in [format!("RCPT TO:{form}"), "DATA".to_owned()] {
                let code = smtp.code(rude.as_bytes());
                assert!((500..600).contains(&code), "{port} without a login, {rude:?}: {code}");
            }
        }
    }
    for (address, code) in [("<postmaster>", 550), ("<Postmaster@example.test>", 550)] {
        // There is no postmaster in a try-out, and no way round by his name.
        let mut smtp = server.smtp();
        smtp.ehlo();
        let got = judged(&mut smtp, "<s@load.example>", address);
        assert!(got == code || got == 250, "{address}: {got}");
    }
    assert_eq!(sink.connections(), 0, "nothing may leave");
    let waiting = server.command(&["queue", "list", "--json"]);
    assert_eq!(String::from_utf8_lossy(&waiting.stdout), "");
}

fn stranger_at_submission(server: &Server, port: &str) -> Smtp {
    let mut smtp = match port {
        "SMTPS" => server.submissions(),
        _ => Smtp::connect(server.port("SUBM")),
    };
    smtp.ehlo();
    if port == "STARTTLS" {
        smtp.start_tls(server.ca());
        smtp.ehlo();
    }
    smtp
}

#[test]
fn open_relay_in_the_name_of_others() {
    let server = Server::try_out(&["--unlimited"]);
    for port in ["STARTTLS", "SMTPS"] {
        for sender in ["<bob@example.test>", "<s@elsewhere.example>", "<nobody@example.test>", "<alice@example.test.>"]
        {
            let mut smtp = stranger_at_submission(&server, port);
            smtp.login("alice");
            let reply = smtp.command(&format!("MAIL FROM:{sender}"));
            assert!((500..600).contains(&reply.code), "{port}, {sender}: {reply:?}");
            assert_eq!(smtp.code(b"RCPT TO:<victim@elsewhere.example>"), 503, "{port}, {sender}");
            assert_eq!(smtp.code(b"DATA"), 503, "{port}, {sender}");
            if sender == "<bob@example.test>" {
                assert!(reply.text().starts_with("553 5.7.1"), "{reply:?}");
            }
        }
        let mut smtp = stranger_at_submission(&server, port);
        smtp.login("alice");
        assert_eq!(judged(&mut smtp, "<alice@example.test>", "<victim@elsewhere.example>"), 250);
    }
}

#[test]
fn open_relay_by_extensions() {
    let server = Server::try_out(&["--unlimited"]);
    let mut smtp = server.smtp();
    let offered = smtp.ehlo().join("\n");
    smtp.start_tls(server.ca());
    let offered = offered + &smtp.ehlo().join("\n");
    for word in ["AUTH", "XCLIENT", "XFORWARD", "ETRN", "TURN"] {
        assert!(!offered.contains(word), "{offered}");
    }
    let login = data_encoding::BASE64.encode(format!("\0alice@{DOMAIN}\0{PASSWORD}").as_bytes());
    for command in
        ["XCLIENT ADDR=127.0.0.1 NAME=localhost LOGIN=alice", "XFORWARD ADDR=127.0.0.1", "TURN", "ETRN example.org"]
    {
        assert_eq!(smtp.code(command.as_bytes()) / 100, 5, "{command}");
    }
    assert_eq!(smtp.code(format!("AUTH PLAIN {login}").as_bytes()) / 100, 5, "no login on port 25");
    assert_eq!(judged(&mut smtp, "<alice@example.test>", "<victim@elsewhere.example>"), 554);
}

#[test]
fn smuggling() {
    let server = Server::try_out(&["--unlimited", "--accounts", "alice,user1..user20"]);
    let mut taken = 0;
    for terminator in TERMINATORS {
        for split in [false, true] {
            let replies = smuggle(&server, terminator, split);
            let codes: Vec<u16> = replies.iter().map(|r| r.code).collect();
            let name = format!("{:?}, split: {split}: {replies:?}", String::from_utf8_lossy(terminator));
            // One reply to the data, and then the end, or the answer to QUIT: nothing inside was a command.
            assert!(matches!(codes.as_slice(), [250, 221] | [250 | 500..600, ..=221] | [500..600]), "{name}");
            assert!(codes.len() <= 2 && codes.iter().filter(|c| **c == 250).count() <= 1, "{name}");
            taken += usize::from(codes[0] == 250);
        }
    }
    let messages = server.messages("alice", "INBOX");
    assert_eq!(messages.len(), taken);
    assert!(taken >= 6, "the innocent ones are mail");
    for (uid, text) in messages {
        assert!(text.starts_with(b"Return-Path:") && memchr::memmem::find(&text, b"Subject: outer").is_some(), "{uid}");
    }
}

/// A message whose text holds a whole transaction behind a doubtful end. All replies behind 354.
fn smuggle(server: &Server, terminator: &[u8], split: bool) -> Vec<common::smtp::Reply> {
    let mut smtp = server.smtp();
    smtp.ehlo();
    assert_eq!(judged(&mut smtp, "<s@load.example>", "<alice@example.test>"), 250);
    assert_eq!(smtp.code(b"DATA"), 354);
    let mut head = b"Subject: outer\r\n\r\nouter".to_vec();
    head.extend_from_slice(terminator);
    let inner =
        b"MAIL FROM:<evil@load.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n";
    if split {
        let last = head.pop().expect("not empty");
        smtp.0.send(&head);
        // Somebody else is served meanwhile, so the first piece has very likely been read by itself.
        server.smtp().quit();
        head = vec![last];
    }
    smtp.0.send(&[&head[..], inner, b"\r\n.\r\nQUIT\r\n"].concat());
    smtp.rest()
}

#[test]
fn starttls_injection() {
    let server = Server::try_out(&[]);
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp.0.send(b"STARTTLS\r\nRSET\r\nNOOP\r\n");
    let replies = smtp.rest();
    assert_eq!(replies.iter().map(|r| r.code).collect::<Vec<_>>(), [501], "{replies:?}");
    let mut imap = Imap::connect(server.port("IMAP"));
    imap.line.send(b"a STARTTLS\r\nb CAPABILITY\r\nc NOOP\r\n");
    let lines = imap.line.rest();
    assert!(lines.iter().any(|l| l.starts_with("* BYE")), "{lines:?}");
    assert!(!lines.iter().any(|l| l.starts_with("b ") || l.starts_with("c ") || l.starts_with("a OK")), "{lines:?}");
    let mut pop3 = Pop3::connect(server.port("POP3"));
    pop3.0.send(b"STLS\r\nCAPA\r\nNOOP\r\n");
    let lines = pop3.0.rest();
    assert!(lines.len() == 1 && lines[0].starts_with("-ERR"), "{lines:?}");
}

#[test]
fn starttls_forgets_what_was_said_in_clear() {
    let server = Server::try_out(&[]);
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp.start_tls(server.ca());
    assert_eq!(smtp.code(b"MAIL FROM:<s@load.example>"), 503, "EHLO was said in clear");
    smtp.ehlo();
    assert_eq!(judged(&mut smtp, "<s@load.example>", "<alice@example.test>"), 250);
    assert_eq!(smtp.code(b"STARTTLS") / 100, 5, "TLS is on already");
    let mut imap = Imap::connect(server.port("IMAP"));
    imap.start_tls(server.ca());
    assert!(imap.command("STARTTLS").tagged.starts_with("BAD") || imap.command("STARTTLS").tagged.starts_with("NO"));
    imap.ok(&format!("LOGIN alice@{DOMAIN} {PASSWORD}"));
    let mut pop3 = Pop3::connect(server.port("POP3"));
    pop3.start_tls(server.ca());
    assert!(pop3.command("STLS").starts_with("-ERR"));
}

#[test]
fn state_not_reset_after_an_error() {
    let server = Server::try_out(&["--unlimited"]);
    let (ehlo, mail, to) = ("EHLO x.example", "MAIL FROM:<s@load.example>", "RCPT TO:<alice@example.test>");
    let bad_to = "RCPT TO:<nobody@example.test>";
    for (name, commands, last) in [
        ("MAIL before EHLO", &[mail][..], 503),
        ("RCPT before MAIL", &[ehlo, to], 503),
        ("DATA before MAIL", &[ehlo, "DATA"], 503),
        ("DATA before RCPT", &[ehlo, mail, "DATA"], 503),
        ("DATA behind a refused RCPT", &[ehlo, mail, bad_to, "DATA"], 554),
        ("a second MAIL", &[ehlo, mail, mail], 503),
        ("the first MAIL stays", &[ehlo, mail, mail, to], 250),
        ("RSET clears", &[ehlo, mail, to, "RSET", "DATA"], 503),
        ("RSET clears the sender", &[ehlo, mail, to, "RSET", to], 503),
        ("EHLO clears", &[ehlo, mail, to, ehlo, "DATA"], 503),
        ("HELO clears", &[ehlo, mail, to, "HELO x.example", "DATA"], 503),
        ("a bad EHLO clears nothing", &[ehlo, mail, to, "EHLO", "DATA"], 354),
        ("VRFY keeps all", &[ehlo, mail, to, "VRFY alice", "DATA"], 354),
        ("VRFY in UTF-8 keeps all", &[ehlo, mail, to, "VRFY t\u{e9}st", "DATA"], 354),
        ("an unknown command keeps all", &[ehlo, mail, to, "XYZZY", "DATA"], 354),
        ("BDAT and DATA do not mix", &[ehlo, mail, to, "BDAT 0", "DATA"], 503),
        ("a refused BDAT clears", &[ehlo, mail, "BDAT 0", to], 503),
        ("NOOP keeps all", &[ehlo, mail, to, "NOOP x", "DATA"], 354),
        ("a bad MAIL leaves no sender", &[ehlo, "MAIL FROM:<a b>", to], 503),
        ("a refused SIZE leaves no sender", &[ehlo, "MAIL FROM:<a@x.example> SIZE=99999999999", to], 503),
    ] {
        let mut smtp = server.smtp();
        let codes: Vec<u16> = commands.iter().map(|c| smtp.code(c.as_bytes())).collect();
        let got = codes.last().copied().unwrap_or(0);
        assert!(got == last || (last == 503 && got == 554), "{name}: {codes:?}");
    }
    after_refused_data(&server);
}

/// A message that was refused at its end leaves neither sender nor recipients behind.
fn after_refused_data(server: &Server) {
    let mut smtp = server.smtp();
    smtp.ehlo();
    let looping = "Received: by x\n".repeat(101) + "Subject: x\n\nx\n";
    let reply = smtp.send_message("s@load.example", &["alice@example.test"], &looping);
    assert_eq!(reply.code, 554, "{reply:?}");
    assert_eq!(smtp.code(b"RCPT TO:<bob@example.test>"), 503);
    assert_eq!(smtp.code(b"DATA"), 503);
    assert_eq!(smtp.send_message("s@load.example", &["alice@example.test"], "Subject: good\n\nx\n").code, 250);
}

#[test]
fn unbounded_input_smtp() {
    let server = Server::serve("[smtp]\nmax_message_size = \"256KiB\"\n");
    let before = server.memory();
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp.0.send(&vec![b'A'; 1 << 20]);
    let replies = smtp.rest();
    assert!(replies.iter().all(|r| r.code >= 421) && replies.len() <= 3, "{replies:?}");
    let mut smtp = server.smtp();
    smtp.ehlo();
    let long = format!("NOOP {}", "x".repeat(5000));
    let codes: Vec<u16> = (0..4).map(|_| smtp.code(long.as_bytes())).collect();
    assert!(codes.starts_with(&[500, 500]) && codes.ends_with(&[0]), "{codes:?}");
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp.0.send(&b"NOOP\r\n".repeat(5000));
    let replies = smtp.rest();
    assert!(replies.len() < 100 && replies.last().is_some_and(|r| r.code == 421), "{}", replies.len());
    endless_recipients(&server);
    lies_about_size(&server);
    let mut smtp = server.submissions();
    smtp.ehlo();
    let reply = smtp.command(&format!("AUTH PLAIN {}", "A".repeat(20_000)));
    assert!(matches!(reply.code, 500 | 501), "{reply:?}");
    assert!(server.memory() < before + 32 * 1024, "from {before} to {} KiB", server.memory());
}

fn endless_recipients(server: &Server) {
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp.command("MAIL FROM:<s@load.example>");
    let codes: Vec<u16> = (0..150).map(|n| smtp.code(format!("RCPT TO:<alice+{n}@example.test>").as_bytes())).collect();
    assert_eq!(codes.iter().filter(|c| **c == 250).count(), 100);
    assert!(codes[100..].iter().all(|c| *c == 452), "{codes:?}");
    assert_eq!(smtp.code(b"DATA"), 354, "those that were accepted are served");
    // Without its end: the transaction is dropped with the connection.
}

fn lies_about_size(server: &Server) {
    let mut smtp = server.smtp();
    smtp.ehlo();
    let reply = smtp.command("MAIL FROM:<s@load.example> SIZE=300000");
    assert!(reply.text().starts_with("552 5.3.4"), "{reply:?}");
    let reply = smtp.command("MAIL FROM:<s@load.example> SIZE=99999999999999999999999");
    assert!(reply.code >= 500, "{reply:?}");
    let line = format!("{}\n", "x".repeat(70));
    let mut smtp = server.smtp();
    smtp.ehlo();
    let big = format!("Subject: x\n\n{}", line.repeat(5000));
    let reply = smtp.send_message("s@load.example> SIZE=10 BODY=<7BIT", &["alice@example.test"], &big);
    assert!(reply.code >= 500, "{reply:?}");
    for (name, message, code) in [
        ("larger than allowed", big.as_str(), 552),
        ("endless header", &format!("{}\n\nx\n", format!("X-A: {line}").repeat(4000)), 550),
        ("a header of 2000 fields", &format!("{}\nx\n", "X: y\n".repeat(2000)), 550),
        ("a line of 100,000 octets", &format!("Subject: x\n\n{}\n", "y".repeat(100_000)), 550),
    ] {
        let mut smtp = server.smtp();
        smtp.ehlo();
        let reply = smtp.send_message("s@load.example", &["alice@example.test"], message);
        assert!(reply.code == code || reply.code == 552, "{name}: {reply:?}");
    }
    // Without end: the server hangs up by itself.
    let mut smtp = server.smtp();
    smtp.ehlo();
    assert_eq!(judged(&mut smtp, "<s@load.example>", "<alice@example.test>"), 250);
    assert_eq!(smtp.code(b"DATA"), 354);
    for _ in 0..64 {
        smtp.0.send(line.repeat(1000).replace('\n', "\r\n").as_bytes());
    }
    let replies = smtp.rest();
    assert!(replies.iter().all(|r| r.code >= 400), "{replies:?}");
    assert_eq!(server.messages("alice", "INBOX").len(), 0);
}

#[test]
fn unbounded_input_imap_and_pop3() {
    let server = Server::try_out(&["--unlimited"]);
    let before = server.memory();
    let mut imap = Imap::connect(server.port("IMAP"));
    imap.line.send(&vec![b'A'; 1 << 20]);
    let lines = imap.line.rest();
    assert!(lines.iter().any(|l| l.starts_with("* BYE")) || lines.is_empty(), "{lines:?}");
    let mut imap = Imap::connect(server.port("IMAP"));
    imap.line.send(&b"x NOOP\r\n".repeat(100_000));
    assert!(imap.line.rest().len() < 50_000);
    let mut imap = Imap::connect(server.port("IMAP"));
    imap.line.send(b"a NOPE\r\nb NOPE\r\nc NOPE\r\nd NOPE\r\n");
    let lines = imap.line.rest();
    assert!(lines.iter().any(|l| l.starts_with("* BYE")), "{lines:?}");
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    let deep = format!("SEARCH {}ALL{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(!imap.command(&deep).tagged.starts_with("OK"));
    let nots = format!("SEARCH {}ALL", "NOT ".repeat(20_000));
    assert!(!imap.command(&nots).tagged.starts_with("OK"));
    let set: Vec<String> = (1..50_000).map(|n| (2 * n).to_string()).collect();
    assert!(!imap.command(&format!("FETCH {} FLAGS", set.join(","))).tagged.starts_with("OK"));
    imap.ok("UID FETCH 1:4294967295 FLAGS");
    // RFC 3501 §9 `seq-number`: no message has it.
    assert!(imap.command("FETCH 1:4294967295 FLAGS").tagged.starts_with("BAD"));
    imap.ok("NOOP");
    let mut pop3 = Pop3::connect(server.port("POP3"));
    pop3.0.send(&vec![b'A'; 1 << 20]);
    let lines = pop3.0.rest();
    assert!(lines.iter().all(|l| l.starts_with("-ERR")), "{lines:?}");
    let mut pop3 = Pop3::connect(server.port("POP3"));
    pop3.0.send(&b"NOPE\r\n".repeat(5000));
    let lines = pop3.0.rest();
    assert!(lines.len() < 100, "{}", lines.len());
    let mut pop3 = server.pop3("alice");
    for bad in
        ["TOP 1 2147483648999999999999", "RETR 18446744073709551616", "DELE 0", "DELE -1", "UIDL 99", "RETR", ":", ""]
    {
        assert!(pop3.command(bad).starts_with("-ERR"), "{bad}");
    }
    assert!(server.memory() < before + 32 * 1024, "from {before} to {} KiB", server.memory());
}

#[test]
fn memory_before_login() {
    let server = Server::try_out(&["--unlimited", "--plaintext-login"]);
    for literal in ["4294967295", "18446744073709551616", "5000", "2000", "99999999999999999999999999999999"] {
        for plus in ["", "+"] {
            for command in ["LOGIN", "AUTHENTICATE", "LOGIN alice", "SELECT"] {
                let mut imap = Imap::connect(server.port("IMAP"));
                imap.line.send(format!("a {command} {{{literal}{plus}}}\r\n").as_bytes());
                if (literal, plus) == ("2000", "+") {
                    // So little is swallowed, and then answered.
                    imap.line.send(&[&[b'x'; 2000][..], b"\r\n"].concat());
                }
                let first = imap.line.text();
                let name = format!("{command} {{{literal}{plus}}}: {first}");
                assert!(
                    first.starts_with("a BAD") || first.starts_with("a NO") || first.starts_with("* BYE"),
                    "{name}"
                );
            }
        }
    }
    // Many at once, each with as much as it is let: lines without end, and names that come as literals.
    let before = server.memory();
    let mut crowd = Vec::new();
    for n in 0..300 {
        let port = server.port(if n % 3 == 0 { "POP3" } else { "IMAP" });
        let mut line = Line::connect(port);
        line.text();
        if n % 3 == 1 {
            line.send(b"a LOGIN {1000}\r\n");
            line.text();
        }
        line.send(&vec![b'A'; if n % 3 == 1 { 999 } else { 4000 }]);
        crowd.push(line);
    }
    server.imap("alice").ok("SELECT INBOX");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 300 * 128, "{grown} KiB for 300 connections");
    let deep = format!("a LOGIN {}\r\n", "(".repeat(8000));
    let mut imap = Imap::connect(server.port("IMAP"));
    imap.line.send(deep.as_bytes());
    assert!(imap.line.text().starts_with("a BAD"));
}

/// A peer with too many connections is told which key says so, one at a time gets in again, others are not concerned.
#[test]
fn too_many_connections_name_their_limit() {
    let server = Server::try_out(&["--plaintext-login"]);
    for (name, limit, refusal) in [
        ("SMTP", 20, "421 4.7.0 too many connections (limits.smtp_connections_per_address)"),
        ("SUBM", 50, "421 4.7.0 too many connections (limits.submission_connections_per_address)"),
        ("IMAP", 50, "* BYE too many connections (limits.waiting_connections_per_address)"),
    ] {
        let mut crowd: Vec<Line> = (0..limit).map(|_| Line::connect(server.port(name))).collect();
        for line in &mut crowd {
            assert!(!line.text().contains("too many"), "{name}: one of the first {limit}");
        }
        assert_eq!(Line::connect(server.port(name)).text(), refusal);
        drop(crowd.pop());
        let again = || (!Line::connect(server.port(name)).text().contains("too many")).then_some(());
        common::wait_for(&format!("a place at {name}"), again);
    }
}

/// Every check of a password takes 19 MiB for a moment; a hundred of them must not stay in the process.
#[test]
fn memory_after_many_logins() {
    let server = Server::try_out(&["--unlimited", "--plaintext-login", "--accounts", "user1..user100"]);
    let before = server.memory();
    let mut crowd: Vec<Imap> = (0..100).map(|_| Imap::connect(server.port("IMAP"))).collect();
    for (n, imap) in crowd.iter_mut().enumerate() {
        imap.line.send(format!("a LOGIN user{}@example.test secret\r\n", n + 1).as_bytes());
    }
    for imap in &mut crowd {
        assert!(imap.until("a").tagged.starts_with("OK"), "a login of the crowd");
    }
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB after 100 logins");
}

#[test]
fn early_talkers_and_http() {
    let server = Server::try_out(&[]);
    for verb in ["GET / HTTP/1.1", "POST / HTTP/1.1"] {
        let mut smtp = server.smtp();
        smtp.0.send(format!("{verb}\r\nHost: x\r\nMAIL FROM:<a@x.example>\r\n").as_bytes());
        let replies = smtp.rest();
        assert!(replies.iter().all(|r| r.code >= 400), "{verb}: {replies:?}");
    }
    let mut smtp = server.smtp();
    smtp.ehlo();
    for (line, least) in [
        (&b"MAIL FROM:<a\0b@x.example>"[..], 500),
        (b"MAIL FROM:<a\rb@x.example>", 500),
        (b"MAIL FROM:<\xe9@x.example>", 500),
        (b"MAIL FROM:<a@x.example> FOO=bar", 500),
        (b"RCPT TO:<>", 500),
    ] {
        let code = smtp.code(line);
        assert!(code >= least, "{:?}: {code}", String::from_utf8_lossy(line));
    }
}

/// Everything below a folder, as paths.
fn tree(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                open.push(path.clone());
            }
            found.insert(path);
        }
    }
    found
}

/// Names that lead out of the account, or would on a careless server.
const TRAVERSALS: [&[u8]; 24] = [
    b"../x",
    b"..",
    b".",
    b"./x",
    b"a/../../b",
    b"a/../..",
    b"/etc",
    b"/tmp/facteur-traversal",
    b"//x",
    b"a//b",
    b"INBOX/../../other",
    b"x/../../bob/.Stolen",
    b"../bob",
    b"../../mail/example.test/bob/new",
    b"&AC4ALg-/x",
    b"&AC4ALgAv-x",
    b"&AC8-etc",
    b"..&AC8-x",
    b"&AAA-x",
    b"x\0y",
    b"x\r\ny",
    b"x\x1by",
    b"&AC4-",
    b"a/&AC4ALg-/&AC4ALg-/b",
];

/// Names that are odd and may be allowed; they may lead nowhere.
const ODD: [&[u8]; 16] = [
    b"cur",
    b"new",
    b"tmp",
    b"~root",
    b"~root/x",
    b"a.b",
    b".hidden",
    b"..a",
    b"a\\..\\b",
    b"%2e%2e%2fx",
    b"dovecot-uidlist",
    b"INBOX.x",
    b"inbox/x",
    b"$(touch x)",
    b"&2D3-",
    b"-rf",
];

#[test]
fn mailbox_traversal() {
    let server = Server::try_out(&["--unlimited"]);
    server.imap("bob").ok("SELECT INBOX");
    let mut imap = server.imap("alice");
    imap.ok("CREATE mine");
    imap.append("mine", "", b"Subject: x\r\n\r\nx\r\n");
    imap.ok("SELECT mine");
    let maildir = server.maildir("alice");
    let outside = |server: &Server| -> BTreeSet<PathBuf> {
        tree(server.home()).into_iter().filter(|p| !p.starts_with(&maildir)).collect()
    };
    let before = outside(&server);
    for name in TRAVERSALS {
        for command in
            ["CREATE", "SELECT", "EXAMINE", "DELETE", "SUBSCRIBE", "RENAME mine", "RENAME INBOX", "COPY 1", "MOVE 1"]
        {
            let tagged = with_literal(&mut imap, command, name, "");
            assert!(!tagged.starts_with("OK"), "{command} {:?}: {tagged}", String::from_utf8_lossy(name));
            if command == "SELECT" || command == "EXAMINE" {
                imap.ok("SELECT mine");
            }
        }
        let tagged = with_literal(&mut imap, "STATUS", name, " (MESSAGES)");
        assert!(!tagged.starts_with("OK"), "STATUS {:?}: {tagged}", String::from_utf8_lossy(name));
        with_literal(&mut imap, "LIST \"\"", name, "");
        with_literal(&mut imap, "LIST", name, " *");
    }
    for name in ODD {
        for command in ["CREATE", "SUBSCRIBE", "RENAME mine", "DELETE", "CREATE"] {
            with_literal(&mut imap, command, name, "");
            // Whatever became of it, the next round needs something to rename.
            imap.command("CREATE mine");
        }
    }
    let deep = vec![b"a".as_slice(); 1000].join(&b'/');
    for name in [deep, vec![b'a'; 10_000], vec![b'a'; 300]] {
        assert!(!with_literal(&mut imap, "CREATE", &name, "").starts_with("OK"), "{} octets", name.len());
    }
    assert_eq!(outside(&server), before, "nothing comes into being outside of the Maildir");
    only_maildirs(&maildir);
    assert!(!Path::new("/tmp/facteur-traversal").exists());
    assert_eq!(server.messages("bob", "INBOX").len(), 1, "the welcome message");
}

/// A command whose mailbox name is sent as a literal, so that it may hold anything.
fn with_literal(imap: &mut Imap, command: &str, name: &[u8], behind: &str) -> String {
    let tag = imap.tag();
    imap.line.send(format!("{tag} {command} {{{}}}\r\n", name.len()).as_bytes());
    loop {
        let answer = imap.line.text();
        if answer.starts_with('+') {
            imap.line.send(&[name, behind.as_bytes(), b"\r\n"].concat());
            return imap.until(&tag).tagged;
        }
        if let Some(tagged) = answer.strip_prefix(&format!("{tag} ")) {
            return tagged.to_owned();
        }
    }
}

/// In a Maildir++ every folder is cur, new or tmp, or begins with a dot and lies at the top.
fn only_maildirs(maildir: &Path) {
    for path in tree(maildir).into_iter().filter(|p| p.is_dir()) {
        let inner: Vec<String> = path
            .strip_prefix(maildir)
            .expect("below")
            .components()
            .map(|c| c.as_os_str().to_string_lossy().into_owned())
            .collect();
        let part = |name: &String| ["cur", "new", "tmp"].contains(&name.as_str());
        let good = match inner.as_slice() {
            [only] => part(only) || only.starts_with('.'),
            [folder, last] => folder.starts_with('.') && part(last),
            _ => false,
        };
        assert!(good, "{inner:?}");
    }
}

#[test]
fn slow_and_silent_connections_disturb_nobody() {
    let server = Server::try_out(&["--unlimited"]);
    let mut crowd: Vec<TcpStream> = Vec::new();
    for n in 0..400 {
        let port = server.port(["SMTP", "IMAP", "POP3", "SMTPS", "IMAPS"][n % 5]);
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connected");
        stream.write_all(&b"EHLO x"[..n % 6]).expect("room for some octets");
        crowd.push(stream);
    }
    let began = std::time::Instant::now();
    server.deliver("alice@example.test", "Subject: x\n\nx\n");
    assert_eq!(server.messages("alice", "INBOX").len(), 2);
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}
