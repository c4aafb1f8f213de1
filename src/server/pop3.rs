//! Answers what the POP3 machine asks: logins, the inbox, messages, deletions.
//!
//! Knows no syntax and no order of commands; the machine does.

use std::io;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::Config;
use crate::directory::Account;
use crate::directory::Authenticator;
use crate::directory::LoginError;
use crate::mail::flags::Flags;
use crate::mail::flags::SystemFlag;
use crate::mail::ids::SessionId;
use crate::mail::ids::Uid;
use crate::mail::mailbox::MailboxName;
use crate::net::Answers;
use crate::net::Connection;
use crate::net::Sent;
use crate::net::Slot;
use crate::net::pump;
use crate::protocol::pop3::Answer;
use crate::protocol::pop3::Handle;
use crate::protocol::pop3::Inbox;
use crate::protocol::pop3::Item;
use crate::protocol::pop3::Pop3;
use crate::protocol::pop3::Question;
use crate::protocol::pop3::Refusal;
use crate::protocol::pop3::Settings;
use crate::protocol::pop3::Update;
use crate::protocol::pop3::top::Top;
use crate::protocol::sasl::Credentials;
use crate::protocol::smtp::data::Outgoing;
use crate::store::FlagChange;
use crate::store::FlagOp;
use crate::store::Mailbox;
use crate::store::MessageFile;
use crate::store::Snapshot;
use crate::store::Store;
use crate::store::StoreError;

/// A message up to this size is read at once, a larger one piece by piece.
const READ_AT_ONCE: u64 = 1 << 20;

/// Octets of a message that are made ready for the wire at once.
const PIECE: usize = 65_536;

/// What all POP3 sessions share.
#[derive(Debug)]
pub struct Pop3Service {
    /// The configuration; a session keeps the one it began with.
    pub config: Arc<ArcSwap<Config>>,
    /// Who may log in.
    pub authenticator: Arc<Authenticator>,
    /// The mailboxes.
    pub store: Arc<Store>,
    /// The time.
    pub clock: Clock,
}

/// Serves one connection until it ends. On port 995 the handshake is done before (`connection.tls()` is there).
///
/// # Errors
/// The connection broke.
pub async fn serve(
    mut connection: Connection,
    service: Arc<Pop3Service>,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let session = SessionId::new(service.clock.since_epoch());
    let peer = connection.peer().ip().to_canonical();
    // Both ends: a proxy on this machine must not open the door for the world.
    let loopback = peer.is_loopback() && connection.local().ip().is_loopback();
    let settings = Settings {
        can_start_tls: connection.can_start_tls(),
        plaintext_login: loopback && service.config.load().auth.plaintext_login,
    };
    tracing::info!(%session, %peer, port = connection.local().port(), "connected");
    let clock = service.clock.clone();
    let mut machine = Pop3::new(settings, clock.instant(), connection.tls());
    let slot = connection.slot();
    let mut conversation = Conversation { service, session, peer, slot, opened: None, message: None };
    let ended = pump(&mut connection, &mut machine, &mut conversation, &clock, &mut shutdown).await;
    match &ended {
        Ok(()) => tracing::info!(%session, "disconnected"),
        Err(error) => tracing::info!(%session, %error, "connection lost"),
    }
    ended
}

/// One session's side of the conversation.
struct Conversation {
    service: Arc<Pop3Service>,
    session: SessionId,
    peer: IpAddr,
    slot: Arc<Mutex<Slot>>,
    opened: Option<Opened>,
    message: Option<Outward>,
}

/// The inbox, as it was at login.
struct Opened {
    mailbox: Arc<Mailbox>,
    snapshot: Arc<Snapshot>,
}

/// A message on its way out.
struct Outward {
    source: Source,
    outgoing: Outgoing,
    top: Option<Top>,
}

enum Source {
    Memory(io::Cursor<Vec<u8>>),
    /// What was read of it already, and the file.
    File(Box<io::Chain<io::Cursor<Vec<u8>>, MessageFile>>),
    /// While a piece of the file is read.
    Away,
}

