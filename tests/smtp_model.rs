//! Random SMTP sessions against the server's machine, in memory, and against a second, much smaller automaton that was
//! written from the RFCs alone (5321, 3030, 3207): codes of replies, questions and bodies have to agree at every step.
//!
//! `FACTEUR_SMTP_SEQUENCES` says how many sessions; a failure names the number of its session, which makes it again.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use facteur::mail::address::Domain;
use facteur::mail::ids::QueueId;
use facteur::protocol::session::Session;
use facteur::protocol::session::Step;
use facteur::protocol::session::TlsActive;
use facteur::protocol::smtp::data::BareNewline;
use facteur::protocol::smtp::reply::Reply;
use facteur::protocol::smtp::server::Answer;
use facteur::protocol::smtp::server::Question;
use facteur::protocol::smtp::server::Role;
use facteur::protocol::smtp::server::Server;
use facteur::protocol::smtp::server::Settings;

const MAX_SIZE: u64 = 60;

/// Fewer commands than the server takes for junk, which is another matter.
const COMMANDS: u64 = 20;

/// What a client does, and what the policy behind the machine says to it.
#[derive(Debug, Clone)]
enum Move {
    Greet,
    BadGreeting,
    Mail(bool),
    BadMail,
    HugeMail,
    Rcpt(bool),
    BadRcpt,
    Data { begin: bool, end: bool, body: &'static str },
    Bdat { begin: bool, end: bool, last: bool, chunk: Vec<u8> },
    HugeBdat,
    BadBdat,
    Rset,
    Noop,
    Vrfy,
    Unknown,
    Elsewhere,
    BareLf,
    StartTls,
    Quit,
}

/// The reference.
#[derive(Debug, Default)]
struct Model {
    greeted: bool,
    tls: bool,
    mail: bool,
    recipients: usize,
    chunks: Option<Vec<u8>>,
}

/// Codes of replies, the questions asked, and whether the connection ends.
type Expected = (Vec<u16>, String, bool);

impl Model {
    fn clear(&mut self) {
        (self.mail, self.recipients, self.chunks) = (false, 0, None);
    }

    /// Ends the transaction; what is asked if there was one.
    fn end(&mut self, asked: &str) -> String {
        let asked = if self.mail { asked } else { "" };
        self.clear();
        asked.to_owned()
    }

    fn step(&mut self, what: &Move) -> Expected {
        let in_order = self.mail && self.chunks.is_none();
        let say = |code: u16| (vec![code], String::new(), false);
        match what {
            Move::Greet => (
                vec![250],
                {
                    self.greeted = true;
                    self.end("X")
                },
                false,
            ),
            Move::Rset => (vec![250], self.end("X"), false),
            Move::BadGreeting => say(501),
            Move::Noop => say(250),
            Move::Vrfy => say(252),
            Move::Unknown | Move::BareLf => say(500),
            Move::Elsewhere => say(502),
            Move::Quit => (vec![221], String::new(), true),
            Move::Mail(_) | Move::BadMail | Move::HugeMail if !self.greeted || self.mail => say(503),
            Move::BadMail => say(501),
            Move::HugeMail => say(552),
            Move::Mail(ok) => {
                self.mail = *ok;
                (vec![if *ok { 250 } else { 550 }], "M".to_owned(), false)
            }
            Move::Rcpt(_) | Move::BadRcpt if !in_order => say(503),
            Move::BadRcpt => say(501),
            Move::Rcpt(ok) => {
                self.recipients += usize::from(*ok);
                (vec![if *ok { 250 } else { 550 }], "R".to_owned(), false)
            }
            Move::StartTls if self.tls || self.mail => say(503),
            Move::StartTls => {
                (self.tls, self.greeted) = (true, false);
                say(220)
            }
            Move::Data { .. } if self.chunks.is_some() => (vec![503], self.end("A"), false),
            Move::Data { .. } if !self.mail => say(503),
            Move::Data { .. } if self.recipients == 0 => say(554),
            Move::Data { begin: false, .. } => (vec![451], self.end("B"), false),
            Move::Data { body, .. } if bare(body.as_bytes()) => (vec![354, 550], self.end("BA"), true),
            Move::Data { body, .. } if body.len() as u64 > MAX_SIZE => (vec![354, 552], self.end("BA"), true),
            Move::Data { end, .. } => (vec![354, if *end { 250 } else { 451 }], self.end("BE"), false),
            Move::BadBdat => (vec![501], self.end("A"), true),
            Move::HugeBdat | Move::Bdat { .. } if !self.mail => {
                (vec![503], String::new(), matches!(what, Move::HugeBdat))
            }
            Move::HugeBdat => (vec![if self.recipients == 0 { 554 } else { 552 }], self.end("A"), true),
            Move::Bdat { .. } if self.recipients == 0 => (vec![554], self.end("A"), false),
            Move::Bdat { begin, end, last, chunk } => {
                let before = self.chunks.clone().unwrap_or_default();
                let asked = if self.chunks.is_none() { "B" } else { "" };
                let whole = [&before[..], chunk].concat();
                match () {
                    () if whole.len() as u64 > MAX_SIZE => (vec![552], self.end("A"), false),
                    () if self.chunks.is_none() && !begin => (vec![451], self.end("BA"), false),
                    () if !last => {
                        self.chunks = Some(whole);
                        (vec![250], asked.to_owned(), false)
                    }
                    () if bare(&whole) => (vec![550], self.end(&format!("{asked}A")), false),
                    () => (vec![if *end { 250 } else { 451 }], self.end(&format!("{asked}E")), false),
                }
            }
        }
    }
}

/// Whether a CR or LF stands alone.
fn bare(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).replace("\r\n", "");
    text.contains(['\r', '\n'])
}

