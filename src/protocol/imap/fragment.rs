//! Cuts the stream of a client into commands and their literals, within limits (RFC 3501 §2.2, §4.3; RFC 7888).
//!
//! Knows no grammar: a literal is announced by `{n}` or `{n+}` at the end of a line, and whoever drives this says what
//! becomes of it. A bad command costs that command, never the next.
//!
//! ```text
//! Line --announcement--> Announced --accept--> Literal --all there--> Line
//!   |                        |------stream---> Stream  --all there--> Line
//!   |                        '------refuse---> Skip    --all there--> Line (dropped)
//!   '--no announcement--> Command or Dropped
//! ```

use memchr::memchr;

use crate::mail::limits::IMAP_COMMAND_BEFORE_LOGIN;
use crate::mail::limits::IMAP_COMMAND_OCTETS;
use crate::mail::limits::IMAP_LINE_BEFORE_LOGIN;
use crate::mail::limits::IMAP_SWALLOW_AFTER_LOGIN;
use crate::mail::limits::IMAP_SWALLOW_BEFORE_LOGIN;

/// What the stream holds next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Fragment {
    /// More bytes are needed.
    More,
    /// One command, without its last line end, its literals within it as they came.
    Command(Vec<u8>),
    /// A literal of `size` octets is announced: [`Fragments::accept`], [`Fragments::stream`] or [`Fragments::refuse`].
    Literal {
        /// Octets of it; [`u64::MAX`] where the number is larger than any.
        size: u64,
        /// The client waits for a go-ahead (`{n}`, not `{n+}`).
        synchronising: bool,
    },
    /// Octets of a streamed literal.
    Piece(Vec<u8>),
    /// The streamed literal is complete; the rest of its command follows.
    StreamEnd,
    /// A command that was refused or too long has passed.
    Dropped {
        /// Its beginning, where its tag is.
        head: Vec<u8>,
        /// Whether nobody refused it and it was only too long.
        too_long: bool,
    },
    /// More had to be dropped than is worth it: end the connection.
    Overrun,
}

/// A line that is no command: of AUTHENTICATE, or `DONE`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Line {
    /// More bytes are needed.
    More,
    /// The line without its end.
    Line(Vec<u8>),
    /// It is too long: end the connection.
    TooLong,
}

/// How much a client may say at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of one line.
    pub line: usize,
    /// Octets of one command with its literals.
    pub command: usize,
    /// Octets that are read only to be dropped.
    pub swallow: u64,
}

impl Limits {
    /// For a stranger.
    pub const BEFORE_LOGIN: Self = Self {
        line: IMAP_LINE_BEFORE_LOGIN,
        command: IMAP_COMMAND_BEFORE_LOGIN,
        swallow: IMAP_SWALLOW_BEFORE_LOGIN + IMAP_COMMAND_BEFORE_LOGIN as u64,
    };

    /// For a user.
    pub const AFTER_LOGIN: Self =
        Self { line: IMAP_COMMAND_OCTETS, command: IMAP_COMMAND_OCTETS, swallow: IMAP_SWALLOW_AFTER_LOGIN };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Line,
    Announced { size: u64, synchronising: bool },
    Literal(u64),
    Stream(u64),
    Skip(u64),
    Abandoned,
}

/// Octets kept of a dropped command: enough for its tag, and at its end for an announcement.
const HEAD_OCTETS: usize = 128;

/// What has more digits announces no literal. It has room in [`HEAD_OCTETS`], so that it is seen however the stream is
/// cut.
const SIZE_DIGITS: usize = 100;

/// The stream and where in it we are.
#[derive(Debug)]
pub struct Fragments {
    input: Vec<u8>,
    /// Octets of `input` that are done with.
    read: usize,
    /// Octets after `read` that are known to hold no line end.
    scanned: usize,
    /// The command so far.
    command: Vec<u8>,
    state: State,
    limits: Limits,
    /// Set while a command is dropped.
    dropping: Option<Dropping>,
}

#[derive(Debug)]
struct Dropping {
    head: Vec<u8>,
    too_long: bool,
    octets: u64,
}

