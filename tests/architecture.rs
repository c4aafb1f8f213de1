//! Keeps the architecture true: who imports whom, which modules are pure, where the banned calls may stand, that every
//! file says what it holds, and that no function grows past a page and a half.
//!
//! A plain text check over `src`: write one `use crate::a::b::C;` a line.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Who may import whom, lower layers first. `protocol::session` and the like are named before the module they lie in.
const LAYERS: &[(&str, &[&str])] = &[
    // Layer 0: ground.
    ("mail", &[]),
    ("clock", &[]),
    ("observe", &[]),
    ("fsio", &["mail"]),
    ("protocol::session", &["mail"]),
    ("protocol::line", &["mail"]),
    // Layer 1: tools.
    ("protocol::sasl", &["mail"]),
    ("config", &["mail"]),
    ("message", &["mail"]),
    ("dns", &["mail", "config", "clock"]),
    ("tls", &["mail", "config", "fsio", "clock"]),
    // Layer 2a: machines.
    ("protocol::smtp", &["mail", "protocol::session", "protocol::line", "protocol::sasl"]),
    ("protocol::pop3", &["mail", "protocol::session", "protocol::line", "protocol::sasl"]),
    ("protocol::imap", &["mail", "message", "protocol::line", "protocol::sasl"]),
    // Layer 2b: services.
    ("net", &["mail", "protocol::session", "config", "tls", "fsio", "clock"]),
    ("directory", &["mail", "config", "protocol::sasl", "fsio", "clock"]),
    ("milter", &["mail", "message", "config", "fsio"]),
    ("store", &["mail", "message", "config", "fsio", "clock"]),
    ("queue", &["mail", "message", "config", "fsio", "clock"]),
    ("sender_auth", &["mail", "message", "config", "dns", "fsio", "clock"]),
    // Layer 3: flows.
    (
        "intake",
        &[
            "mail",
            "message",
            "config",
            "protocol::session",
            "protocol::smtp",
            "dns",
            "directory",
            "sender_auth",
            "milter",
            "fsio",
            "clock",
        ],
    ),
    (
        "delivery",
        &[
            "mail",
            "message",
            "config",
            "protocol::session",
            "protocol::smtp",
            "dns",
            "tls",
            "net",
            "store",
            "queue",
            "directory",
            "sender_auth",
            "intake",
            "fsio",
            "clock",
        ],
    ),
    // Layer 4: edges.
    (
        "server",
        &[
            "mail",
            "message",
            "config",
            "protocol",
            "dns",
            "tls",
            "net",
            "store",
            "queue",
            "directory",
            "sender_auth",
            "intake",
            "delivery",
            "milter",
            "fsio",
            "clock",
        ],
    ),
    (
        "admin",
        &[
            "mail",
            "message",
            "config",
            "protocol::smtp",
            "dns",
            "tls",
            "net",
            "store",
            "queue",
            "directory",
            "intake",
            "sender_auth",
            "intake",
            "fsio",
            "clock",
        ],
    ),
    // Layer 5: root.
    (
        "daemon",
        &[
            "mail",
            "message",
            "config",
            "protocol",
            "dns",
            "tls",
            "net",
            "store",
            "queue",
            "directory",
            "sender_auth",
            "intake",
            "delivery",
            "server",
            "admin",
            "observe",
            "fsio",
            "clock",
        ],
    ),
    ("manual", &[]),
];

/// Files that only declare modules, or start them.
const ROOTS: &[&str] = &["main", "lib", "protocol"];

/// Modules without I/O, and the words that would betray it.
const PURE: &[&str] = &["mail", "message", "protocol"];
const IMPURE_WORDS: &[&str] = &[
    "async fn",
    ".await",
    "tokio::",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::env",
    "SystemTime::now",
    "Instant::now",
    "std::thread",
    "std::process",
];

/// Calls that have one owner each.
const BANNED: &[(&str, &[&str])] = &[
    ("Instant::now(", &["clock"]),
    ("SystemTime::now(", &["clock"]),
    ("fs::rename(", &["fsio"]),
    ("sync_all(", &["fsio"]),
    ("sync_data()", &["fsio"]),
    ("hard_link(", &["fsio"]),
    ("fs::remove_", &["fsio"]),
    ("fs::write(", &["fsio"]),
    ("File::create(", &["fsio"]),
    ("create_dir", &["fsio"]),
    ("println!", &["admin"]),
    ("print!(", &["admin"]),
    ("mail_auth::", &["sender_auth"]),
    ("hickory_resolver::", &["dns"]),
];

/// The longest function.
const FUNCTION_LINES: usize = 100;

struct Source {
    path: PathBuf,
    /// `protocol::smtp::server::state` and the like.
    module: String,
    /// Without the tests at its end.
    lines: Vec<String>,
    header: bool,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut all = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the source") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.push(source(&root, path));
            }
        }
    }
    assert!(all.len() > 50, "the source was not found");
    all
}

fn source(root: &Path, path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).expect("UTF-8");
    let inner = path.strip_prefix(root).expect("below src").with_extension("");
    let parts: Vec<String> = inner.iter().map(|p| p.to_string_lossy().into_owned()).filter(|p| p != "mod").collect();
    let header = text.lines().next().is_some_and(|l| l.starts_with("//! "));
    let is_test = inner.ends_with("tests");
    let lines = text.lines().take_while(|l| !l.starts_with("#[cfg(test)]") && !is_test).map(str::to_owned).collect();
    Source { path, module: parts.join("::"), lines, header }
}

