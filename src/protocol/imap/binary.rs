//! `BINARY[…]` and `BINARY.SIZE[…]`: parts without their transfer encoding (RFC 3516 §4.2, RFC 9051 §6.4.5).

use std::borrow::Cow;

use crate::message::decode;
use crate::message::mime::Kind;
use crate::message::mime::Structure;
use crate::message::wire::push_wire_range;
use crate::message::wire::wire_len;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::section::part_of;

/// The octets of a part as they go to the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// Lines, as they are held; on the wire each ends with CRLF.
    Lines(Cow<'a, [u8]>),
    /// Octets, as they go out.
    Octets(Vec<u8>),
}

/// Why there are none.
#[derive(Debug, PartialEq, Eq)]
pub enum NotDecoded {
    /// There is no such part: NIL.
    NoSuchPart,
    /// The part is in an encoding that nobody here knows: `NO [UNKNOWN-CTE]`.
    UnknownEncoding,
}

/// Whether the part of these numbers is in an encoding that we know; one that is not there is.
#[must_use]
pub fn is_decodable(structure: &Structure, numbers: &[u32]) -> bool {
    let known = [&b"7bit"[..], b"8bit", b"binary", b"base64", b"quoted-printable"];
    let part = part_of(structure, numbers).flatten().filter(|part| part.kind == Kind::Leaf);
    let encoding = part.and_then(|part| part.fields.encoding.as_deref()).unwrap_or(b"7bit");
    known.iter().any(|known| encoding.eq_ignore_ascii_case(known))
}

/// Takes the transfer encoding off the part of these numbers. The whole message, and what holds other parts, has none
/// of its own.
///
/// # Errors
/// There is no such part, or it cannot be decoded.
pub fn decoded<'a>(structure: &Structure, message: &'a [u8], numbers: &[u32]) -> Result<Decoded<'a>, NotDecoded> {
    let Some(part) = part_of(structure, numbers).ok_or(NotDecoded::NoSuchPart)? else {
        return Ok(Decoded::Lines(Cow::Borrowed(message)));
    };
    let body = part.body.of(message);
    let encoding = part.fields.encoding.as_deref().unwrap_or(b"7bit").to_ascii_lowercase();
    // Where a character has two octets or four, a line end is none of one.
    let charset = part.fields.content_type.as_ref().and_then(|c| c.get("charset")).unwrap_or_default();
    let charset = charset.to_ascii_lowercase();
    let is_wide = [&b"utf-16"[..], b"utf-32", b"ucs-", b"iso-10646-ucs"].iter().any(|wide| charset.starts_with(wide));
    let is_text = part.is_type("text") && !is_wide;
    match encoding.as_slice() {
        _ if part.kind != Kind::Leaf => Ok(Decoded::Lines(Cow::Borrowed(body))),
        b"7bit" | b"8bit" | b"binary" => Ok(Decoded::Lines(Cow::Borrowed(body))),
        b"base64" if is_text => Ok(Decoded::Lines(Cow::Owned(decode::base64(body)))),
        b"base64" => Ok(Decoded::Octets(decode::base64(body))),
        b"quoted-printable" => {
            // RFC 2045 §6.7: a line end that is not encoded is CRLF.
            let mut wire = Vec::with_capacity(body.len());
            push_wire_range(&mut wire, body, 0, u64::MAX);
            let octets = decode::quoted_printable(&wire);
            Ok(if is_text { Decoded::Lines(Cow::Owned(octets)) } else { Decoded::Octets(octets) })
        }
        _ => Err(NotDecoded::UnknownEncoding),
    }
}

impl Decoded<'_> {
    /// Octets on the wire.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Lines(text) => wire_len(text),
            Self::Octets(octets) => octets.len() as u64,
        }
    }

    /// Writes `len` octets at most, from octet `from` on: a literal, and a `literal8` where it holds NUL.
    pub fn write(&self, out: &mut Output, from: u64, len: u64) {
        let mut octets = Vec::new();
        match self {
            Self::Lines(text) => push_wire_range(&mut octets, text, from, len),
            Self::Octets(all) => {
                let start = usize::try_from(from).unwrap_or(usize::MAX).min(all.len());
                let most = usize::try_from(len).unwrap_or(usize::MAX);
                octets.extend_from_slice(&all[start..start.saturating_add(most).min(all.len())]);
            }
        }
        out.literal8(octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\
        Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nYQpiCg==\n--b\n\
        Content-Type: image/x\nContent-Transfer-Encoding: BASE64\n\nYQoAYg==\n--b\n\
        Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\na=3D=\nb\nc\n--b\n\
        Content-Type: image/x\nContent-Transfer-Encoding: quoted-printable\n\na=0Ab\nc\n--b\n\
        Content-Transfer-Encoding: x-uuencode\n\nabc\n--b\n\nplain\n--b--\n";

    #[test]
    fn wide_characters_stay_whole() {
        let message = b"Content-Type: text/plain; charset=UTF-16LE\nContent-Transfer-Encoding: base64\n\nYQAKAA==\n";
        let structure = Structure::scan(message);
        let expected = Decoded::Octets(b"a\0\n\0".to_vec());
        assert_eq!(decoded(&structure, message, &[1]), Ok(expected));
    }

    #[test]
    fn parts_are_decoded() {
        let structure = Structure::scan(MESSAGE.as_bytes());
        let read = |numbers: &[u32], from, len| {
            let decoded = decoded(&structure, MESSAGE.as_bytes(), numbers)?;
            let mut out = Output::new();
            decoded.write(&mut out, from, len);
            Ok((decoded.size(), String::from_utf8(out.take()).expect("ASCII")))
        };
        for (numbers, expected) in [
            (&[1][..], Ok((6, "{6}\r\na\r\nb\r\n"))),
            (&[2], Ok((4, "~{4}\r\na\n\0b"))),
            (&[3], Ok((6, "{6}\r\na=b\r\nc"))),
            (&[4], Ok((6, "{6}\r\na\nb\r\nc"))),
            (&[5], Err(NotDecoded::UnknownEncoding)),
            (&[6], Ok((5, "{5}\r\nplain"))),
            (&[7], Err(NotDecoded::NoSuchPart)),
        ] {
            let expected = expected.map(|(size, text)| (size, text.to_owned()));
            assert_eq!(read(numbers, 0, u64::MAX), expected, "{numbers:?}");
            assert_eq!(is_decodable(&structure, numbers), expected != Err(NotDecoded::UnknownEncoding), "{numbers:?}");
        }
        assert_eq!(read(&[2], 1, 2), Ok((4, "~{2}\r\n\n\0".to_owned())));
        assert_eq!(read(&[2], 9, 2), Ok((4, "{0}\r\n".to_owned())));
        assert_eq!(read(&[1], 2, 2), Ok((6, "{2}\r\n\nb".to_owned())));
        assert_eq!(read(&[], 0, 7), Ok((wire_len(MESSAGE.as_bytes()), "{7}\r\nContent".to_owned())));
    }
}
