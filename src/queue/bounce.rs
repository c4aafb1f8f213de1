//! The notice to a sender whose mail could not be delivered: `multipart/report` (RFC 6522) with a delivery status
//! (RFC 3464).

use std::io::Read;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use super::entry::Waiting;
use crate::fsio::Content;
use crate::mail::address::Address;
use crate::mail::envelope::Demands;
use crate::mail::ids::QueueId;
use crate::mail::limits::BOUNCE_WHOLE_OCTETS;
use crate::mail::limits::HEADER_OCTETS;
use crate::mail::limits::REMOTE_TEXT_OCTETS;
use crate::message::date;

/// A notice, ready to be delivered with the null sender.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Its own id; the same when it is made again after a crash.
    pub id: QueueId,
    /// Who is told.
    pub to: Address,
    /// The whole message, lines ended by LF.
    pub bytes: Vec<u8>,
    /// What it demands of those who carry it: as much secrecy as the message it tells of.
    pub demands: Demands,
}

/// The notice about the recipients of `waiting` that failed. `None` for mail without a sender, about which nobody may
/// be told (RFC 5321 §4.5.5), for mail whose sender may be forged and that was taken all the same, and where nobody
/// failed.
///
/// # Errors
/// What reading the original says.
pub fn notice(
    waiting: &Waiting,
    original: &Content,
    hostname: &str,
    now: SystemTime,
) -> std::io::Result<Option<Notice>> {
    if waiting.quiet {
        return Ok(None);
    }
    let (Some(to), Some(_)) = (waiting.sender.address(), waiting.failed().next()) else { return Ok(None) };
    let Some(id) = QueueId::parse(&format!("{}-b{}", waiting.id, waiting.attempts)) else { return Ok(None) };
    let (kind, returned) = returned(original)?;
    let boundary = boundary(&id, &returned);
    let date = date::format(now, &TimeZone::system());
    let mut text = format!(
        "From: Mail Delivery System <MAILER-DAEMON@{hostname}>\nTo: {to}\nSubject: Undelivered mail returned to sender\n\
         Date: {date}\nMessage-ID: <{id}@{hostname}>\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"{boundary}\"\n\n\
         This is a report of the mail server {hostname}.\n\n--{boundary}\nContent-Type: text/plain; charset=us-ascii\n\n\
         Your message could not be delivered to:\n\n"
    );
    for (recipient, status, why) in waiting.failed() {
        text.push_str(&format!("{recipient}\n    {status} {}\n\n", clean(why)));
    }
    text.push_str("It will not be tried again. Your message, or its head, is attached.\n\n");
    let arrived = date::format(waiting.arrived, &TimeZone::system());
    text.push_str(&format!(
        "--{boundary}\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; {hostname}\n\
         X-Queue-ID: {}\nArrival-Date: {arrived}\n",
        waiting.id
    ));
    for (recipient, status, why) in waiting.failed() {
        // RFC 3464 §2.3: one group of fields per recipient, after a blank line.
        text.push_str(&format!(
            "\nFinal-Recipient: rfc822; {recipient}\nAction: failed\nStatus: {status}\nDiagnostic-Code: smtp; {}\n",
            clean(why)
        ));
    }
    text.push_str(&format!("\n--{boundary}\nContent-Type: {kind}\n"));
    if !returned.is_ascii() {
        text.push_str("Content-Transfer-Encoding: 8bit\n");
    }
    text.push('\n');
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&returned);
    if !returned.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(format!("\n--{boundary}--\n").as_bytes());
    // RFC 8689 §5.
    let demands = Demands { require_tls: waiting.demands.require_tls, ..Demands::default() };
    Ok(Some(Notice { id, to: to.clone(), bytes, demands }))
}

