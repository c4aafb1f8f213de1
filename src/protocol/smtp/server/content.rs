//! DATA (RFC 5321 §4.1.1.4) from the verb to the answer after the last dot, and the end of messages in chunks.

use crate::mail::envelope::Envelope;
use crate::mail::ids::QueueId;
use crate::mail::limits::TEXT_LINE_OCTETS;
use crate::protocol::smtp::command;
use crate::protocol::smtp::data::Incoming;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Answer;
use crate::protocol::smtp::server::Asked;
use crate::protocol::smtp::server::Complete;
use crate::protocol::smtp::server::Question;
use crate::protocol::smtp::server::Role;
use crate::protocol::smtp::server::Server;
use crate::protocol::smtp::server::state::Data;
use crate::protocol::smtp::server::state::State;

impl Server {
    pub(super) fn data(&mut self, arguments: &[u8]) -> Result<(), Reply> {
        command::no_arguments(arguments)?;
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Transaction(envelope) => self.ask(Question::Begin, Asked::Begin(envelope)),
            // The table lets no other state through.
            other => self.state = other,
        }
        Ok(())
    }

    pub(super) fn begin_answered(&mut self, envelope: Envelope, answer: Answer) {
        let refused = match answer {
            Answer::Accepted => {
                let incoming = Incoming::new(self.settings.bare_newline, self.settings.max_size);
                let (since, heard) = (self.now, self.now);
                self.state = State::Data(Data { envelope, incoming, since, heard, before: 0 });
                return self.say(&Reply::start_data());
            }
            Answer::Refused(reply) => reply,
            Answer::Kept(_) | Answer::KeptForSome(_) => Reply::local_trouble(),
        };
        self.reset_transaction();
        self.refuse(&refused);
        // A body that was sent without waiting for 354 must not be read as commands.
        self.closing |= !self.lines.rest().is_empty();
    }

    /// Takes what is there of the body; whether something was.
    pub(super) fn proceed_with_data(&mut self) -> bool {
        let State::Data(data) = &mut self.state else { return false };
        let input = self.lines.rest();
        if input.is_empty() {
            return false;
        }
        let mut chunk = Vec::with_capacity(input.len());
        let fed = data.incoming.feed(input, &mut chunk);
        let far_too_big = data.incoming.octets() > self.settings.max_size.saturating_mul(2);
        self.lines.consume(fed.used);
        self.chunk = chunk;
        if fed.ended {
            self.message_ended();
        } else if far_too_big {
            self.say_and_close(&Reply::message_too_big());
        }
        true
    }

    /// Only CRLF.CRLF leads here.
    fn message_ended(&mut self) {
        if let State::Data(data) = std::mem::replace(&mut self.state, State::Ready) {
            self.message_complete(data, true);
        }
    }

    /// The message is there. Whatever the answer, the transaction is over. Where the end was `guessed`, by what it
    /// looks like, a client and we may differ about it.
    pub(super) fn message_complete(&mut self, data: Data, guessed: bool) {
        self.reset_transaction();
        let most = TEXT_LINE_OCTETS as u64;
        let refusal = if data.incoming.is_too_big() {
            Some((Reply::message_too_big(), true))
        } else if data.incoming.has_refused_newline() {
            // A client that ends lines in its own way may believe that it ended the message earlier.
            Some((Reply::bare_newline(), guessed))
        } else if data.incoming.longest_line() > most {
            Some((Reply::text_line_too_long(), false))
        } else {
            None
        };
        if let Some((reply, close)) = refusal {
            let times = self.replies_at_end(&data.envelope);
            let question = Question::Abandon(Box::new(data.envelope), reply.clone());
            return self.ask(question, Asked::Abandon { reply, close, times });
        }
        let times = self.replies_at_end(&data.envelope);
        let complete = Complete {
            envelope: data.envelope,
            greeting: self.greeting.clone().unwrap_or_default(),
            authenticated: self.authenticated,
            tls: self.tls.clone(),
        };
        self.ask(Question::End(Box::new(complete)), Asked::End(times));
    }

    pub(super) fn end_answered(&mut self, answer: Answer, times: usize) {
        match answer {
            Answer::Kept(id) => {
                self.junk = 0;
                for _ in 0..times {
                    self.say(&Reply::message_accepted(&id));
                }
            }
            Answer::KeptForSome(each) if each.len() == times => self.say_each(&each),
            Answer::Refused(reply) => self.refuse_times(&reply, times),
            Answer::KeptForSome(_) | Answer::Accepted => self.refuse_times(&Reply::local_trouble(), times),
        }
    }

    /// One reply for each recipient. A message that nobody has is one refusal.
    fn say_each(&mut self, each: &[Result<QueueId, Reply>]) {
        if each.iter().any(Result::is_ok) {
            self.junk = 0;
        } else if self.is_junk() {
            return self.say(&Reply::too_much_junk());
        }
        for outcome in each {
            match outcome {
                Ok(id) => self.say(&Reply::message_accepted(id)),
                Err(reply) => self.say(reply),
            }
        }
    }

    /// How often the end of a message is answered: by LMTP for each recipient (RFC 2033 §4.2).
    pub(super) fn replies_at_end(&self, envelope: &Envelope) -> usize {
        if self.settings.role == Role::Lmtp { envelope.recipients.len().max(1) } else { 1 }
    }

    /// One refusal, said more than once; it counts as one.
    pub(super) fn refuse_times(&mut self, reply: &Reply, times: usize) {
        self.refuse(reply);
        for _ in 1..times {
            if !self.closing {
                self.say(reply);
            }
        }
    }
}
