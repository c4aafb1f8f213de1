//! A client for IMAP: commands with their tags, literals in answers, nothing hidden.

use std::path::Path;

use super::client::Line;

/// What a command brought: the untagged answers, literals included, and the tagged one without its tag.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) untagged: Vec<Vec<u8>>,
    pub(crate) tagged: String,
}

impl Answer {
    /// The untagged answers as text.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.untagged.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Whether an untagged answer contains this.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.texts().iter().any(|line| line.contains(text))
    }
}

/// A session.
pub(crate) struct Imap {
    pub(crate) line: Line,
    count: u32,
}

impl Imap {
    /// Connects and takes the greeting.
    pub(crate) fn connect(port: u16) -> Self {
        Self::greeted(Line::connect(port))
    }

    /// The same where TLS comes first.
    pub(crate) fn connect_tls(port: u16, ca: &Path) -> Self {
        Self::greeted(Line::connect_tls(port, ca))
    }

    fn greeted(line: Line) -> Self {
        let mut imap = Self { line, count: 0 };
        let greeting = imap.line.text();
        assert!(greeting.starts_with("* OK"), "{greeting}");
        imap
    }

    /// The next answer with its literals; `None` where the server has closed.
    pub(crate) fn answer(&mut self) -> Option<Vec<u8>> {
        let mut answer = self.line.line()?;
        while let Some(count) = literal(&answer) {
            answer.extend_from_slice(b"\r\n");
            answer.extend(self.line.exactly(count));
            answer.extend(self.line.line()?);
        }
        Some(answer)
    }

    /// A new tag.
    pub(crate) fn tag(&mut self) -> String {
        self.count += 1;
        format!("t{}", self.count)
    }

    /// Everything until the tagged answer.
    pub(crate) fn until(&mut self, tag: &str) -> Answer {
        let mut untagged = Vec::new();
        loop {
            let Some(answer) = self.answer() else {
                let seen = Answer { untagged, tagged: String::new() };
                panic!("the server closed before the end of {tag}: {:?}", seen.texts());
            };
            match answer.strip_prefix(format!("{tag} ").as_bytes()) {
                Some(rest) => return Answer { untagged, tagged: String::from_utf8_lossy(rest).into_owned() },
                None => untagged.push(answer),
            }
        }
    }

    /// A command, whatever comes of it.
    pub(crate) fn command(&mut self, command: &str) -> Answer {
        let tag = self.tag();
        self.line.send(format!("{tag} {command}\r\n").as_bytes());
        self.until(&tag)
    }

    /// A command that must succeed.
    pub(crate) fn ok(&mut self, command: &str) -> Answer {
        let answer = self.command(command);
        assert!(answer.tagged.starts_with("OK"), "{command}: {answer:?}");
        answer
    }

    /// APPEND; `options` are flags and date with a space behind them.
    pub(crate) fn append(&mut self, mailbox: &str, options: &str, message: &[u8]) -> Answer {
        let tag = self.tag();
        self.line.send(format!("{tag} APPEND {mailbox} {options}{{{}}}\r\n", message.len()).as_bytes());
        let asked = self.line.text();
        if let Some(tagged) = asked.strip_prefix(&format!("{tag} ")) {
            return Answer { untagged: Vec::new(), tagged: tagged.to_owned() };
        }
        assert!(asked.starts_with('+'), "{asked}");
        self.line.send(&[message, b"\r\n"].concat());
        self.until(&tag)
    }

    /// One item of all messages of the selected mailbox that comes as a literal or a quoted string, with the UIDs.
    pub(crate) fn fetch_all(&mut self, item: &str) -> Vec<(u32, Vec<u8>)> {
        let answer = self.ok(&format!("UID FETCH 1:* ({item})"));
        answer.untagged.iter().filter_map(|line| fetched(line)).collect()
    }

    /// STARTTLS and the handshake.
    pub(crate) fn start_tls(&mut self, ca: &Path) {
        self.ok("STARTTLS");
        self.line.start_tls(ca);
    }
}

/// `{n}` at the end of a line.
fn literal(line: &[u8]) -> Option<usize> {
    let inner = line.strip_suffix(b"}")?;
    let at = memchr::memrchr(b'{', inner)?;
    std::str::from_utf8(&inner[at + 1..]).ok()?.parse().ok()
}

/// UID and literal of a FETCH answer.
fn fetched(line: &[u8]) -> Option<(u32, Vec<u8>)> {
    let head_end = memchr::memchr(b'\n', line).unwrap_or(line.len());
    let head = String::from_utf8_lossy(&line[..head_end]);
    if !head.contains(" FETCH (") {
        return None;
    }
    let uid: u32 = after(&head, "UID ").or_else(|| {
        // The UID may stand behind the literal.
        let tail = String::from_utf8_lossy(&line[line.len().saturating_sub(40)..]).into_owned();
        after(&tail, "UID ")
    })?;
    let count = literal(head.trim_end().as_bytes()).unwrap_or(0);
    let body = line.get(head_end + 1..head_end + 1 + count).unwrap_or_default();
    Some((uid, body.to_vec()))
}

fn after(text: &str, word: &str) -> Option<u32> {
    let rest = &text[text.find(word)? + word.len()..];
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
