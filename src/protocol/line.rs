//! Cuts a stream into lines with limits, before anybody parses them; used by SMTP and POP3, on both sides.
//!
//! Knows CRLF and nothing of any grammar. What it holds is bounded by what its owner feeds it and by the limit: a line
//! that is too long is thrown away as it comes.

/// What an empty buffer keeps: lines are short, and of the text of a message nothing must stay with a peer who waits.
const KEPT: usize = 4096;

/// The input of a protocol of lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Up to here the buffer is used up.
    start: usize,
    /// Up to here there is no LF.
    scanned: usize,
    /// Octets thrown away of the line that is coming; zero while it fits.
    discarded: usize,
}

/// What the front of the stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Cut {
    /// A line, without its CRLF.
    Line(Vec<u8>),
    /// A line that was ended by LF alone.
    EndedByLf(Vec<u8>),
    /// A line that was longer than it may be, and is gone.
    TooLong,
    /// A line of which so much was thrown away that it has no end for us.
    Endless,
    /// No whole line is there.
    More,
}

impl Lines {
    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moving the rest to the front costs at most what is left of one read, and keeps the buffer bounded.
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// What is not used up.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Uses up `n` octets of [`Self::rest`].
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.buffer.len());
        self.scanned = self.scanned.max(self.start);
        if self.start == self.buffer.len() {
            self.clear();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.start = 0;
        self.scanned = 0;
    }

    /// The next line. It may have `most` octets with its end; of a longer one `patience` octets are waited out.
    pub fn cut(&mut self, most: usize, patience: usize) -> Cut {
        let Some(found) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            let waiting = self.buffer.len() - self.start;
            if self.discarded > 0 || waiting > most {
                self.discarded += waiting;
                self.clear();
            }
            return if self.discarded > patience { Cut::Endless } else { Cut::More };
        };
        let end = self.scanned + found + 1;
        let line = &self.buffer[self.start..end];
        let cut = if std::mem::take(&mut self.discarded) > 0 || line.len() > most {
            Cut::TooLong
        } else if let Some(text) = line.strip_suffix(b"\r\n") {
            Cut::Line(text.to_vec())
        } else {
            Cut::EndedByLf(line[..line.len() - 1].to_vec())
        };
        self.consume(end - self.start);
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pieces: &[&[u8]], most: usize, patience: usize) -> Vec<Cut> {
        let mut lines = Lines::default();
        let mut cuts = Vec::new();
        for piece in pieces {
            lines.push(piece);
            loop {
                match lines.cut(most, patience) {
                    Cut::More => break,
                    Cut::Endless => {
                        cuts.push(Cut::Endless);
                        return cuts;
                    }
                    cut => cuts.push(cut),
                }
            }
        }
        cuts
    }

    #[test]
    fn lines_are_the_same_wherever_the_stream_is_cut() {
        let input = b"NOOP\r\n\r\nbare\nlonger than most\r\na\rb\r\nrest";
        let wanted = vec![
            Cut::Line(b"NOOP".to_vec()),
            Cut::Line(Vec::new()),
            Cut::EndedByLf(b"bare".to_vec()),
            Cut::TooLong,
            Cut::Line(b"a\rb".to_vec()),
        ];
        for cut in 0..=input.len() {
            assert_eq!(all(&[&input[..cut], &input[cut..]], 10, 100), wanted, "cut at {cut}");
        }
        let octets: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(all(&octets, 10, 100), wanted);
    }

    #[test]
    fn unbounded_input_has_an_end_and_no_memory() {
        let piece = [b'x'; 50];
        let mut lines = Lines::default();
        for _ in 0..4 {
            lines.push(&piece);
            assert_eq!(lines.cut(10, 200), Cut::More);
            assert!(lines.rest().is_empty());
        }
        lines.push(b"x");
        assert_eq!(lines.cut(10, 200), Cut::Endless);
    }

    #[test]
    fn unbounded_input_what_was_used_up_holds_no_memory() {
        let mut lines = Lines::default();
        lines.push(&[b'x'; 65_536]);
        lines.consume(65_536);
        assert!(lines.buffer.capacity() <= KEPT, "{}", lines.buffer.capacity());
    }
}
