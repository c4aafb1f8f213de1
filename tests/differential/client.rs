//! One client of one of the two programs: its view of the selected mailbox, and what each command brought as facts that
//! can be compared with those of the other program.
//!
//! Left out are tags, words for people, `\Recent`, CAPABILITY, the values of UIDVALIDITY and mod-sequences, and times
//! of today; the order of untagged answers, flags and attributes does not count (RFC 3501 §7).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::common::imap::Imap;
use crate::common::value::Value;
use crate::common::value::values;

/// What a command brought, by what it is about.
pub(crate) type Facts = BTreeMap<String, Value>;

/// A message as it is numbered in a view.
#[derive(Debug, Clone)]
struct Entry {
    /// The same in both programs: how many came before it since the mailbox was selected.
    number: usize,
    uid: Option<u32>,
}

/// A session.
pub(crate) struct Client {
    imap: Imap,
    view: Vec<Entry>,
    counted: usize,
    modseqs: BTreeMap<u32, u64>,
    highest: u64,
    /// Whether expunged messages are told by UID.
    by_uid: bool,
    /// The flags of each message as they were last told.
    pub(crate) flags: BTreeMap<usize, Value>,
    /// The keywords that FLAGS has told of.
    keywords: BTreeSet<Value>,
    /// What was lost in the current command.
    expunged: BTreeSet<usize>,
    pub(crate) selected: Option<String>,
    /// The lines of the last command.
    pub(crate) said: Vec<String>,
}

impl Client {
    pub(crate) fn new(imap: Imap) -> Self {
        Self {
            imap,
            view: Vec::new(),
            counted: 0,
            modseqs: BTreeMap::new(),
            highest: 1,
            by_uid: false,
            flags: BTreeMap::new(),
            keywords: BTreeSet::new(),
            expunged: BTreeSet::new(),
            selected: None,
            said: Vec::new(),
        }
    }

    /// How many messages it sees.
    pub(crate) fn size(&self) -> usize {
        self.view.len()
    }

    /// Runs a command to its end. `%H%` stands for the highest mod-sequence at SELECT, `%H1%` for the
    /// next, `%n%` for that of UID n.
    pub(crate) fn run(&mut self, command: &[u8]) -> Facts {
        let command = self.with_modseqs(command);
        let (untagged, tagged) = self.ask(&command);
        self.said = untagged.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        let Some(tagged) = tagged else {
            let words = self.said.last().map_or("nothing", |last| last.trim_start_matches("* BYE "));
            return Facts::from([("closed".to_owned(), Value::Text(words.as_bytes().to_vec()))]);
        };
        self.said.push(tagged.clone());
        let selecting = mailbox_selected(&command);
        let leaves = selecting.is_some() || is_word(&command, "CLOSE") || is_word(&command, "UNSELECT");
        if leaves && !tagged.starts_with("BAD") {
            self.selected = None;
            self.view.clear();
            self.counted = 0;
            self.modseqs.clear();
            self.flags.clear();
            self.keywords.clear();
        }
        if String::from_utf8_lossy(&command).contains("FLAGS.SILENT") {
            // Whatever they are now, it is not told.
            self.flags.clear();
        }
        self.expunged.clear();
        let mut facts = Facts::new();
        for line in &untagged {
            self.untagged(line, &mut facts);
        }
        if tagged.starts_with("OK") && selecting.is_some() {
            self.selected = selecting;
            self.learn(&mut facts);
        } else if self.view.iter().any(|entry| entry.uid.is_none()) {
            self.learn(&mut facts);
        }
        self.status("tagged", &tagged, &mut facts);
        if !self.expunged.is_empty() && numbers_stand(&command) {
            facts.insert("expunged where numbers must not move".to_owned(), Value::Atom(String::new()));
        }
        if !self.expunged.is_empty() {
            let mut gone: Vec<Value> = self.expunged.iter().map(|n| Value::Atom(n.to_string())).collect();
            gone.sort();
            facts.insert("expunged".to_owned(), Value::List(gone));
        }
        facts.insert("counted".to_owned(), Value::Atom(self.counted.to_string()));
        facts
    }

