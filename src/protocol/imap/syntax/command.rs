//! Whole commands (RFC 3501 §6, §9 `command`): a tag, a name, and the arguments that belong to it.
//!
//! Knows nothing of states: whether a command may be given now is the session's business.

use crate::mail::limits::IMAP_CONTEXTS;
use crate::mail::mailbox::MailboxName;
use crate::mail::secret::Secret;
use crate::protocol::imap::syntax::append::Append;
use crate::protocol::imap::syntax::append::Ends;
use crate::protocol::imap::syntax::append::arguments;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::cursor::is_atom_char;
use crate::protocol::imap::syntax::fetch::FetchItem;
use crate::protocol::imap::syntax::fetch::FetchModifiers;
use crate::protocol::imap::syntax::fetch::fetch_items;
use crate::protocol::imap::syntax::fetch::fetch_modifiers;
use crate::protocol::imap::syntax::list::ListArguments;
use crate::protocol::imap::syntax::mailbox::StatusItem;
use crate::protocol::imap::syntax::mailbox::mailbox;
use crate::protocol::imap::syntax::mailbox::status_items;
use crate::protocol::imap::syntax::metadata::GetMetadata;
use crate::protocol::imap::syntax::metadata::SetMetadata;
use crate::protocol::imap::syntax::multisearch::EsearchArguments;
use crate::protocol::imap::syntax::notify::NotifyArguments;
use crate::protocol::imap::syntax::search::SearchArguments;
use crate::protocol::imap::syntax::select::SelectParameters;
use crate::protocol::imap::syntax::set::SequenceSet;
use crate::protocol::imap::syntax::sort::SortArguments;
use crate::protocol::imap::syntax::sort::ThreadArguments;
use crate::protocol::imap::syntax::spelling::Spelling;
use crate::protocol::imap::syntax::store::StoreArguments;

/// Whether a command speaks of sequence numbers or of UIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Sequence numbers.
    Sequence,
    /// UIDs: the `UID` form of the command.
    Uid,
}

/// One command with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `CAPABILITY`.
    Capability,
    /// `NOOP`.
    Noop,
    /// `LOGOUT`.
    Logout,
    /// `ID` (RFC 2971).
    Id(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    /// `STARTTLS`.
    StartTls,
    /// `AUTHENTICATE`, with the initial response of SASL-IR (RFC 4959), still in base64.
    Authenticate {
        /// Name of the mechanism, in capitals.
        mechanism: String,
        /// Initial response.
        initial: Option<Secret<String>>,
    },
    /// `LOGIN`.
    Login {
        /// Who.
        user: Vec<u8>,
        /// The password.
        password: Secret<Vec<u8>>,
    },
    /// `ENABLE` (RFC 5161).
    Enable(Vec<String>),
    /// `SELECT` or `EXAMINE`.
    Select {
        /// Which mailbox.
        mailbox: MailboxName,
        /// `EXAMINE`.
        read_only: bool,
        /// What else was said.
        parameters: SelectParameters,
    },
    /// `CREATE`, with the use attributes of RFC 6154 §3.
    Create(MailboxName, Vec<String>),
    /// `DELETE`.
    Delete(MailboxName),
    /// `RENAME`.
    Rename(MailboxName, MailboxName),
    /// `SUBSCRIBE`.
    Subscribe(MailboxName),
    /// `UNSUBSCRIBE`.
    Unsubscribe(MailboxName),
    /// `LIST`.
    List(ListArguments),
    /// `LSUB`.
    Lsub(ListArguments),
    /// `NOTIFY` (RFC 5465).
    Notify(NotifyArguments),
    /// `NAMESPACE` (RFC 2342).
    Namespace,
    /// `STATUS`.
    Status(MailboxName, Vec<StatusItem>),
    /// `GETQUOTA` (RFC 9208 §4.1.1), of this root.
    GetQuota(Vec<u8>),
    /// `SETQUOTA` of this root (RFC 9208 §4.1.3): names of resources and limits.
    SetQuota(Vec<u8>, Vec<(String, u64)>),
    /// `GETQUOTAROOT` (RFC 9208 §4.1.2).
    GetQuotaRoot(MailboxName),
    /// `GETMETADATA` (RFC 5464 §4.2).
    GetMetadata(GetMetadata),
    /// `SETMETADATA` (RFC 5464 §4.3).
    SetMetadata(SetMetadata),
    /// `APPEND` or `REPLACE` without a literal. One with literals is not read as a whole, see
    /// [`crate::protocol::imap::syntax::append`].
    Append(Append),
    /// `IDLE` (RFC 2177).
    Idle,
    /// `CHECK`.
    Check,
    /// `CLOSE`.
    Close,
    /// `UNSELECT` (RFC 3691).
    Unselect,
    /// `UNAUTHENTICATE` (RFC 8437).
    Unauthenticate,
    /// `EXPUNGE`, or `UID EXPUNGE` of these (RFC 4315).
    Expunge(Option<SequenceSet>),
    /// `SEARCH`.
    Search(Numbers, SearchArguments),
    /// `SORT` (RFC 5256).
    Sort(Numbers, SortArguments),
    /// `THREAD` (RFC 5256).
    Thread(Numbers, ThreadArguments),
    /// `ESEARCH` (RFC 7377).
    Esearch(EsearchArguments),
    /// `CANCELUPDATE` of the searches with these tags (RFC 5267 §4.3.5).
    CancelUpdate(Vec<String>),
    /// `FETCH`.
    Fetch(Numbers, SequenceSet, Vec<FetchItem>, FetchModifiers),
    /// `STORE`.
    Store(Numbers, SequenceSet, StoreArguments),
    /// `COPY`.
    Copy(Numbers, SequenceSet, MailboxName),
    /// `MOVE` (RFC 6851).
    Move(Numbers, SequenceSet, MailboxName),
}

