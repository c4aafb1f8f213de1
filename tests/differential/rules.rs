//! The differences that are accepted, each by a rule as narrow as it can be; `differential.allow` has the reasons.

use std::collections::BTreeMap;

use crate::client::Facts;
use crate::common::structure::compare;
use crate::common::value::Value;

/// Whether a session can go on after a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    /// The states have parted: nothing more can be compared.
    Stop,
}

/// Where a difference was found.
pub(crate) struct Scene<'a> {
    pub(crate) command: &'a str,
    /// What the fact is about.
    pub(crate) key: &'a str,
    pub(crate) ours: &'a Facts,
    pub(crate) theirs: &'a Facts,
    /// The flags of messages as they were told before.
    pub(crate) known: &'a BTreeMap<usize, Value>,
}

/// What both say, one of them not before the next NOOP.
pub(crate) const TOLD_LATER: &str = "told later";

/// Dovecot's process stopped in the middle of a command, which its log must tell.
pub(crate) const DIED: &str = "Dovecot died";

/// One kind of difference.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    verdict: Verdict,
    holds: fn(&Scene<'_>, Option<&Value>, Option<&Value>) -> bool,
}

type Test = fn(&Scene<'_>, Option<&Value>, Option<&Value>) -> bool;

const fn go_on(name: &'static str, holds: Test) -> Rule {
    Rule { name, verdict: Verdict::GoOn, holds }
}

const fn stop(name: &'static str, holds: Test) -> Rule {
    Rule { name, verdict: Verdict::Stop, holds }
}

/// All of them.
pub(crate) const RULES: &[Rule] = &[
    go_on("a code", more_code),
    go_on("MAILBOXID", |scene, our, their| {
        scene.key == "OK [MAILBOXID]" && their.is_none() || is(our, "OK", "MAILBOXID") && is(their, "OK", "")
    }),
    go_on("HIGHESTMODSEQ", |scene, _, their| scene.key == "OK [HIGHESTMODSEQ]" && their.is_none()),
    stop("mailbox gone", |scene, our, their| {
        let said =
            |value: Option<&Value>, words: &[u8]| matches!(value, Some(Value::Text(said)) if said.ends_with(words));
        scene.key == "closed"
            && (said(our, b"The selected mailbox is gone")
                || said(their, b"Mailbox was deleted under us")
                || said(their, b"Selected mailbox was deleted, have to disconnect.")
                || said(their, b"IMAP session state is inconsistent, please relogin."))
    }),
    go_on("HIGHESTMODSEQ again", |scene, our, _| {
        let selecting = verb(scene, "SELECT") || verb(scene, "EXAMINE");
        scene.key == "OK [HIGHESTMODSEQ]" && our.is_none() && !selecting
    }),
    stop("STORE of nothing", |scene, our, their| {
        verb(scene, "STORE") && is(our, "BAD", "") && is(their, "OK", "") && !scene.command.contains('(')
    }),
    stop("SELECT of nothing", |scene, our, _| scene.key == "OK [CLOSED]" && our.is_none() && scene.command == "SELECT"),
    go_on("ENABLE of nothing", |scene, our, their| {
        scene.command == "ENABLE" && is(our, "BAD", "") && is(their, "OK", "")
            || scene.key == "ENABLED" && our.is_none()
    }),
    go_on("STATUS of the selected", |scene, our, their| {
        verb(scene, "STATUS") && is(our, "OK", "") && is(their, "OK", "CLIENTBUG")
            || scene.key.starts_with("STATUS ") && is(scene.theirs.get("tagged "), "OK", "CLIENTBUG")
    }),
    go_on("keywords known", keywords_known),
    go_on("keywords told again", keywords_again),
    go_on("nowhere to copy nothing", copied_nothing),
    go_on("children told", children_told),
    go_on("two reasons", |scene, our, their| {
        let reasons = ["NONEXISTENT", "ALREADYEXISTS", "CANNOT"];
        let no =
            |value| Some(tagged(value)).filter(|(status, code)| status == "NO" && reasons.contains(&code.as_str()));
        verb(scene, "RENAME") && no(our).is_some() && no(their).is_some()
    }),
    go_on("read-only", |scene, our, their| {
        let removes = scene.command.contains("EXPUNGE") || verb(scene, "STORE");
        is(our, "NO", "READ-ONLY") && tagged(their).0 == "OK" && removes
    }),
    stop("moved from read-only", |scene, our, their| {
        is(our, "NO", "READ-ONLY") && tagged(their).0 == "OK" && verb(scene, "MOVE")
    }),
    stop("RENAME INBOX", |scene, our, their| {
        scene.command.starts_with("RENAME INBOX ") && is(our, "OK", "") && is(their, "NO", "CANNOT")
    }),
    go_on("expunged at", |scene, our, their| {
        let told = |value| is(value, "OK", "HIGHESTMODSEQ") || is(value, "OK", "");
        told(our) && told(their) && (scene.command.contains("EXPUNGE") || our.is_some_and(|our| our.is("OK")))
    }),
    stop("numbers of nothing", |scene, our, their| {
        let none = scene.command.contains(".0>") || scene.command.contains("BODY[0]");
        none && (is(our, "BAD", "") && is(their, "OK", "") || scene.key.contains(" BODY[") && our.is_none())
    }),
    stop("subscribed to nothing", |scene, our, their| {
        scene.command.starts_with("SUBSCRIBE ") && is(our, "OK", "") && is(their, "NO", "")
    }),
    go_on("enabled before", |scene, our, their| {
        let names = |value: Option<&Value>| -> Vec<Value> {
            value.map_or(&[][..], Value::items).iter().filter(|name| !name.is("CONDSTORE")).cloned().collect()
        };
        scene.key == "ENABLED" && (names(our) == names(their) || our.is_some_and(|our| our.items().is_empty()))
    }),
    go_on("structures", structures),
    go_on("STORE tells all", store_tells_all),
    go_on("UID told", |scene, our, their| scene.key.ends_with(" UID") && our.is_some() && their.is_none()),
    go_on("no empty line", |scene, our, their| scene.key.contains("HEADER.FIELDS") && longer_by_line_end(our, their)),
    go_on("half a line end", |scene, our, their| {
        let octet = |value: Option<&Value>, octet: u8| value == Some(&Value::Text(vec![octet]));
        scene.key.contains("HEADER.FIELDS") && scene.key.ends_with('>') && octet(our, b'\n') && octet(their, b'\r')
    }),
    go_on("line end of a delimiter", |scene, our, their| {
        let part = scene.key.split_once(" BODY[").map_or("", |(_, section)| section);
        let numbered =
            part.starts_with(|c: char| c.is_ascii_digit()) && !part.contains("HEADER") && !part.contains("MIME");
        numbered && longer_by_line_end(our, their)
    }),
    stop("copied without the expunged", |scene, our, their| {
        let copies = verb(scene, "COPY") || verb(scene, "MOVE");
        copies && tagged(our).0 == "OK" && is(their, "NO", "EXPUNGEISSUED")
    }),
    go_on("expunged by another", expunged_by_another),
    go_on("flags told with FETCH", flags_with_fetch),
    stop("came and went", came_and_went),
    go_on("there and back", there_and_back),
    go_on("silent", |scene, our, their| {
        scene.command.contains("FLAGS.SILENT") && scene.key.ends_with(" FLAGS") && our.is_none() && their.is_some()
    }),
    go_on("an empty line twice", |scene, our, their| scene.key.contains(".MIME]") && longer_by_line_end(their, our)),
    go_on("searched before the news", searched_before),
    go_on("before the first unseen", before_first_unseen),
    go_on("two dates", |scene, our, their| {
        let twice =
            ["BEFORE ", "SINCE ", "LARGER ", "SMALLER "].iter().any(|key| scene.command.matches(key).count() > 1);
        let results = ["SEARCH", "ESEARCH", "SORT", "THREAD"].iter().any(|name| scene.key.starts_with(name));
        let nested = scene.command.contains("OR ") || scene.command.contains("NOT ");
        results && twice && nested && (our.is_some() || their.is_some())
    }),
    go_on("MODSEQ told", |scene, our, their| scene.key.ends_with(" MODSEQ") && our.is_some() && their.is_none()),
    go_on("subscribed and gone", |scene, our, their| {
        let told = |value: Option<&Value>| value.and_then(|value| value.items().first().cloned());
        let noselect = Value::List(vec![Value::Atom("\\Noselect".to_owned())]);
        scene.key.starts_with("LSUB ") && told(our) == Some(noselect) && told(their) == Some(Value::List(Vec::new()))
    }),
    go_on("a level without a mailbox", |scene, our, their| {
        let attributes = our.and_then(|our| our.items().first()).map(ToString::to_string).unwrap_or_default();
        scene.key.starts_with("LIST ") && their.is_none() && attributes.contains("\\Noselect")
    }),
    go_on("marked", |scene, our, their| {
        let unmarked = |value: &Value| value.to_string().replace(" \\UnMarked", "").replace("\\UnMarked", "");
        scene.key.starts_with("LIST ") && our.zip(their).is_some_and(|(our, their)| unmarked(our) == unmarked(their))
    }),
    go_on("not to be selected", |scene, our, their| {
        let without = our.map(|our| our.to_string().replace(" \\Noselect", ""));
        scene.key.starts_with("LIST ") && without == their.map(ToString::to_string)
    }),
    stop("renamed onto another", |scene, our, their| {
        verb(scene, "RENAME") && is(our, "NO", "ALREADYEXISTS") && is(their, "OK", "")
    }),
    stop(DIED, |scene, our, their| {
        scene.key == "closed"
            && our.is_none()
            && *their.unwrap_or(&Value::List(Vec::new())) == Value::Text(b"nothing".to_vec())
    }),
    stop("numbers beyond the last", |scene, our, their| {
        is(our, "BAD", "")
            && tagged(their).0 == "OK"
            && scene.command.contains('*')
            && !scene.command.starts_with("UID ")
    }),
    stop("other flags were changed", |scene, our, their| {
        let some_flags = scene.command.contains("(UNCHANGEDSINCE ")
            && [" +FLAGS", " -FLAGS"].iter().any(|mode| scene.command.contains(mode));
        scene.key == "tagged " && some_flags && tagged(our).0 == "OK" && is(their, "OK", "MODIFIED")
    }),
    go_on("arguments of NOOP", |scene, our, their| {
        let theirs = is(their, "OK", "") || is(their, "OK", "HIGHESTMODSEQ");
        scene.command == "NOOP x" && is(our, "BAD", "") && theirs
    }),
    go_on("not there and not to be selected", |scene, our, their| {
        let (our, their) = (our.map(ToString::to_string), their.map(ToString::to_string));
        let renamed = our.map(|our| our.replace("\\Noselect", "\\NonExistent"));
        scene.key.starts_with("LIST ") && renamed == their
    }),
    go_on("no such part", |scene, our, their| {
        scene.key.contains(" BODY[") && our.is_some_and(|our| our.is("NIL")) && their == Some(&Value::Text(Vec::new()))
    }),
    go_on("part of a leaf", |scene, our, _| {
        let deep =
            [" BODY[1.1", " BODY[2.1", " BODY[1.2", " BODY[2.2"].iter().any(|section| scene.key.contains(section));
        deep && our.is_some_and(|our| our.is("NIL"))
    }),
];

fn is(value: Option<&Value>, condition: &str, code: &str) -> bool {
    tagged(value) == (condition.to_owned(), code.to_owned())
}

/// Whether a command is this one, by UIDs or not.
fn verb(scene: &Scene<'_>, verb: &str) -> bool {
    let command = scene.command.strip_prefix("UID ").unwrap_or(scene.command);
    command.split(' ').next() == Some(verb)
}

fn keywords_again(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let selecting = verb(scene, "SELECT") || verb(scene, "EXAMINE");
    ["FLAGS", "OK [PERMANENTFLAGS]"].contains(&scene.key) && !selecting && (our.is_none() || their.is_none())
}

fn copied_nothing(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    (verb(scene, "COPY") || verb(scene, "MOVE")) && is(our, "NO", "TRYCREATE") && tagged(their).0 == "OK"
}

/// A LIST of the extended form that did not ask for children.
fn children_told(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let (Some(our), Some(their)) = (our, their) else { return false };
    let childless = |value: &Value| -> Vec<String> {
        let attributes = value.items()[0].items().iter();
        let others = attributes.filter(|a| !a.is("\\HasChildren") && !a.is("\\HasNoChildren"));
        others.map(|attribute| attribute.to_string().replace("\\Noselect", "\\NonExistent")).collect()
    };
    scene.key.starts_with("LIST ")
        && (scene.command.contains(" RETURN ") || scene.command.starts_with("LIST ("))
        && !scene.command.contains("CHILDREN")
        && childless(our) == childless(their)
        && our.items()[1..] == their.items()[1..]
}

/// Whether theirs has a line end more, or as much of it as the octets asked for allow.
fn longer_by_line_end(our: Option<&Value>, their: Option<&Value>) -> bool {
    match (our, their) {
        (Some(Value::Text(our)), Some(Value::Text(their))) => {
            their.strip_prefix(our.as_slice()).is_some_and(|more| [&b"\r"[..], b"\r\n", b"\r\n\r\n"].contains(&more))
        }
        _ => false,
    }
}

/// What is told of a message that another client expunged while this one could still see it.
fn expunged_by_another(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    if scene.key == "tagged " {
        let issued = |value| tagged(value).1 == "EXPUNGEISSUED";
        return issued(our) || issued(their);
    }
    let gone = |facts: &Facts| facts.get("expunged").map_or(&[][..], Value::items).to_vec();
    let number = scene.key.strip_prefix("message ").and_then(|rest| rest.split(' ').next());
    let gone_for_both = |number: &str| [scene.ours, scene.theirs].iter().all(|f| gone(f).iter().any(|n| n.is(number)));
    number.is_some_and(gone_for_both)
}

/// Messages that came and were expunged by another client before this one heard of them.
fn came_and_went(scene: &Scene<'_>, _: Option<&Value>, _: Option<&Value>) -> bool {
    let counted = |facts: &Facts| facts.get("counted").and_then(|n| n.to_string().parse::<usize>().ok());
    let gone = |facts: &Facts| facts.get("expunged").map_or(0, |all| all.items().len());
    let more = counted(scene.theirs).zip(counted(scene.ours)).and_then(|(their, our)| their.checked_sub(our));
    let moved = gone(scene.theirs).checked_sub(gone(scene.ours));
    ["counted", "expunged"].contains(&scene.key) && more.is_some_and(|more| more > 0) && more == moved
}

/// Flags that another client changed, and changed back before this one heard of it.
fn there_and_back(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let Some((message, _)) = scene.key.rsplit_once(' ') else { return false };
    let told = scene.theirs.get(&format!("{message} FLAGS"));
    our.is_none() && their.is_some() && told.is_some() && known(scene).is_none_or(|known| told == Some(known))
}

/// A search that ran while there were news of other clients to tell, or a count of the selected mailbox in a LIST.
fn searched_before(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let results = ["SEARCH", "ESEARCH", "SORT", "THREAD"].iter().any(|name| scene.key.starts_with(name));
    let counts = scene.key.starts_with("STATUS ") && verb(scene, "LIST");
    let both = news(scene.ours);
    (results || counts) && (our.is_some() || their.is_some()) && !both.is_empty() && both == news(scene.theirs)
}

/// What another client did: expunged messages, and flags of others.
fn news(facts: &Facts) -> Vec<&String> {
    let gone = facts.get("expunged").map_or(&[][..], Value::items);
    let is_there = |key: &str| !gone.iter().any(|number| key.starts_with(&format!("message {number} ")));
    facts.keys().filter(|key| *key == "expunged" || key.ends_with(" FLAGS") && is_there(key)).collect()
}

/// A mod-sequence or UID that Dovecot repeats flags with, which the same command has told.
fn flags_with_fetch(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let Some((message, "MODSEQ" | "UID")) = scene.key.rsplit_once(' ') else { return false };
    let told = |facts: &Facts| facts.get(&format!("{message} FLAGS")).cloned();
    let alike = told(scene.ours).is_some() && told(scene.ours) == told(scene.theirs);
    verb(scene, "FETCH") && our.is_none() && their.is_some() && alike
}

/// Messages before the first unseen one, of which Dovecot forgets that the other half of an OR may match them.
fn before_first_unseen(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let numbers = |value: Option<&Value>| -> Vec<u32> {
        let text = value.map(ToString::to_string).unwrap_or_default();
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    let (our, their) = (numbers(our), numbers(their));
    let more: Vec<&u32> = our.iter().filter(|number| !their.contains(number)).collect();
    let unseen = scene.command.contains("OR ") && scene.command.contains("SEEN");
    match scene.key {
        "ESEARCH COUNT" | "ESEARCH MIN" => unseen && our.len() == 1,
        key if key.starts_with("SEARCH") || key == "ESEARCH ALL" || key == "SORT" => {
            let after = their.iter().min();
            unseen && !more.is_empty() && their.iter().all(|n| our.contains(n)) && more.iter().all(|n| Some(*n) < after)
        }
        _ => false,
    }
}

fn structures(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let (Some(our), Some(their)) = (our, their) else { return false };
    let mut found = Vec::new();
    compare("", our, their, &mut found);
    [" ENVELOPE", " BODY", " BODYSTRUCTURE"].iter().any(|item| scene.key.ends_with(item))
        && found.iter().all(|difference| difference.rule.is_some())
}

/// Of a message that has the flags already.
fn store_tells_all(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let message = scene.key.rsplit_once(' ').map_or("", |(message, _)| message);
    verb(scene, "STORE")
        && message.starts_with("message ")
        && our.is_some()
        && their.is_none()
        && !scene.theirs.contains_key(&format!("{message} FLAGS"))
        && (!scene.key.ends_with(" FLAGS") || known(scene).is_none_or(|known| our == Some(known)))
}

/// The flags of the message that a fact is about, as they were told before.
fn known<'a>(scene: &Scene<'a>) -> Option<&'a Value> {
    let number = scene.key.strip_prefix("message ").and_then(|rest| rest.split(' ').next());
    scene.known.get(&number?.parse().ok()?)
}