    /// The answers to a command, the tagged one without its tag; `None` for it where the server has closed.
    fn ask(&mut self, command: &[u8]) -> (Vec<Vec<u8>>, Option<String>) {
        let tag = self.imap.tag();
        self.imap.line.send(&[tag.as_bytes(), b" ", command, b"\r\n"].concat());
        let mut untagged = Vec::new();
        while let Some(answer) = self.imap.answer() {
            match answer.strip_prefix(format!("{tag} ").as_bytes()) {
                Some(rest) => return (untagged, Some(String::from_utf8_lossy(rest).into_owned())),
                None => untagged.push(answer),
            }
        }
        (untagged, None)
    }

    /// Learns the UIDs and flags of all messages in view.
    fn learn(&mut self, facts: &mut Facts) {
        let (untagged, _) = self.ask(b"UID FETCH 1:* (FLAGS)");
        for line in &untagged {
            // Of the answers only news are facts.
            let mut brought = Facts::new();
            self.untagged(line, &mut brought);
            facts.extend(brought.into_iter().filter(|(key, _)| !key.starts_with("message ")));
        }
    }

    /// What a command brought and a NOOP after it.
    pub(crate) fn with_news(&mut self, mut facts: Facts) -> Facts {
        for (key, value) in self.run(b"NOOP") {
            match facts.get_mut(&key) {
                _ if key.starts_with("tagged ") => {}
                Some(Value::List(before)) if key == "expunged" => {
                    before.extend_from_slice(value.items());
                    before.sort();
                }
                _ => drop(facts.insert(key, value)),
            }
        }
        facts
    }

    fn with_modseqs(&self, command: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut pieces = command.split(|b| *b == b'%');
        out.extend_from_slice(pieces.next().unwrap_or_default());
        while let Some(piece) = pieces.next() {
            let name = String::from_utf8_lossy(piece);
            let modseq = match name.parse::<u32>() {
                _ if name == "H" => Some(self.highest),
                _ if name == "H1" => Some(self.highest + 1),
                Ok(uid) => Some(self.modseqs.get(&uid).copied().unwrap_or(self.highest)),
                Err(_) => None,
            };
            match modseq {
                Some(modseq) => {
                    out.extend_from_slice(modseq.to_string().as_bytes());
                    out.extend_from_slice(pieces.next().unwrap_or_default());
                }
                None => {
                    out.push(b'%');
                    out.extend_from_slice(piece);
                }
            }
        }
        out
    }

    fn untagged(&mut self, line: &[u8], facts: &mut Facts) {
        let text = String::from_utf8_lossy(line).into_owned();
        let rest = text.strip_prefix("* ").unwrap_or(&text);
        if ["OK ", "NO ", "BAD ", "BYE "].iter().any(|status| rest.starts_with(status)) {
            return self.status("untagged", rest, facts);
        }
        if !text.starts_with("* ") {
            facts.insert(format!("not untagged: {text}"), Value::Atom(String::new()));
            return;
        }
        let all = values(line);
        match &all[1..] {
            [Value::Atom(number), Value::Atom(name), data @ ..] if number.bytes().all(|b| b.is_ascii_digit()) => {
                self.numbered(number.parse().expect("digits"), name, data, facts);
            }
            [Value::Atom(name), data @ ..] => self.named(name, data, facts),
            other => panic!("{other:?}"),
        }
    }

