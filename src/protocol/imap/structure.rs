//! BODY, BODYSTRUCTURE and ENVELOPE as IMAP writes them (RFC 3501 §7.4.2, §9 `body`, `envelope`).
//!
//! Strings are 7-bit, because clients of IMAP4rev1 need not take others and some fail, until the client enables UTF-8.
//! Depth is bounded by the scanner.

use crate::message::addresses::Item;
use crate::message::decode::seven_bit;
use crate::message::envelope::HeaderEnvelope;
use crate::message::extended;
use crate::message::mime::Kind;
use crate::message::mime::Part;
use crate::message::mime::Structure;
use crate::message::parameters::Parameterised;
use crate::protocol::imap::response::Output;

/// Whether extension data is written: `BODYSTRUCTURE` has it, `BODY` has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extensions {
    /// `BODYSTRUCTURE`.
    With,
    /// `BODY`.
    Without,
}

/// In which characters strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Characters {
    /// What is not ASCII becomes encoded words.
    SevenBit,
    /// What is UTF-8 stays so (RFC 6855 §3).
    Utf8,
    /// The same, in the forms of IMAP4rev2 (RFC 9051 §7.5.2).
    Rev2,
}

/// Writes the structure of a message.
pub fn push_body(
    out: &mut Output,
    structure: &Structure,
    message: &[u8],
    extensions: Extensions,
    characters: Characters,
) {
    Writer { structure, message, extensions, characters }.body(out, structure.root());
}

struct Writer<'a> {
    structure: &'a Structure,
    message: &'a [u8],
    extensions: Extensions,
    characters: Characters,
}

impl Writer<'_> {
    fn body(&self, out: &mut Output, part: &Part) {
        out.raw("(");
        if part.kind == Kind::Multipart {
            for child in &part.children {
                self.body(out, &self.structure.parts()[*child]);
            }
            out.raw(" ");
            self.characters.text(out, &part.media.1);
            if self.extensions == Extensions::With {
                out.raw(" ");
                self.characters.parameters(out, part.fields.content_type.as_ref());
                self.common_extensions(out, part);
            }
        } else {
            self.single(out, part);
            if self.extensions == Extensions::With {
                out.raw(" ");
                self.characters.optional(out, part.fields.md5.as_deref());
                self.common_extensions(out, part);
            }
        }
        out.raw(")");
    }

    /// `body-type-basic`, `body-type-msg` or `body-type-text`.
    fn single(&self, out: &mut Output, part: &Part) {
        let says = |subtype: &[u8]| part.is_type("message") && part.media.1.eq_ignore_ascii_case(subtype);
        let rev2 = self.characters == Characters::Rev2;
        // RFC 9051 §9 `media-message`; in IMAP4rev1 message/global (RFC 6532) is a type like any other.
        let is_message = part.kind == Kind::Message && (rev2 || says(b"rfc822"));
        if !is_message && (says(b"rfc822") || (rev2 && says(b"global"))) {
            // An encoded message is none that the grammar could describe.
            out.raw("\"application\" \"octet-stream\" ");
        } else {
            self.characters.text(out, &part.media.0);
            out.raw(" ");
            self.characters.text(out, &part.media.1);
            out.raw(" ");
        }
        self.default_charset(out, part);
        out.raw(" ");
        self.characters.optional(out, part.fields.id.as_deref());
        out.raw(" ");
        self.characters.optional(out, part.fields.description.as_deref());
        out.raw(" ");
        self.characters.text(out, part.fields.encoding.as_deref().unwrap_or(b"7bit"));
        out.raw(&format!(" {}", part.body.wire_len()));
        if is_message {
            if let Some(inner) = part.children.first().map(|c| &self.structure.parts()[*c]) {
                out.raw(" ");
                push_envelope(out, &HeaderEnvelope::read(inner.header.of(self.message)), self.characters);
                out.raw(" ");
                self.body(out, inner);
            }
            out.raw(&format!(" {}", part.body.lines()));
        } else if part.is_type("text") {
            out.raw(&format!(" {}", part.body.lines()));
        }
    }

    /// RFC 2045 §5.2: text that says nothing is US-ASCII.
    fn default_charset(&self, out: &mut Output, part: &Part) {
        let field = part.fields.content_type.as_ref();
        let mut parameters = field.map(|c| self.characters.of_parameters(c)).unwrap_or_default();
        let is_charset =
            |name: &[u8]| name.split(|b| *b == b'*').next().is_some_and(|n| n.eq_ignore_ascii_case(b"charset"));
        if part.is_type("text") && !parameters.iter().any(|(name, _)| is_charset(name)) {
            parameters.push((b"charset".to_vec(), b"us-ascii".to_vec()));
        }
        self.characters.list(out, &parameters);
    }

    /// Disposition, language, location.
    fn common_extensions(&self, out: &mut Output, part: &Part) {
        out.raw(" ");
        match &part.fields.disposition {
            Some(disposition) => {
                out.raw("(");
                self.characters.text(out, &disposition.value);
                out.raw(" ");
                self.characters.parameters(out, Some(disposition));
                out.raw(")");
            }
            None => out.raw("NIL"),
        }
        out.raw(" ");
        match part.fields.language.as_slice() {
            [] => out.raw("NIL"),
            [one] => self.characters.text(out, one),
            many => {
                for (n, language) in many.iter().enumerate() {
                    out.raw(if n == 0 { "(" } else { " " });
                    self.characters.text(out, language);
                }
                out.raw(")");
            }
        }
        out.raw(" ");
        self.characters.optional(out, part.fields.location.as_deref());
    }
}

