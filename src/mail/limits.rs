//! Every size, count and time bound of the server, each with its reason.
//!
//! What an operator may change is a key of the configuration, whose default stands there; what stands here is fixed,
//! because a larger value would help nobody and harm others.

use std::time::Duration;

/// Longest local part (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_OCTETS: usize = 64;

/// Longest domain (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_OCTETS: usize = 255;

/// Longest SMTP command line with its CRLF: 512 of RFC 5321 §4.5.3.1.4, and what extensions add.
pub const SMTP_COMMAND_OCTETS: usize = 4096;

/// Longest line of an AUTH exchange (RFC 4954 §4.5.3).
pub const SMTP_AUTH_OCTETS: usize = 12_288;

/// An overlong command line is swallowed up to here, then the connection ends.
pub const SMTP_DISCARD_OCTETS: usize = 65_536;

/// Overlong command lines before the connection ends.
pub const SMTP_LONG_LINES: u32 = 3;

/// Commands that do no work (NOOP, RSET, VRFY, errors) before `421`: nobody sends more by accident.
pub const SMTP_JUNK_COMMANDS: u32 = 20;

/// Longest line of message text that is taken: RFC 5321 §4.5.3.1.6 says 998, and many send more.
pub const TEXT_LINE_OCTETS: usize = 65_536;

/// Most octets of a message header; a longer one is a mistake or an attack.
pub const HEADER_OCTETS: usize = 262_144;

/// Most fields in a message header.
pub const HEADER_FIELDS: usize = 1000;

/// `Received` fields from which a message is in a loop (RFC 5321 §6.3).
pub const RECEIVED_HOPS: usize = 100;

/// Unknown recipients in one session from which answers slow down.
pub const UNKNOWN_RECIPIENTS_SLOW: u32 = 10;

/// Unknown recipients in one session from which it ends: somebody tries names.
pub const UNKNOWN_RECIPIENTS_END: u32 = 20;

/// A peer has this long for the TLS handshake.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(30);

/// Handshakes at one time; each costs a signature and some 30 KiB.
pub const TLS_HANDSHAKES: usize = 256;

/// A peer that takes nothing of what we send for so long is gone.
pub const WRITE_STALL: Duration = Duration::from_secs(60);

/// Octets of a header of the PROXY protocol, version 1: its own text says so.
pub const PROXY_V1_OCTETS: usize = 107;

/// Octets of a header of version 2 behind its first 16: addresses take 216 at most, the rest is for what is read over.
pub const PROXY_V2_OCTETS: usize = 2048;

/// A proxy has this long for its header: it knows it when it connects.
pub const PROXY_HEADER_WAIT: Duration = Duration::from_secs(5);

/// IMAP and POP3 sessions must log in within this time.
pub const LOGIN_WAIT: Duration = Duration::from_secs(60);

/// A session on port 25 must get a MAIL accepted within this time.
pub const SMTP_FIRST_MAIL: Duration = Duration::from_secs(600);

/// After this much time in DATA the rate below counts.
pub const DATA_GRACE: Duration = Duration::from_secs(60);

/// Octets a second that a peer must send in DATA.
pub const DATA_OCTETS_PER_SECOND: u64 = 100;

/// IMAP autologout (RFC 3501 §5.4: at least 30 minutes).
pub const IMAP_IDLE: Duration = Duration::from_secs(30 * 60);

/// POP3 autologout (RFC 1939 §3: at least 10 minutes).
pub const POP3_IDLE: Duration = Duration::from_secs(10 * 60);

/// Longest IMAP command line before login.
pub const IMAP_LINE_BEFORE_LOGIN: usize = 8192;

/// All octets of one IMAP command before login, literals included.
pub const IMAP_COMMAND_BEFORE_LOGIN: usize = 65_536;

/// Largest literal before login: a name and a password.
pub const IMAP_LITERAL_BEFORE_LOGIN: u64 = 1024;

/// Literals before login up to here are swallowed and answered; larger ones end the connection.
pub const IMAP_SWALLOW_BEFORE_LOGIN: u64 = 4096;

/// BAD answers before login until the connection ends.
pub const IMAP_BAD_BEFORE_LOGIN: u32 = 3;

