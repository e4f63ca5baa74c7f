//! Mutual TLS: both sides show a certificate that one of the given authorities has signed.

use std::fmt;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Connection, Dial};

/// HTTP/2, as agreed in the handshake.
const ALPN: &[u8] = b"h2";

/// The PEM files of one node.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Its certificate, followed by those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities that sign the others' certificates.
    pub authorities: PathBuf,
}

/// Why the certificates can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds nothing of the kind.
    #[error("can't read {what} from {}", path.display())]
    File {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The certificate and the key don't fit, or the authorities can't be used.
    #[error("the certificate {}, its key and its authorities can't be used together", path.display())]
    Unusable {
        /// The certificate.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Both ends of mutual TLS.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

/// Dials through another dialer, then shakes hands.
#[derive(Debug)]
struct TlsDialer {
    tls: Tls,
    inner: Arc<dyn Dial>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates("a certificate", &files.certificate)?;
        let key = read("a private key", &files.key, |bytes| PrivateKeyDer::from_pem_reader(BufReader::new(bytes)))?;
        let mut roots = RootCertStore::empty();
        let unusable = |source| TlsError::Unusable { path: files.certificate.clone(), source };
        for authority in certificates("an authority's certificate", &files.authorities)? {
            roots.add(authority).map_err(|error| unusable(error.into()))?;
        }
        let roots = Arc::new(roots);
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(error.into()))?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|error| unusable(error.into()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|error| unusable(error.into()))?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .map_err(|error| unusable(error.into()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| unusable(error.into()))?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { acceptor: Arc::new(server).into(), connector: Arc::new(client).into() })
    }

    /// Shakes hands on an accepted connection.
    pub(in super::super) async fn accept(&self, connection: Connection) -> io::Result<Connection> {
        Ok(Box::new(self.acceptor.accept(connection).await?))
    }

    /// A dialer that shakes hands on what `inner` dials.
    pub fn dialer(self, inner: Arc<dyn Dial>) -> Arc<dyn Dial> {
        Arc::new(TlsDialer { tls: self, inner })
    }
}

#[async_trait]
impl Dial for TlsDialer {
    async fn dial(&self, address: &str) -> io::Result<Connection> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connection = self.inner.dial(address).await?;
        Ok(Box::new(self.tls.connector.connect(name, connection).await?))
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = read(what, path, |bytes| CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>())?;
    if found.is_empty() {
        let source = io::Error::new(io::ErrorKind::InvalidData, "there is none in it");
        return Err(TlsError::File { what, path: path.to_owned(), source });
    }
    Ok(found)
}

fn read<T, E>(what: &'static str, path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, E>) -> Result<T, TlsError>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let failed = |source| TlsError::File { what, path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    parse(&bytes).map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))
}
