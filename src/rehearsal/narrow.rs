//! Which transactions a difference in a hash comes from: the same run again, with fewer of them in that block.

use super::host::{Host, HostError};
use super::{Run, Script, rehearse_thinned};
use crate::sim::app::{Finding, Plan};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// What was learnt about the transactions of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Narrowed {
    /// With these of the block's transactions alone, by their places, the instances still part.
    To {
        /// Their places, ascending.
        places: Vec<usize>,
        /// Runs it took.
        tried: u32,
    },
    /// They part also without any transaction in that block.
    NeedsNone,
    /// They parted with none of the smaller sets that were tried: all together are needed, or chance has a part in it.
    Unclear {
        /// Runs it took.
        tried: u32,
    },
}

/// A block some transactions are left out of, known by all it has.
#[derive(Debug)]
pub(super) struct Thinned<'a> {
    height: u64,
    whole: &'a [Bytes],
    keep: &'a [usize],
}

impl Thinned<'_> {
    /// True when this is the block meant.
    pub(super) fn is_of(&self, height: u64, txs: &[Bytes]) -> bool {
        (self.height, self.whole) == (height, txs)
    }

    /// What is left in it.
    pub(super) fn left(&self) -> Vec<Bytes> {
        self.keep.iter().filter_map(|place| self.whole.get(*place)).cloned().collect()
    }
}

/// Leads fresh instances through the plan again and again, with fewer and fewer of the transactions of the block the
/// finding is in: none, halves, single ones. `run` is the run of the finding under this plan. Ends when `within` is over.
///
/// # Errors
/// When the application cannot be started any more.
pub async fn narrow<H: Host>(
    plan: &Plan,
    script: &Script,
    run: &Run,
    within: Duration,
    hosts: &mut impl FnMut() -> Result<H, HostError>,
) -> Result<Narrowed, HostError> {
    let Some((finding, height)) = run.finding.as_ref().and_then(|finding| Some((finding, finding.height?))) else {
        return Ok(Narrowed::Unclear { tried: 0 });
    };
    let until = Instant::now() + within;
    let mut narrowing = Narrowing { plan, script, finding, height, whole: &run.txs, tried: 0, until };
    if narrowing.parts(&[], hosts).await? {
        return Ok(Narrowed::NeedsNone);
    }
    let places = narrowing.smallest(hosts).await?;
    let tried = narrowing.tried;
    // A single one is needed once it was tried to do without.
    let is_known = tried > 0 && (places.len() < run.txs.len() || places.len() == 1);
    Ok(if is_known { Narrowed::To { places, tried } } else { Narrowed::Unclear { tried } })
}

struct Narrowing<'a> {
    plan: &'a Plan,
    script: &'a Script,
    finding: &'a Finding,
    height: u64,
    whole: &'a [Bytes],
    tried: u32,
    until: Instant,
}

impl Narrowing<'_> {
    /// True when the instances part at the same height, in the same field, with only these transactions in the block.
    async fn parts<H: Host>(
        &mut self,
        keep: &[usize],
        hosts: &mut impl FnMut() -> Result<H, HostError>,
    ) -> Result<bool, HostError> {
        if Instant::now() >= self.until {
            return Ok(false);
        }
        self.tried += 1;
        let thinned = Thinned { height: self.height, whole: self.whole, keep };
        let run = rehearse_thinned(&mut hosts()?, self.plan, self.script, &thinned).await?;
        let again = run.finding.is_some_and(|it| it.is_like(self.finding) && it.height == self.finding.height);
        // Where the block became another one, nothing was left out of it.
        Ok(again && run.txs == thinned.left())
    }

    /// The places that are left when each half, quarter, single one that is not needed is gone.
    async fn smallest<H: Host>(
        &mut self,
        hosts: &mut impl FnMut() -> Result<H, HostError>,
    ) -> Result<Vec<usize>, HostError> {
        let mut best: Vec<usize> = (0..self.whole.len()).collect();
        let mut chunk = best.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < best.len() && best.len() > 1 {
                let mut fewer = best.clone();
                fewer.drain(at..(at + chunk).min(best.len()));
                if !fewer.is_empty() && self.parts(&fewer, hosts).await? {
                    best = fewer;
                } else {
                    at += chunk;
                }
            }
            if chunk == 1 {
                return Ok(best);
            }
            chunk = chunk.div_ceil(2);
        }
    }
}
