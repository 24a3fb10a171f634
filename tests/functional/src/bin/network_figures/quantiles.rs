//! Percentiles of measured times.

use std::fmt;

/// Measured times in microseconds, sorted.
pub struct Quantiles(Vec<i64>);

impl Quantiles {
    /// Sorts the times.
    pub fn of(mut times_us: Vec<i64>) -> Self {
        times_us.sort_unstable();
        Self(times_us)
    }

    /// Returns the quantile; 0 without times.
    fn permille_us(&self, permille: usize) -> i64 {
        let rank = (self.0.len() * permille).div_ceil(1_000);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |permille| self.permille_us(permille) as f64 / 1e3;
        write!(f, "median {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms", ms(500), ms(900), ms(990), ms(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let quantiles = Quantiles::of((1..=1_000).rev().map(|ms| ms * 1_000).collect());
        assert_eq!(quantiles.to_string(), "median 500.0 ms, p90 900.0 ms, p99 990.0 ms, max 1000.0 ms");
        assert_eq!(Quantiles::of(Vec::new()).permille_us(500), 0);
    }
}
