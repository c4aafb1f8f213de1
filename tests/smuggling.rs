//! The row "smuggling" of the reliability tables: every false end of data, by DATA, behind a chunk, in chunks and by both
//! mixed, on port 25 and with a login on 587, the stream cut in two at every place.
//!
//! What decides is what lies in the mailboxes afterwards: as many messages as were answered with yes, each with the whole
//! of what was to be hidden inside, and none at the address that only a hidden command names.

mod common;

use common::client::Line;
use common::server::Server;
use common::smtp::Reply;
use common::smtp::Smtp;
use common::smtp::TERMINATORS;

/// What stands before the false end, and what is hidden behind it.
const OUTER: &[u8] = b"Subject: o\r\n\r\nouter";
const INNER: &[u8] = b"MAIL FROM:<e@x.example>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: i\r\n\r\nhidden";

/// How the message comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By DATA.
    Data,
    /// By DATA, behind a chunk of a message that was given up.
    BehindChunk,
    /// In two chunks, cut where the stream is.
    Chunks,
    /// The first part as a chunk, the rest by DATA.
    Mixed,
}

const WAYS: [Way; 4] = [Way::Data, Way::BehindChunk, Way::Chunks, Way::Mixed];

/// Connections at once. One address may have as many.
const AT_ONCE: usize = 40;

/// A message that is cut in two, and what has to be said before and between and after.
struct Attempt {
    name: String,
    /// Sent after the envelope.
    first: Vec<u8>,
    /// Sent when the server has read the first part.
    second: Vec<u8>,
    /// Whether an answer comes before the end of the data.
    answers_before: usize,
}

fn attempt(terminator: &[u8], way: Way, cut: usize, with_login: bool) -> Attempt {
    let body = [OUTER, terminator, INNER].concat();
    let (head, tail) = body.split_at(cut);
    let sender = if with_login { "alice@example.test" } else { "s@load.example" };
    let envelope = format!("MAIL FROM:<{sender}>\r\nRCPT TO:<alice@example.test>\r\n");
    let mut first = envelope.clone().into_bytes();
    // MAIL and RCPT.
    let mut answers_before = 2;
    match way {
        Way::Data => {}
        Way::BehindChunk => {
            first.extend_from_slice(b"BDAT 4\r\n\r\n.\rRSET\r\n");
            first.extend_from_slice(envelope.as_bytes());
            answers_before += 4;
        }
        Way::Chunks | Way::Mixed => {
            first.extend_from_slice(format!("BDAT {}\r\n", head.len()).as_bytes());
            answers_before += 1;
        }
    }
    let mut second = Vec::new();
    match way {
        Way::Data | Way::BehindChunk => {
            first.extend_from_slice(b"DATA\r\n");
            answers_before += 1;
        }
        Way::Chunks => second.extend_from_slice(format!("BDAT {} LAST\r\n", tail.len()).as_bytes()),
        Way::Mixed => second.extend_from_slice(b"DATA\r\n"),
    }
    // Behind DATA comes the answer first.
    first.extend_from_slice(head);
    second.extend_from_slice(tail);
    if way != Way::Chunks {
        second.extend_from_slice(b"\r\n.\r\n");
    }
    Attempt { name: format!("{} by {way:?} cut at {cut}", terminator.escape_ascii()), first, second, answers_before }
}

/// Says a part up to DATA, takes the answers, and says the rest of the part.
fn say_first(smtp: &mut Smtp, attempt: &Attempt, way: Way) {
    let marker = b"DATA\r\n";
    let upto = match way {
        Way::Data | Way::BehindChunk => {
            memchr::memmem::find(&attempt.first, marker).expect("DATA is said") + marker.len()
        }
        Way::Chunks | Way::Mixed => attempt.first.len(),
    };
    let (commands, head) = attempt.first.split_at(upto);
    smtp.0.send(commands);
    for _ in 0..attempt.answers_before {
        let reply = smtp.reply();
        assert!(matches!(reply.code, 250 | 354), "{}: {reply:?}", attempt.name);
    }
    smtp.0.send(head);
}

/// A round trip of somebody else: what others have sent before has been read by then, as far as one can tell from here.
fn meanwhile(server: &Server) {
    let mut line = Line::connect(server.port("SUBM"));
    line.text();
    line.send(b"NOOP\r\n");
    line.text();
}

/// Whether the message was taken. Every other answer but QUIT's is a command that was found inside.
fn judged(replies: &[Reply], name: &str) -> bool {
    let codes: Vec<u16> = replies.iter().map(|reply| reply.code).collect();
    let taken = codes.first() == Some(&250);
    let fine = match codes.as_slice() {
        [250, 221] => true,
        [refused] | [refused, 221] => (500..600).contains(refused),
        _ => false,
    };
    assert!(fine, "{name}: {replies:?}");
    taken
}

