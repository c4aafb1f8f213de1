//! The check of a name and a password: one answer, in one time, for an unknown user and a wrong password.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use tokio::sync::Semaphore;

use super::Account;
use super::Directory;
use super::guard::Guard;
use super::password;
use crate::clock::Clock;
use crate::mail::limits::LOGIN_CACHE;
use crate::mail::limits::LOGIN_CACHE_ENTRIES;
use crate::mail::limits::LOGINS_WAITING;
use crate::mail::limits::PASSWORD_OCTETS;
use crate::mail::secret::Secret;

/// A user who has shown a password. Only [`Authenticator::login`] makes one.
#[derive(Debug, Clone)]
pub struct Authenticated(Arc<Account>);

impl Authenticated {
    /// Whose account it is.
    #[must_use]
    pub fn account(&self) -> &Arc<Account> {
        &self.0
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginError {
    /// No such user, or another password: nobody is told which.
    Refused,
    /// Too many failures from this network; nothing was looked at.
    TooManyFailures,
    /// Too many logins are waiting; come again later.
    Busy,
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "authentication failed",
            Self::TooManyFailures => "too many failed logins",
            Self::Busy => "too many logins at once",
        })
    }
}

impl std::error::Error for LoginError {}

/// Checks passwords for all protocols.
///
/// Argon2 runs beside the async threads, one check per core at a time. A success is remembered for a while under a
/// keyed hash of account, stored hash and password, so that a client which opens six connections costs one check; a
/// changed password has another stored hash and so forgets by itself.
pub struct Authenticator {
    directory: Arc<ArcSwap<Directory>>,
    clock: Clock,
    guard: Arc<Guard>,
    turn: Semaphore,
    waiting: AtomicUsize,
    key: hmac::Key,
    successes: Mutex<HashMap<[u8; 32], Instant>>,
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

impl Authenticator {
    /// One that looks at the current directory at every login.
    ///
    /// # Errors
    /// No randomness.
    pub fn new(directory: Arc<ArcSwap<Directory>>, clock: Clock) -> Result<Self, std::io::Error> {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &random)
            .map_err(|_| std::io::Error::other("no random bytes for the key of the login cache"))?;
        Ok(Self {
            directory,
            guard: Arc::new(Guard::new(clock.clone())),
            clock,
            turn: Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)),
            waiting: AtomicUsize::new(0),
            key,
            successes: Mutex::new(HashMap::new()),
        })
    }

    /// The same, with bans that outlive it.
    #[must_use]
    pub fn guarded_by(self, guard: Arc<Guard>) -> Self {
        Self { guard, ..self }
    }

    /// What is counted and banned.
    #[must_use]
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// Whether nobody may log in from there, so that a connection to a service for users is of no use.
    #[must_use]
    pub fn closes_the_door(&self, peer: IpAddr) -> bool {
        self.guard.closes_the_door(peer, &self.directory.load().rules)
    }

    /// The account that somebody means by this name, as at a login.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.directory.load().account_of_login(name)
    }

    /// The accounts as they are now.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// Checks a name and a password that came from `peer` over `service` (`imap`, `pop3`, `submission`).
    ///
    /// # Errors
    /// See [`LoginError`]; [`LoginError::Refused`] comes after a delay that grows with the failures of the peer, whether
    /// or not there is such a user.
    pub async fn login(
        &self,
        service: &'static str,
        peer: IpAddr,
        name: &str,
        password: &Secret<String>,
    ) -> Result<Authenticated, LoginError> {
        let directory = self.directory.load_full();
        let account = directory.account_of_login(name);
        let known_as = account.as_ref().map_or_else(|| directory.key_of_nobody(name), |a| a.address().key());
        let refused = || {
            let refused = self.guard.refuses(peer, &known_as, &directory.rules);
            if refused {
                tracing::warn!(user = ?name, rip = %peer, proto = %service, "auth refused: too many failures");
            }
            refused
        };
        if refused() {
            return Err(LoginError::TooManyFailures);
        }
        let right = self.is_right(account.as_deref(), password).await?;
        // A ban may have begun while this one waited for its turn: who tries many at once has no more tries than others.
        if refused() {
            return Err(LoginError::TooManyFailures);
        }
        let exists = account.is_some();
        if let Some(account) = account.filter(|_| right) {
            self.guard.succeeded(peer, &known_as, &directory.rules);
            tracing::debug!(user = %account.address(), rip = %peer, proto = %service, "auth ok");
            return Ok(Authenticated(account));
        }
        let consequence = self.guard.failed(peer, &known_as, exists, &directory.rules);
        // A form that fail2ban and its like can read; the name is quoted, since a stranger chose it.
        tracing::warn!(user = ?name, rip = %peer, proto = %service, failures = consequence.failures, "auth failed");
        for ban in &consequence.bans {
            let seconds = ban.until.saturating_sub(ban.since);
            tracing::warn!(network = %ban.network, seconds, reason = ban.reason, times = ban.times, "banned");
        }
        tokio::time::sleep(consequence.delay).await;
        Err(LoginError::Refused)
    }

    /// Whether this is the account's password. Takes as long for an account that does not exist.
    async fn is_right(&self, account: Option<&Account>, password: &Secret<String>) -> Result<bool, LoginError> {
        if password.reveal().is_empty() || password.reveal().len() > PASSWORD_OCTETS {
            return Ok(false);
        }
        let stored = account.and_then(|a| a.password.as_ref());
        let tag = stored.zip(account).map(|(hash, account)| self.tag(account, hash, password));
        if tag.is_some_and(|tag| self.remembers(&tag)) {
            return Ok(true);
        }
        let hash = stored.map_or(password::NOBODY, |hash| hash.reveal().as_str()).to_owned();
        let right = self.verify(password.clone(), hash).await?;
        if let Some(tag) = tag.filter(|_| right) {
            self.remember(tag);
        }
        Ok(right && stored.is_some())
    }

    async fn verify(&self, password: Secret<String>, hash: String) -> Result<bool, LoginError> {
        let _place = Waiting::take(&self.waiting).ok_or(LoginError::Busy)?;
        let _turn = self.turn.acquire().await.map_err(|_| LoginError::Busy)?;
        tokio::task::spawn_blocking(move || password::verify(&password, &hash)).await.map_err(|_| LoginError::Busy)
    }

    fn tag(&self, account: &Account, hash: &Secret<String>, password: &Secret<String>) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [account.address.key().as_bytes(), hash.reveal().as_bytes(), password.reveal().as_bytes()] {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn remembers(&self, tag: &[u8; 32]) -> bool {
        let now = self.clock.instant();
        let successes = self.successes.lock().unwrap_or_else(PoisonError::into_inner);
        successes.get(tag).is_some_and(|at| now.duration_since(*at) < LOGIN_CACHE)
    }

    fn remember(&self, tag: [u8; 32]) {
        let now = self.clock.instant();
        let mut successes = self.successes.lock().unwrap_or_else(PoisonError::into_inner);
        if successes.len() >= LOGIN_CACHE_ENTRIES {
            successes.retain(|_, at| now.duration_since(*at) < LOGIN_CACHE);
        }
        if successes.len() >= LOGIN_CACHE_ENTRIES {
            successes.clear();
        }
        successes.insert(tag, now);
    }
}

