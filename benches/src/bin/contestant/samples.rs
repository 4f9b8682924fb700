//! Percentiles of what was measured.

/// Measured values, in the order in which they came.
#[derive(Default)]
pub(crate) struct Samples(Vec<u64>);

impl Samples {
    /// Room for `count` values, so that taking them allocates nothing.
    pub(crate) fn with_capacity(count: u64) -> Self {
        Self(Vec::with_capacity(
            usize::try_from(count).expect("a count of samples fits in memory"),
        ))
    }

    pub(crate) fn push(&mut self, value: u64) {
        self.0.push(value);
    }

    /// The median and the 99th percentile.
    pub(crate) fn p50_p99(mut self) -> (f64, f64) {
        self.0.sort_unstable();
        let at = |percent: usize| {
            let place = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
            self.0.get(place).map_or(0.0, |&value| value as f64)
        };
        (at(50), at(99))
    }
}
