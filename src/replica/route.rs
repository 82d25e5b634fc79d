//! Who is told what: each order of a machine goes outward or becomes a fact for another machine.

use super::lingering::Look;
use super::machine::{Ordered, Spoken};
use super::{Effect, Now, Replica, Waker, Work};
use crate::consensus::{self, BlockVerdict, BuildOrder, Decision, Protocol, RoundNote};
use crate::evidence::Facts;
use crate::evidence::gossip::EvidenceGossipInput;
use crate::mempool::gossip::TxGossipInput;
use crate::mempool::{MempoolEffect, MempoolInput};
use crate::pipeline::{BuildJob, CallId, Outcome, PipelineEffect, PipelineError, PipelineInput, PipelineNote};
use crate::sync::SyncInput;
use crate::types::abci::Request;
use crate::types::{Algorithm, CandidateBlock, ChainState, ExtendedCommit, Height, JournalRecord, Round};
use std::convert::Infallible;
use std::sync::Arc;

impl Replica {
    /// Hands out the orders of one step, in order; gives back what it said about itself.
    pub(super) fn route_consensus(&mut self, now: Now, ordered: Ordered, out: &mut Vec<Effect>) -> Vec<RoundNote> {
        match ordered {
            Ordered::Tendermint(effects) => self.route_orders(now, effects, out),
            Ordered::Pbft(effects) => self.route_orders(now, effects, out),
            Ordered::Raft(effects) => self.route_orders(now, effects, out),
        }
    }

    fn route_orders<P>(&mut self, now: Now, effects: consensus::Effects<P>, out: &mut Vec<Effect>) -> Vec<RoundNote>
    where
        P: Protocol<Record = JournalRecord>,
        P::Message: Spoken,
    {
        let algorithm = self.state.algorithm;
        let mut notes = Vec::new();
        for effect in effects {
            match effect {
                consensus::Effect::Persist(record) => self.persist(record, out),
                consensus::Effect::Sign(request) => self.have_signed(request, out),
                consensus::Effect::Send(peer, message) => {
                    out.extend(message.for_peers(algorithm).map(|message| Effect::Tell { peer, message }));
                }
                consensus::Effect::Broadcast(message) => {
                    out.extend(message.for_peers(algorithm).map(Effect::TellAll));
                }
                consensus::Effect::WakeAt(at) => out.push(Effect::WakeAt { waker: Waker::Consensus, at }),
                consensus::Effect::SetTimer { timer, at, .. } => out.push(Effect::SetTimer { timer, at }),
                consensus::Effect::BuildBlock(order) => self.build(order),
                consensus::Effect::CheckBlock { height, round, block } => {
                    self.check(now, height, round, block, out);
                }
                consensus::Effect::ExtendVote { height, round, block } => {
                    self.tell_pipeline(PipelineInput::ExtendVote { height, round, block });
                }
                consensus::Effect::VerifyExtension { vote, source } => {
                    self.tell_pipeline(PipelineInput::VerifyExtension { vote, source });
                }
                consensus::Effect::Decide(Decision { block, commit }) => {
                    self.decided_at = Some(now.tick);
                    self.listen_to_decision(now, &commit, out);
                    self.tell_pipeline(PipelineInput::Decide { block, commit });
                }
                consensus::Effect::Accuse(accusation) => self.accuse(accusation),
                consensus::Effect::RequestSync(height) => self.sync(now, SyncInput::Behind(height), out),
                consensus::Effect::OfferTxs => self.offer_txs(TxGossipInput::Starving, out),
                consensus::Effect::ReadAt(ticket, height) => self.read_at(ticket, height, out),
                consensus::Effect::ReadRefused(ticket, why) => self.refuse_read(ticket, why, out),
                consensus::Effect::Note(note) => {
                    out.push(Effect::Round(note.clone()));
                    notes.push(note);
                }
            }
        }
        notes
    }

    /// Fills an order for a block with what mempool and evidence pool offer.
    fn build(&mut self, order: BuildOrder) {
        let BuildOrder { height, round, last_commit } = order;
        let (evidence, evidence_bytes) = self.evidence.pending(self.state.consensus_params.evidence.max_bytes);
        // Without a budget the pipeline has no state yet, and consensus would not be asking.
        let Some(budget) = self.pipeline.budget(evidence_bytes) else { return };
        let txs = self.mempool.reap(budget.reap_bytes, budget.gas);
        let job = BuildJob { height, round, last_commit, txs, evidence, evidence_bytes };
        self.tell_pipeline(PipelineInput::Build(Box::new(job)));
    }

    /// Evidence in a proposed block is judged by what our own chain says about it; most blocks have none.
    fn check(&mut self, now: Now, height: Height, round: Round, block: Arc<CandidateBlock>, out: &mut Vec<Effect>) {
        if block.block().evidence.is_empty() {
            self.check_with_facts(now, height, round, block, Vec::new());
        } else {
            out.push(Effect::LoadFacts { height, round, block });
        }
    }