impl Answers<Pop3> for Conversation {
    async fn answer(&mut self, question: Question) -> Answer {
        let answer = match question {
            Question::Login(credentials) => self.login(&credentials).await.map(Answer::Opened),
            Question::Open(handle) => self.open(handle).await.map(|()| Answer::Done),
            Question::Update(update) => self.update(&update).await.map(|()| Answer::Done),
        };
        answer.unwrap_or_else(Answer::Refused)
    }

    /// Nothing comes in by POP3.
    async fn body(&mut self, _: Vec<u8>) {}

    async fn send_body(&mut self, handle: Handle, out: &mut Vec<u8>) -> io::Result<Sent<Handle>> {
        let Some(mut message) = self.message.take() else {
            return Err(io::Error::other("a message that was not opened"));
        };
        // An error in the middle ends the connection: the client must not take a half for the whole.
        if message.next_piece(out).await? {
            self.message = Some(message);
            return Ok(Sent::More(handle));
        }
        message.outgoing.finish(out);
        Ok(Sent::Done)
    }
}

impl Outward {
    /// Appends the next piece, ready for the wire; whether there may be more.
    async fn next_piece(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let piece = match std::mem::replace(&mut self.source, Source::Away) {
            Source::Memory(mut cursor) => {
                let piece = read_piece(&mut cursor)?;
                self.source = Source::Memory(cursor);
                piece
            }
            Source::File(mut file) => {
                let read = tokio::task::spawn_blocking(move || read_piece(&mut *file).map(|piece| (file, piece)));
                let (file, piece) = read.await.map_err(io::Error::other)??;
                self.source = Source::File(file);
                piece
            }
            Source::Away => return Err(io::Error::other("a message whose reading failed")),
        };
        let passed = self.top.as_mut().map_or(piece.len(), |top| top.pass(&piece));
        self.outgoing.feed(&piece[..passed], out);
        Ok(!piece.is_empty() && passed == piece.len())
    }
}

/// Opens a message whose name promises so many octets, and reads it where that is few. A name may lie, and a file that
/// another server compressed may hold far more than its size: the rest of it follows piece by piece.
fn open_source(mailbox: &Mailbox, uid: Uid, size: u64) -> Result<Source, StoreError> {
    let mut file = mailbox.open_message_blocking(uid)?;
    let begun = if size > READ_AT_ONCE {
        Vec::new()
    } else {
        let bytes = read_at_once(&mut file).map_err(|error| mailbox.unread(uid, error))?;
        if bytes.len() as u64 <= READ_AT_ONCE {
            return Ok(Source::Memory(io::Cursor::new(bytes)));
        }
        bytes
    };
    Ok(Source::File(Box::new(io::Cursor::new(begun).chain(file))))
}

