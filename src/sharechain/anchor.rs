//! Anchors: the Bitcoin blocks that shares build on, and the rules for the headers above them (rules, section 5, rule 6).

use bitcoin::block::Header;
use bitcoin::hashes::Hash as _;
use thiserror::Error;

use super::bitcoin_difficulty::{self, BlockFacts, PeriodStart};
use crate::params::Network;
use crate::share::HEADER_VERSION_MIN;
use crate::units::{Bits, BlockHeight, UnixTime};

/// Time after its parent at which a test network's block may have the easiest target: 20 minutes.
const TESTNET_GAP_S: u32 = 1_200;
/// Seconds that the first block of a period may be older than its parent where BIP-0094 holds.
const TIMEWARP_MAX_S: u32 = 600;
/// Number of blocks whose median time a child must exceed (BIP-0113).
const MEDIAN_BLOCKS: usize = 11;

/// Header times of a block and of those before it: of eleven, or of all near the genesis block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentTimes {
    /// Newest first. Only the first `len` count.
    times: [UnixTime; MEDIAN_BLOCKS],
    len: u8,
}

impl RecentTimes {
    /// The times of a block and of those before it, newest first. Those beyond eleven are ignored.
    pub fn new(newest_first: impl IntoIterator<Item = UnixTime>) -> Self {
        let mut recent = Self { times: [UnixTime::default(); MEDIAN_BLOCKS], len: 0 };
        for (place, time) in recent.times.iter_mut().zip(newest_first) {
            *place = time;
            recent.len += 1;
        }
        recent
    }

    /// The times, newest first.
    pub fn as_slice(&self) -> &[UnixTime] {
        self.times.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The times that a child with this time continues with.
    fn before(&self, child: UnixTime) -> Self {
        Self::new(std::iter::once(child).chain(self.as_slice().iter().copied()))
    }

    /// The median (BIP-0113): with an even number, the later of the two in the middle.
    pub fn median(&self) -> UnixTime {
        let mut sorted = self.times;
        let sorted = sorted.get_mut(..usize::from(self.len)).unwrap_or_default();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// A Bitcoin block with everything that the header of a child must match. A child follows from it without any other block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    pub header: Header,
    pub height: BlockHeight,
    /// Median time of the eleven blocks that end with this one (BIP-0113).
    pub median_time_past: UnixTime,
    /// Target that a child must state.
    pub next_bits: Bits,
    /// On networks with the 20-minute rule: target that a child must state instead if it is that late.
    pub next_bits_late: Option<Bits>,
    /// Header times of this block and of those before it.
    pub times: RecentTimes,
    /// The first block of this block's difficulty period.
    pub period_start: PeriodStart,
    /// Target that a child within the period must state: on networks with the 20-minute rule the last one that is not due to
    /// it, elsewhere this block's own.
    pub lasting_bits: Bits,
}

/// Why Bitcoin can never accept a header after its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderFault {
    #[error("hash above the target that the header states")]
    Hash,
    #[error("bits are not those that the network requires after the parent")]
    Bits,
    #[error("time is not after the median of the eleven blocks before")]
    Time,
    #[error("first block of a period is more than 600 s older than its parent (BIP-0094)")]
    Timewarp,
    #[error("version below 4")]
    Version,
}

impl Anchor {
    /// A block from the facts that it depends on. `times` begin with its own; `lasting_bits` are ignored on networks without
    /// the 20-minute rule.
    pub fn new(
        network: Network,
        header: Header,
        height: BlockHeight,
        times: RecentTimes,
        period_start: PeriodStart,
        lasting_bits: Bits,
    ) -> Self {
        let bits = Bits(header.bits.to_consensus());
        let lasting_bits = bitcoin_difficulty::late_bits(network).map_or(bits, |_| lasting_bits);
        let facts = BlockFacts { height, time: UnixTime(header.time), bits };
        let next = bitcoin_difficulty::next_bits(network, facts, period_start, lasting_bits);
        Self {
            header,
            height,
            median_time_past: times.median(),
            next_bits: next.bits,
            next_bits_late: next.late,
            times,
            period_start,
            lasting_bits,
        }
    }

    /// The child with this header, as Bitcoin would accept it after this block.
    ///
    /// # Errors
    /// Bitcoin can never accept the header.
    ///
    /// # Panics
    /// The header does not build on this block.
    pub fn child(&self, network: Network, header: Header) -> Result<Self, HeaderFault> {
        if !meets_own_bits(&header) {
            return Err(HeaderFault::Hash);
        }
        self.check_next(network, &header)?;
        Ok(self.extended(network, header))
    }

    /// Checks what a child states against this block.
    fn check_next(&self, network: Network, header: &Header) -> Result<(), HeaderFault> {
        let time = UnixTime(header.time);
        let require = |condition, fault| if condition { Ok(()) } else { Err(fault) };
        require(header.bits.to_consensus() == self.required_bits(time).0, HeaderFault::Bits)?;
        require(time > self.median_time_past, HeaderFault::Time)?;
        let starts_period = bitcoin_difficulty::starts_period(self.next_height());
        let earliest = UnixTime(self.header.time).minus(TIMEWARP_MAX_S);
        let is_warped = network == Network::Testnet4 && starts_period && time < earliest;
        require(!is_warped, HeaderFault::Timewarp)?;
        require(header.version.to_consensus() >= HEADER_VERSION_MIN, HeaderFault::Version)
    }

