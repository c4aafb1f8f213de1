//! The journal of a mailbox: what has changed since its index was written, so that mod-sequences and expunges survive
//! a crash of the server.
//!
//! ```text
//! "facteur journal1"
//! section: generation of the index, which start of the machine
//! sections: records
//! ```
//!
//! Appended without a sync, but for the first change of flags after an index: see `derived.rs` for what that gives
//! after a power cut. A torn end is passed over. Derived like the index, and nothing without it.

use crate::mail::flags::Flags;
use crate::mail::ids::Uid;

use super::expunged::Expunged;
use super::section;
use super::section::Numbers;
use super::snapshot::Message;
use super::table::Table;

const MAGIC: &[u8; 16] = b"facteur journal1";

/// Octets of records after which a section ends.
const SECTION_OCTETS: usize = 65_536;

const ADDED: u8 = 1;
const CHANGED: u8 = 2;
const GONE: u8 = 3;

/// Which start of the machine: after another one, what was not synced is lost.
pub(super) type Boot = [u8; 16];

/// Records to be appended.
#[derive(Debug, Default)]
pub(super) struct Records {
    sections: Vec<u8>,
    open: Vec<u8>,
}

impl Records {
    /// A message has come.
    pub(super) fn added(&mut self, message: &Message, name: &[u8]) {
        // A longer name is none that a file system takes.
        let Ok(len) = u16::try_from(name.len()) else { return };
        self.open.push(ADDED);
        self.open.extend_from_slice(&message.to_bytes());
        self.open.extend_from_slice(&len.to_le_bytes());
        self.open.extend_from_slice(name);
        self.close_if(SECTION_OCTETS);
    }

    /// The flags of a message have changed.
    pub(super) fn changed(&mut self, uid: Uid, flags: Flags, modseq: u64) {
        self.open.push(CHANGED);
        self.open.extend_from_slice(&uid.get().to_le_bytes());
        self.open.extend_from_slice(&flags.to_bits().to_le_bytes());
        self.open.extend_from_slice(&modseq.to_le_bytes());
        self.close_if(SECTION_OCTETS);
    }

    /// A message is gone.
    pub(super) fn gone(&mut self, uid: Uid, modseq: u64) {
        self.open.push(GONE);
        self.open.extend_from_slice(&uid.get().to_le_bytes());
        self.open.extend_from_slice(&modseq.to_le_bytes());
        self.close_if(SECTION_OCTETS);
    }

    /// Whether there is nothing to append.
    pub(super) fn is_empty(&self) -> bool {
        self.sections.is_empty() && self.open.is_empty()
    }

    /// What to append.
    pub(super) fn into_octets(mut self) -> Vec<u8> {
        self.close_if(1);
        self.sections
    }

    fn close_if(&mut self, octets: usize) {
        if self.open.len() >= octets {
            // To memory, and within the limit of a section.
            section::write(&mut self.sections, &self.open).ok();
            self.open.clear();
        }
    }
}

/// The beginning of a journal.
pub(super) fn head(generation: u64, boot: &Boot) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    // To memory, and within the limit of a section.
    section::write(&mut head, &[&generation.to_le_bytes()[..], boot].concat()).ok();
    head
}

/// A journal that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Journal<'a> {
    /// That of the index to which it belongs.
    pub(super) generation: u64,
    /// When it was begun.
    pub(super) boot: Boot,
    sections: &'a [u8],
    /// Octets before the sections.
    head: usize,
}

impl<'a> Journal<'a> {
    /// `None` for what has no beginning of a journal.
    pub(super) fn parse(octets: &'a [u8]) -> Option<Self> {
        let (head, sections) = section::split(octets.strip_prefix(MAGIC)?)?;
        let mut numbers = Numbers(head);
        let head = octets.len() - sections.len();
        Some(Self { generation: numbers.u64()?, boot: *numbers.array()?, sections, head })
    }

