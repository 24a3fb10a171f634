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
        let time = UnixTime(header.time);
        let require = |condition, fault| if condition { Ok(()) } else { Err(fault) };
        require(meets_own_bits(&header), HeaderFault::Hash)?;
        require(header.bits.to_consensus() == self.required_bits(time).0, HeaderFault::Bits)?;
        require(time > self.median_time_past, HeaderFault::Time)?;
        let starts_period = bitcoin_difficulty::starts_period(self.next_height());
        let is_warped = network == Network::Testnet4
            && starts_period
            && time.0 < UnixTime(self.header.time).minus(TIMEWARP_MAX_S).0;
        require(!is_warped, HeaderFault::Timewarp)?;
        require(header.version.to_consensus() >= HEADER_VERSION_MIN, HeaderFault::Version)?;
        Ok(self.extended(network, header))
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