/// A place in the queue before Argon2; given back when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn take(count: &'a AtomicUsize) -> Option<Self> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let place = Self(count);
        (before < LOGINS_WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authenticator() -> Authenticator {
        with_limit(3)
    }

    fn with_limit(limit: u32) -> Authenticator {
        let hash = password::hash_password(&Secret::new("secret".to_owned())).expect("hashed");
        let text = format!(
            "hostname = \"mail.example.com\"\n[[domain]]\nname = \"example.com\"\n[limits]\nfailed_logins = {limit}\n\
             [[account]]\naddress = \"alice@example.com\"\npassword = \"{hash}\"\n[[account]]\naddress = \"off@example.com\"\n"
        );
        let config = crate::config::parse(std::path::Path::new("t.toml"), &text).expect("valid");
        let directory = Arc::new(ArcSwap::from_pointee(Directory::new(&config)));
        Authenticator::new(directory, Clock::system()).expect("random bytes")
    }

    async fn login(auth: &Authenticator, ip: &str, name: &str, password: &str) -> Result<String, LoginError> {
        let password = Secret::new(password.to_owned());
        let user = auth.login("imap", ip.parse().expect("an address"), name, &password).await?;
        Ok(user.account().address().to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn the_right_password_and_no_other_lets_in() {
        let auth = authenticator();
        assert_eq!(login(&auth, "192.0.2.1", "alice", "secret").await, Ok("alice@example.com".to_owned()));
        assert_eq!(login(&auth, "192.0.2.1", "ALICE@example.com", "secret").await, Ok("alice@example.com".to_owned()));
        assert_eq!(login(&auth, "192.0.2.2", "alice", "wrong").await, Err(LoginError::Refused));
        assert_eq!(login(&auth, "192.0.2.3", "alice", "").await, Err(LoginError::Refused));
        assert_eq!(login(&auth, "192.0.2.4", "nobody", "secret").await, Err(LoginError::Refused));
        assert_eq!(login(&auth, "192.0.2.5", "off@example.com", "secret").await, Err(LoginError::Refused));
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_ends_and_the_owner_stays_in() {
        let auth = authenticator();
        assert!(login(&auth, "192.0.2.1", "alice", "secret").await.is_ok());
        for _ in 0..3 {
            assert_eq!(login(&auth, "192.0.2.1", "nobody", "x").await, Err(LoginError::Refused));
        }
        assert_eq!(login(&auth, "192.0.2.1", "nobody", "x").await, Err(LoginError::TooManyFailures));
        assert!(login(&auth, "192.0.2.1", "alice", "secret").await.is_ok());
        assert!(login(&auth, "192.0.2.9", "alice", "secret").await.is_ok());
        let at = |text: &str| text.parse().expect("an address");
        assert!(!auth.closes_the_door(at("192.0.2.1")), "alice may come");
        for _ in 0..3 {
            assert_eq!(login(&auth, "198.51.100.1", "alice", "x").await, Err(LoginError::Refused));
        }
        assert!(auth.closes_the_door(at("198.51.100.1")));
    }

    #[tokio::test(start_paused = true)]
    async fn many_tries_at_once_are_no_more_than_one_after_the_other() {
        let auth = Arc::new(authenticator());
        // They take their turns in the order in which they come; the right one is the last.
        let tries: Vec<_> = (0..30)
            .map(|n| {
                let auth = Arc::clone(&auth);
                let password = if n == 29 { "secret" } else { "wrong" };
                tokio::spawn(async move { login(&auth, "192.0.2.1", "alice", password).await })
            })
            .collect();
        let mut refused = 0;
        for tried in tries {
            match tried.await.expect("no panic") {
                Err(LoginError::TooManyFailures) => refused += 1,
                Err(LoginError::Refused) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(refused >= 15, "{refused} were refused");
    }

    /// `cargo test --release --lib -- --ignored --nocapture the_time_of_an_answer` on a machine that does nothing else.
    #[tokio::test(start_paused = true)]
    #[ignore = "a measurement: other work on the machine disturbs it"]
    async fn the_time_of_an_answer_does_not_tell_who_exists() {
        let auth = with_limit(0);
        let mut times: [Vec<std::time::Duration>; 2] = Default::default();
        for n in 0..1000_u16 {
            let [high, low] = n.to_be_bytes();
            // Each is first as often as second.
            for turn in 0..2 {
                let who = usize::from((n + turn) % 2);
                let name = ["alice", "nobody"][who];
                let start = Instant::now();
                let peer = format!("198.{}.{high}.{low}", name.len());
                assert_eq!(login(&auth, &peer, name, "wrong").await, Err(LoginError::Refused));
                times[who].push(start.elapsed());
            }
        }
        let [known, unknown] = times.map(|mut times| {
            times.sort();
            times[times.len() / 2].as_secs_f64()
        });
        let difference = (known / unknown - 1.0).abs();
        assert!(difference < 0.05, "known {known} s, unknown {unknown} s");
        eprintln!("known {:.3} ms, unknown {:.3} ms, {:.2} %", known * 1e3, unknown * 1e3, difference * 100.0);
    }

    #[tokio::test(start_paused = true)]
    async fn counters_do_not_tell_who_exists() {
        for user in ["alice", "nobody"] {
            let auth = authenticator();
            // Whole networks get a ban at nine pairs of address and account: two spellings of a user are one account.
            for n in 0..9 {
                let host = format!("198.51.100.{}", n / 2);
                let name = [user.to_uppercase(), format!("{user}@mail.example.com")][n % 2].clone();
                assert_eq!(login(&auth, &host, &name, "wrong").await, Err(LoginError::Refused), "{name}");
            }
            assert!(auth.guard().bans().is_empty(), "{user}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_user_waits_as_long_as_a_wrong_password() {
        let auth = authenticator();
        let mut waits = Vec::new();
        for (peer, name) in [("192.0.2.1", "alice"), ("192.0.2.2", "nobody"), ("192.0.2.3", "off@example.com")] {
            let start = tokio::time::Instant::now();
            for _ in 0..3 {
                assert_eq!(login(&auth, peer, name, "wrong").await, Err(LoginError::Refused));
            }
            waits.push(start.elapsed().as_secs());
        }
        assert_eq!(waits, [3, 3, 3]);
    }
}
