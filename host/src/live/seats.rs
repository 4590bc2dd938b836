//! Who has how many sockets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::LiveConfig;

/// All seats.
#[derive(Debug)]
pub(super) struct Seats {
    max: usize,
    max_per_tenant: usize,
    max_compressed: usize,
    /// Held for counting only. Every seat gives back what it took when it is dropped.
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    compressed: usize,
    /// Only tenants that have a socket.
    tenants: HashMap<Arc<str>, usize>,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    /// Everywhere.
    #[error("{max} sockets are open already; no more are accepted")]
    All { max: usize },
    /// For this tenant.
    #[error("{max} sockets of this tenant are open already; no more are accepted")]
    Tenant { max: usize },
}

/// One socket's place; dropping it makes room.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    tenant: Option<Arc<str>>,
    compressed: bool,
}

impl Seats {
    pub(super) fn new(config: &LiveConfig) -> Arc<Self> {
        Arc::new(Self {
            max: config.max_sockets,
            max_per_tenant: config.max_sockets_per_tenant,
            max_compressed: config.max_compressed,
            taken: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more socket.
    pub(super) fn take(self: &Arc<Self>, tenant: Option<Arc<str>>) -> Result<Seat, Full> {
        let mut taken = self.lock();
        if taken.all >= self.max {
            return Err(Full::All { max: self.max });
        }
        if let Some(tenant) = &tenant {
            let max = self.max_per_tenant;
            let of_tenant = taken.tenants.entry(tenant.clone()).or_default();
            if *of_tenant >= max {
                return Err(Full::Tenant { max });
            }
            *of_tenant += 1;
        }
        taken.all += 1;
        Ok(Seat {
            seats: self.clone(),
            tenant,
            compressed: false,
        })
    }
}

impl Seat {
    /// Whether this socket may compress.
    pub(super) fn compress(&mut self) -> bool {
        let mut taken = self.seats.lock();
        if !self.compressed && taken.compressed < self.seats.max_compressed {
            taken.compressed += 1;
            self.compressed = true;
        }
        self.compressed
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all -= 1;
        taken.compressed -= usize::from(self.compressed);
        if let Some(tenant) = &self.tenant
            && let Some(of_tenant) = taken.tenants.get_mut(tenant)
        {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                taken.tenants.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(all: usize, per_tenant: usize, compressed: usize) -> Arc<Seats> {
        Seats::new(&LiveConfig {
            max_sockets: all,
            max_sockets_per_tenant: per_tenant,
            max_compressed: compressed,
            ..LiveConfig::default()
        })
    }

    #[test]
    fn a_seat_is_free_again_when_its_socket_is_gone() {
        let seats = seats(3, 2, 1);
        let acme = || Some(Arc::from("acme"));
        let first = seats.take(acme()).unwrap();
        let _second = seats.take(acme()).unwrap();
        assert_eq!(seats.take(acme()).unwrap_err(), Full::Tenant { max: 2 });
        let anonymous = seats.take(None).unwrap();
        assert_eq!(seats.take(None).unwrap_err(), Full::All { max: 3 });
        drop((first, anonymous));
        seats.take(acme()).unwrap();
        assert_eq!(seats.lock().all, 1);
    }

    #[test]
    fn only_so_many_sockets_compress() {
        let seats = seats(9, 9, 1);
        let mut first = seats.take(None).unwrap();
        assert!(first.compress() && first.compress());
        let mut second = seats.take(None).unwrap();
        assert!(!second.compress());
        drop(first);
        assert!(second.compress());
    }

    #[test]
    fn tenants_without_sockets_are_forgotten() {
        let seats = seats(9, 9, 9);
        drop(seats.take(Some(Arc::from("acme"))).unwrap());
        assert!(seats.lock().tenants.is_empty());
    }
}
