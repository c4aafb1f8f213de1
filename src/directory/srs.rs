//! The Sender Rewriting Scheme: a sender of our own domain for mail that an alias sends elsewhere, and the way back.
//!
//! | | local part |
//! | --- | --- |
//! | first rewriting | `SRS0=hash=day=domain=local` |
//! | of what another host has rewritten | `SRS1=hash=domain of the first host==its hash=day=domain=local` |
//!
//! The hash is an HMAC-SHA-256 of all behind it, in lower case, since hosts on the way may change the case. Of it 40 bits
//! are kept, eight letters of base 32: who guesses has 2^39 tries on average, each a RCPT, twenty of which end a session,
//! and would win the right to write to one address through us for three weeks; more letters would leave no room. A day is
//! two letters, days since 1970 modulo 1024.
//!
//! SRS1 has no day of ours, so with us it never expires: the form has no place for one, and the next host would take it for
//! the name of the first. The day of the first host is in there; that host refuses what is too old, and whoever has such an
//! address can reach nobody through us but that host, under the one SRS0 address that we have signed.
//!
//! A local part may have 64 octets (RFC 5321 §4.5.3.1.1). A sender that would become longer keeps its name: the
//! recipient's server may then see SPF fail, which is better than a return address that no server takes.

use std::io;
use std::io::Write;
use std::path::Path;

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;

use crate::clock::Clock;
use crate::fsio;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::limits::SRS_DAYS;

/// Letters of base 32 of a hash.
const HASH_LETTERS: usize = 8;

/// Octets that they stand for.
const HASH_OCTETS: usize = 5;

/// Octets of the key: as many as the hash function gives.
const KEY_OCTETS: usize = 32;

/// Days that two letters can tell apart.
const DAYS: u64 = 1024;

/// The alphabet of days, as others have it.
const DAY_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Signs senders, and knows what it has signed.
pub struct Srs {
    key: hmac::Key,
    clock: Clock,
}

impl std::fmt::Debug for Srs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Srs").finish_non_exhaustive()
    }
}

/// What an address in the form of SRS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Return {
    /// We signed it: this was the sender.
    To(Address),
    /// We signed it, too long ago.
    Expired,
    /// Not ours.
    Forged,
}

impl Srs {
    /// With the key in this file, which is made where it is missing, readable by its owner alone.
    ///
    /// # Errors
    /// What the kernel says; a file that holds no key.
    pub fn open(file: &Path, clock: Clock) -> io::Result<Self> {
        let bytes = match fsio::read_regular(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut key = [0; KEY_OCTETS];
                aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no random bytes"))?;
                if let Some(folder) = file.parent() {
                    fsio::create_dir_durably(folder)?;
                }
                fsio::replace_with(file, |out| {
                    use std::os::unix::fs::PermissionsExt;
                    out.set_permissions(std::fs::Permissions::from_mode(0o600))?;
                    out.write_all(&key)
                })?;
                key.to_vec()
            }
            Err(error) => return Err(error),
        };
        if bytes.len() != KEY_OCTETS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a key of {KEY_OCTETS} octets")));
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), clock })
    }

    /// The sender under which mail of `sender` leaves through an alias of `own`; `None` where it would be too long.
    pub(super) fn forward(&self, sender: &Address, own: &Domain) -> Option<Address> {
        let local = match parts(sender.local()) {
            Some((Kind::First, separator, rest)) => {
                let signed = format!("{}={separator}{rest}", sender.domain());
                format!("SRS1={}={signed}", self.hash(Kind::Again, &signed))
            }
            Some((Kind::Again, _, rest)) => {
                // The host before us goes, the first one stays: the way back is two hops, however long the way was.
                let (_, signed) = rest.split_once('=')?;
                format!("SRS1={}={signed}", self.hash(Kind::Again, signed))
            }
            None => {
                let signed = format!("{}={}={}", self.today(), sender.domain(), sender.local());
                format!("SRS0={}={signed}", self.hash(Kind::First, &signed))
            }
        };
        Address::from_parts(&local, own.clone()).ok()
    }

    /// Whom an answer to this address is for; `None` where it has not the form of SRS.
    pub(super) fn back(&self, address: &Address) -> Option<Return> {
        let (kind, _, rest) = parts(address.local())?;
        let signed =
            rest.split_once('=').filter(|(hash, signed)| self.is_hash_of(hash, kind, signed)).map(|(_, signed)| signed);
        let Some(signed) = signed else { return Some(Return::Forged) };
        let to = match kind {
            Kind::First => {
                let mut parts = signed.splitn(3, '=');
                let (day, domain, local) = (parts.next()?, parts.next()?, parts.next()?);
                if !self.is_recent(day) {
                    return Some(Return::Expired);
                }
                Domain::parse(domain).and_then(|domain| Address::from_parts(local, domain))
            }
            // How old it is, the first host looks at: see above.
            Kind::Again => {
                let (domain, rest) = signed.split_once('=')?;
                Domain::parse(domain).and_then(|domain| Address::from_parts(&format!("SRS0{rest}"), domain))
            }
        };
        Some(to.map_or(Return::Forged, Return::To))
    }

    /// The two forms are signed apart: one is not to be read as the other.
    fn hash(&self, kind: Kind, signed: &str) -> String {
        let tag = hmac::sign(&self.key, format!("{}={signed}", kind.name()).to_lowercase().as_bytes());
        BASE32_NOPAD.encode(tag.as_ref().get(..HASH_OCTETS).unwrap_or_default())
    }

    fn is_hash_of(&self, hash: &str, kind: Kind, signed: &str) -> bool {
        let expected = self.hash(kind, signed);
        let given = hash.to_ascii_uppercase();
        given.len() == HASH_LETTERS
            && aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), expected.as_bytes()).is_ok()
    }

    fn day_number(&self) -> u64 {
        self.clock.since_epoch().as_secs() / 86_400 % DAYS
    }

    fn today(&self) -> String {
        let day = self.day_number();
        let letter = |n: u64| char::from(DAY_ALPHABET[usize::try_from(n % 32).unwrap_or(0)]);
        format!("{}{}", letter(day / 32), letter(day))
    }

    fn is_recent(&self, day: &str) -> bool {
        let value = |c: u8| DAY_ALPHABET.iter().position(|a| *a == c.to_ascii_uppercase()).map(|n| n as u64);
        let day = match day.as_bytes() {
            [high, low] => value(*high).zip(value(*low)).map(|(high, low)| high * 32 + low),
            _ => None,
        };
        day.is_some_and(|day| (DAYS + self.day_number() - day) % DAYS <= SRS_DAYS)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    First,
    Again,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::First => "SRS0",
            Self::Again => "SRS1",
        }
    }
}

