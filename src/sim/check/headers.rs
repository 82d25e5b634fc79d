//! Headers: what a block says of the chain before it is so. The application's hash is the one that was computed, the hashes
//! of the sets are those of the sets, the time is the weighted median of the times in the commit it carries (the height
//! before, proven by enough honest signatures).
//!
//! Machines alone make blocks that say only the application's hash.

use super::agreement::Program;
use super::book::{PerNode, Sets, Signatures, printed};
use super::proofs::Proofs;
use crate::crypto::Hash;
use crate::sim::{Checker, Harm, Level, Scene, Seen, What};
use crate::types::{
    Algorithm, Block, Commit, CommitSig, ExtendedCommit, ExtendedCommitSig, Header, Height, Time, ValidatorSet,
};
use bytes::Bytes;
use std::sync::Arc;

/// What was computed at the last heights, and the last block looked at.
#[derive(Debug, Default)]
pub struct Headers {
    sets: Sets,
    signed: PerNode<Signatures>,
    /// After the last block that was applied: its height, the application's hash, who decides the height after the next.
    applied: Option<(Height, Bytes, Arc<ValidatorSet>)>,
    seen: Option<Height>,
    programs: PerNode<Program>,
    /// The programs of many differ: nobody can say which hash is right.
    many_differ: bool,
    /// The parameters' hash: no application of ours changes them.
    consensus_hash: Option<Hash>,
}

