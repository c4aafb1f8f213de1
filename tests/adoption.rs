//! A tree of mail goes from Dovecot to Facteur and back, or the other way, and nobody who looks at it by IMAP or POP3
//! can tell: names, subscriptions, UIDs, flags, keywords, dates, sizes and bodies stay.
//!
//! The Dovecot is that of this machine; without one these tests say so and pass.

mod common;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use common::dovecot;
use common::dovecot::Dovecot;
use common::imap::Imap;
use common::pop3::Pop3;
use common::server::Server;
use facteur::mail::mailbox::escape_dots;
use facteur::mail::utf7;

/// Messages in each of the large mailboxes.
const MESSAGES: usize = 1000;

/// Those of them that are dropped into `new/` as a delivery agent would.
const DROPPED: usize = 50;

/// Messages sent ahead of their answers.
const AHEAD: usize = 50;

/// The user whose mail it is; the name at both servers.
const USER: &str = "alice";

/// The large mailboxes. A dot cannot be part of a name in Dovecot; see `odd_names_go_both_ways`.
fn large() -> Vec<String> {
    [
        "INBOX",
        "R&D",
        "a b  c/Entwürfe & Ähnliches",
        "台北/日本語",
        "*",
        "100%/tief/er/noch",
        "&AGE-",
        "back\\slash\\2E",
        "cur",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["x".repeat(240)])
    .collect()
}

/// Mailboxes with little in them.
const SMALL: [&str; 6] = ["INBOX/Sub", "R&D/new", "*/%", "tmp", "subscriptions", "Sent"];

/// One of the two programs, with an open tree.
enum Program {
    Dovecot(Dovecot),
    Facteur(Box<Server>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dovecot,
    Facteur,
}

impl Program {
    fn start(kind: Kind, tree: &Path) -> Self {
        Self::start_with(kind, tree, "", "", "")
    }

    /// With more settings of Dovecot, more of `[storage]`, and more sections.
    fn start_with(kind: Kind, tree: &Path, settings: &str, storage: &str, sections: &str) -> Self {
        match kind {
            Kind::Dovecot => {
                // Facteur, run by root here, leaves its files to root.
                dovecot::give(tree);
                Self::Dovecot(Dovecot::start(&dovecot::location(tree), settings))
            }
            Kind::Facteur => {
                let storage = format!("maildir = \"{}/{{user}}\"\n{storage}", tree.display());
                Self::Facteur(Box::new(Server::serve_stored(&storage, sections)))
            }
        }
    }

    fn imap(&self) -> Imap {
        match self {
            Self::Dovecot(dovecot) => dovecot.imap(USER),
            Self::Facteur(server) => server.imap(USER),
        }
    }

    fn pop3(&self) -> Pop3 {
        match self {
            Self::Dovecot(dovecot) => dovecot.pop3(USER),
            Self::Facteur(server) => server.pop3(USER),
        }
    }

