//! How long a round of votes takes to count, for sets of 4 to 175 validators.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate::consensus::tally::Tally;
use quorate::crypto::{Hash, PublicKey, Signature};
use quorate::types::{
    BlockId, Height, PartSetHeader, Power, Round, Source, Time, Validator, ValidatorSet, Vote, VoteKind,
};
use std::hint::black_box;
use std::sync::Arc;

fn set_of(size: u8) -> Arc<ValidatorSet> {
    let members = (0..size).map(|i| Validator::new(PublicKey::new([i + 1; 32]), Power::new(10)));
    Arc::new(ValidatorSet::new(members).expect("a legal set"))
}

fn votes_of(set: &ValidatorSet) -> Vec<Vote> {
    let parts = PartSetHeader { total: 1, hash: Hash::new([2; 32]) };
    let block_id = Some(BlockId { hash: Hash::new([1; 32]), parts });
    let vote = |(index, member): (usize, &Validator)| Vote {
        kind: VoteKind::Precommit,
        height: Height::FIRST,
        round: Round::ZERO,
        block_id,
        timestamp: Time::UNIX_EPOCH,
        validator_address: member.address,
        validator_index: index as u32,
        signature: Signature::new([3; 64]),
        extension: bytes::Bytes::new(),
        extension_signature: None,
    };
    set.members().iter().enumerate().map(vote).collect()
}

fn count_a_round(c: &mut Criterion) {
    for size in [4, 100, 175] {
        let set = set_of(size);
        let votes = votes_of(&set);
        c.bench_function(&format!("tally of {size} precommits"), |bencher| {
            let fresh = || (Tally::new(Height::FIRST, Arc::clone(&set)), votes.clone());
            bencher.iter_batched(
                fresh,
                |(mut tally, votes)| {
                    for vote in votes {
                        tally.add(vote, Source::Own);
                    }
                    black_box(tally.decision())
                },
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, count_a_round);
criterion_main!(benches);