/// All octets of one IMAP command after login, APPEND's message aside.
pub const IMAP_COMMAND_OCTETS: usize = 1 << 20;

/// Parentheses within parentheses before login.
pub const IMAP_NESTING_BEFORE_LOGIN: usize = 8;

/// Parentheses within parentheses after login.
pub const IMAP_NESTING: usize = 50;

/// Items of one sequence set.
pub const IMAP_SET_ITEMS: usize = 10_000;

/// Longest POP3 command line (RFC 2449 §4 says 255; an initial AUTH response may be longer).
pub const POP3_LINE_OCTETS: usize = 4096;

/// Bad POP3 commands until the connection ends.
pub const POP3_BAD_COMMANDS: u32 = 20;

/// Longest password. More only costs Argon2 time.
pub const PASSWORD_OCTETS: usize = 1024;

/// A failed login waits so long before its answer, at least.
pub const FAILED_LOGIN_DELAY: Duration = Duration::from_secs(1);

/// How long a failed login counts.
pub const FAILED_LOGIN_WINDOW: Duration = Duration::from_secs(600);

/// A failed login waits so long at the most: each holds a connection.
pub const FAILED_LOGIN_DELAY_MOST: Duration = Duration::from_secs(5);

/// After so many more failures of an address each waits a second longer.
pub const FAILED_LOGINS_PER_SECOND_MORE: u32 = 4;

/// Pairs of address and account that may fail in an IPv4 /24 or IPv6 /48, as a multiple of what one address may: an
/// office behind several addresses stays below it.
pub const FAILED_LOGINS_PER_NETWORK: u32 = 3;

/// Failures of one account from everywhere, as a multiple likewise: no owner has so many devices with an old password.
pub const FAILED_LOGINS_PER_ACCOUNT: u32 = 10;

/// A network is an owner's for so long after a login from it.
pub const KNOWN_ADDRESS: Duration = Duration::from_secs(30 * 86_400);

/// That an owner is still there is noted so often.
pub const KNOWN_ADDRESS_FRESH: Duration = Duration::from_secs(86_400);

/// Addresses of owners that are kept over a restart, the latest: some for each of a few thousand users.
pub const KNOWN_ADDRESSES_SAVED: usize = 10_000;

/// How long a network is banned: the first, the second and every later time.
pub const BAN_STEPS: [Duration; 3] = [Duration::from_secs(600), Duration::from_secs(3600), Duration::from_secs(86_400)];

/// Octets of what an operator says of a ban: a line of a table.
pub const BAN_REASON_OCTETS: usize = 200;

/// For so long after its end a ban makes the next one longer.
pub const BAN_MEMORY: Duration = Duration::from_secs(7 * 86_400);

/// Bans; the file with all of them is some megabytes.
pub const BANS: usize = 10_000;

/// Octets of that file: bans and owners' addresses at their longest.
pub const BANS_FILE_OCTETS: u64 = 16 << 20;

/// How often new bans and owners' addresses are written: a crash forgets so much at the most.
pub const BANS_SAVED: Duration = Duration::from_secs(5);

/// Wide networks in which failures are counted; each holds up to some dozens of marks.
pub const FAILED_LOGIN_NETWORKS: usize = 10_000;

/// Addresses whose failures are remembered; the oldest go first.
pub const FAILED_LOGIN_ADDRESSES: usize = 100_000;

/// Logins that may wait for their turn at Argon2; more are told to come later.
pub const LOGINS_WAITING: usize = 100;

/// A successful password is remembered so long, as a keyed hash: a phone that opens six connections costs one Argon2.
pub const LOGIN_CACHE: Duration = Duration::from_secs(300);

/// Entries in the cache of successful logins.
pub const LOGIN_CACHE_ENTRIES: usize = 10_000;

/// Depth of alias expansion; the configuration check finds loops before.
pub const ALIAS_DEPTH: usize = 10;

/// Files within files of `:include:`; nobody nests deeper on purpose.
pub const ALIAS_INCLUDES: usize = 3;

/// Octets of the aliases file: 100,000 entries of the usual kind.
pub const ALIAS_FILE_OCTETS: u64 = 16 << 20;

/// Octets of a file named by `:include:`: more addresses than one recipient may expand to.
pub const ALIAS_INCLUDE_OCTETS: u64 = 1 << 20;

