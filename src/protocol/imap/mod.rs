//! The pure part of IMAP4rev1 (RFC 3501): fragments, grammar, responses, and the mailbox as one client sees it.
//!
//! | RFC | what of it | where |
//! | --- | --- | --- |
//! | 3501 | IMAP4rev1 | everywhere |
//! | 2177 | IDLE | `server::imap::command::idle` |
//! | 2342 | NAMESPACE: one, personal | [`response`] |
//! | 2971 | ID | [`syntax::command`] |
//! | 3348 | CHILDREN | `server::imap::command::list` |
//! | 3691 | UNSELECT | [`syntax::command`] |
//! | 4315 | UIDPLUS | [`response`] |
//! | 4959 | SASL-IR | [`syntax::command`] |
//! | 5161 | ENABLE | [`syntax::command`] |
//! | 7162 | CONDSTORE, QRESYNC | [`syntax::select`], [`syntax::fetch`], [`syntax::store`] |
//! | 5258 | LIST-EXTENDED | [`syntax::list`] |
//! | 5464, 9590 | METADATA, LIST-METADATA | [`syntax::metadata`] |
//! | 5530 | response codes | [`response`] |
//! | 5819 | LIST-STATUS | [`syntax::list`] |
//! | 6154 | SPECIAL-USE, CREATE-SPECIAL-USE | [`syntax::list`], [`syntax::command`] |
//! | 6851 | MOVE | [`syntax::command`] |
//! | 8438 | STATUS=SIZE | [`syntax::mailbox`] |
//! | 8474 | of OBJECTID: MAILBOXID | [`syntax::mailbox`] |
//! | 9208 | QUOTA without SETQUOTA | [`syntax::command`] |
//! | 7888 | LITERAL+ after login, LITERAL- before | [`fragment`] |
//!
//! Commands themselves are mostly storage and live in `server::imap`. Not supported on purpose: `MULTIAPPEND` and the
//! other extensions that are not announced; what a client may not use, the grammar does not know.

pub mod forest;
pub mod fragment;
pub mod matching;
pub mod pattern;
pub mod response;
pub mod section;
pub mod sort;
pub mod structure;
pub mod syntax;
pub mod thread;
pub mod view;
