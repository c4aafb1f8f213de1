//! Facteur, an all-in-one mail server: SMTP, IMAP and POP3 over plain Maildir. This file is the map.
//!
//! Modules lie in layers and import downwards only; `tests/architecture.rs` holds them to it and has the exact table.
//!
//! | layer | modules | what they are |
//! | --- | --- | --- |
//! | 0 | [`mail`], [`protocol::session`], [`protocol::line`], [`clock`], [`fsio`], [`observe`] | nouns, the shape of a machine, the only doors to clock and disk, the log |
//! | 1 | [`config`], [`message`], [`protocol::sasl`], [`dns`], [`tls`] | tools: the TOML file, RFC 5322 and MIME, logins, names, certificates |
//! | 2a | [`protocol::smtp`], [`protocol::pop3`], [`protocol::imap`] | machines: no sockets, files, clocks or async |
//! | 2b | [`net`], [`directory`], [`store`], [`queue`], [`milter`], [`sender_auth`] | services: sockets, accounts, mailboxes, mail that waits, hooks, who sent it |
//! | 3 | [`intake`], [`delivery`] | flows: from the end of data to a verdict, from a verdict to durable places, out of the queue |
//! | 4 | [`server`], [`admin`] | edges: what answers the protocols, and what an operator types |
//! | 5 | [`daemon`] | the server as a whole |
//!
//! # One message
//!
//! `net` accepts, and its pump drives the machine in `protocol::smtp`. What the machine asks, `server::smtp` answers:
//! may this sender, this recipient, this login. At the end of data the stages of `intake` judge and stamp the message,
//! and `delivery::commit` makes it durable: inboxes by `store`, everything else by `queue`. Only then comes the 250.
//! Later `queue` hands what is due to `delivery::outbound`, which finds hosts by `dns` and speaks to them through the
//! client machine. More of this, with the reasons, in [`manual`].
//!
//! # Where would I change …
//!
//! | what | where |
//! | --- | --- |
//! | the answer to RCPT for an unknown user | `protocol/smtp/reply.rs` has the words, `intake/permit.rs` decides |
//! | when mail is tried again | `queue/schedule.rs` |
//! | what is on disk after a crash | the tables in `store/mod.rs` and `queue/mod.rs` |
//! | an IMAP command | its file in `server/imap/command/`, its grammar in `protocol/imap/syntax/` |
//! | a limit | `mail/limits.rs`; one that operators set, `config/sections.rs` |

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
pub mod manual;
pub mod message;
pub mod milter;
pub mod net;
pub mod observe;
pub mod protocol;
pub mod queue;
pub mod sender_auth;
pub mod server;
pub mod store;
pub mod tls;