/// Condition and name of the code of a tagged answer.
fn tagged(value: Option<&Value>) -> (String, String) {
    match value {
        Some(Value::List(all)) if all.len() > 1 => (all[0].to_string(), all[1].to_string()),
        Some(value) => (value.to_string(), String::new()),
        None => (String::new(), String::new()),
    }
}

fn more_code(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let (our, their) = (tagged(our), tagged(their));
    let codes = ["NONEXISTENT", "ALREADYEXISTS", "CANNOT", "READ-ONLY"];
    scene.key == "tagged " && our.0 == "NO" && their.0 == "NO" && their.1.is_empty() && codes.contains(&our.1.as_str())
}

/// All but keywords is the same.
fn keywords_known(scene: &Scene<'_>, our: Option<&Value>, their: Option<&Value>) -> bool {
    let system = |value: &Value| -> Vec<Value> {
        value.items().iter().filter(|flag| flag.to_string().starts_with('\\')).cloned().collect()
    };
    ["FLAGS", "OK [PERMANENTFLAGS]"].contains(&scene.key)
        && our.zip(their).is_some_and(|(our, their)| system(our) == system(their))
}

/// The rule that explains a difference.
pub(crate) fn explain(
    scene: &Scene<'_>,
    ours: Option<&Value>,
    theirs: Option<&Value>,
) -> Option<(&'static str, Verdict)> {
    RULES.iter().find(|rule| (rule.holds)(scene, ours, theirs)).map(|rule| (rule.name, rule.verdict))
}
