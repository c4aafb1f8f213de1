//! What can go wrong in the store, in the words of a mailbox.
//!
//! Knows nothing of reply codes: each protocol finds its own for each of these.

use std::fmt;
use std::io;

use crate::mail::mailbox::MailboxNameError;

/// Why the store did not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// No mailbox has this name (any more).
    NoSuchMailbox,
    /// A mailbox has this name already.
    AlreadyExists,
    /// This can never be done; the words say why.
    Cannot(&'static str),
    /// The mailbox has all the keywords that Maildir has letters for.
    KeywordLimit,
    /// The message was expunged, here or by another program.
    MessageGone,
    /// The account holds as much as it may, or what is promised to others is all the rest. Room may come.
    OverQuota,
    /// The message alone is more than the account may hold.
    LargerThanQuota,
    /// The notes about a mailbox would become too many.
    TooManyAnnotations,
    /// Another mailbox is for this already.
    UseTaken,
    /// No space, no inodes or no quota left on the file system.
    Full(io::Error),
    /// The file system failed otherwise.
    Io {
        /// What we were doing.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl StoreError {
    /// Names what was being done when the kernel said no.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(source),
            _ => Self::Io { doing, source },
        }
    }

    /// Whether the owner of the account has to make room.
    #[must_use]
    pub fn is_quota(&self) -> bool {
        matches!(self, Self::OverQuota | Self::LargerThanQuota)
    }

    /// Whether space would help.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchMailbox => f.write_str("no such mailbox"),
            Self::AlreadyExists => f.write_str("the mailbox exists already"),
            Self::Cannot(why) => f.write_str(why),
            Self::KeywordLimit => f.write_str("too many keywords in this mailbox"),
            Self::MessageGone => f.write_str("the message is gone"),
            Self::OverQuota => f.write_str("the account is over its quota"),
            Self::LargerThanQuota => f.write_str("the message is larger than the quota of the account"),
            Self::TooManyAnnotations => f.write_str("too many annotations"),
            Self::UseTaken => f.write_str("another mailbox is for this use"),
            Self::Full(_) => f.write_str("no space left"),
            Self::Io { doing, .. } => write!(f, "failed {doing}"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Full(source) | Self::Io { source, .. } => Some(source),
            Self::NoSuchMailbox
            | Self::AlreadyExists
            | Self::Cannot(_)
            | Self::KeywordLimit
            | Self::MessageGone
            | Self::OverQuota
            | Self::LargerThanQuota
            | Self::TooManyAnnotations
            | Self::UseTaken => None,
        }
    }
}

impl From<MailboxNameError> for StoreError {
    fn from(error: MailboxNameError) -> Self {
        Self::Cannot(match error {
            MailboxNameError::Empty => "empty mailbox name",
            MailboxNameError::Forbidden => "mailbox name with a forbidden component",
            MailboxNameError::TooLong => "mailbox name too long or too deep",
        })
    }
}

/// What the store returns.
pub type Result<T> = std::result::Result<T, StoreError>;
