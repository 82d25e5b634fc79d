//! Reads of the store take turns.

use super::fake::Submitted;
use super::recorded::shared;
use crate::ports::Store;
use crate::rpc::reads::{READS_AT_ONCE, TURN_WITHIN};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::sync::oneshot;

#[tokio::test]
async fn a_read_holds_its_place_until_it_ends_and_one_that_gets_none_is_told() {
    let shared = Arc::new(shared(Submitted::Stuck));
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    for _ in 0..READS_AT_ONCE {
        let (held, (begun, runs), shared) = (Arc::clone(&held), oneshot::channel(), Arc::clone(&shared));
        let client = tokio::spawn(async move {
            let read = move |_: &dyn Store| {
                let _ = begun.send(());
                let _released = held.lock().expect("no panic").recv();
                Ok(())
            };
            shared.read(read).await
        });
        runs.await.expect("it has a place");
        client.abort();
    }
    assert_eq!(shared.search(|_, _| Ok(1)).await, Ok(1), "searches wait for nobody else");
    tokio::time::pause();
    let late = tokio::spawn({
        let shared = Arc::clone(&shared);
        async move { shared.read(|_| Ok(())).await }
    });
    tokio::task::yield_now().await;
    tokio::time::advance(TURN_WITHIN + Duration::from_secs(1)).await;
    let why = late.await.expect("no panic").expect_err("all places are taken, though the clients have gone");
    assert_eq!(why, "the node is busy: among its reads of this kind no turn came within 10 s. Ask later");
    tokio::time::resume();
    drop(release);
    assert_eq!(shared.read(|_| Ok(2)).await, Ok(2));
    let why = shared.read::<()>(|_| panic!("planted")).await.expect_err("it panicked");
    assert!(why.contains("this is a bug"), "{why}");
}