impl Fragments {
    /// A stream without bytes yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { input: Vec::new(), read: 0, scanned: 0, command: Vec::new(), state: State::Line, limits, dropping: None }
    }

    /// Other limits, from the next command on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// More bytes of the client.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.input.drain(..self.read);
            self.read = 0;
        }
        self.input.extend_from_slice(bytes);
    }

    /// Whether bytes are here that nobody has seen yet.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.read < self.input.len()
    }

    /// The command so far, without the announcement of its literal.
    #[must_use]
    pub fn so_far(&self) -> &[u8] {
        &self.command
    }

    /// The next fragment.
    pub fn next_fragment(&mut self) -> Fragment {
        loop {
            let step = match self.state {
                State::Line => self.line_of_command(),
                State::Announced { size, synchronising } => Some(Fragment::Literal { size, synchronising }),
                State::Literal(left) => self.literal(left),
                State::Stream(left) => Some(self.piece(left)),
                State::Skip(left) => self.skip(left),
                State::Abandoned => Some(self.command_end()),
            };
            if let Some(fragment) = step {
                return fragment;
            }
        }
    }

    /// The announced literal becomes part of the command. `false`: the command is dropped for its length, and the client
    /// must not be asked to go on, or what it sends would be read as commands.
    #[must_use]
    pub fn accept(&mut self) -> bool {
        let State::Announced { size, .. } = self.state else { return false };
        if size.saturating_add(self.command.len() as u64) > self.limits.command as u64 {
            self.drop_command(true);
            return false;
        }
        // The grammar reads the announcement again, so that it cannot take text for a literal.
        self.command.extend_from_slice(format!("{{{size}}}\r\n").as_bytes());
        self.state = State::Literal(size);
        true
    }

    /// The announced literal comes as [`Fragment::Piece`]s; the command so far is forgotten.
    pub fn stream(&mut self) {
        if let State::Announced { size, .. } = self.state {
            self.command.clear();
            self.state = State::Stream(size);
        }
    }

    /// The command is dropped, with what of it is on its way.
    pub fn refuse(&mut self) {
        self.drop_command(false);
    }

    /// The next line as it is, for the parts of a conversation that are no commands.
    pub fn line(&mut self, most: usize) -> Line {
        let rest = &self.input[self.read..];
        match memchr(b'\n', &rest[..rest.len().min(most)]) {
            Some(end) => {
                let line = without_line_end(&rest[..=end]).to_vec();
                self.read += end + 1;
                self.scanned = 0;
                Line::Line(line)
            }
            None if rest.len() >= most => Line::TooLong,
            None => Line::More,
        }
    }

    fn drop_command(&mut self, too_long: bool) {
        let head = self.command[..self.command.len().min(HEAD_OCTETS)].to_vec();
        self.command = Vec::new();
        self.dropping.get_or_insert(Dropping { head, too_long, octets: 0 });
        if let State::Announced { size, synchronising } = self.state {
            // A client that waits for a go-ahead and gets an answer sends neither the literal nor what would have
            // come after it (RFC 3501 §7.5).
            self.state = if synchronising { State::Abandoned } else { State::Skip(size) };
        }
    }

    fn line_of_command(&mut self) -> Option<Fragment> {
        let rest = &self.input[self.read..];
        let found = memchr(b'\n', &rest[self.scanned..]).map(|at| self.scanned + at + 1);
        let len = found.unwrap_or(rest.len());
        if self.dropping.is_none() && (len > self.limits.line || self.command.len() + len > self.limits.command) {
            let head = if self.command.is_empty() { &rest[..len.min(HEAD_OCTETS)] } else { &self.command[..] };
            self.command = head.to_vec();
            self.drop_command(true);
        }
        let Some(end) = found else {
            if self.dropping.is_none() {
                self.scanned = len;
                return Some(Fragment::More);
            }
            // The end stays: a literal may be announced there. The rest is counted now, so that where the stream is cut
            // makes no difference.
            let gone = len.saturating_sub(HEAD_OCTETS);
            self.take(gone);
            return self.count_dropped(gone).or(Some(Fragment::More));
        };
        let line = without_line_end(&self.input[self.read..self.read + end]);
        let announced = announcement(line);
        let text_len = announced.map_or(line.len(), |(at, _, _)| at);
        if self.dropping.is_none() {
            self.command.extend_from_slice(&line[..text_len]);
        }
        self.take(end);
        if let Some(overrun) = self.count_dropped(end) {
            return Some(overrun);
        }
        match announced {
            None => Some(self.command_end()),
            Some((_, size, synchronising)) => self.announce(size, synchronising),
        }
    }

    fn announce(&mut self, size: u64, synchronising: bool) -> Option<Fragment> {
        if self.dropping.is_none() {
            self.state = State::Announced { size, synchronising };
        } else if synchronising {
            return Some(self.command_end());
        } else {
            self.state = State::Skip(size);
        }
        None
    }

    fn command_end(&mut self) -> Fragment {
        self.state = State::Line;
        match self.dropping.take() {
            Some(dropping) => Fragment::Dropped { head: dropping.head, too_long: dropping.too_long },
            None => Fragment::Command(std::mem::take(&mut self.command)),
        }
    }

    fn literal(&mut self, left: u64) -> Option<Fragment> {
        let n = self.available(left);
        self.command.extend_from_slice(&self.input[self.read..self.read + n]);
        self.take(n);
        self.after_octets(left - n as u64, State::Literal, State::Line)
    }

    fn piece(&mut self, left: u64) -> Fragment {
        if left == 0 {
            self.state = State::Line;
            return Fragment::StreamEnd;
        }
        let n = self.available(left);
        if n == 0 {
            return Fragment::More;
        }
        let piece = self.input[self.read..self.read + n].to_vec();
        self.take(n);
        self.state = State::Stream(left - n as u64);
        Fragment::Piece(piece)
    }

    fn skip(&mut self, left: u64) -> Option<Fragment> {
        let swallowed = self.dropping.as_ref().map_or(0, |d| d.octets);
        if left.saturating_add(swallowed) > self.limits.swallow {
            return Some(Fragment::Overrun);
        }
        let n = self.available(left);
        self.take(n);
        if let Some(overrun) = self.count_dropped(n) {
            return Some(overrun);
        }
        self.after_octets(left - n as u64, State::Skip, State::Line)
    }

    fn after_octets(&mut self, left: u64, still: fn(u64) -> State, then: State) -> Option<Fragment> {
        if left == 0 {
            self.state = then;
            None
        } else {
            self.state = still(left);
            Some(Fragment::More)
        }
    }

    fn available(&self, left: u64) -> usize {
        usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len() - self.read)
    }

    fn take(&mut self, n: usize) {
        self.read += n;
        self.scanned = 0;
    }

    fn count_dropped(&mut self, n: usize) -> Option<Fragment> {
        let dropping = self.dropping.as_mut()?;
        dropping.octets = dropping.octets.saturating_add(n as u64);
        (dropping.octets > self.limits.swallow).then_some(Fragment::Overrun)
    }
}

