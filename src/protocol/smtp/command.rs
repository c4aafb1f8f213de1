//! Command lines of RFC 5321 §4.1.1 as typed values.
//!
//! [`cut`] finds the verb, so that order can be judged before grammar; the other functions read one verb's arguments.
//! Knows nothing of state. A syntax error comes out as the reply it deserves.

use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::envelope::BodyKind;
use crate::mail::envelope::Demands;
use crate::mail::envelope::Notify;
use crate::mail::envelope::OriginalRecipient;
use crate::mail::envelope::RecipientReport;
use crate::mail::envelope::Returned;
use crate::mail::limits::DOMAIN_OCTETS;
use crate::mail::limits::ENVELOPE_ID_OCTETS;
use crate::mail::limits::ORIGINAL_RECIPIENT_OCTETS;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::xtext;

/// The verb of a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Verb {
    Helo,
    Ehlo,
    /// The greeting of LMTP (RFC 2033 §4.1).
    Lhlo,
    Mail,
    Rcpt,
    Data,
    Rset,
    Noop,
    Quit,
    Vrfy,
    Help,
    StartTls,
    Auth,
    /// A chunk follows the line (RFC 3030).
    Bdat,
    /// Exists, and is not for us: EXPN, TURN, ETRN, XCLIENT, and so on.
    NotImplemented,
    /// A browser, or something that makes one speak to us.
    Http,
    Unknown,
}

/// All verbs, for the tests of the table of states.
#[cfg(test)]
pub(super) const VERBS: [Verb; 17] = [
    Verb::Helo,
    Verb::Ehlo,
    Verb::Lhlo,
    Verb::Mail,
    Verb::Rcpt,
    Verb::Data,
    Verb::Rset,
    Verb::Noop,
    Verb::Quit,
    Verb::Vrfy,
    Verb::Help,
    Verb::StartTls,
    Verb::Auth,
    Verb::Bdat,
    Verb::NotImplemented,
    Verb::Http,
    Verb::Unknown,
];

/// Cuts a line, without its CRLF, into verb and arguments.
pub(super) fn cut(line: &[u8]) -> (Verb, &[u8]) {
    // RFC 5321 §4.1.1: trailing white space before the CRLF is tolerated.
    let line = line.trim_ascii_end();
    let end = line.iter().position(|&b| b == b' ' || b == b'\t').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let rest = rest.get(1..).unwrap_or_default();
    // No verb is longer, and this bounds the copy.
    let word = word.get(..10).unwrap_or(word).to_ascii_uppercase();
    let verb = match word.as_slice() {
        b"HELO" => Verb::Helo,
        b"EHLO" => Verb::Ehlo,
        b"LHLO" => Verb::Lhlo,
        b"MAIL" => Verb::Mail,
        b"RCPT" => Verb::Rcpt,
        b"DATA" => Verb::Data,
        b"RSET" => Verb::Rset,
        b"NOOP" => Verb::Noop,
        b"QUIT" => Verb::Quit,
        b"VRFY" => Verb::Vrfy,
        b"HELP" => Verb::Help,
        b"STARTTLS" => Verb::StartTls,
        b"AUTH" => Verb::Auth,
        b"BDAT" => Verb::Bdat,
        b"EXPN" | b"TURN" | b"ATRN" | b"ETRN" | b"SEND" | b"SOML" | b"SAML" | b"XCLIENT" | b"XFORWARD" | b"BURL" => {
            Verb::NotImplemented
        }
        b"GET" | b"POST" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"CONNECT" | b"TRACE" | b"PATCH" | b"PRI"
        | b"HOST:" | b"CONTENT-TY" | b"CONTENT-LE" | b"USER-AGENT" => Verb::Http,
        _ => Verb::Unknown,
    };
    (verb, rest)
}

/// Whether a line that is not complete begins with the verb AUTH, whose initial response may be long.
pub(super) fn begins_with_auth(line: &[u8]) -> bool {
    line.len() >= 5 && line[..5].eq_ignore_ascii_case(b"AUTH ")
}

/// The verbs without arguments.
pub(super) fn no_arguments(arguments: &[u8]) -> Result<(), Reply> {
    if arguments.is_empty() { Ok(()) } else { Err(Reply::bad_arguments("no argument allowed")) }
}

