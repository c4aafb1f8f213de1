//! No bytes from a peer can panic: every parser is fed words of its own language in any order, cut anywhere, with any
//! bytes between. A failure prints the input; it then belongs into a unit test beside the parser.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use facteur::message::addresses::addresses;
use facteur::message::casemap::Needle;
use facteur::message::decode;
use facteur::message::envelope::HeaderEnvelope;
use facteur::message::extended;
use facteur::message::header;
use facteur::message::mime::Structure;
use facteur::message::parameters::parameterised;
use facteur::message::parameters::tokens;
use facteur::message::sent;
use facteur::message::text::Finder;
use facteur::message::text::Wanted;
use facteur::protocol::imap::binary::decoded;
use facteur::protocol::imap::response::Output;
use facteur::protocol::imap::structure::Characters;
use facteur::protocol::imap::structure::Extensions;
use facteur::protocol::imap::structure::push_body;
use facteur::protocol::imap::structure::push_envelope;
use facteur::protocol::imap::syntax::command;
use facteur::protocol::session::Session;
use facteur::protocol::session::Step;
use facteur::protocol::smtp::data::BareNewline;
use facteur::protocol::smtp::data::Incoming;
use facteur::protocol::smtp::server::Answer;
use facteur::protocol::smtp::server::Role;
use facteur::protocol::smtp::server::Server;
use facteur::protocol::smtp::server::Settings;
use proptest::prelude::ProptestConfig;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_oneof;
use proptest::proptest;

/// Words of a language and arbitrary bytes, one after the other.
fn soup(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = proptest::sample::select(words).prop_map(|w| w.as_bytes().to_vec());
    let noise = proptest::collection::vec(any::<u8>(), 0..6);
    let pieces = proptest::collection::vec(prop_oneof![6 => word, 1 => noise], 0..40);
    pieces.prop_map(|pieces| pieces.concat())
}

const MESSAGE: &[&str] = &[
    "Content-Type: ",
    "multipart/mixed",
    "message/rfc822",
    "text/plain",
    "; ",
    "boundary=",
    "\"",
    "b",
    "--b",
    "--b--",
    "\r\n",
    "\n",
    "\r",
    "\n\n",
    "From: ",
    "To: ",
    "a@b.example",
    "<",
    ">",
    "(",
    ")",
    "\\",
    ",",
    ":",
    ";",
    "group:",
    "=?utf-8?q?",
    "?=",
    "=?x?b?",
    "charset",
    "*0*=",
    "=",
    "Content-Transfer-Encoding: base64",
    "Content-Disposition: attachment",
    "Date: ",
    "Sun, 22 Nov 2026 01:02:03 +0000",
    "\t",
    " ",
    "[",
    "]",
    "@",
    "é",
];

const IMAP: &[&str] = &[
    "a1",
    " ",
    "\r\n",
    "FETCH",
    "UID ",
    "STORE",
    "SEARCH",
    "APPEND",
    "LIST",
    "SELECT",
    "RENAME",
    "COPY",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    "{3}",
    "{3+}",
    "\"",
    "\\",
    "*",
    "%",
    ":",
    ",",
    "1",
    "4294967295",
    "4294967296",
    "0",
    "BODY",
    ".PEEK",
    "HEADER.FIELDS",
    "MIME",
    "RFC822",
    "FLAGS",
    "\\Seen",
    "OR",
    "NOT",
    "SINCE",
    "1-Jan-2026",
    "CHARSET",
    "UTF-8",
    "RETURN",
    "STATUS",
    "MESSAGES",
    "&AOk-",
    "INBOX",
    "NIL",
    "-",
    "+",
    "+FLAGS.SILENT",
    "TEXT",
    "SUBJECT",
    "LARGER",
    "DONE",
    "AUTHENTICATE",
    "PLAIN",
    "=",
];

const SMTP: &[&str] = &[
    "EHLO x",
    "HELO",
    "MAIL FROM:",
    "RCPT TO:",
    "<",
    ">",
    "a@b.example",
    "bob@example.com",
    "DATA",
    "\r\n",
    ".\r\n",
    "\r\n.\r\n",
    "\n.\n",
    "\r",
    "\n",
    ".",
    "..",
    "RSET",
    "NOOP",
    "QUIT",
    "VRFY",
    "STARTTLS",
    "AUTH PLAIN ",
    "AUTH LOGIN",
    "AGEAYg==",
    "*",
    " SIZE=",
    "99999999999999999999",
    " BODY=8BITMIME",
    " ",
    "\"",
    "@a,@b:",
    "[127.0.0.1]",
    "BDAT 3 LAST",
    "GET / HTTP/1.1",
    "\0",
];

