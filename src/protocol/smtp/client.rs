//! The client side of SMTP: messages over one connection to one server (RFC 5321 §3).
//!
//! A [`Client`] is a machine like the others. Its driver connects, makes one with the first [`Job`], and then:
//!
//! - feeds what it reads to `receive`, and polls;
//! - at `Send` writes; at `SendBody(handle)` flushes, then writes what the handle names through
//!   [`Outgoing`](crate::protocol::smtp::data::Outgoing), its `finish` included, each piece within
//!   [`REMOTE_BLOCK`](crate::mail::limits::REMOTE_BLOCK), and calls [`Client::body_sent`]; where the message cannot be
//!   read to its end it must not send the end of data but call `disconnected`;
//! - where a write fails, reads what the server may have said before it hung up, and only then calls `disconnected`;
//! - at `StartTls` does the handshake **as the client** and calls `secured`; where it fails, `disconnected`, and may
//!   connect again with [`TlsWish::Never`] if policy allows;
//! - at `Wait` reads until the deadline, then calls `tick`; at the end of the stream or an error, `disconnected`;
//! - at `Ask(outcome)`, which comes once per job, files the outcome and answers with the next job, if
//!   [`Outcome::reusable`] says so, or with [`Answer::Quit`];
//! - at `Close` closes.
//!
//! Knows neither queues nor names of hosts. When in doubt a failure is temporary: the mail is kept.
//!
//! ```text
//! Banner -> Ehlo -> [StartTls -> Handshake -> Ehlo] -> Envelope -> Data -> Body sent: Final -> Asked
//!             \-> Helo ----------------------------------^  ^                                   |
//!                                                           +------------ [Rset] <- next job ---+-> Quit
//! ```

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::envelope::BodyKind;
use crate::mail::envelope::Demands;
use crate::mail::envelope::Notify;
use crate::mail::envelope::Returned;
use crate::mail::limits::REMOTE_COMMAND;
use crate::mail::limits::REMOTE_DATA;
use crate::mail::limits::REMOTE_ENVELOPE;
use crate::mail::limits::REMOTE_FINAL;
use crate::mail::limits::REMOTE_PIPELINE;
use crate::mail::limits::REMOTE_QUIT;
use crate::mail::status::Permanence;
use crate::mail::status::StatusCode;
use crate::protocol::session::Session;
use crate::protocol::session::Step;
use crate::protocol::session::TlsActive;
use crate::protocol::smtp::peer_reply::PeerReply;
use crate::protocol::smtp::peer_reply::Replies;
use crate::protocol::smtp::xtext;

/// Whether TLS is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsWish {
    /// Not even where it is offered.
    Never,
    /// Where it is offered.
    WhenOffered,
    /// Without it nothing is sent.
    Required,
}

/// One message for this server.
#[derive(Debug, Clone)]
pub struct Job<H> {
    /// `MAIL FROM`.
    pub sender: ReversePath,
    /// To whom; not empty.
    pub recipients: Vec<Address>,
    /// `BODY`, said where the server knows it. Where it does not, the message is sent all the same: whoever has 8-bit
    /// mail and no 8BITMIME takes it in practice, and a bounce would help nobody.
    pub body: BodyKind,
    /// What the sender demands of the server and of those behind it.
    pub demands: Demands,
    /// Whether the header of the message has UTF-8 in it: it cannot go to a server without SMTPUTF8 (RFC 6531 §3.3).
    pub international_header: bool,
    /// Octets on the wire.
    pub size: u64,
    /// What names the message.
    pub content: H,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// One fate for each recipient, in the order of the job.
    pub fates: Vec<Fate>,
    /// Why the session ended early, where it did: another server may do better.
    pub session: Option<Failure>,
    /// Whether the connection can take another job.
    pub reusable: bool,
    /// Whether the server reports what becomes of those it took (RFC 3461 §5.2.1).
    pub reports: bool,
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The server has taken responsibility; its words.
    Delivered(PeerReply),
    /// It has not.
    Failed(Failure),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whether to try again.
    pub permanence: Permanence,
    /// The enhanced code: the server's, or ours where it gave none.
    pub status: StatusCode,
    /// For logs and notices: printable ASCII.
    pub text: String,
    /// Whether these are words of the server.
    pub remote: bool,
}

impl Failure {
    fn local(permanence: Permanence, subject: u16, detail: u16, text: &str) -> Self {
        let status = match permanence {
            Permanence::Temporary => StatusCode::temporary(subject, detail),
            Permanence::Permanent => StatusCode::permanent(subject, detail),
        };
        Self { permanence, status, text: text.to_owned(), remote: false }
    }

    fn of_reply(reply: &PeerReply, permanence: Permanence) -> Self {
        let class_fits = |s: &StatusCode| (s.class() == 5) == (permanence == Permanence::Permanent);
        let status = reply.status().filter(class_fits).unwrap_or(match permanence {
            Permanence::Temporary => StatusCode::temporary(0, 0),
            Permanence::Permanent => StatusCode::permanent(0, 0),
        });
        Self { permanence, status, text: reply.to_string(), remote: true }
    }
}

