//! The rows of the reliability tables that concern SMTP and are not in `attacks.rs`, over real sockets, on the built
//! binary: chunks, parameters, early talkers, LMTP, proxies, loops, notices, headers, memory and crowds.

mod common;

use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use std::time::Instant;

use common::client::Line;
use common::server::Server;
use common::sink::Script;
use common::sink::Sink;
use common::smtp::Reply;
use common::smtp::Smtp;
use common::smtp::wire;
use common::wait_for;
use common::zone::Zone;
use common::zone::ZoneServer;
use rustix::process::Signal;

/// The machine is what is tested: names of strangers have no DNS here.
const NO_CHECKS: &str =
    "[checks]\nhelo_fqdn = \"off\"\nclient_fcrdns = \"off\"\nsender_domain = \"off\"\n[dns]\nresolver = \"off\"\n";

const ENVELOPE: &str = "EHLO c\r\nMAIL FROM:<s@load.example>\r\nRCPT TO:<alice@example.test>\r\n";

/// Codes of all replies until the server closes, which a QUIT at the end of `said` brings about. The greeting comes
/// first.
fn codes(port: u16, said: &[u8]) -> Vec<u16> {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    talk(stream, said)
}

fn talk(mut stream: TcpStream, said: &[u8]) -> Vec<u16> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let mut first = [0; 4];
    if stream.read_exact(&mut first).is_err() {
        return Vec::new();
    }
    // Who is closed in the middle finds out by what it hears.
    stream.write_all(said).ok();
    let mut heard = first.to_vec();
    stream.read_to_end(&mut heard).ok();
    of_replies(&heard)
}

fn of_replies(heard: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(heard);
    let last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
    text.lines().filter(last).filter_map(|line| line.get(..3)?.parse().ok()).collect()
}

#[test]
fn early_talkers_get_no_greeting() {
    let server = Server::serve(NO_CHECKS);
    // It cannot look before the octets are there.
    server.signal(Signal::STOP);
    let mut early = TcpStream::connect(("127.0.0.1", server.port("SMTP"))).expect("the kernel takes it");
    early.write_all(b"EHLO c\r\n").expect("and this");
    server.signal(Signal::CONT);
    let mut heard = Vec::new();
    early.read_to_end(&mut heard).ok();
    assert_eq!(of_replies(&heard), [554], "{}", heard.escape_ascii());
    assert_eq!(codes(server.port("SMTP"), b"EHLO c\r\nQUIT\r\n"), [220, 250, 221], "others are served");
}

#[test]
fn chunks_do_not_smuggle() {
    let server = Server::serve(NO_CHECKS);
    let port = server.port("SMTP");
    let inner =
        "Subject: one\r\n\r\n.\r\nMAIL FROM:<evil@load.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nx\r\n.\r\n";
    let said = format!("{ENVELOPE}BDAT {} LAST\r\n{inner}QUIT\r\n", inner.len());
    assert_eq!(codes(port, said.as_bytes()), [220, 250, 250, 250, 250, 221]);
    let messages = server.messages("alice", "INBOX");
    assert_eq!(messages.len(), 1);
    assert!(messages[0].1.ends_with(inner.as_bytes()), "{}", messages[0].1.escape_ascii());
    assert!(server.messages("bob", "INBOX").is_empty());

    // Behind a MAIL that was refused, the chunk is not a command either.
    let said = "EHLO c\r\nMAIL FROM:<a b>\r\nRCPT TO:<alice@example.test>\r\nBDAT 6 LAST\r\nRSET\r\nQUIT\r\n";
    assert_eq!(codes(port, said.as_bytes()), [220, 250, 501, 503, 503, 221]);
    // BDAT, then DATA, and a body that would be commands.
    let said = format!("{ENVELOPE}BDAT 3\r\nx\r\nDATA\r\nMAIL FROM:<evil@load.example>\r\n.\r\nQUIT\r\n");
    assert_eq!(codes(port, said.as_bytes()), [220, 250, 250, 250, 250, 503]);
    // A NUL before the dot is text, in one and the other.
    for said in [
        format!("{ENVELOPE}DATA\r\na\r\n\0.\r\nQUIT\r\n.\r\nQUIT\r\n"),
        format!("{ENVELOPE}BDAT 16 LAST\r\na\r\n\0.\r\nQUIT\r\n \r\nQUIT\r\n"),
    ] {
        let heard = codes(port, said.as_bytes());
        assert!(heard.len() >= 6 && heard.ends_with(&[250, 221]), "{heard:?}");
    }
    assert_eq!(server.messages("alice", "INBOX").len(), 3);
}

