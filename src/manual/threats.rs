//! Who may want what, and what stands in the way.
//!
//! - **Strangers who want to relay**: mail for elsewhere travels as a value that only a login, a trusted network or a
//!   notice of our own can make ([`crate::intake::permit`]). There is no configuration of an open relay.
//! - **Strangers who want to smuggle a second message**: only CRLF.CRLF ends a message, in every mode; a bare CR or LF
//!   from a stranger refuses the message ([`crate::protocol::smtp::data`]).
//!   Cutting the stream at any place changes nothing (`tests/smuggling.rs`).
//! - **Somebody between us and the client**: whatever was read before a TLS handshake ends the connection, and the
//!   session starts anew after it. Logins need TLS ([`crate::protocol::session::TlsActive`]).
//! - **Guessers of passwords**: one answer in one time for an unknown user and a wrong password, after a delay that
//!   grows; counts per address or /64, per /24 or /48, and per account; then a ban for ten minutes, an hour, a day, at
//!   the door of all services for users. Who has logged in from an address within a month is let in there whatever
//!   others do ([`crate::directory`], `directory/guard.rs`). What `auth/bans` holds outlives the process.
//! - **Strangers who want to relay by our aliases**: where an alias leads the operator decides. A pattern may take the
//!   name of an address elsewhere from what a stranger wrote, never its domain (`directory/table.rs`); and the way back
//!   of mail that went on is open only to addresses that we have signed (`directory/srs.rs`).
//! - **Peers who want our memory or time**: every line, literal, header, list and wait has a limit in
//!   [`crate::mail::limits`]; connections are counted per address ([`crate::net`]). Who asks for large
//!   messages and takes them slowly holds an open file and a piece of it (`server/imap/command/streaming.rs`); what is
//!   decoded or decompressed for him is held as a whole.
//! - **Owners and senders who want more room than there is**: what is under way is reserved before it is written, so
//!   that many at once get no further than one after the other (`store/quota.rs`). By a declared size only users and
//!   trusted networks hold room, while the transaction is open; a stranger's word holds none, and his message gets
//!   its room when it is there, for all recipients or none (`delivery/room.rs`).
//! - **Strangers who name somebody else as the sender**: a mailbox that is full is told to whoever brings the message,
//!   who keeps it. What is queued for an inbox here all the same makes no notice when it is given up.
//! - **Forgers who want us to write to their victims**: unknown recipients and unwanted messages are refused while the
//!   sender is there. Wishes for notices of success and delay count only for our own users and networks, and where SPF says
//!   that the client sends for that sender; failures of what an alias sent elsewhere are told once, never to the null
//!   path, and at a pace (`delivery/pace.rs`).
//! - **Mail that runs in circles**: at a hundred `Received` it is refused, and at once where an alias that sent it to
//!   another server gets it back, which it knows by its `Delivered-To` ([`crate::intake::verdict`]).
//! - **Crowds that only hold connections**: they are counted by address and network; when no more may be at all, the
//!   stranger on port 25 who has been there longest without a message makes room, so that users still get in
//!   (`net/limits.rs`).
//! - **Strangers who write as somebody else**: SPF, DKIM and DMARC tell who may, and what the author's domain wants done
//!   with the rest is done: Junk, or refused where the operator says so ([`crate::sender_auth`]). Fields that claim
//!   our results or our reasons are cut out (`intake/clean.rs`). A signature over a part of a body, by SHA-1 or by a
//!   short key counts nothing, nor does one of a domain that is only testing. A doubt of DNS refuses nobody, so who
//!   silences a domain's name servers can write in its name: the field says `temperror`. Sealers (ARC) are believed
//!   only by name, and a domain that says nothing of DMARC is not protected.
//! - **Strangers who let us ask and hash**: look-ups, signatures, keys, time and memory for all of it are bounded
//!   ([`crate::sender_auth`]); bodies are read in pieces, a few at one time.
//! - **Names that want to leave the Maildir**: a mailbox name is checked when it is parsed, and there is no other way
//!   to one ([`crate::mail::mailbox::MailboxName`]); message files are opened without following links.
//!
//! One process serves all: there is no separation of privileges between the parser and the mail. In return nothing
//! runs as root, nothing of a message is ever run or expanded, and the code has no `unsafe`.
