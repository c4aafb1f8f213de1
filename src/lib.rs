//! Facteur, an all-in-one mail server: SMTP, IMAP and POP3 over plain Maildir. This file is the map.
//!
//! Modules lie in layers and import downwards only; `tests/architecture.rs` holds them to it.
//!
//! | layer | modules | what they are |
//! | --- | --- | --- |
//! | 0 | [`mail`], [`protocol::session`], [`protocol::line`], [`clock`], [`fsio`], [`observe`] | nouns, the shape of machines, and the only doors to clock and disk |
//! | 1 | [`config`], [`message`], [`protocol::sasl`], [`dns`], [`tls`] | tools |
//! | 2a | [`protocol::smtp`], [`protocol::pop3`], [`protocol::imap`] | machines and grammar: no sockets, files, clocks or async |
//! | 2b | [`net`], [`directory`], [`store`], [`queue`] | services, which own I/O: connections, accounts, mailboxes, mail on its way |
//! | 3 | [`intake`], [`delivery`] | flows: from the end of data to a verdict, from there to durable places |
//! | 4 | [`server`], [`admin`] | edges |
//! | 5 | [`daemon`] | builds everything from the configuration |
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
