//! What the server says: every reply is a named constructor, and this is the only file with numbers in it.
//!
//! Enhanced codes are those of RFC 3463 and RFC 5248; the greeting, the answers to HELO and EHLO, and 334 and 354 have
//! none (RFC 2034 §4). Knows the words, not when they are due.

use std::borrow::Cow;
use std::fmt;

use crate::mail::ids::QueueId;
use crate::mail::status::StatusCode;

/// A reply to one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    status: Option<StatusCode>,
    /// Lines are separated by LF.
    text: Cow<'static, str>,
}

impl Reply {
    /// The three digits.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced code, where the reply has one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// The words.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it says that the connection ends (RFC 5321 §3.8).
    #[must_use]
    pub fn ends_the_connection(&self) -> bool {
        matches!(self.code, 221 | 421)
    }

    /// Appends the reply as it goes over the wire.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(u8::try_from(separator).unwrap_or(b' '));
            if let Some(status) = self.status {
                out.extend_from_slice(status.to_string().as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    /// As the log shows it: code, enhanced code, first line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.code)?;
        if let Some(status) = self.status {
            write!(f, "{status} ")?;
        }
        f.write_str(self.text.split('\n').next().unwrap_or_default())
    }
}

const fn plain(code: u16, text: &'static str) -> Reply {
    Reply { code, status: None, text: Cow::Borrowed(text) }
}

const fn yes(code: u16, subject: u16, detail: u16, text: &'static str) -> Reply {
    Reply { code, status: Some(StatusCode::success(subject, detail)), text: Cow::Borrowed(text) }
}

const fn later(code: u16, subject: u16, detail: u16, text: &'static str) -> Reply {
    Reply { code, status: Some(StatusCode::temporary(subject, detail)), text: Cow::Borrowed(text) }
}

const fn no(code: u16, subject: u16, detail: u16, text: &'static str) -> Reply {
    Reply { code, status: Some(StatusCode::permanent(subject, detail)), text: Cow::Borrowed(text) }
}

/// Positive replies.
impl Reply {
    /// The greeting. It names neither product nor version.
    #[must_use]
    pub fn banner(hostname: &str, text: &str) -> Self {
        Self { code: 220, status: None, text: format!("{hostname} {text}").into() }
    }

    /// To HELO.
    #[must_use]
    pub fn helo(hostname: &str) -> Self {
        Self { code: 250, status: None, text: hostname.to_owned().into() }
    }

    /// To EHLO: our name, then one line per extension.
    #[must_use]
    pub fn ehlo(hostname: &str, extensions: &[String]) -> Self {
        let mut text = hostname.to_owned();
        for extension in extensions {
            text.push('\n');
            text.push_str(extension);
        }
        Self { code: 250, status: None, text: text.into() }
    }

    /// To NOOP and RSET.
    #[must_use]
    pub fn ok() -> Self {
        yes(250, 0, 0, "OK")
    }

    /// To MAIL.
    #[must_use]
    pub fn sender_accepted() -> Self {
        yes(250, 1, 0, "sender accepted")
    }

    /// To RCPT.
    #[must_use]
    pub fn recipient_accepted() -> Self {
        yes(250, 1, 5, "recipient accepted")
    }

    /// To DATA.
    #[must_use]
    pub fn start_data() -> Self {
        plain(354, "end data with <CRLF>.<CRLF>")
    }

    /// A chunk that is not the last came whole (RFC 3030 §2).
    #[must_use]
    pub fn chunk_received(octets: u64) -> Self {
        Self { code: 250, status: Some(StatusCode::success(0, 0)), text: format!("{octets} octets received").into() }
    }

    /// The message is ours now.
    #[must_use]
    pub fn message_accepted(id: &QueueId) -> Self {
        Self { code: 250, status: Some(StatusCode::success(0, 0)), text: format!("{id} accepted").into() }
    }

    /// To QUIT.
    #[must_use]
    pub fn closing() -> Self {
        yes(221, 0, 0, "closing")
    }

