//! From lines as on disk (LF, or CRLF where a file has it) to lines as on the wire (CRLF), and their sizes.
//!
//! Knows nothing of what the bytes mean.

use memchr::memchr;

use crate::mail::line_feeds;

/// Octets of `bytes` on the wire: every LF that has no CR before it counts as two.
#[must_use]
pub fn wire_len(bytes: &[u8]) -> u64 {
    bytes.len() as u64 + line_feeds::alone(bytes, &mut 0)
}

/// Appends at most `len` octets of the wire form of `bytes`, from its octet `from` on. Returns nothing more than there
/// is; a line end may be cut in the middle.
pub fn push_wire_range(out: &mut Vec<u8>, bytes: &[u8], from: u64, len: u64) {
    let mut skip = from;
    let mut want = len;
    let mut put = |out: &mut Vec<u8>, piece: &[u8]| {
        let n = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
        skip -= n as u64;
        let take = usize::try_from(want).unwrap_or(usize::MAX).min(piece.len() - n);
        want -= take as u64;
        out.extend_from_slice(&piece[n..n + take]);
        want > 0
    };
    let mut rest = bytes;
    let mut before = 0;
    while let Some(at) = memchr(b'\n', rest) {
        let last = if at == 0 { before } else { rest[at - 1] };
        let end: &[u8] = if last == b'\r' { b"\n" } else { b"\r\n" };
        if !put(out, &rest[..at]) || !put(out, end) {
            return;
        }
        before = b'\n';
        rest = &rest[at + 1..];
    }
    put(out, rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_line_ends_give_one_wire_form() {
        for (disk, wire) in [
            (&b""[..], &b""[..]),
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"\n\n", b"\r\n\r\n"),
            (b"a\rb\n", b"a\rb\r\n"),
            (b"a\r\n\nb", b"a\r\n\r\nb"),
        ] {
            let mut out = Vec::new();
            push_wire_range(&mut out, disk, 0, u64::MAX);
            assert_eq!(out, wire);
            assert_eq!(wire_len(disk), wire.len() as u64);
        }
    }

    #[test]
    fn ranges_are_slices_of_the_wire_form() {
        let disk = b"one\ntwo\r\n\nthree";
        let mut wire = Vec::new();
        push_wire_range(&mut wire, disk, 0, u64::MAX);
        for from in 0..wire.len() + 3 {
            for len in 0..wire.len() + 3 {
                let mut out = Vec::new();
                push_wire_range(&mut out, disk, from as u64, len as u64);
                let start = from.min(wire.len());
                assert_eq!(out, &wire[start..(start + len).min(wire.len())], "{from} {len}");
            }
        }
        let mut out = Vec::new();
        push_wire_range(&mut out, disk, u64::MAX, u64::MAX);
        assert!(out.is_empty());
    }
}
