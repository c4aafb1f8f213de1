//! The network prefixes under which peers are counted.
//!
//! One IPv6 customer has a /64 to himself, so counting single addresses would count nothing.

use std::net::IpAddr;
use std::net::Ipv6Addr;

/// An IPv4 address, or an IPv6 /64; IPv4 mapped into IPv6 counts as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(IpAddr);

impl PeerKey {
    /// The key of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        Self(prefix(ip, 64))
    }

    /// The wider network that several customers of one provider share: the /48 of IPv6, nothing for IPv4.
    #[must_use]
    pub fn wide(ip: IpAddr) -> Option<Self> {
        let wide = prefix(ip, 48);
        wide.is_ipv6().then_some(Self(wide))
    }
}

fn prefix(ip: IpAddr, length: u32) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - length)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_is_one_key() {
        let key = |t: &str| PeerKey::of(t.parse().expect("an address"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        let wide = |t: &str| PeerKey::wide(t.parse().expect("an address"));
        assert_eq!(wide("2001:db8:1:2::1"), wide("2001:db8:1:3::1"));
        assert_eq!(wide("192.0.2.1"), None);
    }
}
