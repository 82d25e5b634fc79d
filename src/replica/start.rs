//! Beginning a height: from the store and the journal after a start, from the last block otherwise.

use super::machine::Machine;
use super::{Effect, Now, Replica, Work};
use crate::consensus::{self, Start, Tick};
use crate::crypto::Hash;
use crate::evidence::{self, gossip::EvidenceGossipInput};
use crate::types::{CandidateBlock, ChainState, Evidence, ExtendedCommit, Height, JournalRecord, StoredEvidence};
use bytes::Bytes;
use std::sync::Arc;

/// What the driver read for the height to begin.
#[derive(Debug)]
pub struct Resume {
    /// The commit of the last block as this node saw it; none before the first block.
    pub last_commit: Option<ExtendedCommit>,
    /// The last block; none before the first.
    pub last_block: Option<Arc<CandidateBlock>>,
    /// The application's hash in the last block's header; none before the first block.
    pub last_header_app_hash: Option<Bytes>,
    /// What the journal has for this height.
    pub records: Vec<JournalRecord>,
    /// What waited for a block, and what blocks proved: that must not be punished again.
    pub evidence: StoredEvidence,
}

impl Replica {
    /// Begins consensus after the first handshake.
    pub(super) fn begin(&mut self, now: Now, resume: Resume, out: &mut Vec<Effect>) {
        self.beginning = false;
        self.refuse_all_reads("consensus began anew: ask again", out);
        self.signers_at = None; // what was told to the machine before may have been lost with it
        let state = Arc::clone(&self.state);
        self.evidence.restore(resume.evidence, &state);
        self.tell_evidence(EvidenceGossipInput::Changed, out);
        self.listen_from(now, state.next_height(), out);
        let recorded = resume.last_header_app_hash.as_ref();
        let start = self.start(&state, resume.last_block, resume.last_commit, recorded, now.tick);
        let (machine, ordered) = Machine::recover(state.algorithm, now, start, &resume.records);
        self.consensus = Some(machine);
        let notes = self.route_consensus(now, ordered, out);
        self.consensus_advanced(now, notes, out);
        let peers = self.peers.keys().copied().map(consensus::Input::PeerUp).map(Work::Consensus);
        self.work.extend(peers);
    }

    /// `recorded_app_hash` is what the last block's header says of the application's state.
    pub(super) fn start(
        &self,
        state: &ChainState,
        last_block: Option<Arc<CandidateBlock>>,
        last_commit: Option<ExtendedCommit>,
        recorded_app_hash: Option<&Bytes>,
        begin_at: Tick,
    ) -> Start {
        let first = state.last_block_height == Height::ZERO;
        Start {
            chain_id: state.chain_id.clone(),
            height: state.next_height(),
            initial_height: state.initial_height,
            validators: Arc::clone(&state.validators),
            next_validators: Arc::clone(&state.next_validators),
            last_validators: state.last_validators.clone(),
            last_commit,
            last_block,
            last_block_time: state.last_block_time,
            params: Arc::clone(&state.consensus_params),
            own: self.signs_as(),
            timeouts: self.settings.timeouts,
            begin_at,
            proof_block_needed: first || recorded_app_hash != Some(&state.app_hash),
            txs_available: self.mempool.count() > 0,
        }
    }

    pub(super) fn add_evidence(
        &mut self,
        request: u64,
        evidence: Evidence,
        facts: Option<evidence::Facts>,
        out: &mut Vec<Effect>,
    ) {
        let outcome = match facts {
            Some(facts) => self.evidence.add(evidence, &facts, &self.state).map_err(|error| error.to_string()),
            None => {
                Err(format!("this node has no block at height {}: it cannot check this evidence", evidence.height()))
            }
        };
        let outcome: Result<Hash, String> = outcome;
        self.save_evidence(out);
        self.tell_evidence(EvidenceGossipInput::Changed, out);
        out.push(Effect::EvidenceAnswer { request, outcome });
    }

    /// What changed about the evidence that waits is to be stored, wherever in a step it changed.
    pub(super) fn save_evidence(&mut self, out: &mut Vec<Effect>) {
        let changes = self.evidence.take_changes();
        if !changes.is_empty() {
            out.push(Effect::SaveEvidence(changes));
        }
    }
}
