//! The WebSocket side: one request per message, all routes, subscriptions (reference §8.5).
//!
//! Each connection has a reading task, a writing task behind a bounded queue, and one task per subscription. All end
//! with the connection.

use super::Shared;
use super::args::{self, Args};
use super::chain::QUERY_BYTES_MAX;
use super::limits::Slot;
use super::listen::Client;
use super::routes::{Access, Route};
use super::wire::{Id, RpcError, answer, parse_requests};
use crate::codec::json::{View, to_bytes};
use crate::polls::watched;
use crate::ports::{Delivery, Node, Subscription};
use crate::types::query::{Attributes, Comparison, Operand, Query, Test};
use crate::types::{Notice, Published};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, State};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// A client that is silent for this long is gone.
const READ_WAIT: Duration = Duration::from_secs(30);
/// How often we ask whether it is there.
const PING_PERIOD: Duration = Duration::from_secs(27);
/// A client that does not take a message for this long is slow.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// Turns a GET of `/websocket` into a connection. Any origin may connect, as in CometBFT.
pub(super) async fn upgrade<N: Node>(
    State(shared): State<Arc<Shared<N>>>,
    ConnectInfo(client): ConnectInfo<Client>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let max = shared.config.max_body_bytes;
    upgrade.max_message_size(max).max_frame_size(max).on_upgrade(move |socket| run(shared, client, socket))
}

/// A connection's subscriptions by the canonical text of their query.
struct Session<N> {
    shared: Arc<Shared<N>>,
    client: Client,
    queue: mpsc::Sender<Vec<u8>>,
    subscriptions: BTreeMap<String, AbortHandle>,
    tasks: JoinSet<()>,
}

async fn run<N: Node>(shared: Arc<Shared<N>>, client: Client, socket: WebSocket) {
    let (sink, stream) = socket.split();
    let (queue, messages) = mpsc::channel(shared.config.websocket_write_buffer_size.max(1));
    let shutdown = shared.shutdown.clone();
    let mut session = Session { shared, client, queue, subscriptions: BTreeMap::new(), tasks: JoinSet::new() };
    let mut writing = tokio::spawn(watched("a WebSocket", write(sink, messages)));
    tokio::select! {
        () = session.read(stream) => {}
        _ = &mut writing => return,
        () = shutdown.cancelled() => session.say_goodbye().await,
    }
    drop(session);
    // What is queued still goes out; the queue ends now that every sender is gone.
    if tokio::time::timeout(WRITE_WAIT, &mut writing).await.is_err() {
        writing.abort();
    }
}