    fn stop(self) {
        match self {
            Self::Dovecot(dovecot) => dovecot.stop(),
            Self::Facteur(mut server) => assert!(server.terminate().success()),
        }
    }
}

/// A name as an argument of a command.
fn quoted(name: &str) -> String {
    format!("\"{}\"", utf7::encode(name).replace('\\', "\\\\").replace('"', "\\\""))
}

/// Where the folder of a mailbox lies in Maildir++.
fn folder(maildir: &Path, name: &str) -> PathBuf {
    if name == "INBOX" {
        return maildir.to_owned();
    }
    let components: Vec<String> = name.split('/').map(|c| escape_dots(&utf7::encode(c))).collect();
    maildir.join(format!(".{}", components.join(".")))
}

/// The mailbox name at the end of a LIST or LSUB answer, decoded.
fn name_of(line: &[u8]) -> String {
    let text = String::from_utf8(line.to_vec()).expect("names are modified UTF-7");
    // Behind the attributes and the separator in its quotes.
    let rest = &text[text.find(") \"").expect("a separator") + 6..];
    let encoded = if let Some(inner) = rest.strip_prefix('"') {
        let inner = inner.strip_suffix('"').expect("quoted");
        inner.replace("\\\"", "\"").replace("\\\\", "\\")
    } else if rest.starts_with('{') {
        rest.split_once("\r\n").expect("a literal").1.to_owned()
    } else {
        rest.to_owned()
    };
    utf7::decode(&encoded).unwrap_or_else(|| panic!("{encoded:?} is no modified UTF-7"))
}

/// A message that is a function of its mailbox and number: sizes, line ends, octets above 127, folded headers.
fn message(mailbox: usize, n: usize) -> Vec<u8> {
    let end = if n.is_multiple_of(3) { "\n" } else { "\r\n" };
    let mut text = format!(
        "From: =?utf-8?q?J=C3=BCrgen?= <j{mailbox}@example.test>{end}To: alice@example.test{end}\
         Subject: message {n} of{end}\tmailbox {mailbox}{end}Message-ID: <{mailbox}.{n}@example.test>{end}\
         Date: Mon, {:02} Mar 2019 10:11:12 +0100{end}",
        n % 28 + 1
    )
    .into_bytes();
    if n.is_multiple_of(4) {
        text.extend_from_slice(b"X-Raw: Gr\xfc\xdfe \xf0\x9f\x93\xac");
        text.extend_from_slice(end.as_bytes());
    }
    text.extend_from_slice(end.as_bytes());
    let lines = n * n % 97;
    for line in 0..lines {
        text.extend_from_slice(format!("line {line} ").as_bytes());
        text.extend_from_slice("äß€ ".repeat(line % 9).as_bytes());
        text.extend_from_slice(end.as_bytes());
    }
    if n.is_multiple_of(5) {
        // No end of line at the end.
        text.extend_from_slice(b"the end");
    }
    text
}

/// Keywords of a mailbox: the same words in other slots.
fn keywords(mailbox: usize) -> Vec<&'static str> {
    let mut all = ["$Forwarded", "NonJunk", "$Label1", "work-2", "To_Do", "$MDNSent", "later"];
    all.rotate_left(mailbox % 7);
    all[..3 + mailbox % 4].to_vec()
}

/// Flags of a message as APPEND gives them; some have none.
fn flags(mailbox: usize, n: usize) -> String {
    let system = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "\\Deleted"];
    let mut flags: Vec<&str> = (0..5).filter(|bit| ((n % 37) >> bit) & 1 == 1).map(|bit| system[bit]).collect();
    let words = keywords(mailbox);
    flags.extend((0..words.len()).filter(|bit| ((n % 41) >> bit) & 1 == 1).map(|bit| words[bit]));
    if flags.is_empty() { String::new() } else { format!("({}) ", flags.join(" ")) }
}

/// Many APPENDs, sent without waiting for each.
fn append_all(imap: &mut Imap, name: &str, messages: impl Iterator<Item = (String, Vec<u8>)>) {
    let mut waiting = Vec::new();
    for (options, text) in messages {
        let tag = imap.tag();
        let mut command = format!("{tag} APPEND {} {options}{{{}+}}\r\n", quoted(name), text.len()).into_bytes();
        command.extend_from_slice(&text);
        command.extend_from_slice(b"\r\n");
        imap.line.send(&command);
        waiting.push(tag);
        if waiting.len() >= AHEAD {
            answered(imap, &mut waiting);
        }
    }
    answered(imap, &mut waiting);
}

fn answered(imap: &mut Imap, waiting: &mut Vec<String>) {
    for tag in waiting.drain(..) {
        let answer = imap.until(&tag);
        assert!(answer.tagged.starts_with("OK"), "{answer:?}");
    }
}

