//! From a new connection to the protocol it speaks.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::AsyncWrite;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Services;
use crate::config::Config;
use crate::mail::ids::SessionId;
use crate::net::Class;
use crate::net::Connection;
use crate::net::Limiter;
use crate::net::Listener;
use crate::net::UnixSocket;
use crate::protocol::smtp::server::Role;
use crate::server::imap;
use crate::server::pop3;
use crate::server::smtp;
use crate::tls::ServerTls;
use crate::tls::Service;

/// A peer that is refused has so long to take our words.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// What a network is told that may not hand over mail.
const NO_LMTP: &str = "LMTP is for trusted networks only (relay.trusted_networks)";

/// What a network is told that may not log in.
const BANNED: &str = "logins from this network are refused for now";

/// What a listener does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    service: Service,
    class: Class,
    implicit_tls: bool,
    lmtp: bool,
}

/// Mail for our mailboxes from a server of ours.
const LMTP: Kind = Kind { service: Service::Smtp, class: Class::Submission, implicit_tls: false, lmtp: true };

/// The kind that a key of `[listen]` stands for.
fn kind(name: &str) -> Option<Kind> {
    let of = |service, class, implicit_tls| Some(Kind { service, class, implicit_tls, lmtp: false });
    match name {
        "smtp" => of(Service::Smtp, Class::Reception, false),
        "submission" => of(Service::Smtp, Class::Submission, false),
        "submissions" => of(Service::Smtp, Class::Submission, true),
        "imap" => of(Service::Imap, Class::Mailbox, false),
        "imaps" => of(Service::Imap, Class::Mailbox, true),
        "lmtp" => Some(LMTP),
        "pop3" => of(Service::Pop3, Class::Mailbox, false),
        "pop3s" => of(Service::Pop3, Class::Mailbox, true),
        _ => None,
    }
}

/// What every connection needs.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) limiter: Limiter,
    pub(super) tls: Arc<ServerTls>,
    pub(super) services: Services,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// Accepts until the server stops.