async fn write(mut sink: SplitSink<WebSocket, Message>, mut messages: mpsc::Receiver<Vec<u8>>) {
    let mut pings = tokio::time::interval_at(tokio::time::Instant::now() + PING_PERIOD, PING_PERIOD);
    loop {
        let message = tokio::select! {
            message = messages.recv() => match message {
                Some(text) => match String::from_utf8(text) {
                    Ok(text) => Message::Text(text.into()),
                    Err(_) => continue,
                },
                None => break,
            },
            _ = pings.tick() => Message::Ping(Vec::new().into()),
        };
        if !matches!(tokio::time::timeout(WRITE_WAIT, sink.send(message)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _gone_already = sink.close().await;
}

impl<N: Node> Session<N> {
    async fn read(&mut self, mut stream: SplitStream<WebSocket>) {
        while let Ok(Some(Ok(message))) = tokio::time::timeout(READ_WAIT, stream.next()).await {
            let answer = match &message {
                Message::Text(text) => self.handle(text.as_bytes()).await,
                Message::Binary(bytes) => self.handle(bytes).await,
                Message::Close(_) => return,
                Message::Ping(_) | Message::Pong(_) => None,
            };
            if let Some(answer) = answer
                && self.queue.send(answer).await.is_err()
            {
                return;
            }
        }
    }

    /// The answer to one message; none for a notification.
    async fn handle(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let mut requests = match parse_requests(message) {
            Ok(requests) => requests,
            Err(why) => return Some(answer(None, &Err(RpcError::parse(why)))),
        };
        if requests.len() != 1 || message.trim_ascii_start().starts_with(b"[") {
            let why = "error unmarshaling request: a WebSocket message is one request, not an array".to_owned();
            return Some(answer(None, &Err(RpcError::parse(why))));
        }
        let request = requests.pop()?;
        let id = request.id?;
        let outcome = match self.route(&request.method) {
            Err(error) => Err(error),
            Ok(route) => match args::from_json(route, request.params) {
                Ok(args) => self.call(&id, route, &args).await.map_err(RpcError::internal),
                Err(why) => Err(RpcError::internal(format!("error converting json params to arguments: {why}"))),
            },
        };
        Some(answer(Some(&id), &outcome))
    }

    fn route(&self, name: &str) -> Result<Route, RpcError> {
        match Route::find(name) {
            Some(route) if route.access() == Access::WebSocket => Ok(route),
            _ => self.shared.route(name),
        }
    }

    async fn call(&mut self, id: &Id, route: Route, args: &Args) -> Result<Vec<u8>, String> {
        match route {
            Route::Subscribe => self.subscribe(id, args.text(0)),
            Route::Unsubscribe => self.unsubscribe(args.text(0)).await,
            Route::UnsubscribeAll => self.unsubscribe_all().await,
            _ => self.shared.call(&self.client.0, route, args).await,
        }
    }

    fn subscribe(&mut self, id: &Id, text: &str) -> Result<Vec<u8>, String> {
        self.subscriptions.retain(|_, task| !task.is_finished());
        // Whoever is done is forgotten, or a client that comes and goes would fill the memory.
        while self.tasks.try_join_next().is_some() {}
        let slot = self.shared.limits.take(&self.client.0)?;
        if text.len() > QUERY_BYTES_MAX && !mutant!("Z102") {
            return Err("maximum query length exceeded".to_owned());
        }
        let query = parse(text)?;
        let name = query.to_string();
        if self.subscriptions.contains_key(&name) && !mutant!("Z101") {
            return Err("already subscribed".to_owned());
        }
        let follower = Follower {
            id: id.clone(),
            text: text.to_owned(),
            query,
            queue: self.queue.clone(),
            close_on_slow: self.shared.config.close_on_slow_client,
            shutdown: self.shared.shutdown.clone(),
            _slot: slot,
        };
        let task = self.tasks.spawn(watched("a subscription", follower.run(self.shared.node.subscribe())));
        self.subscriptions.insert(name, task);
        Ok(b"{}".to_vec())
    }

    async fn unsubscribe(&mut self, text: &str) -> Result<Vec<u8>, String> {
        let name = parse(text)?.to_string();
        let task = self.subscriptions.remove(&name).ok_or("subscription not found")?;
        self.end(&[task]).await;
        Ok(b"{}".to_vec())
    }

    async fn unsubscribe_all(&mut self) -> Result<Vec<u8>, String> {
        if self.subscriptions.is_empty() {
            return Err("subscription not found".to_owned());
        }
        let tasks: Vec<AbortHandle> = std::mem::take(&mut self.subscriptions).into_values().collect();
        self.end(&tasks).await;
        Ok(b"{}".to_vec())
    }

    /// Ends subscriptions. Their slots are free again when the client hears of it.
    async fn end(&mut self, ending: &[AbortHandle]) {
        ending.iter().filter(|_| !mutant!("Z103")).for_each(AbortHandle::abort);
        while ending.iter().any(|task| !task.is_finished()) && self.tasks.join_next().await.is_some() {}
    }

    /// The node stops: the followers hear it from their subscriptions and tell their clients.
    async fn say_goodbye(&mut self) {
        let all_told = async { while self.tasks.join_next().await.is_some() {} };
        let _late = tokio::time::timeout(Duration::from_millis(500), all_told).await;
    }
}

fn parse(text: &str) -> Result<Query, String> {
    text.parse().map_err(|error| format!("failed to parse query: {error}"))
}

/// One subscription: turns facts into answers for its client.
struct Follower {
    id: Id,
    text: String,
    query: Query,
    queue: mpsc::Sender<Vec<u8>>,
    close_on_slow: bool,
    shutdown: CancellationToken,
    _slot: Slot,
}

#[derive(Serialize)]
struct EventAnswer<'a> {
    query: &'a str,
    data: View<'a, Notice<'a>>,
    events: &'a Attributes,
}

enum Go {
    On,
    Stop,
}

impl Follower {
    async fn run(self, mut subscription: impl Subscription) {
        loop {
            let delivery = tokio::select! {
                delivery = subscription.next() => delivery,
                () = self.shutdown.cancelled() => None,
            };
            match delivery {
                Some(Delivery::Published(fact)) => {
                    if let Go::Stop = self.tell(&fact).await {
                        return;
                    }
                }
                Some(Delivery::Missed(_)) if mutant!("Z105") => {}
                Some(Delivery::Missed(_)) => {
                    return self.cancel("internal subscription event buffer is out of capacity");
                }
                None => return self.cancel("CometBFT exited"),
            }
        }
    }

    async fn tell(&self, fact: &Published) -> Go {
        for notice in fact.notices() {
            let Some(text) = self.render(&notice) else { continue };
            match tokio::time::timeout(WRITE_WAIT, self.queue.send(text)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Go::Stop,
                Err(_) if self.close_on_slow => {
                    self.cancel("slow client");
                    return Go::Stop;
                }
                Err(_) => {}
            }
        }
        Go::On
    }

    /// The answer for a notice that matches.
    fn render(&self, notice: &Notice<'_>) -> Option<Vec<u8>> {
        // Most queries name a kind: look at that before anything is copied.
        let other_kind = self.query.conditions().iter().any(|condition| {
            condition.key == "tm.event"
                && matches!(&condition.test, Test::Compare(Comparison::Equal, Operand::Text(kind)) if kind != notice.kind())
        });
        if other_kind {
            return None;
        }
        let attributes = notice.attributes();
        if !self.query.matches(&attributes) {
            return None;
        }
        let result = to_bytes(&EventAnswer { query: &self.text, data: View(notice), events: &attributes });
        Some(answer(Some(&self.id), &Ok(result)))
    }

    /// Tells the client that its subscription is over, if it still listens.
    fn cancel(&self, reason: &str) {
        let why = format!("subscription was canceled (reason: {reason})");
        let _full_or_gone = self.queue.try_send(answer(Some(&self.id), &Err(RpcError::server(why))));
    }
}
