//! Finds tasks that keep a worker of the runtime from all others: a wait for the disk or a long computation inside one
//! poll holds up every connection that worker serves (bug class 160).
//!
//! Tasks are watched under test only: what a task did itself is told from what the machine did to it by asking the
//! system how long the thread waited for a processor, and that costs a read of a file for each poll.

/// A task as it is in a release.
#[cfg(not(test))]
pub(crate) fn watched<F: Future>(_name: &'static str, task: F) -> F {
    task
}

#[cfg(test)]
pub(crate) use watch::{slow_polls, watched};

#[cfg(test)]
mod watch {
    use std::pin::Pin;
    use std::sync::{Mutex, PoisonError};
    use std::task::{Context, Poll};
    use std::time::{Duration, Instant};

    /// One poll may take so long.
    const POLL_MAX: Duration = Duration::from_millis(100);

    /// A poll that took longer.
    #[derive(Debug, Clone)]
    pub(crate) struct Slow {
        /// Of which task.
        pub(crate) task: &'static str,
        /// On which thread: tests give their runtimes' threads names of their own.
        pub(crate) thread: String,
        /// How long, without what the thread waited for a processor.
        pub(crate) took: Duration,
    }

    static SLOW: Mutex<Vec<Slow>> = Mutex::new(Vec::new());

    struct Watched<F> {
        name: &'static str,
        task: Pin<Box<F>>,
    }

    /// Watches a task.
    pub(crate) fn watched<F: Future>(name: &'static str, task: F) -> impl Future<Output = F::Output> {
        Watched { name, task: Box::pin(task) }
    }

    /// The slow polls on threads of this name so far.
    pub(crate) fn slow_polls(thread: &str) -> Vec<Slow> {
        let all = SLOW.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|slow| slow.thread == thread).cloned().collect()
    }

    impl<F: Future> Future for Watched<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            let (begun, waited) = (Instant::now(), waited_for_processor());
            let outcome = self.task.as_mut().poll(cx);
            let took = begun.elapsed();
            // Asked again only where it matters.
            if took > POLL_MAX {
                let took = took.saturating_sub(waited_for_processor().saturating_sub(waited));
                if took > POLL_MAX {
                    let thread = std::thread::current().name().unwrap_or_default().to_owned();
                    SLOW.lock().unwrap_or_else(PoisonError::into_inner).push(Slow { task: self.name, thread, took });
                }
            }
            outcome
        }
    }

    /// How long this thread was ready to run and did not, since it began; nothing where the system does not say.
    fn waited_for_processor() -> Duration {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let waited = text.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(waited.unwrap_or(0))
    }

    #[test]
    fn a_task_that_computes_for_long_in_one_poll_is_found_and_one_that_waits_is_not() {
        const NAME: &str = "watched polls";
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name(NAME).enable_all().build().expect("threads");
        let waits = watched("waits", async { tokio::time::timeout(2 * POLL_MAX, std::future::pending::<()>()).await });
        runtime.block_on(async {
            tokio::spawn(waits).await.expect("it ends").expect_err("nothing comes");
            assert!(slow_polls(NAME).is_empty());
            // On a busy machine the thread may wait for most of that time.
            while slow_polls(NAME).is_empty() {
                tokio::spawn(watched("computes", async {
                    let begun = Instant::now();
                    while begun.elapsed() < 4 * POLL_MAX {}
                }))
                .await
                .expect("it ends");
            }
        });
        assert!(slow_polls(NAME).iter().all(|slow| slow.task == "computes"), "{:?}", slow_polls(NAME));
    }
}