/// The driver's answer to an outcome.
#[derive(Debug)]
pub enum Answer<H> {
    /// Send this too.
    Next(Job<H>),
    /// That was all.
    Quit,
}

/// What the server offered in EHLO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Offers {
    pipelining: bool,
    start_tls: bool,
    eight_bit: bool,
    size: bool,
    international: bool,
    dsn: bool,
    require_tls: bool,
    /// The largest message, where it said one.
    max_size: Option<u64>,
}

/// Whose reply comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Banner,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    Envelope,
    Data,
    Final,
    /// An outcome was handed out.
    Asked,
    Rset,
    Quit,
    Over,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Banner => "greeting",
            Self::Ehlo | Self::Helo => "EHLO",
            Self::StartTls | Self::Handshake => "STARTTLS",
            Self::Envelope => "MAIL and RCPT",
            Self::Data => "DATA",
            Self::Final => "end of data",
            Self::Asked | Self::Rset => "RSET",
            Self::Quit | Self::Over => "QUIT",
        }
    }

    fn patience(self) -> Duration {
        match self {
            Self::Data => REMOTE_DATA,
            Self::Final => REMOTE_FINAL,
            Self::Quit | Self::Over => REMOTE_QUIT,
            Self::Banner
            | Self::Ehlo
            | Self::Helo
            | Self::StartTls
            | Self::Handshake
            | Self::Envelope
            | Self::Asked
            | Self::Rset => REMOTE_COMMAND,
        }
    }
}

/// A reply that is due within [`Phase::Envelope`].
#[derive(Debug, Clone, Copy)]
enum Due {
    Mail,
    Rcpt(usize),
}

/// A job under way.
#[derive(Debug)]
struct Work<H> {
    job: Job<H>,
    fates: Vec<Option<Fate>>,
    due: VecDeque<Due>,
    /// The recipient that is named next.
    next: usize,
    mail_refused: Option<Failure>,
    since: Instant,
}

/// The machine. `H` names a body for the driver.
#[derive(Debug)]
pub struct Client<H> {
    hostname: String,
    wish: TlsWish,
    tls: Option<TlsActive>,
    offers: Offers,
    phase: Phase,
    deadline: Instant,
    replies: Replies,
    work: Option<Work<H>>,
    output: Vec<u8>,
    next: Option<Step<Outcome, H>>,
    now: Instant,
    /// A transaction was begun and not ended by its data.
    dirty: bool,
    /// The connection is of no more use.
    broken: bool,
}

impl<H: Clone> Client<H> {
    /// A session on a connection that was just made. `hostname` is what we call ourselves.
    #[must_use]
    pub fn new(hostname: &str, wish: TlsWish, job: Job<H>, now: Instant) -> Self {
        Self {
            hostname: hostname.to_owned(),
            wish,
            tls: None,
            offers: Offers::default(),
            phase: Phase::Banner,
            deadline: now + Phase::Banner.patience(),
            replies: Replies::default(),
            work: Some(Work::new(job, now)),
            output: Vec::new(),
            next: None,
            now,
            dirty: false,
            broken: false,
        }
    }

