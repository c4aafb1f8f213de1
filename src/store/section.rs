//! Sections of the derived files: length, checksum, octets. Whatever is in a file, reading ends in a section that was
//! written so, or in nothing.

use std::io;
use std::io::Read;
use std::io::Write;

use crate::mail::limits::INDEX_SECTION_OCTETS;

/// Octets before those of a section.
pub(super) const HEAD: usize = 8;

/// Writes a section.
pub(super) fn write(out: &mut impl Write, octets: &[u8]) -> io::Result<()> {
    let len = u32::try_from(octets.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(&checksum(octets).to_le_bytes())?;
    out.write_all(octets)
}

/// Reads a section into `buffer`; `false` where there is none that is whole.
pub(super) fn read(input: &mut impl Read, buffer: &mut Vec<u8>) -> bool {
    let mut head = [0; HEAD];
    buffer.clear();
    if input.read_exact(&mut head).is_err() {
        return false;
    }
    let Some((len, sum)) = parse_head(&head) else { return false };
    let Ok(read) = input.take(len as u64).read_to_end(buffer) else { return false };
    read == len && checksum(buffer) == sum
}

/// The section at the front of `octets`, and what comes after it.
pub(super) fn split(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = octets.split_first_chunk::<HEAD>()?;
    let (len, sum) = parse_head(head)?;
    let (section, rest) = rest.split_at_checked(len)?;
    (checksum(section) == sum).then_some((section, rest))
}

/// Length and checksum.
pub(super) fn parse_head(head: &[u8; HEAD]) -> Option<(usize, u32)> {
    let (len, sum) = head.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    (len <= INDEX_SECTION_OCTETS).then_some((len, u32::from_le_bytes(*sum.first_chunk()?)))
}

/// Not zero for no octets: a file of zeros, which a power cut can leave, is no section.
pub(super) fn checksum(octets: &[u8]) -> u32 {
    !crc32fast::hash(octets)
}

/// Takes numbers off the front of a section.
#[derive(Debug)]
pub(super) struct Numbers<'a>(pub(super) &'a [u8]);

impl<'a> Numbers<'a> {
    /// So many octets.
    pub(super) fn octets(&mut self, len: usize) -> Option<&'a [u8]> {
        let (octets, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(octets)
    }

    /// So many octets.
    pub(super) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (octets, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(octets)
    }

    /// A number of 2 octets.
    pub(super) fn u16(&mut self) -> Option<usize> {
        self.array().map(|octets| usize::from(u16::from_le_bytes(*octets)))
    }

    /// A number of 4 octets.
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(|octets| u32::from_le_bytes(*octets))
    }

    /// A number of 8 octets.
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(|octets| u64::from_le_bytes(*octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let mut file = Vec::new();
        write(&mut file, b"some octets").expect("to memory");
        write(&mut file, b"").expect("to memory");
        let mut buffer = Vec::new();
        let mut input = file.as_slice();
        assert!(read(&mut input, &mut buffer) && buffer == b"some octets");
        assert!(read(&mut input, &mut buffer) && buffer.is_empty());
        assert!(!read(&mut input, &mut buffer));
        assert!(!read(&mut [0u8; 64].as_slice(), &mut buffer), "zeros are no section");
        for at in 0..HEAD + 11 {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                assert!(!read(&mut damaged.as_slice(), &mut buffer), "bit {bit} of octet {at}");
                assert!(split(&damaged).is_none());
            }
            assert!(!read(&mut &file[..at], &mut buffer));
        }
        assert_eq!(split(&file).map(|(section, rest)| (section, rest.len())), Some((&b"some octets"[..], HEAD)));
    }

    #[test]
    fn a_length_beyond_the_limit_allocates_nothing() {
        let mut buffer = Vec::new();
        assert!(!read(&mut [0xff; 64].as_slice(), &mut buffer));
        assert!(buffer.capacity() < 1024);
    }
}
