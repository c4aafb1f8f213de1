//! Takes out the fields that must not travel on.

use std::io;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use crate::fsio::Content;
use crate::fsio::ContentWriter;
use crate::message::header::Header;
use crate::sender_auth::results;

/// How a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dispatch {
    /// From another server: as little is touched as possible, since a touched field breaks signatures.
    Reception,
    /// From a network of ours, whose clients may be mail programs as well as servers.
    Trusted,
    /// From a client of ours.
    Submission,
}

/// What to cut out of a message, in ascending order. `hostname` is our name, in which only we may tell what was found
/// out: `Authentication-Results` of others stay, and so does `Received-SPF`.
#[must_use]
pub fn unwanted(header: &Header<'_>, dispatch: Dispatch, hostname: &str) -> Vec<Range<usize>> {
    let first = header.fields.first().map_or(header.end, |field| field.range.start);
    let mut ranges = Vec::new();
    if first > 0 {
        // The line `From ` of mbox, which some clients send; behind our fields it would end the header.
        ranges.push(0..first);
    }
    let cut = header.fields.iter().filter(|field| {
        // RFC 5321 §4.4: the one who delivers writes Return-Path, so there is one and it is true.
        // RFC 5322 §3.6.3 and §3.6.6: nobody sees who got a blind copy.
        // RFC 8601 §5: nobody forges our results, nor our reasons.
        field.is("Return-Path")
            || field.is("X-Junk-Reason")
            || (dispatch != Dispatch::Reception && (field.is("Bcc") || field.is("Resent-Bcc")))
            || (field.is("Authentication-Results") && results::claims_to_be(field.value, hostname))
    });
    ranges.extend(cut.map(|field| field.range.clone()));
    ranges
}

/// Where an empty line is missing: a line that is no field ends the header for us, who judge it, and must not be passed
/// over by those who show it, or they would see fields that nobody judged. `octets` are those of the message that were
/// looked at.
#[must_use]
pub fn missing_empty_line(header: &Header<'_>, octets: usize) -> Option<usize> {
    (header.end == header.body && header.end < octets).then_some(header.end)
}

/// What is changed of a message before anybody else sees it.
#[derive(Debug, Default)]
pub struct Change {
    /// Fields that go before it.
    pub front: Vec<u8>,
    /// What is cut out, in ascending order.
    pub unwanted: Vec<Range<usize>>,
    /// Where an empty line goes: behind all that is cut out.
    pub empty_line: Option<usize>,
}

impl Change {
    /// The changed message. Nothing is copied where nothing is to be changed.
    ///
    /// # Errors
    /// What the kernel says of a spill file, which lies in `spool`.
    pub fn apply(&self, content: &Content, spool: &Path) -> io::Result<Content> {
        if self.front.is_empty() && self.unwanted.is_empty() && self.empty_line.is_none() {
            return Ok(content.clone());
        }
        let mut writer = ContentWriter::new(spool.to_owned());
        writer.push(&self.front)?;
        let mut reader = content.reader();
        let mut at = 0;
        for range in &self.unwanted {
            writer.push_all(&mut (&mut reader).take((range.start - at) as u64))?;
            reader.skip(range.len() as u64);
            at = range.end;
        }
        if let Some(place) = self.empty_line {
            writer.push_all(&mut (&mut reader).take((place - at) as u64))?;
            writer.push(b"\n")?;
        }
        writer.push_all(&mut reader)?;
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::header;

    #[test]
    fn nobody_else_speaks_in_our_name() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (message, wanted) in [
            ("Authentication-Results: mx.example; dmarc=pass\nA: b\n\nbody", "A: b\n\nbody"),
            (
                "A: b\nauthentication-RESULTS :\n (x)\n MX.EXAMPLE 1; dmarc=pass\nReturn-Path: <x>\nC: d\n",
                "A: b\nC: d\n",
            ),
            ("Authentication-Results: (mx.example; x\nA: b\n", "A: b\n"),
            (
                "Authentication-Results: other.example; mx.example\n",
                "Authentication-Results: other.example; mx.example\n",
            ),
            ("Received-SPF: pass (mx.example: x)\n", "Received-SPF: pass (mx.example: x)\n"),
            ("ARC-Authentication-Results: i=1; mx.example; x\n", "ARC-Authentication-Results: i=1; mx.example; x\n"),
            ("A: b\n\nAuthentication-Results: mx.example\n", "A: b\n\nAuthentication-Results: mx.example\n"),
        ] {
            let header = header::read(message.as_bytes()).expect("small");
            let content = Content::from_bytes(message.as_bytes().to_vec());
            let ranges = unwanted(&header, Dispatch::Reception, "mx.example");
            let rest = Change { front: Vec::new(), unwanted: ranges, empty_line: None }
                .apply(&content, folder.path())
                .expect("in memory");
            assert_eq!(rest.head(1000).expect("in memory"), wanted.as_bytes(), "{message:?}");
        }
    }

    #[test]
    fn fields_are_cut_out() {
        let folder = tempfile::tempdir().expect("temporary folder");
        for (message, dispatch, wanted) in [
            ("Bcc: a\nA: b\n\nbody", Dispatch::Submission, "A: b\n\nbody"),
            ("A: b\nbcc: a,\n c\n\nbody", Dispatch::Submission, "A: b\n\nbody"),
            ("A: b\nBcc: a\nReturn-path: <x>\n", Dispatch::Submission, "A: b\n"),
            ("A: b\nBcc: a\nReturn-path: <x>\n", Dispatch::Reception, "A: b\nBcc: a\n"),
            ("Resent-Bcc: a\n\nBcc: in the body\n", Dispatch::Submission, "\nBcc: in the body\n"),
            ("A: b\nBcc: a\n\n", Dispatch::Trusted, "A: b\n\n"),
        ] {
            let header = header::read(message.as_bytes()).expect("small");
            let content = Content::from_bytes(message.as_bytes().to_vec());
            let ranges = unwanted(&header, dispatch, "mx.example");
            let rest = Change { front: Vec::new(), unwanted: ranges, empty_line: None }
                .apply(&content, folder.path())
                .expect("in memory");
            assert_eq!(rest.head(1000).expect("in memory"), wanted.as_bytes(), "{message:?}");
        }
    }
}