    /// TLS, where it is active: for the log.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsActive> {
        self.tls.as_ref()
    }

    /// The body that [`Step::SendBody`] named is written whole: the wait for the last answer begins.
    pub fn body_sent(&mut self, now: Instant) {
        self.now = now;
        self.deadline = now + self.phase.patience();
    }

    /// The connection, or the handshake, is lost. `why` is for the log.
    pub fn disconnected(&mut self, now: Instant, why: &str) {
        self.now = now;
        match self.phase {
            Phase::Quit | Phase::Over => self.phase = Phase::Over,
            Phase::Asked => self.broken = true,
            _ => {
                let text = format!("connection lost at {}: {}", self.phase.name(), ascii(why));
                self.fail_session(Failure::local(Permanence::Temporary, 4, 2, &text));
            }
        }
    }

    /// Sends a command, whose reply is due in `phase`.
    fn enter(&mut self, phase: Phase, command: &str) {
        // A reply that is there before its command belongs to none: from here on nobody knows which is which.
        if !command.is_empty() && phase != Phase::Quit && !self.replies.is_empty() {
            let text = format!("a reply that nothing asked for, before {}", phase.name());
            return self.fail_session(Failure::local(Permanence::Temporary, 5, 0, &text));
        }
        self.output.extend_from_slice(command.as_bytes());
        if !command.is_empty() {
            self.output.extend_from_slice(b"\r\n");
        }
        self.phase = phase;
        self.deadline = self.now + phase.patience();
    }

    /// Hands out the fates of the job; those that have none get `rest`.
    fn finish_job(&mut self, rest: Failure, session: Option<Failure>) {
        let Some(work) = self.work.take() else { return };
        let fates = work.fates.into_iter().map(|fate| fate.unwrap_or_else(|| Fate::Failed(rest.clone()))).collect();
        let reusable = session.is_none() && !self.broken;
        let reports = self.offers.dsn;
        self.next = Some(Step::Ask(Outcome { fates, session, reusable, reports }));
        self.phase = Phase::Asked;
    }

    /// The session is over before its job was. What has no fate yet is tried again.
    fn fail_session(&mut self, failure: Failure) {
        self.broken = true;
        self.output.clear();
        if self.work.is_some() {
            self.finish_job(failure.clone(), Some(failure));
        } else {
            self.phase = Phase::Over;
        }
    }

    /// A reply that ends the session before a job could begin: another server, or another time.
    fn refused_session(&mut self, reply: &PeerReply) {
        let mut failure = Failure::of_reply(reply, Permanence::Temporary);
        failure.text = format!("at {}: {}", self.phase.name(), failure.text);
        self.fail_session(failure);
    }

    fn reply(&mut self, reply: &PeerReply) {
        // RFC 5321 §3.8: 421 may come at any time and ends the session.
        if reply.code() == 421 && !matches!(self.phase, Phase::Quit | Phase::Over) {
            return self.refused_session(reply);
        }
        match self.phase {
            Phase::Banner if reply.is_positive() => self.enter(Phase::Ehlo, &format!("EHLO {}", self.hostname)),
            Phase::Ehlo if reply.is_positive() => {
                self.offers = Offers::read(reply);
                self.greeted();
            }
            // RFC 5321 §3.2: whoever does not know EHLO knows HELO.
            Phase::Ehlo if reply.code() / 100 == 5 => {
                self.offers = Offers::default();
                self.enter(Phase::Helo, &format!("HELO {}", self.hostname));
            }
            Phase::Helo if reply.is_positive() => self.greeted(),
            Phase::StartTls => self.start_tls_answered(reply),
            Phase::Envelope => self.envelope_answered(reply),
            Phase::Data => self.data_answered(reply),
            Phase::Final => self.final_answered(reply),
            Phase::Rset if reply.is_positive() => {
                self.dirty = false;
                self.start_envelope();
            }
            Phase::Banner | Phase::Ehlo | Phase::Helo | Phase::Rset => self.refused_session(reply),
            Phase::Quit | Phase::Over => self.phase = Phase::Over,
            // A reply nobody asked for: RFC 5321 has none but 421.
            Phase::Handshake | Phase::Asked => self.broken = true,
        }
    }

    fn greeted(&mut self) {
        match (self.wish, self.tls.is_some(), self.offers.start_tls) {
            (TlsWish::WhenOffered | TlsWish::Required, false, true) => self.enter(Phase::StartTls, "STARTTLS"),
            (TlsWish::Required, false, false) if self.must_keep_to_tls() => {
                // RFC 8689 §4.2.1.
                let text = "the message requires TLS, which the server does not offer";
                self.fail_session(Failure::local(Permanence::Permanent, 7, 10, text));
            }
            (TlsWish::Required, false, false) => {
                self.fail_session(Failure::local(Permanence::Temporary, 7, 4, "TLS is required and not offered"));
            }
            _ if self.must_keep_to_tls() && !self.offers.require_tls => {
                let text = "the message requires TLS on its whole way, which the server does not promise (REQUIRETLS)";
                self.fail_session(Failure::local(Permanence::Permanent, 7, 30, text));
            }
            _ => self.start_envelope(),
        }
    }

    /// REQUIRETLS, but for notices: those are not lost for it (RFC 8689 §5).
    fn must_keep_to_tls(&self) -> bool {
        let job = self.work.as_ref().map(|work| &work.job);
        job.is_some_and(|job| job.demands.require_tls && job.sender.address().is_some())
    }

    fn start_tls_answered(&mut self, reply: &PeerReply) {
        if reply.code() == 220 {
            // RFC 3207 §4.2 and "NO STARTTLS" (2021): what comes before the handshake was not the server's.
            if !self.replies.is_empty() {
                let text = "octets behind the answer to STARTTLS";
                return self.fail_session(Failure::local(Permanence::Temporary, 7, 0, text));
            }
            self.enter(Phase::Handshake, "");
            self.next = Some(Step::StartTls);
        } else if self.wish == TlsWish::Required {
            self.refused_session(reply);
        } else {
            self.start_envelope();
        }
    }

    fn start_envelope(&mut self) {
        let Some(work) = &mut self.work else { return };
        if self.offers.max_size.is_some_and(|most| work.job.size > most) {
            let text = format!("message of {} octets is larger than the server takes", work.job.size);
            return self.finish_job(Failure::local(Permanence::Permanent, 3, 4, &text), None);
        }
        let job = &work.job;
        let utf8_sender = job.sender.address().is_some_and(Address::is_international);
        let utf8_recipients = job.recipients.iter().any(Address::is_international);
        if !self.offers.international && (utf8_sender || (job.demands.international && job.international_header)) {
            return self.finish_job(needs_smtputf8(), None);
        }
        if !self.offers.international && utf8_recipients {
            for (recipient, fate) in work.job.recipients.iter().zip(&mut work.fates) {
                if recipient.is_international() {
                    *fate = Some(Fate::Failed(needs_smtputf8()));
                }
            }
            if work.fates.iter().all(Option::is_some) {
                return self.finish_job(needs_smtputf8(), None);
            }
        }
        let mut mail = format!("MAIL FROM:<{}>", work.job.sender);
        if self.offers.size {
            mail.push_str(&format!(" SIZE={}", work.job.size));
        }
        if self.offers.eight_bit && work.job.body == BodyKind::EightBitMime {
            mail.push_str(" BODY=8BITMIME");
        }
        mail.push_str(&self.offers.parameters(&work.job, utf8_sender || utf8_recipients));
        work.since = self.now;
        work.due.push_back(Due::Mail);
        self.enter(Phase::Envelope, &mail);
        self.name_recipients();
    }

    /// Sends as many RCPT as may be under way.
    fn name_recipients(&mut self) {
        let Some(work) = &mut self.work else { return };
        let window = if self.offers.pipelining { REMOTE_PIPELINE } else { 1 };
        while work.due.len() < window && work.mail_refused.is_none() {
            let Some(recipient) = work.job.recipients.get(work.next) else { return };
            // Beyond SMTPUTF8's reach.
            if work.fates[work.next].is_some() {
                work.next += 1;
                continue;
            }
            let parameters = self.offers.recipient_parameters(&work.job, recipient);
            self.output.extend_from_slice(format!("RCPT TO:<{recipient}>{parameters}\r\n").as_bytes());
            work.due.push_back(Due::Rcpt(work.next));
            work.next += 1;
        }
    }

    fn envelope_answered(&mut self, reply: &PeerReply) {
        let Some(work) = &mut self.work else { return };
        match work.due.pop_front() {
            Some(Due::Mail) if reply.is_positive() => self.dirty = true,
            Some(Due::Mail) => work.mail_refused = Some(Failure::of_reply(reply, reply.permanence())),
            Some(Due::Rcpt(n)) if !reply.is_positive() => {
                work.fates[n] = Some(Fate::Failed(Failure::of_reply(reply, recipient_permanence(reply))));
            }
            Some(Due::Rcpt(_)) | None => {}
        }
        self.deadline = (self.now + Phase::Envelope.patience()).min(work.since + REMOTE_ENVELOPE);
        self.name_recipients();
        let Some(work) = &mut self.work else { return };
        if !work.due.is_empty() {
            return;
        }
        if let Some(failure) = work.mail_refused.take() {
            // What the server said to RCPT without MAIL says nothing about the recipients.
            for (recipient, fate) in work.job.recipients.iter().zip(&mut work.fates) {
                if self.offers.international || !recipient.is_international() {
                    *fate = None;
                }
            }
            self.finish_job(failure, None);
        } else if work.fates.iter().all(Option::is_some) {
            self.finish_job(nothing_left(), None);
        } else {
            self.enter(Phase::Data, "DATA");
        }
    }

    fn data_answered(&mut self, reply: &PeerReply) {
        let Some(work) = &self.work else { return };
        match reply.code() {
            354 => {
                self.next = Some(Step::SendBody(work.job.content.clone()));
                self.enter(Phase::Final, "");
            }
            // 2yz to DATA: nobody knows what the server waits for now.
            200..=399 => self.refused_session(reply),
            _ => self.finish_job(Failure::of_reply(reply, reply.permanence()), None),
        }
    }

    fn final_answered(&mut self, reply: &PeerReply) {
        let Some(work) = &mut self.work else { return };
        if reply.is_positive() {
            self.dirty = false;
            for fate in work.fates.iter_mut().filter(|fate| fate.is_none()) {
                *fate = Some(Fate::Delivered(reply.clone()));
            }
        }
        self.finish_job(Failure::of_reply(reply, reply.permanence()), None);
    }
}

