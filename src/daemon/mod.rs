//! The server as a whole: built from a configuration, run until it is told to stop.
//!
//! The only module that knows all others. Start: lock, certificate, directory, store, queue, ports, and only then
//! READY. Stop: no new connections, running transactions end, the queue's attempts end, exit.

mod accept;
mod aliases;
mod reload;
mod run;
mod signals;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use accept::Door;
use aliases::Aliases;
use arc_swap::ArcSwap;
use reload::Reloader;
use reload::Wanted;
use sd_notify::NotifyState;
use signals::Told;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::ban;
use crate::admin::control;
use crate::admin::control::Answer;
use crate::admin::control::Reply;
use crate::admin::control::Request;
use crate::admin::mailbox::job;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::commit::Commit;
use crate::delivery::commit::StoreAndQueue;
use crate::delivery::outbound::Outbound;
use crate::delivery::quota_warning;
use crate::directory::Authenticator;
use crate::directory::Directory;
use crate::directory::Guard;
use crate::dns::Dns;
use crate::fsio;
use crate::intake::checks::Gate;
use crate::intake::checks::Greylist;
use crate::mail::limits::BANS_SAVED;
use crate::mail::limits::CONTROL_JOBS;
use crate::mail::limits::GREYLIST_SAVE;
use crate::net;
use crate::net::Limiter;
use crate::queue::Queue;
use crate::sender_auth::SenderAuth;
use crate::server::pop3::Pop3Service;
use crate::server::smtp::SmtpService;
use crate::store::Store;
use crate::tls::ServerTls;

pub use run::run;
pub use signals::Signals;

/// Every place that a mailbox command can have.
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
const ALL_JOBS: u32 = CONTROL_JOBS as u32;

/// Connections have so long to end by themselves when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// How often an expired certificate is complained of.
const HOUR: Duration = Duration::from_secs(3600);

/// From here on the certificate's end is announced.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// How often certificate files are looked at, and systemd is told that we live.
const PULSE: Duration = Duration::from_secs(5);

