//! One connection: over TCP, plain or with TLS, directly or through a proxy, or over a Unix socket.

use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::task::Context;
use std::task::Poll;

use rustix::net::RecvFlags;
use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::limits::Refusal;
use super::limits::Slot;
use super::proxy;
use super::proxy::Proxied;
use crate::mail::limits::TLS_HANDSHAKE;
use crate::mail::limits::TLS_HANDSHAKES;
use crate::protocol::session::TlsActive;
use crate::tls::ServerTls;
use crate::tls::Service;

static HANDSHAKES: Semaphore = Semaphore::const_new(TLS_HANDSHAKES);

/// A peer's connection. Reading and writing go through TLS once [`Connection::start_tls`] has returned.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    peer: SocketAddr,
    local: SocketAddr,
    tls: Option<TlsActive>,
    offer: Option<(Arc<ServerTls>, Service)>,
    slot: Arc<Mutex<Slot>>,
    /// Whether the address of the peer says who it is.
    known: bool,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// While a handshake runs, and after one that failed.
    Gone,
}

impl Connection {
    /// A connection that was just accepted. `offer` is the certificate for a later [`Connection::start_tls`]; `slot`
    /// is its place under the limits.
    ///
    /// # Errors
    /// The peer is gone already.
    pub fn new(stream: TcpStream, offer: Option<(Arc<ServerTls>, Service)>, slot: Slot) -> io::Result<Self> {
        // Answers are written whole; without this the last small one would wait for the peer's delayed ACK.
        stream.set_nodelay(true)?;
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        let (peer, local) = (canonical(stream.peer_addr()?), canonical(stream.local_addr()?));
        let slot = Arc::new(Mutex::new(slot));
        Ok(Self { stream: Stream::Plain(stream), peer, local, tls: None, offer, slot, known: true })
    }

    /// A connection over a Unix socket, whose permissions say who may. It counts as one from this machine, and never
    /// has TLS.
    #[must_use]
    pub fn of_unix(stream: UnixStream, slot: Slot) -> Self {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let slot = Arc::new(Mutex::new(slot));
        Self { stream: Stream::Unix(stream), peer: here, local: here, tls: None, offer: None, slot, known: true }
    }

    /// Reads the header of the PROXY protocol, which has to come first: who is behind the proxy is the peer from here
    /// on. Where the proxy does not say, the peer is the proxy, and nothing follows from where that is.
    ///
    /// # Errors
    /// It is no header, or comes too slowly; the connection is of no use then.
    pub async fn read_proxy_header(&mut self) -> io::Result<()> {
        let Stream::Plain(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        match proxy::read(stream).await? {
            Proxied::Client { peer, local } => (self.peer, self.local) = (canonical(peer), canonical(local)),
            Proxied::Unknown => {
                self.known = false;
                // Who talks in clear to a proxy here does not do so within this machine.
                self.local.set_ip(Ipv4Addr::UNSPECIFIED.into());
            }
        }
        Ok(())
    }

    /// Gives up its place under the limits for another one, that of whoever is behind the proxy.
    pub fn move_to(&mut self, slot: Slot) {
        self.slot = Arc::new(Mutex::new(slot));
    }

    /// Whether its address can give a peer any right: not where a proxy hides who it is.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Whether the peer of a connection without TLS has said something already, without being waited for.
    #[must_use]
    pub fn has_input(&self) -> bool {
        let Stream::Plain(stream) = &self.stream else { return false };
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        rustix::net::recv(stream, &mut [0_u8; 1], flags).is_ok_and(|(n, _)| n > 0)
    }

    /// Who it is; IPv4 as IPv4 also on a dual-stack listener.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Where they came in.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// TLS, where it is active.
    #[must_use]
    pub fn tls(&self) -> Option<&TlsActive> {
        self.tls.as_ref()
    }

    /// Whether [`Connection::start_tls`] can be offered: there is a certificate and TLS is not active yet.
    #[must_use]
    pub fn can_start_tls(&self) -> bool {
        self.offer.is_some() && self.tls.is_none()
    }

    /// Counts this connection for a user who has logged in.
    ///
    /// # Errors
    /// He has too many from this address.
    pub fn logged_in(&mut self, user: &str) -> Result<(), Refusal> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).logged_in(user)
    }

    /// The user is gone, the connection stays.
    pub fn logged_out(&mut self) {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).logged_out();
    }

    /// Its place under the limits, for whoever answers for a connection that the pump holds.
    #[must_use]
    pub fn slot(&self) -> Arc<Mutex<Slot>> {
        Arc::clone(&self.slot)
    }

    /// The handshake, as the server. Everything written before must have been flushed.
    ///
    /// # Errors
    /// The peer does not speak TLS, takes too long, or speaks HTTP inside of it (by ALPN). The connection is then
    /// of no use any more.
    pub async fn start_tls(&mut self) -> io::Result<()> {
        let Some((tls, service)) = self.offer.as_ref().filter(|_| self.tls.is_none()).cloned() else {
            return Err(io::Error::other("TLS cannot be started"));
        };
        let Stream::Plain(plain) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let _turn = HANDSHAKES.acquire().await.map_err(io::Error::other)?;
        let handshake = async {
            let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), plain).await?;
            if start.client_hello().alpn().is_some_and(only_http) {
                // ALPACA (2021): a browser was led here to speak HTTP with our certificate.
                return Err(io::Error::other("the peer wants to speak HTTP"));
            }
            start.into_stream(tls.config(service)).await
        };
        let stream = tokio::time::timeout(TLS_HANDSHAKE, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
        let (_, session) = stream.get_ref();
        let version = session.protocol_version().and_then(|v| v.as_str()).unwrap_or("TLS").replace('_', ".");
        let cipher = session.negotiated_cipher_suite().and_then(|s| s.suite().as_str()).unwrap_or("unknown");
        self.tls = Some(TlsActive::after_handshake(&version, cipher));
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }
}

/// Whether a client's ALPN list has HTTP and nothing else. Other values are ignored: mail clients send odd ones.
fn only_http<'a>(mut offered: impl Iterator<Item = &'a [u8]>) -> bool {
    offered.all(|protocol| matches!(protocol, b"h2" | b"http/1.1" | b"http/1.0"))
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Gone => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Gone => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_alone_is_told_by_its_alpn() {
        let only = |list: &[&'static [u8]]| only_http(list.iter().copied());
        assert!(only(&[b"h2", b"http/1.1"]) && only(&[b"http/1.1"]));
        assert!(!only(&[b"imap"]) && !only(&[b"h2", b"imap"]) && !only(&[b"something-odd"]));
    }
}
