//! What a `Date` field says: the day, for `SENTSINCE` and its kin (RFC 3501 §6.4.4: time and zone are disregarded), and
//! the second, for what is sorted by sent date (RFC 5256 §2.2).

/// Days since 1970-01-01 of a civil date; `None` where there is no such day. Proleptic Gregorian calendar.
#[must_use]
pub fn days(year: i64, month: u32, day: u32) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day == 0 || day > length || !(0..=9999).contains(&year) {
        return None;
    }
    // Years that start in March put the leap day last.
    let (y, m) = if month > 2 { (year, i64::from(month) - 3) } else { (year - 1, i64::from(month) + 9) };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * m + 2) / 5 + i64::from(day) - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Year, month and day of a day since 1970-01-01.
#[must_use]
pub fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * of_year + 2) / 153;
    let day = of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u32::try_from(month).unwrap_or(1), u32::try_from(day).unwrap_or(1))
}

/// Names of the months as all mail writes them.
pub const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// 1 to 12, compared without case.
#[must_use]
pub fn month(name: &str) -> Option<u32> {
    (1..).zip(MONTHS).find(|(_, m)| m.eq_ignore_ascii_case(name)).map(|(n, _)| n)
}

/// The day that a `Date` field names, as days since 1970-01-01 (RFC 5322 §3.3, two-digit years as in §4.3).
#[must_use]
pub fn sent_day(value: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(value);
    day_in(&text).map(|(day, _)| day)
}

/// The second that a `Date` field names, in seconds since 1970. RFC 5256 §2.2: a time that is none is midnight, a zone that
/// is none is UTC.
#[must_use]
pub fn sent_time(value: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(value);
    let (day, rest) = day_in(&text)?;
    let midnight = day * 86_400;
    let Some(seconds) = rest.and_then(time_of_day) else { return Some(midnight) };
    let clock = rest.unwrap_or_default();
    let zone = text.split_once(clock).map_or("", |(_, after)| after).split_whitespace().next().unwrap_or_default();
    Some(midnight + seconds - zone_seconds(zone))
}

/// `23:59:60`, seconds after midnight.
fn time_of_day(text: &str) -> Option<i64> {
    let mut numbers = text.split(':').map(|n| n.parse::<u8>().ok());
    let (hour, minute) = (numbers.next()??, numbers.next()??);
    let second = numbers.next().unwrap_or(Some(0))?;
    let valid = hour < 24 && minute < 60 && second <= 60 && numbers.next().is_none();
    valid.then(|| i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second))
}

/// How far a zone is ahead of UTC (RFC 5322 §3.3, §4.3); 0 for one that nobody knows.
fn zone_seconds(zone: &str) -> i64 {
    let hours = match zone.to_ascii_uppercase().as_str() {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        _ => 0,
    };
    let (sign, digits) = match zone.as_bytes() {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return hours * 3600,
    };
    if digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) {
        return 0;
    }
    let two = |at: usize| i64::from(digits[at] - b'0') * 10 + i64::from(digits[at + 1] - b'0');
    if two(2) > 59 { 0 } else { sign * (two(0) * 3600 + two(2) * 60) }
}

/// The first day in a text, and the word behind it.
fn day_in(text: &str) -> Option<(i64, Option<&str>)> {
    let words: Vec<&str> = text.split([' ', '\t', ',', '\r', '\n', '-']).filter(|w| !w.is_empty()).take(8).collect();
    let at = words.windows(3).position(|w| w[0].parse::<u32>().is_ok() && w[1].get(..3).and_then(month).is_some())?;
    let year: i64 = words[at + 2].parse().ok()?;
    let year = match (words[at + 2].len(), year) {
        (..=2, 0..=49) => year + 2000,
        (..=3, _) => year + 1900,
        _ => year,
    };
    let day = days(year, words[at + 1].get(..3).and_then(month)?, words[at].parse().ok()?)?;
    Some((day, words.get(at + 3).copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        for (date, n) in [((1970, 1, 1), 0), ((2000, 2, 29), 11_016), ((2026, 11, 21), 20_778), ((1969, 12, 31), -1)] {
            assert_eq!(days(date.0, date.1, date.2), Some(n));
            assert_eq!(civil(n), date);
        }
        for n in (-700_000..2_900_000).step_by(997) {
            let (y, m, d) = civil(n);
            assert_eq!(days(y, m, d), Some(n));
        }
        assert_eq!(days(2025, 2, 29), None);
        assert_eq!(days(2025, 13, 1), None);
        assert_eq!(days(2025, 1, 0), None);
    }

    #[test]
    fn days_of_date_fields() {
        for (text, day) in [
            ("Sat, 21 Nov 2026 23:59:00 -0800", Some(20_778)),
            ("21 Nov 2026 00:01 +0000", Some(20_778)),
            (" Sat,21 Nov 26 1:2:3 GMT", Some(20_778)),
            ("1 Jan 70 00:00:00 GMT", Some(0)),
            ("nonsense", None),
            ("", None),
            ("99 Nov 2026", None),
        ] {
            assert_eq!(sent_day(text.as_bytes()), day, "{text}");
        }
    }

    #[test]
    fn seconds_of_date_fields() {
        for (text, seconds) in [
            // RFC 5256 §2.2.
            ("31 Dec 2000 16:01:33 -0800", Some(978_307_293)),
            ("1 Jan 2001 00:01:33 +0000", Some(978_307_293)),
            (" Mon, 1 Jan 2001 01:01:33 +0100\r\n", Some(978_307_293)),
            ("Sun, 31 Dec 2000 19:01:33 EST (a comment)", Some(978_307_293)),
            ("1 Jan 2001 00:01 +0000", Some(978_307_260)),
            ("1 Jan 2001 00:01:33 +9999", Some(978_307_293)),
            ("1 Jan 2001 00:01:33 nowhere", Some(978_307_293)),
            ("1 Jan 2001 00:01:33", Some(978_307_293)),
            ("1 Jan 2001 24:01:33 +0100", Some(978_307_200)),
            ("1 Jan 2001 noon", Some(978_307_200)),
            ("1 Jan 2001", Some(978_307_200)),
            ("01 Jan 01 00:01:33 GMT", Some(978_307_293)),
            ("12:00:00", None),
            ("", None),
        ] {
            assert_eq!(sent_time(text.as_bytes()), seconds, "{text}");
        }
    }
}
