//! The PROXY protocol, versions 1 and 2, as the side behind a proxy reads it: who is really there.
//!
//! [`Reader`] takes octets, never more than it asked for, so that what follows the header stays with the protocol that
//! is spoken. Everything that is not exactly a header is an error, and the connection ends: whoever may send one must.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;

use crate::mail::limits::PROXY_HEADER_WAIT;
use crate::mail::limits::PROXY_V1_OCTETS;
use crate::mail::limits::PROXY_V2_OCTETS;

/// The first octets of version 2: nothing that a mail client would say.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED: usize = 16;

/// Who is behind the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proxied {
    /// A client, and where it connected to.
    Client { peer: SocketAddr, local: SocketAddr },
    /// The proxy itself (LOCAL), or somebody it does not know (UNKNOWN).
    Unknown,
}

/// What a header lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// So many octets more, at least; more than these are not to be read.
    More(usize),
    Done(Proxied),
}

/// Not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Malformed;

/// A header that is coming in.
#[derive(Debug, Default)]
struct Reader {
    read: Vec<u8>,
}

impl Reader {
    fn progress(&self) -> Result<Progress, Malformed> {
        match self.read.first() {
            None => Ok(Progress::More(1)),
            Some(b'P') => self.version_1(),
            Some(_) => self.version_2(),
        }
    }

    /// A line of ASCII.
    fn version_1(&self) -> Result<Progress, Malformed> {
        let Some(line) = self.read.strip_suffix(b"\n") else {
            let fits = self.read.len() < PROXY_V1_OCTETS && b"PROXY ".starts_with(&self.read[..self.read.len().min(6)]);
            return if fits { Ok(Progress::More(1)) } else { Err(Malformed) };
        };
        let line = line.strip_suffix(b"\r").and_then(|l| std::str::from_utf8(l).ok()).ok_or(Malformed)?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            // What follows UNKNOWN is to be ignored.
            ["PROXY", "UNKNOWN", ..] => Ok(Progress::Done(Proxied::Unknown)),
            ["PROXY", family @ ("TCP4" | "TCP6"), peer, local, peer_port, local_port] => {
                let address = |text: &str| -> Result<IpAddr, Malformed> {
                    let ip: IpAddr = text.parse().map_err(|_| Malformed)?;
                    if ip.is_ipv4() == (*family == "TCP4") { Ok(ip) } else { Err(Malformed) }
                };
                Ok(Progress::Done(Proxied::Client {
                    peer: SocketAddr::new(address(peer)?, port(peer_port)?),
                    local: SocketAddr::new(address(local)?, port(local_port)?),
                }))
            }
            _ => Err(Malformed),
        }
    }

    /// Binary, with its length in front.
    fn version_2(&self) -> Result<Progress, Malformed> {
        let begun = self.read.len().min(SIGNATURE.len());
        if self.read[..begun] != SIGNATURE[..begun] {
            return Err(Malformed);
        }
        let Some(fixed) = self.read.get(..FIXED) else { return Ok(Progress::More(FIXED - self.read.len())) };
        let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
        let (command, family) = (fixed[12], fixed[13]);
        if length > PROXY_V2_OCTETS || !matches!(command, 0x20 | 0x21) {
            return Err(Malformed);
        }
        let body = &self.read[FIXED..];
        if body.len() < length {
            return Ok(Progress::More(length - body.len()));
        }
        let two = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        Ok(Progress::Done(match (command, family) {
            (0x20, _) | (_, 0x00) => Proxied::Unknown,
            (_, 0x11) if length >= 12 => {
                let ip = |at: usize| Ipv4Addr::new(body[at], body[at + 1], body[at + 2], body[at + 3]);
                Proxied::Client { peer: (ip(0), two(8)).into(), local: (ip(4), two(10)).into() }
            }
            (_, 0x21) if length >= 36 => {
                let ip = |at: usize| {
                    let mut octets = [0; 16];
                    octets.copy_from_slice(&body[at..at + 16]);
                    Ipv6Addr::from(octets)
                };
                Proxied::Client { peer: (ip(0), two(32)).into(), local: (ip(16), two(34)).into() }
            }
            // Datagrams and Unix sockets bring no mail.
            _ => return Err(Malformed),
        }))
    }
}

/// A port as a person would write it.
fn port(text: &str) -> Result<u16, Malformed> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(Malformed)
}