impl<H: Clone> Session for Client<H> {
    type Question = Outcome;
    type Answer = Answer<H>;
    type Handle = H;

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        self.now = now;
        if self.phase != Phase::Over {
            self.replies.push(bytes);
        }
    }

    fn answer(&mut self, now: Instant, answer: Answer<H>) {
        self.now = now;
        match answer {
            _ if self.phase != Phase::Asked => {}
            Answer::Next(job) => {
                self.work = Some(Work::new(job, now));
                if self.broken {
                    let text = "the connection is lost";
                    self.fail_session(Failure::local(Permanence::Temporary, 4, 2, text));
                } else if self.dirty {
                    self.enter(Phase::Rset, "RSET");
                } else {
                    self.start_envelope();
                }
            }
            Answer::Quit if self.broken => self.phase = Phase::Over,
            Answer::Quit => self.enter(Phase::Quit, "QUIT"),
        }
    }

    fn tick(&mut self, now: Instant) {
        self.now = now;
        if now < self.deadline {
            return;
        }
        match self.phase {
            Phase::Quit | Phase::Over => self.phase = Phase::Over,
            Phase::Asked => {}
            _ => {
                let text = format!("no answer in time at {}", self.phase.name());
                self.fail_session(Failure::local(Permanence::Temporary, 4, 2, &text));
            }
        }
    }

    /// RFC 3207 §4.2: what the server said before is forgotten.
    fn secured(&mut self, now: Instant, tls: TlsActive) {
        self.now = now;
        self.tls = Some(tls);
        self.replies = Replies::default();
        self.offers = Offers::default();
        self.enter(Phase::Ehlo, &format!("EHLO {}", self.hostname));
    }

    /// A transaction is ended by its driver, which knows how long it may wait.
    fn shutdown(&mut self, now: Instant) {
        self.now = now;
    }

    fn poll(&mut self) -> Step<Outcome, H> {
        while self.next.is_none() && !matches!(self.phase, Phase::Over | Phase::Asked | Phase::Handshake) {
            match self.replies.next() {
                Ok(Some(reply)) => self.reply(&reply),
                Ok(None) => break,
                Err(junk) => {
                    let text = format!("{} at {}", junk.0, self.phase.name());
                    self.fail_session(Failure::local(Permanence::Temporary, 5, 0, &text));
                }
            }
        }
        if !self.output.is_empty() {
            return Step::Send(std::mem::take(&mut self.output));
        }
        match self.next.take() {
            Some(step) => step,
            None if self.phase == Phase::Over => Step::Close,
            None => Step::Wait(self.deadline),
        }
    }
}

