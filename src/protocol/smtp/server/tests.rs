//! Conversations with the machine by plain calls.
//!
//! A world of one known recipient, `a@here.example`, and one user, `a` with password `pw`.

use std::time::Duration;
use std::time::Instant;

use super::*;
use crate::mail::limits::TEXT_LINE_OCTETS;

struct World {
    server: Server,
    now: Instant,
    sent: String,
    body: Vec<u8>,
    messages: Vec<(Complete, Vec<u8>)>,
    abandoned: usize,
    resets: usize,
    closed: bool,
    waiting_until: Option<Instant>,
    tls_wanted: bool,
    refuse_begin: bool,
}

fn settings(role: Role) -> Settings {
    Settings {
        role,
        hostname: Domain::parse("mx.here.example").expect("valid"),
        max_size: 1000,
        can_start_tls: true,
        plaintext_login: false,
        trusted: false,
        banner: "ESMTP".to_owned(),
        legacy_auth_line: false,
        bare_newline: BareNewline::Reject,
        command_wait: Duration::from_secs(300),
    }
}

fn tls() -> TlsActive {
    TlsActive::after_handshake("TLSv1.3", "TLS_AES_256_GCM_SHA384")
}

impl World {
    fn new(settings: Settings, tls: Option<TlsActive>) -> Self {
        let now = Instant::now();
        let mut world = Self {
            server: Server::new(settings, now, tls),
            now,
            sent: String::new(),
            body: Vec::new(),
            messages: Vec::new(),
            abandoned: 0,
            resets: 0,
            closed: false,
            waiting_until: None,
            tls_wanted: false,
            refuse_begin: false,
        };
        world.run();
        world
    }

    fn lmtp() -> Self {
        Self::new(settings(Role::Lmtp), None)
    }

    fn reception() -> Self {
        Self::new(settings(Role::Reception), None)
    }

    /// A user who logged in over TLS.
    fn user() -> Self {
        let mut world = Self::new(settings(Role::Submission), Some(tls()));
        world.say("EHLO c\r\nAUTH PLAIN AGEAcHc=\r\n");
        assert!(world.take().contains("235 2.7.0"));
        world
    }

