//! Newtypes for heights, times, amounts and work, so that they cannot be confused.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use thiserror::Error;

/// A 256-bit unsigned integer.
pub type U256 = ruint::aliases::U256;

/// The work of a share is below `2^WORK_BITS_MAX` hashes; all of Bitcoin's history is about `2^97`.
///
/// The bound makes every sum over a window (at most 2^16 shares, each with three uncles) fit 128 bits, so window
/// arithmetic cannot overflow.
pub const WORK_BITS_MAX: usize = 108;

/// A Unix time in seconds, in the range of a Bitcoin header's time field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u32);

impl UnixTime {
    /// The time `seconds` later, at most `u32::MAX`.
    pub const fn plus(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The time `seconds` earlier, at least zero.
    pub const fn minus(self, seconds: u32) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds from `earlier` to this time; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<std::time::SystemTime> for UnixTime {
    /// Converts a reading of the system clock; times before 1970 become 0.
    fn from(moment: std::time::SystemTime) -> Self {
        let seconds = moment.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

/// A moment of a monotonic clock, in milliseconds since an arbitrary origin before the program's first wait.
///
/// All timeouts and intervals use it. It advances evenly even while the operator or NTP sets the system clock, so it is a type
/// of its own beside [`UnixTime`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SteadyTime(u64);

impl SteadyTime {
    /// Later than every moment that occurs.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `seconds` after the origin.
    pub const fn from_s(seconds: u32) -> Self {
        Self(seconds as u64 * 1_000)
    }

    /// The moment `milliseconds` after the origin.
    pub const fn from_ms(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Whole seconds since the origin, at most `u32::MAX`.
    pub const fn as_s(self) -> u32 {
        let seconds = self.0 / 1_000;
        if seconds > u32::MAX as u64 {
            u32::MAX
        } else {
            seconds as u32
        }
    }

    /// Milliseconds since the origin.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The moment `seconds` later, at most [`Self::NEVER`].
    pub const fn plus(self, seconds: u32) -> Self {
        self.plus_ms(seconds as u64 * 1_000)
    }

    /// The moment `milliseconds` later, at most [`Self::NEVER`].
    pub const fn plus_ms(self, milliseconds: u64) -> Self {
        Self(self.0.saturating_add(milliseconds))
    }

    /// Whole seconds from `earlier` to this moment, at most `u32::MAX`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> u32 {
        Self(self.since_ms(earlier)).as_s()
    }

    /// Milliseconds from `earlier` to this moment; zero if `earlier` is later.
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<Duration> for SteadyTime {
    /// The moment this long after the origin, in whole milliseconds.
    fn from(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Add<Duration> for SteadyTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self.plus_ms(Self::from(duration).0)
    }
}

impl Sub<Duration> for SteadyTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.since_ms(Self::from(duration)))
    }
}

/// The moment of an input, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// By the monotonic clock: for timeouts and intervals.
    pub steady: SteadyTime,
    /// By the system clock, which may be set at any time: for share times and what is published.
    pub time: UnixTime,
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An amount in satoshis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sats(pub u64);

/// Bitcoin's limit on the money supply: 21 million bitcoins.
pub const MAX_MONEY: Sats = Sats(2_100_000_000_000_000);

impl fmt::Display for Sats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08} BTC", self.0 / 100_000_000, self.0 % 100_000_000)
    }
}

/// Height of a Bitcoin block; the genesis block has height 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHeight(pub u32);

impl fmt::Display for BlockHeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Height of a share in the sharechain; a genesis share has height 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareHeight(pub u32);

impl fmt::Display for ShareHeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Expected number of hashes, below `2^128`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(pub u128);

impl Work {
    pub const ZERO: Self = Self(0);

