//! The mbox format (RFC 4155 and what programs make of it): many messages in one file, read and written one at a time.
//!
//! Written is mboxrd: a `From ` line with the date in UTC, then `Status`, `X-Status` and `X-Keywords`, then the message
//! with one more `>` before every line that begins with `From ` behind any number of `>`, then an empty line. Those
//! three fields stand in front of all others, which no other program does; that is how they are told from fields of
//! the same name that are the message's own, and why a message comes back as it was. Only one that does not end with
//! a line end gets one.
//!
//! Read is that, and what others write: mboxo and mboxcl, LF or CRLF, flags anywhere in the header. As in Dovecot,
//! the fields that belong to the file and not to the message are taken out of it. A line separates two messages where
//! it begins with `From ` and has a date. `Content-Length` can overrule that only in a file of which every message so
//! far had one that is true, or a stranger's message could swallow the next one.
//!
//! Reads and writes through traits; knows no file and no mailbox.

use std::io;
use std::io::Read;
use std::io::Write;

use memchr::memchr;

use crate::mail::flags::Flags;
use crate::mail::flags::SystemFlag;
use crate::mail::limits::MBOX_FROM_OCTETS;
use crate::mail::limits::MBOX_OVERHEAD_OCTETS;

use super::sent;

/// What an mbox keeps of a message beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Envelope {
    /// When it came, in seconds since 1970; `None` where the file does not tell.
    pub date: Option<i64>,
    /// System flags.
    pub flags: Flags,
    /// Names of keywords.
    pub keywords: Vec<String>,
    /// Whether no session was told of it yet.
    pub recent: bool,
}

/// What was found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A message.
    Message(Envelope, Vec<u8>),
    /// A message past the limit, which was passed over.
    TooLarge {
        /// Its octets in the file.
        octets: u64,
    },
}

const FROM: &[u8] = b"From ";
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY_SECONDS: i64 = 86_400;

/// The flags that stand in `Status` and `X-Status`, with their letters there (c-client's, as all programs have them).
const X_STATUS: [(SystemFlag, u8); 4] =
    [(SystemFlag::Answered, b'A'), (SystemFlag::Flagged, b'F'), (SystemFlag::Draft, b'T'), (SystemFlag::Deleted, b'D')];

/// Fields that belong to the file and not to the message, where another program wrote it.
const FOREIGN_FIELDS: [&str; 9] = [
    "Status",
    "X-Status",
    "X-Keywords",
    "X-UID",
    "X-IMAP",
    "X-IMAPbase",
    "X-Mozilla-Status",
    "X-Mozilla-Status2",
    "X-Mozilla-Keys",
];

