//! What messages are sorted by (RFC 5256 §3, RFC 5957 §3), as values that compare.
//!
//! Knows headers, not where they are kept.

use std::cmp::Ordering;

use crate::mail::limits::IMAP_SORT_KEY_OCTETS;
use crate::message::addresses::Item;
use crate::message::addresses::addresses;
use crate::message::base_subject::base_subject;
use crate::message::casemap::push_prepared;
use crate::message::decode::header_text;
use crate::message::fields::fields;
use crate::message::sent::sent_time;
use crate::protocol::imap::syntax::sort::SortCriterion;
use crate::protocol::imap::syntax::sort::SortKey;

/// The value of a message for one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SortValue {
    /// Seconds, or octets.
    Number(i64),
    /// A text as i;unicode-casemap compares it (RFC 5255 §4.4); what is absent is empty.
    Text(Box<[u8]>),
}

/// Compares two messages by their values for these criteria, of which the first counts most. Equal ones stay as they are
/// in the mailbox, whatever is reversed.
#[must_use]
pub fn compare(criteria: &[SortCriterion], a: &[SortValue], b: &[SortValue]) -> Ordering {
    let by = criteria.iter().zip(a.iter().zip(b));
    by.map(|(criterion, (a, b))| if criterion.reverse { b.cmp(a) } else { a.cmp(b) })
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// A text as it is compared, and not longer than is kept.
#[must_use]
pub fn prepared(text: &str) -> Box<[u8]> {
    let mut out = Vec::new();
    push_prepared(text, &mut out);
    out.truncate(IMAP_SORT_KEY_OCTETS);
    out.into()
}

/// The sent date of a header (RFC 5256 §2.2); none where INTERNALDATE has to stand for it.
#[must_use]
pub fn sent_date(header: &[u8]) -> Option<i64> {
    fields(header).find(|f| f.is("Date")).and_then(|f| sent_time(f.value))
}

/// The text of a header for one of the keys that are texts; for others it is empty.
#[must_use]
pub fn text_of(header: &[u8], key: SortKey) -> Box<[u8]> {
    let field = |name| fields(header).find(|f| f.is(name)).map(|f| f.value);
    match key {
        SortKey::Subject => field("Subject").map(|value| prepared(&base_subject(value).text)),
        SortKey::From => field("From").map(mailbox_of),
        SortKey::To => field("To").map(mailbox_of),
        SortKey::Cc => field("Cc").map(mailbox_of),
        SortKey::DisplayFrom => field("From").map(display_of),
        SortKey::DisplayTo => field("To").map(display_of),
        SortKey::Arrival | SortKey::Date | SortKey::Size => None,
    }
    .unwrap_or_default()
}

/// `addr-mailbox` of the first address. That of a group is its name, as ENVELOPE has it (RFC 3501 §7.4.2).
fn mailbox_of(value: &[u8]) -> Box<[u8]> {
    match addresses(value).into_iter().next() {
        Some(Item::Mailbox { local, .. }) => prepared(&header_text(&local)),
        Some(Item::GroupStart(name)) => prepared(&header_text(&name)),
        Some(Item::GroupEnd) | None => Box::default(),
    }
}

/// RFC 5957 §3: the name, else the address, else its mailbox.
fn display_of(value: &[u8]) -> Box<[u8]> {
    match addresses(value).into_iter().next() {
        Some(Item::Mailbox { name, local, domain, .. }) => {
            let name = name.map(|name| header_text(&name)).filter(|name| !name.is_empty());
            let (local, domain) = (String::from_utf8_lossy(&local), String::from_utf8_lossy(&domain));
            let address = if domain.is_empty() { local.into_owned() } else { format!("{local}@{domain}") };
            prepared(&name.unwrap_or(address))
        }
        Some(Item::GroupStart(name)) => prepared(&header_text(&name)),
        Some(Item::GroupEnd) | None => Box::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"Subject: Re: [list] b\nFrom: =?utf-8?q?=C3=9Cb?= er <Zed@a.example>\nTo: anna@x.example\n\
        Cc: some friends: x@y;\nDate: 31 Dec 2000 16:01:33 -0800\n\n";

    #[test]
    fn keys() {
        for (key, expected) in [
            (SortKey::Subject, "b"),
            (SortKey::From, "zed"),
            (SortKey::To, "anna"),
            (SortKey::Cc, "some friends"),
            (SortKey::DisplayFrom, "über"),
            (SortKey::DisplayTo, "anna@x.example"),
            (SortKey::Date, ""),
        ] {
            let text = text_of(HEADER, key);
            let expected = if key == SortKey::DisplayFrom { "Üb er" } else { expected };
            assert_eq!(text, prepared(expected), "{key:?}");
            assert!(text_of(b"\n", key).is_empty());
        }
        assert_eq!(sent_date(HEADER), Some(978_307_293));
        assert_eq!(sent_date(b"Date: soon\n\n"), None);
        let long = format!("Subject: {}\n\n", "x".repeat(5000));
        assert_eq!(text_of(long.as_bytes(), SortKey::Subject).len(), IMAP_SORT_KEY_OCTETS);
    }

    #[test]
    fn order() {
        let by = |key, reverse| SortCriterion { key, reverse };
        let criteria = [by(SortKey::Subject, false), by(SortKey::Date, true)];
        let values = |text: &str, date| [SortValue::Text(prepared(text)), SortValue::Number(date)];
        for (a, b, expected) in [
            (values("a", 1), values("B", 1), Ordering::Less),
            (values("A", 1), values("a", 2), Ordering::Greater),
            (values("a", 2), values("A", 2), Ordering::Equal),
            (values("", 9), values("a", 0), Ordering::Less),
        ] {
            assert_eq!(compare(&criteria, &a, &b), expected);
            assert_eq!(compare(&criteria, &b, &a), expected.reverse());
        }
    }
}
