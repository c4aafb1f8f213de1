//! The packets of the milter protocol, version 6: four octets of length, one of command, and data. Pure.
//!
//! There is no RFC; what is here is what libmilter of Sendmail 8.14 and later does, and what Postfix speaks to it.

/// The version that we offer.
pub(super) const VERSION: u32 = 6;

/// What a milter may do to a message (`SMFIF_`), as far as we carry it out. Recipients and the sender are ours to
/// decide.
pub(super) mod action {
    pub(in super::super) const ADD_HEADERS: u32 = 0x01;
    pub(in super::super) const CHANGE_BODY: u32 = 0x02;
    pub(in super::super) const CHANGE_HEADERS: u32 = 0x10;
    pub(in super::super) const QUARANTINE: u32 = 0x20;
    /// All of them.
    pub(in super::super) const OURS: u32 = ADD_HEADERS | CHANGE_BODY | CHANGE_HEADERS | QUARANTINE;
}

/// What a milter can do without (`SMFIP_NO...`), and where it does not answer (`SMFIP_NR_...`).
pub(super) mod step {
    pub(in super::super) const NO_CONNECT: u32 = 0x01;
    pub(in super::super) const NO_HELO: u32 = 0x02;
    pub(in super::super) const NO_MAIL: u32 = 0x04;
    pub(in super::super) const NO_RCPT: u32 = 0x08;
    pub(in super::super) const NO_BODY: u32 = 0x10;
    pub(in super::super) const NO_HEADERS: u32 = 0x20;
    pub(in super::super) const NO_END_OF_HEADERS: u32 = 0x40;
    pub(in super::super) const NO_REPLY_HEADER: u32 = 0x80;
    pub(in super::super) const NO_UNKNOWN: u32 = 0x100;
    pub(in super::super) const NO_DATA: u32 = 0x200;
    /// It may ask to be spared the rest of the body.
    pub(in super::super) const SKIP: u32 = 0x400;
    pub(in super::super) const NO_REPLY_CONNECT: u32 = 0x1000;
    pub(in super::super) const NO_REPLY_HELO: u32 = 0x2000;
    pub(in super::super) const NO_REPLY_MAIL: u32 = 0x4000;
    pub(in super::super) const NO_REPLY_RCPT: u32 = 0x8000;
    pub(in super::super) const NO_REPLY_DATA: u32 = 0x1_0000;
    pub(in super::super) const NO_REPLY_UNKNOWN: u32 = 0x2_0000;
    pub(in super::super) const NO_REPLY_END_OF_HEADERS: u32 = 0x4_0000;
    pub(in super::super) const NO_REPLY_BODY: u32 = 0x8_0000;
    /// Header values keep the space after the colon.
    pub(in super::super) const LEADING_SPACE: u32 = 0x10_0000;
    /// All that we offer; the milter answers with those it wants.
    pub(in super::super) const OURS: u32 = NO_CONNECT
        | NO_HELO
        | NO_MAIL
        | NO_RCPT
        | NO_BODY
        | NO_HEADERS
        | NO_END_OF_HEADERS
        | NO_REPLY_HEADER
        | NO_UNKNOWN
        | NO_DATA
        | SKIP
        | NO_REPLY_CONNECT
        | NO_REPLY_HELO
        | NO_REPLY_MAIL
        | NO_REPLY_RCPT
        | NO_REPLY_DATA
        | NO_REPLY_UNKNOWN
        | NO_REPLY_END_OF_HEADERS
        | NO_REPLY_BODY
        | LEADING_SPACE;
}

/// What a milter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// What was agreed on.
    Negotiated { version: u32, actions: u32, steps: u32 },
    /// Go on.
    Continue,
    /// Take it, without another look.
    Accept,
    /// Refuse it for good.
    Reject,
    /// Refuse it for now.
    TempFail,
    /// Say yes and throw it away.
    Discard,
    /// Refuse it with this reply.
    Reply(Vec<u8>),
    /// Still at work.
    Progress,
    /// No more of the body, please.
    Skip,
    /// A field behind the others.
    AddHeader { name: Vec<u8>, value: Vec<u8> },
    /// A field at a place.
    InsertHeader { at: u32, name: Vec<u8>, value: Vec<u8> },
    /// Another value for the nth field of this name, or none.
    ChangeHeader { nth: u32, name: Vec<u8>, value: Vec<u8> },
    /// A piece of another body.
    ReplaceBody(Vec<u8>),
    /// Keep it away from the recipient.
    Quarantine(Vec<u8>),
    /// It cannot work.
    Shutdown,
    /// Something that we did not agree on.
    Other(u8),
}

