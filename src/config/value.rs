//! The kinds of values a key can have, each read from TOML into a type that cannot be wrong.

use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::capability::IMAP_CAPABILITIES;
use crate::mail::capability::ImapCapability;
use crate::mail::mailbox::Separator;

/// A value with its place in the file.
#[derive(Debug, Clone)]
pub struct Span<T> {
    /// The value.
    pub value: T,
    /// Its place, in octets.
    pub at: Range<usize>,
}

/// A kind of value.
pub(super) trait Value: Sized {
    /// What was expected, with an example: "a domain name was expected, for example ...".
    const EXPECTED: &'static str;
    /// The value; `None` where the TOML type is another one, `Some(Err)` where the text is wrong.
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>>;
}

/// What is wrong with a value.
pub(super) fn read<T: Value>(value: &DeValue<'_>) -> Result<T, String> {
    T::read(value).unwrap_or_else(|| {
        let article = if value.type_str().starts_with(['a', 'i', 'o', 'u', 'e']) { "an" } else { "a" };
        Err(format!("{article} {}, where {}", value.type_str(), T::EXPECTED))
    })
}

fn from_text<T>(value: &DeValue<'_>, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<Result<T, String>> {
    value.as_str().map(parse)
}

impl Value for String {
    const EXPECTED: &'static str = "a text was expected";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, |t| Ok(t.to_owned()))
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false was expected";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        value.as_bool().map(Ok)
    }
}

impl Value for u32 {
    const EXPECTED: &'static str = "a whole number was expected";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        let integer = value.as_integer()?;
        Some(
            Self::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| format!("{} is out of range; write a number from 0 to {}", integer.as_str(), Self::MAX)),
        )
    }
}

impl Value for i32 {
    const EXPECTED: &'static str = "a whole number was expected, for example 2 or -2";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        let integer = value.as_integer()?;
        let range = format!("write a number from {} to {}", Self::MIN, Self::MAX);
        Some(
            Self::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| format!("{} is out of range; {range}", integer.as_str())),
        )
    }
}

impl Value for u16 {
    const EXPECTED: &'static str = "a port number was expected, for example 25";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        let integer = value.as_integer()?;
        Some(
            Self::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| format!("{} is no port number; write one from 1 to {}", integer.as_str(), Self::MAX)),
        )
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path was expected, for example \"/var/lib/facteur\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, |t| if t.is_empty() { Err("the path is empty".to_owned()) } else { Ok(Self::from(t)) })
    }
}

impl Value for Domain {
    const EXPECTED: &'static str = "a domain name was expected, for example \"example.com\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, |t| {
            Self::parse(t).map_err(|_| format!("{t:?} is not a domain name; write one such as \"example.com\""))
        })
    }
}

impl Value for Address {
    const EXPECTED: &'static str = "an address was expected, for example \"alice@example.com\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, |t| {
            Self::parse(t)
                .map_err(|error| format!("{t:?} is not an address ({error}); write one such as \"alice@example.com\""))
        })
    }
}

impl Value for IpNet {
    const EXPECTED: &'static str = "a network was expected, for example \"192.0.2.0/24\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, parse_network)
    }
}

/// Reads a network, or one address. An IPv6 address may stand in brackets, as Postfix has it; an IPv4 address within IPv6
/// becomes what it is, since that is what it is compared with.
///
/// # Errors
/// Words for the operator.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("{text:?} is not a network; write an address and a prefix, for example \"192.0.2.0/24\"");
    let bare = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, prefix) = rest.split_once(']').ok_or_else(wrong)?;
            let is_whole = address.parse::<Ipv6Addr>().is_ok() && (prefix.is_empty() || prefix.starts_with('/'));
            is_whole.then_some(()).ok_or_else(wrong)?;
            format!("{address}{prefix}")
        }
        None => text.to_owned(),
    };
    let network = bare.parse::<IpNet>().or_else(|_| bare.parse::<std::net::IpAddr>().map(IpNet::from));
    let network = network.map_err(|_| wrong())?;
    let mapped = match network {
        IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_PREFIX)),
        IpNet::V4(_) => None,
    };
    match mapped {
        Some((v4, prefix)) => ipnet::Ipv4Net::new(v4, prefix).map(IpNet::V4).map_err(|_| wrong()),
        None => Ok(network),
    }
}

/// Bits before an IPv4 address within IPv6.
const MAPPED_PREFIX: u8 = 96;

/// A number of octets, written `"50MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(u64);

impl ByteSize {
    /// The number.
    #[must_use]
    pub fn octets(self) -> u64 {
        self.0
    }
}

