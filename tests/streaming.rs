//! Large messages go out piece by piece: every octet as from memory, and little memory however slow the readers are.

mod common;

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;

use aws_lc_rs::digest;
use common::PATIENCE;
use common::imap::Imap;
use common::server::PASSWORD;
use common::server::Server;
use common::wait_for;

/// Lines of all lengths and ends: LF, CRLF, CR alone, NUL, 8-bit, none at the end of the message.
fn text(octets: usize) -> Vec<u8> {
    let mut text = b"Subject: large\nX: 1\r\n\n".to_vec();
    let ends: [&[u8]; 7] = [b"\n", b"\r\n", b"\n\n", b"\r\r\n", b"\r", b"\0\n", b"\xe9\n"];
    let mut n: usize = 0;
    while text.len() < octets {
        let length = n * 7919 % 200;
        text.extend(std::iter::repeat_n(b'a' + u8::try_from(n % 26).expect("a letter"), length));
        text.extend_from_slice(ends[n % ends.len()]);
        n += 1;
    }
    text.extend_from_slice(b"the end\r");
    text
}

/// As IMAP has to show it.
fn on_the_wire(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 8);
    let mut previous = 0;
    for octet in text {
        if *octet == b'\n' && previous != b'\r' {
            out.push(b'\r');
        }
        out.push(if *octet == 0 { 0x80 } else { *octet });
        previous = *octet;
    }
    out
}

fn sum(octets: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, octets).as_ref().to_vec()
}

/// Puts a message into the inbox of alice as another program does.
fn put(server: &Server, name: &str, text: &[u8]) {
    std::fs::write(server.maildir("alice").join("cur").join(name), text).expect("written");
}

/// The UID of the large message in the selected mailbox.
fn uid(imap: &mut Imap) -> String {
    imap.ok("UID SEARCH SUBJECT large").texts()[0].rsplit(' ').next().map(str::to_owned).expect("a UID")
}

/// The literal of the only answer, and what stands around it.
fn literal(imap: &mut Imap, command: &str) -> (String, Vec<u8>) {
    let answer = imap.ok(command);
    assert_eq!(answer.untagged.len(), 1, "{command}");
    let line = &answer.untagged[0];
    let start = memchr::memchr(b'\n', line).expect("a literal") + 1;
    let head = String::from_utf8_lossy(&line[..start]).into_owned();
    let count = head.trim_end().trim_end_matches('}').rsplit('{').next().unwrap_or_default();
    let end = start + count.parse::<usize>().unwrap_or_else(|_| panic!("{head}"));
    (head + &String::from_utf8_lossy(&line[end..]), line[start..end].to_vec())
}

#[test]
fn every_octet_is_as_from_memory() {
    let server = Server::try_out(&[]);
    let disk = text(20 << 20);
    let wire = on_the_wire(&disk);
    put(&server, "1700000000.large:2,", &disk);
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    let uid = uid(&mut imap);

    let (around, whole) = literal(&mut imap, &format!("UID FETCH {uid} (BODY.PEEK[] FLAGS)"));
    assert!(
        around.ends_with(" FLAGS ())") && around.contains(&format!("UID {uid} BODY[] {{{}}}", wire.len())),
        "{around}"
    );
    assert_eq!(sum(&whole), sum(&wire));
    // With the structure it is made in memory.
    let from_memory = imap.ok(&format!("UID FETCH {uid} (BODY.PEEK[] BODYSTRUCTURE)"));
    assert!(memchr::memmem::find(&from_memory.untagged[0], &wire).is_some());

    let body = wire.len() - (memchr::memmem::find(&wire, b"\r\n\r\n").expect("the end of the header") + 4);
    let (around, rest) = literal(&mut imap, &format!("UID FETCH {uid} (ENVELOPE RFC822.TEXT)"));
    assert!(around.contains("ENVELOPE (NIL \"large\"") && around.contains("\\Seen"), "{around}");
    assert_eq!(sum(&rest), sum(&wire[wire.len() - body..]));
    assert_eq!(sum(&literal(&mut imap, &format!("UID FETCH {uid} RFC822")).1), sum(&wire));

    // Ranges that begin and end beside the ends of lines and of the pieces that are read.
    let crlf = memchr::memmem::find(&wire[1 << 20..], b"\r\n").expect("lines") + (1 << 20);
    for from in [0, 1, 65_535, 65_536, 131_072, crlf, crlf + 1, crlf + 2, wire.len() - 1, wire.len(), wire.len() + 5] {
        for len in [1, 2, 3, 70_000] {
            let (_, part) = literal(&mut imap, &format!("UID FETCH {uid} BODY.PEEK[]<{from}.{len}>"));
            let start = from.min(wire.len());
            assert!(part == wire[start..(start + len).min(wire.len())], "{from} {len}");
        }
    }
    let mut parts = Vec::new();
    while parts.len() < wire.len() {
        parts.extend(literal(&mut imap, &format!("UID FETCH {uid} BODY.PEEK[]<{}.3000001>", parts.len())).1);
    }
    assert_eq!(sum(&parts), sum(&wire));
}

