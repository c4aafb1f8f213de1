//! Generated sessions of two clients, run against Facteur and against Dovecot over byte-identical Maildirs: what either
//! answers, and what is left on disk at the end.
//!
//! A seed determines a session. What may differ is listed in `differential.allow`, by the names of the rules that
//! recognise it (`differential/rules.rs`), each with the clause of an RFC. `FACTEUR_SEEDS=from..to` runs others.

mod common;

#[path = "differential/client.rs"]
mod client;
#[path = "differential/commands.rs"]
mod commands;
#[path = "differential/mail.rs"]
mod mail;
#[path = "differential/random.rs"]
mod random;
#[path = "differential/rules.rs"]
mod rules;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use argon2::Algorithm;
use argon2::Argon2;
use argon2::Params;
use argon2::Version;
use argon2::password_hash::PasswordHasher;
use client::Client;
use client::Facts;
use commands::Scene;
use common::dovecot;
use common::dovecot::Dovecot;
use common::say;
use common::server::PASSWORD;
use common::server::Server;
use common::value::Value;
use mail::Mail;
use mail::Pool;
use random::Random;
use rules::Verdict;

const ALLOWED: &str = include_str!("differential.allow");

/// Messages that the two read differently in themselves: `structures.allow` has the reasons.
const READ_APART: &str = include_str!("structures.allow");

/// Sessions of the usual run.
const SESSIONS: u64 = 200;

/// Sessions over one pair of servers.
const AT_ONCE: u64 = 250;

/// Sessions at the same time.
const WORKERS: usize = 4;

/// Both programs over their trees.
struct Pair {
    server: Server,
    dovecot: Dovecot,
    ours: tempfile::TempDir,
    theirs: tempfile::TempDir,
}

impl Pair {
    fn start(seeds: Range<u64>) -> Self {
        let (ours, theirs) = (dovecot::tree(), dovecot::tree());
        let hash = cheap_hash();
        let account = |seed| format!("[[account]]\naddress = \"{}@example.test\"\npassword = \"{hash}\"\n", user(seed));
        let accounts: String = seeds.map(account).collect();
        let storage = format!("maildir = \"{}/{{user}}\"\n", ours.path().display());
        let server = Server::serve_stored(&storage, &accounts);
        // Its index of mailboxes may be a second behind.
        let settings = "mailbox_list_index = no\nservice imap-login {\n  service_count = 0\n}\n";
        let dovecot = Dovecot::start(&dovecot::location(theirs.path()), settings);
        Self { server, dovecot, ours, theirs }
    }
}

fn user(seed: u64) -> String {
    format!("user{seed}")
}

/// Thousands of logins need not cost 20 ms each.
fn cheap_hash() -> String {
    let params = Params::new(8, 1, 1, None).expect("the least that there is");
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password(PASSWORD.as_bytes()).expect("hashed").to_string()
}

/// What came of a session: the steps, how often each rule was needed, and the difference that no rule explains.
#[derive(Default)]
struct Outcome {
    steps: usize,
    rules: BTreeMap<&'static str, usize>,
    difference: Option<String>,
}

