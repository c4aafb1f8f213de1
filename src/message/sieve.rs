//! What a message cannot hold, in a few hundred octets: a set of hashes of all runs of three octets in its texts.
//!
//! A text that is looked for can be in a message only if each of its own runs is in the set. So a search that comes
//! again opens only the files of messages that may match, and stays exact: the set has hashes too many at times, never
//! too few. Texts are those of [`super::text`] in the form of [`super::casemap`]. Knows nothing of where sets are kept.

use super::casemap::Needle;

/// First octet of a set. Another one is of a time when texts were decoded or compared otherwise: with such a change this
/// one changes.
const FORMAT: u8 = 1;

/// Octets of a run.
const RUN: usize = 3;

/// Bits of a set while it is made, a power of two; as octets the largest set there is.
const BITS: usize = 1 << 16;

/// The smallest set, in octets.
const LEAST_OCTETS: usize = 16;

/// A message whose runs fill more than this share of the largest set gets none: the set would keep little out.
const FULLEST: usize = BITS / 2;

/// A set is made smaller as long as no more than so many of 100 bits are in it: a text of eight octets that is not there
/// is then taken for one that may be in two of a thousand cases.
const FILL_PERCENT: usize = 35;

/// Collects the runs of a message.
#[derive(Debug)]
pub struct SieveMaker {
    bits: Box<[u64]>,
}

impl Default for SieveMaker {
    fn default() -> Self {
        Self { bits: vec![0; BITS / 64].into_boxed_slice() }
    }
}

impl SieveMaker {
    /// Begins with another message.
    pub fn clear(&mut self) {
        self.bits.fill(0);
    }

    /// Takes in a text. A text that comes in pieces must repeat the last two octets of a piece at the start of the next.
    pub fn add(&mut self, prepared: &[u8]) {
        for run in prepared.windows(RUN) {
            let bit = hash(run) & (BITS - 1);
            self.bits[bit / 64] |= 1 << (bit % 64);
        }
    }

    /// The set of what was taken in; `None` where that is too much.
    #[must_use]
    pub fn make(&self) -> Option<Vec<u8>> {
        let mut bits: Vec<u64> = self.bits.to_vec();
        if count(&bits) > FULLEST {
            return None;
        }
        while bits.len() * 8 > LEAST_OCTETS {
            let (low, high) = bits.split_at(bits.len() / 2);
            let folded: Vec<u64> = low.iter().zip(high).map(|(a, b)| a | b).collect();
            if count(&folded) * 100 > folded.len() * 64 * FILL_PERCENT {
                break;
            }
            bits = folded;
        }
        Some(std::iter::once(FORMAT).chain(bits.iter().flat_map(|word| word.to_le_bytes())).collect())
    }
}

fn count(bits: &[u64]) -> usize {
    bits.iter().map(|word| word.count_ones() as usize).sum()
}

/// A number for a run, whose lowest bits are its place in a set of any size.
fn hash(run: &[u8]) -> usize {
    let number = run.iter().fold(0_u32, |all, octet| all << 8 | u32::from(*octet));
    // The constant is 2^32 by the golden ratio; its product is mixed in the upper half.
    (number.wrapping_mul(0x9e37_79b9) >> 16) as usize
}

/// Whether a message with this set may have the text. `true` where the set says nothing: it is none, or the text is
/// shorter than a run.
#[must_use]
pub fn may_have(sieve: &[u8], needle: &Needle) -> bool {
    let Some((&FORMAT, sieve)) = sieve.split_first() else { return true };
    let bits = sieve.len() * 8;
    if !bits.is_power_of_two() || !(LEAST_OCTETS * 8..=BITS).contains(&bits) {
        return true;
    }
    needle.prepared().windows(RUN).all(|run| {
        let bit = hash(run) & (bits - 1);
        sieve[bit / 8] & 1 << (bit % 8) != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::casemap::push_prepared;
    use proptest::prelude::*;

    fn sieve(text: &str) -> Option<Vec<u8>> {
        let mut prepared = Vec::new();
        push_prepared(text, &mut prepared);
        let mut maker = SieveMaker::default();
        maker.add(&prepared);
        maker.make()
    }

    proptest! {
        #[test]
        fn what_is_there_is_never_kept_out(text in "\\PC{0,300}", from in 0_usize..300, len in 0_usize..20) {
            let part: String = text.chars().skip(from).take(len).collect();
            let mut prepared = Vec::new();
            push_prepared(&text, &mut prepared);
            let needle = Needle::new(&part);
            prop_assert!(!needle.is_in(&prepared) || may_have(&sieve(&text).expect("short"), &needle));
        }
    }

    #[test]
    fn most_of_what_is_not_there_is_kept_out() {
        let text: String = (0..2000).map(|n| format!("word{n} ")).collect();
        let set = sieve(&text).expect("not too much");
        assert!(set.len() < text.len() / 4, "{} octets for {}", set.len(), text.len());
        let taken = (0..1000).filter(|n| may_have(&set, &Needle::new(&format!("other {n}q{n}z")))).count();
        assert!(taken < 20, "{taken} of 1000");
        assert!(may_have(&set, &Needle::new("xy")), "shorter than a run");
    }

    #[test]
    fn sets_of_any_size_and_none() {
        assert_eq!(sieve("").map(|set| set.len()), Some(LEAST_OCTETS + 1));
        assert!(!may_have(&sieve("").expect("empty"), &Needle::new("abc")));
        for broken in [0, 1, 16, 18, 25, 1 << 14] {
            let mut set = vec![0; broken];
            assert!(may_have(&set, &Needle::new("abc")), "{broken} of another format");
            set.fill(FORMAT);
            set.iter_mut().skip(1).for_each(|octet| *octet = 0);
            assert!(may_have(&set, &Needle::new("abc")), "{broken}");
        }
        let mut state = 1_u64;
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'!' + u8::try_from((state >> 33) % 90).expect("small"))
        };
        let noise: String = (0..400_000).map(|_| letter()).collect();
        assert_eq!(sieve(&noise), None);
    }
}
