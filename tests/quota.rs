//! Quotas as senders and owners meet them: refused while full, taken again when there is room, and told before.

mod common;

use common::server::Server;
use common::server::password_hash;
use common::server::write_private;
use common::smtp::Reply;
use common::smtp::Smtp;
use common::smtp::wire;
use common::wait_for;
use rustix::process::Signal;

const ALICE: &str = "alice@example.test";
const BOB: &str = "bob@example.test";
const STRANGER: &str = "stranger@load.example";

/// A test that waits for something asks many times.
const OFTEN: &str = "[limits]\nsmtp_connections_per_minute = 0\n";

/// A message whose octets on the wire are about these.
fn message(octets: usize) -> String {
    format!("Subject: x\n\n{}", format!("{}\n", "y".repeat(78)).repeat(octets.div_ceil(80)))
}

/// MAIL and RCPT, with the size declared.
fn ask(smtp: &mut Smtp, to: &str, octets: usize) -> Reply {
    let reply = smtp.command(&format!("MAIL FROM:<{STRANGER}> SIZE={octets}"));
    assert_eq!(reply.code, 250, "{reply:?}");
    smtp.command(&format!("RCPT TO:<{to}>"))
}

fn greeted(server: &Server) -> Smtp {
    let mut smtp = server.smtp();
    smtp.ehlo();
    smtp
}

fn expunge_all(server: &Server, user: &str) {
    let mut imap = server.imap(user);
    imap.ok("SELECT INBOX");
    imap.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)");
    imap.ok("EXPUNGE");
}

#[test]
fn a_full_mailbox_refuses_warns_and_takes_mail_again() {
    let server = Server::serve("[smtp]\nmax_message_size = \"10KiB\"\n[quota]\nstorage = \"20KiB\"\n");
    server.deliver(ALICE, &message(8500));
    server.deliver(ALICE, &message(8500));
    let is_warning = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("\nAuto-Submitted: auto-generated\r\n");
    let warnings = || server.messages("alice", "INBOX").into_iter().filter(|(_, m)| is_warning(m)).collect::<Vec<_>>();
    let warning = wait_for("the warning", || warnings().pop());
    let text = String::from_utf8(warning.1).expect("UTF-8");
    for part in ["From: Mail server <postmaster@example.test>\r\n", "To: alice@example.test\r\n", "% full\r\n"] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    let mut smtp = greeted(&server);
    let refused = ask(&mut smtp, ALICE, 8500);
    assert_eq!(refused.text(), "452 4.2.2 mailbox full");
    smtp.command("RSET");
    assert_eq!(ask(&mut smtp, BOB, 8500).code, 250, "another's mailbox");
    // A user's own mail to her meets the same.
    let mut submission = server.submissions();
    submission.ehlo();
    submission.login("bob");
    submission.command(&format!("MAIL FROM:<{BOB}> SIZE=9000"));
    assert_eq!(submission.command(&format!("RCPT TO:<{ALICE}>")).text(), "452 4.2.2 mailbox full");
    // Without a size it shows when the message is there; nobody sends a notice about it.
    let late = greeted(&server).send_message(STRANGER, &[ALICE], &message(8500));
    assert_eq!(late.text(), "452 4.2.2 mailbox full");

    let mut imap = server.imap("alice");
    let appended = imap.append("Drafts", "", &wire(&message(8500)));
    assert!(appended.tagged.starts_with("NO [OVERQUOTA]"), "{appended:?}");
    imap.ok("SELECT INBOX");
    let copied = imap.command("COPY 1 Drafts");
    assert!(copied.tagged.starts_with("NO [OVERQUOTA]"), "{copied:?}");
    imap.ok("MOVE 1 Drafts");
    assert_eq!(warnings().len(), 1, "one warning is enough");
    assert_eq!(server.command(&["queue", "list"]).stdout, b"The queue is empty.\n");

    expunge_all(&server, "alice");
    let mut smtp = greeted(&server);
    assert_eq!(ask(&mut smtp, ALICE, 8500).code, 250, "there is room again");
    smtp.command("RSET");
    server.deliver(ALICE, &message(8500));
    wait_for("another warning, since usage had fallen", || (warnings().len() == 1).then_some(()));
    imap.ok("DELETE Drafts");
    let appended = imap.append("INBOX", "", &wire(&message(8500)));
    assert!(appended.tagged.starts_with("OK"), "a deleted mailbox counts no longer: {appended:?}");
}

