//! A client that listens for blocks at all nodes and notes when it first heard of each.

use crate::rpc::Failure;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// Pause before a node that is away is called again.
const CALL_AGAIN: Duration = Duration::from_millis(100);

/// When a block was first heard of, and who proposed it.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: Instant,
    pub proposer: String,
}

type Arrivals = Arc<Mutex<BTreeMap<u64, Arrival>>>;

/// The listener. It stops when this is dropped.
pub struct Observer {
    arrivals: Arrivals,
    _runtime: Runtime,
}

impl Observer {
    pub fn start(rpcs: &[String]) -> Result<Observer, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let arrivals = Arrivals::default();
        for rpc in rpcs {
            let (rpc, arrivals) = (rpc.clone(), Arc::clone(&arrivals));
            runtime.spawn(async move {
                loop {
                    // A node that is away or ends is called again.
                    let _ = listen(&rpc, &arrivals).await;
                    let _ = tokio::time::timeout(CALL_AGAIN, std::future::pending::<()>()).await;
                }
            });
        }
        Ok(Observer { arrivals, _runtime: runtime })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who proposed the newest block.
    pub fn last_proposer(&self) -> Option<String> {
        self.lock().last_key_value().map(|(_, arrival)| arrival.proposer.clone())
    }

    /// All moments at which a new block was heard of, in order.
    pub fn moments(&self) -> Vec<Instant> {
        let mut moments: Vec<Instant> = self.lock().values().map(|arrival| arrival.at).collect();
        moments.sort();
        moments
    }
}

async fn listen(rpc: &str, arrivals: &Arrivals) -> Result<(), Failure> {
    let (mut socket, _) = connect_async(format!("ws://{rpc}/websocket")).await?;
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"query":"tm.event='NewBlockHeader'"}}"#;
    socket.send(Message::text(subscribe)).await?;
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else { continue };
        let at = Instant::now();
        let message: Value = serde_json::from_str(&text)?;
        let Some(header) = message.pointer("/result/data/value/header") else { continue };
        let height = header["height"].as_str().ok_or("no height")?.parse()?;
        let proposer = header["proposer_address"].as_str().ok_or("no proposer")?.to_owned();
        let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.entry(height).or_insert(Arrival { at, proposer });
    }
    Ok(())
}
