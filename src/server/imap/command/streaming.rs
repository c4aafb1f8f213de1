//! Large texts of messages, sent from their files piece by piece.
//!
//! The message as a whole, or its body, is not in memory, but for its header, which is all of it where no empty line
//! ends it. To find a part, it is in memory as a whole for as long as that takes, one large message at a time for all
//! sessions that fetch; then the part is sent from the file too. Texts that are not in the file as they stand, because
//! the file is compressed or the part decoded, are not sent from here.
//!
//! What a session holds meanwhile is an open file and one piece, never a lock: whoever changes, moves or deletes the
//! message waits for nobody, and the file stays readable to the end. How long a literal is was counted in the same open
//! file, because names and records can be wrong about it. If less comes out of the file afterwards, somebody has cut it
//! under us: what was announced cannot be kept any more, and the connection ends.
//!
//! Knows nothing of the rest of an answer.

use std::io;
use std::io::Read;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tokio::sync::Semaphore;
use tokio::sync::SemaphorePermit;

use crate::mail::ids::Uid;
use crate::mail::limits::IMAP_PIECE_OCTETS;
use crate::mail::limits::IMAP_STREAMED_OCTETS;
use crate::mail::limits::SEARCH_WHOLE_OCTETS;
use crate::mail::line_feeds;
use crate::message::wire::WireRange;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::mask_nul;
use crate::protocol::imap::syntax::fetch::FetchItem;
use crate::protocol::imap::syntax::fetch::Section;
use crate::protocol::imap::syntax::fetch::SectionText;
use crate::server::imap::wire::End;
use crate::server::imap::wire::Wire;
use crate::store::MessageFile;
use crate::store::PlainFile;

/// Where in the file a text begins that goes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Message,
    Body,
}

/// The text that an item asks for, where that is one from some place of the file to its end, and its range.
fn text_of(item: &FetchItem) -> Option<(Start, u64, u64)> {
    let (text, numbers, partial) = match item {
        FetchItem::Rfc822(text) => (text, &[][..], None),
        FetchItem::Section { section: Section { numbers, text }, partial, .. } => (text, numbers.as_slice(), *partial),
        _ => return None,
    };
    let (from, len) = partial.unwrap_or((0, u64::MAX));
    match text {
        _ if !numbers.is_empty() => None,
        SectionText::All => Some((Start::Message, from, len)),
        SectionText::Text => Some((Start::Body, from, len)),
        SectionText::Header | SectionText::Mime | SectionText::Fields { .. } => None,
    }
}

/// Whether this item of a large message can be sent from its file.
pub(super) fn is_streamed(item: &FetchItem) -> bool {
    text_of(item).is_some()
}

/// Whether a message is large, and in a file that has its text as it stands.
pub(super) fn is_large(file: &MessageFile) -> bool {
    file.plain_len().is_some_and(|octets| octets > IMAP_STREAMED_OCTETS)
}

/// Room for one large message at a time, whoever asks: its parts are found in it, and sent from the file. Sessions wait
/// for it, never the threads that read.
static ROOM: Semaphore = Semaphore::const_new(1);

/// The memory of the room, for whoever has it.
static MEMORY: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The right to have a large message in memory.
pub(super) type Room = SemaphorePermit<'static>;

/// Waits for room.
pub(super) async fn room() -> Option<Room> {
    // Nobody closes it.
    ROOM.acquire().await.ok()
}

/// What was read of a message.
#[derive(Debug)]
pub(super) enum Text {
    /// In memory of its own.
    Own(Vec<u8>),
    /// A large message, in the room that is there for one.
    Room(Turn),
}

impl Text {
    /// Reads a message; a large one where there is room for it, or who reads has it already. `None` where not.
    ///
    /// # Errors
    /// What reading says.
    pub(super) fn read(file: &mut MessageFile, room: &mut Option<Room>) -> io::Result<Option<Self>> {
        if file.plain_len().is_some_and(|octets| octets > SEARCH_WHOLE_OCTETS as u64) {
            let Some(room) = room.take().or_else(|| ROOM.try_acquire().ok()) else { return Ok(None) };
            let memory = std::mem::take(&mut *MEMORY.lock().unwrap_or_else(PoisonError::into_inner));
            let mut turn = Turn { text: memory, _room: room };
            file.read_to_end(&mut turn.text)?;
            return Ok(Some(Self::Room(turn)));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(Some(Self::Own(text)))
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(text) => text,
            Self::Room(turn) => &turn.text,
        }
    }
}

