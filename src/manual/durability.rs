//! What survives, and when.
//!
//! # The contract
//!
//! A `250` after the data, an `OK` to APPEND, COPY, MOVE and EXPUNGE, a `+OK` to POP3 QUIT: each comes only after the
//! file was synced, renamed into place, and the folder synced. A power cut one microsecond later loses nothing. STORE
//! is synced within a second. On any error the answer is temporary and the file is given up; after a failed sync the
//! same file is never synced again, because the kernel may have dropped its pages ([`crate::fsio`]).
//!
//! # One delivery
//!
//! `tmp/` is written and synced, renamed into `new/`, `new/` synced: two syncs for a message alone. Concurrent
//! deliveries to one mailbox share the sync of its folder. Several inboxes of one message are hard links of one file,
//! so the bytes are written and synced once. The UID comes later, when somebody looks, and its line in
//! `dovecot-uidlist` is synced before anybody sees it; therefore no crash can give a UID that was seen to another
//! message ([`crate::store`]).
//!
//! # The queue
//!
//! A message is one file: envelope and bytes, written once, synced, renamed, folder synced. Outcomes are appended as
//! checksummed records and synced. Moves between `incoming`, `active` and `deferred` are for people and are not
//! synced; at start all three are read ([`crate::queue`]).
//!
//! # What can happen twice
//!
//! A crash between the commit and the 250 makes the sender send again. A crash between the remote server's 250 and
//! our record makes us send again. Neither can be avoided in SMTP; both are counted by `kill9-loop`.
