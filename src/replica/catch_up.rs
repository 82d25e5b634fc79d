//! Fetched blocks: applied while consensus stands still, from the handshake on until nothing is left to fetch, and
//! again when others have gone ahead.

use super::{Effect, Now, Replica, Waker};
use crate::consensus::Tick;
use crate::pipeline::PipelineInput;
use crate::sync::{SyncEffect, SyncInput};
use crate::types::{BlocksyncMessage, CandidateBlock, ExtendedCommit, PeerMessage};
use std::sync::Arc;

impl Replica {
    /// Steps the planner of block sync.
    pub(super) fn sync(&mut self, now: Now, input: SyncInput, out: &mut Vec<Effect>) {
        let mut effects = Vec::new();
        let elapsed = now.tick.since(Tick::default());
        self.sync.step(elapsed, input, &mut effects);
        for effect in effects {
            match effect {
                SyncEffect::Ask { peer, height } => ask(peer, BlocksyncMessage::BlockRequest(height), out),
                SyncEffect::AskStatus(peer) => ask(peer, BlocksyncMessage::StatusRequest, out),
                SyncEffect::Verify { ticket, checks } => out.push(Effect::VerifyCommits { ticket, checks }),
                SyncEffect::Apply { block, commit } => self.apply_fetched(block, commit, out),
                SyncEffect::LeaveConsensus => self.leave_consensus(now, out),
                SyncEffect::JoinConsensus => self.join_consensus(out),
                SyncEffect::Drop(peer, why) => out.push(Effect::Drop { peer, why }),
                SyncEffect::WakeAt(at) => {
                    out.push(Effect::WakeAt { waker: Waker::Sync, at: Tick::default().plus(at) });
                }
            }
        }
    }

    /// A block more than two thirds signed. While consensus applies the same height itself this one is superfluous,
    /// and the pipeline, which takes one decision a height, leaves it.
    pub(super) fn apply_fetched(&mut self, block: Arc<CandidateBlock>, commit: ExtendedCommit, out: &mut Vec<Effect>) {
        if !self.is_harmless_commit(&commit, out) {
            return; // the node stops
        }
        self.tell_pipeline(PipelineInput::Decide { block, commit });
    }

    /// Others have decided without us: what consensus holds of this height is worth nothing any more. Its journal stays,
    /// so that what we signed is not forgotten.
    fn leave_consensus(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.consensus.is_some() {
            self.stop_consensus(now, out);
            if self.pipeline.is_app_up() {
                out.push(Effect::Fetching);
            } else {
                // Without the application nothing can be applied; what people are told about it stands. Fetching begins
                // with the handshake, which may apply blocks itself.
                self.sync(now, SyncInput::Paused, out);
            }
        }
    }

    fn join_consensus(&mut self, out: &mut Vec<Effect>) {
        if self.consensus.is_none() && !self.beginning {
            self.beginning = true;
            out.push(Effect::Begin(Arc::clone(&self.state)));
        }
    }
}

fn ask(peer: crate::types::NodeId, message: BlocksyncMessage, out: &mut Vec<Effect>) {
    out.push(Effect::Tell { peer, message: PeerMessage::Blocksync(message) });
}