/// The turn to use the room for a large message.
#[derive(Debug)]
pub(super) struct Turn {
    text: Vec<u8>,
    _room: Room,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.text.clear();
        // Not all of it: what is left keeps the allocator from taking each message's memory from another arena.
        self.text.shrink_to(IMAP_PIECE_OCTETS);
        *MEMORY.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut self.text);
    }
}

/// A literal whose octets are in a file.
#[derive(Debug)]
pub(super) struct Literal {
    file: Arc<PlainFile>,
    uid: Uid,
    /// Octets of the answer before those of the literal.
    at: usize,
    /// Place in the file where reading begins.
    place: u64,
    range: WireRange,
}

/// Where counting came to in a message, so that a client which fetches it chunk by chunk does not have all before its
/// chunk counted each time. A message under a UID never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server::imap) struct Mark {
    uid: Uid,
    /// Where in the file the text begins.
    start: u64,
    counted: Counted,
}

/// So much of a text has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    /// Place in the file.
    place: u64,
    /// Octets of the wire form before it.
    passed: u64,
    /// The octet before it.
    previous: u8,
}

impl Counted {
    const fn nothing(start: u64) -> Self {
        Self { place: start, passed: 0, previous: 0 }
    }
}

/// The texts that are asked for of one large message.
#[derive(Debug)]
pub(super) struct Large {
    file: Arc<PlainFile>,
    uid: Uid,
    /// Counted, but not yet announced, in the order of the items; those that are small in memory already.
    counted: std::vec::IntoIter<(Literal, Option<Vec<u8>>)>,
    announced: Vec<Literal>,
}

impl Large {
    /// Counts what the items ask for, from the mark on where that is before it, and moves the mark. The header has so
    /// many octets.
    ///
    /// # Errors
    /// What reading says.
    pub(super) fn count(
        file: MessageFile,
        uid: Uid,
        header: usize,
        items: &[FetchItem],
        mark: &mut Option<Mark>,
    ) -> io::Result<Option<Self>> {
        let Some(file) = file.into_plain().map(Arc::new) else { return Ok(None) };
        let mut literals = Vec::new();
        for (start, from, len) in items.iter().filter_map(text_of) {
            let start = if start == Start::Message { 0 } else { header as u64 };
            let usable = mark.filter(|mark| (mark.uid, mark.start) == (uid, start) && mark.counted.passed <= from);
            let mut counted = usable.map_or(Counted::nothing(start), |mark| mark.counted);
            let (place, range) = find(|at, buffer| file.read_at(at, buffer), &mut counted, from, len)?;
            *mark = Some(Mark { uid, start, counted });
            let mut literal = Literal { file: Arc::clone(&file), uid, at: 0, place, range };
            let is_small = literal.range.left <= IMAP_STREAMED_OCTETS;
            let small = if is_small { Some(octets(&mut literal)?) } else { None };
            literals.push((literal, small));
        }
        Ok(Some(Self { file, uid, counted: literals.into_iter(), announced: Vec::new() }))
    }

    /// For a message that is in memory: its parts are sent from the file all the same, so that it need not stay there.
    pub(super) fn in_memory(file: MessageFile, uid: Uid) -> Option<Self> {
        let file = file.into_plain().map(Arc::new)?;
        Some(Self { file, uid, counted: Vec::new().into_iter(), announced: Vec::new() })
    }

