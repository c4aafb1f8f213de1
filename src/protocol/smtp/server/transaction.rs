//! MAIL, RCPT and RSET (RFC 5321 §4.1.1.2, §4.1.1.3, §4.1.1.5): the envelope.

use crate::mail::address::Address;
use crate::mail::envelope::Envelope;
use crate::mail::envelope::RecipientReport;
use crate::mail::limits::RECIPIENT_OVERSHOOT;
use crate::protocol::smtp::command;
use crate::protocol::smtp::command::ForwardPath;
use crate::protocol::smtp::command::Mail;
use crate::protocol::smtp::command::Reading;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Answer;
use crate::protocol::smtp::server::Asked;
use crate::protocol::smtp::server::Question;
use crate::protocol::smtp::server::Role;
use crate::protocol::smtp::server::Server;
use crate::protocol::smtp::server::state::State;

impl Server {
    fn reading(&self) -> Reading {
        match self.settings.role {
            Role::Reception | Role::Lmtp => Reading::Strict,
            Role::Submission => Reading::Tolerant,
        }
    }

    /// RFC 8689 §2: only under TLS, and not by LMTP, whose servers relay nothing.
    pub(super) fn offers_require_tls(&self) -> bool {
        self.tls.is_some() && self.settings.role != Role::Lmtp
    }

    pub(super) fn mail(&mut self, arguments: &[u8]) -> Result<(), Reply> {
        let mail = command::mail(arguments, self.reading(), self.offers_require_tls())?;
        // RFC 1870 §6.1: refused before a single octet of it came.
        if mail.size.is_some_and(|size| size > self.settings.max_size) {
            return Err(Reply::message_too_big());
        }
        let question = Question::Mail {
            mail: mail.clone(),
            authenticated: self.authenticated,
            greeting: self.greeting.as_ref().map(|greeting| greeting.name.clone()).unwrap_or_default(),
        };
        self.ask(question, Asked::Mail(mail));
        Ok(())
    }

    pub(super) fn mail_answered(&mut self, mail: Mail, answer: Answer) {
        match answer {
            Answer::Accepted => {
                self.mail_accepted = true;
                (self.overshoot, self.refused_recipients) = (0, 0);
                let Mail { sender, body, demands, .. } = mail;
                let envelope = Envelope { sender, recipients: Vec::new(), body, demands };
                self.state = State::Transaction(envelope);
                self.say(&Reply::sender_accepted());
            }
            Answer::Refused(reply) => self.refuse(&reply),
            Answer::Kept(_) | Answer::KeptForSome(_) => self.refuse(&Reply::local_trouble()),
        }
    }

    pub(super) fn rcpt(&mut self, arguments: &[u8]) -> Result<(), Reply> {
        let international = matches!(&self.state, State::Transaction(e) if e.demands.international);
        let rcpt = command::rcpt(arguments, self.reading(), international)?;
        let most = self.settings.role.recipients();
        if let State::Transaction(envelope) = &self.state
            && envelope.recipients.len() >= most
        {
            return self.one_recipient_more();
        }
        let address = match rcpt.path {
            ForwardPath::Address(address) => address,
            ForwardPath::Postmaster => Address::from_parts("postmaster", self.settings.hostname.clone())
                .map_err(|_| Reply::bad_recipient_syntax())?,
        };
        self.ask(Question::Rcpt(address.clone()), Asked::Rcpt(address, rcpt.report));
        Ok(())
    }

    /// A list with many recipients is pipelined whole, and its sender repeats what got 452 in another transaction
    /// (RFC 5321 §4.5.3.1.10). That is no junk, within reason.
    fn one_recipient_more(&mut self) -> Result<(), Reply> {
        self.overshoot += 1;
        if self.overshoot > RECIPIENT_OVERSHOOT {
            return Err(Reply::too_many_recipients());
        }
        self.say(&Reply::too_many_recipients());
        Ok(())
    }

    pub(super) fn rcpt_answered(&mut self, address: Address, report: RecipientReport, answer: Answer) {
        match (answer, &mut self.state) {
            (Answer::Accepted, State::Transaction(envelope)) => {
                envelope.demands.report.set(&address, report);
                envelope.recipients.push(address);
                self.say(&Reply::recipient_accepted());
            }
            (Answer::Refused(reply), _) => self.refuse_recipient(&reply),
            (Answer::Accepted | Answer::Kept(_) | Answer::KeptForSome(_), _) => self.refuse(&Reply::local_trouble()),
        }
    }

    /// A stranger who names many whom we do not take is guessing. For others a list may hold as many who are gone, or
    /// whose mailbox is full, as it holds names, and the rest still gets its mail.
    fn refuse_recipient(&mut self, reply: &Reply) {
        self.refused_recipients += 1;
        let guesses = self.settings.role == Role::Reception && !self.settings.trusted;
        if guesses || self.refused_recipients > self.settings.role.recipients() {
            self.refuse(reply);
        } else {
            self.say(reply);
        }
    }

    pub(super) fn rset(&mut self, arguments: &[u8]) -> Result<(), Reply> {
        command::no_arguments(arguments)?;
        let reply = self.idle_reply(Reply::ok());
        self.reset_and_say(reply);
        Ok(())
    }
}
