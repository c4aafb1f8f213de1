//! The server side of SMTP (RFC 5321) and submission (RFC 6409) as one machine with two roles.
//!
//! Bytes, answers and the time go in; replies, questions and body chunks come out. Knows nothing of accounts, relaying
//! rights or disks: the driver answers for those, with a reply made ready by [`Reply`]'s constructors where it says no.
//! One file per group of verbs; the order of verbs is the table in `state.rs`.

mod chunks;
mod content;
#[cfg(fuzzing)]
#[path = "../../../../tests/fuzz/inside/smtp_session.rs"]
pub mod fuzz;
mod greeting;
mod information;
mod login;
mod state;
#[cfg(test)]
mod tests;
mod transaction;

use std::time::Duration;
use std::time::Instant;

use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::envelope::Envelope;
use crate::mail::envelope::RecipientReport;
use crate::mail::ids::QueueId;
use crate::mail::limits::DATA_GRACE;
use crate::mail::limits::DATA_OCTETS_PER_SECOND;
use crate::mail::limits::RECIPIENTS_RECEPTION;
use crate::mail::limits::RECIPIENTS_SUBMISSION;
use crate::mail::limits::SMTP_AUTH_OCTETS;
use crate::mail::limits::SMTP_COMMAND_OCTETS;
use crate::mail::limits::SMTP_DISCARD_OCTETS;
use crate::mail::limits::SMTP_FIRST_MAIL;
use crate::mail::limits::SMTP_JUNK_COMMANDS;
use crate::mail::limits::SMTP_LONG_LINES;
use crate::protocol::line::Cut;
use crate::protocol::line::Lines;
use crate::protocol::sasl::Credentials;
use crate::protocol::session::Session;
use crate::protocol::session::Step;
use crate::protocol::session::TlsActive;
use crate::protocol::smtp::command;
use crate::protocol::smtp::command::Bdat;
use crate::protocol::smtp::command::Mail;
use crate::protocol::smtp::command::Verb;
use crate::protocol::smtp::data::BareNewline;
use crate::protocol::smtp::reply::Reply;
use state::Chunk;
use state::Column;
use state::Standing;
use state::State;
use state::Tls;

/// Whom a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Port 25: other servers bring mail for us. No AUTH.
    Reception,
    /// Ports 587 and 465: our users send, after a login.
    Submission,
    /// LMTP (RFC 2033): another mail server on our side hands over what is for our mailboxes.
    Lmtp,
}

impl Role {
    /// Recipients that one message may have.
    #[must_use]
    pub fn recipients(self) -> usize {
        match self {
            Self::Reception => RECIPIENTS_RECEPTION,
            Self::Submission | Self::Lmtp => RECIPIENTS_SUBMISSION,
        }
    }
}

/// What a session needs to know of its listener and its peer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom the listener serves.
    pub role: Role,
    /// Whether the client is one of those whom we trust: a network of ours.
    pub trusted: bool,
    /// What the greeting says after our name.
    pub banner: String,
    /// Our name, in the greeting and behind a `postmaster` without domain.
    pub hostname: Domain,
    /// The largest message, in octets on the wire.
    pub max_size: u64,
    /// Whether a certificate is there.
    pub can_start_tls: bool,
    /// Whether a login may happen without TLS: for loopback only.
    pub plaintext_login: bool,
    /// Whether EHLO has the line `AUTH=` too.
    pub legacy_auth_line: bool,
    /// What to do with a CR or LF that stands alone.
    pub bare_newline: BareNewline,
    /// How long a client may take for a command (RFC 5321 §4.5.3.2.7: at least 5 minutes).
    pub command_wait: Duration,
}

/// What the machine asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// MAIL: may this sender send so much? A new transaction begins; whatever the driver keeps of an older one is void.
    Mail {
        /// The arguments.
        mail: Mail,
        /// Whether a login of this session holds. Where it does not, the driver forgets whom it knew.
        authenticated: bool,
        /// What the client called itself.
        greeting: String,
    },
    /// RCPT: may this recipient have it?
    Rcpt(Address),
    /// AUTH: are these right?
    Login(Credentials),
    /// DATA, or the first BDAT: pieces of the body follow, if the answer is yes.
    Begin,
    /// The message is complete: take responsibility for it.
    End(Box<Complete>),
    /// RSET or a greeting ended the transaction: forget what belongs to it. There is nothing to refuse.
    Reset,
    /// The message is refused for its form: forget the body. The reply is for the log; the client gets it in any case.
    Abandon(Box<Envelope>, Reply),
}