/// More kinds of resources than there are.
const QUOTA_RESOURCES: usize = 20;

/// More use attributes than there are.
const CREATE_USES: usize = 20;

/// A command, or what is wrong with it; the tag is known in either case.
pub type Request = (String, Parsed<Command>);

/// Reads a whole command. `None` where not even a tag can be read.
#[must_use]
pub fn parse(bytes: &[u8], nesting: usize) -> Option<Request> {
    parse_with(bytes, nesting, Spelling::default())
}

/// As [`parse`], where mailbox names are spelled like this.
#[must_use]
pub fn parse_with(bytes: &[u8], nesting: usize, spelling: Spelling) -> Option<Request> {
    let mut cursor = Cursor::new(bytes, nesting).with_spelling(spelling);
    let tag = parse_tag(&mut cursor).ok()?;
    let command = command(&mut cursor).and_then(|command| cursor.end().map(|()| command));
    Some((tag, command))
}

/// `tag`: `1*<any ASTRING-CHAR except "+">`.
///
/// # Errors
/// There is none, or it is longer than any client's.
pub fn parse_tag(cursor: &mut Cursor<'_>) -> Parsed<String> {
    let run = cursor.run(|b| (is_atom_char(b) || b == b']') && b != b'+');
    if run.is_empty() || run.len() > 100 {
        return Err(SyntaxError::Bad("tag expected"));
    }
    Ok(String::from_utf8_lossy(run).into_owned())
}

fn command(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let name = cursor.atom()?.to_ascii_uppercase();
    if name == "UID" {
        cursor.space()?;
        let name = cursor.atom()?.to_ascii_uppercase();
        if name == "EXPUNGE" {
            cursor.space()?;
            return SequenceSet::parse(cursor).map(|set| Command::Expunge(Some(set)));
        }
        if name == "REPLACE" {
            return append(cursor, Some(Numbers::Uid));
        }
        return message_command(&name, Numbers::Uid, cursor);
    }
    Ok(match name.as_str() {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "STARTTLS" => Command::StartTls,
        "NAMESPACE" => Command::Namespace,
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "UNAUTHENTICATE" => Command::Unauthenticate,
        "EXPUNGE" => Command::Expunge(None),
        name => return command_with_arguments(name, cursor),
    })
}

