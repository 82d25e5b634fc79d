//! A small ledger with one bad habit.

use crate::abci::{Answer, Application};
use crate::crypto::sha256;
use crate::sim::app::InstanceNr;
use crate::types::abci::{
    ApplySnapshotChunkRequest, ApplySnapshotChunkResponse, ApplySnapshotChunkResult, CheckTxRequest, CheckTxResponse,
    CommitResponse, Event, ExecTxResult, FinalizeBlockRequest, FinalizeBlockResponse, InfoRequest, InfoResponse,
    InitChainRequest, InitChainResponse, LoadSnapshotChunkRequest, OfferSnapshotRequest, OfferSnapshotResult,
    PrepareProposalRequest, ProcessProposalRequest, QueryRequest, QueryResponse, Snapshot, Verdict,
};
use crate::types::{Power, ValidatorUpdate};
use bytes::Bytes;
use std::sync::{Arc, Mutex};

/// What an application does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    Good,
    GasByInstance,
    EventsByInstance,
    HashByInstance,
    HashByKeyAndInstance,
    HashByEnvironment,
    HashByRestarts,
    HashByProposals,
    HashByChecks,
    HashByClock,
    InitialHashByInstance,
    VerdictByInstance,
    ForgetsWhenKilled,
    PersistsTooEarly,
    RefusesItsOwn,
    TooFewResults,
    RemovesAStranger,
    PreparesTooMuch,
    Panics,
    Hangs,
}

/// What outlives a kill.
#[derive(Debug, Default)]
pub(super) struct Disk(Mutex<State>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct State {
    height: u64,
    /// Every transaction so far.
    log: Vec<Bytes>,
    starts: u32,
    /// What FinalizeBlock answered for `height`.
    app_hash: Bytes,
}

impl State {
    fn hash(&self) -> Bytes {
        Bytes::copy_from_slice(sha256(&self.log.concat()).as_bytes())
    }

    /// The log in one piece: each transaction behind its length.
    fn packed(&self) -> Bytes {
        self.log.iter().flat_map(|tx| [&[tx.len() as u8, (tx.len() >> 8) as u8][..], tx].concat()).collect()
    }

    fn unpacked(height: u64, mut packed: &[u8]) -> Option<State> {
        let mut log = Vec::new();
        while let [low, high, rest @ ..] = packed {
            let len = usize::from(*low) | usize::from(*high) << 8;
            log.push(Bytes::copy_from_slice(rest.get(..len)?));
            packed = &rest[len..];
        }
        if !packed.is_empty() {
            return None;
        }
        let mut state = State { height, log, starts: 1, app_hash: Bytes::new() };
        state.app_hash = state.hash();
        Some(state)
    }
}

/// Keeps every transaction that is `key=value`.
pub(super) struct Ledger {
    habit: Habit,
    nr: InstanceNr,
    disk: Arc<Disk>,
    state: State,
    next: Option<State>,
    /// Proposals and checks seen, which must not matter.
    seen: u8,
    elsewhere: bool,
    offered: Option<(u64, Bytes)>,
}

impl Ledger {
    /// `elsewhere`: in another environment than the others.
    pub(super) fn open(habit: Habit, nr: InstanceNr, disk: Arc<Disk>, elsewhere: bool) -> Ledger {
        let mut state = {
            let mut kept = disk.0.lock().unwrap();
            kept.starts += 1;
            kept.clone()
        };
        if habit == Habit::ForgetsWhenKilled {
            state.log.pop();
        }
        Ledger { habit, nr, disk, state, next: None, seen: 0, elsewhere, offered: None }
    }

    fn is_good(tx: &Bytes) -> bool {
        tx.iter().filter(|byte| **byte == b'=').count() == 1 && !tx.starts_with(b"=")
    }

    fn odd(&self, txs: &[Bytes]) -> u8 {
        match self.habit {
            Habit::HashByInstance => self.nr.0 as u8,
            Habit::HashByKeyAndInstance if txs.iter().any(|tx| tx.starts_with(b"key3=")) => self.nr.0 as u8,
            Habit::HashByEnvironment => self.elsewhere.into(),
            Habit::HashByRestarts => (self.state.starts > 1).into(),
            Habit::HashByProposals | Habit::HashByChecks => self.seen,
            Habit::HashByClock => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
                now.subsec_micros() as u8
            }
            _ => 0,
        }
    }

    fn result(&self, tx: &Bytes) -> ExecTxResult {
        let mut events = ["first", "second"].map(|kind| Event { kind: kind.to_owned(), attributes: Vec::new() });
        if self.habit == Habit::EventsByInstance && self.nr.0 > 0 {
            events.reverse();
        }
        let gas_used = if self.habit == Habit::GasByInstance { 1 + i64::from(self.nr.0) } else { 1 };
        let code = u32::from(!Ledger::is_good(tx));
        ExecTxResult { code, gas_used, events: events.into(), ..ExecTxResult::default() }
    }

    fn updates(&self, height: u64) -> Vec<ValidatorUpdate> {
        let key = |seed: u8| crate::crypto::PrivateKey::from_seed(&[seed; 32]).public_key();
        match self.habit {
            Habit::RemovesAStranger if height == 3 => {
                vec![ValidatorUpdate { public_key: key(9), power: Power::ZERO }]
            }
            _ if height.is_multiple_of(4) => vec![ValidatorUpdate { public_key: key(7), power: Power::new(height) }],
            _ => Vec::new(),
        }
    }
}

