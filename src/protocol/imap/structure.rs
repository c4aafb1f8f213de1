//! BODY, BODYSTRUCTURE and ENVELOPE as IMAP writes them (RFC 3501 §7.4.2, §9 `body`, `envelope`).
//!
//! All strings are 7-bit: clients of IMAP4rev1 need not take others, and some fail. Depth is bounded by the scanner.

use crate::message::addresses::Item;
use crate::message::decode::seven_bit;
use crate::message::envelope::HeaderEnvelope;
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

/// Writes the structure of a message.
pub fn push_body(out: &mut Output, structure: &Structure, message: &[u8], extensions: Extensions) {
    Writer { structure, message, extensions }.body(out, structure.root());
}

struct Writer<'a> {
    structure: &'a Structure,
    message: &'a [u8],
    extensions: Extensions,
}

impl Writer<'_> {
    fn body(&self, out: &mut Output, part: &Part) {
        out.raw("(");
        if part.kind == Kind::Multipart {
            for child in &part.children {
                self.body(out, &self.structure.parts()[*child]);
            }
            out.raw(" ");
            text(out, &part.media.1);
            if self.extensions == Extensions::With {
                out.raw(" ");
                parameters(out, part.fields.content_type.as_ref());
                Self::common_extensions(out, part);
            }
        } else {
            self.single(out, part);
            if self.extensions == Extensions::With {
                out.raw(" ");
                optional(out, part.fields.md5.as_deref());
                Self::common_extensions(out, part);
            }
        }
        out.raw(")");
    }

    /// `body-type-basic`, `body-type-msg` or `body-type-text`.
    fn single(&self, out: &mut Output, part: &Part) {
        let closed_message =
            part.kind == Kind::Leaf && part.is_type("message") && part.media.1.eq_ignore_ascii_case(b"rfc822");
        if closed_message {
            // An encoded message/rfc822 is none that the grammar could describe.
            out.raw("\"application\" \"octet-stream\" ");
        } else {
            text(out, &part.media.0);
            out.raw(" ");
            text(out, &part.media.1);
            out.raw(" ");
        }
        self.default_charset(out, part);
        out.raw(" ");
        optional(out, part.fields.id.as_deref());
        out.raw(" ");
        optional(out, part.fields.description.as_deref());
        out.raw(" ");
        text(out, part.fields.encoding.as_deref().unwrap_or(b"7bit"));
        out.raw(&format!(" {}", part.body.wire_len()));
        if part.kind == Kind::Message {
            if let Some(inner) = part.children.first().map(|c| &self.structure.parts()[*c]) {
                out.raw(" ");
                push_envelope(out, &HeaderEnvelope::read(inner.header.of(self.message)));
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
        let said = part.fields.content_type.as_ref().is_some_and(|c| c.get("charset").is_some());
        if part.is_type("text") && !said {
            out.raw("(");
            for (name, value) in part.fields.content_type.iter().flat_map(|c| &c.parameters) {
                text(out, name);
                out.raw(" ");
                text(out, value);
                out.raw(" ");
            }
            return out.raw("\"charset\" \"us-ascii\")");
        }
        parameters(out, part.fields.content_type.as_ref());
    }

    /// Disposition, language, location.
    fn common_extensions(out: &mut Output, part: &Part) {
        out.raw(" ");
        match &part.fields.disposition {
            Some(disposition) => {
                out.raw("(");
                text(out, &disposition.value);
                out.raw(" ");
                parameters(out, Some(disposition));
                out.raw(")");
            }
            None => out.raw("NIL"),
        }
        out.raw(" ");
        match part.fields.language.as_slice() {
            [] => out.raw("NIL"),
            [one] => text(out, one),
            many => {
                for (n, language) in many.iter().enumerate() {
                    out.raw(if n == 0 { "(" } else { " " });
                    text(out, language);
                }
                out.raw(")");
            }
        }
        out.raw(" ");
        optional(out, part.fields.location.as_deref());
    }
}

fn text(out: &mut Output, octets: &[u8]) {
    out.string(&seven_bit(octets));
}

fn optional(out: &mut Output, octets: Option<&[u8]>) {
    match octets {
        Some(octets) => text(out, octets),
        None => out.raw("NIL"),
    }
}

fn parameters(out: &mut Output, field: Option<&Parameterised>) {
    let parameters = field.map_or(&[][..], |f| &f.parameters);
    if parameters.is_empty() {
        return out.raw("NIL");
    }
    for (n, (name, value)) in parameters.iter().enumerate() {
        out.raw(if n == 0 { "(" } else { " " });
        text(out, name);
        out.raw(" ");
        text(out, value);
    }
    out.raw(")");
}

/// Writes an envelope.
pub fn push_envelope(out: &mut Output, envelope: &HeaderEnvelope) {
    out.raw("(");
    optional(out, envelope.date.as_deref());
    out.raw(" ");
    optional(out, envelope.subject.as_deref());
    let lists = [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
    for list in lists {
        out.raw(" ");
        addresses(out, list);
    }
    out.raw(" ");
    optional(out, envelope.in_reply_to.as_deref());
    out.raw(" ");
    optional(out, envelope.message_id.as_deref());
    out.raw(")");
}

fn addresses(out: &mut Output, list: &[Item]) {
    if list.is_empty() {
        return out.raw("NIL");
    }
    out.raw("(");
    for item in list {
        match item {
            Item::Mailbox { name, route, local, domain } => {
                out.raw("(");
                optional(out, name.as_deref());
                out.raw(" ");
                optional(out, route.as_deref());
                out.raw(" ");
                text(out, local);
                out.raw(" ");
                // NIL would mean a group.
                text(out, domain);
                out.raw(")");
            }
            Item::GroupStart(name) => {
                out.raw("(NIL NIL ");
                text(out, name);
                out.raw(" NIL)");
            }
            Item::GroupEnd => out.raw("(NIL NIL NIL NIL)"),
        }
    }
    out.raw(")");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(message: &str, extensions: Extensions) -> String {
        let mut out = Output::new();
        push_body(&mut out, &Structure::scan(message.as_bytes()), message.as_bytes(), extensions);
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
        push_envelope(&mut out, &HeaderEnvelope::read(header.as_bytes()));
        assert_eq!(
            String::from_utf8(out.take()).expect("7-bit"),
            "(\"Sat, 21 Nov 2026 00:00:00 +0000\" \"=?utf-8?q?x?= \\\"y\\\"\" ((\"A \\\"B\\\"\" NIL \"a\" \"b\")) \
             ((\"A \\\"B\\\"\" NIL \"a\" \"b\")) ((\"A \\\"B\\\"\" NIL \"a\" \"b\")) ((NIL NIL \"G\" NIL)(NIL NIL \"c\" \
             \"d\")(NIL NIL NIL NIL)) ((\"=?utf-8?B?Z3LDvG4=?=\" NIL \"e\" \"f\")) NIL NIL \"<m@x>\")"
        );
    }
}
