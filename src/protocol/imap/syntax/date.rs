//! Dates of SEARCH and date-times of APPEND and INTERNALDATE (RFC 3501 §9 `date`, `date-time`), as seconds or days
//! since 1970-01-01.

use crate::message::sent::MONTHS;
use crate::message::sent::civil;
use crate::message::sent::days;
use crate::message::sent::month;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;

const BAD: SyntaxError = SyntaxError::Bad("bad date");

/// `date`, quoted or not: days since 1970.
///
/// # Errors
/// It is none.
pub fn date(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let text = cursor.astring()?;
    let text = std::str::from_utf8(&text).map_err(|_| BAD)?;
    date_text(text).ok_or(BAD)
}

fn date_text(text: &str) -> Option<i64> {
    let mut parts = text.trim_start_matches(' ').splitn(3, '-');
    let day = number(parts.next()?, 2)?;
    let month = month(parts.next()?)?;
    let year = parts.next().filter(|y| y.len() == 4).and_then(|y| number(y, 4))?;
    days(i64::from(year), month, day)
}

/// Digits, one at least and `most` at most.
fn number(text: &str, most: usize) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// `date-time`, quoted: seconds since 1970.
///
/// # Errors
/// It is none.
pub fn date_time(cursor: &mut Cursor<'_>) -> Parsed<i64> {
    let text = cursor.string()?;
    let text = std::str::from_utf8(&text).map_err(|_| BAD)?;
    date_time_text(text).ok_or(BAD)
}

fn date_time_text(text: &str) -> Option<i64> {
    let mut words = text.trim_start_matches(' ').split(' ');
    let day = date_text(words.next()?)?;
    let mut clock = words.next()?.split(':').map(|n| if n.len() == 2 { number(n, 2) } else { None });
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let zone = words.next()?;
    let east = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let zone = zone.get(1..).filter(|z| z.len() == 4).and_then(|z| number(z, 4))?;
    if hour > 23 || minute > 59 || second > 60 || zone % 100 > 59 || clock.next().is_some() || words.next().is_some() {
        return None;
    }
    let local = day * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some(local - east * (i64::from(zone / 100) * 3600 + i64::from(zone % 100) * 60))
}

/// INTERNALDATE: seconds since 1970 as `dd-Mon-yyyy hh:mm:ss +0000`.
#[must_use]
pub fn internal_date(seconds: i64) -> String {
    // Years of four digits are all that the grammar has.
    let seconds = seconds.clamp(-62_135_596_800, 253_402_300_799);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let name = usize::try_from(month).ok().and_then(|m| MONTHS.get(m.wrapping_sub(1))).unwrap_or(&"Jan");
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{day:02}-{name}-{year:04} {hour:02}:{minute:02}:{second:02} +0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (text, expected) in [
            ("1-Jan-1970", Some(0)),
            ("\"21-nov-2026\"", Some(20_778)),
            ("01-Jan-1970", Some(0)),
            ("31-Feb-2026", None),
            ("1-Jan-70", None),
            ("1-Foo-1970", None),
            ("001-Jan-1970", None),
            ("", None),
            ("-1-Jan-1970", None),
        ] {
            assert_eq!(date(&mut Cursor::new(text.as_bytes(), 1)).ok(), expected, "{text}");
        }
    }

    #[test]
    fn date_times() {
        for (text, expected) in [
            ("\" 1-Jan-1970 00:00:00 +0000\"", Some(0)),
            ("\"01-Jan-1970 01:00:00 +0100\"", Some(0)),
            ("\"31-Dec-1969 19:30:00 -0430\"", Some(0)),
            ("\"21-Nov-2026 23:59:59 +0000\"", Some(20_779 * 86_400 - 1)),
            ("\"21-Nov-2026 24:00:00 +0000\"", None),
            ("\"21-Nov-2026 00:00:00\"", None),
            ("\"21-Nov-2026 00:00:00 0000\"", None),
            ("\"21-Nov-2026 00:00:00 +00é\"", None),
            ("\"21-Nov-2026 0:00:00 +0000\"", None),
            ("21-Nov-2026", None),
        ] {
            assert_eq!(date_time(&mut Cursor::new(text.as_bytes(), 1)).ok(), expected, "{text}");
        }
        for seconds in [0, 1_795_305_599, -1, 951_782_400] {
            assert_eq!(date_time_text(&internal_date(seconds)), Some(seconds));
        }
        assert_eq!(internal_date(0), "01-Jan-1970 00:00:00 +0000");
        assert_eq!(internal_date(i64::MAX).len(), 26);
    }
}