/// Files named by `:include:` in all: each is looked at every few seconds.
pub const ALIAS_INCLUDE_FILES: usize = 1000;

/// Complaints about one such file that are kept; the others would say the same.
pub const ALIAS_FILE_FLAWS: usize = 20;

/// How often those files are looked at for changes.
pub const ALIAS_FILE_LOOK: Duration = Duration::from_secs(3);

/// A file so young when it was read may change again within the same tick of its time stamp.
pub const ALIAS_FILE_YOUNG: Duration = Duration::from_secs(2);

/// Patterns of aliases: each is tried on every address that nothing else knows.
pub const ALIAS_PATTERNS: usize = 100;

/// Octets of a pattern of aliases.
pub const ALIAS_PATTERN_OCTETS: usize = 1000;

/// Octets of a pattern once compiled: matching takes this times the length of an address.
pub const ALIAS_PATTERN_COMPILED: usize = 64 << 10;

/// Parentheses within parentheses of a pattern.
pub const ALIAS_PATTERN_NESTING: u32 = 20;

/// Days for which mail to a sender that we rewrote (SRS) is taken: queues give up after five to seven, and a notice may
/// be on its way as long again, over two hosts.
pub const SRS_DAYS: u64 = 21;

/// Addresses that one recipient may expand to.
pub const ALIAS_RESULTS: usize = 1000;

/// A message up to this size stays in memory; a larger one goes to a file.
pub const CONTENT_IN_MEMORY: usize = 2 << 20;

/// All messages in memory together; past this they go to files from [`CONTENT_IN_MEMORY_WHEN_TIGHT`] on.
pub const CONTENT_MEMORY_TOTAL: usize = 64 << 20;

/// What a message may keep in memory when [`CONTENT_MEMORY_TOTAL`] is used up.
pub const CONTENT_IN_MEMORY_WHEN_TIGHT: usize = 65_536;

/// MIME parts within parts; deeper ones are opaque.
pub const MIME_DEPTH: usize = 100;

/// MIME parts of one message; the rest is opaque.
pub const MIME_PARTS: usize = 10_000;

/// Depth of a mailbox name.
pub const MAILBOX_DEPTH: usize = 20;

/// Octets of one component of a mailbox name, as it is on disk: with its dot what a file system takes as one name, so
/// that every folder another server could make has a mailbox.
pub const MAILBOX_COMPONENT_OCTETS: usize = 254;

/// Mailboxes of one account.
pub const MAILBOXES: usize = 10_000;

/// Octets of a line of a remote server's reply.
pub const REPLY_LINE_OCTETS: usize = 2048;

/// Lines of a remote server's reply.
pub const REPLY_LINES: usize = 100;

/// Mail exchangers of one domain that are tried.
pub const EXCHANGERS: usize = 20;

/// Addresses of all exchangers that are tried in one attempt.
pub const EXCHANGER_ADDRESSES: usize = 20;

/// Octets of a refused IMAP command that are read and dropped after login, so that the session can go on.
pub const IMAP_SWALLOW_AFTER_LOGIN: u64 = 64 << 20;

/// Search keys within search keys (`NOT`, `OR`): clients join long lists of addresses by `OR`.
pub const IMAP_SEARCH_DEPTH: usize = 300;

/// Search keys of one SEARCH.
pub const IMAP_SEARCH_KEYS: usize = 5000;

/// Result options of one searching command: there are eight, and a client may name one twice.
pub const IMAP_RETURN_OPTIONS: usize = 20;

/// Criteria of one SORT: there are nine keys, each once reversed.
pub const IMAP_SORT_CRITERIA: usize = 20;

/// Octets of a subject or an address that SORT and THREAD compare. RFC 5322 §2.1.1 has no longer lines; so the keys of
/// 100,000 messages of a spammer fit into memory.
pub const IMAP_SORT_KEY_OCTETS: usize = 998;

/// References of one message that THREAD looks at, the first and the last ones: so many have the messages of the longest
/// threads, and clients cut longer lists themselves.
pub const IMAP_THREAD_REFERENCES: usize = 100;

/// Sources that one ESEARCH names; each is resolved by a look at all mailboxes.
pub const IMAP_SEARCH_SOURCES: usize = 50;

