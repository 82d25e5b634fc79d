//! Clients' reads of the store: beside the runtime's threads, so that a slow disk holds up nobody else, and only a few at
//! once. Those threads are the ones consensus checks commits and statements on. A read holds its place until it ends, also
//! when its client has gone; a search, which may take long, is given up when its connection ends. Over HTTP that is when the
//! client hangs up. From a WebSocket nothing is read during a call, so that what a client sent before it left is still
//! done; that it has gone is noticed when a ping cannot be sent.

use super::Shared;
use crate::ports::{Node, Store, Waits};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Reads at once that look at single blocks.
pub(super) const READS_AT_ONCE: usize = 4;
/// Searches at once. Each may walk the whole chain, so they wait for each other and not for the others' sake.
const SEARCHES_AT_ONCE: usize = 2;
/// How long a read waits for its turn.
pub(super) const TURN_WITHIN: Duration = Duration::from_secs(10);

/// Places for reads.
#[derive(Debug)]
pub(super) struct Reads {
    reads: Arc<Semaphore>,
    searches: Arc<Semaphore>,
}

impl Default for Reads {
    fn default() -> Reads {
        Reads { reads: Arc::new(Semaphore::new(READS_AT_ONCE)), searches: Arc::new(Semaphore::new(SEARCHES_AT_ONCE)) }
    }
}

impl<N: Node> Shared<N> {
    /// Reads single blocks and what belongs to them.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        self.in_turn(&self.reads.reads, read).await
    }

    /// Looks through the whole index, for as long as the client waits.
    pub(super) async fn search<T: Send + 'static>(
        &self,
        search: impl FnOnce(&dyn Store, Waits<'_>) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let gone = CancellationToken::new();
        let _cancelled_with_this_call = gone.clone().drop_guard();
        self.in_turn(&self.reads.searches, move |store| search(store, &|| !gone.is_cancelled())).await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        read: impl FnOnce(&dyn Store) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let Ok(place) = tokio::time::timeout(TURN_WITHIN, Arc::clone(places).acquire_owned()).await else {
            let seconds = TURN_WITHIN.as_secs();
            return Err(format!(
                "the node is busy: among its reads of this kind no turn came within {seconds} s. Ask later"
            ));
        };
        let place = place.expect("nobody closes this semaphore");
        let store: Arc<dyn Store> = self.node.store().clone();
        let work = move || {
            let outcome = read(store.as_ref());
            drop(place);
            outcome
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|failed| {
            Err(match failed.is_panic() {
                true => "reading the store failed: this is a bug; the node's log says where".to_owned(),
                false => "the node is stopping".to_owned(),
            })
        })
    }
}
