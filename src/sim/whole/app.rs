//! A model of an application: deterministic, durable at Commit, strict about what it is asked.
//!
//! A transaction is a number, `7=tx`, that may come once; what follows it is padding or an order to change a validator's
//! power. The hash after a block covers every transaction before, and all that FinalizeBlock said beside.

use super::electorate::{Electorate, upheaval_in};
use crate::crypto::{PrivateKey, PublicKey, sha256};
use crate::sim::{Upheaval, WrongAnswer, tx_bytes, tx_number};
use crate::types::abci::{
    CheckTxResponse, CommitResponse, ExecTxResult, FinalizeBlockRequest, FinalizeBlockResponse, InfoResponse,
    InitChainResponse, QueryResponse, Request, Response, Verdict,
};
use crate::types::{Address, Height, Power, ValidatorUpdate};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// States kept so that it can fall behind, as one that syncs its own files too late does after a power cut.
const PAST_MAX: usize = 4;

/// What does not change: the same on all nodes.
#[derive(Debug)]
pub(super) struct Constitution {
    /// Keys by node, for transactions that change their power.
    pub(super) keys: Vec<PublicKey>,
    /// Powers by node, before the first block.
    pub(super) powers: Vec<u64>,
    /// Blocks it wants kept; all when none.
    pub(super) keep: Option<u64>,
    /// Whether a block without transactions changes the hash.
    pub(super) empty_blocks: EmptyBlocksDo,
}

/// What a block without transactions does to the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EmptyBlocksDo {
    Change,
    Nothing,
}

/// One node's application.
#[derive(Debug)]
pub(super) struct ModelApp {
    law: Arc<Constitution>,
    /// As of the last Commit. Survives the process.
    committed: Book,
    /// Executed and not committed.
    working: Option<Book>,
    past: VecDeque<Book>,
    /// Somebody may still need the blocks from here on.
    needed: u64,
    program: Program,
    /// Upheavals it obeyed since this was asked last.
    upheavals: Vec<Upheaval>,
}

/// Whether it computes what the others compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Right,
    Another,
}

/// What it knows after a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Book {
    height: u64,
    hash: Bytes,
    txs: Arc<BTreeSet<u64>>,
    electorate: Electorate,
}

/// The transaction with this number, and this many bytes of padding.
pub(super) fn padded_tx(number: u64, padding: usize) -> Bytes {
    let mut bytes = tx_bytes(number).to_vec();
    bytes.resize(bytes.len() + padding, b'.');
    bytes.into()
}

impl ModelApp {
    pub(super) fn new(law: Arc<Constitution>) -> ModelApp {
        let electorate = Electorate::new(law.powers.clone());
        ModelApp {
            law,
            committed: Book { electorate, ..Book::default() },
            working: None,
            past: VecDeque::new(),
            needed: 0,
            program: Program::Right,
            upheavals: Vec::new(),
        }
    }

    /// Upheavals it obeyed since this was asked last.
    pub(super) fn take_upheavals(&mut self) -> Vec<Upheaval> {
        std::mem::take(&mut self.upheavals)
    }

    /// From the next block on it computes another hash than it should.
    pub(super) fn diverge(&mut self) {
        self.program = Program::Another;
    }

    /// True while it does.
    pub(super) fn diverges(&self) -> bool {
        self.program == Program::Another
    }

    /// The last height it executed, committed or not.
    pub(super) fn executed(&self) -> u64 {
        self.working.as_ref().map_or(self.committed.height, |book| book.height)
    }

    /// How far it is.
    pub(super) fn info(&self) -> InfoResponse {
        InfoResponse {
            last_block_height: self.committed.height as i64,
            last_block_app_hash: self.committed.hash.clone(),
            ..InfoResponse::default()
        }
    }

    /// The oldest height it could be thrown back to.
    pub(super) fn oldest(&self) -> u64 {
        self.past.front().map_or(0, |book| book.height)
    }

    /// It is told below what height nobody needs a block any more: whoever is far behind has no other way to catch up.
    pub(super) fn need_from(&mut self, height: u64) {
        self.needed = height;
    }

    /// Its process dies: what it had not committed is gone.
    pub(super) fn crash(&mut self) {
        self.working = None;
    }

    /// Its files are as they were some commits ago.
    pub(super) fn forget_commits(&mut self, count: usize) {
        self.working = None;
        for _ in 0..count {
            let Some(before) = self.past.pop_back() else { return };
            self.committed = before;
        }
    }

    /// Numbers of the transactions it has committed, as a read answers.
    pub(super) fn query(&self) -> QueryResponse {
        let value = format!("{}", self.committed.txs.len()).into();
        QueryResponse { height: self.committed.height as i64, value, ..QueryResponse::default() }
    }

    /// Answers; the error is a sentence about whoever asked wrongly.
    pub(super) fn answer(&mut self, request: Request) -> Result<Response, String> {
        Ok(match request {
            Request::InitChain(_) => {
                if self.committed.height > 0 {
                    return Err(format!("InitChain comes when height {} is committed", self.committed.height));
                }
                Response::InitChain(InitChainResponse::default())
            }
            Request::PrepareProposal(request) => {
                let mut seen = BTreeSet::new();
                let fresh = |tx: &Bytes| self.is_new(tx) && tx_number(tx).is_some_and(|number| seen.insert(number));
                Response::PrepareProposal(request.txs.into_iter().filter(fresh).collect())
            }
            Request::ProcessProposal(request) => Response::ProcessProposal(self.judge(&request.txs)),
            Request::ExtendVote(request) => Response::ExtendVote(extension(request.block.height)),
            Request::VerifyVoteExtension(request) => {
                let good = request.vote_extension == extension(request.height);
                Response::VerifyVoteExtension(if good { Verdict::Accept } else { Verdict::Reject })
            }
            Request::FinalizeBlock(request) => Response::FinalizeBlock(self.execute(&request)?),
            Request::Commit => Response::Commit(self.commit()?),
            Request::CheckTx(request) => {
                let code = if self.is_new(&request.tx) { 0 } else { 1 };
                Response::CheckTx(CheckTxResponse { code, gas_wanted: 1, ..CheckTxResponse::default() })
            }
            Request::Query(_) => Response::Query(self.query()),
            other => return Err(format!("a replica never sends {}", other.method())),
        })
    }

