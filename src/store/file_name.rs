//! Names of message files in a Maildir: `<secs>.M<micros>P<pid>Q<n>.<host>,S=<size>,W=<wire size>:2,<flags>`.
//!
//! Everything before the first `:` is the base and names the message; what follows is its flags, and changes. Names
//! are octets: other programs write what they like, and what we do not understand is kept.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::mail::flags::Flags;
use crate::mail::ids::QueueId;

/// A file name, as on disk.
pub(super) type FileName = Box<[u8]>;

/// Whether a folder entry can be a message: no hidden file, and nothing that would break a line of the UID list.
pub(super) fn is_message(name: &[u8]) -> bool {
    let base = base(name);
    !base.is_empty() && base[0] != b'.' && !name.iter().any(|b| *b < b' ' || *b == 0x7f)
}

/// What names the message.
pub(super) fn base(name: &[u8]) -> &[u8] {
    &name[..memchr::memchr(b':', name).unwrap_or(name.len())]
}

/// The letters after `:2,`, and what another program wrote after a second comma.
fn letters(name: &[u8]) -> (&[u8], &[u8]) {
    let info = &name[base(name).len()..];
    let letters = info.strip_prefix(b":2,").unwrap_or_default();
    letters.split_at(memchr::memchr(b',', letters).unwrap_or(letters.len()))
}

/// The flags and keywords of a name.
pub(super) fn flags(name: &[u8]) -> Flags {
    Flags::of_letters(letters(name).0)
}

/// The same message with other flags; letters and fields that are not ours stay.
pub(super) fn with_flags(name: &[u8], flags: Flags) -> FileName {
    let (old, after) = letters(name);
    let (_, foreign) = Flags::from_letters(&text(old));
    let mut new = base(name).to_vec();
    new.extend_from_slice(b":2,");
    // Octets were made characters one by one, so all of them fit again.
    new.extend(flags.letters(&foreign).chars().filter_map(|c| u8::try_from(u32::from(c)).ok()));
    new.extend_from_slice(after);
    new.into()
}

