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
    WireRange { previous: 0, skip: from, left: len }.push(out, bytes);
}

/// A range of the wire form of a text that comes piece by piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireRange {
    /// The octet before the next piece, 0 at the start of the text.
    pub previous: u8,
    /// Octets of the wire form between the start of the next piece and the range.
    pub skip: u64,
    /// Octets of the range that have not come yet.
    pub left: u64,
}

impl WireRange {
    /// Appends what the next piece has of the range.
    pub fn push(&mut self, out: &mut Vec<u8>, piece: &[u8]) {
        let mut rest = piece;
        while let Some(at) = memchr(b'\n', rest) {
            let last = if at == 0 { self.previous } else { rest[at - 1] };
            let end: &[u8] = if last == b'\r' { b"\n" } else { b"\r\n" };
            self.put(out, &rest[..at]);
            self.put(out, end);
            if self.left == 0 {
                return;
            }
            self.previous = b'\n';
            rest = &rest[at + 1..];
        }
        self.put(out, rest);
        self.previous = rest.last().copied().unwrap_or(self.previous);
    }

    fn put(&mut self, out: &mut Vec<u8>, octets: &[u8]) {
        let n = usize::try_from(self.skip).unwrap_or(usize::MAX).min(octets.len());
        self.skip -= n as u64;
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(octets.len() - n);
        self.left -= take as u64;
        out.extend_from_slice(&octets[n..n + take]);
    }
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

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let disk = b"\none\ntwo\r\n\r\r\n\nthr\ree\r";
        for first in 0..=disk.len() {
            for second in first..=disk.len() {
                for from in 0..disk.len() as u64 + 8 {
                    for len in [0, 1, 2, 5, u64::MAX] {
                        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
                        push_wire_range(&mut whole, disk, from, len);
                        let mut range = WireRange { previous: 0, skip: from, left: len };
                        for piece in [&disk[..first], &disk[first..second], &disk[second..]] {
                            range.push(&mut pieces, piece);
                        }
                        assert_eq!(pieces, whole, "cut at {first} and {second}, {from} {len}");
                    }
                }
            }
        }
    }
}