/// The name a client gives itself in HELO and EHLO. What names people's machines have is not our business (RFC 5321
/// §4.1.4: mail must not be refused for it); it has to be printable, so that it can be logged and traced.
pub(super) fn greeting_name(arguments: &[u8]) -> Result<String, Reply> {
    let name = arguments.trim_ascii();
    // A name, or a name and what some clients write after it.
    let name = name.split(|&b| b == b' ').next().unwrap_or_default();
    if name.is_empty() || name.len() > DOMAIN_OCTETS {
        return Err(Reply::bad_arguments("domain or address literal expected"));
    }
    if name.iter().any(|b| !b.is_ascii_graphic()) {
        return Err(Reply::bad_characters());
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// How strictly MAIL and RCPT are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Servers speak to us.
    Strict,
    /// Mail clients and devices do: white space after the colon, and AUTH= (RFC 4954 §5), which is read over.
    Tolerant,
}

/// The arguments of MAIL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The reverse path.
    pub sender: ReversePath,
    /// SIZE (RFC 1870 §3): what the client says the message has.
    pub size: Option<u64>,
    /// BODY (RFC 6152 §2).
    pub body: BodyKind,
    /// What else goes on with the message; nothing of recipients yet.
    pub demands: Demands,
}

/// Reads `FROM:<path> parameters` (RFC 5321 §4.1.1.2). REQUIRETLS is a parameter where it was offered.
pub(super) fn mail(arguments: &[u8], reading: Reading, require_tls: bool) -> Result<Mail, Reply> {
    let text = envelope_text(arguments, Reply::bad_sender_syntax())?;
    let (path, parameters) = cut_path(text, "FROM:", reading).ok_or_else(Reply::bad_sender_syntax)?;
    // RFC 6531 §3.5. No parameter of MAIL has a use for more than ASCII.
    let international = parameters.split(' ').any(|p| p.eq_ignore_ascii_case("SMTPUTF8"));
    if !text.is_ascii() && (!international || !parameters.is_ascii()) {
        return Err(if international { Reply::bad_characters() } else { Reply::needs_smtputf8() });
    }
    let sender = if path.is_empty() {
        ReversePath::Null
    } else {
        let address = Address::parse(without_route(path).ok_or_else(Reply::bad_sender_syntax)?);
        ReversePath::Address(address.map_err(|_| Reply::bad_sender_syntax())?)
    };
    let mut mail = Mail { sender, size: None, body: BodyKind::SevenBit, demands: Demands::default() };
    let report = &mut mail.demands.report;
    let mut seen = Vec::new();
    for parameter in parameters.split(' ').filter(|p| !p.is_empty()) {
        let (keyword, value) = parameter.split_once('=').map_or((parameter, None), |(k, v)| (k, Some(v)));
        let keyword = keyword.to_ascii_uppercase();
        match (keyword.as_str(), value) {
            ("SIZE", Some(value)) => mail.size = Some(size(value)?),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => mail.body = BodyKind::SevenBit,
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => mail.body = BodyKind::EightBitMime,
            ("BODY", _) => return Err(Reply::bad_arguments("BODY is 7BIT or 8BITMIME")),
            ("SMTPUTF8", None) => mail.demands.international = true,
            // RFC 6531 §3.4: there is none.
            ("SMTPUTF8", Some(_)) => return Err(Reply::bad_arguments("SMTPUTF8 takes no value")),
            ("REQUIRETLS", None) if require_tls => mail.demands.require_tls = true,
            ("RET", Some(value)) if value.eq_ignore_ascii_case("FULL") => report.returned = Some(Returned::Full),
            ("RET", Some(value)) if value.eq_ignore_ascii_case("HDRS") => report.returned = Some(Returned::Headers),
            ("RET", _) => return Err(Reply::bad_arguments("RET is FULL or HDRS")),
            ("ENVID", Some(value)) => report.envelope_id = Some(envelope_id(value)?),
            // RFC 4954 §5: we trust nobody's claim of who wrote it, which is as if the value were `<>`.
            ("AUTH", _) if reading == Reading::Tolerant => {}
            _ => return Err(Reply::unknown_parameter()),
        }
        // There are as many keywords as arms above, so this stays short.
        if seen.contains(&keyword) {
            return Err(Reply::bad_arguments("parameter given twice"));
        }
        seen.push(keyword);
    }
    Ok(mail)
}

/// What RCPT names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ForwardPath {
    Address(Address),
    /// `<postmaster>` without a domain, which every server takes (RFC 5321 §4.5.1).
    Postmaster,
}

/// The arguments of RCPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rcpt {
    pub(super) path: ForwardPath,
    pub(super) report: RecipientReport,
}

