//! A process that is a server: its threads, its log, its life from start to stop.

use std::sync::Arc;

use tracing_subscriber::filter::LevelFilter;

use super::Server;
use super::Signals;
use super::StartError;
use crate::admin::commands;
use crate::admin::try_out::TryOut;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::Level;
use crate::observe;
use crate::store::Delivery;

/// Threads for file work and Argon2. Every delivery takes one while it waits for the disk; the disk shares its commits
/// among those that wait together, so more of them cost little and fewer would cost time.
const BLOCKING_THREADS: usize = 64;

/// Threads for sessions: half of the cores, since files and hashes have threads of their own. Each event may wake a
/// thread that looks for work in vain: with two of them on two cores a NOOP cost half as much CPU again as with one.
fn session_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2)
}

/// Runs a server until a signal ends it. For a try-out also the welcome, the settings and the env file.
///
/// # Errors
/// See [`StartError`].
pub fn run(config: Config, tried: Option<Arc<TryOut>>) -> Result<(), StartError> {
    // A try-out speaks to a person: its settings should not scroll away.
    let level = if tried.is_some() { LevelFilter::WARN } else { level(config.log.level) };
    let machine = |error: std::io::Error| StartError::Machine(error.to_string());
    observe::start(level).map_err(machine)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(session_threads())
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(machine)?;
    let ended = runtime.block_on(async {
        let signals = Signals::listen().map_err(machine)?;
        let storage = config.storage.clone();
        let server = Server::start(config, Clock::system())?;
        let welcomed = match &tried {
            Some(tried) => Box::pin(welcome(&server, tried, &storage)).await,
            None => Ok(()),
        };
        welcomed.map_err(StartError::Machine)?;
        // Its end removes a temporary folder, so it lives as long as the server.
        let _folder = tried.clone();
        let authority = server.authority().to_owned();
        let announce = async move {
            let Some(tried) = tried else { return };
            let program = std::env::current_exe().unwrap_or_else(|_| "facteur".into());
            match tried.write_env(&authority, &program) {
                Ok(()) => commands::say(tried.settings()),
                Err(error) => commands::complain(format_args!("the env file could not be written: {error}")),
            }
        };
        server.run(signals, announce).await;
        Ok(())
    });
    observe::finish();
    ended
}

/// A letter for every account of a fresh try-out.
async fn welcome(server: &Server, tried: &TryOut, storage: &crate::config::Storage) -> Result<(), String> {
    let clock = Clock::system();
    for name in tried.welcome() {
        let address = tried.address(name)?;
        let date = crate::message::date::format(clock.wall(), &jiff::tz::TimeZone::system());
        let message = Delivery {
            id: crate::mail::ids::SessionId::new(clock.since_epoch()).message(1),
            prefix: Vec::new(),
            content: crate::fsio::Content::from_bytes(tried.welcome_message(name, &date).into_bytes()),
            maildirs: vec![storage.maildir_of(&address)],
            received: clock.wall(),
            special_use: None,
            again: false,
        };
        for done in server.store().deliver(message).await {
            done.map_err(|error| format!("welcome message for {address}: {error}"))?;
        }
    }
    Ok(())
}

fn level(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    }
}
