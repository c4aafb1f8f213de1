//! What somebody may do with a mailbox (RFC 4314 §2.1), as letters and as a set. Knows neither who nor which mailbox.

use std::fmt;

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// `l`: see its name.
    Lookup,
    /// `r`: select it, read messages.
    Read,
    /// `s`: mark as read.
    Seen,
    /// `w`: set other flags than `\Seen` and `\Deleted`.
    Write,
    /// `i`: add messages.
    Insert,
    /// `p`: send mail to it.
    Post,
    /// `k`: make mailboxes below it.
    Create,
    /// `x`: delete it.
    DeleteMailbox,
    /// `t`: set `\Deleted`.
    DeleteMessages,
    /// `e`: expunge.
    Expunge,
    /// `a`: give rights.
    Administer,
}

/// All of them, in the usual order.
const ALL: [(Right, char); 11] = [
    (Right::Lookup, 'l'),
    (Right::Read, 'r'),
    (Right::Seen, 's'),
    (Right::Write, 'w'),
    (Right::Insert, 'i'),
    (Right::Post, 'p'),
    (Right::Create, 'k'),
    (Right::DeleteMailbox, 'x'),
    (Right::DeleteMessages, 't'),
    (Right::Expunge, 'e'),
    (Right::Administer, 'a'),
];

/// A set of rights; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u16);

impl Rights {
    /// No rights.
    pub const NONE: Self = Self(0);

    /// Those of an owner.
    pub const OWNER: Self = Self((1 << ALL.len()) - 1);

    /// Reads letters; `None` where one is of no right. The old `c` and `d` stand for several (RFC 4314 §2.1.1).
    #[must_use]
    pub fn parse(letters: &str) -> Option<Self> {
        let mut rights = Self::NONE;
        for letter in letters.chars() {
            let meant = match letter {
                'c' => Self::NONE.with(Right::Create).with(Right::DeleteMailbox),
                'd' => Self::NONE.with(Right::Expunge).with(Right::DeleteMessages),
                _ => Self::NONE.with(ALL.into_iter().find(|(_, l)| *l == letter)?.0),
            };
            rights = rights.and(meant);
        }
        Some(rights)
    }

    /// With one more.
    #[must_use]
    pub fn with(self, right: Right) -> Self {
        Self(self.0 | 1 << right as u16)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without those of the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        self.0 & 1 << right as u16 != 0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether who has them may know that the mailbox is there (RFC 4314 §4, MYRIGHTS).
    #[must_use]
    pub fn show_mailbox(self) -> bool {
        let showing =
            [Right::Lookup, Right::Read, Right::Insert, Right::Create, Right::DeleteMailbox, Right::Administer];
        showing.into_iter().any(|right| self.has(right))
    }

    /// Whether who has them may change something in the mailbox.
    #[must_use]
    pub fn change_messages(self) -> bool {
        [Right::Seen, Right::Write, Right::Insert, Right::DeleteMessages, Right::Expunge]
            .into_iter()
            .any(|right| self.has(right))
    }

    /// The letters, the old ones with them for clients that know no others (RFC 4314 §2.1.1).
    #[must_use]
    pub fn with_old_letters(self) -> String {
        let mut letters = self.without(Self::NONE.with(Right::Administer)).to_string();
        if self.has(Right::Create) || self.has(Right::DeleteMailbox) {
            letters.push('c');
        }
        if self.has(Right::Expunge) || self.has(Right::DeleteMessages) {
            letters.push('d');
        }
        if self.has(Right::Administer) {
            letters.push('a');
        }
        letters
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ALL.iter().filter(|(right, _)| self.has(*right)).try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters() {
        assert_eq!(Rights::OWNER.to_string(), "lrswipkxtea");
        assert_eq!(Rights::OWNER.with_old_letters(), "lrswipkxtecda");
        assert_eq!(Rights::parse("lrswipkxtea"), Some(Rights::OWNER));
        assert_eq!(Rights::parse(""), Some(Rights::NONE));
        assert_eq!(Rights::parse("lz"), None);
        assert_eq!(Rights::parse("L"), None);
        // RFC 4314 §2.1.1.
        let david = Rights::parse("lrswida").expect("letters");
        assert_eq!(david.with_old_letters(), "lrswiteda");
        assert_eq!(Rights::parse("c").expect("letters").to_string(), "kx");
        let read = Rights::parse("lr").expect("letters");
        assert!(read.has(Right::Read) && !read.has(Right::Seen) && !read.change_messages() && read.show_mailbox());
        assert!(!Rights::parse("sp").expect("letters").show_mailbox());
        assert!(Rights::OWNER.without(Rights::OWNER).is_none());
    }
}
