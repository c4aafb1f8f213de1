//! The notice to a sender of what became of his mail: `multipart/report` (RFC 6522) with a delivery status (RFC 3464,
//! RFC 6533 where addresses are not ASCII).
//!
//! One notice tells of everybody of whom there is something to tell. What others said stands in it as text of theirs:
//! cleaned, folded, and of a bounded length.

use std::io::Read;
use std::time::Duration;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use super::entry::Action;
use super::entry::News;
use super::entry::Waiting;
use super::entry::words_of;
use crate::fsio::Content;
use crate::mail::address::Address;
use crate::mail::envelope::Demands;
use crate::mail::envelope::Returned;
use crate::mail::ids::QueueId;
use crate::mail::limits::BOUNCE_WHOLE_OCTETS;
use crate::mail::limits::HEADER_OCTETS;
use crate::mail::limits::NOTICE_TEXT_LINES;
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

/// What a notice is made of beside the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// Our name.
    pub(super) hostname: &'a str,
    pub(super) now: SystemTime,
    /// How long mail is tried.
    pub(super) lifetime: Duration,
}

/// The notice about what is new of `waiting` and wanted. `None` for mail without a sender, about which nobody may be
/// told (RFC 5321 §4.5.5), for mail whose sender may be forged and that was taken all the same, and where nothing is
/// wanted.
///
/// # Errors
/// What reading the original says.
pub(super) fn notice(
    waiting: &Waiting,
    news: &[News],
    original: &Content,
    facts: Facts<'_>,
) -> std::io::Result<Option<Notice>> {
    let news: Vec<&News> = news.iter().filter(|news| news.is_wanted(waiting)).collect();
    let (Some(to), false, Some(worst)) = (waiting.sender.address(), waiting.quiet, news.iter().map(|n| n.action).min())
    else {
        return Ok(None);
    };
    let Some(id) = QueueId::parse(&format!("{}-b{}", waiting.id, waiting.attempts)) else { return Ok(None) };
    let (kind, returned) = returned(waiting, worst, original)?;
    // RFC 6533 §3: addresses beyond ASCII make another kind of report, and need SMTPUTF8 on their way. So does the name
    // under which the sender knows a recipient (§4.2: ORCPT of the kind `utf-8`).
    let beyond_ascii = |news: &&News| {
        let original = waiting.demands.report.of(&news.recipient).original;
        news.recipient.is_international() || original.is_some_and(|original| !original.address.is_ascii())
    };
    let international = to.is_international() || news.iter().any(beyond_ascii);
    let charset = if international { "utf-8" } else { "us-ascii" };
    let report = if international { "message/global-delivery-status" } else { "message/delivery-status" };
    let boundary = boundary(&id, &returned);
    let date = date::format(facts.now, &TimeZone::system());
    let (hostname, subject) = (facts.hostname, subject(worst));
    let mut text = format!(
        "From: Mail Delivery System <MAILER-DAEMON@{hostname}>\nTo: {to}\nSubject: {subject}\n\
         Date: {date}\nMessage-ID: <{id}@{hostname}>\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n\
         Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"{boundary}\"\n\n\
         This is a report of the mail server {hostname}.\n\n\
         --{boundary}\nContent-Type: text/plain; charset={charset}\n"
    );
    if international {
        text.push_str("Content-Transfer-Encoding: 8bit\n");
    }
    text.push('\n');
    for_people(&mut text, &news, waiting, facts);
    text.push_str(&format!("--{boundary}\nContent-Type: {report}\n"));
    if international {
        text.push_str("Content-Transfer-Encoding: 8bit\n");
    }
    text.push('\n');
    for_machines(&mut text, &news, waiting, facts);
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
    let demands = Demands { require_tls: waiting.demands.require_tls, international, ..Demands::default() };
    Ok(Some(Notice { id, to: to.clone(), bytes, demands }))
}