fn command_with_arguments(name: &str, cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut one = |make: fn(MailboxName) -> Command| {
        cursor.space()?;
        mailbox(cursor).map(make)
    };
    match name {
        "SELECT" => select(cursor, false),
        "EXAMINE" => select(cursor, true),
        "APPEND" => append(cursor, None),
        "REPLACE" => append(cursor, Some(Numbers::Sequence)),
        "CREATE" => create(cursor),
        "NOTIFY" => {
            cursor.space()?;
            NotifyArguments::parse(cursor).map(Command::Notify)
        }
        "GETQUOTAROOT" => one(Command::GetQuotaRoot),
        "GETQUOTA" => {
            cursor.space()?;
            cursor.astring().map(Command::GetQuota)
        }
        "SETQUOTA" => {
            cursor.space()?;
            let root = cursor.astring()?;
            cursor.space()?;
            let limits = cursor.list(QUOTA_RESOURCES, |cursor| {
                let name = cursor.atom()?.to_ascii_uppercase();
                cursor.space()?;
                Ok((name, cursor.number64()?))
            })?;
            Ok(Command::SetQuota(root, limits))
        }
        "GETMETADATA" => {
            cursor.space()?;
            GetMetadata::parse(cursor).map(Command::GetMetadata)
        }
        "SETMETADATA" => {
            cursor.space()?;
            SetMetadata::parse(cursor).map(Command::SetMetadata)
        }
        "DELETE" => one(Command::Delete),
        "SUBSCRIBE" => one(Command::Subscribe),
        "UNSUBSCRIBE" => one(Command::Unsubscribe),
        "RENAME" => rename(cursor),
        "STATUS" => status(cursor),
        "LOGIN" => login(cursor),
        "AUTHENTICATE" => authenticate(cursor),
        "ENABLE" => enable(cursor),
        "CANCELUPDATE" => cancel_update(cursor),
        "ID" => id(cursor),
        "LIST" => {
            cursor.space()?;
            ListArguments::parse(cursor).map(Command::List)
        }
        "LSUB" => {
            cursor.space()?;
            ListArguments::parse_lsub(cursor).map(Command::Lsub)
        }
        name => message_command(name, Numbers::Sequence, cursor),
    }
}

/// The commands that have a `UID` form.
fn message_command(name: &str, numbers: Numbers, cursor: &mut Cursor<'_>) -> Parsed<Command> {
    if !matches!(name, "SEARCH" | "SORT" | "THREAD" | "ESEARCH" | "FETCH" | "STORE" | "COPY" | "MOVE") {
        return Err(SyntaxError::Bad("unknown command"));
    }
    cursor.space()?;
    match name {
        "SEARCH" => return SearchArguments::parse(cursor).map(|arguments| Command::Search(numbers, arguments)),
        "SORT" => return SortArguments::parse(cursor).map(|arguments| Command::Sort(numbers, arguments)),
        "THREAD" => return ThreadArguments::parse(cursor).map(|arguments| Command::Thread(numbers, arguments)),
        // RFC 7377 §2 writes it with UID in front as well; the answer has UIDs in either case.
        "ESEARCH" => return EsearchArguments::parse(cursor).map(Command::Esearch),
        _ => {}
    }
    let set = SequenceSet::parse(cursor)?;
    cursor.space()?;
    Ok(match name {
        "FETCH" => {
            let items = fetch_items(cursor)?;
            Command::Fetch(numbers, set, items, fetch_modifiers(cursor, numbers)?)
        }
        "STORE" => Command::Store(numbers, set, StoreArguments::parse(cursor)?),
        "COPY" => Command::Copy(numbers, set, mailbox(cursor)?),
        _ => Command::Move(numbers, set, mailbox(cursor)?),
    })
}

fn select(cursor: &mut Cursor<'_>, read_only: bool) -> Parsed<Command> {
    cursor.space()?;
    let mailbox = mailbox(cursor)?;
    Ok(Command::Select { mailbox, read_only, parameters: SelectParameters::parse(cursor)? })
}

/// Without a literal, which CATENATE allows (RFC 4469 §3).
fn append(cursor: &mut Cursor<'_>, replaces: Option<Numbers>) -> Parsed<Command> {
    cursor.space()?;
    let append = arguments(cursor, replaces, Ends::InNothing)?;
    append.map(Command::Append).ok_or(SyntaxError::Bad("APPEND needs a message"))
}