/// A small generator; the sessions of a number are always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % n
    }

    fn often(&mut self) -> bool {
        self.below(6) > 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        let n = self.below(list.len() as u64);
        list[usize::try_from(n).expect("small")]
    }

    fn next_move(&mut self) -> Move {
        let (begin, end, last) = (self.often(), self.often(), self.below(3) == 0);
        match self.below(40) {
            0..=4 => Move::Greet,
            5 => Move::BadGreeting,
            6..=11 => Move::Mail(self.often()),
            12 => Move::BadMail,
            13 => Move::HugeMail,
            14..=20 => Move::Rcpt(self.often()),
            21 => Move::BadRcpt,
            22..=24 => {
                let bodies = ["", "x\r\n", "a\r\nb\r\n", "a\nb\r\n", "a\r\nRSET\r\n", "a\rb\r\n", "QUIT\r\n"];
                let long = "0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
                Move::Data { begin, end, body: if self.below(12) == 0 { long } else { self.pick(&bodies) } }
            }
            25..=30 => {
                let chunks: [&[u8]; 9] = [
                    b"",
                    b"x\r\n",
                    b"QUIT\r\n",
                    b"a\r",
                    b"\nb\r\n",
                    b".\r\n",
                    b"no end",
                    b"a\nb",
                    b"MAIL FROM:<>\r\nRSET\r\n",
                ];
                let chunk = if self.below(15) == 0 { vec![b'x'; 61] } else { self.pick(&chunks).to_vec() };
                Move::Bdat { begin, end, last, chunk }
            }
            31 => {
                if self.below(2) == 0 {
                    Move::HugeBdat
                } else {
                    Move::BadBdat
                }
            }
            32 | 33 => Move::Rset,
            34 => Move::Noop,
            35 => Move::Vrfy,
            36 => Move::Unknown,
            37 => {
                if self.below(2) == 0 {
                    Move::Elsewhere
                } else {
                    Move::BareLf
                }
            }
            38 => Move::StartTls,
            _ => {
                if self.below(4) == 0 {
                    Move::Quit
                } else {
                    Move::Noop
                }
            }
        }
    }
}

