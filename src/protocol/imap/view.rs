//! The selected mailbox as one client sees it (RFC 3501 §2.3.1.2, §7.3, §7.4).
//!
//! Between two announcements nothing changes for the client: what happened in the mailbox meanwhile is found by
//! comparing, and told when the client may hear it. Knows no store and no keyword names.

use crate::mail::flags::Flags;
use crate::mail::ids::Uid;

/// One message of the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its UID.
    pub uid: Uid,
    /// The flags that the client was told last, or would be told.
    pub flags: Flags,
    /// `\Recent` in this session.
    pub recent: bool,
}

/// Whether expunges may be told now: not during FETCH, STORE and SEARCH (RFC 3501 §7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunges {
    /// They may.
    Told,
    /// They wait; the messages keep their numbers.
    Held,
}

/// Something to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// The message of this number, which had this UID, is gone; later numbers fall by one.
    Expunge(u32, Uid),
    /// There are so many messages.
    Exists(u32),
    /// So many of them are recent.
    Recent(u32),
    /// The flags of this one are others now.
    Flags(u32, Entry),
}

/// What a client sees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    entries: Vec<Entry>,
}

impl View {
    /// A view of `entries`, in order of their UIDs.
    #[must_use]
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// How many messages.
    #[must_use]
    pub fn exists(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// How many of them are recent.
    #[must_use]
    pub fn recent(&self) -> u32 {
        u32::try_from(self.entries.iter().filter(|e| e.recent).count()).unwrap_or(u32::MAX)
    }

    /// All messages in order; the first has number 1.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The last UID, which `*` means.
    #[must_use]
    pub fn last_uid(&self) -> Option<Uid> {
        self.entries.last().map(|e| e.uid)
    }

    /// The message of this number, from 1.
    #[must_use]
    pub fn get(&self, number: u32) -> Option<Entry> {
        let at = usize::try_from(number.checked_sub(1)?).ok()?;
        self.entries.get(at).copied()
    }

    /// The number of a UID.
    #[must_use]
    pub fn number(&self, uid: Uid) -> Option<u32> {
        let at = self.entries.binary_search_by_key(&uid, |e| e.uid).ok()?;
        u32::try_from(at + 1).ok()
    }

    /// The client was told these flags of a message, for instance in answer to a FETCH.
    pub fn told(&mut self, uid: Uid, flags: Flags) {
        if let Ok(at) = self.entries.binary_search_by_key(&uid, |e| e.uid) {
            self.entries[at].flags = flags;
        }
    }

    /// No message is recent any more.
    pub fn forget_recent(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.recent = false);
    }

    /// Goes over to the mailbox as it is `now` (ascending UIDs) and says what the client has to be told, in the order
    /// in which it has to be told.
    pub fn update(&mut self, now: &[Entry], expunges: Expunges) -> Vec<News> {
        let mut news = Vec::new();
        let recent_before = self.recent();
        let mut kept: Vec<Entry> = Vec::with_capacity(now.len());
        let mut flags_changed: Vec<usize> = Vec::new();
        let mut there = now.iter().peekable();
        for old in &self.entries {
            // A UID below our last one that we never saw cannot be shown: numbers only grow at the end.
            while there.next_if(|new| new.uid < old.uid).is_some() {}
            match there.next_if(|new| new.uid == old.uid) {
                Some(new) => {
                    if new.flags != old.flags {
                        flags_changed.push(kept.len());
                    }
                    kept.push(Entry { flags: new.flags, ..*old });
                }
                None if expunges == Expunges::Held => kept.push(*old),
                // Every expunge lowers the numbers behind it, so those before are counted as they are.
                None => news.push(News::Expunge(number_of(kept.len()), old.uid)),
            }
        }
        let before = kept.len();
        kept.extend(there);
        self.entries = kept;
        if self.entries.len() > before {
            news.push(News::Exists(self.exists()));
        }
        let recent = self.recent();
        // RFC 3501 §7.3.2; old clients expect it with every EXISTS.
        if self.entries.len() > before || recent != recent_before {
            news.push(News::Recent(recent));
        }
        news.extend(flags_changed.into_iter().map(|at| News::Flags(number_of(at), self.entries[at])));
        news
    }
}

fn number_of(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::flags::SystemFlag;

    fn entries(uids: &[u32]) -> Vec<Entry> {
        uids.iter().map(|u| Entry { uid: Uid::new(*u).expect("not 0"), flags: Flags::NONE, recent: false }).collect()
    }

    /// What a client that obeys the news would hold.
    fn obey(mut held: Vec<u32>, news: &[News], now: &View) -> Vec<u32> {
        for item in news {
            match item {
                News::Expunge(n, uid) => assert_eq!(uid.get(), held.remove(usize::try_from(n - 1).expect("small"))),
                News::Exists(n) => {
                    for number in held.len() + 1..=usize::try_from(*n).expect("small") {
                        let number = u32::try_from(number).expect("small");
                        held.push(now.get(number).expect("exists").uid.get());
                    }
                }
                News::Recent(_) | News::Flags(..) => {}
            }
        }
        held
    }

    #[test]
    fn an_obedient_client_sees_the_mailbox() {
        let all: Vec<u32> = (1..=6).collect();
        for before in 0_u32..64 {
            for after in 0_u32..64 {
                let pick =
                    |mask: u32| -> Vec<u32> { all.iter().copied().filter(|n| mask >> (n - 1) & 1 == 1).collect() };
                let (old, mut new) = (pick(before), pick(after));
                // What was never seen and is not behind the last cannot be shown.
                let last = old.last().copied().unwrap_or(0);
                new.retain(|u| old.contains(u) || *u > last);
                let mut view = View::new(entries(&old));
                let news = view.update(&entries(&new), Expunges::Told);
                assert_eq!(obey(old.clone(), &news, &view), new);
                let mut held = View::new(entries(&old));
                let first = held.update(&entries(&new), Expunges::Held);
                assert!(!first.iter().any(|n| matches!(n, News::Expunge(..))));
                let middle = obey(old.clone(), &first, &held);
                let second = held.update(&entries(&new), Expunges::Told);
                assert_eq!(obey(middle, &second, &held), new);
                assert_eq!(held.update(&entries(&new), Expunges::Told), []);
            }
        }
    }

    #[test]
    fn flags_are_told_once_and_not_those_told_already() {
        let mut view = View::new(entries(&[1, 2]));
        let mut now = entries(&[1, 2]);
        now[1].flags = Flags::NONE.with(SystemFlag::Seen);
        assert_eq!(view.update(&now, Expunges::Held), [News::Flags(2, now[1])]);
        assert_eq!(view.update(&now, Expunges::Held), []);
        now[0].flags = Flags::NONE.with(SystemFlag::Draft);
        view.told(now[0].uid, now[0].flags);
        assert_eq!(view.update(&now, Expunges::Told), []);
    }

    #[test]
    fn numbers_and_uids() {
        let view = View::new(entries(&[3, 5]));
        assert_eq!(view.number(Uid::new(5).expect("not 0")), Some(2));
        assert_eq!(view.get(0), None);
        assert_eq!(view.get(1).map(|e| e.uid.get()), Some(3));
        assert_eq!(view.last_uid().map(Uid::get), Some(5));
    }
}