#[test]
fn unbounded_chunks() {
    let server = Server::serve(&format!("{NO_CHECKS}[smtp]\nmax_message_size = \"256KiB\"\n"));
    let port = server.port("SMTP");
    let before = server.memory();
    // Empty ones have an end.
    let many = format!("{ENVELOPE}{}", "BDAT 0\r\n".repeat(1_000_000));
    let heard = codes(port, many.as_bytes());
    assert!(heard.len() < 40, "{}", heard.len());
    // Small ones are octets of the message and no more.
    let small = format!("{ENVELOPE}{}QUIT\r\n", "BDAT 1\r\nx".repeat(100_000));
    let heard = codes(port, small.as_bytes());
    assert_eq!((heard.len(), heard.last()), (100_005, Some(&221)));
    // More than can be is refused at once, what could be is read first.
    for size in ["18446744073709551615", "18446744073709551616", "99999999999999999999"] {
        let said = format!("{ENVELOPE}BDAT {size} LAST\r\nQUIT\r\n");
        assert_eq!(codes(port, said.as_bytes()), [220, 250, 250, 250, 552], "{size}");
    }
    let large = format!("{ENVELOPE}BDAT 300000 LAST\r\n{}QUIT\r\n", "x".repeat(300_000));
    assert_eq!(codes(port, large.as_bytes()), [220, 250, 250, 250, 552, 221]);
    // The sum counts.
    let sum = format!("{ENVELOPE}{}QUIT\r\n", format!("BDAT 100000\r\n{}", "x".repeat(100_000)).repeat(3));
    assert_eq!(codes(port, sum.as_bytes()), [220, 250, 250, 250, 250, 250, 552, 221]);
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} octets more");
    assert!(server.messages("alice", "INBOX").is_empty());
}

#[test]
fn parameters_carry_no_lines_and_no_controls() {
    let server = Server::serve(NO_CHECKS);
    let mut smtp = server.smtp();
    smtp.ehlo();
    for (line, code) in [
        (&b"MAIL FROM:<s@load.example> ENVID=a+00b"[..], 501),
        (b"MAIL FROM:<s@load.example> ENVID=a+0D+0ABcc:x", 501),
        (b"MAIL FROM:<s@load.example> ENVID=+7F", 501),
        (b"MAIL FROM:<s@load.example\rRCPT TO:<bob@example.test>> SMTPUTF8", 501),
        (b"MAIL FROM:<\xc0\xaf@load.example> SMTPUTF8", 501),
        (b"MAIL FROM:<\xed\xa0\x80@load.example> SMTPUTF8", 501),
        (b"MAIL FROM:<\xc2\x85@load.example> SMTPUTF8", 501),
        ("MAIL FROM:<\u{e9}@load.example>".as_bytes(), 550),
        (b"MAIL FROM:<s@load.example> REQUIRETLS", 555),
        (b"MAIL FROM:<s@load.example> SMTPUTF8", 250),
        (b"RCPT TO:<alice@example.test> ORCPT=rfc822;a+0D+0AX:y", 501),
        (b"RCPT TO:<alice@example.test> ORCPT=rfc822;a\0b", 501),
        (b"RCPT TO:<alice\x7f@example.test>", 501),
        (b"RCPT TO:<\xff@example.test>", 501),
        (b"RCPT TO:<alice@example.test> NOTIFY=NEVER,NEVER", 501),
        (b"DATA", 554),
    ] {
        assert_eq!(smtp.code(line), code, "{}", line.escape_ascii());
    }
}

