//! Facteur, an all-in-one mail server: SMTP, IMAP and POP3 over plain Maildir. This file is the map.
//!
//! Modules lie in layers and import downwards only; `tests/architecture.rs` holds them to it.
//!
//! | layer | modules | what they are |
//! | --- | --- | --- |
//! | 0 | [`mail`], [`protocol::session`], [`clock`], [`fsio`] | nouns, and the only doors to clock and disk |
//!
//! Where to start reading: [`mail`] for the nouns.

pub mod admin;
pub mod clock;
pub mod config;
pub mod directory;
pub mod fsio;
pub mod mail;
pub mod net;
pub mod protocol;
pub mod tls;
