//! Stratum's difficulty, a floating point number, and its conversion to and from targets.
//!
//! Difficulty 1 is the target `0x00000000ffff0000...`, about 2^32 hashes. Nothing here is consensus: the sharechain only uses
//! targets. A miner's work is measured by exactly the number that was announced to it.

use std::fmt;

use ruint::aliases::U512;

use crate::units::{Target, U256};

/// Expected number of hashes at difficulty 1: 2^256 / (0xffff * 2^208).
pub const HASHES_PER_DIFFICULTY: f64 = 4_295_032_833.000_015;
/// The target of difficulty 1 is 0xffff, shifted by this many bits.
const ONE_SHIFT: usize = 208;
/// The range in which conversions are exact and do not overflow. The easiest difficulty on regtest is about 2^-31.
const RANGE: (f64, f64) = (1e-12, 1e30);

/// A difficulty: positive and finite.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Difficulty(f64);

impl Difficulty {
    /// The lowest difficulty for miners, unless shares are even easier. A CPU core meets it within moments.
    pub const FLOOR: Self = Self(0.000_01);

    /// The lowest integer: about 2^32 hashes.
    pub const ONE: Self = Self(1.0);

    /// Creates a difficulty, clamped to the supported range; `None` if it is not a positive number.
    pub fn new(difficulty: f64) -> Option<Self> {
        (difficulty.is_finite() && difficulty > 0.0).then(|| Self(difficulty.clamp(RANGE.0, RANGE.1)))
    }

    pub const fn get(self) -> f64 {
        self.0
    }

    /// The difficulty of a target.
    pub fn of(target: &Target) -> Self {
        Self((difficulty_one_f64() / to_f64(&target.0)).clamp(RANGE.0, f64::MAX))
    }

    /// The difficulty of a hash in internal byte order.
    pub fn of_hash(hash: &[u8; 32]) -> Self {
        Self::of(&Target(U256::from_le_bytes(*hash)))
    }

    /// The greatest announceable difficulty that every hash meets that meets `target`.
    pub fn at_most(target: &Target) -> Self {
        let mut difficulty = Self::of(target).announced();
        // The division may have been rounded up by one part in 2^53.
        if difficulty.target() < *target {
            difficulty = Self((difficulty.0 * (1.0 - 1e-9)).max(RANGE.0)).announced();
        }
        difficulty
    }

    /// Rounds down to an announceable difficulty: a number of at most three significant digits or a power of two, and an
    /// integer from 1 on.
    ///
    /// All firmware represents these numbers exactly; some only reads integers.
    pub fn announced(self) -> Self {
        let (nearest, exponent) = self.nearest_digits();
        let digits = if scaled(nearest, exponent) > self.0 { nearest - 1.0 } else { nearest };
        let power = if self.0 < 1.0 { RANGE.0 } else { self.power_of_two() };
        Self(scaled(digits, exponent).max(power))
    }

    /// As [`Self::announced`], but rounds up.
    pub fn announced_up(self) -> Self {
        let (nearest, exponent) = self.nearest_digits();
        let digits = if scaled(nearest, exponent) < self.0 { nearest + 1.0 } else { nearest };
        let power = match self.power_of_two() {
            _ if self.0 < 1.0 => f64::INFINITY,
            power if power < self.0 => 2.0 * power,
            power => power,
        };
        Self(scaled(digits, exponent).min(power))
    }

    /// The nearest number of three significant digits (an integer from 1 on): the digits, and the power of ten to scale by.
    fn nearest_digits(self) -> (f64, i32) {
        let exponent = self.0.log10().floor() as i32 - 2;
        let exponent = if self.0 >= 1.0 { exponent.max(0) } else { exponent };
        (scaled(self.0, -exponent).round(), exponent)
    }

    /// The greatest power of two that is not greater: the number without its mantissa.
    fn power_of_two(self) -> f64 {
        f64::from_bits(self.0.to_bits() >> 52 << 52)
    }

    /// The target of this difficulty: `0xffff * 2^208 / difficulty`, rounded down.
    pub fn target(self) -> Target {
        // difficulty = mantissa * 2^exponent, exactly, since the range has no subnormal numbers.
        let bits = self.0.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32 - 1_075;
        let mantissa = (bits & ((1 << 52) - 1)) | (1 << 52);
        let one = U512::from(0xffffu32) << ONE_SHIFT;
        let quotient = if exponent < 0 {
            // At most 224 + 52 + 41 bits.
            (one << (-exponent) as usize).checked_div(U512::from(mantissa))
        } else {
            one.checked_div(U512::from(mantissa)).map(|quotient| quotient >> exponent as usize)
        };
        let quotient = quotient.unwrap_or(U512::MAX);
        if quotient.bit_len() > 256 {
            return Target::MAX;
        }
        let [low @ .., _, _, _, _] = quotient.into_limbs();
        Target(U256::from_limbs(low))
    }

    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }
}

