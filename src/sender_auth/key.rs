//! Keys of DKIM and ARC (RFC 6376 §3.6, RFC 8463), and whether a signature is theirs.
//!
//! The only file that touches the library for sender authentication: it reads the key and does the arithmetic. What
//! the record says beside the key is read here.

use mail_auth::common::crypto::Algorithm;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;

use super::tags::Tags;
use super::tags::trim;
use crate::dns::Dns;
use crate::dns::LookupError;
use crate::mail::limits::DKIM_KEY_RECORDS;
use crate::mail::limits::DKIM_RSA_BITS;

/// How it was signed. SHA-1 has gone (RFC 8301 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `rsa-sha256`
    Rsa,
    /// `ed25519-sha256`
    Ed25519,
}

/// Why there is no key to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// It could not be found out now.
    Temporary(String),
    /// There is none, or none that counts.
    Permanent(&'static str),
}

/// A key that can be used.
pub struct Key {
    key: DomainKey,
    method: Method,
    /// `t=s`: the identity must be the domain itself (RFC 6376 §3.6.1).
    pub exact_domain: bool,
    /// `t=y`: the domain is trying out (RFC 6376 §3.6.1).
    pub testing: bool,
}

impl Key {
    /// The key of a selector and a domain for this method.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn find(dns: &Dns, selector: &str, domain: &str, method: Method) -> Result<Self, KeyError> {
        let texts = match dns.texts(&format!("{selector}._domainkey.{domain}")).await {
            Ok(texts) => texts,
            Err(LookupError::NoSuchName) => return Err(KeyError::Permanent("no key in DNS")),
            Err(LookupError::Temporary(why)) => return Err(KeyError::Temporary(why)),
        };
        let mut problem = KeyError::Permanent("no key in DNS");
        // RFC 6376 §3.6.2.2: what several records mean is not said; the first that can be used is.
        for text in texts.iter().take(DKIM_KEY_RECORDS) {
            match Self::parse(text, method) {
                Ok(key) => return Ok(key),
                Err(why) => problem = KeyError::Permanent(why),
            }
        }
        Err(problem)
    }

    /// Reads a key record.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn parse(text: &[u8], method: Method) -> Result<Self, &'static str> {
        let tags = Tags::lenient(text).ok_or("key record that cannot be read")?;
        // RFC 6376 §3.6.1: the version, where there is one, comes first.
        if tags.get("v").is_some_and(|v| v != "DKIM1" || tags.first() != Some(("v", v))) {
            return Err("key record of another version");
        }
        let lists =
            |tag: &str, word: &str| tags.get(tag).is_none_or(|list| list.split(':').any(|item| trim(item) == word));
        let kind = if method == Method::Rsa { "rsa" } else { "ed25519" };
        if tags.get("k").unwrap_or("rsa") != kind {
            return Err("key of another kind");
        }
        if !lists("h", "sha256") {
            return Err("key that is not for SHA-256");
        }
        if !lists("s", "email") && !lists("s", "*") {
            return Err("key that is not for mail");
        }
        match tags.get("p") {
            None => return Err("key record without a key"),
            Some("") => return Err("key that was revoked"),
            Some(_) => {}
        }
        let key = DomainKey::parse(text).map_err(|_| "key that cannot be read")?;
        // RFC 8301 §3.2: at least 1024 bits; far larger ones only cost time.
        if method == Method::Rsa && !DKIM_RSA_BITS.contains(&key.p.public_key_bits()) {
            return Err("RSA key of a size that is not allowed");
        }
        let flag = |wanted| tags.get("t").is_some_and(|flags| flags.split(':').any(|flag| trim(flag) == wanted));
        Ok(Self { key, method, exact_domain: flag("s"), testing: flag("y") })
    }

    /// Whether this is the signature of `signed`.
    #[must_use]
    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let algorithm = match self.method {
            Method::Rsa => Algorithm::RsaSha256,
            Method::Ed25519 => Algorithm::Ed25519Sha256,
        };
        self.key.p.verify_bytes(signed, signature, algorithm).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_no_keys() {
        for (text, why) in [
            (&b""[..], "key record without a key"),
            (b"v=DKIM2; p=AAAA", "key record of another version"),
            (b"p=AAAA; v=DKIM1", "key record of another version"),
            (b"v=DKIM1; p=", "key that was revoked"),
            (b"v=DKIM1; k=ed25519; p=AAAA", "key of another kind"),
            (b"v=DKIM1; h=sha1; p=AAAA", "key that is not for SHA-256"),
            (b"v=DKIM1; s=tlsrpt; p=AAAA", "key that is not for mail"),
            (b"v=DKIM1; k=rsa; omg", "key record that cannot be read"),
            (b"v=DKIM1; p=AAAA", "RSA key of a size that is not allowed"),
        ] {
            assert_eq!(Key::parse(text, Method::Rsa).err(), Some(why), "{}", text.escape_ascii());
        }
        for size in [1, 100, 65_000] {
            drop(Key::parse(format!("v=DKIM1; p={}", "A".repeat(size)).as_bytes(), Method::Rsa));
            drop(Key::parse(format!("v=DKIM1; k=ed25519; p={}", "A".repeat(size)).as_bytes(), Method::Ed25519));
        }
    }
}
