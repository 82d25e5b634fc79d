//! Says on stderr what is being done, so that nobody wonders whether it hangs.

use crate::rpc::Failure;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// From one sign of life to the next.
const EVERY: Duration = Duration::from_secs(5);
/// What took less needs no word that it is over.
const NOTICED: Duration = Duration::from_secs(2);

/// Does some work, and says what it is, every five seconds that it goes on, and how long it took.
pub fn phase<T>(what: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    eprintln!("{what} ...");
    let begun = Instant::now();
    let done = std::thread::scope(|scope| {
        let (over, told) = channel::<()>();
        scope.spawn(move || {
            while told.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{what} ... {} s", begun.elapsed().as_secs());
            }
        });
        let done = work();
        drop(over);
        done
    });
    if done.is_ok() && begun.elapsed() >= NOTICED {
        eprintln!("{what}: done in {:.1} s", begun.elapsed().as_secs_f64());
    }
    done
}