/// Mailboxes that one ESEARCH goes through: accounts have fewer.
pub const IMAP_SEARCH_MAILBOXES: usize = 1000;

/// Live searches of one session: as many as a client may have windows. The next is answered but not kept up to date.
pub const IMAP_CONTEXTS: usize = 8;

/// Messages of a live sort, whose keys stay in memory.
pub const IMAP_SORTED_CONTEXT_MESSAGES: usize = 20_000;

/// How often a long command tells how far it is (RFC 9585 §4: every 10 to 15 seconds).
pub const IMAP_PROGRESS: Duration = Duration::from_secs(10);

/// Octets of a LIST pattern; no mailbox name is longer.
pub const IMAP_PATTERN_OCTETS: usize = 1000;

/// Patterns of one LIST.
pub const IMAP_PATTERNS: usize = 50;

/// Items of one FETCH, and header names of one section.
pub const IMAP_FETCH_ITEMS: usize = 500;

/// What an IMAP session collects before it writes.
pub const IMAP_OUTPUT_OCTETS: usize = 65_536;

/// What a FETCH or SEARCH reads ahead of the peer.
pub const IMAP_BATCH_OCTETS: usize = 262_144;

/// Octets in memory of an answer about one message, after which no other text is added to it: more than twice the largest
/// message. What is sent from the file does not count.
pub const IMAP_ANSWER_OCTETS: usize = 128 << 20;

/// A text of a message beyond this is sent from its file piece by piece: a client that is slow to take it holds no more
/// of our memory than one that asks for a small one.
pub const IMAP_STREAMED_OCTETS: u64 = 262_144;

/// Octets of a piece as it lies on disk; on the wire it may have twice as many.
pub const IMAP_PIECE_OCTETS: usize = 65_536;

/// After our last words we read for so long what a client is still sending, so that it gets to see them.
pub const IMAP_LINGER: Duration = Duration::from_secs(1);

/// How often an idle session looks for changes that other programs made, where the kernel does not tell of them.
pub const IMAP_IDLE_REFRESH: Duration = Duration::from_secs(5);

/// How often where it does: a Maildir that is replaced as a whole has no event.
pub const IMAP_IDLE_REFRESH_WATCHED: Duration = Duration::from_secs(300);

/// Longest user name at login: an address with both its halves at their longest.
pub const USER_NAME_OCTETS: usize = LOCAL_PART_OCTETS + 1 + DOMAIN_OCTETS;

/// Recipients of one message on port 25 (RFC 5321 §4.5.3.1.8: at least 100); the sender sends the rest again.
pub const RECIPIENTS_RECEPTION: usize = 100;

/// Recipients of one message of our own users.
pub const RECIPIENTS_SUBMISSION: usize = 1000;

/// Recipients past the limit that get their 452 in one transaction before each counts as junk: a sender of a list
/// pipelines them all and comes again with the rest.
pub const RECIPIENT_OVERSHOOT: usize = 1000;

/// Octets of the envelope of a spool file: a thousand recipients of the longest kind, each with the longest ORCPT.
pub const SPOOL_ENVELOPE_OCTETS: usize = 2 << 20;

/// Octets of ENVID (RFC 3461 §5.4).
pub const ENVELOPE_ID_OCTETS: usize = 100;

/// Octets of ORCPT (RFC 3461 §4.2).
pub const ORIGINAL_RECIPIENT_OCTETS: usize = 500;

/// Octets of one outcome record of a spool file: a thousand outcomes with their reasons.
pub const SPOOL_RECORD_OCTETS: usize = 4 << 20;

/// Octets that are kept of what a remote server says.
pub const REMOTE_TEXT_OCTETS: usize = 512;

/// Waiting messages at once; more are refused for now.
pub const QUEUE_MESSAGES: usize = 1_000_000;

/// Lines of [`REMOTE_TEXT_OCTETS`] of one remote reply that a notice quotes.
pub const NOTICE_TEXT_LINES: usize = 20;

/// After so long the sender is told once that his mail is late; most servers that are down are back by then.
pub const DELAY_NOTICE: Duration = Duration::from_secs(4 * 3600);

