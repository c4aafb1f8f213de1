//! Lines of SMTP: what is accepted, printed and parsed again is the same; replies are well formed.
//!
//! Compiled into `protocol::smtp` by the fuzz build alone, for its parsers are private.

use super::command;
use super::command::ForwardPath;
use super::command::Mail;
use super::command::Rcpt;
use super::command::Reading;
use super::peer_reply::Replies;
use super::reply::Reply;
use super::xtext;
use crate::mail::address::ReversePath;
use crate::mail::envelope::BodyKind;
use crate::mail::envelope::Notify;
use crate::mail::envelope::Returned;
use crate::mail::limits::DOMAIN_OCTETS;

/// Checks every line of the input.
pub fn check(octets: &[u8]) {
    for line in octets.split(|b| *b == b'\n') {
        line_holds(line.strip_suffix(b"\r").unwrap_or(line));
    }
    peer_holds(octets);
    if let Ok(text) = std::str::from_utf8(octets) {
        for international in [false, true] {
            if let Some(decoded) = xtext::decode(text, international) {
                assert!(!decoded.chars().any(char::is_control), "{decoded:?}");
                assert_eq!(xtext::decode(&xtext::encode(&decoded), international).as_ref(), Some(&decoded));
            }
        }
        filter_holds(text);
    }
}

fn line_holds(line: &[u8]) {
    let (verb, arguments) = command::cut(line);
    let word = line.len() - line.iter().skip_while(|b| !matches!(b, b' ' | b'\t')).count();
    let mut other = line.to_vec();
    other[..word].make_ascii_lowercase();
    assert_eq!(command::cut(&other), (verb, arguments), "the case of a verb does not count");
    for arguments in [arguments, line] {
        if let Err(reply) = command::no_arguments(arguments) {
            reply_holds(&reply);
        }
        match command::greeting_name(arguments) {
            Ok(name) => {
                assert!(!name.is_empty() && name.len() <= DOMAIN_OCTETS && name.bytes().all(|b| b.is_ascii_graphic()));
                assert_eq!(command::greeting_name(name.as_bytes()), Ok(name.clone()));
            }
            Err(reply) => reply_holds(&reply),
        }
        match command::bdat(arguments) {
            Ok(bdat) => {
                let printed = format!("{}{}", bdat.octets, if bdat.last { " LAST" } else { "" });
                assert_eq!(command::bdat(printed.as_bytes()), Ok(bdat));
            }
            Err(reply) => reply_holds(&reply),
        }
        match command::auth(arguments) {
            Ok(auth) => {
                let printed = [Some(auth.mechanism), auth.initial].into_iter().flatten().collect::<Vec<_>>().join(" ");
                assert_eq!(command::auth(printed.as_bytes()), Ok(auth));
            }
            Err(reply) => reply_holds(&reply),
        }
        for reading in [Reading::Strict, Reading::Tolerant] {
            for flag in [false, true] {
                envelope_holds(arguments, reading, flag);
            }
        }
    }
}

fn envelope_holds(arguments: &[u8], reading: Reading, flag: bool) {
    match command::mail(arguments, reading, flag) {
        Ok(mail) => {
            let printed = print_mail(&mail);
            assert!(!printed.chars().any(char::is_control) && (printed.is_ascii() || mail.demands.international));
            assert_eq!(command::mail(printed.as_bytes(), Reading::Strict, true), Ok(mail), "{printed}");
        }
        Err(reply) => reply_holds(&reply),
    }
    match command::rcpt(arguments, reading, flag) {
        Ok(rcpt) => {
            let printed = print_rcpt(&rcpt);
            assert!(!printed.chars().any(char::is_control) && (printed.is_ascii() || flag));
            assert_eq!(command::rcpt(printed.as_bytes(), Reading::Strict, flag), Ok(rcpt), "{printed}");
        }
        Err(reply) => reply_holds(&reply),
    }
}