/// The original as a whole where it is small, else its header (RFC 6522 §3).
fn returned(original: &Content) -> std::io::Result<(&'static str, Vec<u8>)> {
    if original.len() <= BOUNCE_WHOLE_OCTETS {
        let mut bytes = Vec::new();
        original.reader().read_to_end(&mut bytes)?;
        return Ok(("message/rfc822", bytes));
    }
    let mut head = original.head(HEADER_OCTETS)?;
    if let Some(end) = memchr::memmem::find(&head, b"\n\n") {
        head.truncate(end + 1);
    }
    Ok(("text/rfc822-headers", head))
}

/// A boundary that the returned message does not contain: it may be a notice of ours itself.
fn boundary(id: &QueueId, returned: &[u8]) -> String {
    let mut n = 0;
    loop {
        let boundary = format!("={id}={n}");
        if memchr::memmem::find(returned, boundary.as_bytes()).is_none() {
            return boundary;
        }
        n += 1;
    }
}

/// Foreign words for a header field and for people: one line, ASCII, not endless.
fn clean(text: &str) -> String {
    text.chars().take(REMOTE_TEXT_OCTETS).map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::ReversePath;
    use crate::queue::entry::Outcome;
    use crate::queue::entry::tests::waiting;

    fn failed(why: &str) -> Waiting {
        let mut entry = waiting(&["bob@remote.example", "carol@remote.example"]);
        let outcome = Outcome::Failed { status: "5.1.1".to_owned(), why: why.to_owned() };
        entry.apply(&[(Address::parse("bob@remote.example").expect("an address"), outcome)]);
        entry
    }

    fn text(entry: &Waiting, original: &str) -> String {
        let content = Content::from_bytes(original.as_bytes().to_vec());
        let made =
            notice(entry, &content, "mail.example.com", SystemTime::UNIX_EPOCH).expect("memory").expect("a notice");
        assert_eq!(made.to.to_string(), "alice@example.com");
        String::from_utf8(made.bytes).expect("text")
    }

    #[test]
    fn a_notice_names_who_failed_and_returns_the_message() {
        let text = text(&failed("host said: 550 no such user"), "Subject: hello\n\nbody\n");
        for part in [
            "To: alice@example.com\n",
            "Auto-Submitted: auto-replied\n",
            "report-type=delivery-status",
            "Reporting-MTA: dns; mail.example.com\n",
            "\n\nFinal-Recipient: rfc822; bob@remote.example\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; host said: 550 no such user\n",
            "Content-Type: message/rfc822\n\nSubject: hello\n\nbody\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        assert!(!text.contains("carol@"), "carol is still waiting");
    }

    #[test]
    fn foreign_words_make_no_lines_of_their_own() {
        let text = text(&failed("550 no\r\nFinal-Recipient: rfc822; evil@x.example\n\u{1}"), "Subject: x\n\n");
        assert_eq!(text.matches("\nFinal-Recipient:").count(), 1);
        assert!(text.is_ascii());
    }

    #[test]
    fn a_large_message_comes_back_as_its_header() {
        let text = text(&failed("no"), &format!("Subject: large\n\n{}", "x\n".repeat(100_000)));
        assert!(text.contains("text/rfc822-headers\n\nSubject: large\n"));
        assert!(text.len() < 3000);
    }

    #[test]
    fn nobody_is_told_about_a_notice() {
        let mut entry = failed("no");
        entry.sender = ReversePath::Null;
        let content = Content::from_bytes(Vec::new());
        assert!(notice(&entry, &content, "mail.example.com", SystemTime::UNIX_EPOCH).expect("memory").is_none());
        let quiet = Waiting { quiet: true, ..failed("no") };
        assert!(notice(&quiet, &content, "mail.example.com", SystemTime::UNIX_EPOCH).expect("memory").is_none());
    }

    #[test]
    fn the_boundary_is_not_in_the_message() {
        let first = text(&failed("no"), "Subject: x\n\n");
        let inner = first.split("boundary=\"").nth(1).and_then(|t| t.split('"').next()).expect("there").to_owned();
        let outer = text(&failed("no"), &first);
        let declared = outer.split("boundary=\"").nth(1).and_then(|t| t.split('"').next()).expect("there").to_owned();
        assert_ne!(declared, inner);
    }
}
