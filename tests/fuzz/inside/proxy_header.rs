//! Headers of the PROXY protocol: read whole and nothing behind them, the same wherever the stream is cut.
//!
//! Compiled into `net` by the fuzz build alone, for the reader is private.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use tokio::io::AsyncRead;
use tokio::io::ReadBuf;

use super::proxy;
use super::proxy::Proxied;
use crate::mail::limits::PROXY_V1_OCTETS;
use crate::mail::limits::PROXY_V2_OCTETS;

/// Longer ones are not cut at every octet.
const MOST: usize = 300;

/// A stream that comes in two pieces, then ends.
struct Pieces<'a> {
    octets: &'a [u8],
    cut: usize,
    used: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let end = if self.used < self.cut { self.cut } else { self.octets.len() };
        let n = buffer.remaining().min(end - self.used);
        buffer.put_slice(&self.octets[self.used..self.used + n]);
        self.used += n;
        Poll::Ready(Ok(()))
    }
}

fn read(octets: &[u8], cut: usize) -> (Option<Proxied>, usize) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let mut stream = Pieces { octets, cut, used: 0 };
    let read = RUNTIME.with(|runtime| runtime.block_on(proxy::read(&mut stream)));
    (read.ok(), stream.used)
}

/// Where a header that begins so would end.
fn end(octets: &[u8]) -> usize {
    if octets.first() == Some(&b'P') {
        let line = octets.iter().position(|b| *b == b'\n').map_or(octets.len(), |at| at + 1);
        return line.min(PROXY_V1_OCTETS);
    }
    let length = octets.get(14..16).map_or(0, |n| usize::from(n[0]) * 256 + usize::from(n[1]));
    octets.len().min(16 + length.min(PROXY_V2_OCTETS))
}

/// Checks one stream.
pub fn check(octets: &[u8]) {
    let (found, used) = read(octets, octets.len());
    assert!(used <= end(octets), "octets behind the header are gone");
    for cut in 0..octets.len().min(MOST) {
        assert_eq!(read(octets, cut), (found, used), "cut at {cut}");
    }
    let Some(found) = found else { return };
    assert_eq!(used, end(octets), "not the whole header");
    // What follows does not matter.
    let followed = [octets, b"EHLO c\r\n"].concat();
    assert_eq!(read(&followed, 0), (Some(found), used));
    let Proxied::Client { peer, local } = found else { return };
    assert_eq!(peer.is_ipv4(), local.is_ipv4());
    if octets[0] == b'P' {
        let family = if peer.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (peer.ip(), local.ip());
        let printed = format!("PROXY {family} {from} {to} {} {}\r\n", peer.port(), local.port());
        assert_eq!(read(printed.as_bytes(), 0), (Some(found), printed.len()));
        return;
    }
    let addresses: Vec<u8> = [peer.ip(), local.ip()]
        .iter()
        .flat_map(|ip| match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        })
        .chain([peer.port(), local.port()].iter().flat_map(|port| port.to_be_bytes()))
        .collect();
    assert_eq!(octets[12], 0x21);
    assert!(octets[16..].starts_with(&addresses), "other addresses than were told");
}
