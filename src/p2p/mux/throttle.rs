//! How fast: a limit in bytes per second, and what a connection carried lately. Pure: both are told the time since the
//! connection began.

use crate::ports::FlowView;
use std::time::Duration;

/// The limit lets this much time's worth of bytes go at once.
const BURST: Duration = Duration::from_millis(100);
const NANOS: u128 = 1_000_000_000;

/// A token bucket that may be overdrawn: who took too much waits until the debt is paid, so the rate holds in the
/// long run whatever the size of the pieces.
#[derive(Debug, Clone)]
pub(super) struct Throttle {
    /// Bytes per second; 0 for no limit.
    rate: u64,
    /// When the debt is paid.
    free_at: Duration,
}

impl Throttle {
    /// `rate` in bytes per second; 0 for no limit.
    pub(super) fn new(rate: u64) -> Throttle {
        Throttle { rate, free_at: Duration::ZERO }
    }

    /// How many bytes to take at once: at most `largest`, and no more than a small rate pays for in reasonable time.
    pub(super) fn batch(&self, largest: usize) -> usize {
        let burst = u128::from(self.rate) * BURST.as_nanos() / NANOS;
        if self.rate == 0 { largest } else { usize::try_from(burst).unwrap_or(largest).clamp(1, largest) }
    }

    /// When the next byte may go, if not now.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        (self.free_at > now + BURST).then(|| self.free_at - BURST)
    }

    /// Takes note of bytes that went.
    pub(super) fn spend(&mut self, now: Duration, bytes: usize) {
        if self.rate != 0 {
            let nanos = bytes as u128 * NANOS / u128::from(self.rate);
            let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            self.free_at = self.free_at.max(now).saturating_add(takes);
        }
    }
}

/// Length of a sample, as in CometBFT's flow monitor.
const SAMPLE: Duration = Duration::from_millis(100);
/// Over which the rate is smoothed, as there.
const WINDOW: Duration = Duration::from_secs(1);

/// What went one way.
#[derive(Debug, Clone, Default)]
pub(super) struct FlowMeter {
    bytes: u64,
    last_at: Duration,
    sample_began: Duration,
    sample_bytes: u64,
    rate: f64,
    peak: f64,
}

impl FlowMeter {
    /// Takes note of bytes.
    pub(super) fn add(&mut self, now: Duration, bytes: usize) {
        self.bytes += bytes as u64;
        self.sample_bytes += bytes as u64;
        self.last_at = now;
        self.sample(now);
    }

    /// As of now.
    pub(super) fn view(&mut self, now: Duration) -> FlowView {
        self.sample(now);
        FlowView {
            bytes: self.bytes,
            rate: self.rate.round() as u64,
            peak_rate: self.peak.round() as u64,
            idle: now.saturating_sub(self.last_at),
        }
    }

    fn sample(&mut self, now: Duration) {
        let took = now.saturating_sub(self.sample_began);
        if took < SAMPLE {
            return;
        }
        let rate = self.sample_bytes as f64 / took.as_secs_f64();
        let keep = if self.sample_began.is_zero() { 0.0 } else { (-took.as_secs_f64() / WINDOW.as_secs_f64()).exp() };
        self.rate = rate + keep * (self.rate - rate);
        self.peak = self.peak.max(rate);
        self.sample_began = now;
        self.sample_bytes = 0;
    }
}