    /// The same answer, as a mistaken application gives it.
    pub(super) fn spoil(&self, response: Response, how: WrongAnswer) -> Response {
        let Response::FinalizeBlock(mut answer) = response else { return response };
        let members: Vec<PublicKey> =
            self.committed.electorate.members().map(|(node, _)| self.law.keys[node]).collect();
        match how {
            WrongAnswer::TooManyResults => answer.tx_results.push(ExecTxResult::default()),
            WrongAnswer::NoValidators => {
                answer.validator_updates = members.iter().map(|key| update(key, 0)).collect();
            }
            WrongAnswer::TooMuchPower => {
                answer.validator_updates = members.iter().map(|key| update(key, i64::MAX as u64)).collect();
            }
            WrongAnswer::TwiceTheSame => {
                answer
                    .validator_updates
                    .extend(members.first().into_iter().flat_map(|key| [update(key, 1), update(key, 1)]));
            }
            WrongAnswer::RemovesAStranger => {
                answer.validator_updates.push(update(&PrivateKey::from_seed(&[99; 32]).public_key(), 0));
            }
            WrongAnswer::NotReadable => {} // there is no such answer: the connection ends
        }
        Response::FinalizeBlock(answer)
    }

    fn is_new(&self, tx: &[u8]) -> bool {
        tx_number(tx).is_some_and(|number| !self.committed.txs.contains(&number))
    }

    fn judge(&self, txs: &[Bytes]) -> Verdict {
        let mut seen = BTreeSet::new();
        let good = |tx: &Bytes| self.is_new(tx) && tx_number(tx).is_some_and(|number| seen.insert(number));
        if txs.iter().all(good) { Verdict::Accept } else { Verdict::Reject }
    }

    fn execute(&mut self, request: &FinalizeBlockRequest) -> Result<FinalizeBlockResponse, String> {
        let height = request.block.height.get();
        let before = &self.committed;
        if before.height > 0 && height != before.height + 1 {
            return Err(format!("FinalizeBlock of height {height} comes after height {}", before.height));
        }
        let mut txs = BTreeSet::clone(&before.txs);
        let mut hash = before.hash.clone();
        if self.law.empty_blocks == EmptyBlocksDo::Change {
            hash = Bytes::copy_from_slice(sha256(&[hash.as_ref(), &height.to_be_bytes()].concat()).as_bytes());
        }
        // Everything the application is told counts: whoever is told it a second time is told the same.
        if self.law.empty_blocks == EmptyBlocksDo::Change || !request.txs.is_empty() {
            let told = format!("{:?} {:?} {}", request.block, request.decided_last_commit, request.hash);
            hash = Bytes::copy_from_slice(sha256(&[hash.as_ref(), told.as_bytes()].concat()).as_bytes());
        }
        if self.diverges() {
            hash = Bytes::copy_from_slice(sha256(&[hash.as_ref(), b"another"].concat()).as_bytes());
        }
        let proposer = |key: &PublicKey| Address::from(key) == request.block.proposer_address;
        let proposer = self.law.keys.iter().position(proposer);
        let (mut electorate, mut changed) = (before.electorate.clone(), BTreeSet::new());
        for tx in &request.txs {
            let Some(number) = tx_number(tx) else { continue };
            if !txs.insert(number) {
                return Err(format!("transaction {number} is executed a second time, at height {height}"));
            }
            hash = Bytes::copy_from_slice(sha256(&[hash.as_ref(), tx.as_ref()].concat()).as_bytes());
            let named = electorate.obey(tx, proposer);
            self.upheavals.extend(upheaval_in(tx).filter(|_| !named.is_empty()));
            changed.extend(named);
        }
        let updates = electorate.updates_since(&before.electorate, &changed);
        let validator_updates = updates.map(|(node, power)| update(&self.law.keys[node], power)).collect();
        let tx_results = request.txs.iter().map(|_| ExecTxResult { gas_used: 1, ..ExecTxResult::default() }).collect();
        self.working = Some(Book { height, hash: hash.clone(), txs: Arc::new(txs), electorate });
        Ok(FinalizeBlockResponse { app_hash: hash, tx_results, validator_updates, ..FinalizeBlockResponse::default() })
    }

    fn commit(&mut self) -> Result<CommitResponse, String> {
        let book = self.working.take().ok_or("Commit comes without FinalizeBlock")?;
        let keep = |keep: u64| (book.height + 1).saturating_sub(keep).min(self.needed);
        let retain = self.law.keep.map_or(0, keep);
        self.past.push_back(std::mem::replace(&mut self.committed, book));
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
        Ok(CommitResponse { retain_height: retain as i64 })
    }
}

fn update(key: &PublicKey, power: u64) -> ValidatorUpdate {
    ValidatorUpdate { public_key: *key, power: Power::new(power) }
}

fn extension(height: Height) -> Bytes {
    format!("extension of {height}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        assert_eq!(tx_number(&padded_tx(7, 10)), Some(7));
    }
}
