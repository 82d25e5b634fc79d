//! The parts a node cannot do without, and what becomes of it when one of them fails.
//!
//! A task that panics ends in silence: the runtime keeps the panic for whoever awaits the task, and nobody does. The
//! node would go on without its network, its index or its application, and look alive. So each such task and thread is
//! watched; when one fails, the node ends with a sentence, and whoever runs it starts it again. What belongs to one
//! peer or one client is not watched here: its panic ends that connection (`p2p::peer`, `http`), or an attacker who
//! finds one could end every node.

use crate::polls::watched;
use std::sync::Arc;
use tokio::sync::SetOnce;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a part lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Until the node stops: an earlier end is a failure, too.
    UntilStop,
    /// Until its work is done.
    UntilDone,
}

/// Watches the parts. Clones watch for the same node.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// The first that failed, and how.
    failed: Arc<SetOnce<String>>,
    stop: CancellationToken,
}

/// Held by a part while it lives.
#[derive(Debug)]
pub(super) struct Watch {
    part: &'static str,
    life: Life,
    parts: Parts,
}

impl Parts {
    pub(super) fn new(stop: CancellationToken) -> Parts {
        Parts { failed: Arc::new(SetOnce::new()), stop }
    }

    /// For a thread: whoever runs it holds this to its end.
    pub(super) fn watch(&self, part: &'static str, life: Life) -> Watch {
        Watch { part, life, parts: self.clone() }
    }

    /// Runs a task and watches it.
    pub(super) fn spawn(
        &self,
        part: &'static str,
        life: Life,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let watch = self.watch(part, life);
        tokio::spawn(watched(part, async move {
            let _watch = watch;
            task.await;
        }))
    }

    /// Waits until a part fails, and says which and how. Never ends while all is well.
    pub(super) async fn failed(&self) -> String {
        self.failed.wait().await.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let how = if std::thread::panicking() {
            "panicked"
        } else if self.life == Life::UntilStop && !self.parts.stop.is_cancelled() {
            "ended before it was told to"
        } else {
            return;
        };
        // The first is the one that counts: others fail because of it.
        let _ = self.parts.failed.set(format!("{} {how}", self.part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn a_part_that_panics_or_ends_too_early_is_named_and_one_that_is_done_or_stopped_is_not() {
        let new = || Parts::new(CancellationToken::new());
        // It is told before the part's task or thread is over.
        let failed = |parts: &Parts| parts.failed().now_or_never().unwrap_or_default();
        let parts = new();
        parts.spawn("the work", Life::UntilDone, async {}).await.expect("it ends");
        assert_eq!(failed(&parts), "");
        parts.spawn("the first", Life::UntilDone, async { panic!("planted") }).await.expect_err("it panics");
        parts.spawn("the second", Life::UntilDone, async { panic!("planted") }).await.expect_err("it panics");
        assert_eq!(failed(&parts), "the first panicked");

        let parts = new();
        parts.spawn("the link", Life::UntilStop, async {}).await.expect("it ends");
        assert_eq!(failed(&parts), "the link ended before it was told to");

        let parts = new();
        let watch = parts.watch("the index", Life::UntilStop);
        parts.stop.cancel();
        std::thread::spawn(move || drop(watch)).join().expect("it ends");
        assert_eq!(failed(&parts), "");
        let watch = parts.watch("the index", Life::UntilDone);
        let thread = std::thread::spawn(move || {
            let _watch = watch;
            panic!("planted")
        });
        thread.join().expect_err("it panics");
        assert_eq!(failed(&parts), "the index panicked");
    }
}
