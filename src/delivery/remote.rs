//! One connection to another server: the client machine of SMTP, driven over a socket.

use std::io;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::route::Hop;
use crate::clock::Clock;
use crate::fsio::Content;
use crate::mail::limits::REMOTE_BLOCK;
use crate::mail::limits::TLS_HANDSHAKE;
use crate::protocol::session::Session;
use crate::protocol::session::Step;
use crate::protocol::session::TlsActive;
use crate::protocol::smtp::client::Answer;
use crate::protocol::smtp::client::Client;
use crate::protocol::smtp::client::Job;
use crate::protocol::smtp::client::Outcome;
use crate::protocol::smtp::client::TlsWish;
use crate::protocol::smtp::data::Outgoing;

/// Octets of a message that are prepared for the wire at once.
const PIECE: usize = 65_536;

/// How a session is to be made.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// What we call ourselves.
    pub(super) hostname: String,
    pub(super) tls: TlsWish,
    pub(super) connect_timeout: Duration,
    pub(super) client_config: Arc<rustls::ClientConfig>,
}

/// What a session came to.
#[derive(Debug)]
pub(super) enum Ended {
    /// The job has its outcome.
    Outcome(Outcome),
    /// STARTTLS was offered and the handshake failed: without TLS it may work.
    NoTls {
        /// Why.
        why: String,
        /// Whether it was the host's certificate, which will hardly be another one soon; all else may pass.
        certificate: bool,
    },
    /// There was no connection.
    NoConnection(String),
}

/// Offers one message to one host.
pub(super) async fn send(hop: &Hop, job: Job<Content>, terms: &Terms, clock: &Clock) -> Ended {
    let connect = tokio::time::timeout(terms.connect_timeout, TcpStream::connect(hop.address));
    let stream = match connect.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Ended::NoConnection(format!("connect to {} ({}): {error}", hop.host, hop.address)),
        Err(_) => return Ended::NoConnection(format!("connect to {} ({}): timed out", hop.host, hop.address)),
    };
    if let Err(error) = stream.set_nodelay(true) {
        return Ended::NoConnection(error.to_string());
    }
    let machine = Client::new(&terms.hostname, terms.tls, job, clock.instant());
    Driver { machine, clock, terms, hop, outcome: None, tls_failed: None }.run(stream).await
}

/// A connection, plain or with TLS.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

struct Driver<'a> {
    machine: Client<Content>,
    clock: &'a Clock,
    terms: &'a Terms,
    hop: &'a Hop,
    outcome: Option<Outcome>,
    /// Why, and whether it was the certificate.
    tls_failed: Option<(String, bool)>,
}

