//! Commands from a grammar of IMAP (RFC 3501 §9 and the extensions that both programs announce), at random.

use crate::mail::Mail;
use crate::random::Random;

/// Names that the mailboxes of a session may have; some are there at the beginning.
const NAMES: [&str; 11] =
    ["INBOX", "work", "work/deep", "Gr&APw-n", "odd", "void", "new", "new/sub", "work/new", "gone", "\"with blank\""];
const FLAGS: [&str; 9] =
    ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "work", "NonJunk", "fresh"];
const WORDS: [&str; 16] = [
    "test",
    "example",
    "the",
    "a",
    "Hello",
    "multipart",
    "body",
    "thread",
    "Hasen",
    "zzzz",
    "\"\"",
    "\"e t\"",
    "example.com",
    "\"@\"",
    "{2+}\r\n\u{fc}",
    "{6+}\r\nGr\u{fc}\u{df}",
];
const FIELDS: [&str; 9] =
    ["Subject", "FROM", "to", "Message-ID", "Content-Type", "X-Long", "Date", "Received", "X-Nothing"];
const DATES: [&str; 6] = ["1-Feb-2010", "14-Feb-2010", "5-Mar-2010", "20-Mar-2010", "1-Apr-2010", "1-Jan-2009"];

/// What the commands are made for: the state of the client as it is now.
pub(crate) struct Scene<'a> {
    /// The mailbox that is selected.
    pub(crate) selected: Option<&'a str>,
    /// How many messages are in view.
    pub(crate) size: usize,
    /// Whether mod-sequences are told, so that it has seen some.
    pub(crate) condstore: bool,
    /// What its messages are like.
    pub(crate) mail: Mail,
}

/// The next command of a client.
pub(crate) fn command(random: &mut Random, scene: &Scene<'_>) -> Vec<u8> {
    let text = if scene.selected.is_none() {
        match random.weighted(&[60, 25, 10, 5]) {
            0 => select(random),
            1 => of_mailboxes(random),
            2 => append(random),
            _ => broken(random),
        }
    } else {
        match random.weighted(&[24, 15, 10, 6, 5, 14, 7, 7, 6, 4, 2]) {
            0 => fetch(random, scene),
            1 => store(random, scene),
            2 => copy(random, scene.size),
            3 => expunge(random, scene.size),
            4 => append(random),
            5 => search(random, scene),
            6 => sort_or_thread(random, scene),
            7 => of_mailboxes(random),
            8 => select(random),
            9 => random.pick(&["NOOP", "CHECK", "NOOP"]).to_owned(),
            _ => broken(random),
        }
    };
    // Letters beyond ASCII are of Latin 1, in messages; in a search they are UTF-8, as it says.
    if text.contains("CHARSET UTF-8") { text.into_bytes() } else { latin1(&text) }
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a Latin letter")).collect()
}

fn select(random: &mut Random) -> String {
    match random.weighted(&[55, 18, 8, 8, 6, 5]) {
        0 => format!("SELECT {}", random.pick(&NAMES[..7])),
        1 => format!("EXAMINE {}", random.pick(&NAMES[..7])),
        2 => "CLOSE".to_owned(),
        3 => "UNSELECT".to_owned(),
        4 => format!("SELECT {} (CONDSTORE)", random.pick(&NAMES[..7])),
        _ => format!("ENABLE {}", random.pick(&["CONDSTORE", "QRESYNC", "CONDSTORE QRESYNC", "X-UNKNOWN"])),
    }
}

/// A set of numbers, mostly ones that are there.
fn set(random: &mut Random, size: usize) -> String {
    if size == 0 {
        return random.pick(&["1", "1:*", "*"]).to_owned();
    }
    if random.chance(4) {
        return "$".to_owned();
    }
    let last = size + usize::from(random.chance(4));
    match random.weighted(&[30, 25, 15, 15, 8, 7]) {
        0 => random.within(1, last).to_string(),
        1 => format!("{}:{}", random.within(1, last), random.within(1, last)),
        2 => format!("{},{}", random.within(1, last), random.within(1, last)),
        3 => format!("{}:*", random.within(1, last)),
        4 => "*".to_owned(),
        _ => format!("{},{}:{},*", random.within(1, last), random.within(1, last), random.within(1, last)),
    }
}