/// A message that has come to its end, and what its trace needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// Sender and recipients, in the order they were accepted.
    pub envelope: Envelope,
    /// What the client called itself.
    pub greeting: Greeting,
    /// Whether a login holds.
    pub authenticated: bool,
    /// TLS, where it is active.
    pub tls: Option<TlsActive>,
}

/// What the client said in HELO or EHLO.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Greeting {
    /// The name it gave itself: printable ASCII, otherwise anything.
    pub name: String,
    /// Whether it was EHLO.
    pub extended: bool,
}

/// What the driver answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes, to everything but [`Question::End`].
    Accepted,
    /// Yes to [`Question::End`]: the message is durable, under this id.
    Kept(QueueId),
    /// By LMTP, to [`Question::End`]: yes or no for each recipient, in their order (RFC 2033 §4.2).
    KeptForSome(Vec<Result<QueueId, Reply>>),
    /// No. A reply with 421 ends the session.
    Refused(Reply),
}

/// What the open question was about.
#[derive(Debug)]
enum Asked {
    Mail(Mail),
    Rcpt(Address, RecipientReport),
    Login,
    Begin(Envelope),
    BeginChunks(Envelope, Bdat),
    /// How often the answer is said.
    End(usize),
    /// The reply that follows.
    Reset(Reply),
    Abandon {
        reply: Reply,
        close: bool,
        times: usize,
    },
    /// The handshake: no question, but as little may happen meanwhile.
    Handshake,
}

/// The machine.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    lines: Lines,
    state: State,
    greeting: Option<Greeting>,
    tls: Option<TlsActive>,
    authenticated: bool,
    asked: Option<Asked>,
    /// Replies that were not handed out.
    output: Vec<u8>,
    /// A piece of the body, which follows them.
    chunk: Vec<u8>,
    /// What follows that.
    next: Option<Step<Question, NoBody>>,
    closing: bool,
    /// The server is about to stop.
    stopping: bool,
    now: Instant,
    opened: Instant,
    /// Since when we wait for the command that comes next.
    idle_since: Instant,
    mail_accepted: bool,
    junk: u32,
    long_lines: u32,
    overshoot: usize,
    /// In this transaction.
    refused_recipients: usize,
}

/// The server sends no bodies.
#[derive(Debug, PartialEq, Eq)]
pub enum NoBody {}

impl Server {
    /// A session that begins; with `tls` where the connection began with a handshake (RFC 8314).
    #[must_use]
    pub fn new(settings: Settings, now: Instant, tls: Option<TlsActive>) -> Self {
        let mut server = Self {
            lines: Lines::default(),
            state: State::Start,
            greeting: None,
            tls,
            authenticated: false,
            asked: None,
            output: Vec::new(),
            chunk: Vec::new(),
            next: None,
            closing: false,
            stopping: false,
            now,
            opened: now,
            idle_since: now,
            mail_accepted: false,
            junk: 0,
            long_lines: 0,
            overshoot: 0,
            refused_recipients: 0,
            settings,
        };
        let text = if server.settings.role == Role::Lmtp { "LMTP" } else { &server.settings.banner };
        let banner = Reply::banner(server.settings.hostname.as_str(), text);
        server.say(&banner);
        server
    }

    /// The peer spoke before the greeting, which RFC 5321 §3.1 has it wait for, and only programs that send junk do not:
    /// it is told so instead.
    pub fn refuse_early_talker(&mut self) {
        self.output.clear();
        self.say_and_close(&Reply::too_early());
    }

    fn standing(&self) -> Standing {
        let tls = match &self.tls {
            Some(_) => Tls::Active,
            None if self.settings.can_start_tls => Tls::Possible,
            None => Tls::Impossible,
        };
        Standing {
            role: self.settings.role,
            tls,
            plaintext_login: self.settings.plaintext_login,
            authenticated: self.authenticated,
        }
    }

    /// Sends a reply, and closes where the reply says so.
    fn say(&mut self, reply: &Reply) {
        reply.write_to(&mut self.output);
        self.closing |= reply.ends_the_connection();
    }