#[test]
fn lmtp_serves_mailboxes_here_and_relays_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("lmtp");
    let port = common::server::free_port("127.0.0.1");
    let server = Server::serve(&format!(
        "{NO_CHECKS}[lmtp]\nlisten = [\"127.0.0.1:{port}\"]\nsocket = \"{}\"\nmode = \"0640\"\n",
        socket.display()
    ));
    let mode = std::fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let mut stream = UnixStream::connect(&socket).expect("it listens");
    let said = "EHLO c\r\nLHLO c\r\nMAIL FROM:<s@load.example>\r\nDATA\r\nRCPT TO:<alice@example.test>\r\n\
        RCPT TO:<victim@elsewhere.example>\r\nRCPT TO:<nobody@example.test>\r\nRCPT TO:<bob@example.test>\r\n\
        BDAT 17 LAST\r\nSubject: lmtp\r\n\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nBDAT 0 LAST\r\nQUIT\r\n";
    let mut replies = Vec::new();
    for part in said.split_inclusive("DATA\r\n") {
        stream.write_all(part.as_bytes()).expect("taken");
        if part.ends_with("DATA\r\n") {
            // Nothing may follow a DATA that is refused.
            while !String::from_utf8_lossy(&replies).contains("\n503 ") {
                let mut buffer = [0; 4096];
                let n = stream.read(&mut buffer).expect("a reply");
                assert!(n > 0, "{}", replies.escape_ascii());
                replies.extend_from_slice(&buffer[..n]);
            }
        }
    }
    stream.read_to_end(&mut replies).expect("closed by QUIT");
    let wanted = [220, 500, 250, 250, 503, 250, 550, 550, 250, 250, 250, 250, 250, 250, 221];
    assert_eq!(of_replies(&replies), wanted, "{}", replies.escape_ascii());
    assert_eq!(server.messages("alice", "INBOX").len(), 1);
    assert_eq!(server.messages("bob", "INBOX").len(), 2);
    // Over TCP only for trusted networks, and there are none.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.shutdown(Shutdown::Write).ok();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).ok();
    assert!(heard.is_empty(), "{}", heard.escape_ascii());
}

#[test]
fn proxies_lend_nobody_their_own_trust() {
    let server = Server::serve(NO_CHECKS);
    let text = std::fs::read_to_string(server.config()).expect("it is there");
    let text = text.replace("trusted_networks = []", "trusted_networks = [\"127.0.0.0/8\"]");
    let text = text + "[proxy]\nnetworks = [\"127.0.0.1/32\"]\n";
    common::server::write_private(server.config(), &text);
    server.signal(Signal::HUP);
    wait_for("the new configuration", || server.log().contains("configuration reloaded").then_some(()));
    let relay = b"EHLO c\r\nMAIL FROM:<s@load.example>\r\nRCPT TO:<victim@elsewhere.example>\r\nQUIT\r\n";
    let v2 = |peer: [u8; 4]| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend(peer);
        header.extend([127, 0, 0, 1, 0x30, 0x39, 0, 25]);
        header
    };
    for (header, wanted) in [
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 25\r\n".to_vec(), &[220, 250, 250, 554, 221][..]),
        (b"PROXY UNKNOWN\r\n".to_vec(), &[220, 250, 250, 554, 221]),
        (v2([192, 0, 2, 1]), &[220, 250, 250, 554, 221]),
        // Whoever is trusted himself stays so behind the proxy.
        (b"PROXY TCP4 127.0.0.9 127.0.0.1 12345 25\r\n".to_vec(), &[220, 250, 250, 250, 221]),
        (v2([127, 0, 0, 9]), &[220, 250, 250, 250, 221]),
        (b"PROXY TCP4 127.0.0.9 127.0.0.1 12345\r\n".to_vec(), &[]),
        (b"PROXY TCP4 127.0.0.9\r\n".to_vec(), &[]),
        (b"EHLO c\r\n".to_vec(), &[]),
        (b"GET / HTTP/1.1\r\n".to_vec(), &[]),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port("SMTP"))).expect("it listens");
        stream.write_all(&header).expect("taken");
        assert_eq!(talk(stream, relay), wanted, "{}", header.escape_ascii());
    }
}

