//! Setting up the log: one line per event on standard output, where journald or a file takes it.
//!
//! Everywhere else events are written with `tracing`; values that come from a peer are written with `?`, which escapes
//! them, so that nobody can forge a line.

mod lines;

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::time::Duration;

use lines::Lines;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// At the end of the process the last lines have so long to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts the log at this level. Only the first call of a process has an effect. Under systemd the time is left out:
/// the journal has its own.
///
/// # Errors
/// No thread can be started for it.
pub fn start(level: LevelFilter) -> std::io::Result<()> {
    let lines = Lines::start(std::io::stdout())?;
    let lines = LINES.get_or_init(|| lines);
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let terminal = std::io::stdout().is_terminal();
    // Libraries speak of themselves at their own length; their warnings are enough.
    let filter = Targets::new().with_default(LevelFilter::WARN).with_target("facteur", level);
    let layer = fmt::layer().with_ansi(terminal).with_target(false).with_writer(lines.clone());
    let registry = tracing_subscriber::registry().with(filter);
    let started =
        if under_systemd { registry.with(layer.without_time()).try_init() } else { registry.with(layer).try_init() };
    // A second call finds the first one's log in place, which is what it wanted.
    started.ok();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload().downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.payload().downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(place, text, "BUG: panic");
    }));
    Ok(())
}

/// To be called last: waits a moment for lines that are not written yet.
pub fn finish() {
    if let Some(lines) = LINES.get() {
        lines.finish(LAST_LINES);
    }
}
