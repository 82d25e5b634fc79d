//! The real guard on the simulated disk: whatever ends its lives, it starts again and never signs twice.

use crate::crypto::sha256;
use crate::ports::{SignError, Signer};
use crate::privval::FileSigner;
use crate::sim::Dice;
use crate::sim::disk::{Batches, Fuse, Kindness, Moment, SimDisk, until_power_cut};
use crate::types::{Address, BlockId, ChainId, Height, PartSetHeader, Round, Time, UnsignedVote, VoteKind};
use std::collections::BTreeMap;
use std::path::Path;

fn key_file() -> &'static Path {
    Path::new("/node/config/priv_validator_key.json")
}

fn state_file() -> &'static Path {
    Path::new("/node/data/priv_validator_state.json")
}

fn block(number: u64) -> Option<BlockId> {
    let hash = sha256(&number.to_be_bytes());
    (number > 0).then_some(BlockId { hash, parts: PartSetHeader { total: 1, hash } })
}

type Position = (u64, u32, VoteKind);

/// One guard through several lives, and everything that left it.
struct Story {
    disk: SimDisk,
    dice: Dice,
    left: BTreeMap<Position, Option<BlockId>>,
    /// Where consensus is; it may well have forgotten what it asked for before.
    round: u32,
}

impl Story {
    fn new(seed: u64) -> Story {
        Story { disk: SimDisk::new(), dice: Dice::new(seed), left: BTreeMap::new(), round: 0 }
    }

    fn live(&mut self, fuse: Option<Fuse>, what: &str) -> Option<()> {
        let (port, _) = self.disk.boot();
        self.disk.set_fuse(fuse);
        until_power_cut(|| {
            let opened = FileSigner::open_or_generate(port, key_file(), state_file());
            let mut signer = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
            for _ in 0..4 {
                self.ask(&mut signer, what);
            }
        })
    }

    fn ask(&mut self, signer: &mut FileSigner, what: &str) {
        self.round += self.dice.below(2) as u32;
        let kind = if self.dice.chance(50) { VoteKind::Prevote } else { VoteKind::Precommit };
        let block_id = block(self.dice.below(3));
        let request = UnsignedVote {
            kind,
            height: Height::new(7),
            round: Round::new(self.round),
            block_id,
            timestamp: Time::new(self.dice.below(1000) as i64, 0).expect("in range"),
            validator_address: Address::new([1; 20]),
            validator_index: 0,
            extension: None,
        };
        let chain = ChainId::try_from("sim").expect("a legal name");
        match signer.sign_vote(&chain, request) {
            Ok(vote) => {
                assert!(signer.public_key().verifies(&vote.sign_bytes(&chain), &vote.signature));
                let before = self.left.insert((7, self.round, kind), block_id);
                assert!(before.is_none_or(|before| before == block_id), "{what}: signed twice in round {}", self.round);
            }
            Err(SignError::Refused(_)) => {}
            Err(error) => panic!("{what}: {error}"),
        }
    }

    fn end(&mut self) {
        if self.dice.chance(30) {
            self.disk.kill(Batches::Kept);
        } else {
            let kindness = Kindness::draw(&mut self.dice);
            self.disk.power_cut(&mut self.dice, kindness);
        }
        // Consensus begins the height again.
        if self.dice.chance(70) {
            self.round = self.round.saturating_sub(1);
        }
    }
}

/// Runs the story of a seed, cut at an operation of its first life.
fn run(seed: u64, operations: u64, prepare: impl Fn(&SimDisk)) {
    let mut story = Story::new(seed);
    prepare(&story.disk);
    let moment = [Moment::Before, Moment::Halfway, Moment::After][(operations % 3) as usize];
    story.live(Some(Fuse { operations, moment }), &format!("seed {seed}, cut {operations}, first life"));
    for life in 2..6 {
        story.end();
        let fuse = Fuse { operations: story.dice.below(24), moment };
        story.live(Some(fuse), &format!("seed {seed}, cut {operations}, life {life}"));
    }
    story.end();
    story.live(None, &format!("seed {seed}, cut {operations}, the end"));
}

const SEEDS: u64 = 60;

/// 60 guards; each loses its first life, which begins with making its key, at every operation, then four more lives.
#[test]
fn whatever_operation_the_power_goes_at_the_guard_starts_again_and_never_signs_twice() {
    for seed in 0..SEEDS {
        let mut dry = Story::new(seed);
        dry.live(None, "no fuse");
        for operations in 0..dry.disk.operations() {
            run(seed, operations, |_| {});
        }
    }
}
