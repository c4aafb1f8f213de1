//! A client for SMTP, as obedient or rude as the test wants it.

use std::net::Ipv4Addr;
use std::net::SocketAddrV4;
use std::net::TcpStream;
use std::path::Path;

use rustix::net::AddressFamily;
use rustix::net::SocketType;

use super::client::Line;
use super::server::PASSWORD;

/// A reply, all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) lines: Vec<String>,
}

impl Reply {
    /// The first line.
    pub(crate) fn text(&self) -> &str {
        &self.lines[0]
    }
}

/// Ends of data that some server has taken for one, without being CRLF . CRLF; the last three are innocent.
pub(crate) const TERMINATORS: [&[u8]; 18] = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r\n.\n",
    b"\r.\n",
    b"\n.\r",
    b"\r.\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\n\r\n.\n",
    b"\r\r\n.\n",
    b"\r\n.\n\r\n",
    b"\r\n..\r\n",
    b"\r\n .\r\n",
    b"\r\n.\x0b\r\n",
    b"\r\n. \r\n",
];

/// A session.
pub(crate) struct Smtp(pub(crate) Line);

impl Smtp {
    /// Connects and takes the greeting.
    pub(crate) fn connect(port: u16) -> Self {
        Self::greeted(Line::connect(port))
    }

    /// The same where TLS comes first.
    pub(crate) fn connect_tls(port: u16, ca: &Path) -> Self {
        Self::greeted(Line::connect_tls(port, ca))
    }

    /// The same from any address, by a proxy on 127.0.0.2 (`proxy.networks`).
    pub(crate) fn behind_proxy(port: u16, ip: &str) -> Self {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        let address = |last, port| SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port);
        rustix::net::bind(&socket, &address(2, 0)).expect("an address of this machine");
        rustix::net::connect(&socket, &address(1, port)).expect("the port answers");
        let mut line = Line::over(TcpStream::from(socket));
        line.send(format!("PROXY TCP4 {ip} 127.0.0.1 40000 25\r\n").as_bytes());
        Self::greeted(line)
    }

    fn greeted(line: Line) -> Self {
        let mut smtp = Self(line);
        let greeting = smtp.reply();
        assert_eq!(greeting.code, 220, "{greeting:?}");
        smtp
    }

    /// The next reply; `None` where the server has closed.
    pub(crate) fn next_reply(&mut self) -> Option<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = String::from_utf8_lossy(&self.0.line()?).into_owned();
            let code = line.get(..3).and_then(|c| c.parse().ok()).unwrap_or_else(|| panic!("no reply: {line:?}"));
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return Some(Reply { code, lines });
            }
        }
    }

    /// The next reply, which must come.
    pub(crate) fn reply(&mut self) -> Reply {
        self.next_reply().expect("the server answers")
    }

    /// All replies until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<Reply> {
        std::iter::from_fn(|| self.next_reply()).collect()
    }

    /// Sends a line and takes its reply.
    pub(crate) fn command(&mut self, line: &str) -> Reply {
        self.0.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// As [`Smtp::command`], where any octets may be sent and the server may close: then the code is 0.
    pub(crate) fn code(&mut self, line: &[u8]) -> u16 {
        self.0.send(&[line, b"\r\n"].concat());
        self.next_reply().map_or(0, |reply| reply.code)
    }

    /// EHLO, and what is offered.
    pub(crate) fn ehlo(&mut self) -> Vec<String> {
        let reply = self.command("EHLO client.load.example");
        assert_eq!(reply.code, 250, "{reply:?}");
        reply.lines
    }

    /// STARTTLS and the handshake.
    pub(crate) fn start_tls(&mut self, ca: &Path) {
        let reply = self.command("STARTTLS");
        assert_eq!(reply.code, 220, "{reply:?}");
        self.0.start_tls(ca);
    }

    /// AUTH PLAIN as an account of example.test, with an initial response.
    pub(crate) fn login(&mut self, user: &str) {
        let response = format!("\0{user}@example.test\0{PASSWORD}");
        let response = data_encoding::BASE64.encode(response.as_bytes());
        let reply = self.command(&format!("AUTH PLAIN {response}"));
        assert_eq!(reply.code, 235, "{reply:?}");
    }

    /// One message, its lines ended by LF; the reply to its end, or the first reply that refused something.
    pub(crate) fn send_message(&mut self, from: &str, to: &[&str], message: &str) -> Reply {
        let mut lines = vec![format!("MAIL FROM:<{from}>")];
        lines.extend(to.iter().map(|address| format!("RCPT TO:<{address}>")));
        for line in lines {
            let reply = self.command(&line);
            if reply.code != 250 {
                return reply;
            }
        }
        let reply = self.command("DATA");
        if reply.code != 354 {
            return reply;
        }
        self.0.send(&wire(message));
        self.reply()
    }

    /// QUIT; the server must close behind its answer.
    pub(crate) fn quit(mut self) {
        assert_eq!(self.command("QUIT").code, 221);
        assert_eq!(self.next_reply(), None);
    }
}

/// A message as it goes over the wire: CRLF, dots doubled, and the final dot.
pub(crate) fn wire(message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.lines() {
        if line.starts_with('.') {
            out.push(b'.');
        }
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