    /// To VRFY, always: who exists is told to nobody.
    #[must_use]
    pub fn will_not_verify() -> Self {
        yes(252, 5, 0, "send some mail, I will try")
    }

    /// To HELP.
    #[must_use]
    pub fn help() -> Self {
        yes(214, 0, 0, "see RFC 5321")
    }

    /// To STARTTLS.
    #[must_use]
    pub fn start_tls() -> Self {
        yes(220, 0, 0, "ready to start TLS")
    }

    /// A challenge of AUTH, in base64 already.
    #[must_use]
    pub fn challenge(base64: &'static str) -> Self {
        plain(334, base64)
    }

    /// The credentials are right.
    #[must_use]
    pub fn authenticated() -> Self {
        yes(235, 7, 0, "authentication succeeded")
    }
}

/// Refusals for now.
impl Reply {
    /// More junk than anybody sends by accident.
    #[must_use]
    pub fn too_much_junk() -> Self {
        later(421, 7, 0, "too many errors")
    }

    /// More unknown recipients than anybody mistypes.
    #[must_use]
    pub fn too_many_unknown() -> Self {
        later(421, 7, 0, "too many unknown recipients")
    }

    /// The client said nothing for too long.
    #[must_use]
    pub fn timeout() -> Self {
        later(421, 4, 2, "timeout")
    }

    /// DATA drips.
    #[must_use]
    pub fn too_slow() -> Self {
        later(421, 4, 2, "data too slow")
    }

    /// No message within the time a stranger has.
    #[must_use]
    pub fn no_message() -> Self {
        later(421, 4, 2, "no message in time")
    }

    /// We stop.
    #[must_use]
    pub fn shutting_down() -> Self {
        later(421, 3, 2, "shutting down")
    }

    /// After too many failed logins from one place.
    #[must_use]
    pub fn too_many_failed_logins() -> Self {
        later(421, 7, 0, "too many failed logins, try again later")
    }

    /// Too many logins are under way.
    #[must_use]
    pub fn login_busy() -> Self {
        later(454, 7, 0, "authentication is busy, try again later")
    }

    /// The message has as many recipients as it may have.
    #[must_use]
    pub fn too_many_recipients() -> Self {
        later(452, 5, 3, "too many recipients")
    }

    /// The recipient's mailboxes hold as much as they may. For now: people tidy up, and RFC 3463 §3.3 gives the detail
    /// to "a persistent transient condition".
    #[must_use]
    pub fn mailbox_full() -> Self {
        later(452, 2, 2, "mailbox full")
    }

    /// No room on the disk.
    #[must_use]
    pub fn disk_full() -> Self {
        later(452, 3, 1, "insufficient system storage")
    }

    /// Something is wrong here, and the operator's log says what.
    #[must_use]
    pub fn local_trouble() -> Self {
        later(451, 3, 0, "local error, try again later")
    }
}

/// Refusals for good: syntax and order.
impl Reply {
    /// No such verb.
    #[must_use]
    pub fn unknown_command() -> Self {
        no(500, 5, 2, "command not recognized")
    }

    /// A verb that exists elsewhere.
    #[must_use]
    pub fn not_implemented() -> Self {
        no(502, 5, 1, "command not implemented")
    }

    /// A line longer than any command.
    #[must_use]
    pub fn line_too_long() -> Self {
        no(500, 5, 2, "line too long")
    }

    /// A command ended by LF alone.
    #[must_use]
    pub fn line_not_ended_by_crlf() -> Self {
        no(500, 5, 2, "lines end with <CR><LF>")
    }

    /// Control characters or octets above 127 where only text may be.
    #[must_use]
    pub fn bad_characters() -> Self {
        no(501, 5, 2, "invalid characters")
    }

    /// UTF-8 in an address, without SMTPUTF8 (RFC 6531 §3.5).
    #[must_use]
    pub fn needs_smtputf8() -> Self {
        no(550, 6, 7, "non-ASCII addresses need SMTPUTF8")
    }

    /// Arguments that the verb does not have, or has otherwise.
    #[must_use]
    pub fn bad_arguments(expected: &'static str) -> Self {
        no(501, 5, 4, expected)
    }

