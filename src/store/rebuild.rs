//! What is shown, made anew from what is on disk: the UID list says who has which UID, the folders say which files
//! there are and what flags they have, and what was known before says when each message last changed.
//!
//! Knows no file and no lock.

use std::collections::HashMap;

use crate::mail::ids::Uid;

use super::file_name;
use super::folder::Arrival;
use super::folder::Found;
use super::snapshot::Message;
use super::table::Entry;
use super::table::Table;
use super::uidlist;
use super::uidlist::Line;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    /// The messages that have a UID.
    pub(super) table: Table,
    /// The files that have none, in the order in which they came.
    pub(super) arrivals: Vec<Arrival>,
    /// Messages that were known and are gone, by ascending UID.
    pub(super) gone: Vec<Uid>,
    /// Lines without a file.
    pub(super) dead: usize,
    /// Whether anything but the names of files is other than what was known.
    pub(super) changed: bool,
    /// Fields of lines, where there are any.
    pub(super) fields: HashMap<Uid, Box<[u8]>>,
}

/// What was known before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before<'a> {
    /// The messages.
    pub(super) table: &'a Table,
    /// Whether clients can have been shown no other mod-sequences than these.
    pub(super) believed: bool,
}

/// A file by its base: its place among those found, and whether a message has it.
type Files<'a> = HashMap<&'a [u8], (usize, bool)>;

/// By the lines of a UID list. `modseq` is that of all that changed. `None` where two lines name the same file:
/// [`uidlist::drop_repeated_names`] is then due.
pub(super) fn by_list(before: Before<'_>, lines: &[Line<'_>], found: &Found, modseq: u64) -> Option<Rebuilt> {
    rebuild(before, lines.iter().copied(), found, modseq)
}

/// By the UIDs that are known.
pub(super) fn by_table(before: &Table, found: &Found, modseq: u64) -> Option<Rebuilt> {
    let lines = before.iter().map(|entry| Line {
        uid: entry.message.uid,
        fields: &[],
        base: file_name::base(entry.name),
    });
    rebuild(Before { table: before, believed: true }, lines, found, modseq)
}

fn rebuild<'a>(
    before: Before<'a>,
    lines: impl Iterator<Item = Line<'a>>,
    found: &'a Found,
    modseq: u64,
) -> Option<Rebuilt> {
    let mut files = by_base(found);
    let mut rebuilt = Rebuilt::default();
    let mut known = before.table.iter().peekable();
    for line in lines {
        while let Some(gone) = known.next_if(|entry| entry.message.uid < line.uid) {
            rebuilt.gone.push(gone.message.uid);
        }
        let known = known.next_if(|entry| entry.message.uid == line.uid);
        let Some((at, taken)) = files.get_mut(line.base) else {
            rebuilt.dead += 1;
            rebuilt.gone.extend(known.map(|entry| entry.message.uid));
            continue;
        };
        if std::mem::replace(taken, true) {
            return None;
        }
        rebuilt.show(before.believed, known, line, found.get(*at), modseq);
    }
    rebuilt.gone.extend(known.map(|entry| entry.message.uid));
    rebuilt.changed |= !rebuilt.gone.is_empty();
    rebuilt.table.shrink();
    rebuilt.arrivals = without_uid(found, &files);
    Some(rebuilt)
}

impl Rebuilt {
    fn show(
        &mut self,
        believed: bool,
        known: Option<Entry<'_>>,
        line: Line<'_>,
        (name, recent): (&[u8], bool),
        modseq: u64,
    ) {
        let flags = file_name::flags(name);
        let known = known.filter(|entry| file_name::base(entry.name) == line.base);
        let mut message = known.map_or_else(|| Message::new(line.uid, flags, modseq), |entry| *entry.message);
        let same = known.is_some() && believed && message.flags == flags;
        if !same {
            message.modseq = modseq;
        }
        self.changed |= !same || message.is_recent() != recent;
        message.flags = flags;
        message.set_recent(recent);
        if message.wire_size().is_none() {
            message.set_wire_size(file_name::wire_size(name).or_else(|| uidlist::field(line.fields, b'W')));
        }
        self.table.push(message, name, known.and_then(|entry| entry.cached));
        if !line.fields.is_empty() {
            self.fields.insert(line.uid, line.fields.into());
        }
    }
}

/// Each message once: of two files with the same base, the later one counts, which lies in `cur/`.
fn by_base(found: &Found) -> Files<'_> {
    let mut files: Files<'_> = HashMap::with_capacity(found.len());
    for at in 0..found.len() {
        let (name, _) = found.get(at);
        if let Some((other, _)) = files.insert(file_name::base(name), (at, false))
            && !found.get(other).1
        {
            tracing::warn!(name = %name.escape_ascii(), "a message has two files");
        }
    }
    files
}

