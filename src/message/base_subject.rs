//! The base subject of a message (RFC 5256 §2.1): its subject without what answering and forwarding put around it.
//!
//! Exactly the procedure of the RFC: servers and clients must come to the same. Each step only moves the ends of the
//! text, so that all of it takes time in proportion to the subject.

use crate::message::decode;

/// A subject, reduced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BaseSubject {
    /// What is left.
    pub text: String,
    /// Whether the message is a reply or was forwarded: a `Re:`, `Fw:`, `(fwd)` or `[fwd: ]` was removed (§3, THREAD).
    pub is_reply: bool,
}

/// Of the value of a `Subject` field, unfolded or not.
#[must_use]
pub fn base_subject(value: &[u8]) -> BaseSubject {
    let text = one_spaced(&decode::header_text(&unfolded(value)));
    let mut rest = text.as_str();
    let mut is_reply = false;
    loop {
        // (2)
        while let Some(shorter) = without_trailer(rest) {
            is_reply |= !rest.ends_with(' ');
            rest = shorter;
        }
        // (3), (4), (5)
        while let Some((shorter, refwd)) = without_leader(rest) {
            is_reply |= refwd;
            rest = shorter;
        }
        // No leader is behind these blobs, or it would have been one with them.
        while let Some(shorter) = without_blob(rest).filter(|shorter| !shorter.is_empty()) {
            rest = shorter;
        }
        // (6)
        let Some(inner) = strip_prefix(rest, "[fwd:").and_then(|inner| inner.strip_suffix(']')) else { break };
        is_reply = true;
        rest = inner;
    }
    BaseSubject { text: rest.to_owned(), is_reply }
}

/// Continuations are blanks (step 1), and encoded words are looked for across them.
fn unfolded(value: &[u8]) -> Vec<u8> {
    value.iter().filter(|b| **b != b'\r').map(|b| if matches!(b, b'\n' | b'\t') { b' ' } else { *b }).collect()
}

/// Step 1: tabs are blanks, and many blanks are one.
fn one_spaced(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let c = if matches!(c, '\t' | '\r' | '\n') { ' ' } else { c };
        if c != ' ' || !out.ends_with(' ') {
            out.push(c);
        }
    }
    out
}

/// `subj-trailer = "(fwd)" / WSP`.
fn without_trailer(text: &str) -> Option<&str> {
    text.strip_suffix(' ').or_else(|| strip_suffix(text, "(fwd)"))
}

/// `subj-leader = (*subj-blob subj-refwd) / WSP`, and whether it was the former.
fn without_leader(text: &str) -> Option<(&str, bool)> {
    if let Some(rest) = text.strip_prefix(' ') {
        return Some((rest, false));
    }
    let mut rest = text;
    while let Some(shorter) = without_blob(rest) {
        rest = shorter;
    }
    without_refwd(rest).map(|rest| (rest, true))
}

/// `subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"`.
fn without_refwd(text: &str) -> Option<&str> {
    let rest = strip_prefix(text, "re").or_else(|| strip_prefix(text, "fwd")).or_else(|| strip_prefix(text, "fw"))?;
    let rest = rest.trim_start_matches(' ');
    without_blob(rest).unwrap_or(rest).strip_prefix(':')
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`; no bracket stands in one.
fn without_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']']).filter(|at| inner.as_bytes()[*at] == b']')?;
    Some(inner[end + 1..].trim_start_matches(' '))
}

/// Compared without case; `prefix` is ASCII.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

fn strip_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    let at = text.len().checked_sub(suffix.len())?;
    text.get(at..)?.eq_ignore_ascii_case(suffix).then(|| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects() {
        for (subject, text, is_reply) in [
            ("", "", false),
            ("hello", "hello", false),
            (" a \t  b\r\n c ", "a b c", false),
            ("Re: hello", "hello", true),
            ("re:re: RE : fwd: fw:hello", "hello", true),
            ("Re[4]: hello", "hello", true),
            ("Re [x y] : hello", "hello", true),
            ("Re [x y]: hello", "hello", true),
            ("[list] hello", "hello", false),
            ("[a] [b]  Re: [c] hello", "hello", true),
            ("Re: [list] Re: [list] hello (fwd) (FWD)  ", "hello", true),
            ("hello (fwd)", "hello", true),
            ("(fwd)", "", true),
            ("[fwd: hello]", "hello", true),
            ("[Fwd: Re: [fwd: [x] hello (fwd)]]", "hello", true),
            // A bracket with text behind it is a blob, whatever is in it.
            ("[fwd: hello] more", "more", false),
            // Brackets that are all there is stay.
            ("[list]", "[list]", false),
            ("Re: [list]", "[list]", true),
            ("[a] [b]", "[b]", false),
            ("[a[b]] c", "[a[b]] c", false),
            ("Reason: none", "Reason: none", false),
            ("fw", "fw", false),
            ("Re:", "", true),
            ("=?utf-8?q?Re:_gr=C3=BC=C3=9Fe?= =?utf-8?q?_an_alle?=", "grüße an alle", true),
            ("=?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab", false),
            ("é", "é", false),
            ("[fwd:]", "", true),
        ] {
            let base = base_subject(subject.as_bytes());
            assert_eq!((base.text.as_str(), base.is_reply), (text, is_reply), "{subject:?}");
        }
    }

    #[test]
    fn long_subjects_take_no_long_time() {
        for bomb in ["Re: ", "[x] ", "[fwd:", "[", "(fwd)", "re [x", "[] re"] {
            drop(base_subject(bomb.repeat(100_000).as_bytes()));
        }
    }
}
