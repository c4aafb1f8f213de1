//! A name server for tests with whole zones: every kind of record that mail asks for, by UDP and, where an answer is
//! longer than 512 octets, by TCP alone. It can be silent, or answer with any code.

use std::collections::HashMap;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

const A: u16 = 1;
const CNAME: u16 = 5;
const PTR: u16 = 12;
const MX: u16 = 15;
const TXT: u16 = 16;
const AAAA: u16 = 28;

/// What a name has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rr {
    Address(IpAddr),
    Mx(u16, String),
    /// One record of several strings.
    Txt(Vec<Vec<u8>>),
    Ptr(String),
    Cname(String),
    /// No answer to what no other record here answers.
    Timeout,
    /// This code to what no other record here answers.
    Code(u8),
}

/// Names, in lower case and without a dot at the end, and what they have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Zone(HashMap<String, Vec<Rr>>);

impl Zone {
    /// Adds a record.
    pub(crate) fn add(&mut self, name: &str, rr: Rr) {
        self.0.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default().push(rr);
    }

    /// Takes all records of a name away.
    pub(crate) fn clear(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// With a text record, cut into strings as long as they may be.
    pub(crate) fn txt(mut self, name: &str, text: &str) -> Self {
        self.add(name, Rr::Txt(vec![text.as_bytes().to_vec()]));
        self
    }

    /// With an address.
    pub(crate) fn address(mut self, name: &str, ip: &str) -> Self {
        self.add(name, Rr::Address(ip.parse().expect("an address")));
        self
    }

    /// With anything.
    pub(crate) fn with(mut self, name: &str, rr: Rr) -> Self {
        self.add(name, rr);
        self
    }

    /// The name that an address has.
    pub(crate) fn ptr(self, ip: &str, name: &str) -> Self {
        let reverse = match ip.parse().expect("an address") {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(ip) => {
                let nibbles = ip.octets().into_iter().rev().flat_map(|b| [b & 15, b >> 4]);
                nibbles.map(|n| format!("{n:x}.")).collect::<String>() + "ip6.arpa"
            }
        };
        self.with(&reverse, Rr::Ptr(name.to_owned()))
    }

    /// Whether the name is there, or one below it (RFC 8020).
    fn exists(&self, name: &str) -> bool {
        let below = format!(".{name}");
        self.0.contains_key(name) || self.0.keys().any(|key| key.ends_with(&below))
    }

    /// Serves it until it is dropped.
    pub(crate) fn serve(self) -> ZoneServer {
        ZoneServer::start(self)
    }
}

/// A running name server.
pub(crate) struct ZoneServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    by_tcp: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl ZoneServer {
    fn start(zone: Zone) -> Self {
        // A port that is free for both.
        let (udp, tcp) = (0..100)
            .find_map(|_| {
                let udp = UdpSocket::bind("127.0.0.1:0").ok()?;
                let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
                Some((udp, tcp))
            })
            .expect("a free port");
        let address = udp.local_addr().expect("it is bound");
        let zone = Arc::new(zone);
        let stop = Arc::new(AtomicBool::new(false));
        let (by_tcp, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let own = (Arc::clone(&zone), Arc::clone(&stop), Arc::clone(&asked));
        let first = std::thread::spawn(move || serve_udp(&udp, &own.0, &own.1, &own.2));
        let own = (zone, Arc::clone(&stop), Arc::clone(&by_tcp));
        let second = std::thread::spawn(move || serve_tcp(&tcp, &own.0, &own.1, &own.2));
        Self { address, stop, by_tcp, asked, threads: vec![first, second] }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Questions that came by TCP.
    pub(crate) fn by_tcp(&self) -> usize {
        self.by_tcp.load(Ordering::Relaxed)
    }

    /// Questions that came by UDP.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for ZoneServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

/// How often a server looks whether it should end.
const PULSE: Duration = Duration::from_millis(20);

fn serve_udp(socket: &UdpSocket, zone: &Zone, stop: &AtomicBool, asked: &AtomicUsize) {
    socket.set_read_timeout(Some(PULSE)).expect("not zero");
    let mut packet = [0; 1500];
    while !stop.load(Ordering::Relaxed) {
        let Ok((count, peer)) = socket.recv_from(&mut packet) else { continue };
        asked.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = answer(&packet[..count], zone, 512) {
            // A peer that has gone away asks no more.
            socket.send_to(&answer, peer).ok();
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Arc<Zone>, stop: &Arc<AtomicBool>, by_tcp: &Arc<AtomicUsize>) {
    listener.set_nonblocking(true).expect("a socket");
    let mut open = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(PULSE);
            continue;
        };
        let own = (Arc::clone(zone), Arc::clone(stop), Arc::clone(by_tcp));
        // A connection that breaks is the end of it.
        open.push(std::thread::spawn(move || drop(serve_stream(stream, &own.0, &own.1, &own.2))));
    }
    for thread in open {
        thread.join().ok();
    }
}

fn serve_stream(mut stream: TcpStream, zone: &Zone, stop: &AtomicBool, by_tcp: &AtomicUsize) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PULSE))?;
    let mut buffer = Vec::new();
    let mut piece = [0; 1500];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) => buffer.extend_from_slice(&piece[..n]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
        while let Some(length) = buffer.first_chunk::<2>().map(|l| usize::from(u16::from_be_bytes(*l))) {
            if buffer.len() < 2 + length {
                break;
            }
            let question: Vec<u8> = buffer.drain(..2 + length).skip(2).collect();
            by_tcp.fetch_add(1, Ordering::Relaxed);
            if let Some(answer) = answer(&question, zone, 65_535) {
                let length = u16::try_from(answer.len()).expect("it fits");
                stream.write_all(&length.to_be_bytes())?;
                stream.write_all(&answer)?;
            }
        }
    }
    Ok(())
}