    /// As [`Large::announce`], for a part of a text that is in memory; `false` where it is small enough to be sent from
    /// there, or no part of that text.
    pub(super) fn announce_part(&mut self, out: &mut Output, text: &[u8], part: &[u8], from: u64, len: u64) -> bool {
        let start = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
        let is_part = start.checked_add(part.len()).is_some_and(|end| end <= text.len());
        if !is_part || len.min(part.len() as u64) <= IMAP_STREAMED_OCTETS {
            return false;
        }
        let read_at = |at: u64, buffer: &mut [u8]| {
            let rest = part.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
            let n = rest.len().min(buffer.len());
            buffer[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        };
        let Ok((place, range)) = find(read_at, &mut Counted::nothing(0), from, len) else { return false };
        let place = start as u64 + place;
        self.announce_literal(out, Literal { file: Arc::clone(&self.file), uid: self.uid, at: 0, place, range });
        true
    }

    /// Writes the literal that answers an item, where it was counted; of a large one the head, and [`send`] sends what
    /// it announces.
    pub(super) fn announce(&mut self, out: &mut Output, item: &FetchItem) -> bool {
        match text_of(item).and_then(|_| self.counted.next()) {
            Some((_, Some(octets))) => {
                out.raw(&format!("{{{}}}\r\n", octets.len()));
                out.append(octets);
            }
            Some((literal, None)) => self.announce_literal(out, literal),
            None => return false,
        }
        true
    }

    fn announce_literal(&mut self, out: &mut Output, mut literal: Literal) {
        out.raw(&format!("{{{}}}\r\n", literal.range.left));
        literal.at = out.len();
        self.announced.push(literal);
    }

    /// The literals that were announced.
    pub(super) fn announced(self) -> Vec<Literal> {
        self.announced
    }
}

/// Where reading has to begin for `len` octets, at most, of the wire form of a text, its octets before `from` left out;
/// and how many of them there are. What is counted already is not read; then it is all but the last piece before the
/// end of the range.
fn find(
    mut read_at: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
    counted: &mut Counted,
    from: u64,
    len: u64,
) -> io::Result<(u64, WireRange)> {
    let mut buffer = vec![0; IMAP_PIECE_OCTETS];
    let end = from.saturating_add(len);
    let mut now = *counted;
    let mut found = None;
    while now.passed < end {
        *counted = now;
        let n = read_at(now.place, &mut buffer)?;
        if n == 0 {
            break;
        }
        let mut previous = now.previous;
        let octets = n as u64 + line_feeds::alone(&buffer[..n], &mut previous);
        let passed = now.passed + octets;
        if found.is_none() && passed > from {
            found = Some((now.place, WireRange { previous: now.previous, skip: from - now.passed, left: 0 }));
        }
        now = Counted { place: now.place + n as u64, passed, previous };
    }
    let left = now.passed.saturating_sub(from).min(len);
    let (place, range) = found.unwrap_or((now.place, WireRange { previous: now.previous, skip: 0, left }));
    Ok((place, WireRange { left, ..range }))
}

/// The next piece of a literal, for the wire. An empty one says that the file is shorter than it was.
fn piece(literal: &mut Literal) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; IMAP_PIECE_OCTETS];
    let mut out = Vec::with_capacity(IMAP_PIECE_OCTETS + IMAP_PIECE_OCTETS / 16);
    // Of the first piece all may be skipped, where the file has changed.
    while out.is_empty() {
        let n = literal.file.read_at(literal.place, &mut buffer)?;
        if n == 0 {
            break;
        }
        literal.place += n as u64;
        literal.range.push(&mut out, &buffer[..n]);
    }
    mask_nul(&mut out);
    Ok(out)
}

/// All octets of a small literal.
fn octets(literal: &mut Literal) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while literal.range.left > 0 {
        let more = piece(literal)?;
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        all.extend_from_slice(&more);
    }
    Ok(all)
}

