//! Answers what the SMTP machine asks: who may send, who receives, where the message goes.
//!
//! Knows no syntax and no order of commands; the machine does. What it decides, it decides by [`Directory`],
//! [`Authenticator`], the stages of `intake` and [`Commit`].

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::BareNewline as BareNewlineKey;
use crate::config::Config;
use crate::config::HookOn;
use crate::delivery::commit::Accepted;
use crate::delivery::commit::Commit;
use crate::delivery::commit::CommitError;
use crate::delivery::room::Room;
use crate::directory::Authenticated;
use crate::directory::Authenticator;
use crate::directory::Directory;
use crate::directory::LoginError;
use crate::fsio;
use crate::fsio::Content;
use crate::fsio::ContentWriter;
use crate::intake;
use crate::intake::Prepared;
use crate::intake::Refused;
use crate::intake::checks::Finding;
use crate::intake::checks::Gate;
use crate::intake::checks::Greylist;
use crate::intake::checks::Outcome;
use crate::intake::checks::Visit;
use crate::intake::clean::Dispatch;
use crate::intake::hooks;
use crate::intake::permit::Admitted;
use crate::intake::permit::RelayPermit;
use crate::intake::recipient::Asker;
use crate::intake::recipient::Desk;
use crate::intake::recipient::Thoroughness;
use crate::intake::trace;
use crate::intake::trace::Trace;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::ids::QueueId;
use crate::mail::ids::SessionId;
use crate::mail::limits::UNKNOWN_RECIPIENTS_END;
use crate::mail::limits::UNKNOWN_RECIPIENTS_SLOW;
use crate::milter::Subject;
use crate::net::Answers;
use crate::net::Connection;
use crate::net::Sent;
use crate::net::pump;
use crate::protocol::sasl::Credentials;
use crate::protocol::smtp::Mail;
use crate::protocol::smtp::data::BareNewline;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Answer;
use crate::protocol::smtp::server::Complete;
use crate::protocol::smtp::server::NoBody;
use crate::protocol::smtp::server::Question;
use crate::protocol::smtp::server::Role;
use crate::protocol::smtp::server::Server;
use crate::protocol::smtp::server::Settings;
use crate::sender_auth::Facts;
use crate::sender_auth::SenderAuth;
use crate::sender_auth::policy::Action;
use crate::store::Store;

/// The pause before the answer to somebody who tries names.
const UNKNOWN_RECIPIENT_PAUSE: Duration = Duration::from_secs(1);

/// What all SMTP sessions share.
pub struct SmtpService {
    /// The configuration; a session keeps the one it began with.
    pub config: Arc<ArcSwap<Config>>,
    /// Who receives; a transaction sees the newest.
    pub directory: Arc<ArcSwap<Directory>>,
    /// Who may log in.
    pub authenticator: Arc<Authenticator>,
    /// Where messages go.
    pub commit: Arc<dyn Commit>,
    /// Whether there is room for them.
    pub store: Arc<Store>,
    /// Who really sent a message; `None` where no name can be looked up.
    pub sender_auth: Option<SenderAuth>,
    /// What strangers have to fulfil.
    pub gate: Gate,
    /// Who is new.
    pub greylist: Arc<Greylist>,
    /// The time.
    pub clock: Clock,
    /// The zone of the dates we write.
    pub zone: TimeZone,
}

impl std::fmt::Debug for SmtpService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpService").finish_non_exhaustive()
    }
}

