//! What a mail client may leave to us (RFC 6409 §8): `Date` and `Message-ID`.
//!
//! Adds what is missing and never touches what is there.

use std::time::SystemTime;

use jiff::tz::TimeZone;

use crate::mail::ids::QueueId;
use crate::message::date;
use crate::message::header::Header;

/// The fields to put before a header that lacks them, lines ended by LF.
#[must_use]
pub fn missing_fields(header: &Header<'_>, id: &QueueId, hostname: &str, zone: &TimeZone, now: SystemTime) -> Vec<u8> {
    let mut fields = String::new();
    if !header.has("Date") {
        fields.push_str(&format!("Date: {}\n", date::format(now, zone)));
    }
    if !header.has("Message-ID") {
        // The id is unique on this host for ever, which is what RFC 5322 §3.6.4 asks for.
        fields.push_str(&format!("Message-ID: <{id}@{hostname}>\n"));
    }
    fields.into_bytes()
}
