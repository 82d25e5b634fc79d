//! The index, written behind the chain by a thread of its own. Nobody waits for it until it is far behind.

use super::NodeError;
use crate::ports::Store;
use crate::types::{AppliedBlock, ChainState, Height};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Blocks that may wait for the index. Then the chain waits: memory is bounded by this many blocks with results.
const BLOCKS_WAITING_MAX: usize = 64;

enum Task {
    Index(Arc<AppliedBlock>),
    Prune { retain: Height, state: Arc<ChainState> },
}

/// The thread and the way to it.
pub(super) struct Indexer {
    tasks: Option<SyncSender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Indexer {
    /// Starts the thread. What a crash left out of the index was caught up when the store was opened.
    pub(super) fn start(store: Arc<dyn Store>) -> Result<Indexer, NodeError> {
        let (tasks, waiting) = sync_channel(BLOCKS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("indexer".to_owned())
            .spawn(move || work(&*store, &waiting))
            .map_err(NodeError::Thread)?;
        Ok(Indexer { tasks: Some(tasks), thread: Some(thread) })
    }

    pub(super) fn index(&self, applied: Arc<AppliedBlock>) {
        self.send(Task::Index(applied));
    }

    pub(super) fn prune(&self, retain: Height, state: Arc<ChainState>) {
        self.send(Task::Prune { retain, state });
    }

    /// Waits until everything is indexed.
    pub(super) fn finish(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn send(&self, task: Task) {
        if let Some(tasks) = &self.tasks {
            // The thread only ends after the sender; a panic there was reported already.
            let _ = tasks.send(task);
        }
    }
}

fn work(store: &dyn Store, tasks: &Receiver<Task>) {
    for task in tasks {
        let outcome = match task {
            Task::Index(applied) => store.index(&applied),
            Task::Prune { retain, state } => store.prune(retain, &state).map(|removed| {
                tracing::info!("removed {removed} blocks below {retain}, as the application allowed");
            }),
        };
        if let Err(error) = outcome {
            tracing::error!("{error}. The chain goes on; searches may miss transactions until a restart");
        }
    }
}
