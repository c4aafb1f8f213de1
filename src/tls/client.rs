//! TLS towards other mail servers: where any certificate will do, and where it has to be the host's.
//!
//! Opportunistic TLS (RFC 7435) guards against those who only listen. A certificate that does not verify is still
//! better than none at all, which is what the sender would fall back to.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::Error;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;

/// A client configuration that takes any certificate, but still wants the handshake signed by its key.
///
/// # Errors
/// Never with the provider that is built in.
pub fn any_certificate() -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Where systems keep the certificates of the authorities they trust, all in one file.
const ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A client configuration that takes only a certificate for the name of the host, by an authority that this system
/// trusts. Reads files.
///
/// # Errors
/// Why there is none; the words are for the operator.
pub fn verified_certificate() -> Result<Arc<ClientConfig>, String> {
    let bundle = ROOTS.iter().find(|path| std::path::Path::new(path).exists());
    verified_by(bundle.ok_or("this system has no file with the certificates of authorities")?)
}

fn verified_by(bundle: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let read = CertificateDer::pem_file_iter(bundle).map_err(|error| format!("{bundle}: {error}"))?;
    // Old ones that rustls does not read are in every bundle.
    let (taken, _) = roots.add_parsable_certificates(read.filter_map(Result::ok));
    if taken == 0 {
        return Err(format!("{bundle} has no certificates"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_without_certificates_verifies_nothing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("roots.pem");
        let name = path.to_str().expect("text");
        assert!(verified_by(name).is_err(), "it is not there");
        std::fs::write(&path, b"none").expect("written");
        assert!(verified_by(name).is_err(), "it is empty");
        let key = rcgen::generate_simple_self_signed(vec!["x.example".to_owned()]).expect("made");
        std::fs::write(&path, key.cert.pem()).expect("written");
        assert!(verified_by(name).is_ok());
    }
}