/// A whole message, or one octet more than one that is read at once may have.
fn read_at_once(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(READ_AT_ONCE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_piece(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE);
    from.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

impl Conversation {
    async fn login(&mut self, credentials: &Credentials) -> Result<Inbox, Refusal> {
        let login = self.service.authenticator.login("pop3", self.peer, &credentials.name, &credentials.password).await;
        let user = login.map_err(|error| match error {
            LoginError::Refused => Refusal::Credentials,
            LoginError::TooManyFailures => Refusal::TooManyFailures,
            LoginError::Busy => Refusal::Busy,
        })?;
        let account = user.account();
        let counted = self.slot.lock().unwrap_or_else(PoisonError::into_inner).logged_in(&account.address().key());
        if let Err(refusal) = counted {
            tracing::warn!(session = %self.session, user = %account.address(), %refusal, "login refused");
            return Err(Refusal::Busy);
        }
        match self.open_inbox(account).await {
            Ok(inbox) => {
                tracing::info!(session = %self.session, user = %account.address(), "logged in");
                Ok(inbox)
            }
            Err(error) => Err(self.trouble("opening the inbox", &error)),
        }
    }

    /// The inbox as it is now. Nobody is locked out, and nothing is claimed: `\Recent` stays for IMAP.
    async fn open_inbox(&mut self, account: &Account) -> Result<Inbox, StoreError> {
        let store = self.service.store.account(account.maildir()).await?;
        let mailbox = store.mailbox(&MailboxName::inbox()).await?;
        let mut snapshot = mailbox.refresh().await?;
        let unknown: Vec<Uid> = snapshot.messages.iter().filter(|m| m.wire_size().is_none()).map(|m| m.uid).collect();
        if !unknown.is_empty() {
            // Files of other programs, whose names do not tell their size, are read once.
            mailbox.sizes(&unknown).await?;
            snapshot = mailbox.snapshot();
        }
        // A message without a size has come, or lost its file, in this moment; it is for the next session.
        let items =
            snapshot.messages.iter().filter_map(|m| m.wire_size().map(|size| Item { uid: m.uid, size })).collect();
        let inbox = Inbox::new(snapshot.validity, items, mailbox.saved_uidls().await?);
        self.opened = Some(Opened { mailbox, snapshot });
        Ok(inbox)
    }

    async fn open(&mut self, handle: Handle) -> Result<(), Refusal> {
        let opened = self.opened.as_ref().ok_or(Refusal::Trouble)?;
        let size = opened.snapshot.find(handle.uid).and_then(|m| m.wire_size()).unwrap_or(u64::MAX);
        let mailbox = Arc::clone(&opened.mailbox);
        let read = tokio::task::spawn_blocking(move || open_source(&mailbox, handle.uid, size)).await;
        let source = read.unwrap_or_else(|error| {
            Err(StoreError::Io { doing: "reading a message", source: io::Error::other(error) })
        });
        let source = source.map_err(|error| match error {
            StoreError::MessageGone => Refusal::Gone,
            other => self.trouble("reading a message", &other),
        })?;
        self.message = Some(Outward { source, outgoing: Outgoing::new(), top: handle.top.map(Top::new) });
        Ok(())
    }

    /// Deletions are durable when it returns.
    async fn update(&mut self, update: &Update) -> Result<(), Refusal> {
        let opened = self.opened.as_ref().ok_or(Refusal::Trouble)?;
        if !update.read.is_empty() {
            let seen = FlagChange { op: FlagOp::Add, system: Flags::NONE.with(SystemFlag::Seen), keywords: vec![] };
            // The client was not promised it, so it is no reason to say no.
            if let Err(error) = opened.mailbox.store(opened.snapshot.validity, &update.read, seen).await {
                self.trouble("marking messages as read", &error);
            }
        }
        if update.deleted.is_empty() {
            return Ok(());
        }
        match opened.mailbox.expunge(opened.snapshot.validity, &update.deleted).await {
            Ok(gone) => {
                tracing::info!(session = %self.session, deleted = gone.len(), "messages deleted");
                Ok(())
            }
            Err(error) => Err(self.trouble("deleting messages", &error)),
        }
    }

    fn trouble(&self, doing: &'static str, error: &StoreError) -> Refusal {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(session = %self.session, doing, %error, ?cause, "trouble");
        Refusal::Trouble
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;
    use std::time::Duration;
    use std::time::SystemTime;

    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::net::TcpStream;

    use super::*;
    use crate::config;
    use crate::directory::Directory;
    use crate::directory::hash_password;
    use crate::fsio::Content;
    use crate::mail::secret::Secret;
    use crate::net::Class;
    use crate::net::Limiter;

    struct World {
        service: Arc<Pop3Service>,
        limiter: Limiter,
        inbox: Arc<Mailbox>,
        folder: tempfile::TempDir,
        _stop: watch::Sender<bool>,
        shutdown: watch::Receiver<bool>,
    }

    /// A server for alice (password `secret`) with these messages.
    async fn world(messages: &[&[u8]]) -> World {
        let folder = tempfile::tempdir().expect("temporary folder");
        let hash = hash_password(&Secret::new("secret".to_owned())).expect("hashed");
        let text = format!(
            "hostname = \"mx.example.com\"\n[[domain]]\nname = \"example.com\"\n\
             [[account]]\naddress = \"alice@example.com\"\npassword = \"{hash}\"\n\
             [storage]\nfolder = \"{}\"\n[auth]\nplaintext_login = true\n",
            folder.path().display()
        );
        let config = config::parse(Path::new("t.toml"), &text).expect("valid");
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let directory = Arc::new(ArcSwap::from_pointee(Directory::new(&config)));
        let authenticator = Authenticator::new(directory, clock.clone()).expect("randomness");
        let limiter = Limiter::new(config.limits.clone(), clock.clone());
        let store = Store::open(clock.clone());
        let maildir = folder.path().join("mail/example.com/alice");
        let account = store.account(&maildir).await.expect("opened");
        let inbox = account.mailbox(&MailboxName::inbox()).await.expect("there");
        for message in messages {
            let content = Content::from_bytes(message.to_vec());
            inbox.append(content, Flags::default(), &[], None).await.expect("appended");
        }
        let (stop, shutdown) = watch::channel(false);
        let service = Pop3Service {
            config: Arc::new(ArcSwap::from_pointee(config)),
            authenticator: Arc::new(authenticator),
            store,
            clock,
        };
        World { service: Arc::new(service), limiter, inbox, folder, _stop: stop, shutdown }
    }

    impl World {
        /// Sends everything at once and returns all replies.
        async fn talk(&self, said: &str) -> String {
            let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("bound");
            let address = listener.local_addr().expect("bound");
            let client = async {
                let mut stream = TcpStream::connect(address).await.expect("connected");
                stream.write_all(said.as_bytes()).await.expect("written");
                stream.shutdown().await.expect("half closed");
                let mut heard = String::new();
                stream.read_to_string(&mut heard).await.expect("read");
                heard
            };
            let server = async {
                let (stream, peer) = listener.accept().await.expect("accepted");
                let slot = self.limiter.enter(Class::Mailbox, peer.ip(), false).expect("within limits");
                let connection = Connection::new(stream, None, slot).expect("connected");
                serve(connection, Arc::clone(&self.service), self.shutdown.clone()).await.expect("served");
            };
            tokio::join!(client, server).0
        }

        async fn left(&self) -> usize {
            self.inbox.refresh().await.expect("read").messages.len()
        }
    }

    const LOGIN: &str = "USER alice\r\nPASS secret\r\n";
    const GREETED: &str = "+OK POP3 ready\r\n+OK send PASS\r\n+OK logged in\r\n";

    #[tokio::test]
    async fn messages_are_fetched_and_deleted() {
        let world = world(&[b"A: b\n\n.dot\nlast\n", b"C: d\n\nx\n"]).await;
        let replies = world.talk(&format!("{LOGIN}STAT\r\nRETR 1\r\nTOP 1 1\r\nDELE 1\r\nQUIT\r\n")).await;
        let wanted = format!(
            "{GREETED}+OK 2 31\r\n+OK 20 octets\r\nA: b\r\n\r\n..dot\r\nlast\r\n.\r\n\
             +OK \r\nA: b\r\n\r\n..dot\r\n.\r\n+OK deleted\r\n+OK bye\r\n"
        );
        assert_eq!(replies, wanted);
        assert_eq!(world.left().await, 1);
    }

    #[tokio::test]
    async fn a_lost_connection_deletes_nothing() {
        let world = world(&[b"A: b\n\n"]).await;
        let replies = world.talk(&format!("{LOGIN}DELE 1\r\n")).await;
        assert_eq!(replies, format!("{GREETED}+OK deleted\r\n"));
        assert_eq!(world.left().await, 1);
    }

    #[tokio::test]
    async fn a_message_that_another_session_deleted_is_gone_for_this_one() {
        let world = world(&[b"A: b\n\n", b"C: d\n\n"]).await;
        let mut conversation = Conversation {
            service: Arc::clone(&world.service),
            session: SessionId::new(Duration::ZERO),
            peer: [127, 0, 0, 1].into(),
            slot: Arc::new(Mutex::new(
                world.limiter.enter(Class::Mailbox, [127, 0, 0, 1].into(), false).expect("within limits"),
            )),
            opened: None,
            message: None,
        };
        let credentials = Credentials::new("alice", "secret").expect("valid");
        assert!(matches!(conversation.answer(Question::Login(credentials)).await, Answer::Opened(_)));
        let first = world.inbox.snapshot().messages[0].uid;
        world.inbox.expunge(world.inbox.snapshot().validity, &[first]).await.expect("expunged");
        let open = Question::Open(Handle { uid: first, top: None });
        assert_eq!(conversation.answer(open).await, Answer::Refused(Refusal::Gone));
        let update = Question::Update(Update { deleted: vec![first], read: vec![first] });
        assert_eq!(conversation.answer(update).await, Answer::Done, "gone is what was wanted");
    }

    #[tokio::test]
    async fn what_was_fetched_whole_is_seen_after_quit() {
        let world = world(&[b"A: b\n\n", b"C: d\n\n", b"E: f\n\n"]).await;
        let seen = async || {
            let snapshot = world.inbox.refresh().await.expect("read");
            snapshot.messages.iter().map(|m| m.flags.has(SystemFlag::Seen)).collect::<Vec<_>>()
        };
        world.talk(&format!("{LOGIN}RETR 2\r\n")).await;
        assert_eq!(seen().await, [false, false, false], "without QUIT nothing changes");
        world.talk(&format!("{LOGIN}RETR 2\r\nTOP 3 10\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")).await;
        assert_eq!(seen().await, [true, false]);
    }

    /// The list, the names and the answers are those of Dovecot 2.3.
    #[tokio::test]
    async fn unique_ids_are_those_that_dovecot_shows() {
        let world = world(&[]).await;
        let maildir = world.folder.path().join("mail/example.com/alice");
        std::fs::write(maildir.join("cur/1795308606.M217877P8982.vm,S=7,W=10:2,S"), "A: b\n\nx").expect("written");
        std::fs::write(maildir.join("cur/1795308606.M219229P8982.vm,S=7,W=10:2,"), "A: b\n\ny").expect("written");
        let list = "3 V1795308606 N13 G9aa3dc0b3e3c026b1623000083ecc375\n\
                    11 :1795308606.M217877P8982.vm,S=7,W=10\n\
                    12 Pold-uidl_12 :1795308606.M219229P8982.vm,S=7,W=10\n";
        std::fs::write(maildir.join("dovecot-uidlist"), list).expect("written");
        let wanted = format!("{GREETED}+OK \r\n1 0000000b6b023c3e\r\n2 old-uidl_12\r\n.\r\n+OK bye\r\n");
        assert_eq!(world.talk(&format!("{LOGIN}UIDL\r\nQUIT\r\n")).await, wanted);
        world.inbox.append(Content::from_bytes(b"A: b\n\n".to_vec()), Flags::NONE, &[], None).await.expect("appended");
        world.service.store.forget(&maildir);
        assert!(world.talk(&format!("{LOGIN}UIDL 2\r\nQUIT\r\n")).await.contains("+OK 2 old-uidl_12\r\n"));
    }

    #[tokio::test]
    async fn a_large_message_is_sent_piece_by_piece() {
        let line = "x".repeat(998);
        let message = format!("A: b\n\n{}", format!("{line}\n").repeat(2000));
        let world = world(&[message.as_bytes()]).await;
        let replies = world.talk(&format!("{LOGIN}RETR 1\r\nTOP 1 0\r\nQUIT\r\n")).await;
        let wire = message.replace('\n', "\r\n");
        let wanted = format!("{GREETED}+OK {} octets\r\n{wire}.\r\n+OK \r\nA: b\r\n\r\n.\r\n+OK bye\r\n", wire.len());
        assert!(replies == wanted, "{} octets instead of {}", replies.len(), wanted.len());
    }

    #[tokio::test]
    async fn a_message_larger_than_its_name_says_is_not_read_at_once_and_sent_whole() {
        let endless = read_at_once(&mut io::repeat(b'x')).expect("memory");
        assert_eq!(endless.len() as u64, READ_AT_ONCE + 1);
        let world = world(&[]).await;
        let maildir = world.folder.path().join("mail/example.com/alice");
        let message = format!("A: b\n\n{}", format!("{}\n", "x".repeat(998)).repeat(2000));
        std::fs::write(maildir.join("cur/1795308606.M217877P8982.vm,S=7,W=10:2,S"), &message).expect("written");
        let replies = world.talk(&format!("{LOGIN}RETR 1\r\nQUIT\r\n")).await;
        let wire = message.replace('\n', "\r\n");
        let wanted = format!("{GREETED}+OK 10 octets\r\n{wire}.\r\n+OK bye\r\n");
        assert!(replies == wanted, "{} octets instead of {}", replies.len(), wanted.len());
    }

    #[tokio::test]
    async fn a_wrong_password_is_refused() {
        let world = world(&[]).await;
        let replies = world.talk("USER alice\r\nPASS wrong\r\nQUIT\r\n").await;
        assert!(replies.contains("-ERR [AUTH] authentication failed\r\n"), "{replies}");
    }
}
