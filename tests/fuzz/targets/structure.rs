//! What is said of a message follows the grammar, whatever the message is.

#![no_main]

use facteur::message::envelope::HeaderEnvelope;
use facteur::message::mime::Structure;
use facteur::protocol::imap::response::Output;
use facteur::protocol::imap::structure::Characters;
use facteur::protocol::imap::structure::Extensions;
use facteur::protocol::imap::structure::push_body;
use facteur::protocol::imap::structure::push_envelope;
use libfuzzer_sys::fuzz_target;

/// RFC 3501 §9, of `body` and `envelope`. Each rule takes what it names from the front, or panics.
struct Reader<'a> {
    rest: &'a [u8],
    characters: Characters,
}

impl Reader<'_> {
    fn has(&self, start: &str) -> bool {
        self.rest.get(..start.len()).is_some_and(|s| s.eq_ignore_ascii_case(start.as_bytes()))
    }

    fn take(&mut self, start: &str) {
        assert!(self.has(start), "{start:?} expected at {:?}", String::from_utf8_lossy(self.rest));
        self.rest = &self.rest[start.len()..];
    }

    fn number(&mut self) -> u32 {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        std::str::from_utf8(number).expect("digits").parse().expect("a number of RFC 3501")
    }

    fn string(&mut self) {
        if self.has("{") {
            self.take("{");
            let octets = self.number() as usize;
            self.take("}\r\n");
            let (text, rest) = self.rest.split_at(octets);
            self.octets(text);
            self.rest = rest;
            return;
        }
        self.take("\"");
        loop {
            let (first, rest) = self.rest.split_first().expect("the end of a string in quotes");
            self.rest = rest;
            match first {
                b'"' => return,
                b'\\' => {
                    let (escaped, rest) = rest.split_first().expect("what is escaped");
                    assert!(matches!(escaped, b'"' | b'\\'), "{escaped}");
                    self.rest = rest;
                }
                b'\r' | b'\n' => panic!("a line end in quotes"),
                other => self.octets(&[*other]),
            }
        }
    }

    fn octets(&self, octets: &[u8]) {
        assert!(!octets.contains(&0), "NUL");
        assert!(self.characters == Characters::Utf8 || octets.is_ascii(), "{octets:?} in seven bits");
    }

    /// `NIL`, or what `read` reads.
    fn or_nil(&mut self, read: impl FnOnce(&mut Self)) {
        if self.has("NIL") { self.take("NIL") } else { read(self) }
    }

    fn nstring(&mut self) {
        self.or_nil(Self::string);
    }

    fn list(&mut self, separator: &str, mut item: impl FnMut(&mut Self)) {
        self.take("(");
        loop {
            item(self);
            if self.has(")") {
                return self.take(")");
            }
            self.take(separator);
        }
    }

    fn parameters(&mut self) {
        self.or_nil(|r| {
            r.list(" ", |r| {
                r.string();
                r.take(" ");
                r.string();
            });
        });
    }

    fn disposition(&mut self) {
        self.or_nil(|r| {
            r.take("(");
            r.string();
            r.take(" ");
            r.parameters();
            r.take(")");
        });
    }

    /// Disposition, language and location, which both kinds of parts end with.
    fn extensions(&mut self) {
        self.take(" ");
        self.disposition();
        self.take(" ");
        self.or_nil(|r| if r.has("(") { r.list(" ", Self::string) } else { r.string() });
        self.take(" ");
        self.nstring();
    }

    fn body(&mut self, extensions: Extensions) {
        self.take("(");
        if self.has("(") {
            while self.has("(") {
                self.body(extensions);
            }
            self.take(" ");
            self.string();
            if extensions == Extensions::With {
                self.take(" ");
                self.parameters();
                self.extensions();
            }
            return self.take(")");
        }
        let (is_text, is_message) =
            (self.has("\"text\""), self.has("\"message\" \"rfc822\"") || self.has("\"message\" \"global\""));
        self.string();
        self.take(" ");
        self.string();
        self.take(" ");
        self.parameters();
        for _ in 0..2 {
            self.take(" ");
            self.nstring();
        }
        self.take(" ");
        self.string();
        self.take(" ");
        self.number();
        // A message that is nested too deeply is told as one without a structure.
        if is_message && self.has(" (") {
            self.take(" ");
            self.envelope();
            self.take(" ");
            self.body(extensions);
            self.take(" ");
            self.number();
        } else if is_text {
            self.take(" ");
            self.number();
        }
        if extensions == Extensions::With {
            self.take(" ");
            self.nstring();
            self.extensions();
        }
        self.take(")");
    }

    fn envelope(&mut self) {
        self.take("(");
        for _ in 0..2 {
            self.nstring();
            self.take(" ");
        }
        for _ in 0..6 {
            self.or_nil(|r| {
                r.take("(");
                while !r.has(")") {
                    r.take("(");
                    for at in 0..4 {
                        r.nstring();
                        r.take(if at < 3 { " " } else { ")" });
                    }
                }
                r.take(")");
            });
            self.take(" ");
        }
        self.nstring();
        self.take(" ");
        self.nstring();
        self.take(")");
    }
}

fuzz_target!(|message: &[u8]| {
    let structure = Structure::scan(message);
    let header = HeaderEnvelope::read(message);
    for characters in [Characters::SevenBit, Characters::Utf8] {
        for extensions in [Extensions::With, Extensions::Without] {
            let mut out = Output::new();
            push_body(&mut out, &structure, message, extensions, characters);
            let written = out.take();
            let mut reader = Reader { rest: &written, characters };
            reader.body(extensions);
            assert!(reader.rest.is_empty(), "{:?} is left", String::from_utf8_lossy(reader.rest));
        }
        let mut out = Output::new();
        push_envelope(&mut out, &header, characters);
        let written = out.take();
        let mut reader = Reader { rest: &written, characters };
        reader.envelope();
        assert!(reader.rest.is_empty(), "{:?} is left", String::from_utf8_lossy(reader.rest));
    }
});
