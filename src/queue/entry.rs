//! One waiting message as the queue knows it, and the state of each of its recipients. Pure.

use std::time::Duration;
use std::time::SystemTime;

use serde::Deserialize;
use serde::Serialize;

use super::schedule::Policy;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::envelope::Demands;
use crate::mail::ids::QueueId;
use crate::mail::limits::DELAY_NOTICE;

/// How an attempt ended for one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
#[must_use]
pub enum Outcome {
    /// Somebody else is responsible now.
    Delivered {
        /// Who took it, and what he said.
        by: String,
        /// What that says of the way that is left.
        #[serde(default)]
        how: Handover,
    },
    /// Not now.
    Deferred {
        /// Enhanced status code, for instance `4.4.1`.
        status: String,
        /// Why, in the words of the remote side where there are any.
        why: String,
    },
    /// Never.
    Failed {
        /// Enhanced status code, for instance `5.1.1`.
        status: String,
        /// Why, in the words of the remote side where there are any.
        why: String,
    },
    /// The sender has been told what became of it.
    Told,
    /// The sender has been told that it is late.
    ToldOfDelay,
}

/// Who took a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Handover {
    /// The recipient's mailbox.
    #[default]
    Mailbox,
    /// A server that tells nobody of deliveries.
    Relayed,
    /// A server that reports itself (RFC 3461 §5.2.1).
    Reported,
}

/// What a sender may want to hear. The worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Failed,
    Delayed,
    Relayed,
    Delivered,
}

impl Action {
    /// RFC 3464 §2.3.3.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Relayed => "relayed",
            Self::Delivered => "delivered",
        }
    }
}

/// What is to be told of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    pub(super) recipient: Address,
    pub(super) action: Action,
    pub(super) status: String,
    pub(super) why: String,
}

impl News {
    /// Whether the sender asked for it, or did not ask to be spared.
    pub(super) fn is_wanted(&self, waiting: &Waiting) -> bool {
        let notify = waiting.demands.report.notify(&self.recipient);
        match self.action {
            Action::Failed => notify.failure(),
            Action::Delayed => notify.delay(),
            Action::Relayed | Action::Delivered => notify.success(),
        }
    }

    /// What is written down when it was told.
    pub(super) fn told(&self) -> (Address, Outcome) {
        let told = if self.action == Action::Delayed { Outcome::ToldOfDelay } else { Outcome::Told };
        (self.recipient.clone(), told)
    }
}

/// What stands before the last reason of mail that was given up for its age.
const EXPIRED: &str = "delivery time expired; last: ";

/// How the words of a remote server are told, with its name before them.
#[must_use]
pub fn quoted(host: &str, address: &str, words: &str) -> String {
    format!("{host} ({address}) said: {words}")
}

/// The host and the words of [`quoted`]; `None` where the words are our own. Nothing is looked for in the words: a server
/// may say what looks like ours, and must not choose whom we name for it.
pub(super) fn words_of(why: &str) -> Option<(&str, &str)> {
    let (host, rest) = why.strip_prefix(EXPIRED).unwrap_or(why).split_once(" (")?;
    let (address, words) = rest.split_once(") said: ")?;
    (!host.contains(' ') && !address.contains([' ', ')'])).then_some((host, words))
}

/// Where one recipient stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecipientState {
    /// To be tried.
    Waiting {
        /// What the last attempt said, if there was one.
        last: Option<(String, String)>,
        /// Whether the sender was told that it is late.
        told: bool,
    },
    /// Delivered, and the sender wants to be told.
    Delivered {
        /// Who took it.
        by: String,
        /// How.
        how: Handover,
    },
    /// Done: delivered, or failed and the sender told.
    Done,
    /// Given up, with status and reason; the sender is to be told.
    Failed {
        /// Enhanced status code.
        status: String,
        /// Why.
        why: String,
    },
}

