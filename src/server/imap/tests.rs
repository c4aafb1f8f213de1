//! Conversations with a whole server over a loopback connection and a store in a temporary folder.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::*;
use crate::config;
use crate::directory::Directory;
use crate::directory::hash_password;
use crate::mail::secret::Secret;
use crate::net::Class;
use crate::net::Limiter;
use crate::protocol::imap::fragment::Fragment;
use crate::tls::ServerTls;
use crate::tls::Service;
use crate::tls::any_certificate;

/// A server with alice, whose password is `secret`.
struct World {
    address: SocketAddr,
    maildir: PathBuf,
    stop: watch::Sender<bool>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(true).await
    }

    async fn with(plaintext_login: bool) -> Self {
        Self::with_separator(plaintext_login, Separator::default()).await
    }

    async fn with_separator(plaintext_login: bool, separator: Separator) -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let hash = hash_password(&Secret::new("secret".to_owned())).expect("hashed");
        let text = format!(
            "hostname = \"mx.example.com\"\n[[domain]]\nname = \"example.com\"\n[[account]]\n\
             address = \"alice@example.com\"\npassword = \"{hash}\"\n[storage]\nfolder = \"{}\"\n",
            folder.path().display()
        );
        let config = config::parse(Path::new("t.toml"), &text).expect("valid");
        let clock = Clock::system();
        let directory = Directory::new(&config);
        let maildir = config.storage.maildir_of(&config.accounts[0].address.value);
        let directory = Arc::new(ArcSwap::from_pointee(directory));
        let services = Arc::new(Services {
            authenticator: Arc::new(Authenticator::new(directory, clock.clone()).expect("random bytes")),
            store: Store::open(clock.clone()),
            clock: clock.clone(),
            plaintext_login,
            separator,
            disabled: Vec::new(),
            max_message_size: 100_000,
            spill_folder: folder.path().to_owned(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, shutdown) = watch::channel(false);
        let names = ["mx.example.com".to_owned()];
        let tls =
            ServerTls::load(&config.tls, &folder.path().join("keys"), &names, clock.clone()).expect("a certificate");
        let tls = Arc::new(tls);
        let limiter = Limiter::new(config.limits, clock);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let offer = Some((Arc::clone(&tls), Service::Imap));
                let slot = limiter.enter(Class::Mailbox, peer.ip(), true).expect("room");
                let connection = Connection::new(stream, offer, slot).expect("open");
                let id = SessionId::new(Duration::ZERO);
                tokio::spawn(serve(connection, Arc::clone(&services), id, shutdown.clone()));
            }
        });
        Self { address, maildir, stop, _folder: folder }
    }

    async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.expect("listening");
        let mut client = Client { stream, buffer: Vec::new(), tag: 0 };
        let greeting = client.line().await;
        assert!(greeting.starts_with("* OK [CAPABILITY IMAP4rev1 "), "{greeting}");
        client
    }

    async fn alice(&self) -> Client {
        let mut client = self.connect().await;
        client.ok("LOGIN alice secret").await;
        client
    }
}

/// In place of a line, where the server has closed.
const END: &str = "(closed)";

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    tag: u32,
}

impl Client {
    async fn fill(&mut self) -> bool {
        let mut piece = vec![0; 65_536];
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read(&mut piece));
        let n = read.await.expect("an answer in time").unwrap_or(0);
        self.buffer.extend_from_slice(&piece[..n]);
        n > 0
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("sent");
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return String::from_utf8_lossy(&line).trim_end().to_owned();
            }
            if !self.fill().await {
                assert!(self.buffer.is_empty(), "half a line at the end");
                return END.to_owned();
            }
        }
    }

    /// All up to the line that ends the command with this tag.
    async fn until(&mut self, tag: &str) -> String {
        let mut all = String::new();
        loop {
            let line = self.line().await;
            all.push_str(&line);
            all.push('\n');
            if line == END || line.starts_with(&format!("{tag} ")) {
                return all;
            }
        }
    }

    async fn say(&mut self, command: &str) -> String {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.send(&format!("{tag} {command}\r\n")).await;
        self.until(&tag).await.replace(&format!("{tag} "), "")
    }

    async fn ok(&mut self, command: &str) -> String {
        let answer = self.say(command).await;
        assert!(answer.lines().last().is_some_and(|l| l.starts_with("OK")), "{command}: {answer}");
        answer
    }

    /// APPEND with a literal that needs no go-ahead.
    async fn append(&mut self, to: &str, message: &str) -> String {
        self.ok(&format!("APPEND {to} {{{}+}}\r\n{message}", message.len())).await
    }

    /// Every command with what its answer must have, and after `!` what it must not.
    async fn talk(&mut self, dialog: &[(&str, &[&str])]) {
        for (command, wanted) in dialog {
            let answer = self.say(command).await;
            for text in *wanted {
                match text.strip_prefix('!') {
                    Some(text) => assert!(!answer.contains(text), "{command}: no {text:?} in\n{answer}"),
                    None => assert!(answer.contains(text), "{command}: {text:?} in\n{answer}"),
                }
            }
        }
    }
}