/// Fills an account through the program that has it open, and by files in `new/`.
fn fill(program: &Program, maildir: &Path) {
    let mut imap = program.imap();
    for (at, name) in large().iter().enumerate() {
        if at > 0 {
            imap.ok(&format!("CREATE {}", quoted(name)));
        }
        // Twenty more, which are expunged.
        let appended = MESSAGES - DROPPED + 20;
        append_all(
            &mut imap,
            name,
            (0..appended).map(|n| {
                let date = format!("\"{:02}-Feb-20{:02} 0{}:30:15 +0{}00\" ", n % 28 + 1, n % 20, n % 10, n % 4);
                let date = if n % 6 == 0 { String::new() } else { date };
                (format!("{}{date}", flags(at, n)), message(at, n))
            }),
        );
        drop_files(&folder(maildir, name), at);
        imap.ok(&format!("SELECT {}", quoted(name)));
        imap.ok("UID STORE 5:300 +FLAGS.SILENT (\\Seen)");
        imap.ok(&format!("UID STORE 100:110,200 -FLAGS.SILENT ({})", keywords(at)[0]));
        imap.ok(&format!("UID STORE 400:450 FLAGS.SILENT (Own{at} \\Flagged)"));
        imap.ok(&format!("UID STORE {}:* -FLAGS.SILENT (\\Deleted)", 1));
        imap.ok("UID STORE 1:10,500:509 +FLAGS.SILENT (\\Deleted)");
        imap.ok("EXPUNGE");
        if at > 0 {
            imap.ok("UID COPY 11:30 INBOX");
        }
        imap.ok("UID STORE 600:620 +FLAGS.SILENT (\\Deleted)");
        imap.ok("UNSELECT");
    }
    for name in SMALL {
        imap.command(&format!("CREATE {}", quoted(name)));
        append_all(&mut imap, name, (0..3).map(|n| (String::new(), message(99, n))));
    }
    for name in ["INBOX", "R&D", "台北/日本語", "gone/below", "*/%", "back\\slash\\2E"] {
        if name.starts_with("gone") {
            imap.ok(&format!("CREATE {}", quoted(name)));
        }
        imap.ok(&format!("SUBSCRIBE {}", quoted(name)));
    }
    imap.ok("DELETE gone/below");
    imap.ok("LOGOUT");
}

/// Files as a delivery agent leaves them, half with CRLF, without sizes in their names.
fn drop_files(folder: &Path, mailbox: usize) {
    for n in 0..DROPPED {
        let text = message(mailbox, 5000 + n);
        let path = folder.join(format!("new/15{:08}.M{n}P7.drop", 1000 * n + mailbox));
        std::fs::write(&path, text).expect("the folder is there");
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000 + 86_400 * n as u64);
        File::options().write(true).open(&path).expect("written").set_modified(date).expect("ours");
    }
    dovecot::give(&folder.join("new"));
}

/// What a client is told of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Contents {
    validity: u32,
    next: u32,
    messages: BTreeMap<u32, Message>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    flags: BTreeSet<String>,
    date: String,
    size: u64,
    /// Of some.
    body: Option<Vec<u8>>,
}

/// What clients are told of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    /// Whether they can be selected.
    names: BTreeMap<String, bool>,
    subscribed: BTreeSet<String>,
    boxes: BTreeMap<String, Contents>,
    uidls: Vec<String>,
}

fn number(text: &str, word: &str) -> u64 {
    let at = text.find(word).unwrap_or_else(|| panic!("no {word:?} in {text:?}")) + word.len();
    let digits = text[at..].split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no number behind {word:?} in {text:?}"))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let at = text.find(start).unwrap_or_else(|| panic!("no {start:?} in {text:?}")) + start.len();
    text[at..].split(end).next().unwrap_or_default()
}

fn look_at(imap: &mut Imap, name: &str) -> Contents {
    let selected = imap.ok(&format!("EXAMINE {}", quoted(name))).texts().join("\n");
    let fetched = imap.ok("UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)");
    let mut messages = BTreeMap::new();
    for line in fetched.texts().iter().filter(|line| line.contains(" FETCH ")) {
        let flags = between(line, "FLAGS (", ")").split(' ').filter(|f| !f.is_empty() && *f != "\\Recent");
        let message = Message {
            flags: flags.map(str::to_owned).collect(),
            date: between(line, "INTERNALDATE \"", "\"").to_owned(),
            size: number(line, "RFC822.SIZE "),
            body: None,
        };
        messages.insert(u32::try_from(number(line, "UID ")).expect("a UID"), message);
    }
    let some: Vec<u32> = messages.keys().copied().step_by(37).collect();
    for uid in some {
        let answer = imap.ok(&format!("UID FETCH {uid} (BODY.PEEK[])"));
        let body = answer.untagged.iter().find(|line| line.windows(6).any(|w| w == b"BODY[]")).expect("a body");
        let start = body.iter().position(|b| *b == b'\n').expect("a literal") + 1;
        let end = body.iter().rposition(|b| *b == b')').expect("the end");
        messages.get_mut(&uid).expect("from the list").body = Some(body[start..end].to_vec());
    }
    let number = |word| u32::try_from(number(&selected, word)).expect("32 bits");
    Contents { validity: number("[UIDVALIDITY "), next: number("[UIDNEXT "), messages }
}