/// Reads the header, within the time that it has, and not one octet more.
///
/// # Errors
/// It is none, comes too slowly, or the proxy is gone.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Proxied> {
    let reading = async {
        let mut reader = Reader::default();
        loop {
            match reader.progress() {
                Ok(Progress::Done(proxied)) => return Ok(proxied),
                Ok(Progress::More(wanted)) => {
                    let from = reader.read.len();
                    reader.read.resize(from + wanted, 0);
                    stream.read_exact(&mut reader.read[from..]).await?;
                }
                Err(Malformed) => return Err(io::Error::other("not a header of the PROXY protocol")),
            }
        }
    };
    tokio::time::timeout(PROXY_HEADER_WAIT, reading).await?
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    fn client(peer: &str, local: &str) -> Option<Proxied> {
        Some(Proxied::Client { peer: peer.parse().expect("an address"), local: local.parse().expect("an address") })
    }

    fn cases() -> Vec<(Vec<u8>, Option<Proxied>)> {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 0, 25];
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[31], v6[33], v6[35]) = (0x20, 1, 2, 9, 25);
        let line = |text: &str| text.as_bytes().to_vec();
        vec![
            (line("PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\n"), client("192.0.2.1:12345", "198.51.100.2:25")),
            (line("PROXY TCP6 2001:db8::1 ::2 1 25\r\n"), client("[2001:db8::1]:1", "[::2]:25")),
            (line("PROXY UNKNOWN\r\n"), Some(Proxied::Unknown)),
            (line("PROXY UNKNOWN whatever it is\r\n"), Some(Proxied::Unknown)),
            (line("PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\n"), None),
            (line("PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n"), None),
            (line("PROXY TCP4 192.0.2.1 198.51.100.2 +1 25\r\n"), None),
            (line("PROXY TCP4 192.0.2.1 198.51.100.2 01 25\r\n"), None),
            (line("PROXY TCP4 ::1 ::2 1 25\r\n"), None),
            (line("PROXY TCP6 192.0.2.1 192.0.2.2 1 25\r\n"), None),
            (line("PROXY TCP4 192.0.2.1  198.51.100.2 1 25\r\n"), None),
            (line("PROXY TCP4 192.0.2.1 1 25\r\n"), None),
            (line("PROXY UDP4 192.0.2.1 192.0.2.2 1 25\r\n"), None),
            (line("PROXY\r\n"), None),
            (line("PING\r\n"), None),
            (line("EHLO c\r\n"), None),
            (format!("PROXY UNKNOWN {}\r\n", "x".repeat(200)).into_bytes(), None),
            (v2(0x21, 0x11, &v4), client("192.0.2.1:12345", "198.51.100.2:25")),
            (v2(0x21, 0x21, &v6), client("[2000::1]:9", "[::2]:25")),
            (v2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), client("192.0.2.1:12345", "198.51.100.2:25")),
            (v2(0x20, 0x11, &v4), Some(Proxied::Unknown)),
            (v2(0x20, 0x00, &[]), Some(Proxied::Unknown)),
            (v2(0x21, 0x00, &[1, 2]), Some(Proxied::Unknown)),
            (v2(0x21, 0x11, &v4[..11]), None),
            (v2(0x21, 0x21, &v6[..35]), None),
            (v2(0x21, 0x12, &v4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
            (v2(0x22, 0x11, &v4), None),
            (v2(0x11, 0x11, &v4), None),
            (v2(0x21, 0x11, &[0; PROXY_V2_OCTETS + 1]), None),
        ]
    }

    #[tokio::test]
    async fn headers_are_read_wherever_they_are_cut_and_nothing_behind_them() {
        for (header, wanted) in cases() {
            let sent = [&header[..], b"EHLO c\r\n"].concat();
            for cut in 0..=header.len() {
                let (mut near, mut far) = tokio::io::duplex(4096);
                let writer = async {
                    near.write_all(&sent[..cut]).await.ok();
                    tokio::task::yield_now().await;
                    near.write_all(&sent[cut..]).await.ok();
                    drop(near);
                };
                let reader = async {
                    let read = read(&mut far).await.ok();
                    let mut rest = Vec::new();
                    far.read_to_end(&mut rest).await.ok();
                    (read, rest)
                };
                let ((), (read, rest)) = tokio::join!(writer, reader);
                assert_eq!(read, wanted, "{} cut at {cut}", header.escape_ascii());
                if wanted.is_some() {
                    assert_eq!(rest, b"EHLO c\r\n", "{}", header.escape_ascii());
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let (near, mut far) = tokio::io::duplex(64);
        let begun = tokio::time::Instant::now();
        assert!(read(&mut far).await.is_err());
        assert_eq!(begun.elapsed(), PROXY_HEADER_WAIT);
        drop(near);
    }
}
