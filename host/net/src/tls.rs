//! TLS settings of a connection: whom to trust, and who we are.
//!
//! In: paths of PEM files, as a config writes them. Out: what rustls wants, or a sentence that names the
//! file and the remedy.

use crate::limits;
use hyper_rustls::ConfigBuilderExt;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walhost_core::backend::Complaint;

/// The table `tls = { ca, cert, key }`: PEM files. Relative paths are made absolute by whoever read the
/// config.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Certificates of the authorities to trust, instead of the public ones. Default: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Our certificate and its chain, shown to a server that asks; needs `key`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// The private key of `cert`, not encrypted. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl TlsSettings {
    /// Makes relative paths absolute, from the directory of the config file they stand in.
    pub fn resolve(&mut self, directory: &Path) {
        for path in [&mut self.ca, &mut self.cert, &mut self.key].into_iter().flatten() {
            *path = directory.join(&*path);
        }
    }

    /// What cannot be seen key by key. Files are not opened. `table` is where the settings stand: `tls`.
    pub fn complaints(&self, table: &str) -> Vec<Complaint> {
        let alone = |given: &str, missing: &str| Complaint {
            key: format!("{table}.{given}"),
            what: format!("`{given}` is of no use without `{missing}`"),
            help: format!("add `{missing}`, or leave `{given}` out"),
        };
        match (&self.cert, &self.key) {
            (Some(_), None) => vec![alone("cert", "key")],
            (None, Some(_)) => vec![alone("key", "cert")],
            _ => Vec::new(),
        }
    }

    /// Reads the files. The error is a sentence that names the file; a key's bytes are never in it (I40).
    pub fn client_config(&self) -> Result<Arc<rustls::ClientConfig>, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        let builder = match &self.ca {
            Some(path) => builder.with_root_certificates(trusted(path)?),
            None => builder.with_webpki_roots(),
        };
        let config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| format!("{} does not go with {}: {error}", key.display(), cert.display()))?,
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => return Err("`cert` is of no use without `key`".into()),
            (None, Some(_)) => return Err("`key` is of no use without `cert`".into()),
        };
        Ok(Arc::new(config))
    }
}

fn trusted(path: &Path) -> Result<rustls::RootCertStore, String> {
    let mut store = rustls::RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| format!("{}: not a certificate to trust: {error}", path.display()))?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{} has no `BEGIN CERTIFICATE`: a PEM file is wanted", path.display()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("{} is not PEM: {error}", path.display())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read(path)?;
    if text.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) {
        return Err(format!("the key in {} is encrypted: write it out without a pass phrase", path.display()));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| format!("{} has no `BEGIN PRIVATE KEY`", path.display()))
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let shown = |error: std::io::Error| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(shown)?.len();
    if size > limits::PEM_BYTES_MAX {
        return Err(format!("{} is larger than {} bytes", path.display(), limits::PEM_BYTES_MAX));
    }
    std::fs::read(path).map_err(shown)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn self_signed(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn every_wrong_file_is_named_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let ((cert, key), (_, other_key)) = (self_signed("a"), self_signed("b"));
        let (cert, key) = (write("cert.pem", &cert), write("key.pem", &key));
        let other = write("other.pem", &other_key);
        let empty = write("empty.pem", "nothing here");
        let locked =
            write("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n");
        let missing = Some(dir.path().join("missing.pem"));
        let of = |ca: &Option<PathBuf>, cert: &Option<PathBuf>, key: &Option<PathBuf>| {
            let settings = TlsSettings { ca: ca.clone(), cert: cert.clone(), key: key.clone() };
            settings.client_config().map(drop)
        };
        assert_eq!(of(&cert, &cert, &key), Ok(()));
        assert_eq!(of(&None, &None, &None), Ok(()));
        assert!(of(&missing, &None, &None).unwrap_err().contains("missing.pem"));
        assert!(of(&empty, &None, &None).unwrap_err().contains("BEGIN CERTIFICATE"));
        assert!(of(&None, &cert, &other).unwrap_err().contains("does not go with"));
        assert!(of(&None, &cert, &empty).unwrap_err().contains("BEGIN PRIVATE KEY"));
        assert!(of(&None, &cert, &locked).unwrap_err().contains("pass phrase"));
        assert!(of(&None, &cert, &None).unwrap_err().contains("key"));
        assert_eq!(TlsSettings { cert, ..Default::default() }.complaints("tls")[0].key, "tls.cert");
    }
}
