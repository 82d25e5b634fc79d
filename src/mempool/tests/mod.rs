//! Stories about the mempool, and a comparison with a dumb list.

mod gossip;
mod oracle;
mod stories;

use super::{Mempool, MempoolConfig, MempoolEffect, MempoolInput, Origin, Recheck, RequestId};
use crate::types::abci::CheckTxResponse;
use crate::types::{Tx, TxLimits};

pub(super) const LIMITS: TxLimits = TxLimits { bytes_max: 1_000, gas_max: Some(100) };

pub(super) fn config() -> MempoolConfig {
    MempoolConfig {
        size: 10,
        max_txs_bytes: 100,
        max_tx_bytes: 40,
        cache_size: 50,
        recheck: Recheck::Off,
        ..Default::default()
    }
}

pub(super) fn tx(text: &str) -> Tx {
    Tx::new(text.as_bytes().to_vec())
}

pub(super) fn ok(gas: i64) -> CheckTxResponse {
    CheckTxResponse { gas_wanted: gas, ..Default::default() }
}

pub(super) fn code(code: u32) -> CheckTxResponse {
    CheckTxResponse { code, ..Default::default() }
}

pub(super) fn step(mempool: &mut Mempool, input: MempoolInput) -> Vec<MempoolEffect> {
    let mut out = Vec::new();
    mempool.step(input, &mut out);
    out
}

/// Submits as a client that waits for the check.
pub(super) fn submit(mempool: &mut Mempool, txs: &[Tx]) -> Vec<MempoolEffect> {
    step(mempool, MempoolInput::Submit { origin: Origin::Check(RequestId(1)), txs: txs.to_vec() })
}
