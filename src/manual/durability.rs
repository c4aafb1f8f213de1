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
//! While many deliveries are under way a folder sync waits a little for more of them: with 32 clients over 8 mailboxes
//! a message costs about one and a half syncs, its own file's and a share of its folder's.
//!
//! # What is derived
//!
//! Index, journal and cache of a mailbox lie in the state folder and are never trusted over the Maildir: the index holds
//! only while the time stamps and inodes of `new/`, `cur/` and `dovecot-uidlist` are those in it and none of them was
//! touched within two seconds of its writing; otherwise the folders are read and it lends mod-sequences, sizes and dates
//! to the messages that are as it says. A mod-sequence is the clock in microseconds, or one above the last. After a
//! crash of the server they go on from the journal; after a power cut, for which a journal that was begun before this
//! start of the machine is the sign, all messages of that mailbox get new ones, above all that were shown, and
//! expunges are told as "every UID that is not there" ([`crate::store`]).
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
