//! The machine: admission, answers of the application, commits, rechecks.

use super::cache::{Cache, Seen};
use super::in_flight::InFlight;
use super::pool::{Entry, Pool, Position};
use super::{BatchId, FailedTxs, MempoolConfig, MempoolEffect, MempoolInput, Origin, Recheck};
use crate::crypto::Hash;
use crate::types::abci::{CheckTxKind, CheckTxResponse};
use crate::types::{Height, MempoolError, NodeId, Tx, TxLimits};
use std::collections::{BTreeMap, BTreeSet};

type Effects = Vec<MempoolEffect>;

/// One replica's mempool. See [`MempoolInput`] and [`MempoolEffect`].
#[derive(Debug)]
pub struct Mempool {
    config: MempoolConfig,
    limits: TxLimits,
    pool: Pool,
    cache: Cache,
    /// Transactions not answered yet, sent or held back.
    batches: BTreeMap<BatchId, Batch>,
    /// Their transactions.
    in_flight: InFlight,
    /// The last block; zero before this node applied one.
    height: Height,
    next_batch: u64,
    recheck: Option<RecheckRun>,
    gate: Gate,
    app: Result<(), String>,
    /// Whether consensus knows of transactions at this height.
    told: Told,
}

/// New transactions of one submission.
#[derive(Debug)]
struct Batch {
    origin: Origin,
    /// One for each transaction submitted, in order; those admitted get theirs when the application answers.
    results: Vec<Result<CheckTxResponse, MempoolError>>,
    /// Those admitted, with their place in `results`.
    admitted: Vec<Admitted>,
    sent: Sent,
}

#[derive(Debug)]
struct Admitted {
    place: usize,
    tx: Tx,
    fate: Fate,
}

/// What happened to a transaction while the application looked at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waiting,
    /// A block has it: it must not wait for another.
    Committed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Yes,
    /// Held back until the commit is over.
    NotYet,
}

/// All waiting transactions being checked again.
#[derive(Debug)]
struct RecheckRun {
    batch: BatchId,
    height: Height,
    hashes: Vec<Hash>,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// In time.
    InTime,
    /// The next block is being committed already: CometBFT calls this "full".
    Overrun,
}

/// Whether CheckTx may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    Open,
    /// Not any more, but answers are owed.
    Closing,
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    NotYet,
    Already,
}

impl Mempool {
    /// An empty mempool for the next block.
    pub fn new(config: MempoolConfig, limits: TxLimits) -> Mempool {
        Mempool {
            config,
            limits,
            pool: Pool::default(),
            cache: Cache::new(config.cache_size),
            batches: BTreeMap::new(),
            in_flight: InFlight::default(),
            height: Height::ZERO,
            next_batch: 0,
            recheck: None,
            gate: Gate::Open,
            app: Ok(()),
            told: Told::NotYet,
        }
    }

    /// Its limits and habits.
    pub fn config(&self) -> &MempoolConfig {
        &self.config
    }

    /// How many transactions wait.
    pub fn count(&self) -> u64 {
        self.pool.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.pool.bytes()
    }

    /// The first `limit` of them.
    pub fn first(&self, limit: usize) -> Vec<Tx> {
        self.pool.txs().take(limit).cloned().collect()
    }

    /// Whether a transaction waits.
    pub fn contains(&self, hash: &Hash) -> bool {
        self.pool.contains(hash)
    }

    /// Peers that sent a waiting transaction: they need not be sent it.
    pub fn senders(&self, hash: &Hash) -> &[NodeId] {
        self.pool.senders(hash)
    }

    /// A peer is gone. If it comes back it may have lost what it sent, with its memory: it is offered that too.
    pub fn forget_sender(&mut self, peer: NodeId) {
        self.pool.forget_sender(peer);
        self.in_flight.forget_sender(peer);
    }

    /// Grows with every transaction taken, and only then: when it is higher than it was, there is something to gossip.
    pub fn taken(&self) -> u64 {
        self.pool.next_position()
    }

    /// The transactions that wait at this position and behind, in order.
    pub(super) fn from(&self, position: Position) -> impl Iterator<Item = (Position, &Entry)> {
        self.pool.from(position)
    }

    /// Transactions for a block, in order, up to the first that does not fit. Bytes are counted as in a block. They
    /// stay here until a block with them is committed.
    pub fn reap(&self, bytes_max: Option<u64>, gas_max: Option<u64>) -> Vec<Tx> {
        self.pool.reap(bytes_max, gas_max)
    }