/// A waiting message.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Its id.
    pub id: QueueId,
    /// Who is told when it fails.
    pub sender: ReversePath,
    /// Every recipient with its state.
    pub recipients: Vec<(Address, RecipientState)>,
    /// When it came.
    pub arrived: SystemTime,
    /// Octets, trace header included, as on disk.
    pub octets: u64,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is due.
    pub next: SystemTime,
    /// Whether nobody is told when it fails: the sender may be forged.
    pub quiet: bool,
    /// What the sender demands.
    pub demands: Demands,
    /// Why it belongs into the folder for junk of those who are here, where it does.
    pub junk: Option<String>,
}

impl Waiting {
    /// Adds recipients who had the message before it was queued, of which the sender is to be told.
    pub(super) fn add_delivered(&mut self, delivered: Vec<Address>) {
        let state = RecipientState::Delivered { by: "mailbox".to_owned(), how: Handover::Mailbox };
        self.recipients.extend(delivered.into_iter().map(|address| (address, state.clone())));
    }

    /// The recipients to be tried.
    pub fn open(&self) -> impl Iterator<Item = &Address> {
        self.recipients.iter().filter(|(_, s)| matches!(s, RecipientState::Waiting { .. })).map(|(address, _)| address)
    }

    /// The recipients that were given up and whose sender was not told yet.
    pub fn failed(&self) -> impl Iterator<Item = (&Address, &str, &str)> {
        self.recipients.iter().filter_map(|(address, state)| match state {
            RecipientState::Failed { status, why } => Some((address, status.as_str(), why.as_str())),
            _ => None,
        })
    }

