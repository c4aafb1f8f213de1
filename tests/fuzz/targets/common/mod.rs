//! One conversation with a server that runs in this process, its mail on a disk in memory.
//!
//! A panic of any of its threads ends the process, as the engine wants it.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use facteur::admin::cli::TryArgs;
use facteur::admin::commands;
use facteur::admin::try_out::TryOut;
use facteur::daemon;
use facteur::mail::address::Domain;

/// Accounts that take turns, so that what one input leaves behind does not meet the next.
const ACCOUNTS: usize = 8;

/// How long the server is heard out before its client goes, who may be waited for in turn: a client that goes at once
/// is not answered at all.
const HEARING: Duration = Duration::from_millis(300);

/// How long the server may be silent after its client has gone.
const PATIENCE: Duration = Duration::from_secs(25);

/// More than this is said to nobody who has said so little.
const MOST: usize = 64 << 20;

const MESSAGE: &str = "From: a@b.example\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n\
                       --y\r\n\r\none\r\n--y\r\nContent-Type: text/html\r\n\r\n<p>\r\n--y--\r\n";

/// What has been said before the input comes.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each target is in one state")]
pub enum State {
    Stranger,
    User,
    Selected,
    Idle,
    Append,
}

fn base_port() -> u16 {
    std::env::var("FACTEUR_FUZZ_PORT").ok().and_then(|text| text.parse().ok()).unwrap_or(21_000)
}

/// The port of the server, which is started when it is first asked for.
fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let base = base_port();
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let args = TryArgs {
            dir: Some(parent.join(format!("facteur-fuzz-{base}"))),
            base_port: base,
            domain: Domain::parse("example.test").expect("a domain"),
            accounts: format!("user1..user{ACCOUNTS}"),
            password: "secret".to_owned(),
            relay: None,
            dns: None,
            unlimited: true,
            plaintext_login: true,
            cert: None,
            key: None,
            env: None,
        };
        std::thread::spawn(move || {
            let tried = TryOut::prepare(args).expect("a folder and ports");
            let config = commands::load(&tried.config()).expect("what was just written");
            daemon::run(config, Some(Arc::new(tried))).expect("it runs");
        });
        let port = base + 143;
        for _ in 0..300 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                // The server has put its own in the place of the engine's.
                std::panic::set_hook(Box::new(|panic| {
                    eprintln!("{panic}");
                    std::process::abort();
                }));
                return port;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the server does not listen on {port}");
    })
}

/// Says what leads to a state, then the input, then goes, and hears the server out.
pub fn converse(state: State, input: &[u8]) {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let account = TURN.fetch_add(1, Ordering::Relaxed) % ACCOUNTS + 1;
    let mut said = Vec::new();
    if state != State::Stranger {
        said.extend(format!("x1 LOGIN user{account} secret\r\n").bytes());
    }
    if matches!(state, State::Selected | State::Idle) {
        let size = MESSAGE.len();
        said.extend(format!("x2 DELETE w\r\nx3 CREATE w\r\nx4 APPEND w {{{size}+}}\r\n{MESSAGE}").bytes());
        said.extend(format!(" (\\Seen) {{{size}+}}\r\n{MESSAGE}\r\nx5 SELECT w\r\n").bytes());
    }
    match state {
        State::Idle => said.extend_from_slice(b"x6 IDLE\r\n"),
        State::Append => said.extend_from_slice(b"x6 APPEND INBOX "),
        _ => {}
    }
    said.extend_from_slice(input);
    said.extend_from_slice(b"\r\nDONE\r\nz LOGOUT\r\n");
    let mut stream = TcpStream::connect(("127.0.0.1", port())).expect("it listens");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    // Who is hung up on in the middle reads why.
    stream.write_all(&said).ok();
    let mut heard = Vec::new();
    if !hear(&mut stream, HEARING, &mut heard) {
        stream.shutdown(Shutdown::Write).ok();
        let has_ended = hear(&mut stream, PATIENCE, &mut heard);
        assert!(has_ended, "no end after {:?}", String::from_utf8_lossy(&heard));
    }
    assert!(heard.ends_with(b"\r\n"), "half a line: {:?}", String::from_utf8_lossy(&heard));
}

/// Whether the server closes before it is silent for so long.
fn hear(stream: &mut TcpStream, patience: Duration, heard: &mut Vec<u8>) -> bool {
    stream.set_read_timeout(Some(patience)).expect("not zero");
    let mut piece = [0; 16_384];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return true,
            Ok(count) => heard.extend_from_slice(&piece[..count]),
            // The engine looks at its clock.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
            // What was on its way when the server closed is lost, in the middle of a line perhaps.
            Err(_) => {
                heard.extend_from_slice(b"\r\n");
                return true;
            }
        }
        assert!(heard.len() < MOST, "the server does not stop");
    }
}
