//! SEARCH and UID SEARCH (RFC 3501 §6.4.4), in batches on blocking threads, given up when the client goes away.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::selected;
use crate::clock::Clock;
use crate::mail::flags::Flags;
use crate::mail::ids::Uid;
use crate::protocol::imap::matching::Candidate;
use crate::protocol::imap::matching::Search;
use crate::protocol::imap::matching::SearchText;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::search::Key;
use crate::protocol::imap::view::Entry;
use crate::server::imap::errors;
use crate::server::imap::selected::keyword_slot;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::Mailbox;
use crate::store::Message;
use crate::store::Snapshot;
use crate::store::StoreError;

/// One batch lasts about so long; between batches a search can be given up, and other work gets the thread.
const BATCH: Duration = Duration::from_millis(50);

/// What a batch needs; shared with the thread it runs on.
#[derive(Debug)]
struct Job {
    search: Search,
    mailbox: Arc<Mailbox>,
    snapshot: Arc<Snapshot>,
    entries: Vec<Entry>,
    clock: Clock,
}

pub(super) async fn run(session: &mut Session, numbers: Numbers, key: Key) -> Result<Status, End> {
    let clock = session.services.clock.clone();
    let selected = selected!(session);
    let exists = Some(selected.view.exists()).filter(|n| *n > 0);
    let job = Arc::new(Job {
        search: Search::new(key, exists, selected.view.last_uid().map(Uid::get)),
        mailbox: Arc::clone(&selected.mailbox),
        snapshot: selected.mailbox.snapshot(),
        entries: selected.view.entries().to_vec(),
        clock,
    });
    let mut found: Vec<(u32, Uid)> = Vec::new();
    let mut at = 0;
    while at < job.entries.len() {
        let batch = Arc::clone(&job);
        let work = tokio::task::spawn_blocking(move || batch.run(at));
        match session.wire.attend(work).await? {
            Ok(Ok((matches, next))) => {
                found.extend(matches);
                at = next;
            }
            Ok(Err(error)) => return Ok(errors::of_store(&error)),
            Err(_) => return Err(End::Bye("A search failed")),
        }
    }
    session.wire.out.raw("* SEARCH");
    for (number, uid) in found {
        let n = if numbers == Numbers::Uid { uid.get() } else { number };
        session.wire.out.raw(&format!(" {n}"));
        session.wire.flush_if_full().await?;
    }
    session.wire.out.raw("\r\n");
    Ok(Status::ok("Searched"))
}

impl Job {
    /// Searches from message `at` on, for a while; says where to go on.
    fn run(&self, at: usize) -> Result<(Vec<(u32, Uid)>, usize), StoreError> {
        let until: Instant = self.clock.instant() + BATCH;
        let mut found = Vec::new();
        let mut next = at;
        for entry in &self.entries[at..] {
            next += 1;
            let number = u32::try_from(next).unwrap_or(u32::MAX);
            match self.matches(number, entry) {
                Ok(true) => found.push((number, entry.uid)),
                // A message that is gone matches nothing.
                Ok(false) | Err(StoreError::MessageGone) => {}
                Err(error) => return Err(error),
            }
            // Looking at the clock costs as much as looking at a flag.
            if (self.search.reads_files() || next.is_multiple_of(1000)) && self.clock.instant() >= until {
                break;
            }
        }
        Ok((found, next))
    }

    fn matches(&self, number: u32, entry: &Entry) -> Result<bool, StoreError> {
        let Some(message) = self.snapshot.find(entry.uid) else { return Ok(false) };
        self.search.matches(&mut Looked { job: self, message, number, recent: entry.recent, text: None })
    }
}

/// A message that is looked at.
struct Looked<'a> {
    job: &'a Job,
    message: &'a Message,
    number: u32,
    recent: bool,
    text: Option<SearchText>,
}

impl Candidate for Looked<'_> {
    type Error = StoreError;

    fn number(&self) -> u32 {
        self.number
    }

    fn uid(&self) -> u32 {
        self.message.uid.get()
    }

    fn flags(&self) -> Flags {
        self.message.flags
    }

    fn has_keyword(&self, name: &str) -> bool {
        keyword_slot(&self.job.snapshot, name).is_some_and(|slot| self.message.flags.has_keyword(slot))
    }

    fn is_recent(&self) -> bool {
        self.recent
    }

    fn date(&mut self) -> Result<i64, StoreError> {
        match self.message.date() {
            Some(date) => Ok(date),
            None => one(self.job.mailbox.dates_blocking(&[self.message.uid])?),
        }
    }

    fn size(&mut self) -> Result<u64, StoreError> {
        match self.message.wire_size() {
            Some(size) => Ok(size),
            None => one(self.job.mailbox.sizes_blocking(&[self.message.uid])?),
        }
    }

    fn text(&mut self) -> Result<&mut SearchText, StoreError> {
        if self.text.is_none() {
            self.text = Some(SearchText::new(self.job.mailbox.read_blocking(self.message.uid)?));
        }
        self.text.as_mut().ok_or(StoreError::MessageGone)
    }
}

fn one<T>(found: Vec<(Uid, T)>) -> Result<T, StoreError> {
    found.into_iter().next().map(|(_, value)| value).ok_or(StoreError::MessageGone)
}