impl Driver<'_> {
    async fn run(mut self, stream: TcpStream) -> Ended {
        let mut plain = Some(stream);
        let mut secured: Option<Box<dyn Wire>> = None;
        let mut out = Vec::new();
        loop {
            let step = self.machine.poll();
            if matches!(step, Step::StartTls) {
                secured = self.handshake(plain.take()).await;
                continue;
            }
            let wire: &mut dyn Wire = match (&mut secured, &mut plain) {
                (Some(tls), _) => tls.as_mut(),
                (None, Some(tcp)) => tcp,
                (None, None) => &mut tokio::io::empty(),
            };
            match step {
                Step::Send(bytes) => out.extend_from_slice(&bytes),
                Step::SendBody(content) => {
                    let sent = async {
                        write(wire, &mut out).await?;
                        send_body(wire, content).await
                    };
                    match sent.await {
                        Ok(()) => self.machine.body_sent(self.clock.instant()),
                        Err(error) => self.last_words(wire, &error).await,
                    }
                }
                Step::Wait(deadline) => match write(wire, &mut out).await {
                    Ok(()) => self.wait(wire, deadline).await,
                    Err(error) => self.last_words(wire, &error).await,
                },
                Step::Ask(outcome) => {
                    self.outcome = Some(outcome);
                    self.machine.answer(self.clock.instant(), Answer::Quit);
                }
                Step::Close => {
                    write(wire, &mut out).await.ok();
                    wire.shutdown().await.ok();
                    return self.ended();
                }
                // A client takes no messages and its handshake is above.
                Step::Body(_) | Step::StartTls => {}
            }
        }
    }

    fn ended(self) -> Ended {
        let tls = self.machine.tls().map_or("none", |tls| tls.version());
        tracing::debug!(host = self.hop.host, address = %self.hop.address, tls, "session with another server ended");
        match (self.tls_failed, self.outcome) {
            (Some((why, certificate)), _) => Ended::NoTls { why, certificate },
            (None, Some(outcome)) => Ended::Outcome(outcome),
            (None, None) => Ended::NoConnection("the session ended without an outcome".to_owned()),
        }
    }

    async fn handshake(&mut self, plain: Option<TcpStream>) -> Option<Box<dyn Wire>> {
        let now = self.clock.instant();
        let Some(stream) = plain else {
            self.machine.disconnected(now, "no connection");
            return None;
        };
        // An address or a name that is none gets no SNI; opportunistic TLS does not look at the certificate's names.
        let name = ServerName::try_from(self.hop.host.clone()).unwrap_or_else(|_| self.hop.address.ip().into());
        let connector = TlsConnector::from(Arc::clone(&self.terms.client_config));
        let done = tokio::time::timeout(TLS_HANDSHAKE, connector.connect(name, stream)).await;
        let (why, certificate) = match done {
            Ok(Ok(stream)) => {
                let (_, session) = stream.get_ref();
                let version = session.protocol_version().and_then(|v| v.as_str()).unwrap_or("TLS").replace('_', ".");
                let cipher = session.negotiated_cipher_suite().and_then(|s| s.suite().as_str()).unwrap_or("unknown");
                self.machine.secured(self.clock.instant(), TlsActive::after_handshake(&version, cipher));
                return Some(Box::new(stream));
            }
            Ok(Err(error)) => (error.to_string(), is_of_certificate(&error)),
            Err(_) => ("the TLS handshake timed out".to_owned(), false),
        };
        self.machine.disconnected(self.clock.instant(), &why);
        self.tls_failed = Some((why, certificate));
        None
    }

    async fn wait(&mut self, wire: &mut dyn Wire, deadline: std::time::Instant) {
        let mut buffer = vec![0; 4096];
        let left = deadline.saturating_duration_since(self.clock.instant());
        let read = tokio::time::timeout(left, wire.read(&mut buffer)).await;
        let now = self.clock.instant();
        match read {
            Ok(Ok(0)) => self.machine.disconnected(now, "closed by the other side"),
            Ok(Ok(n)) => self.machine.receive(now, &buffer[..n]),
            Ok(Err(error)) => self.machine.disconnected(now, &error.to_string()),
            Err(_) => self.machine.tick(now),
        }
    }

    /// Writing failed: the server may have said why before it hung up.
    async fn last_words(&mut self, wire: &mut dyn Wire, error: &io::Error) {
        let mut buffer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(1), wire.read(&mut buffer)).await;
        if let Ok(Ok(n)) = read
            && n > 0
        {
            self.machine.receive(self.clock.instant(), &buffer[..n]);
        }
        self.machine.disconnected(self.clock.instant(), &error.to_string());
    }
}

/// Whether a handshake failed for the certificate of the other side.
fn is_of_certificate(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented))
}

/// Writes all; each piece within the time that RFC 5321 §4.5.3.2.5 gives for a block.
async fn write(wire: &mut dyn Wire, out: &mut Vec<u8>) -> io::Result<()> {
    if out.is_empty() {
        return Ok(());
    }
    let written = async {
        wire.write_all(out).await?;
        wire.flush().await
    };
    tokio::time::timeout(REMOTE_BLOCK, written).await??;
    out.clear();
    Ok(())
}

async fn send_body(wire: &mut dyn Wire, content: Content) -> io::Result<()> {
    let mut reader = content.reader();
    let mut stuffed = Outgoing::new();
    let mut out = Vec::with_capacity(PIECE + PIECE / 16);
    let mut buffer = vec![0; PIECE];
    loop {
        // From memory, or from a file that was written a moment ago and lies in the page cache.
        let n = reader.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        stuffed.feed(&buffer[..n], &mut out);
        write(wire, &mut out).await?;
    }
    stuffed.finish(&mut out);
    write(wire, &mut out).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_certificate_is_told_from_a_broken_handshake() {
        let of_tls = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        assert!(is_of_certificate(&of_tls(rustls::CertificateError::UnknownIssuer.into())));
        assert!(is_of_certificate(&of_tls(rustls::CertificateError::NotValidForName.into())));
        assert!(!is_of_certificate(&of_tls(rustls::Error::HandshakeNotComplete)));
        assert!(!is_of_certificate(&io::ErrorKind::ConnectionReset.into()));
        assert!(!is_of_certificate(&io::ErrorKind::UnexpectedEof.into()));
    }
}
