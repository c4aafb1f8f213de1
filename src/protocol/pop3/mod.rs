//! POP3 as a machine.
//!
//! | RFC | what of it |
//! | --- | --- |
//! | 1939 | all but APOP; a session works on what the inbox held at login and locks nobody out |
//! | 2449 | CAPA, PIPELINING, RESP-CODES |
//! | 2595 | STLS; octets behind the command end the session |
//! | 3206 | AUTH and SYS response codes |
//! | 5034 | AUTH with PLAIN and LOGIN, initial response included |
//!
//! ```text
//!                 USER, PASS, AUTH                      QUIT
//!   Authorization -----------------> Transaction(inbox) ----> deletions made durable, then +OK
//!     ^   | ^                           | connection lost, timeout: nothing is deleted
//!     |   v | AUTH's lines
//!     |  Login
//!     +--- STLS, after the handshake
//! ```
//!
//! Knows neither accounts nor files: the driver answers [`Question`]s and sends what a [`Handle`] names, its lines ended
//! by CRLF and dot-stuffed, the last line (`.`) included.

mod command;
mod inbox;
pub mod top;

use std::time::Duration;
use std::time::Instant;

use crate::mail::ids::Uid;
use crate::mail::limits::LOGIN_WAIT;
use crate::mail::limits::POP3_BAD_COMMANDS;
use crate::mail::limits::POP3_IDLE;
use crate::mail::limits::POP3_LINE_OCTETS;
use crate::protocol::line::Cut;
use crate::protocol::line::Lines;
use crate::protocol::sasl::Credentials;
use crate::protocol::sasl::Exchange;
use crate::protocol::sasl::Failure;
use crate::protocol::sasl::Mechanism;
use crate::protocol::sasl::Progress;
use crate::protocol::session::Session;
use crate::protocol::session::Step;
use crate::protocol::session::TlsActive;
use command::Verb;
pub use inbox::Inbox;
pub use inbox::Item;
use inbox::Listing;

/// Octets of a long list that are made at once.
const PIECE: usize = 16_384;

/// What a session needs to know of its listener and its peer.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whether a certificate is there.
    pub can_start_tls: bool,
    /// Whether a login may happen without TLS: for loopback only.
    pub plaintext_login: bool,
}

/// What the machine asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Are these right, and what is in the inbox?
    Login(Credentials),
    /// Is this message still there? It is sent next.
    Open(Handle),
    /// The client has quit (RFC 1939 §6, the UPDATE state).
    Update(Update),
}

/// What is left to do at QUIT.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// To be deleted, durably.
    pub deleted: Vec<Uid>,
    /// Sent whole and not deleted: `\Seen` for IMAP, as with Dovecot.
    pub read: Vec<Uid>,
}

/// What the driver answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Login`]: the inbox as it is now.
    Opened(Inbox),
    /// Yes, to the others.
    Done,
    /// No.
    Refused(Refusal),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown user or wrong password: nobody is told which.
    Credentials,
    /// Too many failed logins from there.
    TooManyFailures,
    /// Too many logins, or connections of this user, at once.
    Busy,
    /// The message is gone: another session deleted it.
    Gone,
    /// Something is wrong here; the operator's log says what.
    Trouble,
}

/// A message to be sent, or the front of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// Which.
    pub uid: Uid,
    /// For TOP: the header and so many lines of the body.
    pub top: Option<u64>,
}

#[derive(Debug)]
enum State {
    /// With the name of USER, if it came.
    Authorization(Option<String>),
    /// Lines belong to an exchange of AUTH.
    Login(Exchange),
    Transaction(Inbox),
}

#[derive(Debug)]
enum Asked {
    Login,
    Open(Handle, u64),
    Update,
    /// The handshake: no question, but as little may happen meanwhile.
    Handshake,
}

/// The machine.
#[derive(Debug)]
pub struct Pop3 {
    settings: Settings,
    lines: Lines,
    state: State,
    tls: bool,
    asked: Option<Asked>,
    listing: Option<Listing>,
    output: Vec<u8>,
    next: Option<Step<Question, Handle>>,
    closing: bool,
    stopping: bool,
    bad: u32,
    now: Instant,
    opened: Instant,
    idle_since: Instant,
}

