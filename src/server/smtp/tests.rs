//! Sessions over loopback sockets, with a commit that the test holds.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::SystemTime;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use super::*;
use crate::config;
use crate::delivery::commit::Accepted;
use crate::delivery::commit::CommitError;
use crate::delivery::commit::Pending;
use crate::directory::Destination;
use crate::directory::hash_password;
use crate::dns::Dns;
use crate::mail::address::Address;
use crate::net::Class;
use crate::net::Limiter;
use crate::protocol::smtp::server::Complete;

#[derive(Default)]
struct Kept {
    messages: Mutex<Vec<Accepted>>,
    full: bool,
}

impl Commit for Kept {
    fn commit(&self, message: Accepted) -> Pending<'_, Result<(), CommitError>> {
        Box::pin(async move {
            let bob_too = message.recipients.iter().any(|to| to.address().local() == "bob");
            if message.content.head(100).expect("in memory").starts_with(b"Subject: no room for bob") && bob_too {
                return Err(CommitError::OverQuota);
            }
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
    assert_eq!(codes(&replies), ["220", "250", "250", "250", "550", "554", "250", "354", "250", "221"], "{replies}");
    let messages = world.messages();
    let [message] = messages.as_slice() else { panic!("one message") };
    assert!(replies.contains(&format!("250 2.0.0 {} accepted", message.id)));
    assert_eq!(message.return_path, b"Return-Path: <s@there.example>\n");
    assert!(message.trace.starts_with(b"Received: from c.example ([127.0.0.1])\n\tby mx.example.com with ESMTP id "));
    assert_eq!(message.content.head(100).expect("in memory"), b"Subject: x\n\n.\n");
    let remote = |admitted: &Admitted| matches!(admitted.destinations(), [Destination::Forward(_)]);
    assert_eq!(message.recipients.iter().map(remote).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn lmtp_answers_for_each_recipient_and_relays_nothing() {
    let world = world("\"127.0.0.0/8\"", false);
    let said = "LHLO mx\r\nMAIL FROM:<s@there.example>\r\nRCPT TO:<bob@example.com>\r\n\
        RCPT TO:<v@elsewhere.example>\r\nRCPT TO:<alice@example.com>\r\n\
        DATA\r\nSubject: no room for bob\r\n\r\nx\r\n.\r\nQUIT\r\n";
    let replies = world.talk(Role::Lmtp, said).await;
    assert_eq!(codes(&replies), ["220", "250", "250", "250", "550", "250", "354", "452", "250", "221"], "{replies}");
    let messages = world.messages();
    let [message] = messages.as_slice() else { panic!("one message") };
    assert_eq!(message.recipients[0].address().to_string(), "alice@example.com");
    assert!(replies.contains(&format!("250 2.0.0 {} accepted", message.id)) && message.id.as_str().ends_with("-r1"));
    assert!(String::from_utf8_lossy(&message.trace).contains("with LMTP id"));
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
    assert!(trace.contains("with ESMTPA id"), "{trace}");
    // What was left out stands in the message itself, so that hooks have seen it.
    let content = String::from_utf8(message.content.head(1000).expect("in memory")).expect("text");
    assert!(content.starts_with("Date: ") && content.contains("\nMessage-ID: <"), "{content}");
    assert!(content.ends_with(">\n\nbody\n\n") && !content.contains("Bcc"), "{content}");
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
    let (service, config) = (Arc::clone(&world.service), world.service.config.load_full());
    let session = SessionId::new(Duration::ZERO);
    let mut conversation = Conversation::new(service, config, session, [127, 0, 0, 1].into(), Role::Reception);
    conversation.body = Some(Ok(ContentWriter::new(std::path::PathBuf::new())));
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
