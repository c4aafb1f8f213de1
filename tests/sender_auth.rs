//! SPF, DKIM, DMARC and ARC against the vectors of others and cases of our own, by a real name server on loopback.

mod common;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use std::time::SystemTime;

use common::say;
use common::vectors::shared;
use common::yaml;
use common::yaml::Yaml;
use common::zone::Rr;
use common::zone::Zone;
use common::zone::ZoneServer;
use facteur::clock::Clock;
use facteur::config;
use facteur::config::Config;
use facteur::dns::Dns;
use facteur::dns::client_name::ClientName;
use facteur::dns::mail_domain::MailDomain;
use facteur::fsio::Content;
use facteur::fsio::ContentWriter;
use facteur::mail::address::Address;
use facteur::mail::address::Domain;
use facteur::mail::address::ReversePath;
use facteur::message::header;
use facteur::sender_auth::Facts;
use facteur::sender_auth::SenderAuth;
use facteur::sender_auth::Verdict;
use facteur::sender_auth::arc::ArcResult;
use facteur::sender_auth::canon::BodyHashes;
use facteur::sender_auth::canon::Canon;
use facteur::sender_auth::dkim::DkimResult;
use facteur::sender_auth::dmarc;
use facteur::sender_auth::dmarc::DmarcResult;
use facteur::sender_auth::key::Key;
use facteur::sender_auth::key::Method;
use facteur::sender_auth::policy::Action;
use facteur::sender_auth::results;
use facteur::sender_auth::spf;
use facteur::sender_auth::spf::SpfResult;
use facteur::sender_auth::spf::record;
use facteur::sender_auth::tags::Tags;
use hickory_resolver::config::NameServerConfig;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::config::ResolverOpts;
use mail_auth::AuthenticatedMessage;
use mail_auth::MessageAuthenticator;
use mail_auth::spf::verify::SpfParameters;
use proptest::prelude::ProptestConfig;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prop_assert;
use proptest::prop_assert_eq;
use proptest::prop_oneof;
use proptest::proptest;

/// What is found out about a case.
type Case = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// What the vectors and we disagree about, with the reason.
struct Allowed {
    lines: BTreeMap<(String, String), String>,
    used: BTreeSet<(String, String)>,
}

impl Allowed {
    fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sender_auth.allow");
        let text = std::fs::read_to_string(file).expect("the list");
        let mut lines = BTreeMap::new();
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let parts: Vec<&str> = line.splitn(3, " | ").collect();
            let [suite, test, why] = parts.as_slice() else { panic!("suite | test | clause: why: {line}") };
            assert!(why.contains(": "), "a clause and a reason: {line}");
            lines.insert(((*suite).to_owned(), (*test).to_owned()), (*why).to_owned());
        }
        Self { lines, used: BTreeSet::new() }
    }

    /// Ends a suite: all differences are in the list, and all lines of the list are differences.
    fn settle(mut self, suite: &str, count: usize, differences: &[(String, String)]) {
        let mut wrong = Vec::new();
        for (test, what) in differences {
            let key = (suite.to_owned(), test.clone());
            if self.lines.contains_key(&key) {
                self.used.insert(key);
            } else {
                wrong.push(format!("{test}: {what}"));
            }
        }
        for key in self.lines.keys().filter(|key| key.0 == suite && !self.used.contains(*key)) {
            wrong.push(format!("{}: the line in sender_auth.allow explains nothing", key.1));
        }
        assert!(wrong.is_empty(), "{suite}: {} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
        say(&format!("{suite}: {count} cases, {} of them with a reason to differ", self.used.len()));
    }
}

fn resolver(server: &ZoneServer) -> Dns {
    let config =
        config::Dns { resolver: config::Resolver::Server(server.address()), timeout: Duration::from_millis(300) };
    Dns::new(&config).expect("a resolver")
}

fn vectors(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(shared().join("vectors").join(path)).ok();
    if text.is_none() {
        say(&format!("SKIPPED: {path} is not on this machine (FACTEUR_SHARED)"));
    }
    text
}

/// A zone of the SPF suite: a record of the type SPF stands for one of TXT, unless the name has TXT records.
fn spf_zone(data: &Yaml) -> Zone {
    let mut zone = Zone::default();
    for (name, records) in data.map() {
        let texts = records.list().iter().any(|record| record.get("TXT").is_some());
        for record in records.list() {
            let rr = match record.map() {
                [] if record.text() == "TIMEOUT" => Rr::Timeout,
                [(kind, value)] => match kind.as_str() {
                    "A" | "AAAA" => Rr::Address(value.text().parse().expect("an address")),
                    "MX" => Rr::Mx(value.list()[0].text().parse().expect("a number"), value.list()[1].text()),
                    "PTR" => Rr::Ptr(value.text()),
                    "CNAME" => Rr::Cname(value.text()),
                    "TXT" if *value == Yaml::Text(b"NONE".to_vec()) => continue,
                    "SPF" if texts => continue,
                    "TXT" | "SPF" => Rr::Txt(
                        value
                            .list()
                            .iter()
                            .map(|string| if let Yaml::Text(octets) = string { octets.clone() } else { Vec::new() })
                            .collect(),
                    ),
                    other => panic!("an unknown kind of record: {other}"),
                },
                _ => panic!("an odd record: {record:?}"),
            };
            zone.add(name, rr);
        }
    }
    zone
}

#[tokio::test(flavor = "multi_thread")]
async fn spf_as_the_suite_of_rfc_7208_wants_it() {
    let Some(text) = vectors("spf/rfc7208-tests.yml") else { return };
    let (count, differences) = spf_suite(&text, |server| (resolver(server), spf_case as fn(_, _) -> _)).await;
    Allowed::read().settle("spf", count, &differences);
}

/// The number of cases and what is wrong with which.
async fn spf_suite<R: Clone>(
    text: &str,
    judge: impl Fn(&ZoneServer) -> (R, fn(R, Yaml) -> Case),
) -> (usize, Vec<(String, String)>) {
    let mut differences = Vec::new();
    let mut count = 0;
    for document in yaml::documents(text) {
        let server = spf_zone(document.get("zonedata").expect("a zone")).serve();
        let (resolver, case) = judge(&server);
        let mut running = Vec::new();
        for (name, test) in document.get("tests").expect("tests").map() {
            count += 1;
            running.push((name, tokio::spawn(case(resolver.clone(), test.clone()))));
        }
        for (name, case) in running {
            differences.extend(case.await.expect("no panic").map(|what| (name.clone(), what)));
        }
    }
    assert_eq!(count, 203, "the suite has changed");
    (count, differences)
}

