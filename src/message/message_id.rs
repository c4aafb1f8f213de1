//! Message ids in `Message-ID`, `References` and `In-Reply-To` (RFC 5322 §3.6.4), in the form in which two that are the
//! same are the same octets (RFC 5256 §3: quoting is no difference). Case is one.

/// The ids of a field's value, in order. What is none is passed over; so are comments and phrases, which old programs
/// write into `In-Reply-To`.
pub fn message_ids(value: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let start = memchr::memchr(b'<', rest)?;
            rest = &rest[start + 1..];
            let (id, len) = id(rest);
            if let Some(id) = id {
                rest = &rest[len..];
                return Some(id);
            }
        }
    })
}

/// Octets of an id: those of the longest line (RFC 5322 §2.1.1). Without a bound a field of opening brackets would be read
/// from each of them to its end.
const ID_OCTETS: usize = 998;

/// What stands up to the `>`, and its length; none where there is no end, another `<` first, or no `@` between two texts.
fn id(text: &[u8]) -> (Option<Vec<u8>>, usize) {
    let mut out = Vec::new();
    let mut at_sign = None;
    let mut quoted = false;
    let mut at = 0;
    while let Some(octet) = text.get(at).filter(|_| at < ID_OCTETS) {
        at += 1;
        match octet {
            b'"' => quoted = !quoted,
            b'\\' => {
                out.extend(text.get(at));
                at += 1;
            }
            b'>' if !quoted => {
                let valid = at_sign.is_some_and(|sign| sign > 0 && sign + 1 < out.len());
                return (valid.then_some(out), at);
            }
            b'<' if !quoted => return (None, 0),
            // Programs fold ids; nobody means the blank.
            b' ' | b'\t' | b'\r' | b'\n' if !quoted => {}
            b'\r' | b'\n' => {}
            b'@' if !quoted => {
                at_sign = Some(out.len());
                out.push(b'@');
            }
            octet => out.push(*octet),
        }
    }
    (None, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for (value, expected) in [
            ("<a@b>", &["a@b"][..]),
            (" <a@b>\r\n <c@d> junk <e@f>", &["a@b", "c@d", "e@f"]),
            // RFC 5256 §3: the same.
            ("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", &["01KF8JCEOCBS0045PS@xxx.yyy.com"]),
            ("<01KF8JCEOCBS0045PS@xxx.yyy.com>", &["01KF8JCEOCBS0045PS@xxx.yyy.com"]),
            ("<\"a\\\"b\"@c>", &["a\"b@c"]),
            ("<\"a>b\"@c>", &["a>b@c"]),
            ("Your message of Monday <a@b> (from <x@y", &["a@b"]),
            ("<a@\r\n\tb>", &["a@b"]),
            ("<no-at-sign> <@b> <a@> <> <<a@b>", &["a@b"]),
            ("a@b", &[]),
            ("", &[]),
        ] {
            let ids: Vec<Vec<u8>> = message_ids(value.as_bytes()).collect();
            let expected: Vec<Vec<u8>> = expected.iter().map(|id| id.as_bytes().to_vec()).collect();
            assert_eq!(ids, expected, "{value}");
        }
    }

    #[test]
    fn brackets_without_end_take_no_long_time() {
        assert_eq!(message_ids(&b"<".repeat(200_000)).count(), 0);
        assert_eq!(message_ids(&b"<a".repeat(200_000)).count(), 0);
        assert_eq!(message_ids(&b"<\\".repeat(50_000)).count(), 0);
    }
}
