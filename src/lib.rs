//! Facteur, an all-in-one mail server: SMTP, IMAP and POP3 over plain Maildir. This file is the map.
//!
//! Modules lie in layers and import downwards only; `tests/architecture.rs` holds them to it.
//!
//! | layer | modules | what they are |
//! | --- | --- | --- |
//! | 0 | [`mail`], [`protocol::session`], [`protocol::line`], [`clock`], [`fsio`] | nouns, the shape of machines, and the only doors to clock and disk |
//! | 1 | [`protocol::sasl`] | tools |
//! | 1 | [`message`] | RFC 5322 and MIME |
//! | 2a | [`protocol::imap`] | the pure part of IMAP: fragments, grammar, responses, view |
//! | 2a | [`protocol::smtp`] | machines: no sockets, files, clocks or async |
//! | 4 | [`server::imap`] | edges: commands over the services |
//! | 2b | [`store`] | mailboxes: Maildir folders on disk, live mailboxes in memory |
//!
//! Where to start reading: [`mail`] for the nouns.

pub mod admin;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod delivery;
pub mod directory;
pub mod dns;
pub mod fsio;
pub mod intake;
pub mod mail;
pub mod message;
pub mod net;
pub mod observe;
pub mod protocol;
pub mod queue;
pub mod server;
pub mod store;
pub mod tls;
