//! Which RFC is spoken where.
//!
//! | RFC | what | where |
//! | --- | --- | --- |
//! | 1870 | SIZE | `protocol/smtp/extension.rs` |
//! | 1939 | POP3 | `protocol/pop3/` |
//! | 2033 | LMTP; all recipients of a message share one answer, since it is kept for all or for none | `protocol/smtp/server/` |
//! | 2047, 2231 | encoded words and parameters | `message/decode.rs`, `message/extended.rs` |
//! | 2033 | LMTP | `protocol/smtp/server/` |
//! | 2177 | IDLE | `server/imap/command/idle.rs` |
//! | 2342 | NAMESPACE | `server/imap/command/mod.rs` |
//! | 2449 | POP3 CAPA, RESP-CODES, PIPELINING | `protocol/pop3/` |
//! | 2595 | STLS | `protocol/pop3/` |
//! | 2920 | PIPELINING | `protocol/smtp/server/` |
//! | 2971 | ID | `server/imap/command/id.rs` |
//! | 3030 | CHUNKING, without BINARYMIME | `protocol/smtp/server/chunks.rs` |
//! | 3207 | STARTTLS of SMTP | `protocol/smtp/server/` |
//! | 3463 | enhanced status codes | `mail/status.rs` |
//! | 3461 | DSN | `protocol/smtp/command.rs`, `protocol/smtp/client.rs`, `queue/` |
//! | 3464, 6522, 6533 | notices of failures, delays and deliveries | `queue/bounce.rs` |
//! | 3501 | IMAP4rev1, which is spoken first | `protocol/imap/`, `server/imap/` |
//! | 3502 | MULTIAPPEND | `server/imap/command/append.rs` |
//! | 3516 | BINARY; lines end with LF on disk, so a part whose encoding is "binary" comes back with CRLF where it had LF alone | `protocol/imap/binary.rs`, `server/imap/command/append.rs` |
//! | 3691 | UNSELECT | `server/imap/command/` |
//! | 3834 | Auto-Submitted of what we write ourselves | `queue/bounce.rs`, `delivery/quota_warning.rs` |
//! | 3848 | what was spoken, in Received | `intake/trace.rs` |
//! | 4155 | mbox files | `message/mbox.rs` |
//! | 4314, 8440 | mailboxes shared with other accounts | `store/acl.rs`, `server/imap/access.rs`, `server/imap/command/acl.rs` |
//! | 4315 | UIDPLUS | `server/imap/command/` |
//! | 4469, 5092 | CATENATE, and the URLs in it with their PARTIAL | `protocol/imap/syntax/url.rs`, `server/imap/command/append.rs` |
//! | 4616, 4954, 4959, 5034 | PLAIN and LOGIN, in SMTP, IMAP and POP3 | `protocol/sasl/` |
//! | 4731 | ESEARCH | `protocol/imap/syntax/esearch.rs`, `server/imap/command/answer.rs` |
//! | 5032 | WITHIN | `protocol/imap/matching.rs` |
//! | 5051 | i;unicode-casemap | `message/casemap.rs` |
//! | 5161 | ENABLE | `server/imap/command/enable.rs` |
//! | 5182 | SEARCHRES | `protocol/imap/syntax/set.rs`, `server/imap/selected.rs` |
//! | 5255 | I18NLEVEL=1 | `message/casemap.rs` |
//! | 5256, 5957 | SORT and THREAD | `protocol/imap/sort.rs`, `protocol/imap/thread.rs`, `message/base_subject.rs` |
//! | 5258, 5819 | LIST with options and STATUS | `server/imap/command/list.rs` |
//! | 5267 | ESORT and searches that are kept up to date | `server/imap/live.rs`, `server/imap/command/context.rs` |
//! | 5321 | SMTP | `protocol/smtp/`, `delivery/` |
//! | 5322 | messages | `message/` |
//! | 5465 | NOTIFY; annotations of messages, and what other programs do to the tree, have no events | `server/imap/notify.rs`, `store/events.rs` |
//! | 5530 | response codes | `server/imap/errors.rs` |
//! | 6531 | SMTPUTF8 | `protocol/smtp/` |
//! | 5782 | lists of addresses asked by DNS | `dns/listing.rs` |
//! | 6152 | 8BITMIME | `protocol/smtp/` |
//! | 5464, 9590 | METADATA, LIST-METADATA | `store/annotations.rs`, `server/imap/command/metadata.rs` |
//! | 6154 | special-use mailboxes, made for a use | `store/special_use.rs`, `server/imap/command/create.rs` |
//! | 6376, 8301, 8463 | DKIM signatures of others; SHA-1, keys below 1024 or above 4096 bits and signatures over a part of the body do not count | `sender_auth/dkim.rs`, `sender_auth/canon.rs`, `sender_auth/key.rs` |
//! | 6409 | submission | `protocol/smtp/server/`, `intake/complete.rs` |
//! | 6647 | greylisting, by network or by SPF | `intake/checks/greylist.rs` |
//! | 5890, 6531, 6532 | addresses beyond ASCII; a local part may not have what is not seen, against RFC 6531 §3.3 | `mail/address.rs` |
//! | 6851 | MOVE | `server/imap/command/` |
//! | 6855 | UTF8=ACCEPT; headers in 8 bits are taken from everybody by APPEND, against §4: old mail that is moved here has them, and would be lost | `protocol/imap/syntax/spelling.rs`, `protocol/imap/structure.rs` |
//! | 7162 | CONDSTORE and QRESYNC | `store/mailbox.rs`, `store/expunged.rs`, `server/imap/selected.rs`, `server/imap/command/` |
//! | 7208 | SPF | `sender_auth/spf/` |
//! | 7372 | codes for mail that is refused for its sender | `sender_auth/policy.rs` |
//! | 7377 | ESEARCH in several mailboxes | `server/imap/command/multisearch.rs` |
//! | 7435 | opportunistic TLS | `tls/client.rs` |
//! | 7505 | null MX | `dns/`, `delivery/route.rs` |
//! | 7888 | LITERAL+ and LITERAL- | `protocol/imap/fragment.rs` |
//! | 7889 | APPENDLIMIT | `server/imap/capability.rs` |
//! | 8314 | implicit TLS | `daemon/accept.rs` |
//! | 8437 | UNAUTHENTICATE | `server/imap/session.rs` |
//! | 8438 | STATUS=SIZE | `server/imap/command/status.rs` |
//! | 8474 | ids of mailboxes and messages | `message/object_id.rs`, `store/load.rs`, `server/imap/command/` |
//! | 9051 | IMAP4rev2, once it is enabled | `server/imap/enabled.rs`, `server/imap/command/select.rs` |
//! | 9208 | quota; by SETQUOTA an owner takes less than the operator gives | `server/imap/command/quota.rs`, `store/quota.rs` |
//! | 8689 | REQUIRETLS; the next host is known by its certificate, without DNSSEC or MTA-STS | `protocol/smtp/client.rs`, `delivery/outbound.rs` |
//! | 9422 | LIMITS | `protocol/smtp/extension.rs` |
//! | 8508 | REPLACE | `server/imap/command/append.rs` |
//! | 8514 | save dates | `store/file_name.rs`, `protocol/imap/matching.rs`, `server/imap/command/fetch.rs` |
//! | 8601 | Authentication-Results, ours and those that are not; names of clients | `sender_auth/results.rs`, `intake/clean.rs`, `dns/client_name.rs` |
//! | 8617 | ARC chains | `sender_auth/arc.rs` |
//! | 8970 | PREVIEW | `message/preview.rs` |
//! | 9394 | PARTIAL results of SEARCH and FETCH | `protocol/imap/syntax/esearch.rs`, `protocol/imap/syntax/fetch.rs` |
//! | 9585 | INPROGRESS | `server/imap/command/progress.rs` |
//! | 9989 | DMARC by walking up the tree; a message without exactly one author fails | `sender_auth/dmarc.rs` |
