//! Conversations with a milter that the test plays.

use std::path::Path;

use tokio::io::DuplexStream;

use super::*;
use crate::mail::limits::MILTER_FIELD_OCTETS;

/// A milter that wants these steps left out, answers every packet that wants an answer with `c` but those it has a
/// script for, and remembers what it heard.
struct Played {
    steps: u32,
    /// The packets said instead of `c` at this command.
    script: Vec<(u8, Vec<Vec<u8>>)>,
}

impl Played {
    async fn serve(self, mut stream: DuplexStream) -> Vec<(u8, Vec<u8>)> {
        let mut heard = Vec::new();
        loop {
            let Ok(length) = stream.read_u32().await else { return heard };
            let mut packet = vec![0; usize::try_from(length).expect("small")];
            stream.read_exact(&mut packet).await.expect("a whole packet");
            let command = packet.remove(0);
            heard.push((command, packet));
            let mut answers = vec![packet::packet(b'c', b"")];
            if command == b'O' {
                let mut data = Vec::new();
                for number in [6, action::OURS, self.steps] {
                    data.extend_from_slice(&number.to_be_bytes());
                }
                answers = vec![packet::packet(b'O', &data)];
            }
            if let Some((_, scripted)) = self.script.iter().find(|(c, _)| *c == command) {
                answers.clone_from(scripted);
            }
            let silent = matches!(command, b'D' | b'Q')
                || (command == b'L' && self.steps & step::NO_REPLY_HEADER != 0)
                || (command == b'B' && self.steps & step::NO_REPLY_BODY != 0);
            if !silent {
                for answer in answers {
                    // Who has heard enough hangs up.
                    stream.write_all(&answer).await.ok();
                }
            }
        }
    }
}

fn subject() -> Subject {
    Subject {
        hostname: "mx.example.com".to_owned(),
        daemon: "ORIGINATING",
        ip: "2001:db8::1".parse().expect("an address"),
        client_name: Some("client.example".to_owned()),
        helo: "helo.example".to_owned(),
        tls: Some(("TLSv1.3".to_owned(), "TLS_AES_128_GCM_SHA256".to_owned())),
        user: Some("alice@example.com".to_owned()),
        id: "id-1".to_owned(),
        sender: ReversePath::Null,
        recipients: vec![Address::parse("bob@example.com").expect("valid")],
        max_size: 1000,
    }
}

async fn talk(played: Played, message: &str) -> (Result<Judgement, Fault>, Vec<(u8, Vec<u8>)>) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let content = Content::from_bytes(message.as_bytes().to_vec());
    let peer = tokio::spawn(played.serve(theirs));
    let judged = converse(ours, &subject(), &content, Path::new("/nowhere")).await;
    (judged, peer.await.expect("no panic"))
}

fn said(heard: &[(u8, Vec<u8>)]) -> Vec<String> {
    let lines = heard.iter().filter(|(command, _)| !matches!(command, b'O' | b'Q'));
    lines.map(|(command, data)| format!("{} {}", char::from(*command), data.escape_ascii())).collect()
}

#[tokio::test]
async fn a_message_is_told_with_its_macros() {
    let (judged, heard) = talk(Played { steps: 0, script: vec![] }, "A: 1\nB:2\n 3\n\nx\r\ny\n").await;
    assert!(matches!(judged, Ok(Judgement::Pass(changes)) if changes.header.is_empty()));
    assert_eq!(
        said(&heard),
        [
            "D Cj\\x00mx.example.com\\x00{daemon_name}\\x00ORIGINATING\\x00_\\x00client.example [2001:db8::1]\\x00\
             {client_addr}\\x002001:db8::1\\x00{client_name}\\x00client.example\\x00",
            "C client.example\\x006\\x00\\x00IPv6:2001:db8::1\\x00",
            "D H{tls_version}\\x00TLSv1.3\\x00{cipher}\\x00TLS_AES_128_GCM_SHA256\\x00",
            "H helo.example\\x00",
            "D Mi\\x00id-1\\x00{auth_type}\\x00PLAIN\\x00{auth_authen}\\x00alice@example.com\\x00",
            "M <>\\x00",
            "D Ri\\x00id-1\\x00{rcpt_addr}\\x00bob@example.com\\x00{rcpt_host}\\x00example.com\\x00",
            "R <bob@example.com>\\x00",
            "D Ti\\x00id-1\\x00",
            "T ",
            "L A\\x001\\x00",
            "L B\\x002\\n 3\\x00",
            "N ",
            "B x\\r\\ny\\r\\n",
            "D Ei\\x00id-1\\x00",
            "E ",
        ]
    );
    assert_eq!(heard.last().map(|(command, _)| *command), Some(b'Q'));
}