/// Reads `TO:<path> parameters` (RFC 5321 §4.1.1.3, RFC 3461 §4). UTF-8 may be in them where MAIL said so.
pub(super) fn rcpt(arguments: &[u8], reading: Reading, international: bool) -> Result<Rcpt, Reply> {
    let text = envelope_text(arguments, Reply::bad_recipient_syntax())?;
    let (path, parameters) = cut_path(text, "TO:", reading).ok_or_else(Reply::bad_recipient_syntax)?;
    if !text.is_ascii() && !international {
        return Err(Reply::needs_smtputf8());
    }
    let recipient = if path.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        let address = Address::parse(without_route(path).ok_or_else(Reply::bad_recipient_syntax)?);
        ForwardPath::Address(address.map_err(|_| Reply::bad_recipient_syntax())?)
    };
    Ok(Rcpt { path: recipient, report: recipient_report(parameters, international)? })
}

fn recipient_report(parameters: &str, international: bool) -> Result<RecipientReport, Reply> {
    let mut report = RecipientReport::default();
    for parameter in parameters.split(' ').filter(|p| !p.is_empty()) {
        let (keyword, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let twice = match keyword.to_ascii_uppercase().as_str() {
            "NOTIFY" => {
                let before = std::mem::replace(&mut report.notify, notify(value)?);
                before != Notify::Unsaid
            }
            "ORCPT" => report.original.replace(original_recipient(value, international)?).is_some(),
            _ => return Err(Reply::unknown_parameter()),
        };
        if twice {
            return Err(Reply::bad_arguments("parameter given twice"));
        }
    }
    Ok(report)
}

/// RFC 3461 §4.1: NEVER alone, or a list.
fn notify(value: &str) -> Result<Notify, Reply> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(Notify::Never);
    }
    let (mut success, mut failure, mut delay) = (false, false, false);
    for word in value.split(',') {
        let which = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut success,
            "FAILURE" => &mut failure,
            "DELAY" => &mut delay,
            _ => return Err(Reply::bad_arguments("NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY")),
        };
        // A word twice has no other meaning, and makes the list no longer than this.
        *which = true;
    }
    Ok(Notify::On { success, failure, delay })
}

