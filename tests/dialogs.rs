//! Conversations with the real server, as text: `tests/dialogs/<service>/*.txt`, each for one command or extension.
//!
//! ```text
//! # RFC 3501 §6.4.5: a comment; the first line names what the server obeys here
//! @ strict            the server that wants TLS before a login (the other one does not)
//! @*3 mail            three messages are in the inbox of <<user>>
//! @ stop              the server is told to end, of which only its own test makes use
//! @2 imaps            connection 2 goes to this port (without it, to that of the folder)
//! C: a LOGIN <<user>> secret          the client says; lines in a row travel in one packet
//! S: a OK ...                         the server says exactly this; `...` stands for anything
//! S: * OK [UIDVALIDITY <<v>>] ...     a name not known yet takes letters and digits, and keeps them
//! C2: b NOOP                          connection 2, which opens when it is first named
//! C*3: NOOP                           three times; the same with S
//! S: <<closed>>                       the server closes
//! C: <<tls>>                          the handshake
//! ```
//!
//! `<<user>>` and `<<other>>` are accounts of this dialog alone, `<<user64>>` and `<<plain>>` what AUTH wants of them,
//! `<<a*1000>>` a thousand times `a`, `<<lf>>`, `<<cr>>`, `<<nul>>` and `<<e9>>` single octets. Anything that the server
//! says and no line expects fails the dialog.

mod common;

use std::collections::HashMap;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::process::Signal;
use rustls::ClientConnection;
use rustls::StreamOwned;

/// How long an answer may take: a machine under load is slow, a server that hangs is slower.
const PATIENCE: Duration = Duration::from_secs(20);

/// Accounts of a server; each dialog has two of its own.
const ACCOUNTS: usize = 400;

/// A server whose accounts are given out.
struct Server {
    running: common::server::Server,
    /// Accounts that dialogs took.
    taken: AtomicUsize,
}

impl Server {
    fn start(more: &[&str]) -> Self {
        let accounts = format!("user1..user{ACCOUNTS}");
        let args = [&["--unlimited", "--accounts", &accounts], more].concat();
        Self { running: common::server::Server::try_out(&args), taken: AtomicUsize::new(0) }
    }

    fn plain() -> Self {
        Self::start(&["--plaintext-login"])
    }

    /// Without leave to log in over a connection in clear.
    fn strict() -> Self {
        Self::start(&[])
    }

    fn address(&self, service: &str) -> (&'static str, u16) {
        let known = common::server::PORTS.iter().find(|(_, name, _)| *name == service);
        let name = known.unwrap_or_else(|| panic!("no service {service}")).0;
        ("127.0.0.1", self.running.port(name))
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn tls(stream: TcpStream) -> Self {
        let config = facteur::tls::any_certificate().expect("the provider is built in");
        let name = "mail.example.test".try_into().expect("a name");
        let client = ClientConnection::new(config, name).expect("valid settings");
        Self::Tls(Box::new(StreamOwned::new(client, stream)))
    }

    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

struct Connection {
    stream: Stream,
    heard: Vec<u8>,
    unsent: Vec<u8>,
}

/// What a connection gave.
enum Heard {
    Line(String),
    Closed,
    Nothing,
}

impl Connection {
    fn open(server: &Server, service: &str) -> Self {
        let tcp = TcpStream::connect(server.address(service)).expect("the server listens");
        tcp.set_read_timeout(Some(PATIENCE)).expect("a socket");
        tcp.set_nodelay(true).expect("a socket");
        let stream = if service.ends_with('s') { Stream::tls(tcp) } else { Stream::Plain(tcp) };
        Self { stream, heard: Vec::new(), unsent: Vec::new() }
    }

    fn send(&mut self) {
        let bytes = std::mem::take(&mut self.unsent);
        // Who closed in the middle is found out by what is heard next.
        if !bytes.is_empty() {
            self.stream.write_all(&bytes).ok();
        }
    }

    fn line(&mut self) -> Heard {
        self.send();
        loop {
            if let Some(end) = self.heard.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line).into_owned();
                // A line that does not end with CRLF shows it.
                return Heard::Line(text.strip_suffix("\r\n").map_or(text.clone(), str::to_owned));
            }
            let mut piece = [0; 65_536];
            match self.stream.read(&mut piece) {
                Ok(0) => return self.closed(),
                Ok(n) => self.heard.extend_from_slice(&piece[..n]),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Heard::Nothing,
                Err(_) => return self.closed(),
            }
        }
    }

