//! Name look-ups: mail exchangers, addresses, texts and the names of addresses.
//!
//! The one door to the resolver library. An answer is what the name has, a certain no, or a doubt; a doubt is always
//! temporary, so that no mail is given up for a name server that was out of reach.
//!
//! [`Dns::client_name`] and [`Dns::mail_domain`] put questions together; the rest are single ones, and whoever asks many
//! sets the time for all of them ([`DNS_SET_TIME`](crate::mail::limits::DNS_SET_TIME)). Knows nothing of what the texts
//! mean.

pub mod client_name;
mod listing;
pub mod mail_domain;
pub mod records;

use std::fmt;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::ResolverBuilder;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use crate::config;
use crate::mail::address::Domain;
use crate::mail::limits::DNS_CACHE_ENTRIES;
use crate::mail::limits::EXCHANGER_ADDRESSES;
use crate::mail::limits::EXCHANGERS;

/// Why a look-up gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupError {
    /// The name does not exist.
    NoSuchName,
    /// No answer, or one that is none. It may come later.
    Temporary(String),
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchName => f.write_str("no such domain"),
            Self::Temporary(why) => write!(f, "name look-up failed: {why}"),
        }
    }
}

impl std::error::Error for LookupError {}

/// Who takes mail for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchangers {
    /// These hosts, the best first (RFC 5321 §5.1), [`EXCHANGERS`] at most.
    Hosts(Vec<String>),
    /// No MX record: the domain itself, where it has an address (RFC 5321 §5.1).
    Implicit,
    /// Nobody: a null MX (RFC 7505).
    Nobody,
}

/// Asks questions. Cheap to clone.
#[derive(Clone)]
pub struct Dns(pub(in crate::dns) Option<TokioResolver>);

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Dns" } else { "Dns(off)" })
    }
}

impl Dns {
    /// A resolver as the configuration wants it.
    ///
    /// # Errors
    /// `/etc/resolv.conf` cannot be used; the text says why.
    pub fn new(config: &config::Dns) -> Result<Self, String> {
        let builder = match config.resolver {
            config::Resolver::Off => return Ok(Self(None)),
            config::Resolver::System => {
                TokioResolver::builder_tokio().map_err(|error| format!("/etc/resolv.conf: {error}"))?
            }
            config::Resolver::Server(address) => {
                let servers = ResolverConfig::from_name_servers(vec![server(address)]);
                Resolver::builder_with_config(servers, TokioRuntimeProvider::default())
            }
        };
        finish(builder, config.timeout)
    }

    /// The mail exchangers of a domain.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn exchangers(&self, domain: &Domain) -> Result<Exchangers, LookupError> {
        let resolver = self.resolver()?;
        let answer = match resolver.mx_lookup(absolute(domain.as_str())).await {
            Ok(answer) => answer,
            Err(error) if error.is_nx_domain() => return Err(LookupError::NoSuchName),
            Err(error) if error.is_no_records_found() => return Ok(Exchangers::Implicit),
            Err(error) => return Err(LookupError::Temporary(error.to_string())),
        };
        let mut found: Vec<(u16, String)> = Vec::new();
        for record in answer.answers() {
            if let RData::MX(mx) = &record.data {
                found.push((mx.preference, mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase()));
            }
        }
        Ok(sorted(found))
    }

    /// The addresses of a host, [`EXCHANGER_ADDRESSES`] at most; never empty.
    ///
    /// # Errors
    /// See [`LookupError`]; a host without an address is [`LookupError::NoSuchName`].
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        match self.resolver()?.lookup_ip(absolute(host)).await {
            Ok(answer) => {
                let addresses: Vec<IpAddr> = answer.iter().take(EXCHANGER_ADDRESSES).collect();
                if addresses.is_empty() { Err(LookupError::NoSuchName) } else { Ok(addresses) }
            }
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Err(LookupError::NoSuchName),
            Err(error) => Err(LookupError::Temporary(error.to_string())),
        }
    }

    pub(in crate::dns) fn resolver(&self) -> Result<&TokioResolver, LookupError> {
        self.0.as_ref().ok_or_else(|| LookupError::Temporary("name look-ups are off (dns.resolver)".to_owned()))
    }
}

