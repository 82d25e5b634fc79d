//! Facts that hold for every chain, whatever happened to its node.

use super::Client;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use quorate::crypto::Hash;
use quorate::types::Tx;
use serde_json::{Value, json};

/// Most headers `blockchain` gives at once.
const HEADERS_AT_ONCE: u64 = 20;

/// Bytes as JSON has them.
pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The hash a transaction is found by.
pub(crate) fn tx_hash(tx: &str) -> Hash {
    Tx::new(tx.as_bytes().to_vec()).hash()
}

/// The application's committed value of a key; none when it has none.
pub(crate) fn value_of(client: &mut Client, key: &str) -> Option<String> {
    let response = client.ask("abci_query", &json!({"data": hex::encode(key)}))["response"].take();
    (response["log"] == json!("exists")).then(|| from_base64(&response["value"]))
}

/// Text that JSON has as base64.
pub(crate) fn from_base64(value: &Value) -> String {
    String::from_utf8(STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap()
}

/// A number as JSON-RPC writes large ones: in quotes.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not a number: {value}"))
}

/// Walks all headers: no height is missing and each block names the one before it. Gives the tip and the number of
/// transactions in all blocks.
pub(crate) fn assert_linked(client: &mut Client) -> (u64, u64) {
    let tip = number(&client.ask("status", &json!({}))["sync_info"]["latest_block_height"]);
    let (mut last_id, mut txs) = (None, 0);
    for low in (1..=tip).step_by(HEADERS_AT_ONCE as usize) {
        let high = tip.min(low + HEADERS_AT_ONCE - 1);
        let range = json!({"minHeight": low.to_string(), "maxHeight": high.to_string()});
        let mut metas = client.ask("blockchain", &range)["block_metas"].take();
        let metas = metas.as_array_mut().unwrap();
        metas.reverse(); // newest first
        assert_eq!(metas.len() as u64, high - low + 1, "headers {low} to {high}");
        for (height, meta) in (low..=high).zip(metas) {
            assert_eq!(number(&meta["header"]["height"]), height);
            if let Some(last_id) = last_id.replace(meta["block_id"].clone()) {
                assert_eq!(meta["header"]["last_block_id"], last_id, "block {height} names the one before it");
            }
            txs += number(&meta["num_txs"]);
        }
    }
    (tip, txs)
}

/// Commits one more transaction and compares: the block after the application's height carries the application's hash.
pub(crate) fn assert_same_hash(client: &mut Client, tx: &str) {
    let info = client.ask("abci_info", &json!({}))["response"].take();
    let app_height = number(&info["last_block_height"]);
    assert!(client.commit(tx) > app_height);
    let header = client.ask("header", &json!({"height": (app_height + 1).to_string()}))["header"].take();
    let app_hash = STANDARD.decode(info["last_block_app_hash"].as_str().unwrap()).unwrap();
    assert_eq!(
        header["app_hash"],
        json!(hex::encode_upper(app_hash)),
        "application at {app_height} against block {}",
        app_height + 1
    );
}
