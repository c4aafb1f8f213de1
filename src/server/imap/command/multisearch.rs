//! ESEARCH: one search in many mailboxes (RFC 7377). The selected mailbox stays selected, and is searched as its client
//! sees it; the others as they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::answer::Answer;
use super::context;
use super::finding::Matches;
use super::finding::find;
use super::progress::Progress;
use super::progress::attend;
use super::reading::Ground;
use super::search::keep_unsorted;
use super::search::now;
use super::search::prepare;
use super::search::respond_saved;
use super::user;
use crate::mail::limits::IMAP_SEARCH_MAILBOXES;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::matching::Scope;
use crate::protocol::imap::matching::Search;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::esearch::ReturnOption;
use crate::protocol::imap::syntax::esearch::Returns;
use crate::protocol::imap::syntax::filter::Filter;
use crate::protocol::imap::syntax::multisearch::EsearchArguments;
use crate::protocol::imap::syntax::search::Key;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::session::User;
use crate::server::imap::wire::End;
use crate::store::Mailbox;
use crate::store::StoreError;

pub(super) async fn run(session: &mut Session, arguments: EsearchArguments) -> Result<Status, End> {
    let EsearchArguments { sources, returns, key } = arguments;
    let selected_is_searched = sources.contains(&Filter::Selected);
    let is_selected = user!(session).selected.is_some();
    // RFC 7377 §2.2.
    if selected_is_searched && !is_selected {
        return Ok(Status::bad("No mailbox is selected"));
    }
    if returns.has(ReturnOption::Save) && sources.iter().any(|source| *source != Filter::Selected) {
        return Ok(Status::bad("Only what is found in the selected mailbox can be saved"));
    }
    if returns.has(ReturnOption::Update) && !is_selected {
        return Ok(Status::bad("Only a search in the selected mailbox can be kept up to date"));
    }
    let progress = Arc::new(Progress::default());
    if selected_is_searched {
        let (ground, search, mod_sequences) = match prepare(session, Some(&returns), key.clone()) {
            Ok(prepared) => prepared,
            Err(refused) => return Ok(refused),
        };
        match one(session, &ground, &search, &returns, mod_sequences, &progress).await? {
            Ok(matches) => keep_unsorted(session, &ground, &search, Numbers::Uid, &returns, &matches),
            Err(error) => return Ok(errors::of_store(&error)),
        }
    } else if returns.has(ReturnOption::Update) {
        let tag = session.tag.clone();
        context::refuse(session, &tag);
    }
    let key = match key {
        Ok(key) => key,
        Err(error) => return Ok(errors::of_syntax(&error)),
    };
    let names = match names(user!(session), &sources, selected_is_searched).await {
        Ok(names) => names,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    if names.len() > IMAP_SEARCH_MAILBOXES {
        // RFC 7377 §2.4.
        return Ok(Status::no(Code::Limit, "Too many mailboxes for one search"));
    }
    for name in names {
        let opened = user!(session).account.mailbox(&name).await;
        let searched = match opened {
            Ok(mailbox) => other(session, mailbox, &key, &returns, &progress).await?,
            Err(error) => Err(error),
        };
        match searched {
            // RFC 5465 §6: what is not there is passed over.
            Ok(()) | Err(StoreError::NoSuchMailbox) => {}
            Err(error) => return Ok(errors::of_store(&error)),
        }
    }
    Ok(Status::ok("Searched"))
}

/// Searches a mailbox that is not selected.
async fn other(
    session: &mut Session,
    mailbox: Arc<Mailbox>,
    key: &Key,
    returns: &Returns,
    progress: &Arc<Progress>,
) -> Result<Result<(), StoreError>, End> {
    if let Err(error) = mailbox.refresh().await {
        return Ok(Err(error));
    }
    let ground = Ground::unselected(mailbox, Arc::clone(progress));
    let scope = Scope {
        largest_number: u32::try_from(ground.entries.len()).ok().filter(|n| *n > 0),
        largest_uid: ground.entries.last().map(|e| e.uid.get()),
        now: now(session),
        ..Scope::default()
    };
    let search = Arc::new(Search::new(key.clone(), &scope));
    Ok(one(session, &ground, &search, returns, key.asks_mod_sequence(), progress).await?.map(drop))
}

/// Searches one mailbox, and answers where something is found (RFC 7377 §2.1).
async fn one(
    session: &mut Session,
    ground: &Arc<Ground>,
    search: &Arc<Search>,
    returns: &Returns,
    mod_sequences: bool,
    progress: &Progress,
) -> Result<Result<Matches, StoreError>, End> {
    let clock = session.services.clock.clone();
    let work = find(ground, search, returns.ends(), &clock);
    let matches = match attend(session, progress, work).await? {
        Ok(matches) => matches,
        Err(error) => return Ok(Err(error)),
    };
    respond_saved(session, returns, &matches);
    if returns.answers() && !(matches.first().is_empty() && matches.last().is_empty()) {
        let selected = session.user.as_ref().and_then(|user| user.selected.as_ref());
        let selected = selected.filter(|selected| Arc::ptr_eq(&selected.mailbox, &ground.mailbox));
        // A mailbox of somebody else goes by the name that the client knows.
        let shown = selected.and_then(|selected| selected.shared_as.clone());
        let name = session.spelling().encode(&shown.unwrap_or_else(|| ground.mailbox.name()));
        let place = Some((name.as_str(), ground.snapshot.validity));
        let answer = Answer { tag: &session.tag, place, numbers: Numbers::Uid, returns, mod_sequences };
        answer.write(&mut session.wire, &matches).await?;
    }
    Ok(Ok(matches))
}

/// The mailboxes that the sources name, each once; without the selected one where that is searched by itself.
async fn names(user: &User, sources: &[Filter], without_selected: bool) -> Result<BTreeSet<MailboxName>, StoreError> {
    let mut names = BTreeSet::new();
    if sources.iter().all(|source| *source == Filter::Selected) {
        return Ok(names);
    }
    let all = user.account.list().await?;
    for source in sources {
        match source {
            Filter::Selected => {}
            // Named ones that are not there are passed over later.
            Filter::Mailboxes(these) => names.extend(these.iter().cloned()),
            source => names.extend(
                all.iter().filter(|m| m.selectable && source.covers(&m.name, m.subscribed)).map(|m| m.name.clone()),
            ),
        }
    }
    if let Some(selected) = user.selected.as_ref().filter(|s| without_selected && s.shared_as.is_none()) {
        names.remove(&selected.mailbox.name());
    }
    Ok(names)
}
