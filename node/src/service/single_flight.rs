//! One read per key at a time, through all tiers beyond the memory; everybody who asks meanwhile shares it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stint_idgen::Key;
use tokio::sync::OnceCell;

use super::resolve::Tier;
use crate::domain::link::Link;
use crate::ports::link_store::StoreError;

/// What a read brings, and where from.
pub(super) type Outcome = Result<Option<(Arc<Link>, Tier)>, StoreError>;

/// The reads under way.
#[derive(Debug, Default)]
pub(super) struct SingleFlight {
    flights: Mutex<HashMap<Key, Arc<OnceCell<Outcome>>>>,
}

/// What a flight brought, and whether it may have begun before its caller came.
pub(super) struct Landed {
    pub(super) outcome: Outcome,
    pub(super) joined: bool,
}

/// One caller's part in a flight. The last one to leave, however it leaves, clears the flight away.
struct Passenger<'a> {
    flights: &'a SingleFlight,
    key: Key,
    flight: Arc<OnceCell<Outcome>>,
}

impl SingleFlight {
    /// Makes this `read` of a link, or joins the one that is under way.
    pub(super) async fn read<F, R>(&self, key: Key, read: F) -> Landed
    where
        F: FnOnce() -> R,
        R: Future<Output = Outcome>,
    {
        let (passenger, joined) = self.board(key);
        // A cell whose first caller went away is initialised by the next one.
        let outcome = passenger.flight.get_or_init(read).await.clone();
        self.clear(key, &passenger.flight);
        Landed { outcome, joined }
    }

    fn board(&self, key: Key) -> (Passenger<'_>, bool) {
        let mut flights = self.flights();
        let joined = flights.contains_key(&key);
        let flight = Arc::clone(flights.entry(key).or_default());
        (Passenger { flights: self, key, flight }, joined)
    }

    fn clear(&self, key: Key, flight: &Arc<OnceCell<Outcome>>) {
        let mut flights = self.flights();
        if flights.get(&key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
            flights.remove(&key);
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Arc<OnceCell<Outcome>>>> {
        // A poisoned lock holds whole entries still: every change of it is one insert or removal.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Passenger<'_> {
    fn drop(&mut self) {
        // Two owners, the map and this passenger: nobody else waits. (One who boards in between flies alone.)
        if Arc::strong_count(&self.flight) == 2 {
            self.flights.clear(self.key, &self.flight);
        }
    }
}
