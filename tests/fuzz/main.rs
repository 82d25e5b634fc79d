//! The fuzz bodies on the stable toolchain: over their seeds, and over seeds that were cut, flipped, spliced and
//! stretched. How to run them for longer, under libFuzzer: `fuzz/README.md`.

mod bodies;

use bodies::BODIES;
use std::path::Path;

/// Mutated inputs for each body; `QUORATE_FUZZ=1000000 cargo test --test fuzz` runs more.
const INPUTS: u64 = 20_000;
/// Longest input, as long as a handful of packets.
const INPUT_BYTES_MAX: usize = 4096;

/// Repeatable numbers (xorshift64*), so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("readable")).collect()
}

/// A seed, changed in one to eight places.
fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    // Numbers that are at the edge of something: lengths, varints, signs.
    const EDGES: [u8; 8] = [0x00, 0x01, 0x0a, 0x12, 0x7f, 0x80, 0xfe, 0xff];
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(data.len() + 1);
        match random.below(6) {
            0 => data.truncate(at),
            1 if at < data.len() => data[at] ^= 1 << random.below(8),
            2 if at < data.len() => data[at] = EDGES[random.below(EDGES.len())],
            3 => {
                let with = &seeds[random.below(seeds.len())];
                let from = random.below(with.len() + 1);
                data.splice(at..at, with[from..].iter().copied());
            }
            4 => data.insert(at, random.next() as u8),
            _ => data.splice(at..at, std::iter::repeat_n(0xff, random.below(12))).for_each(drop),
        }
        data.truncate(INPUT_BYTES_MAX);
    }
    data
}

fn inputs() -> u64 {
    std::env::var("QUORATE_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(INPUTS)
}

#[test]
fn no_decoder_of_a_peers_bytes_panics_or_reads_what_it_cannot_write() {
    for (target, body) in BODIES {
        let seeds = seeds(target);
        assert!(!seeds.is_empty(), "{target} has seeds");
        seeds.iter().for_each(|seed| body(seed));
        let mut random = Random(0x5eed_0000 + target.len() as u64);
        for number in 0..inputs() {
            let data = mutate(&mut random, &seeds);
            if let Err(panic) = std::panic::catch_unwind(|| body(&data)) {
                eprintln!("{target}, input {number}: {data:02x?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn the_seeds_are_messages_and_not_noise() {
    use bytes::Bytes;
    use quorate::types::{Channel, PeerMessage};
    let read = seeds("peer_message").into_iter().filter(|seed| {
        let channel = Channel::ALL[usize::from(seed[0])];
        PeerMessage::decode(channel, Bytes::copy_from_slice(&seed[1..])).is_ok()
    });
    assert!(read.count() >= 18, "most of the 23 seeds are read; a few are CometBFT's extremes, which are refused");
}

#[test]
fn every_body_has_a_target_for_libfuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("readable");
    for (target, _) in BODIES {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is in fuzz/Cargo.toml");
        assert!(folder.join(format!("fuzz_targets/{target}.rs")).exists(), "{target} has a file");
    }
}