impl Value for ByteSize {
    const EXPECTED: &'static str = "a size was expected, for example \"50MiB\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        if let Some(integer) = value.as_integer() {
            return Some(
                u64::from_str_radix(integer.as_str(), integer.radix())
                    .map(Self)
                    .map_err(|_| format!("{} is out of range for a size", integer.as_str())),
            );
        }
        from_text(value, |t| {
            let digits = t.trim_end_matches(|c: char| !c.is_ascii_digit());
            let shift = match t[digits.len()..].trim() {
                "" | "B" => Some(0),
                "KiB" | "K" | "KB" | "k" => Some(10),
                "MiB" | "M" | "MB" => Some(20),
                "GiB" | "G" | "GB" => Some(30),
                _ => None,
            };
            let number = digits.trim().parse::<u64>().ok();
            number.zip(shift).and_then(|(n, s)| n.checked_mul(1 << s)).map(Self).ok_or_else(|| {
                format!("{t:?} is not a size; write a number with KiB, MiB or GiB, for example \"50MiB\"")
            })
        })
    }
}

/// Reads a time such as `5m`: a number with s, m, h or d.
///
/// # Errors
/// Words for the operator.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let seconds = match text[digits.len()..].trim() {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3600),
        "d" => Some(86_400),
        _ => None,
    };
    let number = digits.trim().parse::<u64>().ok();
    // A century is longer than any wait makes sense, and keeps later sums far from overflow.
    let total = number.zip(seconds).and_then(|(n, s)| n.checked_mul(s)).filter(|n| *n <= 100 * 365 * 86_400);
    total
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is not a time; write a number with s, m, h or d, for example \"5m\""))
}

impl Value for Duration {
    const EXPECTED: &'static str = "a time was expected, for example \"5m\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, parse_time)
    }
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl Value for ListenAddress {
    const EXPECTED: &'static str = "an address with a port was expected, for example \"[::]:25\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        if let Some(integer) = value.as_integer() {
            let port = integer.as_str().parse::<u16>();
            let all = |port| Self(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
            return Some(port.map(all).map_err(|_| format!("{} is no port number", integer.as_str())));
        }
        from_text(value, |t| {
            t.parse().map(Self).map_err(|_| {
                format!("{t:?} is not an address with a port; write for example \"[::]:25\" or \"192.0.2.1:25\"")
            })
        })
    }
}

/// A server that takes all our outside mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayHost {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether the MX records of the name are looked up; brackets in the text say no.
    pub mx: bool,
}

impl Value for Option<RelayHost> {
    const EXPECTED: &'static str = "a host was expected, for example \"[smtp.example.com]:587\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, |t| {
            if t.is_empty() {
                return Ok(None);
            }
            let wrong = || {
                format!(
                    "{t:?} is not a host; write \"[smtp.example.com]:587\", or without brackets to use its MX records"
                )
            };
            let (host, port, mx) = if let Some(rest) = t.strip_prefix('[') {
                let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
                (host, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("25")), false)
            } else {
                let (host, port) = t.split_once(':').unwrap_or((t, "25"));
                (host, Some(port), true)
            };
            let port = port.and_then(|p| p.parse().ok()).filter(|p| *p != 0).ok_or_else(wrong)?;
            let is_ip = host.parse::<std::net::IpAddr>().is_ok();
            if !is_ip && (Domain::parse(host).is_err() || host.starts_with('[')) {
                return Err(wrong());
            }
            Ok(Some(RelayHost { host: host.to_ascii_lowercase(), port, mx: mx && !is_ip }))
        })
    }
}

impl Value for Option<PathBuf> {
    const EXPECTED: &'static str = "a path was expected, for example \"/etc/ssl/mail.pem\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, |t| Ok((!t.is_empty()).then(|| PathBuf::from(t))))
    }
}

/// Who answers our DNS questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolver {
    /// What `/etc/resolv.conf` names.
    System,
    /// Nobody: names are not looked up, and mail that needs it waits.
    Off,
    /// This server.
    Server(SocketAddr),
}

impl Value for Resolver {
    const EXPECTED: &'static str = "a resolver was expected, for example \"system\" or \"127.0.0.1:53\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, |t| match t {
            "system" => Ok(Self::System),
            "off" => Ok(Self::Off),
            _ => t
                .parse()
                .or_else(|_| t.parse::<std::net::IpAddr>().map(|ip| SocketAddr::from((ip, 53))))
                .map(Self::Server)
                .map_err(|_| {
                    format!("{t:?} is no resolver; write \"system\", \"off\", or an address such as \"127.0.0.1:53\"")
                }),
        })
    }
}

/// Reads a word out of a fixed list.
fn one_of<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Option<Result<T, String>> {
    from_text(value, |t| {
        words.iter().find(|(word, _)| *word == t).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let meant =
                super::problem::nearest(t, &names).map_or(String::new(), |n| format!(", probably {n:?} was meant"));
            format!("{t:?} is none of \"{}\"{meant}", names.join("\", \""))
        })
    })
}

