//! Sequence sets (RFC 3501 §9 `sequence-set`): of sequence numbers, or of UIDs; or `$`, what a SEARCH saved (RFC 5182).

use crate::mail::limits::IMAP_SET_ITEMS;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;

/// A set as it was written; `*` and `$` are not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceSet(Written);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Written {
    Items(Vec<(Bound, Bound)>),
    /// `$` (RFC 5182 §3 `seq-last-command`).
    Saved,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Number(u32),
    Star,
}

/// A set of numbers: ranges in order, apart from each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<(u32, u32)>);

impl SequenceSet {
    /// Reads a set.
    ///
    /// # Errors
    /// It is none, or has more than [`IMAP_SET_ITEMS`] items.
    pub fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        if cursor.take(b'$') {
            return Ok(Self(Written::Saved));
        }
        let mut items = Vec::new();
        loop {
            let from = bound(cursor)?;
            let to = if cursor.take(b':') { bound(cursor)? } else { from };
            if items.len() >= IMAP_SET_ITEMS {
                return Err(SyntaxError::Limit("too many items in a sequence set"));
            }
            items.push((from, to));
            if !cursor.take(b',') {
                return Ok(Self(Written::Items(items)));
            }
        }
    }

    /// Whether it is `$`: the messages that a SEARCH saved, whether numbers or UIDs are spoken of.
    #[must_use]
    pub fn is_saved(&self) -> bool {
        self.0 == Written::Saved
    }

    /// Whether it names a sequence number beyond `count`, or any of an empty mailbox; RFC 3501 §9 `seq-number` has such
    /// commands answered with BAD. `$` names what was there.
    #[must_use]
    pub fn exceeds(&self, count: u32) -> bool {
        let beyond = |bound: &Bound| match bound {
            Bound::Number(n) => *n > count,
            Bound::Star => count == 0,
        };
        match &self.0 {
            Written::Items(items) => items.iter().any(|(a, b)| beyond(a) || beyond(b)),
            Written::Saved => false,
        }
    }

    /// The numbers it means where `*` is `largest`; nothing where there is none, because the mailbox is empty. For `$`,
    /// which has no numbers of its own ([`SequenceSet::is_saved`]), nothing.
    #[must_use]
    pub fn resolve(&self, largest: Option<u32>) -> Ranges {
        let (Some(largest), Written::Items(items)) = (largest, &self.0) else { return Ranges::default() };
        let number = |bound: Bound| match bound {
            Bound::Number(n) => n,
            Bound::Star => largest,
        };
        let mut ranges: Vec<(u32, u32)> = items
            .iter()
            .map(|(a, b)| (number(*a), number(*b)))
            // RFC 3501 §9: `4:2` is `2:4`, and so `5:*` has the last message even where it is 3.
            .map(|(a, b)| (a.min(b), a.max(b)))
            .collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (from, to) in ranges {
            match merged.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        Ranges(merged)
    }
}

fn bound(cursor: &mut Cursor<'_>) -> Parsed<Bound> {
    if cursor.take(b'*') { Ok(Bound::Star) } else { cursor.nz_number().map(Bound::Number) }
}

impl Ranges {
    /// Whether `n` is in it.
    #[must_use]
    pub fn contains(&self, n: u32) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= n);
        after.checked_sub(1).is_some_and(|at| self.0[at].1 >= n)
    }

    /// From numbers in ascending order.
    #[must_use]
    pub fn from_ascending(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for n in numbers {
            match ranges.last_mut() {
                Some(last) if last.1.checked_add(1) == Some(n) => last.1 = n,
                _ => ranges.push((n, n)),
            }
        }
        Self(ranges)
    }

    /// From first and last numbers, in order and apart from each other.
    #[must_use]
    pub fn from_runs(runs: impl IntoIterator<Item = (u32, u32)>) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (from, to) in runs {
            match ranges.last_mut() {
                Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
                _ => ranges.push((from, to)),
            }
        }
        Self(ranges)
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some((from, to)), Some((other_from, other_to))) = (a.peek(), b.peek()) {
            let (low, high) = (*from.max(other_from), *to.min(other_to));
            if low <= high {
                both.push((low, high));
            }
            if to < other_to {
                a.next()
            } else {
                b.next()
            };
        }
        Self(both)
    }

    /// What is in this one and not among `numbers`, which ascend.
    #[must_use]
    pub fn without(&self, numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut numbers = numbers.into_iter().peekable();
        let mut rest = Vec::new();
        for (from, to) in &self.0 {
            // What is left of this range; `None` once nothing is.
            let mut from = Some(*from);
            while numbers.next_if(|n| from.is_some_and(|from| *n < from)).is_some() {}
            while let (Some(start), Some(n)) = (from, numbers.next_if(|n| n <= to)) {
                if start < n {
                    rest.push((start, n - 1));
                }
                from = n.checked_add(1).filter(|next| next <= to);
            }
            rest.extend(from.map(|from| (from, *to)));
        }
        Self(rest)
    }

    /// As a `uid-set` (RFC 4315 §4).
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().map(|range| range_text(*range)).collect::<Vec<_>>().join(",")
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One item of a set.
#[must_use]
pub fn range_text((from, to): (u32, u32)) -> String {
    if from == to { from.to_string() } else { format!("{from}:{to}") }
}

