//! The two forms in which header and body are signed (RFC 6376 §3.4).
//!
//! Messages lie here with LF at the line ends and are signed with CRLF: both are read, CRLF is made. A body is read in
//! pieces and never held. Own code and not the library's, which keeps empty lines of white space at the end and reads
//! the body from memory.

use std::io;
use std::io::Read;

use aws_lc_rs::digest;

use crate::fsio::Content;
use crate::mail::limits::AUTH_BODY_PIECE;

/// How much may change on the way without breaking the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canon {
    /// Almost nothing.
    Simple,
    /// White space, and the case of field names.
    Relaxed,
}

impl Canon {
    /// `header/body` of the tag `c=`; what is left out is simple (RFC 6376 §3.5).
    #[must_use]
    pub fn pair(text: &str) -> Option<(Self, Self)> {
        let one = |text: &str| match text {
            "simple" => Some(Self::Simple),
            "relaxed" => Some(Self::Relaxed),
            _ => None,
        };
        match text.split_once('/') {
            Some((header, body)) => Some((one(header)?, one(body)?)),
            None => Some((one(text)?, Self::Simple)),
        }
    }

    /// Adds a field, given as it stands in the message from its name to its last line end.
    pub fn field(self, field: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Simple => simple_field(field, out),
            Self::Relaxed => relaxed_field(field, out),
        }
    }
}

