//! Executing orders, one by one, in their order.

use super::driver::Driver;
use super::talk::verify_beside;
use super::{NodeError, sign_state};
use crate::consensus::{Now, RoundNote, Signed};
use crate::gossip::Decided;
use crate::mempool::MempoolEffect;
use crate::pipeline::{PipelineInput, StoredBlock};
use crate::ports::{MempoolError, SignError, SignerFailed, Store};
use crate::replica::{Effect, Input, Resume};
use crate::types::abci::{CheckTxRequest, Request};
use crate::types::{
    Algorithm, CandidateBlock, ChainState, ExtendedCommit, Height, PartSet, Published, Round, SignRequest, Tx,
};
use std::sync::Arc;

impl Driver {
    /// Does what is ordered; answers that come at once are queued.
    pub(super) fn execute(&mut self, now: Now, effect: Effect) -> Result<(), NodeError> {
        if !matches!(effect, Effect::Call { .. }) {
            self.send_calls();
        }
        match effect {
            Effect::Persist(record) => {
                self.journal.append(now.wall, &record)?;
                self.inner.journal_dirty = true;
            }
            Effect::Sign(request) => {
                self.sync_journal()?;
                self.have_signed(request)?;
            }
            Effect::Tell { peer, message } => self.talk.tell(peer, &message),
            Effect::TellEach { peers, message } => self.talk.tell_each(&peers, &message),
            Effect::TellAll(message) => self.talk.tell_all(&message),
            Effect::Drop { peer, why } => self.talk.drop_peer(peer, why),
            Effect::Good(peer) => self.talk.good(peer),
            Effect::Signers(signers) => self.talk.count_signatures_of(signers),
            Effect::LoadDecided(height) => self.answer_decided(height)?,
            Effect::VerifyCommits { ticket, checks } => {
                verify_beside(self.genesis.chain_id.clone(), ticket, checks, self.facts.clone());
            }
            Effect::WakeAt { waker, at } => self.talk.wake_at(waker, at),
            Effect::Fetching => self.status.fetching_begun(),
            Effect::SetTimer { timer, at } => self.inner.timers.set(timer, at),
            Effect::Call { call, request } => self.call(call, request),
            Effect::Mempool(effect) => self.execute_mempool(now, effect),
            Effect::SaveBlock { block, commit } => {
                self.sync_journal()?;
                self.store.save_block(&block, &commit)?;
            }
            Effect::SaveResults { height, results } => self.store.save_results(height, &results)?,
            Effect::SaveState(state) => self.save_state(&state)?,
            Effect::LoadBlock(height) => {
                let stored = self.load_block(height)?.map(Box::new);
                self.inner.answers.push_back(Input::Pipeline(PipelineInput::Loaded { height, stored }));
            }
            Effect::LoadFacts { height, round, block } => self.load_facts(height, round, block)?,
            Effect::Begin(state) => self.begin(&state)?,
            Effect::Publish(applied) => {
                self.inner.timers.forget_below(applied.block.block().header.height);
                self.report.applied(&applied, &self.metrics);
                self.status.applied();
                self.bus.publish(Published::Block(applied));
            }
            Effect::Index(applied) => self.indexer.index(applied),
            Effect::Prune { retain, state } => self.indexer.prune(retain, state),
            Effect::Round(note) => self.tell_round(now, &note),
            Effect::Note(note) => tracing::warn!("{note}"),
            Effect::WaitForApp { why } => self.wait_for_app(&why),
            Effect::Key(news) => sign_state::act_on(news)?,
            Effect::Halt(error) => self.halt(&error.to_string()),
            Effect::GoOn(state) => self.ready(&state),
            Effect::SaveEvidence(changes) => self.store.save_evidence(&changes)?,
            Effect::ReadAnswer { ticket, outcome } => self.end_read(ticket, outcome),
            Effect::EvidenceAnswer { request, outcome } => {
                if let Some(reply) = self.inner.waiting.evidence.remove(&request) {
                    let _ = reply.send(outcome);
                }
            }
        }
        Ok(())
    }

    fn tell_round(&mut self, now: Now, note: &RoundNote) {
        if let RoundNote::Misconduct(misconduct) = note {
            self.misbehaviour.note(now.wall, misconduct);
        }
        self.report.round(note, &self.metrics);
        super::report::publish(&self.bus, note);
    }

    /// The barrier: everything persisted so far becomes durable, once, before the first promise that needs it.
    fn sync_journal(&mut self) -> Result<(), NodeError> {
        if self.inner.journal_dirty {
            self.journal.sync()?;
            self.inner.journal_dirty = false;
        }
        Ok(())
    }