fn without_line_end(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").map_or(line, |l| l.strip_suffix(b"\r").unwrap_or(l))
}

/// Where in a line its literal is announced, how large it is, and whether the client waits (RFC 7888 §4).
fn announcement(line: &[u8]) -> Option<(usize, u64, bool)> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, synchronising) = inner.strip_suffix(b"+").map_or((inner, true), |i| (i, false));
    let digits = inner.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let open = inner.len().checked_sub(digits + 1)?;
    if digits == 0 || digits > SIZE_DIGITS || inner[open] != b'{' {
        return None;
    }
    let size = std::str::from_utf8(&inner[open + 1..]).ok()?.parse().unwrap_or(u64::MAX);
    Some((open, size, synchronising))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    enum Policy {
        Accept,
        Refuse,
        Stream,
    }

    const SMALL: Limits = Limits { line: 130, command: 150, swallow: 400 };

    /// All events of `input` cut at `cut`, pieces joined.
    fn events(input: &[u8], cut: usize, policy: Policy) -> Vec<String> {
        let mut fragments = Fragments::new(SMALL);
        let mut out: Vec<String> = Vec::new();
        let mut streamed: Vec<u8> = Vec::new();
        for half in [&input[..cut], &input[cut..]] {
            fragments.push(half);
            loop {
                match fragments.next_fragment() {
                    Fragment::More => break,
                    Fragment::Literal { size, synchronising } => {
                        out.push(format!("literal {size} {synchronising}"));
                        match policy {
                            Policy::Accept => drop(fragments.accept()),
                            Policy::Refuse => fragments.refuse(),
                            Policy::Stream => fragments.stream(),
                        }
                    }
                    Fragment::Piece(piece) => streamed.extend(piece),
                    Fragment::Overrun => {
                        out.push("overrun".to_owned());
                        return out;
                    }
                    Fragment::StreamEnd => {
                        out.push(format!("streamed {}", String::from_utf8_lossy(&std::mem::take(&mut streamed))));
                    }
                    Fragment::Command(c) => out.push(String::from_utf8_lossy(&c).into_owned()),
                    Fragment::Dropped { head, too_long } => {
                        let tag = head.split(|b| *b == b' ').next().unwrap_or_default().to_vec();
                        out.push(format!("dropped {} {too_long}", String::from_utf8_lossy(&tag)));
                    }
                }
            }
        }
        out
    }

    #[test]
    fn cut_anywhere_the_events_are_the_same() {
        use Policy::Accept;
        use Policy::Refuse;
        use Policy::Stream;
        let long = format!("a {}\r\nb NOOP\r\n", "x".repeat(200));
        let too_much = format!("a {}\r\nb NOOP\r\n", "x".repeat(500));
        let endless = "x".repeat(529);
        let digits = format!("a {{3+}}\r\nabc {{{}+}}\r\nb N\r\n", "5".repeat(130));
        let cases: Vec<(&str, Policy, Vec<&str>)> = vec![
            ("a NOOP\r\nb NOOP\n\r\n", Accept, vec!["a NOOP", "b NOOP", ""]),
            ("a X {3}\r\nabc y\r\nb N\r\n", Accept, vec!["literal 3 true", "a X {3}\r\nabc y", "b N"]),
            (
                "a {2+}\r\n\r\n{0+}\r\n\r\nb\r\n",
                Accept,
                vec!["literal 2 false", "literal 0 false", "a {2}\r\n\r\n{0}\r\n", "b"],
            ),
            ("a {3}\r\nb NOOP\r\n", Refuse, vec!["literal 3 true", "dropped a false", "b NOOP"]),
            ("a {3+}\r\nabc {2+}\r\nde f\r\nb N\r\n", Refuse, vec!["literal 3 false", "dropped a false", "b N"]),
            ("a {3+}\r\nabc {2}\r\nb N\r\n", Refuse, vec!["literal 3 false", "dropped a false", "b N"]),
            ("a {0+}\r\n x\r\nb N\r\n", Refuse, vec!["literal 0 false", "dropped a false", "b N"]),
            ("a {5}\r\nab\r\nc\r\nb N\r\n", Stream, vec!["literal 5 true", "streamed ab\r\nc", "", "b N"]),
            ("a {0}\r\n\r\n", Stream, vec!["literal 0 true", "streamed ", ""]),
            ("a {150}\r\nb N\r\n", Accept, vec!["literal 150 true", "dropped a true", "b N"]),
            ("a {500+}\r\n", Refuse, vec!["literal 500 false", "overrun"]),
            ("a {99999999999999999999999}\r\n", Refuse, vec!["literal 18446744073709551615 true", "dropped a false"]),
            ("a {99999999999999999999999+}\r\n", Refuse, vec!["literal 18446744073709551615 false", "overrun"]),
            ("a {} {x} {1-} {+} {1} \r\n", Accept, vec!["a {} {x} {1-} {+} {1} "]),
            (&long, Accept, vec!["dropped a true", "b NOOP"]),
            (&too_much, Accept, vec!["overrun"]),
            (&endless, Accept, vec!["overrun"]),
            (&digits, Refuse, vec!["literal 3 false", "dropped a false", "b N"]),
        ];
        for (input, policy, expected) in cases {
            for cut in 0..=input.len() {
                assert_eq!(events(input.as_bytes(), cut, policy), expected, "{input:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn lines_that_are_no_commands() {
        let mut fragments = Fragments::new(SMALL);
        fragments.push(b"DONE\r\na NOOP\r\nxxxxxxxxxxxx");
        assert_eq!(fragments.line(10), Line::Line(b"DONE".to_vec()));
        assert_eq!(fragments.next_fragment(), Fragment::Command(b"a NOOP".to_vec()));
        assert_eq!(fragments.line(20), Line::More);
        assert_eq!(fragments.line(10), Line::TooLong);
        assert!(fragments.has_input());
    }
}