fn without_uid(found: &Found, files: &Files<'_>) -> Vec<Arrival> {
    let free = files.values().filter(|(_, taken)| !taken).map(|(at, _)| found.get(*at));
    let mut arrivals: Vec<Arrival> =
        free.map(|(name, recent)| Arrival { name: name.into(), recent, date: None }).collect();
    arrivals.sort_by(|a, b| (file_name::order(&a.name), &a.name).cmp(&(file_name::order(&b.name), &b.name)));
    arrivals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::flags::Flags;
    use crate::mail::flags::SystemFlag;

    fn uid(n: u32) -> Uid {
        Uid::new(n).expect("not zero")
    }

    fn found(files: &[(&str, bool)]) -> Found {
        let mut found = Found::default();
        for (name, recent) in files {
            found.push(name.as_bytes(), *recent);
        }
        found
    }

    fn known(messages: &[(u32, &str, u64)]) -> Table {
        let mut table = Table::default();
        for (n, name, modseq) in messages {
            let mut message = Message::new(uid(*n), file_name::flags(name.as_bytes()), *modseq);
            message.set_date(Some(i64::from(*n)));
            table.push(message, name.as_bytes(), Some(u64::from(*n)));
        }
        table
    }

    fn lines<'a>(lines: &[(u32, &'a str)]) -> Vec<Line<'a>> {
        lines.iter().map(|(n, base)| Line { uid: uid(*n), fields: b"W77", base: base.as_bytes() }).collect()
    }

    fn shown(rebuilt: &Rebuilt) -> Vec<(u32, String, u64, Option<i64>)> {
        let line = |e: Entry<'_>| {
            (e.message.uid.get(), String::from_utf8_lossy(e.name).into_owned(), e.message.modseq, e.message.date())
        };
        rebuilt.table.iter().map(line).collect()
    }

    #[test]
    fn what_is_as_before_keeps_its_mod_sequence() {
        let old = known(&[(1, "a:2,S", 5), (3, "b", 6), (4, "c", 7), (6, "d", 8)]);
        let files = found(&[("x", true), ("w", true), ("a:2,S", false), ("b:2,F", false), ("d", true)]);
        let list = lines(&[(1, "a"), (3, "b"), (4, "c"), (5, "z"), (6, "d")]);
        let rebuilt = by_list(Before { table: &old, believed: true }, &list, &files, 100).expect("no name twice");
        let wanted =
            [(1, "a:2,S", 5, Some(1)), (3, "b:2,F", 100, Some(3)), (6, "d", 8, Some(6))].map(|(n, name, m, d)| {
                (n, name.to_owned(), m, d)
            });
        assert_eq!(shown(&rebuilt), wanted);
        assert_eq!((rebuilt.gone.clone(), rebuilt.dead, rebuilt.changed), (vec![uid(4)], 2, true));
        assert_eq!(rebuilt.arrivals.iter().map(|a| a.name.to_vec()).collect::<Vec<_>>(), [b"w", b"x"]);
        assert_eq!(rebuilt.table.iter().map(|e| e.message.wire_size()).collect::<Vec<_>>(), [Some(77); 3]);
        assert!(rebuilt.table.iter().all(|e| e.cached == Some(u64::from(e.message.uid.get()))));
        assert_eq!(rebuilt.fields.len(), 3);
        let unbelieved = by_list(Before { table: &old, believed: false }, &list, &files, 100).expect("no name twice");
        assert!(unbelieved.table.iter().all(|e| e.message.modseq == 100));
    }

    #[test]
    fn a_message_of_another_file_is_another_message() {
        let old = known(&[(1, "a:2,S", 5)]);
        let rebuilt = by_list(
            Before { table: &old, believed: true },
            &lines(&[(1, "b")]),
            &found(&[("b:2,S", false)]),
            9,
        )
        .expect("no name twice");
        assert_eq!(shown(&rebuilt), [(1, "b:2,S".to_owned(), 9, None)]);
        assert!(rebuilt.table.iter().all(|e| e.cached.is_none()));
    }

    #[test]
    fn two_lines_for_one_file_are_told() {
        let list = lines(&[(1, "a"), (2, "a")]);
        assert!(by_list(Before { table: &Table::default(), believed: true }, &list, &found(&[("a", false)]), 9).is_none());
    }

    #[test]
    fn a_rescan_sees_renames_removals_and_arrivals() {
        let old = known(&[(1, "a", 5), (2, "b", 6), (3, "c", 7)]);
        let files = found(&[("n", true), ("a", true), ("a:2,S", false), ("c:2,", false)]);
        let rebuilt = by_table(&old, &files, 50).expect("no name twice");
        assert_eq!(shown(&rebuilt).iter().map(|m| (m.0, m.2)).collect::<Vec<_>>(), [(1, 50), (3, 7)]);
        assert!(rebuilt.table.iter().next().is_some_and(|e| e.message.flags == Flags::NONE.with(SystemFlag::Seen)));
        assert_eq!((rebuilt.gone.clone(), rebuilt.changed, rebuilt.arrivals.len()), (vec![uid(2)], true, 1));
        let same = by_table(&old, &found(&[("a", false), ("b", false), ("c", false)]), 50).expect("no name twice");
        assert!(!same.changed && same.arrivals.is_empty());
    }
}
