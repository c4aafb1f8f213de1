//! Facteur, an all-in-one mail server: SMTP, IMAP and POP3 over plain Maildir. This file is the map.
//!
//! Modules lie in layers and import downwards only; `tests/architecture.rs` holds them to it.
//!
//! | layer | modules | what they are |
//! | --- | --- | --- |
//! | 0 | [`mail`], [`protocol::session`], [`clock`], [`fsio`] | nouns, and the only doors to clock and disk |
//! | 2b | [`store`] | mailboxes: Maildir folders on disk, live mailboxes in memory |
//!
//! Where to start reading: [`mail`] for the nouns.

pub mod clock;
pub mod fsio;
pub mod mail;
pub mod protocol;
pub mod store;
