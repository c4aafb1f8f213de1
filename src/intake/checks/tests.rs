//! Checks without DNS: facts in, findings out.

use std::path::Path;

use super::*;

fn config(checks: &str) -> Config {
    let text = format!("hostname = \"mx.example.com\"\n[checks]\n{checks}\n");
    crate::config::parse(Path::new("t.toml"), &text).expect("valid")
}

fn client(name: ClientName) -> Client {
    Client { ip: "192.0.2.1".parse().expect("an address"), name: Some(name), listings: None }
}

fn code(finding: &Finding) -> String {
    match &finding.outcome {
        Outcome::Refused(reply) => {
            format!("{} {}", reply.code(), reply.status().map(|s| s.to_string()).unwrap_or_default())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn a_client_needs_a_name_that_leads_back() {
    let named = |name: &str| ClientName::Confirmed(name.to_owned());
    let forged = || ClientName::Unconfirmed("bank.example".to_owned());
    for (checks, name, wanted) in [
        ("", named("mx.example"), "Passed"),
        ("", ClientName::None, "450 4.7.25"),
        ("", forged(), "450 4.7.25"),
        ("", ClientName::Unknown, "Passed"),
        ("client_fcrdns = \"reject\"", ClientName::None, "550 5.7.25"),
        ("client_fcrdns = \"reject\"", ClientName::Unknown, "Passed"),
        ("client_fcrdns = \"junk\"", forged(), "Junk"),
        ("client_fcrdns = \"mark\"", forged(), "Marked"),
        ("client_fcrdns = \"off\"", forged(), "Skipped"),
    ] {
        assert_eq!(code(&fcrdns(&config(checks), &client(name.clone()))), wanted, "{checks} {name:?}");
    }
}

#[test]
fn helo_and_addresses_by_their_looks() {
    let config = config("");
    for (helo, syntax, fqdn) in [
        ("mx.example.com", "Passed", "Passed"),
        ("[192.0.2.1]", "Passed", "Passed"),
        ("localhost", "Passed", "504 5.5.2"),
        ("192.0.2.1", "501 5.5.2", "Skipped"),
        ("a_b!", "501 5.5.2", "Skipped"),
    ] {
        assert_eq!(
            (code(&helo_syntax(&config, helo)).as_str(), code(&helo_fqdn(&config, helo)).as_str()),
            (syntax, fqdn)
        );
    }
    let address = |text: &str| Address::parse(text).expect("valid");
    let sender = |text: &str| code(&sender_fqdn(&config, &ReversePath::Address(address(text))));
    assert_eq!((sender("a@b.example"), sender("a@[192.0.2.1]")), ("Passed".to_owned(), "Passed".to_owned()));
    assert_eq!(sender("a@localhost"), "504 5.5.2");
    assert_eq!(code(&sender_fqdn(&config, &ReversePath::Null)), "Passed");
    assert_eq!(code(&recipient_fqdn(&config, &address("a@localhost"))), "504 5.5.2");
}

#[test]
fn domains_that_cannot_be_answered() {
    let address = Address::parse("a@b.example").expect("valid");
    let doubt = || MailDomain::Unknown("timeout".to_owned());
    for (action, domain, sender, recipient) in [
        ("tempfail", MailDomain::Takes, "Passed", "Passed"),
        ("tempfail", MailDomain::NoSuchName, "450 4.1.8", "450 4.1.2"),
        ("tempfail", MailDomain::Nothing, "450 4.1.8", "450 4.1.2"),
        ("tempfail", MailDomain::NullMx, "550 5.7.27", "556 5.1.10"),
        ("tempfail", doubt(), "450 4.1.8", "450 4.1.2"),
        ("reject", MailDomain::NoSuchName, "550 5.1.8", "550 5.1.2"),
        ("reject", MailDomain::NullMx, "550 5.7.27", "556 5.1.10"),
        ("reject", doubt(), "450 4.1.8", "450 4.1.2"),
        ("junk", MailDomain::NullMx, "Junk", "Junk"),
        ("junk", doubt(), "Marked", "Marked"),
        ("mark", MailDomain::Nothing, "Marked", "Marked"),
        ("off", MailDomain::Nothing, "Skipped", "Skipped"),
    ] {
        let config = config(&format!("sender_domain = \"{action}\"\nrecipient_domain = \"{action}\""));
        let judge = |rule, null| code(&judge_domain(rule, &config, Some(&address), Some(domain.clone()), null));
        assert_eq!(judge(Rule::SenderDomain, Reply::sender_has_null_mx()), sender, "{action} {domain:?}");
        assert_eq!(judge(Rule::RecipientDomain, Reply::recipient_has_null_mx()), recipient, "{action} {domain:?}");
    }
}

#[test]
fn lists_are_summed() {
    let lists = "[[dnsbl]]\nzone = \"a.example\"\nweight = 3\n[[dnsbl]]\nzone = \"b.example\"\nweight = -2\n";
    let config = config(&format!("dnsbl_reject = 3\ndnsbl_junk = 1\n{lists}"));
    let listed = |on: &[(&str, i32)]| {
        let on = on.iter().map(|(zone, weight)| ((*zone).to_owned(), *weight)).collect();
        let client = Client { listings: Some(Listings { on, silent: Vec::new() }), ..client(ClientName::Unknown) };
        (code(&dnsbl(&config, &client)), is_greylisting(&config, &client))
    };
    assert_eq!(listed(&[]).0, "Passed");
    assert_eq!(listed(&[("a.example", 3)]).0, "554 5.7.1");
    assert_eq!(listed(&[("a.example", 3), ("b.example", -2)]).0, "Junk");
    assert_eq!(listed(&[("b.example", -2)]).0, "Passed");
    assert_eq!(code(&dnsbl(&config, &client(ClientName::None))), "Skipped");
}

#[tokio::test]
async fn without_a_resolver_nothing_that_needs_one_is_asked() {
    let config = config("");
    let dns =
        Dns::new(&crate::config::Dns { resolver: crate::config::Resolver::Off, ..config.dns.clone() }).expect("off");
    let gate = Gate::new(dns.clone(), SenderAuth::new(dns, crate::clock::Clock::system()));
    let client = gate.client(&config, "192.0.2.1".parse().expect("an address")).await;
    let sender = ReversePath::Address(Address::parse("a@b.example").expect("valid"));
    let facts = Facts { ip: client.ip, helo: "mx.example", mail_from: &sender, client_name: None };
    let findings = gate.stranger(&config, &client, &facts).await;
    let outcomes: Vec<_> = findings.iter().map(|f| (f.rule, code(f))).collect();
    let skipped = [Rule::ClientFcrdns, Rule::SenderDomain, Rule::Dnsbl];
    for (rule, outcome) in outcomes {
        assert_eq!(outcome, if skipped.contains(&rule) { "Skipped" } else { "Passed" }, "{rule:?}");
    }
    let to = Address::parse("a@nowhere").expect("valid");
    let findings = gate.recipient_elsewhere(&config, &to).await;
    assert_eq!(findings.iter().map(code).collect::<Vec<_>>(), ["504 5.5.2", "Skipped"]);
}
