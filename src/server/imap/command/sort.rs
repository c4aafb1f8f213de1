//! SORT and UID SORT (RFC 5256, RFC 5957), with what may be returned (RFC 5267 §3).

use std::sync::atomic::AtomicBool;

use super::context;
use super::finding::Found;
use super::finding::Matches;
use super::finding::find;
use super::progress::attend;
use super::reading::Ground;
use super::reading::InFile;
use super::reading::Task;
use super::reading::each;
use super::search::prepare;
use super::search::respond;
use crate::clock::Clock;
use crate::protocol::imap::matching::Candidate;
use crate::protocol::imap::matching::Scratch;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::sort::SortValue;
use crate::protocol::imap::sort::compare;
use crate::protocol::imap::sort::sent_date;
use crate::protocol::imap::sort::text_of;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::esearch::ReturnOption;
use crate::protocol::imap::syntax::sort::SortArguments;
use crate::protocol::imap::syntax::sort::SortCriterion;
use crate::protocol::imap::syntax::sort::SortKey;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::StoreError;

/// A message and what it is sorted by.
pub(super) type Sorted = (Found, Box<[SortValue]>);

pub(super) async fn run(session: &mut Session, numbers: Numbers, arguments: SortArguments) -> Result<Status, End> {
    let returns = arguments.returns;
    let (ground, search, mod_sequences) = match prepare(session, returns.as_ref(), arguments.key) {
        Ok(prepared) => prepared,
        Err(refused) => return Ok(refused),
    };
    let clock = session.services.clock.clone();
    let work = async {
        let matches = find(&ground, &search, None, &clock).await?;
        sorted(&ground, matches.first(), &arguments.criteria, &clock).await
    };
    let sorted = match attend(session, &ground.progress, work).await? {
        Ok(sorted) => sorted,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let matches = Matches::all(sorted.iter().map(|(found, _)| *found).collect());
    match returns {
        Some(returns) => {
            respond(session, numbers, &returns, &matches, mod_sequences).await?;
            if returns.has(ReturnOption::Update) {
                context::keep(session, &ground, &search, numbers, arguments.criteria, sorted);
            }
        }
        None => {
            session.wire.out.raw("* SORT");
            for found in matches.first() {
                session.wire.out.raw(&format!(" {}", found.named(numbers)));
                session.wire.flush_if_full().await?;
            }
            session.wire.out.raw("\r\n");
        }
    }
    Ok(Status::ok("Sorted"))
}

/// The messages in the order that is asked for; those that went away meanwhile are not among them.
///
/// # Errors
/// What reading says.
pub(super) async fn sorted(
    ground: &std::sync::Arc<Ground>,
    found: &[Found],
    criteria: &[SortCriterion],
    clock: &Clock,
) -> Result<Vec<Sorted>, StoreError> {
    ground.progress.expect(found.len());
    let places = found.iter().map(|f| f.number as usize - 1).collect();
    let keys = Keys { criteria: criteria.to_vec() };
    let mut sorted = each(ground, places, keys, clock.clone()).await?;
    let criteria = criteria.to_vec();
    // Sorting 100,000 texts takes longer than others should wait.
    let sorting = tokio::task::spawn_blocking(move || {
        // What is equal stays in the order of the mailbox (RFC 5256 §3).
        sorted.sort_by(|(_, a), (_, b)| compare(&criteria, a, b));
        sorted
    });
    sorting.await.map_err(|_| StoreError::io("sorting")(std::io::Error::other("a bug ended the sort")))
}

/// Reads what messages are sorted by.
struct Keys {
    criteria: Vec<SortCriterion>,
}

impl Task for Keys {
    type Found = Sorted;

    fn on(&self, message: &mut InFile<'_>, _: &mut Scratch, _: &AtomicBool) -> Result<Option<Sorted>, StoreError> {
        let found = Found::of(message.listed);
        let mut values = Vec::with_capacity(self.criteria.len());
        for criterion in &self.criteria {
            values.push(match criterion.key {
                SortKey::Arrival => SortValue::Number(message.date()?),
                SortKey::Size => SortValue::Number(i64::try_from(message.size()?).unwrap_or(i64::MAX)),
                SortKey::Date => SortValue::Number(date_of(message)?),
                key => SortValue::Text(text_of(message.header()?, key)),
            });
        }
        Ok(Some((found, values.into())))
    }
}

/// The sent date, or INTERNALDATE where there is none (RFC 5256 §2.2).
pub(super) fn date_of(message: &mut InFile<'_>) -> Result<i64, StoreError> {
    match sent_date(message.header()?) {
        Some(date) => Ok(date),
        None => message.date(),
    }
}
