//! Numbers as people type them on the command line: who is refused is told what would be taken.

use crate::sim::Level;
use std::ops::RangeInclusive;

/// Most nodes of a simulated network: they are counted in a byte, and words grow with their square.
pub(super) const NODES_MAX: u8 = 32;
/// Most instances of an application of somebody's own.
pub(super) const INSTANCES_MAX: u8 = 16;
/// Most heights of a simulated run; more would take days, and what is decided is kept in memory.
const HEIGHTS_MAX: u64 = 100_000;
/// Longest run of the simulator, in minutes: a year.
const MINUTES_MAX: f64 = 525_600.0;

fn whole<N: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>, remark: &str) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| format!("it is a whole number from {} to {}{remark}", range.start(), range.end()))
}

/// A seed.
pub(super) fn seed(text: &str) -> Result<u64, String> {
    whole(text, 0..=u64::MAX, "")
}

/// How many seeds.
pub(super) fn seeds(text: &str) -> Result<u64, String> {
    whole(text, 1..=u64::MAX, "")
}

/// How many nodes.
pub(super) fn nodes(text: &str) -> Result<u8, String> {
    let remark = format!("; instances of an application of your own are at most {INSTANCES_MAX}");
    whole(text, 1..=u64::from(NODES_MAX), &remark)
}

/// How many heights.
pub(super) fn heights(text: &str) -> Result<u64, String> {
    whole(text, 1..=HEIGHTS_MAX, "")
}

/// The number of a fault.
pub(super) fn fault(text: &str) -> Result<u32, String> {
    whole(text, 0..=u64::from(u32::MAX), ", several separated by commas")
}

/// How much of a node is simulated.
pub(super) fn level(text: &str) -> Result<Level, String> {
    match text {
        "1" => Ok(Level::Bare),
        "2" => Ok(Level::Whole),
        _ => Err("it is 1, protocol machines alone, or 2, whole replicas".to_owned()),
    }
}

/// A span of time in minutes.
pub(super) fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.0..=MINUTES_MAX).contains(minutes));
    minutes.ok_or_else(|| format!("it is a number of minutes from 0 to {MINUTES_MAX}"))
}