impl fmt::Display for Difficulty {
    /// Formats without an exponent, which not all firmware can parse.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `number * 10^exponent`.
///
/// If the number is an integer of three digits, both factors are exact up to 10^22, so that the result is the double nearest
/// to the decimal. It prints short, and rounding it again does not change it.
fn scaled(number: f64, exponent: i32) -> f64 {
    match exponent < 0 {
        true => number / 10f64.powi(-exponent),
        false => number * 10f64.powi(exponent),
    }
}

fn difficulty_one_f64() -> f64 {
    f64::from(0xffff) * 2f64.powi(ONE_SHIFT as i32)
}

/// Converts to the nearest double or its neighbour; zero counts as one.
fn to_f64(value: &U256) -> f64 {
    let shift = value.bit_len().saturating_sub(64);
    let [top, ..] = (*value >> shift).into_limbs();
    (top.max(1) as f64) * 2f64.powi(shift as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Bits;
    use proptest::prelude::*;

    fn target(bits: u32) -> Target {
        Bits(bits).target().unwrap()
    }

    #[test]
    fn difficulty_one_matches_bitcoin() {
        assert_eq!(Difficulty(1.0).target(), target(0x1d00ffff));
        assert_eq!(Difficulty::of(&target(0x1d00ffff)).get(), 1.0);
        // A well-known example: bits 0x1b0404cb are difficulty 16307.420938523983.
        assert_eq!(Difficulty::of(&target(0x1b0404cb)).get(), 16_307.420_938_523_983);
        assert_eq!(Difficulty(0.5).target().0, target(0x1d00ffff).0 << 1usize);
        assert_eq!(Difficulty(65_536.0).target().0, target(0x1d00ffff).0 >> 16usize);
        assert!((Difficulty::of(&target(0x207fffff)).get() - 4.656_542_373_906_925e-10).abs() < 1e-24);
    }

    #[test]
    fn hashes_per_difficulty_matches_the_target() {
        let hashes = 2f64.powi(256) / difficulty_one_f64();
        assert!((HASHES_PER_DIFFICULTY / hashes - 1.0).abs() < 1e-12);
    }

    #[test]
    fn only_positive_finite_numbers_are_difficulties() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Difficulty::new(bad), None);
        }
        assert_eq!(Difficulty::new(5e-324), Some(Difficulty(RANGE.0)));
        assert_eq!(Difficulty::new(1e300), Some(Difficulty(RANGE.1)));
        // The limits of the range convert.
        assert_eq!(Difficulty(RANGE.0).target(), Target::MAX);
        assert!(Difficulty(RANGE.1).target().0 > U256::ZERO);
    }

    #[test]
    fn announced_numbers_are_short_or_powers_of_two_and_integers_from_one_on() {
        let text = |difficulty: f64| Difficulty(difficulty).announced().to_string();
        assert_eq!(text(465_661.29), "465000");
        assert_eq!((text(1_234_567.0), text(999.9), text(1_009.0)), ("1230000".into(), "999".into(), "1000".into()));
        assert_eq!((text(65_536.0), text(524_290.5), text(4_096.7)), ("65536".into(), "524288".into(), "4096".into()));
        assert_eq!((text(4_100.0), text(1_048_575.0)), ("4100".into(), "1040000".into()));
        assert_eq!(text(1.999), "1");
        assert_eq!(text(1e21), "1000000000000000000000");
        assert_eq!(text(0.002_339_9), "0.00233");
        assert_eq!(text(0.000_01), "0.00001");
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(4.656e-10), "0.000000000465");
    }

    #[test]
    fn rounding_keeps_short_numbers() {
        let shorts = (1..1_000).map(|digits| f64::from(digits) / 1_000.0).chain((1..1_000).map(f64::from));
        for short in shorts.chain([0.002_85, 0.000_01, 1e21, 12_300.0, 65_536.0, 524_288.0, 2_147_483_648.0]) {
            assert_eq!(Difficulty(short).announced().0, short);
            assert_eq!(Difficulty(short).announced_up().0, short);
        }
        assert_eq!(Difficulty(1.9).announced_up().0, 2.0);
        assert_eq!(Difficulty(1_234_567.0).announced_up().0, 1_240_000.0);
        assert_eq!(Difficulty(65_500.5).announced_up().0, 65_536.0);
        assert_eq!(Difficulty(0.999_9).announced_up().0, 1.0);
        assert_eq!(Difficulty(0.002_331).announced_up().0, 0.002_34);
    }

    proptest! {
        #[test]
        fn announced_numbers_parse_exactly(difficulty in 1e-10f64..1e15) {
            let announced = Difficulty(difficulty).announced();
            prop_assert_eq!(announced.to_string().parse::<f64>().unwrap(), announced.0);
            prop_assert!(announced.0 <= difficulty && announced.0 >= difficulty * 0.49);
            prop_assert_eq!(announced.announced(), announced, "rounding is idempotent");
            let up = Difficulty(difficulty).announced_up();
            prop_assert!(up.0 >= difficulty && up.0 <= difficulty * 2.1);
            prop_assert_eq!(up.announced(), up, "rounded up, it is short too");
        }

        #[test]
        fn the_announced_difficulty_of_a_target_misses_no_share(mantissa in 0x008000u32..0x7fffff, size in 0x08u32..0x20) {
            let share = target(size << 24 | mantissa);
            let announced = Difficulty::at_most(&share);
            prop_assert!(announced.target() >= share);
            prop_assert!(announced.0 >= Difficulty::of(&share).0 * 0.49);
        }

        #[test]
        fn targets_fall_as_difficulties_rise(low in 1e-9f64..1e12, factor in 1.0001f64..1e3) {
            prop_assert!(Difficulty(low * factor).target() < Difficulty(low).target());
            let back = Difficulty::of(&Difficulty(low).target()).0;
            prop_assert!((back / low - 1.0).abs() < 1e-9, "{} {}", low, back);
        }
    }
}