    /// Brings what the index said up to date, as far as the journal is whole. Returns the highest mod-sequence,
    /// and how many octets of the journal are whole.
    pub(super) fn apply(&self, table: &mut Table, expunged: &mut Expunged) -> (u64, usize) {
        let mut applied = Applied { table, expunged, gone: Vec::new(), gone_at: 0, highest: 0 };
        let mut rest = self.sections;
        while let Some((section, after)) = section::split(rest) {
            let mut numbers = Numbers(section);
            while !numbers.0.is_empty() && applied.one(&mut numbers).is_some() {}
            if !numbers.0.is_empty() {
                break;
            }
            rest = after;
        }
        applied.remove_gone();
        (applied.highest, self.head + self.sections.len() - rest.len())
    }
}

/// A journal half applied.
struct Applied<'a> {
    table: &'a mut Table,
    expunged: &'a mut Expunged,
    /// Messages that went away together, to be removed at once.
    gone: Vec<Uid>,
    gone_at: u64,
    highest: u64,
}

impl Applied<'_> {
    fn one(&mut self, numbers: &mut Numbers<'_>) -> Option<()> {
        let modseq = match numbers.array::<1>()? {
            [ADDED] => {
                let message = Message::from_bytes(numbers.array()?)?;
                let len = numbers.u16()?;
                let name = numbers.octets(len)?;
                if self.table.last_uid().is_none_or(|last| last < message.uid) {
                    self.table.push(message, name, None);
                }
                message.modseq
            }
            [CHANGED] => {
                let uid = Uid::new(numbers.u32()?)?;
                let (flags, modseq) = (Flags::from_bits(numbers.u64()?)?, numbers.u64()?);
                if let Some(place) = self.table.find(uid) {
                    self.table.change(place, |message| (message.flags, message.modseq) = (flags, modseq));
                }
                modseq
            }
            [GONE] => {
                let (uid, modseq) = (Uid::new(numbers.u32()?)?, numbers.u64()?);
                if modseq != self.gone_at || self.gone.last().is_some_and(|last| *last >= uid) {
                    self.remove_gone();
                }
                self.gone.push(uid);
                self.gone_at = modseq;
                modseq
            }
            _ => return None,
        };
        self.highest = self.highest.max(modseq);
        Some(())
    }

    fn remove_gone(&mut self) {
        let gone = std::mem::take(&mut self.gone);
        self.table.remove(&gone);
        self.expunged.add(self.gone_at, &gone, |a, b| !self.table.has_between(a, b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::expunged::Vanished;

    fn uid(n: u32) -> Uid {
        Uid::new(n).expect("not zero")
    }

    fn sample() -> Vec<u8> {
        let mut octets = head(7, &[1; 16]);
        let mut records = Records::default();
        for n in 1..=3000 {
            records.added(&Message::new(uid(n), Flags::NONE, u64::from(n)), b"1.name");
        }
        octets.extend(records.into_octets());
        let mut records = Records::default();
        records.changed(uid(2), Flags::of_letters(b"S"), 5000);
        records.gone(uid(1), 5001);
        octets.extend(records.into_octets());
        octets
    }

    #[test]
    fn what_was_written_is_applied() {
        let octets = sample();
        let journal = Journal::parse(&octets).expect("a journal");
        assert_eq!((journal.generation, journal.boot), (7, [1; 16]));
        let (mut table, mut expunged) = (Table::default(), Expunged::after(0));
        assert_eq!(journal.apply(&mut table, &mut expunged), (5001, octets.len()));
        let second = table.get(table.find(uid(2)).expect("there"));
        assert_eq!((table.len(), second.message.modseq, second.name), (2999, 5000, &b"1.name"[..]));
        assert_eq!(expunged.since(5000), Vanished::These(vec![(uid(1), uid(1))]));
        assert!(Records::default().is_empty() && Records::default().into_octets().is_empty());
    }

    #[test]
    fn cut_anywhere_it_is_what_came_before() {
        let octets = sample();
        let (mut most, mut head_seen) = (0, false);
        for cut in (0..octets.len()).step_by(64).chain(octets.len() - 100..octets.len()) {
            let Some(journal) = Journal::parse(&octets[..cut]) else {
                assert!(!head_seen);
                continue;
            };
            head_seen = true;
            let mut table = Table::default();
            journal.apply(&mut table, &mut Expunged::default());
            most = table.len().max(most);
            assert!(table.len() <= 3000);
        }
        assert_eq!(most, 3000);
    }
}
