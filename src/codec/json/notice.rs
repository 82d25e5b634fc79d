//! Event data as subscribers get it: `{"type":"tendermint/event/NewBlock","value":…}` (reference §8.6).

use super::abci::{Sparse, sparse_events};
use super::chain::{Proposer, Tagged};
use super::{Int, List, Shown, View};
use crate::types::abci::{Event, FinalizeBlockResponse, TxResult};
use crate::types::{
    AppliedBlock, Block, BlockId, Evidence, Header, Height, Notice, RoundEvent, RoundEventKind, Validator, Vote,
};
use serde::Serialize;
use serde::ser::Serializer;

#[derive(Serialize)]
struct NewBlock<'a> {
    block: View<'a, Block>,
    block_id: View<'a, BlockId>,
    result_finalize_block: Sparse<'a, FinalizeBlockResponse>,
}

#[derive(Serialize)]
struct NewBlockHeader<'a> {
    header: View<'a, Header>,
}

#[derive(Serialize)]
struct NewBlockEvents<'a> {
    height: Int<Height>,
    events: Option<Vec<Sparse<'a, Event>>>,
    num_txs: Int<usize>,
}

#[derive(Serialize)]
struct NewEvidence<'a> {
    height: Int<Height>,
    evidence: View<'a, Evidence>,
}

#[derive(Serialize)]
struct TxData<'a> {
    #[serde(rename = "TxResult")]
    result: Sparse<'a, TxResult>,
}

#[derive(Serialize)]
struct ValidatorSetUpdates<'a> {
    validator_updates: List<'a, Validator>,
}

#[derive(Serialize)]
struct Round<'a> {
    height: Int<Height>,
    round: u32,
    step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposer: Option<Proposer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_id: Option<View<'a, BlockId>>,
}

#[derive(Serialize)]
struct VoteData<'a> {
    #[serde(rename = "Vote")]
    vote: View<'a, Vote>,
}

impl Serialize for View<'_, Notice<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let header = |block: &AppliedBlock| block.block.block().header.height;
        match *self.0 {
            Notice::NewBlock(block) => {
                let id = block.block.id();
                let value = NewBlock {
                    block: View(block.block.block()),
                    block_id: View(&id),
                    result_finalize_block: Sparse(&block.results),
                };
                Tagged { tag: "tendermint/event/NewBlock", value }.serialize(serializer)
            }
            Notice::NewBlockHeader(block) => {
                let value = NewBlockHeader { header: View(&block.block.block().header) };
                Tagged { tag: "tendermint/event/NewBlockHeader", value }.serialize(serializer)
            }
            Notice::NewBlockEvents(block) => {
                let value = NewBlockEvents {
                    height: Int(header(block)),
                    events: sparse_events(&block.results.events),
                    num_txs: Int(block.txs.len()),
                };
                Tagged { tag: "tendermint/event/NewBlockEvents", value }.serialize(serializer)
            }
            Notice::NewEvidence(block, evidence) => {
                let value = NewEvidence { height: Int(header(block)), evidence: View(evidence) };
                Tagged { tag: "tendermint/event/NewEvidence", value }.serialize(serializer)
            }
            Notice::Tx(_, result) => {
                let value = TxData { result: Sparse(result) };
                Tagged { tag: "tendermint/event/Tx", value }.serialize(serializer)
            }
            Notice::ValidatorSetUpdates(updates) => {
                let changed: Vec<Validator> =
                    updates.iter().map(|update| Validator::new(update.public_key, update.power)).collect();
                let value = ValidatorSetUpdates { validator_updates: List(&changed) };
                Tagged { tag: "tendermint/event/ValidatorSetUpdates", value }.serialize(serializer)
            }
            Notice::Round(event) => round(event).serialize(serializer),
            Notice::Vote(vote) => {
                Tagged { tag: "tendermint/event/Vote", value: VoteData { vote: View(vote) } }.serialize(serializer)
            }
        }
    }
}

fn round(event: &RoundEvent) -> Tagged<Round<'_>> {
    let (tag, proposer, block_id) = match &event.kind {
        RoundEventKind::NewRound { index, address } => {
            let proposer = Proposer { address: Shown(address), index: *index };
            ("tendermint/event/NewRound", Some(proposer), None)
        }
        RoundEventKind::CompleteProposal(id) => ("tendermint/event/CompleteProposal", None, Some(View(id))),
        _ => ("tendermint/event/RoundState", None, None),
    };
    let value =
        Round { height: Int(event.height), round: event.round.get(), step: event.step.name(), proposer, block_id };
    Tagged { tag, value }
}