impl Checker for Headers {
    fn name(&self) -> &'static str {
        "headers"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if !scene.is_honest(seen.node) {
            return Ok(());
        }
        self.programs.of(seen.node).see(&seen.what);
        match seen.what {
            What::Harmed { what: Harm::Programs } => self.many_differ = true,
            What::Began { .. } => self.sets.see(scene, seen),
            What::Signed(word) => {
                if let Some((place, print)) = printed(&word) {
                    self.signed.of(seen.node).push(place, print);
                }
            }
            What::Applied { height, app_hash, next_validators, .. }
                if *self.programs.of(seen.node) == Program::Same
                    && self.applied.as_ref().is_none_or(|(last, ..)| *last < height) =>
            {
                self.applied = Some((height, app_hash.clone(), Arc::clone(next_validators)));
            }
            What::Decided { block, commit } if self.seen.is_none_or(|last| last < commit.height) => {
                self.seen = Some(commit.height);
                let wrong = |why: String| format!("block {} {why}", commit.height);
                return self.judge(scene, commit.height, block.block()).map_err(wrong);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Headers {
    /// The first decision of a height.
    fn judge(&mut self, scene: &Scene, height: Height, block: &Block) -> Result<(), String> {
        let header = &block.header;
        if let Some((last, app_hash, next)) = &self.applied
            && last.next() == height
        {
            if header.app_hash != *app_hash && !self.many_differ {
                return Err(format!("says {:?}, and {app_hash:?} was computed", header.app_hash));
            }
            if scene.plan.level == Level::Whole && header.next_validators_hash != next.hash() {
                return Err("says other next validators than the block before named".to_owned());
            }
        }
        if scene.plan.level == Level::Bare {
            return Ok(());
        }
        if self.sets.at(scene, height).is_some_and(|set| set.hash() != header.validators_hash) {
            return Err("says other validators than those who decided it".to_owned());
        }
        if *self.consensus_hash.get_or_insert(header.consensus_hash) != header.consensus_hash {
            return Err("says other parameters, and nobody changed any".to_owned());
        }
        match &block.last_commit {
            Some(commit) if height > scene.initial_height => self.last_commit(scene, header, commit),
            None if height > scene.initial_height => Err("does not prove the block before".to_owned()),
            _ => Ok(()),
        }
    }

    /// The commit in a block decides the block before, by signatures that were given, and says its time.
    fn last_commit(&self, scene: &Scene, header: &Header, commit: &Commit) -> Result<(), String> {
        if commit.height.next() != header.height || Some(commit.block_id) != header.last_block_id {
            return Err(format!("proves {:?} at {}", commit.block_id, commit.height));
        }
        let entry = |sig: &CommitSig| ExtendedCommitSig {
            sig: sig.clone(),
            extension: Bytes::new(),
            extension_signature: None,
        };
        let Commit { height, round, block_id, .. } = *commit;
        let signatures = commit.signatures.iter().map(entry).collect();
        let proofs = Proofs { scene, sets: &self.sets, signed: Some(&self.signed) };
        proofs
            .commit(&ExtendedCommit { height, round, block_id, signatures })
            .map_err(|why| format!("carries a bad commit: {why}"))?;
        let Some(set) = self.sets.at(scene, commit.height) else { return Ok(()) };
        let median = median(scene.plan.algorithm, set, commit);
        if median.is_some_and(|median| median != header.time) {
            return Err(format!("is of {:?}, and the median of its commit is {median:?}", header.time));
        }
        Ok(())
    }
}

/// The middle of the times, each as often as its signer has power. Tendermint and Raft count votes for nil and round half
/// of an odd power down (CometBFT's `WeightedMedian`), PBFT counts those for the block and rounds up.
fn median(algorithm: Algorithm, set: &ValidatorSet, commit: &Commit) -> Option<Time> {
    let timed = set.members().iter().zip(&commit.signatures).filter_map(|(member, sig)| match (sig, algorithm) {
        (CommitSig::Absent, _) | (CommitSig::Nil(_), Algorithm::Pbft) => None,
        (CommitSig::Commit(part) | CommitSig::Nil(part), _) => Some((part.timestamp, member.power.get())),
    });
    let mut timed: Vec<(Time, u64)> = timed.collect();
    timed.sort();
    let total: u64 = timed.iter().map(|(_, power)| power).sum();
    let middle = if algorithm == Algorithm::Pbft { total.div_ceil(2) } else { total / 2 };
    let mut below = 0;
    timed.into_iter().find_map(|(time, power)| {
        below += power;
        (middle <= below).then_some(time)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Signature, sha256};
    use crate::sim::check::story::{Stage, block, commit, precommit, seat};
    use crate::types::{CandidateBlock, SignedPart};
    use std::time::Duration;

    /// Height 1 decided, by 0 to 2, and applied.
    fn stage() -> (Stage<Headers>, Block) {
        let mut stage = Stage::of(Algorithm::Tendermint, 4, Headers::default());
        stage.begin(0, 1);
        let (scene, mut one) = (stage.scene.clone(), block(1, "a").block().clone());
        one.header.validators_hash = stage.set_at(1).hash();
        let one = Arc::new(CandidateBlock::new(one));
        (0..3).for_each(|node| stage.signs(node, &precommit(&scene, node, (1, 0), Some(one.id()))));
        let votes = commit(&scene, 1, 0, one.id(), &[0, 1, 2]);
        stage.fine(0, What::Decided { block: &one, commit: &votes });
        stage.apply(0, 1, one.id(), "state");
        stage.begin(0, 2);
        let mut two = block(2, "a").block().clone();
        let header = &mut two.header;
        header.last_block_id = Some(one.id());
        header.app_hash = Bytes::from_static(b"state");
        header.validators_hash = stage.set_at(2).hash();
        header.next_validators_hash = stage.set_at(3).hash();
        header.time = Time::UNIX_EPOCH;
        let signatures = votes.signatures.into_iter().map(|entry| entry.sig).collect();
        two.last_commit = Some(Commit { height: Height::new(1), round: votes.round, block_id: one.id(), signatures });
        (stage, two)
    }

    fn decide(stage: &mut Stage<Headers>, two: Block) -> Result<(), String> {
        let two = Arc::new(CandidateBlock::new(two));
        let votes = commit(&stage.scene, 2, 0, two.id(), &[0, 1, 2]);
        stage.see(0, What::Decided { block: &two, commit: &votes })
    }

    #[test]
    fn a_block_that_says_what_is_so_is_fine() {
        let (mut stage, two) = stage();
        assert_eq!(decide(&mut stage, two), Ok(()));
    }

    #[test]
    fn each_field_that_is_not_so_is_caught() {
        type Bend = fn(&mut Block);
        let bends: [(Bend, &str); 7] = [
            (|block| block.header.app_hash = Bytes::from_static(b"other"), "was computed"),
            (|block| block.header.validators_hash = sha256(b"other"), "who decided it"),
            (|block| block.header.next_validators_hash = sha256(b"other"), "named"),
            (|block| block.header.consensus_hash = sha256(b"other"), "parameters"),
            (|block| block.header.time = Time::UNIX_EPOCH.plus(Duration::from_nanos(1)), "median"),
            (|block| block.last_commit = None, "does not prove"),
            (|block| block.header.last_block_id = None, "proves"),
        ];
        for (bend, said) in bends {
            let (mut stage, mut two) = stage();
            bend(&mut two);
            let why = decide(&mut stage, two).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }

    #[test]
    fn the_hash_of_an_application_is_judged_until_those_of_many_differ() {
        let (mut stage, two) = stage();
        stage.fine(1, What::Harmed { what: Harm::Program });
        let other = || {
            let mut two = two.clone();
            two.header.app_hash = Bytes::from_static(b"other");
            two
        };
        assert!(decide(&mut stage, other()).unwrap_err().contains("was computed"));
        let (mut stage, _) = self::stage();
        stage.fine(1, What::Harmed { what: Harm::Programs });
        assert_eq!(decide(&mut stage, other()), Ok(()));
    }

    #[test]
    fn a_last_commit_with_too_few_votes_or_one_nobody_gave_is_caught() {
        let (mut stage, mut two) = stage();
        let commit = two.last_commit.as_mut().expect("it has one");
        let given = commit.signatures.iter().position(|sig| *sig != CommitSig::Absent).expect("three");
        commit.signatures[given] = CommitSig::Absent;
        assert!(decide(&mut stage, two).unwrap_err().contains("2 of 4"));
        let (mut stage, mut two) = self::stage();
        let address = stage.scene.addresses[3];
        let forged =
            SignedPart { validator_address: address, timestamp: Time::UNIX_EPOCH, signature: Signature::new([7; 64]) };
        let (seat, _) = seat(&stage.scene, 3);
        two.last_commit.as_mut().expect("it has one").signatures[seat as usize] = CommitSig::Commit(forged);
        assert!(decide(&mut stage, two).unwrap_err().contains("claims that node 3"));
    }

    #[test]
    fn the_median_is_that_of_power_and_pbft_rounds_up() {
        let stage = Stage::of(Algorithm::Tendermint, 4, Headers::default());
        let (scene, at) = (&stage.scene, |seconds| Time::UNIX_EPOCH.plus(Duration::from_secs(seconds)));
        let votes = commit(scene, 1, 0, block(1, "a").id(), &[0, 1, 2]);
        let mut signatures: Vec<CommitSig> = votes.signatures.into_iter().map(|entry| entry.sig).collect();
        let mut seconds = 0;
        for sig in &mut signatures {
            if let CommitSig::Commit(part) = sig {
                seconds += 1;
                part.timestamp = at(seconds);
            }
        }
        let commit = Commit { height: votes.height, round: votes.round, block_id: votes.block_id, signatures };
        assert_eq!(median(Algorithm::Tendermint, &scene.validators, &commit), Some(at(1)));
        assert_eq!(median(Algorithm::Raft, &scene.validators, &commit), Some(at(1)));
        assert_eq!(median(Algorithm::Pbft, &scene.validators, &commit), Some(at(2)));
    }
}
