//! HELO, EHLO and STARTTLS (RFC 5321 §4.1.1.1, RFC 3207).

use crate::protocol::session::Step;
use crate::protocol::smtp::command;
use crate::protocol::smtp::extension;
use crate::protocol::smtp::extension::Offer;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Asked;
use crate::protocol::smtp::server::Greeting;
use crate::protocol::smtp::server::Role;
use crate::protocol::smtp::server::Server;
use crate::protocol::smtp::server::state::Tls;

impl Server {
    pub(super) fn helo(&mut self, arguments: &[u8]) -> Result<(), Reply> {
        self.greeted(Greeting { name: command::greeting_name(arguments)?, extended: false })?;
        let reply = Reply::helo(self.settings.hostname.as_str());
        self.reset_and_say(reply);
        Ok(())
    }

    pub(super) fn ehlo(&mut self, arguments: &[u8]) -> Result<(), Reply> {
        self.greeted(Greeting { name: command::greeting_name(arguments)?, extended: true })?;
        let standing = self.standing();
        let offer = Offer {
            max_size: self.settings.max_size,
            start_tls: standing.tls == Tls::Possible,
            login: standing.may_log_in(),
            recipients: self.settings.role.recipients(),
            require_tls: self.offers_require_tls(),
            local: self.settings.role == Role::Lmtp,
            legacy_auth_line: self.settings.legacy_auth_line,
        };
        let reply = Reply::ehlo(self.settings.hostname.as_str(), &extension::lines(offer));
        self.reset_and_say(reply);
        Ok(())
    }

    /// A second greeting does no work. RFC 5321 §4.1.4: within a transaction it ends that as RSET does, which is the
    /// caller's business.
    fn greeted(&mut self, greeting: Greeting) -> Result<(), Reply> {
        if self.greeting.replace(greeting).is_some() && self.is_junk() {
            return Err(Reply::too_much_junk());
        }
        Ok(())
    }

    pub(super) fn start_tls(&mut self, arguments: &[u8]) -> Result<(), Reply> {
        command::no_arguments(arguments)?;
        // Whoever sends more before the handshake wants it executed after (CVE-2011-0411).
        if !self.lines.rest().is_empty() {
            self.say_and_close(&Reply::nothing_may_follow_starttls());
            return Ok(());
        }
        self.say(&Reply::start_tls());
        self.asked = Some(Asked::Handshake);
        self.next = Some(Step::StartTls);
        Ok(())
    }
}