const HELLO: &str = "From: A <a@example.com>\r\nTo: b@example.com\r\nSubject: hello\r\n\
    Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nline one\r\nline two\r\n";

#[tokio::test]
async fn before_login() {
    let world = World::new().await;
    let mut c = world.connect().await;
    c.talk(&[
        ("CAPABILITY", &["* CAPABILITY IMAP4rev1", "AUTH=PLAIN", "LITERAL-", "!LITERAL+", "!LOGINDISABLED", "!IDLE"]),
        ("NOOP", &["OK"]),
        ("ID NIL", &["* ID NIL"]),
        ("SELECT INBOX", &["BAD Log in first"]),
        ("LOGIN alice wrong", &["NO [AUTHENTICATIONFAILED]"]),
        ("LOGIN {5+}\r\nalice {6+}\r\nsecret", &["OK [CAPABILITY IMAP4rev1 ", "UIDPLUS", "IDLE", "!STARTTLS"]),
        ("LOGIN alice secret", &["BAD You are logged in already"]),
        ("ID (\"name\" \"x\")", &["* ID (\"name\" \"Facteur\")"]),
        ("ENABLE CONDSTORE X", &["* ENABLED CONDSTORE\n", "OK"]),
        ("NAMESPACE", &["* NAMESPACE ((\"\" \"/\")) NIL NIL"]),
        ("LOGOUT", &["* BYE", "OK"]),
    ])
    .await;
    assert_eq!(c.line().await, END);
}

#[tokio::test]
async fn authenticate() {
    let world = World::new().await;
    let mut c = world.connect().await;
    c.talk(&[
        ("AUTHENTICATE X-NONE", &["NO"]),
        ("AUTHENTICATE PLAIN !!!", &["BAD"]),
        ("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==", &["OK [CAPABILITY"]),
    ])
    .await;
    let mut c = world.connect().await;
    c.send("a AUTHENTICATE LOGIN\r\n").await;
    assert_eq!(c.line().await, "+ VXNlcm5hbWU6");
    c.send("YWxpY2U=\r\n").await;
    assert_eq!(c.line().await, "+ UGFzc3dvcmQ6");
    c.send("c2VjcmV0\r\nb NOOP\r\n").await;
    assert!(c.line().await.starts_with("a OK"));
    assert!(c.line().await.starts_with("b OK"));
    let mut c = world.connect().await;
    c.send("a AUTHENTICATE PLAIN\r\n").await;
    assert_eq!(c.line().await, "+");
    c.send("*\r\n").await;
    assert!(c.line().await.starts_with("a BAD"));
}

#[tokio::test]
async fn without_tls_no_password_is_taken() {
    let world = World::with(false).await;
    let mut c = world.connect().await;
    c.talk(&[
        ("CAPABILITY", &["LOGINDISABLED", "STARTTLS", "!AUTH="]),
        ("LOGIN alice secret", &["NO [PRIVACYREQUIRED]"]),
        ("AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==", &["NO [PRIVACYREQUIRED]"]),
    ])
    .await;
}

