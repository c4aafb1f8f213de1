//! Searches whose results are kept up to date for the client (RFC 5267 §4.3): what was told, and how changes of it are
//! told.
//!
//! Knows UIDs, and how the client names them; not how messages are found.

use std::collections::HashSet;
use std::sync::Arc;

use crate::mail::ids::Uid;
use crate::protocol::imap::matching::Search;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::sort::SortValue;
use crate::protocol::imap::sort::compare;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::set::range_text;
use crate::protocol::imap::syntax::set::runs;
use crate::protocol::imap::syntax::sort::SortCriterion;
use crate::protocol::imap::view::View;

/// A message of a result, and what it is sorted by: nothing in a SEARCH.
pub(super) type Result = (Uid, Box<[SortValue]>);

/// One search, or sort.
#[derive(Debug)]
pub(super) struct LiveSearch {
    /// The command that asked for it.
    pub(super) tag: String,
    /// How it speaks of messages.
    pub(super) numbers: Numbers,
    /// Whose sequence numbers are UIDs by now.
    pub(super) search: Arc<Search>,
    /// None for a SEARCH, whose results are in order of the mailbox.
    pub(super) criteria: Vec<SortCriterion>,
    /// What the client was told, in order.
    pub(super) results: Vec<Result>,
    /// What changed after this was not looked at.
    pub(super) seen: u64,
    /// The last message that was looked at.
    pub(super) last: Option<Uid>,
    /// When all was looked at, seconds since 1970; none for a search that time does not change.
    pub(super) timed: Option<i64>,
}

impl LiveSearch {
    /// Whether these are among the results.
    pub(super) fn known(&self) -> HashSet<Uid> {
        self.results.iter().map(|(uid, _)| *uid).collect()
    }

    /// Takes out what is in `before` and not in `now`: it was expunged. To be written before EXPUNGE, while the numbers
    /// are those of `before` (RFC 5267 §4.3.4).
    pub(super) fn drop_gone(&mut self, out: &mut Output, before: &View, now: &View) {
        let gone = self.results.iter().map(|(uid, _)| *uid).filter(|uid| now.number(*uid).is_none()).collect();
        self.remove(out, before, &gone);
    }

    /// Takes results out and tells it.
    pub(super) fn remove(&mut self, out: &mut Output, view: &View, gone: &HashSet<Uid>) {
        if gone.is_empty() {
            return;
        }
        let mut places = self.places(gone);
        // From the end, so that each position is right when it is read.
        places.reverse();
        self.tell(out, view, "REMOVEFROM", &places);
        self.results.retain(|(uid, _)| !gone.contains(uid));
    }

    /// Puts results in and tells it.
    pub(super) fn add(&mut self, out: &mut Output, view: &View, new: Vec<Result>) {
        if new.is_empty() {
            return;
        }
        let added = new.iter().map(|(uid, _)| *uid).collect();
        self.results.extend(new);
        self.results
            .sort_by(|(uid, values), (other, others)| compare(&self.criteria, values, others).then(uid.cmp(other)));
        let places = self.places(&added);
        self.tell(out, view, "ADDTO", &places);
    }

    /// Where these are: runs of neighbours, as positions from 1 and lengths.
    fn places(&self, wanted: &HashSet<Uid>) -> Vec<(usize, usize)> {
        let mut places: Vec<(usize, usize)> = Vec::new();
        for (at, _) in self.results.iter().enumerate().filter(|(_, (uid, _))| wanted.contains(uid)) {
            match places.last_mut() {
                Some((first, len)) if *first + *len == at + 1 => *len += 1,
                _ => places.push((at + 1, 1)),
            }
        }
        places
    }