/// Where mail for elsewhere would go, and a server that sends all of it there. The zone says whose mail 127.0.0.1 is.
fn with_sink(script: Script, sections: &str) -> (Server, Sink, ZoneServer) {
    let sink = Sink::start("127.0.0.2", 0, script);
    let zone =
        Zone::default().txt("load.example", "v=spf1 ip4:127.0.0.1 -all").txt("forged.example", "v=spf1 -all").serve();
    let checks =
        "[checks]\nhelo_syntax = \"off\"\nhelo_fqdn = \"off\"\nclient_fcrdns = \"off\"\nsender_domain = \"off\"\n";
    let server = Server::serve(&format!(
        "{checks}[dns]\nresolver = \"{}\"\n[outbound]\nrelay = \"[127.0.0.2]:{}\"\n{sections}",
        zone.address(),
        sink.port()
    ));
    (server, sink, zone)
}

fn nothing_waits(server: &Server) {
    wait_for("an empty queue", || server.command(&["queue", "list", "--json"]).stdout.is_empty().then_some(()));
}

/// One message by these commands, each of which is taken; the reply to its end.
fn bring(server: &Server, envelope: &[&str], message: &str) -> Reply {
    let mut smtp = server.smtp();
    smtp.ehlo();
    for line in envelope {
        assert_eq!(smtp.command(line).code, 250, "{line}");
    }
    assert_eq!(smtp.code(b"DATA"), 354);
    smtp.0.send(&wire(message));
    smtp.reply()
}

#[test]
fn mail_loop_by_an_alias_that_leads_back() {
    let aliases = "[aliases]\n\"away@example.test\" = \"me@far.example\"\n\"too@example.test\" = [\"you@far.example\", \"bob\"]\n";
    let (server, sink, _zone) = with_sink(Script::default(), aliases);
    server.deliver("away@example.test", "Subject: once\n\nx\n");
    let taken = wait_for("the message elsewhere", || sink.taken().pop());
    assert!(taken.text().starts_with("Delivered-To: away@example.test\r\n"), "{}", taken.text());
    // The other server sends it back, under whatever sender.
    for to in ["away@example.test", "AWAY@Example.Test", "away+tag@example.test"] {
        let reply = bring(
            &server,
            &["MAIL FROM:<me@far.example>", &format!("RCPT TO:<{to}>")],
            &taken.text().replace("\r\n", "\n"),
        );
        let loops = !to.contains('+');
        assert_eq!(reply.text().starts_with("554 5.4.6 "), loops, "{to}: {reply:?}");
    }
    // For a mailbox here it has come to its end, and so for an alias that it did not go by.
    server.deliver("alice@example.test", &taken.text().replace("\r\n", "\n"));
    server.deliver("too@example.test", &taken.text().replace("\r\n", "\n"));
    // Of two aliases nobody learns that the other was named.
    let both = ["MAIL FROM:<s@load.example>", "RCPT TO:<away@example.test>", "RCPT TO:<too@example.test>"];
    assert_eq!(bring(&server, &both, "Subject: both\n\nx\n").code, 250);
    let both = wait_for("both copies", || {
        let both: Vec<_> = sink.taken().into_iter().filter(|taken| taken.text().contains("Subject: both")).collect();
        (both.len() == 2).then_some(both)
    });
    for copy in both {
        let (own, other) = if copy.to == ["me@far.example"] { ("away", "too") } else { ("too", "away") };
        assert!(copy.text().starts_with(&format!("Delivered-To: {own}@example.test\r\n")), "{}", copy.text());
        assert!(!copy.text().contains(&format!("{other}@")), "{}", copy.text());
    }
    nothing_waits(&server);
    // And by counting (RFC 5321 §6.3).
    for (hops, code) in [(98, 250), (100, 554), (1000, 550)] {
        let message = "Received: by x\n".repeat(hops) + "Subject: x\n\nx\n";
        let reply = bring(&server, &["MAIL FROM:<s@load.example>", "RCPT TO:<bob@example.test>"], &message);
        assert!(reply.code == code || (hops == 1000 && reply.code == 554), "{hops}: {reply:?}");
    }
}