    fn numbered(&mut self, number: usize, name: &str, data: &[Value], facts: &mut Facts) {
        match name {
            "EXISTS" => {
                assert!(number >= self.view.len(), "{number} EXISTS with {} messages", self.view.len());
                while self.view.len() < number {
                    self.counted += 1;
                    self.view.push(Entry { number: self.counted, uid: None });
                }
            }
            "EXPUNGE" => {
                assert!((1..=self.view.len()).contains(&number), "{number} EXPUNGE of {}", self.view.len());
                self.expunged.insert(self.view.remove(number - 1).number);
            }
            "FETCH" => {
                let entry = self.view.get_mut(number - 1).unwrap_or_else(|| panic!("FETCH of {number}"));
                for pair in data[0].items().chunks(2) {
                    let Value::Atom(item) = &pair[0] else { panic!("{pair:?}") };
                    if item == "UID" {
                        entry.uid = pair[1].to_string().parse().ok();
                    }
                    let value = fetched(item, &pair[1]);
                    if item == "FLAGS" {
                        let is_told =
                            |flag: &&Value| flag.to_string().starts_with('\\') || self.keywords.contains(flag);
                        if let Some(untold) = value.items().iter().find(|flag| !is_told(flag)) {
                            facts.insert("a keyword before FLAGS told of it".to_owned(), untold.clone());
                        }
                        self.flags.insert(entry.number, value.clone());
                    }
                    facts.insert(format!("message {} {}", entry.number, item.to_uppercase()), value);
                }
                if let Some(uid) = entry.uid
                    && let Some(pair) = data[0].items().chunks(2).find(|pair| pair[0].is("MODSEQ"))
                {
                    let modseq = pair[1].items()[0].to_string().parse().expect("a mod-sequence");
                    self.modseqs.insert(uid, modseq);
                }
            }
            "RECENT" => {}
            other => panic!("* {number} {other}"),
        }
    }

    fn named(&mut self, name: &str, data: &[Value], facts: &mut Facts) {
        let key = name.to_uppercase();
        match key.as_str() {
            "CAPABILITY" => {}
            "FLAGS" => {
                self.keywords.extend(data[0].items().iter().cloned());
                facts.insert(key, sorted_flags(&data[0]));
            }
            "SEARCH" => {
                let with_modseq = data.last().is_some_and(|last| !last.items().is_empty());
                let numbers = data.iter().filter(|value| value.items().is_empty());
                let mut numbers: Vec<u32> = numbers.map(|value| value.to_string().parse().expect("a number")).collect();
                numbers.sort_unstable();
                facts.insert(format!("SEARCH modseq {with_modseq}"), Value::Atom(format!("{numbers:?}")));
            }
            "ESEARCH" => {
                let data = if data.first().is_some_and(|first| !first.items().is_empty()) { &data[1..] } else { data };
                let uid = data.first().is_some_and(|first| first.is("UID"));
                facts.insert(format!("ESEARCH uid {uid}"), Value::Atom(String::new()));
                for pair in data[usize::from(uid)..].chunks(2) {
                    facts.insert(format!("ESEARCH {}", pair[0]), normal(&pair[0], &pair[1]));
                }
            }
            "LIST" | "LSUB" => {
                let [attributes, separator, name, more @ ..] = data else { panic!("{data:?}") };
                let value = Value::List(vec![sorted_flags(attributes), separator.clone(), Value::List(more.to_vec())]);
                facts.insert(format!("{key} {}", string(name)), value);
            }
            "ENABLED" => {
                self.by_uid |= data.iter().any(|name| name.is("QRESYNC"));
                facts.insert(key, Value::List(data.to_vec()));
            }
            "STATUS" => {
                for pair in data[1].items().chunks(2) {
                    facts.insert(format!("STATUS {} {}", string(&data[0]), pair[0]), normal(&pair[0], &pair[1]));
                }
            }
            "VANISHED" => {
                let earlier = data.len() > 1;
                let uids = set(&data[data.len() - 1].to_string());
                if earlier {
                    facts.insert("VANISHED (EARLIER)".to_owned(), Value::Atom(format!("{uids:?}")));
                    return;
                }
                for uid in uids {
                    let at = self.view.iter().position(|entry| entry.uid == Some(uid));
                    let at = at.unwrap_or_else(|| panic!("UID {uid} vanished and was not there: {:?}", self.view));
                    self.expunged.insert(self.view.remove(at).number);
                }
            }
            _ => {
                facts.insert(key, Value::List(data.to_vec()));
            }
        }
    }