/// Serves one connection until it ends. On port 465 the handshake is done before (`connection.tls()` is there).
///
/// # Errors
/// The connection broke.
pub async fn serve(
    mut connection: Connection,
    role: Role,
    service: Arc<SmtpService>,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let session = SessionId::new(service.clock.since_epoch());
    let peer = connection.peer().ip().to_canonical();
    let config = service.config.load_full();
    // Whoever hands over by LMTP relays nothing, and an address that a proxy does not tell gives no right.
    let network = match role {
        Role::Reception | Role::Submission if connection.is_known() => {
            RelayPermit::of_network(peer, &config.relay.trusted_networks)
        }
        Role::Reception | Role::Submission | Role::Lmtp => None,
    };
    let settings = Settings {
        role,
        hostname: config.hostname.clone(),
        max_size: config.smtp.max_message_size.octets(),
        can_start_tls: connection.can_start_tls(),
        // Both ends: a proxy on this machine must not open the door for the world.
        plaintext_login: config.auth.plaintext_login && peer.is_loopback() && connection.local().ip().is_loopback(),
        legacy_auth_line: config.submission.legacy_auth_line,
        bare_newline: match config.smtp.bare_newline {
            _ if role != Role::Reception || network.is_some() => BareNewline::Normalise,
            BareNewlineKey::Reject => BareNewline::Reject,
            BareNewlineKey::Normalise => BareNewline::Normalise,
        },
        command_wait: config.smtp.timeout,
    };
    tracing::info!(%session, %peer, port = connection.local().port(), "connected");
    let clock = service.clock.clone();
    let mut machine = Server::new(settings, clock.instant(), connection.tls().cloned());
    if role == Role::Reception && network.is_none() && connection.has_input() {
        tracing::info!(%session, %peer, "spoke before the greeting");
        machine.refuse_early_talker();
    }
    let mut conversation = Conversation {
        service,
        config,
        session,
        peer,
        role,
        network,
        user: None,
        visit: Visit::default(),
        sender: ReversePath::Null,
        greeting: String::new(),
        recipients: Vec::new(),
        declared: 0,
        room: Room::default(),
        body: None,
        messages: 0,
        unknown: 0,
    };
    let ended = pump(&mut connection, &mut machine, &mut conversation, &clock, &mut shutdown).await;
    match &ended {
        Ok(()) => tracing::info!(%session, messages = conversation.messages, "disconnected"),
        Err(error) => tracing::info!(%session, messages = conversation.messages, %error, "connection lost"),
    }
    ended
}

/// A message that may be taken.
struct Judged {
    content: Content,
    /// Fields for its front.
    found: Vec<u8>,
    /// Why it goes to Junk.
    junk: Option<String>,
    /// Nobody gets it.
    discarded: bool,
}

/// One session's side of the conversation.
struct Conversation {
    service: Arc<SmtpService>,
    config: Arc<Config>,
    session: SessionId,
    peer: IpAddr,
    role: Role,
    network: Option<RelayPermit>,
    user: Option<Authenticated>,
    /// What is known of the client and of its sender.
    visit: Visit,
    /// Of the transaction that is open.
    sender: ReversePath,
    greeting: String,
    recipients: Vec<Admitted>,
    /// The size that MAIL named; 0 for none.
    declared: u64,
    /// What it has of the inboxes of recipients that are ours.
    room: Room,
    body: Option<io::Result<ContentWriter>>,
    messages: u32,
    unknown: u32,
}

impl Answers<Server> for Conversation {
    async fn answer(&mut self, question: Question) -> Answer {
        let decided = match question {
            Question::Mail { mail, authenticated, greeting } => self.mail(&mail, authenticated, greeting),
            Question::Rcpt(address) => self.rcpt(address).await,
            Question::Login(credentials) => self.login(&credentials).await,
            Question::Begin => {
                self.body = Some(Ok(ContentWriter::new(self.spool().to_owned())));
                Ok(())
            }
            Question::Reset => {
                self.forget_transaction();
                Ok(())
            }
            Question::End(complete) => return self.end(*complete).await,
            Question::Abandon(envelope, reply) => {
                self.forget_transaction();
                let from = envelope.sender.to_string();
                tracing::info!(session = %self.session, ?from, %reply, "message refused");
                Ok(())
            }
        };
        decided.map_or_else(Answer::Refused, |()| Answer::Accepted)
    }

