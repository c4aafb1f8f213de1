//! From the end of data to a message that is ready for delivery: a list of named stages over plain values.
//!
//! 1. [`examine`]: may this message be taken for its header ([`verdict`]), without which fields ([`clean`]),
//!    and with which that a client of ours left out ([`complete`])?
//! 2. `sender_auth` finds out who sent it, on the message as it came.
//! 3. [`hooks`]: what the milters think, and change.
//! 4. [`stamp`]: what we write on top ([`trace`]).
//!
//! A new check is a new stage. [`recipient`] decides earlier, at RCPT, by [`permit`] and [`checks`]. Knows neither
//! sockets nor folders.

pub mod checks;
pub mod clean;
pub mod complete;
pub mod hooks;
pub mod permit;
pub mod recipient;
pub mod trace;
pub mod verdict;

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use crate::fsio::Content;
use crate::mail::address::Address;
use crate::mail::ids::QueueId;
use crate::mail::limits::HEADER_OCTETS;
use crate::message::header;
use crate::protocol::smtp::reply::Reply;
use clean::Dispatch;
use trace::Trace;

/// A message with what we write on top of it.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What we found out, `Received`, and what was missing: the front of the message wherever it goes.
    pub trace: Vec<u8>,
    /// `Return-Path`, for inboxes: it goes before [`Self::trace`] at final delivery only (RFC 5321 §4.4).
    pub return_path: Vec<u8>,
    /// The message, without the fields that must not travel on.
    pub content: Content,
}

/// Why a message is not taken.
#[derive(Debug)]
pub enum Refused {
    /// For what it is.
    Policy(Reply),
    /// For something that went wrong here.
    Trouble(io::Error),
}

/// What is known of a message when it is there.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// How it came.
    pub dispatch: Dispatch,
    /// See [`verdict::sent_on`].
    pub sent_on: &'a [Address],
    /// Its id.
    pub id: &'a QueueId,
    /// Our name.
    pub hostname: &'a str,
    /// The zone of the dates we write.
    pub zone: &'a TimeZone,
    /// The time.
    pub now: SystemTime,
    /// Where the spill file of a large message lies.
    pub spool: &'a Path,
}

/// Whether a message may be taken for its header alone, and the message as the hooks see it: without the fields that must
/// not travel on, and with those that a client of ours left out. Costs next to nothing, so it comes first. It may read
/// and write the spill file of a large message: not for an async thread, unless the message is in memory.
///
/// # Errors
/// It may not; or the spill file fails.
pub fn examine(content: &Content, arrival: &Arrival<'_>) -> Result<Content, Refused> {
    let head = head_of(content)?;
    let header = header::read(&head).map_err(|_| Refused::Policy(Reply::header_too_large()))?;
    verdict::judge(&header, arrival.sent_on).map_err(Refused::Policy)?;
    let front = match arrival.dispatch {
        Dispatch::Submission => {
            complete::missing_fields(&header, arrival.id, arrival.hostname, arrival.zone, arrival.now)
        }
        Dispatch::Reception | Dispatch::Trusted => Vec::new(),
    };
    let change = clean::Change {
        front,
        unwanted: clean::unwanted(&header, arrival.dispatch, arrival.hostname),
        empty_line: clean::missing_empty_line(&header, head.len()),
    };
    change.apply(content, arrival.spool).map_err(Refused::Trouble)
}

/// Writes on top of a message that was examined: the fields that say what was `found` out, and `Received`.
#[must_use]
pub fn stamp(content: Content, facts: &Trace<'_>, found: Vec<u8>, zone: &TimeZone, now: SystemTime) -> Prepared {
    let mut trace = found;
    trace.extend(trace::received(facts, zone, now));
    Prepared { trace, return_path: trace::return_path(facts.sender), content }
}

