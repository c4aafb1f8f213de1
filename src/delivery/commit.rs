//! The stage after the verdict: local recipients into their inboxes, the rest into the queue, one answer.
//!
//! What is answered with yes is durable. Knows neither SMTP nor how queue and store do it.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::SystemTime;

use crate::fsio::Content;
use crate::intake::permit::Admitted;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::mail::envelope::BodyKind;
use crate::mail::ids::QueueId;

/// A message that we have decided to take.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its id.
    pub id: QueueId,
    /// `MAIL FROM`.
    pub sender: ReversePath,
    /// `BODY` of `MAIL FROM`.
    pub body: BodyKind,
    /// Its recipients, each admitted.
    pub recipients: Vec<Admitted>,
    /// `Return-Path`, for inboxes.
    pub return_path: Vec<u8>,
    /// `Received` and the like, the front of the message wherever it goes.
    pub trace: Vec<u8>,
    /// The message.
    pub content: Content,
    /// When it came.
    pub received: SystemTime,
}

/// Why a message could not be made durable. Whoever sent it keeps it.
#[derive(Debug)]
pub enum CommitError {
    /// There is no room on a disk.
    Full(io::Error),
    /// Something else went wrong; the text is for the log.
    Trouble(String),
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => write!(f, "no room: {error}"),
            Self::Trouble(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CommitError {}

impl CommitError {
    /// From an error of the file system.
    #[must_use]
    pub fn from_io(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(error),
            _ => Self::Trouble(error.to_string()),
        }
    }
}

/// An answer that comes later.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes messages durable.
pub trait Commit: Send + Sync {
    /// Takes responsibility for a message: yes means that it is durable for every recipient.
    fn commit(&self, message: Accepted) -> Pending<'_, Result<(), CommitError>>;
}

/// What goes to other servers, or to an inbox that was out of reach.
#[derive(Debug, Clone)]
pub struct OnwardMessage {
    /// The id.
    pub id: QueueId,
    /// `MAIL FROM`.
    pub sender: ReversePath,
    /// `BODY` of `MAIL FROM`.
    pub body: BodyKind,
    /// To whom, each once.
    pub recipients: Vec<Address>,
    /// The front of the message, without `Return-Path`.
    pub trace: Vec<u8>,
    /// The message.
    pub content: Content,
    /// When it came.
    pub received: SystemTime,
}

/// The queue, as commit sees it.
pub trait Onward: Send + Sync {
    /// Takes responsibility for a message: yes means that it is durably queued.
    fn submit(&self, message: OnwardMessage) -> Pending<'_, Result<(), CommitError>>;
}