    fn run(&mut self) {
        loop {
            match self.server.poll() {
                Step::Send(bytes) => self.sent.push_str(std::str::from_utf8(&bytes).expect("replies are ASCII")),
                Step::SendBody(never) => match never {},
                Step::Body(chunk) => self.body.extend_from_slice(&chunk),
                Step::Ask(question) => {
                    let answer = self.answer(question);
                    self.server.answer(self.now, answer);
                }
                Step::StartTls => self.tls_wanted = true,
                Step::Wait(deadline) => {
                    self.waiting_until = Some(deadline);
                    return;
                }
                Step::Close => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Mail { mail, .. } if mail.size == Some(452) => Answer::Refused(Reply::disk_full()),
            Question::Mail { .. } => Answer::Accepted,
            Question::Begin if self.refuse_begin => Answer::Refused(Reply::local_trouble()),
            Question::Begin => {
                self.body.clear();
                Answer::Accepted
            }
            Question::Rcpt(address) if address.key() == "a@here.example" => Answer::Accepted,
            Question::Rcpt(address) if address.key() == "postmaster@mx.here.example" => Answer::Accepted,
            Question::Rcpt(address) if address.domain().as_str() == "here.example" => {
                Answer::Refused(Reply::unknown_recipient())
            }
            Question::Rcpt(_) => Answer::Refused(Reply::relay_denied()),
            Question::Login(c) if c.name == "a" && c.password.reveal() == "pw" => Answer::Accepted,
            Question::Login(_) => Answer::Refused(Reply::login_refused()),
            Question::End(complete) => {
                self.messages.push((*complete, std::mem::take(&mut self.body)));
                Answer::Kept(QueueId::parse("id-1").expect("valid"))
            }
            Question::Reset => {
                self.resets += 1;
                Answer::Accepted
            }
            Question::Abandon(..) => {
                self.abandoned += 1;
                Answer::Accepted
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.server.receive(self.now, bytes);
        self.run();
    }

    fn say(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.server.tick(self.now);
        self.run();
    }

    fn take(&mut self) -> String {
        std::mem::take(&mut self.sent)
    }

    /// Says lines one by one and returns the codes of their replies.
    fn codes(&mut self, lines: &[&str]) -> Vec<u16> {
        self.take();
        lines.iter().map(|line| self.code(line)).collect()
    }

    fn code(&mut self, line: &str) -> u16 {
        self.say(&format!("{line}\r\n"));
        let reply = self.take();
        reply.lines().last().and_then(|l| l.get(..3)).and_then(|c| c.parse().ok()).unwrap_or(0)
    }
}

const E: &str = "EHLO c.example";
const M: &str = "MAIL FROM:<s@there.example>";
const R: &str = "RCPT TO:<a@here.example>";

#[test]
fn a_message_comes_in() {
    let mut world = World::reception();
    assert_eq!(world.take(), "220 mx.here.example ESMTP\r\n");
    world.say("EHLO c.example\r\n");
    let wanted = "250-mx.here.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-STARTTLS\r\n\
        250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n\
        250 LIMITS RCPTMAX=100\r\n";
    assert_eq!(world.take(), wanted);
    assert_eq!(
        world.codes(&[M, R, "RCPT TO:<x@here.example>", "rcpt to:<Postmaster>", "DATA"]),
        [250, 250, 550, 250, 354]
    );
    world.say("Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n");
    assert_eq!(world.take(), "250 2.0.0 id-1 accepted\r\n221 2.0.0 closing\r\n");
    let (complete, body) = &world.messages[0];
    let recipients: Vec<String> = complete.envelope.recipients.iter().map(ToString::to_string).collect();
    assert_eq!(recipients, ["a@here.example", "postmaster@mx.here.example"]);
    assert_eq!(complete.greeting, Greeting { name: "c.example".to_owned(), extended: true });
    assert_eq!(body, b"Subject: x\n\n.dot\n");
    assert!(world.closed);
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let mut world = World::lmtp();
    assert_eq!(world.take(), "220 mx.here.example LMTP\r\n");
    assert_eq!(world.codes(&["EHLO c", "HELO c", M, "LHLO", "STARTTLS"]), [500, 500, 503, 501, 502]);
    world.say("LHLO c\r\n");
    let wanted = "250-mx.here.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-ENHANCEDSTATUSCODES\r\n\
        250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 DSN\r\n";
    assert_eq!(world.take(), wanted);
    assert_eq!(world.codes(&[M, "DATA", "BDAT 0 LAST"]), [250, 503, 503]);
    let two = [M, R, "RCPT TO:<x@here.example>", "RCPT TO:<postmaster>"];
    assert_eq!(world.codes(&two), [250, 250, 550, 250]);
    world.say("DATA\r\nx\r\n.\r\n");
    let accepted = "250 2.0.0 id-1 accepted\r\n".repeat(2);
    assert_eq!(world.take(), format!("354 end data with <CRLF>.<CRLF>\r\n{accepted}"));
    world.codes(&two);
    world.say("BDAT 3\r\nx\r\nBDAT 0 LAST\r\n");
    assert_eq!(world.take(), format!("250 2.0.0 3 octets received\r\n{accepted}"));
    world.codes(&two);
    world.say("BDAT 1\r\nxBDAT 1000\r\n");
    world.say(&"x".repeat(1000));
    assert_eq!(world.take(), "250 2.0.0 1 octets received\r\n552 5.3.4 message too big\r\n");
    world.codes(&two);
    world.say("BDAT 3 LAST\r\nx\ny");
    assert_eq!(world.take(), "550 5.5.2 bare <LF> or <CR> not allowed\r\n".repeat(2));
    world.codes(&two);
    world.say("BDAT 1001 LAST\r\n");
    world.say(&"x".repeat(1001));
    assert_eq!(world.take(), "552 5.3.4 message too big\r\n".repeat(2));
    assert!(!world.closed);
}

#[test]
fn a_message_comes_in_chunks() {
    let mut world = World::reception();
    world.codes(&[E, M, R, "RCPT TO:<postmaster>"]);
    world.say("BDAT 12\r\nSubject: x\r\nbdat 2\r\n\r\nBDAT 5 LAST\r\n.\r\n..QUIT\r\n");
    assert_eq!(
        world.take(),
        "250 2.0.0 12 octets received\r\n250 2.0.0 2 octets received\r\n250 2.0.0 id-1 accepted\r\n221 2.0.0 closing\r\n"
    );
    let (complete, body) = &world.messages[0];
    assert_eq!((complete.envelope.recipients.len(), body.as_slice()), (2, &b"Subject: x\n\n.\n..\n"[..]));
}

/// Everything that chunks can do, and what goes wrong with them.
const CHUNKS: &[u8] =
    b"EHLO c\r\nBDAT 6\r\nQUIT\r\nMAIL FROM:<>\r\nBDAT 6 LAST\r\nQUIT\r\nRCPT TO:<a@here.example>\r\n\
    MAIL FROM:<>\r\nRCPT TO:<a@here.example>\r\nBDAT 3\r\na\r\rBDAT 0\r\nBDAT 4\r\n\nb\r\nBDAT 0 LAST\r\n\
    MAIL FROM:<>\r\nRCPT TO:<a@here.example>\r\nBDAT 3\r\na\r\nRCPT TO:<a@here.example>\r\nMAIL FROM:<>\r\nNOOP\r\n\
    RSET\r\nBDAT 3 LAST\r\nb\r\nMAIL FROM:<>\r\nRCPT TO:<a@here.example>\r\nBDAT 2\r\nxyBDAT 1999\r\n";

#[test]
fn chunks_cut_at_every_byte_are_the_same() {
    let rest = [
        &[b'x'; 1999][..],
        b"BDAT 0 LAST\r\nMAIL FROM:<>\r\nRCPT TO:<a@here.example>\r\nBDAT 4 LAST\r\ngood\
        MAIL FROM:<>\r\nRCPT TO:<a@here.example>\r\nBDAT 4\r\ngoodDATA\r\n",
    ]
    .concat();
    let session = [CHUNKS, &rest].concat();
    let mut whole = World::reception();
    whole.bytes(&session);
    let codes: Vec<&str> = whole.sent.lines().filter(|l| l.as_bytes()[3] == b' ').map(|l| &l[..3]).collect();
    let wanted = [
        "220", "250", "503", "250", "554", "503", "250", "250", "250", "250", "250", "550", "250", "250", "250", "503",
        "503", "250", "250", "503", "250", "250", "250", "552", "503", "250", "250", "250", "250", "250", "250", "503",
    ];
    assert_eq!(codes, wanted, "{}", whole.sent);
    assert_eq!((whole.messages.len(), whole.abandoned, whole.resets, whole.closed), (1, 4, 1, false));
    assert_eq!(whole.messages[0].1, b"good\n");
    for cut in 0..session.len() {
        let mut world = World::reception();
        world.bytes(&session[..cut]);
        world.bytes(&session[cut..]);
        assert_eq!((&world.sent, &world.messages), (&whole.sent, &whole.messages), "cut at {cut}");
    }
    let mut world = World::reception();
    for byte in &session {
        world.bytes(&[*byte]);
    }
    assert_eq!((&world.sent, &world.messages), (&whole.sent, &whole.messages));
}

#[test]
fn a_chunk_that_is_refused_is_read_first() {
    let mut world = World::reception();
    world.codes(&[E, M, R]);
    world.refuse_begin = true;
    world.say("BDAT 6\r\nQUI");
    assert_eq!(world.sent, "", "nothing before its end");
    world.say("T\r\n");
    assert_eq!(world.take(), "451 4.3.0 local error, try again later\r\n");
    assert_eq!((world.codes(&["BDAT 0 LAST", R]), world.abandoned), (vec![503, 503], 1));

    let mut world = World::reception();
    world.codes(&[E, M, R]);
    world.say("BDAT 18446744073709551615 LAST\r\nQUIT\r\n");
    assert_eq!((world.take().as_str(), world.closed), ("552 5.3.4 message too big\r\n", true));
    assert_eq!((world.abandoned, world.messages.len()), (1, 0));
    for line in ["BDAT", "BDAT x", "BDAT -1", "BDAT 5 FIRST"] {
        let mut world = World::reception();
        world.codes(&[E, M, R]);
        world.say(&format!("{line}\r\nQUIT\r\n"));
        let said = world.take();
        assert!(world.closed && said.starts_with("501 5.5.4") && said.lines().count() == 1, "{line}: {said}");
    }
}

#[test]
fn chunks_without_octets_are_junk_and_chunks_that_drip_end() {
    let mut world = World::reception();
    world.codes(&[E, M, R]);
    for _ in 0..10_000 {
        world.say(&"BDAT 0\r\n".repeat(100));
    }
    assert!(world.closed && world.take().lines().count() == 21);

    let mut world = World::reception();
    world.codes(&[E, M, R]);
    world.say("BDAT 900\r\n");
    for _ in 0..59 {
        world.pass(Duration::from_secs(1));
        world.say("x");
    }
    world.pass(Duration::from_secs(1));
    assert_eq!((world.take().as_str(), world.closed), ("421 4.4.2 data too slow\r\n", true));

    let mut world = World::reception();
    world.codes(&[E]);
    world.say("BDAT 900\r\n");
    world.pass(Duration::from_secs(60));
    assert!(world.closed, "nor can what is thrown away drip");
}

/// A whole session with everything in it.
const SESSION: &[u8] =
    b"HELO h\r\nNOOP\r\nEHLO c\r\nMAIL FROM:<> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<a@here.example>\r\n\
    RCPT TO:<v@else.example>\r\nDATA\r\nA: b\r\n\r\n..\r\n\xff\0\r\n.\r\nFOO\r\nbare\nVRFY a\r\nEXPN a\r\nHELP\r\n\
    MAIL FROM:<s@x.example>\r\nRSET\r\nMAIL FROM:<s@x.example>\r\nRCPT TO:<a@here.example>\r\nDATA\r\n.\r\nQUIT\r\n";

#[test]
fn cut_at_every_byte_the_replies_are_the_same() {
    let mut whole = World::reception();
    whole.bytes(SESSION);
    assert_eq!((whole.messages.len(), whole.closed), (2, true));
    for cut in 0..SESSION.len() {
        let mut world = World::reception();
        world.bytes(&SESSION[..cut]);
        world.bytes(&SESSION[cut..]);
        assert_eq!(world.messages, whole.messages, "cut at {cut}");
        assert_eq!(world.sent, whole.sent, "cut at {cut}");
    }
    let mut world = World::reception();
    for byte in SESSION {
        world.bytes(&[*byte]);
    }
    assert_eq!((world.sent, world.messages), (whole.sent, whole.messages));
}

#[test]
fn smuggling_a_second_message_inside_one_fails() {
    let terminators: [&[u8]; 8] =
        [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n.\n", b"\r.\n", b"\n.\r", b"\r.\r\n"];
    for terminator in terminators {
        let inner = b"MAIL FROM:<evil@x.example>\r\nRCPT TO:<a@here.example>\r\nDATA\r\nsmuggled\r\n";
        let data = [b"outer", terminator, inner, b".\r\n"].concat();
        for cut in 0..=data.len() {
            let mut world = World::reception();
            assert_eq!(world.codes(&[E, M, R, "DATA"]), [250, 250, 250, 354]);
            world.bytes(&data[..cut]);
            if cut < data.len() {
                assert_eq!(world.sent, "", "nothing is answered before the end");
            }
            world.bytes(&data[cut..]);
            assert_eq!(world.sent, "550 5.5.2 bare <LF> or <CR> not allowed\r\n", "{}", terminator.escape_ascii());
            assert_eq!((world.messages.len(), world.abandoned, world.closed), (0, 1, true));
        }
    }
}

#[test]
fn smuggling_does_not_work_where_newlines_are_normalised() {
    let mut world = World::new(Settings { bare_newline: BareNewline::Normalise, ..settings(Role::Reception) }, None);
    world.codes(&[E, M, R, "DATA"]);
    world.say("outer\n.\nMAIL FROM:<evil@x.example>\r\n.\r\n");
    assert_eq!(world.take(), "250 2.0.0 id-1 accepted\r\n");
    assert_eq!(world.messages[0].1, b"outer\n.\nMAIL FROM:<evil@x.example>\n");
}

#[test]
fn smuggling_by_command_lines_fails() {
    let mut world = World::reception();
    assert_eq!(world.codes(&[E, M, "RCPT TO:<a@here.example>\rRCPT TO:<a@here.example>"]), [250, 250, 501]);
    world.say("RCPT TO:<a@here.example>\nDATA\r\n");
    assert_eq!(world.take(), "500 5.5.2 lines end with <CR><LF>\r\n554 5.5.1 no valid recipients\r\n");
}

#[test]
fn starttls_injection_ends_the_session() {
    let mut world = World::reception();
    world.codes(&[E]);
    world.say("STARTTLS\r\nRSET\r\nNOOP\r\n");
    assert_eq!(world.take(), "501 5.5.4 nothing may follow STARTTLS\r\n");
    assert!(world.closed && !world.tls_wanted);
}

#[test]
fn starttls_injection_bytes_that_come_with_the_handshake_are_dropped() {
    let mut world = World::reception();
    world.codes(&[E, "STARTTLS"]);
    world.say("NOOP\r\nEHLO x\r\n");
    assert_eq!(world.take(), "");
    world.server.secured(world.now, tls());
    world.run();
    assert_eq!(world.take(), "");
    assert_eq!(world.codes(&["MAIL FROM:<s@x.example>", "STARTTLS"]), [503, 503]);
}

#[test]
fn state_is_reset_after_an_error_and_after_tls() {
    let mut world = World::reception();
    assert_eq!(world.codes(&[E, "STARTTLS"]), [250, 220]);
    assert!(world.tls_wanted);
    world.server.secured(world.now, tls());
    world.run();
    assert_eq!(world.codes(&[M, E]), [503, 250]);
    world.say("EHLO c\r\n");
    assert!(!world.take().contains("STARTTLS"));

    let mut world = World::new(Settings { plaintext_login: true, ..settings(Role::Submission) }, None);
    assert_eq!(world.codes(&[E, "AUTH PLAIN AGEAcHc=", "STARTTLS"]), [250, 235, 220]);
    world.server.secured(world.now, tls());
    world.run();
    assert_eq!(world.codes(&[E, M]), [250, 530], "the login is forgotten");
}

#[test]
fn state_is_reset_after_an_error_in_sequence() {
    for (name, lines, wanted) in [
        ("RCPT before MAIL", vec![E, R], 503),
        ("MAIL before EHLO", vec![M], 503),
        ("DATA before MAIL", vec![E, "DATA"], 503),
        ("DATA before RCPT", vec![E, M, "DATA"], 554),
        ("DATA after refused RCPT", vec![E, M, "RCPT TO:<x@here.example>", "DATA"], 554),
        ("two MAIL", vec![E, M, M], 503),
        ("RSET clears", vec![E, M, R, "RSET", "DATA"], 503),
        ("EHLO clears", vec![E, M, R, E, "DATA"], 503),
        ("HELO clears", vec![E, M, R, "HELO x", "DATA"], 503),
        ("bad EHLO keeps", vec![E, M, R, "EHLO", "DATA"], 354),
        ("VRFY keeps", vec![E, M, R, "VRFY x", "DATA"], 354),
        ("8-bit VRFY keeps", vec![E, M, R, "VRFY \u{442}", "DATA"], 354),
        ("refused MAIL opens nothing", vec![E, "MAIL FROM:<s@x.example> SIZE=452", R], 503),
        ("too big MAIL opens nothing", vec![E, "MAIL FROM:<s@x.example> SIZE=1001", R], 503),
        ("STARTTLS in a transaction", vec![E, M, R, "STARTTLS", "DATA"], 354),
        ("AUTH on reception", vec![E, "AUTH PLAIN AGEAcHc="], 502),
    ] {
        assert_eq!(World::reception().codes(&lines).last(), Some(&wanted), "{name}");
    }
}

#[test]
fn state_is_reset_after_an_error_at_the_end_of_data() {
    let mut world = World::new(Settings { max_size: 1 << 20, ..settings(Role::Reception) }, None);
    world.codes(&[E, M, R, "DATA"]);
    for piece in vec![b'x'; TEXT_LINE_OCTETS + 1].chunks(16_384) {
        world.bytes(piece);
    }
    world.say("\r\n.\r\n");
    assert_eq!(world.take(), "550 5.6.0 line of text too long\r\n");
    assert_eq!(world.codes(&["DATA", R, M, R, "DATA"]), [503, 503, 250, 250, 354]);
}

#[test]
fn open_relay_forms_reach_the_policy_as_what_they_are() {
    for (form, wanted) in [
        ("<v@else.example>", 554),
        ("<v%else.example@here.example>", 550),
        ("<else.example!v@here.example>", 550),
        ("<else.example!v>", 501),
        ("<@here.example:v@else.example>", 554),
        ("<\"v@else.example\"@here.example>", 550),
        ("<\"v@else.example\">", 501),
        ("<v@else.example@here.example>", 501),
        ("v@else.example", 501),
        ("<v@[127.0.0.9]>", 554),
        ("<v@[IPv6:::1]>", 554),
        ("<v%else.example@[127.0.0.1]>", 554),
        ("<v@else.example:here.example>", 501),
        ("<v@else.example\0@here.example>", 501),
        ("<v@else.example> <a@here.example>", 555),
        ("<v\\@else.example@here.example>", 501),
        ("<>", 501),
        ("<@else.example:a@here.example>", 250),
    ] {
        let mut world = World::reception();
        assert_eq!(world.codes(&[E, M, &format!("RCPT TO:{form}")])[2], wanted, "{form}");
    }
}

#[test]
fn open_relay_by_other_verbs() {
    let mut world = World::reception();
    let lines = ["XCLIENT ADDR=127.0.0.1", "XFORWARD ADDR=127.0.0.1", "TURN", "ETRN x", "EXPN a"];
    world.codes(&[E]);
    assert_eq!(world.codes(&lines), [502; 5]);
}

#[test]
fn open_relay_submission_needs_tls_and_login() {
    let mut world = World::new(settings(Role::Submission), None);
    world.say("EHLO c\r\n");
    assert!(!world.take().contains("AUTH"));
    world.say("MAIL FROM:<a@here.example>\r\nAUTH PLAIN AGEAcHc=\r\n");
    assert_eq!(world.take(), "530 5.7.0 Must issue a STARTTLS command first\r\n".repeat(2));

    let mut world = World::new(settings(Role::Submission), Some(tls()));
    world.say("EHLO c\r\n");
    assert!(world.take().contains("AUTH PLAIN LOGIN\r\n"));
    world.say("MAIL FROM:<a@here.example>\r\n");
    assert_eq!(world.take(), "530 5.7.0 authentication required\r\n");
}

#[test]
fn logins() {
    let fresh = || {
        let mut world = World::new(settings(Role::Submission), Some(tls()));
        world.say("EHLO c\r\n");
        world.take();
        world
    };
    for (said, wanted) in [
        ("AUTH PLAIN AGEAcHc=\r\n", "235 2.7.0 authentication succeeded\r\n"),
        ("AUTH PLAIN\r\nAGEAcHc=\r\n", "334 \r\n235 2.7.0 authentication succeeded\r\n"),
        (
            "auth login\r\nYQ==\r\ncHc=\r\n",
            "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 2.7.0 authentication succeeded\r\n",
        ),
        ("AUTH LOGIN YQ==\r\ncHc=\r\n", "334 UGFzc3dvcmQ6\r\n235 2.7.0 authentication succeeded\r\n"),
        ("AUTH PLAIN AGEAeHg=\r\n", "535 5.7.8 authentication credentials invalid\r\n"),
        ("AUTH PLAIN AGEA\r\n", "535 5.7.8 authentication credentials invalid\r\n"),
        ("AUTH PLAIN =\r\n", "501 5.5.2 cannot decode response\r\n"),
        ("AUTH PLAIN !\r\nNOOP\r\n", "501 5.5.2 cannot decode response\r\n250 2.0.0 OK\r\n"),
        ("AUTH LOGIN\r\n*\r\n", "334 VXNlcm5hbWU6\r\n501 5.7.0 authentication cancelled\r\n"),
        ("AUTH CRAM-MD5\r\n", "504 5.5.4 mechanism not supported\r\n"),
        ("AUTH\r\n", "501 5.5.4 mechanism expected\r\n"),
        (
            "AUTH PLAIN AGEAcHc=\r\nAUTH PLAIN AGEAcHc=\r\n",
            "235 2.7.0 authentication succeeded\r\n503 5.5.1 already authenticated\r\n",
        ),
    ] {
        let mut world = fresh();
        world.say(said);
        assert_eq!(world.take(), wanted, "{said:?}");
        let mut world = fresh();
        for byte in said.bytes() {
            world.bytes(&[byte]);
        }
        assert_eq!(world.take(), wanted, "{said:?} byte by byte");
    }
    let mut world = World::user();
    assert_eq!(world.codes(&["MAIL FROM: <a@here.example> AUTH=<>", "AUTH PLAIN AGEAcHc="]), [250, 503]);
}

#[test]
fn unbounded_input_long_lines() {
    let mut world = World::reception();
    world.codes(&[E]);
    let long = format!("{}\r\n", "A".repeat(5000));
    world.say(&long);
    world.say(&long);
    assert_eq!(world.take(), "500 5.5.2 line too long\r\n".repeat(2));
    assert!(!world.closed);
    world.say(&long);
    assert!(world.closed, "the third time");

    let mut world = World::reception();
    world.take();
    for _ in 0..5 {
        world.say(&"A".repeat(16_384));
    }
    assert_eq!(world.take(), "500 5.5.2 line too long\r\n");
    assert!(world.closed);
}

#[test]
fn unbounded_input_of_commands_recipients_and_sizes() {
    let mut world = World::reception();
    world.say("EHLO c\r\n");
    world.take();
    world.say(&"NOOP\r\n".repeat(5000));
    let replies = world.take();
    assert!(world.closed && replies.ends_with("250 2.0.0 OK\r\n421 4.7.0 too many errors\r\n"));
    assert_eq!(replies.lines().count(), 21);

    let mut world = World::reception();
    world.codes(&[E, M]);
    for _ in 0..100 {
        assert_eq!(world.code(R), 250);
    }
    for _ in 0..500 {
        assert_eq!(world.code(R), 452);
    }
    assert_eq!(world.code("DATA"), 354);

    for (size, code) in [("1000", 250), ("1001", 552), ("99999999999", 552), ("18446744073709551616", 552)] {
        assert_eq!(World::reception().codes(&[E, &format!("{M} SIZE={size}")])[1], code);
    }
}

#[test]
fn unbounded_input_of_data_is_read_to_twice_the_limit() {
    let mut world = World::reception();
    world.codes(&[E, M, R, "DATA"]);
    world.say(&"x\r\n".repeat(400));
    world.say(".\r\n");
    assert_eq!(world.take(), "552 5.3.4 message too big\r\n");
    assert!(world.closed && world.messages.is_empty() && world.body.len() <= 1000);

    let mut world = World::reception();
    world.codes(&[E, M, R, "DATA"]);
    world.say(&"x\r\n".repeat(700));
    assert_eq!(world.take(), "552 5.3.4 message too big\r\n");
    assert!(world.closed);
}

#[test]
fn pipelined_groups_are_answered_in_order() {
    let mut world = World::reception();
    world.take();
    world.say("EHLO c\r\nMAIL FROM:<s@x.example>\r\nRCPT TO:<x@here.example>\r\nRCPT TO:<a@here.example>\r\nDATA\r\n");
    let codes: Vec<String> = world.take().lines().map(|l| l[..4].to_owned()).filter(|c| c.ends_with(' ')).collect();
    assert_eq!(codes, ["250 ", "250 ", "550 ", "250 ", "354 "]);
}

#[test]
fn a_body_behind_a_refused_data_is_not_read_as_commands() {
    for lines in ["DATA\r\nRSET\r\n", "MAIL FROM:<s@x.example>\r\nDATA\r\nSubject: x\r\n", "BDAT x LAST\r\nQUIT\r\n"] {
        let mut world = World::reception();
        world.codes(&[E]);
        world.say(lines);
        assert!(world.closed, "{lines:?}");
        assert!(!world.take().contains("221"), "{lines:?}");
    }
}

#[test]
fn browsers_get_nothing() {
    for line in ["GET / HTTP/1.1\r\n", "POST / HTTP/1.1\nHost: x\n", "Host: mx\r\n"] {
        let mut world = World::reception();
        world.take();
        world.say(line);
        assert_eq!((world.take().as_str(), world.closed), ("", true), "{line:?}");
    }
}

#[test]
fn deadlines() {
    let minutes = |m: u64| Duration::from_secs(60 * m);
    let mut world = World::reception();
    world.codes(&[E]);
    world.pass(minutes(4));
    world.say("NO");
    world.pass(Duration::from_secs(59));
    assert!(!world.closed, "the command has five minutes");
    world.pass(Duration::from_secs(1));
    assert!(world.take() == "421 4.4.2 timeout\r\n" && world.closed);

    let mut world = World::reception();
    world.codes(&[E]);
    for _ in 0..4 {
        world.pass(Duration::from_secs(149));
        world.say("NOOP\r\n");
    }
    world.take();
    world.pass(Duration::from_secs(4));
    assert_eq!(world.take(), "421 4.4.2 no message in time\r\n");

    let mut world = World::reception();
    world.codes(&[E, M]);
    for _ in 0..4 {
        world.pass(Duration::from_secs(290));
        world.say("NOOP\r\n");
    }
    assert!(!world.closed, "whoever had a MAIL accepted may stay");
}

#[test]
fn dripping_data_ends_the_session() {
    let mut world = World::reception();
    world.codes(&[E, M, R, "DATA"]);
    for _ in 0..59 {
        world.pass(Duration::from_secs(1));
        world.say("x");
    }
    assert!(!world.closed);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.take(), "421 4.4.2 data too slow\r\n");
    assert!(world.closed && world.messages.is_empty());
}

#[test]
fn junk_is_forgiven_after_a_message() {
    let mut world = World::reception();
    world.codes(&[E]);
    for _ in 0..3 {
        for _ in 0..15 {
            assert_eq!(world.code("FOO"), 500);
        }
        assert_eq!(world.codes(&[M, R, "DATA", "text\r\n."]), [250, 250, 354, 250]);
    }
}

#[test]
fn a_message_under_way_is_taken_before_the_end() {
    let mut world = World::reception();
    world.codes(&[E, M, R, "DATA"]);
    world.say("text\r\n");
    world.server.shutdown(world.now);
    world.run();
    assert!(world.take().is_empty() && !world.closed);
    world.say(".\r\n");
    assert_eq!(world.take(), "250 2.0.0 id-1 accepted\r\n421 4.3.2 shutting down\r\n");
    assert!(world.closed);

    let mut world = World::reception();
    world.codes(&[E, M]);
    world.server.shutdown(world.now);
    world.run();
    assert_eq!((world.take().as_str(), world.closed), ("421 4.3.2 shutting down\r\n", true));
}

#[test]
fn the_driver_learns_of_the_end_of_a_transaction_before_the_client() {
    for end in ["RSET", "EHLO again", "HELO again"] {
        let mut world = World::reception();
        world.say("EHLO c\r\nRSET\r\n");
        assert_eq!(world.resets, 0, "there was none");
        world.say("MAIL FROM:<s@x.example>\r\nRCPT TO:<a@here.example>\r\n");
        world.take();
        world.server.receive(world.now, format!("{end}\r\nDATA\r\n").as_bytes());
        assert_eq!(world.server.poll(), Step::Ask(Question::Reset), "{end}");
        world.server.answer(world.now, Answer::Accepted);
        world.run();
        let said = world.take();
        assert!(said.starts_with("250") && said.contains("\r\n503 "), "{end}: {said}");
    }
}