impl<H> Work<H> {
    fn new(job: Job<H>, now: Instant) -> Self {
        Self {
            fates: vec![None; job.recipients.len()],
            due: VecDeque::new(),
            next: 0,
            mail_refused: None,
            since: now,
            job,
        }
    }
}

impl Offers {
    /// RFC 5321 §4.1.1.1: the first line is a greeting, each other one a keyword with parameters.
    fn read(reply: &PeerReply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines().iter().skip(1) {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "PIPELINING" => offers.pipelining = true,
                "STARTTLS" => offers.start_tls = true,
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.international = true,
                "DSN" => offers.dsn = true,
                "REQUIRETLS" => offers.require_tls = true,
                "SIZE" => {
                    offers.size = true;
                    // RFC 1870 §4: 0 or nothing is no limit.
                    offers.max_size = words.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
                }
                _ => {}
            }
        }
        offers
    }
}

impl Offers {
    /// What MAIL says of the sender's demands, as far as the server knows them.
    fn parameters<H>(self, job: &Job<H>, utf8_addresses: bool) -> String {
        let mut text = String::new();
        let demands = &job.demands;
        if self.international && (demands.international || utf8_addresses) {
            text.push_str(" SMTPUTF8");
        }
        if self.require_tls && demands.require_tls {
            text.push_str(" REQUIRETLS");
        }
        if self.dsn {
            // RFC 8689 §5: of mail that requires TLS only the header comes back.
            match demands.report.returned {
                Some(_) if demands.require_tls => text.push_str(" RET=HDRS"),
                Some(Returned::Headers) => text.push_str(" RET=HDRS"),
                Some(Returned::Full) => text.push_str(" RET=FULL"),
                None => {}
            }
            if let Some(id) = &demands.report.envelope_id {
                text.push_str(&format!(" ENVID={}", xtext::encode(id)));
            }
        }
        text
    }

    /// What RCPT says of what is to be told (RFC 3461 §5.2.1).
    fn recipient_parameters<H>(self, job: &Job<H>, recipient: &Address) -> String {
        let mut text = String::new();
        if !self.dsn {
            return text;
        }
        let said = job.demands.report.of(recipient);
        match said.notify {
            Notify::Unsaid => {}
            Notify::Never => text.push_str(" NOTIFY=NEVER"),
            Notify::On { success, failure, delay } => {
                let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
                let words: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
                text.push_str(&format!(" NOTIFY={}", words.join(",")));
            }
        }
        if let Some(original) = said.original.filter(|o| self.international || o.address.is_ascii()) {
            text.push_str(&format!(" ORCPT={};{}", original.kind, xtext::encode(&original.address)));
        }
        text
    }
}

/// RFC 6531 §3.3, RFC 3463 and the registry of its codes: X.6.7.
fn needs_smtputf8() -> Failure {
    Failure::local(Permanence::Permanent, 6, 7, "the message needs SMTPUTF8, which the server does not offer")
}

/// RFC 5321 §4.5.3.1.10: some servers say 552 where they mean 452, too many recipients.
fn recipient_permanence(reply: &PeerReply) -> Permanence {
    let full = reply.status().is_none_or(|status| status == StatusCode::permanent(5, 3));
    if reply.code() == 552 && full { Permanence::Temporary } else { reply.permanence() }
}

/// For recipients without a fate where all have one.
fn nothing_left() -> Failure {
    Failure::local(Permanence::Temporary, 0, 0, "not tried")
}

