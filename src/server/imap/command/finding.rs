//! Finding the messages that match (RFC 3501 §6.4.4), for every command that searches.
//!
//! What the table of messages decides is decided first, on the session's own task; only messages of which that is not
//! enough are read. Where only the first or the last messages are asked for, no more are looked at than it takes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::reading::Ground;
use super::reading::InFile;
use super::reading::InTable;
use super::reading::Task;
use super::reading::each;
use crate::clock::Clock;
use crate::mail::ids::Uid;
use crate::protocol::imap::matching::Listed;
use crate::protocol::imap::matching::Scratch;
use crate::protocol::imap::matching::Search;
use crate::protocol::imap::syntax::command::Numbers;
use crate::store::StoreError;

/// Messages that are looked up in the table before other sessions get their turn: less than a millisecond but for the
/// largest searches.
const LISTED_AT_ONCE: usize = 500;

/// Messages that are looked at before it is asked whether they are enough; twice as many each time after.
const FIRST_STEP: usize = 256;

/// A message that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Its sequence number.
    pub(super) number: u32,
    /// Its UID.
    pub(super) uid: Uid,
    /// When it last changed.
    pub(super) modseq: u64,
}

impl Found {
    /// As the command speaks of messages.
    pub(super) fn named(self, numbers: Numbers) -> u32 {
        match numbers {
            Numbers::Sequence => self.number,
            Numbers::Uid => self.uid.get(),
        }
    }

    pub(super) fn of(listed: InTable<'_>) -> Self {
        Self { number: listed.number(), uid: listed.message.uid, modseq: listed.message.modseq }
    }
}

/// What was found, in order of the mailbox: all, or enough of either end.
#[derive(Debug, Default)]
pub(super) struct Matches {
    first: Vec<Found>,
    /// `None` where `first` has all.
    last: Option<Vec<Found>>,
}

impl Matches {
    /// All that were found, in the order in which they are answered.
    pub(super) fn all(found: Vec<Found>) -> Self {
        Self { first: found, last: None }
    }

    /// From the first on: all of them, or as many as were asked for.
    pub(super) fn first(&self) -> &[Found] {
        &self.first
    }

    /// Up to the last: all of them, or as many as were asked for.
    pub(super) fn last(&self) -> &[Found] {
        self.last.as_deref().unwrap_or(&self.first)
    }
}

/// Finds in `ground` what `search` looks for: all, or where only `ends` are asked for, so many of the first and last.
///
/// # Errors
/// What reading says.
pub(super) async fn find(
    ground: &Arc<Ground>,
    search: &Arc<Search>,
    ends: Option<(usize, usize)>,
    clock: &Clock,
) -> Result<Matches, StoreError> {
    let count = ground.entries.len();
    ground.progress.expect(count);
    let Some((first, last)) = ends else {
        return Ok(Matches { first: among(ground, search, 0..count, clock).await?, last: None });
    };
    let mut matches = Matches::default();
    let (mut from, mut step) = (0, FIRST_STEP);
    while from < count && matches.first.len() < first {
        let to = count.min(from + step);
        matches.first.extend(among(ground, search, from..to, clock).await?);
        (from, step) = (to, step * 2);
    }
    if from == count {
        return Ok(matches);
    }
    let (mut to, mut step) = (count, FIRST_STEP);
    let mut steps = Vec::new();
    let mut found = 0;
    while to > 0 && found < last {
        let from = to.saturating_sub(step);
        let these = among(ground, search, from..to, clock).await?;
        found += these.len();
        steps.push(these);
        (to, step) = (from, step * 2);
    }
    matches.last = Some(steps.into_iter().rev().flatten().collect());
    Ok(matches)
}

/// All that match at these places.
async fn among(
    ground: &Arc<Ground>,
    search: &Arc<Search>,
    places: Range<usize>,
    clock: &Clock,
) -> Result<Vec<Found>, StoreError> {
    let (mut found, open) = decide(ground, search, places).await;
    if !open.is_empty() {
        found.extend(each(ground, open, Matching(Arc::clone(search)), clock.clone()).await?);
        found.sort_unstable_by_key(|f| f.number);
    }
    Ok(found)
}

/// What matches by the table alone, and the places of messages whose files must decide.
pub(super) async fn decide(
    ground: &Ground,
    search: &Search,
    places: impl ExactSizeIterator<Item = usize>,
) -> (Vec<Found>, Vec<usize>) {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let count = places.len();
    for (nth, at) in places.enumerate() {
        if nth % LISTED_AT_ONCE == LISTED_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        // A message that is gone matches nothing.
        let Some(listed) = ground.listed(at) else { continue };
        match search.matches_listed(&listed) {
            Some(true) => found.push(Found::of(listed)),
            Some(false) => {}
            None => open.push(at),
        }
    }
    ground.progress.advance(count - open.len());
    (found, open)
}

/// Matching by the file.
pub(super) struct Matching(pub(super) Arc<Search>);

impl Task for Matching {
    type Found = Found;

    fn on(
        &self,
        message: &mut InFile<'_>,
        scratch: &mut Scratch,
        given_up: &AtomicBool,
    ) -> Result<Option<Found>, StoreError> {
        let found = Found::of(message.listed);
        Ok(self.0.matches(message, scratch, given_up)?.then_some(found))
    }
}
