//! Whether a message matches a search key (RFC 3501 §6.4.4): exact substrings, without case, over decoded text.
//!
//! Knows a message through [`Listed`], what is known of it without its file, and [`Candidate`], which reads the file only
//! when a key needs it. How texts are decoded and compared, [`crate::message::text`] says. As RFC 9051 §6.4.4 has it,
//! `BODY` looks at no header field but those of a message within, `TEXT` at those of the parts as well.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::mail::flags::Flags;
use crate::message::casemap::Needle;
use crate::message::fields::fields;
use crate::message::object_id::email_id;
use crate::message::object_id::thread_id;
use crate::message::sent::sent_day;
use crate::message::text::Finder;
use crate::message::text::Wanted;
use crate::message::text::field_has;
use crate::protocol::imap::syntax::search::Key;
use crate::protocol::imap::syntax::set::Ranges;

/// What is known of a message without a look at its file.
pub trait Listed {
    /// Its sequence number.
    fn number(&self) -> u32;
    /// Its UID.
    fn uid(&self) -> u32;
    /// Its flags.
    fn flags(&self) -> Flags;
    /// Whether the keyword of this name is set.
    fn has_keyword(&self, name: &str) -> bool;
    /// `\Recent`.
    fn is_recent(&self) -> bool;
    /// INTERNALDATE, seconds since 1970, where known.
    fn known_date(&self) -> Option<i64>;
    /// Octets on the wire, where known.
    fn known_size(&self) -> Option<u64>;
    /// When it last changed (RFC 7162).
    fn mod_sequence(&self) -> u64;
}

/// A message that may match, with its file.
pub trait Candidate: Listed {
    /// Why it cannot be read.
    type Error;
    /// INTERNALDATE, seconds since 1970.
    ///
    /// # Errors
    /// It cannot be found out.
    fn date(&mut self) -> Result<i64, Self::Error>;
    /// When it was saved in this mailbox, seconds since 1970; `None` where nothing tells.
    ///
    /// # Errors
    /// It cannot be found out.
    fn saved(&mut self) -> Result<Option<i64>, Self::Error>;
    /// Octets on the wire.
    ///
    /// # Errors
    /// It cannot be found out.
    fn size(&mut self) -> Result<u64, Self::Error>;
    /// Its header.
    ///
    /// # Errors
    /// It cannot be read.
    fn header(&mut self) -> Result<&[u8], Self::Error>;
    /// All of it.
    ///
    /// # Errors
    /// It cannot be read.
    fn message(&mut self) -> Result<&[u8], Self::Error>;
    /// Whether it may have the text, as far as can be said without its file; `true` where nothing can.
    fn may_have(&mut self, needle: &Needle) -> bool;
    /// Whether [`Candidate::keep_sieve`] does something.
    fn wants_sieve(&mut self) -> bool;
    /// Keeps a [`crate::message::sieve`] for the next search. An empty one says that there is none of this message.
    fn keep_sieve(&mut self, sieve: Vec<u8>);
}

/// What a search is relative to.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The largest sequence number; none where there are no messages.
    pub largest_number: Option<u32>,
    /// The largest UID.
    pub largest_uid: Option<u32>,
    /// UIDs that `$` means.
    pub saved: Ranges,
    /// Seconds since 1970.
    pub now: i64,
}

/// A search with its sets resolved and its texts prepared.
#[derive(Debug, Clone)]
pub struct Search {
    root: Node,
    /// Seconds since 1970, for `OLDER` and `YOUNGER`.
    now: i64,
    /// What `BODY` and `TEXT` look for, all together.
    texts: Vec<Wanted>,
}

#[derive(Debug, Clone)]
enum Node {
    And(Vec<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Sequence(Ranges),
    Uid(Ranges),
    /// A field's name, and what is looked for.
    Header(String, Box<Needle>),
    /// Which of [`Search::texts`].
    Text(usize),
    Key(Key),
}

/// What one thread needs to look at messages, one after the other; kept for its memory.
#[derive(Debug, Default)]
pub struct Scratch {
    finder: Finder,
    prepared: Vec<u8>,
}

impl Search {
    /// Ready for a mailbox.
    #[must_use]
    pub fn new(key: Key, scope: &Scope) -> Self {
        let mut texts = Vec::new();
        let root = resolve(key, scope, &mut texts);
        Self { root, texts, now: scope.now }
    }

    /// The same search at another time.
    pub fn set_now(&mut self, now: i64) {
        self.now = now;
    }

