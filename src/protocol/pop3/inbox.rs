//! The inbox as one session sees it: what was there at login, which messages are marked as deleted, which were sent.

use std::collections::HashMap;

use crate::mail::ids::Uid;
use crate::mail::ids::UidValidity;

use super::Update;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Which.
    pub uid: Uid,
    /// Octets on the wire, every line ended by CRLF, without dot-stuffing (RFC 1939 §11).
    pub size: u64,
}

/// The snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox {
    validity: UidValidity,
    items: Vec<Item>,
    saved_ids: HashMap<Uid, Box<str>>,
    deleted: Vec<bool>,
    read: Vec<bool>,
}

impl Inbox {
    /// The inbox at login, messages by ascending UID. `saved_ids` are what UIDL must show for some of them: visible
    /// ASCII.
    #[must_use]
    pub fn new(validity: UidValidity, items: Vec<Item>, saved_ids: HashMap<Uid, Box<str>>) -> Self {
        let none = vec![false; items.len()];
        Self { validity, items, saved_ids, deleted: none.clone(), read: none }
    }

    /// Number and octets of the messages that are not deleted.
    pub(super) fn stat(&self) -> (usize, u64) {
        self.alive().fold((0, 0), |(count, octets), (_, item)| (count + 1, octets.saturating_add(item.size)))
    }

    fn alive(&self) -> impl Iterator<Item = (usize, &Item)> {
        self.items.iter().enumerate().filter(|(at, _)| !self.deleted[*at])
    }

    /// Message `n`, from 1, where it is there and not deleted.
    pub(super) fn get(&self, n: u64) -> Option<&Item> {
        self.place(n).map(|at| &self.items[at])
    }

    fn place(&self, n: u64) -> Option<usize> {
        let at = usize::try_from(n).ok()?.checked_sub(1)?;
        self.deleted.get(at).filter(|deleted| !**deleted).map(|_| at)
    }

    /// Marks message `n` as deleted; whether it was there.
    pub(super) fn delete(&mut self, n: u64) -> bool {
        let place = self.place(n);
        if let Some(at) = place {
            self.deleted[at] = true;
        }
        place.is_some()
    }

    pub(super) fn undelete(&mut self) {
        self.deleted.fill(false);
    }

    /// The message was sent whole.
    pub(super) fn mark_read(&mut self, uid: Uid) {
        if let Ok(at) = self.items.binary_search_by_key(&uid, |item| item.uid) {
            self.read[at] = true;
        }
    }

    /// What is to be done at QUIT.
    pub(super) fn update(&self) -> Update {
        let uids = |wanted: &dyn Fn(usize) -> bool| {
            self.items.iter().enumerate().filter(|(at, _)| wanted(*at)).map(|(_, item)| item.uid).collect()
        };
        Update { deleted: uids(&|at| self.deleted[at]), read: uids(&|at| self.read[at] && !self.deleted[at]) }
    }

    /// What UIDL shows: Dovecot's default form, `%08Xu%08Xv`, so that clients of a server that came from there
    /// download nothing twice. Its `X` writes small letters. What an older server showed, and Dovecot saved, wins.
    pub(super) fn unique_id(&self, item: &Item) -> String {
        let default = || format!("{:08x}{:08x}", item.uid.get(), self.validity.get());
        self.saved_ids.get(&item.uid).map_or_else(default, |saved| saved.to_string())
    }

    /// Appends lines of a list to `out` until it has `most` octets or the list is at its end; whether more is to come.
    pub(super) fn list(&self, listing: &mut Listing, most: usize, out: &mut Vec<u8>) -> bool {
        while out.len() < most {
            let Some(item) = self.items.get(listing.next) else {
                out.extend_from_slice(b".\r\n");
                return false;
            };
            let n = listing.next + 1;
            if !self.deleted[listing.next] {
                let line = match listing.what {
                    What::Sizes => format!("{n} {}\r\n", item.size),
                    What::Uids => format!("{n} {}\r\n", self.unique_id(item)),
                };
                out.extend_from_slice(line.as_bytes());
            }
            listing.next = n;
        }
        true
    }
}

/// A list that is being sent.
#[derive(Debug)]
pub(super) struct Listing {
    what: What,
    next: usize,
}

#[derive(Debug)]
enum What {
    Sizes,
    Uids,
}

impl Listing {
    pub(super) fn sizes() -> Self {
        Self { what: What::Sizes, next: 0 }
    }

    pub(super) fn uids() -> Self {
        Self { what: What::Uids, next: 0 }
    }
}