/// RFC 3461 §4.2: `addr-type;xtext`.
fn original_recipient(value: &str, international: bool) -> Result<OriginalRecipient, Reply> {
    let wrong = || Reply::bad_arguments("ORCPT is a type of address, a semicolon, and an address in xtext");
    let (kind, address) = value.split_once(';').ok_or_else(wrong)?;
    let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*-/?^_`{|}~.".contains(&b);
    if value.len() > ORIGINAL_RECIPIENT_OCTETS || kind.is_empty() || !kind.bytes().all(atom) {
        return Err(wrong());
    }
    let address = xtext::decode(address, international).filter(|a| !a.is_empty()).ok_or_else(wrong)?;
    Ok(OriginalRecipient { kind: kind.to_owned(), address })
}

/// RFC 3461 §4.4.
fn envelope_id(value: &str) -> Result<String, Reply> {
    let decoded = xtext::decode(value, false).filter(|id| !id.is_empty() && value.len() <= ENVELOPE_ID_OCTETS);
    decoded.ok_or_else(|| Reply::bad_arguments("ENVID is printable text in xtext, of 100 octets at most"))
}

/// The arguments of BDAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bdat {
    /// Octets behind the line. A number that does not fit is as large as can be, and so too large.
    pub(super) octets: u64,
    /// Whether the message ends with them.
    pub(super) last: bool,
}

/// Reads `chunk-size [LAST]` (RFC 3030 §2). Where this fails nobody knows how much follows.
pub(super) fn bdat(arguments: &[u8]) -> Result<Bdat, Reply> {
    let wrong = || Reply::bad_arguments("BDAT takes a size and perhaps LAST");
    let text = std::str::from_utf8(arguments).map_err(|_| Reply::bad_characters())?;
    let mut words = text.split(' ').filter(|w| !w.is_empty());
    let size = words.next().ok_or_else(wrong)?;
    if size.len() > 20 || !size.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let last = match (words.next(), words.next()) {
        (None, _) => false,
        (Some(word), None) if word.eq_ignore_ascii_case("LAST") => true,
        _ => return Err(wrong()),
    };
    Ok(Bdat { octets: size.parse().unwrap_or(u64::MAX), last })
}

/// The arguments of AUTH.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Auth<'a> {
    pub(super) mechanism: &'a str,
    pub(super) initial: Option<&'a str>,
}

/// Reads `mechanism [initial-response]` (RFC 4954 §4).
pub(super) fn auth(arguments: &[u8]) -> Result<Auth<'_>, Reply> {
    let text = std::str::from_utf8(arguments).map_err(|_| Reply::bad_characters())?;
    let mut words = text.split(' ').filter(|w| !w.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => Ok(Auth { mechanism, initial }),
        _ => Err(Reply::bad_arguments("mechanism expected")),
    }
}

/// The text of an envelope command: printable, or nothing.
fn envelope_text(arguments: &[u8], control: Reply) -> Result<&str, Reply> {
    if arguments.iter().any(u8::is_ascii_control) {
        return Err(control);
    }
    match std::str::from_utf8(arguments) {
        // The control characters of Latin-1 are octets above 127.
        Ok(text) if text.chars().any(char::is_control) => Err(control),
        Ok(text) => Ok(text),
        Err(_) => Err(Reply::bad_characters()),
    }
}

/// Cuts `keyword:<path> rest` into path and rest.
fn cut_path<'a>(text: &'a str, keyword: &str, reading: Reading) -> Option<(&'a str, &'a str)> {
    let start = text.get(..keyword.len())?;
    let rest = &text[keyword.len()..];
    let rest = if reading == Reading::Tolerant { rest.trim_start_matches(' ') } else { rest };
    let inner = rest.strip_prefix('<').filter(|_| start.eq_ignore_ascii_case(keyword))?;
    let end = end_of_path(inner)?;
    let rest = &inner[end + 1..];
    (rest.is_empty() || rest.starts_with(' ')).then_some((&inner[..end], rest))
}

/// Where the `>` is that is not within a quoted string.
fn end_of_path(inner: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, octet) in inner.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Strips a source route, `@a,@b:` (RFC 5321 §4.1.1.3: accepted and ignored), so that what is judged is where the mail
/// would go. `None` where it is no route.
fn without_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let (route, address) = path.split_once(':')?;
    route.split(',').all(|hop| hop.len() > 1 && hop.starts_with('@') && !hop[1..].contains('@')).then_some(address)
}

/// The value of SIZE: 1 to 20 digits (RFC 1870 §3). What does not fit is too big for us.
fn size(value: &str) -> Result<u64, Reply> {
    if value.is_empty() || value.len() > 20 || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Reply::bad_arguments("SIZE is a number"));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_found_in_any_case() {
        for (line, wanted) in [
            ("HELO x", (Verb::Helo, "x")),
            ("ehlo  x ", (Verb::Ehlo, " x")),
            ("Mail FROM:<>", (Verb::Mail, "FROM:<>")),
            ("DATA\t", (Verb::Data, "")),
            ("DATAX", (Verb::Unknown, "")),
            ("STARTTLS", (Verb::StartTls, "")),
            ("STARTTLSSSS", (Verb::Unknown, "")),
            ("XCLIENT ADDR=1", (Verb::NotImplemented, "ADDR=1")),
            ("GET / HTTP/1.1", (Verb::Http, "/ HTTP/1.1")),
            ("Host: mx", (Verb::Http, "mx")),
            ("BDAT 10 LAST", (Verb::Bdat, "10 LAST")),
            (" NOOP", (Verb::Unknown, "NOOP")),
            ("", (Verb::Unknown, "")),
        ] {
            let (verb, rest) = cut(line.as_bytes());
            assert_eq!((verb, std::str::from_utf8(rest).expect("text")), wanted, "{line:?}");
        }
    }

    #[test]
    fn senders() {
        for (input, sender, size, body) in [
            ("FROM:<>", "", None, BodyKind::SevenBit),
            ("from:<a@x.example>", "a@x.example", None, BodyKind::SevenBit),
            ("FROM:<@r.example,@s.example:a@x.example>", "a@x.example", None, BodyKind::SevenBit),
            ("FROM:<\"a>b\"@x.example> SIZE=12", "\"a>b\"@x.example", Some(12), BodyKind::SevenBit),
            ("FROM:<\"a\\\">\"@x.example>", "\"a\\\">\"@x.example", None, BodyKind::SevenBit),
            ("FROM:<a@[192.0.2.1]> body=8bitmime size=0", "a@[192.0.2.1]", Some(0), BodyKind::EightBitMime),
            ("FROM:<a@x.example>  SIZE=99999999999999999999", "a@x.example", Some(u64::MAX), BodyKind::SevenBit),
        ] {
            let mail = mail(input.as_bytes(), Reading::Strict, false).expect(input);
            assert_eq!((mail.sender.to_string().as_str(), mail.size, mail.body), (sender, size, body), "{input}");
        }
    }

    #[test]
    fn senders_that_are_refused() {
        for (input, code, status) in [
            (&b"FROM:a@x.example"[..], 501, "5.1.7"),
            (b"FROM:<a>", 501, "5.1.7"),
            (b"FROM:<a@x.example", 501, "5.1.7"),
            (b"FROM:<a@x.example>x", 501, "5.1.7"),
            (b"FROM: <a@x.example>", 501, "5.1.7"),
            (b"TO:<a@x.example>", 501, "5.1.7"),
            (b"", 501, "5.1.7"),
            (b"FROM:<@r.example>", 501, "5.1.7"),
            (b"FROM:<@r.example,s:a@x.example>", 501, "5.1.7"),
            (b"FROM:<a\0b@x.example>", 501, "5.1.7"),
            (b"FROM:<a\rb@x.example>", 501, "5.1.7"),
            (b"FROM:<a\x7f@x.example>", 501, "5.1.7"),
            (b"FROM:<\xe9@x.example>", 501, "5.5.2"),
            ("FROM:<\u{e9}@x.example>".as_bytes(), 550, "5.6.7"),
            (b"FROM:<a@x.example> FOO=bar", 555, "5.5.4"),
            (b"FROM:<a@x.example> AUTH=<>", 555, "5.5.4"),
            (b"FROM:<a@x.example> SMTPUTF8=1", 501, "5.5.4"),
            (b"FROM:<a@x.example> SMTPUTF8 SMTPUTF8", 501, "5.5.4"),
            ("FROM:<a@x.example> SMTPUTF8 ENVID=\u{e9}".as_bytes(), 501, "5.5.2"),
            ("FROM:<\u{85}@x.example> SMTPUTF8".as_bytes(), 501, "5.1.7"),
            (b"FROM:<\xc0\x80@x.example> SMTPUTF8", 501, "5.5.2"),
            (b"FROM:<a@x.example> REQUIRETLS", 555, "5.5.4"),
            (b"FROM:<a@x.example> RET=HALF", 501, "5.5.4"),
            (b"FROM:<a@x.example> RET=HDRS RET=HDRS", 501, "5.5.4"),
            (b"FROM:<a@x.example> ENVID=", 501, "5.5.4"),
            (b"FROM:<a@x.example> ENVID=a+00b", 501, "5.5.4"),
            (b"FROM:<a@x.example> ENVID=a+0D+0Ab", 501, "5.5.4"),
            (b"FROM:<a@x.example> SIZE", 555, "5.5.4"),
            (b"FROM:<a@x.example> SIZE=", 501, "5.5.4"),
            (b"FROM:<a@x.example> SIZE=-1", 501, "5.5.4"),
            (b"FROM:<a@x.example> SIZE=1 SIZE=2", 501, "5.5.4"),
            (b"FROM:<a@x.example> BODY=BINARYMIME", 501, "5.5.4"),
            (b"FROM:<a@x.example> <b@x.example>", 555, "5.5.4"),
        ] {
            let reply = mail(input, Reading::Strict, false).expect_err("refused");
            let status = (code, Some(status.to_owned()));
            assert_eq!((reply.code(), reply.status().map(|s| s.to_string())), status, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn clients_of_ours_may_be_sloppy() {
        for input in ["FROM: <a@x.example>", "FROM:<a@x.example> AUTH=<>", "FROM:<a@x.example> AUTH="] {
            assert!(mail(input.as_bytes(), Reading::Tolerant, false).is_ok(), "{input}");
        }
        assert!(rcpt(b"TO: <a@x.example>", Reading::Tolerant, false).is_ok());
    }

    #[test]
    fn recipients() {
        for (input, wanted) in [
            ("TO:<Postmaster>", Some("postmaster")),
            ("TO:<a@x.example>", Some("a@x.example")),
            ("TO:<@r.example:a@x.example>", Some("a@x.example")),
            ("TO:<a%b@x.example>", Some("a%b@x.example")),
            ("TO:<\"b@c\"@x.example>", Some("\"b@c\"@x.example")),
            ("TO:<>", None),
            ("TO:<a>", None),
            ("TO:<\"b@c\">", None),
            ("TO:<a@b.example@x.example>", None),
            ("TO:<a@x.example.>", None),
            ("TO:<a@b.example:x.example>", None),
            ("TO:<a@x.example> NOTIFY=NEVER", Some("a@x.example")),
            ("TO:<a@x.example> FOO=1", None),
            ("TO:a@x.example", None),
        ] {
            let text = rcpt(input.as_bytes(), Reading::Strict, false).ok().map(|rcpt| match rcpt.path {
                ForwardPath::Address(address) => address.to_string(),
                ForwardPath::Postmaster => "postmaster".to_owned(),
            });
            assert_eq!(text.as_deref(), wanted, "{input}");
        }
    }

    #[test]
    fn what_senders_demand() {
        let said =
            mail(b"FROM:<a@x.example> smtputf8 requiretls ret=hdrs ENVID=a+2Bb", Reading::Strict, true).expect("valid");
        assert!(said.demands.international && said.demands.require_tls);
        let report = said.demands.report;
        assert_eq!((report.returned, report.envelope_id.as_deref()), (Some(Returned::Headers), Some("a+b")));
        assert!(mail(format!("FROM:<> ENVID={}", "x".repeat(101)).as_bytes(), Reading::Strict, true).is_err());
    }

    #[test]
    fn what_is_told_of_recipients() {
        let on = |success, failure, delay| Some(Notify::On { success, failure, delay });
        for (input, wanted) in [
            ("", Some(Notify::Unsaid)),
            ("NOTIFY=never", Some(Notify::Never)),
            ("NOTIFY=SUCCESS", on(true, false, false)),
            ("notify=delay,FAILURE", on(false, true, true)),
            ("NOTIFY=FAILURE,FAILURE", on(false, true, false)),
            ("NOTIFY=NEVER,FAILURE", None),
            ("NOTIFY=", None),
            ("NOTIFY", None),
            ("NOTIFY=SUCCESS,", None),
            ("NOTIFY=NEVER NOTIFY=NEVER", None),
            ("RET=HDRS", None),
        ] {
            let read = rcpt(format!("TO:<a@x.example> {input}").as_bytes(), Reading::Strict, false);
            assert_eq!(read.ok().map(|r| r.report.notify), wanted, "{input}");
        }
        for (input, wanted) in [
            ("rfc822;b@x.example", Some("rfc822 b@x.example")),
            ("x-odd;b+20c", Some("x-odd b c")),
            ("rfc822;", None),
            (";b@x.example", None),
            ("rfc 822;b", None),
            ("b@x.example", None),
            ("rfc822;b+00", None),
            ("rfc822;b+0Ac", None),
            ("rfc822;a=b", None),
            ("utf-8;\u{e9}@x.example", None),
        ] {
            let read = rcpt(format!("TO:<a@x.example> ORCPT={input}").as_bytes(), Reading::Strict, false);
            let original = read.ok().and_then(|r| r.report.original).map(|o| format!("{} {}", o.kind, o.address));
            assert_eq!(original.as_deref(), wanted, "{input}");
        }
        assert!(rcpt("TO:<a@x.example> ORCPT=utf-8;\u{e9}@x.example".as_bytes(), Reading::Strict, true).is_ok());
        let long = format!("TO:<a@x.example> ORCPT=rfc822;{}", "x".repeat(500));
        assert!(rcpt(long.as_bytes(), Reading::Strict, false).is_err());
    }

    #[test]
    fn chunks() {
        for (input, wanted) in [
            ("0", Some((0, false))),
            ("10 LAST", Some((10, true))),
            ("010  last ", Some((10, true))),
            ("18446744073709551615", Some((u64::MAX, false))),
            ("18446744073709551616 LAST", Some((u64::MAX, true))),
            ("", None),
            ("LAST", None),
            ("-1", None),
            ("+1", None),
            ("10 END", None),
            ("10 LAST LAST", None),
            ("100000000000000000000", None),
        ] {
            let read = bdat(input.as_bytes()).ok().map(|b| (b.octets, b.last));
            assert_eq!(read, wanted, "{input}");
        }
    }

    #[test]
    fn names_in_greetings() {
        for (input, wanted) in [
            ("mx.example", Some("mx.example")),
            (" [192.0.2.1] ", Some("[192.0.2.1]")),
            ("my_pc and more", Some("my_pc")),
            ("", None),
            ("  ", None),
            ("a\u{1}b", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(greeting_name(input.as_bytes()).ok().as_deref(), wanted, "{input:?}");
        }
        assert!(greeting_name(&[b'a'; 256]).is_err());
    }
}
