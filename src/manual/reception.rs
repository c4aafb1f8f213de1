//! Mail from strangers: what is decided when, and which key of the configuration stands for which setting of Postfix.
//!
//! # In which order
//!
//! 1. **At the connection**: how many there are from one address, /64 and /48 (`[limits]`); behind a proxy
//!    (`[proxy]`), by the address that it tells. Whoever speaks before the greeting is sent away.
//! 2. **At RCPT** ([`crate::intake::recipient`]), where the log knows who writes to whom: a network of `[relay]` and a
//!    user who has logged in may relay and are not asked further; then whether the recipient is ours; then `[checks]`,
//!    `[[dnsbl]]` and `[greylist]`. The first refusal is the answer, and the log names its key. `facteur explain smtp` makes
//!    the same decision and shows all of it.
//! 3. **At the end of data** ([`crate::intake`]): the header (loops, sizes), who sent it (`[sender_auth]`,
//!    `[[sender_policy]]`), the milters (`[[milter]]`) in their order.
//! 4. **Junk**: what a check, the policy of the author's domain, or a milter marks is filed in the recipient's Junk, made
//!    where there is none; `X-Junk-Reason` says why. Where an alias sends it elsewhere it goes there with that field, and
//!    nobody is told when it is not taken.
//!
//! Whatever comes by LMTP was judged by whoever hands it over, and is only delivered.
//!
//! # From Postfix
//!
//! | main.cf | here | answer |
//! | --- | --- | --- |
//! | `reject_unknown_client_hostname` | `checks.client_fcrdns` | 450 4.7.25; never for a look-up that failed |
//! | `smtpd_helo_required` | always | 503 5.5.1 |
//! | `reject_invalid_helo_hostname` | `checks.helo_syntax` | 501 5.5.2 |
//! | `reject_non_fqdn_helo_hostname` | `checks.helo_fqdn` | 504 5.5.2 |
//! | `reject_non_fqdn_sender` | `checks.sender_fqdn` | 504 5.5.2 |
//! | `reject_unknown_sender_domain` | `checks.sender_domain` | 450 4.1.8; 550 5.7.27 for a null MX |
//! | `reject_unauth_destination` | always | 554 5.7.1 |
//! | `reject_non_fqdn_recipient` | `checks.recipient_fqdn` | 504 5.5.2 |
//! | `reject_unknown_recipient_domain` | `checks.recipient_domain`, for users | 450 4.1.2; 556 5.1.10 for a null MX |
//! | `smtpd_reject_unlisted_recipient = no` | `submission.accept_unlisted` | |
//! | `smtpd_delay_reject` | always | |
//! | `permit_mynetworks`, `permit_sasl_authenticated` | `relay.trusted_networks`, a login | |
//! | `smtpd_client_connection_count_limit` | `limits.smtp_connections_per_address` | 421 4.7.0 |
//! | `smtpd_client_connection_rate_limit` | `limits.smtp_connections_per_minute` | 421 4.7.0 |
//! | `smtpd_timeout` | `smtp.timeout` | 421 4.4.2 |
//! | `smtpd_banner` | `smtp.banner` | |
//! | `disable_vrfy_command` | always | 252 2.5.0 |
//! | `message_size_limit` | `smtp.max_message_size` | 552 5.3.4 |
//! | `recipient_delimiter` | `smtp.delimiter` | |
//! | `reject_rbl_client`, `postscreen_dnsbl_sites` | `[[dnsbl]]`, `checks.dnsbl_reject`, `checks.dnsbl_junk` | 554 5.7.1 |
//! | `smtpd_milters`, `milter_default_action` | `[[milter]]` | |
//! | `alias_maps`, `virtual_alias_maps` | `[aliases]`, `[[alias_pattern]]`, `directory.aliases_file` | |
//! | policyd-spf, OpenDKIM, OpenDMARC | `[sender_auth]` | |
//! | postgrey | `[greylist]` | 451 4.7.1 |
//! | fail2ban | `limits.failed_logins`, `[bans]` | 421 4.7.0 |
