//! Who sent a message, from the connection to the mailbox: by the real binary, a name server of the test, and clients
//! whose addresses a proxy tells.

mod common;

use aws_lc_rs::digest;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use common::server::Server;
use common::server::write_private;
use common::smtp::Smtp;
use common::wait_for;
use common::zone::Rr;
use common::zone::Zone;
use common::zone::ZoneServer;
use data_encoding::BASE64;
use rustix::process::Signal;

const ALICE: &str = "alice@example.test";
/// May send for good.test, strict.test and many.test.
const FRIEND: &str = "192.0.2.7";
/// May send for many.test only.
const OTHER: &str = "198.51.100.9";
/// May send for nobody.
const STRANGER: &str = "203.0.113.5";

fn zone() -> Zone {
    Zone::default()
        .txt("good.test", "v=spf1 ip4:192.0.2.7 -all")
        .txt("strict.test", "v=spf1 ip4:192.0.2.7 -all")
        .txt("_dmarc.strict.test", "v=DMARC1; p=reject")
        .with("lame.strict.test", Rr::Code(2))
        .txt("many.test", "v=spf1 ip4:192.0.2.7 ip4:198.51.100.9 -all")
        .txt("soft.test", "v=spf1 ~all")
        .address("plain.test", "192.0.2.1")
        .with("broken.test", Rr::Code(2))
        .with("_dmarc.broken.test", Rr::Code(2))
        .with("k._domainkey.broken.test", Rr::Code(2))
}

fn server(dns: &ZoneServer, sections: &str) -> Server {
    let checks = "client_fcrdns = \"off\"\nsender_domain = \"off\"";
    let checks = if sections.contains("[checks]") { String::new() } else { format!("[checks]\n{checks}\n") };
    let dns = dns.address();
    Server::serve(&format!(
        "[dns]\nresolver = \"{dns}\"\ntimeout = \"1s\"\n[proxy]\nnetworks = [\"127.0.0.2/32\"]\n{checks}{sections}"
    ))
}

/// A session from this address.
fn from(server: &Server, ip: &str) -> Smtp {
    let mut smtp = Smtp::behind_proxy(server.port("SMTP"), ip);
    assert_eq!(smtp.command("EHLO client.good.test").code, 250);
    smtp
}

/// The reply to the end of a message, or what refused it before.
fn send(server: &Server, ip: &str, sender: &str, message: &str) -> String {
    let mut smtp = from(server, ip);
    smtp.send_message(sender, &[ALICE], message).text().to_owned()
}

/// The newest message in a mailbox of alice, its lines ended by LF.
fn newest(server: &Server, mailbox: &str) -> String {
    let (_, message) = server.messages("alice", mailbox).pop().expect("a message is there");
    String::from_utf8(message).expect("ASCII").replace("\r\n", "\n")
}

fn by(author: &str) -> String {
    format!("From: {author}\nSubject: x\n\nbody\n")
}

fn starts(reply: &str, wanted: &str) {
    assert!(reply.starts_with(wanted), "{reply:?} where {wanted:?} was expected");
}

fn has(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "{wanted:?} is not in:\n{text}");
}

#[test]
fn what_was_found_out_stands_above_the_message() {
    let dns = zone().serve();
    let server = server(&dns, "");
    for (ip, sender, result) in [
        (FRIEND, "s@good.test", "pass"),
        (STRANGER, "s@good.test", "fail"),
        (STRANGER, "s@soft.test", "softfail"),
        (STRANGER, "s@plain.test", "none"),
        (STRANGER, "s@broken.test", "temperror"),
    ] {
        starts(&send(&server, ip, sender, &by(sender)), "250");
        let message = newest(&server, "INBOX");
        let domain = sender.strip_prefix("s@").expect("it is one");
        has(&message, &format!("\nReceived-SPF: {result} (mail.example.test: "));
        has(&message, &format!("client-ip={ip}; helo=client.good.test;\n\tenvelope-from=\"{sender}\"\n"));
        has(&message, "\nAuthentication-Results: mail.example.test;\n\tspf=");
        has(&message, &format!(" smtp.mailfrom={domain}"));
        has(&message, ";\n\tdkim=none;\n\tdmarc=");
        has(&message, &format!(" header.from={domain}\n"));
        assert!(!message.contains("X-Junk-Reason"), "{message}");
        let mine = message.find("\nFrom: ").expect("it has one");
        assert!(message.find("Received-SPF").is_some_and(|at| at < mine), "above what came:\n{message}");
        // RFC 5321 §4.4: the one who delivers writes Return-Path, at the top.
        assert!(message.starts_with(&format!("Return-Path: <{sender}>\n")), "{message}");
    }
}