/// What goes over the wire, the body of DATA aside.
fn wire(what: &Move) -> Vec<u8> {
    let line = match what {
        Move::Greet => "EHLO c",
        Move::BadGreeting => "HELO",
        Move::Mail(_) => "MAIL FROM:<s@x.example> BODY=8BITMIME",
        Move::BadMail => "MAIL FROM:s@x.example",
        Move::HugeMail => "MAIL FROM:<s@x.example> SIZE=61",
        Move::Rcpt(_) => "RCPT TO:<a@x.example> NOTIFY=NEVER",
        Move::BadRcpt => "RCPT TO:<a>",
        Move::Data { .. } => "DATA",
        Move::Bdat { last, chunk, .. } => {
            let mut bytes = format!("BDAT {}{}\r\n", chunk.len(), if *last { " LAST" } else { "" }).into_bytes();
            bytes.extend_from_slice(chunk);
            return bytes;
        }
        Move::HugeBdat => "BDAT 18446744073709551615 LAST",
        Move::BadBdat => "BDAT many",
        Move::Rset => "RSET",
        Move::Noop => "NOOP",
        Move::Vrfy => "VRFY a",
        Move::Unknown => "XYZZY",
        Move::Elsewhere => "EXPN a",
        Move::BareLf => return b"NOOP\n".to_vec(),
        Move::StartTls => "STARTTLS",
        Move::Quit => "QUIT",
    };
    format!("{line}\r\n").into_bytes()
}

/// The machine and what it did since the last look.
struct Driven {
    server: Server,
    now: Instant,
    said: Vec<u8>,
    asked: String,
    answers: VecDeque<bool>,
    body: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    closed: bool,
}

impl Driven {
    fn new(now: Instant) -> Self {
        let settings = Settings {
            role: Role::Reception,
            hostname: Domain::parse("mx.x.example").expect("valid"),
            max_size: MAX_SIZE,
            can_start_tls: true,
            plaintext_login: false,
            trusted: false,
            banner: "ESMTP".to_owned(),
            legacy_auth_line: false,
            bare_newline: BareNewline::Reject,
            command_wait: Duration::from_secs(300),
        };
        let server = Server::new(settings, now, None);
        let (answers, bodies) = (VecDeque::new(), Vec::new());
        let (said, asked, body) = (Vec::new(), String::new(), Vec::new());
        Self { server, now, said, asked, answers, body, bodies, closed: false }
    }