/// The front of a message, with all of its header.
fn head_of(content: &Content) -> Result<Cow<'_, [u8]>, Refused> {
    match content.in_memory() {
        Some(all) => Ok(Cow::Borrowed(&all[..all.len().min(HEADER_OCTETS + 1)])),
        None => content.head(HEADER_OCTETS + 1).map(Cow::Owned).map_err(Refused::Trouble),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::ReversePath;

    fn prepared(message: &[u8], dispatch: Dispatch) -> Result<String, Reply> {
        let id = QueueId::parse("id-1").expect("valid");
        let facts = Trace {
            greeting: "client.example",
            client_name: None,
            spoken: trace::Spoken::Esmtp,
            international: false,
            authenticated: false,
            tls: None,
            peer: "192.0.2.1".parse().expect("an address"),
            hostname: "mx.example",
            id: &id,
            sender: &ReversePath::Null,
            recipients: &[],
        };
        let content = Content::from_bytes(message.to_vec());
        let folder = tempfile::tempdir().expect("temporary folder");
        let now = SystemTime::UNIX_EPOCH;
        let arrival = Arrival {
            dispatch,
            sent_on: &[],
            id: &id,
            hostname: "mx.example",
            zone: &TimeZone::UTC,
            now,
            spool: folder.path(),
        };
        match examine(&content, &arrival) {
            Ok(content) => {
                let prepared = stamp(content, &facts, Vec::new(), &TimeZone::UTC, now);
                let mut whole = prepared.return_path;
                prepared.content.write_to(&prepared.trace, &mut whole).expect("in memory");
                Ok(String::from_utf8(whole).expect("text"))
            }
            Err(Refused::Policy(reply)) => Err(reply),
            Err(Refused::Trouble(error)) => panic!("{error}"),
        }
    }

    const TOP: &str = "Return-Path: <>\nReceived: from client.example ([192.0.2.1])\n\tby mx.example with ESMTP id id-1;\n\
        \tThu, 01 Jan 1970 00:00:00 +0000\n";

    #[test]
    fn mail_from_elsewhere_is_traced_and_otherwise_left_alone() {
        for (message, wanted) in [
            ("Subject: x\n\nbody\n", "Subject: x\n\nbody\n"),
            ("Return-Path: <forged@x>\nBcc: y\n\nbody\n", "Bcc: y\n\nbody\n"),
            ("", ""),
            ("\nbody\n", "\nbody\n"),
            ("only a body\n", "\nonly a body\n"),
            ("From x@y Thu\nA: b\n\n", "A: b\n\n"),
        ] {
            assert_eq!(prepared(message.as_bytes(), Dispatch::Reception), Ok(format!("{TOP}{wanted}")), "{message:?}");
        }
    }

    #[test]
    fn what_was_not_judged_as_a_header_is_a_body_for_everybody() {
        for (message, wanted) in [
            ("A: b\nno field\nFrom: c\n\nbody\n", "A: b\n\nno field\nFrom: c\n\nbody\n"),
            ("Return-Path: <x>\nFrom y z\nFrom: c\n\nbody\n", "\nFrom y z\nFrom: c\n\nbody\n"),
            ("From x\nFrom y\nFrom: c\n\nbody\n", "\nFrom y\nFrom: c\n\nbody\n"),
            ("From x\n folded\nFrom: c\n\nbody\n", "\n folded\nFrom: c\n\nbody\n"),
            ("A: b\n", "A: b\n"),
        ] {
            assert_eq!(prepared(message.as_bytes(), Dispatch::Reception), Ok(format!("{TOP}{wanted}")), "{message:?}");
        }
    }

    #[test]
    fn mail_of_our_users_is_completed() {
        let added = "Date: Thu, 01 Jan 1970 00:00:00 +0000\nMessage-ID: <id-1@mx.example>\n";
        for (message, wanted) in [
            ("Subject: x\n\nbody\n", format!("{added}Subject: x\n\nbody\n")),
            (
                "date: now\nmessage-id: <a@b>\nBcc: secret@x,\n\tmore@x\nTo: y\n\nz",
                "date: now\nmessage-id: <a@b>\nTo: y\n\nz".to_owned(),
            ),
        ] {
            assert_eq!(prepared(message.as_bytes(), Dispatch::Submission), Ok(format!("{TOP}{wanted}")), "{message:?}");
        }
    }

    #[test]
    fn unbounded_input_and_loops_are_refused() {
        let loops = "Received: x\n".repeat(100);
        assert_eq!(prepared(loops.as_bytes(), Dispatch::Reception), Err(Reply::mail_loop()));
        let large = format!("A: {}\n\n", "x".repeat(HEADER_OCTETS));
        assert_eq!(prepared(large.as_bytes(), Dispatch::Reception), Err(Reply::header_too_large()));
    }
}
