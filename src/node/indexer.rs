//! The index, written behind the chain by a thread of its own. Nobody waits for it until it is far behind.

use super::NodeError;
use super::parts::{Life, Parts};
use crate::ports::Store;
use crate::types::{AppliedBlock, ChainState, Height};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// Blocks that may wait for the index. Then the chain waits: memory is bounded by this many blocks with results.
const BLOCKS_WAITING_MAX: usize = 64;

/// Blocks pruned before the next block is indexed: milliseconds, where removing a long past takes minutes.
const PRUNED_AT_ONCE: u64 = 64;

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
    pub(super) fn start(store: Arc<dyn Store>, parts: &Parts) -> Result<Indexer, NodeError> {
        let (tasks, waiting) = sync_channel(BLOCKS_WAITING_MAX);
        let watch = parts.watch("the indexer", Life::UntilDone);
        let thread = std::thread::Builder::new()
            .name("indexer".to_owned())
            .spawn(move || {
                let _watch = watch;
                work(&*store, &waiting);
            })
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
            // The thread only ends after the sender; a panic there ends the node.
            let _ = tasks.send(task);
        }
    }
}

/// Blocks are waited for by the chain, pruning by nobody: it goes on slice by slice between them. What is left of it when
/// the node stops is asked for again.
fn work(store: &dyn Store, tasks: &Receiver<Task>) {
    let mut wish: Option<(Height, Arc<ChainState>)> = None;
    loop {
        let next = match wish {
            None => tasks.recv().map_err(|RecvError| TryRecvError::Disconnected),
            Some(_) => tasks.try_recv(),
        };
        match next {
            Ok(Task::Index(applied)) => {
                if let Err(error) = store.index(&applied) {
                    tracing::error!("{error}. The chain goes on; searches may miss transactions until a restart");
                }
            }
            Ok(Task::Prune { retain, state }) => wish = Some((retain, state)),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        wish = wish.and_then(|(retain, state)| prune_slice(store, retain, state));
    }
}

/// Prunes a little; gives back what is left to do.
fn prune_slice(store: &dyn Store, retain: Height, state: Arc<ChainState>) -> Option<(Height, Arc<ChainState>)> {
    let to = retain.min(Height::new(store.base().get().saturating_add(PRUNED_AT_ONCE)));
    let outcome = store.prune(to, &state);
    let left = (outcome.is_ok() && to < retain).then_some((retain, state));
    match outcome {
        Ok(removed) => tracing::debug!("removed {removed} blocks below {to}, as the application allowed"),
        Err(error) => {
            tracing::error!("{error}. The chain goes on; blocks below {to} stay until later ones are removed")
        }
    }
    left
}
