//! Stories of the socket and the built-in applications.

mod apps;
mod link;
mod server;

use super::{Answer, Application};
use crate::types::abci::{
    BlockFacts, CheckTxKind, CheckTxRequest, CheckTxResponse, CommitInfo, FinalizeBlockRequest, Request,
};
use crate::types::{Address, Height, Time};
use bytes::Bytes;

fn facts(height: u64) -> BlockFacts {
    BlockFacts {
        misbehavior: Vec::new(),
        height: Height::new(height),
        time: Time::UNIX_EPOCH,
        next_validators_hash: [0; 32].as_slice().try_into().unwrap(),
        proposer_address: Address::new([0; 20]),
    }
}

fn finalize(height: u64, txs: Vec<Bytes>) -> FinalizeBlockRequest {
    let hash = [0; 32].as_slice().try_into().unwrap();
    FinalizeBlockRequest { txs, decided_last_commit: CommitInfo::default(), hash, block: facts(height) }
}

fn check(tx: impl Into<Bytes>) -> CheckTxRequest {
    CheckTxRequest { tx: tx.into(), kind: CheckTxKind::New }
}

/// The bytes of a Flush request and of the answer to it (reference §14.4).
const FLUSH: &[u8] = &[2, 0x12, 0];
const FLUSHED: &[u8] = &[2, 0x1a, 0];

/// Answers CheckTx with the transaction itself, panics when it reads `panic`, fails when it reads `fail`.
struct Mirror;

impl Application for Mirror {
    fn check_tx(&mut self, request: CheckTxRequest) -> Answer<CheckTxResponse> {
        match request.tx.as_ref() {
            b"panic" => panic!("told to"),
            b"fail" => Err(std::io::Error::other("disk full").into()),
            _ => Ok(CheckTxResponse { data: request.tx, ..CheckTxResponse::default() }),
        }
    }
}

fn check_of(number: usize) -> Request {
    Request::CheckTx(check(number.to_string()))
}