    async fn body(&mut self, chunk: Vec<u8>) {
        if let Some(Ok(writer)) = &mut self.body
            && let Err(error) = writer.push(&chunk)
        {
            self.body = Some(Err(error));
        }
    }

    async fn send_body(&mut self, never: NoBody, _: &mut Vec<u8>) -> io::Result<Sent<NoBody>> {
        match never {}
    }
}

impl Conversation {
    /// Where a large message lies while it comes in.
    fn spool(&self) -> &Path {
        &self.config.storage.folder
    }

    fn forget_transaction(&mut self) {
        self.recipients.clear();
        self.visit.next_transaction();
        self.room = Room::default();
        self.body = None;
    }

    fn mail(&mut self, mail: &Mail, authenticated: bool, greeting: String) -> Result<(), Reply> {
        self.forget_transaction();
        self.declared = mail.size.unwrap_or(0);
        (self.sender, self.greeting) = (mail.sender.clone(), greeting);
        if !authenticated {
            self.user = None;
        }
        let of_user = self.user.as_ref().map(RelayPermit::of_user);
        self.room = Room::of(of_user.as_ref().or(self.network.as_ref()));
        let sender = mail.sender.to_string();
        if let Some(address) = mail.sender.address()
            && self.role == Role::Submission
            && !self.user.as_ref().is_some_and(|user| self.service.directory.load().may_send_as(user, address))
        {
            let user = self.user.as_ref().map(|user| user.account().address().to_string());
            tracing::info!(session = %self.session, ?sender, ?user, "sender refused: not an address of this user");
            return Err(Reply::sender_not_owned());
        }
        self.check_disk(mail.size.unwrap_or(0))
    }

    /// Whether there is room for the message and what becomes of it. `statvfs` reads no disk, so it may run here.
    fn check_disk(&self, size: u64) -> Result<(), Reply> {
        let wanted = size.saturating_mul(2).max(self.config.smtp.min_free.octets());
        match fsio::free_octets(&self.config.storage.folder) {
            Ok(free) if free >= wanted => Ok(()),
            Ok(free) => {
                tracing::error!(session = %self.session, free, wanted, "mail refused: disk full");
                Err(Reply::disk_full())
            }
            Err(error) => {
                tracing::error!(session = %self.session, %error, "mail refused: cannot see how much of the disk is free");
                Err(Reply::local_trouble())
            }
        }
    }

    async fn rcpt(&mut self, address: Address) -> Result<(), Reply> {
        let (service, config) = (Arc::clone(&self.service), Arc::clone(&self.config));
        let of_user = self.user.as_ref().map(RelayPermit::of_user);
        let (sender, helo) = (self.sender.clone(), self.greeting.clone());
        let permit = of_user.as_ref().or(self.network.as_ref());
        let handed_over = self.role == Role::Lmtp;
        let asker = Asker { ip: self.peer, helo: &helo, sender: &sender, handed_over, permit };
        let directory = service.directory.load_full();
        let desk = Desk {
            config: &config,
            directory: &directory,
            gate: &service.gate,
            greylist: &service.greylist,
            now: service.clock.wall(),
            thoroughness: Thoroughness::Decide,
        };
        if handed_over && !directory.is_local(address.domain()) {
            // RFC 2033 §5: LMTP is for mailboxes here.
            return Err(Reply::unknown_recipient());
        }
        let decision = desk.decide(&mut self.visit, &asker, address.clone()).await;
        self.log(&decision.findings, &address);
        match decision.answer {
            Ok(admitted) => {
                if let Err(reply) = self.room.take(&self.service.store, &admitted, self.declared).await {
                    tracing::info!(session = %self.session, peer = %self.peer, to = ?address.to_string(), %reply, "recipient refused");
                    return Err(reply);
                }
                self.recipients.push(admitted);
                Ok(())
            }
            Err(reply) if decision.unknown => self.slow_down(reply).await,
            Err(reply) => Err(reply),
        }
    }

