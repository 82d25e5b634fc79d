//! The secret connection: frames sealed and opened in a second, and what a handshake costs each side.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate::crypto::PrivateKey;
use quorate::p2p::secret::{Agreed, FRAME_DATA_MAX, Hello, SEALED_LEN};
use std::hint::black_box;
use zeroize::Zeroizing;

/// Frames in one write of a busy connection.
const FRAMES: usize = 64;

fn pair() -> (Agreed, Agreed) {
    let (one, two) = (Hello::new(Zeroizing::new([1; 32])), Hello::new(Zeroizing::new([2; 32])));
    let (from_one, from_two) = (one.message(), two.message());
    (one.agree(from_two).expect("a good key"), two.agree(from_one).expect("a good key"))
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("secret connection, 64 frames of 1 KiB");
    group.throughput(Throughput::Elements(FRAMES as u64));
    let data = vec![7; FRAMES * FRAME_DATA_MAX];
    let mut sealed = Vec::new();
    let (mut one, _) = pair();
    group.bench_function("seal", |b| {
        b.iter(|| {
            sealed.clear();
            one.sealer.seal(black_box(&data), &mut sealed);
        });
    });
    let (mut one, mut two) = pair();
    group.bench_function("open", |b| {
        // Frames open in their order only, so each round has its own.
        let mut plain = Vec::new();
        b.iter_batched_ref(
            || {
                let mut sealed = Vec::new();
                one.sealer.seal(&data, &mut sealed);
                sealed
            },
            |sealed| {
                plain.clear();
                for frame in sealed.as_chunks_mut::<SEALED_LEN>().0 {
                    plain.extend_from_slice(two.opener.open(frame).expect("in order"));
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn handshake(c: &mut Criterion) {
    let key = PrivateKey::from_seed(&[3; 32]);
    let theirs = Hello::new(Zeroizing::new([2; 32])).message();
    c.bench_function("secret connection, keys agreed and proof made", |b| {
        b.iter(|| {
            let agreed = Hello::new(Zeroizing::new([1; 32])).agree(black_box(theirs)).expect("a good key");
            agreed.challenge.prove(&key)
        });
    });
}

criterion_group!(secret, frames, handshake);
criterion_main!(secret);