#[test]
fn several_large_and_small_in_one_answer() {
    let server = Server::try_out(&[]);
    let texts: Vec<Vec<u8>> = [300_000, 100, 700_000, 0, 262_144].into_iter().map(text).collect();
    for (n, text) in texts.iter().enumerate() {
        put(&server, &format!("170000000{n}.x:2,S"), text);
    }
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    let got: Vec<Vec<u8>> = imap.fetch_all("BODY.PEEK[]").into_iter().map(|(_, text)| text).collect();
    for text in &texts {
        let wire = on_the_wire(text);
        assert_eq!(got.iter().filter(|got| **got == wire).count(), 1, "{}", wire.len());
    }
}

#[test]
fn parts_of_a_large_message() {
    let server = Server::try_out(&[]);
    // The CR at its end would belong to the line end before the boundary.
    let part = text(6 << 20).strip_suffix(b"\r").map(<[u8]>::to_vec).expect("it ends so");
    let inner = text(400_000).strip_suffix(b"\r").map(<[u8]>::to_vec).expect("it ends so");
    let head = "Subject: large\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=cut\n\n\
                --cut\n\nshort\n--cut\nX-Part: 2\n\n";
    let between = "\n--cut\nContent-Type: message/rfc822\n\n";
    let disk = [head.as_bytes(), &part, between.as_bytes(), &inner, b"\n--cut--\n"];
    put(&server, "1700000000.parts:2,S", &disk.concat());
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    let uid = uid(&mut imap);
    let (part, inner) = (on_the_wire(&part), on_the_wire(&inner));
    let (around, got) = literal(&mut imap, &format!("UID FETCH {uid} BODY.PEEK[2]"));
    assert!(around.contains(&format!("BODY[2] {{{}}}", part.len())), "{around}");
    assert_eq!(sum(&got), sum(&part));
    let (_, got) = literal(&mut imap, &format!("UID FETCH {uid} BODY.PEEK[2]<1000001.3000001>"));
    assert_eq!(sum(&got), sum(&part[1_000_001..4_000_002]));
    let (_, got) = literal(&mut imap, &format!("UID FETCH {uid} BODY.PEEK[3]"));
    assert_eq!(sum(&got), sum(&inner));
    let (_, got) = literal(&mut imap, &format!("UID FETCH {uid} BODY.PEEK[3.TEXT]"));
    assert_eq!(sum(&got), sum(inner.strip_prefix(b"Subject: large\r\nX: 1\r\n\r\n").expect("its header")));
    assert_eq!(literal(&mut imap, &format!("UID FETCH {uid} BODY.PEEK[2.MIME]")).1, b"X-Part: 2\r\n\r\n");
    // Several of them in one answer, small ones and the structure between.
    let items = "BODY.PEEK[3] BODY.PEEK[1] BODYSTRUCTURE BODY.PEEK[2]<5.400000> BODY.PEEK[]<0.7>";
    let answer = imap.ok(&format!("UID FETCH {uid} ({items})"));
    let first = format!("BODY[3] {{{}}}\r\n", inner.len());
    let expected = [first.as_bytes(), &inner, b" BODY[1] {5}\r\nshort BODYSTRUCTURE ("];
    assert!(memchr::memmem::find(&answer.untagged[0], &expected.concat()).is_some());
    let expected = [&b" BODY[2]<5> {400000}\r\n"[..], &part[5..400_005], b" BODY[]<0> {7}\r\nSubject)"];
    assert!(answer.untagged[0].ends_with(&expected.concat()));
}

