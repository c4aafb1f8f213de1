//! The spool file, version 1.
//!
//! ```text
//! head     "facteur queue 1\n", then length and checksum of the envelope, then the envelope in JSON
//! content  as many octets as the envelope says
//! records  length, checksum, JSON: one per attempt, until the end of the file or a record that is not whole
//! ```
//! Lengths are 4 octets, checksums 8 (the first of SHA-256), all big-endian. A record's checksum covers the id too, so
//! that a record of another message, left behind in a file that is used again, never counts.

use std::io;
use std::io::Read;
use std::time::Duration;
use std::time::SystemTime;

use aws_lc_rs::digest;
use serde::Deserialize;
use serde::Serialize;

use super::entry::Outcome;
use super::entry::RecipientState;
use super::entry::Waiting;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::envelope::BodyKind;
use crate::mail::envelope::Demands;
use crate::mail::ids::QueueId;
use crate::mail::limits::SPOOL_ENVELOPE_OCTETS;
use crate::mail::limits::SPOOL_RECORD_OCTETS;

const MAGIC: &[u8; 16] = b"facteur queue 1\n";

/// What is written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Envelope {
    pub(super) id: String,
    /// Empty for the null path.
    pub(super) sender: String,
    pub(super) recipients: Vec<String>,
    pub(super) eight_bit: bool,
    /// Microseconds since 1970.
    pub(super) arrived: u64,
    pub(super) octets: u64,
    /// Whether nobody is told when it fails. Files of before it was written have none.
    #[serde(default)]
    pub(super) quiet: bool,
    /// Older files have none either.
    #[serde(default)]
    pub(super) demands: Demands,
    /// Nor this.
    #[serde(default)]
    pub(super) junk: Option<String>,
    /// Nor this: recipients who have it, of which the sender is to be told.
    #[serde(default)]
    pub(super) delivered: Vec<String>,
}

/// What is appended after each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) outcomes: Vec<(String, Outcome)>,
    pub(super) attempts: u32,
    /// Microseconds since 1970.
    pub(super) next: u64,
}

/// What a file says.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) waiting: Waiting,
    pub(super) body: BodyKind,
    /// Where the content begins.
    pub(super) content_at: u64,
    /// Where the last whole record ends, and the next one is written.
    pub(super) end: u64,
}

/// The head of a new file.
pub(super) fn head(envelope: &Envelope) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(envelope)?;
    if json.len() > SPOOL_ENVELOPE_OCTETS {
        return Err(io::Error::other("the envelope is too large"));
    }
    let mut head = MAGIC.to_vec();
    push_block(&mut head, "", &json)?;
    Ok(head)
}

/// A record, ready to be appended.
pub(super) fn record(id: &QueueId, record: &Record) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    push_block(&mut bytes, id.as_str(), &serde_json::to_vec(record)?)?;
    Ok(bytes)
}

fn push_block(out: &mut Vec<u8>, id: &str, json: &[u8]) -> io::Result<()> {
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&checksum(id, json));
    out.extend_from_slice(json);
    Ok(())
}

fn checksum(id: &str, json: &[u8]) -> [u8; 8] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(id.as_bytes());
    context.update(json);
    let mut first = [0; 8];
    first.copy_from_slice(&context.finish().as_ref()[..8]);
    first
}

/// Reads a file but for its content. `None` where the head is not one of ours, or damaged.
///
/// # Errors
/// What the kernel says.
pub(super) fn read(file: &mut (impl Read + io::Seek)) -> io::Result<Option<Entry>> {
    let mut magic = [0; MAGIC.len()];
    if !read_whole(file, &mut magic)? || magic != *MAGIC {
        return Ok(None);
    }
    let Some(json) = read_block(file, "", SPOOL_ENVELOPE_OCTETS)? else { return Ok(None) };
    let content_at = (MAGIC.len() + 12 + json.len()) as u64;
    let Some((mut waiting, body)) = serde_json::from_slice::<Envelope>(&json).ok().and_then(waiting) else {
        return Ok(None);
    };
    let mut end = content_at.saturating_add(waiting.octets);
    if file.seek(io::SeekFrom::End(0))? < end {
        return Ok(None);
    }
    file.seek(io::SeekFrom::Start(end))?;
    while let Some(json) = read_block(file, waiting.id.as_str(), SPOOL_RECORD_OCTETS)? {
        let Ok(record) = serde_json::from_slice::<Record>(&json) else { break };
        end += 12 + json.len() as u64;
        let outcomes = record.outcomes.into_iter().filter_map(|(a, o)| Some((Address::parse(&a).ok()?, o)));
        waiting.apply(&outcomes.collect::<Vec<_>>());
        waiting.attempts = record.attempts;
        waiting.next = time(record.next);
    }
    Ok(Some(Entry { waiting, body, content_at, end }))
}

fn waiting(envelope: Envelope) -> Option<(Waiting, BodyKind)> {
    let sender = if envelope.sender.is_empty() {
        ReversePath::Null
    } else {
        ReversePath::Address(Address::parse(&envelope.sender).ok()?)
    };
    let recipients = envelope
        .recipients
        .iter()
        .map(|r| Address::parse(r).map(|address| (address, RecipientState::Waiting { last: None, told: false })))
        .collect::<Result<Vec<_>, _>>()
        .ok()?;
    let mut waiting = Waiting {
        id: QueueId::parse(&envelope.id)?,
        sender,
        recipients,
        arrived: time(envelope.arrived),
        octets: envelope.octets,
        attempts: 0,
        next: time(envelope.arrived),
        quiet: envelope.quiet,
        demands: envelope.demands,
        junk: envelope.junk,
    };
    let delivered = envelope.delivered.iter().map(|r| Address::parse(r)).collect::<Result<Vec<_>, _>>().ok()?;
    waiting.add_delivered(delivered);
    Some((waiting, if envelope.eight_bit { BodyKind::EightBitMime } else { BodyKind::SevenBit }))
}