#[tokio::test]
async fn starttls() {
    let world = World::with(false).await;
    let mut c = world.connect().await;
    c.send("a STARTTLS\r\n").await;
    assert!(c.line().await.starts_with("a OK"));
    let connector = tokio_rustls::TlsConnector::from(any_certificate().expect("a client"));
    let name = "mx.example.com".try_into().expect("a name");
    let mut tls = connector.connect(name, c.stream).await.expect("a handshake");
    tls.write_all(b"b CAPABILITY\r\nc STARTTLS\r\nd LOGIN alice secret\r\ne STARTTLS\r\nf LOGOUT\r\n")
        .await
        .expect("sent");
    let mut said = String::new();
    tls.read_to_string(&mut said).await.expect("closed in good order");
    assert!(said.starts_with("* CAPABILITY IMAP4rev1") && said.contains("AUTH=PLAIN"), "{said}");
    assert!(!said.contains(" STARTTLS") && !said.contains("LOGINDISABLED"), "{said}");
    assert!(["c BAD", "d OK", "e BAD", "f OK"].iter().all(|a| said.contains(a)), "{said}");
}

/// CVE-2011-0411 and its kin.
#[tokio::test]
async fn what_is_said_before_the_handshake_is_never_done_after_it() {
    let world = World::with(false).await;
    let mut c = world.connect().await;
    c.send("a STARTTLS\r\nb LOGIN alice secret\r\n").await;
    assert_eq!(c.line().await, "* BYE Nothing may follow STARTTLS");
    assert_eq!(c.line().await, END);
}

#[tokio::test]
async fn strangers_are_bounded() {
    let world = World::new().await;
    for (input, answer) in [
        ("a NOPE\r\nb NOPE\r\nc NOPE\r\n".to_owned(), "* BYE Too many bad commands"),
        ("a LOGIN {99999999999999999999+}\r\n".to_owned(), "* BYE Literal too large before login"),
        ("a LOGIN {5000}\r\n".to_owned(), "a BAD [TOOBIG]"),
        (format!("a LOGIN {{2000+}}\r\n{} x\r\n", "x".repeat(2000)), "a BAD [TOOBIG]"),
        ("x".repeat(100_000), "* BYE"),
        ("a NOOP\r\n".repeat(20_000), "* BYE Too much before login"),
        // Too deep to be obeyed, and read no deeper; that nobody has logged in comes first.
        (format!("a SEARCH {}\r\n", "(".repeat(7000)), "a BAD Log in first"),
    ] {
        let mut c = world.connect().await;
        // The server may be gone before all is sent.
        c.stream.write_all(input.as_bytes()).await.ok();
        let mut said = String::new();
        while !said.contains(answer) {
            let line = c.line().await;
            assert_ne!(line, END, "{answer} in {said}");
            said.push_str(&line);
            said.push('\n');
        }
    }
    let mut c = world.connect().await;
    c.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(c.line().await, END);
}