    /// Sends a refusal, which counts as junk.
    fn refuse(&mut self, reply: &Reply) {
        if self.is_junk() {
            self.say(&Reply::too_much_junk());
        } else {
            self.say(reply);
        }
    }

    /// Sends a reply after which nothing more is read.
    fn say_and_close(&mut self, reply: &Reply) {
        self.say(reply);
        self.closing = true;
    }

    /// Counts a command that did no work; whether it is one too many.
    fn is_junk(&mut self) -> bool {
        self.junk += 1;
        self.junk > SMTP_JUNK_COMMANDS
    }

    fn ask(&mut self, question: Question, asked: Asked) {
        self.asked = Some(asked);
        self.next = Some(Step::Ask(question));
    }

    /// The one place that ends a transaction, whatever ended it.
    fn reset_transaction(&mut self) {
        self.overshoot = 0;
        self.state = if self.greeting.is_some() { State::Ready } else { State::Start };
    }

    /// Ends the transaction, and says this when the driver has given up what belongs to it.
    fn reset_and_say(&mut self, reply: Reply) {
        let open = matches!(self.state, State::Transaction(_) | State::Chunked(_));
        self.reset_transaction();
        if open {
            self.ask(Question::Reset, Asked::Reset(reply));
        } else {
            self.say(&reply);
        }
    }

    /// Does the next piece of work; whether there was one.
    fn proceed(&mut self) -> bool {
        if self.asked.is_some() || self.closing || !self.chunk.is_empty() {
            return false;
        }
        match self.state {
            State::Data(_) => return self.proceed_with_data(),
            State::Chunk(_) => return self.proceed_with_chunk(),
            State::Dropping(_) => return self.proceed_with_dropping(),
            _ => {}
        }
        if self.stopping {
            self.say_and_close(&Reply::shutting_down());
            return false;
        }
        let login = matches!(self.state, State::Login(_)) || command::begins_with_auth(self.lines.rest());
        let most = if login { SMTP_AUTH_OCTETS } else { SMTP_COMMAND_OCTETS };
        match self.lines.cut(most, SMTP_DISCARD_OCTETS) {
            Cut::More => return false,
            Cut::Line(line) => self.line(&line),
            Cut::EndedByLf(line) if command::cut(&line).0 == Verb::Http => self.closing = true,
            Cut::EndedByLf(_) => self.bad_line(&Reply::line_not_ended_by_crlf()),
            Cut::TooLong => {
                self.long_lines += 1;
                self.bad_line(&Reply::line_too_long());
                self.closing |= self.long_lines >= SMTP_LONG_LINES;
            }
            Cut::Endless => self.say_and_close(&Reply::line_too_long()),
        }
        self.idle_since = self.now;
        true
    }

    /// A line that is no command. An exchange of AUTH ends by it.
    fn bad_line(&mut self, reply: &Reply) {
        if matches!(self.state, State::Login(_)) {
            self.state = State::Ready;
        }
        self.refuse(reply);
    }

    fn line(&mut self, line: &[u8]) {
        let Some(column) = self.state.column() else { return self.continue_login(line) };
        let (verb, arguments) = command::cut(line);
        if verb == Verb::Bdat {
            return self.bdat(arguments, column);
        }
        match state::check(verb, column, self.standing()).and_then(|()| self.command(verb, arguments)) {
            Ok(()) => {}
            // A browser was made to speak to us: it gets nothing that it could take for an answer (ALPACA).
            Err(_) if verb == Verb::Http => self.closing = true,
            // RFC 3030 §2: what is left of a message that mixes DATA with BDAT is nobody's guess.
            Err(reply) if verb == Verb::Data && column == Column::Chunked => {
                let close = !self.lines.rest().is_empty();
                self.end_transaction(reply, close);
            }
            Err(reply) => {
                self.refuse(&reply);
                // So would a body that was sent without waiting for 354.
                self.closing |= verb == Verb::Data && !self.lines.rest().is_empty();
            }
        }
    }