/// Notices to one address elsewhere in an hour: more than anybody's own mail earns him, and bearable for whom a forger
/// names. More are told later.
pub const NOTICES_PER_ADDRESS: u32 = 100;

/// Notices to all addresses elsewhere in an hour: a server that sends more looks like one that spams.
pub const NOTICES_PER_HOUR: u32 = 3000;

/// A message up to this size comes back whole with a notice; of a larger one only the header.
pub const BOUNCE_WHOLE_OCTETS: u64 = 65_536;

/// Messages of the queue that are looked at at once; the others wait their turn.
pub const QUEUE_IN_FLIGHT: usize = 10_000;

/// Lists that are asked about one client: more would be a look-up storm, and nobody weighs so many.
pub const DNSBLS: usize = 20;
/// Clients, senders and recipients that greylisting remembers: 64 octets each in memory, so 13 MB at most.
pub const GREYLIST_ENTRIES: usize = 200_000;
/// How often what greylisting knows is written down. What a crash loses is one more try of somebody new.
pub const GREYLIST_SAVE: Duration = Duration::from_secs(300);

/// One packet of a milter: 64 KiB of body and its frame, with room for those who send more at once.
pub const MILTER_PACKET_OCTETS: usize = 1 << 20;
/// A piece of a body on its way to a milter: libmilter takes no more.
pub const MILTER_BODY_CHUNK: usize = 65_535;
/// Changes of the header that one milter may want: as many as a header has fields.
pub const MILTER_CHANGES: usize = 1_000;
/// A field that a milter adds: signatures and reports are long, a header is not that long.
pub const MILTER_FIELD_OCTETS: usize = 65_536;

/// Reasons that one header field gives for filing a message in Junk.
pub const JUNK_REASONS: usize = 10;
/// The length of one of them: a line of a header may have 998 characters, a reader wants fewer.
pub const JUNK_REASON_CHARS: usize = 400;

/// Answers of name servers that are kept until they expire.
pub const DNS_CACHE_ENTRIES: u64 = 10_000;
/// What a remote server may take for its greeting and for each of HELO, MAIL and RCPT (RFC 5321 §4.5.3.2.1 to
/// §4.5.3.2.3).
pub const REMOTE_COMMAND: Duration = Duration::from_secs(300);

/// For all recipients of one message together: a server that delays each answer holds a place for others.
pub const REMOTE_ENVELOPE: Duration = Duration::from_secs(1800);

/// For the answer to DATA (RFC 5321 §4.5.3.2.4).
pub const REMOTE_DATA: Duration = Duration::from_secs(120);

/// For taking one piece of the body (RFC 5321 §4.5.3.2.5).
pub const REMOTE_BLOCK: Duration = Duration::from_secs(180);

/// For the answer after the last dot (RFC 5321 §4.5.3.2.6): shorter waits make duplicates.
pub const REMOTE_FINAL: Duration = Duration::from_secs(600);

/// For the answer to QUIT, which changes nothing any more.
pub const REMOTE_QUIT: Duration = Duration::from_secs(5);

/// RCPT commands under way with a server that offers PIPELINING: few enough that neither side's buffers fill up.
pub const REMOTE_PIPELINE: usize = 100;

/// Octets of a remote reply that are kept for logs and notices.
pub const REPLY_TEXT_OCTETS: usize = 2048;
/// Mailboxes that stay in memory although nobody holds them, so that a phone that comes back reads nothing again.
pub const MAILBOXES_KEPT: usize = 64;

/// Messages of all mailboxes that stay in memory although nobody holds them: some 150 octets each.
pub const MESSAGES_KEPT: usize = 400_000;

/// What is left in a Maildir's `tmp` goes after this time (the Maildir format's own figure).
pub const TMP_LEFTOVER: Duration = Duration::from_secs(36 * 3600);

/// A folder changed so recently when it was read may have changed again within the same tick of its time stamp.
pub const FOLDER_YOUNG: Duration = Duration::from_secs(2);

/// After changes of our own a folder is read again at most so often, for a foreign change hidden in the same moment.
pub const FOLDER_AUDIT: Duration = Duration::from_secs(30);

/// Changed flags are synced after this time at the latest.
pub const FLAG_SYNC: Duration = Duration::from_millis(500);

