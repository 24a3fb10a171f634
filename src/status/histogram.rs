//! A histogram that one thread fills and others read, without locks or allocation.

use std::time::Duration;

use super::Counter;

/// Upper bounds of the buckets in microseconds. From what one submit takes on a fast machine to where a miner's
/// hardware goes idle; what is slower than the last is counted in the sum and the count alone.
pub const LATENCY_BOUNDS_US: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_000_000];

/// How long something took, counted in fixed buckets.
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    /// How many were within each bound and above the one before.
    buckets: [Counter; LATENCY_BOUNDS_US.len()],
    count: Counter,
    sum_us: Counter,
}

/// What a histogram held at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencySnapshot {
    /// How many were at or below each of [`LATENCY_BOUNDS_US`], the quicker ones included.
    pub cumulative: [u64; LATENCY_BOUNDS_US.len()],
    /// How many there were.
    pub count: u64,
    /// How long they took together, in microseconds.
    pub sum_us: u64,
}

impl LatencyHistogram {
    /// Counts one.
    pub fn observe(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add_one();
        }
        self.sum_us.add(us);
        self.count.add_one();
    }

    /// Everything counted so far. What is counted meanwhile may be in one part and not yet in another, but no bucket
    /// holds more than the count.
    pub fn snapshot(&self) -> LatencySnapshot {
        let (mut sum, mut cumulative) = (0, [0; LATENCY_BOUNDS_US.len()]);
        for (bucket, place) in self.buckets.iter().zip(&mut cumulative) {
            sum += bucket.get();
            *place = sum;
        }
        LatencySnapshot { cumulative, count: self.count.get().max(sum), sum_us: self.sum_us.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_in_all_buckets_that_are_not_below_it() {
        let histogram = LatencyHistogram::default();
        for us in [0, 50, 51, 1_000, 2_000_000, 2_000_001] {
            histogram.observe(Duration::from_micros(us));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.cumulative, [2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 5]);
        assert_eq!((snapshot.count, snapshot.sum_us), (6, 4_001_102));
    }

    #[test]
    fn the_bounds_ascend() {
        assert!(LATENCY_BOUNDS_US.is_sorted_by(|left, right| left < right));
    }
}
