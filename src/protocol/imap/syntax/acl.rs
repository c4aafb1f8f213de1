//! The arguments of the commands that give rights and tell of them (RFC 4314 §3).

use crate::mail::mailbox::MailboxName;
use crate::mail::rights::Rights;
use crate::protocol::imap::syntax::cursor::Cursor;
use crate::protocol::imap::syntax::cursor::Parsed;
use crate::protocol::imap::syntax::cursor::SyntaxError;
use crate::protocol::imap::syntax::mailbox::mailbox;

/// One of these commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AclCommand {
    /// `SETACL`.
    Set(MailboxName, String, Modification, Rights),
    /// `DELETEACL`.
    Delete(MailboxName, String),
    /// `GETACL`.
    Get(MailboxName),
    /// `LISTRIGHTS`.
    ListRights(MailboxName, String),
    /// `MYRIGHTS`.
    MyRights(MailboxName),
}

/// What `SETACL` does with the rights that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modification {
    /// Without a sign.
    Replace,
    /// `+`.
    Add,
    /// `-`.
    Remove,
}

impl AclCommand {
    /// Reads the arguments of the command of this name; `None` where it is none of these.
    ///
    /// # Errors
    /// They are not what it takes.
    pub fn parse(name: &str, cursor: &mut Cursor<'_>) -> Option<Parsed<Self>> {
        let read: fn(&mut Cursor<'_>) -> Parsed<Self> = match name {
            "SETACL" => set,
            "DELETEACL" => |cursor| {
                let name = mailbox(cursor)?;
                Ok(Self::Delete(name, identifier(cursor)?))
            },
            "GETACL" => |cursor| mailbox(cursor).map(Self::Get),
            "LISTRIGHTS" => |cursor| {
                let name = mailbox(cursor)?;
                Ok(Self::ListRights(name, identifier(cursor)?))
            },
            "MYRIGHTS" => |cursor| mailbox(cursor).map(Self::MyRights),
            _ => return None,
        };
        Some(cursor.space().and_then(|()| read(cursor)))
    }
}

fn set(cursor: &mut Cursor<'_>) -> Parsed<AclCommand> {
    let name = mailbox(cursor)?;
    let identifier = identifier(cursor)?;
    cursor.space()?;
    let letters = cursor.astring()?;
    let letters = String::from_utf8_lossy(&letters);
    let (modification, letters) = match (letters.strip_prefix('+'), letters.strip_prefix('-')) {
        (Some(letters), _) => (Modification::Add, letters),
        (_, Some(letters)) => (Modification::Remove, letters),
        _ => (Modification::Replace, &*letters),
    };
    // RFC 4314 §3.1: rights that nobody knows.
    let rights = Rights::parse(letters).ok_or(SyntaxError::Bad("unknown right"))?;
    Ok(AclCommand::Set(name, identifier, modification, rights))
}

fn identifier(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.space()?;
    String::from_utf8(cursor.astring()?).map_err(|_| SyntaxError::Bad("identifier is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let name = MailboxName::inbox;
        let read = |command: &str, text: &str| {
            let mut cursor = Cursor::new(text.as_bytes(), 1);
            let read = AclCommand::parse(command, &mut cursor).expect("one of these");
            read.and_then(|read| cursor.end().map(|()| read))
        };
        let rights = |letters: &str| Rights::parse(letters).expect("letters");
        for (command, text, expected) in [
            ("SETACL", " INBOX bob lrd", AclCommand::Set(name(), "bob".into(), Modification::Replace, rights("lrte"))),
            ("SETACL", " inbox \"b b\" +k", AclCommand::Set(name(), "b b".into(), Modification::Add, rights("k"))),
            ("SETACL", " INBOX -bob \"-\"", AclCommand::Set(name(), "-bob".into(), Modification::Remove, Rights::NONE)),
            ("DELETEACL", " INBOX bob", AclCommand::Delete(name(), "bob".into())),
            ("GETACL", " INBOX", AclCommand::Get(name())),
            ("LISTRIGHTS", " INBOX bob", AclCommand::ListRights(name(), "bob".into())),
            ("MYRIGHTS", " INBOX", AclCommand::MyRights(name())),
        ] {
            assert_eq!(read(command, text), Ok(expected), "{command}{text}");
        }
        for (command, text) in
            [("SETACL", " INBOX bob Q"), ("SETACL", " INBOX bob"), ("GETACL", ""), ("MYRIGHTS", " a b")]
        {
            assert!(matches!(read(command, text), Err(SyntaxError::Bad(_))), "{command}{text}");
        }
        assert!(AclCommand::parse("NOOP", &mut Cursor::new(b"", 1)).is_none());
    }
}
