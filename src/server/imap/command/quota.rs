//! GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208 §4.1), as RFC 2087 has them too: one quota root for the whole account.
//! Limits are the operator's, in the configuration; who wants less than that says so by SETQUOTA.

use std::num::NonZeroU64;

use super::user;
use crate::mail::mailbox::MailboxName;
use crate::mail::quota::OwnLimits;
use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Output;
use crate::protocol::imap::response::Status;
use crate::server::imap::errors;
use crate::server::imap::session::Session;
use crate::server::imap::session::User;
use crate::server::imap::wire::End;
use crate::store::StoreError;

/// Name of the quota root.
const ROOT: &str = "account";

/// RFC 9208 §5.1: `STORAGE` is in units of 1,024 octets.
const STORAGE_UNIT: u64 = 1024;

pub(super) async fn get(session: &mut Session, root: &[u8]) -> Result<Status, End> {
    let user = user!(session);
    if root != ROOT.as_bytes() {
        return Ok(Status::no(Code::NonExistent, "No such quota root"));
    }
    Ok(match write(&mut session.wire.out, user).await {
        Ok(true) => Status::ok("Quota told"),
        Ok(false) => Status::no(Code::NonExistent, "No such quota root"),
        Err(error) => errors::of_store(&error),
    })
}

pub(super) async fn set(session: &mut Session, root: &[u8], limits: &[(String, u64)]) -> Result<Status, End> {
    let user = user!(session);
    if root != ROOT.as_bytes() {
        return Ok(Status::no(Code::NonExistent, "No such quota root"));
    }
    let mut own = OwnLimits::default();
    for (name, limit) in limits {
        // RFC 9208 §3.1.2: 0 would be an account that takes nothing.
        let Some(limit) = NonZeroU64::new(*limit) else {
            return Ok(Status::no(Code::Cannot, "An account takes something"));
        };
        match name.as_str() {
            "STORAGE" => own.octets = NonZeroU64::new(limit.get().saturating_mul(STORAGE_UNIT)),
            "MESSAGE" => own.messages = Some(limit),
            _ => return Ok(Status::no(Code::Cannot, "No such resource")),
        }
    }
    match user.account.limit(own).await {
        Ok(()) => {}
        Err(StoreError::Cannot(why)) => return Ok(Status::no(Code::NoPerm, why)),
        Err(error) => return Ok(errors::of_store(&error)),
    }
    Ok(match write(&mut session.wire.out, user).await {
        Ok(_) => Status::ok("Quota set"),
        Err(error) => errors::of_store(&error),
    })
}

pub(super) async fn get_root(session: &mut Session, name: &MailboxName) -> Result<Status, End> {
    let spelling = session.spelling();
    let user = user!(session);
    let limits = match (user.account.mailbox(name).await, user.account.usage().await) {
        (Ok(_), Ok((_, limits))) => limits,
        (Err(error), _) | (_, Err(error)) => return Ok(errors::of_store(&error)),
    };
    let out = &mut session.wire.out;
    out.raw("* QUOTAROOT ");
    out.utf8_string(spelling.encode(name).as_bytes());
    if limits.is_limited() {
        out.raw(" ");
        out.string(ROOT.as_bytes());
    }
    out.raw("\r\n");
    Ok(match write(out, user).await {
        Ok(_) => Status::ok("Quota roots told"),
        Err(error) => errors::of_store(&error),
    })
}

/// Writes what is used of what there is; `false` where nothing is limited.
async fn write(out: &mut Output, user: &User) -> Result<bool, StoreError> {
    let (usage, limits) = user.account.usage().await?;
    let mut told = Vec::new();
    if limits.octets > 0 {
        let (used, most) = (usage.octets.div_ceil(STORAGE_UNIT), limits.octets.div_ceil(STORAGE_UNIT));
        told.push(format!("STORAGE {used} {most}"));
    }
    if limits.messages > 0 {
        told.push(format!("MESSAGE {} {}", usage.messages, limits.messages));
    }
    if told.is_empty() {
        return Ok(false);
    }
    out.raw("* QUOTA ");
    out.string(ROOT.as_bytes());
    out.raw(&format!(" ({})\r\n", told.join(" ")));
    Ok(true)
}
