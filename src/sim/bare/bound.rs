//! How long the network may take after healing: for each protocol a formula of its timeouts, and of nothing measured.

use super::execute::{answer_max, fetch_max};
use super::faults::BACK;
use crate::sim::check::quiet_after;
use crate::sim::{Misfortune, Plan, Weather};
use crate::types::Algorithm;
use std::time::Duration;

/// Clocks run up to a tenth too slow.
fn by_slow_clocks(time: Duration) -> Duration {
    time * 10 / 9
}

/// How long it may take to decide all heights, as far as waiting for rounds, views and terms goes.
pub(in crate::sim) fn decisions(plan: &Plan) -> Duration {
    let liars = plan.all().filter(|node| !plan.is_honest(*node)).count() as u32;
    let heights = u32::try_from(plan.heights).unwrap_or(u32::MAX).saturating_add(1);
    let elapsed = Duration::from_nanos(plan.heal_at.0);
    match plan.algorithm {
        Algorithm::Tendermint => tendermint(plan, liars, heights, elapsed),
        Algorithm::Pbft => pbft(plan, liars, heights, elapsed),
        Algorithm::Raft => raft(plan, heights),
    }
}

/// Every honest node has applied all heights this long after healing.
pub(super) fn after_healing(plan: &Plan) -> Duration {
    let heights = u32::try_from(plan.heights).unwrap_or(u32::MAX).saturating_add(1);
    // One exchange of words, with what disks and applications add; what is on its way in bad weather arrives late.
    let exchange = Weather::CALM.delay_max + answer_max();
    let settled = BACK + fetch_max() * 4 + plan.weather.delay_max * 2 + Duration::from_secs(1);
    by_slow_clocks(settled + decisions(plan) + (exchange * 12 + plan.timeouts.commit) * heights)
}

/// And so much longer for some heights more, once it is quiet: those that nobody asked for begin late.
pub(super) fn in_quiet(plan: &Plan, heights: u64) -> Duration {
    let count = u32::try_from(heights).unwrap_or(u32::MAX).saturating_add(2);
    let pauses = by_slow_clocks(plan.timeouts.commit * super::world::IDLE_PAUSES * count);
    quiet_after(plan) + pauses + after_healing(&Plan { heights: heights + 2, ..plan.clone() })
}

/// A round r lasts at most propose + prevote + precommit, each grown r times. A height is decided in the first round
/// with an honest proposer that begins after healing; before it come those of liars: as proposers take turns by power and
/// liars have less than a third, at most two for each of them. The height at hand is in the latest round that fits into
/// the time before, and loses two rounds more: the one at hand, and one that begins before all have come into it.
fn tendermint(plan: &Plan, liars: u32, heights: u32, elapsed: Duration) -> Duration {
    let timeouts = &plan.timeouts;
    let base = timeouts.propose + timeouts.prevote + timeouts.precommit;
    let delta = timeouts.propose_delta + timeouts.prevote_delta + timeouts.precommit_delta;
    let round = |number: u32| base + delta * number;
    let (mut reached, mut spent) = (0, Duration::ZERO);
    while spent < elapsed {
        spent += (timeouts.prevote + timeouts.precommit) / 2 + delta * reached;
        reached += 1;
    }
    let turns = 2 * liars + 1;
    let rounds = |first: u32, count: u32| (first..first + count).map(round).sum::<Duration>();
    rounds(reached, turns + 2) + rounds(0, turns) * heights
}

/// The view timer at hand has doubled as often as fits into the time before; each liar that leads after it doubles it
/// once more, up to 256 times the first (`DOUBLINGS_MAX`). At every later height all liars may lead in turn.
fn pbft(plan: &Plan, liars: u32, heights: u32, elapsed: Duration) -> Duration {
    let first = plan.timeouts.view_change;
    let longest = first * 256;
    let at_hand = (elapsed * 2 + first * 2).min(longest);
    let doubled =
        |from: Duration| (0..=liars + 1).map(|times| (from * (1 << times.min(8))).min(longest)).sum::<Duration>();
    doubled(at_hand) + (doubled(first) + plan.timeouts.heartbeat * 4) * heights
}

/// An election is won in one of the first tries: timeouts are drawn from one to two times the election timeout, and a
/// tie is as likely as two draws that differ by less than an exchange. Twelve tries fail together once in millions of
/// runs. Who leads may change with the validators.
fn raft(plan: &Plan, heights: u32) -> Duration {
    let changes = plan.faults.iter().filter(|fault| matches!(fault.what, Misfortune::Power { .. })).count() as u32;
    plan.timeouts.election * 2 * (12 + 4 * changes) + plan.timeouts.heartbeat * 4 * heights
}
