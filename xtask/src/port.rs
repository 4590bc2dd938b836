//! Whether the address to serve on is free, asked before the long build rather than after it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::error::Error;

/// Refuses an address that cannot be listened on right now.
///
/// Another program may still take it during the build; the host then says so itself.
pub(crate) fn require_free(address: SocketAddr) -> Result<(), Error> {
    match TcpListener::bind(address) {
        Ok(_closed_at_once) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Error::PortInUse(address)),
        Err(source) => Err(Error::CannotListen { address, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_is_refused_while_someone_listens_on_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = require_free(address).unwrap_err();
        assert!(matches!(error, Error::PortInUse(found) if found == address));

        drop(listener);
        require_free(address).unwrap();
    }
}