#[tokio::test]
async fn a_mailbox_from_append_to_expunge() {
    let world = World::new().await;
    let mut c = world.alice().await;
    c.talk(&[("FETCH 1 FLAGS", &["BAD No mailbox is selected"])]).await;
    c.append("INBOX", HELLO).await;
    let appended = c.append("INBOX (\\Seen $Forwarded) \"01-Jan-2020 00:00:00 +0000\"", HELLO).await;
    assert!(appended.contains("[APPENDUID "), "{appended}");
    c.talk(&[
        (
            "SELECT INBOX",
            &[
                "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded)",
                "$Forwarded \\*)]",
                "* 2 EXISTS",
                "[UNSEEN 1]",
                "[UIDNEXT 3]",
                "[UIDVALIDITY ",
                "OK [READ-WRITE]",
            ],
        ),
        (
            "FETCH 1:* (UID FLAGS RFC822.SIZE)",
            &["* 1 FETCH (UID 1 FLAGS (", "RFC822.SIZE 140)", "$Forwarded) RFC822.SIZE 140)"],
        ),
        ("FETCH 2 INTERNALDATE", &["INTERNALDATE \"01-Jan-2020 00:00:00 +0000\""]),
        ("UID FETCH 1 BODY.PEEK[TEXT]<5.6>", &["* 1 FETCH (UID 1 BODY[TEXT]<5> {6}\none\nl"]),
        ("FETCH 1 FLAGS", &["!\\Seen"]),
        (
            "FETCH 1 BODY[HEADER.FIELDS (subject)]",
            &["BODY[HEADER.FIELDS (subject)] {18}\nSubject: hello\n\n FLAGS (", "\\Seen"],
        ),
        (
            "FETCH 1 ENVELOPE",
            &[
                "ENVELOPE (\"Sat, 21 Nov 2026 10:00:00 +0000\" \"hello\" ((\"A\" NIL \"a\" \"example.com\"))",
                "\"<1@x>\")",
            ],
        ),
        (
            "FETCH 1 BODYSTRUCTURE",
            &["BODYSTRUCTURE (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 20 2 NIL NIL NIL NIL)"],
        ),
        ("FETCH 1 BODY[1]", &["BODY[1] {20}\nline one"]),
        ("FETCH 1 BODY[2]", &["BODY[2] NIL"]),
        ("FETCH 1 RFC822.HEADER", &["RFC822.HEADER {120}"]),
        ("FETCH 9 FLAGS", &["!FETCH (", "BAD"]),
        ("FETCH 1 ALL", &["ENVELOPE"]),
        ("FETCH 1 NOPE", &["BAD"]),
        ("SEARCH SUBJECT HELLO", &["* SEARCH 1 2\n"]),
        ("UID SEARCH BODY \"line two\" KEYWORD $forwarded", &["* SEARCH 2\n"]),
        ("SEARCH UNSEEN", &["* SEARCH\n"]),
        ("SEARCH BEFORE 1-Jan-2021", &["* SEARCH 2\n"]),
        ("SEARCH LARGER 139 SMALLER 141 1:*", &["* SEARCH 1 2\n"]),
        ("SEARCH CHARSET X-NONE ALL", &["NO [BADCHARSET (UTF-8 US-ASCII)]"]),
        ("STORE 1 +FLAGS (\\Flagged NewWord)", &["NewWord", "* 1 FETCH (FLAGS (", "\\Flagged"]),
        ("UID STORE 1 -FLAGS.SILENT (\\Flagged)", &["!FETCH"]),
        ("STORE 2 FLAGS (\\Deleted)", &["* 2 FETCH (FLAGS (", "\\Deleted", "!$Forwarded))"]),
        ("UID EXPUNGE 1", &["!EXPUNGE\n* ", "OK"]),
        ("EXPUNGE", &["* 2 EXPUNGE"]),
        (
            "STATUS INBOX (MESSAGES UIDNEXT UNSEEN RECENT)",
            &["* STATUS \"INBOX\" (MESSAGES 1 UIDNEXT 3 UNSEEN 0 RECENT "],
        ),
        ("CHECK", &["OK"]),
        ("STORE 1 +FLAGS.SILENT (\\Deleted)", &["!FETCH", "OK"]),
        ("CLOSE", &["!EXPUNGE", "OK"]),
        ("EXAMINE INBOX", &["* 0 EXISTS", "[PERMANENTFLAGS ()]", "OK [READ-ONLY]"]),
        ("UID STORE 1:* FLAGS (x)", &["NO [READ-ONLY]"]),
        ("EXPUNGE", &["NO [READ-ONLY]"]),
        ("UNSELECT", &["OK"]),
        ("SELECT nowhere", &["NO [NONEXISTENT]"]),
        ("SELECT ../etc", &["NO [CANNOT]"]),
    ])
    .await;
}

#[tokio::test]
async fn appends_are_checked_before_they_are_sent() {
    let world = World::new().await;
    let mut c = world.alice().await;
    c.talk(&[
        ("APPEND INBOX {100001}", &["NO [TOOBIG]", "!+ "]),
        ("APPEND nowhere {10}", &["NO [TRYCREATE]", "!+ "]),
        ("APPEND ../x {10}", &["NO [CANNOT]"]),
        ("APPEND nowhere {3+}\r\nabc", &["NO [TRYCREATE]"]),
        ("APPEND INBOX", &["BAD"]),
        ("APPEND INBOX {3+}\r\nabc def", &["BAD APPEND takes flags, a date and a literal"]),
        ("APPEND {5+}\r\nINBOX (\\Seen) {5+}\r\nabc\r\n", &["OK [APPENDUID "]),
        ("NOOP", &["OK"]),
        ("STATUS INBOX (MESSAGES)", &["(MESSAGES 1)"]),
    ])
    .await;
    c.send("a APPEND INBOX {5}\r\n").await;
    assert!(c.line().await.starts_with("+ "));
    c.send("x\r\nyz\r\n").await;
    assert!(c.line().await.starts_with("a OK [APPENDUID "));
    let file = std::fs::read_dir(world.maildir.join("cur")).expect("Maildir").count();
    let new = std::fs::read_dir(world.maildir.join("new")).expect("Maildir").count();
    assert_eq!(file + new, 2);
    c.ok("SELECT INBOX").await;
    c.talk(&[("FETCH 1:2 BODY.PEEK[]", &["{5}\nabc\n)", "{5}\nx\nyz)"])]).await;
}

