//! `facteur explain smtp`: what the server would say to a client, rule by rule, by the very decision that the server
//! makes, and who sent the message, where one is given.
//!
//! Asks DNS now, reads the configuration, the alias files and the greylist as they are, and changes nothing.

use std::io;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use serde_json::json;

use crate::admin::alias;
use crate::admin::cli::ExplainCommand;
use crate::admin::cli::ExplainSmtp;
use crate::admin::commands;
use crate::admin::commands::EX_DATAERR;
use crate::admin::commands::EX_NOINPUT;
use crate::admin::commands::EX_NOPERM;
use crate::admin::commands::EX_TEMPFAIL;
use crate::admin::commands::EX_UNAVAILABLE;
use crate::admin::commands::complain;
use crate::admin::commands::say;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::SpfPolicy;
use crate::dns::Dns;
use crate::fsio;
use crate::fsio::Content;
use crate::fsio::ContentWriter;
use crate::intake;
use crate::intake::Arrival;
use crate::intake::Refused;
use crate::intake::checks::Finding;
use crate::intake::checks::Gate;
use crate::intake::checks::Greylist;
use crate::intake::checks::Outcome;
use crate::intake::checks::Visit;
use crate::intake::clean::Dispatch;
use crate::intake::permit::RelayPermit;
use crate::intake::recipient::Asker;
use crate::intake::recipient::Decision;
use crate::intake::recipient::Desk;
use crate::intake::recipient::Thoroughness;
use crate::intake::verdict;
use crate::mail::address::Address;
use crate::mail::address::Domain;
use crate::mail::address::ReversePath;
use crate::mail::ids::SessionId;
use crate::protocol::smtp::reply::Reply;
use crate::sender_auth::Facts;
use crate::sender_auth::SenderAuth;
use crate::sender_auth::Verdict;
use crate::sender_auth::arc::ArcResult;
use crate::sender_auth::policy::Action;
use crate::sender_auth::spf::Identity;
use crate::sender_auth::spf::SpfVerdict;

/// Does what was typed. The exit code is 0 where the recipient and the message are taken, 75 where one is refused for
/// now, 77 where one is refused for good.
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
    let message = args.message.as_deref().map(read_message).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(error.to_string()))?;
    let client = Facts { ip: args.ip, helo: &args.helo, mail_from: &sender, client_name: None };
    let found = runtime.block_on(find(config, client, to, message.as_ref())).map_err(broken)?;
    if args.json {
        say(as_json(&found))
    } else {
        show(&found)
    }
    Ok(match (&found.decision.answer, found.refusal()) {
        (Ok(_), None) => ExitCode::SUCCESS,
        (Err(reply), _) if reply.code() < 500 => ExitCode::from(EX_TEMPFAIL),
        (Ok(_), Some(reply)) if reply.code() < 500 => ExitCode::from(EX_TEMPFAIL),
        (Err(_), _) | (_, Some(_)) => ExitCode::from(EX_NOPERM),
    })
}

/// All that was found out.
struct Found {
    decision: Decision,
    /// Whether the message may be taken for its header; `None` where there is no message.
    header: Option<Result<(), Reply>>,
    origin: Origin,
}

/// Who sent it.
enum Origin {
    /// The server would not ask.
    NotAsked(&'static str),
    /// Without a message SPF alone can tell something.
    Spf(SpfVerdict),
    /// Of a message.
    Message(Box<Verdict>),
}

impl Found {
    /// What the end of the message is answered with, where that is a refusal.
    fn refusal(&self) -> Option<Reply> {
        if let Some(Err(reply)) = &self.header {
            return Some(reply.clone());
        }
        match &self.origin {
            Origin::Message(verdict) => match &verdict.action {
                Action::Later { reason } => Some(Reply::sender_in_doubt(reason)),
                Action::Reject { status, reason } => Some(Reply::not_from_its_sender(status, reason)),
                Action::Accept | Action::Junk { .. } => None,
            },
            Origin::NotAsked(_) | Origin::Spf(_) => None,
        }
    }