#[test]
fn one_answer_holds_no_more_than_its_limit() {
    let server = Server::try_out(&[]);
    let encoded = format!("{}\n", "QUJD".repeat(19)).repeat(30_000);
    let head = "Subject: large\nContent-Type: application/x\nContent-Transfer-Encoding: base64\n\n";
    put(&server, "1700000000.binary:2,S", format!("{head}{encoded}").as_bytes());
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    // 1.7 MB each, decoded in memory: not 500 of them at once.
    let many = vec!["BINARY.PEEK[1]"; 500].join(" ");
    let refused = imap.command(&format!("FETCH 1 ({many})"));
    assert!(refused.tagged.starts_with("NO [LIMIT]") && refused.untagged.is_empty(), "{}", refused.tagged);
    let few = imap.ok(&format!("FETCH 1 ({})", ["BINARY.PEEK[1]"; 3].join(" ")));
    assert!(few.untagged[0].len() > 3 * 1_700_000);
    // From the file there may be more than that.
    let octets = encoded.len() + 30_000;
    let parts = imap.ok(&format!("FETCH 1 ({})", ["BODY.PEEK[1]"; 64].join(" ")));
    assert!(octets * 64 > 128 << 20 && parts.untagged[0].len() > octets * 64);
}

/// A session that has asked for the message, and takes nothing of it.
fn slow(server: &Server, uid: &str, item: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port("IMAP"))).expect("the port answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    let commands = format!("a LOGIN alice@example.test {PASSWORD}\r\nb SELECT INBOX\r\nc UID FETCH {uid} {item}\r\n");
    stream.write_all(commands.as_bytes()).expect("it reads");
    let mut seen = Vec::new();
    while memchr::memmem::find(&seen, b"}\r\n").is_none() {
        let mut octets = [0; 256];
        let n = stream.read(&mut octets).expect("it answers");
        assert!(n > 0, "{:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&octets[..n]);
    }
    stream
}

/// Reads to the end of the connection; the last octets.
fn last_words(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is an end too.
    stream.read_to_end(&mut rest).ok();
    rest.split_off(rest.len().saturating_sub(100))
}

#[test]
fn a_file_that_is_cut_ends_the_connection() {
    let server = Server::try_out(&["--plaintext-login"]);
    put(&server, "1700000000.large:2,S", &text(40 << 20));
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    let reader = slow(&server, &uid(&mut imap), "BODY.PEEK[]");
    // As no mail program does it.
    let file = server.maildir("alice").join("cur/1700000000.large:2,S");
    std::fs::File::options().write(true).open(file).and_then(|file| file.set_len(1000)).expect("cut");
    let end = last_words(reader);
    assert!(memchr::memmem::find(&end, b"c OK").is_none(), "{:?}", String::from_utf8_lossy(&end));
    wait_for("the log of it", || server.log().contains("became shorter").then_some(()));
}

#[test]
fn slow_readers_hold_nothing_that_others_need() {
    let server = Server::try_out(&["--plaintext-login", "--unlimited"]);
    let octets = 24 << 20;
    put(&server, "1700000000.large:2,S", &text(octets));
    let mut imap = server.imap("alice");
    imap.ok("SELECT INBOX");
    let uid = uid(&mut imap);
    let before = server.memory();
    let readers: Vec<TcpStream> = ["BODY.PEEK[]", "BODY.PEEK[TEXT]", "BODY.PEEK[1]"]
        .into_iter()
        .cycle()
        .take(12)
        .map(|item| slow(&server, &uid, item))
        .collect();
    let grown = server.memory().saturating_sub(before) * 1024;
    assert!(grown < octets as u64, "{grown} octets more for {} readers of {octets} octets each", readers.len());
    // They are all in the middle of it, and the message can be changed, moved and deleted.
    imap.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"));
    imap.ok(&format!("UID MOVE {uid} Trash"));
    imap.ok("SELECT Trash");
    imap.ok("STORE 1 +FLAGS (\\Deleted)");
    imap.ok("EXPUNGE");
    assert_eq!(server.messages("alice", "Trash").len() + server.messages("alice", "INBOX").len(), 1);
    for mut reader in readers.into_iter().take(3) {
        reader.write_all(b"d LOGOUT\r\n").expect("it reads");
        let end = last_words(reader);
        assert!(memchr::memmem::find(&end, b"d OK").is_some(), "{:?}", String::from_utf8_lossy(&end));
    }
}