    fn run(&mut self) {
        loop {
            match self.server.poll() {
                Step::Send(bytes) => self.said.extend(bytes),
                Step::SendBody(never) => match never {},
                Step::Body(chunk) => self.body.extend(chunk),
                Step::Ask(question) => {
                    let kind = match question {
                        Question::Mail { .. } => 'M',
                        Question::Rcpt(_) => 'R',
                        Question::Begin => 'B',
                        Question::End(_) => 'E',
                        Question::Reset => 'X',
                        Question::Abandon(..) => 'A',
                        Question::Login(_) => 'L',
                    };
                    self.asked.push(kind);
                    let yes = self.answers.pop_front().unwrap_or(false);
                    let answer = match kind {
                        'X' | 'A' => Answer::Accepted,
                        'M' | 'R' if !yes => Answer::Refused(Reply::unknown_recipient()),
                        _ if !yes => Answer::Refused(Reply::local_trouble()),
                        'E' => Answer::Kept(QueueId::parse("id-1").expect("valid")),
                        _ => Answer::Accepted,
                    };
                    match kind {
                        'B' => self.body.clear(),
                        'E' => self.bodies.push(std::mem::take(&mut self.body)),
                        _ => {}
                    }
                    self.server.answer(self.now, answer);
                }
                Step::StartTls => {
                    self.server.secured(self.now, TlsActive::after_handshake("TLSv1.3", "TLS_AES_256_GCM_SHA384"));
                }
                Step::Wait(_) => return,
                Step::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    /// Sends a packet, cut anywhere, and compares what it led to.
    fn exchange(&mut self, packet: &mut Packet, random: &mut Random, name: &str) {
        let packet = std::mem::take(packet);
        self.answers = packet.answers;
        let mut rest = &packet.bytes[..];
        while !rest.is_empty() {
            let n = 1 + usize::try_from(random.below(rest.len() as u64)).expect("small");
            let n = if random.below(2) == 0 { rest.len() } else { n };
            self.server.receive(self.now, &rest[..n]);
            self.run();
            rest = &rest[n..];
        }
        let said = String::from_utf8(std::mem::take(&mut self.said)).expect("ASCII");
        let codes: Vec<u16> = said
            .lines()
            .filter(|line| line.as_bytes().get(3) == Some(&b' '))
            .map(|line| line[..3].parse().expect("a code"))
            .collect();
        let asked = std::mem::take(&mut self.asked);
        let bodies = std::mem::take(&mut self.bodies);
        let about = || format!("{name}: {}\n{said}", packet.bytes.escape_ascii());
        assert_eq!(codes, packet.codes, "{}", about());
        assert_eq!(asked, packet.asked, "{}", about());
        assert_eq!(bodies, packet.bodies, "{}", about());
        assert_eq!(self.closed, packet.closes, "{}", about());
    }
}

/// What is sent at once, and what has to come of it.
#[derive(Default)]
struct Packet {
    bytes: Vec<u8>,
    codes: Vec<u16>,
    asked: String,
    answers: VecDeque<bool>,
    bodies: Vec<Vec<u8>>,
    closes: bool,
}

impl Packet {
    /// The questions of one move and what is answered to them.
    fn expect(&mut self, what: &Move, asked: &str) {
        self.asked.push_str(asked);
        self.answers.extend(asked.chars().map(|kind| match (kind, what) {
            ('M', Move::Mail(ok)) | ('R', Move::Rcpt(ok)) => *ok,
            ('B', Move::Data { begin, .. } | Move::Bdat { begin, .. }) => *begin,
            ('E', Move::Data { end, .. } | Move::Bdat { end, .. }) => *end,
            _ => true,
        }));
    }
}

/// As it is kept: lines end with LF, and the last one ends.
fn kept(text: &[u8]) -> Vec<u8> {
    let mut kept = String::from_utf8_lossy(text).replace("\r\n", "\n").into_bytes();
    if kept.last().is_some_and(|last| *last != b'\n') {
        kept.push(b'\n');
    }
    kept
}

fn session(number: u64, now: Instant) {
    let name = format!("session {number}");
    let mut random = Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut model, mut driven) = (Model::default(), Driven::new(now));
    driven.run();
    driven.said.clear();
    let mut packet = Packet::default();
    for _ in 0..1 + random.below(COMMANDS) {
        let what = random.next_move();
        let chunks = model.chunks.clone();
        let (codes, asked, closes) = model.step(&what);
        packet.bytes.extend(wire(&what));
        packet.codes.push(codes[0]);
        packet.closes = closes;
        if let (Move::Bdat { chunk, .. }, true) = (&what, asked.contains('E')) {
            packet.bodies.push(kept(&[&chunks.unwrap_or_default()[..], chunk].concat()));
        }
        if let (Move::Data { body, .. }, Some(code)) = (&what, codes.get(1)) {
            // RFC 2920 §3.1: DATA is the last of its group.
            packet.closes = false;
            packet.expect(&what, "B");
            driven.exchange(&mut packet, &mut random, &name);
            packet.bytes.extend([body.as_bytes(), b".\r\n"].concat());
            packet.codes.push(*code);
            packet.closes = closes;
            packet.expect(&what, &asked[1..]);
            if asked.contains('E') {
                packet.bodies.push(kept(body.as_bytes()));
            }
        } else {
            packet.expect(&what, &asked);
        }
        let alone = matches!(what, Move::Data { .. } | Move::StartTls);
        if closes || alone || random.below(3) == 0 {
            driven.exchange(&mut packet, &mut random, &name);
        }
        if closes {
            return;
        }
    }
    driven.exchange(&mut packet, &mut random, &name);
}

#[test]
fn the_machine_agrees_with_the_reference() {
    let wanted = std::env::var("FACTEUR_SMTP_SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let now = Instant::now();
    for number in 0..wanted {
        session(number, now);
    }
    println!("{wanted} sessions, no difference");
}