fn subject(worst: Action) -> &'static str {
    match worst {
        Action::Failed => "Undelivered mail returned to sender",
        Action::Delayed => "Delayed mail, which is still being tried",
        Action::Delivered | Action::Relayed => "Your mail was delivered",
    }
}

/// The first part: what a person reads.
fn for_people(text: &mut String, news: &[&News], waiting: &Waiting, facts: Facts<'_>) {
    let until = date::format(waiting.arrived + facts.lifetime, &TimeZone::system());
    for (action, before, after) in [
        (Action::Failed, "Your message could not be delivered to:", "It will not be tried again.".to_owned()),
        (
            Action::Delayed,
            "Your message could not be delivered yet to:",
            format!("It is being tried until {until}; there is no need to send it again."),
        ),
        (Action::Delivered, "Your message was delivered to:", String::new()),
        (
            Action::Relayed,
            "Your message was handed on to a server that does not tell of deliveries, for:",
            String::new(),
        ),
    ] {
        let told: Vec<_> = news.iter().filter(|news| news.action == action).collect();
        if told.is_empty() {
            continue;
        }
        text.push_str(&format!("{before}\n\n"));
        for news in told {
            text.push_str(&format!("{}\n    {} {}\n\n", news.recipient, news.status, clean(&news.why, "\n    ")));
        }
        if !after.is_empty() {
            text.push_str(&format!("{after}\n\n"));
        }
    }
    text.push_str("Your message, or its head, is attached.\n\n");
}

/// The second part: fields for programs (RFC 3464 §2).
fn for_machines(text: &mut String, news: &[&News], waiting: &Waiting, facts: Facts<'_>) {
    if let Some(id) = &waiting.demands.report.envelope_id {
        text.push_str(&format!("Original-Envelope-Id: {}\n", clean(id, "")));
    }
    let arrived = date::format(waiting.arrived, &TimeZone::system());
    text.push_str(&format!(
        "Reporting-MTA: dns; {}\nX-Queue-ID: {}\nArrival-Date: {arrived}\n",
        facts.hostname, waiting.id
    ));
    for news in news {
        // RFC 3464 §2.3: one group of fields per recipient, after a blank line.
        text.push('\n');
        if let Some(original) = waiting.demands.report.of(&news.recipient).original {
            // Parsed to be printable.
            text.push_str(&format!("Original-Recipient: {}; {}\n", original.kind, original.address));
        }
        let kind = if news.recipient.is_international() { "utf-8" } else { "rfc822" };
        let (recipient, action, status) = (&news.recipient, news.action.name(), &news.status);
        text.push_str(&format!("Final-Recipient: {kind}; {recipient}\nAction: {action}\nStatus: {status}\n"));
        match words_of(&news.why) {
            Some((host, words)) => text.push_str(&format!(
                "Remote-MTA: dns; {}\nDiagnostic-Code: smtp; {}\n",
                clean(host, ""),
                clean(words, "\n    ")
            )),
            None if matches!(news.action, Action::Failed | Action::Delayed) => {
                text.push_str(&format!("Diagnostic-Code: x-facteur; {}\n", clean(&news.why, "\n    ")));
            }
            None => {}
        }
        if news.action == Action::Delayed {
            let until = date::format(waiting.arrived + facts.lifetime, &TimeZone::system());
            text.push_str(&format!("Will-Retry-Until: {until}\n"));
        }
    }
}

