//! Conversations with a milter whose side is the input: they end, and what becomes of the message is a message.
//!
//! | octets of the input | what they are |
//! | --- | --- |
//! | 1 | whether the rest is packets (0 to 191) or octets as they are |
//! | 3 | the steps that the milter does not want |
//! | 1 | the length of the message, in pairs of octets |
//! | the message | |
//! | the rest | what the milter says; as packets: command, length, data |
//!
//! Compiled into `milter::change` by the fuzz build alone, which so sees what a field holds.

use std::path::Path;

use tokio::io::AsyncWriteExt;

use super::super::Judgement;
use super::super::Subject;
use super::super::converse;
use super::super::packet;
use super::super::packet::action;
use super::super::packet::step;
use super::Changes;
use super::HeaderChange;
use crate::fsio::Content;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::limits::HEADER_FIELDS;
use crate::mail::limits::MILTER_CHANGES;
use crate::message::header;

/// The largest body that the milter may give.
const MOST: u64 = 2000;

fn subject(user: bool) -> Subject {
    Subject {
        hostname: "mx.example.com".to_owned(),
        daemon: "ORIGINATING",
        ip: "2001:db8::1".parse().expect("an address"),
        client_name: None,
        helo: "helo.example".to_owned(),
        tls: None,
        user: user.then(|| "alice@example.com".to_owned()),
        id: "id-1".to_owned(),
        sender: ReversePath::Null,
        recipients: ["bob@example.com", "\"a b\"@example.com"].map(|t| Address::parse(t).expect("an address")).to_vec(),
        max_size: MOST,
    }
}

/// What the milter says.
fn words(kind: u8, steps: u32, mut input: &[u8]) -> Vec<u8> {
    if kind >= 192 {
        return input.to_vec();
    }
    let numbers = [6, action::OURS, steps];
    let data: Vec<u8> = numbers.iter().flat_map(|n: &u32| n.to_be_bytes()).collect();
    let mut out = packet::packet(b'O', &data);
    while let [command, length, rest @ ..] = input {
        let (data, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        out.extend(packet::packet(*command, data));
        input = rest;
    }
    out
}

/// One conversation.
pub fn check(octets: &[u8]) {
    let [kind, a, b, c, length, rest @ ..] = octets else { return };
    let (message, said) = rest.split_at((usize::from(*length) * 2).min(rest.len()));
    let said = words(*kind, u32::from_be_bytes([0, *a, *b, *c]) & step::OURS, said);
    if let Some(bytes) = said.get(..4) {
        drop(packet::parse(&said[4..(4 + usize::from(bytes[3])).min(said.len())]));
    }
    let content = Content::from_bytes(message.to_vec());
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    }
    let judged = RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(4096);
            let (mut hears, mut says) = tokio::io::split(theirs);
            let subject = subject(kind & 1 == 1);
            let talk = converse(ours, &subject, &content, Path::new("/nowhere"));
            let milter = async {
                says.write_all(&said).await.ok();
                says.shutdown().await.ok();
            };
            let mut sink = tokio::io::sink();
            let (judged, (), _) = tokio::join!(talk, milter, tokio::io::copy(&mut hears, &mut sink));
            judged
        })
    });
    match judged {
        Ok(Judgement::Pass(changes)) => passes(message, &content, &changes),
        Ok(Judgement::Refuse(code, text)) => {
            assert!((400..600).contains(&code));
            let text = text.unwrap_or_default();
            assert!(text.len() <= 400 && text.bytes().all(|b| (b' '..=b'~').contains(&b)), "{text:?}");
        }
        Ok(Judgement::Discard) | Err(_) => {}
    }
}

/// The lines of a field that stays, or comes.
fn lines(raw: &[u8]) -> Vec<u8> {
    let end = if raw.ends_with(b"\n") { &b""[..] } else { b"\n" };
    [raw, end].concat()
}

/// The header has these fields afterwards and no others, and the body is what it was or what the milter gave.
fn passes(message: &[u8], content: &Content, changes: &Changes) {
    assert!(changes.header.len() <= MILTER_CHANGES);
    assert!(changes.quarantine.iter().all(|why| why.bytes().all(|b| (b' '..=b'~').contains(&b))));
    let before = header::read(message).expect("it was read before it was told");
    let mut wanted: Vec<(String, Vec<u8>)> =
        before.fields.iter().map(|f| (f.name.to_ascii_lowercase(), lines(&message[f.range.clone()]))).collect();
    for change in &changes.header {
        match change {
            HeaderChange::Add(field) => wanted.push((field.name.to_ascii_lowercase(), field.line.clone())),
            HeaderChange::Insert(at, field) => {
                let at = (*at as usize).max(1) - 1;
                wanted.insert(at.min(wanted.len()), (field.name.to_ascii_lowercase(), field.line.clone()));
            }
            HeaderChange::Change { nth, name, field } => {
                let name = name.to_ascii_lowercase();
                let places: Vec<usize> = (0..wanted.len()).filter(|at| wanted[*at].0 == name).collect();
                let place = places.get((*nth as usize).max(1) - 1).copied();
                match (place, field) {
                    (Some(at), Some(field)) => wanted[at].1 = field.line.clone(),
                    (Some(at), None) => drop(wanted.remove(at)),
                    (None, Some(field)) => wanted.push((name, field.line.clone())),
                    (None, None) => {}
                }
            }
        }
    }
    let changed = changes.apply(content, Path::new("/nowhere")).expect("in memory");
    let changed = changed.head(1 << 24).expect("in memory");
    let Ok(after) = header::read(&changed) else {
        assert!(wanted.len() > HEADER_FIELDS, "a header became too large");
        return;
    };
    let found: Vec<(String, Vec<u8>)> =
        after.fields.iter().map(|f| (f.name.to_ascii_lowercase(), lines(&changed[f.range.clone()]))).collect();
    assert_eq!(found, wanted, "{}", changed.escape_ascii());
    match &changes.body {
        Some(body) => {
            let body = body.head(1 << 20).expect("in memory");
            assert!(body.len() as u64 <= MOST && !body.contains(&b'\r'));
            assert_eq!(&changed[after.body..], body);
        }
        None => assert_eq!(&changed[after.body..], &message[before.body..], "{}", changed.escape_ascii()),
    }
}