fn simple_field(field: &[u8], out: &mut Vec<u8>) {
    let field = field.strip_suffix(b"\n").unwrap_or(field);
    for (n, line) in field.split(|b| *b == b'\n').enumerate() {
        if n > 0 {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 6376 §3.4.2: name in lower case, no white space around the colon or at the end, one blank for any other.
fn relaxed_field(field: &[u8], out: &mut Vec<u8>) {
    let colon = field.iter().position(|b| *b == b':').unwrap_or(field.len());
    let (name, value) = field.split_at(colon);
    out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let mut blank = false;
    let mut begun = false;
    for b in value.iter().skip(1) {
        if matches!(b, b' ' | b'\t' | b'\r' | b'\n') {
            blank = true;
            continue;
        }
        if blank && begun {
            out.push(b' ');
        }
        (blank, begun) = (false, true);
        out.push(*b);
    }
    out.extend_from_slice(b"\r\n");
}

/// Without the line end at its end.
#[must_use]
pub fn without_line_end(field: &[u8]) -> &[u8] {
    let field = field.strip_suffix(b"\n").unwrap_or(field);
    field.strip_suffix(b"\r").unwrap_or(field)
}

/// A field with the value of its tag `b` taken out (RFC 6376 §3.5, "b="), and the tag list behind the colon.
#[must_use]
pub fn without_signature(field: &[u8]) -> Vec<u8> {
    let colon = field.iter().position(|b| *b == b':').map_or(field.len(), |at| at + 1);
    let mut out = field[..colon].to_vec();
    for (n, item) in field[colon..].split(|b| *b == b';').enumerate() {
        if n > 0 {
            out.push(b';');
        }
        let equals = item.iter().position(|b| *b == b'=');
        match equals.filter(|at| item[..*at].trim_ascii() == b"b") {
            Some(at) => out.extend_from_slice(&item[..=at]),
            None => out.extend_from_slice(item),
        }
    }
    out
}

/// The hashes of a body in both forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyHashes {
    simple: Option<Vec<u8>>,
    relaxed: Option<Vec<u8>>,
}

impl BodyHashes {
    /// Of a body that nobody signed.
    #[must_use]
    pub fn none() -> Self {
        Self { simple: None, relaxed: None }
    }

    /// Reads the body of `content`, which begins at `body`, once. For a thread that may block.
    ///
    /// # Errors
    /// What the kernel says of the spill file.
    pub fn of(content: &Content, body: usize, forms: &[Canon]) -> io::Result<Self> {
        let hasher = |form| forms.contains(&form).then(|| BodyHasher::new(form));
        let (mut simple, mut relaxed) = (hasher(Canon::Simple), hasher(Canon::Relaxed));
        let mut reader = content.reader();
        io::copy(&mut (&mut reader).take(body as u64), &mut io::sink())?;
        let mut piece = vec![0; AUTH_BODY_PIECE];
        loop {
            let n = match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            for hasher in [&mut simple, &mut relaxed].into_iter().flatten() {
                hasher.push(&piece[..n]);
            }
        }
        Ok(Self { simple: simple.map(BodyHasher::finish), relaxed: relaxed.map(BodyHasher::finish) })
    }

    /// Whether the hash in this form is this one.
    #[must_use]
    pub fn is(&self, form: Canon, hash: &[u8]) -> bool {
        let own = match form {
            Canon::Simple => &self.simple,
            Canon::Relaxed => &self.relaxed,
        };
        own.as_deref() == Some(hash)
    }
}

/// SHA-256 of a body in one form, piece by piece.
struct BodyHasher {
    form: Canon,
    hash: digest::Context,
    out: Vec<u8>,
    /// Line ends that count only if something follows.
    line_ends: u64,
    /// White space that counts only if something follows on its line.
    blank: bool,
    /// A CR that may be half of a line end.
    cr: bool,
    any: bool,
}

impl BodyHasher {
    fn new(form: Canon) -> Self {
        let hash = digest::Context::new(&digest::SHA256);
        Self { form, hash, out: Vec::new(), line_ends: 0, blank: false, cr: false, any: false }
    }

    fn push(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.part_of_line(&rest[..end]);
            // A CR before it belongs to it, and so does white space.
            (self.cr, self.blank) = (false, false);
            self.line_ends += 1;
            rest = &rest[end + 1..];
        }
        self.part_of_line(rest);
    }

    /// Octets without LF.
    fn part_of_line(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        if std::mem::take(&mut self.cr) {
            self.data(b"\r");
        }
        let part = match part.strip_suffix(b"\r") {
            Some(part) => {
                self.cr = true;
                part
            }
            None => part,
        };
        match self.form {
            Canon::Simple if part.is_empty() => {}
            Canon::Simple => self.data(part),
            Canon::Relaxed => self.words(part),
        }
    }

    /// What is left of a part of a line: one blank for any white space, and none at the end.
    fn words(&mut self, part: &[u8]) {
        let is_white = |b: &u8| matches!(*b, b' ' | b'\t');
        let Some(first) = part.iter().position(|b| !is_white(b)) else {
            self.blank |= !part.is_empty();
            return;
        };
        self.blank |= first > 0;
        let behind = part.iter().rposition(|b| !is_white(b)).map_or(first, |last| last + 1);
        let text = &part[first..behind];
        // Without a branch, so that it is done for many octets at once; almost every line is as it has to be.
        let odd =
            text.iter().zip(&text[1..]).fold(false, |odd, (a, b)| odd | (*a == b'\t') | ((*a == b' ') & (*b == b' ')));
        if odd {
            for word in text.split(is_white).filter(|word| !word.is_empty()) {
                self.data(word);
                self.blank = true;
            }
        } else {
            self.data(text);
        }
        self.blank = behind < part.len();
    }

    /// Octets that count, and with them whatever was waiting for such.
    fn data(&mut self, text: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.emit(b"\r\n");
        }
        if std::mem::take(&mut self.blank) {
            self.emit(b" ");
        }
        self.emit(text);
        self.any = true;
    }

    fn emit(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        if self.out.len() >= AUTH_BODY_PIECE {
            self.hash.update(&self.out);
            self.out.clear();
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if std::mem::take(&mut self.cr) {
            self.data(b"\r");
        }
        // RFC 6376 §3.4.3: an empty body is one line end; §3.4.4: here it is nothing.
        if self.any || self.form == Canon::Simple {
            self.out.extend_from_slice(b"\r\n");
        }
        self.hash.update(&self.out);
        self.hash.finish().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha256(text: &[u8]) -> Vec<u8> {
        digest::digest(&digest::SHA256, text).as_ref().to_vec()
    }

    #[test]
    fn bodies() {
        for (body, simple, relaxed) in [
            (&b""[..], &b"\r\n"[..], &b""[..]),
            (b"\n\n", b"\r\n", b""),
            (b" \n", b" \r\n", b""),
            (b"x", b"x\r\n", b"x\r\n"),
            (b" C \nD \t E\n\n\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),
            (b"text\n \n", b"text\r\n \r\n", b"text\r\n"),
            (b"a\n\n\nb\n", b"a\r\n\r\n\r\nb\r\n", b"a\r\n\r\n\r\nb\r\n"),
            (b"a\rb\r", b"a\rb\r\r\n", b"a\rb\r\r\n"),
        ] {
            let crlf: Vec<u8> =
                body.iter().flat_map(|b| if *b == b'\n' { b"\r\n".to_vec() } else { vec![*b] }).collect();
            for form in [body.to_vec(), crlf] {
                let content = Content::from_bytes([b"A: b\n\n", &form[..]].concat());
                let hashes = BodyHashes::of(&content, 6, &[Canon::Simple, Canon::Relaxed]).expect("in memory");
                assert!(hashes.is(Canon::Simple, &sha256(simple)), "{}", form.escape_ascii());
                assert!(hashes.is(Canon::Relaxed, &sha256(relaxed)), "{}", form.escape_ascii());
            }
        }
    }

    /// The same by the letter of the RFC, a character at a time.
    fn by_the_letter(body: &[u8], form: Canon) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        for line in body.split_inclusive(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r\n").or(line.strip_suffix(b"\n")).unwrap_or(line);
            let mut out = Vec::new();
            for b in line {
                match b {
                    b' ' | b'\t' if form == Canon::Relaxed => {
                        if out.last() != Some(&b' ') {
                            out.push(b' ');
                        }
                    }
                    b => out.push(*b),
                }
            }
            if form == Canon::Relaxed && out.last() == Some(&b' ') {
                out.pop();
            }
            lines.push(out);
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        if lines.is_empty() && form == Canon::Simple {
            lines.push(Vec::new());
        }
        lines.iter().flat_map(|line| [&line[..], b"\r\n"].concat()).collect()
    }

    #[test]
    fn pieces_make_no_difference() {
        let letters = [b' ', b'\t', b'\r', b'\n', b'a'];
        // Every body of six such octets, cut at every place.
        for n in 0..letters.len().pow(6) {
            let body: Vec<u8> = (0..6).map(|at| letters[n / letters.len().pow(at) % letters.len()]).collect();
            for form in [Canon::Simple, Canon::Relaxed] {
                let wanted = sha256(&by_the_letter(&body, form));
                for cut in 0..6 {
                    let mut hasher = BodyHasher::new(form);
                    hasher.push(&body[..cut]);
                    hasher.push(&body[cut..]);
                    assert_eq!(hasher.finish(), wanted, "{form:?} {} {cut}", body.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn fields() {
        for (field, simple, relaxed) in [
            (&b"A: X\n"[..], &b"A: X\r\n"[..], &b"a:X\r\n"[..]),
            (b"B : Y\t\r\n\tZ  \r\n", b"B : Y\t\r\n\tZ  \r\n", b"b:Y Z\r\n"),
            (b"B : Y\t\n\tZ  \n", b"B : Y\t\r\n\tZ  \r\n", b"b:Y Z\r\n"),
            (b"C:\n", b"C:\r\n", b"c:\r\n"),
            (b"D: x\r\r\n", b"D: x\r\r\n", b"d:x\r\n"),
        ] {
            for (form, wanted) in [(Canon::Simple, simple), (Canon::Relaxed, relaxed)] {
                let mut out = Vec::new();
                form.field(field, &mut out);
                assert_eq!(out, wanted, "{}", field.escape_ascii());
            }
        }
        let field = b"DKIM-Signature: a=b; b =x=\n y; bh=b=; c=d\n";
        assert_eq!(without_signature(field), b"DKIM-Signature: a=b; b =; bh=b=; c=d\n");
    }

    #[test]
    fn a_bomb_of_lines_takes_linear_time() {
        let content = Content::from_bytes([vec![b'\n'; 4 << 20], b"x".to_vec()].concat());
        assert!(BodyHashes::of(&content, 0, &[Canon::Relaxed]).is_ok());
        let mut out = Vec::new();
        Canon::Relaxed.field(&b"A:\n \n".repeat(100_000), &mut out);
        assert!(out.len() < 1_000_000);
    }
}
