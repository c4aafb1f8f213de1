//! Values with parameters: `Content-Type` (RFC 2045 §5.1), `Content-Disposition` (RFC 2183), and lists of tokens.
//!
//! Tolerant, because old mail is: what cannot be read is passed over. Parameters stay as they came; the continuations
//! of RFC 2231 are the reader's business, IMAP hands them through.

use super::quoted::quoted_string;

/// `value; name=content; …`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameterised {
    /// What stands before the first semicolon, comments and blanks removed.
    pub value: Vec<u8>,
    /// Names and contents, unquoted, in their order.
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Parameterised {
    /// The content of the first parameter of this name, compared without case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.as_slice())
    }
}

/// Most parameters of one field that are kept; no honest field has more.
const MOST: usize = 200;

/// Reads a value with parameters.
#[must_use]
pub fn parameterised(text: &[u8]) -> Parameterised {
    let mut scan = Scan { text, at: 0 };
    let mut out = Parameterised { value: scan.token(b";"), parameters: Vec::new() };
    while scan.skip_to_semicolon() && out.parameters.len() < MOST {
        let name = scan.token(b";=");
        if scan.peek() != Some(b'=') || name.is_empty() {
            continue;
        }
        scan.at += 1;
        let content = scan.content();
        out.parameters.push((name, content));
    }
    out
}

/// A list of tokens with commas between them, as in `Content-Language` (RFC 3282 §2).
#[must_use]
pub fn tokens(text: &[u8]) -> Vec<Vec<u8>> {
    let mut scan = Scan { text, at: 0 };
    let mut out = Vec::new();
    loop {
        let token = scan.token(b",");
        if !token.is_empty() && out.len() < MOST {
            out.push(token);
        }
        if scan.peek().is_none() {
            return out;
        }
        scan.at += 1;
    }
}

/// One token without comments, as in `Content-Transfer-Encoding` (RFC 2045 §6.1).
#[must_use]
pub fn token(text: &[u8]) -> Vec<u8> {
    Scan { text, at: 0 }.token(b";")
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Blanks, line ends and comments.
    fn skip_blanks(&mut self) {
        while let Some(b) = self.peek() {
            match b {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                b'(' => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(b) = self.peek() {
            self.at += 1;
            match b {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b'\\' => self.at = (self.at + 1).min(self.text.len()),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Everything up to one of `ends` or the end, comments and blanks left out; stays before the end.
    fn token(&mut self, ends: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'"') => out.extend_from_slice(&self.quoted()),
                Some(b) if !ends.contains(&b) => {
                    out.push(b);
                    self.at += 1;
                }
                _ => return out,
            }
        }
    }

    /// A parameter's content: a quoted string, or everything up to a semicolon or blank.
    fn content(&mut self) -> Vec<u8> {
        self.skip_blanks();
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let start = self.at;
        while self.peek().is_some_and(|b| !matches!(b, b';' | b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.text[start..self.at].to_vec()
    }

    /// A quoted string without its quotes (RFC 5322 §3.2.4), unfolded.
    fn quoted(&mut self) -> Vec<u8> {
        quoted_string(self.text, &mut self.at)
    }

    /// Whether there is another parameter; stands after its semicolon then.
    fn skip_to_semicolon(&mut self) -> bool {
        loop {
            self.skip_blanks();
            match self.peek() {
                None => return false,
                Some(b';') => {
                    self.at += 1;
                    return true;
                }
                Some(b'"') => drop(self.quoted()),
                Some(_) => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_that_ends_in_a_backslash_ends_with_the_text() {
        for text in [&b"text/plain; a=(\\"[..], b"text/plain (\\", b"; a= (x\\", b"\"x\\", b"a=\"x\\"] {
            parameterised(text).get("a").map(<[u8]>::len);
            assert!(tokens(text).len() <= 2);
        }
    }

    #[test]
    fn values_and_parameters() {
        for (text, value, parameters) in [
            ("text/plain", "text/plain", vec![]),
            (
                " text/plain ; charset = utf-8 (a;b) ;x=\"a;\\\"b\"",
                "text/plain",
                vec![("charset", "utf-8"), ("x", "a;\"b")],
            ),
            ("(c) text (d) / (e) plain;", "text/plain", vec![]),
            ("text/plain charset=x; y=z", "text/plaincharset=x", vec![("y", "z")]),
            ("a/b; =x; c; d=", "a/b", vec![("d", "")]),
            ("a/b; name*0*=utf-8''x; name*1=\"y", "a/b", vec![("name*0*", "utf-8''x"), ("name*1", "y")]),
            ("", "", vec![]),
            ("attachment; filename=a b.txt; size=3", "attachment", vec![("filename", "a"), ("size", "3")]),
            ("a/b; boundary=\"x\n y\"", "a/b", vec![("boundary", "x y")]),
        ] {
            let read = parameterised(text.as_bytes());
            assert_eq!(read.value, value.as_bytes(), "{text}");
            let expected: Vec<(Vec<u8>, Vec<u8>)> =
                parameters.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
            assert_eq!(read.parameters, expected, "{text}");
        }
    }

    #[test]
    fn token_lists() {
        assert_eq!(tokens(b"en, (x) de ,,fr"), [b"en".to_vec(), b"de".to_vec(), b"fr".to_vec()]);
        assert_eq!(token(b" Base64 (or so)"), b"Base64");
        assert!(tokens(b"").is_empty());
    }

    #[test]
    fn cut_anywhere_it_ends() {
        let text = b"a(b\\)c)/d; e=\"f\\\"\"; g=h";
        for end in 0..text.len() {
            assert!(parameterised(&text[..end]).value.len() <= end && tokens(&text[..end]).len() <= end);
        }
    }
}