/// The names above a name.
fn above(name: &str) -> Vec<String> {
    name.match_indices(['/', '.']).map(|(at, _)| name[..at].to_owned()).collect()
}

/// All that a client can see. Of an account whose mailboxes lie in one another Dovecot also lists empty folders, as
/// what cannot be selected and has nothing below it; these are passed over.
fn observe(program: &Program) -> Account {
    let mut imap = program.imap();
    let names: BTreeMap<String, bool> = imap
        .ok("LIST \"\" *")
        .untagged
        .iter()
        .filter(|line| line.starts_with(b"* LIST"))
        .map(|line| (name_of(line), !String::from_utf8_lossy(line).contains("\\Noselect")))
        .collect();
    let parents: BTreeSet<String> = names.keys().flat_map(|name| above(name)).collect();
    let names: BTreeMap<String, bool> = names.into_iter().filter(|(n, open)| *open || parents.contains(n)).collect();
    let subscribed = imap.ok("LSUB \"\" *").untagged;
    let subscribed = subscribed.iter().filter(|line| line.starts_with(b"* LSUB")).map(|line| name_of(line)).collect();
    let selectable = names.iter().filter(|(_, selectable)| **selectable).map(|(name, _)| name.clone());
    let boxes = selectable.map(|name| (name.clone(), look_at(&mut imap, &name))).collect();
    imap.ok("LOGOUT");
    let mut pop3 = program.pop3();
    let uidls = pop3.lines("UIDL").into_iter().map(|line| String::from_utf8(line).expect("ASCII")).collect();
    pop3.ok("QUIT");
    Account { names, subscribed, boxes, uidls }
}

/// Compares piece by piece: a whole account on one line helps nobody.
fn same(was: &Account, is: &Account, when: &str) {
    assert_eq!(was.names, is.names, "{when}: names");
    assert_eq!(was.subscribed, is.subscribed, "{when}: subscriptions");
    for (name, was) in &was.boxes {
        let is = &is.boxes[name];
        assert_eq!((was.validity, was.next), (is.validity, is.next), "{when}: UIDVALIDITY and UIDNEXT of {name:?}");
        let uids = |b: &Contents| b.messages.keys().copied().collect::<Vec<u32>>();
        assert_eq!(uids(was), uids(is), "{when}: UIDs of {name:?}");
        for (uid, was) in &was.messages {
            assert_eq!(was, &is.messages[uid], "{when}: message {uid} of {name:?}");
        }
    }
    assert_eq!(was.uidls, is.uidls, "{when}: UIDL");
}

/// Changes of all kinds in an account that came from the other program.
fn change(program: &Program, round: usize) {
    let mut imap = program.imap();
    for (at, name) in large().iter().enumerate().step_by(2) {
        append_all(&mut imap, name, (0..5).map(|n| (flags(at, n + round), message(at, 7000 + 10 * round + n))));
        imap.ok(&format!("SELECT {}", quoted(name)));
        imap.ok(&format!("UID STORE 700:705 +FLAGS.SILENT (New{round} \\Answered)"));
        imap.ok(&format!("UID STORE 30:40 -FLAGS.SILENT ({} \\Seen)", keywords(at)[1]));
        imap.ok(&format!("UID STORE {}:{} +FLAGS.SILENT (\\Deleted)", 800 + 10 * round, 803 + 10 * round));
        imap.ok("EXPUNGE");
        imap.ok(&format!("UID COPY 710:715 {}", quoted("Sent")));
        imap.ok("UNSELECT");
    }
    imap.ok(&format!("CREATE {}", quoted(&format!("Neu {round}/ä"))));
    imap.ok(&format!("SUBSCRIBE {}", quoted(&format!("Neu {round}/ä"))));
    imap.ok(&format!("RENAME {} {}", quoted("Sent"), quoted("renamed")));
    imap.ok(&format!("RENAME {} {}", quoted("renamed"), quoted("Sent")));
    imap.ok("LOGOUT");
}