/// What is wrong with the verdict of one case.
fn spf_case(dns: Dns, test: Yaml) -> Case {
    Box::pin(async move {
        let text = |key: &str| test.get(key).expect(key).text();
        let helo = text("helo");
        let client = spf::Client {
            ip: text("host").parse().expect("an address"),
            helo: &helo,
            receiver: "receiver.example",
            now: 1_400_000_000,
        };
        let verdict = spf::check(&dns, client, &text("mailfrom")).await;
        spf_difference(&test, verdict.result.as_str(), verdict.explanation)
    })
}

fn spf_difference(test: &Yaml, result: &str, explanation: Option<String>) -> Option<String> {
    let wanted: Vec<String> = test.get("result").expect("a result").list().iter().map(Yaml::text).collect();
    if !wanted.iter().any(|wanted| wanted == result) {
        return Some(format!("{result}, wanted {wanted:?}"));
    }
    let words = test.get("explanation")?.text();
    let wanted = Some(words).filter(|words| words != "DEFAULT").map(|words| words.to_ascii_lowercase());
    let found = explanation.map(|words| words.to_ascii_lowercase());
    (found != wanted).then(|| format!("explains {found:?}, wanted {wanted:?}"))
}

/// The library, asking as we ask.
fn library(server: &ZoneServer) -> MessageAuthenticator {
    let address = server.address();
    let mut one = NameServerConfig::udp_and_tcp(address.ip());
    one.connections.iter_mut().for_each(|connection| connection.port = address.port());
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_millis(300);
    options.attempts = 2;
    options.num_concurrent_reqs = 1;
    MessageAuthenticator::new(ResolverConfig::from_name_servers(vec![one]), options).expect("a resolver")
}

fn library_spf(library: MessageAuthenticator, test: Yaml) -> Case {
    Box::pin(async move {
        let text = |key: &str| test.get(key).expect(key).text();
        let (ip, helo, sender) = (text("host").parse().expect("an address"), text("helo"), text("mailfrom"));
        let of = match sender.as_str() {
            "" => SpfParameters::verify_ehlo(ip, &helo, "receiver.example"),
            sender => SpfParameters::verify_mail_from(ip, &helo, "receiver.example", sender),
        };
        let found = library.verify_spf(of).await;
        let result = found.result().to_string().to_ascii_lowercase();
        spf_difference(&test, &result, found.explanation().map(str::to_owned))
    })
}

/// Why the evaluation is our own: these are the differences of the library. A line too many in the list is good news.
#[tokio::test(flavor = "multi_thread")]
async fn spf_of_the_library_is_another() {
    let Some(text) = vectors("spf/rfc7208-tests.yml") else { return };
    let (count, differences) = spf_suite(&text, |server| (library(server), library_spf as fn(_, _) -> _)).await;
    Allowed::read().settle("mail-auth-spf", count, &differences);
}

#[tokio::test(flavor = "multi_thread")]
async fn arc_of_the_library_is_another() {
    let Some(text) = vectors("arc/arc-draft-validation-tests.yml") else { return };
    let differences = arc_suite(&text, library_arc).await;
    Allowed::read().settle("mail-auth-arc", 175, &differences);
}

fn library_arc(server: &ZoneServer, message: String) -> Case {
    let library = library(server);
    Box::pin(async move {
        let message = message.replace("\r\n", "\n").replace('\n', "\r\n");
        let Some(parsed) = AuthenticatedMessage::parse(message.as_bytes()) else {
            return Some("no message".to_owned());
        };
        let found = library.verify_arc(&parsed).await;
        Some(match found.result() {
            mail_auth::DkimResult::Pass => "pass".to_owned(),
            mail_auth::DkimResult::None => "none".to_owned(),
            mail_auth::DkimResult::TempError(why) => format!("temperror ({why})"),
            why => format!("fail ({why:?})"),
        })
    })
}

/// Both forms in which a message may lie here.
fn forms(message: &str) -> [Content; 2] {
    let lf = message.replace("\r\n", "\n");
    [Content::from_bytes(lf.clone().into_bytes()), Content::from_bytes(lf.replace('\n', "\r\n").into_bytes())]
}

fn configuration(more: &str) -> Config {
    let text = format!("hostname = \"mx.receiver.example\"\n{more}\n[[domain]]\nname = \"receiver.example\"\n");
    config::parse(Path::new("test.toml"), &text).expect("valid")
}

/// When the signatures of the vectors still hold.
fn at_2018(server: &ZoneServer) -> SenderAuth {
    let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_528_700_000));
    SenderAuth::new(resolver(server), clock)
}

/// Judges a message from nobody at 192.0.2.9.
async fn judged(server: &ZoneServer, more: &str, sender: &str, content: &Content) -> Verdict {
    judged_by(&at_2018(server), more, sender, content).await
}

async fn judged_by(auth: &SenderAuth, more: &str, sender: &str, content: &Content) -> Verdict {
    let mail_from = match sender {
        "" => ReversePath::Null,
        address => ReversePath::Address(Address::parse(address).expect("valid")),
    };
    let facts = Facts {
        ip: "192.0.2.9".parse().expect("an address"),
        helo: "client.example",
        mail_from: &mail_from,
        client_name: None,
    };
    auth.judge(&configuration(more), &facts, content).await.expect("in memory")
}

#[tokio::test(flavor = "multi_thread")]
async fn arc_as_its_suite_wants_it() {
    let Some(text) = vectors("arc/arc-draft-validation-tests.yml") else { return };
    let differences = arc_suite(&text, own_arc).await;
    Allowed::read().settle("arc", 175, &differences);
}

fn own_arc(server: &ZoneServer, message: String) -> Case {
    let auth = at_2018(server);
    Box::pin(async move {
        let mut found = Vec::new();
        for content in forms(&message) {
            let arc = judged_by(&auth, "", "", &content).await.arc.expect("it is on");
            found.push(match arc.result {
                ArcResult::TempError => format!("temperror ({:?})", arc.reason),
                other => format!("{} ({:?})", other.as_str(), arc.reason).replace(" (None)", ""),
            });
        }
        found.dedup();
        Some(found.join(" / "))
    })
}