    /// Names the rule of every refusal, and what is only marked.
    fn log(&self, findings: &[Finding], to: &Address) {
        let (to, from) = (to.to_string(), self.sender.to_string());
        for finding in findings {
            let (rule, found) = (finding.rule.key(), &finding.found);
            match &finding.outcome {
                Outcome::Refused(reply) => {
                    tracing::info!(session = %self.session, peer = %self.peer, helo = ?self.greeting, ?from, ?to, rule, ?found, %reply, "recipient refused");
                }
                Outcome::Marked | Outcome::Junk => {
                    tracing::info!(session = %self.session, peer = %self.peer, helo = ?self.greeting, ?from, rule, ?found, "marked");
                }
                Outcome::Passed | Outcome::Skipped => {}
            }
        }
    }

    /// One unknown recipient more: a stranger who tries names gets slower answers, then none.
    async fn slow_down(&mut self, reply: Reply) -> Result<(), Reply> {
        if self.role != Role::Reception || self.network.is_some() {
            return Err(reply);
        }
        self.unknown += 1;
        if self.unknown >= UNKNOWN_RECIPIENTS_END {
            return Err(Reply::too_many_unknown());
        }
        if self.unknown > UNKNOWN_RECIPIENTS_SLOW {
            tokio::time::sleep(UNKNOWN_RECIPIENT_PAUSE).await;
        }
        Err(reply)
    }

    async fn login(&mut self, credentials: &Credentials) -> Result<(), Reply> {
        let login =
            self.service.authenticator.login("submission", self.peer, &credentials.name, &credentials.password).await;
        match login {
            Ok(user) => {
                tracing::info!(session = %self.session, user = %user.account().address(), "logged in");
                self.user = Some(user);
                Ok(())
            }
            Err(LoginError::Refused) => Err(Reply::login_refused()),
            Err(LoginError::TooManyFailures) => Err(Reply::too_many_failed_logins()),
            Err(LoginError::Busy) => Err(Reply::login_busy()),
        }
    }

    async fn end(&mut self, complete: Complete) -> Answer {
        self.messages = self.messages.saturating_add(1);
        let id = self.session.message(self.messages);
        let from = complete.envelope.sender.to_string();
        let to: Vec<String> = complete.envelope.recipients.iter().map(ToString::to_string).collect();
        match self.take_responsibility(complete, &id).await {
            Ok(size) => {
                tracing::info!(session = %self.session, %id, ?from, ?to, size, "message accepted");
                Answer::Kept(id)
            }
            Err(reply) => {
                tracing::info!(session = %self.session, %id, ?from, ?to, %reply, "message refused");
                Answer::Refused(reply)
            }
        }
    }

    /// The stages after the end of data. Yes is durable.
    async fn take_responsibility(&mut self, complete: Complete, id: &QueueId) -> Result<u64, Reply> {
        let (recipients, room) = (std::mem::take(&mut self.recipients), std::mem::take(&mut self.room));
        let addresses = recipients.iter().map(Admitted::address);
        let content = match self.body.take() {
            // Machine and driver agree on whom the message is for, or nobody gets it.
            Some(body) if addresses.eq(&complete.envelope.recipients) => body.and_then(ContentWriter::finish),
            _ => Err(io::Error::other("a message without a transaction")),
        };
        let content = content.map_err(|error| self.failed(id, CommitError::from_io(error)))?;
        let now = self.service.clock.wall();
        let (sender, body) = (complete.envelope.sender.clone(), complete.envelope.body);
        let demands = complete.envelope.demands.clone();
        let judged = self.judge(content, &complete, id).await?;
        let (discarded, junk) = (judged.discarded, judged.junk.clone());
        let prepared = self.stamp(judged, complete, id).await?;
        let size = prepared.content.len();
        if discarded {
            return Ok(size);
        }
        let message = Accepted {
            id: id.clone(),
            sender,
            body,
            demands,
            junk,
            recipients,
            return_path: prepared.return_path,
            trace: prepared.trace,
            content: prepared.content,
            received: now,
            room,
        };
        self.service.commit.commit(message).await.map_err(|error| self.failed(id, error))?;
        Ok(size)
    }

