//! What an IMAP ENVELOPE tells of a header (RFC 3501 §7.4.2), in raw octets.
//!
//! Knows nothing of how it is written on the wire, nor of the SMTP envelope.

use crate::message::addresses::Item;
use crate::message::addresses::addresses;
use crate::message::fields::Field;
use crate::message::fields::fields;

/// The structured view of a header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEnvelope {
    /// `Date`, as text.
    pub date: Option<Vec<u8>>,
    /// `Subject`.
    pub subject: Option<Vec<u8>>,
    /// `From`.
    pub from: Vec<Item>,
    /// `Sender`; `From` where there is none.
    pub sender: Vec<Item>,
    /// `Reply-To`; `From` where there is none.
    pub reply_to: Vec<Item>,
    /// `To`.
    pub to: Vec<Item>,
    /// `Cc`.
    pub cc: Vec<Item>,
    /// `Bcc`.
    pub bcc: Vec<Item>,
    /// `In-Reply-To`.
    pub in_reply_to: Option<Vec<u8>>,
    /// `Message-ID`.
    pub message_id: Option<Vec<u8>>,
}

impl HeaderEnvelope {
    /// Reads a header block. Of fields that may stand once the first counts; lists of recipients are joined.
    #[must_use]
    pub fn read(header: &[u8]) -> Self {
        let mut out = Self::default();
        for field in fields(header) {
            out.take(&field);
        }
        // RFC 3501 §7.4.2: the server sets them to `From` where they are absent or empty.
        if out.sender.is_empty() {
            out.sender.clone_from(&out.from);
        }
        if out.reply_to.is_empty() {
            out.reply_to.clone_from(&out.from);
        }
        out
    }

    fn take(&mut self, field: &Field<'_>) {
        let text = |slot: &mut Option<Vec<u8>>| {
            slot.get_or_insert_with(|| field.unfolded());
        };
        let list = |slot: &mut Vec<Item>| {
            if slot.is_empty() {
                *slot = addresses(field.value);
            }
        };
        match field.name.to_ascii_lowercase().as_slice() {
            b"date" => text(&mut self.date),
            b"subject" => text(&mut self.subject),
            b"from" => list(&mut self.from),
            b"sender" => list(&mut self.sender),
            b"reply-to" => list(&mut self.reply_to),
            b"to" => self.to.extend(addresses(field.value)),
            b"cc" => self.cc.extend(addresses(field.value)),
            b"bcc" => self.bcc.extend(addresses(field.value)),
            b"in-reply-to" => text(&mut self.in_reply_to),
            b"message-id" => text(&mut self.message_id),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_senders_are_the_author() {
        let header = b"From: a@b\nSubject: one\n two\nSubject: other\nReply-To: \nTo: x@y\nTo: z@y\n\n";
        let envelope = HeaderEnvelope::read(header);
        assert_eq!(envelope.subject.as_deref(), Some(&b"one two"[..]));
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!(envelope.reply_to, envelope.from);
        assert_eq!(envelope.to.len(), 2);
        assert_eq!((envelope.date, envelope.cc.len()), (None, 0));
    }
}
