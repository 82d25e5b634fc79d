//! What the nodes' chains say in the end, held against what was acknowledged.

use crate::load::number_of;
use crate::rpc::{Client, Failure, commit, height};
use crate::wait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate::crypto::{Hash, sha256};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Longest time for all nodes to have all blocks after the load.
const SETTLE_WITHIN: Duration = Duration::from_secs(120);
/// Pause before nodes are asked for their height again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What was found.
#[derive(Debug)]
pub struct Proof {
    pub tip: u64,
    /// Transactions of the load in all blocks.
    pub txs: u64,
    /// Acknowledged transactions that are not in the block they were acknowledged for.
    pub lost: Vec<(u64, u64)>,
    /// Transactions that are in two blocks.
    pub twice: u64,
    /// Heights at which a node has another block than the first one. A block holds the hash of the application before it.
    pub differing: Vec<u64>,
    /// Height and hash of every node's application.
    pub applications: Vec<(String, String)>,
}

impl Proof {
    pub fn holds(&self) -> bool {
        let same = self.applications.windows(2).all(|pair| pair[0] == pair[1]);
        self.lost.is_empty() && self.differing.is_empty() && same
    }
}

pub fn ask(client: &mut Client, method: &str, params: &str) -> Result<Value, Failure> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let mut answer: Value = serde_json::from_slice(&client.post(&body)?)?;
    match answer.get("error") {
        Some(error) => Err(format!("{method} {params}: {error}").into()),
        None => Ok(answer["result"].take()),
    }
}

/// Commits a last transaction, waits until all nodes have the same tip, and reads every block of every node.
pub fn prove(rpcs: &[String], acknowledged: &[(u64, u64)]) -> Result<Proof, Failure> {
    commit(&rpcs[0], &format!("end{}=1", std::process::id()))?;
    let tip = settle(rpcs)?;
    let (places, twice) = places(&rpcs[0], tip)?;
    let digests = std::thread::scope(|scope| {
        let readers: Vec<_> = rpcs.iter().map(|rpc| scope.spawn(move || digests(rpc, tip))).collect();
        readers.into_iter().map(|reader| reader.join().map_err(|_| "a reader panicked")?).collect::<Result<Vec<_>, _>>()
    })?;
    let differs = |height: &u64| {
        let index = *height as usize - 1;
        digests.windows(2).any(|pair| pair[0][index] != pair[1][index])
    };
    let lost = acknowledged.iter().filter(|(number, height)| places.get(number) != Some(height)).copied();
    Ok(Proof {
        tip,
        txs: places.len() as u64,
        lost: lost.collect(),
        twice,
        differing: (1..=tip).filter(differs).collect(),
        applications: rpcs.iter().map(|rpc| application(rpc)).collect::<Result<_, _>>()?,
    })
}

/// Waits until all nodes say the same height twice in a row, with a pause between.
fn settle(rpcs: &[String]) -> Result<u64, Failure> {
    let (begun, mut before) = (Instant::now(), Vec::new());
    while begun.elapsed() < SETTLE_WITHIN {
        let heights: Vec<u64> = rpcs.iter().map(|rpc| height(rpc)).collect::<Result<_, _>>()?;
        if heights == before && heights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(heights[0]);
        }
        before = heights;
        wait(ASK_AGAIN);
    }
    Err(format!("after {SETTLE_WITHIN:?} without load the nodes are at heights {before:?}").into())
}

/// In which block each transaction of the load is, and how many are in two.
fn places(rpc: &str, tip: u64) -> Result<(BTreeMap<u64, u64>, u64), Failure> {
    let (mut client, mut places, mut twice) = (Client::connect(rpc)?, BTreeMap::new(), 0);
    for height in 1..=tip {
        let answer = ask(&mut client, "block", &format!(r#"{{"height":"{height}"}}"#))?;
        for tx in answer["block"]["data"]["txs"].as_array().ok_or("no txs")? {
            let bytes = STANDARD.decode(tx.as_str().ok_or("an odd transaction")?)?;
            let Some(number) = number_of(&bytes) else { continue };
            twice += u64::from(places.insert(number, height).is_some());
        }
    }
    Ok((places, twice))
}

/// The hash of each block as the node tells it.
fn digests(rpc: &str, tip: u64) -> Result<Vec<Hash>, Failure> {
    let mut client = Client::connect(rpc)?;
    let block = |height| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"block","params":{{"height":"{height}"}}}}"#);
    (1..=tip).map(|height| Ok(sha256(&client.post(&block(height))?))).collect()
}

fn application(rpc: &str) -> Result<(String, String), Failure> {
    let answer = ask(&mut Client::connect(rpc)?, "abci_info", "{}")?;
    let text = |name: &str| answer["response"][name].as_str().ok_or("an odd answer of abci_info").map(str::to_owned);
    Ok((text("last_block_height")?, text("last_block_app_hash")?))
}