    /// `* ESEARCH (TAG "B01") UID ADDTO (0 32768:32769)`. In order of the mailbox a position need not be told, and one set
    /// is shorter (RFC 5267 §4.3.3).
    fn tell(&self, out: &mut Output, view: &View, what: &str, places: &[(usize, usize)]) {
        out.raw("* ESEARCH (TAG ");
        out.string(self.tag.as_bytes());
        out.raw(if self.numbers == Numbers::Uid { ") UID " } else { ") " });
        let named = |(first, len): &(usize, usize)| {
            self.results[*first - 1..*first - 1 + *len].iter().filter_map(|(uid, _)| match self.numbers {
                Numbers::Uid => Some(uid.get()),
                Numbers::Sequence => view.number(*uid),
            })
        };
        let set = |numbers: &mut dyn Iterator<Item = u32>| runs(numbers).map(range_text).collect::<Vec<_>>().join(",");
        let items: Vec<String> = if self.criteria.is_empty() {
            let mut numbers: Vec<u32> = places.iter().flat_map(named).collect();
            numbers.sort_unstable();
            vec![format!("0 {}", set(&mut numbers.into_iter()))]
        } else {
            places.iter().map(|place| format!("{} {}", place.0, set(&mut named(place)))).collect()
        };
        out.raw(&format!("{what} ({})\r\n", items.join(" ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::flags::Flags;
    use crate::protocol::imap::matching::Scope;
    use crate::protocol::imap::syntax::search::Key;
    use crate::protocol::imap::syntax::sort::SortKey;
    use crate::protocol::imap::view::Entry;

    fn uid(n: u32) -> Uid {
        Uid::new(n).expect("not 0")
    }

    fn live(numbers: Numbers, sorted: bool, results: &[(u32, i64)]) -> LiveSearch {
        let criterion = SortCriterion { key: SortKey::Date, reverse: true };
        LiveSearch {
            tag: "C01".into(),
            numbers,
            search: Arc::new(Search::new(Key::All, &Scope::default())),
            criteria: if sorted { vec![criterion] } else { Vec::new() },
            results: results.iter().map(|r| result(*r)).collect(),
            seen: 0,
            last: None,
            timed: None,
        }
    }

    fn result((n, date): (u32, i64)) -> Result {
        (uid(n), [SortValue::Number(date)].into())
    }

    fn view(uids: &[u32]) -> View {
        View::new(uids.iter().map(|n| Entry { uid: uid(*n), flags: Flags::NONE, recent: false }).collect())
    }

    fn text(write: impl FnOnce(&mut Output)) -> String {
        let mut out = Output::new();
        write(&mut out);
        String::from_utf8_lossy(&out.take()).into_owned()
    }

    #[test]
    fn searches() {
        let (all, fewer) = (view(&[10, 20, 21, 30]), view(&[10, 30]));
        let mut live = live(Numbers::Uid, false, &[(10, 0)]);
        let told = text(|out| live.add(out, &all, vec![result((21, 0)), result((20, 0))]));
        assert_eq!(told, "* ESEARCH (TAG \"C01\") UID ADDTO (0 20:21)\r\n");
        assert_eq!(live.known(), HashSet::from([uid(10), uid(20), uid(21)]));
        live.numbers = Numbers::Sequence;
        let told = text(|out| live.drop_gone(out, &all, &fewer));
        assert_eq!(told, "* ESEARCH (TAG \"C01\") REMOVEFROM (0 2:3)\r\n");
        assert_eq!(text(|out| live.drop_gone(out, &fewer, &fewer)), "");
        assert_eq!(text(|out| live.add(out, &fewer, Vec::new())), "");
    }

    #[test]
    fn sorts_tell_positions_that_can_be_followed() {
        // RFC 5267 §4.3.3.
        let all = view(&[2731, 2732, 2733, 2734, 2735, 2736]);
        let mut live = live(Numbers::Uid, true, &[(2734, 4), (2735, 4)]);
        let new = vec![result((2731, 9)), result((2732, 9)), result((2733, 9))];
        let told = text(|out| live.add(out, &all, new));
        assert_eq!(told, "* ESEARCH (TAG \"C01\") UID ADDTO (1 2731:2733)\r\n");
        let told = text(|out| live.remove(out, &all, &HashSet::from([uid(2735), uid(2731), uid(2732)])));
        assert_eq!(told, "* ESEARCH (TAG \"C01\") UID REMOVEFROM (5 2735 1 2731:2732)\r\n");
        let told = text(|out| live.add(out, &all, vec![result((2736, 1)), result((2731, 5))]));
        assert_eq!(told, "* ESEARCH (TAG \"C01\") UID ADDTO (2 2731 4 2736)\r\n");
        let order: Vec<u32> = live.results.iter().map(|(uid, _)| uid.get()).collect();
        assert_eq!(order, [2733, 2731, 2734, 2736]);
    }
}
