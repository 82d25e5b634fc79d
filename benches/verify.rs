//! What a commit of 4 and of 100 validators costs to verify, and what one turn of the proposer rotation costs.

use criterion::{Criterion, criterion_group, criterion_main};
use quorate::crypto::{Hash, PrivateKey, Signature};
use quorate::types::{
    Address, BlockId, ChainId, Commit, CommitSig, Height, MedianRule, PartSetHeader, Power, Quorum, Round, SignedPart,
    Time, TrustLevel, Validator, ValidatorSet,
};
use std::hint::black_box;

/// Validators in the commits measured: a test network, and a large public one.
const SIZES: [u8; 2] = [4, 100];

struct Signed {
    chain_id: ChainId,
    set: ValidatorSet,
    commit: Commit,
}

/// A commit everybody signed, at different times.
fn signed(count: u8) -> Signed {
    let chain_id = ChainId::try_from("bench").expect("a short name");
    let keys: Vec<PrivateKey> = (0..count).map(|id| PrivateKey::from_seed(&[id; 32])).collect();
    let member = |key: &PrivateKey| Validator::new(key.public_key(), Power::new(10));
    let set = ValidatorSet::new(keys.iter().map(member)).expect("a legal set");
    let parts = PartSetHeader { total: 1, hash: Hash::EMPTY };
    let mut commit = Commit {
        height: Height::new(7),
        round: Round::ZERO,
        block_id: BlockId { hash: Hash::EMPTY, parts },
        signatures: vec![CommitSig::Absent; keys.len()],
    };
    for key in &keys {
        let address = Address::from(&key.public_key());
        let (index, _) = set.by_address(&address).expect("a member");
        let part = |signature| SignedPart {
            validator_address: address,
            timestamp: Time::new(1_700_000_000 + i64::from(index), 0).expect("a legal time"),
            signature,
        };
        commit.signatures[index as usize] = CommitSig::Commit(part(Signature::new([0; Signature::LEN])));
        let sign_bytes = commit.sign_bytes_of(index as usize, &chain_id).expect("there is an entry");
        commit.signatures[index as usize] = CommitSig::Commit(part(key.sign(&sign_bytes)));
    }
    Signed { chain_id, set, commit }
}

fn commits(c: &mut Criterion) {
    for count in SIZES {
        let Signed { chain_id, set, commit } = signed(count);
        let (id, height) = (commit.block_id, commit.height);
        let mut group = c.benchmark_group(format!("commit of {count}"));
        group.bench_function("full", |b| {
            b.iter(|| set.verify_commit(&chain_id, &id, height, black_box(&commit), Quorum::MoreThanTwoThirds))
        });
        group.bench_function("light", |b| {
            b.iter(|| set.verify_commit_light(&chain_id, &id, height, black_box(&commit)));
        });
        group.bench_function("trusting a third", |b| {
            b.iter(|| set.verify_commit_light_trusting(&chain_id, black_box(&commit), TrustLevel::ONE_THIRD));
        });
        group.bench_function("median time", |b| {
            b.iter(|| black_box(&commit).median_time(&set, MedianRule::CommitAndNil));
        });
        group.bench_function("rotation, one turn", |b| b.iter(|| black_box(&set).advanced(1)));
        group.finish();
    }
}

criterion_group!(benches, commits);
criterion_main!(benches);
