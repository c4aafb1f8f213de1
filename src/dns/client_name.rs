//! The name of a client: what its address says, confirmed by what the name says (RFC 8601 §2.7.3, "iprev").

use std::net::IpAddr;

use crate::dns::Dns;
use crate::dns::LookupError;
use crate::mail::limits::CLIENT_NAME_TIME;

/// What is known of the name of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientName {
    /// The address has this name, and the name has the address.
    Confirmed(String),
    /// The address says that it has this name, but the name does not say so.
    Unconfirmed(String),
    /// The address has no name, or none that is a host name.
    None,
    /// It could not be found out now.
    Unknown,
}

impl ClientName {
    /// The name that is confirmed.
    #[must_use]
    pub fn confirmed(&self) -> Option<&str> {
        if let Self::Confirmed(name) = self { Some(name) } else { None }
    }
}

impl Dns {
    /// The name of a client. Takes [`CLIENT_NAME_TIME`] at most and never fails; the names are host names in lower
    /// case, fit for a header field and a log line.
    pub async fn client_name(&self, ip: IpAddr) -> ClientName {
        // A socket of both families shows IPv4 in IPv6; names are found by the IPv4 address alone.
        let ip = ip.to_canonical();
        tokio::time::timeout(CLIENT_NAME_TIME, self.find_name(ip)).await.unwrap_or(ClientName::Unknown)
    }

    async fn find_name(&self, ip: IpAddr) -> ClientName {
        let names = match self.names(ip).await {
            Ok(names) => names,
            Err(LookupError::NoSuchName) => return ClientName::None,
            Err(LookupError::Temporary(_)) => return ClientName::Unknown,
        };
        let mut doubt = false;
        for name in &names {
            match self.addresses_like(name.as_str(), ip).await {
                Ok(addresses) if addresses.contains(&ip) => return ClientName::Confirmed(name.as_str().to_owned()),
                Ok(_) | Err(LookupError::NoSuchName) => {}
                Err(LookupError::Temporary(_)) => doubt = true,
            }
        }
        match names.first() {
            None => ClientName::None,
            Some(_) if doubt => ClientName::Unknown,
            Some(name) => ClientName::Unconfirmed(name.as_str().to_owned()),
        }
    }
}