    /// Whether nobody is left to be tried or to be told of.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.recipients.iter().all(|(_, state)| *state == RecipientState::Done)
    }

    /// Takes the outcomes of one attempt. A recipient that is done stays so, and only one that failed can be told of.
    pub fn apply(&mut self, outcomes: &[(Address, Outcome)]) {
        for (address, outcome) in outcomes {
            let told = *outcome == Outcome::Told;
            let fits = |(a, state): &&mut (Address, RecipientState)| {
                a == address
                    && match state {
                        RecipientState::Waiting { .. } => !told,
                        RecipientState::Failed { .. } | RecipientState::Delivered { .. } => told,
                        RecipientState::Done => false,
                    }
            };
            let success = self.may_tell() && self.demands.report.notify(address).success();
            let Some((_, state)) = self.recipients.iter_mut().find(fits) else { continue };
            let (last, late) = match state {
                RecipientState::Waiting { last, told } => (last.take(), *told),
                _ => (None, false),
            };
            *state = match outcome {
                Outcome::Delivered { by, how } if success && *how != Handover::Reported => {
                    RecipientState::Delivered { by: by.clone(), how: *how }
                }
                Outcome::Delivered { .. } | Outcome::Told => RecipientState::Done,
                Outcome::Deferred { status, why } => {
                    RecipientState::Waiting { last: Some((status.clone(), why.clone())), told: late }
                }
                Outcome::ToldOfDelay => RecipientState::Waiting { last, told: true },
                Outcome::Failed { status, why } => RecipientState::Failed { status: status.clone(), why: why.clone() },
            };
        }
    }

    /// Whether anybody may be told anything: not where there is no sender (RFC 5321 §4.5.5), nor where he may be forged.
    fn may_tell(&self) -> bool {
        !self.quiet && self.sender.address().is_some()
    }

    /// What became of recipients and was not told yet. Of failures even those that nobody wants to hear of, since they
    /// are done with then.
    pub(super) fn news(&self, now: SystemTime) -> Vec<News> {
        let late = self.may_tell() && now.duration_since(self.arrived).unwrap_or_default() >= DELAY_NOTICE;
        let news = self.recipients.iter().filter_map(|(recipient, state)| {
            let (action, status, why) = match state {
                RecipientState::Failed { status, why } => (Action::Failed, status.clone(), why.clone()),
                RecipientState::Waiting { last: Some((status, why)), told: false } if late => {
                    (Action::Delayed, status.clone(), why.clone())
                }
                RecipientState::Delivered { by, how } => {
                    let action = if *how == Handover::Mailbox { Action::Delivered } else { Action::Relayed };
                    (action, "2.0.0".to_owned(), by.clone())
                }
                _ => return None,
            };
            Some(News { recipient: recipient.clone(), action, status, why })
        });
        news.filter(|news| news.action != Action::Delayed || news.is_wanted(self)).collect()
    }

    /// An attempt has ended at `now`: when the next one is, or, past the lifetime, who is given up. What that changes
    /// is returned, to be recorded.
    pub fn reschedule(&mut self, policy: &Policy, now: SystemTime) -> Vec<(Address, Outcome)> {
        self.attempts = self.attempts.saturating_add(1);
        self.next = now + policy.wait_after(self.attempts);
        let age = now.duration_since(self.arrived).unwrap_or_default();
        if !policy.is_over(age) {
            return Vec::new();
        }
        let expired = self.recipients.iter().filter_map(|(address, state)| {
            let RecipientState::Waiting { last, .. } = state else { return None };
            let last = last.as_ref().map_or("no attempt was made", |(_, why)| why);
            // RFC 3463 §3.5: X.4.7, delivery time expired.
            let (status, why) = ("5.4.7".to_owned(), format!("{EXPIRED}{last}"));
            Some((address.clone(), Outcome::Failed { status, why }))
        });
        let expired: Vec<_> = expired.collect();
        self.apply(&expired);
        expired
    }

    /// Pulls a time that lies too far ahead back: the wall clock may have jumped while we were down.
    pub fn clamp(&mut self, policy: &Policy, now: SystemTime) {
        self.next = self.next.min(now + policy.retry_max);
        self.arrived = self.arrived.min(now + Duration::from_secs(1));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn waiting(recipients: &[&str]) -> Waiting {
        let address = |t: &str| Address::parse(t).expect("an address");
        Waiting {
            id: QueueId::parse("abc-1").expect("an id"),
            sender: ReversePath::Address(address("alice@example.com")),
            recipients: recipients
                .iter()
                .map(|r| (address(r), RecipientState::Waiting { last: None, told: false }))
                .collect(),
            arrived: SystemTime::UNIX_EPOCH,
            octets: 10,
            attempts: 0,
            next: SystemTime::UNIX_EPOCH,
            quiet: false,
            demands: Demands::default(),
            junk: None,
        }
    }

    const POLICY: Policy = Policy {
        retry_min: Duration::from_secs(300),
        retry_max: Duration::from_secs(4000),
        lifetime: Duration::from_secs(432_000),
    };

    #[test]
    fn every_recipient_has_his_own_fate() {
        let mut entry = waiting(&["a@x.example", "b@x.example", "c@x.example"]);
        let address = |t: &str| Address::parse(t).expect("an address");
        entry.apply(&[
            (address("a@x.example"), Outcome::Delivered { by: "x".to_owned(), how: Handover::Relayed }),
            (address("b@x.example"), Outcome::Failed { status: "5.1.1".to_owned(), why: "no".to_owned() }),
            (address("c@x.example"), Outcome::Deferred { status: "4.2.0".to_owned(), why: "later".to_owned() }),
        ]);
        assert_eq!(entry.open().map(ToString::to_string).collect::<Vec<_>>(), ["c@x.example"]);
        assert_eq!(entry.failed().count(), 1);
        assert!(entry.reschedule(&POLICY, SystemTime::UNIX_EPOCH + Duration::from_secs(10)).is_empty());
        assert_eq!(entry.next, SystemTime::UNIX_EPOCH + Duration::from_secs(310));
        entry
            .apply(&[(address("a@x.example"), Outcome::Failed { status: "5.0.0".to_owned(), why: "late".to_owned() })]);
        assert_eq!(entry.failed().count(), 1, "what was delivered stays delivered");
    }

    #[test]
    fn after_its_lifetime_a_message_is_given_up() {
        let mut entry = waiting(&["a@x.example"]);
        assert!(entry.reschedule(&POLICY, SystemTime::UNIX_EPOCH + Duration::from_secs(431_999)).is_empty());
        assert_eq!(entry.reschedule(&POLICY, SystemTime::UNIX_EPOCH + Duration::from_secs(432_000)).len(), 1);
        assert!(entry.open().next().is_none() && !entry.is_done(), "the sender is to be told");
        assert_eq!(entry.failed().map(|(_, status, _)| status.to_owned()).collect::<Vec<_>>(), ["5.4.7"]);
        entry.apply(&[(Address::parse("a@x.example").expect("an address"), Outcome::Told)]);
        assert!(entry.is_done());
    }

    #[test]
    fn a_delay_is_news_once_and_late() {
        let mut entry = waiting(&["a@x.example"]);
        let address = Address::parse("a@x.example").expect("an address");
        let late = SystemTime::UNIX_EPOCH + DELAY_NOTICE;
        assert!(entry.news(late).is_empty(), "nothing was tried");
        let deferred = Outcome::Deferred { status: "4.4.1".to_owned(), why: "no".to_owned() };
        entry.apply(&[(address.clone(), deferred.clone())]);
        assert!(entry.news(late - Duration::from_secs(1)).is_empty());
        let news = entry.news(late);
        assert_eq!(news.iter().map(|n| n.action).collect::<Vec<_>>(), [Action::Delayed]);
        entry.apply(&[news[0].told()]);
        entry.apply(&[(address.clone(), deferred)]);
        assert!(entry.news(late).is_empty() && entry.open().next().is_some());
        entry.apply(&[(address.clone(), Outcome::Failed { status: "5.0.0".to_owned(), why: "no".to_owned() })]);
        assert_eq!(entry.news(late).len(), 1, "the failure is another thing");
        entry.apply(&[entry.news(late)[0].told()]);
        assert!(entry.is_done());
    }

    #[test]
    fn a_sender_nobody_vouches_for_hears_of_no_delay() {
        let mut entry = waiting(&["a@x.example"]);
        entry.demands.report.keep_failures_only();
        let address = Address::parse("a@x.example").expect("an address");
        entry.apply(&[(address.clone(), Outcome::Deferred { status: "4.4.1".to_owned(), why: "no".to_owned() })]);
        assert!(entry.news(SystemTime::UNIX_EPOCH + DELAY_NOTICE * 2).is_empty());
        entry.apply(&[(address, Outcome::Failed { status: "5.0.0".to_owned(), why: "no".to_owned() })]);
        let news = entry.news(SystemTime::UNIX_EPOCH + DELAY_NOTICE * 2);
        assert!(news.len() == 1 && news[0].is_wanted(&entry), "a failure is told");
    }

    #[test]
    fn the_words_of_others_are_told_from_ours() {
        let why = quoted("mx.example", "192.0.2.1:25", "550 no (really) said: so");
        assert_eq!(words_of(&why), Some(("mx.example", "550 no (really) said: so")));
        assert_eq!(words_of(&format!("delivery time expired; last: {why}")).map(|w| w.0), Some("mx.example"));
        assert_eq!(words_of("connect to mx (192.0.2.1:25): timed out"), None);
        for evil in [
            "550 no; last: evil.example (1.2.3.4:25) said: 550 no",
            "550 delivery time expired; last: evil.example (x) said: y",
        ] {
            let why = quoted("mx.example", "192.0.2.1:25", evil);
            assert_eq!(words_of(&why), Some(("mx.example", evil)));
            assert_eq!(words_of(&format!("{EXPIRED}{why}")), Some(("mx.example", evil)));
            let ours = format!("mx.example (192.0.2.1:25) connection lost at EHLO: {evil}");
            assert_eq!(words_of(&ours), None, "what broke the connection is no reply");
        }
    }

    #[test]
    fn a_clock_that_jumped_makes_nobody_wait_for_years() {
        let mut entry = waiting(&["a@x.example"]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        entry.next = now + Duration::from_secs(86_400 * 3650);
        entry.clamp(&POLICY, now);
        assert_eq!(entry.next, now + POLICY.retry_max);
    }
}
