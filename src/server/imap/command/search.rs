//! SEARCH and UID SEARCH (RFC 3501 §6.4.4, RFC 9051 §6.4.4), with what may be returned (RFC 4731) and saved (RFC 5182).

use std::sync::Arc;

use super::answer;
use super::answer::Answer;
use super::context;
use super::finding::Matches;
use super::finding::find;
use super::progress::attend;
use super::reading::Ground;
use crate::mail::ids::Uid;
use crate::protocol::imap::matching::Scope;
use crate::protocol::imap::matching::Search;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::esearch::ReturnOption;
use crate::protocol::imap::syntax::esearch::Returns;
use crate::protocol::imap::syntax::search::Key;
use crate::protocol::imap::syntax::search::SearchArguments;
use crate::protocol::imap::syntax::set::Ranges;
use crate::server::imap::errors;
use crate::server::imap::selected::Selected;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, numbers: Numbers, arguments: SearchArguments) -> Result<Status, End> {
    if session.enabled.utf8 && arguments.names_charset {
        // RFC 6855 §3.
        return Ok(Status::bad("Strings are UTF-8, and no other charset is named"));
    }
    // RFC 9051 §6.4.4: who speaks IMAP4rev2 gets ESEARCH in any case.
    let returns = arguments.returns.or_else(|| session.enabled.rev2.then(Returns::all));
    let (ground, search, mod_sequences) = match prepare(session, returns.as_ref(), arguments.key) {
        Ok(prepared) => prepared,
        Err(refused) => return Ok(refused),
    };
    let clock = session.services.clock.clone();
    let ends = returns.as_ref().and_then(Returns::ends);
    let work = find(&ground, &search, ends, &clock);
    let matches = match attend(session, &ground.progress, work).await? {
        Ok(matches) => matches,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    match returns {
        Some(returns) => {
            respond(session, numbers, &returns, &matches, mod_sequences).await?;
            keep_unsorted(session, &ground, &search, numbers, &returns, &matches);
        }
        None => plain(session, numbers, &matches, mod_sequences).await?,
    }
    Ok(Status::ok("Searched"))
}

/// What a command needs that searches the selected mailbox; or how it is refused.
pub(super) fn prepare(
    session: &mut Session,
    returns: Option<&Returns>,
    key: Parsed<Key>,
) -> Result<(Arc<Ground>, Arc<Search>, bool), Status> {
    let now = now(session);
    let Some(selected) = session.user.as_mut().and_then(|user| user.selected.as_mut()) else {
        return Err(Status::bad("No mailbox is selected"));
    };
    if returns.is_some_and(|returns| returns.has(ReturnOption::Update))
        && selected.live.iter().any(|live| live.tag == session.tag)
    {
        // RFC 5267 §4.3.
        return Err(Status::bad("Tag reuse"));
    }
    let scope = scope(selected, now);
    if returns.is_some_and(|returns| returns.has(ReturnOption::Save)) {
        // RFC 5182 §2.1: should this end with NO, nothing is saved.
        selected.saved = Ranges::default();
    }
    let key = key.map_err(|error| errors::of_syntax(&error))?;
    let ground = Ground::selected(selected).map_err(|error| errors::of_store(&error))?;
    let mod_sequences = key.asks_mod_sequence();
    if mod_sequences {
        session.enable_condstore();
    }
    Ok((ground, Arc::new(Search::new(key, &scope)), mod_sequences))
}

/// Seconds since 1970.
pub(super) fn now(session: &Session) -> i64 {
    i64::try_from(session.services.clock.since_epoch().as_secs()).unwrap_or(i64::MAX)
}

/// What the keys of a search in the selected mailbox are relative to.
fn scope(selected: &Selected, now: i64) -> Scope {
    Scope {
        largest_number: Some(selected.view.exists()).filter(|n| *n > 0),
        largest_uid: selected.view.last_uid().map(Uid::get),
        saved: selected.saved.clone(),
        now,
    }
}

/// Writes what shall be returned, and saves what shall be saved.
pub(super) async fn respond(
    session: &mut Session,
    numbers: Numbers,
    returns: &Returns,
    matches: &Matches,
    mod_sequences: bool,
) -> Result<(), End> {
    respond_saved(session, returns, matches);
    if returns.answers() {
        let answer = Answer { tag: &session.tag, place: None, numbers, returns, mod_sequences };
        answer.write(&mut session.wire, matches).await?;
    }
    Ok(())
}

/// Keeps what was found up to date, where that is asked for.
pub(super) fn keep_unsorted(
    session: &mut Session,
    ground: &Ground,
    search: &Search,
    numbers: Numbers,
    returns: &Returns,
    matches: &Matches,
) {
    if returns.has(ReturnOption::Update) {
        let results = matches.first().iter().map(|found| (*found, Box::default())).collect();
        context::keep(session, ground, search, numbers, Vec::new(), results);
    }
}

/// Saves what was found, where that is asked for.
pub(super) fn respond_saved(session: &mut Session, returns: &Returns, matches: &Matches) {
    let selected = session.user.as_mut().and_then(|user| user.selected.as_mut());
    if let Some(selected) = selected.filter(|_| returns.has(ReturnOption::Save)) {
        selected.saved = answer::saved(returns, matches);
    }
}

/// `* SEARCH`, with the highest mod-sequence where one was asked for (RFC 7162 §3.1.6).
async fn plain(session: &mut Session, numbers: Numbers, matches: &Matches, mod_sequences: bool) -> Result<(), End> {
    session.wire.out.raw("* SEARCH");
    for found in matches.first() {
        session.wire.out.raw(&format!(" {}", found.named(numbers)));
        session.wire.flush_if_full().await?;
    }
    if mod_sequences && let Some(highest) = matches.first().iter().map(|f| f.modseq).max() {
        session.wire.out.raw(&format!(" (MODSEQ {highest})"));
    }
    session.wire.out.raw("\r\n");
    Ok(())
}