/// Why the server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration is wrong in a way that only starting shows: a certificate that is not a pair, for instance.
    Config(String),
    /// Something of this machine is in the way: a port, a folder, another server.
    Machine(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text) | Self::Machine(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for StartError {}

/// All that a running server consists of.
pub struct Server {
    config: Arc<ArcSwap<Config>>,
    directory: Arc<ArcSwap<Directory>>,
    aliases: Arc<Aliases>,
    tls: Arc<ServerTls>,
    limiter: Limiter,
    queue: Queue,
    store: Arc<Store>,
    outbound: Arc<Outbound>,
    services: Services,
    listeners: Vec<(&'static str, net::Listener)>,
    lmtp: Option<net::UnixSocket>,
    control: Option<UnixListener>,
    /// One permit for each mailbox command under way.
    jobs: Arc<Semaphore>,
    shutdown: watch::Sender<bool>,
    _lock: fsio::Lock,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

/// What answers the protocols.
#[derive(Clone)]
struct Services {
    smtp: Arc<SmtpService>,
    pop3: Arc<Pop3Service>,
}

impl Server {
    /// Builds everything and binds all ports; nothing is served yet.
    ///
    /// # Errors
    /// See [`StartError`]; nothing stays behind but folders.
    pub fn start(config: Config, clock: Clock) -> Result<Self, StartError> {
        let folder = config.storage.folder.clone();
        let lock = lock(&folder)?;
        let names = certificate_names(&config);
        let tls = ServerTls::load(&config.tls, &folder.join("keys"), &names, clock.clone())
            .map_err(|fault| StartError::Config(fault.to_string()))?;
        let machine = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| StartError::Machine(format!("{what}: {error}"))
        };
        let srs_key = folder.join("keys").join("srs.key");
        let aliases = Aliases::new(srs_key.clone(), clock.clone());
        let directory = aliases.directory(&config).map_err(machine(&srs_key.display().to_string()))?;
        let directory = Arc::new(ArcSwap::from_pointee(directory));
        let authenticator = Authenticator::new(Arc::clone(&directory), clock.clone()).map_err(machine("logins"))?;
        let guard = Guard::open(&folder.join("auth").join("bans"), clock.clone());
        let authenticator = Arc::new(authenticator.guarded_by(Arc::new(guard)));
        let state = config.storage.folder.join("state");
        let store = Store::open_with(clock.clone(), config.storage.layout, Some(&state));
        store.set_quotas(directory.load().quotas());
        let queue = Queue::open(&folder.join("queue"), &config, clock.clone()).map_err(machine("queue"))?;
        let dns = Dns::new(&config.dns).map_err(|text| StartError::Config(format!("dns.resolver: {text}")))?;
        let sender_auth = SenderAuth::new(dns.clone(), clock.clone());
        let gate = Gate::new(dns.clone(), sender_auth.clone());
        let sender_auth = (!dns.is_off()).then_some(sender_auth);
        let greylist = Arc::new(Greylist::load(&Greylist::file(&config.storage.folder)));
        let limiter = Limiter::new(config.limits.clone(), clock.clone());
        let listeners = bind_all(&config)?;
        let lmtp = lmtp_socket(&config)?;
        let control = control::listen(&folder).map_err(machine("control socket"))?;
        let config = Arc::new(ArcSwap::from_pointee(config));
        let commit = StoreAndQueue::new(Arc::clone(&store), Arc::new(queue.clone()));
        let commit: Arc<dyn Commit> = Arc::new(commit.forwarding(Arc::clone(&directory)));
        let outbound = Outbound::new(
            Arc::clone(&config),
            Arc::clone(&directory),
            dns,
            Arc::clone(&store),
            Arc::clone(&commit),
            clock.clone(),
        )
        .map_err(|error| StartError::Machine(error.to_string()))?;
        let services = Services {
            smtp: Arc::new(SmtpService {
                config: Arc::clone(&config),
                directory: Arc::clone(&directory),
                authenticator: Arc::clone(&authenticator),
                commit: Arc::clone(&commit),
                store: Arc::clone(&store),
                sender_auth,
                gate,
                greylist,
                clock: clock.clone(),
                zone: jiff::tz::TimeZone::system(),
            }),
            pop3: Arc::new(Pop3Service {
                config: Arc::clone(&config),
                authenticator: Arc::clone(&authenticator),
                store: Arc::clone(&store),
                clock: clock.clone(),
            }),
        };
        Ok(Self {
            config,
            directory,
            aliases: Arc::new(aliases),
            tls: Arc::new(tls),
            limiter,
            queue,
            store,
            outbound: Arc::new(outbound),
            services,
            listeners,
            lmtp,
            control: Some(control),
            jobs: Arc::new(Semaphore::new(CONTROL_JOBS)),
            shutdown: watch::channel(false).0,
            _lock: lock,
        })
    }

    /// What the certificate verifies against.
    #[must_use]
    pub fn authority(&self) -> &Path {
        self.tls.authority()
    }

    /// The mailboxes.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Serves until a signal says stop, then lets what is under way end. `ready` runs when all ports answer.
    pub async fn run(mut self, mut signals: Signals, ready: impl Future<Output = ()>) {
        let stop = self.shutdown.subscribe();
        if let Some(socket) = self.lmtp.take() {
            tokio::spawn(accept::accept_lmtp(socket, self.door()));
        }
        for (name, listener) in std::mem::take(&mut self.listeners) {
            tokio::spawn(accept::accept(name, listener, self.door()));
        }
        if let Some(listener) = self.control.take() {
            let (queue, store, config) = (self.queue.clone(), Arc::clone(&self.store), Arc::clone(&self.config));
            let guard = Arc::clone(self.services.smtp.authenticator.guard());
            let answer = move |request| {
                answer(request, queue.clone(), Arc::clone(&store), Arc::clone(&guard), config.load_full())
            };
            tokio::spawn(control::serve(listener, stop.clone(), Arc::clone(&self.jobs), answer));
        }
        tokio::spawn(Arc::clone(&self.store).tend());
        let (config, directory) = (Arc::clone(&self.config), Arc::clone(&self.directory));
        tokio::spawn(quota_warning::send(Arc::clone(&self.store), directory, config, self.services.smtp.clock.clone()));
        tokio::spawn(save_bans(Arc::clone(self.services.smtp.authenticator.guard())));
        let aliases = Arc::clone(&self.aliases);
        tokio::spawn(aliases::tend(aliases, Arc::clone(&self.config), Arc::clone(&self.directory)));
        let delivering = tokio::spawn({
            let (queue, transport) = (self.queue.clone(), Arc::clone(&self.outbound));
            async move { queue.run(transport, stop).await }
        });
        ready.await;
        notify(&[NotifyState::Ready]);
        tracing::info!(hostname = %self.config.load().hostname, queued = self.queue.len(), "ready");
        let wanted = self.reloader();
        self.watch(&mut signals, &wanted).await;
        tracing::info!(connections = self.limiter.open(), "stopping");
        notify(&[NotifyState::Stopping]);
        self.shutdown.send_replace(true);
        self.drain(delivering).await;
        tracing::info!("stopped");
    }

    /// Starts the task that reads configuration and certificate again when that is wanted.
    fn reloader(&self) -> Arc<Wanted> {
        let wanted = Arc::new(Wanted::default());
        let reloader = Reloader {
            config: Arc::clone(&self.config),
            directory: Arc::clone(&self.directory),
            aliases: Arc::clone(&self.aliases),
            tls: Arc::clone(&self.tls),
            limiter: self.limiter.clone(),
            queue: self.queue.clone(),
            store: Arc::clone(&self.store),
        };
        tokio::spawn(reloader.tend(Arc::clone(&wanted)));
        wanted
    }

    /// Until a signal says stop: signals, the pulse, and once an hour the certificate's end.
    async fn watch(&self, signals: &mut Signals, wanted: &Wanted) {
        let mut pulse = tokio::time::interval(PULSE);
        let mut hour = tokio::time::interval(HOUR);
        let mut greylist = tokio::time::interval(GREYLIST_SAVE);
        let mut saving = tokio::spawn(async {});
        loop {
            tokio::select! {
                told = signals.next() => match told {
                    // Two must not write at once.
                    Told::Stop => return drop(tokio::time::timeout(DRAIN, saving).await),
                    Told::Reload => wanted.configuration(),
                },
                _ = pulse.tick() => {
                    notify(&[NotifyState::Watchdog]);
                    wanted.certificate();
                }
                _ = hour.tick() => self.warn_of_expiry(),
                _ = greylist.tick(), if saving.is_finished() => saving = tokio::spawn(self.save_greylist()),
            }
        }
    }

    /// Writes down who is known, where greylisting is done.
    fn save_greylist(&self) -> impl Future<Output = ()> + Send + use<> {
        let (config, greylist) = (self.config.load_full(), Arc::clone(&self.services.smtp.greylist));
        let now = self.services.smtp.clock.wall();
        async move {
            if !config.greylist.enabled {
                return;
            }
            let save = move || greylist.save(&Greylist::file(&config.storage.folder), &config.greylist, now);
            if let Ok(Err(error)) = tokio::task::spawn_blocking(save).await {
                tracing::warn!(%error, "greylisting was not written down");
            }
        }
    }

    fn warn_of_expiry(&self) {
        match self.tls.remaining() {
            Some(left) if left.is_zero() => tracing::error!("the certificate has expired: clients will refuse it"),
            Some(left) if left < EXPIRES_SOON => {
                tracing::warn!(days = left.as_secs() / 86_400, "the certificate expires soon")
            }
            Some(_) | None => {}
        }
    }

    async fn drain(&self, delivering: JoinHandle<()>) {
        let sessions = async {
            while self.limiter.open() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let all = async {
            sessions.await;
            // A panic in there was logged where it happened.
            delivering.await.ok();
            // Nor does a mailbox command write what the store has closed, or one begin after this.
            if let Ok(all) = self.jobs.acquire_many(ALL_JOBS).await {
                all.forget();
            }
        };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!(connections = self.limiter.open(), "not everything ended in time");
        }
        self.save_greylist().await;
        let store = Arc::clone(&self.store);
        if tokio::time::timeout(DRAIN, tokio::task::spawn_blocking(move || store.close())).await.is_err() {
            tracing::warn!("not every index was written in time: they are made anew");
        }
        let guard = Arc::clone(self.services.smtp.authenticator.guard());
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || guard.save()).await {
            tracing::error!(%error, "bans could not be saved");
        }
        fsio::remove_if_there(&control::socket(&self.config.load().storage.folder)).ok();
    }

    fn door(&self) -> Door {
        Door {
            config: Arc::clone(&self.config),
            limiter: self.limiter.clone(),
            tls: Arc::clone(&self.tls),
            services: self.services.clone(),
            shutdown: self.shutdown.subscribe(),
        }
    }
}

/// Writes new bans, and the addresses of owners, for as long as the server lives.
async fn save_bans(guard: Arc<Guard>) {
    let mut pulse = tokio::time::interval(BANS_SAVED);
    let mut failing = false;
    loop {
        pulse.tick().await;
        let guard = Arc::clone(&guard);
        // A panic in there was logged where it happened.
        let Ok(saved) = tokio::task::spawn_blocking(move || guard.save()).await else { continue };
        if let Err(error) = &saved
            && !failing
        {
            tracing::error!(%error, "bans could not be saved; it is tried again");
        }
        failing = saved.is_err();
    }
}

/// Answers a command.
async fn answer(request: Request, queue: Queue, store: Arc<Store>, guard: Arc<Guard>, config: Arc<Config>) -> Answer {
    let done = |text: String| Answer::Now(Reply { done: true, text });
    match request {
        Request::QueueFlush => {
            let count = queue.flush();
            done(format!("{count} messages are tried now"))
        }
        Request::Forget { maildir } => {
            let forgotten = tokio::task::spawn_blocking(move || forget(&store, &config, &maildir));
            Answer::Now(forgotten.await.unwrap_or_else(|_| Reply { done: false, text: "a bug ended it".to_owned() }))
        }
        request @ (Request::BanList | Request::BanAdd { .. } | Request::BanRemove { .. }) => {
            let answered = tokio::task::spawn_blocking(move || ban::answer(&guard, &request));
            let bug = || Reply { done: false, text: "a bug ended it".to_owned() };
            Answer::Now(answered.await.ok().flatten().unwrap_or_else(bug))
        }
        Request::Mailbox { job } => match job.at_home(&config) {
            Some(job) => Answer::Work(Box::new(move |link| job::work(&store, &job, link))),
            None => Answer::Now(Reply { done: false, text: "the running server has no such account".to_owned() }),
        },
    }
}

/// Has the store forget a Maildir, if it is one of an account. Reads folders.
fn forget(store: &Arc<Store>, config: &Config, maildir: &Path) -> Reply {
    let real = maildir.canonicalize().ok();
    let is_it = |own: &PathBuf| own == maildir || (real.is_some() && own.canonicalize().ok() == real);
    // By the name that the store knows it by.
    let own = config.accounts.iter().map(|entry| config.storage.maildir_of(&entry.address.value)).find(is_it);
    match own {
        Some(own) => {
            store.forget(&own);
            Reply { done: true, text: format!("{} is read again at its next use", maildir.display()) }
        }
        None => Reply { done: false, text: format!("{} is not the Maildir of an account", maildir.display()) },
    }
}

/// Tells systemd; where there is none, nobody.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// One server per folder: two would number messages differently.
fn lock(folder: &Path) -> Result<fsio::Lock, StartError> {
    let machine = |error: std::io::Error| StartError::Machine(format!("storage.folder: {}: {error}", folder.display()));
    fsio::create_dir_durably(folder).map_err(machine)?;
    match fsio::lock(&folder.join("lock")).map_err(machine)? {
        Ok(lock) => Ok(lock),
        Err(owner) => {
            let text = format!("storage.folder: {} is in use by another facteur (process {owner})", folder.display());
            Err(StartError::Machine(text))
        }
    }
}

/// The names of the certificate that is made when none is named.
fn certificate_names(config: &Config) -> Vec<String> {
    let mut names = vec![config.hostname.to_string()];
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.dedup();
    names
}

/// The Unix socket for LMTP, where one is wanted.
fn lmtp_socket(config: &Config) -> Result<Option<net::UnixSocket>, StartError> {
    let Some(path) = &config.lmtp.socket else { return Ok(None) };
    let mode = u32::from_str_radix(&config.lmtp.mode, 8).ok().filter(|mode| *mode <= 0o777);
    let mode =
        mode.ok_or_else(|| StartError::Config("lmtp.mode: permissions in octal are expected: 0600".to_owned()))?;
    let bound = net::UnixSocket::bind(path, mode, &config.lmtp.owner);
    bound.map(Some).map_err(|error| StartError::Machine(format!("lmtp.socket: {}: {error}", path.display())))
}

/// All ports, or every one that cannot be had.
fn bind_all(config: &Config) -> Result<Vec<(&'static str, net::Listener)>, StartError> {
    let mut bound = Vec::new();
    let mut errors = Vec::new();
    let lmtp = config.lmtp.listen.iter().map(|address| ("lmtp", address.0));
    for (name, address) in config.listen.all().chain(lmtp) {
        match net::bind(name, address) {
            Ok(listener) => bound.push((name, listener)),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(bound) } else { Err(StartError::Machine(errors.join("\n"))) }
}