pub(super) async fn accept(name: &'static str, listener: Listener, door: Door) {
    let Some(kind) = kind(name) else {
        tracing::error!(name, "BUG: a listener without a protocol");
        return;
    };
    let mut shutdown = door.shutdown.clone();
    loop {
        tokio::select! {
            (stream, peer) = listener.accept() => door.enter(kind, stream, peer),
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}

/// Accepts on the Unix socket for LMTP until the server stops.
pub(super) async fn accept_lmtp(socket: UnixSocket, door: Door) {
    let mut shutdown = door.shutdown.clone();
    loop {
        tokio::select! {
            stream = socket.accept() => match door.limiter.enter(LMTP.class, Ipv4Addr::LOCALHOST.into(), true) {
                Ok(slot) => {
                    let (door, connection) = (door.clone(), Connection::of_unix(stream, slot));
                    tokio::spawn(async move {
                        if let Err(error) = door.serve(LMTP, connection).await {
                            tracing::debug!(%error, "connection to the Unix socket ended");
                        }
                    });
                }
                Err(refusal) => tracing::warn!(%refusal, "connection to the Unix socket refused"),
            },
            _ = shutdown.wait_for(|stop| *stop) => return,
        }
    }
}

impl Door {
    fn is_trusted(&self, ip: IpAddr) -> bool {
        self.config.load().relay.trusted_networks.iter().any(|network| network.contains(&ip))
    }

    /// Whether a service for users has nobody to let in from there. Mail is taken all the same: who sends it has not tried
    /// to log in.
    fn is_banned(&self, kind: Kind, ip: IpAddr) -> bool {
        kind.class != Class::Reception && !kind.lmtp && self.services.smtp.authenticator.closes_the_door(ip)
    }

    fn enter(&self, kind: Kind, stream: TcpStream, peer: SocketAddr) {
        let ip = peer.ip().to_canonical();
        if self.config.load().proxy.networks.iter().any(|network| network.contains(&ip)) {
            let door = self.clone();
            tokio::spawn(async move {
                if let Err(error) = door.enter_by_proxy(kind, stream, ip).await {
                    tracing::warn!(proxy = %peer, %error, "connection through a proxy ended");
                }
            });
            return;
        }
        let trusted = self.is_trusted(ip);
        if kind.lmtp && !trusted {
            tracing::warn!(%peer, "LMTP refused: not a trusted network (relay.trusted_networks)");
            return;
        }
        if self.is_banned(kind, ip) {
            tracing::info!(%peer, "connection refused: banned");
            tokio::spawn(refuse(stream, kind, BANNED.to_owned()));
            return;
        }
        match self.limiter.enter(kind.class, ip, trusted) {
            Ok(slot) => {
                let offer = Some((Arc::clone(&self.tls), kind.service));
                let door = self.clone();
                tokio::spawn(async move {
                    // The peer may be gone before its first byte; every other end is logged by the protocol.
                    let served = match Connection::new(stream, offer, slot) {
                        Ok(connection) => door.serve(kind, connection).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = served {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                });
            }
            Err(refusal) => {
                tracing::warn!(%peer, %refusal, "connection refused");
                tokio::spawn(refuse(stream, kind, refusal.to_string()));
            }
        }
    }

    /// A connection whose header says who is there. Until it has come the proxy counts, under no limit but that of all
    /// connections; after it whoever is behind does, like everybody, and hears why he is refused.
    async fn enter_by_proxy(self, kind: Kind, stream: TcpStream, proxy: IpAddr) -> io::Result<()> {
        let slot = match self.limiter.enter(kind.class, proxy, true) {
            Ok(slot) => slot,
            Err(refusal) => {
                refuse(stream, kind, refusal.to_string()).await;
                return Err(io::Error::other(refusal));
            }
        };
        let offer = Some((Arc::clone(&self.tls), kind.service));
        let mut connection = Connection::new(stream, offer, slot)?;
        connection.read_proxy_header().await?;
        let ip = connection.peer().ip();
        let trusted = connection.is_known() && self.is_trusted(ip);
        let admitted = match () {
            () if kind.lmtp && !trusted => Err(NO_LMTP.to_owned()),
            () if self.is_banned(kind, ip) => Err(BANNED.to_owned()),
            // Strangers whom the proxy does not name share its address, and no limit of one address would be fair to
            // them.
            () => self
                .limiter
                .enter(kind.class, ip, trusted || !connection.is_known())
                .map_err(|refusal| refusal.to_string()),
        };
        match admitted {
            Ok(slot) => connection.move_to(slot),
            Err(refusal) => {
                refuse(connection, kind, refusal.clone()).await;
                return Err(io::Error::other(format!("{ip}: {refusal}")));
            }
        }
        self.serve(kind, connection).await
    }

    /// What an IMAP session needs, as the configuration is now.
    fn imap_services(&self) -> imap::Services {
        let config = self.config.load();
        imap::Services {
            authenticator: Arc::clone(&self.services.smtp.authenticator),
            store: Arc::clone(&self.services.pop3.store),
            clock: self.services.smtp.clock.clone(),
            plaintext_login: config.auth.plaintext_login,
            separator: config.imap.separator,
            disabled: config.imap.disable.clone(),
            max_message_size: config.smtp.max_message_size.octets(),
            spill_folder: config.storage.folder.join("state"),
        }
    }

    fn pop3_services(&self) -> pop3::Pop3Service {
        pop3::Pop3Service {
            config: Arc::clone(&self.config),
            authenticator: Arc::clone(&self.services.smtp.authenticator),
            store: Arc::clone(&self.services.pop3.store),
            clock: self.services.smtp.clock.clone(),
        }
    }

    async fn serve(self, kind: Kind, mut connection: Connection) -> io::Result<()> {
        if kind.implicit_tls {
            connection.start_tls().await?;
        }
        match kind.service {
            Service::Smtp => {
                let role = match kind.class {
                    _ if kind.lmtp => Role::Lmtp,
                    Class::Reception => Role::Reception,
                    Class::Submission | Class::Mailbox => Role::Submission,
                };
                smtp::serve(connection, role, self.services.smtp, self.shutdown).await
            }
            Service::Imap => {
                let services = Arc::new(self.imap_services());
                let session = SessionId::new(services.clock.since_epoch());
                imap::serve(connection, services, session, self.shutdown).await;
                Ok(())
            }
            Service::Pop3 => pop3::serve(connection, Arc::new(self.pop3_services()), self.shutdown).await,
        }
    }
}

/// Says why, in the words of the protocol. Where TLS comes first, nothing can be said.
async fn refuse(mut stream: impl AsyncWrite + Unpin, kind: Kind, refusal: String) {
    let line = match kind.service {
        _ if kind.implicit_tls => return,
        Service::Smtp => format!("421 4.7.0 {refusal}\r\n"),
        Service::Imap => format!("* BYE {refusal}\r\n"),
        Service::Pop3 => format!("-ERR [SYS/TEMP] {refusal}\r\n"),
    };
    // Whoever does not take it is no worse off.
    tokio::time::timeout(REFUSAL_WAIT, stream.write_all(line.as_bytes())).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_of_the_configuration_has_a_protocol() {
        let config =
            crate::config::parse(std::path::Path::new("t.toml"), "hostname = \"mail.example.com\"\n").expect("valid");
        let kinds: Vec<_> = config.listen.all().map(|(name, _)| kind(name)).collect();
        assert_eq!(kinds.len(), 7);
        assert!(kinds.iter().all(Option::is_some));
        assert_eq!(kinds.iter().flatten().filter(|k| k.implicit_tls).count(), 3);
    }
}