impl Pop3 {
    /// A session that begins; `tls` where the connection began with a handshake (port 995).
    #[must_use]
    pub fn new(settings: Settings, now: Instant, tls: Option<&TlsActive>) -> Self {
        Self {
            settings,
            lines: Lines::default(),
            state: State::Authorization(None),
            tls: tls.is_some(),
            asked: None,
            listing: None,
            // It names neither product nor version, and no timestamp: APOP is not offered.
            output: b"+OK POP3 ready\r\n".to_vec(),
            next: None,
            closing: false,
            stopping: false,
            bad: 0,
            now,
            opened: now,
            idle_since: now,
        }
    }

    fn ok(&mut self, text: &str) {
        self.output.extend_from_slice(format!("+OK {text}\r\n").as_bytes());
    }

    fn err(&mut self, text: &str) {
        self.output.extend_from_slice(format!("-ERR {text}\r\n").as_bytes());
    }

    /// A command that makes no sense; too many of them end the session.
    fn bad(&mut self, text: &str) {
        self.bad += 1;
        if self.bad > POP3_BAD_COMMANDS {
            self.err("too many bad commands");
            self.closing = true;
        } else {
            self.err(text);
        }
    }

    fn ask(&mut self, question: Question, asked: Asked) {
        self.asked = Some(asked);
        self.next = Some(Step::Ask(question));
    }

    fn may_log_in(&self) -> bool {
        self.tls || self.settings.plaintext_login
    }

    fn may_start_tls(&self) -> bool {
        !self.tls && self.settings.can_start_tls
    }

    /// Does the next piece of work; whether there was one.
    fn proceed(&mut self) -> bool {
        if self.asked.is_some() || self.next.is_some() || self.closing {
            return false;
        }
        if let (Some(listing), State::Transaction(inbox)) = (&mut self.listing, &self.state) {
            if !inbox.list(listing, PIECE, &mut self.output) {
                self.listing = None;
            }
            return true;
        }
        if self.stopping {
            self.err("[SYS/TEMP] shutting down");
            self.closing = true;
            return false;
        }
        match self.lines.cut(POP3_LINE_OCTETS, 4 * POP3_LINE_OCTETS) {
            Cut::More => return false,
            Cut::Line(line) | Cut::EndedByLf(line) => self.line(&line),
            Cut::TooLong => {
                if matches!(self.state, State::Login(_)) {
                    self.state = State::Authorization(None);
                }
                self.bad("line too long");
            }
            Cut::Endless => {
                self.err("line too long");
                self.closing = true;
            }
        }
        self.idle_since = self.now;
        true
    }

    fn line(&mut self, line: &[u8]) {
        if let State::Login(exchange) = &mut self.state {
            let progress = exchange.receive(line);
            return self.login_progress(progress);
        }
        let (verb, argument) = command::cut(line);
        match (verb, &self.state) {
            (Verb::Capa, _) => self.capa(),
            (Verb::Quit, State::Transaction(inbox)) => {
                let update = inbox.update();
                if update == Update::default() {
                    return self.goodbye();
                }
                self.ask(Question::Update(update), Asked::Update);
            }
            (Verb::Quit, _) => self.goodbye(),
            // A browser was made to speak to us (ALPACA): it gets no answer.
            (Verb::Http, _) => self.closing = true,
            (Verb::User | Verb::Pass | Verb::Auth | Verb::Stls, State::Authorization(_)) => {
                self.authorize(verb, argument)
            }
            (Verb::Unknown, _) => self.bad("unknown command"),
            (Verb::User | Verb::Pass | Verb::Auth | Verb::Stls, _) => self.bad("not in this state"),
            (_, State::Transaction(_)) => self.transact(verb, argument),
            (_, _) => self.bad("not in this state"),
        }
    }

    fn goodbye(&mut self) {
        self.ok("bye");
        self.closing = true;
    }

    /// RFC 2449 §5. Announces what works now.
    fn capa(&mut self) {
        let logged_in = matches!(self.state, State::Transaction(_));
        let mut text = String::from("+OK\r\nTOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n");
        if self.may_log_in() {
            text.push_str("USER\r\n");
            text.push_str(&format!("SASL {}\r\n", Mechanism::ALL.map(Mechanism::name).join(" ")));
        }
        if !logged_in && self.may_start_tls() {
            text.push_str("STLS\r\n");
        }
        if logged_in {
            text.push_str("IMPLEMENTATION Facteur\r\n");
        }
        text.push_str(".\r\n");
        self.output.extend_from_slice(text.as_bytes());
    }

