//! Pseudo-random numbers that are the same everywhere.

/// Vigna's SplitMix64: small, and good enough for simulations.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator whose numbers follow from the seed alone.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Even between 0, included, and 1, excluded.
    pub fn unit(&mut self) -> f64 {
        // 53 bits are what a float holds exactly.
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Waiting time for an event that comes `rate` times a second.
    pub fn exponential(&mut self, rate: f64) -> f64 {
        -(1.0 - self.unit()).ln() / rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_have_the_exponential_distributions_moments() {
        let mut random = Random::new(1);
        let times: Vec<f64> = (0..200_000).map(|_| random.exponential(0.1)).collect();
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / times.len() as f64;
        assert!((mean - 10.0).abs() < 0.1, "{mean}");
        assert!((variance.sqrt() - 10.0).abs() < 0.15, "{variance}");
    }
}
