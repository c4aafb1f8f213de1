//! `facteur explain smtp`: its table, its JSON and its exit codes, by the real binary and a name server of the test.

mod common;

use std::path::PathBuf;
use std::process::Output;

use common::server::facteur;
use common::server::write_private;
use common::vectors::shared;
use common::zone::Rr;
use common::zone::Zone;
use common::zone::ZoneServer;
use serde_json::Value;
use tempfile::TempDir;

const FRIEND: &str = "192.0.2.7";
const STRANGER: &str = "203.0.113.5";
/// Of the vector that is signed with it (RFC 8463 §A.2).
const KEY: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn zone() -> Zone {
    Zone::default()
        .txt("strict.test", "v=spf1 ip4:192.0.2.7 exp=why.strict.test -all")
        .txt("why.strict.test", "%{i} is not ours")
        .txt("_dmarc.strict.test", "v=DMARC1; p=reject")
        .with("lame.strict.test", Rr::Code(2))
        .txt("odd.test", "v=spf1 ip4:nonsense -all")
        .txt("brisbane._domainkey.football.example.com", KEY)
        .txt("_dmarc.football.example.com", "v=DMARC1; p=reject")
}

/// A folder with a configuration.
struct World {
    home: TempDir,
    _dns: ZoneServer,
}

impl World {
    fn new(more: &str) -> Self {
        let dns = zone().serve();
        let home = tempfile::tempdir().expect("a temporary folder");
        let text = format!(
            "hostname = \"mail.example.test\"\n[[domain]]\nname = \"example.test\"\n[[account]]\naddress = \
             \"alice@example.test\"\npassword = \"{}\"\n[storage]\nfolder = \"{}\"\n[relay]\ntrusted_networks = \
             [\"198.51.100.0/24\"]\n[dns]\nresolver = \"{}\"\ntimeout = \"1s\"\n[checks]\nclient_fcrdns = \"off\"\n\
             sender_domain = \"off\"\n{more}",
            common::server::password_hash(),
            home.path().join("data").display(),
            dns.address(),
        );
        write_private(&home.path().join("facteur.toml"), &text);
        Self { home, _dns: dns }
    }

    fn file(&self, text: &str) -> PathBuf {
        let file = self.home.path().join("message");
        std::fs::write(&file, text).expect("the folder can be written");
        file
    }

    fn explain(&self, ip: &str, from: &str, to: &str, more: &[&str]) -> Output {
        let mut command = facteur();
        command.args(["explain", "smtp", "--ip", ip, "--helo", "client.strict.test", "--from", from, "--to", to]);
        command.arg("--config").arg(self.home.path().join("facteur.toml")).args(more);
        command.output().expect("the binary runs")
    }
}