impl Characters {
    fn text(self, out: &mut Output, octets: &[u8]) {
        let is_utf8 = self != Self::SevenBit && std::str::from_utf8(octets).is_ok();
        if is_utf8 && !octets.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
            out.utf8_string(octets);
        } else {
            out.string(&seven_bit(octets));
        }
    }

    fn optional(self, out: &mut Output, octets: Option<&[u8]>) {
        match octets {
            Some(octets) => self.text(out, octets),
            None => out.raw("NIL"),
        }
    }

    /// RFC 9051 §7.5.2: pieces of a parameter (RFC 2231) are put together. Clients of IMAP4rev1 do that themselves.
    fn of_parameters(self, field: &Parameterised) -> Vec<(Vec<u8>, Vec<u8>)> {
        if self == Self::Rev2 { extended::put_together(field) } else { field.parameters.clone() }
    }

    fn parameters(self, out: &mut Output, field: Option<&Parameterised>) {
        self.list(out, &field.map(|field| self.of_parameters(field)).unwrap_or_default());
    }

    fn list(self, out: &mut Output, parameters: &[(Vec<u8>, Vec<u8>)]) {
        if parameters.is_empty() {
            return out.raw("NIL");
        }
        for (n, (name, value)) in parameters.iter().enumerate() {
            out.raw(if n == 0 { "(" } else { " " });
            self.text(out, name);
            out.raw(" ");
            self.text(out, value);
        }
        out.raw(")");
    }

    fn addresses(self, out: &mut Output, list: &[Item]) {
        if list.is_empty() {
            return out.raw("NIL");
        }
        out.raw("(");
        for item in list {
            match item {
                Item::Mailbox { name, route, local, domain } => {
                    out.raw("(");
                    self.optional(out, name.as_deref());
                    out.raw(" ");
                    self.optional(out, route.as_deref());
                    out.raw(" ");
                    self.text(out, local);
                    out.raw(" ");
                    // NIL would mean a group.
                    self.text(out, domain);
                    out.raw(")");
                }
                Item::GroupStart(name) => {
                    out.raw("(NIL NIL ");
                    self.text(out, name);
                    out.raw(" NIL)");
                }
                Item::GroupEnd => out.raw("(NIL NIL NIL NIL)"),
            }
        }
        out.raw(")");
    }
}

