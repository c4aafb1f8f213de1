//! STORE and UID STORE (RFC 3501 §6.4.6).

use super::selected;
use crate::mail::flags::Flags;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::set::SequenceSet;
use crate::protocol::imap::syntax::store::NamedFlags;
use crate::protocol::imap::syntax::store::StoreArguments;
use crate::protocol::imap::syntax::store::StoreMode;
use crate::server::imap::errors;
use crate::server::imap::selected::flag_names;
use crate::server::imap::selected::keyword_slot;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::FlagChange;
use crate::store::FlagOp;
use crate::store::Snapshot;

pub(super) async fn run(
    session: &mut Session,
    numbers: Numbers,
    set: &SequenceSet,
    arguments: StoreArguments,
) -> Result<Status, End> {
    let selected = selected!(session);
    if selected.read_only {
        return Ok(Status::no(Code::ReadOnly, "The mailbox was examined"));
    }
    let targets = selected.resolve(numbers, set);
    let uids: Vec<_> = targets.iter().map(|(_, e)| e.uid).collect();
    let op = match arguments.mode {
        StoreMode::Replace => FlagOp::Replace,
        StoreMode::Add => FlagOp::Add,
        StoreMode::Remove => FlagOp::Remove,
    };
    let change = FlagChange { op, system: arguments.flags.system, keywords: arguments.flags.keywords.clone() };
    let now = match selected.mailbox.store(selected.snapshot.validity, &uids, change).await {
        Ok(now) => now,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    if now.keywords != selected.snapshot.keywords {
        // A new keyword is told before a message that has it.
        selected.snapshot = std::sync::Arc::clone(&now);
        selected.write_flags(&mut session.wire.out);
    }
    let given = slots(&now, &arguments.flags);
    let mut gone = false;
    for (number, entry) in targets {
        session.wire.flush_if_full().await?;
        let Some(message) = now.find(entry.uid) else {
            gone = true;
            continue;
        };
        if !arguments.silent {
            let flags = flag_names(&now, message.flags, entry.recent);
            session.wire.out.untagged(&match numbers {
                Numbers::Uid => format!("{number} FETCH (UID {} FLAGS ({flags}))", entry.uid),
                Numbers::Sequence => format!("{number} FETCH (FLAGS ({flags}))"),
            });
            selected.view.told(entry.uid, message.flags);
        } else if applied(arguments.mode, entry.flags, given) == message.flags {
            // What the client can work out itself; anything else is told as news.
            selected.view.told(entry.uid, message.flags);
        }
    }
    if gone && numbers == Numbers::Sequence {
        return Ok(Status::no(Code::ExpungeIssued, "Some messages are gone"));
    }
    Ok(Status::ok("Stored"))
}

fn applied(mode: StoreMode, old: Flags, given: Flags) -> Flags {
    match mode {
        StoreMode::Replace => given,
        StoreMode::Add => old.union(given),
        StoreMode::Remove => old.without(given),
    }
}

fn slots(snapshot: &Snapshot, named: &NamedFlags) -> Flags {
    let slots = named.keywords.iter().filter_map(|name| keyword_slot(snapshot, name));
    slots.fold(named.system, Flags::with_keyword)
}