/// What is wrong with which case.
async fn arc_suite(text: &str, judge: fn(&ZoneServer, String) -> Case) -> Vec<(String, String)> {
    let mut differences = Vec::new();
    let mut count = 0;
    let mut names = BTreeSet::new();
    for document in yaml::documents(text) {
        let mut zone = Zone::default();
        for (name, record) in document.get("txt-records").expect("keys").map() {
            zone = zone.txt(name, &record.text());
        }
        let server = zone.serve();
        for (name, test) in document.get("tests").expect("tests").map() {
            count += 1;
            names.insert(name.clone());
            // Where the newest seal says that the chain is broken, the suite has nothing, and RFC 8617 §5.2 says fail.
            let wanted = match test.get("cv").expect("cv").text().as_str() {
                "Pass" => "pass",
                "None" => "none",
                _ => "fail",
            };
            let message = test.get("message").expect("a message").text();
            let found = tokio::spawn(judge(&server, message)).await;
            let found = found.map_or_else(|error| error.to_string(), Option::unwrap_or_default);
            if found.split(' ').next() != Some(wanted) || found.contains(" / ") {
                differences.push((name.clone(), format!("{found}, wanted {wanted}")));
            }
        }
    }
    // Four names are there twice, with different messages.
    assert_eq!((count, names.len()), (175, 171), "the suite has changed");
    differences
}

/// A key as DNS has it, out of a PEM file.
fn key(pem: &str) -> String {
    let base64: String = pem.lines().filter(|l| !l.starts_with("---")).collect();
    format!("v=DKIM1; k=rsa; p={base64}")
}

/// RFC 8463 §A.2.
const RFC8463_ED25519: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const RFC8463_RSA: &str = "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

fn dkim_zone() -> Option<Zone> {
    Some(
        Zone::default()
            .txt("brisbane._domainkey.football.example.com", RFC8463_ED25519)
            .txt("test._domainkey.football.example.com", RFC8463_RSA)
            .txt("20120113._domainkey.gmail.com", &key(&vectors("dkim/gmail.pub")?))
            .txt("s._domainkey.example.com", &key(&vectors("dkim/example.pub")?)),
    )
}

