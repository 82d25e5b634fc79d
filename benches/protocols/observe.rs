//! Clients that listen for blocks, and what they note.

use crate::rpc::Failure;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Pause before a node that is away is called again.
const CALL_AGAIN: Duration = Duration::from_millis(100);

/// When a block was first heard of, and who proposed it.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: Instant,
    pub proposer: String,
}

type Arrivals = Arc<Mutex<BTreeMap<u64, Arrival>>>;

/// A client that listens at all nodes and notes when it first heard of each block. It stops when this is dropped.
pub struct Observer {
    arrivals: Arrivals,
    _runtime: Runtime,
}

impl Observer {
    pub fn start(rpcs: &[String]) -> Result<Observer, Failure> {
        let runtime = runtime()?;
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
    let mut events = Events::subscribe(rpc, "NewBlockHeader").await?;
    loop {
        let (at, event) = events.next().await?;
        let header = event.get("header").ok_or("an event of another kind")?;
        let height = header["height"].as_str().ok_or("no height")?.parse()?;
        let proposer = header["proposer_address"].as_str().ok_or("no proposer")?.to_owned();
        let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.entry(height).or_insert(Arrival { at, proposer });
    }
}

/// One thread on which clients listen.
pub fn runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// The events of one kind that a node tells.
pub struct Events(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Events {
    /// Subscribes; no event after this is missed.
    pub async fn subscribe(rpc: &str, kind: &str) -> Result<Events, Failure> {
        let (mut socket, _) = connect_async(format!("ws://{rpc}/websocket")).await?;
        let subscribe =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{{"query":"tm.event='{kind}'"}}}}"#);
        socket.send(Message::text(subscribe)).await?;
        let mut events = Events(socket);
        // The answer to the request comes before all events.
        events.next_text().await?;
        Ok(events)
    }

    /// Waits for the next event and gives when it came and its value.
    pub async fn next(&mut self) -> Result<(Instant, Value), Failure> {
        let mut event = self.next_text().await?;
        let at = Instant::now();
        let value = event.pointer_mut("/result/data/value").ok_or("a message that is no event")?;
        Ok((at, value.take()))
    }

    async fn next_text(&mut self) -> Result<Value, Failure> {
        loop {
            let message = self.0.next().await.ok_or("the node ended the subscription")??;
            let Message::Text(text) = message else { continue };
            let message: Value = serde_json::from_str(&text)?;
            return match message.get("error") {
                Some(error) => Err(format!("the subscription failed: {error}").into()),
                None => Ok(message),
            };
        }
    }
}
