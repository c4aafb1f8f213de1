//! One pure function from a message to a verdict.
//!
//! The envelope was judged at RCPT; what is judged here is the header.

use std::collections::HashSet;

use crate::directory::Destination;
use crate::intake::permit::Admitted;
use crate::mail::address::Address;
use crate::mail::limits::RECEIVED_HOPS;
use crate::message::header::Header;
use crate::protocol::smtp::reply::Reply;

/// The field that says by which of our addresses a message went on to another server.
const DELIVERED_TO: &str = "Delivered-To";

/// What is written on top of a message that an alias of ours sends elsewhere, so that it is known when it comes back.
#[must_use]
pub fn delivered_to(alias: &Address) -> Vec<u8> {
    format!("{DELIVERED_TO}: {alias}\n").into_bytes()
}

/// Those of the recipients who send their mail on to another server: only their mail can come back.
#[must_use]
pub fn sent_on(recipients: &[Admitted]) -> Vec<Address> {
    let goes_on = |to: &&Admitted| to.destinations().iter().any(|d| matches!(d, Destination::Forward(_)));
    recipients.iter().filter(goes_on).map(|to| to.address().clone()).collect()
}

/// Whether a message with this header may be taken for recipients of whom these are [`sent_on`].
///
/// # Errors
/// The reply that says why not.
pub fn judge(header: &Header<'_>, sent_on: &[Address]) -> Result<(), Reply> {
    // RFC 5321 §6.3: counting is the simple way to find a loop.
    if header.all("Received").count() >= RECEIVED_HOPS {
        return Err(Reply::mail_loop());
    }
    if sent_on.is_empty() {
        return Ok(());
    }
    // RFC 5321 §6.3: a message that we sent on by this very address has come back by it.
    let keys: HashSet<String> = sent_on.iter().map(Address::key).collect();
    let been_here =
        header.all(DELIVERED_TO).filter_map(|field| address_of(field.value)).any(|to| keys.contains(&to.key()));
    if been_here { Err(Reply::mail_loop()) } else { Ok(()) }
}

/// The address in the value of a field that holds one, in angle brackets or not.
fn address_of(value: &[u8]) -> Option<Address> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let inner = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
    Address::parse(inner.unwrap_or(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header;

    #[test]
    fn a_loop_is_found_at_its_limit() {
        for (hops, wanted) in [(RECEIVED_HOPS - 1, Ok(())), (RECEIVED_HOPS, Err(Reply::mail_loop()))] {
            let message = "Received: x\n".repeat(hops);
            assert_eq!(judge(&header::read(message.as_bytes()).expect("small"), &[]), wanted);
        }
    }

    #[test]
    fn mail_loop_by_our_own_delivered_to() {
        let alias = Address::parse("Away@example.com").expect("valid");
        let own = String::from_utf8(delivered_to(&alias)).expect("text");
        for (message, loops) in [
            (own.clone(), true),
            (format!("Received: x\n{own}Subject: x\n\n"), true),
            ("delivered-to: <away@EXAMPLE.com>\n\n".to_owned(), true),
            ("Delivered-To:\n away@example.com \n\n".to_owned(), true),
            ("Delivered-To: other@example.com\n\n".to_owned(), false),
            ("Delivered-To: away@example.org\n\n".to_owned(), false),
            ("X-Delivered-To: away@example.com\n\n".to_owned(), false),
            (format!("Subject: x\n\n{own}"), false),
            ("Delivered-To: \n\n".to_owned(), false),
        ] {
            let header = header::read(message.as_bytes()).expect("small");
            let wanted = if loops { Err(Reply::mail_loop()) } else { Ok(()) };
            assert_eq!(judge(&header, std::slice::from_ref(&alias)), wanted, "{message:?}");
            assert_eq!(judge(&header, &[]), Ok(()), "it is kept here: {message:?}");
        }
    }
}
