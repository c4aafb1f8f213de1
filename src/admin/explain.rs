//! `facteur explain smtp`: what the server would say to a client, rule by rule, by the very decision that the server
//! makes.
//!
//! Asks DNS now, reads the configuration, the alias files and the greylist as they are, and changes nothing.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::admin::alias;
use crate::admin::cli::ExplainCommand;
use crate::admin::cli::ExplainSmtp;
use crate::admin::commands;
use crate::admin::commands::EX_DATAERR;
use crate::admin::commands::EX_NOPERM;
use crate::admin::commands::EX_TEMPFAIL;
use crate::admin::commands::EX_UNAVAILABLE;
use crate::admin::commands::complain;
use crate::admin::commands::say;
use crate::clock::Clock;
use crate::config::Config;
use crate::dns::Dns;
use crate::intake::checks::Finding;
use crate::intake::checks::Gate;
use crate::intake::checks::Greylist;
use crate::intake::checks::Outcome;
use crate::intake::checks::Visit;
use crate::intake::permit::RelayPermit;
use crate::intake::recipient::Asker;
use crate::intake::recipient::Decision;
use crate::intake::recipient::Desk;
use crate::intake::recipient::Thoroughness;
use crate::mail::address::Address;
use crate::mail::address::ReversePath;
use crate::sender_auth::SenderAuth;

/// Does what was typed. The exit code is 0 where the recipient is taken, 75 where he is refused for now, 77 where he is
/// refused for good.
#[must_use]
pub fn run(command: &ExplainCommand) -> ExitCode {
    let ExplainCommand::Smtp(args) = command;
    let done = commands::load(&args.config.config).and_then(|config| explain(&config, args));
    done.unwrap_or_else(|code| code)
}

fn explain(config: &Config, args: &ExplainSmtp) -> Result<ExitCode, ExitCode> {
    let wrong = |what: String| {
        complain(what);
        ExitCode::from(EX_DATAERR)
    };
    let sender = match args.from.trim_matches(['<', '>']) {
        "" => ReversePath::Null,
        text => Address::parse(text).map(ReversePath::Address).map_err(|e| wrong(format!("--from {text:?}: {e}")))?,
    };
    let to = Address::parse(args.to.trim_matches(['<', '>']));
    let to = to.map_err(|error| wrong(format!("--to {:?}: {error}", args.to)))?;
    let broken = |what: String| {
        complain(what);
        ExitCode::from(EX_UNAVAILABLE)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(error.to_string()))?;
    let decision = runtime.block_on(decide(config, args.ip, &args.helo, &sender, to)).map_err(broken)?;
    if args.json {
        say(as_json(&decision))
    } else {
        show(&decision)
    }
    Ok(match &decision.answer {
        Ok(_) => ExitCode::SUCCESS,
        Err(reply) if reply.code() < 500 => ExitCode::from(EX_TEMPFAIL),
        Err(_) => ExitCode::from(EX_NOPERM),
    })
}

async fn decide(
    config: &Config,
    ip: IpAddr,
    helo: &str,
    sender: &ReversePath,
    to: Address,
) -> Result<Decision, String> {
    let clock = Clock::system();
    let dns = Dns::new(&config.dns).map_err(|text| format!("dns.resolver: {text}"))?;
    let (directory, complaints) = alias::look(config);
    complaints.iter().for_each(complain);
    let permit = RelayPermit::of_network(ip, &config.relay.trusted_networks);
    let desk = Desk {
        config,
        directory: &directory,
        gate: &Gate::new(dns.clone(), SenderAuth::new(dns, clock.clone())),
        greylist: &Greylist::load(&greylist_file(&config.storage.folder)),
        now: clock.wall(),
        thoroughness: Thoroughness::Explain,
    };
    let asker = Asker { ip, helo, sender, handed_over: false, permit: permit.as_ref() };
    Ok(desk.decide(&mut Visit::default(), &asker, to).await)
}

/// Where the server writes down what greylisting knows.
fn greylist_file(folder: &Path) -> std::path::PathBuf {
    folder.join("state/greylist")
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Skipped => "not asked",
        Outcome::Marked => "marked",
        Outcome::Junk => "to Junk",
        Outcome::Refused(_) => "refused",
    }
}

fn show(decision: &Decision) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["rule", "verdict", "found"]);
    for Finding { rule, outcome, found } in &decision.findings {
        let said = match outcome {
            Outcome::Refused(reply) => format!("{found}\n{reply}"),
            _ => found.clone(),
        };
        table.add_row([rule.key(), word(outcome), &said]);
    }
    say(&table);
    match &decision.answer {
        Ok(_) if goes_to_junk(decision) => say("RCPT is answered with 250; the message goes to Junk"),
        Ok(_) => say("RCPT is answered with 250"),
        Err(reply) => say(format_args!("RCPT is answered with {reply}")),
    }
}

fn goes_to_junk(decision: &Decision) -> bool {
    decision.findings.iter().any(|finding| finding.outcome == Outcome::Junk)
}

fn as_json(decision: &Decision) -> serde_json::Value {
    let findings = decision.findings.iter().map(|finding| {
        let reply = finding.refusal().map(ToString::to_string);
        json!({"rule": finding.rule.key(), "verdict": word(&finding.outcome), "found": finding.found, "reply": reply})
    });
    let findings: Vec<_> = findings.collect();
    let reply = decision.answer.as_ref().err().map_or_else(|| "250".to_owned(), ToString::to_string);
    json!({"findings": findings, "reply": reply, "junk": decision.answer.is_ok() && goes_to_junk(decision)})
}
