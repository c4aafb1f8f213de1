//! Reads `notAfter` out of a certificate (RFC 5280 §4.1.2.5), which the verification library keeps to itself.
//!
//! A walk over DER headers, nothing more: no name, key or extension is looked at.

use std::time::Duration;
use std::time::SystemTime;

/// When the certificate ends; `None` where it is not one.
pub(super) fn not_after(der: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = element(der, 0x30)?;
    let (tbs, _) = element(certificate, 0x30)?;
    // version [0] is optional; then serial number, signature algorithm, issuer, validity.
    let mut rest = tbs;
    if rest.first() == Some(&0xa0) {
        rest = element(rest, 0xa0)?.1;
    }
    for tag in [0x02, 0x30, 0x30] {
        rest = element(rest, tag)?.1;
    }
    let (validity, _) = element(rest, 0x30)?;
    let (_, after_not_before) = element(validity, *validity.first()?)?;
    let tag = *after_not_before.first()?;
    let (text, _) = element(after_not_before, tag)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// The content of the first element of `der`, which has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        let octets = usize::from(*length & 0x7f);
        let (octets, rest) = (rest.get(..octets)?, rest.get(octets..)?);
        let length = octets.iter().try_fold(0usize, |n, b| n.checked_mul(256)?.checked_add(usize::from(*b)))?;
        (length, rest)
    };
    (*first == tag).then_some(())?;
    Some((rest.get(..length)?, rest.get(length..)?))
}

/// `YYMMDDHHMMSSZ` (UTCTime, 1950 to 2049) or `YYYYMMDDHHMMSSZ` (GeneralizedTime).
fn time(tag: u8, text: &str) -> Option<SystemTime> {
    let full = match tag {
        0x17 => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        0x18 => text.to_owned(),
        _ => return None,
    };
    let number = |from: usize, to: usize| full.get(from..to)?.parse::<i16>().ok();
    let small = |from: usize| i8::try_from(number(from, from + 2)?).ok();
    let civil =
        jiff::civil::DateTime::new(number(0, 4)?, small(4)?, small(6)?, small(8)?, small(10)?, small(12)?, 0).ok()?;
    let seconds = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    let since = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(since) } else { SystemTime::UNIX_EPOCH.checked_add(since) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_found() {
        let key = rcgen::KeyPair::generate().expect("a key");
        for (year, seconds) in [(2030, 1_893_456_000), (2099, 4_070_908_800)] {
            let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let certificate = params.self_signed(&key).expect("signed");
            let end = not_after(certificate.der()).expect("a date");
            assert_eq!(end.duration_since(SystemTime::UNIX_EPOCH).map(|d| d.as_secs()).ok(), Some(seconds));
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let der = params.self_signed(&key).expect("signed").der().to_vec();
        for cut in 0..der.len().min(300) {
            assert_eq!(not_after(&der[..cut]), None);
        }
        assert_eq!(not_after(b""), None);
        assert_eq!(not_after(&[0x30, 0xff, 0xff]), None);
    }
}
