//! What other programs did to files of which the kernel gave the names: looked after one by one, so that mutt marking
//! a message in a mailbox of 100,000 costs no reading of folders.
//!
//! The names only say where to look; what is on disk decides.

use std::collections::HashMap;
use std::path::Path;

use crate::fsio;
use crate::mail::ids::Uid;

use super::change::Done;
use super::context::lock;
use super::error::Result;
use super::file_name;
use super::file_name::FileName;
use super::folder::Arrival;
use super::mailbox::Mailbox;
use super::mailbox::Work;
use super::watch::ForeignChange;
use super::watch::Kind;
use super::watch::Sub;

/// A message that is renamed over and over is looked for so often by name.
const TRIES: u32 = 5;

/// Up to so many touched messages are found by comparing.
const FEW: usize = 16;

/// Where the file of a message may be.
type Places = Vec<(Sub, FileName)>;

/// What the disk says of one message.
enum Truth {
    Gone,
    At(Sub, FileName),
    /// It has several files: reading the folders sorts it out.
    Several,
}

impl Mailbox {
    /// Brings what is shown up to date with what is on disk under these names.
    pub(super) fn look_after(&self, work: &mut Work, folder: &Path, mut changes: Vec<ForeignChange>) -> Result<()> {
        self.quota.doubt();
        for _ in 0..TRIES {
            let mut touched = by_base(&changes);
            let Some(outcomes) = self.outcomes(folder, &mut touched) else { return self.rescan(work) };
            // Who is not where we looked was removed, or renamed once more since: then that was told meanwhile.
            if self.was_renamed_again(&outcomes) {
                changes.extend(lock(&self.folders).take_foreign());
                continue;
            }
            if !self.look_after_new(folder, touched) {
                return self.rescan(work);
            }
            let removed: Vec<Uid> =
                outcomes.iter().filter(|(_, done)| matches!(done, Done::Removed)).map(|(uid, _)| *uid).collect();
            self.show_done(work, outcomes);
            for uid in &removed {
                work.fields.remove(uid);
            }
            self.drop_dead_lines(work, removed.len());
            return self.publish(work);
        }
        self.rescan(work)
    }

    /// What the disk says of the messages that were touched, which are taken out of `touched`. `None` where the folders
    /// must be read.
    fn outcomes(&self, folder: &Path, touched: &mut HashMap<Box<[u8]>, Places>) -> Option<Vec<(Uid, Done)>> {
        let few: Vec<Box<[u8]>> = touched.keys().take(FEW + 1).cloned().collect();
        // Comparing with a few is faster than making a hash of each name.
        let is_touched = |base: &[u8]| match few.len() {
            0..=FEW => few.iter().any(|touched| **touched == *base),
            _ => touched.contains_key(base),
        };
        let known: Vec<(Uid, Sub, FileName)> = {
            let shown = self.shown();
            let entries = shown.table.iter().filter(|entry| is_touched(file_name::base(entry.name)));
            let known = |entry: super::table::Entry<'_>| {
                (entry.message.uid, Sub::of(entry.message.is_recent()), entry.name.into())
            };
            entries.map(known).collect()
        };
        let mut outcomes = Vec::new();
        for (uid, sub, name) in known {
            let mut places = touched.remove(file_name::base(&name)).unwrap_or_default();
            places.push((sub, name.clone()));
            match truth(folder, places) {
                Truth::Gone => outcomes.push((uid, Done::Removed)),
                Truth::At(now, new_name) if (now, &new_name) == (sub, &name) => {}
                Truth::At(now, name) => outcomes.push((uid, Done::Renamed { name, recent: now == Sub::New })),
                Truth::Several => return None,
            }
        }
        Some(outcomes)
    }

    fn was_renamed_again(&self, outcomes: &[(Uid, Done)]) -> bool {
        let removed = outcomes.iter().filter(|(_, done)| matches!(done, Done::Removed));
        let mut removed = removed.map(|(uid, _)| *uid).peekable();
        if removed.peek().is_none() {
            return false;
        }
        let appeared = lock(&self.folders).appeared();
        let shown = self.shown();
        let mut entries = removed.filter_map(|uid| shown.table.find(uid)).map(|place| shown.table.get(place));
        entries.any(|entry| appeared.contains(file_name::base(entry.name)))
    }

    /// Files that no message has: new ones, and deliveries of our own that wait for their UID. `false` where the
    /// folders must be read.
    fn look_after_new(&self, folder: &Path, touched: HashMap<Box<[u8]>, Places>) -> bool {
        let mut folders = lock(&self.folders);
        let mut new = Vec::new();
        for (base, mut places) in touched {
            let waiting = folders.arrivals.iter().position(|arrival| file_name::base(&arrival.name) == &*base);
            if let Some(at) = waiting {
                places.push((folders.arrivals[at].sub(), folders.arrivals[at].name.clone()));
            }
            match (truth(folder, places), waiting) {
                (Truth::Several, _) => return false,
                (Truth::Gone, None) => {}
                (Truth::Gone, Some(at)) => drop(folders.arrivals.remove(at)),
                (Truth::At(sub, name), Some(at)) => {
                    folders.arrivals[at].recent = sub == Sub::New;
                    folders.arrivals[at].name = name;
                }
                (Truth::At(sub, name), None) => new.push(Arrival { name, recent: sub == Sub::New, date: None }),
            }
        }
        new.sort_by(|a, b| (file_name::order(&a.name), &a.name).cmp(&(file_name::order(&b.name), &b.name)));
        folders.arrivals.extend(new);
        true
    }
}

/// The names that appeared, by the message that they name; messages of which names vanished alone are there, too.
fn by_base(changes: &[ForeignChange]) -> HashMap<Box<[u8]>, Places> {
    let mut touched: HashMap<Box<[u8]>, Places> = HashMap::new();
    for change in changes.iter().filter(|change| file_name::is_message(&change.name)) {
        let places = touched.entry(file_name::base(&change.name).into()).or_default();
        if change.kind == Kind::Appears {
            places.push((change.sub, change.name.clone()));
        }
    }
    touched
}

fn truth(folder: &Path, mut places: Places) -> Truth {
    places.sort_unstable();
    places.dedup();
    places.retain(|(sub, name)| fsio::is_regular(&sub.file(folder, name)));
    match (places.pop(), places.is_empty()) {
        (None, _) => Truth::Gone,
        (Some((sub, name)), true) => Truth::At(sub, name),
        (Some(_), false) => Truth::Several,
    }
}
