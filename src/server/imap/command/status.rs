//! STATUS (RFC 3501 §6.3.10), also as LIST returns it (RFC 5819).

use std::sync::Arc;

use super::user;
use crate::mail::flags::SystemFlag;
use crate::mail::ids::Uid;
use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Right;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::mailbox::StatusItem;
use crate::protocol::imap::syntax::spelling::Spelling;
use crate::server::imap::Services;
use crate::server::imap::access;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::session::User;
use crate::server::imap::wire::End;
use crate::store::Mailbox;
use crate::store::Message;
use crate::store::Snapshot;
use crate::store::StoreError;

pub(super) async fn run(session: &mut Session, name: &MailboxName, items: &[StatusItem]) -> Result<Status, End> {
    if items.contains(&StatusItem::HighestModSeq) {
        // RFC 7162 §3.1.
        session.enable_condstore();
    }
    let (services, spelling) = (Arc::clone(&session.services), session.spelling());
    let mailbox = match access::open(session, name, Right::Read).await {
        Ok((mailbox, _)) => mailbox,
        Err(refusal) => return Ok(refusal.status()),
    };
    let user = user!(session);
    Ok(match write(&mut session.wire.out, user, &mailbox, name, items, &services, spelling).await {
        Ok(()) => Status::ok("Status told"),
        Err(error) => errors::of_store(&error),
    })
}

/// Writes the STATUS line of one mailbox.
pub(in crate::server::imap) async fn write(
    out: &mut Output,
    user: &User,
    mailbox: &Arc<Mailbox>,
    name: &MailboxName,
    items: &[StatusItem],
    services: &Services,
    spelling: Spelling,
) -> Result<(), StoreError> {
    let snapshot = with_sizes(mailbox, items).await?;
    // What this session has claimed is recent for nobody else, but still for it.
    let claimed = user.selected.as_ref().filter(|s| !s.read_only && Arc::ptr_eq(&s.mailbox, mailbox));
    let mut told: Vec<String> = Vec::new();
    for item in items {
        let value = match item {
            StatusItem::Messages => snapshot.messages.len().to_string(),
            StatusItem::Recent => {
                let ours = claimed.map_or(0, |s| usize::try_from(s.view.recent()).unwrap_or(0));
                (snapshot.recent() + ours).to_string()
            }
            StatusItem::UidNext => snapshot.next.to_string(),
            StatusItem::UidValidity => snapshot.validity.to_string(),
            StatusItem::Unseen => snapshot.unseen().to_string(),
            StatusItem::Size => octets(snapshot.messages.iter()).to_string(),
            StatusItem::Deleted => deleted(&snapshot).count().to_string(),
            StatusItem::DeletedStorage => octets(deleted(&snapshot)).to_string(),
            StatusItem::HighestModSeq => snapshot.highest_modseq.to_string(),
            StatusItem::AppendLimit => services.max_message_size.to_string(),
            StatusItem::MailboxId => format!("({})", mailbox.object_id().await?),
        };
        told.push(format!("{} {value}", item.name()));
    }
    out.raw("* STATUS ");
    out.utf8_string(spelling.encode(name).as_bytes());
    out.raw(&format!(" ({})\r\n", told.join(" ")));
    Ok(())
}

/// The state of a mailbox, with the sizes that these items need.
async fn with_sizes(mailbox: &Arc<Mailbox>, items: &[StatusItem]) -> Result<Arc<Snapshot>, StoreError> {
    let snapshot = mailbox.snapshot();
    let all = items.contains(&StatusItem::Size);
    if !all && !items.contains(&StatusItem::DeletedStorage) {
        return Ok(snapshot);
    }
    let needed = snapshot.messages.iter().filter(|m| all || m.flags.has(SystemFlag::Deleted));
    let unknown: Vec<Uid> = needed.filter(|m| m.wire_size().is_none()).map(|m| m.uid).collect();
    if unknown.is_empty() {
        return Ok(snapshot);
    }
    mailbox.sizes(&unknown).await?;
    Ok(mailbox.snapshot())
}

fn deleted(snapshot: &Snapshot) -> impl Iterator<Item = &Message> {
    snapshot.messages.iter().filter(|m| m.flags.has(SystemFlag::Deleted))
}

fn octets<'a>(messages: impl Iterator<Item = &'a Message>) -> u64 {
    messages.filter_map(Message::wire_size).sum()
}