fn finish(mut builder: ResolverBuilder<TokioRuntimeProvider>, timeout: Duration) -> Result<Dns, String> {
    let options = builder.options_mut();
    options.timeout = timeout;
    options.attempts = 2;
    options.cache_size = DNS_CACHE_ENTRIES;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // With two at once the resolver loses truncated answers: it takes the other server's truncated one for an answer.
    options.num_concurrent_reqs = 1;
    builder.build().map(|resolver| Dns(Some(resolver))).map_err(|error| error.to_string())
}

/// One name server on any port, by UDP, and by TCP where the answer does not fit.
fn server(address: SocketAddr) -> NameServerConfig {
    let connection = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![connection(ConnectionConfig::udp()), connection(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

/// With its dot, so that no search list of this machine is tried.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

/// The best first; hosts of one preference as they came, which the name server shuffles (RFC 5321 §5.1).
fn sorted(mut found: Vec<(u16, String)>) -> Exchangers {
    found.sort_by_key(|(preference, _)| *preference);
    if found.is_empty() {
        return Exchangers::Implicit;
    }
    // RFC 7505 §3: a null MX is the only record there is; among others it is a mistake and is passed over.
    let named = found.into_iter().map(|(_, host)| host).filter(|host| !host.is_empty());
    let hosts: Vec<String> = named.take(EXCHANGERS).collect();
    if hosts.is_empty() { Exchangers::Nobody } else { Exchangers::Hosts(hosts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchangers_are_sorted_and_a_null_mx_is_nobody() {
        let mx = |list: &[(u16, &str)]| sorted(list.iter().map(|(p, h)| (*p, (*h).to_owned())).collect());
        let hosts = |list: &[&str]| Exchangers::Hosts(list.iter().map(|h| (*h).to_owned()).collect());
        assert_eq!(mx(&[(20, "b"), (10, "a"), (20, "c")]), hosts(&["a", "b", "c"]));
        assert_eq!(mx(&[(0, "")]), Exchangers::Nobody);
        assert_eq!(mx(&[(0, ""), (10, "a")]), hosts(&["a"]));
        assert_eq!(mx(&[]), Exchangers::Implicit);
    }

    #[tokio::test]
    async fn without_a_resolver_every_answer_is_a_doubt() {
        let dns = Dns(None);
        let domain = Domain::parse("example.com").expect("valid");
        assert!(matches!(dns.exchangers(&domain).await, Err(LookupError::Temporary(_))));
        assert_eq!(dns.addresses("192.0.2.1").await, Ok(vec!["192.0.2.1".parse().expect("an address")]));
    }

    /// A name server whose answer by UDP is always cut short; by TCP it is one text record.
    async fn cut_short() -> SocketAddr {
        use tokio::io::AsyncReadExt;
        use tokio::io::AsyncWriteExt;
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = tcp.local_addr().expect("it is bound");
        let udp = tokio::net::UdpSocket::bind(address).await.expect("the same port");
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((n, peer)) = udp.recv_from(&mut packet).await {
                // RFC 1035 §4.1.1: a response that is truncated.
                packet[2] |= 0x82;
                if udp.send_to(&packet[..n], peer).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut packet = vec![0; usize::from(length)];
                        stream.read_exact(&mut packet).await.ok()?;
                        // One answer and nothing else behind the question: its name, TXT, IN, a second, "long".
                        let end = 12 + packet[12..].iter().position(|b| *b == 0)? + 5;
                        packet.truncate(end);
                        packet[2] |= 0x80;
                        packet[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
                        packet.extend_from_slice(b"\xc0\x0c\0\x10\0\x01\0\0\0\x01\0\x05\x04long");
                        stream.write_u16(u16::try_from(packet.len()).ok()?).await.ok()?;
                        stream.write_all(&packet).await.ok()?;
                    }
                    Some(())
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn answers_that_were_cut_short_come_by_tcp_from_one_of_two_servers() {
        let servers = vec![server(cut_short().await), server(cut_short().await)];
        let config = ResolverConfig::from_name_servers(servers);
        let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        let dns = finish(builder, Duration::from_secs(5)).expect("a resolver");
        for n in 0..20 {
            assert_eq!(dns.texts(&format!("n{n}.example")).await, Ok(vec![b"long".to_vec()]));
        }
    }
}
