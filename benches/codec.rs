//! Bytes to types and back: blocks, votes, ABCI frames.

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate::codec::{abci, frame};
use quorate::crypto::{Hash, Signature};
use quorate::types::abci::{ExecTxResult, FinalizeBlockResponse, Request, Response};
use quorate::types::{
    Address, BlockId, ChainId, Commit, CommitSig, Height, PartSetHeader, Round, SignedPart, Time, Vote, VoteKind,
};
use std::hint::black_box;

/// Signatures in a commit of a large public chain.
const SIGNATURES: usize = 150;
/// Transactions of 256 bytes in 1 MiB.
const TXS: usize = 4_096;

fn vote() -> Vote {
    let hash = Hash::new([3; 32]);
    Vote {
        kind: VoteKind::Precommit,
        height: Height::new(1_000_000),
        round: Round::ZERO,
        block_id: Some(BlockId { hash, parts: PartSetHeader { total: 16, hash } }),
        timestamp: Time::UNIX_EPOCH,
        validator_address: Address::new([5; 20]),
        validator_index: 77,
        signature: Signature::new([9; 64]),
        extension: Bytes::new(),
        extension_signature: None,
    }
}

fn commit() -> Commit {
    let vote = vote();
    let part =
        SignedPart { validator_address: vote.validator_address, timestamp: vote.timestamp, signature: vote.signature };
    Commit {
        height: vote.height,
        round: vote.round,
        block_id: vote.block_id.expect("names a block"),
        signatures: vec![CommitSig::Commit(part); SIGNATURES],
    }
}

fn codec(c: &mut Criterion) {
    let chain_id = ChainId::try_from("bench").expect("a legal name");
    let (vote, commit) = (vote(), commit());
    let (vote_bytes, commit_bytes) = (vote.encode(), commit.encode());
    c.bench_function("sign bytes of a vote", |b| b.iter(|| black_box(&vote).sign_bytes(&chain_id)));
    c.bench_function("encode a vote", |b| b.iter(|| black_box(&vote).encode()));
    c.bench_function("decode a vote", |b| b.iter(|| Vote::decode(black_box(vote_bytes.clone()))));
    c.bench_function("encode a commit of 150", |b| b.iter(|| black_box(&commit).encode()));
    c.bench_function("decode a commit of 150", |b| b.iter(|| Commit::decode(black_box(commit_bytes.clone()))));

    let mut group = c.benchmark_group("abci");
    group.throughput(Throughput::Elements(TXS as u64));
    let tx = Bytes::from(vec![7; 256]);
    let echo = Response::PrepareProposal(vec![tx.clone(); TXS]);
    let result = ExecTxResult { data: tx.slice(..32), gas_wanted: 1, gas_used: 1, ..ExecTxResult::default() };
    let results = FinalizeBlockResponse { tx_results: vec![result; TXS], ..FinalizeBlockResponse::default() };
    for (name, response) in [("1 MiB of transactions", echo), ("4096 results", Response::FinalizeBlock(results))] {
        let mut out = BytesMut::new();
        abci::encode_response(&response, &mut out);
        let body = frame::take(&mut out, abci::FRAME_BYTES_MAX).expect("legal").expect("complete");
        group.bench_function(format!("encode {name}"), |b| {
            b.iter(|| {
                let mut out = BytesMut::with_capacity(body.len() + 10);
                abci::encode_response(black_box(&response), &mut out);
                out
            });
        });
        group.bench_function(format!("decode {name}"), |b| b.iter(|| abci::decode_response(black_box(&body))));
    }
    group.bench_function("encode 4096 empty flushes", |b| {
        b.iter(|| {
            let mut out = BytesMut::new();
            (0..TXS).for_each(|_| abci::encode_request(&Request::Flush, &mut out));
            out
        });
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