#[test]
fn backscatter_for_wishes_of_senders_nobody_vouches_for() {
    let (server, sink, _zone) = with_sink(Script::default(), "");
    for (sender, told) in [("j@forged.example", false), ("j@unknown.example", false), ("s@load.example", true)] {
        let envelope =
            [format!("MAIL FROM:<{sender}>"), "RCPT TO:<alice@example.test> NOTIFY=SUCCESS,DELAY,FAILURE".to_owned()];
        assert_eq!(bring(&server, &envelope.each_ref().map(String::as_str), "Subject: x\n\nx\n").code, 250);
        if told {
            let notice = wait_for("the notice", || sink.taken().pop());
            assert_eq!((notice.from.as_str(), notice.to.as_slice()), ("", &[sender.to_owned()][..]));
            assert!(notice.text().contains("Action: delivered"), "{}", notice.text());
        }
    }
    nothing_waits(&server);
    assert_eq!(sink.taken().len(), 1, "and nobody else hears of anything");
    // What cannot be delivered is refused while its sender is there, so that no notice is needed.
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp.command("MAIL FROM:<s@load.example>");
    assert!(smtp.command("RCPT TO:<nobody@example.test> NOTIFY=FAILURE").text().starts_with("550 5.1.1 "));
    nothing_waits(&server);
    assert_eq!(sink.taken().len(), 1);
}

#[test]
fn backscatter_ends_with_the_first_notice() {
    let gone = vec![("me@far.example", "550 5.1.1 gone"), ("deaf@load.example", "550 5.1.1 gone, too")];
    let script = Script { recipients: gone, ..Script::default() };
    let (server, sink, _zone) = with_sink(script, "[aliases]\n\"away@example.test\" = \"me@far.example\"\n");
    for (sender, told) in [("", 0), ("deaf@load.example", 0), ("s@load.example", 1)] {
        let envelope = [format!("MAIL FROM:<{sender}>"), "RCPT TO:<away@example.test>".to_owned()];
        assert_eq!(bring(&server, &envelope.each_ref().map(String::as_str), "Subject: x\n\nx\n").code, 250);
        wait_for("the refusal", || server.log().contains("me@far.example").then_some(()));
        nothing_waits(&server);
        let taken = sink.taken();
        assert_eq!(taken.len(), told, "{sender}: {taken:?}");
        assert!(taken.iter().all(|notice| notice.from.is_empty() && notice.to == ["s@load.example"]), "{taken:?}");
    }
}

/// No octet of a peer becomes a line of ours: in the trace, the results, the notice and the log.
#[test]
fn header_injection() {
    let long: &str = Box::leak(
        format!(
            "550-5.1.1 evil\x1b[31m\x07 {}\r\n{}550 5.1.1 end\x08\rBcc: injected@far.example",
            "y".repeat(1500),
            "550-5.1.1 more\r\n".repeat(90)
        )
        .into_boxed_str(),
    );
    let (server, _sink, _zone) =
        with_sink(Script { recipients: vec![("x@far.example", long)], ..Script::default() }, "");
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    let subject =
        "Subject: =?utf-8?q?a=0D=0ABcc:_injected@far.example?=\nContent-Type: text/plain; name=\"a\x01\x0bb\"\n\nx\n";
    assert_eq!(smtp.send_message("alice@example.test", &["x@far.example"], subject).code, 250);
    let notice = wait_for("the notice", || server.messages("alice", "INBOX").pop()).1;
    let text = String::from_utf8_lossy(&notice).into_owned();
    assert!(text.contains("evil?[31m?"), "{text}");
    let report = text.split("Content-Type: message/rfc822").next().unwrap_or_default();
    assert!(report.lines().all(|line| line.len() <= 998 && !line.contains(|c: char| c.is_control() && c != '\t')));
    assert!(!report.contains("\nBcc:"), "{text}");
    // Twenty lines of 512 octets of the reply at most, and once.
    assert!(report.len() < 20 * 512 + 4096 && report.contains("more"), "{} octets: {text}", report.len());

    // The trace and the results of a stranger.
    for greeting in ["a;b(c)d\"e\\f", "x)(y", "[127.0.0.1];for=<x>", "\u{e9}"] {
        let mut smtp = server.smtp();
        let code = smtp.code(format!("EHLO {greeting}").as_bytes());
        if code != 250 {
            assert!((500..600).contains(&code), "{greeting}: {code}");
            continue;
        }
        for sender in ["\"a;dkim=pass\"@load.example", "\"a; dkim=pass (b) \\\" c\"@load.example", "a@load.example"] {
            let reply = smtp.send_message(sender, &["bob@example.test"], "Subject: x\n\nx\n");
            smtp.command("RSET");
            assert!(reply.code == 250 || (sender.starts_with('"') && reply.code == 501), "{sender}: {reply:?}");
        }
    }
    for bad in [&b"EHLO a\0b"[..], b"EHLO a\rb", b"EHLO a\x1bb"] {
        let code = server.smtp().code(bad);
        assert!((500..600).contains(&code), "{}: {code}", bad.escape_ascii());
    }
    let messages = server.messages("bob", "INBOX");
    let quoted = messages.iter().filter(|(_, text)| memchr::memmem::find(text, b"dkim=pass").is_some()).count();
    assert!(messages.len() >= 4 && quoted >= 2, "{quoted} of {}", messages.len());
    for (_, text) in messages {
        let text = String::from_utf8_lossy(&text).into_owned();
        let unfolded = text.replace("\r\n\t", " ").replace("\r\n ", " ");
        let field = |name: &str| {
            let mut all = unfolded.lines().filter(|line| line.starts_with(name));
            let one = all.next().unwrap_or_default().to_owned();
            assert_eq!(all.next(), None, "{name} twice: {text}");
            one
        };
        let received = field("Received:");
        assert_eq!(received.matches(';').count(), 1, "{received}");
        assert!(!unquoted(&field("Authentication-Results:")).contains("dkim=pass"), "{text}");
        assert!(!unquoted(&field("Received-SPF:")).contains("dkim=pass"), "{text}");
    }
    let log = server.log();
    assert!(log.lines().all(|line| line.starts_with("20") && !line.contains(char::is_control)), "{log}");
}