    /// Whether it finds other messages later although none has changed.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        let mut left = vec![&self.root];
        while let Some(node) = left.pop() {
            match node {
                Node::And(nodes) => left.extend(nodes),
                Node::Or(a, b) => left.extend([&**a, &**b]),
                Node::Not(node) => left.push(node),
                Node::Key(Key::Older(_) | Key::Younger(_)) => return true,
                _ => {}
            }
        }
        false
    }

    /// Makes of the sequence numbers that the search names the UIDs that they have now (RFC 5267 §4.3).
    pub fn pin(&mut self, uids_of: impl Fn(&Ranges) -> Ranges) {
        let mut left = vec![&mut self.root];
        while let Some(node) = left.pop() {
            match node {
                Node::And(nodes) => left.extend(nodes),
                Node::Or(a, b) => left.extend([&mut **a, &mut **b]),
                Node::Not(node) => left.push(node),
                Node::Sequence(numbers) => *node = Node::Uid(uids_of(numbers)),
                _ => {}
            }
        }
    }

    /// Whether the message matches, where that can be said without its file.
    pub fn matches_listed(&self, message: &impl Listed) -> Option<bool> {
        listed(&self.root, message, self.now)
    }

    /// Whether the message matches; anything, and soon, once `given_up` is set.
    ///
    /// # Errors
    /// What the candidate says.
    pub fn matches<C: Candidate>(
        &self,
        candidate: &mut C,
        scratch: &mut Scratch,
        given_up: &AtomicBool,
    ) -> Result<bool, C::Error> {
        Look { candidate, scratch, given_up, search: self, searched: false }.matches(&self.root)
    }
}

fn resolve(key: Key, scope: &Scope, texts: &mut Vec<Wanted>) -> Node {
    let mut text = |text: &str, in_header| {
        texts.push(Wanted { needle: Needle::new(text), in_header });
        Node::Text(texts.len() - 1)
    };
    match key {
        Key::And(keys) => {
            let mut nodes: Vec<Node> = keys.into_iter().map(|k| resolve(k, scope, texts)).collect();
            // Cheap keys first, so that files are read only for what they let pass.
            nodes.sort_by_key(cost);
            Node::And(nodes)
        }
        Key::Or(a, b) => {
            let (a, b) = (resolve(*a, scope, texts), resolve(*b, scope, texts));
            let (a, b) = if cost(&b) < cost(&a) { (b, a) } else { (a, b) };
            Node::Or(Box::new(a), Box::new(b))
        }
        Key::Not(key) => Node::Not(Box::new(resolve(*key, scope, texts))),
        // RFC 5182 §2.1: `$` is the same messages, of whichever numbers is spoken.
        Key::Sequence(set) | Key::Uid(set) if set.is_saved() => Node::Uid(scope.saved.clone()),
        Key::Sequence(set) => Node::Sequence(set.resolve(scope.largest_number)),
        Key::Uid(set) => Node::Uid(set.resolve(scope.largest_uid)),
        Key::Header(name, text) => Node::Header(name, Box::new(Needle::new(&text))),
        Key::Body(wanted) => text(&wanted, false),
        Key::Text(wanted) => text(&wanted, true),
        key => Node::Key(key),
    }
}

/// What it takes to decide: nothing, a look at the file, its header, all of it.
fn cost(node: &Node) -> u32 {
    match node {
        Node::And(nodes) => nodes.iter().map(cost).max().unwrap_or(0),
        Node::Or(a, b) => cost(a).max(cost(b)),
        Node::Not(node) => cost(node),
        Node::Sequence(_) | Node::Uid(_) => 0,
        Node::Header(..) => 2,
        Node::Text(_) => 3,
        Node::Key(key) => match key {
            Key::EmailId(_) => 3,
            Key::SentBefore(_) | Key::SentOn(_) | Key::SentSince(_) | Key::ThreadId(_) => 2,
            Key::Before(_)
            | Key::On(_)
            | Key::Since(_)
            | Key::Older(_)
            | Key::Younger(_)
            | Key::SavedBefore(_)
            | Key::SavedOn(_)
            | Key::SavedSince(_)
            | Key::Larger(_)
            | Key::Smaller(_) => 1,
            _ => 0,
        },
    }
}

/// RFC 3501 §6.4.4: dates disregard time and zone.
fn day(seconds: i64) -> i64 {
    seconds.div_euclid(86_400)
}

