//! Every limit of block sync, with its unit. Names and values of CometBFT's `blocksync/pool.go` are given where it has
//! the same one.

use super::Elapsed;
use crate::types::PartSet;
use std::time::Duration;

/// Requests one peer may owe us an answer to: `maxPendingRequestsPerPeer`.
pub const PENDING_PER_PEER_MAX: usize = 20;

/// Blocks beyond the last applied one that are fetched ahead.
pub const WINDOW_BLOCKS: u64 = 1_000;

/// Bytes of fetched blocks kept, with what is asked for at the size blocks had lately. More is thrown away and fetched
/// again, the highest first; only the two lowest blocks are kept whatever their size, or nothing could be verified.
pub const HELD_BYTES_MAX: u64 = 256 << 20;

/// Commits checked by one order: enough to keep all cores busy, few enough for the first block not to wait long.
pub const CHECKS_PER_ORDER_MAX: usize = 32;

/// A peer that owes an answer and says nothing for so long is dropped: `peerTimeout`.
pub const SILENCE_MAX: Elapsed = Duration::from_secs(15);

/// Bytes a second a peer that owes answers must send: `minRecvRate`. A block counts for at least that much, or nobody
/// far away could serve small blocks.
pub const RATE_MIN: u64 = 128 << 10;

/// How long a peer's rate is measured before it is judged.
pub const RATE_SPAN: Elapsed = Duration::from_secs(15);

/// How long a dropped peer is asked nothing after it came back.
pub const BAR_TIME: Elapsed = Duration::from_secs(60);

/// Dropped peers remembered; then the one that would be forgiven first is forgotten.
pub const BARRED_MAX: usize = 1_000;

/// The lowest blocks, which everything waits for, are asked of a second peer when the first takes long. CometBFT asks two
/// peers at once for the lowest 50, and so fetches them twice.
pub const URGENT_BLOCKS: u64 = 16;

/// How long an urgent block may take before a second peer is asked.
pub const SECOND_ASK_AFTER: Elapsed = Duration::from_secs(1);

/// How often everybody is asked which blocks it has, while we fetch: `statusUpdateIntervalSeconds`.
pub const STATUS_INTERVAL: Elapsed = Duration::from_secs(10);

/// How old an answer may be for us to believe that nothing is left to fetch.
pub const STATUS_FRESH: Elapsed = Duration::from_secs(2);

/// Blocks the chain may grow by while we look whether it has grown. Consensus hands on a few; where blocks come quickly, a
/// hundred behind would take it seconds, and a leader that dies meanwhile could be replaced no sooner.
pub const LEVEL_BLOCKS: u64 = 2;

/// After the first answer, how long we wait for those of the other peers before joining consensus.
pub const STATUS_GRACE: Elapsed = Duration::from_secs(1);

/// How long the next block may be owed before a claim to have it proves nothing to a node that is level with others. Who
/// promises blocks that are not made yet owes [`PENDING_PER_PEER_MAX`] of them: it is seen where the chain makes fewer than
/// ten a second.
pub const PROMISE_KEPT_WITHIN: Elapsed = Duration::from_secs(2);

/// How long a validator without whom the chain stands still looks for blocks before it joins consensus.
pub const BLOCKER_PATIENCE: Elapsed = Duration::from_secs(1);

/// How long a claim that consensus has fallen behind is looked into.
pub const PROBE_TIME: Elapsed = Duration::from_secs(30);

/// Least time between the beginnings of two such inquiries.
pub const PROBE_INTERVAL: Elapsed = Duration::from_secs(5);

const _: () = assert!(2 * PartSet::BLOCK_BYTES_MAX <= HELD_BYTES_MAX, "a pair of the largest blocks fits");
const _: () = assert!(PENDING_PER_PEER_MAX as u64 <= WINDOW_BLOCKS, "one peer can be kept busy");
