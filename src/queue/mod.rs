//! Mail that we are responsible for and that has not arrived yet.
//!
//! # Files
//! One file per message, named by its id, in one of the folders below `queue/`. It holds the envelope and the bytes,
//! written once, and behind them one record per attempt (`v1.rs`).
//!
//! | after a crash | what it is | who repairs it |
//! | --- | --- | --- |
//! | `incoming/.ID.tmp` | never acknowledged | [`Spool::open`] removes it |
//! | `incoming/ID`, `active/ID`, `deferred/ID` | ours; the folder is only a hint for people | [`Spool::open`] reads all three; what is in two of them is the same file under two names |
//! | a record that ends early or has a wrong checksum, at the end | an outcome that was not synced | the reader stops there: that attempt is made again, a recipient may get the message twice |
//! | `ID` whose head does not read | the disk lied | moved to `corrupt/`, logged, never deleted |
//! | `hold/ID` | set aside by the operator | nobody touches it |
//! | `corrupt/ID` | set aside by us | the operator |
//!
//! Only two things are synced: a message before it is acknowledged (file, then folder), and the outcome of an attempt
//! (file). Everything else is a hint.

mod bounce;
mod entry;
mod manager;
mod schedule;
mod spool;
mod v1;

pub use bounce::Notice;
pub use entry::Handover;
pub use entry::Outcome;
pub use entry::RecipientState;
pub use entry::Waiting;
pub use entry::quoted;
pub use manager::Job;
pub use manager::Pending;
pub use manager::Prepared;
pub use manager::Queue;
pub use manager::Transport;
pub use schedule::Policy;
pub use spool::NewEntry;
pub use spool::QueueError;
pub use spool::Spool;
