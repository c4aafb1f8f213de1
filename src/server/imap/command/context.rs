//! Live searches and sorts (RFC 5267 §4.3): begun by RETURN (UPDATE), told with the news, ended by CANCELUPDATE.
//!
//! Only messages that changed, or came, since the last look are looked at again, and their files only where the table
//! does not decide. Searches for an age are looked at as a whole, now and then.

use std::collections::HashSet;
use std::sync::Arc;

use super::finding::Found;
use super::finding::Matching;
use super::finding::decide;
use super::reading::Ground;
use super::reading::each;
use super::search::now;
use super::sort::Sorted;
use super::sort::sorted;
use crate::mail::ids::Uid;
use crate::mail::limits::IMAP_CONTEXTS;
use crate::mail::limits::IMAP_IDLE_REFRESH;
use crate::mail::limits::IMAP_SORTED_CONTEXT_MESSAGES;
use crate::protocol::imap::matching::Search;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::set::Ranges;
use crate::protocol::imap::syntax::sort::SortCriterion;
use crate::server::imap::live::LiveSearch;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::StoreError;

/// Keeps a search up to date from now on, or says that it is not (RFC 5267 §4.3.1).
pub(super) fn keep(
    session: &mut Session,
    ground: &Ground,
    search: &Search,
    numbers: Numbers,
    criteria: Vec<SortCriterion>,
    sorted: Vec<Sorted>,
) {
    let now = now(session);
    let tag = session.tag.clone();
    let Some(selected) = session.user.as_mut().and_then(|user| user.selected.as_mut()) else { return };
    let too_large = !criteria.is_empty() && sorted.len() > IMAP_SORTED_CONTEXT_MESSAGES;
    if selected.live.len() >= IMAP_CONTEXTS || too_large {
        return refuse(session, &tag);
    }
    let mut search = search.clone();
    search.pin(|numbers| {
        let entries = (1..).zip(&ground.entries).filter(|(n, _)| numbers.contains(*n));
        Ranges::from_ascending(entries.map(|(_, e)| e.uid.get()))
    });
    selected.live.push(LiveSearch {
        tag,
        numbers,
        timed: search.is_timed().then_some(now),
        search: Arc::new(search),
        criteria,
        results: sorted.into_iter().map(|(found, values)| (found.uid, values)).collect(),
        seen: ground.snapshot.highest_modseq,
        last: ground.entries.last().map(|e| e.uid),
    });
}

/// `NO [NOUPDATE "B02"]`.
pub(super) fn refuse(session: &mut Session, tag: &str) {
    session.wire.out.untagged(&format!("NO [NOUPDATE \"{tag}\"] The result is not kept up to date"));
}

/// CANCELUPDATE (RFC 5267 §4.3.5).
pub(super) fn cancel(session: &mut Session, tags: &[String]) -> Status {
    let Some(selected) = session.user.as_mut().and_then(|user| user.selected.as_mut()) else {
        return Status::bad("No mailbox is selected");
    };
    let known = tags.iter().all(|tag| selected.live.iter().any(|live| live.tag == *tag));
    selected.live.retain(|live| !tags.contains(&live.tag));
    if known { Status::ok("No further updates") } else { Status::no(Code::None, "No such search") }
}

/// Tells what changed in the results. After the client was told of new messages and flags.
pub(in crate::server::imap) async fn refresh(session: &mut Session) -> Result<(), End> {
    let now = now(session);
    let Some(selected) = session.user.as_mut().and_then(|user| user.selected.as_mut()) else { return Ok(()) };
    if selected.live.is_empty() {
        return Ok(());
    }
    let Ok(ground) = Ground::selected(selected) else { return Ok(()) };
    let mut all = std::mem::take(&mut selected.live);
    let mut kept = Vec::with_capacity(all.len());
    for mut live in all.drain(..) {
        if let Err(error) = one(session, &ground, &mut live, now).await? {
            // What is not seen now is seen next time.
            tracing::debug!(%error, "imap: a live search could not be brought up to date");
        }
        if !live.criteria.is_empty() && live.results.len() > IMAP_SORTED_CONTEXT_MESSAGES {
            refuse(session, &live.tag);
        } else {
            kept.push(live);
        }
        session.wire.flush_if_full().await?;
    }
    if let Some(selected) = session.user.as_mut().and_then(|user| user.selected.as_mut()) {
        selected.live = kept;
    }
    Ok(())
}

/// Brings one search up to date.
async fn one(
    session: &mut Session,
    ground: &Arc<Ground>,
    live: &mut LiveSearch,
    now: i64,
) -> Result<Result<(), StoreError>, End> {
    let refresh = i64::try_from(IMAP_IDLE_REFRESH.as_secs()).unwrap_or(i64::MAX);
    let due = live.timed.is_some_and(|at| now.saturating_sub(at) >= refresh);
    if due {
        live.timed = Some(now);
        let mut search = Search::clone(&live.search);
        search.set_now(now);
        live.search = Arc::new(search);
    }
    let places = changed(ground, live, due);
    if places.is_empty() {
        return Ok(Ok(()));
    }
    let looked_at: Vec<Uid> = places.iter().filter_map(|at| ground.entries.get(*at)).map(|e| e.uid).collect();
    let clock = session.services.clock.clone();
    let known = live.known();
    let (search, criteria) = (&live.search, &live.criteria);
    let work = async {
        let (mut found, open) = decide(ground, search, places.into_iter()).await;
        if !open.is_empty() {
            found.extend(each(ground, open, Matching(Arc::clone(search)), clock.clone()).await?);
        }
        let new: Vec<Found> = found.iter().filter(|f| !known.contains(&f.uid)).copied().collect();
        let new = if criteria.is_empty() {
            new.into_iter().map(|found| (found, Box::default())).collect()
        } else {
            sorted(ground, &new, criteria, &clock).await?
        };
        Ok::<_, StoreError>((found, new))
    };
    let (found, new) = match session.wire.attend(work).await? {
        Ok(done) => done,
        Err(error) => return Ok(Err(error)),
    };
    let matching: HashSet<Uid> = found.iter().map(|f| f.uid).collect();
    let gone = looked_at.into_iter().filter(|uid| known.contains(uid) && !matching.contains(uid)).collect();
    if let Some(selected) = session.user.as_ref().and_then(|user| user.selected.as_ref()) {
        live.remove(&mut session.wire.out, &selected.view, &gone);
        let new = new.into_iter().map(|(found, values)| (found.uid, values)).collect();
        live.add(&mut session.wire.out, &selected.view, new);
    }
    live.seen = ground.snapshot.highest_modseq;
    live.last = ground.entries.last().map(|e| e.uid);
    Ok(Ok(()))
}

/// The places of messages that have to be looked at. One that is expunged and still shown stays as it is until the client
/// is told.
fn changed(ground: &Ground, live: &LiveSearch, all: bool) -> Vec<usize> {
    if !all && ground.snapshot.highest_modseq <= live.seen && ground.entries.last().map(|e| e.uid) == live.last {
        return Vec::new();
    }
    let is_new = |uid: Uid| live.last.is_none_or(|last| uid > last);
    let places = (0..ground.entries.len()).filter(|at| {
        let message = ground.listed(*at).map(|listed| *listed.message);
        message.is_some_and(|m| all || m.modseq > live.seen || is_new(m.uid))
    });
    places.collect()
}