#[tokio::test]
async fn what_it_does_not_want_it_is_not_told() {
    let steps = step::NO_HELO | step::NO_HEADERS | step::NO_BODY | step::NO_DATA | step::NO_END_OF_HEADERS;
    let (judged, heard) = talk(Played { steps, script: vec![] }, "A: 1\n\nx\n").await;
    assert!(judged.is_ok());
    let commands: String = heard.iter().map(|(command, _)| char::from(*command)).filter(|c| *c != 'D').collect();
    assert_eq!(commands, "OCMREQ");
    let steps = step::NO_REPLY_HEADER | step::NO_REPLY_BODY | step::LEADING_SPACE;
    let (judged, heard) = talk(Played { steps, script: vec![] }, "A: 1\n\nx\n").await;
    assert!(judged.is_ok());
    assert!(said(&heard).contains(&"L A\\x00 1\\x00".to_owned()), "{heard:?}");
}

#[tokio::test]
async fn judgements() {
    let answer = |command: u8, data: &[u8]| packet::packet(command, data);
    let reply = |text: &str| answer(b'y', text.as_bytes());
    let long = [&b"\0\0\0\x01A\0"[..], &[b'x'; MILTER_FIELD_OCTETS], b"\0"].concat();
    let cases: [(u8, Vec<Vec<u8>>, &str); 15] = [
        (b'C', vec![answer(b'r', b"")], "550 "),
        (b'M', vec![answer(b't', b"")], "451 "),
        (b'R', vec![answer(b'd', b"")], "discard"),
        (b'L', vec![answer(b'a', b"")], "pass 0"),
        (b'B', vec![answer(b's', b"")], "pass 0"),
        (b'E', vec![answer(b'p', b""), reply("554 5.7.1 Gtube\r\npattern\0")], "554 5.7.1 Gtube"),
        (b'E', vec![reply("250 fine\0")], "fault"),
        (b'E', vec![answer(b'4', b"")], "fault"),
        (b'O', vec![answer(b'c', b"")], "fault"),
        (b'E', vec![answer(b'h', b"a b\0c\0")], "fault"),
        (b'E', vec![answer(b'm', b"\0\0\0\x01A\0\0"), answer(b'c', b"")], "pass 1"),
        (b'E', vec![answer(b'm', b"\0\0\0\x01a b\0c\0"), answer(b'c', b"")], "fault"),
        (b'E', vec![answer(b'm', &long), answer(b'c', b"")], "fault"),
        (
            b'E',
            vec![answer(b'h', b"X-Spam\0Yes\0"), answer(b'q', b"bad\0"), answer(b'+', b"x\0"), answer(b'c', b"")],
            "pass 1 bad",
        ),
        (b'E', vec![answer(b'b', b"new\r\n"), answer(b'b', &[b'x'; 2000]), answer(b'c', b"")], "fault"),
    ];
    for (command, answers, wanted) in cases {
        let played = Played { steps: 0, script: vec![(command, answers)] };
        let (judged, _) = talk(played, "A: 1\n\nx\n").await;
        let text = match judged {
            Ok(Judgement::Refuse(code, text)) => format!("{code} {}", text.unwrap_or_default()),
            Ok(Judgement::Discard) => "discard".to_owned(),
            Ok(Judgement::Pass(changes)) => {
                let reason = changes.quarantine.map_or(String::new(), |reason| format!(" {reason}"));
                format!("pass {}{reason}", changes.header.len())
            }
            Err(_) => "fault".to_owned(),
        };
        assert_eq!(text, wanted, "{}", char::from(command));
    }
}

#[tokio::test]
async fn another_body_has_our_line_ends() {
    let answer = |command: u8, data: &[u8]| packet::packet(command, data);
    let answers = vec![answer(b'b', b"new\r"), answer(b'b', b"\nbody\r\n"), answer(b'a', b"")];
    let (judged, _) = talk(Played { steps: 0, script: vec![(b'E', answers)] }, "A: 1\n\nx\n").await;
    let Ok(Judgement::Pass(changes)) = judged else { panic!("{judged:?}") };
    let body = changes.body.expect("another").head(100).expect("in memory");
    assert_eq!(body, b"new\nbody\n");
}

#[tokio::test]
async fn a_milter_that_is_not_there_or_talks_without_end_is_a_fault() {
    let text = "hostname = \"mx.example.com\"\n[[milter]]\naddress = \"unix:/nowhere/at/all\"\ntimeout = \"1s\"\n";
    let config = crate::config::parse(Path::new("t.toml"), text).expect("valid");
    let content = Content::from_bytes(Vec::new());
    let judged = ask(&config.milters[0], &subject(), &content, Path::new("/nowhere")).await;
    assert!(matches!(judged, Err(Fault::Io(_))));
    for first in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\0", b"\0\0\0\x01O", b"HTTP/1.1 200 OK\r\n\r\n"] {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(first).await.expect("written");
        let judged = converse(ours, &subject(), &content, Path::new("/nowhere")).await;
        assert!(matches!(judged, Err(Fault::Nonsense(_))), "{judged:?}");
    }
}