    /// Takes one fact into account. Effects are appended to `out`.
    pub fn step(&mut self, input: MempoolInput, out: &mut Vec<MempoolEffect>) {
        match input {
            MempoolInput::Submit { origin, txs } => self.on_submit(origin, txs, out),
            MempoolInput::Answered { batch, responses } => self.on_answered(batch, responses, out),
            MempoolInput::CheckFailed { batch, why } => self.on_failed(batch, &why, out),
            MempoolInput::AppDown { why } => self.app = Err(why),
            MempoolInput::AppUp => self.on_app_up(out),
            MempoolInput::Hold => self.on_hold(out),
            MempoolInput::Committed { height, txs, limits } => self.on_committed(height, &txs, limits, out),
            MempoolInput::RecheckTimer { height } => {
                if self.recheck.as_ref().is_some_and(|run| run.height == height || mutant!("M24")) {
                    self.tell(out); // late, but consensus need not wait for a slow application
                }
            }
            MempoolInput::Flush => {
                self.pool.clear();
                if !mutant!("M93") {
                    self.cache.clear();
                }
            }
        }
    }

    // ------------------------------------------------------------------------------------------------ admission

    fn on_submit(&mut self, origin: Origin, txs: Vec<Tx>, out: &mut Effects) {
        let mut admissions = Vec::with_capacity(txs.len());
        let mut admitted = Vec::with_capacity(txs.len());
        let sender = match origin {
            Origin::Peer(sender) => Some(sender),
            Origin::Admission(_) | Origin::Check(_) => None,
        };
        for (place, tx) in txs.into_iter().enumerate() {
            let admission = self.admit(&tx, sender);
            if admission.is_ok() {
                self.in_flight.add(&tx, sender);
                admitted.push(Admitted { place, tx, fate: Fate::Waiting });
            }
            admissions.push(admission);
        }
        if let Origin::Admission(request) = origin {
            out.push(MempoolEffect::Admitted { request, results: admissions.clone() });
        }
        let results = admissions.into_iter().map(|it| it.map(|()| CheckTxResponse::default())).collect();
        let batch = Batch { origin, results, admitted, sent: Sent::NotYet };
        if batch.admitted.is_empty() {
            return reply(batch, out);
        }
        let id = self.batch_id();
        self.batches.insert(id, batch);
        self.send(id, out);
    }

    /// The rules of reference §7.1, in its order: the first that fails answers.
    fn admit(&mut self, tx: &Tx, sender: Option<NodeId>) -> Result<(), MempoolError> {
        let len = tx.bytes().len() as u64;
        self.has_room_for(len)?;
        if len > self.config.max_tx_bytes && !mutant!("M10") {
            return Err(MempoolError::TooLarge { max: self.config.max_tx_bytes, got: len });
        }
        let (got, max) = (tx.encoded_len(), self.limits.bytes_max);
        if got > max && !mutant!("M11") {
            return Err(MempoolError::DoesNotFitBlock { got, max });
        }
        self.app.clone().map_err(MempoolError::App)?;
        let waits = self.pool.contains(&tx.hash()) && !mutant!("M13"); // though a small cache may have forgotten it
        if (self.cache.push(tx.hash()) == Seen::Before && !mutant!("M14")) || waits {
            if let Some(sender) = sender {
                self.pool.add_sender(&tx.hash(), sender);
                self.in_flight.add_sender(&tx.hash(), sender);
            }
            return Err(MempoolError::InCache);
        }
        Ok(())
    }

    fn has_room_for(&self, len: u64) -> Result<(), MempoolError> {
        let (txs, bytes) = (
            self.pool.len() + if mutant!("M99") { 0 } else { self.in_flight.txs() },
            self.pool.bytes() + self.in_flight.bytes(),
        );
        let (txs_max, bytes_max) = (self.config.size, self.config.max_txs_bytes);
        if txs >= txs_max + u64::from(mutant!("M4")) || (bytes.saturating_add(len) > bytes_max && !mutant!("M12")) {
            return Err(MempoolError::Full { txs, txs_max, bytes, bytes_max });
        }
        match &self.recheck {
            Some(run) if run.pace == Pace::Overrun => Err(MempoolError::Rechecking),
            _ => Ok(()),
        }
    }

    fn batch_id(&mut self) -> BatchId {
        self.next_batch += 1;
        BatchId(self.next_batch)
    }

