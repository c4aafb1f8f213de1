//! The mail that sessions begin with, and what is left of it at their end.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use facteur::message::fields::fields;
use facteur::message::fields::header_len;
use memchr::memmem;

use crate::common::vectors;
use crate::random::Random;

/// The mailboxes at the beginning, by their folder, with how many messages each gets.
const MAILBOXES: [(&str, usize); 6] =
    [("", 24), (".work", 14), (".work.deep", 9), (".Gr&APw-n", 7), (".odd", 8), (".void", 0)];

/// Keywords that the messages have at the beginning, by letter.
const KEYWORDS: [&str; 3] = ["$Forwarded", "work", "NonJunk"];

/// Messages to take from.
pub(crate) struct Pool {
    /// Other people's that both programs read alike, and a few of our own.
    all: Vec<Vec<u8>>,
    /// Of those, the ones whose text both find alike: headers in ASCII, addresses that
    /// are some, no messages in messages, no broken MIME.
    plain: Vec<Vec<u8>>,
}

impl Pool {
    /// Without the messages of these names; `None` where there are none.
    pub(crate) fn new(apart: &[&str]) -> Option<Self> {
        let mut all = vectors::messages()?;
        let mut place = 0;
        // The tests of ARC resemble each other.
        all.retain(|(name, message)| {
            place += 1;
            let usual = !apart.contains(&name.as_str()) && message.len() < 30_000 && !message.contains(&0);
            usual && (!name.starts_with("arc-") || place % 20 == 0)
        });
        all.extend(own().into_iter().map(|message| ("own".to_owned(), message)));
        let addressed = |message: &[u8]| {
            let mut named = fields(message).filter(|f| ["From", "To", "Cc"].iter().any(|name| f.is(name)));
            named.all(|field| field.value.contains(&b'@'))
        };
        let is_plain = |(name, message): &&(String, Vec<u8>)| {
            let header = &message[..header_len(message)];
            let text = message.to_ascii_lowercase();
            let nested = [&b"message/rfc822"[..], b"multipart/digest"].iter().any(|t| memmem::find(&text, t).is_some());
            !name.starts_with("malformed/") && header.is_ascii() && addressed(header) && !nested
        };
        let plain = all.iter().filter(is_plain).map(|(_, message)| message.clone()).collect();
        Some(Self { all: all.into_iter().map(|(_, message)| message).collect(), plain })
    }
}

/// Which of the messages a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mail {
    Plain,
    All,
}

fn own() -> Vec<Vec<u8>> {
    let long = format!("Subject: long lines\nX-Long: {}\n\n{}\nshort\n", "a ".repeat(3000), "words ".repeat(4000));
    let many: String = (0..200).map(|n| format!("X-Field-{n}: {n}\n")).collect();
    vec![
        Vec::new(),
        b"\n".to_vec(),
        b"\r\nonly a body".to_vec(),
        b"Subject: only a header\n".to_vec(),
        b"Subject: no line end".to_vec(),
        b"From: a@example.test\nTo: b@example.test\nSubject: CRLF and LF\r\n\r\nmixed\nline\r\nends\n".to_vec(),
        b"From: Gr\xfc\xdfe <raw@example.test>\nSubject: raw \xe4\xf6\xfc\n\nbody \xe4\xf6\xfc\n".to_vec(),
        "From: Jürgen <utf8@example.test>\nSubject: schöne Grüße ✉\n\nKörper\n".into(),
        long.into_bytes(),
        format!("{many}Subject: many fields\n\nbody\n").into_bytes(),
        b"Subject: Re: thread\nMessage-ID: <t2@x>\nReferences: <t1@x>\nDate: Tue, 2 Feb 2010 10:00:00 +0000\n\nsecond\n"
            .to_vec(),
        b"Subject: thread\nMessage-ID: <t1@x>\nDate: Mon, 1 Feb 2010 10:00:00 +0000\n\nfirst\n".to_vec(),
        b"Subject: Re: [list] Re: thread (fwd)\nMessage-ID: <t3@x>\nIn-Reply-To: <t2@x>\n\nthird\n".to_vec(),
        b"Content-Type: multipart/mixed; boundary=x\nSubject: parts\n\npreamble\n--x\n\none\n--x\n\
          Content-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/alternative; boundary=y\n\n\
          --y\n\ninner one\n--y\nContent-Type: text/html\n\n<p>inner two</p>\n--y--\n\n--x--\nepilogue\n"
            .to_vec(),
    ]
}