/// RFC 9208 §4.1.2 and, for Thunderbird, as RFC 2087 has it.
#[test]
fn imap_tells_what_is_used_of_what_there_is() {
    let server =
        Server::serve("[smtp]\nmax_message_size = \"10KiB\"\n[quota]\nstorage = \"20KiB\"\nmessages = 7\nwarn = []\n");
    server.deliver(ALICE, &message(3000));
    let octets: u64 = server.messages("alice", "INBOX").iter().map(|(_, m)| m.len() as u64).sum();
    let mut imap = server.imap("alice");
    // The file has LF where the wire has CRLF, so it is a little smaller than what was fetched.
    let kib = octets.div_ceil(1024);
    let quota = format!("* QUOTA \"account\" (STORAGE {kib} 20 MESSAGE 1 7)");
    let answer = imap.ok("GETQUOTAROOT INBOX");
    assert_eq!(answer.texts(), ["* QUOTAROOT \"INBOX\" \"account\"".to_owned(), quota.clone()]);
    assert_eq!(imap.ok("GETQUOTA \"account\"").texts(), [quota]);
}

#[test]
fn of_two_at_once_one_gets_the_last_place() {
    let server = Server::serve(&format!(
        "[smtp]\nmax_message_size = \"10KiB\"\n[quota]\nstorage = \"15KiB\"\nmessages = 3\nwarn = []\n{OFTEN}"
    ));
    // Declared by users, the second is refused at RCPT, until the first gives up.
    let user = || {
        let mut smtp = server.submissions();
        smtp.ehlo();
        smtp.login("bob");
        smtp
    };
    let ask_as_bob = |smtp: &mut Smtp| {
        assert_eq!(smtp.command(&format!("MAIL FROM:<{BOB}> SIZE=9000")).code, 250);
        smtp.command(&format!("RCPT TO:<{ALICE}>"))
    };
    let (mut one, mut two) = (user(), user());
    assert_eq!(ask_as_bob(&mut one).code, 250);
    assert_eq!(ask_as_bob(&mut two).text(), "452 4.2.2 mailbox full");
    assert_eq!(one.command("RSET").code, 250);
    assert_eq!(two.command(&format!("RCPT TO:<{ALICE}>")).code, 250, "given back with the transaction");
    assert_eq!(ask_as_bob(&mut one).text(), "452 4.2.2 mailbox full");
    one.quit();
    two.quit();
    wait_for("the room of who has gone", || (ask(&mut greeted(&server), ALICE, 9000).code == 250).then_some(()));
    // Of strangers, declared or not, one is refused at the end.
    let mut both = [greeted(&server), greeted(&server)];
    for (smtp, size) in both.iter_mut().zip([" SIZE=9000", ""]) {
        for line in [format!("MAIL FROM:<{STRANGER}>{size}"), format!("RCPT TO:<{BOB}>")] {
            assert_eq!(smtp.command(&line).code, 250);
        }
        assert_eq!(smtp.command("DATA").code, 354);
    }
    for smtp in &mut both {
        smtp.0.send(&wire(&message(9000)));
    }
    let mut replies = both.map(|mut smtp| smtp.reply());
    replies.sort_by_key(|reply| reply.code);
    assert_eq!(replies[0].code, 250, "{replies:?}");
    assert_eq!(replies[1].text(), "452 4.2.2 mailbox full");
    assert_eq!(server.messages("bob", "INBOX").len(), 1);
    // Messages are counted, too.
    for _ in 0..2 {
        server.deliver(BOB, "Subject: small\n\nx\n");
    }
    assert_eq!(ask(&mut greeted(&server), BOB, 10).text(), "452 4.2.2 mailbox full");
}

