//! Files of aliases and patterns of them: what is read is bounded and leads to addresses alone.
//!
//! The input: a file of aliases; or, after a first octet `P`, lines: a pattern, what it stands for, addresses.
//! Compiled into `directory` by the fuzz build alone, for the readers are private.

use std::collections::HashSet;
use std::path::Path;

use super::aliases_file;
use super::aliases_file::Written;
use super::expand;
use super::expand::Expansion;
use super::files::AliasFiles;
use super::table::Found;
use super::table::Table;
use crate::config;
use crate::config::AliasTarget;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::local_key;
use crate::mail::limits::ALIAS_FILE_FLAWS;
use crate::mail::limits::ALIAS_RESULTS;

/// Checks a file, or a pattern.
pub fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    match text.strip_prefix('P') {
        Some(lines) => pattern_holds(lines),
        None => file_holds(&text),
    }
}

fn file_holds(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let parts = lines.len() + text.matches(',').count();
    let parsed = aliases_file::aliases(text);
    assert!(parsed.flaws.len() <= ALIAS_FILE_FLAWS + 1 && parsed.items.len() <= lines.len());
    let mut names = HashSet::new();
    let mut last = 0;
    for entry in &parsed.items {
        assert!(names.insert(&entry.name) && local_key(&entry.name) == entry.name, "{:?}", entry.name);
        assert!(entry.line > last && entry.line <= lines.len(), "lines go up");
        last = entry.line;
        let begins = lines[entry.line - 1];
        assert!(!begins.trim_start().starts_with('#') && !begins.trim().is_empty());
        assert!(!entry.targets.is_empty());
        entry.targets.iter().for_each(target_holds);
    }
    let targets: usize = parsed.items.iter().map(|entry| entry.targets.len()).sum();
    assert!(targets <= parts);
    assert!(parsed.flaws.iter().all(|flaw| (1..=lines.len()).contains(&flaw.line)));
    // The end of lines of another system changes nothing.
    if !text.contains('\r') {
        assert_eq!(aliases_file::aliases(&text.replace('\n', "\r\n")).items, parsed.items);
    }
    let list = aliases_file::list(text);
    assert!(list.items.len() <= parts && list.flaws.len() <= ALIAS_FILE_FLAWS + 1);
    list.items.iter().for_each(target_holds);
}

fn target_holds(written: &Written) {
    let domain = Domain::parse("example.com").expect("a domain");
    match written {
        Written::Mailbox(local) => assert!(Address::from_parts(local, domain).is_ok(), "{local:?}"),
        Written::To(AliasTarget::Include(path)) => assert!(path.is_absolute()),
        Written::To(target) => {
            let address = target.address_in(&domain).expect("an address");
            assert_eq!(Address::parse(&address.to_string()).as_ref(), Ok(&address));
        }
    }
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

fn pattern_holds(lines: &str) {
    let mut lines = lines.lines();
    let (Some(pattern), Some(to)) = (lines.next(), lines.next()) else { return };
    let to: Vec<String> = to.split(' ').map(quoted).collect();
    let text = format!(
        "hostname = \"mx.example.com\"\n[[domain]]\nname = \"example.com\"\n[[account]]\naddress = \"a@example.com\"\n\
         [[alias_pattern]]\npattern = {}\nto = [{}]\n",
        quoted(pattern),
        to.join(", ")
    );
    let Ok(config) = config::parse(Path::new("t.toml"), &text) else { return };
    let [read] = config.alias_patterns.as_slice() else { panic!("one pattern, or none: {text}") };
    let mut complaints = Vec::new();
    let table = Table::new(&config, &AliasFiles::default(), &mut complaints);
    for line in lines.take(8) {
        let Ok(address) = Address::parse(line) else { continue };
        let expansion = Expansion::of(&table, &address);
        assert!(expansion.destinations.len() <= ALIAS_RESULTS);
        drop(expand::way(&table, &address));
        let Found::Pattern(_, addresses) = table.find(&address) else { continue };
        assert_eq!(addresses.len(), read.to.len());
        for (found, template) in addresses.iter().zip(&read.to) {
            assert_eq!(Address::parse(&found.to_string()).as_ref(), Ok(found));
            assert!(
                found.domain() == address.domain() || table.is_local(found.domain()) || {
                    // Only the operator names a domain elsewhere.
                    let (_, written) = template.value.rsplit_once('@').expect("it has a domain");
                    Domain::parse(written).as_ref() == Ok(found.domain())
                }
            );
        }
    }
}
