//! The line feeds that are two octets on the wire.
//!
//! On disk a line ends with LF; in SMTP, IMAP and POP3 with CRLF. A file may have CRLF all the same, and keeps it.

/// How many LF of `bytes` have no CR before them. `previous` is the octet before `bytes`, 0 at the start, and becomes
/// its last, so that a text can be counted piece by piece.
#[must_use]
pub fn alone(bytes: &[u8], previous: &mut u8) -> u64 {
    let mut count = 0;
    for at in memchr::memchr_iter(b'\n', bytes) {
        let before = if at == 0 { *previous } else { bytes[at - 1] };
        count += u64::from(before != b'\r');
    }
    *previous = bytes.last().copied().unwrap_or(*previous);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_count_as_the_whole() {
        let text = b"a\nb\r\n\n\r\r\nc";
        for cut in 0..=text.len() {
            let mut previous = 0;
            let counted = alone(&text[..cut], &mut previous) + alone(&text[cut..], &mut previous);
            assert_eq!((counted, previous), (2, b'c'), "cut at {cut}");
        }
    }
}
