//! The front of a message for TOP (RFC 1939 §7): the header, the empty line, and some lines of the body.

use memchr::memchr;

/// Lets through as much as TOP asks for.
#[derive(Debug)]
pub struct Top {
    in_header: bool,
    /// Lines of the body that may still pass.
    left: u64,
    /// The line so far is empty, or holds only a CR.
    empty: bool,
}

impl Top {
    /// For so many lines of the body.
    #[must_use]
    pub fn new(lines: u64) -> Self {
        Self { in_header: true, left: lines, empty: true }
    }

    /// How much of this piece of the message passes. Less than all of it: what follows does not.
    pub fn pass(&mut self, piece: &[u8]) -> usize {
        let mut at = 0;
        while at < piece.len() {
            if !self.in_header && self.left == 0 {
                return at;
            }
            let Some(found) = memchr(b'\n', &piece[at..]) else {
                self.empty &= piece[at..].iter().all(|&b| b == b'\r');
                return piece.len();
            };
            let empty = self.empty && piece[at..at + found].iter().all(|&b| b == b'\r');
            if !self.in_header {
                self.left -= 1;
            } else if empty {
                self.in_header = false;
            }
            self.empty = true;
            at += found + 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_of_a_message() {
        let message = b"A: b\nC: d\n\none\n\nthree\n";
        let crlf = b"A: b\r\n\r\none\r\ntwo\r\n";
        for (message, lines, wanted) in [
            (&message[..], 0, &message[..11]),
            (message, 1, &message[..15]),
            (message, 2, &message[..16]),
            (message, 3, message),
            (message, u64::MAX, message),
            (crlf, 0, &crlf[..8]),
            (crlf, 1, &crlf[..13]),
            (b"no end", 0, b"no end"),
            (b"\nbody\n", 0, b"\n"),
            (b"", 5, b""),
        ] {
            for cut in 0..=message.len() {
                let mut top = Top::new(lines);
                let mut out = Vec::new();
                for piece in [&message[..cut], &message[cut..]] {
                    let passed = top.pass(piece);
                    out.extend_from_slice(&piece[..passed]);
                    if passed < piece.len() {
                        break;
                    }
                }
                assert_eq!(out, wanted, "{lines} lines, cut at {cut}");
            }
        }
    }
}
