//! STORE and UID STORE (RFC 3501 §6.4.6).

use std::collections::HashSet;

use super::selected;
use crate::mail::flags::Flags;
use crate::mail::ids::Uid;
use crate::mail::rights::Right;
use crate::mail::rights::Rights;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::command::Numbers;
use crate::protocol::imap::syntax::set::Ranges;
use crate::protocol::imap::syntax::set::SequenceSet;
use crate::protocol::imap::syntax::store::NamedFlags;
use crate::protocol::imap::syntax::store::StoreArguments;
use crate::protocol::imap::syntax::store::StoreMode;
use crate::server::imap::errors;
use crate::server::imap::selected::Selected;
use crate::server::imap::selected::changeable;
use crate::server::imap::selected::keyword_slot;
use crate::server::imap::selected::push_flags;
use crate::server::imap::selected::push_modseq;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::FlagChange;
use crate::store::FlagOp;
use crate::store::Snapshot;
use crate::store::Unchanged;

pub(super) async fn run(
    session: &mut Session,
    numbers: Numbers,
    set: &SequenceSet,
    mut arguments: StoreArguments,
) -> Result<Status, End> {
    if arguments.unchanged_since.is_some() {
        // RFC 7162 §3.1.
        session.enable_condstore();
    }
    let enabled = session.enabled;
    let selected = selected!(session);
    if selected.exceeds(numbers, set) {
        return Ok(errors::no_such_number());
    }
    if selected.read_only {
        return Ok(Status::no(Code::ReadOnly, "The mailbox was examined"));
    }
    // What the client believes to have done.
    let (mode, named) = (arguments.mode, arguments.flags.clone());
    if selected.rights != Rights::OWNER {
        match restricted(selected, &mut arguments) {
            Ok(()) => {}
            Err(refusal) => return Ok(refusal),
        }
    }
    let targets = selected.resolve(numbers, set);
    let uids: Vec<_> = targets.iter().map(|(_, e)| e.uid).collect();
    let op = match arguments.mode {
        StoreMode::Replace => FlagOp::Replace,
        StoreMode::Add => FlagOp::Add,
        StoreMode::Remove => FlagOp::Remove,
    };
    let change = FlagChange { op, system: arguments.flags.system, keywords: arguments.flags.keywords.clone() };
    let validity = selected.snapshot.validity;
    let told = std::sync::Arc::clone(&selected.snapshot);
    let unchanged = arguments.unchanged_since.map(|since| Unchanged { since, told });
    let stored = selected.mailbox.store_if(validity, &uids, change, unchanged).await;
    let (now, modified) = match stored {
        Ok(stored) => stored,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    selected.take_keywords(&mut session.wire.out, &now);
    let given = slots(&now, &named);
    let modified: HashSet<Uid> = modified.into_iter().collect();
    let mut gone = false;
    let mut left_alone = Vec::new();
    for (number, entry) in targets {
        session.wire.flush_if_full().await?;
        let Some(message) = now.find(entry.uid) else {
            gone = true;
            continue;
        };
        if modified.contains(&entry.uid) {
            // What changed it is told as news.
            left_alone.push(if numbers == Numbers::Uid { entry.uid.get() } else { number });
            continue;
        }
        // RFC 7162 §3.1.3: the mod-sequence is told even where the flags are not.
        if !arguments.silent || enabled.condstore {
            let out = &mut session.wire.out;
            out.raw(&format!("* {number} FETCH ("));
            // RFC 7162 §3.2.4: with the UID, since there is QRESYNC, enabled or not.
            if numbers == Numbers::Uid || enabled.condstore {
                out.raw(&format!("UID {} ", entry.uid));
            }
            if !arguments.silent {
                push_flags(out, &now, message.flags, entry.recent);
            }
            if enabled.condstore {
                if !arguments.silent {
                    out.raw(" ");
                }
                push_modseq(out, message);
            }
            out.raw(")\r\n");
        }
        if !arguments.silent {
            selected.view.told(entry.uid, message.flags);
        } else if applied(mode, entry.flags, given) == message.flags {
            // What the client can work out itself; anything else is told as news.
            selected.view.told(entry.uid, message.flags);
        }
    }
    if !left_alone.is_empty() {
        left_alone.sort_unstable();
        return Ok(Status::ok("Some were changed before").with(Code::Modified(Ranges::from_ascending(left_alone))));
    }
    if gone && numbers == Numbers::Sequence {
        return Ok(Status::no(Code::ExpungeIssued, "Some messages are gone"));
    }
    Ok(Status::ok("Stored"))
}

/// Leaves of the arguments what the user may do (RFC 4314 §4). Replacing all flags needs the right to each of them; with
/// fewer, the flags that may be set are set.
fn restricted(selected: &Selected, arguments: &mut StoreArguments) -> Result<(), Status> {
    let (system, keywords) = changeable(selected.rights, arguments.flags.system, &arguments.flags.keywords);
    let all = [Right::Seen, Right::Write, Right::DeleteMessages].into_iter().all(|right| selected.rights.has(right));
    if system == Flags::NONE && keywords.is_empty() && !(all && arguments.mode == StoreMode::Replace) {
        return Err(Status::no(Code::NoPerm, "You have no right to change these flags"));
    }
    if arguments.mode == StoreMode::Replace && !all {
        arguments.mode = StoreMode::Add;
    }
    arguments.flags = NamedFlags { system, keywords };
    Ok(())
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
