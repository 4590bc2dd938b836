//! Whom TLS trusts, and the configuration that follows.
//!
//! The roots are those of the system. They are read when the first `https` URL is asked for, once: a
//! bundle has some 150 certificates, takes milliseconds to read and 200 KiB to keep, and most edges
//! need none.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

/// The only protocol that is offered (ALPN).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Which authorities are trusted to vouch for servers.
#[derive(Clone, Debug, Default)]
pub enum Roots {
    /// Those of the system, or those that the environment variables `SSL_CERT_FILE` (PEM) and
    /// `SSL_CERT_DIR` (folders, separated by colons) name in their place.
    #[default]
    System,
    /// These and no others.
    Only(Vec<CertificateDer<'static>>),
}

/// No authority is trusted, so no server can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no root certificate was found, so no https server can be trusted: install the system's \
     ca-certificates, or name a file in SSL_CERT_FILE, and start again"
)]
pub struct NoRoots;

/// TLS 1.2 and 1.3 for clients. Clones share what was read.
#[derive(Clone)]
pub struct Tls {
    roots: Roots,
    /// Filled by the first `https` connection, also with a failure, so that the files are read and
    /// their absence is logged once. A connection that is given up leaves it empty for the next one.
    config: Arc<OnceCell<Result<Arc<ClientConfig>, NoRoots>>>,
}

impl Tls {
    /// Trusts `roots`; reads nothing yet.
    pub fn new(roots: Roots) -> Self {
        Self {
            roots,
            config: Arc::default(),
        }
    }

    /// The configuration for all connections.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, NoRoots> {
        let made = self.config.get_or_init(|| make(self.roots.clone())).await;
        made.clone()
    }
}

async fn make(roots: Roots) -> Result<Arc<ClientConfig>, NoRoots> {
    // Files are read, so no thread that serves.
    let trusted = tokio::task::spawn_blocking(|| trusted(roots)).await;
    let trusted = trusted.unwrap_or_else(|_| RootCertStore::empty());
    if trusted.is_empty() {
        tracing::error!("{NoRoots}");
        return Err(NoRoots);
    }
    Ok(Arc::new(configuration(trusted)))
}

fn trusted(roots: Roots) -> RootCertStore {
    let certificates = match roots {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "root certificates were left out");
            }
            found.certs
        }
        Roots::Only(certificates) => certificates,
    };
    let mut store = RootCertStore::empty();
    // Systems carry some that no program of today understands; the others are enough.
    let (added, ignored) = store.add_parsable_certificates(certificates);
    tracing::debug!(added, ignored, "root certificates were read");
    store
}

fn configuration(trusted: RootCertStore) -> ClientConfig {
    // Named here, so that it does not depend on which provider the process has installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    config
}
