//! STATUS (RFC 3501 §6.3.10), also as LIST returns it (RFC 5819).

use super::user;
use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::Separator;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::mailbox::StatusItem;
use crate::protocol::imap::syntax::mailbox::on_the_wire;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::session::User;
use crate::server::imap::wire::End;
use crate::store::StoreError;

pub(super) async fn run(session: &mut Session, name: &MailboxName, items: &[StatusItem]) -> Result<Status, End> {
    let separator = session.services.separator;
    let user = user!(session);
    Ok(match write(&mut session.wire.out, user, name, items, separator).await {
        Ok(()) => Status::ok("Status told"),
        Err(error) => errors::of_store(&error),
    })
}

/// Writes the STATUS line of one mailbox.
pub(super) async fn write(
    out: &mut Output,
    user: &User,
    name: &MailboxName,
    items: &[StatusItem],
    separator: Separator,
) -> Result<(), StoreError> {
    let snapshot = user.account.status(name).await?;
    // What this session has claimed is recent for nobody else, but still for it.
    let claimed = user.selected.as_ref().filter(|s| !s.read_only && s.mailbox.name() == *name);
    let recent = snapshot.recent() + claimed.map_or(0, |s| usize::try_from(s.view.recent()).unwrap_or(0));
    let told: Vec<String> = items
        .iter()
        .map(|item| {
            let value = match item {
                StatusItem::Messages => snapshot.messages.len().to_string(),
                StatusItem::Recent => recent.to_string(),
                StatusItem::UidNext => snapshot.next.to_string(),
                StatusItem::UidValidity => snapshot.validity.to_string(),
                StatusItem::Unseen => snapshot.unseen().to_string(),
            };
            format!("{} {value}", item.name())
        })
        .collect();
    out.raw("* STATUS ");
    out.string(on_the_wire(name, separator).as_bytes());
    out.raw(&format!(" ({})\r\n", told.join(" ")));
    Ok(())
}