    /// The argument of MAIL is not a path.
    #[must_use]
    pub fn bad_sender_syntax() -> Self {
        no(501, 1, 7, "bad sender address syntax")
    }

    /// The argument of RCPT is not a path.
    #[must_use]
    pub fn bad_recipient_syntax() -> Self {
        no(501, 1, 3, "bad recipient address syntax")
    }

    /// A parameter of MAIL or RCPT that we did not offer (RFC 5321 §4.1.1.11).
    #[must_use]
    pub fn unknown_parameter() -> Self {
        no(555, 5, 4, "parameter not recognized")
    }

    /// HELO or EHLO comes first.
    #[must_use]
    pub fn greet_first() -> Self {
        no(503, 5, 1, "send HELO or EHLO first")
    }

    /// LHLO comes first.
    #[must_use]
    pub fn greet_by_lhlo() -> Self {
        no(503, 5, 1, "send LHLO first")
    }

    /// No RCPT was accepted (RFC 2033 §4.2).
    #[must_use]
    pub fn no_recipient_yet() -> Self {
        no(503, 5, 1, "no recipient was accepted")
    }

    /// There are too many connections, and this one has done nothing with its own.
    #[must_use]
    pub fn displaced() -> Self {
        later(421, 3, 2, "too many connections, and yours is idle: come again")
    }

    /// Somebody who does not wait for the greeting.
    #[must_use]
    pub fn too_early() -> Self {
        no(554, 5, 1, "wait for the greeting")
    }

    /// One transaction at a time.
    #[must_use]
    pub fn nested_mail() -> Self {
        no(503, 5, 1, "a transaction is open")
    }

    /// After a chunk only chunks belong to the message (RFC 3030 §2).
    #[must_use]
    pub fn chunks_have_begun() -> Self {
        no(503, 5, 1, "the message has begun with BDAT")
    }

    /// MAIL comes before RCPT and DATA.
    #[must_use]
    pub fn mail_first() -> Self {
        no(503, 5, 1, "send MAIL first")
    }

    /// Every RCPT was refused, or there was none.
    #[must_use]
    pub fn no_valid_recipients() -> Self {
        no(554, 5, 1, "no valid recipients")
    }

    /// TLS twice.
    #[must_use]
    pub fn tls_is_active() -> Self {
        no(503, 5, 1, "TLS is active")
    }

    /// A login twice.
    #[must_use]
    pub fn already_authenticated() -> Self {
        no(503, 5, 1, "already authenticated")
    }

    /// Bytes behind STARTTLS: somebody injects (CVE-2011-0411).
    #[must_use]
    pub fn nothing_may_follow_starttls() -> Self {
        no(501, 5, 4, "nothing may follow STARTTLS")
    }

    /// A mechanism that we do not have (RFC 4954 §4).
    #[must_use]
    pub fn unknown_mechanism() -> Self {
        no(504, 5, 4, "mechanism not supported")
    }

    /// A response of AUTH that is not base64 or not the mechanism's (RFC 4954 §4).
    #[must_use]
    pub fn bad_response() -> Self {
        no(501, 5, 2, "cannot decode response")
    }

    /// The client sent `*` (RFC 4954 §4).
    #[must_use]
    pub fn login_cancelled() -> Self {
        no(501, 7, 0, "authentication cancelled")
    }
}

/// Refusals for good: policy and content.
impl Reply {
    /// One text for an unknown user and a wrong password.
    #[must_use]
    pub fn login_refused() -> Self {
        no(535, 7, 8, "authentication credentials invalid")
    }

    /// Submission is for our users.
    #[must_use]
    pub fn login_first() -> Self {
        no(530, 7, 0, "authentication required")
    }

    /// Passwords and submitted mail travel encrypted.
    #[must_use]
    pub fn start_tls_first() -> Self {
        no(530, 7, 0, "Must issue a STARTTLS command first")
    }

    /// Declared or real size over the limit (RFC 1870 §6).
    #[must_use]
    pub fn message_too_big() -> Self {
        no(552, 3, 4, "message too big")
    }