/// RFC 6154 §6, RFC 4466 §2.2.
fn create(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let name = mailbox(cursor)?;
    let mut uses = Vec::new();
    if cursor.take_word(" (USE ") {
        uses = cursor.list(CREATE_USES, |cursor| {
            cursor.expect(b'\\')?;
            Ok(format!("\\{}", cursor.atom()?))
        })?;
        cursor.expect(b')')?;
    }
    Ok(Command::Create(name, uses))
}

fn rename(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let from = mailbox(cursor)?;
    cursor.space()?;
    Ok(Command::Rename(from, mailbox(cursor)?))
}

fn status(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let name = mailbox(cursor)?;
    cursor.space()?;
    Ok(Command::Status(name, status_items(cursor)?))
}

fn login(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let user = cursor.astring()?;
    cursor.space()?;
    Ok(Command::Login { user, password: Secret::new(cursor.astring()?) })
}

fn authenticate(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    let mechanism = cursor.atom()?.to_ascii_uppercase();
    let mut initial = None;
    if cursor.take(b' ') {
        let run = cursor.run(|b| b.is_ascii_graphic());
        initial = Some(Secret::new(String::from_utf8_lossy(run).into_owned()));
    }
    Ok(Command::Authenticate { mechanism, initial })
}

fn enable(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut names = Vec::new();
    while cursor.take(b' ') && !cursor.is_end() && names.len() < 100 {
        names.push(cursor.atom()?.to_ascii_uppercase());
    }
    if names.is_empty() { Err(SyntaxError::Bad("capability missing")) } else { Ok(Command::Enable(names)) }
}

/// RFC 5267 §5: `1*(SP quoted)`.
fn cancel_update(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut tags = Vec::new();
    while cursor.take(b' ') && !cursor.is_end() {
        if tags.len() >= IMAP_CONTEXTS {
            return Err(SyntaxError::Bad("too many tags"));
        }
        tags.push(String::from_utf8_lossy(&cursor.string()?).into_owned());
    }
    if tags.is_empty() { Err(SyntaxError::Bad("tag missing")) } else { Ok(Command::CancelUpdate(tags)) }
}

