//! How many clients subscribe, and how often each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug, Clone)]
pub(crate) struct Limits {
    clients_max: usize,
    per_client_max: usize,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
}

/// One counted subscription; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    client: String,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Limits {
    pub(crate) fn new(clients_max: usize, per_client_max: usize) -> Limits {
        Limits { clients_max, per_client_max, counts: Arc::default() }
    }

    /// Counts one more subscription of `client`, or says in CometBFT's words which limit is reached.
    pub(crate) fn take(&self, client: &str) -> Result<Slot, String> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(client).copied().unwrap_or(0);
        if count == 0 && counts.len() >= self.clients_max + usize::from(mutant!("Z1")) {
            return Err(format!("max_subscription_clients {} reached", self.clients_max));
        }
        if count >= self.per_client_max + usize::from(mutant!("Z2")) {
            return Err(format!("max_subscriptions_per_client {} reached", self.per_client_max));
        }
        counts.insert(client.to_owned(), count + 1);
        Ok(Slot { client: client.to_owned(), counts: self.counts.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match counts.get_mut(&self.client) {
            Some(count) if *count > 1 || mutant!("Z3") => *count -= 1,
            _ => {
                counts.remove(&self.client);
            }
        }
    }
}
