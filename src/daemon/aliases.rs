//! Keeps the directory up to date with the alias files, which change without a word.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::config::Config;
use crate::directory::AliasFiles;
use crate::directory::Directory;
use crate::directory::Srs;
use crate::mail::limits::ALIAS_FILE_LOOK;

/// The alias files as they were read last, and the key of SRS.
pub(super) struct Aliases {
    clock: Clock,
    key: PathBuf,
    state: Mutex<State>,
}

/// Who holds it is the only one who makes a directory: an old configuration cannot overtake a new one.
#[derive(Default)]
struct State {
    files: AliasFiles,
    srs: Option<Arc<Srs>>,
}

impl Aliases {
    /// `key` is where the key of SRS lies, or will.
    pub(super) fn new(key: PathBuf, clock: Clock) -> Self {
        Self { clock, key, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of a configuration; reads files. What is wrong in them is logged, once.
    ///
    /// # Errors
    /// The key of SRS can neither be read nor made.
    pub(super) fn directory(&self, config: &Config) -> io::Result<Directory> {
        self.make(&mut self.state(), config)
    }

    /// As [`Aliases::directory`], and puts a new configuration into force with it.
    ///
    /// # Errors
    /// As there; then nothing changes.
    pub(super) fn install(
        &self,
        new: Config,
        config: &ArcSwap<Config>,
        directory: &ArcSwap<Directory>,
    ) -> io::Result<()> {
        let mut state = self.state();
        directory.store(Arc::new(self.make(&mut state, &new)?));
        config.store(Arc::new(new));
        Ok(())
    }

    fn make(&self, state: &mut State, config: &Config) -> io::Result<Directory> {
        if config.directory.srs && state.srs.is_none() {
            state.srs = Some(Arc::new(Srs::open(&self.key, self.clock.clone())?));
        }
        let files = AliasFiles::load(config, Some(&state.files), self.clock.wall());
        log_new(&state.files, &files);
        state.files = files;
        let directory = Directory::with(config, &state.files, state.srs.clone());
        for problem in directory.complaints() {
            tracing::warn!(problem, "aliases");
        }
        Ok(directory)
    }

    /// Looks at the files and makes a new directory where they have changed.
    fn look(&self, config: &ArcSwap<Config>, directory: &ArcSwap<Directory>) {
        let mut state = self.state();
        let config = config.load_full();
        let files = AliasFiles::load(&config, Some(&state.files), self.clock.wall());
        let changed = files != state.files;
        if changed {
            log_new(&state.files, &files);
        }
        // Also where it is the same: the time of the last look is in there.
        state.files = files;
        if changed {
            let new = Directory::with(&config, &state.files, state.srs.clone());
            for problem in new.complaints() {
                tracing::warn!(problem, "aliases");
            }
            directory.store(Arc::new(new));
            tracing::info!("alias files read again");
        }
    }
}

/// Tells of what is wrong and was not before.
fn log_new(before: &AliasFiles, files: &AliasFiles) {
    let known = before.complaints();
    for complaint in files.complaints().iter().filter(|complaint| !known.contains(complaint)) {
        if complaint.is_broken() {
            tracing::error!(problem = %complaint, "alias file");
        } else {
            tracing::warn!(problem = %complaint, "alias file");
        }
    }
}

/// Looks for as long as the server lives.
pub(super) async fn tend(aliases: Arc<Aliases>, config: Arc<ArcSwap<Config>>, directory: Arc<ArcSwap<Directory>>) {
    let mut pulse = tokio::time::interval(ALIAS_FILE_LOOK);
    loop {
        pulse.tick().await;
        if !AliasFiles::are_named_by(&config.load()) {
            continue;
        }
        let (aliases, config, directory) = (Arc::clone(&aliases), Arc::clone(&config), Arc::clone(&directory));
        // A panic in there was logged where it happened.
        tokio::task::spawn_blocking(move || aliases.look(&config, &directory)).await.ok();
    }
}