fn session(pair: &Pair, pool: &Pool, seed: u64) -> Outcome {
    let (ours, theirs) = (pair.ours.path().join(user(seed)), dovecot::maildir(pair.theirs.path(), &user(seed)));
    let mut random = Random::new(seed);
    let mail = if random.chance(60) { Mail::Plain } else { Mail::All };
    mail::lay_out(&ours, pool, mail, seed);
    mail::lay_out(&theirs, pool, mail, seed);
    dovecot::give(&theirs);
    let mut outcome = Outcome::default();
    let mut by_us = [0, 1].map(|_| Client::new(pair.server.imap(&user(seed))));
    let mut by_them = [0, 1].map(|_| Client::new(pair.dovecot.imap(&user(seed))));
    let mut history = String::new();
    let condstore = random.chance(50);
    if condstore {
        for client in by_us.iter_mut().chain(&mut by_them) {
            client.run(b"ENABLE CONDSTORE");
        }
    }
    if condstore && random.chance(40) {
        for client in [&mut by_us[0], &mut by_them[0]] {
            client.run(b"ENABLE QRESYNC");
        }
    }
    for _ in 0..random.within(20, 50) {
        let who = random.below(2);
        let us = &by_us[who];
        let scene = Scene {
            selected: us.selected.as_deref(),
            size: us.size(),
            condstore,
            qresync: us.by_uid && condstore,
            mail,
        };
        let command = commands::command(&mut random, &scene);
        history += &format!("{} {}\n", ["A", "B"][who], command.escape_ascii());
        let known = by_us[who].flags.clone();
        let facts = (by_us[who].run(&command), by_them[who].run(&command));
        outcome.steps += 1;
        let judged = judge_patiently(
            &Done { command: &command, known: &known },
            facts,
            (&mut by_us[who], &mut by_them[who]),
            &mut outcome.rules,
        );
        Client::agree(&command, &mut by_us[who], &mut by_them[who]);
        match judged {
            Ok(Verdict::GoOn) => {}
            // What follows would differ because of this.
            Ok(Verdict::Stop) => return outcome,
            Err(difference) => {
                let said = format!("ours said {}\ntheirs said {}", said(&by_us[who]), said(&by_them[who]));
                outcome.difference = Some(format!("seed {seed}\n{history}{difference}{said}\n"));
                return outcome;
            }
        }
    }
    drop((by_us, by_them));
    outcome.difference = compare_left(&ours, &theirs).map(|difference| format!("seed {seed}\n{history}{difference}"));
    outcome
}

fn said(client: &Client) -> String {
    let mut text = client.said.join("\n  ");
    let end = text.char_indices().nth(1500).map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    text
}

/// A command that was run, and the flags of messages that the client knew of before.
struct Done<'a> {
    command: &'a [u8],
    known: &'a BTreeMap<usize, Value>,
}

/// Judges what a command brought; where that differs, together with what is told to a NOOP after it: when news are told
/// is the server's business.
fn judge_patiently(
    done: &Done<'_>,
    facts: (Facts, Facts),
    (us, them): (&mut Client, &mut Client),
    used: &mut BTreeMap<&'static str, usize>,
) -> Result<Verdict, String> {
    let mut rules = BTreeMap::new();
    let mut judged = judge(done, &facts.0, &facts.1, &mut rules);
    if judged.is_err() {
        let said = (std::mem::take(&mut us.said), std::mem::take(&mut them.said));
        let facts = (us.with_news(facts.0), them.with_news(facts.1));
        us.said.splice(0..0, said.0);
        them.said.splice(0..0, said.1);
        rules = BTreeMap::from([(rules::TOLD_LATER, 1)]);
        judged = judge(done, &facts.0, &facts.1, &mut rules);
    }
    for (rule, times) in rules {
        *used.entry(rule).or_default() += times;
    }
    judged
}

/// Applies the rules to what differs.
fn judge(
    done: &Done<'_>,
    ours: &Facts,
    theirs: &Facts,
    used: &mut BTreeMap<&'static str, usize>,
) -> Result<Verdict, String> {
    let mut verdict = Verdict::GoOn;
    let mut difference = String::new();
    let keys: std::collections::BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let command = String::from_utf8_lossy(done.command);
    for key in keys {
        let (our, their) = (ours.get(key), theirs.get(key));
        if our == their {
            continue;
        }
        let scene = rules::Scene { command: &command, key, ours, theirs, known: done.known };
        match rules::explain(&scene, our, their) {
            Some((rule, then)) => {
                if matches!(then, Verdict::Stop) {
                    verdict = then;
                }
                *used.entry(rule).or_default() += 1;
            }
            None => {
                let show = |value: Option<&Value>| {
                    value.map_or_else(|| "nothing".to_owned(), |v| v.to_string().chars().take(700).collect())
                };
                difference += &format!("  {key}\n    ours   {}\n    theirs {}\n", show(our), show(their));
            }
        }
    }
    // A session whose states part is over, whatever else differs in this step.
    if difference.is_empty() || matches!(verdict, Verdict::Stop) { Ok(verdict) } else { Err(difference) }
}