/// A field without its quoted strings.
fn unquoted(field: &str) -> String {
    let mut plain = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in field.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if !quoted => plain.push(c),
            _ => {}
        }
    }
    assert!(!quoted, "a string without end: {field}");
    plain
}

#[test]
fn forged_fields_of_ours_do_not_stay() {
    let (server, _sink, _zone) = with_sink(Script::default(), "");
    let forged = "Authentication-Results: mail.example.test; dkim=pass header.d=bank.example\n\
        AUTHENTICATION-RESULTS:\n\tMAIL.example.test 1; spf=pass\nAuthentication-Results: mx.elsewhere.example; spf=pass\n\
        Return-Path: <forged@bank.example>\nReceived: from bank.example by mail.example.test; today\nSubject: x\n\nx\n";
    server.deliver("alice@example.test", forged);
    let (_, text) = server.messages("alice", "INBOX").pop().expect("it is there");
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.starts_with("Return-Path: <stranger@load.example>\r\n"), "{text}");
    assert!(!text.contains("forged@bank.example") && !text.contains("dkim=pass"), "{text}");
    let results = text.to_ascii_lowercase().matches("authentication-results:").count();
    assert_eq!(results, 2, "ours, and that of the other server: {text}");
    assert!(text.contains("mx.elsewhere.example; spf=pass"), "{text}");
    // Received is nobody's secret: ours stands above.
    let ours = text.find("Received: from client.load.example").expect("ours");
    assert!(ours < text.find("Received: from bank.example").expect("theirs"), "{text}");
}

