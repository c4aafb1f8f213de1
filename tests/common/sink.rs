//! An SMTP server that does what a script says, to see what is sent to others.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// What becomes of STARTTLS; it never works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tls {
    /// It is not offered.
    #[default]
    None,
    /// The handshake is answered with nonsense.
    Broken,
    /// Something is said behind the answer to STARTTLS, before the handshake.
    Injected,
}

/// How it behaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script {
    /// Whether it offers STARTTLS, and what becomes of it.
    pub(crate) tls: Tls,
    /// Does not offer 8BITMIME.
    pub(crate) seven_bit: bool,
    /// Replies to RCPT where the address contains the text.
    pub(crate) recipients: Vec<(&'static str, &'static str)>,
    /// The reply to the end of the data, in place of 250.
    pub(crate) data: Option<&'static str>,
}

/// A message that was taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// As sent, dots undone, with CRLF.
    pub(crate) data: Vec<u8>,
    /// The commands of the session so far.
    pub(crate) commands: Vec<String>,
}

impl Taken {
    /// The data as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

/// A running sink.
pub(crate) struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    script: Mutex<Script>,
    taken: Mutex<Vec<Taken>>,
    connections: Mutex<usize>,
}

impl Sink {
    /// On a port of an address of this machine; 0 for any.
    pub(crate) fn start(address: &str, port: u16, script: Script) -> Self {
        let listener = TcpListener::bind((address, port)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared { script: Mutex::new(script), ..Shared::default() });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { address, shared, thread: Some(thread) }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Behaves in another way from the next connection on.
    pub(crate) fn set(&self, script: Script) {
        *self.shared.script.lock().expect("nobody panics with it") = script;
    }

    /// What was taken so far.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().expect("nobody panics with it").clone()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.lock().expect("nobody panics with it")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the thread from accept.
        TcpStream::connect(self.address).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        *shared.connections.lock().expect("nobody panics with it") += 1;
        let shared = Arc::clone(shared);
        // The session ends with its connection, or with its read timeout.
        std::thread::spawn(move || session(stream, &shared).ok());
    }
}

fn session(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let script = shared.script.lock().expect("nobody panics with it").clone();
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let mut say = |text: &str| out.write_all(format!("{text}\r\n").as_bytes());
    say("220 sink.example ESMTP")?;
    let mut message = Taken::default();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        message.commands.push(line.clone());
        let upper = line.to_ascii_uppercase();
        if upper.starts_with("EHLO") {
            let tls = if script.tls == Tls::None { "" } else { "250-STARTTLS\r\n" };
            let eight = if script.seven_bit { "" } else { "250-8BITMIME\r\n" };
            say(&format!("250-sink.example\r\n{tls}{eight}250 PIPELINING"))?;
        } else if upper.starts_with("STARTTLS") {
            let more = if script.tls == Tls::Injected { "\r\n250 2.0.0 injected" } else { "" };
            say(&format!("220 go ahead{more}"))?;
            // The client has begun its handshake, or has hung up.
            if input.fill_buf()?.is_empty() {
                return Ok(());
            }
            say("this is no TLS at all")?;
            return Ok(());
        } else if upper.starts_with("MAIL FROM:") {
            message.from = between(&line);
            message.to.clear();
            say("250 2.1.0 ok")?;
        } else if upper.starts_with("RCPT TO:") {
            let refused = script.recipients.iter().find(|(address, _)| line.contains(address));
            if refused.is_none() {
                message.to.push(between(&line));
            }
            say(refused.map_or("250 2.1.5 ok", |(_, reply)| reply))?;
        } else if upper == "DATA" {
            if message.to.is_empty() {
                say("554 5.5.1 no valid recipients")?;
                continue;
            }
            say("354 go on")?;
            message.data = data(&mut input)?;
            if script.data.is_none() {
                shared.taken.lock().expect("nobody panics with it").push(message.clone());
            }
            say(script.data.unwrap_or("250 2.0.0 taken"))?;
        } else if upper == "QUIT" {
            return say("221 2.0.0 bye");
        } else {
            say("250 2.0.0 ok")?;
        }
    }
}

fn data(input: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let mut line = Vec::new();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match line.strip_prefix(b".") {
            Some(b"\r\n") => return Ok(data),
            Some(rest) => data.extend_from_slice(rest),
            None => data.extend_from_slice(&line),
        }
    }
}

/// What stands between angle brackets.
fn between(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(address, _)| address.to_owned())
}
