//! Answers what the SMTP machine asks: who may send, who receives, where the message goes.
//!
//! Knows no syntax and no order of commands; the machine does. What it decides, it decides by [`Directory`],
//! [`Authenticator`], the stages of `intake` and [`Commit`].

mod envelope;
mod message;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::BareNewline as BareNewlineKey;
use crate::config::Config;
use crate::delivery::commit::Commit;
use crate::delivery::room::Room;
use crate::directory::Authenticated;
use crate::directory::Authenticator;
use crate::directory::Directory;
use crate::directory::LoginError;
use crate::fsio::ContentWriter;
use crate::intake::checks::Gate;
use crate::intake::checks::Greylist;
use crate::intake::checks::Visit;
use crate::intake::permit::Admitted;
use crate::intake::permit::RelayPermit;
use crate::mail::address::ReversePath;
use crate::mail::ids::SessionId;
use crate::net::Answers;
use crate::net::Connection;
use crate::net::Sent;
use crate::net::Slot;
use crate::net::pump;
use crate::protocol::sasl::Credentials;
use crate::protocol::smtp::data::BareNewline;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Answer;
use crate::protocol::smtp::server::NoBody;
use crate::protocol::smtp::server::Question;
use crate::protocol::smtp::server::Role;
use crate::protocol::smtp::server::Server;
use crate::protocol::smtp::server::Settings;
use crate::sender_auth::SenderAuth;
use crate::store::Store;

/// The pause before the answer to somebody who tries names.
const UNKNOWN_RECIPIENT_PAUSE: Duration = Duration::from_secs(1);

/// Who is sent away for others has so long to take our words.
const LAST_WORD_WAIT: Duration = Duration::from_secs(1);

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
        trusted: network.is_some(),
        banner: config.smtp.banner.0.clone(),
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
    let mut conversation = Conversation::new(service, config, session, peer, role);
    (conversation.network, conversation.place) = (network, Some(connection.slot()));
    let displaced = connection.slot().lock().unwrap_or_else(PoisonError::into_inner).displaced();
    let ended = tokio::select! {
        ended = pump(&mut connection, &mut machine, &mut conversation, &clock, &mut shutdown) => ended,
        () = when_told(displaced) => {
            tracing::info!(%session, %peer, "displaced: too many connections (limits.connections), and no message yet");
            say_last(&mut connection, &Reply::displaced()).await
        }
    };
    match &ended {
        Ok(()) => tracing::info!(%session, messages = conversation.messages, "disconnected"),
        Err(error) => tracing::info!(%session, messages = conversation.messages, %error, "connection lost"),
    }
    ended
}

/// Waits until somebody else needs the place of a connection; for ever where it is its own.
async fn when_told(displaced: Option<Arc<Notify>>) {
    match displaced {
        Some(told) => told.notified().await,
        None => std::future::pending().await,
    }
}

/// A last reply, for whoever takes it at once.
async fn say_last(connection: &mut Connection, reply: &Reply) -> io::Result<()> {
    let mut line = Vec::new();
    reply.write_to(&mut line);
    let said = async {
        connection.write_all(&line).await?;
        connection.shutdown().await
    };
    tokio::time::timeout(LAST_WORD_WAIT, said).await?
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
    /// Its place under the limits, which is its own from its first message on.
    place: Option<Arc<Mutex<Slot>>>,
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
    /// A session that begins, of a stranger until it is known better.
    fn new(service: Arc<SmtpService>, config: Arc<Config>, session: SessionId, peer: IpAddr, role: Role) -> Self {
        Self {
            service,
            config,
            session,
            peer,
            role,
            network: None,
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
            place: None,
        }
    }

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
}

#[cfg(test)]
mod tests;