const CHARSETS: &[&str] = &[
    "utf-8",
    "iso-8859-1",
    "windows-1258",
    "koi8-u",
    "macintosh",
    "ibm850",
    "shift_jis",
    "euc-jp",
    "iso-2022-jp",
    "gbk",
    "gb18030",
    "big5",
    "euc-kr",
    "utf-7",
    "utf-16",
    "utf-16le",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages(bytes in soup(MESSAGE)) {
        let structure = Structure::scan(&bytes);
        let mut out = Output::default();
        for characters in [Characters::SevenBit, Characters::Utf8, Characters::Rev2] {
            push_body(&mut out, &structure, &bytes, Extensions::With, characters);
            push_envelope(&mut out, &HeaderEnvelope::read(&bytes), characters);
        }
        for numbers in [&[][..], &[1], &[2], &[1, 1]] {
            if let Ok(decoded) = decoded(&structure, &bytes, numbers) {
                decoded.write(&mut out, 1, 1000);
            }
        }
        drop(addresses(&bytes));
        drop(extended::parameters(&parameterised(&bytes)));
        let nowhere = [Wanted { needle: Needle::new("nowhere to be found"), in_header: true }];
        assert!(!Finder::default().find(&bytes, &nowhere, &AtomicBool::new(false)));
        drop(tokens(&bytes));
        drop(decode::header_text(&bytes));
        drop(decode::seven_bit(&bytes));
        drop(decode::base64(&bytes));
        drop(decode::quoted_printable(&bytes));
        assert!(sent::sent_day(&bytes).is_none_or(|day| day.abs() < 4_000_000));
        // Too large is an answer too.
        header::read(&bytes).ok();
    }

    #[test]
    fn texts_are_the_same_however_they_are_cut(
        bytes in proptest::collection::vec(prop_oneof![1 => proptest::sample::select(&b"\x1b$B(J~{}+-=AZaz\n"[..]), 1 => any::<u8>()], 0..60),
        charset in proptest::sample::select(CHARSETS),
        cut in 0_usize..60,
    ) {
        let (mut decoder, mut text) = (decode::TextDecoder::new(Some(charset.as_bytes())), String::new());
        let (one, two) = bytes.split_at(cut.min(bytes.len()));
        let as_it_is = decoder.as_it_is(&bytes).map(str::to_owned);
        decoder.decode(one, false, &mut text);
        decoder.decode(two, true, &mut text);
        let whole = decode::text(&bytes, Some(charset.as_bytes()));
        assert_eq!(text, whole);
        assert!(as_it_is.is_none_or(|text| text == whole));
    }

    #[test]
    fn imap_commands(bytes in soup(IMAP)) {
        drop(command::parse(&bytes, 50));
        drop(command::parse(&bytes, 8));
    }

    #[test]
    fn smtp_data_is_the_same_however_it_is_cut(bytes in soup(SMTP), cut in 0_usize..200) {
        let feed = |pieces: &[&[u8]]| {
            let mut incoming = Incoming::new(BareNewline::Normalise, 1 << 20);
            let mut out = Vec::new();
            let mut used = 0;
            for piece in pieces {
                let fed = incoming.feed(piece, &mut out);
                used += fed.used;
                if fed.ended {
                    break;
                }
            }
            (out, used)
        };
        let cut = cut.min(bytes.len());
        assert_eq!(feed(&[&bytes]), feed(&[&bytes[..cut], &bytes[cut..]]));
    }

    #[test]
    fn smtp_sessions(bytes in soup(SMTP), submission in any::<bool>(), step in 1_usize..64) {
        let settings = Settings {
            role: if submission { Role::Submission } else { Role::Reception },
            hostname: facteur::mail::address::Domain::parse("mail.example.com").expect("valid"),
            max_size: 1000,
            can_start_tls: true,
            plaintext_login: true,
            trusted: false,
            banner: "ESMTP".to_owned(),
            legacy_auth_line: true,
            bare_newline: BareNewline::Reject,
            command_wait: std::time::Duration::from_secs(300),
        };
        let now = Instant::now();
        let mut machine = Server::new(settings, now, None);
        let mut open = true;
        let greeting: &[u8] = b"";
        for piece in std::iter::once(greeting).chain(bytes.chunks(step)) {
            if !open {
                break;
            }
            machine.receive(now, piece);
            // Every input leads to a wait or an end in a bounded number of steps.
            for steps in 0.. {
                assert!(steps < 10_000, "the machine does not come to rest");
                match machine.poll() {
                    Step::Send(_) | Step::Body(_) => {}
                    Step::Ask(_) => machine.answer(now, Answer::Accepted),
                    Step::Wait(_) => break,
                    Step::Close | Step::StartTls => {
                        open = false;
                        break;
                    }
                    Step::SendBody(never) => match never {},
                }
            }
        }
    }
}
