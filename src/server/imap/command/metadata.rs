//! GETMETADATA and SETMETADATA (RFC 5464 §4), and what LIST returns of them (RFC 9590).
//!
//! Nobody but its owner sees a mailbox, so `/shared` is as private as `/private`, and both are kept alike. Of the
//! server's own entries those in `/shared` are the operator's: they cannot be set.

use super::user;
use crate::mail::limits::METADATA_VALUE_OCTETS;
use crate::mail::mailbox::MailboxName;
use crate::mail::mailbox::SpecialUse;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::metadata::Depth;
use crate::protocol::imap::syntax::metadata::EntryName;
use crate::protocol::imap::syntax::metadata::GetMetadata;
use crate::protocol::imap::syntax::metadata::SetMetadata;
use crate::protocol::imap::syntax::spelling::Spelling;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::session::User;
use crate::server::imap::wire::End;
use crate::store::Annotations;
use crate::store::SPECIAL_USE_ENTRY;
use crate::store::StoreError;

pub(super) async fn get(session: &mut Session, wanted: &GetMetadata) -> Result<Status, End> {
    let spelling = session.spelling();
    let user = user!(session);
    let notes = match user.account.annotations(wanted.mailbox.as_ref()).await {
        Ok(notes) => notes,
        Err(error) => return Ok(errors::of_store(&error)),
    };
    let mut longest = None;
    let mut told: Vec<(&str, &[u8])> = Vec::new();
    for (name, value) in notes.iter() {
        if !wanted.entries.iter().any(|entry| covers(entry, wanted.depth, name)) {
            continue;
        }
        let octets = value.len() as u64;
        if wanted.max_size.is_some_and(|most| octets > most) {
            longest = longest.max(Some(octets));
        } else {
            told.push((name, value));
        }
    }
    if !told.is_empty() {
        let out = &mut session.wire.out;
        let values = told.into_iter().map(|(name, value)| (name, Some(value)));
        write(out, wanted.mailbox.as_ref(), spelling, values);
    }
    let done = Status::ok("Metadata told");
    Ok(match longest {
        Some(octets) => done.with(Code::MetadataLongEntries(octets)),
        None => done,
    })
}

/// RFC 5464 §4.2.2.
fn covers(entry: &EntryName, depth: Depth, name: &str) -> bool {
    let Some(below) = name.strip_prefix(entry.as_str()) else { return false };
    match below.strip_prefix('/') {
        None => below.is_empty(),
        Some(child) => depth == Depth::All || (depth == Depth::Children && !child.contains('/')),
    }
}

pub(super) async fn set(session: &mut Session, wanted: SetMetadata) -> Result<Status, End> {
    let user = user!(session);
    for (name, value) in &wanted.changes {
        if let Some(value) = value
            && let Some(refusal) = refused(wanted.mailbox.is_none(), name, value)
        {
            return Ok(refusal);
        }
    }
    let changes = wanted.changes.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect();
    Ok(match user.account.annotate(wanted.mailbox.as_ref(), changes).await {
        Ok(()) => Status::ok("Metadata set"),
        Err(error) => errors::of_store(&error),
    })
}

fn refused(is_server: bool, name: &EntryName, value: &[u8]) -> Option<Status> {
    if value.len() > METADATA_VALUE_OCTETS {
        let code = Code::MetadataMaxSize(METADATA_VALUE_OCTETS as u64);
        return Some(Status::no(code, "Value too long"));
    }
    if is_server && name.is_shared() {
        return Some(Status::no(Code::NoPerm, "Shared entries of the server are its operator's"));
    }
    // RFC 5464 §3.2: the scopes themselves have no values.
    if matches!(name.as_str(), "/private" | "/shared") {
        return Some(Status::no(Code::Cannot, "This entry has no value"));
    }
    let known = |role: &SpecialUse| value.eq_ignore_ascii_case(role.attribute().as_bytes());
    if name.as_str() == SPECIAL_USE_ENTRY && !SpecialUse::ALL.iter().any(known) {
        return Some(Status::no(Code::UseAttr, "Mailboxes are for no such use"));
    }
    None
}

/// Writes the entries that LIST was asked for; those that are not there are NIL (RFC 9590 §3).
pub(super) async fn write_listed(
    out: &mut Output,
    user: &User,
    name: &MailboxName,
    entries: &[EntryName],
    spelling: Spelling,
) -> Result<(), StoreError> {
    let notes: Annotations = user.account.annotations(Some(name)).await?;
    let values = entries.iter().map(|entry| (entry.as_str(), notes.get(entry.as_str())));
    write(out, Some(name), spelling, values);
    Ok(())
}

/// Writes names of entries that changed, without their values (RFC 5464 §4.4.2).
pub(in crate::server::imap) fn write_names(
    out: &mut Output,
    mailbox: Option<&MailboxName>,
    spelling: Spelling,
    entries: &[String],
) {
    out.raw("* METADATA ");
    out.utf8_string(mailbox.map(|name| spelling.encode(name)).unwrap_or_default().as_bytes());
    for entry in entries {
        out.raw(" ");
        push_entry(out, entry);
    }
    out.raw("\r\n");
}

fn push_entry(out: &mut Output, entry: &str) {
    if entry.bytes().any(|b| matches!(b, b' ' | b'(' | b')' | b'{' | b'"' | b'\\')) {
        out.string(entry.as_bytes());
    } else {
        out.raw(entry);
    }
}

fn write<'a>(
    out: &mut Output,
    mailbox: Option<&MailboxName>,
    spelling: Spelling,
    values: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>,
) {
    out.raw("* METADATA ");
    let name = mailbox.map(|name| spelling.encode(name)).unwrap_or_default();
    out.utf8_string(name.as_bytes());
    for (n, (entry, value)) in values.enumerate() {
        out.raw(if n == 0 { " (" } else { " " });
        push_entry(out, entry);
        out.raw(" ");
        out.nstring(value);
    }
    out.raw(")\r\n");
}
