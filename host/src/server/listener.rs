//! Binding addresses, with errors that say what to do.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has it.
    #[error(
        "{what}: the address {address} is in use; stop what listens there, or choose another with {setting}"
    )]
    InUse {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The setting that moves it.
        setting: &'static str,
    },
    /// Anything else.
    #[error("{what}: cannot listen on {address} ({setting})")]
    Other {
        /// Which listener.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The setting that moves it.
        setting: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a listener is for, and which setting says where.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// As people call it.
    pub what: &'static str,
    /// Option and setting that move it.
    pub setting: &'static str,
}

/// Listens on an address.
pub async fn bind(address: SocketAddr, purpose: Purpose) -> Result<TcpListener, BindError> {
    let Purpose { what, setting } = purpose;
    TcpListener::bind(address).await.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            BindError::InUse {
                what,
                address,
                setting,
            }
        } else {
            BindError::Other {
                what,
                address,
                setting,
                source,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn address_in_use_names_the_setting() {
        let purpose = Purpose {
            what: "the gateway",
            setting: "--listen",
        };
        let first = bind(([127, 0, 0, 1], 0).into(), purpose).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, purpose).await.unwrap_err().to_string();
        assert!(
            error.contains("in use") && error.contains("--listen"),
            "{error}"
        );
        assert!(error.contains(&address.port().to_string()), "{error}");
    }
}