/// Compares the Maildirs.
fn compare_left(ours: &Path, theirs: &Path) -> Option<String> {
    let (ours, theirs) = (mail::left(ours), mail::left(theirs));
    let mut difference = String::new();
    for folder in ours.keys().chain(theirs.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (our, their) = (ours.get(folder), theirs.get(folder));
        if our == their {
            continue;
        }
        let show = |side: Option<&Vec<(String, Vec<u8>)>>| match side {
            Some(all) => {
                all.iter().map(|(flags, bytes)| format!("[{flags}] {}", bytes.len())).collect::<Vec<_>>().join(", ")
            }
            None => "no such folder".to_owned(),
        };
        difference += &format!("  left in {folder:?}\n    ours   {}\n    theirs {}\n", show(our), show(their));
    }
    (!difference.is_empty()).then_some(difference)
}

/// The seeds to run.
fn seeds() -> Range<u64> {
    let Ok(named) = std::env::var("FACTEUR_SEEDS") else { return 0..SESSIONS };
    let (from, to) = named.split_once("..").expect("FACTEUR_SEEDS=from..to");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// What came of all sessions.
#[derive(Default)]
struct Total {
    sessions: usize,
    steps: usize,
    rules: BTreeMap<&'static str, usize>,
    /// The seeds of sessions with a difference that no rule explains.
    differing: Vec<u64>,
}

impl Total {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.sessions += 1;
        self.steps += outcome.steps;
        for (rule, times) in outcome.rules {
            *self.rules.entry(rule).or_default() += times;
        }
        if let Some(difference) = outcome.difference {
            say(&difference);
            self.differing.push(seed);
        }
    }
}

/// Runs the sessions of these seeds over one pair of servers, some at a time; says how often Dovecot panicked.
fn run(seeds: Range<u64>, pool: &Pool, total: &Mutex<Total>) -> usize {
    let pair = Pair::start(seeds.clone());
    let next = AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return;
            }
            let guard = Announced(seed);
            let outcome = session(&pair, pool, seed);
            drop(guard);
            total.lock().expect("nobody panics with it").add(seed, outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    pair.dovecot.log().matches(": Panic: ").count()
}

#[test]
fn sessions_are_answered_as_dovecot_answers_them() {
    let apart: Vec<&str> = READ_APART.lines().filter_map(|line| line.split_once(" | ")).map(|(name, _)| name).collect();
    let Some(pool) = Pool::new(&apart).filter(|_| dovecot::is_there()) else { return };
    let seeds = seeds();
    let total = Mutex::new(Total::default());
    let (mut from, mut panics) = (seeds.start, 0);
    while from < seeds.end {
        let some = from..(from + AT_ONCE).min(seeds.end);
        from = some.end;
        panics += run(some, &pool, &total);
        if seeds.end - seeds.start > AT_ONCE {
            let so_far = total.lock().expect("nobody panicked with it");
            say(&format!("seeds below {from}: {} sessions with differences", so_far.differing.len()));
        }
    }
    let Total { sessions, steps, rules, differing } = total.into_inner().expect("nobody panicked with it");
    say(&format!("{sessions} sessions, {steps} commands, differences allowed: {rules:?}"));
    let died = rules.get(rules::DIED).copied().unwrap_or(0);
    assert!(died <= panics, "{died} sessions of Dovecot ended, and its log has {panics} panics");
    assert!(differing.is_empty(), "differences that no rule explains, in the sessions of seeds {differing:?}");
}

/// Tells the seed of a session that panics.
struct Announced(u64);

impl Drop for Announced {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("in the session of seed {}", self.0));
        }
    }
}

#[test]
fn each_rule_has_a_line_with_its_clause() {
    let mut lines = BTreeMap::new();
    for line in ALLOWED.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (rule, reason) = line.split_once(" | ").unwrap_or_else(|| panic!("rule | RFC clause: reason: {line}"));
        assert!(reason.starts_with("RFC ") && reason.contains(": "), "{line}");
        assert!(lines.insert(rule, reason).is_none(), "{rule} twice");
    }
    let named: std::collections::BTreeSet<&str> =
        rules::RULES.iter().map(|rule| rule.name).chain([rules::TOLD_LATER]).collect();
    assert_eq!(lines.into_keys().collect::<std::collections::BTreeSet<_>>(), named);
}
