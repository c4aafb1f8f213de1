//! The rows of the reliability tables that concern SMTP's machine and are not in `attacks.rs`, over real sockets, on the
//! built binary: chunks, parameters, early talkers, LMTP and proxies.

mod common;

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::server::Server;
use common::wait_for;
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