/// Cuts `SRS0=rest`. Between `SRS0` and what follows others write `+` or `-`, which belongs to what they have signed.
fn parts(local: &str) -> Option<(Kind, char, &str)> {
    let kind = match local.get(..4)?.to_ascii_uppercase().as_str() {
        "SRS0" => Kind::First,
        "SRS1" => Kind::Again,
        _ => return None,
    };
    let separator = local[4..].chars().next().filter(|c| "=+-".contains(*c))?;
    Some((kind, separator, &local[5..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;
    use std::time::SystemTime;

    fn address(text: &str) -> Address {
        Address::parse(text).expect("valid")
    }

    fn host(dir: &Path, name: &str, clock: &Clock) -> Srs {
        Srs::open(&dir.join(name), clock.clone()).expect("a key")
    }

    #[test]
    fn there_and_back() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let srs = host(dir.path(), "keys/srs.key", &clock);
        let mode = std::fs::metadata(dir.path().join("keys/srs.key")).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let own = Domain::parse("example.com").expect("valid");
        let sender = address("Joe=x@far.example");
        let there = srs.forward(&sender, &own).expect("fits");
        assert!(there.to_string().starts_with("SRS0="), "{there}");
        assert_eq!((there.domain(), there.local().len()), (&own, 5 + 8 + 1 + 2 + 1 + 11 + 1 + 5));
        assert_eq!(srs.back(&there), Some(Return::To(sender.clone())));
        let lower = address(&there.to_string().to_lowercase());
        assert_eq!(
            srs.back(&lower),
            Some(Return::To(address("joe=x@far.example"))),
            "a host on the way changed the case"
        );
        let again = host(dir.path(), "keys/srs.key", &clock);
        assert_eq!(again.back(&there), Some(Return::To(sender.clone())), "the key stays");
        clock.advance(Duration::from_secs(SRS_DAYS * 86_400));
        assert_eq!(srs.back(&there), Some(Return::To(sender)));
        clock.advance(Duration::from_secs(86_400));
        assert_eq!(srs.back(&there), Some(Return::Expired));
        assert_eq!(srs.back(&address("alice@example.com")), None);
        assert_eq!(srs.back(&address("srs0x@example.com")), None);
        assert_eq!(srs.forward(&address(&format!("{}@far.example", "x".repeat(40))), &own), None, "no room");
    }

    #[test]
    fn nothing_is_forged() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let (srs, other) = (host(dir.path(), "a", &clock), host(dir.path(), "b", &clock));
        let own = Domain::parse("example.com").expect("valid");
        let there = srs.forward(&address("joe@far.example"), &own).expect("fits").to_string();
        assert_eq!(other.back(&address(&there)), Some(Return::Forged));
        for text in [
            there.replace("joe", "jim"),
            there.replace("far", "fat"),
            there.replacen('=', "=A", 1),
            there.replace("SRS0", "SRS1"),
            "SRS0=@example.com".to_owned(),
            "SRS0=AAAAAAAA=AA=far.example=joe@example.com".to_owned(),
            "SRS0=AAAA@example.com".to_owned(),
            "SRS1===@example.com".to_owned(),
        ] {
            assert_eq!(srs.back(&address(&text)), Some(Return::Forged), "{text}");
        }
    }

    #[test]
    fn over_three_hosts_the_way_back_is_two() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let domain = |text: &str| Domain::parse(text).expect("valid");
        let (a, b, c) = (host(dir.path(), "a", &clock), host(dir.path(), "b", &clock), host(dir.path(), "c", &clock));
        let joe = address("j@f.example");
        let at_a = a.forward(&joe, &domain("a.example")).expect("fits");
        let at_b = b.forward(&at_a, &domain("b.example")).expect("fits");
        let at_c = c.forward(&at_b, &domain("c.example")).expect("fits");
        assert!(at_c.local().starts_with("SRS1=") && at_c.local().contains("=a.example=="), "{at_c}");
        assert_eq!(c.back(&at_c), Some(Return::To(at_a.clone())));
        assert_eq!(b.back(&at_b), Some(Return::To(at_a.clone())));
        assert_eq!(a.back(&at_a), Some(Return::To(joe)));
        clock.advance(Duration::from_secs((SRS_DAYS + 1) * 86_400));
        assert_eq!(c.back(&at_c), Some(Return::To(at_a.clone())), "the first host looks at the day");
        assert_eq!(a.back(&at_a), Some(Return::Expired));
        // Another program's separator comes back as it was.
        let foreign = address("SRS0+abcd=xy=f.example=j@a.example");
        let there = b.forward(&foreign, &domain("b.example")).expect("fits");
        assert_eq!(b.back(&there), Some(Return::To(foreign)));
    }
}