#[tokio::test]
async fn mailboxes_with_dots_between_the_parts_of_their_names() {
    let world = World::with_separator(true, Separator::Dot).await;
    let mut c = world.alice().await;
    c.talk(&[
        ("LIST \"\" \"\"", &["* LIST (\\Noselect) \".\" \"\""]),
        ("NAMESPACE", &["* NAMESPACE ((\"\" \".\")) NIL NIL"]),
        ("CREATE Work.2019.", &["OK"]),
        ("CREATE \"v1\\\\2e2\"", &["OK"]),
        ("CREATE a/b", &["NO [CANNOT]"]),
        ("CREATE a..b", &["NO [CANNOT]"]),
        ("LIST \"\" W%", &["(\\Noselect \\HasChildren) \".\" \"Work\"", "!2019"]),
        ("LIST Work. %", &["\".\" \"Work.2019\""]),
        ("LIST \"\" v*", &["\".\" \"v1\\\\2e2\"", "!Work"]),
        ("SUBSCRIBE Work.2019", &["OK"]),
        ("LSUB \"\" *.%", &["* LSUB () \".\" \"Work.2019\""]),
        ("RENAME Work Old.Work", &["OK"]),
        ("STATUS Old.Work.2019 (MESSAGES)", &["* STATUS \"Old.Work.2019\" (MESSAGES 0)"]),
        ("APPEND Old.Work.2019 {3+}\r\na\r\n", &["OK [APPENDUID "]),
        ("SELECT Old.Work.2019", &["* 1 EXISTS"]),
        ("COPY 1 inbox.Sub", &["NO [TRYCREATE]"]),
    ])
    .await;
    assert!(world.maildir.join(".Old.Work.2019/cur").is_dir() && world.maildir.join(".v1\\2e2/cur").is_dir());
}

#[tokio::test]
async fn mailboxes() {
    let world = World::new().await;
    let mut c = world.alice().await;
    c.talk(&[
        ("LIST \"\" \"\"", &["* LIST (\\Noselect) \"/\" \"\""]),
        (
            "LIST \"\" *",
            &[
                "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent\"",
                "\"INBOX\"",
                "\\Drafts",
                "\\Trash",
                "\\Junk",
                "\\Archive",
            ],
        ),
        ("CREATE \"Entw&APw-rfe/Alt\"", &["OK"]),
        ("CREATE Sent", &["NO [ALREADYEXISTS]"]),
        ("LIST \"\" \"Entw*\"", &["(\\Noselect \\HasChildren) \"/\" \"Entw&APw-rfe\"", "\"Entw&APw-rfe/Alt\""]),
        ("LIST \"\" %", &["!Alt", "\"INBOX\""]),
        ("LIST \"Entw&APw-rfe/\" %", &["Alt", "!INBOX"]),
        ("LIST (SPECIAL-USE) \"\" *", &["Sent", "!INBOX"]),
        ("SUBSCRIBE \"Entw&APw-rfe/Alt\"", &["OK"]),
        ("LSUB \"\" %", &["* LSUB (\\Noselect) \"/\" \"Entw&APw-rfe\"", "!Alt"]),
        ("LSUB \"\" *", &["* LSUB () \"/\" \"Entw&APw-rfe/Alt\"", "!Noselect"]),
        ("LIST (SUBSCRIBED) \"\" *", &["\\Subscribed", "Alt"]),
        ("LIST (SUBSCRIBED RECURSIVEMATCH) \"\" Entw%", &["(\"CHILDINFO\" (\"SUBSCRIBED\"))"]),
        (
            "LIST \"\" (INBOX Sent) RETURN (SPECIAL-USE STATUS (MESSAGES))",
            &["\"INBOX\"\n* STATUS \"INBOX\" (MESSAGES 0)\n", "* STATUS \"Sent\" (MESSAGES 0)\n"],
        ),
        ("RENAME \"Entw&APw-rfe/Alt\" Neu", &["OK"]),
        ("RENAME Neu INBOX", &["NO ["]),
        ("UNSUBSCRIBE Neu", &["OK"]),
        ("DELETE Neu", &["OK"]),
        ("DELETE Neu", &["NO [NONEXISTENT]"]),
        ("DELETE INBOX", &["NO [CANNOT]"]),
        ("STATUS Neu (MESSAGES)", &["NO [NONEXISTENT]"]),
    ])
    .await;
}

