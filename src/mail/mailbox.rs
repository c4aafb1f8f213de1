//! Names of mailboxes as people see them, checked once.
//!
//! A [`MailboxName`] can be handed to the store without fear: no component can leave the account's folder. How it is
//! written on the wire is IMAP's business, and on disk the store's.

use std::borrow::Cow;
use std::fmt;

use crate::mail::limits::MAILBOX_COMPONENT_OCTETS;
use crate::mail::limits::MAILBOX_DEPTH;
use crate::mail::utf7;

/// The name of a mailbox: components joined by `/`; `INBOX` in capitals.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxName(String);

/// Why a text is not a mailbox name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxNameError {
    /// Nothing there, or nothing between two separators.
    Empty,
    /// `.`, `..`, or a control character.
    Forbidden,
    /// A component or the whole is too long, or too deep.
    TooLong,
}

impl fmt::Display for MailboxNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty mailbox name",
            Self::Forbidden => "mailbox name with a forbidden component",
            Self::TooLong => "mailbox name too long or too deep",
        })
    }
}

impl std::error::Error for MailboxNameError {}

/// What stands between the components of a [`MailboxName`], and on the wire by default.
pub const SEPARATOR: char = '/';

/// What stands between the components of a name on the wire.
///
/// With a dot, a dot within a component is written `\2e`, as it is in the names of Maildir++ folders: so Dovecot
/// shows such a folder, too. A slash cannot be part of a component in either way of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Separator {
    /// `/`.
    #[default]
    Slash,
    /// `.`, as clients of Courier and of older Dovecots know it.
    Dot,
}

impl Separator {
    /// The character.
    #[must_use]
    pub fn char(self) -> char {
        match self {
            Self::Slash => '/',
            Self::Dot => '.',
        }
    }

    /// Reads a decoded name from the wire.
    ///
    /// # Errors
    /// As [`MailboxName::parse`]; with dots also [`MailboxNameError::Forbidden`] where a slash is in it.
    pub fn parse(self, text: &str) -> Result<MailboxName, MailboxNameError> {
        match self {
            Self::Slash => MailboxName::parse(text),
            Self::Dot if text.contains(SEPARATOR) => Err(MailboxNameError::Forbidden),
            Self::Dot => {
                let components: Vec<String> = text.split('.').map(unescape_dots).collect();
                MailboxName::parse(&components.join("/"))
            }
        }
    }

    /// A name for the wire, not yet encoded. What is longer by its dots than it may be cannot be given back; such a
    /// name would have been refused.
    #[must_use]
    pub fn text(self, name: &MailboxName) -> Cow<'_, str> {
        match self {
            Self::Slash => Cow::Borrowed(name.as_str()),
            Self::Dot => {
                let components: Vec<String> = name.components().map(escape_dots).collect();
                Cow::Owned(components.join("."))
            }
        }
    }
}