    /// The commands before login.
    fn authorize(&mut self, verb: Verb, argument: &[u8]) {
        match verb {
            Verb::Stls => self.stls(argument),
            // RFC 2595 §2.3: no password travels in clear.
            _ if !self.may_log_in() => self.bad("[AUTH] send STLS first"),
            Verb::User => match std::str::from_utf8(argument.trim_ascii()) {
                Ok(name) if !name.is_empty() => {
                    self.state = State::Authorization(Some(name.to_owned()));
                    self.ok("send PASS");
                }
                _ => self.bad("name expected"),
            },
            Verb::Pass => self.pass(argument),
            _ => self.auth(argument),
        }
    }

    fn stls(&mut self, argument: &[u8]) {
        if !argument.is_empty() || !self.may_start_tls() {
            return self.bad("TLS is active or not possible");
        }
        // Whoever sends more before the handshake wants it executed after (CVE-2011-0411).
        if !self.lines.rest().is_empty() {
            self.err("nothing may follow STLS");
            self.closing = true;
            return;
        }
        self.ok("begin TLS");
        self.asked = Some(Asked::Handshake);
        self.next = Some(Step::StartTls);
    }

    /// RFC 1939 §7: all of the line is the password, spaces included.
    fn pass(&mut self, password: &[u8]) {
        let State::Authorization(name) = &mut self.state else { return };
        let Some(name) = name.take() else { return self.bad("send USER first") };
        let credentials =
            std::str::from_utf8(password).map_err(|_| Failure::Malformed).and_then(|p| Credentials::new(&name, p));
        match credentials {
            Ok(credentials) => self.ask(Question::Login(credentials), Asked::Login),
            Err(_) => self.bad("[AUTH] authentication failed"),
        }
    }

    fn auth(&mut self, argument: &[u8]) {
        let argument = String::from_utf8_lossy(argument);
        let mut words = argument.split(' ').filter(|word| !word.is_empty());
        let Some(name) = words.next() else {
            // Not in RFC 5034, but old clients ask for the list in this way.
            let names = Mechanism::ALL.map(Mechanism::name).join("\r\n");
            return self.output.extend_from_slice(format!("+OK\r\n{names}\r\n.\r\n").as_bytes());
        };
        let (initial, None) = (words.next(), words.next()) else { return self.bad("too many arguments") };
        let Some(mechanism) = Mechanism::parse(name) else { return self.bad("mechanism not supported") };
        let (exchange, progress) = Exchange::start(mechanism, initial);
        self.state = State::Login(exchange);
        self.login_progress(progress);
    }

    fn login_progress(&mut self, progress: Progress) {
        match progress {
            // RFC 5034 §4: `+`, a space, the challenge.
            Progress::Challenge(challenge) => {
                return self.output.extend_from_slice(format!("+ {challenge}\r\n").as_bytes());
            }
            Progress::Credentials(credentials) => self.ask(Question::Login(credentials), Asked::Login),
            Progress::Failed(failure) if failure.is_syntax() => self.bad(&failure.to_string()),
            Progress::Failed(_) => self.bad("[AUTH] authentication failed"),
        }
        self.state = State::Authorization(None);
    }

    /// The commands after login.
    fn transact(&mut self, verb: Verb, argument: &[u8]) {
        let Some(numbers) = command::numbers(argument) else { return self.bad("bad number") };
        let State::Transaction(inbox) = &mut self.state else { return };
        match (verb, numbers.as_slice()) {
            (Verb::Noop, []) => self.ok(""),
            (Verb::Stat, []) => {
                let (count, octets) = inbox.stat();
                self.ok(&format!("{count} {octets}"));
            }
            (Verb::Rset, []) => {
                inbox.undelete();
                self.ok("");
            }
            (Verb::List, []) => {
                let (count, octets) = inbox.stat();
                self.ok(&format!("{count} messages ({octets} octets)"));
                self.listing = Some(Listing::sizes());
            }
            (Verb::Uidl, []) => {
                self.ok("");
                self.listing = Some(Listing::uids());
            }
            (Verb::List, [n]) => match inbox.get(*n).map(|item| item.size) {
                Some(size) => self.ok(&format!("{n} {size}")),
                None => self.bad("no such message"),
            },
            (Verb::Uidl, [n]) => match inbox.get(*n).map(|item| inbox.unique_id(item)) {
                Some(id) => self.ok(&format!("{n} {id}")),
                None => self.bad("no such message"),
            },
            (Verb::Dele, [n]) => {
                if inbox.delete(*n) {
                    self.ok("deleted");
                } else {
                    self.bad("no such message");
                }
            }
            (Verb::Retr, [n]) => self.open(*n, None),
            (Verb::Top, [n, lines]) => self.open(*n, Some(*lines)),
            _ => self.bad("bad arguments"),
        }
    }

