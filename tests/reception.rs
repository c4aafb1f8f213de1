//! What strangers have to fulfil on port 25, by the real binary and a name server of the test.

mod common;

use common::dns::NameServer;
use common::dns::Record;
use common::server::Server;
use common::smtp::Reply;
use common::smtp::Smtp;
use common::wait_for;

const ALICE: &str = "alice@example.test";
const HERE: [u8; 4] = [127, 0, 0, 1];

/// A world in which 127.0.0.1 is mx.good.test and good.test takes mail.
fn names() -> NameServer {
    NameServer::start(&[
        ("1.0.0.127.in-addr.arpa", Record::Ptr("mx.good.test")),
        ("mx.good.test", Record::A(HERE.into())),
        ("good.test", Record::Mx(10, "mx.good.test")),
        ("null.test", Record::NullMx),
        ("empty.test", Record::Ptr("nothing.that.helps")),
        ("broken.test", Record::Broken),
    ])
}

fn server(dns: &NameServer, sections: &str) -> Server {
    let resolver = format!("[dns]\nresolver = \"{}\"\ntimeout = \"1s\"\n", dns.address());
    let checks = if sections.contains("[checks]") { "" } else { "[checks]\n" };
    Server::serve(&format!("{resolver}{checks}{sections}"))
}

/// The reply to RCPT.
fn try_mail(server: &Server, helo: &str, from: &str, to: &str) -> String {
    ask(Smtp::connect(server.port("SMTP")), helo, from, to)
}

fn ask(mut smtp: Smtp, helo: &str, from: &str, to: &str) -> String {
    assert_eq!(smtp.command(&format!("EHLO {helo}")).code, 250);
    let reply = smtp.command(&format!("MAIL FROM:<{from}>"));
    assert_eq!(reply.code, 250, "answered at RCPT: {reply:?}");
    let reply = smtp.command(&format!("RCPT TO:<{to}>"));
    smtp.quit();
    reply.text().to_owned()
}

/// The log has one line with all of these words; it may come a moment after the reply.
fn logged(server: &Server, words: &[&str]) {
    let is_it = |line: &str| words.iter().all(|word| line.contains(word));
    wait_for("the line in the log", || server.log().lines().any(is_it).then_some(()));
}

fn starts(reply: &str, wanted: &str) {
    assert!(reply.starts_with(wanted), "{reply:?} where {wanted:?} was expected");
}

#[test]
fn names_of_client_helo_and_sender() {
    let dns = names();
    let server = server(&dns, "");
    for (helo, from, to, wanted) in [
        ("mx.good.test", "s@good.test", ALICE, "250 2.1.5"),
        ("[127.0.0.1]", "", ALICE, "250 2.1.5"),
        ("mx.good.test", "s@mx.good.test", ALICE, "250 2.1.5"),
        ("a_b!", "s@good.test", ALICE, "501 5.5.2 Helo command rejected: Invalid name"),
        ("127.0.0.1", "s@good.test", ALICE, "501 5.5.2"),
        ("localhost", "s@good.test", ALICE, "504 5.5.2 Helo command rejected: need fully-qualified hostname"),
        ("mx.good.test", "s@localhost", ALICE, "504 5.5.2 Sender address rejected: need fully-qualified address"),
        ("mx.good.test", "s@nowhere.test", ALICE, "450 4.1.8 Sender address rejected: Domain not found"),
        ("mx.good.test", "s@empty.test", ALICE, "450 4.1.8"),
        ("mx.good.test", "s@broken.test", ALICE, "450 4.1.8"),
        ("mx.good.test", "s@null.test", ALICE, "550 5.7.27 Sender address rejected: Domain has null MX"),
        // What we would not take in any case is told first.
        ("localhost", "s@nowhere.test", "nobody@example.test", "550 5.1.1"),
        ("localhost", "s@nowhere.test", "v@good.test", "554 5.7.1 Relay access denied"),
    ] {
        starts(&try_mail(&server, helo, from, to), wanted);
    }
    logged(&server, &["checks.sender_domain"]);
}

#[test]
fn users_are_not_asked_for_their_names_and_learn_of_a_slip_at_once() {
    let dns = NameServer::start(&[("null.test", Record::NullMx), ("good.test", Record::Mx(10, "mx.good.test"))]);
    let server = server(&dns, "");
    let mut smtp = server.submissions();
    assert_eq!(smtp.command("EHLO phone").code, 250);
    smtp.login("alice");
    assert_eq!(smtp.command(&format!("MAIL FROM:<{ALICE}>")).code, 250);
    let mut rcpt = |to: &str| smtp.command(&format!("RCPT TO:<{to}>"));
    let text = |reply: Reply| reply.text().to_owned();
    starts(&text(rcpt("bob@example.test")), "250");
    starts(&text(rcpt("x@good.test")), "250");
    starts(&text(rcpt("x@null.test")), "556 5.1.10 Recipient address rejected: Domain has null MX");
    starts(&text(rcpt("x@nowhere.test")), "450 4.1.2 Recipient address rejected: Domain not found");
    starts(&text(rcpt("x@localhost")), "504 5.5.2 Recipient address rejected: need fully-qualified address");
}

