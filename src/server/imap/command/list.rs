//! LIST (RFC 3501 §6.3.8) with CHILDREN (RFC 3348), SPECIAL-USE (RFC 6154) and LIST-STATUS (RFC 5819), and of RFC 5258
//! what they build on.
//!
//! Special uses and children are told without being asked for: macOS Mail asks with a plain LIST and wants both.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::sync::Arc;

use super::acl;
use super::metadata;
use super::status;
use super::user;
use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;
use crate::mail::rights::Right;
use crate::mail::rights::Rights;
use crate::protocol::imap::pattern::Pattern;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::list::ListArguments;
use crate::protocol::imap::syntax::spelling::Spelling;
use crate::server::imap::access;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
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
    /// What the user may do with it.
    rights: Rights,
}

pub(super) async fn run(session: &mut Session, arguments: &ListArguments) -> Result<Status, End> {
    let services = Arc::clone(&session.services);
    let spelling = session.spelling();
    if !arguments.extended && arguments.patterns == [Some(String::new())] {
        // RFC 3501 §6.3.8: a question about the separator and the root.
        session.wire.out.untagged(&format!("LIST (\\Noselect) \"{}\" \"\"", spelling.separator.char()));
        return Ok(Status::ok("Listed"));
    }
    let known = match all(session).await {
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
            if let Ok((opened, _)) = access::open(session, name, Right::Read).await {
                let user = user!(session);
                let (out, items) = (&mut session.wire.out, &arguments.status);
                let told = status::write(out, user, &opened, name, items, &services, spelling).await;
                if let Err(error) = told {
                    tracing::debug!(mailbox = %name, %error, "no status in list");
                }
            }
        }
        if !arguments.metadata.is_empty() && is_described && mailbox.exists {
            let user = user!(session);
            let out = &mut session.wire.out;
            let told = metadata::write_listed(out, user, name, &arguments.metadata, spelling).await;
            if let Err(error) = told {
                tracing::debug!(mailbox = %name, %error, "no metadata in list");
            }
        }
        if arguments.my_rights && mailbox.selectable && mailbox.exists {
            acl::write_my_rights(&mut session.wire.out, name, mailbox.rights, spelling);
        }
        session.wire.flush_if_full().await?;
    }
    Ok(Status::ok("Listed"))
}

/// Writes the line of one mailbox, as SELECT does in IMAP4rev2 (RFC 9051 §6.3.2).
pub(super) async fn write_one(session: &mut Session, name: &MailboxName) -> Result<(), StoreError> {
    let spelling = session.spelling();
    let known = all(session).await?;
    // Who may read and not look up sees it all the same once he has opened it.
    let opened = Known { exists: true, selectable: true, ..Known::default() };
    {
        let mailbox = known.get(name).unwrap_or(&opened);
        let out = &mut session.wire.out;
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

/// All names: mailboxes, those of others that the user may see, what stands above them, and subscriptions of what is
/// gone.
pub(in crate::server::imap) async fn all(session: &Session) -> Result<BTreeMap<MailboxName, Known>, StoreError> {
    let mut known: BTreeMap<MailboxName, Known> = BTreeMap::new();
    let Some(user) = &session.user else { return Ok(known) };
    for (name, rights) in access::shared_with(session).await? {
        let above = || Known { exists: true, ..Known::default() };
        let mut parent = name.parent();
        while let Some(name) = parent {
            parent = name.parent();
            known.entry(name).or_insert_with(above);
        }
        known.insert(name, Known { selectable: rights.has(Right::Read), rights, ..above() });
    }
    for listed in user.account.list().await? {
        known.insert(
            listed.name,
            Known {
                exists: true,
                selectable: listed.selectable,
                special_use: listed.special_use,
                subscribed: listed.subscribed,
                rights: Rights::OWNER,
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
