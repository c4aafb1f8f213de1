//! The messages of one mailbox in memory, and the names of their files.
//!
//! They lie in pieces of [`PIECE`]. What sessions see ([`Messages`]) shares the pieces, so that taking a snapshot of
//! 100,000 messages and changing the flags of one cost microseconds, and nothing is held twice. A name lies beside the
//! others of its piece, for a name of its own would cost as much again. In all, a message costs some 110 octets.
//!
//! Knows no file and no lock.

use std::sync::Arc;

use crate::mail::flags::Flags;
use crate::mail::ids::Uid;

use super::snapshot::Message;

/// Messages in a piece: a change copies one, a snapshot counts them all.
const PIECE: usize = 256;

/// The messages of a mailbox at one moment, by ascending UID. Cloning costs nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    pieces: Arc<[Piece]>,
    len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    start: usize,
    messages: Arc<Vec<Message>>,
}

impl Messages {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Message> + Clone {
        self.pieces.iter().flat_map(|piece| piece.messages.iter())
    }

    /// To find many of them, one after the other.
    #[must_use]
    pub fn lookup(&self) -> Lookup<'_> {
        Lookup { messages: self, piece: 0, at: 0 }
    }

    /// The message at a place, counted from 0.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&Message> {
        let piece = self.pieces.partition_point(|piece| piece.start <= at).checked_sub(1)?;
        let piece = self.pieces.get(piece)?;
        piece.messages.get(at - piece.start)
    }

    /// The place of a message.
    #[must_use]
    pub fn position(&self, uid: Uid) -> Option<usize> {
        let piece = self.pieces.partition_point(|piece| piece.messages.first().is_some_and(|m| m.uid <= uid));
        let piece = self.pieces.get(piece.checked_sub(1)?)?;
        piece.messages.binary_search_by_key(&uid, |m| m.uid).ok().map(|at| piece.start + at)
    }
}

/// Finds messages, best by ascending UID: what follows the one before costs no search.
#[derive(Debug, Clone)]
pub struct Lookup<'a> {
    messages: &'a Messages,
    piece: usize,
    at: usize,
}

impl<'a> Lookup<'a> {
    /// The message of a UID.
    pub fn find(&mut self, uid: Uid) -> Option<&'a Message> {
        if let Some(next) = self.next_one()
            && next.uid == uid
        {
            return Some(next);
        }
        let place = self.messages.position(uid)?;
        let pieces = &self.messages.pieces;
        self.piece = pieces.partition_point(|piece| piece.start <= place).checked_sub(1)?;
        self.at = place - pieces[self.piece].start;
        self.next_one()
    }

    /// The one at the cursor, which goes on behind it.
    fn next_one(&mut self) -> Option<&'a Message> {
        let mut piece = self.messages.pieces.get(self.piece)?;
        if self.at >= piece.messages.len() {
            (self.piece, self.at) = (self.piece + 1, 0);
            piece = self.messages.pieces.get(self.piece)?;
        }
        let message = piece.messages.get(self.at)?;
        self.at += 1;
        Some(message)
    }
}

impl std::ops::Index<usize> for Messages {
    type Output = Message;

    #[expect(clippy::expect_used, reason = "what indexing means")]
    fn index(&self, at: usize) -> &Message {
        self.get(at).expect("a place within the mailbox")
    }
}

/// File names one after the other.
#[derive(Debug, Default, Clone)]
struct Names {
    octets: Vec<u8>,
    ends: Vec<u32>,
}

impl Names {
    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before] as usize)
    }

    fn get(&self, at: usize) -> &[u8] {
        &self.octets[self.start(at)..self.ends[at] as usize]
    }

    fn push(&mut self, name: &[u8]) {
        self.octets.extend_from_slice(name);
        self.ends.push(end(self.octets.len()));
    }

    fn set(&mut self, at: usize, name: &[u8]) {
        let (start, old_end) = (self.start(at), self.ends[at] as usize);
        self.octets.splice(start..old_end, name.iter().copied());
        let new_end = start + name.len();
        for end_of in &mut self.ends[at..] {
            *end_of = end(*end_of as usize - old_end + new_end);
        }
    }
}

/// A piece has at most 256 names of at most 255 octets.
fn end(octets: usize) -> u32 {
    u32::try_from(octets).unwrap_or(u32::MAX)
}

#[derive(Debug, Default)]
struct Chunk {
    start: usize,
    messages: Arc<Vec<Message>>,
    names: Names,
    /// Where the cache file has something of a message, plus one; empty while it has nothing of any.
    cached: Vec<u64>,
}

impl Chunk {
    fn set_cached(&mut self, at: usize, offset: u64) {
        if self.cached.is_empty() {
            self.cached.resize(self.messages.len(), 0);
        }
        self.cached[at] = offset + 1;
    }

    fn cached(&self, at: usize) -> Option<u64> {
        self.cached.get(at)?.checked_sub(1)
    }
}

/// A place in a [`Table`], until the table is changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    chunk: usize,
    at: usize,
}

