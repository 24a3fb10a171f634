//! The measurements.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Measured durations.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The percentile of sorted times; zero if there are none.
    fn percentile(sorted: &[Duration], part: f64) -> Duration {
        let rank = (sorted.len() as f64 * part).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let ms = |part| Self::percentile(&sorted, part).as_secs_f64() * 1_000.0;
        let [p50, p90, p99, p999, max] = [0.5, 0.9, 0.99, 0.999, 1.0].map(ms);
        write!(f, "p50 {p50:.3} ms, p90 {p90:.3} ms, p99 {p99:.3} ms, p99.9 {p999:.3} ms, max {max:.3} ms")
    }
}

/// The measurements.
#[derive(Debug, Default)]
pub struct Report {
    pub sessions: usize,
    /// For how long submits were sent.
    pub duration: Duration,
    /// Number of responses to submits.
    pub responses: usize,
    /// Number of submits without a response at the end.
    pub pending: usize,
    /// Number of responses by error code, 0 for accepted.
    pub results: BTreeMap<u64, usize>,
    /// From a submit to its response.
    pub latencies: Times,
    /// For each job, from the first session that got it to the last one.
    pub fanouts: Times,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.responses as f64 / self.duration.as_secs_f64().max(1e-3);
        writeln!(f, "{} sessions, {:.1} s", self.sessions, self.duration.as_secs_f64())?;
        writeln!(f, "responses to submits: {} ({rate:.0} per second), pending: {}", self.responses, self.pending)?;
        for (code, count) in &self.results {
            match code {
                0 => writeln!(f, "  accepted: {count}")?,
                code => writeln!(f, "  error {code}: {count}")?,
            }
        }
        writeln!(f, "response time: {}", self.latencies)?;
        write!(f, "time until all sessions have a job ({} jobs): {}", self.fanouts.count(), self.fanouts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let mut times = Times::default();
        assert_eq!(times.to_string(), "p50 0.000 ms, p90 0.000 ms, p99 0.000 ms, p99.9 0.000 ms, max 0.000 ms");
        for ms in (1..=100).rev() {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!(times.to_string(), "p50 50.000 ms, p90 90.000 ms, p99 99.000 ms, p99.9 100.000 ms, max 100.000 ms");
    }
}
