//! The certificate of the first start, when the configuration names none.
//!
//! A small authority signs it and its key is thrown away, so that a client can be given one file, `ca.pem`, against
//! which the certificate verifies like any other. Kept in `keys/`; made anew when it is about to end.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;

use super::expiry::not_after;
use crate::fsio;
use rustls::pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Clients refuse certificates that are valid for longer (Apple: 825 days for private authorities).
const LIFETIME: Duration = Duration::from_secs(800 * 86_400);

/// A new one is made when less than this is left.
const RENEW: Duration = Duration::from_secs(30 * 86_400);

/// The files of a certificate.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
    pub(super) ca: PathBuf,
}

/// The certificate in `folder` for these names; made when it is missing or about to end.
///
/// # Errors
/// What the disk or the key generation says.
pub(super) fn keep(folder: &Path, names: &[String], now: SystemTime) -> io::Result<Files> {
    let files = Files { cert: folder.join("cert.pem"), key: folder.join("key.pem"), ca: folder.join("ca.pem") };
    let good = CertificateDer::from_pem_file(&files.cert)
        .ok()
        .and_then(|c| not_after(&c))
        .is_some_and(|end| end > now + RENEW);
    let marker = folder.join("names");
    let same_names = std::fs::read_to_string(&marker).is_ok_and(|text| text == names.join("\n"));
    if !(good && same_names && files.key.exists() && files.ca.exists()) {
        fsio::create_dir_durably(folder)?;
        let (ca, cert, key) = make(names, now).map_err(io::Error::other)?;
        fsio::replace(&files.ca, ca.as_bytes())?;
        fsio::replace(&files.key, key.as_bytes())?;
        fsio::replace(&files.cert, cert.as_bytes())?;
        fsio::replace(&marker, names.join("\n").as_bytes())?;
    }
    Ok(files)
}

/// The authority, the certificate and its private key, in PEM.
fn make(names: &[String], now: SystemTime) -> Result<(String, String, String), rcgen::Error> {
    let from = (now - Duration::from_secs(86_400)).into();
    let until = (now + LIFETIME).into();
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let first = names.first().map_or("localhost", String::as_str);
    ca.distinguished_name.push(DnType::CommonName, format!("{first} (made by this mail server)"));
    (ca.not_before, ca.not_after) = (from, until);
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(names.to_vec())?;
    leaf.distinguished_name.push(DnType::CommonName, first);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    (leaf.not_before, leaf.not_after) = (from, until);
    let cert = leaf.signed_by(&key, &issuer)?;
    Ok((ca_pem, cert.pem(), key.serialize_pem()))
}
