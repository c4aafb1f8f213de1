//! A client for POP3.

use std::path::Path;

use super::client::Line;

/// A session.
pub(crate) struct Pop3(pub(crate) Line);

impl Pop3 {
    /// Connects and takes the greeting.
    pub(crate) fn connect(port: u16) -> Self {
        Self::greeted(Line::connect(port))
    }

    /// The same where TLS comes first.
    pub(crate) fn connect_tls(port: u16, ca: &Path) -> Self {
        Self::greeted(Line::connect_tls(port, ca))
    }

    fn greeted(line: Line) -> Self {
        let mut pop3 = Self(line);
        let greeting = pop3.0.text();
        assert!(greeting.starts_with("+OK"), "{greeting}");
        pop3
    }

    /// A command and the first line of its answer.
    pub(crate) fn command(&mut self, command: &str) -> String {
        self.0.send(format!("{command}\r\n").as_bytes());
        self.0.text()
    }

    /// A command that must succeed.
    pub(crate) fn ok(&mut self, command: &str) -> String {
        let answer = self.command(command);
        assert!(answer.starts_with("+OK"), "{command}: {answer}");
        answer
    }

    /// A command whose answer has many lines; dots undone.
    pub(crate) fn lines(&mut self, command: &str) -> Vec<Vec<u8>> {
        self.ok(command);
        let mut lines = Vec::new();
        loop {
            let line = self.0.line().expect("the answer ends with a dot");
            match line.strip_prefix(b".") {
                Some(b"") => return lines,
                Some(rest) => lines.push(rest.to_vec()),
                None => lines.push(line),
            }
        }
    }

    /// STLS and the handshake.
    pub(crate) fn start_tls(&mut self, ca: &Path) {
        self.ok("STLS");
        self.0.start_tls(ca);
    }
}
