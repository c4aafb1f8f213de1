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
    pub(super) fn look_after(&self, work: &mut Work, folder: &Path, changes: &[ForeignChange]) -> Result<()> {
        self.quota.doubt();
        let mut touched = by_base(changes);
        let known: Vec<(Uid, Sub, FileName)> = {
            let shown = self.shown();
            let entries = shown.table.iter().filter(|entry| touched.contains_key(file_name::base(entry.name)));
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
                Truth::Several => return self.rescan(work),
            }
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
        self.publish(work)
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