/// The answer to a question (RFC 1035 §4.1), in `most` octets; `None` for silence.
fn answer(question: &[u8], zone: &Zone, most: usize) -> Option<Vec<u8>> {
    let (name, end) = name_at(question, 12)?;
    let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
    let section = question.get(12..end + 4)?;
    let mut records = Vec::new();
    let mut at = name;
    let mut code = 0;
    // RFC 1034 §3.6.2: an alias is followed, not for ever.
    for _ in 0..10 {
        let all = zone.0.get(&at).map_or(&[][..], Vec::as_slice);
        let found: Vec<Vec<u8>> = all.iter().filter_map(|rr| data(rr, kind)).collect();
        let alias = all.iter().find_map(|rr| if let Rr::Cname(to) = rr { Some(to.clone()) } else { None });
        if found.is_empty() && all.contains(&Rr::Timeout) {
            return None;
        }
        if found.is_empty() && alias.is_none() {
            let given = all.iter().find_map(|rr| if let Rr::Code(code) = rr { Some(*code) } else { None });
            code = given.unwrap_or(if zone.exists(&at) { 0 } else { 3 });
        }
        for data in found {
            records.extend(record(&at, kind, &data));
        }
        let Some(to) = alias.filter(|_| kind != CNAME) else { break };
        records.extend(record(&at, CNAME, &encoded(&to)));
        at = to.trim_end_matches('.').to_ascii_lowercase();
    }
    let count = records.len();
    let answers = records.concat();
    let truncated = 12 + section.len() + answers.len() > most;
    let mut out = question.get(..2)?.to_vec();
    out.extend_from_slice(&[if truncated { 0x87 } else { 0x85 }, 0x80 | code, 0, 1]);
    out.extend_from_slice(&(if truncated { 0 } else { u16::try_from(count).ok()? }).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(section);
    if !truncated {
        out.extend_from_slice(&answers);
    }
    Some(out)
}

/// Class IN, one second to live. A name that DNS cannot hold has no records.
fn record(name: &str, kind: u16, data: &[u8]) -> Option<Vec<u8>> {
    let mut out = encoded(name);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 0, 1]);
    out.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
    out.extend_from_slice(data);
    Some(out)
}

fn data(rr: &Rr, kind: u16) -> Option<Vec<u8>> {
    match (rr, kind) {
        (Rr::Address(IpAddr::V4(ip)), A) => Some(ip.octets().to_vec()),
        (Rr::Address(IpAddr::V6(ip)), AAAA) => Some(ip.octets().to_vec()),
        (Rr::Mx(preference, host), MX) => Some([&preference.to_be_bytes()[..], &encoded(host)].concat()),
        (Rr::Ptr(name), PTR) => Some(encoded(name)),
        (Rr::Cname(name), CNAME) => Some(encoded(name)),
        (Rr::Txt(strings), TXT) => {
            let mut out = Vec::new();
            for string in strings {
                for piece in string.chunks(255) {
                    out.push(u8::try_from(piece.len()).ok()?);
                    out.extend_from_slice(piece);
                }
            }
            // RFC 1035 §3.3.14: one string at least.
            Some(if out.is_empty() { vec![0] } else { out })
        }
        _ => None,
    }
}

/// The name at a place, in lower case, and where it ends; questions use no compression.
pub(crate) fn name_at(packet: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}

pub(crate) fn encoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).expect("a label is short"));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}