/// The exit code and what was said, every run of white space one blank.
fn told(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    (output.status.code(), text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn has(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "{wanted:?} is not in {text}");
}

const ALICE: &str = "alice@example.test";

#[test]
fn spf_is_a_row_without_a_message() {
    let world = World::new("");
    for (ip, from, to, code, row) in [
        (FRIEND, "s@strict.test", ALICE, 0, "SPF pass MAIL FROM strict.test"),
        (STRANGER, "s@strict.test", ALICE, 0, "SPF fail MAIL FROM strict.test: 203.0.113.5 is not ours"),
        (STRANGER, "", ALICE, 0, "SPF none HELO client.strict.test"),
        (STRANGER, "s@odd.test", ALICE, 0, "SPF permerror MAIL FROM odd.test: "),
        (STRANGER, "s@odd.test", "nobody@example.test", 77, "SPF permerror"),
        ("198.51.100.1", "s@strict.test", ALICE, 0, "SPF not asked the client may relay"),
    ] {
        let (exit, text) = told(&world.explain(ip, from, to, &[]));
        assert_eq!(exit, Some(code), "{text}");
        has(&text, row);
        assert!(!text.contains("DMARC"), "nothing is known of a message: {text}");
    }
    let greylisted = World::new("[greylist]\nenabled = true\n");
    assert_eq!(told(&greylisted.explain(STRANGER, "s@strict.test", ALICE, &[])).0, Some(75));
    let off = World::new("[sender_auth]\nspf = \"off\"\n");
    has(&told(&off.explain(STRANGER, "s@strict.test", ALICE, &[])).1, "SPF not asked sender_auth.spf is off");
}

#[test]
fn a_message_is_judged_as_it_would_be() {
    let forged = "From: s@strict.test\nSubject: x\nDKIM-Signature: v=1; d=strict.test; s=\u{1b}[31m\n\nbody\n";
    let usual = World::new("");
    let file = usual.file(forged);
    let file = file.to_str().expect("UTF-8");
    let (exit, text) = told(&usual.explain(STRANGER, "s@strict.test", ALICE, &["--message", file]));
    assert_eq!(exit, Some(0));
    has(&text, "SPF fail MAIL FROM strict.test");
    has(&text, "DKIM permerror");
    has(&text, "DMARC fail strict.test, whose policy is reject");
    has(&text, "action to Junk DMARC of strict.test fails, and its policy is reject");
    has(&text, "RCPT is answered with 250; the message goes to Junk");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let (exit, text) = told(&usual.explain(FRIEND, "s@strict.test", ALICE, &["--message", file]));
    assert_eq!(exit, Some(0));
    has(&text, "DMARC pass strict.test");
    has(&text, "action taken");
    assert!(!text.contains("Junk"), "{text}");

    let strict = World::new("[sender_auth]\ndmarc = \"reject\"\n");
    let (exit, text) = told(&strict.explain(STRANGER, "s@strict.test", ALICE, &["--message", file]));
    assert_eq!(exit, Some(77));
    has(&text, "action refused 550 5.7.1 strict.test asks to refuse");
    has(&text, "RCPT is answered with 250 The message is answered with 550 5.7.1");
    let (exit, text) = told(&strict.explain("198.51.100.1", "s@strict.test", ALICE, &["--message", file]));
    assert_eq!(exit, Some(0), "{text}");

    let nothing = strict.explain(STRANGER, "s@strict.test", ALICE, &["--message", "/nonexistent/file"]);
    assert_eq!(nothing.status.code(), Some(66));
    has(&String::from_utf8_lossy(&nothing.stderr), "/nonexistent/file: ");
}

#[test]
fn the_header_is_examined_first() {
    let world = World::new("[[alias_pattern]]\npattern = '^away@example\\.test$'\nto = [\"away@elsewhere.test\"]\n");
    let forged = "From: s@strict.test\n\nbody\n";
    let hops = "Received: x\n".repeat(200);
    let many = "X: y\n".repeat(5_000);
    let been_here = "Delivered-To: away@example.test\n";
    for (ip, to, front, refused) in [
        (STRANGER, ALICE, "", None),
        (STRANGER, ALICE, hops.as_str(), Some("554 5.4.6")),
        ("198.51.100.1", ALICE, &hops, Some("554 5.4.6")),
        (STRANGER, ALICE, &many, Some("550 5.6.0")),
        (STRANGER, ALICE, been_here, None),
        (STRANGER, "away@example.test", been_here, Some("554 5.4.6")),
    ] {
        let file = world.file(&format!("{front}{forged}"));
        let file = file.to_str().expect("UTF-8");
        let (exit, text) = told(&world.explain(ip, "s@strict.test", to, &["--message", file]));
        let output = world.explain(ip, "s@strict.test", to, &["--json", "--message", file]);
        let json: Value = serde_json::from_slice(&output.stdout).expect("one object");
        assert_eq!((exit, output.status.code()), (Some(if refused.is_some() { 77 } else { 0 }), exit), "{text}");
        assert_eq!(json["junk"], refused.is_none(), "{json}");
        let Some(refused) = refused else {
            has(&text, "header passed");
            has(&text, "the message goes to Junk");
            continue;
        };
        has(&text, "header refused");
        has(&text, &format!("The message is answered with {refused}"));
        assert!(!text.contains("Junk"), "{text}");
        assert!(json["message_reply"].as_str().is_some_and(|reply| reply.starts_with(refused)), "{json}");
    }
}

#[test]
fn doubt_is_a_refusal_for_now() {
    let world = World::new("");
    let file = world.file("From: s@strict.test\n\nbody\n");
    let file = file.to_str().expect("UTF-8");
    let (exit, text) = told(&world.explain(STRANGER, "s@lame.strict.test", ALICE, &["--message", file]));
    assert_eq!(exit, Some(75), "{text}");
    has(&text, "DMARC temperror strict.test, whose policy is reject");
    has(&text, "RCPT is answered with 250 The message is answered with 451 4.7.1");
    assert!(!text.contains("Junk"), "{text}");
}

#[test]
fn programs_read_the_same() {
    let world = World::new("[sender_auth]\nspf = \"reject\"\n");
    let read = |output: Output| -> (Option<i32>, Value) {
        (output.status.code(), serde_json::from_slice(&output.stdout).expect("one object"))
    };
    let (exit, json) = read(world.explain(STRANGER, "s@strict.test", ALICE, &["--json"]));
    assert_eq!(exit, Some(0));
    assert_eq!(json["sender"]["spf"]["result"], "fail");
    assert_eq!(json["sender"]["spf"]["domain"], "strict.test");
    assert_eq!(json["sender"]["spf"]["explanation"], "203.0.113.5 is not ours");
    assert_eq!(json["sender"]["action"], Value::Null);
    let file = world.file("From: s@odd.test\n\nbody\n");
    let file = file.to_str().expect("UTF-8");
    let (exit, json) = read(world.explain(STRANGER, "s@strict.test", ALICE, &["--json", "--message", file]));
    assert_eq!(exit, Some(77));
    let sender = &json["sender"];
    assert_eq!(sender["action"], "refused");
    assert!(sender["reply"].as_str().is_some_and(|reply| reply.starts_with("550 5.7.23 strict.test")), "{sender}");
    assert_eq!((&json["junk"], &json["reply"]), (&Value::Bool(false), &Value::from("250")));
    assert_eq!((&sender["dmarc"]["result"], &sender["arc"]["result"]), (&Value::from("none"), &Value::from("none")));
    let (_, json) = read(world.explain("198.51.100.1", "s@strict.test", ALICE, &["--json", "--message", file]));
    assert_eq!(json["sender"], Value::Null);

    let vector = shared().join("vectors/dkim/rfc8463-example.msg");
    if !vector.exists() {
        return common::say("SKIPPED: dkim/rfc8463-example.msg is not on this machine (FACTEUR_SHARED)");
    }
    let vector = vector.to_str().expect("UTF-8");
    let (exit, json) = read(world.explain(STRANGER, "s@strict.test", ALICE, &["--json", "--message", vector]));
    // DMARC passes by DKIM, so SPF refuses nothing.
    assert_eq!(exit, Some(0), "{json}");
    let dkim = &json["sender"]["dkim"][0];
    assert_eq!((&dkim["result"], &dkim["selector"]), (&Value::from("pass"), &Value::from("brisbane")), "{json}");
    assert_eq!((&json["sender"]["dmarc"]["result"], &json["sender"]["action"]), (&"pass".into(), &"taken".into()));
}
