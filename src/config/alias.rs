//! `[aliases]` and `[[alias_pattern]]`: addresses that stand for others, as they are written in the file.
//!
//! Where they lead in the end, and what a list of addresses in another file holds, is for `directory`.

use std::path::PathBuf;

use regex_lite::Regex;
use regex_lite::RegexBuilder;
use toml::de::DeValue;

use super::read::Table;
use super::value::Span;
use super::value::Value;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::limits::ALIAS_PATTERN_COMPILED;
use crate::mail::limits::ALIAS_PATTERN_NESTING;
use crate::mail::limits::ALIAS_PATTERN_OCTETS;

/// The left side of an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasName {
    /// One address.
    Address(Address),
    /// `@example.com`: every address of a domain that nothing else knows.
    CatchAll(Domain),
}

impl std::fmt::Display for AliasName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::CatchAll(domain) => write!(f, "@{domain}"),
        }
    }
}

impl Value for AliasName {
    const EXPECTED: &'static str = "an address was expected, for example \"sales@example.com\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        let text = value.as_str()?;
        if let Some(domain) = text.strip_prefix('@') {
            let catch_all = Domain::parse(domain).map(Self::CatchAll);
            return Some(catch_all.map_err(|_| {
                format!("{text:?} is not a domain behind an @; for all addresses of a domain write \"@example.com\"")
            }));
        }
        Some(<Address as Value>::read(value)?.map(Self::Address))
    }
}

/// One of the right side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AliasTarget {
    /// An address, here or elsewhere.
    Address(Address),
    /// A name without a domain: of the domain of the alias itself.
    Name(String),
    /// `:include:/path`: all that a file lists.
    Include(PathBuf),
}

impl AliasTarget {
    /// Reads what one may write, here as in the files of other mail servers.
    ///
    /// # Errors
    /// Words for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(":include:") {
            let path = path.trim();
            return match path.starts_with('/') {
                true => Ok(Self::Include(path.into())),
                false => Err(format!("{text:?} does not name a file from the root on; write :include:/path/to/file")),
            };
        }
        match text.bytes().next() {
            None => return Err("there is nothing where an address was expected".to_owned()),
            Some(b'|') => return Err(format!("{text:?} is a command, and mail never starts one here")),
            Some(b'/') => return Err(format!("{text:?} is a file, and mail is never written to one here")),
            Some(b':') => return Err(format!("{text:?} is not supported; :include:/path/to/file is")),
            Some(_) => {}
        }
        if !text.contains('@') {
            // The name must be one in whatever domain.
            let probe = Address::parse(&format!("{text}@example.com"));
            return probe.map(|address| Self::Name(address.local().to_owned())).map_err(|_| {
                format!(
                    "{text:?} is neither an address nor a name; write one such as \"alice@example.com\" or \"alice\""
                )
            });
        }
        Address::parse(text)
            .map(Self::Address)
            .map_err(|error| format!("{text:?} is not an address ({error}); write one such as \"alice@example.com\""))
    }

    /// The address that is meant in an alias of this domain; `None` for a file.
    #[must_use]
    pub fn address_in(&self, domain: &Domain) -> Option<Address> {
        match self {
            Self::Address(address) => Some(address.clone()),
            Self::Name(local) => Address::from_parts(local, domain.clone()).ok(),
            Self::Include(_) => None,
        }
    }
}

impl std::fmt::Display for AliasTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(local) => f.write_str(local),
            Self::Include(path) => write!(f, ":include:{}", path.display()),
        }
    }
}

impl Value for AliasTarget {
    const EXPECTED: &'static str = "an address was expected, for example \"alice@example.com\"";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        value.as_str().map(Self::parse)
    }
}

/// An address that stands for others.
#[derive(Debug, Clone)]
pub struct AliasEntry {
    /// The address, or a whole domain.
    pub name: Span<AliasName>,
    /// What it stands for, here or elsewhere.
    pub targets: Vec<Span<AliasTarget>>,
    /// Not in force when false: nobody is there then.
    pub enabled: bool,
    /// What for; shown by `facteur alias list`.
    pub comment: String,
    /// Of a whole domain: addresses that it does not stand for.
    pub except: Vec<Span<Address>>,
}

/// Addresses that follow a pattern.
#[derive(Debug, Clone)]
pub struct AliasPattern {
    /// The pattern, which fits a whole address or not at all.
    pub pattern: Span<AliasRegex>,
    /// What it stands for, `$1` and `$name` filled in.
    pub to: Vec<Span<String>>,
    /// Not in force when false.
    pub enabled: bool,
    /// What for.
    pub comment: String,
}

/// A regular expression for whole addresses, without regard to ASCII case.
#[derive(Debug, Clone)]
pub struct AliasRegex {
    text: String,
    regex: Regex,
}