/// The next block; `None` where it is not whole, too long, or not of this message.
fn read_block(file: &mut impl Read, id: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    let mut sum = [0; 8];
    if !read_whole(file, &mut length)? || !read_whole(file, &mut sum)? {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > most {
        return Ok(None);
    }
    let mut json = vec![0; length];
    let whole = read_whole(file, &mut json)?;
    Ok((whole && checksum(id, &json) == sum).then_some(json))
}

/// Fills the buffer; `false` where the file ends before.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Microseconds since 1970, as files keep time.
pub(super) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn time(micros: u64) -> SystemTime {
    // A damaged number must not overflow the sum: a century from 1970 to 2070 and some more is all there is.
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros.min(10_000_000_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::envelope::Notify;
    use crate::mail::envelope::RecipientReport;
    use std::io::Cursor;

    fn demands() -> Demands {
        let mut demands = Demands { international: true, require_tls: true, ..Demands::default() };
        demands.report.envelope_id = Some("a b".to_owned());
        let said = RecipientReport { notify: Notify::Never, original: None };
        demands.report.set(&Address::parse("a@x.example").expect("valid"), said);
        demands
    }

    fn sample() -> (Vec<u8>, usize) {
        let envelope = Envelope {
            id: "abc-1".to_owned(),
            sender: "alice@example.com".to_owned(),
            recipients: vec!["a@x.example".to_owned(), "b@x.example".to_owned()],
            eight_bit: true,
            arrived: 1_800_000_000_000_000,
            octets: 6,
            quiet: true,
            demands: demands(),
            junk: Some("DMARC".to_owned()),
            delivered: Vec::new(),
        };
        let mut bytes = head(&envelope).expect("small");
        bytes.extend_from_slice(b"hello\n");
        let before_record = bytes.len();
        let outcome = Outcome::Failed { status: "5.1.1".to_owned(), why: "no such user".to_owned() };
        let attempt =
            Record { outcomes: vec![("a@x.example".to_owned(), outcome)], attempts: 1, next: 1_800_000_300_000_000 };
        let id = QueueId::parse("abc-1").expect("an id");
        bytes.extend_from_slice(&record(&id, &attempt).expect("small"));
        (bytes, before_record)
    }

    #[test]
    fn what_is_written_is_read() {
        let (bytes, _) = sample();
        let entry = read(&mut Cursor::new(&bytes)).expect("memory").expect("whole");
        assert_eq!(entry.waiting.open().map(ToString::to_string).collect::<Vec<_>>(), ["b@x.example"]);
        assert_eq!((entry.waiting.attempts, entry.body), (1, BodyKind::EightBitMime));
        assert_eq!(entry.end, bytes.len() as u64);
        assert_eq!((entry.waiting.demands, entry.waiting.junk.as_deref()), (demands(), Some("DMARC")));
        let from = usize::try_from(entry.content_at).expect("small");
        assert_eq!(&bytes[from..from + 6], b"hello\n");
    }

    #[test]
    fn who_may_not_be_told_is_written_and_older_files_know_of_nobody() {
        let (bytes, _) = sample();
        assert!(read(&mut Cursor::new(&bytes)).expect("memory").expect("whole").waiting.quiet);
        let old = r#"{"id":"a-1","sender":"","recipients":[],"eight_bit":false,"arrived":0,"octets":1}"#;
        let old = serde_json::from_str::<Envelope>(old).expect("an envelope of before");
        assert_eq!((old.quiet, old.demands, old.junk), (false, Demands::default(), None));
    }

    #[test]
    fn cut_anywhere_it_is_whole_without_the_record_or_not_at_all() {
        let (bytes, before_record) = sample();
        for cut in 0..bytes.len() {
            let entry = read(&mut Cursor::new(&bytes[..cut])).expect("memory");
            match entry {
                None => assert!(cut < before_record, "lost at {cut}"),
                Some(entry) => {
                    assert!(cut >= before_record, "torn content at {cut}");
                    assert_eq!((entry.waiting.attempts, entry.end), (0, before_record as u64));
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_never_passes_for_another_envelope() {
        let (bytes, before_record) = sample();
        let whole = read(&mut Cursor::new(&bytes)).expect("memory").expect("whole");
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x20;
            if let Some(entry) = read(&mut Cursor::new(&bad)).expect("memory") {
                assert_eq!(entry.waiting.id, whole.waiting.id);
                assert_eq!(entry.waiting.recipients.len(), 2);
                assert!(at >= before_record - 6, "flip at {at} was not seen");
            }
        }
    }

    #[test]
    fn a_record_of_another_message_does_not_count() {
        let (mut bytes, before_record) = sample();
        bytes.truncate(before_record);
        let attempt = Record { outcomes: Vec::new(), attempts: 9, next: 0 };
        bytes.extend_from_slice(&record(&QueueId::parse("abc-2").expect("an id"), &attempt).expect("small"));
        assert_eq!(read(&mut Cursor::new(&bytes)).expect("memory").expect("whole").waiting.attempts, 0);
    }
}