#[test]
fn header_floods() {
    let server = Server::serve(NO_CHECKS);
    let before = server.memory();
    let began = Instant::now();
    let line = format!("X-Long: {}\n", "z".repeat(900));
    for (name, message, code) in [
        ("100,000 fields", "X: y\n".repeat(100_000) + "\nx\n", 550),
        ("100,000 fields without an empty line", "X: y\n".repeat(100_000), 550),
        ("a header of 10 MB", line.repeat(11_000) + "\nx\n", 550),
        ("one field of 10 MB", format!("Subject: x\n{}\nx\n", format!(" {}\n", "z".repeat(900)).repeat(11_000)), 550),
        ("100,000 empty folds", format!("Subject: x\n{}\nx\n", " \n".repeat(200_000)), 550),
        ("100,000 times Received", "Received: x\n".repeat(100_000) + "\n", 550),
        ("no empty line", "Subject: x\nTo: y\n".to_owned(), 250),
        ("the line of mbox", "From me@x Thu\nSubject: x\n\nx\n".to_owned(), 250),
        ("nothing but the line of mbox", "From me@x Thu\n".to_owned(), 250),
        ("the line of mbox in front of a body", "From me@x Thu\nno field\n".to_owned(), 250),
        ("fields twice", "From: a\nFrom: b\nDate: x\nDate: y\nSubject: 1\nSubject: 2\n\nx\n".to_owned(), 250),
        ("no header", "\nx\n".to_owned(), 250),
        ("nothing", String::new(), 250),
        ("colons", ":\n::\n: x\n\nx\n".to_owned(), 250),
    ] {
        let reply = bring(&server, &["MAIL FROM:<s@load.example>", "RCPT TO:<alice@example.test>"], &message);
        assert_eq!(reply.code, code, "{name}: {reply:?}");
        assert!(code == 250 || reply.text().starts_with("550 5.6.0 "), "{name}: {reply:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let messages = server.messages("alice", "INBOX");
    assert_eq!(messages.len(), 8);
    for (_, text) in messages {
        // Our fields are a header of their own, whatever followed.
        assert!(text.starts_with(b"Return-Path: <s@load.example>\r\nReceived: from "), "{}", text.escape_ascii());
        assert!(!text.windows(7).any(|w| w == b"\nFrom m"), "{}", text.escape_ascii());
    }
    assert!(server.memory() < before + 48 * 1024, "from {before} to {} KiB", server.memory());
}

#[test]
fn user_enumeration_by_vrfy_and_expn() {
    let server = Server::serve(&format!("{NO_CHECKS}[aliases]\n\"all@example.test\" = [\"alice\", \"bob\"]\n"));
    let mut smtp = server.smtp();
    let names = ["alice", "alice@example.test", "nobody@example.test", "all", "postmaster", "x@far.example", "<alice>"];
    let told: BTreeSet<String> =
        names.iter().map(|name| smtp.command(&format!("VRFY {name}")).text().to_owned()).collect();
    assert_eq!(told.len(), 1, "one answer for all: {told:?}");
    assert!(told.iter().all(|reply| reply.starts_with("252 2.5.0 ")), "{told:?}");
    for name in names {
        assert_eq!(smtp.code(format!("EXPN {name}").as_bytes()), 502, "{name}");
    }
    // RCPT does tell: who guesses is slowed down, then sent away (10 and 20 unknown names).
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp.command("MAIL FROM:<>");
    let began = Instant::now();
    let codes: Vec<u16> =
        (0..21).map_while(|n| Some(smtp.code(format!("RCPT TO:<guess{n}@example.test>").as_bytes()))).collect();
    assert_eq!((&codes[..19], &codes[19..]), (&[550; 19][..], &[421, 0][..]));
    assert!(began.elapsed() >= Duration::from_secs(8), "{:?}", began.elapsed());
}

/// "memory per connection <= 256 KiB regardless".
#[test]
fn unbounded_input_memory_per_connection() {
    let server = Server::try_out(&["--unlimited", "--plaintext-login"]);
    let ehlo = "EHLO c.load.example\r\n";
    let endless = format!("{ehlo}{}", "A".repeat(60_000));
    let auth = format!("{ehlo}AUTH PLAIN {}", "A".repeat(11_000));
    let text = "MAIL FROM:<s@load.example> SIZE=1000000\r\nRCPT TO:<alice@example.test>\r\n";
    let long = "z".repeat(400);
    let recipients: String =
        (0..150).map(|n| format!("RCPT TO:<alice+{n}@example.test> ORCPT=rfc822;{n}{long}\r\n")).collect();
    let recipients = format!("{ehlo}MAIL FROM:<s@load.example>\r\n{recipients}");
    let before = server.memory();
    let mut crowd: Vec<Smtp> = Vec::new();
    for (port, said) in [
        ("SMTP", endless.as_bytes()),
        ("SUBM", auth.as_bytes()),
        ("SMTP", recipients.as_bytes()),
        ("SMTP", format!("{ehlo}{text}DATA\r\n{}", "z".repeat(180_000)).as_bytes()),
        ("SMTP", format!("{ehlo}{text}BDAT 900000\r\n{}", "z".repeat(180_000)).as_bytes()),
    ] {
        for _ in 0..50 {
            let mut smtp = Smtp::connect(server.port(port));
            smtp.0.send(said);
            crowd.push(smtp);
        }
    }
    // Whoever comes later is served when those have been read, or very nearly.
    for smtp in &mut crowd {
        assert_eq!(smtp.reply().code, 250);
    }
    server.imap("alice").ok("SELECT INBOX");
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 250 * 256, "{grown} KiB for 250 connections");
}

/// When no connection more may be, the stranger who has been there longest without a message makes room for whoever
/// comes, and the users are served.
#[test]
fn slowloris_under_pressure_idle_strangers_go_first() {
    let server = Server::serve(&format!("{NO_CHECKS}[limits]\nconnections = 6\n"));
    let mut busy = server.smtp();
    busy.ehlo();
    assert_eq!(busy.code(b"MAIL FROM:<s@load.example>"), 250);
    let mut crowd: Vec<Smtp> = (0..5).map(|_| server.smtp()).collect();
    // Octets are no work.
    crowd[0].0.send(b"EHL");
    let mut imap = server.imap("alice");
    assert_eq!(crowd[0].rest().iter().map(|reply| reply.code).collect::<Vec<_>>(), [421]);
    let mut another = server.smtp();
    another.ehlo();
    let gone = crowd[1].rest();
    assert!(gone.len() == 1 && gone[0].text().starts_with("421 4.3.2 too many connections"), "{gone:?}");
    for smtp in &mut crowd[2..] {
        smtp.ehlo();
    }
    imap.ok("NOOP");
    assert_eq!(busy.code(b"RCPT TO:<alice@example.test>"), 250, "who works stays");
    // When nobody is idle, the key is named.
    for smtp in crowd[2..].iter_mut().chain([&mut another]) {
        assert_eq!(smtp.code(b"MAIL FROM:<s@load.example>"), 250);
    }
    assert_eq!(Line::connect(server.port("SMTP")).text(), "421 4.7.0 too many connections (limits.connections)");
}

/// What was sent in the belief that all before it would be taken is never a command.
#[test]
fn pipelining_desync() {
    let server = Server::serve(NO_CHECKS);
    let port = server.port("SMTP");
    let body = "Subject: x\r\n\r\nx\r\n.\r\n";
    let inner = "MAIL FROM:<evil@load.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nx\r\n.\r\n";
    // No recipient is left: the body comes all the same, and must not be read.
    let said = format!("EHLO c\r\nMAIL FROM:<s@load.example>\r\nRCPT TO:<no@example.test>\r\nDATA\r\n{inner}QUIT\r\n");
    assert_eq!(codes(port, said.as_bytes()), [220, 250, 250, 550, 554]);
    let said = format!("EHLO c\r\nDATA\r\n{inner}QUIT\r\n");
    assert_eq!(codes(port, said.as_bytes()), [220, 250, 503]);
    // Where one is, what came before 354 is the body.
    let said = format!("{ENVELOPE}RCPT TO:<no@example.test>\r\nDATA\r\n{body}{ENVELOPE}DATA\r\n{body}QUIT\r\n");
    assert_eq!(
        codes(port, said.as_bytes()),
        [220, 250, 250, 250, 550, 354, 250, 250, 250, 250, 354, 250, 221],
        "two messages in one piece"
    );
    assert_eq!(server.messages("alice", "INBOX").len(), 2);
    assert!(server.messages("bob", "INBOX").is_empty());
}

#[test]
fn unbounded_commands_without_work() {
    let server = Server::serve(NO_CHECKS);
    for line in ["RSET", "VRFY x", "HELP", "EHLO c", "NOOP", "XYZZY", "MAIL FROM:<>\r\nRSET"] {
        let many = format!("EHLO c\r\n{}", format!("{line}\r\n").repeat(100_000));
        let heard = codes(server.port("SMTP"), many.as_bytes());
        // Some of them are no junk by themselves, and cost nothing; all of them have an end.
        assert!(
            heard.len() < 1000 && heard.last() == Some(&421),
            "{line}: {} replies, {:?}",
            heard.len(),
            heard.last()
        );
    }
}
