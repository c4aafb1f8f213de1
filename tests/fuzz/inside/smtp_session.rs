//! Whole sessions with the machine of the server, whose questions are answered from the input.
//!
//! | octets of the input | what they are |
//! | --- | --- |
//! | 1 | role, TLS from the start, TLS possible, login in clear, bare newlines, whether a client waits after DATA |
//! | 1 | the pieces of the second run |
//! | 6 | the answers, again and again |
//! | the rest | the stream |
//!
//! Compiled into `protocol::smtp::server` by the fuzz build alone, which so sees what is left in the buffers.

use std::time::Duration;
use std::time::Instant;

use super::state::Column;
use super::*;

/// Twice the same stream, cut in different ways, and once with the time running.
pub fn check(octets: &[u8]) {
    let Some((head, stream)) = octets.split_at_checked(8) else { return };
    let waits = head[0] & 0x40 != 0;
    let strict = (stream.len() as u64) / 2 + 1;
    let first = run(head, stream, &pieces(stream, stream.len().max(1), waits), strict, false);
    for step in [1, usize::from(head[1]).max(2)] {
        let second = run(head, stream, &pieces(stream, step, waits), strict, false);
        assert_eq!(first.sent, second.sent, "in pieces of {step}");
        assert_eq!((&first.events, first.closed), (&second.events, second.closed), "in pieces of {step}");
    }
    run(head, stream, &pieces(stream, usize::from(head[1]).max(1), waits), 100, true);
}

/// Where the stream is cut. Some answers depend on whether more has come behind a line (STARTTLS, DATA that is
/// refused): there a client either waits always or never does.
fn pieces(stream: &[u8], step: usize, waits: bool) -> Vec<usize> {
    let mut cuts: Vec<usize> = (1..).map(|n| n * step).take_while(|cut| *cut < stream.len()).collect();
    let mut line = 0;
    for (at, octet) in stream.iter().enumerate() {
        if *octet != b'\n' {
            continue;
        }
        let text = stream[line..=at].to_ascii_uppercase();
        if text.windows(4).any(|w| w == b"DATA") || text.windows(8).any(|w| w == b"STARTTLS") {
            cuts.retain(|cut| *cut != at + 1);
            if waits {
                cuts.push(at + 1);
            }
        }
        line = at + 1;
    }
    cuts.push(stream.len());
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

fn settings(flags: u8, max_size: u64) -> Settings {
    Settings {
        role: match flags % 3 {
            0 => Role::Reception,
            1 => Role::Submission,
            _ => Role::Lmtp,
        },
        hostname: Domain::parse("mx.here.example").expect("a domain"),
        max_size,
        can_start_tls: flags & 0x08 == 0,
        plaintext_login: flags & 0x10 != 0,
        legacy_auth_line: flags & 0x20 != 0,
        bare_newline: if flags & 0x20 != 0 { BareNewline::Normalise } else { BareNewline::Reject },
        command_wait: Duration::from_secs(300),
    }
}

fn id() -> QueueId {
    QueueId::parse("0-1").expect("an id")
}

/// What the client and the driver saw, and where the driver believes that the transaction is.
struct Run<'a> {
    server: Server,
    now: Instant,
    script: &'a [u8],
    asked: usize,
    sent: Vec<u8>,
    /// Questions and, at the end of a message, the message.
    events: Vec<String>,
    closed: bool,
    sender: Option<String>,
    recipients: Vec<Address>,
    begun: bool,
    body: Vec<u8>,
    most: usize,
}

fn run<'a>(head: &'a [u8], stream: &[u8], cuts: &[usize], max_size: u64, ticking: bool) -> Run<'a> {
    let now = Instant::now();
    let settings = settings(head[0], max_size);
    let most = settings.role.recipients();
    let tls = (head[0] & 0x04 != 0).then(|| TlsActive::after_handshake("TLSv1.3", "C"));
    let mut run = Run {
        server: Server::new(settings, now, tls),
        now,
        script: &head[2..],
        asked: 0,
        sent: Vec::new(),
        events: Vec::new(),
        closed: false,
        sender: None,
        recipients: Vec::new(),
        begun: false,
        body: Vec::new(),
        most,
    };
    let mut deadline = run.poll();
    let mut from = 0;
    for (at, cut) in cuts.iter().enumerate() {
        if run.closed {
            break;
        }
        if ticking {
            run.now += Duration::from_millis(u64::from(head[2 + at % 6]) * 20);
            if run.now >= deadline {
                run.server.tick(run.now);
                run.poll();
                assert!(run.closed, "nobody waits beyond the deadline");
                break;
            }
            if at == usize::from(head[7]) {
                run.server.shutdown(run.now);
                run.poll();
            }
        }
        run.server.receive(run.now, &stream[from..*cut]);
        from = *cut;
        deadline = run.poll();
    }
    if !ticking {
        run.nothing_is_left_of_a_transaction();
    }
    run
}

