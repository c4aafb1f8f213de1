//! Random SMTP sessions against the server's machine, in memory, and against a second, much smaller automaton that was
//! written from the RFCs alone (5321, 3030, 3207, 4954, 6409, 2033): codes of replies, questions and bodies have to agree
//! at every step. The sessions are in turn those of port 25, of submission, and of LMTP.
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
    /// That of SMTP by LMTP, and the other way round.
    OtherGreeting,
    /// With the password in the command, or after it.
    Auth {
        ok: bool,
        later: bool,
    },
    AuthCancelled,
    AuthNonsense,
    AuthUnknown,
    Mail(bool),
    BadMail,
    HugeMail,
    Rcpt(bool),
    BadRcpt,
    Data {
        begin: bool,
        end: End,
        body: &'static str,
    },
    Bdat {
        begin: bool,
        end: End,
        last: bool,
        chunk: Vec<u8>,
    },
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

/// What is said to a message.
#[derive(Debug, Clone, Copy)]
enum End {
    Yes,
    No,
    /// By LMTP, yes to each recipient whose bit is set; elsewhere it is no answer, and the message not kept.
    Some(u8),
}

impl End {
    fn is_yes(self, recipient: usize) -> bool {
        match self {
            Self::Yes => true,
            Self::No => false,
            Self::Some(bits) => bits >> (recipient % 8) & 1 == 1,
        }
    }
}

/// The reference.
#[derive(Debug)]
struct Model {
    role: Role,
    authenticated: bool,
    greeted: bool,
    tls: bool,
    mail: bool,
    recipients: usize,
    chunks: Option<Vec<u8>>,
}

/// Codes of replies, the questions asked, and whether the connection ends.
type Expected = (Vec<u16>, String, bool);

impl Model {
    fn new(role: Role, tls: bool) -> Self {
        Self { role, authenticated: false, greeted: false, tls, mail: false, recipients: 0, chunks: None }
    }

    /// One reply for the message, and by LMTP one for each recipient (RFC 2033 §4.2).
    fn times(&self) -> usize {
        if self.role == Role::Lmtp { self.recipients.max(1) } else { 1 }
    }

    /// The replies to a message that is there.
    fn kept(&self, end: End) -> Vec<u16> {
        match (self.role, end) {
            (Role::Reception | Role::Submission, End::Some(_)) => vec![451],
            _ => (0..self.times()).map(|n| if end.is_yes(n) { 250 } else { 451 }).collect(),
        }
    }

    /// RFC 6409 §4.3, RFC 4954 §4 and §6: before MAIL there is a login, and before that TLS.
    fn may_not_log_in(&self) -> Option<u16> {
        match self.role {
            Role::Reception | Role::Lmtp => Some(502),
            Role::Submission if self.authenticated || !self.greeted || self.mail => Some(503),
            Role::Submission if !self.tls => Some(530),
            Role::Submission => None,
        }
    }