    /// The message would not fit if the mailbox were empty, so that waiting would not help. All else that lacks room is
    /// [`Reply::mailbox_full`].
    #[must_use]
    pub fn larger_than_mailbox() -> Self {
        no(552, 2, 2, "message larger than the mailbox may become")
    }

    /// Only CRLF ends a line.
    #[must_use]
    pub fn bare_newline() -> Self {
        no(550, 5, 2, "bare <LF> or <CR> not allowed")
    }

    /// A line of text beyond all measure.
    #[must_use]
    pub fn text_line_too_long() -> Self {
        no(550, 6, 0, "line of text too long")
    }

    /// The header is too long or has too many fields.
    #[must_use]
    pub fn header_too_large() -> Self {
        no(550, 6, 0, "message header too large")
    }

    /// As many hops as no message makes (RFC 5321 §6.3).
    #[must_use]
    pub fn mail_loop() -> Self {
        no(554, 4, 6, "mail loop")
    }

    /// The recipient is elsewhere, and the client has no right to relay.
    #[must_use]
    pub fn relay_denied() -> Self {
        no(554, 7, 1, "Relay access denied")
    }

    /// Nobody here has that address.
    #[must_use]
    pub fn unknown_recipient() -> Self {
        no(550, 1, 1, "no such recipient")
    }

    /// It was the return address of a message that we sent on, for a time that is over.
    #[must_use]
    pub fn expired_recipient() -> Self {
        no(550, 1, 1, "this return address has expired")
    }

    /// The sender is not an address of the user who logged in.
    #[must_use]
    pub fn sender_not_owned() -> Self {
        no(553, 7, 1, "sender address not owned by user")
    }
}

/// What a stranger does not fulfil (the `checks` of the configuration): for good, or for now so that its operator has
/// time to mend it.
impl Reply {
    /// The client's address has no name that leads back to it.
    #[must_use]
    pub fn unknown_client(temporary: bool) -> Self {
        if temporary {
            later(450, 7, 25, "Client host rejected: cannot find your hostname")
        } else {
            no(550, 7, 25, "Client host rejected: cannot find your hostname")
        }
    }

    /// HELO named nothing that could be a host.
    #[must_use]
    pub fn invalid_helo(temporary: bool) -> Self {
        let text = "Helo command rejected: Invalid name";
        if temporary { later(450, 5, 2, text) } else { no(501, 5, 2, text) }
    }

    /// HELO named a host without its domain.
    #[must_use]
    pub fn helo_not_qualified(temporary: bool) -> Self {
        let text = "Helo command rejected: need fully-qualified hostname";
        if temporary { later(450, 5, 2, text) } else { no(504, 5, 2, text) }
    }

    /// The sender's domain is not a whole one.
    #[must_use]
    pub fn sender_not_qualified(temporary: bool) -> Self {
        let text = "Sender address rejected: need fully-qualified address";
        if temporary { later(450, 5, 2, text) } else { no(504, 5, 2, text) }
    }

    /// Nobody could be answered: the sender's domain is not there, or nothing in it.
    #[must_use]
    pub fn unknown_sender_domain(temporary: bool) -> Self {
        let text = "Sender address rejected: Domain not found";
        if temporary { later(450, 1, 8, text) } else { no(550, 1, 8, text) }
    }

    /// The sender's domain says that it sends no mail (RFC 7505 §4.2).
    #[must_use]
    pub fn sender_has_null_mx() -> Self {
        no(550, 7, 27, "Sender address rejected: Domain has null MX")
    }

    /// The recipient's domain is not a whole one.
    #[must_use]
    pub fn recipient_not_qualified(temporary: bool) -> Self {
        let text = "Recipient address rejected: need fully-qualified address";
        if temporary { later(450, 5, 2, text) } else { no(504, 5, 2, text) }
    }

    /// The recipient's domain is not there, or nothing in it.
    #[must_use]
    pub fn unknown_recipient_domain(temporary: bool) -> Self {
        let text = "Recipient address rejected: Domain not found";
        if temporary { later(450, 1, 2, text) } else { no(550, 1, 2, text) }
    }

