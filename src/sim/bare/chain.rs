//! The chain as the model application sees it: what follows from each block, who decides what, and which blocks are
//! valid. All nodes share what follows from the same blocks.

use crate::consensus::Tick;
use crate::crypto::{Hash, PublicKey};
use crate::sim::{NodeNr, Plan};
use crate::types::{
    Address, Block, BlockId, CandidateBlock, ChainId, Header, Height, Power, Time, Tx, Validator, ValidatorSet,
    ValidatorUpdate, Version,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Transactions with this beginning change a power: a node and eight bytes of power follow.
const POWER: &[u8; 2] = b"p:";

/// What is known after a block.
#[derive(Debug)]
pub(super) struct State {
    /// Of the block; zero before the first.
    pub(super) height: Height,
    pub(super) block_id: Option<BlockId>,
    pub(super) app_hash: Bytes,
    pub(super) time: Time,
    /// Who decides the next height.
    pub(super) validators: Arc<ValidatorSet>,
    /// Who decides the one after.
    pub(super) next_validators: Arc<ValidatorSet>,
    /// Who decided this one.
    pub(super) last_validators: Option<Arc<ValidatorSet>>,
    /// From which height on precommits have extensions.
    pub(super) extensions_from: Option<Height>,
}

/// A change of power that a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PowerChange {
    pub(super) node: NodeNr,
    pub(super) power: u64,
}

/// What all nodes share.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) id: ChainId,
    keys: Vec<PublicKey>,
    /// True for those who may lie.
    liars: Vec<Address>,
    /// By height.
    states: Vec<Arc<State>>,
    /// Blocks built so far: no two are equal.
    built: u64,
}

/// The key of a node: anything, as nobody uses it.
pub(super) fn key(node: NodeNr) -> PublicKey {
    PublicKey::new([node.0 + 1; 32])
}

/// A place in time, for blocks and votes.
pub(super) fn wall(tick: Tick, offset: i64) -> Time {
    /// What the clocks say when a run begins.
    const BEGIN: i64 = 1_700_000_000;
    let nanos = i128::from(tick.0) + i128::from(offset) + i128::from(BEGIN) * 1_000_000_000;
    let seconds = nanos.div_euclid(1_000_000_000) as i64;
    Time::new(seconds, nanos.rem_euclid(1_000_000_000) as u32).unwrap_or(Time::UNIX_EPOCH)
}

impl Chain {
    pub(super) fn new(plan: &Plan, keys: Vec<PublicKey>, extensions_from: Option<Height>) -> Chain {
        use crate::sim::Conduct;
        let id = ChainId::try_from("sim").expect("short");
        let members = plan.all().filter(|node| {
            let of = &plan.nodes[node.index()];
            of.power > 0 && !matches!(of.conduct, Conduct::TwinOf(_))
        });
        let members =
            members.map(|node| Validator::new(keys[node.index()], Power::new(plan.nodes[node.index()].power)));
        let set = Arc::new(ValidatorSet::new(members).expect("somebody has power, and not too much"));
        let liars = plan.all().filter(|node| !plan.is_honest(*node)).map(|node| Address::from(&keys[node.index()]));
        let genesis = State {
            height: Height::ZERO,
            block_id: None,
            app_hash: Bytes::new(),
            time: wall(Tick(0), 0),
            next_validators: Arc::new(set.advanced(1)),
            validators: set,
            last_validators: None,
            extensions_from,
        };
        let liars = liars.collect();
        Chain { id, keys, liars, states: vec![Arc::new(genesis)], built: 0 }
    }

    /// Before the first block.
    pub(super) fn genesis(&self) -> Arc<State> {
        Arc::clone(&self.states[0])
    }

