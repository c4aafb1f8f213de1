//! The server's certificate: loaded, checked as a pair, swapped as a whole when its files change.

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::expiry::not_after;
use super::self_signed;
use crate::clock::Clock;
use crate::config;

/// The protocols keep their session tickets apart: a ticket of one is worth nothing at another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// SMTP and submission.
    Smtp,
    /// IMAP.
    Imap,
    /// POP3.
    Pop3,
}

/// Why there is no certificate. Names the file.
#[derive(Debug)]
pub struct Fault {
    file: PathBuf,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for Fault {}

/// The server's side of TLS. Cheap to share; the certificate inside may change at any moment.
#[derive(Debug)]
pub struct ServerTls {
    files: Files,
    current: ArcSwap<Loaded>,
    seen: Mutex<Stamps>,
    clock: Clock,
}

#[derive(Debug, Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

#[derive(Debug)]
struct Loaded {
    smtp: Arc<ServerConfig>,
    imap: Arc<ServerConfig>,
    pop3: Arc<ServerConfig>,
    ends: Option<SystemTime>,
}

/// Modification times of certificate and key.
type Stamps = [Option<SystemTime>; 2];

impl ServerTls {
    /// The named certificate, or the one kept in `keys` for these names.
    ///
    /// # Errors
    /// A file that is missing, unreadable or not PEM, or a key that is not the certificate's.
    pub fn load(config: &config::Tls, keys: &Path, names: &[String], clock: Clock) -> Result<Self, Fault> {
        let files = if let (Some(cert), Some(key)) = (&config.cert, &config.key) {
            Files { cert: cert.clone(), key: key.clone(), ca: cert.clone() }
        } else {
            let kept = self_signed::keep(keys, names, clock.wall()).map_err(|error| Fault {
                file: keys.to_owned(),
                what: format!("no certificate can be made: {error}"),
            })?;
            Files { cert: kept.cert, key: kept.key, ca: kept.ca }
        };
        let seen = Mutex::new(stamps(&files));
        let current = ArcSwap::from_pointee(read(&files)?);
        Ok(Self { files, current, seen, clock })
    }

    /// The configuration for a new connection.
    #[must_use]
    pub fn config(&self, service: Service) -> Arc<ServerConfig> {
        let loaded = self.current.load();
        Arc::clone(match service {
            Service::Smtp => &loaded.smtp,
            Service::Imap => &loaded.imap,
            Service::Pop3 => &loaded.pop3,
        })
    }

    /// The file against which the certificate verifies, where we made it; else the certificate itself.
    #[must_use]
    pub fn authority(&self) -> &Path {
        &self.files.ca
    }

    /// Reads the files again if they have changed; `Ok(true)` where a new certificate is in force. A pair that does not
    /// fit, as while it is being replaced, leaves the old one in force and is tried again at the next call.
    ///
    /// # Errors
    /// As [`ServerTls::load`]; the old certificate is still in force.
    pub fn refresh(&self) -> Result<bool, Fault> {
        let now = stamps(&self.files);
        let changed = *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != now;
        if changed {
            self.current.store(Arc::new(read(&self.files)?));
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        Ok(changed)
    }

    /// How long the certificate still holds; zero when it has ended, `None` when it does not say.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let ends = self.current.load().ends?;
        Some(ends.duration_since(self.clock.wall()).unwrap_or(Duration::ZERO))
    }
}

fn stamps(files: &Files) -> Stamps {
    let stamp = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    [stamp(&files.cert), stamp(&files.key)]
}

fn read(files: &Files) -> Result<Loaded, Fault> {
    let fault = |file: &Path, what: String| Fault { file: file.to_owned(), what };
    let pem = |file: &Path, error: rustls::pki_types::pem::Error| fault(file, format!("not usable: {error}"));
    // Opened once to tell a missing file from a bad one: the PEM reader says both in its own words.
    for file in [&files.cert, &files.key] {
        std::fs::File::open(file).map_err(|error: io::Error| fault(file, format!("cannot be read: {error}")))?;
    }
    let chain = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem(&files.cert, error))?;
    let Some(first) = chain.first() else {
        return Err(fault(&files.cert, "has no certificate in PEM".to_owned()));
    };
    let ends = not_after(first);
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| pem(&files.key, error))?;
    let config = || {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let mut config = builder
            .with_no_client_auth()
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|e| e.to_string())?;
        config.ticketer = Ticketer::new().map_err(|error| error.to_string())?;
        // One ticket is enough for one resumption, and fits into the packet of the handshake's end.
        config.send_tls13_tickets = 1;
        Ok::<_, String>(Arc::new(config))
    };
    let make = || config().map_err(|what| fault(&files.key, format!("does not fit {}: {what}", files.cert.display())));
    Ok(Loaded { smtp: make()?, imap: make()?, pop3: make()?, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(cert: Option<PathBuf>, key: Option<PathBuf>) -> config::Tls {
        config::Tls { cert, key }
    }

    fn load(config: &config::Tls, keys: &Path) -> Result<ServerTls, Fault> {
        ServerTls::load(config, keys, &["localhost".to_owned(), "127.0.0.1".to_owned()], Clock::system())
    }

    #[test]
    fn a_certificate_is_made_once_and_kept() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let first = load(&tls(None, None), dir.path()).expect("made");
        let text = std::fs::read_to_string(&first.files.cert).expect("there");
        let again = load(&tls(None, None), dir.path()).expect("kept");
        assert_eq!(std::fs::read_to_string(&again.files.cert).expect("there"), text);
        assert!(again.remaining().expect("an end") > Duration::from_secs(700 * 86_400));
    }

    #[test]
    fn a_missing_file_and_a_wrong_pair_are_named() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let one = load(&tls(None, None), &dir.path().join("one")).expect("made");
        let two = load(&tls(None, None), &dir.path().join("two")).expect("made");
        let wrong = tls(Some(one.files.cert.clone()), Some(two.files.key.clone()));
        let fault = load(&wrong, dir.path()).expect_err("not a pair").to_string();
        assert!(fault.contains("two/key.pem: does not fit"), "{fault}");
        let missing = tls(Some(dir.path().join("none.pem")), Some(two.files.key.clone()));
        let fault = load(&missing, dir.path()).expect_err("missing").to_string();
        assert!(fault.contains("none.pem: cannot be read"), "{fault}");
        let empty = tls(Some(two.files.key.clone()), Some(two.files.key.clone()));
        assert!(load(&empty, dir.path()).expect_err("no certificate").to_string().contains("no certificate"));
    }

    #[test]
    fn a_replaced_pair_comes_into_force_and_a_broken_one_does_not() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let made = load(&tls(None, None), &dir.path().join("one")).expect("made");
        let other = load(&tls(None, None), &dir.path().join("two")).expect("made");
        assert!(!made.refresh().expect("unchanged"));
        std::fs::copy(&other.files.cert, &made.files.cert).expect("copied");
        assert!(made.refresh().is_err(), "new certificate, old key");
        std::fs::copy(&other.files.key, &made.files.key).expect("copied");
        assert!(made.refresh().expect("a pair"));
    }
}