    fn closed(&mut self) -> Heard {
        if self.heard.is_empty() {
            return Heard::Closed;
        }
        Heard::Line(format!("{} (and no end of line)", String::from_utf8_lossy(&std::mem::take(&mut self.heard))))
    }

    fn start_tls(&mut self) {
        self.send();
        assert!(self.heard.is_empty(), "something was said before the handshake");
        let tcp = self.stream.tcp().try_clone().expect("a socket");
        self.stream = Stream::tls(tcp);
    }
}

/// One conversation while it is held.
struct Dialog<'a> {
    server: &'a Server,
    service: &'a str,
    services: HashMap<String, String>,
    connections: HashMap<String, Connection>,
    names: HashMap<String, String>,
    transcript: String,
}

type Outcome = Result<(), String>;

impl<'a> Dialog<'a> {
    fn new(server: &'a Server, service: &'a str) -> Self {
        let first = server.taken.fetch_add(2, Ordering::Relaxed) + 1;
        assert!(first < ACCOUNTS, "more accounts are needed");
        let (user, other) = (format!("user{first}"), format!("user{}", first + 1));
        let base64 = |text: &str| data_encoding::BASE64.encode(text.as_bytes());
        let names = [
            ("user64", base64(&user)),
            ("plain", base64(&format!("\0{user}\0secret"))),
            ("wrong", base64(&format!("\0{user}\0wrong"))),
            ("user", user),
            ("other", other),
        ];
        Self {
            server,
            service,
            services: HashMap::new(),
            connections: HashMap::new(),
            names: names.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            transcript: String::new(),
        }
    }

    fn hold(&mut self, text: &str) -> Outcome {
        for line in text.lines() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            self.transcript.push_str(&format!("    {line}\n"));
            let (head, rest) = line.split_once([':', ' ']).ok_or("not a line of a dialog")?;
            let (who, times) = head.split_once('*').unwrap_or((head, "1"));
            let times: usize = times.parse().map_err(|_| "a number is expected after *")?;
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let connection = who.get(1..).unwrap_or_default();
            for _ in 0..times {
                match who.as_bytes().first() {
                    Some(b'@') if rest == "strict" => {}
                    Some(b'@') if rest == "mail" => self.append(),
                    Some(b'@') if rest == "stop" => self.server.running.signal(Signal::TERM),
                    Some(b'@') => drop(self.services.insert(connection.to_owned(), rest.to_owned())),
                    Some(b'C') => self.client(connection, rest)?,
                    Some(b'S') => self.server(connection, rest)?,
                    _ => return Err("not a line of a dialog".to_owned()),
                }
            }
        }
        self.end()
    }

    /// One more message for the user: 50 octets on the wire.
    fn append(&mut self) {
        let mut connection = Connection::open(self.server, "imap");
        let message = "From: a@b.example\r\nSubject: x\r\n\r\nline 1\r\n.line 2\r\n";
        let length = message.len();
        let said = format!("a LOGIN {} secret\r\nb APPEND INBOX {{{length}+}}\r\n{message}\r\n", self.names["user"]);
        connection.unsent.extend_from_slice(said.as_bytes());
        loop {
            match connection.line() {
                Heard::Line(line) if line.starts_with("b OK") => return,
                Heard::Line(_) => {}
                Heard::Closed | Heard::Nothing => panic!("the message was not taken"),
            }
        }
    }

    fn connection(&mut self, name: &str) -> &mut Connection {
        let service = self.services.get(name).map_or(self.service, String::as_str);
        self.connections.entry(name.to_owned()).or_insert_with(|| Connection::open(self.server, service))
    }

    fn client(&mut self, connection: &str, line: &str) -> Outcome {
        if line == "<<tls>>" {
            self.connection(connection).start_tls();
            return Ok(());
        }
        let mut bytes = Vec::new();
        for part in parts(line) {
            match part {
                Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
                Part::Anything => bytes.extend_from_slice(b"..."),
                Part::Name(name) => bytes.extend(self.octets(name).ok_or_else(|| format!("<<{name}>> is not known"))?),
            }
        }
        bytes.extend_from_slice(b"\r\n");
        self.connection(connection).unsent.extend(bytes);
        Ok(())
    }

    fn octets(&self, name: &str) -> Option<Vec<u8>> {
        if let Some(value) = self.names.get(name) {
            return Some(value.clone().into_bytes());
        }
        if let Some((text, times)) = name.rsplit_once('*') {
            return Some(text.repeat(times.parse().ok()?).into_bytes());
        }
        Some(vec![match name {
            "lf" => b'\n',
            "cr" => b'\r',
            "nul" => 0,
            "e9" => 0xe9,
            _ => return None,
        }])
    }

    fn server(&mut self, connection: &str, wanted: &str) -> Outcome {
        // What another connection was to say comes first.
        for other in self.connections.values_mut() {
            other.send();
        }
        let heard = self.connection(connection).line();
        match heard {
            Heard::Closed if wanted == "<<closed>>" => Ok(()),
            Heard::Line(line) if wanted != "<<closed>>" && matches(&parts(wanted), &line, &mut self.names) => Ok(()),
            Heard::Line(line) => Err(format!("the server said\n  S: {line}{}", self.rest(connection))),
            Heard::Closed => Err("the server closed".to_owned()),
            Heard::Nothing => Err("the server said nothing".to_owned()),
        }
    }

    /// What else the server says, to make a failure clear.
    fn rest(&mut self, connection: &str) -> String {
        let connection = self.connection(connection);
        connection.stream.tcp().set_read_timeout(Some(Duration::from_millis(300))).ok();
        let mut rest = String::new();
        for _ in 0..50 {
            match connection.line() {
                Heard::Line(line) => rest.push_str(&format!("\n  S: {line}")),
                Heard::Closed => return rest + "\n  S: <<closed>>",
                Heard::Nothing => return rest,
            }
        }
        rest
    }

    /// The client goes, and nothing may be left that was said.
    fn end(&mut self) -> Outcome {
        for (name, connection) in &mut self.connections {
            connection.send();
            connection.stream.tcp().shutdown(Shutdown::Write).ok();
            match connection.line() {
                Heard::Closed => {}
                Heard::Line(line) => {
                    return Err(format!("at its end the server said on connection {name:?}\n  S: {line}"));
                }
                Heard::Nothing => return Err("the server does not close".to_owned()),
            }
        }
        Ok(())
    }
}