    /// Writes on top of a message what we write there.
    async fn stamp(&self, judged: Judged, complete: Complete, id: &QueueId) -> Result<Prepared, Reply> {
        let (service, config) = (Arc::clone(&self.service), Arc::clone(&self.config));
        let (peer, own_id, dispatch) = (self.peer, id.clone(), self.dispatch());
        let Judged { content, found, .. } = judged;
        let stage = move |content: Content| {
            let facts = Trace {
                greeting: &complete.greeting.name,
                extended: complete.greeting.extended,
                authenticated: complete.authenticated,
                tls: complete.tls.as_ref(),
                peer,
                hostname: config.hostname.as_str(),
                id: &own_id,
                sender: &complete.envelope.sender,
                recipients: &complete.envelope.recipients,
            };
            intake::stamp(content, &facts, &found, dispatch, &service.zone, service.clock.wall())
        };
        self.run(id, content, stage).await
    }

    /// Runs a stage of intake; for a message in a file, on a thread that may wait for the disk.
    async fn run<T: Send + 'static>(
        &self,
        id: &QueueId,
        content: Content,
        stage: impl FnOnce(Content) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Reply> {
        let done = if content.in_memory().is_some() {
            stage(content)
        } else {
            let done = tokio::task::spawn_blocking(move || stage(content)).await;
            done.unwrap_or_else(|error| Err(Refused::Trouble(io::Error::other(error))))
        };
        done.map_err(|refused| self.refused(id, refused))
    }

    fn dispatch(&self) -> Dispatch {
        match self.role {
            Role::Reception | Role::Lmtp => Dispatch::Reception,
            Role::Submission => Dispatch::Submission,
        }
    }

    fn refused(&self, id: &QueueId, refused: Refused) -> Reply {
        match refused {
            Refused::Policy(reply) => reply,
            Refused::Trouble(error) => self.failed(id, CommitError::from_io(error)),
        }
    }

    /// What is thought of a message: its header, who sent it, what the hooks say, and what follows.
    async fn judge(&self, content: Content, complete: &Complete, id: &QueueId) -> Result<Judged, Reply> {
        let (config, dispatch) = (Arc::clone(&self.config), self.dispatch());
        let examine = move |content: Content| {
            intake::examine(&content, dispatch, config.hostname.as_str(), &config.storage.folder)
        };
        let clean = self.run(id, content.clone(), examine).await?;
        let on = match self.role {
            Role::Reception => HookOn::Smtp,
            Role::Submission => HookOn::Submission,
            // Whoever hands over by LMTP has judged it.
            Role::Lmtp => return Ok(Judged { content: clean, found: Vec::new(), junk: None, discarded: false }),
        };
        let mut junk = self.visit.junk();
        let mut found = self.authenticate(&content, complete, id, &mut junk).await?;
        let subject = Subject {
            hostname: self.config.hostname.to_string(),
            daemon: if on == HookOn::Submission { "ORIGINATING" } else { "MTA" },
            ip: self.peer,
            client_name: self.visit.client_name().map(str::to_owned),
            helo: complete.greeting.name.clone(),
            tls: complete.tls.as_ref().map(|tls| (tls.version().to_owned(), tls.cipher().to_owned())),
            user: self.user.as_ref().map(|user| user.account().address().to_string()),
            id: id.to_string(),
            sender: complete.envelope.sender.clone(),
            recipients: complete.envelope.recipients.clone(),
            max_size: self.config.smtp.max_message_size.octets(),
        };
        let hooked = hooks::ask(&self.config, on, &subject, clean, self.spool()).await;
        let hooked = hooked.map_err(|refused| self.refused(id, refused))?;
        junk.extend(hooked.junk);
        found.extend(trace::junk_reason(&junk));
        let junk = (!junk.is_empty()).then(|| junk.join("; "));
        Ok(Judged { content: hooked.content, found, junk, discarded: hooked.discarded })
    }

