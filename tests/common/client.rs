//! A connection that speaks in lines, plain or over TLS, with a deadline on every read.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::RootCertStore;
use rustls::StreamOwned;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::PATIENCE;

/// The most that is read of one peer, so that a runaway server fails the test and not the machine.
const MOST: usize = 64 << 20;

enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// While the handshake is under way.
    Gone,
}

/// A connection.
pub(crate) struct Line {
    wire: Wire,
    buffer: Vec<u8>,
    closed: bool,
}

impl Line {
    /// To a port of 127.0.0.1.
    pub(crate) fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port answers");
        Self::over(stream)
    }

    /// Over a connection that is there.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("a TCP socket");
        Self { wire: Wire::Plain(stream), buffer: Vec::new(), closed: false }
    }

    /// To a port of 127.0.0.1 that speaks TLS from the first byte; the certificate must verify.
    pub(crate) fn connect_tls(port: u16, ca: &Path) -> Self {
        let mut line = Self::connect(port);
        line.start_tls(ca);
        line
    }

    /// The handshake, the certificate verified for localhost against `ca`.
    pub(crate) fn start_tls(&mut self, ca: &Path) {
        self.try_tls(ca).expect("the TLS handshake succeeds");
    }

    /// As [`Line::start_tls`], where it may fail; then the connection is of no more use.
    pub(crate) fn try_tls(&mut self, ca: &Path) -> std::io::Result<()> {
        let Wire::Plain(mut stream) = std::mem::replace(&mut self.wire, Wire::Gone) else { panic!("TLS is on") };
        assert!(self.buffer.is_empty(), "spoken before the handshake: {:?}", String::from_utf8_lossy(&self.buffer));
        let name = "localhost".try_into().expect("a name");
        let mut session = ClientConnection::new(trusting(ca), name).expect("a valid configuration");
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        self.wire = Wire::Tls(Box::new(StreamOwned::new(session, stream)));
        Ok(())
    }

    /// The certificate that the peer has shown.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        let Wire::Tls(stream) = &self.wire else { panic!("no TLS") };
        stream.conn.peer_certificates().expect("the handshake is done")[0].clone().into_owned()
    }

    /// Sends; what a peer that has hung up does not take is nobody's loss here.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Wire::Gone => Err(ErrorKind::NotConnected.into()),
        };
        if let Err(error) = sent {
            let timed_out = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!timed_out, "the peer took nothing for {PATIENCE:?}");
        }
    }

    /// Reads once; `false` at the end.
    fn fill(&mut self) -> bool {
        if self.closed {
            return false;
        }
        let mut chunk = [0; 16_384];
        let read = match &mut self.wire {
            Wire::Plain(stream) => stream.read(&mut chunk),
            Wire::Tls(stream) => stream.read(&mut chunk),
            Wire::Gone => Ok(0),
        };
        match read {
            Ok(0) => self.closed = true,
            Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}; so far: {:?}", String::from_utf8_lossy(&self.buffer))
            }
            // A reset is an end too: the server closed while we were still sending.
            Err(_) => self.closed = true,
        }
        assert!(self.buffer.len() < MOST, "the peer does not stop");
        !self.closed
    }

    /// The next line without its end; `None` where the peer has closed.
    pub(crate) fn line(&mut self) -> Option<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let mut line: Vec<u8> = self.buffer.drain(..=searched + at).collect();
                line.pop();
                line.pop_if(|last| *last == b'\r');
                return Some(line);
            }
            searched = self.buffer.len();
            if !self.fill() {
                return None;
            }
        }
    }

    /// The next line as text; it must be there.
    pub(crate) fn text(&mut self) -> String {
        let line = self.line().expect("the server answers");
        String::from_utf8_lossy(&line).into_owned()
    }

    /// So many octets.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill(), "the connection ended {} octets early", count - self.buffer.len());
        }
        self.buffer.drain(..count).collect()
    }

    /// All lines until the peer closes.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.line() {
            lines.push(String::from_utf8_lossy(&line).into_owned());
        }
        lines
    }
}

/// A client that trusts the authority in this file and no other.
fn trusting(ca: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("a certificate in PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(builder.expect("the provider has them").with_root_certificates(roots).with_no_client_auth())
}