/// What to do with a bare CR or LF in a message from a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BareNewline {
    /// Refuse the message.
    Reject,
    /// Make it a line end.
    Normalise,
}

impl Value for BareNewline {
    const EXPECTED: &'static str = "\"reject\" or \"normalise\" was expected";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        one_of(value, &[("reject", Self::Reject), ("normalise", Self::Normalise)])
    }
}

/// What becomes of the mail of a stranger who does not fulfil something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckAction {
    /// It is refused for good.
    Reject,
    /// It is refused for now: its sender tries again, and an operator has time to mend his names.
    TempFail,
    /// It is taken, and filed in Junk.
    Junk,
    /// It is taken, and the log says what was found.
    Mark,
    /// Nobody looks.
    Off,
}

impl Value for CheckAction {
    const EXPECTED: &'static str = "\"reject\" was expected, or \"tempfail\", \"junk\", \"mark\", \"off\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        let words = [
            ("reject", Self::Reject),
            ("tempfail", Self::TempFail),
            ("junk", Self::Junk),
            ("mark", Self::Mark),
            ("off", Self::Off),
        ];
        one_of(value, &words)
    }
}

/// What follows the host name in the greeting of SMTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Banner(pub String);

impl Value for Banner {
    const EXPECTED: &'static str = "a text was expected, for example \"ESMTP\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, |t| {
            let printable = t.bytes().all(|b| (b' '..=b'~').contains(&b));
            // RFC 5321 §4.5.3.1.5: a reply line has 512 octets.
            if printable && t.len() <= 200 && t.split(' ').next() == Some("ESMTP") {
                Ok(Self(t.to_owned()))
            } else {
                Err(format!(
                    "{t:?} is no banner; write ESMTP and up to 200 printable characters, for example \"ESMTP\""
                ))
            }
        })
    }
}

/// Where a milter listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MilterAddress {
    /// A Unix socket.
    Unix(PathBuf),
    /// Host and port.
    Inet(String),
}

impl std::fmt::Display for MilterAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inet(address) => write!(f, "inet:{address}"),
        }
    }
}

impl Value for MilterAddress {
    const EXPECTED: &'static str = "a milter's address was expected, for example \"unix:/run/rspamd/milter.sock\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        from_text(value, |t| {
            let wrong =
                || format!("{t:?} is no milter's address; write \"unix:/path/to/socket\" or \"inet:127.0.0.1:11332\"");
            if let Some(path) = t.strip_prefix("unix:") {
                return if path.starts_with('/') { Ok(Self::Unix(PathBuf::from(path))) } else { Err(wrong()) };
            }
            let inet = t.strip_prefix("inet:").unwrap_or(t);
            let (host, port) = inet.rsplit_once(':').ok_or_else(wrong)?;
            let is_host =
                host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() || Domain::parse(host).is_ok();
            let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
            if is_host && is_port { Ok(Self::Inet(inet.to_owned())) } else { Err(wrong()) }
        })
    }
}

/// Which mail a hook sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookOn {
    /// Mail from other servers.
    Smtp,
    /// Mail from our users.
    Submission,
}

impl Value for HookOn {
    const EXPECTED: &'static str = "\"smtp\" or \"submission\" was expected";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        one_of(value, &[("smtp", Self::Smtp), ("submission", Self::Submission)])
    }
}

/// What becomes of mail that a hook gives no judgement of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookFailure {
    /// Its sender tries again.
    TempFail,
    /// It is taken as if there were no hook.
    Accept,
    /// It is taken and filed in Junk.
    Junk,
}

impl Value for HookFailure {
    const EXPECTED: &'static str = "\"tempfail\" was expected, or \"accept\", \"junk\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        one_of(value, &[("tempfail", Self::TempFail), ("accept", Self::Accept), ("junk", Self::Junk)])
    }
}

/// What becomes of mail that a hook refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookRefusal {
    /// It is refused.
    Refuse,
    /// It is taken and filed in Junk.
    Junk,
}

impl Value for HookRefusal {
    const EXPECTED: &'static str = "\"refuse\" or \"junk\" was expected";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        one_of(value, &[("refuse", Self::Refuse), ("junk", Self::Junk)])
    }
}

/// How the mailboxes of an account lie in its Maildir.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Side by side, the names of their parents in their own: `.a.b`.
    #[default]
    MaildirPlusPlus,
    /// One in the other, as Dovecot's `LAYOUT=fs` has them: `a/b`.
    Fs,
}

impl Value for Layout {
    const EXPECTED: &'static str = "\"maildir++\" or \"fs\" was expected";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        one_of(value, &[("maildir++", Self::MaildirPlusPlus), ("fs", Self::Fs)])
    }
}