    fn open(&mut self, n: u64, top: Option<u64>) {
        let State::Transaction(inbox) = &self.state else { return };
        match inbox.get(n) {
            Some(item) => {
                let handle = Handle { uid: item.uid, top };
                let size = item.size;
                self.ask(Question::Open(handle), Asked::Open(handle, size));
            }
            None => self.bad("no such message"),
        }
    }

    fn refused(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Credentials => self.bad("[AUTH] authentication failed"),
            Refusal::TooManyFailures => {
                self.err("[SYS/TEMP] too many failed logins, try again later");
                self.closing = true;
            }
            Refusal::Busy => self.err("[SYS/TEMP] busy, try again later"),
            Refusal::Gone => self.err("message is gone"),
            Refusal::Trouble => self.err("[SYS/TEMP] local error, try again later"),
        }
    }

    fn deadline(&self) -> Instant {
        let idle = |patience: Duration| self.idle_since + patience;
        if matches!(self.state, State::Transaction(_)) { idle(POP3_IDLE) } else { self.opened + LOGIN_WAIT }
    }
}

impl Session for Pop3 {
    type Question = Question;
    type Answer = Answer;
    type Handle = Handle;

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        if !self.closing {
            self.lines.push(bytes);
        }
    }

    fn answer(&mut self, now: Instant, answer: Answer) {
        self.now = now;
        self.idle_since = now;
        match (self.asked.take(), answer) {
            (Some(Asked::Login), Answer::Opened(inbox)) => {
                self.ok("logged in");
                self.state = State::Transaction(inbox);
            }
            (Some(Asked::Open(handle, size)), Answer::Done) => {
                if handle.top.is_some() {
                    self.ok("");
                } else {
                    self.ok(&format!("{size} octets"));
                    if let State::Transaction(inbox) = &mut self.state {
                        inbox.mark_read(handle.uid);
                    }
                }
                self.next = Some(Step::SendBody(handle));
            }
            (Some(Asked::Update), Answer::Done) => self.goodbye(),
            // RFC 1939 §6: the client learns that not all is gone.
            (Some(Asked::Update), _) => {
                self.err("[SYS/TEMP] some deleted messages not removed");
                self.closing = true;
            }
            (Some(Asked::Handshake), _) => self.asked = Some(Asked::Handshake),
            (Some(_), Answer::Refused(refusal)) => self.refused(refusal),
            (Some(_), _) => self.refused(Refusal::Trouble),
            (None, _) => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
        if now >= self.deadline() && self.asked.is_none() && !self.closing {
            // RFC 1939 §3: without QUIT nothing is deleted.
            self.err("timeout");
            self.closing = true;
        }
    }

    /// RFC 2595 §4: what was said before the handshake is forgotten.
    fn secured(&mut self, now: Instant, _: TlsActive) {
        self.now = now;
        self.asked = None;
        self.lines = Lines::default();
        self.state = State::Authorization(None);
        self.tls = true;
    }

    fn shutdown(&mut self, now: Instant) {
        self.now = now;
        self.stopping = true;
    }

    fn poll(&mut self) -> Step<Question, Handle> {
        while self.output.len() < PIECE && self.proceed() {}
        if !self.output.is_empty() {
            return Step::Send(std::mem::take(&mut self.output));
        }
        match self.next.take() {
            Some(step) => step,
            None if self.closing => Step::Close,
            None => Step::Wait(self.deadline()),
        }
    }
}

#[cfg(test)]
mod tests;