/// Renames done in one go while deliveries to the same mailbox wait.
pub const RENAMES_AT_ONCE: usize = 256;

/// Lines of a UID list that name expunged messages are left up to this count, or up to a quarter of the living.
pub const DEAD_UID_LINES: usize = 256;

/// Largest `dovecot-uidlist`, `dovecot-keywords` or `subscriptions` that is read: 4 million messages.
pub const MAILDIR_LIST_OCTETS: u64 = 400 << 20;

/// A delivery that syncs a folder waits at least so long for others that are writing their file for the same folder.
pub const SYNC_PATIENCE: Duration = Duration::from_millis(2);

/// And at most so long: a disk that takes longer for a file gains nothing by more.
pub const SYNC_PATIENCE_MOST: Duration = Duration::from_millis(20);

/// Deliveries under way at once from which folder syncs are gathered: with fewer, waiting costs more time than it saves.
pub const SYNC_BUSY: usize = 10;

/// For so long after there were as many: how many there are at once goes up and down within milliseconds.
pub const SYNC_BUSY_FOR: Duration = Duration::from_millis(200);

/// So long at least does a folder sync then wait for more deliveries into the same folder: less than a busy disk takes.
pub const SYNC_GATHER: Duration = Duration::from_millis(5);

/// Runs of expunged UIDs that a mailbox remembers (24 octets each); a client that was away for longer is told every
/// UID that is not there.
pub const EXPUNGED_RUNS: usize = 8192;

/// Octets of one section of an index or journal: 256 messages with the longest names and fields.
pub const INDEX_SECTION_OCTETS: usize = 256 * 70_000;

/// A journal of this size, or of 16 octets a message in a larger mailbox, is folded into the index.
pub const JOURNAL_OCTETS: u64 = 1 << 20;

/// A mailbox in which nothing has changed for so long gets its index written: after a power cut it then keeps its
/// mod-sequences.
pub const INDEX_QUIET: Duration = Duration::from_secs(60);

/// How often the mailboxes in memory are looked through for indexes to be written.
pub const INDEX_LOOK: Duration = Duration::from_secs(10);

/// A UID list of this size is read on a thread of its own while the folders are listed; for a shorter one that would
/// cost more than it gains.
pub const LIST_READ_BESIDE: u64 = 256 << 10;
/// Changes by other programs to one mailbox that are kept by name, of 255 octets at most each; past them reading the
/// folders is cheaper.
pub const FOREIGN_NAMES_KEPT: usize = 1024;

/// Changes of our own to one mailbox whose event has not come. Thousands are never under way at once, so past this they
/// do not come.
pub const EXPECTED_NAMES_KEPT: usize = 4096;

/// After so many changes of our own their events are read: the kernel's queue holds 16,384 (fs.inotify.max_queued_events)
/// and drops what does not fit.
pub const OWN_EVENTS_UNREAD: usize = 1024;

/// Octets of inotify events read at once: at least 240 of the longest names, 1,300 of usual ones.
pub const WATCH_READ_OCTETS: usize = 65_536;

/// No inotify event is larger: 16 octets and a name, which cannot be longer than a path.
pub const WATCH_EVENT_OCTETS: usize = 16 + 4096;

/// Between two readings of inotify events by the task that waits for them: nobody notices, and a storm of changes is read
/// 200 times a second at most.
pub const WATCH_PAUSE: Duration = Duration::from_millis(5);

/// Octets of what the cache keeps of one message: a longer header is seldom asked for.
pub const CACHE_RECORD_OCTETS: usize = 1 << 20;

/// Octets of the cache that are read at once by who goes through a mailbox.
pub const CACHE_WINDOW_OCTETS: usize = 256 << 10;

/// A cache file up to this is read at once by who jumps about in it: of a mailbox with some thousands of messages.
pub const CACHE_WHOLE_OCTETS: usize = 4 << 20;

/// Records of no use that a cache may have beside as many as those of use.
pub const CACHE_SPARE_RECORDS: usize = 1000;
/// The most that is read out of a message file that another server compressed: no server took larger messages, and a
/// file that stands for more was made to fill memory.
pub const DECOMPRESSED_OCTETS: u64 = 256 << 20;

