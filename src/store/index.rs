//! The index file of a mailbox: all that is in memory, to be read at once at the next opening.
//!
//! ```text
//! "facteur index 1\n"
//! section: what holds for the mailbox as a whole
//! section: runs of expunged UIDs
//! sections: messages, so many at a time
//! ```
//!
//! Numbers are little-endian; every section has its checksum (`section.rs`). Derived: whatever is wrong with the file,
//! [`read`] gives `None` and the mailbox is read from its Maildir. Whether what it says still holds, the caller decides
//! by the stamps in it.

use std::collections::HashMap;
use std::io;
use std::io::Read;

use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;

use super::cache::CacheMark;
use super::expunged::Expunged;
use super::expunged::Run;
use super::folder::Stamp;
use super::section;
use super::section::Numbers;
use super::snapshot::Message;
use super::table::Table;
use super::uidlist::Header;

/// First octets of the file: another layout has another number.
const MAGIC: &[u8; 16] = b"facteur index 1\n";

/// Messages in a section at most.
const AT_ONCE: usize = 256;

/// The files from which an index was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamps {
    /// The folder `new/`.
    pub(super) new: Stamp,
    /// The folder `cur/`.
    pub(super) cur: Stamp,
    /// `dovecot-uidlist`.
    pub(super) list: Stamp,
}

/// What holds for the mailbox as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct General {
    /// A random number of this index, which its journal names.
    pub(super) generation: u64,
    /// That of the index before it.
    pub(super) previous: u64,
    /// First line of the UID list.
    pub(super) list: Header,
    /// Dead lines of the UID list.
    pub(super) dead: usize,
    /// The files as they were.
    pub(super) stamps: Stamps,
    /// Whether files with these stamps are as the index says; otherwise they may have changed in the same moment.
    pub(super) settled: bool,
    /// No mod-sequence is above.
    pub(super) highest_modseq: u64,
    /// In which cache file the places of the messages are.
    pub(super) cache: CacheMark,
}

/// All of an index.
#[derive(Debug)]
pub(super) struct Index {
    /// What holds for the mailbox as a whole.
    pub(super) general: General,
    /// What is remembered of expunges.
    pub(super) expunged: Expunged,
    /// The messages.
    pub(super) table: Table,
    /// Fields of lines of the UID list, where there are any.
    pub(super) fields: HashMap<Uid, Box<[u8]>>,
}

/// The beginning of an index of so many messages; the octets of its pieces follow.
pub(super) fn head(general: &General, expunged: &Expunged, messages: usize) -> io::Result<Vec<u8>> {
    let mut out = MAGIC.to_vec();
    section::write(&mut out, &general_octets(general, messages)?)?;
    let (complete_after, runs) = expunged.parts();
    let mut octets = complete_after.to_le_bytes().to_vec();
    for run in runs {
        octets.extend_from_slice(&run.modseq.to_le_bytes());
        octets.extend_from_slice(&run.first.get().to_le_bytes());
        octets.extend_from_slice(&run.last.get().to_le_bytes());
    }
    section::write(&mut out, &octets)?;
    Ok(out)
}

/// One piece of the table: a section.
pub(super) fn piece(table: &Table, piece: usize, fields: &HashMap<Uid, Box<[u8]>>) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    for entry in table.piece(piece) {
        let fields = fields.get(&entry.message.uid).map(|f| &**f).unwrap_or_default();
        octets.extend_from_slice(&entry.message.to_bytes());
        octets.extend_from_slice(&entry.cached.map_or(0, |offset| offset + 1).to_le_bytes());
        octets.extend_from_slice(&short(entry.name.len())?);
        octets.extend_from_slice(&short(fields.len())?);
        octets.extend_from_slice(entry.name);
        octets.extend_from_slice(fields);
    }
    let mut out = Vec::with_capacity(octets.len() + section::HEAD);
    section::write(&mut out, &octets)?;
    Ok(out)
}

fn short(len: usize) -> io::Result<[u8; 2]> {
    u16::try_from(len).map(u16::to_le_bytes).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn general_octets(general: &General, messages: usize) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    octets.extend_from_slice(&general.generation.to_le_bytes());
    octets.extend_from_slice(&general.previous.to_le_bytes());
    octets.extend_from_slice(&general.list.validity.get().to_le_bytes());
    octets.extend_from_slice(&general.list.next.get().to_le_bytes());
    octets.extend_from_slice(&(general.dead as u64).to_le_bytes());
    octets.extend_from_slice(&general.stamps.new.to_bytes());
    octets.extend_from_slice(&general.stamps.cur.to_bytes());
    octets.extend_from_slice(&general.stamps.list.to_bytes());
    octets.extend_from_slice(&u64::from(general.settled).to_le_bytes());
    octets.extend_from_slice(&general.highest_modseq.to_le_bytes());
    octets.extend_from_slice(&general.cache.0.to_le_bytes());
    octets.extend_from_slice(&general.cache.1.to_le_bytes());
    octets.extend_from_slice(&general.cache.2.to_le_bytes());
    octets.extend_from_slice(&(messages as u64).to_le_bytes());
    octets.extend_from_slice(&short(general.list.fields.len())?);
    octets.extend_from_slice(&general.list.fields);
    Ok(octets)
}

