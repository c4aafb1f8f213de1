//! The envelope of a message: who sends, who receives, how it came in, and what the sender demands of its way.
//!
//! Knows nothing of the message's header; the two need not agree (RFC 5321 §2.3.1). The demands are kept with a message
//! that waits, so they are written as they are here into the files of the queue.

use serde::Deserialize;
use serde::Serialize;

use crate::mail::address::Address;
use crate::mail::address::ReversePath;

/// What SMTP says about a message beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `MAIL FROM`.
    pub sender: ReversePath,
    /// `RCPT TO`, in the order they were accepted; never empty once the data is accepted.
    pub recipients: Vec<Address>,
    /// Whether the sender said `BODY=8BITMIME` (RFC 6152).
    pub body: BodyKind,
    /// The other parameters of MAIL and RCPT that go on with the message.
    pub demands: Demands,
}

/// The `BODY` parameter of `MAIL FROM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyKind {
    /// `BODY=7BIT`, or nothing said.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME` (RFC 6152).
    EightBitMime,
}

/// What the sender demands of everybody on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Demands {
    /// SMTPUTF8 (RFC 6531): the addresses or the header may have UTF-8.
    pub international: bool,
    /// REQUIRETLS (RFC 8689): never in clear, and only to those who keep to that too.
    pub require_tls: bool,
    /// What is to be reported (RFC 3461).
    pub report: Report,
}

/// What the sender wants to be told (RFC 3461).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// RET: how much of the message comes back.
    pub returned: Option<Returned>,
    /// ENVID, decoded: printable ASCII.
    pub envelope_id: Option<String>,
    /// Nobody is told of more than failures, whatever was said or not said: the sender may not be who he says.
    failures_only: bool,
    /// Recipients of whom something was said; an address is written as [`Address`] prints it.
    recipients: Vec<(String, RecipientReport)>,
}

impl Report {
    /// What was said of this recipient, or what holds where nothing was.
    #[must_use]
    pub fn of(&self, recipient: &Address) -> RecipientReport {
        let said = self.find(recipient).cloned().unwrap_or_default();
        RecipientReport { notify: self.narrowed(said.notify), ..said }
    }

    /// Of what the sender wants to hear for this recipient.
    #[must_use]
    pub fn notify(&self, recipient: &Address) -> Notify {
        self.narrowed(self.find(recipient).map_or(Notify::Unsaid, |said| said.notify))
    }

    fn narrowed(&self, notify: Notify) -> Notify {
        if !self.failures_only {
            return notify;
        }
        match notify {
            Notify::Unsaid | Notify::On { failure: true, .. } => {
                Notify::On { success: false, failure: true, delay: false }
            }
            Notify::Never | Notify::On { failure: false, .. } => Notify::Never,
        }
    }

    fn find(&self, recipient: &Address) -> Option<&RecipientReport> {
        if self.recipients.is_empty() {
            return None;
        }
        let name = recipient.to_string();
        self.recipients.iter().find(|(address, _)| *address == name).map(|(_, said)| said)
    }

    /// Says something of a recipient. The last word counts; saying nothing leaves no trace.
    pub fn set(&mut self, recipient: &Address, said: RecipientReport) {
        let name = recipient.to_string();
        self.recipients.retain(|(address, _)| *address != name);
        if said != RecipientReport::default() {
            self.recipients.push((name, said));
        }
    }

    /// From here on only failures are told, and only where they were to be.
    pub fn keep_failures_only(&mut self) {
        self.failures_only = true;
    }

    /// The same wishes about the message, and none about any recipient.
    #[must_use]
    pub fn without_recipients(&self) -> Self {
        Self { recipients: Vec::new(), ..self.clone() }
    }
}

/// What is wanted for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RecipientReport {
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT: the recipient as the sender named it first.
    pub original: Option<OriginalRecipient>,
}

/// NOTIFY (RFC 3461 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Notify {
    /// Nothing was said: failures and delays are told.
    #[default]
    Unsaid,
    /// `NEVER`.
    Never,
    /// A list.
    On {
        /// `SUCCESS`.
        success: bool,
        /// `FAILURE`.
        failure: bool,
        /// `DELAY`.
        delay: bool,
    },
}

impl Notify {
    /// Whether a delivery is told.
    #[must_use]
    pub fn success(self) -> bool {
        matches!(self, Self::On { success: true, .. })
    }

    /// Whether a failure is told.
    #[must_use]
    pub fn failure(self) -> bool {
        matches!(self, Self::Unsaid | Self::On { failure: true, .. })
    }

    /// Whether a delay is told.
    #[must_use]
    pub fn delay(self) -> bool {
        matches!(self, Self::Unsaid | Self::On { delay: true, .. })
    }
}

/// ORCPT (RFC 3461 §4.2), decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalRecipient {
    /// The kind of address, an atom: `rfc822` and the like.
    pub kind: String,
    /// The address: printable, ASCII unless the kind is `utf-8`.
    pub address: String,
}

/// RET (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Returned {
    /// `HDRS`.
    Headers,
    /// `FULL`.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_recipients_is_found_by_their_address() {
        let address = |t: &str| Address::parse(t).expect("valid");
        let never = RecipientReport { notify: Notify::Never, original: None };
        let mut report = Report::default();
        report.set(&address("a@x.example"), never.clone());
        assert_eq!(report.of(&address("a@x.example")), never);
        assert_eq!(report.notify(&address("b@x.example")), Notify::Unsaid);
        report.set(&address("a@x.example"), RecipientReport::default());
        assert_eq!(report, Report::default());
        assert!(Notify::Unsaid.failure() && Notify::Unsaid.delay() && !Notify::Unsaid.success());
        assert!(!Notify::Never.failure() && !Notify::Never.delay() && !Notify::Never.success());
    }

    #[test]
    fn backscatter_of_wishes_only_failures_stay() {
        let to = Address::parse("a@x.example").expect("valid");
        let on = |success, failure, delay| Notify::On { success, failure, delay };
        for (said, kept) in [
            (Notify::Unsaid, on(false, true, false)),
            (Notify::Never, Notify::Never),
            (on(true, true, true), on(false, true, false)),
            (on(false, true, false), on(false, true, false)),
            (on(true, false, false), Notify::Never),
            (on(false, false, true), Notify::Never),
        ] {
            let original = Some(OriginalRecipient { kind: "rfc822".to_owned(), address: "o@x.example".to_owned() });
            let mut report = Report::default();
            report.set(&to, RecipientReport { notify: said, original: original.clone() });
            report.keep_failures_only();
            assert_eq!(report.of(&to), RecipientReport { notify: kept, original });
            // Nor is a delay told of somebody of whom nothing was said.
            let other = Address::parse("b@x.example").expect("valid");
            assert_eq!(report.notify(&other), on(false, true, false));
        }
    }
}
