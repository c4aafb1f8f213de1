//! What clients do that no RFC foresees, what we do about it, and the test that keeps it so.
//!
//! A dialog is named by its folder and file in `tests/dialogs/`, another test by its program in `tests/` and its name.
//! `tests/quirks.rs` sees to it that each is there.
//!
//! | client | quirk | what we do | test |
//! | --- | --- | --- | --- |
//! | Outlook "new" / Microsoft cloud sync | SASL LOGIN with an initial response | it counts as the answer to the first prompt | `imap/quirk-outlook-auth-login.txt`, `submission/auth-login-outlook.txt` |
//! | Outlook "new" / Microsoft cloud sync | PLAIN is not missed | LOGIN is offered wherever PLAIN is | `imap/quirk-outlook-auth-login.txt` |
//! | Outlook "new" | fails where the tag in an ESEARCH response is not quoted | it is a quoted string in each of them | `imap/quirk-outlook-esearch-tag.txt` |
//! | Office 365 IMAP fetcher | enables UIDONLY, then fetches by sequence numbers | there is no UIDONLY, and what is there can be taken away; a client's ID changes nothing | `imap/quirk-office365-uidonly.txt`, `capabilities::what_the_operator_disables_is_neither_announced_nor_enabled` |
//! | Outlook for macOS autodiscover service | a server name with a dot at its end in TLS | the name is not looked at: there is one certificate | `quirks::a_server_name_with_a_dot_at_its_end_gets_the_certificate` |
//! | Outlook 2016 | odd ALPN | only who wants nothing but HTTP is refused | `quirks::no_alpn_and_any_alpn_will_do` |
//! | iOS 18 / macOS Mail | commands in a row, more of them behind IDLE and DONE | all that has come is worked off, in order | `imap/quirk-ios-pipelined-idle.txt`, `imap/idle-ios.txt`, `imap/quirk-ios-list-return.txt` |
//! | macOS Mail | LIST without RETURN, and special uses are wanted | they are always told | `imap/quirk-macos-plain-list.txt` |
//! | iOS Mail | MOVE and COPY of UIDs that are gone or that the session has not heard of | OK, and nothing is done | `imap/quirk-ios-move-of-what-is-gone.txt` |
//! | iOS Mail | waits for the end of an answer that DEFLATE holds back | no COMPRESS | `imap/quirk-ios-compress-is-off.txt` |
//! | Gmail app as IMAP client | needs the extension fields of BODYSTRUCTURE | all of them are told | `imap/quirk-gmail-app-bodystructure.txt` |
//! | Gmail SMTP client | offers a web certificate as its own | nobody is asked for one | `quirks::no_client_is_asked_for_a_certificate` |
//! | Thunderbird | shows subscribed mailboxes only | what the server makes is subscribed | `imap/quirk-thunderbird-subscriptions.txt` |
//! | Thunderbird | reads STATUS as that of the LIST before it | it comes right behind | `imap/quirk-thunderbird-list-status.txt` |
//! | Thunderbird | a separator at the end of a name | it is taken off | `imap/quirk-thunderbird-extra-separator.txt` |
//! | Thunderbird | opens whatever LSUB tells | what is no mailbox is \Noselect | `imap/quirk-thunderbird-lsub-flags.txt` |
//! | Thunderbird | quotas as in RFC 2087 | GETQUOTAROOT answers in that form | `quirks::quotas_are_told_as_in_rfc_2087` |
//! | Thunderbird | enables before it uses | nothing of CONDSTORE is said before, all of it after | `imap/quirk-thunderbird-enable.txt` |
//! | Thunderbird | many connections at once | more than twenty of one user from one address | `quirks::a_user_has_twenty_connections_from_one_address` |
//! | K-9 / FairEmail | EXAMINE, then SEARCH and FETCH by sequence numbers | they are what they are, UIDs are asked for by UID | `imap/quirk-k9-examine-by-number.txt` |
//! | K-9 / FairEmail | long searches | they keep nobody waiting and end with their client | `search::a_search_ends_with_its_client_and_keeps_nobody_waiting` |
//! | K-9 / FairEmail | waits for RECENT | told with each EXISTS and at SELECT | `imap/quirk-k9-recent.txt` |
//! | Old clients (rev1) | cannot read UTF-8 in ENVELOPE and BODYSTRUCTURE | encoded words | `imap/quirk-old-clients-seven-bit.txt` |
//! | QRESYNC clients | ENABLE QRESYNC alone | it brings CONDSTORE | `imap/quirk-qresync-modseq.txt` |
//! | QRESYNC clients | wait for HIGHESTMODSEQ | told with what expunges; what is appended has its MODSEQ in FETCH | `imap/quirk-qresync-modseq.txt` |
//! | APPEND with literal8, BODY\[1.MIME\] | wrong answers elsewhere | taken; the header of the part | `imap/quirk-append-literal8.txt`, `imap/quirk-body-part-mime.txt` |
//!
//! # Not of IMAP
//!
//! | client | quirk | where it belongs |
//! | --- | --- | --- |
//! | Outlook autodiscover | any case, any method, no address | HTTP, of which there is none yet |
//! | iOS profile | hard to install | HTTP |
//! | Thunderbird/Geary mobile autoconfig | asks without an address | HTTP |
//! | Copiers, Veeam, PHP, routers | old ways to log in | submission: `legacy_auth_line` |
//! | SMTP clients | a space before the path, an empty AUTH | submission: `submission/auth-login-outlook.txt` has the space |
//! | MX that does not announce 8BITMIME | 8-bit mail | `delivery/` |
//! | Google/iCloud sender pools | come again from another address | `intake/checks/greylist.rs`: known by an SPF pass of their domain, else by the /24 or /64 |
//! | outlook.com, proton.me | headers written anew | DKIM, of which there is none yet |