impl Application for Ledger {
    fn info(&mut self, _request: InfoRequest) -> Answer<InfoResponse> {
        let (height, hash) = (self.state.height as i64, self.state.app_hash.clone());
        Ok(InfoResponse { last_block_height: height, last_block_app_hash: hash, ..InfoResponse::default() })
    }

    fn init_chain(&mut self, _request: InitChainRequest) -> Answer<InitChainResponse> {
        let odd = if self.habit == Habit::InitialHashByInstance { self.nr.0 as u8 } else { 0 };
        Ok(InitChainResponse { app_hash: vec![odd; 4].into(), ..InitChainResponse::default() })
    }

    fn query(&mut self, request: QueryRequest) -> Answer<QueryResponse> {
        let start = [&request.data[..], b"="].concat();
        let value = self.state.log.iter().rev().find(|tx| tx.starts_with(&start)).cloned().unwrap_or_default();
        Ok(QueryResponse { value, ..QueryResponse::default() })
    }

    fn check_tx(&mut self, request: CheckTxRequest) -> Answer<CheckTxResponse> {
        if self.habit == Habit::HashByChecks {
            self.seen = self.seen.wrapping_add(1);
        }
        Ok(CheckTxResponse { code: u32::from(!Ledger::is_good(&request.tx)), ..CheckTxResponse::default() })
    }

    fn prepare_proposal(&mut self, request: PrepareProposalRequest) -> Answer<Vec<Bytes>> {
        let mut txs = request.txs;
        match self.habit {
            Habit::PreparesTooMuch => txs.push(vec![b'x'; request.max_tx_bytes as usize].into()),
            Habit::RefusesItsOwn => txs.push(Bytes::from_static(b"not a pair")),
            _ => {}
        }
        Ok(txs)
    }

    fn process_proposal(&mut self, request: ProcessProposalRequest) -> Answer<Verdict> {
        if self.habit == Habit::HashByProposals {
            self.seen = self.seen.wrapping_add(1);
        }
        if self.habit == Habit::VerdictByInstance && self.nr.0 == 2 {
            return Ok(Verdict::Reject);
        }
        Ok(if request.txs.iter().all(Ledger::is_good) { Verdict::Accept } else { Verdict::Reject })
    }

    fn finalize_block(&mut self, request: FinalizeBlockRequest) -> Answer<FinalizeBlockResponse> {
        let height = request.block.height.get();
        assert!(self.habit != Habit::Panics || height < 3, "a bad habit");
        if self.habit == Habit::Hangs && height == 3 {
            // Longer than any answer may take; the runtime of the test is not held up by a thread that waits.
            std::thread::park_timeout(std::time::Duration::from_secs(2));
        }
        let mut next = self.state.clone();
        next.height = height;
        next.log.extend(request.txs.iter().filter(|tx| Ledger::is_good(tx)).cloned());
        let mut tx_results: Vec<ExecTxResult> = request.txs.iter().map(|tx| self.result(tx)).collect();
        if self.habit == Habit::TooFewResults {
            tx_results.pop();
        }
        let odd = self.odd(&request.txs);
        let hash = match odd {
            0 => next.hash(),
            _ => Bytes::from([&next.hash()[..], &[odd]].concat()),
        };
        next.app_hash = hash.clone();
        if self.habit == Habit::PersistsTooEarly {
            *self.disk.0.lock().unwrap() = next.clone();
        }
        self.next = Some(next);
        let validator_updates = self.updates(height);
        Ok(FinalizeBlockResponse { tx_results, validator_updates, app_hash: hash, ..FinalizeBlockResponse::default() })
    }

    fn commit(&mut self) -> Answer<CommitResponse> {
        if let Some(next) = self.next.take() {
            self.state = next;
        }
        *self.disk.0.lock().unwrap() = self.state.clone();
        Ok(CommitResponse::default())
    }

    fn list_snapshots(&mut self) -> Answer<Vec<Snapshot>> {
        let (height, packed) = (self.state.height, self.state.packed());
        let hash = Bytes::copy_from_slice(sha256(&packed).as_bytes());
        Ok(vec![Snapshot { height, format: 1, chunks: 1, hash, metadata: Bytes::new() }])
    }

    fn load_snapshot_chunk(&mut self, _request: LoadSnapshotChunkRequest) -> Answer<Bytes> {
        Ok(self.state.packed())
    }

    fn offer_snapshot(&mut self, request: OfferSnapshotRequest) -> Answer<OfferSnapshotResult> {
        self.offered = request.snapshot.map(|snapshot| (snapshot.height, snapshot.hash));
        Ok(OfferSnapshotResult::Accept)
    }

    fn apply_snapshot_chunk(&mut self, request: ApplySnapshotChunkRequest) -> Answer<ApplySnapshotChunkResponse> {
        let answer = |result| Ok(ApplySnapshotChunkResponse { result, ..ApplySnapshotChunkResponse::default() });
        let Some((height, hash)) = self.offered.take() else { return answer(ApplySnapshotChunkResult::Abort) };
        if sha256(&request.chunk).as_bytes()[..] != hash[..] {
            return answer(ApplySnapshotChunkResult::RejectSnapshot);
        }
        let Some(state) = State::unpacked(height, &request.chunk) else {
            return answer(ApplySnapshotChunkResult::RejectSnapshot);
        };
        *self.disk.0.lock().unwrap() = state.clone();
        self.state = state;
        answer(ApplySnapshotChunkResult::Accept)
    }
}