/// The fields of `dovecot-uidlist` that are none of ours: the first line without `V` and `N`, and those of messages.
fn foreign_fields(maildir: &Path) -> (Vec<String>, BTreeMap<String, Vec<String>>) {
    let bytes = std::fs::read(maildir.join("dovecot-uidlist")).expect("there");
    let text = String::from_utf8(bytes).expect("ASCII here");
    let mut lines = text.lines();
    let head = lines.next().expect("a first line").split(' ').skip(1);
    let head = head.filter(|word| !word.starts_with(['V', 'N'])).map(str::to_owned).collect();
    let of_line = |line: &str| {
        let (fields, _) = line.split_once(" :")?;
        let mut words = fields.split(' ').map(str::to_owned);
        Some((words.next()?, words.collect::<Vec<_>>())).filter(|(_, words)| !words.is_empty())
    };
    (head, lines.filter_map(of_line).collect())
}

fn keyword_order(maildir: &Path) -> String {
    std::fs::read_to_string(maildir.join("dovecot-keywords")).expect("there")
}

/// From one program to the other, back, and over again.
fn there_and_back(first: Kind, second: Kind) {
    let tree = dovecot::tree();
    let maildir = dovecot::maildir(tree.path(), USER);
    std::fs::create_dir_all(&maildir).expect("made");
    let program = Program::start(first, tree.path());
    program.imap().ok("LOGOUT");
    fill(&program, &maildir);
    let mut seen = observe(&program);
    for name in large() {
        assert!(seen.boxes[&name].messages.len() >= MESSAGES, "{name:?}");
    }
    program.stop();
    let (head, _) = foreign_fields(&maildir);
    assert!(head.iter().any(|word| word.starts_with('G')), "{head:?}");
    let keywords = keyword_order(&maildir);
    for (round, kind) in [second, first, second].into_iter().enumerate() {
        let program = Program::start(kind, tree.path());
        same(&seen, &observe(&program), &format!("opened by {kind:?}, time {round}"));
        change(&program, round);
        seen = observe(&program);
        program.stop();
        assert_eq!(foreign_fields(&maildir).0, head, "the first line of the UID list after {kind:?}");
        assert!(keyword_order(&maildir).starts_with(&keywords), "after {kind:?}: {}", keyword_order(&maildir));
    }
    let program = Program::start(first, tree.path());
    same(&seen, &observe(&program), "at the end");
    program.stop();
}

#[test]
fn a_tree_of_dovecot_goes_to_facteur_and_back() {
    if dovecot::is_there() {
        there_and_back(Kind::Dovecot, Kind::Facteur);
    }
}

#[test]
fn a_tree_of_facteur_goes_to_dovecot_and_back() {
    if dovecot::is_there() {
        there_and_back(Kind::Facteur, Kind::Dovecot);
    }
}

/// One small account that the first program fills; `more` prepares it further.
fn small(program: &Program, names: &[&str], subscribed: &[&str]) {
    let mut imap = program.imap();
    for (at, name) in names.iter().enumerate() {
        if *name != "INBOX" {
            imap.ok(&format!("CREATE {}", quoted(name)));
        }
        append_all(&mut imap, name, (0..4).map(|n| (flags(at, n + 5), message(at, n))));
    }
    for name in subscribed {
        imap.ok(&format!("SUBSCRIBE {}", quoted(name)));
    }
    imap.ok("LOGOUT");
}

