//! The right to send to other servers, as a value (design promise: never an open relay, by construction).
//!
//! Mail for elsewhere travels as an [`Admitted`], which only [`admit`] makes; for a recipient that is not ours it needs
//! a [`RelayPermit`], which only a login or a trusted network gives. There is no other way to the queue.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::directory::Authenticated;
use crate::directory::Destination;
use crate::directory::Resolution;
use crate::mail::address::Address;
use crate::protocol::smtp::reply::Reply;

/// The right to relay.
#[derive(Debug, Clone)]
pub struct RelayPermit(Ground);

#[derive(Debug, Clone)]
enum Ground {
    Login(Address),
    Network(IpNet),
    OwnNotice,
}

impl RelayPermit {
    /// Whoever has logged in may.
    #[must_use]
    pub fn of_user(user: &Authenticated) -> Self {
        Self(Ground::Login(user.account().address().clone()))
    }

    /// Whoever connects from a trusted network may. IPv4 counts as IPv4 also where it comes mapped into IPv6.
    #[must_use]
    pub fn of_network(peer: IpAddr, trusted: &[IpNet]) -> Option<Self> {
        let peer = peer.to_canonical();
        trusted.iter().find(|network| network.contains(&peer)).map(|network| Self(Ground::Network(*network)))
    }
}

impl RelayPermit {
    /// Whether somebody has logged in.
    #[must_use]
    pub fn is_of_user(&self) -> bool {
        matches!(self.0, Ground::Login(_))
    }

    /// A notice that this server wrote itself, to the sender of a message that it had admitted.
    pub(crate) fn of_own_notice() -> Self {
        Self(Ground::OwnNotice)
    }
}

impl std::fmt::Display for RelayPermit {
    /// For the log: by what right.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Ground::Login(address) => write!(f, "login of {address}"),
            Ground::Network(network) => write!(f, "trusted network {network}"),
            Ground::OwnNotice => f.write_str("notice of our own"),
        }
    }
}

/// A recipient that was judged and may have the message.
#[derive(Debug, Clone)]
pub struct Admitted {
    address: Address,
    destinations: Vec<Destination>,
}

impl Admitted {
    /// As RCPT named it.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where it goes; never empty.
    #[must_use]
    pub fn destinations(&self) -> &[Destination] {
        &self.destinations
    }
}

/// Judges a recipient. An alias of ours that points elsewhere needs no permit: the operator pointed it there.
///
/// # Errors
/// The reply that says why not.
pub fn admit(address: Address, resolution: Resolution, permit: Option<&RelayPermit>) -> Result<Admitted, Reply> {
    let destinations = match resolution {
        Resolution::Local(destinations) => destinations,
        Resolution::Unknown => return Err(Reply::unknown_recipient()),
        Resolution::Expired => return Err(Reply::expired_recipient()),
        Resolution::Trouble => return Err(Reply::local_trouble()),
        Resolution::Elsewhere if permit.is_some() => vec![Destination::Remote(address.clone())],
        Resolution::Elsewhere => return Err(Reply::relay_denied()),
    };
    Ok(Admitted { address, destinations })
}

/// Admits a recipient whom nobody here is, for a user who wants a notice instead of a refusal: from the queue he gets
/// one. `None` for whoever is no user of ours.
#[must_use]
pub fn admit_unlisted(address: Address, permit: Option<&RelayPermit>) -> Option<Admitted> {
    let destinations = vec![Destination::Remote(address.clone())];
    permit.filter(|permit| permit.is_of_user()).map(|_| Admitted { address, destinations })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|t| t.parse().expect("a network")).collect()
    }

    fn address() -> Address {
        Address::parse("v@elsewhere.example").expect("valid")
    }

    #[test]
    fn open_relay_strangers_get_no_permit() {
        let trusted = networks(&["127.0.0.0/8", "::1/128", "10.0.0.0/8"]);
        for (peer, permitted) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.255.255.255", true),
            ("::ffff:10.0.0.1", true),
            ("11.0.0.1", false),
            ("::ffff:11.0.0.1", false),
            ("::2", false),
            ("::10.0.0.1", false),
            ("2001:db8::1", false),
        ] {
            let permit = RelayPermit::of_network(peer.parse().expect("an address"), &trusted);
            assert_eq!(permit.is_some(), permitted, "{peer}");
        }
    }

    #[test]
    fn open_relay_needs_a_permit() {
        assert_eq!(admit(address(), Resolution::Elsewhere, None).err(), Some(Reply::relay_denied()));
        assert_eq!(admit(address(), Resolution::Unknown, None).err(), Some(Reply::unknown_recipient()));
        assert_eq!(admit(address(), Resolution::Expired, None).err(), Some(Reply::expired_recipient()));
        assert_eq!(admit(address(), Resolution::Trouble, None).err().map(|reply| reply.code()), Some(451));
        let permit = RelayPermit::of_network([127, 0, 0, 1].into(), &networks(&["127.0.0.0/8"])).expect("trusted");
        assert_eq!(admit(address(), Resolution::Unknown, Some(&permit)).err(), Some(Reply::unknown_recipient()));
        let admitted = admit(address(), Resolution::Elsewhere, Some(&permit)).expect("permitted");
        assert!(matches!(admitted.destinations(), [Destination::Remote(to)] if *to == address()));
    }
}