fn signatures(verdict: &Verdict) -> Vec<DkimResult> {
    verdict.dkim.iter().map(|one| one.result).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dkim_signatures_of_others_are_true_until_something_changes() {
    let Some(zone) = dkim_zone() else { return };
    let server = zone.serve();
    for (name, message, wanted) in dkim_cases() {
        for content in forms(&message) {
            let verdict = judged(&server, "", "", &content).await;
            assert_eq!(signatures(&verdict), wanted, "{name} {:?}", verdict.dkim);
            let field = String::from_utf8(verdict.results_field).expect("ASCII");
            let passed = wanted.iter().filter(|result| **result == DkimResult::Pass).count();
            assert_eq!(field.matches("dkim=pass header.d=").count(), passed, "{field}");
        }
    }
}

/// Signed messages as they are and changed, and what is true of their signatures.
fn dkim_cases() -> Vec<(String, String, Vec<DkimResult>)> {
    let mut cases = Vec::new();
    for (file, count) in [("gmail", 1), ("multipart-no-end-boundary", 1), ("related", 1), ("rfc8463-example", 2)] {
        let Some(message) = vectors(&format!("dkim/{file}.msg")) else { continue };
        let message = message.replace("\r\n", "\n");
        let (head, body) = message.split_once("\n\n").expect("it has a body");
        cases.push((format!("{file} as it is"), message.clone(), vec![DkimResult::Pass; count]));
        // All of them are in relaxed form (RFC 6376 §3.4.4).
        cases.push((format!("{file} with blanks below"), format!("{message}\n \t\n\n"), vec![DkimResult::Pass; count]));
        for (what, changed) in [
            ("with more below", format!("{head}\n\n{body}x\n")),
            ("with more above", format!("{head}\n\nx{body}")),
            ("of another subject", format!("{}\n\n{body}", head.replacen("\nSubject: ", "\nSubject: x", 1))),
            ("of another author", format!("{}\n\n{body}", head.replacen("\nFrom: ", "\nFrom: x", 1))),
            ("of two authors", format!("{head}\nFrom: other@evil.example\n\n{body}")),
        ] {
            cases.push((format!("{file} {what}"), changed, vec![DkimResult::Fail; count]));
        }
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn dkim_of_the_library_is_another() {
    let Some(zone) = dkim_zone() else { return };
    let server = zone.serve();
    let library = library(&server);
    let mut differences = Vec::new();
    for (name, message, wanted) in dkim_cases() {
        let message = message.replace('\n', "\r\n");
        let parsed = AuthenticatedMessage::parse(message.as_bytes()).expect("a message");
        let found = library.verify_dkim(&parsed).await;
        let passed: Vec<bool> = found.iter().map(|one| *one.result() == mail_auth::DkimResult::Pass).collect();
        let wanted: Vec<bool> = wanted.iter().map(|one| *one == DkimResult::Pass).collect();
        if passed != wanted {
            let found: Vec<_> = found.iter().map(|one| format!("{:?}", one.result())).collect();
            differences.push((name, found.join(", ")));
        }
    }
    Allowed::read().settle("mail-auth-dkim", 28, &differences);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_in_a_file_is_verified_too() {
    let Some(zone) = dkim_zone() else { return };
    let server = zone.serve();
    let message = vectors("dkim/rfc8463-example.msg").expect("it is there").replace("\r\n", "\n");
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut writer = ContentWriter::new(folder.path().to_owned());
    writer.push(message.as_bytes()).expect("written");
    // Empty lines at the end do not count.
    for _ in 0..80 {
        writer.push(&vec![b'\n'; 65_536]).expect("written");
    }
    let content = writer.finish().expect("complete");
    assert!(content.in_memory().is_none());
    assert_eq!(signatures(&judged(&server, "", "", &content).await), [DkimResult::Pass, DkimResult::Pass]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_missing_or_out_of_reach() {
    let Some(text) = vectors("dkim/rfc8463-example.msg") else { return };
    let ed25519 = "brisbane._domainkey.football.example.com";
    let rsa = "test._domainkey.football.example.com";
    let testing = format!("{RFC8463_RSA}; t=y:s");
    for (zone, wanted) in [
        (Zone::default(), DkimResult::PermError),
        (Zone::default().with(ed25519, Rr::Timeout).with(rsa, Rr::Timeout), DkimResult::TempError),
        (Zone::default().with(ed25519, Rr::Code(2)).with(rsa, Rr::Code(2)), DkimResult::TempError),
        (Zone::default().txt(ed25519, "v=DKIM1; p=").txt(rsa, "v=DKIM1; p="), DkimResult::PermError),
        (Zone::default().txt(ed25519, RFC8463_RSA).txt(rsa, RFC8463_ED25519), DkimResult::PermError),
        (Zone::default().txt(ed25519, RFC8463_ED25519).txt(rsa, "x").txt(rsa, &testing), DkimResult::Pass),
    ] {
        let server = zone.serve();
        let verdict = judged(&server, "", "", &forms(&text)[0]).await;
        assert_eq!(signatures(&verdict), [wanted, wanted], "{:?}", verdict.dkim);
    }
}

/// A message of these `From` fields, signed by nobody.
fn from(fields: &[&str]) -> Content {
    let header: String = fields.iter().map(|field| format!("From: {field}\n")).collect();
    Content::from_bytes(format!("{header}Subject: x\n\nbody\n").into_bytes())
}

/// What DMARC says of a message that SPF has proved to come from `mail_from`; an empty one proves nothing.
async fn dmarc_of(zone: Zone, mail_from: &str, author: &[&str]) -> (DmarcResult, &'static str) {
    let server = zone.serve();
    let sender = if mail_from.is_empty() { String::new() } else { format!("u@{mail_from}") };
    let dmarc = judged(&server, "", &sender, &from(author)).await.dmarc.expect("it is on");
    (dmarc.result, dmarc.policy.as_str())
}

/// A zone where 192.0.2.9 may send for these domains.
fn sends_for(domains: &[&str]) -> Zone {
    domains.iter().fold(Zone::default(), |zone, domain| zone.txt(domain, "v=spf1 ip4:192.0.2.9 -all"))
}

#[tokio::test(flavor = "multi_thread")]
async fn dmarc_policies_are_found_by_walking_up() {
    let dmarc = "_dmarc.a.example";
    let long = "a.b.c.d.e.f.g.h.i.a.example";
    let there = |record: &str| Zone::default().txt(dmarc, record).address("sub.a.example", "192.0.2.1");
    for (zone, author, result, policy) in [
        // RFC 9989 §4.10.1: the author's own record, then that of its organisation, then none.
        (Zone::default(), "a.example", DmarcResult::None, "none"),
        (there("v=DMARC1; p=reject"), "a.example", DmarcResult::Fail, "reject"),
        (there("v=DMARC1; p=reject; pct=0"), "a.example", DmarcResult::Fail, "reject"),
        (there("v=DMARC1; p=reject; sp=quarantine"), "a.example", DmarcResult::Fail, "reject"),
        (there("v=DMARC1; p=reject; sp=quarantine"), "sub.a.example", DmarcResult::Fail, "quarantine"),
        (there("v=DMARC1; p=reject"), "sub.a.example", DmarcResult::Fail, "reject"),
        (
            there("v=DMARC1; p=reject").txt("_dmarc.sub.a.example", "v=DMARC1; p=none"),
            "sub.a.example",
            DmarcResult::Fail,
            "none",
        ),
        // `np` is for names that do not exist.
        (there("v=DMARC1; p=none; np=reject"), "sub.a.example", DmarcResult::Fail, "none"),
        (there("v=DMARC1; p=none; np=reject"), "nothing.a.example", DmarcResult::Fail, "reject"),
        (there("v=DMARC1; p=none; sp=quarantine"), "nothing.a.example", DmarcResult::Fail, "quarantine"),
        (
            there("v=DMARC1; p=none; np=reject").with("odd.a.example", Rr::Code(2)),
            "odd.a.example",
            DmarcResult::TempError,
            "none",
        ),
        // `t=y` asks for one step less.
        (there("v=DMARC1; p=reject; t=y"), "a.example", DmarcResult::Fail, "quarantine"),
        (there("v=DMARC1; p=quarantine; t=y"), "a.example", DmarcResult::Fail, "none"),
        // Of a long name the last seven labels and the whole are asked.
        (there("v=DMARC1; p=reject"), long, DmarcResult::Fail, "reject"),
        (Zone::default().txt("_dmarc.c.d.e.f.g.h.i.a.example", "v=DMARC1; p=reject"), long, DmarcResult::None, "none"),
        // A public suffix speaks for what is below it and says nothing itself.
        (Zone::default().txt("_dmarc.example", "v=DMARC1; p=reject; psd=y"), "a.example", DmarcResult::Fail, "reject"),
        (
            there("v=DMARC1; p=none").txt("_dmarc.example", "v=DMARC1; p=reject; psd=y"),
            "sub.a.example",
            DmarcResult::Fail,
            "none",
        ),
        // `psd=n` ends the walk.
        (
            there("v=DMARC1; p=quarantine; psd=n").txt("_dmarc.example", "v=DMARC1; p=reject"),
            "sub.a.example",
            DmarcResult::Fail,
            "quarantine",
        ),
        // Records that are none: two of them, another version, no policy.
        (there("v=DMARC1; p=reject").txt(dmarc, "v=DMARC1; p=none"), "a.example", DmarcResult::None, "none"),
        (there("v=DMARC1; p=reject").txt(dmarc, "v=spf1 -all"), "a.example", DmarcResult::Fail, "reject"),
        (there("v=DMARC1; p=odd"), "a.example", DmarcResult::None, "none"),
        (there("v=DMARC1; p=odd; rua=mailto:r@a.example"), "a.example", DmarcResult::Fail, "none"),
        // DNS that does not answer.
        (Zone::default().with(dmarc, Rr::Timeout), "a.example", DmarcResult::TempError, "none"),
        (Zone::default().with(dmarc, Rr::Code(2)), "sub.a.example", DmarcResult::TempError, "none"),
        (Zone::default(), "[192.0.2.1]", DmarcResult::None, "none"),
    ] {
        let about = format!("{zone:?} {author}");
        assert_eq!(dmarc_of(zone, "", &[&format!("u@{author}")]).await, (result, policy), "{about}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dmarc_passes_for_names_that_belong_together() {
    for (record, mail_from, author, result) in [
        ("v=DMARC1; p=reject", "a.example", "a.example", DmarcResult::Pass),
        ("v=DMARC1; p=reject", "sub.a.example", "a.example", DmarcResult::Pass),
        ("v=DMARC1; p=reject", "a.example", "sub.a.example", DmarcResult::Pass),
        ("v=DMARC1; p=reject", "sub.a.example", "other.a.example", DmarcResult::Pass),
        ("v=DMARC1; p=reject; aspf=s", "sub.a.example", "a.example", DmarcResult::Fail),
        ("v=DMARC1; p=reject; aspf=s", "a.example", "a.example", DmarcResult::Pass),
        ("v=DMARC1; p=reject; adkim=s", "sub.a.example", "a.example", DmarcResult::Pass),
        ("v=DMARC1; p=reject", "b.example", "a.example", DmarcResult::Fail),
        ("v=DMARC1; p=reject", "xa.example", "a.example", DmarcResult::Fail),
        ("v=DMARC1; p=reject", "psd.a.example", "a.example", DmarcResult::Fail),
        ("v=DMARC1; p=reject", "silent.a.example", "a.example", DmarcResult::TempError),
        ("v=DMARC1; p=reject", "silent.b.example", "a.example", DmarcResult::Fail),
    ] {
        let zone = sends_for(&["a.example", "sub.a.example", "b.example", "xa.example", "psd.a.example"])
            .txt("_dmarc.a.example", record)
            // Another organisation below this one.
            .txt("_dmarc.psd.a.example", "v=DMARC1; p=none; psd=n")
            .with("silent.a.example", Rr::Timeout)
            .with("silent.b.example", Rr::Timeout);
        let found = dmarc_of(zone, mail_from, &[&format!("u@{author}")]).await;
        assert_eq!(found.0, result, "{record} {mail_from} {author}");
    }
    // The null path stands for the client's name (RFC 7208 §2.4).
    let zone = || sends_for(&["client.example"]).txt("_dmarc.client.example", "v=DMARC1; p=reject");
    assert_eq!(dmarc_of(zone(), "", &["MAILER-DAEMON@client.example"]).await.0, DmarcResult::Pass);
    assert_eq!(dmarc_of(zone(), "", &["u@a.client.example"]).await.0, DmarcResult::Pass);
}

#[tokio::test(flavor = "multi_thread")]
async fn dkim_of_the_author_is_enough_for_dmarc() {
    let Some(zone) = dkim_zone() else { return };
    let text = vectors("dkim/rfc8463-example.msg").expect("it is there");
    for (record, wanted) in
        [("v=DMARC1; p=reject; adkim=s", DmarcResult::Pass), ("v=DMARC1; p=reject", DmarcResult::Pass)]
    {
        let server = zone.clone().txt("_dmarc.football.example.com", record).serve();
        let verdict = judged(&server, "", "u@else.example", &forms(&text)[0]).await;
        assert_eq!(verdict.dmarc.map(|d| d.result), Some(wanted), "{record}");
        assert_eq!(verdict.action, Action::Accept);
    }
    // RFC 6376 §3.6.1: who is only testing has signed nothing.
    let mut testing = dkim_zone().expect("it was there").txt("_dmarc.football.example.com", "v=DMARC1; p=reject");
    testing.clear("brisbane._domainkey.football.example.com");
    testing.clear("test._domainkey.football.example.com");
    testing = testing
        .txt("brisbane._domainkey.football.example.com", &format!("{RFC8463_ED25519}; t=y"))
        .txt("test._domainkey.football.example.com", &format!("{RFC8463_RSA}; t=s:y"));
    let verdict = judged(&testing.serve(), "", "u@else.example", &forms(&text)[0]).await;
    assert_eq!(signatures(&verdict), [DkimResult::Pass, DkimResult::Pass]);
    assert_eq!(verdict.dmarc.map(|d| d.result), Some(DmarcResult::Fail));
    let field = String::from_utf8(verdict.results_field).expect("ASCII");
    assert_eq!(field.matches("dkim=pass (the domain is testing").count(), 2, "{field}");
    // The same signatures, and another author: they do not sign for him, and the header has changed.
    let server = zone.txt("_dmarc.example.net", "v=DMARC1; p=reject").serve();
    let forged = text.replace("joe@football.example.com>\nTo", "joe@example.net>\nTo");
    assert_ne!(forged, text);
    let verdict = judged(&server, "", "", &forms(&forged)[0]).await;
    assert_eq!(verdict.dmarc.map(|d| d.result), Some(DmarcResult::Fail));
    assert!(matches!(verdict.action, Action::Junk { .. }), "{:?}", verdict.action);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unclear_author_fails_with_the_strictest_policy() {
    let zone = || {
        sends_for(&["a.example"])
            .txt("_dmarc.a.example", "v=DMARC1; p=none")
            .txt("_dmarc.b.example", "v=DMARC1; p=reject")
            .with("_dmarc.silent.example", Rr::Timeout)
    };
    for (author, policy) in [
        (&["u@a.example, v@b.example"][..], "reject"),
        (&["u@a.example", "v@b.example"], "reject"),
        (&["v@b.example", "u@a.example"], "reject"),
        (&["u@a.example, v@a.example"], "none"),
        (&["team: u@b.example;"], "reject"),
        (&["u@a.example, v@silent.example"], "quarantine"),
        (&["u@c0.example, u@c1.example, u@c2.example, u@c3.example, u@a.example"], "none"),
        // The sixth is not asked, whoever he is.
        (&["u@c0.example, u@c1.example, u@c2.example, u@c3.example, u@a.example, v@b.example"], "quarantine"),
        (&["team:;"], "none"),
        (&[], "none"),
        (&["no address"], "none"),
        // Two addresses that may be taken for one.
        (&["<v@b.example> <u@a.example>"], "reject"),
        (&["v@b.example@a.example"], "reject"),
        (&["<v@silent.example,u@a.example>"], "quarantine"),
    ] {
        assert_eq!(dmarc_of(zone(), "a.example", author).await, (DmarcResult::Fail, policy), "{author:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_authors_take_no_time_from_others() {
    let silent: Vec<String> = (0..4).map(|n| format!("s{n}.example")).collect();
    let zone = Zone::default().txt("_dmarc.b.example", "v=DMARC1; p=reject");
    let zone = silent.iter().fold(zone, |zone, name| zone.with(&format!("_dmarc.{name}"), Rr::Timeout));
    let server = zone.serve();
    // One question takes longer than all have.
    let config = config::Dns { resolver: config::Resolver::Server(server.address()), timeout: Duration::from_secs(20) };
    let dns = Dns::new(&config).expect("a resolver");
    let field = format!("From: u@{}, v@b.example\n", silent.join(", u@"));
    let author = dmarc::Author::of(&header::read(field.as_bytes()).expect("small"));
    for (time, policy, domain) in [(2, dmarc::Policy::Reject, Some("b.example")), (0, dmarc::Policy::Quarantine, None)]
    {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(time);
        let verdict = dmarc::judge(&dns, &author, &[], deadline).await;
        assert_eq!((verdict.result, verdict.policy), (DmarcResult::Fail, policy));
        assert_eq!(verdict.domain.as_ref().map(Domain::as_str), domain);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn organisations_are_those_of_the_public_suffix_list_where_suffixes_say_so() {
    let Some(text) = vectors("psl/test_psl.txt") else { return };
    let mut cases = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("checkPublicSuffix('")) {
        let (input, rest) = line.split_once("', ").expect("two arguments");
        let Some(wanted) = rest.strip_prefix('\'').and_then(|rest| rest.split('\'').next()) else { continue };
        // Other scripts are there a second time as DNS has them.
        if input.is_ascii() {
            cases.push((input.to_ascii_lowercase(), wanted.to_owned()));
        }
    }
    // Each public suffix that the cases have says so itself (`psd=y`), which makes the list needless.
    let mut zone = Zone::default();
    for (_, wanted) in &cases {
        let (_, suffix) = wanted.split_once('.').expect("below a suffix");
        let name = format!("_dmarc.{suffix}");
        if !format!("{zone:?}").contains(&format!("\"{name}\"")) {
            zone = zone.txt(&name, "v=DMARC1; p=none; psd=y");
        }
    }
    let server = zone.serve();
    let dns = resolver(&server);
    for (input, wanted) in &cases {
        let input = Domain::parse(input).expect("a domain");
        let found = dmarc::organisational_domain(&dns, &input).await.expect("an answer");
        assert_eq!(found.as_str(), wanted, "{input}");
    }
    assert!(cases.len() > 30, "{}", cases.len());
    say(&format!("organisational domains: {} cases", cases.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_decide_what_follows() {
    let zone = || {
        Zone::default()
            .txt("a.example", "v=spf1 -all exp=why.a.example")
            .txt("why.a.example", "%{i} is not ours")
            .txt("_dmarc.a.example", "v=DMARC1; p=reject")
            .with("b.example", Rr::Timeout)
            .with("_dmarc.b.example", Rr::Timeout)
    };
    let word = |action: &Action| match action {
        Action::Accept => "accept",
        Action::Junk { .. } => "junk",
        Action::Later { .. } => "later",
        Action::Reject { status, .. } => *status,
    };
    for (more, domain, wanted) in [
        ("", "a.example", "junk"),
        ("[sender_auth]\ndmarc = \"mark\"", "a.example", "accept"),
        ("[sender_auth]\ndmarc = \"reject\"", "a.example", "5.7.1"),
        ("[sender_auth]\ndmarc = \"off\"\nspf = \"reject\"", "a.example", "5.7.23"),
        ("[sender_auth]\ndmarc = \"off\"\nspf = \"off\"\ndkim = false\narc = false", "a.example", "accept"),
        ("[sender_auth]\ndmarc = \"reject\"\nspf = \"reject\"", "b.example", "accept"),
        ("[[sender_policy]]\ndomain = \"a.example\"\ndmarc = \"reject\"", "a.example", "5.7.1"),
        ("[[sender_policy]]\ndomain = \"example\"\ndmarc = \"reject\"", "a.example", "5.7.1"),
        (
            "[sender_auth]\ndmarc = \"off\"\n[[sender_policy]]\ndomain = \"a.example\"\nspf = \"reject\"",
            "a.example",
            "5.7.23",
        ),
        ("[[sender_policy]]\ndomain = \"x.a.example\"\ndmarc = \"reject\"", "a.example", "junk"),
        ("[[sender_policy]]\ndomain = \"a.example\"\ndmarc = \"off\"\nspf = \"reject\"", "a.example", "5.7.23"),
    ] {
        let server = zone().serve();
        let sender = format!("u@{domain}");
        let verdict = judged(&server, more, &sender, &from(&[&sender])).await;
        assert_eq!(word(&verdict.action), wanted, "{more} {:?}", verdict.action);
    }
    let server = zone().serve();
    let verdict = judged(&server, "", "u@a.example", &from(&["u@a.example"])).await;
    let field = String::from_utf8(verdict.results_field).expect("ASCII");
    let start = "Authentication-Results: mx.receiver.example;\n\tspf=fail smtp.mailfrom=a.example;\n\tdkim=none;\n\tdmarc=fail (p=reject) reason=";
    assert!(field.starts_with(start) && field.ends_with(" header.from=a.example\n"), "{field}");
    let received = String::from_utf8(verdict.received_spf).expect("ASCII");
    assert!(
        received.starts_with("Received-SPF: fail (mx.receiver.example: domain of a.example does not "),
        "{received}"
    );
    assert_eq!(verdict.spf.and_then(|spf| spf.explanation).as_deref(), Some("192.0.2.9 is not ours"));
}

/// Whoever forges picks the names, and so the name servers, that everything depends on.
#[tokio::test(flavor = "multi_thread")]
async fn doubt_is_no_way_around_a_policy() {
    let server = Zone::default()
        .txt("a.example", "v=spf1 include:broken.example -all")
        .txt("_dmarc.a.example", "v=DMARC1; p=reject")
        .with("broken.example", Rr::Code(2))
        .with("lame.a.example", Rr::Code(2))
        .with("_dmarc.lame.a.example", Rr::Timeout)
        .with("s._domainkey.a.example", Rr::Code(2))
        .txt("_dmarc.b.example", "v=DMARC1; p=none")
        .with("_dmarc.silent.example", Rr::Timeout)
        .serve();
    // RFC 6376 §3.4.3: the hash of an empty body.
    let signed = "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; b=AAAA;\n \
                  bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=\nFrom: u@a.example\n\n";
    let signed = Content::from_bytes(signed.as_bytes().to_vec());
    for (sender, content, doubtful) in [
        ("u@a.example", from(&["u@a.example"]), true),
        ("u@lame.a.example", from(&["u@a.example"]), true),
        ("u@else.example", signed, true),
        ("u@broken.example", from(&["u@a.example"]), false),
        // Nobody asks for anything, or it is not known.
        ("u@b.example", from(&["u@b.example"]), false),
        ("u@a.example", from(&["u@silent.example"]), false),
    ] {
        for mode in ["mark", "quarantine", "reject"] {
            let verdict = judged(&server, &format!("[sender_auth]\ndmarc = \"{mode}\""), sender, &content).await;
            let later = matches!(verdict.action, Action::Later { .. });
            assert_eq!(later, doubtful && mode != "mark", "{sender} {mode} {:?}", verdict.action);
            let dmarc = verdict.dmarc.expect("it is on");
            assert_eq!(dmarc.result == DmarcResult::TempError && dmarc.policy == dmarc::Policy::Reject, doubtful);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_sealer_vouches_for_what_fails() {
    let Some(text) = vectors("arc/arc-draft-validation-tests.yml") else { return };
    let document = yaml::documents(&text).remove(0);
    let message = document.get("tests").and_then(|t| t.get("cv_pass_i2_1")).and_then(|t| t.get("message"));
    let message = message.expect("it is there").text();
    let mut zone = Zone::default().txt("_dmarc.d1.example.org", "v=DMARC1; p=reject");
    for (name, record) in document.get("txt-records").expect("keys").map() {
        zone = zone.txt(name, &record.text());
    }
    let server = zone.serve();
    for (trusted, vouched) in [("[]", None), ("[\"other.example\"]", None), ("[\"example.org\"]", Some("example.org"))]
    {
        let more = format!("[sender_auth]\narc_trusted = {trusted}");
        for content in forms(&message) {
            let verdict = judged(&server, &more, "", &content).await;
            assert_eq!(verdict.dmarc.as_ref().map(|d| d.result), Some(DmarcResult::Fail));
            assert_eq!(verdict.vouched_by.as_ref().map(Domain::as_str), vouched, "{trusted}");
            assert_eq!(verdict.action == Action::Accept, vouched.is_some(), "{:?}", verdict.action);
        }
    }
    // A chain that is broken vouches for nothing.
    let broken = message.replacen("To: arc@dmarc.org", "To: else@dmarc.org", 1);
    let verdict = judged(&server, "[sender_auth]\narc_trusted = [\"example.org\"]", "", &forms(&broken)[0]).await;
    assert_eq!((verdict.arc.map(|a| a.result), verdict.vouched_by), (Some(ArcResult::Fail), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_clients_are_confirmed_both_ways() {
    let mut zone = Zone::default()
        .ptr("192.0.2.1", "good.example")
        .address("good.example", "192.0.2.1")
        .ptr("192.0.2.2", "forged.example")
        .address("forged.example", "192.0.2.99")
        .ptr("192.0.2.3", "missing.example")
        .ptr("192.0.2.4", "silent.example")
        .with("silent.example", Rr::Timeout)
        .ptr("192.0.2.5", "no_such label.example")
        .with("6.2.0.192.in-addr.arpa", Rr::Code(2))
        .ptr("2001:db8::1", "six.example")
        .address("six.example", "2001:db8::1");
    for n in 0..100 {
        zone = zone.ptr("192.0.2.7", &format!("n{n}.example"));
    }
    let server = zone.serve();
    let dns = resolver(&server);
    let name = |name: &str| name.to_owned();
    for (ip, wanted) in [
        ("192.0.2.1", ClientName::Confirmed(name("good.example"))),
        ("::ffff:192.0.2.1", ClientName::Confirmed(name("good.example"))),
        ("2001:db8::1", ClientName::Confirmed(name("six.example"))),
        ("192.0.2.2", ClientName::Unconfirmed(name("forged.example"))),
        ("192.0.2.3", ClientName::Unconfirmed(name("missing.example"))),
        ("192.0.2.4", ClientName::Unknown),
        ("192.0.2.5", ClientName::None),
        ("192.0.2.6", ClientName::Unknown),
        ("192.0.2.8", ClientName::None),
    ] {
        assert_eq!(dns.client_name(ip.parse().expect("an address")).await, wanted, "{ip}");
    }
    let before = server.asked();
    let many = dns.client_name("192.0.2.7".parse().expect("an address")).await;
    assert!(matches!(many, ClientName::Unconfirmed(_)), "{many:?}");
    assert!(server.asked() - before <= 12, "{} questions", server.asked() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn domains_that_can_have_mail() {
    let server = Zone::default()
        .with("mx.example", Rr::Mx(10, "m.example".to_owned()))
        .with("null.example", Rr::Mx(0, String::new()))
        .address("a.example", "192.0.2.1")
        .address("aaaa.example", "2001:db8::1")
        .txt("text.example", "x")
        .with("broken.example", Rr::Code(2))
        .serve();
    let dns = resolver(&server);
    for (domain, wanted) in [
        ("mx.example", MailDomain::Takes),
        ("null.example", MailDomain::NullMx),
        ("a.example", MailDomain::Takes),
        ("aaaa.example", MailDomain::Takes),
        ("[192.0.2.1]", MailDomain::Takes),
        ("text.example", MailDomain::Nothing),
        ("nothing.example", MailDomain::NoSuchName),
    ] {
        assert_eq!(dns.mail_domain(&Domain::parse(domain).expect("valid")).await, wanted, "{domain}");
    }
    let broken = dns.mail_domain(&Domain::parse("broken.example").expect("valid")).await;
    assert!(matches!(broken, MailDomain::Unknown(_)), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_answers_come_by_tcp_and_are_bounded() {
    let long = "x".repeat(60_000);
    let mut zone =
        Zone::default().txt("long.example", &long).txt("hostile.example", &format!("v=spf1 {}", "a ".repeat(32_000)));
    for n in 0..500 {
        zone = zone
            .with("mx.example", Rr::Mx(n, format!("m{n}.example")))
            .address("a.example", &format!("10.0.{}.{}", n / 250, n % 250));
    }
    let server = zone.serve();
    let dns = resolver(&server);
    assert_eq!(dns.texts("long.example").await, Ok(vec![long.into_bytes()]));
    assert!(server.by_tcp() > 0, "a truncated answer was taken for one");
    assert_eq!(dns.mx("mx.example").await.map(|mx| mx.len()), Ok(20));
    assert_eq!(dns.ipv4("a.example").await.map(|a| a.len()), Ok(100));
    let client =
        spf::Client { ip: "192.0.2.9".parse().expect("an address"), helo: "x", receiver: "mx.example", now: 0 };
    assert_eq!(spf::check(&dns, client, "u@hostile.example").await.result, SpfResult::PermError);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_and_bombs_end_soon() {
    let server = Zone::default().serve();
    for text in [
        "A: b\n".repeat(100_000),
        format!(
            "From: u@a.example\n{}\n",
            "DKIM-Signature: v=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=AAAA; b=AAAA\n".repeat(900)
        ),
        format!("From: u@a.example\nDKIM-Signature: v=1; h={}\n\n", "from:".repeat(50_000)),
        format!("From: u@a.example\nX:{}\n\n", "\n \t".repeat(80_000)),
        format!("From: {}\n\n", "(".repeat(200_000)),
        format!("From: {}\n\n", "a@b.example,".repeat(20_000)),
        format!(
            "From: u@a.example\n{}\n",
            "ARC-Seal: i=1; cv=none\nARC-Message-Signature: i=1\nARC-Authentication-Results: i=1;\n".repeat(300)
        ),
        format!("DKIM-Signature: {}\n\n", "=;".repeat(100_000)),
        "\u{0}\u{1}\n\n".to_owned(),
    ] {
        let start = std::time::Instant::now();
        // A comment without an end may hide anybody.
        let open = text.starts_with("From: (");
        let verdict = judged(&server, "", "u@a.example", &Content::from_bytes(text.into_bytes())).await;
        assert_eq!(matches!(verdict.action, Action::Junk { .. }), open, "{:?}", verdict.action);
        assert!(open || verdict.action == Action::Accept, "{:?}", verdict.action);
        assert!(verdict.results_field.len() < 4000, "{}", verdict.results_field.len());
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}

/// Words of the languages that are read here, and arbitrary octets between them.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        "v=spf1",
        " ",
        "a",
        "mx:",
        "include:",
        "exists:",
        "ip4:",
        "ip6:",
        "192.0.2.1",
        "/24",
        "//64",
        "%{",
        "%{ir}",
        "}",
        "%%",
        "redirect=",
        "exp=",
        "-all",
        "?",
        "v=DKIM1",
        "v=DMARC1",
        ";",
        "=",
        "k=rsa",
        "k=ed25519",
        "p=",
        "AAAA",
        "p=reject",
        "sp=",
        "np=none",
        "psd=y",
        "t=y",
        "h=",
        "s=email",
        "example.com",
        ".",
        ":",
        "mx.example",
        "(",
        ")",
        "\"",
        "\\",
        "dkim=pass",
        "header.d=",
        "\r\n",
        "\n",
        "\t",
        "i=1",
        "\u{e9}",
        "From:",
        "<",
        ">",
        "@",
        ",",
    ];
    let word = proptest::sample::select(WORDS).prop_map(|w| w.as_bytes().to_vec());
    let noise = proptest::collection::vec(any::<u8>(), 0..6);
    let pieces = proptest::collection::vec(prop_oneof![6 => word, 1 => noise], 0..60);
    pieces.prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_read_panics(octets in soup()) {
        drop(record::parse(&octets));
        drop(dmarc::Record::parse(&octets));
        prop_assert!(Tags::strict(&octets).is_none() || Tags::lenient(&octets).is_some());
        drop(Key::parse(&octets, Method::Rsa));
        drop(Key::parse(&octets, Method::Ed25519));
        drop(results::claims(&octets));
        std::hint::black_box(results::claims_to_be(&octets, "mx.example"));
        if let Ok(header) = header::read(&octets) {
            drop(dmarc::Author::of(&header));
        }
    }

    /// What our own reader finds in a field of ours is ours, whatever strangers have said.
    #[test]
    fn fields_say_what_we_say(helo in soup(), domain in soup()) {
        let verdict = spf::SpfVerdict {
            result: SpfResult::SoftFail,
            identity: spf::Identity::Helo,
            domain: String::from_utf8_lossy(&domain).into_owned(),
            explanation: None,
            problem: Some(String::from_utf8_lossy(&helo).into_owned()),
        };
        let mut field = results::Results::new("mx.example");
        field.spf(&verdict);
        let field = field.finish();
        let header = header::read(&field).expect("small");
        prop_assert_eq!(header.fields.len(), 1);
        prop_assert_eq!(header.end, field.len());
        prop_assert!(results::claims_to_be(header.fields[0].value, "mx.example"));
        let claims = results::claims(header.fields[0].value);
        prop_assert_eq!(claims.len(), 1);
        prop_assert_eq!((claims[0].method.as_str(), claims[0].result.as_str()), ("spf", "softfail"));
        let ip = "2001:db8::1".parse().expect("an address");
        let text = String::from_utf8_lossy(&helo).into_owned();
        let field = results::received_spf("mx.example", &verdict, ip, &text, &text);
        prop_assert_eq!(header::read(&field).map(|h| h.fields.len()), Ok(1));
    }

    /// The form in which a message lies here changes no hash, and neither does where it is cut.
    #[test]
    fn both_line_ends_have_one_hash(body in proptest::collection::vec(proptest::sample::select(&b"a \t\n"[..]), 0..80)) {
        let crlf: Vec<u8> = body.iter().flat_map(|b| if *b == b'\n' { b"\r\n".to_vec() } else { vec![*b] }).collect();
        let forms = [Canon::Simple, Canon::Relaxed];
        let of = |octets: Vec<u8>| BodyHashes::of(&Content::from_bytes(octets), 0, &forms).expect("in memory");
        prop_assert_eq!(of(body), of(crlf));
    }
}
