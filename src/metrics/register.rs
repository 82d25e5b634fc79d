//! Making metrics in a registry.

use prometheus::core::Collector;
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};
use prometheus::{GaugeVec, Registry};

/// Makes the metrics of one subsystem.
pub(super) struct Register<'a> {
    pub(super) registry: &'a Registry,
    pub(super) subsystem: &'static str,
}

impl Register<'_> {
    fn keep<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn opts(&self, name: &str, help: &str) -> Opts {
        Opts::new(name, help).subsystem(self.subsystem)
    }

    fn histogram_opts(&self, name: &str, help: &str, buckets: Vec<f64>) -> HistogramOpts {
        HistogramOpts::new(name, help).subsystem(self.subsystem).buckets(buckets)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.keep(IntGauge::with_opts(self.opts(name, help))?)
    }

    pub(super) fn float_gauge_by(&self, name: &str, help: &str, label: &str) -> Result<GaugeVec, Error> {
        self.keep(GaugeVec::new(self.opts(name, help), &[label])?)
    }

    pub(super) fn gauge_by(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, Error> {
        self.keep(IntGaugeVec::new(self.opts(name, help), &[label])?)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.keep(IntCounter::with_opts(self.opts(name, help))?)
    }

    pub(super) fn counter_by(&self, name: &str, help: &str, label: &str) -> Result<IntCounterVec, Error> {
        self.keep(IntCounterVec::new(self.opts(name, help), &[label])?)
    }

    pub(super) fn counter_by_all(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
        self.keep(IntCounterVec::new(self.opts(name, help), labels)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, Error> {
        self.keep(Histogram::with_opts(self.histogram_opts(name, help, buckets))?)
    }

    pub(super) fn histogram_by(
        &self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
        labels: &[&str],
    ) -> Result<HistogramVec, Error> {
        self.keep(HistogramVec::new(self.histogram_opts(name, help, buckets), labels)?)
    }
}
