//! TLS: whom we trust, and what a server that asks for our certificate says.

use super::*;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::path::PathBuf;

struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { dir, issuer }
    }

    /// Certificate and key for a name, as files.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let (cert, file) = (self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}.key")));
        std::fs::write(&cert, certificate.pem()).unwrap();
        std::fs::write(&file, key.serialize_pem()).unwrap();
        (cert, file)
    }

    fn trusted(&self) -> TlsSettings {
        TlsSettings { ca: Some(self.dir.path().join("ca.pem")), ..TlsSettings::default() }
    }

    /// An HTTPS server for `name`; with `asks`, it wants a certificate of this authority.
    async fn serve(&self, name: &str, asks: bool) -> SocketAddr {
        let (cert, key) = self.issue(name);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.dir.path().join("ca.pem")).unwrap()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
        let config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (address, _) = server(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer_each(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
            }
        })
        .await;
        address
    }
}

async fn ask(tls: TlsSettings, host: &str, address: SocketAddr) -> Result<Response, Fault> {
    let url = format!("https://{host}:{}/", address.port());
    client_with(tls).send(get(&url), &Allow::any(), Duration::from_secs(5), 100).await
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_its_name() {
    let authority = Authority::new();
    let address = authority.serve("partner.example", false).await;
    assert_eq!(&ask(authority.trusted(), "partner.example", address).await.unwrap().value[..], b"ok");
    let other_name = ask(authority.trusted(), "other.example", address).await.unwrap_err();
    assert!(matches!(other_name, Fault::Tls(_)), "{other_name}");
    let public = ask(TlsSettings::default(), "partner.example", address).await.unwrap_err();
    assert!(matches!(public, Fault::Tls(_)), "{public}");
    let stranger = ask(Authority::new().trusted(), "partner.example", address).await.unwrap_err();
    assert!(matches!(stranger, Fault::Tls(_)), "{stranger}");
}

#[tokio::test]
async fn a_server_that_asks_for_our_certificate_gets_it_or_the_fault_is_tls() {
    let authority = Authority::new();
    let address = authority.serve("partner.example", true).await;
    let (cert, key) = authority.issue("walhost");
    let with = TlsSettings { cert: Some(cert), key: Some(key), ..authority.trusted() };
    assert_eq!(ask(with, "partner.example", address).await.unwrap().status.as_u16(), 200);
    let without = ask(authority.trusted(), "partner.example", address).await.unwrap_err();
    assert!(matches!(without, Fault::Tls(_)), "{without}");
}

#[tokio::test]
async fn https_to_a_plain_server_is_a_tls_fault() {
    let (address, _) = server(|stream| async move { answer_each(stream, b"HTTP/1.1 200 OK\r\n\r\n").await }).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let chatty = listener.local_addr().unwrap();
    walhost_core::exec::task(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 smtp ready\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let fault = ask(TlsSettings::default(), "a", chatty).await.unwrap_err();
    assert!(matches!(fault, Fault::Tls(_)), "{fault}");
    let silent = ask(TlsSettings::default(), "a", address).await.unwrap_err();
    assert!(matches!(silent, Fault::Tls(_) | Fault::ConnectTimeout(_)), "{silent}");
}