fn listed(node: &Node, m: &impl Listed, now: i64) -> Option<bool> {
    match node {
        Node::And(nodes) => {
            let mut all = Some(true);
            for node in nodes {
                match listed(node, m, now) {
                    Some(false) => return Some(false),
                    Some(true) => {}
                    None => all = None,
                }
            }
            all
        }
        Node::Or(a, b) => match (listed(a, m, now), listed(b, m, now)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Node::Not(node) => listed(node, m, now).map(|matches| !matches),
        Node::Sequence(ranges) => Some(ranges.contains(m.number())),
        Node::Uid(ranges) => Some(ranges.contains(m.uid())),
        Node::Header(..) | Node::Text(_) => None,
        Node::Key(key) => match key {
            Key::All => Some(true),
            Key::Flag(flag) => Some(m.flags().has(*flag)),
            Key::Keyword(name) => Some(m.has_keyword(name)),
            Key::Recent => Some(m.is_recent()),
            Key::ModSeq(least) => Some(m.mod_sequence() >= *least),
            Key::Before(_) | Key::On(_) | Key::Since(_) | Key::Older(_) | Key::Younger(_) => {
                m.known_date().map(|date| date_matches(key, date, now))
            }
            Key::Larger(_) | Key::Smaller(_) => m.known_size().map(|size| size_matches(key, size)),
            _ => None,
        },
    }
}

fn date_matches(key: &Key, date: i64, now: i64) -> bool {
    match key {
        Key::Before(d) | Key::SavedBefore(d) => day(date) < *d,
        Key::On(d) | Key::SavedOn(d) => day(date) == *d,
        Key::Since(d) | Key::SavedSince(d) => day(date) >= *d,
        // RFC 5032 §2: both ways the very second counts.
        Key::Older(seconds) => date <= now.saturating_sub(i64::from(*seconds)),
        Key::Younger(seconds) => date >= now.saturating_sub(i64::from(*seconds)),
        _ => false,
    }
}

fn size_matches(key: &Key, size: u64) -> bool {
    match key {
        Key::Larger(n) => size > *n,
        Key::Smaller(n) => size < *n,
        _ => false,
    }
}

/// A look at one message.
struct Look<'a, C> {
    candidate: &'a mut C,
    scratch: &'a mut Scratch,
    given_up: &'a AtomicBool,
    search: &'a Search,
    /// Whether `scratch` has what was found in this message.
    searched: bool,
}

