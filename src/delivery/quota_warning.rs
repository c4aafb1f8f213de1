//! The mail that tells somebody that his mailbox fills up: into the inbox, past the quota, once per percentage until
//! the usage falls below it again.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use jiff::tz::TimeZone;

use crate::clock::Clock;
use crate::config::Config;
use crate::directory::Directory;
use crate::fsio::Content;
use crate::mail::address::Address;
use crate::mail::ids::QueueId;
use crate::mail::ids::SessionId;
use crate::message::date;
use crate::store::Delivery;
use crate::store::QuotaWarning;
use crate::store::Store;

/// Delivers the warnings of a store as they come, without end.
pub async fn send(store: Arc<Store>, directory: Arc<ArcSwap<Directory>>, config: Arc<ArcSwap<Config>>, clock: Clock) {
    let Some(mut warnings) = store.quota_warnings() else { return };
    while let Some(warning) = warnings.recv().await {
        // Whoever is no account any more is told nothing.
        let Some(to) = directory.load().account_in(&warning.maildir).map(|account| account.address().clone()) else {
            continue;
        };
        let id = SessionId::new(clock.since_epoch()).message(1);
        let text = text(&warning, &to, &id, config.load().hostname.as_str(), clock.wall());
        let message = Delivery {
            id,
            prefix: b"Return-Path: <>\n".to_vec(),
            content: Content::from_bytes(text.into_bytes()),
            maildirs: vec![warning.maildir.clone()],
            received: clock.wall(),
            special_use: None,
            again: false,
        };
        for outcome in store.deliver_exempt(message).await {
            let percent = warning.limits.percent(warning.usage);
            match outcome {
                Ok(()) => tracing::info!(%to, percent, "warned of a mailbox that fills up"),
                Err(error) => tracing::warn!(%to, percent, %error, "nobody was warned of a mailbox that fills up"),
            }
        }
    }
}

/// The message, lines ended by LF.
fn text(warning: &QuotaWarning, to: &Address, id: &QueueId, hostname: &str, now: SystemTime) -> String {
    let QuotaWarning { usage, limits, .. } = warning;
    let percent = limits.percent(*usage);
    let mut held = Vec::new();
    if limits.octets > 0 {
        held.push(format!("{} of {}", size(usage.octets), size(limits.octets)));
    }
    if limits.messages > 0 {
        held.push(format!("{} of {} messages", usage.messages, limits.messages));
    }
    let date = date::format(now, &TimeZone::system());
    let domain = to.domain();
    format!(
        "From: Mail server <postmaster@{domain}>\nTo: {to}\nSubject: Your mailbox is {percent}% full\nDate: {date}\n\
         Message-ID: <{id}@{hostname}>\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n\
         Your mailbox {to} is {percent}\u{a0}% full:\n{held}.\n\n\
         When it is full, new messages cannot be delivered until there is room\nagain. To make room, delete messages \
         that you no longer need, the large\nones first, and empty the trash: what lies there counts, too.\n\n\
         This message was written by the mail server {hostname}.\n",
        held = held.join(", ")
    )
}

/// `12.3 MiB`.
fn size(octets: u64) -> String {
    let (unit, shift) = match octets {
        0..0x10_0000 => ("KiB", 10),
        0x10_0000..0x4000_0000 => ("MiB", 20),
        _ => ("GiB", 30),
    };
    let tenths = (u128::from(octets) * 10) >> shift;
    format!("{}.{}\u{a0}{unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::quota::QuotaLimits;
    use crate::mail::quota::Usage;

    #[test]
    fn a_warning_says_how_full_and_answers_nobody() {
        let warning = QuotaWarning {
            maildir: "/mail/alice".into(),
            usage: Usage { octets: 83 << 20, messages: 12 },
            limits: QuotaLimits { octets: 100 << 20, messages: 1000, warn: [80].into() },
        };
        let to = Address::parse("alice@example.com").expect("an address");
        let id = QueueId::parse("id-1").expect("an id");
        let text = text(&warning, &to, &id, "mail.example.com", SystemTime::UNIX_EPOCH);
        for part in [
            "From: Mail server <postmaster@example.com>\nTo: alice@example.com\nSubject: Your mailbox is 83% full\n",
            "\nMessage-ID: <id-1@mail.example.com>\nAuto-Submitted: auto-generated\n",
            "is 83\u{a0}% full:\n83.0\u{a0}MiB of 100.0\u{a0}MiB, 12 of 1000 messages.\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 78));
    }

    #[test]
    fn sizes_for_people() {
        for (octets, shown) in [(0, "0.0 KiB"), (1536, "1.5 KiB"), (0xf_ffff, "1023.9 KiB"), (3 << 30, "3.0 GiB")] {
            assert_eq!(size(octets).replace('\u{a0}', " "), shown);
        }
        assert!(size(u64::MAX).ends_with("GiB"));
    }
}