fn flags(random: &mut Random) -> String {
    let count = random.weighted(&[5, 50, 30, 15]);
    let first = random.below(FLAGS.len());
    // Each once: Dovecot loses the keyword that follows a repeated one.
    (0..count).map(|n| FLAGS[(first + n * 4) % FLAGS.len()]).collect::<Vec<_>>().join(" ")
}

fn uid(random: &mut Random) -> &'static str {
    if random.chance(50) { "UID " } else { "" }
}

fn fetch(random: &mut Random, scene: &Scene<'_>) -> String {
    let size = scene.size;
    let (uid, set) = (uid(random), set(random, size));
    let items = match random.weighted(&[80, 7, 7, if scene.condstore { 10 } else { 0 }]) {
        0 => {
            let count = random.within(1, 3);
            format!("({})", (0..count).map(|_| item(random)).collect::<Vec<_>>().join(" "))
        }
        1 => random.pick(&["ALL", "FAST", "FULL"]).to_owned(),
        2 => item(random),
        _ if uid.is_empty() || random.chance(70) => format!("(FLAGS) (CHANGEDSINCE {})", modseq(random, size)),
        _ => format!("(FLAGS) (CHANGEDSINCE {} VANISHED)", modseq(random, size)),
    };
    format!("{uid}FETCH {set} {items}")
}

fn item(random: &mut Random) -> String {
    let plain = [
        "FLAGS",
        "UID",
        "INTERNALDATE",
        "RFC822.SIZE",
        "ENVELOPE",
        "BODY",
        "BODYSTRUCTURE",
        "RFC822",
        "RFC822.HEADER",
        "RFC822.TEXT",
        "MODSEQ",
    ];
    if random.chance(55) {
        return random.pick(&plain).to_owned();
    }
    let section = match random.weighted(&[50, 12, 12, 26]) {
        0 => random.pick(&["", "HEADER", "TEXT", "1", "2", "3", "1.1", "2.1", "1.2"]).to_owned(),
        1 => format!("HEADER.FIELDS ({} {})", random.pick(&FIELDS), random.pick(&FIELDS)),
        2 => format!("HEADER.FIELDS.NOT ({} {})", random.pick(&FIELDS), random.pick(&FIELDS)),
        _ => random
            .pick(&[
                "1.MIME",
                "2.MIME",
                "2.1.MIME",
                "1.HEADER",
                "2.HEADER",
                "3.HEADER",
                "2.TEXT",
                "2.1",
                "2.2.MIME",
                "2.HEADER.FIELDS (Subject From)",
                "2.HEADER.FIELDS.NOT (Subject)",
            ])
            .to_owned(),
    };
    let peek = if random.chance(60) { ".PEEK" } else { "" };
    let partial = if random.chance(35) {
        format!("<{}.{}>", random.pick(&["0", "0", "10", "100", "5000"]), random.pick(&["1", "20", "300", "100000"]))
    } else {
        String::new()
    };
    format!("BODY{peek}[{section}]{partial}")
}

/// A mod-sequence that the client has seen: the highest at SELECT, or that of a message.
fn modseq(random: &mut Random, size: usize) -> String {
    if random.chance(50) { "%H%".to_owned() } else { format!("%{}%", random.within(1, size.max(1))) }
}

fn store(random: &mut Random, scene: &Scene<'_>) -> String {
    let size = scene.size;
    let (uid, set) = (uid(random), set(random, size));
    let unchanged = if scene.condstore && random.chance(20) {
        format!("(UNCHANGEDSINCE {}) ", modseq(random, size))
    } else {
        String::new()
    };
    let how = random.pick(&["", "+", "-"]);
    let silent = if random.chance(30) { ".SILENT" } else { "" };
    let flags = flags(random);
    if random.chance(10) && !flags.is_empty() {
        return format!("{uid}STORE {set} {unchanged}{how}FLAGS{silent} {flags}");
    }
    format!("{uid}STORE {set} {unchanged}{how}FLAGS{silent} ({flags})")
}

fn copy(random: &mut Random, size: usize) -> String {
    let verb = random.pick(&["COPY", "MOVE"]);
    format!("{}{verb} {} {}", uid(random), set(random, size), random.pick(&NAMES))
}

fn expunge(random: &mut Random, size: usize) -> String {
    if random.chance(50) { "EXPUNGE".to_owned() } else { format!("UID EXPUNGE {}", set(random, size)) }
}

