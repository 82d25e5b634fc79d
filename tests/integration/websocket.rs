//! Subscriptions: events come over the socket that asked for them, under the id of the question.

use super::harness::{App, Home, Node, PATIENCE, base64, number, tx_hash};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Transactions sent while somebody listens.
const TXS: usize = 20;

#[tokio::test]
async fn blocks_and_transactions_arrive_under_the_id_of_their_subscription() {
    let home = Home::new();
    let _app = App::start(&home);
    let node = Node::start(&home);
    let (mut socket, _) = connect_async(format!("ws://{}/websocket", node.rpc)).await.unwrap();
    for (id, query) in [("blocks", "tm.event='NewBlock'"), ("one-tx", "tm.event='Tx' AND app.key='key7'")] {
        ask(&mut socket, id, "subscribe", &json!({"query": query})).await;
        assert_eq!(next(&mut socket).await, json!({"jsonrpc": "2.0", "id": id, "result": {}}));
    }
    for n in 0..TXS {
        ask(&mut socket, &format!("send{n}"), "broadcast_tx_sync", &json!({"tx": base64(format!("key{n}={n}"))})).await;
    }
    let heard = Heard::all(&mut socket).await;
    // The block that an event tells of is the block the chain has.
    let client = &mut node.client();
    for block in &heard.blocks {
        let stored = client.ask("block", &json!({"height": block["header"]["height"]}));
        assert_eq!(stored["block"], *block);
    }
    let found = client.ask("tx", &json!({"hash": base64(tx_hash("key7=7").as_bytes())}));
    assert_eq!(found["height"], heard.tx["height"]);

    ask(&mut socket, "enough", "unsubscribe_all", &json!({})).await;
    assert_eq!(answer_to(&mut socket, "enough").await["result"], json!({}));
    // Whoever listens is told goodbye when the node stops.
    ask(&mut socket, "again", "subscribe", &json!({"query": "tm.event='NewBlock'"})).await;
    answer_to(&mut socket, "again").await;
    let stopped = tokio::task::spawn_blocking(move || node.stop());
    while let Some(Ok(_)) = socket.next().await {}
    stopped.await.unwrap();
}

/// What came over the socket while [`TXS`] transactions went into blocks.
#[derive(Default)]
struct Heard {
    answers: usize,
    /// Blocks with transactions.
    blocks: Vec<Value>,
    tx: Value,
}

impl Heard {
    /// Listens until every transaction was answered and is in a block, and the one subscribed to was told of.
    async fn all(socket: &mut Socket) -> Heard {
        let mut heard = Heard::default();
        let (mut txs, mut last_height) = (0, 0);
        while heard.answers < TXS || txs < TXS || heard.tx.is_null() {
            let mut message = next(socket).await;
            match message["id"].as_str().unwrap() {
                "blocks" => {
                    let block = message["result"]["data"]["value"]["block"].take();
                    let height = number(&block["header"]["height"]);
                    assert!(last_height == 0 || height == last_height + 1, "{height} after {last_height}");
                    last_height = height;
                    txs += block["data"]["txs"].as_array().unwrap().len();
                    heard.blocks.push(block);
                }
                "one-tx" => {
                    assert_eq!(message["result"]["data"]["type"], json!("tendermint/event/Tx"));
                    let tx = message["result"]["data"]["value"]["TxResult"].take();
                    assert_eq!(tx["tx"], json!(base64("key7=7")));
                    assert_eq!(message["result"]["events"]["app.key"][0], json!("key7"));
                    assert!(heard.tx.is_null(), "told twice");
                    heard.tx = tx;
                }
                _ => {
                    assert_eq!(message["result"]["code"], json!(0), "{message}");
                    heard.answers += 1;
                }
            }
        }
        heard
    }
}

async fn ask(socket: &mut Socket, id: &str, method: &str, params: &Value) {
    let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    socket.send(Message::text(request.to_string())).await.unwrap();
}

/// The next message, within patience.
async fn next(socket: &mut Socket) -> Value {
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("a message in time").unwrap().unwrap();
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

/// The next message with this id; events that were under way before it are passed over.
async fn answer_to(socket: &mut Socket, id: &str) -> Value {
    loop {
        let message = next(socket).await;
        if message["id"] == json!(id) {
            return message;
        }
    }
}
