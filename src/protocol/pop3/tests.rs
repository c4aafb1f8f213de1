//! Conversations with the machine by plain calls: user `a` with password `pw w` has three messages.

use std::collections::HashMap;

use super::*;
use crate::mail::ids::UidValidity;

struct World {
    machine: Pop3,
    now: Instant,
    sent: String,
    deleted: Option<Vec<u32>>,
    read: Vec<u32>,
    tls_wanted: bool,
    closed: bool,
}

fn tls() -> TlsActive {
    TlsActive::after_handshake("TLSv1.3", "X")
}

impl World {
    fn new(tls: Option<&TlsActive>) -> Self {
        let now = Instant::now();
        let settings = Settings { can_start_tls: true, plaintext_login: false };
        let machine = Pop3::new(settings, now, tls);
        let mut world =
            Self { machine, now, sent: String::new(), deleted: None, read: vec![], tls_wanted: false, closed: false };
        world.run();
        assert_eq!(world.take(), "+OK POP3 ready\r\n");
        world
    }

    fn user() -> Self {
        let mut world = Self::new(Some(&tls()));
        assert_eq!(world.say("USER a\r\nPASS pw w\r\n"), "+OK send PASS\r\n+OK logged in\r\n");
        world
    }

    fn run(&mut self) {
        loop {
            match self.machine.poll() {
                Step::Send(bytes) => self.sent.push_str(std::str::from_utf8(&bytes).expect("ASCII")),
                Step::SendBody(handle) => self.sent.push_str(&format!("({} {:?})\r\n.\r\n", handle.uid, handle.top)),
                Step::Body(_) => panic!("nothing comes in"),
                Step::Ask(question) => {
                    let answer = self.answer(question);
                    self.machine.answer(self.now, answer);
                }
                Step::StartTls => self.tls_wanted = true,
                Step::Wait(_) => return,
                Step::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        let uid = |n| Uid::new(n).expect("not zero");
        match question {
            Question::Login(c) if c.name == "a" && c.password.reveal() == "pw w" => {
                let items = [(1, 10), (5, 20), (10, 30)].map(|(n, size)| Item { uid: uid(n), size });
                let validity = UidValidity::new(0x5f3a_b2c1).expect("not zero");
                let saved_ids = HashMap::from([(uid(5), "old-uidl".into())]);
                Answer::Opened(Inbox::new(validity, items.to_vec(), saved_ids))
            }
            Question::Login(c) if c.name == "busy" => Answer::Refused(Refusal::Busy),
            Question::Login(c) if c.name == "banned" => Answer::Refused(Refusal::TooManyFailures),
            Question::Login(_) => Answer::Refused(Refusal::Credentials),
            Question::Open(handle) if handle.uid == uid(10) => Answer::Refused(Refusal::Gone),
            Question::Open(_) => Answer::Done,
            Question::Update(Update { deleted, read }) => {
                self.deleted = Some(deleted.iter().map(|u| u.get()).collect());
                self.read = read.iter().map(|u| u.get()).collect();
                if deleted.contains(&uid(10)) { Answer::Refused(Refusal::Trouble) } else { Answer::Done }
            }
        }
    }

    fn say(&mut self, text: &str) -> String {
        self.machine.receive(self.now, text.as_bytes());
        self.run();
        self.take()
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.sent)
    }
}

#[test]
fn a_session() {
    for (said, wanted) in [
        ("STAT", "+OK 3 60\r\n"),
        ("LIST", "+OK 3 messages (60 octets)\r\n1 10\r\n2 20\r\n3 30\r\n.\r\n"),
        ("list 2", "+OK 2 20\r\n"),
        ("LIST 4", "-ERR no such message\r\n"),
        ("LIST 0", "-ERR no such message\r\n"),
        ("UIDL", "+OK \r\n1 000000015f3ab2c1\r\n2 old-uidl\r\n3 0000000a5f3ab2c1\r\n.\r\n"),
        ("UIDL 3", "+OK 3 0000000a5f3ab2c1\r\n"),
        ("RETR 1", "+OK 10 octets\r\n(1 None)\r\n.\r\n"),
        ("RETR 3", "-ERR message is gone\r\n"),
        ("TOP 2 0", "+OK \r\n(5 Some(0))\r\n.\r\n"),
        ("TOP 1 2147483648", "+OK \r\n(1 Some(2147483648))\r\n.\r\n"),
        ("TOP 1", "-ERR bad arguments\r\n"),
        ("TOP 1 -1", "-ERR bad number\r\n"),
        ("RETR 18446744073709551617", "-ERR no such message\r\n"),
        ("NOOP", "+OK \r\n"),
        ("", "-ERR unknown command\r\n"),
        (":", "-ERR unknown command\r\n"),
        ("USER a", "-ERR not in this state\r\n"),
        ("STLS", "-ERR not in this state\r\n"),
        (
            "DELE 1\r\nDELE 1\r\nSTAT\r\nLIST 1\r\nRETR 1",
            "+OK deleted\r\n-ERR no such message\r\n+OK 2 50\r\n-ERR no such message\r\n-ERR no such message\r\n",
        ),
        ("DELE 1\r\nRSET\r\nSTAT", "+OK deleted\r\n+OK \r\n+OK 3 60\r\n"),
        ("DELE 2\r\nUIDL", "+OK deleted\r\n+OK \r\n1 000000015f3ab2c1\r\n3 0000000a5f3ab2c1\r\n.\r\n"),
        ("QUIT", "+OK bye\r\n"),
    ] {
        assert_eq!(World::user().say(&format!("{said}\r\n")), wanted, "{said:?}");
        let mut world = World::user();
        let replies: String = format!("{said}\r\n").bytes().map(|b| world.say(&char::from(b).to_string())).collect();
        assert_eq!(replies, wanted, "{said:?} byte by byte");
    }
}

#[test]
fn deletions_happen_at_quit_only() {
    let mut world = World::user();
    assert_eq!(world.say("DELE 1\r\nDELE 2\r\n"), "+OK deleted\r\n".repeat(2));
    assert_eq!(world.deleted, None);
    assert_eq!(world.say("QUIT\r\n"), "+OK bye\r\n");
    assert_eq!((world.deleted, world.closed), (Some(vec![1, 5]), true));

    let mut world = World::user();
    assert_eq!(world.say("DELE 3\r\nQUIT\r\n"), "+OK deleted\r\n-ERR [SYS/TEMP] some deleted messages not removed\r\n");

    let mut world = World::user();
    world.say("DELE 1\r\n");
    world.now += POP3_IDLE;
    world.machine.tick(world.now);
    world.run();
    assert!(world.take().starts_with("-ERR") && world.closed && world.deleted.is_none());

    let mut world = World::user();
    world.say("DELE 1\r\n");
    world.machine.shutdown(world.now);
    world.run();
    assert!(world.take().starts_with("-ERR") && world.closed && world.deleted.is_none());
}

#[test]
fn what_was_sent_whole_is_read_at_quit() {
    for (said, read) in [
        ("RETR 1", vec![1]),
        ("RETR 2\r\nRETR 1\r\nRETR 2", vec![1, 5]),
        ("TOP 1 1000", vec![]),
        ("RETR 3", vec![]),
        ("RETR 1\r\nRETR 2\r\nDELE 1", vec![5]),
        ("RETR 1\r\nRSET", vec![1]),
    ] {
        let mut world = World::user();
        world.say(&format!("{said}\r\n"));
        assert_eq!(world.deleted, None, "{said:?}: nothing before QUIT");
        assert!(world.say("QUIT\r\n").ends_with("+OK bye\r\n"), "{said:?}");
        assert_eq!(world.read, read, "{said:?}");
    }
}

#[test]
fn logins() {
    for (said, wanted) in [
        ("USER a\r\nPASS x\r\n", "+OK send PASS\r\n-ERR [AUTH] authentication failed\r\n"),
        ("PASS pw w\r\n", "-ERR send USER first\r\n"),
        (
            "USER a\r\nPASS x\r\nPASS pw w\r\n",
            "+OK send PASS\r\n-ERR [AUTH] authentication failed\r\n-ERR send USER first\r\n",
        ),
        ("USER a\r\nPASS \r\n", "+OK send PASS\r\n-ERR [AUTH] authentication failed\r\n"),
        ("USER busy\r\nPASS x\r\n", "+OK send PASS\r\n-ERR [SYS/TEMP] busy, try again later\r\n"),
        ("AUTH\r\n", "+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n"),
        ("AUTH PLAIN AGEAcHcgdw==\r\n", "+OK logged in\r\n"),
        ("AUTH PLAIN\r\nAGEAcHcgdw==\r\n", "+ \r\n+OK logged in\r\n"),
        ("AUTH LOGIN\r\nYQ==\r\ncHcgdw==\r\n", "+ VXNlcm5hbWU6\r\n+ UGFzc3dvcmQ6\r\n+OK logged in\r\n"),
        ("AUTH LOGIN YQ==\r\ncHcgdw==\r\n", "+ UGFzc3dvcmQ6\r\n+OK logged in\r\n"),
        ("AUTH PLAIN\r\n*\r\nNOOP\r\n", "+ \r\n-ERR authentication cancelled\r\n-ERR not in this state\r\n"),
        ("AUTH CRAM-MD5\r\n", "-ERR mechanism not supported\r\n"),
        ("STAT\r\n", "-ERR not in this state\r\n"),
        ("STLS\r\n", "-ERR TLS is active or not possible\r\n"),
    ] {
        assert_eq!(World::new(Some(&tls())).say(said), wanted, "{said:?}");
    }
    let mut world = World::new(Some(&tls()));
    world.say("USER banned\r\nPASS x\r\n");
    assert!(world.closed);
}

#[test]
fn capabilities_are_what_works_now() {
    let common = "+OK\r\nTOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n";
    assert_eq!(World::new(None).say("CAPA\r\n"), format!("{common}STLS\r\n.\r\n"));
    assert_eq!(World::new(Some(&tls())).say("CAPA\r\n"), format!("{common}USER\r\nSASL PLAIN LOGIN\r\n.\r\n"));
    let wanted = format!("{common}USER\r\nSASL PLAIN LOGIN\r\nIMPLEMENTATION Facteur\r\n.\r\n");
    assert_eq!(World::user().say("CAPA\r\n"), wanted);
}

#[test]
fn no_password_travels_in_clear() {
    for said in ["USER a\r\n", "PASS pw w\r\n", "AUTH PLAIN AGEAcHcgdw==\r\n", "AUTH\r\n"] {
        assert_eq!(World::new(None).say(said), "-ERR [AUTH] send STLS first\r\n", "{said:?}");
    }
}

#[test]
fn starttls_injection_ends_the_session() {
    let mut world = World::new(None);
    assert_eq!(world.say("STLS\r\nUSER a\r\n"), "-ERR nothing may follow STLS\r\n");
    assert!(world.closed && !world.tls_wanted);

    let mut world = World::new(None);
    assert_eq!(world.say("STLS\r\n"), "+OK begin TLS\r\n");
    assert_eq!(world.say("USER a\r\n"), "", "what comes before the handshake is dropped");
    world.machine.secured(world.now, tls());
    world.run();
    assert_eq!(world.say("PASS pw w\r\n"), "-ERR send USER first\r\n");
}

#[test]
fn unbounded_input() {
    let mut world = World::new(None);
    let replies = world.say(&"FOO\r\n".repeat(100));
    assert!(world.closed && replies.ends_with("-ERR too many bad commands\r\n"));
    assert_eq!(replies.lines().count(), 21);

    let mut world = World::new(None);
    assert_eq!(world.say(&format!("{}\r\n", "A".repeat(5000))), "-ERR line too long\r\n");
    let mut sent = String::new();
    for _ in 0..20 {
        sent.push_str(&world.say(&"A".repeat(1000)));
    }
    assert_eq!((sent.as_str(), world.closed), ("-ERR line too long\r\n", true));
}

#[test]
fn strangers_have_a_minute() {
    let mut world = World::new(None);
    world.now += Duration::from_secs(59);
    world.say("CAPA\r\n");
    world.now += Duration::from_secs(1);
    world.machine.tick(world.now);
    world.run();
    assert!(world.closed);
}

#[test]
fn browsers_get_nothing() {
    let mut world = World::new(None);
    assert_eq!((world.say("GET / HTTP/1.1\r\nHost: x\r\n").as_str(), world.closed), ("", true));
}