/// One message with what sessions do not see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// What sessions see.
    pub(super) message: &'a Message,
    /// Its file.
    pub(super) name: &'a [u8],
    /// Where the cache file has something of it.
    pub(super) cached: Option<u64>,
}

/// The messages of a mailbox with their files.
#[derive(Debug, Default)]
pub(super) struct Table {
    chunks: Vec<Chunk>,
    len: usize,
}

impl Table {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What sessions see.
    pub(super) fn messages(&self) -> Messages {
        let piece = |chunk: &Chunk| Piece { start: chunk.start, messages: Arc::clone(&chunk.messages) };
        Messages { pieces: self.chunks.iter().map(piece).collect(), len: self.len }
    }

    /// Adds a message whose UID is above all others.
    pub(super) fn push(&mut self, message: Message, name: &[u8], cached: Option<u64>) {
        if self.chunks.last().is_none_or(|chunk| chunk.messages.len() >= PIECE) {
            if let Some(full) = self.chunks.last_mut() {
                full.names.octets.shrink_to_fit();
            }
            self.chunks.push(Chunk { start: self.len, ..Chunk::default() });
        }
        let Some(chunk) = self.chunks.last_mut() else { return };
        Arc::make_mut(&mut chunk.messages).push(message);
        chunk.names.push(name);
        let at = chunk.messages.len() - 1;
        if !chunk.cached.is_empty() {
            chunk.cached.push(0);
        }
        if let Some(offset) = cached {
            chunk.set_cached(at, offset);
        }
        self.len += 1;
    }

    /// So many messages will be pushed, whose names have so many octets at most: they lie in a piece of their own.
    pub(super) fn begin_section(&mut self, messages: usize, octets: usize) {
        if let Some(last) = self.chunks.last_mut() {
            last.names.octets.shrink_to_fit();
        }
        let names = Names {
            octets: Vec::with_capacity(octets.saturating_sub(messages * Message::OCTETS)),
            ends: Vec::with_capacity(messages),
        };
        let messages = Arc::new(Vec::with_capacity(messages));
        self.chunks.push(Chunk { start: self.len, messages, names, cached: Vec::new() });
    }

    /// Where a message is.
    pub(super) fn find(&self, uid: Uid) -> Option<Place> {
        let chunk = self.chunks.partition_point(|chunk| chunk.messages.first().is_some_and(|m| m.uid <= uid));
        let chunk = chunk.checked_sub(1)?;
        let at = self.chunks[chunk].messages.binary_search_by_key(&uid, |m| m.uid).ok()?;
        Some(Place { chunk, at })
    }

    /// The UID of the last message.
    pub(super) fn last_uid(&self) -> Option<Uid> {
        self.chunks.last()?.messages.last().map(|message| message.uid)
    }

    /// Whether any message lies between two UIDs, neither of which is there.
    pub(super) fn has_between(&self, low: Uid, high: Uid) -> bool {
        let chunk = self.chunks.partition_point(|chunk| chunk.messages.last().is_some_and(|m| m.uid <= low));
        let Some(chunk) = self.chunks.get(chunk) else { return false };
        let at = chunk.messages.partition_point(|m| m.uid <= low);
        chunk.messages.get(at).is_some_and(|m| m.uid < high)
    }

    /// In how many pieces they lie.
    pub(super) fn pieces(&self) -> usize {
        self.chunks.len()
    }