fn print_mail(mail: &Mail) -> String {
    let mut text = match &mail.sender {
        ReversePath::Null => "FROM:<>".to_owned(),
        ReversePath::Address(address) => format!("FROM:<{address}>"),
    };
    if let Some(size) = mail.size {
        text.push_str(&format!(" SIZE={size}"));
    }
    text.push_str(match mail.body {
        BodyKind::SevenBit => " BODY=7BIT",
        BodyKind::EightBitMime => " BODY=8BITMIME",
    });
    for (said, word) in [(mail.demands.international, " SMTPUTF8"), (mail.demands.require_tls, " REQUIRETLS")] {
        text.push_str(if said { word } else { "" });
    }
    match mail.demands.report.returned {
        Some(Returned::Headers) => text.push_str(" RET=HDRS"),
        Some(Returned::Full) => text.push_str(" RET=FULL"),
        None => {}
    }
    if let Some(id) = &mail.demands.report.envelope_id {
        text.push_str(&format!(" ENVID={}", xtext::encode(id)));
    }
    text
}

fn print_rcpt(rcpt: &Rcpt) -> String {
    let mut text = match &rcpt.path {
        ForwardPath::Address(address) => format!("TO:<{address}>"),
        ForwardPath::Postmaster => "TO:<postmaster>".to_owned(),
    };
    match rcpt.report.notify {
        Notify::Unsaid => {}
        Notify::Never => text.push_str(" NOTIFY=NEVER"),
        Notify::On { success, failure, delay } => {
            let words = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
            let words: Vec<&str> = words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
            text.push_str(&format!(" NOTIFY={}", words.join(",")));
        }
    }
    if let Some(original) = &rcpt.report.original {
        text.push_str(&format!(" ORCPT={};{}", original.kind, xtext::encode(&original.address)));
    }
    text
}

/// A hook's words, as one line of printable ASCII, become a reply that is well formed whatever they are.
fn filter_holds(text: &str) {
    let code = text.bytes().take(3).fold(0, |code: u16, b| code * 10 + u16::from(b & 15));
    let words: String = text.chars().filter(|c| (' '..='~').contains(c)).collect();
    reply_holds(&Reply::of_filter(if code & 1 == 0 { 450 } else { 550 }, Some(&words)));
    reply_holds(&Reply::of_filter(code.clamp(400, 599), Some(&words)));
    reply_holds(&Reply::not_from_its_sender(&words, &words));
}

/// What other servers say is read or not, the same however it is cut, and what was read can be printed.
fn peer_holds(octets: &[u8]) {
    let read = |step: usize| {
        let mut replies = Replies::default();
        let mut heard = Vec::new();
        for piece in octets.chunks(step) {
            replies.push(piece);
            loop {
                match replies.next() {
                    Ok(Some(reply)) => heard.push(reply),
                    Ok(None) => break,
                    Err(_) => return (heard, true),
                }
            }
        }
        (heard, false)
    };
    let whole = read(octets.len().max(1));
    for step in [1, 7] {
        assert_eq!(read(step), whole, "in pieces of {step}");
    }
    for reply in whole.0 {
        assert!((200..600).contains(&reply.code()));
        assert!(reply.status().is_none_or(|status| u16::from(status.class()) == reply.code() / 100), "{reply}");
        assert!(reply.to_string().bytes().all(|b| (b' '..=b'~').contains(&b)), "{reply}");
    }
}

/// RFC 5321 §4.2 and RFC 2034 §4.
fn reply_holds(reply: &Reply) {
    let mut wire = Vec::new();
    reply.write_to(&mut wire);
    let text = std::str::from_utf8(&wire).expect("replies are ASCII");
    let lines: Vec<&str> = text.strip_suffix("\r\n").expect("an end").split("\r\n").collect();
    for (at, line) in lines.iter().enumerate() {
        assert!(line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
        let code: u16 = line[..3].parse().expect("three digits");
        assert!((200..600).contains(&code) && code == reply.code(), "{line:?}");
        assert_eq!(&line[3..4], if at + 1 < lines.len() { "-" } else { " " });
    }
    if let Some(status) = reply.status() {
        assert_eq!(u16::from(status.class()), reply.code() / 100, "{text:?}");
    } else {
        assert!(reply.code() < 400, "a refusal without its enhanced code: {text:?}");
    }
}
