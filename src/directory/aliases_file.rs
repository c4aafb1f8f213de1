//! The text of alias files: aliases(5) as Postfix and sendmail have it, and the lists that `:include:` names.
//!
//! Text in, entries and complaints out. Knows no files and not who exists. What would start a command or write to a file
//! is never done: such an entry is left out and told of by its line.

use crate::config::AliasTarget;
use crate::mail::address::local_key;
use crate::mail::limits::ALIAS_FILE_FLAWS;

/// What stands for octets that are no UTF-8.
const NOT_UTF8: char = char::REPLACEMENT_CHARACTER;

/// One of the right side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// An address, a name or another file.
    To(AliasTarget),
    /// `\name`: the mailbox of this name, whatever alias there is.
    Mailbox(String),
}

/// One alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The line it begins on.
    pub(super) line: usize,
    /// The name, folded as [`local_key`] does.
    pub(super) name: String,
    pub(super) targets: Vec<Written>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) line: usize,
    pub(super) what: String,
    /// Nobody can tell what was meant; else it was understood, and is not done here.
    pub(super) broken: bool,
}

/// What a text holds, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed<T> {
    pub(super) items: Vec<T>,
    pub(super) flaws: Vec<Flaw>,
}

impl<T> Parsed<T> {
    fn new() -> Self {
        Self { items: Vec::new(), flaws: Vec::new() }
    }

    /// Whether there is a line of which nobody can tell what was meant.
    pub(super) fn is_broken(&self) -> bool {
        self.flaws.iter().any(|flaw| flaw.broken)
    }

    fn add(&mut self, flaw: Flaw) {
        // The first that is broken is kept in any case: it decides.
        if self.flaws.len() < ALIAS_FILE_FLAWS || (flaw.broken && !self.is_broken()) {
            self.flaws.push(flaw);
        }
    }
}

/// Reads aliases(5): `name: target, target`, where a line that begins with white space goes on with the one before.
pub(super) fn aliases(text: &str) -> Parsed<Entry> {
    let mut parsed = Parsed::new();
    let mut seen = std::collections::HashMap::new();
    for (line, logical) in logical_lines(text) {
        match entry(line, &logical) {
            Ok(entry) => match seen.entry(entry.name.clone()) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    let what = format!("{:?} is on line {} already; this one is left out", entry.name, first.get());
                    parsed.add(Flaw { line, what, broken: false });
                }
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert(line);
                    parsed.items.push(entry);
                }
            },
            Err(flaw) => parsed.add(flaw),
        }
    }
    parsed
}

/// Reads a list of addresses: one a line or with commas, `#` begins a comment.
pub(super) fn list(text: &str) -> Parsed<Written> {
    let mut parsed = Parsed::new();
    for (line, text) in (1..).zip(text.lines()) {
        let comment = text
            .char_indices()
            .find(|(at, c)| *c == '#' && text[..*at].chars().next_back().is_none_or(char::is_whitespace));
        let text = comment.map_or(text, |(at, _)| &text[..at]);
        match targets(line, text) {
            Ok(targets) => parsed.items.extend(targets),
            Err(flaw) => parsed.add(flaw),
        }
    }
    parsed
}

/// Logical lines with the number of the physical line they begin on. Empty lines and comments end none.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, last)) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => lines.push((number, line.to_owned())),
        }
    }
    lines
}

fn entry(line: usize, text: &str) -> Result<Entry, Flaw> {
    let broken = |what: &str| Flaw { line, what: what.to_owned(), broken: true };
    let Some(colon) = unquoted(text, ':') else {
        return Err(broken("a name and a colon were expected, for example \"postmaster: alice\""));
    };
    let name = text[..colon].trim();
    if name.contains('@') && !name.starts_with('"') {
        return Err(Flaw { line, what: format!("{name:?} has a domain; names of this file have none"), broken: false });
    }
    let name = match AliasTarget::parse(name) {
        _ if name.contains(NOT_UTF8) => return Err(broken(&format!("{name:?} is not UTF-8"))),
        Ok(AliasTarget::Name(name)) => local_key(&name),
        _ => return Err(broken(&format!("{name:?} is not a name"))),
    };
    let targets = targets(line, &text[colon + 1..])?;
    if targets.is_empty() {
        return Err(broken(&format!("{name:?} stands for nobody")));
    }
    Ok(Entry { line, name, targets })
}