    /// Finds out who sent a stranger's message, and what its domains want done with it. Gives the fields that say so.
    async fn authenticate(
        &self,
        content: &Content,
        complete: &Complete,
        id: &QueueId,
        junk: &mut Vec<String>,
    ) -> Result<Vec<u8>, Reply> {
        let Some(sender_auth) = &self.service.sender_auth else { return Ok(Vec::new()) };
        if self.role != Role::Reception || self.network.is_some() {
            return Ok(Vec::new());
        }
        let facts = Facts {
            ip: self.peer,
            helo: &complete.greeting.name,
            mail_from: &complete.envelope.sender,
            client_name: self.visit.name(),
        };
        let judged = Box::pin(sender_auth.judge(&self.config, &facts, content)).await;
        let verdict = judged.map_err(|error| self.failed(id, CommitError::from_io(error)))?;
        match verdict.action {
            Action::Accept => {}
            Action::Junk { reason } => junk.push(reason),
            Action::Reject { status, reason } => return Err(Reply::not_from_its_sender(status, &reason)),
        }
        let mut found = verdict.results_field;
        found.extend(verdict.received_spf);
        Ok(found)
    }

    /// Tells the operator what went wrong and gives the reply for the peer, who keeps the mail.
    fn failed(&self, id: &QueueId, error: CommitError) -> Reply {
        match &error {
            // The owner's business, and nothing is wrong here.
            CommitError::OverQuota | CommitError::LargerThanQuota => {
                tracing::info!(session = %self.session, %id, %error, "message not kept");
            }
            _ => tracing::error!(session = %self.session, %id, %error, "message not kept"),
        }
        match error {
            CommitError::OverQuota => Reply::mailbox_full(),
            CommitError::LargerThanQuota => Reply::larger_than_mailbox(),
            CommitError::Full(_) => Reply::disk_full(),
            CommitError::Trouble(_) => Reply::local_trouble(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::time::SystemTime;

    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use super::*;
    use crate::config;
    use crate::delivery::commit::Pending;
    use crate::directory::Destination;
    use crate::directory::hash_password;
    use crate::dns::Dns;
    use crate::net::Class;
    use crate::net::Limiter;

    #[derive(Default)]
    struct Kept {
        messages: Mutex<Vec<Accepted>>,
        full: bool,
    }

    impl Commit for Kept {
        fn commit(&self, message: Accepted) -> Pending<'_, Result<(), CommitError>> {
            Box::pin(async move {
                if self.full {
                    return Err(CommitError::from_io(io::ErrorKind::StorageFull.into()));
                }
                self.messages.lock().expect("not poisoned").push(message);
                Ok(())
            })
        }
    }

    struct World {
        service: Arc<SmtpService>,
        kept: Arc<Kept>,
        limiter: Limiter,
        _folder: tempfile::TempDir,
        _stop: watch::Sender<bool>,
        shutdown: watch::Receiver<bool>,
    }

    /// A server for example.com with alice (password `secret`) and bob. `trusted` is a list of networks.
    fn world(trusted: &str, full: bool) -> World {
        let folder = tempfile::tempdir().expect("temporary folder");
        let hash = hash_password(&crate::mail::secret::Secret::new("secret".to_owned())).expect("hashed");
        let text = format!(
            "hostname = \"mx.example.com\"\n[[domain]]\nname = \"example.com\"\n\
             [[account]]\naddress = \"alice@example.com\"\npassword = \"{hash}\"\n\
             [[account]]\naddress = \"bob@example.com\"\n\
             [aliases]\n\"out@example.com\" = [\"far@elsewhere.example\"]\n\
             [storage]\nfolder = \"{}\"\n[relay]\ntrusted_networks = [{trusted}]\n[auth]\nplaintext_login = true\n",
            folder.path().display()
        );
        let config = config::parse(Path::new("t.toml"), &text).expect("valid");
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let dns = config::Dns { resolver: config::Resolver::Off, ..config.dns.clone() };
        let directory = Arc::new(ArcSwap::from_pointee(Directory::new(&config)));
        let authenticator = Authenticator::new(Arc::clone(&directory), clock.clone()).expect("randomness");
        let kept = Arc::new(Kept { full, ..Kept::default() });
        let limiter = Limiter::new(config.limits.clone(), clock.clone());
        let (stop, shutdown) = watch::channel(false);
        let service = SmtpService {
            config: Arc::new(ArcSwap::from_pointee(config)),
            directory,
            authenticator: Arc::new(authenticator),
            commit: Arc::clone(&kept) as Arc<dyn Commit>,
            store: Store::open(clock.clone()),
            sender_auth: None,
            gate: Gate::new(Dns::new(&dns).expect("off"), SenderAuth::new(Dns::new(&dns).expect("off"), clock.clone())),
            greylist: Arc::default(),
            clock,
            zone: TimeZone::UTC,
        };
        World { service: Arc::new(service), kept, limiter, _folder: folder, _stop: stop, shutdown }
    }

    impl World {
        /// Sends everything at once and returns all replies.
        async fn talk(&self, role: Role, said: &str) -> String {
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("bound");
            let address = listener.local_addr().expect("bound");
            let client = async {
                let mut stream = TcpStream::connect(address).await.expect("connected");
                let mut first = [0; 4];
                stream.read_exact(&mut first).await.expect("a greeting");
                stream.write_all(said.as_bytes()).await.expect("written");
                let mut heard = String::from_utf8_lossy(&first).into_owned();
                stream.read_to_string(&mut heard).await.expect("read");
                heard
            };
            let server = async {
                let (stream, peer) = listener.accept().await.expect("accepted");
                let slot = self.limiter.enter(Class::Reception, peer.ip(), true).expect("within limits");
                let connection = Connection::new(stream, None, slot).expect("connected");
                serve(connection, role, Arc::clone(&self.service), self.shutdown.clone()).await.expect("served");
            };
            tokio::join!(client, server).0
        }

        fn messages(&self) -> Vec<Accepted> {
            self.kept.messages.lock().expect("not poisoned").clone()
        }
    }

    fn codes(replies: &str) -> Vec<&str> {
        replies.lines().filter(|l| l.as_bytes().get(3) == Some(&b' ')).map(|l| &l[..3]).collect()
    }

    #[tokio::test]
    async fn a_message_from_elsewhere_is_kept() {
        let world = world("", false);
        let said = "EHLO c.example\r\nMAIL FROM:<s@there.example>\r\nRCPT TO:<alice@example.com>\r\n\
            RCPT TO:<nobody@example.com>\r\nRCPT TO:<v@elsewhere.example>\r\nRCPT TO:<out@example.com>\r\n\
            DATA\r\nSubject: x\r\n\r\n..\r\n.\r\nQUIT\r\n";
        let replies = world.talk(Role::Reception, said).await;
        assert_eq!(
            codes(&replies),
            ["220", "250", "250", "250", "550", "554", "250", "354", "250", "221"],
            "{replies}"
        );
        let messages = world.messages();
        let [message] = messages.as_slice() else { panic!("one message") };
        assert!(replies.contains(&format!("250 2.0.0 {} accepted", message.id)));
        assert_eq!(message.return_path, b"Return-Path: <s@there.example>\n");
        assert!(
            message.trace.starts_with(b"Received: from c.example ([127.0.0.1])\n\tby mx.example.com with ESMTP id ")
        );
        assert_eq!(message.content.head(100).expect("in memory"), b"Subject: x\n\n.\n");
        let remote = |admitted: &Admitted| matches!(admitted.destinations(), [Destination::Forward(_)]);
        assert_eq!(message.recipients.iter().map(remote).collect::<Vec<_>>(), [false, true]);
    }

    #[tokio::test]
    async fn open_relay_strangers_and_trusted_networks() {
        let said = "HELO c.example\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<v@elsewhere.example>\r\nQUIT\r\n";
        assert_eq!(codes(&world("", false).talk(Role::Reception, said).await)[3], "554");
        assert_eq!(codes(&world("\"127.0.0.0/8\"", false).talk(Role::Reception, said).await)[3], "250");
        assert_eq!(codes(&world("\"10.0.0.0/8\"", false).talk(Role::Reception, said).await)[3], "554");
        // On the submission ports a trusted network logs in like everybody.
        let replies = world("\"127.0.0.0/8\"", false).talk(Role::Submission, said).await;
        assert_eq!(codes(&replies)[2], "530", "{replies}");
    }

    #[tokio::test]
    async fn users_send_as_themselves() {
        let world = world("", false);
        // \0alice@example.com\0secret
        let said = "EHLO c.example\r\nAUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHNlY3JldA==\r\nMAIL FROM:<bob@example.com>\r\n\
            MAIL FROM:<alice+x@example.com>\r\nRCPT TO:<v@elsewhere.example>\r\nDATA\r\nBcc: secret@x\r\n\r\nbody\n\r\n.\r\nQUIT\r\n";
        let replies = world.talk(Role::Submission, said).await;
        assert_eq!(codes(&replies), ["220", "250", "235", "553", "250", "250", "354", "250", "221"], "{replies}");
        let messages = world.messages();
        let [message] = messages.as_slice() else { panic!("one message") };
        let trace = String::from_utf8_lossy(&message.trace);
        assert!(trace.contains("with ESMTPA id") && trace.contains("\nMessage-ID: <") && trace.contains("\nDate: "));
        assert_eq!(message.content.head(100).expect("in memory"), b"\nbody\n\n");
    }

    #[tokio::test]
    async fn a_full_disk_is_temporary() {
        let world = world("", true);
        let said = "EHLO c.example\r\nMAIL FROM:<> SIZE=40000000\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n.\r\nQUIT\r\n";
        let replies = world.talk(Role::Reception, said).await;
        assert!(replies.contains("452 4.3.1"), "{replies}");
        assert!(world.messages().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn trying_names_ends_the_session() {
        let world = world("", false);
        let rcpt = "RCPT TO:<n@example.com>\r\n".repeat(25);
        let replies = world.talk(Role::Reception, &format!("EHLO c.example\r\nMAIL FROM:<>\r\n{rcpt}")).await;
        assert_eq!(codes(&replies)[3..].iter().filter(|c| **c == "550").count(), 19);
        assert!(replies.ends_with("421 4.7.0 too many unknown recipients\r\n"), "{replies}");
    }

    #[tokio::test]
    async fn a_body_without_recipients_that_agree_is_nobodys() {
        let world = world("", false);
        let mut conversation = Conversation {
            service: Arc::clone(&world.service),
            config: world.service.config.load_full(),
            session: SessionId::new(Duration::ZERO),
            peer: [127, 0, 0, 1].into(),
            role: Role::Reception,
            network: None,
            user: None,
            visit: Visit::default(),
            sender: ReversePath::Null,
            greeting: String::new(),
            recipients: Vec::new(),
            declared: 0,
            room: Room::default(),
            body: Some(Ok(ContentWriter::new(std::path::PathBuf::new()))),
            messages: 0,
            unknown: 0,
        };
        let envelope = crate::mail::envelope::Envelope {
            sender: ReversePath::Null,
            recipients: vec![Address::parse("alice@example.com").expect("valid")],
            body: crate::mail::envelope::BodyKind::SevenBit,
            demands: crate::mail::envelope::Demands::default(),
        };
        let greeting = crate::protocol::smtp::server::Greeting::default();
        let complete = Complete { envelope, greeting, authenticated: false, tls: None };
        let answer = conversation.answer(Question::End(Box::new(complete))).await;
        assert_eq!(answer, Answer::Refused(Reply::local_trouble()));
        assert!(world.messages().is_empty());
    }
}