impl<C: Candidate> Look<'_, C> {
    fn matches(&mut self, node: &Node) -> Result<bool, C::Error> {
        Ok(match node {
            Node::And(nodes) => {
                for node in nodes {
                    if !self.matches(node)? {
                        return Ok(false);
                    }
                }
                true
            }
            Node::Or(a, b) => self.matches(a)? || self.matches(b)?,
            Node::Not(node) => !self.matches(node)?,
            Node::Header(name, needle) => field_has(self.candidate.header()?, name, needle, &mut self.scratch.prepared),
            Node::Text(n) => self.text(*n)?,
            Node::Key(_) | Node::Sequence(_) | Node::Uid(_) => {
                match (listed(node, self.candidate, self.search.now), node) {
                    (Some(known), _) => known,
                    (None, Node::Key(key)) => self.key(key)?,
                    (None, _) => false,
                }
            }
        })
    }

    fn read_texts(&mut self) -> Result<(), C::Error> {
        let texts = &self.search.texts;
        if !self.candidate.wants_sieve() {
            self.scratch.finder.find(self.candidate.message()?, texts, self.given_up);
            return Ok(());
        }
        let sieve = self.scratch.finder.find_all(self.candidate.message()?, texts, self.given_up);
        if !self.given_up.load(Ordering::Relaxed) {
            self.candidate.keep_sieve(sieve.unwrap_or_default());
        }
        Ok(())
    }

    fn text(&mut self, n: usize) -> Result<bool, C::Error> {
        if !self.searched {
            if !self.candidate.may_have(&self.search.texts[n].needle) {
                return Ok(false);
            }
            self.read_texts()?;
            self.searched = true;
        }
        Ok(self.scratch.finder.has(n))
    }

    fn key(&mut self, key: &Key) -> Result<bool, C::Error> {
        Ok(match key {
            Key::Before(_) | Key::On(_) | Key::Since(_) | Key::Older(_) | Key::Younger(_) => {
                date_matches(key, self.candidate.date()?, self.search.now)
            }
            Key::SavedBefore(_) | Key::SavedOn(_) | Key::SavedSince(_) => {
                // RFC 8514 §4.3: INTERNALDATE in its place.
                let date = match self.candidate.saved()? {
                    Some(saved) => saved,
                    None => self.candidate.date()?,
                };
                date_matches(key, date, self.search.now)
            }
            Key::Larger(_) | Key::Smaller(_) => size_matches(key, self.candidate.size()?),
            Key::EmailId(wanted) => {
                let date = self.candidate.date()?;
                email_id(self.candidate.message()?, date).is_ok_and(|id| id == *wanted)
            }
            Key::ThreadId(wanted) => thread_id(self.candidate.header()?).is_some_and(|id| id == *wanted),
            Key::SentBefore(d) => self.sent_day()?.is_some_and(|day| day < *d),
            Key::SentOn(d) => self.sent_day()?.is_some_and(|day| day == *d),
            Key::SentSince(d) => self.sent_day()?.is_some_and(|day| day >= *d),
            // Always known, or resolved before.
            _ => false,
        })
    }

    fn sent_day(&mut self) -> Result<Option<i64>, C::Error> {
        let header = self.candidate.header()?;
        Ok(fields(header).find(|f| f.is("Date")).and_then(|f| sent_day(f.value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::flags::SystemFlag;
    use crate::message::fields::header_len;
    use crate::message::sieve;
    use crate::protocol::imap::syntax::cursor::Cursor;
    use crate::protocol::imap::syntax::search::search_keys;

    struct One {
        message: Vec<u8>,
        reads: u32,
        saved: Option<i64>,
        sieve: Option<Vec<u8>>,
    }

    impl One {
        fn new(message: &[u8]) -> Self {
            Self { message: message.to_vec(), reads: 0, saved: Some(20_780 * 86_400), sieve: None }
        }
    }

    impl Listed for One {
        fn number(&self) -> u32 {
            3
        }
        fn uid(&self) -> u32 {
            30
        }
        fn flags(&self) -> Flags {
            Flags::NONE.with(SystemFlag::Seen)
        }
        fn has_keyword(&self, name: &str) -> bool {
            name.eq_ignore_ascii_case("$Forwarded")
        }
        fn is_recent(&self) -> bool {
            false
        }
        fn known_date(&self) -> Option<i64> {
            None
        }
        fn known_size(&self) -> Option<u64> {
            Some(100)
        }
        fn mod_sequence(&self) -> u64 {
            77
        }
    }

    impl Candidate for One {
        type Error = std::convert::Infallible;
        fn date(&mut self) -> Result<i64, Self::Error> {
            Ok(20_778 * 86_400 + 5)
        }
        fn saved(&mut self) -> Result<Option<i64>, Self::Error> {
            Ok(self.saved)
        }
        fn size(&mut self) -> Result<u64, Self::Error> {
            Ok(100)
        }
        fn header(&mut self) -> Result<&[u8], Self::Error> {
            self.reads += 1;
            Ok(&self.message[..header_len(&self.message)])
        }
        fn may_have(&mut self, needle: &Needle) -> bool {
            self.sieve.as_ref().is_none_or(|sieve| sieve::may_have(sieve, needle))
        }
        fn wants_sieve(&mut self) -> bool {
            self.sieve.is_none()
        }
        fn keep_sieve(&mut self, sieve: Vec<u8>) {
            self.sieve = Some(sieve);
        }
        fn message(&mut self) -> Result<&[u8], Self::Error> {
            self.reads += 1;
            Ok(&self.message)
        }
    }

    const MESSAGE: &str = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an\n alle\nDate: Fri, 20 Nov 2026 23:00:00 -0800\n\
        From: A <a@example.com>\nX-Empty:\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; \
        charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nK=F6ln am Rh=\nein\n--b\nContent-Type: \
        application/octet-stream; name=paper.pdf\n\nneedle\n--b--\n";

    fn search(keys: &str) -> Search {
        let key = search_keys(&mut Cursor::new(keys.as_bytes(), 50)).expect(keys);
        let saved = Ranges::from_ascending([30]);
        Search::new(key, &Scope { largest_number: Some(3), largest_uid: Some(30), saved, now: 20_778 * 86_400 + 105 })
    }

    #[test]
    fn searches() {
        for (keys, expected) in [
            ("ALL", true),
            ("SEEN", true),
            ("UNSEEN", false),
            ("NEW", false),
            ("OLD", true),
            ("KEYWORD $forwarded", true),
            ("UNKEYWORD x", true),
            ("3", true),
            ("4:*", true),
            ("1:2", false),
            ("UID 30", true),
            ("UID 31:*", true),
            ("ON 21-Nov-2026", true),
            ("BEFORE 21-Nov-2026", false),
            ("SINCE 21-Nov-2026", true),
            ("OLDER 100", true),
            ("OLDER 101", false),
            ("YOUNGER 100", true),
            ("YOUNGER 99", false),
            ("SAVEDON 23-Nov-2026", true),
            ("SAVEDBEFORE 23-Nov-2026", false),
            ("SAVEDSINCE 24-Nov-2026", false),
            ("MODSEQ 77", true),
            ("MODSEQ \"/flags/x\" all 78", false),
            ("$", true),
            ("UID $", true),
            ("NOT $", false),
            ("SENTON 20-Nov-2026", true),
            ("SENTSINCE 21-Nov-2026", false),
            ("LARGER 99 SMALLER 101", true),
            ("LARGER 100", false),
            ("SUBJECT \"grüsse\"", false),
            ("SUBJECT \"GRÜßE AN alle\"", true),
            ("FROM EXAMPLE", true),
            ("TO a", false),
            ("HEADER X-Empty \"\"", true),
            ("HEADER X-None \"\"", false),
            ("BODY \"köln am rhein\"", true),
            ("BODY paper.pdf", false),
            ("TEXT paper.pdf", true),
            ("TEXT \"subject: GRÜ\"", true),
            ("OR BODY nothing BODY köln", true),
            ("BODY nothing BODY köln", false),
            ("BODY needle", false),
            ("BODY alle", false),
            ("TEXT alle", true),
            ("TEXT \"\"", true),
            ("OR TO a FROM a", true),
            ("NOT OR TO a FROM a", false),
            ("(SEEN FROM a) NOT TO a", true),
        ] {
            let search = search(keys);
            let mut one = One::new(MESSAGE.as_bytes());
            // The second time with the sieve of the first.
            for round in 1..=2 {
                let matches = search.matches(&mut one, &mut Scratch::default(), &AtomicBool::new(false));
                assert_eq!(matches, Ok(expected), "{keys}, {round}");
            }
            let listed = search.matches_listed(&One::new(b""));
            assert!(listed.is_none_or(|known| known == expected), "{keys}");
        }
    }

    #[test]
    fn without_a_save_date_the_internal_date_counts() {
        let mut one = One { saved: None, ..One::new(b"") };
        let found = search("SAVEDON 21-Nov-2026").matches(&mut one, &mut Scratch::default(), &AtomicBool::new(false));
        assert_eq!(found, Ok(true));
    }

    #[test]
    fn ids_are_case_sensitive_and_of_the_whole_message() {
        let message = b"Message-ID: <a@b>\n\ntext\n";
        let email = email_id(&message[..], 20_778 * 86_400 + 5).expect("memory");
        let thread = thread_id(message).expect("has one");
        for (keys, expected) in [
            (format!("EMAILID {email}"), true),
            (format!("EMAILID {}", email.to_lowercase()), false),
            (format!("EMAILID {thread}"), false),
            (format!("THREADID {thread}"), true),
            (format!("NOT THREADID {email}"), true),
        ] {
            let found = search(&keys).matches(&mut One::new(message), &mut Scratch::default(), &AtomicBool::new(false));
            assert_eq!(found, Ok(expected), "{keys}");
        }
    }

    #[test]
    fn what_is_pinned_follows_no_number() {
        let mut search = search("OR 3 NOT (1:2 SEEN)");
        search.pin(
            |numbers| if numbers.contains(3) { Ranges::from_ascending([31]) } else { Ranges::from_ascending([30]) },
        );
        assert_eq!(search.matches_listed(&One::new(b"")), Some(false));
    }

    #[test]
    fn files_are_read_only_where_needed() {
        for (keys, known, reads) in [
            ("BODY x UNSEEN", Some(false), 0),
            ("OR BODY x SEEN", Some(true), 0),
            ("NOT (UNSEEN BODY x)", Some(true), 0),
            ("OR (BODY x SMALLER 5) UNSEEN", Some(false), 0),
            ("ALL 3 LARGER 5", Some(true), 0),
            ("NOT BODY x", None, 1),
            ("BODY x BODY y TEXT z", None, 1),
            ("BODY x FROM nobody", None, 1),
            ("FROM a BODY x", None, 2),
            ("SINCE 1-Jan-2001", None, 0),
        ] {
            let (search, mut one) = (search(keys), One::new(MESSAGE.as_bytes()));
            assert_eq!(search.matches_listed(&one), known, "{keys}");
            search.matches(&mut one, &mut Scratch::default(), &AtomicBool::new(false)).expect("memory");
            assert_eq!(one.reads, reads, "{keys}");
        }
    }
}
