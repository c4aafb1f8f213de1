//! What SPF asks of the DNS, so that an evaluation can be had over any names.
//!
//! [`Dns`] keeps the bounds of an answer; who else answers has to keep them, too.

use std::net::IpAddr;
use std::net::Ipv4Addr;

use crate::dns::Dns;
use crate::dns::LookupError;
use crate::mail::address::Domain;

/// Answers questions about names. Each method is that of [`Dns`] with the same name.
pub(super) trait Zone: Sync {
    fn texts(&self, name: &str) -> impl Future<Output = Result<Vec<Vec<u8>>, LookupError>> + Send;
    fn ipv4(&self, name: &str) -> impl Future<Output = Result<Vec<Ipv4Addr>, LookupError>> + Send;
    fn addresses_like(&self, name: &str, like: IpAddr)
    -> impl Future<Output = Result<Vec<IpAddr>, LookupError>> + Send;
    fn mx(&self, name: &str) -> impl Future<Output = Result<Vec<(u16, String)>, LookupError>> + Send;
    fn names(&self, ip: IpAddr) -> impl Future<Output = Result<Vec<Domain>, LookupError>> + Send;
}

impl Zone for Dns {
    async fn texts(&self, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
        Self::texts(self, name).await
    }

    async fn ipv4(&self, name: &str) -> Result<Vec<Ipv4Addr>, LookupError> {
        Self::ipv4(self, name).await
    }

    async fn addresses_like(&self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, LookupError> {
        Self::addresses_like(self, name, like).await
    }

    async fn mx(&self, name: &str) -> Result<Vec<(u16, String)>, LookupError> {
        Self::mx(self, name).await
    }

    async fn names(&self, ip: IpAddr) -> Result<Vec<Domain>, LookupError> {
        Self::names(self, ip).await
    }
}