/// The largest window of zstd, which is kept in memory while such a file is read: that of its highest level.
pub const ZSTD_WINDOW_OCTETS: u64 = 128 << 20;
/// Octets of a line that may separate two messages of an mbox: an address at its longest, and a date.
pub const MBOX_FROM_OCTETS: usize = 1000;

/// What a message may have in an mbox above the largest size of a message: fields of the file, and quoting.
pub const MBOX_OVERHEAD_OCTETS: usize = 65_536;

/// Octets of one line of JSON on the control socket: a path, a mailbox and some words.
pub const CONTROL_LINE_OCTETS: u64 = 65_536;

/// Mailbox commands that a running server works on at once: each holds a thread that deliveries need as well.
pub const CONTROL_JOBS: usize = 4;

/// How often the progress of a command is told.
pub const CONTROL_PROGRESS: Duration = Duration::from_millis(100);

/// Findings of one mailbox that are reported one by one; of the others only the count.
pub const CHECK_FINDINGS: usize = 10_000;

/// Messages of an import that become durable together: what comes while others are synced, up to this.
pub const IMPORT_BATCH_MESSAGES: usize = 128;

/// Octets of such messages.
pub const IMPORT_BATCH_OCTETS: u64 = 16 << 20;

/// Threads that write them: a file system syncs so many files for little more than one.
pub const IMPORT_WRITERS: usize = 8;
/// What an account holds is counted anew when the last count is so old and somebody asks: other programs may have
/// changed it.
pub const QUOTA_RECOUNT: Duration = Duration::from_secs(15 * 60);

/// Before something is refused for lack of room, or after another program was seen at work, the count may be only so
/// old. A mailbox that is full and under fire is thus read this often at most.
pub const QUOTA_RECOUNT_PAUSE: Duration = Duration::from_secs(10);

/// Warnings of full mailboxes that wait to be delivered; they go out at once, so only a flood fills this.
pub const QUOTA_WARNINGS_WAITING: usize = 256;

/// Octets of a text part that are decoded and searched at once; a part of any length needs no more memory than this a
/// few times over.
pub const TEXT_PIECE_OCTETS: usize = 64 << 10;

/// A message up to this size is read by whoever searches it or looks for its parts; of larger ones one at a time is in
/// memory for searches, and one for FETCH.
pub const SEARCH_WHOLE_OCTETS: usize = 4 << 20;

/// Messages that a searching thread takes at once from those that are left.
pub const SCAN_CHUNK: usize = 256;

/// Octets that are collected of a text in a charset that is not decoded in pieces, such as UTF-7.
pub const TEXT_HELD_OCTETS: usize = 1 << 20;

/// Entries of METADATA that a mailbox may have (RFC 5464): no client uses more than a few.
pub const METADATA_ENTRIES: usize = 200;

/// Octets of all entries of METADATA of a mailbox together: they are read as one file.
pub const METADATA_OCTETS: usize = 256 << 10;

/// Octets of one value of METADATA: notes, colours, filters.
pub const METADATA_VALUE_OCTETS: usize = 64 << 10;

/// Messages of one APPEND (RFC 3502): each waits as a file or in memory until the last is there.
pub const IMAP_APPEND_MESSAGES: usize = 100;

/// Changes of an account's tree that are kept for sessions which do not listen; who missed more is told so
/// (RFC 5465 §5.8).
pub const ACCOUNT_EVENTS_KEPT: usize = 256;

/// Entries that give or take rights in one mailbox (RFC 4314).
pub const ACL_ENTRIES: usize = 200;

/// Event groups of one NOTIFY (RFC 5465).
pub const IMAP_NOTIFY_GROUPS: usize = 50;

/// Mailboxes whose messages one session may hear of beside the selected one: each of them is held in memory.
pub const IMAP_NOTIFY_MAILBOXES: usize = 500;

/// Messages of which CATENATE reads something at the same time, in the whole server.
pub const IMAP_CATENATE_READERS: usize = 2;

/// Parts of one message of CATENATE (RFC 4469): each may make us read a whole message.
pub const IMAP_CATENATE_PARTS: usize = 200;

/// Octets of the messages of one APPEND together, where there are several.
pub const IMAP_APPEND_OCTETS: u64 = 256 << 20;