    /// A status answer: its condition and the name of its code, of some the content.
    fn status(&mut self, key: &str, text: &str, facts: &mut Facts) {
        let condition = text.split(' ').next().unwrap_or_default().to_owned();
        let rest = text[condition.len()..].trim_start();
        let Some((code, _)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
            let words = if key == "tagged" { "" } else { rest };
            facts.insert(format!("{key} {words}"), Value::Atom(condition));
            return;
        };
        let (name, content) = code.split_once(' ').unwrap_or((code, ""));
        // Only that of SELECT: of others the programs tell different ones.
        if name == "HIGHESTMODSEQ" && self.selected.is_none() && key == "untagged" {
            self.highest = content.parse().expect("a mod-sequence");
        }
        let content = match name {
            "UNSEEN" | "UIDNEXT" => Value::Atom(content.to_owned()),
            "PERMANENTFLAGS" => sorted_flags(&values(content.as_bytes())[0]),
            "APPENDUID" => Value::Atom(format!("{:?}", set(content.split_once(' ').map_or("", |(_, uids)| uids)))),
            "COPYUID" => copied(content),
            "MODIFIED" => Value::Atom(format!("{:?}", set(content))),
            "BADCHARSET" | "CAPABILITY" | "UIDVALIDITY" | "HIGHESTMODSEQ" => Value::Atom(String::new()),
            _ => Value::Atom(content.to_owned()),
        };
        if key == "tagged" {
            let told = Value::List(vec![Value::Atom(condition), Value::Atom(name.to_owned()), content]);
            facts.insert("tagged ".to_owned(), told);
        } else {
            facts.insert(format!("{condition} [{name}]"), content);
        }
    }
}

fn is_word(command: &[u8], word: &str) -> bool {
    command.eq_ignore_ascii_case(word.as_bytes())
}

/// Whether the numbers of messages must not change while a command runs (RFC 3501 §7.4.1).
fn numbers_stand(command: &[u8]) -> bool {
    [&b"FETCH "[..], b"STORE ", b"SEARCH "].iter().any(|verb| command.starts_with(verb))
}

/// The mailbox that a command selects.
fn mailbox_selected(command: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(command).into_owned();
    let (verb, rest) = text.split_once(' ')?;
    let name = rest.split(' ').next().unwrap_or_default().trim_matches('"').to_owned();
    ["SELECT", "EXAMINE"].iter().any(|v| verb.eq_ignore_ascii_case(v)).then_some(name)
}

/// A value of FETCH without what differs from run to run.
fn fetched(item: &str, value: &Value) -> Value {
    match item.to_uppercase().as_str() {
        "FLAGS" => sorted_flags(value),
        "MODSEQ" => Value::Atom("some".to_owned()),
        "INTERNALDATE" => match value {
            Value::Text(date) if !date.windows(6).any(|w| w == b"-2010 " || w == b"-2009 ") => {
                Value::Atom("now".to_owned())
            }
            date => date.clone(),
        },
        _ => value.clone(),
    }
}

/// A value of STATUS or ESEARCH likewise.
fn normal(name: &Value, value: &Value) -> Value {
    let name = name.to_string().to_uppercase();
    match name.as_str() {
        "UIDVALIDITY" | "HIGHESTMODSEQ" | "MODSEQ" | "RECENT" => Value::Atom("some".to_owned()),
        "ALL" => Value::Atom(format!("{:?}", set(&value.to_string()))),
        _ => value.clone(),
    }
}

fn sorted_flags(value: &Value) -> Value {
    let mut flags: Vec<Value> = value.items().iter().filter(|flag| !flag.is("\\Recent")).cloned().collect();
    flags.sort();
    Value::List(flags)
}

fn string(value: &Value) -> String {
    match value {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        other => other.to_string(),
    }
}

/// The numbers of a set, in order.
fn set(text: &str) -> Vec<u32> {
    let mut all = in_order(text);
    all.sort_unstable();
    all
}

fn in_order(text: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{text:?} is no number"));
    let range = |range: &str| match range.split_once(':') {
        Some((from, to)) if number(from) > number(to) => (number(to)..=number(from)).rev().collect(),
        Some((from, to)) => (number(from)..=number(to)).collect::<Vec<u32>>(),
        None => vec![number(range)],
    };
    text.split(',').filter(|part| !part.is_empty()).flat_map(range).collect()
}

/// Which UID became which.
fn copied(content: &str) -> Value {
    let mut words = content.split(' ').skip(1);
    let (from, to) = (in_order(words.next().unwrap_or_default()), in_order(words.next().unwrap_or_default()));
    let pairs: BTreeMap<u32, u32> = from.into_iter().zip(to).collect();
    Value::Atom(format!("{pairs:?}"))
}
