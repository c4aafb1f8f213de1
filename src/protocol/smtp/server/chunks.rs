//! BDAT (RFC 3030): messages in chunks whose lengths are told before.
//!
//! The octets behind the command are read before anything is answered, whatever the answer: a client that pipelines
//! sends them in any case, and they must never be taken for commands. After a refusal nothing is left of the
//! transaction. Bare newlines and long lines refuse the whole message at its end, as with DATA.

use crate::mail::envelope::Envelope;
use crate::protocol::smtp::command;
use crate::protocol::smtp::command::Bdat;
use crate::protocol::smtp::command::Verb;
use crate::protocol::smtp::data::Incoming;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Answer;
use crate::protocol::smtp::server::Asked;
use crate::protocol::smtp::server::Question;
use crate::protocol::smtp::server::Server;
use crate::protocol::smtp::server::state;
use crate::protocol::smtp::server::state::Chunk;
use crate::protocol::smtp::server::state::Column;
use crate::protocol::smtp::server::state::Data;
use crate::protocol::smtp::server::state::Dropping;
use crate::protocol::smtp::server::state::State;

impl Server {
    pub(super) fn bdat(&mut self, arguments: &[u8], column: Column) {
        let command = match command::bdat(arguments) {
            Ok(command) => command,
            // Nobody knows where the next command begins.
            Err(reply) => return self.end_transaction(reply, true),
        };
        if let Err(reply) = state::check(Verb::Bdat, column, self.standing()) {
            return self.drop_chunk(command, reply);
        }
        let so_far = if let State::Chunked(data) = &self.state { data.incoming.octets() } else { 0 };
        // RFC 1870 §6.3: the sum of all chunks counts.
        if so_far.saturating_add(command.octets) > self.settings.max_size {
            return self.drop_chunk(command, Reply::message_too_big());
        }
        match std::mem::replace(&mut self.state, State::Ready) {
            State::Transaction(envelope) => self.ask(Question::Begin, Asked::BeginChunks(envelope, command)),
            State::Chunked(mut data) => {
                (data.since, data.heard, data.before) = (self.now, self.now, so_far);
                self.state = State::Chunk(Chunk { data, command, left: command.octets });
            }
            // The table lets no other state through.
            other => self.state = other,
        }
    }

    pub(super) fn chunks_begin_answered(&mut self, envelope: Envelope, command: Bdat, answer: Answer) {
        let refused = match answer {
            Answer::Accepted => {
                let incoming = Incoming::new(self.settings.bare_newline, self.settings.max_size);
                let data = Data { envelope, incoming, since: self.now, heard: self.now, before: 0 };
                self.state = State::Chunk(Chunk { data, command, left: command.octets });
                return;
            }
            Answer::Refused(reply) => reply,
            Answer::Kept(_) | Answer::KeptForSome(_) => Reply::local_trouble(),
        };
        self.state = State::Transaction(envelope);
        self.drop_chunk(command, refused);
    }

    /// Refuses a chunk, after its last octet; at once where there are more than anybody sends in good faith.
    fn drop_chunk(&mut self, command: Bdat, reply: Reply) {
        let envelope = match std::mem::replace(&mut self.state, State::Ready) {
            State::Transaction(envelope) => Some(envelope),
            State::Chunked(data) => Some(data.envelope),
            _ => None,
        };
        self.reset_transaction();
        let (since, heard) = (self.now, self.now);
        let Bdat { octets: left, last } = command;
        let endless = left > self.settings.max_size.saturating_mul(2);
        let dropping = Dropping { left, dropped: 0, last, reply, envelope, since, heard };
        if endless { self.dropped(dropping, true) } else { self.state = State::Dropping(dropping) }
    }

    fn dropped(&mut self, dropping: Dropping, close: bool) {
        self.reset_transaction();
        match dropping.envelope {
            Some(envelope) => {
                let times = if dropping.last { self.replies_at_end(&envelope) } else { 1 };
                let (reply, question) = (dropping.reply.clone(), Question::Abandon(Box::new(envelope), dropping.reply));
                self.ask(question, Asked::Abandon { reply, close, times });
            }
            None => {
                self.refuse(&dropping.reply);
                self.closing |= close;
            }
        }
    }

    /// Ends what is open and says why.
    pub(super) fn end_transaction(&mut self, reply: Reply, close: bool) {
        self.drop_chunk(Bdat { octets: 0, last: false }, reply);
        if let State::Dropping(dropping) = std::mem::replace(&mut self.state, State::Ready) {
            self.dropped(dropping, close);
        }
    }

    /// Takes what is there of a chunk; whether something could be done.
    pub(super) fn proceed_with_chunk(&mut self) -> bool {
        let State::Chunk(chunk) = &mut self.state else { return false };
        let input = self.lines.rest();
        if input.is_empty() && chunk.left > 0 {
            return false;
        }
        let n = input.len().min(usize::try_from(chunk.left).unwrap_or(usize::MAX));
        let mut text = Vec::with_capacity(n);
        chunk.data.incoming.feed_chunk(&input[..n], &mut text);
        chunk.left -= n as u64;
        self.lines.consume(n);
        let ended = chunk.left == 0;
        if ended && chunk.command.last {
            chunk.data.incoming.finish_chunks(&mut text);
        }
        self.chunk = text;
        if ended {
            self.chunk_ended();
        }
        true
    }

    fn chunk_ended(&mut self) {
        let State::Chunk(chunk) = std::mem::replace(&mut self.state, State::Ready) else { return };
        if chunk.command.last {
            return self.message_complete(chunk.data, false);
        }
        self.idle_since = self.now;
        self.state = State::Chunked(chunk.data);
        let mut reply = Reply::chunk_received(chunk.command.octets);
        if chunk.command.octets == 0 {
            reply = self.idle_reply(reply);
        }
        self.say(&reply);
    }

    /// Throws away what is there of a chunk that is refused; whether something could be done.
    pub(super) fn proceed_with_dropping(&mut self) -> bool {
        let State::Dropping(dropping) = &mut self.state else { return false };
        let here = self.lines.rest().len();
        if here == 0 && dropping.left > 0 {
            return false;
        }
        let n = here.min(usize::try_from(dropping.left).unwrap_or(usize::MAX));
        dropping.left -= n as u64;
        dropping.dropped += n as u64;
        self.lines.consume(n);
        if dropping.left == 0
            && let State::Dropping(dropping) = std::mem::replace(&mut self.state, State::Ready)
        {
            self.idle_since = self.now;
            self.dropped(dropping, false);
        }
        true
    }
}