    /// Carries out what the table allows.
    fn command(&mut self, verb: Verb, arguments: &[u8]) -> Result<(), Reply> {
        match verb {
            Verb::Helo => self.helo(arguments),
            Verb::Ehlo | Verb::Lhlo => self.ehlo(arguments),
            Verb::Mail => self.mail(arguments),
            Verb::Rcpt => self.rcpt(arguments),
            Verb::Data => self.data(arguments),
            Verb::Rset => self.rset(arguments),
            Verb::Noop => self.noop(),
            Verb::Quit => self.quit(arguments),
            Verb::Vrfy => self.vrfy(),
            Verb::Help => self.help(),
            Verb::StartTls => self.start_tls(arguments),
            Verb::Auth => self.auth(arguments),
            // BDAT goes its own way, for what follows it.
            Verb::Bdat | Verb::NotImplemented => Err(Reply::not_implemented()),
            Verb::Http | Verb::Unknown => Err(Reply::unknown_command()),
        }
    }

    /// When the peer has to have said something, and what it is told if it has not.
    fn deadline(&self) -> (Instant, Reply) {
        let mut deadline = (self.idle_since + self.settings.command_wait, Reply::timeout());
        let content = match &self.state {
            State::Data(data) | State::Chunk(Chunk { data, .. }) => {
                Some((data.since, data.heard, data.incoming.octets() - data.before))
            }
            State::Dropping(dropping) => Some((dropping.since, dropping.heard, dropping.dropped)),
            _ => None,
        };
        if let Some((since, heard, octets)) = content {
            deadline.0 = heard + self.settings.command_wait;
            let paid = Duration::from_secs(octets / DATA_OCTETS_PER_SECOND);
            let rate = since + DATA_GRACE.max(paid);
            if rate < deadline.0 {
                deadline = (rate, Reply::too_slow());
            }
        } else if self.settings.role == Role::Reception && !self.mail_accepted {
            let first = self.opened + SMTP_FIRST_MAIL;
            if first < deadline.0 {
                deadline = (first, Reply::no_message());
            }
        }
        deadline
    }
}

impl Session for Server {
    type Question = Question;
    type Answer = Answer;
    type Handle = NoBody;

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        if !self.closing {
            self.lines.push(bytes);
        }
        match &mut self.state {
            State::Data(data) | State::Chunk(Chunk { data, .. }) => data.heard = now,
            State::Dropping(dropping) => dropping.heard = now,
            _ => {}
        }
    }

    fn answer(&mut self, now: Instant, answer: Answer) {
        self.now = now;
        self.idle_since = now;
        match self.asked.take() {
            Some(Asked::Mail(mail)) => self.mail_answered(mail, answer),
            Some(Asked::Rcpt(address, report)) => self.rcpt_answered(address, report, answer),
            Some(Asked::Login) => self.login_answered(answer),
            Some(Asked::Begin(envelope)) => self.begin_answered(envelope, answer),
            Some(Asked::BeginChunks(envelope, command)) => self.chunks_begin_answered(envelope, command, answer),
            Some(Asked::End(times)) => self.end_answered(answer, times),
            Some(Asked::Reset(reply)) => self.say(&reply),
            Some(Asked::Abandon { reply, close, times }) => {
                self.refuse_times(&reply, times);
                self.closing |= close;
            }
            Some(Asked::Handshake) => self.asked = Some(Asked::Handshake),
            None => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
        let (deadline, reply) = self.deadline();
        if now >= deadline && self.asked.is_none() && !self.closing {
            self.say_and_close(&reply);
        }
    }

    fn secured(&mut self, now: Instant, tls: TlsActive) {
        self.now = now;
        self.idle_since = now;
        // RFC 3207 §4.2: what was said before the handshake is forgotten, all of it.
        self.asked = None;
        self.lines = Lines::default();
        self.greeting = None;
        self.authenticated = false;
        self.reset_transaction();
        self.tls = Some(tls);
    }

    /// A message that is coming in is taken first.
    fn shutdown(&mut self, now: Instant) {
        self.now = now;
        self.stopping = true;
    }

    fn poll(&mut self) -> Step<Question, NoBody> {
        // Replies to a pipelined group are gathered (RFC 2920 §3.2), within bounds.
        while self.output.len() < SMTP_COMMAND_OCTETS && self.proceed() {}
        if !self.output.is_empty() {
            return Step::Send(std::mem::take(&mut self.output));
        }
        if !self.chunk.is_empty() {
            return Step::Body(std::mem::take(&mut self.chunk));
        }
        if let Some(step) = self.next.take() {
            return step;
        }
        if self.closing { Step::Close } else { Step::Wait(self.deadline().0) }
    }
}
