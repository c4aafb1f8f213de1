//! Argon2id hashes: made, and compared in a time that says nothing.

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::PasswordVerifier;

use crate::mail::limits::PASSWORD_OCTETS;
use crate::mail::secret::Secret;

/// A hash that no password has, of the same cost as real ones: it is checked for users that do not exist.
pub(super) const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LW5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes a password with a fresh salt and the cost of the OWASP recommendation (19 MiB, two passes).
///
/// # Errors
/// An empty password, one that is too long, or no randomness.
pub fn hash_password(password: &Secret<String>) -> Result<String, String> {
    let password = password.reveal();
    if password.is_empty() {
        return Err("the password is empty".to_owned());
    }
    if password.len() > PASSWORD_OCTETS {
        return Err(format!("the password is longer than {PASSWORD_OCTETS} octets"));
    }
    Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

/// Whether the password has this hash. Takes some 20 ms of one core and 19 MiB.
pub(super) fn verify(password: &Secret<String>, hash: &str) -> bool {
    Argon2::default().verify_password(password.reveal().as_bytes(), hash).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_its_hash_and_no_other() {
        let secret = |t: &str| Secret::new(t.to_owned());
        let hash = hash_password(&secret("correct horse")).expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify(&secret("correct horse"), &hash));
        assert!(!verify(&secret("wrong horse"), &hash));
        assert!(!verify(&secret("anything"), NOBODY));
        assert!(hash_password(&secret("")).is_err());
        assert!(hash_password(&secret(&"x".repeat(2000))).is_err());
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_a_real_one() {
        let parsed = argon2::password_hash::phc::PasswordHash::new(NOBODY).expect("well formed");
        let cost = argon2::Params::try_from(&parsed).expect("parameters");
        let real = argon2::Params::default();
        assert_eq!((cost.m_cost(), cost.t_cost(), cost.p_cost()), (real.m_cost(), real.t_cost(), real.p_cost()));
    }
}
