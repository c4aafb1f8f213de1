//! Listeners: bound once, accepting until they are dropped.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The pause after the process has run out of file descriptors: accepting at once again would only spin.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// An address that cannot be listened on, with the key that asked for it.
#[derive(Debug)]
pub struct BindError {
    key: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, source, .. } = self;
        let key = if self.key == "lmtp" { "lmtp.listen".to_owned() } else { format!("listen.{}", self.key) };
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "{key}: {address} is in use by another program; stop that one or choose another port")
            }
            io::ErrorKind::PermissionDenied => write!(
                f,
                "{key}: {address} may not be used; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE"
            ),
            _ => write!(f, "{key}: cannot listen on {address}: {source}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A bound listener.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// Held back so that at the limit of descriptors one more connection can be taken and closed properly.
    spare: Mutex<Option<File>>,
}

/// Listens on `address`, which the key `listen.KEY` asked for. On a machine without IPv6 the address of everybody
/// becomes that of IPv4.
///
/// # Errors
/// The address is in use, not ours, or a port that needs a privilege.
pub fn bind(key: &'static str, address: SocketAddr) -> Result<Listener, BindError> {
    let open = |address: SocketAddr| {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let no_ipv6 = |error: &io::Error| {
        let unsupported = matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable);
        unsupported || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
    };
    let socket = match open(address) {
        Err(error) if address.is_ipv6() && address.ip().is_unspecified() && no_ipv6(&error) => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        other => other,
    };
    let socket = socket.map_err(|source| BindError { key, address, source })?;
    Ok(Listener { socket, spare: Mutex::new(File::open("/dev/null").ok()) })
}

impl Listener {
    /// The next connection. Runs out of nothing: at the limit of descriptors the peer is let in and closed, after a
    /// pause, and the wait goes on.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if out_of_descriptors(&error) => {
                    tracing::error!(%error, "cannot accept connections");
                    self.turn_one_away().await;
                    tokio::time::sleep(PAUSE).await;
                }
                // The peer was gone before we looked (RFC 9293 RST): not our trouble.
                Err(error) => tracing::debug!(%error, "connection lost before it was accepted"),
            }
        }
    }

    async fn turn_one_away(&self) {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        if spare.is_some() {
            drop(spare);
            if let Ok(Ok((stream, _))) = tokio::time::timeout(Duration::from_millis(1), self.socket.accept()).await {
                drop(stream);
            }
        }
        *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = File::open("/dev/null").ok();
    }
}

fn out_of_descriptors(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_key() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = taken.local_addr().expect("bound");
        let error = bind("smtp", address).expect_err("in use").to_string();
        assert!(error.starts_with(&format!("listen.smtp: {address} is in use")), "{error}");
    }
}
