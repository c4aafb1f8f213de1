//! What the tests of the built binary share: a server on free ports, line clients, a name server, a scripted SMTP sink.
//!
//! Every wait has a deadline and every loop an end; nothing sleeps in the hope that something has happened meanwhile.
//! All traffic stays on 127.0.0.0/8.

#![allow(dead_code, reason = "each test program uses its own part of this")]

pub(crate) mod client;
pub(crate) mod dns;
pub(crate) mod dovecot;
pub(crate) mod imap;
pub(crate) mod pop3;
pub(crate) mod server;
pub(crate) mod sink;
pub(crate) mod smtp;
pub(crate) mod structure;
pub(crate) mod value;
pub(crate) mod vectors;
pub(crate) mod yaml;
pub(crate) mod zone;

use std::io::Write;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

/// The longest that anything may take here; only a broken server or a very busy machine comes near.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const PULSE: Duration = Duration::from_millis(20);

/// Says something past the capture of the test harness, which would hide it while the test passes.
pub(crate) fn say(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").expect("standard error can be written");
}

/// Waits until `look` finds something.
///
/// # Panics
/// When it has found nothing within [`PATIENCE`].
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// As [`wait_for`], with a patience of its own.
pub(crate) fn wait_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {patience:?} in vain for: {what}");
        std::thread::sleep(PULSE);
    }
}

/// Whether a test that needs something of this machine can run. If not, it says so; where everything is required
/// (`FACTEUR_REQUIRE_INTEROP=1`) that is a failure.
pub(crate) fn available(present: bool, what: &str) -> bool {
    if !present {
        let required = std::env::var("FACTEUR_REQUIRE_INTEROP").is_ok_and(|v| v == "1");
        assert!(!required, "FACTEUR_REQUIRE_INTEROP=1, and {what}");
        say(&format!("SKIPPED: {what}"));
    }
    present
}

/// Whether a program is installed; see [`available`].
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = [Path::new("/usr/sbin"), Path::new("/sbin")].map(Path::to_owned);
    let found = std::env::split_paths(&path).chain(usual).any(|folder| folder.join(program).is_file());
    available(found, &format!("{program} is not installed"))
}

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Deterministic enough for a test and different from run to run.
pub(crate) fn random(below: u32) -> u32 {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random bytes");
    u32::from_le_bytes(bytes) % below
}
