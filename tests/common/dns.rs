//! A name server for tests: answers MX and A from a table, over UDP, and can be told to be silent.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use super::zone::encoded;
use super::zone::name_at;

const A: u16 = 1;
const MX: u16 = 15;
const PTR: u16 = 12;

/// What a name has.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    A(Ipv4Addr),
    Mx(u16, &'static str),
    /// The name of an address; stands at a name below `in-addr.arpa`.
    Ptr(&'static str),
    /// RFC 7505.
    NullMx,
    /// The answer is SERVFAIL.
    Broken,
    /// There is no answer at all.
    Silent,
}

type Table = Arc<Mutex<HashMap<String, Vec<Record>>>>;

/// A running name server. A name that is not in the table does not exist.
pub(crate) struct NameServer {
    address: SocketAddr,
    table: Table,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// With these names.
    pub(crate) fn start(names: &[(&str, Record)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let mut server =
            Self { address, table: Table::default(), stop: Arc::default(), asked: Arc::default(), thread: None };
        for (name, record) in names {
            server.add(name, record.clone());
        }
        let (table, stop, asked) = (Arc::clone(&server.table), Arc::clone(&server.stop), Arc::clone(&server.asked));
        server.thread = Some(std::thread::spawn(move || serve(&socket, &table, &stop, &asked)));
        server
    }

    /// Adds a record.
    pub(crate) fn add(&self, name: &str, record: Record) {
        let mut table = self.table.lock().expect("nobody panics with it");
        table.entry(name.to_owned()).or_default().push(record);
    }

    /// Takes all records of a name away.
    pub(crate) fn clear(&self, name: &str) {
        self.table.lock().expect("nobody panics with it").remove(name);
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(socket: &UdpSocket, table: &Table, stop: &AtomicBool, asked: &AtomicUsize) {
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
    let mut packet = [0; 1500];
    while !stop.load(Ordering::Relaxed) {
        let Ok((count, peer)) = socket.recv_from(&mut packet) else { continue };
        asked.fetch_add(1, Ordering::Relaxed);
        if let Some(answer) = answer(&packet[..count], &table.lock().expect("nobody panics with it")) {
            // A peer that has gone away asks no more.
            socket.send_to(&answer, peer).ok();
        }
    }
}

/// The answer to a question (RFC 1035 §4.1); `None` for silence.
fn answer(question: &[u8], table: &HashMap<String, Vec<Record>>) -> Option<Vec<u8>> {
    let (name, end) = name_at(question, 12)?;
    let kind = u16::from_be_bytes([*question.get(end)?, *question.get(end + 1)?]);
    let section = question.get(12..end + 4)?;
    let records = table.get(&name);
    let mut code = if records.is_some() { 0 } else { 3 };
    let mut answers = Vec::new();
    let mut count: u16 = 0;
    for record in records.into_iter().flatten() {
        let (of, data) = match record {
            Record::Silent => return None,
            Record::Broken => {
                code = 2;
                continue;
            }
            Record::A(ip) => (A, ip.octets().to_vec()),
            Record::Mx(preference, host) => (MX, [&preference.to_be_bytes()[..], &encoded(host)].concat()),
            Record::NullMx => (MX, vec![0, 0, 0]),
            Record::Ptr(name) => (PTR, encoded(name)),
        };
        if of == kind {
            // A pointer to the question's name, class IN, one second to live.
            answers.extend_from_slice(&[0xc0, 12]);
            answers.extend_from_slice(&of.to_be_bytes());
            answers.extend_from_slice(&[0, 1, 0, 0, 0, 1]);
            answers.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
            answers.extend_from_slice(&data);
            count += 1;
        }
    }
    let mut out = question.get(..2)?.to_vec();
    out.extend_from_slice(&[0x85, 0x80 | code, 0, 1]);
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(section);
    out.extend_from_slice(&answers);
    Some(out)
}