/// Writes an envelope.
pub fn push_envelope(out: &mut Output, envelope: &HeaderEnvelope, characters: Characters) {
    out.raw("(");
    characters.optional(out, envelope.date.as_deref());
    out.raw(" ");
    characters.optional(out, envelope.subject.as_deref());
    let lists = [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
    for list in lists {
        out.raw(" ");
        characters.addresses(out, list);
    }
    out.raw(" ");
    characters.optional(out, envelope.in_reply_to.as_deref());
    out.raw(" ");
    characters.optional(out, envelope.message_id.as_deref());
    out.raw(")");
}

/// Whether a string that was written in seven bits may be another one in UTF-8: something in it may have become an
/// encoded word, or be a parameter in pieces, or a message of RFC 6532.
#[must_use]
pub fn depends_on_characters(written: &[u8]) -> bool {
    let has = |mark: &[u8]| memchr::memmem::find(written, mark).is_some();
    // As `seven_bit` writes them; most programs write the charset in capitals.
    let encoded = has(b"=?utf-8?B?") || has(b"=?unknown-8bit?B?");
    encoded || has(b"*") || written.windows(8).any(|w| w.eq_ignore_ascii_case(b"\"global\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(message: &str, extensions: Extensions) -> String {
        let mut out = Output::new();
        push_body(&mut out, &Structure::scan(message.as_bytes()), message.as_bytes(), extensions, Characters::SevenBit);
        String::from_utf8(out.take()).expect("7-bit")
    }

    #[test]
    fn structures() {
        let nested = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\
            Content-Disposition: inline; filename=f\nContent-Language: en, de\n\nhi\nyou\n--b\n\
            Content-Type: message/rfc822\n\nFrom: a@b\nSubject: s\n\nx\n--b\nContent-Type: image/png; name=\"grün\"\n\
            Content-Transfer-Encoding: base64\nContent-ID: <i>\n\nAAAA\n--b--\n";
        assert_eq!(
            body(nested, Extensions::With),
            "((\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"7bit\" 7 1 NIL (\"inline\" (\"filename\" \"f\")) \
             (\"en\" \"de\") NIL)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 26 (NIL \"s\" ((NIL NIL \"a\" \"b\")) \
             ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) NIL NIL NIL NIL NIL) (\"text\" \"plain\" (\"charset\" \
             \"us-ascii\") NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)(\"image\" \"png\" (\"name\" \
             \"=?utf-8?B?Z3LDvG4=?=\") \"<i>\" NIL \"base64\" 4 NIL NIL NIL NIL) \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"
        );
        assert_eq!(
            body("a: b\n\nhi\n", Extensions::Without),
            "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1)"
        );
        assert!(body("Content-Type: multipart/x; boundary=b\n\n", Extensions::Without).contains("7bit\" 0 0) \"x\")"));
        assert!(
            body("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==", Extensions::Without)
                .starts_with("(\"application\" \"octet-stream\"")
        );
    }

    #[test]
    fn envelopes() {
        let header = "Date: Sat, 21 Nov 2026 00:00:00 +0000\nSubject: =?utf-8?q?x?= \"y\"\nFrom: \"A \\\"B\\\"\" <a@b>\n\
            To: G: c@d;\nCc: grün <e@f>\nMessage-ID: <m@x>\n\n";
        let mut out = Output::new();
        push_envelope(&mut out, &HeaderEnvelope::read(header.as_bytes()), Characters::SevenBit);
        assert_eq!(
            String::from_utf8(out.take()).expect("7-bit"),
            "(\"Sat, 21 Nov 2026 00:00:00 +0000\" \"=?utf-8?q?x?= \\\"y\\\"\" ((\"A \\\"B\\\"\" NIL \"a\" \"b\")) \
             ((\"A \\\"B\\\"\" NIL \"a\" \"b\")) ((\"A \\\"B\\\"\" NIL \"a\" \"b\")) ((NIL NIL \"G\" NIL)(NIL NIL \"c\" \
             \"d\")(NIL NIL NIL NIL)) ((\"=?utf-8?B?Z3LDvG4=?=\" NIL \"e\" \"f\")) NIL NIL \"<m@x>\")"
        );
    }
    #[test]
    fn structures_in_utf8() {
        let message = "Content-Type: multipart/mixed; boundary=b\n\n--b\n\
            Content-Type: text/plain; name*0*=utf-8''gr%C3%BC; name*1=n\n\nhi\n--b\n\
            Content-Type: message/global\n\nSubject: grün\nFrom: Grün <grün@x>\n\nx\n--b\n\
            Content-Type: message/global\nContent-Transfer-Encoding: base64\n\nQQ==\n--b--\n";
        let written = |characters| {
            let mut out = Output::new();
            let structure = Structure::scan(message.as_bytes());
            push_body(&mut out, &structure, message.as_bytes(), Extensions::Without, characters);
            String::from_utf8(out.take()).expect("UTF-8")
        };
        let from = "((\"Grün\" NIL \"grün\" \"x\"))";
        assert_eq!(
            written(Characters::Rev2),
            format!(
                "((\"text\" \"plain\" (\"name*\" \"grün\" \"charset\" \"us-ascii\") NIL NIL \"7bit\" 2 0)(\"message\" \
                 \"global\" NIL NIL NIL \"7bit\" 42 (NIL \"grün\" {from} {from} {from} NIL NIL NIL NIL NIL) (\"text\" \
                 \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 1 0) 3)(\"application\" \"octet-stream\" NIL NIL \
                 NIL \"base64\" 4) \"mixed\")"
            )
        );
        let seven = written(Characters::SevenBit);
        assert!(seven.contains("\"name*0*\" \"utf-8''gr%C3%BC\" \"name*1\" \"n\""), "{seven}");
        assert!(seven.contains("(\"message\" \"global\" NIL NIL NIL \"7bit\" 42)(\"message\" \"global\""), "{seven}");
        let utf8 = written(Characters::Utf8);
        assert!(
            utf8.contains("\"name*0*\"") && utf8.contains("(\"message\" \"global\" NIL NIL NIL \"7bit\" 42)("),
            "{utf8}"
        );
        assert!(depends_on_characters(seven.as_bytes()));
        assert!(!depends_on_characters(b"(\"text\" \"plain\")"));
    }
}