#[tokio::test]
async fn copy_and_move() {
    let world = World::new().await;
    let mut c = world.alice().await;
    for _ in 0..3 {
        c.append("INBOX", HELLO).await;
    }
    c.talk(&[
        ("SELECT INBOX", &["* 3 EXISTS"]),
        ("COPY 1:2 Archive", &["OK [COPYUID ", " 1:2 1:2]"]),
        ("UID COPY 99 Archive", &["OK Copied"]),
        ("UID MOVE 99 Archive", &["OK Moved"]),
        ("COPY 1 nowhere", &["NO [TRYCREATE]"]),
        ("MOVE 2 Trash", &["* OK [COPYUID ", " 2 1] Moved\n* 2 EXPUNGE\n"]),
        ("MOVE 1 INBOX", &["* OK [COPYUID ", " 1 4] Moved\n* 1 EXPUNGE\n"]),
        ("STATUS Archive (MESSAGES)", &["MESSAGES 2"]),
        ("STATUS Trash (MESSAGES)", &["MESSAGES 1"]),
        ("UID FETCH 1:* FLAGS", &["* 1 FETCH (UID 3", "* 2 FETCH (UID 4"]),
    ])
    .await;
}

#[tokio::test]
async fn two_sessions_see_each_other() {
    let world = World::new().await;
    let (mut a, mut b) = (world.alice().await, world.alice().await);
    a.append("INBOX", HELLO).await;
    a.append("INBOX", HELLO).await;
    a.talk(&[("SELECT INBOX", &["* 2 RECENT"])]).await;
    b.talk(&[("SELECT INBOX", &["* 2 EXISTS", "* 0 RECENT"])]).await;
    a.ok("STORE 1 +FLAGS.SILENT (\\Deleted Word)").await;
    b.talk(&[("NOOP", &["* FLAGS (", "Word", "* 1 FETCH (UID 1 FLAGS (\\Deleted Word))"])]).await;
    a.talk(&[("EXPUNGE", &["* 1 EXPUNGE"])]).await;
    b.talk(&[
        // Numbers may not change now (RFC 3501 §7.4.1).
        ("FETCH 1:2 FLAGS", &["!EXPUNGE\n", "* 2 FETCH (", "NO [EXPUNGEISSUED]"]),
        ("NOOP", &["* 1 EXPUNGE"]),
        ("FETCH 1 UID", &["* 1 FETCH (UID 2)"]),
    ])
    .await;
    b.send("i IDLE\r\n").await;
    assert!(b.line().await.starts_with("+ "));
    a.append("INBOX", HELLO).await;
    assert_eq!(b.line().await, "* 2 EXISTS");
    assert!(b.line().await.ends_with(" RECENT"));
    // iOS and macOS send more behind DONE at once.
    b.send("DONE\r\nj NOOP\r\nk FETCH 2 UID\r\n").await;
    let rest = b.until("k").await;
    assert!(rest.contains("i OK") && rest.contains("j OK") && rest.contains("* 2 FETCH (UID 3)"), "{rest}");
    a.ok("DELETE Archive").await;
    b.ok("SELECT Trash").await;
    a.ok("DELETE Trash").await;
    let end = b.say("NOOP").await;
    assert!(end.contains("* BYE"), "{end}");
}

#[tokio::test]
async fn what_other_programs_do_is_seen() {
    let world = World::new().await;
    let mut c = world.alice().await;
    c.ok("SELECT INBOX").await;
    std::fs::write(world.maildir.join("new/1.foreign.host"), "Subject: x\n\nfrom outside\n").expect("written");
    c.talk(&[
        ("NOOP", &["* 1 EXISTS", "* 1 RECENT"]),
        ("FETCH 1 (RFC822.SIZE BODY[])", &["RFC822.SIZE 28", "BODY[] {28}", "\\Seen"]),
    ])
    .await;
}

