//! Parameters whose text is not ASCII (RFC 2231): `filename*=utf-8''Gr%C3%BC%C3%9Fe`, and such in several pieces.
//!
//! Also reads what many programs write instead, encoded words within quotes. Knows no field by name.

use std::collections::BTreeMap;

use super::decode;
use super::parameters::Parameterised;

/// One piece: whether it is percent-encoded, and its octets.
type Piece<'a> = (bool, &'a [u8]);

/// Names, in lower case, and texts of all parameters, pieces put together. What is no valid escape stays.
#[must_use]
pub fn parameters(field: &Parameterised) -> Vec<(String, String)> {
    let mut named: BTreeMap<Vec<u8>, BTreeMap<u32, Piece<'_>>> = BTreeMap::new();
    for (name, content) in &field.parameters {
        let (base, number, encoded) = split_name(name);
        // The first of two equal ones counts, but what is encoded is the better one (RFC 5987 §4.2).
        let piece = named.entry(base.to_ascii_lowercase()).or_default().entry(number).or_insert((encoded, content));
        if encoded && !piece.0 {
            *piece = (encoded, content);
        }
    }
    named.into_iter().map(|(name, pieces)| (String::from_utf8_lossy(&name).into_owned(), joined(&pieces))).collect()
}

/// The parameters in their order, pieces put together in the place of the first. One that is percent-encoded keeps the
/// star behind its name, by which it differs from a plain one beside it (RFC 9051 §7.5.2).
#[must_use]
pub fn put_together(field: &Parameterised) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut out = Vec::new();
    let mut done: Vec<Vec<u8>> = Vec::new();
    for (name, content) in &field.parameters {
        if !name.contains(&b'*') {
            out.push((name.clone(), content.clone()));
            continue;
        }
        let base = split_name(name).0;
        let key = base.to_ascii_lowercase();
        if done.contains(&key) {
            continue;
        }
        let mut pieces: BTreeMap<u32, Piece<'_>> = BTreeMap::new();
        for (name, content) in field.parameters.iter().filter(|(name, _)| name.contains(&b'*')) {
            let (other, number, encoded) = split_name(name);
            if other.eq_ignore_ascii_case(base) {
                pieces.entry(number).or_insert((encoded, content));
            }
        }
        let star: &[u8] = if pieces.values().any(|(encoded, _)| *encoded) { b"*" } else { b"" };
        out.push(([base, star].concat(), joined(&pieces).into_bytes()));
        done.push(key);
    }
    out
}

/// `name`, `name*`, `name*1` and `name*1*`: the name, the number, whether it is percent-encoded.
fn split_name(name: &[u8]) -> (&[u8], u32, bool) {
    let (inner, encoded) = name.strip_suffix(b"*").map_or((name, false), |inner| (inner, true));
    let star = memchr::memrchr(b'*', inner).filter(|at| *at > 0);
    let number = star.and_then(|at| std::str::from_utf8(&inner[at + 1..]).ok()?.parse().ok());
    match (star, number) {
        (Some(at), Some(number)) => (&inner[..at], number, encoded),
        _ => (inner, 0, encoded),
    }
}

fn joined(pieces: &BTreeMap<u32, Piece<'_>>) -> String {
    let is_extended = pieces.len() > 1 || pieces.values().any(|(encoded, _)| *encoded);
    let mut octets = Vec::new();
    let mut charset = None;
    for (n, (encoded, content)) in pieces.values().enumerate() {
        let mut content = *content;
        // Charset and language stand before the first piece alone.
        if n == 0
            && *encoded
            && let Some(end) = memchr::memchr(b'\'', content)
            && let Some(next) = memchr::memchr(b'\'', &content[end + 1..])
        {
            charset = Some(&content[..end]);
            content = &content[end + next + 2..];
        }
        if *encoded {
            decode::percent(content, &mut octets);
        } else {
            octets.extend_from_slice(content);
        }
    }
    if is_extended { decode::text(&octets, charset) } else { decode::header_text(&octets) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::parameters::parameterised;

    #[test]
    fn extended_parameters() {
        for (field, name, text) in [
            ("a; filename=plain.txt", "filename", "plain.txt"),
            ("a; FileName*=UTF-8''Gr%C3%BC%C3%9fe.pdf", "filename", "Grüße.pdf"),
            ("a; filename*=iso-8859-1'de'Gr%FC%DFe.pdf", "filename", "Grüße.pdf"),
            ("a; filename*0*=utf-8''Gr%C3; filename*1*=%BC%C3%9F; filename*2=\"e 1.pdf\"", "filename", "Grüße 1.pdf"),
            ("a; filename*1=b; filename*0=a", "filename", "ab"),
            ("a; filename=\"=?utf-8?q?Gr=C3=BC=C3=9Fe?=\"", "filename", "Grüße"),
            ("a; filename*=no-quotes%41", "filename", "no-quotesA"),
            ("a; filename*=utf-8''100%", "filename", "100%"),
            ("a; *=x", "", "x"),
        ] {
            let found = parameters(&parameterised(field.as_bytes()));
            assert_eq!(found, [(name.to_owned(), text.to_owned())], "{field}");
        }
    }
    #[test]
    fn pieces_are_put_together_in_their_place() {
        let field =
            "a; b=1; filename=\"Gr__e\"; filename*=utf-8''Gr%C3%BC%C3%9Fe; X*1=d; x*0=c; y=\"=?utf-8?q?=C3=BC?=\"";
        let found = put_together(&parameterised(field.as_bytes()));
        let found: Vec<(String, String)> = found
            .into_iter()
            .map(|(name, text)| (String::from_utf8(name).expect("UTF-8"), String::from_utf8(text).expect("UTF-8")))
            .collect();
        let expected =
            [("b", "1"), ("filename", "Gr__e"), ("filename*", "Grüße"), ("X", "cd"), ("y", "=?utf-8?q?=C3=BC?=")];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
        let both = parameters(&parameterised(b"a; filename=plain; filename*=utf-8''%C3%BC"));
        assert_eq!(both, [("filename".to_owned(), "ü".to_owned())]);
    }
}