#[test]
fn what_a_stranger_says_keeps_nobody_out() {
    let server = Server::serve(&format!(
        "[smtp]\nmax_message_size = \"25KiB\"\n[quota]\nstorage = \"50KiB\"\nwarn = []\n{OFTEN}"
    ));
    let mut strangers = [greeted(&server), greeted(&server), greeted(&server)];
    for smtp in &mut strangers {
        assert_eq!(ask(smtp, ALICE, 25_000).code, 250);
        assert_eq!(smtp.command(&format!("RCPT TO:<{BOB}>")).code, 250);
    }
    server.deliver(ALICE, &message(20_000));
    let appended = server.imap("bob").append("INBOX", "", &wire(&message(20_000)));
    assert!(appended.tagged.starts_with("OK"), "{appended:?}");
}

#[test]
fn many_strangers_at_once_never_pass_the_limit() {
    let server = Server::serve(&format!(
        "[smtp]\nmax_message_size = \"25KiB\"\n[quota]\nstorage = \"50KiB\"\nwarn = []\n{OFTEN}"
    ));
    let mut all: Vec<Smtp> = (0..8).map(|_| greeted(&server)).collect();
    for smtp in &mut all {
        assert_eq!(ask(smtp, ALICE, 20_000).code, 250);
        assert_eq!(smtp.command("DATA").code, 354);
    }
    for smtp in &mut all {
        smtp.0.send(&wire(&message(20_000)));
    }
    let replies: Vec<Reply> = all.iter_mut().map(Smtp::reply).collect();
    assert_eq!(replies.iter().filter(|reply| reply.code == 250).count(), 2, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.code == 250 || reply.text() == "452 4.2.2 mailbox full"), "{replies:?}");
    assert_eq!(server.messages("alice", "INBOX").len(), 2);
    assert_eq!(server.command(&["queue", "list"]).stdout, b"The queue is empty.\n");
}

#[test]
fn a_stranger_gets_all_or_nothing_and_nobody_a_notice() {
    let server = Server::serve(&format!(
        "[smtp]\nmax_message_size = \"20KiB\"\n[quota]\nstorage = \"20KiB\"\nwarn = []\n{OFTEN}"
    ));
    server.deliver(ALICE, &message(15_000));
    let late = greeted(&server).send_message(STRANGER, &[BOB, ALICE], &message(10_000));
    assert_eq!(late.text(), "452 4.2.2 mailbox full");
    assert!(server.messages("bob", "INBOX").is_empty());
    assert_eq!(server.command(&["queue", "list"]).stdout, b"The queue is empty.\n");
}

#[test]
fn accounts_have_limits_of_their_own_which_a_reload_changes() {
    let carol = |messages: u32| {
        format!(
            "\n[[account]]\naddress = \"carol@example.test\"\npassword = \"{}\"\nquota_messages = {messages}\n[quota]\nwarn = []\n{OFTEN}",
            password_hash()
        )
    };
    let server = Server::serve(&carol(1));
    let known = std::fs::read_to_string(server.config()).expect("readable");
    let small = "Subject: small\n\nx\n";
    for _ in 0..3 {
        server.deliver(ALICE, small);
    }
    server.deliver("carol@example.test", small);
    let code = || {
        let mut smtp = greeted(&server);
        let reply = ask(&mut smtp, "carol@example.test", 100);
        // What was reserved is given back when this is answered.
        assert_eq!(smtp.command("RSET").code, 250);
        reply.code
    };
    assert_eq!(code(), 452);
    let mut imap = server.imap("carol");
    let appended = imap.append("Drafts", "", small.as_bytes());
    assert!(appended.tagged.starts_with("NO [OVERQUOTA]"), "{appended:?}");
    let reload = |text: &str| {
        write_private(server.config(), text);
        server.signal(Signal::HUP);
    };
    reload(&known.replace(&carol(1), &carol(2)));
    wait_for("the new limit", || (code() == 250).then_some(()));
    // Also for a session that was there before.
    let appended = imap.append("Drafts", "", small.as_bytes());
    assert!(appended.tagged.starts_with("OK"), "{appended:?}");
    assert_eq!(code(), 452);
    reload(&known.replace(&carol(1), &carol(0)));
    wait_for("no limit", || (code() == 250).then_some(()));
    reload(&known.replace("warn = []", "storage = \"1MiB\""));
    wait_for("a complaint", || server.log().contains("quota.storage: must be 0 for no limit").then_some(()));
}

