//! Headers, dates, lists of addresses and addresses: what is read and written again is read as the same, and what is
//! cut out of a message leaves the rest of it as it was.

#![no_main]

use std::path::Path;
use std::time::Duration;
use std::time::SystemTime;

use facteur::fsio::Content;
use facteur::intake;
use facteur::intake::clean::Dispatch;
use facteur::intake::clean::unwanted;
use facteur::mail::address::Address;
use facteur::mail::address::Domain;
use facteur::mail::address::local_key;
use facteur::message::addresses::Item;
use facteur::message::addresses::addresses;
use facteur::message::date;
use facteur::message::fields;
use facteur::message::header;
use facteur::message::sent;
use jiff::tz::Offset;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

/// Names and values, which say the same with other line ends.
fn pairs(message: &[u8]) -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
    let header = header::read(message).expect("it is small");
    let fields = header.fields.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
    (fields, message[header.body..].to_vec())
}

fn header_holds(message: &[u8]) {
    let header = header::read(message).expect("it is small");
    assert!(header.end <= header.body && header.body <= message.len());
    let start = header.fields.first().map_or(header.end, |field| field.range.start);
    let mut at = start;
    for field in &header.fields {
        assert_eq!(field.range.start, at, "octets of no field");
        at = field.range.end;
        list_holds(field.value);
        date_holds(field.value);
    }
    assert_eq!(at, header.end);
    let (fields, body) = pairs(message);
    let mut printed = Vec::new();
    for (name, value) in &fields {
        printed.extend([name.as_bytes(), b":", value, b"\r\n"].concat());
    }
    printed.extend([b"\r\n", &body[..]].concat());
    assert_eq!(pairs(&printed), (fields, body), "what was read is written and read");
    if header.end < header.body {
        // The other reader, for what is not taken in but shown, sees the same fields.
        assert_eq!(fields::header_len(&message[start..]), header.body - start);
        let shown = fields::fields(&message[start..header.end]);
        let shown: Vec<&[u8]> = shown.map(|field| field.raw).collect();
        let read: Vec<&[u8]> = header.fields.iter().map(|field| &message[field.range.clone()]).collect();
        assert_eq!(shown, read);
    }
}

/// What is cut out is whole fields, and nothing else changes. Whoever reads the message afterwards sees the same fields.
fn cut_holds(message: &[u8]) {
    let header = header::read(message).expect("it is small");
    for dispatch in [Dispatch::Reception, Dispatch::Submission] {
        let ranges = unwanted(&header, dispatch, "mx.example");
        for cut in &ranges {
            let whole = header.fields.iter().any(|field| field.range == *cut);
            assert!(whole || (cut.start == 0 && message.starts_with(b"From ")), "half a field");
        }
        let mut wanted = vec![("Received".to_owned(), b" here".to_vec())];
        let left = header.fields.iter().filter(|field| !ranges.contains(&field.range));
        wanted.extend(left.map(|field| (field.name.to_owned(), field.value.to_vec())));
        let content = Content::from_bytes(message.to_vec());
        let Ok(rest) = intake::examine(&content, dispatch, "mx.example", Path::new("/nowhere")) else { continue };
        let rest = rest.head(message.len() + 1).expect("in memory");
        // Our own fields always stand in front.
        let stamped = [b"Received: here\n", &rest[..]].concat();
        let (found, body) = pairs(&stamped);
        assert_eq!(found, wanted);
        assert_eq!(body, &message[header.body..]);
        let shown = fields::fields(&stamped[..fields::header_len(&stamped)]);
        let shown: Vec<&[u8]> = shown.map(|field| field.name).collect();
        let names: Vec<&[u8]> = wanted.iter().map(|(name, _)| name.as_bytes()).collect();
        assert_eq!(shown, names, "fields that nobody judged");
    }
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for octet in text {
        if matches!(octet, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(*octet);
    }
    out.push(b'"');
    out
}

/// A list that can be written is read as the same.
fn list_holds(value: &[u8]) {
    let items = addresses(value);
    let plain = |text: &[u8]| text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    let text = |text: &[u8]| !text.is_empty() && text.iter().all(|b| (b' '..=b'~').contains(b) || *b >= 0x80);
    let mut written = Vec::new();
    for item in &items {
        match item {
            Item::Mailbox { name: Some(name), route: None, local, domain } => {
                if !text(name) || !text(local) || domain.is_empty() || !plain(domain) {
                    return;
                }
                written.extend([&quoted(name)[..], b" <", &quoted(local), b"@", domain, b">,"].concat());
            }
            Item::Mailbox { name: None, route: None, local, domain } => {
                if !text(local) || domain.is_empty() || !plain(domain) {
                    return;
                }
                written.extend([&quoted(local)[..], b"@", domain, b","].concat());
            }
            Item::GroupStart(name) if text(name) => written.extend([&quoted(name)[..], b":"].concat()),
            Item::GroupEnd => written.extend(b";"),
            _ => return,
        }
    }
    assert_eq!(addresses(&written), items, "{}", written.escape_ascii());
}

/// A second that a field names is written and read as the same.
fn date_holds(value: &[u8]) {
    let Some(second) = sent::sent_time(value) else { return };
    let Ok(since) = u64::try_from(second) else { return };
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(since);
    // Not of a year with five digits, which a zone can make.
    if since >= 253_402_300_800 - 86_400 {
        return;
    }
    let minutes = value.iter().fold(0, |sum: i32, b| (sum * 31 + i32::from(*b)) % 1439);
    for zone in [0, minutes, -minutes] {
        let offset = Offset::from_seconds(zone * 60).expect("less than a day");
        let printed = date::format(time, &TimeZone::fixed(offset));
        assert!(printed.is_ascii() && printed.len() <= 31, "{printed}");
        assert_eq!(sent::sent_time(printed.as_bytes()), Some(second), "{printed}");
    }
    assert_eq!(
        sent::sent_day(value).map(|day| sent::civil(day)).map(|(y, m, d)| sent::days(y, m, d)),
        Some(sent::sent_day(value))
    );
}

fn address_holds(text: &str) {
    if let Ok(domain) = Domain::parse(text) {
        assert!(domain.as_str().is_ascii());
        for spelling in [domain.as_str(), &domain.to_unicode(), &domain.as_str().to_ascii_uppercase()] {
            let literal = domain.is_literal();
            assert_eq!(
                Domain::parse(&if literal { domain.to_string() } else { spelling.to_owned() }).as_ref(),
                Ok(&domain)
            );
        }
    }
    if let Ok(address) = Address::parse(text) {
        for spelling in [address.to_string(), address.to_unicode()] {
            assert!(!spelling.chars().any(char::is_control), "{spelling:?}");
            assert_eq!(Address::parse(&spelling).as_ref(), Ok(&address), "{spelling}");
        }
        assert_eq!(local_key(&local_key(address.local())), local_key(address.local()));
    }
    if let Ok(address) = Address::from_parts(text, Domain::parse("x.example").expect("a domain")) {
        assert_eq!(Address::parse(&address.to_string()).as_ref(), Ok(&address), "{text:?}");
    }
}

fuzz_target!(|octets: &[u8]| {
    if header::read(octets).is_ok() {
        header_holds(octets);
        cut_holds(octets);
    }
    list_holds(octets);
    date_holds(octets);
    if let Ok(text) = std::str::from_utf8(octets) {
        text.split('\n').for_each(address_holds);
    }
});