    fn auth(&mut self, what: &Move) -> Expected {
        let refused = self.may_not_log_in();
        // What would go on with the exchange is no command.
        let two = |second: u16| (refused.map_or(vec![334, second], |code| vec![code, 500]), String::new(), false);
        match what {
            Move::Auth { ok, later } if refused.is_none() => {
                self.authenticated = *ok;
                let code = if *ok { 235 } else { 535 };
                (if *later { vec![334, code] } else { vec![code] }, "L".to_owned(), false)
            }
            Move::Auth { later: true, .. } | Move::AuthCancelled | Move::AuthNonsense => two(501),
            _ => (vec![refused.unwrap_or(504)], String::new(), false),
        }
    }

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
            Move::Auth { .. } | Move::AuthCancelled | Move::AuthNonsense | Move::AuthUnknown => self.auth(what),
            // RFC 2033 §4.1.
            Move::OtherGreeting => say(if self.role == Role::Lmtp { 500 } else { 502 }),
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
            Move::Mail(_) | Move::BadMail | Move::HugeMail if self.role == Role::Submission && !self.authenticated => {
                say(530)
            }
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
            Move::StartTls if self.role == Role::Lmtp => say(502),
            Move::StartTls if self.tls || self.mail => say(503),
            Move::StartTls => {
                (self.tls, self.greeted) = (true, false);
                say(220)
            }
            Move::Data { .. } if self.chunks.is_some() => (vec![503], self.end("A"), false),
            Move::Data { .. } if !self.mail => say(503),
            Move::Data { .. } if self.recipients == 0 => say(self.no_recipient()),
            Move::Data { begin: false, .. } => (vec![451], self.end("B"), false),
            Move::Data { end, body, .. } => {
                let (said, asked, closes) = match () {
                    () if bare(body.as_bytes()) => (vec![550; self.times()], "BA", true),
                    () if body.len() as u64 > MAX_SIZE => (vec![552; self.times()], "BA", true),
                    () => (self.kept(*end), "BE", false),
                };
                ([vec![354], said].concat(), self.end(asked), closes)
            }
            Move::BadBdat => (vec![501], self.end("A"), true),
            Move::HugeBdat | Move::Bdat { .. } if !self.mail => {
                (vec![503], String::new(), matches!(what, Move::HugeBdat))
            }
            Move::HugeBdat if self.recipients == 0 => (vec![self.no_recipient()], self.end("A"), true),
            Move::HugeBdat => (vec![552; self.times()], self.end("A"), true),
            Move::Bdat { .. } if self.recipients == 0 => (vec![self.no_recipient()], self.end("A"), false),
            Move::Bdat { begin, end, last, chunk } => {
                let before = self.chunks.clone().unwrap_or_default();
                let asked = if self.chunks.is_none() { "B" } else { "" };
                let whole = [&before[..], chunk].concat();
                // Only the chunk that ends a message is answered as its end.
                let times = if *last { self.times() } else { 1 };
                match () {
                    () if whole.len() as u64 > MAX_SIZE => (vec![552; times], self.end("A"), false),
                    () if self.chunks.is_none() && !begin => (vec![451; times], self.end("BA"), false),
                    () if !last => {
                        self.chunks = Some(whole);
                        (vec![250], asked.to_owned(), false)
                    }
                    () if bare(&whole) => (vec![550; times], self.end(&format!("{asked}A")), false),
                    () => (self.kept(*end), self.end(&format!("{asked}E")), false),
                }
            }
        }
    }

    /// RFC 5321 §3.3; RFC 2033 §4.2 wants 503.
    fn no_recipient(&self) -> u16 {
        if self.role == Role::Lmtp { 503 } else { 554 }
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

    /// The next step of somebody who wants to send a message: by chance alone few sessions come so far.
    fn step_onward(&mut self, model: &Model) -> Move {
        let later = self.below(2) == 0;
        match model.role {
            _ if !model.greeted => Move::Greet,
            Role::Submission if !model.tls => Move::StartTls,
            Role::Submission if !model.authenticated => Move::Auth { ok: self.often(), later },
            _ if !model.mail => Move::Mail(true),
            _ if model.recipients == 0 => Move::Rcpt(true),
            _ if model.chunks.is_none() && self.below(2) == 0 => Move::Rcpt(self.often()),
            _ => loop {
                let what = self.next_move();
                if matches!(what, Move::Data { .. } | Move::Bdat { .. }) {
                    return what;
                }
            },
        }
    }

    fn next_move(&mut self) -> Move {
        let (begin, last) = (self.often(), self.below(3) == 0);
        let end = match self.below(9) {
            0 | 1 => End::No,
            2..=4 => End::Some(self.below(256).to_le_bytes()[0]),
            _ => End::Yes,
        };
        match self.below(48) {
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
            39 => Move::OtherGreeting,
            40..=43 => Move::Auth { ok: self.often(), later: self.below(2) == 0 },
            44 => Move::AuthCancelled,
            45 => Move::AuthNonsense,
            46 => Move::AuthUnknown,
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
fn wire(what: &Move, role: Role) -> Vec<u8> {
    let local = role == Role::Lmtp;
    let line = match what {
        Move::Greet if local => "LHLO c",
        Move::Greet => "EHLO c",
        Move::BadGreeting if local => "LHLO",
        Move::BadGreeting => "HELO",
        Move::OtherGreeting if local => "EHLO c",
        Move::OtherGreeting => "LHLO c",
        Move::Auth { later: false, .. } => "AUTH PLAIN AGEAYg==",
        Move::Auth { later: true, .. } => "AUTH PLAIN\r\nAGEAYg==",
        Move::AuthCancelled => "AUTH PLAIN\r\n*",
        Move::AuthNonsense => "AUTH LOGIN\r\n(no base64)",
        Move::AuthUnknown => "AUTH X-NONE",
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
    role: Role,
    now: Instant,
    said: Vec<u8>,
    asked: String,
    answers: VecDeque<End>,
    body: Vec<u8>,
    bodies: Vec<Vec<u8>>,
    closed: bool,
    kept: u64,
}

fn tls() -> TlsActive {
    TlsActive::after_handshake("TLSv1.3", "TLS_AES_256_GCM_SHA384")
}

/// The answer to a message.
fn answer(end: End, role: Role, recipients: usize) -> Answer {
    let id = QueueId::parse("id-1").expect("valid");
    let one = |n| if end.is_yes(n) { Ok(id.clone()) } else { Err(Reply::local_trouble()) };
    match end {
        End::Yes => Answer::Kept(id),
        End::No => Answer::Refused(Reply::local_trouble()),
        // Outside of LMTP nobody says so; it must not be taken for a yes.
        End::Some(_) if role != Role::Lmtp => Answer::KeptForSome(vec![Ok(id); 2]),
        End::Some(_) => Answer::KeptForSome((0..recipients).map(one).collect()),
    }
}

impl Driven {
    fn new(role: Role, secured: bool, now: Instant) -> Self {
        let settings = Settings {
            role,
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
        let server = Server::new(settings, now, secured.then(tls));
        let (answers, bodies) = (VecDeque::new(), Vec::new());
        let (said, asked, body) = (Vec::new(), String::new(), Vec::new());
        Self { server, role, now, said, asked, answers, body, bodies, closed: false, kept: 0 }
    }

    fn run(&mut self) {
        loop {
            match self.server.poll() {
                Step::Send(bytes) => self.said.extend(bytes),
                Step::SendBody(never) => match never {},
                Step::Body(chunk) => self.body.extend(chunk),
                Step::Ask(question) => {
                    let mut recipients = 0;
                    let kind = match question {
                        Question::Mail { .. } => 'M',
                        Question::Rcpt(_) => 'R',
                        Question::Begin => 'B',
                        Question::End(complete) => {
                            recipients = complete.envelope.recipients.len();
                            'E'
                        }
                        Question::Reset => 'X',
                        Question::Abandon(..) => 'A',
                        Question::Login(_) => 'L',
                    };
                    self.asked.push(kind);
                    let end = self.answers.pop_front().unwrap_or(End::No);
                    let yes = end.is_yes(0);
                    let answer = match kind {
                        'X' | 'A' => Answer::Accepted,
                        'E' => answer(end, self.role, recipients),
                        'M' | 'R' if !yes => Answer::Refused(Reply::unknown_recipient()),
                        'L' if !yes => Answer::Refused(Reply::login_refused()),
                        _ if !yes => Answer::Refused(Reply::local_trouble()),
                        _ => Answer::Accepted,
                    };
                    self.kept += u64::from(matches!(answer, Answer::Kept(_) | Answer::KeptForSome(_)));
                    match kind {
                        'B' => self.body.clear(),
                        'E' => self.bodies.push(std::mem::take(&mut self.body)),
                        _ => {}
                    }
                    self.server.answer(self.now, answer);
                }
                Step::StartTls => {
                    self.server.secured(self.now, tls());
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
    answers: VecDeque<End>,
    bodies: Vec<Vec<u8>>,
    closes: bool,
}

impl Packet {
    /// The questions of one move and what is answered to them.
    fn expect(&mut self, what: &Move, asked: &str) {
        self.asked.push_str(asked);
        let say = |ok: bool| if ok { End::Yes } else { End::No };
        self.answers.extend(asked.chars().map(|kind| match (kind, what) {
            ('M', Move::Mail(ok)) | ('R', Move::Rcpt(ok)) | ('L', Move::Auth { ok, .. }) => say(*ok),
            ('B', Move::Data { begin, .. } | Move::Bdat { begin, .. }) => say(*begin),
            ('E', Move::Data { end, .. } | Move::Bdat { end, .. }) => *end,
            _ => End::Yes,
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

/// One session; how many messages the driver said yes to.
fn session(number: u64, role: Role, now: Instant) -> u64 {
    let name = format!("session {number} ({role:?})");
    let mut random = Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    // Half of the users come by port 465 (RFC 8314), and know what to do; the others try their luck.
    let user = role == Role::Submission && random.below(2) == 0;
    let mut begun: VecDeque<Move> = VecDeque::new();
    if user {
        begun.extend([Move::Greet, Move::Auth { ok: true, later: random.below(2) == 0 }]);
    }
    let (mut model, mut driven) = (Model::new(role, user), Driven::new(role, user, now));
    driven.run();
    driven.said.clear();
    let mut packet = Packet::default();
    let mut left = 1 + random.below(COMMANDS - 1);
    while left > 0 {
        let what = match begun.pop_front() {
            Some(what) => what,
            None if random.below(2) == 0 => random.step_onward(&model),
            None => random.next_move(),
        };
        let chunks = model.chunks.clone();
        let (codes, asked, closes) = model.step(&what);
        // An exchange that is refused is two commands that do no work.
        left = left.saturating_sub(if matches!(codes[..], [_, 500]) { 2 } else { 1 });
        packet.bytes.extend(wire(&what, role));
        packet.closes = closes;
        if let (Move::Bdat { chunk, .. }, true) = (&what, asked.contains('E')) {
            packet.bodies.push(kept(&[&chunks.unwrap_or_default()[..], chunk].concat()));
        }
        if let (Move::Data { body, .. }, Some((354, said))) = (&what, codes.split_first().map(|(c, rest)| (*c, rest))) {
            // RFC 2920 §3.1: DATA is the last of its group.
            packet.closes = false;
            packet.codes.push(354);
            packet.expect(&what, "B");
            driven.exchange(&mut packet, &mut random, &name);
            packet.bytes.extend([body.as_bytes(), b".\r\n"].concat());
            packet.codes.extend(said);
            packet.closes = closes;
            packet.expect(&what, &asked[1..]);
            if asked.contains('E') {
                packet.bodies.push(kept(body.as_bytes()));
            }
        } else {
            packet.codes.extend(codes);
            packet.expect(&what, &asked);
        }
        let alone = matches!(what, Move::Data { .. } | Move::StartTls);
        if closes || alone || random.below(3) == 0 {
            driven.exchange(&mut packet, &mut random, &name);
        }
        if closes {
            return driven.kept;
        }
    }
    driven.exchange(&mut packet, &mut random, &name);
    driven.kept
}

#[test]
fn the_machine_agrees_with_the_reference() {
    let wanted = std::env::var("FACTEUR_SMTP_SEQUENCES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let now = Instant::now();
    let mut kept = [0; 3];
    for number in 0..wanted {
        for (role, kept) in [Role::Reception, Role::Submission, Role::Lmtp].into_iter().zip(&mut kept) {
            if number % 3 == role as u64 {
                *kept += session(number, role, now);
            }
        }
    }
    println!("{wanted} sessions, no difference; messages taken: {kept:?}");
    assert!(wanted < 1000 || kept.iter().all(|kept| *kept > wanted / 300), "messages taken: {kept:?}");
}

/// A list has many who are gone, and its sender is a user, or a server of ours: no guesses, and the rest gets its mail.
#[test]
fn many_refused_recipients_end_the_sessions_of_strangers_alone() {
    let now = Instant::now();
    for (role, begin, stays) in [
        (Role::Reception, "EHLO c\r\n", false),
        (Role::Submission, "EHLO c\r\nAUTH PLAIN AGEAYg==\r\n", true),
        (Role::Lmtp, "LHLO c\r\n", true),
    ] {
        let mut driven = Driven::new(role, role == Role::Submission, now);
        let logins = if role == Role::Submission { 1 } else { 0 };
        driven.answers = std::iter::repeat_n(End::Yes, logins + 1).chain(std::iter::repeat_n(End::No, 21)).collect();
        // The last of them is there.
        driven.answers.extend([End::Yes; 3]);
        let mail = format!("{begin}MAIL FROM:<s@x.example>\r\n{}", "RCPT TO:<a@x.example>\r\n".repeat(22));
        driven.server.receive(now, mail.as_bytes());
        driven.run();
        let said = String::from_utf8(std::mem::take(&mut driven.said)).expect("ASCII");
        let refused = said.lines().filter(|line| line.starts_with("550 ")).count();
        assert_eq!((driven.closed, refused), (!stays, if stays { 21 } else { 20 }), "{role:?}: {said}");
        assert_eq!(said.contains("\r\n421 "), !stays, "{role:?}: {said}");
        if stays {
            driven.server.receive(now, b"DATA\r\n");
            driven.run();
            driven.server.receive(now, b"x\r\n.\r\n");
            driven.run();
            assert_eq!(driven.kept, 1, "{role:?}");
        }
    }
}
