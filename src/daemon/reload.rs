//! SIGHUP: the configuration and the certificate are read again; what is wrong changes nothing.
//!
//! Files are read and directories made where waiting is allowed: the loop that feeds the watchdog only says what is wanted.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::aliases::Aliases;
use crate::config;
use crate::config::Config;
use crate::directory::Directory;
use crate::net::Limiter;
use crate::queue::Policy;
use crate::queue::Queue;
use crate::store::Store;
use crate::tls::ServerTls;

/// What is to be read again. Several wishes while one is being fulfilled are one.
#[derive(Default)]
pub(super) struct Wanted {
    configuration: Notify,
    certificate: Notify,
}

impl Wanted {
    /// Everything.
    pub(super) fn configuration(&self) {
        self.configuration.notify_one();
    }

    /// The certificate, where its files have changed.
    pub(super) fn certificate(&self) {
        self.certificate.notify_one();
    }
}

/// All that a new configuration changes.
pub(super) struct Reloader {
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) directory: Arc<ArcSwap<Directory>>,
    pub(super) aliases: Arc<Aliases>,
    pub(super) tls: Arc<ServerTls>,
    pub(super) limiter: Limiter,
    pub(super) queue: Queue,
    pub(super) store: Arc<Store>,
}

impl Reloader {
    /// Does what is wanted, one after the other, for as long as the server lives.
    pub(super) async fn tend(self, wanted: Arc<Wanted>) {
        let this = Arc::new(self);
        loop {
            let everything = tokio::select! {
                () = wanted.configuration.notified() => true,
                () = wanted.certificate.notified() => false,
            };
            let this = Arc::clone(&this);
            let read = move || if everything { this.reload() } else { this.refresh_certificate() };
            // A panic in there was logged where it happened.
            tokio::task::spawn_blocking(read).await.ok();
        }
    }

    /// Puts a changed configuration into force, as a whole or not at all.
    fn reload(&self) {
        let old = self.config.load_full();
        match config::load(&old.file) {
            Ok(new) => {
                for key in needs_restart(&old, &new) {
                    tracing::warn!(key, "changed; this key takes effect at the next start");
                }
                self.put_into_force(new);
            }
            Err(problems) => {
                for line in problems.lines() {
                    tracing::error!(problem = line, "configuration not reloaded");
                }
            }
        }
        self.refresh_certificate();
    }

    fn put_into_force(&self, new: Config) {
        if let Err(error) = self.aliases.install(new, &self.config, &self.directory) {
            tracing::error!(%error, "configuration not reloaded: the key of SRS");
            return;
        }
        let config = self.config.load();
        self.store.set_quotas(self.directory.load().quotas());
        self.limiter.set(config.limits.clone());
        self.queue.set_policy(Policy::new(&config.queue));
        tracing::info!(file = %config.file.display(), "configuration reloaded");
    }

    /// Looks whether the certificate's files have changed.
    fn refresh_certificate(&self) {
        match self.tls.refresh() {
            Ok(true) => tracing::info!("new certificate in force"),
            Ok(false) => {}
            Err(fault) => tracing::error!(%fault, "the old certificate stays in force"),
        }
    }
}

/// The changed keys that only a new start can follow: they are bound, opened or locked once.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let mut differs = |key, old: String, new: String| {
        if old != new {
            keys.push(key);
        }
    };
    differs("listen", format!("{:?}", old.listen), format!("{:?}", new.listen));
    differs("lmtp", format!("{:?}", old.lmtp), format!("{:?}", new.lmtp));
    differs("storage.folder", format!("{:?}", old.storage.folder), format!("{:?}", new.storage.folder));
    differs("storage.layout", format!("{:?}", old.storage.layout), format!("{:?}", new.storage.layout));
    differs("tls", format!("{:?}", old.tls), format!("{:?}", new.tls));
    differs("dns", format!("{:?}", old.dns), format!("{:?}", new.dns));
    differs("log", format!("{:?}", old.log), format!("{:?}", new.log));
    let concurrency = |c: &Config| format!("{} {}", c.outbound.concurrency, c.outbound.concurrency_per_destination);
    differs("outbound.concurrency", concurrency(old), concurrency(new));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_restart_is_named() {
        let config = |text: &str| {
            let text = format!("hostname = \"mail.example.com\"\n{text}");
            config::parse(std::path::Path::new("t.toml"), &text).expect("valid")
        };
        let old = config("");
        assert!(needs_restart(&old, &config("[smtp]\ntimeout = \"1m\"\n")).is_empty());
        assert_eq!(needs_restart(&old, &config("[listen]\nsmtp = []\n[dns]\nresolver = \"off\"\n")), ["listen", "dns"]);
    }
}
