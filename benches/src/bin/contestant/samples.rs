//! What scenarios draw, and percentiles of what they measure.

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

    /// Returns the values that so many in 10,000 do not exceed: 5,000 asks for the median, 10,000 for the largest.
    pub(crate) fn at<const N: usize>(mut self, parts: [usize; N]) -> [f64; N] {
        self.0.sort_unstable();
        parts.map(|part| {
            let place = (self.0.len() * part / 10_000).min(self.0.len().saturating_sub(1));
            self.0.get(place).map_or(0.0, |&value| value as f64)
        })
    }
}

/// Marsaglia's xorshift: the same numbers in each run.
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Random {
    /// The next number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