    fn send(&mut self, id: BatchId, out: &mut Effects) {
        if self.gate != Gate::Open && !mutant!("M8") {
            return;
        }
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.sent = Sent::Yes;
            let txs = batch.admitted.iter().map(|it| it.tx.clone()).collect();
            out.push(MempoolEffect::Check { batch: id, kind: CheckTxKind::New, txs });
        }
    }

    // -------------------------------------------------------------------------------------------------- answers

    fn on_answered(&mut self, id: BatchId, responses: Vec<CheckTxResponse>, out: &mut Effects) {
        let expected = match (self.batches.get(&id), &self.recheck) {
            (Some(batch), _) => batch.admitted.len(),
            (None, Some(run)) if run.batch == id || mutant!("M3") => run.hashes.len(),
            _ => return, // a recheck that the next block overtook
        };
        if responses.len() != expected && !mutant!("M15") {
            let why = format!("the application gave {} answers to {expected} check_tx", responses.len());
            return self.on_failed(id, &why, out);
        }
        match self.batches.remove(&id) {
            Some(batch) => self.on_new(batch, responses, out),
            None => self.on_rechecked(responses, out),
        }
        self.maybe_held(out);
    }

    fn on_new(&mut self, mut batch: Batch, responses: Vec<CheckTxResponse>, out: &mut Effects) {
        let before = self.taken();
        for (Admitted { place, tx, fate }, response) in std::mem::take(&mut batch.admitted).into_iter().zip(responses) {
            let senders = self.in_flight.remove(&tx);
            let result = self.judge(response);
            let gas = result.as_ref().ok().filter(|response| response.code == 0).map(gas_of);
            match (fate, gas) {
                (Fate::Waiting, Some(gas)) => self.take(tx, gas, senders),
                (Fate::Waiting, None) => self.forget_failed(&tx.hash()),
                (Fate::Committed, _) => {} // the block said what the cache shall know
            }
            if let Some(slot) = batch.results.get_mut(place) {
                *slot = result;
            }
        }
        reply(batch, out);
        if self.taken() > before && self.recheck.is_none() {
            self.tell(out);
        }
    }

    /// Appends a transaction, unless a small cache let it in twice, or the limits fell while the application looked at it.
    fn take(&mut self, tx: Tx, gas: u64, senders: Vec<NodeId>) {
        if tx.encoded_len() > self.limits.bytes_max {
            return self.forget_failed(&tx.hash());
        }
        if !self.pool.contains(&tx.hash()) {
            self.pool.append(tx, gas, self.height, senders);
        }
    }

    /// TxPostCheck: a transaction that wants more gas than any block has would wait for ever.
    fn judge(&self, response: CheckTxResponse) -> Result<CheckTxResponse, MempoolError> {
        match self.limits.gas_max {
            Some(_) if response.code == 0 && response.gas_wanted < 0 && !mutant!("M5") => {
                Err(MempoolError::NegativeGas { wanted: response.gas_wanted })
            }
            Some(max) if response.code == 0 && gas_of(&response) > max && !mutant!("M16") => {
                Err(MempoolError::TooMuchGas { wanted: response.gas_wanted, max })
            }
            _ => Ok(response),
        }
    }

    fn on_failed(&mut self, id: BatchId, why: &str, out: &mut Effects) {
        if let Some(mut batch) = self.batches.remove(&id) {
            for Admitted { place, tx, fate } in std::mem::take(&mut batch.admitted) {
                self.in_flight.remove(&tx);
                if fate == Fate::Waiting {
                    if mutant!("M17") {
                        continue;
                    };
                    self.cache.forget(&tx.hash()); // nobody looked at it: it may come again
                }
                if let Some(slot) = batch.results.get_mut(place) {
                    *slot = Err(MempoolError::App(why.to_owned()));
                }
            }
            reply(batch, out);
        } else if self.recheck.as_ref().is_some_and(|run| run.batch == id) {
            self.recheck = None; // they stay, and are checked again after the next block
            if !mutant!("M98") {
                self.tell(out);
            }
        }
        self.maybe_held(out);
    }

    fn forget_failed(&mut self, hash: &Hash) {
        if self.config.failed == FailedTxs::Forget {
            self.cache.forget(hash);
        }
    }

    fn tell(&mut self, out: &mut Effects) {
        if (self.told == Told::NotYet || mutant!("M18")) && !self.pool.is_empty() {
            self.told = Told::Already;
            out.push(MempoolEffect::TxsAvailable);
        }
    }

    // -------------------------------------------------------------------------------------------------- commits

    fn on_hold(&mut self, out: &mut Effects) {
        if let Some(run) = &mut self.recheck {
            run.pace = if mutant!("M90") { run.pace } else { Pace::Overrun };
        }
        self.gate = Gate::Closing;
        self.maybe_held(out);
    }

    /// The application owes nothing any more: it may commit.
    fn maybe_held(&mut self, out: &mut Effects) {
        let owed = self.recheck.is_some() || self.batches.values().any(|batch| batch.sent == Sent::Yes);
        if self.gate == Gate::Closing && (!owed || mutant!("M20")) {
            self.gate = Gate::Closed;
            out.push(MempoolEffect::Held);
        }
    }

    /// No Commit is under way after a handshake. A hold for one that was lost with the application, or for one that only
    /// replayed a block the state has already, would never be ended by a new block: there are no transactions for it.
    fn on_app_up(&mut self, out: &mut Effects) {
        self.app = Ok(());
        self.gate = if mutant!("M92") { self.gate } else { Gate::Open };
        self.send_held_back(out);
    }

    fn send_held_back(&mut self, out: &mut Effects) {
        let held_back: Vec<BatchId> =
            self.batches.iter().filter(|(_, batch)| batch.sent == Sent::NotYet).map(|(id, _)| *id).collect();
        held_back.into_iter().for_each(|id| self.send(id, out));
    }

    fn on_committed(&mut self, height: Height, txs: &[(Tx, u32)], limits: TxLimits, out: &mut Effects) {
        let before = std::mem::replace(&mut self.limits, limits);
        self.height = height;
        self.told = if mutant!("M19") { self.told } else { Told::NotYet };
        self.gate = Gate::Open;
        self.recheck = self.recheck.take().filter(|_| mutant!("M22")); // its answers are about an older state
        for (tx, code) in txs {
            if !mutant!("M21") {
                self.pool.remove(&tx.hash());
            }
            if *code == 0 || mutant!("M2") {
                self.cache.push(tx.hash());
            } else {
                self.forget_failed(&tx.hash()); // it may become valid later (bug class 081)
            }
        }
        if before != limits {
            self.drop_what_fits_no_more();
        }
        self.mark_committed(txs);
        self.start_recheck(height, out);
        self.send_held_back(out);
    }

    /// The first that fits into no block would keep all behind it out of blocks, for ever (CometBFT asks only when a
    /// transaction comes).
    fn drop_what_fits_no_more(&mut self) {
        let TxLimits { bytes_max, gas_max } = self.limits;
        let too_large =
            |entry: &Entry| entry.tx.encoded_len() > bytes_max || gas_max.is_some_and(|max| entry.gas > max);
        let misfits: Vec<Hash> =
            self.pool.from(0).filter(|(_, entry)| too_large(entry)).map(|(_, entry)| entry.tx.hash()).collect();
        for hash in misfits {
            self.pool.remove(&hash);
            self.forget_failed(&hash); // the limits may be raised again
        }
    }

    /// A transaction may be in a block while the application still looks at it here.
    fn mark_committed(&mut self, txs: &[(Tx, u32)]) {
        if self.batches.is_empty() || mutant!("M7") {
            return;
        }
        let committed: BTreeSet<Hash> = txs.iter().map(|(tx, _)| tx.hash()).collect();
        let in_flight = self.batches.values_mut().flat_map(|batch| &mut batch.admitted);
        for it in in_flight.filter(|it| committed.contains(&it.tx.hash())) {
            it.fate = Fate::Committed;
        }
    }

    fn start_recheck(&mut self, height: Height, out: &mut Effects) {
        let Recheck::On { timeout } = self.config.recheck else { return self.tell(out) };
        if self.pool.is_empty() || (self.app.is_err() && !mutant!("M91")) {
            return self.tell(out);
        }
        let batch = self.batch_id();
        let txs: Vec<Tx> = self.pool.txs().cloned().collect();
        let hashes = txs.iter().map(Tx::hash).collect();
        self.recheck = Some(RecheckRun { batch, height, hashes, pace: Pace::InTime });
        out.push(MempoolEffect::Check { batch, kind: CheckTxKind::Recheck, txs });
        out.push(MempoolEffect::SetRecheckTimer { height, after: timeout });
    }

    fn on_rechecked(&mut self, responses: Vec<CheckTxResponse>, out: &mut Effects) {
        let Some(run) = self.recheck.take() else { return };
        for (hash, response) in run.hashes.iter().zip(responses) {
            let passes = self.judge(response).is_ok_and(|response| response.code == 0);
            if !passes && self.pool.contains(hash) && !mutant!("M23") {
                self.pool.remove(hash);
                self.forget_failed(hash);
            }
        }
        self.tell(out);
    }
}

/// Answers a client that waits for the application's word.
fn reply(batch: Batch, out: &mut Effects) {
    if let Origin::Check(request) = batch.origin {
        out.push(MempoolEffect::Checked { request, results: batch.results });
    }
}

/// Gas for adding up; less than none counts as none.
fn gas_of(response: &CheckTxResponse) -> u64 {
    u64::try_from(response.gas_wanted).unwrap_or(0)
}
