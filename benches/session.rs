//! The machines, without sockets or disks: one message by SMTP, one session by POP3.

use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

use divan::Bencher;
use facteur::mail::address::Domain;
use facteur::mail::ids::SessionId;
use facteur::mail::ids::Uid;
use facteur::mail::ids::UidValidity;
use facteur::protocol::pop3;
use facteur::protocol::session::Session;
use facteur::protocol::session::Step;
use facteur::protocol::smtp::data::BareNewline;
use facteur::protocol::smtp::server;

fn main() {
    divan::main();
}

fn smtp_settings() -> server::Settings {
    server::Settings {
        role: server::Role::Reception,
        hostname: Domain::parse("mail.example.test").expect("valid"),
        max_size: 50 << 20,
        can_start_tls: true,
        plaintext_login: false,
        trusted: false,
        banner: "ESMTP".to_owned(),
        legacy_auth_line: false,
        bare_newline: BareNewline::Reject,
        command_wait: Duration::from_secs(300),
    }
}

/// From the greeting to QUIT, as most servers send: the envelope in one packet, a message of 4 KiB in another.
#[divan::bench]
fn smtp_one_message(bencher: Bencher<'_, '_>) {
    let body = format!("Subject: x\r\n\r\n{}.\r\nQUIT\r\n", format!("{}\r\n", "x".repeat(62)).repeat(64));
    let packets = ["EHLO c\r\n", "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@example.test>\r\nDATA\r\n", body.as_str()];
    let (settings, now) = (smtp_settings(), Instant::now());
    let id = SessionId::new(Duration::from_secs(1)).message(1);
    bencher.bench_local(|| {
        let mut machine = server::Server::new(settings.clone(), now, None);
        let mut packets = packets.iter();
        let (mut said, mut kept) = (0, 0);
        loop {
            match machine.poll() {
                Step::Send(bytes) => said += bytes.len(),
                Step::Body(bytes) => kept += bytes.len(),
                Step::Ask(server::Question::End(_)) => machine.answer(now, server::Answer::Kept(id.clone())),
                Step::Ask(_) => machine.answer(now, server::Answer::Accepted),
                Step::Wait(_) => machine.receive(now, packets.next().expect("it asks for no more").as_bytes()),
                Step::Close => break,
                Step::StartTls | Step::SendBody(_) => unreachable!("nobody asked for it"),
            }
        }
        assert!(said > 100 && kept > 4000);
    });
}

/// A poll of a client that leaves mail on the server: UIDL of 10,000 messages.
#[divan::bench]
fn pop3_uidl(bencher: Bencher<'_, '_>) {
    let items = (1..=10_000).filter_map(|n| Some(pop3::Item { uid: Uid::new(n)?, size: 1000 }));
    let validity = UidValidity::new(1_800_000_000).expect("not zero");
    let inbox = pop3::Inbox::new(validity, items.collect(), HashMap::new());
    let settings = pop3::Settings { can_start_tls: false, plaintext_login: true };
    let now = Instant::now();
    bencher.bench_local(|| {
        let mut machine = pop3::Pop3::new(settings, now, None);
        machine.receive(now, b"USER a\r\nPASS b\r\nUIDL\r\nQUIT\r\n");
        let mut said = 0;
        loop {
            match machine.poll() {
                Step::Send(bytes) => said += bytes.len(),
                Step::Ask(_) => machine.answer(now, pop3::Answer::Opened(inbox.clone())),
                Step::Close => break,
                _ => unreachable!("all was said at once"),
            }
        }
        assert!(said > 200_000);
    });
}
