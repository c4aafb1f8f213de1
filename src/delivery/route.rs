//! Which hosts to try for a domain, in which order.

use std::net::SocketAddr;

use crate::config::Outbound;
use crate::dns::Dns;
use crate::dns::Exchangers;
use crate::dns::LookupError;
use crate::mail::address::Domain;
use crate::mail::limits::EXCHANGER_ADDRESSES;
use crate::queue::Outcome;

/// A host to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    /// Its name, for the log and for the TLS handshake.
    pub(super) host: String,
    /// Its address.
    pub(super) address: SocketAddr,
}

/// The hosts to try, and what is not known of them.
#[derive(Debug)]
pub(super) struct Found {
    /// The best first.
    pub(super) hops: Vec<Hop>,
    /// There may be more of them: some name could not be looked up for the moment.
    pub(super) doubt: Option<Outcome>,
}

/// The hops for a domain, [`EXCHANGER_ADDRESSES`] at most and never none.
///
/// # Errors
/// The outcome for every recipient of the domain.
pub(super) async fn hops(domain: &Domain, config: &Outbound, hostname: &Domain, dns: &Dns) -> Result<Found, Outcome> {
    let (hosts, port) = match &config.relay {
        Some(relay) if relay.mx => {
            let name = Domain::parse(&relay.host).map_err(|_| deferred("4.3.5", "the relay's name is no domain"))?;
            (exchangers(&name, hostname, dns).await?, relay.port)
        }
        Some(relay) => (vec![relay.host.clone()], relay.port),
        None => match literal(domain) {
            Some(ip) => (vec![ip], config.port),
            None => (exchangers(domain, hostname, dns).await?, config.port),
        },
    };
    let mut hops = Vec::new();
    let mut doubt = None;
    for host in hosts {
        match dns.addresses(&host).await {
            Ok(addresses) => {
                hops.extend(
                    addresses.into_iter().map(|ip| Hop { host: host.clone(), address: SocketAddr::new(ip, port) }),
                );
            }
            Err(error @ LookupError::Temporary(_)) => doubt = Some(error),
            Err(LookupError::NoSuchName) => {}
        }
        if hops.len() >= EXCHANGER_ADDRESSES {
            break;
        }
    }
    hops.truncate(EXCHANGER_ADDRESSES);
    let doubt = doubt.map(|error| deferred("4.4.3", &error.to_string()));
    match doubt {
        doubt if !hops.is_empty() => Ok(Found { hops, doubt }),
        Some(doubt) => Err(doubt),
        // RFC 5321 §5.1: exchangers without any address are no better than none, but may be a mistake that passes;
        // a domain without exchangers and without an address is not there.
        None if config.relay.is_some() => Err(deferred("4.4.3", "the relay has no address")),
        None => Err(failed("5.4.4", &format!("no address was found for the mail hosts of {domain}"))),
    }
}

/// `192.0.2.1` of `[192.0.2.1]`.
fn literal(domain: &Domain) -> Option<String> {
    let inner = domain.as_str().strip_prefix('[')?.strip_suffix(']')?;
    Some(inner.strip_prefix("ipv6:").unwrap_or(inner).to_owned())
}

async fn exchangers(domain: &Domain, hostname: &Domain, dns: &Dns) -> Result<Vec<String>, Outcome> {
    match dns.exchangers(domain).await {
        Ok(Exchangers::Hosts(hosts)) => before_us(hosts, hostname, domain),
        Ok(Exchangers::Implicit) => Ok(vec![domain.to_string()]),
        // RFC 7505 §4.2.
        Ok(Exchangers::Nobody) => Err(failed("5.1.10", &format!("{domain} takes no mail (null MX)"))),
        Err(LookupError::NoSuchName) => Err(failed("5.1.2", &format!("the domain {domain} does not exist"))),
        Err(error @ LookupError::Temporary(_)) => Err(deferred("4.4.3", &error.to_string())),
    }
}

/// RFC 5321 §5.1: where we are an exchanger ourselves, we and all behind us are left out, or mail would go in circles.
fn before_us(mut hosts: Vec<String>, hostname: &Domain, domain: &Domain) -> Result<Vec<String>, Outcome> {
    if let Some(us) = hosts.iter().position(|host| host == hostname.as_str()) {
        hosts.truncate(us);
    }
    if hosts.is_empty() {
        return Err(failed(
            "5.4.6",
            &format!("mail for {domain} loops back to this server, which does not know the domain"),
        ));
    }
    Ok(hosts)
}

pub(super) fn deferred(status: &str, why: &str) -> Outcome {
    Outcome::Deferred { status: status.to_owned(), why: why.to_owned() }
}

pub(super) fn failed(status: &str, why: &str) -> Outcome {
    Outcome::Failed { status: status.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn outbound(relay: &str) -> (Outbound, Domain, Dns) {
        let text =
            format!("hostname = \"mail.example.com\"\n[outbound]\nrelay = \"{relay}\"\n[dns]\nresolver = \"off\"\n");
        let config = config::parse(std::path::Path::new("t.toml"), &text).expect("valid");
        (config.outbound, config.hostname, Dns::new(&config.dns).expect("off"))
    }

    #[tokio::test]
    async fn a_relay_takes_everything_and_literals_need_no_names() {
        let domain = |t: &str| Domain::parse(t).expect("valid");
        let (config, us, dns) = outbound("[127.0.0.1]:10925");
        let hops = hops(&domain("anywhere.example"), &config, &us, &dns).await.expect("the relay").hops;
        assert_eq!(hops.iter().map(|h| h.address.to_string()).collect::<Vec<_>>(), ["127.0.0.1:10925"]);
        let (config, us, dns) = outbound("");
        let hops = super::hops(&domain("[IPv6:::1]"), &config, &us, &dns).await.expect("the address").hops;
        assert_eq!(hops[0].address.to_string(), "[::1]:25");
        let doubt = super::hops(&domain("anywhere.example"), &config, &us, &dns).await;
        assert!(matches!(doubt, Err(Outcome::Deferred { .. })), "{doubt:?}");
    }

    #[test]
    fn mail_does_not_go_in_circles() {
        let us = Domain::parse("mail.example.com").expect("valid");
        let domain = Domain::parse("example.org").expect("valid");
        let hosts = |list: &[&str]| list.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>();
        assert_eq!(before_us(hosts(&["a", "mail.example.com", "b"]), &us, &domain), Ok(hosts(&["a"])));
        assert_eq!(before_us(hosts(&["a", "b"]), &us, &domain), Ok(hosts(&["a", "b"])));
        assert!(matches!(before_us(hosts(&["mail.example.com", "b"]), &us, &domain), Err(Outcome::Failed { .. })));
    }
}