    /// Whether the message is taken, and into Junk.
    fn goes_to_junk(&self) -> bool {
        let judged = matches!(&self.origin, Origin::Message(v) if matches!(v.action, Action::Junk { .. }));
        let junk = judged || self.decision.findings.iter().any(|finding| finding.outcome == Outcome::Junk);
        junk && self.decision.answer.is_ok() && self.refusal().is_none()
    }
}

/// The message in a file; a large one goes through a temporary file, as it does in the server.
fn read_message(file: &Path) -> Result<Content, ExitCode> {
    let wrong = |error: io::Error| {
        complain(format_args!("{}: {error}", file.display()));
        ExitCode::from(EX_NOINPUT)
    };
    let mut from = fsio::open_regular(file).map_err(wrong)?;
    let mut writer = ContentWriter::new(std::env::temp_dir());
    let mut piece = vec![0; 65_536];
    loop {
        match from.read(&mut piece).map_err(wrong)? {
            0 => return writer.finish().map_err(wrong),
            n => writer.push(&piece[..n]).map_err(wrong)?,
        }
    }
}

/// Whether a message may be taken for its header, as the server asks first.
fn examine(
    config: &Config,
    message: &Content,
    dispatch: Dispatch,
    decision: &Decision,
    now: SystemTime,
) -> Result<Result<(), Reply>, String> {
    let id = SessionId::new(now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()).message(1);
    let arrival = Arrival {
        dispatch,
        sent_on: &decision.answer.as_ref().map_or_else(|_| Vec::new(), |to| verdict::sent_on(std::slice::from_ref(to))),
        id: &id,
        hostname: config.hostname.as_str(),
        zone: &TimeZone::system(),
        now,
        spool: &std::env::temp_dir(),
    };
    match intake::examine(message, &arrival) {
        Ok(_) => Ok(Ok(())),
        Err(Refused::Policy(reply)) => Ok(Err(reply)),
        Err(Refused::Trouble(error)) => Err(error.to_string()),
    }
}

async fn find(config: &Config, client: Facts<'_>, to: Address, message: Option<&Content>) -> Result<Found, String> {
    let clock = Clock::system();
    let dns = Dns::new(&config.dns).map_err(|text| format!("dns.resolver: {text}"))?;
    let (directory, complaints) = alias::look(config);
    complaints.iter().for_each(complain);
    let permit = RelayPermit::of_network(client.ip, &config.relay.trusted_networks);
    let sender_auth = SenderAuth::new(dns.clone(), clock.clone());
    let desk = Desk {
        config,
        directory: &directory,
        gate: &Gate::new(dns.clone(), sender_auth.clone()),
        greylist: &Greylist::load(&Greylist::file(&config.storage.folder)),
        now: clock.wall(),
        thoroughness: Thoroughness::Explain,
    };
    let asker = Asker { facts: client, handed_over: false, permit: permit.as_ref() };
    let mut visit = Visit::default();
    let decision = desk.decide(&mut visit, &asker, to).await;
    let dispatch = if permit.is_some() { Dispatch::Trusted } else { Dispatch::Reception };
    let header = message.map(|message| examine(config, message, dispatch, &decision, clock.wall())).transpose()?;
    let facts = Facts { client_name: visit.name(), ..client };
    let origin = if permit.is_some() {
        Origin::NotAsked("the client may relay")
    } else if dns.is_off() {
        Origin::NotAsked("name look-ups are off (dns.resolver)")
    } else if let Some(message) = message {
        let verdict = sender_auth.judge(config, &facts, message).await.map_err(|error| error.to_string())?;
        Origin::Message(Box::new(verdict))
    } else if config.sender_auth.spf == SpfPolicy::Off {
        Origin::NotAsked("sender_auth.spf is off")
    } else {
        Origin::Spf(sender_auth.spf(config, &facts).await)
    };
    Ok(Found { decision, header, origin })
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

fn show(found: &Found) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["rule", "verdict", "found"]);
    for Finding { rule, outcome, found } in &found.decision.findings {
        let said = match outcome {
            Outcome::Refused(reply) => format!("{found}\n{reply}"),
            _ => found.clone(),
        };
        table.add_row([rule.key(), word(outcome), &said]);
    }
    if let Some(header) = &found.header {
        let said = header.as_ref().err().map_or_else(|| "may be taken".to_owned(), ToString::to_string);
        table.add_row(["header", if header.is_ok() { "passed" } else { "refused" }, &said]);
    }
    for (rule, verdict, said) in origin_rows(found) {
        table.add_row([rule, verdict, &said]);
    }
    say(&table);
    match &found.decision.answer {
        Ok(_) if found.goes_to_junk() => say("RCPT is answered with 250; the message goes to Junk"),
        Ok(_) => say("RCPT is answered with 250"),
        Err(reply) => say(format_args!("RCPT is answered with {reply}")),
    }
    if let (Ok(_), Some(reply)) = (&found.decision.answer, found.refusal()) {
        say(format_args!("The message is answered with {reply}"));
    }
}