    /// The child with this header, of which nothing but the link is checked: bitcoind has checked the blocks of its best
    /// chain.
    ///
    /// # Panics
    /// The header does not build on this block.
    pub fn extended(&self, network: Network, header: Header) -> Self {
        assert_eq!(header.prev_blockhash, self.header.block_hash(), "the header builds on this block");
        let height = self.next_height();
        let (time, bits) = (UnixTime(header.time), Bits(header.bits.to_consensus()));
        let starts_period = bitcoin_difficulty::starts_period(height);
        let period_start = if starts_period { PeriodStart { time, bits } } else { self.period_start };
        let is_exception = !starts_period && self.next_bits_late == Some(bits);
        let lasting_bits = if is_exception { self.lasting_bits } else { bits };
        Self::new(network, header, height, self.times.before(time), period_start, lasting_bits)
    }

    const fn next_height(&self) -> BlockHeight {
        BlockHeight(self.height.0.saturating_add(1))
    }

    /// The target that a child with this header time must state.
    pub fn required_bits(&self, child_time: UnixTime) -> Bits {
        match self.next_bits_late {
            Some(late) if child_time > UnixTime(self.header.time).plus(TESTNET_GAP_S) => late,
            _ => self.next_bits,
        }
    }

    /// The latest header time at which a child may state these bits: test networks require others after 20 minutes.
    pub fn latest_time_for(&self, bits: Bits) -> UnixTime {
        match self.next_bits_late {
            Some(late) if bits != late => UnixTime(self.header.time).plus(TESTNET_GAP_S),
            _ => UnixTime(u32::MAX),
        }
    }
}

/// Whether a header's hash meets the target that the header states.
pub fn meets_own_bits(header: &Header) -> bool {
    let target = Bits(header.bits.to_consensus()).target();
    target.is_ok_and(|target| target.is_met_by(header.block_hash().as_byte_array()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::anchor;

    fn at(network: Network, height: u32, bits: u32, lasting: u32) -> Anchor {
        let bits_of_block = bitcoin::CompactTarget::from_consensus(bits);
        let header = Header { time: 1_700_000_000, bits: bits_of_block, ..anchor().header };
        let times = RecentTimes::new((0..11).map(|back| UnixTime(header.time - 600 * back)));
        let period_start = PeriodStart { time: UnixTime(header.time - 1_209_600), bits: Bits(0x1c00_ffff) };
        Anchor::new(network, header, BlockHeight(height), times, period_start, Bits(lasting))
    }

    fn child_of(parent: &Anchor, after_s: i64, bits: u32) -> Header {
        Header {
            version: bitcoin::block::Version::from_consensus(4),
            prev_blockhash: parent.header.block_hash(),
            time: u32::try_from(i64::from(parent.header.time) + after_s).unwrap(),
            bits: bitcoin::CompactTarget::from_consensus(bits),
            ..parent.header
        }
    }

    #[test]
    fn the_first_block_of_a_period_is_at_most_600_s_older_than_its_parent_on_testnet4() {
        for (network, height, after_s, expected) in [
            (Network::Testnet4, 4_031, -600, Ok(())),
            (Network::Testnet4, 4_031, -601, Err(HeaderFault::Timewarp)),
            (Network::Testnet4, 4_030, -601, Ok(())),
            (Network::Testnet3, 4_031, -601, Ok(())),
            (Network::Mainnet, 4_031, -601, Ok(())),
        ] {
            let parent = at(network, height, 0x1c00_ffff, 0x1c00_ffff);
            let child = child_of(&parent, after_s, parent.next_bits.0);
            assert_eq!(parent.check_next(network, &child), expected, "{network} {height} {after_s}");
        }
    }

    #[test]
    fn late_blocks_of_testnets_state_the_easiest_target_and_the_next_ones_the_lasting_one() {
        let parent = at(Network::Testnet4, 5_000, 0x1c00_ffff, 0x1c00_ffff);
        let check = |after_s, bits| parent.check_next(Network::Testnet4, &child_of(&parent, after_s, bits));
        assert_eq!(check(1_200, 0x1c00_ffff), Ok(()));
        assert_eq!(check(1_200, 0x1d00_ffff), Err(HeaderFault::Bits));
        assert_eq!(check(1_201, 0x1d00_ffff), Ok(()));
        assert_eq!(check(1_201, 0x1c00_ffff), Err(HeaderFault::Bits));
        let late = parent.extended(Network::Testnet4, child_of(&parent, 1_201, 0x1d00_ffff));
        let later = late.extended(Network::Testnet4, child_of(&late, 1_201, 0x1d00_ffff));
        assert_eq!(later.required_bits(UnixTime(later.header.time)), Bits(0x1c00_ffff));
        // On mainnet there is no such exception.
        let parent = at(Network::Mainnet, 5_000, 0x1c00_ffff, 0);
        assert_eq!(parent.check_next(Network::Mainnet, &child_of(&parent, 9_999, 0x1c00_ffff)), Ok(()));
    }

    #[test]
    fn a_child_is_later_than_the_median_of_eleven_and_has_version_4() {
        let parent = at(Network::Mainnet, 5_000, 0x1c00_ffff, 0);
        assert_eq!(parent.median_time_past, UnixTime(parent.header.time - 3_000));
        let check = |child: &Header| parent.check_next(Network::Mainnet, child);
        assert_eq!(check(&child_of(&parent, -2_999, 0x1c00_ffff)), Ok(()));
        assert_eq!(check(&child_of(&parent, -3_000, 0x1c00_ffff)), Err(HeaderFault::Time));
        let old = Header { version: bitcoin::block::Version::from_consensus(3), ..child_of(&parent, 1, 0x1c00_ffff) };
        assert_eq!(check(&old), Err(HeaderFault::Version));
    }
}