impl Value for ImapCapability {
    const EXPECTED: &'static str = "the name of an IMAP extension was expected, for example \"QRESYNC\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        let name = value.as_str()?;
        Some(Self::named(name).ok_or_else(|| {
            let known = IMAP_CAPABILITIES.join(" ");
            format!("\"{name}\" is no extension that this server announces and can do without; those are: {known}")
        }))
    }
}

impl Value for Separator {
    const EXPECTED: &'static str = "\"/\" or \".\" was expected";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        one_of(value, &[("/", Self::Slash), (".", Self::Dot)])
    }
}

/// TLS towards other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboundTls {
    /// When the other side offers it; any certificate will do.
    Opportunistic,
    /// Never.
    Off,
}

impl Value for OutboundTls {
    const EXPECTED: &'static str = "\"opportunistic\" or \"off\" was expected";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        one_of(value, &[("opportunistic", Self::Opportunistic), ("off", Self::Off)])
    }
}

/// What SPF does to mail of strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpfPolicy {
    /// It is not checked.
    Off,
    /// The header says what was found.
    Mark,
    /// What the domain of the sender disowns is refused, unless DMARC passes.
    Reject,
}

impl Value for SpfPolicy {
    const EXPECTED: &'static str = "\"mark\" was expected, or \"off\", \"reject\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        one_of(value, &[("off", Self::Off), ("mark", Self::Mark), ("reject", Self::Reject)])
    }
}

/// What a failure of DMARC does to mail of strangers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmarcPolicy {
    /// It is not checked.
    Off,
    /// The header says what was found.
    Mark,
    /// What the domain of the author wants refused or suspected goes to Junk.
    Quarantine,
    /// What it wants refused is refused, what it wants suspected goes to Junk.
    Reject,
}

impl Value for DmarcPolicy {
    const EXPECTED: &'static str = "\"quarantine\" was expected, or \"off\", \"mark\", \"reject\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        let words =
            [("off", Self::Off), ("mark", Self::Mark), ("quarantine", Self::Quarantine), ("reject", Self::Reject)];
        one_of(value, &words)
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// What went wrong.
    Error,
    /// And what looks odd.
    Warn,
    /// And one line per event.
    Info,
    /// And what helps to find a fault.
    Debug,
}

impl Value for Level {
    const EXPECTED: &'static str = "\"info\" was expected, or \"error\", \"warn\", \"debug\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        one_of(value, &[("error", Self::Error), ("warn", Self::Warn), ("info", Self::Info), ("debug", Self::Debug)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text<T: Value>(t: &str) -> Result<T, String> {
        read(&DeValue::String(t.into()))
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(text::<ByteSize>("50MiB").map(ByteSize::octets), Ok(52_428_800));
        assert_eq!(text::<ByteSize>("10").map(ByteSize::octets), Ok(10));
        assert!(
            text::<ByteSize>("99999999999GiB").is_err()
                && text::<ByteSize>("").is_err()
                && text::<ByteSize>("5 apples").is_err()
        );
        assert_eq!(text::<Duration>("5m"), Ok(Duration::from_secs(300)));
        assert!(text::<Duration>("5").is_err() && text::<Duration>("9999999999d").is_err());
    }

    #[test]
    fn relay_hosts() {
        let host = |t| text::<Option<RelayHost>>(t).expect("valid").expect("some");
        assert_eq!(
            host("[smtp.example.com]:587"),
            RelayHost { host: "smtp.example.com".to_owned(), port: 587, mx: false }
        );
        assert_eq!(host("example.com"), RelayHost { host: "example.com".to_owned(), port: 25, mx: true });
        assert_eq!(host("[127.0.0.1]:10925"), RelayHost { host: "127.0.0.1".to_owned(), port: 10925, mx: false });
        assert_eq!(host("127.0.0.1:10925"), RelayHost { host: "127.0.0.1".to_owned(), port: 10925, mx: false });
        for bad in ["[x", "x:0", "x:99999", "[x]y", "a b"] {
            assert!(text::<Option<RelayHost>>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_that_are_nearly_right_are_suggested() {
        assert_eq!(
            text::<BareNewline>("rejct"),
            Err("\"rejct\" is none of \"reject\", \"normalise\", probably \"reject\" was meant".to_owned())
        );
    }

    #[test]
    fn networks_are_what_they_are_compared_with() {
        for (text, wanted) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("[::1]", "::1/128"),
            ("[2001:db8::]/32", "2001:db8::/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("[::ffff:127.0.0.0]/104", "127.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(parse_network(text).map(|network| network.to_string()).as_deref(), Ok(wanted), "{text}");
        }
        for text in ["[192.0.2.1]/32", "[::1/128", "[::1]128", "[::1]/129", "example.com", "192.0.2.0/33", ""] {
            assert!(parse_network(text).is_err(), "{text}");
        }
    }
}
