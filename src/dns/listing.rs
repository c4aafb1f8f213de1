//! Lists of addresses that are asked by DNS (RFC 5782).

use std::net::IpAddr;
use std::net::Ipv4Addr;

use super::Dns;
use super::LookupError;
use crate::mail::address::Domain;

impl Dns {
    /// Whether nobody is asked: the operator said so.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// What the list in `zone` answers about a client; nothing where it is not on it. The look-up ends by itself.
    ///
    /// # Errors
    /// [`LookupError::Temporary`]: no answer.
    pub async fn listed(&self, ip: IpAddr, zone: &Domain) -> Result<Vec<Ipv4Addr>, LookupError> {
        let name = format!("{}.{zone}", reversed(ip));
        match self.ipv4(&name).await {
            Err(LookupError::NoSuchName) => Ok(Vec::new()),
            other => other,
        }
    }
}

/// RFC 5782 §2.1 and §2.4: octets backwards for IPv4, hexadecimal digits backwards for IPv6.
fn reversed(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(v6) => {
            let digits = format!("{:032x}", v6.to_bits());
            let backwards: Vec<String> = digits.chars().rev().map(String::from).collect();
            backwards.join(".")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_backwards() {
        let of = |text: &str| reversed(text.parse().expect("an address"));
        assert_eq!(of("192.0.2.99"), "99.2.0.192");
        assert_eq!(of("::ffff:192.0.2.99"), "99.2.0.192");
        // The example of RFC 5782 §2.4.
        assert_eq!(of("2001:db8:1:2:3:4:567:89ab"), "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2");
    }
}