/// Where a character stands first outside of quotes.
fn unquoted(text: &str, wanted: char) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == wanted && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Addresses with commas between them.
fn targets(line: usize, text: &str) -> Result<Vec<Written>, Flaw> {
    let mut found = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (item, next) = match unquoted(text, ',') {
            Some(comma) => (&text[..comma], Some(&text[comma + 1..])),
            None => (text, None),
        };
        rest = next;
        let item = item.trim();
        if !item.is_empty() {
            found.push(target(line, item)?);
        }
    }
    Ok(found)
}

fn target(line: usize, item: &str) -> Result<Written, Flaw> {
    // `Alice <alice@example.com>` is an address, too.
    let bare = item.rsplit_once('<').and_then(|(_, inner)| inner.strip_suffix('>')).unwrap_or(item).trim();
    if bare.contains(NOT_UTF8) {
        return Err(Flaw { line, what: format!("{bare:?} is not UTF-8"), broken: true });
    }
    if let Some(name) = bare.strip_prefix('\\')
        && let Ok(AliasTarget::Name(name)) = AliasTarget::parse(name)
    {
        return Ok(Written::Mailbox(name));
    }
    // `"|command, with commas"` and the like are quoted as a whole.
    let inner = bare.strip_prefix('"').and_then(|b| b.strip_suffix('"'));
    let bare = inner.filter(|inner| inner.starts_with(['|', '/', ':'])).unwrap_or(bare);
    let understood = bare.starts_with(['|', '/', ':']);
    let parsed = AliasTarget::parse(bare).map(Written::To);
    parsed.map_err(|what| Flaw { line, what, broken: !understood })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(entry: &Entry) -> String {
        let targets: Vec<String> = entry
            .targets
            .iter()
            .map(|t| match t {
                Written::To(target) => target.to_string(),
                Written::Mailbox(name) => format!("\\{name}"),
            })
            .collect();
        format!("{} {} {}", entry.line, entry.name, targets.join("|"))
    }

    #[test]
    fn the_files_of_others_are_read_as_they_are() {
        let text = "# See man 5 aliases\nPostmaster:    root\n\nroot: alice,\n# in between\n\tbob@elsewhere.example ,\n  \"a b\"\n\
                    \"odd, name\": \\alice\nlist: :include:/etc/lists/all, Carol <carol@example.com>\n\
                    prog: \"|/usr/bin/vacation, really\"\nnull: /dev/null\nfail: :fail: no such\nmixed: alice, |cmd\nroot: again\n";
        let parsed = aliases(text);
        let entries: Vec<String> = parsed.items.iter().map(shown).collect();
        assert_eq!(
            entries,
            [
                "2 postmaster root",
                "4 root alice|bob@elsewhere.example|a b",
                "8 odd, name alice".replace(" alice", " \\alice").as_str(),
                "9 list :include:/etc/lists/all|carol@example.com",
            ]
        );
        let flaws: Vec<usize> = parsed.flaws.iter().map(|f| f.line).collect();
        assert_eq!(flaws, [10, 11, 12, 13, 14]);
        assert!(!parsed.is_broken(), "{:?}", parsed.flaws);
    }

    #[test]
    fn what_cannot_be_meant_is_broken() {
        for text in ["no colon here\n", "a b: alice\n", "a: b c\n", "a:\n", "a: x@\n", ": alice\n", "a: \"open, b\n"] {
            let parsed = aliases(text);
            assert!(parsed.is_broken() && parsed.items.is_empty(), "{text:?} {parsed:?}");
            assert_eq!(parsed.flaws[0].line, 1);
        }
        let many = "|x\n".repeat(1000) + "a b c\n";
        let parsed = list(&many);
        assert!(parsed.is_broken() && parsed.flaws.len() == ALIAS_FILE_FLAWS + 1);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_or_names_what_is_not_said(text in "[a-c:,\"\\\\|/@#<> \t\n.é]{0,60}") {
            for written in aliases(&text).items.into_iter().flat_map(|entry| entry.targets).chain(list(&text).items) {
                if let Written::To(AliasTarget::Include(path)) = &written {
                    proptest::prop_assert!(path.is_absolute());
                }
            }
        }
    }

    #[test]
    fn lists_have_comments_and_commas() {
        let parsed = list("# members\nalice, bob@example.com # both\n\n\\carol\nd#x@example.com\n");
        assert_eq!(parsed.items.len(), 4, "{parsed:?}");
        assert!(parsed.flaws.is_empty());
    }
}
