//! The pure part of IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051): fragments, grammar, responses, and the mailbox as one client sees it.
//!
//! | RFC | what of it | where |
//! | --- | --- | --- |
//! | 3501 | IMAP4rev1 | everywhere |
//! | 2177 | IDLE | `server::imap::command::idle` |
//! | 2342 | NAMESPACE: one personal, and one of others where they share something | `server::imap::command` |
//! | 2971 | ID | [`syntax::command`] |
//! | 3348 | CHILDREN | `server::imap::command::list` |
//! | 3502, 7889 | MULTIAPPEND, APPENDLIMIT | [`syntax::append`] |
//! | 3516 | BINARY | [`binary`], [`syntax::append`] |
//! | 3691 | UNSELECT | [`syntax::command`] |
//! | 4314, 8440 | ACL, RIGHTS=texk, LIST-MYRIGHTS | [`syntax::acl`], `server::imap::access` |
//! | 4315 | UIDPLUS | [`response`] |
//! | 4469, 5092 | CATENATE, URL-PARTIAL | [`syntax::append`], [`syntax::url`] |
//! | 4731 | ESEARCH | [`syntax::esearch`] |
//! | 4959 | SASL-IR | [`syntax::command`] |
//! | 5032 | WITHIN | [`matching`] |
//! | 5161 | ENABLE | [`syntax::command`] |
//! | 5182 | SEARCHRES | [`syntax::set`] |
//! | 5255 | I18NLEVEL=1 | `message::casemap` |
//! | 5256 | SORT, THREAD | [`sort`], [`thread`] |
//! | 5258 | LIST-EXTENDED | [`syntax::list`] |
//! | 5267 | ESORT, CONTEXT=SEARCH, CONTEXT=SORT | `server::imap::live` |
//! | 5464, 9590 | METADATA, LIST-METADATA | [`syntax::metadata`] |
//! | 5465 | NOTIFY without AnnotationChange | [`syntax::notify`], `server::imap::notify` |
//! | 5530 | response codes | [`response`] |
//! | 5819 | LIST-STATUS | [`syntax::list`] |
//! | 5957 | SORT=DISPLAY | [`sort`] |
//! | 6154 | SPECIAL-USE, CREATE-SPECIAL-USE | [`syntax::list`], [`syntax::command`] |
//! | 6851 | MOVE | [`syntax::command`] |
//! | 6855 | UTF8=ACCEPT | [`syntax::spelling`], [`structure`] |
//! | 7162 | CONDSTORE, QRESYNC | [`syntax::select`], [`syntax::fetch`], [`syntax::store`] |
//! | 7377 | MULTISEARCH | [`syntax::multisearch`] |
//! | 7888 | LITERAL+ after login, LITERAL- before | [`fragment`] |
//! | 8437 | UNAUTHENTICATE | [`syntax::command`] |
//! | 8438 | STATUS=SIZE | [`syntax::mailbox`] |
//! | 8474 | OBJECTID | [`syntax::fetch`], [`matching`] |
//! | 8508 | REPLACE | [`syntax::append`] |
//! | 8514 | SAVEDATE | [`syntax::fetch`], [`matching`] |
//! | 8970 | PREVIEW | [`syntax::fetch`] |
//! | 9051 | IMAP4rev2, once it is enabled | [`syntax::spelling`], [`structure`], `server::imap::command::select` |
//! | 9208 | QUOTA, QUOTASET | [`syntax::command`] |
//! | 9394 | PARTIAL | [`syntax::esearch`], [`syntax::fetch`] |
//! | 9585 | INPROGRESS | `server::imap::command::progress` |
//!
//! Commands themselves are mostly storage and live in `server::imap`. What is not announced, the grammar does not know:
//! `mail::capability` has the list of what is.

pub mod binary;
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
