//! BODY, BODYSTRUCTURE and ENVELOPE of other people's messages, as Facteur and as Dovecot tell them.
//!
//! What may differ, and by which clause of an RFC, is listed in `structures.allow`, one line a difference; a line that
//! explains nothing any more fails the test as much as a difference without a line.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::dovecot;
use common::dovecot::Dovecot;
use common::imap::Imap;
use common::say;
use common::server::Server;
use common::structure::Difference;
use common::structure::compare;
use common::value::Value;
use common::value::values;
use common::vectors;

const USER: &str = "alice";
const ITEMS: [&str; 3] = ["BODY", "BODYSTRUCTURE", "ENVELOPE"];
const ALLOWED: &str = include_str!("structures.allow");

/// A Maildir with the messages, UIDs as they are numbered.
fn fill(maildir: &Path, messages: &[(String, Vec<u8>)]) {
    for folder in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(maildir.join(folder)).expect("made");
    }
    let mut list = format!("3 V1600000000 N{}\n", messages.len() + 1);
    for (n, (_, message)) in messages.iter().enumerate() {
        let name = format!("16000{:05}.M{n}P1.host", n + 1);
        std::fs::write(maildir.join(format!("cur/{name}:2,S")), message).expect("written");
        list += &format!("{} :{name}\n", n + 1);
    }
    std::fs::write(maildir.join("dovecot-uidlist"), list).expect("written");
}

/// The items of each message, by UID.
fn told(mut imap: Imap) -> BTreeMap<String, Vec<Value>> {
    imap.ok("SELECT INBOX");
    let answer = imap.ok(&format!("UID FETCH 1:* ({})", ITEMS.join(" ")));
    let mut all = BTreeMap::new();
    for line in answer.untagged {
        let line = values(&line);
        let [_, _, name, items] = line.as_slice() else { continue };
        if !name.is("FETCH") {
            continue;
        }
        let item = |name: &str| items.items().chunks(2).find(|pair| pair[0].is(name)).map(|pair| pair[1].clone());
        if let Some(uid) = item("UID") {
            all.insert(uid.to_string(), ITEMS.map(|name| item(name).expect("asked for")).into());
        }
    }
    all
}

#[test]
fn structures_and_envelopes_are_dovecots() {
    let Some(messages) = vectors::messages().filter(|_| dovecot::is_there()) else { return };
    let (ours, theirs) = (dovecot::tree(), dovecot::tree());
    for tree in [&ours, &theirs] {
        fill(&dovecot::maildir(tree.path(), USER), &messages);
    }
    dovecot::give(theirs.path());
    let server = Server::serve_stored(&format!("maildir = \"{}/{{user}}\"\n", ours.path().display()), "");
    let dovecot = Dovecot::start(&dovecot::location(theirs.path()), "");
    let (told_by_us, told_by_them) = (told(server.imap(USER)), told(dovecot.imap(USER)));
    assert_eq!((told_by_us.len(), told_by_them.len()), (messages.len(), messages.len()));

    // By message and place; the places that each line has explained.
    let mut allowed: BTreeMap<(String, String), usize> =
        lines().map(|(name, place, _)| ((name.to_owned(), place.to_owned()), 0)).collect();
    let mut unexplained = String::new();
    let mut compared = 0;
    for (uid, ours) in &told_by_us {
        let name = &messages[uid.parse::<usize>().expect("a UID") - 1].0;
        let mut found = Vec::new();
        for ((ours, theirs), item) in ours.iter().zip(&told_by_them[uid]).zip(ITEMS) {
            compare(item, ours, theirs, &mut found);
            compared += 1;
        }
        for Difference { place, rule, told } in found {
            let line = rule.map_or((name.clone(), place.clone()), |rule| ("*".to_owned(), rule.to_owned()));
            match allowed.get_mut(&line) {
                Some(times) => *times += 1,
                None => unexplained += &format!("{name} | {place}\n    {told}\n"),
            }
        }
    }
    assert!(unexplained.is_empty(), "differences without a line in structures.allow:\n{unexplained}");
    let idle: Vec<_> = allowed.iter().filter(|(_, times)| **times == 0).map(|(line, _)| line).collect();
    assert!(idle.is_empty(), "lines of structures.allow that explain nothing: {idle:?}");
    say(&format!(
        "{compared} trees of {} messages, {} differences allowed by {} lines",
        messages.len(),
        allowed.values().sum::<usize>(),
        allowed.len()
    ));
}

/// Message, place and reason of each line.
fn lines() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    ALLOWED.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| {
        let mut fields = line.splitn(3, " | ").map(str::trim);
        let mut next = || fields.next().unwrap_or_else(|| panic!("message | place | RFC clause: reason: {line}"));
        (next(), next(), next())
    })
}

#[test]
fn each_line_names_an_rfc() {
    for (name, place, reason) in lines() {
        assert!(reason.starts_with("RFC ") && reason.contains(": "), "{name} | {place} | {reason}");
        assert!(name == "*" || ITEMS.iter().any(|item| place.split('.').next() == Some(item)), "{place}");
    }
}