/// Sends an answer, with the literals in their places.
pub(super) async fn send(wire: &mut Wire, answer: Vec<u8>, literals: Vec<Literal>) -> Result<(), End> {
    let mut sent = 0;
    for mut literal in literals {
        wire.out.append(answer[sent..literal.at].to_vec());
        sent = literal.at;
        while literal.range.left > 0 {
            let read = tokio::task::spawn_blocking(move || {
                let read = piece(&mut literal);
                (literal, read)
            });
            let (read_on, read) = read.await.map_err(|_| End::Silent("A fetch failed"))?;
            literal = read_on;
            match read {
                Ok(octets) if !octets.is_empty() => wire.out.append(octets),
                short => {
                    let error = short.err();
                    tracing::error!(uid = %literal.uid, left = literal.range.left, ?error, "a message became shorter");
                    return Err(End::Silent("A message became shorter while it was sent"));
                }
            }
            wire.flush_if_full().await?;
        }
    }
    wire.out.append(if sent == 0 { answer } else { answer[sent..].to_vec() });
    wire.flush_if_full().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::wire::push_wire_range;
    use crate::protocol::imap::syntax::cursor::Cursor;
    use crate::protocol::imap::syntax::fetch::fetch_items;

    /// Reads of a text that give `most` octets at once.
    fn reader(text: &[u8], most: usize) -> impl Fn(u64, &mut [u8]) -> io::Result<usize> {
        move |at, buffer| {
            let rest = text.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
            let n = rest.len().min(most).min(buffer.len());
            buffer[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }
    }

    #[test]
    fn ranges_are_found_wherever_the_pieces_end() {
        // LF, CRLF, CR alone, twice over, at the start, and no end to the last line.
        let text = b"\na\nbc\r\n\r\n\n\rd\r\r\ne\0f\r";
        for start in [0, 1, 3] {
            let from_start = &text[start..];
            for most in 1..=text.len() {
                let read_at = reader(text, most);
                for from in 0..=text.len() as u64 + 8 {
                    for len in [0, 1, 2, 3, 7, u64::MAX] {
                        let mut expected = Vec::new();
                        push_wire_range(&mut expected, from_start, from, len);
                        let (mut place, mut range) =
                            find(&read_at, &mut Counted::nothing(start as u64), from, len).expect("memory");
                        assert_eq!(range.left, expected.len() as u64, "{start} {most} {from} {len}");
                        let mut out = Vec::new();
                        while range.left > 0 {
                            let mut buffer = [0; 64];
                            let n = read_at(place, &mut buffer).expect("memory");
                            assert!(n > 0, "{start} {most} {from} {len}");
                            place += n as u64;
                            range.push(&mut out, &buffer[..n]);
                        }
                        assert_eq!(out, expected, "{start} {most} {from} {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn reading_begins_near_the_range_and_counting_ends_behind_it() {
        let text = b"0123456\n".repeat(100);
        let farthest = std::cell::Cell::new(0);
        let read_at = |at: u64, buffer: &mut [u8]| {
            farthest.set(farthest.get().max(at));
            reader(&text, 8)(at, buffer)
        };
        let mut counted = Counted::nothing(0);
        let (place, range) = find(read_at, &mut counted, 91, 10).expect("memory");
        assert_eq!((place, range), (80, WireRange { previous: b'\n', skip: 1, left: 10 }));
        assert_eq!(farthest.get(), 88);
        // The next chunk is counted from the last piece of this one on.
        assert_eq!(counted, Counted { place: 88, passed: 99, previous: b'\n' });
        let nearest = std::cell::Cell::new(u64::MAX);
        let read_at = |at: u64, buffer: &mut [u8]| {
            nearest.set(nearest.get().min(at));
            reader(&text, 8)(at, buffer)
        };
        let (place, range) = find(read_at, &mut counted, 101, 10).expect("memory");
        assert_eq!((place, range), (88, WireRange { previous: b'\n', skip: 2, left: 10 }));
        assert_eq!(nearest.get(), 88);
    }

    #[test]
    fn chunks_are_the_same_from_a_mark_as_from_the_start() {
        let text = b"\na\nbc\r\n\r\n\n\rd\r\r\ne\0f\r";
        for most in 1..=text.len() {
            for chunk in 1..=text.len() as u64 {
                let mut counted = Counted::nothing(0);
                for from in (0..=text.len() as u64 + 8).step_by(usize::try_from(chunk).expect("small")) {
                    assert!(counted.passed <= from);
                    let marked = find(reader(text, most), &mut counted, from, chunk).expect("memory");
                    let anew = find(reader(text, most), &mut Counted::nothing(0), from, chunk).expect("memory");
                    assert_eq!(marked, anew, "{most} {chunk} {from}");
                }
            }
        }
    }

    #[test]
    fn what_is_streamed() {
        let streamed = |text: &str| {
            let items = fetch_items(&mut Cursor::new(text.as_bytes(), 50)).expect("valid");
            items.iter().filter_map(text_of).collect::<Vec<_>>()
        };
        let all = u64::MAX;
        assert_eq!(streamed("(UID FLAGS BODY.PEEK[])"), [(Start::Message, 0, all)]);
        assert_eq!(streamed("(RFC822 RFC822.TEXT)"), [(Start::Message, 0, all), (Start::Body, 0, all)]);
        assert_eq!(streamed("BODY[TEXT]<10.20>"), [(Start::Body, 10, 20)]);
        assert_eq!(streamed("(BODY[1] BODY[HEADER] BODY[1.TEXT] RFC822.HEADER BODYSTRUCTURE)"), []);
    }
}