    pub(super) fn check_with_facts(
        &mut self,
        now: Now,
        height: Height,
        round: Round,
        block: Arc<CandidateBlock>,
        facts: Vec<Option<Facts>>,
    ) {
        let mut facts = facts.into_iter();
        let list = &block.block().evidence;
        let judged = self.evidence.check_block_evidence(list, &self.state, |_| facts.next().flatten());
        let evidence = match judged {
            Ok(()) => Outcome::Accept,
            Err(_) if mutant!("A7") => Outcome::Accept,
            Err(error) => Outcome::Reject(error.to_string()),
        };
        let clock = self.settings.clock(now);
        self.tell_pipeline(PipelineInput::Check { height, round, block, clock, evidence });
    }

    pub(super) fn step_pipeline(&mut self, now: Now, input: PipelineInput, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        self.pipeline.step(input, &mut effects);
        for effect in effects {
            self.route_pipeline(now, effect, out);
        }
    }

    fn route_pipeline(&mut self, now: Now, effect: PipelineEffect, out: &mut Vec<Effect>) {
        match effect {
            PipelineEffect::AppCall { call, request } => out.push(Effect::Call { call, request }),
            PipelineEffect::AppCommit { call } => self.hold_for_commit(call),
            PipelineEffect::SaveBlock { block, commit } => out.push(Effect::SaveBlock { block, commit }),
            PipelineEffect::JournalEndHeight(height) => self.end_height(height, out),
            PipelineEffect::SaveResults { height, results } => out.push(Effect::SaveResults { height, results }),
            PipelineEffect::SaveState(state) => {
                self.state = Arc::clone(&state);
                out.push(Effect::SaveState(state));
            }
            PipelineEffect::MempoolUpdate { height, txs, limits } => {
                // At once, not later: `Applied` follows and tells consensus whether transactions are left.
                self.step_mempool(now, MempoolInput::Committed { height, txs, limits }, out);
            }
            PipelineEffect::EvidenceUpdate { block, state } => {
                self.evidence.update(&state, &block.block().evidence);
                self.tell_evidence(EvidenceGossipInput::Changed, out);
            }
            PipelineEffect::Publish(applied) => out.push(Effect::Publish(applied)),
            PipelineEffect::Index(applied) => out.push(Effect::Index(applied)),
            PipelineEffect::Prune { retain, state } => out.push(Effect::Prune { retain, state }),
            PipelineEffect::LoadBlock(height) => out.push(Effect::LoadBlock(height)),
            PipelineEffect::Note(note) => out.push(Effect::Note(note)),
            PipelineEffect::WaitForApp { why } => self.lose_app(now, why, out),
            PipelineEffect::Halt(error) => self.halt(now, error, out),
            PipelineEffect::Ready(state) => self.app_ready(now, state, out),
            PipelineEffect::Applied { state, block, commit } => self.applied(now, state, block, commit, out),
            PipelineEffect::BlockBuilt { height, round, block } => {
                self.tell_consensus(consensus::Input::BlockBuilt { height, round, block });
            }
            PipelineEffect::BlockChecked { height, round, block_id, verdict } => {
                let verdict = match verdict {
                    Outcome::Accept => BlockVerdict::Accept,
                    Outcome::Reject(why) => BlockVerdict::Reject(why),
                };
                self.tell_consensus(consensus::Input::BlockChecked { height, round, block_id, verdict });
            }
            PipelineEffect::VoteExtended { height, round, extension } => {
                self.tell_consensus(consensus::Input::VoteExtended { height, round, extension });
            }
            PipelineEffect::ExtensionVerified { vote, source, verdict } => {
                let accepted = verdict == Outcome::Accept;
                if !accepted {
                    let (height, validator) = (vote.height, vote.validator_address);
                    out.push(Effect::Note(PipelineNote::ExtensionRefused { height, validator }));
                }
                self.tell_consensus(consensus::Input::ExtensionVerified { vote, source, accepted });
            }
        }
    }

    pub(super) fn step_mempool(&mut self, now: Now, input: MempoolInput, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        let taken = self.mempool.taken();
        self.mempool.step(input, &mut effects);
        if self.mempool.taken() > taken {
            self.offer_txs(TxGossipInput::Changed, out);
            let look = self.lingering.begin(now.tick, &self.mempool);
            out.extend(look.map(|at| Effect::WakeAt { waker: Waker::Mempool, at }));
        }
        for effect in effects {
            match effect {
                MempoolEffect::TxsAvailable => self.tell_consensus(consensus::Input::TxsAvailable),
                MempoolEffect::Held => self.commit_held(out),
                outward => out.push(Effect::Mempool(outward)),
            }
        }
    }