/// As many as were taken, and each the whole of what was sent.
fn only_whole_messages(server: &Server, taken: usize) {
    let messages = server.messages("alice", "INBOX");
    assert_eq!(messages.len(), taken, "messages that are there, and that were taken");
    let count = |text: &[u8], what: &[u8]| memchr::memmem::find_iter(text, what).count();
    for (uid, text) in messages {
        let inner = ["\r\nSubject: o\r\n", "outer", "MAIL FROM:<e@x.example>", "\r\nSubject: i\r\n\r\nhidden\r\n"];
        for part in inner {
            assert_eq!(count(&text, part.as_bytes()), 1, "{uid}, {part:?}: {}", text.escape_ascii());
        }
        assert!(text.ends_with(b"hidden\r\n"), "{uid}: {}", text.escape_ascii());
    }
    assert!(server.messages("bob", "INBOX").is_empty(), "whom only a hidden command names");
}

const LIMITS: &str = "[checks]\nhelo_fqdn = \"off\"\nclient_fcrdns = \"off\"\nsender_domain = \"off\"\n\
    [dns]\nresolver = \"off\"\n[limits]\nsmtp_connections_per_minute = 0\nsmtp_connections_per_address = 100\n";

#[test]
fn smuggling_on_port_25_cut_at_every_place() {
    let server = Server::serve(LIMITS);
    let (mut taken, mut tried) = (0, 0);
    for terminator in TERMINATORS {
        let length = OUTER.len() + terminator.len() + INNER.len();
        for way in WAYS {
            let cuts: Vec<usize> = (0..=length).collect();
            for batch in cuts.chunks(AT_ONCE) {
                let mut open: Vec<(Smtp, Attempt)> = Vec::new();
                for cut in batch {
                    let attempt = attempt(terminator, way, *cut, false);
                    let mut smtp = server.smtp();
                    smtp.ehlo();
                    say_first(&mut smtp, &attempt, way);
                    open.push((smtp, attempt));
                }
                meanwhile(&server);
                for (smtp, attempt) in &mut open {
                    smtp.0.send(&attempt.second);
                    smtp.0.send(b"QUIT\r\n");
                }
                for (mut smtp, attempt) in open {
                    tried += 1;
                    let was_taken = judged(&smtp.rest(), &attempt.name);
                    assert!(!was_taken || way != Way::Mixed, "{}: nobody knows its end", attempt.name);
                    taken += usize::from(was_taken);
                }
            }
        }
    }
    common::say(&format!("smuggling, port 25: {tried} tried, {taken} taken as they were"));
    assert!(tried > 7000 && taken > 1000, "{tried} tried, {taken} taken");
    only_whole_messages(&server, taken);
}

/// The mail of users has its line ends put right, so that nearly all of it is taken; each is one message all the same.
#[test]
fn smuggling_with_a_login() {
    let server = Server::serve(LIMITS);
    let login = || {
        let mut smtp = Smtp::connect(server.port("SUBM"));
        smtp.ehlo();
        smtp.start_tls(server.ca());
        smtp.ehlo();
        smtp.login("alice");
        smtp
    };
    let (mut taken, mut tried) = (0, 0);
    let mut session = None;
    for terminator in TERMINATORS {
        let length = OUTER.len() + terminator.len() + INNER.len();
        // Everywhere at and near the false end.
        let near = OUTER.len().saturating_sub(2)..=OUTER.len() + terminator.len() + 2;
        for way in WAYS {
            // Who mixes is hung up on, and every login costs.
            let step = if way == Way::Mixed { 8 } else { 1 };
            for cut in (0..=length).filter(|cut| near.contains(cut) || cut % step == 0) {
                let attempt = attempt(terminator, way, cut, true);
                let mut smtp = session.take().unwrap_or_else(login);
                say_first(&mut smtp, &attempt, way);
                meanwhile(&server);
                smtp.0.send(&attempt.second);
                tried += 1;
                let reply = smtp.next_reply().unwrap_or_else(|| panic!("{}: no answer", attempt.name));
                if reply.code == 250 {
                    assert!(way != Way::Mixed, "{}: nobody knows its end", attempt.name);
                    taken += 1;
                    // Whatever was found inside would answer before this.
                    assert_eq!(smtp.command("NOOP in-order").code, 250, "{}", attempt.name);
                    assert_eq!(smtp.command("HELP").code, 214, "{}", attempt.name);
                    session = Some(smtp);
                } else {
                    smtp.0.send(b"QUIT\r\n");
                    let mut replies = vec![reply];
                    replies.extend(smtp.rest());
                    judged(&replies, &attempt.name);
                }
            }
        }
    }
    common::say(&format!("smuggling, with a login: {tried} tried, {taken} taken as they were"));
    assert!(taken > 5000, "{tried} tried, {taken} taken");
    only_whole_messages(&server, taken);
}
