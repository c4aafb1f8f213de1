//! THREAD and UID THREAD (RFC 5256).

use std::hash::BuildHasher;
use std::hash::RandomState;
use std::sync::atomic::AtomicBool;

use super::finding::Found;
use super::finding::find;
use super::progress::attend;
use super::reading::InFile;
use super::reading::Task;
use super::reading::each;
use super::search::prepare;
use super::sort::date_of;
use crate::mail::limits::IMAP_THREAD_REFERENCES;
use crate::message::base_subject::base_subject;
use crate::message::fields::fields;
use crate::message::message_id::message_ids;
use crate::protocol::imap::matching::Candidate;
use crate::protocol::imap::matching::Scratch;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::sort::prepared;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::sort::ThreadAlgorithm;
use crate::protocol::imap::syntax::sort::ThreadArguments;
use crate::protocol::imap::thread::Member;
use crate::protocol::imap::thread::threads;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::StoreError;

pub(super) async fn run(session: &mut Session, numbers: Numbers, arguments: ThreadArguments) -> Result<Status, End> {
    let (ground, search, _) = match prepare(session, None, arguments.key) {
        Ok(prepared) => prepared,
        Err(refused) => return Ok(refused),
    };
    let clock = session.services.clock.clone();
    let algorithm = arguments.algorithm;
    let work = async {
        let matches = find(&ground, &search, None, &clock).await?;
        let places: Vec<usize> = matches.first().iter().map(|f| f.number as usize - 1).collect();
        ground.progress.expect(places.len());
        let members = Members { algorithm, numbers, one: RandomState::new(), other: RandomState::new() };
        let members = each(&ground, places, members, clock.clone()).await?;
        // A large mailbox takes longer than others should wait.
        let threading = tokio::task::spawn_blocking(move || threads(algorithm, &members).to_text(&members));
        threading.await.map_err(|_| StoreError::io("threading")(std::io::Error::other("a bug ended the threading")))
    };
    let text = match attend(session, &ground.progress, work).await? {
        Ok(text) => text,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    session.wire.out.raw("* THREAD");
    if !text.is_empty() {
        session.wire.out.raw(" ");
        session.wire.out.raw(&text);
    }
    session.wire.out.raw("\r\n");
    Ok(Status::ok("Threaded"))
}

/// Reads what messages are threaded by.
struct Members {
    algorithm: ThreadAlgorithm,
    numbers: Numbers,
    /// Ids are kept as 128 bits: no two of a mailbox are the same by accident, nor by design, as nobody knows the keys.
    one: RandomState,
    other: RandomState,
}

impl Members {
    fn id(&self, id: &[u8]) -> u128 {
        u128::from(self.one.hash_one(id)) << 64 | u128::from(self.other.hash_one(id))
    }

    /// RFC 5256 §3: the ids in `References`, or the first of `In-Reply-To` where there are none.
    fn references(&self, header: &[u8]) -> Vec<u128> {
        let named = |name| fields(header).filter(move |f| f.is(name)).flat_map(|f| message_ids(f.value));
        let mut ids: Vec<u128> = Vec::new();
        for id in named("References") {
            if ids.len() == IMAP_THREAD_REFERENCES {
                // The first leads to the thread, the last to the parent.
                ids.remove(1);
            }
            ids.push(self.id(&id));
        }
        if ids.is_empty() {
            ids.extend(named("In-Reply-To").next().map(|id| self.id(&id)));
        }
        ids
    }
}

impl Task for Members {
    type Found = Member;

    fn on(&self, message: &mut InFile<'_>, _: &mut Scratch, _: &AtomicBool) -> Result<Option<Member>, StoreError> {
        let found = Found::of(message.listed);
        let mut member = Member { name: found.named(self.numbers), date: date_of(message)?, ..Member::default() };
        let header = message.header()?;
        if self.algorithm != ThreadAlgorithm::Refs {
            let subject = fields(header).find(|f| f.is("Subject")).map(|f| base_subject(f.value)).unwrap_or_default();
            (member.subject, member.is_reply) = (prepared(&subject.text), subject.is_reply);
        }
        if self.algorithm != ThreadAlgorithm::OrderedSubject {
            let ids = fields(header).find(|f| f.is("Message-ID")).and_then(|f| message_ids(f.value).next());
            member.id = ids.map(|id| self.id(&id));
            member.references = self.references(header);
        }
        Ok(Some(member))
    }
}
