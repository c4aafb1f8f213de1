//! What goes wrong, in the words of IMAP (response codes of RFC 5530).

use std::error::Error;
use std::io;

use crate::protocol::imap::response::Code;
use crate::protocol::imap::response::Status;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::store::StoreError;

/// For a command that cannot be read.
pub(super) fn of_syntax(error: &SyntaxError) -> Status {
    match error {
        SyntaxError::Bad(_) => Status::bad(error.to_string()),
        SyntaxError::Name(_) => Status::no(Code::Cannot, error.to_string()),
        SyntaxError::Event => Status::no(Code::BadEvent, "Unknown event"),
        SyntaxError::Charset => Status::no(Code::BadCharset, "Unknown charset"),
        SyntaxError::Limit(_) => Status::no(Code::Limit, error.to_string()),
    }
}

/// For sequence numbers that no message has (RFC 3501 §9 `seq-number`).
pub(super) fn no_such_number() -> Status {
    Status::bad("No message has such a number")
}

/// For what the store says. A failing disk is temporary: keep the mail, and tell the operator.
pub(super) fn of_store(error: &StoreError) -> Status {
    match error {
        StoreError::NoSuchMailbox => Status::no(Code::NonExistent, "No such mailbox"),
        StoreError::AlreadyExists => Status::no(Code::AlreadyExists, "Mailbox exists already"),
        StoreError::Cannot(why) => Status::no(Code::Cannot, *why),
        StoreError::KeywordLimit => Status::no(Code::Limit, "Too many keywords in this mailbox"),
        StoreError::TooManyAnnotations => Status::no(Code::MetadataTooMany, "Too many annotations"),
        StoreError::UseTaken => Status::no(Code::UseAttr, "Another mailbox is for this use"),
        StoreError::MessageGone => Status::no(Code::ExpungeIssued, "Some messages are gone"),
        // RFC 9208 §4.3.
        StoreError::OverQuota => Status::no(Code::OverQuota, "Quota exceeded"),
        StoreError::LargerThanQuota => Status::no(Code::OverQuota, "Larger than the quota"),
        StoreError::Full(source) if source.kind() == io::ErrorKind::QuotaExceeded => {
            Status::no(Code::OverQuota, "Quota exceeded")
        }
        StoreError::Full(_) | StoreError::Io { .. } => {
            tracing::error!(error = %error, cause = error.source().map(tracing::field::display), "imap: store failed");
            Status::no(Code::Unavailable, "The store failed for the moment")
        }
    }
}

/// For the store's words about where messages were to go: a client may create what is missing (RFC 3501 §6.3.11).
pub(super) fn of_destination(error: &StoreError) -> Status {
    match error {
        StoreError::NoSuchMailbox => Status::no(Code::TryCreate, "No such mailbox"),
        error => of_store(error),
    }
}
