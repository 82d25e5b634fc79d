//! Leaving out the faults a finding does not need, while the application makes the same mistake.

use super::{Run, Script, rehearse};
use crate::rehearsal::host::{Host, HostError};
use crate::sim::app::{Finding, Plan};
use std::time::{Duration, Instant};

/// What is left of a plan.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest plan that still fails.
    pub plan: Plan,
    /// Its run; none when the finding did not come again at all.
    pub run: Option<Run>,
    /// Runs it took.
    pub tried: u32,
    /// Whether it was all tried.
    pub end: End,
}

/// Why nothing more is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Without any one of the faults that are left the mistake was not made.
    Smallest,
    /// The time was over: some of what is left may not be needed.
    OutOfTime,
}

/// Shrinks a plan: heights after the finding first, then all faults at once, halves, single ones (delta debugging,
/// Zeller and Hildebrandt, TSE '02). `hosts` makes a fresh host for each run. Ends when `within` is over.
///
/// # Errors
/// When the application cannot be started any more.
pub async fn shrink<H: Host>(
    plan: &Plan,
    script: &Script,
    finding: &Finding,
    within: Duration,
    hosts: &mut impl FnMut() -> Result<H, HostError>,
) -> Result<Shrunk, HostError> {
    let until = Instant::now() + within;
    let mut shrinking =
        Shrinking { best: plan.clone(), run: None, tried: 0, end: End::Smallest, script, finding, until };
    let last = finding.height.unwrap_or(plan.initial).clamp(plan.initial, plan.last());
    let heights = last - plan.initial + 1;
    let faults = plan.faults.iter().filter(|fault| fault.height <= last).cloned().collect();
    if !shrinking.attempt(Plan { heights, faults, ..plan.clone() }, hosts).await?
        && !shrinking.attempt(plan.clone(), hosts).await?
    {
        return Ok(Shrunk { plan: plan.clone(), run: None, tried: shrinking.tried, end: shrinking.end });
    }
    let nothing = Plan { faults: Vec::new(), ..shrinking.best.clone() };
    if nothing != shrinking.best && !shrinking.attempt(nothing, hosts).await? {
        shrinking.faults(hosts).await?;
    }
    Ok(Shrunk { plan: shrinking.best, run: shrinking.run, tried: shrinking.tried, end: shrinking.end })
}

struct Shrinking<'a> {
    best: Plan,
    run: Option<Run>,
    tried: u32,
    end: End,
    script: &'a Script,
    finding: &'a Finding,
    until: Instant,
}

impl Shrinking<'_> {
    /// Takes the plan if the application makes the same mistake under it.
    async fn attempt<H: Host>(
        &mut self,
        plan: Plan,
        hosts: &mut impl FnMut() -> Result<H, HostError>,
    ) -> Result<bool, HostError> {
        if Instant::now() >= self.until {
            self.end = End::OutOfTime;
            return Ok(false);
        }
        self.tried += 1;
        let run = rehearse(&mut hosts()?, &plan, self.script).await?;
        let same = run.finding.as_ref().is_some_and(|found| found.is_like(self.finding));
        if same {
            (self.best, self.run) = (plan, Some(run));
        }
        Ok(same)
    }

    async fn faults<H: Host>(&mut self, hosts: &mut impl FnMut() -> Result<H, HostError>) -> Result<(), HostError> {
        let mut chunk = self.best.faults.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < self.best.faults.len() && self.best.faults.len() > 1 {
                let mut smaller = self.best.clone();
                let end = (at + chunk).min(smaller.faults.len());
                smaller.faults.drain(at..end);
                if !self.attempt(smaller, hosts).await? {
                    at += chunk;
                }
            }
            if chunk == 1 {
                return Ok(());
            }
            chunk = chunk.div_ceil(2);
        }
    }
}