/// A component in a name whose separator is the dot: `.` becomes `\2e`, and a `\` that would be taken for the start of
/// that becomes `\5c`. All other names stay as they are, which is how Dovecot reads and shows them.
#[must_use]
pub fn escape_dots(component: &str) -> String {
    let mut escaped = String::with_capacity(component.len());
    for (at, c) in component.char_indices() {
        match c {
            '.' => escaped.push_str("\\2e"),
            '\\' if is_escape(&component[at + 1..]) => escaped.push_str("\\5c"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Undoes [`escape_dots`].
#[must_use]
pub fn unescape_dots(escaped: &str) -> String {
    let mut plain = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix("2e") {
            plain.push('.');
            rest = after;
        } else {
            plain.push('\\');
            rest = rest.strip_prefix("5c").filter(|after| is_escape(after)).unwrap_or(rest);
        }
    }
    plain.push_str(rest);
    plain
}

fn is_escape(after: &str) -> bool {
    after.starts_with("2e") || after.starts_with("5c")
}

impl MailboxName {
    /// The inbox, which always exists.
    #[must_use]
    pub fn inbox() -> Self {
        Self("INBOX".to_owned())
    }

    /// Checks a decoded name. `inbox` in any case is `INBOX` (RFC 3501 §5.1), also as the first component, so that no
    /// twin of it can be made. One trailing separator, by which RFC 3501 §6.3.3 announces children, is dropped.
    ///
    /// # Errors
    /// Says what is wrong; see [`MailboxNameError`].
    pub fn parse(name: &str) -> Result<Self, MailboxNameError> {
        let name = name.strip_suffix(SEPARATOR).unwrap_or(name);
        if name.is_empty() {
            return Err(MailboxNameError::Empty);
        }
        if name.split(SEPARATOR).count() > MAILBOX_DEPTH {
            return Err(MailboxNameError::TooLong);
        }
        let mut octets_on_disk = 0;
        for component in name.split(SEPARATOR) {
            if component.is_empty() {
                return Err(MailboxNameError::Empty);
            }
            if component == "." || component == ".." || component.chars().any(char::is_control) {
                return Err(MailboxNameError::Forbidden);
            }
            let octets = escape_dots(&utf7::encode(component)).len();
            octets_on_disk += octets + 1;
            if octets > MAILBOX_COMPONENT_OCTETS {
                return Err(MailboxNameError::TooLong);
            }
        }
        // The whole is one folder name in Maildir++, each component with a dot before it.
        if octets_on_disk > MAILBOX_COMPONENT_OCTETS + 1 {
            return Err(MailboxNameError::TooLong);
        }
        let (first, rest) = name.split_at(name.find(SEPARATOR).unwrap_or(name.len()));
        if first.eq_ignore_ascii_case("INBOX") { Ok(Self(format!("INBOX{rest}"))) } else { Ok(Self(name.to_owned())) }
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the inbox.
    #[must_use]
    pub fn is_inbox(&self) -> bool {
        self.0 == "INBOX"
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR)
    }

    /// The mailbox that this one is in.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once(SEPARATOR).map(|(parent, _)| Self(parent.to_owned()))
    }

    /// Whether this one is inside of `other`, at any depth.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// The same mailbox after `from` was renamed to `to`, where this one is below `from`.
    ///
    /// # Errors
    /// [`MailboxNameError::TooLong`] where the new name does not fit.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Result<Self, MailboxNameError>> {
        let rest = self.0.strip_prefix(from.as_str()).filter(|rest| rest.starts_with(SEPARATOR))?;
        Some(Self::parse(&format!("{to}{rest}")))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a mailbox is for (RFC 6154 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// `\Archive`.
    Archive,
    /// `\Drafts`.
    Drafts,
    /// `\Junk`.
    Junk,
    /// `\Sent`.
    Sent,
    /// `\Trash`.
    Trash,
}

impl SpecialUse {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Archive, Self::Drafts, Self::Junk, Self::Sent, Self::Trash];

    /// The attribute in LIST.
    #[must_use]
    pub fn attribute(self) -> &'static str {
        match self {
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
        }
    }

    /// The name under which we make it: the attribute without its backslash.
    #[must_use]
    pub fn default_name(self) -> &'static str {
        self.attribute().trim_start_matches('\\')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_account_do_not_parse() {
        for bad in [
            "",
            "/",
            "/etc",
            "..",
            "../x",
            "a/../b",
            "a//b",
            ".",
            "a/./b",
            "a\0b",
            "a\u{7f}",
            "INBOX/../../other",
            "//",
        ] {
            assert!(MailboxName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(MailboxName::parse(&"a/".repeat(1000)).is_err());
        assert!(MailboxName::parse(&"a".repeat(10_000)).is_err());
        assert!(MailboxName::parse(&"ü-".repeat(45)).is_err());
    }

    #[test]
    fn dots_are_escaped_and_back() {
        for (plain, escaped) in [
            ("a.b", "a\\2eb"),
            ("a\\b", "a\\b"),
            ("a\\2eb", "a\\5c2eb"),
            ("a\\5cb", "a\\5c5cb"),
            ("\\.\\", "\\\\2e\\"),
            ("\\\\2e", "\\\\5c2e"),
            ("\\5c2e", "\\5c5c2e"),
            ("plain", "plain"),
        ] {
            assert_eq!(escape_dots(plain), escaped);
            assert_eq!(unescape_dots(escaped), plain);
        }
        // Every text of these letters comes back.
        for n in 0..7_u32.pow(5) {
            let text: String = (0..5).map(|d| b"\\.25ecx"[(n / 7_u32.pow(d) % 7) as usize] as char).collect();
            assert_eq!(unescape_dots(&escape_dots(&text)), text);
        }
    }

    #[test]
    fn names_with_either_separator() {
        let name = |t: &str| MailboxName::parse(t).expect("valid");
        for (plain, slash, dot) in
            [("a/b.c", "a/b.c", "a.b\\2ec"), ("INBOX/x", "INBOX/x", "INBOX.x"), ("a\\b", "a\\b", "a\\b")]
        {
            for (separator, text) in [(Separator::Slash, slash), (Separator::Dot, dot)] {
                assert_eq!(separator.text(&name(plain)), text);
                assert_eq!(separator.parse(text), Ok(name(plain)));
            }
        }
        assert_eq!(Separator::Dot.parse("a."), Ok(name("a")));
        for (bad, error) in [
            ("a/b", MailboxNameError::Forbidden),
            ("a..b", MailboxNameError::Empty),
            (".a", MailboxNameError::Empty),
            ("\\2e\\2e.a", MailboxNameError::Forbidden),
            ("", MailboxNameError::Empty),
        ] {
            assert_eq!(Separator::Dot.parse(bad), Err(error), "{bad:?}");
        }
        assert!(Separator::Dot.parse("inbox").expect("valid").is_inbox());
    }

    #[test]
    fn a_name_may_fill_its_folder() {
        assert!(MailboxName::parse(&"x".repeat(254)).is_ok());
        assert_eq!(MailboxName::parse(&"x".repeat(255)), Err(MailboxNameError::TooLong));
        assert!(MailboxName::parse(&format!("{}/{}", "x".repeat(126), "y".repeat(127))).is_ok());
        assert_eq!(MailboxName::parse(&"x.".repeat(64)), Err(MailboxNameError::TooLong));
    }

    #[test]
    fn inbox_has_one_spelling() {
        for inbox in ["inbox", "INBOX", "InBoX", "inbox/"] {
            assert!(MailboxName::parse(inbox).expect("valid").is_inbox());
        }
        assert_eq!(MailboxName::parse("inbox/Sub").expect("valid").as_str(), "INBOX/Sub");
        assert_eq!(MailboxName::parse("inboxes").expect("valid").as_str(), "inboxes");
    }

    #[test]
    fn family() {
        let name = |t: &str| MailboxName::parse(t).expect("valid");
        assert_eq!(name("a/b/c").parent(), Some(name("a/b")));
        assert!(
            name("a/b").is_below(&name("a")) && !name("ab").is_below(&name("a")) && !name("a").is_below(&name("a"))
        );
        assert_eq!(name("a/b").moved(&name("a"), &name("x/y")), Some(Ok(name("x/y/b"))));
        assert_eq!(name("ab").moved(&name("a"), &name("x")), None);
    }
}
