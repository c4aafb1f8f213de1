//! Dates as RFC 5322 §3.3 writes them.
//!
//! Takes the time and the zone; reads no clock.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `Thu, 13 Feb 2020 15:31:30 +0000`.
///
/// A time that no calendar has (before the year -9999, after 9999) is written as 1970.
#[must_use]
pub fn format(time: SystemTime, zone: &TimeZone) -> String {
    let zoned = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone());
    // RFC 5322 §3.3: names of days and months are English everywhere, and jiff has no others.
    zoned.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_581_607_890);
        assert_eq!(format(time, &TimeZone::UTC), "Thu, 13 Feb 2020 15:31:30 +0000");
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(format(time, &east), "Thu, 13 Feb 2020 17:31:30 +0200");
        let first = SystemTime::UNIX_EPOCH + Duration::from_secs(1_580_515_200);
        assert_eq!(format(first, &TimeZone::UTC), "Sat, 01 Feb 2020 00:00:00 +0000");
    }
}