/// RFC 2971 §3.1: at most 30 pairs.
fn id(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    cursor.space()?;
    if cursor.take_word("NIL") {
        return Ok(Command::Id(Vec::new()));
    }
    let pairs = cursor.list(30, |cursor| {
        let name = cursor.string()?;
        cursor.space()?;
        Ok((name, cursor.nstring()?))
    })?;
    Ok(Command::Id(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::imap::syntax::search::Key;

    fn read(text: &str) -> Parsed<Command> {
        let (tag, command) = parse(text.as_bytes(), 50).expect("tag");
        assert_eq!(tag, "a1");
        command
    }

    fn selected(mailbox: MailboxName, read_only: bool) -> Command {
        Command::Select { mailbox, read_only, parameters: SelectParameters::default() }
    }

    #[test]
    fn commands() {
        let name = |t: &str| MailboxName::parse(t).expect("valid");
        for (text, expected) in [
            ("a1 noop", Command::Noop),
            ("a1 NOOP ", Command::Noop),
            ("a1 SELECT inbox", selected(MailboxName::inbox(), false)),
            ("a1 EXAMINE {1}\r\nx", selected(name("x"), true)),
            ("a1 RENAME a \"b c\"", Command::Rename(name("a"), name("b c"))),
            ("a1 CREATE a/", Command::Create(name("a"), vec![])),
            ("a1 CREATE a (USE (\\Sent \\x))", Command::Create(name("a"), vec!["\\Sent".into(), "\\x".into()])),
            ("a1 GETQUOTA \"\"", Command::GetQuota(vec![])),
            ("a1 GETQUOTAROOT a", Command::GetQuotaRoot(name("a"))),
            (
                "a1 login al \"p\\\"w\"",
                Command::Login { user: b"al".to_vec(), password: Secret::new(b"p\"w".to_vec()) },
            ),
            ("a1 AUTHENTICATE plain", Command::Authenticate { mechanism: "PLAIN".into(), initial: None }),
            (
                "a1 AUTHENTICATE PLAIN =",
                Command::Authenticate { mechanism: "PLAIN".into(), initial: Some(Secret::new("=".into())) },
            ),
            ("a1 ENABLE condstore X", Command::Enable(vec!["CONDSTORE".into(), "X".into()])),
            ("a1 ID NIL", Command::Id(vec![])),
            (
                "a1 ID (\"name\" \"x\" \"v\" NIL)",
                Command::Id(vec![(b"name".to_vec(), Some(b"x".to_vec())), (b"v".to_vec(), None)]),
            ),
            ("a1 STATUS x (MESSAGES)", Command::Status(name("x"), vec![StatusItem::Messages])),
            (
                "a1 UID SEARCH ALL",
                Command::Search(
                    Numbers::Uid,
                    SearchArguments { returns: None, names_charset: false, key: Ok(Key::All) },
                ),
            ),
            ("a1 CANCELUPDATE \"a\" \"b\"", Command::CancelUpdate(vec!["a".into(), "b".into()])),
            ("a1 EXPUNGE", Command::Expunge(None)),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        assert!(matches!(read("a1 UID EXPUNGE 1:*"), Ok(Command::Expunge(Some(_)))));
        assert!(matches!(read("a1 uid fetch 1 flags"), Ok(Command::Fetch(Numbers::Uid, ..))));
        assert!(matches!(read("a1 STORE 1 +FLAGS (x)"), Ok(Command::Store(Numbers::Sequence, _, _))));
        assert!(matches!(read("a1 MOVE 1 x"), Ok(Command::Move(..))));
        assert!(matches!(read("a1 COPY 1 ../x"), Err(SyntaxError::Name(_))));
        for bad in [
            "a1",
            "a1 ",
            "a1  NOOP",
            "a1 NOPE",
            "a1 NOOP x",
            "a1 UID NOOP",
            "a1 LOGIN a",
            "a1 SELECT",
            "a1 ENABLE",
            "a1 FETCH 1",
            "a1 ID (\"a\")",
            "a1 SELECT x (CONDSTORES)",
            "a1 UID EXPUNGE",
            "a1 CANCELUPDATE",
            "a1 CANCELUPDATE a",
            "a1 SORT",
            "a1 THREAD REFERENCES UTF-8",
        ] {
            assert!(matches!(read(bad), Err(SyntaxError::Bad(_))), "{bad}");
        }
        for bad in ["", "+ x", "\"a\" NOOP", "* OK", "(", "\u{e9} NOOP"] {
            assert_eq!(parse(bad.as_bytes(), 50), None, "{bad}");
        }
    }

    #[test]
    fn no_octet_anywhere_panics() {
        let samples = [
            "a1 UID FETCH 1:*,3 (FLAGS BODY.PEEK[1.HEADER.FIELDS (\"A\")]<1.2>)",
            "a1 SEARCH CHARSET utf-8 OR NOT (SEEN) HEADER a \"b\" SINCE 1-Jan-2020 UID 3",
            "a1 LIST (SUBSCRIBED) \"\" (a* %) RETURN (STATUS (MESSAGES))",
            "a1 STORE 1 +FLAGS.SILENT (\\Seen $x)",
            "a1 UID SORT RETURN (MIN PARTIAL -1:-5) (REVERSE DATE SUBJECT) UTF-8 MODSEQ \"/flags/x\" all 5 $",
            "a1 ESEARCH IN (mailboxes (a b) subtree-one \"c\") RETURN () OLDER 5",
            "a1 LOGIN {3}\r\nabc {1}\r\nx",
        ];
        for sample in samples {
            for at in 0..sample.len() {
                let cut = parse(&sample.as_bytes()[..at], 8);
                assert!(at < 2 || cut.is_some());
                for b in 0..=255_u8 {
                    let mut changed = sample.as_bytes().to_vec();
                    changed[at] = b;
                    drop(parse(&changed, 8));
                }
            }
        }
    }
}
