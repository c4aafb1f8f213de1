//! SETACL, DELETEACL, GETACL, LISTRIGHTS and MYRIGHTS (RFC 4314 §3).
//!
//! An owner has all rights and keeps them. Rights are given to accounts that are here, and to anyone.

use std::sync::Arc;

use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Right;
use crate::mail::rights::Rights;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::acl::AclCommand;
use crate::protocol::imap::syntax::acl::Modification;
use crate::protocol::imap::syntax::spelling::Spelling;
use crate::server::imap::access;
use crate::server::imap::access::Place;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::wire::End;
use crate::store::ANYONE;
use crate::store::AccountStore;
use crate::store::AclChange;

pub(super) async fn run(session: &mut Session, command: AclCommand) -> Result<Status, End> {
    let name = match &command {
        AclCommand::Set(name, ..) | AclCommand::Delete(name, _) | AclCommand::ListRights(name, _) => name,
        AclCommand::Get(name) | AclCommand::MyRights(name) => name,
    };
    let done = match access::place(session, name).await {
        Ok(place) => obey(session, &place, name, &command).await,
        Err(error) => Err(errors::of_store(&error)),
    };
    Ok(done.unwrap_or_else(|refusal| refusal))
}

async fn obey(
    session: &mut Session,
    place: &Place,
    shown: &MailboxName,
    command: &AclCommand,
) -> Result<Status, Status> {
    let spelling = session.spelling();
    if let AclCommand::MyRights(_) = command {
        if place.is_own() {
            // There may be no such mailbox.
            place.mailbox(Right::Lookup).await.map_err(access::Refusal::status)?;
        }
        write_my_rights(&mut session.wire.out, shown, place.rights(), spelling);
        return Ok(Status::ok("Rights told"));
    }
    let (account, name) = place.for_right(Right::Administer)?;
    let owner = owner_of(session, place, shown);
    match command {
        AclCommand::Set(_, identifier, modification, rights) => {
            let change = match modification {
                Modification::Replace => AclChange::Replace,
                Modification::Add => AclChange::Add,
                Modification::Remove => AclChange::Remove,
            };
            set(session, account, name, &owner, identifier, (change, *rights)).await
        }
        AclCommand::Delete(_, identifier) => {
            set(session, account, name, &owner, identifier, (AclChange::Replace, Rights::NONE)).await
        }
        AclCommand::ListRights(_, identifier) => {
            let identifier = known(session, identifier)?;
            let out = &mut session.wire.out;
            out.raw("* LISTRIGHTS ");
            out.utf8_string(spelling.encode(shown).as_bytes());
            out.raw(" ");
            out.utf8_string(identifier.as_bytes());
            // RFC 4314 §3.4: what he has in any case, then what may be given one by one.
            out.raw(if identifier == owner { " lrswipkxtecda\r\n" } else { " \"\" l r s w i p k x t e c d a\r\n" });
            Ok(Status::ok("Rights listed"))
        }
        AclCommand::Get(_) | AclCommand::MyRights(_) => {
            let acl = account.acl(name).await.map_err(|error| errors::of_store(&error))?;
            let out = &mut session.wire.out;
            out.raw("* ACL ");
            out.utf8_string(spelling.encode(shown).as_bytes());
            for (identifier, rights) in std::iter::once((owner.as_str(), Rights::OWNER)).chain(acl.iter()) {
                out.raw(" ");
                out.utf8_string(identifier.as_bytes());
                out.raw(&format!(" {}", rights.with_old_letters()));
            }
            out.raw("\r\n");
            Ok(Status::ok("Rights told"))
        }
    }
}

/// The name of the account to which a mailbox belongs.
fn owner_of(session: &Session, place: &Place, shown: &MailboxName) -> String {
    let of_another = shown.as_str().split('/').nth(1).filter(|_| !place.is_own());
    of_another.map(str::to_owned).or_else(|| session.user.as_ref().map(|user| user.name.clone())).unwrap_or_default()
}

async fn set(
    session: &Session,
    account: &Arc<AccountStore>,
    name: &MailboxName,
    owner: &str,
    identifier: &str,
    (change, rights): (AclChange, Rights),
) -> Result<Status, Status> {
    let identifier = known(session, identifier)?;
    if identifier.trim_start_matches('-') == owner {
        return Err(Status::no(Code::Cannot, "The owner's rights stay"));
    }
    account.change_acl(name, &identifier, change, rights).await.map_err(|error| errors::of_store(&error))?;
    Ok(Status::ok("Rights set"))
}

/// An identifier as it is kept: the address of an account of ours, or anyone, with the sign that it had.
fn known(session: &Session, identifier: &str) -> Result<String, Status> {
    let (sign, name) = identifier.strip_prefix('-').map_or(("", identifier), |name| ("-", name));
    if name == ANYONE {
        return Ok(format!("{sign}{ANYONE}"));
    }
    match session.services.authenticator.account(name) {
        Some(account) => Ok(format!("{sign}{}", account.address().key())),
        None => Err(Status::no(Code::Cannot, "No such account")),
    }
}

/// Writes `* MYRIGHTS`, as LIST does too (RFC 8440).
pub(super) fn write_my_rights(out: &mut Output, name: &MailboxName, rights: Rights, spelling: Spelling) {
    out.raw("* MYRIGHTS ");
    out.utf8_string(spelling.encode(name).as_bytes());
    out.raw(&format!(" {}\r\n", rights.with_old_letters()));
}
