//! Ids of messages and threads (RFC 8474): made of what a message says, so that they need no table, and a message has
//! the same ones in every mailbox, after every copy and every restore.
//!
//! Knows nothing of mailboxes.

use std::io;
use std::io::Read;

use aws_lc_rs::digest;

use super::fields::fields;
use super::message_id::message_ids;

/// Octets of a hash that an id has: two messages in a store of any size do not share so many by chance.
const HASH_OCTETS: usize = 20;

/// Octets that are read at once.
const PIECE_OCTETS: usize = 16 << 10;

/// EMAILID of a message: a hash of its text, whose lines may end with LF or CRLF, and its INTERNALDATE in seconds. What
/// can never change of a message is in it (RFC 8474 §5.1).
///
/// # Errors
/// What reading says.
pub fn email_id(mut message: impl Read, date: i64) -> io::Result<String> {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&date.to_le_bytes());
    let mut piece = vec![0; PIECE_OCTETS];
    loop {
        let n = match message.read(&mut piece) {
            Ok(0) => return Ok(id('M', hash)),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // A server that came before may have kept CRLF.
        for line in piece[..n].split(|b| *b == b'\r') {
            hash.update(line);
        }
    }
}

/// THREADID of a message by its header: a hash of the first message that it names as its root, in `References` or
/// `In-Reply-To`, or of its own `Message-ID`; `None` where it has none of them (RFC 8474 §5.2).
#[must_use]
pub fn thread_id(header: &[u8]) -> Option<String> {
    let field = |name: &str| fields(header).find(|f| f.is(name)).and_then(|f| message_ids(f.value).next());
    let root = field("References").or_else(|| field("In-Reply-To")).or_else(|| field("Message-ID"))?;
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(&root);
    Some(id('T', hash))
}

fn id(kind: char, hash: digest::Context) -> String {
    let hash = hash.finish();
    format!("{kind}{}", data_encoding::HEXLOWER.encode(&hash.as_ref()[..HASH_OCTETS]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let one = email_id(&b"a: b\n\nc\n"[..], 5).expect("memory");
        assert_eq!(one.len(), 41);
        assert!(one.starts_with('M'));
        assert_eq!(email_id(&b"a: b\r\n\r\nc\r\n"[..], 5).expect("memory"), one, "line ends");
        assert_ne!(email_id(&b"a: b\n\nd\n"[..], 5).expect("memory"), one, "text");
        assert_ne!(email_id(&b"a: b\n\nc\n"[..], 6).expect("memory"), one, "date");
    }

    #[test]
    fn threads() {
        let root = thread_id(b"Message-ID: <root@x>\n\n").expect("has one");
        for reply in [
            "References: <root@x> <second@x>\nMessage-ID: <third@x>\n\n",
            "References:\n <root@x>\n\n",
            "References: <\"root\"@x>\n\n",
            "Message-ID: <second@x>\nIn-Reply-To: Your mail <root@x>\n\n",
        ] {
            assert_eq!(thread_id(reply.as_bytes()).as_deref(), Some(root.as_str()), "{reply}");
        }
        assert_ne!(thread_id(b"Message-ID: <other@x>\n\n"), Some(root));
        for none in ["\n", "Subject: x\n\n", "Message-ID: none\n\n", "Message-ID: <>\n\n", "References: <a\n\n"] {
            assert_eq!(thread_id(none.as_bytes()), None, "{none}");
        }
    }
}