#[tokio::test]
async fn pipelined_and_cut_anywhere() {
    let world = World::new().await;
    let dialog = "a LOGIN {5+}\r\nalice {6+}\r\nsecret\r\nb SELECT INBOX\r\nc APPEND INBOX {5+}\r\n\r\nabc\r\nd NOOP\r\ne SEARCH \
        TEXT {1+}\r\nc\r\nf IDLE\r\nDONE\r\ng UID FETCH 1:* BODY.PEEK[]\r\nh LOGOUT\r\n";
    for cut in (0..dialog.len()).step_by(7) {
        let mut c = world.connect().await;
        c.send(&dialog[..cut]).await;
        c.stream.flush().await.expect("flushed");
        tokio::task::yield_now().await;
        c.send(&dialog[cut..]).await;
        let mut all = String::new();
        while !all.contains("\nh ") {
            let line = c.line().await;
            assert_ne!(line, END, "cut at {cut}: {all}");
            all.push_str(&line);
            all.push('\n');
        }
        for tag in ["a OK", "b OK", "c OK", "d OK", "e OK", "f OK", "g OK", "h OK"] {
            assert!(all.contains(&format!("\n{tag}")) || all.starts_with(tag), "{tag}, cut at {cut}: {all}");
        }
        assert!(!all.contains("* SEARCH\n"), "{all}");
    }
}

#[tokio::test]
async fn many_messages_and_large_answers() {
    let world = World::new().await;
    let mut c = world.alice().await;
    let body = format!("Subject: big\r\n\r\n{}", "0123456789\r\n".repeat(4000));
    for _ in 0..20 {
        c.append("INBOX", &body).await;
    }
    c.ok("SELECT INBOX").await;
    let answer = c.ok("FETCH 1:* (UID RFC822.SIZE BODY[])").await;
    assert_eq!(answer.matches(&format!("BODY[] {{{}}}", body.len())).count(), 20);
    assert_eq!(answer.matches(&format!("RFC822.SIZE {}", body.len())).count(), 20);
    assert_eq!(answer.matches("0123456789").count(), 80_000);
    let headers = c.ok("FETCH 1:* BODY.PEEK[HEADER]").await;
    assert_eq!(headers.matches("BODY[HEADER] {16}").count(), 20);
    c.talk(&[("SEARCH BODY 9876543210", &["* SEARCH\n"]), ("SEARCH 3:5 BODY 6789", &["* SEARCH 3 4 5\n"])]).await;
}

#[tokio::test]
async fn the_end_of_the_server_is_told() {
    let world = World::new().await;
    let mut c = world.alice().await;
    c.send("i IDLE\r\n").await;
    assert!(c.line().await.starts_with("+ "));
    world.stop.send_replace(true);
    assert_eq!(c.line().await, "* BYE Server is going down");
    assert_eq!(c.line().await, END);
}

#[tokio::test]
async fn who_waits_is_told_of_progress_and_what_it_sends_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("listening");
    let (stream, peer) = listener.accept().await.expect("a connection");
    let folder = tempfile::tempdir().expect("temporary folder");
    let text = format!("hostname = \"mx.example.com\"\n[storage]\nfolder = \"{}\"\n", folder.path().display());
    let limits = config::parse(Path::new("t.toml"), &text).expect("valid").limits;
    let slot = Limiter::new(limits, Clock::system()).enter(Class::Mailbox, peer.ip(), true).expect("room");
    let (_stop, shutdown) = watch::channel(false);
    let mut wire = wire::Wire::new(Connection::new(stream, None, slot).expect("open"), shutdown);
    client.write_all(b"a NOOP\r\n").await.expect("sent");
    let mut told = 0;
    let work = tokio::time::sleep(Duration::from_millis(120));
    wire.attend_telling(work, Duration::from_millis(20), |out| {
        told += 1;
        out.untagged("OK [INPROGRESS]");
    })
    .await
    .expect("the client is there");
    assert!((1..=6).contains(&told), "{told}");
    let mut seen = vec![0; 19 * told];
    client.read_exact(&mut seen).await.expect("sent");
    assert_eq!(String::from_utf8_lossy(&seen), "* OK [INPROGRESS]\r\n".repeat(told));
    assert!(matches!(wire.fragments.next_fragment(), Fragment::Command(line) if line == b"a NOOP"));
}