    /// The messages of one piece.
    pub(super) fn piece(&self, chunk: usize) -> impl Iterator<Item = Entry<'_>> {
        let len = self.chunks.get(chunk).map_or(0, |c| c.messages.len());
        (0..len).map(move |at| self.get(Place { chunk, at }))
    }

    /// A message.
    pub(super) fn get(&self, place: Place) -> Entry<'_> {
        let chunk = &self.chunks[place.chunk];
        Entry { message: &chunk.messages[place.at], name: chunk.names.get(place.at), cached: chunk.cached(place.at) }
    }

    /// All of them, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.chunks.len()).flat_map(|chunk| self.piece(chunk))
    }

    /// Changes what sessions see of a message; never its UID.
    pub(super) fn change(&mut self, place: Place, change: impl FnOnce(&mut Message)) {
        change(&mut Arc::make_mut(&mut self.chunks[place.chunk].messages)[place.at]);
    }

    /// The file of a message has another name.
    pub(super) fn rename(&mut self, place: Place, name: &[u8]) {
        self.chunks[place.chunk].names.set(place.at, name);
    }

    /// The cache file has something of a message there.
    pub(super) fn set_cached(&mut self, place: Place, offset: u64) {
        self.chunks[place.chunk].set_cached(place.at, offset);
    }

    /// The cache file is another one.
    pub(super) fn forget_cached(&mut self) {
        for chunk in &mut self.chunks {
            chunk.cached = Vec::new();
        }
    }

    /// Takes messages out; `uids` ascend.
    pub(super) fn remove(&mut self, uids: &[Uid]) {
        if uids.is_empty() {
            return;
        }
        for chunk in &mut self.chunks {
            let (Some(first), Some(last)) = (chunk.messages.first(), chunk.messages.last()) else { continue };
            let from = uids.partition_point(|uid| *uid < first.uid);
            let to = uids.partition_point(|uid| *uid <= last.uid);
            if from == to {
                continue;
            }
            let mut left = Chunk::default();
            let mut messages = Vec::with_capacity(chunk.messages.len());
            for (at, message) in chunk.messages.iter().enumerate() {
                if uids[from..to].binary_search(&message.uid).is_err() {
                    messages.push(*message);
                    left.names.push(chunk.names.get(at));
                    if !chunk.cached.is_empty() {
                        left.cached.push(chunk.cached[at]);
                    }
                }
            }
            left.messages = Arc::new(messages);
            *chunk = left;
        }
        self.chunks.retain(|chunk| !chunk.messages.is_empty());
        let mut start = 0;
        for chunk in &mut self.chunks {
            chunk.start = start;
            start += chunk.messages.len();
        }
        self.len = start;
        if self.chunks.len() > 2 * (self.len / PIECE) + 16 {
            let mut packed = Self::default();
            for entry in self.iter() {
                packed.push(*entry.message, entry.name, entry.cached);
            }
            *self = packed;
        }
    }

    /// All flags and keywords that any message has.
    pub(super) fn used_flags(&self) -> Flags {
        self.iter().fold(Flags::NONE, |all, entry| all.union(entry.message.flags))
    }

    /// Gives back what growing left over.
    pub(super) fn shrink(&mut self) {
        for chunk in &mut self.chunks {
            if let Some(messages) = Arc::get_mut(&mut chunk.messages) {
                messages.shrink_to_fit();
            }
            chunk.names.octets.shrink_to_fit();
            chunk.names.ends.shrink_to_fit();
        }
        self.chunks.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn uid(n: u32) -> Uid {
        Uid::new(n).expect("not zero")
    }

    fn message(n: u32) -> Message {
        Message::new(uid(n), Flags::NONE, u64::from(n))
    }

    fn check(table: &Table, model: &BTreeMap<u32, (u64, String)>) {
        let messages = table.messages();
        assert_eq!((table.len(), messages.len(), messages.is_empty()), (model.len(), model.len(), model.is_empty()));
        assert!(table.iter().map(|e| e.message).eq(messages.iter()));
        for (at, (n, (modseq, name))) in model.iter().enumerate() {
            let found = table.get(table.find(uid(*n)).expect("there"));
            assert_eq!((found.message.modseq, found.name), (*modseq, name.as_bytes()));
            assert_eq!((messages.position(uid(*n)), messages[at].uid.get()), (Some(at), *n));
        }
        assert_eq!(messages.get(model.len()), None);
        // In order, and with every second one asked for twice and out of order.
        let mut lookup = messages.lookup();
        for n in model.keys().chain(model.keys().rev().step_by(2)).flat_map(|n| [*n, n / 2 + 1]) {
            assert_eq!(lookup.find(uid(n)).map(|m| m.uid.get()), Some(n).filter(|n| model.contains_key(n)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn is_a_map_by_uid(steps in proptest::collection::vec((0u8..5, any::<u32>(), "[a-z]{0,20}"), 1..60)) {
            let (mut table, mut model, mut next) = (Table::default(), BTreeMap::new(), 1u32);
            for (kind, n, name) in steps {
                let known: Vec<u32> = model.keys().copied().collect();
                let one = known.get(n as usize % known.len().max(1)).copied();
                match (kind, one) {
                    (0 | 1, _) => for _ in 0..n % 300 {
                        next += 1 + n % 3;
                        table.push(message(next), name.as_bytes(), None);
                        model.insert(next, (u64::from(next), name.clone()));
                    },
                    (2, Some(one)) => {
                        let place = table.find(uid(one)).expect("there");
                        let before = table.messages();
                        table.change(place, |m| m.modseq = 7);
                        table.rename(place, name.as_bytes());
                        prop_assert!(before.iter().any(|m| m.uid.get() == one));
                        model.insert(one, (7, name));
                    }
                    (3, Some(_)) => {
                        let gone: Vec<u32> = known.into_iter().filter(|k| k % 7 < n % 7).collect();
                        table.remove(&gone.iter().copied().map(uid).collect::<Vec<_>>());
                        model.retain(|k, _| !gone.contains(k));
                    }
                    (4, Some(one)) => {
                        table.set_cached(table.find(uid(one)).expect("there"), u64::from(n));
                        prop_assert_eq!(table.get(table.find(uid(one)).expect("there")).cached, Some(u64::from(n)));
                    }
                    _ => {}
                }
                check(&table, &model);
            }
            prop_assert!(table.find(uid(next + 1)).is_none());
        }
    }

    #[test]
    fn a_snapshot_stays_as_it_was() {
        let mut table = Table::default();
        for n in 1..=1000 {
            table.push(message(n), b"name", None);
        }
        let before = table.messages();
        table.change(table.find(uid(500)).expect("there"), |m| m.modseq = 9999);
        table.remove(&[uid(1), uid(1000)]);
        assert_eq!((before.len(), before[499].modseq, table.len()), (1000, 500, 998));
    }
}
