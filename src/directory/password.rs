//! Argon2id hashes: made, and compared in a time that says nothing.

use argon2::Algorithm;
use argon2::Argon2;
use argon2::Block;
use argon2::Params;
use argon2::Version;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use aws_lc_rs::constant_time::verify_slices_are_equal;

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

/// Whether the password has this Argon2id hash. Takes some 20 ms of one core and 19 MiB, which are given back to the
/// system at once. What is no such hash is nobody's.
pub(super) fn verify(password: &Secret<String>, hash: &str) -> bool {
    matches(password, hash).unwrap_or(false)
}

fn matches(password: &Secret<String>, hash: &str) -> Option<bool> {
    let stored = PasswordHash::new(hash).ok()?;
    let algorithm = Algorithm::try_from(stored.algorithm.as_str()).ok()?;
    let version = stored.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(&stored).ok()?;
    let (salt, expected) = (stored.salt.as_ref()?, stored.hash.as_ref()?);
    let mut memory = memory(params.block_count());
    let mut computed = vec![0; expected.as_bytes().len()];
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(password.reveal().as_bytes(), salt, &mut computed, &mut memory)
        .ok()?;
    Some(verify_slices_are_equal(&computed, expected.as_bytes()).is_ok())
}

/// The memory of one check. More is reserved than is used: glibc keeps freed pieces of up to 32 MiB for later, in each
/// of its arenas, and logins on many threads would then hold hundreds of megabytes for ever. A larger piece is mapped
/// for itself and given back when it is dropped; what is not touched costs nothing.
fn memory(blocks: usize) -> Vec<Block> {
    const MAPPED_FOR_ITSELF: usize = 33 << 20;
    let mut memory = Vec::with_capacity(blocks.max(MAPPED_FOR_ITSELF / size_of::<Block>()));
    memory.resize(blocks, Block::default());
    memory
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
        assert!(!verify(&secret("anything"), "") && !verify(&secret("anything"), "$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(hash_password(&secret("")).is_err());
        assert!(hash_password(&secret(&"x".repeat(2000))).is_err());
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_a_real_one() {
        let parsed = PasswordHash::new(NOBODY).expect("well formed");
        let cost = Params::try_from(&parsed).expect("parameters");
        let real = Params::default();
        assert_eq!((cost.m_cost(), cost.t_cost(), cost.p_cost()), (real.m_cost(), real.t_cost(), real.p_cost()));
    }
}
