//! A tree of mail that comes from Dovecot, and the way back.
//!
//! Nothing is copied or converted: Facteur works on the same folders and files ([`crate::store`]), and no client loads
//! anything again. `tests/adoption.rs` holds this against a Dovecot 2.3, both ways and over again, with 10 mailboxes of
//! 1,000 messages: names, subscriptions, UIDVALIDITY, UIDs, UIDNEXT, flags, keywords, dates, sizes, bodies and UIDL are
//! the same before and after.
//!
//! # From Dovecot
//!
//! 1. `doveconf -n` shows what Dovecot does. `mail_location` becomes two keys: `maildir:/var/vmail/%d/%n` is
//!    `maildir = "/var/vmail/{domain}/{user}"` in `[storage]`, and `:LAYOUT=fs` behind it is `layout = "fs"`. The
//!    `separator` of the namespace becomes `separator` in `[imap]`; where Dovecot names none, it is `.` for Maildir++
//!    and `/` for `LAYOUT=fs`, and clients know their mailboxes by it.
//! 2. Dovecot is stopped. Both at once on one tree would give the same UID to two messages.
//! 3. The files are given to the user as whom Facteur runs: `chown -R facteur: /var/vmail`.
//! 4. Facteur is started. Where a Maildir looks as if it had the other layout, the log says so, and nothing is made in
//!    it.
//!
//! # And back
//!
//! Facteur is stopped, the files are given back to Dovecot's user, Dovecot is started. It finds by itself that its
//! `dovecot.index*` files are behind and brings them up to date; they may also be removed.
//!
//! # What is taken over
//!
//! | on disk | what it holds |
//! | --- | --- |
//! | `cur/`, `new/` | messages, flags as letters, `S=` and `W=`, the date of arrival as the file's time |
//! | `dovecot-uidlist` | UIDVALIDITY, UIDs, and all fields, known or not, when it is written anew; `P` is the UIDL in POP3 |
//! | `dovecot-keywords` | which letter is which keyword of a mailbox; the order stays |
//! | `subscriptions` | both formats; version 2 is written |
//! | compressed files | gzip and zstd of Dovecot's zlib plugin are read, and go along in COPY and MOVE; nothing new is compressed |
//! | the names of mailboxes | all that Dovecot can open; folders for sent mail and the like are known by their names, see `store/special_use.rs` |
//!
//! # What is not
//!
//! - Messages in mbox, dbox or mdbox, or with `INDEX=`, `CONTROL=` or `DIRNAME=` in `mail_location`: Dovecot itself
//!   brings them into a Maildir, with `dsync`.
//! - A `prefix` of the namespace, such as `INBOX.`: names lose it, and clients load the mailboxes under their new names.
//! - More than 26 keywords in a mailbox: Dovecot keeps the rest in its index alone.
//! - Messages compressed with bzip2, lz4 or xz, or whose compression is broken: they are left out; the log and
//!   `facteur mailbox fsck` name them. Uncompressed first, under the same names, they are read.
//! - In `LAYOUT=fs`, folders whose names no mailbox can have, such as `R&D` (rightly `R&-D`) or one that begins like a
//!   file of Dovecot's (`dovecot-acl`, `dovecot.index`): no client sees them, nothing removes them, and
//!   `facteur mailbox fsck` names them.
//! - UIDLs of a `pop3_uidl_format` other than the default `%08Xu%08Xv`, unless `pop3_save_uidl = yes` has written them
//!   into `dovecot-uidlist` before; POP3 clients load once more what they have left on the server.
//! - Symbolic links, as folders or as messages: Dovecot follows them, Facteur does not leave the account.
//! - Per-user ACLs, quota, Sieve scripts.
//!
//! # Dots in names
//!
//! With `/` as the separator a mailbox of Facteur may be called `v1.2`. Maildir++ has no room for that dot, so its
//! folder is `.v1\2e2`, and a Dovecot over the same tree calls the mailbox `v1\2e2`, as every client of Facteur does
//! where the separator is `.`: all that is in it stays reachable. Nothing else is escaped, but for a `\` that would
//! itself read as the start of `\2e` or `\5c`. In `LAYOUT=fs` dots are letters for both. A name that begins with `~` is
//! listed by Dovecot and not opened; a rename helps before going back.
