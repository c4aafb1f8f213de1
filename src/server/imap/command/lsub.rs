//! LSUB (RFC 3501 §6.3.9).

use std::collections::BTreeMap;
use std::collections::HashSet;

use super::list::patterns;
use super::user;
use crate::mail::mailbox::MailboxName;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::list::ListArguments;
use crate::server::imap::access;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;

pub(super) async fn run(session: &mut Session, arguments: &ListArguments) -> Result<Status, End> {
    let spelling = session.spelling();
    let shared = match access::shared_with(session).await {
        Ok(shared) => shared,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let user = user!(session);
    let subscriptions = match user.account.subscriptions().await {
        Ok(subscriptions) => subscriptions,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let selectable: HashSet<MailboxName> = match user.account.list().await {
        Ok(listed) => {
            let own = listed.into_iter().filter(|l| l.selectable).map(|l| l.name);
            own.chain(shared.into_iter().map(|(name, _)| name)).collect()
        }
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let patterns = patterns(arguments, spelling);
    // Whether the name itself is subscribed and a mailbox: Thunderbird shows in grey what is \Noselect, and complains
    // about what it cannot open.
    let mut shown: BTreeMap<MailboxName, bool> = BTreeMap::new();
    for name in subscriptions {
        tokio::task::yield_now().await;
        let mut parent = name.parent();
        while let Some(above) = parent {
            // RFC 3501 §6.3.9: `%` shows the parents of what is subscribed deeper, which are not so themselves.
            if patterns.iter().any(|p| p.ends_in_level() && p.matches(&above)) {
                shown.entry(above.clone()).or_insert(false);
            }
            parent = above.parent();
        }
        if patterns.iter().any(|p| p.matches(&name)) {
            let is_mailbox = selectable.contains(&name);
            shown.insert(name, is_mailbox);
        }
    }
    for (name, is_mailbox) in shown {
        let attributes = if is_mailbox { "" } else { "\\Noselect" };
        session.wire.out.raw(&format!("* LSUB ({attributes}) \"{}\" ", spelling.separator.char()));
        session.wire.out.utf8_string(spelling.encode(&name).as_bytes());
        session.wire.out.raw("\r\n");
        session.wire.flush_if_full().await?;
    }
    Ok(Status::ok("Listed"))
}