#[test]
fn lists_asked_by_dns() {
    let dns = names();
    dns.add("1.0.0.127.bad.test", Record::A([127, 0, 0, 2].into()));
    dns.add("1.0.0.127.open.test", Record::A([127, 255, 255, 254].into()));
    let lists = "[[dnsbl]]\nzone = \"bad.test\"\nweight = 2\n[[dnsbl]]\nzone = \"open.test\"\nweight = 5\n";
    let of = |server: &Server| try_mail(server, "mx.good.test", "s@good.test", ALICE);
    let refusing = server(&dns, &format!("[checks]\ndnsbl_reject = 2\n{lists}"));
    starts(&of(&refusing), "554 5.7.1 Client host rejected: its address is on a block list");
    let lenient = server(&dns, &format!("[checks]\ndnsbl_reject = 3\n{lists}"));
    starts(&of(&lenient), "250");
}

#[test]
fn who_is_new_comes_again() {
    let dns = names();
    let mut server = server(&dns, "[greylist]\nenabled = true\ndelay = \"1s\"\n");
    let of = |server: &Server, to: &str| try_mail(server, "mx.good.test", "s@good.test", to);
    starts(&of(&server, ALICE), "451 4.7.1 Greylisted, please try again later");
    starts(&of(&server, "nobody@example.test"), "550 5.1.1");
    wait_for("the second try", || of(&server, ALICE).starts_with("250").then_some(()));
    starts(&of(&server, "bob@example.test"), "250");
    // It is known after a restart, too.
    assert!(server.terminate().success());
    let server = server.restart();
    starts(&of(&server, "bob@example.test"), "250");
}

#[test]
fn clients_without_a_name_that_leads_back() {
    // The resolver itself answers for loopback addresses.
    let (name, address) = ("7.2.0.192.in-addr.arpa", "192.0.2.7");
    let proxy = "[proxy]\nnetworks = [\"127.0.0.2/32\"]\n";
    let with = |records: &[(&str, Record)], checks: &str| {
        let dns = NameServer::start(&[("good.test", Record::Mx(10, "mx.good.test"))]);
        records.iter().for_each(|(name, record)| dns.add(name, record.clone()));
        let server = server(&dns, &format!("{proxy}{checks}"));
        let smtp = Smtp::behind_proxy(server.port("SMTP"), address);
        (ask(smtp, "mx.good.test", "s@good.test", ALICE), server)
    };
    let named = (name, Record::Ptr("mx.good.test"));
    let at = |last| ("mx.good.test", Record::A([192, 0, 2, last].into()));
    let elsewhere = [named.clone(), at(1)];
    starts(&with(&[named.clone(), at(7)], "").0, "250");
    starts(&with(&elsewhere, "").0, "450 4.7.25 Client host rejected: cannot find your hostname");
    starts(&with(&[at(7)], "").0, "450 4.7.25");
    // A doubt refuses nobody.
    starts(&with(&[(name, Record::Broken)], "").0, "250");
    starts(&with(&[named, ("mx.good.test", Record::Broken)], "").0, "250");
    starts(&with(&elsewhere, "[checks]\nclient_fcrdns = \"reject\"\n").0, "550 5.7.25");
    let (reply, server) = with(&elsewhere, "[checks]\nclient_fcrdns = \"mark\"\n");
    starts(&reply, "250");
    logged(&server, &["marked", "checks.client_fcrdns"]);
    starts(&with(&elsewhere, "[checks]\nclient_fcrdns = \"off\"\n").0, "250");
}

#[test]
fn users_may_be_told_of_unknown_recipients_by_a_notice() {
    let server = Server::serve("[submission]\naccept_unlisted = true\n");
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    let reply = smtp.send_message(ALICE, &["nobody@example.test"], "Subject: lost\n\nx\n");
    assert_eq!(reply.code, 250, "{reply:?}");
    let notice = wait_for("the notice", || server.messages("alice", "INBOX").pop());
    let text = String::from_utf8_lossy(&notice.1).into_owned();
    assert!(text.contains("Status: 5.1.1") && text.contains("nobody@example.test"), "{text}");
    // Strangers are refused as ever.
    starts(&try_mail(&server, "mx.good.test", "s@good.test", "nobody@example.test"), "550 5.1.1");
}
