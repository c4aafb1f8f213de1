//! SIGHUP: the configuration and the certificate are read again; what is wrong changes nothing.

use crate::config;
use crate::config::Config;
use crate::queue::Policy;

use super::Server;

impl Server {
    /// Puts a changed configuration into force, as a whole or not at all.
    pub(super) fn reload(&self) {
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
    pub(super) fn refresh_certificate(&self) {
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