#[test]
fn a_domain_that_wants_its_forgeries_refused() {
    let dns = zone().serve();
    let usual = server(&dns, "");
    starts(&send(&usual, FRIEND, "s@strict.test", &by("s@strict.test")), "250");
    has(&newest(&usual, "INBOX"), ";\n\tdmarc=pass (p=reject) header.from=strict.test\n");
    // By another envelope it is the same forgery, since only the author is seen.
    for sender in ["s@strict.test", "s@good.test", ""] {
        starts(&send(&usual, STRANGER, sender, &by("s@strict.test")), "250");
        let message = newest(&usual, "Junk");
        has(&message, "\nX-Junk-Reason: DMARC of strict.test fails, and its policy is reject\n");
        has(&message, "\tdmarc=fail (p=reject)");
    }
    assert_eq!(usual.messages("alice", "INBOX").len(), 1);
    assert_eq!(usual.messages("alice", "Junk").len(), 3);

    let strict = server(&dns, "[sender_auth]\ndmarc = \"reject\"\n");
    starts(&send(&strict, STRANGER, "s@good.test", &by("s@strict.test")), "550 5.7.1 strict.test asks to refuse");
    starts(&send(&strict, STRANGER, "s@good.test", &by("s@good.test")), "250");
    starts(&send(&strict, FRIEND, "s@strict.test", &by("s@strict.test")), "250");
    assert_eq!(strict.messages("alice", "INBOX").len(), 2);

    let own = "[[sender_policy]]\ndomain = \"strict.test\"\ndmarc = \"reject\"\n\
        [[sender_policy]]\ndomain = \"news.strict.test\"\ndmarc = \"mark\"\n\
        [[sender_policy]]\ndomain = \"good.test\"\nspf = \"reject\"\n";
    let own = server(&dns, own);
    starts(&send(&own, STRANGER, "s@plain.test", &by("s@strict.test")), "550 5.7.1");
    starts(&send(&own, STRANGER, "s@plain.test", &by("s@news.strict.test")), "250");
    has(&newest(&own, "INBOX"), "\tdmarc=fail (p=reject)");
    starts(&send(&own, STRANGER, "s@good.test", &by("s@good.test")), "550 5.7.23");
    starts(&send(&own, FRIEND, "s@good.test", &by("s@good.test")), "250");
}

#[test]
fn spf_refuses_where_it_is_told_to() {
    let dns = zone().serve();
    let server = server(&dns, "[sender_auth]\nspf = \"reject\"\n");
    let refused = send(&server, STRANGER, "s@good.test", &by("s@good.test"));
    starts(&refused, "550 5.7.23 good.test does not let this client send its mail (SPF)");
    starts(&send(&server, STRANGER, "s@soft.test", &by("s@soft.test")), "250");
    starts(&send(&server, FRIEND, "s@good.test", &by("s@good.test")), "250");
    assert_eq!(server.messages("alice", "INBOX").len(), 2);
}