/// Octets of text records that one name may have: what one answer by TCP can hold (RFC 1035 §4.2.2).
pub const DNS_TXT_OCTETS: usize = 65_536;

/// MX records of one name that are looked at; SPF needs to see that there are more than 10 (RFC 7208 §4.6.4).
pub const DNS_MX_RECORDS: usize = 20;

/// Addresses of one name that are looked at.
pub const DNS_ADDRESSES: usize = 100;

/// Names of one client address that are tried (RFC 7208 §5.5 has the same number).
pub const DNS_PTR_NAMES: usize = 10;

/// Time for all questions about the name of a client: a greeting waits for it.
pub const CLIENT_NAME_TIME: Duration = Duration::from_secs(5);

/// Time for a set of look-ups that belong together (RFC 7208 §4.6.4: at least 20 seconds).
pub const DNS_SET_TIME: Duration = Duration::from_secs(20);

/// Terms of an SPF record: a record of 64 KiB has no more that make sense.
pub const SPF_TERMS: usize = 512;

/// Octets that the macros of SPF may become: a name has 253, and an explanation is cut further.
pub const SPF_EXPANDED_OCTETS: usize = 4096;

/// Terms of an SPF check that ask DNS (RFC 7208 §4.6.4).
pub const SPF_LOOKUPS: usize = 10;

/// Questions of an SPF check that bring nothing (RFC 7208 §4.6.4).
pub const SPF_VOID_LOOKUPS: usize = 2;

/// Exchangers that an `mx` of SPF may have (RFC 7208 §4.6.4).
pub const SPF_MX_HOSTS: usize = 10;

/// Longest explanation of a failure of SPF that is passed on: a line of a reply.
pub const SPF_EXPLANATION_CHARS: usize = 250;

/// Tags of a list of DKIM and its relatives, where a dozen are known.
pub const AUTH_TAGS: usize = 100;

/// Octets of a body that are read at a time while it is hashed.
pub const AUTH_BODY_PIECE: usize = 65_536;

/// Octets of headers, each counted twice for what is hashed of it, that checks of signatures hold at one time: some
/// ten thousand usual headers, and 256 of the largest. A message that finds no room within [`AUTH_PROOF_TIME`] gets a
/// temporary error.
pub const AUTH_HEADERS_OCTETS: usize = 128 << 20;

/// Bodies that are hashed at one time, each with three pieces of [`AUTH_BODY_PIECE`]: no more than that keep disks and
/// processors busy. Nobody waits for DNS with one of these places.
pub const AUTH_BODIES: usize = 16;

/// SPF, DKIM and ARC must be known within this time; keys that are not there by then are a temporary error.
pub const AUTH_PROOF_TIME: Duration = Duration::from_secs(20);

/// Everything about the sender must be known within this time: the client waits for the answer to its data, for 10
/// minutes at least (RFC 5321 §4.5.3.2.6), and we need them for the disk as well.
pub const AUTH_TIME: Duration = Duration::from_secs(30);

/// DKIM signatures of one message that are verified; an honest one has two or three.
pub const DKIM_SIGNATURES: usize = 5;

/// DKIM signatures that `Authentication-Results` tells of.
pub const DKIM_RESULTS: usize = 10;

/// Key records of one name that are tried.
pub const DKIM_KEY_RECORDS: usize = 3;

/// Bits of an RSA key for DKIM (RFC 8301 §3.2): larger ones cost time and help nobody.
pub const DKIM_RSA_BITS: std::ops::RangeInclusive<usize> = 1024..=4096;

/// Sets of an ARC chain (RFC 8617 §4.2.1).
pub const ARC_SETS: usize = 50;

/// Domains in `From` whose policies are asked for where there should be one.
pub const DMARC_AUTHORS: usize = 5;

/// Questions of one walk up the tree of DNS (RFC 9989 §4.10).
pub const DMARC_WALK: usize = 8;

/// Longest piece of a stranger's text in a field that we write.
pub const RESULT_TEXT_CHARS: usize = 255;

/// Connections above `limits.connections` that are there because a stranger who makes room for each was told to go, and
/// is still saying goodbye, which may take a second.
pub const LEAVING_CONNECTIONS: u32 = 32;