/// Writes messages as mboxrd, piece by piece: [`Writer::begin`], [`Writer::push`] any number of times,
/// [`Writer::end`].
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// Octets of [`FROM`] that were seen at the start of a line, behind any `>`, and not written yet; `None` within a
    /// line.
    held: Option<usize>,
    last: u8,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`, which should be buffered.
    #[must_use]
    pub fn new(out: W) -> Self {
        Self { out, held: Some(0), last: b'\n' }
    }

    /// The `From ` line and the flags. A sender that is not one visible word, and an empty one, are written as
    /// `MAILER-DAEMON`; dates before the year 0 or after 9999 as 1970.
    ///
    /// # Errors
    /// What `out` says.
    pub fn begin(&mut self, sender: &str, envelope: &Envelope) -> io::Result<()> {
        let is_word = !sender.is_empty() && sender.len() <= 320 && sender.bytes().all(|b| b.is_ascii_graphic());
        let sender = if is_word { sender } else { "MAILER-DAEMON" };
        let date = from_date(envelope.date.unwrap_or_default());
        let seen = if envelope.flags.has(SystemFlag::Seen) { "R" } else { "" };
        let old = if envelope.recent { "" } else { "O" };
        write!(self.out, "From {sender} {date}\nStatus: {seen}{old}\n")?;
        let letters = X_STATUS.iter().filter(|(flag, _)| envelope.flags.has(*flag));
        let letters: String = letters.map(|(_, letter)| char::from(*letter)).collect();
        // All three always, or the reader could take one that is the message's own.
        writeln!(self.out, "X-Status: {letters}\nX-Keywords: {}", envelope.keywords.join(" "))?;
        (self.held, self.last) = (Some(0), b'\n');
        Ok(())
    }

    /// A piece of the message.
    ///
    /// # Errors
    /// What `out` says.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        self.last = piece.last().copied().unwrap_or(self.last);
        let mut rest = piece;
        while let Some(first) = rest.first() {
            match self.held {
                None => {
                    let end = memchr(b'\n', rest).map(|at| at + 1);
                    let (now, later) = rest.split_at(end.unwrap_or(rest.len()));
                    self.out.write_all(now)?;
                    self.held = end.map(|_| 0);
                    rest = later;
                }
                Some(0) if *first == b'>' => {
                    self.out.write_all(b">")?;
                    rest = &rest[1..];
                }
                Some(held) if *first == FROM[held] => {
                    if held + 1 == FROM.len() {
                        self.out.write_all(b">")?;
                        self.out.write_all(FROM)?;
                        self.held = None;
                    } else {
                        self.held = Some(held + 1);
                    }
                    rest = &rest[1..];
                }
                Some(held) => {
                    self.out.write_all(&FROM[..held])?;
                    self.held = None;
                }
            }
        }
        Ok(())
    }

    /// The end of the message.
    ///
    /// # Errors
    /// What `out` says.
    pub fn end(&mut self) -> io::Result<()> {
        self.out.write_all(&FROM[..self.held.unwrap_or(0)])?;
        self.out.write_all(if self.last == b'\n' { b"\n" } else { b"\n\n" })
    }

    /// What it was made with.
    pub fn into_inner(self) -> W {
        self.out
    }
}

/// The address in the first `Return-Path` of a header, for [`Writer::begin`]; empty where there is none.
#[must_use]
pub fn sender(header: &[u8]) -> String {
    let mut fields = super::fields::fields(header).take(FIELDS_LOOKED_AT);
    let path = fields.find(|field| field.is("Return-Path")).map(|field| field.unfolded()).unwrap_or_default();
    let text = String::from_utf8_lossy(&path).into_owned();
    text.trim_matches(['<', '>']).to_owned()
}

/// `Return-Path` stands in front.
const FIELDS_LOOKED_AT: usize = 10;

/// `Thu Feb 13 15:31:30 2020`, in UTC.
fn from_date(seconds: i64) -> String {
    let days = seconds.div_euclid(DAY_SECONDS);
    let (year, month, day) = sent::civil(days.clamp(-1_000_000, 10_000_000));
    if !(0..=9999).contains(&year) {
        return from_date(0);
    }
    let of = |place: i64, of: &[&'static str]| usize::try_from(place).ok().and_then(|at| of.get(at).copied());
    let weekday = of(days.rem_euclid(7), &DAYS).unwrap_or_default();
    let month = of(i64::from(month) - 1, &sent::MONTHS).unwrap_or_default();
    let time = seconds.rem_euclid(DAY_SECONDS);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year:04}")
}

/// The date of a `From ` line, whose first five octets are left out, in seconds since 1970; `None` where it has none.
///
/// Taken are the forms of asctime and of RFC 5322, with or without seconds and zone; without a zone it is UTC (RFC
/// 4155).
fn date_of_from(line: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = text.split([' ', '\t', ',', '\r', '\n']).filter(|w| !w.is_empty()).take(32).collect();
    (0..words.len()).filter(|at| sent::month(words[*at]).is_some()).find_map(|at| date_around(&words, at))
}

/// The date whose month is the word at `at`.
fn date_around(words: &[&str], at: usize) -> Option<i64> {
    let month = sent::month(words[at])?;
    let after = &words[at + 1..];
    let is_day = |word: &&str| word.len() <= 2 && word.bytes().all(|b| b.is_ascii_digit());
    let before = at.checked_sub(1).map(|before| words[before]).filter(is_day);
    let (day, rest) = match (after.first().copied().filter(is_day), before) {
        (Some(day), _) => (day, &after[1..]),
        (None, Some(day)) => (day, after),
        (None, None) => return None,
    };
    let time = rest.iter().find_map(|word| clock_time(word))?;
    let is_year = |word: &&&str| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit());
    let year: i64 = rest.iter().find(is_year)?.parse().ok()?;
    let zone = rest.iter().find_map(|word| zone(word)).unwrap_or(0);
    Some(sent::days(year, month, day.parse().ok()?)? * DAY_SECONDS + time - zone)
}

/// `15:31` or `15:31:30`, in seconds.
fn clock_time(word: &str) -> Option<i64> {
    let mut parts = word.split(':');
    let mut part = |most: i64| {
        let text = parts.next()?;
        let number: i64 = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))?;
        (number <= most).then_some(number)
    };
    let (hour, minute) = (part(23)?, part(59)?);
    let second = if word.matches(':').count() == 2 { part(60)? } else { 0 };
    (word.matches(':').count() <= 2).then_some(hour * 3600 + minute * 60 + second)
}

/// `+0130`, in seconds.
fn zone(word: &str) -> Option<i64> {
    let sign = match word.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let digits = word.get(1..).filter(|d| d.len() == 4 && d.bytes().all(|b| b.is_ascii_digit()))?;
    let number: i64 = digits.parse().ok()?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

/// Whether a line separates messages.
fn separates(line: &[u8]) -> bool {
    line.len() <= MBOX_FROM_OCTETS && line.starts_with(FROM) && date_of_from(&line[FROM.len()..]).is_some()
}

/// The octets of an empty line at the front.
fn empty_line(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"\n") { Some(1) } else { rest.starts_with(b"\r\n").then_some(2) }
}

/// Reads the messages of an mbox one at a time. Holds one message and some more.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    max: usize,
    buffer: Vec<u8>,
    /// What is before this in the buffer was dealt with.
    start: usize,
    ended: bool,
    /// Whether this is the first message.
    first: bool,
    /// Whether all messages so far had a true `Content-Length`.
    lengths: bool,
}

/// Where a message ends.
enum End {
    /// Before the line that separates it from the next, or at the end of the file.
    Line(usize),
    /// Where its `Content-Length` says, past lines that look as if they separated.
    Length(usize),
    /// It has more octets than are wanted.
    TooLarge,
}

impl<R: Read> Reader<R> {
    /// Reads from `input`; messages of more than `max` octets are passed over.
    #[must_use]
    pub fn new(input: R, max: u64) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX >> 2);
        Self { input, max, buffer: Vec::new(), start: 0, ended: false, first: true, lengths: true }
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// What the input says; [`io::ErrorKind::InvalidData`] where it does not begin as an mbox does.
    pub fn next_item(&mut self) -> io::Result<Option<Item>> {
        loop {
            self.have(2)?;
            match empty_line(self.rest()) {
                Some(octets) => self.start += octets,
                None => break,
            }
        }
        if self.rest().is_empty() {
            return Ok(None);
        }
        self.have(FROM.len())?;
        if !self.rest().starts_with(FROM) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not an mbox: it does not begin with `From `"));
        }
        let Some(head) = self.line_end(0, MBOX_OVERHEAD_OCTETS)? else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not an mbox: its first line is endless"));
        };
        let first = std::mem::replace(&mut self.first, false);
        let end = self.find_end(head)?;
        let from_line = &self.rest()[..head];
        let crlf = from_line.ends_with(b"\r\n");
        let date = date_of_from(&from_line[FROM.len().min(from_line.len())..]);
        let (raw, quoted) = match end {
            End::TooLarge => return Ok(Some(Item::TooLarge { octets: self.pass_over(head)? })),
            End::Line(end) => (without_last_empty_line(&self.rest()[head..end], crlf), true),
            End::Length(end) => (&self.rest()[head..end], false),
        };
        let used = match end {
            End::Line(end) | End::Length(end) => end,
            End::TooLarge => head,
        };
        let (mut envelope, mut content, internal) = take_status(raw, quoted);
        envelope.date = date;
        if crlf {
            content = without_carriage_returns(&content);
        }
        self.start += used;
        if internal && first {
            return self.next_item();
        }
        if content.len() > self.max {
            return Ok(Some(Item::TooLarge { octets: content.len() as u64 }));
        }
        Ok(Some(Item::Message(envelope, content)))
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Reads until the rest has `octets`, or to the end.
    fn have(&mut self, octets: usize) -> io::Result<()> {
        const PIECE: usize = 65_536;
        while !self.ended && self.rest().len() < octets {
            if self.start > 0 {
                self.buffer.drain(..self.start);
                self.start = 0;
            }
            let before = self.buffer.len();
            self.buffer.resize(before + PIECE, 0);
            let read = match self.input.read(&mut self.buffer[before..]) {
                Ok(read) => read,
                Err(error) => {
                    self.buffer.truncate(before);
                    if error.kind() == io::ErrorKind::Interrupted {
                        continue;
                    }
                    return Err(error);
                }
            };
            self.buffer.truncate(before + read);
            self.ended = read == 0;
        }
        Ok(())
    }

    /// The end of the line that begins at `from` of the rest, its line end included. `None` where the rest would have
    /// to grow past `most`.
    fn line_end(&mut self, from: usize, most: usize) -> io::Result<Option<usize>> {
        let mut looked = from;
        loop {
            if let Some(at) = memchr(b'\n', &self.rest()[looked..]) {
                return Ok(Some(looked + at + 1));
            }
            looked = self.rest().len();
            if self.ended {
                return Ok(Some(looked));
            }
            if looked > most {
                return Ok(None);
            }
            self.have(looked + 1)?;
        }
    }

    /// Looks for the end of the message that begins at `head` of the rest.
    fn find_end(&mut self, head: usize) -> io::Result<End> {
        let most = head.saturating_add(self.max).saturating_add(MBOX_OVERHEAD_OCTETS);
        let (mut at, mut in_header) = (head, true);
        // Where the message ends by its Content-Length.
        let mut by_length = None;
        let mut told = None;
        loop {
            let Some(end) = self.line_end(at, most)? else { return Ok(End::TooLarge) };
            let line = &self.rest()[at..end];
            if line.is_empty() || separates(line) {
                let end = by_length.filter(|by_length| *by_length > at).map_or(End::Line(at), End::Length);
                return Ok(end);
            }
            if in_header {
                if empty_line(line).is_some() {
                    in_header = false;
                    by_length = match told.filter(|_| self.lengths) {
                        Some(length) => self.true_end(end, length, most)?,
                        None => None,
                    };
                    self.lengths &= by_length.is_some();
                } else if let Some(length) = content_length(line) {
                    told = Some(length);
                }
            }
            if end > most {
                return Ok(End::TooLarge);
            }
            at = end;
        }
    }

    /// Where a body that begins at `body` ends by its length, if that is true: at the end of the file, or before a
    /// line that separates.
    fn true_end(&mut self, body: usize, length: usize, most: usize) -> io::Result<Option<usize>> {
        let end = body.saturating_add(length);
        if end > most {
            return Ok(None);
        }
        self.have(end + 4 + MBOX_FROM_OCTETS)?;
        let Some(mut after) = self.rest().get(end..) else { return Ok(None) };
        for _ in 0..2 {
            after = &after[empty_line(after).unwrap_or(0)..];
        }
        let line = &after[..memchr(b'\n', after).map_or(after.len(), |at| at + 1)];
        Ok((line.is_empty() || separates(line)).then_some(end))
    }

    /// Passes over a message that is too large; returns its octets. What was read of it is forgotten at once.
    fn pass_over(&mut self, head: usize) -> io::Result<u64> {
        self.start += head;
        let mut octets = 0;
        let mut line_begins = true;
        loop {
            self.have(MBOX_FROM_OCTETS)?;
            let rest = self.rest();
            let end = memchr(b'\n', rest).map(|at| at + 1);
            let line = &rest[..end.unwrap_or(rest.len())];
            if line.is_empty() || (line_begins && separates(line)) {
                return Ok(octets);
            }
            line_begins = end.is_some();
            octets += line.len() as u64;
            self.start += line.len();
        }
    }
}

/// The `Content-Length` of a header line.
fn content_length(line: &[u8]) -> Option<usize> {
    let (name, value) = line.split_at(memchr(b':', line)?);
    let is_it = name.eq_ignore_ascii_case(b"Content-Length");
    std::str::from_utf8(&value[1..]).ok().filter(|_| is_it)?.trim().parse().ok()
}

/// Without the empty line that stands before the next message.
fn without_last_empty_line(raw: &[u8], crlf: bool) -> &[u8] {
    let line_end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    match raw.strip_suffix(line_end) {
        Some(shorter) if shorter.ends_with(b"\n") => shorter,
        Some(_) | None => raw,
    }
}

/// CRLF becomes LF.
fn without_carriage_returns(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(text) => {
                out.extend_from_slice(text);
                out.push(b'\n');
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// Takes the flags out of a message, and one `>` off every quoted line. Also tells whether it is no message but where
/// another program keeps its own data.
fn take_status(raw: &[u8], quoted: bool) -> (Envelope, Vec<u8>, bool) {
    let mut envelope = Envelope { recent: true, ..Envelope::default() };
    let mut content = Vec::with_capacity(raw.len());
    let mut internal = false;
    let rest = if raw.starts_with(b"Status:") {
        take_front(&mut envelope, raw)
    } else {
        take_foreign(&mut envelope, &mut content, &mut internal, raw)
    };
    if quoted {
        push_unquoted(&mut content, rest)
    } else {
        content.extend_from_slice(rest)
    }
    (envelope, content, internal)
}

/// Reads the fields that [`Writer::begin`] puts in front; returns the rest. Each comes once: a second one is the
/// message's own.
fn take_front<'a>(envelope: &mut Envelope, raw: &'a [u8]) -> &'a [u8] {
    let mut rest = raw;
    for wanted in ["Status", "X-Status", "X-Keywords"] {
        let line = &rest[..memchr(b'\n', rest).map_or(rest.len(), |at| at + 1)];
        // They are never folded: a line that looks so is the first of the message.
        if let Some(value) = line.strip_prefix(wanted.as_bytes()).and_then(|value| value.strip_prefix(b":")) {
            read_field(envelope, wanted, value);
            rest = &rest[line.len()..];
        }
    }
    rest
}

/// Goes through the header of a message that another program wrote, up to the empty line; returns the rest.
fn take_foreign<'a>(envelope: &mut Envelope, content: &mut Vec<u8>, internal: &mut bool, raw: &'a [u8]) -> &'a [u8] {
    let mut rest = raw;
    let (mut has_data, mut says_so) = (false, false);
    while let Some((name, field)) = next_field(rest) {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if FOREIGN_FIELDS.iter().any(|foreign| is(foreign)) {
            let colon = memchr(b':', field).unwrap_or(0);
            read_field(envelope, name, &field[colon + 1..]);
            has_data |= is("X-IMAP");
        } else {
            says_so |= is("Subject") && memchr::memmem::find(field, b"FOLDER INTERNAL DATA").is_some();
            content.extend_from_slice(field);
        }
        rest = &rest[field.len()..];
    }
    *internal = has_data && says_so;
    rest
}

/// The field at the front of a header with its name; its folded lines and its line end belong to it.
fn next_field(rest: &[u8]) -> Option<(&str, &[u8])> {
    let length = rest.iter().take_while(|b| (b'!'..=b'~').contains(*b) && **b != b':').count();
    let blanks = rest[length..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let name = std::str::from_utf8(&rest[..length]).ok().filter(|name| !name.is_empty())?;
    if rest.get(length + blanks) != Some(&b':') {
        return None;
    }
    let line_end = |from: usize| memchr(b'\n', &rest[from..]).map_or(rest.len(), |at| from + at + 1);
    let mut end = line_end(0);
    while matches!(rest.get(end), Some(b' ' | b'\t')) {
        end = line_end(end);
    }
    Some((name, &rest[..end]))
}

/// Reads one of the fields that hold flags.
fn read_field(envelope: &mut Envelope, name: &str, value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    if is("Status") {
        if value.contains(&b'R') {
            envelope.flags = envelope.flags.with(SystemFlag::Seen);
        }
        envelope.recent &= !value.contains(&b'O');
    } else if is("X-Status") {
        let set = X_STATUS.iter().filter(|(_, letter)| value.contains(letter));
        envelope.flags = set.fold(envelope.flags, |flags, (flag, _)| flags.with(*flag));
    } else if is("X-Keywords") || is("X-Mozilla-Keys") {
        for word in text.split_ascii_whitespace().filter(|word| word.len() <= MBOX_FROM_OCTETS) {
            if !envelope.keywords.iter().any(|known| known.eq_ignore_ascii_case(word)) {
                envelope.keywords.push(word.to_owned());
            }
        }
    } else if is("X-Mozilla-Status") {
        let bits = u32::from_str_radix(text.trim(), 16).unwrap_or(0);
        let all =
            [(1, SystemFlag::Seen), (2, SystemFlag::Answered), (4, SystemFlag::Flagged), (8, SystemFlag::Deleted)];
        let set = all.iter().filter(|(bit, _)| bits & bit != 0);
        envelope.flags = set.fold(envelope.flags, |flags, (_, flag)| flags.with(*flag));
    }
}

/// Takes one `>` off every line that begins with `From ` behind one or more.
fn push_unquoted(out: &mut Vec<u8>, mut rest: &[u8]) {
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let line = &rest[..end];
        let quotes = line.iter().take_while(|b| **b == b'>').count();
        let quoted = quotes > 0 && line[quotes..].starts_with(FROM);
        out.extend_from_slice(&line[usize::from(quoted)..]);
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> Vec<Item> {
        read_up_to(text, 1000)
    }

    fn read_up_to(text: &[u8], max: u64) -> Vec<Item> {
        // A few octets at a time: a read may end anywhere.
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let n = self.0.len().min(7);
                into[..n].copy_from_slice(&self.0[..n]);
                self.0 = &self.0[n..];
                Ok(n)
            }
        }
        let mut reader = Reader::new(Slow(text), max);
        let mut items = Vec::new();
        while let Some(item) = reader.next_item().expect("an mbox") {
            items.push(item);
        }
        items
    }

    fn contents(text: &[u8]) -> Vec<String> {
        let text_of = |item| match item {
            Item::Message(_, content) => String::from_utf8(content).expect("text"),
            Item::TooLarge { octets } => format!("{octets} too many"),
        };
        read(text).into_iter().map(text_of).collect()
    }

    const LINE: &str = "From a@b Thu Feb 13 15:31:30 2020\n";

    #[test]
    fn dates_in_all_their_forms() {
        for (text, date) in [
            ("a@b Thu Feb 13 15:31:30 2020", Some(1_581_607_890)),
            ("a@b  Thu Feb 13 15:31:30 2020\r\n", Some(1_581_607_890)),
            ("- Thu Feb 13 15:31:30 2020", Some(1_581_607_890)),
            ("may Thu Feb 13 15:31:30 2020", Some(1_581_607_890)),
            ("a@b Thu, 13 Feb 2020 17:31:30 +0200", Some(1_581_607_890)),
            ("a@b Thu Feb 13 15:31:30 CET 2020", Some(1_581_607_890)),
            ("a@b Thu Feb 13 15:31 2020 remote from x", Some(1_581_607_860)),
            ("a@b Thu Feb 13 09:31:30 2020 -0600", Some(1_581_607_890)),
            ("the beginning of May on", None),
            ("a@b", None),
            ("a@b Thu Feb 30 15:31:30 2020", None),
            ("a@b Thu Feb 13 25:31:30 2020", None),
            ("\u{e9} Feb 13 :: 2020", None),
        ] {
            assert_eq!(date_of_from(text.as_bytes()), date, "{text}");
        }
        for seconds in (-62_167_219_200..253_402_300_799).step_by(86_399_977) {
            assert_eq!(date_of_from(from_date(seconds).as_bytes()), Some(seconds));
        }
        assert_eq!(from_date(i64::MAX), "Thu Jan  1 00:00:00 1970");
        assert_eq!(from_date(i64::MIN), "Thu Jan  1 00:00:00 1970");
    }

    #[test]
    fn files_of_other_programs() {
        let two = |a: &str, b: &str| format!("{LINE}{a}{LINE}{b}");
        for (text, wanted) in [
            (String::new(), vec![]),
            ("\n\n".to_owned(), vec![]),
            (LINE.to_owned(), vec![""]),
            ("From nobody\nA: b\n\nx\n".to_owned(), vec!["A: b\n\nx\n"]),
            (two("A: b\n\nx\n\n", "C: d\n\ny\n\n"), vec!["A: b\n\nx\n", "C: d\n\ny\n"]),
            // No empty line before the next, no line end at the end.
            (two("A: b\n\nx\n", "C: d\n\ny"), vec!["A: b\n\nx\n", "C: d\n\ny"]),
            (two("A: b\n\n>From x\n>>From y\n> From\n\n", ""), vec!["A: b\n\nFrom x\n>From y\n> From\n", ""]),
            // A line of prose separates nothing.
            (two("A: b\n\nx\n\nFrom here on\n\n", ""), vec!["A: b\n\nx\n\nFrom here on\n", ""]),
            (two("A: b\n\nx\n\n", "").replace('\n', "\r\n"), vec!["A: b\n\nx\n", ""]),
            // Only the lines of a file with CRLF lose their CR.
            (two("A: b\r\n\r\nx\r\n\n", ""), vec!["A: b\r\n\r\nx\r\n", ""]),
            // mboxcl2: the length is true, the lines in the message separate nothing and are not quoted.
            (
                two(&format!("Content-Length: {}\n\n{LINE}>From x\n\n", LINE.len() + 8), "Content-Length: 0\n\n\n"),
                vec![&*format!("Content-Length: 42\n\n{LINE}>From x\n"), "Content-Length: 0\n\n"],
            ),
            // A length that is not true, or that comes when others had none.
            (
                two("Content-Length: 3\n\nx\n\n", "Content-Length: 900\n\ny\n\n"),
                vec!["Content-Length: 3\n\nx\n", "Content-Length: 900\n\ny\n"],
            ),
            (
                format!("{LINE}A: b\n\n{}", two(&format!("Content-Length: {}\n\nx\n\n", LINE.len() + 6), "y\n\n")),
                vec!["A: b\n", "Content-Length: 40\n\nx\n", "y\n"],
            ),
        ] {
            assert_eq!(contents(text.as_bytes()), wanted, "{text:?}");
        }
        assert!(Reader::new(&b"Subject: x\n"[..], 100).next_item().is_err());
        assert!(Reader::new(&b"From"[..], 100).next_item().is_err());
    }

    #[test]
    fn flags_of_other_programs_are_taken_out() {
        let header = "A: b\nStatus: RO\nX-Status: AF\nX-Keywords: $Label1 work\n\tWork home\nX-UID: 7\nX-Mozilla-Status: 0009\nB: c\n";
        let items = read(format!("{LINE}{header}\nStatus: body\n\n").as_bytes());
        let [Item::Message(envelope, content)] = &items[..] else { panic!("{items:?}") };
        assert_eq!(content, b"A: b\nB: c\n\nStatus: body\n");
        assert_eq!(envelope.flags.letters(""), "FRST");
        assert_eq!(envelope.keywords, ["$Label1", "work", "home"]);
        assert!(!envelope.recent && envelope.date == Some(1_581_607_890));
        let internal = "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\nx\n\n";
        assert_eq!(contents(format!("{LINE}{internal}{LINE}A: b\n\n").as_bytes()), ["A: b\n"]);
    }

    #[test]
    fn large_messages_are_passed_over() {
        let large = "x".repeat(300_000);
        let text = format!("{LINE}A: b\n\n{large}\n\n{LINE}C: d\n\n{}\n{LINE}E: f\n\n", "y\n".repeat(600));
        let mut reader = Reader::new(text.as_bytes(), 1000);
        let mut next = || reader.next_item().expect("an mbox");
        assert_eq!(next(), Some(Item::TooLarge { octets: 300_008 }));
        assert_eq!(next(), Some(Item::TooLarge { octets: 1206 }));
        assert!(matches!(next(), Some(Item::Message(_, content)) if content == b"E: f\n"));
        assert_eq!(next(), None);
        let mut reader = Reader::new(io::repeat(b'x').take(1 << 30).chain(&b"\n"[..]), 1000);
        assert!(reader.next_item().is_err() && reader.buffer.len() < 1 << 20);
        let head = LINE.as_bytes();
        let mut reader = Reader::new(head.chain(io::repeat(b'x').take(1 << 24)), 1000);
        assert_eq!(reader.next_item().expect("read"), Some(Item::TooLarge { octets: 1 << 24 }));
        assert!(reader.buffer.capacity() < 1 << 20);
    }

    fn a_line() -> impl Strategy<Value = Vec<u8>> {
        let fixed = prop::sample::select(vec![
            "",
            "From ",
            "From a@b Thu Feb 13 15:31:30 2020",
            ">From x",
            ">>From",
            "Status: RO",
            "X-Status: A",
            "X-Keywords: a b",
            "Content-Length: 3",
            "X-IMAP: 1 2",
            " folded",
            "A: b",
            "\r",
            ">",
            "Fro",
            "x\r",
        ]);
        prop_oneof![4 => fixed.prop_map(|line| line.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..9)]
    }

    fn a_message() -> impl Strategy<Value = (Envelope, Vec<u8>)> {
        let keywords = prop::collection::vec("[!-~]{1,9}", 0..3);
        let date = prop::option::of(-1_000_000_000i64..200_000_000_000);
        let content = prop::collection::vec(a_line(), 0..7).prop_map(|lines| lines.join(&b'\n'));
        (any::<[bool; 6]>(), keywords, date, content).prop_map(|(set, mut keywords, date, content)| {
            let flags = SystemFlag::ALL.into_iter().zip(set).filter(|(_, set)| *set);
            let flags = flags.fold(Flags::NONE, |all, (flag, _)| all.with(flag));
            keywords.dedup_by(|a, b| a.eq_ignore_ascii_case(b));
            if keywords.len() == 3 && keywords[0].eq_ignore_ascii_case(&keywords[2]) {
                keywords.pop();
            }
            (Envelope { date, flags, keywords, recent: set[5] }, content)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(messages in prop::collection::vec(a_message(), 0..5), cut in 1usize..20) {
            let mut writer = Writer::new(Vec::new());
            for (envelope, content) in &messages {
                writer.begin(&sender(content), envelope).expect("written");
                for piece in content.chunks(cut) {
                    writer.push(piece).expect("written");
                }
                writer.end().expect("written");
            }
            let wanted: Vec<Item> = messages.into_iter().map(|(envelope, mut content)| {
                if !content.is_empty() && !content.ends_with(b"\n") {
                    content.push(b'\n');
                }
                let date = envelope.date.or(Some(0));
                Item::Message(Envelope { date, ..envelope }, content)
            }).collect();
            prop_assert_eq!(read(&writer.into_inner()), wanted);
        }

        #[test]
        fn nothing_that_is_read_makes_it_panic(lines in prop::collection::vec(a_line(), 0..30), max in 0u64..60) {
            let text = [b"From \n".to_vec(), lines.join(&b'\n')].concat();
            let octets: u64 = read_up_to(&text, max).iter().map(|item| match item {
                Item::Message(_, content) => { assert!(content.len() as u64 <= max); content.len() as u64 }
                Item::TooLarge { octets } => *octets,
            }).sum();
            prop_assert!(octets <= text.len() as u64);
        }
    }
}
