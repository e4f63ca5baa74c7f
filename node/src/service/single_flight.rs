//! One read of the store per key at a time; everybody who asks meanwhile shares it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stint_idgen::Key;
use tokio::sync::OnceCell;

use crate::domain::link::Link;
use crate::ports::link_store::{LinkStore, StoreError};

type Outcome = Result<Option<Arc<Link>>, StoreError>;

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
    /// Reads a link from `store`, or joins the read of it that is under way.
    pub(super) async fn read(&self, key: Key, store: &dyn LinkStore) -> Landed {
        let (passenger, joined) = self.board(key);
        // A cell whose first caller went away is initialised by the next one.
        let outcome = passenger.flight.get_or_init(|| async { Ok(store.find(key).await?.map(Arc::new)) }).await.clone();
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