    /// The sum, or `None` if it exceeds 128 bits.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The easiest target that takes this much work: `floor(2^256 / work) - 1`. Zero work counts as one hash.
    pub fn target(self) -> Target {
        let work = U256::from(self.0.max(1));
        // floor(2^256 / w) - 1 = floor((2^256 - w) / w), which stays within 256 bits.
        Target(work.wrapping_neg().checked_div(work).unwrap_or(U256::MAX))
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A proof-of-work target: the number that a hash must not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target(pub U256);

impl Target {
    /// The easiest target, which every hash meets.
    pub const MAX: Self = Self(U256::MAX);

    /// Whether the hash, in internal byte order and read as a little-endian number, is at or below this target.
    pub fn is_met_by(&self, hash: &[u8; 32]) -> bool {
        U256::from_le_bytes(*hash) <= self.0
    }

    /// The expected number of hashes to meet this target: `floor(2^256 / (target + 1))`.
    ///
    /// `None` if that is `2^WORK_BITS_MAX` or more.
    pub fn work(&self) -> Option<Work> {
        let work = match self.0.checked_add(U256::from(1u8)) {
            // As Bitcoin Core divides 2^256: floor((2^256 - d) / d) + 1.
            Some(divisor) => divisor.wrapping_neg().checked_div(divisor)?.checked_add(U256::from(1u8))?,
            None => U256::from(1u8),
        };
        if work.bit_len() > WORK_BITS_MAX {
            return None;
        }
        u128::try_from(work).ok().map(Work)
    }

    /// The compact form, truncated: the greatest target that has a compact form and is not above this one.
    pub fn to_bits(self) -> Bits {
        let size = self.0.bit_len().div_ceil(8);
        let mantissa = |value: U256| u32::try_from(value & U256::from(0x00ff_ffffu32)).unwrap_or(0);
        let (mut size, mut word) = if size <= 3 {
            (size, mantissa(self.0) << (8 * (3 - size)))
        } else {
            (size, mantissa(self.0 >> (8 * (size - 3))))
        };
        // The mantissa's highest bit is a sign; a number that would set it takes one more byte.
        if word & 0x0080_0000 != 0 {
            word >>= 8;
            size += 1;
        }
        Bits(word | u32::try_from(size).unwrap_or(0) << 24)
    }
}

/// The compact target has no canonical, positive value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("compact target {0} is zero, negative, too large or not canonical")]
pub struct BitsError(pub Bits);

/// A target in the compact form of a block header's nBits field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits(pub u32);

impl Bits {
    /// The work of the target; `None` unless it is canonical and its work is below `2^WORK_BITS_MAX`.
    pub fn work(self) -> Option<Work> {
        self.target().ok()?.work()
    }

    /// Decodes the target.
    ///
    /// # Errors
    /// Any form but the canonical form of a positive target.
    pub fn target(self) -> Result<Target, BitsError> {
        let size = (self.0 >> 24) as usize;
        let mantissa = U256::from(self.0 & 0x007f_ffff);
        if self.0 & 0x0080_0000 != 0 || size > 33 {
            return Err(BitsError(self));
        }
        let target = Target(if size <= 3 {
            mantissa >> (8 * (3 - size))
        } else {
            mantissa.checked_shl(8 * (size - 3)).ok_or(BitsError(self))?
        });
        if target.0.is_zero() || target.to_bits() != self {
            return Err(BitsError(self));
        }
        Ok(target)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_time_keeps_milliseconds_and_counts_whole_seconds() {
        let start = SteadyTime::from_ms(1_900);
        assert_eq!(start.as_s(), 1);
        assert_eq!(SteadyTime::from_s(4).since(start), 2);
        assert_eq!(SteadyTime::from_s(4).since_ms(start), 2_100);
        assert_eq!(start.plus(2).plus_ms(100), SteadyTime::from_s(4));
        assert_eq!(start.since(SteadyTime::NEVER), 0);
        assert_eq!(SteadyTime::NEVER.plus(1), SteadyTime::NEVER);
        assert_eq!(SteadyTime::NEVER.since(start), u32::MAX);
        assert_eq!(SteadyTime::from(Duration::from_micros(1_234_567)).as_ms(), 1_234);
    }

    #[test]
    fn compact_form_is_canonical_both_ways() {
        for bits in [0x1d00ffff, 0x1f00ffff, 0x207fffff, 0x1e0377ae, 0x1b0404cb, 0x170331db, 0x01010000, 0x04123456] {
            assert_eq!(Bits(bits).target().unwrap().to_bits(), Bits(bits));
        }
        // Zero, negative, a leading zero byte, a truncated low byte, too large.
        for bits in [0, 0x1d000000, 0x1d80ffff, 0x1d00001f, 0x01123456, 0x217fffff, 0x22010000, 0xff123456, 0x23000001]
        {
            assert_eq!(Bits(bits).target(), Err(BitsError(Bits(bits))), "{bits:08x}");
        }
    }

    #[test]
    fn work_matches_bitcoin_core() {
        let work = |bits| Bits(bits).target().unwrap().work();
        assert_eq!(work(0x1d00ffff), Some(Work(0x1_0001_0001)));
        assert_eq!(work(0x207fffff), Some(Work(2)));
        assert_eq!(Target::MAX.work(), Some(Work(1)));
        assert_eq!(Target(U256::ZERO).work(), None, "2^256 hashes exceed what a share may claim");
    }

    #[test]
    fn target_of_work_is_the_easiest_with_that_work() {
        assert_eq!(Work(1).target(), Target::MAX);
        assert_eq!(Work(0).target(), Target::MAX);
        for work in [2u128, 3, 7, 0x1_0001_0001, 1 << 80, (1 << 107) + 12345] {
            let target = Work(work).target();
            assert!(target.work().unwrap().0 >= work);
            let easier = Target(target.0 + U256::from(1u8));
            assert!(easier.work().unwrap().0 <= work, "{work}");
        }
    }

    #[test]
    fn hashes_are_read_little_endian() {
        let mut hash = [0u8; 32];
        hash[31] = 1;
        assert!(!Bits(0x1d00ffff).target().unwrap().is_met_by(&hash));
        hash[31] = 0;
        hash[0] = 0xff;
        assert!(Bits(0x1d00ffff).target().unwrap().is_met_by(&hash));
    }
}