    /// Has something signed. Votes and proposals may be refused; statements are not remembered, so they cannot be.
    fn have_signed(&mut self, request: SignRequest) -> Result<(), NodeError> {
        let Some(signer) = &mut self.signer else { return Ok(()) };
        let chain_id = &self.genesis.chain_id;
        let signed = match request {
            SignRequest::Vote(vote) => {
                let (height, round) = (vote.height, vote.round);
                let signed = signer.sign_vote(chain_id, vote).map(Signed::Vote);
                self.guarded(height, round, signed)?
            }
            SignRequest::Proposal(proposal) => {
                let (height, round) = (proposal.height, proposal.round);
                let signed = signer.sign_proposal(chain_id, proposal).map(Signed::Proposal);
                self.guarded(height, round, signed)?
            }
            SignRequest::Statement(statement) => {
                Signed::Statement(Box::new(signer.sign_statement(chain_id, statement)?))
            }
        };
        self.inner.answers.push_back(Input::Signed(signed));
        #[cfg(feature = "misbehave")]
        self.tell_second_vote();
        Ok(())
    }

    /// What to go on with when the guard was asked to sign for this height and round. After a failure whether it
    /// remembers is unknown: going on could sign twice.
    fn guarded(
        &mut self,
        height: Height,
        round: Round,
        signed: Result<Signed, SignError>,
    ) -> Result<Signed, SignerFailed> {
        match signed {
            Ok(signed) => {
                self.status.signed(Ok(()));
                Ok(signed)
            }
            Err(SignError::Refused(why)) => {
                self.status.signed(Err(format!("refused at height {height} round {round}: {why}")));
                tracing::warn!(
                    "height {height} round {round}: refused to sign: {why}. The others decide without this signature; \
                     without others the chain waits. If data/ was restored, restore all of it from one backup: its \
                     blocks, cs.wal and priv_validator_state.json belong together"
                );
                Ok(Signed::Refused { height, round })
            }
            Err(SignError::Failed(failed)) => Err(failed),
        }
    }

    #[cfg(feature = "misbehave")]
    fn tell_second_vote(&mut self) {
        use crate::types::{ConsensusMessage, DirectMessage, PeerMessage};
        let Some(vote) = self.signer.as_mut().and_then(|signer| signer.second_vote()) else { return };
        tracing::warn!(height = %vote.height, round = %vote.round, "signed a second prevote, as this build is told to");
        self.talk.tell_all(&match self.replica.state().algorithm {
            Algorithm::Tendermint => PeerMessage::Consensus(ConsensusMessage::Vote(vote)),
            algorithm => PeerMessage::Direct(algorithm, DirectMessage::Vote(vote)),
        });
    }

    fn execute_mempool(&mut self, now: Now, effect: MempoolEffect) {
        match effect {
            MempoolEffect::Check { batch, kind, txs } => {
                self.inner.checking.insert(batch);
                self.inner.checks.ids.push((batch, txs.len()));
                let request = |tx: Tx| Request::CheckTx(CheckTxRequest { tx: tx.bytes().clone(), kind });
                self.inner.checks.requests.extend(txs.into_iter().map(request));
            }
            MempoolEffect::Admitted { request, results } => {
                results.iter().filter_map(|result| result.as_ref().err()).for_each(|error| self.count_refusal(error));
                if let Some(reply) = self.inner.waiting.admitted.remove(&request) {
                    let _ = reply.send(results);
                }
            }
            MempoolEffect::Checked { request, results } => {
                for result in &results {
                    match result {
                        Ok(answer) if answer.code != 0 => self.metrics.mempool.failed(),
                        Ok(_) => {}
                        Err(error) => self.count_refusal(error),
                    }
                }
                if let Some(reply) = self.inner.waiting.checked.remove(&request) {
                    let _ = reply.send(results);
                }
            }
            MempoolEffect::SetRecheckTimer { height, after } => {
                self.inner.recheck_timer = Some((now.tick.plus(after), height));
            }
            // They stay inside the replica.
            MempoolEffect::TxsAvailable | MempoolEffect::Held => {}
        }
    }

    fn count_refusal(&self, error: &MempoolError) {
        if matches!(error, MempoolError::Full { .. }) {
            self.metrics.mempool.rejected();
        }
    }