/// The third part: the original as a whole where it failed, is small, and nobody asked for less; else its header
/// (RFC 6522 §3, RFC 3461 §4.3, RFC 8689 §5).
fn returned(waiting: &Waiting, worst: Action, original: &Content) -> std::io::Result<(&'static str, Vec<u8>)> {
    let demands = &waiting.demands;
    let headers = worst != Action::Failed
        || demands.require_tls
        || demands.report.returned == Some(Returned::Headers)
        || original.len() > BOUNCE_WHOLE_OCTETS;
    let mut head = original.head(HEADER_OCTETS)?;
    if let Some(end) = memchr::memmem::find(&head, b"\n\n") {
        head.truncate(end + 1);
    }
    let global = !head.is_ascii();
    if headers {
        return Ok((if global { "message/global-headers" } else { "text/rfc822-headers" }, head));
    }
    let mut bytes = Vec::new();
    original.reader().read_to_end(&mut bytes)?;
    Ok((if global { "message/global" } else { "message/rfc822" }, bytes))
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

/// Foreign words for a header field and for people: ASCII, some lines of them where they go on with `fold`, else one.
fn clean(text: &str, fold: &str) -> String {
    let most = if fold.is_empty() { REMOTE_TEXT_OCTETS } else { REMOTE_TEXT_OCTETS * NOTICE_TEXT_LINES };
    let text: String = text.chars().take(most).map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
    let lines: Vec<&str> =
        text.as_bytes().chunks(REMOTE_TEXT_OCTETS).filter_map(|l| std::str::from_utf8(l).ok()).collect();
    lines.join(fold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::ReversePath;
    use crate::mail::envelope::Notify;
    use crate::mail::envelope::OriginalRecipient;
    use crate::mail::envelope::RecipientReport;
    use crate::queue::entry::Handover;
    use crate::queue::entry::Outcome;
    use crate::queue::entry::tests::waiting;

    fn failed(why: &str) -> Waiting {
        let mut entry = waiting(&["bob@remote.example", "carol@remote.example"]);
        let outcome = Outcome::Failed { status: "5.1.1".to_owned(), why: why.to_owned() };
        entry.apply(&[(Address::parse("bob@remote.example").expect("an address"), outcome)]);
        entry
    }

    const LIFETIME: Duration = Duration::from_secs(432_000);

    fn make(entry: &Waiting, content: &Content) -> Option<Notice> {
        let now = entry.arrived + Duration::from_secs(5 * 3600);
        let facts = Facts { hostname: "mail.example.com", now, lifetime: LIFETIME };
        notice(entry, &entry.news(now), content, facts).expect("memory")
    }

    fn text(entry: &Waiting, original: &str) -> String {
        let content = Content::from_bytes(original.as_bytes().to_vec());
        let made = make(entry, &content).expect("a notice");
        assert_eq!(made.to.to_string(), "alice@example.com");
        String::from_utf8(made.bytes).expect("text")
    }

    #[test]
    fn a_notice_names_who_failed_and_returns_the_message() {
        let text = text(&failed("mx.remote.example (192.0.2.1:25) said: 550 no such user"), "Subject: hello\n\nbody\n");
        for part in [
            "To: alice@example.com\n",
            "Auto-Submitted: auto-replied\n",
            "report-type=delivery-status",
            "Reporting-MTA: dns; mail.example.com\n",
            "\n\nFinal-Recipient: rfc822; bob@remote.example\nAction: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx.remote.example\nDiagnostic-Code: smtp; 550 no such user\n",
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
        assert!(make(&entry, &content).is_none());
        let quiet = Waiting { quiet: true, ..failed("no") };
        assert!(make(&quiet, &content).is_none());
    }

    #[test]
    fn what_the_sender_wants_decides() {
        let bob = Address::parse("bob@remote.example").expect("valid");
        let said = |notify, entry: &mut Waiting| {
            let original =
                Some(OriginalRecipient { kind: "rfc822".to_owned(), address: "robert@x.example".to_owned() });
            entry.demands.report.set(&bob, RecipientReport { notify, original });
        };
        let content = Content::from_bytes(b"Subject: x\n\nsecret\n".to_vec());
        let mut entry = failed("no");
        said(Notify::Never, &mut entry);
        assert!(make(&entry, &content).is_none());
        said(Notify::On { success: true, failure: false, delay: true }, &mut entry);
        assert!(make(&entry, &content).is_none());
        said(Notify::On { success: false, failure: true, delay: false }, &mut entry);
        entry.demands.report.envelope_id = Some("QQ 1".to_owned());
        let full = text(&entry, "Subject: x\n\nsecret\n");
        assert!(full.contains("\nOriginal-Envelope-Id: QQ 1\nReporting-MTA:"), "{full}");
        assert!(full.contains("\n\nOriginal-Recipient: rfc822; robert@x.example\nFinal-Recipient: rfc822; bob@"));
        assert!(full.contains("secret"));
        entry.demands.report.returned = Some(Returned::Headers);
        assert!(!text(&entry, "Subject: x\n\nsecret\n").contains("secret"));
        entry.demands.report.returned = Some(Returned::Full);
        entry.demands.require_tls = true;
        assert!(!text(&entry, "Subject: x\n\nsecret\n").contains("secret"));
        assert!(make(&entry, &content).expect("one").demands.require_tls);
    }

    #[test]
    fn deliveries_and_delays_are_told() {
        let (bob, carol) = ("bob@remote.example", "carol@remote.example");
        let address = |t: &str| Address::parse(t).expect("valid");
        for (how, action) in [(Handover::Mailbox, "delivered"), (Handover::Relayed, "relayed")] {
            let mut entry = waiting(&[bob, carol]);
            let notify = Notify::On { success: true, failure: false, delay: false };
            entry.demands.report.set(&address(bob), RecipientReport { notify, original: None });
            let done = |t: &str| (address(t), Outcome::Delivered { by: "mailbox".to_owned(), how });
            entry.apply(&[done(bob), done(carol)]);
            let text = text(&entry, "Subject: x\n\nsecret\n");
            assert!(text.contains(&format!("bob@remote.example\nAction: {action}\nStatus: 2.0.0\n")), "{text}");
            assert!(!text.contains("carol") && !text.contains("secret"), "{text}");
        }
        let mut entry = waiting(&[bob]);
        let outcome = Outcome::Deferred { status: "4.4.1".to_owned(), why: "nobody answers".to_owned() };
        entry.apply(&[(address(bob), outcome)]);
        let text = text(&entry, "Subject: x\n\nsecret\n");
        assert!(text.contains(
            "Action: delayed\nStatus: 4.4.1\nDiagnostic-Code: x-facteur; nobody answers\nWill-Retry-Until: "
        ));
        assert!(text.contains("Subject: Delayed mail") && !text.contains("secret"), "{text}");
    }

    #[test]
    fn a_name_beyond_ascii_makes_an_international_report() {
        let mut entry = failed("no");
        let bob = Address::parse("bob@remote.example").expect("valid");
        let content = Content::from_bytes(b"Subject: x\n\n".to_vec());
        for (name, international) in [("robert@x.example", false), ("rób@x.example", true)] {
            let original = Some(OriginalRecipient { kind: "utf-8".to_owned(), address: name.to_owned() });
            entry.demands.report.set(&bob, RecipientReport { original, ..RecipientReport::default() });
            let made = make(&entry, &content).expect("a notice");
            let text = String::from_utf8(made.bytes).expect("text");
            assert!(
                text.contains(&format!("\nOriginal-Recipient: utf-8; {name}\nFinal-Recipient: rfc822; bob@")),
                "{text}"
            );
            assert_eq!(made.demands.international, international);
            assert_eq!(text.contains("\nContent-Type: message/global-delivery-status\n"), international, "{text}");
            assert_eq!(text.is_ascii(), !international, "RFC 3464 §2.1: message/delivery-status is ASCII");
        }
    }

    #[test]
    fn foreign_words_are_folded_and_have_an_end() {
        let text = text(&failed(&format!("mx.example (x) said: {}", "w".repeat(100_000))), "Subject: x\n\n");
        assert!(text.lines().all(|line| line.len() <= 600));
        assert!(text.len() < 30_000);
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
