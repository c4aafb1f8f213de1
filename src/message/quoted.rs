//! Quoted strings of structured header fields (RFC 5322 §3.2.4).

/// The quoted string that begins at `at`, without its quotes, unfolded; `at` moves behind it. One that is not closed
/// reaches to the end of the text.
pub(super) fn quoted_string(text: &[u8], at: &mut usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.iter().enumerate().skip(*at + 1);
    *at = text.len();
    while let Some((place, b)) = rest.next() {
        match b {
            b'"' => {
                *at = place + 1;
                break;
            }
            b'\r' | b'\n' => {}
            b'\\' => out.extend(rest.next().map(|(_, escaped)| *escaped)),
            _ => out.push(*b),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_end_at_their_quote_or_with_the_text() {
        for (text, content, rest) in [
            (&b"\"a b\" c"[..], &b"a b"[..], &b" c"[..]),
            (b"\"a\\\"b\"", b"a\"b", b""),
            (b"\"fol\r\n ded\"x", b"fol ded", b"x"),
            (b"\"open", b"open", b""),
            (b"\"ends in \\", b"ends in ", b""),
            (b"\"", b"", b""),
        ] {
            let mut at = 0;
            assert_eq!(quoted_string(text, &mut at), content);
            assert_eq!(&text[at..], rest);
        }
    }
}
