//! Proof-of-work targets.

/// The target of difficulty 1 is this number, shifted.
const DIFFICULTY_1_MANTISSA: u64 = 0xffff;
const DIFFICULTY_1_SHIFT: i32 = 208;
/// Fraction bits of a double's significand.
const SIGNIFICAND_BITS: i32 = 52;

/// A 256-bit number that a hash must not exceed, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target([u8; 32]);

impl Target {
    /// The target of a `mining.set_difficulty`: floor(0xffff * 2^208 / difficulty).
    ///
    /// Saturates at the largest target; a difficulty that is not a positive number gives the smallest.
    pub fn from_difficulty(difficulty: f64) -> Self {
        if !difficulty.is_normal() || difficulty < 0.0 {
            return Self([0; 32]);
        }
        // difficulty = significand * 2^exponent, exactly.
        let bits = difficulty.to_bits();
        let significand = (bits & ((1 << SIGNIFICAND_BITS) - 1)) | (1 << SIGNIFICAND_BITS);
        let exponent = i32::try_from((bits >> SIGNIFICAND_BITS) & 0x7ff).unwrap_or(0) - 1023 - SIGNIFICAND_BITS;
        let shift = DIFFICULTY_1_SHIFT - exponent;
        divide_shifted(DIFFICULTY_1_MANTISSA, shift, significand)
    }

    /// The target of a header's compact `bits`, which must not be negative.
    pub fn from_compact(bits: u32) -> Self {
        Self(bitcoin::Target::from_compact(bitcoin::CompactTarget::from_consensus(bits)).to_le_bytes())
    }

    /// Whether a hash, in internal byte order, meets this target.
    pub fn is_met_by(&self, hash: &[u8; 32]) -> bool {
        hash.iter().rev().le(self.0.iter().rev())
    }

    /// Whether more hashes meet this target than the other.
    pub fn is_easier_than(&self, other: &Self) -> bool {
        !other.is_met_by(&self.0)
    }

    /// The most significant 64 bits; a hash with larger ones cannot meet the target.
    pub(crate) fn top(&self) -> u64 {
        top(&self.0)
    }
}

/// The most significant 64 bits of a little-endian number.
pub(crate) fn top(number: &[u8; 32]) -> u64 {
    number.iter().rev().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// floor(mantissa * 2^shift / divisor), at most 2^256 - 1, by binary long division.
fn divide_shifted(mantissa: u64, shift: i32, divisor: u64) -> Target {
    let mut quotient = [0u8; 32];
    let mut remainder: u128 = 0;
    for position in (0..shift.saturating_add(64)).rev() {
        let bit = match position - shift {
            bit @ 0..=63 => (mantissa >> bit) & 1,
            _ => 0,
        };
        remainder = remainder << 1 | u128::from(bit);
        if remainder >= u128::from(divisor) {
            remainder -= u128::from(divisor);
            match usize::try_from(position / 8).ok().and_then(|byte| quotient.get_mut(byte)) {
                Some(byte) => *byte |= 1 << (position % 8),
                None => return Target([0xff; 32]),
            }
        }
    }
    Target(quotient)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difficulties_match_compact_targets() {
        assert_eq!(Target::from_difficulty(1.0), Target::from_compact(0x1d00_ffff));
        // Powers of two only change the exponent or the mantissa of the compact form.
        assert_eq!(Target::from_difficulty(256.0), Target::from_compact(0x1c00_ffff));
        assert_eq!(Target::from_difficulty(1.0 / 65_536.0), Target::from_compact(0x1f00_ffff));
    }

    #[test]
    fn division_agrees_with_the_bitcoin_crate() {
        for divisor in [3u64, 7, 1_000, 123_456_789, (1 << 53) - 1] {
            let quotient = bitcoin::Target::MAX_ATTAINABLE_MAINNET;
            let ours = Target::from_difficulty(divisor as f64).0;
            // target <= diff1 / divisor < target + 1
            let work = bitcoin::Target::from_le_bytes(ours);
            assert!(work < quotient);
            let mut product = [0u128; 4];
            for (i, limb) in ours.chunks(8).enumerate() {
                product[i] = u128::from(u64::from_le_bytes(limb.try_into().unwrap())) * u128::from(divisor);
            }
            for i in 0..3 {
                product[i + 1] += product[i] >> 64;
                product[i] &= u128::from(u64::MAX);
            }
            let mut full = [0u8; 32];
            for (i, limb) in product.iter().enumerate() {
                full[i * 8..i * 8 + 8].copy_from_slice(&u64::try_from(*limb).unwrap().to_le_bytes());
            }
            let product = bitcoin::Target::from_le_bytes(full);
            assert!(product <= quotient, "divisor {divisor}");
            let mut gap = quotient.to_le_bytes();
            let mut borrow = 0i16;
            for (gap, byte) in gap.iter_mut().zip(full) {
                let difference = i16::from(*gap) - i16::from(byte) - borrow;
                borrow = i16::from(difference < 0);
                *gap = u8::try_from(difference + 256 * borrow).unwrap();
            }
            let gap = u64::from_le_bytes(gap[..8].try_into().unwrap());
            assert!(gap < divisor, "divisor {divisor}, gap {gap}");
        }
    }

    #[test]
    fn extreme_difficulties_saturate() {
        assert_eq!(Target::from_difficulty(1e-30), Target([0xff; 32]));
        assert_eq!(Target::from_difficulty(f64::MAX), Target([0; 32]));
        for invalid in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Target::from_difficulty(invalid), Target([0; 32]));
        }
    }

    #[test]
    fn a_lower_difficulty_is_easier() {
        let (easy, hard) = (Target::from_difficulty(1.0), Target::from_difficulty(1.1));
        assert!(easy.is_easier_than(&hard));
        assert!(!hard.is_easier_than(&easy) && !easy.is_easier_than(&easy));
    }

    #[test]
    fn a_hash_at_the_target_meets_it_and_the_next_does_not() {
        let target = Target::from_compact(0x1d00_ffff);
        let mut hash = target.0;
        assert!(target.is_met_by(&hash));
        hash[0] += 1;
        assert!(!target.is_met_by(&hash));
        assert_eq!(target.top(), 0x0000_0000_ffff_0000);
    }
}
