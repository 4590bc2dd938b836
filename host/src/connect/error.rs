//! Why there is no connection.

use std::io;
use std::time::Duration;

use super::NoRoots;

/// What a connector gives as a reason.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no connection. A client of `hyper_util` has it as the source of its own error.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name was not found, or nobody accepts connections there.
    #[error("no TCP connection")]
    Tcp(#[source] BoxError),
    /// Nobody is trusted, so nobody was asked.
    #[error(transparent)]
    NoRoots(#[from] NoRoots),
    /// The server's certificate is not trusted, not valid now, or of another name.
    #[error("the server's certificate is refused: {0}")]
    Certificate(rustls::Error),
    /// The server ended the handshake and said why.
    #[error("the server ended the TLS handshake: {0:?}")]
    Alert(rustls::AlertDescription),
    /// There is no common version of TLS, or the other side does not speak it.
    #[error("no TLS with the server: {0}")]
    Tls(io::Error),
    /// TCP and TLS together took longer than this.
    #[error("no TLS connection within {0:?}")]
    HandshakeTimeout(Duration),
}

impl ConnectError {
    /// Sorts what the `https` connector gives: it wraps all errors of TLS, and only those, in an
    /// [`io::Error`].
    pub(super) fn of_https(error: BoxError) -> Self {
        match error.downcast::<io::Error>() {
            Ok(error) => Self::of_tls(*error),
            Err(error) => Self::Tcp(error),
        }
    }

    fn of_tls(error: io::Error) -> Self {
        use rustls::Error;

        match cause(&error) {
            Some(cause @ (Error::InvalidCertificate(_) | Error::NoCertificatesPresented)) => {
                Self::Certificate(cause.clone())
            }
            Some(Error::AlertReceived(alert)) => Self::Alert(*alert),
            _ => Self::Tls(error),
        }
    }
}

/// What TLS says, below however many layers of input and output.
fn cause(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner
        .downcast_ref()
        .or_else(|| cause(inner.downcast_ref::<io::Error>()?))
}