    fn save_state(&mut self, state: &ChainState) -> Result<(), NodeError> {
        // Only the first state can come before the genesis document; it may be large, so it is not read at each height.
        if state.last_block_height == Height::ZERO && self.store.genesis()?.is_none() {
            self.store.save_genesis(&self.genesis_json, state)?;
        }
        self.store.save_state(state)?;
        self.report.advanced(state);
        Ok(())
    }

    fn load_block(&self, height: Height) -> Result<Option<StoredBlock>, NodeError> {
        let Some(block) = load_candidate(&*self.store, height)? else { return Ok(None) };
        let last_validators = match height.previous() {
            Some(previous) if height > self.genesis.initial_height => self.store.validators(previous)?.map(Arc::new),
            _ => None,
        };
        let results = self.store.results(height)?.map(Arc::new);
        Ok(Some(StoredBlock { block: Arc::new(block), last_validators, results }))
    }

    fn answer_decided(&mut self, height: Height) -> Result<(), NodeError> {
        let decided = self.load_decided(height)?;
        self.inner.answers.push_back(Input::DecidedLoaded { height, decided });
        Ok(())
    }

    /// What the store knows about the evidence in a proposed block.
    fn load_facts(&mut self, height: Height, round: Round, block: Arc<CandidateBlock>) -> Result<(), NodeError> {
        let known = |evidence| super::evidence_facts(&*self.store, evidence);
        let facts = block.block().evidence.iter().map(known).collect::<Result<Vec<_>, _>>()?;
        self.inner.answers.push_back(Input::FactsLoaded { height, round, block, facts });
        Ok(())
    }

    /// A decided block and its commit, for a peer that lags behind.
    fn load_decided(&self, height: Height) -> Result<Option<Decided>, NodeError> {
        let Some(block) = load_candidate(&*self.store, height)? else { return Ok(None) };
        let commit = match self.store.extended_commit(height)? {
            Some(commit) => Some(commit),
            None => match self.store.commit(height)? {
                Some(commit) => Some(ExtendedCommit::from(commit)),
                None => self.store.seen_commit(height)?.map(ExtendedCommit::from),
            },
        };
        Ok(commit.map(|commit| Decided { block: Arc::new(block), commit: Arc::new(commit) }))
    }

    /// Reads what consensus needs to take up the next height.
    fn begin(&mut self, state: &ChainState) -> Result<(), NodeError> {
        sign_state::refuse_stale(self.signer.as_deref(), &*self.store, &self.recovered)?;
        let last = state.last_block_height;
        let last_commit = match self.store.extended_commit(last)? {
            Some(commit) => Some(commit),
            None => self.store.seen_commit(last)?.map(ExtendedCommit::from),
        };
        let last_block = load_candidate(&*self.store, last)?.map(Arc::new);
        let last_header_app_hash = last_block.as_ref().map(|block| block.block().header.app_hash.clone());
        self.sync_journal()?;
        let records = match state.algorithm {
            Algorithm::Tendermint => self.recovered.records_since(state.next_height())?,
            Algorithm::Raft | Algorithm::Pbft => self.recovered.records_with_standing(state.next_height())?,
        };
        let evidence = self.store.evidence()?;
        self.ready(state);
        let resume = Resume { last_commit, last_block, last_header_app_hash, records, evidence };
        self.inner.answers.push_back(Input::Resumed(Box::new(resume)));
        Ok(())
    }

    /// The handshake is over, the first one or one with an application that was away.
    fn ready(&mut self, state: &ChainState) {
        self.status.ready();
        self.report.ready(state);
    }

    fn halt(&self, why: &str) {
        // First, so that whoever reads the log and asks finds the same.
        self.status.halted(why);
        tracing::error!("consensus stopped: {why}");
    }

    fn wait_for_app(&mut self, why: &str) {
        self.status.app_waiting(why);
        if self.inner.pumps.take().is_some() {
            self.inner.generation += 1;
            self.given_up.send_replace(self.inner.connection);
        }
    }
}

/// A stored block with the parts it was saved in.
pub(super) fn load_candidate(store: &dyn Store, height: Height) -> Result<Option<CandidateBlock>, NodeError> {
    let Some(meta) = store.block_meta(height)? else { return Ok(None) };
    let Some(mut parts) = PartSet::gather(meta.block_id.parts) else { return Ok(None) };
    for index in 0..meta.block_id.parts.total {
        if let Some(part) = store.part(height, index)? {
            parts.add(part).map_err(|error| NodeError::damaged(height, &error))?;
        }
    }
    CandidateBlock::from_parts(parts).map(Some).map_err(|error| NodeError::damaged(height, &error))
}
