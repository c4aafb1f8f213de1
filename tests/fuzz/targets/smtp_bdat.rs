//! Messages in chunks, mixed with DATA, RSET and what else may come between, against a slow reading of RFC 3030 §2.
//!
//! The input: an octet for bare newlines, one for the pieces, then what is said, each with an octet and what it needs.

#![no_main]

use std::time::Duration;
use std::time::Instant;

use facteur::mail::address::Domain;
use facteur::mail::ids::QueueId;
use facteur::protocol::session::Session;
use facteur::protocol::session::Step;
use facteur::protocol::smtp::data::BareNewline;
use facteur::protocol::smtp::server::Answer;
use facteur::protocol::smtp::server::Question;
use facteur::protocol::smtp::server::Role;
use facteur::protocol::smtp::server::Server;
use facteur::protocol::smtp::server::Settings;
use libfuzzer_sys::fuzz_target;

/// The largest message; twice as much is not waited for.
const MOST: usize = 300;

/// More commands than this, two of them in one, may be too much junk.
const COMMANDS: usize = 10;

/// What a client says.
enum Said<'a> {
    Open,
    Chunk(&'a [u8], bool),
    Data(&'a [u8]),
    Rset,
    Noop,
    Wrong(&'static str),
}

fn script(mut input: &[u8]) -> Vec<Said<'_>> {
    let mut said = Vec::new();
    while let Some((kind, rest)) = input.split_first()
        && said.len() < COMMANDS
    {
        input = rest;
        let mut take = || {
            let octets = input.first().map_or(0, |n| usize::from(*n));
            let rest = input.get(1..).unwrap_or_default();
            let (taken, rest) = rest.split_at(octets.min(rest.len()));
            input = rest;
            taken
        };
        said.push(match kind % 10 {
            0..=1 => Said::Open,
            2..=4 => Said::Chunk(take(), false),
            5..=6 => Said::Chunk(take(), true),
            7 => Said::Data(take()),
            8 if *kind >= 128 => Said::Noop,
            8 => Said::Rset,
            _ => Said::Wrong(["BDAT\r\n", "BDAT x\r\n", "BDAT 1 LAST x\r\n", "BDAT -1\r\n"][usize::from(*kind >> 6)]),
        });
    }
    said
}

/// What has to come of it.
#[derive(Default)]
struct Slow {
    refuses_bare: bool,
    recipients: usize,
    open: bool,
    chunks: Option<Vec<u8>>,
    codes: Vec<u16>,
    messages: Vec<(usize, Vec<u8>)>,
    closed: bool,
}

impl Slow {
    fn end(&mut self) {
        (self.open, self.recipients, self.chunks) = (false, 0, None);
    }

    fn say(&mut self, said: &Said<'_>) {
        match said {
            Said::Open if self.chunks.is_some() => self.codes.extend([503, 503]),
            Said::Open => {
                self.codes.extend([if self.open { 503 } else { 250 }, 250]);
                self.open = true;
                self.recipients += 1;
            }
            Said::Rset => {
                self.end();
                self.codes.push(250);
            }
            Said::Noop => self.codes.push(250),
            Said::Wrong(_) => {
                self.codes.push(501);
                self.closed = true;
            }
            Said::Chunk(..) if !self.open => self.codes.push(503),
            Said::Chunk(octets, last) => {
                let mut all = self.chunks.take().unwrap_or_default();
                all.extend_from_slice(octets);
                if all.len() > MOST {
                    self.end();
                    self.codes.push(552);
                } else if *last {
                    self.message(&all, false);
                } else {
                    self.chunks = Some(all);
                    self.codes.push(250);
                }
            }
            Said::Data(_) if self.chunks.is_some() => {
                self.end();
                self.codes.push(503);
            }
            Said::Data(_) if !self.open => self.codes.push(503),
            Said::Data(octets) if stuffed(octets).len() > MOST => {
                self.codes.extend([354, 552]);
                self.closed = true;
            }
            Said::Data(octets) => {
                self.codes.push(354);
                let mut all = octets.to_vec();
                if !all.is_empty() && !all.ends_with(b"\r\n") {
                    all.extend_from_slice(b"\r\n");
                }
                self.message(&all, true);
            }
        }
    }

    /// The end of a message, told by a count or by a dot. `octets` are without what stuffing adds.
    fn message(&mut self, octets: &[u8], dot: bool) {
        let mut text = Vec::new();
        let mut alone = false;
        let mut at = 0;
        while at < octets.len() {
            let crlf = octets[at..].starts_with(b"\r\n");
            let is_end = matches!(octets[at], b'\r' | b'\n');
            alone |= is_end && !crlf;
            text.push(if is_end { b'\n' } else { octets[at] });
            at += if crlf { 2 } else { 1 };
        }
        if !text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        if alone && self.refuses_bare {
            self.codes.push(550);
            self.closed = dot;
        } else {
            self.codes.push(250);
            self.messages.push((self.recipients, text));
        }
        self.end();
    }
}

/// As a client sends it: lines that begin with a dot get another.
fn stuffed(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, octet) in octets.iter().enumerate() {
        if *octet == b'.' && (at == 0 || octets[..at].ends_with(b"\r\n")) {
            out.push(b'.');
        }
        out.push(*octet);
    }
    if !octets.is_empty() && !octets.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

struct World {
    server: Server,
    now: Instant,
    sent: Vec<u8>,
    body: Vec<u8>,
    messages: Vec<(usize, Vec<u8>)>,
    closed: bool,
}

impl World {
    fn hears(&mut self, octets: &[u8], step: usize) {
        for piece in octets.chunks(step) {
            if !self.closed {
                self.server.receive(self.now, piece);
                self.poll();
            }
        }
    }

    fn poll(&mut self) {
        loop {
            match self.server.poll() {
                Step::Send(bytes) => self.sent.extend(bytes),
                Step::SendBody(never) => match never {},
                Step::Body(chunk) => self.body.extend(chunk),
                Step::Ask(question) => {
                    let mut answer = Answer::Accepted;
                    match question {
                        Question::Begin => self.body.clear(),
                        Question::End(complete) => {
                            self.messages.push((complete.envelope.recipients.len(), std::mem::take(&mut self.body)));
                            answer = Answer::Kept(QueueId::parse("0-1").expect("an id"));
                        }
                        _ => {}
                    }
                    self.server.answer(self.now, answer);
                }
                Step::StartTls => unreachable!("nobody asked for it"),
                Step::Wait(_) => return,
                Step::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
    }
}

fn world(bare_newline: BareNewline) -> World {
    let settings = Settings {
        role: Role::Reception,
        hostname: Domain::parse("mx.here.example").expect("a domain"),
        max_size: MOST as u64,
        can_start_tls: false,
        plaintext_login: false,
        legacy_auth_line: false,
        bare_newline,
        command_wait: Duration::from_secs(300),
    };
    let now = Instant::now();
    let server = Server::new(settings, now, None);
    World { server, now, sent: Vec::new(), body: Vec::new(), messages: Vec::new(), closed: false }
}

fn codes(sent: &[u8]) -> Vec<u16> {
    let text = std::str::from_utf8(sent).expect("ASCII");
    text.lines().filter(|l| l.as_bytes()[3] == b' ').map(|l| l[..3].parse().expect("a code")).collect()
}

fuzz_target!(|octets: &[u8]| {
    let [flags, step, input @ ..] = octets else { return };
    let bare = if flags & 1 == 0 { BareNewline::Reject } else { BareNewline::Normalise };
    for step in [1, usize::from(*step).max(1), usize::MAX] {
        let mut slow = Slow { refuses_bare: flags & 1 == 0, codes: vec![220, 250], ..Slow::default() };
        let mut world = world(bare);
        world.hears(b"HELO c\r\n", usize::MAX);
        for said in script(input) {
            match &said {
                Said::Open => world.hears(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n", step),
                Said::Chunk(octets, last) => {
                    let line = format!("BDAT {}{}\r\n", octets.len(), if *last { " LAST" } else { "" });
                    world.hears(&[line.as_bytes(), octets].concat(), step);
                }
                Said::Data(octets) => {
                    // A client waits here: octets behind a DATA that is refused close the connection.
                    let goes_on = slow.open && slow.chunks.is_none();
                    world.hears(b"DATA\r\n", step);
                    if goes_on {
                        world.hears(&stuffed(octets), step);
                    }
                }
                Said::Rset => world.hears(b"RSET\r\n", step),
                Said::Noop => world.hears(b"NOOP\r\n", step),
                Said::Wrong(line) => world.hears(line.as_bytes(), step),
            }
            slow.say(&said);
            assert_eq!(codes(&world.sent), slow.codes, "in pieces of {step}");
            assert_eq!(world.closed, slow.closed, "in pieces of {step}");
            if slow.closed {
                break;
            }
        }
        assert_eq!(world.messages, slow.messages, "in pieces of {step}");
    }
});