#[test]
fn name_servers_in_trouble_refuse_nobody_for_good() {
    let dns = zone().serve();
    let server = server(&dns, "[sender_auth]\nspf = \"reject\"\ndmarc = \"reject\"\n");
    let signed = Signer::new().sign("broken.test", "From: s@broken.test\nSubject: x\n", "body\n", "simple/simple");
    starts(&send(&server, STRANGER, "s@broken.test", &signed), "250");
    let message = newest(&server, "INBOX");
    has(&message, "\tspf=temperror");
    has(&message, "\tdkim=temperror");
    has(&message, "\tdmarc=temperror");
    // Unless it is known that forgeries are to be refused, and not whether this is one.
    let doubt = send(&server, STRANGER, "s@lame.strict.test", &by("s@strict.test"));
    starts(&doubt, "451 4.7.1 Whether strict.test sent this cannot be found out now (DMARC)");
    // An outage of all DNS is no reason either.
    drop(dns);
    starts(&send(&server, STRANGER, "s@never.test", &by("s@never.test")), "250");
    has(&newest(&server, "INBOX"), "\tdmarc=temperror");
}

#[test]
fn nobody_else_writes_in_our_name() {
    let dns = zone().serve();
    let server = server(&dns, "");
    let forged = [
        "Authentication-Results: mail.example.test; dmarc=pass reason=forged1",
        "authentication-results: (we (say)) MAIL.example.TEST (so) 1; spf=pass reason=forged2",
        "AUTHENTICATION-RESULTS:\n mail.example.test;\n\tdkim=pass reason=forged3",
        "Authentication-Results: \"mail.example.test\"; spf=pass reason=forged4",
        "Authentication-Results : mail.example.test.; spf=pass reason=forged5",
        "Authentication-Results: mail.(x)example.test; spf=pass reason=forged6",
        "X-Junk-Reason: forged7",
        "Authentication-Results: mx.other.test; dmarc=pass reason=foreign1",
        "Authentication-Results: mx.other.test; dmarc=pass reason=\"mail.example.test\" foreign2",
        "Received-SPF: pass (mx.other.test: foreign3)",
    ];
    let message = format!("{}\n{}", forged.join("\n"), by("s@good.test"));
    starts(&send(&server, FRIEND, "s@good.test", &message), "250");
    let kept = newest(&server, "INBOX");
    assert!(!kept.contains("forged"), "{kept}");
    for n in 1..=3 {
        has(&kept, &format!("foreign{n}"));
    }
    assert_eq!(kept.to_ascii_lowercase().matches("authentication-results").count(), 3, "{kept}");
    assert_eq!(kept.matches("Authentication-Results: mail.example.test;").count(), 1, "{kept}");
}

/// Signs as RFC 6376 and RFC 8463 want it, with CRLF.
struct Signer(Ed25519KeyPair);

impl Signer {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().expect("random numbers"))
    }

    /// The key as DNS has it.
    fn record(&self) -> String {
        format!("v=DKIM1; k=ed25519; p={}", BASE64.encode(self.0.public_key().as_ref()))
    }

    /// A message with its signature on top. Header and body must be in the relaxed form already, apart from the case
    /// of names.
    fn sign(&self, domain: &str, header: &str, body: &str, form: &str) -> String {
        let hash = |text: &str| digest::digest(&digest::SHA256, text.replace('\n', "\r\n").as_bytes());
        let own = format!(
            "DKIM-Signature: v=1; a=ed25519-sha256; c={form}; d={domain}; s=k; h=from:subject; bh={}; b=",
            BASE64.encode(hash(body).as_ref())
        );
        let mut signed = format!("{header}{own}");
        if form.starts_with("relaxed") {
            let name = |line: &str| match line.split_once(": ") {
                Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
                None => line.to_owned(),
            };
            signed = signed.lines().map(name).collect::<Vec<_>>().join("\n");
        }
        let signature = self.0.sign(hash(&signed).as_ref());
        format!("{own}{}\n{header}\n{body}", BASE64.encode(signature.as_ref()))
    }
}

