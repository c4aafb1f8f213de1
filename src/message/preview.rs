//! The beginning of what a message says, for a list of messages (RFC 8970).
//!
//! Of the first text part that is not attached, plain text before HTML; without what was quoted, and with every run of
//! blanks as one. Knows nothing of how it is told.

use super::decode;
use super::mime::Kind;
use super::mime::Part;
use super::mime::Structure;

/// RFC 8970 §3.2: servers SHOULD limit it to 200 characters, and MUST to 256.
const CHARACTERS: usize = 200;

/// Octets of a part that are looked at: what comes behind so much of markup or quotes is not its beginning.
const PART_OCTETS: usize = 16 << 10;

/// The preview of a message; empty where it says nothing.
#[must_use]
pub fn preview(message: &[u8]) -> String {
    let structure = Structure::scan(message);
    let of_type = |subtype: &[u8]| {
        structure.parts().iter().find(|part| is_text(part) && part.media.1.eq_ignore_ascii_case(subtype))
    };
    let first = structure.parts().iter().find(|part| is_text(part));
    let Some(part) = of_type(b"plain").or_else(|| of_type(b"html")).or(first) else { return String::new() };
    let body = part.body.of(message);
    let body = &body[..body.len().min(PART_OCTETS)];
    let octets = decode::transfer(body, part.fields.encoding.as_deref());
    let text = decode::text(&octets, part.fields.content_type.as_ref().and_then(|c| c.get("charset")));
    if part.media.1.eq_ignore_ascii_case(b"html") { shortened(html_words(&text)) } else { plain(&text) }
}

fn is_text(part: &Part) -> bool {
    let attached = part.fields.disposition.as_ref().is_some_and(|d| d.value.eq_ignore_ascii_case(b"attachment"));
    part.kind == Kind::Leaf && part.is_type("text") && !attached
}

/// Quoted lines tell what the other one wrote; where there is nothing else, that is better than nothing.
fn plain(text: &str) -> String {
    let own = text.lines().filter(|line| !line.trim_start().starts_with('>'));
    let own = shortened(own.collect::<Vec<_>>().join("\n"));
    if own.is_empty() { shortened(text.to_owned()) } else { own }
}

/// The words in one line, as many characters as there may be. Controls would be no text.
fn shortened(text: String) -> String {
    let mut out = String::new();
    let mut left = CHARACTERS;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control() || c == '\u{feff}').filter(|w| !w.is_empty()) {
        if !out.is_empty() && left > 0 {
            out.push(' ');
            left -= 1;
        }
        for c in word.chars().take(left) {
            out.push(c);
            left -= 1;
        }
        if left == 0 {
            break;
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// What a browser would show of HTML, roughly: no tags, no styles, no scripts, the common character references.
fn html_words(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('&') {
            rest = reference(rest, &mut out);
            continue;
        }
        let hidden = ["<!--", "<style", "<script", "<head", "<title"]
            .into_iter()
            .zip(["-->", "</style", "</script", "</head", "</title"]);
        let end = hidden.into_iter().find(|(start, _)| starts_with(rest, start)).and_then(|(_, end)| find(rest, end));
        let from = end.unwrap_or(0);
        out.push(' ');
        match rest[from..].find('>') {
            Some(close) => rest = &rest[from + close + 1..],
            None => return out,
        }
    }
    out.push_str(rest);
    out
}

fn starts_with(text: &str, start: &str) -> bool {
    text.as_bytes().get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

fn find(text: &str, wanted: &str) -> Option<usize> {
    text.as_bytes().windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Octets of the longest reference that is looked for.
const REFERENCE_OCTETS: usize = 10;

/// Writes what a character reference stands for; gives what follows it.
fn reference<'a>(text: &'a str, out: &mut String) -> &'a str {
    let end = text.bytes().take(REFERENCE_OCTETS).position(|b| b == b';');
    let found = end.and_then(|end| {
        let name = text.get(1..end)?;
        let c = match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            "nbsp" => ' ',
            _ => {
                let digits = name.strip_prefix('#')?;
                let code = match digits.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => digits.parse().ok()?,
                };
                char::from_u32(code)?
            }
        };
        Some((c, end))
    });
    match found {
        Some((c, end)) => {
            out.push(c);
            &text[end + 1..]
        }
        None => {
            out.push('&');
            &text[1..]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previews() {
        let long = format!("\n{}", "word ".repeat(100));
        for (message, expected) in [
            ("Subject: x\n\nHello  there,\n\n\thow are you?\n", "Hello there, how are you?"),
            ("Subject: x\n\n> quoted\n> more\nMy answer\n> again\n", "My answer"),
            ("Subject: x\n\n> only quoted\n", "> only quoted"),
            (
                "Content-Type: text/html\n\n<html><head><title>no</title><style>p {x}</style></head><p>Gr&uuml;n &amp; <b>a&#x42;&#67;</b><!-- <p>no</p> --></p>",
                "Gr&uuml;n & aBC",
            ),
            (
                "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/html\n\n<p>html</p>\n--b\n\nplain\n--b--\n",
                "plain",
            ),
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment\n\nno\n--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n--b--\n",
                "Grüße",
            ),
            ("Content-Type: image/png\n\nxxxx", ""),
            ("", ""),
        ] {
            assert_eq!(preview(message.as_bytes()), expected, "{message}");
        }
        assert_eq!(preview(long.as_bytes()).chars().count(), CHARACTERS - 1, "no blank at the end");
        assert_eq!(preview(format!("\n{}", "ü".repeat(500)).as_bytes()).chars().count(), CHARACTERS);
    }

    #[test]
    fn nothing_in_html_fails() {
        for html in [
            "<",
            "&",
            "&;",
            "<!--",
            "<style",
            "</",
            "&#xFFFFFFFF;",
            "&#55296;",
            "a<b",
            "&é;",
            "<ſtyle>",
            "&1234567890;",
        ] {
            let message = format!("Content-Type: text/html; charset=utf-8\n\n{html}");
            assert!(preview(message.as_bytes()).len() <= html.len(), "{html}");
        }
    }
}