impl Run<'_> {
    fn forget(&mut self) {
        self.sender = None;
        self.recipients.clear();
        self.begun = false;
        self.body.clear();
    }

    /// Does what the machine wants until it waits or closes.
    fn poll(&mut self) -> Instant {
        loop {
            match self.server.poll() {
                Step::Send(bytes) => {
                    replies_hold(&bytes);
                    self.sent.extend(bytes);
                }
                Step::SendBody(never) => match never {},
                Step::Body(chunk) => {
                    assert!(self.begun, "a body of no message");
                    self.body.extend(chunk);
                }
                Step::Ask(question) => {
                    let answer = self.answer(question);
                    self.server.answer(self.now, answer);
                }
                Step::StartTls => {
                    assert!(self.sender.is_none(), "TLS within a transaction");
                    self.events.push("TLS".to_owned());
                    self.server.secured(self.now, TlsActive::after_handshake("TLSv1.3", "C"));
                    assert!(self.server.lines.rest().is_empty());
                }
                Step::Wait(deadline) => {
                    self.waits();
                    return deadline;
                }
                Step::Close => {
                    self.closed = true;
                    return self.now;
                }
            }
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        let choice = self.script[self.asked % self.script.len()];
        self.asked += 1;
        let text = format!("{question:?}");
        let answer = match choice % 16 {
            0 => Answer::Refused(Reply::local_trouble()),
            1 => Answer::Refused(Reply::unknown_recipient()),
            2 => Answer::Refused(Reply::shutting_down()),
            // An answer to another question.
            3 if matches!(question, Question::End(_)) => Answer::Accepted,
            3 => Answer::Kept(id()),
            _ if matches!(question, Question::End(_)) => Answer::Kept(id()),
            _ => Answer::Accepted,
        };
        let yes = answer == Answer::Accepted;
        match question {
            Question::Mail { mail, .. } => {
                assert!(self.sender.is_none(), "a transaction within another");
                self.forget();
                self.sender = yes.then(|| mail.sender.to_string());
            }
            Question::Rcpt(address) => {
                assert!(self.sender.is_some() && !self.begun, "a recipient of nothing");
                self.recipients.extend(yes.then_some(address));
                assert!(self.recipients.len() <= self.most);
            }
            Question::Login(_) => assert!(self.sender.is_none(), "a login within a transaction"),
            Question::Begin => {
                assert!(self.sender.is_some() && !self.recipients.is_empty() && !self.begun, "a message from nothing");
                self.begun = yes;
                self.body.clear();
                if !yes {
                    self.sender = None;
                }
            }
            Question::End(complete) => {
                assert!(self.begun, "an end without a beginning, or two");
                assert_eq!(Some(complete.envelope.sender.to_string()), self.sender);
                assert_eq!(complete.envelope.recipients, self.recipients);
                assert!(self.body.is_empty() || self.body.ends_with(b"\n"), "half a line");
                self.events.push(format!("{:?}", String::from_utf8_lossy(&self.body)));
                self.forget();
            }
            Question::Reset => {
                assert!(self.sender.is_some(), "nothing to forget");
                self.forget();
                self.events.push(text);
                return Answer::Accepted;
            }
            Question::Abandon(envelope, _) => {
                assert_eq!(envelope.recipients, self.recipients);
                self.forget();
                self.events.push(text);
                return Answer::Accepted;
            }
        }
        self.events.push(text);
        answer
    }

    /// Nothing that could be used is left, and the machine and its driver agree on what is open.
    fn waits(&self) {
        let rest = self.server.lines.rest();
        assert!(rest.len() <= SMTP_AUTH_OCTETS, "more than a line is kept");
        match self.server.state.column() {
            Some(Column::Start | Column::Ready) => assert!(self.sender.is_none() && !self.begun),
            Some(Column::NoRecipient) => assert!(self.sender.is_some() && self.recipients.is_empty()),
            Some(Column::Recipients) => assert!(!self.recipients.is_empty() && !self.begun),
            Some(Column::Chunked) => assert!(self.begun),
            None if matches!(self.server.state, State::Login(_)) => assert!(self.sender.is_none()),
            None => assert!(rest.is_empty(), "octets of a message are left"),
        }
        assert!(!rest.contains(&b'\n'), "a line is left");
    }

    /// Without MAIL, DATA is out of order.
    fn nothing_is_left_of_a_transaction(&mut self) {
        // The end of the line that is open, and of an exchange.
        for text in ["\r\n", "*\r\n"] {
            if !self.closed {
                self.server.receive(self.now, text.as_bytes());
                self.poll();
            }
        }
        if self.closed || self.sender.is_some() || self.server.state.column().is_none() {
            return;
        }
        let before = self.sent.len();
        self.server.receive(self.now, b"DATA\r\n");
        self.poll();
        let said = String::from_utf8_lossy(&self.sent[before..]).into_owned();
        assert!(said.starts_with("503 5.5.1 ") || said == "421 4.7.0 too many errors\r\n", "{said}");
    }
}

/// Whole lines, each with a code and one class of code.
fn replies_hold(sent: &[u8]) {
    let text = std::str::from_utf8(sent).expect("replies are ASCII");
    for line in text.strip_suffix("\r\n").expect("whole lines").split("\r\n") {
        assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
        let (code, rest) = line.split_at(3);
        let code: u16 = code.parse().expect("three digits");
        assert!((200..600).contains(&code) && rest.starts_with([' ', '-']), "{line:?}");
        if code >= 400 {
            assert_eq!(rest.as_bytes()[1], line.as_bytes()[0], "the class of {line:?}");
        }
    }
}