/// Removes every message but the first of the inbox.
fn keep_first(imap: &mut Imap) {
    imap.ok("SELECT INBOX");
    imap.ok("STORE 2:* +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
}

#[test]
fn what_others_wrote_into_the_uid_list_outlives_its_rewriting() {
    if !dovecot::is_there() {
        return;
    }
    let tree = dovecot::tree();
    let maildir = dovecot::maildir(tree.path(), USER);
    let settings = "pop3_save_uidl = yes\npop3_uidl_format = %f\n";
    let program = Program::start_with(Kind::Dovecot, tree.path(), settings, "", "");
    append_all(&mut program.imap(), "INBOX", (0..400).map(|n| (flags(0, n), message(0, n))));
    let uidls = program.pop3().lines("UIDL");
    program.stop();
    // What a later Dovecot may write.
    let list = maildir.join("dovecot-uidlist");
    let text = std::fs::read_to_string(&list).expect("there");
    let (head, rest) = text.split_once('\n').expect("a first line");
    std::fs::write(&list, format!("{head} Xlater\n{}", rest.replacen(" P", " Qodd P", 1))).expect("written");
    let before = foreign_fields(&maildir);
    assert!(before.1.values().all(|fields| fields.iter().any(|f| f.starts_with('P'))), "{before:?}");

    let program = Program::start(Kind::Facteur, tree.path());
    assert_eq!(program.pop3().lines("UIDL"), uidls);
    keep_first(&mut program.imap());
    program.stop();
    let after = foreign_fields(&maildir);
    assert_eq!(std::fs::read_to_string(&list).expect("there").lines().count(), 2, "the list was written anew");
    assert_eq!(after.0, before.0);
    assert_eq!(after.1["1"], before.1["1"]);
    assert!(after.1["1"].contains(&"Qodd".to_owned()), "{after:?}");

    let program = Program::start_with(Kind::Dovecot, tree.path(), settings, "", "");
    assert_eq!(program.pop3().lines("UIDL"), uidls[..1]);
    program.stop();
}

/// With a slash between the parts of names a dot is a letter for us. Dovecot has no such names in Maildir++, and shows
/// the letters that are on disk.
#[test]
fn odd_names_go_both_ways() {
    if !dovecot::is_there() {
        return;
    }
    let tree = dovecot::tree();
    let names = ["v1.2/notes...", "a\\b.c", "~home", "x\\2ey", "INBOX/.hidden"];
    let program = Program::start(Kind::Facteur, tree.path());
    small(&program, &names, &names);
    let ours = observe(&program);
    program.stop();
    let program = Program::start(Kind::Dovecot, tree.path());
    let as_dovecot = |name: &String| name.split('/').map(escape_dots).collect::<Vec<_>>().join("/");
    let mut imap = program.imap();
    let listed: BTreeSet<String> = imap.ok("LIST \"\" *").untagged.iter().map(|line| name_of(line)).collect();
    assert_eq!(listed, ours.names.keys().map(as_dovecot).collect::<BTreeSet<_>>());
    for (name, contents) in ours.boxes.iter().filter(|(name, _)| *name != "~home") {
        assert_eq!(&look_at(&mut imap, &as_dovecot(name)), contents, "{name:?}");
    }
    // The one name that it lists and does not open.
    assert!(imap.command("EXAMINE ~home").tagged.starts_with("NO"));
    imap.ok("UNSUBSCRIBE \"x\\\\5c2ey\"");
    imap.ok("LOGOUT");
    program.stop();
    let program = Program::start(Kind::Facteur, tree.path());
    let again = observe(&program);
    assert_eq!((&again.names, &again.boxes), (&ours.names, &ours.boxes));
    assert!(again.subscribed.contains("v1.2/notes...") && !again.subscribed.contains("x\\2ey"), "{again:?}");
    program.stop();
}

/// What LIST, LSUB and STATUS say, octet by octet but for their order.
fn told(imap: &mut Imap) -> BTreeSet<String> {
    let mut told = BTreeSet::new();
    for command in ["LIST \"\" %", "LIST \"\" *.%", "LIST a. %", "LSUB \"\" *", "LIST \"\" \"\"", "NAMESPACE"] {
        for line in imap.ok(command).texts() {
            // Special uses and children are told by one of them only where not asked for; quotes are optional.
            let line = line.replace("\\HasNoChildren", "").replace("\\HasChildren", "").replace('"', "");
            let attributes = between(&line, "(", ")").trim().to_owned();
            let rest = line.split_once(')').map_or("", |(_, rest)| rest).to_owned();
            told.insert(format!("{command}: ({attributes}){rest}"));
        }
    }
    told
}

#[test]
fn with_dots_between_the_parts_of_names() {
    if !dovecot::is_there() {
        return;
    }
    let tree = dovecot::tree();
    let (settings, sections) = ("namespace inbox {\n  separator = .\n}\n", "[imap]\nseparator = \".\"\n");
    let start = |kind| Program::start_with(kind, tree.path(), settings, "", sections);
    let names = ["a.b.c", "a.b", "Entwürfe.alt", "INBOX.Sub", "v1\\2e2", "back\\slash"];
    let program = start(Kind::Dovecot);
    small(&program, &names, &["a.b.c", "INBOX.Sub", "v1\\2e2"]);
    let seen = observe(&program);
    let heard = told(&mut program.imap());
    program.stop();
    let program = start(Kind::Facteur);
    same(&seen, &observe(&program), "with dots");
    assert_eq!(told(&mut program.imap()), heard);
    let mut imap = program.imap();
    assert!(imap.command("CREATE a/b").tagged.starts_with("NO [CANNOT]"));
    imap.ok("CREATE new.one");
    imap.ok("RENAME a x.y");
    imap.ok("DELETE \"back\\\\slash\"");
    append_all(&mut imap, "x.y.b", std::iter::once((String::new(), message(1, 1))));
    assert!(imap.ok("STATUS x.y.b (MESSAGES)").has("x.y.b\" (MESSAGES 5)"));
    let seen = observe(&program);
    assert!(seen.names.contains_key("x.y.b.c") && seen.names.contains_key("new.one"), "{:?}", seen.names);
    program.stop();
    let program = start(Kind::Dovecot);
    same(&seen, &observe(&program), "back");
    program.stop();
}

/// `LAYOUT=fs`: mailboxes lie in one another.
#[test]
fn a_nested_tree_goes_to_facteur_and_back() {
    if !dovecot::is_there() {
        return;
    }
    let nested = |kind: Kind, tree: &Path| match kind {
        Kind::Dovecot => {
            dovecot::give(tree);
            Program::Dovecot(Dovecot::start(&format!("{}:LAYOUT=fs", dovecot::location(tree)), ""))
        }
        Kind::Facteur => Program::start_with(kind, tree, "", "layout = \"fs\"\n", ""),
    };
    let names = ["INBOX", "a", "a/b.c/d", "a/.e", "..f", "R&D/日本語", "INBOX/Sub", "*/%", "p/q/r", "dovecot"];
    for (first, second) in [(Kind::Dovecot, Kind::Facteur), (Kind::Facteur, Kind::Dovecot)] {
        let tree = dovecot::tree();
        let start = |kind| nested(kind, tree.path());
        let program = start(first);
        small(&program, &names, &[names[0], names[2], names[5]]);
        assert!(program.imap().command("CREATE a/cur").tagged.starts_with("NO [CANNOT]"));
        let seen = observe(&program);
        program.stop();
        let program = start(second);
        same(&seen, &observe(&program), &format!("nested, opened by {second:?}"));
        let mut imap = program.imap();
        // A family, one of them in the way of nobody; a parent alone; what has a mailbox below it.
        imap.ok(&format!("RENAME {} fresh/home", quoted(names[1])));
        imap.ok(&format!("RENAME {} {}", quoted(names[8]), quoted(names[1])));
        imap.ok("CREATE parent");
        imap.ok("CREATE parent/child");
        append_all(&mut imap, "parent/child", std::iter::once((String::new(), message(3, 3))));
        imap.ok("DELETE parent");
        append_all(&mut imap, "fresh/home/b.c/d", std::iter::once((String::new(), message(3, 4))));
        imap.ok("LOGOUT");
        if let Program::Facteur(server) = &program {
            server.deliver("alice@example.test", "Subject: delivered\n\nx\n");
        }
        let seen = observe(&program);
        assert_eq!((seen.names.get("parent"), seen.names.get("parent/child")), (Some(&false), Some(&true)));
        assert_eq!(seen.boxes["fresh/home/b.c/d"].messages.len(), 5);
        program.stop();
        let program = start(first);
        same(&seen, &observe(&program), &format!("nested, back at {first:?}"));
        let mut imap = program.imap();
        imap.ok("DELETE parent/child");
        imap.ok("RENAME fresh/home/b.c later");
        imap.ok("RENAME fresh back");
        imap.ok("LOGOUT");
        program.stop();
    }
}

/// Dovecot's zlib plugin.
#[test]
fn compressed_messages_are_read() {
    if !dovecot::is_there() {
        return;
    }
    for method in ["gz", "zstd"] {
        let tree = dovecot::tree();
        let maildir = dovecot::maildir(tree.path(), USER);
        let settings = format!("mail_plugins = zlib\nplugin {{\n  zlib_save = {method}\n}}\n");
        let program = Program::start_with(Kind::Dovecot, tree.path(), &settings, "", "");
        let mut imap = program.imap();
        let mut messages: Vec<(String, Vec<u8>)> = (0..60).map(|n| (flags(1, n), message(1, n))).collect();
        // One that is read in pieces.
        messages
            .push((String::new(), [b"Subject: large\r\n\r\n", &*b"many words, again\r\n".repeat(200_000)].concat()));
        append_all(&mut imap, "INBOX", messages.into_iter());
        imap.ok("CREATE Other");
        imap.ok("SELECT INBOX");
        let seen = observe(&program);
        program.stop();
        mark_compressed(&maildir.join("cur"));
        let program = Program::start(Kind::Facteur, tree.path());
        same(&seen, &observe(&program), method);
        let mut imap = program.imap();
        imap.ok("SELECT INBOX");
        let text = imap.fetch_all("BODY.PEEK[]");
        assert_eq!(text.last().map(|(_, large)| large.len()), Some(18 + 19 * 200_000));
        assert!(imap.ok("SEARCH BODY \"line 3 \"").texts().join(" ").split(' ').count() > 20);
        imap.ok("STORE 1:* +FLAGS.SILENT (\\Flagged new)");
        imap.ok("COPY 1:* Other");
        imap.ok("STORE 1:* FLAGS.SILENT ()");
        imap.ok("MOVE 1:30 Other");
        let mut pop3 = program.pop3();
        assert_eq!(pop3.lines("RETR 31").len(), 2 + 200_000);
        let seen = observe(&program);
        assert_eq!(seen.boxes["Other"].messages.len(), 61 + 30);
        program.stop();
        for folder in [maildir.join("cur"), maildir.join(".Other/cur")] {
            let names = std::fs::read_dir(folder).expect("there").map(|e| e.expect("read").file_name());
            for name in names.map(|name| name.into_string().expect("ASCII")) {
                let letters = name.split_once(":2,").expect("flags").1;
                assert!(letters.contains('Z') && letters.chars().is_sorted(), "{name}");
            }
        }
        let program = Program::start_with(Kind::Dovecot, tree.path(), &settings, "", "");
        same(&seen, &observe(&program), &format!("{method}, back"));
        program.stop();
    }
}

/// Gives all files the letter that scripts give which compress old mail.
fn mark_compressed(cur: &Path) {
    let (mut all, mut compressed) = (0, 0);
    for entry in std::fs::read_dir(cur).expect("there") {
        let path = entry.expect("read").path();
        let bytes = std::fs::read(&path).expect("a file");
        all += 1;
        compressed += usize::from(bytes.starts_with(b"\x1f\x8b") || bytes.starts_with(b"\x28\xb5\x2f\xfd"));
        let name = path.file_name().and_then(|n| n.to_str()).expect("ASCII");
        let (base, letters) = name.split_once(":2,").expect("flags");
        let mut letters: Vec<char> = letters.chars().chain(['Z']).collect();
        letters.sort_unstable();
        std::fs::rename(&path, cur.join(format!("{base}:2,{}", String::from_iter(letters)))).expect("renamed");
    }
    assert_eq!((all, compressed), (61, 61));
}