fn ascii(text: &str) -> String {
    text.chars().take(200).map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::envelope::OriginalRecipient;
    use crate::mail::envelope::RecipientReport;

    struct World {
        client: Client<&'static str>,
        now: Instant,
        said: String,
        outcome: Option<Outcome>,
        tls_wanted: bool,
        closed: bool,
    }

    fn job(recipients: &[&str]) -> Job<&'static str> {
        Job {
            sender: ReversePath::Address(Address::parse("s@here.example").expect("valid")),
            recipients: recipients.iter().map(|r| Address::parse(r).expect("valid")).collect(),
            body: BodyKind::EightBitMime,
            demands: Demands::default(),
            international_header: false,
            size: 100,
            content: "body",
        }
    }

    impl World {
        fn new(wish: TlsWish, recipients: &[&str]) -> Self {
            Self::with(wish, job(recipients))
        }

        fn with(wish: TlsWish, job: Job<&'static str>) -> Self {
            let now = Instant::now();
            let client = Client::new("me.example", wish, job, now);
            let mut world = Self { client, now, said: String::new(), outcome: None, tls_wanted: false, closed: false };
            world.run();
            world
        }

        fn run(&mut self) {
            loop {
                match self.client.poll() {
                    Step::Send(bytes) => self.said.push_str(std::str::from_utf8(&bytes).expect("ASCII")),
                    Step::SendBody(name) => {
                        self.said.push_str(&format!("({name})"));
                        self.client.body_sent(self.now);
                    }
                    Step::Body(_) => panic!("a client gets no bodies"),
                    Step::Ask(outcome) => self.outcome = Some(outcome),
                    Step::StartTls => self.tls_wanted = true,
                    Step::Wait(_) => return,
                    Step::Close => {
                        self.closed = true;
                        return;
                    }
                }
            }
        }

        /// What the client says to these replies.
        fn hear(&mut self, replies: &str) -> String {
            self.client.receive(self.now, replies.as_bytes());
            self.run();
            std::mem::take(&mut self.said)
        }

        fn answer(&mut self, answer: Answer<&'static str>) -> String {
            self.client.answer(self.now, answer);
            self.run();
            std::mem::take(&mut self.said)
        }

        /// The fates in short: `+` or the enhanced code.
        fn fates(&self) -> String {
            let outcome = self.outcome.as_ref().expect("an outcome");
            let short = |fate: &Fate| match fate {
                Fate::Delivered(_) => "+".to_owned(),
                Fate::Failed(failure) => failure.status.to_string(),
            };
            outcome.fates.iter().map(short).collect::<Vec<_>>().join(" ")
        }
    }

    #[test]
    fn demands_go_on_where_they_are_understood() {
        let mut wanted = job(&["a@x.example", "b@x.example"]);
        wanted.demands.international = true;
        wanted.demands.report.returned = Some(Returned::Full);
        wanted.demands.report.envelope_id = Some("a+b".to_owned());
        let original = Some(OriginalRecipient { kind: "rfc822".to_owned(), address: "c=d".to_owned() });
        let notify = Notify::On { success: true, failure: false, delay: true };
        wanted.demands.report.set(&wanted.recipients[1].clone(), RecipientReport { notify, original });
        for (offers, said, reports) in [
            (
                "PIPELINING\r\n250-SMTPUTF8\r\n250 DSN\r\n",
                "MAIL FROM:<s@here.example> SMTPUTF8 RET=FULL ENVID=a+2Bb\r\nRCPT TO:<a@x.example>\r\n\
                 RCPT TO:<b@x.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c+3Dd\r\n",
                true,
            ),
            (
                "PIPELINING\r\n250 X\r\n",
                "MAIL FROM:<s@here.example>\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n",
                false,
            ),
        ] {
            let mut world = World::with(TlsWish::Never, wanted.clone());
            world.hear("220 mx\r\n");
            assert_eq!(world.hear(&format!("250-mx\r\n250-{offers}")), said);
            world.hear("250 ok\r\n250 ok\r\n250 ok\r\n");
            world.hear("354 go\r\n");
            world.hear("250 ok\r\n");
            assert_eq!((world.fates().as_str(), world.outcome.expect("one").reports), ("+ +", reports));
        }
    }

    #[test]
    fn a_header_in_utf8_needs_smtputf8_if_the_sender_said_so() {
        let mut wanted = job(&["a@x.example"]);
        wanted.international_header = true;
        for (said, fate) in [(true, "5.6.7"), (false, "")] {
            wanted.demands.international = said;
            let mut world = World::with(TlsWish::Never, wanted.clone());
            world.hear("220 mx\r\n");
            world.hear("250 mx\r\n");
            assert_eq!(world.outcome.as_ref().map_or(String::new(), |_| world.fates()), fate);
        }
    }

    #[test]
    fn mail_that_requires_tls_does_not_go_in_clear_nor_to_who_does_not_promise_it() {
        let mut wanted = job(&["a@x.example"]);
        wanted.demands.require_tls = true;
        let mut world = World::with(TlsWish::Required, wanted.clone());
        world.hear("220 mx\r\n");
        assert_eq!(world.hear("250 mx\r\n"), "");
        assert_eq!(world.fates(), "5.7.10");
        for (offers, fate) in [("250 REQUIRETLS\r\n", ""), ("250 X\r\n", "5.7.30")] {
            let mut world = World::with(TlsWish::Required, wanted.clone());
            world.hear("220 mx\r\n");
            world.hear("250-mx\r\n250 STARTTLS\r\n");
            world.hear("220 go\r\n");
            assert!(world.tls_wanted);
            world.client.secured(world.now, TlsActive::after_handshake("TLSv1.3", "x"));
            world.run();
            world.said.clear();
            let said = world.hear(&format!("250-mx\r\n{offers}"));
            assert_eq!(world.outcome.as_ref().map_or(String::new(), |_| world.fates()), fate);
            assert_eq!(said.starts_with("MAIL FROM:<s@here.example> REQUIRETLS\r\n"), fate.is_empty(), "{said}");
        }
    }

    const FULL: &str = "250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-STARTTLS\r\n250 8BITMIME\r\n";

    #[test]
    fn a_pipelined_message_and_another_on_the_same_connection() {
        let mut world = World::new(TlsWish::Never, &["a@x.example", "b@x.example", "c@x.example"]);
        assert_eq!(world.hear("220 mx\r\n"), "EHLO me.example\r\n");
        assert_eq!(
            world.hear(FULL),
            "MAIL FROM:<s@here.example> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<a@x.example>\r\n\
             RCPT TO:<b@x.example>\r\nRCPT TO:<c@x.example>\r\n"
        );
        assert_eq!(world.hear("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n45"), "");
        assert_eq!(world.hear("2 4.2.2 full\r\n"), "DATA\r\n");
        assert_eq!(world.hear("354 go\r\n"), "(body)");
        world.hear("250 2.0.0 queued\r\n");
        assert_eq!(world.fates(), "+ 5.1.1 4.2.2");
        assert!(world.outcome.as_ref().is_some_and(|o| o.reusable && o.session.is_none()));
        assert_eq!(
            world.answer(Answer::Next(job(&["d@x.example"]))),
            "MAIL FROM:<s@here.example> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<d@x.example>\r\n"
        );
        world.hear("250 ok\r\n550 5.7.1 no\r\n");
        assert_eq!(world.fates(), "5.7.1");
        assert_eq!(world.answer(Answer::Next(job(&["e@x.example"]))), "RSET\r\n", "a transaction is open");
        assert!(world.hear("250 ok\r\n").starts_with("MAIL FROM:"));
        assert_eq!(world.hear("250 ok\r\n250 ok\r\n"), "DATA\r\n");
        world.hear("354 go\r\n");
        world.hear("250 ok\r\n");
        assert_eq!(world.answer(Answer::Quit), "QUIT\r\n");
        world.hear("221 bye\r\n");
        assert!(world.closed);
    }

    #[test]
    fn without_pipelining_one_command_at_a_time() {
        let mut world = World::new(TlsWish::WhenOffered, &["a@x.example", "b@x.example"]);
        world.hear("220 mx\r\n");
        assert_eq!(world.hear("502 no\r\n"), "HELO me.example\r\n");
        assert_eq!(world.hear("250 mx\r\n"), "MAIL FROM:<s@here.example>\r\n");
        assert_eq!(world.hear("250 ok\r\n"), "RCPT TO:<a@x.example>\r\n");
        assert_eq!(world.hear("250 ok\r\n"), "RCPT TO:<b@x.example>\r\n");
        assert_eq!(world.hear("552 too many\r\n"), "DATA\r\n");
        world.hear("354 go\r\n");
        world.hear("554 5.6.0 spam\r\n");
        assert_eq!(world.fates(), "5.6.0 4.0.0");
    }

    #[test]
    fn every_cut_of_the_replies_gives_the_same() {
        let replies = format!("220 mx\r\n{FULL}250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 ok\r\n");
        for width in 1..8 {
            let mut world = World::new(TlsWish::Never, &["a@x.example"]);
            let mut said = String::new();
            // A server speaks when it was spoken to: feed reply by reply, each in pieces.
            for reply in [&replies[..8], FULL, "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 2.0.0 ok\r\n"] {
                for piece in reply.as_bytes().chunks(width) {
                    said.push_str(&world.hear(std::str::from_utf8(piece).expect("ASCII")));
                }
            }
            assert_eq!(world.fates(), "+", "{width}");
            assert!(said.ends_with("DATA\r\n(body)"));
        }
    }

    #[test]
    fn tls_when_offered_and_when_required() {
        let mut world = World::new(TlsWish::WhenOffered, &["a@x.example"]);
        world.hear("220 mx\r\n");
        assert_eq!(world.hear(FULL), "STARTTLS\r\n");
        world.hear("220 go\r\n");
        assert!(world.tls_wanted);
        world.client.secured(world.now, TlsActive::after_handshake("TLSv1.3", "X"));
        world.run();
        assert_eq!(std::mem::take(&mut world.said), "EHLO me.example\r\n");
        assert!(world.hear(FULL).starts_with("MAIL FROM:"), "not STARTTLS again");

        let mut world = World::new(TlsWish::WhenOffered, &["a@x.example"]);
        world.hear("220 mx\r\n");
        world.hear(FULL);
        assert!(world.hear("454 4.7.0 not now\r\n").starts_with("MAIL FROM:"));

        for replies in ["250 mx\r\n", "502 no\r\n250 mx\r\n"] {
            let mut world = World::new(TlsWish::Required, &["a@x.example"]);
            world.hear("220 mx\r\n");
            for reply in replies.split_inclusive("\r\n") {
                world.hear(reply);
            }
            assert_eq!(world.fates(), "4.7.4");
        }
    }

    #[test]
    fn starttls_injection_by_a_server_fails_the_session_for_now() {
        let mut world = World::new(TlsWish::WhenOffered, &["a@x.example"]);
        world.hear("220 mx\r\n");
        world.hear(FULL);
        world.hear("220 go\r\n250-forged\r\n");
        assert_eq!(world.fates(), "4.7.0");
        assert!(!world.tls_wanted && world.outcome.as_ref().is_some_and(|o| !o.reusable));
    }

    #[test]
    fn failures_of_the_session_are_temporary() {
        for (name, replies, wanted) in [
            ("banner", vec!["554 5.7.1 blocked\r\n"], "4.0.0 4.0.0"),
            ("EHLO", vec!["220 mx\r\n", "421 4.3.2 busy\r\n"], "4.3.2 4.3.2"),
            ("HELO", vec!["220 mx\r\n", "500 what\r\n", "500 what\r\n"], "4.0.0 4.0.0"),
            ("junk", vec!["220 mx\r\n", "HTTP/1.1 400 Bad Request\r\n"], "4.5.0 4.5.0"),
            ("354 to nothing", vec!["220 mx\r\n", "250 mx\r\n", "354 go\r\n"], "4.0.0 4.0.0"),
            (
                "250 to DATA",
                vec!["220 mx\r\n", "250 mx\r\n", "250 a\r\n", "250 b\r\n", "550 5.1.1 c\r\n", "250 d\r\n"],
                "4.0.0 5.1.1",
            ),
            (
                "421 at RCPT",
                vec!["220 mx\r\n", "250 mx\r\n", "250 a\r\n", "550 5.1.1 b\r\n", "421 c\r\n"],
                "5.1.1 4.0.0",
            ),
            ("two replies to one", vec!["220 mx\r\n", "250 mx\r\n250 extra\r\n"], "4.5.0 4.5.0"),
        ] {
            let mut world = World::new(TlsWish::Never, &["a@x.example", "b@x.example"]);
            for reply in replies {
                world.hear(reply);
            }
            assert_eq!(world.fates(), wanted, "{name}");
            world.answer(Answer::Quit);
            assert!(world.closed || !world.client.broken, "{name}");
        }
    }

    #[test]
    fn a_refused_sender_fails_all_and_a_large_message_is_not_sent() {
        let mut world = World::new(TlsWish::Never, &["a@x.example", "b@x.example"]);
        world.hear("220 mx\r\n");
        world.hear(FULL);
        world.hear("550 5.7.1 not you\r\n503 5.5.1 mail first\r\n503 5.5.1 mail first\r\n");
        assert_eq!(world.fates(), "5.7.1 5.7.1");
        let mut large = job(&["a@x.example"]);
        large.size = 1001;
        assert_eq!(world.answer(Answer::Next(large)), "");
        assert_eq!(world.fates(), "5.3.4");
        assert!(world.outcome.as_ref().is_some_and(|o| o.reusable));
    }

    #[test]
    fn unbounded_recipients_go_in_groups() {
        let many: Vec<String> = (0..250).map(|n| format!("r{n}@x.example")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut world = World::new(TlsWish::Never, &many);
        world.hear("220 mx\r\n");
        assert_eq!(world.hear(FULL).lines().count(), REMOTE_PIPELINE);
        let mut named = 0;
        for _ in 0..250 {
            named += world.hear("250 ok\r\n").matches("RCPT TO:").count();
        }
        assert_eq!(named, 250 - (REMOTE_PIPELINE - 1));
        assert_eq!(world.hear("250 ok\r\n"), "DATA\r\n");
    }

    #[test]
    fn time_and_loss() {
        let mut world = World::new(TlsWish::Never, &["a@x.example"]);
        world.hear("220 mx\r\n");
        world.now += REMOTE_COMMAND;
        world.client.tick(world.now);
        world.run();
        assert_eq!(world.fates(), "4.4.2");

        let mut world = World::new(TlsWish::Never, &["a@x.example"]);
        for reply in ["220 mx\r\n", FULL, "250 a\r\n250 b\r\n", "354 go\r\n"] {
            world.hear(reply);
        }
        world.now += REMOTE_COMMAND;
        world.client.tick(world.now);
        world.run();
        assert!(world.outcome.is_none(), "the last answer may take ten minutes");
        world.client.disconnected(world.now, "reset\r\nby peer");
        world.run();
        let outcome = world.outcome.as_ref().and_then(|o| o.session.clone()).expect("the session failed");
        assert_eq!(outcome.text, "connection lost at end of data: reset??by peer");
        world.answer(Answer::Quit);
        assert!(world.closed && world.said.is_empty());
    }
}
