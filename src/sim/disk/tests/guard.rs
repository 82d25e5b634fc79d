//! The real guard on the simulated disk: whatever ends its lives, it starts again and never signs twice.

use super::lies::Lie;
use super::{Errors, Life, caught, draw_trouble, end_life, moment};
use crate::crypto::{PublicKey, sha256};
use crate::ports::{Disk, SignError, Signer};
use crate::privval::{FileSigner, KeyFileError};
use crate::sim::Dice;
use crate::sim::disk::{SimDisk, until_power_cut};
use crate::types::{
    Address, BlockId, ChainId, Election, Height, LogPosition, PartSetHeader, Promises, RaftStatement, Round,
    StatementBody, Time, UnsignedStatement, UnsignedVote, VoteKind,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

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

type Position = (u32, VoteKind);

/// As people do: start, and, where a crash came between the two files of the very first start, `init` first.
fn open(port: Arc<dyn Disk>) -> Result<FileSigner, KeyFileError> {
    let opened = FileSigner::open_or_generate(Arc::clone(&port), key_file(), state_file());
    if opened.is_err() && port.exists(key_file()).is_ok_and(|there| !there) {
        FileSigner::generate(&*port, key_file(), state_file())?;
        return FileSigner::open(port, key_file(), state_file());
    }
    opened
}

/// One guard through several lives, and everything that left it.
struct Story {
    disk: SimDisk,
    dice: Dice,
    left: BTreeMap<Position, Option<BlockId>>,
    /// Whether a promise ever left it.
    promises: Promises,
    /// Where consensus is; it may well have forgotten what it asked for before.
    round: u32,
    /// The key of the first signer that opened.
    key: Option<PublicKey>,
}

impl Story {
    fn new(seed: u64) -> Story {
        Story {
            disk: SimDisk::new(),
            dice: Dice::new(seed),
            left: BTreeMap::new(),
            promises: Promises::NoneGiven,
            round: 0,
            key: None,
        }
    }

    fn live(&mut self, life: Life) -> Result<(), String> {
        let port = life.begin(&self.disk);
        until_power_cut(|| {
            let mut signer = match open(port) {
                Ok(signer) => signer,
                Err(error) => return life.failed(error),
            };
            // Opened once, its address may be known to others.
            if *self.key.get_or_insert(signer.public_key()) != signer.public_key() {
                return Err("the key is another one".to_owned());
            }
            let remembers = signer.memory().is_some_and(|memory| memory.promises == Promises::Given);
            if self.promises == Promises::Given && !remembers {
                return Err("it forgot that it promised something".to_owned());
            }
            for _ in 0..4 {
                match self.ask(&mut signer) {
                    Err(Trouble::Ours(why)) => return Err(why),
                    Err(Trouble::Disk(why)) => {
                        return match self.ask(&mut signer) {
                            Ok(()) => Err(format!("it signs on after a failure: {why}")),
                            Err(_) => life.failed(why),
                        };
                    }
                    Ok(()) => {}
                }
            }
            Ok(())
        })
        .unwrap_or(Ok(()))
    }

    fn ask(&mut self, signer: &mut FileSigner) -> Result<(), Trouble> {
        if self.dice.chance(20) { self.ask_for_promise(signer) } else { self.ask_for_vote(signer) }
    }

    fn ask_for_promise(&mut self, signer: &mut FileSigner) -> Result<(), Trouble> {
        let last = LogPosition { height: Height::new(7), entry: None };
        let stands = RaftStatement::RequestVote { term: Round::new(self.round), election: Election::Vote, last };
        let unsigned = UnsignedStatement { by: Address::new([1; 20]), body: StatementBody::Raft(stands) };
        let chain = ChainId::try_from("sim").expect("a legal name");
        signer.sign_statement(&chain, unsigned).map_err(|why| Trouble::Disk(why.to_string()))?;
        self.promises = Promises::Given;
        Ok(())
    }

    fn ask_for_vote(&mut self, signer: &mut FileSigner) -> Result<(), Trouble> {
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
                let before = self.left.insert((self.round, kind), block_id);
                if before.is_some_and(|before| before != block_id) {
                    return Err(Trouble::Ours(format!("signed twice in round {}", self.round)));
                }
                Ok(())
            }
            Err(SignError::Refused(_)) => Ok(()),
            Err(SignError::Failed(why)) => Err(Trouble::Disk(why.to_string())),
        }
    }

    fn end(&mut self) {
        end_life(&self.disk, &mut self.dice);
        // Consensus begins the height again.
        if self.dice.chance(70) {
            self.round = self.round.saturating_sub(1);
        }
    }
}

/// Why a signature was not given.
enum Trouble {
    /// The guard broke its promise.
    Ours(String),
    /// The disk failed.
    Disk(String),
}

/// A first life, which begins with making the key, cut at an operation; four more cut somewhere, and one that ends well.
fn run(seed: u64, operations: u64, lie: Lie) -> Result<(), String> {
    let mut story = Story::new(seed);
    story.live(Life::cut_at(operations, moment(operations), lie))?;
    for life in 0..4 {
        story.end();
        let somewhere = story.dice.below(24);
        story.live(Life::cut_at(somewhere, moment(somewhere + life), lie))?;
    }
    story.end();
    story.live(Life { lie, ..Life::LONG })
}

fn operations_of_first_life(seed: u64) -> u64 {
    let mut dry = Story::new(seed);
    dry.live(Life::LONG).expect("nothing is wrong");
    dry.disk.operations()
}

const SEEDS: u64 = 60;

/// 60 guards; each loses its first life at every operation, then four more lives.
#[test]
fn whatever_operation_the_power_goes_at_the_guard_starts_again_and_never_signs_twice() {
    for seed in 0..SEEDS {
        for operations in 0..operations_of_first_life(seed) {
            run(seed, operations, Lie::None).unwrap_or_else(|why| panic!("seed {seed}, cut at {operations}: {why}"));
        }
    }
}

#[test]
fn a_guard_that_left_out_a_sync_is_noticed() {
    for lie in [Lie::NoDirectorySync, Lie::NoFileSync, Lie::FileSyncAfterRename] {
        let every_cut = |seed, lie| (0..operations_of_first_life(seed)).try_for_each(|cut| run(seed, cut, lie));
        println!("{lie:?}: {}", caught(lie, every_cut));
    }
}

/// 500 guards on a disk that fails, fills up or reads and writes in pieces; each stops at the first error.
#[test]
fn whatever_fails_the_guard_stops_with_the_name_of_the_file_and_never_signs_twice() {
    for seed in 0..500 {
        let mut story = Story::new(seed);
        let mut lives = || -> Result<(), String> {
            for _ in 0..4 {
                story.disk.add_trouble(draw_trouble(&mut story.dice));
                story.live(Life { errors: Errors::Stop, ..Life::LONG })?;
                story.disk.mend();
                story.end();
            }
            story.live(Life::LONG)
        };
        lives().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