#[test]
fn signatures_hold_though_lines_are_stored_otherwise() {
    let signer = Signer::new();
    let dns = zone().txt("k._domainkey.strict.test", &signer.record()).serve();
    let server = server(&dns, "[sender_auth]\ndmarc = \"reject\"\n");
    let header = "From: s@strict.test\nSubject: minutes\n";
    let body = "one\n\n.a dot\nthe end\n";
    for form in ["simple/simple", "relaxed/relaxed"] {
        let message = signer.sign("strict.test", header, body, form);
        // Not by SPF: the client may send for nobody.
        starts(&send(&server, STRANGER, "bounce@plain.test", &message), "250");
        let kept = newest(&server, "INBOX");
        has(&kept, ";\n\tdkim=pass header.d=strict.test header.s=k header.b=");
        has(&kept, "\tdmarc=pass (p=reject) header.from=strict.test\n");
        assert!(kept.ends_with(&message), "not a letter is changed:\n{kept}");
        // So large that it lies in a file.
        let large = signer.sign("strict.test", header, &"a line of seventy letters\n".repeat(300_000), form);
        starts(&send(&server, STRANGER, "bounce@plain.test", &large), "250");
        has(&newest(&server, "INBOX"), ";\n\tdkim=pass header.d=strict.test");
        for changed in [message.replace("minutes", "hours"), message.replace("the end", "the  end!")] {
            starts(&send(&server, STRANGER, "bounce@plain.test", &changed), "550 5.7.1");
        }
    }
    // What only cuts off our forged results leaves the signature whole.
    let message = signer.sign("strict.test", header, body, "simple/simple");
    let message = format!("Authentication-Results: mail.example.test; dkim=fail\n{message}");
    starts(&send(&server, STRANGER, "bounce@plain.test", &message), "250");
    has(&newest(&server, "INBOX"), ";\n\tdkim=pass header.d=strict.test");
}

#[test]
fn our_own_are_not_asked_who_they_are() {
    let dns = zone().serve();
    let server = server(&dns, "[sender_auth]\ndmarc = \"reject\"\nspf = \"reject\"\n");
    let text = std::fs::read_to_string(server.config()).expect("it is there");
    write_private(server.config(), &text.replace("trusted_networks = []", "trusted_networks = [\"203.0.113.0/24\"]"));
    server.signal(Signal::HUP);
    wait_for("the new configuration", || server.log().contains("configuration reloaded").then_some(()));
    let asked = dns.asked();
    starts(&send(&server, STRANGER, "s@strict.test", &by("s@strict.test")), "250");
    let mut smtp = server.submissions();
    smtp.ehlo();
    smtp.login("alice");
    let forged = format!("Authentication-Results: mail.example.test; dmarc=pass\n{}", by(ALICE));
    assert_eq!(smtp.send_message(ALICE, &[ALICE], &forged).code, 250);
    let kept = server.messages("alice", "INBOX");
    assert_eq!(kept.len(), 2);
    for (_, message) in kept {
        let message = String::from_utf8(message).expect("ASCII");
        assert!(!message.contains("Authentication-Results") && !message.contains("Received-SPF"), "{message}");
    }
    assert_eq!(dns.asked(), asked, "DNS has nothing to do with it");
}

/// The reply to RCPT.
fn knock(server: &Server, ip: &str, sender: &str) -> String {
    let mut smtp = from(server, ip);
    assert_eq!(smtp.command(&format!("MAIL FROM:<{sender}>")).code, 250);
    smtp.command(&format!("RCPT TO:<{ALICE}>")).text().to_owned()
}

#[test]
fn whoever_spf_knows_may_come_again_from_elsewhere() {
    let dns = zone().serve();
    let server = server(&dns, "[greylist]\nenabled = true\ndelay = \"1s\"\n");
    for sender in ["s@many.test", "s@plain.test"] {
        starts(&knock(&server, FRIEND, sender), "451 4.7.1");
    }
    wait_for("the second try, from another network", || {
        knock(&server, OTHER, "s@many.test").starts_with("250").then_some(())
    });
    // Where SPF tells nothing, the network is what is known.
    wait_for("the second try, from the same network", || {
        knock(&server, FRIEND, "s@plain.test").starts_with("250").then_some(())
    });
    starts(&knock(&server, OTHER, "s@plain.test"), "451 4.7.1");
    // A forger is not the domain.
    starts(&knock(&server, STRANGER, "s@many.test"), "451 4.7.1");
}