/// A packet, ready to be sent.
pub(super) fn packet(command: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 1).unwrap_or(u32::MAX);
    let mut packet = Vec::with_capacity(data.len() + 5);
    packet.extend_from_slice(&length.to_be_bytes());
    packet.push(command);
    packet.extend_from_slice(data);
    packet
}

/// The offer that opens a conversation.
pub(super) fn offer() -> Vec<u8> {
    let mut data = Vec::with_capacity(12);
    for number in [VERSION, action::OURS, step::OURS] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    packet(b'O', &data)
}

/// Texts, each ended by NUL. A NUL within one ends it: nothing of a stranger may become a text of its own.
pub(super) fn texts<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut data = Vec::new();
    for text in texts {
        let text = text.as_ref();
        data.extend_from_slice(text.split(|b| *b == 0).next().unwrap_or_default());
        data.push(0);
    }
    data
}

/// Reads a packet without its length; `None` where it is none.
pub(super) fn parse(packet: &[u8]) -> Option<Said> {
    let (&command, data) = packet.split_first()?;
    Some(match command {
        b'O' => {
            let number = |at: usize| data.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
            Said::Negotiated { version: number(0)?, actions: number(4)?, steps: number(8)? }
        }
        b'c' => Said::Continue,
        b'a' => Said::Accept,
        b'r' => Said::Reject,
        b't' => Said::TempFail,
        b'd' => Said::Discard,
        b'y' => Said::Reply(text(data)?.0.to_vec()),
        b'p' => Said::Progress,
        b's' => Said::Skip,
        b'h' => {
            let (name, value) = pair(data)?;
            Said::AddHeader { name, value }
        }
        b'i' | b'm' => {
            let number = u32::from_be_bytes(data.get(..4)?.try_into().ok()?);
            let (name, value) = pair(&data[4..])?;
            if command == b'i' {
                Said::InsertHeader { at: number, name, value }
            } else {
                Said::ChangeHeader { nth: number, name, value }
            }
        }
        b'b' => Said::ReplaceBody(data.to_vec()),
        b'q' => Said::Quarantine(text(data)?.0.to_vec()),
        b'4' | b'f' => Said::Shutdown,
        other => Said::Other(other),
    })
}

fn pair(data: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (name, rest) = text(data)?;
    Some((name.to_vec(), text(rest)?.0.to_vec()))
}

/// A text that NUL ends, and what is behind it.
fn text(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, data)?;
    Some((&data[..end], &data[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_and_nothing_else_is() {
        let bytes = |text: &str| text.as_bytes().to_vec();
        for (packet, wanted) in [
            (&b"c"[..], Some(Said::Continue)),
            (b"y550 5.7.1 no\0", Some(Said::Reply(bytes("550 5.7.1 no")))),
            (b"y550 5.7.1 no", None),
            (b"hX-Spam\0Yes\0", Some(Said::AddHeader { name: bytes("X-Spam"), value: bytes("Yes") })),
            (b"hX-Spam\0Yes", None),
            (b"i\0\0\0\x01A\0\0", Some(Said::InsertHeader { at: 1, name: bytes("A"), value: bytes("") })),
            (b"m\0\0\0", None),
            (b"bhello", Some(Said::ReplaceBody(bytes("hello")))),
            (b"O\0\0\0\x06\0\0\0\x01\0\0\0\x02", Some(Said::Negotiated { version: 6, actions: 1, steps: 2 })),
            (b"O\0\0\0\x06", None),
            (b"!", Some(Said::Other(b'!'))),
            (b"", None),
        ] {
            assert_eq!(parse(packet), wanted, "{}", packet.escape_ascii());
        }
        assert_eq!(packet(b'H', &texts(["mx\0evil", "b"])), b"\0\0\0\x06Hmx\0b\0");
        assert_eq!(offer().len(), 17);
    }
}
