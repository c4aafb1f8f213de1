//! The verbs that change nothing: NOOP, HELP, VRFY, QUIT (RFC 5321 §4.1.1).

use crate::protocol::smtp::command;
use crate::protocol::smtp::reply::Reply;
use crate::protocol::smtp::server::Server;

impl Server {
    pub(super) fn noop(&mut self) -> Result<(), Reply> {
        self.say_idle(Reply::ok())
    }

    pub(super) fn help(&mut self) -> Result<(), Reply> {
        self.say_idle(Reply::help())
    }

    /// RFC 5321 §7.3: a server need not tell who exists.
    pub(super) fn vrfy(&mut self) -> Result<(), Reply> {
        self.say_idle(Reply::will_not_verify())
    }

    pub(super) fn quit(&mut self, arguments: &[u8]) -> Result<(), Reply> {
        command::no_arguments(arguments)?;
        self.say(&Reply::closing());
        Ok(())
    }

    /// A positive reply to a command that did no work, as long as there are not too many of them.
    pub(super) fn say_idle(&mut self, reply: Reply) -> Result<(), Reply> {
        let reply = self.idle_reply(reply);
        self.say(&reply);
        Ok(())
    }

    /// What is said instead when there were too many of them.
    pub(super) fn idle_reply(&mut self, reply: Reply) -> Reply {
        if self.is_junk() { Reply::too_much_junk() } else { reply }
    }
}