impl AliasRegex {
    /// Anchors and compiles.
    ///
    /// # Errors
    /// Words for the operator.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > ALIAS_PATTERN_OCTETS {
            return Err(format!("the pattern is longer than {ALIAS_PATTERN_OCTETS} octets"));
        }
        let compile = |text: &str| {
            RegexBuilder::new(text)
                .case_insensitive(true)
                .size_limit(ALIAS_PATTERN_COMPILED)
                .nest_limit(ALIAS_PATTERN_NESTING)
                .build()
        };
        // By itself first: `a)|(b` would else become whole by the parentheses around it.
        let regex = compile(text).and_then(|_| compile(&format!("^(?:{text})$")));
        regex.map(|regex| Self { text: text.to_owned(), regex }).map_err(|error| {
            format!("{text:?} is not a pattern: {error}; write for example '^sales-(.*)@example\\.com$'")
        })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it fits the whole of this.
    #[must_use]
    pub fn fits(&self, address: &str) -> bool {
        self.regex.is_match(address)
    }

    /// The templates with what it found filled in; `None` where it does not fit.
    pub fn expand<'t>(&self, address: &str, templates: impl Iterator<Item = &'t str>) -> Option<Vec<String>> {
        let found = self.regex.captures(address)?;
        let fill = |template: &str| {
            let mut text = String::new();
            found.expand(template, &mut text);
            text
        };
        Some(templates.map(fill).collect())
    }

    /// The first `$name` of a template that the pattern does not have.
    #[must_use]
    pub fn lacks<'t>(&self, template: &'t str) -> Option<&'t str> {
        let known = |name: &str| match name.parse::<usize>() {
            Ok(number) => number < self.regex.captures_len(),
            Err(_) => self.regex.capture_names().flatten().any(|n| n == name),
        };
        pieces(template).into_iter().find_map(|piece| match piece {
            Piece::Group(name) if !known(name) => Some(name),
            Piece::Group(_) | Piece::Text(_) => None,
        })
    }

    /// What a template may come out as: with a word in place of each `$name`, behind an `@` with a domain.
    #[must_use]
    pub fn sample(template: &str) -> String {
        let mut text = String::new();
        for piece in pieces(template) {
            text.push_str(match piece {
                Piece::Text(piece) => piece,
                Piece::Group(_) if text.contains('@') => "x.example",
                Piece::Group(_) => "x",
            });
        }
        text
    }
}

/// A part of a template.
enum Piece<'t> {
    Text(&'t str),
    /// What the group of this name or number has found.
    Group(&'t str),
}

/// Cuts a template as the regular expressions do that fill it in.
fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('$') {
        pieces.push(Piece::Text(before));
        if let Some(escaped) = behind.strip_prefix('$') {
            pieces.push(Piece::Text("$"));
            rest = escaped;
            continue;
        }
        let (name, after) = match behind.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(split) => split,
            None => {
                let end = behind.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(behind.len());
                behind.split_at(end)
            }
        };
        pieces.push(Piece::Group(name));
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

impl Value for AliasRegex {
    const EXPECTED: &'static str = "a pattern was expected, for example '^sales-(.*)@example\\.com$'";
    fn read(value: &DeValue<'_>) -> Option<Result<Self, String>> {
        value.as_str().map(Self::new)
    }
}

/// Reads `[aliases]`.
pub(super) fn read_aliases(table: Table<'_, '_>) -> Vec<AliasEntry> {
    let simple =
        |name, targets| AliasEntry { name, targets, enabled: true, comment: String::new(), except: Vec::new() };
    table.each(simple, |name, mut table| {
        let there = table.has("to");
        let targets = table.list("to").unwrap_or_default();
        if !there {
            table.problem_here("to", "missing; say where it leads, for example to = [\"alice@example.com\"]");
        }
        let enabled = table.value("enabled").is_none_or(|on| on.value);
        let comment = table.value("comment").map_or_else(String::new, |text| text.value);
        let except = table.list("except").unwrap_or_default();
        table.finish();
        there.then_some(AliasEntry { name, targets, enabled, comment, except })
    })
}

/// Reads one `[[alias_pattern]]`.
pub(super) fn read_pattern(mut table: Table<'_, '_>) -> Option<AliasPattern> {
    let pattern = table.required("pattern", "for example pattern = '^sales-(.*)@example\\.com$'");
    let to = table.list("to").unwrap_or_default();
    let enabled = table.value("enabled").is_none_or(|on| on.value);
    let comment = table.value("comment").map_or_else(String::new, |text| text.value);
    table.finish();
    pattern.map(|pattern| AliasPattern { pattern, to, enabled, comment })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_what_is_none() {
        for (text, wanted) in [
            ("alice@example.com", "alice@example.com"),
            ("alice", "alice"),
            (":include:/etc/list", ":include:/etc/list"),
            ("\"a b\"@example.com", "\"a b\"@example.com"),
        ] {
            assert_eq!(AliasTarget::parse(text).map(|t| t.to_string()).as_deref(), Ok(wanted));
        }
        for (text, words) in [
            ("|/bin/sh", "is a command"),
            ("/var/mail/x", "is a file"),
            (":fail:", "is not supported"),
            (":include:list", "from the root on"),
            ("", "nothing where an address"),
            ("a b", "neither an address nor a name"),
            ("a@b@c", "is not an address"),
        ] {
            let error = AliasTarget::parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn patterns_fit_whole_addresses() {
        let pattern = AliasRegex::new("sales-(.*)@example\\.com|(?P<who>x)@y").expect("valid");
        let expand = |address: &str| pattern.expand(address, ["$1@example.com"].into_iter());
        assert_eq!(expand("Sales-North@example.com"), Some(vec!["North@example.com".to_owned()]));
        assert_eq!(expand("presales-north@example.com"), None);
        assert_eq!(expand("sales-north@example.com.evil"), None);
        assert_eq!(
            (pattern.lacks("$1 ${who} $$9"), pattern.lacks("$3"), pattern.lacks("a$1_x")),
            (None, Some("3"), Some("1_x"))
        );
        for (template, sample) in [("$1", "x"), ("a-${who}$$@b", "a-x$@b"), ("$1@$2", "x@x.example"), ("|$1", "|x")] {
            assert_eq!(AliasRegex::sample(template), sample);
        }
        for bad in [
            "(",
            "a)|(b",
            &"x".repeat(ALIAS_PATTERN_OCTETS + 1),
            "(?:(?:a{200}){200}){200}",
            &format!("{}a{}", "(".repeat(100), ")".repeat(100)),
        ] {
            assert!(AliasRegex::new(bad).is_err(), "{bad}");
        }
    }
}