fn append(random: &mut Random) -> String {
    let mut command = format!("APPEND {}", random.pick(&NAMES));
    for _ in 0..random.weighted(&[0, 80, 15, 5]) {
        if random.chance(60) {
            command += &format!(" ({})", flags(random));
        }
        if random.chance(60) {
            command +=
                &format!(" \" {}-Feb-2010 0{}:10:11 +0{}00\"", random.within(1, 9), random.below(10), random.below(5));
        }
        let body = match random.below(4) {
            0 => "Subject: short\r\n\r\ntext\r\n".to_owned(),
            1 => format!("From: x@example.test\r\nSubject: Re: thread {}\r\n\r\nHello\r\n", random.below(5)),
            2 => "Subject: 8-bit Gr\u{fc}\u{df}e\nContent-Type: text/plain; charset=iso-8859-1\n\nGr\u{fc}\u{df}e\n"
                .to_owned(),
            _ => "\r\nno header at all".to_owned(),
        };
        command += &format!(" {{{}+}}\r\n{body}", body.chars().count());
    }
    command
}

/// A key of SEARCH with all below it.
fn key(random: &mut Random, scene: &Scene<'_>, depth: usize) -> String {
    if depth > 0 && random.chance(25) {
        return match random.below(3) {
            0 => format!("NOT {}", key(random, scene, depth - 1)),
            1 => format!("OR {} {}", key(random, scene, depth - 1), key(random, scene, depth - 1)),
            _ => format!("({} {})", key(random, scene, depth - 1), key(random, scene, depth - 1)),
        };
    }
    let flag = ["ALL", "ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN"];
    let no_flag = ["UNANSWERED", "UNDELETED", "UNDRAFT", "UNFLAGGED", "UNSEEN"];
    // What text an odd message has is a matter of opinion.
    let text = if scene.mail == Mail::Plain { 8 } else { 0 };
    match random.weighted(&[20, 10, 8, 10, 8, 2 * text, text, text, 8, 4, 2]) {
        0 => random.pick(&flag).to_owned(),
        1 => random.pick(&no_flag).to_owned(),
        2 => format!("{}KEYWORD {}", random.pick(&["", "UN"]), random.pick(&FLAGS[5..])),
        3 => format!("{} {}", random.pick(&["BEFORE", "ON", "SINCE"]), random.pick(&DATES)),
        4 => match random.below(3) {
            // Dovecot takes a message without a date for one of 1970.
            0 => format!("(SENTSINCE 1-Jan-1980 SENTBEFORE {})", random.pick(&DATES)),
            1 => format!("SENTON {}", random.pick(&DATES)),
            _ => format!("SENTSINCE {}", random.pick(&DATES)),
        },
        5 => format!("{} {}", random.pick(&["FROM", "TO", "CC", "BCC", "SUBJECT"]), random.pick(&WORDS)),
        6 => format!("{} {}", random.pick(&["BODY", "TEXT"]), random.pick(&WORDS)),
        7 => format!("HEADER {} {}", random.pick(&FIELDS), random.pick(&WORDS)),
        8 => format!("{} {}", random.pick(&["LARGER", "SMALLER"]), random.pick(&["0", "500", "1200", "8000"])),
        9 => format!("{}{}", uid(random), set(random, scene.size)),
        _ => random.pick(&["OLDER 300000000", "YOUNGER 300000000", "YOUNGER 1"]).to_owned(),
    }
}

fn keys(random: &mut Random, scene: &Scene<'_>) -> String {
    let count = random.within(1, 3);
    (0..count).map(|_| key(random, scene, 3)).collect::<Vec<_>>().join(" ")
}

fn search(random: &mut Random, scene: &Scene<'_>) -> String {
    let uid = uid(random);
    let results = match random.weighted(&[60, 30, 10]) {
        0 => "",
        1 => random.pick(&["RETURN () ", "RETURN (MIN MAX) ", "RETURN (COUNT) ", "RETURN (ALL COUNT MIN) "]),
        _ => "RETURN (SAVE) ",
    };
    let keys = keys(random, scene);
    if scene.condstore && random.chance(8) && !results.contains("SAVE") {
        // Which mod-sequences the messages begin with is up to the program.
        return format!("{uid}SEARCH {results}MODSEQ %H1%");
    }
    let charset = if keys.is_ascii() { random.pick(&["", "", "CHARSET US-ASCII "]) } else { "CHARSET UTF-8 " };
    format!("{uid}SEARCH {results}{charset}{keys}")
}