/// Lays out one Maildir. The same seed gives the same bytes, names, dates and flags.
pub(crate) fn lay_out(maildir: &Path, pool: &Pool, mail: Mail, seed: u64) {
    let pool = if mail == Mail::Plain { &pool.plain } else { &pool.all };
    let mut random = Random::new(seed ^ 0x6d61_696c);
    for (folder, count) in MAILBOXES {
        let path = if folder.is_empty() { maildir.to_owned() } else { maildir.join(folder) };
        for name in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(path.join(name)).expect("made");
        }
        if !folder.is_empty() {
            std::fs::write(path.join("maildirfolder"), b"").expect("written");
        }
        let mut list = format!("3 V1600000000 N{}\n", count + 1);
        for uid in 1..=count {
            let name = format!("15{uid:08}.M{uid}P1.host");
            let letters: String = "DFRSTabc".chars().filter(|_| random.chance(20)).collect();
            let file = path.join("cur").join(format!("{name}:2,{letters}"));
            std::fs::write(&file, &pool[random.below(pool.len())]).expect("written");
            // Days of some months of 2010, so that SINCE and its like find some.
            let seconds = 1_265_000_000 + 40_000 * random.below(200) as u64;
            let date = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            File::options().write(true).open(&file).and_then(|f| f.set_modified(date)).expect("dated");
            list += &format!("{uid} :{name}\n");
        }
        std::fs::write(path.join("dovecot-uidlist"), list).expect("written");
        let words: String = KEYWORDS.iter().enumerate().map(|(n, word)| format!("{n} {word}\n")).collect();
        std::fs::write(path.join("dovecot-keywords"), words).expect("written");
    }
    std::fs::write(maildir.join("subscriptions"), "V\t2\n\nwork\nGr&APw-n\ngone\n").expect("written");
}

/// What is in each folder: flags with the names of keywords, and bytes of its messages, sorted.
pub(crate) fn left(maildir: &Path) -> BTreeMap<String, Vec<(String, Vec<u8>)>> {
    let mut all = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![maildir.to_owned()];
    for entry in std::fs::read_dir(maildir).expect("listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name.starts_with('.') && path.join("cur").is_dir() {
            folders.push(path);
        }
    }
    for folder in folders {
        let words = keywords(&folder);
        let mut messages = Vec::new();
        for sub in ["cur", "new"] {
            for entry in std::fs::read_dir(folder.join(sub)).expect("listed") {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                messages.push((flags(&name, &words), std::fs::read(&path).expect("read")));
            }
        }
        messages.sort();
        let name = folder.strip_prefix(maildir).expect("below it").display().to_string();
        all.insert(name, messages);
    }
    all
}

fn keywords(folder: &Path) -> BTreeMap<char, String> {
    let text = std::fs::read_to_string(folder.join("dovecot-keywords")).unwrap_or_default();
    let slots = text.lines().filter_map(|line| line.split_once(' '));
    slots.filter_map(|(n, word)| Some((char::from(b'a' + n.parse::<u8>().ok()?), word.to_owned()))).collect()
}

fn flags(name: &str, words: &BTreeMap<char, String>) -> String {
    let letters = name.rsplit_once(":2,").map_or("", |(_, letters)| letters);
    let mut flags: Vec<String> =
        letters.chars().map(|l| words.get(&l).cloned().unwrap_or_else(|| l.to_string())).collect();
    flags.sort();
    flags.join(" ")
}
