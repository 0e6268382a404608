//! TLS, whose certificate and key can be replaced while the server runs.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::Error;
use crate::secret_file::warn_if_readable;

/// The certificate and the key of two files. Clones share them.
#[derive(Clone)]
pub(crate) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    acceptor: Arc<RwLock<TlsAcceptor>>,
}

impl Tls {
    /// Reads a certificate chain and a private key, both in PEM.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, or the key is not the key of the certificate.
    pub(crate) fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, Error> {
        let acceptor = Arc::new(RwLock::new(read(&certificate, &key)?));
        Ok(Self { certificate, key, acceptor })
    }

    /// Reads the files again, for new connections. After an error, the previous certificate stays in use.
    pub(crate) fn reload(&self) -> Result<(), Error> {
        let acceptor = read(&self.certificate, &self.key)?;
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(certificate: &PathBuf, key: &PathBuf) -> Result<TlsAcceptor, Error> {
    warn_if_readable(key);
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| format!("{}: {error}", certificate.display()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, secret);
    let mut config = config.map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}