/// A part of a line.
enum Part<'a> {
    Text(&'a str),
    Anything,
    Name(&'a str),
}

fn parts(line: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = line;
    loop {
        // Of `<<<` the last two count: `FROM:<<<user>>@example.test>`.
        let name = rest.find("<<").map(|at| if rest[at..].starts_with("<<<") { at + 1 } else { at });
        let any = rest.find("...");
        let next = match (any, name) {
            (Some(any), Some(name)) => any.min(name),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => rest.len(),
        };
        if next > 0 {
            parts.push(Part::Text(&rest[..next]));
        }
        if next == rest.len() {
            return parts;
        }
        if Some(next) == any {
            parts.push(Part::Anything);
            rest = &rest[next + 3..];
        } else {
            let end = rest.find(">>").unwrap_or_else(|| panic!("no end of << in {line:?}"));
            parts.push(Part::Name(&rest[next + 2..end]));
            rest = &rest[end + 2..];
        }
    }
}

/// Whether a line is what these parts say; names that were not known are then.
fn matches(parts: &[Part<'_>], line: &str, names: &mut HashMap<String, String>) -> bool {
    match parts {
        [] => line.is_empty(),
        [Part::Text(text), rest @ ..] => line.strip_prefix(text).is_some_and(|line| matches(rest, line, names)),
        [Part::Anything] => true,
        [Part::Anything, rest @ ..] => {
            line.char_indices().any(|(at, _)| matches(rest, &line[at..], names)) || matches(rest, "", names)
        }
        [Part::Name(name), rest @ ..] => {
            if let Some(value) = names.get(*name).cloned() {
                return line.strip_prefix(&value).is_some_and(|line| matches(rest, line, names));
            }
            let end = line.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(line.len());
            if end == 0 || !matches(rest, &line[end..], names) {
                return false;
            }
            names.insert((*name).to_owned(), line[..end].to_owned());
            true
        }
    }
}

fn folder(service: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs").join(service)
}

/// The dialogs of a service: name and text.
fn dialogs(service: &str) -> Vec<(String, String)> {
    let mut dialogs: Vec<(String, String)> = std::fs::read_dir(folder(service))
        .expect("the folder is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .map(|path| {
            let name = format!("{service}/{}", path.file_name().expect("a file").to_string_lossy());
            (name, std::fs::read_to_string(&path).expect("text"))
        })
        .collect();
    dialogs.sort();
    dialogs
}

/// Holds all dialogs of a service, some at once, and shows those that fail.
fn hold_all(service: &str) {
    let dialogs = dialogs(service);
    assert!(dialogs.len() > 5, "the dialogs are gone");
    let plain = Server::plain();
    let strict = OnceLock::new();
    let failures = Mutex::new(String::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((name, text)) = dialogs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let is_strict = text.lines().any(|line| line == "@ strict");
                    let server = if is_strict { strict.get_or_init(Server::strict) } else { &plain };
                    let failure = hold(server, service, name, text);
                    failures.lock().expect("no panic while locked").push_str(&failure);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic while locked");
    assert!(failures.is_empty(), "{failures}");
}

/// Holds a dialog; the words of its failure, or none.
fn hold(server: &Server, service: &str, name: &str, text: &str) -> String {
    let mut dialog = Dialog::new(server, service);
    match dialog.hold(text) {
        Ok(()) => String::new(),
        Err(error) => format!("\n{name}:\n{}  where {error}\n", dialog.transcript),
    }
}

#[test]
fn smtp() {
    hold_all("smtp");
}

#[test]
fn submission() {
    hold_all("submission");
}

#[test]
fn imap() {
    hold_all("imap");
}

#[test]
fn pop3() {
    hold_all("pop3");
}

#[test]
fn every_dialog_names_what_it_obeys() {
    for service in ["smtp", "submission", "imap", "pop3"] {
        for (name, text) in dialogs(service) {
            let first = text.lines().next().unwrap_or_default();
            assert!(first.starts_with("# RFC ") && first.contains('§'), "{name}: {first}");
        }
    }
}

/// All that is announced, and where. What is new here has a dialog, named after it or naming it.
const ANNOUNCED: [(&str, &str, &[&str]); 9] = [
    (
        "smtp",
        "plain",
        &[
            "PIPELINING",
            "SIZE 52428800",
            "STARTTLS",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "DSN",
            "LIMITS RCPTMAX=100",
        ],
    ),
    (
        "submission",
        "plain",
        &[
            "PIPELINING",
            "SIZE 52428800",
            "STARTTLS",
            "AUTH PLAIN LOGIN",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "DSN",
            "LIMITS RCPTMAX=1000",
        ],
    ),
    (
        "submissions",
        "strict",
        &[
            "PIPELINING",
            "SIZE 52428800",
            "AUTH PLAIN LOGIN",
            "ENHANCEDSTATUSCODES",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "DSN",
            "LIMITS RCPTMAX=1000",
            "REQUIRETLS",
        ],
    ),
    (
        "pop3",
        "plain",
        &["TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "USER", "SASL PLAIN LOGIN", "STLS"],
    ),
    ("pop3s", "strict", &["TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "USER", "SASL PLAIN LOGIN"]),
    (
        "imap",
        "plain",
        &["IMAP4rev1", "IMAP4rev2", "SASL-IR", "LITERAL-", "ID", "ENABLE", "STARTTLS", "AUTH=PLAIN", "AUTH=LOGIN"],
    ),
    ("imap", "strict", &["IMAP4rev1", "IMAP4rev2", "SASL-IR", "LITERAL-", "ID", "ENABLE", "STARTTLS", "LOGINDISABLED"]),
    ("imaps", "strict", &["IMAP4rev1", "IMAP4rev2", "SASL-IR", "LITERAL-", "ID", "ENABLE", "AUTH=PLAIN", "AUTH=LOGIN"]),
    (
        "imap after login",
        "plain",
        &[
            "IMAP4rev1",
            "IMAP4rev2",
            "SASL-IR",
            "LITERAL+",
            "ID",
            "ENABLE",
            "UTF8=ACCEPT",
            "IDLE",
            "NAMESPACE",
            "CHILDREN",
            "SPECIAL-USE",
            "LIST-EXTENDED",
            "LIST-STATUS",
            "LIST-METADATA",
            "STATUS=SIZE",
            "CREATE-SPECIAL-USE",
            "METADATA",
            "ACL",
            "RIGHTS=texk",
            "LIST-MYRIGHTS",
            "QUOTA",
            "QUOTASET",
            "QUOTA=RES-STORAGE",
            "QUOTA=RES-MESSAGE",
            "CONDSTORE",
            "QRESYNC",
            "UNSELECT",
            "UIDPLUS",
            "OBJECTID",
            "PREVIEW",
            "SAVEDATE",
            "MOVE",
            "MULTIAPPEND",
            "BINARY",
            "CATENATE",
            "URL-PARTIAL",
            "REPLACE",
            "UNAUTHENTICATE",
            "ESEARCH",
            "SEARCHRES",
            "WITHIN",
            "PARTIAL",
            "I18NLEVEL=1",
            "INPROGRESS",
            "NOTIFY",
            "SORT",
            "SORT=DISPLAY",
            "ESORT",
            "THREAD=ORDEREDSUBJECT",
            "THREAD=REFERENCES",
            "THREAD=REFS",
            "MULTISEARCH",
            "CONTEXT=SEARCH",
            "APPENDLIMIT=52428800",
        ],
    ),
];

#[test]
fn nothing_is_announced_by_accident() {
    let (plain, strict) = (Server::plain(), Server::strict());
    for (service, kind, announced) in ANNOUNCED {
        let server = if kind == "strict" { &strict } else { &plain };
        let mut text = String::new();
        let service = if let Some(service) = service.strip_suffix(" after login") {
            text = format!("S: ...\nC: a LOGIN <<user>> secret\nS: a OK [CAPABILITY {}] ...\n", announced.join(" "));
            service
        } else {
            match service.get(..4) {
                Some("imap") => text.push_str(&format!("S: * OK [CAPABILITY {}] ...\n", announced.join(" "))),
                Some("pop3") => {
                    text.push_str("S: +OK ...\nC: CAPA\nS: +OK\n");
                    text.extend(announced.iter().map(|line| format!("S: {line}\n")));
                    text.push_str("S: .\n");
                }
                _ => {
                    text.push_str("S: 220 ...\nC: EHLO c\nS: 250-mail.example.test\n");
                    let (last, lines) = announced.split_last().expect("not empty");
                    text.extend(lines.iter().map(|line| format!("S: 250-{line}\n")));
                    text.push_str(&format!("S: 250 {last}\n"));
                }
            }
            service
        };
        let failure = hold(server, service, &format!("{service}, {kind}"), &text);
        assert!(failure.is_empty(), "{failure}");
    }
}

/// A dialog's first line names the extension; `IMAP4rev1` is all of them.
#[test]
fn all_that_is_announced_has_a_dialog() {
    for (service, _, announced) in ANNOUNCED {
        let folders: &[&str] = match service.get(..4) {
            Some("imap") => &["imap"],
            Some("pop3") => &["pop3"],
            _ => &["smtp", "submission"],
        };
        let heads: String = folders
            .iter()
            .flat_map(|folder| dialogs(folder))
            .map(|(_, text)| text.lines().next().unwrap_or_default().to_owned() + "\n")
            .collect();
        for name in announced.iter().filter(|name| **name != "IMAP4rev1") {
            let word = name.split(' ').next().unwrap_or_default();
            let named = heads.split([' ', '(', ')', ',', ';', ':', '\n']).any(|named| named == word);
            assert!(named, "{service} announces {name}, and no dialog names it");
        }
    }
}

/// RFC 5321 §3.8, RFC 3501 §7.1.5: who is connected when the server stops is told, and a message that is coming in is
/// taken first.
#[test]
fn the_end_of_the_server_is_told() {
    let server = Server::plain();
    let text = "@2 imap\n@3 pop3\n@4 imap\nS: 220 ...\nC: HELO c\nS: 250 ...\nS2: * OK ...\nS3: +OK ...\nS4: * OK ...\n\
                C4: a LOGIN <<user>> secret\nC4: b IDLE\nS4: a OK ...\nS4: + ...\n\
                S5: 220 ...\nC5: HELO c\nC5: MAIL FROM:<>\nC5: RCPT TO:<<<user>>@example.test>\nC5: DATA\n\
                S5: 250 ...\nS5: 250 ...\nS5: 250 ...\nS5: 354 ...\n\
                @ stop\n\
                S: 421 4.3.2 shutting down\nS: <<closed>>\nS2: * BYE ...\nS2: <<closed>>\n\
                S3: -ERR [SYS/TEMP] shutting down\nS3: <<closed>>\nS4: * BYE ...\nS4: <<closed>>\n\
                C5: Subject: last\nC5: \nC5: .\nS5: 250 2.0.0 ... accepted\nS5: 421 4.3.2 shutting down\nS5: <<closed>>\n";
    let failure = hold(&server, "smtp", "the end of the server", text);
    assert!(failure.is_empty(), "{failure}");
}

/// Replies of SMTP that no dialog can bring about in a moment, with where they are tested.
const REPLIES_ELSEWHERE: [(&str, &str); 23] = [
    ("550 5.1.1 this return address has expired", "directory/mod.rs, intake/permit.rs: three weeks go by"),
    ("503 5.5.1 send LHLO first", "protocol/smtp/server/tests.rs: LMTP has no port of its own here"),
    ("503 5.5.1 no recipient was accepted", "protocol/smtp/server/tests.rs: the same"),
    ("554 5.5.1 wait for the greeting", "tests/attacks_smtp.rs: the server has to be held up"),
    ("421 4.4.2 timeout", "protocol/smtp/server/tests.rs: minutes go by"),
    ("421 4.4.2 data too slow", "protocol/smtp/server/tests.rs: minutes go by"),
    ("421 4.4.2 no message in time", "protocol/smtp/server/tests.rs: minutes go by"),
    ("421 4.3.2 shutting down", "above: a server of its own"),
    ("421 4.3.2 too many connections, and yours is idle: come again", "tests/attacks_smtp.rs: a server that is full"),
    ("421 4.7.0 too many failed logins, try again later", "directory/login.rs: --unlimited lifts that limit"),
    ("454 4.7.0 authentication is busy, try again later", "directory/login.rs: a hundred logins at once"),
    ("452 4.2.2 mailbox full", "tests/quota.rs: accounts with limits"),
    ("552 5.2.2 message larger than the mailbox may become", "tests/quota.rs: accounts with limits"),
    ("452 4.3.1 insufficient system storage", "server/smtp.rs and tests/full_disk.rs"),
    ("450 4.7.25 Client host rejected: cannot find your hostname", "tests/reception.rs: a name server"),
    ("550 5.7.25 Client host rejected: cannot find your hostname", "tests/reception.rs: a name server"),
    ("550 5.7.27 Sender address rejected: Domain has null MX", "tests/reception.rs: a name server"),
    ("556 5.1.10 Recipient address rejected: Domain has null MX", "tests/reception.rs: a name server"),
    ("554 5.7.1 Client host rejected: its address is on a block list", "tests/reception.rs: a name server"),
    ("451 4.7.1 Greylisted, please try again later", "tests/reception.rs: a key that is off by default"),
    ("550 5.7.1 Message rejected", "intake/hooks.rs: a milter without words of its own"),
    ("451 4.7.1 Service unavailable, try again later", "tests/interop/milters.rs: a milter that is not there"),
    ("451 4.3.0 local error, try again later", "server/smtp.rs: the disk fails"),
];

/// The words of every reply stand in one file, so it can be asked which of them no dialog has.
#[test]
fn every_reply_of_smtp_has_a_dialog() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol/smtp/reply.rs");
    let source = std::fs::read_to_string(source).expect("it is there");
    let said: String = dialogs("smtp").into_iter().chain(dialogs("submission")).map(|(_, text)| text).collect();
    let mut replies = 0;
    for line in source.lines().map(str::trim) {
        let Some((maker @ ("yes" | "later" | "no"), rest)) = line.split_once('(') else { continue };
        let Some((numbers, text)) = rest.split_once('"') else { continue };
        let numbers: Vec<&str> = numbers.split(',').map(str::trim).collect();
        let [code, subject, detail, _] = numbers.as_slice() else { panic!("{line}") };
        let class =
            ["yes", "later", "no"].iter().position(|m| *m == maker).map(|at| [2, 4, 5][at]).expect("one of them");
        let reply = format!("{code} {class}.{subject}.{detail} {}", text.trim_end_matches("\")"));
        let elsewhere = REPLIES_ELSEWHERE.iter().any(|(text, _)| *text == reply);
        assert!(elsewhere || said.contains(&format!(": {reply}\n")), "{reply}");
        replies += 1;
    }
    assert!(replies > 40, "the replies are no longer found: {replies}");
}
