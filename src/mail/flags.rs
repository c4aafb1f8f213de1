//! System flags and keywords of a message (RFC 3501 §2.3.2, RFC 9051 §2.3.2).
//!
//! Knows the letters a Maildir file name has for them, and how many keywords a mailbox may have; the names of the
//! keywords belong to the mailbox.

use std::fmt;

/// A set of system flags and keyword slots.
///
/// The low bits are the system flags; bits 8 to 33 are the 26 keyword slots `a` to `z` of Dovecot's Maildir names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u64);

/// A flag that IMAP defines and a Maildir name has a letter for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SystemFlag {
    /// `\Seen`, `S`.
    Seen = 0,
    /// `\Answered`, `R`.
    Answered = 1,
    /// `\Flagged`, `F`.
    Flagged = 2,
    /// `\Deleted`, `T`.
    Deleted = 3,
    /// `\Draft`, `D`.
    Draft = 4,
}

impl SystemFlag {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] = [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// The letter in a Maildir file name.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Seen => 'S',
            Self::Answered => 'R',
            Self::Flagged => 'F',
            Self::Deleted => 'T',
            Self::Draft => 'D',
        }
    }

    /// The name in IMAP, with the backslash.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
        }
    }

    /// The flag of this IMAP name, compared without case (RFC 3501 §2.3.2).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name().eq_ignore_ascii_case(name))
    }
}

/// One of the 26 keyword slots of a mailbox, `a` to `z` in a Maildir file name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeywordSlot(u8);

impl KeywordSlot {
    /// How many a mailbox has: the letters that Dovecot's Maildir names leave for them.
    pub const COUNT: u8 = 26;

    /// Slot `n`, from 0.
    #[must_use]
    pub fn new(n: u8) -> Option<Self> {
        (n < Self::COUNT).then_some(Self(n))
    }

    /// Its number, from 0 to 25.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Its letter, from `a` to `z`.
    #[must_use]
    pub fn letter(self) -> char {
        char::from(b'a' + self.0)
    }
}

impl Flags {
    const KEYWORD_SHIFT: u32 = 8;

    /// No flag at all.
    pub const NONE: Self = Self(0);

    /// Whether the flag is set.
    #[must_use]
    pub fn has(self, flag: SystemFlag) -> bool {
        self.0 & (1 << flag as u8) != 0
    }

    /// With the flag set.
    #[must_use]
    pub fn with(self, flag: SystemFlag) -> Self {
        Self(self.0 | 1 << flag as u8)
    }

    /// Whether the keyword is set.
    #[must_use]
    pub fn has_keyword(self, slot: KeywordSlot) -> bool {
        self.0 & (1 << (Self::KEYWORD_SHIFT + u32::from(slot.0))) != 0
    }

    /// With the keyword set.
    #[must_use]
    pub fn with_keyword(self, slot: KeywordSlot) -> Self {
        Self(self.0 | 1 << (Self::KEYWORD_SHIFT + u32::from(slot.0)))
    }

    /// What is in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is here and not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As one number, for files of our own.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// What [`Flags::to_bits`] gave; `None` for a number that it never gives.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        let keywords = ((1 << KeywordSlot::COUNT) - 1) << Self::KEYWORD_SHIFT;
        (bits & !(keywords | 0b1_1111) == 0).then_some(Self(bits))
    }

    /// The system flags that are set, in the order in which they are shown.
    pub fn system(self) -> impl Iterator<Item = SystemFlag> {
        SystemFlag::ALL.into_iter().filter(move |f| self.has(*f))
    }

    /// Whether any keyword is set.
    #[must_use]
    pub fn has_keywords(self) -> bool {
        self.0 >> Self::KEYWORD_SHIFT != 0
    }

    /// The keyword slots that are set, in order.
    pub fn keywords(self) -> impl Iterator<Item = KeywordSlot> {
        (0..KeywordSlot::COUNT).map(KeywordSlot).filter(move |k| self.has_keyword(*k))
    }

    /// Reads the letters after `:2,` of a Maildir file name. Letters that mean nothing to us are returned, to be
    /// written back: they belong to some other program.
    #[must_use]
    pub fn from_letters(letters: &str) -> (Self, String) {
        let mut flags = Self::NONE;
        let mut foreign = String::new();
        for c in letters.chars() {
            match c {
                'S' => flags = flags.with(SystemFlag::Seen),
                'R' => flags = flags.with(SystemFlag::Answered),
                'F' => flags = flags.with(SystemFlag::Flagged),
                'T' => flags = flags.with(SystemFlag::Deleted),
                'D' => flags = flags.with(SystemFlag::Draft),
                'a'..='z' => flags = flags.with_keyword(KeywordSlot(c as u8 - b'a')),
                other => foreign.push(other),
            }
        }
        (flags, foreign)
    }

    /// The flags among the letters of a Maildir file name.
    #[must_use]
    pub fn of_letters(letters: &[u8]) -> Self {
        letters.iter().fold(Self::NONE, |flags, letter| match letter {
            b'S' => flags.with(SystemFlag::Seen),
            b'R' => flags.with(SystemFlag::Answered),
            b'F' => flags.with(SystemFlag::Flagged),
            b'T' => flags.with(SystemFlag::Deleted),
            b'D' => flags.with(SystemFlag::Draft),
            b'a'..=b'z' => flags.with_keyword(KeywordSlot(letter - b'a')),
            _ => flags,
        })
    }

    /// The letters for a Maildir file name, in ASCII order as the Maildir format asks, `foreign` ones among them.
    #[must_use]
    pub fn letters(self, foreign: &str) -> String {
        let mut letters: Vec<char> = self.system().map(SystemFlag::letter).chain(foreign.chars()).collect();
        letters.extend(self.keywords().map(KeywordSlot::letter));
        letters.sort_unstable();
        letters.dedup();
        letters.into_iter().collect()
    }
}

impl fmt::Display for SystemFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_round_trip_and_keep_what_is_foreign() {
        let (flags, foreign) = Flags::from_letters("FSPTab");
        assert!(flags.has(SystemFlag::Flagged) && flags.has(SystemFlag::Seen) && flags.has(SystemFlag::Deleted));
        assert_eq!(flags.keywords().map(KeywordSlot::letter).collect::<String>(), "ab");
        assert_eq!(foreign, "P");
        assert_eq!(flags.letters(&foreign), "FPSTab");
    }

    #[test]
    fn every_character_is_a_flag_a_keyword_or_foreign() {
        for b in 0u8..=255 {
            let c = char::from(b);
            let (flags, foreign) = Flags::from_letters(&c.to_string());
            assert_eq!(flags.is_empty(), !foreign.is_empty(), "{c:?}");
            assert_eq!(flags.letters(&foreign), c.to_string());
            assert_eq!(Flags::of_letters(&[b]), flags);
        }
    }

    #[test]
    fn every_set_is_one_number() {
        let mut all = Flags::NONE;
        for c in ('a'..='z').chain("SRFTD".chars()) {
            all = all.union(Flags::from_letters(&c.to_string()).0);
            assert_eq!(Flags::from_bits(all.to_bits()), Some(all));
        }
        let unused = (0..64).filter(|bit| all.to_bits() & (1 << bit) == 0);
        assert_eq!(unused.filter(|bit| Flags::from_bits(1 << bit).is_some()).count(), 0);
    }

    #[test]
    fn names_are_found_without_case() {
        assert_eq!(SystemFlag::from_name("\\seen"), Some(SystemFlag::Seen));
        assert_eq!(SystemFlag::from_name("\\Recent"), None);
    }
}