fn parse_general(octets: &[u8]) -> Option<(General, u64)> {
    let mut numbers = Numbers(octets);
    let general = General {
        generation: numbers.u64()?,
        previous: numbers.u64()?,
        list: Header {
            validity: UidValidity::new(numbers.u32()?)?,
            next: Uid::new(numbers.u32()?)?,
            fields: Vec::new(),
        },
        dead: usize::try_from(numbers.u64()?).ok()?,
        stamps: Stamps {
            new: Stamp::from_bytes(numbers.array()?),
            cur: Stamp::from_bytes(numbers.array()?),
            list: Stamp::from_bytes(numbers.array()?),
        },
        settled: numbers.u64()? == 1,
        highest_modseq: numbers.u64()?,
        cache: (numbers.u64()?, numbers.u64()?, numbers.u64()?),
    };
    let messages = numbers.u64()?;
    let len = numbers.u16()?;
    let fields = numbers.octets(len)?.to_vec();
    Some((General { list: Header { fields, ..general.list }, ..general }, messages))
}

fn parse_expunged(octets: &[u8]) -> Option<Expunged> {
    let mut numbers = Numbers(octets);
    let complete_after = numbers.u64()?;
    let mut runs = Vec::new();
    while !numbers.0.is_empty() {
        let modseq = numbers.u64()?;
        runs.push(Run { modseq, first: Uid::new(numbers.u32()?)?, last: Uid::new(numbers.u32()?)? });
    }
    Expunged::from_parts(complete_after, runs)
}

/// Reads an index; `None` for whatever is not one as a whole.
pub(super) fn read(input: &mut impl Read) -> Option<Index> {
    let mut magic = [0; 16];
    input.read_exact(&mut magic).ok()?;
    if &magic != MAGIC {
        return None;
    }
    let mut buffer = Vec::new();
    if !section::read(input, &mut buffer) {
        return None;
    }
    let (general, messages) = parse_general(&buffer)?;
    if !section::read(input, &mut buffer) {
        return None;
    }
    let expunged = parse_expunged(&buffer)?;
    let (mut table, mut fields, mut last) = (Table::default(), HashMap::new(), 0);
    while (table.len() as u64) < messages {
        if !section::read(input, &mut buffer) || buffer.is_empty() {
            return None;
        }
        let mut numbers = Numbers(&buffer);
        table.begin_section(AT_ONCE, buffer.len());
        while !numbers.0.is_empty() {
            let message = Message::from_bytes(numbers.array()?)?;
            let cached = numbers.u64()?.checked_sub(1);
            let (name_len, fields_len) = (numbers.u16()?, numbers.u16()?);
            let (name, of_line) = (numbers.octets(name_len)?, numbers.octets(fields_len)?);
            if message.uid.get() <= last || message.uid >= general.list.next {
                return None;
            }
            last = message.uid.get();
            table.push(message, name, cached);
            if !of_line.is_empty() {
                fields.insert(message.uid, of_line.into());
            }
        }
    }
    (table.len() as u64 == messages).then_some(Index { general, expunged, table, fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::flags::Flags;

    fn stamp(n: u8) -> Stamp {
        Stamp::from_bytes(&[n; Stamp::OCTETS])
    }

    fn sample(messages: u32) -> Index {
        let mut table = Table::default();
        let mut fields = HashMap::new();
        for n in 1..=messages {
            let uid = Uid::new(2 * n).expect("not zero");
            let mut message = Message::new(uid, Flags::of_letters(b"Sa"), u64::from(n));
            message.set_recent(n % 2 == 0);
            message.set_date(Some(-1));
            table.push(message, format!("{n}.host,S=5:2,Sa").as_bytes(), (n % 3 == 0).then_some(u64::from(n)));
            if n % 50 == 0 {
                fields.insert(uid, b"Psaved".as_slice().into());
            }
        }
        let list = Header {
            validity: UidValidity::new(7).expect("not zero"),
            next: Uid::new(2 * messages + 1).expect("not zero"),
            fields: b"Gabc".to_vec(),
        };
        let general = General {
            generation: 1,
            previous: 2,
            list,
            dead: 3,
            stamps: Stamps { new: stamp(1), cur: stamp(2), list: stamp(3) },
            settled: true,
            highest_modseq: 99,
            cache: (4, 5, 6),
        };
        let mut expunged = Expunged::after(9);
        expunged.add(20, &[Uid::FIRST], |_, _| true);
        Index { general, expunged, table, fields }
    }

    fn octets(index: &Index) -> Vec<u8> {
        let mut out = head(&index.general, &index.expunged, index.table.len()).expect("to memory");
        for at in 0..index.table.pieces() {
            out.extend(piece(&index.table, at, &index.fields).expect("to memory"));
        }
        out
    }

    #[test]
    fn reads_what_it_writes() {
        for messages in [0, 1, 255, 256, 257, 1000] {
            let index = sample(messages);
            let again = read(&mut octets(&index).as_slice()).expect("an index");
            assert_eq!((&again.general, &again.expunged, &again.fields), (&index.general, &index.expunged, &index.fields));
            assert_eq!(again.table.messages(), index.table.messages());
            let all = |index: &Index| {
                index.table.iter().map(|e| (e.name.to_vec(), e.cached)).collect::<Vec<_>>()
            };
            assert_eq!(all(&again), all(&index));
        }
    }

    #[test]
    fn cut_anywhere_or_with_any_bit_flipped_it_is_none() {
        let whole = octets(&sample(300));
        for cut in 0..whole.len() {
            assert!(read(&mut &whole[..cut]).is_none(), "cut at {cut}");
        }
        for at in (0..whole.len()).step_by(7).chain(0..200) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(read(&mut damaged.as_slice()).is_none(), "octet {at}");
        }
    }
}