#[test]
fn a_list_reaches_who_has_room_and_the_others_later() {
    let server = Server::serve(
        "[quota]\nmessages = 2\nwarn = []\n[aliases]\n\"team@example.test\" = [\"alice@example.test\", \"bob@example.test\"]\n",
    );
    let small = "Subject: small\n\nx\n";
    server.deliver(BOB, small);
    server.deliver(BOB, small);
    server.deliver("team@example.test", "Subject: for all\n\nx\n");
    assert_eq!(server.messages("alice", "INBOX").len(), 1);
    let queue = || String::from_utf8(server.command(&["queue", "list", "--json"]).stdout).expect("text");
    let waiting = wait_for("an attempt", || Some(queue()).filter(|list| list.contains("over its quota")));
    assert!(waiting.contains(BOB) && !waiting.contains(ALICE), "{waiting}");
    assert_eq!(server.messages("bob", "INBOX").len(), 2);
    expunge_all(&server, "bob");
    wait_for("the message from the queue", || {
        server.command(&["queue", "flush"]);
        (server.messages("bob", "INBOX").len() == 1).then_some(())
    });
    wait_for("an empty queue", || queue().is_empty().then_some(()));
}

#[test]
fn a_restart_counts_what_is_there() {
    let mut server = Server::serve("[quota]\nmessages = 5\n");
    for _ in 0..4 {
        server.deliver(ALICE, "Subject: small\n\nx\n");
    }
    // The warning at 80 percent is the fifth.
    wait_for("the warning", || (server.messages("alice", "INBOX").len() == 5).then_some(()));
    assert!(server.terminate().success());
    let server = server.restart();
    assert_eq!(ask(&mut greeted(&server), ALICE, 10).text(), "452 4.2.2 mailbox full");
    assert_eq!(server.messages("alice", "INBOX").len(), 5);
}

#[test]
fn what_would_never_fit_is_refused_for_good() {
    let server = Server::serve("[smtp]\nmax_message_size = \"10KiB\"\n[quota]\nstorage = \"10KiB\"\n");
    // Just the largest size on the wire, and what we write on top of it is too much.
    let lines = format!("Subject: x\n\n{}", format!("{}\n", "y".repeat(927)).repeat(11));
    let reply = greeted(&server).send_message(STRANGER, &[ALICE], &lines);
    assert_eq!(reply.text(), "552 5.2.2 message larger than the mailbox may become");
    assert!(server.messages("alice", "INBOX").is_empty());
    server.deliver(ALICE, &message(8000));
}

#[test]
fn an_owner_takes_less_than_the_operator_gives_and_never_more() {
    let mut server =
        Server::serve(&format!("{OFTEN}[smtp]\nmax_message_size = \"20KiB\"\n[quota]\nstorage = \"20KiB\"\n"));
    let mut imap = server.imap("alice");
    let refused = imap.command("SETQUOTA account (STORAGE 21)");
    assert!(refused.tagged.starts_with("NO [NOPERM]"), "{refused:?}");
    assert_eq!(imap.ok("SETQUOTA account (STORAGE 10)").texts(), ["* QUOTA \"account\" (STORAGE 0 10)"]);
    assert!(server.terminate().success());
    let server = server.restart();
    assert_eq!(ask(&mut greeted(&server), ALICE, 15_000).code, 552, "more than she wants");
    let mut imap = server.imap("alice");
    assert_eq!(imap.ok("SETQUOTA account ()").texts(), ["* QUOTA \"account\" (STORAGE 0 20)"]);
    assert_eq!(ask(&mut greeted(&server), ALICE, 15_000).code, 250);
}
