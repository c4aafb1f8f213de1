//! Replies of remote servers (RFC 5321 §4.2), read with limits: a server can be as hostile as a client.
//!
//! What is kept of a reply is printable ASCII, so that it can be logged and quoted. Knows not what was asked.

use std::fmt;

use crate::mail::limits::REPLY_LINE_OCTETS;
use crate::mail::limits::REPLY_LINES;
use crate::mail::limits::REPLY_TEXT_OCTETS;
use crate::mail::status::Permanence;
use crate::mail::status::StatusCode;
use crate::protocol::line::Cut;
use crate::protocol::line::Lines;

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerReply {
    code: u16,
    status: Option<StatusCode>,
    lines: Vec<String>,
}

impl PeerReply {
    /// 200 to 599.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced code, where the reply has one that fits its class.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The texts, without codes.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// 2yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// What a refusal means for the mail. What is neither yes nor no is no for now.
    #[must_use]
    pub fn permanence(&self) -> Permanence {
        if self.code / 100 == 5 { Permanence::Permanent } else { Permanence::Temporary }
    }
}

impl fmt::Display for PeerReply {
    /// On one line, for logs and notices.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        self.lines.iter().filter(|line| !line.is_empty()).try_for_each(|line| write!(f, " {line}"))
    }
}

/// What a server said that is no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Junk(pub(super) &'static str);

/// Reads replies line by line.
#[derive(Debug, Default)]
pub(super) struct Replies {
    lines: Lines,
    code: Option<u16>,
    texts: Vec<String>,
    kept: usize,
}

impl Replies {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// Whether nothing is there beyond the replies that were read.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.rest().is_empty() && self.code.is_none()
    }

    /// The next whole reply; `None` where more has to come.
    pub(super) fn next(&mut self) -> Result<Option<PeerReply>, Junk> {
        loop {
            let line = match self.lines.cut(REPLY_LINE_OCTETS, REPLY_LINE_OCTETS) {
                Cut::More => return Ok(None),
                // RFC 5321 §2.3.8 forbids it; what a server means by it is plain.
                Cut::Line(line) | Cut::EndedByLf(line) => line,
                Cut::TooLong | Cut::Endless => return Err(Junk("reply line too long")),
            };
            if let Some(reply) = self.line(&line)? {
                return Ok(Some(reply));
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<PeerReply>, Junk> {
        let (code, more, text) = cut_line(line).ok_or(Junk("malformed reply"))?;
        if self.code.is_some_and(|first| first != code) {
            return Err(Junk("reply with two codes"));
        }
        self.code = Some(code);
        if self.texts.len() >= REPLY_LINES {
            return Err(Junk("reply with too many lines"));
        }
        let room = REPLY_TEXT_OCTETS.saturating_sub(self.kept);
        let text: String = text.iter().take(room).map(|&b| printable(b)).collect();
        self.kept += text.len();
        self.texts.push(text);
        if more {
            return Ok(None);
        }
        self.code = None;
        self.kept = 0;
        Ok(Some(assemble(code, std::mem::take(&mut self.texts))))
    }
}

/// Code, whether more lines follow, and text (RFC 5321 §4.2).
fn cut_line(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    if !(b'2'..=b'5').contains(&digits[0]) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = digits.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => Some((code, false, rest)),
        Some((b' ', text)) => Some((code, false, text)),
        Some((b'-', text)) => Some((code, true, text)),
        Some(_) => None,
    }
}

/// Takes the enhanced code off the texts, where it has the class of the reply (RFC 2034 §4).
fn assemble(code: u16, mut lines: Vec<String>) -> PeerReply {
    let status = lines
        .first()
        .and_then(|first| StatusCode::parse(first.split(' ').next().unwrap_or_default()))
        .filter(|status| u16::from(status.class()) == code / 100);
    if let Some(status) = status {
        let prefix = status.to_string();
        for line in &mut lines {
            if let Some(rest) = line.strip_prefix(&prefix) {
                *line = rest.trim_start().to_owned();
            }
        }
    }
    PeerReply { code, status, lines }
}

fn printable(octet: u8) -> char {
    match octet {
        b' '..=b'~' => char::from(octet),
        b'\t' => ' ',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> Vec<Result<String, &'static str>> {
        let mut replies = Replies::default();
        let mut found = Vec::new();
        replies.push(input);
        loop {
            match replies.next() {
                Ok(Some(reply)) => found.push(Ok(reply.to_string())),
                Ok(None) => return found,
                Err(Junk(text)) => {
                    found.push(Err(text));
                    return found;
                }
            }
        }
    }

    #[test]
    fn replies() {
        for (input, wanted) in [
            (&b"220 mx ESMTP\r\n"[..], vec![Ok("220 mx ESMTP")]),
            (b"250\r\n250 ok\r\n", vec![Ok("250"), Ok("250 ok")]),
            (b"250-a\r\n250-b\r\n250 c\r\n", vec![Ok("250 a b c")]),
            (b"550-5.1.1 no such\r\n550 5.1.1 user\r\n", vec![Ok("550 5.1.1 no such user")]),
            (b"550 4.1.1 odd\r\n", vec![Ok("550 4.1.1 odd")]),
            (b"250 ok\n", vec![Ok("250 ok")]),
            (b"550 a\0b\xff\tc\r\n", vec![Ok("550 a?b? c")]),
            (b"250-a\r\n251 b\r\n", vec![Err("reply with two codes")]),
            (b"999 x\r\n", vec![Err("malformed reply")]),
            (b"150 x\r\n", vec![Err("malformed reply")]),
            (b"2a0 x\r\n", vec![Err("malformed reply")]),
            (b"250x\r\n", vec![Err("malformed reply")]),
            (b"\r\n", vec![Err("malformed reply")]),
            (b"250-a\r\n", vec![]),
            (b"250", vec![]),
        ] {
            let found = read(input);
            let found: Vec<Result<&str, &str>> =
                found.iter().map(|r| r.as_ref().map(String::as_str).map_err(|e| *e)).collect();
            assert_eq!(found, wanted, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_code_of_another_class_is_text() {
        let mut replies = Replies::default();
        replies.push(b"550 4.1.1 odd\r\n");
        let reply = replies.next().expect("well formed").expect("whole");
        assert_eq!((reply.status(), reply.permanence()), (None, Permanence::Permanent));
    }

    #[test]
    fn unbounded_input_of_a_server_ends() {
        assert_eq!(read("250-x\r\n".repeat(REPLY_LINES + 1).as_bytes()), [Err("reply with too many lines")]);
        assert_eq!(read(&[b'2'; REPLY_LINE_OCTETS * 2]), [Err("reply line too long")]);
        let long = format!("250 {}\r\n", "x".repeat(REPLY_LINE_OCTETS));
        assert_eq!(read(long.as_bytes()), [Err("reply line too long")]);
        let lines = format!("{}250 end\r\n", format!("250-{}\r\n", "y".repeat(1000)).repeat(50));
        let found = read(lines.as_bytes());
        assert!(found[0].as_ref().is_ok_and(|text| text.len() < REPLY_TEXT_OCTETS + 100), "{found:?}");
    }
}