    /// A Commit must not overtake, or be overtaken by, a CheckTx: applications reset what CheckTx sees when they
    /// commit. So the mempool falls silent first (reference §3.8).
    fn hold_for_commit(&mut self, call: CallId) {
        self.held_commit = Some(call);
        self.work.push_back(Work::Mempool(MempoolInput::Hold));
    }

    /// Transactions that blocks pass over may be unknown to who proposes.
    pub(super) fn look_at_what_lingers(&mut self, now: Now, out: &mut Vec<Effect>) {
        let at = match self.lingering.look(now.tick, &self.mempool) {
            Look::Done => return,
            Look::Moves(at) => at,
            Look::Lingers(at) => {
                self.offer_txs(TxGossipInput::Lingering, out);
                at
            }
        };
        out.push(Effect::WakeAt { waker: Waker::Mempool, at });
    }

    fn commit_held(&mut self, out: &mut Vec<Effect>) {
        if let Some(call) = self.held_commit.take() {
            out.push(Effect::Call { call, request: Request::Commit });
        }
    }

    /// Marks a height as over. Not while the node starts: a power cut can lose the state of a height, saved without a
    /// sync, and leave the journal of the next one. A mark written behind that would cut it off, and with it our lock
    /// and what we signed. No mark is missed: records say their height.
    fn end_height(&mut self, height: Height, out: &mut Vec<Effect>) {
        if self.consensus.is_some() {
            out.push(Effect::Persist(JournalRecord::EndHeight(height)));
        }
    }

    /// Nothing is decided any more, so transactions are refused too: the application may go away unnoticed now, and a
    /// CheckTx nobody answers would hold up the first Commit of a mended one.
    fn halt(&mut self, now: Now, error: PipelineError, out: &mut Vec<Effect>) {
        self.held_commit = self.held_commit.filter(|_| mutant!("A90"));
        self.refuse_all_reads(&format!("consensus stopped: {error}"), out);
        self.work.push_back(Work::Mempool(MempoolInput::AppDown { why: format!("consensus stopped: {error}") }));
        out.push(Effect::Halt(error));
        self.pause_sync(now, out);
    }

    /// Beside a running consensus the planner only watches for others that are ahead; that does not end.
    fn pause_sync(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.consensus.is_none() {
            self.sync(now, SyncInput::Paused, out);
        }
    }

    fn lose_app(&mut self, now: Now, why: String, out: &mut Vec<Effect>) {
        self.held_commit = None;
        if !mutant!("A91") {
            self.refuse_all_reads(&why, out);
        }
        self.work.push_back(Work::Mempool(MempoolInput::AppDown { why: why.clone() }));
        out.push(Effect::WaitForApp { why });
        self.pause_sync(now, out);
    }

    fn app_ready(&mut self, now: Now, state: Arc<ChainState>, out: &mut Vec<Effect>) {
        self.state = Arc::clone(&state);
        self.work.push_back(Work::Mempool(MempoolInput::AppUp));
        if self.consensus.is_some() {
            out.push(Effect::GoOn(state));
            self.answer_reads(out);
        } else {
            // The handshake may have executed the block whose time contradicting votes of its height wait for.
            self.evidence.update(&state, &[]);
            self.beginning = false;
            out.push(Effect::Fetching);
            self.overhear(out);
            if state.algorithm != Algorithm::Tendermint {
                self.listen_from(now, state.next_height(), out);
                let silent = self.listens_for_own_key();
                self.sync(now, if silent { SyncInput::MustWait } else { SyncInput::MayJoin }, out);
            }
            self.sync(now, SyncInput::Begin(state), out);
        }
    }

    fn applied(
        &mut self,
        now: Now,
        state: Arc<ChainState>,
        block: Arc<CandidateBlock>,
        commit: ExtendedCommit,
        out: &mut Vec<Effect>,
    ) {
        // From the decision, not from here: executing the block is part of the wait (reference §6.2).
        let begin_at =
            self.decided_at.take().filter(|_| !mutant!("A6")).unwrap_or(now.tick).plus(self.settings.timeouts.commit);
        let recorded = block.block().header.app_hash.clone();
        let start = self.start(&state, Some(block), Some(commit), Some(&recorded), begin_at);
        self.state = Arc::clone(&state);
        self.overhear(out);
        self.answer_reads(out);
        self.tell_consensus(consensus::Input::BlockApplied(Box::new(start)));
        self.sync(now, SyncInput::Applied(state), out);
    }

    fn tell_consensus(&mut self, input: consensus::Input<Infallible>) {
        self.work.push_back(Work::Consensus(input));
    }

    pub(super) fn tell_pipeline(&mut self, input: PipelineInput) {
        self.work.push_back(Work::Pipeline(input));
    }
}
