//! AUTH (RFC 4954): frames the lines of a SASL exchange.

use crate::protocol::sasl::Exchange;
use crate::protocol::sasl::Failure;
use crate::protocol::sasl::Mechanism;
use crate::protocol::sasl::Progress;
use crate::protocol::smtp::command;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Answer;
use crate::protocol::smtp::server::Asked;
use crate::protocol::smtp::server::Question;
use crate::protocol::smtp::server::Server;
use crate::protocol::smtp::server::state::State;

impl Server {
    pub(super) fn auth(&mut self, arguments: &[u8]) -> Result<(), Reply> {
        let auth = command::auth(arguments)?;
        let mechanism = Mechanism::parse(auth.mechanism).ok_or_else(Reply::unknown_mechanism)?;
        let (exchange, progress) = Exchange::start(mechanism, auth.initial);
        self.state = State::Login(exchange);
        self.login_progress(progress);
        Ok(())
    }

    /// A line while an exchange is under way.
    pub(super) fn continue_login(&mut self, line: &[u8]) {
        let State::Login(exchange) = &mut self.state else { return };
        let progress = exchange.receive(line);
        self.login_progress(progress);
    }

    fn login_progress(&mut self, progress: Progress) {
        match progress {
            Progress::Challenge(challenge) => return self.say(&Reply::challenge(challenge)),
            Progress::Credentials(credentials) => self.ask(Question::Login(credentials), Asked::Login),
            Progress::Failed(Failure::Cancelled) => self.refuse(&Reply::login_cancelled()),
            Progress::Failed(failure) if failure.is_syntax() => self.refuse(&Reply::bad_response()),
            Progress::Failed(_) => self.refuse(&Reply::login_refused()),
        }
        self.state = State::Ready;
    }

    pub(super) fn login_answered(&mut self, answer: Answer) {
        match answer {
            Answer::Accepted => {
                self.authenticated = true;
                self.say(&Reply::authenticated());
            }
            Answer::Refused(reply) => self.refuse(&reply),
            Answer::Kept(_) | Answer::KeptForSome(_) => self.refuse(&Reply::local_trouble()),
        }
    }
}