/// What was found out about the origin: what was asked, its result, and what there is to say.
fn origin_rows(found: &Found) -> Vec<(&'static str, &'static str, String)> {
    let with = |text: String, more: Option<&str>| match more {
        Some(more) => plain(&format!("{text}: {more}")),
        None => plain(&text),
    };
    let spf_row = |spf: &SpfVerdict| {
        let problem = spf.problem.as_deref().or(spf.explanation.as_deref());
        let what = if spf.identity == Identity::Helo { "HELO" } else { "MAIL FROM" };
        ("SPF", spf.result.as_str(), with(format!("{what} {}", spf.domain), problem))
    };
    let verdict = match &found.origin {
        Origin::NotAsked(why) => return vec![("SPF", "not asked", (*why).to_owned())],
        Origin::Spf(spf) => return vec![spf_row(spf)],
        Origin::Message(verdict) => verdict,
    };
    let mut rows: Vec<_> = verdict.spf.iter().chain(&verdict.spf_helo).map(spf_row).collect();
    for dkim in &verdict.dkim {
        let domain = dkim.domain.as_ref().map_or("?", Domain::as_str);
        let testing = if dkim.testing { ", which is testing: it does not count" } else { "" };
        let of = format!("{} of {domain}{testing}", dkim.selector);
        rows.push(("DKIM", dkim.result.as_str(), with(of, dkim.reason.as_deref())));
    }
    if verdict.dkim.is_empty() {
        rows.push(("DKIM", "none", "nobody signed it, or nobody asks".to_owned()));
    }
    if let Some(dmarc) = &verdict.dmarc {
        let domain = dmarc.domain.as_ref().map_or("?", Domain::as_str);
        let of = format!("{domain}, whose policy is {}", dmarc.policy.as_str());
        rows.push(("DMARC", dmarc.result.as_str(), with(of, dmarc.reason.as_deref())));
    }
    if let Some(arc) = verdict.arc.as_ref().filter(|arc| arc.result != ArcResult::None) {
        let sealers: Vec<&str> = arc.sets.iter().map(|set| set.domain.as_str()).collect();
        let trusted = verdict.vouched_by.as_ref().map(|by| format!(", and {by} saw it pass"));
        let of = format!("sealed by {}{}", sealers.join(", "), trusted.unwrap_or_default());
        rows.push(("ARC", arc.result.as_str(), with(of, arc.reason.as_deref())));
    }
    let (action, why) = match (found.refusal(), &verdict.action) {
        (Some(reply), _) => ("refused", reply.to_string()),
        (None, Action::Junk { reason }) => ("to Junk", plain(reason)),
        (None, _) => ("taken", String::new()),
    };
    rows.push(("action", action, why));
    rows
}

/// Strangers' words, fit for a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn as_json(found: &Found) -> serde_json::Value {
    let decision = &found.decision;
    let findings = decision.findings.iter().map(|finding| {
        let reply = finding.refusal().map(ToString::to_string);
        json!({"rule": finding.rule.key(), "verdict": word(&finding.outcome), "found": finding.found, "reply": reply})
    });
    let findings: Vec<_> = findings.collect();
    let reply = decision.answer.as_ref().err().map_or_else(|| "250".to_owned(), ToString::to_string);
    let refusal = found.refusal().map(|reply| reply.to_string());
    json!({
        "findings": findings, "reply": reply, "message_reply": refusal, "junk": found.goes_to_junk(),
        "sender": origin_json(found),
    })
}

fn origin_json(found: &Found) -> serde_json::Value {
    let spf_json = |spf: &SpfVerdict| {
        let identity = if spf.identity == Identity::Helo { "helo" } else { "mailfrom" };
        json!({
            "result": spf.result.as_str(), "identity": identity, "domain": spf.domain,
            "problem": spf.problem, "explanation": spf.explanation,
        })
    };
    let verdict = match &found.origin {
        Origin::NotAsked(_) => return serde_json::Value::Null,
        Origin::Spf(spf) => return json!({"spf": spf_json(spf)}),
        Origin::Message(verdict) => verdict,
    };
    let dkim = verdict.dkim.iter().map(|dkim| {
        json!({
            "result": dkim.result.as_str(), "domain": dkim.domain.as_ref().map(Domain::as_str),
            "selector": dkim.selector, "testing": dkim.testing, "reason": dkim.reason,
        })
    });
    let dmarc = verdict.dmarc.as_ref().map(|dmarc| {
        json!({
            "result": dmarc.result.as_str(), "policy": dmarc.policy.as_str(),
            "domain": dmarc.domain.as_ref().map(Domain::as_str), "reason": dmarc.reason,
        })
    });
    let arc = verdict.arc.as_ref().map(|arc| {
        let sealers: Vec<&str> = arc.sets.iter().map(|set| set.domain.as_str()).collect();
        json!({"result": arc.result.as_str(), "sealers": sealers, "reason": arc.reason})
    });
    let (action, reason) = match &verdict.action {
        Action::Later { reason } | Action::Reject { reason, .. } => ("refused", Some(reason)),
        // For its header.
        _ if found.refusal().is_some() => ("refused", None),
        Action::Junk { reason } => ("junk", Some(reason)),
        Action::Accept => ("taken", None),
    };
    json!({
        "spf": verdict.spf.as_ref().map(spf_json), "spf_helo": verdict.spf_helo.as_ref().map(spf_json),
        "dkim": dkim.collect::<Vec<_>>(), "dmarc": dmarc, "arc": arc,
        "vouched_by": verdict.vouched_by.as_ref().map(Domain::as_str),
        "action": action, "reason": reason, "reply": found.refusal().map(|reply| reply.to_string()),
    })
}