fn text(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

/// `,W=`: octets on the wire.
pub(super) fn wire_size(name: &[u8]) -> Option<u64> {
    field(name, b'W')
}

/// `,S=`: octets of the message, which are those of the file unless that is compressed.
pub(super) fn disk_size(name: &[u8]) -> Option<u64> {
    field(name, b'S')
}

fn field(name: &[u8], key: u8) -> Option<u64> {
    base(name)
        .split(|b| *b == b',')
        .skip(1)
        .find_map(|f| std::str::from_utf8(f.strip_prefix(&[key, b'='])?).ok()?.parse().ok())
}

/// What new files are sorted by before they get UIDs: seconds, then microseconds, where the name tells them.
pub(super) fn order(name: &[u8]) -> (u64, u64) {
    let digits = |octets: &[u8]| {
        octets
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')))
    };
    let seconds = digits(name);
    let second_part = name.split(|b| *b == b'.').nth(1).unwrap_or_default();
    let micros = memchr::memchr(b'M', second_part).map_or(0, |at| digits(&second_part[at + 1..]));
    (seconds, micros)
}

/// When the file got its name in this mailbox, seconds since 1970; `None` where the name does not begin with a time.
/// Maildir has a name begin with the time of the delivery, and each copy gets a name of its own, while a change of flags
/// keeps it: so this is the save date (RFC 8514 §2).
pub(super) fn named_at(name: &[u8]) -> Option<i64> {
    let end = name.iter().position(|b| !b.is_ascii_digit())?;
    let seconds = std::str::from_utf8(&name[..end]).ok()?.parse().ok()?;
    // The times of Unix that calendars have; 0 stands for a time that nobody knew.
    (name[end] == b'.' && (1..=LAST_SECOND).contains(&seconds)).then_some(seconds)
}

/// The end of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// A name that no other message ever had; `copied` is the base of the message that this is a copy of, whose size
/// fields it keeps.
pub(super) fn unique(now: Duration, host: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{}.M{}P{}Q{number}.{host}", now.as_secs(), now.subsec_micros(), std::process::id())
}

/// The size fields.
pub(super) fn sizes(disk: u64, wire: u64) -> String {
    format!(",S={disk},W={wire}")
}

/// The size fields of a name that is there already: what follows the first comma of its base.
pub(super) fn fields(name: &[u8]) -> &[u8] {
    let base = base(name);
    &base[memchr::memchr(b',', base).unwrap_or(base.len())..]
}

/// The part before the size fields for a delivery: a function of the id alone, so that a second try finds the first.
/// The time in front is the id's own, or that of `received` where the id has none.
pub(super) fn of_delivery(id: &QueueId, host: &str) -> String {
    let micros = id_micros(id.as_str());
    format!("{}.M{}Q{id}.{host}", micros / 1_000_000, micros % 1_000_000)
}

/// An id begins with the microseconds of its connection in base 32; 0 for ids that were made otherwise.
fn id_micros(id: &str) -> u64 {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let Some((digits, _)) = id.split_once('-').filter(|(digits, _)| digits.len() == 11) else { return 0 };
    let mut micros = 0u64;
    for digit in digits.bytes() {
        let Some(value) = ALPHABET.iter().position(|a| *a == digit) else { return 0 };
        micros = micros << 5 | u64::try_from(value).unwrap_or(0);
    }
    micros
}

/// This machine's name as part of a file name.
pub(super) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let safe: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.' || *c == '-').take(64).collect();
    if safe.is_empty() { "localhost".to_owned() } else { safe }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::flags::SystemFlag;
    use crate::mail::ids::SessionId;

    #[test]
    fn times_of_names() {
        for (name, time) in [
            (&b"1700000000.M5P6Q7.host,S=1:2,S"[..], Some(1_700_000_000)),
            (b"1.a", Some(1)),
            (b"0.M0Qx.host", None),
            (b"msg.1:2,", None),
            (b"1700000000", None),
            (b"1700000000:2,S", None),
            (b"99999999999999999999.a", None),
            (b"253402300800.a", None),
            (b"", None),
        ] {
            assert_eq!(named_at(name), time, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn foreign_letters_and_fields_stay() {
        for (name, with_seen) in [
            (&b"1.a"[..], &b"1.a:2,S"[..]),
            (b"1.a,S=3:2,", b"1.a,S=3:2,S"),
            (b"1.a:2,P", b"1.a:2,PS"),
            (b"1.a:2,\xe9,x=y", b"1.a:2,S\xe9,x=y"),
            (b"1.\xff:1,odd", b"1.\xff:2,S"),
            (b"1.a:2,ZZ", b"1.a:2,SZ"),
        ] {
            let seen = Flags::NONE.with(SystemFlag::Seen);
            assert_eq!(&*with_flags(name, flags(name).union(seen)), with_seen);
            assert!(flags(with_seen).has(SystemFlag::Seen));
        }
    }

    #[test]
    fn sizes_are_read_from_the_base_only() {
        assert_eq!(wire_size(b"1.a,S=10,W=12:2,S"), Some(12));
        assert_eq!(wire_size(b"1.a,S=10:2,W=12"), None);
        assert_eq!(wire_size(b"1.a,W=x"), None);
        assert_eq!(fields(b"1.a,S=10,W=12:2,S"), b",S=10,W=12");
        assert_eq!(fields(b"1.a:2,S,x"), b"");
    }

    #[test]
    fn names_sort_by_time() {
        let mut names = [&b"10.M5P1.h"[..], b"9.M7P1.h", b"10.M40P1Q1.h", b"odd", b"99999999999999999999999.x"];
        names.sort_by_key(|n| order(n));
        assert_eq!(names, [&b"odd"[..], b"9.M7P1.h", b"10.M5P1.h", b"10.M40P1Q1.h", b"99999999999999999999999.x"]);
    }

    #[test]
    fn a_delivery_is_named_by_its_id() {
        let id = SessionId::new(Duration::from_micros(4_000_000_000_000_007)).message(3);
        let name = of_delivery(&id, "h");
        assert_eq!(name, of_delivery(&id, "h"));
        assert!(name.ends_with(&format!("Q{id}.h")));
        assert!(order(name.as_bytes()).0 >= 4_000_000_000);
        assert_eq!(id_micros("x"), 0);
        assert_eq!(id_micros("iiiiiiiiiii-1"), 0);
    }

    #[test]
    fn what_is_a_message() {
        for (name, is) in [
            (&b"1.a"[..], true),
            (b".hidden", false),
            (b"", false),
            (b":2,S", false),
            (b"a\nb", false),
            (b"\xe9", true),
        ] {
            assert_eq!(is_message(name), is, "{name:?}");
        }
    }
}
