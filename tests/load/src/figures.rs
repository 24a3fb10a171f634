//! Percentiles, and the report.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Measured times.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this part of all is at or below; zero if there are none.
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
        write!(f, "p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, max {:.3} ms", ms(0.5), ms(0.9), ms(0.99), ms(1.0))
    }
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Report {
    /// Sessions that were open.
    pub sessions: usize,
    /// How long submits were sent.
    pub duration: Duration,
    /// Submits answered.
    pub answered: usize,
    /// Submits without an answer at the end.
    pub unanswered: usize,
    /// Answers by what they said: 0 for accepted, else the error's code.
    pub verdicts: BTreeMap<u64, usize>,
    /// From a submit to its answer.
    pub latencies: Times,
    /// From the first session that got a job to the last one, for each job.
    pub fanouts: Times,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.answered as f64 / self.duration.as_secs_f64().max(1e-3);
        writeln!(f, "{} sessions, {:.1} s", self.sessions, self.duration.as_secs_f64())?;
        writeln!(f, "submits answered: {} ({rate:.0} a second), unanswered: {}", self.answered, self.unanswered)?;
        for (code, count) in &self.verdicts {
            match code {
                0 => writeln!(f, "  accepted: {count}")?,
                code => writeln!(f, "  error {code}: {count}")?,
            }
        }
        writeln!(f, "answer after: {}", self.latencies)?;
        write!(f, "job at all sessions after ({} jobs): {}", self.fanouts.count(), self.fanouts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut times = Times::default();
        assert_eq!(times.to_string(), "p50 0.000 ms, p90 0.000 ms, p99 0.000 ms, max 0.000 ms");
        for ms in (1..=100).rev() {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!(times.to_string(), "p50 50.000 ms, p90 90.000 ms, p99 99.000 ms, max 100.000 ms");
    }
}
