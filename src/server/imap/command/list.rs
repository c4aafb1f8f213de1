//! LIST (RFC 3501 §6.3.8) with CHILDREN (RFC 3348), SPECIAL-USE (RFC 6154) and LIST-STATUS (RFC 5819), and of RFC 5258
//! what they build on.
//!
//! Special uses and children are told without being asked for: macOS Mail asks with a plain LIST and wants both.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;

use super::metadata;
use super::status;
use super::user;
use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;
use crate::protocol::imap::pattern::Pattern;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::list::ListArguments;
use crate::protocol::imap::syntax::spelling::Spelling;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::session::User;
use crate::server::imap::wire::End;
use crate::store::StoreError;

/// What is known of one name.
#[derive(Debug, Default)]
pub(in crate::server::imap) struct Known {
    exists: bool,
    selectable: bool,
    special_use: Option<SpecialUse>,
    pub(in crate::server::imap) subscribed: bool,
    has_children: bool,
    /// Something below it is subscribed.
    subscribed_below: bool,
}

pub(super) async fn run(session: &mut Session, arguments: &ListArguments) -> Result<Status, End> {
    let services = Arc::clone(&session.services);
    let spelling = session.spelling();
    let user = user!(session);
    if !arguments.extended && arguments.patterns == [Some(String::new())] {
        // RFC 3501 §6.3.8: a question about the separator and the root.
        session.wire.out.untagged(&format!("LIST (\\Noselect) \"{}\" \"\"", spelling.separator.char()));
        return Ok(Status::ok("Listed"));
    }
    let known = match all(user).await {
        Ok(known) => known,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let patterns = patterns(arguments, spelling);
    for (name, mailbox) in &known {
        // Many patterns over many names take a while: others get their turn.
        tokio::task::yield_now().await;
        if !chosen(arguments, mailbox) || !patterns.iter().any(|p| p.matches(name)) {
            continue;
        }
        write(&mut session.wire.out, arguments, name, mailbox, spelling);
        // RFC 5819 §3: what is listed for what is below it alone is not described.
        let is_described = mailbox.selectable && (!arguments.subscribed || mailbox.subscribed);
        if !arguments.status.is_empty() && is_described {
            // RFC 5819 §2: what cannot be told is left out. Thunderbird wants it right after its LIST.
            let told = status::write(&mut session.wire.out, user, name, &arguments.status, &services, spelling).await;
            if let Err(error) = told {
                tracing::debug!(mailbox = %name, %error, "no status in list");
            }
        }
        if !arguments.metadata.is_empty() && is_described && mailbox.exists {
            let out = &mut session.wire.out;
            let told = metadata::write_listed(out, user, name, &arguments.metadata, spelling).await;
            if let Err(error) = told {
                tracing::debug!(mailbox = %name, %error, "no metadata in list");
            }
        }
        session.wire.flush_if_full().await?;
    }
    Ok(Status::ok("Listed"))
}

/// Writes the line of one mailbox, as SELECT does in IMAP4rev2 (RFC 9051 §6.3.2).
pub(super) async fn write_one(
    out: &mut Output,
    user: &User,
    name: &MailboxName,
    spelling: Spelling,
) -> Result<(), StoreError> {
    let known = all(user).await?;
    if let Some(mailbox) = known.get(name) {
        write(out, &ListArguments { return_subscribed: true, ..ListArguments::default() }, name, mailbox, spelling);
    }
    Ok(())
}

/// Writes the line of a name to which something happened (RFC 5465 §5.4, §5.5): another name that it had is told too.
pub(in crate::server::imap) fn write_news(
    out: &mut Output,
    known: &BTreeMap<MailboxName, Known>,
    name: &MailboxName,
    old: Option<&MailboxName>,
    spelling: Spelling,
) {
    let arguments = ListArguments { return_subscribed: true, ..ListArguments::default() };
    write_start(out, &arguments, name, known.get(name).unwrap_or(&Known::default()), spelling);
    if let Some(old) = old {
        out.raw(" (\"OLDNAME\" (");
        out.utf8_string(spelling.encode(old).as_bytes());
        out.raw("))");
    }
    out.raw("\r\n");
}

/// The patterns with the reference before them.
pub(super) fn patterns(arguments: &ListArguments, spelling: Spelling) -> Vec<Pattern> {
    let with_reference = |p: &String| Pattern::new(&format!("{}{p}", arguments.reference), spelling.separator);
    arguments.patterns.iter().flatten().map(with_reference).collect()
}

/// All names: mailboxes, what stands above them, and subscriptions of what is gone.
pub(in crate::server::imap) async fn all(user: &User) -> Result<BTreeMap<MailboxName, Known>, StoreError> {
    let mut known: BTreeMap<MailboxName, Known> = BTreeMap::new();
    for listed in user.account.list().await? {
        known.insert(
            listed.name,
            Known {
                exists: true,
                selectable: listed.selectable,
                special_use: listed.special_use,
                subscribed: listed.subscribed,
                ..Known::default()
            },
        );
    }
    for name in user.account.subscriptions().await? {
        known.entry(name).or_default().subscribed = true;
    }
    let parents_of = |names: &mut dyn Iterator<Item = &MailboxName>| {
        let mut parents = HashSet::new();
        for name in names {
            let mut at = name.parent();
            // What is in the set has its own parents there too.
            while let Some(parent) = at.take_if(|p| !parents.contains(p)) {
                at = parent.parent();
                parents.insert(parent);
            }
        }
        parents
    };
    let with_children = parents_of(&mut known.iter().filter(|(_, k)| k.exists).map(|(n, _)| n));
    let with_subscribed = parents_of(&mut known.iter().filter(|(_, k)| k.subscribed).map(|(n, _)| n));
    for (name, mailbox) in &mut known {
        mailbox.has_children = with_children.contains(name);
        mailbox.subscribed_below = with_subscribed.contains(name);
    }
    Ok(known)
}

/// Whether the selection options choose this one (RFC 5258 §3.1, RFC 6154 §3).
fn chosen(arguments: &ListArguments, mailbox: &Known) -> bool {
    if arguments.special_use && mailbox.special_use.is_none() {
        return false;
    }
    if arguments.subscribed {
        return mailbox.subscribed || (arguments.recursive_match && mailbox.subscribed_below);
    }
    mailbox.exists
}

fn write(out: &mut Output, arguments: &ListArguments, name: &MailboxName, mailbox: &Known, spelling: Spelling) {
    write_start(out, arguments, name, mailbox, spelling);
    if arguments.recursive_match && mailbox.subscribed_below {
        out.raw(" (\"CHILDINFO\" (\"SUBSCRIBED\"))");
    }
    out.raw("\r\n");
}

/// The line without its end, where extended data would stand.
fn write_start(out: &mut Output, arguments: &ListArguments, name: &MailboxName, mailbox: &Known, spelling: Spelling) {
    let mut attributes: Vec<&str> = Vec::new();
    // RFC 5258 §3: \NonExistent implies \Noselect.
    if !mailbox.exists {
        attributes.push("\\NonExistent");
    } else if !mailbox.selectable {
        attributes.push("\\Noselect");
    }
    if mailbox.subscribed && (arguments.subscribed || arguments.return_subscribed) {
        attributes.push("\\Subscribed");
    }
    attributes.push(if mailbox.has_children { "\\HasChildren" } else { "\\HasNoChildren" });
    attributes.extend(mailbox.special_use.map(SpecialUse::attribute));
    out.raw(&format!("* LIST ({}) \"{}\" ", attributes.join(" "), spelling.separator.char()));
    out.utf8_string(spelling.encode(name).as_bytes());
}
