//! Which UIDs went away, and when: what VANISHED (EARLIER) tells a client that was away (RFC 7162 §3.2.10.1).
//!
//! Bounded by [`EXPUNGED_RUNS`]: what is older is forgotten, and whoever asks from before then is told so.

use std::collections::VecDeque;

use crate::mail::ids::Uid;
use crate::mail::limits::EXPUNGED_RUNS;

/// Neighbouring UIDs that went away at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// When.
    pub(super) modseq: u64,
    /// The first.
    pub(super) first: Uid,
    /// The last; those between that were never there do no harm.
    pub(super) last: Uid,
}

/// The UIDs that went away after a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vanished {
    /// These, first and last of each run, by ascending UID. UIDs that were gone before may be among them.
    These(Vec<(Uid, Uid)>),
    /// Too long ago to know: every UID that is not there may be one.
    Unknown,
}

/// What is remembered of expunges.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Expunged {
    /// By ascending mod-sequence.
    runs: VecDeque<Run>,
    /// All that went away after this mod-sequence is remembered.
    complete_after: u64,
}

impl Expunged {
    /// Nothing is known from before `modseq`.
    pub(super) fn after(modseq: u64) -> Self {
        Self { runs: VecDeque::new(), complete_after: modseq }
    }

    /// As it was written down; `None` where it cannot have been.
    pub(super) fn from_parts(complete_after: u64, runs: Vec<Run>) -> Option<Self> {
        let sound = runs.iter().all(|run| run.first <= run.last && run.modseq >= complete_after)
            && runs.is_sorted_by_key(|run| run.modseq)
            && runs.len() <= EXPUNGED_RUNS;
        sound.then(|| Self { runs: runs.into(), complete_after })
    }

    /// The mod-sequence from which on all is known, and the runs.
    pub(super) fn parts(&self) -> (u64, impl ExactSizeIterator<Item = &Run>) {
        (self.complete_after, self.runs.iter())
    }

    /// These went away, by ascending UID, at a mod-sequence above all before. `neighbours`: whether nothing that is
    /// still there lies between two UIDs.
    pub(super) fn add(&mut self, modseq: u64, uids: &[Uid], neighbours: impl Fn(Uid, Uid) -> bool) {
        let mut open: Option<Run> = None;
        for uid in uids {
            open = match open {
                Some(run) if neighbours(run.last, *uid) => Some(Run { last: *uid, ..run }),
                Some(run) => {
                    self.push(run);
                    Some(Run { modseq, first: *uid, last: *uid })
                }
                None => Some(Run { modseq, first: *uid, last: *uid }),
            };
        }
        if let Some(run) = open {
            self.push(run);
        }
    }

    /// One more run, at the mod-sequence of the last or above.
    pub(super) fn push(&mut self, run: Run) {
        if self.runs.len() >= EXPUNGED_RUNS
            && let Some(oldest) = self.runs.pop_front()
        {
            self.complete_after = oldest.modseq;
        }
        self.runs.push_back(run);
    }

    /// What went away after `modseq`.
    pub(super) fn since(&self, modseq: u64) -> Vanished {
        if modseq < self.complete_after {
            return Vanished::Unknown;
        }
        let later = self.runs.partition_point(|run| run.modseq <= modseq);
        let mut runs: Vec<(Uid, Uid)> = self.runs.range(later..).map(|run| (run.first, run.last)).collect();
        runs.sort_unstable();
        Vanished::These(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(n: u32) -> Uid {
        Uid::new(n).expect("not zero")
    }

    fn uids(numbers: &[u32]) -> Vec<Uid> {
        numbers.iter().copied().map(uid).collect()
    }

    #[test]
    fn tells_what_went_away_since() {
        let mut expunged = Expunged::after(10);
        // 4 was gone before, 7 is still there.
        expunged.add(20, &uids(&[2, 3, 5, 8]), |a, b| !(a.get() < 7 && b.get() > 7));
        expunged.add(30, &uids(&[1]), |_, _| true);
        let these = |runs: &[(u32, u32)]| Vanished::These(runs.iter().map(|(a, b)| (uid(*a), uid(*b))).collect());
        assert_eq!(expunged.since(9), Vanished::Unknown);
        assert_eq!(expunged.since(10), these(&[(1, 1), (2, 5), (8, 8)]));
        assert_eq!(expunged.since(20), these(&[(1, 1)]));
        assert_eq!(expunged.since(30), these(&[]));
    }

    #[test]
    fn forgets_the_oldest_and_says_so() {
        let mut expunged = Expunged::after(0);
        for n in 1..=u32::try_from(EXPUNGED_RUNS).expect("fits") + 2 {
            expunged.add(u64::from(n), &uids(&[2 * n]), |_, _| true);
        }
        assert_eq!(expunged.since(1), Vanished::Unknown);
        assert!(matches!(expunged.since(2), Vanished::These(runs) if runs.len() == EXPUNGED_RUNS));
        let (complete_after, runs) = expunged.parts();
        assert_eq!(Expunged::from_parts(complete_after, runs.copied().collect()), Some(expunged.clone()));
        let run = Run { modseq: 5, first: uid(2), last: uid(1) };
        assert_eq!(Expunged::from_parts(0, vec![run]), None);
    }
}