/// Numbers in any order, as items of a set that name them in this order: each run of numbers that grow by one is one
/// item. RFC 5267 §3.2: a range stands for ascending numbers only.
pub fn runs(numbers: impl IntoIterator<Item = u32>) -> impl Iterator<Item = (u32, u32)> {
    let mut numbers = numbers.into_iter().peekable();
    std::iter::from_fn(move || {
        let from = numbers.next()?;
        let mut to = from;
        while let Some(next) = numbers.next_if(|n| to.checked_add(1) == Some(*n)) {
            to = next;
        }
        Some((from, to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        for (text, largest, expected) in [
            ("1", Some(9), "1"),
            ("1,3,2", Some(9), "1:3"),
            ("4:2", Some(9), "2:4"),
            ("5:*", Some(3), "3:5"),
            ("*", Some(3), "3"),
            ("*:*", Some(3), "3"),
            ("1:*", None, ""),
            ("1:5,3:9,20", Some(9), "1:9,20"),
            ("1:4294967295", Some(9), "1:4294967295"),
            ("4294967295,4294967294,*", Some(1), "1,4294967294:4294967295"),
        ] {
            let mut cursor = Cursor::new(text.as_bytes(), 1);
            let set = SequenceSet::parse(&mut cursor).expect(text);
            assert!(cursor.is_end());
            assert_eq!(set.resolve(largest).to_text(), expected, "{text}");
        }
        for bad in ["", "0", "a", "1:", "1:$", ":1", "1,,2", "4294967296", "1:0"] {
            let mut cursor = Cursor::new(bad.as_bytes(), 1);
            assert!(SequenceSet::parse(&mut cursor).is_err(), "{bad}");
        }
        let many = vec!["1"; IMAP_SET_ITEMS + 1].join(",");
        assert!(matches!(SequenceSet::parse(&mut Cursor::new(many.as_bytes(), 1)), Err(SyntaxError::Limit(_))));
    }

    #[test]
    fn what_was_saved_has_no_numbers() {
        let mut cursor = Cursor::new(b"$ x", 1);
        let set = SequenceSet::parse(&mut cursor).expect("valid");
        assert!(set.is_saved() && set.resolve(Some(9)).is_empty() && cursor.take(b' '));
        assert!(!SequenceSet::parse(&mut Cursor::new(b"*", 1)).expect("valid").is_saved());
    }

    #[test]
    fn differences_and_what_is_common() {
        let set = |mask: u32| Ranges::from_ascending((1..=7).filter(|n| mask >> (n - 1) & 1 == 1));
        let numbers = |mask: u32| (1..=7).filter(move |n| mask >> (n - 1) & 1 == 1);
        for a in 0_u32..128 {
            for b in 0_u32..128 {
                assert_eq!(set(a).intersection(&set(b)), set(a & b), "{a} {b}");
                assert_eq!(set(a).without(numbers(b)), set(a & !b), "{a} {b}");
            }
        }
        let all = Ranges::from_runs([(1, u32::MAX)]);
        assert_eq!(all.without([1, u32::MAX]).to_text(), "2:4294967294");
        assert_eq!(Ranges::from_runs([(1, 2), (3, 4), (4, 9), (11, 11)]).to_text(), "1:9,11");
    }

    #[test]
    fn runs_keep_the_order() {
        for (numbers, expected) in [
            (&[][..], ""),
            (&[7], "7"),
            (&[1, 2, 3, 7], "1:3,7"),
            (&[3, 2, 1], "3,2,1"),
            (&[5, 6, 2, 3, 3], "5:6,2:3,3"),
            (&[u32::MAX, 1], "4294967295,1"),
        ] {
            let items: Vec<String> = runs(numbers.iter().copied()).map(range_text).collect();
            assert_eq!(items.join(","), expected);
        }
    }

    #[test]
    fn membership() {
        let ranges = SequenceSet::parse(&mut Cursor::new(b"2:4,7,9:11", 1)).expect("valid").resolve(Some(20));
        let inside: Vec<u32> = (0..14).filter(|n| ranges.contains(*n)).collect();
        assert_eq!(inside, [2, 3, 4, 7, 9, 10, 11]);
        assert_eq!(Ranges::from_ascending(inside), ranges);
    }
}