/// The row of the table that a module path belongs to.
fn row(path: &str) -> Option<&'static str> {
    let below = |name: &&str| path == *name || path.starts_with(&format!("{name}::"));
    LAYERS.iter().map(|(name, _)| *name).filter(below).max_by_key(|name| name.len())
}

/// Fails with every place that is wrong.
fn none_of(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn every_import_is_in_the_table() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| !ROOTS.contains(&s.module.as_str())) {
        let Some(own) = row(&source.module) else {
            wrong.push(format!("{}: no row in the table", source.path.display()));
            continue;
        };
        let allowed = LAYERS.iter().find(|(name, _)| *name == own).map(|(_, allowed)| *allowed).unwrap_or_default();
        for (n, line) in source.lines.iter().enumerate().filter(|(_, l)| !is_comment(l)) {
            for (at, _) in line.match_indices("crate::") {
                let path: String =
                    line[at + 7..].chars().take_while(|c| c.is_alphanumeric() || "_:".contains(*c)).collect();
                let target = row(&path).or_else(|| path.split("::").next().filter(|p| *p == "protocol"));
                let fits = |name: &str| {
                    name == own || allowed.iter().any(|a| name == *a || name.starts_with(&format!("{a}::")))
                };
                if !target.is_some_and(fits) {
                    wrong.push(format!("{}:{}: {own} may not import {path}", source.path.display(), n + 1));
                }
            }
        }
    }
    none_of("imports that the table does not allow", wrong);
}

#[test]
fn the_table_itself_has_no_cycle() {
    let mut above = BTreeSet::new();
    let mut wrong = Vec::new();
    for (name, allowed) in LAYERS {
        for import in *allowed {
            let known = above.iter().any(|a: &&str| a == import || a.starts_with(&format!("{import}::")));
            if !known {
                wrong.push(format!("{name} imports {import}, which is not below it"));
            }
        }
        above.insert(*name);
    }
    none_of("rows that look up", wrong);
}

#[test]
fn pure_modules_are_pure() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| PURE.contains(&s.module.split("::").next().unwrap_or_default())) {
        for (n, line) in source.lines.iter().enumerate().filter(|(_, l)| !is_comment(l)) {
            for word in IMPURE_WORDS.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", source.path.display(), n + 1));
            }
        }
    }
    none_of("words of I/O in pure modules", wrong);
}

#[test]
fn banned_calls_stand_with_their_owners() {
    let mut wrong = Vec::new();
    for source in sources() {
        let top = source.module.split("::").next().unwrap_or_default();
        for (n, line) in source.lines.iter().enumerate().filter(|(_, l)| !is_comment(l)) {
            for (call, owners) in BANNED {
                if line.contains(call) && !owners.contains(&top) && !line.contains("fsio::") {
                    wrong.push(format!("{}:{}: {call}", source.path.display(), n + 1));
                }
            }
        }
    }
    none_of("calls outside of their owners", wrong);
}

#[test]
fn every_file_says_what_it_holds() {
    let wrong = sources().into_iter().filter(|s| !s.header).map(|s| s.path.display().to_string()).collect();
    none_of("files without a //! header", wrong);
}

#[test]
fn no_function_is_longer_than_a_page_and_a_half() {
    let mut wrong = Vec::new();
    for source in sources() {
        let mut start: Option<(usize, usize)> = None;
        for (n, line) in source.lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let words: Vec<&str> = line.split(['(', '<']).next().unwrap_or_default().split_whitespace().collect();
            let is_fn = words.contains(&"fn") && !is_comment(line);
            if is_fn && start.is_none() && !line.trim_end().ends_with(['}', ';']) {
                start = Some((n, indent));
            } else if let Some((from, depth)) = start
                && indent == depth
                && (line.trim_start() == "}" || line.trim_end().ends_with(';'))
            {
                if n - from + 1 > FUNCTION_LINES {
                    wrong.push(format!("{}:{}: {} lines", source.path.display(), from + 1, n - from + 1));
                }
                start = None;
            }
        }
    }
    none_of("functions that are too long", wrong);
}

#[test]
fn imports_come_one_a_line() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (n, line) in source.lines.iter().enumerate() {
            let ours = line.starts_with("use crate::") || line.starts_with("pub use crate::");
            if ours && line.contains(['{', '*']) {
                wrong.push(format!("{}:{}", source.path.display(), n + 1));
            }
        }
    }
    none_of("imports in braces", wrong);
}

#[test]
fn the_map_in_lib_names_every_module() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("the map");
    let mut seen: BTreeMap<String, bool> = BTreeMap::new();
    for source in sources().iter().filter(|s| !ROOTS.contains(&s.module.as_str())) {
        let name = row(&source.module).unwrap_or_default().to_owned();
        let named = lib.contains(&format!("[`{name}`]"));
        seen.insert(name, named);
    }
    let declared: String = lib.lines().filter(|l| l.contains("pub mod ")).collect();
    seen.retain(|name, _| declared.contains(name.split("::").next().unwrap_or_default()));
    none_of(
        "modules that the map does not name",
        seen.into_iter().filter(|(_, named)| !named).map(|(n, _)| n).collect(),
    );
}

#[test]
fn the_rfc_table_names_files_that_exist() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table = fs::read_to_string(src.join("manual/rfc.rs")).expect("the table");
    let places = table
        .lines()
        .filter(|l| l.starts_with("//! | ") && l.contains('`'))
        .flat_map(|l| l.split('`').skip(1).step_by(2));
    none_of("places that are not there", places.filter(|p| !src.join(p).exists()).map(str::to_owned).collect());
}