/// A mailbox of 1500 messages, of which each seventh is a reply to the one seven before.
async fn many() -> (World, Client) {
    let world = World::new().await;
    let mut c = world.alice().await;
    for n in 1..=1500_u32 {
        let parent = n.checked_sub(7).filter(|parent| *parent > 0);
        let refers = parent.map_or(String::new(), |parent| format!("In-Reply-To: <{parent}@x>\n"));
        let message =
            format!("Message-ID: <{n}@x>\n{refers}Subject: of {}\nDate: 1 Jan 2001\n\nbody {}\n", n % 7, n % 10);
        let name = format!("1700000000.M{n}P1Q1.x:2,{}", if n.is_multiple_of(400) { "F" } else { "S" });
        std::fs::write(world.maildir.join("cur").join(name), message).expect("written");
    }
    c.talk(&[("SELECT INBOX", &["* 1500 EXISTS"])]).await;
    (world, c)
}

#[tokio::test]
async fn what_is_found_at_the_ends_is_what_is_there() {
    let (_world, mut c) = many().await;
    for (keys, found) in [
        ("ALL", (1..=1500).collect::<Vec<u32>>()),
        ("FLAGGED", vec![400, 800, 1200]),
        ("BODY \"body 5\"", (1..=1500).filter(|n| n % 10 == 5).collect()),
        ("SUBJECT \"of 3\" 700:900", (700..=900).filter(|n| n % 7 == 3).collect()),
        ("BODY \"body 9\" FLAGGED", vec![]),
        ("SUBJECT \"of 1\" FLAGGED", vec![400]),
    ] {
        let last = found.len().saturating_sub(1);
        let part =
            |from: usize, to: usize| -> Vec<u32> { found.get(from..to.min(found.len())).unwrap_or(&[]).to_vec() };
        let set = |part: &[u32]| match part {
            [] => "NIL".to_owned(),
            part => crate::protocol::imap::syntax::set::Ranges::from_ascending(part.iter().copied()).to_text(),
        };
        let answer = |data: String| format!("* ESEARCH (TAG \"t\"){data}\n");
        let ends = found.first().map_or(String::new(), |first| format!(" MIN {first} MAX {}", found[last]));
        for (options, data) in [
            ("MIN MAX", ends),
            ("MIN", found.first().map_or(String::new(), |first| format!(" MIN {first}"))),
            ("MAX", found.last().map_or(String::new(), |last| format!(" MAX {last}"))),
            ("COUNT", format!(" COUNT {}", found.len())),
            ("PARTIAL 3:2", format!(" PARTIAL (3:2 {})", set(&part(1, 3)))),
            ("PARTIAL -2:-3", {
                let count = found.len();
                format!(" PARTIAL (-2:-3 {})", set(&part(count.saturating_sub(3), count.saturating_sub(1))))
            }),
        ] {
            c.send(&format!("t SEARCH RETURN ({options}) {keys}\r\n")).await;
            let said = c.until("t").await;
            assert!(said.starts_with(&answer(data.clone())), "{options} {keys}: {data}\n{said}");
        }
    }
}

#[tokio::test]
async fn what_is_kept_of_headers_sorts_and_threads_as_the_files_do() {
    let (_world, mut c) = many().await;
    let by_subject = c.ok("SORT (SUBJECT) UTF-8 ALL").await;
    let expected: Vec<String> =
        (0..7_u32).flat_map(|rest| (1..=1500).filter(move |n| n % 7 == rest)).map(|n: u32| n.to_string()).collect();
    assert!(by_subject.starts_with(&format!("* SORT {}\n", expected.join(" "))), "{by_subject}");
    let threads = c.ok("THREAD REFS UTF-8 ALL").await;
    let chain = |first: u32| (0..).map(move |n| first + 7 * n).take_while(|n| *n <= 1500).map(|n| n.to_string());
    // The one with the latest message comes last; of the same second, that which is last in the mailbox.
    let order = [3, 4, 5, 6, 7, 1, 2].map(|first| format!("({})", chain(first).collect::<Vec<_>>().join(" ")));
    assert!(threads.starts_with(&format!("* THREAD {}\n", order.concat())), "{threads}");
    for (command, before) in [("SORT (SUBJECT) UTF-8 ALL", by_subject), ("THREAD REFS UTF-8 ALL", threads)] {
        assert_eq!(c.ok(command).await, before);
    }
}
