//! `dovecot-keywords`: the names of the keyword letters `a` to `z` of a mailbox, one `<slot> <name>` a line.

use std::cell::LazyCell;
use std::sync::Arc;

use crate::mail::flags::Flags;
use crate::mail::flags::KeywordSlot;

use super::error::Result;
use super::error::StoreError;

/// Name of the file in the folder of the mailbox.
pub(super) const FILE: &str = "dovecot-keywords";

/// The keywords of one mailbox. A slot without a name is an empty string: a letter in a file name whose meaning is
/// lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keywords(Arc<[String]>);

impl Keywords {
    /// None yet.
    pub(super) fn none() -> Self {
        Self(Arc::from([]))
    }

    /// Reads the file; lines that say nothing are passed over.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut names: Vec<String> = Vec::new();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let Some((slot, name)) = line.split_once(' ') else { continue };
            let Some(slot) = slot.parse().ok().and_then(KeywordSlot::new) else { continue };
            if !is_name(name) || names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
                continue;
            }
            if names.len() <= slot.index() {
                names.resize(slot.index() + 1, String::new());
            }
            if names[slot.index()].is_empty() {
                name.clone_into(&mut names[slot.index()]);
            }
        }
        Self(names.into())
    }

    /// What [`Keywords::parse`] reads.
    pub(super) fn format(&self) -> Vec<u8> {
        let named = self.0.iter().enumerate().filter(|(_, name)| !name.is_empty());
        named.map(|(slot, name)| format!("{slot} {name}\n")).collect::<String>().into_bytes()
    }

    /// By slot.
    pub(super) fn names(&self) -> Arc<[String]> {
        Arc::clone(&self.0)
    }

    /// The flags of these keywords, compared without case (RFC 3501 §2.3.2 leaves it to us, and Dovecot does so);
    /// names that are not known yet get the next free slot. `used` tells which letters messages have; it is asked only
    /// where a name is new, for it may look at all messages.
    pub(super) fn slots(&mut self, wanted: &[String], used: impl FnOnce() -> Flags) -> Result<Flags> {
        let used = LazyCell::new(used);
        let mut names: Vec<String> = self.0.to_vec();
        let mut flags = Flags::NONE;
        for name in wanted {
            if !is_name(name) {
                return Err(StoreError::Cannot("not a keyword"));
            }
            let index = match names.iter().position(|n| n.eq_ignore_ascii_case(name)) {
                Some(index) => index,
                None => {
                    // A letter that is in use without a name would put the new name on old messages.
                    let free = (0..KeywordSlot::COUNT)
                        .filter_map(KeywordSlot::new)
                        .find(|slot| names.get(slot.index()).is_none_or(String::is_empty) && !used.has_keyword(*slot));
                    let free = free.ok_or(StoreError::KeywordLimit)?.index();
                    if names.len() <= free {
                        names.resize(free + 1, String::new());
                    }
                    name.clone_into(&mut names[free]);
                    free
                }
            };
            if let Some(slot) = u8::try_from(index).ok().and_then(KeywordSlot::new) {
                flags = flags.with_keyword(slot);
            }
        }
        if names.len() != self.0.len() || names.iter().zip(self.0.iter()).any(|(a, b)| a != b) {
            self.0 = names.into();
        }
        Ok(flags)
    }

    /// The flags of those of the keywords that are known.
    pub(super) fn known(&self, wanted: &[String]) -> Flags {
        let slot = |name: &String| {
            let index = self.0.iter().position(|n| n.eq_ignore_ascii_case(name))?;
            u8::try_from(index).ok().and_then(KeywordSlot::new)
        };
        wanted.iter().filter(|n| !n.is_empty()).filter_map(slot).fold(Flags::NONE, Flags::with_keyword)
    }
}

/// An IMAP atom (RFC 3501 §9 `flag-keyword`), which is also what fits on a line.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && name.bytes().all(|b| b > b' ' && b != 0x7f && !b"(){%*\"\\]".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn files_are_read_and_written() {
        let file = b"0 $Forwarded\n2 $MDNSent\n1 $forwarded\n2 other\n26 x\n-1 y\nz\n3 a b\n4 torn";
        let keywords = Keywords::parse(file);
        assert_eq!(&*keywords.names(), all(&["$Forwarded", "", "$MDNSent"]));
        assert_eq!(keywords.format(), b"0 $Forwarded\n2 $MDNSent\n");
        assert_eq!(Keywords::parse(&keywords.format()), keywords);
    }

    #[test]
    fn new_names_get_free_slots_until_there_are_none() {
        let mut keywords = Keywords::parse(b"1 One\n");
        let used = Flags::NONE.with_keyword(KeywordSlot::new(0).expect("a slot"));
        let flags = keywords.slots(&all(&["one", "Two", "two"]), || used).expect("room");
        assert_eq!(flags.letters(""), "bc");
        assert_eq!(&*keywords.names(), all(&["", "One", "Two"]));
        assert_eq!(keywords.known(&all(&["TWO", "three", ""])).letters(""), "c");
        let many: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
        let before = keywords.clone();
        assert!(matches!(keywords.slots(&many, || used), Err(StoreError::KeywordLimit)));
        assert_eq!(keywords, before);
        assert!(keywords.slots(&many[..23], || used).is_ok());
        assert!(keywords.slots(&all(&["a b"]), || used).is_err());
        let asked = || panic!("nobody asks which letters are in use for names that are known");
        assert_eq!(keywords.slots(&all(&["ONE", "two"]), asked).expect("known").letters(""), "bc");
    }
}