    /// What follows from a block. Computed once for all nodes, unless they disagree.
    pub(super) fn apply(&mut self, state: &State, block: &CandidateBlock) -> Arc<State> {
        let place = state.height.get() as usize + 1;
        if let Some(known) = self.states.get(place)
            && known.block_id == Some(block.id())
        {
            return Arc::clone(known);
        }
        let mut next = (*state.next_validators).clone();
        self.change_powers(&mut next, &block.block().txs);
        next.advance(1);
        let header = &block.block().header;
        let after = Arc::new(State {
            height: header.height,
            block_id: Some(block.id()),
            app_hash: Bytes::copy_from_slice(block.id().hash.as_bytes()),
            time: header.time,
            validators: Arc::clone(&state.next_validators),
            next_validators: Arc::new(next),
            last_validators: Some(Arc::clone(&state.validators)),
            extensions_from: state.extensions_from,
        });
        if self.states.len() == place {
            self.states.push(Arc::clone(&after));
        }
        after
    }

    /// A block of `own` on top of `state`, with these transactions. No two are equal.
    pub(super) fn build(&mut self, state: &State, own: Address, now: Time, mut txs: Vec<Tx>) -> Arc<CandidateBlock> {
        self.built += 1;
        txs.push(Tx::new(self.built.to_be_bytes().to_vec()));
        let earliest = state.time.plus(std::time::Duration::from_millis(1));
        let nothing = Hash::new([0; Hash::LEN]);
        let header = Header {
            version: Version { block: Version::BLOCK, app: 0 },
            chain_id: self.id.clone(),
            height: state.height.next(),
            time: now.max(earliest),
            last_block_id: state.block_id,
            last_commit_hash: nothing,
            data_hash: txs.last().map_or(nothing, Tx::hash),
            validators_hash: nothing,
            next_validators_hash: nothing,
            consensus_hash: nothing,
            app_hash: state.app_hash.clone(),
            last_results_hash: nothing,
            evidence_hash: nothing,
            proposer_address: own,
        };
        Arc::new(CandidateBlock::new(Block { header, txs, evidence: Vec::new(), last_commit: None }))
    }

    /// What the application and the rules say about a block on top of `state`.
    pub(super) fn is_valid(&self, state: &State, block: &Block) -> bool {
        let header = &block.header;
        header.height == state.height.next()
            && header.last_block_id == state.block_id
            && header.app_hash == state.app_hash
            && header.time > state.time
            && block.txs.last().is_some_and(|tx| tx.hash() == header.data_hash)
    }

    fn power_change(&self, tx: &Tx) -> Option<PowerChange> {
        let rest = tx.bytes().strip_prefix(POWER)?;
        let (node, power) = rest.split_first()?;
        let power = u64::from_be_bytes(power.try_into().ok()?);
        self.keys.get(usize::from(*node)).map(|_| PowerChange { node: NodeNr(*node), power })
    }

    /// All changes of a block at once, as an application gives them; of two for one node the last one counts. Those that
    /// change nothing are left out, and all are refused that together would leave nobody, or give liars a third.
    fn change_powers(&self, set: &mut ValidatorSet, txs: &[Tx]) {
        let mut wanted: BTreeMap<NodeNr, u64> = BTreeMap::new();
        wanted.extend(txs.iter().filter_map(|tx| self.power_change(tx)).map(|change| (change.node, change.power)));
        let update = |(node, power): (NodeNr, u64)| {
            let public_key = self.keys[node.index()];
            let has = set.by_address(&Address::from(&public_key)).map_or(0, |(_, member)| member.power.get());
            (has != power).then(|| ValidatorUpdate { public_key, power: Power::new(power) })
        };
        let updates: Vec<ValidatorUpdate> = wanted.into_iter().filter_map(update).collect();
        let mut changed = set.clone();
        if updates.is_empty() || changed.update(&updates).is_err() {
            return;
        }
        let of_liars = changed.members().iter().filter(|member| self.liars.contains(&member.address));
        let lying: u64 = of_liars.map(|member| member.power.get()).sum();
        if lying * 3 < changed.total_power().get() {
            *set = changed;
        }
    }
}

/// The transaction that asks for a change of power.
pub(super) fn power_tx(change: PowerChange) -> Tx {
    let mut bytes = POWER.to_vec();
    bytes.push(change.node.0);
    bytes.extend(change.power.to_be_bytes());
    Tx::new(bytes)
}
