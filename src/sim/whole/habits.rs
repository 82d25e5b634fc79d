//! What a seed draws for whole replicas beside its plan: the chain, the application, sizes squeezed to where they hurt.

use super::app::{Constitution, EmptyBlocksDo};
use super::people::key_of;
use crate::consensus::{EmptyBlocks, Timeouts};
use crate::executor::{Beginning, DoppelgangerCheck, Hearing};
use crate::mempool::{MempoolConfig, Recheck};
use crate::sim::{Dice, Misfortune, Plan};
use crate::types::{Address, ChainId, ConsensusParams, GenesisDoc, GenesisValidator, Height, Power, Time};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// When the chain begins, in seconds of Unix time.
const GENESIS_SECONDS: i64 = 1_700_000_000;

/// All of it.
#[derive(Debug)]
pub(super) struct Habits {
    pub(super) genesis: Arc<GenesisDoc>,
    pub(super) law: Arc<Constitution>,
    pub(super) timeouts: Timeouts,
    block_time_tolerance: Option<Duration>,
    pub(super) doppelganger_check: DoppelgangerCheck,
    pub(super) mempool: MempoolConfig,
    /// Longest time the application takes for an answer.
    pub(super) app_takes: Duration,
    /// Between two turns of the clients.
    pub(super) pace: Duration,
    /// Most bytes of padding of a transaction.
    pub(super) padding: u64,
    /// Transactions in a hundred that change a validator's power.
    pub(super) power_changes: u64,
}

impl Habits {
    pub(super) fn draw(plan: &Plan, dice: &mut Dice) -> Habits {
        let span = plan.heal_at.since(crate::consensus::Tick(0));
        let heights = u32::try_from(plan.heights).unwrap_or(u32::MAX).max(1);
        let pace = (span / heights).clamp(Duration::from_millis(120), Duration::from_secs(2));
        let empty_blocks = if dice.chance(80) { EmptyBlocks::Never } else { EmptyBlocks::After(pace) };
        let jumps = plan.faults.iter().any(|fault| matches!(fault.what, Misfortune::ClockJump { .. }));
        let anew = plan.may_cost_a_home();
        let law = Constitution {
            keys: plan.all().map(|node| key_of(plan, node).public_key()).collect(),
            powers: plan.nodes.iter().map(|node| node.power).collect(),
            // Who begins anew needs all blocks.
            keep: dice.chance(30).then(|| dice.between(1, 10)).filter(|_| !anew),
            empty_blocks: if dice.chance(30) { EmptyBlocksDo::Change } else { EmptyBlocksDo::Nothing },
        };
        // Where each block must be proven by the next one, blocks never end: they come no faster than clients do.
        let commit = if law.empty_blocks == EmptyBlocksDo::Change { pace } else { plan.timeouts.commit };
        let honest = plan.all().all(|node| plan.is_honest(node));
        Habits {
            genesis: Arc::new(genesis(plan, dice)),
            law: Arc::new(law),
            timeouts: Timeouts { empty_blocks, commit, skip_commit_when_all_voted: false, ..plan.timeouts },
            // A clock that is an hour ahead and has a say in the time of a block must not stop the chain for an hour.
            block_time_tolerance: (!jumps).then_some(Duration::from_secs(60)),
            doppelganger_check: if dice.chance(30) { DoppelgangerCheck::OnRejoin } else { DoppelgangerCheck::Skipped },
            mempool: mempool(dice),
            app_takes: Duration::from_millis(*dice.pick(&[0, 1, 1, 5, 30]).unwrap_or(&1)),
            pace,
            padding: *dice.pick(&[0, 0, 20, 200, 20_000]).unwrap_or(&0),
            // Who loses its key must not have come to a third of the power by then.
            power_changes: if honest && !anew { *dice.pick(&[0, 0, 10, 30]).unwrap_or(&0) } else { 0 },
        }
    }

    /// How a life begins.
    pub(super) fn beginning(&self) -> Beginning {
        Beginning {
            timeouts: self.timeouts,
            block_time_tolerance: self.block_time_tolerance,
            doppelganger_check: self.doppelganger_check,
            hearing: Hearing::Others,
            mempool: self.mempool,
            app: "the simulator".to_owned(),
        }
    }
}

fn mempool(dice: &mut Dice) -> MempoolConfig {
    let defaults = MempoolConfig::default();
    MempoolConfig {
        size: *dice.pick(&[2, 20, 5_000]).unwrap_or(&5_000),
        cache_size: *dice.pick(&[1, 10, 10_000]).unwrap_or(&10_000),
        max_tx_bytes: 64 << 10,
        recheck: if dice.chance(50) { defaults.recheck } else { Recheck::Off },
        ..defaults
    }
}

fn genesis(plan: &Plan, dice: &mut Dice) -> GenesisDoc {
    let mut consensus_params = ConsensusParams::default();
    let initial_height = Height::new(*dice.pick(&[1, 1, 1, 5]).unwrap_or(&1));
    if plan.algorithm != crate::types::Algorithm::Raft && dice.chance(50) {
        let from = initial_height.get() + dice.below(4);
        consensus_params.abci.vote_extensions_enable_height = Some(Height::new(from));
    }
    if dice.chance(30) {
        let evidence = &mut consensus_params.evidence;
        evidence.max_age_num_blocks = 1 + dice.below(6);
        evidence.max_age_duration = Duration::from_secs(1 + dice.below(10));
    }
    let member = |(node, planned): (crate::sim::NodeNr, &crate::sim::NodePlan)| {
        let public_key = key_of(plan, node).public_key();
        let (address, power) = (Address::from(&public_key), Power::new(planned.power));
        (planned.power > 0).then(|| GenesisValidator { address, public_key, power, name: String::new() })
    };
    GenesisDoc {
        genesis_time: Time::new(GENESIS_SECONDS, 0).expect("in range"),
        chain_id: ChainId::try_from("sim").expect("a legal name"),
        initial_height,
        consensus_params,
        validators: plan.all().zip(&plan.nodes).filter_map(member).collect(),
        app_hash: Bytes::new(),
        app_state: Bytes::new(),
        algorithm: plan.algorithm,
    }
}