fn sort_or_thread(random: &mut Random, scene: &Scene<'_>) -> String {
    let uid = uid(random);
    if scene.mail == Mail::All {
        return search(random, scene);
    }
    let keys = keys(random, scene);
    if random.chance(35) {
        let algorithm = random.pick(&["REFERENCES", "ORDEREDSUBJECT", "REFS"]);
        return format!("{uid}THREAD {algorithm} UTF-8 {}", ascii(&keys));
    }
    let first = random.below(ORDERS.len());
    // Each once: Dovecot loses a REVERSE behind a repeated one.
    let order: Vec<String> = (0..random.within(1, 3))
        .map(|n| {
            let key = ORDERS[(first + n * 2) % ORDERS.len()];
            format!("{}{key}", if random.chance(30) { "REVERSE " } else { "" })
        })
        .collect();
    format!("{uid}SORT ({}) UTF-8 {}", order.join(" "), ascii(&keys))
}

/// The same keys where all letters are of ASCII.
fn ascii(keys: &str) -> String {
    keys.replace("{2+}\r\n\u{fc}", "fu").replace("{6+}\r\nGr\u{fc}\u{df}", "Gruss")
}

fn of_mailboxes(random: &mut Random) -> String {
    let name = random.pick(&NAMES);
    match random.weighted(&[18, 8, 8, 5, 14, 7, 8, 20, 6, 6]) {
        0 => format!("LIST {} {}", random.pick(&["\"\"", "\"\"", "work", "\"\""]), random.pick(&PATTERNS)),
        1 => format!("LSUB \"\" {}", random.pick(&PATTERNS)),
        2 => format!("SUBSCRIBE {name}"),
        3 => format!("UNSUBSCRIBE {name}"),
        4 => format!("CREATE {name}"),
        5 => format!("DELETE {}", random.pick(&NAMES[1..])),
        6 => format!("RENAME {name} {}", random.pick(&NAMES)),
        7 => format!("STATUS {name} ({})", random.pick(&STATUS)),
        8 => format!("LIST (SUBSCRIBED) \"\" {}", random.pick(&PATTERNS)),
        _ => format!("LIST \"\" {} RETURN ({})", random.pick(&PATTERNS), random.pick(&RETURNS)),
    }
}

const ORDERS: [&str; 9] = ["ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO", "DISPLAYFROM", "DISPLAYTO"];
const PATTERNS: [&str; 8] = ["*", "%", "\"\"", "work*", "*/%", "inbox", "%/%", "w%k"];
const STATUS: [&str; 5] =
    ["MESSAGES", "MESSAGES UIDNEXT UNSEEN", "UIDVALIDITY HIGHESTMODSEQ", "SIZE MESSAGES", "UNSEEN RECENT UIDNEXT"];
const RETURNS: [&str; 5] =
    ["CHILDREN", "SUBSCRIBED", "STATUS (MESSAGES UNSEEN)", "SUBSCRIBED CHILDREN", "STATUS (UIDNEXT SIZE) CHILDREN"];

/// What no grammar allows, or no state.
fn broken(random: &mut Random) -> String {
    random
        .pick(&[
            "FETCH",
            "FETCH 1",
            "FETCH 0 FLAGS",
            "FETCH 1 (FLAGS",
            "FETCH 1 NOTHING",
            "STORE 1 FLAGS",
            "STORE a +FLAGS (x)",
            "UID",
            "UID NOOP",
            "XYZZY",
            "SEARCH",
            "SEARCH NOT",
            "SEARCH OR ALL",
            "SEARCH (ALL",
            "SELECT",
            "LIST \"\"",
            "STATUS INBOX",
            "STATUS INBOX ()",
            "COPY 1",
            "APPEND INBOX",
            "SORT (NOTHING) UTF-8 ALL",
            "SORT () UTF-8 ALL",
            "THREAD NOTHING UTF-8 ALL",
            "SEARCH CHARSET NOTHING ALL",
            "STORE 1 FLAGS (\\Nothing)",
            "FETCH 1 BODY[0]",
            "FETCH 1 BODY[1.TEXT.1]",
            "NOOP x",
            "CREATE \"\"",
            "DELETE INBOX",
            "FETCH 1 BODY[]<0.0>",
            "ENABLE",
        ])
        .to_owned()
}