    /// The recipient's domain says that it takes no mail (RFC 7505 §4.1).
    #[must_use]
    pub fn recipient_has_null_mx() -> Self {
        no(556, 1, 10, "Recipient address rejected: Domain has null MX")
    }

    /// The client's address is on lists that count as much as it takes.
    #[must_use]
    pub fn listed_client() -> Self {
        no(554, 7, 1, "Client host rejected: its address is on a block list")
    }

    /// A hook refuses the message: with its own reply where it gave one that is fit for the wire, else with ours.
    #[must_use]
    pub fn of_filter(code: u16, text: Option<&str>) -> Self {
        let permanent = code >= 500;
        let fallback = if permanent { Self::refused_by_filter() } else { Self::filter_out_of_reach() };
        let Some(text) = text.filter(|_| (400..600).contains(&code) && code != 421) else { return fallback };
        let (status, rest) = match text.split_once(' ') {
            Some((status, rest)) => (StatusCode::parse(status), rest),
            None => (None, text),
        };
        // The class of the enhanced code is the first digit (RFC 2034 §4), or it is none.
        let status = status.filter(|status| u16::from(status.class()) == code / 100);
        let words = if status.is_some() { rest } else { text };
        Self { code, status: status.or(fallback.status), text: words.to_owned().into() }
    }

    /// A hook refuses the message and does not say why.
    #[must_use]
    pub fn refused_by_filter() -> Self {
        no(550, 7, 1, "Message rejected")
    }

    /// A hook gave no judgement.
    #[must_use]
    pub fn filter_out_of_reach() -> Self {
        later(451, 7, 1, "Service unavailable, try again later")
    }

    /// Who is named as the sender did not send it, and says that such mail is to be refused (SPF, DMARC). `status` is
    /// of RFC 7372, `reason` one line of printable ASCII.
    #[must_use]
    pub fn not_from_its_sender(status: &str, reason: &str) -> Self {
        let status = StatusCode::parse(status).filter(|status| status.class() == 5);
        Self { code: 550, status: status.or(Self::refused_by_filter().status), text: reason.to_owned().into() }
    }

    /// Whether who is named as the sender sent it cannot be found out now, and he wants forgeries refused (DMARC).
    /// `reason` is one line of printable ASCII.
    #[must_use]
    pub fn sender_in_doubt(reason: &str) -> Self {
        Self { text: reason.to_owned().into(), ..later(451, 7, 1, "") }
    }

    /// Somebody new is asked to come again.
    #[must_use]
    pub fn greylisted() -> Self {
        later(451, 7, 1, "Greylisted, please try again later")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write_to(&mut out);
        String::from_utf8(out).expect("replies are ASCII")
    }

    #[test]
    fn replies_as_they_go_over_the_wire() {
        for (reply, wanted) in [
            (Reply::banner("mx.example", "ESMTP"), "220 mx.example ESMTP\r\n"),
            (Reply::ok(), "250 2.0.0 OK\r\n"),
            (
                Reply::ehlo("mx.example", &["PIPELINING".to_owned(), "SIZE 10".to_owned()]),
                "250-mx.example\r\n250-PIPELINING\r\n250 SIZE 10\r\n",
            ),
            (Reply::challenge(""), "334 \r\n"),
            (Reply::relay_denied(), "554 5.7.1 Relay access denied\r\n"),
            (Reply::will_not_verify(), "252 2.5.0 send some mail, I will try\r\n"),
        ] {
            assert_eq!(wire(&reply), wanted);
        }
        assert_eq!(Reply::disk_full().to_string(), "452 4.3.1 insufficient system storage");
    }

    #[test]
    fn the_class_of_the_enhanced_code_is_the_first_digit() {
        for reply in [Reply::ok(), Reply::timeout(), Reply::relay_denied(), Reply::login_busy(), Reply::mail_loop()] {
            assert_eq!(reply.status().map(|s| u16::from(s.class())), Some(reply.code() / 100), "{reply}");
        }
        assert!(Reply::timeout().ends_the_connection() && !Reply::disk_full().ends_the_connection());
    }
}
